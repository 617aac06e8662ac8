//! A file that somebody named: whether it is there, and if not, where it was looked for and which one was meant.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::runbook::near;

/// Entries of a folder that are looked through for what was meant.
const ENTRIES_MAX: usize = 1_000;
/// Files of a folder that are offered in its place.
const OFFERED_MAX: usize = 4;
/// How the names of worlds and faults end.
const ENDINGS: [&str; 4] = ["yaml", "yml", "json", "jsonl"];

/// What is where a name leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    File,
    Folder { said: String, meant: Option<String> },
    Absent { said: String, meant: Option<String> },
}

/// Looks where a name leads; `known` are names that could be meant besides those of files.
pub(super) fn at(name: &str, known: &[&str]) -> Named {
    let path = Path::new(name);
    if path.is_dir() {
        let offered: Vec<String> = files(path).into_iter().take(OFFERED_MAX).collect();
        let meant = (!offered.is_empty()).then(|| {
            let paths = offered.iter().map(|file| path.join(file).display().to_string());
            format!("name a file in it: {}", paths.collect::<Vec<_>>().join(", "))
        });
        return Named::Folder { said: format!("{} is a folder", absolute(path).display()), meant };
    }
    // Whatever else is there, reading it says what is wrong with it.
    if path.symlink_metadata().is_ok() {
        return Named::File;
    }
    let folder = folder_of(path);
    let shown = absolute(folder);
    if !folder.is_dir() {
        let said = format!("there is no folder {}", shown.display());
        return Named::Absent { said, meant: None };
    }
    let file = path.file_name().unwrap_or_else(|| OsStr::new(name)).to_string_lossy().into_owned();
    let said = format!("{} has no file `{file}`", shown.display());
    Named::Absent { said, meant: meant(path, known) }
}

/// Says which file of its folder, or which of the names that are known, was probably meant.
fn meant(path: &Path, known: &[&str]) -> Option<String> {
    let given = path.file_name()?.to_str()?;
    let there = files(folder_of(path));
    let of_the_same_name = |file: &&str| Path::new(file).file_stem() == path.file_stem();
    let names = there.iter().map(String::as_str);
    let file = names.clone().find(of_the_same_name).or_else(|| near::nearest(given, names));
    match file {
        Some(file) => Some(format!("did you mean `{}`?", path.with_file_name(file).display())),
        None => near::hint(path.to_str()?, known.iter().copied()),
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Returns a path as it is known from everywhere.
fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

/// Returns the names of a folder's files that could be worlds or faults.
fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let ends = |path: &Path| {
        path.extension().and_then(OsStr::to_str).is_some_and(|ending| ENDINGS.contains(&ending))
    };
    let paths = entries.take(ENTRIES_MAX).flatten().map(|entry| entry.path());
    let files = paths.filter(|path| ends(path) && path.is_file());
    let mut names: Vec<String> =
        files.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_told_with_where_it_was_looked_for_and_what_was_meant() {
        let folder = tempfile::tempdir().expect("a folder");
        let here = folder.path().canonicalize().expect("its path");
        for name in ["faults.yaml", "world.jsonl", "notes.txt"] {
            std::fs::write(here.join(name), "x").expect("written");
        }
        let name = |file: &str| here.join(file).display().to_string();
        let shown = here.display();
        assert_eq!(at(&name("faults.yaml"), &[]), Named::File);
        let absent = |said: String, meant: Option<String>| Named::Absent { said, meant };
        let meant = |file: &str| Some(format!("did you mean `{}`?", name(file)));
        assert_eq!(
            at(&name("fualts.yaml"), &[]),
            absent(format!("{shown} has no file `fualts.yaml`"), meant("faults.yaml"))
        );
        assert_eq!(
            at(&name("world.json"), &[]),
            absent(format!("{shown} has no file `world.json`"), meant("world.jsonl"))
        );
        assert_eq!(
            at(&name("quite-another"), &[]),
            absent(format!("{shown} has no file `quite-another`"), None)
        );
        assert_eq!(
            at(&name("gone/faults.yaml"), &[]),
            absent(format!("there is no folder {shown}/gone"), None)
        );
        let offered = [name("faults.yaml"), name("world.jsonl")].join(", ");
        assert_eq!(
            at(&here.display().to_string(), &[]),
            Named::Folder {
                said: format!("{shown} is a folder"),
                meant: Some(format!("name a file in it: {offered}")),
            }
        );
        let Named::Absent { meant, .. } = at("phonix", &["phoenix"]) else {
            panic!("there is none")
        };
        assert_eq!(meant.as_deref(), Some("did you mean `phoenix`?"));
    }
}
