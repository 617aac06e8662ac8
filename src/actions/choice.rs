//! A choice among recovery points, whatever they are of: what is offered, and what was taken.

use crate::engine::ports::{Call, Observation};
use crate::outcome::{ActionError, Candidate, FailureClass};

/// Returns what is to be chosen from: the one that was named, or all of them where it cannot be taken, for it is never
/// replaced by another unasked.
pub(super) fn offered(
    all: Vec<Candidate>,
    named: Option<&str>,
) -> Result<Vec<Candidate>, ActionError> {
    let Some(id) = named else { return Ok(all) };
    match all.iter().find(|candidate| candidate.id == id) {
        Some(found) if found.unusable.is_none() => Ok(vec![found.clone()]),
        Some(_) => Ok(all),
        None => {
            let known: Vec<&str> = all.iter().map(|candidate| candidate.id.as_str()).collect();
            let message = format!("there is no recovery point `{id}`");
            Err(ActionError::unchanged(FailureClass::NotFound, message)
                .hint(format!("take one of: {}", known.join(", "))))
        }
    }
}

/// Returns the one that was chosen, or the only one there is; `hint` says how one is named.
pub(super) fn taken<'a>(
    call: &'a Call,
    seen: &'a Observation,
    hint: &str,
) -> Result<&'a Candidate, ActionError> {
    let ((Some(chosen), _) | (None, [chosen])) = (&call.choice, seen.choices.as_slice()) else {
        let message = "no recovery point was chosen";
        return Err(ActionError::unchanged(FailureClass::Invalid, message).hint(hint));
    };
    match &chosen.unusable {
        None => Ok(chosen),
        Some(why) => {
            let message = format!("{} cannot be taken: {why}", chosen.title);
            Err(ActionError::unchanged(FailureClass::Invalid, message))
        }
    }
}
