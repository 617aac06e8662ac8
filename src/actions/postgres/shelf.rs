//! Where base backups and the WAL archived since are kept: a folder of this host, or objects of a bucket that are brought into
//! such a folder when they are needed. Who asks does not know which.
//!
//! What is brought goes into a folder of this program's own (`copies.rs`), and has the time its object was written as its own: an
//! object that was written anew is brought anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use futures::future::join_all;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::bucket::{Backups, Into, Objects, patiently};
use super::copies::{self, Draft, Held, Modes};
use super::manifest::hex;
use super::told::Told;
use crate::clients::Clients;
use crate::estate::own_server::BaseBackups as At;
use crate::outcome::{ActionError, FailureClass};

/// Objects that are under way at a time.
const AT_ONCE: usize = 8;
/// Bytes of an object from which on a download that was cut off is gone on with.
const RESUMED_MIN: u64 = 8 << 20;
/// Characters of a digest in the name of a folder.
const DIGEST_SHOWN: usize = 12;

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

    /// Returns the modes of what is brought and of its folders: WAL is read by the user the restored server runs as.
    const fn modes(self) -> Modes {
        match self {
            Self::Bases => Modes { file: 0o600, folder: 0o700 },
            Self::Wal => Modes { file: 0o644, folder: 0o755 },
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
    /// When objects were written; of files of this host nothing
    pub written: BTreeMap<String, Timestamp>,
    pub folders: BTreeSet<String>,
    /// Those of both that are links
    pub links: BTreeSet<String>,
}

/// A file that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needed {
    /// Its name below the shelf
    pub name: String,
    /// Its name below the copy it belongs to
    pub at: String,
    pub bytes: u64,
    /// When its object was written, where a listing has said that
    pub written: Option<Timestamp>,
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

    /// Returns the folder of this host that the estate names.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the bucket, where it is one.
    pub(super) const fn bucket(&self) -> Option<&Objects> {
        self.from.as_ref()
    }

    /// Returns where the files of a backup are on this host, or are brought to: another of the same name goes elsewhere.
    pub(super) fn backup(&self, name: &str, digest: &str) -> PathBuf {
        let short: String = digest.chars().take(DIGEST_SHOWN).collect();
        match self.from {
            None => self.folder.join(name),
            Some(_) => copies::files(&self.folder, &format!("{name}-{short}"), copies::FETCHED),
        }
    }

    /// Returns where archived WAL is on this host, or is brought to: for a look, or for a restore.
    pub(super) fn wal(&self, kept: &str) -> PathBuf {
        let Some(objects) = &self.from else { return self.folder.clone() };
        let digest = hex(&Sha256::digest(objects.at.place("").as_bytes()));
        let short: String = digest.chars().take(DIGEST_SHOWN).collect();
        copies::files(&self.folder, &short, kept)
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
        Ok(Inside { files, written: below.written, folders, links })
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

    /// Returns the bytes of files that are still to be brought into a copy, as lengths tell.
    pub(super) fn lacking(&self, copy: &Path, needed: &[Needed]) -> u64 {
        let here = |file: &&Needed| {
            let seen = std::fs::metadata(copy.join(&file.at));
            !seen.is_ok_and(|seen| seen.len() == file.bytes)
        };
        match self.from {
            None => 0,
            Some(_) => needed.iter().filter(here).map(|file| file.bytes).sum(),
        }
    }

    /// Fails where the folder the estate names is none.
    fn is_there(&self) -> Result<(), ActionError> {
        if self.folder.is_dir() {
            return Ok(());
        }
        let message = format!("{} is no directory on this host", self.folder.display());
        Err(ActionError::unchanged(FailureClass::NotFound, message).hint(format!(
            "it is the estate's `{}`: make it, or mount it, and try again",
            self.kind.setting()
        )))
    }

    /// Has files in a copy on this host: those of a bucket are brought, unless they are here already.
    pub(super) async fn bring(
        &self,
        clients: &Clients,
        copy: &Path,
        needed: &[Needed],
        told: &Told<'_>,
    ) -> Result<(), ActionError> {
        let Some(objects) = &self.from else { return Ok(()) };
        self.is_there()?;
        let way = Bring { clients, objects, copy, modes: self.kind.modes(), told };
        for some in needed.chunks(AT_ONCE) {
            let brought = some.iter().map(|file| way.one(self.key(&file.name), file));
            for brought in join_all(brought).await {
                brought?;
            }
        }
        Ok(())
    }

    /// Has what was brought fetched anew by the next attempt: it may have been altered here. Nothing is removed, for another
    /// process may be reading it.
    pub(super) fn doubt(&self, copy: &Path, needed: &[Needed]) {
        for file in needed.iter().filter(|_| self.from.is_some()) {
            let opened = File::options().write(true).open(copy.join(&file.at));
            // What cannot be opened is not taken for what it should be either.
            drop(opened.and_then(|file| file.set_modified(Timestamp::UNIX_EPOCH.into())));
        }
    }

    /// Says that what was brought is used, for as long as what is returned lives; `None` of a folder nothing is brought into.
    pub(super) async fn hold(&self) -> Result<Option<Held>, ActionError> {
        let Some(objects) = &self.from else { return Ok(None) };
        self.is_there()?;
        let folder = self.folder.clone();
        let held = tokio::task::spawn_blocking(move || Held::of(&folder)).await;
        let held = held.map_err(std::io::Error::other).and_then(|held| held);
        let lock = copies::lock(&self.folder).display().to_string();
        held.map(Some).map_err(|error| objects.of.local(&lock, &error))
    }
}

/// Objects on their way into a copy.
struct Bring<'a> {
    clients: &'a Clients,
    objects: &'a Objects,
    copy: &'a Path,
    modes: Modes,
    told: &'a Told<'a>,
}

