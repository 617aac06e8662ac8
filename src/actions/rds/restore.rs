//! Restoring beside the lost database: one new instance, made once, found again by its tags, deleted only if ours.

use std::time::Duration;

use aws_smithy_types::DateTime;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::instance::{Instance, Phase, find, instant};
use super::place::{Place, place, prerequisites};
use super::watch::Watch;
use super::{TAG_RUN, applied, change_failure, proof, record, run_tags, source, tag};
use crate::by_hand;
use crate::by_hand::rds::{Origin, own_instance};
use crate::clients::Clients;
use crate::clock::since;
use crate::engine::ports::{Call, Observation, Performed};
use crate::outcome::{ActionError, Difference, Effect, FailureClass};
use crate::span::Span;

/// Tag with what the instance was restored from.
pub(super) const TAG_SOURCE: &str = "phoenix-dr:source";
/// Tag with the instant up to which the instance had the lost database's data.
pub(super) const TAG_DATA_UNTIL: &str = "phoenix-dr:data-until";

/// An instance RDS has accepted to make, or may have where the answer was lost, shows within this time.
const SHOWS: Duration = Duration::from_secs(60);

/// What is restored, and to which instance.
#[derive(Debug, Clone)]
pub(super) struct Restore {
    pub region: String,
    pub target: String,
    pub source: Source,
}

/// What an instance is restored from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// An automated backup by its ARN, or by that of the instance of the region that keeps it; to an instant or to the
    /// latest one
    Backup { arn: String, time: Option<DateTime> },
    /// A snapshot by its id
    Snapshot { id: String },
}

impl Source {
    fn name(&self) -> &str {
        match self {
            Self::Backup { arn, .. } => arn,
            Self::Snapshot { id } => id,
        }
    }

    fn line(&self) -> String {
        match self {
            Self::Backup { arn, time } => {
                let backup = match own_instance(arn) {
                    Some(instance) => format!("the backups of {instance}"),
                    None => format!("backup {arn}"),
                };
                match time {
                    Some(time) => format!("{backup} as of {time}"),
                    None => format!("the latest state in {backup}"),
                }
            }
            Self::Snapshot { id } => format!("snapshot {id}"),
        }
    }
}

pub(super) async fn observe(
    clients: &Clients,
    call: &Call,
    restore: &Restore,
) -> Result<Observation, ActionError> {
    let place = place(clients, &restore.region)?;
    let found = find(clients, &restore.region, &restore.target).await?;
    let desired = json!({ "exists": true, "run": call.run.0 });
    let mut seen = Observation::new(image_of(found.as_ref()), desired);
    seen.commands = vec![command(restore, &place)];
    let lift = by_hand::database::lift(&clients.estate, &restore.region, &restore.target);
    seen.commands.extend(lift);
    let Some(found) = found else {
        seen.evidence.push(format!("{} does not exist yet", restore.target));
        seen.evidence.extend(prerequisites(clients, &restore.region, &place).await?);
        seen.differences.push(Difference {
            what: format!("RDS {} {}", restore.region, restore.target),
            from: "absent".to_owned(),
            to: format!("restored from {}", restore.source.line()),
        });
        return Ok(seen);
    };
    seen.evidence.push(found.line());
    if !seen.satisfied {
        seen.evidence.push(foreign(&found, &restore.region).message);
        return Ok(seen);
    }
    seen.outputs = found.outputs(clients).unwrap_or_default();
    seen.satisfied = false;
    seen.under_way = found.phase() != Phase::Bad;
    if found.phase() == Phase::Bad {
        seen.evidence.push(found.bad().message);
    } else if !seen.outputs.is_empty() {
        match proof::missing(clients, &found, &call.run).await {
            None => (seen.satisfied, seen.under_way) = (true, false),
            Some(why) => seen.evidence.push(why),
        }
    }
    Ok(seen)
}

