//! Whether the restored database has room on the disk of its server, as far as that can be told from here.

use std::path::Path;

use crate::actions::postgres::drafts::{bytes, free};
use crate::actions::postgres::server::beside;
use crate::clients::Clients;
use crate::clients::postgres::{database, way};
use crate::clients::tcp;
use crate::outcome::{ActionError, FailureClass};

/// Says how much room a restored database needs and there is; an error where that is too little.
///
/// The dumped database's own size is what is needed: what of it was empty is not known. Only the disk of a server on this
/// host can be looked at.
pub(super) async fn room(
    clients: &Clients,
    instance: &str,
    needed: u64,
) -> Result<String, ActionError> {
    let Some((place, free)) = disk(clients, instance).await? else {
        return Ok(format!(
            "about {} are needed on the disk of {instance}: how much is free there is not known from here",
            bytes(needed)
        ));
    };
    if free < needed {
        let message = format!(
            "{place}, where {instance} has its data, has {} free, and the dumped database had {}",
            bytes(free),
            bytes(needed)
        );
        return Err(
            ActionError::unchanged(FailureClass::Capacity, message).hint(hint(instance, needed))
        );
    }
    Ok(format!("about {} are needed in {place}, {} are free there", bytes(needed), bytes(free)))
}

/// Says what to do where there is too little room.
pub(super) fn hint(instance: &str, needed: u64) -> String {
    format!(
        "make room for {} on the disk of {instance}, or grow it, and try again: the damaged database is still on it",
        bytes(needed)
    )
}

/// Returns where a server of this host has its data, and what is free there; `None` where it is not of this host, or keeps
/// that to itself.
async fn disk(clients: &Clients, instance: &str) -> Result<Option<(String, u64)>, ActionError> {
    let forwarded = way(database(clients)?, instance).command.is_some();
    let mut session = beside(clients, instance).await?;
    let here = tcp::split(&session.address, None).is_ok_and(|(host, _)| tcp::is_loopback(host));
    if forwarded || !here {
        return Ok(None);
    }
    let what = format!("ask {instance} where its data is");
    // Who may not know it is told nothing. A forward of somebody else's, or a container, has another address than this.
    let sql = "select (select setting from pg_settings where name = 'data_directory'), \
         coalesce(inet_server_addr() <<= '127.0.0.0/8' or inet_server_addr() = '::1', true)";
    let row = session.read_one(clients, &what, sql, &[]).await?;
    let unreadable = |error: tokio_postgres::Error| {
        ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
    };
    let place: Option<String> = row.try_get(0).map_err(unreadable)?;
    let own: bool = row.try_get(1).map_err(unreadable)?;
    let place = place.filter(|_| own);
    Ok(place.and_then(|place| free(Path::new(&place)).map(|free| (place, free))))
}
