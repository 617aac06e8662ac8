//! The order of what was found, what later steps are told of it, and how it reads.

use super::super::conclude::Subject;
use super::super::relations::families;
use super::super::relations::tests::relation;
use super::super::verdict::Unread;
use super::*;
use crate::clients::aws::testing::estate;
use crate::estate::types::Estate;

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
        essential: Vec::new(),
        bytes,
        rows: None,
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
        doubts: Vec::new(),
        owed: Vec::new(),
        remarks: Vec::new(),
        counts: BTreeMap::new(),
        newest: None,
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
        "cleared": false,
        "whole_database": false,
        "undecided": false,
        "result": "4 of 7 relations are damaged, 2 were not read, 1 are sound",
        "advice": "restoring single relations can do: app.orders, app.items",
        "checksum_failures": 0,
        "counts": {},
        "newest": "",
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

fn late(name: &str, kind: Kind, bytes: u64) -> Entry {
    entry(name, kind, bytes, Verdict::Unread(Unread::for_time("the budget was spent".to_owned())))
}

#[test]
fn only_want_of_time_leaves_a_database_cleared_and_only_where_nothing_essential_is_unread() {
    let sound = || entry("app.a", Kind::Table, 1, Verdict::Sound);
    let catalog = || entry("pg_catalog.pg_class", Kind::Table, 1, Verdict::Sound);
    let nature = Verdict::Unread(Unread::by_nature("amcheck knows no gin".to_owned()));
    let index = || of("app.a", entry("app.i", Kind::Index, 1, nature.clone()));
    let needed = |entry: Entry| Entry { essential: vec!["app.a".to_owned()], ..entry };
    let all = |more: Vec<Entry>| report([vec![sound(), catalog()], more].concat());
    for (what, report, cleared, sound) in [
        ("all of it", all(vec![]), true, true),
        ("no check", all(vec![index()]), true, true),
        ("no time", all(vec![late("app.b", Kind::Table, 9), index()]), true, false),
        (
            "no time for a catalog",
            all(vec![late("pg_catalog.pg_proc", Kind::Table, 1)]),
            false,
            false,
        ),
        ("nor for its index", all(vec![late("pg_catalog.i", Kind::Index, 1)]), false, false),
        (
            "nor for what is essential",
            all(vec![needed(late("app.b", Kind::Table, 1))]),
            false,
            false,
        ),
        ("nor its index", all(vec![needed(late("app.b_pkey", Kind::Index, 1))]), false, false),
        (
            "an obstacle",
            all(vec![entry("app.b", Kind::Table, 1, Verdict::unread("lock"))]),
            false,
            false,
        ),
        ("damage", all(vec![entry("app.b", Kind::Table, 1, damaged(&[1]))]), false, false),
    ] {
        assert_eq!((report.is_cleared(), report.is_sound()), (cleared, sound), "{what}");
        let (mut doubted, mut limited) = (report.clone(), report);
        doubted.doubts = vec!["3 pages failed".to_owned()];
        assert_eq!((doubted.is_cleared(), doubted.is_sound()), (false, false), "{what}, in doubt");
        assert!(doubted.result().ends_with("; 3 pages failed"), "{}", doubted.result());
        limited.schemas = Some(vec!["app".to_owned()]);
        assert_eq!((limited.is_cleared(), limited.is_sound()), (false, sound), "{what}, limited");
    }
}

#[test]
fn what_is_cleared_says_what_it_is_not() {
    let needed = entry("app.a", Kind::Table, 1, Verdict::Sound);
    let needed = Entry { essential: vec!["app.a".to_owned()], ..needed };
    let report = report(vec![needed, late("app.b", Kind::Table, 9)]);
    assert_eq!(
        report.result(),
        "no damage was found; the catalogs and the essential tables are sound, and for want of time 1 of 2 relations \
         were not read: of these nothing is known"
    );
}

