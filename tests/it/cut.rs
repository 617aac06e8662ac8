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
    let known = folder.path().join("cuts");
    std::fs::write(&known, "").expect("written");
    let mut arguments = first;
    for round in 0..ROUNDS_MAX {
        let mut command = folder.command(arguments);
        command.env("LD_PRELOAD", killer()).env("KILL_AFTER_NEW", &known);
        let ended = ran(command.output().expect("run the binary"));
        let cuts = std::fs::read_to_string(&known).expect("read");
        let said = || format!("round {round}, after {cuts}: {}\n{}", ended.out, ended.err);
        let (_, events) = folder.journals().remove(0);
        let over = events.iter().any(|event| event["kind"] == "run_finished");
        assert!(ended.exit == KILLED || (over && ended.exit == exit), "{}: {}", ended.exit, said());
        if over {
            folder.run(&["audit", "--verify"]).exits(0);
            return cuts.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        }
        arguments = resume;
    }
    panic!("a run of more than {ROUNDS_MAX} kinds of records");
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
