//! Recovery points of a real server: dumps, base backups with archived WAL, what is missing, what was proved.

#[path = "choose_lost_tests.rs"]
mod lost;

use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::points::Damage;
use super::*;
use crate::actions::{observe, perform};
use crate::clients::postgres::testing::Server;
use crate::clients::testing;
use crate::engine::ports::Armed;

/// A server that archives its WAL, with a base backup, and a directory of dumps.
struct Lab {
    server: Server,
    wal: PathBuf,
    bases: PathBuf,
    dumps: tempfile::TempDir,
    artifacts: tempfile::TempDir,
}

impl Lab {
    async fn open() -> Option<Self> {
        let mut server = Server::start()?;
        server.prepare().await;
        server.sql("phoenix", "alter table orders owner to dr; grant pg_read_all_data to dr").await;
        server.sql("postgres", "alter role dr createdb").await;
        let wal = server.archive().await;
        let bases = server.directory("bases");
        server.base_backup(&bases.join("sunday"), &[]);
        let directory = || tempfile::tempdir().expect("directory");
        Some(Self { server, wal, bases, dumps: directory(), artifacts: directory() })
    }

    fn clients(&self) -> (Clients, Armed) {
        let more = json!({
            "dumps": self.dumps.path(),
            "base_backups": { "directory": self.bases, "wal": self.wal },
        });
        let (clients, armed) = testing::armed(self.server.estate(&more));
        (clients.with_artifacts(self.artifacts.path().to_owned()), armed)
    }

    async fn done(&self, action: ActionName, with: Value) -> Result<Performed, ActionError> {
        let (clients, armed) = self.clients();
        let (call, _news) = testing::call(action, with);
        let seen = observe(&clients, &call).await?;
        perform(&clients, &armed, &call, &seen).await
    }

    /// Dumps under a name, and proves that dump by a restore.
    async fn proved_dump(&self, name: &str) {
        let at = json!({ "instance": "phoenix-prod", "region": "us-east-1" });
        let with = |more: Value| {
            let mut all = at.as_object().expect("arguments").clone();
            all.extend(more.as_object().expect("arguments").clone());
            Value::Object(all)
        };
        self.done(ActionName::PostgresDump, with(json!({ "name": name }))).await.expect("dumped");
        let into = format!("proof_{name}");
        let restore = with(json!({ "dump": name, "into": into }));
        self.done(ActionName::PostgresRestore, restore).await.expect("restored");
        let prove = with(json!({ "dump": name, "database": into }));
        let proved = self.done(ActionName::PostgresProve, prove).await.expect("proved");
        assert_eq!(proved.notes.len(), 1, "the proof is kept: {:?}", proved.notes);
    }

    async fn choices(&self, with: Value) -> Result<Observation, ActionError> {
        let (clients, _armed) = self.clients();
        let (call, _news) = testing::call(ActionName::PostgresChooseRecoveryPoint, with);
        observe(&clients, &call).await
    }

    async fn points(&self, incident: Option<Timestamp>) -> Points {
        let (clients, _armed) = self.clients();
        let asked = Asked { incident, now: clients.clock.now(), regions: Vec::new() };
        list(&clients, &asked).await.expect("listed")
    }

    async fn now(&self) -> Timestamp {
        let said = "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
        self.server.text("postgres", said).await.parse().expect("an instant")
    }
}

fn find<'a>(points: &'a Points, id: &str) -> &'a Point {
    let found = points.points.iter().find(|point| point.id == id);
    found.unwrap_or_else(|| panic!("{id}: {points:?}"))
}

