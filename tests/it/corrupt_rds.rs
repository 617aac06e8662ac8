//! DR-002 by the real binary on a database of RDS: to its end, killed on its way, with answers that are lost, and back where
//! nothing can be restored.

use std::process::Command;

use serde_json::{Value, json};

use super::corrupt::{application_writes, came_before, damage, settings};
use super::cut::{covers, killed_after_each, of_the_run};
use super::estate::{Estate, Lent, fresh};
use super::harness::{Folder, of_step, ran};
use super::killed::{KILLED, killer};
use super::tools::tools;

const OPTIONS: &str = r#"{"primary_up": true, "transition_seconds": 0.3}"#;
const INSTANCE: &str = "phoenix-prod";
pub(super) const RESTORED: &str = "phoenix-recovered";
/// How a run ends whose failure was taken back, but for the evidence, which is kept.
const ROLLED_BACK: i32 = 14;
/// How a run ends that restored, and nobody knows how much is lost.
const LOSS_UNKNOWN: i32 = 11;
/// How a run ends that went on without a step.
const SKIPPED: i32 = 7;
/// What is requested once, whatever happens on the way.
const ONCE: [&str; 2] = ["CreateDBSnapshot", "RestoreDBInstanceToPointInTime"];

const ANSWERS: [&str; 8] = [
    "--yes",
    "--approve",
    "decide,cut_over,repoint,take_name",
    "--recovery-point",
    "backup:us-east-1",
    "--accept-loss",
    "1d",
    "--non-interactive",
];

pub(super) fn database(extra: &[&str]) -> Vec<String> {
    let asked = ["database", "--since", "10m", "--unverified", "true"];
    let words = [&asked[..], &ANSWERS[..], extra].concat();
    words.into_iter().map(str::to_owned).collect()
}

/// An estate whose database is damaged, and whose application runs beside it.
pub(super) fn damaged() -> Lent {
    let estate = fresh(OPTIONS);
    prepare(&estate);
    estate
}

fn prepare(estate: &Estate) {
    estate.dark("us-east-1.kubernetes", false);
    // A role that is no superuser and has no files, as on RDS; said aloud, so that it can be compared to the byte.
    estate.sql(INSTANCE, "grant pg_read_all_data to phoenix_dr");
    estate.sql(INSTANCE, "grant connect on database phoenix to phoenix_app");
    let rights = estate.sql(
        INSTANCE,
        "select rolsuper or rolreplication from pg_roles where rolname = 'phoenix_dr'",
    );
    assert_eq!(rights, false);
    damage(estate);
}

fn events(folder: &Folder) -> Vec<Value> {
    folder.journals().remove(0).1
}

/// Holds that the application is on the restored instance, and that the damaged one is there, closed.
pub(super) fn recovered(estate: &Estate, said: &str) {
    recovered_by(estate, ONCE, said);
}

/// The same; these operations were requested once each.
fn recovered_by(estate: &Estate, once: [&str; 2], said: &str) {
    for operation in once {
        assert_eq!(estate.requested(operation), 1, "{said}: {operation}");
    }
    assert_eq!(estate.requested("DeleteDBInstance"), 0, "{said}: nothing is deleted");
    let world = estate.settled();
    assert_eq!(world["secret"], RESTORED, "{said}");
    assert_eq!(
        world["pods"][format!("phoenix-api {RESTORED} connected true")],
        1,
        "{said}: {world}"
    );
    assert_eq!(estate.sql(RESTORED, "select count(*) from experiments"), 500, "{said}");
    let fence = "select has_database_privilege('phoenix_app', 'phoenix', 'CONNECT')::text || (select setconfig::text \
         from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase where d.datname = 'phoenix')";
    let fence = estate.sql(INSTANCE, fence);
    assert_eq!(fence, "false{default_transaction_read_only=on}", "{said}: it stays fenced");
}

