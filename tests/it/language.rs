//! What the files may say and how it is told when they say something else; and the way on from a damaged run.

use std::path::Path;

use super::commands::folder as chain;
use super::harness::Folder;

const ESTATE: &str = "estate: t
primary: { region: us-east-1 }
regions:
  us-east-1: { api: 'http://127.0.0.1:1' }
  us-west-2: { api: 'http://127.0.0.1:2' }
";

const WAIT: &str = "  - { id: w, action: wait, with: { for: 0s } }\n";

fn runbook(inputs: &str, steps: &str) -> String {
    format!("runbook: T-1\ntitle: Test\ncommand: test\ninputs:\n{inputs}steps:\n{steps}")
}

/// Takes back by hand what the chain's steps did.
fn undone(folder: &Folder) {
    for name in ["one", "two"] {
        std::fs::remove_file(folder.path().join(name)).expect("a step wrote it");
    }
}

#[test]
fn a_damaged_run_is_listed_and_can_be_given_up() {
    let folder = chain(&[]);
    folder.run(&["run", "chain.yaml", "--yes", "--on-failure", "stop"]).exits(14);
    let (path, events) = folder.journals().remove(0);
    let name = path.file_name().expect("a run").to_string_lossy().into_owned();
    let journal = path.join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).expect("a journal");
    let late = events.len() - 3;
    let damaged = text.replacen(&format!("\"seq\":{late},"), &format!("\"seq:{late},"), 1);
    assert_ne!(damaged, text);
    std::fs::write(&journal, &damaged).expect("damage");

    let ran = folder.run(&["runs"]).exits(0);
    assert!(ran.out.contains("damaged (T-1 of t)") && !ran.out.contains("No runs"), "{}", ran.out);
    let again = ["run", "chain.yaml", "--yes", "--on-failure", "stop"];
    folder.run(&again).exits(12).says(&format!("phoenix-dr abandon {name} --reason"));
    // Another estate is not kept waiting.
    folder.write("other.yaml", &ESTATE.replace("estate: t", "estate: other"));
    undone(&folder);
    folder.run(&[&["--estate", "other.yaml"][..], &again].concat()).exits(14);

    let ran = folder.run(&["abandon", &name, "--reason", "finished by hand"]).exits(0);
    assert!(ran.said().contains("still changed: one"), "{}", ran.said());
    assert_eq!(std::fs::read_to_string(&journal).expect("a journal"), damaged, "evidence stays");
    let ran = folder.run(&["runs"]).exits(0);
    assert!(ran.out.contains("finished by hand"), "{}", ran.out);
    let ran = folder.run::<&str>(&[]).exits(0);
    assert!(!ran.out.contains(&name), "it needs nobody any more: {}", ran.out);
    undone(&folder);
    folder.run(&again).exits(14);
}

#[test]
fn a_first_record_that_was_lost_is_damage_and_one_that_was_never_written_is_not() {
    let folder = chain(&[]);
    let again = ["run", "chain.yaml", "--yes", "--on-failure", "stop"];
    folder.run(&again).exits(14);
    let (path, _) = folder.journals().remove(0);
    let name = path.file_name().expect("a run").to_string_lossy().into_owned();
    let journal = path.join("journal.jsonl");
    std::fs::write(&journal, "garbage\n").expect("damage");
    let abandon = format!("phoenix-dr abandon {name} --reason");
    folder.run(&["resume", &name]).exits(12).says(&abandon);
    let ran = folder.run(&["audit", &name, "--verify"]).exits(12);
    assert!(ran.out.contains("BROKEN after 0 intact records"), "{}", ran.out);
    for arguments in [&["resume"][..], &["status"], &again] {
        folder.run(arguments).exits(12).says(&abandon);
    }

    // The process was ended while it wrote its first record: nothing can have been changed by it.
    for left in ["", "{\"format\":1,\"se"] {
        std::fs::write(&journal, left).expect("cut");
        for arguments in [&["resume", &name][..], &["resume"], &["status"]] {
            folder
                .run(arguments)
                .exits(2)
                .says("ended before its first record: it changed nothing");
        }
    }
    undone(&folder);
    folder.run(&again).exits(14);
}

