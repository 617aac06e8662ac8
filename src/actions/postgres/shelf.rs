//! Where base backups and the WAL archived since are kept: a folder of this host, or objects of a bucket that are brought into
//! such a folder when they are needed. Who asks does not know which.
//!
//! What is brought goes into a folder of this program's own (`copies.rs`), and has the time its object was written as its own: an
//! object that was written anew is brought anew. Listings say which version of an object is meant, and no other is brought.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use futures::future::join_all;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::bucket::{Backups, Begun, Below, Destination, Objects, Version, patiently};
use super::copies::{self, Draft, Held, Modes};
use super::drafts;
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
    /// Which versions of objects those are; of files of this host nothing
    pub versions: BTreeMap<String, Version>,
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
    /// Which version of an object it is, where it is one
    pub version: Option<Version>,
}

impl Needed {
    /// Says whether it was brought into a copy before, and its object was not written since.
    fn is_here(&self, copy: &Path) -> bool {
        let Ok(seen) = std::fs::metadata(copy.join(&self.at)) else { return false };
        let modified = seen.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        let written = self.version.as_ref().map(|version| version.written);
        let seconds = |time: Option<Timestamp>| time.map(Timestamp::as_second);
        seen.len() == self.bytes && written.is_some() && seconds(written) == seconds(modified)
    }

    /// Returns the version a download that was cut off is gone on with; `None` where it begins anew.
    fn resumed(&self) -> Option<&str> {
        let version = self.version.as_ref().filter(|_| self.bytes >= RESUMED_MIN);
        version.map(|version| version.etag.as_str())
    }
}

