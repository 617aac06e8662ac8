//! The list of runs: what a directory beside the runs is, whether or not it can be read.

use std::io;

use super::damaged::GivenUp;
use super::store::{Namespace, RunDir};
use super::summary::{Summary, SummaryError};
use crate::event::Mode;

/// One entry of the list of runs.
#[derive(Debug)]
pub(crate) enum Listed {
    Run(Box<Summary>),
    Unreadable(Box<Unreadable>),
}

/// A directory that cannot be read as a run.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub name: String,
    pub why: SummaryError,
    /// What its first record says of it, where that is intact
    pub begins: Option<Summary>,
    /// The log of a rehearsal's world is beside it
    pub(super) practice: bool,
    /// It was given up as it is
    pub given_up: Option<GivenUp>,
}

/// Says whether a run kept no artifact: one that has not begun cannot have any.
pub(super) fn kept_nothing(dir: &RunDir) -> bool {
    match std::fs::read_dir(dir.artifacts()) {
        Ok(mut found) => found.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Says whether a directory's name can be a run's id; anything else beside the runs is nobody's run.
pub(super) fn is_run_id(name: &str) -> bool {
    ulid::Ulid::from_string(name).is_ok()
}

impl Listed {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Run(summary) => &summary.run.0,
            Self::Unreadable(unreadable) => &unreadable.name,
        }
    }
}

impl Unreadable {
    /// Says whether it may be an unfinished run of that estate, or of any.
    pub(super) fn stands_in_the_way(&self, estate: Option<&str>, namespace: Namespace) -> bool {
        let begins = self.begins.as_ref();
        let of_estate =
            begins.is_none_or(|begins| estate.is_none_or(|estate| begins.estate == estate));
        let may_be_ours = self.mode().is_none_or(|mode| namespace.acts(mode));
        of_estate && may_be_ours && self.may_be_unfinished()
    }

    /// Returns what kind of a run it was, where that can be known: its first record says it, or the world beside it, in
    /// which alone it can have acted.
    pub(crate) fn mode(&self) -> Option<Mode> {
        let begins = self.begins.as_ref().map(|begins| begins.mode);
        begins.or_else(|| self.practice.then_some(Mode::Rehearsal))
    }

    /// Says whether a run may have begun that nobody ended or gave up.
    pub(crate) fn may_be_unfinished(&self) -> bool {
        // Without a first record nothing was ever started.
        let began = is_run_id(&self.name) && !matches!(self.why, SummaryError::Empty);
        began && self.given_up.is_none()
    }

    /// Says whether a run's process died before its first record was written.
    pub(crate) fn never_began(&self) -> bool {
        is_run_id(&self.name) && matches!(self.why, SummaryError::Empty)
    }
}
