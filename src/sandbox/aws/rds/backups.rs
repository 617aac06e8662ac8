//! Automated backups: those of a region's own instances, and those replicated into it.

use serde_json::{Map, Value, json};

use super::super::codec::{AwsError, Params};
use super::describe::{known_filters, page, passes};
use super::{Desk, arn, get, invalid_value, reading, region_of, short, source_instance, window};
use crate::sandbox::objects::{Due, text};
use crate::sandbox::world::{Kind, stamp};

/// What of a backup is its instance's own.
const OWN: [&str; 16] = [
    "DBInstanceIdentifier",
    "DBInstanceArn",
    "DbiResourceId",
    "AllocatedStorage",
    "StorageType",
    "Iops",
    "Port",
    "AvailabilityZone",
    "VpcId",
    "InstanceCreateTime",
    "MasterUsername",
    "Engine",
    "EngineVersion",
    "LicenseModel",
    "KmsKeyId",
    "BackupRetentionPeriod",
];

/// Where an instance keeps the tags of its own backup, which is no object of its own here.
const TAGS: &str = "_backup_tags";

/// Returns the kind and id of the object that keeps a backup's tags, and the field they are in.
pub(super) fn tagged(
    desk: &Desk<'_>,
    named: &str,
) -> Result<(Kind, String, &'static str), AwsError> {
    let is_it = |body: &Value| text(body, "DBInstanceAutomatedBackupsArn") == named;
    let mut replicated = desk.objects.of_kind(Kind::RdsBackup, desk.region);
    if let Some((id, _)) = replicated.find(|(_, body)| is_it(body)) {
        return Ok((Kind::RdsBackup, id.to_owned(), "TagList"));
    }
    let mut own = desk.objects.of_kind(Kind::RdsInstance, desk.region);
    own.find(|(_, body)| own_backup(desk, body).is_some_and(|(_, backup)| is_it(&backup)))
        .map(|(id, _)| (Kind::RdsInstance, id.to_owned(), TAGS))
        .ok_or_else(|| missing(named))
}

pub(super) fn missing(named: &str) -> AwsError {
    let message = format!("Automated backup {named} not found.");
    AwsError::new(404, "DBInstanceAutomatedBackupNotFound", message)
}

/// Returns every backup a region has, as it is now.
pub(super) fn all(desk: &Desk<'_>) -> Vec<(String, Value)> {
    let replicated = desk.objects.of_kind(Kind::RdsBackup, desk.region).map(|(id, body)| {
        let mut shown = body.clone();
        if let Some((first, last)) = window::of_backup(desk, body) {
            shown["RestoreWindow"] =
                json!({ "EarliestTime": stamp(first), "LatestTime": stamp(last) });
        }
        (id.to_owned(), shown)
    });
    let own = desk.objects.of_kind(Kind::RdsInstance, desk.region);
    replicated.chain(own.filter_map(|(_, body)| own_backup(desk, body))).collect()
}

/// Returns the backups of an instance of this region; none of a replica that keeps none.
fn own_backup(desk: &Desk<'_>, instance: &Value) -> Option<(String, Value)> {
    let (first, last) = window::of_instance(desk, desk.region, instance)?;
    let resource = text(instance, "DbiResourceId").trim_start_matches("db-").to_lowercase();
    let mut backup = of(instance);
    backup["Region"] = json!(desk.region);
    backup["Status"] = json!("active");
    backup["DBInstanceAutomatedBackupsArn"] =
        json!(arn(desk, "auto-backup", &format!("ab-{resource}")));
    backup["RestoreWindow"] = json!({ "EarliestTime": stamp(first), "LatestTime": stamp(last) });
    if let Some(tags) = instance.get(TAGS) {
        backup["TagList"] = tags.clone();
    }
    let is_copy = |copy: &Value| text(copy, "DbiResourceId") == text(instance, "DbiResourceId");
    let copies: Vec<Value> = desk
        .objects
        .everywhere(Kind::RdsBackup)
        .filter(|(_, copy)| is_copy(copy) && text(copy, "Region") == desk.region)
        .filter(|(_, copy)| text(copy, "Status") == "replicating")
        .map(|(_, copy)| {
            let arn = &copy["DBInstanceAutomatedBackupsArn"];
            json!({ "DBInstanceAutomatedBackupsArn": arn })
        })
        .collect();
    if !copies.is_empty() {
        backup["DBInstanceAutomatedBackupsReplications"] = json!(copies);
    }
    Some((format!("ab-{resource}"), backup))
}

