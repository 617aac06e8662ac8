//! Replication between buckets: what was written leaves with its bucket's rule and arrives a while later, as long as
//! neither region is dark.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::codec::{AwsError, read_xml};
use super::super::{Answer, Desk, Request, codec};
use super::{Place, document, several, versions, write};
use crate::sandbox::objects::{Key, text};
use crate::sandbox::world::{Kind, stamp};

/// Answers GetBucketReplication.
pub(super) fn get(bucket: &Value) -> Result<Answer, AwsError> {
    let known = bucket.get("ReplicationConfiguration").ok_or_else(|| {
        let message = "The replication configuration was not found";
        AwsError::new(404, "ReplicationConfigurationNotFoundError", message)
    })?;
    let mut inner = String::new();
    codec::xml("Role", &known["Role"], &mut inner);
    for rule in several(known.get("Rules")) {
        codec::xml("Rule", &rule, &mut inner);
    }
    Ok(document("ReplicationConfiguration", &inner))
}

/// Answers PutBucketReplication: both buckets must keep versions.
pub(super) fn set(
    desk: &mut Desk<'_>,
    place: &Place,
    bucket: &Value,
    request: &Request<'_>,
) -> Result<Answer, AwsError> {
    let asked = read_xml(&request.text())?;
    let rules = several(asked.get("Rule"));
    let invalid = |message: &str| AwsError::new(400, "InvalidRequest", message);
    if text(bucket, "Versioning") != "Enabled" {
        let message =
            "Versioning must be 'Enabled' on the bucket to apply a replication configuration";
        return Err(invalid(message));
    }
    for rule in &rules {
        let Some((_, target)) = destination(desk, rule) else {
            return Err(invalid("Destination bucket must exist."));
        };
        if text(&target, "Versioning") != "Enabled" {
            return Err(invalid("Destination bucket must have versioning enabled."));
        }
    }
    let known = json!({ "Role": asked["Role"], "Rules": rules });
    let set = json!({ "ReplicationConfiguration": known });
    desk.objects.change(Kind::Bucket, desk.region, &place.bucket, set);
    Ok(Answer::empty(200))
}

/// Returns the bucket a rule copies to, wherever it is.
fn destination(desk: &Desk<'_>, rule: &Value) -> Option<(Key, Value)> {
    let arn = rule.get("Destination").map_or("", |target| text(target, "Bucket"));
    let name = arn.rsplit(":::").next().unwrap_or_default();
    let mut all = desk.objects.everywhere(Kind::Bucket);
    all.find(|(key, _)| key.id == name).map(|(key, body)| (key.clone(), body.clone()))
}

/// Returns the rule an object of a bucket goes by: of several, the one with the highest priority.
fn rule(bucket: &Value, key: &str) -> Option<Value> {
    let rules = several(bucket.get("ReplicationConfiguration").and_then(|all| all.get("Rules")));
    let number = |rule: &Value| match rule.get("Priority") {
        Some(Value::String(text)) => text.parse().unwrap_or(0),
        other => other.and_then(Value::as_i64).unwrap_or(0),
    };
    let prefix = |rule: &Value| {
        let filter = rule.get("Filter").map_or("", |filter| text(filter, "Prefix"));
        if filter.is_empty() { text(rule, "Prefix").to_owned() } else { filter.to_owned() }
    };
    rules
        .into_iter()
        .filter(|rule| text(rule, "Status") == "Enabled" && key.starts_with(&prefix(rule)))
        .max_by_key(number)
}

/// Sends what was written on its way, `None` a delete marker; says whether a rule wants it.
pub(super) fn leave(
    desk: &mut Desk<'_>,
    place: &Place,
    bucket: &Value,
    object: Option<&Value>,
) -> bool {
    let Some(rule) = rule(bucket, &place.key) else { return false };
    let markers = rule.get("DeleteMarkerReplication").map_or("", |found| text(found, "Status"));
    if object.is_none() && markers != "Enabled" {
        return false;
    }
    let Some((target, _)) = destination(desk, &rule) else { return false };
    let due = desk.objects.now() + desk.durations.object_replication.0;
    let id = desk.objects.name("r");
    let underway = json!({
        "Due": stamp(due),
        "From": desk.region,
        "Bucket": place.bucket,
        "Key": place.key,
        "To": target.region,
        "Target": target.id,
        "Object": object,
    });
    desk.objects.put(Kind::S3Underway, desk.region, &id, underway, Vec::new());
    true
}

/// Lets arrive what is due. What was under way when a region went dark waits until it is back.
pub(super) fn arrive(desk: &mut Desk<'_>) {
    let now = desk.objects.now();
    let due = |body: &Value| {
        let due: Timestamp = text(body, "Due").parse().unwrap_or(Timestamp::MAX);
        let open = |region: &str| desk.dark.get(region).is_none_or(|since| due <= *since);
        due <= now && open(text(body, "From")) && open(text(body, "To"))
    };
    let all = desk.objects.everywhere(Kind::S3Underway).filter(|(_, body)| due(body));
    let mut arrived: Vec<(Key, Value)> =
        all.map(|(key, body)| (key.clone(), body.clone())).collect();
    arrived.sort_by(|(left, _), (right, _)| left.id.cmp(&right.id));
    for (key, body) in arrived {
        desk.objects.remove(Kind::S3Underway, &key.region, &key.id);
        let place =
            Place { bucket: text(&body, "Target").to_owned(), key: text(&body, "Key").to_owned() };
        let region = text(&body, "To").to_owned();
        deliver(desk, &region, &place, &body["Object"]);
        completed(desk, &body);
    }
}

/// Puts a copy in its bucket; a replica keeps its source's version and is not sent on.
fn deliver(desk: &mut Desk<'_>, region: &str, place: &Place, object: &Value) {
    let there = &mut desk.in_region(region);
    let Some(bucket) = there.objects.get(Kind::Bucket, region, &place.bucket).cloned() else {
        return;
    };
    if object.is_null() {
        versions::mark(there, place, &bucket);
        write::watch(there, place, false);
        return;
    }
    let mut copy = object.clone();
    let version = copy["VersionId"].clone();
    versions::succeed(there, place, &bucket, &mut copy);
    copy["VersionId"] = version;
    copy["ReplicationStatus"] = json!("REPLICA");
    there.objects.put(Kind::S3Object, region, &place.id(), copy, Vec::new());
    write::watch(there, place, true);
}

fn completed(desk: &mut Desk<'_>, body: &Value) {
    let from = text(body, "From");
    let id = format!("{}/{}", text(body, "Bucket"), text(body, "Key"));
    let version = &body["Object"]["VersionId"];
    let current = desk.objects.get(Kind::S3Object, from, &id);
    if current.is_some_and(|current| current["VersionId"] == *version) {
        let set = json!({ "ReplicationStatus": "COMPLETED" });
        desk.objects.change(Kind::S3Object, from, &id, set);
    }
}
