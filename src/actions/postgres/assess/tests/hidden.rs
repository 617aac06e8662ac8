//! Damage that a plain read does not tell, or tells of something else; and what is no damage.

use std::os::unix::fs::{FileExt, MetadataExt};

use super::super::relations::{Kind, LIST, relation, tests};
use super::super::server::Callable;
use super::super::verdict::{Unread, Verdict};
use super::*;
use crate::engine::ports::Progress;

/// Block of 8 KiB in a file of a table's first GiB.
const BLOCKS_OF_A_FILE: u64 = 131_072;

/// Says of every row of a table that it was updated by several transactions and by one, which cannot be. It reads all
/// the same.
fn contradict(bytes: &mut [u8]) {
    for page in bytes.chunks_mut(BLOCK) {
        let lower = usize::from(u16::from_le_bytes([page[12], page[13]]));
        for item in (24..lower).step_by(4) {
            let item: [u8; 4] = page[item..item + 4].try_into().expect("four bytes");
            let at = usize::from(u16::from_le_bytes([item[0], item[1]]) & 0x7FFF);
            // Of the header of a row: the committed and the invalid deletion, and that it was by several.
            page[at + 21] |= 0x1C;
        }
    }
}

#[tokio::test]
async fn a_finding_for_each_row_is_counted_and_not_kept() {
    let Some(mut server) = estate(&[]).await else { return };
    with_amcheck(&server).await;
    let bulk = file(&server, "app.bulk").await;
    server.while_stopped(|data| change(data, &bulk, |bytes| contradict(bytes))).await;
    let with = json!({ "tier": "deep", "schemas": ["app"] });
    let found = assess(&server, &with).await.expect("a result");
    assert_eq!(found.names("damaged_relations"), ["app.bulk"]);
    let entries = found.report["entries"].as_array().expect("entries");
    let bulk = entries.iter().find(|entry| entry["relation"] == "app.bulk").expect("it");
    let named = bulk["verdict"]["places"].as_array().expect("places").len();
    let more = bulk["verdict"]["more"].as_u64().expect("the rest is counted");
    assert_eq!((named, named as u64 + more), (1000, 2 * 60_000), "{}", found.notes.join("\n"));
}

#[tokio::test]
async fn rows_are_not_lost_with_the_index_of_their_large_values() {
    let Some(mut server) = estate(&["-k"]).await else { return };
    let toast = "select reltoastrelid::regclass::text from pg_class where relname = 'documents'";
    let toast = server.text("phoenix", toast).await;
    let key = format!("{toast}_index");
    let of_key = file(&server, &key).await;
    server.while_stopped(|data| overwrite(data, &of_key, 1)).await;
    // Without amcheck the rows that cannot be read are what tells of the index; with it, it is found by itself.
    for amcheck in [false, true] {
        if amcheck {
            with_amcheck(&server).await;
        }
        let with = json!({ "tier": "deep", "schemas": ["app"] });
        let found = assess(&server, &with).await.expect("a result");
        assert_eq!(found.names("damaged_relations"), [&key], "{}", found.text);
        assert!(found.names("damaged_tables").is_empty(), "{}", found.text);
        assert!(found.names("unread_relations").contains(&"app.documents"), "doubt is not sound");
        let said = &found.unsound()["app.documents"];
        assert!(said.contains("rows were not read") && said.contains(&key), "{said}");
        assert_eq!(found.outputs["whole_database"], false);
        assert!(found.notes[1].contains("reindex"), "{:?}", found.notes);
    }
    server.sql("phoenix", &format!("reindex index {key}")).await;
    let mended = assess(&server, &json!({ "schemas": ["app"] })).await.expect("a result");
    assert!(!mended.unsound().contains_key("app.documents"), "{}", mended.text);
}

#[tokio::test]
async fn what_is_behind_a_file_that_is_cut_short_is_not_called_sound() {
    let Some(mut server) = estate(&["-k"]).await else { return };
    with_amcheck(&server).await;
    server.sql("phoenix", "create table app.huge (id int); insert into app.huge values (1)").await;
    server
        .sql("phoenix", "create table app.whole (id int); insert into app.whole values (1)")
        .await;
    let [huge, whole] = [file(&server, "app.huge").await, file(&server, "app.whole").await];
    let short = 4;
    server
        .while_stopped(|data| {
            let grow = |file: &str, blocks: u64| {
                let path = data.join(file);
                let mut options = std::fs::OpenOptions::new();
                let file = options.write(true).create(true).open(&path).expect("opened");
                // Pages of zeros are empty pages, and take no room.
                file.set_len(blocks * 8192).expect("longer");
                let owner = std::fs::metadata(data).expect("there");
                let (user, group) = (Some(owner.uid()), Some(owner.gid()));
                std::os::unix::fs::chown(&path, user, group).expect("owned");
                file
            };
            grow(&huge, BLOCKS_OF_A_FILE);
            grow(&format!("{huge}.1"), short);
            let last = grow(&format!("{huge}.2"), 3);
            last.write_at(&[0], 0).expect("written");
            grow(&whole, BLOCKS_OF_A_FILE);
            grow(&format!("{whole}.1"), 3);
        })
        .await;
    let found = assess(&server, &json!({ "schemas": ["app"] })).await.expect("a result");
    let place = format!("{} - - -", BLOCKS_OF_A_FILE + short);
    let mut unsound = found.unsound();
    unsound.retain(|name, _| !name.contains("pkey"));
    assert_eq!(unsound, BTreeMap::from([("app.huge".to_owned(), place)]), "{}", found.text);
    assert!(found.text.contains("out of reach"), "{}", found.text);
    assert_eq!(found.names("damaged_tables"), ["app.huge"]);
}

