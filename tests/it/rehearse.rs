//! Rehearsals: DR-001 in the simulation from outside, with faults, killed and taken up again.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Folder, flat};
use crate::pty::GO;
use crate::rehearsal::{ANSWERS, run_of, timeless};

fn rehearsed(folder: &Folder, more: &[&str]) -> crate::harness::Ran {
    let mut arguments = vec!["failover", "--region", "us-west-2", "--rehearse"];
    arguments.extend(ANSWERS);
    arguments.extend(more);
    folder.run(&arguments)
}

fn lines_of(path: &std::path::Path) -> usize {
    std::fs::read(path).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
}

#[test]
fn a_failover_is_flown_with_nothing_at_all() {
    let folder = Folder::new();
    let ran = rehearsed(&folder, &[]).exits(0);
    for said in ["REHEARSAL", "restored and verified", "nothing real was touched", "guesses"] {
        assert!(ran.out.contains(said), "{said}: {}", ran.out);
    }
    assert!(ran.err.contains("REHEARSAL"), "{}", ran.err);
    assert!(!ran.out.contains("left the simulation"), "{}", ran.out);
}

/// What a rehearsal left open is closed by the command that is shown, in the rehearsal's own time.
#[test]
fn what_is_open_is_marked_done_as_shown() {
    let folder = Folder::new();
    rehearsed(&folder, &[]).exits(0);
    let shown = folder.run(&["status"]).exits(0).out;
    // What goes on in the next line is pasted as one.
    let shown = shown.replace("\\\n", "");
    let mut command = shown.lines().filter_map(|line| line.split_once("phoenix-dr mark-done "));
    let (_, command) = command.next_back().expect("something is open");
    let mut arguments = vec!["mark-done"];
    let words = command.split_whitespace();
    arguments.extend(words.map(|word| if word == "HOW" { "seen" } else { word }));
    folder.run(&arguments).exits(0);
    let closed = crate::rehearsal::left_in(&folder, "journal.jsonl");
    let times: Vec<i128> = closed.iter().map(crate::rehearsal::instant).collect();
    assert_eq!(closed.last().expect("a record")["event"]["kind"], "obligation_closed");
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn a_rehearsal_that_stopped_is_named_where_only_a_live_run_was_looked_for() {
    let folder = Folder::new();
    rehearsed(&folder, &["--inject=denied@rds/PromoteReadReplica"]);
    let run = run_of(&folder).file_name().expect("a name").to_string_lossy().into_owned();
    let short = &run[run.len() - 4..];
    for (command, next) in [
        (&["resume"][..], format!("resume {short} --rehearse")),
        (&["rollback"], format!("rollback {short} --rehearse")),
        (&["abandon", "--reason=enough of it"], format!("abandon {short} --reason WHY")),
    ] {
        folder.run(command).exits(2).says(&format!("a rehearsal has: phoenix-dr {next}\n"));
    }
}

/// Each fault where DR-001 meets it, with the end it must come to.
#[test]
fn each_fault_ends_as_documented() {
    let table = [
        // What a retry, or a second look, gets over.  From the seventeenth second on the run is past its looks.
        ("throttled@rds/Describe,times=2", 0),
        ("throttled@rds/PromoteReadReplica,times=1", 0),
        ("lost_answer@rds/PromoteReadReplica,times=1", 0),
        ("lost_answer@kubernetes/PATCH,from=17s,times=1", 0),
        ("throttled@kubernetes/PATCH,from=17s,times=1", 0),
        ("refused@postgres,region=us-west-2,from=5m,times=3", 0),
        ("stale@rds/Describe,from=1m,times=2", 0),
        ("latency@kubernetes,delay=2s,times=10", 0),
        ("truncated@rds/Describe,from=2m,times=1", 0),
        // What a person must see to: nothing is rolled back where nobody wants that.
        ("stuck@rds/PromoteReadReplica", 14),
        ("denied@kubernetes/PATCH,region=us-west-2", 10),
        ("denied@rds/PromoteReadReplica", 14),
        ("expired@rds/PromoteReadReplica,times=1", 0),
    ];
    for (fault, end) in table {
        let folder = Folder::new();
        let ran = rehearsed(&folder, &["--inject", fault]);
        assert_eq!(ran.exit, end, "{fault}:\n{}\n{}", ran.out, ran.err);
        let rule = fault.split(',').next().unwrap_or(fault);
        assert!(ran.out.contains(rule), "{fault} is told: {}", ran.out);
        assert!(!ran.out.contains(&format!("{fault} never struck")), "{fault}: {}", ran.out);
    }
}

#[test]
fn an_estate_without_services_is_not_failed_over() {
    let folder = Folder::new();
    let world = include_str!("../../src/sandbox/worlds/phoenix.yaml");
    let (head, rest) = world.split_once("  services:\n").expect("services");
    let (_, rest) = rest.split_once("  objectives:\n").expect("what comes after them");
    folder.write("bare.yaml", &format!("{head}  objectives:\n{rest}"));
    let refused = folder.run(
        &[&["failover", "--region", "us-west-2", "--rehearse=bare.yaml"], &ANSWERS[..]].concat(),
    );
    let said = refused.exits(10).said();
    assert!(said.contains("it scales nothing: the estate has no `services`"), "{said}");
    assert!(said.contains("Changed nothing"), "{said}");
}

/// Nobody is asked, and no recovery point is back in time: what each costs is told, and nothing is taken.
#[test]
fn what_the_recovery_points_cost_is_told_where_none_is_taken() {
    let folder = Folder::new();
    let world = include_str!("../../src/sandbox/worlds/phoenix.yaml");
    let hasty = world.replace("P0: { rto: 30m, rpo: 5m }", "P0: { rto: 2m, rto_max: 3m, rpo: 5m }");
    assert_ne!(hasty, world);
    folder.write("hasty.yaml", &hasty);
    let answers: Vec<&str> =
        ANSWERS.into_iter().filter(|flag| !flag.starts_with("--recovery-point")).collect();
    let flags = ["failover", "--region", "us-west-2", "--rehearse=hasty.yaml"];
    let refused = folder.run(&[&flags[..], &answers].concat()).exits(8);
    let said = refused.said();
    for part in ["which loses takes data back undo", "of 0:03 LATE", "NO", "--recovery-point ID"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains("replica loses") && said.contains("cannot be undone"), "{said}");
    // Before anything begins as well, where more than that is missing.
    let folder = Folder::new();
    folder.write("hasty.yaml", &hasty);
    let refused =
        folder.run(&[&flags[..], &["--non-interactive", "--speed=max"]].concat()).exits(8);
    assert!(refused.said().contains("of 0:03 LATE"), "{}", refused.err);
}

#[test]
fn a_fault_that_never_struck_is_told_with_why() {
    let folder = Folder::new();
    let inject = [
        "--inject=denied@rds/DeleteDBInstance",
        "--inject=denied@rds/PromoteReadReplica,until=1s",
        "--inject=throttled@rds/PromoteReadReplica,spare=9",
        "--output=json",
    ];
    let ran = rehearsed(&folder, &inject).exits(0);
    let debrief: Value =
        serde_json::from_str(ran.out.lines().last().expect("a debrief")).expect("JSON");
    let never = debrief["world"]["never_struck"].as_array().expect("a list");
    let because: Vec<&str> = never.iter().filter_map(|never| never["because"].as_str()).collect();
    assert_eq!(because, ["other_operations", "too_late", "spared"], "{never:#?}");
    assert_eq!(never[1]["fault"], "denied@rds/PromoteReadReplica,until=1s");
    assert_eq!(never[1]["said"], "what it names was called for the first time after 1s");
}

/// Returns how long a step took in virtual time, from its first attempt to its end.
fn took(folder: &Folder, step: &str) -> i128 {
    let told = told(folder);
    let of = |kind: &str| told.iter().find(|(is, of, _)| is == kind && of == step).expect(kind).2;
    (of("step_finished") - of("step_started")) / 1_000_000_000
}

#[test]
fn what_is_refused_for_a_moment_costs_a_moment() {
    let undisturbed = Folder::new();
    rehearsed(&undisturbed, &[]).exits(0);
    let usual = took(&undisturbed, "database");
    for fault in ["throttled", "refused"] {
        let folder = Folder::new();
        let fault = format!("{fault}@rds/PromoteReadReplica,times=3");
        rehearsed(&folder, &["--inject", &fault]).exits(0);
        let more = took(&folder, "database") - usual;
        assert!((1..60).contains(&more), "{fault}: {more} s more than {usual} s");
    }
}

#[test]
fn past_the_promotion_nothing_offers_a_rollback_that_would_be_refused() {
    let folder = Folder::new();
    rehearsed(&folder, &["--inject", "stuck@rds/PromoteReadReplica"]).exits(14);
    folder
        .run(&["rollback", "--rehearse", "--yes"])
        .exits(14)
        .says("nothing of this run can be reverted");
    for arguments in [&[][..], &["status"]] {
        let ran = folder.run::<&str>(arguments).exits(0);
        assert!(ran.out.contains("phoenix-dr resume"), "{}", ran.out);
        assert!(!ran.out.contains("phoenix-dr rollback"), "{}", ran.out);
    }
    let ran = rehearsed(&folder, &[]).exits(9).says("phoenix-dr resume");
    assert!(!ran.err.contains("phoenix-dr rollback"), "{}", ran.err);
}

#[test]
fn a_restore_that_is_stuck_is_not_waited_for_twice() {
    let folder = Folder::new();
    let mut arguments =
        vec!["failover", "--region", "us-west-2", "--rehearse", "--recovery-point=backup"];
    arguments.extend(ANSWERS.iter().filter(|flag| !flag.starts_with("--recovery-point")));
    arguments.extend(["--accept-loss=1h", "--inject=stuck@rds/RestoreDBInstanceToPointInTime"]);
    folder.run(&arguments).exits(14).says("still");
    let told = told(&folder);
    let attempts =
        told.iter().filter(|(kind, step, _)| kind == "step_started" && step == "restore");
    assert_eq!(attempts.count(), 1);
}

#[test]
fn without_named_resolvers_this_hosts_own_tells_that_traffic_has_moved() {
    let folder = Folder::new();
    let world = std::fs::read_to_string("src/sandbox/worlds/phoenix.yaml").expect("a world");
    let kept = world.lines().filter(|line| !line.trim().starts_with("resolvers:"));
    let text: String = kept.flat_map(|line| [line, "\n"]).collect();
    assert_ne!(text, world);
    folder.write("world.yaml", &text);
    let mut arguments = vec!["failover", "--region", "us-west-2"];
    arguments.extend(ANSWERS);
    arguments.push("--rehearse=world.yaml");
    folder.run(&arguments).exits(0);
}

#[test]
fn killed_and_taken_up_again() {
    for at in [3, 20, 33, 45, 58] {
        let folder = Folder::new();
        let mut arguments = vec!["failover", "--region", "us-west-2", "--rehearse"];
        arguments.extend(ANSWERS.iter().filter(|flag| **flag != "--speed=max"));
        arguments.push("--speed=3000");
        let mut child = folder.start(&arguments);
        let began = Instant::now();
        loop {
            let runs = folder.path().join("state/runs");
            let journal = std::fs::read_dir(runs).ok().and_then(|mut runs| runs.next()?.ok());
            let journal = journal.map(|run| run.path().join("journal.jsonl"));
            if journal.is_some_and(|journal| lines_of(&journal) >= at) {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(120), "never came to record {at}");
            std::thread::yield_now();
        }
        child.kill().expect("killed");
        child.wait().expect("gone");
        let run = run_of(&folder);
        let name = run.file_name().expect("a name").to_string_lossy().into_owned();
        folder.run(&["resume", &name, "--non-interactive"]).exits(2).says("is a rehearsal");
        let mut arguments = vec!["resume", name.as_str(), "--rehearse"];
        arguments.extend(ANSWERS);
        let resumed = folder.run(&arguments).exits(0);
        assert!(resumed.out.contains("restored and verified"), "{at}: {}", resumed.out);
        let log = std::fs::read_to_string(run.join("world.jsonl")).expect("a log");
        let promoted = log.lines().filter(|line| {
            line.contains("\"put\"")
                && line.contains("\"DBInstanceStatus\":\"modifying\"")
                && line.contains("rebooting")
        });
        assert_eq!(promoted.count(), 1, "promoted once, killed at {at}");
    }
}

/// What a process that holds a rehearsal writes is no other's to read half, to cut off, or to add to.
#[test]
fn a_rehearsal_is_taken_up_by_one_process_at_a_time() {
    let folder = Folder::new();
    folder.write("answers.yaml", "go: 'no'\n");
    rehearsed(&folder, &["--answers=answers.yaml"]).exits(13);
    let run = run_of(&folder);
    let name = run.file_name().expect("a name").to_string_lossy().into_owned();
    let resume = [&["resume", name.as_str(), "--rehearse"][..], &ANSWERS].concat();
    let world = run.join("world.jsonl");
    // A line that is just being written.
    let mut whole = std::fs::read(&world).expect("a world");
    whole.extend(b"{\"kind\":\"clock\",");
    std::fs::write(&world, &whole).expect("written");
    let lock = std::fs::OpenOptions::new().write(true).open(run.join("run.lock")).expect("a lock");
    lock.lock().expect("it is free");
    folder.run(&resume).exits(9).says("is held by");
    folder.run(&["rollback", &name, "--rehearse", "--yes"]).exits(9).says("is held by");
    folder.run(&["resume", &name, "--rehearse", "--dry-run"]).exits(0);
    assert_eq!(std::fs::read(&world).expect("a world"), whole);
    drop(lock);
    // Two at once: one goes on, the other names it.
    let slow: Vec<&str> = resume.iter().copied().filter(|flag| *flag != "--speed=max").collect();
    let mut first = folder.start(&[&slow[..], &["--speed=1"]].concat());
    let began = Instant::now();
    while lines_of(&world) <= whole.iter().filter(|byte| **byte == b'\n').count() {
        assert!(began.elapsed() < Duration::from_secs(120), "it never went on");
        std::thread::yield_now();
    }
    folder.run(&resume).exits(9).says("is held by");
    first.kill().expect("killed");
    first.wait().expect("gone");
    folder.run(&resume).exits(0);
}

/// Returns every event's kind and step, with its instant counted from the first one.
fn told(folder: &Folder) -> Vec<(String, String, i128)> {
    let text = std::fs::read_to_string(run_of(folder).join("journal.jsonl")).expect("a journal");
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a record"));
    let mut began = None;
    let of = |record: Value| {
        let part = |at: &str| record.pointer(at).and_then(Value::as_str).unwrap_or("").to_owned();
        let time: jiff::Timestamp = part("/time").parse().expect("an instant");
        let since = time.as_nanosecond() - *began.get_or_insert(time.as_nanosecond());
        (part("/event/kind"), part("/event/step"), since)
    };
    records.map(of).collect()
}

#[test]
fn the_same_seed_gives_the_same_output_byte_for_byte() {
    let flown = || {
        let folder = Folder::new();
        let ran = rehearsed(&folder, &["--seed=7", "--output=json"]).exits(0);
        timeless(&ran.out)
    };
    let first = flown();
    assert!(first.len() > 60, "{first:#?}");
    assert!(first.last().is_some_and(|last| last.contains("phoenix-dr/debrief")), "{first:#?}");
    let second = flown();
    for (one, other) in first.iter().zip(&second) {
        assert_eq!(one, other);
    }
    assert_eq!(first.len(), second.len());
}

#[test]
fn surprises_end_as_their_level_says_and_are_told_at_the_end() {
    // By seed; the second hard one is not allowed to protect the database again.
    for (level, ends) in [("mild", [0, 0, 0, 0]), ("hard", [0, 7, 0, 0])] {
        for (seed, end) in (1..).zip(ends) {
            let folder = Folder::new();
            let surprise = format!("--surprise={level}");
            let ran = rehearsed(&folder, &[&surprise, &format!("--seed={seed}")]);
            assert_eq!(ran.exit, end, "{level} {seed}:\n{}", ran.out);
            assert!(ran.out.contains("from=17s"), "{level} {seed} is told: {}", ran.out);
            assert!(!ran.err.contains("from=17s"), "{level} {seed} is a surprise: {}", ran.err);
        }
    }
}

#[test]
fn a_surprise_stays_one_while_the_rehearsal_can_be_gone_on_with() {
    let folder = Folder::new();
    let more = ["--surprise=mild", "--seed=3", "--inject=denied@rds/PromoteReadReplica"];
    let ran = rehearsed(&folder, &more).exits(14);
    assert!(ran.out.contains("are told when the rehearsal has come to its end"), "{}", ran.out);
    assert!(!ran.out.contains("from=17s"), "{}", ran.out);
}

#[test]
fn a_loss_that_is_accepted_as_advised_is_enough() {
    let mut arguments =
        vec!["failover", "--region", "us-west-2", "--rehearse", "--recovery-point=snapshot"];
    arguments.extend(ANSWERS.iter().filter(|flag| !flag.starts_with("--recovery-point")));
    let refused = Folder::new().run(&arguments).exits(8);
    // Where the line ends is nobody's concern.
    let said = flat(&refused.err);
    let rest = said.split("--accept-loss ").nth(1).expect("advice");
    let advised = rest.split_whitespace().next().expect("a length of time").trim_matches('`');
    let flag = format!("--accept-loss={advised}");
    arguments.push(&flag);
    let folder = Folder::new();
    // More is lost than the objective allows, as was accepted.
    folder.run(&arguments).exits(11);
    assert!(took(&folder, "restore") > 60);
}

#[test]
fn a_person_is_asked_what_a_live_run_asks() {
    let folder = Folder::new();
    let arguments = ["failover", "--region", "us-west-2", "--rehearse", "--speed=max"];
    let mut person = folder.at_terminal(&arguments);
    person.asked(GO).types("y");
    person.asked_about("? Choose the recovery point", "Which?").types("1");
    person
        .asked_about("? Cannot be done: Fence the old primary", "Type unfenced")
        .types("unfenced");
    person.asked_about("? Bring the database up", "Type us-west-2").types("us-west-2");
    person.asked_about("? Move traffic to us-west-2", "Do it? [y/n]").types("y");
    let left = person.exits(0).shows("restored and verified");
    for said in ["REHEARSAL", "DEBRIEF OF A REHEARSAL: nothing real was touched", "after "] {
        assert!(left.all.contains(said), "{said}:\n{}", left.all);
    }
    let allowed =
        |row: &&String| row.trim_start().starts_with('$') || row.starts_with("REHEARSAL ");
    let long: Vec<&String> = left.ran_over.iter().filter(|row| !allowed(row)).collect();
    assert!(long.is_empty(), "rows that are too long: {long:#?}");
}

#[test]
fn a_rehearsal_whose_world_is_damaged_can_be_given_up() {
    let folder = Folder::new();
    rehearsed(&folder, &["--inject=denied@rds/PromoteReadReplica"]).exits(14);
    let run = run_of(&folder);
    let world = std::fs::read_to_string(run.join("world.jsonl")).expect("a world");
    std::fs::write(run.join("world.jsonl"), world.replacen('\n', "\n{}\n", 1)).expect("damaged");
    let run = run.file_name().expect("a name").to_string_lossy().into_owned();
    let refused = folder.run(&["resume", &run, "--rehearse", "--yes"]);
    assert!(refused.err.contains("is damaged at line 2"), "{}", refused.err);
    let hint = refused.err.split("phoenix-dr abandon ").nth(1).expect("a hint");
    let short = hint.split_whitespace().next().expect("a run");
    let given_up = folder.run(&["abandon", short, "--reason=its world is damaged"]).exits(0);
    assert!(given_up.out.contains("is abandoned"), "{}", given_up.out);
    let refused = folder.run(&["resume", &run, "--rehearse", "--yes"]);
    assert!(refused.err.contains("is over"), "{}", refused.err);
}

#[test]
fn wrong_usage_is_told() {
    let folder = Folder::new();
    let failover = ["failover", "--region", "us-west-2"];
    let with = |more: &[&str]| folder.run(&[&failover[..], more].concat());
    with(&["--seed", "7"]).exits(2).says("--seed is for rehearsals");
    with(&["--rehearse", "pheonix"]).exits(2).says("did you mean `phoenix`?");
    with(&["--rehearse", "--inject", "throtled@rds"]).exits(2).says("did you mean `throttled`?");
    with(&["--rehearse", "--inject", "dark,region=us-west-1"])
        .exits(2)
        .says("no region `us-west-1`");
    let detailed = with(&["--rehearse", "--detailed-exitcode"]).exits(2);
    assert!(detailed.err.contains("--detailed-exitcode is for dry runs"), "{}", detailed.err);
    assert!(detailed.err.contains("add --dry-run"), "{}", detailed.err);
    with(&["--rehearse", "--detailed-exitcode", "--dry-run"]).exits(20);
    // Everything that can never strike is told at once, with its place, and nothing begins.
    folder.write(
        "faults.yaml",
        "- { fault: stale, service: rds }\n- fault: stale\n  service: kubernetes\n",
    );
    let inject = [
        "--rehearse",
        "--inject=dark@rds/Promte,times=0",
        "--inject=faults.yaml",
        "--inject=dark@route53,region=us-west-2",
    ];
    let told = with(&inject).exits(2);
    for said in [
        "--inject:1:10",
        "did you mean `Promote`?",
        "`times` 0 strikes nothing",
        "faults.yaml:2:10",
        "`stale` cannot befall kubernetes",
        "route53 lives in us-east-1 alone",
    ] {
        assert!(told.err.contains(said), "{said}: {}", told.err);
    }
    assert!(!folder.path().join("state/runs").exists());
    with(&["--rehearse", "--allow-endpoint-override"]).exits(2).says("live runs");
    with(&["--rehearse", "phoenix", "--estate", "x.yaml"]).exits(2).says("estate from its world");
    with(&["--rehearse", "--estate", "x.yaml"]).exits(2).says("cannot read `x.yaml`");
}
