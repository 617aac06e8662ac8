//! The right to act: taken and proved before every change, forwards and backwards, and told which step is under way.

use std::time::Duration;

use super::script::{Fault, Op, World};
use super::*;
use crate::engine::ports::LeaseRefusal;
use crate::event::Answer;
use crate::outcome::{Effect, FailureClass};

fn held() -> LeaseRefusal {
    LeaseRefusal::Held { holder: "run 7F3A of ann@host".to_owned() }
}

fn lost() -> LeaseRefusal {
    LeaseRefusal::Lost { holder: "run 7F3A of ann@host".to_owned() }
}

/// A world whose run stopped with everything up to the database in place.
fn stopped(world: &World) {
    world.strike("database", Op::Perform, Fault::Fail(FailureClass::Denied, Effect::None), 9);
    let settings = RunSettings { on_failure: OnFailureFlag::Stop, ..settings(false) };
    assert_eq!(start(world, failover(), settings).exit, Exit::ChangesLeft);
    world.mend();
}

fn rollback(world: &World) -> Ran {
    Process::with(settings(false)).rolling_back(RollbackScope::Run).resume(world)
}

#[test]
fn it_is_given_back_before_the_guard_closes() {
    let world = World::new();
    assert_eq!(start(&world, failover(), settings(true)).exit, Exit::Ok);
    let lease = world.with(|w| w.lease.clone());
    assert_eq!((lease.held, lease.given_back), (false, 1), "giving it back is a write");
    assert!(world.with(|w| w.disarmed));
    let world = World::new();
    stopped(&world);
    assert_eq!(world.with(|w| w.lease.given_back), 1, "a run that stops gives it back, too");
}

#[test]
fn a_rollback_takes_the_lease_and_proves_it_before_each_revert() {
    let world = World::new();
    stopped(&world);
    let before = world.with(|w| w.lease.clone());
    assert_eq!(rollback(&world).exit, Exit::RolledBack);
    let after = world.with(|w| w.lease.clone());
    assert_eq!(after.taken, before.taken + 1);
    assert_eq!(after.assured, before.assured + 2, "two steps were reverted");
}

#[test]
fn a_rollback_without_the_lease_reverts_nothing() {
    for (take, assure) in [(Some(held()), None), (None, Some(lost()))] {
        let world = World::new();
        stopped(&world);
        let before = world.switched();
        world.with(|w| (w.lease.take, w.lease.assure) = (take, assure));
        assert_eq!(rollback(&world).exit, Exit::Held);
        assert_eq!(world.switched(), before);
        assert_eq!(world.calls().iter().filter(|call| call.starts_with("revert")).count(), 0);
        // What was begun goes on once the lease can be had.
        world.mend();
        assert_eq!(resume(&world, settings(false)).exit, Exit::RolledBack);
    }
}

#[test]
fn a_rollback_goes_on_on_a_typed_word_where_the_lease_cannot_be_proved() {
    let world = World::new();
    stopped(&world);
    world.refuse_lease(Some(LeaseRefusal::Unproved { why: "bucket unreachable".to_owned() }));
    assert_eq!(rollback(&world).exit, Exit::RolledBack);
    assert_eq!(kinds(&world, |event| matches!(event, Event::LeaseVouched { .. })), 1);
}

#[test]
fn nothing_is_changed_once_the_lease_is_lost() {
    let world = World::new();
    // The change is requested long after the attempt began; the lease is lost meanwhile.
    world.strike("capacity", Op::Perform, Fault::Delay(Duration::from_secs(300)), 1);
    let losing = world.clone();
    let process = Process::with(settings(true)).watched(move |record, _| {
        if matches!(&record.event, Event::StepStarted { step, .. } if step.0 == "capacity") {
            losing.with(|w| w.lease.assure = Some(lost()));
        }
    });
    let ran = process.start(&world, failover());
    assert!(world.all_hit());
    assert_eq!(ran.exit, Exit::Held);
    assert_eq!(ran.step("capacity").effect, Effect::None);
    assert!(!world.switched().contains(&"capacity".to_owned()));
    world.mend();
    assert_eq!(resume(&world, settings(true)).exit, Exit::Ok);
}

