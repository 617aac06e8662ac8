//! What is in the way is told before anything is written.

use super::*;

async fn refused(lab: &Lab, estate: Value, with: &Value) -> ActionError {
    let (clients, _armed) = testing::armed(estate);
    let error = observe(&clients, &call("01A", with)).await.expect_err("refused");
    assert_eq!(error.effect, Effect::None, "{error}");
    assert_eq!(lab.own().await, "", "nothing was made");
    error
}

fn holds(error: &ActionError, all: &[&str]) {
    for said in all {
        assert!(error.message.contains(said), "{said}: {error}");
    }
}

#[tokio::test]
async fn what_is_misnamed_is_told_all_at_once_with_what_was_meant() {
    let Some(lab) = Lab::open(3).await else { return };
    let estate = lab.estate_with(&json!({
        "table": { "name": "lab.experiment" }, "events": { "name": "lab.experiment_event" },
    }));
    let error = refused(&lab, estate, &json!({})).await;
    assert_eq!(error.class, FailureClass::NotFound);
    holds(
        &error,
        &[
            "no table lab.experiment, did you mean `lab.experiments`?",
            "no table lab.experiment_event, did you mean `lab.experiment_events`?",
        ],
    );
    let bare = "create table lab.bare (id bigint, name text, state int, version text)";
    lab.server.sql("phoenix", bare).await;
    let estate = lab.estate_with(&json!({
        "table": { "name": "lab.bare", "config": null, "error": null, "progress": null, "result": null,
            "started_at": null, "ended_at": null, "updated_at": "updatd_at" },
        "events": { "name": "lab.experiment_events", "sequence": "sequenc", "payload": "type",
            "experiment": "type", "type": "payload" },
    }));
    let error = refused(&lab, estate, &json!({})).await;
    holds(
        &error,
        &[
            "id of lab.bare has no unique index",
            "state of lab.bare is integer, text or an enum is wanted",
            "lab.bare has no column updatd_at (`updated_at`)",
            "version of lab.bare is text, a number is wanted",
            "lab.experiment_events has no column sequenc (`sequence`), did you mean `sequence`?",
            "type of lab.experiment_events is text, json or jsonb is wanted",
            "type of lab.experiment_events is a text, and an experiment's id is a whole number",
            "payload of lab.experiment_events is jsonb, text or an enum is wanted",
        ],
    );
    lab.server.sql("phoenix", "create view lab.seen as select * from lab.experiments").await;
    let estate = lab.estate_with(&json!({
        "table": { "name": "lab.seen" }, "events": { "name": "lab.experiment_events" },
    }));
    holds(&refused(&lab, estate, &json!({})).await, &["lab.seen is no table"]);
}

#[tokio::test]
async fn ids_that_are_nobodys_are_told() {
    let Some(lab) = Lab::open(3).await else { return };
    let error = refused(&lab, lab.estate(), &json!({ "experiments": ["2", "99", "98"] })).await;
    holds(&error, &["nor any event, has the id 98, 99"]);
    let error = refused(&lab, lab.estate(), &json!({ "experiments": "two" })).await;
    holds(&error, &["invalid input syntax for type bigint"]);
    assert_eq!(error.hint.as_deref(), Some("ids of experiments are of the type bigint"));
    let error = refused(&lab, lab.estate(), &json!({ "experiments": " , " })).await;
    holds(&error, &["`experiments` names none"]);
}

#[tokio::test]
async fn rights_that_are_missing_are_told_with_the_grant() {
    let Some(lab) = Lab::open(3).await else { return };
    let take = "revoke all on lab.experiments, lab.experiment_events from dr; \
        grant select on lab.experiments to dr; revoke usage on schema lab from dr; \
        alter table lab.experiment_events enable row level security";
    lab.server.sql("phoenix", take).await;
    let error = refused(&lab, lab.estate(), &json!({})).await;
    assert_eq!(error.class, FailureClass::Denied, "{error}");
    let hint = error.hint.expect("the grants");
    for grant in [
        "grant usage on schema \"lab\" to \"dr\"",
        "grant insert, update, delete on \"lab\".\"experiments\" to \"dr\"",
        "grant select on \"lab\".\"experiment_events\" to \"dr\"",
        "alter role \"dr\" bypassrls",
    ] {
        assert!(hint.contains(grant), "{grant}: {hint}");
    }
    // What is granted is enough.
    let grants = hint.strip_prefix("as its administrator: ").expect("commands");
    lab.server.sql("phoenix", grants).await;
    lab.done("01A", &json!({})).await.expect("rebuilt");
    assert_eq!(lab.wrong().await, "");
}

