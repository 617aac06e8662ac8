//! What SQL says of an instance: how far a replica has replayed, and whether an instance takes writes.
//!
//! The one place where RDS actions meet PostgreSQL.

use super::instance::Instance;
use super::watch::Watch;
use crate::clients::Clients;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};
use crate::span::Span;

/// Returns how far behind its source a replica is, or why that cannot be known.
pub(super) async fn replica_lag(
    _clients: &Clients,
    _region: &str,
    replica: &Instance,
) -> Result<Span, String> {
    Err(format!("{} was not asked by SQL", replica.id))
}

/// Waits until an instance proves by SQL that it takes writes; returns what it said.
pub(super) async fn writable(
    clients: &Clients,
    call: &Call,
    region: &str,
    found: &Instance,
    watch: &Watch<'_>,
) -> Result<Vec<String>, ActionError> {
    let _ = (clients, call, region, watch);
    let message = format!("{} cannot be asked by SQL", found.id);
    Err(ActionError::applied(FailureClass::Internal, message))
}
