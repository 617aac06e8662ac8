//! Going on with a run, rolling it back, and what both show before they do anything.

use super::harness::{Folder, of_step};

const ESTATE: &str = "estate: t
primary: { region: us-east-1 }
regions:
  us-east-1: { api: 'http://127.0.0.1:1' }
  us-west-2: { api: 'http://127.0.0.1:2' }
";

/// A chain of steps that each write a file; extra lines of a step by its name. `three` fails until `repaired` is there.
pub(crate) fn folder(extra: &[(&str, &str)]) -> Folder {
    let folder = Folder::new();
    folder.write("phoenix-dr.yaml", ESTATE);
    let dir = folder.path().display();
    let mut text = "runbook: T-1\ntitle: Test\ncommand: test\nsteps:\n".to_owned();
    for name in ["one", "two", "three"] {
        let file = format!("{dir}/{name}");
        let first =
            if name == "three" { format!("test -e {dir}/repaired && ") } else { String::new() };
        text += &format!(
            "  - id: {name}\n    title: Write {name}\n    action: command.run\n    retry: {{ attempts: 1 }}\n    with:\n      argv: [sh, -c, '{first}echo x >> {file}']\n      undo: [rm, -f, '{file}']\n      done_when: [test, -e, '{file}']\n    verify: {{ none: the program says so }}\n"
        );
        for (_, lines) in extra.iter().filter(|(step, _)| *step == name) {
            text += &format!("    {lines}\n");
        }
    }
    folder.write("chain.yaml", &text);
    folder
}

/// The same, stopped with its changes in place because `three` failed.
fn stopped(extra: &[(&str, &str)], flags: &[&str]) -> Folder {
    let folder = folder(extra);
    let base = ["run", "chain.yaml", "--yes", "--on-failure", "stop"];
    folder.run(&[&base[..], flags].concat()).exits(14);
    folder
}

fn journal(folder: &Folder) -> String {
    let (path, _) = folder.journals().remove(0);
    std::fs::read_to_string(path.join("journal.jsonl")).expect("a journal")
}

fn there(folder: &Folder, name: &str) -> bool {
    folder.path().join(name).exists()
}

#[test]
fn a_dry_run_of_resume_shows_what_is_left_and_does_nothing() {
    let mut folder = stopped(&[], &[]);
    folder.write("repaired", "");
    let before = journal(&folder);
    let ran = folder.run(&["resume", "--dry-run"]).exits(0);
    assert!(ran.out.contains("DRY RUN") && ran.out.contains("Write three"), "{}", ran.out);
    assert!(!ran.out.contains("Write one"), "it has ended: {}", ran.out);
    folder.run(&["resume", "--dry-run", "--detailed-exitcode"]).exits(20);
    folder.environment.insert("PHOENIX_DR_DRY_RUN".to_owned(), "true".to_owned());
    folder.run(&["resume"]).exits(0);
    folder.run(&["rollback"]).exits(0);
    assert!(!there(&folder, "three") && there(&folder, "one"));
    assert_eq!(journal(&folder), before);
}

#[test]
fn a_rollback_shows_its_order_and_asks() {
    let folder = stopped(&[], &[]);
    let before = journal(&folder);
    let ran = folder.run(&["rollback", "--dry-run"]).exits(0);
    let order: Vec<&str> = ran.out.lines().filter(|line| line.contains("(Write ")).collect();
    assert!(
        order.len() == 2 && order[0].contains("1. two") && order[1].contains("2. one"),
        "{order:?}"
    );
    folder.run(&["rollback", "--dry-run", "--detailed-exitcode"]).exits(20);
    folder.run(&["rollback"]).exits(8).says("add --yes");
    assert_eq!(journal(&folder), before, "nothing was decided");
    folder.write("no.yaml", "rollback: no\n");
    folder.run(&["rollback", "--answers", "no.yaml"]).exits(13).says("the run stays as it is");
    assert!(there(&folder, "one") && there(&folder, "two"));
    folder.run(&["rollback", "--yes"]).exits(5);
    assert!(!there(&folder, "one") && !there(&folder, "two"));
    let (_, events) = folder.journals().remove(0);
    let asked = events.iter().any(|event| {
        event["kind"] == "decided"
            && event["question"]["kind"] == "rollback"
            && event["answer"]["kind"] == "yes"
    });
    assert!(asked, "who agreed to it is on record");
}

#[test]
fn a_rollback_past_a_point_of_no_return_is_refused_and_the_run_goes_on() {
    let folder = stopped(&[("two", "point_of_no_return: true")], &["--approve", "two"]);
    let before = journal(&folder);
    for arguments in [&["rollback", "--yes"][..], &["rollback", "--dry-run"]] {
        let ran = folder.run(arguments).exits(14).says("phoenix-dr resume").says("abandon");
        assert!(
            ran.err.contains("one stays: sealed by the point of no return `two`"),
            "{}",
            ran.err
        );
    }
    assert_eq!(journal(&folder), before);
    folder.write("repaired", "");
    folder.run(&["resume"]).exits(0);
    assert!(there(&folder, "three"));
}

