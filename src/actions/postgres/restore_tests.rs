//! Restores that meet an error, a disk that is full, a dump of a newer version; and dumps that are taken while others write
//! or lock.

use super::super::testing::{Lab, dump_of, program, restore_of};
use super::*;
use crate::actions::{observe, perform};
use crate::clients::testing;
use crate::outcome::Effect;
use crate::runbook::catalogue::actions::ActionName;

const BIN: &str = "/usr/lib/postgresql/15/bin";

#[tokio::test]
async fn what_is_written_while_a_dump_is_taken_is_in_the_dump_and_its_manifest_or_in_neither() {
    let Some(lab) = Lab::open().await else { return };
    let tools = tempfile::tempdir().expect("a directory");
    let written = "insert into lab.experiments (name) values ('behind the snapshot')";
    let writes = format!(
        "case $1 in --version) ;; *) {BIN}/psql -qd phoenix -c \"{written}\" || exit 9;; esac; exec {BIN}/pg_dump \"$@\""
    );
    program(tools.path(), "pg_dump", &writes);
    let lsn = "select pg_current_wal_lsn()::text";
    let before = lab.server.text("phoenix", lsn).await;
    let (clients, armed) = lab.clients_with(&json!({ "tools": tools.path() }));
    let (call, _news) = testing::call(ActionName::PostgresDump, dump_of("first"));
    let seen = observe(&clients, &call).await.expect("observed");
    let (writer, _driver) =
        lab.server.client("dr", "operator-secret", "phoenix").await.expect("connects");
    let writing = async {
        loop {
            let row = "insert into lab.experiments (name) values ('busy')";
            writer.execute(row, &[]).await.expect("written");
        }
    };
    let dumped = tokio::select! {
        dumped = perform(&clients, &armed, &call, &seen) => dumped.expect("dumped"),
        () = writing => unreachable!("it writes on"),
    };
    let behind = "select count(*)::text from lab.experiments where name like 'behind%'";
    assert_eq!(lab.server.text("phoenix", behind).await, "1", "it was written");
    lab.restored("first", "copy").await.expect("restored");
    lab.proved("first", "copy").await.expect("the dump and its manifest are of one instant");
    assert_eq!(lab.server.text("copy", behind).await, "0");
    // Where that instant is in the log, and of which version the server is.
    let manifest = lab.manifest("first");
    let now = lab.server.text("phoenix", lsn).await;
    let between = format!(
        "select ('{before}'::pg_lsn <= '{0}'::pg_lsn and '{0}'::pg_lsn < '{now}'::pg_lsn)::text",
        manifest.lsn
    );
    assert_eq!(lab.server.text("phoenix", &between).await, "true", "{}", manifest.lsn);
    let version = lab.server.text("phoenix", "show server_version_num").await;
    assert_eq!(manifest.server_version.to_string(), version);
    assert_eq!(dumped.outputs["rows"], manifest.rows());
}

#[tokio::test]
async fn pg_restore_stops_at_the_first_error() {
    let Some(lab) = Lab::open().await else { return };
    // Functions come back before tables, and this one is for superusers to make.
    let inner = "create function lab.inner_pi() returns float8 language internal as 'dpi'";
    lab.server.sql("phoenix", inner).await;
    lab.dumped("first").await;
    let error = lab.restored("first", "copy").await.expect_err("not by this user");
    assert!(error.message.contains("permission denied for language internal"), "{error}");
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::Applied));
    let databases = lab.databases().await;
    let draft = databases.iter().find(|name| name.starts_with("phoenix_dr_")).expect("begun");
    let behind = "select count(*)::text from pg_class where relnamespace = 'lab'::regnamespace";
    assert_eq!(lab.server.text(draft, behind).await, "0", "nothing was made after it");
    assert!(!databases.contains(&"copy".to_owned()), "{databases:?}");
}

