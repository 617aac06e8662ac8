//! A dump, restored beside its database and proved, by the real binary on a real server: killed after each record as well.

use std::path::Path;

use serde_json::{Value, json};

use super::cut::{covers, killed_after_each};
use super::estate::{Estate, fresh};
use super::harness::{Folder, of_step};

pub(crate) const OPTIONS: &str = r#"{"primary_up": true}"#;
const INSTANCE: &str = "phoenix-prod";

const RUNBOOK: &str = r#"
runbook: PROOF
title: Prove that a dump can be restored
command: prove-dump
steps:
  - id: dump
    title: Dump the database
    action: postgres.dump
    with: { instance: "${{ estate.database.primary.id }}", region: "${{ estate.database.primary.region }}" }
    rollback: { none: "a dump that was taken is kept" }
  - id: restore
    title: Restore it beside
    action: postgres.restore
    with:
      instance: "${{ estate.database.primary.id }}"
      region: "${{ estate.database.primary.region }}"
      dump: "${{ steps.dump.outputs.dump }}"
      into: phoenix_proof
  - id: prove
    title: Prove it
    action: postgres.prove
    with:
      instance: "${{ estate.database.primary.id }}"
      region: "${{ estate.database.primary.region }}"
      dump: "${{ steps.dump.outputs.dump }}"
      database: "${{ steps.restore.outputs.database }}"
"#;

/// A step more, which fails.
const FAILS: &str = r#"
  - id: fails
    title: Fail
    action: command.run
    with: { argv: ["false"], done_when: ["false"] }
    verify: { none: it only fails }
    rollback: { none: it only fails }
    on_failure: rollback
"#;

pub(crate) const RUN: [&str; 4] = ["run", "proof.yaml", "--yes", "--non-interactive"];
const RESUME: [&str; 3] = ["resume", "--yes", "--non-interactive"];

/// A folder whose estate keeps dumps, and whose user may make databases.
fn folder(estate: &Estate) -> Folder {
    kept_at(estate, |dumps| dumps.display().to_string())
}

/// A folder whose estate keeps dumps as its file then says; `at` is given a directory of this host.
pub(crate) fn kept_at(estate: &Estate, at: impl Fn(&Path) -> String) -> Folder {
    estate.sql(INSTANCE, "grant pg_read_all_data to phoenix_dr");
    estate.sql(INSTANCE, "alter role phoenix_dr createdb");
    let folder = estate.folder();
    let dumps = folder.path().join("dumps");
    std::fs::create_dir(&dumps).expect("a directory of dumps");
    let file = folder.path().join("phoenix-dr.yaml");
    let text = std::fs::read_to_string(&file).expect("the estate file");
    let given = format!("database:\n  dumps: {}\n", at(&dumps));
    assert!(text.contains("\ndatabase:\n"));
    std::fs::write(&file, text.replacen("database:\n", &given, 1)).expect("write");
    folder.write("proof.yaml", RUNBOOK);
    folder
}

pub(crate) fn databases(estate: &Estate) -> String {
    let sql =
        "select string_agg(datname, ' ' order by datname) from pg_database where not datistemplate";
    estate.sql(INSTANCE, sql).as_str().expect("a list").to_owned()
}

