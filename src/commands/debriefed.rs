//! The end of a rehearsal: its debrief, beside the earlier ones of the same runbook and estate.

use std::path::Path;

use super::context::{Context, store_error};
use super::journals;
use super::rehearsal::Rehearsal;
use crate::clock::jump::Pace;
use crate::error::UserError;
use crate::event::{Event, Mode, Record, WorldNamed};
use crate::exit::Exit;
use crate::ids::RunId;
use crate::journal::listed::Listed;
use crate::journal::store::Store;
use crate::journal::summary::Standing;
use crate::plan::Plan;
use crate::report::debrief::{self, Earlier, Setup};
use crate::report::summary::{self, Summary};
use crate::report::terminal::Tone;
use crate::report::{text, words};
use crate::sandbox::log::{self, Began};

/// Earlier rehearsals a debrief compares with.
const EARLIER_MAX: usize = 3;

/// Ends a rehearsal with its debrief; one that left the simulation does not end well.
pub(super) fn debriefed(
    context: &Context,
    journal: &Path,
    run: &RunId,
    exit: Exit,
) -> Result<Exit, UserError> {
    let Some(rehearsal) = context.rehearsal() else { return Ok(exit) };
    let records = journals::read(journal, run)?;
    let stopped = records.last().is_some_and(|last| matches!(last.event, Event::RunStopped { .. }));
    let Some((mut world, log_failure)) = rehearsal.told(stopped) else { return Ok(exit) };
    world.file = start(&records).and_then(|start| start.world).and_then(|world| world.file.clone());
    let Some(mut found) = summary::of(&records, context.clock.now()) else { return Ok(exit) };
    let left = !world.left.is_empty();
    let exit = if left { exit.graver(Exit::WithExceptions) } else { exit };
    if left {
        found.proves_nothing(exit);
    }
    let earlier = earlier(context, &found, setup(journal, &records).as_ref());
    let debrief = debrief::of(&records, &found, world, earlier);
    if context.json() {
        context.terminal.out(&serde_json::to_string(&debrief).unwrap_or_default());
    } else {
        context.terminal.out("");
        for line in debrief::lines(&debrief, context.terminal.columns()) {
            context.terminal.out(&line);
        }
    }
    if let Some(why) = log_failure {
        let said =
            format!("the world's changes could not be kept, it cannot be taken up again: {why}");
        context.terminal.loud(Tone::Warn, &said);
    }
    if left {
        let said = "LEFT THE SIMULATION: something was asked that it does not know; what came of it proves nothing";
        for line in text::wrap(said, context.terminal.columns(), 2) {
            context.terminal.loud(Tone::Bad, &line);
        }
    }
    Ok(exit)
}

/// Ends a rehearsal that was given up with its debrief.
pub(super) fn given_up(context: &Context, store: &Store, run: &RunId) -> Result<Exit, UserError> {
    let journal = store.dir(run).journal();
    let records = journals::read(&journal, run)?;
    let rehearsal = Rehearsal::of(&journal, &journals::fold(run, &records)?, &records, Pace::Max);
    let begun = rehearsal.and_then(|rehearsal| {
        // Nobody goes on with it, and the lock is given back already: it is only looked at.
        rehearsal.look()?;
        Ok(rehearsal)
    });
    match begun {
        Ok(rehearsal) => {
            let exit = debriefed(&context.rehearsing(rehearsal), &journal, run, Exit::Ok)?;
            if !context.json() {
                context.terminal.out(words::NOT_REAL);
            }
            Ok(exit)
        }
        // It is given up all the same.
        Err(error) => {
            let said = format!("there is no debrief: {}", error.message);
            context.terminal.loud(Tone::Warn, &said);
            Ok(Exit::Ok)
        }
    }
}

/// What the first record of a rehearsal says.
struct Start<'a> {
    plan: &'a Plan,
    /// The recovery point that was named beforehand
    point: Option<&'a str>,
    world: Option<&'a WorldNamed>,
}

fn start(records: &[Record]) -> Option<Start<'_>> {
    let Event::RunStarted { plan, settings, world, .. } = &records.first()?.event else {
        return None;
    };
    Some(Start { plan, point: settings.recovery_point.as_deref(), world: world.as_ref() })
}

/// Returns what a rehearsal began with; `None` where that cannot be read any more.
fn setup(journal: &Path, records: &[Record]) -> Option<Setup> {
    let began = log::began(journal.parent()?).ok()?;
    Some(setup_of(&began, &start(records)?))
}

fn setup_of(began: &Began, start: &Start<'_>) -> Setup {
    Setup {
        world: began.digest.clone(),
        plan: start.plan.digest_without(start.point),
        faults: began.own.iter().chain(&began.injected).cloned().collect(),
    }
}

/// Returns the earlier rehearsals of the same runbook and estate, newest first.
fn earlier(context: &Context, summary: &Summary, ours: Option<&Setup>) -> Vec<Earlier> {
    let Ok(store) = context.store() else { return Vec::new() };
    let Ok(listed) = store.list().map_err(|error| store_error(&error)) else { return Vec::new() };
    let mut found = Vec::new();
    for listed in listed {
        let Listed::Run(other) = listed else { continue };
        let same = other.mode == Mode::Rehearsal
            && other.runbook == summary.runbook
            && other.estate == summary.estate
            && other.run != summary.run;
        if !same || found.len() >= EARLIER_MAX {
            continue;
        }
        let journal = store.dir(&other.run).journal();
        let Ok(records) = journals::read(&journal, &other.run) else { continue };
        // Of one that goes on or was lost, the last record is as far as anybody knows.
        let Some(until) = records.last().map(|record| record.time) else { continue };
        let Some(told) = summary::of(&records, until) else { continue };
        let over = match other.standing {
            Standing::Finished { .. } | Standing::Abandoned { .. } => true,
            Standing::Running | Standing::Stopped { .. } => false,
        };
        found.push(beside(Earlier::of(&told), &journal, &records, over, ours));
    }
    found
}

/// Adds what an earlier rehearsal began with, and whether it can be compared with this one.
fn beside(
    earlier: Earlier,
    journal: &Path,
    records: &[Record],
    over: bool,
    ours: Option<&Setup>,
) -> Earlier {
    let Some(start) = start(records) else { return earlier };
    let world = start.world.map(ToString::to_string);
    let began = journal.parent().and_then(|directory| log::began(directory).ok());
    let Some(began) = began else { return Earlier { world, ..earlier } };
    let differs = Setup::differs(ours, Some(&setup_of(&began, &start)));
    // What can still be gone on with keeps its surprises.
    let untold = began.secret && !over;
    let mut faults = began.own;
    if !untold {
        faults.extend(began.injected);
    }
    Earlier { world, seed: Some(began.seed), faults, untold, differs, ..earlier }
}
