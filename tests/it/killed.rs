//! The real binary on the throw-away estate, killed with SIGKILL after each journal record, then resumed.
//!
//! A small library preloaded into the program (`kill_after_record.c`) ends it as soon as the sync has returned that made
//! a record durable: nothing that waits for it has been done. Records that are ready together share a sync; the cut then
//! comes after all of them.
//!
//! One run is killed after each of its records in turn (`cut.rs`): a resume of it goes on until the next. Runs of their own,
//! which one resume takes to their end, are killed after each record of the change that may be requested only once, and
//! after what the one run did not write: a step beside others is interrupted by their cuts, and where it is found done
//! then, its attempt has no record of its own end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::cut::{Killed, Last, told};
use super::dr001::{quick, quick_folder, resume, undisturbed};
use super::estate::{Estate, fresh};
use super::harness::{Folder, Ran, ran};
use super::rehearsal::on_two_threads;

/// How a program that was ended by SIGKILL has ended.
pub(crate) const KILLED: i32 = -9;

/// One way through DR-001, and what of it must be asked for exactly once.
struct Way {
    name: &'static str,
    options: &'static str,
    once: &'static str,
    /// The step that asks for it
    step: &'static str,
    /// Steps whose records are cut after; empty: every record of the run
    steps: &'static [&'static str],
}

const PROMOTION: Way = Way {
    name: "promotion",
    options: r#"{"transition_seconds": 0.3}"#,
    once: "PromoteReadReplica",
    step: "database",
    steps: &[],
};

const RESTORE: Way = Way {
    name: "restore",
    options: r#"{"transition_seconds": 0.3, "restore_only": true}"#,
    once: "RestoreDBInstanceToPointInTime",
    step: "restore",
    // The others write the same records as by promotion.
    steps: &["restore", "database", "repoint", "end_to_end", "traffic"],
};

/// Records of the step that asks once after which a run of its own is killed.
const ACTED: [&str; 4] = ["step_started", "attempt_finished", "verified", "step_finished"];

/// Steps beside which others are at work: what they write depends on when these are cut.
const BESIDE: [&str; 9] =
    ["notify", "capacity", "recovery_point", "restore", "public_name", "protect", "p1", "p2", "p3"];

/// Requests that make something or cannot be taken back: none but the way's own, and that once.
const CREATING: [&str; 5] = [
    "PromoteReadReplica",
    "RestoreDBInstanceToPointInTime",
    "RestoreDBInstanceFromDBSnapshot",
    "CreateDBInstanceReadReplica",
    "CreateDBInstance",
];

/// What tells a record from others.
struct Record {
    /// Its event's kind and step, as `cut.rs` names them
    told: String,
    /// How its event begins in the journal, as far as to these two
    begins: String,
    step: Option<String>,
}

impl Record {
    fn of(line: &str) -> Self {
        let record: Value = serde_json::from_str(line).expect("a whole line is a record");
        let event = &record["event"];
        let question = &event["question"];
        let steps = [&event["step"], &question["step"], &question["key"]["step"]];
        let step = steps.into_iter().find_map(Value::as_str).map(str::to_owned);
        let start = line.find("\"event\":{").expect("an event");
        let named = match &step {
            Some(step) => format!("\"step\":\"{step}\""),
            None => format!("\"kind\":{}", event["kind"]),
        };
        let end = start + line[start..].find(&named).expect("it is named") + named.len();
        Self { told: told(line), begins: line[start..end].to_owned(), step }
    }

    fn is_of(&self, steps: &[&str]) -> bool {
        self.step.as_deref().is_some_and(|step| steps.contains(&step))
    }
}

#[test]
fn sigkill_after_each_record_of_a_promotion_and_resume_ends_the_same() {
    after_each_record(&PROMOTION);
}

#[test]
fn sigkill_after_each_record_of_a_restore_and_resume_ends_the_same() {
    after_each_record(&RESTORE);
}

fn after_each_record(way: &Way) {
    let estate = fresh(way.options);
    let expected = undisturbed(&estate, way.options);
    let mut records = records_of(way, &estate);
    let wanted = |record: &Record| way.steps.is_empty() || record.is_of(way.steps);
    let spared = records.iter().filter(|record| !wanted(record));
    let spared: BTreeSet<String> = spared.map(|record| record.told.clone()).collect();
    let cuts = in_one_run(way, &estate, &expected, &spared);
    // The other runs have estates of their own, and there are not many.
    drop(estate);
    let acted = ACTED.map(|kind| format!("{kind} {}", way.step));
    records.retain(wanted);
    for missed in records.iter().filter(|record| !cuts.contains(&record.told)) {
        assert!(missed.is_of(&BESIDE), "{}: not after {}: {cuts:?}", way.name, missed.told);
    }
    records.retain(|record| acted.contains(&record.told) || !cuts.contains(&record.told));
    on_two_threads(&records, |record| in_its_own_run(way, &expected, record));
}

