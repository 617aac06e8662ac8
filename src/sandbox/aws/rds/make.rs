//! Making instances: new ones, out of snapshots and backups, and replicas.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::codec::{AwsError, Params, list, tags};
use super::{
    Desk, allowed, arn, backups, get, instance, instant, invalid_combination, invalid_value,
    reading, short, snapshot, snapshots, source_instance, window,
};
use crate::sandbox::objects::{Due, text};
use crate::sandbox::world::{Kind, stamp};

/// Fields an instance takes over from what it is made of.
pub(super) const INHERITED: [&str; 11] = [
    "Engine",
    "EngineVersion",
    "AllocatedStorage",
    "StorageType",
    "MasterUsername",
    "DBName",
    "Iops",
    "Port",
    "KmsKeyId",
    "StorageEncrypted",
    "DBInstanceClass",
];

/// Answers CreateDBInstance.
pub(super) fn fresh(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    for name in ["DBInstanceClass", "Engine"] {
        if get(params, name).is_empty() {
            let message = format!("The request must contain the parameter {name}.");
            return Err(AwsError::new(400, "MissingParameter", message));
        }
    }
    let number = |name: &str| get(params, name).parse::<i64>().ok();
    let mut source = json!({
        "Engine": get(params, "Engine"),
        "EngineVersion": "15.8",
        "AllocatedStorage": number("AllocatedStorage").unwrap_or(20),
        "StorageType": "gp3",
        "StorageEncrypted": get(params, "StorageEncrypted") == "true",
        "Port": number("Port").unwrap_or(5432),
    });
    for name in ["MasterUsername", "DBName"] {
        if let Some(value) = params.get(name) {
            source[name] = json!(value);
        }
    }
    let id = get(params, "DBInstanceIdentifier").to_owned();
    let length = desk.durations.create_instance.0;
    made(desk, params, &id, &source, length)
}

pub(super) fn from_snapshot(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let mut source = snapshot(desk, get(params, "DBSnapshotIdentifier"))?;
    snapshots::usable(&source)?;
    // Backups are kept as those of what the snapshot was made of, which a snapshot itself does not show.
    let of = text(&source, "DBInstanceIdentifier");
    let known = desk.objects.everywhere(Kind::RdsInstance).find(|(key, _)| key.id == of);
    let kept = known.and_then(|(_, body)| body.get("BackupRetentionPeriod").cloned());
    if let Some(kept) = kept {
        source["BackupRetentionPeriod"] = kept;
    }
    let length = desk.durations.create_instance.0 + reading(desk, &source);
    let id = get(params, "DBInstanceIdentifier").to_owned();
    made(desk, params, &id, &source, length)
}

pub(super) fn to_point_in_time(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let (source, window) = restored_from(desk, params)?;
    let wanted = params.get("RestoreTime");
    let newest = get(params, "UseLatestRestorableTime") == "true";
    if wanted.is_some() == newest {
        let message = match newest {
            true => "RestoreTime and UseLatestRestorableTime cannot be specified together.",
            false => "Either RestoreTime or UseLatestRestorableTime must be specified.",
        };
        return Err(invalid_combination(message));
    }
    let Some((earliest, latest)) = window else {
        let message = "The specified instance has no automated backups to restore from.";
        return Err(AwsError::new(400, "InvalidRestoreFault", message));
    };
    if let Some(wanted) = wanted {
        let at: Timestamp =
            wanted.parse().map_err(|_| invalid_value(format!("Invalid RestoreTime: {wanted}")))?;
        if at > latest || at < earliest {
            let (word, edge) = if at > latest { ("later", latest) } else { ("earlier", earliest) };
            let message = format!(
                "The specified instance cannot be restored to a time {word} than {}",
                stamp(edge)
            );
            return Err(AwsError::new(400, "InvalidRestoreFault", message));
        }
    }
    let length =
        desk.durations.create_instance.0 + reading(desk, &source) + desk.durations.replay_logs.0;
    let id = get(params, "TargetDBInstanceIdentifier").to_owned();
    made(desk, params, &id, &source, length)
}

