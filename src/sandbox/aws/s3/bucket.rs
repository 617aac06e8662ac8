//! Buckets: one name for all regions, each bucket in one of them.

use serde_json::{Value, json};

use super::super::codec::{AwsError, Params, read_xml};
use super::super::{Answer, Desk, Request};
use super::{Place, document, element};
use crate::sandbox::objects::text;
use crate::sandbox::world::{Kind, stamp};

/// The region that is named by not being named.
const FIRST_REGION: &str = "us-east-1";

/// Answers ListBuckets.
pub(super) fn all(desk: &Desk<'_>, query: &Params) -> Answer {
    let prefix = query.get("prefix").map_or("", String::as_str);
    let mut names: Vec<(&str, &str)> = desk
        .objects
        .everywhere(Kind::Bucket)
        .map(|(key, body)| (key.id.as_str(), text(body, "CreationDate")))
        .filter(|(name, _)| name.starts_with(prefix))
        .collect();
    names.sort_unstable();
    let mut inner = "<Buckets>".to_owned();
    for (name, made) in names {
        inner += "<Bucket>";
        inner += &element("Name", name);
        if !made.is_empty() {
            inner += &element("CreationDate", made);
        }
        inner += "</Bucket>";
    }
    inner += "</Buckets>";
    if !prefix.is_empty() {
        inner += &element("Prefix", prefix);
    }
    document("ListAllMyBucketsResult", &inner)
}

/// The names of all buckets are kept in one region: without it none is given or given back.
fn names_are_kept(desk: &Desk<'_>) -> Result<(), AwsError> {
    match desk.dark.contains_key(FIRST_REGION) {
        false => Ok(()),
        true => {
            let message = "Service is unable to handle request.";
            Err(AwsError::new(503, "ServiceUnavailable", message))
        }
    }
}

pub(super) fn create(
    desk: &mut Desk<'_>,
    place: &Place,
    request: &Request<'_>,
) -> Result<Answer, AwsError> {
    names_are_kept(desk)?;
    let asked = match request.body {
        [] => json!({}),
        _ => read_xml(&request.text())?,
    };
    let wanted = match text(&asked, "LocationConstraint") {
        "" => FIRST_REGION,
        named => named,
    };
    if wanted != desk.region {
        let message = format!(
            "The {} location constraint is incompatible for the region specific endpoint this request was sent to.",
            if text(&asked, "LocationConstraint").is_empty() { "unspecified" } else { wanted }
        );
        return Err(AwsError::new(400, "IllegalLocationConstraintException", message));
    }
    let name = place.bucket.as_str();
    let fits = (3..=63).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric());
    if !fits {
        let message = "The specified bucket is not valid.";
        return Err(AwsError::new(400, "InvalidBucketName", message));
    }
    if desk.objects.everywhere(Kind::Bucket).any(|(key, _)| key.id == name) {
        let message =
            "Your previous request to create the named bucket succeeded and you already own it.";
        return Err(AwsError::new(409, "BucketAlreadyOwnedByYou", message));
    }
    let body = json!({ "CreationDate": stamp(desk.objects.now()) });
    desk.objects.put(Kind::Bucket, desk.region, name, body, Vec::new());
    let mut answer = Answer::empty(200);
    answer.header("location", &format!("/{name}"));
    Ok(answer)
}

pub(super) fn delete(desk: &mut Desk<'_>, place: &Place) -> Result<Answer, AwsError> {
    names_are_kept(desk)?;
    let inside = format!("{}/", place.bucket);
    let holds = |kind| {
        let mut all = desk.objects.of_kind(kind, desk.region);
        all.any(|(id, _)| id.starts_with(&inside))
    };
    if holds(Kind::S3Object) || holds(Kind::S3Version) {
        let message = "The bucket you tried to delete is not empty";
        return Err(AwsError::new(409, "BucketNotEmpty", message));
    }
    desk.objects.remove(Kind::Bucket, desk.region, &place.bucket);
    Ok(Answer::empty(204))
}

pub(super) fn head(desk: &Desk<'_>) -> Answer {
    let mut answer = Answer::empty(200);
    answer.header("x-amz-bucket-region", desk.region);
    answer
}

pub(super) fn location(desk: &Desk<'_>) -> Answer {
    let named = if desk.region == FIRST_REGION { "" } else { desk.region };
    document("LocationConstraint", named)
}

pub(super) fn versioning(bucket: &Value) -> Answer {
    match text(bucket, "Versioning") {
        "" => document("VersioningConfiguration", ""),
        status => document("VersioningConfiguration", &element("Status", status)),
    }
}

pub(super) fn set_versioning(
    desk: &mut Desk<'_>,
    place: &Place,
    request: &Request<'_>,
) -> Result<Answer, AwsError> {
    let asked = read_xml(&request.text())?;
    let status = text(&asked, "Status");
    if !["Enabled", "Suspended"].contains(&status) {
        let message = "The XML you provided was not well-formed or did not validate against our published schema";
        return Err(AwsError::new(400, "MalformedXML", message));
    }
    desk.objects.change(Kind::Bucket, desk.region, &place.bucket, json!({ "Versioning": status }));
    Ok(Answer::empty(200))
}
