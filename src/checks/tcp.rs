//! Check `tcp`: whether an address accepts a connection, or cannot be reached.

use std::time::Duration;

use serde_json::json;

use super::Seen;
use super::control::{Reached, Round, judge};
use crate::clients::Clients;
use crate::clients::tcp::{self, Failure};
use crate::runbook::catalogue::checks::Tcp;
use crate::span::Span;

const LIMIT: Duration = Duration::from_secs(3);

/// Looks once.
pub(crate) async fn look(clients: &Clients, with: &Tcp, round: &Round) -> Seen {
    let limit = with.timeout.map_or(LIMIT, Span::duration);
    let reached = match tcp::connect(clients.clock.as_ref(), &with.address, limit).await {
        Ok(_) => Reached::Yes("accepts connections".to_owned()),
        Err(Failure::Unreachable(said)) => Reached::No(said),
        Err(Failure::Unclear(said)) => Reached::Unclear(said),
    };
    let value = json!({ "connected": matches!(reached, Reached::Yes(_)) });
    judge(clients, round, with.expect, with.control.as_deref(), reached, value).await
}
