//! Faults on a failover made for tests: what is decided after each, and how often things are tried.

use std::time::Duration;

use super::script::{Fault, Op, World};
use super::*;
use crate::outcome::{Effect, FailureClass};

/// Steps of the failover that act, those upstream of the point of no return first.
const BEFORE_POINT: [&str; 2] = ["fence", "capacity"];
const AFTER_POINT: [&str; 2] = ["repoint", "traffic"];

fn fails() -> Fault {
    Fault::Fail(FailureClass::Denied, Effect::None)
}

#[test]
fn each_step_that_fails_before_the_point_rolls_everything_back() {
    for id in BEFORE_POINT.into_iter().chain(["database"]) {
        let world = World::new();
        world.strike(id, Op::Perform, fails(), 9);
        let ran = start(&world, failover(), settings(false));
        assert!(world.all_hit(), "{id}: the fault did not strike");
        assert!(world.switched().is_empty(), "{id}: left {:?}", world.switched());
        assert!(
            matches!(ran.exit, Exit::RolledBack | Exit::FailedUnchanged),
            "{id}: {:?}",
            ran.exit
        );
        assert_eq!(ran.end(id), Some(StepEnd::Failed), "{id}");
        assert!(
            ran.state.steps.iter().all(|step| step.ended().is_some()),
            "{id}: an end is missing"
        );
    }
}

#[test]
fn a_step_that_fails_after_the_point_leaves_the_rest_whatever_the_flags() {
    for id in AFTER_POINT {
        for flag in [OnFailureFlag::Auto, OnFailureFlag::Rollback, OnFailureFlag::Stop] {
            let world = World::new();
            world.strike(id, Op::Perform, fails(), 9);
            let settings = RunSettings { on_failure: flag, ..settings(false) };
            let ran = start(&world, failover(), settings);
            assert!(world.all_hit(), "{id}");
            assert_eq!(ran.exit, Exit::ChangesLeft, "{id} {flag:?}");
            for kept in ["fence", "capacity", "database"] {
                assert!(world.switched().contains(&kept.to_owned()), "{id} {flag:?}: {kept}");
            }
            assert!(!world.calls().iter().any(|call| call.starts_with("revert")), "{id} {flag:?}");
        }
    }
}

#[test]
fn a_step_that_is_not_critical_fails_alone() {
    let world = World::new();
    world.strike("p1", Op::Perform, fails(), 9);
    let ran = start(&world, failover(), settings(false));
    assert!(world.all_hit());
    assert_eq!(ran.exit, Exit::WithExceptions);
    assert_eq!(ran.end("p1"), Some(StepEnd::Failed));
    assert_eq!(ran.end("traffic"), Some(StepEnd::Done));
}

#[test]
fn each_revert_that_fails_needs_an_operator_and_can_be_resumed() {
    for id in BEFORE_POINT {
        let world = World::new();
        world.strike("database", Op::Perform, fails(), 1);
        world.strike(id, Op::Revert, fails(), 1);
        let ran = start(&world, failover(), settings(false));
        assert!(world.all_hit(), "{id}");
        assert_eq!(ran.exit, Exit::NeedsOperator, "{id}");
        assert_eq!(
            world.switched(),
            vec![id.to_owned()],
            "only the failed revert's change is left"
        );
        let ran = resume(&world, settings(false));
        assert_eq!(ran.exit, Exit::RolledBack, "{id}");
        assert!(world.switched().is_empty(), "{id}");
    }
}

#[test]
fn a_foreign_change_is_not_reverted() {
    let world = World::new();
    world.strike("database", Op::Perform, fails(), 1);
    world.strike("capacity", Op::Perform, Fault::Foreign, 1);
    let ran = start(&world, failover(), settings(false));
    assert!(world.all_hit());
    assert_eq!(ran.exit, Exit::NeedsOperator);
    assert!(world.switched().contains(&"capacity".to_owned()));
}

#[test]
fn an_unknown_effect_is_probed_at_each_step() {
    for id in ["fence", "capacity", "database", "repoint", "traffic", "p1"] {
        for fault in [Fault::LostAnswer, Fault::LostRequest] {
            let world = World::new();
            world.strike(id, Op::Perform, fault.clone(), 1);
            let ran = start(&world, failover(), settings(false));
            assert!(world.all_hit(), "{id}");
            assert_eq!(ran.exit, Exit::Ok, "{id} {fault:?}");
            let performs = world.count(&format!("perform {id}"));
            let expected = if fault == Fault::LostAnswer { 1 } else { 2 };
            assert_eq!(performs, expected, "{id} {fault:?}");
        }
    }
}

