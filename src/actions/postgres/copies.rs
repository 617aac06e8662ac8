//! What was brought from a bucket to this host: folders of this program's own, in which nothing else lies and of which it removes
//! no more than it made. The folder above may be one that other users write to as well: what is another user's, or a link, is
//! neither read nor removed.
//!
//! `NAME-DIGEST-UID.fetched/files` is a backup, or the WAL a restore reads; `DIGEST-UID.looks/files` the segments looks have read. What
//! is on its way is in `part` beside. Whoever uses any of it holds the lock of the folder above, which every user of this host may
//! hold.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, flock};
use sha2::{Digest as _, Sha256};

use super::manifest::hex;
use super::waldump;

/// How the names of folders end that a restore reads, and a look.
pub(super) const FETCHED: &str = "fetched";
pub(super) const LOOKS: &str = "looks";
const FILES: &str = "files";
const DRAFTS: &str = "part";
/// How the names of drafts begin that no other process goes on with.
const ONCE: &str = "once-";
/// How the names of folders begin that are being removed.
const GONE: &str = ".phoenix-dr-gone-";
/// Held by every process that uses what was brought.
const LOCK: &str = ".phoenix-dr-lock";
/// Segments that are kept of what looks have read: as many as one look may read.
const LOOKS_KEPT: usize = waldump::BACK_MAX;

/// Returns where the files of a copy are: what one user has brought another may not write to.
pub(super) fn files(folder: &Path, name: &str, kept: &str) -> PathBuf {
    folder.join(format!("{name}{}", ending(kept))).join(FILES)
}

/// Returns how the name of a copy of this user ends.
fn ending(kept: &str) -> String {
    format!("-{}.{kept}", rustix::process::geteuid().as_raw())
}

/// Fails where a copy is another user's, or is elsewhere: that user decides what is in it.
pub(super) fn is_ours(copy: &Path) -> io::Result<()> {
    let above = copy.parent().map(Path::to_owned);
    for folder in above.into_iter().chain([copy.to_owned(), copy.with_file_name(DRAFTS)]) {
        match std::fs::symlink_metadata(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(seen) if seen.is_dir() && seen.uid() == rustix::process::geteuid().as_raw() => {}
            Ok(_) => {
                let why = format!(
                    "{} is no folder of this user's: remove it, or have the server it is mounted from not change who owns what",
                    folder.display()
                );
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
            }
        }
    }
    Ok(())
}

/// Returns how much of an object of so many bytes an attempt before has got.
pub(super) fn begun(copy: &Path, (key, etag): (&str, &str), bytes: u64) -> u64 {
    let draft = copy.with_file_name(DRAFTS).join(known(key, etag));
    let begun = std::fs::metadata(draft).map_or(0, |seen| seen.len());
    // One that is as long as it should be and has no name is begun anew.
    if begun < bytes { begun } else { 0 }
}

/// Returns the lock of a folder.
pub(super) fn lock(folder: &Path) -> PathBuf {
    folder.join(LOCK)
}

/// Modes of what is brought, whatever this process' own mask is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Modes {
    pub file: u32,
    pub folder: u32,
}

impl Modes {
    /// Makes a folder of a copy, with those above it that are not there.
    pub(super) fn folder(self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(above) = path.parent() {
            self.folder(above)?;
        }
        match std::fs::DirBuilder::new().mode(self.folder).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => std::fs::set_permissions(path, std::fs::Permissions::from_mode(self.folder)),
        }
    }
}

/// A file that is on its way.
#[derive(Debug)]
pub(super) struct Draft {
    pub path: PathBuf,
    pub file: File,
    /// Bytes of it that are there
    pub begun: u64,
    /// Another attempt may go on with it
    pub resumable: bool,
}

