//! What each recovery point loses, how long it takes, and whether it can be taken.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::instance::{Instance, Phase};
use super::measure::{Recovered, patiently_for};
use super::record::OnRecord;
use super::restore::{TAG_DATA_UNTIL, TAG_SOURCE};
use super::source::{Backup, Snapshot};
use super::{TAG_PROMOTED, proof};
use crate::by_hand::rds::own_instance;
use crate::clients::Clients;
use crate::clock::since;
use crate::estate::types::Database;
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

/// Time after which a replica that does not answer is asked no more: a silent one takes about 3 s each time, and the
/// person at the screen waits.
const PATIENCE: Duration = Duration::from_secs(6);

/// Returns a replica an earlier run has promoted.
pub(super) fn promoted_before(found: &Instance) -> Option<Recovered> {
    let (run, at) = (found.run()?, found.tag(TAG_PROMOTED)?.parse::<Timestamp>().ok()?);
    Some(Recovered {
        point: standing_point(RecoveryMethod::Promote, &found.id, &found.id),
        at: Some(at),
        line: format!("{} was promoted by run {run} at {at:.0} and stands alone", found.id),
    })
}

/// Returns an instance an earlier run has restored.
pub(super) fn restored_before(found: &Instance) -> Option<Recovered> {
    let (run, source) = (found.run()?, found.tag(TAG_SOURCE)?);
    let method = if source.contains(":auto-backup:") || own_instance(source).is_some() {
        RecoveryMethod::RestorePointInTime
    } else {
        RecoveryMethod::RestoreSnapshot
    };
    // When it was made says nothing of how old its data is.
    let at: Option<Timestamp> = found.tag(TAG_DATA_UNTIL).and_then(|time| time.parse().ok());
    let until = at.map_or("nobody knows when".to_owned(), |at| format!("{at:.0}"));
    Some(Recovered {
        point: standing_point(method, source, &found.id),
        at,
        line: format!("{} was restored by run {run}, with data until {until}", found.id),
    })
}

pub(super) fn standing_point(method: RecoveryMethod, source: &str, target: &str) -> RecoveryPoint {
    let (source, target) = (source.to_owned(), target.to_owned());
    RecoveryPoint { method, source, target, recovered: true }
}

fn point(method: RecoveryMethod, source: &str, target: &str) -> Value {
    let (source, target) = (source.to_owned(), target.to_owned());
    json!(RecoveryPoint { method, source, target, recovered: false })
}

/// What was seen of the replica.
pub(super) struct ReplicaSeen {
    pub candidate: Candidate,
    /// What is known of it
    pub line: String,
    /// It answers and this program is not let in, or asks what can never be answered: whatever else could be recovered
    /// from would be proved with the same login, and may lose more
    pub barred: Option<ActionError>,
}

/// Returns the replica as a candidate, and what is known of it in a line.
pub(super) async fn replica_candidate(
    clients: &Clients,
    region: &str,
    id: &str,
    look: &Result<Option<Instance>, ActionError>,
) -> ReplicaSeen {
    let mut candidate = Candidate {
        id: "replica".to_owned(),
        title: format!("replica {id}"),
        loss: None,
        forecast: Some(PROMOTION),
        reversible: false,
        unusable: None,
        absent: false,
        notes: Vec::new(),
        doubts: Vec::new(),
        detail: point(RecoveryMethod::Promote, id, id),
    };
    let found = match look {
        Ok(Some(found)) => found,
        Ok(None) => {
            let why = format!("there is no instance {id} in {region}");
            candidate.unusable = Some(why.clone());
            candidate.absent = true;
            return ReplicaSeen { candidate, line: why, barred: None };
        }
        Err(error) => {
            candidate.unusable = Some(format!("it cannot be read: {error}"));
            let line = format!("{id} cannot be read: {error}");
            return ReplicaSeen { candidate, line, barred: None };
        }
    };
    let (mut line, mut barred) = (found.line(), None);
    if found.phase() == Phase::Bad {
        candidate.unusable = Some(bad(found));
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
        match behind(clients, region, found).await {
            Ok(lag) => {
                candidate.loss = Some(lag);
                line += &format!("; {lag} behind");
            }
            // It would be promoted and then proved on another server.
            Err(error) if error.class == FailureClass::Conflict => {
                candidate.unusable = Some(error.message);
            }
            Err(error) => {
                line += &format!("; loss unknown: {error}");
                barred = Some(error).filter(|error| is_ours_to_mend(error.class));
            }
        }
    }
    ReplicaSeen { candidate, line, barred }
}

