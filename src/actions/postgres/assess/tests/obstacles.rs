//! What keeps an assessment from reading is said, and nothing is concluded from what was not read.

use futures::future::Either;

use super::*;
use crate::clients::postgres::testing::brisk;
use crate::outcome::Effect;
use crate::sandbox::tests::{Scene, phoenix};

#[tokio::test]
async fn what_the_role_may_not_read_is_unread_and_its_grant_named_beforehand() {
    let Some(server) = estate(&["-k"]).await else { return };
    server.sql("postgres", "revoke pg_read_all_data from dr").await;
    let sql = "create extension amcheck; grant usage on schema app to dr; \
         grant select on app.orders, app.documents, app.customers to dr; \
         alter table app.customers enable row level security";
    server.sql("phoenix", sql).await;
    let clients = testing::clients(server.estate(&json!({})));
    let with = json!({ "tier": "deep", "schemas": ["app"] });
    let evidence = observe(&clients, &call(&with)).await.expect("observed").evidence.join("\n");
    for said in [
        "dr may not read it; as its administrator: grant pg_read_all_data to \"dr\"",
        "row security hides rows of it from dr; as its administrator: alter role \"dr\" bypassrls",
        "indexes cannot be checked: dr may not call it; as its administrator: grant execute on function \
         public.bt_index_check(regclass, boolean) to \"dr\"",
        "the structure of tables cannot be checked: dr may not call it",
    ] {
        assert!(evidence.contains(said), "no `{said}` in:\n{evidence}");
    }
    let found = assess(&server, &with).await.expect("assessed");
    let unsound = found.unsound();
    assert_eq!(
        (&found.outputs["damaged"], &found.outputs["sound"]),
        (&json!(false), &json!(false))
    );
    assert!(unsound["app.bulk"].contains("pg_read_all_data"), "{unsound:?}");
    assert!(unsound["app.customers"].contains("bypassrls"), "{unsound:?}");
    assert!(unsound["pg_catalog.pg_authid"].contains("pg_read_all_data"), "{unsound:?}");
    assert!(unsound["app.orders_pkey"].contains("grant execute"), "{unsound:?}");
    // Its large values were read through its rows.
    let toast = "select reltoastrelid::regclass::text from pg_class where relname = 'documents'";
    let toast = server.text("phoenix", toast).await;
    for sound in ["app.orders", "app.documents", toast.as_str(), "pg_catalog.pg_class"] {
        assert!(!unsound.contains_key(sound), "{sound}: {unsound:?}");
    }
}

#[tokio::test]
async fn a_lock_that_does_not_go_away_is_waited_for_no_longer_and_its_holder_named() {
    let Some(server) = estate(&["-k"]).await else { return };
    with_amcheck(&server).await;
    server.sql("phoenix", "grant usage on schema app to app; grant all on app.orders to app").await;
    let app = server.application().await.expect("the application connects");
    app.batch_execute("begin; lock table app.orders in access exclusive mode")
        .await
        .expect("locked");
    let found =
        assess(&server, &json!({ "tier": "deep", "schemas": ["app"] })).await.expect("assessed");
    let unsound = found.unsound();
    let names: Vec<&String> = unsound.keys().collect();
    assert_eq!(names, ["app.orders", "app.orders_pkey"], "{unsound:?}");
    let why = &unsound["app.orders"];
    assert!(
        why.contains("it is locked exclusively by process ") && why.contains("(app, app-pod)"),
        "{why}"
    );
    assert!(
        unsound["app.orders_pkey"].contains("its table was not read: it is locked"),
        "{unsound:?}"
    );
    assert_eq!(
        (&found.outputs["damaged"], &found.outputs["sound"]),
        (&json!(false), &json!(false))
    );
}

