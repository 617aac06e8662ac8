//! The fence against a real server, and against one that does not answer.

use super::*;
use crate::actions::{observe, perform, revert};
use crate::clients::postgres::testing::Server;
use crate::clients::tcp::tests::{BlackHole, closed};
use crate::clients::testing;
use crate::runbook::catalogue::actions::ActionName;

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

#[tokio::test]
async fn nobody_to_fence_and_ourselves_are_refused() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    for (roles, said) in [
        (json!([]), "names nobody"),
        (json!(["dr"]), "lock phoenix-dr out"),
        (json!(["app", "nope"]), "no role `nope`"),
    ] {
        let mut estate = server.estate(&json!({}));
        estate["database"]["connection"]["application_roles"] = roles;
        let error = observe(&testing::clients(estate), &call()).await.expect_err(said);
        assert!(error.message.contains(said) && error.effect == Effect::None, "{error}");
    }
    // Missing grants are named, all of them, before anything is touched.
    server.sql("postgres", "alter role dr nocreaterole; revoke pg_signal_backend from dr").await;
    let clients = testing::clients(server.estate(&json!({})));
    let error = observe(&clients, &call()).await.expect_err("grants are missing");
    assert_eq!((error.class, error.effect), (FailureClass::Denied, Effect::None));
    let hint = error.hint.expect("a hint");
    assert!(
        hint.contains("alter role \"dr\" createrole; grant pg_signal_backend to \"dr\""),
        "{hint}"
    );
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
