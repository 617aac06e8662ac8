//! `rds.protect`: gives a recovered database backups, Multi-AZ and deletion protection; leaves open what takes long.

use aws_sdk_rds::types::DbInstance;
use serde_json::{Value, json};

use super::{change_failure, database, read_failure, tag};
use crate::by_hand;
use crate::clients::Clients;
use crate::clock::since;
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::outcome::{ActionError, Difference, FailureClass, Obligation};
use crate::runbook::catalogue::actions::Protect;
use crate::span::Span;

/// Tag that says a run has seen to the protection and left obligations for what was missing.
const TAG_PROTECT: &str = "phoenix-dr:protect";

/// RDS refuses changes while it makes the first backup, which may take hours: after this, it is an obligation.
const BUSY_MAX: Span = Span::minutes(5);
const PAUSE: Span = Span::seconds(10);

/// What protects an instance, with changes RDS has accepted counted as made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Protection {
    retention_days: i32,
    multi_az: bool,
    deletion_protection: bool,
    recorded: bool,
}

/// What else is known of the instance.
struct Seen {
    arn: String,
    protection: Protection,
    /// The run that has seen to the protection
    recorded_by: Option<String>,
    /// Multi-AZ is on, not only accepted
    standby_ready: bool,
    replicas: usize,
    backup_copies: usize,
}

pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &Protect,
) -> Result<Observation, ActionError> {
    let found = look(clients, with).await?;
    let desired = desired(clients, found.protection)?;
    let mut seen = Observation::new(image(found.protection), image(desired));
    seen.differences = differences(with, found.protection, desired);
    seen.evidence.push(format!(
        "{}: backups kept {} days, {}, {} replicas, backups copied to {} regions",
        with.instance,
        found.protection.retention_days,
        if found.protection.multi_az { "Multi-AZ" } else { "one availability zone" },
        found.replicas,
        found.backup_copies
    ));
    if found.protection.retention_days == 0 && desired.retention_days > 0 {
        seen.evidence.push("turning backups on interrupts the database for a moment".to_owned());
    }
    if desired != (Protection { recorded: true, ..found.protection }) {
        seen.commands = vec![command(with, desired)];
    }
    if found.recorded_by.as_deref() == Some(call.run.0.as_str()) {
        // Interrupted after its tag: what it leaves open may be in no journal yet. Carried on, it is told again.
        (seen.satisfied, seen.under_way) = (false, true);
    }
    Ok(seen)
}

pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &Protect,
    _seen: &Observation,
) -> Result<Performed, ActionError> {
    let mut found = look(clients, with).await?;
    let desired = desired(clients, found.protection)?;
    let mut notes = Vec::new();
    let mut obligations = Vec::new();
    if (Protection { recorded: true, ..found.protection }) != desired {
        if modified(clients, call, with, desired).await? {
            notes.push(format!("changed the protection of {}", with.instance));
            found = look(clients, with).await?;
        } else {
            obligations.push(unprotected(with, desired));
        }
    }
    if desired.multi_az && !found.standby_ready && obligations.is_empty() {
        obligations.push(single_zone(with));
    }
    if found.replicas == 0 {
        obligations.push(no_replica(clients, with, &found.arn));
    }
    if found.backup_copies == 0 {
        obligations.push(no_backup_copy(clients, with, &found.arn, desired.retention_days));
    }
    record(clients, call, with, &found.arn).await?;
    let after = image(Protection { recorded: true, ..found.protection });
    Ok(Performed { after, outputs: serde_json::Map::new(), obligations, notes })
}

pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &Protect,
    image: &Image,
) -> Result<(), ActionError> {
    let before = protection_of(&image.before)?;
    let found = look(clients, with).await?;
    if (Protection { recorded: before.recorded, ..found.protection }) != before
        && !modified(clients, call, with, before).await?
    {
        let message = format!("{} is busy and cannot be changed back yet", with.instance);
        return Err(ActionError::unchanged(FailureClass::Transient, message));
    }
    if !before.recorded && found.protection.recorded {
        let aws = clients.aws.region(&with.region).await?;
        let request = aws.rds.remove_tags_from_resource().resource_name(&found.arn);
        let removed = request.tag_keys(TAG_PROTECT).send().await;
        removed.map_err(|error| change_failure("RemoveTagsFromResource", &with.region, &error))?;
    }
    Ok(())
}

