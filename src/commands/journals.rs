//! Reading a run's journal, and the state it folds to.

use std::path::Path;

use jiff::Timestamp;

use super::meant::what_to_do_about;
use crate::engine::state::{FoldError, Folding, RunState};
use crate::error::UserError;
use crate::event::{Mode, Record};
use crate::exit::Exit;
use crate::ids::RunId;
use crate::journal::reader;
use crate::journal::record::Entry;

/// Reads a journal's records; what is being written right now is read next time.
pub(super) fn read(path: &Path, run: &RunId) -> Result<Vec<Record>, UserError> {
    let mut records = Vec::new();
    each(path, run, |record| records.push(record))?;
    Ok(records)
}

/// Reads a journal's records one by one: a long one is a hundred times its state.
pub(super) fn each(
    path: &Path,
    run: &RunId,
    mut take: impl FnMut(Record),
) -> Result<(), UserError> {
    let mut foreign = None;
    reader::read(path, |entry| match entry {
        Entry::Known(record) => take(*record),
        Entry::Foreign(other) => foreign = Some(other.kind().to_owned()),
    })
    .map_err(|error| {
        let user = error.user();
        if error.is_damage() { what_to_do_about(user, &run.0) } else { user }
    })?;
    match foreign {
        None => Ok(()),
        Some(kind) => Err(UserError::new(
            Exit::Journal,
            format!(
                "run {run} was written by a newer phoenix-dr: event `{kind}` is not known here"
            ),
        )),
    }
}

/// Folds a run's records.
pub(super) fn fold(run: &RunId, records: &[Record]) -> Result<RunState, UserError> {
    if records.is_empty() {
        return Err(never_began(run));
    }
    RunState::fold(records).map_err(|error| does_not_fold(run, &error))
}

/// Reads a journal and folds its records on the way.
pub(super) fn folded(path: &Path, run: &RunId) -> Result<RunState, UserError> {
    let mut folding = Folding::default();
    let (mut illegal, mut began) = (None, false);
    // It is read to its end all the same: that it is of a newer version explains what is illegal in it.
    each(path, run, |record| {
        began = true;
        if illegal.is_none() {
            illegal = folding.take(&record).err();
        }
    })?;
    if !began {
        return Err(never_began(run));
    }
    let state = illegal.map_or_else(|| folding.end(), Err);
    state.map_err(|error| does_not_fold(run, &error))
}

fn never_began(run: &RunId) -> UserError {
    let message = format!("run {run} was ended before its first record: it changed nothing");
    UserError::new(Exit::Usage, message).hint("start again; the bare command lists how: phoenix-dr")
}

fn does_not_fold(run: &RunId, error: &FoldError) -> UserError {
    UserError::new(Exit::Journal, format!("the journal of run {run} does not fold: {error}"))
}

/// Returns the instant of a record that is added from outside: a rehearsal's time stands still while none of its
/// processes runs.
pub(super) fn instant(state: &RunState, records: &[Record], now: Timestamp) -> Timestamp {
    let last = records.last().map(|record| record.time);
    last.filter(|_| state.mode == Mode::Rehearsal).unwrap_or(now)
}
