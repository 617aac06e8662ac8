//! Base backups and archived WAL in a bucket of a real S3 server, restored to real servers.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::actions::postgres::copies;
use crate::actions::postgres::points::{Asked, Point, list};
use crate::actions::postgres::store::testing::{Fault, PREFIX, REGION, Shop, refusal};

const PACKED: [&str; 1] = ["--format=tar"];

/// A server whose backup and WAL are in a bucket, and nothing of them in the folders they are brought into.
struct Remote {
    lab: Lab,
    shop: Shop,
    bases: PathBuf,
    wal: PathBuf,
}

/// Returns the files below a folder, by names without it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("listed") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).expect("below").to_string_lossy().into_owned();
            found.insert(name, std::fs::read(&path).expect("read"));
        }
    }
    found
}

impl Remote {
    async fn open(backup: &[&str]) -> Option<Self> {
        let (lab, shop) = (Lab::open(backup).await?, Shop::open().await?);
        let (bases, wal) = (lab.server.directory("brought"), lab.server.directory("brought-wal"));
        Some(Self { lab, shop, bases, wal })
    }

    fn clients(&self) -> (Clients, Armed) {
        let mut more = self.lab.estate_with(self.lab.data.to_str().expect("a path"));
        let from = self.shop.dumps();
        more["base_backups"] = json!({
            "directory": self.bases, "wal": self.wal,
            "from": { "bucket": from["bucket"], "region": REGION, "prefix": PREFIX },
        });
        let (clients, armed) = self.shop.armed(self.lab.server.estate(&more));
        (clients.with_artifacts(self.lab.artifacts.path().to_owned()), armed)
    }

    /// Puts everything into the bucket, as `aws s3 cp --recursive` does.
    async fn uploaded(&self) {
        for (folder, below) in [(&self.lab.bases, "base"), (&self.lab.wal, "wal")] {
            for (name, body) in files(folder) {
                self.shop.put(&format!("{below}/{name}"), &body).await;
            }
        }
    }

    async fn seen(&self, target: &str) -> Result<Observation, ActionError> {
        observe(&self.clients().0, &Lab::call(target)).await
    }

    async fn restored(&self, target: &str) -> Result<Performed, ActionError> {
        let ((clients, armed), call) = (self.clients(), Lab::call(target));
        let seen = observe(&clients, &call).await?;
        perform(&clients, &armed, &call, &seen).await
    }

    async fn points(&self) -> (Vec<Point>, Vec<String>) {
        let (clients, _armed) = self.clients();
        let asked = Asked { incident: None, now: clients.clock.now(), regions: Vec::new() };
        let points = list(&clients, &asked).await.expect("listed");
        (points.points, points.remarks)
    }

    /// Returns the names of what was brought of backups and of WAL, and kinds of copies before them.
    fn brought(&self) -> (Vec<String>, Vec<String>) {
        let name = |path: String| {
            let (copy, file) = path.split_once('/')?;
            Some(format!("{}/{}", copy.rsplit('.').next()?, file.split_once('/')?.1))
        };
        let names = |folder: &Path| files(folder).into_keys().filter_map(name).collect();
        (names(&self.bases), names(&self.wal))
    }

    fn digest(&self) -> String {
        let manifest = files(&self.lab.bases)["sunday/backup_manifest"].clone();
        let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
        manifest["Manifest-Checksum"].as_str().expect("a checksum").to_owned()
    }
}

