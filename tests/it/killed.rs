//! The real binary on the throw-away estate, killed with SIGKILL after each journal record, then resumed.
//!
//! strace delivers the signal when the journal's sync number N begins: its records are in the file, and nothing that
//! waits for them has been done. So the cut points are known and all of them are hit, whatever the machine's speed.
//! Records that are ready together share a sync; those that were never cut apart are printed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::dr001::{quick, quick_folder, resume, undisturbed};
use super::estate::{ESTATES_MAX, Estate, fresh};
use super::harness::{BINARY, Folder, Ran, ran};

/// A run has about forty syncs; a test that met many more would not end.
const CUTS_MAX: usize = 150;

/// How strace ends when the program it runs is killed: by the same signal.
const KILLED: i32 = -9;

/// One way through DR-001, and what of it must be asked for exactly once.
struct Way {
    name: &'static str,
    options: &'static str,
    once: &'static str,
}

const WAYS: [Way; 2] = [
    Way {
        name: "promotion",
        options: r#"{"transition_seconds": 0.3}"#,
        once: "PromoteReadReplica",
    },
    Way {
        name: "restore",
        options: r#"{"transition_seconds": 0.3, "restore_only": true}"#,
        once: "RestoreDBInstanceToPointInTime",
    },
];

/// Requests that make something or cannot be taken back: none but the way's own, and that once.
const CREATING: [&str; 5] = [
    "PromoteReadReplica",
    "RestoreDBInstanceToPointInTime",
    "RestoreDBInstanceFromDBSnapshot",
    "CreateDBInstanceReadReplica",
    "CreateDBInstance",
];

/// Steps that run side by side share a sync or do not, by chance: one run has a few syncs more than another. So the
/// loop over one way goes on until this many runs ended by themselves before their cut came.
const SPARED: usize = 3;

/// How far the loop over one way is.
struct Loop {
    way: &'static Way,
    expected: Value,
    next: AtomicUsize,
    /// Syncs of the runs that ended before their cut came
    spared: Mutex<Vec<usize>>,
    hit: Mutex<BTreeSet<usize>>,
    /// Records that were the last ones of a killed run's journal
    last: Mutex<BTreeSet<String>>,
    /// Records of runs that went through, and those that shared a sync with a later one
    all: Mutex<BTreeSet<String>>,
    shared: Mutex<BTreeSet<String>>,
}

#[test]
fn sigkill_after_each_record_of_a_failover_and_resume_ends_the_same() {
    let loops: Vec<Loop> = WAYS.iter().map(prepare).collect();
    std::thread::scope(|scope| {
        for _ in 0..ESTATES_MAX {
            scope.spawn(|| loops.iter().for_each(work));
        }
    });
    loops.into_iter().for_each(everything_was_hit);
}

/// Every sync of a run was a cut point, and every record the last one of such a cut, but for those that a write
/// always brought together with a later one.
fn everything_was_hit(done: Loop) {
    let spared = done.spared.into_inner().expect("no thread failed");
    let syncs = spared.iter().copied().min().expect("some runs went through");
    let hit = done.hit.into_inner().expect("no thread failed");
    let missed: Vec<usize> = (1..=syncs).filter(|cut| !hit.contains(cut)).collect();
    assert!(missed.is_empty(), "{}: not killed at {missed:?}", done.way.name);
    let last = done.last.into_inner().expect("no thread failed");
    let all = done.all.into_inner().expect("no thread failed");
    let shared = done.shared.into_inner().expect("no thread failed");
    let never: Vec<&String> = all.iter().filter(|record| !last.contains(*record)).collect();
    let apart: Vec<_> = never.iter().filter(|record| !shared.contains(**record)).collect();
    assert!(apart.is_empty(), "{}: never killed after {apart:?}", done.way.name);
    println!(
        "{}: killed and resumed at {} syncs, after {} of {} kinds of records; never apart from a later one: {never:?}",
        done.way.name,
        hit.len(),
        last.len(),
        all.len(),
    );
}

