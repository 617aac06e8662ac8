//! RDS: instances, snapshots and backups, with the states they go through and the errors RDS gives.

mod change;
mod groups;
mod make;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::codec::{AwsError, Params};
use super::{Desk, unknown};
use crate::sandbox::objects::text;
use crate::sandbox::world::Kind;

/// Records of a page where a request names no number.
const PAGE: usize = 100;

/// Answers an action.
pub(super) fn answer(
    desk: &mut Desk<'_>,
    action: &str,
    params: &Params,
) -> Result<Value, AwsError> {
    match action {
        "DescribeDBInstances" => instances(desk, params),
        "DescribeDBSnapshots" => snapshots(desk, params),
        "DescribeDBInstanceAutomatedBackups" => backups(desk, params),
        "DescribeDBSubnetGroups" => {
            let (field, fault) = ("DBSubnetGroupName", "DBSubnetGroupNotFoundFault");
            groups(desk, params, Kind::RdsSubnetGroup, "DBSubnetGroups", field, fault)
        }
        "DescribeDBParameterGroups" => {
            let (field, fault) = ("DBParameterGroupName", "DBParameterGroupNotFound");
            groups(desk, params, Kind::RdsParameterGroup, "DBParameterGroups", field, fault)
        }
        "ListTagsForResource" => {
            let (kind, id) = named(desk, get(params, "ResourceName"))?;
            let body = desk.objects.get(kind, desk.region, &id);
            let tags = body.and_then(|body| body.get("TagList")).cloned();
            Ok(json!({ "TagList": tags.unwrap_or_else(|| json!([])) }))
        }
        "PromoteReadReplica" => change::promote(desk, params),
        "ModifyDBInstance" => change::modify(desk, params),
        "DeleteDBInstance" => change::delete(desk, params),
        "RebootDBInstance" | "StartDBInstance" | "StopDBInstance" => {
            change::switch(desk, action, params)
        }
        "AddTagsToResource" => change::add_tags(desk, params),
        "RemoveTagsFromResource" => change::remove_tags(desk, params),
        "RestoreDBInstanceFromDBSnapshot" => make::from_snapshot(desk, params),
        "RestoreDBInstanceToPointInTime" => make::to_point_in_time(desk, params),
        "CreateDBInstanceReadReplica" => make::replica(desk, params),
        "CreateDBSnapshot" => make::snapshot_of(desk, params),
        "CopyDBSnapshot" => make::copy(desk, params),
        "StartDBInstanceAutomatedBackupsReplication" => make::replicated_backup(desk, params),
        other => Err(unknown(&format!("rds {other}"))),
    }
}

fn get<'a>(params: &'a Params, name: &str) -> &'a str {
    params.get(name).map_or("", String::as_str)
}

fn instances(desk: &Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let id = short(get(params, "DBInstanceIdentifier"));
    if !id.is_empty() {
        instance(desk, id)?;
    }
    Ok(page(desk, Kind::RdsInstance, "DBInstances", params, |found| {
        id.is_empty() || text(found, "DBInstanceIdentifier") == id
    }))
}

fn snapshots(desk: &Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let (id, of) = (get(params, "DBSnapshotIdentifier"), get(params, "DBInstanceIdentifier"));
    let kind = get(params, "SnapshotType");
    if !id.is_empty() {
        snapshot(desk, id)?;
    }
    Ok(page(desk, Kind::RdsSnapshot, "DBSnapshots", params, |found| {
        (id.is_empty() || text(found, "DBSnapshotIdentifier") == short(id))
            && (of.is_empty() || text(found, "DBInstanceIdentifier") == of)
            && (kind.is_empty() || text(found, "SnapshotType") == kind)
    }))
}

fn backups(desk: &Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let arn = get(params, "DBInstanceAutomatedBackupsArn");
    let of = get(params, "DBInstanceIdentifier");
    let named = |found: &Value| {
        (arn.is_empty() || text(found, "DBInstanceAutomatedBackupsArn") == arn)
            && (of.is_empty() || text(found, "DBInstanceIdentifier") == of)
    };
    let any = desk.objects.of_kind(Kind::RdsBackup, desk.region).any(|(_, found)| named(found));
    if !any && !arn.is_empty() {
        return Err(no_backup(arn));
    }
    Ok(page(desk, Kind::RdsBackup, "DBInstanceAutomatedBackups", params, named))
}

