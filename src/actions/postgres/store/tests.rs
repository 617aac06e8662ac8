//! Dumps in a bucket of a real S3 server, from a real PostgreSQL server and back.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::super::points::{Asked, Point, Points, list};
use super::super::testing::{Lab, dump_of, program, restore_of};
use super::parts::{Large, PART};
use super::testing::{BUCKET, Fault, PREFIX, REGION, Shop, refusal};
use super::*;
use crate::actions::postgres::bucket::{Backups, Condition, Marks, Objects, Written};
use crate::actions::{observe, perform};
use crate::clients::testing;
use crate::estate::dumps::DumpBucket;
use crate::outcome::Effect;
use crate::runbook::catalogue::actions::ActionName;

async fn points(lab: &Lab) -> Points {
    let (clients, _armed) = lab.clients();
    let asked = Asked { incident: None, now: clients.clock.now(), regions: Vec::new() };
    list(&clients, &asked).await.expect("listed")
}

fn point<'a>(points: &'a Points, id: &str) -> &'a Point {
    let found = points.points.iter().find(|point| point.id == id);
    found.unwrap_or_else(|| panic!("{id}: {points:?}"))
}

/// Returns the names of objects that were written, without the probe.
fn written(asked: &[String]) -> Vec<&str> {
    let put = asked.iter().filter_map(|asked| asked.strip_prefix("PUT /"));
    let path = put.map(|path| path.split('?').next().unwrap_or(path));
    let name = path.map(|path| path.rsplit('/').next().unwrap_or(path));
    name.filter(|name| !name.contains("may-write")).collect()
}

#[tokio::test]
async fn what_was_dumped_to_a_bucket_comes_back_from_it_and_is_proved_for_every_host() {
    let Some(mut lab) = Lab::with_bucket().await else { return };
    let (clients, _armed) = lab.clients();
    let (call, _news) = testing::call(ActionName::PostgresDump, dump_of("first"));
    let seen = observe(&clients, &call).await.expect("observed");
    assert_eq!(seen.differences[0].to, format!("s3://{BUCKET}/{PREFIX}/first.dump"));
    assert!(seen.commands[1].starts_with("aws s3 cp --recursive"), "{:?}", seen.commands);
    let performed = lab.dumped("first").await;
    assert_eq!(performed.outputs["path"], format!("s3://{BUCKET}/{PREFIX}/first.dump"));
    assert_eq!(performed.outputs["rows"], 200 + 1000 + 3);
    assert_eq!(lab.shop().left(), Vec::<String>::new(), "the staged copy goes");
    let again = observe(&clients, &call).await.expect("observed");
    assert!(again.satisfied && again.outputs == performed.outputs, "{again:?}");
    let unproved = points(&lab).await;
    assert_eq!(point(&unproved, "dump:first").proved, None);
    let performed = lab.restored("first", "copy").await.expect("restored");
    assert_eq!(performed.outputs["dump"], "first");
    assert_eq!(lab.shop().left(), Vec::<String>::new(), "so does the fetched one");
    let performed = lab.proved("first", "copy").await.expect("proved");
    assert_eq!(performed.notes.len(), 1, "the proof is kept: {:?}", performed.notes);
    // Another host has another directory, and nothing else.
    lab.shop.as_mut().expect("a bucket").work = tempfile::tempdir().expect("a directory");
    let proved = points(&lab).await;
    let first = point(&proved, "dump:first");
    assert!(first.proved.is_some() && first.unusable.is_none(), "{first:?}");
    assert_eq!(first.path.as_deref(), Some("s3://phoenix-dumps/phoenix/first.dump"));
    // Of another dump under the same name it says nothing.
    let manifest = String::from_utf8(lab.shop().get("first.dump/manifest.json").await);
    let other = manifest.expect("text").replacen("\"rows\": 200", "\"rows\": 201", 1);
    lab.shop().put("first.dump/manifest.json", other.as_bytes()).await;
    let said = points(&lab).await.remarks.join("\n");
    assert!(said.contains("first.dump/manifest.json cannot be believed"), "{said}");
}