#[test]
fn resume_demands_no_answer_again_and_keeps_the_settings_of_the_run() {
    let word = ("one", "approve: { say: For good., type: gone }");
    let folder = stopped(&[word], &["--approve", "one"]);
    // `--on-failure stop` still holds: nothing is rolled back.
    folder.run(&["resume"]).exits(14);
    assert!(there(&folder, "one"));
    folder.write("repaired", "");
    folder.run(&["resume"]).exits(0);
    let later =
        stopped(&[("three", "approve: { say: For good., type: gone }")], &["--approve", "three"]);
    later.write("repaired", "");
    // What was consented to for a state that is still the same is not asked again either.
    later.run(&["resume"]).exits(0);
}

#[test]
fn the_estate_is_locked_before_other_runs_are_looked_at() {
    let folder = stopped(&[], &[]);
    let locks = std::path::Path::new(&folder.environment["PHOENIX_DR_STATE"]).join("locks");
    let lock = std::fs::read_dir(locks).expect("locks").next().expect("one").expect("one").path();
    let lock = std::fs::File::options().write(true).open(lock).expect("the estate's lock");
    lock.lock().expect("nobody has it");
    folder.run(&["run", "chain.yaml", "--yes"]).exits(9).says("another run holds this estate");
    drop(lock);
    folder.run(&["run", "chain.yaml", "--yes"]).exits(9).says("is not finished");
}

#[test]
fn a_broken_file_never_gives_way_to_the_runbook_that_is_built_in() {
    let folder = folder(&[]);
    std::fs::create_dir(folder.path().join("own")).expect("a folder");
    folder.write("own/DR-001.yaml", "runbook: DR-001\ncommand: failover\nstps: []\n");
    let flags = ["--runbooks", "own", "failover", "--region", "us-west-2", "--dry-run"];
    folder.run(&flags).exits(3).says("own/DR-001.yaml");
    folder.run(&["--runbooks", "own", "typo"]).exits(2).says("phoenix-dr validate");
    let one = "runbook: A-1\ntitle: t\ncommand: failover\ninputs:\n  region: { type: string, required: true }\nsteps:\n  - { id: w, action: wait, with: { for: 0s } }\n";
    folder.write("own/DR-001.yaml", one);
    folder.run(&flags).exits(3).says("more than one runbook");
    folder.run(&["--runbooks", "own", "validate"]).exits(3).says("more than one runbook");
}

#[test]
fn large_answers_are_refused_at_once() {
    let folder = folder(&[]);
    folder.write("answers.yaml", &"#".repeat(9 * 1024 * 1024));
    let ran = folder.run(&["run", "chain.yaml", "--answers", "answers.yaml"]);
    ran.exits(2).says("8 MiB");
    assert!(folder.journals().is_empty());
}

#[test]
fn steps_of_a_dangling_attempt_are_named_as_in_doubt() {
    let folder = stopped(&[], &[]);
    let (path, events) = folder.journals().remove(0);
    assert_eq!(of_step(&events, "attempt_finished", "two").len(), 1);
    let journal = path.join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).expect("a journal");
    let end = text.find("attempt_finished\",\"step\":\"two").expect("its end");
    let cut = text[..end].rfind('\n').expect("a line before");
    std::fs::write(&journal, &text[..=cut]).expect("write it back");
    let ran = folder.run(&["rollback", "--dry-run"]).exits(0);
    assert!(ran.out.contains("in doubt"), "{}", ran.out);
}

#[test]
fn every_missing_answer_is_named_at_once() {
    let folder =
        folder(&[("one", "approve: { say: For good., type: gone }"), ("two", "approve: Really.")]);
    let chain = std::fs::read_to_string(folder.path().join("chain.yaml")).expect("the runbook");
    let more = "  - id: gate
    needs: []
    checks: [ { check: command, within: 1s, with: { argv: [/nonexistent/look], reads_only: true } } ]
  - id: ticket
    action: manual
    with: { say: Open a ticket., evidence: its number }
    verify: { none: a person says so }
";
    folder.write("chain.yaml", &chain.replacen("steps:\n", &format!("steps:\n{more}"), 1));
    let ran = folder.run(&["run", "chain.yaml"]).exits(8);
    for flag in [
        "add --yes",
        "add --approve one",
        "--override 'gate=REASON'",
        "`manual:ticket`: its number",
    ] {
        assert!(ran.err.contains(flag), "`{flag}` is not in:\n{}", ran.err);
    }
    assert!(folder.journals().is_empty(), "nothing began");
    // What every run needs is given: the rest is found missing before go, and all of it is named.
    let given = ["run", "chain.yaml", "--yes", "--approve", "one", "--override", "gate=we know"];
    let ran = folder.run(&given).exits(8);
    assert!(ran.err.contains("`manual:ticket`"), "{}", ran.err);
    assert!(!there(&folder, "one"));
    let (_, events) = folder.journals().remove(0);
    assert!(!events.iter().any(|event| event["kind"] == "step_started"), "nothing was changed");
}
