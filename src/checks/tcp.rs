//! Check `tcp`: whether an address accepts a connection, or cannot be reached.
//!
//! A database instance is reached as the estate says. Through a port forward a connection says nothing, for the forward
//! accepts it itself: there PostgreSQL must say a word.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Seen;
use super::control::{Reached, Round, judge};
use crate::clients::postgres::{address, database, way};
use crate::clients::tcp::{self, Failure};
use crate::clients::via;
use crate::clients::{Clients, Network};
use crate::clock::within;
use crate::runbook::catalogue::checks::Tcp;
use crate::span::Span;

const LIMIT: Duration = Duration::from_secs(3);

/// What a PostgreSQL client asks first: whether the server speaks TLS. It is answered by one byte, without a login.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Looks once.
pub(crate) async fn look(clients: &Clients, with: &Tcp, round: &Round) -> Seen {
    let limit = with.timeout.map_or(LIMIT, Span::duration);
    let reached = match (&with.address, &with.instance) {
        (Some(address), None) => connected(clients, address, limit).await,
        (None, Some(instance)) => match instance_reached(clients, instance, limit).await {
            Ok(reached) => reached,
            Err(said) => return Seen::unclear(said),
        },
        (Some(_), Some(_)) | (None, None) => {
            return Seen::unclear("exactly one of `address` and `instance` is needed");
        }
    };
    let value = json!({ "connected": matches!(reached, Reached::Yes(_)) });
    judge(clients, round, with.expect, with.control.as_deref(), reached, value).await
}

async fn connected(clients: &Clients, address: &str, limit: Duration) -> Reached {
    match tcp::reach(clients, address, limit).await {
        Ok(()) => Reached::Yes("accepts connections".to_owned()),
        Err(failure) => no_connection(failure),
    }
}

fn no_connection(failure: Failure) -> Reached {
    match failure {
        Failure::Unreachable(said) => Reached::No(said),
        Failure::Unclear(said) => Reached::Unclear(said),
    }
}

/// Tries an instance; the error is what keeps this host from trying at all.
async fn instance_reached(
    clients: &Clients,
    instance: &str,
    limit: Duration,
) -> Result<Reached, String> {
    let database = database(clients).map_err(|error| error.message)?;
    let address = address(clients, instance, None).map_err(|error| error.message)?;
    let via = way(database, instance);
    via::open(clients, via).await.map_err(|error| format!("no way there: {error}"))?;
    if via.command.is_none() || matches!(clients.network, Network::Simulated(_)) {
        return Ok(connected(clients, &address, limit).await);
    }
    let clock = clients.clock.as_ref();
    let stream = match tcp::connect(clock, &address, limit).await {
        Ok(stream) => stream,
        // What is refused here is refused by the forward.
        Err(failure) => return Ok(Reached::Unclear(format!("the port forward: {failure}"))),
    };
    Ok(match within(clock, limit, word(stream)).await {
        Ok(Some(_)) => Reached::Yes("PostgreSQL answers".to_owned()),
        Ok(None) => Reached::No("the port forward finds nothing there".to_owned()),
        // A forward that hangs and a server that hangs look the same from here.
        Err(_) => {
            Reached::Unclear(format!("no answer through the port forward in {}", Span(limit)))
        }
    })
}

/// Asks PostgreSQL for its first byte; `None` when the connection is closed without one.
async fn word(mut stream: TcpStream) -> Option<u8> {
    stream.write_all(&SSL_REQUEST).await.ok()?;
    stream.read_u8().await.ok()
}