/// From when to when something can be restored.
type Window = (Timestamp, Timestamp);

/// Returns what a restore to a point in time begins with, and its window.
fn restored_from(desk: &Desk<'_>, params: &Params) -> Result<(Value, Option<Window>), AwsError> {
    let by_arn = get(params, "SourceDBInstanceAutomatedBackupsArn");
    let resource = get(params, "SourceDbiResourceId");
    let backup = match (by_arn, resource) {
        ("", "") => {
            let source = instance(desk, get(params, "SourceDBInstanceIdentifier"))?;
            let window = window::of_instance(desk, desk.region, &source);
            return Ok((source, window));
        }
        ("", resource) => {
            let mut all = backups::all(desk).into_iter().map(|(_, body)| body);
            let found = all.find(|body| text(body, "DbiResourceId") == resource);
            found.ok_or_else(|| backups::missing(resource))?
        }
        (named, _) => backups::by_arn(desk, named)?,
    };
    let edge = |name: &str| instant(&backup, &["RestoreWindow", name]);
    let window = edge("EarliestTime").zip(edge("LatestTime"));
    Ok((backup, window))
}

pub(super) fn replica(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let named = get(params, "SourceDBInstanceIdentifier").to_owned();
    let (source, from) = source_instance(desk, &named)?;
    allowed(&source, &["available", "backing-up", "storage-optimization"])?;
    if source["BackupRetentionPeriod"].as_i64() == Some(0) {
        let message = format!("Automated backups are not enabled for {}.", short(&named));
        return Err(AwsError::new(400, "InvalidDBInstanceState", message));
    }
    let length = desk.durations.create_instance.0 + reading(desk, &source) / 2;
    let id = get(params, "DBInstanceIdentifier").to_owned();
    made(desk, params, &id, &source, length)?;
    let follows = json!({
        "ReadReplicaSourceDBInstanceIdentifier": named,
        "BackupRetentionPeriod": 0,
        "StatusInfos": [{ "StatusType": "read replication", "Normal": true, "Status": "replicating" }],
    });
    desk.objects.change(Kind::RdsInstance, desk.region, &id, follows);
    let mut known =
        source.get("ReadReplicaDBInstanceIdentifiers").and_then(Value::as_array).cloned();
    known.get_or_insert_default().push(json!(match from == desk.region {
        true => id.clone(),
        false => arn(desk, "db", &id),
    }));
    let set = json!({ "ReadReplicaDBInstanceIdentifiers": known });
    desk.objects.change(Kind::RdsInstance, &from, short(&named), set);
    Ok(json!({ "DBInstance": instance(desk, &id)? }))
}

/// Makes an instance and what SQL finds in it.
fn made(
    desk: &mut Desk<'_>,
    params: &Params,
    id: &str,
    source: &Value,
    length: Duration,
) -> Result<Value, AwsError> {
    if desk.objects.get(Kind::RdsInstance, desk.region, id).is_some() {
        return Err(AwsError::new(400, "DBInstanceAlreadyExists", "DB instance already exists"));
    }
    let mut body = Map::new();
    for name in INHERITED {
        if let Some(value) = source.get(name) {
            body.insert(name.to_owned(), value.clone());
        }
    }
    let mut body = Value::Object(body);
    body["StorageEncrypted"] =
        json!(source["StorageEncrypted"] == true || source["Encrypted"] == true);
    asked(desk, params, &mut body)?;
    let resource = desk.objects.name("db-");
    for (name, value) in [
        ("DBInstanceIdentifier", json!(id)),
        ("DBInstanceArn", json!(arn(desk, "db", id))),
        ("DbiResourceId", json!(resource)),
        ("DBInstanceStatus", json!("creating")),
        ("BackupRetentionPeriod", json!(retention(params, source))),
    ] {
        body[name] = value;
    }
    let port = source["Port"].as_i64().or(source["Endpoint"]["Port"].as_i64()).unwrap_or(5432);
    let address = format!("{id}.c0rehearsal.{}.rds.amazonaws.com", desk.region);
    let (ready, now) = (desk.objects.now() + length, desk.objects.now());
    let backed_up = ready + desk.durations.first_backup.0;
    let mut usable = window::begins(backed_up);
    usable["DBInstanceStatus"] = json!("available");
    let then = vec![
        Due::set(
            ready,
            json!({
                "DBInstanceStatus": "backing-up",
                "Endpoint": { "Address": address, "Port": port, "HostedZoneId": "Z2R2ITUGPM61AM" },
                "InstanceCreateTime": stamp(ready),
            }),
        ),
        Due::set(backed_up, usable),
    ];
    desk.objects.put(Kind::RdsInstance, desk.region, id, body.clone(), then);
    inside(desk, id, text(source, "DBInstanceIdentifier"), &stamp(now));
    Ok(json!({ "DBInstance": body }))
}