fn no_backup(named: &str) -> AwsError {
    let message = format!("Automated backup {named} not found.");
    AwsError::new(404, "DBInstanceAutomatedBackupNotFound", message)
}

fn groups(
    desk: &Desk<'_>,
    params: &Params,
    kind: Kind,
    list: &str,
    field: &str,
    fault: &'static str,
) -> Result<Value, AwsError> {
    let name = get(params, field);
    if !name.is_empty() && desk.objects.get(kind, desk.region, name).is_none() {
        return Err(AwsError::new(404, fault, format!("{name} does not exist.")));
    }
    Ok(page(desk, kind, list, params, |found| name.is_empty() || text(found, field) == name))
}

/// Returns a page of what is wanted, in the order of ids.
fn page(
    desk: &Desk<'_>,
    kind: Kind,
    list: &str,
    params: &Params,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let most = get(params, "MaxRecords").parse().unwrap_or(PAGE);
    let after = get(params, "Marker");
    let mut found = desk
        .objects
        .of_kind(kind, desk.region)
        .filter(|(id, body)| *id > after && wanted(body))
        .take(most + 1)
        .collect::<Vec<_>>();
    let more = found.len() > most;
    found.truncate(most);
    let marker = found.last().filter(|_| more).map(|(id, _)| *id);
    let bodies: Vec<&Value> = found.iter().map(|(_, body)| *body).collect();
    let mut answer = json!({ list: bodies });
    if let Some(marker) = marker {
        answer["Marker"] = json!(marker);
    }
    answer
}

/// Returns an instance of this region.
fn instance(desk: &Desk<'_>, id: &str) -> Result<Value, AwsError> {
    let found = desk.objects.get(Kind::RdsInstance, desk.region, short(id));
    found.cloned().ok_or_else(|| {
        AwsError::new(404, "DBInstanceNotFound", format!("DBInstance {id} not found."))
    })
}

/// Returns a snapshot, of another region where it is named by ARN.
fn snapshot(desk: &Desk<'_>, id: &str) -> Result<Value, AwsError> {
    let region = region_of(id).unwrap_or(desk.region);
    desk.objects.get(Kind::RdsSnapshot, region, short(id)).cloned().ok_or_else(|| {
        AwsError::new(404, "DBSnapshotNotFound", format!("DBSnapshot {id} not found."))
    })
}

/// Returns the name at the end of an ARN, or the name itself.
fn short(name: &str) -> &str {
    match name.starts_with("arn:") {
        true => name.splitn(7, ':').nth(6).unwrap_or(name),
        false => name,
    }
}

/// Returns the region an ARN names.
fn region_of(arn: &str) -> Option<&str> {
    arn.starts_with("arn:").then(|| arn.split(':').nth(3)).flatten()
}

/// Returns the kind and id of what an ARN names in this region.
fn named(desk: &Desk<'_>, arn: &str) -> Result<(Kind, String), AwsError> {
    let id = short(arn);
    let (kind, missing) = match arn.split(':').nth(5) {
        Some("db") => (Kind::RdsInstance, "DBInstanceNotFound"),
        Some("snapshot") => (Kind::RdsSnapshot, "DBSnapshotNotFound"),
        _ => {
            let message = format!("Invalid resource name: {arn}");
            return Err(AwsError::new(400, "InvalidParameterValue", message));
        }
    };
    match desk.objects.get(kind, desk.region, id) {
        Some(_) => Ok((kind, id.to_owned())),
        None => Err(AwsError::new(404, missing, format!("{arn} not found."))),
    }
}

/// Refuses what an instance's state does not allow.
fn allowed(found: &Value, states: &[&str]) -> Result<(), AwsError> {
    let status = text(found, "DBInstanceStatus");
    if states.contains(&status) {
        return Ok(());
    }
    let id = text(found, "DBInstanceIdentifier");
    let message = format!("Instance {id} is not in an allowed state: {status}");
    Err(AwsError::new(400, "InvalidDBInstanceState", message))
}

/// Returns an instant of a body.
fn instant(found: &Value, path: &[&str]) -> Option<Timestamp> {
    let value = path.iter().try_fold(found, |value, name| value.get(*name))?;
    value.as_str()?.parse().ok()
}

fn gib(found: &Value) -> u64 {
    found.get("AllocatedStorage").and_then(Value::as_u64).unwrap_or(20)
}
