//! What proves the fence of a whole database, what it leaves open, and what somebody else changes at the same moment.

use serde_json::json;

use super::*;
use crate::actions::{observe, perform, revert};
use crate::clients::postgres::testing::{Server, brisk};
use crate::clients::testing;
use crate::runbook::catalogue::actions::ActionName;

const PASSWORD: &str = "operator-secret";

fn call() -> Call {
    let with = json!({ "instance": "phoenix-prod", "region": "us-east-1", "scope": "database" });
    testing::call(ActionName::PostgresFence, with).0
}

async fn server(more: &str) -> Option<(Server, Clients, Armed)> {
    let server = Server::start()?;
    server.prepare().await;
    server.sql("postgres", more).await;
    let armed = Armed::mint();
    let clients = brisk(server.estate(&json!({})), &armed);
    Some((server, clients, armed))
}

async fn fenced(clients: &Clients, armed: &Armed) -> (Observation, Performed) {
    let seen = observe(clients, &call()).await.expect("observed");
    assert!(seen.waiver.is_none() && !seen.satisfied, "{seen:?}");
    let done = perform(clients, armed, &call(), &seen).await.expect("fenced");
    (seen, done)
}

fn open<'a>(done: &'a Performed, id: &str) -> &'a Obligation {
    let found = done.obligations.iter().find(|open| open.id == id);
    found.unwrap_or_else(|| panic!("{id}: {:?}", done.obligations))
}

/// Asks what closes an obligation.
async fn is_closed(server: &Server, open: &Obligation) -> bool {
    let check = open.closed_by.as_ref().expect("a check");
    let sql = check["with"]["sql"].as_str().expect("a text");
    server.text("phoenix", &format!("select ({sql})::text")).await == "true"
}

#[tokio::test]
async fn as_whom_no_write_could_be_tried_is_said_before_anything_is_touched() {
    let Some((server, clients, armed)) = server("select").await else { return };
    let seen = observe(&clients, &call()).await.expect("observed");
    assert!(seen.waiver.is_none(), "the database can be closed");
    let lacks = "as its administrator: grant \"app\" to \"dr\"";
    assert!(seen.evidence.iter().any(|line| line.contains(lacks)), "{:?}", seen.evidence);
    server.application().await.expect("nothing was touched");
    server.sql("postgres", "grant \"app\" to \"dr\"").await;
    let (_, done) = fenced(&clients, &armed).await;
    for proved in [
        "a session as app from before was ended and cannot write",
        "a session as dr from before was ended and cannot write",
        "a write as app failed with SQLSTATE 25006",
        "app and every other role that is no superuser are kept out of phoenix",
    ] {
        assert!(done.notes.iter().any(|line| line == proved), "{proved}: {:?}", done.notes);
    }
    let unproved = |open: &Obligation| open.id.starts_with("unproved-fence");
    assert!(!done.obligations.iter().any(unproved), "{:?}", done.obligations);
}

#[tokio::test]
async fn other_superusers_are_named_with_what_keeps_them_out() {
    let boss = "grant app to dr; create role boss superuser login password 'operator-secret'";
    let Some((server, clients, armed)) = server(boss).await else { return };
    let (seen, done) = fenced(&clients, &armed).await;
    let superusers = open(&done, "superusers-phoenix-prod");
    assert!(superusers.say.contains("boss may still log in"), "{}", superusers.say);
    assert!(superusers.how.contains("alter role \"boss\" nologin"), "{}", superusers.how);
    // They are not held indeed.
    let (boss, _driver) = server.client("boss", PASSWORD, "phoenix").await.expect("it gets in");
    boss.batch_execute("begin read write; insert into orders values (1); commit")
        .await
        .expect("and writes");
    assert!(!is_closed(&server, superusers).await);
    drop(boss);
    let adopted = observe(&clients, &call()).await.expect("observed");
    assert!(adopted.obligations.contains(superusers), "{:?}", adopted.obligations);
    let image = Image { before: seen.live, ours: seen.desired, now: adopted };
    revert(&clients, &armed, &call(), &image).await.expect("given back");
    assert!(is_closed(&server, superusers).await, "nothing is left to be kept from it");
}

