//! What must hold after every run, however it went.

use std::collections::BTreeMap;

use super::Ran;
use super::script::World;
use crate::engine::state::RunState;
use crate::engine::step::Stage;
use crate::event::{Event, Record, RollbackScope};
use crate::exit::Exit;
use crate::outcome::{Effect, StepEnd};

/// Holds a run to the invariants; every test that runs the engine goes through here.
pub(super) fn hold(world: &World, ran: &Ran) {
    let records = world.durable();
    let violations = world.with(|w| w.violations.clone());
    assert!(violations.is_empty(), "{violations:#?}");
    let durable = RunState::fold(&records);
    let durable = durable.unwrap_or_else(|why| panic!("the journal does not fold: {why}"));
    nothing_unjournalled(world, &durable);
    nothing_reverted_past_a_point(&records);
    if ran.exit != Exit::Journal {
        assert_eq!(format!("{:?}", durable.steps), format!("{:?}", ran.state.steps));
        explained(&records, &durable, ran);
        as_the_code_says(world, &durable, ran.exit);
    }
}

/// Nothing is switched that the journal does not say is, or may be.
fn nothing_unjournalled(world: &World, durable: &RunState) {
    for id in world.ours() {
        let i = durable.graph.of_step(&id.as_str().into()).expect("a step of the plan");
        let effect = durable.steps[i].effect;
        assert_ne!(effect, Effect::None, "{id} is in place and the journal says it is not");
    }
}

/// After a point of no return nothing that it seals is reverted, unless an operator named that one step.
fn nothing_reverted_past_a_point(records: &[Record]) {
    let mut state: Option<RunState> = None;
    let mut named = None;
    for record in records {
        match &record.event {
            Event::RollbackStarted { scope: RollbackScope::Past { step }, .. } => {
                named = Some(step.clone());
            }
            Event::RollbackStarted { .. } => named = None,
            Event::RevertStarted { step, .. } => {
                let state = state.as_ref().expect("a run starts before it reverts");
                let i = state.graph.of_step(step).expect("a step of the plan");
                let sealed = state.sealed().contains(&i) && named.as_ref() != Some(step);
                assert!(!sealed, "{step} was reverted although a point of no return seals it");
            }
            _ => {}
        }
        match &mut state {
            None => state = Some(RunState::start(record).expect("a run starts")),
            Some(state) => {
                state.apply(&record.event, record.time).expect("each record follows the others");
            }
        }
    }
}

/// A run ends in a state that says what it is: a reason, and one terminal record for each step where it is over.
fn explained(records: &[Record], durable: &RunState, ran: &Ran) {
    let ends = |step: &str| {
        let ended = records.iter().filter(
            |record| matches!(&record.event, Event::StepFinished { step: of, .. } if of.0 == step),
        );
        ended.count()
    };
    match &records.last().expect("a record").event {
        Event::RunStopped { why, exit } => {
            assert!(!why.is_empty());
            assert_eq!(*exit, ran.exit.code());
            assert!(!durable.is_final());
        }
        Event::RunFinished { exit, .. } => {
            assert_eq!(*exit, ran.exit.code());
            let begun_anew = records.iter().any(|record| match &record.event {
                Event::RollbackEnded { .. } => true,
                Event::RunResumed { settings, .. } => settings.recovery_point.is_some(),
                _ => false,
            });
            for (planned, step) in durable.plan.steps.iter().zip(&durable.steps) {
                assert!(step.ended().is_some(), "{} has no end", planned.id);
                let ends = ends(&planned.id.0);
                assert!(ends == 1 || begun_anew, "{} ended {ends} times", planned.id);
            }
        }
        other => panic!("a run ends with {other:?}"),
    }
}

/// The exit code says what is in place.
fn as_the_code_says(world: &World, durable: &RunState, exit: Exit) {
    let changing = |id: &str| durable.plan.step(&id.into()).is_some_and(|step| step.changes);
    let left: Vec<String> = world.ours().into_iter().filter(|id| changing(id)).collect();
    match exit {
        Exit::RolledBack | Exit::FailedUnchanged | Exit::NotMet => {
            assert!(left.is_empty(), "exit {exit:?} with {left:?} in place");
        }
        Exit::Ok => {
            let undone = durable.steps.iter().zip(&durable.plan.steps).find(|(step, planned)| {
                let well = step.ended().is_some_and(StepEnd::satisfies);
                !well
                    || (planned.changes && step.effect == Effect::Unknown && in_doubt(&step.stage))
            });
            assert!(undone.is_none(), "exit Ok with {:?}", undone.map(|(_, planned)| &planned.id));
        }
        Exit::Internal
        | Exit::Usage
        | Exit::RunbookInvalid
        | Exit::NeedsOperator
        | Exit::WithExceptions
        | Exit::NeedsAnswer
        | Exit::Held
        | Exit::ObjectiveMissed
        | Exit::Journal
        | Exit::Stopped
        | Exit::ChangesLeft
        | Exit::DryRunChanges
        | Exit::Interrupted => {}
    }
}

fn in_doubt(stage: &Stage) -> bool {
    matches!(stage, Stage::Started | Stage::Doubtful { .. })
}

/// Holds that no change was made twice: a step is made once, and once more for each time it was taken back.
pub(super) fn nothing_doubled(world: &World, said: &str) {
    let places = world.places();
    let mut balance: BTreeMap<&str, i64> = BTreeMap::new();
    for (step, _) in &places.made {
        *balance.entry(step).or_default() += 1;
    }
    for step in &places.unmade {
        *balance.entry(step).or_default() -= 1;
    }
    for (step, balance) in balance {
        assert!(balance <= 1, "{said}: {step} was made once too often: {:?}", places.made);
    }
}
