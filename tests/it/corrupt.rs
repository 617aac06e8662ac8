//! DR-002 by the real binary on a real server whose pages were overwritten: to its end, and back where the proof fails.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::corrupt_content::{DAMAGED_TABLES, assessed, damage_of_every_kind, fill, overwrite};
use super::estate::{Estate, fresh};
use super::harness::{Folder, Ran, of_step, ran};

pub(super) const OPTIONS: &str = r#"{"primary_up": true}"#;
pub(super) const INSTANCE: &str = "phoenix-prod";
const BIN: &str = "/usr/lib/postgresql/15/bin";
/// How a run ends whose failure was taken back, but for the evidence, which is kept.
pub(super) const ROLLED_BACK: i32 = 14;
/// How a run ends for which something is missing before anything was changed.
pub(super) const NOT_MET: i32 = 10;
/// Takes the dump on a good day, and proves it.
pub(super) const DUMP: &str = r#"
runbook: DUMP
title: Take a dump
command: take-dump
steps:
  - id: dump
    title: Dump the database
    action: postgres.dump
    with:
      instance: "${{ estate.database.primary.id }}"
      region: "${{ estate.database.primary.region }}"
      name: good
    rollback: { none: "a dump that was taken is kept" }
"#;

/// Restores it beside, and holds it against its manifest.
pub(super) const PROVE: &str = r#"
  - id: restore
    title: Restore it beside
    action: postgres.restore
    with:
      instance: "${{ estate.database.primary.id }}"
      region: "${{ estate.database.primary.region }}"
      dump: "${{ steps.dump.outputs.dump }}"
      into: proof
  - id: prove
    title: Prove it
    action: postgres.prove
    with:
      instance: "${{ estate.database.primary.id }}"
      region: "${{ estate.database.primary.region }}"
      dump: "${{ steps.dump.outputs.dump }}"
      database: "${{ steps.restore.outputs.database }}"
"#;

/// Reads all of the database that took over.
const READ: &str = r#"
runbook: READ
title: Read all of it
command: read-it
steps:
  - id: read
    title: Read all of it
    action: postgres.assess
    with:
      instance: "${{ estate.database.primary.id }}"
      region: "${{ estate.database.primary.region }}"
      tier: deep
      proves: true
    verify:
      - check: postgres.query
        title: all of it is sound
        with:
          instance: "${{ estate.database.primary.id }}"
          region: "${{ estate.database.primary.region }}"
          sql: "select ${{ steps.read.outputs.sound }}"
        that: value
"#;

pub(super) const ANSWERS: [&str; 8] = [
    "--yes",
    "--approve",
    "decide,cut_over",
    "--recovery-point",
    "dump:good",
    "--accept-loss",
    "1d",
    "--non-interactive",
];

/// What the application cannot do without.
pub(super) const ESSENTIALS: &str = r#"{ tables: [public.experiments, public.experiment_events], queries: [{ title: every experiment is there, sql: select count(*) = 500 from experiments }], newest: select max(happened_at) from experiment_events }"#;

pub(super) fn database(extra: &[&str]) -> Vec<String> {
    let words = [&["database"], &ANSWERS[..], extra].concat();
    words.into_iter().map(str::to_owned).collect()
}

/// What outlives a reset of the estate: the dump from before the damage.
pub(super) struct Backups(pub(super) tempfile::TempDir);

impl Backups {
    /// Takes the dump of the estate's database as it is, by this runbook.
    pub(super) fn of(estate: &Estate, runbook: &str) -> Self {
        let backups = Self(tempfile::tempdir().expect("a directory"));
        allow(estate);
        let folder = backups.folder(estate);
        folder.write("dump.yaml", runbook);
        folder.run(&["run", "dump.yaml", "--yes", "--non-interactive"]).exits(0);
        backups
    }

    /// A folder whose estate keeps dumps and evidence.
    pub(super) fn folder(&self, estate: &Estate) -> Folder {
        let folder = estate.folder();
        let evidence = folder.path().join("evidence");
        std::fs::create_dir(&evidence).expect("a directory of evidence");
        let file = folder.path().join("phoenix-dr.yaml");
        let text = std::fs::read_to_string(&file).expect("the estate file");
        let (dumps, evidence) = (self.0.path().display(), evidence.display());
        let given = format!(
            "database:\n  dumps: {dumps}\n  evidence: {evidence}\n  essentials: {ESSENTIALS}\n"
        );
        assert!(text.contains("\ndatabase:\n"));
        std::fs::write(&file, text.replacen("database:\n", &given, 1)).expect("written");
        folder
    }
}

