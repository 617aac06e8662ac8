//! What is corrupt is told for what it is, and keeps no other experiment from being rebuilt.

use super::resumed::once;
use super::*;

#[tokio::test]
async fn whole_numbers_take_a_progress_as_their_column_rounds_it() {
    let Some(lab) = Lab::open(12).await else { return };
    lab.server.sql("phoenix", "alter table lab.experiments alter progress type smallint").await;
    for (run, rebuilt) in [("01A", 12), ("01B", 0)] {
        let performed = lab.done(run, &json!({})).await.expect("rebuilt");
        assert_eq!(performed.outputs["rebuilt"], rebuilt, "{performed:?}");
    }
    let other = "select count(*)::text from lab.experiments x join lab.recomputed r using (id) \
        where x.progress is distinct from round((r.state ->> 'progress')::numeric)";
    assert_eq!(lab.text(other).await, "0");
    let rounded =
        "select count(*)::text from lab.recomputed where (state ->> 'progress') like '%.%'";
    assert_eq!(lab.text(rounded).await, "12", "each has a fraction");
}

#[tokio::test]
async fn a_payload_that_json_takes_and_the_server_cannot_read_is_listed() {
    let Some(lab) = Lab::open(4).await else { return };
    let sql = r#"create table lab.raw as select id, experiment_id, sequence, type, payload::text::json as payload, happened_at
            from lab.experiment_events;
        update lab.raw set payload = '{"config": {"note": "\u0000"}}' where experiment_id = 1 and sequence = 2;
        update lab.raw set payload = '{"progress": 5, "note": "\ud800"}' where experiment_id = 2 and sequence = 5;
        update lab.raw set payload = '{"progress": 1e-20000}' where experiment_id = 3 and sequence = 6;
        update lab.raw set payload = '{"progress": 99, "progress" : 7.50 , "note": "\u0000"}'
            where experiment_id = 4 and sequence = 39;
        grant select on lab.raw to dr;
        update lab.experiment_events set type = null where (experiment_id, sequence) in ((1, 2), (2, 5), (3, 6));
        update lab.experiment_events set payload = '{"progress": 7.50}' where experiment_id = 4 and sequence = 39"#;
    lab.server.sql("phoenix", sql).await;
    let estate = lab.estate_with(&json!({
        "table": { "name": "lab.experiments" }, "events": { "name": "lab.raw" },
    }));
    let (clients, armed) = testing::armed(estate);
    let clients = clients.with_artifacts(lab.artifacts.path().to_owned());
    let call = call("01A", &json!({ "max_corrupt": 3 }));
    let seen = observe(&clients, &call).await.expect("observed");
    let performed = perform(&clients, &armed, &call, &seen).await.expect("rebuilt");
    assert_eq!(
        (&performed.outputs["rebuilt"], &performed.outputs["corrupt"]),
        (&json!(4), &json!(3))
    );
    let report = lab.report();
    let found: Vec<String> =
        report["findings"].as_array().expect("a list").iter().map(said).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].starts_with("1 2 wrong_field: `config` has the character \\u0000"),
        "{found:?}"
    );
    assert!(found[1].starts_with("2 5 unreadable_payload: "), "{found:?}");
    assert!(found[2].starts_with("3 6 wrong_field: `progress` has a number of more"), "{found:?}");
    // The last of two, with all its digits; what nobody reads is left alone.
    assert_eq!(lab.text("select progress::text from lab.experiments where id = 4").await, "7.50");
    assert_eq!(lab.wrong().await, "");
}

