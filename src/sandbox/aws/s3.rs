//! S3: objects with their versions' names, conditional writes, and what anybody may read.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::codec::{AwsError, Params, decode, escaped};
use super::{Answer, Desk, Request, unknown};
use crate::sandbox::dns;
use crate::sandbox::objects::{Due, text};
use crate::sandbox::world::{Kind, stamp};

/// Time of a health checker between two looks, and looks until it believes them, where its check names none.
const CHECK_EVERY: u64 = 30;
const CHECK_TIMES: u64 = 3;

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

/// Returns the name of an operation.
pub(super) fn operation(method: &str, host: &str, path: &str, query: &Params) -> String {
    let place = Place::of(host, path);
    let name = match (method, place.key.is_empty()) {
        ("GET", true) if query.contains_key("list-type") => "ListObjectsV2",
        ("HEAD", true) => "HeadBucket",
        ("GET", false) => "GetObject",
        ("HEAD", false) => "HeadObject",
        ("PUT", false) => "PutObject",
        ("DELETE", false) => "DeleteObject",
        _ => return format!("{method} {path}"),
    };
    // Subresources are other operations.
    let plain = query.keys().all(|key| {
        [
            "x-id",
            "list-type",
            "prefix",
            "max-keys",
            "delimiter",
            "encoding-type",
            "continuation-token",
            "start-after",
        ]
        .contains(&key.as_str())
    });
    if plain { name.to_owned() } else { format!("{method} {path} with a subresource") }
}

/// Answers a request.
pub(super) fn answer(desk: &mut Desk<'_>, request: &Request<'_>) -> Result<Answer, AwsError> {
    let place = Place::of(request.host, request.path);
    let operation = operation(request.method, request.host, request.path, &request.query);
    let bucket = desk.objects.get(Kind::Bucket, desk.region, &place.bucket).cloned();
    let Some(bucket) = bucket else { return Err(elsewhere(desk, &place)) };
    match operation.as_str() {
        "HeadBucket" => Ok(Answer::empty(200)),
        "GetObject" | "HeadObject" => get(desk, &place, request.method == "HEAD"),
        "PutObject" => put(desk, &place, request, &bucket),
        "DeleteObject" => {
            if desk.objects.get(Kind::S3Object, desk.region, &place.id()).is_some() {
                desk.objects.remove(Kind::S3Object, desk.region, &place.id());
                watch(desk, &place, false);
            }
            Ok(Answer::empty(204))
        }
        "ListObjectsV2" => Ok(list(desk, &place, &request.query)),
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
            format!("The bucket is in the region {}; send requests there.", key.region),
        ),
        None => AwsError::new(404, "NoSuchBucket", "The specified bucket does not exist"),
    }
}

fn get(desk: &Desk<'_>, place: &Place, head: bool) -> Result<Answer, AwsError> {
    let found = desk.objects.get(Kind::S3Object, desk.region, &place.id());
    let found = found
        .ok_or_else(|| AwsError::new(404, "NoSuchKey", "The specified key does not exist."))?;
    let body = text(found, "Body");
    let mut answer = Answer::new(200, text(found, "ContentType"), body.as_bytes().to_vec());
    answer.header("etag", text(found, "ETag"));
    answer.header("last-modified", &http_date(text(found, "LastModified")));
    answer.header("content-length", &body.len().to_string());
    if head {
        answer.body.clear();
    }
    Ok(answer)
}

fn put(
    desk: &mut Desk<'_>,
    place: &Place,
    request: &Request<'_>,
    bucket: &Value,
) -> Result<Answer, AwsError> {
    let known = desk.objects.get(Kind::S3Object, desk.region, &place.id());
    let tag = known.map(|known| text(known, "ETag").to_owned());
    let failed = |condition: &str| {
        let message = "At least one of the pre-conditions you specified did not hold";
        AwsError::new(412, "PreconditionFailed", format!("{message} ({condition})"))
    };
    if request.header("if-none-match") == Some("*") && tag.is_some() {
        return Err(failed("If-None-Match"));
    }
    if let Some(wanted) = request.header("if-match") {
        match &tag {
            None => {
                return Err(AwsError::new(404, "NoSuchKey", "The specified key does not exist."));
            }
            Some(tag) if tag.trim_matches('"') != wanted.trim_matches('"') => {
                return Err(failed("If-Match"));
            }
            Some(_) => {}
        }
    }
    let body = String::from_utf8_lossy(request.body).into_owned();
    let digest = Sha256::digest(request.body);
    let digest: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let etag = format!("\"{digest}\"");
    let object = json!({
        "ETag": etag,
        "LastModified": stamp(desk.objects.now()),
        "ContentType": request.header("content-type").unwrap_or("binary/octet-stream"),
        "Body": body,
    });
    let mut answer = Answer::empty(200);
    answer.header("etag", &etag);
    if bucket["Versioning"] == "Enabled" {
        let version = desk.objects.name("v");
        answer.header("x-amz-version-id", &version);
    }
    desk.objects.put(Kind::S3Object, desk.region, &place.id(), object, Vec::new());
    watch(desk, place, true);
    Ok(answer)
}

/// Health checkers that look at an object believe what they see after a few looks.
fn watch(desk: &mut Desk<'_>, place: &Place, there: bool) {
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

fn list(desk: &Desk<'_>, place: &Place, query: &Params) -> Answer {
    let prefix = query.get("prefix").map_or("", String::as_str);
    let start = format!("{}/{prefix}", place.bucket);
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
    );
    let mut count = 0;
    let all = desk.objects.of_kind(Kind::S3Object, desk.region);
    for (id, body) in all.filter(|(id, _)| id.starts_with(&start)) {
        let key = id.split_once('/').map_or("", |(_, key)| key);
        let modified = text(body, "LastModified");
        let (etag, size) = (escaped(text(body, "ETag")), text(body, "Body").len());
        out += &format!(
            "<Contents><Key>{}</Key><LastModified>{modified}</LastModified><ETag>{etag}</ETag><Size>{size}</Size></Contents>",
            escaped(key)
        );
        count += 1;
    }
    out += &format!(
        "<Name>{}</Name><Prefix>{}</Prefix><KeyCount>{count}</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>",
        escaped(&place.bucket),
        escaped(prefix)
    );
    Answer::new(200, "application/xml", out.into_bytes())
}

/// Returns what anybody gets by a plain GET: nobody lists a bucket, so what is not there is forbidden.
pub(in crate::sandbox) fn anonymous(
    desk: &Desk<'_>,
    host: &str,
    path: &str,
) -> Option<(u16, String)> {
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
