//! `postgres.choose_recovery_point`: has one of the recovery points chosen, as `rds.choose_recovery_point` does.
//!
//! Changes nothing. One that no restore ever proved, or that must be expected to carry the damage, is not offered unless the
//! step says that it may be. What could not be looked at stands among them, and then none is taken that nobody named.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::bucket::may_pass;
use super::points::{Asked, Damage, Point, PointKind, Points, Unread, list};
use super::target::{NoTarget, RecoveryTarget};
use crate::actions::choice;
use crate::actions::foresee::Foreseen;
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::postgres::database;
use crate::clock::{said_instant, since};
use crate::engine::ports::{Armed, Call, Observation, Performed};
use crate::estate::types::Database;
use crate::outcome::{ActionError, Candidate, FailureClass, WARNS};
use crate::runbook::catalogue::actions::{ActionName, PostgresChooseRecoveryPoint, RecoveryPoint};
use crate::span::Span;

/// What nobody can tell of a copy where that was left out.
const UNSAID: &str = "when the damage began was not said";
/// What of a candidate's detail is for commands alone, and no output.
const PACKED: &str = "packed";

/// Measures the recovery points and offers those that may be taken.
pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &PostgresChooseRecoveryPoint,
) -> Result<Observation, ActionError> {
    let now = clients.clock.now();
    // So long ago, or at that time of the day, as it was when the run began: whoever takes it up an hour later means no other.
    let then = call.run.began().unwrap_or(now);
    let said = instant("incident", with.incident.as_deref(), then)?;
    let incident = said.or(instant("latest", with.latest.as_deref(), now)?);
    let regions = match &with.region {
        Some(region) => vec![region.as_str()],
        None => clients.estate.regions.keys().map(String::as_str).collect(),
    };
    let database = database(clients)?;
    let target = target(with)?;
    let asked = Asked { incident, now, regions };
    let Points { mut points, remarks, unread } = list(clients, &asked).await?;
    if let Some(target) = &target {
        points.iter_mut().for_each(|point| aim(point, target, incident.unwrap_or(now)));
    }
    let chosen = call.choice.as_ref().map(|choice| choice.id.clone());
    let mut seen = Observation::new(json!({ "chosen": null }), json!({ "chosen": chosen }));
    seen.satisfied = false;
    seen.evidence = remarks;
    if said.is_none() {
        let until = incident.map_or_else(|| "now".to_owned(), |until| format!("{until:.0}"));
        seen.evidence.insert(0, format!("{WARNS}{UNSAID}: the loss is counted until {until}"));
    }
    let mut all: Vec<Candidate> = points
        .iter()
        .map(|point| candidate(database, point, with.unverified))
        .collect::<Result<_, _>>()?;
    let doubts: Vec<String> =
        unsaid(said).into_iter().chain(target.as_ref().and_then(untold)).collect();
    let counted = incident.map(|at| at.to_string()).unwrap_or_default();
    for candidate in &mut all {
        candidate.doubts.extend(doubts.iter().cloned());
        candidate.detail["incident"] = json!(counted);
    }
    let named = with.choose.as_deref().filter(|id| *id != "ask");
    seen.choices = offered(all, named, &unread)?;
    if seen.choices.iter().all(|candidate| candidate.unusable.is_some()) {
        return Err(nothing_usable(&seen.choices, with.unverified, &unread));
    }
    seen.context = json!({ "choices": seen.choices });
    seen.commands = commands(clients, &seen.choices);
    Ok(seen)
}

/// Returns the doubt of every copy where nobody said when the damage began.
fn unsaid(said: Option<Timestamp>) -> Option<String> {
    said.is_none().then(|| format!("{UNSAID}: it may be in it"))
}

/// Returns the doubt of a target of which its log alone tells where in time it is.
fn untold(target: &RecoveryTarget) -> Option<String> {
    match target {
        RecoveryTarget::Name(_) | RecoveryTarget::Lsn(_) => {
            Some(format!("whether `{target}` is from before the damage only its WAL tells"))
        }
        RecoveryTarget::Latest | RecoveryTarget::Time(_) => None,
    }
}

/// Returns what is to be chosen from, with what could not be looked at. One that was named is not called missing while it may be
/// in that.
fn offered(
    mut all: Vec<Candidate>,
    named: Option<&str>,
    unread: &[Unread],
) -> Result<Vec<Candidate>, ActionError> {
    all.extend(unread.iter().map(not_looked_at));
    if let (Some(id), Some(Unread { title, error, .. })) = (named, unread.first())
        && !all.iter().any(|candidate| candidate.id == id)
    {
        let message = format!(
            "whether there is a recovery point `{id}` is not known: {title} could not be looked at: {error}"
        );
        return Err(ActionError { message, ..error.clone() });
    }
    choice::offered(all, named)
}

