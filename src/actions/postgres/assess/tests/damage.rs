//! What is damaged is named, exactly; the rest is sound.

use super::*;

#[tokio::test]
async fn exactly_the_damaged_relations_and_blocks_are_named() {
    let Some(mut server) = estate(&["-k"]).await else { return };
    with_amcheck(&server).await;
    let sound = assess(&server, &json!({ "tier": "deep" })).await.expect("assessed");
    assert_eq!(sound.unsound(), BTreeMap::new(), "{}", sound.text);
    assert_eq!((&sound.outputs["sound"], &sound.outputs["damaged"]), (&json!(true), &json!(false)));
    assert_eq!((&sound.outputs["cleared"], &sound.outputs["advice"]), (&json!(true), &json!("")));
    let kinds: Vec<&Value> =
        sound.report["entries"].as_array().expect("entries").iter().map(|e| &e["kind"]).collect();
    for kind in ["table", "index", "toast", "materialized_view", "sequence"] {
        assert!(kinds.contains(&&json!(kind)), "no {kind} was assessed");
    }
    assert!(!sound.text.contains("audit.unfilled"), "it holds nothing");

    let toast = server
        .text(
            "phoenix",
            "select reltoastrelid::regclass::text from pg_class where relname = 'documents'",
        )
        .await;
    let [orders, customers_key, large, events_1, events_2, log, short] = [
        file(&server, "app.orders").await,
        file(&server, "app.customers_pkey").await,
        file(&server, &toast).await,
        file(&server, "app.events_1").await,
        file(&server, "app.events_2").await,
        file(&server, "audit.log").await,
        file(&server, "audit.short").await,
    ];
    server
        .while_stopped(|data| {
            overwrite(data, &orders, 3);
            overwrite(data, &orders, 4);
            // A header of zeros on a page that is not empty.
            change(data, &orders, |bytes| bytes[17 * BLOCK..17 * BLOCK + 24].fill(0));
            overwrite(data, &customers_key, 2);
            overwrite(data, &large, 5);
            // A page of zeros is an empty page to PostgreSQL.
            change(data, &events_1, |bytes| bytes[BLOCK..2 * BLOCK].fill(0));
            overwrite(data, &events_2, 0);
            // Half a block is left of the last one; and a file that was cut where a block ends.
            change(data, &log, |bytes| bytes.truncate(bytes.len() - BLOCK / 2));
            change(data, &short, |bytes| bytes.truncate(20 * BLOCK));
        })
        .await;
    let log_blocks = std::fs::metadata(server.path(&log)).expect("it is there").len() / 8192;

    let compared = json!({ "tier": "deep", "compare_indexes": true });
    let found = assess(&server, &compared).await.expect("a result, no failure");
    let mut unsound = found.unsound();
    let alone = assess(&server, &json!({ "tier": "deep" })).await.expect("a result, no failure");
    let mut expected = unsound.clone();
    expected.remove("app.events_1").expect("its page of zeros shows in its index alone");
    assert_eq!(alone.unsound(), expected, "{}", alone.text);
    assert!(alone.text.contains("tables were not compared with their indexes"), "{}", alone.text);
    assert!(!found.text.contains("tables were not compared"), "{}", found.text);
    // Four chunks of four values of 1996 bytes are in a block of large values: what rows are lost with it is said by row.
    let rows = unsound.remove("app.documents").expect("its rows are lost");
    let lost: Vec<&str> = rows.split(", ").collect();
    assert!((1..=4).contains(&lost.len()), "{rows}");
    assert!(lost.iter().all(|row| row.ends_with(" body XX001")), "{rows}");
    let of_index = unsound.remove("app.customers_pkey").expect("an index");
    assert_eq!(of_index, "2 - - XX001");
    let expected = [
        ("app.events_1", "- - - -".to_owned()),
        ("app.events_2", "0 - - XX001".to_owned()),
        ("app.orders", "3 - - XX001, 4 - - XX001, 17 - - XX001".to_owned()),
        ("audit.log", format!("{log_blocks} - - -")),
        ("audit.short", "20 - - XX001".to_owned()),
        (toast.as_str(), "5 - - XX001".to_owned()),
    ];
    let expected: BTreeMap<String, String> =
        expected.into_iter().map(|(name, said)| (name.to_owned(), said)).collect();
    assert_eq!(unsound, expected, "{}", found.text);

    assert_eq!(found.outputs["damaged"], true);
    assert_eq!(found.outputs["whole_database"], false);
    assert_eq!(
        (&found.outputs["cleared"], &found.outputs["undecided"]),
        (&json!(false), &json!(false))
    );
    let advice = found.outputs["advice"].as_str().expect("advice");
    assert!(advice.contains("single relations can do: app.orders"), "{advice}");
    assert!(advice.contains("reindex index concurrently app.customers_pkey"), "{advice}");
    assert!(!advice.contains("events_1_pkey"), "{advice}");
    let mut tables = found.names("damaged_tables");
    tables.sort_unstable();
    let lost =
        ["app.documents", "app.events_1", "app.events_2", "app.orders", "audit.log", "audit.short"];
    assert_eq!(tables, lost);
    assert!(found.names("unread_relations").is_empty());
    assert_eq!(found.names("damaged_relations").last(), Some(&"app.customers_pkey"), "worst first");
    // Seven pages of those fail their checksum, each at every try to read it; the server had counted none before.
    let failures = found.outputs["checksum_failures"].as_i64().expect("a number");
    assert!(failures >= 7, "{failures}");
    let counted = format!("{failures} pages of phoenix failed their checksum since its statistics");
    let counted = format!("{counted} began, {failures} of them while it was read, the last at ");
    assert!(found.text.contains(&counted), "{}", found.text);
    assert!(
        found
            .notes
            .iter()
            .any(|line| line.contains("app.orders (table") && line.contains("block 17"))
    );
}

