//! Proofs on record where RDS keeps a backup itself: tags of the snapshot, or of the automated backup, say that an instance
//! restored from it took writes, when, by which step, and how long that took; or that such an instance was found damaged.
//!
//! They go where the backup goes and outlive the instance that was restored. Of an automated backup a proof says that it
//! could be restored from on that day; nobody has read what was written since.

use aws_sdk_rds::types::Tag;
use jiff::Timestamp;

use super::instance::find;
use super::restore::{Restore, Source, TAG_SOURCE, ours};
use super::{change_failure, source, tag};
use crate::clients::Clients;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, WARNS};
use crate::shell;
use crate::span::Span;

/// Tag with the instant at which an instance restored from it took a write.
const TAG_AT: &str = "phoenix-dr:proved-at";
/// Tag with the run and the step that restored that instance.
const TAG_BY: &str = "phoenix-dr:proved-by";
/// Tag with how many seconds the restore took.
const TAG_TOOK: &str = "phoenix-dr:restore-took";
/// Tag with the instant at which what was restored from it was found damaged: no other tag counts beside it.
const TAG_DAMAGED: &str = "phoenix-dr:found-damaged";

/// What is on record of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::actions) struct OnRecord {
    pub proved: Option<Restored>,
    pub damaged: Option<Timestamp>,
}

/// An instance was restored from it and took writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::actions) struct Restored {
    pub at: Timestamp,
    pub by: String,
    pub took: Option<Span>,
}

/// A backup that tags can be put on.
struct Kept {
    arn: String,
    on_record: OnRecord,
}

/// Reads a backup's tags. What cannot be read proves nothing.
pub(super) fn read(tags: &[Tag]) -> OnRecord {
    let value =
        |key: &str| tags.iter().find(|tag| tag.key() == Some(key)).and_then(|tag| tag.value());
    let instant = |key: &str| value(key).and_then(|text| text.parse::<Timestamp>().ok());
    // Whatever its tag says: that there is one says enough.
    let damaged = value(TAG_DAMAGED).map(|text| text.parse().unwrap_or(Timestamp::UNIX_EPOCH));
    let proved = instant(TAG_AT).filter(|_| damaged.is_none()).map(|at| Restored {
        at,
        by: value(TAG_BY).unwrap_or_default().to_owned(),
        took: value(TAG_TOOK).and_then(|text| text.parse().ok()).map(Span::seconds),
    });
    OnRecord { proved, damaged }
}

/// Keeps that an instance was restored from a backup and takes writes; returns what is to be told where that cannot be kept,
/// for the instance was restored all the same.
pub(super) async fn keep(
    clients: &Clients,
    call: &Call,
    restore: &Restore,
    took: Option<Span>,
) -> Option<String> {
    let named = match &restore.source {
        Source::Backup { arn, .. } => arn,
        Source::Snapshot { id } => id,
    };
    let mut tags =
        vec![tag(TAG_AT, format!("{:.0}", clients.clock.now())), tag(TAG_BY, call.token())];
    tags.extend(took.map(|took| tag(TAG_TOOK, took.duration().as_secs().max(1).to_string())));
    let unkept = |error: &ActionError, arn: &str| {
        let by_hand = command(&restore.region, arn, &tags);
        format!("that it is proved could not be kept as tags of {arn}: {error}; by hand: {by_hand}")
    };
    match kept(clients, &restore.region, &restore.source).await {
        Ok(Some(kept)) => match kept.on_record.damaged {
            Some(at) => Some(format!(
                "{named} does not count as proved: what was restored from it before was found damaged at {at:.0}; remove \
                 its tag {TAG_DAMAGED} where that had another cause"
            )),
            None => {
                let added = add(clients, &restore.region, &kept.arn, tags.clone()).await;
                added.err().map(|error| unkept(&error, &kept.arn))
            }
        },
        Ok(None) => {
            Some(format!("that it is proved is kept nowhere: {named} is not among the backups"))
        }
        Err(error) => Some(unkept(&error, named)),
    }
}

/// Keeps that an instance this run has restored was found damaged, with the backup it was restored from; returns what is to
/// be told, and nothing where this run has not restored it.
pub(in crate::actions) async fn found_damaged(
    clients: &Clients,
    call: &Call,
    region: &str,
    instance: &str,
) -> Option<String> {
    let restored = match find(clients, region, instance).await {
        Ok(found) => found.filter(|found| ours(found, call))?,
        Err(error) => {
            return Some(format!(
                "{WARNS}from which backup {instance} was restored is not known: {error}; one that counts as proved may not be"
            ));
        }
    };
    let named = restored.tag(TAG_SOURCE)?.to_owned();
    let source = if named.starts_with("arn:") {
        Source::Backup { arn: named.clone(), time: None }
    } else {
        Source::Snapshot { id: named.clone() }
    };
    let tags = vec![tag(TAG_DAMAGED, format!("{:.0}", clients.clock.now()))];
    let done = match kept(clients, region, &source).await {
        Ok(Some(kept)) => {
            let added = add(clients, region, &kept.arn, tags.clone()).await;
            added.map_err(|error| (error, kept.arn))
        }
        // Nothing is offered that is not there any more.
        Ok(None) => return None,
        Err(error) => Err((error, named.clone())),
    };
    Some(match done {
        Ok(()) => format!("{named}, which it was restored from, does not count as proved any more"),
        Err((error, arn)) => format!(
            "{WARNS}{named}, which it was restored from, still counts as proved: {error}; by hand: {}",
            command(region, &arn, &tags)
        ),
    })
}

/// Finds what is restored from, as it can be tagged; `None` where it is not there, or is no backup of the database.
async fn kept(
    clients: &Clients,
    region: &str,
    restored_from: &Source,
) -> Result<Option<Kept>, ActionError> {
    Ok(match restored_from {
        Source::Backup { arn, .. } => source::backup(clients, region)
            .await?
            .filter(|backup| backup.arn == *arn)
            .and_then(|backup| Some(Kept { arn: backup.own_arn?, on_record: backup.on_record })),
        Source::Snapshot { id } => source::snapshot_named(clients, region, id)
            .await?
            .and_then(|found| Some(Kept { arn: found.arn?, on_record: found.on_record })),
    })
}

async fn add(
    clients: &Clients,
    region: &str,
    arn: &str,
    tags: Vec<Tag>,
) -> Result<(), ActionError> {
    let aws = clients.aws.region(region).await?;
    let request = aws.rds.add_tags_to_resource().resource_name(arn).set_tags(Some(tags));
    let added = request.send().await;
    added.map(drop).map_err(|error| change_failure("AddTagsToResource", region, &error))
}

fn command(region: &str, arn: &str, tags: &[Tag]) -> String {
    let words = ["aws", "rds", "add-tags-to-resource", "--region", region, "--resource-name", arn];
    let tags = tags.iter().map(|tag| {
        format!("Key={},Value={}", tag.key().unwrap_or_default(), tag.value().unwrap_or_default())
    });
    let words = words.map(str::to_owned).into_iter().chain(["--tags".to_owned()]).chain(tags);
    shell::line(&words.collect::<Vec<_>>())
}
