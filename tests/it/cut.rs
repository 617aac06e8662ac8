//! One run that is killed with SIGKILL after each of its records in turn, and resumed each time.
//!
//! A process is killed as soon as a record is durable of a kind and step after which none was killed yet; the resume goes on
//! until the next of that sort. So every record of a run, and of its resumes, is once the last that was written, while what
//! the steps do is done about as often as in one run.

use std::collections::BTreeSet;

use super::harness::{Folder, ran};
use super::killed::{KILLED, killer};

/// More than any run has records of different kinds and steps.
const ROUNDS_MAX: usize = 500;

/// How a run ends once nobody kills it any more, with its exit code.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Last {
    /// It is over
    Over(i32),
    /// It stops, and stops again whenever it is resumed
    Stopped(i32),
}

impl Last {
    /// Returns the exit code.
    pub(crate) const fn exit(self) -> i32 {
        match self {
            Self::Over(exit) | Self::Stopped(exit) => exit,
        }
    }
}

/// A run to kill again and again.
pub(crate) struct Killed<'a> {
    pub(crate) first: &'a [String],
    pub(crate) resume: &'a [String],
    /// Kind and step of records after which nothing is killed
    pub(crate) spared: &'a BTreeSet<String>,
    pub(crate) last: Last,
}

impl Killed<'_> {
    /// Starts the run and resumes it until it ends by itself; returns kind and step of all records after which a process was
    /// killed.
    pub(crate) fn after_each(&self, folder: &Folder) -> BTreeSet<String> {
        let known = folder.path().join("cuts");
        let spared: Vec<String> = self.spared.iter().map(|told| format!("\n{told}\n")).collect();
        std::fs::write(&known, spared.concat()).expect("written");
        let mut arguments = self.first;
        for round in 0..ROUNDS_MAX {
            let mut command = folder.command(arguments);
            command.env("LD_PRELOAD", killer()).env("KILL_AFTER_NEW", &known);
            let ended = ran(command.output().expect("run the binary"));
            let cuts = std::fs::read_to_string(&known).expect("read");
            let said = || format!("round {round}, after {cuts}: {}\n{}", ended.out, ended.err);
            let (_, events) = folder.journals().remove(0);
            let killed = ended.exit == KILLED;
            let over = match self.last {
                // The last record may be what a process was killed after.
                Last::Over(_) => events.iter().any(|event| event["kind"] == "run_finished"),
                Last::Stopped(_) => !killed,
            };
            let ends = killed || (over && ended.exit == self.last.exit());
            assert!(ends, "{}: {}", ended.exit, said());
            if over {
                folder.run(&["audit", "--verify"]).exits(0);
                let cuts = cuts.lines().filter(|line| !line.is_empty());
                let cuts = cuts.filter(|line| !self.spared.contains(*line));
                return cuts.map(str::to_owned).collect();
            }
            arguments = self.resume;
        }
        panic!("a run of more than {ROUNDS_MAX} kinds of records");
    }
}

/// Starts a run and resumes it until it is over; returns kind and step of all records after which a process was killed.
pub(crate) fn killed_after_each(
    folder: &Folder,
    first: &[String],
    resume: &[String],
) -> BTreeSet<String> {
    killed_until(folder, first, resume, 0)
}

/// The same of a run that ends in another way.
pub(crate) fn killed_until(
    folder: &Folder,
    first: &[String],
    resume: &[String],
    exit: i32,
) -> BTreeSet<String> {
    let spared = BTreeSet::new();
    Killed { first, resume, spared: &spared, last: Last::Over(exit) }.after_each(folder)
}

/// Returns kind and step of a line of a journal, as the library that kills names them: the step is the first in the line.
pub(crate) fn told(line: &str) -> String {
    let quoted = |before: &str| {
        let after = line.split_once(before).map_or("", |(_, after)| after);
        after.split('"').next().unwrap_or_default()
    };
    format!("{} {}", quoted("\"event\":{\"kind\":\""), quoted("\"step\":\""))
}

/// Holds that processes were killed after each record of these steps: of what acts when it was begun, done and over.
#[track_caller]
pub(crate) fn covers(cuts: &BTreeSet<String>, steps: &[&str]) {
    for step in steps {
        let kinds: &[&str] = match *step {
            "application" => &["gate_seen", "step_finished"],
            _ => &["step_ready", "step_started", "attempt_finished", "step_finished"],
        };
        for kind in kinds {
            assert!(
                cuts.contains(&format!("{kind} {step}")),
                "not after {kind} of {step}: {cuts:?}"
            );
        }
    }
    of_the_run(cuts, &["run_started", "preflight", "run_resumed", "run_finished"]);
}

/// Holds that processes were killed after each of these records, which belong to no step.
#[track_caller]
pub(crate) fn of_the_run(cuts: &BTreeSet<String>, kinds: &[&str]) {
    for kind in kinds {
        assert!(cuts.contains(&format!("{kind} ")), "not after {kind}: {cuts:?}");
    }
}
