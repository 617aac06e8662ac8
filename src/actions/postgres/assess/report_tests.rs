//! The order of what was found, what later steps are told of it, and how it reads.

use super::super::relations::families;
use super::super::relations::tests::relation;
use super::*;

const MIB: u64 = 1024 * 1024;

fn damaged(blocks: &[u32]) -> Verdict {
    let place = |block: &u32| Place {
        block: Some(*block),
        offset: None,
        column: None,
        means: Means::Read,
        code: Some("XX001".to_owned()),
        said: format!("invalid page in block {block}"),
    };
    Verdict::Damaged { places: blocks.iter().map(place).collect(), unread: Vec::new(), more: 0 }
}

fn entry(name: &str, kind: Kind, bytes: u64, verdict: Verdict) -> Entry {
    Entry {
        relation: name.to_owned(),
        kind,
        table: None,
        catalog: name.starts_with("pg_catalog."),
        bytes,
        verdict,
    }
}

fn of(table: &str, entry: Entry) -> Entry {
    Entry { table: Some(table.to_owned()), ..entry }
}

fn report(mut entries: Vec<Entry>) -> Report {
    worst_first(&mut entries);
    Report {
        format: 1,
        instance: "phoenix-prod".to_owned(),
        tier: AssessTier::Deep,
        schemas: None,
        server: None,
        began: "2026-01-01T02:05:00Z".to_owned(),
        took: Span::seconds(90),
        bytes_read: 3 * MIB,
        bytes: 4 * MIB,
        entries,
        remarks: Vec::new(),
    }
}

fn some() -> Report {
    report(vec![
        entry("app.sound", Kind::Table, 90 * MIB, Verdict::Sound),
        entry("app.locked", Kind::Table, MIB, Verdict::unread("it is locked")),
        of("app.orders", entry("app.orders_pkey", Kind::Index, MIB, damaged(&[1, 2, 3]))),
        entry("app.orders", Kind::Table, 3 * MIB, damaged(&[4, 9])),
        entry("app.items", Kind::Table, 2 * MIB, damaged(&[7])),
        of("app.items", entry("pg_toast.pg_toast_7", Kind::Toast, MIB, damaged(&[5]))),
        of("app.locked", entry("app.locked_pkey", Kind::Index, 1, Verdict::unread("it is locked"))),
    ])
}

#[test]
fn the_worst_comes_first() {
    let mut report = some();
    let names = |report: &Report| report.names(|_| true).join(" ");
    let expected = "app.orders app.items pg_toast.pg_toast_7 app.orders_pkey app.locked app.locked_pkey app.sound";
    assert_eq!(names(&report), expected);
    let catalog = entry("pg_catalog.pg_class_oid_index", Kind::Index, 1, damaged(&[1]));
    report.entries.push(catalog);
    worst_first(&mut report.entries);
    assert_eq!(report.entries[0].relation, "pg_catalog.pg_class_oid_index");
}

#[test]
fn later_steps_are_told_names_and_whether_tables_can_be_restored_alone() {
    let outputs = some().outputs(Some("/runs/1/assess-0.assessment.json"));
    let expected = json!({
        "damaged": true,
        "damaged_relations": ["app.orders", "app.items", "pg_toast.pg_toast_7", "app.orders_pkey"],
        "damaged_tables": ["app.orders", "app.items"],
        "unread_relations": ["app.locked", "app.locked_pkey"],
        "sound": false,
        "whole_database": false,
        "report": "/runs/1/assess-0.assessment.json",
    });
    assert_eq!(Value::Object(outputs), expected);
}

#[test]
fn every_output_is_in_the_catalogue_and_the_other_way_round() {
    use crate::runbook::catalogue::actions::ActionName;
    let mut given: Vec<String> = some().outputs(None).keys().cloned().collect();
    given.sort_unstable();
    let mut known: Vec<&str> =
        ActionName::PostgresAssess.outputs().iter().map(|output| output.name).collect();
    known.sort_unstable();
    assert_eq!(given, known);
}

#[test]
fn doubt_is_never_sound() {
    let outputs = |entries| report(entries).outputs(None);
    let sound = || entry("app.a", Kind::Table, 1, Verdict::Sound);
    let unread = || entry("app.b", Kind::Table, 1, Verdict::unread("no grant"));
    let all = outputs(vec![sound()]);
    assert_eq!((&all["damaged"], &all["sound"]), (&json!(false), &json!(true)));
    let part = outputs(vec![sound(), unread()]);
    assert_eq!((&part["damaged"], &part["sound"]), (&json!(false), &json!(false)));
}