#[test]
fn where_too_much_is_unread_nobody_is_told_that_single_relations_do() {
    let broken = || entry("app.a", Kind::Table, 1, damaged(&[1]));
    let sound = |bytes| entry("app.s", Kind::Table, bytes, Verdict::Sound);
    let nature = Verdict::Unread(Unread::by_nature("no check".to_owned()));
    for (what, more, undecided) in [
        ("half of it", vec![sound(3), late("app.b", Kind::Table, 4)], false),
        ("more than half", vec![sound(3), late("app.b", Kind::Table, 5)], true),
        ("a lock", vec![sound(3), entry("app.b", Kind::Table, 5, Verdict::unread("lock"))], true),
        ("a catalog", vec![sound(9), late("pg_catalog.pg_proc", Kind::Table, 1)], true),
        ("statistics", vec![sound(9), late("pg_catalog.pg_statistic", Kind::Table, 1)], false),
        ("nothing can tell", vec![sound(9), entry("pg_catalog.a", Kind::Table, 1, nature)], false),
        ("an index", vec![sound(3), late("app.i", Kind::Index, 50)], false),
    ] {
        let report = report([vec![broken()], more].concat());
        assert_eq!(report.undecided(), undecided, "{what}");
        let advice = report.advice().expect("advice");
        let expected = if undecided { "nobody knows" } else { "restoring single relations can do" };
        assert!(advice.contains(expected) && advice.contains("app.a"), "{what}: {advice}");
    }
    // What is damaged for sure needs no more to be known.
    let whole = report(vec![broken(), broken(), broken(), late("app.b", Kind::Table, 2)]);
    assert!(whole.whole_database() && !whole.undecided());
    let unhurt = report(vec![sound(1), late("app.b", Kind::Table, 5)]);
    assert!(!unhurt.undecided(), "nothing is damaged");
}

#[test]
fn rows_of_a_table_are_those_of_all_its_partitions_or_not_known() {
    let part = |name: &str, of: &[&str], rows| Entry {
        essential: of.iter().map(|name| (*name).to_owned()).collect(),
        rows,
        ..entry(name, Kind::Table, 1, Verdict::Sound)
    };
    let mut report = report(vec![
        part("app.e_1", &["app.e"], Some(3)),
        part("app.e_2", &["app.e", "app.e_2"], Some(4)),
        part("app.f_1", &["app.f"], Some(3)),
        part("app.f_2", &["app.f"], None),
        part("app.other", &[], Some(9)),
        of("app.e_1", part("app.e_1_pkey", &["app.e"], None)),
    ]);
    report.count();
    let expected = [("app.e".to_owned(), 7), ("app.e_2".to_owned(), 4)];
    assert_eq!(report.counts, BTreeMap::from(expected));
    report.newest = Some("2026-01-01T02:00:00Z".to_owned());
    let held = "rows: app.e 7, app.e_2 4; the newest instant in it is 2026-01-01T02:00:00Z";
    assert_eq!(report.held().as_deref(), Some(held));
}

fn subject<'a>(estate: &'a Estate, instance: &'a str) -> Subject<'a> {
    let (region, database, known_as) = ("us-east-1", "phoenix", instance);
    Subject { estate, region, instance, database, known_as }
}

#[test]
fn what_stays_open_has_a_name_of_its_own_on_each_instance_and_the_commands_that_close_it() {
    let estate = estate(|_| {});
    let primary = estate.database.as_ref().expect("a database").primary.id.clone();
    let id = |instance: &str| some().damage(&subject(&estate, instance), None).expect("damaged").id;
    assert_eq!(id(&primary), "damaged-phoenix");
    assert_eq!(id("phoenix-recovered"), "damaged-phoenix-on-phoenix-recovered");
    let mut report = report(vec![
        entry("app.a", Kind::Table, 1, Verdict::Sound),
        of("app.a", entry("app.a_pkey", Kind::Index, 1, damaged(&[1]))),
    ]);
    let how = report.damage(&subject(&estate, &primary), None).expect("damaged").how;
    let commands: Vec<&str> = how.lines().filter(|line| line.starts_with("$ ")).collect();
    assert!(commands[0].starts_with("$ psql -h "), "{how}");
    assert!(commands[0].ends_with(" -c 'reindex index concurrently app.a_pkey'"), "{how}");
    assert!(commands[2].starts_with("$ pg_amcheck -h "), "{how}");
    report.entries.clear();
    assert!(report.damage(&subject(&estate, &primary), None).is_none());
}

