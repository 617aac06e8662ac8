//! A rehearsal of DR-001 from outside, and what it left behind: its journal, the log of its world, its debrief.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::harness::{Folder, Ran};

/// Everything a failover asks, answered beforehand; nobody is there, and time is leapt over.
pub(crate) const ANSWERS: [&str; 7] = [
    "--yes",
    "--approve=all",
    "--waive=fence=unfenced",
    "--recovery-point=replica",
    "--non-interactive",
    "--speed=max",
    "--on-failure=stop",
];

/// A failover that nobody watches, but for its world; after a failure the program decides.
pub(crate) const UNATTENDED: [&str; 10] = [
    "failover",
    "--region=us-west-2",
    "--seed=7",
    "--yes",
    "--approve=all",
    "--waive=fence=unfenced",
    "--non-interactive",
    "--speed=max",
    "--output=json",
    "--accept-loss=1h",
];

/// What a rehearsal left behind.
pub(crate) struct Flown {
    pub(crate) ran: Ran,
    /// Whole records, envelope and event
    pub(crate) records: Vec<Value>,
    /// Lines of the world's log
    pub(crate) world: Vec<Value>,
    /// `Null` where there was none
    pub(crate) debrief: Value,
}

/// Flies a rehearsal and reads what it left.
pub(crate) fn flown(folder: &Folder, arguments: &[&str]) -> Flown {
    flown_with(folder, arguments, |_| true)
}

/// The same, but for lines of the world's log that nobody wants: nine tenths of it are about the cluster, and reading them
/// adds up where hundreds are flown.
pub(crate) fn flown_with(
    folder: &Folder,
    arguments: &[&str],
    wanted: impl Fn(&str) -> bool,
) -> Flown {
    let ran = folder.run(arguments);
    // The other lines are the journal's.
    let debrief = ran.out.lines().filter(|line| line.contains("phoenix-dr/debrief"));
    let debrief = debrief.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut debrief = debrief.filter(|line| line["format"] == "phoenix-dr/debrief");
    let debrief = debrief.next_back().unwrap_or(Value::Null);
    // What was refused has begun no run.
    let (records, world) = match folder.path().join("state/runs").exists() {
        true => (left_in(folder, "journal.jsonl"), lines_in(folder, "world.jsonl", wanted)),
        false => (Vec::new(), Vec::new()),
    };
    Flown { ran, records, world, debrief }
}

/// Returns the directory of a folder's only run.
pub(crate) fn run_of(folder: &Folder) -> PathBuf {
    let runs = folder.path().join("state/runs");
    let mut runs = std::fs::read_dir(runs).expect("runs").filter_map(Result::ok);
    runs.next().expect("a run").path()
}

/// Returns the whole lines of a file of the run; a process that was killed may have left a torn one.
pub(crate) fn left_in(folder: &Folder, name: &str) -> Vec<Value> {
    lines_in(folder, name, |_| true)
}

fn lines_in(folder: &Folder, name: &str, wanted: impl Fn(&str) -> bool) -> Vec<Value> {
    let text = std::fs::read_to_string(run_of(folder).join(name)).expect("it was written");
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().filter(|line| wanted(line));
    lines.map(|line| serde_json::from_str(line).expect("a whole line")).collect()
}

/// Returns an instant of a record or a line of the world's log, in nanoseconds.
pub(crate) fn instant(line: &Value) -> i128 {
    let time = line["time"].as_str().or_else(|| line["at"].as_str()).expect("an instant");
    time.parse::<jiff::Timestamp>().expect("an instant").as_nanosecond()
}

impl Flown {
    /// Returns the records of a kind about a step.
    pub(crate) fn of(&self, kind: &str, step: &str) -> Vec<&Value> {
        let wanted =
            |record: &&Value| record["event"]["kind"] == kind && record["event"]["step"] == step;
        self.records.iter().filter(wanted).collect()
    }

    /// Returns the last event.
    pub(crate) fn last(&self) -> &Value {
        &self.records.last().expect("a record")["event"]
    }

    /// Returns the ids of the plan's steps.
    pub(crate) fn steps(&self) -> Vec<String> {
        let steps = self.records[0]["event"]["plan"]["steps"].as_array().expect("a plan");
        steps.iter().map(|step| step["id"].as_str().expect("an id").to_owned()).collect()
    }

