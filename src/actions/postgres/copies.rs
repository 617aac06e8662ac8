//! What was brought from a bucket to this host: folders of this program's own, in which nothing else lies and of which it removes
//! no more than it made.
//!
//! `NAME-DIGEST-UID.fetched/files` is a backup, or the WAL a restore reads; `DIGEST-UID.looks/files` the segments looks have read. What
//! is on its way is in `part` beside. Whoever uses any of it holds the lock of the folder above, which every user of this host may
//! hold.

use std::fs::File;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};

use super::manifest::hex;

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
/// Segments that are kept of what looks have read.
const LOOKS_KEPT: usize = 8;

/// Returns where the files of a copy are: what one user has brought another may not write to.
pub(super) fn files(folder: &Path, name: &str, kept: &str) -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    folder.join(format!("{name}-{user}.{kept}")).join(FILES)
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
    pub(super) fn folder(self, path: &Path) -> std::io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(above) = path.parent() {
            self.folder(above)?;
        }
        match std::fs::DirBuilder::new().mode(self.folder).create(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
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
    /// The version of the object they are of, where another attempt may go on with it
    pub etag: Option<String>,
}

impl Draft {
    /// Opens the draft of an object: of a version that is known, the one there may be.
    pub(super) fn of(
        copy: &Path,
        (key, etag): (&str, Option<String>),
        bytes: u64,
        modes: Modes,
    ) -> std::io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let drafts = copy.with_file_name(DRAFTS);
        modes.folder(&drafts)?;
        let open = |path: &Path, anew: bool| {
            let mut options = File::options();
            options.create(true).create_new(anew).append(true).mode(modes.file);
            let file = options.open(path)?;
            file.set_permissions(std::fs::Permissions::from_mode(modes.file))?;
            Ok::<File, std::io::Error>(file)
        };
        if let Some(etag) = etag {
            let path = drafts.join(known(key, &etag));
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
                return Ok(Self { path, file, begun, etag: Some(etag) });
            }
        }
        loop {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = drafts.join(format!("{ONCE}{}-{next}", std::process::id()));
            // A process in another container may have the same number.
            match open(&path, true) {
                Ok(file) => return Ok(Self { file, path, begun: 0, etag: None }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
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
    pub(super) fn of(folder: &Path) -> std::io::Result<Self> {
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

    /// Removes a copy, unless another process uses any. Where that cannot be done, it only takes room. Blocks.
    pub(super) fn remove(self, copy: &Path) {
        let Some(from) = copy.parent().filter(|_| self.alone()) else { return };
        // Out of everybody's way at once: removing takes long.
        let gone = self.folder.join(format!("{GONE}{}", std::process::id()));
        let renamed = std::fs::rename(from, &gone);
        drop(self.lock);
        if renamed.is_ok() {
            drop(std::fs::remove_dir_all(gone));
        }
    }

    fn sweep(&self) {
        for path in inside(&self.folder) {
            let name = name(&path);
            if name.starts_with(GONE) {
                drop(std::fs::remove_dir_all(&path));
                continue;
            }
            let copy = path.extension().is_some_and(|kept| kept == FETCHED || kept == LOOKS);
            if !copy {
                continue;
            }
            let looks = path.extension().is_some_and(|kept| kept == LOOKS);
            let mut old = inside(&path.join(DRAFTS));
            old.retain(|draft| looks || self::name(draft).starts_with(ONCE));
            if looks {
                let mut looked_at = inside(&path.join(FILES));
                looked_at.sort();
                looked_at.truncate(looked_at.len().saturating_sub(LOOKS_KEPT));
                old.extend(looked_at);
            }
            for file in old {
                drop(std::fs::remove_file(file));
            }
        }
    }
}

/// Opens a lock, for reading where it is there: any user may hold one, and nobody has to write to it.
fn opened(path: &Path) -> std::io::Result<File> {
    match File::options().write(true).create_new(true).open(path) {
        Ok(lock) => lock.set_permissions(std::fs::Permissions::from_mode(0o444)).map(|()| lock),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => File::open(path),
        Err(error) => Err(error),
    }
}

fn inside(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
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
        one.remove(&copy);
        assert!(copy.exists(), "another process uses it");
        other.remove(&copy);
        assert!(!copy.exists() && root.path().join("sunday/PG_VERSION").exists());
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
        for number in 0..LOOKS_KEPT + 3 {
            write(&looks.join(format!("{number:024}")));
        }
        let user = Held::of(root.path()).expect("held");
        assert!(gone.iter().all(|path| !path.exists()), "{gone:?}");
        assert!(stays.iter().all(|path| path.exists()), "{stays:?}");
        let kept = inside(&looks);
        assert_eq!(kept.len(), LOOKS_KEPT);
        assert!(kept.iter().all(|path| name(path).as_str() >= "000000000000000000000003"));
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
        let etag = || Some("e".to_owned());
        let draft = Draft::of(&copy, ("k", etag()), 10, modes).expect("opened");
        let mode =
            |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&draft.path), mode(&copy.with_file_name(DRAFTS))), (0o644, 0o755));
        std::io::Write::write_all(&mut &draft.file, b"abc").expect("written");
        let other = Draft::of(&copy, ("k", etag()), 10, modes).expect("opened");
        assert!(other.path != draft.path && other.etag.is_none() && other.begun == 0);
        drop(draft);
        assert_eq!(Draft::of(&copy, ("k", etag()), 10, modes).expect("opened").begun, 3);
        // Another version begins anew, and so does what is as long as it should be and has no name.
        let newer = Draft::of(&copy, ("k", Some("f".to_owned())), 10, modes).expect("opened");
        assert_eq!(newer.begun, 0);
        assert_eq!(Draft::of(&copy, ("k", etag()), 3, modes).expect("opened").begun, 0);
    }
}
