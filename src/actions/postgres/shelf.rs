//! Where base backups and the WAL archived since are kept: a folder of this host, or objects of a bucket that are brought into
//! such a folder when they are needed. Who asks does not know which.
//!
//! What was brought has the time its object was written as its own: an object that was written anew is brought anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use futures::future::join_all;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};

use super::bucket::{Backups, Objects, patiently};
use super::told::Told;
use crate::clients::Clients;
use crate::estate::own_server::BaseBackups as At;
use crate::outcome::{ActionError, FailureClass};

/// Objects that are under way at a time.
const AT_ONCE: usize = 8;

/// Where what is on its way is, in the folder of this host.
const DRAFTS: &str = ".part";
/// Held by every process that uses what was brought.
const LOCK: &str = ".lock";

/// What is kept there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bases,
    Wal,
}

impl Kind {
    /// Returns where in the bucket it is.
    const fn below(self) -> &'static str {
        match self {
            Self::Bases => "base/",
            Self::Wal => "wal/",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Bases => "base backups",
            Self::Wal => "archived WAL",
        }
    }

    /// Returns what of the estate file names the folder.
    pub(super) const fn setting(self) -> &'static str {
        match self {
            Self::Bases => "database.base_backups.directory",
            Self::Wal => "database.base_backups.wal",
        }
    }

    /// Returns the mode of what is brought: WAL is read by the user the restored server runs as.
    const fn mode(self) -> u32 {
        match self {
            Self::Bases => 0o600,
            Self::Wal => 0o644,
        }
    }

    const fn folder_mode(self) -> u32 {
        match self {
            Self::Bases => 0o700,
            Self::Wal => 0o755,
        }
    }
}

/// A folder of this host, and the bucket it is filled from where there is one.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    kind: Kind,
    folder: PathBuf,
    from: Option<Objects>,
}

/// What is directly in a folder, by names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Inside {
    /// Files with their lengths
    pub files: BTreeMap<String, u64>,
    pub folders: BTreeSet<String>,
    /// Those of both that are links
    pub links: BTreeSet<String>,
}

/// What was brought is used.
#[derive(Debug)]
pub(super) struct Held(File);

impl Held {
    /// Says whether nobody else uses it.
    pub(super) fn alone(&self) -> bool {
        flock(&self.0, FlockOperation::NonBlockingLockExclusive).is_ok()
    }
}

/// A file that is needed: its name below the shelf, and its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needed {
    pub name: String,
    pub bytes: u64,
}

impl Shelf {
    pub(super) fn of(at: &At, kind: Kind) -> Self {
        let folder = match kind {
            Kind::Bases => PathBuf::from(&at.directory),
            Kind::Wal => PathBuf::from(&at.wal),
        };
        let from = at.from.clone().map(|at| Objects { at, of: Backups::Base });
        Self { kind, folder, from }
    }

    /// Returns the folder of this host.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the bucket, where it is one.
    pub(super) const fn bucket(&self) -> Option<&Objects> {
        self.from.as_ref()
    }

    /// Returns where something is kept, for people.
    pub(super) fn place(&self, below: &str) -> String {
        match &self.from {
            None => self.folder.join(below).display().to_string(),
            Some(objects) => objects.at.place(&self.key(below)),
        }
    }

    fn key(&self, below: &str) -> String {
        format!("{}{below}", self.kind.below())
    }

    /// Lists what is directly in it, or in a folder of it, which is named with a slash at its end.
    pub(super) async fn inside(
        &self,
        clients: &Clients,
        folder: &str,
    ) -> Result<Inside, ActionError> {
        let Some(objects) = &self.from else {
            let at = self.folder.join(folder);
            return listed(&at).map_err(|error| {
                let message = format!("list the {} in {}: {error}", self.kind.name(), at.display());
                ActionError::unchanged(FailureClass::NotFound, message).hint(format!(
                    "it is the estate's `{}`: make it readable, or mount it",
                    self.kind.setting()
                ))
            });
        };
        let below = objects.below(clients, &self.key(folder)).await?;
        let folders = below.folders.iter().map(|name| name.trim_end_matches('/').to_owned());
        let (folders, links) = (folders.collect(), BTreeSet::new());
        // A console makes an object for a folder, which has no name in it.
        let files = below.objects.into_iter().filter(|(name, _)| !name.is_empty()).collect();
        Ok(Inside { files, folders, links })
    }

    /// Reads a small file; `None` where it is not there.
    pub(super) async fn text(
        &self,
        clients: &Clients,
        file: &str,
        longest: u64,
    ) -> Result<Option<String>, ActionError> {
        let read = match &self.from {
            Some(objects) => objects.read(clients, &self.key(file), longest).await?,
            None => match std::fs::read(self.folder.join(file)) {
                Ok(read) => Some(read),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => {
                    let message = format!("{}: {error}", self.place(file));
                    return Err(ActionError::unchanged(FailureClass::Invalid, message));
                }
            },
        };
        let text = read.map(String::from_utf8).transpose();
        text.map_err(|error| {
            let message = format!("{}: {}", self.place(file), error.utf8_error());
            ActionError::unchanged(FailureClass::Invalid, message)
        })
    }

    /// Reads the first bytes of an object; none of a folder of this host, where files are read by programs.
    pub(super) async fn begins(
        &self,
        clients: &Clients,
        file: &str,
        most: u64,
    ) -> Result<Vec<u8>, ActionError> {
        match &self.from {
            None => Ok(Vec::new()),
            Some(objects) => objects.begins(clients, &self.key(file), most).await,
        }
    }

