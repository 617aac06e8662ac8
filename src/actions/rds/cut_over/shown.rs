//! Where the endpoint leads, shown by what this run wrote: RDS's names say nothing of it, and the damaged instance may answer
//! nobody, or only where its new name has no address from here.

use std::time::Duration;

use crate::actions::postgres::roles;
use crate::actions::rds::instance::{Instance, Phase};
use crate::actions::rds::proof;
use crate::actions::rds::watch::Watch;
use crate::clients::Clients;
use crate::clients::postgres::{Stands, leads_to_written};
use crate::engine::ports::Call;
use crate::ids::RunId;
use crate::outcome::{ActionError, Effect, FailureClass};
use crate::runbook::catalogue::actions::RdsCutOver;

/// A name's new address is known everywhere within this time; that of RDS's names is 5 seconds old at most.
const RESOLVES: Duration = Duration::from_secs(5 * 60);
const PAUSE: Duration = Duration::from_secs(5);

/// The step by whose name the proof under the new name is written: the run itself has written to the restored instance before,
/// under the name it was restored as.
fn by_step(call: &Call) -> Call {
    Call { run: RunId(call.token()), ..call.clone() }
}

/// Holds that the restored instance has a row of this run, by which it is known again under the other name.
pub(super) async fn known(
    clients: &Clients,
    call: &Call,
    with: &RdsCutOver,
    restored: &Instance,
) -> Result<(), ActionError> {
    let address = restored.endpoint.as_deref();
    match leads_to_written(clients, &restored.id, address, &call.run).await? {
        Stands::Proved => return Ok(()),
        Stands::NotYet { why } => call.progress.tell(why, None),
    }
    let watch = Watch::new(clients, call, &with.region, &restored.id);
    let proof = proof::writable(clients, call, &with.region, restored, None, &watch).await;
    // A row of this program's own is in it at most: nothing has another name.
    proof.map(drop).map_err(|error| ActionError { effect: Effect::None, ..error })
}

/// Returns what is missing of the proof under the name, by reads alone; `None` where this step has made it.
pub(super) async fn missing(clients: &Clients, call: &Call, restored: &Instance) -> Option<String> {
    if restored.phase() != Phase::Usable || restored.endpoint.is_none() {
        return Some(format!("{} is `{}`", restored.id, restored.status));
    }
    proof::missing(clients, restored, &by_step(call).run).await
}

/// Proves that the name leads to the restored instance, and that the application's roles and a row that stays get in there.
pub(super) async fn proved(
    clients: &Clients,
    call: &Call,
    with: &RdsCutOver,
    restored: &Instance,
) -> Result<Vec<String>, ActionError> {
    // Before anything is written: an endpoint that leads to the damaged instance would take it.
    leads_there(clients, call, with, restored).await?;
    let address = restored.endpoint.as_deref();
    let mut notes = roles::write(clients, &restored.id, address, &call.run).await?;
    let watch = Watch::new(clients, call, &with.region, &restored.id);
    // Last, for it stays: where it is found all of this was proved.
    let call = by_step(call);
    notes.extend(proof::writable(clients, &call, &with.region, restored, None, &watch).await?);
    Ok(notes)
}

/// Waits until the name leads to where this run has written, from here.
async fn leads_there(
    clients: &Clients,
    call: &Call,
    with: &RdsCutOver,
    restored: &Instance,
) -> Result<(), ActionError> {
    let watch = Watch::new(clients, call, &with.region, &with.instance);
    loop {
        let address = restored.endpoint.as_deref();
        let why = match leads_to_written(clients, &with.instance, address, &call.run).await {
            Ok(Stands::Proved) => return Ok(()),
            Ok(Stands::NotYet { why }) => format!("does not lead to {} yet: {why}", with.restored),
            Err(error) if error.class.retryable() => format!("cannot be asked: {error}"),
            Err(error) => return Err(error),
        };
        if watch.waited() >= RESOLVES || !watch.goes_on() {
            let message = format!("the endpoint of {} {why}", with.instance);
            return Err(ActionError::applied(FailureClass::Overdue, message).hint(format!(
                "compare `database.primary.address` and `database.addresses.{}` of the estate file, and where a port forward \
                 (`via`) leads, with the endpoint; a retry looks again",
                with.instance
            )));
        }
        watch.tell(&why);
        clients.clock.sleep(PAUSE).await;
    }
}
