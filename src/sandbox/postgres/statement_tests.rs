//! That every statement this program sends is understood, and nothing else.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;

fn known(sql: &str) -> Option<Statement> {
    understand(sql, |_| None)
}

#[test]
fn understands_what_is_sent() {
    let read_only = Statement::Control(Control::Begin { read_only: Some(true) });
    assert_eq!(
        known("START TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY"),
        Some(read_only)
    );
    let login = Statement::SetLogin { role: "App\"x".to_owned(), may: false };
    assert_eq!(known("alter role \"App\"\"x\" nologin"), Some(login));
    let set = Statement::SetReadOnly { value: Some("on".to_owned()) };
    let sql = "alter database \"phoenix\" set default_transaction_read_only = 'on'";
    assert_eq!(known(sql), Some(set));
    let sql =
        "select not exists (select 1 from pg_roles where rolname in ('a', 'b') and rolcanlogin)";
    let fenced = Statement::AllFenced { roles: vec!["a".to_owned(), "b".to_owned()] };
    assert_eq!(known(sql), Some(fenced));
}

#[test]
fn knows_nothing_else_unless_the_world_answers_it() {
    assert_eq!(known("select count(*) from orders"), None);
    assert_eq!(known("select not false"), Some(Statement::Answer { value: json!(true) }));
    assert_eq!(known("drop table orders"), None);
    let told = understand("select  count(*)\n from orders;", |sql| {
        (sql == "select count(*) from orders").then(|| json!(7))
    });
    assert_eq!(told, Some(Statement::Answer { value: json!(7) }));
}

/// Where statements are sent from.
const SENDERS: [&str; 4] = ["src/actions", "src/capture", "src/checks", "src/clients"];
/// Where statements are sent from that the simulation does not know: a rehearsal that comes to them has left it, and says
/// so.
const NOT_SIMULATED: [&str; 22] = [
    "src/actions/experiments/",
    "src/clients/postgres/batch.rs",
    "src/actions/postgres/analyze.rs",
    "src/actions/postgres/assess",
    "src/actions/postgres/cut_over",
    "src/actions/postgres/evidence",
    "src/actions/postgres/fence/",
    "src/clients/postgres/acl.rs",
    "src/clients/postgres/blocked.rs",
    "src/clients/postgres/long.rs",
    "src/clients/postgres/whole_fence.rs",
    "src/actions/postgres/content.rs",
    "src/actions/postgres/dump.rs",
    "src/actions/postgres/extensions.rs",
    "src/actions/postgres/objects.rs",
    "src/actions/postgres/point_in_time/unused.rs",
    "src/actions/postgres/points/replica.rs",
    "src/actions/postgres/properties.rs",
    "src/actions/postgres/restore",
    "src/actions/postgres/rights.rs",
    "src/actions/postgres/server.rs",
    "src/clients/postgres/held.rs",
];
/// How a statement begins.
const BEGINNINGS: [&str; 9] = [
    "select ",
    "insert into ",
    "delete from ",
    "create table ",
    "create schema ",
    "alter database ",
    "alter role ",
    "alter system ",
    "set local ",
];
/// Texts that are shown to a person and never sent.
const SHOWN: [&str; 6] = [
    "alter role {quoted} login",
    "alter database {name} owner to {user}",
    "alter role {user} createrole",
    "alter role {user} reset default_transaction_read_only",
    "alter role {user} in database {name} reset default_transaction_read_only",
    "alter system reset default_transaction_read_only; select pg_reload_conf()",
];

/// Returns the literals of a source file, in order, as the program has them.
fn literals(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut found = Vec::new();
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '/' if chars.peek() == Some(&'/') => {
                chars.by_ref().take_while(|c| *c != '\n').for_each(drop);
            }
            '\'' => {
                // A character; a lifetime has no quote behind it.
                let mut ahead = chars.clone();
                let escaped = ahead.next() == Some('\\');
                if escaped {
                    ahead.next();
                }
                if ahead.next() == Some('\'') {
                    chars = ahead;
                }
            }
            '"' => found.push(literal(&mut chars)),
            _ => {}
        }
    }
    found
}

fn literal(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('\n') => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                Some(other) => text.push(other),
                None => break,
            },
            c => text.push(c),
        }
    }
    text
}