#[tokio::test]
async fn a_subscription_that_goes_on_writing_is_named_with_what_ends_it() {
    let Some((mut server, _, armed)) = server("grant app to dr").await else {
        return;
    };
    server.sql("postgres", "create database other").await;
    server
        .while_stopped(|data| {
            let file = std::fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"));
            std::io::Write::write_all(&mut file.expect("opened"), b"wal_level = logical\n")
                .expect("written");
        })
        .await;
    let clients = brisk(server.estate(&json!({})), &armed);
    server
        .sql("other", "create table orders (id int); create publication p for table orders")
        .await;
    server.sql("other", "select pg_create_logical_replication_slot('s', 'pgoutput')").await;
    let subscription = format!(
        "create subscription s connection 'host=127.0.0.1 port={} user=postgres password={PASSWORD} dbname=other' \
         publication p with (create_slot = false, slot_name = 's', copy_data = false)",
        server.address.port()
    );
    server.sql("phoenix", &subscription).await;
    let working = "select (count(*) > 0)::text from pg_stat_subscription where pid is not null";
    while server.text("phoenix", working).await == "false" {
        clients.clock.sleep(Duration::from_millis(50)).await;
    }
    let (_, done) = fenced(&clients, &armed).await;
    let sessions = open(&done, "open-sessions-phoenix-prod");
    for part in ["logical replication worker of postgres (1)", "the subscription s"] {
        assert!(sessions.say.contains(part), "{part}: {}", sessions.say);
    }
    let disable = "in phoenix, read write: alter subscription \"s\" disable";
    assert!(sessions.how.contains(disable), "{}", sessions.how);
    // It is not held indeed.
    server.sql("other", "insert into orders values (9)").await;
    let written = "select (count(*) > 0)::text from orders where id = 9";
    while server.text("phoenix", written).await == "false" {
        clients.clock.sleep(Duration::from_millis(50)).await;
    }
    assert!(!is_closed(&server, sessions).await);
}

/// Waits until a session of this program waits for a lock.
async fn waits(server: &Server, clients: &Clients) {
    let sql = "select (count(*) > 0)::text from pg_stat_activity where application_name = 'phoenix-dr' \
         and wait_event_type = 'Lock'";
    while server.text("postgres", sql).await == "false" {
        clients.clock.sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_somebody_changes_between_the_look_and_the_change_is_not_overwritten() {
    let superuser = "alter role dr superuser; alter database phoenix set work_mem = '5MB'; \
         alter database phoenix connection limit 7";
    let Some((server, clients, armed)) = server(superuser).await else { return };
    let limit = "select datconnlimit::text from pg_database where datname = 'phoenix'";
    let default = "select (setconfig::text like '%read_only%')::text from pg_db_role_setting \
         where setdatabase = (select oid from pg_database where datname = 'phoenix')";
    let (holder, _driver) =
        server.client("postgres", PASSWORD, "postgres").await.expect("it connects");
    let seen = observe(&clients, &call()).await.expect("observed");
    // Its first statement waits for this, after all was read; what is changed meanwhile it would overwrite next.
    let hold = "begin; alter database phoenix set work_mem = '6MB'";
    holder.batch_execute(hold).await.expect("held");
    let meanwhile = async {
        waits(&server, &clients).await;
        server.sql("postgres", "alter database phoenix connection limit 9").await;
        holder.batch_execute("rollback").await.expect("let go");
    };
    let call = call();
    let (done, ()) = futures::join!(Box::pin(perform(&clients, &armed, &call, &seen)), meanwhile);
    let error = done.expect_err("another writer");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None), "{error}");
    assert!(error.message.contains("connection_limit: expected 7, found 9"), "{error}");
    assert_eq!(server.text("postgres", limit).await, "9", "theirs stays");
    assert_eq!(server.text("postgres", default).await, "false", "and nothing of ours was made");

    // The same on the way back.
    let (seen, _) = fenced(&clients, &armed).await;
    let now = observe(&clients, &call).await.expect("observed");
    let image = Image { before: seen.live, ours: seen.desired, now };
    let hold = "begin read write; alter database phoenix set work_mem = '6MB'";
    holder.batch_execute(hold).await.expect("held");
    let meanwhile = async {
        waits(&server, &clients).await;
        server.sql("postgres", "alter database phoenix connection limit 2").await;
        holder.batch_execute("rollback").await.expect("let go");
    };
    let (back, ()) = futures::join!(Box::pin(revert(&clients, &armed, &call, &image)), meanwhile);
    let error = back.expect_err("another writer");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None), "{error}");
    assert_eq!(server.text("postgres", limit).await, "2");
    assert_eq!(server.text("postgres", default).await, "true", "it is closed as it was");
}
