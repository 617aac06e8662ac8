//! All missing answers at once.

use super::*;
use crate::outcome::Fidelity;
use crate::report::fixtures::{check, plan, quorum, step};
use crate::report::plan_view::tests::report;

fn missing(given: &Given, found: &[DryRunStep]) -> Vec<String> {
    let plan = plan();
    let mut given = given.clone();
    given.guard(&plan);
    needed(&run(&plan, &given, found))
}

fn run<'a>(plan: &'a Plan, given: &'a Given, found: &'a [DryRunStep]) -> Asked<'a> {
    Asked { plan, given, found, mode: Mode::Live, confirm_each: false, alone: false, state: None }
}

#[test]
fn without_any_flag_everything_is_named_once() {
    assert_eq!(missing(&Given::default(), &[]), ["--yes", "--approve database"]);
    let found = report().steps;
    let expected = ["--yes", "--waive fence=unfenced", "--approve database"];
    assert_eq!(missing(&Given::default(), &found), expected);
}

#[test]
fn of_what_has_a_condition_nothing_is_asked_before_somebody_has_looked() {
    let mut plan = plan();
    let database = plan.steps.iter_mut().find(|step| step.id.0 == "database").expect("there");
    database.when = Some("steps.recovery_point.outputs.kind == 'replica'".to_owned());
    let mut given = Given { yes: true, ..Given::default() };
    given.waive.insert("fence".to_owned(), "unfenced".to_owned());
    given.guard(&plan);
    assert_eq!(needed(&run(&plan, &given, &[])), Vec::<String>::new());
    // What is still open then may be asked: it is named before anything is changed.
    assert_eq!(needed(&run(&plan, &given, &report().steps)), ["--approve database"]);
}

#[test]
fn with_every_flag_nothing_is_missing() {
    let mut given = Given { yes: true, ..Given::default() };
    given.approve.insert("database".to_owned());
    given.waive.insert("fence".to_owned(), "unfenced".to_owned());
    assert_eq!(missing(&given, &report().steps), Vec::<String>::new());
    given.approve.clear();
    assert_eq!(missing(&given, &report().steps), ["--approve database"]);
}

#[test]
fn what_was_found_decides_what_is_asked() {
    let plan = plan();
    let mut found = report().steps;
    let database = plan.steps.iter().position(|step| step.id.0 == "database").expect("database");
    found[database].found = Found::Skipped { when: "false".to_owned() };
    assert!(!missing(&Given::default(), &found).contains(&"--approve database".to_owned()));

    for (verdict, asked) in
        [(Verdict::Inconclusive, true), (Verdict::Fails, false), (Verdict::Holds, false)]
    {
        found[0].found = Found::Gate { verdict, reports: vec![quorum()] };
        let flag = "--override 'primary_down=REASON'".to_owned();
        assert_eq!(missing(&Given::default(), &found).contains(&flag), asked, "{verdict:?}");
    }
}

#[test]
fn where_the_replica_the_estate_names_is_not_there_the_recovery_point_is_asked_for() {
    let mut found = report().steps;
    let Found::State { state } = &mut found[1].found else { panic!("the choice") };
    state.choices[0].unusable = Some("there is no instance phoenix-dr-replica".to_owned());
    state.choices[0].absent = true;
    let asked = |given: &Given| {
        let all = missing(given, &found);
        all.into_iter().find(|flag| flag.contains("--recovery-point"))
    };
    let said = asked(&Given::default()).expect("it is asked for");
    assert!(said.contains("one of") && said.contains("there is no instance"), "{said}");
    let named = Given { recovery_point: Some("backup".to_owned()), ..Given::default() };
    assert_eq!(asked(&named), None);
    let named = Given { recovery_point: Some("replica".to_owned()), ..Given::default() };
    assert!(asked(&named).is_some_and(|said| said.contains("`replica` cannot be taken")));
}

#[test]
fn a_loss_that_would_be_asked_about_is_needed_beforehand() {
    let mut found = report().steps;
    let Found::State { state } = &mut found[1].found else { panic!("the choice") };
    state.choices[0].unusable = Some("backing up".to_owned());
    state.choices[1].loss = Some(Span::minutes(42));
    assert!(missing(&Given::default(), &found).contains(&"--accept-loss 45m".to_owned()));

    let Found::State { state } = &mut found[1].found else { panic!("the choice") };
    state.choices[1].loss = None;
    assert!(missing(&Given::default(), &found).contains(&"--accept-loss unknown".to_owned()));

    let Found::State { state } = &mut found[1].found else { panic!("the choice") };
    state.choices[1].forecast = None;
    let flags = missing(&Given::default(), &found);
    let point = "--recovery-point ID, one of backup: backup an unknown loss, an unknown time, can be undone";
    assert!(flags.contains(&point.to_owned()), "{flags:?}");

    let named = Given { recovery_point: Some("backup".to_owned()), ..Given::default() };
    assert!(missing(&named, &found).contains(&"--accept-loss unknown".to_owned()));
}

#[test]
fn work_by_hand_is_needed_unless_it_may_wait() {
    let mut plan = plan();
    let with = serde_json::json!({ "say": "Approve the change", "evidence": "the ticket" });
    let serde_json::Value::Object(with) = with else { panic!("an object") };
    plan.steps.push(PlannedStep {
        body: Body::Action { action: "manual".to_owned(), with },
        changes: false,
        ..step("ticket", "Open a ticket", None, &[])
    });
    let flags = needed(&run(&plan, &Given::default(), &[]));
    let manual = "--answers FILE with `manual:ticket`: the ticket".to_owned();
    assert!(flags.contains(&manual), "{flags:?}");
    assert!(!flags.iter().any(|flag| flag.contains("notify")), "{flags:?}");
}

#[test]
fn confirm_each_asks_about_every_change() {
    let mut plan = plan();
    plan.steps.retain(|step| matches!(step.approve, Approval::Plan));
    let mut given = Given::default();
    given.answers.insert("go".to_owned(), "yes".to_owned());
    assert_eq!(needed(&run(&plan, &given, &[])), Vec::<String>::new());
    assert_eq!(needed(&Asked { confirm_each: true, ..run(&plan, &given, &[]) }), ["--yes"]);

    // A gate has nothing to approve, whatever else is asked for.
    plan.steps = vec![PlannedStep {
        body: Body::Gate { checks: vec![check("up")] },
        changes: false,
        ..step("up", "Up", None, &[])
    }];
    let found = [DryRunStep::of(
        &plan.steps[0],
        Fidelity::Observed,
        Found::Gate { verdict: Verdict::Holds, reports: Vec::new() },
        Vec::new(),
    )];
    assert_eq!(
        needed(&Asked { confirm_each: true, ..run(&plan, &given, &found) }),
        Vec::<String>::new()
    );
}
