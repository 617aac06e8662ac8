//! What a command line is about: a refusal that a rehearsal is told begins with the word, as every screen of one does.

use std::ffi::OsString;

use crate::cli::{Builtin, Typed};
use crate::event::Mode;
use crate::journal::store::Store;
use crate::journal::summary::start_of;

/// Whether a command line asks for a rehearsal, and the run it names.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    rehearses: bool,
    run: Option<Run>,
}

#[derive(Debug, Clone)]
enum Run {
    Named(String),
    Unnamed,
}

impl About {
    /// Returns what a command line is about.
    pub(super) fn of(typed: &Typed) -> Self {
        let asked = |rehearses: bool, run: Option<&String>| Self {
            rehearses,
            run: run.cloned().map(Run::Named),
        };
        let looks = |run: Option<&String>| Self {
            rehearses: false,
            run: Some(run.cloned().map_or(Run::Unnamed, Run::Named)),
        };
        let command = match typed {
            Typed::Bare { .. } => return Self::default(),
            Typed::Runbook { flags, .. } => return asked(flags.how.who.rehearse.is_some(), None),
            Typed::Builtin { command, .. } => &**command,
        };
        match command {
            Builtin::Run(given) | Builtin::Plan(given) => {
                asked(given.flags.how.who.rehearse.is_some(), None)
            }
            Builtin::Resume(given) => asked(given.flags.who.rehearse.is_some(), given.run.as_ref()),
            Builtin::Rollback(given) => asked(given.flags.rehearse.is_some(), given.run.as_ref()),
            Builtin::Abandon(given) => asked(false, given.run.as_ref()),
            Builtin::MarkDone(given) => asked(false, given.run.as_ref()),
            Builtin::Status(given) => looks(given.run.as_ref()),
            Builtin::Report(given) => looks(given.run.as_ref()),
            Builtin::Audit(given) => looks(given.run.as_ref()),
            Builtin::List
            | Builtin::Show(_)
            | Builtin::Graph(_)
            | Builtin::Validate(_)
            | Builtin::Runs
            | Builtin::Doctor(_)
            | Builtin::RecoveryPoints(_)
            | Builtin::World(_)
            | Builtin::Init(_)
            | Builtin::Completions(_)
            | Builtin::Man => Self::default(),
        }
    }

    /// Says whether it is about a rehearsal; of a run that cannot be read to its end, its beginning says it.
    pub(super) fn practice(&self, store: impl FnOnce() -> Option<Store>) -> bool {
        let of_run = || {
            let (run, store) = (self.run.as_ref()?, store()?);
            let run = match run {
                Run::Named(text) => store.find(text).ok()?,
                Run::Unnamed => store.meant().ok()??,
            };
            Some(start_of(&store.dir(&run).journal())?.mode == Mode::Rehearsal)
        };
        self.rehearses || of_run().unwrap_or(false)
    }
}

/// Says whether a command line asks for a rehearsal, where it could not be read as a whole.
pub(super) fn types_rehearsal(arguments: &[OsString]) -> bool {
    let mut words = arguments.iter().map(|word| word.to_string_lossy());
    words.any(|word| word == "--rehearse" || word.starts_with("--rehearse="))
}