#[test]
fn what_was_not_read_of_a_restored_database_stays_open() {
    let estate = estate(|_| {});
    let of = Subject { known_as: "phoenix-recovered", ..subject(&estate, "phoenix-prod") };
    let sound = || entry("app.a", Kind::Table, 1, Verdict::Sound);
    let part = report(vec![sound(), late("app.b", Kind::Table, 9)]);
    let open = part.pending(&of).expect("open");
    assert_eq!(open.id, "proof-pending-phoenix-on-phoenix-recovered", "as the run knew it first");
    assert!(open.say.starts_with("phoenix on phoenix-prod is not proved to the end: "), "{open:?}");
    assert!(open.say.ends_with("; not read: app.b"), "{open:?}");
    assert_eq!(open.how.lines().filter(|line| line.starts_with("$ ")).count(), 3, "{open:?}");
    let nature = Verdict::Unread(Unread::by_nature("no check".to_owned()));
    let all = report(vec![sound(), entry("app.i", Kind::Index, 1, nature)]);
    assert_eq!(all.pending(&of), None);
    // The quick tier proves nothing to the end, and what no page shows keeps the deep one from doing so.
    let quick = Report { tier: AssessTier::Quick, ..all.clone() };
    let say = quick.pending(&of).expect("open").say;
    assert!(say.ends_with("; the deep tier has not read it yet"), "{say}");
    let owed = Report { owed: vec!["the index app.i is not valid".to_owned()], ..all.clone() };
    assert!(owed.is_cleared() && !owed.is_sound());
    assert!(owed.pending(&of).expect("open").say.ends_with("; the index app.i is not valid"));
    let doubted = Report { doubts: vec!["3 pages failed".to_owned()], ..all.clone() };
    assert!(doubted.pending(&of).expect("open").say.ends_with("; 3 pages failed"));
    let limited = Report { schemas: Some(vec!["app".to_owned()]), ..all };
    let say = limited.pending(&of).expect("open").say;
    assert!(say.ends_with("; read were the schemas app alone"), "{say}");
    // What is damaged says so by another name.
    let damaged = report(vec![entry("app.a", Kind::Table, 1, damaged(&[1]))]);
    assert_eq!(damaged.pending(&of), None);
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
    assert_eq!(
        report.advice().expect("advice"),
        "no rows are lost; reindex index concurrently app.a_pkey"
    );
    let unread = entry("app.b", Kind::Table, 1, Verdict::unread("no grant"));
    report.entries.push(unread);
    let advice = report.advice().expect("advice");
    assert_eq!(advice, "no rows are known to be lost; reindex index concurrently app.a_pkey");
    report.entries.retain(|entry| entry.relation != "app.b");
    let unread = entry("app.c", Kind::Index, 1, Verdict::unread("no grant"));
    report
        .entries
        .extend([unread, entry("pg_catalog.pg_class_oid_index", Kind::Index, 1, damaged(&[1]))]);
    let advice = report.advice().expect("advice");
    assert_eq!(
        advice,
        "no rows are known to be lost; reindex index concurrently app.a_pkey, reindex index \
         pg_catalog.pg_class_oid_index (a catalog's locks out everybody)"
    );
}

#[test]
fn what_the_planner_knows_is_gathered_anew() {
    let statistics = entry("pg_catalog.pg_statistic", Kind::Table, 1, damaged(&[1]));
    let report = report(vec![entry("app.a", Kind::Table, 1, Verdict::Sound), statistics]);
    assert_eq!(
        report.advice().expect("advice"),
        "no rows are lost; pg_catalog.pg_statistic: `analyze` gathers it anew"
    );
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
