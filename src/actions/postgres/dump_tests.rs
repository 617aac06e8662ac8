//! Dumps, restores and proofs against a real server and PostgreSQL's own programs.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::super::testing::{Lab, dump_of, program, restore_of};
use super::*;
use crate::actions::{observe, perform, revert};
use crate::clients::testing;
use crate::engine::ports::Image;
use crate::outcome::{Effect, WARNS};
use crate::runbook::catalogue::actions::ActionName;

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).expect("written");
}

#[tokio::test]
async fn what_was_dumped_comes_back_and_is_proved() {
    let Some(lab) = Lab::open().await else { return };
    let performed = lab.dumped("first").await;
    assert_eq!(performed.outputs["rows"], 200 + 1000 + 3, "{performed:?}");
    // What is written after the snapshot is in neither.
    lab.server.sql("phoenix", "insert into lab.experiments (name) values ('later')").await;
    let performed = lab.restored("first", "phoenix_restore").await.expect("restored");
    assert_eq!(performed.outputs["database"], "phoenix_restore");
    let performed = lab.proved("first", "phoenix_restore").await.expect("proved");
    assert!(
        performed.notes[0].contains("1203 rows, every digest the same"),
        "{:?}",
        performed.notes
    );
    // The application reads what it could read before.
    let (app, _driver) =
        lab.server.client("app", "operator-secret", "phoenix_restore").await.expect("connects");
    let row = app.query_one("select count(*) from lab.experiments", &[]).await.expect("may read");
    assert_eq!(row.get::<_, i64>(0), 200);
}

#[tokio::test]
async fn a_dump_that_is_not_what_it_says_is_not_restored() {
    let Some(lab) = Lab::open().await else { return };
    for (name, harm, said) in [
        ("flipped", flip as fn(&Path), "has other content than was written"),
        (
            "short",
            |path| {
                let bytes = std::fs::read(path).expect("read");
                std::fs::write(path, &bytes[..bytes.len() / 2]).expect("cut");
            },
            "bytes instead of",
        ),
        ("gone", |path| std::fs::remove_file(path).expect("removed"), "No such file"),
    ] {
        lab.dumped(name).await;
        harm(&lab.largest(name));
        let error = lab.restored(name, "copy").await.expect_err(said);
        assert!(error.message.contains(said), "{name}: {error}");
        assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None));
        assert!(!lab.databases().await.contains(&"copy".to_owned()), "nothing was made");
    }
    flip(&lab.dumps.path().join("gone.dump/manifest.json"));
    let error = lab.restored("gone", "copy").await.expect_err("a changed manifest");
    assert!(error.message.contains("cannot be believed"), "{error}");
    std::fs::remove_file(lab.dumps.path().join("short.dump/manifest.json")).expect("removed");
    let error = lab.restored("short", "copy").await.expect_err("no manifest");
    assert!(error.message.contains("short is not in"), "{error}");
}

#[tokio::test]
async fn the_newest_dump_is_taken_and_what_is_none_is_left_out_aloud() {
    let Some(lab) = Lab::open().await else { return };
    lab.dumped("older").await;
    lab.server.sql("phoenix", "insert into lab.experiments (name) values ('later')").await;
    lab.dumped("newer").await;
    std::fs::create_dir(lab.dumps.path().join("cut-off.dump")).expect("made");
    let (clients, armed) = lab.clients();
    let mut with = restore_of("", "copy");
    with.as_object_mut().expect("arguments").remove("dump");
    let (call, _news) = testing::call(ActionName::PostgresRestore, with);
    let seen = observe(&clients, &call).await.expect("observed");
    assert!(seen.evidence.iter().any(|line| line.contains("cut-off has no manifest")), "{seen:?}");
    // A newer one that comes between the look and the deed is not what was approved.
    lab.dumped("newest").await;
    let performed = perform(&clients, &armed, &call, &seen).await.expect("restored");
    assert_eq!(performed.outputs["dump"], "newer");
}

