//! A rehearsal of DR-001 killed with SIGKILL after each of its journal records, then resumed: it ends as the one that
//! nothing disturbed, and nothing is made twice.
//!
//! The library of `killed.rs` ends the program as the sync returns that made the record durable. Records that share a
//! sync share the cut.
//!
//! Each record has a rehearsal of its own, which one resume takes to its end. Where a fault strikes besides, that is so from
//! the strike on until the step has ended; there one rehearsal is killed after all of its records in turn as well.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::cut::{Killed, Last};
use super::harness::{Folder, Ran, ran};
use super::killed::{KILLED, killer};
use super::rehearsal::{UNATTENDED, instant, left_in, made, on_two_threads, run_of};

const WAY: [&str; 2] = ["--rehearse", "--recovery-point=replica"];

/// What a run is about in a world, in the end: objects without what every run has of its own.
type End = BTreeMap<String, Value>;

/// A rehearsal to kill: with which fault besides the world's own, and how it ends when nothing disturbs it.
struct Case {
    inject: Option<&'static str>,
    last: Last,
}

impl Case {
    /// Returns what is typed to begin it.
    fn begun(&self) -> Vec<String> {
        let typed = UNATTENDED.iter().chain(&WAY).map(|word| (*word).to_owned());
        typed.chain(self.inject.map(|fault| format!("--inject={fault}"))).collect()
    }
}

/// Returns what is typed to go on with a rehearsal: the one there is, or the one that is named.
fn resume(run: Option<&str>) -> Vec<String> {
    let answers = UNATTENDED.iter().copied().filter(|word| {
        *word != "failover" && !word.starts_with("--region") && !word.starts_with("--seed")
    });
    let words = ["resume"].into_iter().chain(run).chain(answers).chain(WAY);
    words.map(str::to_owned).collect()
}

#[test]
fn sigkill_after_each_record_of_a_rehearsal_and_resume_ends_the_same() {
    ends_the_same(&Case { inject: None, last: Last::Over(0) });
}

/// What was before a change, and which calls a fault has struck, are in the world's log as well.
#[test]
fn sigkill_after_each_record_of_a_rehearsal_with_a_fault_and_resume_ends_the_same() {
    let (lost, stale) = (
        "lost_answer@rds/PromoteReadReplica",
        "stale@rds/DescribeDBInstances,region=us-west-2,from=60s",
    );
    ends_the_same(&Case { inject: Some(lost), last: Last::Over(0) });
    ends_the_same(&Case { inject: Some(stale), last: Last::Stopped(14) });
}

/// Kills rehearsals after their records, resumes each time, and compares.
fn ends_the_same(case: &Case) {
    let folder = Folder::new();
    let undisturbed = folder.run(&case.begun());
    assert_eq!(undisturbed.exit, case.last.exit(), "{:?}: {}", case.inject, undisturbed.err);
    let (records, world) = (left_in(&folder, "journal.jsonl"), left_in(&folder, "world.jsonl"));
    assert_eq!(made(&world), (1, 0), "{:?}", case.inject);
    let strike = world.iter().find(|line| line["kind"] == "fault" && line["rule"] == 1);
    assert_eq!(strike.is_some(), case.inject.is_some());
    let expected = (ends(&records), end_of(&world, run_in(&records)));
    assert!(records.len() > 30, "{:?}: {}", case.inject, records.len());
    let cuts: Vec<usize> = match strike {
        None => (0..records.len()).collect(),
        Some(strike) => {
            after_each_in_turn(case, &expected);
            around(strike, &records)
        }
    };
    let wrong: Vec<String> = on_two_threads(&cuts, |at| cut(case, *at, &expected))
        .into_iter()
        .filter_map(Result::err)
        .collect();
    let (some, all) = (wrong.len(), cuts.len());
    assert!(wrong.is_empty(), "{:?}: {some} cuts of {all}:\n{}", case.inject, wrong.join("\n"));
}

