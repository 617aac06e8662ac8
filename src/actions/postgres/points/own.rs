//! Recovery points that are files: dumps, and base backups with the WAL archived since.

use std::collections::BTreeMap;

use futures::future::join_all;

use super::{Asked, Damage, Point, PointKind, Points, Unread, forecast};
use crate::actions::postgres::base::{BaseBackup, BaseBackups};
use crate::actions::postgres::bucket::may_pass;
use crate::actions::postgres::origin::is_of_estate;
use crate::actions::postgres::proofs::{Proof, ProvedBy};
use crate::actions::postgres::store::{Dump, Dumps, Listing};
use crate::actions::postgres::target::RecoveryTarget;
use crate::actions::postgres::wal::{Archive, Reach, Segment};
use crate::actions::postgres::waldump::{End, Reader};
use crate::clients::Clients;
use crate::clock::since;
use crate::estate::types::Database;
use crate::outcome::ActionError;
use crate::span::Span;

/// Records of proofs that are read side by side.
const PROOFS_AT_ONCE: usize = 8;

/// Returns the dumps of the estate's database.
pub(super) async fn dumps(
    clients: &Clients,
    database: &Database,
    asked: &Asked<'_>,
) -> Result<Points, ActionError> {
    let dumps = Dumps::of(clients)?;
    let Listing { dumps: found, others: mut remarks } = dumps.list(clients, &database.name).await?;
    let (found, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|dump| is_of_estate(database, &dump.manifest.instance));
    remarks.extend(others.iter().map(|Dump { manifest, .. }| {
        format!(
            "{} is of {}, which is no instance of this estate",
            manifest.name, manifest.instance
        )
    }));
    let (mut points, mut unread) = (Vec::new(), Vec::new());
    for some in found.chunks(PROOFS_AT_ONCE) {
        let proofs = some.iter().map(|dump| dumps.proof(clients, &dump.manifest));
        for (found, proved) in some.iter().zip(join_all(proofs).await) {
            let proved = proved.unwrap_or_else(|error| {
                let name = &found.manifest.name;
                remarks.push(format!("whether {name} was proved is not known: {error}"));
                unread.push(error);
                None
            });
            let path = dumps.path(&found.manifest.name);
            points.push(dump(database, asked, (found, path), proved));
        }
    }
    let unread = in_part(unread).map(Unread::dumps).into_iter().collect();
    Ok(Points { points, remarks, unread })
}

/// Returns what keeps a part of what was found from being known, and may be known in a moment.
fn in_part(failed: Vec<ActionError>) -> Option<ActionError> {
    failed.into_iter().find(may_pass)
}

fn dump(
    database: &Database,
    asked: &Asked<'_>,
    (dump, path): (&Dump, String),
    proved: Option<Proof>,
) -> Point {
    let manifest = &dump.manifest;
    // A proof that failed says more than one from before it.
    let disproved = proved.as_ref().and_then(|proof| proof.failed.clone());
    let proved = proved.filter(|proof| proof.failed.is_none());
    let took = proved.as_ref().and_then(|proof| proof.took);
    Point {
        id: format!("dump:{}", manifest.name),
        kind: PointKind::Dump,
        title: format!("dump {} of {}", manifest.name, manifest.instance),
        region: None,
        path: Some(path),
        taken: Some(manifest.taken),
        age: Some(Span(since(manifest.taken, asked.now))),
        until: None,
        lsn: manifest.lsn.parse().ok(),
        loss: Some(asked.loss(manifest.taken)),
        bytes: Some(manifest.stored()),
        checksums: None,
        // What is restored is the database, however small its dump.
        forecast: Some(took.unwrap_or_else(|| forecast(database, manifest.bytes))),
        proved,
        disproved,
        damage: asked.damage(PointKind::Dump, manifest.taken),
        missing: Vec::new(),
        target: None,
        packed: Vec::new(),
        unusable: dump.wrong.as_ref().map(|error| error.message.clone()),
        point: None,
        reversible: true,
        absent: false,
    }
}

