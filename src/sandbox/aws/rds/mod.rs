//! RDS: instances, snapshots, backups and Aurora's clusters, with the states they go through and the errors RDS gives.

mod backups;
mod change;
mod clusters;
mod describe;
mod global;
mod groups;
mod make;
mod rename;
mod snapshots;
mod window;

use jiff::Timestamp;
use serde_json::Value;

use super::codec::{AwsError, Params};
use super::operations::{Operation, find, names};
use super::{Desk, unknown};
use crate::sandbox::objects::text;
use crate::sandbox::world::Kind;
use change::Switch;

/// What answers an action.
type Answers = fn(&mut Desk<'_>, &Params) -> Result<Value, AwsError>;

const fn action(name: &'static str, answers: Answers) -> Operation<Answers> {
    Operation { name, answers }
}

/// Every action there is here.
const ACTIONS: [Operation<Answers>; 29] = [
    action("AddTagsToResource", change::add_tags),
    action("CopyDBSnapshot", snapshots::copy),
    action("CreateDBInstance", make::fresh),
    action("CreateDBInstanceReadReplica", make::replica),
    action("CreateDBSnapshot", snapshots::create),
    action("DeleteDBInstance", change::delete),
    action("DeleteDBSnapshot", snapshots::delete),
    action("DescribeDBClusters", |desk, params| clusters::describe(desk, params)),
    action("DescribeDBInstanceAutomatedBackups", |desk, params| backups::describe(desk, params)),
    action("DescribeDBInstances", |desk, params| describe::instances(desk, params)),
    action("DescribeDBParameterGroups", |desk, params| {
        let (list, kind) = ("DBParameterGroups", Kind::RdsParameterGroup);
        let (field, fault) = ("DBParameterGroupName", "DBParameterGroupNotFound");
        describe::groups(desk, params, kind, list, field, fault)
    }),
    action("DescribeDBSnapshots", |desk, params| describe::snapshots(desk, params)),
    action("DescribeDBSubnetGroups", |desk, params| {
        let (list, kind) = ("DBSubnetGroups", Kind::RdsSubnetGroup);
        let (field, fault) = ("DBSubnetGroupName", "DBSubnetGroupNotFoundFault");
        describe::groups(desk, params, kind, list, field, fault)
    }),
    action("DescribeGlobalClusters", |desk, params| global::describe(desk, params)),
    action("FailoverDBCluster", clusters::failover),
    action("FailoverGlobalCluster", global::failover),
    action("ListTagsForResource", |desk, params| describe::tags(desk, params)),
    action("ModifyDBInstance", change::modify),
    action("PromoteReadReplica", change::promote),
    action("RebootDBInstance", |desk, params| change::switch(desk, Switch::Reboot, params)),
    action("RemoveFromGlobalCluster", global::remove),
    action("RemoveTagsFromResource", change::remove_tags),
    action("RestoreDBInstanceFromDBSnapshot", make::from_snapshot),
    action("RestoreDBInstanceToPointInTime", make::to_point_in_time),
    action("StartDBInstance", |desk, params| change::switch(desk, Switch::Start, params)),
    action("StartDBInstanceAutomatedBackupsReplication", backups::start),
    action("StopDBInstance", |desk, params| change::switch(desk, Switch::Stop, params)),
    action("StopDBInstanceAutomatedBackupsReplication", backups::stop),
    action("SwitchoverGlobalCluster", global::switchover),
];

/// Their names.
pub(super) const OPERATIONS: [&str; ACTIONS.len()] = names(&ACTIONS);

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
    let answers = find(&ACTIONS, action).ok_or_else(|| unknown(&format!("rds {action}")))?;
    answers(desk, params)
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

/// Returns the kind and id of what an ARN names in this region, and the field its tags are in.
fn tagged(desk: &Desk<'_>, arn: &str) -> Result<(Kind, String, &'static str), AwsError> {
    match arn.split(':').nth(5) {
        Some("auto-backup") => backups::tagged(desk, arn),
        _ => named(desk, arn).map(|(kind, id)| (kind, id, "TagList")),
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
