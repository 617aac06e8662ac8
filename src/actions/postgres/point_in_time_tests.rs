//! Restores to points in time on real servers: what is there afterwards, and what is told before anything is made.

use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::Timestamp;

#[path = "point_in_time_bucket_tests.rs"]
mod bucket_tests;
#[path = "point_in_time_proof_tests.rs"]
mod proof_tests;
#[path = "point_in_time_unused_tests.rs"]
mod unused_tests;

use super::*;
use crate::actions::postgres::wal::Archive;
use crate::actions::{observe, perform, revert};
use crate::clients::postgres::testing::Server;
use crate::clients::testing;
use crate::engine::ports::Image;
use crate::runbook::catalogue::actions::ActionName;

/// A server that archives its WAL, with a base backup, and a place for another one.
struct Lab {
    server: Server,
    wal: PathBuf,
    bases: PathBuf,
    data: PathBuf,
    listen: SocketAddr,
    artifacts: tempfile::TempDir,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.server.end(&self.data);
    }
}

impl Lab {
    async fn open(backup: &[&str]) -> Option<Self> {
        let mut server = Server::start()?;
        server.prepare().await;
        server.sql("phoenix", "alter table orders owner to dr").await;
        let wal = server.archive().await;
        let bases = server.directory("bases");
        server.base_backup(&bases.join("sunday"), backup);
        let data = server.directory("restored").join("data");
        let (listen, artifacts) =
            (crate::clients::tcp::tests::closed(), tempfile::tempdir().expect("directory"));
        Some(Self { server, wal, bases, data, listen, artifacts })
    }

    fn clients(&self) -> (Clients, Armed) {
        self.clients_with(self.data.to_str().expect("a path"))
    }

    /// Returns what the estate says of backups and of the server that is to be.
    fn estate_with(&self, data: &str) -> Value {
        let server = json!({ "data": data, "listen": self.listen, "user": Server::user() });
        json!({
            "base_backups": { "directory": self.bases, "wal": self.wal },
            "recovered": { "id": "phoenix-recovered", "server": server },
        })
    }

    fn clients_with(&self, data: &str) -> (Clients, Armed) {
        let more = self.estate_with(data);
        let (clients, armed) = testing::armed(self.server.estate(&more));
        (clients.with_artifacts(self.artifacts.path().to_owned()), armed)
    }

    fn call(target: &str) -> Call {
        let with = json!({ "target": target });
        testing::call(ActionName::PostgresRestorePointInTime, with).0
    }

    async fn seen(&self, target: &str) -> Result<Observation, ActionError> {
        observe(&self.clients().0, &Self::call(target)).await
    }

    async fn restored(&self, target: &str) -> Result<Performed, ActionError> {
        let ((clients, armed), call) = (self.clients(), Self::call(target));
        let seen = observe(&clients, &call).await?;
        perform(&clients, &armed, &call, &seen).await
    }

    async fn taken_back(&self, target: &str) -> Result<(), ActionError> {
        let ((clients, armed), call) = (self.clients(), Self::call(target));
        let now = observe(&clients, &call).await?;
        let image = Image { before: State::None.seen(), ours: now.live.clone(), now };
        revert(&clients, &armed, &call, &image).await
    }

    /// Returns the major version of the backup.
    async fn major(&self) -> u32 {
        let (clients, _armed) = self.clients();
        let backups = BaseBackups::of(&clients).expect("places");
        let archive = Archive::read(&clients, &backups.wal).await.expect("listed");
        let backup = backups.find(&clients, "sunday").await.expect("the backup");
        backup.major(&clients, &archive).await.expect("known")
    }

    /// Writes a row, and ends the segment it is in.
    async fn row(&self, id: u32) {
        self.server.sql("phoenix", &format!("insert into orders values ({id})")).await;
        self.server.archived().await;
    }

