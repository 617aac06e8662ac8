//! Recovery points of RDS, as `rds.choose_recovery_point` measures them.

use jiff::Timestamp;

use super::{Asked, Damage, Point, PointKind, Points};
use crate::actions::postgres::target::RecoveryTarget;
use crate::actions::rds::measure::measure;
use crate::clients::Clients;
use crate::clock::since;
use crate::outcome::{ActionError, Candidate};
use crate::runbook::catalogue::actions::{RecoveryMethod, RecoveryPoint};
use crate::span::Span;

/// Measures what RDS has in a region.
pub(super) async fn points(
    clients: &Clients,
    region: &str,
    asked: &Asked<'_>,
) -> Result<Points, ActionError> {
    let measured = measure(clients, region, None).await?;
    let points = measured.candidates.into_iter().filter_map(|found| point(region, found, asked));
    Ok(Points { points: points.collect(), remarks: measured.evidence })
}

/// Returns a candidate as a recovery point; `None` for one that neither the estate names nor anybody has found.
fn point(region: &str, found: Candidate, asked: &Asked<'_>) -> Option<Point> {
    let point = RecoveryPoint::of(&found).ok();
    if point.is_none() && !found.absent {
        return None;
    }
    let kind = match point.as_ref() {
        Some(point) if point.recovered => PointKind::Standing,
        Some(RecoveryPoint { method: RecoveryMethod::RestorePointInTime, .. }) => {
            PointKind::AutomatedBackup
        }
        Some(RecoveryPoint { method: RecoveryMethod::RestoreSnapshot, .. }) => PointKind::Snapshot,
        Some(RecoveryPoint { method: RecoveryMethod::Promote, .. }) | None => PointKind::Replica,
    };
    let at = found.loss.and_then(|loss| asked.now.checked_sub(loss.duration()).ok());
    let (target, damage) = goes(kind, at, asked);
    let back_to = match &target {
        Some(RecoveryTarget::Time(time)) => Some(*time),
        _ => at,
    };
    Some(Point {
        id: format!("{}:{region}", found.id),
        kind,
        title: format!("{} in {region}", found.title),
        path: None,
        taken: at,
        age: at.map(|at| Span(since(at, asked.now))),
        until: None,
        lsn: None,
        loss: back_to.map(|at| asked.loss(at)),
        bytes: None,
        forecast: found.forecast,
        proved: None,
        damage,
        missing: Vec::new(),
        target,
        unusable: found.unusable,
        point,
        reversible: found.reversible,
        absent: found.absent,
    })
}

/// Returns how far a restore from it goes, and what of the damage is in that.
fn goes(
    kind: PointKind,
    at: Option<Timestamp>,
    asked: &Asked<'_>,
) -> (Option<RecoveryTarget>, Damage) {
    match (kind, at, asked.incident) {
        // Whatever the primary wrote it has replayed, or will have in a moment.
        (PointKind::Replica, ..) => (None, Damage::Same),
        // It can be restored to any instant before.
        (PointKind::AutomatedBackup, Some(at), Some(incident)) if at > incident => {
            (Some(RecoveryTarget::Time(incident)), Damage::Before)
        }
        (_, Some(at), _) => (None, asked.damage(kind, at)),
        (_, None, _) => (None, Damage::Before),
    }
}
