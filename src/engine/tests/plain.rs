//! Runs without faults, and the order of things.

use std::time::Duration;

use serde_json::json;

use super::script::{Fault, Op, World};
use super::*;
use crate::engine::ports::LeaseRefusal;
use crate::event::Answer;
use crate::outcome::Verdict;

#[test]
fn a_failover_goes_through_in_order() {
    let world = World::new();
    let ran = start(&world, failover(), settings(true));
    assert_eq!(ran.exit, Exit::Ok);
    for id in ["fence", "capacity", "database", "repoint", "traffic", "p1"] {
        assert_eq!(ran.end(id), Some(StepEnd::Done), "{id}");
    }
    let performs: Vec<String> =
        world.calls().into_iter().filter(|call| call.starts_with("perform")).collect();
    let place = |id: &str| performs.iter().position(|call| call == &format!("perform {id}"));
    assert!(place("fence") < place("database") && place("capacity") < place("database"));
    assert!(place("database") < place("repoint") && place("repoint") < place("traffic"));
}

#[test]
fn a_second_run_finds_nothing_to_do() {
    let world = World::new();
    assert_eq!(start(&world, failover(), settings(true)).exit, Exit::Ok);
    let performs =
        |world: &World| world.calls().iter().filter(|c| c.starts_with("perform")).count();
    let before = performs(&world);
    let ran = start(&world, failover(), settings(true));
    assert_eq!(ran.exit, Exit::Ok);
    assert_eq!(performs(&world), before);
    assert_eq!(ran.end("database"), Some(StepEnd::Satisfied));
}

#[test]
fn a_record_waits_for_company_no_longer_than_it_may() {
    let world = World::new();
    // Each step ends a millisecond after the one before, so that company never stops coming.
    let ids: Vec<String> = (1..=8).map(|i| format!("s{i}")).collect();
    for (millisecond, id) in (1..).zip(&ids) {
        world.switch(id, json!({ "switch": "on", "by": format!("01TESTRUN/{id}/0") }));
        let late = Fault::Delay(Duration::from_millis(millisecond));
        world.strike(id, Op::Observe, late, 1);
    }
    let steps = ids.iter().map(|id| PlannedStep { verify: Vec::new(), ..action(id, &[]) });
    let ran = start(&world, plan(steps.collect()), settings(true));
    assert_eq!(ran.exit, Exit::Ok);
    assert!(ids.iter().all(|id| ran.end(id) == Some(StepEnd::Satisfied)));
    assert_eq!(world.waited(), Duration::from_millis(2));
}

#[test]
fn nothing_changes_before_go() {
    let world = World::new();
    world.answer(QuestionKey::Go, Answer::No);
    let ran = start(&world, failover(), settings(true));
    assert_eq!(ran.exit, Exit::Stopped);
    assert!(world.calls().is_empty(), "{:?}", world.calls());
    world.answer(QuestionKey::Go, Answer::Yes);
    assert_eq!(resume(&world, settings(true)).exit, Exit::Ok);
}

#[test]
fn a_gate_that_does_not_hold_changes_nothing() {
    for verdict in [Verdict::Fails, Verdict::Inconclusive] {
        let world = World::new();
        world.fail_check("gate down", verdict);
        let ran = start(&world, failover(), settings(false));
        assert_eq!(ran.exit, Exit::NotMet);
        assert!(world.calls().is_empty());
        world.mend_checks();
        assert_eq!(resume(&world, settings(false)).exit, Exit::Ok);
    }
}

#[test]
fn an_override_needs_a_reason_and_is_kept() {
    let world = World::new();
    world.fail_check("gate down", Verdict::Inconclusive);
    let mut settings = settings(false);
    settings.overrides.insert("down".to_owned(), "AWS told us by phone".to_owned());
    let ran = start(&world, failover(), settings);
    assert_eq!(ran.exit, Exit::Ok);
    let i = ran.state.graph.of_step(&"down".into()).expect("a step");
    let reason = ran.state.steps[i].reason.clone().expect("a reason");
    assert!(reason.contains("AWS told us by phone"), "{reason}");
}

#[test]
fn a_service_that_is_not_restored_is_not_called_so() {
    let world = World::new();
    world.fail_check("restored", Verdict::Inconclusive);
    let ran = start(&world, failover(), settings(true));
    assert_eq!(ran.exit, Exit::ChangesLeft);
    world.mend_checks();
    assert_eq!(resume(&world, settings(true)).exit, Exit::Ok);
}

#[test]
fn a_held_lease_refuses_before_any_change() {
    let world = World::new();
    world.refuse_lease(Some(LeaseRefusal::Held { holder: "run 7F3A of ann@host".to_owned() }));
    let ran = start(&world, failover(), settings(true));
    assert_eq!(ran.exit, Exit::Held);
    assert!(world.calls().is_empty());
}

#[test]
fn an_unproved_lease_needs_a_typed_word() {
    let world = World::new();
    world.refuse_lease(Some(LeaseRefusal::Unproved { why: "bucket unreachable".to_owned() }));
    let ran = start(&world, failover(), settings(true));
    assert_eq!(ran.exit, Exit::Ok);
    let typed = world.durable().into_iter().any(|record| {
        matches!(record.event, Event::LeaseVouched { typed, .. } if typed == "I am the only operator")
    });
    assert!(typed);
}

#[test]
fn independent_steps_run_side_by_side() {
    let world = World::new();
    let length = Duration::from_secs(120);
    for id in ["a", "b", "c"] {
        world.strike(id, Op::Perform, Fault::Delay(length), 1);
    }
    let steps = ["a", "b", "c"].map(|id| action(id, &[])).to_vec();
    let began = world.clock.now();
    let ran = start(&world, plan(steps), settings(true));
    assert_eq!(ran.exit, Exit::Ok);
    let took = world.clock.now().duration_since(began).as_secs();
    assert!((120..130).contains(&took), "took {took} s");
}

#[test]
fn jobs_bound_what_runs() {
    let world = World::new();
    let length = Duration::from_secs(60);
    for id in ["a", "b", "c", "d"] {
        world.strike(id, Op::Perform, Fault::Delay(length), 1);
    }
    let steps = ["a", "b", "c", "d"].map(|id| action(id, &[])).to_vec();
    let began = world.clock.now();
    let ran = start(&world, plan(steps), RunSettings { jobs: 2, ..settings(true) });
    assert_eq!(ran.exit, Exit::Ok);
    let took = world.clock.now().duration_since(began).as_secs();
    assert!((120..130).contains(&took), "took {took} s");
}
