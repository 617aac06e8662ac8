//! A dump comes from the bucket: each file is read into its digest as it is written, and gets its name once that is the
//! manifest's. What is here already is not fetched again.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use futures::future::join_all;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};

use crate::actions::postgres::bucket::{Backups, Destination, Objects, patiently};
use crate::actions::postgres::manifest::{FileDigest, Manifest, altered, hex, sha256};
use crate::actions::postgres::told::Told;
use crate::clients::Clients;
use crate::engine::ports::Call;
use crate::outcome::ActionError;

/// Files that are under way at a time.
const AT_ONCE: usize = 8;
/// Mode of what is fetched.
const MODE: u32 = 0o600;
/// Held by every process that uses a copy.
const LOCK: &str = ".lock";

/// A copy of a dump's files, which this process uses.
#[derive(Debug)]
pub(in crate::actions::postgres) struct Fetched {
    folder: PathBuf,
    lock: File,
}

impl Fetched {
    /// Makes the folder, or finds it, and says that it is used.
    async fn at(folder: PathBuf) -> Result<Self, ActionError> {
        let said = folder.display().to_string();
        blocking(&said, move || {
            std::fs::create_dir_all(&folder)?;
            let lock = File::options().create(true).append(true).open(folder.join(LOCK))?;
            flock(&lock, FlockOperation::LockShared)?;
            // Whoever used it last may have removed it in between.
            std::fs::create_dir_all(&folder)?;
            Ok(Self { folder, lock })
        })
        .await
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes the copy, unless another process uses it. Where that cannot be done, it is only in the way of nobody.
    pub(super) async fn remove(self) {
        let said = self.folder.display().to_string();
        let removed = blocking(&said, move || {
            flock(&self.lock, FlockOperation::NonBlockingLockExclusive)?;
            std::fs::remove_dir_all(&self.folder)
        });
        drop(removed.await);
    }
}

/// A dump on its way.
pub(super) struct Fetch<'a> {
    objects: &'a Objects,
    clients: &'a Clients,
    manifest: &'a Manifest,
    /// Where its objects are, below the estate's prefix
    from: &'a str,
    told: Told<'a>,
}

impl<'a> Fetch<'a> {
    pub(super) fn new(
        (objects, clients, call): (&'a Objects, &'a Clients, &'a Call),
        manifest: &'a Manifest,
        from: &'a str,
    ) -> Self {
        let told = Told::step(call, "fetched", manifest.stored());
        Self { objects, clients, manifest, from, told }
    }

    /// Brings every file into a folder of this host.
    pub(super) async fn run(&self, folder: PathBuf) -> Result<Fetched, ActionError> {
        let fetched = Fetched::at(folder).await?;
        for some in self.manifest.files.chunks(AT_ONCE) {
            let brought = join_all(some.iter().map(|file| self.file(file, &fetched.folder))).await;
            let mut wrong = Vec::new();
            for file in brought {
                wrong.extend(file?);
            }
            if !wrong.is_empty() {
                return Err(altered(&self.manifest.name, &wrong));
            }
        }
        Ok(fetched)
    }

    /// Brings one file; returns what about it is not as the manifest says.
    async fn file(&self, file: &FileDigest, folder: &Path) -> Result<Option<String>, ActionError> {
        let path = folder.join(&file.name);
        if is_here(&path, file).await {
            self.told.more(file.bytes);
            return Ok(None);
        }
        // Its own name: another process may be fetching the same.
        let draft = folder.join(format!(".{}.{}", file.name, std::process::id()));
        let wrong = patiently(self.clients, || self.download(file, &draft)).await?;
        let (from, said) = (draft.clone(), path.display().to_string());
        match wrong {
            None => blocking(&said, move || std::fs::rename(from, path)).await?,
            Some(_) => drop(blocking(&said, move || std::fs::remove_file(from)).await),
        }
        Ok(wrong)
    }

    async fn download(
        &self,
        file: &FileDigest,
        draft: &Path,
    ) -> Result<Option<String>, ActionError> {
        let mut count = 0;
        let done = self.read(file, draft, &mut count).await;
        if done != Ok(None) {
            self.told.less(count);
        }
        done
    }

    /// Reads an object into a file, and counts its bytes.
    async fn read(
        &self,
        file: &FileDigest,
        draft: &Path,
        count: &mut u64,
    ) -> Result<Option<String>, ActionError> {
        let below = format!("{}{}", self.from, file.name);
        let (mut hasher, mut long) = (Sha256::new(), false);
        let failed = |error: io::Error| Backups::Dumps.local(&draft.display().to_string(), &error);
        drop(std::fs::remove_file(draft));
        let out = File::options().create(true).append(true).mode(MODE).open(draft);
        let out = out.map_err(failed)?;
        let into = Destination { file: &out, path: draft, begun: None };
        let read = self.objects.download(self.clients, &below, into, |some| {
            let more = u64::try_from(some.len()).unwrap_or(u64::MAX);
            *count += more;
            self.told.more(more);
            hasher.update(some);
            long = *count > file.bytes;
            !long
        });
        let read = read.await.map_err(|error| about(file, error))?;
        Ok(match read {
            false => Some(format!("{} is not there any more", file.name)),
            true if long => Some(format!("{} has more than {} bytes", file.name, file.bytes)),
            true if *count < file.bytes => {
                Some(format!("{} has {count} bytes instead of {}", file.name, file.bytes))
            }
            true if hex(&hasher.finalize()) != file.sha256 => {
                Some(format!("{} has other content than was written", file.name))
            }
            true => None,
        })
    }
}

/// Returns the bytes that are still to be fetched into a folder, as lengths tell.
pub(super) fn lacking(manifest: &Manifest, folder: &Path) -> u64 {
    let here = |file: &&FileDigest| {
        let seen = std::fs::metadata(folder.join(&file.name));
        !seen.is_ok_and(|seen| seen.len() == file.bytes)
    };
    manifest.files.iter().filter(here).map(|file| file.bytes).sum()
}

/// Says whether a file was fetched before, whole.
async fn is_here(path: &Path, file: &FileDigest) -> bool {
    let (path, bytes) = (path.to_owned(), file.bytes);
    let found = tokio::task::spawn_blocking(move || {
        let same = std::fs::metadata(&path)?.len() == bytes;
        if same { sha256(&path).map(Some) } else { Ok::<_, io::Error>(None) }
    });
    matches!(found.await, Ok(Ok(Some(found))) if found == file.sha256)
}

fn about(file: &FileDigest, error: ActionError) -> ActionError {
    ActionError { message: format!("{}: {}", file.name, error.message), ..error }
}

async fn blocking<T: Send + 'static>(
    place: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ActionError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other);
    done.and_then(|done| done).map_err(|error| Backups::Dumps.local(place, &error))
}
