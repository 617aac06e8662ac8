//! What a person marked done while a process carries the run out: only that process writes the journal, so it is left
//! beside it and becomes a record when the run ends or stops.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::durable;
use super::names::file_name;
use super::store::RunDir;

/// Longest mark read.
const SIZE_MAX: u64 = 64 * 1024;

/// One obligation that is done, by somebody's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub obligation: String,
    /// How they know
    pub evidence: String,
    /// user@host
    pub who: String,
    pub at: Timestamp,
}

/// Leaves a mark; one that was there for the same obligation is replaced.
pub(crate) fn put(dir: &RunDir, mark: &Mark) -> io::Result<()> {
    let folder = dir.inbox();
    durable::create_dir(&folder)?;
    let text = serde_json::to_vec(mark)?;
    durable::replace(&folder.join(file_name(&mark.obligation) + ".json"), &text)
}

/// Returns the marks that wait, each with its file.
pub(crate) fn list(dir: &RunDir) -> io::Result<Vec<(PathBuf, Mark)>> {
    let entries = match std::fs::read_dir(dir.inbox()) {
        Ok(entries) => entries,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(why) => return Err(why),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        // A file that is being written has a name of another kind.
        if path.extension().is_some_and(|end| end == "json") {
            found.push((path.clone(), read(&path)?));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn read(path: &Path) -> io::Result<Mark> {
    if path.metadata()?.len() > SIZE_MAX {
        return Err(io::Error::other(format!("`{}` is no mark: it is too long", path.display())));
    }
    let mark = serde_json::from_slice(&std::fs::read(path)?);
    mark.map_err(|why| io::Error::other(format!("read `{}`: {why}", path.display())))
}

/// Takes a mark away, once it is a record.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)?;
    durable::sync_parent(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::fixtures::{run, time};
    use crate::journal::store::Store;

    #[test]
    fn marks_wait_until_they_are_taken() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let open = Store::at(dir.path()).create_run(&run(), time(0)).expect("created");
        assert_eq!(list(&open.dir).expect("readable"), []);
        let mark = |obligation: &str, evidence: &str| Mark {
            obligation: obligation.to_owned(),
            evidence: evidence.to_owned(),
            who: "ops@bastion".to_owned(),
            at: time(1),
        };
        put(&open.dir, &mark("notify", "told them")).expect("left");
        put(&open.dir, &mark("a/b", "seen")).expect("left");
        put(&open.dir, &mark("notify", "told all of them")).expect("left");
        let found = list(&open.dir).expect("readable");
        let marks: Vec<Mark> = found.iter().map(|(_, mark)| mark.clone()).collect();
        assert_eq!(marks, [mark("a/b", "seen"), mark("notify", "told all of them")]);
        for (path, _) in found {
            remove(&path).expect("removed");
        }
        assert_eq!(list(&open.dir).expect("readable"), []);
        std::fs::write(open.dir.inbox().join("x.json"), "{").expect("write");
        assert!(list(&open.dir).is_err(), "what cannot be read is told");
    }
}