impl Draft {
    /// Opens the draft of an object: of a version that is known, the one there may be.
    pub(super) fn of(
        copy: &Path,
        (key, etag): (&str, Option<&str>),
        bytes: u64,
        modes: Modes,
    ) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let drafts = copy.with_file_name(DRAFTS);
        modes.folder(&drafts)?;
        let open = |path: &Path, anew: bool| {
            let mut options = File::options();
            options.create(true).create_new(anew).append(true).mode(modes.file);
            let file = options.open(path)?;
            file.set_permissions(std::fs::Permissions::from_mode(modes.file))?;
            Ok::<File, io::Error>(file)
        };
        if let Some(etag) = etag {
            let path = drafts.join(known(key, etag));
            let file = open(&path, false)?;
            // Another process may be bringing the same, and have given it its name before this one had the lock.
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
                && is_same(&file, &path)
            {
                let begun = file.metadata()?.len();
                if begun >= bytes {
                    file.set_len(0)?;
                }
                let begun = if begun >= bytes { 0 } else { begun };
                return Ok(Self { path, file, begun, resumable: true });
            }
        }
        // A process in another container may have the same number, and each name is tried once.
        loop {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = drafts.join(format!("{ONCE}{}-{next}", std::process::id()));
            match open(&path, true) {
                Ok(file) => return Ok(Self { file, path, begun: 0, resumable: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Says whether a file still has its name.
fn is_same(file: &File, path: &Path) -> bool {
    let (Ok(opened), Ok(named)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    (opened.dev(), opened.ino()) == (named.dev(), named.ino())
}

/// Returns the name of the draft of a version of an object.
pub(super) fn known(key: &str, etag: &str) -> String {
    hex(&Sha256::digest(format!("{key}\n{etag}").as_bytes()))
}

/// What was brought is used.
#[derive(Debug)]
pub(super) struct Held {
    folder: PathBuf,
    lock: File,
}

impl Held {
    /// Says so. Where nobody else uses it, what looks and processes that died have left is removed. Blocks.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let lock = opened(&lock(folder))?;
        let held = Self { folder: folder.to_owned(), lock };
        if held.alone() {
            held.sweep();
        }
        flock(&held.lock, FlockOperation::LockShared)?;
        Ok(held)
    }

    /// Says whether nobody else uses it. Where somebody does, this is held no more.
    pub(super) fn alone(&self) -> bool {
        flock(&self.lock, FlockOperation::NonBlockingLockExclusive).is_ok()
    }

    /// Removes a copy, unless another process uses any; returns what stays of it. Blocks.
    pub(super) fn remove(self, copy: &Path) -> Option<PathBuf> {
        let from = copy.parent()?;
        if !self.alone() {
            return Some(from.to_owned());
        }
        // Out of everybody's way at once: removing takes long.
        let gone = self.folder.join(format!("{GONE}{}", std::process::id()));
        match std::fs::rename(from, &gone) {
            Ok(()) => {
                drop(self.lock);
                let removed = std::fs::remove_dir_all(&gone);
                removed.is_err().then_some(gone)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => Some(from.to_owned()),
        }
    }

    /// Removes what is left; where that cannot be done, it only takes room.
    fn sweep(&self) {
        let [fetched, looks] = [FETCHED, LOOKS].map(ending);
        for (name, path) in inside(&self.folder) {
            if name.starts_with(GONE) {
                if Folder::open(&path).is_some() {
                    drop(std::fs::remove_dir_all(&path));
                }
                continue;
            }
            let is_looks = name.ends_with(&looks);
            if !is_looks && !name.ends_with(&fetched) {
                continue;
            }
            let Some(copy) = Folder::open(&path) else { continue };
            if let Some(drafts) = copy.folder(DRAFTS) {
                let mut old = drafts.files();
                old.retain(|draft| is_looks || draft.to_string_lossy().starts_with(ONCE));
                drafts.remove(&old);
            }
            if let Some(files) = copy.folder(FILES).filter(|_| is_looks) {
                let mut looked_at = files.files();
                looked_at.sort();
                looked_at.truncate(looked_at.len().saturating_sub(LOOKS_KEPT));
                files.remove(&looked_at);
            }
        }
    }
}

/// A folder of this user's that is open, so that nobody can put another in its place.
struct Folder(OwnedFd);

impl Folder {
    const FLAGS: OFlags =
        OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

    /// Opens a folder; `None` where it is another user's, a link, or none.
    fn open(path: &Path) -> Option<Self> {
        Self::ours(rustix::fs::open(path, Self::FLAGS, Mode::empty()).ok()?)
    }

    /// Opens a folder in it.
    fn folder(&self, name: &str) -> Option<Self> {
        Self::ours(rustix::fs::openat(&self.0, name, Self::FLAGS, Mode::empty()).ok()?)
    }

    fn ours(opened: OwnedFd) -> Option<Self> {
        let user = rustix::fs::fstat(&opened).ok()?.st_uid;
        (user == rustix::process::geteuid().as_raw()).then_some(Self(opened))
    }

    /// Returns the names of what is in it and is no folder.
    fn files(&self) -> Vec<CString> {
        let entries = Dir::read_from(&self.0).into_iter().flatten().flatten();
        let files = entries.filter(|entry| entry.file_type() != FileType::Directory);
        files.map(|entry| entry.file_name().to_owned()).collect()
    }

    fn remove(&self, names: &[CString]) {
        for name in names {
            let removed = rustix::fs::unlinkat(&self.0, name.as_c_str(), AtFlags::empty());
            drop(removed.map_err(io::Error::from));
        }
    }
}

/// Opens a lock, for reading where it is there: any user may hold one, and nobody has to write to it.
fn opened(path: &Path) -> io::Result<File> {
    match File::options().write(true).create_new(true).open(path) {
        Ok(lock) => lock.set_permissions(std::fs::Permissions::from_mode(0o444)).map(|()| lock),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => File::open(path),
        Err(error) => Err(error),
    }
}

/// Returns what is in a folder, by names and paths.
fn inside(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named =
        |entry: std::fs::DirEntry| (entry.file_name().to_string_lossy().into_owned(), entry.path());
    entries.map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path) {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, "x").expect("written");
    }

    #[test]
    fn what_somebody_uses_stays_and_what_is_not_ours_stays_anyway() {
        let root = tempfile::tempdir().expect("a directory");
        let copy = files(root.path(), "sunday-1", FETCHED);
        write(&copy.join("base.tar"));
        write(&root.path().join("sunday/PG_VERSION"));
        let (one, other) =
            (Held::of(root.path()).expect("held"), Held::of(root.path()).expect("held"));
        assert!(one.remove(&copy).is_some() && copy.exists(), "another process uses it");
        assert!(
            other.remove(&copy).is_none()
                && !copy.exists()
                && root.path().join("sunday/PG_VERSION").exists()
        );
        let left = inside(root.path());
        assert_eq!(left.len(), 2, "the lock and the other folder: {left:?}");
    }

    #[test]
    fn what_died_left_goes_and_what_can_be_gone_on_with_stays() {
        let root = tempfile::tempdir().expect("a directory");
        let (copy, looks) =
            (files(root.path(), "sunday-1", FETCHED), files(root.path(), "2", LOOKS));
        let part = |name: &str| copy.with_file_name(DRAFTS).join(name);
        let gone = [
            part("once-1-1"),
            looks.with_file_name(DRAFTS).join("half"),
            root.path().join(format!("{GONE}1-0")).join("x"),
        ];
        let stays =
            [part(&known("key", "etag")), copy.join("base.tar"), root.path().join("once-1")];
        for path in gone.iter().chain(&stays) {
            write(path);
        }
        // Nothing of another user's goes, nor what a link leads to.
        let (elsewhere, other) = (
            tempfile::tempdir().expect("a directory"),
            root.path().join(format!("x-{}.{LOOKS}", rustix::process::geteuid().as_raw() + 1)),
        );
        let user = rustix::process::geteuid().as_raw();
        let link = root.path().join(format!("3-{user}.{LOOKS}"));
        write(&elsewhere.path().join("host"));
        std::fs::create_dir(&link).expect("made");
        std::os::unix::fs::symlink(elsewhere.path(), link.join(DRAFTS)).expect("linked");
        write(&other.join(DRAFTS).join("theirs"));
        for number in 0..LOOKS_KEPT + 3 {
            write(&looks.join(format!("{number:024}")));
        }
        let user = Held::of(root.path()).expect("held");
        assert!(gone.iter().all(|path| !path.exists()), "{gone:?}");
        assert!(stays.iter().all(|path| path.exists()), "{stays:?}");
        let kept = inside(&looks);
        assert_eq!(kept.len(), LOOKS_KEPT);
        assert!(kept.iter().all(|(name, _)| name.as_str() >= "000000000000000000000003"));
        assert!(
            elsewhere.path().join("host").exists() && other.join(DRAFTS).join("theirs").exists()
        );
        assert!(
            is_ours(&link.join(FILES)).is_err_and(|error| error.to_string().contains("remove it"))
        );
        assert!(is_ours(&copy).is_ok());
        // While somebody uses any of it nothing goes.
        write(&gone[0]);
        drop(Held::of(root.path()).expect("held"));
        assert!(gone[0].exists());
        drop(user);
        drop(Held::of(root.path()).expect("held"));
        assert!(!gone[0].exists());
    }

    #[test]
    fn modes_are_given_whatever_the_mask_is_and_a_draft_is_gone_on_with_by_one() {
        let root = tempfile::tempdir().expect("a directory");
        let copy = files(root.path(), "sunday-1", FETCHED);
        let modes = Modes { file: 0o644, folder: 0o755 };
        let etag = || Some("e");
        let draft = Draft::of(&copy, ("k", etag()), 10, modes).expect("opened");
        let mode =
            |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&draft.path), mode(&copy.with_file_name(DRAFTS))), (0o644, 0o755));
        io::Write::write_all(&mut &draft.file, b"abc").expect("written");
        let other = Draft::of(&copy, ("k", etag()), 10, modes).expect("opened");
        assert!(other.path != draft.path && !other.resumable && other.begun == 0);
        assert_eq!((begun(&copy, ("k", "e"), 10), begun(&copy, ("k", "f"), 10)), (3, 0));
        drop(draft);
        assert_eq!(Draft::of(&copy, ("k", etag()), 10, modes).expect("opened").begun, 3);
        // Another version begins anew, and so does what is as long as it should be and has no name.
        let newer = Draft::of(&copy, ("k", Some("f")), 10, modes).expect("opened");
        assert_eq!(newer.begun, 0);
        assert_eq!(Draft::of(&copy, ("k", etag()), 3, modes).expect("opened").begun, 0);
    }
}