/// Gives the estate's user what evidence, restore and proof need.
pub(crate) fn allow(estate: &Estate) {
    // The primary's cluster: that the application's pods are connected is seen there.
    estate.dark("us-east-1.kubernetes", false);
    estate.sql(INSTANCE, "grant pg_read_all_data to phoenix_dr");
    estate.sql(INSTANCE, "alter role phoenix_dr createdb replication");
    // Said aloud, so that it can be compared to the byte.
    estate.sql(INSTANCE, "grant connect on database phoenix to phoenix_app");
}

/// Overwrites a page of a table on disk.
pub(crate) fn damage(estate: &Estate) {
    overwrite(estate, &[("public.experiments", 1)]);
}

/// Asks a database by PostgreSQL's own client, as superuser: what it says, or the SQLSTATE of what it refuses.
pub(super) fn asked(estate: &Estate, database: &str, sql: &str) -> Result<String, String> {
    let ran = ran(client(estate, "psql")
        .env("PGOPTIONS", "-c client_min_messages=error")
        .args(["-X", "-A", "-t", "-v", "VERBOSITY=sqlstate", "-d", database, "-c", sql])
        .output()
        .expect("psql runs"));
    let said = |text: &str| text.trim().trim_start_matches("ERROR:").trim().to_owned();
    if ran.exit == 0 { Ok(said(&ran.out)) } else { Err(said(&ran.err)) }
}

/// Returns one of PostgreSQL's own programs, told how to reach the damaged server as superuser.
pub(super) fn client(estate: &Estate, program: &str) -> Command {
    client_of(estate, INSTANCE, program)
}

/// The same of another server.
pub(super) fn client_of(estate: &Estate, instance: &str, program: &str) -> Command {
    let known = &estate.about("databases")[instance];
    let password = estate.about("environment")["PHOENIX_DB_PASSWORD"].clone();
    let mut command = Command::new(format!("{BIN}/{program}"));
    command
        .env("PGPASSWORD", password.as_str().expect("a password"))
        .args(["-U", "postgres", "-h", known["host"].as_str().expect("a host")])
        .args(["-p", &known["port"].to_string()]);
    command
}

pub(super) fn databases(estate: &Estate) -> String {
    let sql =
        "select string_agg(datname, ' ' order by datname) from pg_database where not datistemplate";
    estate.sql(INSTANCE, sql).as_str().expect("a list").to_owned()
}

/// All settings a run could have changed, to the byte: of roles, databases and their privileges.
pub(super) fn settings(estate: &Estate) -> String {
    let globals = client(estate, "pg_dumpall").arg("--globals-only").output();
    let globals = globals.expect("pg_dumpall runs");
    assert!(globals.status.success(), "{}", String::from_utf8_lossy(&globals.stderr));
    let globals = String::from_utf8(globals.stdout).expect("text");
    // It is wrapped in a word that is another one each time.
    let globals: Vec<&str> = globals.lines().filter(|line| !line.starts_with('\\')).collect();
    let sql = "select concat_ws(E'\\n', \
         (select string_agg(concat_ws(' ', setdatabase, setrole, setconfig), E'\\n' order by setdatabase, setrole) \
             from pg_db_role_setting), \
         (select string_agg(concat_ws(' ', oid, datname, datdba, coalesce(datacl::text, 'none'), datconnlimit, \
             datallowconn, shobj_description(oid, 'pg_database')), E'\\n' order by oid) from pg_database))";
    format!("{}\n{}", estate.sql(INSTANCE, sql), globals.join("\n"))
}

/// What was written but by the application, as the server counts it: in tables and catalogs of the database, in those all
/// databases share, and in the database everybody starts from.
pub(super) fn written(estate: &Estate) -> String {
    // What the planner knows is gathered by the server itself.
    let sql = "select concat_ws(E'\\n', \
         (select string_agg(concat_ws(' ', schemaname, relname, n_tup_ins, n_tup_upd, n_tup_del), E'\\n' order by relid) \
             from pg_stat_all_tables where relname not in ('experiment_events', 'pg_statistic', 'pg_toast_2619')), \
         (select concat_ws(' ', datname, tup_inserted, tup_updated, tup_deleted) from pg_stat_database \
             where datname = 'postgres'))";
    let written = asked(estate, "phoenix", sql).expect("counted");
    for shared in ["pg_database", "pg_authid", "pg_db_role_setting", "pg_shdescription"] {
        assert!(written.contains(&format!("pg_catalog {shared} ")), "{shared}: {written}");
    }
    written
}

