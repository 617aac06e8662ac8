//! The fence of a whole database on real servers: as a superuser and as a role that is none.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::*;
use crate::actions::{observe, perform, revert};
use crate::clients::postgres::testing::{Server, brisk, way};
use crate::clients::testing;
use crate::engine::ports::Armed;
use crate::runbook::catalogue::actions::ActionName;

const PASSWORD: &str = "operator-secret";

fn call() -> Call {
    let with = json!({ "instance": "phoenix-prod", "region": "us-east-1", "scope": "database" });
    testing::call(ActionName::PostgresFence, with).0
}

/// A server with one more database, which the application needs as well.
async fn server() -> Option<Server> {
    let server = Server::start()?;
    server.prepare().await;
    server.sql("postgres", "create database other").await;
    server.sql("postgres", "grant app to dr").await;
    Some(server)
}

/// All that a fence could have changed, to the byte.
async fn settings(server: &Server) -> String {
    let globals = server.said("pg_dumpall", &["--globals-only"]);
    // It is wrapped in a word that is another one each time.
    let globals: Vec<&str> = globals.lines().filter(|line| !line.starts_with('\\')).collect();
    format!("{}\n{}", of_databases(server).await, globals.join("\n"))
}

/// What of it belongs to databases.
async fn of_databases(server: &Server) -> String {
    let sql = "select concat_ws(E'\\n', \
         (select string_agg(concat_ws(' ', setdatabase, setrole, setconfig), E'\\n' order by setdatabase, setrole) \
             from pg_db_role_setting), \
         (select string_agg(concat_ws(' ', datname, datdba, coalesce(datacl::text, 'none'), datconnlimit, datallowconn, \
                 shobj_description(oid, 'pg_database')), \
             E'\\n' order by datname) from pg_database))";
    server.text("postgres", sql).await
}

async fn enters(server: &Server, role: &str, database: &str) -> Result<(), String> {
    match server.client(role, PASSWORD, database).await {
        Ok((client, _)) => {
            client.batch_execute("select 1").await.map_err(|error| error.to_string())
        }
        Err(error) => Err(error.code().map(|code| code.code().to_owned()).unwrap_or_default()),
    }
}

/// Fences and returns what there was before, and what was done.
async fn fenced(clients: &Clients, armed: &Armed) -> (Observation, Performed) {
    let seen = observe(clients, &call()).await.expect("observed");
    assert!(seen.waiver.is_none() && !seen.satisfied, "{seen:?}");
    let done = perform(clients, armed, &call(), &seen).await.expect("fenced");
    assert_eq!(done.after, seen.desired);
    let after = observe(clients, &call()).await.expect("observed");
    assert!(after.satisfied && after.live == seen.desired, "{after:?}");
    (seen, done)
}

async fn lifted(clients: &Clients, armed: &Armed, before: &Observation) -> Result<(), ActionError> {
    let now = observe(clients, &call()).await.expect("observed");
    let image = Image { before: before.live.clone(), ours: before.desired.clone(), now };
    revert(clients, armed, &call(), &image).await
}

#[tokio::test]
async fn a_superuser_closes_a_database_and_gives_back_exactly_what_was() {
    let Some(server) = server().await else { return };
    server
        .sql(
            "postgres",
            "alter role dr superuser; create role boss superuser login password 'operator-secret'; \
             alter database phoenix connection limit 7; alter database phoenix set work_mem = '5MB'; \
             alter database phoenix set default_transaction_read_only = 'false'; \
             alter database phoenix set jit = off; comment on database phoenix is 'theirs'; \
             alter role app in database phoenix set work_mem = '6MB'",
        )
        .await;
    let mut estate = server.estate(&json!({}));
    estate["database"]["connection"]["application_roles"] = json!(["app", "boss"]);
    let (clients, armed) = testing::armed(estate);
    let before = settings(&server).await;
    let app = server.application().await.expect("it connects");
    let (boss, _driver) = server.client("boss", PASSWORD, "phoenix").await.expect("it connects");
    let (seen, done) = fenced(&clients, &armed).await;
    let oid =
        server.text("postgres", "select oid::text from pg_database where datname = 'phoenix'");
    let oid: i64 = oid.await.parse().expect("a number");
    let expected = json!({
        "oid": oid, "connection_limit": 7, "default_transaction_read_only": "false", "roles": { "boss": { "login": true } },
    });
    assert_eq!(seen.live, expected);
    assert_eq!(seen.differences.len(), 4, "{:?}", seen.differences);
    for role in ["dr", "app", "boss"] {
        let proved = format!("a write as {role} failed with SQLSTATE 25006");
        assert!(done.notes.contains(&proved), "{role}: {:?}", done.notes);
    }
    assert!(
        done.notes.contains(&"2 sessions ended; none came back".to_owned()),
        "{:?}",
        done.notes
    );
    for role in ["dr", "app", "boss"] {
        let dead = format!("a session as {role} from before was ended and cannot write");
        assert!(done.notes.contains(&dead), "{role}: {:?}", done.notes);
    }
    for old in [&app, &boss] {
        old.execute("insert into orders values (1)", &[]).await.expect_err("it is ended");
    }
    assert_eq!(enters(&server, "app", "phoenix").await, Err("53300".to_owned()));
    assert_eq!(enters(&server, "boss", "phoenix").await, Err("28000".to_owned()));
    assert_eq!(enters(&server, "app", "other").await, Ok(()), "what it needs beside goes on");
    lifted(&clients, &armed, &seen).await.expect("given back");
    assert_eq!(settings(&server).await, before);
    assert_eq!(enters(&server, "app", "phoenix").await, Ok(()));
    lifted(&clients, &armed, &seen).await.expect("twice is once");
}

