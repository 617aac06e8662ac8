//! Bad files and wrong usage: one clear message, the documented exit code, nothing changed.

use super::harness::Folder;

const ESTATE: &str = "estate: t
primary: { region: us-east-1 }
regions:
  us-east-1: { api: 'http://127.0.0.1:1' }
  us-west-2: { api: 'http://127.0.0.1:2' }
";

fn runbook(steps: &str) -> String {
    format!("runbook: T-1\ntitle: Test\ncommand: test\nsteps:\n{steps}")
}

#[test]
fn without_an_estate_both_ways_out_are_named() {
    Folder::new()
        .run(&["failover", "--region", "us-west-2"])
        .exits(2)
        .says("phoenix-dr init")
        .says("--rehearse");
}

#[test]
fn init_writes_an_estate_that_is_good_and_never_over_another() {
    let folder = Folder::new();
    folder.run(&["init"]).exits(0);
    folder.run(&["validate"]).exits(0);
    folder.run(&["init"]).exits(2).says("--force");
}

#[test]
fn completions_and_the_manual_are_those_of_this_command_line() {
    let folder = Folder::new();
    for (arguments, file) in [
        (&["completions", "bash"][..], "completions/phoenix-dr.bash"),
        (&["completions", "fish"], "completions/phoenix-dr.fish"),
        (&["completions", "zsh"], "completions/_phoenix-dr"),
        (&["man"], "docs/phoenix-dr.1"),
    ] {
        let made = folder.run(arguments).exits(0).out;
        let kept = std::fs::read_to_string(file).expect(file);
        assert!(made == kept, "{file} is not what `phoenix-dr {}` prints", arguments.join(" "));
    }
}

#[test]
fn the_built_in_runbooks_are_good() {
    let ran = Folder::new().run(&["validate"]).exits(0);
    assert!(ran.out.contains("DR-001-regional-failover.yaml: good"), "{}", ran.out);
}

#[test]
fn bad_runbooks_name_the_place_and_end_with_3() {
    let command = "action: command.run\n    with: { argv: ['true'] }\n    verify: { none: x }";
    for (steps, part) in [
        (format!("  - id: a\n    needs: [b]\n    {command}\n  - id: b\n    needs: [a]\n    {command}\n"), "a → b → a"),
        (format!("  - id: a\n    {command}\n  - id: a\n    {command}\n"), "`a`"),
        (format!("  - id: a\n    nedds: []\n    {command}\n"), "needs"),
        ("  - id: a\n    action: comand.run\n    with: { argv: ['true'] }\n".to_owned(), "command.run"),
        (format!("  - id: a\n    timeout: soon\n    {command}\n"), "30s"),
        (
            "  - id: a\n    needs: []\n    action: command.run\n    with: { argv: ['${{ steps.b.outputs.stdout }}'] }\n    verify: { none: x }\n  - id: b\n    needs: []\n    action: command.run\n    with: { argv: ['true'] }\n    verify: { none: x }\n"
                .to_owned(),
            "b",
        ),
    ] {
        let folder = Folder::new();
        folder.write("bad.yaml", &runbook(&steps));
        let ran = folder.run(&["validate", "bad.yaml"]).exits(3).says("bad.yaml:");
        assert!(ran.err.contains(part), "`{part}` is not in:\n{}", ran.err);
    }
}

#[test]
fn a_runbook_that_is_too_large_is_refused_at_once() {
    let folder = Folder::new();
    folder.write("large.yaml", &"#".repeat(9 * 1024 * 1024));
    folder.run(&["validate", "large.yaml"]).exits(3).says("8 MiB");
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in "bcdefghij".chars().zip("abcdefghi".chars()) {
        let list = vec![format!("*{before}"); 9].join(", ");
        bomb += &format!("{name}: &{name} [{list}]\n");
    }
    let folder = Folder::new();
    folder.write("bomb.yaml", &bomb);
    folder.run(&["validate", "bomb.yaml"]).exits(3).says("bomb.yaml:");
}

#[test]
fn a_password_in_the_estate_is_refused_with_the_form_to_use() {
    let folder = Folder::new();
    let database = "database:
  name: phoenix
  primary: { id: p, region: us-east-1 }
  recovered: { id: r }
  connection: { user: dr, password: hunter2 }
";
    folder.write("phoenix-dr.yaml", &format!("{ESTATE}{database}"));
    let ran = folder.run(&["failover", "--region", "us-west-2"]).exits(2).says("password_from");
    assert!(!ran.err.contains("hunter2") || ran.err.contains("phoenix-dr.yaml:"), "{}", ran.err);
}

#[test]
fn an_estate_without_what_a_step_needs_says_which_section() {
    let folder = Folder::new();
    folder.write("phoenix-dr.yaml", ESTATE);
    folder.run(&["failover", "--region", "us-west-2"]).exits(2).says("database");
}

#[test]
fn an_unknown_region_is_named_with_the_known_ones() {
    let folder = Folder::new();
    folder.run(&["init"]).exits(0);
    folder.run(&["failover", "--region", "us-wst-2"]).exits(2).says("us-west-2");
}

