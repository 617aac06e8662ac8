//! Restores of single tables: proved, kept from taking over, and brought over by the commands that are told.

use std::process::Command;

use super::super::testing::{Lab, restore_of};
use super::*;
use crate::actions::observe;
use crate::clients::testing;
use crate::runbook::catalogue::actions::ActionName;

const TABLE: &str = "lab.experiments";
const CONTENT: &str = "select md5(string_agg(e::text, ',' order by id)) from lab.experiments e";
const LOGGED: &str = "select count(*)::text from lab.log";
/// The operator owns the table and what leads to it; a trigger tells who writes.
const MORE: &str = "alter table lab.runs alter constraint runs_experiment_fkey deferrable initially deferred; create table lab.log (at timestamptz); \
     create function lab.note() returns trigger language plpgsql as $$ begin \
         insert into lab.log values (now()); return new; end $$; \
     create trigger noted after insert on lab.experiments for each row execute function lab.note(); \
     alter table lab.experiments enable always trigger noted; alter table lab.log owner to dr; \
     alter table lab.experiments add next bigint references lab.experiments deferrable initially deferred; \
     update lab.experiments set next = 200; grant usage on schema lab to dr";
const KEYS: &str = "select count(*)::text from pg_constraint where contype = 'f'";

async fn limited(lab: &Lab, action: ActionName, tables: Value) -> Result<Performed, ActionError> {
    let mut with = match action {
        ActionName::PostgresRestore => restore_of("first", "part"),
        _ => json!({
            "instance": "phoenix-prod", "region": "us-east-1", "database": "part", "dump": "first",
        }),
    };
    with["tables"] = tables;
    lab.done(action, with).await
}

/// Types the commands of what is left open, each in a shell, in one directory.
fn typed(how: &str) {
    let folder = tempfile::tempdir().expect("a directory");
    let commands: Vec<&str> = how.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert_eq!(commands.len(), 2, "{how}");
    for command in commands {
        let ran = Command::new("sh")
            .args(["-c", command])
            .env("PGPASSWORD", "operator-secret")
            .current_dir(folder.path())
            .output()
            .expect("a shell");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success(), "{command}: {said}");
    }
}

#[tokio::test]
async fn rows_of_one_table_are_proved_and_brought_over_by_the_commands_that_are_told() {
    let Some(lab) = Lab::open().await else { return };
    lab.server.sql("phoenix", MORE).await;
    lab.dumped("first").await;
    let before = lab.server.text("phoenix", CONTENT).await;
    let keys = lab.server.text("phoenix", KEYS).await;
    lab.server.sql("phoenix", "update lab.experiments set name = 'lost' where id < 50").await;
    let done = limited(&lab, ActionName::PostgresRestore, json!(TABLE)).await.expect("restored");
    // Killed before it could say what is left to do, it says so when it is looked at.
    let (clients, _armed) = lab.clients();
    let mut with = restore_of("first", "part");
    with["tables"] = json!(TABLE);
    let seen = observe(&clients, &testing::call(ActionName::PostgresRestore, with).0).await;
    assert_eq!(seen.expect("whole").obligations, done.obligations);
    assert_eq!(lab.server.text("part", CONTENT).await, before);
    assert_eq!(lab.server.text("part", "select count(*)::text from lab.runs").await, "0");
    assert_eq!(lab.server.text("part", KEYS).await, "0", "they would lead to nothing");
    let index = "select count(*)::text from pg_indexes where tablename = 'runs_1'";
    assert_eq!(lab.server.text("part", index).await, lab.server.text("phoenix", index).await);
    limited(&lab, ActionName::PostgresProve, json!([TABLE])).await.expect("proved");
    let owed = done.obligations.iter().find(|owed| owed.id == "rows-of-part").expect("owed");
    assert!(owed.say.starts_with("the rows of lab.experiments as of "), "{}", owed.say);
    assert!(
        owed.how.contains("grant \"postgres\" to \"dr\";"),
        "it owns what leads there: {}",
        owed.how
    );
    lab.server.sql("phoenix", "alter table lab.runs owner to dr").await;
    typed(&owed.how);
    assert_eq!(lab.server.text("phoenix", CONTENT).await, before);
    assert_eq!(lab.server.text("phoenix", KEYS).await, keys, "they are back");
    assert_eq!(lab.server.text("phoenix", LOGGED).await, "0", "copied rows set nothing off");
    let fires = "insert into lab.experiments (name) values ('new')";
    lab.server.sql("phoenix", fires).await;
    assert_eq!(lab.server.text("phoenix", LOGGED).await, "1", "and new ones do");
}

#[tokio::test]
async fn a_part_is_no_proof_of_a_dump_and_takes_nobodys_place() {
    let Some(lab) = Lab::open().await else { return };
    lab.dumped("first").await;
    let error = limited(&lab, ActionName::PostgresRestore, json!("lab.experiment, lab.runs"))
        .await
        .expect_err("there is no such table");
    assert_eq!(error.class, FailureClass::NotFound);
    assert!(error.message.ends_with("has no table lab.experiment, lab.runs"), "{error}");
    let hint = error.hint.unwrap_or_default();
    assert!(
        hint.contains("did you mean `lab.experiments`?") && hint.contains("partitions"),
        "{hint}"
    );
    limited(&lab, ActionName::PostgresRestore, json!(TABLE)).await.expect("restored");
    for proof in [
        lab.proved("first", "part").await,
        limited(&lab, ActionName::PostgresProve, json!("lab.runs_1")).await,
    ] {
        let error = proof.expect_err("not of what it holds");
        assert!(error.message.ends_with("holds the rows of lab.experiments alone"), "{error}");
    }
    let kept = || lab.names().into_iter().filter(|name| name == "proofs").count();
    limited(&lab, ActionName::PostgresProve, json!(TABLE)).await.expect("proved");
    assert_eq!(kept(), 0, "neither that it is proved, nor that it is not");
    let with = json!({ "instance": "phoenix-prod", "region": "us-east-1", "restored": "part" });
    let error = lab.done(ActionName::PostgresCutOver, with).await.expect_err("not a database");
    assert!(error.message.contains("part holds the rows of lab.experiments alone"), "{error}");
    // What came other than it was dumped is the dump's fault, and is kept.
    lab.server.sql("part", "delete from lab.experiments where id = 7").await;
    let error = limited(&lab, ActionName::PostgresProve, json!(TABLE)).await.expect_err("differs");
    assert!(error.message.contains("table lab.experiments has 199 rows, the dump 200"), "{error}");
    assert_eq!(kept(), 1);
}
