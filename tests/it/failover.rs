//! DR-001 on the throw-away estate: dry run, live run, second run, refusals.

use std::path::Path;

use serde_json::{Value, json};

use super::dr001::{FAILOVER, live, quick, quick_folder, runbook};
use super::estate::fresh;
use super::harness::{Folder, of_step};

#[test]
fn a_dry_run_shows_everything_and_sends_no_mutating_request() {
    let estate = fresh("{}");
    let folder = estate.folder();
    let ran = folder.run(&["failover", "--region", "us-west-2", "--dry-run"]).exits(0);
    assert!(ran.out.contains("minReplicas: 1 -> 5"), "{}", ran.out);
    assert!(ran.out.contains("weight 100 -> weight 0"), "{}", ran.out);
    assert_eq!(estate.mutating(), Vec::<Value>::new());
    folder
        .run(&["failover", "--region", "us-west-2", "--dry-run", "--detailed-exitcode"])
        .exits(20);
    assert!(folder.journals().is_empty());
}

/// What was said to a database server by the operator's role since `from`, a line each: `log_statement` is `all`.
fn said_to(log: &Path, from: usize) -> Vec<String> {
    let text = std::fs::read_to_string(log).expect("the server's log");
    let mine = text[from..].lines().filter(|line| line.contains(" phoenix_dr@phoenix "));
    let mine = mine.filter_map(|line| line.split_once("LOG:  ").map(|(_, said)| said));
    let statement = |line: &str| {
        let known = line.starts_with("statement: ") || line.starts_with("execute ");
        known.then(|| line.split_once(": ").map_or("", |(_, sql)| sql).trim().to_lowercase())
    };
    mine.filter_map(statement).collect()
}