/// A database of the application's own, with privileges in an order of their own and some that were handed on; and a role
/// that has what the operator has.
const HANDED_ON: &str = "\
    alter database phoenix owner to app; grant app to dr; create role sub login password 'operator-secret'; \
    create role team login password 'operator-secret'; create role heir login password 'operator-secret'; \
    grant dr to heir; \
    revoke all on database phoenix from public, app; \
    set role app; grant connect on database phoenix to team with grant option; \
    grant connect, temporary on database phoenix to public; set role team; grant connect on database phoenix to sub; \
    set role app; grant all on database phoenix to app; grant temporary on database phoenix to team; reset role";

#[tokio::test]
async fn who_is_no_superuser_takes_the_right_to_connect_and_gives_it_back_to_the_byte() {
    let Some(server) = server().await else { return };
    server.sql("postgres", &format!("{HANDED_ON}; grant team to dr")).await;
    let (clients, armed) = testing::armed(server.estate(&json!({})));
    let before = settings(&server).await;
    assert!(before.contains("{team=Tc*/app,=Tc/app,sub=c/team,app=CTc/app}"), "{before}");
    let app = server.application().await.expect("it connects");
    let (seen, done) = fenced(&clients, &armed).await;
    assert_eq!(seen.live["roles"], json!({ "heir": { "login": true } }), "the others keep theirs");
    let said: Vec<String> = seen.differences.iter().map(|found| found.from.clone()).collect();
    assert!(said.contains(&"team, everybody, sub, app".to_owned()), "{said:?}");
    for role in ["dr", "app"] {
        let proved = format!("a write as {role} failed with SQLSTATE 25006");
        assert!(done.notes.contains(&proved), "{role}: {:?}", done.notes);
    }
    app.execute("insert into orders values (1)", &[]).await.expect_err("it is ended");
    for role in ["app", "team", "sub"] {
        assert_eq!(enters(&server, role, "phoenix").await, Err("42501".to_owned()), "{role}");
        assert_eq!(enters(&server, role, "other").await, Ok(()), "{role}");
    }
    assert_eq!(enters(&server, "heir", "phoenix").await, Err("28000".to_owned()));
    lifted(&clients, &armed, &seen).await.expect("given back");
    assert_eq!(settings(&server).await, before);
    for role in ["app", "team", "sub", "heir"] {
        assert_eq!(enters(&server, role, "phoenix").await, Ok(()), "{role}");
    }
}

#[tokio::test]
async fn privileges_that_were_never_touched_are_the_same_when_they_are_said_aloud() {
    let Some(server) = server().await else { return };
    let (clients, armed) = testing::armed(server.estate(&json!({})));
    let sql = "select datacl::text from pg_database where datname = 'phoenix' and datacl is not null \
         union all select 'untouched' limit 1";
    assert_eq!(server.text("postgres", sql).await, "untouched");
    let (seen, _) = fenced(&clients, &armed).await;
    lifted(&clients, &armed, &seen).await.expect("given back");
    // Nobody but a superuser can write that nothing is written.
    assert_eq!(server.text("postgres", sql).await, "{=Tc/dr,dr=CTc/dr}");
    let now = observe(&clients, &call()).await.expect("observed");
    assert_eq!(now.live, seen.live);
    assert_eq!(enters(&server, "app", "phoenix").await, Ok(()));
}

