//! What a recovery will give: the instance and the address that later steps use.

use super::candidates::outputs;
use super::instance::find;
use crate::actions::foresee::Foreseen;
use crate::clients::Clients;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};
use crate::runbook::catalogue::actions::{RecoveryMethod, RecoveryPoint};

/// Returns what the choice gives that the call carries.
pub(in crate::actions) fn chosen(call: &Call) -> Result<Option<Foreseen>, ActionError> {
    let Some(choice) = &call.choice else { return Ok(None) };
    let point = RecoveryPoint::of(choice).map_err(|error| {
        let message = format!("read a recovery point: {error}");
        ActionError::unchanged(FailureClass::Internal, message)
    })?;
    Ok(Some(Foreseen { outputs: outputs(&point, choice.reversible), certain: true }))
}

/// Returns what recovering from a point gives.
pub(in crate::actions) async fn recovered(
    clients: &Clients,
    region: &str,
    point: &RecoveryPoint,
) -> Foreseen {
    let id = match point.method {
        RecoveryMethod::Promote if !point.recovered => &point.source,
        RecoveryMethod::Promote
        | RecoveryMethod::RestorePointInTime
        | RecoveryMethod::RestoreSnapshot => &point.target,
    };
    instance(clients, region, id).await
}

/// Returns what an instance gives that takes writes later; one that does not exist yet has a name in place of an
/// address, which no resolver knows.
pub(in crate::actions) async fn instance(clients: &Clients, region: &str, id: &str) -> Foreseen {
    if let Ok(Some(found)) = find(clients, region, id).await
        && let Some(outputs) = found.outputs(clients)
    {
        return Foreseen { outputs, certain: true };
    }
    let named = clients.estate.database.as_ref().and_then(|database| database.addresses.get(id));
    let address = named.cloned().unwrap_or_else(|| format!("{id}.invalid:5432"));
    Foreseen::unmade(id, &address)
}