#[tokio::test]
async fn whatever_its_form_a_backup_is_brought_restored_and_proved_for_every_host() {
    for backup in [&[][..], &["--format=tar", "--wal-method=none"]] {
        let Some(remote) = Remote::open(backup).await else { return };
        let lab = &remote.lab;
        lab.row(1).await;
        lab.server.sql("postgres", "select pg_create_restore_point('before')").await;
        lab.row(2).await;
        remote.uploaded().await;
        let (points, remarks) = remote.points().await;
        let [sunday] = points.as_slice() else { panic!("{points:?}: {remarks:?}") };
        assert_eq!(remarks, [""; 0], "{backup:?}");
        let place = sunday.path.as_deref().expect("a place");
        assert_eq!(place, format!("s3://phoenix-dumps/{PREFIX}/base/sunday"));
        assert!(sunday.until.is_some() && sunday.proved.is_none(), "{sunday:?}");
        // How far the WAL leads is known by its last segment alone, and that stays for the next look.
        let (bases, wal) = remote.brought();
        assert_eq!((bases.len(), wal.len()), (0, 1), "{bases:?} {wal:?}");
        assert!(wal[0].starts_with("looks/0"), "{wal:?}");
        remote.shop.way.asked();
        remote.points().await;
        let got = |asked: &[String]| {
            asked
                .iter()
                .filter(|asked| asked.starts_with("GET /") && asked.contains("/wal/0"))
                .count()
        };
        let asked = remote.shop.way.asked();
        let magic = usize::from(!backup.is_empty());
        assert_eq!(got(&asked), magic, "it was there: {asked:?}");
        let seen = remote.seen("name before").await.expect("observed");
        assert!(seen.evidence.iter().any(|line| line.contains("to be fetched from s3://")));
        assert!(seen.commands[0].starts_with("aws s3 cp --recursive --region us-west-2 s3://"));
        lab.nothing_made();
        let done = remote.restored("name before").await.expect("restored");
        assert_eq!(done.notes.len(), 2, "the proof is kept: {:?}", done.notes);
        assert_eq!(lab.rows().await, [1], "{backup:?}");
        let (bases, wal) = remote.brought();
        assert!(bases.is_empty() && wal.iter().all(|name| name.starts_with("looks/")), "{wal:?}");
        // Another host, that has nothing but the bucket, knows that it is proved.
        let (points, _) = remote.points().await;
        assert!(points[0].proved.is_some(), "{points:?}");
        remote.shop.get("base-proofs/sunday.json").await;
    }
}

#[tokio::test]
async fn what_cannot_be_restored_is_told_before_anything_is_fetched() {
    let Some(remote) = Remote::open(&PACKED).await else { return };
    let lab = &remote.lab;
    for id in 1..5 {
        lab.row(id).await;
    }
    remote.uploaded().await;
    let segments = lab.segments();
    let gone = name(&segments[segments.len() - 2]);
    remote.shop.delete(&format!("wal/{gone}")).await;
    let error = remote.restored("latest").await.expect_err("a gap");
    assert!(error.message.contains(&format!("the WAL {gone} is missing")), "{error}");
    for (target, said) in [
        ("time 2099-01-01T00:00:00Z", "is missing: without it the restore ends at"),
        ("name nowhere", "the restore point nowhere is not in the WAL behind sunday"),
        ("lsn 0/1000028", "none of 1 base backups in s3://phoenix-dumps/phoenix/base"),
    ] {
        let error = remote.restored(target).await.expect_err(target);
        assert!(error.message.contains(said), "{target}: {error}");
        assert_eq!(error.effect, Effect::None);
    }
    assert_eq!(remote.brought().0, [""; 0], "no file of the backup was fetched");
    lab.nothing_made();
    // A folder that is not there, and a bucket nobody may read.
    std::fs::remove_dir_all(&remote.wal).expect("removed");
    let error = remote.seen("name nowhere").await.expect_err("no folder");
    let hint = error.hint.as_deref().unwrap_or_default();
    assert!(hint.contains("`database.base_backups.wal`: make it, or mount it"), "{error} {hint}");
    std::fs::create_dir(&remote.wal).expect("made");
    remote.shop.way.meets(|_| Some(refusal(403, "AccessDenied")));
    let error = remote.seen("latest").await.expect_err("denied");
    assert_eq!((error.class, error.effect), (FailureClass::Denied, Effect::None), "{error}");
    assert!(error.message.contains("s3://phoenix-dumps/phoenix"), "{error}");
    remote.shop.way.meets(|_| Some(refusal(404, "NoSuchBucket")));
    let error = remote.seen("latest").await.expect_err("no bucket");
    assert!(error.hint.is_some_and(|hint| hint.contains("database.base_backups.from.bucket")));
}

#[tokio::test]
async fn a_file_that_was_altered_in_the_bucket_starts_no_server_and_is_fetched_anew() {
    let Some(remote) = Remote::open(&PACKED).await else { return };
    let lab = &remote.lab;
    lab.row(1).await;
    remote.uploaded().await;
    let key = "base/sunday/base.tar";
    let sound = remote.shop.get(key).await;
    let mut altered = sound.clone();
    // In the middle of what tables hold.
    let middle = altered.len() / 2;
    altered[middle..middle + 2000].fill(0x5A);
    remote.shop.put(key, &altered).await;
    let error = remote.restored("latest").await.expect_err("altered");
    assert!(error.message.contains("the base backup sunday is damaged"), "{error}");
    assert_eq!(error.effect, Effect::None);
    lab.nothing_made();
    remote.shop.put(key, &sound).await;
    remote.restored("latest").await.expect("sound again");
    assert_eq!(lab.rows().await, [1]);
}

