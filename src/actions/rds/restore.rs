//! Restoring beside the lost database: one new instance, made once, found again by its tags, deleted only if ours.

use aws_smithy_types::DateTime;
use serde_json::{Value, json};

use super::instance::{Instance, Phase, find};
use super::watch::Watch;
use super::{
    TAG_RUN, applied, change_failure, database, proof, read_failure, region, run_tags, tag,
};
use crate::clients::Clients;
use crate::engine::ports::{Call, Image, Observation, Performed};
use crate::estate::types::{RecoveredInstance, Region};
use crate::outcome::{ActionError, Difference, FailureClass};

/// Tag with what the instance was restored from.
pub(super) const TAG_SOURCE: &str = "phoenix-dr:source";

/// Looks in a row that may not show an instance RDS has accepted to make.
const ABSENT_LOOKS_MAX: u32 = 20;

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
    /// An automated backup by its ARN, to an instant or to the latest one
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
            Self::Backup { arn, time: None } => format!("the latest state in backup {arn}"),
            Self::Backup { arn, time: Some(time) } => format!("backup {arn} as of {time}"),
            Self::Snapshot { id } => format!("snapshot {id}"),
        }
    }
}

/// Where a restored instance is put; every part RDS would otherwise choose by default.
struct Place<'a> {
    subnet_group: &'a str,
    region: &'a Region,
    recovered: &'a RecoveredInstance,
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
    seen.satisfied = found.phase() == Phase::Usable && !seen.outputs.is_empty();
    seen.under_way = !seen.satisfied && found.phase() != Phase::Bad;
    if found.phase() == Phase::Bad {
        seen.evidence.push(found.bad().message);
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
    let restored = restored(clients, call, restore, &mut watch, &mut notes).await?;
    let proof = proof::writable(clients, call, &restore.region, &restored, &watch).await;
    notes.extend(proof.map_err(applied)?);
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
            Err(error) => return Err(error),
        },
    }
    let mut absent = 0;
    loop {
        let Some(found) = watch.look().await.map_err(applied)? else {
            absent += 1;
            if absent > ABSENT_LOOKS_MAX {
                let message = format!("{} is gone again", restore.target);
                return Err(ActionError::unknown(FailureClass::NotFound, message));
            }
            continue;
        };
        watch.tell(&found.status);
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

/// Deletes the instance if it is this run's, and waits until it is gone.
pub(super) async fn revert(
    clients: &Clients,
    call: &Call,
    region: &str,
    target: &str,
    image: &Image,
) -> Result<(), ActionError> {
    if image.before.get("exists") == Some(&Value::Bool(true)) {
        // It was there before this step: nothing of it is the step's to delete.
        return Ok(());
    }
    let mut watch = Watch::new(clients, call, region, target);
    let mut asked = false;
    loop {
        let after = |error| if asked { applied(error) } else { error };
        let Some(found) = watch.look().await.map_err(after)? else { return Ok(()) };
        watch.tell(&found.status);
        if !ours(&found, call) {
            return Err(foreign(&found, region));
        }
        if found.status == "deleting" {
            continue;
        }
        match delete(clients, region, &found).await {
            // Busy with something else: RDS deletes it later.
            Err(error) if error.class.retryable() => {
                watch.tell(&format!("not deleted yet: {error}"));
            }
            Err(error) if error.class == FailureClass::NotFound => return Ok(()),
            Err(error) => return Err(after(error)),
            Ok(()) => asked = true,
        }
    }
}

/// Takes the deletion protection off, or deletes the instance once it has none.
async fn delete(clients: &Clients, region: &str, found: &Instance) -> Result<(), ActionError> {
    let aws = clients.aws.region(region).await?;
    if found.deletion_protection {
        // The next look finds it without protection, or still busy with losing it.
        let request = aws.rds.modify_db_instance().db_instance_identifier(&found.id);
        let request = request.deletion_protection(false).apply_immediately(true);
        return request
            .send()
            .await
            .map(drop)
            .map_err(|error| change_failure("ModifyDBInstance", region, &error));
    }
    let request = aws.rds.delete_db_instance().db_instance_identifier(&found.id);
    let request = request.skip_final_snapshot(true).delete_automated_backups(true);
    request
        .send()
        .await
        .map(drop)
        .map_err(|error| change_failure("DeleteDBInstance", region, &error))
}

async fn request(clients: &Clients, call: &Call, restore: &Restore) -> Result<(), ActionError> {
    let place = place(clients, &restore.region)?;
    let aws = clients.aws.region(&restore.region).await?;
    let mut tags = run_tags(call);
    tags.push(tag(TAG_SOURCE, restore.source.name()));
    let groups = Some(place.region.security_groups.clone());
    let parameters = place.region.parameter_group.clone();
    let wanted = place.recovered;
    match &restore.source {
        Source::Backup { arn, time } => aws
            .rds
            .restore_db_instance_to_point_in_time()
            .source_db_instance_automated_backups_arn(arn)
            .target_db_instance_identifier(&restore.target)
            .set_restore_time(*time)
            .set_use_latest_restorable_time(time.is_none().then_some(true))
            .set_db_instance_class(wanted.class.clone())
            .db_subnet_group_name(place.subnet_group)
            .set_vpc_security_group_ids(groups)
            .set_db_parameter_group_name(parameters)
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
            .set_db_parameter_group_name(parameters)
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

/// Returns where the instance goes. What is left out here RDS fills with defaults of the account: another network.
fn place<'a>(clients: &'a Clients, name: &str) -> Result<Place<'a>, ActionError> {
    let region = region(clients, name)?;
    let missing = |what: &str| {
        let message = format!("regions.{name}.{what} is missing: RDS would take its default");
        ActionError::unchanged(FailureClass::Invalid, message)
            .hint(format!("add `{what}` to regions.{name} of the estate file"))
    };
    let subnet_group = region.subnet_group.as_deref().ok_or_else(|| missing("subnet_group"))?;
    if region.security_groups.is_empty() {
        return Err(missing("security_groups"));
    }
    Ok(Place { subnet_group, region, recovered: &database(clients)?.recovered })
}

/// Makes sure that what the restore names exists; returns what could not be looked at.
async fn prerequisites(
    clients: &Clients,
    region: &str,
    place: &Place<'_>,
) -> Result<Vec<String>, ActionError> {
    let aws = clients.aws.region(region).await?;
    let subnets = aws.rds.describe_db_subnet_groups().db_subnet_group_name(place.subnet_group);
    let subnets = subnets.send().await.map(drop);
    let mut looks =
        vec![subnets.map_err(|error| read_failure("DescribeDBSubnetGroups", region, &error))];
    if let Some(group) = &place.region.parameter_group {
        let found = aws.rds.describe_db_parameter_groups().db_parameter_group_name(group);
        let found = found.send().await.map(drop);
        looks
            .push(found.map_err(|error| read_failure("DescribeDBParameterGroups", region, &error)));
    }
    let mut unsure = Vec::new();
    for look in looks {
        match look {
            Ok(()) => {}
            Err(error) if error.class == FailureClass::NotFound => return Err(error),
            Err(error) => unsure.push(format!("not checked beforehand: {error}")),
        }
    }
    Ok(unsure)
}

fn ours(found: &Instance, call: &Call) -> bool {
    found.run() == Some(call.run.0.as_str())
}

fn foreign(found: &Instance, region: &str) -> ActionError {
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
    let mut line = match &restore.source {
        Source::Backup { arn, time } => {
            let when = time.map_or("--use-latest-restorable-time".to_owned(), |time| {
                format!("--restore-time {time}")
            });
            format!(
                "aws rds restore-db-instance-to-point-in-time --region {} \
                 --source-db-instance-automated-backups-arn {arn} --target-db-instance-identifier {} {when}",
                restore.region, restore.target
            )
        }
        Source::Snapshot { id } => format!(
            "aws rds restore-db-instance-from-db-snapshot --region {} --db-snapshot-identifier {id} \
             --db-instance-identifier {}",
            restore.region, restore.target
        ),
    };
    line += &format!(
        " --db-subnet-group-name {} --vpc-security-group-ids {}",
        place.subnet_group,
        place.region.security_groups.join(" ")
    );
    if let Some(group) = &place.region.parameter_group {
        line += &format!(" --db-parameter-group-name {group}");
    }
    if let Some(class) = &place.recovered.class {
        line += &format!(" --db-instance-class {class}");
    }
    line += if place.recovered.multi_az { " --multi-az" } else { " --no-multi-az" };
    line += if place.recovered.deletion_protection {
        " --deletion-protection"
    } else {
        " --no-deletion-protection"
    };
    line + " --copy-tags-to-snapshot"
}