#[test]
fn a_transient_failure_is_retried_as_often_as_allowed() {
    for (times, exit) in [(1, Exit::Ok), (2, Exit::Ok), (3, Exit::RolledBack)] {
        let world = World::new();
        let transient = Fault::Fail(FailureClass::Transient, Effect::None);
        world.strike("database", Op::Perform, transient, times);
        let ran = start(&world, failover(), settings(false));
        assert!(world.all_hit());
        assert_eq!(ran.exit, exit, "{times} times");
    }
}

#[test]
fn a_service_that_asks_for_patience_gets_it() {
    let throttled = || Fault::Fail(FailureClass::Throttled, Effect::None);
    for op in [Op::Perform, Op::Observe] {
        for (times, exit) in [(3, Exit::Ok), (7, Exit::Ok), (8, Exit::RolledBack)] {
            let world = World::new();
            world.strike("database", op, throttled(), times);
            let ran = start(&world, failover(), settings(false));
            assert!(world.all_hit());
            assert_eq!(ran.exit, exit, "{op:?} {times} times");
        }
    }
    // What is taken back is worth the same patience: a person would be called for nothing.
    let world = World::new();
    world.strike("database", Op::Perform, fails(), 1);
    world.strike("capacity", Op::Revert, throttled(), 7);
    let ran = start(&world, failover(), settings(false));
    assert!(world.all_hit());
    assert_eq!(ran.exit, Exit::RolledBack);
}

#[test]
fn what_was_throttled_counts_against_no_other_failure() {
    let world = World::new();
    let fail = |class| Fault::Fail(class, Effect::None);
    world.strike("capacity", Op::Perform, fail(FailureClass::Throttled), 5);
    world.strike("capacity", Op::Perform, fail(FailureClass::Transient), 2);
    let ran = start(&world, failover(), settings(false));
    assert!(world.all_hit());
    assert_eq!((ran.exit, world.count("perform capacity")), (Exit::Ok, 8));
}

#[test]
fn an_observation_that_fails_changes_nothing_more() {
    for id in BEFORE_POINT {
        let world = World::new();
        world.strike(id, Op::Observe, fails(), 9);
        let ran = start(&world, failover(), settings(false));
        assert!(world.all_hit(), "{id}");
        assert!(world.switched().is_empty(), "{id}");
        assert!(
            matches!(ran.exit, Exit::RolledBack | Exit::FailedUnchanged),
            "{id}: {:?}",
            ran.exit
        );
    }
}

#[test]
fn a_perform_that_hangs_is_unknown_not_failed() {
    let world = World::new();
    let forever = Duration::from_secs(100_000);
    world.strike("capacity", Op::Perform, Fault::Delay(forever), 1);
    let ran = start(&world, failover(), settings(false));
    assert!(world.all_hit());
    assert_eq!(ran.exit, Exit::Ok);
}

#[test]
fn a_defect_in_an_action_stops_the_run() {
    let world = World::new();
    world.strike("capacity", Op::Perform, Fault::Panic, 1);
    let ran = start(&world, failover(), settings(false));
    assert_eq!(ran.exit, Exit::Internal);
    assert_eq!(resume(&world, settings(false)).exit, Exit::Ok);
}

#[test]
fn a_full_journal_lets_nothing_start() {
    let world = World::new();
    assert_eq!(start(&world, failover(), settings(true)).exit, Exit::Ok);
    let records = world.durable().len();
    for room in 1..records {
        let world = World::new();
        world.journal_room(room);
        let ran = start(&world, failover(), settings(true));
        assert_eq!(ran.exit, Exit::Journal, "room for {room}");
        let durable = RunState::fold(&world.durable()).expect("what is durable folds");
        for step in world.switched() {
            let i = durable.graph.of_step(&step.as_str().into()).expect("a step");
            let effect = durable.steps[i].effect;
            assert_ne!(effect, Effect::None, "room for {room}: {step} unjournalled");
        }
    }
}
