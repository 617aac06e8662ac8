//! Runs without faults, and the order of things.

use std::time::Duration;

use super::script::{Fault, Op, World};
use super::*;
use crate::engine::ports::LeaseRefusal;
use crate::engine::step::Stage;
use crate::event::Answer;
use crate::outcome::{Effect, FailureClass, Verdict};

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
    world.age();
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
        world.switch(id);
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
fn what_is_in_doubt_is_not_taken_back_by_itself() {
    for (verdict, flag, exit) in [
        (Verdict::Fails, OnFailureFlag::Auto, Exit::RolledBack),
        (Verdict::Inconclusive, OnFailureFlag::Auto, Exit::ChangesLeft),
        (Verdict::Inconclusive, OnFailureFlag::Rollback, Exit::RolledBack),
    ] {
        let world = World::new();
        world.fail_check("verify capacity", verdict);
        let settings = RunSettings { on_failure: flag, ..settings(false) };
        let ran = start(&world, failover(), settings);
        assert_eq!(ran.exit, exit, "{verdict:?} {flag:?}");
        let stays = exit == Exit::ChangesLeft;
        assert_eq!(
            world.switched().contains(&"capacity".to_owned()),
            stays,
            "{verdict:?} {flag:?}"
        );
        if stays {
            world.mend_checks();
            assert_eq!(resume(&world, super::settings(false)).exit, Exit::Ok, "it looks again");
        }
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
fn a_gate_that_fails_is_not_overridden() {
    let world = World::new();
    world.fail_check("gate down", Verdict::Fails);
    for interactive in [false, true] {
        let mut settings = settings(interactive);
        settings.overrides.insert("down".to_owned(), "AWS told us by phone".to_owned());
        let ran = start(&world, failover(), settings);
        assert_eq!(ran.exit, Exit::NotMet);
        assert_eq!((world.calls().len(), world.asked().len()), (0, 0));
    }
}

#[test]
fn records_wait_for_each_other_but_never_for_long() {
    let world = World::new();
    // Gates need no answer from the journal: each record is followed by the next one a millisecond later.
    world.with(|w| w.check_delay = Duration::from_millis(1));
    let gates: Vec<String> = (0..20).map(|i| format!("g{i}")).collect();
    let steps = gates.iter().enumerate().map(|(i, id)| {
        let needs: Vec<&str> = i.checked_sub(1).map(|i| gates[i].as_str()).into_iter().collect();
        gate(id, &needs)
    });
    let ran = start(&world, plan(steps.collect()), settings(true));
    assert_eq!(ran.exit, Exit::Ok);
    let writes = world.with(|w| w.writes.clone());
    assert!(writes.iter().any(|(records, _)| *records > 1), "nothing shared a sync");
    assert!(world.waited() <= Duration::from_millis(2), "a record waited {:?}", world.waited());
}

#[test]
fn what_is_as_desired_gives_its_outputs_after_a_crash_as_well() {
    let world = World::new();
    world.switch("a");
    let user = PlannedStep {
        verify: Vec::new(),
        ..step(
            "b",
            &["a"],
            Body::Action {
                action: "command.run".to_owned(),
                with: Map::from_iter([("argv".to_owned(), "${{ steps.a.outputs.stdout }}".into())]),
            },
        )
    };
    let ran = start(&world, plan(vec![action("a", &[]), user.clone()]), settings(true));
    assert_eq!((ran.exit, ran.end("a")), (Exit::Ok, Some(StepEnd::Satisfied)));
    let whole = world.durable();
    for cut in 1..whole.len() {
        let world = world.at(&world.with(|w| w.moments[cut].clone()), &whole[..cut]);
        let ran = resume(&world, settings(true));
        assert_eq!(ran.exit, Exit::Ok, "cut at {cut}");
        assert_eq!(ran.step("b").with["argv"], "of-a", "cut at {cut}");
    }
}

#[test]
fn what_a_step_leaves_open_survives_a_crash() {
    for fault in [None, Some(Fault::LostAnswer)] {
        let world = World::new();
        world.leaves_open("a");
        if let Some(fault) = fault {
            world.strike("a", Op::Perform, fault, 1);
        }
        let steps = vec![action("a", &[]), action("b", &["a"])];
        assert_eq!(start(&world, plan(steps), settings(true)).exit, Exit::Ok);
        let whole = world.durable();
        for cut in 1..=whole.len() {
            let moment = world.with(|w| w.moments.get(cut).unwrap_or(&w.places).clone());
            let world = world.at(&moment, &whole[..cut]);
            let state = match cut == whole.len() {
                true => RunState::fold(&whole).expect("it folds"),
                false => resume(&world, settings(true)).state,
            };
            assert!(state.obligations.contains_key("after-a"), "cut at {cut}");
            let opened = kinds(&world, |event| matches!(event, Event::ObligationOpened { .. }));
            assert_eq!(opened, 1, "cut at {cut}");
        }
    }
}

#[test]
fn what_a_later_step_settles_is_closed_once_wherever_the_run_is_cut() {
    let closed = |world: &World| {
        kinds(world, |event| matches!(event, Event::ObligationClosed { lapsed: false, .. }))
    };
    let world = World::new();
    world.leaves_open("a");
    world.settles("b", "a");
    // Where the answer of the one before was lost this one closes it; else nothing is left to close.
    world.settles("c", "a");
    let steps = vec![action("a", &[]), action("b", &["a"]), action("c", &["b"])];
    let ran = start(&world, plan(steps), settings(true));
    assert_eq!((ran.exit, ran.state.obligations.len(), closed(&world)), (Exit::Ok, 0, 1));
    let whole = world.durable();
    for cut in 1..whole.len() {
        let world = world.at(&world.with(|w| w.moments[cut].clone()), &whole[..cut]);
        let ran = resume(&world, settings(true));
        assert_eq!(ran.exit, Exit::Ok, "cut at {cut}");
        assert_eq!((ran.state.obligations.len(), closed(&world)), (0, 1), "cut at {cut}");
    }
}

#[test]
fn an_attempt_that_stays_under_way_is_adopted_a_few_times_and_no_more() {
    let world = World::new();
    world.strike("a", Op::Perform, Fault::Slow(1_000), 1_000);
    let ran = start(&world, plan(vec![action("a", &[])]), settings(true));
    assert_eq!(ran.exit, Exit::Stopped, "nobody is at the menu");
    assert_eq!(world.count("perform a"), 3);
    world.mend();
    world.with(|w| w.veils.clear());
    assert_eq!(resume(&world, settings(true)).exit, Exit::Ok);
    assert_eq!(world.places().made.len(), 1, "the same token made it once");
}

#[test]
fn an_effect_that_shows_late_is_known_as_ours() {
    let world = World::new();
    world.strike("a", Op::Perform, Fault::Late(1), 1);
    world.strike("b", Op::Perform, Fault::Fail(FailureClass::Denied, Effect::None), 1);
    let steps = vec![action("a", &[]), action("b", &["a"])];
    let ran = start(&world, plan(steps), settings(false));
    assert_eq!((ran.exit, ran.end("a")), (Exit::RolledBack, Some(StepEnd::Done)));
    assert!(world.switched().is_empty());
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

/// Three steps of an hour each, of three priorities, one after the other.
fn by_priority() -> Plan {
    use crate::estate::types::{Objective, Priority};
    let of = |id: &str, needs: &[&str], priority| PlannedStep {
        priority: Some(priority),
        timeout: Span::minutes(120),
        ..action(id, needs)
    };
    let steps = vec![
        of("a", &[], Priority::P0),
        of("b", &["a"], Priority::P1),
        of("c", &["b"], Priority::P2),
    ];
    let mut plan = plan(steps);
    for (priority, rto, rto_max) in [
        (Priority::P0, Span::minutes(30), None),
        (Priority::P1, Span::minutes(60), Some(Span::minutes(150))),
        (Priority::P2, Span::minutes(240), None),
    ] {
        let objective = Objective { rto, rto_max, rpo: Span::minutes(5) };
        plan.estate.objectives.insert(priority, objective);
    }
    plan.objectives.rto_max = Span::minutes(90);
    plan
}

#[test]
fn an_objective_is_missed_by_the_priority_that_missed_it() {
    let hour = Duration::from_secs(3_600);
    // P0 has the runbook's maximum, 1 h 30; P1 its own, 2 h 30; P2 its objective, 4 h.
    for (slow, exit) in [
        ([hour, hour, hour], Exit::Ok),
        ([hour * 8 / 5, Duration::ZERO, Duration::ZERO], Exit::ObjectiveMissed),
        ([hour, hour * 8 / 5, Duration::ZERO], Exit::ObjectiveMissed),
        ([hour, hour, hour * 19 / 10], Exit::Ok),
    ] {
        let world = World::new();
        for (id, length) in ["a", "b", "c"].into_iter().zip(slow) {
            world.strike(id, Op::Perform, Fault::Delay(length), 1);
        }
        let ran = start(&world, by_priority(), settings(true));
        assert_eq!(ran.exit, exit, "{slow:?}");
    }
}

#[test]
fn what_was_tried_and_failed_is_not_recorded_as_never_started() {
    for effect in [Effect::None, Effect::Unknown] {
        let world = World::new();
        world.strike("database", Op::Perform, Fault::Fail(FailureClass::Denied, effect), 9);
        let settings = RunSettings { on_failure: OnFailureFlag::Stop, ..settings(false) };
        let ran = start(&world, failover(), settings.clone());
        let Stage::Failed { error } = &ran.step("database").stage else { panic!("it failed") };
        world.mend();
        // The process that rolls back opens it again, as it may be tried anew, and then never tries it.
        let ran = Process::with(settings).rolling_back(RollbackScope::Run).resume(&world);
        assert_eq!(ran.exit, Exit::RolledBack, "{effect:?}");
        assert_eq!(ran.end("database"), Some(StepEnd::Failed), "{effect:?}");
        assert_eq!(ran.step("database").reason.as_ref(), Some(&error.message), "{effect:?}");
        assert_eq!(ran.end("traffic"), Some(StepEnd::NotRun), "{effect:?}");
    }
}
