//! What people answer, and signals.

use std::sync::atomic::{AtomicBool, Ordering};

use super::script::{Fault, Op, World};
use super::*;
use crate::engine::state::Owed;
use crate::event::{Answer, FailureChoice};
use crate::outcome::{Effect, FailureClass, Obligation, Verdict};

fn menu(choice: FailureChoice) -> Answer {
    Answer::Menu { choice, reason: Some("drill".to_owned()), outputs: Map::new() }
}

fn failed(step: &str) -> QuestionKey {
    QuestionKey::Failure { step: step.into(), failures: 1 }
}

#[test]
fn the_failure_menu_does_what_it_says() {
    for (choice, exit, end) in [
        (FailureChoice::Retry, Exit::Ok, Some(StepEnd::Done)),
        (FailureChoice::Skip, Exit::WithExceptions, Some(StepEnd::Omitted)),
        (FailureChoice::MarkDone, Exit::Ok, Some(StepEnd::Marked)),
        (FailureChoice::Rollback, Exit::RolledBack, Some(StepEnd::Failed)),
        (FailureChoice::Stop, Exit::ChangesLeft, None),
    ] {
        let world = World::new();
        world.strike("capacity", Op::Perform, Fault::Fail(FailureClass::Denied, Effect::None), 1);
        world.answer(failed("capacity"), menu(choice));
        let ran = start(&world, failover(), settings(true));
        assert!(world.all_hit());
        assert_eq!(ran.exit, exit, "{choice:?}");
        assert_eq!(ran.end("capacity"), end, "{choice:?}");
    }
}

#[test]
fn with_nobody_there_only_the_failures_answered_beforehand_are_asked_about() {
    for (times, exit) in [(1, Exit::Ok), (9, Exit::RolledBack)] {
        let world = World::new();
        let denied = Fault::Fail(FailureClass::Denied, Effect::None);
        world.strike("capacity", Op::Perform, denied, times);
        world.answer(failed("capacity"), menu(FailureChoice::Retry));
        let answered = [("capacity".into(), 1)].into();
        let settings = RunSettings { failures_answered: answered, ..settings(false) };
        assert_eq!(start(&world, failover(), settings).exit, exit, "failed {times} times");
        let asked = world.asked().into_iter().filter(|q| q.key == failed("capacity")).count();
        assert_eq!(asked, 1, "failed {times} times");
        assert_eq!(world.count("perform capacity"), 2, "failed {times} times");
    }
}

#[test]
fn with_nobody_there_a_revert_that_fails_is_tried_again_where_that_was_answered_beforehand() {
    for (answered, exit) in [(true, Exit::RolledBack), (false, Exit::NeedsOperator)] {
        let world = World::new();
        let denied = || Fault::Fail(FailureClass::Denied, Effect::None);
        world.strike("database", Op::Perform, denied(), 9);
        world.strike("capacity", Op::Revert, denied(), 1);
        let step: StepId = "capacity".into();
        let key = QuestionKey::RevertFailure { step: step.clone(), failures: 1 };
        world.answer(key, menu(FailureChoice::Retry));
        let reverts_answered = answered.then_some((step, 1)).into_iter().collect();
        let settings = RunSettings { reverts_answered, ..settings(false) };
        assert_eq!(start(&world, failover(), settings).exit, exit);
        assert!(world.all_hit());
    }
}

#[test]
fn what_is_skipped_or_only_said_to_be_done_leaves_something_open() {
    for choice in [FailureChoice::Skip, FailureChoice::MarkDone] {
        let world = World::new();
        let [id, say, how] = ["unfenced", "it is not fenced", "fence it"].map(str::to_owned);
        let open = Obligation { id, say, how, closed_by: None };
        let mut plan = failover();
        let fence = plan.steps.iter_mut().find(|step| step.id.0 == "fence").expect("fence");
        fence.verify.clear();
        world.with(|w| w.without.insert("fence".to_owned(), open.clone()));
        world.strike("fence", Op::Perform, Fault::Fail(FailureClass::Denied, Effect::None), 9);
        world.answer(failed("fence"), menu(choice));
        let ran = start(&world, plan, settings(true));
        assert!(world.all_hit());
        let owed = Owed { step: Some("fence".into()), obligation: open.clone() };
        assert_eq!(ran.state.obligations.get(&open.id), Some(&owed), "{choice:?}");
    }
}

