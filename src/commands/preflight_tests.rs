//! Findings: what blocks, what is only told, and what stands in for what cannot be read.

use serde_json::json;

use super::*;
use crate::clients::aws::testing::{NOW, Reply, Script, estate, guarded};
use crate::outcome::Effect;
use crate::report::fixtures::{plan, run_id};
use crate::report::plan_view::tests::report;

fn s3_error(status: u16, code: &str) -> Reply {
    Reply::Answer(status, format!("<Error><Code>{code}</Code><Message>no</Message></Error>"))
}

fn unseen(step: &str, foreseen: bool) -> Unseen {
    Unseen { step: step.into(), why: "no answer".to_owned(), hint: None, foreseen }
}

fn level_of(plan: &Plan, report: &DryRunReport, step: &str, foreseen: bool) -> FindingLevel {
    let unseen = unseen(step, foreseen);
    level(plan, report, plan.step(&unseen.step).expect("a step"), &unseen)
}

fn in_region(plan: &mut Plan, step: &str, region: &str) {
    let step = plan.steps.iter_mut().find(|planned| planned.id.0 == step).expect("a step");
    let Body::Action { with, .. } = &mut step.body else { panic!("an action") };
    with.insert("region".to_owned(), json!(region));
}

#[test]
fn only_what_p0_needs_and_has_no_other_way_blocks() {
    let mut plan = plan();
    let mut report = report();
    assert_eq!(level_of(&plan, &report, "capacity", false), FindingLevel::Blocking);
    assert_eq!(level_of(&plan, &report, "p1", false), FindingLevel::Warning);
    // What lies in the lost region is why there is a failover at all.
    in_region(&mut plan, "capacity", "us-east-1");
    assert_eq!(level_of(&plan, &report, "capacity", false), FindingLevel::Warning);
    in_region(&mut plan, "capacity", "us-west-2");
    assert_eq!(level_of(&plan, &report, "capacity", false), FindingLevel::Blocking);
    // One of two recovery points would fail: the other one is a way.
    assert_eq!(level_of(&plan, &report, "database", true), FindingLevel::Warning);
    assert_eq!(level_of(&plan, &report, "repoint", true), FindingLevel::Blocking);
    for step in &mut report.steps {
        if let Found::State { state } = &mut step.found {
            state.choices.truncate(1);
        }
    }
    assert_eq!(level_of(&plan, &report, "database", true), FindingLevel::Blocking);
}

#[test]
fn credentials_are_held_against_the_critical_path_and_not_the_sum_of_all_steps() {
    let clients = guarded(estate(|_| {}), &Script::new(|_, _| Reply::Silence));
    let now: jiff::Timestamp = NOW.parse().expect("an instant");
    let finding = |seconds: u64| {
        let identity = Identity {
            source: "sso".to_owned(),
            profile: None,
            break_glass: false,
            account: "123456789012".to_owned(),
            arn: "arn:aws:sts::123456789012:assumed-role/dr/me".to_owned(),
            expires: Some(now + Duration::from_secs(seconds)),
        };
        let report = report();
        credentials(&plan(), &clients, &report, Some(Ok(identity))).expect("a finding")
    };
    let longest = needed_longest(&plan(), &report(), now);
    let (p0, all) = (longest[0].1.as_secs(), longest[1].1.as_secs());
    assert!(0 < p0 && p0 < all, "{longest:?}");
    let sum: u64 =
        plan().steps.iter().filter_map(|step| step.usually).map(|span| span.0.as_secs()).sum();
    assert!(all < sum, "steps run side by side: {all} of {sum}");
    let before = finding(p0 - 1);
    assert_eq!(before.level, FindingLevel::Warning);
    assert!(before.said.contains("before P0 is restored"), "{}", before.said);
    let between = finding(p0 + 1);
    assert!(between.said.contains("before the run is done"), "{}", between.said);
    assert_eq!(finding(all + 1).level, FindingLevel::Good);
}