#[tokio::test]
async fn the_archived_wal_carries_a_base_backup_up_to_the_first_gap() {
    let Some(lab) = Lab::open().await else { return };
    let row = |id: u32| format!("insert into orders values ({id})");
    lab.server.sql("phoenix", &row(1)).await;
    lab.server.archived().await;
    let first = lab.now().await;
    for id in 2..5 {
        lab.server.sql("phoenix", &row(id)).await;
        lab.server.archived().await;
    }
    let last = lab.now().await;
    let points = lab.points(None).await;
    let sunday = find(&points, "base:sunday");
    let until = sunday.until.expect("the WAL has commits");
    assert!(until > first && until < last, "{first} < {until} < {last}");
    let end = sunday.lsn.expect("the WAL was read");
    assert_eq!((&sunday.target, sunday.missing.len()), (&Some(RecoveryTarget::Lsn(end)), 0));
    assert!(sunday.unusable.is_none() && sunday.bytes.expect("its size") > 1 << 20, "{sunday:?}");
    // An instant within is gone back to, and no further.
    let points = lab.points(Some(first)).await;
    let sunday = find(&points, "base:sunday");
    assert_eq!(sunday.target, Some(RecoveryTarget::Time(first)));
    assert_eq!((sunday.loss, sunday.damage), (Some(Span::default()), Damage::Before));
    // The second from last is lost: what is behind it is reached no more.
    let mut segments: Vec<PathBuf> = std::fs::read_dir(&lab.wal)
        .expect("listed")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_none())
        .collect();
    segments.sort();
    let gone = segments[segments.len() - 2].clone();
    std::fs::remove_file(&gone).expect("removed");
    let points = lab.points(None).await;
    let sunday = find(&points, "base:sunday");
    let name = gone.file_name().expect("a name").to_string_lossy().into_owned();
    assert_eq!(sunday.missing, [name]);
    assert!(sunday.until.expect("still some") < until);
    assert_eq!(sunday.target, sunday.lsn.map(RecoveryTarget::Lsn), "not silently less");
}

#[tokio::test]
async fn what_is_archived_after_the_choice_is_not_restored_with_it() {
    let Some(lab) = Lab::open().await else { return };
    lab.server.sql("phoenix", "insert into orders values (1)").await;
    lab.server.archived().await;
    // It began a moment ago: nothing of it is archived yet.
    let incident = lab.now().await;
    let with = |target: &str| json!({ "incident": incident.to_string(), "target": target, "unverified": true });
    let sunday = async |target: &'static str| {
        let seen = lab.choices(with(target)).await.expect("it can be taken");
        seen.choices.into_iter().find(|choice| choice.id == "base:sunday").expect("listed")
    };
    let chosen = sunday("").await;
    let points = lab.points(Some(incident)).await;
    let end = find(&points, "base:sunday").lsn.expect("the WAL was read");
    assert_eq!(chosen.detail["target"], format!("lsn {end}"));
    assert_eq!(sunday("latest").await.detail["target"], format!("lsn {end}"));
    // While somebody decides the damage is archived as well.
    lab.server.sql("phoenix", "delete from orders").await;
    lab.server.archived().await;
    assert_eq!(sunday("").await.detail["target"], format!("time {incident}"), "of a new look");
    let server = json!({
        "data": lab.server.directory("restored").join("data"),
        "listen": crate::clients::tcp::tests::closed(),
        "user": Server::user(),
    });
    let more = json!({
        "base_backups": { "directory": lab.bases, "wal": lab.wal },
        "recovered": { "id": "phoenix-recovered", "server": server },
    });
    let (clients, _armed) = testing::armed(lab.server.estate(&more));
    let clients = clients.with_artifacts(lab.artifacts.path().to_owned());
    let with = json!({ "backup": chosen.detail["backup"], "target": chosen.detail["target"] });
    let (call, _news) = testing::call(ActionName::PostgresRestorePointInTime, with);
    let seen = observe(&clients, &call).await.expect("it goes there");
    assert_eq!(seen.context["goal"], format!("lsn {end}"), "and no further");
}

