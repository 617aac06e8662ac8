//! What a restore to a point in time proves of its backup, and what it needs of the programs.

use std::sync::atomic::Ordering;

use super::*;
use crate::actions::postgres::base::BaseBackups;
use crate::actions::postgres::points::{Asked, Damage, list};
use crate::clients::postgres::testing::way;
use crate::clients::postgres::tools::{Tool, find_exact};

#[tokio::test]
async fn damage_in_the_restored_server_voids_the_proof_of_its_backup() {
    let Some(lab) = Lab::open(&[]).await else { return };
    lab.row(1).await;
    lab.restored("latest").await.expect("restored");
    let (clients, _armed) = lab.clients();
    let backups = BaseBackups::of(&clients).expect("places");
    let proofs = backups.proofs();
    let digest = backups.find(&clients, "sunday").await.expect("the backup").checksum;
    let failed = async || {
        let record = proofs.find(&clients, "sunday", &digest).await.expect("asked");
        record.expect("a record").failed
    };
    assert_eq!(failed().await, None);
    let file = lab.client().await.query_one("select pg_relation_filepath('orders')", &[]).await;
    let file = lab.data.join(file.expect("asked").get::<_, &str>(0));
    // Nothing but the first page is there, and it is overwritten while no server has it in memory.
    let call = Lab::call("latest");
    let place = Place::of(own(&clients).expect("a place"), &call);
    let major = lab.major().await;
    let process = Process::of(&clients, place.server(), major).await.expect("programs");
    process.stop(&clients).await.expect("stopped");
    let mut bytes = std::fs::read(&file).expect("read");
    bytes[4000..8192].fill(0x5A);
    std::fs::write(&file, bytes).expect("harmed");
    process.start(&clients).await.expect("started");
    let with = json!({ "instance": "phoenix-recovered", "region": "us-east-1", "tier": "deep" });
    let (assess, _news) = testing::call(ActionName::PostgresAssess, with);
    let (clients, armed) = lab.clients();
    let seen = observe(&clients, &assess).await.expect("observed");
    // Another run's assessment tells nothing of the backup: it may have been damaged here.
    let mut other = assess.clone();
    other.run = crate::ids::RunId("01OTHER".to_owned());
    let done = perform(&clients, &armed, &other, &seen).await.expect("assessed");
    assert_eq!((&done.outputs["damaged"], failed().await), (&json!(true), None));
    let done = perform(&clients, &armed, &assess, &seen).await.expect("assessed");
    assert!(
        failed().await.is_some_and(|why| why.contains("was found damaged")),
        "{:?}",
        done.notes
    );
    let told = "the base backup sunday, which it was restored from, does not count as proved";
    assert!(done.notes.iter().any(|note| note.contains(told)), "{:?}", done.notes);
    // Nobody takes it unasked. By its name it is restored, takes writes as well, and is not proved again by that.
    lab.taken_back("latest").await.expect("taken back");
    let error = lab.restored("latest").await.expect_err("it is the only one");
    assert!(error.hint.is_some_and(|hint| hint.contains("sunday: its last proof failed: ")));
    let with = json!({ "backup": "sunday", "target": "latest" });
    let (named, _news) = testing::call(ActionName::PostgresRestorePointInTime, with);
    let seen = observe(&clients, &named).await.expect("observed");
    let again = perform(&clients, &armed, &named, &seen).await.expect("restored");
    assert!(again.notes.iter().any(|note| note.contains("does not count as proved")), "{again:?}");
    assert!(failed().await.is_some());
}