/// What is in the directory of dumps: names without the run's own.
fn kept(folder: &Folder) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder.path().join("dumps"))
        .expect("listed")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name != "proofs")
        .map(|name| match name.split_once("-dump.") {
            Some((_, rest)) => format!("dump.{rest}"),
            None => name,
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_dump_is_restored_beside_and_proved_and_a_rollback_keeps_the_dump() {
    let estate = fresh(OPTIONS);
    let folder = folder(&estate);
    let before = databases(&estate);
    let dry = folder.run(&["plan", "proof.yaml"]).exits(0);
    assert!(dry.out.contains("pg_dump (PostgreSQL)"), "{}", dry.out);
    assert_eq!(kept(&folder), Vec::<String>::new(), "a dry run writes nothing");
    folder.run(&RUN).exits(0);
    let (_, events) = folder.journals().remove(0);
    let proved = of_step(&events, "attempt_finished", "prove")[0].to_string();
    assert!(proved.contains("every digest the same"), "{proved}");
    assert_eq!(kept(&folder), ["dump.dump"]);
    assert!(databases(&estate).contains("phoenix_proof"));
    // A journal with a password in it would be one more place to keep secret; so would a dump's manifest.
    let secret = folder.environment["PHOENIX_DB_PASSWORD"].clone();
    assert!(!holds(folder.path(), secret.as_bytes()), "the password is in a file");
    let points = folder.run(&["recovery-points", "--output", "json", "--region", "us-west-2"]);
    assert_eq!(points.exit, 0, "{}", points.err);
    let found: Value = serde_json::from_str(&points.out).expect("JSON");
    let point = |id: &str| found["points"].as_array()?.iter().find(|point| point["id"] == id);
    let name = proved_dump(&folder);
    let dump = point(&format!("dump:{name}")).unwrap_or_else(|| panic!("{found:#}"));
    assert_eq!((&dump["proved"]["by"], &dump["damage"]), (&json!("content"), &json!("before")));
    assert!(dump["bytes"].as_u64() > Some(0) && dump["loss"].is_string(), "{dump:#}");
    let replica = point("replica:us-west-2").unwrap_or_else(|| panic!("{found:#}"));
    assert_eq!((&replica["damage"], &replica["proved"]), (&json!("same"), &Value::Null));
    let shown = folder.run(&["recovery-points", "--incident", "1m"]).exits(0).out;
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    assert!(shown.contains("carries the same damage unless proven otherwise"), "{shown}");
    let twice = folder.run(&RUN);
    assert_ne!(twice.exit, 0, "nothing is restored over a database: {}", twice.out);
    assert!(twice.err.contains("phoenix_proof is on phoenix-prod already"), "{}", twice.err);
    estate.sql(INSTANCE, "drop database phoenix_proof");
    // What comes to no good end is taken back, but for the dump: that is what is left in place.
    folder.write("bad.yaml", &format!("{RUNBOOK}{FAILS}"));
    folder.run(&["run", "bad.yaml", "--yes", "--non-interactive"]).exits(14);
    assert_eq!(databases(&estate), before);
    assert_eq!(kept(&folder).iter().filter(|name| *name == "dump.dump").count(), 3);
}

/// Returns the name of the only dump that was proved.
fn proved_dump(folder: &Folder) -> String {
    let proofs = std::fs::read_dir(folder.path().join("dumps/proofs")).expect("listed");
    let names: Vec<String> = proofs
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    let [name] = names.as_slice() else { panic!("{names:?}") };
    name.strip_suffix(".json").expect("a record").to_owned()
}

/// Says whether any file below a folder holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).expect("listed").map(|entry| entry.expect("an entry").path()).any(
        |path| {
            if path.is_dir() {
                return holds(&path, bytes);
            }
            let content = std::fs::read(&path).expect("read");
            content.windows(bytes.len()).any(|window| window == bytes)
        },
    )
}

#[test]
fn sigkill_after_each_record_and_resume_ends_with_one_dump_and_one_proved_database() {
    let estate = fresh(OPTIONS);
    let folder = folder(&estate);
    let cuts = killed_after_each(&folder, &RUN.map(str::to_owned), &RESUME.map(str::to_owned));
    covers(&cuts, &["dump", "restore", "prove"]);
    assert_eq!(kept(&folder), ["dump.dump"]);
    let comment = "select shobj_description(oid, 'pg_database') from pg_database where datname = 'phoenix_proof'";
    let comment = estate.sql(INSTANCE, comment);
    let said = comment.as_str().unwrap_or_else(|| panic!("{comment}"));
    assert!(said.starts_with("phoenix-dr "), "{said}");
    assert_eq!(databases(&estate), "phoenix phoenix_proof postgres");
}
