//! Reading a journal: format, numbers without gaps, the chain, and a torn tail told from damage.
//!
//! One record is in memory at a time; whoever reads decides what to keep. Nothing is changed here except by
//! [`recover`], which a resume calls while it holds the run's lock.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::lines::{LINE_MAX, Lines, Next};
use super::record::{self, Entry, Foreign, LineError, digest};
use super::{FORMAT, durable};
use crate::error::UserError;
use crate::event::{Event, Record};
use crate::exit::Exit;
use crate::ids::RunId;

/// Torn tails kept beside one journal before a resume asks somebody to look.
const TORN_MAX: u32 = 1_000;

/// Where in a journal something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the record, from 0
    pub record: u64,
    /// Where its line begins
    pub offset: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "record {} (line {}, byte {})", self.record, self.record + 1, self.offset)
    }
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("is not JSON: {0}")]
    NotJson(String),
    #[error("runs into the next one: the newline between them was overwritten")]
    Joined,
    #[error("is not a record: {0}")]
    NotARecord(String),
    #[error("has number {0}: records are missing or out of order")]
    Number(u64),
    #[error("does not continue the chain: the record before it, or its own `prev`, was changed")]
    Chain,
    #[error("is not the start of a run")]
    NotAStart,
    #[error("starts run {0}, not the run it is kept as")]
    OtherRun(RunId),
    #[error("is longer than {LINE_MAX} bytes")]
    TooLong,
}

/// Why a journal cannot be read, or not acted on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("read journal `{}`", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("read journal `{}`: {place} {damage}", path.display())]
    Damaged { path: PathBuf, place: Place, damage: Damage },
    #[error("read journal `{}`: {place} has format {found}; this version knows formats up to {FORMAT}", path.display())]
    Newer { path: PathBuf, place: Place, found: u64 },
    #[error("read journal `{}`: {place} is an event `{kind}` this version does not understand: {why}", path.display())]
    UnknownEvent { path: PathBuf, place: Place, kind: String, why: String },
    #[error("set aside the torn end of journal `{}`", path.display())]
    SetAside { path: PathBuf, source: io::Error },
}

impl ReadError {
    /// Returns the first record that cannot be relied on, where the error is about one.
    pub(crate) const fn place(&self) -> Option<Place> {
        match self {
            Self::Damaged { place, .. }
            | Self::Newer { place, .. }
            | Self::UnknownEvent { place, .. } => Some(*place),
            Self::Io { .. } | Self::SetAside { .. } => None,
        }
    }

    /// Says whether the journal can never be gone on with; one of a newer version can, and one that cannot be read now
    /// may be.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Newer { .. } | Self::UnknownEvent { .. } | Self::SetAside { .. } => false,
        }
    }

    /// Returns what a person can do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Io { path, .. } => format!("look at `ls -l {}`", path.display()),
            Self::Damaged { path, place, .. } => format!(
                "every record before byte {0} is intact: `head -c {0} {1}` shows what the run did; \
                 finish by hand from there and keep the file as evidence",
                place.offset,
                path.display()
            ),
            Self::Newer { .. } | Self::UnknownEvent { .. } => {
                "the run was started or continued by a newer phoenix-dr: use that version"
                    .to_owned()
            }
            Self::SetAside { path, .. } => format!(
                "make room or make `{}` writable, then resume again",
                path.parent().unwrap_or(path).display()
            ),
        }
    }

    /// Returns the error as the command line shows it.
    pub(crate) fn user(&self) -> UserError {
        let message = std::error::Error::source(self)
            .map_or_else(|| self.to_string(), |source| format!("{self}: {source}"));
        UserError::new(Exit::Journal, message).hint(self.hint())
    }
}

/// Where a journal ends and how it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    /// The run, unless no record is whole
    pub run: Option<RunId>,
    /// Whole records
    pub records: u64,
    /// Bytes they take
    pub length: u64,
    /// Digest of the last one: what the next record names
    pub prev: String,
    /// What comes after them and is no record
    pub torn: Option<Torn>,
}

/// A last line that was not written whole; nothing can depend on it, for it was never synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Torn {
    pub offset: u64,
    pub length: u64,
}

/// Reads the entries of one journal in order.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    lines: Lines<R>,
    path: PathBuf,
    end: End,
    done: bool,
}

