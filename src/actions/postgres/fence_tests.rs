//! The fence against a real server, and against one that does not answer.

use super::*;
use crate::actions::{observe, perform, revert};
use crate::clients::postgres::testing::Server;
use crate::clients::tcp::tests::{BlackHole, closed};
use crate::clients::testing;
use crate::runbook::catalogue::actions::ActionName;
use crate::sandbox::tests::{Scene, phoenix};

fn call() -> Call {
    let with = json!({ "instance": "phoenix-prod", "region": "us-east-1" });
    testing::call(ActionName::PostgresFence, with).0
}

fn dark_estate(address: &str, roles: &Value) -> Value {
    json!({ "database": {
        "name": "phoenix",
        "primary": { "id": "phoenix-prod", "region": "us-east-1", "address": address },
        "recovered": { "id": "phoenix-recovered" },
        "connection": {
            "user": "dr", "password_from": { "env": "PATH" }, "tls": "disable", "application_roles": roles,
        },
    } })
}

#[tokio::test]
async fn a_dark_primary_can_only_be_waived() {
    let hole = BlackHole::dig();
    for address in [hole.address, closed()] {
        let clients = testing::clients(dark_estate(&address.to_string(), &json!(["app"])));
        let seen = observe(&clients, &call()).await.expect("observed");
        assert!(!seen.satisfied && seen.fidelity == Fidelity::Unreachable);
        let waiver = seen.waiver.expect("a way on");
        assert_eq!(
            (waiver.word.as_str(), waiver.obligation.id.as_str()),
            ("unfenced", "unfenced-phoenix-prod")
        );
        let closed_by = waiver.obligation.closed_by.expect("a check");
        assert!(closed_by["with"]["sql"].as_str().expect("sql").contains("rolname in ('app')"));
    }
}

/// Looks at a primary whose server refuses so many connections.
fn refused_so_often(times: u32) -> Observation {
    let mut world = phoenix();
    world.faults = vec![format!("refused@postgres,times={times}").parse().expect("a fault")];
    let scene = Scene::of(world, &[]);
    let (seen, _) = scene.run(observe(&scene.clients, &call()));
    seen.expect("observed")
}

#[test]
fn a_primary_that_restarts_is_not_gone_without() {
    let seen = refused_so_often(TRIES_MAX - 1);
    assert!(seen.waiver.is_none(), "{seen:?}");
    assert!(seen.evidence[0].contains("answers"), "{:?}", seen.evidence);
    let waiver = refused_so_often(TRIES_MAX).waiver.expect("a way on");
    assert!(waiver.why.contains("refused the connection"), "{}", waiver.why);
}

#[tokio::test]
async fn nobody_to_fence_and_ourselves_are_refused() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    for (roles, said) in [(json!([]), "names nobody"), (json!(["dr"]), "lock phoenix-dr out")] {
        let mut estate = server.estate(&json!({}));
        estate["database"]["connection"]["application_roles"] = roles;
        let error = observe(&testing::clients(estate), &call()).await.expect_err(said);
        assert!(error.message.contains(said) && error.effect == Effect::None, "{error}");
    }
}

/// The reason a waiver gives.
async fn waived(estate: Value) -> String {
    let seen =
        observe(&testing::clients(estate), &call()).await.expect("never an error that blocks");
    assert!(!seen.satisfied);
    for way in ["psql ", "aws rds stop-db-instance"] {
        assert!(seen.commands.iter().any(|line| line.starts_with(way)), "{:?}", seen.commands);
    }
    let waiver = seen.waiver.expect("a way on");
    assert_eq!(waiver.word, "unfenced");
    waiver.why
}

#[tokio::test]
async fn a_primary_that_answers_and_cannot_be_fenced_does_not_block() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    let mut unknown = server.estate(&json!({}));
    unknown["database"]["connection"]["application_roles"] = json!(["app", "nope"]);
    assert!(waived(unknown).await.contains("no role `nope`"));
    let mut expired = server.estate(&json!({}));
    expired["database"]["connection"]["password_from"] = json!({ "env": "PATH" });
    assert!(waived(expired).await.contains("28P01"));
    let mut no_way = server.estate(&json!({}));
    no_way["database"]["primary"]["via"] =
        json!({ "command": ["/bin/false"], "ready": "127.0.0.1:1" });
    assert!(waived(no_way).await.contains("/bin/false"));
    // Full, and starting for ever: as good as dark.
    server.sql("postgres", "alter role dr connection limit 0").await;
    assert!(waived(server.estate(&json!({}))).await.contains("53300"));
    server.sql("postgres", "alter role dr connection limit -1").await;
    // Missing grants are named, all of them, before anything is touched.
    server.sql("postgres", "alter role dr nocreaterole; revoke pg_signal_backend from dr").await;
    let why = waived(server.estate(&json!({}))).await;
    let grants = "alter role \"dr\" createrole; grant pg_signal_backend to \"dr\"";
    assert!(why.contains(grants), "{why}");
}

