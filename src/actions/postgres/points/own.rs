//! Recovery points in directories: dumps, and base backups with the WAL archived since.

use std::path::Path;

use super::{Asked, Damage, Point, PointKind, Points, forecast};
use crate::actions::postgres::base::{BaseBackup, BaseBackups, Form};
use crate::actions::postgres::manifest::{Dumps, Manifest};
use crate::actions::postgres::origin::is_of_estate;
use crate::actions::postgres::proofs::Proofs;
use crate::actions::postgres::target::RecoveryTarget;
use crate::actions::postgres::wal::{Archive, Reach};
use crate::actions::postgres::waldump::{End, Reader};
use crate::clients::Clients;
use crate::clock::since;
use crate::estate::types::Database;
use crate::outcome::ActionError;
use crate::span::Span;

/// Returns the dumps of the estate's database.
pub(super) fn dumps(
    clients: &Clients,
    database: &Database,
    asked: &Asked<'_>,
) -> Result<Points, ActionError> {
    let dumps = Dumps::of(clients)?;
    let (found, mut remarks) = dumps.list(&database.name)?;
    let (found, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|dump| is_of_estate(database, &dump.instance));
    remarks.extend(others.iter().map(|dump| {
        format!("{} is of {}, which is no instance of this estate", dump.name, dump.instance)
    }));
    let proofs = Proofs::in_directory(dumps.root());
    let points = found.iter().map(|manifest| dump(database, asked, &dumps, &proofs, manifest));
    Ok(Points { points: points.collect(), remarks })
}

fn dump(
    database: &Database,
    asked: &Asked<'_>,
    dumps: &Dumps,
    proofs: &Proofs,
    manifest: &Manifest,
) -> Point {
    let name = &manifest.name;
    let proved = manifest.digest().and_then(|digest| proofs.find(name, &digest));
    let took = proved.as_ref().and_then(|proof| proof.took);
    Point {
        id: format!("dump:{name}"),
        kind: PointKind::Dump,
        title: format!("dump {name} of {}", manifest.instance),
        region: None,
        path: Some(dumps.folder(name).display().to_string()),
        taken: Some(manifest.taken),
        age: Some(Span(since(manifest.taken, asked.now))),
        until: None,
        lsn: manifest.lsn.parse().ok(),
        loss: Some(asked.loss(manifest.taken)),
        bytes: Some(manifest.stored()),
        // What is restored is the database, however small its dump.
        forecast: Some(took.unwrap_or_else(|| forecast(database, manifest.bytes))),
        proved,
        damage: asked.damage(PointKind::Dump, manifest.taken),
        missing: Vec::new(),
        target: None,
        unusable: dumps.sizes(manifest).err().map(|error| error.message),
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
    let (found, mut remarks) = backups.list()?;
    let archive = Archive::read(&backups.wal)?;
    remarks.extend(archive.remarks.iter().cloned());
    let proofs = Proofs::in_directory(&backups.root);
    let mut points = Vec::new();
    for backup in &found {
        let reach = archive.reach(&backup.needs);
        let end = match ends(clients, &archive, backup, &reach).await {
            Ok(end) => end,
            Err(error) => {
                remarks.push(format!("how far {} reaches is not known: {error}", backup.name));
                None
            }
        };
        let mut point = base(database, asked, backup, &reach, end);
        point.proved = proofs.find(&backup.name, &backup.checksum);
        if let Some(took) = point.proved.as_ref().and_then(|proof| proof.took) {
            point.forecast = Some(took);
        }
        if let Some(segment) = backup.incomplete(&archive) {
            point.unusable =
                Some(format!("the WAL {segment} that the backup itself needs is missing"));
        }
        points.push(point);
    }
    Ok(Points { points, remarks })
}

async fn ends(
    clients: &Clients,
    archive: &Archive,
    backup: &BaseBackup,
    reach: &Reach,
) -> Result<Option<End>, ActionError> {
    let major = backup.major(clients).await?;
    let own = backup.path.join("pg_wal");
    let beside: Option<&Path> = (backup.form == Form::Plain).then_some(&own);
    let reader = Reader::new(clients, archive, beside, (major, reach.size)).await?;
    reader.end(reach).await
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
        Some(_) | None => (latest(reach, end), reaches),
    };
    let logged = u64::try_from(reach.whole.len()).unwrap_or(u64::MAX).saturating_mul(reach.size);
    Point {
        id: format!("base:{}", backup.name),
        kind: PointKind::BaseBackup,
        title: format!("base backup {} and its WAL", backup.name),
        region: None,
        path: Some(backup.path.display().to_string()),
        taken: Some(backup.complete),
        age: Some(Span(since(backup.complete, asked.now))),
        until,
        lsn: end.map(|end| end.lsn),
        loss: Some(asked.loss(back_to)),
        bytes: Some(backup.bytes),
        forecast: Some(forecast(database, backup.bytes.saturating_add(logged))),
        proved: None,
        damage,
        missing: reach.missing.iter().map(|segment| segment.name(reach.size)).collect(),
        target: Some(target),
        unusable: None,
        point: None,
        reversible: true,
        absent: false,
    }
}

/// Returns the target of going as far as the log leads: before a gap it must be said where that is.
fn latest(reach: &Reach, end: Option<End>) -> RecoveryTarget {
    match end {
        Some(end) if !reach.missing.is_empty() => RecoveryTarget::Lsn(end.lsn),
        Some(_) | None => RecoveryTarget::Latest,
    }
}
