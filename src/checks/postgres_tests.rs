//! Queries and connections against a real server, pods against a server of our own.

use std::sync::Arc;

use serde_json::Map;

use super::*;
use crate::actions::kubernetes::fake::Fake;
use crate::checks::Checks;
use crate::clients::postgres::essentials::ACTS;
use crate::clients::postgres::testing::Server;
use crate::clients::testing;
use crate::engine::ports::Check;
use crate::outcome::{CheckReport, Verdict};
use crate::plan::CheckSpec;
use crate::runbook::schema::Vote;
use crate::span::Span;

fn spec(check: &str, with: Value) -> CheckSpec {
    CheckSpec {
        check: check.to_owned(),
        title: check.to_owned(),
        with: with.as_object().cloned().unwrap_or_else(Map::new),
        that: None,
        expect: None,
        within: Span::default(),
        every: Span::default(),
        consecutive: 1,
        vote: Vote::Full,
    }
}

async fn look(checks: &Checks, sql: &str, that: Option<&str>) -> CheckReport {
    let with = json!({ "instance": "phoenix-prod", "region": "us-east-1", "sql": sql });
    let mut spec = spec("postgres.query", with);
    spec.that = that.map(str::to_owned);
    checks.look(&spec).await
}

#[tokio::test]
async fn reads_values_of_all_common_types() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    server.sql("phoenix", "grant all on orders to dr").await;
    let checks = Checks { clients: Arc::new(testing::clients(server.estate(&json!({})))) };
    for (sql, value) in [
        ("select not pg_is_in_recovery()", json!(true)),
        ("select 7::int2", json!(7)),
        ("select 7::int4 as x, 'second'", json!(7)),
        ("select count(*) from orders", json!(0)),
        ("select 1.5::float8", json!(1.5)),
        ("select 1.5::numeric", json!(1.5)),
        ("select -0.00012::numeric", json!(-0.00012)),
        ("select 120000.0300::numeric(12, 4)", json!(120_000.03)),
        ("select sum(n) from generate_series(1, 100000) n", json!(5_000_050_000_i64)),
        ("select 100000000::numeric", json!(100_000_000)),
        ("select 0::numeric", json!(0)),
        ("select 'up'::varchar(9)", json!("up")),
        ("select 'literal'", json!("literal")),
        ("select '2026-01-02 03:04:05.5+00'::timestamptz", json!("2026-01-02T03:04:05.5Z")),
        ("select '1999-12-31 23:59:59'::timestamp", json!("1999-12-31T23:59:59")),
        ("select '{\"a\": 1}'::jsonb", json!({ "a": 1 })),
    ] {
        let report = look(&checks, sql, None).await;
        assert_eq!(
            (report.verdict, &report.value),
            (Verdict::Holds, &value),
            "{sql}: {}",
            report.said
        );
    }
    for (sql, that, verdict) in [
        ("select pg_is_in_recovery()", None, Verdict::Fails),
        ("select pg_is_in_recovery()", Some("!value"), Verdict::Holds),
        ("select null::int", None, Verdict::Fails),
        ("select null::int", Some("value < 5"), Verdict::Inconclusive),
        ("select 12", Some("value < 5"), Verdict::Fails),
        ("select 'NaN'::numeric", None, Verdict::Inconclusive),
        ("select '1 day'::interval", None, Verdict::Inconclusive),
        ("select 'NaN'::float8", None, Verdict::Inconclusive),
        ("select 1 where false", None, Verdict::Inconclusive),
        ("select 1 union select 2", None, Verdict::Inconclusive),
        ("select 1; select 2", None, Verdict::Inconclusive),
        ("select nonsense", None, Verdict::Inconclusive),
        ("insert into orders values (1) returning true", None, Verdict::Inconclusive),
        ("select PG_PROMOTE()", None, Verdict::Inconclusive),
    ] {
        let report = look(&checks, sql, that).await;
        assert_eq!(report.verdict, verdict, "{sql} {that:?}: {}", report.said);
    }
    drop(server);
    let report = look(&checks, "select true", None).await;
    assert_eq!(report.verdict, Verdict::Inconclusive, "a server that is gone says nothing");
}

#[tokio::test]
async fn what_acts_is_not_even_asked_of_a_server() {
    // There is no database in this estate: whatever reached one would be told so.
    let checks = Checks { clients: Arc::new(testing::clients(json!({}))) };
    for name in ACTS {
        let report = look(&checks, &format!("select {name}('x') is not null"), None).await;
        assert_eq!(report.verdict, Verdict::Inconclusive, "{name}");
        assert_eq!(report.said, format!("`{name}` does more than look"));
    }
}

