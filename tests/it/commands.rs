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

/// A run that waits in its second step until `goes_on` is there, with something left open by its first.
fn waiting() -> (Folder, std::process::Child) {
    let folder = Folder::new();
    folder.write("phoenix-dr.yaml", ESTATE);
    let dir = folder.path().display();
    folder.write("wait.yaml", &format!(
        "runbook: T-1\ntitle: Test\ncommand: test\nsteps:\n  - id: notify\n    needs: []\n    action: manual\n    with: {{ say: Tell them., later: true }}\n    critical: false\n    rollback: {{ none: x }}\n  - id: wait\n    action: command.run\n    with: {{ argv: [sh, -c, 'touch {dir}/began; while ! test -e {dir}/goes_on; do sleep 0.05; done'] }}\n    rollback: {{ none: x }}\n    verify: {{ none: x }}\n"
    ));
    let mut child = folder.start(&["run", "wait.yaml", "--yes"]);
    while !there(&folder, "began") && child.try_wait().expect("look at it").is_none() {
        std::thread::yield_now();
    }
    (folder, child)
}

fn opened(folder: &Folder) -> String {
    let (_, events) = folder.journals().remove(0);
    let opened =
        events.iter().find(|event| event["kind"] == "obligation_opened").expect("it is open");
    opened["obligation"]["id"].as_str().expect("its id").to_owned()
}

#[test]
fn what_is_open_can_be_marked_done_while_the_run_goes_on() {
    let (folder, child) = waiting();
    let id = opened(&folder);
    let ran = folder.run(&["status"]).exits(0);
    assert!(ran.out.contains(&format!("phoenix-dr mark-done {id} --evidence")), "{}", ran.out);
    let ran = folder.run(&["mark-done", &id, "--evidence", "posted in #status"]).exits(0);
    assert!(ran.out.contains("records it when it ends"), "{}", ran.out);
    let ran = folder.run(&["status", "--output", "json"]).exits(0);
    let status: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(status["marked"][0]["obligation"], id.as_str());
    assert!(folder.run(&["status"]).out.contains("posted in #status"));
    folder.run(&["mark-done", "nothing", "--evidence", "x"]).exits(2);
    folder.write("goes_on", "");
    let last = super::harness::ran(child.wait_with_output().expect("it ends"));
    assert!(last.out.contains("Open") && !last.out.contains(&id), "{}", last.out);
    let (path, events) = folder.journals().remove(0);
    let closed: Vec<_> =
        events.iter().filter(|event| event["kind"] == "obligation_closed").collect();
    assert_eq!(closed.len(), 1);
    let said = closed[0]["said"].as_str().expect("text");
    assert!(said.starts_with("posted in #status (marked by "), "{said}");
    assert_eq!(std::fs::read_dir(path.join("inbox")).expect("an inbox").count(), 0);
    folder.run(&["audit", "--verify"]).exits(0);
    assert!(!folder.run(&["status"]).out.contains("mark-done"));
    folder.run(&["mark-done", &id, "--evidence", "again"]).exits(2);
}

#[test]
fn a_killed_run_loses_no_mark() {
    let (folder, mut child) = waiting();
    let id = opened(&folder);
    folder.run(&["mark-done", &id, "--evidence", "posted"]).exits(0);
    child.kill().expect("kill it");
    child.wait().expect("it is gone");
    folder.write("goes_on", "");
    let ran = folder.run::<&str>(&[]).exits(0);
    assert!(!ran.out.contains(&format!("mark-done {id}")), "{}", ran.out);
    assert!(ran.out.contains("phoenix-dr resume"), "{}", ran.out);
    let (_, events) = folder.journals().remove(0);
    assert!(events.iter().any(|event| event["kind"] == "obligation_closed"));
}

#[test]
fn a_run_is_followed_as_json_like_its_journal() {
    let (folder, mut child) = waiting();
    let follower = folder.start(&["status", "--follow", "--output", "json"]);
    folder.write("goes_on", "");
    child.wait().expect("it ends");
    let followed = super::harness::ran(follower.wait_with_output().expect("it ends")).exits(0);
    let mut lines = followed.out.lines();
    assert!(lines.next().expect("a first line").contains("phoenix-dr/events"));
    let text = journal(&folder);
    assert_eq!(lines.collect::<Vec<_>>(), text.lines().collect::<Vec<_>>());
}

