//! Runbook files: finding and reading them. What a runbook must be beyond its shape is `validate`'s to say.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use super::decode;
use super::near;
use super::partly::{self, Partly};
use super::path::{Path, Segment};
use super::problem::{Problem, Problems};
use super::schema::{InputType, Runbook};
use super::yaml::{self, BYTES_MAX, Index};
use crate::exit::Exit;

/// Most steps of a runbook.
pub(crate) const STEPS_MAX: usize = 10_000;

/// Begins the id of a step that gives none.
pub(crate) const NO_ID: &str = "step without an id ";

/// Runbooks that are part of the binary, by file name.
const EMBEDDED: &[(&str, &str)] = &[
    ("DR-001-regional-failover.yaml", include_str!("../../runbooks/DR-001-regional-failover.yaml")),
    (
        "DR-002-database-corruption.yaml",
        include_str!("../../runbooks/DR-002-database-corruption.yaml"),
    ),
    (
        "OPS-001-rebuild-experiments.yaml",
        include_str!("../../runbooks/OPS-001-rebuild-experiments.yaml"),
    ),
    ("OPS-002-restore-tables.yaml", include_str!("../../runbooks/OPS-002-restore-tables.yaml")),
];

/// A runbook with the places of everything in it.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// File as the operator knows it
    pub name: String,
    pub source: Arc<str>,
    pub runbook: Runbook,
    pub places: Index,
}

impl Loaded {
    /// Returns problems of this runbook.
    pub(crate) fn problems(&self, items: Vec<Problem>) -> Problems {
        Problems::new(self.name.as_str(), self.shown(), items)
    }

    /// Returns the source as it may be shown: what stands as the default of a secret may be one, and is refused.
    fn shown(&self) -> Arc<str> {
        let secrets = self
            .runbook
            .inputs
            .iter()
            .filter(|(_, input)| input.kind == InputType::Secret && input.default.is_some());
        let places: Vec<Range<usize>> = secrets
            .map(|(name, _)| self.places.at(&Path::root().keys(&["inputs", name, "default"])))
            .collect();
        if places.is_empty() {
            return Arc::clone(&self.source);
        }
        // Every place stays where it is.
        let mut bytes = self.source.as_bytes().to_vec();
        for place in places {
            let hidden = bytes.get_mut(place).into_iter().flatten().filter(|byte| **byte != b'\n');
            hidden.for_each(|byte| *byte = b'*');
        }
        String::from_utf8_lossy(&bytes).into()
    }

    /// Returns where an expression of a value is written, or a part of it.
    ///
    /// Quoting and folding may shift characters, so the expression is looked up in what is written; where it
    /// cannot be found as it is, the whole value is the place.
    pub(crate) fn place_in(
        &self,
        path: &Path,
        expression: &str,
        part: Option<&Range<usize>>,
    ) -> Range<usize> {
        let place = self.places.at(path);
        let written = self.source.get(place.clone()).unwrap_or("");
        let Some(start) = written.find(expression) else { return place };
        let start = place.start + start;
        match part {
            Some(part) => start + part.start..start + part.end.max(part.start + 1),
            None => start..start + expression.len(),
        }
    }

    /// Returns the path of a step.
    pub(crate) fn step_path(step: usize) -> Path {
        Path(vec![Segment::Key("steps".to_owned()), Segment::Item(step)])
    }
}

/// Why a runbook cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FindError {
    #[error("there is no runbook `{name}`")]
    Unknown { name: String, help: String },
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Invalid(Problems),
    #[error("`{name}` names more than one runbook: {}", files.join(", "))]
    Twice { name: String, files: Vec<String> },
}

