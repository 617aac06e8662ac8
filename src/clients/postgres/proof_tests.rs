//! What a server proves, and what it does not: the lost one never passes for the recovered one.

use serde_json::{Value, json};

use super::fence::{Changed, keep};
use super::testing::Server;
use super::*;
use crate::clients::tcp::tests::closed;
use crate::clients::testing;
use crate::ids::RunId;

const PRIMARY: &str = "phoenix-prod";
const REPLICA: &str = "phoenix-dr-replica";

fn run() -> RunId {
    RunId("01RUN".to_owned())
}

/// The estate of a primary and a replica that is reached at an address.
fn estate(server: &Server, replica: &str, roles: &[&str]) -> Value {
    let mut estate = server.estate(&json!({
        "replica": { "id": REPLICA, "region": "us-west-2" },
        "addresses": { REPLICA: replica },
    }));
    estate["database"]["connection"]["application_roles"] = json!(roles);
    estate
}

async fn prove(clients: &Clients, before: Option<&Lineage>) -> Result<Writable, ActionError> {
    prove_writable(clients, REPLICA, "us-west-2", None, &run(), before).await
}

/// Proves as soon as the promotion is over.
async fn proved(clients: &Clients, before: Option<&Lineage>) -> Writable {
    loop {
        match prove(clients, before).await {
            Ok(proved) => return proved,
            Err(error) if error.class == FailureClass::Transient => {
                clients.clock.sleep(Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Fences the primary as the action does, and keeps what that changed.
async fn fence(clients: &Clients) {
    let mut session = connect(clients, PRIMARY, None).await.expect("connects");
    let changed = Changed { setting: Some(None), roles: vec!["app".to_owned()] };
    let mut sql = keep(clients, PRIMARY, &mut session, &changed, true).await.expect("a place");
    sql.push("alter database phoenix set default_transaction_read_only = on".to_owned());
    sql.push("alter role app nologin".to_owned());
    let statements: Vec<_> = sql.into_iter().map(|sql| (sql, Vec::new())).collect();
    session.change(clients, "fence", &statements).await.expect("fenced");
}

/// Waits until a replica has what the primary has.
async fn caught_up(clients: &Clients, replica: &Server, sql: &str) {
    let (look, _driver) =
        replica.client("postgres", "operator-secret", "phoenix").await.expect("it is up");
    while !look.query_one(sql, &[]).await.expect("asked").get::<_, bool>(0) {
        clients.clock.sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_fence_that_came_over_is_lifted_as_it_was_made() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    // It could not log in before, and must not be able to afterwards.
    server.sql("postgres", "create role batch nologin").await;
    let replica = server.replica();
    let estate = estate(&server, &replica.address.to_string(), &["app", "batch"]);
    let (clients, _armed) = testing::armed(estate);
    fence(&clients).await;
    let fenced = "select not rolcanlogin from pg_roles where rolname = 'app'";
    caught_up(&clients, &replica, fenced).await;
    let before = super::server(&clients, REPLICA, None).await.expect("asked");
    assert!(before.in_recovery);
    let early = stands(&clients, REPLICA, None, &run()).await.expect("asked");
    assert!(
        matches!(early, Stands::NotYet { ref why } if why.contains("in recovery")),
        "{early:?}"
    );

    replica.promote();
    let proof = proved(&clients, before.lineage.as_ref()).await;
    assert!(proof.lifted_fence);
    assert_eq!(proof.locked, ["batch"], "who could not log in before still cannot");
    assert_ne!(proof.identity, before.identity(), "a promotion begins a new timeline");
    let app = replica.application().await.expect("the application may log in to it");
    app.execute("insert into orders values (5)", &[]).await.expect("and writes");
    assert_eq!(stands(&clients, REPLICA, None, &run()).await, Ok(Stands::Proved));
    let other = RunId("01OTHER".to_owned());
    let other = stands(&clients, REPLICA, None, &other).await.expect("asked");
    assert!(matches!(other, Stands::NotYet { ref why } if why.contains("01OTHER")), "{other:?}");
    assert!(!proved(&clients, None).await.lifted_fence, "there is nothing left to lift");
    server.application().await.expect_err("the old primary stays fenced");
}

#[tokio::test]
async fn a_replica_is_told_from_what_became_of_another_server() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    let replica = server.replica();
    let estate = estate(&server, &replica.address.to_string(), &["app"]);
    let (clients, _armed) = testing::armed(estate);
    drop(replica.client("postgres", "operator-secret", "postgres").await.expect("it is up"));
    let before = super::server(&clients, REPLICA, None).await.expect("asked");
    let before = before.lineage.expect("PostgreSQL tells");
    replica.promote();
    proved(&clients, Some(&before)).await;
    let other = Lineage { system: "1".to_owned(), ..before.clone() };
    let later = Lineage { timeline: before.timeline + 1, ..before };
    for (before, said) in [(other, "system identifier"), (later, "timeline 2")] {
        let error = prove(&clients, Some(&before)).await.expect_err("another server");
        assert_eq!(error.class, FailureClass::Conflict);
        assert!(error.message.contains(said), "{error}");
        assert!(error.hint.expect("a hint").contains("database.addresses.phoenix-dr-replica"));
    }
}

#[tokio::test]
async fn the_lost_database_does_not_pass_for_the_recovered_one() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    // A wrong address, or a port forward that leads to the old primary, which answers after all.
    let (clients, _armed) = testing::armed(estate(&server, &server.address.to_string(), &["app"]));
    let error = prove(&clients, None).await.expect_err("it is the primary");
    assert_eq!(error.class, FailureClass::Conflict);
    assert!(error.message.contains("leads to the lost database phoenix-prod"), "{error}");
    assert_eq!(leads_to(&clients, REPLICA, PRIMARY).await, Ok(true));
    let nothing = "select to_regclass('phoenix_dr_heartbeat') is null";
    caught_up(&clients, &server, nothing).await;

    let replica = server.replica();
    let mut estate = estate(&server, &replica.address.to_string(), &["app"]);
    let clients = testing::clients(estate.clone());
    drop(replica.client("postgres", "operator-secret", "postgres").await.expect("it is up"));
    assert_eq!(leads_to(&clients, REPLICA, PRIMARY).await, Ok(false));
    estate["database"]["primary"]["address"] = json!(closed().to_string());
    let clients = testing::clients(estate);
    assert_eq!(leads_to(&clients, REPLICA, PRIMARY).await, Ok(false), "nobody there is nobody");
}

#[tokio::test]
async fn what_begins_read_only_is_not_proved_by_writing_all_the_same() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    let replica = server.replica();
    let (clients, _armed) = testing::armed(estate(&server, &replica.address.to_string(), &["app"]));
    drop(replica.client("postgres", "operator-secret", "postgres").await.expect("it is up"));
    replica.promote();
    proved(&clients, None).await;
    replica.sql("postgres", "alter database phoenix set default_transaction_read_only = on").await;
    let error = prove(&clients, None).await.expect_err("every session would have to say otherwise");
    assert_eq!(error.class, FailureClass::Invalid, "{error}");
    let hint = error.hint.expect("a hint");
    assert!(
        hint.contains("alter database \"phoenix\" reset default_transaction_read_only"),
        "{hint}"
    );
    let standing = stands(&clients, REPLICA, None, &run()).await.expect("asked");
    assert!(matches!(standing, Stands::NotYet { .. }), "{standing:?}");
    let app = replica.application().await.expect("connects");
    app.execute("insert into orders values (1)", &[]).await.expect_err("the application cannot");

    // Only what a fence left on record is lifted: nobody knows who locked this one.
    replica
        .sql(
            "postgres",
            "begin read write; alter database phoenix reset default_transaction_read_only; \
        alter role app nologin; commit",
        )
        .await;
    let proof = prove(&clients, None).await.expect("it takes writes");
    assert!(!proof.lifted_fence);
    assert_eq!(proof.locked, ["app"]);
}

#[tokio::test]
async fn who_uses_an_instance_is_seen() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    let (clients, _armed) = testing::armed(server.estate(&json!({})));
    prove_writable(&clients, PRIMARY, "us-east-1", None, &run(), None).await.expect("writes");
    let idle = usage(&clients, PRIMARY, None).await.expect("asked");
    assert!(idle.untouched(), "our own heartbeat is nobody's: {idle:?}");
    let app = server.application().await.expect("connects");
    let used = usage(&clients, PRIMARY, None).await.expect("asked");
    assert_eq!((used.sessions, used.untouched()), (1, false));
    app.execute("insert into orders values (1)", &[]).await.expect("writes");
    drop(app);
    // Statistics are told when a session ends.
    let mut left = used;
    while left.sessions > 0 || left.changed_rows == 0 {
        clients.clock.sleep(Duration::from_millis(20)).await;
        left = usage(&clients, PRIMARY, None).await.expect("asked");
    }
    assert!(!left.untouched(), "what it wrote is still there: {left:?}");
}

#[tokio::test]
async fn an_instance_has_a_way_in_of_its_own() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    let mut estate =
        server.estate(&json!({ "recovered": { "id": "phoenix-recovered", "via": {} } }));
    // The way to everything else leads through a bastion that is gone.
    estate["database"]["via"] = json!({ "command": ["/bin/false"], "ready": "127.0.0.1:1" });
    let clients = testing::clients(estate.clone());
    let error = connect(&clients, PRIMARY, None).await.expect_err("through the bastion");
    assert!(
        matches!(error, NoSession::Failed(ref error) if error.class == FailureClass::Transient)
    );
    estate["database"]["primary"]["via"] = json!({});
    connect(&testing::clients(estate), PRIMARY, None).await.expect("directly");
}
