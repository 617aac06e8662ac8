//! A live run and a rehearsal side by side: which one is meant, and what neither may do to the other.

use serde_json::Value;

use super::commands::folder as chain;
use super::harness::{Folder, Ran};
use super::rehearsal::ANSWERS;
use super::rehearse_told::own_world;

const LIVE: [&str; 5] = ["run", "chain.yaml", "--yes", "--on-failure", "stop"];

fn rehearsed(folder: &Folder, rehearse: &str) -> Ran {
    folder.run(&[&["failover", "--region", "us-west-2", rehearse][..], &ANSWERS].concat())
}

/// Returns the id of the newest run.
fn newest(folder: &Folder) -> String {
    let runs = std::fs::read_dir(folder.path().join("state/runs")).expect("runs");
    let names = runs.flatten().map(|run| run.file_name().to_string_lossy().into_owned());
    names.max().expect("a run")
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).expect("JSON")
}

#[test]
fn a_live_run_that_has_not_ended_is_meant_before_a_newer_rehearsal() {
    let folder = chain(&[]);
    folder.run(&LIVE).exits(14);
    let live = newest(&folder);
    rehearsed(&folder, "--rehearse").exits(0);
    let rehearsal = newest(&folder);
    assert_ne!(live, rehearsal);
    let status = || json(&folder.run(&["status", "--output=json"]).exits(0));
    let seen = status();
    assert_eq!((&seen["run"], &seen["mode"]), (&Value::from(live.as_str()), &"live".into()));
    for command in ["status", "audit", "report"] {
        let out = folder.run(&[command]).exits(0).out;
        assert!(!out.contains("REHEARSAL"), "{command}: {out}");
    }
    // Once it is over, what is newest is meant again.
    let over = folder.run(&["abandon", &live, "--reason", "over", "--output=json"]).exits(0);
    assert_eq!(json(&over)["mode"], "live");
    let seen = status();
    let wanted = (&Value::from(rehearsal.as_str()), &"rehearsal".into());
    assert_eq!((&seen["run"], &seen["mode"]), wanted);
    let open = seen["obligations"][0]["id"].as_str().expect("a rehearsal leaves something open");
    let done = ["mark-done", open, "--run", &rehearsal, "--evidence", "x", "--output=json"];
    let done = json(&folder.run(&done).exits(0));
    assert_eq!((&done["mode"], &done["recorded"]), (&"rehearsal".into(), &true.into()));
}

#[test]
fn a_rehearsal_that_cannot_be_read_keeps_no_live_run_waiting() {
    let folder = chain(&[]);
    rehearsed(&folder, "--rehearse").exits(0);
    let (path, _) = folder.journals().remove(0);
    std::fs::write(path.join("journal.jsonl"), "garbage\n").expect("damage");
    let said = folder.run(&["runs"]).exits(0).said();
    assert!(said.contains("damaged (a rehearsal)"), "{said}");
    folder.run(&LIVE).exits(14);
    let live = newest(&folder);
    folder.run(&["abandon", &live, "--reason", "over"]).exits(0);
    // Without its world nobody can tell what it was.
    std::fs::remove_file(path.join("world.jsonl")).expect("it was there");
    folder.run(&LIVE).exits(12).says("cannot be read and may be unfinished");
}

#[test]
fn a_variable_that_is_empty_asks_for_no_rehearsal_and_a_typed_world_that_is_empty_does() {
    let mut folder = chain(&[]);
    folder.environment.insert("PHOENIX_DR_REHEARSE".to_owned(), String::new());
    folder.run(&LIVE).exits(14);
    assert_eq!(folder.journals()[0].1[0]["mode"], "live");
    rehearsed(&folder, "--rehearse=").exits(0);
    assert_eq!(folder.journals()[0].1[0]["mode"], "rehearsal");
}

#[test]
fn a_live_run_that_is_gone_on_with_takes_no_flag_of_a_rehearsal() {
    let mut folder = chain(&[]);
    folder.run(&LIVE).exits(14);
    let (live, before) = (newest(&folder), folder.journals()[0].1.len());
    let short = live[live.len() - 4..].to_owned();
    let says = |folder: &Folder, verb: &str, more: &[&str]| {
        let ran = folder.run(&[&[verb, &live][..], more].concat()).exits(2);
        let said = ran.says("is live, and --speed is for rehearsals").err;
        assert!(said.contains(&format!("out: phoenix-dr {verb} {short}")), "{said}");
    };
    for verb in ["resume", "rollback"] {
        says(&folder, verb, &["--yes", "--speed", "max"]);
        says(&folder, verb, &["--dry-run", "--speed=60"]);
    }
    folder.environment.insert("PHOENIX_DR_SPEED".to_owned(), "max".to_owned());
    says(&folder, "resume", &["--yes"]);
    assert_eq!(folder.journals()[0].1.len(), before, "nothing was done");
}

#[test]
fn a_rehearsal_that_is_gone_on_with_takes_neither_another_world_nor_a_flag_of_a_live_run() {
    let folder = Folder::new();
    own_world(&folder);
    let arguments = ["failover", "--region=us-west-2", "--rehearse=mine.yaml"];
    let denied = ["--inject=denied@rds/PromoteReadReplica,times=1"];
    folder.run(&[&arguments[..], &ANSWERS, &denied].concat()).exits(14);
    let (run, before) = (newest(&folder), folder.journals()[0].1.len());
    for verb in ["resume", "rollback"] {
        let goes_on = |more: &[&str]| folder.run(&[&[verb, &run, "--yes"][..], more].concat());
        let another = "`phoenix` is another";
        goes_on(&["--rehearse", "phoenix"]).exits(2).says(another).says("without a world");
        let endpoint = "--allow-endpoint-override is for live runs";
        goes_on(&["--allow-endpoint-override", "--rehearse"]).exits(2).says(endpoint);
        // All of it at once.
        let both = ["--allow-endpoint-override", "--rehearse", "phoenix", "--estate", "x.yaml"];
        goes_on(&both).exits(2).says(another).says(endpoint).says("`--estate` names another");
    }
    assert_eq!(folder.journals()[0].1.len(), before, "nothing was done");
    folder.run(&[&["resume", &*run, "--rehearse="][..], &ANSWERS].concat()).exits(0);
    // One that began in the world that comes with the program may name it.
    let folder = Folder::new();
    let arguments = ["failover", "--region=us-west-2", "--rehearse"];
    folder.run(&[&arguments[..], &ANSWERS, &denied].concat()).exits(14);
    let resume = ["resume", &newest(&folder), "--rehearse=phoenix"];
    folder.run(&[&resume[..], &ANSWERS].concat()).exits(0);
}