/// Reads a server as an assessment of it does; `until` is when its time is over.
async fn with_reader<T>(
    server: &Server,
    until: Option<jiff::Timestamp>,
    read: impl AsyncFnOnce(&mut reader::Reader<'_>) -> T,
) -> T {
    let clients = testing::clients(server.estate(&json!({})));
    let facts = facts();
    let tally = Tally::of(1);
    let (sink, _told) = tokio::sync::mpsc::unbounded_channel();
    let progress = Progress::new(crate::ids::StepId::from("assess"), sink);
    let opening = Opening::for_long_reads(Some("phoenix"));
    let session = connect_with(&clients, "phoenix-prod", None, opening).await.expect("connects");
    let shared = Shared {
        clients: &clients,
        progress: &progress,
        instance: "phoenix-prod",
        tier: AssessTier::Deep,
        compares: true,
        facts: &facts,
        until: Until { at: until, budget: None },
        tally: &tally,
    };
    read(&mut reader::Reader { shared, session }).await
}

fn facts() -> server::Facts {
    server::Facts {
        version: "15".to_owned(),
        checksums: true,
        block_bytes: 8192,
        in_recovery: false,
        database: "phoenix".to_owned(),
        database_oid: 16_384,
        role: "dr".to_owned(),
        checksum_failures: 0,
        checksum_last_failure: None,
        checksum_failures_before: 0,
        version_number: 150_000,
        index_check: Callable::No("amcheck is not installed".to_owned()),
        heap_check: Callable::No("amcheck is not installed".to_owned()),
    }
}

#[tokio::test]
async fn rows_that_could_not_be_counted_are_not_called_sound() {
    let Some(server) = estate(&[]).await else { return };
    let customers = tests::relation(1, "app.customers", Kind::Table, None, 8192);
    let counted =
        async |reader: &mut reader::Reader<'_>| reader.rows(&customers, None).await.expect("asked");
    assert_eq!(with_reader(&server, None, counted).await, Verdict::Sound);
    let over = with_reader(&server, Some(jiff::Timestamp::UNIX_EPOCH), counted).await;
    let time = "its rows were not counted: the step's time was over".to_owned();
    assert_eq!(over, Verdict::Unread(Unread::for_time(time)));
}

#[tokio::test]
async fn what_is_dropped_meanwhile_is_gone_and_not_unread() {
    let Some(server) = estate(&[]).await else { return };
    // Listed by a transaction that sees it, after another one has dropped it.
    let (client, _driver) =
        server.client("dr", "operator-secret", "phoenix").await.expect("connects");
    client.batch_execute("begin isolation level repeatable read; select 1").await.expect("begun");
    server.sql("phoenix", "drop table app.orders").await;
    let rows = client.query(LIST, &[]).await.expect("listed");
    let facts = facts();
    let listed = rows.iter().filter_map(|row| relation(row, &facts).expect("read"));
    let names: Vec<String> = listed.map(|relation| relation.name).collect();
    assert!(names.contains(&"app.customers".to_owned()), "{names:?}");
    assert!(!names.contains(&"app.orders".to_owned()), "{names:?}");
    // Listed, and dropped before its turn came.
    let oid: u32 = server
        .text("phoenix", "select 'app.customers'::regclass::oid::text")
        .await
        .parse()
        .expect("a number");
    let customers = tests::relation(oid, "app.customers", Kind::Table, None, 8192);
    let key = tests::relation(oid + 1, "app.customers_pkey", Kind::Index, Some(oid), 8192);
    let family = relations::families(vec![customers, key]).remove(0);
    server.sql("phoenix", "drop table app.customers").await;
    let assessed = async |reader: &mut reader::Reader<'_>| reader.family(&family).await;
    let assessed = with_reader(&server, None, assessed).await.expect("no error");
    assert_eq!(assessed.entries, Vec::new());
    assert_eq!(assessed.gone, ["app.customers", "app.customers_pkey"]);
}
