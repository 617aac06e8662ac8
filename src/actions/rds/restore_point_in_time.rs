//! `rds.restore_point_in_time`: restores an automated backup, replicated or of the database's own region, beside it.

use aws_smithy_types::DateTime;
use jiff::Timestamp;

use super::restore::{self, Restore, Source};
use super::{database, remove, source};
use crate::clients::Clients;
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::outcome::{ActionError, FailureClass};
use crate::runbook::catalogue::actions::RestorePointInTime;

pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &RestorePointInTime,
) -> Result<Observation, ActionError> {
    restore::observe(clients, call, &resolve(clients, with).await?).await
}

pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &RestorePointInTime,
    _seen: &Observation,
) -> Result<Performed, ActionError> {
    restore::perform(clients, call, &resolve(clients, with).await?).await
}

pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &RestorePointInTime,
    image: &Image,
) -> Result<(), ActionError> {
    remove::revert(clients, call, &with.region, &target(clients, with)?, image).await
}

async fn resolve(clients: &Clients, with: &RestorePointInTime) -> Result<Restore, ActionError> {
    let arn = match &with.backup {
        Some(arn) => arn.clone(),
        None => source::backup(clients, &with.region).await?.ok_or_else(|| missing(with))?.arn,
    };
    let time = with.time.as_deref().map(instant).transpose()?;
    let target = target(clients, with)?;
    Ok(Restore { region: with.region.clone(), target, source: Source::Backup { arn, time } })
}

fn instant(text: &str) -> Result<DateTime, ActionError> {
    let time: Timestamp = text.parse().map_err(|_| {
        let message = format!("`{text}` is not an instant; write it like 2026-11-22T02:12:00Z");
        ActionError::unchanged(FailureClass::Invalid, message)
    })?;
    Ok(DateTime::from_secs(time.as_second()))
}

fn target(clients: &Clients, with: &RestorePointInTime) -> Result<String, ActionError> {
    match &with.target {
        Some(target) => Ok(target.clone()),
        None => Ok(database(clients)?.recovered.id.clone()),
    }
}

fn missing(with: &RestorePointInTime) -> ActionError {
    let message = format!("there is no automated backup of the primary in {}", with.region);
    ActionError::unchanged(FailureClass::NotFound, message)
        .hint("take another recovery point; replicate automated backups before the next failure")
}