#[tokio::test]
async fn what_was_gone_without_before_is_not_asked_about_again() {
    let estate = dark_estate(&closed().to_string(), &json!(["app"]));
    let open = std::collections::BTreeSet::from(["unfenced-phoenix-prod".to_owned()]);
    let seen = observe(&testing::clients(estate.clone()).knowing(open), &call()).await;
    let seen = seen.expect("observed");
    assert!(seen.satisfied && seen.waiver.is_none(), "{seen:?}");
    assert_eq!(seen.live["reachable"], false, "and no fence all the same");
    let said = seen.evidence.last().expect("a reason");
    assert!(said.contains("`unfenced-phoenix-prod` is still open"), "{said}");
    let other = std::collections::BTreeSet::from(["unfenced-other".to_owned()]);
    let seen = observe(&testing::clients(estate).knowing(other), &call()).await.expect("observed");
    assert!(!seen.satisfied && seen.waiver.is_some());
}

#[tokio::test]
async fn fences_proves_and_gives_back() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    let (clients, armed) = testing::armed(server.estate(&json!({})));
    let app = server.application().await.expect("the application connects");
    app.execute("insert into orders values (1)", &[]).await.expect("the application writes");

    let seen = observe(&clients, &call()).await.expect("observed");
    assert_eq!(
        seen.live,
        json!({ "default_transaction_read_only": null, "roles": { "app": { "login": true } } })
    );
    assert_eq!(
        seen.desired,
        json!({ "default_transaction_read_only": "on", "roles": { "app": { "login": false } } })
    );
    assert_eq!(seen.differences.len(), 3, "{:?}", seen.differences);
    let closed = testing::clients(server.estate(&json!({})));
    let refused = perform(&closed, &armed, &call(), &seen).await.expect_err("the guard is closed");
    assert_eq!((refused.class, refused.effect), (FailureClass::Refused, Effect::None));
    app.execute("insert into orders values (2)", &[]).await.expect("nothing was fenced");

    let done = perform(&clients, &armed, &call(), &seen).await.expect("fenced");
    assert_eq!(done.after, seen.desired);
    assert_eq!(done.obligations, []);
    let tried = |line: &&String| line.starts_with("a write as dr failed with SQLSTATE 25006");
    assert_eq!(done.notes.iter().filter(tried).count(), 1, "{:?}", done.notes);
    let not_tried = |line: &String| line.contains("no write was tried as app (42501)");
    assert!(done.notes.iter().any(not_tried), "dr is no member of app: {:?}", done.notes);
    app.execute("insert into orders values (3)", &[]).await.expect_err("its session is gone");
    let error = server.application().await.expect_err("it may not log in");
    assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("28000"));
    let again = observe(&clients, &call()).await.expect("observed");
    assert!(again.satisfied && again.differences.is_empty());

    // Someone else's change is not reverted over.
    let image =
        |now: Observation| Image { before: seen.live.clone(), ours: done.after.clone(), now };
    server.sql("phoenix", "begin read write; alter role app login; commit").await;
    let error = revert(&clients, &armed, &call(), &image(again.clone())).await;
    assert_eq!(error.expect_err("another writer").class, FailureClass::Conflict);
    server.sql("phoenix", "begin read write; alter role app nologin; commit").await;
    revert(&clients, &armed, &call(), &image(again)).await.expect("reverted");
    assert_eq!(observe(&clients, &call()).await.expect("observed").live, seen.live);
    let app = server.application().await.expect("the application is back");
    app.execute("insert into orders values (4)", &[]).await.expect("and writes");
}