/// Asks a replica which server it is and how far behind. A connection that fails once must not cost a lossier recovery.
async fn behind(clients: &Clients, region: &str, found: &Instance) -> Result<Span, ActionError> {
    let ask = || async {
        proof::replica(clients, found).await?;
        proof::replica_lag(clients, region, found).await
    };
    patiently_for(clients, PATIENCE, ask).await
}

/// Says whether a failure is one of the estate file, a login or a grant, and not one of the outage.
const fn is_ours_to_mend(class: FailureClass) -> bool {
    match class {
        FailureClass::Credentials | FailureClass::Denied | FailureClass::Invalid => true,
        FailureClass::Throttled
        | FailureClass::Transient
        | FailureClass::NotFound
        | FailureClass::Conflict
        | FailureClass::Capacity
        | FailureClass::Timeout
        | FailureClass::Overdue
        | FailureClass::Refused
        | FailureClass::Unproved
        | FailureClass::Doubt
        | FailureClass::Internal => false,
    }
}

fn bad(found: &Instance) -> String {
    format!("it is `{}`", found.status)
}

/// Returns an instance an earlier run has restored as a candidate: taking it means going on with what it has.
pub(super) fn restored_candidate(
    look: &Result<Option<Instance>, ActionError>,
    now: Timestamp,
) -> Option<Candidate> {
    let found = look.as_ref().ok()?.as_ref().filter(|found| found.source.is_none())?;
    let standing = restored_before(found)?;
    Some(Candidate {
        title: standing.line,
        loss: standing.at.map(|at| Span(since(at, now))),
        forecast: Some(Span::default()),
        unusable: (found.phase() == Phase::Bad).then(|| bad(found)),
        absent: false,
        detail: json!(standing.point),
        ..restore_candidate("recovered", "")
    })
}

pub(super) fn backup_candidate(
    (database, region): (&Database, &str),
    look: Result<Option<Backup>, ActionError>,
    taken: Option<&str>,
    now: Timestamp,
) -> Candidate {
    let target = &database.recovered.id;
    let own = region == database.primary.region;
    let title = if own { "automated backup" } else { "replicated backup" };
    let mut candidate = restore_candidate("backup", title);
    match look {
        Ok(Some(found)) => {
            candidate.detail = point(RecoveryMethod::RestorePointInTime, &found.arn, target);
            candidate.forecast =
                Some(restore_forecast(database, found.allocated_gib, &found.on_record));
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
        Ok(None) if own => candidate.unusable = Some("RDS keeps none of it".to_owned()),
        Ok(None) => candidate.unusable = Some("none is replicated to this region".to_owned()),
        Err(error) => candidate.unusable = Some(format!("it cannot be read: {error}")),
    }
    candidate
}

pub(super) fn snapshot_candidate(
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
            candidate.forecast =
                Some(restore_forecast(database, found.allocated_gib, &found.on_record));
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
        absent: false,
        notes: Vec::new(),
        doubts: Vec::new(),
        detail: Value::Null,
    }
}

/// Returns how long a restore takes: as long as the last one from there, where that is on record.
fn restore_forecast(database: &Database, allocated_gib: u32, on_record: &OnRecord) -> Span {
    if let Some(took) = on_record.proved.as_ref().and_then(|restored| restored.took) {
        return took;
    }
    let per_gib = database.restore_seconds_per_gib.unwrap_or(RESTORE_SECONDS_PER_GIB);
    Span::seconds(u64::from(per_gib) * u64::from(allocated_gib)).max(RESTORE_LEAST)
}
