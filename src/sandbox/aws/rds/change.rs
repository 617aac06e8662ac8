//! Changing instances: promotion, settings, tags, the end.

use serde_json::{Map, Value, json};

use super::super::codec::{AwsError, Params, list, tags};
use super::{
    Desk, allowed, get, groups, instance, invalid_combination, reading, region_of, rename, short,
    snapshots, tagged, unknown, window,
};
use crate::sandbox::objects::{Due, text};
use crate::sandbox::world::Kind;

pub(super) fn promote(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let id = get(params, "DBInstanceIdentifier");
    let mut body = instance(desk, id)?;
    let source = text(&body, "ReadReplicaSourceDBInstanceIdentifier").to_owned();
    if source.is_empty() {
        let message = format!("DB Instance is not a read replica: {id}");
        return Err(AwsError::new(400, "InvalidDBInstanceState", message));
    }
    allowed(&body, &["available"])?;
    let retention = get(params, "BackupRetentionPeriod").parse::<i64>().unwrap_or(1);
    body["DBInstanceStatus"] = json!("modifying");
    let (now, length) = (desk.objects.now(), desk.durations.promote.0);
    // Whoever looks within the next seconds sees what was there before.
    window::shows(desk, &mut body, "available", desk.durations.promote_shows.0);
    let backed_up = now + length + desk.durations.first_backup.0;
    let mut usable = json!({ "DBInstanceStatus": "available" });
    if let (true, Value::Object(begins)) = (retention > 0, window::begins(backed_up)) {
        crate::sandbox::objects::merge(&mut usable, begins);
    }
    let alone = json!({
        "DBInstanceStatus": if retention > 0 { "backing-up" } else { "available" },
        "ReadReplicaSourceDBInstanceIdentifier": null,
        "StatusInfos": null,
        "BackupRetentionPeriod": retention,
    });
    let then = vec![
        Due::set(now + length.mul_f64(0.6), json!({ "DBInstanceStatus": "rebooting" })),
        Due::set(now + length, alone),
        Due::set(backed_up, usable),
    ];
    desk.objects.put(Kind::RdsInstance, desk.region, id, body.clone(), then);
    forget(desk, &source, &body);
    Ok(json!({ "DBInstance": window::shown(desk, &body) }))
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

/// What a change of an instance wants to be otherwise.
struct Wanted {
    /// Values that take effect within minutes
    soon: Map<String, Value>,
    /// Values that wait for the maintenance window
    later: Map<String, Value>,
}

impl Wanted {
    fn of(body: &Value, params: &Params) -> Result<Self, AwsError> {
        let number = |name: &str| params.get(name).and_then(|value| value.parse::<i64>().ok());
        let mut wanted = Map::new();
        for name in ["DBInstanceClass", "EngineVersion"] {
            if let Some(value) = params.get(name) {
                wanted.insert(name.to_owned(), json!(value));
            }
        }
        if let Some(value) = params.get("MultiAZ") {
            wanted.insert("MultiAZ".to_owned(), json!(value == "true"));
        }
        if let Some(size) = number("AllocatedStorage") {
            if size < body["AllocatedStorage"].as_i64().unwrap_or(0) {
                let message = "Invalid storage size: allocated storage cannot be made smaller.";
                return Err(invalid_combination(message));
            }
            wanted.insert("AllocatedStorage".to_owned(), json!(size));
        }
        wanted.retain(|name, value| body.get(name) != Some(value));
        let (mut soon, later) = match get(params, "ApplyImmediately") == "true" {
            true => (wanted, Map::new()),
            false => (Map::new(), wanted),
        };
        // How long backups are kept waits for nobody.
        let days =
            number("BackupRetentionPeriod").filter(|days| body["BackupRetentionPeriod"] != *days);
        if let Some(days) = days {
            soon.insert("BackupRetentionPeriod".to_owned(), json!(days));
        }
        Ok(Self { soon, later })
    }
}

/// Says whether a change wants another machine at once: another class, or a standby.
pub(super) fn wants_machine(desk: &Desk<'_>, params: &Params) -> bool {
    let Ok(body) = instance(desk, get(params, "DBInstanceIdentifier")) else { return false };
    Wanted::of(&body, params).is_ok_and(|Wanted { soon, .. }| {
        soon.contains_key("DBInstanceClass") || soon.get("MultiAZ") == Some(&json!(true))
    })
}

/// What a change of an instance may name.
const CHANGED: [&str; 12] = [
    "Action",
    "Version",
    "DBInstanceIdentifier",
    "NewDBInstanceIdentifier",
    "ApplyImmediately",
    "DeletionProtection",
    "BackupRetentionPeriod",
    "DBInstanceClass",
    "MultiAZ",
    "EngineVersion",
    "AllocatedStorage",
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
    if params.contains_key("NewDBInstanceIdentifier") {
        return rename::answer(desk, params, body);
    }
    let Wanted { mut soon, later } = Wanted::of(&body, params)?;
    // Protection takes effect at once and leaves the instance available.
    if let Some(value) = params.get("DeletionProtection") {
        body["DeletionProtection"] = json!(value == "true");
    }
    let mut pending = later.clone();
    pending.extend(soon.clone());
    let mut then = Vec::new();
    if let Some(settled) = groups::change(&mut body, params) {
        let at = desk.objects.now() + desk.durations.modify.0 / 4;
        then.push(Due::set(at, json!({ "VpcSecurityGroups": settled })));
    }
    if !soon.is_empty() {
        body["DBInstanceStatus"] = json!("modifying");
        let standby = soon.remove("MultiAZ");
        let grown = soon.contains_key("AllocatedStorage");
        let backed_up = soon.get("BackupRetentionPeriod").is_some_and(|days| *days != 0)
            && body["BackupRetentionPeriod"] == 0;
        let mut end = desk.objects.now() + desk.durations.modify.0;
        let mut left = later;
        if let Some(wanted) = &standby {
            left.insert("MultiAZ".to_owned(), wanted.clone());
        }
        let status = if grown { "storage-optimization" } else { "available" };
        soon.insert("DBInstanceStatus".to_owned(), json!(status));
        soon.insert("PendingModifiedValues".to_owned(), or_null(left.clone()));
        if let (true, Value::Object(begins)) = (backed_up, window::begins(end)) {
            soon.extend(begins);
        }
        then.push(Due::set(end, Value::Object(soon)));
        if let Some(wanted) = standby {
            left.remove("MultiAZ");
            end += desk.durations.add_standby.0;
            let done = json!({ "MultiAZ": wanted, "PendingModifiedValues": or_null(left) });
            then.push(Due::set(end, done));
        }
        if grown {
            end += reading(desk, &body) / 2;
            then.push(Due::set(end, json!({ "DBInstanceStatus": "available" })));
        }
    }
    if !pending.is_empty() {
        body["PendingModifiedValues"] = Value::Object(pending);
    }
    desk.objects.put(Kind::RdsInstance, desk.region, id, body.clone(), then);
    Ok(json!({ "DBInstance": window::shown(desk, &body) }))
}

fn or_null(fields: Map<String, Value>) -> Value {
    if fields.is_empty() { Value::Null } else { Value::Object(fields) }
}

pub(super) fn delete(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let id = get(params, "DBInstanceIdentifier");
    let mut body = instance(desk, id)?;
    if text(&body, "DBInstanceStatus") == "deleting" {
        let message = format!("Instance {id} is already being deleted.");
        return Err(AwsError::new(400, "InvalidDBInstanceState", message));
    }
    if body["DeletionProtection"] == true {
        let message = "Cannot delete protected DB Instance, please disable deletion protection and try again.";
        return Err(invalid_combination(message));
    }
    let last = get(params, "FinalDBSnapshotIdentifier");
    match (get(params, "SkipFinalSnapshot") == "true", last) {
        (true, "") => {}
        (true, _) => {
            let message = "FinalDBSnapshotIdentifier can not be specified when deleting with SkipFinalSnapshot.";
            return Err(invalid_combination(message));
        }
        (false, "") => {
            let message =
                "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.";
            return Err(invalid_combination(message));
        }
        (false, last) => {
            let mut wanted = Params::new();
            wanted.insert("DBInstanceIdentifier".to_owned(), id.to_owned());
            wanted.insert("DBSnapshotIdentifier".to_owned(), last.to_owned());
            snapshots::create(desk, &wanted)?;
        }
    }
    window::stands(desk, &mut body);
    body["DBInstanceStatus"] = json!("deleting");
    let then = vec![Due::gone(desk.objects.now() + desk.durations.delete_instance.0)];
    desk.objects.put(Kind::RdsInstance, desk.region, id, body.clone(), then);
    let source = text(&body, "ReadReplicaSourceDBInstanceIdentifier").to_owned();
    forget(desk, &source, &body);
    Ok(json!({ "DBInstance": body }))
}

/// What is done to an instance as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    Reboot,
    Start,
    Stop,
}