fn prepare(way: &'static Way) -> Loop {
    let estate = fresh(way.options);
    Loop {
        way,
        expected: undisturbed(&estate, way.options),
        next: AtomicUsize::new(1),
        spared: Mutex::default(),
        hit: Mutex::default(),
        last: Mutex::default(),
        all: Mutex::default(),
        shared: Mutex::default(),
    }
}

/// Takes the next cut until enough runs have ended before theirs came.
fn work(todo: &Loop) {
    while todo.spared.lock().expect("no thread failed").len() < SPARED {
        let cut = todo.next.fetch_add(1, Ordering::SeqCst);
        assert!(cut < CUTS_MAX, "{}: a run does not end", todo.way.name);
        let estate = fresh(todo.way.options);
        let folder = quick_folder(&estate);
        let killed = run_until(&folder, cut);
        let context = format!("{}, cut {cut}", todo.way.name);
        let groups = synced_together(&folder);
        remember(todo, &groups);
        if killed.exit == KILLED {
            assert_eq!(groups.len(), cut, "{context}: killed elsewhere\n{}", killed.err);
            todo.hit.lock().expect("no thread failed").insert(cut);
            go_on(&folder, &context);
        } else {
            let killed = killed.exits(0);
            assert!(groups.len() < cut, "{context}: not killed\n{}", killed.err);
            todo.spared.lock().expect("no thread failed").push(groups.len());
            todo.all.lock().expect("no thread failed").extend(groups.into_iter().flatten());
        }
        once(&estate, todo.way, &context);
        estate.settles_into(&todo.expected, &context);
    }
}

fn remember(todo: &Loop, groups: &[Vec<String>]) {
    let last = groups.last().and_then(|group| group.last()).expect("a journal with a record");
    todo.last.lock().expect("no thread failed").insert(last.clone());
    let inner = groups.iter().filter_map(|group| group.split_last()).flat_map(|(_, inner)| inner);
    todo.shared.lock().expect("no thread failed").extend(inner.cloned());
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

/// Runs DR-001 under strace, which kills it when its journal's sync number `cut` begins.
fn run_until(folder: &Folder, cut: usize) -> Ran {
    let inject = format!("inject=fdatasync:signal=KILL:when={cut}");
    let log = folder.path().join("strace.log");
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-qq",
        "-y",
        "-s",
        "0",
        "-e",
        "trace=fdatasync,write",
        "-e",
        &inject,
        "-o",
    ]);
    command.arg(log).arg(BINARY).args(quick(&[]));
    command.current_dir(folder.path()).env_clear().envs(&folder.environment);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    ran(command.output().expect("strace is installed by tests/estate --prepare"))
}

/// The journal's records by the write that brought them, each as `kind step`.
fn synced_together(folder: &Folder) -> Vec<Vec<String>> {
    let log = std::fs::read_to_string(folder.path().join("strace.log")).expect("what strace saw");
    let (path, _) = folder.journals().remove(0);
    let journal = path.join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).expect("a journal");
    let mut rest = text.as_str();
    let mut groups = Vec::new();
    for size in log.lines().filter_map(|line| written(line, &journal)) {
        let (group, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        groups.push(names(group));
    }
    groups
}

/// The bytes of a write to the journal, from a line such as `7 write(9</a/journal.jsonl>, ""..., 311) = 311`.
fn written(line: &str, journal: &Path) -> Option<usize> {
    let call = line.split_once(" write(")?.1;
    if !call.contains(&format!("<{}>", journal.display())) {
        return None;
    }
    let size = call.split_once("..., ")?.1;
    size.split([')', ' ']).next()?.parse().ok()
}

fn names(lines: &str) -> Vec<String> {
    let name = |line: &str| {
        let record: Value = serde_json::from_str(line).expect("a whole line is a record");
        let event = &record["event"];
        let step = event["step"].as_str().unwrap_or_default();
        format!("{} {step}", event["kind"].as_str().unwrap_or_default()).trim_end().to_owned()
    };
    lines.lines().map(name).collect()
}
