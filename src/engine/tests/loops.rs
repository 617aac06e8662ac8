//! The standing loops over every runbook: fail each step, each look, each check and each revert; lose what each
//! did; do each twice. Every run is held to the invariants by `sound`, and every fault must strike where it aims.

use super::runbooks::{Case, cases};
use super::script::{Fault, Op, World};
use super::*;
use crate::engine::scheduler::rollback_order;
use crate::outcome::{Effect, FailureClass, Verdict};

const FLAGS: [OnFailureFlag; 3] =
    [OnFailureFlag::Auto, OnFailureFlag::Rollback, OnFailureFlag::Stop];

fn with_flag(on_failure: OnFailureFlag) -> RunSettings {
    RunSettings { on_failure, ..settings(false) }
}

/// Holds that a run in which a step failed ended as it must, and that it goes on once the fault is gone.
fn failed(case: &Case, world: &World, ran: &Ran, step: &str, flag: OnFailureFlag, said: &str) {
    let failed =
        kinds(world, |event| matches!(event, Event::StepFailed { step: of, .. } if of.0 == step));
    assert!(failed > 0, "{said}: the step did not fail");
    let reverts = kinds(world, |event| matches!(event, Event::RevertStarted { .. }));
    let rolled_back = kinds(world, |event| matches!(event, Event::RollbackStarted { .. })) > 0;
    if case.tolerates(step) {
        assert_eq!((ran.exit, reverts), (Exit::WithExceptions, 0), "{said}");
    } else if flag == OnFailureFlag::Stop || ran.state.past() {
        assert!(!rolled_back, "{said}: rolled back");
        assert!(
            matches!(ran.exit, Exit::ChangesLeft | Exit::FailedUnchanged | Exit::NotMet),
            "{said}: {:?}",
            ran.exit
        );
    } else {
        assert!(
            matches!(ran.exit, Exit::RolledBack | Exit::FailedUnchanged | Exit::NotMet)
                || keeps_something(case, ran),
            "{said}: {:?}",
            ran.exit
        );
    }
    if !ran.state.is_final() {
        world.mend();
        let again = resume(world, settings(false));
        assert_eq!(again.exit, Exit::Ok, "{said}: taken up again");
        assert_eq!(world.places().live, case.end(), "{said}: taken up again");
        sound::nothing_doubled(world, said);
    }
}

/// Says whether a rollback left something because the runbook says that it stays.
fn keeps_something(case: &Case, ran: &Ran) -> bool {
    let kept = |step: &PlannedStep| matches!(step.rollback, Rollback::None { .. });
    let mut steps = case.plan.steps.iter().zip(&ran.state.steps);
    steps.any(|(planned, state)| planned.changes && state.changed() && kept(planned))
}

#[test]
fn each_step_fails() {
    for case in cases() {
        for id in &case.performed {
            for fault in [
                Fault::Fail(FailureClass::Denied, Effect::None),
                Fault::Fail(FailureClass::Invalid, Effect::Applied),
                Fault::Fail(FailureClass::Throttled, Effect::None),
            ] {
                for flag in FLAGS {
                    let said = format!("{}: {id}: {fault:?}, {flag:?}", case.name);
                    let world = case.fresh();
                    world.strike(id, Op::Perform, fault.clone(), u32::MAX);
                    let ran = start(&world, case.plan.clone(), with_flag(flag));
                    assert!(world.all_hit(), "{said}: did not strike");
                    failed(&case, &world, &ran, id, flag, &said);
                }
            }
        }
    }
}

#[test]
fn each_look_fails() {
    for case in cases() {
        for id in &case.performed {
            for flag in FLAGS {
                let said = format!("{}: {id}: observe, {flag:?}", case.name);
                let world = case.fresh();
                let fault = Fault::Fail(FailureClass::Denied, Effect::None);
                world.strike(id, Op::Observe, fault, 9);
                let ran = start(&world, case.plan.clone(), with_flag(flag));
                assert!(world.all_hit(), "{said}: did not strike");
                assert_eq!(world.count(&format!("perform {id}")), 0, "{said}");
                failed(&case, &world, &ran, id, flag, &said);
            }
        }
    }
}

