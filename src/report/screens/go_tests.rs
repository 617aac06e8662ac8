//! The `go` screen at 80x24.

use super::*;
use crate::outcome::Difference;
use crate::report::fixtures::{at, candidates, plan, quorum, run_id, zone};
use crate::report::forecast::{Assume, Network};
use crate::report::plan_view::tests::report;
use crate::report::view::ViewState;
use crate::span::Span;

pub(super) fn view() -> GoView {
    let dry = report();
    let script = crate::report::fixtures::Script::started();
    let state = ViewState::fold(&script.records);
    let mut assume = Assume::default();
    assume.skipped.insert("restore".into());
    let now = at("02:18:09");
    let network = Network::new(&dry.plan);
    GoView {
        run: run_id(),
        mode: Mode::Live,
        world: None,
        incident_started: at("02:12:00"),
        now,
        zone: zone(),
        gates: vec![GateView {
            title: "Establish that us-east-1 is down".to_owned(),
            verdict: Verdict::Holds,
            reports: vec![quorum()],
            at: at("02:18:08"),
        }],
        writes: Some("us-east-1 phoenix-prod (seen 02:12), not fenceable from here".to_owned()),
        candidates: candidates(),
        best: Some("replica".to_owned()),
        outlooks: network.outlooks(&state, &assume, now),
        no_return: Some(NoReturn {
            step: "database".into(),
            at: network.starts(&state, &assume, &"database".into(), now),
        }),
        skipped: BTreeSet::new(),
        steps: dry.steps,
        findings: dry.findings,
        plan: Arc::new(plan()),
    }
}

fn checked(view: &GoView) -> Question {
    let question = question(view);
    assert!(question.lines.len() <= ROWS, "{} lines", question.lines.len());
    for line in &question.lines {
        assert!(text::width(line) <= COLUMNS, "{line}");
        assert!(!line.contains('\u{1b}'));
    }
    question
}

