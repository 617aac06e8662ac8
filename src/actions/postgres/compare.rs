//! How what was restored differs from what was dumped.

use std::collections::{BTreeMap, BTreeSet};

use super::content::{Content, Sequence, Table};
use super::objects::{self, Definitions};

/// Says how what was restored differs from what was dumped, a line each; empty where it does not.
///
/// Sequences may be ahead: they move outside of every snapshot.
pub(super) fn differences(
    dumped: &Content,
    restored: &Content,
    definitions: Definitions,
) -> Vec<String> {
    let mut lines = tables(dumped, restored);
    lines.extend(sequences(dumped, restored));
    if restored.large_objects != dumped.large_objects {
        lines.push(format!(
            "{} large objects, the dump has {}",
            restored.large_objects, dumped.large_objects
        ));
    }
    let newly = |kind: &str, now: &[String], then: &[String]| {
        let fresh = now.iter().filter(|name| !then.contains(name));
        fresh.map(|name| format!("{kind} {name} is not valid")).collect::<Vec<_>>()
    };
    lines.extend(newly("index", &restored.invalid_indexes, &dumped.invalid_indexes));
    let (now, then) = (&restored.unvalidated_constraints, &dumped.unvalidated_constraints);
    lines.extend(newly("constraint", now, then));
    if let (Some(then), Some(now)) = (&dumped.objects, &restored.objects) {
        lines.extend(objects::differences(then, now, definitions));
    }
    lines
}

/// Says how tables were restored otherwise than they were dumped, a line each.
pub(super) fn tables_differ(dumped: &[&Table], restored: &Content) -> Vec<String> {
    let mut lines = Vec::new();
    let there: BTreeMap<String, &Table> =
        restored.tables.iter().map(|table| (table.full_name(), table)).collect();
    for table in dumped {
        let name = table.full_name();
        match there.get(&name) {
            None => lines.push(format!("table {name} is missing")),
            Some(other) if other.rows != table.rows => {
                lines
                    .push(format!("table {name} has {} rows, the dump {}", other.rows, table.rows));
            }
            Some(other) if other.digest != table.digest => {
                lines.push(format!("table {name} has as many rows as the dump, and other content"));
            }
            Some(_) => {}
        }
    }
    lines
}

fn tables(dumped: &Content, restored: &Content) -> Vec<String> {
    let mut lines = tables_differ(&dumped.tables.iter().collect::<Vec<_>>(), restored);
    let known: BTreeSet<String> = dumped.tables.iter().map(Table::full_name).collect();
    let there: BTreeSet<String> = restored.tables.iter().map(Table::full_name).collect();
    let new = there.iter().filter(|name| !known.contains(*name) && !dumped.unlogged.contains(name));
    lines.extend(new.map(|name| format!("table {name} is not in the dump")));
    lines
}

fn sequences(dumped: &Content, restored: &Content) -> Vec<String> {
    let mut lines = Vec::new();
    let there: BTreeMap<String, &Sequence> =
        restored.sequences.iter().map(|sequence| (sequence.full_name(), sequence)).collect();
    for sequence in &dumped.sequences {
        let name = sequence.full_name();
        match there.get(&name) {
            None => lines.push(format!("sequence {name} is missing")),
            Some(other) if other.is_before(sequence) => lines.push(format!(
                "sequence {name} is at {}, the dump at {}",
                other.last_value, sequence.last_value
            )),
            Some(_) => {}
        }
    }
    let behind = restored.behind.iter().filter(|name| !dumped.behind.contains(name));
    lines.extend(behind.map(|name| format!("sequence {name} is behind its column")));
    lines
}

#[cfg(test)]
mod tests {
    use super::super::objects::{Object, ObjectKind};
    use super::*;

    fn table(name: &str, rows: u64, digest: &str) -> Table {
        Table { schema: "app".to_owned(), name: name.to_owned(), rows, digest: digest.to_owned() }
    }

    fn object(name: &str, digest: &str) -> Object {
        let (schema, digest) = ("app".to_owned(), digest.to_owned());
        Object { kind: ObjectKind::Check, schema, name: name.to_owned(), digest }
    }

    fn content() -> Content {
        let next = |name: &str, last_value| Sequence {
            schema: "app".to_owned(),
            name: name.to_owned(),
            last_value,
            is_called: true,
            increment: 1,
            cycles: false,
        };
        Content {
            tables: vec![table("orders", 3, "17"), table("users", 1, "5")],
            unlogged: Vec::new(),
            sequences: vec![next("ids", 40)],
            behind: Vec::new(),
            large_objects: 2,
            invalid_indexes: vec!["app.old".to_owned()],
            unvalidated_constraints: Vec::new(),
            objects: Some(vec![object("orders.key", "1"), object("orders.small", "2")]),
        }
    }

    fn compared(restored: &Content) -> Vec<String> {
        differences(&content(), restored, Definitions::Compared)
    }

    #[test]
    fn the_same_content_does_not_differ_and_sequences_may_be_ahead() {
        let mut ahead = content();
        ahead.sequences[0].last_value = 99;
        ahead.invalid_indexes.clear();
        assert_eq!(compared(&ahead), Vec::<String>::new());
        // A manifest of before they were listed says nothing of them.
        let before = Content { objects: None, ..content() };
        assert!(differences(&before, &content(), Definitions::Compared).is_empty());
    }

    #[test]
    fn everything_that_differs_is_named() {
        let restored = Content {
            tables: vec![table("orders", 3, "18"), table("strange", 1, "5")],
            unlogged: Vec::new(),
            sequences: vec![Sequence { last_value: 39, ..content().sequences[0].clone() }],
            behind: vec!["app.ids".to_owned()],
            large_objects: 1,
            invalid_indexes: vec!["app.new".to_owned()],
            unvalidated_constraints: vec!["app.orders.positive".to_owned()],
            objects: Some(vec![object("orders.new", "1"), object("orders.small", "3")]),
        };
        assert_eq!(
            compared(&restored),
            [
                "table app.orders has as many rows as the dump, and other content",
                "table app.users is missing",
                "table app.strange is not in the dump",
                "sequence app.ids is at 39, the dump at 40",
                "sequence app.ids is behind its column",
                "1 large objects, the dump has 2",
                "index app.new is not valid",
                "constraint app.orders.positive is not valid",
                "check constraint app.orders.key is missing",
                "check constraint app.orders.small is defined otherwise than in the dump",
                "check constraint app.orders.new is not in the dump",
            ]
        );
        let others = Content { objects: restored.objects, ..content() };
        let names = differences(&content(), &others, Definitions::NamesAlone);
        assert_eq!(names.len(), 2, "another version writes them in other words: {names:?}");
        let short =
            Content { tables: vec![table("orders", 2, "17"), table("users", 1, "5")], ..content() };
        assert_eq!(compared(&short), ["table app.orders has 2 rows, the dump 3"]);
    }
}