    /// Returns the bytes of files that are still to be brought, as lengths tell.
    pub(super) fn lacking(&self, needed: &[Needed]) -> u64 {
        let here = |file: &&Needed| {
            let seen = std::fs::metadata(self.folder.join(&file.name));
            !seen.is_ok_and(|seen| seen.len() == file.bytes)
        };
        match self.from {
            None => 0,
            Some(_) => needed.iter().filter(here).map(|file| file.bytes).sum(),
        }
    }

    /// Has files on this host: those of a bucket are brought, unless they are here already.
    pub(super) async fn bring(
        &self,
        clients: &Clients,
        needed: &[Needed],
        told: &Told<'_>,
    ) -> Result<(), ActionError> {
        let Some(objects) = &self.from else { return Ok(()) };
        if !self.folder.is_dir() {
            let message = format!("{} is no directory on this host", self.folder.display());
            return Err(ActionError::unchanged(FailureClass::NotFound, message).hint(format!(
                "it is the estate's `{}`: make it, or mount it, and try again",
                self.kind.setting()
            )));
        }
        for some in needed.chunks(AT_ONCE) {
            let brought = some.iter().map(|file| self.bring_one(clients, objects, file, told));
            for brought in join_all(brought).await {
                brought?;
            }
        }
        Ok(())
    }

    /// Says that what was brought is used, for as long as what is returned lives; `None` of a folder that is not brought.
    pub(super) fn hold(&self) -> Result<Option<Held>, ActionError> {
        let Some(objects) = &self.from else { return Ok(None) };
        let path = self.folder.join(LOCK);
        let lock = File::options().create(true).append(true).open(&path);
        let held = lock.and_then(|lock| {
            flock(&lock, FlockOperation::LockShared).map(|()| lock).map_err(Into::into)
        });
        let held = held.map_err(|error| objects.of.local(&path.display().to_string(), &error))?;
        Ok(Some(Held(held)))
    }

    /// Removes what was brought: a folder, or all. Where that cannot be done, it only takes room.
    pub(super) fn clear(&self, names: impl Fn(&str) -> bool) {
        if self.from.is_none() {
            return;
        }
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && (name == DRAFTS || names(&name)) => {
                    drop(std::fs::remove_dir_all(path));
                }
                Ok(kind) if kind.is_file() && name != LOCK && names(&name) => {
                    drop(std::fs::remove_file(path));
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    async fn bring_one(
        &self,
        clients: &Clients,
        objects: &Objects,
        file: &Needed,
        told: &Told<'_>,
    ) -> Result<(), ActionError> {
        let (key, path) = (self.key(&file.name), self.folder.join(&file.name));
        if is_here(clients, objects, (&key, &path), file.bytes).await? {
            told.more(file.bytes);
            return Ok(());
        }
        patiently(clients, || self.fetched(clients, objects, (&key, &path), told)).await
    }

    /// Brings an object under a name of this process's own, and gives it its name once it is whole.
    async fn fetched(
        &self,
        clients: &Clients,
        objects: &Objects,
        (key, path): (&str, &Path),
        told: &Told<'_>,
    ) -> Result<(), ActionError> {
        // Beside all backups: what a process that died left is no file of one of them.
        let drafts = self.folder.join(DRAFTS);
        let draft = drafts.join(format!("{}-{}", std::process::id(), key.replace('/', "-")));
        let local = |error| objects.of.local(&path.display().to_string(), &error);
        for folder in path.parent().into_iter().chain([drafts.as_path()]) {
            let mut made = std::fs::DirBuilder::new();
            made.recursive(true).mode(self.kind.folder_mode()).create(folder).map_err(local)?;
        }
        let mut count = 0;
        let read = objects.download(clients, key, (&draft, self.kind.mode()), |some| {
            let more = u64::try_from(some.len()).unwrap_or(u64::MAX);
            count += more;
            told.more(more);
            true
        });
        let done = read.await.and_then(|read| {
            let read = read.ok_or_else(|| gone(&objects.at.place(key)))?;
            named(&draft, path, read.written).map_err(local)
        });
        if done.is_err() {
            told.less(count);
            drop(std::fs::remove_file(&draft));
        }
        done.map_err(|error| ActionError {
            message: format!("bring {}: {}", objects.at.place(key), error.message),
            ..error
        })
    }
}

/// Gives what was brought the time of its object, and its name.
fn named(draft: &Path, path: &Path, written: Option<Timestamp>) -> std::io::Result<()> {
    if let Some(written) = written {
        File::options().write(true).open(draft)?.set_modified(written.into())?;
    }
    std::fs::rename(draft, path)
}

fn gone(place: &str) -> ActionError {
    let message = format!("{place} is not there any more");
    ActionError::unchanged(FailureClass::NotFound, message)
}

/// Says whether an object was brought before, and was not written since.
async fn is_here(
    clients: &Clients,
    objects: &Objects,
    (key, path): (&str, &Path),
    bytes: u64,
) -> Result<bool, ActionError> {
    let Ok(seen) = std::fs::metadata(path) else { return Ok(false) };
    if seen.len() != bytes {
        return Ok(false);
    }
    let head = patiently(clients, || objects.head(clients, key)).await?;
    let head = head.ok_or_else(|| gone(&objects.at.place(key)))?;
    let modified = seen.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
    let second = |time: Timestamp| time.as_second();
    Ok(head.bytes == bytes
        && head.written.is_some_and(|at| Some(at.as_second()) == modified.map(second)))
}

fn listed(folder: &Path) -> std::io::Result<Inside> {
    let mut inside = Inside::default();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_symlink() {
            inside.links.insert(name.clone());
        }
        // What a link leads to may be gone, and what is listed may be by now.
        match std::fs::metadata(entry.path()) {
            Ok(seen) if seen.is_dir() => drop(inside.folders.insert(name)),
            Ok(seen) => drop(inside.files.insert(name, seen.len())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(inside)
}
