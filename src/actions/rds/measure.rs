//! Measuring recovery points: what each loses, how long it takes, and whether an earlier run has recovered already.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::instance::{Instance, Phase, find};
use super::restore::TAG_SOURCE;
use super::source::{self, Backup, Snapshot};
use super::{TAG_PROMOTED, database, proof};
use crate::clients::Clients;
use crate::clock::since;
use crate::estate::types::{Database, DatabaseInstance};
use crate::outcome::{ActionError, Candidate, FailureClass};
use crate::runbook::catalogue::actions::{RecoveryMethod, RecoveryPoint};
use crate::span::Span;

/// A promotion replays what is left, reboots and takes a first backup: 5 to 12 minutes in practice; a forecast takes
/// the longer one, so that it is kept.
const PROMOTION: Span = Span::minutes(12);

/// No restore was seen to be faster: an instance must be made before any data is read.
const RESTORE_LEAST: Span = Span::minutes(10);

/// Restores read whole volumes from S3; about 50 MiB/s, unless the estate has measured its own.
const RESTORE_SECONDS_PER_GIB: u32 = 20;

/// What is there to recover from.
pub(super) struct Measured {
    /// Usable ones first, least loss first
    pub candidates: Vec<Candidate>,
    /// Brought up by an earlier run, and no recovery point is newer than that
    pub recovered: Option<Recovered>,
    pub evidence: Vec<String>,
}

/// An instance an earlier run brought up.
#[derive(Debug, Clone)]
pub(super) struct Recovered {
    pub point: RecoveryPoint,
    /// When it left the lost database: data of later is not in it
    pub at: Timestamp,
    pub line: String,
}

