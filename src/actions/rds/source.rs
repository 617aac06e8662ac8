//! What a database can be restored from in a region: the primary's automated backup, its own or replicated, and its
//! snapshots.

use std::collections::BTreeMap;

use aws_sdk_rds::types::DbSnapshot;
use jiff::Timestamp;

use super::instance::instant;
use super::record::{OnRecord, read};
use super::{TAG_EVIDENCE, database, read_failure};
use crate::clients::Clients;
use crate::outcome::{ActionError, FailureClass};

/// Snapshots of one kind that are offered besides the first: whoever needs an older one names it to the step that restores.
const OF_KIND_MAX: usize = 5;

/// An automated backup of the primary.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Backup {
    /// Its ARN; of what an instance of the region keeps itself, that instance's
    pub arn: String,
    pub status: String,
    /// The earliest instant it can be restored to
    pub earliest: Option<Timestamp>,
    /// The latest instant it can be restored to
    pub latest: Option<Timestamp>,
    pub allocated_gib: u32,
    /// Its own ARN, which tags are put on
    pub own_arn: Option<String>,
    pub on_record: OnRecord,
}

/// A snapshot of the primary.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Snapshot {
    pub id: String,
    /// `manual`, `automated` or `awsbackup`
    pub kind: String,
    /// The instant its data is of
    pub taken: Timestamp,
    pub allocated_gib: u32,
    pub arn: Option<String>,
    pub on_record: OnRecord,
}

/// The snapshots of the primary that can be restored.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Snapshots {
    /// The one that comes first: the newest, of several one from before the damage began
    pub first: Option<Snapshot>,
    /// The newest others of each kind, the newest first
    pub others: Vec<Snapshot>,
}

/// Returns the primary's automated backup in the region; of several, the one that reaches furthest.
pub(super) async fn backup(clients: &Clients, region: &str) -> Result<Option<Backup>, ActionError> {
    let database = database(clients)?;
    let named = database.automated_backup.as_ref().filter(|backup| backup.region == region);
    let aws = clients.aws.region(region).await?;
    let request = aws.rds.describe_db_instance_automated_backups();
    let request = match named.and_then(|backup| backup.arn.as_deref()) {
        Some(arn) => request.db_instance_automated_backups_arn(arn),
        None => request.db_instance_identifier(&database.primary.id),
    };
    let found = request.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            return match read_failure("DescribeDBInstanceAutomatedBackups", region, &error) {
                missing if missing.class == FailureClass::NotFound => Ok(None),
                failure => Err(failure),
            };
        }
    };
    let backups = found.iter().filter_map(|backup| {
        let status = backup.status().unwrap_or_default();
        // What belongs to an instance that is there RDS restores by that instance's name.
        let own = status == "active" && backup.region() == Some(region);
        let arn = backup.db_instance_arn().filter(|_| own);
        let window = backup.restore_window();
        Some(Backup {
            arn: arn.or_else(|| backup.db_instance_automated_backups_arn())?.to_owned(),
            status: status.to_owned(),
            earliest: window.and_then(|window| instant(window.earliest_time()?)),
            latest: window.and_then(|window| instant(window.latest_time()?)),
            allocated_gib: gib(backup.allocated_storage()),
            own_arn: backup.db_instance_automated_backups_arn().map(str::to_owned),
            on_record: read(backup.tag_list()),
        })
    });
    Ok(backups.max_by_key(|backup| backup.latest))
}

/// Returns the usable snapshots of the primary in the region, whoever made them. What was taken as evidence of a damage is
/// none.
pub(super) async fn snapshots(
    clients: &Clients,
    region: &str,
    damaged: Option<Timestamp>,
) -> Result<Snapshots, ActionError> {
    let primary = &database(clients)?.primary.id;
    let aws = clients.aws.region(region).await?;
    let request = aws.rds.describe_db_snapshots().db_instance_identifier(primary);
    let found = request.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
    let found = found.map_err(|error| read_failure("DescribeDBSnapshots", region, &error))?;
    let usable = found.iter().filter(|found| !is_evidence(found)).filter_map(snapshot);
    let mut all: Vec<Snapshot> = usable.collect();
    all.sort_by(|a, b| b.taken.cmp(&a.taken).then_with(|| a.id.cmp(&b.id)));
    let before = |found: &Snapshot| damaged.is_none_or(|damaged| found.taken <= damaged);
    let first = all.iter().position(before).or(if all.is_empty() { None } else { Some(0) });
    let first = first.map(|at| all.remove(at));
    let mut of_kind = BTreeMap::new();
    all.retain(|found| {
        let count = of_kind.entry(found.kind.clone()).or_insert(0);
        *count += 1;
        *count <= OF_KIND_MAX
    });
    Ok(Snapshots { first, others: all })
}

fn is_evidence(found: &DbSnapshot) -> bool {
    found.tag_list().iter().any(|tag| tag.key() == Some(TAG_EVIDENCE))
}

/// Returns a snapshot by its id.
pub(super) async fn snapshot_named(
    clients: &Clients,
    region: &str,
    id: &str,
) -> Result<Option<Snapshot>, ActionError> {
    let aws = clients.aws.region(region).await?;
    let answer = aws.rds.describe_db_snapshots().db_snapshot_identifier(id).send().await;
    let answer = match answer.map_err(|error| read_failure("DescribeDBSnapshots", region, &error)) {
        Err(missing) if missing.class == FailureClass::NotFound => return Ok(None),
        answer => answer?,
    };
    Ok(answer.db_snapshots().iter().filter_map(snapshot).find(|found| found.id == id))
}

fn snapshot(found: &DbSnapshot) -> Option<Snapshot> {
    if found.status() != Some("available") {
        return None;
    }
    // A copy's own creation time is when it was copied; its data is older.
    let taken = found.original_snapshot_create_time().or_else(|| found.snapshot_create_time())?;
    Some(Snapshot {
        id: found.db_snapshot_identifier()?.to_owned(),
        kind: found.snapshot_type().unwrap_or("manual").to_owned(),
        taken: instant(taken)?,
        allocated_gib: gib(found.allocated_storage()),
        arn: found.db_snapshot_arn().map(str::to_owned),
        on_record: read(found.tag_list()),
    })
}

fn gib(storage: Option<i32>) -> u32 {
    storage.and_then(|gib| gib.try_into().ok()).unwrap_or(0)
}
