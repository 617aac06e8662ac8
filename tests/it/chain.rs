//! Runs of programs: journal, failure, rollback, SIGKILL at every record, without any cloud.

use std::process::Stdio;

use super::harness::{Folder, flat, of_step, ran};

const ESTATE: &str = "estate: t
primary: { region: us-east-1 }
regions:
  us-east-1: { api: 'http://127.0.0.1:1' }
  us-west-2: { api: 'http://127.0.0.1:2' }
";

/// A chain of steps, each of which writes a file, can tell whether it did, and can take it back.
fn folder(names: &[&str], failing: Option<&str>) -> Folder {
    let folder = Folder::new();
    folder.write("phoenix-dr.yaml", ESTATE);
    let dir = folder.path().display();
    let mut text = "runbook: T-1\ntitle: Test\ncommand: test\nsteps:\n".to_owned();
    for name in names {
        let file = format!("{dir}/{name}");
        let run = if failing == Some(name) {
            "[sh, -c, 'exit 3']".to_owned()
        } else {
            format!("[sh, -c, 'echo x >> {file}']")
        };
        text += &format!(
            "  - id: {name}\n    action: command.run\n    retry: {{ attempts: 1 }}\n    with:\n      argv: {run}\n      undo: [rm, -f, '{file}']\n      done_when: [test, -e, '{file}']\n    verify: {{ none: the program says so }}\n"
        );
    }
    folder.write("chain.yaml", &text);
    folder
}

fn there(folder: &Folder, names: &[&str]) -> Vec<String> {
    names
        .iter()
        .filter(|name| folder.path().join(name).exists())
        .map(|name| (*name).to_owned())
        .collect()
}

const NAMES: [&str; 4] = ["one", "two", "three", "four"];

#[test]
fn a_chain_runs_and_a_second_run_finds_it_done() {
    let folder = folder(&NAMES, None);
    folder.run(&["run", "chain.yaml", "--yes"]).exits(0);
    assert_eq!(there(&folder, &NAMES), NAMES);
    folder.run(&["run", "chain.yaml", "--yes"]).exits(0);
    for name in NAMES {
        let text = std::fs::read_to_string(folder.path().join(name)).expect("its file");
        assert_eq!(text, "x\n", "{name} ran twice");
    }
    let (_, events) = &folder.journals()[0];
    assert_eq!(of_step(events, "step_finished", "one")[0]["end"], "satisfied");
    folder.run(&["audit", "--verify"]).exits(0);
    let report = folder.run(&["report"]).exits(0).out;
    assert!(report.starts_with("# T-1 Test\n"), "{report}");
    assert!(report.contains("| one | "), "{report}");
}

#[test]
fn without_an_answer_nothing_starts_and_the_flag_is_named() {
    let folder = folder(&NAMES, None);
    folder.run(&["run", "chain.yaml"]).exits(8).says("--yes");
    assert!(there(&folder, &NAMES).is_empty());
    assert!(folder.journals().is_empty());
}

#[test]
fn a_failure_rolls_everything_back() {
    let folder = folder(&NAMES, Some("three"));
    let ran = folder.run(&["run", "chain.yaml", "--yes"]).exits(5);
    assert!(ran.out.contains("Still changed  nothing"), "{}", ran.out);
    assert!(there(&folder, &NAMES).is_empty());
    folder.run(&["resume"]).exits(2);
}

#[test]
fn on_failure_stop_keeps_what_was_done_and_rollback_undoes_it() {
    let folder = folder(&NAMES, Some("three"));
    folder.run(&["run", "chain.yaml", "--yes", "--on-failure", "stop"]).exits(14);
    assert_eq!(there(&folder, &NAMES), ["one", "two"]);
    folder.run(&["run", "chain.yaml", "--yes"]).exits(9).says("phoenix-dr resume");
    folder.run(&["rollback", "--yes"]).exits(5);
    assert!(there(&folder, &NAMES).is_empty());
}

#[test]
fn failures_are_answered_beforehand_one_by_one() {
    for (answers, exit, left) in [
        ("failure:two: retry\n\"failure:two:2\": stop and keep\n", 14, &["one"][..]),
        ("failure:two: 'skip: not needed tonight'\n", 7, &["one", "three", "four"]),
        ("failure:two: retry\n", 5, &[]),
    ] {
        let folder = folder(&NAMES, Some("two"));
        folder.write("answers.yaml", answers);
        folder.run(&["run", "chain.yaml", "--yes", "--answers", "answers.yaml"]).exits(exit);
        assert_eq!(there(&folder, &NAMES), left, "{answers}");
    }
}