#[test]
fn resume_of_nothing_says_so() {
    let folder = Folder::new();
    folder.run(&["resume"]).exits(2).says("no run");
    folder.run(&["resume", "7F3A"]).exits(2).says("7F3A");
}

#[test]
fn an_endpoint_override_left_in_the_shell_refuses_a_live_run() {
    let mut folder = Folder::new();
    folder.write("phoenix-dr.yaml", ESTATE);
    folder.write("quick.yaml", &runbook("  - id: a\n    action: wait\n    with: { for: 0s }\n"));
    folder.environment.insert("AWS_ENDPOINT_URL".into(), "http://127.0.0.1:9".into());
    folder.run(&["run", "quick.yaml", "--yes"]).exits(2).says("AWS_ENDPOINT_URL");
    assert!(folder.journals().is_empty());
}

/// Holds that something is refused with this exit code and that each of its errors says what to do next.
#[track_caller]
fn says_what_next(ran: super::harness::Ran, exit: i32, help: &str) {
    let ran = ran.exits(exit).says(help);
    let lines = |word: &str| ran.err.lines().filter(|line| line.contains(word)).count();
    let errors = lines("error:").max(1);
    assert!(lines("help:") + lines("hint:") >= errors, "an error without a way on:\n{}", ran.err);
}

#[test]
fn every_bad_file_says_what_to_do_next() {
    let step = "action: command.run\n    with: { argv: ['true'] }\n    verify: { none: x }";
    let one = format!("  - id: a\n    {step}\n");
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in "bcdefghij".chars().zip("abcdefghi".chars()) {
        let list = vec![format!("*{before}"); 9].join(", ");
        bomb += &format!("{name}: &{name} [{list}]\n");
    }
    for (text, help) in [
        (runbook(&format!("{one}{one}")), "give one of them another id"),
        (bomb, "write out what the aliases stand for"),
        (format!("{}\tx: y", runbook(&one)), "indent with blanks"),
        (format!("{}x: 'y", runbook(&one)), "close quotes and brackets"),
        (String::new(), "a runbook begins with `runbook:`"),
        ("# nothing yet\n".to_owned(), "a runbook begins with `runbook:`"),
        (format!("title: {{ a: b }}\n{}", runbook(&one).replace("title: Test\n", "")), "is quoted"),
        (format!("title: [a]\n{}", runbook(&one).replace("title: Test\n", "")), "is quoted"),
        (runbook("  - just words\n"), "`key: value` lines"),
        (runbook(&format!("  - id: a\n    needs: b\n    {step}\n")), "behind `- `"),
        (format!("{}title: again\n", runbook(&one)), "keep one of the two"),
        (runbook("  []\n"), "phoenix-dr validate bad.yaml"),
        (runbook(&one.replace("id: a", "id: run")), "help:"),
        (
            format!(
                "objectives: {{ rto: 2h, rto_max: 1h, rpo: 1m, rpo_max: 5m }}\n{}",
                runbook(&one)
            ),
            "phoenix-dr validate bad.yaml",
        ),
    ] {
        let folder = Folder::new();
        folder.write("bad.yaml", &text);
        says_what_next(folder.run(&["validate", "bad.yaml"]), 3, help);
    }
}

#[test]
fn what_lacks_in_an_estate_is_added_to_the_file_that_was_given() {
    let folder = Folder::new();
    folder.write("e.yaml", ESTATE);
    let ran = folder.run(&["--estate", "e.yaml", "failover", "--region", "us-west-2"]);
    assert!(!ran.err.contains("phoenix-dr.yaml"), "no such file is meant:\n{}", ran.err);
    says_what_next(ran, 2, "add a `dns:` section to e.yaml");
    folder.write("e.yaml", "");
    says_what_next(
        folder.run(&["--estate", "e.yaml", "failover", "--region", "us-west-2"]),
        2,
        "phoenix-dr init",
    );
    folder.write("w.yaml", "world: w\n");
    says_what_next(folder.run(&["world", "validate", "w.yaml"]), 2, "help:");
}

#[test]
fn bad_usage_says_what_to_do_next() {
    let folder = Folder::new();
    for command in ["status", "audit"] {
        says_what_next(folder.run(&[command]), 2, "phoenix-dr list");
    }
    folder.write("phoenix-dr.yaml", ESTATE);
    folder.write("quick.yaml", &runbook("  - id: soon\n    action: wait\n    with: { for: 0s }\n"));
    let run = ["run", "quick.yaml", "--yes"];
    let with = |more: &[&str]| folder.run(&[&run[..], more].concat());
    says_what_next(with(&["--answers", "missing.yaml"]), 2, "a line for each question");
    says_what_next(with(&["--approve", "nosuch"]), 2, "the steps of T-1 are: soon");
    folder.write("answers.yaml", "approve:nosuch: yes\n");
    says_what_next(with(&["--answers", "answers.yaml"]), 2, "the steps of T-1 are: soon");
    assert!(folder.journals().is_empty());
}