#[tokio::test]
async fn what_no_restore_proved_is_refused_until_it_is_proved_or_said_otherwise() {
    let Some(lab) = Lab::open().await else { return };
    let error = lab.choices(json!({})).await.expect_err("nothing was proved");
    assert!(error.message.contains("base:sunday: no restore ever proved it"), "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("unverified: true")));
    let seen = lab.choices(json!({ "unverified": true })).await.expect("said otherwise");
    assert_eq!(seen.choices[0].id, "base:sunday");
    assert!(seen.choices[0].doubts.contains(&"no restore ever proved it".to_owned()), "{seen:?}");
    lab.proved_dump("nightly").await;
    // How long its restore took is what the next one is expected to take.
    let points = lab.points(None).await;
    let nightly = find(&points, "dump:nightly");
    let took = nightly.proved.as_ref().and_then(|proof| proof.took);
    assert!(took.is_some() && nightly.forecast == took, "{nightly:?}");
    let seen = lab.choices(json!({})).await.expect("one is proved");
    assert_eq!(seen.choices[0].id, "dump:nightly");
    assert_eq!(seen.choices[0].unusable, None);
    let notes = seen.choices[0].notes.join("; ");
    for said in ["old", "KiB", "last proved at ", ", which took "] {
        assert!(notes.contains(said), "{said}: {notes}");
    }
    // Nobody said when the damage began: that keeps nobody from taking it, and is never left out.
    assert_eq!(seen.choices[0].doubts, ["when the damage began was not said: it may be in it"]);
    assert!(seen.evidence[0].starts_with("! when the damage began was not said"), "{seen:?}");
    let base = seen.choices.iter().find(|choice| choice.id == "base:sunday").expect("listed");
    assert!(base.notes.iter().any(|note| note == "checksums: CRC32C"), "{base:?}");
    let refused = seen.choices.iter().find(|choice| choice.id == "base:sunday").expect("listed");
    assert_eq!(refused.unusable.as_deref(), Some("no restore ever proved it"));
    let chosen = lab
        .done(ActionName::PostgresChooseRecoveryPoint, json!({ "choose": "dump:nightly" }))
        .await;
    let outputs = chosen.expect("chosen").outputs;
    assert_eq!((&outputs["kind"], &outputs["dump"]), (&json!("dump"), &json!("nightly")));
    assert_eq!((&outputs["proved"], &outputs["backup"]), (&json!(true), &json!("")));
    assert!(outputs["loss"].as_str().is_some_and(|loss| loss.parse::<Span>().is_ok()));
    let error = lab.choices(json!({ "choose": "dump:other" })).await.expect_err("not there");
    assert!(error.message.contains("there is no recovery point `dump:other`"), "{error}");
    // Another dump under the name of the one that was proved was not.
    std::fs::remove_dir_all(lab.dumps.path().join("nightly.dump")).expect("removed");
    lab.server.sql("phoenix", "insert into orders values (77)").await;
    let again = json!({ "instance": "phoenix-prod", "region": "us-east-1", "name": "nightly" });
    lab.done(ActionName::PostgresDump, again).await.expect("dumped");
    let points = lab.points(None).await;
    assert_eq!(find(&points, "dump:nightly").proved, None);
}

#[tokio::test]
async fn a_target_that_is_given_is_gone_to_by_base_backups_alone() {
    let Some(lab) = Lab::open().await else { return };
    lab.proved_dump("nightly").await;
    let incident = lab.now().await;
    let with = |target: &str| json!({ "incident": incident.to_string(), "target": target, "unverified": true });
    let seen = lab.choices(with("name before the release")).await.expect("one goes there");
    let of = |id: &str| seen.choices.iter().find(|choice| choice.id == id).expect("listed");
    let sunday = of("base:sunday");
    assert_eq!(
        (&sunday.unusable, sunday.loss),
        (&None, None),
        "where a name is only the log tells"
    );
    assert_eq!(sunday.detail["target"], "name before the release");
    let why = of("dump:nightly").unusable.as_deref();
    assert_eq!(why, Some("only a base backup and its WAL go to `name before the release`"));
    let doubt = "whether `name before the release` is from before the damage only its WAL tells";
    assert!(sunday.doubts.iter().any(|line| line == doubt), "{:?}", sunday.doubts);
    let of = async |target: String| {
        let seen = lab.choices(with(&target)).await;
        let mut choices = seen.map(|seen| seen.choices).unwrap_or_default();
        choices.retain(|choice| choice.id == "base:sunday");
        choices.pop()
    };
    // From before the backup, and from behind the end of its WAL, nothing comes.
    let early = incident.checked_sub(Span::minutes(7).duration()).expect("an instant");
    assert_eq!(of(format!("time {early}")).await, None, "nothing else is usable");
    assert_eq!(of("lsn FF/0".to_owned()).await, None);
    let between = lab.now().await;
    lab.server.sql("phoenix", "insert into orders values (1)").await;
    lab.server.archived().await;
    let behind = of(format!("time {between}")).await.expect("it goes there");
    assert_eq!(behind.loss, None, "from behind the damage nothing is known to be lost or not");
    assert!(behind.doubts[0].contains("rows that were wrong are in it"), "{:?}", behind.doubts);
    let error = lab.choices(with("before")).await.expect_err("no target");
    assert_eq!(error.class, FailureClass::Invalid);
    assert!(error.message.contains("argument `target`: `before` is no target; write"), "{error}");
}

#[tokio::test]
async fn what_was_copied_after_the_damage_began_is_expected_to_carry_it() {
    let Some(lab) = Lab::open().await else { return };
    lab.proved_dump("before").await;
    let incident = lab.now().await;
    // A manifest's times are in whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    lab.server.base_backup(&lab.bases.join("monday"), &["--format=tar", "--gzip"]);
    lab.proved_dump("after").await;
    let points = lab.points(Some(incident)).await;
    assert_eq!(find(&points, "base:monday").damage, Damage::Same);
    assert_eq!(find(&points, "dump:after").damage, Damage::Rows);
    assert_eq!(find(&points, "dump:before").damage, Damage::Before);
    let with = json!({ "incident": incident.to_string() });
    let seen = lab.choices(with.clone()).await.expect("one is from before");
    let usable: Vec<&str> = seen
        .choices
        .iter()
        .filter(|choice| choice.unusable.is_none())
        .map(|choice| choice.id.as_str())
        .collect();
    assert_eq!(usable, ["dump:before"]);
    // Whoever wants them all the same types that nobody knows what is lost, and nobody takes them unasked.
    let mut with = with;
    with["unverified"] = json!(true);
    let seen = lab.choices(with).await.expect("said otherwise");
    let best = Candidate::best(&seen.choices, Span::minutes(240)).expect("one");
    assert!(["dump:before", "base:sunday"].contains(&best.id.as_str()), "{best:?}");
    let monday = seen.choices.iter().find(|choice| choice.id == "base:monday").expect("listed");
    assert_eq!((monday.loss, monday.unusable.as_deref()), (None, None));
    assert_eq!(find(&points, "base:monday").loss, None, "neither does the list say what is lost");
    assert_eq!(monday.doubts[0], "carries the same damage unless proven otherwise");
    // What is packed is unpacked by hand, too.
    let typed = |command: &str, file: &str| {
        let mut lines = seen.commands.iter();
        lines.any(|line| line.starts_with(command) && line.contains(file))
    };
    assert!(typed("tar -xf ", "/monday/base.tar.gz"), "{:?}", seen.commands);
    assert!(typed("tar -xf ", "/monday/pg_wal.tar.gz"), "{:?}", seen.commands);
    assert!(typed("cp -a ", "/sunday") && !typed("cp -a ", "/monday"), "{:?}", seen.commands);
    assert!(!outputs(monday).contains_key("packed"), "it is for nobody else");
    // Where nobody said when it began, nothing is restored from behind what is known to be too late.
    let latest = lab.choices(json!({ "incident": "", "latest": incident.to_string() })).await;
    let latest = latest.expect("one is proved");
    assert!(latest.evidence[0].contains(&format!("until {incident:.0}")), "{:?}", latest.evidence);
    let usable = latest.choices.iter().filter(|choice| choice.unusable.is_none());
    assert_eq!(usable.map(|choice| choice.id.as_str()).collect::<Vec<_>>(), ["dump:before"]);
}

#[tokio::test]
async fn so_long_ago_is_counted_from_when_the_run_began() {
    let Some(lab) = Lab::open().await else { return };
    lab.proved_dump("nightly").await;
    let (clients, _armed) = lab.clients();
    let with = json!({ "incident": "15m", "unverified": true });
    let (mut call, _news) = testing::call(ActionName::PostgresChooseRecoveryPoint, with);
    let began = clients.clock.now().checked_sub(Span::minutes(90).duration()).expect("an instant");
    let millis = u64::try_from(began.as_millisecond()).expect("after 1970");
    call.run = crate::ids::RunId(ulid::Ulid::from_parts(millis, 7).to_string());
    let seen = observe(&clients, &call).await.expect("observed");
    let incident = seen.choices[0].detail["incident"].as_str().expect("an instant");
    let incident: Timestamp = incident.parse().expect("an instant");
    let expected = began.as_millisecond() - 15 * 60 * 1000;
    assert_eq!(incident.as_millisecond(), expected);
    // The dump is of today: it is from behind what happened then.
    assert!(seen.choices.iter().all(|choice| !choice.doubts.is_empty()), "{:?}", seen.choices);
}

#[tokio::test]
async fn a_replica_of_ones_own_is_listed_as_what_carries_the_same_damage() {
    let Some(server) = Server::start() else { return };
    server.prepare().await;
    let replica = server.replica();
    server.sql("phoenix", "insert into orders values (1)").await;
    replica.until("phoenix", "select count(*)::text from orders", "1").await;
    let (bases, wal) = (server.directory("bases"), server.directory("wal"));
    server.base_backup(&bases.join("sunday"), &[]);
    let more = json!({
        "base_backups": { "directory": bases, "wal": wal },
        "replica": { "id": "standby", "region": "us-east-1", "address": replica.address.to_string() },
    });
    let (clients, _armed) = testing::armed(server.estate(&more));
    let asked = Asked { incident: None, now: clients.clock.now(), regions: Vec::new() };
    let points = list(&clients, &asked).await.expect("listed");
    let standby = find(&points, "replica:standby");
    assert_eq!((standby.damage, standby.loss), (Damage::Same, None));
    assert!(standby.taken.is_some() && standby.bytes.is_some(), "{standby:?}");
    let why = standby.unusable.as_deref().expect("no step takes it");
    assert!(why.starts_with("standby replays what its primary writes, damage as well"), "{why}");
    let ids: Vec<&str> = points.points.iter().map(|point| point.id.as_str()).collect();
    assert_eq!(ids, ["base:sunday", "replica:standby"], "what can be taken comes first");
    // Nobody takes it, whatever is said of what was never proved.
    let with = json!({ "unverified": true, "choose": "replica:standby" });
    let (call, _news) = testing::call(ActionName::PostgresChooseRecoveryPoint, with);
    let seen = observe(&clients, &call).await.expect("the other one can be taken");
    let standby = seen.choices.iter().find(|choice| choice.id == "replica:standby");
    let refused = standby.expect("it is listed").unusable.clone();
    assert_eq!(refused, Some(why.to_owned()));
    replica.promote();
    replica.until("phoenix", "select pg_is_in_recovery()::text", "false").await;
    let points = list(&clients, &asked).await.expect("listed");
    let why = find(&points, "replica:standby").unusable.clone().expect("no step takes it");
    assert!(why.contains("is no replica any more"), "{why}");
}

#[tokio::test]
async fn what_is_no_backup_is_left_out_aloud() {
    let Some(lab) = Lab::open().await else { return };
    std::fs::create_dir(lab.bases.join("cut")).expect("made");
    lab.server.base_backup(&lab.bases.join("packed"), &["--format=tar"]);
    lab.server.base_backup(&lab.bases.join("altered"), &[]);
    let manifest = lab.bases.join("altered/backup_manifest");
    let text = std::fs::read_to_string(&manifest).expect("read").replacen("8192", "8193", 1);
    std::fs::write(&manifest, text).expect("written");
    lab.server.base_backup(&lab.bases.join("bare"), &["--wal-method=none"]);
    lab.server.base_backup(&lab.bases.join("unchecked"), &["--manifest-checksums=NONE"]);
    let elsewhere = format!("--waldir={}", lab.server.directory("elsewhere").display());
    lab.server.base_backup(&lab.bases.join("linked"), &[&elsewhere]);
    let points = lab.points(None).await;
    let said = points.remarks.join("\n");
    assert!(said.contains("cut cannot be used: it has no backup_manifest"), "{said}");
    assert!(said.contains("altered cannot be used: its backup_manifest was changed"), "{said}");
    assert!(said.contains("unchecked cannot be used: its manifest has no checksums"), "{said}");
    let at = json!({ "directory": lab.bases, "wal": lab.wal });
    let at = serde_json::from_value(at).expect("what an estate says");
    let (clients, _armed) = testing::armed(json!({}));
    let error = super::super::base::BaseBackups::at(&at).find(&clients, "unchecked").await;
    let error = error.expect_err("nothing could tell what was changed");
    assert!(error.hint.is_some_and(|hint| hint.contains("--manifest-checksums=SHA256")));
    assert!(said.contains("linked cannot be used: its pg_wal is a link"), "{said}");
    // Nothing came with it: what it needs itself must be archived.
    let bare = find(&points, "base:bare").clone();
    std::fs::remove_dir_all(&lab.wal).expect("removed");
    std::fs::create_dir(&lab.wal).expect("made");
    let points = lab.points(None).await;
    assert_eq!(bare.unusable, None);
    let why = find(&points, "base:bare").unusable.clone().expect("not usable any more");
    assert!(why.contains("that the backup itself needs is missing"), "{why}");
    assert_eq!(find(&points, "base:sunday").unusable, None, "it has its own");
    // Its own is in an archive, where nothing reads it: then it goes as far as there is WAL by the time of the restore.
    let packed = find(&points, "base:packed");
    assert_eq!(packed.target, Some(RecoveryTarget::Latest));
    let doubt = "how far its WAL leads is not known: a restore goes as far as it does by then";
    assert_eq!(packed.doubts()[0], doubt);
}
