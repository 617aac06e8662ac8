//! What was found, for programs, for people and for the screen: the worst first, and every single event in the files.
//!
//! However much that is, it goes through memory line by line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::finding::{Finding, Reason};
use super::layout::Place;
use super::own::Tally;
use crate::actions::artifact::write_whole;
use crate::clients::Clients;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};

/// Version of the report's JSON.
const FORMAT: u32 = 1;
/// Experiments in the list of the worst.
const WORST_MAX: usize = 1000;
/// Of those, the ones a screen has room for.
const SHOWN_MAX: usize = 15;

/// An experiment of whose events some are corrupt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Bad {
    /// `None` for the events that name none
    pub experiment: Option<String>,
    pub corrupt: u64,
    /// No sound state could be rebuilt
    pub not_rebuilt: bool,
    /// The first thing that is wrong
    pub first: String,
}

impl Bad {
    fn line(&self) -> String {
        let name = self.experiment.as_deref().unwrap_or("(events without an experiment)");
        let left = if self.not_rebuilt { "left as it was, " } else { "" };
        format!("{name}: {left}{} corrupt, first {}", self.corrupt, self.first)
    }
}

/// All that was found. Findings of one experiment come one after the other.
pub(super) struct Findings<'a> {
    clients: &'a Clients,
    lines: Option<Lines>,
    by_reason: BTreeMap<Reason, u64>,
    current: Option<Bad>,
    worst: Vec<Bad>,
}

/// The lines of all findings, kept until the report is put together.
struct Lines {
    path: PathBuf,
    file: BufWriter<File>,
}

impl<'a> Findings<'a> {
    /// Begins a list that is only counted.
    pub(super) const fn counted(clients: &'a Clients) -> Self {
        Self { clients, lines: None, by_reason: BTreeMap::new(), current: None, worst: Vec::new() }
    }

    /// Begins a list that becomes part of a report among the run's artifacts.
    pub(super) fn kept(clients: &'a Clients, call: &Call) -> Result<Self, ActionError> {
        let mut found = Self::counted(clients);
        let Some(folder) = &clients.artifacts else { return Ok(found) };
        let path = folder.join(format!("{}.lines", stem(call)));
        let open = || -> io::Result<File> {
            std::fs::create_dir_all(folder)?;
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600).open(&path)
        };
        let file = BufWriter::new(open().map_err(|error| unwritten(&path, &error))?);
        found.lines = Some(Lines { path, file });
        Ok(found)
    }

    /// Adds one.
    pub(super) fn add(&mut self, finding: &Finding) -> Result<(), ActionError> {
        if let Some(Lines { path, file }) = &mut self.lines {
            let line = self.clients.masks.value(json!(finding));
            writeln!(file, "{line}").map_err(|error| unwritten(path, &error))?;
        }
        if self.current.as_ref().is_none_or(|bad| bad.experiment != finding.experiment) {
            self.settle();
        }
        let bad = self.current.get_or_insert_with(|| Bad {
            experiment: finding.experiment.clone(),
            corrupt: 0,
            not_rebuilt: false,
            first: format!("{}: {}", finding.reason.name(), finding.said),
        });
        bad.not_rebuilt |= matches!(finding.reason, Reason::NotRebuilt | Reason::MissingAtEnd);
        if finding.reason.counts() {
            bad.corrupt += 1;
            *self.by_reason.entry(finding.reason).or_default() += 1;
        }
        Ok(())
    }

    /// Puts the experiment that is complete where it belongs.
    fn settle(&mut self) {
        self.worst.extend(self.current.take());
        if self.worst.len() >= 2 * WORST_MAX {
            self.sort();
        }
    }

    fn sort(&mut self) {
        self.worst.sort_by_key(|bad| std::cmp::Reverse((bad.not_rebuilt, bad.corrupt)));
        self.worst.truncate(WORST_MAX);
    }

    /// Returns what is shown of it, a line each, the worst first.
    pub(super) fn shown(&mut self) -> Vec<String> {
        self.settle();
        self.sort();
        let reasons =
            self.by_reason.iter().map(|(reason, count)| format!("{} {count}", reason.name()));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        let head = (!reasons.is_empty()).then(|| format!("by reason: {reasons}"));
        let more = self.worst.len().saturating_sub(SHOWN_MAX);
        let more = (more > 0).then(|| format!("and {more} more experiments, in the report"));
        let lines = self.worst.iter().take(SHOWN_MAX).map(Bad::line);
        head.into_iter().chain(lines).chain(more).collect()
    }

    /// Puts the report together; returns its file.
    pub(super) fn finish(
        mut self,
        call: &Call,
        summary: &Summary<'_>,
    ) -> Result<Option<String>, ActionError> {
        let shown = self.shown();
        let Some(Lines { path, mut file }) = self.lines.take() else { return Ok(None) };
        file.flush().map_err(|error| unwritten(&path, &error))?;
        drop(file);
        let (json_file, text_file) = (
            path.with_file_name(format!("{}.json", stem(call))),
            path.with_file_name(format!("{}.txt", stem(call))),
        );
        let head = self.clients.masks.value(summary.json(&self.by_reason, &self.worst));
        let text = self.clients.masks.mask(&summary.text(&shown));
        write_whole(&json_file, |file| write_json(file, &head, &path))
            .map_err(|error| unwritten(&json_file, &error))?;
        write_whole(&text_file, |file| write_text(file, &text, &path))
            .map_err(|error| unwritten(&text_file, &error))?;
        // What stays behind of it is in nobody's way.
        std::fs::remove_file(&path).ok();
        Ok(Some(json_file.display().to_string()))
    }
}

