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
use super::operations::{Operation, find, names};
use super::{Answer, Desk, Request, unknown};
use crate::sandbox::objects::text;
use crate::sandbox::world::Kind;

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// Parameters that choose another operation on the same path.
const SUBRESOURCES: [&str; 6] =
    ["uploads", "uploadId", "versions", "versioning", "location", "replication"];

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

/// What answers an operation, and what it may be asked besides: anything else would be passed over.
struct Answers {
    parameters: &'static [&'static str],
    by: By,
}

/// `Bucket` is given the bucket, which must be there.
enum By {
    Account(fn(&mut Desk<'_>, &Place, &Request<'_>) -> Result<Answer, AwsError>),
    Bucket(fn(&mut Desk<'_>, &Place, &Request<'_>, &Value) -> Result<Answer, AwsError>),
}

const fn of_account(
    name: &'static str,
    parameters: &'static [&'static str],
    answers: fn(&mut Desk<'_>, &Place, &Request<'_>) -> Result<Answer, AwsError>,
) -> Operation<Answers> {
    Operation { name, answers: Answers { parameters, by: By::Account(answers) } }
}

const fn of_bucket(
    name: &'static str,
    parameters: &'static [&'static str],
    answers: fn(&mut Desk<'_>, &Place, &Request<'_>, &Value) -> Result<Answer, AwsError>,
) -> Operation<Answers> {
    Operation { name, answers: Answers { parameters, by: By::Bucket(answers) } }
}

/// Every operation there is here.
const TABLE: [Operation<Answers>; 22] = [
    of_bucket("AbortMultipartUpload", &[], |desk, place, request, _| {
        multipart::abort(desk, place, &request.query)
    }),
    of_bucket("CompleteMultipartUpload", &[], multipart::complete),
    of_bucket("CopyObject", &[], write::copy),
    of_account("CreateBucket", &[], bucket::create),
    of_bucket("CreateMultipartUpload", &[], |desk, place, request, _| {
        multipart::create(desk, place, request)
    }),
    of_bucket("DeleteBucket", &[], |desk, place, _, _| bucket::delete(desk, place)),
    of_bucket("DeleteObject", &["versionId"], versions::delete),
    of_bucket("GetBucketLocation", &[], |desk, _, _, _| Ok(bucket::location(desk))),
    of_bucket("GetBucketReplication", &[], |_, _, _, bucket| replication::get(bucket)),
    of_bucket("GetBucketVersioning", &[], |_, _, _, bucket| Ok(bucket::versioning(bucket))),
    of_bucket("GetObject", &["versionId"], |desk, place, request, _| {
        read::get(desk, place, request)
    }),
    of_bucket("HeadBucket", &[], |desk, _, _, _| Ok(bucket::head(desk))),
    of_bucket("HeadObject", &["versionId"], |desk, place, request, _| {
        read::get(desk, place, request)
    }),
    of_account("ListBuckets", &["prefix"], |desk, _, request| {
        Ok(bucket::all(desk, &request.query))
    }),
    of_bucket("ListMultipartUploads", &["prefix"], |desk, place, request, _| {
        Ok(multipart::uploads(desk, place, &request.query))
    }),
    of_bucket("ListObjectVersions", &["prefix", "encoding-type"], |desk, place, request, _| {
        Ok(list::versions(desk, place, &request.query))
    }),
    of_bucket("ListObjectsV2", &list::PARAMETERS, |desk, place, request, _| {
        list::objects(desk, place, &request.query)
    }),
    of_bucket("ListParts", &[], |desk, place, request, _| {
        multipart::parts(desk, place, &request.query)
    }),
    of_bucket("PutBucketReplication", &[], |desk, place, request, bucket| {
        replication::set(desk, place, bucket, request)
    }),
    of_bucket("PutBucketVersioning", &[], |desk, place, request, _| {
        bucket::set_versioning(desk, place, request)
    }),
    of_bucket("PutObject", &[], write::put),
    of_bucket("UploadPart", &["partNumber"], |desk, place, request, _| {
        multipart::part(desk, place, request)
    }),
];

/// Their names.
pub(super) const OPERATIONS: [&str; TABLE.len()] = names(&TABLE);

/// Returns the name of an operation.
pub(super) fn operation(request: &Request<'_>) -> String {
    let (method, query) = (request.method, &request.query);
    let place = Place::of(request.host, request.path);
    let sub = SUBRESOURCES.into_iter().find(|name| query.contains_key(*name));
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
        _ => "",
    };
    let Some(answers) = find(&TABLE, name) else { return format!("{method} {}", request.path) };
    // The SDKs name the operation a second time.
    let known =
        |name: &str| name == "x-id" || sub == Some(name) || answers.parameters.contains(&name);
    match query.keys().find(|name| !known(name)) {
        Some(other) => format!("{method} {} with {other}", request.path),
        None => name.to_owned(),
    }
}

/// Answers a request.
pub(super) fn answer(desk: &mut Desk<'_>, request: &Request<'_>) -> Result<Answer, AwsError> {
    replication::arrive(desk);
    let place = Place::of(request.host, request.path);
    let operation = operation(request);
    let answers = match find(&TABLE, &operation).map(|found| &found.by) {
        Some(By::Account(answers)) => return answers(desk, &place, request),
        Some(By::Bucket(answers)) => answers,
        None => return Err(unknown(&format!("s3 {operation}"))),
    };
    match desk.objects.get(Kind::Bucket, desk.region, &place.bucket).cloned() {
        Some(bucket) => answers(desk, &place, request, &bucket),
        None => Err(elsewhere(desk, &place)),
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
