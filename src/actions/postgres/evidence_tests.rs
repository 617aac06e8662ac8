//! Copies of the files of real servers, sound and damaged.

#[path = "evidence_lost_tests.rs"]
mod lost;

use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::process::{Command, Stdio};

use super::*;
use crate::actions::{observe, perform, revert};
use crate::clients::postgres::testing::{Server as Running, brisk};
use crate::clients::testing;
use crate::engine::ports::Image;
use crate::outcome::Effect;
use crate::runbook::catalogue::actions::ActionName;

/// A server whose user may replicate, with a damaged table, and a directory for evidence.
struct Lab {
    server: Running,
    root: tempfile::TempDir,
    /// The damaged file below the server's data
    file: String,
}

const DAMAGE: [u8; 32] = [0x5a; 32];
const AT: u64 = 8192 + 300;

impl Lab {
    async fn open() -> Option<Self> {
        let mut server = Running::start()?;
        server.prepare().await;
        server
            .sql(
                "phoenix",
                "alter role dr replication; create table data as select g, md5(g::text) from generate_series(1, 5000) g; \
                 checkpoint",
            )
            .await;
        let file = server.text("phoenix", "select pg_relation_filepath('data')").await;
        server
            .while_stopped(|data| {
                let opened = std::fs::OpenOptions::new().write(true).open(data.join(&file));
                opened.expect("opened").write_all_at(&DAMAGE, AT).expect("overwritten");
            })
            .await;
        Some(Self { server, root: tempfile::tempdir().expect("directory"), file })
    }

    fn estate(&self) -> Value {
        self.server.estate(&json!({ "evidence": self.root.path().display().to_string() }))
    }