#[tokio::test]
async fn what_the_application_cannot_do_without_is_asked() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    server.sql("phoenix", "grant all on orders to dr; create table hidden (id int)").await;
    let look = async |queries: Value, more: Value| {
        let estate = server.estate(&json!({ "essentials": { "queries": queries } }));
        let checks = Checks { clients: Arc::new(testing::clients(estate)) };
        let mut with = json!({ "instance": "phoenix-prod", "region": "us-east-1" });
        for (name, value) in more.as_object().into_iter().flatten() {
            with[name.as_str()] = value.clone();
        }
        checks.look(&spec("postgres.essentials", with)).await
    };
    let asks = |sql: &str| json!([{ "title": "it is there", "sql": sql }]);
    let empty = "select count(*) = 0 from orders";
    for (queries, more, verdict, said) in [
        (json!([]), json!({}), Verdict::Holds, "nothing was asked"),
        (asks(empty), json!({}), Verdict::Holds, "answers all 1 of them by true"),
        (
            asks("select count(*) > 0 from orders"),
            json!({}),
            Verdict::Fails,
            "`it is there` is false",
        ),
        // In another database it is not.
        (asks(empty), json!({ "database": "postgres" }), Verdict::Fails, "does not exist"),
        (asks(empty), json!({ "database": "nowhere" }), Verdict::Inconclusive, "nowhere"),
        (asks("select true from hidden"), json!({}), Verdict::Inconclusive, "could not be asked"),
    ] {
        let report = look(queries, more).await;
        assert_eq!(report.verdict, verdict, "{}", report.said);
        assert!(report.said.contains(said), "{said}: {}", report.said);
    }
}

#[tokio::test]
async fn the_lost_database_fails_the_query_of_the_recovered_one() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    // The recovered instance's address leads to the old primary, which answers and takes writes.
    let estate =
        server.estate(&json!({ "addresses": { "phoenix-recovered": server.address.to_string() } }));
    let checks = Checks { clients: Arc::new(testing::clients(estate)) };
    let mut with = json!({
        "instance": "phoenix-recovered", "region": "us-west-2", "sql": "select not pg_is_in_recovery()",
    });
    let report = checks.look(&spec("postgres.query", with.clone())).await;
    assert_eq!(report.verdict, Verdict::Holds, "by itself it cannot be told");
    with["other_than"] = json!("phoenix-prod");
    let report = checks.look(&spec("postgres.query", with)).await;
    assert_eq!(report.verdict, Verdict::Fails, "{}", report.said);
    assert!(report.said.contains("leads to phoenix-prod"), "{}", report.said);
}

