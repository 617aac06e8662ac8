//! Which run is meant by a command that names it by a part of its id, by what it left open, or not at all.

use super::context::{chain, find_error, store_error};
use crate::error::UserError;
use crate::event::Mode;
use crate::exit::Exit;
use crate::ids::RunId;
use crate::journal::listed::{Listed, Unreadable};
use crate::journal::store::{Namespace, Store};

/// Returns the run that is named, or the one that is meant where none is.
pub(super) fn named_or_meant(store: &Store, text: Option<&str>) -> Result<RunId, UserError> {
    if let Some(text) = text {
        return store.find(text).map_err(|error| find_error(&error));
    }
    if let Some(meant) = store.meant().map_err(|error| store_error(&error))? {
        return Ok(meant);
    }
    // Of a run that cannot be read nobody may say that there was none.
    for listed in store.list().map_err(|error| store_error(&error))? {
        if let Listed::Unreadable(damaged) = listed
            && damaged.may_be_unfinished()
        {
            return Err(unreadable(&damaged));
        }
    }
    let error = UserError::new(Exit::Usage, "there has been no run yet")
        .hint("what can be run: phoenix-dr list")
        .hint("runs of another state directory: PHOENIX_DR_STATE=DIR phoenix-dr runs");
    Err(never_begun(store)?.into_iter().fold(error, UserError::hint))
}

/// Returns the run that left something open.
pub(super) fn run_with(store: &Store, obligation: &str) -> Result<RunId, UserError> {
    for listed in store.list().map_err(|error| store_error(&error))? {
        if let Listed::Run(summary) = listed {
            let open = store
                .obligations(&summary.estate, Namespace::Live)
                .map_err(|error| store_error(&error))?;
            if let Some(found) = open.into_iter().find(|open| open.obligation.id == obligation) {
                return Ok(found.run);
            }
        }
    }
    Err(UserError::new(Exit::Usage, format!("nothing open is called `{obligation}`"))
        .hint("see what is open: phoenix-dr"))
}

/// Returns the one run that stopped; several, or none, are an error that names them.
///
/// A run that cannot be read may have stopped as well: where no other has, it is named instead of saying that all is over.
/// `next` words the command for one that stopped elsewhere, by its name and what says that it is a rehearsal.
pub(super) fn the_stopped_run(
    store: &Store,
    namespace: Namespace,
    next: impl Fn(&str, &str) -> String,
) -> Result<RunId, UserError> {
    let found = store.unfinished_anywhere(namespace).map_err(|error| store_error(&error))?;
    match (found.runs.as_slice(), found.unreadable.first()) {
        ([summary], _) => Ok(summary.run.clone()),
        ([], Some(damaged)) => Err(unreadable(damaged)),
        ([], None) => {
            let message = "no run has stopped: there is nothing to go on with";
            let mut error = UserError::new(Exit::Usage, message);
            for (short, flag) in stopped_elsewhere(store, namespace)? {
                let what = if flag.is_empty() { "run" } else { "rehearsal" };
                error = error.hint(format!("a {what} has: phoenix-dr {}", next(&short, flag)));
            }
            let error = error.hint("see the runs: phoenix-dr runs");
            Err(never_begun(store)?.into_iter().fold(error, UserError::hint))
        }
        (several, _) => {
            let names: Vec<&str> = several.iter().map(|summary| summary.run.short()).collect();
            Err(UserError::new(
                Exit::Usage,
                format!("several runs have stopped: {}", names.join(", ")),
            )
            .hint("name one of them"))
        }
    }
}

/// Returns the runs that stopped in the other of the two, a run or a rehearsal, each with the flag that names it.
fn stopped_elsewhere(
    store: &Store,
    namespace: Namespace,
) -> Result<Vec<(String, &'static str)>, UserError> {
    let (other, flag) = match namespace {
        Namespace::Live => (Namespace::Rehearsal, Mode::Rehearsal.flag()),
        Namespace::Rehearsal => (Namespace::Live, Mode::Live.flag()),
    };
    let found = store.unfinished_anywhere(other).map_err(|error| store_error(&error))?;
    Ok(found.runs.into_iter().map(|run| (run.run.short().to_owned(), flag)).collect())
}

/// Returns a word about each run that was ended before its first record: there is nothing of it to go on with.
fn never_begun(store: &Store) -> Result<Vec<String>, UserError> {
    let listed = store.list().map_err(|error| store_error(&error))?;
    let word = |listed: Listed| match listed {
        Listed::Unreadable(found) if found.never_began() => Some(format!(
            "run {} was ended before its first record: it changed nothing",
            found.name
        )),
        Listed::Unreadable(_) | Listed::Run(_) => None,
    };
    Ok(listed.into_iter().filter_map(word).collect())
}

/// Words that a run cannot be read and what can be done about it.
pub(super) fn unreadable(damaged: &Unreadable) -> UserError {
    let (name, why) = (&damaged.name, chain(&damaged.why));
    let message = format!("run {name} cannot be read and may be unfinished: {why}");
    what_to_do_about(UserError::new(Exit::Journal, message), name)
}

/// Adds what can be done about a run whose journal is damaged: nothing can go on with it.
pub(super) fn what_to_do_about(error: UserError, run: &str) -> UserError {
    error
        .hint(format!("look at it: phoenix-dr audit {run} --verify"))
        .hint(format!("finish it by hand and give it up: phoenix-dr abandon {run} --reason WHY"))
}
