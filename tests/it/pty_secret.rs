//! A secret input that a person is asked for: typed unseen, handed to the program, found nowhere else.

use std::path::Path;

use super::harness::Folder;
use super::person::Left;
use super::pty::GO;

const SECRET: &str = "c4nary-Wh1sper";
const ESTATE: &str = "estate: t
primary: { region: us-east-1 }
regions:
  us-east-1: { api: 'http://127.0.0.1:1' }
  us-west-2: { api: 'http://127.0.0.1:2' }
";

/// A runbook whose only step hands the secret to a program that keeps and repeats it.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("phoenix-dr.yaml", ESTATE);
    let seen = folder.path().join("seen").display().to_string();
    folder.write(
        "t.yaml",
        &format!(
            "runbook: T-1
title: Test
command: test
inputs:
  s: {{ type: secret, required: true, help: what the exporter signs with }}
steps:
  - id: use
    action: command.run
    with:
      argv: [sh, -c, 'printf %s \"$S\" > {seen}; echo \"it is $S\"; echo \"it is $S\" >&2']
      env: {{ S: \"${{{{ inputs.s }}}}\" }}
      undo: ['true']
    rehearse: {{ run: {{ takes: 5s }} }}
    verify: {{ none: the program says so }}
"
        ),
    );
    folder
}

fn nowhere_in(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            nowhere_in(&path);
        } else {
            let text = String::from_utf8_lossy(&std::fs::read(&path).expect("a file")).into_owned();
            assert!(!text.contains(SECRET), "{}: {text}", path.display());
        }
    }
}

/// Holds that the secret is neither on the screen nor in the state directory.
#[track_caller]
fn told_nobody(folder: &Folder, left: &Left) {
    assert!(!left.all.contains(SECRET), "{}", left.all);
    nowhere_in(Path::new(&folder.environment["PHOENIX_DR_STATE"]));
}

#[test]
fn a_secret_is_typed_unseen_asked_for_again_on_resume_and_kept_nowhere() {
    let folder = folder();
    let mut person = folder.at_terminal(&["run", "t.yaml"]);
    person.sees("what the exporter signs with").asked("s:").types(SECRET);
    person.asked(GO).types("n");
    told_nobody(&folder, &person.exits(13));
    let (path, events) = folder.journals().remove(0);
    let input = &events[0]["plan"]["inputs"]["s"];
    assert_eq!(*input, serde_json::json!({ "asked": "s" }), "{}", path.display());

    // A look that changes nothing goes without it.
    folder.run(&["resume", "--dry-run"]).exits(0);
    // Nobody to ask: the run stays as it is, and what to do is said.
    let ran = folder.run(&["resume", "--yes"]).exits(8).says("take the run up at a terminal");
    assert!(ran.err.contains("`s`"), "{}", ran.err);

    let mut person = folder.at_terminal(&["resume"]);
    // Typed wrong at first, and taken back.
    person.asked("s:").keys("nonsense\u{15}").keys("x\u{7f}").types(SECRET);
    person.asked(GO).types("y");
    told_nobody(&folder, &person.exits(0));
    let seen = std::fs::read_to_string(folder.path().join("seen")).expect("the program ran");
    assert_eq!(seen, SECRET, "the program got it");
    folder.run(&["audit", "--verify"]).exits(0);
    for command in [&["audit"][..], &["report"], &["status"], &["--output", "json", "audit"]] {
        let ran = folder.run(command);
        assert!(!format!("{}{}", ran.out, ran.err).contains(SECRET), "{command:?}");
    }
}

#[test]
fn a_secret_that_nobody_gives_begins_nothing() {
    let folder = folder();
    for key in ['c', 'd'] {
        let mut person = folder.at_terminal(&["run", "t.yaml"]);
        person.asked("s:").control(key);
        person.exits(13).shows("nothing was begun");
        assert!(folder.journals().is_empty());
    }
    let mut person = folder.at_terminal(&["run", "t.yaml", "--dry-run"]);
    person.asked("s:").types("").sees("nothing was typed").asked("s:").types(SECRET);
    told_nobody(&folder, &person.exits(0));
    for arguments in [&["run", "t.yaml", "--yes"][..], &["run", "t.yaml", "--yes", "--dry-run"]] {
        folder.run(arguments).exits(2).says("env:NAME or file:PATH");
    }
    let mut person = folder.at_terminal(&["run", "t.yaml", "--non-interactive"]);
    person.sees("env:NAME or file:PATH");
    person.exits(2);
    assert!(folder.journals().is_empty());
}

#[test]
fn nobody_types_a_secret_for_what_is_refused_anyway_or_for_a_rehearsal() {
    let folder = folder();
    let refused = folder.at_terminal(&["run", "t.yaml", "--set", "nope=1"]).exits(2);
    let rehearsed = folder.at_terminal(&["run", "t.yaml", "--rehearse", "--yes", "--speed=max"]);
    for (left, said) in [(refused, "nope"), (rehearsed.exits(0), "DEBRIEF")] {
        assert!(left.all.contains(said), "{}", left.all);
        assert!(!left.all.contains("what the exporter signs with"), "{}", left.all);
    }
}
