//! Experiments rebuilt from their events by the real binary on a real server: killed between transactions and after each
//! record as well.

use std::time::Duration;

use serde_json::Value;

use super::estate::{Estate, fresh};
use super::harness::{Folder, Ran, of_step, ran};
use super::killed::{KILLED, killer};

const OPTIONS: &str = r#"{"primary_up": true}"#;
const INSTANCE: &str = "phoenix-prod";

/// The built-in runbook.
const RUNBOOK: &str = include_str!("../../runbooks/OPS-001-rebuild-experiments.yaml");

/// A step more, which fails.
const FAILS: &str = r#"
  - id: fails
    title: Fail
    action: command.run
    with: { argv: ["false"], done_when: ["false"] }
    verify: { none: it only fails }
    rollback: { none: it only fails }
    on_failure: rollback

verification:"#;

/// Experiments with three events each; of these, a few are corrupt, and a few rows are other than their events say.
const CONTENT: &str = "\
    insert into lab.experiments (id, name, state, started_at, updated_at, version) \
        select x, 'experiment ' || x, 'running', '2026-01-01 00:00:02Z', '2026-01-01 00:00:02Z', 2 \
        from generate_series(1, 1200) x; \
    insert into lab.experiment_events (experiment_id, sequence, type, payload, happened_at) \
        select x, s, (array['created', 'started', 'completed'])[s], jsonb_build_object('name', 'experiment ' || x), \
        timestamptz '2026-01-01 00:00:00Z' + make_interval(secs => s) \
        from generate_series(1, 1200) x, generate_series(1, 3) s; \
    update lab.experiment_events set type = 'finished' where experiment_id in (5, 600) and sequence = 3; \
    grant usage on schema lab to phoenix_dr; grant all on all tables in schema lab to phoenix_dr";

/// Whoever writes this experiment waits there.
const STOP: &str = "\
    create function lab.stop() returns trigger language plpgsql as \
        'begin perform pg_sleep(600); return new; end'; \
    create trigger stop before update on lab.experiments for each row when (new.id = 700) \
        execute function lab.stop()";

const REBUILD: [&str; 5] =
    ["rebuild-experiments", "--max-corrupt", "2", "--yes", "--non-interactive"];

/// Returns a folder whose estate says where the experiments are.
fn folder(estate: &Estate) -> Folder {
    let schema = std::fs::read_to_string("docs/experiments.sql").expect("the default schema");
    estate.sql(INSTANCE, &format!("create schema lab; set search_path = lab; {schema}"));
    estate.sql(INSTANCE, CONTENT);
    let folder = estate.folder();
    let file = folder.path().join("phoenix-dr.yaml");
    let text = std::fs::read_to_string(&file).expect("the estate file");
    let given = "\ndatabase:\n  experiments:\n    table: { name: lab.experiments }\n    events: { name: lab.experiment_events }\n";
    assert!(text.contains("\ndatabase:\n"));
    std::fs::write(&file, text.replacen("\ndatabase:\n", given, 1)).expect("write");
    folder
}

fn rows(estate: &Estate) -> Value {
    let sql = "select md5(string_agg(x::text, '|' order by id)) from lab.experiments x";
    estate.sql(INSTANCE, sql)
}

/// Returns the rows as they must become: written by the test itself.
fn rebuilt(estate: &Estate) -> Value {
    let sql = "select md5(string_agg(row(id, name, case when id in (5, 600) then 'running' else 'completed' end, null, null, \
        null, null, started_at, case when id not in (5, 600) then started_at + interval '1 s' end, \
        case when id in (5, 600) then started_at else started_at + interval '1 s' end, \
        case when id in (5, 600) then 2 else 3 end)::text, '|' order by id)) from lab.experiments";
    estate.sql(INSTANCE, sql)
}

fn own(estate: &Estate) -> Value {
    let sql = "select count(*) from pg_class where relname like 'phoenix\\_dr\\_experiments%' and relkind = 'r'";
    estate.sql(INSTANCE, sql)
}