fn vouched(world: &World) -> usize {
    kinds(world, |event| matches!(event, Event::LeaseVouched { .. }))
}

/// A world where the proof has lapsed when the change of `capacity` is to be requested.
fn lapsing(op: Op, again: bool) -> World {
    let world = World::new();
    if op == Op::Revert {
        stopped(&world);
    }
    world.strike("capacity", op, Fault::Lapse { again }, 1);
    world
}

fn failures(world: &World) -> usize {
    kinds(world, |event| matches!(event, Event::StepFailed { .. }))
}

#[test]
fn a_change_that_comes_after_the_proof_has_lapsed_is_made_once_it_is_proved_again_or_vouched_for() {
    for (again, words) in [(true, 0), (false, 1)] {
        let world = lapsing(Op::Perform, again);
        let ran = start(&world, failover(), settings(true));
        assert!(world.all_hit());
        assert_eq!((ran.exit, failures(&world), vouched(&world)), (Exit::Ok, 0, words));
        assert_eq!(world.count("perform capacity"), 2);
        assert_eq!(world.with(|w| w.lease.vouched), !again, "the guard must hear of it");
    }
}

#[test]
fn a_change_that_comes_after_the_proof_has_lapsed_is_not_made_where_nobody_vouches() {
    let world = lapsing(Op::Perform, false);
    world.answer(QuestionKey::Alone, Answer::Nobody { why: "no terminal".to_owned() });
    let ran = start(&world, failover(), settings(true));
    assert!(world.all_hit());
    assert_eq!((ran.exit, failures(&world)), (Exit::Stopped, 0));
    assert_eq!(ran.step("capacity").effect, Effect::None);
    assert!(!world.switched().contains(&"capacity".to_owned()));
    world.mend();
    assert_eq!(resume(&world, settings(true)).exit, Exit::Ok);
}

#[test]
fn a_revert_that_comes_after_the_proof_has_lapsed_is_no_failed_revert() {
    for (again, words) in [(true, 0), (false, 1)] {
        let world = lapsing(Op::Revert, again);
        assert_eq!(rollback(&world).exit, Exit::RolledBack);
        assert!(world.all_hit());
        assert_eq!((world.count("revert capacity"), vouched(&world)), (2, words));
    }
}

#[test]
fn it_is_kept_proved_while_an_interrupted_run_reaches_a_safe_point() {
    let world = World::new();
    world.strike("capacity", Op::Perform, Fault::Delay(Duration::from_secs(300)), 1);
    let begun =
        |event: &Event| matches!(event, Event::StepStarted { step, .. } if step.0 == "capacity");
    let process = Process::with(settings(true)).halted(Halt::Soft, begun);
    let ran = process.start(&world, failover());
    assert_eq!(ran.exit, Exit::Stopped);
    assert!(world.switched().contains(&"capacity".to_owned()));
    let assured = world.with(|w| w.lease.assured);
    assert!(assured >= 300 / 20, "proved {assured} times in five minutes");
}

#[test]
fn a_change_that_is_never_proved_in_its_time_is_overdue() {
    let world = World::new();
    world.strike("capacity", Op::Perform, Fault::Lapse { again: true }, u32::MAX);
    world.strike("capacity", Op::Observe, Fault::Delay(Duration::from_secs(60)), u32::MAX);
    let ran = start(&world, failover(), settings(false));
    assert_eq!((ran.exit, failures(&world)), (Exit::RolledBack, 1));
}

#[test]
fn who_is_refused_can_read_which_step_is_under_way() {
    let world = World::new();
    assert_eq!(start(&world, failover(), settings(true)).exit, Exit::Ok);
    let told: Vec<String> = world.with(|w| w.told.clone()).into_iter().flatten().collect();
    assert_eq!(told.last().map(String::as_str), Some("p1"));
    for id in ["fence", "capacity", "database", "repoint", "traffic"] {
        assert!(told.contains(&id.to_owned()), "{id}: {told:?}");
    }
    assert_eq!(world.with(|w| w.told.last().cloned()), Some(None), "in the end there is none");
}