async fn look(clients: &Clients, with: &Protect) -> Result<Seen, ActionError> {
    let aws = clients.aws.region(&with.region).await?;
    let request = aws.rds.describe_db_instances().db_instance_identifier(&with.instance);
    let answer = request
        .send()
        .await
        .map_err(|error| read_failure("DescribeDBInstances", &with.region, &error))?;
    let found = answer
        .db_instances()
        .iter()
        .find(|found| found.db_instance_identifier() == Some(with.instance.as_str()))
        .ok_or_else(|| {
            let message = format!("there is no RDS instance {} in {}", with.instance, with.region);
            ActionError::unchanged(FailureClass::NotFound, message)
        })?;
    Ok(seen(found))
}

fn seen(found: &DbInstance) -> Seen {
    let pending = found.pending_modified_values();
    let standby_ready = found.multi_az().unwrap_or(false);
    let retention = pending.and_then(|pending| pending.backup_retention_period());
    let recorded = found.tag_list().iter().find(|tag| tag.key() == Some(TAG_PROTECT));
    Seen {
        arn: found.db_instance_arn().unwrap_or_default().to_owned(),
        protection: Protection {
            retention_days: retention.or(found.backup_retention_period()).unwrap_or(0),
            multi_az: pending.and_then(|pending| pending.multi_az()).unwrap_or(standby_ready),
            deletion_protection: found.deletion_protection().unwrap_or(false),
            recorded: recorded.is_some(),
        },
        recorded_by: recorded.map(|tag| tag.value().unwrap_or_default().to_owned()),
        standby_ready,
        replicas: found.read_replica_db_instance_identifiers().len(),
        backup_copies: found.db_instance_automated_backups_replications().len(),
    }
}

/// Returns what the estate asks for; what is better already stays.
fn desired(clients: &Clients, now: Protection) -> Result<Protection, ActionError> {
    let wanted = &database(clients)?.recovered;
    Ok(Protection {
        retention_days: now.retention_days.max(wanted.backup_retention_days),
        multi_az: now.multi_az || wanted.multi_az,
        deletion_protection: now.deletion_protection || wanted.deletion_protection,
        recorded: true,
    })
}

/// Requests the protection; false when RDS stayed busy too long to take it.
async fn modified(
    clients: &Clients,
    call: &Call,
    with: &Protect,
    wanted: Protection,
) -> Result<bool, ActionError> {
    let began = clients.clock.now();
    let aws = clients.aws.region(&with.region).await?;
    loop {
        let answer = aws
            .rds
            .modify_db_instance()
            .db_instance_identifier(&with.instance)
            .backup_retention_period(wanted.retention_days)
            .multi_az(wanted.multi_az)
            .deletion_protection(wanted.deletion_protection)
            .apply_immediately(true)
            .send()
            .await;
        let Err(error) = answer else { return Ok(true) };
        let busy = error.as_service_error().is_some_and(|error| {
            use aws_sdk_rds::error::ProvideErrorMetadata as _;
            error.code().is_some_and(|code| code.starts_with("InvalidDBInstanceState"))
        });
        if !busy {
            return Err(change_failure("ModifyDBInstance", &with.region, &error));
        }
        let waited = Span(since(began, clients.clock.now()));
        if waited >= BUSY_MAX {
            return Ok(false);
        }
        call.progress.tell(format!("{} is busy, {waited}", with.instance), None);
        clients.clock.sleep(PAUSE.duration()).await;
    }
}

async fn record(
    clients: &Clients,
    call: &Call,
    with: &Protect,
    arn: &str,
) -> Result<(), ActionError> {
    let aws = clients.aws.region(&with.region).await?;
    let request = aws.rds.add_tags_to_resource().resource_name(arn);
    let answer = request.tags(tag(TAG_PROTECT, call.run.0.clone())).send().await;
    answer.map(drop).map_err(|error| change_failure("AddTagsToResource", &with.region, &error))
}

fn image(protection: Protection) -> Value {
    json!({
        "retention_days": protection.retention_days,
        "multi_az": protection.multi_az,
        "deletion_protection": protection.deletion_protection,
        "recorded": protection.recorded,
    })
}