#[tokio::test]
async fn a_stored_value_that_the_server_cannot_read_is_rebuilt_and_comes_back_as_it_was_written() {
    let Some(lab) = Lab::open(8).await else { return };
    // A backslash before `u0000` is no such value, and is the same only as it is written.
    let sql = r#"alter table lab.experiments alter config type json using config::text::json;
        update lab.experiment_events set payload = '{"config": {"x": "\\u0000"}}'
            where experiment_id = 5 and sequence = 2"#;
    lab.server.sql("phoenix", sql).await;
    let first = lab.done("01A", &json!({})).await.expect("rebuilt");
    assert_eq!(first.outputs["rebuilt"], 8);
    let sql = r#"create table lab.kept as select id, config from lab.experiments;
        update lab.experiments set config = '{"note": "\u0000"}' where id = 1;
        update lab.experiments set config = '{"note":  "\ud800", "a": 1, "a": 2}' where id = 2;
        update lab.experiments set config = '{"n": -1.0E-20000}' where id = 3;
        update lab.experiments set config = ' ["1e20000", "\\u0000"]' where id = 4"#;
    lab.server.sql("phoenix", sql).await;
    let damaged = lab.digest().await;
    for (run, rebuilt) in [("01B", 4), ("01C", 0)] {
        let performed = lab.done(run, &json!({})).await.expect("rebuilt");
        assert_eq!(performed.outputs["rebuilt"], rebuilt, "{performed:?}");
    }
    let wrong = "select count(*)::text from lab.experiments x join lab.recomputed r using (id) \
        where x.config::jsonb is distinct from r.state -> 'config'";
    assert_eq!(lab.text(wrong).await, "0");
    // What somebody else wrote since is no value either, and stays.
    let theirs = r#"update lab.experiments set config = '{"theirs": "\u0000"}' where id = 1"#;
    lab.server.sql("phoenix", theirs).await;
    let error = lab.reverted(&call("01B", &json!({}))).await.expect_err("not all of it");
    let said = "3 experiments are as before; 1 were changed by somebody else since they were rebuilt, and stay: 1";
    assert!(error.message.contains(said), "{error}");
    let as_rebuilt = "update lab.experiments x set config = k.config from lab.kept k \
        where k.id = x.id and x.id = 1";
    lab.server.sql("phoenix", as_rebuilt).await;
    lab.reverted(&call("01B", &json!({}))).await.expect("all of it");
    assert_eq!(lab.digest().await, damaged, "to the last byte");
}

fn said(finding: &Value) -> String {
    let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    format!("{} {} {}: {}", text("experiment"), finding["sequence"], text("reason"), text("said"))
}

#[tokio::test]
async fn a_row_of_an_event_that_is_corrupt_by_now_knows_no_more_than_the_events() {
    let Some(lab) = Lab::open(5).await else { return };
    lab.rows().await;
    let sql = "update lab.experiment_events set type = 'x' where experiment_id in (4, 5) and sequence = 40; \
        update lab.experiments set version = 44 where id = 5";
    lab.server.sql("phoenix", sql).await;
    let error = lab.done("01A", &json!({})).await.expect_err("there are some");
    assert!(error.message.contains("missing_at_end 1"), "{error}");
    let report = lab.report();
    let found: Vec<String> =
        report["findings"].as_array().expect("a list").iter().map(said).collect();
    assert_eq!(
        found,
        [
            "4 40 unknown_type: there is no type `x`",
            "5 40 unknown_type: there is no type `x`",
            "5 44 missing_at_end: the stored row is of event 44, the last one there is 40: it stays as it was",
        ]
    );
    assert_eq!(report["counts"]["corrupt"], 3);
    let performed = lab.done("01A", &json!({ "max_corrupt": 3 })).await.expect("rebuilt");
    assert_eq!(
        (&performed.outputs["rebuilt"], &performed.outputs["not_rebuilt"]),
        (&json!(4), &json!(1))
    );
    assert_eq!(lab.wrong().await, "5", "which stays as it was");
    let versions = "select string_agg(version::text, ' ' order by id) from lab.experiments";
    assert_eq!(lab.text(versions).await, "40 40 40 39 44");
}

#[tokio::test]
async fn experiments_without_events_are_no_reason_to_fail_where_they_cannot_be_counted() {
    let Some(lab) = Lab::open(3).await else { return };
    let connected = lab.server.client("postgres", "operator-secret", "phoenix").await;
    let (holder, driver) = connected.expect("connects");
    drop(driver);
    let lock = "begin; lock table lab.experiment_events in access exclusive mode";
    holder.batch_execute(lock).await.expect("held");
    // Until the look has given the count up, and waits to read the events.
    let waits = "select count(*)::text from pg_stat_activity where wait_event_type = 'Lock' \
        and query like 'declare phoenix\\_dr%'";
    let let_go = async {
        holder.batch_execute(&once(waits, "1", "")).await.expect("seen");
        holder.batch_execute("commit").await.expect("let go");
    };
    let (clients, _armed) = lab.clients();
    let call = call("01A", &json!({}));
    let (seen, ()) = tokio::join!(observe(&clients, &call), let_go);
    let seen = seen.expect("observed");
    assert!(seen.evidence[0].starts_with("120 events of 3 experiments"), "{:?}", seen.evidence);
    let told = seen.evidence.iter().find(|line| line.contains("not counted")).expect("told");
    assert!(
        told.contains("count the experiments without events") && told.contains("(55P03)"),
        "{told}"
    );
}
