//! What every command starts from: flags, the terminal, the runbooks, the state directory.

use std::path::PathBuf;
use std::sync::Arc;

use super::about::About;
use super::rehearsal::Rehearsal;
use crate::cli::{ColorChoice as Color, Global, OutputFormat, Usage};
use crate::clock::{Clock, RealClock};
use crate::error::UserError;
use crate::estate::load as estate_file;
use crate::estate::types::Estate;
use crate::event::Mode;
use crate::exit::Exit;
use crate::journal::store::{FindError as RunFindError, Namespace, Store, StoreError};
use crate::mask::Masker;
use crate::report::terminal::{ColorChoice, Look, Terminal, Tone, Volume};
use crate::report::text::count;
use crate::report::words::PRACTICE;
use crate::runbook::load::{self, FindError, Loaded};
use crate::runbook::problem::Problems;
use crate::runbook::schema::Runbook;
use crate::runbook::validate;

/// Threads that carry a run, however small the machine.
const THREADS_MIN: usize = 3;

/// What every command starts from.
pub(crate) struct Context {
    pub global: Global,
    pub terminal: Terminal,
    pub clock: Arc<dyn Clock>,
    /// The rehearsal that takes the estate's place, where one does
    rehearsal: Option<Rehearsal>,
    directories: Vec<PathBuf>,
    /// Runbooks that are commands
    pub known: Vec<Runbook>,
    /// The words behind the program's name
    pub typed: Vec<String>,
    /// What they are about
    pub about: About,
    /// A runbook's own command was typed, which takes inputs as flags; `run`, `plan` and `show` take them by `--set`
    pub inputs_are_flags: bool,
}

/// Returns where runbooks are looked for besides the binary.
pub(super) fn runbook_directories(given: Option<PathBuf>) -> Vec<PathBuf> {
    given.into_iter().collect()
}

/// Returns the runbooks that can be commands, and why others cannot.
pub(super) fn command_runbooks(directories: &[PathBuf]) -> (Vec<Runbook>, Vec<FindError>) {
    let mut known = Vec::new();
    let mut broken = Vec::new();
    for loaded in load::all(directories) {
        match loaded {
            Ok(loaded) => known.push(loaded.runbook),
            Err(error) => broken.push(error),
        }
    }
    (known, broken)
}

/// Prints help, a version or what is wrong with a command line; of a rehearsal's, after the word.
/// A command may be missing because its file cannot be read.
pub(super) fn print_usage(usage: &Usage, broken: &[FindError], practice: bool) -> Exit {
    let look = Look::detect(ColorChoice::Auto, Volume::Normal, true);
    let terminal = Terminal::new(look, Masker::default());
    let text = usage.text.trim_end();
    if usage.asked_for {
        terminal.out(text);
        Exit::Ok
    } else {
        if practice {
            terminal.loud(Tone::Warn, PRACTICE);
        }
        terminal.loud(Tone::Plain, text);
        if !broken.is_empty() {
            let said =
                format!("{} cannot be used: phoenix-dr validate", count(broken.len(), "runbook"));
            terminal.loud(Tone::Warn, &said);
        }
        Exit::Usage
    }
}

impl Context {
    pub(super) fn new(global: Global, directories: Vec<PathBuf>, known: Vec<Runbook>) -> Self {
        let color = match global.color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        let volume = match (global.quiet, global.verbose) {
            (true, _) => Volume::Quiet,
            (false, true) => Volume::Verbose,
            (false, false) => Volume::Normal,
        };
        let bars_off = global.no_progress || global.output == OutputFormat::Json;
        let terminal = Terminal::new(Look::detect(color, volume, bars_off), Masker::default());
        Self {
            global,
            terminal,
            clock: Arc::new(RealClock),
            rehearsal: None,
            directories,
            known,
            typed: Vec::new(),
            about: About::default(),
            inputs_are_flags: true,
        }
    }

    /// Returns this context in a rehearsal.
    pub(super) fn rehearsing(&self, rehearsal: Rehearsal) -> Self {
        Self {
            global: self.global.clone(),
            terminal: self.terminal.clone(),
            clock: Arc::new(rehearsal.clock.clone()),
            rehearsal: Some(rehearsal),
            directories: self.directories.clone(),
            known: self.known.clone(),
            typed: self.typed.clone(),
            about: self.about.clone(),
            inputs_are_flags: self.inputs_are_flags,
        }
    }

    /// Returns the rehearsal, in one.
    pub(super) fn rehearsal(&self) -> Option<&Rehearsal> {
        self.rehearsal.as_ref()
    }

    /// Returns how a run that changes things treats the world.
    pub(super) fn mode(&self) -> Mode {
        if self.rehearsal.is_some() { Mode::Rehearsal } else { Mode::Live }
    }

    /// Returns whose locks and facts count.
    pub(super) fn namespace(&self) -> Namespace {
        if self.rehearsal.is_some() { Namespace::Rehearsal } else { Namespace::Live }
    }

