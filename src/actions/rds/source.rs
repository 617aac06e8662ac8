//! What a database can be restored from in a region: the primary's automated backup, its own or replicated, and its
//! snapshots.

use aws_sdk_rds::types::DbSnapshot;
use jiff::Timestamp;

use super::instance::instant;
use super::{TAG_EVIDENCE, database, read_failure};
use crate::clients::Clients;
use crate::outcome::{ActionError, FailureClass};

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
        })
    });
    Ok(backups.max_by_key(|backup| backup.latest))
}

/// Returns the newest usable snapshot of the primary in the region, whoever made it: of several, one from before the
/// damage began. What was taken as evidence of a damage is none.
pub(super) async fn newest_snapshot(
    clients: &Clients,
    region: &str,
    damaged: Option<Timestamp>,
) -> Result<Option<Snapshot>, ActionError> {
    let primary = &database(clients)?.primary.id;
    let aws = clients.aws.region(region).await?;
    let request = aws.rds.describe_db_snapshots().db_instance_identifier(primary);
    let found = request.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
    let found = found.map_err(|error| read_failure("DescribeDBSnapshots", region, &error))?;
    let usable = found.iter().filter(|found| !is_evidence(found)).filter_map(snapshot);
    Ok(usable.max_by_key(|snapshot| {
        (damaged.is_none_or(|damaged| snapshot.taken <= damaged), snapshot.taken)
    }))
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
    let answer = answer.map_err(|error| read_failure("DescribeDBSnapshots", region, &error))?;
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
    })
}

fn gib(storage: Option<i32>) -> u32 {
    storage.and_then(|gib| gib.try_into().ok()).unwrap_or(0)
}