    async fn now(&self) -> Timestamp {
        let said = "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
        self.server.text("postgres", said).await.parse().expect("an instant")
    }

    async fn client(&self) -> tokio_postgres::Client {
        let port = self.listen.port();
        let connected = Server::client_at(port, "dr", "operator-secret", "phoenix").await;
        connected.expect("connects").0
    }

    /// Returns the rows of the restored server.
    async fn rows_read(&self) -> Vec<i32> {
        let rows = self.client().await.query("select id from orders order by 1", &[]).await;
        rows.expect("read").iter().map(|row| row.get(0)).collect()
    }

    /// Returns the rows of the restored server, which takes a write.
    async fn rows(&self) -> Vec<i32> {
        let written = self.client().await.batch_execute("create table written (x int)").await;
        written.expect("it takes writes");
        self.rows_read().await
    }

    /// Says that nothing was made.
    fn nothing_made(&self) {
        let above = self.data.parent().expect("a directory");
        let left: Vec<_> = std::fs::read_dir(above).expect("listed").collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// Returns the archived segments, in their order.
    fn segments(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.wal).expect("listed");
        let mut files: Vec<PathBuf> = entries
            .map(|entry| entry.expect("entry").path())
            .filter(|path| path.extension().is_none())
            .collect();
        files.sort();
        files
    }
}