impl Bring<'_> {
    async fn one(&self, key: String, file: &Needed) -> Result<(), ActionError> {
        let path = self.copy.join(&file.at);
        if self.is_here(&key, &path, file).await? {
            self.told.more(file.bytes);
            return Ok(());
        }
        let done = patiently(self.clients, || self.fetched(&key, &path, file.bytes)).await;
        done.map_err(|error| ActionError {
            message: format!("bring {}: {}", self.objects.at.place(&key), error.message),
            ..error
        })
    }

    /// Says whether an object was brought before, and was not written since.
    async fn is_here(&self, key: &str, path: &Path, file: &Needed) -> Result<bool, ActionError> {
        let Ok(seen) = std::fs::metadata(path) else { return Ok(false) };
        if seen.len() != file.bytes {
            return Ok(false);
        }
        let written = match file.written {
            Some(written) => Some(written),
            None => {
                let head = patiently(self.clients, || self.objects.head(self.clients, key)).await?;
                let head = head.ok_or_else(|| gone(&self.objects.at.place(key)))?;
                head.written.filter(|_| head.bytes == file.bytes)
            }
        };
        let modified = seen.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        let seconds = |time: Option<Timestamp>| time.map(Timestamp::as_second);
        Ok(written.is_some() && seconds(written) == seconds(modified))
    }

    /// Brings an object under a name of its own, and gives it its name once it is whole.
    async fn fetched(&self, key: &str, path: &Path, bytes: u64) -> Result<(), ActionError> {
        let local = |error| self.objects.of.local(&path.display().to_string(), &error);
        let draft = self.draft(key, path, bytes).await?;
        let mut count = draft.begun;
        self.told.more(count);
        let from = draft.etag.as_deref().map(|etag| (draft.begun, etag));
        let into = Into { file: &draft.file, path: &draft.path, from };
        let read = self.objects.download(self.clients, key, into, |some| {
            let more = u64::try_from(some.len()).unwrap_or(u64::MAX);
            count += more;
            self.told.more(more);
            true
        });
        let done = read.await.and_then(|read| {
            let read = read.ok_or_else(|| gone(&self.objects.at.place(key)))?;
            named(&draft.path, path, read.written).map_err(local)
        });
        if let Err(error) = &done {
            self.told.less(count);
            if draft.etag.is_none() || !error.class.retryable() {
                drop(std::fs::remove_file(&draft.path));
            }
        }
        done
    }

    /// Returns where an object is brought first: where it is a large one, there is what an attempt before got of this version.
    async fn draft(&self, key: &str, path: &Path, bytes: u64) -> Result<Draft, ActionError> {
        let local = |error| self.objects.of.local(&path.display().to_string(), &error);
        let etag = match bytes >= RESUMED_MIN {
            false => None,
            true => self.objects.head(self.clients, key).await?.map(|head| head.etag),
        };
        let draft = Draft::of(self.copy, (key, etag), bytes, self.modes).map_err(local)?;
        if let Some(above) = path.parent() {
            self.modes.folder(above).map_err(local)?;
        }
        Ok(draft)
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
