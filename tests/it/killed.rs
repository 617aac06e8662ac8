//! The real binary on the throw-away estate, killed with SIGKILL after each journal record, then resumed.
//!
//! A small library preloaded into the program (`kill_at_sync.c`) ends it as soon as the journal's sync number N has
//! returned: its records are durable, and nothing that waits for them has been done. So the cut points are known and
//! all of them are hit, whatever the machine's speed. Records that are ready together share a sync; those that were
//! never cut apart are printed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};

use serde_json::Value;

use super::dr001::{quick, quick_folder, resume, undisturbed};
use super::estate::{ESTATES_MAX, Estate, fresh};
use super::harness::{Folder, Ran, ran};

/// A run has about forty syncs; a test that met many more would not end.
const CUTS_MAX: usize = 150;

/// How a program that was ended by SIGKILL has ended.
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

/// For the same reason sync number N does not bring the same record in every run: what was not hit by its number is
/// aimed at again, so often in all.
const AIMED: usize = 16;

/// How far the loop over one way is.
struct Loop {
    way: &'static Way,
    expected: Value,
    next: AtomicUsize,
    aimed: AtomicUsize,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Syncs of the runs that ended before their cut came
    spared: Vec<usize>,
    hit: BTreeSet<usize>,
    /// Records that were the last ones of a killed run's journal
    last: BTreeSet<String>,
    /// Records that ended a sync in any run, with its number
    places: BTreeMap<String, usize>,
    /// Records that shared a sync with a later one
    shared: BTreeSet<String>,
}

impl Seen {
    /// Records that can be cut apart from what follows, and were not yet.
    fn missing(&self) -> Vec<(&String, usize)> {
        let all = self.places.iter().filter(|(record, _)| !self.last.contains(*record));
        all.map(|(record, place)| (record, *place)).collect()
    }
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

/// Every sync of a run was a cut point, and every step that changes something was cut off before and after its change.
#[expect(clippy::print_stdout, reason = "what was and was not hit is the result of the loop")]
fn everything_was_hit(done: Loop) {
    let name = done.way.name;
    let seen = done.seen.into_inner().expect("no thread failed");
    let syncs = seen.spared.iter().copied().min().expect("some runs went through");
    let missed: Vec<usize> = (1..=syncs).filter(|cut| !seen.hit.contains(cut)).collect();
    assert!(missed.is_empty(), "{name}: not killed at {missed:?}");
    // The order of what runs side by side is another each time; of these, every one must have been hit.
    let missing: Vec<&String> = seen.missing().into_iter().map(|(record, _)| record).collect();
    for step in ["restore", "database", "repoint", "traffic"] {
        for kind in ["step_started", "attempt_finished"] {
            let record = format!("{kind} {step}");
            assert!(!missing.contains(&&record), "{name}: never killed after {record}");
        }
    }
    let never: Vec<_> = seen.shared.difference(&seen.last).collect();
    println!(
        "{name}: killed and resumed at {} syncs, after {} different records; not after {missing:?}; \
         never apart from a later one: {never:?}",
        seen.hit.len(),
        seen.last.len(),
    );
}

fn prepare(way: &'static Way) -> Loop {
    let estate = fresh(way.options);
    let expected = undisturbed(&estate, way.options);
    Loop {
        way,
        expected,
        next: AtomicUsize::new(1),
        aimed: AtomicUsize::new(0),
        seen: Mutex::default(),
    }
}

impl Loop {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no thread failed")
    }

    /// The next cut: by number until enough runs have ended before theirs came, then at what was missed.
    fn next(&self) -> Option<usize> {
        let seen = self.seen();
        if seen.spared.len() < SPARED {
            let cut = self.next.fetch_add(1, Ordering::SeqCst);
            assert!(cut < CUTS_MAX, "{}: a run does not end", self.way.name);
            return Some(cut);
        }
        let missing = seen.missing();
        let aimed = self.aimed.fetch_add(1, Ordering::SeqCst);
        // each thread at another one, where there are several
        let (_, place) = missing.get(aimed % missing.len().max(1))?;
        (aimed < AIMED).then_some(*place)
    }
}

/// Takes cuts until there is none left.
#[expect(clippy::print_stdout, reason = "how far the loop came is shown where it fails")]
fn work(todo: &Loop) {
    while let Some(cut) = todo.next() {
        let estate = fresh(todo.way.options);
        let folder = quick_folder(&estate);
        let killed = run_until(&folder, cut);
        let context = format!("{}, cut {cut}", todo.way.name);
        let groups = synced_together(&folder);
        if killed.exit == KILLED {
            assert_eq!(groups.len(), cut, "{context}: killed elsewhere\n{}", killed.err);
            go_on(&folder, &context);
        } else {
            assert_eq!(killed.exit, 0, "{context}: not killed\n{}\n{}", killed.out, killed.err);
            assert!(groups.len() < cut, "{context}: not killed\n{}", killed.err);
        }
        once(&estate, todo.way, &context);
        estate.settles_into(&todo.expected, &context);
        let last = groups.last().and_then(|group| group.last());
        println!("{context}: ended with {}, after {last:?}: as undisturbed", killed.exit);
        remember(&mut todo.seen(), &groups, killed.exit == KILLED);
    }
}

fn remember(seen: &mut Seen, groups: &[Vec<String>], killed: bool) {
    let last = groups.last().and_then(|group| group.last()).expect("a journal with a record");
    if killed {
        seen.hit.insert(groups.len());
        seen.last.insert(last.clone());
    } else {
        seen.spared.push(groups.len());
    }
    for (group, number) in groups.iter().zip(1..) {
        let (end, inner) = group.split_last().expect("a write brings a record");
        seen.places.insert(end.clone(), number);
        seen.shared.extend(inner.iter().cloned());
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
fn killer() -> &'static Path {
    static KILLER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = KILLER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let library = folder.path().join("kill_at_sync.so");
        let mut cc = Command::new("cc");
        cc.args([
            "-shared",
            "-fPIC",
            "-O1",
            "-Wall",
            "-Werror",
            "tests/it/kill_at_sync.c",
            "-ldl",
            "-o",
        ]);
        let built = cc.arg(&library).status().expect("a C compiler");
        assert!(built.success(), "kill_at_sync.c does not compile");
        (folder, library)
    });
    library
}

/// Runs DR-001 until its journal's sync number `cut` has returned.
fn run_until(folder: &Folder, cut: usize) -> Ran {
    let mut command = folder.command(&quick(&[]));
    command.env("LD_PRELOAD", killer()).env("KILL_AT_SYNC", cut.to_string());
    command.env("SYNCS", folder.path().join("syncs"));
    ran(command.output().expect("run the binary"))
}

/// The journal's records by the sync that made them durable, each as `kind step`.
fn synced_together(folder: &Folder) -> Vec<Vec<String>> {
    let sizes =
        std::fs::read_to_string(folder.path().join("syncs")).expect("the library was loaded");
    let (path, _) = folder.journals().remove(0);
    let text = std::fs::read_to_string(path.join("journal.jsonl")).expect("a journal");
    let mut start = 0;
    let mut groups = Vec::new();
    for size in sizes.lines().map(|line| line.parse::<usize>().expect("a size")) {
        groups.push(names(&text[start..size]));
        start = size;
    }
    assert_eq!(start, text.len(), "something was written and not synced");
    groups
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
