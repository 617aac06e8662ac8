//! The state directory: every run with its journal and artifacts, the locks, the facts.
//!
//! Each run's directory stands alone: one that cannot be read is listed as such and hides no other. The layout
//! is `runs/<RunId>/{journal.jsonl,run.lock,artifacts/,inbox/}`, `locks/`, `facts/`; rehearsals keep their locks and
//! facts below `rehearsal/`.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::damaged::{self, GivenUp};
use super::facts::{self, Facts, FactsError};
use super::listed::{Listed, Unreadable, kept_nothing};
use super::lock::{FileLock, Holder, Liveness, LockError};
use super::names::file_name;
use super::reader::{self, ReadError, SetAside};
use super::record::Chain;
use super::summary::{self, OpenObligation, Standing, Summary, SummaryError};
use super::writer::JournalWriter;
use super::{durable, who};
use crate::event::{Event, Mode, Record};
use crate::ids::RunId;

/// Runs named in an error.
const NAMED_MAX: usize = 5;

/// Whether something is about the real estate or the simulated one; they never share a lock or a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namespace {
    Live,
    Rehearsal,
}

impl Namespace {
    /// Says whether a run of that mode acts here. A dry run acts nowhere.
    pub(super) const fn acts(self, mode: Mode) -> bool {
        match self {
            Self::Live => matches!(mode, Mode::Live),
            Self::Rehearsal => matches!(mode, Mode::Rehearsal),
        }
    }
}

/// The state directory.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    root: PathBuf,
}

/// Where one run is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunDir {
    pub run: RunId,
    path: PathBuf,
}

impl RunDir {
    /// Returns the journal's path.
    pub(crate) fn journal(&self) -> PathBuf {
        self.path.join("journal.jsonl")
    }

    /// Returns the log of the world a rehearsal takes place in: no other run has one.
    pub(super) fn world(&self) -> PathBuf {
        self.path.join("world.jsonl")
    }

    /// Returns the directory of what the run's steps leave behind.
    pub(crate) fn artifacts(&self) -> PathBuf {
        self.path.join("artifacts")
    }

    /// Returns the directory of what was marked done while the run goes on.
    pub(crate) fn inbox(&self) -> PathBuf {
        self.path.join("inbox")
    }

    /// Returns the file that says that the run was given up although its journal is damaged.
    pub(super) fn given_up(&self) -> PathBuf {
        self.path.join("given-up.json")
    }

    /// Returns the file whose lock a process holds as long as it carries the run out.
    pub(crate) fn lock(&self) -> PathBuf {
        self.path.join("run.lock")
    }
}

/// A run this process may write to: its lock is held until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenRun {
    pub dir: RunDir,
    pub lock: FileLock,
    pub writer: JournalWriter,
    /// Seals the run's next event
    pub chain: Chain,
    /// A torn end taken off the journal just now
    pub set_aside: Option<SetAside>,
}

/// Runs that stand in the way of a new one.
#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    /// Newest first
    pub runs: Vec<Summary>,
    /// Runs that may be of this estate, for nobody can tell
    pub unreadable: Vec<Unreadable>,
}

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("find the state directory: none of PHOENIX_DR_STATE, XDG_STATE_HOME and HOME is set")]
    NoHome,
    #[error("use the state directory `{}`", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why a name does not lead to one run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FindError {
    #[error("there is no run `{text}`{}", near_text(near))]
    Unknown { text: String, near: Vec<RunId> },
    #[error("find run `{text}`: {} runs match: {}", matches.len(), names(matches))]
    Ambiguous { text: String, matches: Vec<RunId> },
    #[error("find run `{text}`: list the runs: {why}")]
    Io { text: String, why: String },
}

fn names(runs: &[RunId]) -> String {
    let more = runs.len().saturating_sub(NAMED_MAX);
    let named: Vec<&str> = runs.iter().take(NAMED_MAX).map(|run| run.0.as_str()).collect();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", named.join(", "))
}