impl FindError {
    /// Returns how a command ends because of it.
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Unknown { .. } | Self::Unreadable { .. } => Exit::Usage,
            Self::Invalid(_) | Self::Twice { .. } => Exit::RunbookInvalid,
        }
    }

    /// Returns what can be done about it; the problems of a file bring their own words.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { help, .. } => Some(help.clone()),
            Self::Unreadable { path, source } => Some(match source.kind() {
                ErrorKind::NotFound => {
                    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                    format!(
                        "there is no `{}`; what can be run: phoenix-dr list",
                        absolute.display()
                    )
                }
                ErrorKind::PermissionDenied => format!("look at `ls -ld {}`", path.display()),
                ErrorKind::NotADirectory => "--runbooks names a directory with runbooks".to_owned(),
                _ => format!("look at `file {}`", path.display()),
            }),
            Self::Invalid(_) => None,
            Self::Twice { .. } => {
                Some("give one of them another id and command, or name its file".to_owned())
            }
        }
    }

    /// Says whether this may be the runbook of one of these names: it says so, or it cannot be told.
    fn may_be(&self, asked: &str, names: &[String]) -> bool {
        match self {
            Self::Unknown { .. } => false,
            // Its file, or a whole directory, says nothing about itself.
            Self::Unreadable { .. } => true,
            Self::Invalid(problems) => match claimed(&problems.source) {
                (Some(id), Some(command)) => {
                    names.iter().any(|name| name.eq_ignore_ascii_case(id) || name == command)
                }
                _ => true,
            },
            Self::Twice { name, .. } => name.eq_ignore_ascii_case(asked),
        }
    }
}

/// Returns the id and the command a text claims, read line by line: it may be no YAML at all.
fn claimed(source: &str) -> (Option<&str>, Option<&str>) {
    let value = |key: &str| {
        let line = source.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        let word = line.split_whitespace().next()?;
        Some(word.trim_matches(['"', '\'']))
    };
    (value("runbook"), value("command"))
}

/// Returns the runbooks of the binary: file name and text.
pub(crate) const fn embedded() -> &'static [(&'static str, &'static str)] {
    EMBEDDED
}

/// Reads a runbook's text.
pub(crate) fn parse(name: &str, text: &str) -> Result<Loaded, Problems> {
    let parsed = yaml::parse::<Runbook>(name, text)
        .map_err(|problems| with_the_rest(name, text, problems))?;
    let (runbook, document) = (parsed.value, parsed.document);
    if runbook.steps.len() > STEPS_MAX {
        let range = document.index.key_or(&Path::root().key("steps"));
        let message = format!("{} steps; at most {STEPS_MAX} are allowed", runbook.steps.len());
        return Err(document.problems(vec![Problem::at(range, message)]));
    }
    Ok(Loaded { name: document.file, source: document.source, runbook, places: document.index })
}

/// Adds what else is wrong with the runbook although something in it does not fit.
fn with_the_rest(name: &str, text: &str, mut problems: Problems) -> Problems {
    // What cannot be read as YAML has no steps.
    let Ok(document) = yaml::read(name, text) else { return problems };
    let Some(Partly { runbook, known }) = partly::read(&document.value) else { return problems };
    let loaded =
        Loaded { name: document.file, source: document.source, runbook, places: document.index };
    problems.items.extend(super::validate::partly(&loaded, &known));
    loaded.problems(problems.items)
}

/// Reads a runbook's file.
pub(crate) fn read(path: &FilePath) -> Result<Loaded, FindError> {
    let name = path.display().to_string();
    match read_within(path) {
        Ok(FileText::Whole(text)) => parse(&name, &text).map_err(FindError::Invalid),
        Ok(FileText::TooLarge(bytes)) => Err(FindError::Invalid(yaml::too_large(&name, bytes))),
        Err(source) => Err(FindError::Unreadable { path: path.to_owned(), source }),
    }
}

/// A file's text, unless it is too large to be read.
#[derive(Debug)]
pub(crate) enum FileText {
    Whole(String),
    /// Its size in bytes
    TooLarge(u64),
}

/// Reads a file's text, and no more of a large one than shows that it is too large.
pub(crate) fn read_within(path: &FilePath) -> std::io::Result<FileText> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    let size = file.metadata()?.len();
    file.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > BYTES_MAX {
        // What is no file says nothing of its size.
        return Ok(FileText::TooLarge(size.max(bytes.len() as u64)));
    }
    decode::text(bytes).map(FileText::Whole)
}

