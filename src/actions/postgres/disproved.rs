//! What a look at a restored database says of the backup it was restored from: where that is damaged, that it does not count as
//! proved any more; where all of it is sound, that it does not carry damage of pages.
//!
//! The backup is known by what the restore left: the mark in the data directory of a server of this host, the tags of an
//! instance of RDS. Only what this very run has restored tells of its backup: what is damaged later was damaged here.

use super::base::BaseBackups;
use super::point_in_time::restored_from;
use super::proofs::{Proof, Proved, ProvedBy};
use crate::actions::rds::record;
use crate::clients::Clients;
use crate::clients::postgres::database;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, WARNS};

/// Voids the proof of the backup an instance was restored from, where this run has restored it; returns what is to be told,
/// for what was found is a result all the same.
pub(super) async fn void(
    clients: &Clients,
    call: &Call,
    (instance, region): (&str, &str),
) -> Option<String> {
    voided(clients, call, (instance, region)).await.unwrap_or_else(|error| {
        Some(format!(
            "{WARNS}the backup {instance} was restored from may still count as proved: {error}"
        ))
    })
}

/// Keeps that all of a server made of a base backup was read and is sound, where this run has restored it; returns what is to be
/// told where that cannot be kept.
pub(super) async fn confirm(clients: &Clients, call: &Call, instance: &str) -> Option<String> {
    confirmed(clients, call, instance).await.unwrap_or_else(|error| {
        Some(format!(
            "that the backup {instance} was restored from is sound could not be kept: {error}"
        ))
    })
}

async fn confirmed(
    clients: &Clients,
    call: &Call,
    instance: &str,
) -> Result<Option<String>, ActionError> {
    let recovered = &database(clients)?.recovered;
    let Some(server) = recovered.server.as_ref().filter(|_| recovered.id == instance) else {
        return Ok(None);
    };
    let Some((backup, digest)) = restored_from(server, call)? else { return Ok(None) };
    let proofs = BaseBackups::of(clients)?.proofs();
    let known = proofs.find(clients, &backup, &digest).await?;
    let took = known.and_then(|known| known.took);
    let proved = Proved { backup: &backup, digest: &digest, by: ProvedBy::Sound, took };
    Ok(proofs.keep_unless_failed(clients, &Proof::of(clients, call, proved)).await)
}

async fn voided(
    clients: &Clients,
    call: &Call,
    (instance, region): (&str, &str),
) -> Result<Option<String>, ActionError> {
    let database = database(clients)?;
    let recovered = database.recovered.id == instance;
    if !database.on_rds() {
        let Some(server) = database.recovered.server.as_ref().filter(|_| recovered) else {
            return Ok(None);
        };
        let Some((backup, digest)) = restored_from(server, call)? else { return Ok(None) };
        let proved =
            Proved { backup: &backup, digest: &digest, by: ProvedBy::Recovery, took: None };
        let proofs = BaseBackups::of(clients)?.proofs();
        let why = format!("{instance}, which was restored from it, was found damaged");
        return Ok(Some(proofs.void(clients, Proof::of(clients, call, proved), &why).await));
    }
    // After a cut over the restored instance has the name of the damaged one.
    let renamed = database.application.as_ref().is_some_and(|application| application.rename);
    if !recovered && !renamed {
        return Ok(None);
    }
    Ok(record::found_damaged(clients, call, region, instance).await)
}
