//! RDS: instances, snapshots, backups and Aurora's clusters, with the states they go through and the errors RDS gives.

mod backups;
mod change;
mod clusters;
mod describe;
mod global;
mod groups;
mod make;
mod snapshots;
mod window;

use jiff::Timestamp;
use serde_json::Value;

use super::codec::{AwsError, Params};
use super::{Desk, unknown};
use crate::sandbox::objects::text;
use crate::sandbox::world::Kind;

/// What it knows.
pub(super) const OPERATIONS: [&str; 29] = [
    "AddTagsToResource",
    "CopyDBSnapshot",
    "CreateDBInstance",
    "CreateDBInstanceReadReplica",
    "CreateDBSnapshot",
    "DeleteDBInstance",
    "DeleteDBSnapshot",
    "DescribeDBClusters",
    "DescribeDBInstanceAutomatedBackups",
    "DescribeDBInstances",
    "DescribeDBParameterGroups",
    "DescribeDBSnapshots",
    "DescribeDBSubnetGroups",
    "DescribeGlobalClusters",
    "FailoverDBCluster",
    "FailoverGlobalCluster",
    "ListTagsForResource",
    "ModifyDBInstance",
    "PromoteReadReplica",
    "RebootDBInstance",
    "RemoveFromGlobalCluster",
    "RemoveTagsFromResource",
    "RestoreDBInstanceFromDBSnapshot",
    "RestoreDBInstanceToPointInTime",
    "StartDBInstance",
    "StartDBInstanceAutomatedBackupsReplication",
    "StopDBInstance",
    "StopDBInstanceAutomatedBackupsReplication",
    "SwitchoverGlobalCluster",
];

/// What RDS may answer with InsufficientDBInstanceCapacity. A promotion, a reboot and a failover use what is there.
pub(super) const WANTING_MACHINES: [&str; 6] = [
    "CreateDBInstance",
    "CreateDBInstanceReadReplica",
    "ModifyDBInstance",
    "RestoreDBInstanceFromDBSnapshot",
    "RestoreDBInstanceToPointInTime",
    "StartDBInstance",
];

/// Says whether an action needs another machine: of changes those alone that want another class or a standby now.
pub(super) fn wants_machine(desk: &Desk<'_>, action: &str, params: &Params) -> bool {
    let may = WANTING_MACHINES.contains(&action);
    may && (action != "ModifyDBInstance" || change::wants_machine(desk, params))
}

/// Answers an action.
pub(super) fn answer(
    desk: &mut Desk<'_>,
    action: &str,
    params: &Params,
) -> Result<Value, AwsError> {
    match action {
        "DescribeDBInstances" => describe::instances(desk, params),
        "DescribeDBSnapshots" => describe::snapshots(desk, params),
        "DescribeDBInstanceAutomatedBackups" => backups::describe(desk, params),
        "DescribeDBSubnetGroups" => {
            let (field, fault) = ("DBSubnetGroupName", "DBSubnetGroupNotFoundFault");
            describe::groups(desk, params, Kind::RdsSubnetGroup, "DBSubnetGroups", field, fault)
        }
        "DescribeDBParameterGroups" => {
            let (list, kind) = ("DBParameterGroups", Kind::RdsParameterGroup);
            let (field, fault) = ("DBParameterGroupName", "DBParameterGroupNotFound");
            describe::groups(desk, params, kind, list, field, fault)
        }
        "DescribeDBClusters" => clusters::describe(desk, params),
        "DescribeGlobalClusters" => global::describe(desk, params),
        "ListTagsForResource" => describe::tags(desk, params),
        "PromoteReadReplica" => change::promote(desk, params),
        "ModifyDBInstance" => change::modify(desk, params),
        "DeleteDBInstance" => change::delete(desk, params),
        "RebootDBInstance" | "StartDBInstance" | "StopDBInstance" => {
            change::switch(desk, action, params)
        }
        "AddTagsToResource" => change::add_tags(desk, params),
        "RemoveTagsFromResource" => change::remove_tags(desk, params),
        "CreateDBInstance" => make::fresh(desk, params),
        "RestoreDBInstanceFromDBSnapshot" => make::from_snapshot(desk, params),
        "RestoreDBInstanceToPointInTime" => make::to_point_in_time(desk, params),
        "CreateDBInstanceReadReplica" => make::replica(desk, params),
        "CreateDBSnapshot" => snapshots::create(desk, params),
        "CopyDBSnapshot" => snapshots::copy(desk, params),
        "DeleteDBSnapshot" => snapshots::delete(desk, params),
        "StartDBInstanceAutomatedBackupsReplication" => backups::start(desk, params),
        "StopDBInstanceAutomatedBackupsReplication" => backups::stop(desk, params),
        "FailoverDBCluster" => clusters::failover(desk, params),
        "FailoverGlobalCluster" => global::failover(desk, params),
        "SwitchoverGlobalCluster" => global::switchover(desk, params),
        "RemoveFromGlobalCluster" => global::remove(desk, params),
        other => Err(unknown(&format!("rds {other}"))),
    }
}

