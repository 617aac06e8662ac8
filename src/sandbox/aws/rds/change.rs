//! Changing instances: promotion, settings, tags, the end.

use serde_json::{Value, json};

use super::super::codec::{AwsError, Params, list, tags};
use super::{Desk, allowed, get, groups, instance, named, region_of, short, unknown};
use crate::sandbox::objects::{Due, text};
use crate::sandbox::world::Kind;

pub(super) fn promote(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let id = get(params, "DBInstanceIdentifier");
    let mut body = instance(desk, id)?;
    let source = text(&body, "ReadReplicaSourceDBInstanceIdentifier").to_owned();
    if source.is_empty() {
        let message = "The specified DB instance is not a Read Replica.";
        return Err(AwsError::new(400, "InvalidDBInstanceState", message));
    }
    allowed(&body, &["available"])?;
    let retention = get(params, "BackupRetentionPeriod").parse::<i64>().unwrap_or(1);
    body["DBInstanceStatus"] = json!("modifying");
    let (now, length) = (desk.objects.now(), desk.durations.promote.0);
    let alone = json!({
        "DBInstanceStatus": if retention > 0 { "backing-up" } else { "available" },
        "ReadReplicaSourceDBInstanceIdentifier": null,
        "StatusInfos": null,
        "BackupRetentionPeriod": retention,
    });
    let then = vec![
        Due::set(now + length.mul_f64(0.6), json!({ "DBInstanceStatus": "rebooting" })),
        Due::set(now + length, alone),
        Due::set(
            now + length + desk.durations.first_backup.0,
            json!({ "DBInstanceStatus": "available" }),
        ),
    ];
    desk.objects.put(Kind::RdsInstance, desk.region, id, body.clone(), then);
    forget(desk, &source, &body);
    Ok(json!({ "DBInstance": body }))
}

/// Takes a replica off its source's list.
fn forget(desk: &mut Desk<'_>, source: &str, replica: &Value) {
    let from = region_of(source).unwrap_or(desk.region).to_owned();
    let found = desk.objects.get(Kind::RdsInstance, &from, short(source));
    let known = found.and_then(|found| found.get("ReadReplicaDBInstanceIdentifiers")?.as_array());
    let Some(known) = known else { return };
    let is_other = |entry: &&Value| {
        let entry = entry.as_str().unwrap_or_default();
        entry != text(replica, "DBInstanceArn") && entry != text(replica, "DBInstanceIdentifier")
    };
    let left: Vec<Value> = known.iter().filter(is_other).cloned().collect();
    let set = json!({ "ReadReplicaDBInstanceIdentifiers": left });
    desk.objects.change(Kind::RdsInstance, &from, short(source), set);
}

/// What a change of an instance may name.
const CHANGED: [&str; 9] = [
    "Action",
    "Version",
    "DBInstanceIdentifier",
    "ApplyImmediately",
    "DeletionProtection",
    "BackupRetentionPeriod",
    "DBInstanceClass",
    "MultiAZ",
    "VpcSecurityGroupIds.VpcSecurityGroupId",
];

/// Refuses a change of what is not simulated: answered by 200 and not made, it would be taken for made.
fn simulated(params: &Params) -> Result<(), AwsError> {
    let base = |name: &str| match name.rsplit_once('.') {
        Some((list, _)) => list.to_owned(),
        None => name.to_owned(),
    };
    let other = params.keys().find(|name| !CHANGED.contains(&base(name).as_str()));
    other.map_or(Ok(()), |name| Err(unknown(&format!("rds ModifyDBInstance {name}"))))
}