#[tokio::test]
async fn what_is_missing_is_said_at_once_and_before_anything_is_touched() {
    let Some(server) = server().await else { return };
    server
        .sql(
            "postgres",
            &format!(
                "{HANDED_ON}; revoke app from dr; revoke pg_signal_backend from dr; alter role dr nocreaterole; \
                 create role root superuser login password 'operator-secret'; \
                 alter role dr set default_transaction_read_only = off; \
                 alter role dr in database phoenix set default_transaction_read_only = no"
            ),
        )
        .await;
    let mut estate = server.estate(&json!({}));
    estate["database"]["connection"]["application_roles"] = json!(["app", "root"]);
    let clients = testing::clients(estate.clone());
    let before = settings(&server).await;
    let seen = observe(&clients, &call()).await.expect("never an error that blocks");
    let why = seen.waiver.expect("a way on").why;
    assert_eq!(settings(&server).await, before);
    for grant in [
        "alter role \"dr\" reset default_transaction_read_only",
        "alter role \"dr\" in database \"phoenix\" reset default_transaction_read_only",
        "grant \"app\" to \"dr\"",
        "grant pg_signal_backend to \"dr\"",
        "alter role \"dr\" createrole",
        "alter role \"root\" nosuperuser",
        "grant \"team\" to \"dr\"",
    ] {
        assert!(why.contains(grant), "{grant}: {why}");
        server.sql("postgres", grant).await;
    }
    estate["database"]["connection"]["application_roles"] = json!(["app", "nope", "none"]);
    let seen = observe(&testing::clients(estate), &call()).await.expect("observed");
    let why = seen.waiver.expect("a way on").why;
    assert!(why.contains("phoenix-prod has no role `nope`, `none`"), "{why}");
    // All of it was what was missing.
    let (clients, armed) = testing::armed(server.estate(&json!({})));
    fenced(&clients, &armed).await;
}

#[tokio::test]
async fn what_somebody_else_changed_since_is_told_and_not_overwritten() {
    let Some(server) = server().await else { return };
    let (clients, armed) = testing::armed(server.estate(&json!({})));
    let (seen, _) = fenced(&clients, &armed).await;
    server.sql("postgres", "grant connect on database phoenix to app").await;
    let changed = settings(&server).await;
    let error = lifted(&clients, &armed, &seen).await.expect_err("another writer");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None));
    assert!(error.message.contains("privileges: expected"), "{error}");
    assert_eq!(settings(&server).await, changed);
    // A part that somebody gave back by hand is nothing anybody else wrote.
    server
        .sql(
            "postgres",
            "revoke connect on database phoenix from app; alter database phoenix reset default_transaction_read_only",
        )
        .await;
    lifted(&clients, &armed, &seen).await.expect("the rest is given back");
    assert_eq!(observe(&clients, &call()).await.expect("observed").live, seen.live);
}

#[tokio::test]
async fn a_fence_that_broke_off_before_the_sessions_were_ended_is_carried_on() {
    let Some(server) = server().await else { return };
    let (clients, armed) = testing::armed(server.estate(&json!({})));
    let app = server.application().await.expect("it connects");
    let half = "revoke connect on database phoenix from public; \
         alter database phoenix set default_transaction_read_only = on";
    server.sql("postgres", half).await;
    let seen = observe(&clients, &call()).await.expect("observed");
    assert!(seen.under_way && !seen.satisfied, "its session still writes: {seen:?}");
    let done = perform(&clients, &armed, &call(), &seen).await.expect("carried on");
    let late = |line: &String| line.starts_with("! the fence stood already");
    assert!(done.notes.iter().any(late), "{:?}", done.notes);
    app.execute("insert into orders values (2)", &[]).await.expect_err("its session is gone");
    assert!(observe(&clients, &call()).await.expect("observed").satisfied);
}

#[tokio::test]
async fn a_lock_that_does_not_come_names_who_has_it() {
    let Some(server) = server().await else { return };
    let (clients, armed) = testing::armed(server.estate(&json!({})));
    let before = settings(&server).await;
    let (holder, _driver) =
        server.client("postgres", PASSWORD, "postgres").await.expect("it connects");
    holder.batch_execute("begin; alter database phoenix connection limit 9").await.expect("held");
    let seen = observe(&clients, &call()).await.expect("observed");
    let error = perform(&clients, &armed, &call(), &seen).await.expect_err("it waits in vain");
    assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::None));
    assert!(error.message.contains("it is held by postgres (pid "), "{error}");
    assert!(error.message.contains("`postgres-pod`, idle in transaction"), "{error}");
    assert!(error.hint.expect("a way").contains("select pg_terminate_backend("));
    holder.batch_execute("rollback").await.expect("let go");
    assert_eq!(settings(&server).await, before);
}

