//! Starts at once: one run acts, every other one ends with 9 and names it.

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use super::dr001::{quick, quick_folder};
use super::estate::{Estate, fresh};
use super::harness::{Folder, Ran, ran};

/// A workload that cannot start keeps the run that holds the lease busy until the test lets it go on.
const BROKEN: &str = r#"{"broken": {"api-gateway": "ImagePullBackOff"}}"#;
const REPAIRED: &str = r#"{"broken": {}}"#;

#[test]
fn of_two_starts_from_two_state_directories_one_runs_and_the_other_names_it() {
    let estate = fresh("{}");
    one_of(&estate, &[quick_folder(&estate), quick_folder(&estate)]);
}

#[test]
fn of_two_starts_from_one_state_directory_one_runs_and_the_other_names_it() {
    let estate = fresh("{}");
    estate.post("/options", BROKEN);
    let folder = quick_folder(&estate);
    let mut started = vec![folder.start(&quick(&[])), folder.start(&quick(&[]))];
    let refused = refused_ones(&mut started);
    estate.post("/options", REPAIRED);
    ran(started.remove(0).wait_with_output().expect("it ends")).exits(0);
    let journals = folder.journals();
    assert_eq!(journals.len(), 1, "the other never began a run");
    for loser in refused {
        loser.exits(9).says(short(&journals[0].0)).says("phoenix-dr ");
    }
    once(&estate);
}

/// Starts DR-001 in all folders at the same time.
fn one_of(estate: &Estate, folders: &[Folder]) {
    estate.post("/options", BROKEN);
    let mut started: Vec<Child> = folders.iter().map(|folder| folder.start(&quick(&[]))).collect();
    let refused = refused_ones(&mut started);
    estate.post("/options", REPAIRED);
    ran(started.remove(0).wait_with_output().expect("it ends")).exits(0);
    one_and_the_others(folders, refused);
    once(estate);
}

/// A run of one step, which waits for a file and then adds a line to another.
const WAITING: &str = "runbook: T-1
title: Test
command: test
steps:
  - id: act
    action: command.run
    with: { argv: [sh, -c, 'until test -e go; do sleep 0.05; done; echo x >> ran'] }
    verify: { none: the program says so }
    rollback: { none: a line stays }
";

#[test]
fn of_a_hundred_starts_at_once_one_runs_and_ninety_nine_name_it() {
    let estate = fresh("{}");
    let folders: Vec<Folder> = (0..100).map(|_| estate.folder()).collect();
    let shared = tempfile::tempdir().expect("a folder");
    let text = WAITING
        .replace("-e go", &format!("-e {}", shared.path().join("go").display()))
        .replace(">> ran", &format!(">> {}", shared.path().join("ran").display()));
    let start = |folder: &Folder| {
        folder.write("waiting.yaml", &text);
        folder.start(&["run", "waiting.yaml", "--yes"])
    };
    let mut started: Vec<Child> = folders.iter().map(start).collect();
    let refused = refused_ones(&mut started);
    std::fs::write(shared.path().join("go"), "").expect("let it go on");
    ran(started.remove(0).wait_with_output().expect("it ends")).exits(0);
    one_and_the_others(&folders, refused);
    let lines = std::fs::read_to_string(shared.path().join("ran")).expect("it ran");
    assert_eq!(lines, "x\n");
}

/// Holds that one folder's run changed something, and that every refused one names it.
#[track_caller]
fn one_and_the_others(folders: &[Folder], refused: Vec<Ran>) {
    let journals = folders.iter().map(|folder| folder.journals().remove(0));
    let (held, others): (Vec<_>, Vec<_>) = journals.partition(|(_, events)| changed(events));
    assert_eq!((held.len(), others.len()), (1, folders.len() - 1));
    for loser in refused {
        let loser = loser.exits(9);
        let said = format!("{}{}", loser.out, loser.err);
        assert!(said.contains(short(&held[0].0)), "{said}");
    }
}

/// The end of a run's id, as people are shown it.
fn short(run: &Path) -> &str {
    let name = run.file_name().and_then(|name| name.to_str()).expect("a run id");
    &name[name.len() - 4..]
}

fn changed(events: &[Value]) -> bool {
    events.iter().any(|event| event["kind"] == "step_started")
}

#[track_caller]
fn once(estate: &Estate) {
    assert_eq!(estate.requested("PromoteReadReplica"), 1);
    assert_eq!(estate.requested("ChangeResourceRecordSets"), 1);
}

/// Waits until all but one have ended and takes those out.
fn refused_ones(started: &mut Vec<Child>) -> Vec<Ran> {
    let mut refused = Vec::new();
    while started.len() > 1 {
        let ended =
            started.iter_mut().position(|child| child.try_wait().expect("look at it").is_some());
        match ended {
            Some(at) => {
                refused.push(ran(started.remove(at).wait_with_output().expect("its output")))
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    refused
}
