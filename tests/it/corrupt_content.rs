//! What the database of a run through DR-002 holds besides the estate's two tables, and how pages of it are damaged.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::estate::Estate;
use super::harness::of_step;

const INSTANCE: &str = "phoenix-prod";
/// Size of a page.
const PAGE: u64 = 8192;

/// Several schemas, foreign keys across them, partitions, large values outside of their rows, a sequence of its own.
const CONTENT: [&str; 15] = [
    "create schema lab",
    "create schema archive",
    "create table lab.samples (id bigint generated always as identity primary key, \
         experiment bigint not null references public.experiments, label text not null)",
    "insert into lab.samples (experiment, label) select 1 + n % 500, md5(n::text) from generate_series(1, 2000) n",
    "create index samples_label on lab.samples (label)",
    "create table archive.readings (sample bigint not null references lab.samples, day date not null, value float8, \
         primary key (sample, day)) partition by range (day)",
    "create table archive.readings_1 partition of archive.readings for values from ('2026-01-01') to ('2026-02-01')",
    "create table archive.readings_2 partition of archive.readings for values from ('2026-02-01') to ('2026-03-01')",
    "insert into archive.readings select n, date '2026-01-01' + n % 59, n / 3.0 from generate_series(1, 2000) n",
    "create table lab.documents (id int primary key, body text)",
    "alter table lab.documents alter body set storage external",
    "insert into lab.documents select n, repeat(md5(n::text), 2000) from generate_series(1, 20) n",
    "create sequence lab.tickets start 500 increment 7",
    "select nextval('lab.tickets')",
    "create view lab.labelled as select s.label, d.body from lab.samples s join lab.documents d using (id)",
];

/// Fills the database.
pub(super) fn fill(estate: &Estate) {
    for sql in CONTENT {
        estate.sql(INSTANCE, sql);
    }
}

fn text(estate: &Estate, sql: &str) -> String {
    estate.sql(INSTANCE, sql).as_str().expect("a text").to_owned()
}

/// Overwrites pages on disk, each a relation and its block, while the server is stopped: then it reads them from there.
pub(super) fn overwrite(estate: &Estate, pages: &[(&str, u64)]) {
    let changes: Vec<Value> = pages
        .iter()
        .map(|(relation, block)| {
            let file = text(estate, &format!("select pg_relation_filepath('{relation}')"));
            json!({ "file": file, "at": block * PAGE + 400, "hex": "5a".repeat(24) })
        })
        .collect();
    let asked = json!({ "instance": INSTANCE, "overwrite": changes });
    estate.post("/restart", &asked.to_string());
}

/// Overwrites a page of a table, of a partition in another schema, of large values and of an index. Returns what an assessment
/// must name, and nothing else: each relation with its blocks.
pub(super) fn damage_of_every_kind(estate: &Estate) -> BTreeMap<String, BTreeSet<u64>> {
    let large =
        "select reltoastrelid::regclass::text from pg_class where oid = 'lab.documents'::regclass";
    let large = text(estate, large);
    let pages = [
        ("public.experiments", 1),
        ("archive.readings_1", 2),
        ("lab.samples_label", 3),
        (large.as_str(), 11),
    ];
    overwrite(estate, &pages);
    // The row whose value is lost is in the only page of its table.
    let of_row = [("lab.documents", 0)];
    let all = pages.into_iter().chain(of_row);
    all.map(|(relation, block)| (relation.to_owned(), BTreeSet::from([block]))).collect()
}

/// What a restore must bring back of that.
pub(super) const DAMAGED_TABLES: [&str; 3] =
    ["archive.readings_1", "lab.documents", "public.experiments"];

/// Returns what the report of a run's assessment says is damaged.
#[track_caller]
pub(super) fn assessed(events: &[Value]) -> BTreeMap<String, BTreeSet<u64>> {
    let found = &of_step(events, "attempt_finished", "assess")[0]["result"]["outputs"];
    let report = std::fs::read_to_string(found["report"].as_str().expect("a file"));
    damaged(&serde_json::from_str(&report.expect("read")).expect("JSON"))
}

/// Returns what an assessment's report says is damaged, each relation with its blocks. Nothing of it may be unread.
#[track_caller]
fn damaged(report: &Value) -> BTreeMap<String, BTreeSet<u64>> {
    let entries = report["entries"].as_array().expect("entries");
    assert!(entries.len() > 100, "the catalogs are among them: {}", entries.len());
    let mut found = BTreeMap::new();
    for entry in entries {
        let verdict = &entry["verdict"];
        match verdict["kind"].as_str().expect("a verdict") {
            "sound" => {}
            "damaged" => {
                let places = verdict["places"].as_array().expect("places");
                let block = |place: &Value| place["block"].as_u64().expect("a block");
                let name = entry["relation"].as_str().expect("a name").to_owned();
                found.insert(name, places.iter().map(block).collect());
            }
            other => panic!("{other}: {entry}"),
        }
    }
    found
}
