//! Whether the application can use what it was told: its roles get in and write, and what it was told leads to where this run
//! has written.

use super::Scene;
use crate::actions::postgres::roles;
use crate::clients::Clients;
use crate::clients::postgres::{
    NoSession, Stands, connect, database, leads_to_written, prove_writable, stands,
    way_leads_to_written,
};
use crate::clients::tcp;
use crate::engine::ports::Call;
use crate::estate::types::TlsMode;
use crate::ids::RunId;
use crate::outcome::{ActionError, Effect, FailureClass, WARNS};
use crate::runbook::catalogue::actions::DatabaseRepoint;

/// By whose name the proof is written: it is of an instance and its address, so that a later run that finds both told finds it
/// proved as well. What a run has written by its own name was there before anything was told.
fn told(with: &DatabaseRepoint) -> RunId {
    RunId(format!("{} at {}", with.instance, with.address))
}

/// Holds that the application's roles get into the instance, before they are sent there.
pub(super) async fn lets_in(clients: &Clients, with: &DatabaseRepoint) -> Result<(), ActionError> {
    let session = connect(clients, &with.instance, Some(&with.address)).await;
    let mut session = session.map_err(|error| {
        let error = ActionError::from(error);
        let message = format!(
            "{} cannot be asked whether the application gets in, and nothing was told to it: {error}",
            with.instance
        );
        ActionError { message, ..error }
    })?;
    roles::let_in(clients, &with.instance, &mut session).await
}

/// Returns what is missing of the proof, by reads alone; `None` where it was made.
pub(super) async fn missing(clients: &Clients, with: &DatabaseRepoint) -> Option<String> {
    match stands(clients, &with.instance, Some(&with.address), &told(with)).await {
        Ok(Stands::Proved) => None,
        Ok(Stands::NotYet { why }) => Some(format!("the application was not seen to write: {why}")),
        Err(error) => Some(format!("{} cannot be asked: {error}", with.instance)),
    }
}

/// Proves it: a row of this run, read by the way the application was told, a write as each of its roles, and last a row that
/// stays and says that all of this was proved. Returns what was, a line each.
pub(super) async fn proved(
    clients: &Clients,
    call: &Call,
    with: &DatabaseRepoint,
    scene: &Scene<'_>,
) -> Result<Vec<String>, ActionError> {
    let DatabaseRepoint { region, instance, address, .. } = with;
    let write = |run: RunId| async move {
        prove_writable(clients, instance, region, Some(address.as_str()), &run, None).await
    };
    // What brought the instance up has left one, as a rule.
    let earlier = leads_to_written(clients, instance, Some(address.as_str()), &call.run);
    if earlier.await? != Stands::Proved {
        write(call.run.clone()).await?;
    }
    let mut notes = vec![way_in(clients, call, with, scene).await?];
    notes.extend(roles::write(clients, instance, Some(address.as_str()), &call.run).await?);
    let written = write(told(with)).await?;
    notes.push(format!(
        "{instance} takes writes: a row was written and read back ({})",
        written.identity
    ));
    Ok(notes)
}

/// Reads the endpoint back from where the application reads it, and looks whether what this run wrote is there.
async fn way_in(
    clients: &Clients,
    call: &Call,
    with: &DatabaseRepoint,
    scene: &Scene<'_>,
) -> Result<String, ActionError> {
    let (what, instance) = (scene.what(), with.instance.as_str());
    let (host, port) = scene.way_in(clients).await?;
    let way =
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let unseen = |said: &str| {
        format!(
            "{WARNS}{way}, which {what} names, was not tried from here: {said}; that the application's pods are connected is \
             for `postgres.connections` to say"
        )
    };
    if database(clients)?.connection.tls == TlsMode::Disable && !tcp::is_loopback(&host) {
        return Ok(unseen("its connections are not encrypted"));
    }
    let there = (instance, with.address.as_str());
    match way_leads_to_written(clients, there, &way, &call.run).await {
        Ok(Stands::Proved) => {
            Ok(format!("what was written to {instance} is read at {way}, which {what} names"))
        }
        Ok(Stands::NotYet { why }) => {
            let message = format!("{what} leads the application elsewhere: {why}");
            Err(ActionError::unchanged(FailureClass::Conflict, message).hint(format!(
                "compare the step's `address` with the endpoint of {instance}, and \
                 `database.addresses.{instance}` of the estate file with both"
            )))
        }
        // This host may have no way where the application has one.
        Err(NoSession::Unreachable { said, .. } | NoSession::Unclear { said, .. }) => {
            Ok(unseen(&said))
        }
        Err(
            NoSession::NoPassword(error) | NoSession::Damaged(error) | NoSession::Failed(error),
        ) => {
            let message = format!("{way}, which {what} names, lets nobody in: {error}");
            Err(ActionError { message, effect: Effect::None, ..error })
        }
    }
}