pub(super) fn modify(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    simulated(params)?;
    let id = get(params, "DBInstanceIdentifier");
    let mut body = instance(desk, id)?;
    allowed(&body, &["available", "storage-optimization"])?;
    let (now, mut pending) = (desk.objects.now(), json!({}));
    // Protection takes effect at once and leaves the instance available.
    if let Some(value) = params.get("DeletionProtection") {
        body["DeletionProtection"] = json!(value == "true");
    }
    if let Some(days) = params.get("BackupRetentionPeriod").and_then(|days| days.parse().ok()) {
        let days: i64 = days;
        if body["BackupRetentionPeriod"] != days {
            pending["BackupRetentionPeriod"] = json!(days);
        }
    }
    if let Some(class) = params.get("DBInstanceClass")
        && body["DBInstanceClass"] != class.as_str()
    {
        pending["DBInstanceClass"] = json!(class);
    }
    let standby = params.get("MultiAZ").map(|value| json!(value == "true"));
    let standby = standby.filter(|wanted| body["MultiAZ"] != *wanted);
    if let Some(wanted) = &standby {
        pending["MultiAZ"] = wanted.clone();
    }
    let mut then = Vec::new();
    if let Some(settled) = groups::change(&mut body, params) {
        let set = json!({ "VpcSecurityGroups": settled });
        then.push(Due::set(now + desk.durations.modify.0 / 4, set));
    }
    if pending != json!({}) {
        body["DBInstanceStatus"] = json!("modifying");
        body["PendingModifiedValues"] = pending.clone();
        let mut soon = pending;
        let mut left = json!({});
        if let (Some(wanted), Value::Object(fields)) = (&standby, &mut soon) {
            fields.remove("MultiAZ");
            left["MultiAZ"] = wanted.clone();
        }
        soon["DBInstanceStatus"] = json!("available");
        soon["PendingModifiedValues"] = if standby.is_some() { left } else { Value::Null };
        then.push(Due::set(now + desk.durations.modify.0, soon));
        if let Some(wanted) = standby {
            let done = json!({ "MultiAZ": wanted, "PendingModifiedValues": null });
            let length = desk.durations.modify.0 + desk.durations.add_standby.0;
            then.push(Due::set(now + length, done));
        }
    }
    desk.objects.put(Kind::RdsInstance, desk.region, id, body.clone(), then);
    Ok(json!({ "DBInstance": body }))
}

pub(super) fn delete(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let id = get(params, "DBInstanceIdentifier");
    let mut body = instance(desk, id)?;
    if body["DeletionProtection"] == true {
        let message = "Cannot delete protected DB Instance, please disable deletion protection and try again.";
        return Err(AwsError::new(400, "InvalidParameterCombination", message));
    }
    if get(params, "SkipFinalSnapshot") != "true"
        && get(params, "FinalDBSnapshotIdentifier").is_empty()
    {
        let message =
            "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.";
        return Err(AwsError::new(400, "InvalidParameterCombination", message));
    }
    if text(&body, "DBInstanceStatus") == "deleting" {
        let message = format!("Instance {id} is already being deleted.");
        return Err(AwsError::new(400, "InvalidDBInstanceState", message));
    }
    body["DBInstanceStatus"] = json!("deleting");
    let then = vec![Due::gone(desk.objects.now() + desk.durations.delete_instance.0)];
    desk.objects.put(Kind::RdsInstance, desk.region, id, body.clone(), then);
    Ok(json!({ "DBInstance": body }))
}

pub(super) fn switch(
    desk: &mut Desk<'_>,
    action: &str,
    params: &Params,
) -> Result<Value, AwsError> {
    let id = get(params, "DBInstanceIdentifier");
    let mut body = instance(desk, id)?;
    let (from, through, to) = match action {
        "RebootDBInstance" => ("available", "rebooting", "available"),
        "StartDBInstance" => ("stopped", "starting", "available"),
        _ => ("available", "stopping", "stopped"),
    };
    allowed(&body, &[from])?;
    body["DBInstanceStatus"] = json!(through);
    let mut done = json!({ "DBInstanceStatus": to });
    if let Some(settled) = groups::settled(&body) {
        done["VpcSecurityGroups"] = settled;
    }
    let then = vec![Due::set(desk.objects.now() + desk.durations.modify.0, done)];
    desk.objects.put(Kind::RdsInstance, desk.region, id, body.clone(), then);
    Ok(json!({ "DBInstance": body }))
}

pub(super) fn add_tags(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let added = tags(params);
    retagged(desk, params, |known| {
        for (key, value) in added {
            known.retain(|tag| text(tag, "Key") != key);
            known.push(json!({ "Key": key, "Value": value }));
        }
    })
}

pub(super) fn remove_tags(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let removed = list(params, "TagKeys.member");
    retagged(desk, params, |known| {
        known.retain(|tag| !removed.iter().any(|key| key == text(tag, "Key")));
    })
}

fn retagged(
    desk: &mut Desk<'_>,
    params: &Params,
    change: impl FnOnce(&mut Vec<Value>),
) -> Result<Value, AwsError> {
    let (kind, id) = named(desk, get(params, "ResourceName"))?;
    let body = desk.objects.get(kind, desk.region, &id);
    let known = body.and_then(|body| body.get("TagList")?.as_array());
    let mut known = known.cloned().unwrap_or_default();
    change(&mut known);
    desk.objects.change(kind, desk.region, &id, json!({ "TagList": known }));
    Ok(json!({}))
}
