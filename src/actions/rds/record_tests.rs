//! Proofs on record over real SDK clients and a scripted region: what a restore leaves, and what that is to the next choice.

use serde_json::json;

use super::record;
use super::restore::{Restore, Source};
use super::testing::{OTHER_RUN, Region, Shared, TARGET, WEST, backup, made, region};
use crate::actions::postgres::points::{Asked, Point, Points, list};
use crate::clients::Clients;
use crate::clients::aws::testing::{RUN, armed, call, estate};
use crate::ids::RunId;
use crate::outcome::WARNS;
use crate::span::Span;

const BACKUP: &str = "arn:aws:rds:us-west-2:123456789012:auto-backup:ab-1";

/// An estate of RDS whose region has a backup and two snapshots, and nothing restored.
fn over(known: Region) -> (Clients, Shared) {
    let (script, shared) = region(known);
    let estate = estate(|estate| {
        estate["database"].as_object_mut().expect("a section").remove("replica");
    });
    (armed(estate, &script).0, shared)
}

fn known() -> Region {
    let snapshot = |id: &str, created: &str| {
        let mut snapshot = made(id, &["available"]);
        snapshot.created = created.to_owned();
        snapshot
    };
    Region {
        backups: backup("2026-11-22T02:12:00Z"),
        taken: vec![
            snapshot("nightly", "2026-11-22T00:08:00Z"),
            snapshot("weekly", "2026-11-16T00:08:00Z"),
        ],
        ..Region::default()
    }
}

async fn points(clients: &Clients) -> Points {
    let asked = Asked { incident: None, now: clients.clock.now(), regions: vec![WEST] };
    list(clients, &asked).await.expect("listed")
}

fn find<'a>(points: &'a Points, id: &str) -> &'a Point {
    let found = points.points.iter().find(|point| point.id == id);
    found.unwrap_or_else(|| panic!("{id}: {points:?}"))
}

fn from(source: Source) -> Restore {
    Restore { region: WEST.to_owned(), target: TARGET.to_owned(), source }
}

fn snapshot(id: &str) -> Restore {
    from(Source::Snapshot { id: id.to_owned() })
}

#[tokio::test]
async fn what_a_restore_proved_is_offered_the_next_time_with_how_long_it_took() {
    let (clients, _shared) = over(known());
    let (call, _news) = call("rds.restore_snapshot");
    let took = Some(Span::seconds(1_234));
    let ids = ["backup:us-west-2", "snapshot:us-west-2", "snapshot:us-west-2:weekly"];
    let before = points(&clients).await;
    for id in ids {
        let point = find(&before, id);
        assert_eq!(point.doubts(), ["no restore ever proved it"], "{id}");
        assert_eq!(point.bytes, Some(100 << 30), "{id}");
    }
    let backup = from(Source::Backup { arn: BACKUP.to_owned(), time: None });
    for restore in [backup, snapshot("nightly"), snapshot("weekly")] {
        assert_eq!(record::keep(&clients, &call, &restore, took).await, None);
    }
    let after = points(&clients).await;
    for id in ids {
        let point = find(&after, id);
        assert_eq!((point.doubts(), point.forecast), (Vec::new(), took), "{id}");
        let proof = point.proved.as_ref().expect("on record");
        assert_eq!((proof.token.as_str(), proof.took), (format!("{RUN}/step/0").as_str(), took));
    }
    // Of what is written all the time it is not said that it was proved.
    let facts = find(&after, ids[0]).facts().join("; ");
    assert!(facts.contains("100 GiB") && facts.contains("last restored at 2026-11-22"), "{facts}");
    let facts = find(&after, ids[1]).facts().join("; ");
    assert!(facts.contains("last proved at 2026-11-22 02:18 UTC, which took 20m"), "{facts}");
}

#[tokio::test]
async fn what_was_found_damaged_is_proved_no_more_and_by_no_later_restore() {
    let (clients, shared) = over(known());
    let (call, _news) = call("rds.restore_snapshot");
    assert_eq!(record::keep(&clients, &call, &snapshot("nightly"), None).await, None);
    let restored = made(TARGET, &["available"]).tagged("phoenix-dr:source", "nightly");
    for (restored, said) in [
        // What another run restored, or nobody, may have been damaged since.
        (restored.clone(), None),
        (restored.clone().tagged("phoenix-dr:run", OTHER_RUN), None),
        (restored.ours(), Some("nightly, which it was restored from, does not count as proved")),
    ] {
        shared.lock().expect("not poisoned").instances = vec![restored];
        let told = record::found_damaged(&clients, &call, WEST, TARGET).await;
        assert_eq!(told.is_some(), said.is_some(), "{told:?}");
        assert!(said.is_none_or(|said| told.is_some_and(|told| told.starts_with(said))));
    }
    shared.lock().expect("not poisoned").instances.clear();
    let told = record::keep(&clients, &call, &snapshot("nightly"), None).await;
    assert!(told.is_some_and(|told| told.contains("remove its tag phoenix-dr:found-damaged")));
    let point = find(&points(&clients).await, "snapshot:us-west-2").clone();
    assert_eq!(point.proved, None);
    let doubts = point.doubts().join("; ");
    assert!(doubts.contains("what was restored from it was found damaged at 2026"), "{doubts}");
}

#[tokio::test]
async fn whoever_may_not_tag_is_told_the_command() {
    let (clients, shared) = over(Region { denies_tags: true, ..known() });
    let (call, _news) = call("rds.restore_snapshot");
    let took = Some(Span::seconds(90));
    let told = record::keep(&clients, &call, &snapshot("nightly"), took).await.expect("told");
    for said in [
        "could not be kept",
        "aws rds add-tags-to-resource --region us-west-2 --resource-name \
         arn:aws:rds:us-west-2:123456789012:snapshot:nightly --tags",
        "Key=phoenix-dr:restore-took,Value=90",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    let restored = made(TARGET, &["available"]).ours().tagged("phoenix-dr:source", "nightly");
    shared.lock().expect("not poisoned").instances = vec![restored];
    let told = record::found_damaged(&clients, &call, WEST, TARGET).await.expect("told");
    assert!(told.starts_with(WARNS) && told.contains("Key=phoenix-dr:found-damaged"), "{told}");
    // An instance that another run of this name restored says nothing.
    let mut other = call;
    other.run = RunId(OTHER_RUN.to_owned());
    assert_eq!(record::found_damaged(&clients, &other, WEST, TARGET).await, None);
    let tags = shared.lock().expect("not poisoned").taken[0].tags.clone();
    assert_eq!(json!(tags), json!([]), "nothing was put there");
}
