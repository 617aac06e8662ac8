//! What SQL says of an instance: how far a replica has replayed, and whether an instance takes writes.
//!
//! The one place where RDS actions meet PostgreSQL.

use std::time::Duration;

use super::instance::Instance;
use super::watch::Watch;
use crate::clients::Clients;
use crate::clients::postgres;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, Effect};
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
) -> Result<Span, String> {
    let asked = postgres::replay_lag(clients, &replica.id, region, replica.endpoint.as_deref());
    match asked.await {
        Ok(Some(lag)) => Ok(lag),
        Ok(None) => Err(format!("{} has replayed nothing that tells its lag", replica.id)),
        Err(error) => Err(error.message),
    }
}

/// Waits until an instance proves by SQL that it takes writes; returns what it said.
pub(super) async fn writable(
    clients: &Clients,
    call: &Call,
    region: &str,
    found: &Instance,
    watch: &Watch<'_>,
) -> Result<Vec<String>, ActionError> {
    let began = watch.waited();
    loop {
        let address = found.endpoint.as_deref();
        let proof = postgres::prove_writable(clients, &found.id, region, address, &call.run).await;
        let error = match proof {
            Ok(writable) => {
                let (id, identity) = (&found.id, writable.identity);
                let mut notes = vec![format!(
                    "{id} takes writes: a row was written and read back ({identity})"
                )];
                if writable.lifted_fence {
                    notes.push(format!(
                        "the old primary's fence had come over to {id}; lifted there"
                    ));
                }
                return Ok(notes);
            }
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