impl From<Below> for Inside {
    fn from(below: Below) -> Self {
        let folders = below.folders.iter().map(|name| name.trim_end_matches('/').to_owned());
        // A console makes an object for a folder, which has no name in it.
        let is_file = |name: &String| !name.is_empty() && !name.ends_with('/');
        Self {
            folders: folders.collect(),
            files: below.objects.into_iter().filter(|(name, _)| is_file(name)).collect(),
            versions: below.versions,
            links: BTreeSet::new(),
        }
    }
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
        objects.below(clients, &self.key(folder)).await.map(Inside::from)
    }

    /// Lists all objects below a folder, which is named with a slash at its end: names in folders of it have slashes. `None` of a
    /// folder of this host.
    pub(super) async fn all_inside(
        &self,
        clients: &Clients,
        folder: &str,
    ) -> Result<Option<Inside>, ActionError> {
        let Some(objects) = &self.from else { return Ok(None) };
        objects.all_below(clients, &self.key(folder)).await.map(|below| Some(below.into()))
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

    /// Returns the bytes of files that are still to be brought into a copy: of those that are new or were cut off.
    pub(super) fn lacking(&self, copy: &Path, needed: &[Needed]) -> u64 {
        if self.from.is_none() {
            return 0;
        }
        let lacking = needed.iter().filter(|file| !file.is_here(copy));
        lacking.map(|file| file.bytes.saturating_sub(self.begun(copy, file))).sum()
    }

    /// Returns how much of a file an attempt before has got.
    fn begun(&self, copy: &Path, file: &Needed) -> u64 {
        let key = self.key(&file.name);
        file.resumed().map_or(0, |etag| copies::begun(copy, (&key, etag), file.bytes))
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
        let place = || copy.parent().unwrap_or(copy).display().to_string();
        copies::is_ours(copy).map_err(|error| objects.of.local(&place(), &error))?;
        self.has_room(self.lacking(copy, needed))?;
        let way = Bring { clients, shelf: self, objects, copy, told };
        for some in needed.chunks(AT_ONCE) {
            let brought = some.iter().map(|file| way.one(file));
            for brought in join_all(brought).await {
                brought?;
            }
        }
        Ok(())
    }

    /// Fails where so many bytes have no room in it: nothing is filled to the last byte only to find that out.
    fn has_room(&self, lacking: u64) -> Result<(), ActionError> {
        match drafts::free(&self.folder) {
            Some(free) if free < lacking => {
                let message = format!(
                    "{} has {} free, and {} are to be fetched into it",
                    self.folder.display(),
                    drafts::bytes(free),
                    drafts::bytes(lacking)
                );
                Err(ActionError::unchanged(FailureClass::Capacity, message).hint(format!(
                    "make room there, or name another folder in `{}`; what restores before have left there ends with `.{}`",
                    self.kind.setting(),
                    copies::FETCHED
                )))
            }
            Some(_) | None => Ok(()),
        }
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
    shelf: &'a Shelf,
    objects: &'a Objects,
    copy: &'a Path,
    told: &'a Told<'a>,
}

impl Bring<'_> {
    /// Brings an object, unless it is here. As long as each few attempts bring more of it they go on: hours must not be lost for one
    /// connection more that was cut off.
    async fn one(&self, file: &Needed) -> Result<(), ActionError> {
        if file.is_here(self.copy) {
            self.told.more(file.bytes);
            return Ok(());
        }
        let mut begun = self.shelf.begun(self.copy, file);
        let done = loop {
            let done = patiently(self.clients, || self.fetched(file)).await;
            let now = self.shelf.begun(self.copy, file);
            match done {
                Err(error) if error.class.retryable() && now >= begun + RESUMED_MIN => begun = now,
                done => break done,
            }
        };
        done.map_err(|error| ActionError {
            message: format!("bring {}: {}", self.shelf.place(&file.name), error.message),
            ..error
        })
    }

    /// Brings an object under a name of its own, and gives it its name once it is whole.
    async fn fetched(&self, file: &Needed) -> Result<(), ActionError> {
        let (key, path) = (self.shelf.key(&file.name), self.copy.join(&file.at));
        let local = |error| self.objects.of.local(&path.display().to_string(), &error);
        let draft = self.draft(&key, &path, file).map_err(local)?;
        let mut count = draft.begun;
        self.told.more(count);
        let begun =
            file.version.as_ref().map(|version| Begun { bytes: draft.begun, etag: &version.etag });
        let into = Destination { file: &draft.file, path: &draft.path, begun };
        let read = self.objects.download(self.clients, &key, into, |some| {
            let more = u64::try_from(some.len()).unwrap_or(u64::MAX);
            count += more;
            self.told.more(more);
            true
        });
        let done = read.await.and_then(|there| match there {
            true => whole(&draft, &path, file).map_err(local)?,
            false => Err(gone(&self.shelf.place(&file.name))),
        });
        if done.is_err() {
            self.told.less(count);
            let empty = draft.file.metadata().is_ok_and(|seen| seen.len() == 0);
            if !draft.resumable || empty {
                drop(std::fs::remove_file(&draft.path));
            }
        }
        done
    }

    /// Returns where an object is brought first: where it is a large one, there is what an attempt before got of this version.
    fn draft(&self, key: &str, path: &Path, file: &Needed) -> std::io::Result<Draft> {
        let modes = self.shelf.kind.modes();
        let draft = Draft::of(self.copy, (key, file.resumed()), file.bytes, modes)?;
        if let Some(above) = path.parent() {
            modes.folder(above)?;
        }
        Ok(draft)
    }
}

/// Gives what was brought the time of its object, and its name. What is not as long as it was listed is begun anew.
fn whole(draft: &Draft, path: &Path, file: &Needed) -> std::io::Result<Result<(), ActionError>> {
    let came = draft.file.metadata()?.len();
    if came != file.bytes {
        draft.file.set_len(0)?;
        let message = format!("{came} bytes came instead of {}", file.bytes);
        return Ok(Err(ActionError::unchanged(FailureClass::Transient, message)));
    }
    if let Some(version) = &file.version {
        draft.file.set_modified(version.written.into())?;
    }
    std::fs::rename(&draft.path, path).map(Ok)
}

fn gone(place: &str) -> ActionError {
    let message = format!("{place} is not there any more");
    ActionError::unchanged(FailureClass::NotFound, message)
        .hint("see what is there now: `phoenix-dr recovery-points`")
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