impl Reader<BufReader<File>> {
    /// Opens a journal. Where its run is known, its first record must be that run's.
    pub(crate) fn open(path: &Path, run: Option<&RunId>) -> Result<Self, ReadError> {
        match Lines::open(path) {
            Ok(lines) => Ok(Self::over(lines, path, run)),
            Err(source) => Err(ReadError::Io { path: path.to_owned(), source }),
        }
    }

    /// Goes on where the last whole record ended, to see what a live run has appended since.
    pub(crate) fn again(&mut self) -> Result<(), ReadError> {
        self.done = false;
        self.end.torn = None;
        let sought = self.lines.seek(self.end.length);
        sought.map_err(|source| ReadError::Io { path: self.path.clone(), source })
    }
}

impl<R: BufRead> Reader<R> {
    fn over(lines: Lines<R>, path: &Path, run: Option<&RunId>) -> Self {
        let prev = run.map(|run| digest(run.0.as_bytes())).unwrap_or_default();
        let end = End { run: run.cloned(), records: 0, length: 0, prev, torn: None };
        Self { lines, path: path.to_owned(), end, done: false }
    }

    /// Returns where the journal ended, once there are no more entries.
    #[cfg(test)]
    pub(crate) const fn end(&self) -> &End {
        &self.end
    }

    /// Reads the next entry; `None` at the end, torn or not.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, ReadError> {
        if self.done {
            return Ok(None);
        }
        let entry = self.step();
        self.done = !matches!(entry, Ok(Some(_)));
        entry
    }

    fn step(&mut self) -> Result<Option<Entry>, ReadError> {
        let place = Place { record: self.end.records, offset: self.end.length };
        let path = || self.path.clone();
        let (bytes, last) = match self.lines.next() {
            Ok(Next::Line { bytes, last }) => (bytes, last),
            Ok(Next::End) => return Ok(None),
            Ok(Next::Tail { length }) => {
                self.end.torn = Some(Torn { offset: place.offset, length });
                return Ok(None);
            }
            Ok(Next::TooLong) => {
                return Err(ReadError::Damaged { path: path(), place, damage: Damage::TooLong });
            }
            Err(source) => return Err(ReadError::Io { path: path(), source }),
        };
        let damage = match record::parse(bytes) {
            Ok(entry) => match linked(&entry, &self.end) {
                Ok(run) => {
                    self.end.run = Some(run);
                    self.end.prev = digest(bytes);
                    self.end.records += 1;
                    self.end.length = self.lines.offset();
                    return Ok(Some(entry));
                }
                Err(damage) => damage,
            },
            // A whole line where the first record should be is nobody's cut: what it said is lost.
            Err(LineError::NotJson(_)) if last && self.end.records > 0 => {
                let length = bytes.len() as u64 + 1;
                self.end.torn = Some(Torn { offset: place.offset, length });
                return Ok(None);
            }
            Err(LineError::Newer(found)) => {
                return Err(ReadError::Newer { path: path(), place, found });
            }
            Err(LineError::NotJson(why)) => Damage::NotJson(why),
            Err(LineError::Joined) => Damage::Joined,
            Err(LineError::NotARecord(why)) => Damage::NotARecord(why),
        };
        Err(ReadError::Damaged { path: path(), place, damage })
    }

    /// Reads the next record a run may act on: an event this version does not understand is an error.
    pub(crate) fn next_record(&mut self) -> Result<Option<Record>, ReadError> {
        let place = Place { record: self.end.records, offset: self.end.length };
        match self.next()? {
            None => Ok(None),
            Some(Entry::Known(record)) => Ok(Some(*record)),
            Some(Entry::Foreign(foreign)) => {
                let kind = foreign.kind().to_owned();
                let Foreign { why, .. } = foreign;
                Err(ReadError::UnknownEvent { path: self.path.clone(), place, kind, why })
            }
        }
    }
}

