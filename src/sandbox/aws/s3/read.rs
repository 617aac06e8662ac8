//! Reading an object: by version, in ranges, on conditions.

use serde_json::Value;

use super::super::codec::AwsError;
use super::super::{Answer, Desk, Request, unknown};
use super::content::{bytes, etag, names, size, sum_headers};
use super::{Place, http_date, no_key, versions};
use crate::sandbox::objects::text;

pub(super) fn get(
    desk: &Desk<'_>,
    place: &Place,
    request: &Request<'_>,
) -> Result<Answer, AwsError> {
    let object = versions::find(desk, place, request.query.get("versionId").map(String::as_str))?;
    let tag = etag(&object);
    if let Some(answer) = conditions(request, &object, &tag)? {
        return Ok(answer);
    }
    let whole = size(&object);
    let part = match request.header("range") {
        Some(range) => span(range, whole)?,
        None => None,
    };
    let mut answer = Answer::new(if part.is_some() { 206 } else { 200 }, "", Vec::new());
    answer.headers.clear();
    describe(&mut answer, &object, &tag);
    // A sum is of the whole object.
    if request.header("x-amz-checksum-mode") == Some("ENABLED") && part.is_none() {
        answer.headers.extend(sum_headers(&object));
    }
    let (first, length) = part.unwrap_or((0, whole));
    if part.is_some() {
        let last = first + length - 1;
        answer.header("content-range", &format!("bytes {first}-{last}/{whole}"));
    }
    answer.header("content-length", &length.to_string());
    if request.method == "GET" {
        let held = bytes(&object).ok_or_else(|| {
            unknown(&format!("the content of s3://{}/{}", place.bucket, place.key))
        })?;
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        answer.body = held.get(index(first)..index(first + length)).unwrap_or_default().to_vec();
    }
    Ok(answer)
}

fn describe(answer: &mut Answer, object: &Value, tag: &str) {
    let or = |name: &str, default: &str| match text(object, name) {
        "" => default.to_owned(),
        known => known.to_owned(),
    };
    answer.header("content-type", &or("ContentType", "binary/octet-stream"));
    answer.header("etag", tag);
    answer.header("last-modified", &http_date(text(object, "LastModified")));
    answer.header("accept-ranges", "bytes");
    for (header, field) in [
        ("x-amz-version-id", "VersionId"),
        ("x-amz-replication-status", "ReplicationStatus"),
        ("content-encoding", "ContentEncoding"),
        ("cache-control", "CacheControl"),
    ] {
        if !text(object, field).is_empty() {
            answer.header(header, text(object, field));
        }
    }
    let metadata = object.get("Metadata").and_then(Value::as_object);
    for (name, value) in metadata.into_iter().flatten() {
        let value = value.as_str().unwrap_or_default().to_owned();
        answer.headers.push((format!("x-amz-meta-{name}"), value));
    }
}

/// Holds what a reader wants an object to be; an unchanged one is answered by 304.
fn conditions(
    request: &Request<'_>,
    object: &Value,
    tag: &str,
) -> Result<Option<Answer>, AwsError> {
    if request.header("if-match").is_some_and(|wanted| !names(wanted, tag)) {
        let message = "At least one of the pre-conditions you specified did not hold";
        return Err(AwsError::new(412, "PreconditionFailed", message));
    }
    if request.header("if-none-match").is_some_and(|known| names(known, tag)) {
        let mut answer = Answer::empty(304);
        answer.header("etag", tag);
        answer.header("last-modified", &http_date(text(object, "LastModified")));
        return Ok(Some(answer));
    }
    Ok(None)
}

/// Returns first byte and length of a range; `None` for one S3 does not understand, and then gives everything.
fn span(range: &str, whole: u64) -> Result<Option<(u64, u64)>, AwsError> {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Ok(None);
    };
    let wrong = || {
        let message = "The requested range is not satisfiable";
        AwsError::new(416, "InvalidRange", message)
    };
    let (first, last) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.min(whole.saturating_sub(1))),
        (Ok(first), Err(_)) if last.is_empty() => (first, whole.saturating_sub(1)),
        (Err(_), Ok(0)) if first.is_empty() => return Err(wrong()),
        (Err(_), Ok(many)) if first.is_empty() => {
            (whole.saturating_sub(many), whole.saturating_sub(1))
        }
        _ => return Ok(None),
    };
    if first >= whole {
        return Err(wrong());
    }
    Ok(Some((first, last - first + 1)))
}

/// Returns an object's content for a copy.
pub(super) fn source(desk: &Desk<'_>, named: &str) -> Result<(Value, Vec<u8>), AwsError> {
    let (path, version) = match named.split_once("?versionId=") {
        Some((path, version)) => (path, Some(version)),
        None => (named, None),
    };
    let place = Place::of("", path);
    let object = versions::find(desk, &place, version)?;
    let held = bytes(&object).ok_or_else(no_key)?;
    Ok((object, held))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_what_is_there() {
        for (range, cut) in [
            ("bytes=0-3", Some((0, 4))),
            ("bytes=4-", Some((4, 6))),
            ("bytes=-3", Some((7, 3))),
            ("bytes=8-99", Some((8, 2))),
            ("bytes=5-2", None),
            ("lines=1-2", None),
        ] {
            assert_eq!(span(range, 10), Ok(cut), "{range}");
        }
        for range in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(span(range, 10).expect_err(range).code, "InvalidRange");
        }
    }
}