/// Returns the base backups, each with how far the archived WAL carries it.
pub(super) async fn base_backups(
    clients: &Clients,
    database: &Database,
    asked: &Asked<'_>,
) -> Result<Points, ActionError> {
    let backups = BaseBackups::of(clients)?;
    let (found, mut remarks) = backups.list(clients).await?;
    // What is in a bucket is seen from hosts, too, that nothing can be brought to.
    let held = backups.hold().await;
    if let Err(error) = &held {
        remarks.push(format!("how far the WAL leads is not known on this host: {error}"));
    }
    let archive = Archive::read(clients, &backups.wal).await?;
    remarks.extend(archive.remarks.iter().cloned());
    let proofs = backups.proofs();
    let (mut points, mut unread) = (Vec::new(), Vec::new());
    // Most backups are carried on by the same WAL, to the same end.
    let mut known: BTreeMap<(u32, u32, Segment), End> = BTreeMap::new();
    for backup in &found {
        let reach = archive.reach(&backup.needs);
        let end = match &held {
            Ok(_) => ends(clients, &archive, backup, &reach, &mut known).await,
            Err(_) => Ok(None),
        };
        let end = end.unwrap_or_else(|error| {
            remarks.push(format!("how far {} reaches is not known: {error}", backup.name));
            unread.push(error);
            None
        });
        let mut point = base(database, asked, backup, &reach, end);
        let proof = proofs.find(clients, &backup.name, &backup.checksum).await;
        let proof = proof.unwrap_or_else(|error| {
            remarks.push(format!("whether {} was proved is not known: {error}", backup.name));
            unread.push(error);
            None
        });
        point.disproved = proof.as_ref().and_then(|proof| proof.failed.clone());
        point.proved = proof.filter(|proof| proof.failed.is_none());
        // All its pages were read by now: what the application has written to them is another thing.
        let sound = point.proved.as_ref().is_some_and(|proof| proof.by == ProvedBy::Sound);
        if sound && point.damage == Damage::Same {
            point.damage = Damage::Rows;
        }
        if let Some(took) = point.proved.as_ref().and_then(|proof| proof.took) {
            point.forecast = Some(took);
        }
        if let Some(segment) = backup.incomplete(&archive) {
            point.unusable =
                Some(format!("the WAL {segment} that the backup itself needs is missing"));
        }
        points.push(point);
    }
    let unread = in_part(unread).map(Unread::base_backups).into_iter().collect();
    Ok(Points { points, remarks, unread })
}

async fn ends(
    clients: &Clients,
    archive: &Archive,
    backup: &BaseBackup,
    reach: &Reach,
    known: &mut BTreeMap<(u32, u32, Segment), End>,
) -> Result<Option<End>, ActionError> {
    let major = backup.major(clients, archive).await?;
    let last = reach.whole.last().filter(|last| archive.has(**last));
    let key = last.map(|last| (major, backup.needs.timeline, *last));
    if let Some(end) = key.as_ref().and_then(|key| known.get(key)) {
        return Ok(Some(*end));
    }
    let reader = Reader::new(clients, archive, backup, (major, reach.size)).await?;
    let end = reader.end(reach).await?;
    if let (Some(key), Some(end)) = (key, end.filter(|end| end.time.is_some())) {
        known.insert(key, end);
    }
    Ok(end)
}

fn base(
    database: &Database,
    asked: &Asked<'_>,
    backup: &BaseBackup,
    reach: &Reach,
    end: Option<End>,
) -> Point {
    let until = end.and_then(|end| end.time).map(|time| time.max(backup.complete));
    let reaches = until.unwrap_or(backup.complete);
    let damage = asked.damage(PointKind::BaseBackup, backup.complete);
    // Up to the incident and not a moment more, where the WAL leads beyond it.
    let (target, back_to) = match asked.incident {
        Some(incident) if damage == Damage::Before && reaches > incident => {
            (RecoveryTarget::Time(incident), incident)
        }
        Some(_) | None => (listed(end), reaches),
    };
    let logged = u64::try_from(reach.whole.len()).unwrap_or(u64::MAX).saturating_mul(reach.size);
    Point {
        id: format!("base:{}", backup.name),
        kind: PointKind::BaseBackup,
        title: format!("base backup {} and its WAL", backup.name),
        region: None,
        path: Some(backup.place()),
        taken: Some(backup.complete),
        age: Some(Span(since(backup.complete, asked.now))),
        until,
        lsn: end.map(|end| end.lsn),
        loss: Some(asked.loss(back_to)),
        bytes: Some(backup.bytes),
        checksums: Some(backup.checksums.clone()),
        forecast: Some(forecast(database, backup.bytes.saturating_add(logged))),
        proved: None,
        disproved: None,
        damage,
        missing: reach.missing.iter().map(|segment| segment.name(reach.size)).collect(),
        target: Some(target),
        packed: backup.packed(),
        unusable: None,
        point: None,
        reversible: true,
        absent: false,
    }
}

/// Returns the target of going as far as the log leads now: what is archived while somebody decides may have the damage in it,
/// and was not what was chosen. Of a log that nobody could read the end is not known.
fn listed(end: Option<End>) -> RecoveryTarget {
    end.map_or(RecoveryTarget::Latest, |end| RecoveryTarget::Lsn(end.lsn))
}
