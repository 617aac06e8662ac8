//! Uploads in parts: each part is kept until the upload is completed or given up.

use serde_json::{Value, json};

use super::super::codec::{AwsError, Params, read_xml};
use super::super::digest::{base64, md5, unbase64};
use super::super::{Answer, Desk, Request};
use super::content::{Content, etag, keep, quoted, size, sum_headers};
use super::{Place, document, element, several, write};
use crate::sandbox::objects::text;
use crate::sandbox::world::{Kind, stamp};

/// Bytes of every part but the last, at least.
const PART_BYTES_MIN: usize = 5 * 1024 * 1024;

fn upload_id(place: &Place, upload: &str) -> String {
    format!("{}?uploadId={upload}", place.id())
}

fn part_id(place: &Place, upload: &str, number: u64) -> String {
    format!("{}&partNumber={number:05}", upload_id(place, upload))
}

/// Returns the upload a request names.
fn named<'a>(
    desk: &Desk<'_>,
    place: &Place,
    query: &'a Params,
) -> Result<(&'a str, Value), AwsError> {
    let upload = query.get("uploadId").map_or("", String::as_str);
    let found = desk.objects.get(Kind::S3Upload, desk.region, &upload_id(place, upload));
    let found = found.cloned().ok_or_else(|| {
        let message = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been \
                       aborted or completed.";
        AwsError::new(404, "NoSuchUpload", message)
    })?;
    Ok((upload, found))
}

pub(super) fn create(
    desk: &mut Desk<'_>,
    place: &Place,
    request: &Request<'_>,
) -> Result<Answer, AwsError> {
    let upload = desk.objects.name("upload");
    let mut body = write::described(request);
    body["Initiated"] = json!(stamp(desk.objects.now()));
    let id = upload_id(place, &upload);
    desk.objects.put(Kind::S3Upload, desk.region, &id, body, Vec::new());
    let inner = element("Bucket", &place.bucket)
        + &element("Key", &place.key)
        + &element("UploadId", &upload);
    Ok(document("InitiateMultipartUploadResult", &inner))
}

pub(super) fn part(
    desk: &mut Desk<'_>,
    place: &Place,
    request: &Request<'_>,
) -> Result<Answer, AwsError> {
    let (upload, _) = named(desk, place, &request.query)?;
    let number = request.query.get("partNumber").and_then(|number| number.parse().ok());
    let number: u64 = number.filter(|number| (1..=10_000).contains(number)).ok_or_else(|| {
        let message = "Part number must be an integer between 1 and 10000, inclusive";
        AwsError::new(400, "InvalidArgument", message)
    })?;
    let content = Content::of(request)?;
    let sum = md5(&content.bytes);
    let tag = quoted(&sum);
    let mut body = json!({
        "PartNumber": number,
        "ETag": tag,
        "LastModified": stamp(desk.objects.now()),
        "BodyBase64": base64(&content.bytes),
    });
    let mut answer = Answer::empty(200);
    if let Value::Object(fields) = &mut body {
        fields.extend(content.sums);
    }
    answer.header("etag", &tag);
    answer
        .headers
        .extend(sum_headers(&body).into_iter().filter(|(name, _)| name != "x-amz-checksum-type"));
    let id = part_id(place, upload, number);
    desk.objects.put(Kind::S3Upload, desk.region, &id, body, Vec::new());
    Ok(answer)
}

/// Returns the parts of an upload by their numbers.
fn parts_of(desk: &Desk<'_>, place: &Place, upload: &str) -> Vec<(String, Value)> {
    let prefix = format!("{}&", upload_id(place, upload));
    let all = desk.objects.of_kind(Kind::S3Upload, desk.region);
    all.filter(|(id, _)| id.starts_with(&prefix))
        .map(|(id, body)| (id.to_owned(), body.clone()))
        .collect()
}

pub(super) fn parts(desk: &Desk<'_>, place: &Place, query: &Params) -> Result<Answer, AwsError> {
    let (upload, _) = named(desk, place, query)?;
    let mut inner = element("Bucket", &place.bucket)
        + &element("Key", &place.key)
        + &element("UploadId", upload)
        + &element("IsTruncated", "false");
    for (_, part) in parts_of(desk, place, upload) {
        inner += "<Part>";
        inner += &element("PartNumber", part["PartNumber"].to_string());
        inner += &element("LastModified", text(&part, "LastModified"));
        inner += &element("ETag", etag(&part));
        inner += &element("Size", size(&part).to_string());
        inner += "</Part>";
    }
    Ok(document("ListPartsResult", &inner))
}