#[tokio::test]
async fn what_was_fetched_before_it_was_cut_off_is_not_fetched_again() {
    let Some(remote) = Remote::open(&PACKED).await else { return };
    let lab = &remote.lab;
    lab.row(1).await;
    remote.uploaded().await;
    // One file does not come, however often it is asked for; a second comes at the second try.
    let tries = std::sync::atomic::AtomicUsize::new(0);
    remote.shop.way.meets(move |asked| {
        let once = asked.contains("/base/sunday/pg_wal.tar")
            && tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        if once {
            return Some(Fault::Broken);
        }
        asked.contains("/base/sunday/base.tar").then(|| refusal(500, "InternalError"))
    });
    let error = remote.restored("latest").await.expect_err("cut off");
    assert!(error.message.contains("bring s3://phoenix-dumps/phoenix/base/sunday/base.tar"));
    assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::None), "{error}");
    lab.nothing_made();
    let there = remote.brought().0;
    assert_eq!(there, ["fetched/backup_manifest", "fetched/pg_wal.tar"]);
    remote.shop.way.free();
    remote.shop.way.asked();
    remote.restored("latest").await.expect("restored");
    let asked = remote.shop.way.asked();
    for name in there {
        let name = name.replacen("fetched", "sunday", 1);
        let again = format!("GET /phoenix-dumps/phoenix/base/{name}?");
        let again = asked.iter().filter(|asked| asked.starts_with(&again)).count();
        // Its manifest is read by every look.
        assert!(again == 0 || name == "sunday/backup_manifest", "{name} was fetched again");
    }
    assert_eq!(lab.rows().await, [1]);
}

#[tokio::test]
async fn a_large_file_goes_on_where_it_was_cut_off_and_is_held_against_the_manifest() {
    let Some(remote) = Remote::open(&PACKED).await else { return };
    let lab = &remote.lab;
    lab.row(1).await;
    remote.uploaded().await;
    let key = "base/sunday/base.tar";
    let asked = remote.shop.s3().await.head_object().bucket("phoenix-dumps");
    let head = asked.key(format!("{PREFIX}/{key}")).send().await.expect("it is there");
    let etag = head.e_tag().expect("an ETag").to_owned();
    // What an attempt before has got is other than it should be: a fetch from the beginning would not have it.
    let copy =
        copies::files(&remote.bases, &format!("sunday-{}", &remote.digest()[..12]), "fetched");
    let drafts = copy.with_file_name("part");
    std::fs::create_dir_all(&drafts).expect("made");
    let brought = async || {
        let seen = remote.seen("latest").await.expect("observed");
        seen.evidence.into_iter().find(|line| line.contains("to be fetched")).expect("it is told")
    };
    let all = brought().await;
    let mut begun = remote.shop.get(key).await;
    let middle = begun.len() / 2;
    begun.truncate(middle + 2000);
    begun[middle..].fill(0x5A);
    std::fs::write(drafts.join(copies::known(key, &etag)), begun).expect("written");
    assert_ne!(brought().await, all, "no room is asked for what is there");
    let error = remote.restored("latest").await.expect_err("it went on");
    assert!(error.message.contains("the base backup sunday is damaged"), "{error}");
    lab.nothing_made();
    remote.restored("latest").await.expect("it was fetched anew");
    assert_eq!(lab.rows().await, [1]);
}

#[tokio::test]
async fn a_backup_that_was_not_uploaded_in_full_is_none() {
    let Some(remote) = Remote::open(&[]).await else { return };
    remote.lab.row(1).await;
    remote.uploaded().await;
    let key = "base/sunday/global/pg_control";
    let control = remote.shop.get(key).await;
    for (file, said) in [
        (None, "its file global/pg_control is not there: it was not uploaded in full"),
        (Some(&control[..100]), "its file global/pg_control has 100 bytes instead of 8192"),
    ] {
        match file {
            None => remote.shop.delete(key).await,
            Some(file) => remote.shop.put(key, file).await,
        }
        let (points, remarks) = remote.points().await;
        assert!(points.is_empty() && remarks.iter().any(|line| line.contains(said)), "{remarks:?}");
        let error = remote.restored("latest").await.expect_err("there is none");
        let hint = error.hint.as_deref().unwrap_or_default();
        assert!(hint.contains(said), "{error} {hint}");
        assert_eq!(remote.brought().0, [""; 0]);
        remote.lab.nothing_made();
    }
    remote.shop.put(key, &control).await;
    remote.restored("latest").await.expect("all of it is there");
    assert_eq!(remote.lab.rows().await, [1]);
}

