//! RDS: instances, snapshots, backups, restores and the promotion of a replica.

use aws_sdk_rds::primitives::DateTime;
use aws_sdk_rds::types::{DbInstance, DbSnapshot, Filter, Tag};
use serde_json::{Value, json};

use super::side::Side;
use super::told::{Notes, done, told};
use crate::clients::aws::Regional;

pub(super) const PRIMARY: &str = "phoenix-prod";
const REPLICA: &str = "phoenix-dr-replica";
const RECOVERED: &str = "phoenix-recovered";
const SNAPSHOT: &str = "fidelity-snapshot";

/// Returns the name at the end of an ARN.
fn short(named: &str) -> &str {
    named.rsplit(':').next().unwrap_or(named)
}

pub(super) fn shown(instance: &DbInstance) -> Value {
    let pending = instance.pending_modified_values();
    json!({
        "id": instance.db_instance_identifier(),
        "class": instance.db_instance_class(),
        "engine": [instance.engine(), instance.engine_version()],
        "protected": instance.deletion_protection(),
        "standby": instance.multi_az(),
        "kept": instance.backup_retention_period(),
        "encrypted": instance.storage_encrypted(),
        "source": instance.read_replica_source_db_instance_identifier().map(short),
        "replicas": instance.read_replica_db_instance_identifiers().iter().map(|id| short(id)).collect::<Vec<_>>(),
        "pending": pending.map(|pending| (pending.db_instance_class(), pending.multi_az())),
        "port": instance.endpoint().and_then(|endpoint| endpoint.port()).is_some(),
        "restorable": instance.latest_restorable_time().is_some(),
    })
}

pub(super) fn status(instance: Option<&DbInstance>) -> Value {
    json!(
        instance.map(|instance| (instance.db_instance_identifier(), instance.db_instance_status()))
    )
}

fn snapshot(snapshot: &DbSnapshot) -> Value {
    json!({
        "id": snapshot.db_snapshot_identifier(),
        "of": snapshot.db_instance_identifier(),
        "type": snapshot.snapshot_type(),
        "engine": snapshot.engine(),
        "encrypted": snapshot.encrypted(),
        "from": snapshot.source_db_snapshot_identifier().map(short),
        "source region": snapshot.source_region(),
        "progress": snapshot.percent_progress(),
    })
}

pub(super) async fn find(aws: &Regional, id: &str) -> Option<DbInstance> {
    let found = aws.rds.describe_db_instances().db_instance_identifier(id).send().await.ok()?;
    found.db_instances().first().cloned()
}

/// Waits until an instance is in a state.
pub(super) async fn settled(side: &Side, aws: &Regional, id: &str, status: &str) -> DbInstance {
    let ask = || async {
        let found = find(aws, id).await;
        found.filter(|found| found.db_instance_status() == Some(status))
    };
    side.until(&format!("{id} is {status}"), ask).await
}

pub(super) async fn ask(side: &Side, notes: &mut Notes) {
    looks(side, notes).await;
    groups_and_tags(side, notes).await;
    backups(side, notes).await;
    snapshots(side, notes).await;
    changes(side, notes).await;
    restores(side, notes).await;
    promotion(side, notes).await;
    ends(side, notes).await;
}

async fn looks(side: &Side, notes: &mut Notes) {
    for (region, aws, id) in [("east", &side.east, PRIMARY), ("west", &side.west, REPLICA)] {
        let found = find(aws, id).await;
        notes.note(&format!("rds: the instance in the {region}"), json!(found.as_ref().map(shown)));
        notes.note(&format!("rds: the status in the {region}"), status(found.as_ref()));
    }
    let rds = &side.west.rds;
    let missing = rds.describe_db_instances().db_instance_identifier("nothing").send().await;
    notes.note("rds: an instance that is not there", done(&missing));
    let ids = |found: &aws_sdk_rds::operation::describe_db_instances::DescribeDbInstancesOutput| {
        json!(
            found
                .db_instances()
                .iter()
                .map(|found| found.db_instance_identifier())
                .collect::<Vec<_>>()
        )
    };
    notes.note("rds: every instance", told(&rds.describe_db_instances().send().await, ids));
    for (name, value) in
        [("db-instance-id", REPLICA), ("db-instance-id", "nothing"), ("no-such-filter", "x")]
    {
        let filter = Filter::builder().name(name).values(value).build();
        let found = rds.describe_db_instances().filters(filter).send().await;
        notes.note(&format!("rds: instances by {name} {value}"), told(&found, ids));
    }
    let short = rds.describe_db_instances().max_records(5).send().await;
    notes.note("rds: a page that is too short", done(&short));
}