pub(super) async fn perform(
    clients: &Clients,
    call: &Call,
    restore: &Restore,
) -> Result<Performed, ActionError> {
    let mut notes = Vec::new();
    let mut watch = Watch::new(clients, call, &restore.region, &restore.target);
    let found = find(clients, &restore.region, &restore.target).await?;
    let (began, whole) = (clients.clock.now(), found.is_none());
    let restored = restored(clients, call, restore, &mut watch, &mut notes).await?;
    let proof = proof::writable(clients, call, &restore.region, &restored, None, &watch).await;
    notes.extend(proof.map_err(applied)?);
    // How long the part took that an earlier attempt has seen nobody knows here.
    let took = whole.then(|| Span(since(began, clients.clock.now())));
    notes.extend(record::keep(clients, call, restore, took).await);
    let outputs = restored.outputs(clients).ok_or_else(|| {
        let message = format!("{} has no endpoint", restored.id);
        ActionError::applied(FailureClass::Internal, message)
    })?;
    let after = image_of(Some(&restored));
    Ok(Performed { after, outputs, obligations: Vec::new(), notes })
}

/// Makes the instance or adopts the one this run has made, and waits until RDS calls it usable.
pub(super) async fn restored(
    clients: &Clients,
    call: &Call,
    restore: &Restore,
    watch: &mut Watch<'_>,
    notes: &mut Vec<String>,
) -> Result<Instance, ActionError> {
    let mut lost = None;
    match find(clients, &restore.region, &restore.target).await? {
        Some(found) => adopt(call, restore, &found, notes)?,
        None => match request(clients, call, restore).await {
            Ok(()) => {
                notes.push(format!("requested {} from {}", restore.target, restore.source.line()))
            }
            // Made by an earlier attempt whose answer was lost, or by somebody else: its tags tell.
            Err(error) if error.class == FailureClass::Conflict => {
                let found = find(clients, &restore.region, &restore.target).await?.ok_or(error)?;
                adopt(call, restore, &found, notes)?;
            }
            // It may be being made: what shows within a while is adopted, and nothing is left behind unseen.
            Err(error) if error.effect == Effect::Unknown => lost = Some(error),
            Err(error) => return Err(error),
        },
    }
    let began = watch.waited();
    let mut shown = false;
    loop {
        let failed = |error: ActionError| match &lost {
            Some(_) if !shown => ActionError { effect: Effect::Unknown, ..error },
            Some(_) | None => applied(error),
        };
        let Some(found) = watch.look().await.map_err(failed)? else {
            if watch.waited() - began > SHOWS {
                let message = format!("{} is gone again", restore.target);
                let gone = ActionError::unknown(FailureClass::NotFound, message);
                return Err(lost.filter(|_| !shown).unwrap_or(gone));
            }
            continue;
        };
        watch.tell(&found.status);
        if lost.is_some() && !shown {
            adopt(call, restore, &found, notes)?;
        }
        shown = true;
        match found.phase() {
            Phase::Bad => return Err(applied(found.bad())),
            Phase::Usable if found.endpoint.is_some() => return Ok(found),
            Phase::Usable | Phase::Busy => {}
        }
    }
}

/// Accepts an instance that carries this run's tag, and no other.
fn adopt(
    call: &Call,
    restore: &Restore,
    found: &Instance,
    notes: &mut Vec<String>,
) -> Result<(), ActionError> {
    if !ours(found, call) {
        return Err(foreign(found, &restore.region));
    }
    notes.push(format!("went on with {}, which this run had requested before", found.id));
    Ok(())
}