#[test]
fn a_run_whose_chain_is_broken_can_be_given_up() {
    let folder = chain(&[]);
    folder.run(&["run", "chain.yaml", "--yes", "--on-failure", "stop"]).exits(14);
    let journal = folder.journals().remove(0).0.join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).expect("a journal");
    std::fs::write(&journal, text.replacen("Write one", "write one", 1)).expect("damage");
    folder.run(&["resume"]).exits(12);
    folder.run(&["abandon", "--reason", "x"]).exits(0);
    undone(&folder);
    folder.run(&["run", "chain.yaml", "--yes", "--on-failure", "stop"]).exits(14);
}

#[test]
fn a_damaged_run_is_named_by_whatever_would_go_on_with_a_stopped_one() {
    // Not JSON; a record that is not the one its successor names; both with whole records around them.
    type Damage = fn(&str) -> String;
    let damages: [(&str, Damage); 2] = [
        ("not JSON", |text| text.replacen("\"seq\":3,", "\"seq:3,", 1)),
        ("the chain is broken", |text| text.replacen("Write one", "write one", 1)),
    ];
    for (what, damage) in damages {
        let folder = chain(&[]);
        folder.run(&["run", "chain.yaml", "--yes", "--on-failure", "stop"]).exits(14);
        let (path, _) = folder.journals().remove(0);
        let name = path.file_name().expect("a run").to_string_lossy().into_owned();
        let journal = path.join("journal.jsonl");
        let text = std::fs::read_to_string(&journal).expect("a journal");
        let damaged = damage(&text);
        assert_ne!(damaged, text, "{what}");
        std::fs::write(&journal, &damaged).expect("damage");
        let next = [
            format!("phoenix-dr audit {name} --verify"),
            format!("phoenix-dr abandon {name} --reason"),
        ];
        for arguments in [
            &["resume", "--yes"][..],
            &["resume", "--dry-run"],
            &["rollback", "--yes"],
            &["rollback", "--dry-run"],
            &["resume", &name, "--yes"],
            &["rollback", &name, "--yes"],
            &["status", &name],
        ] {
            let ran = folder.run(arguments).exits(12).says(&name);
            for next in &next {
                assert!(ran.said().contains(next), "{what}: {arguments:?}: `{next}`\n{}", ran.err);
            }
        }
        assert_eq!(std::fs::read_to_string(&journal).expect("a journal"), damaged, "{what}");
        folder.run(&["abandon", &name, "--reason", "finished by hand"]).exits(0);
        folder.run(&["resume"]).exits(2).says("no run has stopped");
    }
}

const SECRET: &str = "c4nary-Tr0ub4dor";

