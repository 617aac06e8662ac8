//! A server restored to a point in time by the real binary: killed after each record as well, and taken back.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};

use super::corrupt::ESSENTIALS;
use super::cut::{covers, killed_after_each};
use super::estate::{Estate, fresh};
use super::harness::{Folder, of_step, sha256};
use super::tools::tools;

const OPTIONS: &str = r#"{"primary_up": true}"#;
const INSTANCE: &str = "phoenix-prod";
/// How a run ends that failed before anything was changed.
const FAILED_UNCHANGED: i32 = 4;
/// Length of the file that `Place::grow` makes longer.
pub(crate) const MAP: u64 = 512;
const BIN: &str = "/usr/lib/postgresql/15/bin";

const RUNBOOK: &str = r#"
runbook: BACK
title: Go back to the base backup
command: go-back
inputs:
  target: { type: string, default: latest }
steps:
  - id: point
    title: Choose the recovery point
    action: postgres.choose_recovery_point
    with: { unverified: true }
  - id: restore
    title: Restore a server beside
    action: postgres.restore_point_in_time
    with: { backup: "${{ steps.point.outputs.backup }}", target: "${{ inputs.target }}" }
  - id: count
    title: The application's rows are there
    checks:
      - check: postgres.query
        with:
          instance: "${{ steps.restore.outputs.instance }}"
          region: "${{ estate.primary.region }}"
          sql: "select count(*) from pit"
        expect: 3
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

const RUN: [&str; 6] = ["run", "back.yaml", "--yes", "--accept-loss", "1d", "--non-interactive"];

/// Where a base backup lies, and where servers are made of it: the user they run as must get there.
pub(crate) struct Place {
    directory: tempfile::TempDir,
    port: u16,
    user: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let data = self.data();
        if data.exists() {
            drop(self.program("pg_ctl").args(["stop", "-m", "immediate", "-D"]).arg(data).status());
        }
    }
}

/// A port nobody else is given: below the range from which the kernel takes them by itself, and each once.
fn vacant() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Whether pages are looked at while they are backed up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksums {
    Verified,
    NotVerified,
}

impl Place {
    /// Backs the primary up, three rows in a table of its own; nothing is archived, so that the backup is all there is.
    pub(crate) fn of(estate: &Estate) -> Self {
        Self::with(estate, Checksums::Verified)
    }

    pub(crate) fn with(estate: &Estate, checksums: Checksums) -> Self {
        estate.sql(INSTANCE, "create table pit as select generate_series(1, 3) id");
        estate.sql(INSTANCE, "grant select on pit to phoenix_dr");
        let directory = tempfile::tempdir().expect("a directory");
        let user = match is_root() {
            true => "postgres".to_owned(),
            false => id(&["-un"]),
        };
        let place = Self { directory, port: vacant(), user };
        let mode = || std::fs::Permissions::from_mode(0o777);
        for name in ["", "bases", "wal", "restored"] {
            let path = place.directory.path().join(name);
            std::fs::create_dir_all(&path).expect("made");
            std::fs::set_permissions(&path, mode()).expect("mode");
        }
        place.back_up(estate, checksums);
        place
    }

    /// Has a file of the backup, which holds nothing behind its first bytes, be of another length, and the manifest say so.
    pub(crate) fn grow(&self, bytes: u64) {
        let backup = self.directory.path().join("bases/sunday");
        let (path, manifest) = ("base/1/pg_filenode.map", backup.join("backup_manifest"));
        let file = std::fs::OpenOptions::new().write(true).open(backup.join(path)).expect("opened");
        file.set_len(bytes).expect("it has that length");
        let text = std::fs::read_to_string(&manifest).expect("read");
        let (head, rest) =
            text.split_once(&format!("\"Path\": \"{path}\", \"Size\": ")).expect("the file");
        let (_, tail) = rest.split_once(',').expect("more of it");
        let (tail, _) = tail.split_once("\"Manifest-Checksum\"").expect("the last line");
        let sealed = format!("{head}\"Path\": \"{path}\", \"Size\": {bytes},{tail}");
        let digest = sha256(&sealed);
        let text = format!("{sealed}\"Manifest-Checksum\": \"{digest}\"}}\n");
        std::fs::write(manifest, text).expect("written");
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("restored/data")
    }