/// Reads everything at once and measures each candidate.
pub(super) async fn measure(clients: &Clients, region: &str) -> Result<Measured, ActionError> {
    let database = database(clients)?;
    let named = database.replica.as_ref().filter(|replica| replica.region == region);
    let (replica, restored, backup, snapshot) = futures::join!(
        // Each SDK call is a large future: side by side on one stack they would not fit a worker thread's.
        Box::pin(find_named(clients, region, named)),
        Box::pin(find(clients, region, &database.recovered.id)),
        Box::pin(source::backup(clients, region)),
        Box::pin(source::newest_snapshot(clients, region)),
    );
    // One look that fails leaves the other candidates; where nothing can be read the step has failed.
    let failures: Vec<&ActionError> = [
        replica.as_ref().err(),
        restored.as_ref().err(),
        backup.as_ref().err(),
        snapshot.as_ref().err(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let expired = failures.iter().find(|error| error.class == FailureClass::Credentials);
    if let Some(error) = expired.or_else(|| failures.first().filter(|_| failures.len() == 4)) {
        return Err((*error).clone());
    }
    let mut measured = Measured { candidates: Vec::new(), recovered: None, evidence: Vec::new() };
    let now = clients.clock.now();
    let newest = newest_data(&backup, &snapshot);
    if let Some(standing) = latest_standing(&replica, &restored) {
        if newest.is_none_or(|newest| standing.at >= newest) {
            measured.recovered = Some(standing);
        } else {
            measured
                .evidence
                .push(format!("{}; recovery points newer than that exist", standing.line));
        }
    }
    if let Some(named) = named {
        let (candidate, evidence) = replica_candidate(clients, region, &named.id, replica).await;
        measured.evidence.push(evidence);
        measured.candidates.push(candidate);
    }
    let taken = target_taken(&restored);
    measured.candidates.push(backup_candidate(database, backup, taken.as_deref(), now));
    measured.candidates.push(snapshot_candidate(database, snapshot, taken.as_deref(), now));
    measured.candidates.sort_by_key(|candidate| {
        let loss = candidate.loss.map_or(Duration::MAX, Span::duration);
        (candidate.unusable.is_some(), loss, candidate.forecast)
    });
    Ok(measured)
}

async fn find_named(
    clients: &Clients,
    region: &str,
    named: Option<&DatabaseInstance>,
) -> Result<Option<Instance>, ActionError> {
    match named {
        Some(named) => find(clients, region, &named.id).await,
        None => Ok(None),
    }
}

/// Returns the instant up to which the backups and snapshots have data.
fn newest_data(
    backup: &Result<Option<Backup>, ActionError>,
    snapshot: &Result<Option<Snapshot>, ActionError>,
) -> Option<Timestamp> {
    let backup = backup.as_ref().ok().and_then(|found| found.as_ref()?.latest);
    let snapshot = snapshot.as_ref().ok().and_then(|found| Some(found.as_ref()?.taken));
    backup.max(snapshot)
}

/// Returns the instance an earlier run brought up last, if it takes writes as far as RDS knows.
fn latest_standing(
    replica: &Result<Option<Instance>, ActionError>,
    restored: &Result<Option<Instance>, ActionError>,
) -> Option<Recovered> {
    let usable = |found: &&Instance| found.source.is_none() && found.phase() == Phase::Usable;
    let replica = replica.as_ref().ok().and_then(Option::as_ref).filter(usable);
    let restored = restored.as_ref().ok().and_then(Option::as_ref).filter(usable);
    [replica.and_then(promoted_before), restored.and_then(restored_before)]
        .into_iter()
        .flatten()
        .max_by_key(|recovered| recovered.at)
}

fn promoted_before(found: &Instance) -> Option<Recovered> {
    let (run, at) = (found.run()?, found.tag(TAG_PROMOTED)?.parse().ok()?);
    Some(Recovered {
        point: standing_point(RecoveryMethod::Promote, &found.id, &found.id),
        at,
        line: format!("{} was promoted by run {run} at {at:.0} and stands alone", found.id),
    })
}

fn restored_before(found: &Instance) -> Option<Recovered> {
    let (run, at, source) = (found.run()?, found.created?, found.tag(TAG_SOURCE)?);
    let method = if source.contains(":auto-backup:") {
        RecoveryMethod::RestorePointInTime
    } else {
        RecoveryMethod::RestoreSnapshot
    };
    Some(Recovered {
        point: standing_point(method, source, &found.id),
        at,
        line: format!("{} was restored by run {run} at {at:.0}", found.id),
    })
}

fn standing_point(method: RecoveryMethod, source: &str, target: &str) -> RecoveryPoint {
    let (source, target) = (source.to_owned(), target.to_owned());
    RecoveryPoint { method, source, target, recovered: true }
}

fn point(method: RecoveryMethod, source: &str, target: &str) -> Value {
    let (source, target) = (source.to_owned(), target.to_owned());
    json!(RecoveryPoint { method, source, target, recovered: false })
}

fn target_taken(restored: &Result<Option<Instance>, ActionError>) -> Option<String> {
    let found = restored.as_ref().ok()?.as_ref()?;
    Some(format!("{} exists already: delete it, or name another instance", found.id))
}

/// Returns the replica as a candidate, and what is known of it in a line.
async fn replica_candidate(
    clients: &Clients,
    region: &str,
    id: &str,
    look: Result<Option<Instance>, ActionError>,
) -> (Candidate, String) {
    let mut candidate = Candidate {
        id: "replica".to_owned(),
        title: format!("replica {id}"),
        loss: None,
        forecast: Some(PROMOTION),
        reversible: false,
        unusable: None,
        detail: point(RecoveryMethod::Promote, id, id),
    };
    let found = match look {
        Ok(Some(found)) => found,
        Ok(None) => {
            let why = format!("there is no instance {id} in {region}");
            candidate.unusable = Some(why.clone());
            return (candidate, why);
        }
        Err(error) => {
            candidate.unusable = Some(format!("it cannot be read: {error}"));
            return (candidate, format!("{id} cannot be read: {error}"));
        }
    };
    let mut line = found.line();
    if found.phase() == Phase::Bad {
        candidate.unusable = Some(format!("it is `{}`", found.status));
    } else if found.source.is_none() {
        // Nobody is promoted twice; taking it means going on with what it has.
        candidate.title = format!("{id}, which follows no primary any more");
        candidate.detail = json!(standing_point(RecoveryMethod::Promote, id, id));
        candidate.forecast = Some(Span::default());
        let promoted: Option<Timestamp> =
            found.tag(TAG_PROMOTED).and_then(|time| time.parse().ok());
        candidate.loss = promoted.map(|at| Span(since(at, clients.clock.now())));
        line += match promoted {
            Some(_) => "; promoted before, has nothing the primary took since",
            None => "; promoted outside of phoenix-dr, nobody knows when",
        };
    } else {
        match proof::replica_lag(clients, region, &found).await {
            Ok(lag) => {
                candidate.loss = Some(lag);
                line += &format!("; {lag} behind");
            }
            Err(why) => line += &format!("; loss unknown: {why}"),
        }
    }
    (candidate, line)
}

fn backup_candidate(
    database: &Database,
    look: Result<Option<Backup>, ActionError>,
    taken: Option<&str>,
    now: Timestamp,
) -> Candidate {
    let target = &database.recovered.id;
    let mut candidate = restore_candidate("backup", "replicated backup");
    match look {
        Ok(Some(found)) => {
            candidate.detail = point(RecoveryMethod::RestorePointInTime, &found.arn, target);
            candidate.forecast = Some(restore_forecast(database, found.allocated_gib));
            candidate.loss = found.latest.map(|latest| Span(since(latest, now)));
            candidate.unusable = match (found.status.as_str(), found.latest) {
                (status @ ("creating" | "pending"), _) => Some(format!("it is still `{status}`")),
                (_, None) => Some("RDS names no instant it can be restored to".to_owned()),
                (_, Some(latest)) => {
                    candidate.title =
                        format!("backup of {} up to {latest:.0}", database.primary.id);
                    taken.map(str::to_owned)
                }
            };
        }
        Ok(None) => candidate.unusable = Some("none is replicated to this region".to_owned()),
        Err(error) => candidate.unusable = Some(format!("it cannot be read: {error}")),
    }
    candidate
}

fn snapshot_candidate(
    database: &Database,
    look: Result<Option<Snapshot>, ActionError>,
    taken: Option<&str>,
    now: Timestamp,
) -> Candidate {
    let target = &database.recovered.id;
    let mut candidate = restore_candidate("snapshot", "newest snapshot");
    match look {
        Ok(Some(found)) => {
            candidate.title = format!("{} snapshot {}", found.kind, found.id);
            candidate.detail = point(RecoveryMethod::RestoreSnapshot, &found.id, target);
            candidate.forecast = Some(restore_forecast(database, found.allocated_gib));
            candidate.loss = Some(Span(since(found.taken, now)));
            candidate.unusable = taken.map(str::to_owned);
        }
        Ok(None) => candidate.unusable = Some("none is usable in this region".to_owned()),
        Err(error) => candidate.unusable = Some(format!("it cannot be read: {error}")),
    }
    candidate
}

fn restore_candidate(id: &str, title: &str) -> Candidate {
    Candidate {
        id: id.to_owned(),
        title: title.to_owned(),
        loss: None,
        forecast: None,
        reversible: true,
        unusable: None,
        detail: Value::Null,
    }
}

fn restore_forecast(database: &Database, allocated_gib: u32) -> Span {
    let per_gib = database.restore_seconds_per_gib.unwrap_or(RESTORE_SECONDS_PER_GIB);
    Span::seconds(u64::from(per_gib) * u64::from(allocated_gib)).max(RESTORE_LEAST)
}