fn get<'a>(params: &'a Params, name: &str) -> &'a str {
    params.get(name).map_or("", String::as_str)
}

/// Returns an instance of this region.
fn instance(desk: &Desk<'_>, id: &str) -> Result<Value, AwsError> {
    let found = desk.objects.get(Kind::RdsInstance, desk.region, short(id));
    found.cloned().ok_or_else(|| no_instance(id))
}

fn no_instance(id: &str) -> AwsError {
    AwsError::new(404, "DBInstanceNotFound", format!("DBInstance {id} not found."))
}

/// Returns an instance named by ARN, of another region where that says so, with its region.
fn source_instance(desk: &Desk<'_>, named: &str) -> Result<(Value, String), AwsError> {
    let from = reached(desk, named)?;
    let found = desk.objects.get(Kind::RdsInstance, &from, short(named)).cloned();
    found.map(|found| (found, from)).ok_or_else(|| no_instance(named))
}

/// Returns a snapshot, of another region where it is named by ARN.
fn snapshot(desk: &Desk<'_>, id: &str) -> Result<Value, AwsError> {
    let region = region_of(id).unwrap_or(desk.region);
    desk.objects.get(Kind::RdsSnapshot, region, short(id)).cloned().ok_or_else(|| {
        AwsError::new(404, "DBSnapshotNotFound", format!("DBSnapshot {id} not found."))
    })
}

/// Returns the region of what is named, which this one must be able to ask.
fn reached(desk: &Desk<'_>, named: &str) -> Result<String, AwsError> {
    let from = region_of(named).unwrap_or(desk.region);
    if from != desk.region && desk.dark.contains_key(from) {
        let message = format!("The service in {from} cannot be reached.");
        return Err(AwsError::new(503, "ServiceUnavailable", message));
    }
    Ok(from.to_owned())
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

fn arn(desk: &Desk<'_>, kind: &str, id: &str) -> String {
    format!("arn:aws:rds:{}:{}:{kind}:{id}", desk.region, desk.account)
}

/// Returns the kind and id of what an ARN names in this region.
fn named(desk: &Desk<'_>, arn: &str) -> Result<(Kind, String), AwsError> {
    let id = short(arn);
    let (kind, missing) = match arn.split(':').nth(5) {
        Some("db") => (Kind::RdsInstance, "DBInstanceNotFound"),
        Some("snapshot") => (Kind::RdsSnapshot, "DBSnapshotNotFound"),
        Some("cluster") => (Kind::RdsCluster, "DBClusterNotFoundFault"),
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

/// How long the data of a source takes to be read.
fn reading(desk: &Desk<'_>, source: &Value) -> std::time::Duration {
    std::time::Duration::from_secs(gib(source) * u64::from(*desk.durations.restore_seconds_per_gib))
}

fn invalid_value(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "InvalidParameterValue", message)
}

fn invalid_combination(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "InvalidParameterCombination", message)
}
