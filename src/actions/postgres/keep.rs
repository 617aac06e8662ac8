//! What was made as a draft gets its manifest and then its name: durably, as a whole, and never over another's.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::Serialize;

use super::manifest::{Kept, MANIFEST};
use crate::outcome::{ActionError, FailureClass};

/// Writes a manifest to what was made and gives that its name; returns whether the name was free.
///
/// None of its failures passes by itself, and none is a reason to make anew what took hours.
pub(super) async fn keep<M: Serialize + Clone + Send + 'static>(
    what: &str,
    draft: &Path,
    folder: &Path,
    manifest: &M,
) -> Result<bool, ActionError> {
    seal(what, draft, manifest).await?;
    let (from, to) = (draft.to_owned(), folder.to_owned());
    blocking(move || give(&from, &to)).await.map_err(|error| {
        let message = format!("give {what} its name {}: {error}", folder.display());
        ActionError::unchanged(class(&error), message).hint(format!(
            "it is whole in {}: mend that, then retry the step, which only gives it its name",
            draft.display()
        ))
    })
}

/// Writes a manifest to what was made: from then on a later attempt knows it for whole.
pub(super) async fn seal<M: Serialize + Clone + Send + 'static>(
    what: &str,
    draft: &Path,
    manifest: &M,
) -> Result<(), ActionError> {
    let (from, written) = (draft.to_owned(), manifest.clone());
    let sealed = blocking(move || write(&from, &written)).await;
    sealed.map_err(|error| {
        let message = format!("write the manifest of {what} in {}: {error}", draft.display());
        ActionError::unchanged(class(&error), message)
            .hint("nothing was kept of it: mend that, then retry the step")
    })
}

/// Gives a directory its name, durably and never over what has one; returns whether that was free. Blocks.
pub(super) fn give(draft: &Path, name: &Path) -> io::Result<bool> {
    let exclusively =
        |from: &Path, to: &Path| renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE);
    give_by(exclusively, draft, name)
}

fn give_by(
    exclusively: impl Fn(&Path, &Path) -> rustix::io::Result<()>,
    draft: &Path,
    name: &Path,
) -> io::Result<bool> {
    match exclusively(draft, name) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(false),
        // NFS, and with it EFS, has no exclusive rename. The plain one of a directory takes the place of an empty
        // directory at most, and says so of any other: whoever has content there keeps it.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match std::fs::rename(draft, name) {
            Ok(()) => {}
            Err(_) if draft.exists() && name.symlink_metadata().is_ok() => return Ok(false),
            Err(error) => return Err(error),
        },
        Err(error) => return Err(error.into()),
    }
    match name.parent() {
        Some(above) => sync(above).map(|()| true),
        None => Ok(true),
    }
}

fn write<M: Serialize>(draft: &Path, manifest: &M) -> io::Result<()> {
    let text = Kept::of(manifest)?.text()?;
    let mut file = File::create(draft.join(MANIFEST))?;
    file.write_all(&text)?;
    file.sync_all()?;
    sync(draft)
}

/// Makes the entries of a directory durable; a file system that does not know how has them so with each change.
fn sync(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        Err(error) if [ErrorKind::InvalidInput, ErrorKind::Unsupported].contains(&error.kind()) => {
            Ok(())
        }
        synced => synced,
    }
}

fn class(error: &io::Error) -> FailureClass {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => FailureClass::Capacity,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => FailureClass::Denied,
        _ => FailureClass::Invalid,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other).and_then(|done| done)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Place {
        root: tempfile::TempDir,
    }

    impl Place {
        fn with_draft() -> Self {
            let place = Self { root: tempfile::tempdir().expect("a directory") };
            std::fs::create_dir(place.at("draft")).expect("made");
            std::fs::write(place.at("draft/toc.dat"), "ours").expect("written");
            place
        }

        fn at(&self, name: &str) -> PathBuf {
            self.root.path().join(name)
        }

        fn read(&self, name: &str) -> Option<String> {
            std::fs::read_to_string(self.at(name)).ok()
        }
    }

    /// What file systems say that have no exclusive rename: NFS and FUSE the first, old kernels the second.
    const UNKNOWN: [Errno; 3] = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP];

    #[test]
    fn a_name_is_given_where_the_file_system_has_no_exclusive_rename() {
        for errno in UNKNOWN {
            let place = Place::with_draft();
            let given = give_by(|_, _| Err(errno), &place.at("draft"), &place.at("nightly.dump"));
            assert!(given.expect("given"), "{errno}");
            assert_eq!(place.read("nightly.dump/toc.dat").as_deref(), Some("ours"), "{errno}");
        }
        let place = Place::with_draft();
        std::fs::create_dir(place.at("nightly.dump")).expect("an empty one holds nothing");
        let given =
            give_by(|_, _| Err(Errno::INVAL), &place.at("draft"), &place.at("nightly.dump"));
        assert!(given.expect("given"));
        assert_eq!(place.read("nightly.dump/toc.dat").as_deref(), Some("ours"));
    }

    #[test]
    fn a_name_that_is_taken_is_nobody_elses_afterwards() {
        let ways: [(&str, Option<Errno>); 2] = [("exclusive", None), ("plain", Some(Errno::INVAL))];
        for (way, errno) in ways {
            let rename = |from: &Path, to: &Path| match errno {
                Some(errno) => Err(errno),
                None => renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE),
            };
            let place = Place::with_draft();
            std::fs::create_dir(place.at("taken.dump")).expect("made");
            std::fs::write(place.at("taken.dump/toc.dat"), "theirs").expect("written");
            std::fs::write(place.at("file.dump"), "theirs").expect("written");
            std::os::unix::fs::symlink("nowhere", place.at("link.dump")).expect("linked");
            for taken in ["taken.dump", "file.dump", "link.dump"] {
                let given = give_by(rename, &place.at("draft"), &place.at(taken));
                assert!(!given.expect("an answer"), "{way}: {taken}");
            }
            assert_eq!(place.read("taken.dump/toc.dat").as_deref(), Some("theirs"), "{way}");
            assert_eq!(place.read("file.dump").as_deref(), Some("theirs"), "{way}");
            assert_eq!(place.read("draft/toc.dat").as_deref(), Some("ours"), "{way}");
        }
    }

    #[tokio::test]
    async fn what_could_not_get_its_name_is_not_made_anew() {
        let place = Place::with_draft();
        let nowhere = place.at("missing/nightly.dump");
        let error = keep("the dump", &place.at("draft"), &nowhere, &"manifest").await;
        let error = error.expect_err("there is no such directory");
        assert!(!error.class.retryable(), "{error:?}");
        assert!(
            error.hint.as_deref().is_some_and(|hint| hint.contains("it is whole in")),
            "{error:?}"
        );
        assert_eq!(place.read("draft/toc.dat").as_deref(), Some("ours"));
    }
}