#[tokio::test]
async fn a_database_that_is_full_is_fenced_from_beside() {
    let Some(server) = server().await else { return };
    server.sql("postgres", "alter database phoenix connection limit 1").await;
    let app = server.application().await.expect("it connects");
    let (clients, armed) = testing::armed(server.estate(&json!({})));
    let (_, done) = fenced(&clients, &armed).await;
    app.execute("insert into orders values (1)", &[]).await.expect_err("its session is gone");
    let full =
        |line: &String| line.starts_with("! no session from before the fence was tried as app");
    assert!(done.notes.iter().any(full), "{:?}", done.notes);
}

#[tokio::test]
async fn a_database_too_damaged_to_be_entered_is_fenced_all_the_same() {
    let Some(mut server) = Server::start() else { return };
    server.prepare().await;
    server.sql("postgres", "create database other").await;
    server.sql("postgres", "grant app to dr").await;
    let path = server.text("phoenix", "select pg_relation_filepath('pg_class')").await;
    server
        .while_stopped(|data| {
            let file = std::fs::OpenOptions::new().write(true).open(data.join(path));
            let file = file.expect("opened");
            std::os::unix::fs::FileExt::write_at(&file, &[0x5a; 64], 200).expect("overwritten");
        })
        .await;
    enters(&server, "app", "phoenix").await.expect_err("nobody gets in");
    let (clients, armed) = testing::armed(server.estate(&json!({})));
    let (seen, done) = fenced(&clients, &armed).await;
    let said = |line: &String| line.starts_with("! no write was tried: its damage lets nobody in");
    assert!(done.notes.iter().any(said), "{:?}", done.notes);
    let open = done.obligations.iter().find(|open| open.id == "unproved-fence-phoenix-prod");
    let say = &open.expect("it stays open").say;
    assert!(say.contains("no session from before the fence was tried as app"), "{say}");
    lifted(&clients, &armed, &seen).await.expect("given back");
}

/// Says whether a database is open as at first, or closed; there is nothing between.
async fn is_closed(server: &Server, before: &str) -> bool {
    let now = of_databases(server).await;
    if now == before {
        return false;
    }
    assert!(now.contains("default_transaction_read_only=on"), "{now}");
    assert_eq!(enters(server, "app", "phoenix").await, Err("42501".to_owned()));
    true
}

/// Fences over a way that is cut at one place after the other, and carries it on; returns how many there are.
async fn cut_everywhere(server: &Server) -> i64 {
    let before = of_databases(server).await;
    let armed = Armed::mint();
    let clients = brisk(server.estate(&json!({})), &armed);
    let seen = observe(&clients, &call()).await.expect("observed");
    for words in 0.. {
        let mut estate = server.estate(&json!({}));
        let (way, left) = way(server.address, words).await;
        estate["database"]["primary"]["address"] = json!(way.to_string());
        let done = perform(&brisk(estate, &armed), &armed, &call(), &seen).await;
        let closed = is_closed(server, &before).await;
        let now = observe(&clients, &call()).await.expect("observed");
        assert_eq!(now.live == seen.desired, closed, "{words}: the look tells the truth");
        match &done {
            Err(error) if error.effect == Effect::None => assert!(!closed, "{words}: {error}"),
            Err(error) if error.effect == Effect::Applied => assert!(closed, "{words}: {error}"),
            Err(_) => {}
            Ok(_) => assert!(closed),
        }
        if !now.satisfied {
            perform(&clients, &armed, &call(), &now).await.expect("carried on");
        }
        lifted(&clients, &armed, &seen).await.expect("given back");
        assert_eq!(of_databases(server).await, before);
        if left.load(Ordering::SeqCst) >= 0 {
            assert!(done.is_ok(), "nothing was cut: {done:?}");
            return words;
        }
    }
    unreachable!("the loop returns")
}

#[tokio::test]
async fn a_connection_that_is_lost_anywhere_leaves_what_the_next_look_tells() {
    let Some(server) = server().await else { return };
    // Passwords take more time than all the rest.
    let rules = server.path("pg_hba.conf");
    let text = std::fs::read_to_string(&rules).expect("read").replace("scram-sha-256", "trust");
    std::fs::write(&rules, text).expect("written");
    server.sql("postgres", "select pg_reload_conf()").await;
    // Said aloud, so that it can be compared to the byte.
    server.sql("postgres", "grant connect on database phoenix to app").await;
    let words = cut_everywhere(&server).await;
    assert!(words > 20, "only {words} places to cut at");
}
