//! The second interrupt: nothing is waited for, whatever the run is busy with, and `resume` finishes it.

use std::sync::Arc;
use std::time::Duration;

use super::script::{Fault, Op, World};
use super::*;
use crate::outcome::{Effect, FailureClass};

/// Nothing that is waited for takes less than this; an interrupted run takes none of it.
const LONG: Duration = Duration::from_secs(60);

fn delay() -> Fault {
    Fault::Delay(LONG)
}

/// Interrupts twice once a record fits; returns how long the run still took.
fn interrupt(
    world: &World,
    process: Process,
    fits: impl Fn(&Event) -> bool + Send + 'static,
    run: impl FnOnce(Process) -> Ran,
) -> Duration {
    let clock = world.clock.clone();
    let at = Arc::new(std::sync::Mutex::new(None));
    let noted = Arc::clone(&at);
    let process = process.watched(move |record, halt| {
        if fits(&record.event) {
            noted.lock().expect("nobody panics here").get_or_insert(clock.now());
            halt.send_replace(Halt::Hard);
        }
    });
    let ran = run(process);
    assert_eq!(ran.exit, Exit::Interrupted);
    let at = at.lock().expect("nobody panics here").expect("the interrupt struck");
    crate::clock::since(at, world.clock.now())
}

fn at_once(took: Duration, what: &str) {
    assert!(took < Duration::from_secs(5), "{what}: waited {took:?} after the second interrupt");
}

#[test]
fn a_second_interrupt_waits_for_no_look_no_change_and_no_check() {
    let ready =
        |event: &Event| matches!(event, Event::StepReady { step, .. } if step.0 == "capacity");
    let started =
        |event: &Event| matches!(event, Event::StepStarted { step, .. } if step.0 == "capacity");
    let ended = |event: &Event| matches!(event, Event::AttemptFinished { step, .. } if step.0 == "capacity");

    let world = World::new();
    world.strike("capacity", Op::Observe, delay(), 1);
    let took =
        interrupt(&world, Process::with(settings(true)), ready, |p| p.start(&world, failover()));
    at_once(took, "observe");

    let world = World::new();
    world.strike("capacity", Op::Perform, delay(), 1);
    let took =
        interrupt(&world, Process::with(settings(true)), started, |p| p.start(&world, failover()));
    at_once(took, "perform");
    let state = RunState::fold(&world.durable()).expect("it folds");
    let i = state.graph.of_step(&"capacity".into()).expect("a step");
    assert_eq!(state.steps[i].effect, Effect::Unknown, "what was under way is in doubt");

    let world = World::new();
    let slow = world.clone();
    let took = interrupt(&world, Process::with(settings(true)), ended, |process| {
        slow.with(|w| w.check_delay = Duration::from_secs(20));
        process.start(&slow, failover())
    });
    at_once(took, "verification");
    world.mend();
    assert_eq!(resume(&world, settings(true)).exit, Exit::Ok);
}

#[test]
fn a_second_interrupt_waits_for_no_revert_and_the_rollback_goes_on() {
    for op in [Op::Observe, Op::Revert] {
        let world = World::new();
        world.strike("database", Op::Perform, Fault::Fail(FailureClass::Denied, Effect::None), 9);
        let settings = RunSettings { on_failure: OnFailureFlag::Stop, ..settings(false) };
        assert_eq!(start(&world, failover(), settings.clone()).exit, Exit::ChangesLeft);
        world.mend();
        world.strike("capacity", op, delay(), 1);
        let process = Process::with(settings).rolling_back(RollbackScope::Run);
        let reverting = |event: &Event| matches!(event, Event::RevertStarted { step, .. } if step.0 == "capacity");
        let took = interrupt(&world, process, reverting, |process| process.resume(&world));
        at_once(took, &format!("{op:?}"));
        world.mend();
        assert_eq!(resume(&world, super::settings(false)).exit, Exit::RolledBack);
        assert!(world.switched().is_empty());
    }
}

#[test]
fn a_second_interrupt_waits_neither_for_the_lease_nor_for_the_last_checks() {
    let world = World::new();
    world.with(|w| w.lease.delay = LONG);
    let went = |event: &Event| matches!(event, Event::Decided { question: QuestionKey::Go, .. });
    let took =
        interrupt(&world, Process::with(settings(true)), went, |p| p.start(&world, failover()));
    at_once(took, "lease");
    world.mend();
    assert_eq!(resume(&world, settings(true)).exit, Exit::Ok);

    let world = World::new();
    let slow = world.clone();
    let last = move |event: &Event| {
        if matches!(event, Event::StepStarted { step, .. } if step.0 == "p1") {
            slow.with(|w| w.check_delay = Duration::from_secs(25));
        }
        matches!(event, Event::StepFinished { step, .. } if step.0 == "p1")
    };
    let took =
        interrupt(&world, Process::with(settings(true)), last, |p| p.start(&world, failover()));
    at_once(took, "last checks");
    world.mend();
    assert_eq!(resume(&world, settings(true)).exit, Exit::Ok);
}
