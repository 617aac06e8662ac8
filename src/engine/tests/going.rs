//! Asking whether to go: gates looked at again, votes that are too old, when the incident began.

use std::time::Duration;

use super::script::{Turn, World};
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
