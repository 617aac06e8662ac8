use super::*;
use crate::event::{QuestionKey, Record};
use crate::journal::fixtures;
use crate::outcome::{ActionError, FailureClass, StepEnd};

/// A run of the fixtures' plan in which `capacity` failed; `database` waits for it.
fn failed() -> RunState {
    let first: Record = fixtures::seal(&fixtures::run(), vec![fixtures::started()]).remove(0);
    let mut state = RunState::start(&first).expect("it starts");
    let error = ActionError::unchanged(FailureClass::Denied, "AccessDenied");
    let go = QuestionKey::Go;
    for event in [
        Event::Decided { question: go, answer: crate::event::Answer::Yes },
        Event::StepReady { step: "primary_down".into(), with: Map::new() },
        Event::StepFinished {
            step: "primary_down".into(),
            end: StepEnd::Done,
            outputs: Map::new(),
            reason: None,
        },
        Event::StepReady { step: "capacity".into(), with: Map::new() },
        Event::StepFailed { step: "capacity".into(), error },
        Event::RunStopped { why: "step `capacity` failed".to_owned(), exit: 4 },
    ] {
        state.apply(&event, fixtures::time(1)).expect("it follows");
    }
    state
}

fn refused(state: &RunState, step: &str) -> String {
    let error = may_be_marked(state, &step.into()).expect_err(step);
    assert_eq!(error.exit, Exit::Usage);
    error.message
}

#[test]
fn a_step_that_failed_can_be_marked_and_others_say_why_not() {
    let state = failed();
    assert!(may_be_marked(&state, &"capacity".into()).is_ok());
    for (step, why) in [
        ("primary_down", "only looks"),
        ("database", "needs others that have not ended: capacity"),
        ("databse", "has no step `databse`"),
    ] {
        let said = refused(&state, step);
        assert!(said.contains(why) && said.ends_with("nothing was recorded"), "{said}");
    }
}

#[test]
fn a_run_that_is_over_or_rolled_back_takes_no_marks() {
    let mut state = failed();
    let scope = crate::event::RollbackScope::Run;
    let why = "capacity failed".to_owned();
    state.apply(&Event::RollbackStarted { why, scope }, fixtures::time(2)).expect("it follows");
    assert!(refused(&state, "capacity").contains("is being rolled back"));
    let (reason, still_changed) = ("again".to_owned(), Vec::new());
    state.apply(&Event::RunAbandoned { reason, still_changed }, fixtures::time(3)).expect("ends");
    assert!(refused(&state, "capacity").contains("is over"));
}

#[test]
fn outputs_that_are_used_later_must_be_given_as_what_they_are() {
    let mut plan = fixtures::plan();
    let body = serde_json::json!({ "kind": "action", "action": "database.repoint",
        "with": { "address": "${{ steps.database.outputs.address }}" } });
    let mut user = plan.steps[2].clone();
    user.id = "repoint".into();
    user.body = serde_json::from_value(body).expect("a body");
    plan.steps.push(user);
    let mut state = failed();
    state.plan = std::sync::Arc::new(plan);
    let given = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let step = StepId::from("database");
    let missing = read(&state, &step, &[]).expect_err("one is missing");
    assert_eq!(missing.exit, Exit::NeedsAnswer);
    assert_eq!(missing.hints, ["add --value address=VALUE"]);
    let unknown = read(&state, &step, &given(&[("adress", "x")])).expect_err("no such output");
    assert!(unknown.message.contains("has no output `adress`"), "{}", unknown.message);
    let read = read(&state, &step, &given(&[("address", "db:5432")])).expect("is all");
    assert_eq!(read["address"], "db:5432");
}
