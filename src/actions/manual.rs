//! `manual`: work of a person. The engine asks; nothing here touches the world.

use serde_json::{Value, json};

use crate::clients::Clients;
use crate::engine::ports::{Armed, ByHand, Call, Image, Observation, Performed};
use crate::outcome::{ActionError, FailureClass, Fidelity, Obligation};
use crate::runbook::catalogue::actions::Manual;

/// Says what a person has to do, and whether the run waits for it.
pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &Manual,
) -> Result<Observation, ActionError> {
    let mut lines = vec![with.say.clone()];
    if let Some(due) = with.due {
        lines.push(format!("Due {due} after the incident began."));
    }
    if let Some(message) = &with.message {
        lines.push("Ready to paste:".to_owned());
        lines.push(clients.mode().message(message));
    }
    let later = with.later.then(|| Obligation {
        id: format!("manual-{}", call.step),
        say: lines.first().cloned().unwrap_or_default(),
        how: lines.iter().skip(1).cloned().collect::<Vec<_>>().join(" "),
        closed_by: None,
    });
    let mut seen = Observation::new(json!({ "done": Value::Null }), json!({ "done": true }));
    seen.tells = false;
    seen.fidelity = Fidelity::Resolved;
    seen.by_hand = Some(ByHand { lines, evidence: with.evidence.clone(), later });
    Ok(seen)
}

/// Never performed: a person does it.
pub(crate) async fn perform(
    _clients: &Clients,
    _armed: &Armed,
    _call: &Call,
    _with: &Manual,
    _seen: &Observation,
) -> Result<Performed, ActionError> {
    Err(ActionError::unchanged(FailureClass::Invalid, "a person does this; it cannot be performed"))
}

/// A person's work is a person's to undo.
pub(crate) async fn revert(
    _clients: &Clients,
    _armed: &Armed,
    _call: &Call,
    with: &Manual,
    _image: &Image,
) -> Result<(), ActionError> {
    Err(ActionError::unchanged(
        FailureClass::Invalid,
        format!("a person did this and must undo it: {}", with.say),
    ))
}
