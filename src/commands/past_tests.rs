use serde_json::{Map, json};

use super::*;
use crate::event::{AttemptResult, Event, Record};
use crate::journal::fixtures;
use crate::outcome::StepEnd;
use crate::plan::Plan;

/// A failover: capacity, a promotion that is for good, a repoint and traffic.
fn plan() -> Plan {
    let mut plan = fixtures::plan();
    let body = |action: &str, with: Value| {
        let body = json!({ "kind": "action", "action": action, "with": with });
        serde_json::from_value(body).expect("a body")
    };
    let mut next = |id: &str, needs: &str, made| {
        let mut step = plan.steps[2].clone();
        (step.id, step.needs, step.body) = (id.into(), vec![needs.into()], made);
        plan.steps.push(step);
    };
    let repoint = json!({ "region": "us-west-2", "instance": "r", "address": "r:5432" });
    next("repoint", "database", body("database.repoint", repoint));
    let traffic = json!({ "to": "us-west-2", "from": "us-east-1" });
    next("traffic", "repoint", body("traffic.shift", traffic));
    plan.inputs.insert("from".to_owned(), json!("us-east-1"));
    plan
}

/// A run of it that did everything and stopped.
fn stopped() -> RunState {
    let Event::RunStarted { run, mode, incident_started, settings, version, .. } =
        fixtures::started()
    else {
        panic!("a run starts")
    };
    let plan = std::sync::Arc::new(plan());
    let world = None;
    let start = Event::RunStarted { run, mode, plan, incident_started, settings, version, world };
    let first: Record = fixtures::seal(&fixtures::run(), vec![start]).remove(0);
    let mut state = RunState::start(&first).expect("it starts");
    let mut apply = |event| state.apply(&event, fixtures::time(1)).expect("it follows");
    for id in ["primary_down", "capacity", "database", "repoint", "traffic"] {
        let step = || StepId::from(id);
        apply(Event::StepReady { step: step(), with: Map::new() });
        if id != "primary_down" {
            apply(Event::StepStarted {
                step: step(),
                attempt: 1,
                generation: 0,
                token: format!("run/{id}/0"),
                before: json!("before"),
                desired: json!("after"),
                digest: String::new(),
                irreversible: (id == "database").then(|| "a promotion".to_owned()),
                choice: None,
            });
            let (after, outputs, notes) = (json!("after"), Map::new(), Vec::new());
            let result = AttemptResult::Performed { after, outputs, notes };
            apply(Event::AttemptFinished { step: step(), attempt: 1, result });
        }
        let (end, outputs) = (StepEnd::Done, Map::new());
        apply(Event::StepFinished { step: step(), end, outputs, reason: None });
    }
    state
}

#[test]
fn what_was_done_for_good_is_not_taken_back_whatever_the_runbook_allows() {
    let mut state = stopped();
    let i = state.graph.of_step(&"database".into()).expect("a step");
    let mut plan = (*state.plan).clone();
    plan.steps[i].rollback =
        plan.steps[state.graph.of_step(&"capacity".into()).expect("a step")].rollback.clone();
    state.plan = std::sync::Arc::new(plan);
    let refused = scope(&state, "database").expect_err("it is for good");
    assert_eq!(refused.exit, Exit::ChangesLeft);
    assert!(refused.message.contains("cannot be reverted: a promotion"), "{}", refused.message);
}

#[test]
fn the_word_says_where_traffic_and_writes_then_go() {
    let state = stopped();
    for (step, expected) in [
        ("traffic", "traffic to us-east-1, writes to us-west-2"),
        ("repoint", "traffic to us-west-2, writes to us-east-1"),
        ("capacity", "traffic to us-west-2, writes to us-west-2"),
    ] {
        assert!(scope(&state, step).is_ok(), "{step}");
        let question = question(&state, &step.into(), Vec::new()).expect("a question");
        let AnswerForm::Type { word } = question.form else { panic!("no word") };
        assert_eq!(word, expected, "{step}");
        assert!(question.lines[0].contains("(`database`) forward fixes come first"));
    }
}

#[test]
fn what_is_not_past_a_point_or_cannot_be_reverted_is_refused() {
    let mut state = stopped();
    let refused = |state: &RunState, step: &str| scope(state, step).expect_err(step).message;
    assert!(refused(&state, "trafic").contains("has no step `trafic`"));
    assert!(refused(&state, "primary_down").contains("has nothing in place"));
    let mut plan = plan();
    plan.steps[2].rollback = crate::plan::Rollback::None { why: "it cannot follow".to_owned() };
    state.plan = std::sync::Arc::new(plan);
    assert!(refused(&state, "database").contains("cannot be reverted: it cannot follow"));
}
