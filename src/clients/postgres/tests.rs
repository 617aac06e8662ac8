//! Connections to a real server, its refusals, and what it proves.

use serde_json::json;
use tokio_postgres::error::SqlState;

use super::error::class;
use super::replay::replay;
use super::testing::{OPERATOR, Server};
use super::*;
use crate::clients::tcp::tests::{BlackHole, closed};
use crate::clients::testing;
use crate::ids::RunId;
use crate::outcome::Effect;

fn sqlstate(code: &str) -> FailureClass {
    class(&SqlState::from_code(code))
}

#[test]
fn every_sqlstate_has_a_class() {
    for (code, wanted) in [
        ("28P01", FailureClass::Credentials),
        ("28000", FailureClass::Credentials),
        ("42501", FailureClass::Denied),
        ("57P03", FailureClass::Transient),
        ("57P01", FailureClass::Transient),
        ("53300", FailureClass::Transient),
        ("25006", FailureClass::Transient),
        ("55P03", FailureClass::Transient),
        ("40001", FailureClass::Transient),
        ("3D000", FailureClass::Invalid),
        ("42601", FailureClass::Invalid),
    ] {
        assert_eq!(sqlstate(code), wanted, "{code}");
    }
}

#[test]
fn quotes_what_it_names() {
    assert_eq!(identifier("a\"b; drop"), "\"a\"\"b; drop\"");
    assert_eq!(literal("it's"), "'it''s'");
    assert_eq!(literal("a\\'"), "E'a\\\\'''");
}

fn estate(address: &str, connection: serde_json::Value) -> serde_json::Value {
    json!({ "database": {
        "name": "phoenix",
        "primary": { "id": "phoenix-prod", "region": "us-east-1", "address": address },
        "recovered": { "id": "phoenix-recovered" },
        "connection": connection,
    } })
}

#[tokio::test]
async fn what_cannot_be_reached_is_told_from_what_says_no() {
    let plain = json!({ "user": "dr", "password_from": { "env": "PATH" }, "tls": "disable" });
    let hole = BlackHole::dig();
    for address in [closed(), hole.address] {
        let clients = testing::clients(estate(&address.to_string(), plain.clone()));
        let error = connect(&clients, "phoenix-prod", None).await.expect_err("nobody there");
        assert!(matches!(error, NoSession::Unreachable { .. }), "{error:?}");
        let error = ActionError::from(error);
        assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::None));
    }
    let clients = testing::clients(estate("db.no-such-host.invalid:5432", plain.clone()));
    let error =
        connect(&clients, "phoenix-prod", None).await.expect_err("plain text to another host");
    assert!(
        matches!(error, NoSession::Failed(ref error) if error.class == FailureClass::Invalid),
        "{error:?}"
    );
    let no_root = json!({ "user": "dr", "password_from": { "env": "PATH" } });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    let clients = testing::clients(estate(&address, no_root));
    let error =
        ActionError::from(connect(&clients, "phoenix-prod", None).await.expect_err("no trust"));
    assert!(error.message.contains("root_cert"), "{error}");
    let unset =
        json!({ "user": "dr", "password_from": { "env": "PHOENIX_DR_NOT_SET" }, "tls": "disable" });
    let clients = testing::clients(estate(&address, unset));
    let error =
        ActionError::from(connect(&clients, "phoenix-prod", None).await.expect_err("no password"));
    assert_eq!(error.class, FailureClass::Credentials);
    let error = ActionError::from(connect(&clients, "other", None).await.expect_err("no address"));
    assert_eq!(error.class, FailureClass::NotFound);
    assert!(error.hint.expect("a hint").contains("database.addresses.other"));
}