async fn groups_and_tags(side: &Side, notes: &mut Notes) {
    let rds = &side.west.rds;
    let group = side.estate.regions["us-west-2"].subnet_group.clone().unwrap_or_default();
    let found = rds.describe_db_subnet_groups().db_subnet_group_name(&group).send().await;
    notes.note("rds: a subnet group", told(&found, |found| json!(found.db_subnet_groups().len())));
    let missing = rds.describe_db_subnet_groups().db_subnet_group_name("nothing").send().await;
    notes.note("rds: a subnet group that is not there", done(&missing));
    let group = "phoenix-postgres15";
    let found = rds.describe_db_parameter_groups().db_parameter_group_name(group).send().await;
    notes.note(
        "rds: a parameter group",
        told(&found, |found| json!(found.db_parameter_groups().len())),
    );
    let missing =
        rds.describe_db_parameter_groups().db_parameter_group_name("nothing").send().await;
    notes.note("rds: a parameter group that is not there", done(&missing));
    let arn = format!("arn:aws:rds:us-west-2:123456789012:db:{REPLICA}");
    let list = || async {
        let found = rds.list_tags_for_resource().resource_name(&arn).send().await;
        told(&found, |found| {
            let mut tags: Vec<_> =
                found.tag_list().iter().map(|tag| (tag.key(), tag.value())).collect();
            tags.sort_unstable();
            json!(tags)
        })
    };
    notes.note("rds: tags", list().await);
    let tag = Tag::builder().key("phoenix-dr:run").value("1").build();
    let added = rds.add_tags_to_resource().resource_name(&arn).tags(tag).send().await;
    notes.note("rds: a tag is added", done(&added));
    notes.note("rds: tags with the new one", list().await);
    let removed = rds.remove_tags_from_resource().resource_name(&arn).tag_keys("phoenix-dr:run");
    notes.note("rds: a tag is removed", done(&removed.send().await));
    notes.note("rds: tags without it", list().await);
    let missing =
        rds.list_tags_for_resource().resource_name(arn.replace(REPLICA, "nothing")).send().await;
    notes.note("rds: tags of an instance that is not there", done(&missing));
}

async fn backups(side: &Side, notes: &mut Notes) {
    let rds = &side.west.rds;
    let list = || rds.describe_db_instance_automated_backups();
    let found = list().db_instance_identifier(PRIMARY).send().await;
    notes.note(
        "rds: a backup that is replicated",
        told(&found, |found| {
            let one = |backup: &aws_sdk_rds::types::DbInstanceAutomatedBackup| {
                let window = backup.restore_window();
                let window =
                    window.and_then(|window| window.earliest_time().zip(window.latest_time()));
                json!({
                    "of": backup.db_instance_identifier(),
                    "region": backup.region(),
                    "status": backup.status(),
                    "window": window.is_some_and(|(first, last)| first < last),
                })
            };
            json!(found.db_instance_automated_backups().iter().map(one).collect::<Vec<_>>())
        }),
    );
    let own = side.east.rds.describe_db_instance_automated_backups();
    let own = own.db_instance_identifier(PRIMARY).send().await;
    notes.note(
        "rds: an instance's own backup",
        told(&own, |found| {
            let all = found.db_instance_automated_backups().iter();
            let all = all.map(|backup| {
                (backup.status(), backup.db_instance_automated_backups_replications().len())
            });
            json!(all.collect::<Vec<_>>())
        }),
    );
    let missing = "arn:aws:rds:us-west-2:123456789012:auto-backup:ab-nothing";
    let missing = list().db_instance_automated_backups_arn(missing).send().await;
    notes.note("rds: a backup that is not there", done(&missing));
    let start = |arn: String| {
        let request = rds.start_db_instance_automated_backups_replication();
        request.source_db_instance_arn(arn).send()
    };
    let here = format!("arn:aws:rds:us-west-2:123456789012:db:{REPLICA}");
    notes.note("rds: replication within a region", done(&start(here).await));
    let nothing = "arn:aws:rds:us-east-1:123456789012:db:nothing".to_owned();
    notes.note("rds: replication of an instance that is not there", done(&start(nothing).await));
}

