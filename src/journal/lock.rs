//! One process at a time on this machine: a `flock`ed file whose content says who has it.
//!
//! The kernel's lock is the truth and ends with the process; the content only makes a refusal readable, and may
//! be left over from a crash.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

use super::{durable, who};
use crate::error::UserError;
use crate::exit::Exit;
use crate::ids::{RunId, StepId};

/// A holder writes its name right after it got the lock; whoever is refused in between looks again.
const LOOKS_MAX: u32 = 100;
const LOOK_PAUSE: Duration = Duration::from_millis(5);
const CONTENT_MAX: u64 = 64 * 1024;

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub run: RunId,
    /// Step under way when this was written last
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepId>,
    /// user@host
    pub who: String,
    pub host: String,
    pub pid: u32,
    pub since: Timestamp,
}

impl Holder {
    /// Returns this process as a holder.
    pub(crate) fn this_process(run: &RunId, since: Timestamp) -> Self {
        Self {
            run: run.clone(),
            step: None,
            who: who::who(),
            host: who::host(),
            pid: std::process::id(),
            since,
        }
    }

    /// Says whether the process may still be there; another machine's always may.
    fn may_live(&self) -> bool {
        if self.host != who::host() {
            return true;
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(Errno::SRCH)))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {}", self.run)?;
        if let Some(step) = &self.step {
            write!(f, " at step `{step}`")?;
        }
        let since = self.since.strftime("%Y-%m-%d %H:%M:%S");
        write!(f, " by {}, process {}, since {since} UTC", self.who, self.pid)
    }
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("the lock `{}` is held by {}", path.display(), holder_text(holder.as_deref()))]
    Held { path: PathBuf, holder: Option<Box<Holder>> },
    #[error("take the lock `{}`", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl LockError {
    /// Returns the error as the command line shows it.
    pub(crate) fn user(&self) -> UserError {
        match self {
            Self::Held { holder, .. } => {
                let error = UserError::new(Exit::Held, self.to_string());
                match holder {
                    Some(holder) => {
                        error.hint(format!("`phoenix-dr status {}`", holder.run.short()))
                    }
                    None => error,
                }
            }
            Self::Io { path, source } => UserError::new(Exit::Journal, format!("{self}: {source}"))
                .hint(format!("look at `ls -l {}`", path.display())),
        }
    }
}

fn holder_text(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "a process that has not said its name".to_owned(), Holder::to_string)
}

/// Whether a process holds a lock right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Liveness {
    Free,
    /// Held; by whom, as far as its content says
    Held(Option<Box<Holder>>),
}

/// A lock that is held; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct FileLock {
    file: File,
    holder: Holder,
}

impl FileLock {
    /// Takes the lock or says who has it; never waits for it to be given back. Its directory must exist.
    pub(crate) fn take(path: &Path, holder: Holder) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(durable::FILE_MODE);
        let file = options.open(path).map_err(failed)?;
        for look in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) => {
                    let held = read_holder(&file).filter(Holder::may_live);
                    if held.is_some() || look >= LOOKS_MAX {
                        let holder = held.or_else(|| read_holder(&file)).map(Box::new);
                        return Err(LockError::Held { path: path.to_owned(), holder });
                    }
                    std::thread::sleep(LOOK_PAUSE);
                }
            }
        }
        let lock = Self { file, holder };
        lock.write().map_err(failed)?;
        Ok(lock)
    }

    /// Says which step is under way, for whoever is refused; not worth failing for.
    pub(crate) fn at_step(&mut self, step: Option<&StepId>) {
        if self.holder.step.as_ref() != step {
            self.holder.step = step.cloned();
            drop(self.write());
        }
    }

    /// Returns what the lock says about its holder.
    pub(crate) const fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Looks whether somebody holds a lock, without taking it and without creating its file.
    pub(crate) fn look(path: &Path) -> io::Result<Liveness> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Liveness::Free),
            Err(why) => return Err(why),
        };
        // Shared, so that two lookers do not see each other; a taker refused by one looks again itself.
        match file.try_lock_shared() {
            Ok(()) => Ok(Liveness::Free),
            Err(TryLockError::WouldBlock) => Ok(Liveness::Held(read_holder(&file).map(Box::new))),
            Err(TryLockError::Error(why)) => Err(why),
        }
    }

    /// Writes the holder in one go: a reader takes the first line, so what is left behind it does not matter.
    fn write(&self) -> io::Result<()> {
        let mut text = serde_json::to_vec(&self.holder)?;
        text.push(b'\n');
        self.file.write_all_at(&text, 0)?;
        self.file.set_len(text.len() as u64)
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // So that nobody refused by the next holder reads this one's name.
        drop(self.file.set_len(0));
    }
}