pub(super) fn switch(
    desk: &mut Desk<'_>,
    switch: Switch,
    params: &Params,
) -> Result<Value, AwsError> {
    let id = get(params, "DBInstanceIdentifier");
    let mut body = instance(desk, id)?;
    let (from, through, to) = match switch {
        Switch::Reboot => ("available", "rebooting", "available"),
        Switch::Start => ("stopped", "starting", "available"),
        Switch::Stop => ("available", "stopping", "stopped"),
    };
    allowed(&body, &[from])?;
    let end = desk.objects.now() + desk.durations.modify.0;
    let mut done = json!({ "DBInstanceStatus": to });
    match switch {
        Switch::Reboot => {}
        Switch::Start => window::goes_on(&mut done, end),
        Switch::Stop if !text(&body, "ReadReplicaSourceDBInstanceIdentifier").is_empty() => {
            let message = format!("Cannot stop {id}: it is a read replica.");
            return Err(AwsError::new(400, "InvalidDBInstanceState", message));
        }
        Switch::Stop => window::stands(desk, &mut body),
    }
    body["DBInstanceStatus"] = json!(through);
    if let Some(settled) = groups::settled(&body) {
        done["VpcSecurityGroups"] = settled;
    }
    desk.objects.put(Kind::RdsInstance, desk.region, id, body.clone(), vec![Due::set(end, done)]);
    Ok(json!({ "DBInstance": window::shown(desk, &body) }))
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
    let (kind, id, field) = tagged(desk, get(params, "ResourceName"))?;
    let body = desk.objects.get(kind, desk.region, &id);
    let known = body.and_then(|body| body.get(field)?.as_array());
    let mut known = known.cloned().unwrap_or_default();
    change(&mut known);
    let set = Value::Object(Map::from_iter([(field.to_owned(), json!(known))]));
    desk.objects.change(kind, desk.region, &id, set);
    Ok(json!({}))
}