/// Titles of every check of a plan with the steps that make it; `None` is the end of the run.
fn checks(plan: &Plan) -> Vec<(String, Vec<Option<String>>)> {
    let mut found: Vec<(String, Vec<Option<String>>)> = Vec::new();
    let mut note = |check: &CheckSpec, by: Option<&StepId>| {
        let by = by.map(|id| id.0.clone());
        match found.iter_mut().find(|(title, _)| *title == check.title) {
            Some((_, steps)) => steps.push(by),
            None => found.push((check.title.clone(), vec![by])),
        }
    };
    for step in &plan.steps {
        let gate = match &step.body {
            Body::Gate { checks } => checks.as_slice(),
            Body::Action { .. } => &[],
        };
        gate.iter().chain(&step.verify).for_each(|check| note(check, Some(&step.id)));
    }
    plan.verification.iter().for_each(|check| note(check, None));
    found
}

/// Says whether the journal shows that a check at a step, or at the end, came out so.
fn came_out(world: &World, by: Option<&str>, wanted: Verdict) -> bool {
    kinds(world, |event| match event {
        Event::GateSeen { step, verdict, .. } | Event::Verified { step, verdict, .. } => {
            by == Some(step.0.as_str()) && *verdict == wanted
        }
        Event::RunVerified { verdict, .. } => by.is_none() && *verdict == wanted,
        _ => false,
    }) > 0
}

/// How each check comes out, and what the operator said of failures.
const VERDICTS: [(Verdict, OnFailureFlag); 3] = [
    (Verdict::Fails, OnFailureFlag::Auto),
    (Verdict::Fails, OnFailureFlag::Stop),
    (Verdict::Inconclusive, OnFailureFlag::Rollback),
];

#[test]
fn each_check_fails_or_cannot_tell() {
    let cases = cases();
    let mut tried = std::collections::BTreeSet::new();
    for case in &cases {
        for (title, steps) in checks(&case.plan) {
            for (verdict, flag) in VERDICTS {
                let said = format!("{}: `{title}` {verdict:?}, {flag:?}", case.name);
                let world = case.fresh();
                world.fail_check(&title, verdict);
                let ran = start(&world, case.plan.clone(), with_flag(flag));
                let struck = steps.iter().find(|by| came_out(&world, by.as_deref(), verdict));
                let reached = |by: &Option<String>| {
                    by.as_ref().is_none_or(|id| ran.end(id) != Some(StepEnd::Skipped))
                };
                if !steps.iter().any(reached) {
                    // Its step is not needed in this kind of world; it is struck in another one, as is held below.
                    continue;
                }
                tried.insert((
                    case.plan.runbook.clone(),
                    title.clone(),
                    format!("{verdict:?} {flag:?}"),
                ));
                match struck.unwrap_or_else(|| panic!("{said}: did not strike")) {
                    Some(id) => failed(case, &world, &ran, id, flag, &said),
                    None => {
                        assert_eq!(ran.exit, Exit::ChangesLeft, "{said}");
                        world.mend();
                        assert_eq!(resume(&world, settings(false)).exit, Exit::Ok, "{said}");
                    }
                }
            }
        }
    }
    for case in &cases {
        for (title, _) in checks(&case.plan) {
            for (verdict, flag) in VERDICTS {
                let way = format!("{verdict:?} {flag:?}");
                let key = (case.plan.runbook.clone(), title.clone(), way);
                assert!(tried.contains(&key), "`{title}` of {} was never reached", key.0);
            }
        }
    }
}

/// Returns, for each step that can be taken back, after how many records of the clean run that is so at the latest,
/// and how: with the rest, or by its own name where only that leads past a point of no return.
fn revertable(case: &Case) -> Vec<(String, usize, RollbackScope)> {
    let mut found: Vec<(String, usize, RollbackScope)> = Vec::new();
    let undoable = |i: usize| {
        let step = &case.plan.steps[i];
        (!matches!(step.rollback, Rollback::None { .. })).then(|| step.id.clone())
    };
    for by_name in [false, true] {
        for records in (1..case.clean.len()).rev() {
            let state = RunState::fold(&case.clean[..records]).expect("a prefix folds");
            let steps = if by_name {
                state.sealed_changes()
            } else {
                rollback_order(&state, &RollbackScope::Run)
            };
            for step in steps.into_iter().filter_map(undoable) {
                if !found.iter().any(|(known, ..)| *known == step.0) {
                    let past = RollbackScope::Past { step: step.clone() };
                    found.push((step.0, records, if by_name { past } else { RollbackScope::Run }));
                }
            }
        }
    }
    found
}

