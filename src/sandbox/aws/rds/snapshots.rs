//! Snapshots and their copies.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::codec::{AwsError, Params, decode, form, tags};
use super::make::INHERITED;
use super::{Desk, allowed, arn, get, instance, invalid_value, reached, reading, short, snapshot};
use crate::sandbox::objects::{Due, text};
use crate::sandbox::world::{Kind, stamp};

pub(super) fn usable(source: &Value) -> Result<(), AwsError> {
    if text(source, "Status") == "available" {
        return Ok(());
    }
    let (id, status) = (text(source, "DBSnapshotIdentifier"), text(source, "Status"));
    let message = format!("The snapshot {id} is not in an allowed state: {status}");
    Err(AwsError::new(400, "InvalidDBSnapshotState", message))
}

fn body(desk: &Desk<'_>, id: &str, source: &Value, params: &Params) -> Value {
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
    let tags: Vec<Value> = tags(params)
        .into_iter()
        .map(|(key, value)| json!({ "Key": key, "Value": value }))
        .collect();
    body["TagList"] = match get(params, "CopyTags") == "true" && tags.is_empty() {
        true => source.get("TagList").cloned().unwrap_or_else(|| json!([])),
        false => json!(tags),
    };
    body
}

fn free(desk: &Desk<'_>, id: &str) -> Result<(), AwsError> {
    let fits = id.starts_with(|c: char| c.is_ascii_alphabetic())
        && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !id.ends_with('-')
        && !id.contains("--");
    if !fits {
        return Err(invalid_value(format!(
            "Invalid snapshot identifier: {id}. Identifiers must begin with a letter; must contain only ASCII letters, \
             digits, and hyphens; and must not end with a hyphen or contain two consecutive hyphens."
        )));
    }
    match desk.objects.get(Kind::RdsSnapshot, desk.region, id) {
        None => Ok(()),
        Some(_) => {
            let message = format!(
                "Cannot create the snapshot because a snapshot with the identifier {id} already exists."
            );
            Err(AwsError::new(400, "DBSnapshotAlreadyExists", message))
        }
    }
}

fn put(desk: &mut Desk<'_>, id: &str, body: Value, length: Duration) -> Value {
    let now = desk.objects.now();
    let half = json!({ "PercentProgress": 50 });
    let done =
        json!({ "Status": "available", "PercentProgress": 100, "SnapshotCreateTime": stamp(now) });
    let then = vec![Due::set(now + length / 2, half), Due::set(now + length, done)];
    desk.objects.put(Kind::RdsSnapshot, desk.region, id, body.clone(), then);
    json!({ "DBSnapshot": body })
}

pub(super) fn create(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let source = instance(desk, get(params, "DBInstanceIdentifier"))?;
    let id = get(params, "DBSnapshotIdentifier").to_owned();
    free(desk, &id)?;
    allowed(&source, &["available", "storage-optimization"])?;
    let mut body = body(desk, &id, &source, params);
    body["OriginalSnapshotCreateTime"] = json!(stamp(desk.objects.now()));
    let length = Duration::from_secs(60) + reading(desk, &source) / 4;
    Ok(put(desk, &id, body, length))
}

pub(super) fn copy(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let named = get(params, "SourceDBSnapshotIdentifier").to_owned();
    let from = reached(desk, &named)?;
    let source = snapshot(desk, &named)?;
    let id = get(params, "TargetDBSnapshotIdentifier").to_owned();
    free(desk, &id)?;
    usable(&source)?;
    let key = get(params, "KmsKeyId");
    if source["Encrypted"] == true && from != desk.region {
        if key.is_empty() {
            let message = "Must specify new KMS key for cross region encrypted snapshot copy.";
            return Err(invalid_value(message));
        }
        if !signed_for(desk, get(params, "PreSignedUrl"), &named) {
            return Err(invalid_value("PreSignedUrl could not be authenticated"));
        }
    }
    let mut body = body(desk, &id, &source, params);
    if !key.is_empty() {
        body["KmsKeyId"] = json!(key);
        body["Encrypted"] = json!(true);
    }
    if from != desk.region {
        body["SourceRegion"] = json!(from);
    }
    body["SourceDBSnapshotIdentifier"] = match named.starts_with("arn:") {
        true => json!(named),
        false => json!(arn(desk, "snapshot", &named)),
    };
    let taken =
        source.get("OriginalSnapshotCreateTime").or_else(|| source.get("SnapshotCreateTime"));
    body["OriginalSnapshotCreateTime"] = taken.cloned().unwrap_or(Value::Null);
    let length = reading(desk, &source) / if from == desk.region { 2 } else { 1 };
    Ok(put(desk, &id, body, length))
}

/// Says whether a URL is a signed request to copy this snapshot into this region.
fn signed_for(desk: &Desk<'_>, url: &str, named: &str) -> bool {
    let Some((_, query)) = url.split_once('?') else { return false };
    let asked = form(query);
    let part = |name: &str| asked.get(name).map_or("", String::as_str);
    let snapshot = decode(part("SourceDBSnapshotIdentifier"));
    part("Action") == "CopyDBSnapshot"
        && part("DestinationRegion") == desk.region
        && short(&snapshot) == short(named)
        && !part("X-Amz-Signature").is_empty()
}

pub(super) fn delete(desk: &mut Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let id = get(params, "DBSnapshotIdentifier");
    let mut body = snapshot(desk, id)?;
    usable(&body)?;
    if text(&body, "SnapshotType") == "automated" {
        let message = "Automated snapshots cannot be deleted by hand.";
        return Err(AwsError::new(400, "InvalidDBSnapshotState", message));
    }
    desk.objects.remove(Kind::RdsSnapshot, desk.region, short(id));
    body["Status"] = json!("deleted");
    Ok(json!({ "DBSnapshot": body }))
}