#[test]
fn experiments_are_rebuilt_by_a_command_and_nothing_is_above_what_was_accepted() {
    let estate = fresh(OPTIONS);
    let folder = folder(&estate);
    let (before, after) = (rows(&estate), rebuilt(&estate));
    let dry = folder.run(&["rebuild-experiments", "--dry-run"]).exits(0).said();
    for said in
        ["3600 events of 1200 experiments: 1198 to rebuild", "unknown_type 2", "NOTHING WILL BE"]
    {
        assert!(dry.contains(said), "{said}: {dry}");
    }
    let strict = ["rebuild-experiments", "--yes", "--non-interactive"];
    let said = folder.run(&strict).exits(4).said();
    for part in [
        "2 corrupt events and gaps",
        "nothing was written",
        "phoenix-dr rebuild-experiments --max-corrupt 2",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!((rows(&estate), own(&estate)), (before.clone(), 0.into()));
    let (run, _) = folder.journals().remove(0);
    let report = run.join("artifacts/experiments-0.experiments.txt");
    let report = std::fs::read_to_string(report).expect("a report of what was refused");
    assert!(report.contains("600 sequence 3 event"), "{report}");
    // What comes to no good end is taken back.
    std::fs::create_dir(folder.path().join("runbooks")).expect("a folder");
    let fails = RUNBOOK.replacen("\nverification:", FAILS, 1);
    assert_ne!(fails, RUNBOOK);
    folder.write("runbooks/rebuild.yaml", &fails);
    folder.run(&[&["--runbooks", "runbooks"], &REBUILD[..]].concat()).exits(5);
    assert_eq!((rows(&estate), own(&estate)), (before, 0.into()));
    folder.run(&REBUILD).exits(0);
    assert_eq!(rows(&estate), after);
    let (_, events) = folder.journals().remove(0);
    let outputs = &of_step(&events, "attempt_finished", "experiments")[0]["result"]["outputs"];
    assert_eq!((&outputs["rebuilt"], &outputs["unchanged"]), (&1198.into(), &2.into()));
    folder.run(&REBUILD).exits(0);
    let (_, events) = folder.journals().remove(0);
    let outputs = &of_step(&events, "attempt_finished", "experiments")[0]["result"]["outputs"];
    assert_eq!((&outputs["rebuilt"], &outputs["unchanged"]), (&0.into(), &1200.into()));
    assert_eq!(rows(&estate), after);
}

#[test]
fn it_is_rehearsed_with_nothing_at_all() {
    let rehearsed = ["rebuild-experiments", "--rehearse", "--experiments", "17,23"];
    let ran = Folder::new().run(&[&rehearsed[..], &REBUILD[1..]].concat()).exits(0);
    for said in ["REHEARSAL", "phoenix-corrupt", "OPS-001", "nothing real was touched"] {
        assert!(ran.said().contains(said), "{said}: {}", ran.said());
    }
}

#[test]
fn what_keeps_it_from_writing_is_told_before_anything_is_written() {
    let estate = fresh(OPTIONS);
    let mut folder = folder(&estate);
    // Who may read everything lacks nothing of it.
    estate.sql(INSTANCE, "revoke pg_read_all_data from phoenix_dr");
    let before = rows(&estate);
    for (right, of, said) in [
        ("select", "lab.experiment_events", "may not select on lab.experiment_events"),
        ("update", "lab.experiments", "may not update on lab.experiments"),
    ] {
        estate.sql(INSTANCE, &format!("revoke {right} on {of} from phoenix_dr"));
        let ran = folder.run(&REBUILD).exits(10).said();
        assert!(ran.contains(said) && ran.contains(&format!("grant {right} on")), "{ran}");
        assert_eq!((rows(&estate), own(&estate)), (before.clone(), 0.into()));
        estate.sql(INSTANCE, &format!("grant {right} on {of} to phoenix_dr"));
    }
    let password = folder.environment.insert("PHOENIX_DB_PASSWORD".to_owned(), "wrong".to_owned());
    let ran = folder.run(&REBUILD).exits(10).said();
    assert!(ran.contains("password authentication failed"), "{ran}");
    assert_eq!((rows(&estate), own(&estate)), (before, 0.into()));
    folder.environment.insert("PHOENIX_DB_PASSWORD".to_owned(), password.expect("there was one"));
    folder.run(&REBUILD).exits(0);
}

#[test]
fn sigkill_between_two_transactions_and_resume_goes_on_from_there() {
    let estate = fresh(OPTIONS);
    let folder = folder(&estate);
    let after = rebuilt(&estate);
    estate.sql(INSTANCE, STOP);
    let mut child = folder.start(&REBUILD);
    let sleeps = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and application_name = 'phoenix-dr'";
    while estate.sql(INSTANCE, sleeps) != 1 {
        assert!(child.try_wait().expect("looked at").is_none(), "it must wait at 700");
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    estate.sql(INSTANCE, "select count(pg_terminate_backend(pid)) from pg_stat_activity where wait_event = 'PgSleep'");
    estate.sql(INSTANCE, "drop trigger stop on lab.experiments");
    let part = "select position || ' ' || (tally::jsonb ->> 'rebuilt') from phoenix_dr_rebuilds";
    assert_eq!(
        estate.sql(INSTANCE, part),
        "500 499",
        "one transaction was done, and no part of the next"
    );
    let completed = "select count(*) from lab.experiments where state = 'completed'";
    assert_eq!(estate.sql(INSTANCE, completed), 499);
    folder.run(&["resume", "--yes", "--non-interactive"]).exits(0);
    assert_eq!(rows(&estate), after);
    let written = "select string_agg(c::text, ' ' order by first) from \
        (select count(*) c, min(id) first from lab.experiments where id not in (5, 600) group by xmin::text) x";
    let written = estate.sql(INSTANCE, written);
    assert_eq!(written, "499 499 200", "what was written before was not written again");
    let (_, events) = folder.journals().remove(0);
    let attempts = of_step(&events, "attempt_finished", "experiments");
    let outputs = &attempts.last().expect("an attempt")["result"]["outputs"];
    assert_eq!(outputs["rebuilt"], 1198, "{attempts:?}");
}

#[test]
fn sigkill_after_each_record_and_resume_ends_the_same() {
    let estate = fresh(OPTIONS);
    let whole = folder(&estate);
    let after = rebuilt(&estate);
    whole.run(&REBUILD).exits(0);
    assert_eq!(rows(&estate), after);
    let (_, records) = whole.journals().remove(0);
    let mut cut = 0;
    for number in 1..=records.len() {
        // A run that was killed at its end still has the lease.
        estate.post("/reset", OPTIONS);
        let folder = folder(&estate);
        let killed = run_until(&folder, number);
        if killed.exit != KILLED {
            // It needed fewer records this time.
            assert_eq!(killed.exit, 0, "{number}: {}\n{}", killed.out, killed.err);
            continue;
        }
        cut += 1;
        let (_, events) = folder.journals().remove(0);
        if !events.iter().any(|event| event["kind"] == "run_finished") {
            let resumed = folder.run(&["resume", "--yes", "--non-interactive"]);
            assert_eq!(resumed.exit, 0, "{number}: {}\n{}", resumed.out, resumed.err);
        }
        assert_eq!(rows(&estate), after, "killed after {number}");
        assert_eq!(own(&estate), 1, "{number}: it was begun once");
        let (run, _) = folder.journals().remove(0);
        let report = run.join("artifacts/experiments-0.experiments.json");
        let report = std::fs::read_to_string(report).expect("a report");
        let report: Value = serde_json::from_str(&report).expect("JSON");
        assert_eq!(report["findings"].as_array().map(Vec::len), Some(2), "{number}: {report}");
    }
    assert!(cut + 2 >= records.len(), "only {cut} of {} runs were cut", records.len());
}

/// Runs until the record of this number is durable.
fn run_until(folder: &Folder, number: usize) -> Ran {
    let mut command = folder.command(&REBUILD);
    command.env("LD_PRELOAD", killer()).env("KILL_AFTER", format!("\"seq\":{number},"));
    ran(command.output().expect("run the binary"))
}
