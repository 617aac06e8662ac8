//! A dump comes from the bucket: each file is read into its digest as it is written, and gets its name once that is the
//! manifest's. What is here already is not fetched again.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::join_all;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::objects::{Objects, next, patiently};
use super::upload::part;
use crate::actions::postgres::drafts::bytes;
use crate::actions::postgres::manifest::{FileDigest, Manifest, altered, hex, sha256};
use crate::clients::Clients;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};

/// Files that are under way at a time.
const AT_ONCE: usize = 8;
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
    call: &'a Call,
    manifest: &'a Manifest,
    /// Where its objects are, below the estate's prefix
    from: &'a str,
    done: AtomicU64,
    /// How much of it was told, in thousandths
    told: AtomicU64,
}

impl<'a> Fetch<'a> {
    pub(super) fn new(
        (objects, clients, call): (&'a Objects, &'a Clients, &'a Call),
        manifest: &'a Manifest,
        from: &'a str,
    ) -> Self {
        let (done, told) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { objects, clients, call, manifest, from, done, told }
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
            self.tell(file.bytes);
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
            self.done.fetch_sub(count, Ordering::Relaxed);
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
        let opened = self.objects.open(self.clients, &below).await;
        let Some((length, mut body)) = opened.map_err(|error| about(file, error))? else {
            return Ok(Some(format!("{} is not there any more", file.name)));
        };
        let failed = |error: io::Error| local(&draft.display().to_string(), &error);
        let mut out = tokio::fs::File::create(draft).await.map_err(failed)?;
        let mut hasher = Sha256::new();
        while let Some(some) = next(self.clients, &mut body).await.map_err(|e| about(file, e))? {
            let some = some.as_ref();
            let more = u64::try_from(some.len()).unwrap_or(u64::MAX);
            *count += more;
            self.tell(more);
            if *count > file.bytes {
                return Ok(Some(format!("{} has more than {} bytes", file.name, file.bytes)));
            }
            hasher.update(some);
            out.write_all(some).await.map_err(failed)?;
        }
        if *count < length {
            let why = format!("{}: cut off after {count} of {length} bytes", file.name);
            return Err(ActionError::unchanged(FailureClass::Transient, why));
        }
        if *count < file.bytes {
            return Ok(Some(format!("{} has {count} bytes instead of {}", file.name, file.bytes)));
        }
        if hex(&hasher.finalize()) != file.sha256 {
            return Ok(Some(format!("{} has other content than was written", file.name)));
        }
        out.sync_all().await.map_err(failed)?;
        Ok(None)
    }

    fn tell(&self, more: u64) {
        let done = self.done.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        let all = self.manifest.stored();
        // Bytes come in small pieces.
        let told = done.saturating_mul(1000) / all.max(1);
        if self.told.swap(told, Ordering::Relaxed) != told {
            let said = format!("fetched {} of {}", bytes(done), bytes(all));
            self.call.progress.tell(said, Some(part(done, all)));
        }
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

fn local(place: &str, error: &io::Error) -> ActionError {
    let class = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureClass::Capacity,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => FailureClass::Denied,
        // Whoever used the copy last has removed it: it is made anew.
        io::ErrorKind::NotFound => FailureClass::Transient,
        _ => FailureClass::Invalid,
    };
    ActionError::unchanged(class, format!("write {place}: {error}")).hint(
        "it is in the estate's `database.dumps.work`; what was fetched whole is not fetched again",
    )
}

async fn blocking<T: Send + 'static>(
    place: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ActionError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other);
    done.and_then(|done| done).map_err(|error| local(place, &error))
}
