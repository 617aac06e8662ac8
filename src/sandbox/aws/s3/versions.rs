//! Versions: what a bucket keeps of an object that is overwritten or deleted, and how an older one comes back.
//!
//! The current version is the object; older ones and delete markers are objects of another kind, by the same name.

use serde_json::{Value, json};

use super::super::codec::AwsError;
use super::super::{Answer, Desk, Request};
use super::{Place, no_key, replication, write};
use crate::sandbox::objects::text;
use crate::sandbox::world::{Kind, stamp};

/// Version of what was written before a bucket kept versions.
const NULL: &str = "null";

fn kept(place: &Place, version: &str) -> String {
    format!("{}?versionId={version}", place.id())
}

pub(super) fn version(object: &Value) -> &str {
    match text(object, "VersionId") {
        "" => NULL,
        known => known,
    }
}

/// Returns the older versions and markers of a name, oldest first.
pub(super) fn older(desk: &Desk<'_>, place: &Place) -> Vec<Value> {
    let prefix = kept(place, "");
    let all = desk.objects.of_kind(Kind::S3Version, desk.region);
    let mut found: Vec<Value> =
        all.filter(|(id, _)| id.starts_with(&prefix)).map(|(_, body)| body.clone()).collect();
    found.sort_by_key(order);
    found
}

pub(super) fn order(object: &Value) -> u64 {
    object.get("_order").and_then(Value::as_u64).unwrap_or(0)
}

/// Returns an object by its version, or the current one.
pub(super) fn find(
    desk: &Desk<'_>,
    place: &Place,
    wanted: Option<&str>,
) -> Result<Value, AwsError> {
    let current = desk.objects.get(Kind::S3Object, desk.region, &place.id());
    let Some(wanted) = wanted else {
        return current.cloned().ok_or_else(|| match older(desk, place).pop() {
            Some(marker) => no_key()
                .header("x-amz-delete-marker", "true")
                .header("x-amz-version-id", version(&marker)),
            None => no_key(),
        });
    };
    if let Some(current) = current.filter(|current| version(current) == wanted) {
        return Ok(current.clone());
    }
    let found = desk.objects.get(Kind::S3Version, desk.region, &kept(place, wanted));
    match found {
        Some(marker) if marker["DeleteMarker"] == true => {
            let message = "The specified method is not allowed against this resource.";
            Err(AwsError::new(405, "MethodNotAllowed", message)
                .header("x-amz-delete-marker", "true")
                .header("x-amz-version-id", wanted))
        }
        Some(found) => Ok(found.clone()),
        None => Err(AwsError::new(404, "NoSuchVersion", "The specified version does not exist.")),
    }
}

/// Sets an object's version, and keeps the one it takes the place of.
pub(super) fn succeed(desk: &mut Desk<'_>, place: &Place, bucket: &Value, object: &mut Value) {
    match text(bucket, "Versioning") {
        "Enabled" => {
            set_aside(desk, place, None);
            object["VersionId"] = json!(desk.objects.name("v"));
        }
        // What is written now takes the place of what has no version; all others stay.
        "Suspended" => {
            set_aside(desk, place, Some(NULL));
            desk.objects.remove(Kind::S3Version, desk.region, &kept(place, NULL));
            object["VersionId"] = json!(NULL);
        }
        _ => return,
    }
    object["_order"] = json!(desk.objects.named);
}

/// Keeps the current version as an older one, unless it is of a version that is replaced.
fn set_aside(desk: &mut Desk<'_>, place: &Place, replaced: Option<&str>) {
    let current = desk.objects.get(Kind::S3Object, desk.region, &place.id()).cloned();
    let Some(current) = current else { return };
    let version = version(&current).to_owned();
    if replaced != Some(version.as_str()) {
        let id = kept(place, &version);
        desk.objects.put(Kind::S3Version, desk.region, &id, current, Vec::new());
    }
}

/// Makes a delete marker the current version; returns its version.
pub(super) fn mark(desk: &mut Desk<'_>, place: &Place, bucket: &Value) -> String {
    let mut marker = json!({
        "DeleteMarker": true,
        "LastModified": stamp(desk.objects.now()),
    });
    succeed(desk, place, bucket, &mut marker);
    let version = version(&marker).to_owned();
    if desk.objects.get(Kind::S3Object, desk.region, &place.id()).is_some() {
        desk.objects.remove(Kind::S3Object, desk.region, &place.id());
    }
    desk.objects.put(Kind::S3Version, desk.region, &kept(place, &version), marker, Vec::new());
    version
}

/// Answers DeleteObject.
pub(super) fn delete(
    desk: &mut Desk<'_>,
    place: &Place,
    request: &Request<'_>,
    bucket: &Value,
) -> Result<Answer, AwsError> {
    write::expected(desk, place, request)?;
    let mut answer = Answer::empty(204);
    let before = desk.objects.get(Kind::S3Object, desk.region, &place.id()).is_some();
    if let Some(wanted) = request.query.get("versionId") {
        if gone(desk, place, wanted) {
            answer.header("x-amz-delete-marker", "true");
        }
        answer.header("x-amz-version-id", wanted);
        come_back(desk, place);
    } else if text(bucket, "Versioning").is_empty() {
        if before {
            desk.objects.remove(Kind::S3Object, desk.region, &place.id());
        }
    } else {
        let version = mark(desk, place, bucket);
        answer.header("x-amz-delete-marker", "true");
        answer.header("x-amz-version-id", &version);
        replication::leave(desk, place, bucket, None);
    }
    let after = desk.objects.get(Kind::S3Object, desk.region, &place.id()).is_some();
    if before != after {
        write::watch(desk, place, after);
    }
    Ok(answer)
}

/// Removes one version for good; says whether it was a delete marker.
fn gone(desk: &mut Desk<'_>, place: &Place, wanted: &str) -> bool {
    let current = desk.objects.get(Kind::S3Object, desk.region, &place.id());
    if current.is_some_and(|current| version(current) == wanted) {
        desk.objects.remove(Kind::S3Object, desk.region, &place.id());
        return false;
    }
    let id = kept(place, wanted);
    let Some(found) = desk.objects.get(Kind::S3Version, desk.region, &id) else { return false };
    let marker = found["DeleteMarker"] == true;
    desk.objects.remove(Kind::S3Version, desk.region, &id);
    marker
}

/// Makes the latest version that is left the current one, where none is and it is no marker.
fn come_back(desk: &mut Desk<'_>, place: &Place) {
    if desk.objects.get(Kind::S3Object, desk.region, &place.id()).is_some() {
        return;
    }
    let latest = older(desk, place).pop();
    let Some(latest) = latest.filter(|latest| latest["DeleteMarker"] != true) else { return };
    desk.objects.remove(Kind::S3Version, desk.region, &kept(place, version(&latest)));
    desk.objects.put(Kind::S3Object, desk.region, &place.id(), latest, Vec::new());
}