    fn program(&self, name: &str) -> Command {
        let program = format!("{BIN}/{name}");
        let mut command = match is_root() {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", &self.user, "--", &program]);
                command
            }
            false => Command::new(program),
        };
        command.current_dir("/");
        command
    }

    fn back_up(&self, estate: &Estate, checksums: Checksums) {
        let known = &estate.about("databases")[INSTANCE];
        let password = estate.about("environment")["PHOENIX_DB_PASSWORD"].clone();
        let made = self
            .program("pg_basebackup")
            .env("PGPASSWORD", password.as_str().expect("a password"))
            .args(["-h", known["host"].as_str().expect("a host"), "-U", "postgres", "-c", "fast"])
            .args(["-p", &known["port"].to_string(), "-D"])
            .arg(self.directory.path().join("bases/sunday"))
            .args((checksums == Checksums::NotVerified).then_some("--no-verify-checksums"))
            .output()
            .expect("pg_basebackup runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    pub(crate) fn folder(&self, estate: &Estate) -> Folder {
        let at = self.directory.path();
        self.folder_with(estate, &json!({ "directory": at.join("bases"), "wal": at.join("wal") }))
    }

    /// Puts the backup and the WAL into a bucket, as an operator does, and leaves nothing of them here but two folders they are
    /// brought into.
    fn in_bucket(&self, estate: &Estate) -> Folder {
        let (at, bucket, prefix) = (self.directory.path(), "phoenix-dr-state", "orders");
        let folder = self.folder_with(
            estate,
            &json!({
                "directory": at.join("bases"), "wal": at.join("wal"),
                "from": { "bucket": bucket, "region": "us-west-2", "prefix": prefix },
            }),
        );
        let s3 = &estate.about("endpoints")["us-west-2.s3"];
        let url = format!("http://{}:{}", s3["host"].as_str().expect("a host"), s3["port"]);
        for (from, below) in [("bases", "base"), ("wal", "wal")] {
            let from = at.join(from);
            let sent = Command::new(format!("{}/aws", tools()))
                .envs(&folder.environment)
                .args(["s3", "cp", "--recursive", "--only-show-errors", "--region", "us-west-2"])
                .args(["--endpoint-url", &url])
                .arg(&from)
                .arg(format!("s3://{bucket}/{prefix}/{below}"))
                .output()
                .expect("the AWS CLI runs");
            assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
            for entry in std::fs::read_dir(&from).expect("listed") {
                let path = entry.expect("an entry").path();
                let gone = if path.is_dir() {
                    std::fs::remove_dir_all(path)
                } else {
                    std::fs::remove_file(path)
                };
                gone.expect("removed");
            }
        }
        folder
    }

    /// Returns what lies where backups and WAL are brought to: by its kind and, of what looks have read, its name.
    fn kept(&self) -> Vec<String> {
        let entries = |path: &Path| -> Vec<PathBuf> {
            let entries = std::fs::read_dir(path).expect("listed");
            entries.map(|entry| entry.expect("entry").path()).collect()
        };
        let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
        let copies = ["bases", "wal"].map(|name| entries(&self.directory.path().join(name)));
        let copies = copies.into_iter().flatten().filter(|path| path.is_dir());
        copies
            .flat_map(|copy| match copy.extension().is_some_and(|kind| kind == "looks") {
                true => entries(&copy.join("files")).iter().map(|path| name(path)).collect(),
                false => vec![name(&copy)],
            })
            .collect()
    }

    fn folder_with(&self, estate: &Estate, backups: &Value) -> Folder {
        let folder = estate.folder();
        let file = folder.path().join("phoenix-dr.yaml");
        let text = std::fs::read_to_string(&file).expect("the estate file");
        let server = json!({
            "data": self.data(), "listen": format!("127.0.0.1:{}", self.port), "user": self.user,
        });
        let text = text.replacen(
            "database:\n",
            &format!("database:\n  base_backups: {backups}\n  essentials: {ESSENTIALS}\n"),
            1,
        );
        let text =
            text.replacen("  recovered:\n", &format!("  recovered:\n    server: {server}\n"), 1);
        assert!(text.contains("base_backups:") && text.contains("server:"), "{text}");
        std::fs::write(&file, text).expect("written");
        folder.write("back.yaml", RUNBOOK);
        folder
    }

    /// Writes more and archives the WAL of it, but for one segment in the middle, whose name is returned.
    fn archive_with_a_gap(&self, estate: &Estate) -> String {
        for id in 4..8 {
            estate.sql(INSTANCE, &format!("insert into pit values ({id})"));
            estate.sql(INSTANCE, "select pg_switch_wal()::text");
        }
        let names = self.archive(estate);
        let gone = names[names.len() - 2].clone();
        self.lose(&gone);
        gone
    }

    /// Archives every segment of the WAL that is full; returns their names, the oldest first.
    pub(crate) fn archive(&self, estate: &Estate) -> Vec<String> {
        let text = |sql: &str| estate.sql(INSTANCE, sql).as_str().expect("a text").to_owned();
        text("select pg_switch_wal()::text");
        // The position after a switch is the end of the segment before, by that function.
        let written = text("select pg_walfile_name(pg_current_wal_lsn() + 1)");
        let folder = Path::new(&text("show data_directory")).join("pg_wal");
        let names = std::fs::read_dir(&folder).expect("listed");
        let mut names: Vec<String> = names
            .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
            .filter(|name| name.len() == 24 && name < &written)
            .collect();
        names.sort();
        for name in &names {
            let archived = self.directory.path().join("wal").join(name);
            std::fs::copy(folder.join(name), &archived).expect("archived");
            std::fs::set_permissions(archived, std::fs::Permissions::from_mode(0o644))
                .expect("mode");
        }
        names
    }

    /// Loses a segment of the archive.
    pub(crate) fn lose(&self, segment: &str) {
        std::fs::remove_file(self.directory.path().join("wal").join(segment)).expect("removed");
    }

    /// Asks the restored server.
    pub(crate) fn sql(&self, estate: &Estate, sql: &str) -> String {
        let password = estate.about("environment")["PHOENIX_DB_PASSWORD"].clone();
        let asked = self
            .program("psql")
            .env("PGPASSWORD", password.as_str().expect("a password"))
            .args(["-X", "-A", "-t", "-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", "postgres", "-d", "phoenix", "-c", sql])
            .output()
            .expect("psql runs");
        assert!(asked.status.success(), "{sql}: {}", String::from_utf8_lossy(&asked.stderr));
        String::from_utf8_lossy(&asked.stdout).trim().to_owned()
    }

    /// Takes the restored server away, as whoever does not need it any more does.
    pub(crate) fn clear(&self) {
        let data = self.data();
        let stopped = self.program("pg_ctl").args(["stop", "-m", "fast", "-D"]).arg(&data).output();
        assert!(stopped.expect("pg_ctl runs").status.success(), "no server was running");
        std::fs::remove_dir_all(data).expect("removed");
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let above = self.data().parent().map(Path::to_owned).expect("a directory");
        let entries = std::fs::read_dir(above).expect("listed");
        entries
            .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
            .collect()
    }
}