/// Reads a file's text; one that is too large is an error.
pub(crate) fn read_text(path: &FilePath) -> std::io::Result<String> {
    match read_within(path)? {
        FileText::Whole(text) => Ok(text),
        FileText::TooLarge(bytes) => Err(std::io::Error::new(
            ErrorKind::FileTooLarge,
            format!("it has {bytes} bytes; at most {} MiB are read", BYTES_MAX >> 20),
        )),
    }
}

/// Reads every runbook: those in the directories, in the order of their names, and the binary's own.
///
/// A file in a directory takes the place of the binary's runbook of the same id. An id or a command that two of them
/// have is an error of its own: nobody could tell which one was meant.
pub(crate) fn all(directories: &[PathBuf]) -> Vec<Result<Loaded, FindError>> {
    let mut found: Vec<Result<Loaded, FindError>> = Vec::new();
    for directory in directories {
        match files(directory) {
            Ok(files) => found.extend(files.iter().map(|file| read(file))),
            Err(source) => {
                found.push(Err(FindError::Unreadable { path: directory.clone(), source }));
            }
        }
    }
    for (name, text) in embedded() {
        let loaded = parse(name, text).map_err(FindError::Invalid);
        let replaced = loaded.as_ref().is_ok_and(|own| {
            found.iter().flatten().any(|other| other.runbook.runbook == own.runbook.runbook)
        });
        if !replaced {
            found.push(loaded);
        }
    }
    let twice = twice(found.iter().flatten());
    found.extend(twice.into_iter().map(Err));
    found
}

fn twice<'a>(runbooks: impl Iterator<Item = &'a Loaded>) -> Vec<FindError> {
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for loaded in runbooks {
        // Ids are found in any case.
        for name in [loaded.runbook.runbook.to_ascii_uppercase(), loaded.runbook.command.clone()] {
            files.entry(name).or_default().push(loaded.name.clone());
        }
    }
    let several = files.into_iter().filter(|(_, files)| files.len() > 1);
    several.map(|(name, files)| FindError::Twice { name, files }).collect()
}

fn files(directory: &FilePath) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Says whether a name is the path of a file.
pub(crate) fn is_path(name: &str) -> bool {
    name.contains('/') || name.ends_with(".yaml") || name.ends_with(".yml")
}

