//! A secret's value is found nowhere: not in the journal, on stdout or stderr, in artifacts or facts.

use std::path::Path;

use super::harness::{Folder, Ran};

const SECRET: &str = "Tr0ub4dor&3 /+x";
/// In base64, alone and after `user:`; URL-encoded, and as a form field.
const FORMS: [&str; 5] = [
    SECRET,
    "VHIwdWI0ZG9yJjMgLyt4",
    "dXNlcjpUcjB1YjRkb3ImMyAvK3g=",
    "Tr0ub4dor%263%20%2F%2Bx",
    "Tr0ub4dor%263+%2F%2Bx",
];

fn folder() -> Folder {
    let folder = Folder::new();
    let secret = folder.write("secret", &format!("{SECRET}\n"));
    folder.write(
        "phoenix-dr.yaml",
        &format!(
            "estate: t
primary: {{ region: us-east-1 }}
regions:
  us-east-1: {{ api: 'http://127.0.0.1:1' }}
  us-west-2: {{ api: 'http://127.0.0.1:2' }}
database:
  name: phoenix
  primary: {{ id: phoenix-prod, region: us-east-1 }}
  recovered: {{ id: phoenix-restored }}
  connection: {{ user: dr, password_from: {{ file: '{}' }}, tls: disable }}
",
            secret.display()
        ),
    );
    folder.write("forms", &FORMS.join("\n"));
    let say = format!("cat {0}/forms; cat {0}/forms >&2", folder.path().display());
    folder.write(
        "leak.yaml",
        &format!(
            "runbook: T-1
title: Test
command: test
steps:
  - id: look
    needs: []
    checks:
      - check: command
        within: 2s
        with: {{ argv: [sh, -c, '{say}'], reads_only: true }}
  - id: says
    action: command.run
    with: {{ argv: [sh, -c, '{say}'], undo: [sh, -c, '{say}'] }}
    verify:
      - check: command
        within: 2s
        with: {{ argv: [sh, -c, '{say}'], reads_only: true }}
  - id: fails
    action: command.run
    retry: {{ attempts: 1 }}
    with: {{ argv: [sh, -c, '{say}; exit 3'] }}
    rollback: {{ none: x }}
    verify: {{ none: x }}
"
        ),
    );
    folder
}

/// Holds that no file below a folder has a form of the secret in it.
fn nowhere_in(folder: &Path) -> usize {
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files += nowhere_in(&path);
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&path).expect("a file")).into_owned();
        for form in FORMS {
            assert!(!text.contains(form), "{form} is in {}:\n{text}", path.display());
        }
        files += 1;
    }
    files
}

fn nowhere(ran: &Ran) {
    for (name, text) in [("stdout", &ran.out), ("stderr", &ran.err)] {
        for form in FORMS {
            assert!(!text.contains(form), "{form} is in {name}:\n{text}");
        }
    }
}

#[test]
fn a_secret_a_program_repeats_is_found_nowhere() {
    for extra in [&[][..], &["--output", "json"], &["--verbose"]] {
        let folder = folder();
        let run = ["run", "leak.yaml", "--yes", "--on-failure", "stop"];
        let ran = folder.run(&[&run[..], extra].concat()).exits(14);
        nowhere(&ran);
        assert!(format!("{}{}", ran.out, ran.err).contains("***"), "something was hidden");
        for command in [
            &["run", "leak.yaml", "--dry-run"][..],
            &["status"],
            &["audit"],
            &["audit", "--form", "json"],
            &["rollback", "--yes"],
            &["audit", "--verify"],
        ] {
            nowhere(&folder.run(&[command, extra].concat()));
        }
        let state = Path::new(&folder.environment["PHOENIX_DR_STATE"]);
        assert!(nowhere_in(state) >= 4, "journal, locks, artifacts");
        let (path, _) = folder.journals().remove(0);
        let artifacts = std::fs::read_dir(path.join("artifacts")).expect("artifacts").count();
        assert!(artifacts > 0, "the programs' output is kept");
    }
}

#[test]
fn diagnostics_are_told_when_asked_for_and_go_to_stderr() {
    let mut folder = folder();
    let quiet = folder.run(&["run", "leak.yaml", "--dry-run"]);
    assert!(!quiet.err.contains("DEBUG"), "{}", quiet.err);
    let told = folder.run(&["run", "leak.yaml", "--dry-run", "--verbose"]);
    assert!(told.err.contains("DEBUG") && told.err.contains("program=\"sh\""), "{}", told.err);
    assert!(!told.out.contains("DEBUG"), "{}", told.out);
    folder.environment.insert("PHOENIX_DR_LOG".to_owned(), "phoenix_dr=debug".to_owned());
    let told = folder.run(&["run", "leak.yaml", "--dry-run"]);
    assert!(told.err.contains("DEBUG"), "{}", told.err);
    folder.environment.insert("PHOENIX_DR_LOG".to_owned(), "=[".to_owned());
    folder.run(&["list"]).exits(0).says("PHOENIX_DR_LOG");
}

#[test]
fn a_secret_that_is_a_word_of_the_plan_is_told_and_stops_nothing() {
    let folder = folder();
    folder.write("secret", "phoenix-restored\n");
    let ran = folder.run(&["run", "leak.yaml", "--yes", "--on-failure", "stop"]).exits(14);
    assert!(ran.err.contains("it is not hidden"), "{}", ran.err);
    assert!(!format!("{}{}", ran.out, ran.err).contains("***"), "{}", ran.err);
}