#[test]
fn programs_can_read_every_answer() {
    let folder = stopped(&[], &[]);
    folder.write("bad.yaml", "runbook: X-1\ntitle: t\ncommand: c\nstps: []\nsteps: []\n");
    let json = |arguments: &[&str], exit: i32| -> serde_json::Value {
        let ran = folder.run(&[arguments, &["--output", "json"]].concat()).exits(exit);
        serde_json::from_str(&ran.out).unwrap_or_else(|why| panic!("{why}: {}", ran.out))
    };
    let checked = json(&["validate", "bad.yaml"], 3);
    assert_eq!(checked["files"][0]["good"], false);
    assert_eq!(checked["files"][0]["problems"][0]["line"], 4);
    assert_eq!(json(&["validate", "chain.yaml"], 0)["files"][0]["good"], true);
    assert_eq!(json(&["show", "chain.yaml"], 0)["runbook"]["runbook"], "T-1");
    assert!(json(&["show", "--actions"], 0)["actions"].as_array().expect("a list").len() > 10);
    assert!(json(&["show", "chain.yaml", "--rendered"], 0)["markdown"].is_string());
    assert_eq!(json(&["runs"], 0)["runs"][0]["unfinished"], true);
    assert_eq!(json(&[], 0)["runs"][0]["runbook"], "T-1");
    assert_eq!(json(&["rollback", "--dry-run"], 0)["reverts"][0]["step"], "two");
    assert_eq!(json(&["abandon", "--reason", "drill"], 0)["still_changed"][1], "two");
}

#[test]
fn a_check_that_proves_it_closes_what_is_open() {
    let folder = folder(&[]);
    folder.write("repaired", "");
    folder.run(&["run", "chain.yaml", "--yes"]).exits(0);
    let (path, _) = folder.journals().remove(0);
    // What an action leaves open names the check that closes it: here one that looks for a file.
    let proof = folder.path().join("proof");
    let closed_by = serde_json::json!({ "check": "command",
        "with": { "argv": ["test", "-e", proof], "reads_only": true } });
    open_by_hand(&path, &closed_by);
    let ran = folder.run::<&str>(&[]).exits(0);
    assert!(ran.out.contains("mark-done no-replica"), "{}", ran.out);
    folder.write("proof", "");
    let ran = folder.run(&["status"]).exits(0);
    assert!(!ran.out.contains("no-replica"), "{}", ran.out);
    let (_, events) = folder.journals().remove(0);
    let last = events.last().expect("a last event");
    assert_eq!(
        (last["kind"].as_str(), last["id"].as_str()),
        (Some("obligation_closed"), Some("no-replica"))
    );
    assert!(last["said"].as_str().expect("text").starts_with("proved by command"), "{last}");
    folder.run(&["audit", "--verify"]).exits(0);
}

/// Puts an obligation into a journal before the run's end, the chain made good again.
fn open_by_hand(run: &std::path::Path, closed_by: &serde_json::Value) {
    use sha2::Digest as _;
    let path = run.join("journal.jsonl");
    let text = std::fs::read_to_string(&path).expect("a journal");
    let mut lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
    let mut opened = lines.last().expect("records").clone();
    opened["event"] = serde_json::json!({ "kind": "obligation_opened", "step": null, "obligation": {
        "id": "no-replica", "say": "There is no replica", "how": "Make one", "closed_by": closed_by } });
    lines.insert(lines.len() - 1, opened);
    let mut out = String::new();
    for (seq, record) in lines.iter_mut().enumerate() {
        record["seq"] = seq.into();
        if let Some(before) = out.lines().last() {
            let digest = sha2::Sha256::digest(before.as_bytes());
            record["prev"] =
                digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
        }
        // The order of a record's fields is part of its line.
        out += &ordered(record);
        out.push('\n');
    }
    std::fs::write(&path, out).expect("write it back");
}

fn ordered(record: &serde_json::Value) -> String {
    let field = |name: &str| format!("\"{name}\":{}", record[name]);
    let fields = ["format", "seq", "time", "prev", "who", "event"].map(field);
    format!("{{{}}}", fields.join(","))
}
