//! S3: buckets, objects and their versions, conditional writes, parts, replication, and what anybody may read.

mod bucket;
mod content;
mod list;
mod multipart;
mod read;
mod replication;
mod versions;
mod write;

use serde_json::Value;

use super::codec::{AwsError, decode, escaped};
use super::{Answer, Desk, Request, unknown};
use crate::sandbox::objects::text;
use crate::sandbox::world::Kind;

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// Parameters that choose another operation on the same path.
const SUBRESOURCES: [&str; 6] =
    ["uploads", "uploadId", "versions", "versioning", "location", "replication"];

/// Parameters that only refine an operation.
const REFINEMENTS: [&str; 15] = [
    "x-id",
    "list-type",
    "prefix",
    "max-keys",
    "delimiter",
    "encoding-type",
    "continuation-token",
    "start-after",
    "fetch-owner",
    "versionId",
    "partNumber",
    "key-marker",
    "version-id-marker",
    "part-number-marker",
    "max-parts",
];

/// What a request is about.
struct Place {
    bucket: String,
    key: String,
}

impl Place {
    /// Reads the bucket from the host, or from the path where the host names none.
    fn of(host: &str, path: &str) -> Self {
        let path = decode(&path.trim_start_matches('/').replace('+', "%2B"));
        match host.split_once(".s3.") {
            Some((bucket, _)) => Self { bucket: bucket.to_owned(), key: path },
            None => {
                let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
                Self { bucket: bucket.to_owned(), key: key.to_owned() }
            }
        }
    }

    fn id(&self) -> String {
        format!("{}/{}", self.bucket, self.key)
    }
}

/// What it knows.
pub(super) const OPERATIONS: [&str; 22] = [
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateBucket",
    "CreateMultipartUpload",
    "DeleteBucket",
    "DeleteObject",
    "GetBucketLocation",
    "GetBucketReplication",
    "GetBucketVersioning",
    "GetObject",
    "HeadBucket",
    "HeadObject",
    "ListBuckets",
    "ListMultipartUploads",
    "ListObjectVersions",
    "ListObjectsV2",
    "ListParts",
    "PutBucketReplication",
    "PutBucketVersioning",
    "PutObject",
    "UploadPart",
];

/// Returns the name of an operation.
pub(super) fn operation(request: &Request<'_>) -> String {
    let (method, query) = (request.method, &request.query);
    let place = Place::of(request.host, request.path);
    let sub = SUBRESOURCES.into_iter().find(|name| query.contains_key(*name));
    let known = |name: &String| {
        REFINEMENTS.contains(&name.as_str()) || SUBRESOURCES.contains(&name.as_str())
    };
    if let Some(other) = query.keys().find(|name| !known(name)) {
        return format!("{method} {} with {other}", request.path);
    }
    let name = match (method, place.key.is_empty(), sub) {
        ("GET", true, None) if place.bucket.is_empty() => "ListBuckets",
        ("GET", true, None) if query.contains_key("list-type") => "ListObjectsV2",
        ("GET", true, Some("versions")) => "ListObjectVersions",
        ("GET", true, Some("versioning")) => "GetBucketVersioning",
        ("PUT", true, Some("versioning")) => "PutBucketVersioning",
        ("GET", true, Some("location")) => "GetBucketLocation",
        ("GET", true, Some("replication")) => "GetBucketReplication",
        ("PUT", true, Some("replication")) => "PutBucketReplication",
        ("GET", true, Some("uploads")) => "ListMultipartUploads",
        ("HEAD", true, None) => "HeadBucket",
        ("PUT", true, None) => "CreateBucket",
        ("DELETE", true, None) => "DeleteBucket",
        ("GET", false, None) => "GetObject",
        ("HEAD", false, None) => "HeadObject",
        ("PUT", false, None) if request.header("x-amz-copy-source").is_some() => "CopyObject",
        ("PUT", false, None) => "PutObject",
        ("DELETE", false, None) => "DeleteObject",
        ("POST", false, Some("uploads")) => "CreateMultipartUpload",
        ("PUT", false, Some("uploadId")) => "UploadPart",
        ("GET", false, Some("uploadId")) => "ListParts",
        ("POST", false, Some("uploadId")) => "CompleteMultipartUpload",
        ("DELETE", false, Some("uploadId")) => "AbortMultipartUpload",
        _ => return format!("{method} {}", request.path),
    };
    name.to_owned()
}