/// Finds a runbook by its id (`DR-001`), its command (`failover`) or the path of its file.
pub(crate) fn find(name: &str, directories: &[PathBuf]) -> Result<Loaded, FindError> {
    if is_path(name) {
        return read(FilePath::new(name));
    }
    let mut known: Vec<String> = Vec::new();
    let mut names = vec![name.to_owned()];
    let mut found = None;
    let mut broken = Vec::new();
    for loaded in all(directories) {
        match loaded {
            Ok(loaded) => {
                let runbook = &loaded.runbook;
                let both = [runbook.runbook.clone(), runbook.command.clone()];
                if found.is_none() && (both[0].eq_ignore_ascii_case(name) || both[1] == name) {
                    names.extend(both);
                    found = Some(loaded);
                } else {
                    known.extend(both);
                }
            }
            Err(error) => broken.push(error),
        }
    }
    // A file that cannot be read may be the one that was meant, also where the binary has one of that name: what
    // somebody wrote to be run instead must not be passed over.
    if let Some(error) = broken.into_iter().find(|error| error.may_be(name, &names)) {
        return Err(error);
    }
    if let Some(found) = found {
        return Ok(found);
    }
    let list = || format!("known: {}; or give the path of a file", known.join(", "));
    let help = near::hint(name, known.iter().map(String::as_str)).unwrap_or_else(list);
    Err(FindError::Unknown { name: name.to_owned(), help })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_runbook_is_embedded_and_reads() {
        let directory = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("runbooks");
        let mut names: Vec<String> = files(&directory)
            .expect("is there")
            .iter()
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect();
        names.sort();
        let own: Vec<&str> = embedded().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, own);
        for (name, text) in embedded() {
            let loaded = parse(name, text).unwrap_or_else(|problems| panic!("{problems}"));
            assert!(name.starts_with(&loaded.runbook.runbook), "{name}");
        }
    }

    #[test]
    fn found_by_id_command_and_path() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("mine.yaml");
        let text = "runbook: MY-1\ntitle: t\ncommand: mine\nsteps: []\n";
        std::fs::write(&path, text).expect("writes");
        let directories = [directory.path().to_owned()];
        let id = |name: &str| find(name, &directories).map(|loaded| loaded.runbook.runbook);
        assert_eq!(id("DR-001").ok().as_deref(), Some("DR-001"));
        assert_eq!(id("dr-001").ok().as_deref(), Some("DR-001"));
        assert_eq!(id("failover").ok().as_deref(), Some("DR-001"));
        assert_eq!(id("mine").ok().as_deref(), Some("MY-1"));
        assert_eq!(id(&path.display().to_string()).ok().as_deref(), Some("MY-1"));
        match id("failovr") {
            Err(FindError::Unknown { help, .. }) => assert_eq!(help, "did you mean `failover`?"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(id("gone/x.yaml"), Err(FindError::Unreadable { .. })));
    }

    #[test]
    fn a_file_replaces_the_embedded_runbook_of_its_id() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("own.yaml");
        std::fs::write(&path, "runbook: DR-001\ntitle: own\ncommand: failover\nsteps: []\n")
            .expect("writes");
        let found = find("failover", &[directory.path().to_owned()]).expect("is there");
        assert_eq!(found.runbook.title, "own");
        assert_eq!(found.name, path.display().to_string());
    }

    #[test]
    fn a_broken_file_of_that_name_is_told_and_never_passed_over() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("own.yaml");
        let directories = [directory.path().to_owned()];
        let good = "runbook: MY-1\ntitle: t\ncommand: mine\nsteps: []\n";
        std::fs::write(directory.path().join("mine.yaml"), good).expect("writes");
        for (text, failover, mine) in [
            // Says that it is DR-001, by its id or by its command, but is none.
            ("runbook: DR-001\ncommand: x\nstps: []\n", false, true),
            ("runbook: X-1\ncommand: 'failover' # ours\nstps: []\n", false, true),
            // Is something else, and says so.
            ("runbook: X-1\ncommand: x\nstps: []\n", true, true),
            // Does not say what it is.
            ("stps: [", false, false),
        ] {
            std::fs::write(&path, text).expect("writes");
            let found = |name: &str| match find(name, &directories) {
                Ok(_) => true,
                Err(FindError::Invalid(_)) => false,
                Err(other) => panic!("{other}"),
            };
            assert_eq!(found("failover"), failover, "{text}");
            assert_eq!(found("dr-001"), failover, "{text}");
            assert_eq!(found("mine"), mine, "{text}");
        }
    }

    #[test]
    fn two_files_of_one_name_are_told_with_both() {
        let directory = tempfile::tempdir().expect("a directory");
        let directories = [directory.path().to_owned()];
        let write = |name: &str, id: &str, command: &str| {
            let text = format!("runbook: {id}\ntitle: t\ncommand: {command}\nsteps: []\n");
            std::fs::write(directory.path().join(name), text).expect("writes");
        };
        write("a.yaml", "MY-1", "mine");
        write("b.yaml", "my-1", "other");
        write("c.yaml", "MY-2", "failover");
        let says = |name: &str| find(name, &directories).map(|_| ()).map_err(|why| why.to_string());
        let why = says("MY-1").expect_err("two");
        assert!(why.contains("a.yaml") && why.contains("b.yaml"), "{why}");
        let why = says("failover").expect_err("two");
        assert!(why.contains("c.yaml") && why.contains("DR-001-regional-failover.yaml"), "{why}");
        for one in ["mine", "other", "MY-2", "DR-001"] {
            assert_eq!(says(one), Ok(()), "{one}");
        }
        assert_eq!(all(&directories).iter().filter(|found| found.is_err()).count(), 2);
    }

    #[test]
    fn a_runbook_has_a_limit_of_steps() {
        let mut text = "runbook: X-1\ntitle: t\ncommand: c\nsteps:\n".to_owned();
        for i in 0..=STEPS_MAX {
            text.push_str(&format!("  - {{id: s{i}, action: wait, with: {{for: 0s}}}}\n"));
        }
        let problems = parse("large.yaml", &text).expect_err("too many");
        assert!(problems.to_string().contains("10001 steps; at most 10000"), "{problems}");
    }
}