/// Returns for how many days backups are kept: as asked for, else as the source's are.
fn retention(params: &Params, source: &Value) -> i64 {
    let asked = get(params, "BackupRetentionPeriod").parse().ok();
    let known = source.get("BackupRetentionPeriod").and_then(Value::as_i64);
    asked.or(known).unwrap_or(1)
}

/// What SQL finds in a restored instance: the source's data, roles and fence, on a timeline of its own.
fn inside(desk: &mut Desk<'_>, id: &str, source: &str, restored: &str) {
    let found = desk.objects.everywhere(Kind::Postgres).find(|(key, _)| key.id == source);
    let Some(mut body) = found.map(|(_, body)| body.clone()) else { return };
    let timeline = body.get("timeline").and_then(Value::as_u64).unwrap_or(1);
    body["timeline"] = json!(timeline + 1);
    body["replayed"] = json!(restored);
    body["sessions"] = json!(0);
    desk.objects.put(Kind::Postgres, desk.region, id, body, Vec::new());
}

/// Sets what a request asks for, and refuses what does not exist.
fn asked(desk: &Desk<'_>, params: &Params, body: &mut Value) -> Result<(), AwsError> {
    for name in ["DBInstanceClass", "EngineVersion", "StorageType", "KmsKeyId", "AvailabilityZone"]
    {
        if let Some(value) = params.get(name) {
            body[name] = json!(value);
        }
    }
    for name in ["MultiAZ", "DeletionProtection", "PubliclyAccessible", "CopyTagsToSnapshot"] {
        body[name] = json!(get(params, name) == "true");
    }
    let group = get(params, "DBSubnetGroupName");
    if !group.is_empty() {
        let found = desk.objects.get(Kind::RdsSubnetGroup, desk.region, group);
        body["DBSubnetGroup"] = found.cloned().ok_or_else(|| {
            let message = format!("DB subnet group '{group}' does not exist.");
            AwsError::new(404, "DBSubnetGroupNotFoundFault", message)
        })?;
    }
    let group = get(params, "DBParameterGroupName");
    if !group.is_empty() {
        if desk.objects.get(Kind::RdsParameterGroup, desk.region, group).is_none() {
            let message = format!("DBParameterGroup {group} not found.");
            return Err(AwsError::new(404, "DBParameterGroupNotFound", message));
        }
        body["DBParameterGroups"] =
            json!([{ "DBParameterGroupName": group, "ParameterApplyStatus": "in-sync" }]);
    }
    let groups = list(params, "VpcSecurityGroupIds.VpcSecurityGroupId");
    let groups: Vec<Value> = groups
        .iter()
        .map(|group| json!({ "VpcSecurityGroupId": group, "Status": "active" }))
        .collect();
    body["VpcSecurityGroups"] = json!(groups);
    let tags: Vec<Value> = tags(params)
        .into_iter()
        .map(|(key, value)| json!({ "Key": key, "Value": value }))
        .collect();
    body["TagList"] = json!(tags);
    Ok(())
}