async fn snapshots(side: &Side, notes: &mut Notes) {
    let (east, west) = (&side.east.rds, &side.west.rds);
    let create = |of: &'static str| {
        east.create_db_snapshot().db_instance_identifier(of).db_snapshot_identifier(SNAPSHOT).send()
    };
    notes.note("rds: a snapshot of an instance that is not there", done(&create("nothing").await));
    let made = create(PRIMARY).await;
    notes.note(
        "rds: a snapshot is made",
        told(&made, |made| {
            json!(made.db_snapshot().map(|found| (found.status(), found.snapshot_type())))
        }),
    );
    let copy = |source: String, target: &'static str| {
        let request = west.copy_db_snapshot().source_db_snapshot_identifier(source);
        request.target_db_snapshot_identifier(target).send()
    };
    let arn = format!("arn:aws:rds:us-east-1:123456789012:snapshot:{SNAPSHOT}");
    notes.note("rds: a snapshot is made again", done(&create(PRIMARY).await));
    let ready = |rds: aws_sdk_rds::Client, id: &'static str| async move {
        let found = rds.describe_db_snapshots().db_snapshot_identifier(id).send().await.ok()?;
        let found = found.db_snapshots().first()?.clone();
        (found.status() == Some("available")).then_some(found)
    };
    let found = side.until("the snapshot", || ready(east.clone(), SNAPSHOT)).await;
    notes.note("rds: a snapshot", snapshot(&found));
    let missing = east.describe_db_snapshots().db_snapshot_identifier("nothing").send().await;
    notes.note("rds: a snapshot that is not there", done(&missing));
    let none = arn.replace(SNAPSHOT, "nothing");
    notes.note(
        "rds: a snapshot that is not there is copied",
        done(&copy(none, "fidelity-copy").await),
    );
    let copied = copy(arn.clone(), "fidelity-copy").await;
    notes.note(
        "rds: a snapshot is copied from another region",
        told(&copied, |made| json!(made.db_snapshot().map(|found| found.status()))),
    );
    let found = side.until("the copy", || ready(west.clone(), "fidelity-copy")).await;
    notes.note("rds: a copy", snapshot(&found));
    notes.note("rds: a snapshot is copied again", done(&copy(arn, "fidelity-copy").await));
    let named =
        west.describe_db_snapshots().db_instance_identifier(PRIMARY).snapshot_type("manual");
    notes.note(
        "rds: snapshots of an instance",
        told(&named.send().await, |found| {
            let ids = found.db_snapshots().iter().map(|found| found.db_snapshot_identifier());
            json!(ids.filter(|id| *id == Some("fidelity-copy")).collect::<Vec<_>>())
        }),
    );
    from_snapshot(side, notes).await;
    let gone = west.delete_db_snapshot().db_snapshot_identifier("fidelity-copy");
    notes.note("rds: a snapshot is deleted", done(&gone.clone().send().await));
    notes.note("rds: a snapshot is deleted again", done(&gone.send().await));
}

/// A restore of the copy.
async fn from_snapshot(side: &Side, notes: &mut Notes) {
    let id = "fidelity-restored";
    let restore = || {
        let request = side.west.rds.restore_db_instance_from_db_snapshot();
        let request = request.db_snapshot_identifier("fidelity-copy").db_instance_identifier(id);
        request.db_instance_class("db.r6g.large")
    };
    let nowhere = restore().db_subnet_group_name("nothing").send().await;
    notes.note("rds: a snapshot is restored into a group that is not there", done(&nowhere));
    let made = restore().send().await;
    notes.note("rds: a snapshot is restored", told(&made, |made| status(made.db_instance())));
    notes.note("rds: a snapshot is restored again", done(&restore().send().await));
    let found = settled(side, &side.west, id, "available").await;
    notes.note("rds: what was restored of a snapshot", shown(&found));
    delete(side, id).await;
}