fn name(path: &std::path::Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

#[tokio::test]
async fn rows_before_the_restore_point_are_there_and_later_ones_are_not() {
    let Some(lab) = Lab::open(&[]).await else { return };
    lab.row(1).await;
    lab.server.sql("postgres", "select pg_create_restore_point('before the accident')").await;
    lab.row(2).await;
    let target = "name before the accident";
    let seen = lab.seen(target).await.expect("observed");
    assert!(!seen.satisfied && seen.live == State::None.seen(), "{seen:?}");
    lab.nothing_made();
    let done = lab.restored(target).await.expect("restored");
    assert_eq!(
        (&done.outputs["backup"], &done.outputs["target"]),
        (&json!("sunday"), &json!(target))
    );
    assert_eq!(done.outputs["instance"], "phoenix-recovered");
    assert_eq!(done.notes.len(), 2, "the proof is kept: {:?}", done.notes);
    assert_eq!(lab.rows().await, [1]);
    // The damaged one is as it was, and what is restored is found restored.
    assert_eq!(lab.server.text("phoenix", "select count(*)::text from orders").await, "2");
    let seen = lab.seen(target).await.expect("observed");
    assert!(seen.satisfied && seen.outputs == done.outputs, "{seen:?}");
    let (clients, _armed) = lab.clients();
    let backups = BaseBackups::of(&clients).expect("places");
    let digest = backups.find(&clients, "sunday").await.expect("the backup").checksum;
    let proof = backups.proofs().find(&clients, "sunday", &digest).await.expect("asked");
    let proof = proof.expect("it is proved");
    assert!(proof.by == ProvedBy::Recovery && proof.took.is_some(), "{proof:?}");
    // It was written to, and what was written was read by another connection.
    let beats = lab.client().await.query("select run from phoenix_dr_heartbeat", &[]).await;
    assert_eq!(beats.expect("there is one")[0].get::<_, &str>(0), "01RUN");
    // Another step does not touch it.
    let (clients, armed) = lab.clients();
    let mut other = Lab::call(target);
    other.run = crate::ids::RunId("01OTHER".to_owned());
    let error = observe(&clients, &other).await.expect_err("not its own");
    assert!(error.class == FailureClass::Conflict && error.message.contains("01RUN"), "{error}");
    let now = lab.seen(target).await.expect("observed");
    let image = Image { before: State::None.seen(), ours: now.live.clone(), now };
    let error = revert(&clients, &armed, &other, &image).await.expect_err("not its own");
    assert_eq!(error.class, FailureClass::Conflict);
    assert_eq!(lab.rows_read().await, [1]);
    lab.taken_back(target).await.expect("taken back");
    lab.nothing_made();
    assert_eq!(lab.seen(target).await.expect("observed").live, State::None.seen());
}

#[tokio::test]
async fn an_instant_a_position_and_the_latest_are_targets_of_any_backup() {
    for backup in [
        &["--format=tar", "--gzip"][..],
        &["--format=tar", "--wal-method=none"],
        &["--wal-method=none"],
    ] {
        let Some(lab) = Lab::open(backup).await else { return };
        lab.row(1).await;
        let between = lab.now().await;
        let lsn = lab.server.text("postgres", "select pg_current_wal_lsn()::text").await;
        lab.row(2).await;
        lab.row(3).await;
        let wanted = [
            ("latest".to_owned(), vec![1, 2, 3]),
            (format!("time {between}"), vec![1]),
            // A position between two records is reached by the one after it, which begins no row.
            (format!("lsn {lsn}"), vec![1]),
        ];
        // Each way of unpacking once with each target would take long and show no more.
        let wanted = if backup.len() == 1 { &wanted[..] } else { &wanted[1..2] };
        for (target, rows) in wanted {
            lab.restored(target).await.unwrap_or_else(|error| panic!("{target}: {error}"));
            assert_eq!(lab.rows().await, *rows, "{target} from {backup:?}");
            lab.taken_back(target).await.expect("taken back");
            lab.nothing_made();
        }
    }
}

#[tokio::test]
async fn missing_wal_is_named_before_anything_is_made() {
    let Some(lab) = Lab::open(&[]).await else { return };
    lab.row(1).await;
    let first = lab.now().await;
    for id in 2..5 {
        lab.row(id).await;
    }
    let last = lab.now().await;
    lab.row(5).await;
    let segments = lab.segments();
    let gone = segments[segments.len() - 3].clone();
    std::fs::remove_file(&gone).expect("removed");
    for target in ["latest".to_owned(), format!("time {last}"), "name nowhere".to_owned()] {
        let error = lab.restored(&target).await.expect_err("a gap");
        assert!(error.message.contains(&format!("the WAL {} is missing", name(&gone))), "{error}");
        assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None), "{target}");
        lab.nothing_made();
    }
    // What lies before the gap is reached all the same, also where that is what is left.
    let hint = lab.seen("latest").await.expect_err("a gap").hint.expect("a way out");
    let lsn =
        hint.split_once("`lsn ").and_then(|(_, rest)| rest.split_once('`')).expect("a position");
    lab.seen(&format!("lsn {}", lsn.0)).await.expect("it can be reached");
    lab.restored(&format!("time {first}")).await.expect("restored");
    assert_eq!(lab.rows().await, [1]);
}

#[tokio::test]
async fn a_target_outside_of_the_window_is_refused_before() {
    let Some(lab) = Lab::open(&[]).await else { return };
    lab.server.sql("postgres", "select pg_create_restore_point('known')").await;
    lab.row(1).await;
    for (target, said) in [
        ("time 2099-01-01T00:00:00Z", "the archived WAL ends at"),
        ("lsn FF/0", "the archived WAL ends at"),
        ("lsn 0/1000028", "none of 1 base backups"),
        ("time 2001-01-01T00:00:00Z", "none of 1 base backups"),
        ("name unknown", "the restore point unknown is not in the WAL behind sunday"),
        ("soon", "is no target"),
    ] {
        let error = lab.restored(target).await.expect_err(target);
        assert!(error.message.contains(said), "{target}: {error}");
        assert_eq!((error.class == FailureClass::Internal, error.effect), (false, Effect::None));
        lab.nothing_made();
    }
    let error = lab.restored("name unknown").await.expect_err("unknown");
    assert!(error.hint.is_some_and(|hint| hint.contains("known")), "it says which there are");
    // Of a backup that is named, its own end is told.
    let (clients, _armed) = lab.clients();
    let with = json!({ "backup": "sunday", "target": "lsn 0/1000028" });
    let (call, _news) = testing::call(ActionName::PostgresRestorePointInTime, with);
    let error = observe(&clients, &call).await.expect_err("before its end");
    assert!(error.message.contains("was not complete yet at 0/1000028"), "{error}");
}

