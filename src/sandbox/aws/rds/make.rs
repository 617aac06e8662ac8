//! Making instances, snapshots and copies.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::codec::{AwsError, Params, list, tags};
use super::{Desk, allowed, get, gib, instance, instant, no_backup, region_of, short, snapshot};
use crate::sandbox::objects::{Due, text};
use crate::sandbox::world::{Kind, stamp};

/// Fields an instance takes over from what it is made of.
const INHERITED: [&str; 11] = [
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

pub(super) fn from_snapshot(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let source = snapshot(desk, get(params, "DBSnapshotIdentifier"))?;
    if text(&source, "Status") != "available" {
        let message = format!("The snapshot is in state {}", text(&source, "Status"));
        return Err(AwsError::new(400, "InvalidDBSnapshotState", message));
    }
    let length = desk.durations.create_instance.0 + reading(desk, &source);
    let id = get(params, "DBInstanceIdentifier").to_owned();
    made(desk, params, &id, &source, length)
}

pub(super) fn to_point_in_time(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let arn = get(params, "SourceDBInstanceAutomatedBackupsArn");
    let source = if arn.is_empty() {
        instance(desk, get(params, "SourceDBInstanceIdentifier"))?
    } else {
        let mut all = desk.objects.of_kind(Kind::RdsBackup, desk.region);
        let found = all.find(|(_, body)| text(body, "DBInstanceAutomatedBackupsArn") == arn);
        found.map(|(_, body)| body.clone()).ok_or_else(|| no_backup(arn))?
    };
    let latest = instant(&source, &["RestoreWindow", "LatestTime"])
        .or_else(|| instant(&source, &["LatestRestorableTime"]));
    let earliest = instant(&source, &["RestoreWindow", "EarliestTime"]);
    let wanted: Option<Timestamp> = get(params, "RestoreTime").parse().ok();
    let outside = wanted.is_some_and(|wanted| {
        latest.is_none_or(|latest| wanted > latest) || earliest.is_some_and(|first| wanted < first)
    });
    if outside || latest.is_none() {
        let message = "The specified time is outside of what can be restored.";
        return Err(AwsError::new(400, "InvalidRestoreFault", message));
    }
    let length =
        desk.durations.create_instance.0 + reading(desk, &source) + desk.durations.replay_logs.0;
    let id = get(params, "TargetDBInstanceIdentifier").to_owned();
    made(desk, params, &id, &source, length)
}

pub(super) fn replica(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let named = get(params, "SourceDBInstanceIdentifier").to_owned();
    let from = region_of(&named).unwrap_or(desk.region).to_owned();
    let found = desk.objects.get(Kind::RdsInstance, &from, short(&named)).cloned();
    let source = found.ok_or_else(|| {
        AwsError::new(404, "DBInstanceNotFound", format!("DBInstance {named} not found."))
    })?;
    allowed(&source, &["available", "backing-up", "storage-optimization"])?;
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

fn arn(desk: &Desk<'_>, kind: &str, id: &str) -> String {
    format!("arn:aws:rds:{}:{}:{kind}:{id}", desk.region, desk.account)
}

/// How long the data of a source takes to be read.
fn reading(desk: &Desk<'_>, source: &Value) -> Duration {
    Duration::from_secs(gib(source) * u64::from(desk.durations.restore_seconds_per_gib))
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
        ("BackupRetentionPeriod", json!(1)),
    ] {
        body[name] = value;
    }
    let port = source["Port"].as_i64().or(source["Endpoint"]["Port"].as_i64()).unwrap_or(5432);
    let address = format!("{id}.c0rehearsal.{}.rds.amazonaws.com", desk.region);
    let (ready, now) = (desk.objects.now() + length, desk.objects.now());
    let backed_up = ready + desk.durations.first_backup.0;
    let then = vec![
        Due::set(
            ready,
            json!({
                "DBInstanceStatus": "backing-up",
                "Endpoint": { "Address": address, "Port": port, "HostedZoneId": "Z2R2ITUGPM61AM" },
                "InstanceCreateTime": stamp(ready),
            }),
        ),
        Due::set(
            backed_up,
            json!({ "DBInstanceStatus": "available", "LatestRestorableTime": stamp(backed_up) }),
        ),
    ];
    desk.objects.put(Kind::RdsInstance, desk.region, id, body.clone(), then);
    inside(desk, id, text(source, "DBInstanceIdentifier"), &stamp(now));
    Ok(json!({ "DBInstance": body }))
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

fn snapshot_body(desk: &Desk<'_>, id: &str, source: &Value) -> Value {
    let mut body = Map::new();
    for name in INHERITED.into_iter().chain(["DBInstanceIdentifier", "DbiResourceId"]) {
        if let Some(value) = source.get(name).filter(|_| name != "DBInstanceClass") {
            body.insert(name.to_owned(), value.clone());
        }
    }
    let mut body = Value::Object(body);
    body["Encrypted"] = json!(source["StorageEncrypted"] == true || source["Encrypted"] == true);
    body["DBSnapshotIdentifier"] = json!(id);
    body["DBSnapshotArn"] = json!(arn(desk, "snapshot", id));
    body["SnapshotType"] = json!("manual");
    body["Status"] = json!("creating");
    body["PercentProgress"] = json!(0);
    body
}

fn snapshot_put(
    desk: &mut Desk<'_>,
    id: &str,
    body: Value,
    length: Duration,
) -> Result<Value, AwsError> {
    if desk.objects.get(Kind::RdsSnapshot, desk.region, id).is_some() {
        let message = "Cannot create the snapshot because one with this identifier already exists.";
        return Err(AwsError::new(400, "DBSnapshotAlreadyExists", message));
    }
    let now = desk.objects.now();
    let taken = stamp(now);
    let half = json!({ "PercentProgress": 50 });
    let done =
        json!({ "Status": "available", "PercentProgress": 100, "SnapshotCreateTime": taken });
    let then = vec![Due::set(now + length / 2, half), Due::set(now + length, done)];
    desk.objects.put(Kind::RdsSnapshot, desk.region, id, body.clone(), then);
    Ok(json!({ "DBSnapshot": body }))
}

pub(super) fn snapshot_of(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let source = instance(desk, get(params, "DBInstanceIdentifier"))?;
    allowed(&source, &["available", "storage-optimization"])?;
    let id = get(params, "DBSnapshotIdentifier").to_owned();
    let mut body = snapshot_body(desk, &id, &source);
    body["OriginalSnapshotCreateTime"] = json!(stamp(desk.objects.now()));
    let length = Duration::from_secs(60) + reading(desk, &source) / 4;
    snapshot_put(desk, &id, body, length)
}

pub(super) fn copy(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let named = get(params, "SourceDBSnapshotIdentifier").to_owned();
    let source = snapshot(desk, &named)?;
    if text(&source, "Status") != "available" {
        let message = format!("The snapshot is in state {}", text(&source, "Status"));
        return Err(AwsError::new(400, "InvalidDBSnapshotState", message));
    }
    let from = region_of(&named).unwrap_or(desk.region).to_owned();
    if source["Encrypted"] == true && from != desk.region && get(params, "KmsKeyId").is_empty() {
        let message = "KmsKeyId is required to copy an encrypted snapshot to another Region.";
        return Err(AwsError::new(400, "InvalidParameterCombination", message));
    }
    let id = get(params, "TargetDBSnapshotIdentifier").to_owned();
    let mut body = snapshot_body(desk, &id, &source);
    body["SourceRegion"] = json!(from);
    body["SourceDBSnapshotIdentifier"] = json!(named);
    let taken =
        source.get("OriginalSnapshotCreateTime").or_else(|| source.get("SnapshotCreateTime"));
    body["OriginalSnapshotCreateTime"] = taken.cloned().unwrap_or(Value::Null);
    let length = reading(desk, &source) / if from == desk.region { 2 } else { 1 };
    snapshot_put(desk, &id, body, length)
}

pub(super) fn replicated_backup(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let named = get(params, "SourceDBInstanceArn").to_owned();
    let from = region_of(&named).unwrap_or(desk.region).to_owned();
    let found = desk.objects.get(Kind::RdsInstance, &from, short(&named)).cloned();
    let mut body = found.ok_or_else(|| {
        AwsError::new(404, "DBInstanceNotFound", format!("DBInstance {named} not found."))
    })?;
    let resource = text(&body, "DbiResourceId").to_lowercase();
    let now = desk.objects.now();
    let arn = arn(desk, "auto-backup", &format!("ab-{resource}"));
    for name in ["Endpoint", "DBInstanceStatus", "TagList", "LatestRestorableTime"] {
        if let Value::Object(fields) = &mut body {
            fields.remove(name);
        }
    }
    body["DBInstanceAutomatedBackupsArn"] = json!(arn);
    body["Region"] = json!(from);
    body["Status"] = json!("pending");
    let ready = now + reading(desk, &body);
    let window = json!({ "EarliestTime": stamp(ready), "LatestTime": stamp(ready) });
    let then = vec![Due::set(ready, json!({ "Status": "replicating", "RestoreWindow": window }))];
    desk.objects.put(Kind::RdsBackup, desk.region, &resource, body.clone(), then);
    Ok(json!({ "DBInstanceAutomatedBackup": body }))
}