#[test]
fn the_screen_reads_like_this() {
    let question = checked(&view());
    insta::assert_snapshot!(question.lines.join("\n"), @r#"
    LIVE · estate phoenix · DR-001 Regional failover to us-west-2 · run 7F3A    SEV1
    incident began 02:12 UTC (19:12 PDT) · P0 objective 0:30, maximum 4:00

    us-east-1 is down: YES, 3 of 3 signals hold                        02:18, 1s ago
      yes API healthz   no answer in 3 s     yes database      no answer in 3 s
      yes RDS us-east-1 no answer in 3 s     ?   AWS Health    no support plan, no…
      control from this host: https://api.us-west-2.phoenix.example/healthz answered
    Writes go now to   us-east-1 phoenix-prod (seen 02:12), not fenceable from here
    Data loss          replica 7 s (best)  backup 6 min  snapshot unusable
    P0 restored        about 02:38 (0:26 of 0:30)   P1 02:41
    No way back from   step 7 database, about 02:21; until then it can be undone
      2 recovery_point  Choose the recovery point           asks               1 min
      3 fence           not possible: asks for `unfenced`   asks                30 s
      5 capacity        phoenix-api 1 -> 5, gateway 2 -> 6         undo: yes   3 min
      7 database        phoenix-dr-replica role replica -…  types  undo: NO   12 min
      8 repoint         Point the application at the reco…         undo: yes   2 min
      9 traffic         Move traffic to us-west-2 (not re…  asks   undo: yes   3 min
    ! helm: 3.9 is old
    Call the Incident Commander: Kim Doe, +1 555 0100 · tell customers by 02:27 (m)
    y start steps 5, 8 (asks again at 2-3, 7, 9) · n change nothing
    c commands · d details · m message · s screen · r look again · i incident began
    "#);
}

#[test]
fn what_the_best_recovery_point_leaves_out_is_not_among_the_steps() {
    let mut view = view();
    let restore = view.plan.steps.iter().position(|step| step.id.0 == "restore").expect("there");
    // As it looks where nobody has chosen yet: it would be made, and asks.
    let (made, at) = (view.steps[4].clone(), restore);
    view.steps[at] = DryRunStep { step: "restore".into(), ..made };
    let shown = |view: &GoView| checked(view).lines.join("\n");
    assert!(shown(&view).contains(" restore ") && shown(&view).contains("y start steps 5-6, 8"));
    view.skipped.insert("restore".into());
    let text = shown(&view);
    assert!(!text.contains(" restore ") && text.contains("y start steps 5, 8"), "{text}");
    assert!(checked(&view).pages[&'d'].join("\n").contains("restore"), "the details have it");
}

#[test]
fn a_crowded_screen_still_fits_and_keeps_the_steps_that_ask() {
    let mut view = view();
    let mut more = Vec::new();
    for at in 0..30 {
        let id = StepId(format!("extra_step_with_a_long_name_{at}"));
        let mut step = view.plan.steps[4].clone();
        step.id = id.clone();
        Arc::make_mut(&mut view.plan).steps.push(step);
        more.push(DryRunStep { step: id, ..view.steps[4].clone() });
    }
    view.steps.extend(more);
    let warning = Finding {
        level: FindingLevel::Warning,
        about: "lease".to_owned(),
        said: "no shared lock is configured: tell your team before you start".to_owned(),
        hint: None,
        step: None,
    };
    view.findings.extend(vec![warning; 6]);
    view.gates.push(view.gates[0].clone());
    let question = checked(&view);
    let text = question.lines.join("\n");
    assert!(text.contains(" more (d)"), "{text}");
    assert!(text.contains("  7 database") && text.contains("undo: NO"), "{text}");
    assert!(text.contains("y start") && text.contains("r look again"), "{text}");
    assert!(question.pages[&'d'].join("\n").contains("extra_step_with_a_long_name_29"));
}

#[test]
fn doubt_lateness_and_loss_are_said() {
    let mut view = view();
    view.gates[0].verdict = Verdict::Inconclusive;
    view.gates[0].reports[0].verdict = Verdict::Inconclusive;
    view.now = at("02:40:00");
    let late = Outlook::Ahead { earliest: at("03:40:00"), latest: at("03:40:00"), measured: true };
    view.outlooks.insert(Priority::P0, late.clone());
    view.outlooks.insert(Priority::P1, late);
    view.candidates[1].loss = Some(Span::minutes(42));
    view.candidates[0].loss = None;
    view.best = None;
    let text = checked(&view).lines.join("\n");
    for said in [
        "us-east-1 is down: CANNOT TELL",
        "(1:28 of 0:30, LATE)",
        "P1 03:40 LATE",
        "replica unknown  ",
        "backup 42 min (over)",
        "snapshot unusable",
        "customers OVERDUE 02:27 (m)",
    ] {
        assert!(text.contains(said), "{said}\n{text}");
    }
}

#[test]
fn a_small_runbook_without_gates_has_a_screen_too() {
    let mut view = view();
    view.gates.clear();
    view.writes = None;
    view.candidates.clear();
    view.outlooks.clear();
    view.no_return = None;
    view.findings.clear();
    Arc::make_mut(&mut view.plan).estate.contacts.clear();
    let question = checked(&view);
    let text = question.lines.join("\n");
    assert!(text.contains("no step: all of it can be undone"), "{text}");
    assert!(text.contains("Call the VP Engineering"), "{text}");
    assert!(!text.contains("Data loss"), "{text}");
    assert!(question.pages[&'m'].join(" ").contains("Next update at 02:48 UTC"));
}

#[test]
fn the_pages_have_the_rest() {
    let mut view = view();
    let plan = Arc::make_mut(&mut view.plan);
    if let crate::plan::Body::Action { with, .. } = &mut plan.steps[3].body {
        with.insert("message".to_owned(), "We are investigating an outage.".into());
    }
    let question = checked(&view);
    assert_eq!(question.pages[&'m'], ["We are investigating an outage."]);
    let commands = question.pages[&'c'].join("\n");
    assert!(commands.starts_with("# 5 capacity: "), "{commands}");
    assert!(commands.contains("kubectl --context west"), "{commands}");
    let details = question.pages[&'d'].join("\n");
    for said in ["takes writes (within 5m)", "snapshot phoenix-2026-07-14-00-02", "Kim Doe", "db@"]
    {
        assert!(details.contains(said), "{said}\n{details}");
    }
    assert!(!details.contains("Team Lead"), "only contacts for the severity are named");
}

#[test]
fn numbers_are_ranges() {
    for (numbers, expected) in
        [(vec![], ""), (vec![3], "3"), (vec![3, 5, 6, 7, 11], "3, 5-7, 11"), (vec![1, 2], "1-2")]
    {
        assert_eq!(ranges(&numbers), expected);
    }
}

#[test]
fn the_failover_object_is_named_with_its_bucket() {
    let plan = plan();
    let planned = &plan.steps[0];
    let mut steps = report().steps;
    let seen = steps.iter_mut().find(|step| matches!(step.found, Found::State { .. }));
    let seen = seen.expect("a step that was seen");
    for (from, to, says) in [
        ("absent", "present", "puts s3://failover/us-east-1"),
        ("present", "absent", "removes s3://failover/us-east-1"),
    ] {
        let Found::State { state } = &mut seen.found else { panic!("it was seen") };
        let what = "failover object s3://failover/us-east-1".to_owned();
        let (from, to) = (from.to_owned(), to.to_owned());
        (state.waiver, state.differences) = (None, vec![Difference { what, from, to }]);
        assert_eq!(change(planned, seen), says);
    }
}
