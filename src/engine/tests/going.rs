//! Asking whether to go: gates looked at again, votes that are too old, when the incident began.

use std::time::Duration;

use super::script::{Fault, Op, Turn, World};
use super::*;
use crate::event::Answer;
use crate::outcome::Verdict;

fn turn(answer: Answer) -> Turn {
    Turn { answer, takes: Duration::ZERO, gate: None }
}

fn asked(world: &World) -> Vec<QuestionKey> {
    world.asked().into_iter().map(|question| question.key).collect()
}

fn looks(world: &World) -> usize {
    let seen = |record: &Record| matches!(record.event, Event::GateSeen { .. });
    world.durable().iter().filter(|record| seen(record)).count()
}

fn plan_of_one() -> Plan {
    plan(vec![gate("down", &[]), action("capacity", &["down"])])
}

#[test]
fn looking_again_looks_at_the_gates_and_one_that_fails_blocks() {
    let world = World::new();
    world.turns([
        Turn { gate: Some(Verdict::Fails), ..turn(Answer::Recheck) },
        Turn { gate: Some(Verdict::Fails), ..turn(Answer::Yes) },
        Turn { gate: Some(Verdict::Holds), ..turn(Answer::Yes) },
        turn(Answer::Yes),
    ]);
    let ran = start(&world, plan_of_one(), settings(true));
    assert_eq!(ran.exit, Exit::Ok);
    assert_eq!(
        asked(&world),
        [QuestionKey::Go, QuestionKey::Blocked, QuestionKey::Blocked, QuestionKey::Go]
    );
    assert_eq!(looks(&world), 4);
}

#[test]
fn a_yes_to_old_votes_counts_only_if_the_gates_still_stand() {
    let wait = Duration::from_secs(180);
    for (gate, again) in [
        (Verdict::Holds, None),
        (Verdict::Fails, Some(QuestionKey::Blocked)),
        (Verdict::Inconclusive, Some(QuestionKey::Blocked)),
    ] {
        let world = World::new();
        let late = Turn { takes: wait, gate: Some(gate), ..turn(Answer::Yes) };
        world.turns([late, turn(Answer::No)]);
        let ran = start(&world, plan_of_one(), settings(true));
        assert_eq!(looks(&world), 2, "{gate:?}");
        assert_eq!(asked(&world).get(1), again.as_ref(), "{gate:?}");
        let went = gate == Verdict::Holds;
        assert_eq!(ran.exit, if went { Exit::Ok } else { Exit::Stopped }, "{gate:?}");
        assert_eq!(ran.state.going(), went, "a yes that was not taken is not on record");
        assert_eq!(world.calls().is_empty(), !went, "{gate:?}");
    }
}

#[test]
fn a_yes_to_fresh_votes_counts_at_once() {
    let world = World::new();
    world.turns([Turn { takes: Duration::from_secs(60), ..turn(Answer::Yes) }]);
    assert_eq!(start(&world, plan_of_one(), settings(true)).exit, Exit::Ok);
    assert_eq!(looks(&world), 1);
}

#[test]
fn a_run_taken_up_much_later_looks_at_its_gates_before_it_asks() {
    let world = World::new();
    world.turns([Turn { takes: Duration::from_secs(600), ..turn(Answer::No) }]);
    assert_eq!(start(&world, plan_of_one(), settings(true)).exit, Exit::Stopped);
    world.turns([Turn { gate: Some(Verdict::Fails), ..turn(Answer::Yes) }, turn(Answer::No)]);
    world.fail_check("gate down", Verdict::Fails);
    assert_eq!(resume(&world, settings(true)).exit, Exit::Stopped);
    assert_eq!(asked(&world)[1..], [QuestionKey::Blocked, QuestionKey::Blocked]);
    assert!(world.calls().is_empty());
}

#[test]
fn a_gate_that_was_overridden_stands_in_doubt_but_not_once_it_fails() {
    let world = World::new();
    world.fail_check("gate down", Verdict::Inconclusive);
    world.turns([
        turn(Answer::Recheck),
        Turn { gate: Some(Verdict::Fails), ..turn(Answer::Recheck) },
        turn(Answer::No),
    ]);
    let ran = start(&world, plan_of_one(), settings(true));
    assert_eq!(ran.exit, Exit::Stopped);
    let goes: Vec<_> = asked(&world).into_iter().skip(1).collect();
    assert_eq!(goes, [QuestionKey::Go, QuestionKey::Go, QuestionKey::Blocked]);
}

#[test]
fn the_incident_began_when_a_person_says_and_that_stays_known() {
    let world = World::new();
    let at = world.clock.now() - jiff::SignedDuration::from_mins(13);
    world.turns([turn(Answer::Began { at }), turn(Answer::No)]);
    let ran = start(&world, plan_of_one(), settings(true));
    assert_eq!(ran.state.incident_started, at);
    assert_eq!(asked(&world), [QuestionKey::Go, QuestionKey::Go]);
    assert_eq!(looks(&world), 1, "saying when it began looks at nothing");
    assert_eq!(resume(&world, settings(true)).state.incident_started, at);
}

