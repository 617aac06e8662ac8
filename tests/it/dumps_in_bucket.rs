//! Dumps kept in a bucket, by the real binary: from a real database to a real S3 server and back, and killed on the way.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::dumps::{OPTIONS, RUN, databases, kept_at};
use super::estate::{Estate, PAUSE, fresh};
use super::harness::{Folder, of_step, ran};
use super::killed::{KILLED, killer};

/// A bucket of the estate, with a prefix of its own.
const PLACE: &str = "phoenix-dr-state/dumps/";

/// A folder whose estate keeps dumps in a bucket, and whose user may make databases.
fn folder(estate: &Estate) -> Folder {
    let work = |folder: &Path| {
        format!(
            "{{ bucket: phoenix-dr-state, region: us-west-2, prefix: dumps, work: {} }}",
            folder.display()
        )
    };
    kept_at(estate, work)
}

/// What a run left in the directory a dump passes through.
fn left(folder: &Folder) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.path().join("dumps")).expect("listed");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// Returns the objects of dumps that were written, in order: names without the run's own. What a probe asks for is not
/// written.
fn written(estate: &Estate) -> Vec<String> {
    let mutating = estate.mutating();
    let puts = mutating.iter().filter(|call| call["action"] == "PutObject");
    let targets = puts.filter_map(|call| call["target"].as_str()?.strip_prefix(PLACE));
    let files = targets.filter(|target| !target.ends_with(".phoenix-dr-may-write"));
    files.map(|target| target.rsplit('/').next().unwrap_or(target).to_owned()).collect()
}

/// Says whether every object that was sent has been written.
fn arrived(estate: &Estate) -> bool {
    let mutating = estate.mutating();
    let of_dump = |call: &&Value| call["target"].as_str().is_some_and(|at| at.starts_with(PLACE));
    mutating.iter().filter(of_dump).all(|call| !call["status"].is_null())
}

fn dumps(folder: &Folder) -> Vec<Value> {
    let points = folder.run(&["recovery-points", "--output", "json", "--region", "us-west-2"]);
    assert_eq!(points.exit, 0, "{}", points.err);
    let found: Value = serde_json::from_str(&points.out).expect("JSON");
    let points = found["points"].as_array().expect("points").iter();
    points.filter(|point| point["kind"] == "dump").cloned().collect()
}

#[test]
fn a_dump_goes_to_a_bucket_is_restored_from_it_and_proved() {
    let estate = fresh(OPTIONS);
    let folder = folder(&estate);
    let dry = folder.run(&["plan", "proof.yaml"]).exits(0);
    assert!(dry.out.contains("pg_dump (PostgreSQL)"), "{}", dry.out);
    assert_eq!(estate.changes(), Vec::<Value>::new(), "a dry run writes nothing");
    folder.run(&RUN).exits(0);
    let (_, events) = folder.journals().remove(0);
    let proved = of_step(&events, "attempt_finished", "prove")[0].to_string();
    assert!(proved.contains("every digest the same"), "{proved}");
    assert_eq!(left(&folder), Vec::<PathBuf>::new(), "nothing stays on this host");
    let dumps = dumps(&folder);
    let [dump] = dumps.as_slice() else { panic!("{dumps:?}") };
    assert_eq!((&dump["proved"]["by"], &dump["unusable"]), (&json!("content"), &Value::Null));
    let path = dump["path"].as_str().expect("a place");
    assert!(path.starts_with("s3://phoenix-dr-state/dumps/"), "{path}");
    let written = written(&estate);
    let manifest = written.iter().position(|name| name == "manifest.json").expect("it is there");
    assert!(written[manifest + 1..].iter().all(|name| name.ends_with("-dump.json")), "{written:?}");
    assert_eq!(written[0], "toc.dat", "it claims the name: {written:?}");
}

#[test]
fn sigkill_in_the_middle_of_an_upload_and_resume_upload_each_file_once() {
    for held in ["toc.dat", "*.dat.gz", "manifest.json"] {
        let estate = fresh(OPTIONS);
        let folder = folder(&estate);
        let target = format!("{PLACE}*/{held}");
        let fault = estate.fault(&json!({
            "service": "s3", "operation": "PutObject", "target": target, "action": "hold", "times": 1,
        }));
        let mut child = estate.keeps_back(fault, folder.start(&RUN), held);
        // What is under way beside it arrives: it is not this test's business.
        while !arrived(&estate) {
            std::thread::sleep(PAUSE);
        }
        child.kill().expect("kill it");
        child.wait().expect("it is gone");
        estate.no_faults();
        let resumed = folder.run(&["resume", "--yes", "--non-interactive"]);
        assert_eq!(resumed.exit, 0, "{held}: {}\n{}", resumed.out, resumed.err);
        let mut files = written(&estate);
        files.retain(|name| !name.ends_with("-dump.json"));
        let mut once = files.clone();
        once.sort();
        once.dedup();
        assert_eq!(files.len(), once.len(), "{held}: each is written once: {files:?}");
        assert!(once.len() > 2 && once.contains(&"manifest.json".to_owned()), "{held}: {once:?}");
        assert_eq!(dumps(&folder).len(), 1, "{held}");
        assert_eq!(databases(&estate), "phoenix phoenix_proof postgres", "{held}");
        assert_eq!(left(&folder), Vec::<PathBuf>::new(), "{held}: nothing stays on this host");
    }
}

#[test]
fn sigkill_after_the_records_of_each_step_and_resume_end_with_one_dump() {
    let estate = fresh(OPTIONS);
    for step in ["dump", "restore", "prove"] {
        for kind in ["step_started", "attempt_finished"] {
            estate.post("/reset", OPTIONS);
            let folder = folder(&estate);
            let record = format!("\"event\":{{\"kind\":\"{kind}\",\"step\":\"{step}\"");
            let mut command = folder.command(&RUN);
            command.env("LD_PRELOAD", killer()).env("KILL_AFTER", &record);
            let killed = ran(command.output().expect("run the binary"));
            assert_eq!(killed.exit, KILLED, "{record}: {}\n{}", killed.out, killed.err);
            let (_, events) = folder.journals().remove(0);
            // Records that are ready together share a sync: with the last attempt's the run may be over.
            if !events.iter().any(|event| event["kind"] == "run_finished") {
                let resumed = folder.run(&["resume", "--yes", "--non-interactive"]);
                assert_eq!(resumed.exit, 0, "{record}: {}\n{}", resumed.out, resumed.err);
            }
            assert_eq!(dumps(&folder).len(), 1, "{record}");
            assert_eq!(databases(&estate), "phoenix phoenix_proof postgres", "{record}");
            assert_eq!(left(&folder), Vec::<PathBuf>::new(), "{record}");
        }
    }
}
