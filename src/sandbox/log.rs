//! The log of a rehearsal's world, beside the journal: where it began, every change with the virtual time of it, and
//! what was met on the way. Reading it back is how a rehearsal that was killed is gone on with.
//!
//! A line is written in one piece before the answer to what caused it is given. It is not synced: a process that is
//! killed has written it, and a rehearsal need not outlive the machine.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::fault::{Missed, Rule};
use super::objects::{Key, Object};
use super::world::World;

/// Name of the file in a run's directory.
pub(crate) const FILE_NAME: &str = "world.jsonl";
/// Name of the copy of a world that is a file of lines: there is no use in writing all of it into the log.
pub(crate) const BASE_NAME: &str = "world-base.jsonl";

/// A line of the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Entry {
    /// The first line: everything the rehearsal began with; `base` where the world's file of lines is kept beside
    World {
        at: Timestamp,
        seed: u64,
        secret: bool,
        faults: Vec<Rule>,
        world: Box<World>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        base: bool,
    },
    /// An object is so from here on
    Put { at: Timestamp, key: Key, object: Object, named: u64 },
    /// An object is no more
    Gone { at: Timestamp, key: Key },
    /// An object of a cluster is so from here on; `gone` names it when it is no more
    Cluster { at: Timestamp, region: String, object: Value, gone: bool },
    /// A fault struck
    Fault { at: Timestamp, rule: usize, call: String },
    /// A fault passed over a call it is to spare
    Spared { at: Timestamp, rule: usize },
    /// A call missed a fault that has not struck yet, in a way that none had before
    Missed { at: Timestamp, rule: usize, how: Missed },
    /// Something was asked that the simulation does not know
    Left { at: Timestamp, what: String },
    /// Time passed
    Clock { at: Timestamp },
}

impl Entry {
    /// Returns the virtual time of it.
    pub(super) const fn at(&self) -> Timestamp {
        match self {
            Self::World { at, .. }
            | Self::Put { at, .. }
            | Self::Gone { at, .. }
            | Self::Cluster { at, .. }
            | Self::Fault { at, .. }
            | Self::Spared { at, .. }
            | Self::Missed { at, .. }
            | Self::Left { at, .. }
            | Self::Clock { at } => *at,
        }
    }
}

/// An open log.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    failure: Option<String>,
}

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("use the world of the rehearsal, `{}`", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the world of the rehearsal, `{}`, is damaged at line {line}: {why}", path.display())]
    Damaged { path: PathBuf, line: usize, why: String },
    #[error("the world of the rehearsal, `{}`, does not begin with its world", path.display())]
    NoWorld { path: PathBuf },
}

/// Keeps the file of a world beside its log.
pub(super) fn keep(path: &Path, text: &str) -> Result<(), LogError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| LogError::Io { path: path.to_owned(), source })
}

/// Reads the file of a world that was kept.
pub(super) fn kept(path: &Path) -> Result<World, LogError> {
    let failed = |source| LogError::Io { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    super::world::parse(&path.display().to_string(), text).map_err(|problems| {
        let why = problems.items.first().map_or_else(String::new, |first| first.message.clone());
        LogError::Damaged { path: path.to_owned(), line: 1, why }
    })
}

/// Reads the whole lines of a log, and how many bytes they are.
fn read(path: &Path, file: &File) -> Result<(Vec<Entry>, u64), LogError> {
    let mut reader = BufReader::new(file);
    let (mut entries, mut whole, mut text) = (Vec::new(), 0, String::new());
    loop {
        text.clear();
        let length = reader.read_line(&mut text);
        let length = length.map_err(|source| LogError::Io { path: path.to_owned(), source })?;
        if length == 0 || !text.ends_with('\n') {
            break;
        }
        let entry = serde_json::from_str(&text).map_err(|error| LogError::Damaged {
            path: path.to_owned(),
            line: entries.len() + 1,
            why: error.to_string(),
        })?;
        entries.push(entry);
        whole += u64::try_from(length).unwrap_or(0);
    }
    match entries.first() {
        Some(Entry::World { .. }) => Ok((entries, whole)),
        Some(_) | None => Err(LogError::NoWorld { path: path.to_owned() }),
    }
}

/// How a rehearsal began, by the first line of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Began {
    pub seed: u64,
    /// The faults besides the world's own were to be told at the end alone
    pub secret: bool,
    /// The world's own
    pub own: Vec<String>,
    /// Besides these
    pub injected: Vec<String>,
    /// Tells its world from every other one
    pub digest: String,
}

