//! `rds.choose_recovery_point`: what the database can come back from, each with its measured loss and forecast.
//!
//! Changes nothing. A loss nobody could measure is unknown, never zero.

use serde_json::{Map, Value, json};

use super::measure::{Sought, measure};
use crate::actions::choice;
use crate::by_hand;
use crate::clients::Clients;
use crate::engine::ports::{Armed, Call, Observation, Performed};
use crate::outcome::{ActionError, Candidate, FailureClass};
use crate::runbook::catalogue::actions::{ChooseRecoveryPoint, RecoveryMethod, RecoveryPoint};

pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &ChooseRecoveryPoint,
) -> Result<Observation, ActionError> {
    let sought = Sought { wanted: pinned(with), damaged: None };
    let measured = measure(clients, &with.region, sought).await?;
    let chosen = call.choice.as_ref().map(|choice| choice.id.clone());
    let mut seen = Observation::new(json!({ "chosen": null }), json!({ "chosen": chosen }));
    seen.satisfied = false;
    seen.evidence = measured.evidence;
    if let Some(recovered) = measured.recovered
        && chosen.is_none()
    {
        seen.evidence.insert(0, recovered.line.clone());
        if pinned(with).is_none_or(|kind| kind == kind_of(&recovered.point)) {
            seen.live = json!({ "chosen": "recovered", "instance": recovered.point.target });
            seen.desired = seen.live.clone();
            seen.satisfied = true;
            seen.outputs = outputs(&recovered.point, false);
            return Ok(seen);
        }
    }
    seen.choices = choice::offered(measured.candidates, pinned(with))?;
    if seen.choices.iter().all(|candidate| candidate.unusable.is_some()) {
        return Err(nothing_usable(&with.region, &seen.choices));
    }
    seen.context = json!({ "choices": seen.choices });
    seen.commands = commands(clients, &with.region, &seen.choices);
    Ok(seen)
}

/// Returns what a person types for each candidate that can be taken.
fn commands(clients: &Clients, region: &str, candidates: &[Candidate]) -> Vec<String> {
    let usable = candidates.iter().filter(|candidate| candidate.unusable.is_none());
    let lines = usable.flat_map(|candidate| {
        let point = RecoveryPoint::of(candidate).ok();
        let head = format!("# {}:", candidate.id);
        std::iter::once(head).chain(
            point
                .into_iter()
                .flat_map(|point| by_hand::recovery_from(&clients.estate, region, &point, "")),
        )
    });
    lines.collect()
}

pub(crate) fn perform(
    _armed: &Armed,
    call: &Call,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let chosen =
        choice::taken(call, seen, "name one: --recovery-point replica, backup or snapshot")?;
    let point = RecoveryPoint::of(chosen).map_err(|error| {
        let message = format!("read the chosen recovery point: {error}");
        ActionError::unchanged(FailureClass::Internal, message)
    })?;
    Ok(Performed {
        after: json!({ "chosen": chosen.id }),
        outputs: outputs(&point, chosen.reversible),
        obligations: Vec::new(),
        notes: vec![format!("recovery point: {}", chosen.title)],
    })
}

/// Returns the recovery point with the least known loss, for a step that names none.
pub(super) async fn best(clients: &Clients, region: &str) -> Result<RecoveryPoint, ActionError> {
    let measured = measure(clients, region, Sought::default()).await?;
    if let Some(recovered) = measured.recovered {
        return Ok(recovered.point);
    }
    let usable = measured.candidates.iter().find(|candidate| candidate.unusable.is_none());
    let Some(best) = usable else {
        return Err(nothing_usable(region, &measured.candidates));
    };
    RecoveryPoint::of(best).map_err(|error| {
        ActionError::unchanged(FailureClass::Internal, format!("read a recovery point: {error}"))
    })
}

/// Returns the name a recovery point has among the candidates.
const fn kind_of(point: &RecoveryPoint) -> &'static str {
    match point.method {
        RecoveryMethod::Promote => "replica",
        RecoveryMethod::RestorePointInTime => "backup",
        RecoveryMethod::RestoreSnapshot => "snapshot",
    }
}

/// Returns the kind the runbook or the operator has named beforehand: it wins over whatever is found.
fn pinned(with: &ChooseRecoveryPoint) -> Option<&str> {
    with.choose.as_deref().filter(|kind| *kind != "ask")
}

fn nothing_usable(region: &str, candidates: &[Candidate]) -> ActionError {
    let reasons: Vec<String> = candidates
        .iter()
        .map(|candidate| {
            format!("{}: {}", candidate.title, candidate.unusable.as_deref().unwrap_or("usable"))
        })
        .collect();
    let message = format!("no recovery point in {region} can be taken ({})", reasons.join("; "));
    ActionError::unchanged(FailureClass::NotFound, message)
        .hint("repair one of them, or restore a dump by hand and mark the step done")
}

pub(super) fn outputs(point: &RecoveryPoint, reversible: bool) -> Map<String, Value> {
    let outputs = json!({ "point": point, "method": point.method, "reversible": reversible });
    outputs.as_object().cloned().unwrap_or_default()
}
