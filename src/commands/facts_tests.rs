//! What is kept, what stands in for a look, and the copy in the shared state.

use serde_json::json;

use super::*;
use crate::clients::lease_store::fake::Bucket;
use crate::clients::testing;
use crate::outcome::Difference;
use crate::report::fixtures::{at, plan};
use crate::report::plan_view::DryRunStep;

fn state(replicas: u64, satisfied: bool) -> StateFound {
    StateFound {
        present: json!({ "replicas": replicas }),
        desired: json!({ "replicas": 5 }),
        differences: if satisfied {
            Vec::new()
        } else {
            let (from, to) = (replicas.to_string(), "5".to_owned());
            vec![Difference { what: "api replicas".to_owned(), from, to }]
        },
        satisfied,
        irreversible: None,
        evidence: vec!["it was seen".to_owned()],
        choices: crate::report::fixtures::candidates(),
        waiver: None,
        seen: None,
    }
}

fn report(seen: &str, fidelity: Fidelity, found: Found) -> DryRunReport {
    let plan = plan();
    let planned = plan.steps.iter().find(|step| step.id.0 == "capacity").expect("a step");
    let steps = vec![DryRunStep::of(planned, fidelity, found, Vec::new())];
    let mode = crate::event::Mode::DryRun;
    DryRunReport { mode, steps, plan: plan.into(), seen: at(seen), findings: Vec::new() }
}

fn seen(clock: &str, replicas: u64) -> DryRunReport {
    let state = Box::new(state(replicas, false));
    report(clock, Fidelity::Observed, Found::State { state })
}

fn learned(reports: &[DryRunReport]) -> Known<'_> {
    let mut known = Known::default();
    reports.iter().for_each(|report| known.learn(report));
    known
}

fn read_back(known: &Known<'_>) -> Known<'static> {
    let bytes = known.facts(at("03:00:00"), &Masker::default()).bytes();
    Known::read(&Facts::read(&bytes).expect("facts")).expect("reads back")
}

fn capacity(plan: &Plan) -> usize {
    plan.steps.iter().position(|step| step.id.0 == "capacity").expect("a step")
}

#[test]
fn what_cannot_be_read_now_does_not_wipe_out_what_was_read_before() {
    let dark = Found::Unreachable { why: "dark".to_owned(), hint: None };
    let partly = Found::State { state: Box::new(state(0, false)) };
    let reports = [
        seen("02:12:00", 1),
        report("03:00:00", Fidelity::Unreachable, dark),
        report("03:00:00", Fidelity::Unreachable, partly),
    ];
    let known = learned(&reports);
    let plan = plan();
    let seen = known.of(&plan, capacity(&plan)).expect("it was seen");
    assert!(seen.line().starts_with("last seen 2026-07-14 02:12 UTC by "), "{}", seen.line());
    assert!(seen.line().ends_with(": api replicas: 1"), "{}", seen.line());
    let kept = read_back(&known);
    assert_eq!(kept, known);
}

#[test]
fn what_is_hidden_is_in_no_facts() {
    let masks = Masker::default();
    masks.learn("hunter2-and-more");
    let mut state = state(1, false);
    state.evidence = vec!["it said hunter2-and-more".to_owned()];
    state.present = json!({ "hunter2-and-more": ["hunter2-and-more"] });
    let found = Found::State { state: Box::new(state) };
    let reports = [report("02:12:00", Fidelity::Observed, found)];
    let known = learned(&reports);
    let text = String::from_utf8(known.facts(at("03:00:00"), &masks).bytes()).expect("UTF-8");
    assert!(text.contains("it said ***") && !text.contains("hunter2"), "{text}");
}

#[test]
fn facts_stand_in_for_a_look_but_never_for_an_answer() {
    let satisfied = Found::State { state: Box::new(state(5, true)) };
    let reports = [report("02:12:00", Fidelity::Observed, satisfied)];
    let known = learned(&reports);
    let mut plan = plan();
    let i = capacity(&plan);
    let state = known.of(&plan, i).expect("it was seen").state();
    // It may have changed since, and a loss that was measured has grown.
    assert!(!state.satisfied && state.choices.is_empty());
    assert_eq!(state.seen, Some(at("02:12:00")));
    assert_eq!(state.evidence, ["it was seen"]);
    let Body::Action { with, .. } = &mut plan.steps[i].body else { panic!("an action") };
    with.insert("region".to_owned(), json!("eu-west-1"));
    assert_eq!(known.of(&plan, i), None, "it was seen of something else");
}

#[test]
fn of_two_the_newer_one_is_known() {
    let plan = plan();
    let known = |clock: &str, replicas| read_back(&learned(&[seen(clock, replicas)]));
    for (mut first, second) in
        [(known("02:00:00", 1), known("03:00:00", 2)), (known("03:00:00", 2), known("02:00:00", 1))]
    {
        first.take(second);
        let line = first.of(&plan, capacity(&plan)).expect("it was seen").line();
        assert!(line.ends_with("api replicas: 2"), "{line}");
    }
}

#[tokio::test]
async fn the_shared_copy_takes_what_this_host_saw_and_keeps_what_another_did() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (store, bucket, plan) = (Store::at(dir.path()), Bucket::default(), plan());
    let clients = testing::hasty(json!({}));
    let place = LeaseStore::fake(&bucket, clients.clock.clone());
    assert_eq!(fetch(&place).await, Ok(Known::default()));
    let reports = [seen("02:12:00", 1)];
    let mine = learned(&reports);
    save(&store, &plan, &mine.facts(at("02:12:00"), &Masker::default())).expect("saved");
    share(&clients, &place, &store, &plan).await.expect("shared");
    assert_eq!(fetch(&place).await, Ok(mine));
    let later = [seen("04:00:00", 3)];
    let other = learned(&later);
    bucket.set(Some(other.facts(at("04:00:00"), &Masker::default()).bytes()));
    share(&clients, &place, &store, &plan).await.expect("shared");
    assert_eq!(fetch(&place).await, Ok(other), "what was seen later stays");
    bucket.set(Some(b"no facts".to_vec()));
    assert!(fetch(&place).await.is_err());
}