#[test]
fn a_change_that_is_skipped_stays_open_whatever_its_action_says() {
    let world = World::new();
    world.strike("capacity", Op::Perform, Fault::Fail(FailureClass::Denied, Effect::None), 9);
    world.answer(failed("capacity"), menu(FailureChoice::Skip));
    let ran = start(&world, failover(), settings(true));
    assert!(world.all_hit());
    let owed = ran.state.obligations.get("skipped-capacity").expect("it is open");
    assert!(owed.obligation.say.ends_with("nothing of it is done"), "{owed:?}");
    assert!(owed.obligation.how.contains("--rendered"), "{owed:?}");
}

#[test]
fn what_somebody_else_did_after_a_refusal_is_not_taken_back() {
    let world = World::new();
    world.strike("capacity", Op::Perform, Fault::Fail(FailureClass::Denied, Effect::None), 1);
    world.strike("database", Op::Perform, Fault::Fail(FailureClass::Invalid, Effect::None), 9);
    world.answer(failed("capacity"), menu(FailureChoice::Retry));
    world.answer(failed("database"), menu(FailureChoice::Rollback));
    let other = world.clone();
    let process = Process::with(settings(true)).watched(move |record, _| {
        if matches!(&record.event, Event::StepFailed { step, .. } if step.0 == "capacity") {
            other.with(|w| {
                w.places.live.insert(
                    "capacity".to_owned(),
                    serde_json::json!({ "switch": "on", "by": "earlier than this run" }),
                )
            });
        }
    });
    let ran = process.start(&world, failover());
    assert!(world.all_hit());
    assert_eq!(ran.step("capacity").effect, Effect::None);
    assert_eq!(ran.end("capacity"), Some(StepEnd::Satisfied));
    assert_eq!(world.switched(), ["capacity"]);
    assert_eq!(world.count("revert capacity"), 0);
}

#[test]
fn nobody_at_the_menu_parks_the_run() {
    let world = World::new();
    world.strike("capacity", Op::Perform, Fault::Fail(FailureClass::Denied, Effect::None), 1);
    let ran = start(&world, failover(), settings(true));
    assert_eq!(ran.exit, Exit::Stopped);
    assert_eq!(resume(&world, settings(true)).exit, Exit::Ok);
}

#[test]
fn after_the_point_the_menu_offers_no_rollback() {
    let world = World::new();
    world.strike("traffic", Op::Perform, Fault::Fail(FailureClass::Denied, Effect::None), 1);
    start(&world, failover(), settings(true));
    let question = world.asked().into_iter().find(|q| q.key == failed("traffic")).expect("a menu");
    let AnswerForm::Menu { options } = question.form else { panic!("not a menu") };
    assert!(options.iter().all(|option| option.choice != FailureChoice::Rollback));
    // To mark it done somebody must be able to do it, also once the run was taken up again.
    assert_eq!(question.commands, ["switch traffic"]);
    world.strike("traffic", Op::Perform, Fault::Fail(FailureClass::Denied, Effect::None), 1);
    resume(&world, settings(true));
    let again = world.asked().into_iter().rev().find(|q| q.title == question.title);
    assert_eq!(again.expect("a menu").commands, ["switch traffic"]);
}

fn typed(id: &str, word: &str) -> PlannedStep {
    let approve = Approval::Typed { say: "It is for good.".to_owned(), word: word.to_owned() };
    PlannedStep { approve, ..action(id, &[]) }
}

#[test]
fn a_typed_approval_that_is_declined_starts_nothing() {
    for answer in [Answer::No, Answer::Nobody { why: "end of file".to_owned() }] {
        let world = World::new();
        let plan = plan(vec![typed("promote", "us-west-2")]);
        let first = world.clone();
        first.answer_form_type(answer);
        let ran = start(&world, plan, settings(true));
        assert_eq!(ran.exit, Exit::Stopped);
        assert!(world.switched().is_empty());
        world.forget_answers();
        assert_eq!(resume(&world, settings(true)).exit, Exit::Ok);
    }
}