/// Deletes an instance, and waits until it is gone.
pub(super) async fn delete(side: &Side, id: &str) {
    let request = side.west.rds.delete_db_instance().db_instance_identifier(id);
    request.skip_final_snapshot(true).send().await.expect("it is deleted");
    let gone = || async { find(&side.west, id).await.is_none().then_some(()) };
    side.until(&format!("{id} is gone"), gone).await;
}

async fn changes(side: &Side, notes: &mut Notes) {
    let rds = &side.west.rds;
    let modify = || rds.modify_db_instance().db_instance_identifier(REPLICA);
    let later = modify().db_instance_class("db.r6g.2xlarge").send().await;
    notes
        .note("rds: a change for later", told(&later, |made| json!(made.db_instance().map(shown))));
    let found = settled(side, &side.west, REPLICA, "available").await;
    notes.note("rds: what waits", shown(&found));
    let now = modify().db_instance_class("db.r6g.2xlarge").apply_immediately(true).send().await;
    notes.note("rds: a change at once", told(&now, |made| status(made.db_instance())));
    let busy = modify().db_instance_class("db.r6g.large").apply_immediately(true).send().await;
    notes.note("rds: a change while another is made", done(&busy));
    let found = settled(side, &side.west, REPLICA, "available").await;
    notes.note("rds: what was changed", shown(&found));
    let protect = modify().deletion_protection(true).apply_immediately(true).send().await;
    notes.note(
        "rds: protection",
        told(&protect, |made| json!(made.db_instance().map(|made| made.deletion_protection()))),
    );
    settled(side, &side.west, REPLICA, "available").await;
    let delete = || rds.delete_db_instance().db_instance_identifier(REPLICA);
    notes.note(
        "rds: what is protected is deleted",
        done(&delete().skip_final_snapshot(true).send().await),
    );
    drop(modify().deletion_protection(false).apply_immediately(true).send().await);
    settled(side, &side.west, REPLICA, "available").await;
    let missing =
        rds.modify_db_instance().db_instance_identifier("nothing").multi_az(true).send().await;
    notes.note("rds: an instance that is not there is changed", done(&missing));
    let missing =
        rds.delete_db_instance().db_instance_identifier("nothing").skip_final_snapshot(true);
    notes.note("rds: an instance that is not there is deleted", done(&missing.send().await));
    let reboot = rds.reboot_db_instance().db_instance_identifier(REPLICA).send().await;
    notes.note("rds: a reboot", told(&reboot, |made| status(made.db_instance())));
    settled(side, &side.west, REPLICA, "available").await;
}

async fn restores(side: &Side, notes: &mut Notes) {
    let rds = &side.west.rds;
    let known =
        rds.describe_db_instance_automated_backups().db_instance_identifier(PRIMARY).send().await;
    let arn = known.ok().and_then(|known| {
        let backup = known.db_instance_automated_backups().first()?;
        Some(backup.db_instance_automated_backups_arn()?.to_owned())
    });
    let group = side.estate.regions["us-west-2"].subnet_group.clone();
    let restore = || {
        let request = rds.restore_db_instance_to_point_in_time();
        let request = request.set_source_db_instance_automated_backups_arn(arn.clone());
        let request = request.set_db_subnet_group_name(group.clone());
        request.target_db_instance_identifier(RECOVERED).db_instance_class("db.r6g.xlarge")
    };
    for (what, at) in [("in the past", 1_000_000_000), ("in the future", 4_000_000_000)] {
        let answer = restore().restore_time(DateTime::from_secs(at)).send().await;
        notes.note(&format!("rds: a restore to a time {what}"), done(&answer));
    }
    let both = restore()
        .restore_time(DateTime::from_secs(1))
        .use_latest_restorable_time(true)
        .send()
        .await;
    notes.note("rds: a restore to two times", done(&both));
    notes.note("rds: a restore to no time", done(&restore().send().await));
    let latest = || restore().use_latest_restorable_time(true);
    let nowhere = latest().db_subnet_group_name("nothing").send().await;
    notes.note("rds: a restore into a subnet group that is not there", done(&nowhere));
    let nothing = rds.restore_db_instance_to_point_in_time().target_db_instance_identifier("x");
    let nothing = nothing.source_db_instance_identifier("nothing").use_latest_restorable_time(true);
    notes.note("rds: a restore of an instance that is not there", done(&nothing.send().await));
    let nothing = rds.restore_db_instance_from_db_snapshot().db_instance_identifier("x");
    let nothing = nothing.db_snapshot_identifier("nothing").send().await;
    notes.note("rds: a restore of a snapshot that is not there", done(&nothing));
    let made = latest().send().await;
    notes.note("rds: a restore", told(&made, |made| status(made.db_instance())));
    notes.note("rds: a restore again", done(&latest().send().await));
    let early = rds.stop_db_instance().db_instance_identifier(RECOVERED).send().await;
    notes.note("rds: what is being made is stopped", done(&early));
    let found = settled(side, &side.west, RECOVERED, "available").await;
    notes.note("rds: what was restored", shown(&found));
}

