//! Points of no return: what they seal, what a rollback does after one, and reverting one step past it.

use super::script::{Fault, Op, World};
use super::*;
use crate::event::{Answer, FailureChoice};
use crate::outcome::{Effect, FailureClass};

fn fails() -> Fault {
    Fault::Fail(FailureClass::Denied, Effect::None)
}

/// A run that stopped after the point of no return, before traffic.
fn stopped_past_the_point(world: &World) {
    world.strike("traffic", Op::Perform, fails(), 9);
    assert_eq!(start(world, failover(), settings(false)).exit, Exit::ChangesLeft);
    world.mend();
}

#[test]
fn a_rollback_after_the_point_reverts_nothing_and_does_not_end_the_run() {
    let world = World::new();
    stopped_past_the_point(&world);
    let before = world.switched();
    let ran = Process::with(settings(false)).rolling_back(RollbackScope::Run).resume(&world);
    assert_eq!(ran.exit, Exit::ChangesLeft);
    assert_eq!(world.switched(), before);
    assert!(!ran.state.is_final());
    let Some(Event::RunStopped { why, .. }) = world.durable().pop().map(|record| record.event)
    else {
        panic!("it did not stop")
    };
    assert!(why.contains("point of no return (`database`)"), "{why}");
    assert!(why.contains("still changed: `fence`, `capacity`, `database`, `repoint`"), "{why}");
    assert_eq!(resume(&world, settings(false)).exit, Exit::Ok, "forward it goes on");
}

#[test]
fn a_rollback_after_the_point_takes_back_what_stands_beside_it_and_resume_does_it_again() {
    let beside = action("beside", &["down"]);
    let mut plan = failover();
    plan.steps.push(beside);
    let world = World::new();
    world.strike("traffic", Op::Perform, fails(), 9);
    assert_eq!(start(&world, plan, settings(false)).exit, Exit::ChangesLeft);
    world.mend();
    let ran = Process::with(settings(false)).rolling_back(RollbackScope::Run).resume(&world);
    assert_eq!(ran.exit, Exit::ChangesLeft);
    assert!(!world.switched().contains(&"beside".to_owned()));
    let ran = resume(&world, settings(false));
    assert_eq!((ran.exit, ran.end("beside")), (Exit::Ok, Some(StepEnd::Done)));
    assert!(world.switched().contains(&"beside".to_owned()));
    let tokens: Vec<String> = world.places().made.into_iter().map(|(_, token)| token).collect();
    assert!(tokens.contains(&"01TESTRUN/beside/1".to_owned()), "{tokens:?}");
}

/// A step that failed with its change in place, and was gone on from, is taken back after what rests on it.
#[test]
fn a_tolerated_failure_is_taken_back_after_the_steps_that_went_on_from_it() {
    let tolerated = PlannedStep {
        critical: false,
        on_failure: OnFailure::Continue,
        ..action("tolerated", &[])
    };
    let world = World::new();
    world.strike("tolerated", Op::Perform, Fault::Fail(FailureClass::Denied, Effect::Applied), 9);
    world.strike("last", Op::Perform, fails(), 9);
    let steps = vec![tolerated, action("upon", &["tolerated"]), action("last", &["upon"])];
    assert_eq!(start(&world, plan(steps), settings(false)).exit, Exit::RolledBack);
    let reverted = world.durable().into_iter().filter_map(|record| match record.event {
        Event::RevertStarted { step, .. } => Some(step.0),
        _ => None,
    });
    assert_eq!(reverted.collect::<Vec<_>>(), ["upon", "tolerated"]);
}

fn past(step: &str) -> Process {
    Process::with(settings(false)).rolling_back(RollbackScope::Past { step: step.into() })
}

#[test]
fn one_step_past_the_point_is_reverted_on_a_typed_word_and_nothing_else() {
    let world = World::new();
    world.strike("p1", Op::Perform, fails(), 9);
    world.fail_check("restored", crate::outcome::Verdict::Fails);
    assert_eq!(start(&world, failover(), settings(false)).exit, Exit::ChangesLeft);
    world.mend();
    let ran = past("traffic").resume(&world);
    assert_eq!(ran.exit, Exit::ChangesLeft);
    let reverts: Vec<String> =
        world.calls().into_iter().filter(|call| call.starts_with("revert")).collect();
    assert_eq!(reverts, ["revert traffic"]);
    // Taken up again, the run goes on forward and does it again.
    let ran = resume(&world, settings(false));
    assert_eq!(ran.exit, Exit::WithExceptions);
    assert!(world.switched().contains(&"traffic".to_owned()));
}

#[test]
fn a_revert_past_the_point_that_fails_is_taken_up_again() {
    let world = World::new();
    stopped_past_the_point(&world);
    world.strike("repoint", Op::Revert, fails(), 1);
    assert_eq!(past("repoint").resume(&world).exit, Exit::NeedsOperator);
    assert!(world.all_hit());
    let ran = resume(&world, settings(false));
    assert_eq!(ran.exit, Exit::ChangesLeft);
    assert!(!world.switched().contains(&"repoint".to_owned()));
    assert!(world.switched().contains(&"database".to_owned()));
}

#[test]
fn what_a_person_did_by_hand_and_cannot_be_undone_seals_as_well() {
    let world = World::new();
    world.strike("database", Op::Perform, fails(), 1);
    let key = QuestionKey::Failure { step: "database".into(), failures: 1 };
    let answer = Answer::Menu {
        choice: FailureChoice::MarkDone,
        reason: Some("promoted in the console".to_owned()),
        outputs: Map::new(),
    };
    world.answer(key, answer);
    world.strike("repoint", Op::Perform, fails(), 9);
    let settings = RunSettings { on_failure: OnFailureFlag::Rollback, ..settings(true) };
    // The menu is only put where the flag leaves it open.
    let first = RunSettings { on_failure: OnFailureFlag::Auto, ..settings.clone() };
    let ran = Process::with(first)
        .halted(
            Halt::Soft,
            |event| matches!(event, Event::StepFinished { step, .. } if step.0 == "database"),
        )
        .start(&world, failover());
    assert_eq!(ran.end("database"), Some(StepEnd::Marked));
    let ran = resume(&world, settings);
    assert!(world.all_hit());
    assert_eq!(ran.exit, Exit::ChangesLeft);
    assert!(!world.calls().iter().any(|call| call.starts_with("revert")));
}

#[test]
fn what_a_run_would_have_left_open_lapses_when_all_of_it_is_taken_back() {
    let world = World::new();
    let mut plan = failover();
    let told = Body::Action {
        action: "manual".to_owned(),
        with: Map::from_iter([("later".to_owned(), true.into())]),
    };
    let notify =
        PlannedStep { changes: false, verify: Vec::new(), ..step("notify", &["down"], told) };
    plan.steps.insert(1, notify);
    world.with(|w| w.waived.insert("fence".to_owned()));
    world.strike("database", Op::Perform, fails(), 9);
    let ran = start(&world, plan, settings(false));
    assert_eq!(ran.exit, Exit::RolledBack);
    let open: Vec<&str> = ran.state.obligations.keys().map(String::as_str).collect();
    assert_eq!(open, ["without-notify"], "people are to be told of the incident all the same");
    assert_eq!(
        kinds(&world, |event| matches!(event, Event::ObligationClosed { lapsed: true, .. })),
        1
    );
}