    /// Returns where what was seen is kept and looked up; a rehearsal's world is new, what was seen of another is no
    /// memory of it.
    pub(super) fn memory(&self) -> Option<Store> {
        self.store().ok().filter(|_| self.rehearsal.is_none())
    }

    /// Says whether output is for a program.
    pub(super) fn json(&self) -> bool {
        self.global.output == OutputFormat::Json
    }

    /// Says whether what was typed is about a rehearsal.
    pub(super) fn practises(&self) -> bool {
        self.about.practice(|| self.store().ok())
    }

    /// Prints an error with its hints and returns its exit code; one that a rehearsal is told says that it is one.
    pub(super) fn complain(&self, error: &UserError) -> Exit {
        if self.practises() {
            self.terminal.loud(Tone::Warn, PRACTICE);
        }
        self.terminal.loud(Tone::Bad, &error.message);
        for hint in &error.hints {
            self.terminal.loud(Tone::Plain, &format!("hint: {hint}"));
        }
        error.exit
    }

    /// Returns every runbook, those that cannot be read as errors.
    pub(super) fn runbooks(&self) -> Vec<Result<Loaded, FindError>> {
        load::all(&self.directories)
    }

    /// Finds a runbook, which may not be good.
    pub(super) fn find(&self, name: &str) -> Result<Loaded, FindError> {
        load::find(name, &self.directories)
    }

    /// Finds a runbook and checks it.
    pub(super) fn runbook(&self, name: &str) -> Result<Loaded, UserError> {
        let loaded = self.find(name).map_err(|error| {
            let (exit, hint) = (error.exit(), error.hint());
            let FindError::Invalid(problems) = error else {
                let user = UserError::new(exit, format!("error: {error}"));
                return hint.into_iter().fold(user, UserError::hint);
            };
            let error = self.invalid(&problems, Exit::RunbookInvalid);
            if self.directories.is_empty() || load::is_path(name) {
                return error;
            }
            error.hint("repair it; or leave --runbooks out, and what is built in is used")
        })?;
        let problems = validate::validate(&loaded);
        if problems.has_errors() {
            return Err(self.invalid(&problems, Exit::RunbookInvalid));
        }
        Ok(loaded)
    }

    /// Words problems of a file.
    pub(super) fn invalid(&self, problems: &Problems, exit: Exit) -> UserError {
        let exit = if problems.only_usage() { Exit::Usage } else { exit };
        UserError::new(exit, problems.render(self.terminal.colored()).trim_end())
    }

    /// Reads the estate file.
    pub(super) fn estate(&self) -> Result<Estate, UserError> {
        if let Some(rehearsal) = &self.rehearsal {
            return Ok(rehearsal.estate());
        }
        let path = estate_file::find(self.global.estate.as_deref()).map_err(|error| {
            UserError::new(Exit::Usage, error.to_string())
                .hint("write one: phoenix-dr init")
                .hint("or name one: phoenix-dr --estate FILE …")
                .hint("or practise without one: phoenix-dr failover --region us-west-2 --rehearse")
        })?;
        estate_file::read(&path).map_err(|problems| self.invalid(&problems, Exit::Usage))
    }

    /// Returns the state directory.
    pub(super) fn store(&self) -> Result<Store, UserError> {
        Store::from_env(|name| std::env::var_os(name)).map_err(|error| store_error(&error))
    }

    /// Returns a runtime. Commands that only read files never make one.
    pub(super) fn runtime(&self) -> Result<tokio::runtime::Runtime, UserError> {
        let runtime = match &self.rehearsal {
            Some(rehearsal) => rehearsal.clock.runtime(),
            None => {
                // The journal blocks one thread for each sync, a terminal that is held may block another.
                let threads = std::thread::available_parallelism().map_or(THREADS_MIN, usize::from);
                tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(threads.max(THREADS_MIN))
                    .enable_all()
                    .build()
            }
        };
        runtime
            .map_err(|error| UserError::new(Exit::Internal, format!("start the runtime: {error}")))
    }
}

/// Words an error of the state directory.
pub(super) fn store_error(error: &StoreError) -> UserError {
    let exit = match error {
        StoreError::NoHome => Exit::Usage,
        StoreError::Lock(_) => Exit::Held,
        StoreError::Io { .. } => Exit::Journal,
        StoreError::Read(read) => return read.user(),
    };
    let user = UserError::new(exit, chain(error));
    match error {
        StoreError::Lock(_) => user.hint("see how far it is: phoenix-dr status --follow"),
        StoreError::NoHome | StoreError::Io { .. } | StoreError::Read(_) => user,
    }
}

/// Words why a run's name leads nowhere.
pub(super) fn find_error(error: &RunFindError) -> UserError {
    UserError::new(Exit::Usage, chain(error)).hint("see the runs: phoenix-dr runs")
}

/// Returns an error with its sources, as `what: why: why`.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let said = source.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        next = source.source();
    }
    text
}