#[tokio::test]
async fn what_is_in_the_bucket_otherwise_is_named_before_anything_is_made() {
    let Some(lab) = Lab::with_bucket().await else { return };
    let shop = lab.shop();
    for name in ["altered", "short", "gone"] {
        lab.dumped(name).await;
    }
    let altered = shop.largest("altered").await;
    let mut content = shop.get(&altered).await;
    let middle = content.len() / 2;
    content[middle] ^= 1;
    shop.put(&altered, &content).await;
    let short = shop.largest("short").await;
    let content = shop.get(&short).await;
    shop.put(&short, &content[..content.len() / 2]).await;
    let gone = shop.largest("gone").await;
    shop.delete(&gone).await;
    shop.put("bare.dump/toc.dat", b"x").await;
    for (name, key, said) in [
        ("altered", &altered, "has other content than was written"),
        ("short", &short, "bytes instead of"),
        ("gone", &gone, "is not there"),
    ] {
        let file = key.rsplit('/').next().expect("a name");
        let error = lab.restored(name, "copy").await.expect_err(said);
        assert!(error.message.contains(said), "{error}");
        assert!(error.message.contains(file), "{name}: {error}");
        assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None), "{error}");
        assert!(!lab.databases().await.contains(&"copy".to_owned()), "nothing was made");
    }
    let found = points(&lab).await;
    let why = |id: &str| point(&found, id).unusable.clone().unwrap_or_default();
    assert!(why("dump:short").contains("bytes instead of"), "{}", why("dump:short"));
    assert!(why("dump:gone").contains("is not there"), "{}", why("dump:gone"));
    assert_eq!(why("dump:altered"), "", "lengths alone are looked at");
    assert!(found.remarks.iter().any(|said| said.contains("bare has no manifest")), "{found:?}");
}

#[tokio::test]
async fn an_upload_that_broke_off_goes_on_with_what_is_not_there() {
    let Some(lab) = Lab::with_bucket().await else { return };
    let shop = lab.shop();
    let (clients, armed) = lab.clients();
    let (call, _news) = testing::call(ActionName::PostgresDump, dump_of("first"));
    let seen = observe(&clients, &call).await.expect("observed");
    // The toc and one file more arrive.
    let arrived = AtomicUsize::new(0);
    shop.way.meets(move |asked| {
        let file = asked.starts_with("PUT ") && !asked.contains("may-write");
        (file && arrived.fetch_add(1, Ordering::SeqCst) >= 2).then_some(Fault::Broken)
    });
    let error = perform(&clients, &armed, &call, &seen).await.expect_err("broken off");
    assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::None), "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("is not uploaded again")));
    let there: Vec<String> = shop.keys().await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(there.len(), 2, "{there:?}");
    assert!(there.contains(&"first.dump/toc.dat".to_owned()), "{there:?}");
    assert_eq!(points(&lab).await.points, [], "it is none yet");
    let now = observe(&clients, &call).await.expect("its own files are in nobody's way");
    assert_eq!(now.live, seen.live);
    shop.way.free();
    shop.way.asked();
    // There is nothing to take another one with.
    let empty = tempfile::tempdir().expect("a directory");
    let (clients, armed) = lab.clients_with(&json!({ "tools": empty.path() }));
    perform(&clients, &armed, &call, &seen).await.expect("resumed");
    let asked = shop.way.asked();
    let again = written(&asked);
    for key in &there {
        let name = key.rsplit('/').next().expect("a name");
        assert!(!again.contains(&name), "{name} was uploaded twice: {again:?}");
    }
    assert_eq!(again.last(), Some(&"manifest.json"), "the manifest goes last");
    assert_eq!(shop.left(), Vec::<String>::new());
    lab.restored("first", "copy").await.expect("whole");
    lab.proved("first", "copy").await.expect("whole");
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_seen_to_be_done() {
    let Some(lab) = Lab::with_bucket().await else { return };
    // Of each object the first: whoever asks again finds something there.
    let lost = Mutex::new(BTreeSet::new());
    lab.shop().way.meets(move |asked| {
        let of_dump = asked.starts_with("PUT ") && !asked.contains("may-write");
        let first = of_dump && lost.lock().expect("no panic").insert(asked.to_owned());
        first.then_some(Fault::Lost)
    });
    lab.shop().way.asked();
    lab.dumped("first").await;
    lab.shop().way.free();
    let asked = lab.shop().way.asked();
    let manifests = written(&asked).into_iter().filter(|name| *name == "manifest.json").count();
    assert_eq!(manifests, 2, "it was asked for again: {asked:?}");
    lab.restored("first", "copy").await.expect("whole");
    lab.proved("first", "copy").await.expect("whole");
}