#[tokio::test]
async fn a_damaged_backup_starts_no_server() {
    let Some(lab) = Lab::open(&[]).await else { return };
    lab.row(1).await;
    let file = lab.bases.join("sunday/global/pg_control");
    let bytes = std::fs::read(&file).expect("read");
    let mut changed = bytes.clone();
    changed[5000] ^= 1;
    std::fs::write(&file, changed).expect("changed");
    let error = lab.restored("latest").await.expect_err("changed");
    assert!(error.message.contains("the base backup sunday is damaged"), "{error}");
    assert!(error.message.contains("pg_control"), "{error}");
    assert_eq!(error.effect, Effect::None);
    lab.nothing_made();
    std::fs::write(&file, bytes).expect("as it was");
    lab.restored("latest").await.expect("sound again");
}

#[tokio::test]
async fn a_target_that_is_never_reached_is_seen_whatever_pg_ctl_said() {
    let Some(lab) = Lab::open(&[]).await else { return };
    for id in 1..5 {
        lab.row(id).await;
    }
    // As long as before, so that only replaying it tells.
    let segments = lab.segments();
    let harmed = &segments[segments.len() - 2];
    let length = std::fs::metadata(harmed).expect("there").len();
    std::fs::write(harmed, vec![0; usize::try_from(length).expect("a size")]).expect("harmed");
    let error = lab.restored("latest").await.expect_err("it ends before");
    assert!(error.message.contains("has ended before it reached `lsn "), "{error}");
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::Applied));
    lab.taken_back("latest").await.expect("taken back");
    lab.nothing_made();
}

#[tokio::test]
async fn whatever_was_cut_off_is_gone_on_with() {
    let Some(lab) = Lab::open(&[]).await else { return };
    lab.row(1).await;
    let ((clients, armed), call) = (lab.clients(), Lab::call("latest"));
    let place = Place::of(own(&clients).expect("a place"), &call);
    let nothing = lab.seen("latest").await.expect("observed");
    // Cut off while it was copying.
    let above = lab.data.parent().expect("a directory");
    let draft = above.join(format!("{}1-1", place.drafts()));
    std::fs::create_dir_all(draft.join("base")).expect("made");
    assert_eq!(lab.seen("latest").await.expect("observed").live, State::Draft.seen());
    // Cut off after the directory had its name, before a server ran; and while it replayed.
    let mark = make(&clients, &call, &wanted("latest"), &nothing, &place).await.expect("made");
    assert!(!draft.exists(), "what was cut off is gone");
    assert_eq!(place.state().expect("seen"), State::Part(mark.clone()));
    let process = Process::of(&clients, place.server(), mark.major).await.expect("programs");
    process.start(&clients).await.expect("started");
    let seen = observe(&clients, &call).await.expect("observed");
    assert!(!seen.satisfied, "{seen:?}");
    let done = perform(&clients, &armed, &call, &seen).await.expect("gone on with");
    assert_eq!(lab.rows().await, [1]);
    // Stopped afterwards, by a reboot: it is started again, and not made anew.
    process.stop(&clients).await.expect("stopped");
    let seen = observe(&clients, &call).await.expect("observed");
    assert!(!seen.satisfied && seen.live == seen.desired, "{seen:?}");
    let again = perform(&clients, &armed, &call, &seen).await.expect("started");
    assert_eq!(again.outputs, done.outputs);
    assert_eq!(lab.rows_read().await, [1]);
    // Cut off while it was taken back.
    process.stop(&clients).await.expect("stopped");
    std::fs::rename(&lab.data, above.join(format!("{}removed", place.drafts()))).expect("renamed");
    assert_eq!(lab.seen("latest").await.expect("observed").live, State::Draft.seen());
    lab.taken_back("latest").await.expect("taken back");
    lab.nothing_made();
}

