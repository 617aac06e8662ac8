//! What SQL says of an instance: how far a replica has replayed, and whether an instance takes writes.
//!
//! The one place where RDS actions meet PostgreSQL.

use std::time::Duration;

use super::instance::Instance;
use super::watch::Watch;
use crate::clients::Clients;
use crate::clients::postgres::{self, Lineage, Stands, Usage, Writable};
use crate::engine::ports::Call;
use crate::ids::RunId;
use crate::outcome::{ActionError, Effect, FailureClass};
use crate::span::Span;

/// Pause between two tries to write.
const PAUSE: Duration = Duration::from_secs(3);

/// An instance that RDS calls usable must take a write within this time.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Returns how far behind its source a replica is, or why that cannot be known.
pub(super) async fn replica_lag(
    clients: &Clients,
    region: &str,
    replica: &Instance,
) -> Result<Span, ActionError> {
    let asked = postgres::replay_lag(clients, &replica.id, region, replica.endpoint.as_deref());
    asked.await?.ok_or_else(|| {
        let message = format!("{} has replayed nothing that tells its lag", replica.id);
        ActionError::unchanged(FailureClass::NotFound, message)
    })
}

/// Asks a replica which server it is. `Conflict`: the connection leads to a server that takes writes, so not to it.
pub(super) async fn replica(
    clients: &Clients,
    found: &Instance,
) -> Result<Option<Lineage>, ActionError> {
    let server = postgres::server(clients, &found.id, found.endpoint.as_deref()).await?;
    if server.in_recovery {
        return Ok(server.lineage);
    }
    let id = &found.id;
    let message =
        format!("{id} is a replica, and the connection to it leads to a server that takes writes");
    Err(ActionError::unchanged(FailureClass::Conflict, message).hint(format!(
        "correct `database.addresses.{id}` or the port forward (`via`) in the estate file"
    )))
}

/// Waits until an instance proves by SQL that it takes writes and is not the lost one; returns what it said.
pub(super) async fn writable(
    clients: &Clients,
    call: &Call,
    region: &str,
    found: &Instance,
    before: Option<&Lineage>,
    watch: &Watch<'_>,
) -> Result<Vec<String>, ActionError> {
    let began = watch.waited();
    let (id, address) = (&found.id, found.endpoint.as_deref());
    loop {
        let proof = postgres::prove_writable(clients, id, region, address, &call.run, before).await;
        let error = match proof {
            Ok(writable) => return Ok(said(id, writable)),
            Err(error) => error,
        };
        if !error.class.retryable() || watch.waited() - began > PATIENCE {
            // Whatever SQL said, the instance was promoted or made before it was asked.
            return Err(ActionError { effect: Effect::Applied, ..error });
        }
        watch.tell(&format!("does not take writes yet: {error}"));
        clients.clock.sleep(PAUSE).await;
    }
}

fn said(id: &str, writable: Writable) -> Vec<String> {
    let identity = writable.identity;
    let mut notes =
        vec![format!("{id} takes writes: a row was written and read back ({identity})")];
    if writable.lifted_fence {
        notes.push(format!("the old primary's fence had come over to {id}; lifted there"));
    }
    if !writable.locked.is_empty() {
        let roles = writable.locked.join(", ");
        notes.push(format!("{roles} may not log in to {id}, and no fence of phoenix-dr did that"));
    }
    notes
}

/// Asks an instance who uses it.
pub(super) async fn usage(clients: &Clients, found: &Instance) -> Result<Usage, ActionError> {
    postgres::usage(clients, &found.id, found.endpoint.as_deref()).await
}

/// Looks whether a run has proved an instance: `None` when it has, else what is missing.
///
/// RDS calls an instance usable before SQL was asked; after an interruption only SQL knows whether the proof was made.
pub(super) async fn missing(clients: &Clients, found: &Instance, run: &RunId) -> Option<String> {
    match postgres::stands(clients, &found.id, found.endpoint.as_deref(), run).await {
        Ok(Stands::Proved) => None,
        Ok(Stands::NotYet { why }) => Some(why),
        Err(error) => Some(format!("{} cannot be asked: {error}", found.id)),
    }
}
