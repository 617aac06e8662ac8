//! Writing an object, on conditions where the request names them.

use serde_json::{Map, Value, json};

use super::super::codec::{AwsError, decode};
use super::super::{Answer, Desk, Request};
use super::content::{Content, etag, keep, names, quoted, sum_headers};
use super::{Place, document, element, no_key, read, replication, versions};
use crate::sandbox::aws::digest::md5;
use crate::sandbox::dns;
use crate::sandbox::objects::Due;
use crate::sandbox::world::{Kind, stamp};

/// Time of a health checker between two looks, and looks until it believes them, where its check names none.
const CHECK_EVERY: u64 = 30;
const CHECK_TIMES: u64 = 3;

/// Holds what a writer wants to be there before.
pub(super) fn expected(
    desk: &Desk<'_>,
    place: &Place,
    request: &Request<'_>,
) -> Result<(), AwsError> {
    let known = desk.objects.get(Kind::S3Object, desk.region, &place.id());
    let failed = || {
        let message = "At least one of the pre-conditions you specified did not hold";
        AwsError::new(412, "PreconditionFailed", message)
    };
    match request.header("if-none-match") {
        Some("*") if known.is_some() => return Err(failed()),
        Some("*") | None => {}
        Some(_) => {
            let message = "A header you provided implies functionality that is not implemented";
            return Err(AwsError::new(501, "NotImplemented", message));
        }
    }
    match (request.header("if-match"), known) {
        (Some(_), None) => Err(no_key()),
        (Some(wanted), Some(known)) if !names(wanted, &etag(known)) => Err(failed()),
        _ => Ok(()),
    }
}

/// Answers PutObject.
pub(super) fn put(
    desk: &mut Desk<'_>,
    place: &Place,
    request: &Request<'_>,
    bucket: &Value,
) -> Result<Answer, AwsError> {
    let content = Content::of(request)?;
    expected(desk, place, request)?;
    let mut object = described(request);
    object["ETag"] = json!(quoted(&md5(&content.bytes)));
    keep(&mut object, &content.bytes);
    if let Value::Object(fields) = &mut object {
        fields.extend(content.sums);
    }
    let object = stored(desk, place, bucket, object);
    let mut answer = Answer::empty(200);
    answer.header("etag", &etag(&object));
    answer.header("x-amz-server-side-encryption", "AES256");
    answer.headers.extend(sum_headers(&object));
    version_header(&mut answer, &object);
    Ok(answer)
}

/// Answers CopyObject.
pub(super) fn copy(
    desk: &mut Desk<'_>,
    place: &Place,
    request: &Request<'_>,
    bucket: &Value,
) -> Result<Answer, AwsError> {
    let named = decode(request.header("x-amz-copy-source").unwrap_or_default());
    let (source, bytes) = read::source(desk, named.trim_start_matches('/'))?;
    expected(desk, place, request)?;
    let mut object = match request.header("x-amz-metadata-directive") {
        Some("REPLACE") => described(request),
        _ => json!({ "ContentType": source["ContentType"], "Metadata": source["Metadata"] }),
    };
    object["ETag"] = json!(quoted(&md5(&bytes)));
    keep(&mut object, &bytes);
    let object = stored(desk, place, bucket, object);
    let inner = element("LastModified", object["LastModified"].as_str().unwrap_or_default())
        + &element("ETag", etag(&object));
    let mut answer = document("CopyObjectResult", &inner);
    version_header(&mut answer, &object);
    Ok(answer)
}

pub(super) fn version_header(answer: &mut Answer, object: &Value) {
    if let Some(version) = object.get("VersionId").and_then(Value::as_str) {
        answer.header("x-amz-version-id", version);
    }
}

/// Returns what a request says of its object besides what it holds.
pub(super) fn described(request: &Request<'_>) -> Value {
    let metadata: Map<String, Value> = request
        .headers
        .iter()
        .filter_map(|(name, value)| {
            let name = name.to_ascii_lowercase();
            Some((name.strip_prefix("x-amz-meta-")?.to_owned(), json!(value)))
        })
        .collect();
    let mut object = json!({
        "ContentType": request.header("content-type").unwrap_or("binary/octet-stream"),
    });
    if !metadata.is_empty() {
        object["Metadata"] = Value::Object(metadata);
    }
    if let Some(value) = request.header("cache-control") {
        object["CacheControl"] = json!(value);
    }
    object
}

/// Puts an object in its place, with its version, and sends it on where its bucket is replicated.
pub(super) fn stored(
    desk: &mut Desk<'_>,
    place: &Place,
    bucket: &Value,
    mut object: Value,
) -> Value {
    object["LastModified"] = json!(stamp(desk.objects.now()));
    versions::succeed(desk, place, bucket, &mut object);
    if replication::leave(desk, place, bucket, Some(&object)) {
        object["ReplicationStatus"] = json!("PENDING");
    }
    desk.objects.put(Kind::S3Object, desk.region, &place.id(), object.clone(), Vec::new());
    watch(desk, place, true);
    object
}

/// Health checkers that look at an object believe what they see after a few looks.
pub(super) fn watch(desk: &mut Desk<'_>, place: &Place, there: bool) {
    let wanted = (place.bucket.clone(), place.key.clone());
    let watching: Vec<(String, Value)> = desk
        .objects
        .of_kind(Kind::HealthCheck, "")
        .filter(|(_, check)| dns::watched(&check["HealthCheckConfig"]).as_ref() == Some(&wanted))
        .map(|(id, check)| (id.to_owned(), check.clone()))
        .collect();
    for (id, mut check) in watching {
        let number = |name: &str, default: u64| {
            check["HealthCheckConfig"].get(name).and_then(Value::as_u64).unwrap_or(default)
        };
        let length =
            number("RequestInterval", CHECK_EVERY) * number("FailureThreshold", CHECK_TIMES);
        // Until then they believe what they saw before.
        if check.get("_up").is_none() {
            check["_up"] = json!(!there);
        }
        let at = desk.objects.now() + std::time::Duration::from_secs(length);
        let then = vec![Due::set(at, json!({ "_up": there }))];
        desk.objects.put(Kind::HealthCheck, "", &id, check, then);
    }
}