#[test]
fn each_revert_fails() {
    let mut tried = std::collections::BTreeSet::new();
    let cases = cases();
    for case in &cases {
        for (id, records, scope) in revertable(case) {
            tried.insert((case.plan.runbook.clone(), id.clone()));
            for fault in [
                Fault::Fail(FailureClass::Denied, Effect::None),
                Fault::Fail(FailureClass::Denied, Effect::Applied),
                Fault::LostAnswer,
                Fault::LostRequest,
            ] {
                let said = format!("{}: revert {id}: {fault:?}", case.name);
                let world = case.worlds(records).remove(0);
                // The next look shows that it was taken back after all.
                let told = fault == Fault::LostAnswer;
                world.strike(&id, Op::Revert, fault, u32::MAX);
                let ran = Process::with(settings(false)).rolling_back(scope.clone()).resume(&world);
                assert!(world.all_hit(), "{said}: did not strike");
                let ran = if told {
                    ran
                } else {
                    assert_eq!(ran.exit, Exit::NeedsOperator, "{said}");
                    world.mend();
                    resume(&world, settings(false))
                };
                // One step taken back by its name leaves the rest, also where it was the point itself.
                let by_name = matches!(scope, RollbackScope::Past { .. });
                let stays = by_name || keeps_something(case, &ran) || ran.state.past();
                let expected = if stays { Exit::ChangesLeft } else { Exit::RolledBack };
                assert_eq!(ran.exit, expected, "{said}");
                assert!(!world.ours().contains(&id), "{said}: still in place");
                sound::nothing_doubled(&world, &said);
            }
        }
    }
    for case in &cases {
        for step in case.plan.steps.iter().filter(|step| step.changes) {
            let kept = matches!(step.rollback, Rollback::None { .. });
            let key = (case.plan.runbook.clone(), step.id.0.clone());
            assert!(kept || tried.contains(&key), "{}: {} is never reverted", case.name, step.id);
        }
    }
}

#[test]
fn the_effect_of_each_step_is_lost() {
    for case in cases() {
        for id in case.changing() {
            for (fault, performs) in [
                (Fault::LostAnswer, 1),
                (Fault::LostRequest, 2),
                // The look afterwards does not show it yet, or shows it as under way.
                (Fault::Late(1), 1),
                (Fault::Late(2), 2),
                (Fault::Slow(1), 2),
                (Fault::Delay(std::time::Duration::from_secs(1_000_000)), 2),
            ] {
                let said = format!("{}: {id}: {fault:?}", case.name);
                let world = case.fresh();
                world.strike(id, Op::Perform, fault, 1);
                let ran = start(&world, case.plan.clone(), settings(false));
                assert!(world.all_hit(), "{said}: did not strike");
                // A million seconds are more than any objective allows.
                assert!(
                    matches!(ran.exit, Exit::Ok | Exit::ObjectiveMissed),
                    "{said}: {:?}",
                    ran.exit
                );
                assert_eq!(ran.end(id), Some(StepEnd::Done), "{said}");
                assert_eq!(world.count(&format!("perform {id}")), performs, "{said}");
                assert_eq!(world.places().live, case.end(), "{said}");
                sound::nothing_doubled(&world, &said);
            }
        }
    }
}

#[test]
fn each_step_is_done_twice() {
    for case in cases() {
        let world = case.fresh();
        for id in &case.performed {
            world.strike(id, Op::Perform, Fault::Twice, 1);
        }
        let ran = start(&world, case.plan.clone(), settings(false));
        assert!(world.all_hit(), "{}", case.name);
        assert_eq!(ran.exit, Exit::Ok, "{}", case.name);
        let (places, clean) = (world.places(), case.world.places());
        assert_eq!((places.live, places.made), (clean.live, clean.made), "{}", case.name);
    }
}

#[test]
fn a_run_in_which_everything_is_in_place_changes_nothing() {
    for case in cases() {
        let world = case.fresh();
        case.changing().iter().for_each(|id| world.switch(id));
        let ran = start(&world, case.plan.clone(), settings(false));
        assert_eq!(ran.exit, Exit::Ok, "{}", case.name);
        assert_eq!(world.places().made, [], "{}", case.name);
        for id in case.changing() {
            assert_eq!(ran.end(id), Some(StepEnd::Satisfied), "{}: {id}", case.name);
        }
    }
}