#[tokio::test]
async fn a_replica_takes_no_writes() {
    let Some(lab) = Lab::open(3).await else { return };
    let replica = lab.server.replica();
    replica.sql("phoenix", "select").await;
    let mut estate = lab.estate();
    estate["database"]["primary"]["address"] = json!(replica.address.to_string());
    let error = refused(&lab, estate, &json!({})).await;
    holds(&error, &["phoenix-prod is a replica, or in recovery"]);
}

#[tokio::test]
async fn a_table_that_changes_what_is_written_is_told_and_not_written() {
    let Some(lab) = Lab::open(3).await else { return };
    let trigger = "create function lab.touch() returns trigger language plpgsql as $$ \
            begin new.updated_at := now(); return new; end $$; \
        create trigger touch before insert or update on lab.experiments for each row \
            execute function lab.touch()";
    lab.server.sql("phoenix", trigger).await;
    let error = lab.done("01A", &json!({})).await.expect_err("other than written");
    holds(&error, &["updated_at other than they were written"]);
    let hint = error.hint.expect("what to do");
    assert!(hint.contains("`database.experiments.table.updated_at: null`"), "{hint}");
    assert_eq!(lab.digest().await, "none", "nothing of it was kept");
    let rule = "drop trigger touch on lab.experiments; \
        create rule no as on insert to lab.experiments do instead nothing";
    lab.server.sql("phoenix", rule).await;
    let error = lab.done("01B", &json!({})).await.expect_err("not written");
    holds(&error, &["took 0 of 3 rows"]);
}

#[tokio::test]
async fn without_a_section_in_the_estate_it_says_so() {
    let Some(lab) = Lab::open(1).await else { return };
    let error = refused(&lab, lab.server.estate(&json!({})), &json!({})).await;
    holds(&error, &["no `database.experiments`"]);
}

#[tokio::test]
async fn a_dry_run_cannot_write() {
    let Some(lab) = Lab::open(3).await else { return };
    let call = call("01A", &json!({}));
    let clients = testing::clients(lab.estate());
    let seen = observe(&clients, &call).await.expect("observed");
    let error = perform(&clients, &Armed::mint(), &call, &seen).await.expect_err("refused");
    assert_eq!((error.class, error.effect), (FailureClass::Refused, Effect::None), "{error}");
    assert_eq!((lab.digest().await.as_str(), lab.own().await.as_str()), ("none", ""));
}

#[tokio::test]
async fn a_lock_that_does_not_come_is_told_with_who_holds_it() {
    let Some(lab) = Lab::open(4).await else { return };
    lab.rows().await;
    let before = lab.digest().await;
    let connected = lab.server.client("postgres", "operator-secret", "phoenix").await;
    let (holder, driver) = connected.expect("connects");
    drop(driver);
    let hold = "begin; update lab.experiments set name = name where id = 2";
    holder.batch_execute(hold).await.expect("held");
    let error = lab.done("01A", &json!({})).await.expect_err("it waits in vain");
    assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::Applied), "{error}");
    holds(
        &error,
        &["(55P03)", "it is held by postgres (pid ", "`postgres-pod`, idle in transaction)"],
    );
    assert!(error.hint.expect("what to do").contains("select pg_terminate_backend("));
    assert_eq!(lab.digest().await, before);
    holder.batch_execute("rollback").await.expect("let go");
    lab.done("01A", &json!({})).await.expect("rebuilt");
    assert_eq!(lab.wrong().await, "");
    // Nor does taking it back wait without a word.
    holder.batch_execute(hold).await.expect("held");
    let error = lab.reverted(&call("01A", &json!({}))).await.expect_err("it waits in vain");
    holds(&error, &["restore experiments of lab.experiments", "it is held by postgres (pid "]);
}

#[tokio::test]
async fn what_accepts_the_corrupt_events_is_the_next_command() {
    let Some(lab) = Lab::open(3).await else { return };
    let harm = "update lab.experiment_events set type = 'x' where sequence = 7";
    lab.server.sql("phoenix", harm).await;
    lab.server.sql("postgres", "create database \"it's\" template phoenix").await;
    lab.server.sql("postgres", "grant create on database \"it's\" to dr").await;
    for (command, with, said) in [
        ("mine", json!({}), "`max_corrupt: 3`"),
        ("rebuild-experiments", json!({}), "`phoenix-dr rebuild-experiments --max-corrupt 3`"),
        (
            "rebuild-experiments",
            json!({ "experiments": ["3", "1"], "database": "it's", "max_corrupt": 1 }),
            "`phoenix-dr rebuild-experiments --experiments 1,3 --database 'it'\\''s' --max-corrupt 2`",
        ),
    ] {
        let (clients, armed) = lab.clients();
        let clients = clients.of_command(command);
        let call = call("01A", &with);
        let seen = observe(&clients, &call).await.expect("observed");
        let error = perform(&clients, &armed, &call, &seen).await.expect_err("too many");
        let hint = error.hint.expect("what to do");
        assert!(hint.contains(said), "{hint}");
    }
}