#[tokio::test]
async fn what_a_dead_process_left_goes_once_it_is_whole_in_the_bucket() {
    let Some(lab) = Lab::with_bucket().await else { return };
    let shop = lab.shop();
    lab.dumped("first").await;
    let manifest = shop.get("first.dump/manifest.json").await;
    let left = |name: &str| shop.work.path().join(format!(".phoenix-dr-{name}-1"));
    for name in ["whole", "elsewhere", "begun"] {
        std::fs::create_dir(left(name)).expect("made");
        std::fs::write(left(name).join("toc.dat"), "x").expect("written");
    }
    std::fs::write(left("whole").join("manifest.json"), &manifest).expect("written");
    let text = String::from_utf8(manifest).expect("text");
    let mut kept: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let mut other: Manifest = serde_json::from_value(kept["manifest"].take()).expect("a manifest");
    other.token = "01OTHER/step/0".to_owned();
    let other = super::super::manifest::Kept::of(other).expect("kept").text().expect("text");
    std::fs::write(left("elsewhere").join("manifest.json"), other).expect("written");
    lab.dumped("second").await;
    assert!(!left("whole").exists(), "it is in the bucket");
    // Only their own steps know whether somebody still needs these.
    assert!(left("elsewhere").exists() && left("begun").exists());
}

#[tokio::test]
async fn the_name_of_a_dump_is_given_once_and_to_one_run() {
    let Some(lab) = Lab::with_bucket().await else { return };
    let shop = lab.shop();
    let (clients, armed) = lab.clients();
    let (call, _news) = testing::call(ActionName::PostgresDump, dump_of("nightly"));
    let seen = observe(&clients, &call).await.expect("observed");
    let mut other = call.clone();
    other.run = crate::ids::RunId("01OTHER".to_owned());
    perform(&clients, &armed, &other, &seen).await.expect("the other run was faster");
    let before = shop.keys().await;
    let manifest = shop.get("nightly.dump/manifest.json").await;
    let error = perform(&clients, &armed, &call, &seen).await.expect_err("its name is taken");
    assert!(error.message.contains("came up meanwhile, of another run"), "{error}");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None));
    let error = observe(&clients, &call).await.expect_err("as before");
    assert!(error.message.contains("is there already, of another run"), "{error}");
    // One that is still on its way is not written over either, nor mixed with.
    shop.delete("nightly.dump/manifest.json").await;
    let error = observe(&clients, &call).await.expect_err("somebody's files");
    assert!(error.message.contains("is of another upload"), "{error}");
    let error = perform(&clients, &armed, &call, &seen).await.expect_err("somebody's files");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None), "{error}");
    shop.put("nightly.dump/manifest.json", &manifest).await;
    assert_eq!(shop.keys().await, before);
    lab.restored("nightly", "copy").await.expect("the first one is whole");
}

