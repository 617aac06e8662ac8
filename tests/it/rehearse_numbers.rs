//! Numbers of a rehearsal of DR-001 in virtual time: they do not depend on the machine.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::harness::{BINARY, Folder, ran};
use super::rehearsal::{Flown, UNATTENDED, flown, instant};

/// KiB a rehearsal of DR-001 may have resident at most. The build of the tests needed 87 MiB, twice what a release does,
/// for its code is as much larger: this is its bound, that of a release is a benchmark's.
const RESIDENT_KIB_MAX: u64 = 112 * 1024;

/// Records and changes of the world of a rehearsal of DR-001 that nothing disturbs, at most: there were 75 and 354. Each
/// is written, the records are synced; how long a rehearsal takes at full speed follows from them.
const RECORDS_MAX: usize = 90;
const CHANGES_MAX: usize = 420;

/// Runs a command and says how much of it, in KiB, was resident at most.
const RESIDENT: &str = "import resource, subprocess, sys
ended = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(ended.returncode)";

const WAY: [&str; 2] = ["--rehearse", "--recovery-point=replica"];

/// Virtual time between two records, in nanoseconds.
fn between(from: &Value, to: &Value) -> i128 {
    instant(to) - instant(from)
}

/// How long each step took in virtual time: from when it was ready until it had ended, waits for people taken out.
fn lengths(flown: &Flown) -> BTreeMap<String, i128> {
    let asked: Vec<(&Value, &Value)> = flown
        .records
        .windows(2)
        .filter(|pair| pair[0]["event"]["kind"] == "asked" && pair[1]["event"]["kind"] == "decided")
        .map(|pair| (&pair[0], &pair[1]))
        .collect();
    let mut lengths = BTreeMap::new();
    for step in flown.steps() {
        let finished = flown.of("step_finished", &step);
        // A step that was skipped was never ready.
        let ready = flown.of("step_ready", &step).first().copied().unwrap_or(finished[0]);
        let mine = asked.iter().filter(|(asked, _)| {
            let question = &asked["event"]["question"]["key"];
            question["step"] == json!(step)
        });
        let waited: i128 = mine.map(|(asked, decided)| between(asked, decided)).sum();
        lengths.insert(step, between(ready, finished[0]) - waited);
    }
    lengths
}

#[test]
fn the_makespan_is_the_critical_path_of_the_plan() {
    let flown = flown(&Folder::new(), &[&UNATTENDED[..], &WAY].concat());
    assert_eq!(flown.ran.exit, 0, "{}", flown.ran.err);
    let lengths = lengths(&flown);
    let plan = flown.records[0]["event"]["plan"]["steps"].as_array().expect("a plan");
    let began = go(&flown)["seq"].as_u64();
    let mut paths: BTreeMap<&str, i128> = BTreeMap::new();
    // Each round knows the paths of those steps whose needs are known; a plan has no circles.
    while paths.len() < plan.len() {
        let known = paths.len();
        for step in plan {
            let id = step["id"].as_str().expect("an id");
            let needs = step["needs"].as_array().expect("needs").iter();
            let mut before = needs.map(|need| paths.get(need.as_str().expect("an id")).copied());
            let Some(before) = before.try_fold(0, |most, path| Some(path?.max(most))) else {
                continue;
            };
            // Gates before go are over when the clock of the steps begins.
            let over = flown.of("step_finished", id)[0]["seq"].as_u64() < began;
            paths.insert(id, before + if over { 0 } else { lengths[id] });
        }
        assert!(paths.len() > known, "the plan is no graph: {paths:?}");
    }
    let critical = paths.values().copied().max().expect("steps");
    let ends = flown.records.iter().filter(|record| record["event"]["kind"] == "step_finished");
    let last = ends.max_by_key(|record| instant(record)).expect("steps have ended");
    let makespan = between(go(&flown), last);
    assert!(critical > 300 * 1_000_000_000, "the path is no path: {critical}");
    assert!(makespan >= critical, "{makespan} ns in all, {critical} ns on the critical path");
    let more = makespan - critical;
    assert!(more * 50 <= critical, "{makespan} ns in all, {critical} ns on the critical path");
}

/// Returns the record of the answer to go.
fn go(flown: &Flown) -> &Value {
    let is = |record: &&Value| {
        record["event"]["kind"] == "decided" && record["event"]["question"]["kind"] == "go"
    };
    flown.records.iter().find(is).expect("go was answered")
}

#[test]
fn the_same_seed_takes_the_same_virtual_time() {
    for more in ["--surprise=mild", "--surprise=hard", "--inject=latency@rds,delay=2s"] {
        let length = || {
            let flown = flown(&Folder::new(), &[&UNATTENDED[..], &WAY, &[more]].concat());
            between(&flown.records[0], flown.records.last().expect("a record"))
        };
        let (first, second) = (length(), length());
        assert!((first - second).abs() * 100 <= first, "{more}: {first} ns, then {second} ns");
    }
}

#[test]
fn a_rehearsal_has_no_more_in_memory_than_is_stated() {
    let folder = Folder::new();
    let measure = ["-c", RESIDENT, BINARY];
    let arguments = [&measure[..], &UNATTENDED, &WAY].concat();
    let ran = ran(folder.program("python3", &arguments).output().expect("python3 runs"));
    assert_eq!(ran.exit, 0, "{}", ran.err);
    let most: u64 = ran.out.trim().parse().expect("a number of KiB");
    assert!(most > 1024, "{most} KiB is no program's");
    assert!(most <= RESIDENT_KIB_MAX, "{most} KiB were resident, {RESIDENT_KIB_MAX} are stated");
}

#[test]
fn a_rehearsal_writes_no_more_than_is_stated() {
    let flown = flown(&Folder::new(), &[&UNATTENDED[..], &WAY].concat());
    assert_eq!(flown.ran.exit, 0, "{}", flown.ran.err);
    let (records, changes) = (flown.records.len(), flown.world.len());
    assert!(flown.steps().len() > 10, "DR-001 was flown");
    assert!(records <= RECORDS_MAX, "{records} records, {RECORDS_MAX} are stated");
    assert!(changes <= CHANGES_MAX, "{changes} lines of its world, {CHANGES_MAX} are stated");
}
