//! Assessments of real servers whose files were damaged, and of what keeps an assessment from reading.

mod damage;
mod essential;
mod hidden;
mod obstacles;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::actions::{observe, perform};
use crate::clients::postgres::testing::Server;
use crate::clients::testing;
use crate::runbook::catalogue::actions::ActionName;

/// Size of a server's blocks.
const BLOCK: usize = 8192;

fn call(more: &Value) -> Call {
    let mut with = json!({ "instance": "phoenix-prod", "region": "us-east-1" });
    for (name, value) in more.as_object().into_iter().flatten() {
        with[name.as_str()] = value.clone();
    }
    testing::call(ActionName::PostgresAssess, with).0
}

/// Returns a server with checksums and a database of several schemas, which the operator may read and check.
async fn estate(options: &[&str]) -> Option<Server> {
    let server = Server::start_with(options)?;
    server.prepare().await;
    // Nothing but the test touches what is damaged.
    server.sql("postgres", "alter system set autovacuum = off").await;
    server.sql("postgres", "select pg_reload_conf()").await;
    server.sql("postgres", "grant pg_read_all_data to dr").await;
    let tables = "create schema app; create schema audit; \
         create table app.bulk as select n as id, repeat('b', 200) as filler from generate_series(1, 60000) n; \
         create table app.orders (id int primary key, t text); \
         insert into app.orders select n, repeat('o', 200) from generate_series(1, 4000) n; \
         create table app.customers (id int primary key, name text); \
         insert into app.customers select n, repeat('c', 50) from generate_series(1, 20000) n; \
         create table app.documents (id int primary key, body text); \
         alter table app.documents alter body set storage external; \
         insert into app.documents select n, repeat(chr(64 + n % 26), 6000) from generate_series(1, 100) n; \
         create table app.events (at date, what text, primary key (at, what)) partition by range (at); \
         create table app.events_1 partition of app.events for values from ('2026-01-01') to ('2026-02-01'); \
         create table app.events_2 partition of app.events for values from ('2026-02-01') to ('2026-03-01'); \
         insert into app.events select '2026-01-05', n || repeat('e', 100) from generate_series(1, 2000) n; \
         insert into app.events select '2026-02-05', n || repeat('e', 100) from generate_series(1, 2000) n; \
         create table audit.log as select n as id, repeat('l', 100) as line from generate_series(1, 1000) n; \
         create table audit.\"Odd Name\" (\"t\" text); insert into audit.\"Odd Name\" values ('x'); \
         create table audit.empty (id int); \
         create table audit.short (id int primary key, line text); \
         insert into audit.short select n, repeat('s', 200) from generate_series(1, 2000) n; \
         create sequence audit.numbers; \
         create materialized view audit.totals as select count(*) from audit.log; \
         create materialized view audit.unfilled as select 1 as one with no data;";
    server.sql("phoenix", tables).await;
    server.sql("phoenix", "vacuum analyze").await;
    Some(server)
}

async fn with_amcheck(server: &Server) {
    let sql = "create extension amcheck; \
         grant execute on function bt_index_check(regclass, boolean) to dr; \
         grant execute on function verify_heapam(regclass, boolean, boolean, text, bigint, bigint) to dr";
    server.sql("phoenix", sql).await;
}

/// What an assessment gave.
struct Assessed {
    outputs: Map,
    notes: Vec<String>,
    report: Value,
    text: String,
}

type Map = serde_json::Map<String, Value>;

impl Assessed {
    /// Returns what is said of the relations that are not sound: places as block, row and column, or why it is unread.
    fn unsound(&self) -> BTreeMap<String, String> {
        let entries = self.report["entries"].as_array().expect("entries");
        let said = |entry: &Value| {
            let verdict = &entry["verdict"];
            let said = match verdict["kind"].as_str().expect("a verdict") {
                "sound" => return None,
                "unread" => verdict["why"].as_str().expect("a reason").to_owned(),
                _ => places(verdict),
            };
            Some((entry["relation"].as_str().expect("a name").to_owned(), said))
        };
        entries.iter().filter_map(said).collect()
    }

    fn names(&self, output: &str) -> Vec<&str> {
        let names = self.outputs[output].as_array().expect("a list");
        names.iter().map(|name| name.as_str().expect("a name")).collect()
    }
}

fn places(verdict: &Value) -> String {
    let place = |place: &Value| {
        let part = |name: &str| match &place[name] {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        format!("{} {} {} {}", part("block"), part("offset"), part("column"), part("code"))
    };
    let places = verdict["places"].as_array().expect("places");
    places.iter().map(place).collect::<Vec<_>>().join(", ")
}

/// Assesses a server.
async fn assess(server: &Server, more: &Value) -> Result<Assessed, ActionError> {
    assess_in(server.estate(&json!({})), more).await
}

/// Assesses the primary of an estate; reads the report back from its files.
async fn assess_in(estate: Value, more: &Value) -> Result<Assessed, ActionError> {
    let folder = tempfile::tempdir().expect("a folder");
    let (clients, armed) = testing::armed(estate);
    let clients = clients.with_artifacts(folder.path().join("artifacts"));
    let call = call(more);
    let seen = observe(&clients, &call).await?;
    assert!(!seen.satisfied && seen.waiver.is_none() && seen.tells, "{seen:?}");
    let done = perform(&clients, &armed, &call, &seen).await?;
    assert_eq!(done.after, seen.desired);
    // That the step is done must not be taken for a sound database.
    assert_eq!(done.obligations.len(), usize::from(done.outputs["damaged"] == true));
    let marked = done.notes.iter().filter(|note| note.starts_with(WARNS)).count();
    let sound = done.outputs["sound"] == true;
    assert_eq!(marked, if sound { 0 } else { done.notes.len() });
    assert_eq!(done.notes[0].starts_with(TELLS), sound, "the result is for everybody");
    let plain = |note: &String| note.trim_start_matches(WARNS).trim_start_matches(TELLS).to_owned();
    let notes: Vec<String> = done.notes.iter().map(plain).collect();
    let result = done.outputs["result"].as_str().expect("a sentence");
    assert!(result.starts_with(&notes[0]), "{result}");
    let file = done.outputs["report"].as_str().expect("a file").to_owned();
    assert!(notes.contains(&format!("report: {file}")), "{notes:?}");
    let read = |file: &str| std::fs::read_to_string(file).expect("it is there");
    let report = serde_json::from_str(&read(&file)).expect("JSON");
    let text = read(&file.replace(".json", ".txt"));
    Ok(Assessed { outputs: done.outputs, notes, report, text })
}

/// Returns the file of a relation.
async fn file(server: &Server, relation: &str) -> String {
    server.text("phoenix", &format!("select pg_relation_filepath('{relation}')")).await
}

/// Changes the bytes of a file.
fn change(data: &Path, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = data.join(file);
    let mut bytes = std::fs::read(&path).expect("it is there");
    change(&mut bytes);
    // Written in place: the file keeps its owner.
    std::fs::write(&path, bytes).expect("written");
}

/// Overwrites bytes in the middle of a block.
fn overwrite(data: &Path, file: &str, block: usize) {
    change(data, file, |bytes| {
        let at = block * BLOCK + BLOCK / 2;
        bytes.get_mut(at..at + 64).expect("the block is there").fill(0xA5);
    });
}