fn wanted(target: &str) -> PostgresRestorePointInTime {
    PostgresRestorePointInTime { backup: None, target: Some(target.to_owned()) }
}

/// Takes files out of a backup and its manifest: of a server that keeps them elsewhere.
fn without(backup: &std::path::Path, files: &[&str]) {
    let manifest = backup.join("backup_manifest");
    let text = std::fs::read_to_string(&manifest).expect("read");
    let is_of =
        |line: &&str| files.iter().any(|file| line.contains(&format!("\"Path\": \"{file}\"")));
    let kept: String =
        text.lines().filter(|line| !is_of(line)).map(|line| format!("{line}\n")).collect();
    let (before, _) = kept.split_once("\"Manifest-Checksum\"").expect("a checksum");
    let checksum = super::super::manifest::hex(&<sha2::Sha256 as sha2::Digest>::digest(before));
    std::fs::write(&manifest, format!("{before}\"Manifest-Checksum\": \"{checksum}\"}}\n"))
        .expect("written");
    for file in files {
        std::fs::remove_file(backup.join(file)).expect("removed");
    }
}

#[tokio::test]
async fn a_backup_without_its_settings_gets_those_its_primary_had() {
    let Some(mut lab) = Lab::open(&[]).await else { return };
    lab.server
        .while_stopped(|data| {
            let file = data.join("postgresql.conf");
            let text = std::fs::read_to_string(&file).expect("read");
            std::fs::write(&file, format!("{text}max_connections = 150\n")).expect("written");
        })
        .await;
    let backup = lab.bases.join("monday");
    lab.server.base_backup(&backup, &[]);
    without(&backup, &["postgresql.conf", "pg_hba.conf", "pg_ident.conf"]);
    lab.row(1).await;
    let done = lab.restored("latest").await.expect("restored");
    assert_eq!(done.outputs["backup"], "monday", "the newest");
    assert_eq!(lab.rows().await, [1]);
    let row = lab.client().await.query_one("show max_connections", &[]).await.expect("read");
    assert_eq!(row.get::<_, &str>(0), "150");
}

#[tokio::test]
async fn what_is_in_the_way_is_told_before() {
    let Some(lab) = Lab::open(&[]).await else { return };
    lab.row(1).await;
    let listener = std::net::TcpListener::bind(lab.listen).expect("the address is free");
    let error = lab.seen("latest").await.expect_err("the address is taken");
    assert!(error.message.contains("something else listens at"), "{error}");
    drop(listener);
    // A file system without room.
    let (clients, _armed) = lab.clients_with("/proc/phoenix-restored");
    let error = observe(&clients, &Lab::call("latest")).await.expect_err("no room");
    assert!(
        error.class == FailureClass::Capacity && error.message.contains("has 0 bytes free"),
        "{error}"
    );
    std::fs::create_dir(&lab.data).expect("made");
    let error = lab.seen("latest").await.expect_err("it is there");
    assert!(error.message.contains("is there already, and not of this step"), "{error}");
    std::fs::remove_dir(&lab.data).expect("removed");
    // Nobody's, but of a user that cannot read the archive.
    if rustix::process::geteuid().is_root() {
        let closed = |mode| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&lab.wal, mode).expect("mode");
            std::os::unix::fs::chown(&lab.wal, Some(0), Some(0)).expect("owner");
        };
        closed(0o700);
        let error = lab.seen("latest").await.expect_err("not readable");
        assert!(
            error.class == FailureClass::Denied && error.message.contains("may not read"),
            "{error}"
        );
        closed(0o755);
    }
    lab.seen("latest").await.expect("nothing is in the way any more");
}