/// Returns the records from the last one before a fault struck until a step has ended since, or the run.
fn around(strike: &Value, records: &[Value]) -> Vec<usize> {
    let struck = instant(strike);
    let before = records.iter().rposition(|record| instant(record) <= struck);
    let before = before.expect("the run had begun");
    let ended = |at: &usize| records[*at]["event"]["kind"] == "step_finished";
    let last = (before + 1..records.len()).find(ended).unwrap_or(records.len() - 1);
    assert!(last > before, "nothing was written once the fault had struck");
    (before..=last).collect()
}

/// Kills one rehearsal after each of its records in turn, resumes it each time, and compares.
fn after_each_in_turn(case: &Case, expected: &(End, End)) {
    let folder = Folder::new();
    let (first, resume, spared) = (case.begun(), resume(None), BTreeSet::new());
    let run = Killed { first: &first, resume: &resume, spared: &spared, last: case.last };
    let cuts = run.after_each(&folder);
    for kind in ["run_started ", "run_resumed ", "step_ready database", "step_started database"] {
        assert!(cuts.contains(kind), "{:?}: not after {kind}: {cuts:?}", case.inject);
    }
    if let Err(why) = as_expected(&folder, expected) {
        panic!("{:?}, killed after each record: {why}", case.inject);
    }
}

/// What a fault has passed over before a kill stays passed over: it strikes the call it would have struck.
#[test]
fn the_calls_a_fault_has_spared_stay_spared_after_sigkill_and_resume() {
    let folder = Folder::new();
    let inject = "--inject=latency@rds/Describe,delay=1s,spare=40,times=1";
    let mut command = folder.command(&[&UNATTENDED[..], &WAY, &[inject]].concat());
    command.env("LD_PRELOAD", killer()).env("KILL_AFTER", "{\"format\":1,\"seq\":30,");
    assert_eq!(ran(command.output().expect("run the binary")).exit, KILLED);
    // The world's own fault is the first rule.
    let lines = |kind: &str| {
        let log = left_in(&folder, "world.jsonl");
        log.iter().filter(|line| line["kind"] == kind && line["rule"] == 1).count()
    };
    assert!((1..40).contains(&lines("spared")), "{} were spared before", lines("spared"));
    let run = run_of(&folder);
    let run = run.file_name().expect("a name").to_string_lossy();
    folder.run(&resume(Some(&run))).exits(0);
    assert_eq!((lines("spared"), lines("fault")), (40, 1));
}

/// Kills a rehearsal after one record, resumes it, and compares.
fn cut(case: &Case, at: usize, expected: &(End, End)) -> Result<(), String> {
    let folder = Folder::new();
    let mut command = folder.command(&case.begun());
    command.env("LD_PRELOAD", killer()).env("KILL_AFTER", format!("{{\"format\":1,\"seq\":{at},"));
    let killed = ran(command.output().expect("run the binary"));
    let told =
        |what: &str, ran: &Ran| format!("record {at}: {what}: exit {}\n{}", ran.exit, ran.err);
    if killed.exit != KILLED {
        return Err(told("not killed", &killed));
    }
    let records = left_in(&folder, "journal.jsonl");
    if records.len() <= at {
        return Err(told("it is not in the journal", &killed));
    }
    let over = records.iter().any(|record| record["event"]["kind"] == "run_finished");
    if !over {
        let run = run_of(&folder);
        let run = run.file_name().expect("a name").to_string_lossy();
        let resumed = folder.run(&resume(Some(&run)));
        if resumed.exit != case.last.exit() {
            return Err(told("resumed", &resumed));
        }
    }
    let audited = folder.run(&["audit", "--verify"]);
    if audited.exit != 0 {
        return Err(told("audited", &audited));
    }
    as_expected(&folder, expected).map_err(|why| format!("record {at}: {why}"))
}