#[tokio::test]
async fn too_little_room_is_told_before_anything_is_made_and_a_full_disk_is_named() {
    let Some(lab) = Lab::open().await else { return };
    lab.dumped("first").await;
    let (clients, armed) = lab.clients();
    let (call, _news) = testing::call(ActionName::PostgresRestore, restore_of("first", "copy"));
    let seen = observe(&clients, &call).await.expect("observed");
    let room = |line: &String| line.contains("are needed in") && line.ends_with("free there");
    assert!(seen.evidence.iter().any(room), "{:?}", seen.evidence);
    lab.rewrite("first", |manifest| manifest.bytes = 1 << 60);
    for error in [
        observe(&clients, &call).await.expect_err("too small"),
        perform(&clients, &armed, &call, &seen).await.expect_err("too small"),
    ] {
        assert_eq!((error.class, error.effect), (FailureClass::Capacity, Effect::None));
        assert!(error.message.contains("and the dumped database had 1048576 TiB"), "{error}");
        assert!(error.hint.is_some_and(|hint| hint.starts_with("make room for")));
    }
    assert_eq!(lab.databases().await, ["phoenix", "postgres"], "nothing was made");
    // It fills up meanwhile.
    lab.rewrite("first", |manifest| manifest.bytes = 1 << 20);
    let tools = tempfile::tempdir().expect("a directory");
    let full = format!(
        "case $1 in --exit-on-error) ;; *) exec {BIN}/pg_restore \"$@\";; esac; \
         echo 'pg_restore: error: COPY failed for table \"runs_1\": ERROR:  could not extend file \"base/5/16\": \
         No space left on device' >&2; exit 1"
    );
    program(tools.path(), "pg_restore", &full);
    let (clients, armed) = lab.clients_with(&json!({ "tools": tools.path() }));
    let error = perform(&clients, &armed, &call, &seen).await.expect_err("full");
    assert_eq!((error.class, error.effect), (FailureClass::Capacity, Effect::Applied), "{error}");
    assert!(
        error.hint.is_some_and(|hint| hint.starts_with("make room for 1024 KiB on the disk of"))
    );
}

#[tokio::test]
async fn a_dump_of_a_newer_version_says_where_it_can_be_restored() {
    let Some(lab) = Lab::open().await else { return };
    lab.dumped("first").await;
    let (clients, _armed) = lab.clients();
    let (call, _news) = testing::call(ActionName::PostgresRestore, restore_of("first", "copy"));
    lab.rewrite("first", |manifest| manifest.server_version = 170_002);
    let error = observe(&clients, &call).await.expect_err("its server is newer");
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None));
    assert!(error.message.contains("of PostgreSQL 17, and phoenix-prod is older: 15"), "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("on a server of version 17 or newer")));
    lab.rewrite("first", |manifest| (manifest.server_version, manifest.tool) = (150_008, 99));
    let error = observe(&clients, &call).await.expect_err("its program is newer");
    assert_eq!((error.class, error.effect), (FailureClass::NotFound, Effect::None));
    assert!(error.message.contains("pg_restore of PostgreSQL 99 or newer is needed"), "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("postgresql-client-99")));
}

#[tokio::test]
async fn how_far_a_restore_is_is_told_by_the_items_of_its_archive() {
    let Some(lab) = Lab::open().await else { return };
    lab.dumped("first").await;
    for (jobs, into) in [(1, "one"), (4, "four")] {
        let (clients, armed) = lab.clients();
        let mut with = restore_of("first", into);
        with["jobs"] = json!(jobs);
        let (call, mut news) = testing::call(ActionName::PostgresRestore, with);
        let seen = observe(&clients, &call).await.expect("observed");
        perform(&clients, &armed, &call, &seen).await.expect("restored");
        let mut fractions = Vec::new();
        while let Ok(note) = news.try_recv() {
            if note.said.starts_with("restoring 1203 rows: ") {
                fractions.push(note.fraction.expect("it is known"));
            }
        }
        assert!(fractions.len() > 10, "{jobs} jobs: {fractions:?}");
        assert!(fractions.is_sorted(), "{jobs} jobs: {fractions:?}");
        let last = fractions.last().copied().unwrap_or_default();
        assert!(last > 0.9, "{jobs} jobs: {fractions:?}");
    }
}

#[tokio::test]
async fn whoever_holds_a_table_that_is_to_be_dumped_is_named() {
    let Some(lab) = Lab::open().await else { return };
    lab.server.sql("phoenix", "grant all on lab.experiments to app").await;
    let (app, _driver) =
        lab.server.client("app", "operator-secret", "phoenix").await.expect("connects");
    let held = "begin; lock table lab.experiments in access exclusive mode";
    app.batch_execute(held).await.expect("held");
    let error = lab.done(ActionName::PostgresDump, dump_of("first")).await.expect_err("held");
    assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::None));
    assert!(error.message.contains("it is held by app (pid "), "{error}");
    assert!(error.message.contains("`app-pod`"), "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("select pg_terminate_backend(")));
    assert_eq!(lab.names(), Vec::<String>::new(), "nothing is kept of it");
}
