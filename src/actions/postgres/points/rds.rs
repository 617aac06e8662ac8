//! Recovery points of RDS, as `rds.choose_recovery_point` measures them.

use jiff::Timestamp;

use super::{Asked, Damage, Point, PointKind, Points, Unread};
use crate::actions::postgres::proofs::Proof;
use crate::actions::postgres::target::RecoveryTarget;
use crate::actions::rds::measure::{Known, Sought, measure};
use crate::actions::rds::record::OnRecord;
use crate::clients::Clients;
use crate::clock::since;
use crate::outcome::{ActionError, Candidate, FailureClass};
use crate::runbook::catalogue::actions::{RecoveryMethod, RecoveryPoint};
use crate::span::Span;

/// How `rds/weigh.rs` begins to say why one cannot be taken that could not be looked at.
const UNREADABLE: &str = "it cannot be read: ";

/// Measures what RDS has in a region.
pub(super) async fn points(
    clients: &Clients,
    region: &str,
    asked: &Asked<'_>,
) -> Result<Points, ActionError> {
    let sought = Sought { wanted: None, damaged: asked.incident };
    // What was looked at before took its time, and would make everything here older than it is.
    let asked = &Asked { now: clients.clock.now(), ..asked.clone() };
    let measured = measure(clients, region, sought).await?;
    let (earliest, known) = (measured.earliest, measured.known);
    let (mut points, mut remarks, mut unread) = (Vec::new(), measured.evidence, Vec::new());
    for found in measured.candidates.into_iter().chain(measured.further) {
        if let Some(one) = not_looked_at(region, &found) {
            remarks.push(format!("not looked at: {}: {}", one.title, one.error));
            unread.push(one);
        }
        let known = known.get(&found.id);
        let point = point(region, found, earliest, asked);
        points.extend(point.map(|point| on_record(point, known)));
    }
    Ok(Points { points, remarks, unread })
}

/// Returns a candidate as what could not be looked at, where nobody knows whether there is one.
fn not_looked_at(region: &str, found: &Candidate) -> Option<Unread> {
    let why = found.unusable.as_ref()?.strip_prefix(UNREADABLE)?;
    if found.absent || RecoveryPoint::of(found).is_ok() {
        return None;
    }
    let error = ActionError::unchanged(FailureClass::Doubt, why);
    let title = format!("{} in {region}", found.title);
    Some(Unread { id: id(&found.id, region), title, error })
}

/// Adds what RDS says of a backup besides: its size, and what earlier restores from it have shown.
fn on_record(point: Point, known: Option<&Known>) -> Point {
    let Some(known) = known else { return point };
    let OnRecord { proved, damaged } = &known.on_record;
    let proved = proved.as_ref().map(|restored| {
        Proof::of_elsewhere(&known.arn, restored.at, restored.by.clone(), restored.took)
    });
    let bytes = (known.allocated_gib > 0).then(|| u64::from(known.allocated_gib) << 30);
    let disproved =
        damaged.map(|at| format!("what was restored from it was found damaged at {at:.0}"));
    Point { bytes, proved, disproved, ..point }
}

/// Returns a candidate as a recovery point; `None` for one that neither the estate names nor anybody has found.
fn point(
    region: &str,
    found: Candidate,
    earliest: Option<Timestamp>,
    asked: &Asked<'_>,
) -> Option<Point> {
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
    // Losses are measured a moment after `now`, so that what is reached seems to be a moment less than it is.
    let begins = earliest.filter(|_| kind == PointKind::AutomatedBackup);
    let at = at.map(|at| begins.map_or(at, |begins| at.max(begins)));
    let (target, damage) = goes(kind, at, asked);
    let unusable = found.unusable.or_else(|| too_late(kind, earliest, asked.incident));
    let back_to = match &target {
        Some(RecoveryTarget::Time(time)) => at.map(|_| *time),
        Some(RecoveryTarget::Latest | RecoveryTarget::Lsn(_) | RecoveryTarget::Name(_)) | None => {
            at
        }
    };
    Some(Point {
        id: id(&found.id, region),
        kind,
        title: format!("{} in {region}", found.title),
        region: Some(region.to_owned()),
        path: None,
        taken: at,
        age: at.map(|at| Span(since(at, asked.now))),
        until: at.filter(|_| kind == PointKind::AutomatedBackup),
        lsn: None,
        loss: back_to.map(|at| asked.loss(at)),
        bytes: None,
        checksums: None,
        forecast: found.forecast,
        proved: None,
        disproved: None,
        damage,
        missing: Vec::new(),
        target,
        packed: Vec::new(),
        unusable,
        point,
        reversible: found.reversible,
        absent: found.absent,
    })
}

