//! What the estate calls essential is read first, and what of it is not there is said.

use super::*;

/// Returns an estate with essentials.
fn with_essentials(server: &Server, essentials: Value) -> Value {
    let mut estate = server.estate(&json!({}));
    estate["database"]["essentials"] = essentials;
    estate
}

#[tokio::test]
async fn essential_tables_are_counted_and_the_newest_instant_is_asked_for() {
    let Some(server) = estate(&["-k"]).await else { return };
    with_amcheck(&server).await;
    // Found as the application finds it: by the path of the estate's own user.
    let sql = "create table public.runs (at timestamptz); \
         insert into public.runs values ('2026-01-01 02:00:00+00'), ('2026-01-01 01:00:00+00'), (null)";
    server.sql("phoenix", sql).await;
    let tables = json!(["app.orders", "app.events", "audit.log"]);
    let newest = "select max(at) from runs -- of any kind";
    let estate = with_essentials(&server, json!({ "tables": tables, "newest": newest }));
    for tier in ["quick", "deep"] {
        let with = json!({ "tier": tier });
        let found = assess_in(estate.clone(), &with).await.expect("assessed");
        let expected = json!({ "app.orders": 4000, "app.events": 4000, "audit.log": 1000 });
        assert_eq!(found.outputs["counts"], expected, "{}", found.text);
        assert_eq!(found.outputs["newest"], "2026-01-01T02:00:00Z");
        assert_eq!(found.report["counts"], expected);
        assert!(found.text.contains("rows: app.events 4000, app.orders 4000, audit.log 1000"));
        assert!(found.text.contains("the newest instant in it is 2026-01-01T02:00:00Z"));
        assert_eq!(
            (&found.outputs["cleared"], &found.outputs["sound"]),
            (&json!(true), &json!(true))
        );
    }
}

#[tokio::test]
async fn an_essential_table_that_is_not_there_keeps_a_database_from_being_cleared() {
    let Some(server) = estate(&["-k"]).await else { return };
    with_amcheck(&server).await;
    server.sql("phoenix", "create view app.view as select 1 as one").await;
    let tables = json!(["app.orders", "app.gone", "app.view"]);
    for (newest, why) in [
        ("select max(at) from app.nowhere", "relation \"app.nowhere\" does not exist (42P01)"),
        ("select null::timestamptz", "the query gives no instant"),
        ("select 'infinity'::timestamptz", "the query gives no instant"),
        ("delete from app.orders returning now()", "(42601)"),
    ] {
        let estate = with_essentials(&server, json!({ "tables": tables, "newest": newest }));
        let clients = testing::clients(estate.clone());
        let seen = observe(&clients, &call(&json!({}))).await.expect("observed");
        let missing = "app.gone, which the estate calls essential, is not there";
        assert!(seen.evidence.iter().any(|line| line.starts_with(missing)), "{:?}", seen.evidence);
        let found = assess_in(estate, &json!({})).await.expect("an assessment all the same");
        assert_eq!(found.outputs["newest"], "");
        assert!(found.text.contains("the newest instant the business wrote is not known"));
        assert!(found.text.contains(why), "no `{why}` in:\n{}", found.text);
        assert_eq!(found.unsound(), BTreeMap::new());
        let said = |name: &str| found.outputs[name].clone();
        assert_eq!((said("damaged"), said("sound")), (json!(false), json!(false)));
        assert_eq!(
            (said("cleared"), said("counts")),
            (json!(false), json!({ "app.orders": 4000 }))
        );
        for missing in [missing, "app.view, which the estate calls essential, is not there"] {
            assert!(found.notes.iter().any(|note| note.starts_with(missing)), "{:?}", found.notes);
        }
    }
}

#[tokio::test]
async fn a_question_that_is_not_answered_in_time_ends_nothing() {
    let Some(server) = estate(&["-k"]).await else { return };
    let newest = "select now() from pg_sleep(60)";
    let estate = with_essentials(&server, json!({ "newest": newest }));
    let with = json!({ "budget": "12s" });
    let found = assess_in(estate, &with).await.expect("an assessment all the same");
    let why = "the newest instant the business wrote is not known: it was not answered within ";
    assert!(found.notes.iter().any(|note| note.starts_with(why)), "{:?}", found.notes);
    assert!(found.report["bytes_read"].as_u64().expect("a number") > 0, "the rest was read");
}

#[tokio::test]
async fn rows_that_were_not_all_read_are_not_counted() {
    let Some(mut server) = estate(&["-k"]).await else { return };
    with_amcheck(&server).await;
    let orders = file(&server, "app.orders").await;
    server.while_stopped(|data| overwrite(data, &orders, 3)).await;
    let tables = json!(["app.orders", "audit.log"]);
    let estate = with_essentials(&server, json!({ "tables": tables }));
    let found = assess_in(estate, &json!({ "tier": "deep" })).await.expect("assessed");
    assert_eq!(found.outputs["counts"], json!({ "audit.log": 1000 }), "{}", found.text);
    assert_eq!(found.outputs["damaged"], true);
}