#[tokio::test]
async fn a_fence_that_does_not_hold_is_no_fence() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    // A setting of the role outranks the database's: a write would still work.
    server.sql("postgres", "alter role dr set default_transaction_read_only = off").await;
    let (clients, armed) = testing::armed(server.estate(&json!({})));
    let seen = observe(&clients, &call()).await.expect("observed");
    let error = perform(&clients, &armed, &call(), &seen).await.expect_err("it does not hold");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::Applied));
    assert!(error.message.contains("the fence does not hold"), "{error}");
}

#[tokio::test]
async fn a_fence_that_broke_off_half_way_is_carried_on() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    let (clients, armed) = testing::armed(server.estate(&json!({})));
    let app = server.application().await.expect("the application connects");
    let half =
        "alter database phoenix set default_transaction_read_only = on; alter role app nologin";
    server.sql("postgres", half).await;
    let seen = observe(&clients, &call()).await.expect("observed");
    assert_eq!(seen.live, seen.desired);
    assert!(seen.under_way && !seen.satisfied, "its session still writes");
    app.execute("set default_transaction_read_only = off", &[]).await.expect("any session can");
    app.execute("insert into orders values (1)", &[]).await.expect("so this is no fence yet");
    perform(&clients, &armed, &call(), &seen).await.expect("carried on");
    app.execute("insert into orders values (2)", &[]).await.expect_err("its session is gone");
    let seen = observe(&clients, &call()).await.expect("observed");
    assert!(seen.satisfied && !seen.under_way);
}

#[tokio::test]
async fn a_write_is_tried_as_each_role_and_who_else_can_write_is_named() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    server
        .sql("postgres", "grant app to dr; create role report login password 'operator-secret'")
        .await;
    server.sql("phoenix", "grant all on orders to report").await;
    let (report, _driver) =
        server.client("report", "operator-secret", "phoenix").await.expect("it connects");
    let (clients, armed) = testing::armed(server.estate(&json!({})));
    let seen = observe(&clients, &call()).await.expect("observed");
    let said = |line: &String| line.contains("report (1)");
    assert!(seen.evidence.iter().any(said), "{:?}", seen.evidence);
    let done = perform(&clients, &armed, &call(), &seen).await.expect("fenced");
    for role in ["dr", "app"] {
        let proved = format!("a write as {role} failed with SQLSTATE 25006");
        assert!(done.notes.contains(&proved), "{role}: {:?}", done.notes);
    }
    // Its session began before: nothing of the fence reaches it, and so it stays open.
    report.execute("insert into orders values (1)", &[]).await.expect("it writes on");
    let open = &done.obligations[0];
    assert_eq!(open.id, "open-sessions-phoenix-prod");
    assert!(
        open.say.contains("report (1)") && open.say.contains("can still write"),
        "{}",
        open.say
    );
    let closed_by = open.closed_by.as_ref().expect("a check")["with"]["sql"].clone();
    assert!(closed_by.as_str().is_some_and(|sql| sql.contains("usename in ('report')")));
}

#[tokio::test]
async fn what_the_fence_changed_is_kept_beside_it_and_forgotten_with_it() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    server.sql("postgres", "create role batch nologin").await;
    let mut estate = server.estate(&json!({}));
    estate["database"]["connection"]["application_roles"] = json!(["app", "batch"]);
    let (clients, armed) = testing::armed(estate);
    let seen = observe(&clients, &call()).await.expect("observed");
    let done = perform(&clients, &armed, &call(), &seen).await.expect("fenced");
    let (look, _driver) =
        server.client("postgres", "operator-secret", "phoenix").await.expect("connects");
    let rows = look.query("select what, was from phoenix_dr_fence order by 1", &[]).await;
    let rows: Vec<(String, Option<String>)> =
        rows.expect("it is there").iter().map(|row| (row.get(0), row.get(1))).collect();
    // `batch` could not log in before: it is none of what is given back.
    let kept = [("role:app".to_owned(), Some("login".to_owned())), ("setting".to_owned(), None)];
    assert_eq!(rows, kept);
    let now = observe(&clients, &call()).await.expect("observed");
    let image = Image { before: seen.live.clone(), ours: done.after, now };
    revert(&clients, &armed, &call(), &image).await.expect("reverted");
    let left = look.query("select 1 from phoenix_dr_fence", &[]).await.expect("asked");
    assert_eq!(left.len(), 0);
    let batch =
        look.query_one("select rolcanlogin from pg_roles where rolname = 'batch'", &[]).await;
    assert!(!batch.expect("asked").get::<_, bool>(0));
}