/// Compares what a rehearsal has left with the one that nothing disturbed.
fn as_expected(folder: &Folder, (steps, world): &(End, End)) -> Result<(), String> {
    let (records, log) = (left_in(folder, "journal.jsonl"), left_in(folder, "world.jsonl"));
    if made(&log) != (1, 0) {
        return Err(format!("promoted and created {:?}", made(&log)));
    }
    let differs = |what: &str, was: &End, is: &End| {
        let keys = was.keys().chain(is.keys());
        let key = keys.into_iter().find(|key| was.get(*key) != is.get(*key));
        key.map_or(Ok(()), |key| {
            let (was, is) = (was.get(key), is.get(key));
            Err(format!("{what} {key}\n  undisturbed {was:?}\n  resumed     {is:?}"))
        })
    };
    differs("step", steps, &ends(&records))?;
    differs("world", world, &end_of(&log, run_in(&records)))
}

/// Returns how each step ended, and with which outputs: once.
fn ends(records: &[Value]) -> End {
    let mut ends = End::new();
    for event in records.iter().map(|record| &record["event"]) {
        if event["kind"] == "step_finished" {
            let step = event["step"].as_str().expect("a step").to_owned();
            let what = json!([event["end"], event["outputs"]]);
            assert!(ends.insert(step.clone(), what).is_none(), "{step} has two ends");
        }
    }
    ends
}

/// Returns the id of the run, which is in much that it makes.
fn run_in(records: &[Value]) -> &str {
    records[0]["event"]["run"].as_str().expect("an id")
}

/// Folds the log of a world into what it comes to once everything that is under way has come about.
fn end_of(log: &[Value], run: &str) -> End {
    let mut objects: BTreeMap<String, Value> = BTreeMap::new();
    for line in log {
        let named = |parts: [&Value; 3]| parts.map(|part| part.as_str().unwrap_or("")).join(" ");
        match line["kind"].as_str().expect("a kind") {
            "put" => {
                let key = &line["key"];
                let mut body = line["object"]["body"].clone();
                for change in line["object"]["then"].as_array().into_iter().flatten() {
                    let set = change["set"].as_object().cloned().unwrap_or_default();
                    body.as_object_mut().expect("an object").extend(set);
                }
                objects.insert(named([&key["kind"], &key["region"], &key["id"]]), body);
            }
            "gone" => {
                let key = &line["key"];
                objects.remove(&named([&key["kind"], &key["region"], &key["id"]]));
            }
            "cluster" => {
                let (object, meta) = (&line["object"], &line["object"]["metadata"]);
                let name = named([&object["kind"], &meta["namespace"], &meta["name"]]);
                match line["gone"].as_bool() {
                    Some(true) => objects.remove(&name),
                    _ => objects.insert(name, manifest(object)),
                };
            }
            _ => {}
        }
    }
    // Pods and what tells of them have names by chance; leases tell of the process.
    let other = |name: &String| {
        let chance = ["Pod ", "ReplicaSet ", "Event "].iter().any(|kind| name.starts_with(kind));
        !chance && !name.contains("/leases/")
    };
    let kept = objects.into_iter().filter(|(name, _)| other(name));
    kept.map(|(name, body)| (name, plain(&body, run))).collect()
}

/// Returns what of a manifest a run decides: what is wanted, how much of it is ready, how often it was rolled out.
fn manifest(object: &Value) -> Value {
    json!({
        "spec": object["spec"],
        "data": object["data"],
        "ready": object["status"]["readyReplicas"],
        "revision": object["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
    })
}

/// Takes out what each run has of its own: its id, instants, and what is computed from these.
fn plain(body: &Value, run: &str) -> Value {
    match body {
        Value::Object(fields) => {
            let own = ["ETag", "ChecksumCRC32", "heartbeats", "replayed", "_shows"];
            let kept = fields.iter().filter(|(name, value)| {
                !own.contains(&name.as_str()) && !name.starts_with("_window") && !value.is_null()
            });
            let kept = kept.map(|(name, value)| (name.clone(), plain(value, run)));
            Value::Object(kept.collect::<Map<String, Value>>())
        }
        Value::Array(items) => items.iter().map(|item| plain(item, run)).collect(),
        Value::String(text) => {
            let instant = text.parse::<jiff::Timestamp>().is_ok();
            json!(if instant { "TIME".to_owned() } else { text.replace(run, "RUN") })
        }
        other => other.clone(),
    }
}
