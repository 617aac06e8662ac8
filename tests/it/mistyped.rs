//! What a person mistypes at a rehearsal: all of it is told at once, with where it was looked for and what was meant.

use super::harness::{Folder, Ran, flat};
use super::rehearsal::ANSWERS;

const FAILOVER: [&str; 3] = ["failover", "--region", "us-west-2"];

fn typed(folder: &Folder, more: &[&str]) -> Ran {
    let ran = folder.run(&[&FAILOVER[..], more].concat());
    assert!(!folder.path().join("state/runs").exists(), "nothing begins: {more:?}");
    ran
}

/// Holds that everything of this was said, and nothing twice.
#[track_caller]
fn says(ran: &Ran, all: &[&str]) {
    assert_eq!(ran.exit, 2, "{}", ran.err);
    for said in all {
        assert_eq!(ran.err.matches(said).count(), 1, "`{said}` once in:\n{}", ran.err);
    }
}

#[test]
fn a_file_of_faults_that_cannot_be_had_is_told_as_a_file() {
    let folder = Folder::new();
    let here = folder.path().canonicalize().expect("a folder").display().to_string();
    folder.write("faults.yaml", "- { fault: throttled, service: rds, times: 1 }\n");
    folder.write("empty.yaml", "");
    folder.write("comment.yaml", "# to be filled in\n");
    folder.write("none.yaml", "[]\n");
    std::fs::create_dir(folder.path().join("sets")).expect("a folder");
    folder.write("sets/night.yaml", "[]\n");
    let inject = |text: &str| typed(&folder, &["--rehearse", "--inject", text]);
    let absent = inject("fualts.yaml");
    says(
        &absent,
        &[
            "there is no file of faults `fualts.yaml`",
            &format!("{here} has no file `fualts.yaml`"),
            "did you mean `faults.yaml`?",
        ],
    );
    assert!(!absent.err.contains("is no fault"), "{}", absent.err);
    says(&inject("faults"), &["there is no file of faults `faults`", "mean `faults.yaml`?"]);
    says(&inject("gone/faults.yaml"), &[&format!("there is no folder {here}/gone")]);
    says(&inject("sets"), &["sets is a folder", "name a file in it: sets/night.yaml"]);
    says(&inject("empty.yaml"), &["`empty.yaml` is empty", "is a list: - { fault: "]);
    says(&inject("none.yaml"), &["`none.yaml` lists none", "is a list: - { fault: "]);
    says(&inject("comment.yaml"), &["`comment.yaml` lists none", "is a list: - { fault: "]);
    // Each thing that is wrong in one, and how it is written in place of a command that would not take it.
    folder.write("two.yaml", "- { fault: throtled, service: rds }\n- { fault: dark, regoin: x }\n");
    let two = inject("two.yaml");
    says(&two, &["two.yaml:1:10", "did you mean `throttled`?", "two.yaml:2:", "mean `region`?"]);
    assert!(!two.err.contains("phoenix-dr validate"), "{}", two.err);
    // What might be a fault is told as one.
    says(&inject("throtled"), &["`throtled` is no fault", "did you mean `throttled`?"]);
    // What helps with both is told once.
    let two = typed(&folder, &["--rehearse", "--inject", "qqqqqq", "--inject", "xxxxxx"]);
    says(&two, &["`qqqqqq` is no fault", "`xxxxxx` is no fault", "there are dark, refused"]);
}

#[test]
fn a_world_that_cannot_be_had_is_told_with_what_was_meant() {
    let folder = Folder::new();
    let here = folder.path().canonicalize().expect("a folder").display().to_string();
    folder.write("mine.jsonl", "");
    std::fs::create_dir(folder.path().join("worlds")).expect("a folder");
    folder.write("worlds/june.jsonl", "");
    let absent = [
        "there is no world `mine.yaml`",
        &format!("{here} has no file `mine.yaml`"),
        "did you mean `mine.jsonl`?",
        "world capture --out FILE",
    ];
    says(&typed(&folder, &["--rehearse", "mine.yaml"]), &absent);
    for command in ["show", "validate"] {
        says(&folder.run(&["world", command, "mine.yaml"]), &absent);
    }
    let folders = ["worlds is a folder", "name a file in it: worlds/june.jsonl"];
    says(&typed(&folder, &["--rehearse", "worlds"]), &folders);
    says(&folder.run(&["world", "show", "worlds"]), &folders);
    says(&folder.run(&["world", "show", "pheonix"]), &["did you mean `phoenix`?"]);
    std::fs::write(folder.path().join("packed.jsonl"), b"\x1f\x8b\x08\x00").expect("write it");
    says(&typed(&folder, &["--rehearse", "packed.jsonl"]), &["compressed by gzip", "gunzip"]);
    folder.world("captured.jsonl");
    let text = std::fs::read_to_string(folder.path().join("captured.jsonl")).expect("a world");
    folder.write("marked.jsonl", &format!("\u{feff}{text}"));
    folder.run(&["world", "validate", "marked.jsonl"]).exits(0);
}

#[test]
fn what_is_wrong_with_the_flags_of_a_rehearsal_is_told_as_of_one() {
    let folder = Folder::new();
    let practice = "REHEARSAL: practice in a simulated estate, nothing real is touched";
    // The second is so wrong that nothing can be read of it.
    for wrong in ["--bogus", "--speed=none"] {
        says(&typed(&folder, &["--rehearse", wrong]), &[practice]);
        assert!(!typed(&folder, &[wrong]).err.contains("REHEARSAL"));
    }
}

