//! `rds.recover`: brings the database up from a chosen recovery point, by the method that point needs.

use serde_json::{Value, json};

use super::instance::{Instance, Phase, existing};
use super::watch::Watch;
use super::{candidates, promote, proof, restore_point_in_time, restore_snapshot};
use crate::actions::postgres::target::{NoTarget, RecoveryTarget};
use crate::clients::Clients;
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::ids::RunId;
use crate::outcome::{ActionError, FailureClass};
use crate::runbook::catalogue::actions::{
    PromoteReplica, Recover, RecoveryMethod, RecoveryPoint, RestorePointInTime, RestoreSnapshot,
};

/// The action a recovery point comes down to.
enum Way {
    /// An earlier run has done it
    Standing {
        region: String,
        target: String,
    },
    Promote(PromoteReplica),
    Backup(RestorePointInTime),
    Snapshot(RestoreSnapshot),
}

pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &Recover,
) -> Result<Observation, ActionError> {
    let point = match &with.point {
        Some(point) => point.clone(),
        None => candidates::best(clients, &with.region).await?,
    };
    let mut seen = match way(with, &point)? {
        Way::Standing { region, target } => standing(clients, call, &region, &target).await?,
        Way::Promote(with) => promote::observe(clients, call, &with).await?,
        Way::Backup(with) => restore_point_in_time::observe(clients, call, &with).await?,
        Way::Snapshot(with) => restore_snapshot::observe(clients, call, &with).await?,
    };
    seen.context = json!({ "point": point });
    Ok(seen)
}

pub(crate) async fn perform(
    clients: &Clients,
    armed: &Armed,
    call: &Call,
    with: &Recover,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    match way(with, &point_of(with, seen)?)? {
        Way::Standing { region, target } => prove(clients, call, &region, &target).await,
        Way::Promote(with) => promote::perform(clients, armed, call, &with, seen).await,
        Way::Backup(with) => {
            restore_point_in_time::perform(clients, armed, call, &with, seen).await
        }
        Way::Snapshot(with) => restore_snapshot::perform(clients, armed, call, &with, seen).await,
    }
}

pub(crate) async fn revert(
    clients: &Clients,
    armed: &Armed,
    call: &Call,
    with: &Recover,
    image: &Image,
) -> Result<(), ActionError> {
    match way(with, &point_of(with, &image.now)?)? {
        Way::Standing { .. } => Ok(()),
        Way::Promote(with) => promote::revert(&with, image),
        Way::Backup(with) => {
            restore_point_in_time::revert(clients, armed, call, &with, image).await
        }
        Way::Snapshot(with) => restore_snapshot::revert(clients, armed, call, &with, image).await,
    }
}

fn way(with: &Recover, point: &RecoveryPoint) -> Result<Way, ActionError> {
    let region = with.region.clone();
    let target = point.target.clone();
    if point.recovered {
        return Ok(Way::Standing { region, target });
    }
    let source = point.source.clone();
    Ok(match point.method {
        RecoveryMethod::Promote => Way::Promote(PromoteReplica { region, replica: source }),
        RecoveryMethod::RestorePointInTime => Way::Backup(RestorePointInTime {
            region,
            backup: Some(source),
            target: Some(target),
            time: time(with)?,
        }),
        RecoveryMethod::RestoreSnapshot => {
            Way::Snapshot(RestoreSnapshot { region, snapshot: Some(source), target: Some(target) })
        }
    })
}

/// Returns the instant a backup is restored to; `None` for the latest there is.
fn time(with: &Recover) -> Result<Option<String>, ActionError> {
    let Some(text) = with.target.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let invalid = |message: String| {
        ActionError::unchanged(FailureClass::Invalid, format!("argument `target`: {message}"))
    };
    match text.parse::<RecoveryTarget>().map_err(|error: NoTarget| invalid(error.to_string()))? {
        RecoveryTarget::Latest => Ok(None),
        RecoveryTarget::Time(time) => Ok(Some(time.to_string())),
        RecoveryTarget::Lsn(_) | RecoveryTarget::Name(_) => {
            let message = format!("RDS restores to an instant, and `{text}` is none");
            Err(invalid(message).hint("write `latest` or `time 2026-01-01T02:12:00Z`"))
        }
    }
}

/// Returns the point the step was observed with: the given one, or the best one as found then.
fn point_of(with: &Recover, seen: &Observation) -> Result<RecoveryPoint, ActionError> {
    if let Some(point) = &with.point {
        return Ok(point.clone());
    }
    serde_json::from_value(seen.context["point"].clone()).map_err(|error| {
        let message = format!("the observation names no recovery point: {error}");
        ActionError::unchanged(FailureClass::Internal, message)
    })
}

/// Observes an instance an earlier run brought up: it must stand alone, and SQL must say that it was proved.
///
/// What this run brought up is carried on; what another one left unproved is taken over only with consent.
async fn standing(
    clients: &Clients,
    call: &Call,
    region: &str,
    target: &str,
) -> Result<Observation, ActionError> {
    let found = existing(clients, region, target).await?;
    let mut seen = Observation::new(role(&found), json!({ "role": "standalone" }));
    seen.evidence.push(found.line());
    seen.outputs = found.outputs(clients).unwrap_or_default();
    let ours = found.run() == Some(call.run.0.as_str());
    if !seen.satisfied || found.phase() == Phase::Bad || seen.outputs.is_empty() {
        seen.under_way = seen.satisfied && found.phase() == Phase::Busy && ours;
        seen.satisfied = false;
        return Ok(seen);
    }
    let by = found.run().map(|run| RunId(run.to_owned()));
    if let Some(run) = &by {
        seen.evidence.push(format!("brought up by run {run}"));
    }
    let missing = match &by {
        Some(run) => proof::missing(clients, &found, run).await,
        None => Some("no run of phoenix-dr has proved that it takes writes".to_owned()),
    };
    if let Some(why) = missing {
        seen.evidence.push(why);
        (seen.satisfied, seen.under_way) = (false, ours);
        if !ours {
            let why =
                format!("{} was left by another run, and nothing here takes it back", found.id);
            seen.irreversible = Some(why);
        }
    }
    Ok(seen)
}

/// Proves an instance an earlier run brought up and did not prove.
async fn prove(
    clients: &Clients,
    call: &Call,
    region: &str,
    target: &str,
) -> Result<Performed, ActionError> {
    let mut watch = Watch::new(clients, call, region, target);
    let found = loop {
        let found = watch.look().await?.ok_or_else(|| {
            let message = format!("there is no RDS instance {target} in {region} any more");
            ActionError::unchanged(FailureClass::NotFound, message)
        })?;
        watch.tell(&found.status);
        match found.phase() {
            Phase::Bad => return Err(found.bad()),
            Phase::Usable | Phase::Busy if found.source.is_some() => {
                let message =
                    format!("{target} in {region} is not the database an earlier run left");
                return Err(ActionError::unchanged(FailureClass::Conflict, message)
                    .hint("choose another recovery point"));
            }
            Phase::Usable => break found,
            Phase::Busy => {}
        }
    };
    let notes = proof::writable(clients, call, region, &found, None, &watch).await?;
    let outputs = found.outputs(clients).ok_or_else(|| {
        ActionError::unchanged(FailureClass::Internal, format!("{target} has no endpoint"))
    })?;
    Ok(Performed { after: role(&found), outputs, obligations: Vec::new(), notes })
}

fn role(found: &Instance) -> Value {
    match &found.source {
        None => json!({ "role": "standalone" }),
        Some(source) => json!({ "role": "replica", "source": source }),
    }
}