fn near_text(near: &[RunId]) -> String {
    if near.is_empty() { String::new() } else { format!("; near it: {}", names(near)) }
}

impl Store {
    /// Returns the store at a directory, which need not exist yet.
    pub(crate) fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the store the environment names: `PHOENIX_DR_STATE`, else the XDG state directory.
    pub(crate) fn from_env(var: impl Fn(&str) -> Option<OsString>) -> Result<Self, StoreError> {
        let path = |name: &str| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        // The XDG specification has relative paths ignored.
        let absolute = |name: &str| path(name).filter(|path| path.is_absolute());
        let root = path("PHOENIX_DR_STATE")
            .or_else(|| absolute("XDG_STATE_HOME").map(|dir| dir.join("phoenix-dr")))
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state/phoenix-dr")));
        root.map(Self::at).ok_or(StoreError::NoHome)
    }

    /// Returns where a run is kept, whether it exists or not.
    pub(crate) fn dir(&self, run: &RunId) -> RunDir {
        RunDir { run: run.clone(), path: self.runs().join(&run.0) }
    }

    fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    fn realm(&self, namespace: Namespace) -> PathBuf {
        match namespace {
            Namespace::Live => self.root.clone(),
            Namespace::Rehearsal => self.root.join("rehearsal"),
        }
    }

    /// Creates a run's directory and empty journal; its lock is held from the start.
    pub(crate) fn create_run(&self, run: &RunId, since: Timestamp) -> Result<OpenRun, StoreError> {
        let dir = self.dir(run);
        let failed = |source| StoreError::Io { path: dir.path.clone(), source };
        durable::create_dir(&dir.artifacts()).map_err(failed)?;
        let lock = FileLock::take(&dir.lock(), Holder::this_process(run, since))?;
        let writer = JournalWriter::create(&dir.journal()).map_err(failed)?;
        let chain = Chain::begin(run, who::who());
        Ok(OpenRun { dir, lock, writer, chain, set_aside: None })
    }

    /// Opens a run to go on with it: takes its lock, reads every record, sets a torn end aside.
    ///
    /// Each record is handed to `each` in order; after an error the run must not be acted on.
    pub(crate) fn open_run(
        &self,
        run: &RunId,
        since: Timestamp,
        mut each: impl FnMut(Record),
    ) -> Result<OpenRun, StoreError> {
        let dir = self.dir(run);
        let lock = FileLock::take(&dir.lock(), Holder::this_process(run, since))?;
        let mut mode = Mode::Live;
        let recovered = reader::recover(&dir.journal(), run, |record| {
            if let Event::RunStarted { mode: of, .. } = &record.event {
                mode = *of;
            }
            each(record);
        })?;
        let failed = |source| StoreError::Io { path: dir.journal(), source };
        let writer = JournalWriter::go_on(&dir.journal(), &recovered.end).map_err(failed)?;
        let chain = Chain::go_on(recovered.end.records, recovered.end.prev, who::who());
        let chain = chain.in_mode(mode);
        Ok(OpenRun { dir, lock, writer, chain, set_aside: recovered.set_aside })
    }

    /// Says whether a process carries a run out right now.
    pub(crate) fn liveness(&self, run: &RunId) -> Result<Liveness, StoreError> {
        let path = self.dir(run).lock();
        FileLock::look(&path).map_err(|source| StoreError::Io { path, source })
    }

