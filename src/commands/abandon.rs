//! Giving a run up. One whose journal is damaged can be given up, too: nothing else leads on from it.

use serde_json::json;

use super::context::{Context, chain, find_error, store_error};
use super::debriefed;
use super::journals::{fold, instant};
use super::ledger::write;
use super::meant::the_stopped_run;
use crate::engine::state::RunState;
use crate::error::UserError;
use crate::event::{Event, Mode, Record};
use crate::exit::Exit;
use crate::ids::{RunId, StepId};
use crate::journal::damaged::{self, GivenUp};
use crate::journal::lock::{FileLock, Holder};
use crate::journal::reader::ReadError;
use crate::journal::store::{Namespace, Store, StoreError};
use crate::journal::who::who;
use crate::report::terminal::Tone;

/// Gives a run up: reverts nothing and says what is still changed.
pub(super) fn abandon(
    context: &Context,
    text: Option<&str>,
    reason: &str,
) -> Result<Exit, UserError> {
    if reason.trim().is_empty() {
        return Err(UserError::new(Exit::Usage, "--reason is empty: say why"));
    }
    let store = context.store()?;
    let run = match text {
        Some(text) => store.find(text).map_err(|error| find_error(&error))?,
        None => {
            let next = |run: &str, _: &str| format!("abandon {run} --reason WHY");
            the_stopped_run(&store, Namespace::Live, next)?
        }
    };
    let GaveUp { still, mode } = give_up(context, &store, &run, reason)?;
    if context.json() {
        let answer = json!({ "format": "phoenix-dr/abandon", "version": 1, "run": run,
            "mode": mode, "still_changed": still });
        context.terminal.out(&answer.to_string());
    } else {
        let whose = mode.map_or("", Mode::heading);
        let said = format!("{whose}run {} is abandoned; nothing was reverted", run.short());
        context.terminal.out(&said);
        for step in &still {
            context.terminal.out(&format!("  still changed: {step}"));
        }
    }
    match mode {
        // It cannot be gone on with any more: what was kept a surprise is told.
        Some(Mode::Rehearsal) => debriefed::given_up(context, &store, &run),
        Some(Mode::Live | Mode::DryRun) | None => Ok(Exit::Ok),
    }
}

/// A run that was given up.
pub(super) struct GaveUp {
    /// The steps whose changes stay
    still: Vec<StepId>,
    /// `None` where its journal is damaged
    mode: Option<Mode>,
}

/// Records that a run is given up.
pub(super) fn give_up(
    context: &Context,
    store: &Store,
    run: &RunId,
    reason: &str,
) -> Result<GaveUp, UserError> {
    let mut records = Vec::new();
    let now = context.clock.now();
    let mut open = match store.open_run(run, now, |record| records.push(record)) {
        Ok(open) => open,
        Err(StoreError::Read(error)) if error.is_damage() => {
            let still = give_up_damaged(context, store, run, reason, &records, &error)?;
            return Ok(GaveUp { still, mode: None });
        }
        Err(error) => return Err(store_error(&error)),
    };
    let state = fold(run, &records)?;
    if state.is_final() {
        return Err(UserError::new(Exit::Usage, format!("run {run} is over already")));
    }
    let still_changed = changed(&state);
    let event =
        Event::RunAbandoned { reason: reason.to_owned(), still_changed: still_changed.clone() };
    // A rehearsal's time is its world's, which stood still since.
    let at = instant(&state, &records, now);
    let record = open.chain.seal(event, at);
    write(&mut open.writer, &[record])?;
    Ok(GaveUp { still: still_changed, mode: Some(state.mode) })
}

/// Returns the steps whose changes stay.
fn changed(state: &RunState) -> Vec<StepId> {
    let steps = state.plan.steps.iter().zip(&state.steps);
    let changed = steps.filter(|(step, seen)| step.changes && seen.changed());
    changed.map(|(step, _)| step.id.clone()).collect()
}

/// Keeps beside a damaged journal that the run is given up; returns the steps its intact records say are changed.
fn give_up_damaged(
    context: &Context,
    store: &Store,
    run: &RunId,
    reason: &str,
    intact: &[Record],
    error: &ReadError,
) -> Result<Vec<StepId>, UserError> {
    let now = context.clock.now();
    let dir = store.dir(run);
    let _lock = FileLock::take(&dir.lock(), Holder::this_process(run, now))
        .map_err(|error| store_error(&error.into()))?;
    let damage = chain(error);
    let given_up = GivenUp { reason: reason.to_owned(), who: who(), at: now, damage };
    damaged::give_up(&dir, &given_up).map_err(|why| {
        UserError::new(Exit::Journal, format!("keep that run {run} is given up: {why}"))
    })?;
    let said = format!("its journal is damaged and stays as it is: {}", given_up.damage);
    context.terminal.loud(Tone::Warn, &said);
    context.terminal.loud(Tone::Plain, &format!("hint: {}", error.hint()));
    Ok(RunState::fold(intact).map(|state| changed(&state)).unwrap_or_default())
}