/// Returns what could not be looked at as one that cannot be taken. It counts as one that the estate names and that is not there:
/// a better one may be in it, so that only a person takes another in its place.
fn not_looked_at(unread: &Unread) -> Candidate {
    Candidate {
        id: unread.id.clone(),
        title: unread.title.clone(),
        loss: None,
        forecast: None,
        reversible: true,
        unusable: Some(format!("it could not be looked at, or not all of it: {}", unread.error)),
        absent: true,
        notes: Vec::new(),
        doubts: Vec::new(),
        detail: json!({}),
    }
}

/// Returns what a person types for each candidate that can be taken.
fn commands(clients: &Clients, candidates: &[Candidate]) -> Vec<String> {
    let usable = candidates.iter().filter(|candidate| candidate.unusable.is_none());
    let lines = usable.flat_map(|candidate| {
        let head = format!("# {}:", candidate.id);
        std::iter::once(head).chain(by_hand(clients, candidate))
    });
    lines.collect()
}

fn by_hand(clients: &Clients, candidate: &Candidate) -> Vec<String> {
    let (estate, detail) = (&clients.estate, &candidate.detail);
    let text = |name: &str| detail[name].as_str().unwrap_or_default().to_owned();
    if let Ok(point) = serde_json::from_value::<RecoveryPoint>(detail["point"].clone()) {
        return by_hand::recovery_from(estate, &text("region"), &point, &text("target"));
    }
    if detail["kind"] == "base_backup" {
        let path = text("path");
        let name = path.rsplit('/').next().unwrap_or(&path);
        let packed = detail[PACKED].as_array().into_iter().flatten();
        let packed: Vec<String> =
            packed.filter_map(|file| Some(file.as_str()?.to_owned())).collect();
        return by_hand::dumps::point_in_time(estate, (name, &packed), &text("target"));
    }
    let primary = estate.database.as_ref().map(|database| database.primary.id.as_str());
    let with = json!({ "instance": primary, "dump": detail["dump"], "into": "NEW_DATABASE" });
    let with = with.as_object().cloned().unwrap_or_default();
    by_hand::action(estate, ActionName::PostgresRestore, &with)
}

/// Gives the chosen one to the steps that restore it.
pub(crate) fn perform(
    _armed: &Armed,
    call: &Call,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let hint = "name one: --recovery-point ID, as `phoenix-dr recovery-points` lists them";
    let chosen = choice::taken(call, seen, hint)?;
    Ok(Performed {
        after: json!({ "chosen": chosen.id }),
        outputs: outputs(chosen),
        obligations: Vec::new(),
        notes: std::iter::once(format!("recovery point: {}", chosen.title))
            .chain(chosen.doubts.iter().map(|doubt| format!("{WARNS}{doubt}")))
            .collect(),
    })
}

/// Returns what the choice gives that the call carries.
pub(in crate::actions) fn foreseen(call: &Call) -> Option<Foreseen> {
    call.choice.as_ref().map(|choice| Foreseen { outputs: outputs(choice), certain: true })
}

/// Returns how far a base backup is to be taken, where the step says so.
fn target(with: &PostgresChooseRecoveryPoint) -> Result<Option<RecoveryTarget>, ActionError> {
    let given = with.target.as_deref().filter(|text| !text.is_empty());
    given.map(str::parse).transpose().map_err(|error: NoTarget| {
        ActionError::unchanged(FailureClass::Invalid, format!("argument `target`: {error}"))
    })
}

/// Has a recovery point go so far and no further. What only its log tells, where a name or a position is in time, is not known
/// before it is restored, and so neither is what is lost.
fn aim(point: &mut Point, target: &RecoveryTarget, incident: Timestamp) {
    if point.kind != PointKind::BaseBackup {
        let why = format!("only a base backup and its WAL go to `{target}`");
        point.unusable.get_or_insert(why);
        return;
    }
    let (taken, until) = (point.taken, point.until);
    let why = match target {
        RecoveryTarget::Time(at) if taken.is_some_and(|taken| taken > *at) => {
            Some(format!("it was complete only after `{target}`"))
        }
        RecoveryTarget::Time(at) if until.is_some_and(|until| until < *at) => {
            Some(format!("its WAL ends before `{target}`"))
        }
        RecoveryTarget::Lsn(lsn) if point.lsn.is_some_and(|end| end < *lsn) => {
            Some(format!("its WAL ends before `{target}`"))
        }
        RecoveryTarget::Time(_)
        | RecoveryTarget::Lsn(_)
        | RecoveryTarget::Name(_)
        | RecoveryTarget::Latest => None,
    };
    if let Some(why) = why {
        point.unusable.get_or_insert(why);
    }
    let reached = match target {
        RecoveryTarget::Time(at) => Some(*at),
        RecoveryTarget::Latest => until.or(taken),
        RecoveryTarget::Lsn(_) | RecoveryTarget::Name(_) => None,
    };
    // What is gone through behind the damage brings its wrong rows.
    if point.damage == Damage::Before && reached.is_some_and(|at| at > incident) {
        point.damage = Damage::Rows;
    }
    let from_before = reached.filter(|_| point.damage == Damage::Before);
    point.loss = from_before.map(|at| Span(since(at, incident)));
    point.target = Some(bound(point, target));
}

