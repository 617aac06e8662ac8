//! What an object holds and how it came: chunks with trailers, sums that are verified, and bytes in a world's JSON.

use serde_json::{Map, Value, json};

use super::super::codec::AwsError;
use super::super::digest::{base64, crc32, crc32c, hex, md5, sha256, unbase64};
use super::super::{Request, unknown};
use crate::sandbox::objects::text;

/// Checksums that are verified and echoed: the header's name, and the field's.
const SUMS: [(&str, &str); 3] = [
    ("x-amz-checksum-crc32", "ChecksumCRC32"),
    ("x-amz-checksum-crc32c", "ChecksumCRC32C"),
    ("x-amz-checksum-sha256", "ChecksumSHA256"),
];

/// A body that was received and verified.
pub(super) struct Content {
    pub bytes: Vec<u8>,
    /// Checksums it came with, by the name of their field
    pub sums: Map<String, Value>,
}

impl Content {
    /// Reads a request's body, and refuses one that is not what its sums say.
    pub(super) fn of(request: &Request<'_>) -> Result<Self, AwsError> {
        let stated = request.header("x-amz-content-sha256").unwrap_or_default();
        let chunked = stated.starts_with("STREAMING-")
            || request
                .header("content-encoding")
                .is_some_and(|named| named.contains("aws-chunked"));
        let (bytes, trailers) = match chunked {
            true => unchunked(request.body).ok_or_else(|| {
                let message = "The request body terminated unexpectedly";
                AwsError::new(400, "IncompleteBody", message)
            })?,
            false => (request.body.to_vec(), Vec::new()),
        };
        if stated.len() == 64 && !chunked && stated != hex(&sha256(&bytes)) {
            let message =
                "The provided 'x-amz-content-sha256' header does not match what was computed.";
            return Err(AwsError::new(400, "XAmzContentSHA256Mismatch", message));
        }
        if let Some(sum) = request.header("content-md5")
            && sum != base64(&md5(&bytes))
        {
            let message = "The Content-MD5 you specified did not match what we received.";
            return Err(AwsError::new(400, "BadDigest", message));
        }
        let trailer = |name: &str| {
            let found = trailers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.as_str())
        };
        let given = |name: &str| request.header(name).or_else(|| trailer(name)).map(str::to_owned);
        for other in ["x-amz-checksum-sha1", "x-amz-checksum-crc64nvme"] {
            if given(other).is_some() {
                return Err(unknown(&format!("s3 {other}")));
            }
        }
        let mut sums = Map::new();
        for (header, field) in SUMS {
            let Some(sum) = given(header) else { continue };
            if sum != computed(header, &bytes) {
                let name = header.trim_start_matches("x-amz-checksum-").to_uppercase();
                let message =
                    format!("The {name} you specified did not match the calculated checksum.");
                return Err(AwsError::new(400, "BadDigest", message));
            }
            sums.insert(field.to_owned(), json!(sum));
        }
        Ok(Self { bytes, sums })
    }
}

fn computed(header: &str, bytes: &[u8]) -> String {
    base64(&match header {
        "x-amz-checksum-crc32" => crc32(bytes),
        "x-amz-checksum-crc32c" => crc32c(bytes),
        _ => sha256(bytes),
    })
}

/// Returns the checksum headers of an object.
pub(super) fn sum_headers(object: &Value) -> Vec<(String, String)> {
    let sums = SUMS.into_iter().filter_map(|(header, field)| {
        let sum = text(object, field);
        (!sum.is_empty()).then(|| (header.to_owned(), sum.to_owned()))
    });
    let mut headers: Vec<_> = sums.collect();
    if !headers.is_empty() {
        headers.push(("x-amz-checksum-type".to_owned(), "FULL_OBJECT".to_owned()));
    }
    headers
}

/// A body in chunks and its trailing headers.
type Chunks = (Vec<u8>, Vec<(String, String)>);

/// Takes a body in `aws-chunked` coding apart; `None` where it breaks off.
fn unchunked(mut rest: &[u8]) -> Option<Chunks> {
    let mut bytes = Vec::new();
    loop {
        let head = line(&mut rest)?;
        let size = head.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            break;
        }
        bytes.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
    let mut trailers = Vec::new();
    while let Some(text) = line(&mut rest).filter(|text| !text.is_empty()) {
        let (name, value) = text.split_once(':')?;
        trailers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    Some((bytes, trailers))
}

fn line(rest: &mut &[u8]) -> Option<String> {
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    let text = String::from_utf8_lossy(&rest[..end]).into_owned();
    *rest = &rest[end + 2..];
    Some(text)
}

/// Puts bytes into an object: as text where they are text, so that people can read a world.
pub(super) fn keep(object: &mut Value, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object["Body"] = json!(text),
        Err(_) => object["BodyBase64"] = json!(base64(bytes)),
    }
}

/// Returns what an object holds; `None` where the world says only how much that is.
pub(super) fn bytes(object: &Value) -> Option<Vec<u8>> {
    if let Some(text) = object.get("BodyBase64").and_then(Value::as_str) {
        return unbase64(text);
    }
    match object.get("Body").and_then(Value::as_str) {
        Some(text) => Some(text.as_bytes().to_vec()),
        None => (size(object) == 0).then(Vec::new),
    }
}

/// Returns how many bytes an object holds.
pub(super) fn size(object: &Value) -> u64 {
    if let Some(text) = object.get("Body").and_then(Value::as_str) {
        return u64::try_from(text.len()).unwrap_or(u64::MAX);
    }
    if let Some(text) = object.get("BodyBase64").and_then(Value::as_str) {
        let padding = text.len() - text.trim_end_matches('=').len();
        return u64::try_from(text.len() / 4 * 3 - padding).unwrap_or(u64::MAX);
    }
    object.get("Size").and_then(Value::as_u64).unwrap_or(0)
}

/// Returns an object's ETag, in quotes; of one that was written by hand, the one S3 would give it.
pub(super) fn etag(object: &Value) -> String {
    match text(object, "ETag") {
        "" => quoted(&md5(&bytes(object).unwrap_or_default())),
        known => format!("\"{}\"", known.trim_matches('"')),
    }
}

/// Writes a sum as an ETag.
pub(super) fn quoted(sum: &[u8]) -> String {
    format!("\"{}\"", hex(sum))
}

/// Says whether a condition's list names an ETag.
pub(super) fn names(condition: &str, etag: &str) -> bool {
    let plain = |tag: &str| tag.trim().trim_matches('"').to_owned();
    condition.split(',').any(|tag| tag.trim() == "*" || plain(tag) == plain(etag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_and_trailers_are_read() {
        let body =
            b"5;chunk-signature=ab\r\nhello\r\n1\r\n!\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n";
        let (bytes, trailers) = unchunked(body).expect("it is whole");
        assert_eq!(bytes, b"hello!");
        assert_eq!(trailers, [("x-amz-checksum-crc32".to_owned(), "AAAA".to_owned())]);
        for end in 0..20 {
            assert!(unchunked(&body[..end]).is_none(), "cut at {end}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_kept() {
        let mut object = json!({});
        keep(&mut object, &[0, 159, 146, 150]);
        assert_eq!(size(&object), 4);
        assert_eq!(bytes(&object).as_deref(), Some(&[0, 159, 146, 150][..]));
        assert_eq!(bytes(&json!({ "Size": 7 })), None);
    }
}
