//! Files and directories that are there after a power cut: private modes, synced names.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

const DIRECTORY_MODE: u32 = 0o700;
pub(super) const FILE_MODE: u32 = 0o600;

/// Creates a directory with its parents, mode 0700 each, and syncs the names.
pub(super) fn create_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = parent(path) {
        create_dir(parent)?;
    }
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Ok(()) => {}
        // Two runs that start at once make the same parents.
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(why) => return Err(why),
    }
    sync_parent(path)
}

/// Syncs the directory a file or directory is named in.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent(path).unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// Replaces a file's content at once: readers see the old or the new, also after a power cut.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("file");
    let temporary = path.with_file_name(format!(".{name}.{}", ulid::Ulid::generate()));
    let written = write_new(&temporary, content).and_then(|()| std::fs::rename(&temporary, path));
    if let Err(why) = written {
        // What is left of the temporary file is of no use; the first error is the one to tell.
        drop(std::fs::remove_file(&temporary));
        return Err(why);
    }
    sync_parent(path)
}

/// Writes a file that must not be there yet, mode 0600, and syncs it.
pub(super) fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn parent(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn directories_and_files_are_private() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let deep = dir.path().join("a/b/c");
        create_dir(&deep).expect("create");
        create_dir(&deep).expect("create again");
        let file = deep.join("file");
        replace(&file, b"one").expect("write");
        replace(&file, b"two").expect("replace");
        assert_eq!(std::fs::read(&file).expect("read"), b"two");
        let mode = |path: &Path| path.metadata().expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode(&deep), 0o700);
        assert_eq!(mode(&dir.path().join("a")), 0o700);
        assert_eq!(mode(&file), 0o600);
        assert_eq!(std::fs::read_dir(&deep).expect("list").count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_file() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let target = dir.path().join("occupied");
        create_dir(&target).expect("create");
        assert!(replace(&target, b"x").is_err(), "a directory cannot be replaced by a file");
        assert_eq!(std::fs::read_dir(dir.path()).expect("list").count(), 1);
    }
}