#[tokio::test]
async fn a_restore_begins_anew_over_its_own_part_and_takes_back_only_its_own() {
    let Some(lab) = Lab::open().await else { return };
    lab.dumped("first").await;
    let (clients, armed) = lab.clients();
    let (call, _news) = testing::call(ActionName::PostgresRestore, restore_of("first", "copy"));
    let before = observe(&clients, &call).await.expect("observed");
    let performed = perform(&clients, &armed, &call, &before).await.expect("restored");
    let after = observe(&clients, &call).await.expect("observed");
    assert!(after.satisfied && after.live == performed.after, "{after:?}");
    assert_eq!(after.outputs, performed.outputs, "adopted as it was");
    // A process that died in the middle leaves a part with a session in it.
    let digest = Sha256::digest(b"01RUN/step/0");
    let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let draft = format!("phoenix_dr_{short}_1");
    lab.server.sql("postgres", &format!("alter database copy rename to {draft}")).await;
    let (orphan, _driver) =
        lab.server.client("dr", "operator-secret", &draft).await.expect("connects");
    orphan.batch_execute("drop table lab.runs").await.expect("half done");
    let part = observe(&clients, &call).await.expect("observed");
    assert!(!part.satisfied && part.outputs.is_empty(), "{part:?}");
    // One key as before, one as this step wrote it: the engine takes that for a half-done change of its own.
    assert_eq!((&part.live["begun"], &part.live["whole"]), (&json!(true), &Value::Null));
    assert_eq!((&before.live["begun"], &before.live["whole"]), (&Value::Null, &Value::Null));
    assert_eq!(performed.after, json!({ "begun": true, "whole": "first" }));
    // What this step made is known without the dump.
    let away = lab.dumps.path().join("away");
    std::fs::rename(lab.dumps.path().join("first.dump"), &away).expect("moved");
    observe(&clients, &call).await.expect("it can be taken back");
    std::fs::rename(&away, lab.dumps.path().join("first.dump")).expect("moved back");
    perform(&clients, &armed, &call, &part).await.expect("restored anew");
    lab.proved("first", "copy").await.expect("whole");
    // Somebody else's database of that name is neither restored over nor dropped.
    let image = Image { before: before.live, ours: performed.after, now: after };
    revert(&clients, &armed, &call, &image).await.expect("taken back");
    assert_eq!(lab.databases().await, ["phoenix", "postgres"]);
    lab.server.sql("postgres", "create database copy").await;
    let error = observe(&clients, &call).await.expect_err("in the way");
    assert!(error.message.contains("is on phoenix-prod already"), "{error}");
    let error = revert(&clients, &armed, &call, &image).await.expect_err("not ours");
    assert_eq!(error.class, FailureClass::Conflict, "{error}");
    assert_eq!(lab.databases().await, ["copy", "phoenix", "postgres"]);
}

#[tokio::test]
async fn what_is_in_the_way_is_told_before_anything_is_written() {
    let Some(lab) = Lab::open().await else { return };
    lab.dumped("first").await;
    lab.server.sql("postgres", "alter role dr nocreatedb; revoke pg_read_all_data from dr").await;
    let error = lab.restored("first", "copy").await.expect_err("denied");
    assert!(error.message.contains("may not create databases"), "{error}");
    assert_eq!(error.hint.as_deref(), Some("as its administrator: alter role \"dr\" createdb"));
    let error = lab.done(ActionName::PostgresDump, dump_of("second")).await.expect_err("denied");
    assert!(
        error.message.contains("may not read lab.experiments, lab.experiments_id_seq, lab.runs"),
        "{error}"
    );
    assert_eq!(
        error.hint.as_deref(),
        Some("as its administrator: grant pg_read_all_data to \"dr\"")
    );
    lab.server.sql("phoenix", "grant pg_read_all_data to dr; select lo_create(99)").await;
    let error = lab.done(ActionName::PostgresDump, dump_of("second")).await.expect_err("denied");
    assert!(error.message.contains("may not read the large object 99"), "{error}");
    let error = lab.done(ActionName::PostgresDump, dump_of("../x")).await.expect_err("a name");
    assert!(error.message.contains("cannot name a dump"), "{error}");
    let (clients, _armed) = lab.clients();
    let (call, _news) = testing::call(ActionName::PostgresDump, dump_of("first"));
    let same = observe(&clients, &call).await.expect("its own");
    assert!(same.satisfied && same.outputs["dump"] == "first", "{same:?}");
    let left: Vec<_> = std::fs::read_dir(lab.dumps.path()).expect("listed").collect();
    assert_eq!(left.len(), 1, "the first dump: {left:?}");
}

#[tokio::test]
async fn a_dump_of_a_damaged_table_is_none() {
    let Some(mut lab) = Lab::open().await else { return };
    let path = "select pg_relation_filepath('lab.experiments')";
    let path = lab.server.text("phoenix", path).await;
    lab.server
        .while_stopped(|data| {
            let file = std::fs::OpenOptions::new().write(true).open(data.join(path));
            let file = file.expect("opened");
            std::os::unix::fs::FileExt::write_at(&file, &[0x5a; 24], 0).expect("overwritten");
        })
        .await;
    let error = lab.done(ActionName::PostgresDump, dump_of("bad")).await.expect_err("damaged");
    assert_eq!(error.effect, Effect::None, "{error}");
    assert!(error.message.contains("invalid page"), "{error}");
    let left: Vec<_> = std::fs::read_dir(lab.dumps.path()).expect("listed").collect();
    assert!(left.is_empty(), "nothing is kept: {left:?}");
}