#[test]
fn a_damaged_database_of_rds_is_kept_as_a_snapshot_and_an_instance_takes_its_place() {
    let estate = damaged();
    let folder = estate.folder();
    let before = settings(&estate);
    let dry = folder.run(&database(&["--dry-run"])).exits(0);
    for said in
        ["snapshot of phoenix-prod", "may connect", "--source-db-instance-identifier phoenix-prod"]
    {
        assert!(dry.out.contains(said), "{said}: {}", dry.out);
    }
    assert_eq!(estate.mutating(), Vec::<Value>::new(), "a dry run only looks");
    assert_eq!(settings(&estate), before, "at the database as well");
    let done = folder.run(&database(&[])).exits(0);
    recovered(&estate, "a whole run");
    let events = events(&folder);
    let of = |step: &str| of_step(&events, "attempt_finished", step)[0].to_string();
    assert!(of("evidence").contains(":snapshot:phoenix-dr-"), "{}", of("evidence"));
    came_before(&events, ("step_finished", "evidence"), ("step_started", "fence"));
    assert!(
        of("assess").contains(r#""damaged_tables":["public.experiments"]"#),
        "{}",
        of("assess")
    );
    // To the instant itself, and not to the latest there is, which has the damage.
    let requests = estate.changes();
    let restore = requests.iter().find(|call| call["action"] == ONCE[1]).expect("requested");
    assert!(of("recovery_point").contains(r#""target":"time 20"#), "{}", of("recovery_point"));
    assert_eq!(restore["region"], "us-east-1", "{restore}");
    assert!(of("restore_instance").contains("the backups of phoenix-prod as of 20"), "{events:?}");
    assert!(of("deep").contains(r#""damaged":false"#), "{}", of("deep"));
    for step in ["restore", "prove", "restore_server", "cut_over"] {
        assert_eq!(of_step(&events, "step_finished", step)[0]["end"], "skipped", "{step}");
    }
    assert!(!done.said().contains("no-evidence"), "{}", done.said());
    // The next run finds on record that this backup can be restored from, and how long that took.
    let listed = folder.run(&["recovery-points", "--output", "json"]);
    let listed: Value = serde_json::from_str(&listed.out).expect("JSON");
    let points = listed["points"].as_array().expect("a list");
    let point = points.iter().find(|point| point["id"] == "backup:us-east-1").expect("listed");
    assert_eq!(point["proved"]["by"], "recovery", "{point}");
    assert_eq!(point["proved"]["took"], point["forecast"], "{point}");
    // What was done is not taken back by itself.
    let back = folder.run(&["rollback", "--yes", "--non-interactive"]);
    assert_ne!(back.exit, 0, "{}", back.said());
    recovered(&estate, "after a rollback");
}

#[test]
fn answers_that_are_lost_cost_no_second_snapshot_and_no_second_instance() {
    let estate = damaged();
    let faults = ONCE.map(|operation| {
        estate.fault(
            &json!({ "service": "rds", "operation": operation, "action": "lost", "times": 1 }),
        )
    });
    let folder = estate.folder();
    folder.run(&database(&[])).exits(0);
    for fault in faults {
        assert_eq!(estate.fired(fault), 1);
    }
    recovered(&estate, "lost answers");
}

#[test]
fn where_nothing_is_restored_the_database_is_opened_again_and_the_snapshot_kept() {
    let estate = damaged();
    let before = settings(&estate);
    estate.fault(&json!({
        "service": "rds", "operation": ONCE[1], "action": "error", "status": 400, "code": "InvalidRestoreFault",
        "message": "it cannot be restored",
    }));
    let folder = estate.folder();
    let ended = folder.run(&database(&[])).exits(ROLLED_BACK);
    assert!(ended.said().contains("it cannot be restored"), "{}", ended.said());
    assert_eq!(settings(&estate), before, "opened as it was");
    assert_eq!(estate.requested("CreateDBSnapshot"), 1);
    assert_eq!(estate.requested("DeleteDBSnapshot"), 0, "the evidence is kept");
    assert_eq!(estate.requested("DeleteDBInstance"), 0);
    let events = events(&folder);
    assert!(of_step(&events, "step_started", "repoint").is_empty());
}

#[test]
fn sigkill_after_each_record_and_resume_requests_each_once() {
    let estate = damaged();
    let folder = estate.folder();
    let resume: Vec<String> = std::iter::once("resume").chain(ANSWERS).map(str::to_owned).collect();
    let cuts = killed_after_each(&folder, &database(&[]), &resume);
    covers(&cuts, &["evidence", "fence", "assess", "recovery_point", "restore_instance"]);
    covers(&cuts, &["prove_server", "repoint", "application", "protect", "deep"]);
    of_the_run(&cuts, &["run_verified"]);
    recovered(&estate, "killed after each record");
}

#[test]
fn a_snapshot_becomes_an_instance_that_takes_over() {
    let estate = damaged();
    let folder = estate.folder();
    // It is of after the damage began, as far as anybody said: how much is lost with it nobody knows.
    let other = |word: String| match word.as_str() {
        "backup:us-east-1" => "snapshot:us-east-1".to_owned(),
        "1d" => "unknown".to_owned(),
        _ => word,
    };
    let words: Vec<String> = database(&[]).into_iter().map(other).collect();
    folder.run(&words).exits(LOSS_UNKNOWN);
    let once = ["CreateDBSnapshot", "RestoreDBInstanceFromDBSnapshot"];
    recovered_by(&estate, once, "of a snapshot");
    assert_eq!(estate.requested(ONCE[1]), 0, "and of nothing else");
    let events = events(&folder);
    let chosen = &of_step(&events, "attempt_finished", "recovery_point")[0]["result"]["outputs"];
    assert_eq!(chosen["kind"], "snapshot", "{chosen}");
    // What was kept as evidence has the damage, and is never what is restored.
    let kept = &of_step(&events, "attempt_finished", "evidence")[0]["result"]["outputs"];
    assert!(!chosen["point"].to_string().contains(":snapshot:phoenix-dr-"), "{chosen} {kept}");
    for step in ["restore_instance", "prove_server", "repoint", "application", "protect", "deep"] {
        assert_eq!(of_step(&events, "step_finished", step)[0]["end"], "done", "{step}");
    }
}

/// A folder whose estate knows a security group that lets nobody in to the primary.
fn cutting_off(estate: &Estate) -> (Folder, String) {
    let group = estate.about("closed_groups")["us-east-1"].as_str().expect("a group").to_owned();
    let folder = estate.folder();
    let file = folder.path().join("phoenix-dr.yaml");
    let text = std::fs::read_to_string(&file).expect("the estate file");
    let primary = "\n    id: phoenix-prod\n";
    assert_eq!(text.matches(primary).count(), 1);
    let known = format!("{primary}    fence_security_group: {group}\n");
    std::fs::write(&file, text.replace(primary, &known)).expect("written");
    (folder, group)
}

/// Returns the security groups of the primary as RDS has them.
fn groups(estate: &Estate, folder: &Folder) -> Vec<String> {
    let rds = &estate.about("endpoints")["us-east-1.rds"];
    let url = format!("http://{}:{}", rds["host"].as_str().expect("a host"), rds["port"]);
    let asked = Command::new(format!("{}/aws", tools()))
        .envs(&folder.environment)
        .args(["rds", "describe-db-instances", "--region", "us-east-1", "--endpoint-url", &url])
        .args(["--db-instance-identifier", INSTANCE, "--output", "json"])
        .args(["--query", "DBInstances[0].VpcSecurityGroups[].VpcSecurityGroupId"])
        .output()
        .expect("the AWS CLI runs");
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let mut groups: Vec<String> = serde_json::from_slice(&asked.stdout).expect("a list");
    groups.sort();
    groups
}

#[test]
fn what_sql_may_not_close_is_cut_off_by_its_security_group_and_let_in_again_in_a_rollback() {
    let estate = damaged();
    estate.sql(INSTANCE, "revoke pg_signal_backend from phoenix_dr");
    let (folder, nobody) = cutting_off(&estate);
    let before = (settings(&estate), groups(&estate, &folder));
    let dry = folder.run(&database(&["--dry-run"])).exits(0);
    for said in [nobody.as_str(), "aws rds reboot-db-instance", "grant pg_signal_backend to"] {
        assert!(dry.out.contains(said), "{said}: {}", dry.out);
    }
    assert_eq!(estate.mutating(), Vec::<Value>::new(), "a dry run only looks");
    // What is cut off from everybody cannot be read either: without an answer for that it is let in again.
    let ended = folder.run(&database(&[])).exits(ROLLED_BACK);
    assert!(ended.said().contains("no answer in"), "{}", ended.said());
    let first = events(&folder);
    let fenced = of_step(&first, "attempt_finished", "fence")[0].to_string();
    for said in ["a connection to ", "failed", nobody.as_str()] {
        assert!(fenced.contains(said), "{said}: {fenced}");
    }
    assert_eq!(estate.requested("RebootDBInstance"), 1, "what was connected is ended");
    assert_eq!((settings(&estate), groups(&estate, &folder)), before, "let in as before");
    application_writes(&estate);
    folder.write("answers.yaml", "failure:assess: 'skip: it is cut off'\n");
    folder.run(&database(&["--answers", "answers.yaml"])).exits(SKIPPED);
    assert_eq!(groups(&estate, &folder), [nobody], "the damaged one lets nobody in");
    let world = estate.settled();
    assert_eq!(world["secret"], RESTORED);
    assert_eq!(world["pods"][format!("phoenix-api {RESTORED} connected true")], 1, "{world}");
    assert_eq!(estate.sql(RESTORED, "select count(*) from experiments"), 500);
    assert_eq!(settings(&estate), before.0, "nothing of it was changed by SQL");
}

/// A folder whose estate gives the restored instance the damaged one's name.
fn renaming(estate: &Estate) -> Folder {
    let folder = estate.folder();
    let file = folder.path().join("phoenix-dr.yaml");
    let text = std::fs::read_to_string(&file).expect("the estate file");
    assert_eq!(text.matches("\n  application:\n").count(), 1);
    let renames = text.replace("\n  application:\n", "\n  application:\n    rename: true\n");
    std::fs::write(&file, renames).expect("written");
    folder
}

/// Holds that the restored instance has the name and the application, and the damaged one another name.
fn renamed(estate: &Estate, folder: &Folder, said: &str) {
    let events = events(folder);
    let taken = of_step(&events, "step_finished", "take_name");
    assert_eq!(taken[0]["end"], "done", "{said}");
    assert_eq!(of_step(&events, "step_finished", "repoint")[0]["end"], "skipped", "{said}");
    for operation in ONCE {
        assert_eq!(estate.requested(operation), 1, "{said}: {operation}");
    }
    let world = estate.settled();
    let databases = world["databases"].as_object().expect("databases");
    let mut kept = databases.keys().filter(|name| name.starts_with("phoenix-prod-damaged-2"));
    let (Some(kept), None) = (kept.next(), kept.next()) else { panic!("{said}: {databases:?}") };
    assert!(!databases.contains_key(RESTORED), "{said}: {databases:?}");
    // The endpoint is what it was, and another server is behind it.
    assert_eq!(world["secret"], "elsewhere", "{said}: nothing was told to the application");
    assert!(world["pods"].to_string().contains("elsewhere connected true"), "{said}: {world}");
    let closed = "select has_database_privilege('phoenix_app', 'phoenix', 'CONNECT')";
    assert_eq!(estate.sql(kept, closed), false, "{said}: the damaged one stays closed");
    assert_eq!(estate.sql(INSTANCE, closed), true, "{said}");
    assert_eq!(estate.sql(INSTANCE, "select count(*) from experiments"), 500, "{said}");
}

#[test]
fn the_restored_instance_takes_the_name_whatever_comes_between() {
    let estate = damaged();
    let folder = renaming(&estate);
    folder.run(&database(&["--dry-run"])).exits(0);
    assert_eq!(estate.mutating(), Vec::<Value>::new(), "a dry run only looks");
    // The first answer is lost, and between the two names RDS asks for patience.
    let change = |more: Value| {
        let mut fault = json!({ "service": "rds", "operation": "ModifyDBInstance", "times": 1 });
        fault.as_object_mut().expect("a fault").extend(more.as_object().expect("more").clone());
        fault
    };
    let lost = estate.fault(&change(json!({ "action": "lost" })));
    let patience = estate.fault(&change(json!({ "action": "throttle", "follows": lost })));
    folder.run(&database(&[])).exits(0);
    assert_eq!((estate.fired(lost), estate.fired(patience)), (1, 1));
    renamed(&estate, &folder, "lost and throttled");
    for kind in ["step_started", "attempt_finished"] {
        estate.post("/reset", OPTIONS);
        prepare(&estate);
        let folder = renaming(&estate);
        let mut command = folder.command(&database(&[]));
        let record = format!("\"event\":{{\"kind\":\"{kind}\",\"step\":\"take_name\"");
        command.env("LD_PRELOAD", killer()).env("KILL_AFTER", record);
        let killed = ran(command.output().expect("run the binary"));
        assert_eq!(killed.exit, KILLED, "{kind}: {}\n{}", killed.out, killed.err);
        folder.run(&[&["resume"], &ANSWERS[..]].concat()).exits(0);
        renamed(&estate, &folder, kind);
    }
}

/// Returns DR-002 as it is rehearsed where a recovery point of RDS is chosen.
fn rehearsed() -> String {
    let text = std::fs::read_to_string("runbooks/DR-002-database-corruption.yaml").expect("DR-002");
    let changes = [
        ("kind: dump\n", "kind: automated_backup\n"),
        (
            "instance: \"${{ estate.database.primary.id }}\"\n          region",
            "instance: \"${{ estate.database.recovered.id }}\"\n          region",
        ),
        ("dump: nightly\n", "dump: \"\"\n"),
        (
            "point: {}\n",
            "point:\n            method: restore_point_in_time\n            source: arn:aws:rds:us-east-1:123456789012:db:phoenix-prod\n            target: phoenix-recovered\n",
        ),
    ];
    changes.into_iter().fold(text, |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replacen(from, to, 1)
    })
}

#[test]
fn what_rds_does_is_rehearsed_in_the_world_of_the_runbook() {
    let folder = Folder::new();
    folder.write("rds.yaml", &rehearsed());
    let answers = ["--yes", "--approve=all", "--non-interactive", "--speed=max"];
    let ran = folder.run(&[&["run", "rds.yaml", "--rehearse"], &answers[..]].concat()).exits(0);
    assert!(!ran.out.contains("LEFT THE SIMULATION"), "{}", ran.out);
    let (_, events) = folder.journals().remove(0);
    for step in
        ["evidence", "restore_instance", "prove_server", "repoint", "application", "protect"]
    {
        assert_eq!(of_step(&events, "step_finished", step)[0]["end"], "done", "{step}");
    }
    let of = |step: &str| of_step(&events, "attempt_finished", step)[0].to_string();
    // Asked of the world, and not played.
    assert!(of("evidence").contains("arn:aws:rds:us-east-1:123456789012:snapshot:"), "{events:?}");
    assert!(of("restore_instance").contains("phoenix-recovered takes writes"), "{events:?}");
}