#[test]
fn a_server_is_restored_beside_and_a_rollback_removes_it_and_nothing_else() {
    let estate = fresh(OPTIONS);
    let place = Place::of(&estate);
    let folder = place.folder(&estate);
    let dry = folder.run(&["plan", "back.yaml"]).exits(0);
    assert!(dry.out.contains("pg_verifybackup"), "{}", dry.out);
    assert_eq!(place.names(), [""; 0], "a dry run makes nothing");
    let refused = folder.run(&[
        "run",
        "back.yaml",
        "--set",
        "target=time 2099-01-01T00:00:00Z",
        "--yes",
        "--accept-loss",
        "1d",
        "--non-interactive",
    ]);
    let refused = refused.exits(FAILED_UNCHANGED);
    assert!(refused.said().contains("the archived WAL ends at"), "{}", refused.said());
    assert_eq!(place.names(), [""; 0], "refused before anything is made");
    // Whatever it loses is more than the objective allows, and nobody is there to type it.
    let strict = "command: go-back\nobjectives: { rto: 30m, rto_max: 4h, rpo: 0s, rpo_max: 0s }\n";
    folder.write("strict.yaml", &RUNBOOK.replacen("command: go-back\n", strict, 1));
    let nobody = folder.run(&["run", "strict.yaml", "--yes", "--non-interactive"]).exits(8);
    assert!(nobody.said().contains("--accept-loss"), "{}", nobody.said());
    let unknown = [&RUN[..], &["--recovery-point", "base:monday"]].concat();
    let unknown = folder.run(&unknown).exits(FAILED_UNCHANGED);
    assert!(
        unknown.said().contains("there is no recovery point `base:monday`"),
        "{}",
        unknown.said()
    );
    folder.write("bad.yaml", &format!("{RUNBOOK}{FAILS}"));
    let bad = ["run", "bad.yaml", "--yes", "--accept-loss", "1d", "--non-interactive"];
    folder.run(&bad).exits(5);
    assert_eq!(place.names(), [""; 0], "taken back");
    folder.run(&RUN).exits(0);
    assert_eq!(place.names(), ["data"]);
    let shown = folder.run(&["recovery-points"]).exits(0).out;
    let sunday = shown.lines().find(|line| line.contains("base:sunday")).expect("it is listed");
    assert!(!sunday.contains("never"), "it is proved: {shown}");
    let twice = folder.run(&RUN).exits(FAILED_UNCHANGED);
    assert!(twice.said().contains("is there already, and not of this step"), "{}", twice.said());
    place.clear();
}