    fn kept(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.path()).expect("listed");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// What says that the server is no instance of RDS, and nothing of evidence.
fn own_server() -> Value {
    json!({ "base_backups": { "directory": "/nowhere", "wal": "/nowhere/wal" } })
}

fn with() -> PostgresEvidence {
    let (instance, region) = ("phoenix-prod".to_owned(), "us-east-1".to_owned());
    PostgresEvidence { instance, region, name: Some("first".to_owned()) }
}

fn call() -> Call {
    let with = serde_json::to_value(with()).expect("arguments");
    testing::call(ActionName::PostgresEvidence, with).0
}

fn unpack(archive: &Path, into: &Path) {
    let done = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(into).status();
    assert!(done.expect("tar runs").success(), "{} is no archive", archive.display());
}

#[tokio::test]
async fn a_damaged_server_is_copied_as_it_is() {
    let Some(lab) = Lab::open().await else { return };
    let (clients, armed) = testing::armed(lab.estate());
    let seen = observe(&clients, &call()).await.expect("observed");
    assert!(seen.waiver.is_none(), "{seen:?}");
    let said = &seen.evidence[0];
    assert!(said.contains("with checksums of pages; ") && said.ends_with(" MiB"), "{said}");
    let done = perform(&clients, &armed, &call(), &seen).await.expect("copied");
    assert_eq!(lab.kept(), ["first.evidence"]);
    let folder = lab.root.path().join("first.evidence");
    assert_eq!(done.outputs["path"], folder.display().to_string());
    // What was damaged is in it as it was, and all else is what the server had.
    let unpacked = tempfile::tempdir().expect("directory");
    unpack(&folder.join("base.tar"), unpacked.path());
    unpack(&folder.join("pg_wal.tar"), &unpacked.path().join("pg_wal"));
    let mut found = [0; DAMAGE.len()];
    let file = std::fs::File::open(unpacked.path().join(&lab.file)).expect("it is in the copy");
    file.read_exact_at(&mut found, AT).expect("read");
    assert_eq!(found, DAMAGE);
    std::fs::copy(folder.join(LIST), unpacked.path().join(LIST)).expect("copied");
    let verified = Command::new("/usr/lib/postgresql/15/bin/pg_verifybackup")
        .arg(unpacked.path())
        .output()
        .expect("it runs");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let manifest = kept(lab.root.path(), "first").expect("read").expect("there");
    let system = "select system_identifier::text from pg_control_system()";
    assert_eq!(manifest.system, lab.server.text("postgres", system).await);
    assert_eq!((manifest.log.len(), manifest.checksums), (1, true));
    // Adopted as it is, kept by a rollback, and nobody else's.
    let after = observe(&clients, &call()).await.expect("observed");
    assert!(after.satisfied && after.live == done.after && after.outputs == done.outputs);
    let image = Image { before: seen.live, ours: done.after, now: after };
    let error = revert(&clients, &armed, &call(), &image).await.expect_err("it is kept");
    assert!(error.message.contains("is kept"), "{error}");
    let other = Call { generation: 1, ..call() };
    let error = observe(&clients, &other).await.expect_err("not its own");
    assert!(error.message.contains("is there already, of another run"), "{error}");
    std::fs::OpenOptions::new()
        .append(true)
        .open(folder.join("base.tar"))
        .and_then(|file| file.set_len(512))
        .expect("cut");
    let error = observe(&clients, &call()).await.expect_err("not as it was taken");
    assert!(error.message.contains("base.tar has 512 bytes instead of"), "{error}");
}

#[tokio::test]
async fn what_is_missing_is_said_at_once_and_can_be_gone_without() {
    let Some(lab) = Lab::open().await else { return };
    lab.server.sql("postgres", "alter role dr noreplication").await;
    let rules = lab.server.path("pg_hba.conf");
    let text = std::fs::read_to_string(&rules).expect("read");
    let kept: Vec<&str> = text.lines().filter(|line| !line.contains("replication")).collect();
    std::fs::write(&rules, kept.join("\n") + "\n").expect("written");
    lab.server.sql("postgres", "select pg_reload_conf()").await;
    let clients = testing::clients(lab.server.estate(&own_server()));
    let seen = observe(&clients, &call()).await.expect("never an error that blocks");
    let waiver = seen.waiver.expect("a way on");
    for part in [
        "may not replicate from phoenix-prod",
        "alter role \"dr\" replication",
        "no pg_hba.conf entry for replication connection",
        "host replication \"dr\" ADDRESS/32 scram-sha-256",
        "the estate does not say where evidence is kept",
        "`database.evidence`",
    ] {
        assert!(waiver.why.contains(part), "{part}: {}", waiver.why);
    }
    assert_eq!(
        (waiver.word.as_str(), waiver.obligation.id.as_str()),
        ("no-evidence", "no-evidence-phoenix-prod")
    );
    // What an earlier run went on without is another incident's: this one's is asked about.
    let open = std::collections::BTreeSet::from([waiver.obligation.id]);
    let clients = testing::clients(lab.server.estate(&own_server())).knowing(open);
    let mut second = call();
    second.run = crate::ids::RunId("02RUN".to_owned());
    let seen = observe(&clients, &second).await.expect("observed");
    assert!(!seen.satisfied && seen.waiver.is_some(), "{seen:?}");
}

#[tokio::test]
async fn a_server_without_a_log_to_start_a_copy_with_is_told() {
    let Some(mut lab) = Lab::open().await else { return };
    lab.server.sql("postgres", "revoke pg_monitor from dr").await;
    let size = Server::look(&testing::clients(lab.estate()), &with()).await.expect("asked");
    assert!(size.lacking.is_empty() && size.bytes.is_none(), "{size:?}");
    assert!(size.said[0].ends_with(
        "its size is hidden: grant pg_read_all_stats for progress and a check of the room"
    ));
    lab.server
        .while_stopped(|data| {
            let file = data.join("postgresql.auto.conf");
            std::fs::write(file, "wal_level = minimal\nmax_wal_senders = 0\n").expect("written");
        })
        .await;
    let seen = observe(&testing::clients(lab.estate()), &call()).await.expect("observed");
    let why = seen.waiver.expect("a way on").why;
    for part in ["wal_level = replica", "has 0 of the 2 replication connections free"] {
        assert!(why.contains(part), "{part}: {why}");
    }
    assert!(!why.contains("pg_hba.conf"), "{why}");
}

#[tokio::test]
async fn a_server_that_is_down_is_asked_again_and_then_gone_without_or_copied_by_hand() {
    let mut estate = json!({ "database": {
        "name": "phoenix",
        "primary": { "id": "phoenix-prod", "region": "us-east-1" },
        "recovered": { "id": "phoenix-recovered" },
        "connection": { "user": "dr", "password_from": { "env": "PATH" }, "tls": "disable" },
        "evidence": "/nowhere",
    } });
    let root = tempfile::tempdir().expect("directory");
    let address = crate::clients::tcp::tests::closed().to_string();
    estate["database"]["primary"]["address"] = json!(address);
    estate["database"]["evidence"] = json!(root.path().display().to_string());
    let clients = brisk(estate.clone(), &Armed::mint());
    let seen = observe(&clients, &call()).await.expect("never an error that blocks");
    let waiver = seen.waiver.expect("a way on");
    let archive = root.path().join("first.tar").display().to_string();
    let by_hand = format!("tar --numeric-owner -C DATA_DIRECTORY -cf {archive} .");
    for part in [address.as_str(), by_hand.as_str(), "pg_tblspc"] {
        assert!(waiver.why.contains(part), "{part}: {}", waiver.why);
    }
    assert_eq!(waiver.word, "no-evidence");
    // Without its password nobody was asked: nothing says that it is down.
    estate["database"]["connection"]["password_from"] = json!({ "file": "/nowhere/password" });
    let error = observe(&testing::clients(estate), &call()).await.expect_err("not asked");
    assert_eq!((error.class, error.effect), (FailureClass::Credentials, Effect::None), "{error}");
}

#[tokio::test]
async fn what_a_dead_process_left_is_ended_and_removed() {
    let Some(lab) = Lab::open().await else { return };
    let (clients, armed) = testing::armed(lab.estate());
    let seen = observe(&clients, &call()).await.expect("observed");
    // Its own process group went on copying, slowly, into a draft of the same step.
    let left = Draft::new(lab.root.path(), &call(), &clients).whole();
    let mut orphan = Command::new("/usr/lib/postgresql/15/bin/pg_basebackup")
        .args(["--format=tar", "--no-verify-checksums", "--max-rate=32k", "--checkpoint=fast"])
        .arg(format!("--pgdata={}", left.display()))
        .args(["-h", "127.0.0.1", "-p", &lab.server.address.port().to_string(), "-U", "dr"])
        .env("PGPASSWORD", "operator-secret")
        .env("PGAPPNAME", connections(&call()))
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let sql = "select count(*)::text from pg_stat_replication";
    while lab.server.text("postgres", sql).await == "0" {
        assert!(orphan.try_wait().expect("waited").is_none(), "it ended by itself");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    perform(&clients, &armed, &call(), &seen).await.expect("copied anew");
    assert!(!orphan.wait().expect("ended").success());
    assert_eq!(lab.kept(), ["first.evidence"]);
}

#[tokio::test]
async fn a_copy_that_fails_leaves_nothing() {
    let Some(lab) = Lab::open().await else { return };
    let closed = lab.server.path("base/closed");
    std::fs::write(&closed, "x").expect("written");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).expect("mode");
    let (clients, armed) = testing::armed(lab.estate());
    let seen = observe(&clients, &call()).await.expect("observed");
    let error = perform(&clients, &armed, &call(), &seen).await.expect_err("it cannot be read");
    assert_eq!(error.effect, Effect::None, "{error}");
    assert!(error.message.contains("could not open file"), "{error}");
    assert_eq!(lab.kept(), Vec::<String>::new());
    let guarded = testing::clients(lab.estate());
    let error = perform(&guarded, &armed, &call(), &seen).await.expect_err("the guard is closed");
    assert_eq!(error.class, FailureClass::Refused);
    assert_eq!(lab.kept(), Vec::<String>::new());
}

#[test]
fn a_disk_that_is_too_small_is_told_with_both_sizes() {
    let root = tempfile::tempdir().expect("directory");
    assert!(room(root.path(), Some(1)).expect("room").expect("said").ends_with("free there"));
    let error = room(root.path(), Some(u64::MAX)).expect_err("no disk has that");
    assert_eq!(error.class, FailureClass::Capacity);
    assert!(error.message.contains("free, and the server's files have"), "{error}");
}

#[test]
fn progress_is_told_by_bytes_and_never_whole_before_the_end() {
    let with = json!({ "instance": "phoenix-prod", "region": "us-east-1" });
    let (call, mut told) = testing::call(ActionName::PostgresEvidence, with);
    tell(&call, 5 << 20, Some(10 << 20));
    tell(&call, 11 << 20, Some(10 << 20));
    tell(&call, 2048, None);
    let told: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
    assert_eq!(told[0].said, "5120 KiB of about 10 MiB copied");
    let parts: Vec<Option<f32>> = told.iter().map(|note| note.fraction).collect();
    assert_eq!(parts, [Some(0.5), Some(0.99), None]);
}
