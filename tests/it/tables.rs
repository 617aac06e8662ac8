//! OPS-002 by the real binary: single tables out of a dump, beside the database, proved, and the commands that bring them over.

use super::dumps::{OPTIONS, RUN, databases, kept_at};
use super::estate::fresh;
use super::harness::of_step;

const INSTANCE: &str = "phoenix-prod";
const TABLES: [&str; 5] =
    ["restore-tables", "--tables", "public.experiments", "--yes", "--non-interactive"];

#[test]
fn rows_of_single_tables_are_restored_beside_and_what_is_left_to_do_brings_them_over() {
    let estate = fresh(OPTIONS);
    let folder = kept_at(&estate, |dumps| dumps.display().to_string());
    folder.run(&RUN).exits(0);
    estate.sql(INSTANCE, "drop database phoenix_proof");
    let before = databases(&estate);
    let without = folder.run(&["restore-tables", "--yes", "--non-interactive"]).exits(2);
    assert!(without.err.contains("--tables"), "{}", without.err);
    let unknown = ["restore-tables", "--tables", "public.experiment", "--dry-run"];
    let unknown = folder.run(&unknown).said();
    assert!(unknown.contains("did you mean `public.experiments`?"), "{unknown}");
    let dry = folder.run(&["restore-tables", "--tables", "public.experiments", "--dry-run"]);
    assert!(dry.exits(0).said().contains("the rows of 1 alone"));
    assert_eq!(databases(&estate), before, "a dry run makes nothing");
    let ran = folder.run(&TABLES).exits(0);
    assert!(ran.said().contains("rows-of-phoenix_tables"), "{}", ran.said());
    let is_mine =
        |events: &[serde_json::Value]| events.iter().any(|of| of["with"]["tables"].is_string());
    let mut journals = folder.journals().into_iter();
    let (_, events) = journals.find(|(_, events)| is_mine(events)).expect("its journal");
    let proved = of_step(&events, "attempt_finished", "prove")[0].to_string();
    assert!(proved.contains("nothing else is compared"), "{proved}");
    let told = of_step(&events, "obligation_opened", "restore");
    let told = told.iter().find(|of| of["obligation"]["id"] == "rows-of-phoenix_tables");
    let told = told.expect("it is owed").to_string();
    for part in [
        "truncate only \\\"public\\\".\\\"experiments\\\"",
        "statement_timeout=0",
        "default_transaction_read_only=off",
    ] {
        assert!(told.contains(part), "`{part}` is not in {told}");
    }
    let count = "select count(*) from experiments";
    assert!(estate.sql(INSTANCE, count).as_i64() > Some(0), "the application's own is as it was");
}

#[test]
fn it_is_rehearsed() {
    let folder = super::harness::Folder::new();
    let mut rehearsed = TABLES.to_vec();
    rehearsed.push("--rehearse");
    let ran = folder.run(&rehearsed).exits(0);
    for said in ["REHEARSAL", "phoenix-corrupt", "OPS-002", "nothing real was touched"] {
        assert!(ran.said().contains(said), "`{said}` is not in {}", ran.said());
    }
}