fn secret_folder(env: &str) -> Folder {
    let mut folder = Folder::new();
    folder.write("phoenix-dr.yaml", ESTATE);
    let seen = folder.path().join("seen").display().to_string();
    let steps = format!(
        "  - id: use
    action: command.run
    with:
      argv: [sh, -c, 'printf %s \"$S\" > {seen}; echo \"it is $S\"; echo \"it is $S\" >&2']
      env: {{ S: \"{env}\", PLAIN: x }}
      undo: ['true']
    verify: {{ none: the program says so }}
"
    );
    folder.write("t.yaml", &runbook("  s: { type: secret, required: true }\n", &steps));
    folder.environment.insert("MY_SECRET".to_owned(), SECRET.to_owned());
    folder
}

#[test]
fn a_secret_that_need_not_be_given_is_named_where_a_step_needs_it() {
    let folder = secret_folder("${{ inputs.s }}");
    let text = std::fs::read_to_string(folder.path().join("t.yaml")).expect("the runbook");
    folder.write("t.yaml", &text.replace("secret, required: true", "secret"));
    let ran = folder.run(&["run", "t.yaml", "--yes"]).exits(2).says("--set s=");
    for part in ["step `use` needs", "env:NAME or file:PATH"] {
        assert!(ran.err.contains(part), "`{part}` is not in:\n{}", ran.err);
    }
    folder.run(&["run", "t.yaml", "--yes", "--set", "s=env:MY_SECRET"]).exits(0);
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

#[test]
fn a_secret_input_reaches_the_program_and_nothing_else() {
    let folder = secret_folder("${{ inputs.s }}");
    folder.run(&["validate", "t.yaml"]).exits(0);
    let run = ["run", "t.yaml", "--yes", "--set", "s=env:MY_SECRET"];
    for extra in [&["--dry-run"][..], &["--verbose"]] {
        let ran = folder.run(&[&run[..], extra].concat()).exits(0);
        assert!(!ran.said().contains(SECRET), "{}", ran.said());
    }
    let seen = std::fs::read_to_string(folder.path().join("seen")).expect("the program ran");
    assert_eq!(seen, SECRET);
    let (path, _) = folder.journals().remove(0);
    let journal = std::fs::read_to_string(path.join("journal.jsonl")).expect("a journal");
    assert!(journal.contains("\"S\":{\"env\":\"MY_SECRET\"}"), "the reference: {journal}");
    nowhere_in(Path::new(&folder.environment["PHOENIX_DR_STATE"]));
    let kept = std::fs::read_to_string(path.join("artifacts/use.log")).expect("its output");
    assert!(kept.contains("it is ***"), "{kept}");
    // A file does as well, and what cannot be read is found before anything begins.
    folder.write("secret", SECRET);
    folder.run(&["run", "t.yaml", "--yes", "--set", "s=file:secret"]).exits(0);
    let ran = folder.run(&["run", "t.yaml", "--yes", "--set", "s=env:NOT_SET"]).exits(10);
    assert!(ran.said().contains("NOT_SET is not set"), "{}", ran.said());
}

#[test]
fn a_secret_input_anywhere_else_is_refused_in_its_place() {
    for env in ["a ${{ inputs.s }}", "${{ inputs.s + 'x' }}"] {
        let ran = secret_folder(env).run(&["validate", "t.yaml"]).exits(3);
        let said = ran.said();
        assert!(said.contains("the secret `s` cannot be used here"), "{said}");
        assert!(said.contains("t.yaml:11:") && said.contains("as all of a variable"), "{said}");
    }
    for step in [
        "{ id: a, title: 'x ${{ inputs.s }}', action: wait, with: { for: 0s } }",
        "{ id: a, action: manual, with: { say: '${{ inputs.s }}' } }",
        "{ id: a, action: wait, with: { for: 0s }, when: 'inputs.s == \"x\"' }",
        "{ id: a, action: command.run, with: { argv: ['${{ inputs.s }}'], undo: [x] }, verify: { none: x } }",
        "{ id: a, checks: [ { check: http, with: { url: '${{ inputs.s }}' } } ] }",
    ] {
        let folder = Folder::new();
        let text = runbook("  s: { type: secret }\n", &format!("  - {step}\n"));
        folder.write("t.yaml", &text);
        let ran = folder.run(&["validate", "t.yaml"]).exits(3);
        assert!(
            ran.said().contains("the secret `s` cannot be used here"),
            "{step}: {}",
            ran.said()
        );
    }
}

#[test]
fn inputs_named_as_flags_or_variables_are_refused_and_never_panic() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("own")).expect("a folder");
    for name in ["seed", "waive", "inject", "surprise", "log", "run", "token", "step"] {
        folder.write("own/t.yaml", &runbook(&format!("  {name}: {{ type: string }}\n"), WAIT));
        let ran = folder.run(&["--runbooks", "own", "validate", "own/t.yaml"]).exits(3);
        assert!(ran.said().contains("choose another name"), "{}", ran.said());
        folder.run(&["--runbooks", "own", "xx"]).exits(2);
        folder.run(&["--runbooks", "own", "completions", "bash"]).exits(0);
    }
}

#[test]
fn an_estate_file_is_checked_as_one_and_a_runbook_by_its_names() {
    let folder = Folder::new();
    folder.run(&["init"]).exits(0);
    let ran = folder.run(&["validate", "phoenix-dr.yaml"]).exits(0);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("phoenix-dr.yaml: good\n", ""));
    for name in ["DR-001", "failover"] {
        let ran = folder.run(&["validate", name]).exits(0);
        assert!(ran.out.contains("DR-001-regional-failover.yaml: good"), "{}", ran.out);
    }
    folder.run(&["validate", "DR-00x"]).exits(2).says("there is no runbook `DR-00x`");
    folder.write("bad.yaml", &ESTATE.replace("api: 'http://127.0.0.1:2'", "ap: x"));
    let ran = folder.run(&["validate", "bad.yaml"]).exits(2).says("unknown key `ap`");
    assert!(!ran.err.contains("`steps` is missing"), "{}", ran.err);
}