#[test]
fn the_whole_database_is_restored_where_its_catalogs_or_most_of_its_rows_are_damaged() {
    let whole = |entries| report(entries).whole_database();
    let sound = |bytes| entry("app.a", Kind::Table, bytes, Verdict::Sound);
    let table = |bytes| entry("app.b", Kind::Table, bytes, damaged(&[1]));
    assert!(!whole(vec![sound(2), table(2)]), "half of it");
    assert!(whole(vec![sound(2), table(3)]), "more than half");
    // Large values count with their table.
    let large = of("app.b", entry("pg_toast.pg_toast_1", Kind::Toast, 9, Verdict::Sound));
    assert!(whole(vec![sound(8), table(1), large]));
    assert!(!whole(vec![sound(1), of("app.a", entry("app.i", Kind::Index, 9, damaged(&[1])))]));
    assert!(whole(vec![sound(9), entry("pg_catalog.pg_proc", Kind::Table, 1, damaged(&[1]))]));
    assert!(whole(vec![Entry::of_catalogs("invalid page".to_owned(), None)]));
    assert!(!whole(vec![]));
}

#[test]
fn the_report_reads_from_the_result_to_the_place() {
    let text = some().text();
    let expected = "\
Assessment of phoenix-prod (deep), begun 2026-01-01T02:05:00Z
3.0 MiB of 4.0 MiB read in 1m30s

4 of 7 relations are damaged, 2 were not read, 1 are sound
restoring single relations can do: app.orders, app.items

damaged  app.orders (table, 3.0 MiB): block 4, block 9
    block 4: invalid page in block 4 (XX001)
    block 9: invalid page in block 9 (XX001)
damaged  app.items (table, 2.0 MiB): block 7
    block 7: invalid page in block 7 (XX001)
damaged  pg_toast.pg_toast_7 (large values of app.items, 1.0 MiB): block 5
    block 5: invalid page in block 5 (XX001)
damaged  app.orders_pkey (index of app.orders, 1.0 MiB): block 1, block 2, block 3
    block 1: invalid page in block 1 (XX001)
    block 2: invalid page in block 2 (XX001)
    block 3: invalid page in block 3 (XX001)
unread   app.locked (table, 1.0 MiB): it is locked
unread   app.locked_pkey (index of app.locked, 1 B): it is locked
sound    app.sound (table, 90.0 MiB)
";
    assert_eq!(text, expected);
}

#[test]
fn notes_stay_few_and_say_a_reason_once() {
    let notes = some().notes();
    assert_eq!(notes[0], "4 of 7 relations are damaged, 2 were not read, 1 are sound");
    assert_eq!(
        notes.last().expect("a note"),
        "not read: app.locked, app.locked_pkey: it is locked"
    );
    let many = (0..500).map(|number| {
        let verdict =
            if number % 2 == 0 { damaged(&[number]) } else { Verdict::unread("no grant") };
        entry(&format!("app.t{number}"), Kind::Table, 1, verdict)
    });
    let notes = report(many.collect()).notes();
    assert_eq!(notes.len(), 24, "{notes:?}");
    assert!(notes.contains(&"and 230 more".to_owned()), "{notes:?}");
    assert!(notes.iter().all(|line| line.len() < 400), "{notes:?}");
}

#[test]
fn indexes_alone_lose_no_rows() {
    let index = of("app.a", entry("app.a_pkey", Kind::Index, 1, damaged(&[1])));
    let mut report = report(vec![entry("app.a", Kind::Table, 1, Verdict::Sound), index]);
    assert_eq!(report.advice().expect("advice"), "no rows are lost: reindex app.a_pkey");
    let unread = entry("app.b", Kind::Table, 1, Verdict::unread("no grant"));
    report.entries.push(unread);
    let advice = report.advice().expect("advice");
    assert_eq!(advice, "no rows are known to be lost: reindex app.a_pkey");
}

#[test]
fn what_is_not_named_is_counted() {
    let mut entry = entry("app.a", Kind::Table, 1, damaged(&[1, 2, 3, 4, 5, 6, 7, 8, 9]));
    let Verdict::Damaged { more, .. } = &mut entry.verdict else { panic!("{entry:?}") };
    *more = 500;
    let text = report(vec![entry]).text();
    assert!(text.contains("block 8 and 501 more\n"), "{text}");
    assert!(text.contains("\n    and 500 more places\n"), "{text}");
}

#[test]
fn an_entry_names_the_table_it_belongs_to() {
    let family = families(vec![
        relation(1, "app.t", Kind::Table, None, 1),
        relation(2, "pg_toast.pg_toast_1", Kind::Toast, Some(1), 1),
    ])
    .remove(0);
    let toast = family.toast.as_ref().expect("large values");
    let found = Entry::new(&family, toast, Verdict::Sound);
    assert_eq!(found.table.as_deref(), Some("app.t"));
    assert_eq!(Entry::new(&family, &family.head, Verdict::Sound).table, None);
}

#[test]
fn sizes_read_as_people_say_them() {
    for (bytes, expected) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (100 * MIB, "100 MiB"),
        (1 << 40, "1.0 TiB"),
        (5 << 50, "5120 TiB"),
    ] {
        assert_eq!(size(bytes), expected);
    }
}