#[test]
fn every_mistake_in_the_flags_is_told_at_once() {
    let folder = Folder::new();
    let wrong = [
        "--rehearse=phoenix",
        "--inject=throtled@rds",
        "--inject=nofile.yaml",
        "--inject=no_capacity@s3",
        "--surprise=crule",
        "--speed=0",
        "--allow-endpoint-override",
    ];
    let told = typed(&folder, &wrong);
    says(
        &told,
        &[
            "did you mean `throttled`?",
            "no file of faults `nofile.yaml`",
            "`no_capacity` cannot befall s3",
            "'crule' for '--surprise",
            "'0' for '--speed",
            "--allow-endpoint-override is for live runs",
            "try '--help'",
        ],
    );
    let told = typed(&folder, &["--seed=7", "--inject=dark", "--surprise=mild", "--speed=max"]);
    says(&told, &["--seed, --inject, --surprise, --speed are for rehearsals", "add --rehearse"]);
    // Of a world that cannot be read the regions are not known; the rest is told.
    let told =
        typed(&folder, &["--rehearse=gone.yaml", "--inject=dark@rds/Promte,region=us-west-2"]);
    says(&told, &["there is no world `gone.yaml`", "did you mean `Promote`?"]);
    assert!(!told.err.contains("has no region"), "{}", told.err);
}

/// A flag that nobody typed is named as what it was given by.
#[test]
fn a_variable_that_is_for_live_runs_is_named_in_a_rehearsal() {
    let mut folder = Folder::new();
    folder.environment.insert("PHOENIX_DR_ALLOW_ENDPOINT_OVERRIDE".to_owned(), "true".to_owned());
    let told = typed(&folder, &["--rehearse"]);
    says(&told, &["PHOENIX_DR_ALLOW_ENDPOINT_OVERRIDE is for live runs", "unset PHOENIX_DR_"]);
}

#[test]
fn who_goes_on_with_a_rehearsal_is_told_that_it_keeps_its_faults() {
    let folder = Folder::new();
    let told = folder.run(&["resume", "--rehearse", "--inject", "dark@s3", "--seed=7"]);
    says(
        &told,
        &[
            "`resume` takes no --inject: a rehearsal that is gone on with keeps its world",
            "`resume` takes no --seed: ",
            "begin another one with it: phoenix-dr failover --region REGION --rehearse --seed …",
        ],
    );
    assert!(!told.err.contains("as a value"), "{}", told.err);
}

#[test]
fn who_goes_on_with_a_rehearsal_is_told_that_it_keeps_its_estate() {
    let folder = Folder::new();
    folder.write("answers.yaml", "go: 'no'\n");
    let begun = ["--rehearse", "--answers", "answers.yaml"];
    folder.run(&[&FAILOVER[..], &ANSWERS, &begun].concat()).exits(13);
    folder.write("mine.yaml", "estate: mine\n");
    for estate in [&["--estate", "mine.yaml"][..], &["--estate=mine.yaml"]] {
        let told = folder.run(&[&["resume", "--rehearse"], estate].concat());
        says(&told, &["is that of its world; `--estate` names another", "hint: leave it out: "]);
    }
}

#[test]
fn a_rehearsal_without_a_loss_says_how_to_rehearse_one() {
    let folder = Folder::new();
    let world = include_str!("../../src/sandbox/worlds/phoenix.yaml");
    let lost = "  - { fault: dark, region: us-east-1 }\n";
    assert!(world.contains(lost));
    folder.write("healthy.yaml", &world.replace(&format!("faults:\n{lost}"), ""));
    let ran = folder.run(&[&FAILOVER[..], &["--rehearse=healthy.yaml"], &ANSWERS].concat());
    let ran = ran.exits(10);
    let words = flat(&ran.out);
    for said in [
        "nothing of us-east-1 is down in this world",
        "phoenix-dr failover --region us-west-2 --rehearse=healthy.yaml",
        "--inject=dark,region=us-east-1",
    ] {
        assert!(words.contains(said), "`{said}` is not in:\n{}", ran.out);
    }
    let another = Folder::new();
    another.write("healthy.yaml", &world.replace(&format!("faults:\n{lost}"), ""));
    let looks = ["--rehearse=healthy.yaml", "--dry-run", "--inject=dark,region=us-east-1"];
    let looked = another.run(&[&FAILOVER[..], &looks].concat());
    assert_eq!(looked.exit, 0, "{}{}", looked.out, looked.err);
}

#[test]
fn a_file_that_is_taken_for_another_is_told_as_what_it_is() {
    let folder = Folder::new();
    folder.run(&["init"]).exits(0);
    folder.world("captured.jsonl");
    let world = std::fs::read_to_string("src/sandbox/worlds/phoenix.yaml").expect("a world");
    folder.write("world.yaml", &world);
    says(
        &typed(&folder, &["--rehearse", "phoenix-dr.yaml"]),
        &[
            "`phoenix-dr.yaml` is an estate file, not a world",
            "--rehearse --estate phoenix-dr.yaml",
        ],
    );
    for file in ["world.yaml", "captured.jsonl"] {
        let is = format!("`{file}` is a world");
        let check = format!("phoenix-dr world validate {file}");
        let estate = typed(&folder, &["--rehearse", "--estate", file]);
        says(&estate, &[&format!("{is}, not an estate file"), &check, "--rehearse "]);
        let validated = folder.run(&["validate", file]).exits(2);
        let said = validated.said();
        assert!(said.contains(&format!("{is}, neither a runbook nor an estate file")), "{said}");
        assert!(said.contains(&check), "{said}");
        folder.run(&["world", "validate", file]).exits(0);
    }
}