#[tokio::test]
async fn a_replica_is_assessed_as_its_primary_is() {
    let Some(server) = estate(&["-k"]).await else { return };
    with_amcheck(&server).await;
    let mut replica = server.replica();
    replica.sql("postgres", "select").await;
    let address = replica.address.to_string();
    let primary = json!({ "id": "phoenix-prod", "region": "us-east-1", "address": address });
    let of_replica = server.estate(&json!({ "primary": primary }));
    let with = json!({ "tier": "deep", "schemas": ["app", "audit"] });
    let sound = assess_in(of_replica.clone(), &with).await.expect("assessed");
    assert_eq!((sound.unsound(), &sound.outputs["sound"]), (BTreeMap::new(), &json!(true)));
    assert!(sound.text.contains("database phoenix, a replica"), "{}", sound.text);
    // Damage of a replica's own disk is not its primary's.
    let orders = file(&server, "app.orders").await;
    replica.while_stopped(|data| overwrite(data, &orders, 3)).await;
    let found = assess_in(of_replica, &with).await.expect("assessed");
    let expected = BTreeMap::from([("app.orders".to_owned(), "3 - - XX001".to_owned())]);
    assert_eq!(found.unsound(), expected, "{}", found.text);
    assert_eq!(assess(&server, &with).await.expect("assessed").outputs["sound"], true);
}

#[tokio::test]
async fn a_damaged_catalog_means_the_whole_database() {
    let Some(mut server) = estate(&["-k"]).await else { return };
    let description = file(&server, "pg_description").await;
    server.while_stopped(|data| overwrite(data, &description, 7)).await;
    let with = json!({ "schemas": ["audit"] });
    let found = assess(&server, &with).await.expect("a result");
    assert_eq!(found.names("damaged_relations"), ["pg_catalog.pg_description"]);
    assert_eq!(found.unsound()["pg_catalog.pg_description"], "7 - - XX001");
    assert_eq!(found.outputs["whole_database"], true);
    assert!(found.notes[1].contains("the whole database must be restored"), "{:?}", found.notes);

    // The list of relations itself cannot be had.
    let classes = file(&server, "pg_class").await;
    server
        .while_stopped(|data| {
            let blocks = std::fs::metadata(data.join(&classes)).expect("it is there").len() / 8192;
            for block in 0..usize::try_from(blocks).expect("few") {
                overwrite(data, &classes, block);
            }
        })
        .await;
    let (clients, armed) = testing::armed(server.estate(&json!({})));
    let call = call(&json!({}));
    let seen = observe(&clients, &call).await.expect("observed");
    assert!(
        seen.evidence
            .iter()
            .any(|line| line.contains("cannot be read") || line.contains("lets nobody in")),
        "{seen:?}"
    );
    let done = perform(&clients, &armed, &call, &seen).await.expect("a result");
    assert_eq!(done.outputs["whole_database"], true);
    assert_eq!(done.outputs["sound"], false);
}