/// Returns a target as what was looked at: as far as the log leads is a position, for it leads further by the time of the
/// restore. Over a gap it is left, and refused there: it would silently be less.
fn bound(point: &Point, target: &RecoveryTarget) -> RecoveryTarget {
    let whole = point.lsn.filter(|_| point.missing.is_empty());
    match (target, whole) {
        (RecoveryTarget::Latest, Some(end)) => RecoveryTarget::Lsn(end),
        (
            RecoveryTarget::Latest
            | RecoveryTarget::Time(_)
            | RecoveryTarget::Lsn(_)
            | RecoveryTarget::Name(_),
            _,
        ) => target.clone(),
    }
}

fn instant(
    argument: &str,
    given: Option<&str>,
    now: Timestamp,
) -> Result<Option<Timestamp>, ActionError> {
    let given = given.filter(|text| !text.is_empty());
    let read = given.map(|text| said_instant(text, now)).transpose();
    read.map_err(|error| {
        ActionError::unchanged(FailureClass::Invalid, format!("argument `{argument}`: {error}"))
    })
}

/// Returns a recovery point as one of the ways an operator chooses from.
fn candidate(
    database: &Database,
    point: &Point,
    unverified: bool,
) -> Result<Candidate, ActionError> {
    let doubts = point.doubts();
    let refused = (!doubts.is_empty() && !unverified).then(|| doubts.join("; "));
    let detail = detail(database, point).map_err(|error| {
        let message = format!("write the recovery point {}: {error}", point.id);
        ActionError::unchanged(FailureClass::Internal, message)
    })?;
    Ok(Candidate {
        id: point.id.clone(),
        title: point.title.clone(),
        loss: point.loss,
        forecast: point.forecast,
        reversible: point.reversible,
        unusable: point.unusable.clone().or(refused),
        absent: point.absent,
        notes: point.facts(),
        doubts,
        detail,
    })
}

/// Returns what later steps are given, under the names of the outputs.
fn detail(database: &Database, point: &Point) -> Result<Value, serde_json::Error> {
    let (instance, region) = whereabouts(database, point);
    let name = |prefix: &str| point.id.strip_prefix(prefix).unwrap_or_default().to_owned();
    let rds = point.point.as_ref().map(serde_json::to_value).transpose()?;
    Ok(json!({
        "kind": point.kind.word(),
        "instance": instance,
        "region": region,
        "dump": name("dump:"),
        "backup": name("base:"),
        "path": point.path.clone().unwrap_or_default(),
        PACKED: point.packed.clone(),
        "target": point.target.as_ref().map(ToString::to_string).unwrap_or_default(),
        "taken": point.taken.map(|taken| taken.to_string()).unwrap_or_default(),
        "point": rds.unwrap_or_else(|| json!({})),
        "proved": point.proved.is_some(),
    }))
}

/// Returns the instance that has the data once it is restored, and its region.
fn whereabouts<'a>(database: &'a Database, point: &'a Point) -> (&'a str, &'a str) {
    let primary = &database.primary;
    let region = point.region.as_deref().unwrap_or(&primary.region);
    let instance: &str = match (&point.point, point.kind) {
        (Some(point), _) => &point.target,
        // A dump comes back beside the damaged database, on the same server.
        (None, PointKind::Dump) => &primary.id,
        (
            None,
            PointKind::BaseBackup
            | PointKind::Replica
            | PointKind::AutomatedBackup
            | PointKind::Snapshot
            | PointKind::Standing,
        ) => &database.recovered.id,
    };
    (instance, region)
}

fn outputs(chosen: &Candidate) -> Map<String, Value> {
    let mut outputs = chosen.detail.as_object().cloned().unwrap_or_default();
    outputs.remove(PACKED);
    let loss = chosen.loss.map_or_else(|| "unknown".to_owned(), |loss| loss.to_string());
    outputs.insert("loss".to_owned(), json!(loss));
    outputs.insert("reversible".to_owned(), json!(chosen.reversible));
    outputs
}

fn nothing_usable(candidates: &[Candidate], unverified: bool, unread: &[Unread]) -> ActionError {
    let reasons: Vec<String> = candidates
        .iter()
        .map(|candidate| {
            format!("{}: {}", candidate.id, candidate.unusable.as_deref().unwrap_or("usable"))
        })
        .collect();
    let message = format!("no recovery point can be taken ({})", reasons.join("; "));
    let hint = if unverified {
        "repair one of them, or restore by hand and mark the step done"
    } else {
        "prove one by a restore (docs/postgres.md), or have the step say `unverified: true`, knowing what that means"
    };
    // What nobody could look at just now may be usable in a moment.
    match unread.iter().map(|unread| &unread.error).find(|error| may_pass(error)) {
        Some(error) => ActionError::unchanged(error.class, message)
            .hint(error.hint.as_deref().unwrap_or("try again, or mend what cannot be looked at")),
        None => ActionError::unchanged(FailureClass::NotFound, message).hint(hint),
    }
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