/// Returns what it is chosen by: its kind and the region, and behind these its name where there are several of the kind.
fn id(found: &str, region: &str) -> String {
    match found.split_once(':') {
        Some((kind, name)) => format!("{kind}:{region}:{name}"),
        None => format!("{found}:{region}"),
    }
}

/// Says that a backup has nothing from before the damage.
fn too_late(
    kind: PointKind,
    earliest: Option<Timestamp>,
    incident: Option<Timestamp>,
) -> Option<String> {
    let earliest = earliest.filter(|_| kind == PointKind::AutomatedBackup)?;
    let late = incident.is_some_and(|incident| incident < earliest);
    late.then(|| format!("it goes back to {earliest:.0} at most, when the damage had begun"))
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
        // It can be restored to any instant before. Where nobody knows how far it goes, RDS refuses what is behind that.
        (PointKind::AutomatedBackup, at, Some(incident)) if at.is_none_or(|at| at > incident) => {
            (Some(RecoveryTarget::Time(incident)), Damage::Before)
        }
        // It goes on while somebody decides: what comes then may have the damage in it, and was not what was chosen.
        (PointKind::AutomatedBackup, Some(at), _) => {
            let listed = Timestamp::from_second(at.as_second()).unwrap_or(at);
            (Some(RecoveryTarget::Time(listed)), asked.damage(kind, listed))
        }
        (_, Some(at), _) => (None, asked.damage(kind, at)),
        (_, None, _) => (None, Damage::Before),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn candidate(id: &str, method: RecoveryMethod, loss: Option<Span>) -> Candidate {
        let (source, target) = (id.to_owned(), "phoenix-recovered".to_owned());
        Candidate {
            id: id.to_owned(),
            title: id.to_owned(),
            loss,
            forecast: Some(Span::minutes(12)),
            reversible: method != RecoveryMethod::Promote,
            unusable: None,
            absent: false,
            notes: Vec::new(),
            doubts: Vec::new(),
            detail: json!(RecoveryPoint { method, source, target, recovered: false }),
        }
    }

    #[test]
    fn what_rds_has_is_held_against_when_the_damage_began() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().expect("an instant");
        let at = |minutes: u64| now - Span::minutes(minutes).duration();
        let incident = Some(at(30));
        let asked = Asked { incident, now, regions: Vec::new() };
        let found = |id: &str, method, minutes: u64| {
            let candidate = candidate(id, method, Some(Span::minutes(minutes)));
            point("us-west-2", candidate, None, &asked).expect("a recovery point")
        };
        // It follows: what was damaged is damaged there, however far behind it is.
        let replica = found("replica", RecoveryMethod::Promote, 0);
        assert_eq!((replica.damage, replica.id.as_str()), (Damage::Same, "replica:us-west-2"));
        // One that reaches beyond goes back to the instant itself.
        let backup = found("backup", RecoveryMethod::RestorePointInTime, 5);
        assert_eq!((backup.damage, backup.loss), (Damage::Before, Some(Span::default())));
        assert_eq!(backup.target, incident.map(RecoveryTarget::Time));
        let backup = found("backup", RecoveryMethod::RestorePointInTime, 40);
        assert_eq!((backup.damage, backup.loss), (Damage::Before, Some(Span::minutes(10))));
        // Not as far as it goes when the restore begins, which may be behind what happened then.
        assert_eq!(backup.target, Some(RecoveryTarget::Time(at(40))));
        let early = found("snapshot", RecoveryMethod::RestoreSnapshot, 90);
        assert_eq!((early.damage, early.loss), (Damage::Before, Some(Span::minutes(60))));
        assert_eq!(found("snapshot", RecoveryMethod::RestoreSnapshot, 10).damage, Damage::Same);
        // One that nobody has found is none; one that the estate names is told.
        let mut none = candidate("snapshot", RecoveryMethod::RestoreSnapshot, None);
        none.detail = serde_json::Value::Null;
        assert_eq!(point("us-west-2", none.clone(), None, &asked), None);
        none.absent = true;
        assert!(point("us-west-2", none, None, &asked).is_some_and(|point| point.absent));
        // One that begins when the damage had begun has nothing from before it.
        let method = RecoveryMethod::RestorePointInTime;
        for (begins, why) in [(31, None), (29, Some("it goes back to 2026-11-29T11:31:00Z"))] {
            let candidate = candidate("backup", method, Some(Span::minutes(5)));
            let found = point("us-west-2", candidate, Some(at(begins)), &asked).expect("a point");
            let said = found.unusable.as_deref();
            assert_eq!(said.is_some(), why.is_some(), "{said:?}");
            assert!(why.is_none_or(|why| said.is_some_and(|said| said.starts_with(why))));
        }
    }

    #[test]
    fn a_backup_is_restored_as_far_as_it_was_listed_and_never_to_the_latest_there_is() {
        let text = |at: &str| at.parse::<Timestamp>().expect("an instant");
        let now = text("2026-11-29T12:00:00.75Z");
        let found = |incident: Option<Timestamp>, loss, earliest| {
            let asked = Asked { incident, now, regions: Vec::new() };
            let method = RecoveryMethod::RestorePointInTime;
            let candidate = candidate("backup", method, loss);
            point("us-west-2", candidate, earliest, &asked).expect("a recovery point")
        };
        let loss = Some(Span::minutes(5));
        // RDS restores to whole seconds; a later one may not be there yet.
        let listed = text("2026-11-29T11:55:00Z");
        let backup = found(None, loss, None);
        assert_eq!(backup.target, Some(RecoveryTarget::Time(listed)));
        assert_eq!(backup.loss, Some(Span(since(listed, now))));
        let incident = text("2026-11-29T11:58:00Z");
        let backup = found(Some(incident), loss, None);
        assert_eq!(backup.target, Some(RecoveryTarget::Time(listed)));
        assert_eq!((backup.loss, backup.damage), (Some(Span::minutes(3)), Damage::Before));
        // It has just begun.
        let begins = text("2026-11-29T11:55:01Z");
        let backup = found(Some(incident), loss, Some(begins));
        assert_eq!(backup.target, Some(RecoveryTarget::Time(begins)));
        // Nobody knows how much is lost with it: to the incident it goes all the same, or not at all.
        let backup = found(Some(incident), None, None);
        assert_eq!(backup.target, Some(RecoveryTarget::Time(incident)));
        assert_eq!((backup.loss, backup.damage), (None, Damage::Before));
        assert_eq!(found(None, None, None).target, None);
    }

    #[test]
    fn what_could_not_be_looked_at_is_not_taken_for_what_is_not_there() {
        let mut found = candidate("backup", RecoveryMethod::RestorePointInTime, None);
        found.detail = serde_json::Value::Null;
        found.unusable = Some("none is replicated to this region".to_owned());
        assert_eq!(not_looked_at("us-west-2", &found), None);
        found.unusable = Some(format!("{UNREADABLE}DescribeDBInstances: no answer"));
        let unread = not_looked_at("us-west-2", &found).expect("nobody knows");
        assert_eq!(
            (unread.id.as_str(), unread.title.as_str()),
            ("backup:us-west-2", "backup in us-west-2")
        );
        assert_eq!(unread.error.message, "DescribeDBInstances: no answer");
        // What has a name is listed as one that cannot be taken.
        let named = candidate("replica", RecoveryMethod::Promote, None);
        let named = Candidate { unusable: found.unusable.clone(), ..named };
        assert_eq!(not_looked_at("us-west-2", &named), None);
    }
}