/// Answers ListMultipartUploads.
pub(super) fn uploads(desk: &Desk<'_>, place: &Place, query: &Params) -> Answer {
    let prefix = query.get("prefix").map_or("", String::as_str);
    let inside = format!("{}/", place.bucket);
    let mut inner = element("Bucket", &place.bucket) + &element("Prefix", prefix);
    inner += &element("IsTruncated", "false");
    for (id, body) in desk.objects.of_kind(Kind::S3Upload, desk.region) {
        let named = id.strip_prefix(&inside).and_then(|rest| rest.rsplit_once("?uploadId="));
        let is_one =
            |(key, upload): &(&str, &str)| key.starts_with(prefix) && !upload.contains('&');
        let Some((key, upload)) = named.filter(is_one) else { continue };
        inner += "<Upload>";
        inner += &(element("Key", key) + &element("UploadId", upload));
        inner += &element("Initiated", text(body, "Initiated"));
        inner += "</Upload>";
    }
    document("ListMultipartUploadsResult", &inner)
}

pub(super) fn abort(
    desk: &mut Desk<'_>,
    place: &Place,
    query: &Params,
) -> Result<Answer, AwsError> {
    let (upload, _) = named(desk, place, query)?;
    forget(desk, place, upload);
    Ok(Answer::empty(204))
}

fn forget(desk: &mut Desk<'_>, place: &Place, upload: &str) {
    for (id, _) in parts_of(desk, place, upload) {
        desk.objects.remove(Kind::S3Upload, desk.region, &id);
    }
    desk.objects.remove(Kind::S3Upload, desk.region, &upload_id(place, upload));
}

pub(super) fn complete(
    desk: &mut Desk<'_>,
    place: &Place,
    request: &Request<'_>,
    bucket: &Value,
) -> Result<Answer, AwsError> {
    let (upload, began) = named(desk, place, &request.query)?;
    let asked = read_xml(&request.text())?;
    let wanted = several(asked.get("Part"));
    write::expected(desk, place, request)?;
    let (bytes, sums) = joined(desk, place, upload, &wanted)?;
    let mut object = began;
    if let Value::Object(fields) = &mut object {
        fields.remove("Initiated");
    }
    let tag = quoted(&md5(&sums));
    object["ETag"] = json!(format!("\"{}-{}\"", tag.trim_matches('"'), wanted.len()));
    keep(&mut object, &bytes);
    let object = write::stored(desk, place, bucket, object);
    forget(desk, place, upload);
    let inner = element("Location", format!("https://{}/{}", request.host, place.key))
        + &element("Bucket", &place.bucket)
        + &element("Key", &place.key)
        + &element("ETag", etag(&object));
    let mut answer = document("CompleteMultipartUploadResult", &inner);
    write::version_header(&mut answer, &object);
    Ok(answer)
}

/// Joins the parts a completion names; returns the bytes, and the sums of the parts one after the other.
fn joined(
    desk: &Desk<'_>,
    place: &Place,
    upload: &str,
    wanted: &[Value],
) -> Result<(Vec<u8>, Vec<u8>), AwsError> {
    if wanted.is_empty() {
        let message = "The XML you provided was not well-formed or did not validate against our published schema";
        return Err(AwsError::new(400, "MalformedXML", message));
    }
    let number = |part: &Value| text(part, "PartNumber").parse::<u64>().unwrap_or(0);
    if wanted.windows(2).any(|two| number(&two[0]) >= number(&two[1])) {
        let message =
            "The list of parts was not in ascending order. Parts must be ordered by part number.";
        return Err(AwsError::new(400, "InvalidPartOrder", message));
    }
    let (mut bytes, mut sums) = (Vec::new(), Vec::new());
    for (index, part) in wanted.iter().enumerate() {
        let number = number(part);
        let found = desk.objects.get(Kind::S3Upload, desk.region, &part_id(place, upload, number));
        let same =
            |found: &&Value| etag(found).trim_matches('"') == text(part, "ETag").trim_matches('"');
        let found = found.filter(same).ok_or_else(|| {
            let message = "One or more of the specified parts could not be found.  The part may not have been uploaded, \
                           or the specified entity tag may not match the part's entity tag.";
            AwsError::new(400, "InvalidPart", message)
        })?;
        let held = unbase64(text(found, "BodyBase64")).unwrap_or_default();
        if held.len() < PART_BYTES_MIN && index + 1 < wanted.len() {
            let message = "Your proposed upload is smaller than the minimum allowed size";
            return Err(AwsError::new(400, "EntityTooSmall", message));
        }
        sums.extend(md5(&held));
        bytes.extend(held);
    }
    Ok((bytes, sums))
}