fn read_holder(file: &File) -> Option<Holder> {
    let mut text = Vec::new();
    // Another handle of the same file: the position of the one that holds the lock is its own.
    let mut from = file.try_clone().ok()?;
    io::Seek::rewind(&mut from).ok()?;
    from.take(CONTENT_MAX).read_to_end(&mut text).ok()?;
    let line = text.split(|byte| *byte == b'\n').next()?;
    serde_json::from_slice(line).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};

    use super::*;
    use crate::journal::fixtures;

    fn holder() -> Holder {
        Holder::this_process(&fixtures::run(), fixtures::time(0))
    }

    #[test]
    fn the_second_is_told_who_has_it() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("phoenix.lock");
        assert_eq!(FileLock::look(&path).expect("look"), Liveness::Free);
        let mut lock = FileLock::take(&path, holder()).expect("free");
        lock.at_step(Some(&"database".into()));
        let why = FileLock::take(&path, holder()).expect_err("held");
        let says = why.to_string();
        let pid = std::process::id();
        assert!(says.contains("run 01JGZ7ZQ2V7S6M9Q3N4K5T7F3A at step `database` by "), "{says}");
        let since = format!("@{}, process {pid}, since 2025-01-25 10:00:00 UTC", who::host());
        assert!(says.ends_with(&since), "{says}");
        let Liveness::Held(Some(seen)) = FileLock::look(&path).expect("look") else { panic!() };
        assert_eq!(&*seen, lock.holder());
        assert_eq!(
            (why.user().exit, &why.user().hints[0][..]),
            (Exit::Held, "`phoenix-dr status 7F3A`")
        );
        lock.at_step(None);
        let says = FileLock::take(&path, holder()).expect_err("held").to_string();
        assert!(!says.contains("at step"), "{says}");
        drop(lock);
        assert_eq!(FileLock::look(&path).expect("look"), Liveness::Free);
        assert_eq!(std::fs::read(&path).expect("read"), b"", "a free lock names nobody");
        FileLock::take(&path, holder()).expect("free again");
    }

    #[test]
    fn what_a_crash_left_behind_does_not_hold() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("x.lock");
        let dead = Holder { pid: u32::MAX, ..holder() };
        assert!(!dead.may_live());
        std::fs::write(&path, serde_json::to_vec(&dead).expect("json")).expect("write");
        assert_eq!(FileLock::look(&path).expect("look"), Liveness::Free);
        drop(FileLock::take(&path, holder()).expect("nobody holds it"));
        std::fs::write(&path, "not json, and longer than any holder ".repeat(99)).expect("write");
        let lock = FileLock::take(&path, holder()).expect("nobody holds it");
        assert_eq!(read_holder(&lock.file), Some(holder()));
    }

    #[test]
    fn a_silent_holder_still_refuses() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("x.lock");
        let file = File::create(&path).expect("create");
        file.lock().expect("lock");
        let why = FileLock::take(&path, holder()).expect_err("held");
        assert!(why.to_string().contains("has not said its name"), "{why}");
    }

    #[test]
    fn of_a_hundred_at_once_one_gets_it_and_all_others_name_it() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("x.lock");
        let (start, end) = (Arc::new(Barrier::new(100)), Arc::new(Barrier::new(100)));
        let threads: Vec<_> = (0..100)
            .map(|number| {
                let (path, start, end) = (path.clone(), Arc::clone(&start), Arc::clone(&end));
                std::thread::spawn(move || {
                    let run = RunId(format!("run-{number}"));
                    start.wait();
                    let got = FileLock::take(&path, Holder { run: run.clone(), ..holder() });
                    end.wait();
                    match got {
                        Ok(lock) => (true, lock.holder().run.clone()),
                        Err(LockError::Held { holder: Some(holder), .. }) => (false, holder.run),
                        Err(why) => panic!("{why}"),
                    }
                })
            })
            .collect();
        let seen: Vec<_> =
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        let winners: Vec<_> = seen.iter().filter(|(won, _)| *won).collect();
        assert_eq!(winners.len(), 1);
        assert!(seen.iter().all(|(_, named)| *named == winners[0].1), "{seen:?}");
    }

    #[test]
    fn a_lock_that_cannot_be_made_is_an_error() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let file = dir.path().join("file");
        std::fs::write(&file, "").expect("write");
        let why = FileLock::take(&file.join("x.lock"), holder()).expect_err("not a directory");
        assert!(matches!(why, LockError::Io { .. }));
    }
}