#[test]
fn a_segment_that_is_missing_before_the_target_is_named_and_nothing_is_made() {
    let estate = fresh(OPTIONS);
    let place = Place::of(&estate);
    let gone = place.archive_with_a_gap(&estate);
    let folder = place.folder(&estate);
    let shown = folder.run(&["recovery-points", "--output", "json"]).exits(0);
    assert!(shown.out.contains(&gone), "{gone}: {}", shown.out);
    let refused = folder.run(&RUN).exits(FAILED_UNCHANGED);
    assert!(refused.said().contains(&gone), "{gone}: {}", refused.said());
    assert_eq!(place.names(), [""; 0], "refused before anything is made");
}

#[test]
fn sigkill_after_each_record_and_resume_ends_with_one_server_restored_from_a_bucket() {
    let estate = fresh(OPTIONS);
    let place = Place::of(&estate);
    let archived = place.archive(&estate);
    let folder = place.in_bucket(&estate);
    let put = estate.changes().len();
    let dry = folder.run(&["run", "back.yaml", "--dry-run"]).exits(0);
    assert!(dry.out.contains("aws s3 cp --recursive"), "{}", dry.out);
    // Only the end of the WAL says how far it leads.
    let last = archived.last().cloned().expect("a segment");
    assert_eq!(place.kept(), std::slice::from_ref(&last), "a dry run fetches nothing else");
    assert_eq!(estate.changes().len(), put, "and writes nothing");
    let resume = ["resume", "--yes", "--accept-loss", "1d", "--non-interactive"];
    let cuts = killed_after_each(&folder, &RUN.map(str::to_owned), &resume.map(str::to_owned));
    covers(&cuts, &["restore"]);
    let (_, events) = folder.journals().remove(0);
    let ended = of_step(&events, "step_finished", "count");
    assert_eq!(ended.len(), 1, "the rows were counted, by the run that came to its end");
    assert_eq!(place.names(), ["data"]);
    assert_eq!(place.kept(), [last], "nothing that was fetched stays, but for the next look");
    let shown = folder.run(&["recovery-points", "--output", "json"]).exits(0).out;
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let sunday = shown["points"].as_array().and_then(|points| points.first()).expect("it is there");
    assert_eq!(sunday["path"], "s3://phoenix-dr-state/orders/base/sunday");
    assert_eq!(sunday["proved"]["by"], "recovery", "for every host: {sunday}");
    place.clear();
}

fn id(arguments: &[&str]) -> String {
    let said = Command::new("id").args(arguments).output().expect("id runs").stdout;
    String::from_utf8_lossy(&said).trim().to_owned()
}

/// Says whether these tests run as root, whom PostgreSQL's own programs refuse.
fn is_root() -> bool {
    id(&["-u"]) == "0"
}