async fn promotion(side: &Side, notes: &mut Notes) {
    let rds = &side.west.rds;
    let promote = |id: &'static str| {
        rds.promote_read_replica().db_instance_identifier(id).backup_retention_period(7).send()
    };
    notes.note("rds: an instance that is not there is promoted", done(&promote("nothing").await));
    notes.note("rds: a primary is promoted", done(&promote(RECOVERED).await));
    let asked = promote(REPLICA).await;
    notes.note(
        "rds: a replica is promoted",
        told(&asked, |asked| {
            json!(asked.db_instance().and_then(|found| found.db_instance_identifier()))
        }),
    );
    notes.note("rds: a replica is promoted again at once", done(&promote(REPLICA).await));
    let alone = || async {
        let found = find(&side.west, REPLICA).await?;
        let alone = found.read_replica_source_db_instance_identifier().is_none();
        (alone && found.db_instance_status() == Some("available")).then_some(found)
    };
    let found = side.until("the replica stands alone", alone).await;
    notes.note("rds: what was promoted", shown(&found));
    notes.note("rds: what was promoted is promoted", done(&promote(REPLICA).await));
    let primary = find(&side.east, PRIMARY).await;
    notes.note("rds: the primary without its replica", json!(primary.as_ref().map(shown)));
}

async fn ends(side: &Side, notes: &mut Notes) {
    let rds = &side.west.rds;
    let stop = || rds.stop_db_instance().db_instance_identifier(RECOVERED).send();
    let start = || rds.start_db_instance().db_instance_identifier(RECOVERED).send();
    notes.note("rds: what runs is started", done(&start().await));
    notes.note("rds: a stop", told(&stop().await, |made| status(made.db_instance())));
    settled(side, &side.west, RECOVERED, "stopped").await;
    notes.note("rds: what stands is stopped", done(&stop().await));
    notes.note("rds: a start", told(&start().await, |made| status(made.db_instance())));
    settled(side, &side.west, RECOVERED, "available").await;
    let delete = || rds.delete_db_instance().db_instance_identifier(RECOVERED);
    let gone = delete().skip_final_snapshot(true).send().await;
    notes.note("rds: a deletion", told(&gone, |made| status(made.db_instance())));
    notes.note("rds: a deletion again", done(&delete().skip_final_snapshot(true).send().await));
    let gone = || async { find(&side.west, RECOVERED).await.is_none().then_some(()) };
    side.until("it is gone", gone).await;
    let stop = rds.stop_db_instance_automated_backups_replication();
    let stop =
        stop.source_db_instance_arn(format!("arn:aws:rds:us-east-1:123456789012:db:{PRIMARY}"));
    notes.note("rds: replication is stopped", done(&stop.clone().send().await));
    notes.note("rds: replication is stopped again", done(&stop.send().await));
    let start = rds.start_db_instance_automated_backups_replication();
    let start =
        start.source_db_instance_arn(format!("arn:aws:rds:us-east-1:123456789012:db:{PRIMARY}"));
    notes.note(
        "rds: replication is started",
        told(&start.send().await, |made| {
            let made = made.db_instance_automated_backup();
            json!(made.map(|made| (made.db_instance_identifier(), made.region())))
        }),
    );
    let replicates = || async {
        let list = rds.describe_db_instance_automated_backups().db_instance_identifier(PRIMARY);
        let found = list.send().await.ok()?;
        let mut all = found.db_instance_automated_backups().iter();
        all.any(|backup| backup.status() == Some("replicating")).then_some(())
    };
    side.until("the backup is replicated anew", replicates).await;
}
