//! DR-001 on the throw-away estate: dry run, live run, second run, refusals.

use super::dr001::{FAILOVER, live};
use super::estate::fresh;
use super::harness::{Folder, of_step};

#[test]
fn a_dry_run_shows_everything_and_sends_no_mutating_request() {
    let estate = fresh("{}");
    let folder = estate.folder();
    let ran = folder.run(&["failover", "--region", "us-west-2", "--dry-run"]).exits(0);
    assert!(ran.out.contains("minReplicas: 1 -> 5"), "{}", ran.out);
    assert!(ran.out.contains("weight 100 -> weight 0"), "{}", ran.out);
    assert_eq!(estate.mutating(), Vec::<serde_json::Value>::new());
    folder
        .run(&["failover", "--region", "us-west-2", "--dry-run", "--detailed-exitcode"])
        .exits(20);
    assert!(folder.journals().is_empty());
}

#[test]
fn a_live_run_restores_the_platform_and_a_second_one_finds_nothing_to_do() {
    let estate = fresh("{}");
    let folder = estate.folder();
    folder.run(&live(&[])).exits(0);
    let (_, events) = folder.journals().remove(0);
    for step in ["capacity", "database", "repoint", "traffic", "p1", "p2", "p3", "protect"] {
        let ends = of_step(&events, "step_finished", step);
        assert_eq!(ends.len(), 1, "{step}");
        assert_eq!(ends[0]["end"], "done", "{step}");
    }
    let promoted = |estate: &super::estate::Estate| {
        let calls = estate.mutating();
        calls.iter().filter(|call| call.to_string().contains("PromoteReadReplica")).count()
    };
    assert_eq!(promoted(&estate), 1);
    let before = estate.mutating().len();
    folder.run(&live(&[])).exits(0);
    assert_eq!(promoted(&estate), 1);
    let (_, events) = folder.journals().remove(0);
    for step in ["capacity", "database", "repoint", "traffic", "p1", "p2", "p3"] {
        let ends = of_step(&events, "step_finished", step);
        assert_eq!(ends[0]["end"], "satisfied", "{step}");
    }
    // The lease in the bucket is all a second run writes.
    let writes = estate.mutating().split_off(before);
    let other: Vec<_> = writes.iter().filter(|call| call["service"] != "s3").collect();
    assert!(other.is_empty(), "{other:?}");
    folder.run(&["audit", "--verify"]).exits(0);
}

#[test]
fn missing_answers_are_named_before_anything_is_changed() {
    let estate = fresh("{}");
    let folder = estate.folder();
    folder.run(&FAILOVER).exits(8).says("--yes").says("--approve database");
    assert_eq!(estate.mutating(), Vec::<serde_json::Value>::new());
}

#[test]
fn a_primary_that_answers_is_not_failed_over() {
    let estate = fresh(r#"{"primary_up": true}"#);
    let folder = estate.folder();
    folder.run(&live(&[])).exits(10);
    assert_eq!(estate.mutating(), Vec::<serde_json::Value>::new());
}

#[test]
fn without_capacity_everything_is_rolled_back_to_what_was_captured() {
    let estate = fresh(r#"{"restore_only": true, "capacity": 6}"#);
    let folder: Folder = estate.folder();
    let file = std::fs::read_to_string("runbooks/DR-001-regional-failover.yaml").expect("DR-001");
    let short = file.replacen("timeout: 10m\n    usually: 3m", "timeout: 20s\n    usually: 3m", 1);
    assert_ne!(file, short, "the capacity step's timeout is where this test looks for it");
    folder.write("short.yaml", &short);
    let ran = folder.run(&[
        "run",
        "short.yaml",
        "--set",
        "region=us-west-2",
        "--yes",
        "--approve",
        "database",
        "--waive",
        "fence=unfenced",
    ]);
    let ran = ran.exits(5);
    let (_, events) = folder.journals().remove(0);
    assert_eq!(of_step(&events, "revert_finished", "capacity").len(), 1, "{}", ran.err);
    let dry = folder.run(&["failover", "--region", "us-west-2", "--dry-run"]);
    assert!(dry.out.contains("minReplicas: 1 -> 5"), "not as before:\n{}", dry.out);
}