fn of(instance: &Value) -> Value {
    let fields = OWN.into_iter().filter_map(|name| {
        let value = instance.get(name).filter(|value| !value.is_null())?;
        Some((name.to_owned(), value.clone()))
    });
    let mut backup = Value::Object(fields.collect::<Map<_, _>>());
    backup["Encrypted"] = json!(instance["StorageEncrypted"] == true);
    if let Some(port) = instance["Endpoint"]["Port"].as_i64() {
        backup["Port"] = json!(port);
    }
    backup
}

pub(super) fn describe(desk: &Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let arn = get(params, "DBInstanceAutomatedBackupsArn");
    let (of, resource) = (get(params, "DBInstanceIdentifier"), get(params, "DbiResourceId"));
    let known = [
        ("status", "Status"),
        ("db-instance-id", "DBInstanceIdentifier"),
        ("dbi-resource-id", "DbiResourceId"),
    ];
    let filters = known_filters(params, &known)?;
    let mut found = all(desk);
    found.retain(|(_, body)| {
        (arn.is_empty() || text(body, "DBInstanceAutomatedBackupsArn") == arn)
            && (of.is_empty() || text(body, "DBInstanceIdentifier") == of)
            && (resource.is_empty() || text(body, "DbiResourceId") == resource)
            && passes(&filters, body)
    });
    if found.is_empty() && !arn.is_empty() {
        return Err(missing(arn));
    }
    page(found, "DBInstanceAutomatedBackups", params)
}

/// Answers StartDBInstanceAutomatedBackupsReplication, asked in the region that is to keep the copy.
pub(super) fn start(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let named = get(params, "SourceDBInstanceArn").to_owned();
    if region_of(&named).is_none_or(|region| region == desk.region) {
        let message = "The source instance must be in another Region than the request is sent to.";
        return Err(invalid_value(message));
    }
    let (source, from) = source_instance(desk, &named)?;
    if source["BackupRetentionPeriod"].as_i64().unwrap_or(0) == 0 {
        let message = format!("Automated backups are not enabled on {}.", short(&named));
        return Err(AwsError::new(400, "InvalidDBInstanceState", message));
    }
    let resource = text(&source, "DbiResourceId").trim_start_matches("db-").to_lowercase();
    let id = format!("ab-{resource}");
    let mut body = of(&source);
    body["DBInstanceArn"] = json!(named);
    body["DBInstanceAutomatedBackupsArn"] = json!(arn(desk, "auto-backup", &id));
    body["Region"] = json!(from);
    body["Status"] = json!("pending");
    if let Some(days) = params.get("BackupRetentionPeriod").and_then(|days| days.parse().ok()) {
        let days: i64 = days;
        body["BackupRetentionPeriod"] = json!(days);
    }
    if !get(params, "KmsKeyId").is_empty() {
        body["KmsKeyId"] = json!(get(params, "KmsKeyId"));
    }
    let ready = desk.objects.now() + reading(desk, &body);
    let then = vec![Due::set(ready, window::backup_begins(ready))];
    desk.objects.put(Kind::RdsBackup, desk.region, &id, body.clone(), then);
    Ok(json!({ "DBInstanceAutomatedBackup": body }))
}

/// Answers StopDBInstanceAutomatedBackupsReplication: what was copied is kept until it is too old.
pub(super) fn stop(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let source = get(params, "SourceDBInstanceArn");
    let found = desk.objects.of_kind(Kind::RdsBackup, desk.region).find(|(_, body)| {
        let is_it = text(body, "DBInstanceArn") == source
            || (text(body, "DBInstanceIdentifier") == short(source)
                && region_of(source) == Some(text(body, "Region")));
        is_it && text(body, "Status") != "retained"
    });
    let Some((id, body)) = found.map(|(id, body)| (id.to_owned(), body.clone())) else {
        return Err(super::no_instance(source));
    };
    let mut body = body;
    if let Some((first, last)) = window::of_backup(desk, &body) {
        body["RestoreWindow"] = json!({ "EarliestTime": stamp(first), "LatestTime": stamp(last) });
    }
    body["Status"] = json!("retained");
    desk.objects.put(Kind::RdsBackup, desk.region, &id, body.clone(), Vec::new());
    Ok(json!({ "DBInstanceAutomatedBackup": body }))
}

/// Returns the backup a restore names by ARN, with its window as it is now.
pub(super) fn by_arn(desk: &Desk<'_>, named: &str) -> Result<Value, AwsError> {
    let mut all = all(desk).into_iter().map(|(_, body)| body);
    all.find(|body| text(body, "DBInstanceAutomatedBackupsArn") == named)
        .ok_or_else(|| missing(named))
}
