//! A damaged database: its server's files are kept as evidence, then it is closed to everybody; by the real binary, killed
//! after each record as well.

use super::cut::{covers, killed_until};
use super::estate::{Estate, fresh};
use super::harness::{Folder, of_step};

const OPTIONS: &str = r#"{"primary_up": true}"#;
const INSTANCE: &str = "phoenix-prod";

const RUNBOOK: &str = r#"
runbook: CLOSE
title: Close a damaged database
command: close
steps:
  - id: evidence
    title: Keep the server's files as they are
    action: postgres.evidence
    with: { instance: "${{ estate.database.primary.id }}", region: "${{ estate.database.primary.region }}" }
    rollback: { none: "evidence is kept" }
  - id: fence
    title: Close the database
    needs: [evidence]
    action: postgres.fence
    with:
      instance: "${{ estate.database.primary.id }}"
      region: "${{ estate.database.primary.region }}"
      scope: database
"#;

/// A step more, which fails.
const FAILS: &str = r#"
  - id: fails
    title: Fail
    needs: [fence]
    action: command.run
    with: { argv: ["false"], done_when: ["false"] }
    verify: { none: it only fails }
    rollback: { none: it only fails }
    on_failure: rollback
"#;

const BAD: [&str; 4] = ["run", "bad.yaml", "--yes", "--non-interactive"];
/// How a run ends whose failure was taken back.
const ROLLED_BACK: i32 = 14;

/// A folder whose estate keeps evidence, and whose user may copy the server.
fn folder(estate: &Estate) -> Folder {
    estate.sql(INSTANCE, "alter role phoenix_dr replication");
    // Said aloud, so that it can be compared to the byte.
    estate.sql(INSTANCE, "grant connect on database phoenix to phoenix_app");
    let folder = estate.folder();
    let evidence = folder.path().join("evidence");
    std::fs::create_dir(&evidence).expect("a directory of evidence");
    let file = folder.path().join("phoenix-dr.yaml");
    let text = std::fs::read_to_string(&file).expect("the estate file");
    let given = format!("database:\n  evidence: {}\n", evidence.display());
    assert!(text.contains("\ndatabase:\n"));
    std::fs::write(&file, text.replacen("database:\n", &given, 1)).expect("write");
    folder.write("close.yaml", RUNBOOK);
    folder.write("bad.yaml", &format!("{RUNBOOK}{FAILS}"));
    folder
}

/// All that decides who gets into the database, to the byte.
fn access(estate: &Estate) -> String {
    let sql = "select concat_ws(' ', coalesce(datacl::text, 'none'), datconnlimit, \
         (select string_agg(setconfig::text, ' ') from pg_db_role_setting where setdatabase = d.oid), \
         (select string_agg(rolname || rolcanlogin, ' ' order by rolname) from pg_roles)) \
         from pg_database d where datname = 'phoenix'";
    estate.sql(INSTANCE, sql).as_str().expect("a text").to_owned()
}

/// What is in the directory of evidence: names without the run's own.
fn kept(folder: &Folder) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path().join("evidence")).expect("listed");
    let names = entries.map(|entry| {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        name.split_once("-evidence.").map_or(name.clone(), |(_, rest)| format!("one.{rest}"))
    });
    names.collect()
}

#[test]
fn what_comes_to_no_good_end_is_opened_again_and_the_evidence_stays() {
    let estate = fresh(OPTIONS);
    let folder = folder(&estate);
    let before = access(&estate);
    let dry = folder.run(&["plan", "close.yaml"]).exits(0);
    for said in ["pg_basebackup (PostgreSQL)", "may connect", "revoke connect on database"] {
        assert!(dry.out.contains(said), "{said}: {}", dry.out);
    }
    assert_eq!((kept(&folder).len(), access(&estate)), (0, before.clone()), "a dry run only looks");
    folder.run(&BAD).exits(ROLLED_BACK);
    let (_, events) = folder.journals().remove(0);
    let fenced = of_step(&events, "attempt_finished", "fence")[0].to_string();
    for said in [
        "a write as phoenix_app failed with SQLSTATE 25006",
        "phoenix_app and every other role that is no superuser are kept out of phoenix",
        "a session as phoenix_app from before was ended and cannot write",
    ] {
        assert!(fenced.contains(said), "{said}: {fenced}");
    }
    assert_eq!(access(&estate), before);
    assert_eq!(kept(&folder), ["one.evidence"]);
}

#[test]
fn sigkill_after_each_record_and_resume_ends_with_one_copy_and_the_database_as_it_was() {
    let estate = fresh(OPTIONS);
    let folder = folder(&estate);
    let before = access(&estate);
    let resume = ["resume", "--yes", "--non-interactive"].map(str::to_owned);
    let cuts = killed_until(&folder, &BAD.map(str::to_owned), &resume, ROLLED_BACK);
    covers(&cuts, &["evidence", "fence"]);
    for kind in ["step_failed fails", "revert_started fence", "revert_finished fence"] {
        assert!(cuts.contains(kind), "not after {kind}: {cuts:?}");
    }
    assert_eq!(kept(&folder), ["one.evidence"]);
    assert_eq!(access(&estate), before);
    let (_, events) = folder.journals().remove(0);
    let fenced = of_step(&events, "step_started", "fence");
    assert!(!fenced.is_empty(), "it was closed before it was opened again");
}
