//! The real binary on the throw-away estate, killed with SIGKILL after each journal record, then resumed.
//!
//! A small library preloaded into the program (`kill_after_record.c`) ends it as soon as the sync has returned that made
//! a record durable: nothing that waits for it has been done. So every record is hit by its number, whatever the
//! machine's speed. Records that are ready together share a sync; the cut then comes after all of them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::dr001::{quick, quick_folder, resume, undisturbed};
use super::estate::{Estate, fresh};
use super::harness::{Folder, Ran, ran};

/// How a program that was ended by SIGKILL has ended.
pub(crate) const KILLED: i32 = -9;

/// One way through DR-001, and what of it must be asked for exactly once.
struct Way {
    name: &'static str,
    options: &'static str,
    once: &'static str,
    /// The step that asks for it
    step: &'static str,
    /// Steps whose records are cut after, each kind once; empty: every record of the run, by its number
    steps: &'static [&'static str],
}

const WAYS: [Way; 2] = [
    Way {
        name: "promotion",
        options: r#"{"transition_seconds": 0.3}"#,
        once: "PromoteReadReplica",
        step: "database",
        steps: &[],
    },
    Way {
        name: "restore",
        options: r#"{"transition_seconds": 0.3, "restore_only": true}"#,
        once: "RestoreDBInstanceToPointInTime",
        step: "restore",
        // The others write the same records as by promotion.
        steps: &["restore", "database", "repoint", "end_to_end", "traffic"],
    },
];

/// Which of two steps side by side ends first may cost a record or two.
const ENDED_BEFORE_MAX: usize = 2;

/// Requests that make something or cannot be taken back: none but the way's own, and that once.
const CREATING: [&str; 5] = [
    "PromoteReadReplica",
    "RestoreDBInstanceToPointInTime",
    "RestoreDBInstanceFromDBSnapshot",
    "CreateDBInstanceReadReplica",
    "CreateDBInstance",
];

/// Runs that are cut at the same time: fewer than there are estates, so that other tests go on beside them.
const CUTTERS: usize = 3;

/// The cuts of one way.
struct Cuts {
    way: &'static Way,
    expected: Value,
    /// What tells each record from others, in the order of a run that nothing disturbs
    records: Vec<String>,
    next: AtomicUsize,
    /// Runs that came to their end before the record with this number: they needed fewer
    ended_before: AtomicUsize,
}

#[test]
fn sigkill_after_each_record_of_a_failover_and_resume_ends_the_same() {
    let cuts: Vec<Cuts> = WAYS.iter().map(prepare).collect();
    std::thread::scope(|scope| {
        for _ in 0..CUTTERS {
            scope.spawn(|| cuts.iter().for_each(work));
        }
    });
    for cuts in &cuts {
        let ended = cuts.ended_before.load(Ordering::SeqCst);
        assert!(ended <= ENDED_BEFORE_MAX, "{}: {ended} runs were not cut", cuts.way.name);
    }
}

/// Finds out which records a run writes.
fn prepare(way: &'static Way) -> Cuts {
    let estate = fresh(way.options);
    let expected = undisturbed(&estate, way.options);
    estate.post("/reset", way.options);
    let folder = quick_folder(&estate);
    folder.run(&quick(&[])).exits(0);
    let mut records = Vec::new();
    let journal = journal(&folder);
    for line in journal.lines() {
        let (step, record) = beginning(line);
        let wanted = way.steps.is_empty() || step.is_some_and(|step| way.steps.contains(&&*step));
        if wanted && !records.contains(&record) {
            records.push(record);
        }
    }
    for step in [way.step, "repoint", "traffic"] {
        for kind in ["step_started", "attempt_finished", "step_finished"] {
            let wanted = format!("\"event\":{{\"kind\":\"{kind}\",\"step\":\"{step}\"");
            assert!(records.contains(&wanted), "{}: no {wanted}", way.name);
        }
    }
    if way.steps.is_empty() {
        records =
            (1..=journal.lines().count()).map(|number| format!("\"seq\":{number},")).collect();
    }
    let (next, ended_before) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Cuts { way, expected, records, next, ended_before }
}

fn journal(folder: &Folder) -> String {
    let (path, _) = folder.journals().remove(0);
    std::fs::read_to_string(path.join("journal.jsonl")).expect("a journal")
}

/// Returns a record's step and the text that tells it from others: its event's kind and, where it has one, its step.
fn beginning(line: &str) -> (Option<String>, String) {
    let record: Value = serde_json::from_str(line).expect("a whole line is a record");
    let event = &record["event"];
    let question = &event["question"];
    let steps = [&event["step"], &question["step"], &question["key"]["step"]];
    let step = steps.into_iter().find_map(Value::as_str);
    let start = line.find("\"event\":{").expect("an event");
    let told = match step {
        Some(step) => format!("\"step\":\"{step}\""),
        None => format!("\"kind\":{}", event["kind"]),
    };
    let end = start + line[start..].find(&told).expect("it is told") + told.len();
    (step.map(str::to_owned), line[start..end].to_owned())
}

/// Takes cuts until there is none left.
#[expect(clippy::print_stdout, reason = "how far the loop came is shown where it fails")]
fn work(todo: &Cuts) {
    while let Some(record) = todo.records.get(todo.next.fetch_add(1, Ordering::SeqCst)) {
        let estate = fresh(todo.way.options);
        let folder = quick_folder(&estate);
        let context = format!("{}, killed after {record}", todo.way.name);
        let killed = run_until(&folder, record);
        if todo.way.steps.is_empty() && killed.exit == 0 && !journal(&folder).contains(record) {
            todo.ended_before.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        assert_eq!(killed.exit, KILLED, "{context}: not killed\n{}\n{}", killed.out, killed.err);
        assert!(journal(&folder).contains(record), "{context}: it is not in the journal");
        go_on(&folder, &context);
        once(&estate, todo.way, &context);
        estate.settles_into(&todo.expected, &context);
        println!("{context}: resumed, as undisturbed");
    }
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