#[tokio::test]
async fn a_real_server_proves_what_it_is() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    let replica = server.replica();
    let more = json!({
        "replica": { "id": "phoenix-dr-replica", "region": "us-west-2" },
        "addresses": { "phoenix-dr-replica": replica.address.to_string() },
    });
    let (clients, _armed) = testing::armed(server.estate(&more));
    let run = RunId("01RUN".to_owned());
    drop(replica.client("postgres", "operator-secret", "postgres").await.expect("it is up"));

    reads_read_only(&clients).await;
    wrong_passwords_are_credentials(&server).await;
    let primary = prove_writable(&clients, "phoenix-prod", "us-east-1", None, &run, None).await;
    let primary = primary.expect("the primary takes writes");
    let again = prove_writable(&clients, "phoenix-prod", "us-east-1", None, &run, None).await;
    assert_eq!(again.as_ref(), Ok(&primary), "it is the same server still");

    // The replica replays, and says so of itself.
    let replayed = loop {
        let replay =
            replay(&clients, "phoenix-dr-replica", "us-west-2", None).await.expect("asked");
        if replay.caught_up && replay.last_commit.is_some() {
            break replay;
        }
        clients.clock.sleep(Duration::from_millis(50)).await;
    };
    assert!(replayed.in_recovery && replayed.lag().is_some());
    let idle = replay_lag(&clients, "phoenix-prod", "us-east-1", None).await.expect("asked");
    assert_eq!(idle, None, "a primary has no lag");
    let early = prove_writable(&clients, "phoenix-dr-replica", "us-west-2", None, &run, None).await;
    let early = early.expect_err("it is a replica");
    assert_eq!((early.class, early.effect), (FailureClass::Transient, Effect::None));
    assert!(early.message.contains("in recovery"), "{early}");

    let closed = testing::clients(server.estate(&json!({})));
    let refused = prove_writable(&closed, "phoenix-prod", "us-east-1", None, &run, None).await;
    assert_eq!(refused.expect_err("the guard is closed").class, FailureClass::Refused);
    nowhere_to_write_names_the_grant(&server).await;
}

#[tokio::test]
async fn refusals_of_a_real_server_say_what_they_leave_behind() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    let lost = "create table lost (x int); grant all on lost to dr; create table closed (x int); \
        create function die() returns trigger language plpgsql as \
        'begin perform pg_terminate_backend(pg_backend_pid()); return null; end'; \
        create constraint trigger at_commit after insert on lost deferrable initially deferred \
        for each row execute function die()";
    server.sql("phoenix", lost).await;
    let (clients, _armed) = testing::armed(server.estate(&json!({})));

    let mut session = connect(&clients, "phoenix-prod", None).await.expect("connects");
    let denied = session.read(&clients, "look", "select * from closed", &[]).await;
    let denied = denied.expect_err("it was granted nothing");
    assert_eq!((denied.class, denied.effect), (FailureClass::Denied, Effect::None));
    assert!(denied.message.contains("table closed"), "{denied}");
    let early = [("select pg_terminate_backend(pg_backend_pid())".to_owned(), Vec::new())];
    let early = session.change(&clients, "break off", &early).await.expect_err("it is ended");
    assert_eq!((early.class, early.effect), (FailureClass::Transient, Effect::None));
    let mut session = connect(&clients, "phoenix-prod", None).await.expect("connects");
    let late = [("insert into lost values (1)".to_owned(), Vec::new())];
    let late = session.change(&clients, "commit", &late).await.expect_err("ended at the commit");
    assert_eq!((late.class, late.effect), (FailureClass::Transient, Effect::Unknown));

    let absent = testing::clients(server.estate(&json!({ "name": "absent" })));
    for (clients, sql, class) in [
        (&absent, "select", FailureClass::Invalid),
        (&clients, "alter role dr connection limit 0", FailureClass::Transient),
        (&clients, "alter role dr connection limit -1 nologin", FailureClass::Credentials),
    ] {
        server.sql("postgres", sql).await;
        let error = connect(clients, "phoenix-prod", None).await.expect_err(sql);
        let NoSession::Failed(error) = error else { panic!("it was reached: {error:?}") };
        assert_eq!((error.class, error.effect), (class, Effect::None), "{sql}: {error}");
    }
}