#[tokio::test]
async fn what_belongs_to_the_database_itself_comes_back_too() {
    let Some(lab) = Lab::open().await else { return };
    let settings = "alter database phoenix set search_path = lab, public; \
        alter role app in database phoenix set work_mem = '9MB'; \
        create role team; alter table lab.runs owner to team; grant connect on database phoenix to app; \
        revoke connect on database phoenix from public; \
        grant select on lab.runs to app; create role gone; grant select on lab.runs to gone";
    lab.server.sql("phoenix", settings).await;
    lab.dumped("first").await;
    lab.server.sql("phoenix", "revoke all on lab.runs from gone").await;
    lab.server.sql("postgres", "drop role gone").await;
    let performed = lab.restored("first", "copy").await.expect("restored");
    let lost = performed.notes.iter().filter(|note| note.starts_with(WARNS)).collect::<Vec<_>>();
    assert!(lost.len() == 1 && lost[0].contains("not done: GRANT"), "{lost:?}");
    let [open] = performed.obligations.as_slice() else { panic!("{performed:?}") };
    assert!(open.id == "lacks-copy" && open.say.contains("gone"), "{open:?}");
    let (app, _driver) =
        lab.server.client("app", "operator-secret", "copy").await.expect("it may connect");
    let row = app.query_one("select count(*), current_setting('work_mem') from runs", &[]).await;
    let row = row.expect("found by search_path, and allowed, although one other role is gone");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1)), (1000, "9MB"));
    let asked = "select has_database_privilege('public', 'copy', 'CONNECT')::text || \
        has_table_privilege('team', 'lab.runs', 'INSERT')::text";
    assert_eq!(lab.server.text("copy", asked).await, "falsetrue");
}

/// The application owned everything; the restored database is the estate's user's, and it can do what it could.
#[tokio::test]
async fn former_owners_can_do_what_they_could() {
    let Some(lab) = Lab::open().await else { return };
    let owned = "alter database phoenix owner to app; revoke all on database phoenix from public; grant connect on database phoenix to dr; \
        alter database phoenix set statement_timeout = '30s'; alter role dr bypassrls; \
        create function lab.count() returns bigint language sql as 'select count(*) from lab.runs'; \
        revoke execute on function lab.count() from public; alter function lab.count() owner to app; \
        grant select on lab.runs to app; alter large object 4711 owner to app; grant select on large object 4711 to dr; \
        create table lab.notes (t text); insert into lab.notes values ('a'), ('b'); \
        alter table lab.notes enable row level security; alter table lab.notes owner to app";
    lab.server.sql("phoenix", owned).await;
    lab.dumped("first").await;
    let performed = lab.restored("first", "copy").await.expect("restored");
    lab.proved("first", "copy").await.expect("whole");
    let (app, _driver) =
        lab.server.client("app", "operator-secret", "copy").await.expect("it may connect");
    let does = "create table public.made (id int); select lab.count(); select lo_get(4711)";
    app.batch_execute(does).await.expect("as before");
    let row = app.query_one("select current_setting('statement_timeout')", &[]).await;
    assert_eq!(row.expect("asked").get::<_, &str>(0), "30s");
    // Its owner saw rows that a policy hides from everybody else: nobody must find that out by their absence.
    let row = app.query_one("select count(*) from lab.notes", &[]).await.expect("may read");
    assert_eq!(row.get::<_, i64>(0), 0);
    let hidden = performed.notes.iter().find(|note| note.contains("policies hide the rows of"));
    assert!(hidden.is_some_and(|note| note.contains("lab.notes")), "{:?}", performed.notes);
    assert!(performed.obligations[0].say.contains("lab.notes"), "{:?}", performed.obligations);
}