/// Waits until the application has written again: its pods come back by themselves.
pub(super) fn application_writes(estate: &Estate) {
    let count = || estate.sql(INSTANCE, "select count(*) from experiment_events").as_u64();
    let (before, began) = (count(), Instant::now());
    while count() == before {
        assert!(began.elapsed() < Duration::from_secs(120), "the application writes no more");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Holds that the restored database has the name, the application its rows, and the damaged one another name.
pub(super) fn recovered(estate: &Estate, said: &str) {
    let names = databases(estate);
    let kept = names.split(' ').find(|name| name.starts_with("phoenix_damaged_2"));
    let kept = kept.unwrap_or_else(|| panic!("{said}: {names}"));
    assert_eq!(names, format!("phoenix {kept} postgres"), "{said}");
    assert_eq!(estate.sql(INSTANCE, "select count(*) from experiments"), 500, "{said}");
    let without = "select count(*) from pg_stat_user_tables where last_analyze is null \
         and relid in ('experiments'::regclass, 'experiment_events'::regclass)";
    assert_eq!(estate.sql(INSTANCE, without), 0, "{said}: tables without statistics");
    let fence = format!(
        "select has_database_privilege('phoenix_app', '{kept}', 'CONNECT')::text || (select setconfig::text \
         from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase where d.datname = '{kept}')"
    );
    let fence = estate.sql(INSTANCE, &fence);
    assert_eq!(fence, "false{default_transaction_read_only=on}", "{said}: it stays fenced");
    // And as damaged as it was: it can be looked into, and nothing has healed or hidden it.
    let read = asked(
        estate,
        kept,
        "set enable_indexscan = off; select sum(length(name)) from experiments",
    );
    assert_eq!(read, Err("XX001".to_owned()), "{said}: {kept} is as it was");
    application_writes(estate);
}

/// Holds that one record of a run came before another, each the first of its kind and step.
#[track_caller]
pub(super) fn came_before(events: &[Value], first: (&str, &str), then: (&str, &str)) {
    let at = |(kind, step): (&str, &str)| {
        let found = events.iter().position(|event| event["kind"] == kind && event["step"] == step);
        found.unwrap_or_else(|| panic!("no {kind} of {step}"))
    };
    assert!(at(first) < at(then), "{first:?} came after {then:?}");
}

pub(super) fn events(folder: &Folder) -> Vec<Value> {
    folder.journals().remove(0).1
}

#[test]
fn a_damaged_database_is_replaced_by_a_proved_one_and_kept() {
    let estate = fresh(OPTIONS);
    fill(&estate);
    let backups = Backups::of(&estate, &format!("{DUMP}{PROVE}"));
    estate.sql(INSTANCE, "drop database proof");
    let expected = damage_of_every_kind(&estate);
    // What the server itself gathers is no part of what a dry run writes.
    estate.sql(INSTANCE, "alter system set autovacuum = off");
    estate.sql(INSTANCE, "select pg_reload_conf()");
    let folder = backups.folder(&estate);
    let before = (settings(&estate), written(&estate));
    let dry = folder.run(&database(&["--dry-run"])).exits(0);
    for said in ["pg_basebackup (PostgreSQL)", "may connect", "pg_restore"] {
        assert!(dry.out.contains(said), "{said}: {}", dry.out);
    }
    assert_eq!((settings(&estate), written(&estate)), before, "a dry run only looks");
    let entries = std::fs::read_dir(folder.path().join("evidence")).expect("listed");
    assert_eq!(entries.count(), 0);
    let done = folder.run(&database(&[])).exits(0);
    recovered(&estate, "a whole run");
    let events = events(&folder);
    came_before(&events, ("step_finished", "evidence"), ("step_started", "fence"));
    came_before(&events, ("step_finished", "fence"), ("step_started", "assess"));
    let found = &of_step(&events, "attempt_finished", "assess")[0]["result"]["outputs"];
    assert_eq!(assessed(&events), expected);
    let names = |output: &str| {
        let names = found[output].as_array().expect("a list").iter();
        names.map(|name| name.as_str().expect("a name").to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(names("damaged_tables"), BTreeSet::from(DAMAGED_TABLES.map(str::to_owned)));
    assert_eq!(names("damaged_relations"), expected.into_keys().collect());
    let of = |step: &str| of_step(&events, "attempt_finished", step)[0].to_string();
    for said in ["every digest the same", "what the application asks is true: 1 question\""] {
        assert!(of("prove").contains(said), "{said}: {}", of("prove"));
    }
    // The last event the application wrote before the dump, by which what is lost is measured.
    let taken = &of_step(&events, "attempt_finished", "prove")[0]["result"]["outputs"];
    let instant = |name: &str| {
        let text = taken[name].as_str().expect("an instant");
        text.parse::<jiff::Timestamp>().expect("an instant")
    };
    assert!(instant("newest") <= instant("taken"), "{taken}");
    let newest = instant("newest").strftime("newest record %Y-%m-%d %H:%M:%S UTC, ").to_string();
    assert!(done.said().contains(&newest), "{newest}: {}", done.said());
    assert!(
        of("cut_over").contains("phoenix_app writes to phoenix and reads it"),
        "{}",
        of("cut_over")
    );
    assert!(of("deep").contains(r#""damaged":false"#), "{}", of("deep"));
    assert!(done.said().contains("damaged-phoenix_damaged_2"), "it stays open: {}", done.said());
    // The estate's user may not make the extension that reads indexes: until somebody does, nothing is called proved.
    for open in ["extensions-phoenix_restored", "proof-pending-phoenix"] {
        assert!(done.said().contains(open), "{open}: {}", done.said());
    }
    assert!(!done.said().contains("lacks-phoenix"), "{}", done.said());
    // Another database has the name: what is owed is what becomes of the damaged one.
    let open = folder.run(&[""; 0]);
    assert!(open.said().contains("damaged-phoenix_damaged_2"), "{}", open.said());
    assert!(!open.said().contains("damaged-phoenix:"), "{}", open.said());
    // What was done is not taken back by itself, nor the new database taken for the damaged one.
    let now = settings(&estate);
    let back = folder.run(&["rollback", "--yes", "--non-interactive"]);
    assert_ne!(back.exit, 0, "{}", back.said());
    assert_eq!(settings(&estate), now);
    all_of_it_can_be_read_once_the_extension_is_there(&estate, &folder, &events);
}

/// Makes the extension as the obligation says, reads all of the database, and closes what was open for it.
fn all_of_it_can_be_read_once_the_extension_is_there(
    estate: &Estate,
    folder: &Folder,
    events: &[Value],
) {
    let made = events.iter().find(|event| {
        event["kind"] == "obligation_opened"
            && event["obligation"]["id"] == "extensions-phoenix_restored"
    });
    let how =
        made.expect("it was opened")["obligation"]["how"].as_str().expect("a text").to_owned();
    let statements = how.rsplit("by then: ").next().expect("statements");
    asked(estate, "phoenix", statements).expect("what is told can be typed");
    folder.write("read.yaml", READ);
    folder.run(&["run", "read.yaml", "--yes", "--non-interactive"]).exits(0);
    let marked = ["mark-done", "proof-pending-phoenix", "--evidence", "all of it was read"];
    folder.run(&marked).exits(0);
    assert!(!folder.run(&[""; 0]).said().contains("proof-pending"), "nothing of it is open");
}

#[test]
fn a_proof_that_fails_opens_the_database_again_and_leaves_nothing_but_the_evidence() {
    let estate = fresh(OPTIONS);
    // What a column holds that is made anew by a restore is something else there.
    let lies = "create function whereabouts(int) returns text immutable language sql as 'select current_database()::text'";
    estate.sql(INSTANCE, lies);
    let table =
        "create table lies (id int, place text generated always as (whereabouts(id)) stored)";
    estate.sql(INSTANCE, table);
    estate.sql(INSTANCE, "insert into lies values (1)");
    let backups = Backups::of(&estate, DUMP);
    damage(&estate);
    let folder = backups.folder(&estate);
    let (before, names) = (settings(&estate), databases(&estate));
    let strict = folder.run(&database(&[])).exits(NOT_MET);
    assert!(strict.said().contains("no restore ever proved"), "{}", strict.said());
    let ended: Ran = folder.run(&database(&["--unverified", "true"])).exits(ROLLED_BACK);
    assert!(ended.said().contains("public.lies"), "{}", ended.said());
    let events = events(&folder);
    assert!(!of_step(&events, "attempt_finished", "fence").is_empty(), "it was closed");
    assert!(of_step(&events, "step_started", "cut_over").is_empty(), "and never cut over");
    assert_eq!(databases(&estate), names, "the new database is dropped");
    assert_eq!(settings(&estate), before, "and the old one opened as it was");
    let entries = std::fs::read_dir(folder.path().join("evidence")).expect("listed");
    assert_eq!(entries.count(), 1, "the evidence is kept");
    application_writes(&estate);
}

#[test]
fn it_is_rehearsed_in_a_world_of_its_own() {
    let folder = Folder::new();
    let answers = ["--yes", "--approve=all", "--non-interactive", "--speed=max"];
    let ran = folder.run(&[&["database", "--rehearse"], &answers[..]].concat()).exits(0);
    assert!(ran.out.contains("phoenix-corrupt"), "{}", ran.out);
    assert!(!ran.out.contains("LEFT THE SIMULATION"), "{}", ran.out);
    let (_, events) = folder.journals().remove(0);
    for step in
        ["evidence", "fence", "restore", "statistics", "prove", "cut_over", "application", "deep"]
    {
        assert_eq!(of_step(&events, "step_finished", step)[0]["end"], "done", "{step}");
    }
    for step in ["restore_server", "prove_server", "repoint"] {
        assert_eq!(of_step(&events, "step_finished", step)[0]["end"], "skipped", "{step}");
    }
}
