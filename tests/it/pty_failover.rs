//! DR-001 on the throw-away estate, answered by hand at a terminal of 80x24.

use serde_json::Value;

use super::dr001::{FAILOVER, quick_folder, undisturbed};
use super::estate::fresh;
use super::harness::{Folder, of_step};
use super::person::Person;
use super::pty::GO;

const RECOVERY: (&str, &str) = ("? Choose the recovery point", "Which?");
const FENCE: (&str, &str) = ("? Cannot be done: Fence the old primary", "Type unfenced");
const PROMOTE: (&str, &str) = ("? Bring the database up in us-west-2", "Type us-west-2");
const TRAFFIC: (&str, &str) = ("? Move traffic to us-west-2", "Do it? [y/n]");

/// Answers what is asked before the database is brought up.
fn up_to_the_database(person: &mut Person<'_>, point: &str) {
    person.asked(GO).types("y");
    person.asked_about(RECOVERY.0, RECOVERY.1).types(point);
    person.asked_about(FENCE.0, FENCE.1).types("unfenced");
}

fn ends_with(folder: &Folder, step: &str, end: &str) {
    let (_, events) = folder.journals().remove(0);
    assert_eq!(of_step(&events, "step_finished", step)[0]["end"], end, "{step}");
}

#[test]
fn four_questions_answered_by_hand_restore_the_platform() {
    let estate = fresh(r#"{"transition_seconds": 0.5}"#);
    let folder = estate.folder();
    let mut person = folder.at_terminal(&FAILOVER);
    person.asked(GO);
    let screen = person.screen.now();
    for part in [
        "DR-001 Regional failover to us-west-2",
        "SEV1",
        "incident began",
        "us-east-1 is down: YES",
        "Writes go now to",
        "Data loss",
        "P0 restored",
        "No way back from   step 7 database",
        "Call the",
        "tell customers by",
        "gone",
    ] {
        let there = screen.iter().any(|row| row.contains(part));
        assert!(there, "`{part}` is not on the screen:\n{screen:#?}");
    }
    person.types("m").sees("We are investigating an outage of us-east-1").asked(GO);
    person.types("c").sees("goes back:");
    // Each page says how much is left: its prompt is another than the one before.
    let mut page = String::new();
    while !page.starts_with(GO) {
        person.until("the next page", |person| {
            let row = person.screen.at_cursor();
            row != page && (row.starts_with(GO) || row.ends_with("goes back:"))
        });
        page = person.screen.at_cursor();
        if !page.starts_with(GO) {
            person.types("");
        }
    }
    person.sees("# 5 capacity");
    person.screen.ran_over.clear();
    up_to_the_database(&mut person, "1");
    person.asked_about(PROMOTE.0, PROMOTE.1).sees("Cannot be undone").types("y");
    person.sees("2 tries left").asked(PROMOTE.1).types("us-west-2");
    person.asked_about(TRAFFIC.0, TRAFFIC.1).types("y");
    let left = person.exits(0).shows("restored and verified");
    assert!(left.all.contains("unfenced"), "what stays open is said:\n{}", left.all);
    // A command is for pasting, in one piece however long; the line of the bars may fill its row.
    let allowed = |row: &&String| row.trim_start().starts_with('$') || row.starts_with("LIVE ");
    let long: Vec<&String> = left.ran_over.iter().filter(|row| !allowed(row)).collect();
    assert!(long.is_empty(), "rows that are too long: {long:#?}");
    assert_eq!(estate.requested("PromoteReadReplica"), 1);
    ends_with(&folder, "traffic", "done");
}

/// How a question is not answered.
#[derive(Debug, Clone, Copy)]
enum Left {
    Declined,
    Interrupted,
    EndOfFile,
}

/// Every question in turn is declined, interrupted and met with an end of file: each time the run stops with nothing
/// changed since it was asked, and `resume` asks the same again. Answered at last, the run ends as if undisturbed.
#[test]
fn each_question_declined_or_interrupted_changes_nothing_and_is_put_again_on_resume() {
    let options = r#"{"transition_seconds": 0.3}"#;
    let estate = fresh(options);
    let end = undisturbed(&estate, options);
    estate.post("/reset", options);
    let folder = quick_folder(&estate);
    let mut person = folder.at_terminal(&["run", "quick.yaml", "--set", "region=us-west-2"]);
    for (heading, prompt, answer) in [
        ("DR-001 Regional failover", GO, "y"),
        (RECOVERY.0, RECOVERY.1, "replica"),
        (FENCE.0, FENCE.1, "unfenced"),
        (PROMOTE.0, PROMOTE.1, "us-west-2"),
        (TRAFFIC.0, TRAFFIC.1, "y"),
    ] {
        for left in [Left::Declined, Left::Interrupted, Left::EndOfFile] {
            person.asked_about(heading, prompt);
            if prompt != GO {
                // Approved with go, it does not wait for the other questions.
                person.records("step_finished", "capacity");
            }
            let (world, changes) = (estate.world(), estate.changes());
            if prompt == GO {
                assert_eq!(changes, Vec::<Value>::new(), "{left:?}: before go");
            }
            match left {
                Left::Declined => person.types("n"),
                Left::Interrupted => person.control('c'),
                Left::EndOfFile => person.control('d'),
            };
            person.exits(13).shows("phoenix-dr resume");
            assert_eq!(estate.changes(), changes, "{heading}: {left:?}");
            estate.settles_into(&world, &format!("{heading}: {left:?}"));
            person = folder.at_terminal(&["resume"]);
        }
        person.asked_about(heading, prompt).types(answer);
    }
    person.exits(0);
    estate.settles_into(&end, "answered at last");
    assert_eq!(estate.requested("PromoteReadReplica"), 1);
    for step in ["capacity", "database", "repoint", "traffic"] {
        ends_with(&folder, step, "done");
    }
}

#[test]
fn more_loss_than_allowed_is_typed() {
    let estate = fresh(r#"{"transition_seconds": 0.5}"#);
    let folder = estate.folder();
    let mut person = folder.at_terminal(&FAILOVER);
    person.asked(GO).types("y");
    person.asked_about(RECOVERY.0, RECOVERY.1).types("snapshot");
    person.asked("Type lose ");
    let row = person.screen.at_cursor();
    let words = row.trim_start_matches("Type ").split(" to go on").next().unwrap_or_default();
    person.types("y").sees("2 tries left").asked("Type lose ");
    person.types("lose 1m").sees("1 try left").asked("Type lose ");
    let words = words.to_owned();
    person.types(&words);
    person.asked_about(FENCE.0, FENCE.1).types("n");
    person.exits(13);
}

#[test]
fn a_session_that_drops_in_the_middle_of_a_restore_stops_nothing_and_resume_finishes_it() {
    // The restore takes an hour until it is let go on: the window closes in the middle of it, on any machine.
    let estate = fresh(r#"{"restore_only": true, "transition_seconds": 3600}"#);
    let folder = estate.folder();
    let mut person = folder.at_terminal(&FAILOVER);
    up_to_the_database(&mut person, "backup");
    person.records("step_started", "restore");
    // What was typed has been read: the restore may have begun before the fence was asked about.
    person.records("step_finished", "fence");
    person.until("the request to restore", |_| {
        estate.requested("RestoreDBInstanceToPointInTime") > 0
    });
    person.leaves();
    {
        let (_, events) = folder.journals().remove(0);
        assert_eq!(of_step(&events, "step_started", "restore").len(), 1);
        assert_eq!(of_step(&events, "attempt_finished", "restore").len(), 0);
        let instances = estate.world()["instances"].to_string();
        assert!(instances.contains("creating"), "{instances}");
    }
    estate.post("/options", r#"{"transition_seconds": 0.5}"#);
    // The restore and what follows it were approved with go and go on; traffic asks, and finds nobody.
    person.exits(13);
    ends_with(&folder, "restore", "done");
    assert_eq!(estate.requested("ChangeResourceRecordSets"), 0);
    let mut person = folder.at_terminal(&["resume"]);
    person.asked_about(TRAFFIC.0, TRAFFIC.1).types("y");
    person.exits(0);
    assert_eq!(estate.requested("RestoreDBInstanceToPointInTime"), 1);
    ends_with(&folder, "traffic", "done");
}