#[tokio::test]
async fn an_instant_takes_no_more_wal_than_leads_to_it_and_other_files_stay() {
    let Some(remote) = Remote::open(&PACKED).await else { return };
    let lab = &remote.lab;
    lab.row(1).await;
    let between = lab.now().await;
    for id in 2..7 {
        lab.row(id).await;
    }
    remote.uploaded().await;
    let others = [remote.wal.join("000000010000000000000001"), remote.bases.join("sunday.old")];
    for other in &others {
        std::fs::write(other, "somebody's").expect("written");
    }
    let (target, last) = (format!("time {between}"), name(lab.segments().last().expect("one")));
    remote.seen(&target).await.expect("observed");
    remote.shop.way.asked();
    remote.restored(&target).await.expect("restored");
    assert_eq!(lab.rows().await, [1]);
    let last = format!("GET /phoenix-dumps/phoenix/wal/{last}");
    let asked = remote.shop.way.asked();
    assert!(asked.iter().all(|asked| !asked.starts_with(&last)), "{asked:?}");
    assert!(others.iter().all(|other| other.exists()), "nothing but what was brought goes");
}

#[tokio::test]
async fn a_server_that_was_begun_has_its_wal_again_where_another_run_took_it() {
    let Some(remote) = Remote::open(&PACKED).await else { return };
    let lab = &remote.lab;
    lab.row(1).await;
    remote.uploaded().await;
    let ((clients, armed), call) = (remote.clients(), Lab::call("latest"));
    let nothing = remote.seen("latest").await.expect("observed");
    let place = Place::of(own(&clients).expect("a place"), &call);
    let with = PostgresRestorePointInTime { backup: None, target: Some("latest".to_owned()) };
    let mark = make(&clients, &call, &with, &nothing, &place).await.expect("made");
    assert_eq!(place.state().expect("seen"), State::Part(mark));
    let backups = BaseBackups::of(&clients).expect("places");
    let held = backups.hold().await.expect("held");
    let user = backups.hold().await.expect("held");
    let stays = backups.done(&clients, held, ("sunday", &remote.digest())).await;
    assert!(stays.is_some_and(|said| said.contains("another process uses it")));
    let left = backups.done(&clients, user, ("sunday", &remote.digest())).await;
    assert_eq!(left, None);
    assert!(remote.brought().1.iter().all(|name| name.starts_with("looks/")));
    let seen = observe(&clients, &call).await.expect("observed");
    perform(&clients, &armed, &call, &seen).await.expect("gone on with");
    assert_eq!(lab.rows().await, [1]);
}

#[tokio::test]
async fn wal_that_was_harmed_on_this_host_is_fetched_anew_once_a_server_has_ended_over_it() {
    let Some(remote) = Remote::open(&PACKED).await else { return };
    let lab = &remote.lab;
    for id in 1..4 {
        lab.row(id).await;
    }
    remote.uploaded().await;
    let ((clients, armed), call) = (remote.clients(), Lab::call("latest"));
    let seen = remote.seen("latest").await.expect("observed");
    let place = Place::of(own(&clients).expect("a place"), &call);
    let with = PostgresRestorePointInTime { backup: None, target: Some("latest".to_owned()) };
    make(&clients, &call, &with, &seen, &place).await.expect("made");
    // As long and as old as before, so that only replaying it tells.
    let segments = lab.segments();
    let harmed = name(&segments[segments.len() - 2]);
    let backups = BaseBackups::of(&clients).expect("places");
    let harmed = backups.wal.wal(copies::FETCHED).join(harmed);
    let was = std::fs::metadata(&harmed).expect("it was brought");
    std::fs::write(&harmed, vec![0; usize::try_from(was.len()).expect("a size")]).expect("harmed");
    let file = std::fs::File::options().write(true).open(&harmed).expect("opened");
    file.set_modified(was.modified().expect("a time")).expect("set");
    let seen = observe(&clients, &call).await.expect("observed");
    let error = perform(&clients, &armed, &call, &seen).await.expect_err("it ends before");
    assert!(error.message.contains("has ended before it reached `lsn "), "{error}");
    let seen = observe(&clients, &call).await.expect("observed");
    perform(&clients, &armed, &call, &seen).await.expect("gone on with");
    assert_eq!(lab.rows().await, [1, 2, 3]);
}
