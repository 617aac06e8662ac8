//! What leads to a name: it has no place for an IP address or a port, and resolvers keep what they were answered.

use std::net::IpAddr;
use std::time::Duration;

use crate::clients::Clients;
use crate::clients::tcp;
use crate::clock::since;
use crate::engine::ports::Call;
use crate::estate::types::Database;
use crate::outcome::{ActionError, FailureClass};
use crate::runbook::catalogue::actions::DatabaseRepoint;
use crate::span::Span;

const PORT: u16 = 5432;
const PAUSE: Duration = Duration::from_secs(2);
/// Time left at the end of an attempt to restart the application and to prove what it was told.
const RESERVE: Duration = Duration::from_secs(60);

/// Refuses an address that a name cannot lead to.
pub(super) fn fits(
    database: &Database,
    what: &str,
    with: &DatabaseRepoint,
    (host, port): (&str, u16),
) -> Result<(), ActionError> {
    let invalid = |message: String| ActionError::unchanged(FailureClass::Invalid, message);
    let DatabaseRepoint { instance, address, .. } = with;
    if host.parse::<IpAddr>().is_ok() {
        let message =
            format!("{what} leads to a name, and {instance} is at {address}, which has none");
        return Err(invalid(message).hint(format!(
            "give the server a name by a record of type A, and the step `address: NAME:{port}`; or tell the application by \
             `secret` or `config_map` in `database.application`, which hold an IP address as well"
        )));
    }
    let own = database.primary.address.as_deref();
    let used = own.and_then(|own| tcp::split(own, Some(PORT)).ok()).map_or(PORT, |(_, port)| port);
    if port != used {
        let message = format!(
            "{what} says nothing of a port: the application connects to {used} now, and {instance} listens at {port}"
        );
        return Err(invalid(message).hint(format!(
            "let {instance} listen at {used} (`recovered.server.listen` where it is a server of your own); or tell the \
             application by `secret` or `config_map` with a `port_key` in `database.application`"
        )));
    }
    Ok(())
}

/// Returns the time an attempt has for waiting, where it has an end.
pub(super) fn room(clients: &Clients, call: &Call) -> Option<Duration> {
    let end = call.progress.deadline()?;
    Some(since(clients.clock.now(), end).saturating_sub(RESERVE))
}

/// Refuses before anything is changed where what is kept outlasts the attempt: nothing would be restarted.
pub(super) fn outlasts(
    clients: &Clients,
    call: &Call,
    what: &str,
    kept: Duration,
) -> Result<(), ActionError> {
    let Some(room) = room(clients, call).filter(|room| *room < kept) else { return Ok(()) };
    let message = format!(
        "resolvers may keep what {what} says now for {}, and this attempt has {} to wait: nothing was changed",
        Span(kept),
        Span(room)
    );
    Err(ActionError::unchanged(FailureClass::Invalid, message).hint(format!(
        "give the step a `timeout` of more than {}, or lower the TTL by hand first and wait as long as it was",
        Span(kept + RESERVE)
    )))
}

/// Waits until no resolver keeps the former answer any more, as long as there is time: a pod that asks before may be sent back.
pub(super) async fn forgotten(clients: &Clients, call: &Call, what: &str, kept: Duration) {
    let began = clients.clock.now();
    let most = room(clients, call).map_or(kept, |room| room.min(kept));
    loop {
        let waited = since(began, clients.clock.now());
        let Some(left) = most.checked_sub(waited).filter(|left| !left.is_zero()) else { return };
        let said = format!(
            "{what}: resolvers may keep the former answer, {} more",
            Span::seconds(left.as_secs())
        );
        call.progress.tell(said, None);
        clients.clock.sleep(left.min(PAUSE)).await;
    }
}