#[tokio::test]
async fn a_table_whose_rows_a_policy_hides_is_told_before_the_dump() {
    let Some(lab) = Lab::open().await else { return };
    let hides = "create table lab.notes (t text); alter table lab.notes enable row level security";
    lab.server.sql("phoenix", hides).await;
    let error = lab.done(ActionName::PostgresDump, dump_of("first")).await.expect_err("hidden");
    assert!(error.message.contains("may not read lab.notes"), "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("bypassrls")));
}

#[tokio::test]
async fn what_was_written_since_is_not_dropped() {
    let Some(lab) = Lab::open().await else { return };
    lab.dumped("first").await;
    let (clients, armed) = lab.clients();
    let (call, _news) = testing::call(ActionName::PostgresRestore, restore_of("first", "copy"));
    let before = observe(&clients, &call).await.expect("observed");
    let performed = perform(&clients, &armed, &call, &before).await.expect("restored");
    let now = observe(&clients, &call).await.expect("observed");
    let image = Image { before: before.live, ours: performed.after, now };
    let refused = async |said: &str| {
        let error = revert(&clients, &armed, &call, &image).await.expect_err("in use");
        assert_eq!(error.class, FailureClass::Conflict, "{error}");
        assert!(error.message.contains(said), "{error}");
        assert!(lab.databases().await.contains(&"copy".to_owned()));
    };
    let (app, driver) =
        lab.server.client("app", "operator-secret", "copy").await.expect("connects");
    app.query_one("select 1", &[]).await.expect("it is there");
    refused("has 1 sessions of app").await;
    drop(app);
    driver.await.expect("it ends");
    lab.server.sql("copy", "insert into lab.experiments (name) values ('only here')").await;
    let counts = "select (sum(n_tup_ins) > 1203)::text from pg_stat_user_tables";
    lab.server.until("copy", counts, "true").await;
    // A session that has ended is seen for a moment longer.
    let gone = "select (count(*) = 0)::text from pg_stat_activity where datname = 'copy' and usename = 'app'";
    lab.server.until("postgres", gone, "true").await;
    let error = revert(&clients, &armed, &call, &image).await.expect_err("written to");
    assert!(error.message.contains("is not dropped"), "{error}");
    assert!(lab.databases().await.contains(&"copy".to_owned()));
}

#[tokio::test]
async fn a_replica_dumps_what_it_has_and_says_as_of_when() {
    let Some(lab) = Lab::open().await else { return };
    lab.server.sql("phoenix", "create unlogged table lab.fast (id serial)").await;
    let standby = lab.server.replica();
    let caught_up = "select (pg_last_xact_replay_timestamp() is not null)::text";
    lab.server.sql("phoenix", "insert into lab.experiments (name) values ('last')").await;
    let rows = "select (count(*) = 201)::text from lab.experiments";
    standby.until("phoenix", rows, "true").await;
    assert_eq!(standby.text("phoenix", caught_up).await, "true");
    standby.sql("phoenix", "select pg_wal_replay_pause()").await;
    let paused = "select pg_get_wal_replay_pause_state()";
    standby.until("phoenix", paused, "paused").await;
    lab.server.sql("phoenix", "insert into lab.experiments (name) values ('after')").await;
    let last = standby.text("phoenix", "select pg_last_xact_replay_timestamp()::text").await;
    let dumps = lab.dumps.path().display().to_string();
    std::fs::copy(lab.server.secret(), standby.secret()).expect("the same password");
    let (clients, armed) = testing::armed(standby.estate(&json!({ "dumps": dumps })));
    let clients = clients.with_artifacts(lab.artifacts.path().to_owned());
    let (call, _news) = testing::call(ActionName::PostgresDump, dump_of("behind"));
    let seen = observe(&clients, &call).await.expect("observed");
    let performed = perform(&clients, &armed, &call, &seen).await.expect("dumped");
    let taken = performed.outputs["taken"].as_str().expect("an instant");
    let same = format!("select ('{taken}'::timestamptz = '{last}'::timestamptz)::text");
    assert_eq!(standby.text("phoenix", &same).await, "true", "{taken} is not {last}");
}

#[tokio::test]
async fn a_dump_never_takes_the_place_of_another_runs() {
    let Some(lab) = Lab::open().await else { return };
    let (clients, armed) = lab.clients();
    let (call, _news) = testing::call(ActionName::PostgresDump, dump_of("nightly"));
    let seen = observe(&clients, &call).await.expect("observed");
    let mut other = call.clone();
    other.run = crate::ids::RunId("01OTHER".to_owned());
    perform(&clients, &armed, &other, &seen).await.expect("the other run was faster");
    let error = perform(&clients, &armed, &call, &seen).await.expect_err("its name is taken");
    assert!(error.message.contains("came up meanwhile, of another run"), "{error}");
    lab.restored("nightly", "copy").await.expect("the first one is whole");
    let error = observe(&clients, &call).await.expect_err("as before");
    assert!(error.message.contains("is there already, of another run"), "{error}");
}

#[tokio::test]
async fn an_attempt_whose_time_is_over_leaves_nothing_behind() {
    let Some(lab) = Lab::open().await else { return };
    let tools = tempfile::tempdir().expect("a directory");
    let slow = "case $1 in --version) echo 'pg_dump (PostgreSQL) 15.8'; exit;; esac; \
        for word; do case $word in --file=*) mkdir ${word#--file=} && echo part > ${word#--file=}/1.dat;; esac; done; \
        exec sleep 600";
    program(tools.path(), "pg_dump", slow);
    let (clients, armed) = lab.clients_with(&json!({ "tools": tools.path() }));
    let (call, _news) = testing::call(ActionName::PostgresDump, dump_of("first"));
    let seen = observe(&clients, &call).await.expect("observed");
    let begun = async {
        while !lab.names().iter().any(|name| lab.dumps.path().join(name).join("1.dat").exists()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // As the engine drops an attempt whose time is over.
    tokio::select! {
        ended = perform(&clients, &armed, &call, &seen) => panic!("it ended: {ended:?}"),
        () = begun => {}
    }
    assert_eq!(lab.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_dump_that_lacks_its_name_alone_is_not_taken_again() {
    let Some(lab) = Lab::open().await else { return };
    let (clients, armed) = lab.clients();
    let (call, _news) = testing::call(ActionName::PostgresDump, dump_of("first"));
    let seen = observe(&clients, &call).await.expect("observed");
    let first = perform(&clients, &armed, &call, &seen).await.expect("dumped");
    let nameless = Draft::new(lab.dumps.path(), &call, &clients).whole();
    let named = lab.dumps.path().join("first.dump");
    std::fs::rename(&named, &nameless).expect("as if it never had one");
    // There is nothing to take another one with.
    let empty = tempfile::tempdir().expect("a directory");
    let (clients, armed) = lab.clients_with(&json!({ "tools": empty.path() }));
    let again = perform(&clients, &armed, &call, &seen).await.expect("taken over");
    assert_eq!((&again.outputs, &again.after), (&first.outputs, &first.after));
    assert_eq!(lab.names(), ["first.dump"]);
    // What is not whole is no dump.
    std::fs::rename(&named, &nameless).expect("once more");
    std::fs::remove_file(nameless.join("toc.dat")).expect("removed");
    let error = perform(&clients, &armed, &call, &seen).await.expect_err("no program");
    assert_eq!(error.class, FailureClass::NotFound, "{error}");
}

#[tokio::test]
async fn a_newer_pg_dump_says_what_a_restore_needs_or_is_refused() {
    let Some(lab) = Lab::open().await else { return };
    let tools = tempfile::tempdir().expect("a directory");
    let (clients, armed) = lab.clients_with(&json!({ "tools": tools.path() }));
    let (call, _news) = testing::call(ActionName::PostgresDump, dump_of("first"));
    program(tools.path(), "pg_dump", "echo 'pg_dump (PostgreSQL) 17.2'");
    let error = observe(&clients, &call).await.expect_err("it is of no use to that server");
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None));
    assert!(error.message.contains("can never be restored on phoenix-prod"), "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("postgresql-client-15")));
    let of_16 = "case $1 in --version) echo 'pg_dump (PostgreSQL) 16.4'; exit;; esac; \
        exec /usr/lib/postgresql/15/bin/pg_dump \"$@\"";
    program(tools.path(), "pg_dump", of_16);
    let seen = observe(&clients, &call).await.expect("observed");
    let needed = "a restore needs pg_restore 16 or newer";
    assert!(seen.evidence.iter().any(|line| line.contains(needed)), "{seen:?}");
    let done = perform(&clients, &armed, &call, &seen).await.expect("dumped");
    assert!(done.notes.iter().any(|note| note.contains(needed)), "{done:?}");
}

/// Two servers with a database of the same name share a directory.
#[tokio::test]
async fn the_newest_dump_of_another_server_is_not_restored() {
    let (Some(lab), Some(mut other)) = (Lab::open().await, Lab::open().await) else { return };
    lab.dumped("ours").await;
    other.dumps = lab.dumps;
    other.server.sql("phoenix", "insert into lab.experiments (name) values ('theirs')").await;
    other.dumped("theirs").await;
    let lab = Lab { dumps: other.dumps, ..lab };
    let mut with = restore_of("", "copy");
    with.as_object_mut().expect("arguments").remove("dump");
    let (clients, armed) = lab.clients();
    let (call, _news) = testing::call(ActionName::PostgresRestore, with);
    let seen = observe(&clients, &call).await.expect("observed");
    let left_out = |line: &String| line.contains("theirs") && line.contains("of another server");
    assert!(seen.evidence.iter().any(left_out), "{seen:?}");
    let performed = perform(&clients, &armed, &call, &seen).await.expect("restored");
    assert_eq!(performed.outputs["dump"], "ours");
}