/// Finds out which records a run writes that nothing disturbs, each kind of each step once; the estate is as at the start
/// before and afterwards.
fn records_of(way: &Way, estate: &Estate) -> Vec<Record> {
    let folder = quick_folder(estate);
    folder.run(&quick(&[])).exits(0);
    estate.post("/reset", way.options);
    let mut records: Vec<Record> = Vec::new();
    for line in journal(&folder).lines() {
        let record = Record::of(line);
        if records.iter().all(|known| known.told != record.told) {
            records.push(record);
        }
    }
    for step in [way.step, "repoint", "traffic"] {
        for kind in ["step_started", "attempt_finished", "step_finished"] {
            let wanted = format!("{kind} {step}");
            let there = records.iter().any(|record| record.told == wanted);
            assert!(there, "{}: no {wanted}", way.name);
        }
    }
    records
}

fn journal(folder: &Folder) -> String {
    let (path, _) = folder.journals().remove(0);
    std::fs::read_to_string(path.join("journal.jsonl")).expect("a journal")
}

/// Kills one run after each of its records that is not spared, resumes it each time, and returns what it was killed after.
fn in_one_run(
    way: &Way,
    estate: &Estate,
    expected: &Value,
    spared: &BTreeSet<String>,
) -> BTreeSet<String> {
    let folder = quick_folder(estate);
    let (first, resume) = (quick(&[]), resume(&[]));
    let run = Killed { first: &first, resume: &resume, spared, last: Last::Over(0) };
    let cuts = run.after_each(&folder);
    let context = format!("{}, killed after each record", way.name);
    once(estate, way, &context);
    estate.settles_into(expected, &context);
    cuts
}

/// Kills a run of its own after one record; a resume takes it to its end.
#[expect(clippy::print_stdout, reason = "how far the loop came is shown where it fails")]
fn in_its_own_run(way: &Way, expected: &Value, record: &Record) {
    let estate = fresh(way.options);
    let folder = quick_folder(&estate);
    let context = format!("{}, killed after {} alone", way.name, record.told);
    let killed = run_until(&folder, &record.begins);
    assert_eq!(killed.exit, KILLED, "{context}: not killed\n{}\n{}", killed.out, killed.err);
    let written = journal(&folder).contains(&record.begins);
    assert!(written, "{context}: it is not in the journal");
    go_on(&folder, &context);
    once(&estate, way, &context);
    estate.settles_into(expected, &context);
    println!("{context}: resumed, as undisturbed");
}

/// Resumes unless the run had already written that it is over, and holds that its journal is whole.
fn go_on(folder: &Folder, context: &str) {
    let (path, events) = folder.journals().remove(0);
    if !events.iter().any(|event| event["kind"] == "run_finished") {
        let ran = folder.run(&resume(&[]));
        assert_eq!(ran.exit, 0, "{context}: {}\n{}\n{}", path.display(), ran.out, ran.err);
    }
    folder.run(&["audit", "--verify"]).exits(0);
}

#[track_caller]
fn once(estate: &Estate, way: &Way, context: &str) {
    for operation in CREATING {
        let wanted = usize::from(operation == way.once);
        assert_eq!(estate.requested(operation), wanted, "{context}: {operation}");
    }
}

/// Compiles the library that kills, once; every Rust toolchain needs a C compiler to link.
pub(crate) fn killer() -> &'static Path {
    static KILLER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = KILLER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let library = folder.path().join("kill_after_record.so");
        let mut cc = Command::new("cc");
        cc.args([
            "-shared",
            "-fPIC",
            "-O1",
            "-Wall",
            "-Werror",
            "tests/it/kill_after_record.c",
            "-ldl",
            "-o",
        ]);
        let built = cc.arg(&library).status().expect("a C compiler");
        assert!(built.success(), "kill_after_record.c does not compile");
        (folder, library)
    });
    library
}

/// Runs DR-001 until a record with this text is durable.
fn run_until(folder: &Folder, record: &str) -> Ran {
    let mut command = folder.command(&quick(&[]));
    command.env("LD_PRELOAD", killer()).env("KILL_AFTER", record);
    ran(command.output().expect("run the binary"))
}
