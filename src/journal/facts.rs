//! Facts: what was last seen of the estate, dated, for the hour when it cannot be looked at any more.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::names::file_name;
use super::{durable, who};

/// Format of a facts file.
const FORMAT: u32 = 1;
/// Longest facts file read.
const SIZE_MAX: u64 = 64 * 1024 * 1024;

/// What was seen, when and by whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Facts<T = Value> {
    pub format: u32,
    pub saved_at: Timestamp,
    /// user@host
    pub who: String,
    pub facts: T,
}

/// Why facts cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FactsError {
    #[error("save facts `{}`", path.display())]
    Save { path: PathBuf, source: io::Error },
    #[error("read facts `{}`", path.display())]
    Load { path: PathBuf, source: io::Error },
    #[error("read facts `{}`: format {found} is not known", path.display())]
    Format { path: PathBuf, found: u32 },
}

/// Returns the key of an estate's facts below the prefix of its state bucket.
pub(crate) fn facts_key(prefix: &str, estate: &str, name: &str) -> String {
    format!("{prefix}/facts/{}/{}.json", file_name(estate), file_name(name))
}

impl<T: Serialize> Facts<T> {
    /// Returns what this process saw.
    pub(crate) fn new(saved_at: Timestamp, facts: T) -> Self {
        Self { format: FORMAT, saved_at, who: who::who(), facts }
    }

    /// Returns the file's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self)
            .expect("every map in it has text keys, and nothing else can fail");
        text.push(b'\n');
        text
    }
}

impl Facts {
    /// Reads a file's bytes.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let facts: Self = serde_json::from_slice(bytes).map_err(|why| why.to_string())?;
        match facts.format {
            FORMAT => Ok(facts),
            other => Err(format!("format {other} is not known")),
        }
    }
}

/// Replaces the facts of that name below `root`; a reader sees the old or the new, whole.
pub(super) fn save(
    root: &Path,
    estate: &str,
    name: &str,
    facts: &Facts<impl Serialize>,
) -> Result<PathBuf, FactsError> {
    let path = path(root, estate, name);
    let write = || {
        durable::create_dir(path.parent().unwrap_or(root))?;
        durable::replace(&path, &facts.bytes())
    };
    match write() {
        Ok(()) => Ok(path),
        Err(source) => Err(FactsError::Save { path, source }),
    }
}

/// Returns the facts of that name; `None` when none were ever saved.
pub(super) fn load(root: &Path, estate: &str, name: &str) -> Result<Option<Facts>, FactsError> {
    let path = path(root, estate, name);
    let read = || {
        if path.metadata()?.len() > SIZE_MAX {
            return Err(io::Error::other(format!("it is longer than {SIZE_MAX} bytes")));
        }
        Ok(serde_json::from_slice::<Facts>(&std::fs::read(&path)?)?)
    };
    match read() {
        Ok(facts) if facts.format == FORMAT => Ok(Some(facts)),
        Ok(facts) => Err(FactsError::Format { path, found: facts.format }),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FactsError::Load { path, source }),
    }
}

fn path(root: &Path, estate: &str, name: &str) -> PathBuf {
    root.join("facts").join(file_name(estate)).join(file_name(name) + ".json")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::journal::fixtures::time;

    #[test]
    fn what_was_saved_last_is_loaded() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let load = |estate, name| load(dir.path(), estate, name).expect("readable");
        assert_eq!(load("phoenix", "rds/us-west-2"), None);
        for (at, lag) in [(0, 7), (60, 9)] {
            let facts = Facts::new(time(at), json!({"lag_seconds": lag}));
            save(dir.path(), "phoenix", "rds/us-west-2", &facts).expect("saved");
        }
        let facts = load("phoenix", "rds/us-west-2").expect("saved");
        assert_eq!((facts.saved_at, facts.who), (time(60), who::who()));
        assert_eq!(facts.facts, json!({"lag_seconds": 9}));
        assert_eq!(load("phoenix", "rds"), None);
        assert_eq!(load("other", "rds/us-west-2"), None);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_not_absent() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let facts = Facts::new(time(0), json!(1));
        let path = save(dir.path(), "phoenix", "dns", &facts).expect("saved");
        let text = std::fs::read_to_string(&path).expect("read");
        std::fs::write(&path, &text[..text.len() / 2]).expect("write");
        assert!(matches!(load(dir.path(), "phoenix", "dns"), Err(FactsError::Load { .. })));
        std::fs::write(&path, text.replace("\"format\": 1", "\"format\": 2")).expect("write");
        let found = load(dir.path(), "phoenix", "dns");
        assert!(matches!(found, Err(FactsError::Format { found: 2, .. })));
        std::fs::remove_file(&path).expect("remove");
        std::fs::create_dir(&path).expect("create");
        assert!(matches!(save(dir.path(), "phoenix", "dns", &facts), Err(FactsError::Save { .. })));
    }
}