#[test]
fn what_deserves_a_look_in_the_estate_is_shown() {
    let folder = Folder::new();
    folder.write("phoenix-dr.yaml", ESTATE);
    let ran = folder.run(&["validate"]).exits(0);
    assert!(ran.err.contains("the estate has no `state:` section"), "{}", ran.err);
    // What the built-in runbooks would not find there, once for all regions.
    let of = |runbook: &str| ran.err.matches(&format!("{runbook}: step")).count();
    let all = ["DR-001", "DR-002", "OPS-001"].map(of);
    assert!(all.iter().all(|found| *found > 0), "{}", ran.err);
    assert_eq!(all.iter().sum::<usize>(), ran.err.matches("needs `estate.").count());
    assert!(ran.err.contains("needs `estate.database`"), "{}", ran.err);

    folder.run(&["init", "--force"]).exits(0);
    let text = std::fs::read_to_string(folder.path().join("phoenix-dr.yaml")).expect("written");
    let without = text.replace("priority: P0, workload", "priority: P1, workload");
    assert_ne!(without, text);
    folder.write("phoenix-dr.yaml", &without);
    folder.run(&["validate"]).exits(0).says("no P0 service has a workload");
    folder
        .write("phoenix-dr.yaml", &text.replace("escalation: VP Engineering", "escalation: Boss"));
    folder.run(&["validate"]).exits(2).says("`Boss` is no contact's role");
    let balancer: String = text
        .lines()
        .filter(|line| !line.contains("load_balancer:"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_ne!(balancer, text);
    folder.write("phoenix-dr.yaml", &balancer);
    let ran = folder.run(&["failover", "--region", "us-west-2"]).exits(2);
    let said = ran.said();
    assert!(said.contains("`estate.regions.us-west-2.load_balancer`"), "{said}");
    assert!(said.contains("add `load_balancer:` under `regions: us-west-2:`"), "{said}");
}

#[test]
fn init_writes_where_it_is_told_and_keeps_what_was_there() {
    let folder = Folder::new();
    folder.write("phoenix-dr.yaml", "mine");
    folder.write("other.yaml", "other");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
    folder.run(&["--estate", "other.yaml", "init"]).exits(2).says("--force");
    folder.run(&["--estate", "other.yaml", "init", "--force"]).exits(0);
    assert_eq!((read("phoenix-dr.yaml"), read("other.yaml.bak")), ("mine".into(), "other".into()));
    assert!(read("other.yaml").contains("estate: phoenix-production"));
    folder.run(&["--estate", "other.yaml", "init", "third.yaml"]).exits(2).says("named twice");
    assert!(!folder.path().join("third.yaml").exists());
    folder.run(&["init", "--force"]).exits(0);
    assert_eq!(read("phoenix-dr.yaml.bak"), "mine");
    folder.run(&["init", "--force"]).exits(0);
    assert_eq!(read("phoenix-dr.yaml.bak"), "mine", "an older copy is never replaced");
}

#[test]
fn files_that_are_not_there_or_too_large_are_told_alike() {
    let folder = Folder::new();
    folder.write("phoenix-dr.yaml", ESTATE);
    for arguments in [
        &["validate", "nothere.yaml"][..],
        &["run", "nothere.yaml"],
        &["--runbooks", "nothere", "list"],
        &["--runbooks", "nothere", "validate"],
        &["--runbooks", "nothere", "failover", "--region", "us-west-2"],
    ] {
        let ran = folder.run(arguments).exits(2).says("hint:");
        assert!(ran.err.contains("error: cannot read `nothere"), "{arguments:?}: {}", ran.err);
    }
    folder.write("big.yaml", &"#".repeat(9 << 20));
    let ran = folder.run(&["validate", "big.yaml"]).exits(3).says("9.0 MiB; at most 8 MiB");
    assert!(ran.err.contains("help:"), "{}", ran.err);
}

#[test]
fn every_problem_is_told_beside_one_of_shape() {
    let folder = Folder::new();
    let steps = "  - { id: a, needs: [c], action: wait, with: { for: 0s }, colour: red }
  - { id: b, needs: [nothere], action: wiat, timeout: soon }
  - { id: b, action: wait, with: { for: 0s } }
  - { id: c, needs: [a], action: wait, with: { for: 0s } }
";
    folder.write("t.yaml", &format!("runbook: T-1\ntitle: Test\ncommand: test\nsteps:\n{steps}"));
    let ran = folder.run(&["validate", "t.yaml"]).exits(3);
    for words in [
        "unknown key `colour`",
        "expected a length of time",
        "unknown step `nothere`",
        "unknown action `wiat`",
        "two steps have the id `b`",
        "a → c → a",
    ] {
        assert!(ran.err.contains(words), "`{words}` is not in:\n{}", ran.err);
    }
}

#[test]
fn a_wrong_key_hides_nothing_else_that_is_wrong() {
    let folder = Folder::new();
    let steps = "  - { id: a, action: wait, with: { for: 0s }, retrys: 3 }
  - { id: b, action: wait, with: { fro: 0s } }
  - { id: c, action: wait, with: { for: [1] }, timeout: soon }
  - { id: d, needs: [a], action: manual, with: { say: ['${{ steps.e.outputs.evidence }}'] } }
  - { id: e, needs: [d], action: manual, with: { say: [x], evidence: x } }
  - { id: f, action: command.run, with: { argv: [x] } }
  - { id: g, action: command.run, with: { argv: [x] }, verfy: { none: x }, rolback: { none: x } }
";
    let head = "runbook: T-1\ntitle: Test\ncommand: test\n";
    folder.write("t.yaml", &format!("{head}inputs:\n  x: {{ type: strin }}\nsteps:\n{steps}"));
    let ran = folder.run(&["validate", "t.yaml"]).exits(3);
    // Nothing is said of the steps by inputs that could not be read.
    assert!(ran.err.contains("unknown key `retrys`"), "{}", ran.err);
    folder.write("t.yaml", &format!("{head}steps:\n{steps}"));
    let ran = folder.run(&["validate", "t.yaml"]).exits(3);
    folder.write("mended.yaml", &format!("{head}steps:\n{}", mended(steps)));
    let mended = folder.run(&["validate", "mended.yaml"]).exits(3);
    // Every problem that is told once the keys are mended is told at once.
    let told = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("error: "));
        lines.map(str::to_owned).collect()
    };
    let (at_once, later) = (told(&ran.err), told(&mended.err));
    assert!(later.len() >= 4, "{}", mended.err);
    for problem in &later {
        assert!(at_once.contains(problem), "`{problem}` is not in:\n{}", ran.err);
    }
    assert_eq!(at_once.len(), later.len() + 4, "four keys are wrong:\n{}", ran.err);
}