#[test]
fn where_nobody_says_it_began_with_the_first_signal_that_failed() {
    let world = World::new();
    let mut quorum = gate("down", &[]);
    if let Body::Gate { checks } = &mut quorum.body {
        checks[0].check = "quorum".to_owned();
    }
    let ran = start(&world, plan(vec![quorum, action("capacity", &["down"])]), settings(true));
    let dated = world.durable().into_iter().find_map(|record| match record.event {
        Event::IncidentDated { at, said } => Some((at, said)),
        _ => None,
    });
    let (at, said) = dated.expect("it is dated");
    assert_eq!(ran.state.incident_started, at);
    assert!(said.contains("database"), "{said}");
}

/// A run whose votes are five minutes old when it comes to its point of no return; the gate says this from then on.
fn aged(verdict: Verdict) -> (World, Process) {
    let world = World::new();
    world.strike("fence", Op::Perform, Fault::Delay(Duration::from_secs(300)), 1);
    (world.clone(), turning(&world, verdict, settings(true)))
}

fn turning(world: &World, verdict: Verdict, settings: RunSettings) -> Process {
    let turned = world.clone();
    Process::with(settings).watched(move |record, _| {
        if matches!(&record.event, Event::StepStarted { step, .. } if step.0 == "fence") {
            turned.turn_gates(verdict);
        }
    })
}

#[test]
fn nothing_is_done_for_good_once_the_gates_have_fallen() {
    let (world, process) = aged(Verdict::Fails);
    let ran = process.start(&world, failover());
    assert_eq!((ran.exit, looks(&world)), (Exit::ChangesLeft, 2));
    assert!(world.switched().contains(&"capacity".to_owned()));
    assert!(!world.switched().contains(&"database".to_owned()));
    world.turn_gates(Verdict::Holds);
    assert_eq!(resume(&world, settings(true)).exit, Exit::Ok);
}

#[test]
fn a_gate_in_doubt_since_go_is_gone_past_with_a_reason_alone() {
    let by_flag = RunSettings {
        overrides: [("down".to_owned(), "seen from the office".to_owned())].into(),
        ..settings(false)
    };
    for (settings, exit, asks) in [
        (settings(true), Exit::Ok, 1),
        (by_flag, Exit::Ok, 0),
        (settings(false), Exit::ChangesLeft, 0),
    ] {
        let (world, _) = aged(Verdict::Holds);
        let ran = turning(&world, Verdict::Inconclusive, settings).start(&world, failover());
        assert_eq!(ran.exit, exit);
        let key = QuestionKey::Override { step: "down".into() };
        assert_eq!(asked(&world).iter().filter(|asked| **asked == key).count(), asks);
        assert_eq!(ran.state.answers.contains_key(&key), exit == Exit::Ok, "it is on record");
    }
}

#[test]
fn two_steps_that_meet_the_same_doubt_ask_for_one_reason() {
    let (world, _) = aged(Verdict::Holds);
    let asks = |id| PlannedStep { approve: Approval::Each { say: None }, ..action(id, &["fence"]) };
    let steps = vec![gate("down", &[]), action("fence", &["down"]), asks("one"), asks("two")];
    let ran = turning(&world, Verdict::Inconclusive, settings(true)).start(&world, plan(steps));
    assert_eq!(ran.exit, Exit::Ok);
    let asked = asked(&world);
    let of = |is: fn(&QuestionKey) -> bool| asked.iter().filter(|key| is(key)).count();
    assert_eq!(of(|key| matches!(key, QuestionKey::Override { .. })), 1, "{asked:?}");
    assert_eq!(of(|key| matches!(key, QuestionKey::Approve { .. })), 2, "{asked:?}");
}

#[test]
fn a_run_taken_up_again_changes_nothing_once_its_gates_have_fallen() {
    let (world, _) = aged(Verdict::Holds);
    let fencing =
        |event: &Event| matches!(event, Event::StepStarted { step, .. } if step.0 == "fence");
    let process = Process::with(settings(true)).halted(Halt::Soft, fencing);
    assert_eq!(process.start(&world, failover()).exit, Exit::Stopped);
    let before = (world.calls().len(), world.switched());
    world.turn_gates(Verdict::Fails);
    let ran = resume(&world, settings(true));
    assert_eq!(ran.exit, Exit::ChangesLeft);
    assert_eq!((world.calls().len(), world.switched()), before, "not even looked at");
    // Taking back needs no gate.
    let process = Process::with(settings(true)).rolling_back(RollbackScope::Run);
    assert_eq!(process.resume(&world).exit, Exit::RolledBack);
}

#[test]
fn past_the_point_of_no_return_there_is_only_forward() {
    let world = World::new();
    let mut plan = failover();
    let traffic = plan.steps.iter_mut().find(|step| step.id.0 == "traffic").expect("a step");
    traffic.approve = Approval::Each { say: None };
    world.strike("repoint", Op::Perform, Fault::Delay(Duration::from_secs(300)), 1);
    let turned = world.clone();
    let process = Process::with(settings(true)).watched(move |record, _| {
        if matches!(&record.event, Event::StepStarted { step, .. } if step.0 == "repoint") {
            turned.turn_gates(Verdict::Fails);
        }
    });
    assert_eq!(process.start(&world, plan).exit, Exit::Ok);
    assert_eq!(looks(&world), 2, "the run's own gate and end to end, once each");
}
