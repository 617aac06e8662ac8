//! `rds.restore_snapshot`: restores a snapshot beside the lost database.

use super::restore::{self, Restore, Source};
use super::{database, remove, source};
use crate::clients::Clients;
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::outcome::{ActionError, FailureClass};
use crate::runbook::catalogue::actions::RestoreSnapshot;

pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &RestoreSnapshot,
) -> Result<Observation, ActionError> {
    restore::observe(clients, call, &resolve(clients, with).await?).await
}

pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &RestoreSnapshot,
    _seen: &Observation,
) -> Result<Performed, ActionError> {
    restore::perform(clients, call, &resolve(clients, with).await?).await
}

pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &RestoreSnapshot,
    image: &Image,
) -> Result<(), ActionError> {
    remove::revert(clients, call, &with.region, &target(clients, with)?, image).await
}

async fn resolve(clients: &Clients, with: &RestoreSnapshot) -> Result<Restore, ActionError> {
    let id = match &with.snapshot {
        Some(id) => id.clone(),
        None => {
            let found = source::snapshots(clients, &with.region, None).await?;
            found.first.ok_or_else(|| missing(with))?.id
        }
    };
    let target = target(clients, with)?;
    Ok(Restore { region: with.region.clone(), target, source: Source::Snapshot { id } })
}

fn target(clients: &Clients, with: &RestoreSnapshot) -> Result<String, ActionError> {
    match &with.target {
        Some(target) => Ok(target.clone()),
        None => Ok(database(clients)?.recovered.id.clone()),
    }
}

fn missing(with: &RestoreSnapshot) -> ActionError {
    let message = format!("no usable snapshot of the primary is in {}", with.region);
    ActionError::unchanged(FailureClass::NotFound, message)
        .hint("take another recovery point; copy snapshots to the region before the next failure")
}