/// The steps with the keys alone put right.
fn mended(steps: &str) -> String {
    let keys = [
        (", retrys: 3", ""),
        (", timeout: soon", ""),
        ("verfy", "verify"),
        ("rolback", "rollback"),
    ];
    keys.into_iter().fold(steps.to_owned(), |text, (wrong, right)| text.replace(wrong, right))
}

#[test]
fn words_are_those_of_the_command_that_was_typed() {
    let folder = Folder::new();
    folder.run(&["init"]).exits(0);
    for arguments in
        [&["show", "--rendered", "DR-001"][..], &["plan", "DR-001"], &["run", "failover"]]
    {
        let ran = folder.run(arguments).exits(2).says("`--set region=…` is required");
        assert!(!ran.err.contains("`--region`"), "{}", ran.err);
    }
    let ran = folder.run(&["failover", "--region", "us-east-1"]).exits(2);
    let said = ran.said();
    assert!(said.contains("give another `--region`: us-west-2"), "{said}");
    assert!(!said.contains("DR-001-regional-failover.yaml:"), "{said}");
    folder.run(&["resume", "NOPE"]).exits(2).says("there is no run `NOPE`");
    let ran = folder.run(&["failover", "--region", "us-west-2", "--override", "x=y"]).exits(2);
    assert!(!ran.err.contains("did you mean"), "{}", ran.err);
}