#[tokio::test]
async fn pods_are_seen_by_what_they_are_connected_to() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    let mut estate = server.estate(&json!({
        "application": { "pods": { "namespace": "prod", "selector": "app=api" } },
    }));
    let connected = server.application().await.expect("the pod's connection");
    let (clients, fake) = (testing::clients(estate.clone()), Fake::default());
    fake.serve(&clients).await;
    let pod = |name: &str, address: &str, ready: &str| {
        json!({
            "metadata": { "name": name },
            "status": { "phase": "Running", "podIP": address,
                "conditions": [{ "type": "Ready", "status": ready }] },
        })
    };
    let path = |name: &str| format!("/api/v1/namespaces/prod/pods/{name}");
    fake.put(&path("api-1"), pod("api-1", "127.0.0.1", "True"));
    fake.put(&path("api-2"), pod("api-2", "10.9.9.9", "False"));
    let checks = Checks { clients: Arc::new(clients) };
    let with = json!({ "instance": "phoenix-prod", "region": "us-west-2" });
    let report = checks.look(&spec("postgres.connections", with.clone())).await;
    assert_eq!(report.verdict, Verdict::Holds, "{}", report.said);
    assert_eq!(report.value, json!({ "pods": 1, "connected": 1, "missing": [] }));

    fake.put(&path("api-2"), pod("api-2", "10.9.9.9", "True"));
    let report = checks.look(&spec("postgres.connections", with.clone())).await;
    assert_eq!((report.verdict, &report.value["missing"]), (Verdict::Fails, &json!(["api-2"])));
    let mut some = with.clone();
    some["pods"] = json!(1);
    assert_eq!(checks.look(&spec("postgres.connections", some)).await.verdict, Verdict::Holds);
    // Who is in another database of the instance is not connected to this one.
    drop(connected);
    let left = "select count(*)::text from pg_stat_activity where usename in ('app', 'dr') and datname = 'phoenix'";
    server.until("postgres", left, "0").await;
    let elsewhere = server.client("app", "operator-secret", "postgres").await.expect("connects");
    fake.put(&path("api-2"), pod("api-2", "10.9.9.9", "False"));
    let report = checks.look(&spec("postgres.connections", with.clone())).await;
    assert_eq!((report.verdict, &report.value["connected"]), (Verdict::Fails, &json!(0)));
    drop(elsewhere);
    let connected = server.application().await.expect("the pod's connection");
    // The test's connections call themselves after the role.
    fake.put(&path("api-2"), pod("app-pod", "10.9.9.9", "True"));
    assert_eq!(
        checks.look(&spec("postgres.connections", with.clone())).await.verdict,
        Verdict::Holds
    );

    // Without the grant other sessions are hidden: then nobody can tell.
    server.sql("postgres", "revoke pg_monitor from dr").await;
    fake.put(&path("api-1"), pod("api-1", "10.9.9.8", "True"));
    let report = checks.look(&spec("postgres.connections", with.clone())).await;
    assert_eq!(report.verdict, Verdict::Inconclusive);
    assert!(report.said.contains("grant pg_monitor"), "{}", report.said);
    drop(connected);

    fake.state().objects.clear();
    let report = checks.look(&spec("postgres.connections", with.clone())).await;
    assert_ne!(report.verdict, Verdict::Holds, "no pod is no proof");
    estate["database"]["application"] = Value::Null;
    let checks = Checks { clients: Arc::new(testing::clients(estate)) };
    assert_eq!(
        checks.look(&spec("postgres.connections", with)).await.verdict,
        Verdict::Inconclusive
    );
}

#[tokio::test]
async fn kubernetes_checks_judge_readiness() {
    let (clients, fake) = (testing::clients(json!({})), Fake::default());
    fake.serve(&clients).await;
    fake.deployment("prod", "api", 2);
    let checks = Checks { clients: Arc::new(clients) };
    let rollout = |names: Value| {
        spec("kubernetes.rollout", json!({ "region": "us-west-2", "workloads": names }))
    };
    assert_eq!(checks.look(&rollout(json!(["prod/api"]))).await.verdict, Verdict::Holds);
    let report = checks.look(&rollout(json!(["prod/api", "prod/gone"]))).await;
    assert_eq!(
        (report.verdict, report.said.as_str()),
        (Verdict::Fails, "prod/gone does not exist")
    );
    assert_eq!(checks.look(&rollout(json!([]))).await.verdict, Verdict::Inconclusive);
    let elsewhere = json!({ "region": "eu-west-1", "workloads": ["prod/api"] });
    assert_eq!(
        checks.look(&spec("kubernetes.rollout", elsewhere)).await.verdict,
        Verdict::Inconclusive
    );
    let path = crate::actions::kubernetes::fake::deployment_path("prod", "api");
    let mut stale = fake.object(&path);
    stale["spec"]["replicas"] = json!(3);
    fake.put(&path, stale);
    let report = checks.look(&rollout(json!(["prod/api"]))).await;
    assert_eq!(report.verdict, Verdict::Fails, "its status is of an older generation");

    let pod = |phase: &str, ready: &str| {
        json!({ "metadata": { "name": "x" }, "status": { "phase": phase,
            "conditions": [{ "type": "Ready", "status": ready }] } })
    };
    fake.put("/api/v1/namespaces/prod/pods/a", pod("Running", "True"));
    fake.put("/api/v1/namespaces/prod/pods/b", pod("Running", "False"));
    fake.put("/api/v1/namespaces/prod/pods/c", pod("Succeeded", "False"));
    let pods = |ready: u32| {
        spec(
            "kubernetes.pods",
            json!({ "region": "us-west-2", "namespace": "prod", "selector": "app=api", "ready": ready }),
        )
    };
    let report = checks.look(&pods(1)).await;
    assert_eq!(
        (report.verdict, &report.value),
        (Verdict::Holds, &json!({ "ready": 1, "pods": 2 }))
    );
    assert_eq!(checks.look(&pods(2)).await.verdict, Verdict::Fails);
}