/// Returns where the report of a step is, or will be.
pub(super) fn file(clients: &Clients, call: &Call) -> Option<PathBuf> {
    Some(clients.artifacts.as_ref()?.join(format!("{}.json", stem(call))))
}

/// Returns how the names of a step's files begin.
fn stem(call: &Call) -> String {
    format!("{}-{}.experiments", call.step, call.generation)
}

fn unwritten(path: &Path, error: &io::Error) -> ActionError {
    let message = format!("write the report {}: {error}", path.display());
    ActionError::unchanged(FailureClass::Internal, message)
        .hint("make room there, or the folder writable, then retry")
}

/// What a report says before the list.
pub(super) struct Summary<'a> {
    pub place: Place<'a>,
    pub table: &'a str,
    pub at: jiff::Timestamp,
    /// Anything was, or might have been, written
    pub written: bool,
    pub max_corrupt: u64,
    pub tally: Tally,
    /// Table of what the rows were before
    pub images: Option<&'a str>,
}

impl Summary<'_> {
    fn json(&self, by_reason: &BTreeMap<Reason, u64>, worst: &[Bad]) -> Value {
        json!({
            "format": FORMAT,
            "instance": self.place.instance,
            "database": self.place.database,
            "table": self.table,
            "at": self.at.to_string(),
            "written": self.written,
            "max_corrupt": self.max_corrupt,
            "counts": self.tally,
            "before": self.images,
            "by_reason": by_reason,
            "worst": worst,
        })
    }

    fn text(&self, shown: &[String]) -> String {
        let written = if self.written { "" } else { "Nothing was written.\n" };
        format!(
            "Experiments of {} in {} on {}, {}\n{}\n{written}\n{}\n\nAll of it:\n",
            self.table,
            self.place.database,
            self.place.instance,
            self.at,
            self.tally.line(self.written),
            shown.join("\n")
        )
    }
}

impl Tally {
    /// Returns it as a sentence.
    pub(super) fn line(&self, written: bool) -> String {
        let rebuilt = if written { "rebuilt" } else { "to rebuild" };
        let Self { events, experiments, created, unchanged, not_rebuilt, corrupt, .. } = self;
        format!(
            "{events} events of {experiments} experiments: {} {rebuilt} ({created} without a row), {unchanged} \
             unchanged, {not_rebuilt} left as they were; {corrupt} corrupt events and gaps",
            self.rebuilt
        )
    }
}

/// Writes the head with the list as its last key.
fn write_json(file: &mut File, head: &Value, lines: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    let head = format!("{head:#}");
    let open = head.strip_suffix("\n}").unwrap_or(&head);
    write!(file, "{open},\n  \"findings\": [")?;
    for (nth, line) in BufReader::new(File::open(lines)?).lines().enumerate() {
        let comma = if nth == 0 { "" } else { "," };
        write!(file, "{comma}\n    {}", line?)?;
    }
    write!(file, "\n  ]\n}}\n")?;
    file.flush()
}

fn write_text(file: &mut File, head: &str, lines: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    file.write_all(head.as_bytes())?;
    for line in BufReader::new(File::open(lines)?).lines() {
        // What was just written as one reads as one.
        let finding: Finding = serde_json::from_str(&line?)?;
        writeln!(file, "{}", finding.line())?;
    }
    file.flush()
}