#[test]
fn a_refusal_blocks_and_a_silent_sts_does_not() {
    let clients = guarded(estate(|_| {}), &Script::new(|_, _| Reply::Silence));
    for (class, expected) in [
        (FailureClass::Credentials, FindingLevel::Blocking),
        (FailureClass::Denied, FindingLevel::Blocking),
        (FailureClass::Timeout, FindingLevel::Warning),
        (FailureClass::Transient, FindingLevel::Warning),
    ] {
        let error =
            ActionError { class, effect: Effect::None, message: "no".to_owned(), hint: None };
        let finding = credentials(&plan(), &clients, &report(), Some(Err(error)));
        assert_eq!(finding.expect("a finding").level, expected, "{class:?}");
    }
    assert_eq!(credentials(&plan(), &clients, &report(), None), None);
}

#[tokio::test]
async fn the_lease_is_read_and_what_stands_in_the_way_is_told() {
    let with_state = || {
        estate(|estate| {
            let bucket = json!({ "bucket": "state", "region": "us-west-2", "prefix": "p" });
            estate["state"] = json!({ "s3": bucket });
        })
    };
    let shared_by = |script: Script| async move {
        let clients = Arc::new(guarded(with_state(), &script));
        let found = shared(&plan(), &clients, &run_id()).await;
        (found.finding.expect("a finding"), found.alone, script)
    };
    let (free, alone, script) = shared_by(Script::new(|_, _| s3_error(404, "NoSuchKey"))).await;
    assert_eq!((free.level, alone), (FindingLevel::Good, false), "{free:?}");
    assert!(script.actions().iter().all(|action| action.starts_with("GET ")), "it only reads");
    let (denied, alone, _) = shared_by(Script::new(|_, _| s3_error(403, "AccessDenied"))).await;
    assert_eq!((denied.level, alone), (FindingLevel::Warning, true));
    assert!(denied.said.contains("s3:GetObject"), "{}", denied.said);
    assert!(denied.hint.is_some_and(|hint| hint.contains("vouched for")));
    // Where there is no such bucket the name is to be put right, before anybody vouches for anything.
    let (none, alone, _) = shared_by(Script::new(|_, _| s3_error(404, "NoSuchBucket"))).await;
    assert_eq!((none.level, alone), (FindingLevel::Warning, true));
    let hint = none.hint.expect("a hint");
    assert!(hint.contains("aws s3 ls") && !hint.contains("vouched"), "{hint}");
    let clients = Arc::new(guarded(estate(|_| {}), &Script::new(|_, _| Reply::Silence)));
    let none = shared(&plan(), &clients, &run_id()).await.finding.expect("a finding");
    assert!(none.said.contains("tell your team"), "{}", none.said);
}

#[test]
fn every_host_is_named_and_an_endpoint_of_the_estate_file_as_such() {
    let mut plan = plan();
    plan.estate = (*estate(|estate| {
        estate["regions"]["us-west-2"]["endpoints"] = json!({ "rds": "http://127.0.0.1:4566/x" });
        estate["clusters"] = json!({ "us-west-2": { "context": "eks", "kubeconfig": "/none" } });
        estate["database"]["addresses"] = json!({ "phoenix-dr-replica": "127.0.0.1:15432" });
    }))
    .clone();
    let lines = hosts(&plan);
    let said = |about: &str| {
        let line = lines.iter().find(|(name, _)| name == about);
        line.map(|(_, said)| said.clone()).unwrap_or_else(|| panic!("{lines:?}"))
    };
    let west = said("hosts of us-west-2");
    for part in [
        "application api.us-west-2.phoenix.example",
        "RDS 127.0.0.1:4566 (by the estate file)",
        "STS sts.us-west-2.amazonaws.com",
        "Route 53 route53.amazonaws.com",
        "Kubernetes unknown",
    ] {
        assert!(west.contains(part), "`{part}` is not in {west}");
    }
    assert_eq!(said("hosts of the database"), "phoenix-dr-replica 127.0.0.1:15432");
}

