//! Sessions with the simulated servers of a rehearsal.

use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::NoTls;

use super::connect::{CONNECT_LIMIT, GREET_LIMIT, greet, no_greeting};
use super::{NoSession, Session};
use crate::clients::Clients;
use crate::clients::tcp::{self, Failure};
use crate::clock::within;
use crate::sandbox::Sandbox;

/// Connects to a simulated server: over a stream in memory, without a password.
pub(super) async fn connect(
    clients: &Clients,
    sandbox: &Sandbox,
    instance: &str,
    address: String,
) -> Result<Session, NoSession> {
    let no_way = |failure: Failure| {
        let (address, said) = (address.clone(), failure.to_string());
        match failure {
            Failure::Unreachable(_) => NoSession::Unreachable { address, said },
            Failure::Unclear(_) => NoSession::Unclear { address, said },
        }
    };
    let (host, port) = tcp::split(&address, Some(5432)).map_err(no_way)?;
    let stream = sandbox.postgres(host, port, CONNECT_LIMIT).await;
    let stream = stream.map_err(|found| no_way(tcp::simulated(found, CONNECT_LIMIT)))?;
    let mut config = Config::new();
    config.user("rehearsal").ssl_mode(SslMode::Disable);
    match within(clients.clock.as_ref(), GREET_LIMIT, greet(&config, stream, NoTls)).await {
        Ok(Ok(client)) => Ok(Session { client, reads_only: false, address }),
        Ok(Err(error)) => Err(no_greeting(instance, address, &error)),
        Err(elapsed) => Err(NoSession::Unreachable { address, said: elapsed.to_string() }),
    }
}
