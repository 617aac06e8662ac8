//! Whether the database that is given up is still closed: restoring another takes hours, and what the application writes to it
//! until it is pointed elsewhere would be lost.

use serde_json::Value;

use crate::actions::rds::cut_over::{not_asked, still_open};
use crate::by_hand;
use crate::clients::postgres::{database, identifier};
use crate::clients::{Clients, Network};
use crate::outcome::{ActionError, WARNS};
use crate::runbook::catalogue::actions::{DatabaseRepoint, FenceScope};

/// Until when what is written to it is lost.
const UNTIL: &str = "the application is pointed elsewhere";

/// Holds, until the application was told, that nobody has opened again what this program had closed. Returns what is to be known
/// of one that this program never closed, or that cannot be asked: it is gone on without, as it was before.
pub(super) async fn holds(
    clients: &Clients,
    with: &DatabaseRepoint,
    from: &Value,
    to: &Value,
) -> Result<Option<String>, ActionError> {
    let told = from["endpoint"] == to["endpoint"];
    let Some(damaged) = with.damaged.as_deref().filter(|_| !told) else { return Ok(None) };
    // No world has privileges: there this fence is played.
    if let Network::Simulated(_) = clients.network {
        return Ok(None);
    }
    match still_open(clients, damaged, None).await {
        Ok(None) => Ok(None),
        Ok(Some(open)) if open.closed_before => {
            Err(open.refused(damaged, UNTIL).hint(what_closes(clients, damaged)?))
        }
        Ok(Some(open)) => Ok(Some(format!("{WARNS}{}", open.line(damaged, UNTIL)))),
        Err(error) => Ok(Some(format!("{WARNS}{}", not_asked(damaged, &error)))),
    }
}

/// Says what to type to close it again.
fn what_closes(clients: &Clients, damaged: &str) -> Result<String, ActionError> {
    let known = database(clients)?;
    let (estate, region) = (&clients.estate, known.primary.region.as_str());
    let lines = by_hand::database::fence(estate, damaged, region, FenceScope::Database);
    let psql = lines.into_iter().find(|line| line.starts_with("psql ")).unwrap_or_default();
    Ok(format!(
        "close it again, and retry: {psql}; where {} is a superuser: alter database {} connection limit 0",
        known.connection.user,
        identifier(&known.name)
    ))
}