/// Assesses while a table is held, and ends the session that waits for it so often.
async fn ended_at_orders(server: &Server, times: usize) -> BTreeMap<String, String> {
    with_amcheck(server).await;
    server.sql("phoenix", "grant usage on schema app to app; grant all on app.orders to app").await;
    let app = server.application().await.expect("the application connects");
    app.batch_execute("begin; lock table app.orders in access exclusive mode")
        .await
        .expect("locked");
    let cut = async {
        // The session that waits for the lock is in the middle of its work.
        let waiting = "select coalesce((select pg_terminate_backend(pid) from pg_stat_activity \
             where application_name = 'phoenix-dr' and wait_event_type = 'Lock'), false)::text";
        for _ in 0..times {
            while server.text("postgres", waiting).await != "true" {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
        app.batch_execute("rollback").await.expect("let go");
    };
    let with = json!({ "tier": "deep", "schemas": ["app"], "jobs": 2 });
    let (found, ()) = futures::join!(assess(server, &with), cut);
    found.expect("assessed").unsound()
}

#[tokio::test]
async fn what_a_lost_connection_read_is_read_once_more() {
    let Some(server) = estate(&["-k"]).await else { return };
    assert_eq!(ended_at_orders(&server, 1).await, BTreeMap::new());
}

#[tokio::test]
async fn what_ends_sessions_twice_is_named_and_the_rest_is_read() {
    let Some(server) = estate(&["-k"]).await else { return };
    let unsound = ended_at_orders(&server, 2).await;
    // Its large values and their index are of it, and nothing else is unread.
    let own = |name: &&String| !name.starts_with("pg_toast.");
    let names: Vec<&str> = unsound.keys().filter(own).map(String::as_str).collect();
    assert_eq!((names, unsound.len()), (vec!["app.orders", "app.orders_pkey"], 4), "{unsound:?}");
    for why in unsound.values() {
        assert!(why.contains("the connection was lost twice while it was read"), "{unsound:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_come_back_concludes_nothing() {
    let Some(server) = estate(&["-k"]).await else { return };
    server.sql("phoenix", "grant usage on schema app to app; grant all on app.orders to app").await;
    let app = server.application().await.expect("the application connects");
    let lock = "begin; lock table app.orders in access exclusive mode";
    app.batch_execute(lock).await.expect("locked");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let (address, to) = (listener.local_addr().expect("an address"), server.address);
    let way = tokio::spawn(async move {
        let mut carried = tokio::task::JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            carried.spawn(async move {
                let mut server = tokio::net::TcpStream::connect(to).await.expect("connects");
                drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    let primary =
        json!({ "id": "phoenix-prod", "region": "us-east-1", "address": address.to_string() });
    let estate = server.estate(&json!({ "primary": primary }));
    let (_, armed) = testing::armed(estate.clone());
    let (clients, call) = (brisk(estate, &armed), call(&json!({ "tier": "deep" })));
    let seen = observe(&clients, &call).await.expect("observed");
    let cut = async {
        let waiting =
            "select (count(*) > 0)::text from pg_stat_activity where wait_event_type = 'Lock'";
        server.until("postgres", waiting, "true").await;
        way.abort();
    };
    let (found, ()) = futures::join!(perform(&clients, &armed, &call, &seen), cut);
    let error = found.expect_err("nothing is concluded");
    assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::None), "{error:?}");
    assert!(error.message.contains(&format!("connect to {address}")), "{error}");
}

#[tokio::test]
async fn sessions_read_side_by_side() {
    let Some(server) = estate(&["-k"]).await else { return };
    server
        .sql(
            "phoenix",
            "grant usage on schema app to app; grant all on all tables in schema app to app",
        )
        .await;
    let app = server.application().await.expect("the application connects");
    let lock = "begin; lock table app.bulk, app.orders, app.customers, app.documents, app.events in access exclusive mode";
    app.batch_execute(lock).await.expect("locked");
    // Whoever reads comes to a table that is held; two that wait at one instant read side by side.
    let waiting = "select count(*)::text from pg_stat_activity where application_name = 'phoenix-dr' \
         and wait_event_type = 'Lock'";
    let watch = async {
        while server.text("postgres", waiting).await != "2" {}
        app.batch_execute("rollback").await.expect("let go");
    };
    let with = json!({ "schemas": ["app"], "jobs": 2, "budget": "1h" });
    let assessed = assess(&server, &with);
    futures::pin_mut!(watch, assessed);
    let seen = match futures::future::select(watch, assessed).await {
        Either::Left(((), assessed)) => assessed.await.map(|_| true),
        Either::Right((assessed, _)) => assessed.map(|_| false),
    };
    assert_eq!(seen, Ok(true), "two sessions were never seen to wait together");
}

#[tokio::test]
async fn a_spent_budget_leaves_the_rest_unread() {
    let Some(server) = estate(&["-k"]).await else { return };
    let found = assess(&server, &json!({ "budget": "0s" })).await.expect("assessed");
    let unsound = found.unsound();
    assert_eq!(unsound["app.orders"], "the budget of 0s was spent");
    assert_eq!(
        (&found.outputs["damaged"], &found.outputs["sound"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(found.report["bytes_read"], 0);
    assert_eq!(found.outputs["cleared"], false, "the catalogs were not read either");
    let read = assess(&server, &json!({ "budget": "5m" })).await.expect("assessed");
    assert!(
        read.unsound().values().all(|why| why.contains("amcheck is not installed")),
        "{}",
        read.text
    );
    assert!(
        read.notes.iter().any(|line| line.contains("the deep tier takes about")),
        "{:?}",
        read.notes
    );
}

#[tokio::test]
async fn what_a_restored_database_was_not_read_of_stays_open_until_it_was() {
    let Some(server) = estate(&["-k"]).await else { return };
    with_amcheck(&server).await;
    let (clients, armed) = testing::armed(server.estate(&json!({})));
    let [pending, damaged] = ["proof-pending-phoenix", "damaged-phoenix"];
    let recovered =
        vec!["proof-pending-phoenix-on-phoenix-recovered", "damaged-phoenix-on-phoenix-recovered"];
    for (more, open, closes) in [
        (json!({ "budget": "0s", "proves": true }), vec![pending], vec![]),
        (json!({ "budget": "0s" }), vec![], vec![]),
        (json!({ "tier": "deep", "proves": true, "schemas": ["app"] }), vec![pending], vec![]),
        (json!({ "budget": "1h", "proves": true }), vec![pending], vec![]),
        (json!({ "tier": "deep", "proves": true }), vec![], vec![pending, damaged]),
        (json!({ "tier": "deep", "formerly": "" }), vec![], vec![]),
        (json!({ "tier": "deep", "compare_indexes": true, "formerly": "" }), vec![], vec![damaged]),
        (
            json!({ "tier": "deep", "proves": true, "formerly": "phoenix-recovered" }),
            vec![],
            recovered,
        ),
    ] {
        let call = call(&more);
        let seen = observe(&clients, &call).await.expect("observed");
        let done = perform(&clients, &armed, &call, &seen).await.expect("a result");
        let ids: Vec<&str> = done.obligations.iter().map(|open| open.id.as_str()).collect();
        assert_eq!(ids, open, "{more}: {:?}", done.notes);
        let with = serde_json::from_value(Value::Object(call.with.clone())).expect("arguments");
        assert_eq!(settled(&clients, &with, &done), closes, "{more}");
    }
}

#[tokio::test]
async fn what_no_page_of_a_restored_database_shows_keeps_it_from_being_called_proved() {
    let Some(server) = estate(&["-k"]).await else { return };
    with_amcheck(&server).await;
    let sql = "create table app.served (id serial primary key, of int); insert into app.served (of) values (1), (2); \
         select setval('app.served_id_seq', 1); \
         alter table app.served add constraint \"Some of\" check (of > 0) not valid; \
         update pg_index set indisvalid = false where indexrelid = 'app.served_pkey'::regclass";
    server.sql("phoenix", sql).await;
    let (clients, armed) = testing::armed(server.estate(&json!({})));
    let call = call(&json!({ "tier": "deep", "proves": true }));
    let seen = observe(&clients, &call).await.expect("observed");
    let done = perform(&clients, &armed, &call, &seen).await.expect("a result");
    assert_eq!((&done.outputs["damaged"], &done.outputs["cleared"]), (&json!(false), &json!(true)));
    assert_eq!(done.outputs["sound"], false, "{:?}", done.notes);
    let [open] = done.obligations.as_slice() else { panic!("{:?}", done.obligations) };
    for said in [
        "reindex index concurrently app.served_pkey",
        "alter table app.served validate constraint \"Some of\"",
        "select setval('\"app\".\"served_id_seq\"', (select max(\"id\") from \"app\".\"served\"))",
    ] {
        assert!(open.say.contains(said), "{said}: {}", open.say);
    }
    // What is typed mends it.
    server.sql("phoenix", "reindex index concurrently app.served_pkey").await;
    let mend = "select setval('\"app\".\"served_id_seq\"', (select max(\"id\") from \"app\".\"served\")); \
         alter table app.served validate constraint \"Some of\"";
    server.sql("phoenix", mend).await;
    let done = perform(&clients, &armed, &call, &seen).await.expect("a result");
    assert_eq!(
        (&done.outputs["sound"], done.obligations.len()),
        (&json!(true), 0),
        "{:?}",
        done.notes
    );
}

#[test]
fn reading_ends_before_the_steps_time_is_over_or_when_the_budget_is_spent() {
    let at = |seconds: i64| jiff::Timestamp::from_second(seconds).expect("an instant");
    let minutes = |minutes| Some(Span::minutes(minutes));
    for (budget, deadline, expected) in [
        (None, None, (None, None)),
        (None, Some(600), (Some(585), None)),
        (minutes(1), None, (Some(60), minutes(1))),
        (minutes(1), Some(600), (Some(60), minutes(1))),
        // What is over first is what the report names.
        (minutes(60), Some(600), (Some(585), None)),
    ] {
        let mut call = call(&json!({}));
        if let Some(deadline) = deadline {
            call.progress = call.progress.until(at(deadline));
        }
        let ends = until(at(0), budget, &call);
        let (second, spent) = (ends.at.map(jiff::Timestamp::as_second), ends.budget);
        assert_eq!((second, spent), expected, "{budget:?} and {deadline:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_before_anything_is_read() {
    let Some(server) = estate(&["-k"]).await else { return };
    let clients = testing::clients(server.estate(&json!({})));
    for (with, said, hint) in [
        (
            json!({ "jobs": 0, "tier": "deep", "budget": "1m" }),
            "1 to 16 are possible; `budget` is for the quick tier",
            None,
        ),
        (json!({ "jobs": 17 }), "`jobs` is 17; 1 to 16 are possible", None),
        (json!({ "schemas": [] }), "`schemas` names none", None),
        (json!({ "compare_indexes": true }), "`compare_indexes` is for the deep tier", None),
        (
            json!({ "tier": "deep", "proves": true, "compare_indexes": false }),
            "`proves` wants `compare_indexes`",
            None,
        ),
        (
            json!({ "schemas": ["audti", "app"] }),
            "`audti` of phoenix is not there",
            Some("did you mean `audit`?"),
        ),
        (json!({ "database": "phenix" }), "3D000", None),
    ] {
        let error = observe(&clients, &call(&with)).await.expect_err(said);
        assert!(error.message.contains(said), "{error}");
        assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None), "{error:?}");
        assert!(hint.is_none_or(|hint| error.hint.as_deref() == Some(hint)), "{:?}", error.hint);
    }
    // Another database than the estate's own.
    let seen =
        observe(&clients, &call(&json!({ "database": "postgres" }))).await.expect("observed");
    assert!(seen.evidence[0].contains("database postgres"), "{:?}", seen.evidence);
    // Damage that is passed over is damage that is not seen.
    server.sql("postgres", "alter database phoenix set zero_damaged_pages = on").await;
    let error = observe(&clients, &call(&json!({}))).await.expect_err("it hides damage");
    assert_eq!(error.class, FailureClass::Invalid);
    assert!(error.message.contains("zero_damaged_pages is on"), "{error}");
}

#[tokio::test]
async fn a_look_reads_little_and_says_what_would_be_read() {
    let Some(server) = estate(&["-k"]).await else { return };
    with_amcheck(&server).await;
    let clients = testing::clients(server.estate(&json!({})));
    let seen = observe(&clients, &call(&json!({ "jobs": 2 }))).await.expect("observed");
    let evidence = seen.evidence.join("\n");
    assert!(evidence.contains("data checksums are on; no failure was counted"), "{evidence}");
    assert!(
        evidence.contains("to be read: ") && evidence.contains(" and the catalogs; "),
        "{evidence}"
    );
    assert!(evidence.contains("one session reads "), "{evidence}");
    // Of the estate's own objective of half an hour.
    assert!(evidence.contains("its budget of 1m30s is enough for all of it"), "{evidence}");
    assert!(seen.differences.is_empty() && !seen.satisfied);
    assert!(serde_json::to_string(&seen).expect("JSON").len() < 4096, "it goes into the journal");
    for command in ["pg_amcheck -h ", "pg_dump -h ", "psql -h "] {
        assert!(seen.commands.iter().any(|line| line.starts_with(command)), "{:?}", seen.commands);
    }
}

#[test]
fn a_rehearsal_says_that_it_has_left_the_simulation() {
    let scene = Scene::of(phoenix(), &[]);
    let with = json!({ "instance": "phoenix-dr-replica", "region": "us-west-2" });
    let (seen, _) = scene.run(observe(&scene.clients, &call(&with)));
    let error = seen.expect_err("no simulated server has pages");
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None));
    assert!(error.message.contains("postgres.assess is not simulated"), "{error}");
    assert_eq!(scene.sandbox.told().left, ["postgres.assess"]);
}
