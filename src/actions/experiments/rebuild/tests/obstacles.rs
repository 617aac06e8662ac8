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
