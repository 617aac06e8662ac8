//! Appending: whole lines in one write, one sync, and no second chance after a failure.
//!
//! A record counts as written only when its sync returned. After any failure the writer is poisoned: what the
//! kernel kept of the failed write is unknown, so the run stops and the lines are kept for printing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::durable;
use super::lines::LINE_MAX;
use super::reader::End;
use super::record;
use crate::engine::ports::{Journal, JournalFailure};
use crate::event::Record;

/// Lines kept for printing after a failure; a run stops at the first, so a few arrive at most.
const UNWRITTEN_MAX: usize = 1_000;

/// The open journal of one run.
#[derive(Debug)]
pub(crate) struct JournalWriter {
    disk: Disk,
    path: PathBuf,
    /// Bytes that are synced
    length: u64,
    /// Number of the record that comes next
    next: u64,
    broken: Option<String>,
    unwritten: Vec<String>,
}

impl JournalWriter {
    /// Creates the journal of a new run, mode 0600, and syncs its name.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.append(true).create_new(true).mode(durable::FILE_MODE).open(path)?;
        file.sync_all()?;
        durable::sync_parent(path)?;
        Ok(Self::over(file, path, 0, 0))
    }

    /// Opens a journal that was just recovered, to append after its end.
    pub(crate) fn go_on(path: &Path, end: &End) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open(path)?;
        let found = file.metadata()?.len();
        if found != end.length || end.torn.is_some() {
            return Err(io::Error::other(format!(
                "it has {found} bytes and {} were read: another process writes it",
                end.length
            )));
        }
        // The last process may have died between its write and its sync: what was read must be durable before
        // anything is done because of it.
        file.sync_all()?;
        Ok(Self::over(file, path, end.length, end.records))
    }

    fn over(file: File, path: &Path, length: u64, next: u64) -> Self {
        let (path, unwritten) = (path.to_owned(), Vec::new());
        Self { disk: Disk::new(file), path, length, next, broken: None, unwritten }
    }

    /// Writes and syncs lines that make one buffer; on failure says why, and cuts off what was half written.
    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let doing = match self.disk.write_all(bytes) {
            Ok(()) => match self.disk.sync() {
                Ok(()) => return Ok(()),
                Err(why) => format!("sync `{}`: {why}", self.path.display()),
            },
            Err(why) => format!("append to `{}`: {why}", self.path.display()),
        };
        Err(match self.disk.cut(self.length) {
            Ok(()) => doing,
            Err(cut) => format!("{doing}; its end may be torn, for it could not be cut off: {cut}"),
        })
    }

    fn check(&self, records: &[Record], lines: &[String]) -> Result<(), String> {
        for (expected, record) in (self.next..).zip(records) {
            if record.seq != expected {
                return Err(format!("record {} came where {expected} was due", record.seq));
            }
        }
        match lines.iter().find(|line| line.len() > LINE_MAX) {
            Some(line) => Err(format!("a record of {} bytes is too long", line.len())),
            None => Ok(()),
        }
    }

    fn fail(&mut self, why: String, lines: Vec<String>) -> JournalFailure {
        let room = UNWRITTEN_MAX.saturating_sub(self.unwritten.len());
        self.unwritten.extend(lines.into_iter().take(room));
        let why = self.broken.get_or_insert(why);
        JournalFailure(why.clone())
    }
}

impl Journal for JournalWriter {
    fn append(&mut self, records: &[Record]) -> Result<(), JournalFailure> {
        if records.is_empty() && self.broken.is_none() {
            return Ok(());
        }
        let lines: Vec<String> = records.iter().map(record::line).collect();
        if let Some(why) = self.broken.clone() {
            return Err(self.fail(why, lines));
        }
        if let Err(why) = self.check(records, &lines) {
            return Err(self.fail(why, lines));
        }
        let mut bytes = Vec::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
        for line in &lines {
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
        }
        if let Err(why) = self.write(&bytes) {
            return Err(self.fail(why, lines));
        }
        self.length += bytes.len() as u64;
        self.next += records.len() as u64;
        Ok(())
    }
}

/// The file, and in tests the faults it shows.
#[derive(Debug)]
struct Disk {
    file: File,
    #[cfg(test)]
    faults: tests::Faults,
}

impl Disk {
    fn new(file: File) -> Self {
        Self {
            file,
            #[cfg(test)]
            faults: tests::Faults::default(),
        }
    }

    /// One write for everything; the loop goes on only after a short one.
    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(test)]
        let bytes = self.faults.before_write(bytes)?;
        self.file.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_sync()?;
        self.file.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_cut()?;
        self.file.set_len(length)?;
        self.file.sync_data()
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