/// Answers a request.
pub(super) fn answer(desk: &mut Desk<'_>, request: &Request<'_>) -> Result<Answer, AwsError> {
    replication::arrive(desk);
    let place = Place::of(request.host, request.path);
    let operation = operation(request);
    match operation.as_str() {
        "ListBuckets" => return Ok(bucket::all(desk)),
        "CreateBucket" => return bucket::create(desk, &place, request),
        _ => {}
    }
    let bucket = desk.objects.get(Kind::Bucket, desk.region, &place.bucket).cloned();
    let Some(bucket) = bucket else { return Err(elsewhere(desk, &place)) };
    match operation.as_str() {
        "HeadBucket" => Ok(bucket::head(desk)),
        "DeleteBucket" => bucket::delete(desk, &place),
        "GetBucketLocation" => Ok(bucket::location(desk)),
        "GetBucketVersioning" => Ok(bucket::versioning(&bucket)),
        "PutBucketVersioning" => bucket::set_versioning(desk, &place, request),
        "GetBucketReplication" => replication::get(&bucket),
        "PutBucketReplication" => replication::set(desk, &place, &bucket, request),
        "GetObject" | "HeadObject" => read::get(desk, &place, request),
        "PutObject" => write::put(desk, &place, request, &bucket),
        "CopyObject" => write::copy(desk, &place, request, &bucket),
        "DeleteObject" => versions::delete(desk, &place, request, &bucket),
        "ListObjectsV2" => list::objects(desk, &place, &request.query),
        "ListObjectVersions" => Ok(list::versions(desk, &place, &request.query)),
        "CreateMultipartUpload" => multipart::create(desk, &place, request),
        "UploadPart" => multipart::part(desk, &place, request),
        "ListParts" => multipart::parts(desk, &place, &request.query),
        "ListMultipartUploads" => Ok(multipart::uploads(desk, &place)),
        "CompleteMultipartUpload" => multipart::complete(desk, &place, request, &bucket),
        "AbortMultipartUpload" => multipart::abort(desk, &place, &request.query),
        other => Err(unknown(&format!("s3 {other}"))),
    }
}

/// A bucket that is not here: in another region, or nowhere.
fn elsewhere(desk: &Desk<'_>, place: &Place) -> AwsError {
    let mut all = desk.objects.everywhere(Kind::Bucket);
    match all.find(|(key, _)| key.id == place.bucket) {
        Some((key, _)) => AwsError::new(
            301,
            "PermanentRedirect",
            "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all \
             future requests to this endpoint.",
        )
        .header("x-amz-bucket-region", key.region.clone()),
        None => AwsError::new(404, "NoSuchBucket", "The specified bucket does not exist"),
    }
}

fn no_key() -> AwsError {
    AwsError::new(404, "NoSuchKey", "The specified key does not exist.")
}

/// Returns what anybody gets by a plain GET: nobody lists a bucket, so what is not there is forbidden.
pub(in crate::sandbox) fn anonymous(
    desk: &mut Desk<'_>,
    host: &str,
    path: &str,
) -> Option<(u16, String)> {
    replication::arrive(desk);
    let place = Place::of(host, path);
    let bucket = desk.objects.get(Kind::Bucket, desk.region, &place.bucket)?;
    if bucket["PublicRead"] != true {
        return Some((403, "AccessDenied".to_owned()));
    }
    match desk.objects.get(Kind::S3Object, desk.region, &place.id()) {
        Some(found) => Some((200, text(found, "Body").to_owned())),
        None => Some((403, "AccessDenied".to_owned())),
    }
}

fn http_date(stamp: &str) -> String {
    let instant: jiff::Timestamp = stamp.parse().unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    instant.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Writes an answer's XML: its root, and what stands in it.
fn document(root: &str, inner: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"{NAMESPACE}\">{inner}</{root}>"
    );
    Answer::new(200, "application/xml", body.into_bytes())
}

fn element(name: &str, value: impl AsRef<str>) -> String {
    format!("<{name}>{}</{name}>", escaped(value.as_ref()))
}

/// Returns one value or several as several.
fn several(value: Option<&Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(all)) => all.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    }
}