fn protection_of(image: &Value) -> Result<Protection, ActionError> {
    let read = || {
        Some(Protection {
            retention_days: image.get("retention_days")?.as_i64()?.try_into().ok()?,
            multi_az: image.get("multi_az")?.as_bool()?,
            deletion_protection: image.get("deletion_protection")?.as_bool()?,
            recorded: image.get("recorded")?.as_bool()?,
        })
    };
    read().ok_or_else(|| {
        let message = format!("the before-image cannot be read: {image}");
        ActionError::unchanged(FailureClass::Internal, message)
    })
}

fn differences(with: &Protect, now: Protection, wanted: Protection) -> Vec<Difference> {
    let what = |part: &str| format!("RDS {} {} {part}", with.region, with.instance);
    let on = |on: bool| if on { "on".to_owned() } else { "off".to_owned() };
    let mut differences = Vec::new();
    if now.retention_days != wanted.retention_days {
        differences.push(Difference {
            what: what("backups"),
            from: format!("{} days", now.retention_days),
            to: format!("{} days", wanted.retention_days),
        });
    }
    for (part, from, to) in [
        ("Multi-AZ", now.multi_az, wanted.multi_az),
        ("deletion protection", now.deletion_protection, wanted.deletion_protection),
    ] {
        if from != to {
            differences.push(Difference { what: what(part), from: on(from), to: on(to) });
        }
    }
    differences
}

fn command(with: &Protect, wanted: Protection) -> String {
    by_hand::database::protection(
        &with.region,
        &with.instance,
        wanted.retention_days,
        wanted.multi_az,
        wanted.deletion_protection,
    )
}

/// A check that proves an obligation closed by what RDS says of the instance.
fn closed_by(with: &Protect, that: &str) -> Option<Value> {
    Some(json!({
        "check": "rds.status",
        "with": { "region": with.region, "instance": with.instance },
        "that": that,
    }))
}

fn unprotected(with: &Protect, wanted: Protection) -> Obligation {
    Obligation {
        id: format!("unprotected-{}", with.instance),
        say: format!("{} was too busy to be given its backups and Multi-AZ", with.instance),
        how: format!("as soon as it is available:\n$ {}", command(with, wanted)),
        closed_by: closed_by(
            with,
            &format!(
                "value.retention_days >= {} && (value.multi_az || {})",
                wanted.retention_days, !wanted.multi_az
            ),
        ),
    }
}

fn single_zone(with: &Protect) -> Obligation {
    Obligation {
        id: format!("single-az-{}", with.instance),
        say: format!("{} has no standby yet: RDS is still making it", with.instance),
        how: "wait until RDS shows the instance as Multi-AZ".to_owned(),
        closed_by: closed_by(with, "value.multi_az"),
    }
}

fn no_replica(clients: &Clients, with: &Protect, arn: &str) -> Obligation {
    let region = other_region(clients, with);
    Obligation {
        id: format!("no-replica-{}", with.instance),
        say: format!("{} has no replica in another region", with.instance),
        how: format!(
            "once {region} is back:\n$ aws rds create-db-instance-read-replica --region {region} \
             --db-instance-identifier NAME --source-db-instance-identifier {arn}"
        ),
        closed_by: closed_by(with, "value.replicas > 0"),
    }
}

fn no_backup_copy(clients: &Clients, with: &Protect, arn: &str, retention: i32) -> Obligation {
    let region = other_region(clients, with);
    Obligation {
        id: format!("no-backup-copy-{}", with.instance),
        say: format!("backups of {} are in {} only", with.instance, with.region),
        how: format!(
            "once {region} is back, with --kms-key-id where it is encrypted:\n\
             $ aws rds start-db-instance-automated-backups-replication --region {region} \
             --source-db-instance-arn {arn} --backup-retention-period {retention}"
        ),
        closed_by: closed_by(with, "value.backup_copies > 0"),
    }
}

/// Returns the region a copy would be kept in: another of the estate, one that is not lost if there is any.
fn other_region(clients: &Clients, with: &Protect) -> String {
    let estate = &clients.estate;
    let others = || estate.regions.keys().filter(|region| **region != with.region);
    let spared = others().find(|region| **region != estate.primary.region);
    spared.or_else(|| others().next()).map_or("REGION", String::as_str).to_owned()
}
