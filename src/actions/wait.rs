//! `wait`: lets time pass. Changes nothing.

use serde_json::{Map, json};

use crate::clients::Clients;
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::outcome::{ActionError, Difference};
use crate::runbook::catalogue::actions::Wait;

/// Satisfied when there is nothing to wait for.
pub(crate) async fn observe(
    _clients: &Clients,
    _call: &Call,
    with: &Wait,
) -> Result<Observation, ActionError> {
    let mut seen =
        Observation::new(json!({ "waited": with.length.0.is_zero() }), json!({ "waited": true }));
    // Who decides is told what they decide on, and not that a second passes.
    seen.evidence.extend(with.told.iter().filter(|told| !told.is_empty()).cloned());
    if !seen.satisfied && with.told.is_empty() {
        let to = with.length.to_string();
        seen.differences = vec![Difference { what: "time".to_owned(), from: "now".to_owned(), to }];
    }
    Ok(seen)
}

/// Waits.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &Wait,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    call.progress.tell(format!("waiting {}", with.length), None);
    clients.clock.sleep(with.length.0).await;
    Ok(Performed {
        after: seen.desired.clone(),
        outputs: Map::new(),
        obligations: Vec::new(),
        notes: Vec::new(),
    })
}

/// Time does not come back, and nothing was changed.
pub(crate) async fn revert(
    _clients: &Clients,
    _armed: &Armed,
    _call: &Call,
    _with: &Wait,
    _image: &Image,
) -> Result<(), ActionError> {
    Ok(())
}
