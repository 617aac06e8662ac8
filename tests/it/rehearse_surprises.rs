//! Surprises: two hundred seeds over all levels. Whatever a seed draws, the rehearsal ends explained.

use std::collections::BTreeMap;

use serde_json::Value;

use super::harness::{Folder, flat};
use super::rehearsal::{ANSWERS, Flown, flown, left_in, on_two_threads, run_of};

const SEEDS: u64 = 200;
const LEVELS: [&str; 3] = ["mild", "hard", "cruel"];

/// Codes a run may end with that has begun; 1, 2, 3 and 12 are defects, and nobody interrupts these.
const ENDS: [i32; 11] = [0, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14];

#[test]
fn two_hundred_surprises_end_explained() {
    let drawn: Vec<(u64, &str)> =
        (0..SEEDS).map(|seed| (seed, LEVELS[seed as usize % 3])).collect();
    let found = on_two_threads(&drawn, |(seed, level)| explained(*seed, level));
    let mut ends: BTreeMap<(&str, i32), u32> = BTreeMap::new();
    let mut wrong = Vec::new();
    for ((seed, level), end) in drawn.iter().zip(found) {
        match end {
            Ok(exit) => *ends.entry((level, exit)).or_default() += 1,
            Err(why) => wrong.push(format!("--surprise {level} --seed {seed}: {why}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {SEEDS}:\n{}", wrong.len(), wrong.join("\n"));
    // Mild is what retries get over.  The others must not all end alike, or nothing was surprising.
    assert!(ends.keys().all(|(level, exit)| *level != "mild" || *exit == 0), "{ends:?}");
    assert!(ends.keys().filter(|(level, _)| *level == "cruel").count() > 1, "{ends:?}");
}

/// Flies one, and says how it ended or what of its end is not explained.
fn explained(seed: u64, level: &str) -> Result<i32, String> {
    let folder = Folder::new();
    let (seed, level) = (format!("--seed={seed}"), format!("--surprise={level}"));
    let mut arguments = vec!["failover", "--region=us-west-2", "--rehearse"];
    // The program decides after a failure, as it does when nobody is there.
    arguments.extend(ANSWERS.iter().filter(|flag| !flag.starts_with("--on-failure")));
    arguments.extend([seed.as_str(), level.as_str()]);
    let flown = flown(&folder, &arguments);
    let exit = flown.ran.exit;
    let said = |what: &str| format!("exit {exit}: {what}\n{}\n{}", flown.ran.out, flown.ran.err);
    if !ENDS.contains(&exit) {
        return Err(said("not a documented end"));
    }
    let all = format!("{}{}", flown.ran.out, flown.ran.err);
    for never in ["panicked", "left the simulation", "LEFT THE SIMULATION", "internal error"] {
        if all.contains(never) {
            return Err(said(never));
        }
    }
    if flown.last()["exit"] != exit {
        return Err(said("the journal has another end"));
    }
    recorded(&flown).map_err(|why| said(&why))?;
    shown(&flown, &folder).map_err(|why| said(&why))?;
    let audited = folder.run(&["audit", "--verify"]);
    if audited.exit != 0 {
        return Err(said(&format!("audit: {}", audited.err)));
    }
    Ok(exit)
}

/// Holds what the journal must have: one end of each step where the run is over, one at most where it can go on.
fn recorded(flown: &Flown) -> Result<(), String> {
    let over = match flown.last()["kind"].as_str() {
        Some("run_finished") => true,
        Some("run_stopped") => false,
        other => return Err(format!("the last record is {other:?}")),
    };
    for step in flown.steps() {
        let ends = flown.of("step_finished", &step).len();
        if ends > 1 || (over && ends != 1) {
            return Err(format!("{step} has {ends} ends"));
        }
    }
    let (promoted, created) = flown.made();
    if promoted > 1 || created > 0 {
        return Err(format!("promoted {promoted} times, created {created}"));
    }
    Ok(())
}

/// Holds what a person is told: the surprise once it is over, what was changed and still is, what to do next.
fn shown(flown: &Flown, folder: &Folder) -> Result<(), String> {
    let out = &flown.ran.out;
    let has = |part: &str| match out.contains(part) {
        true => Ok(()),
        false => Err(format!("`{part}` is not told")),
    };
    has("DEBRIEF OF A REHEARSAL")?;
    has("\nResult ")?;
    has("\nChanged ")?;
    has("\nNext ")?;
    reasons(flown)?;
    if out.lines().any(|line| line.starts_with("Changed ") && !line.ends_with("nothing")) {
        has("\nStill changed ")?;
    }
    if flown.last()["kind"] == "run_finished" {
        // Each rule that was drawn is told, and how often it struck.
        let log = left_in(folder, "world.jsonl");
        let drawn = log[0]["faults"].as_array().expect("the drawn faults").len();
        let rules = out.lines().filter(|line| line.contains("@") && line.contains("from="));
        if rules.count() < drawn {
            return Err("a surprise is not told".to_owned());
        }
        return Ok(());
    }
    has("are told when the rehearsal has come to its end")?;
    if out.contains("from=17s") {
        return Err("a surprise is told before its time".to_owned());
    }
    // What goes on is the first command of the last paragraph, and it does go on.
    let run = run_of(folder);
    let short = run.file_name().expect("a name").to_string_lossy();
    let short = &short[short.len() - 4..];
    let next = out.rsplit("\nNext ").next().unwrap_or_default();
    let first = next.split('#').next().unwrap_or_default().split_whitespace();
    let command: Vec<&str> = first.collect();
    match command[..] {
        ["phoenix-dr", "resume" | "rollback", id, "--rehearse", ..] if id == short => Ok(()),
        _ => Err(format!("the next command is {command:?}")),
    }
}

/// Holds that the timeline has each step that failed, with what it failed with.
fn reasons(flown: &Flown) -> Result<(), String> {
    let told = flat(&flown.ran.out);
    for step in flown.steps() {
        let (ends, failures) = (flown.of("step_finished", &step), flown.of("step_failed", &step));
        let why = match (ends.last(), failures.last()) {
            (Some(end), _) if end["event"]["end"] == "failed" => &end["event"]["reason"],
            (None, Some(failure)) => &failure["event"]["error"]["message"],
            _ => continue,
        };
        // A screen breaks long words.
        let why = why.as_str().ok_or(format!("{step} failed for no reason"))?;
        let why: Vec<&str> = why.split_whitespace().take(2).collect();
        let failed = format!("FAILED: {}", why.join(" "));
        let begins = format!(": {step} ");
        let rows = told.split(" after ").filter(|row| row.contains(&begins));
        if !rows.into_iter().any(|row| row.contains(&failed)) {
            return Err(format!("`{failed}` of {step} is not in the timeline"));
        }
    }
    Ok(())
}

#[test]
fn a_surprise_strikes_the_region_the_run_goes_to() {
    let folder = Folder::new();
    let world = std::fs::read_to_string("src/sandbox/worlds/phoenix.yaml").expect("a world");
    let more = "  regions:\n    ap-south-1: { api: 'https://api.ap-south-1.phoenix.example' }\n";
    let world = world.replacen("  regions:\n", more, 1);
    let world = world.replacen("records: { ", "records: { ap-south-1: aps1, ", 1);
    let record =
        "        - Name: app.phoenix.example.\n          Type: CNAME\n          SetIdentifier: ";
    assert!(world.contains(record));
    let more = format!(
        "{record}aps1\n          Weight: 0\n          TTL: 60\n          \
         ResourceRecords: [{{ Value: api.ap-south-1.phoenix.example }}]\n{record}"
    );
    let world = world.replacen(record, &more, 1);
    let more = "objects:\n  - type: endpoint\n    region: ap-south-1\n    id: api\n    \
                body: { hosts: [api.ap-south-1.phoenix.example], address: 192.0.2.10, ports: [443] }\n";
    folder.write("world.yaml", &world.replacen("objects:\n", more, 1));
    let mut arguments = vec!["failover", "--region=us-west-2", "--rehearse=world.yaml"];
    arguments.extend(ANSWERS);
    arguments.push("--surprise=cruel");
    folder.run(&arguments);
    let log = left_in(&folder, "world.jsonl");
    let drawn = log[0]["faults"].as_array().expect("the drawn faults");
    assert_eq!(drawn.len(), 3);
    assert!(drawn.iter().all(|rule| rule["region"] == "us-west-2"), "{drawn:#?}");
}

/// What was drawn stays a surprise as long as a rehearsal can be gone on with, however it comes to its end.
#[test]
fn a_surprise_that_stopped_a_rehearsal_is_told_once_it_is_over() {
    let (mut rolled_back, mut given_up) = (0, 0);
    for seed in 0..SEEDS {
        if rolled_back > 0 && given_up > 0 {
            return;
        }
        let folder = Folder::new();
        let seed_flag = format!("--seed={seed}");
        let mut arguments = vec!["failover", "--region=us-west-2", "--rehearse", &seed_flag];
        arguments.extend(ANSWERS);
        arguments.push("--surprise=cruel");
        let flown = flown(&folder, &arguments);
        if flown.last()["kind"] != "run_stopped" {
            continue;
        }
        assert_eq!(told(&flown.ran.out), 0, "{seed}: it can be gone on with\n{}", flown.ran.out);
        let run = run_of(&folder);
        let run = run.file_name().expect("a name").to_string_lossy();
        let mut arguments = vec!["rollback", &*run, "--rehearse", "--non-interactive", "--yes"];
        arguments.push("--speed=max");
        let back = folder.run(&arguments);
        let records: Vec<Value> = left_in(&folder, "journal.jsonl");
        if records.last().is_some_and(|last| last["event"]["kind"] == "run_finished") {
            assert_eq!(told(&back.out), 3, "{seed}: exit {}\n{}", back.exit, back.out);
            rolled_back += 1;
            continue;
        }
        assert_eq!(told(&back.out), 0, "{seed}: exit {}\n{}", back.exit, back.out);
        let left = folder.run(&["abandon", &*run, "--reason=enough"]).exits(0);
        assert_eq!(told(&left.out), 3, "{seed}:\n{}", left.out);
        assert!(left.out.contains("DEBRIEF OF A REHEARSAL"), "{seed}:\n{}", left.out);
        assert!(!left.out.contains("are told when"), "{seed}:\n{}", left.out);
        folder.run(&["audit", &*run, "--verify"]).exits(0);
        given_up += 1;
    }
    panic!("of {SEEDS}, {rolled_back} were rolled back and {given_up} given up");
}

/// Counts the rules of a debrief that were drawn: each begins at some time. One that is quoted kept another from striking.
fn told(out: &str) -> usize {
    let words = out.split_whitespace().filter(|word| !word.starts_with('`'));
    words.filter(|word| word.contains('@') && word.contains("from=")).count()
}