async fn request(clients: &Clients, call: &Call, restore: &Restore) -> Result<(), ActionError> {
    let place = place(clients, &restore.region)?;
    let aws = clients.aws.region(&restore.region).await?;
    let mut tags = run_tags(call);
    tags.push(tag(TAG_SOURCE, restore.source.name()));
    tags.extend(
        data_until(clients, restore).await.map(|at| tag(TAG_DATA_UNTIL, format!("{at:.0}"))),
    );
    let groups = Some(place.region.security_groups.clone());
    let wanted = place.recovered;
    match &restore.source {
        Source::Backup { arn, time } => aws
            .rds
            .restore_db_instance_to_point_in_time()
            .set_source_db_instance_identifier(own_instance(arn).map(str::to_owned))
            .set_source_db_instance_automated_backups_arn(
                own_instance(arn).is_none().then(|| arn.clone()),
            )
            .target_db_instance_identifier(&restore.target)
            .set_restore_time(*time)
            .set_use_latest_restorable_time(time.is_none().then_some(true))
            .set_db_instance_class(wanted.class.clone())
            .db_subnet_group_name(place.subnet_group)
            .set_vpc_security_group_ids(groups)
            .db_parameter_group_name(place.parameter_group)
            .multi_az(wanted.multi_az)
            .deletion_protection(wanted.deletion_protection)
            .copy_tags_to_snapshot(true)
            .set_tags(Some(tags))
            .send()
            .await
            .map(drop)
            .map_err(|error| {
                change_failure("RestoreDBInstanceToPointInTime", &restore.region, &error)
            }),
        Source::Snapshot { id } => aws
            .rds
            .restore_db_instance_from_db_snapshot()
            .db_snapshot_identifier(id)
            .db_instance_identifier(&restore.target)
            .set_db_instance_class(wanted.class.clone())
            .db_subnet_group_name(place.subnet_group)
            .set_vpc_security_group_ids(groups)
            .db_parameter_group_name(place.parameter_group)
            .multi_az(wanted.multi_az)
            .deletion_protection(wanted.deletion_protection)
            .copy_tags_to_snapshot(true)
            .set_tags(Some(tags))
            .send()
            .await
            .map(drop)
            .map_err(|error| {
                change_failure("RestoreDBInstanceFromDBSnapshot", &restore.region, &error)
            }),
    }
}

/// Returns the instant up to which the restored instance has the lost database's data; `None` where nobody can tell:
/// then a later run asks.
async fn data_until(clients: &Clients, restore: &Restore) -> Option<Timestamp> {
    match &restore.source {
        Source::Backup { time: Some(time), .. } => instant(time),
        Source::Backup { arn, time: None } => {
            let found = source::backup(clients, &restore.region).await.ok()??;
            found.latest.filter(|_| found.arn == *arn)
        }
        Source::Snapshot { id } => {
            Some(source::snapshot_named(clients, &restore.region, id).await.ok()??.taken)
        }
    }
}

pub(super) fn ours(found: &Instance, call: &Call) -> bool {
    found.run() == Some(call.run.0.as_str())
}

pub(super) fn foreign(found: &Instance, region: &str) -> ActionError {
    let owner = match found.run() {
        Some(run) => format!("run {run} made it"),
        None => "no run of phoenix-dr made it".to_owned(),
    };
    let message = format!("{} exists in {} already, and {owner}", found.id, region);
    ActionError::unchanged(FailureClass::Conflict, message).hint(format!(
        "look whether {} is needed; delete it by hand, or name another instance in `database.recovered.id`",
        found.id
    ))
}

/// Returns the before-image: whether the instance exists, and which run made it.
fn image_of(found: Option<&Instance>) -> Value {
    match found {
        None => json!({ "exists": false }),
        Some(found) => json!({ "exists": true, "run": found.tag(TAG_RUN) }),
    }
}

fn command(restore: &Restore, place: &Place<'_>) -> String {
    let time = match &restore.source {
        Source::Backup { time, .. } => time.map(|time| time.to_string()),
        Source::Snapshot { .. } => None,
    };
    let origin = match &restore.source {
        Source::Backup { arn, .. } => Origin::Backup { arn, time: time.as_deref() },
        Source::Snapshot { id } => Origin::Snapshot(id),
    };
    let place = by_hand::database::place(Some(place.region), Some(place.recovered));
    by_hand::rds::restore_to(&restore.region, &origin, &restore.target, &place)
}