/// The requests that are counted at the proxy are HTTP; what is said to the databases is in their logs.
#[test]
fn a_dry_run_says_nothing_to_a_database_that_would_change_it() {
    for (options, instances, exit) in [
        ("{}", &["phoenix-dr-replica"][..], 0),
        (r#"{"primary_up": true}"#, &["phoenix-prod"][..], 10),
    ] {
        let estate = fresh(options);
        let folder = estate.folder();
        let logs = Path::new(estate.about("folder").as_str().expect("a folder")).join("postgres");
        let mut begins = Vec::new();
        for instance in instances {
            estate.sql(instance, "alter system set log_statement = 'all'");
            estate.sql(instance, "select pg_reload_conf()");
            // It is carried out some time later; a session that begins with it is followed by none without.
            let logs_all = || estate.sql(instance, "show log_statement") == "all";
            assert!((0..500).any(|_| logs_all()), "{instance} does not log what it is told");
            let log = logs.join(format!("{instance}.log"));
            let text = std::fs::read_to_string(&log).expect("the server's log");
            begins.push((*instance, log, text.len()));
        }
        folder.run(&["failover", "--region", "us-west-2", "--dry-run"]).exits(exit);
        for (instance, log, from) in begins {
            let said = said_to(&log, from);
            let asked = said.iter().filter(|sql| sql.starts_with("select ")).count();
            assert!(asked > 2, "{instance} was asked only this: {said:#?}");
            for sql in &said {
                let begins = sql.starts_with("start transaction ") && sql.contains("read only");
                let reads = sql.starts_with("select ") && !sql.contains("pg_terminate_backend");
                assert!(begins || reads || sql == "rollback", "{instance} was told: {sql}");
            }
        }
    }
}

/// Workloads of the estate's services, and how many replicas each is to have.
const WORKLOADS: [(&str, u64); 9] = [
    ("phoenix-api", 5),
    ("api-gateway", 3),
    ("experiment-controller", 2),
    ("config-generator", 2),
    ("pipeline-operator", 2),
    ("dashboard", 1),
    ("monitoring", 1),
    ("process-simulator", 2),
    ("analytics", 1),
];

#[test]
fn a_live_run_restores_the_platform_and_a_second_one_finds_nothing_to_do() {
    let estate = fresh("{}");
    let folder = estate.folder();
    folder.run(&live(&[])).exits(0);
    let (_, events) = folder.journals().remove(0);
    for step in ["capacity", "database", "repoint", "traffic", "p1", "p2", "p3", "protect"] {
        let ends = of_step(&events, "step_finished", step);
        assert_eq!(ends.len(), 1, "{step}");
        assert_eq!(ends[0]["end"], "done", "{step}");
    }
    let world = estate.world();
    assert_eq!(world["weights"], json!({ "use1": 0, "usw2": 100 }));
    assert_eq!(world["secret"], "phoenix-dr-replica");
    let recovered =
        json!({ "application_may_log_in": true, "in_recovery": false, "running": true });
    assert_eq!(world["databases"]["phoenix-dr-replica"], recovered);
    assert_eq!(world["autoscalers"]["phoenix-api"], 5);
    // What the estate wants of each of its services, and what writes is on the recovered database, all of it.
    for (workload, replicas) in WORKLOADS {
        let wanted = json!({ "ready": replicas, "replicas": replicas });
        assert_eq!(world["workloads"][workload], wanted, "{workload}");
    }
    for (app, replicas) in [("phoenix-api", 5), ("experiment-controller", 2)] {
        let connected = format!("{app} phoenix-dr-replica connected true");
        assert_eq!(world["pods"][connected], replicas, "{app}: {}", world["pods"]);
    }
    let promoted = |estate: &super::estate::Estate| {
        let calls = estate.mutating();
        calls.iter().filter(|call| call.to_string().contains("PromoteReadReplica")).count()
    };
    assert_eq!(promoted(&estate), 1);
    let before = estate.changes().len();
    // Nor anything to ask: the old primary is as dark as before, and that it is unfenced is open already.
    folder.run(&["failover", "--region", "us-west-2", "--yes"]).exits(0);
    assert_eq!(promoted(&estate), 1);
    let (_, events) = folder.journals().remove(0);
    for step in ["capacity", "fence", "database", "repoint", "traffic", "p1", "p2", "p3"] {
        let ends = of_step(&events, "step_finished", step);
        assert_eq!(ends[0]["end"], "satisfied", "{step}");
    }
    // The lease and what was seen, in the state bucket, are all a second run writes.
    assert_eq!(estate.changes().split_off(before), Vec::<Value>::new());
    folder.run(&["audit", "--verify"]).exits(0);
}

#[test]
fn missing_answers_are_named_before_anything_is_changed() {
    let estate = fresh("{}");
    let folder = estate.folder();
    folder.run(&FAILOVER).exits(8).says("--yes").says("--approve database");
    assert_eq!(estate.mutating(), Vec::<Value>::new());
}

#[test]
fn a_primary_that_answers_is_not_failed_over() {
    let estate = fresh(r#"{"primary_up": true}"#);
    let folder = estate.folder();
    folder.run(&live(&[])).exits(10);
    assert_eq!(estate.mutating(), Vec::<Value>::new());
}

/// When a record of a journal was made, in seconds of the day; the first record's is the run's start.
fn second(journal: &Path, wanted: impl Fn(&Value) -> bool) -> f64 {
    let text = std::fs::read_to_string(journal.join("journal.jsonl")).expect("a journal");
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a record"));
    let found = records.into_iter().find(|record| wanted(&record["event"])).expect("the record");
    let time = found["time"].as_str().expect("a time");
    let (_, clock) = time.trim_end_matches('Z').split_once('T').expect("a date and a time");
    clock.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().expect("a number"))
}

#[test]
fn with_the_region_swallowing_packets_the_go_screen_is_there_within_twenty_seconds() {
    let estate = fresh("{}");
    let folder = estate.folder();
    // Nobody may approve the failover: the run ends at the question.
    folder.write("answers.yaml", "go: 'no'\n");
    let ran = folder.run(&live(&["--answers", "answers.yaml"])).exits(13);
    assert_eq!(estate.mutating(), Vec::<Value>::new(), "declined: nothing is changed");
    let (journal, events) = folder.journals().remove(0);
    let seen = events.iter().find(|event| event["kind"] == "gate_seen").expect("the gate was seen");
    assert_eq!(seen["verdict"], "holds", "{}", ran.err);
    let began = second(&journal, |event| event["kind"] == "run_started");
    let asked = second(&journal, |event| {
        event["kind"] == "asked" && event["question"]["key"]["kind"] == "go"
    });
    // Over midnight the day begins anew.
    let waited = (asked - began).rem_euclid(86_400.0);
    assert!(waited < 20.0, "the go screen came after {waited} s");
}

/// A rehearsal's records carry its own time, which no busy machine slows down: whatever is silent, the looks before go
/// end within 15 seconds of it, and 20 seconds after the start there is the go screen or why there is none.
#[test]
fn whatever_swallows_packets_the_looks_before_go_come_to_an_end() {
    let all = ["kubernetes", "route53", "s3", "rds", "sts", "health", "postgres"];
    let each = all.iter().map(|service| vec![*service]);
    for silent in [Vec::new()].into_iter().chain(each).chain([all.to_vec()]) {
        let folder = Folder::new();
        folder.write("answers.yaml", "go: 'no'\n");
        let faults: Vec<String> =
            silent.iter().flat_map(|of| ["--inject".to_owned(), format!("dark@{of}")]).collect();
        let faults: Vec<&str> = faults.iter().map(String::as_str).collect();
        let more = ["--answers", "answers.yaml", "--rehearse", "--speed=max", "--non-interactive"];
        folder.run(&live(&[&more[..], &faults].concat()));
        let (journal, events) = folder.journals().remove(0);
        let at = |kind: &str| {
            let there = events.iter().any(|event| event["kind"] == kind);
            there.then(|| second(&journal, |event| event["kind"] == kind))
        };
        let began = at("run_started").expect("it began");
        let since = |then: f64, now: f64| (now - then).rem_euclid(86_400.0);
        let gate = at("gate_seen").expect("the gate was looked at");
        assert!(since(began, gate) <= 5.0, "{silent:?}: the gate took {}", since(began, gate));
        let looked = at("preflight").expect("the looks came to an end");
        assert!(since(gate, looked) <= 15.0, "{silent:?}: they took {}", since(gate, looked));
        let shown = at("asked").or(at("run_stopped")).expect("asked, or said why not");
        assert!(since(began, shown) <= 20.0, "{silent:?}: after {}", since(began, shown));
        if silent.is_empty() {
            assert!(at("asked").is_some(), "with the region dark alone there is a go screen");
        }
    }
}

#[test]
fn without_capacity_everything_is_rolled_back_to_what_was_captured() {
    let estate = fresh(r#"{"restore_only": true, "capacity": 6, "transition_seconds": 0.3}"#);
    let folder = quick_folder(&estate);
    let long = "timeout: 10m\n    usually: 3m";
    assert!(
        runbook().contains(long),
        "the capacity step's timeout is where this test looks for it"
    );
    let file = folder.path().join("quick.yaml");
    let text = std::fs::read_to_string(&file).expect("the quick copy");
    std::fs::write(&file, text.replacen(long, "timeout: 15s\n    usually: 3m", 1)).expect("write");
    let captured = estate.world();
    let ran = folder.run(&quick(&[])).exits(5);
    let (_, events) = folder.journals().remove(0);
    for step in ["capacity", "restore"] {
        assert_eq!(of_step(&events, "step_started", step).len(), 1, "{step}: {}", ran.err);
        let reverted = of_step(&events, "revert_finished", step);
        assert_eq!(reverted.len(), 1, "{step}: {}", ran.err);
        assert_eq!(reverted[0]["result"]["kind"], "reverted", "{step}: {}", ran.err);
    }
    // Field by field: replicas and their floor, pods and connections, Secret, databases, instances, weights, object.
    estate.settles_into(&captured, "rolled back");
    folder.run(&["audit", "--verify"]).exits(0);
}