/// Holds an entry against the end of those before it; returns the run.
fn linked(entry: &Entry, end: &End) -> Result<RunId, Damage> {
    if entry.seq() != end.records {
        return Err(Damage::Number(entry.seq()));
    }
    let run = match (&end.run, entry) {
        (Some(run), _) if end.records > 0 => run.clone(),
        (expected, Entry::Known(record)) => match &record.event {
            Event::RunStarted { run, .. }
                if expected.as_ref().is_some_and(|known| known != run) =>
            {
                return Err(Damage::OtherRun(run.clone()));
            }
            Event::RunStarted { run, .. } => run.clone(),
            _ => return Err(Damage::NotAStart),
        },
        // A first record written by a newer version: its run is the one it is kept as, where that is known.
        (Some(run), Entry::Foreign(_)) => run.clone(),
        (None, Entry::Foreign(foreign)) => {
            match foreign.event.get("run").and_then(|run| run.as_str()) {
                Some(run) => RunId(run.to_owned()),
                None => return Err(Damage::NotAStart),
            }
        }
    };
    let prev = if end.records == 0 { &digest(run.0.as_bytes()) } else { &end.prev };
    if entry.prev() == prev { Ok(run) } else { Err(Damage::Chain) }
}

/// Reads a whole journal for looking at it; events that are not understood are handed over as such.
pub(crate) fn read(path: &Path, mut each: impl FnMut(Entry)) -> Result<End, ReadError> {
    let mut reader = Reader::open(path, None)?;
    while let Some(entry) = reader.next()? {
        each(entry);
    }
    Ok(reader.end)
}

/// What checking a journal found.
#[derive(Debug)]
pub(crate) struct Verification {
    /// Whole records with an unbroken chain, from the first
    pub records: u64,
    /// Digest of the last of them
    pub prev: String,
    pub torn: Option<Torn>,
    /// Why the next record cannot be relied on
    pub bad: Option<ReadError>,
}

/// Checks the whole journal's format, numbers and chain. Its events need not be understood.
pub(crate) fn verify(path: &Path, run: Option<&RunId>) -> Verification {
    let mut reader = match Reader::open(path, run) {
        Ok(reader) => reader,
        Err(bad) => {
            return Verification { records: 0, prev: String::new(), torn: None, bad: Some(bad) };
        }
    };
    let bad = loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(bad) => break Some(bad),
        }
    };
    let End { records, prev, torn, .. } = reader.end;
    Verification { records, prev, torn, bad }
}

/// A torn end that was taken off a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetAside {
    /// Copy of the file as it was found
    pub copy: PathBuf,
    pub torn: Torn,
}

/// A journal read for going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Nothing is torn any more
    pub end: End,
    pub set_aside: Option<SetAside>,
}

/// Reads a journal for going on with its run; a torn last line is copied away and cut off.
///
/// Call it only while holding the run's lock: a live writer's line being written looks torn.
pub(crate) fn recover(
    path: &Path,
    run: &RunId,
    mut each: impl FnMut(Record),
) -> Result<Recovered, ReadError> {
    let mut reader = Reader::open(path, Some(run))?;
    while let Some(record) = reader.next_record()? {
        each(record);
    }
    let mut end = reader.end;
    let Some(torn) = end.torn.take() else {
        return Ok(Recovered { end, set_aside: None });
    };
    match set_aside(path, torn) {
        Ok(copy) => Ok(Recovered { end, set_aside: Some(SetAside { copy, torn }) }),
        Err(source) => Err(ReadError::SetAside { path: path.to_owned(), source }),
    }
}

/// Copies the file to `journal.torn-N` and cuts the torn tail off; the copy is durable before the cut.
fn set_aside(path: &Path, torn: Torn) -> io::Result<PathBuf> {
    let (copy, mut to) = new_copy(path)?;
    let mut from = File::open(path)?.take(torn.offset + torn.length);
    io::copy(&mut from, &mut to)?;
    to.sync_all()?;
    durable::sync_parent(path)?;
    let journal = OpenOptions::new().write(true).open(path)?;
    journal.set_len(torn.offset)?;
    journal.sync_all()?;
    Ok(copy)
}

fn new_copy(path: &Path) -> io::Result<(PathBuf, File)> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(durable::FILE_MODE);
    for number in 1..=TORN_MAX {
        let copy = path.with_file_name(format!("journal.torn-{number}"));
        match options.open(&copy) {
            Ok(file) => return Ok((copy, file)),
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
            Err(why) => return Err(why),
        }
    }
    Err(io::Error::other(format!("{TORN_MAX} torn ends are kept already")))
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