/// Reads how the rehearsal in a directory began.
pub(crate) fn began(directory: &Path) -> Result<Began, LogError> {
    let path = directory.join(FILE_NAME);
    let failed = |source| LogError::Io { path: path.clone(), source };
    let mut text = String::new();
    BufReader::new(File::open(&path).map_err(failed)?).read_line(&mut text).map_err(failed)?;
    let damaged = |why: String| LogError::Damaged { path: path.clone(), line: 1, why };
    let entry = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    let Entry::World { seed, secret, faults, world, base, .. } = entry else {
        return Err(LogError::NoWorld { path });
    };
    let mut digest = Sha256::new();
    // The same types wrote it: the same world has the same bytes.
    digest.update(serde_json::to_vec(&world).map_err(|error| damaged(error.to_string()))?);
    if base {
        let kept = directory.join(BASE_NAME);
        let file = std::fs::read(&kept).map_err(|source| LogError::Io { path: kept, source })?;
        digest.update(file);
    }
    let digest = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let told = |rules: &[Rule]| rules.iter().map(ToString::to_string).collect();
    Ok(Began { seed, secret, own: told(&world.faults), injected: told(&faults), digest })
}

/// Reads what the rehearsal in a directory asked that the simulation does not know.
pub(crate) fn left(directory: &Path) -> Result<Vec<String>, LogError> {
    let entries = Log::look(&directory.join(FILE_NAME))?.into_iter();
    let left = entries.filter_map(|entry| match entry {
        Entry::Left { what, .. } => Some(what),
        Entry::World { .. }
        | Entry::Put { .. }
        | Entry::Gone { .. }
        | Entry::Cluster { .. }
        | Entry::Fault { .. }
        | Entry::Spared { .. }
        | Entry::Missed { .. }
        | Entry::Clock { .. } => None,
    });
    Ok(left.collect())
}

impl Log {
    /// Makes a log.
    pub(super) fn create(path: &Path) -> Result<Self, LogError> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let failed = |source| LogError::Io { path: path.to_owned(), source };
        Ok(Self { file: file.map_err(failed)?, failure: None })
    }

    /// Opens a log to go on with; a torn last line is cut off. Only whoever holds the run's lock may: what looks torn to
    /// another is a line that is being written.
    pub(super) fn go_on(path: &Path) -> Result<(Self, Vec<Entry>), LogError> {
        let failed = |source| LogError::Io { path: path.to_owned(), source };
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
        let (entries, whole) = read(path, &file)?;
        file.set_len(whole).map_err(failed)?;
        io::Seek::seek(&mut file, io::SeekFrom::End(0)).map_err(failed)?;
        Ok((Self { file, failure: None }, entries))
    }

    /// Reads the whole lines of a log, which another process may be writing.
    pub(super) fn look(path: &Path) -> Result<Vec<Entry>, LogError> {
        let file = File::open(path);
        let file = file.map_err(|source| LogError::Io { path: path.to_owned(), source })?;
        Ok(read(path, &file)?.0)
    }

    /// Writes a line. A failure is kept and told at the end: the rehearsal itself goes on.
    pub(super) fn append(&mut self, entry: &Entry) {
        let line = serde_json::to_string(entry);
        let line = line.expect("every map in an entry has text keys, and nothing else can fail");
        if let Err(error) = self.file.write_all(format!("{line}\n").as_bytes()) {
            self.failure.get_or_insert(error.to_string());
        }
    }

    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}