/// Puts values such as the program puts in place of a statement's placeholders.
fn filled(statement: &str, schema: &str) -> String {
    let beat = statement.contains("run = $1") || statement.contains("(run, identity");
    let table = if beat { "phoenix_dr_heartbeat" } else { "phoenix_dr_fence" };
    let table = format!("{schema}.{table}");
    let mut text = statement.replace("{schema}.{table}", "{table}");
    for (name, value) in [
        ("{table}", table.as_str()),
        ("{SETTING}", "default_transaction_read_only"),
        ("{DEFAULT}", "default_transaction_read_only"),
        ("{ROLE}", "role:"),
        ("{AT}", "timestamptz 'epoch' + $3::int8 * interval '1 microsecond'"),
        ("{columns}", "what text primary key, was text"),
        ("{OWN_SCHEMA}", "phoenix_dr"),
        ("{word}", "nologin"),
        ("{name}", "\"phoenix\""),
        ("{database}", "\"phoenix\""),
        ("{open}", "from pg_stat_activity where datname = current_database() and usename in ('a')"),
    ] {
        text = text.replace(name, value);
    }
    while let Some((before, after)) = text.split_once("{}") {
        let value = match before {
            _ if before.ends_with("insert into ") || before.ends_with("delete from ") => &table,
            _ if before.ends_with("role ") => "\"phoenix_app\"",
            _ if before.ends_with("in (") => "'a', 'b'",
            _ if before.ends_with("values (") => "'setting'",
            _ if before.ends_with("values ('setting', ") => "null",
            _ if before.ends_with("= ") => "'on'",
            _ => panic!("what is put in here is not known: {statement}"),
        };
        text = format!("{before}{value}{after}");
    }
    assert!(!text.contains('{'), "what is put in here is not known: {statement}");
    text
}

#[test]
fn every_statement_this_program_sends_is_known() {
    let mut files: Vec<std::path::PathBuf> = SENDERS.iter().map(Into::into).collect();
    let mut shown = BTreeSet::new();
    let mut sent = 0;
    let mut unknown = BTreeSet::new();
    while let Some(path) = files.pop() {
        let name = path.display().to_string();
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a folder of the sources");
            files.extend(entries.map(|entry| entry.expect("an entry").path()));
            continue;
        }
        if name.ends_with("tests.rs") || name.contains("/tests/") || name.contains("testing") {
            continue;
        }
        for statement in literals(&std::fs::read_to_string(&path).expect("a source")) {
            if !BEGINNINGS.iter().any(|beginning| statement.starts_with(beginning)) {
                continue;
            }
            // Of such a place nothing is demanded; a statement that others send as well may be known.
            let place = NOT_SIMULATED.iter().find(|place| name.starts_with(**place));
            if let Some(place) = place.filter(|_| known(&statement).is_none()) {
                unknown.insert(*place);
                continue;
            }
            if SHOWN.contains(&statement.as_str()) {
                shown.insert(statement);
                continue;
            }
            sent += 1;
            for schema in ["public", "phoenix_dr"] {
                let text = filled(&statement, schema);
                assert!(known(&text).is_some(), "{name}: the simulation does not know: {text}");
            }
        }
    }
    // The statements a runbook brings are this program's as well where it is built in.
    for entry in std::fs::read_dir("runbooks").expect("the built-in runbooks") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a runbook");
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("sql: ")) {
            let line = line.trim_matches('"');
            // What the operator gives is the operator's, and a world's to answer.
            if line == "${{ inputs.query }}" {
                continue;
            }
            sent += 1;
            let found = line.find("${{").zip(line.find("}}"));
            let line = match found {
                Some((from, to)) => format!("{}false{}", &line[..from], &line[to + 2..]),
                None => line.to_owned(),
            };
            assert!(known(&line).is_some(), "{}: not simulated: {line}", path.display());
        }
    }
    assert_eq!(shown.len(), SHOWN.len(), "what is never sent is still in the sources");
    let named: BTreeSet<&str> = NOT_SIMULATED.into_iter().collect();
    assert_eq!(unknown, named, "each of these places sends what is not simulated");
    assert!(sent > 25, "only {sent} statements were found: this looks for them in the wrong way");
}
