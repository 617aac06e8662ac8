//! The standing loops: fail each step, fail each revert, unknown effect at each step, each action twice,
//! resume from every prefix of the journal. Each asserts that the fault struck where it aimed.

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
            let performs =
                world.calls().iter().filter(|call| **call == format!("perform {id}")).count();
            let expected = if fault == Fault::LostAnswer { 1 } else { 2 };
            assert_eq!(performs, expected, "{id} {fault:?}");
        }
    }
}

#[test]
fn a_transient_failure_is_retried_as_often_as_allowed() {
    for (times, exit) in [(1, Exit::Ok), (2, Exit::Ok), (3, Exit::RolledBack)] {
        let world = World::new();
        let throttled = Fault::Fail(FailureClass::Throttled, Effect::None);
        world.strike("database", Op::Perform, throttled, times);
        let ran = start(&world, failover(), settings(false));
        assert!(world.all_hit());
        assert_eq!(ran.exit, exit, "{times} times");
    }
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
    let forever = std::time::Duration::from_secs(100_000);
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
fn resume_from_every_prefix_reaches_the_same_end() {
    let world = World::new();
    assert_eq!(start(&world, failover(), settings(true)).exit, Exit::Ok);
    let whole = world.durable();
    let end = world.switched();
    for cut in 1..whole.len() {
        let world = World::new();
        // The world as it was when the record before the cut was the last one: every change that was started
        // and whose end is recorded is in place; the one in doubt is tried both ways.
        for in_doubt_applied in [true, false] {
            replay(&world, &whole[..cut], in_doubt_applied);
            let ran = resume(&world, settings(true));
            assert_eq!(ran.exit, Exit::Ok, "cut at {cut}");
            assert_eq!(world.switched(), end, "cut at {cut}");
            let doubled = doubled_performs(&world, &whole[..cut], in_doubt_applied);
            assert!(doubled.is_empty(), "cut at {cut}: performed twice: {doubled:?}");
        }
    }
}

/// Puts the world in the state a prefix of the journal leaves.
fn replay(world: &World, prefix: &[Record], in_doubt_applied: bool) {
    let state = RunState::fold(prefix).expect("a prefix folds");
    world.reset();
    for (step, planned) in state.steps.iter().zip(&state.plan.steps) {
        let applied = match step.effect {
            Effect::Applied => true,
            Effect::Unknown => in_doubt_applied,
            Effect::None => false,
        };
        if applied && let Some(ours) = &step.ours {
            world.switch(&planned.id.0, ours.clone());
        }
    }
    world.set_durable(prefix.to_vec());
}

/// Steps performed although their change was in place already.
fn doubled_performs(world: &World, prefix: &[Record], in_doubt_applied: bool) -> Vec<String> {
    let state = RunState::fold(prefix).expect("a prefix folds");
    let in_place = state.steps.iter().zip(&state.plan.steps).filter(|(step, _)| {
        step.effect == Effect::Applied || (step.effect == Effect::Unknown && in_doubt_applied)
    });
    let performed = world.calls();
    in_place
        .map(|(_, planned)| format!("perform {}", planned.id))
        .filter(|call| performed.contains(call))
        .collect()
}

#[test]
fn resume_from_every_prefix_of_a_rollback_ends_rolled_back() {
    let world = World::new();
    world.strike("database", Op::Perform, fails(), 9);
    assert_eq!(start(&world, failover(), settings(false)).exit, Exit::RolledBack);
    let whole = world.durable();
    let rollback = whole
        .iter()
        .position(|record| matches!(record.event, Event::RollbackStarted { .. }))
        .expect("it rolled back");
    for cut in rollback + 1..whole.len() {
        let world = World::new();
        replay(&world, &whole[..cut], true);
        let ran = resume(&world, settings(false));
        assert!(matches!(ran.exit, Exit::RolledBack), "cut at {cut}: {:?}", ran.exit);
        assert!(world.switched().is_empty(), "cut at {cut}: {:?}", world.switched());
    }
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
            assert_ne!(
                durable.steps[i].effect,
                Effect::None,
                "room for {room}: {step} unjournalled"
            );
        }
    }
}