#[test]
fn what_cannot_be_read_is_shown_as_it_was_last_seen() {
    let mut before = report();
    let capacity = |report: &DryRunReport| {
        report.steps.iter().position(|step| step.step.0 == "capacity").expect("a step")
    };
    let i = capacity(&before);
    before.steps[i].fidelity = Fidelity::Observed;
    let mut known = Known::default();
    known.learn(&before);
    let mut now = report();
    now.steps[i].fidelity = Fidelity::Unreachable;
    now.steps[i].found = Found::Unreachable { why: "no answer".to_owned(), hint: None };
    let unseen =
        recall(&mut now, &known, vec![unseen("capacity", false), unseen("traffic", false)]);
    let Found::State { state } = &now.steps[i].found else { panic!("{:?}", now.steps[i].found) };
    assert_eq!(state.seen, Some(before.seen));
    assert_eq!(state.differences.len(), 2);
    assert!(unseen[0].why.starts_with("no answer; last seen 2026-"), "{}", unseen[0].why);
    assert!(unseen[0].why.contains("phoenix-api replicas: 1"), "{}", unseen[0].why);
    assert_eq!(unseen[1].why, "no answer");
    // Read in part: what was seen before is told beside what is there.
    let Found::State { state } = &mut now.steps[i].found else { panic!() };
    state.seen = None;
    drop(recall(&mut now, &known, Vec::new()));
    let Found::State { state } = &now.steps[i].found else { panic!() };
    assert!(state.evidence.iter().any(|line| line.starts_with("last seen ")), "{state:?}");
}

/// The levels of what is said of an estate's port forwards, in order.
async fn ways_of(change: impl FnOnce(&mut Value)) -> Vec<FindingLevel> {
    let mut plan = plan();
    plan.inputs.insert("region".to_owned(), json!("us-west-2"));
    let estate = estate(change);
    plan.estate = (*estate).clone();
    let clients = guarded(estate, &Script::new(|_, _| Reply::Silence));
    reach::ways(&plan, &clients).await.into_iter().map(|finding| finding.level).collect()
}

#[tokio::test]
async fn a_dead_way_to_the_database_blocks_what_asks_it_by_sql_and_nothing_else() {
    for (action, level) in [
        ("postgres.fence", FindingLevel::Blocking),
        ("rds.choose_recovery_point", FindingLevel::Blocking),
        ("rds.promote_replica", FindingLevel::Blocking),
        ("rds.recover", FindingLevel::Blocking),
        ("rds.restore_snapshot", FindingLevel::Blocking),
        ("rds.protect", FindingLevel::Warning),
        ("database.repoint", FindingLevel::Warning),
    ] {
        let mut plan = plan();
        let dead = json!({ "command": ["/bin/false", "bastion"], "ready": "127.0.0.1:1" });
        let estate = estate(|estate| estate["database"]["via"] = dead);
        plan.estate = (*estate).clone();
        plan.steps.retain(|step| !step.is_gate());
        plan.steps.truncate(1);
        plan.steps[0].verify.iter_mut().for_each(|check| check.check = "rds.status".to_owned());
        let with = serde_json::Map::new();
        plan.steps[0].body = Body::Action { action: action.to_owned(), with };
        let clients = guarded(estate, &Script::new(|_, _| Reply::Silence));
        let found = reach::ways(&plan, &clients).await;
        assert_eq!(found.first().map(|finding| finding.level), Some(level), "{action}: {found:?}");
    }
}

#[tokio::test]
async fn only_a_dead_way_that_is_needed_after_the_loss_blocks() {
    let dead = |to: &str| json!({ "command": ["/bin/false", to], "ready": "127.0.0.1:1" });
    let blocking = [FindingLevel::Blocking];
    let warning = [FindingLevel::Warning];
    let all = ways_of(|estate| estate["database"]["via"] = dead("bastion")).await;
    assert_eq!(all, blocking);
    let through = ways_of(|estate| estate["database"]["via"] = dead("bastion.us-east-1")).await;
    assert_eq!(through, warning, "it leads through the lost region");
    let primary = ways_of(|estate| {
        estate["database"]["via"] = dead("bastion");
        for own in ["replica", "recovered"] {
            estate["database"][own]["via"] = json!({});
        }
    });
    assert_eq!(primary.await, warning, "what survives has ways of its own");
    let third = |region: &'static str| {
        let cluster = json!({ (region): { "context": "eks", "via": dead("eks") } });
        ways_of(move |estate| estate["clusters"] = cluster)
    };
    assert_eq!(third("us-west-2").await, blocking);
    assert_eq!(third("eu-west-1").await, warning, "nothing goes there");
}