#[tokio::test]
async fn programs_the_servers_user_cannot_run_are_told_before() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let Some(lab) = Lab::open(&[]).await else { return };
    lab.row(1).await;
    let (clients, _armed) = lab.clients();
    let major = lab.major().await;
    let ctl = find_exact(&clients, Tool::Ctl, major).await.expect("there");
    let ctl = PathBuf::from(ctl.program);
    let closed = tempfile::tempdir().expect("directory");
    for entry in std::fs::read_dir(ctl.parent().expect("a directory")).expect("listed") {
        let path = entry.expect("entry").path();
        let link = closed.path().join(path.file_name().expect("a name"));
        std::os::unix::fs::symlink(path, link).expect("linked");
    }
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(closed.path(), mode).expect("mode");
    };
    let (mut estate, more) =
        (lab.server.estate(&json!({})), lab.estate_with(lab.data.to_str().expect("a path")));
    for (name, value) in more.as_object().expect("a section") {
        estate["database"][name.as_str()] = value.clone();
    }
    estate["database"]["tools"] = json!(closed.path());
    let (clients, _armed) = testing::armed(estate);
    mode(0o700);
    let error = observe(&clients, &Lab::call("latest")).await.expect_err("not to be run");
    assert_eq!((error.class, error.effect), (FailureClass::Denied, Effect::None), "{error}");
    assert!(error.message.contains("cannot run") && error.message.contains("pg_ctl"), "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("namei -l")));
    lab.nothing_made();
    mode(0o755);
    observe(&clients, &Lab::call("latest")).await.expect("nothing is in the way any more");
}

#[tokio::test]
async fn a_restored_server_that_is_not_reached_any_more_is_taken_up_again() {
    let Some(lab) = Lab::open(&[]).await else { return };
    lab.row(1).await;
    let (address, left) = way(lab.listen, 0).await;
    let mut more = lab.estate_with(lab.data.to_str().expect("a path"));
    more["addresses"] = json!({ "phoenix-recovered": address.to_string() });
    let (clients, armed) = testing::armed(lab.server.estate(&more));
    let clients = clients.with_artifacts(lab.artifacts.path().to_owned());
    let call = Lab::call("latest");
    let mut seen = observe(&clients, &call).await.expect("observed");
    for words in (0..).step_by(4) {
        left.store(words, Ordering::SeqCst);
        let restored = perform(&clients, &armed, &call, &seen).await;
        if left.load(Ordering::SeqCst) >= 0 {
            restored.expect("nothing was cut");
            assert!(words > 20, "only {words} words");
            break;
        }
        if let Err(error) = restored {
            let known = (error.class, error.effect);
            assert_eq!(known, (FailureClass::Transient, Effect::Applied), "{words}: {error}");
        }
        // The data directory is there, and is this step's.
        left.store(i64::MAX, Ordering::SeqCst);
        seen = observe(&clients, &call).await.expect("observed");
        assert_eq!(seen.live["begun"], true, "{words}: {seen:?}");
    }
    assert_eq!(lab.rows().await, [1]);
}

#[tokio::test]
async fn a_backup_all_of_which_was_read_and_sound_carries_no_damage_of_pages() {
    let Some(lab) = Lab::open(&[]).await else { return };
    let amcheck = "create extension amcheck; grant pg_read_all_data to dr; \
         grant execute on function bt_index_check(regclass, boolean) to dr; \
         grant execute on function verify_heapam(regclass, boolean, boolean, text, bigint, bigint) to dr";
    lab.server.sql("phoenix", amcheck).await;
    lab.row(1).await;
    lab.restored("latest").await.expect("restored");
    let (clients, armed) = lab.clients();
    let damage = async || {
        let incident = "2026-01-01T00:00:00Z".parse().expect("an instant");
        let asked = Asked { incident: Some(incident), now: lab.now().await, regions: Vec::new() };
        let points = list(&clients, &asked).await.expect("listed").points;
        let sunday = points.into_iter().find(|point| point.id == "base:sunday");
        sunday.expect("it is there").damage
    };
    assert_eq!(
        damage().await,
        Damage::Same,
        "a row that could be written says nothing of the pages"
    );
    let with = json!({
        "instance": "phoenix-recovered", "region": "us-east-1", "tier": "deep", "proves": true,
    });
    let (assess, _news) = testing::call(ActionName::PostgresAssess, with);
    let seen = observe(&clients, &assess).await.expect("observed");
    let done = perform(&clients, &armed, &assess, &seen).await.expect("assessed");
    assert_eq!(done.outputs["sound"], true, "{:?}", done.notes);
    assert_eq!(damage().await, Damage::Rows);
    let doubts = Damage::Rows.said().expect("rows that were wrong may be in it");
    assert!(doubts.contains("rows that were wrong"), "{doubts}");
    // A later restore that takes writes takes nothing of that.
    lab.taken_back("latest").await.expect("taken back");
    lab.restored("latest").await.expect("restored");
    assert_eq!(damage().await, Damage::Rows);
}