    /// Counts how often a promotion, and a creation, of an instance was begun in the world.
    pub(crate) fn made(&self) -> (usize, usize) {
        made(&self.world)
    }
}

/// Counts promotions and creations of instances in the log of a world.
pub(crate) fn made(world: &[Value]) -> (usize, usize) {
    let mut known = std::collections::BTreeMap::new();
    let (mut promoted, mut created) = (0, 0);
    for line in world.iter().filter(|line| line["key"]["kind"] == "rds.instance") {
        let id = line["key"]["id"].as_str().expect("an id");
        let body = &line["object"]["body"];
        let status = body["DBInstanceStatus"].as_str().unwrap_or("").to_owned();
        let follows = body["ReadReplicaSourceDBInstanceIdentifier"].is_string();
        // The request of a promotion is one change; later changes of the same state are tags and settings.
        let then = line["object"]["then"].to_string();
        let coming = status == "modifying" && then.contains("rebooting");
        let before = known.insert(id.to_owned(), (coming, follows));
        promoted += usize::from(coming && !before.is_some_and(|(coming, _)| coming));
        created += usize::from(status == "creating" && before.is_none());
    }
    (promoted, created)
}

/// Does a piece of work for each item on two threads and returns what was found, in the order of the items.
pub(crate) fn on_two_threads<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::SeqCst);
                    let Some(item) = items.get(index) else { return };
                    let result = work(item);
                    found.lock().expect("no thread has panicked").push((index, result));
                }
            });
        }
    });
    let mut found = found.into_inner().expect("no thread has panicked");
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, result)| result).collect()
}

/// Returns the lines of a rehearsal's JSON without what each run has of its own, and with nothing else changed: its id,
/// the machine's time (`real`), and the digests these two are in (`prev`). Virtual time begins with the machine's:
/// instants are counted from the beginning, and times of day in what people read are `hh:mm`.
pub(crate) fn timeless(out: &str) -> Vec<String> {
    let records: Vec<Value> =
        out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let first = records.iter().find(|line| line["seq"] == 0).expect("a first record");
    let run = first["event"]["run"].as_str().expect("an id");
    let (began, short) = (instant(first), &run[run.len() - 4..]);
    let line = |line: &str| {
        let line = without_field(&without_field(line, "real"), "prev");
        let line = replaced(&line.replace(run, "RUN"), |rest| {
            rest.starts_with(short).then(|| (short.len(), "RUN".to_owned()))
        });
        let line = replaced(&line, |rest| {
            let end = rest.bytes().take(31).position(|byte| byte == b'Z')? + 1;
            let at: jiff::Timestamp = rest[..end].parse().ok()?;
            Some((end, format!("began+{}ns", at.as_nanosecond() - began)))
        });
        replaced(&line, |rest| {
            let digits = |at: usize| rest.get(at..at + 2)?.parse::<u8>().ok();
            let whole = rest.get(2..3) == Some(":") && digits(0)? < 24 && digits(3)? < 60;
            let seconds = whole && rest.get(5..6) == Some(":") && digits(6).is_some();
            whole.then(|| (if seconds { 8 } else { 5 }, "hh:mm".to_owned()))
        })
    };
    out.lines().map(line).collect()
}

/// Cuts a field with a text out of a line of JSON.
fn without_field(line: &str, name: &str) -> String {
    let start = format!("\"{name}\":\"");
    match line.split_once(&start) {
        Some((before, rest)) => {
            let (_, after) = rest.split_once("\",").expect("its end");
            format!("{before}{after}")
        }
        None => line.to_owned(),
    }
}

/// Replaces whole words: `found` says how many bytes of what follows to replace, and by what.
fn replaced(line: &str, found: impl Fn(&str) -> Option<(usize, String)>) -> String {
    let (mut out, mut at) = (String::with_capacity(line.len()), 0);
    while let Some(next) = line[at..].chars().next() {
        let begins = !out.ends_with(|last: char| last.is_alphanumeric());
        match found(&line[at..]).filter(|_| begins) {
            Some((length, by))
                if !line[at + length..].starts_with(|next: char| next.is_alphanumeric()) =>
            {
                out += &by;
                at += length;
            }
            _ => {
                out.push(next);
                at += next.len_utf8();
            }
        }
    }
    out
}
