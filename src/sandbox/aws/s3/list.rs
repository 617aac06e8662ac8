//! Listings: keys in order, cut into pages, with common prefixes where a delimiter is named.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::codec::{AwsError, Params};
use super::super::digest::{base64, unbase64};
use super::super::{Answer, Desk};
use super::content::{etag, size};
use super::{Place, document, element, versions};
use crate::sandbox::objects::text;
use crate::sandbox::world::Kind;

/// Keys of a page, at most.
const PAGE: usize = 1000;

/// What ListObjectsV2 may be asked; who owns an object is nobody's question here.
pub(super) const PARAMETERS: [&str; 8] = [
    "list-type",
    "prefix",
    "max-keys",
    "delimiter",
    "encoding-type",
    "continuation-token",
    "start-after",
    "fetch-owner",
];

/// Answers ListObjectsV2.
pub(super) fn objects(desk: &Desk<'_>, place: &Place, query: &Params) -> Result<Answer, AwsError> {
    let get = |name: &str| query.get(name).map_or("", String::as_str);
    let most = match query.get("max-keys").map(|most| most.parse::<usize>()) {
        None => PAGE,
        Some(Ok(most)) => most.min(PAGE),
        Some(Err(_)) => {
            let message = "Provided max-keys not an integer or within integer range";
            return Err(AwsError::new(400, "InvalidArgument", message));
        }
    };
    let after = match query.get("continuation-token") {
        Some(token) => {
            let key = unbase64(token).and_then(|key| String::from_utf8(key).ok());
            let message = "The continuation token provided is incorrect";
            key.ok_or_else(|| AwsError::new(400, "InvalidArgument", message))?
        }
        None => get("start-after").to_owned(),
    };
    let (prefix, delimiter) = (get("prefix"), get("delimiter"));
    let shown = shown(query);
    let inside = format!("{}/", place.bucket);
    let (mut contents, mut prefixes) = (String::new(), BTreeMap::new());
    let (mut count, mut last, mut more) = (0, String::new(), false);
    let all = desk.objects.of_kind(Kind::S3Object, desk.region);
    for (id, body) in all {
        let Some(key) = id.strip_prefix(&inside).filter(|key| key.starts_with(prefix)) else {
            continue;
        };
        let common = common(key, prefix, delimiter);
        let place_of = common.as_deref().unwrap_or(key);
        if place_of <= after.as_str() && !after.is_empty() || prefixes.contains_key(place_of) {
            continue;
        }
        if count == most {
            more = true;
            break;
        }
        count += 1;
        last = place_of.to_owned();
        match common {
            Some(common) => {
                prefixes.insert(common, ());
            }
            None => contents += &entry(&shown(key), body),
        }
    }
    let mut out = element("Name", &place.bucket) + &element("Prefix", shown(prefix));
    out += &element("KeyCount", count.to_string());
    out += &element("MaxKeys", most.to_string());
    out += &element("IsTruncated", more.to_string());
    if !get("encoding-type").is_empty() {
        out += &element("EncodingType", "url");
    }
    if !delimiter.is_empty() {
        out += &element("Delimiter", shown(delimiter));
    }
    if more {
        out += &element("NextContinuationToken", base64(last.as_bytes()));
    }
    out += &contents;
    for prefix in prefixes.keys() {
        out += &format!("<CommonPrefixes>{}</CommonPrefixes>", element("Prefix", shown(prefix)));
    }
    Ok(document("ListBucketResult", &out))
}

/// Returns the part of a key up to the delimiter behind the prefix, where there is one.
fn common(key: &str, prefix: &str, delimiter: &str) -> Option<String> {
    if delimiter.is_empty() {
        return None;
    }
    let at = key[prefix.len()..].find(delimiter)?;
    Some(key[..prefix.len() + at + delimiter.len()].to_owned())
}

/// Returns how keys are written: URL-encoded where that was asked for.
fn shown(query: &Params) -> impl Fn(&str) -> String + use<> {
    let encoded = query.get("encoding-type").is_some_and(|named| named == "url");
    move |key: &str| {
        if !encoded {
            return key.to_owned();
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
        let letter = |byte: u8| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        key.bytes().map(letter).collect()
    }
}

fn entry(key: &str, body: &Value) -> String {
    format!(
        "<Contents>{}{}{}{}{}</Contents>",
        element("Key", key),
        element("LastModified", text(body, "LastModified")),
        element("ETag", etag(body)),
        element("Size", size(body).to_string()),
        element("StorageClass", "STANDARD"),
    )
}

/// Answers ListObjectVersions: of each key the latest version first.
pub(super) fn versions(desk: &Desk<'_>, place: &Place, query: &Params) -> Answer {
    let prefix = query.get("prefix").map_or("", String::as_str);
    let shown = shown(query);
    let inside = format!("{}/", place.bucket);
    let mut keys: BTreeMap<String, Vec<(bool, Value)>> = BTreeMap::new();
    for kind in [Kind::S3Object, Kind::S3Version] {
        for (id, body) in desk.objects.of_kind(kind, desk.region) {
            let Some(key) = id.strip_prefix(&inside).filter(|key| key.starts_with(prefix)) else {
                continue;
            };
            let (key, current) = match kind {
                Kind::S3Version => {
                    (key.rsplit_once("?versionId=").map_or(key, |(key, _)| key), false)
                }
                _ => (key, true),
            };
            keys.entry(key.to_owned()).or_default().push((current, body.clone()));
        }
    }
    let mut inner = element("Name", &place.bucket) + &element("Prefix", shown(prefix));
    inner += &element("MaxKeys", PAGE.to_string());
    inner += &element("IsTruncated", "false");
    for (key, mut all) in keys {
        all.sort_by_key(|(current, body)| (!current, u64::MAX - versions::order(body)));
        let marked = !all.iter().any(|(current, _)| *current);
        for (index, (current, body)) in all.iter().enumerate() {
            let latest = *current || (marked && index == 0);
            inner += &version(&shown(&key), latest, body);
        }
    }
    document("ListVersionsResult", &inner)
}

fn version(key: &str, latest: bool, body: &Value) -> String {
    let mut inner = element("Key", key);
    inner += &element("VersionId", versions::version(body));
    inner += &element("IsLatest", latest.to_string());
    inner += &element("LastModified", text(body, "LastModified"));
    if body["DeleteMarker"] == true {
        return format!("<DeleteMarker>{inner}</DeleteMarker>");
    }
    inner += &element("ETag", etag(body));
    inner += &element("Size", size(body).to_string());
    inner += &element("StorageClass", "STANDARD");
    format!("<Version>{inner}</Version>")
}