#[tokio::test]
async fn without_checksums_and_amcheck_what_makes_no_sense_is_still_found() {
    let Some(mut server) = estate(&[]).await else { return };
    server.sql("phoenix", "create table app.notes (id int, body text)").await;
    let insert = "insert into app.notes select n, case n when 3 then E'\\x01\\x01\\x01\\x01needle' else 'n' end \
         || repeat('n', 200) from generate_series(1, 5) n";
    server.sql("phoenix", insert).await;
    let [notes, key] = [file(&server, "app.notes").await, file(&server, "app.orders_pkey").await];
    server
        .while_stopped(|data| {
            change(data, &notes, |bytes| {
                let needle = b"\x01\x01\x01\x01needle";
                let at = bytes
                    .windows(needle.len())
                    .position(|part| part == needle)
                    .expect("it is there");
                // Its length now says that it is compressed, which it is not.
                bytes[at - 4] |= 2;
            });
            // Nothing sees this without amcheck, and so nothing may call it sound.
            overwrite(data, &key, 2);
        })
        .await;
    let seen = observe(&testing::clients(server.estate(&json!({}))), &call(&json!({}))).await;
    let evidence = seen.expect("observed").evidence.join("\n");
    assert!(evidence.contains("data checksums are off"), "{evidence}");
    assert!(evidence.contains("amcheck is not installed in phoenix"), "{evidence}");
    assert!(evidence.contains("create extension amcheck"), "{evidence}");

    let found =
        assess(&server, &json!({ "tier": "deep", "schemas": ["app"] })).await.expect("a result");
    let unsound = found.unsound();
    assert_eq!(unsound["app.notes"], "0 3 body XX001", "{}", found.text);
    assert_eq!(found.names("damaged_relations"), ["app.notes"]);
    assert!(unsound["app.orders_pkey"].contains("create extension amcheck"), "{unsound:?}");
    assert!(!unsound.contains_key("app.orders") && !unsound.contains_key("app.documents"));
    assert!(!found.text.contains("audit.log"), "it was not asked for");
}

#[tokio::test]
async fn a_checksum_failure_that_was_counted_keeps_a_database_from_being_called_sound() {
    let Some(mut server) = estate(&["-k"]).await else { return };
    with_amcheck(&server).await;
    let log = file(&server, "audit.log").await;
    server.while_stopped(|data| overwrite(data, &log, 1)).await;
    let found = assess(&server, &json!({})).await.expect("a result");
    assert_eq!(found.names("damaged_tables"), ["audit.log"]);
    // The page is gone with its table, and the count stays.
    server.sql("phoenix", "drop table audit.log cascade").await;
    let doubted = assess(&server, &json!({ "tier": "deep" })).await.expect("a result");
    assert_eq!(doubted.unsound(), BTreeMap::new(), "{}", doubted.text);
    let said = |name: &str| doubted.outputs[name].clone();
    assert_eq!(
        (said("damaged"), said("sound"), said("cleared")),
        (json!(false), json!(false), json!(false))
    );
    let result = doubted.outputs["result"].as_str().expect("a sentence");
    assert!(result.starts_with("no damage was found in "), "{result}");
    assert!(
        result.contains("failed their checksum") && result.contains(", 0 of them while"),
        "{result}"
    );
    assert_eq!(doubted.outputs["checksum_failures"], found.outputs["checksum_failures"]);
    server.sql("phoenix", "select pg_stat_reset()").await;
    let sound = assess(&server, &json!({ "tier": "deep" })).await.expect("a result");
    assert_eq!(
        (&sound.outputs["sound"], &sound.outputs["checksum_failures"]),
        (&json!(true), &json!(0))
    );
}

#[tokio::test]
async fn what_no_check_knows_keeps_no_database_from_being_sound() {
    let Some(server) = estate(&["-k"]).await else { return };
    with_amcheck(&server).await;
    let sql = "alter table app.orders add tags text[] default '{a,b}'; \
         create index by_tag on app.orders using gin (tags); \
         create index unused on app.customers (name); \
         update pg_index set indisvalid = false where indexrelid = 'app.unused'::regclass";
    server.sql("phoenix", sql).await;
    for tier in ["quick", "deep"] {
        let found = assess(&server, &json!({ "tier": tier, "budget": null })).await;
        let found = found.expect("a result");
        let unsound = found.unsound();
        assert_eq!(unsound.keys().collect::<Vec<_>>(), ["app.by_tag", "app.unused"], "{unsound:?}");
        assert_eq!(found.names("unread_relations").len(), 2, "they are told all the same");
        assert_eq!(
            (&found.outputs["sound"], &found.outputs["cleared"]),
            (&json!(true), &json!(true))
        );
        assert!(
            found.notes[0].starts_with("all that can be checked is sound: "),
            "{:?}",
            found.notes
        );
    }
}