#[test]
fn a_service_the_estate_does_not_have_is_refused() {
    let folder = Folder::new();
    folder.run(&["init"]).exits(0);
    let step = "  - { id: w, service: Nope, action: wait, with: { for: 0s } }\n";
    folder.write("t.yaml", &format!("runbook: T-1\ntitle: Test\ncommand: test\nsteps:\n{step}"));
    let ran =
        folder.run(&["plan", "t.yaml"]).exits(2).says("`Nope` is not a service of the estate");
    assert!(ran.err.contains("its services: "), "{}", ran.err);
}

#[test]
fn a_rehearsal_that_is_over_is_said_to_be_and_another_asks_for_its_flag() {
    let folder = Folder::new();
    let text = format!("runbook: T-1\ntitle: Test\ncommand: test\nsteps:\n{WAIT}");
    folder.write("t.yaml", &text);
    folder.run(&["run", "t.yaml", "--yes", "--rehearse"]).exits(0);
    let run = |at: usize| {
        let (path, _) = folder.journals().remove(at);
        path.file_name().expect("a run").to_string_lossy().into_owned()
    };
    for flags in [&[][..], &["--rehearse"]] {
        let ran = folder.run(&[&["rollback", &run(0)][..], flags].concat()).exits(2);
        assert!(ran.err.contains("is over") && !ran.err.contains("is a rehearsal"), "{}", ran.err);
    }
    // One that stopped is taken up as what it is alone.
    folder.write("answers.yaml", "go: 'no'\n");
    folder.run(&["run", "t.yaml", "--answers=answers.yaml", "--rehearse"]).exits(13);
    for verb in ["rollback", "resume"] {
        let ran = folder.run(&[verb, &run(0)]).exits(2);
        let said = format!("is a rehearsal, and `{verb}` must say so");
        assert!(ran.err.contains(&said), "{}", ran.err);
        assert!(ran.err.contains(&format!("write phoenix-dr {verb} ")), "{}", ran.err);
        assert!(ran.err.contains(" --rehearse"), "{}", ran.err);
    }
}

#[test]
fn a_live_run_is_not_taken_up_as_a_rehearsal() {
    let folder = Folder::new();
    folder.write(
        "phoenix-dr.yaml",
        "estate: t\nprimary: { region: us-east-1 }\nregions:\n  us-east-1: { api: 'http://127.0.0.1:1' }\n",
    );
    folder.write("t.yaml", &format!("runbook: T-1\ntitle: Test\ncommand: test\nsteps:\n{WAIT}"));
    folder.write("answers.yaml", "go: 'no'\n");
    folder.run(&["run", "t.yaml", "--answers=answers.yaml"]).exits(13);
    let (path, before) = folder.journals().remove(0);
    let run = path.file_name().expect("a run").to_string_lossy().into_owned();
    for verb in ["resume", "rollback"] {
        for more in [&[][..], &["--dry-run"]] {
            let ran = folder.run(&[&[verb, &run, "--rehearse"][..], more].concat()).exits(2);
            assert!(ran.err.contains("is live, not a rehearsal"), "{}", ran.err);
            let hint = format!("leave --rehearse out: phoenix-dr {verb} ");
            assert!(ran.err.contains(&hint), "{}", ran.err);
        }
    }
    assert_eq!(folder.journals().remove(0).1.len(), before.len(), "nothing was written");
    // As what it is, it goes on.
    folder.run(&["resume", &run, "--yes"]).exits(0);
}
