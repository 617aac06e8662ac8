//! What is written to a directory and gets its name last: until then it is a draft of one attempt, and nobody else's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::manifest::{FileDigest, digests};
use crate::clients::Clients;
use crate::clock::Clock;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};

/// Returns the name of what a step keeps: the given one, else the run's own instant and the step.
pub(super) fn named(given: Option<&str>, call: &Call) -> Result<String, ActionError> {
    let name = match given {
        Some(name) => name.to_owned(),
        None if call.generation == 0 => format!("{}-{}", call.run, call.step),
        None => format!("{}-{}-{}", call.run, call.step, call.generation),
    };
    let sound = !name.is_empty()
        && name.len() <= 100
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if sound {
        return Ok(name);
    }
    let what = call.action.strip_prefix("postgres.").unwrap_or(&call.action);
    let message = format!("`{name}` cannot name a {what}");
    Err(ActionError::unchanged(FailureClass::Invalid, message)
        .hint("use letters, digits, dots, dashes and underscores: it becomes part of file names"))
}

/// Returns a word that stands for a step and nobody else's.
pub(super) fn mark(call: &Call) -> String {
    let digest = Sha256::digest(call.token().as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// How every draft begins.
const DRAFT: &str = ".phoenix-dr-";

/// Returns how the drafts of a step begin; nobody else's do.
fn drafts(call: &Call) -> String {
    format!("{DRAFT}{}-", mark(call))
}

/// Returns the drafts of all steps.
pub(super) fn drafts_in(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let drafts = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(DRAFT));
    drafts.map(|entry| entry.path()).collect()
}

/// Longer than a program has to end that is not waited for any more.
const ENDED_BY: Duration = Duration::from_secs(6);

/// Where an attempt writes: a place of its own, so that no other attempt writes there too.
///
/// It is removed when it is dropped: an attempt that fails, or whose time is over, leaves nothing behind that fills the
/// directory. Only what is whole stays.
pub(super) struct Draft {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    whole: bool,
}

impl Draft {
    pub(super) fn new(root: &Path, call: &Call, clients: &Clients) -> Self {
        let now = clients.clock.now().as_microsecond();
        let path = root.join(format!("{}{}-{now}", drafts(call), std::process::id()));
        Self { path, clock: Arc::clone(&clients.clock), whole: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Says that all of it is there: it lacks its name alone, which a later attempt can give it too.
    pub(super) fn whole(mut self) -> PathBuf {
        self.whole = true;
        self.path.clone()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.whole {
            return;
        }
        drop(std::fs::remove_dir_all(&self.path));
        // What still writes there is being ended.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (path, clock) = (self.path.clone(), Arc::clone(&self.clock));
        drop(runtime.spawn(async move {
            clock.sleep(ENDED_BY).await;
            drop(tokio::task::spawn_blocking(|| std::fs::remove_dir_all(path)).await);
        }));
    }
}

/// Returns a draft of this step that is whole and lacks its name alone, as `read` knows it.
pub(super) fn nameless<M>(
    root: &Path,
    call: &Call,
    read: impl Fn(&Path) -> Option<M>,
) -> Option<(PathBuf, M)> {
    let start = drafts(call);
    let entries = std::fs::read_dir(root).ok()?.flatten();
    let mut own = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&start));
    own.find_map(|entry| Some((entry.path(), read(&entry.path())?)))
}

/// Removes what attempts of this step left; where that cannot be done, it is only in the way of nobody.
pub(super) fn tidy(root: &Path, call: &Call) {
    let start = drafts(call);
    let Ok(entries) = std::fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&start) {
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}

/// Reads the digests of all files of a draft.
pub(super) async fn hashed(folder: PathBuf) -> Result<Vec<FileDigest>, ActionError> {
    let said = folder.display().to_string();
    let failed = |error: String| {
        ActionError::unchanged(FailureClass::Transient, format!("read {said}: {error}"))
    };
    let read = tokio::task::spawn_blocking(move || digests(&folder)).await;
    read.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}

/// Returns the bytes that are free where a directory is; `None` where nobody can tell.
pub(super) fn free(root: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(root).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Returns a size as people say it.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} bytes");
    }
    let mut unit = 0;
    let mut whole = count / 1024;
    while whole >= 10 * 1024 && unit + 1 < UNITS.len() {
        whole /= 1024;
        unit += 1;
    }
    format!("{whole} {}", UNITS[unit])
}