async fn reads_read_only(clients: &Clients) {
    let mut session = connect(clients, "phoenix-prod", None).await.expect("connects");
    let write =
        session.read(clients, "write", "create table x ()", &[]).await.expect_err("a write");
    assert!(write.message.contains("25006"), "{write}");
    let two = session.read(clients, "two", "select 1; drop table orders", &[]).await;
    assert_eq!(two.expect_err("two statements").class, FailureClass::Invalid);
    let escape = session.read(clients, "escape", "commit", &[]).await;
    drop(escape);
    let mut session = connect(clients, "phoenix-prod", None).await.expect("connects");
    let row = session.read_one(clients, "count", "select count(*) from pg_class", &[]).await;
    assert!(row.expect("reads").get::<_, i64>(0) > 0);
    let none = session.read_one(clients, "none", "select 1 where false", &[]).await;
    assert!(none.expect_err("no row").message.contains("0 rows instead of one"));
    let tried = session.attempt(clients, "try", None, "create table x ()").await;
    assert_eq!(tried, Ok(Tried::Worked));
    let gone = session.read_one(clients, "look", "select to_regclass('x') is null", &[]).await;
    assert!(gone.expect("reads").get::<_, bool>(0), "an attempt leaves nothing behind");
}

async fn wrong_passwords_are_credentials(server: &Server) {
    let wrong = json!({ "user": OPERATOR, "password_from": { "env": "PATH" }, "tls": "disable" });
    let clients = testing::clients(server.estate(&json!({ "connection": wrong })));
    let error =
        ActionError::from(connect(&clients, "phoenix-prod", None).await.expect_err("wrong"));
    assert_eq!((error.class, error.effect), (FailureClass::Credentials, Effect::None));
    assert!(!error.message.contains("operator-secret"));
}

async fn nowhere_to_write_names_the_grant(server: &Server) {
    let poor = json!({
        "user": "app", "password_from": { "file": server.secret() }, "tls": "disable",
    });
    server.sql("phoenix", "drop table public.phoenix_dr_heartbeat").await;
    let (clients, _armed) = testing::armed(server.estate(&json!({ "connection": poor })));
    let run = RunId("01RUN".to_owned());
    let error = prove_writable(&clients, "phoenix-prod", "us-east-1", None, &run, None).await;
    let error = error.expect_err("it may create nothing");
    assert_eq!((error.class, error.effect), (FailureClass::Denied, Effect::None));
    assert!(error.hint.expect("a hint").contains("grant CREATE"));
}

/// What the kernel waits for on a connection of this host, and how long still: `/proc/net/tcp`, by the local port.
fn timer(port: i32) -> Option<(u8, Duration)> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("read");
    let port = format!(":{port:04X}");
    let line = table
        .lines()
        .find(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&port)))?;
    let (kind, hundredths) = line.split_whitespace().nth(5)?.split_once(':')?;
    let hundredths = u64::from_str_radix(hundredths, 16).ok()?;
    Some((kind.parse().ok()?, Duration::from_millis(hundredths * 10)))
}

#[tokio::test]
async fn a_host_that_goes_away_without_a_word_is_noticed() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    let clients = testing::clients(server.estate(&json!({})));
    let mut session = connect(&clients, "phoenix-prod", None).await.expect("connects");
    let row = session.read_one(&clients, "ask", "select inet_client_port()", &[]).await;
    let port: i32 = row.expect("asked").get(0);
    // 2 is the question whether the other side is still there. What was just sent is acknowledged first.
    let mut seen = None;
    for _ in 0..250 {
        seen = timer(port);
        if seen.is_some_and(|(kind, _)| kind == 2) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (kind, left) = seen.expect("the connection is there");
    assert_eq!(kind, 2, "nobody asks");
    assert!(left <= Duration::from_secs(30), "{left:?}");
}