#[test]
fn consent_given_once_is_not_asked_for_again() {
    let world = World::new();
    let forever = std::time::Duration::from_secs(100);
    world.strike("promote", Op::Perform, Fault::Delay(forever), 1);
    let ran = Process::with(settings(true))
        .halted(Halt::Hard, |event| matches!(event, Event::StepStarted { .. }))
        .start(&world, plan(vec![typed("promote", "x")]));
    assert_eq!(ran.exit, Exit::Interrupted);
    let asked = world.asked().len();
    assert_eq!(resume(&world, settings(true)).exit, Exit::Ok);
    let again: Vec<_> = world.asked().into_iter().skip(asked).map(|q| q.key).collect();
    assert!(again.is_empty(), "{again:?}");
}

#[test]
fn a_first_interrupt_at_each_record_stops_resumable() {
    let world = World::new();
    assert_eq!(start(&world, failover(), settings(true)).exit, Exit::Ok);
    let (records, end) = (world.durable().len(), world.switched());
    for at in 1..records as u64 {
        let world = World::new();
        let sent = AtomicBool::new(false);
        let process = Process::with(settings(true)).watched(move |record, halt| {
            if record.seq >= at && !sent.swap(true, Ordering::Relaxed) {
                halt.send_replace(Halt::Soft);
            }
        });
        let ran = process.start(&world, failover());
        assert!(matches!(ran.exit, Exit::Stopped | Exit::Ok), "at {at}: {:?}", ran.exit);
        if ran.exit == Exit::Stopped {
            assert_eq!(resume(&world, settings(true)).exit, Exit::Ok, "at {at}");
        }
        assert_eq!(world.switched(), end, "at {at}");
    }
}

#[test]
fn a_missing_answer_names_its_flag() {
    let world = World::new();
    world.answer(QuestionKey::Go, Answer::Missing { flag: "--yes".to_owned() });
    let ran = start(&world, failover(), settings(false));
    assert_eq!(ran.exit, Exit::NeedsAnswer);
    assert!(world.calls().is_empty());
}

#[test]
fn expired_credentials_fail_nothing() {
    let world = World::new();
    world.strike("capacity", Op::Perform, Fault::Fail(FailureClass::Credentials, Effect::None), 1);
    let ran = start(&world, failover(), settings(true));
    assert!(world.all_hit());
    assert_eq!(ran.exit, Exit::Ok);
    let failed = world.durable().iter().any(|r| matches!(r.event, Event::StepFailed { .. }));
    assert!(!failed);
}

#[test]
fn a_step_marked_done_that_does_not_verify_fails_anew() {
    let world = World::new();
    world.strike("capacity", Op::Perform, Fault::Fail(FailureClass::Denied, Effect::None), 1);
    world.fail_check("verify capacity", Verdict::Fails);
    world.answer(failed("capacity"), menu(FailureChoice::MarkDone));
    let ran = start(&world, failover(), settings(true));
    // The same answer given beforehand does not answer the second failure.
    assert_eq!(ran.exit, Exit::Stopped);
    assert_eq!(ran.step("capacity").failures, 2);
    world.mend();
    assert_eq!(resume(&world, settings(true)).exit, Exit::Ok);
}

#[test]
fn a_step_marked_done_stays_so_after_a_crash() {
    let world = World::new();
    world.strike("capacity", Op::Perform, Fault::Fail(FailureClass::Denied, Effect::None), 1);
    world.answer(failed("capacity"), menu(FailureChoice::MarkDone));
    let process = Process::with(settings(true))
        .halted(Halt::Soft, |event| matches!(event, Event::StepMarked { .. }));
    assert_eq!(process.start(&world, failover()).exit, Exit::Stopped);
    let ran = resume(&world, settings(true));
    assert_eq!((ran.exit, ran.end("capacity")), (Exit::Ok, Some(StepEnd::Marked)));
    assert_eq!(world.count("perform capacity"), 1, "nobody does it again");
}

#[test]
fn stopping_after_a_failed_revert_needs_an_operator() {
    let world = World::new();
    world.strike("database", Op::Perform, Fault::Fail(FailureClass::Denied, Effect::None), 9);
    world.strike("capacity", Op::Revert, Fault::Fail(FailureClass::Denied, Effect::None), 1);
    world.answer(failed("database"), menu(FailureChoice::Rollback));
    let key = QuestionKey::RevertFailure { step: "capacity".into(), failures: 1 };
    world.answer(key, menu(FailureChoice::Stop));
    let ran = start(&world, failover(), settings(true));
    assert!(world.all_hit());
    assert_eq!(ran.exit, Exit::NeedsOperator);
    world.mend();
    assert_eq!(resume(&world, settings(true)).exit, Exit::RolledBack);
}