    /// Returns every run, newest first; what is no run or cannot be read is listed, too.
    pub(crate) fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let listed = |name: String| {
            let dir = self.dir(&RunId(name.clone()));
            let why = match summary::summarise(&dir.journal()) {
                Ok(summary) if summary.run.0 == name => {
                    return Listed::Run(Box::new(self.unless_given_up(summary)));
                }
                Ok(summary) => {
                    let why = format!("it starts run {}", summary.run);
                    SummaryError::Damaged { record: 0, why }
                }
                Err(SummaryError::Io(_)) if self.never_began(&name) => SummaryError::Empty,
                Err(SummaryError::Empty) if !kept_nothing(&dir) => {
                    let why = "there is none, and the run kept artifacts".to_owned();
                    SummaryError::Damaged { record: 0, why }
                }
                Err(why) => why,
            };
            let begins = summary::start_of(&dir.journal()).filter(|begins| begins.run.0 == name);
            let given_up = damaged::read(&dir);
            let practice = dir.world().exists();
            Listed::Unreadable(Box::new(Unreadable { name, why, begins, practice, given_up }))
        };
        let mut all: Vec<Listed> = self.names()?.into_iter().map(listed).collect();
        all.sort_by(|a, b| b.name().cmp(a.name()));
        Ok(all)
    }

    /// Returns the run that is meant where none is named: the newest whose journal can be begun with; but a live run
    /// that has not ended comes before a newer rehearsal, which whoever is in an incident did not ask about.
    pub(crate) fn meant(&self) -> Result<Option<RunId>, StoreError> {
        let mut names = self.names()?;
        names.sort_unstable();
        let begins = |name: &String| {
            let journal = self.runs().join(name).join("journal.jsonl");
            summary::run_of(&journal).is_ok_and(|run| run.0 == *name)
        };
        let Some(newest) = names.into_iter().rev().find(begins).map(RunId) else { return Ok(None) };
        let start = summary::start_of(&self.dir(&newest).journal());
        if start.is_none_or(|start| start.mode != Mode::Rehearsal) {
            return Ok(Some(newest));
        }
        let live = self.unfinished_anywhere(Namespace::Live)?.runs.into_iter().next();
        Ok(Some(live.map_or(newest, |live| live.run)))
    }

    /// A run whose journal can be listed but not relied on may have been given up beside it.
    fn unless_given_up(&self, summary: Summary) -> Summary {
        match damaged::read(&self.dir(&summary.run)) {
            Some(GivenUp { reason, .. }) if !summary.standing.is_final() => {
                Summary { standing: Standing::Abandoned { reason }, ..summary }
            }
            Some(_) | None => summary,
        }
    }

    /// Says whether a run's process died between making its directory and its journal.
    fn never_began(&self, name: &str) -> bool {
        let dir = self.dir(&RunId(name.to_owned()));
        let nothing = |path: PathBuf| matches!(path.try_exists(), Ok(false));
        dir.path.is_dir() && nothing(dir.journal()) && kept_nothing(&dir)
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        let path = self.runs();
        let failed = |source| StoreError::Io { path: path.clone(), source };
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(why) => return Err(failed(why)),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    /// Finds a run by its id, or by an end or a beginning of it that only one run has.
    pub(crate) fn find(&self, text: &str) -> Result<RunId, FindError> {
        let listed = self.names().map_err(|why| {
            let source = std::error::Error::source(&why).map(ToString::to_string);
            FindError::Io { text: text.to_owned(), why: source.unwrap_or_else(|| why.to_string()) }
        })?;
        find(text, listed)
    }

    /// Returns the runs of an estate that have not ended. A new live run must not start beside one.
    pub(crate) fn unfinished(
        &self,
        estate: &str,
        namespace: Namespace,
    ) -> Result<Unfinished, StoreError> {
        self.not_ended(Some(estate), namespace)
    }

    /// Returns the runs of every estate that have not ended: what a command that names none may mean.
    pub(crate) fn unfinished_anywhere(
        &self,
        namespace: Namespace,
    ) -> Result<Unfinished, StoreError> {
        self.not_ended(None, namespace)
    }

    fn not_ended(
        &self,
        estate: Option<&str>,
        namespace: Namespace,
    ) -> Result<Unfinished, StoreError> {
        let mut found = Unfinished::default();
        for listed in self.list()? {
            match listed {
                Listed::Run(summary) => {
                    let ours = estate.is_none_or(|estate| summary.estate == estate)
                        && namespace.acts(summary.mode);
                    if ours && !summary.standing.is_final() {
                        found.runs.push(*summary);
                    }
                }
                Listed::Unreadable(unreadable) => {
                    if unreadable.stands_in_the_way(estate, namespace) {
                        found.unreadable.push(*unreadable);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Returns what runs of an estate have left open, over all of them.
    pub(crate) fn obligations(
        &self,
        estate: &str,
        namespace: Namespace,
    ) -> Result<Vec<OpenObligation>, StoreError> {
        Ok(open_of(&self.list()?, estate, namespace))
    }

    /// Takes the estate's lock on this machine, or says who has it.
    pub(crate) fn lock_estate(
        &self,
        estate: &str,
        namespace: Namespace,
        holder: Holder,
    ) -> Result<FileLock, LockError> {
        let path = self.estate_lock(estate, namespace);
        if let Err(source) = durable::create_dir(path.parent().unwrap_or(&self.root)) {
            return Err(LockError::Io { path, source });
        }
        FileLock::take(&path, holder)
    }

    fn estate_lock(&self, estate: &str, namespace: Namespace) -> PathBuf {
        self.realm(namespace).join("locks").join(file_name(estate) + ".lock")
    }

    /// Replaces the facts of that name.
    pub(crate) fn save_facts(
        &self,
        estate: &str,
        namespace: Namespace,
        name: &str,
        facts: &Facts<impl Serialize>,
    ) -> Result<PathBuf, FactsError> {
        facts::save(&self.realm(namespace), estate, name, facts)
    }

    /// Returns the facts of that name; `None` when none were ever saved.
    pub(crate) fn load_facts(
        &self,
        estate: &str,
        namespace: Namespace,
        name: &str,
    ) -> Result<Option<Facts>, FactsError> {
        facts::load(&self.realm(namespace), estate, name)
    }
}

/// Returns what the runs of an estate have left open, of those in a list.
pub(crate) fn open_of(
    listed: &[Listed],
    estate: &str,
    namespace: Namespace,
) -> Vec<OpenObligation> {
    let mut changes = Vec::new();
    for listed in listed {
        if let Listed::Run(summary) = listed
            && summary.estate == estate
            && namespace.acts(summary.mode)
        {
            changes.extend(summary.obligations.iter().cloned());
        }
    }
    summary::open_obligations(changes)
}

fn find(text: &str, mut listed: Vec<String>) -> Result<RunId, FindError> {
    let wanted = text.trim().to_ascii_uppercase();
    listed.sort_by(|a, b| b.cmp(a));
    let id = |name: &&String| RunId((*name).clone());
    let upper = |name: &String| name.to_ascii_uppercase();
    if let Some(exact) = listed.iter().find(|name| upper(name) == wanted) {
        return Ok(RunId(exact.clone()));
    }
    // Screens show the end of an id, so an end comes before a beginning, which runs of one day share.
    let ends = listed.iter().filter(|name| upper(name).ends_with(&wanted));
    let mut matches: Vec<RunId> = ends.map(|name| id(&name)).collect();
    if matches.is_empty() {
        let begins = listed.iter().filter(|name| upper(name).starts_with(&wanted));
        matches = begins.map(|name| id(&name)).collect();
    }
    match matches.len() {
        1 if !wanted.is_empty() => Ok(matches.remove(0)),
        0 => Err(FindError::Unknown { text: text.to_owned(), near: near(&wanted, &listed) }),
        _ => Err(FindError::Ambiguous { text: text.to_owned(), matches }),
    }
}

/// Returns the runs whose end is most like what was typed, newest first where alike.
fn near(wanted: &str, listed: &[String]) -> Vec<RunId> {
    let length = wanted.chars().count();
    let mut scored: Vec<(usize, &String)> = listed
        .iter()
        .map(|name| {
            let skip = name.chars().count().saturating_sub(length);
            let end: String = name.to_ascii_uppercase().chars().skip(skip).collect();
            (strsim::damerau_levenshtein(wanted, &end), name)
        })
        .filter(|(distance, _)| distance * 3 <= length)
        .collect();
    scored.sort_by_key(|(distance, _)| *distance);
    scored.into_iter().take(NAMED_MAX).map(|(_, name)| RunId(name.clone())).collect()
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