#[tokio::test]
async fn what_stands_in_the_way_is_told_before_hours_are_spent() {
    let Some(lab) = Lab::with_bucket().await else { return };
    let mut nowhere = lab.shop().dumps();
    nowhere["bucket"] = json!("nowhere-at-all");
    let (clients, _armed) = lab.clients_with(&json!({ "dumps": nowhere }));
    let (call, _news) = testing::call(ActionName::PostgresDump, dump_of("first"));
    let error = observe(&clients, &call).await.expect_err("no such bucket");
    assert!(error.message.contains("`nowhere-at-all` does not exist"), "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("aws s3 mb s3://nowhere-at-all")));
    let mut elsewhere = lab.shop().dumps();
    elsewhere["work"] = json!("/nonexistent");
    let (clients, _armed) = lab.clients_with(&json!({ "dumps": elsewhere }));
    let error = observe(&clients, &call).await.expect_err("no such directory");
    assert!(error.hint.is_some_and(|hint| hint.contains("`database.dumps.work`")));
    // Who may not write, and a server that keeps no conditions, are known before `pg_dump` is started.
    let tools = tempfile::tempdir().expect("a directory");
    let ran = tools.path().join("ran");
    let script = format!(
        "case $1 in --version) echo 'pg_dump (PostgreSQL) 15.8'; exit;; esac; touch {}; exit 1",
        ran.display()
    );
    program(tools.path(), "pg_dump", &script);
    let (clients, armed) = lab.clients_with(&json!({ "tools": tools.path() }));
    let seen = observe(&clients, &call).await.expect("observed");
    for (fault, class, said) in [
        (refusal(403, "AccessDenied"), FailureClass::Denied, "s3:PutObject"),
        (Fault::Answer(200, String::new()), FailureClass::Invalid, "the condition does not hold"),
    ] {
        lab.shop().way.meets(move |asked| asked.starts_with("PUT ").then(|| fault.clone()));
        let error = perform(&clients, &armed, &call, &seen).await.expect_err(said);
        assert!(error.message.contains(said), "{error}");
        assert_eq!((error.class, error.effect), (class, Effect::None), "{error}");
        assert!(!ran.exists(), "nothing was dumped");
    }
    lab.shop().way.free();
    assert!(lab.shop().keys().await.is_empty(), "the probe leaves nothing");
}

#[tokio::test]
async fn a_closed_guard_lets_looks_through_and_sends_no_change() {
    let Some(lab) = Lab::with_bucket().await else { return };
    lab.dumped("first").await;
    lab.restored("first", "copy").await.expect("restored");
    let (clients, armed) = lab.clients();
    clients.guard.close();
    lab.shop().way.asked();
    for (action, with) in [
        (ActionName::PostgresDump, dump_of("second")),
        (ActionName::PostgresRestore, restore_of("first", "other")),
        (
            ActionName::PostgresProve,
            json!({ "instance": "phoenix-prod", "region": "us-east-1", "database": "copy", "dump": "first" }),
        ),
    ] {
        let (call, _news) = testing::call(action, with);
        observe(&clients, &call).await.expect("it may be looked at");
    }
    points(&lab).await;
    let (call, _news) = testing::call(ActionName::PostgresDump, dump_of("second"));
    let seen = observe(&clients, &call).await.expect("observed");
    let error = perform(&clients, &armed, &call, &seen).await.expect_err("nothing may change");
    assert_eq!((error.class, error.effect), (FailureClass::Refused, Effect::None), "{error}");
    let asked = lab.shop().way.asked();
    assert!(!asked.is_empty(), "it looked");
    let reads = |asked: &&String| asked.starts_with("GET ") || asked.starts_with("HEAD ");
    let others: Vec<&String> = asked.iter().filter(|asked| !reads(asked)).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[tokio::test]
async fn a_copy_that_was_fetched_in_part_is_fetched_no_further_than_needed() {
    let Some(lab) = Lab::with_bucket().await else { return };
    let shop = lab.shop();
    lab.dumped("first").await;
    let largest = shop.largest("first").await;
    let name = largest.rsplit('/').next().expect("a name").to_owned();
    let broken = name.clone();
    shop.way.meets(move |asked| {
        (asked.starts_with("GET ") && asked.contains(&broken)).then_some(Fault::Broken)
    });
    let error = lab.restored("first", "copy").await.expect_err("it does not come");
    assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::None), "{error}");
    assert!(error.message.contains(&name), "{error}");
    assert!(!lab.databases().await.contains(&"copy".to_owned()), "nothing was made");
    shop.way.free();
    // What was altered on this host since is fetched again.
    let left = shop.left();
    let [copy] = left.as_slice() else { panic!("{left:?}") };
    let toc = shop.work.path().join(copy).join("toc.dat");
    let mut content = std::fs::read(&toc).expect("it came");
    content[0] ^= 1;
    std::fs::write(&toc, content).expect("written");
    shop.way.asked();
    lab.restored("first", "copy").await.expect("restored");
    let asked = shop.way.asked();
    let got = |file: &str| asked.iter().filter(|asked| asked.contains(file)).count();
    assert_eq!((got(&name), got("toc.dat")), (1, 1), "{asked:?}");
    let files: usize =
        asked.iter().filter(|asked| asked.contains(".dat.gz?x-id=GetObject")).count();
    assert_eq!(files, 1, "what was whole is not fetched again: {asked:?}");
    assert_eq!(shop.left(), Vec::<String>::new());
    // What another process uses is not taken from it.
    let (clients, _armed) = lab.clients();
    let (call, _news) = testing::call(ActionName::PostgresRestore, restore_of("first", "other"));
    let dumps = Dumps::of(&clients).expect("a bucket");
    let dump = dumps.find(&clients, "first").await.expect("looked").expect("there");
    let ours = dumps.stage(&clients, &call, &dump).await.expect("fetched");
    let theirs = dumps.stage(&clients, &call, &dump).await.expect("found");
    let folder = theirs.folder().to_owned();
    ours.done().await;
    assert!(folder.join("toc.dat").exists(), "it is in use");
    theirs.done().await;
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_listing_is_read_to_its_last_page_and_a_strange_manifest_is_not_believed() {
    let Some(lab) = Lab::with_bucket().await else { return };
    let shop = lab.shop();
    lab.dumped("first").await;
    let before = points(&lab).await;
    // They sort before every file of the dump, which then is on the second page.
    let s3 = shop.s3().await;
    for number in 0..1005 {
        let put = s3.put_object().bucket(BUCKET).key(format!("{PREFIX}/first.dump/!{number}"));
        put.send().await.expect("written");
    }
    assert_eq!(point(&points(&lab).await, "dump:first").unusable, None);
    assert_eq!(point(&before, "dump:first").unusable, None);
    // Whoever writes a manifest must not have files written beside it.
    let (clients, _armed) = lab.clients();
    let dumps = Dumps::of(&clients).expect("a bucket");
    let mut manifest =
        dumps.find(&clients, "first").await.expect("looked").expect("there").manifest;
    manifest.name = "evil".to_owned();
    for name in ["../../evil", "/etc/evil", ".lock", "", "manifest.json"] {
        manifest.files[0].name = name.to_owned();
        let kept = super::super::manifest::Kept::of(manifest.clone()).expect("kept");
        shop.put("evil.dump/manifest.json", &kept.text().expect("text")).await;
        let error = dumps.find(&clients, "evil").await.expect_err(name);
        assert!(error.message.contains("is no name of a file"), "{error}");
    }
    // Nothing is fetched to where it has no room.
    let mut dump = dumps.find(&clients, "first").await.expect("looked").expect("there");
    let said = dumps.stageable(&dump).expect("room").expect("it is said");
    assert!(said.contains("to be fetched into"), "{said}");
    dump.manifest.files[0].bytes = 1 << 60;
    let error = dumps.stageable(&dump).expect_err("as much as nobody has");
    assert_eq!((error.class, error.effect), (FailureClass::Capacity, Effect::None), "{error}");
    assert!(error.message.contains("and fetching first takes"), "{error}");
    // What could not be looked at may be the newest.
    shop.way.meets(|asked| asked.contains("evil").then(|| refusal(503, "SlowDown")));
    let error = dumps.list(&clients, "phoenix").await.expect_err("not looked at");
    assert_eq!(error.class, FailureClass::Throttled, "{error}");
}

#[tokio::test]
async fn a_large_file_goes_up_in_parts_and_goes_on_with_those_that_are_there() {
    let Some(shop) = Shop::open().await else { return };
    let (clients, _armed) = shop.armed(json!({}));
    let content: Vec<u8> = (0..2 * PART + 5).map(|at| (at % 251) as u8).collect();
    let path = shop.work.path().join("large");
    std::fs::write(&path, &content).expect("written");
    let sha256 = super::super::manifest::sha256(&path).expect("read");
    let at: DumpBucket = serde_json::from_value(shop.dumps()).expect("a bucket");
    let objects = Objects { at: at.at(), of: Backups::Dumps };
    let below = "first.dump/large";
    let marks = Marks { sha256: &sha256, writer: "step" };
    let bytes = 2 * PART + 5;
    let large = Large { objects: &objects, clients: &clients, below, path: &path, bytes, marks };
    shop.way.meets(|asked| {
        (asked.contains("partNumber=2&") || asked.contains("partNumber=2?"))
            .then(|| refusal(403, "AccessDenied"))
    });
    let error = large.send(&Condition::Absent).await.expect_err("one part does not arrive");
    assert_eq!(error.class, FailureClass::Denied, "{error}");
    shop.way.free();
    // Those under way beside it may or may not have arrived: this one has.
    let s3 = &clients.aws.region(REGION).await.expect("clients").s3;
    let key = format!("{PREFIX}/{below}");
    let uploads = s3.list_multipart_uploads().bucket(BUCKET).send().await.expect("listed");
    let [upload] = uploads.uploads() else { panic!("{uploads:?}") };
    let upload = upload.upload_id().expect("its name").to_owned();
    let listed = s3.list_parts().bucket(BUCKET).key(&key).upload_id(&upload);
    let there = listed.send().await.expect("listed").parts().len();
    shop.way.asked();
    assert_eq!(large.send(&Condition::Absent).await, Ok(Written::Done));
    let asked = shop.way.asked();
    let parts = asked.iter().filter(|asked| asked.starts_with("PUT ")).count();
    assert_eq!(parts, 3 - there, "only what is not there: {asked:?}");
    assert!(
        !asked.iter().any(|asked| asked.contains("uploads") && asked.starts_with("POST ")),
        "{asked:?}"
    );
    assert_eq!(shop.get(below).await, content);
    let head = objects.head(&clients, below).await.expect("looked").expect("there");
    assert_eq!(
        (head.bytes, head.sha256, head.writer.as_deref()),
        (bytes, Some(sha256.clone()), Some("step"))
    );
    // It is not written over.
    assert_eq!(large.send(&Condition::Absent).await, Ok(Written::NotMet));
}

/// Two runs that began under one name at the same moment: one of them ends whole, the other says so.
#[tokio::test]
async fn of_two_uploads_at_once_one_is_whole_and_the_other_is_refused() {
    let Some(lab) = Lab::with_bucket().await else { return };
    let (clients, armed) = lab.clients();
    let (call, _news) = testing::call(ActionName::PostgresDump, dump_of("nightly"));
    let seen = observe(&clients, &call).await.expect("observed");
    let mut other = call.clone();
    other.run = crate::ids::RunId("01OTHER".to_owned());
    let (ours, theirs) = futures::join!(
        perform(&clients, &armed, &call, &seen),
        perform(&clients, &armed, &other, &seen)
    );
    let refused = [&ours, &theirs].into_iter().filter_map(|done| done.as_ref().err());
    let refused: Vec<&ActionError> = refused.collect();
    assert_eq!(refused.len(), 1, "{ours:?} {theirs:?}");
    assert_eq!(refused[0].class, FailureClass::Conflict, "{refused:?}");
    lab.restored("nightly", "copy").await.expect("whole");
    lab.proved("nightly", "copy").await.expect("whole");
}