#[test]
fn abandon_reverts_nothing_and_lists_what_stays() {
    let folder = folder(&NAMES, Some("two"));
    folder.run(&["run", "chain.yaml", "--yes", "--on-failure", "stop"]).exits(14);
    let ran = folder.run(&["abandon", "--reason", "drill"]).exits(0);
    assert!(ran.out.contains("still changed: one"), "{}", ran.out);
    assert_eq!(there(&folder, &NAMES), ["one"]);
}

#[test]
fn a_damaged_journal_stops_with_12_and_names_the_record() {
    let folder = folder(&NAMES, Some("two"));
    folder.run(&["run", "chain.yaml", "--yes", "--on-failure", "stop"]).exits(14);
    let (path, _) = folder.journals().remove(0);
    let journal = path.join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).expect("a journal");
    std::fs::write(&journal, text.replacen("T-1", "T-2", 1)).expect("write it back");
    folder.run(&["resume", "--yes"]).exits(12);
    folder.run(&["audit", "--verify"]).exits(12);
}

#[test]
fn json_output_names_its_format_and_then_gives_the_journal() {
    let folder = folder(&NAMES, None);
    let ran = folder.run(&["run", "chain.yaml", "--yes", "--output", "json"]).exits(0);
    let mut lines = ran.out.lines();
    let first: serde_json::Value =
        serde_json::from_str(lines.next().expect("a first line")).expect("JSON");
    assert_eq!(first["format"], "phoenix-dr/events");
    let (path, _) = folder.journals().remove(0);
    let journal = std::fs::read_to_string(path.join("journal.jsonl")).expect("a journal");
    assert_eq!(lines.collect::<Vec<_>>(), journal.lines().collect::<Vec<_>>());
}

#[test]
fn a_closed_pipe_does_not_stop_a_run() {
    let folder = folder(&NAMES, None);
    let mut command = folder.command(&["run", "chain.yaml", "--yes", "--output", "json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("start");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(there(&folder, &NAMES), NAMES);
}

/// Kills the real binary once its journal has so many whole records, then resumes it.
#[test]
fn sigkill_after_each_record_and_resume_ends_the_same_with_nothing_done_twice() {
    let whole = {
        let folder = folder(&NAMES, None);
        folder.run(&["run", "chain.yaml", "--yes"]).exits(0);
        folder.journals()[0].1.len()
    };
    for cut in 1..whole {
        let folder = folder(&NAMES, None);
        let mut child = folder.start(&["run", "chain.yaml", "--yes"]);
        loop {
            let records = folder.journals().first().map_or(0, |(_, events)| events.len());
            let ended = child.try_wait().expect("look at it").is_some();
            if records >= cut || ended {
                break;
            }
            std::thread::yield_now();
        }
        child.kill().ok();
        let killed = ran(child.wait_with_output().expect("it ends"));
        // Killed after its very last record, a run is over: there is nothing to resume.
        let over = folder.journals()[0].1.iter().any(|event| event["kind"] == "run_finished");
        if killed.exit != 0 && !over {
            folder.run(&["resume", "--yes"]).exits(0);
        }
        for name in NAMES {
            let text = std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
            assert_eq!(text, "x\n", "cut at {cut}: {name}");
        }
        folder.run(&["audit", "--verify"]).exits(0);
    }
}

#[test]
fn a_torn_last_line_is_set_aside() {
    let folder = folder(&NAMES, Some("three"));
    folder.run(&["run", "chain.yaml", "--yes", "--on-failure", "stop"]).exits(14);
    let (path, _) = folder.journals().remove(0);
    let journal = path.join("journal.jsonl");
    let mut text = std::fs::read_to_string(&journal).expect("a journal");
    text.truncate(text.len() - 9);
    let length = text.len() - text.rfind('\n').map_or(0, |end| end + 1);
    std::fs::write(&journal, text).expect("write it back");
    let ran = folder.run(&["rollback", "--yes"]).exits(5);
    let words = flat(&ran.err);
    let copy = path.join("journal.torn-1");
    for said in [format!("its {length} bytes are taken off"), copy.display().to_string()] {
        assert!(words.contains(&said), "`{said}` is not in:\n{}", ran.err);
    }
    assert!(copy.exists() && !words.contains("Torn {"), "{}", ran.err);
    assert!(there(&folder, &NAMES).is_empty());
}
