//! The archive a restore reads: what is in it, what of that is left out, and how far `pg_restore` is.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::part::Part;
use super::run;
use crate::actions::postgres::dump::{class, said};
use crate::clients::Clients;
use crate::clients::postgres::tools::Found;
use crate::clients::process::ProgramEnd;
use crate::engine::ports::{Call, Progress};
use crate::outcome::{ActionError, FailureClass};
use crate::runbook::catalogue::actions::PostgresRestore;
use crate::shell::line;

/// An archive, and the program that reads it.
#[derive(Clone, Copy)]
pub(super) struct Archive<'a> {
    pub tool: &'a Found,
    pub folder: &'a Path,
}

/// What is restored of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Items {
    pub total: u32,
    /// The list of them, where not all are
    pub list: Option<PathBuf>,
}

impl Archive<'_> {
    /// Lists an archive's items, a line each, with a file of this step's to write a choice of them to.
    pub(super) async fn listed(
        self,
        clients: &Clients,
        call: &Call,
        with: &PostgresRestore,
        kind: &str,
    ) -> Result<(PathBuf, String), ActionError> {
        let file = artifact(clients, call, kind)?;
        let to = format!("--file={}", file.display());
        let folder = self.folder.display().to_string();
        self.run(clients, call, with, &["--list", &to, &folder]).await?;
        let listed = std::fs::read_to_string(&file).map_err(|error| failed(&file, &error))?;
        Ok((file, listed))
    }

    /// Counts the items that are restored, and lists them where some are left out.
    pub(super) async fn items(
        self,
        clients: &Clients,
        call: &Call,
        with: &PostgresRestore,
        without: &[String],
        part: Option<&Part<'_>>,
    ) -> Result<Items, ActionError> {
        let (file, listed) = self.listed(clients, call, with, "items").await?;
        let stays =
            |line: &&str| !is_of(line, without) && part.is_none_or(|part| part.keeps(&words(line)));
        let kept: Vec<&str> = listed.lines().filter(stays).collect();
        let total = kept.iter().filter(|line| is_restored(line)).count();
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        if without.is_empty() && part.is_none() {
            return Ok(Items { total, list: None });
        }
        std::fs::write(&file, kept.join("\n")).map_err(|error| failed(&file, &error))?;
        Ok(Items { total, list: Some(file) })
    }

    /// Runs the program with some arguments.
    pub(super) async fn run(
        self,
        clients: &Clients,
        call: &Call,
        with: &PostgresRestore,
        arguments: &[&str],
    ) -> Result<(), ActionError> {
        let words = std::iter::once(self.tool.program.as_str()).chain(arguments.iter().copied());
        let argv: Vec<String> = words.map(str::to_owned).collect();
        let ended = run(clients, call, with, &argv, None).await?;
        if ended.end == ProgramEnd::Exit(0) {
            return Ok(());
        }
        let message = format!("{}: {}", line(&argv), said(&ended));
        Err(ActionError::unchanged(class(&ended), message))
    }
}

/// Returns a file of this step's in the directory of the run's artifacts.
pub(super) fn artifact(clients: &Clients, call: &Call, kind: &str) -> Result<PathBuf, ActionError> {
    let kept = clients.artifacts.as_ref().ok_or_else(|| {
        let message = "there is no directory of the run's artifacts";
        ActionError::unchanged(FailureClass::Internal, message)
    })?;
    Ok(kept.join(format!("{}.{kind}", call.step)))
}

/// Returns the error of a file of this step's that cannot be read or written.
pub(super) fn failed(file: &Path, error: &std::io::Error) -> ActionError {
    ActionError::unchanged(FailureClass::Invalid, format!("{}: {error}", file.display()))
}

/// Returns the words of an item behind its numbers, e.g. `TABLE app orders dr` of `216; 1259 16391 TABLE app orders dr`.
fn words(line: &str) -> Vec<&str> {
    if line.starts_with(';') {
        return Vec::new();
    }
    line.split_whitespace().skip(3).collect()
}

/// Says whether a line of a list is one of these extensions, or what is said of one.
fn is_of(line: &str, extensions: &[String]) -> bool {
    let name = match words(line).as_slice() {
        ["EXTENSION", "-", name, ..] | ["COMMENT", "-", "EXTENSION", name, ..] => *name,
        _ => return false,
    };
    extensions.iter().any(|extension| extension == name)
}

/// Says whether an item of a list is restored: privileges, publications and subscriptions are not.
fn is_restored(line: &str) -> bool {
    !matches!(
        words(line).as_slice(),
        [] | ["ACL", ..] | ["DEFAULT", "ACL", ..] | ["PUBLICATION" | "SUBSCRIPTION", ..]
    )
}

/// Says whether a line is one about privileges, e.g. `3340; 0 0 ACL app TABLE orders dr`.
pub(super) fn is_grant(line: &str) -> bool {
    matches!(words(line).as_slice(), ["ACL", ..] | ["DEFAULT", "ACL", ..])
}

/// How far `pg_restore` is, by what it says with `--verbose`.
pub(super) struct Told<'a> {
    progress: &'a Progress,
    rows: u64,
    total: u32,
    done: AtomicU32,
    /// Several sessions: then it says of each item when it has ended
    parallel: bool,
}

impl<'a> Told<'a> {
    pub(super) fn new(progress: &'a Progress, rows: u64, total: u32, jobs: u8) -> Self {
        let told = Self { progress, rows, total, done: AtomicU32::new(0), parallel: jobs > 1 };
        told.tell(0);
        told
    }

    /// Hears a line.
    pub(super) fn hear(&self, line: &str) {
        let Some(said) = line.strip_prefix("pg_restore: ") else { return };
        let ends: &[&str] = if self.parallel {
            // What must be there first is made one by one, and ends with the next word.
            &["processing item ", "finished item "]
        } else {
            &["creating ", "processing data for table ", "executing "]
        };
        if ends.iter().any(|start| said.starts_with(start)) {
            self.tell(self.done.fetch_add(1, Ordering::Relaxed).saturating_add(1));
        }
    }

    fn tell(&self, done: u32) {
        let done = done.min(self.total);
        let said = format!("restoring {} rows: {done} of {} items", self.rows, self.total);
        #[expect(clippy::cast_precision_loss, reason = "a fraction for a bar")]
        let fraction = (self.total > 0).then(|| done as f32 / self.total as f32);
        self.progress.tell(said, fraction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [&str; 8] = [
        ";",
        "; Archive created at 2026-01-01 00:00:00 UTC",
        "2; 3079 16500 EXTENSION - amcheck ",
        "3501; 0 0 COMMENT - EXTENSION amcheck ",
        "3; 3079 16530 EXTENSION - hstore ",
        "216; 1259 16391 TABLE lab amcheck dr",
        "3340; 0 0 ACL lab TABLE orders dr",
        "2101; 826 16700 DEFAULT ACL public DEFAULT PRIVILEGES FOR TABLES postgres",
    ];

    fn places(is: impl Fn(&str) -> bool) -> Vec<usize> {
        LIST.iter().enumerate().filter(|(_, line)| is(line)).map(|(at, _)| at).collect()
    }

    #[test]
    fn an_extension_is_left_out_with_what_is_said_of_it_and_nothing_else() {
        let amcheck = ["amcheck".to_owned()];
        assert_eq!(places(|line| is_of(line, &amcheck)), [2, 3]);
        assert_eq!(places(|line| is_of(line, &[])), [0; 0]);
        assert_eq!(places(is_restored), [2, 3, 4, 5]);
        assert_eq!(places(is_grant), [6, 7]);
    }
}
