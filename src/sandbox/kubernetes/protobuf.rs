//! The few bodies in protobuf that Helm and kubectl send: Secrets, ConfigMaps and the options of a deletion. What is in
//! none of the fields read here is refused, not passed over, where it would change what comes of it.

use serde_json::{Map, Value, json};

/// What stands before every body of this form.
const MAGIC: &[u8] = b"k8s\0";
/// What a body of this form is told by.
pub(super) const MEDIA: &str = "application/vnd.kubernetes.protobuf";

/// One field of a message.
#[derive(Debug, Clone, Copy)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Number(_) => None,
        }
    }

    fn text(self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Bytes(_) => None,
        }
    }
}

/// Reads a body into what it would be in JSON; `None` where that is not known.
pub(super) fn decode(body: &[u8]) -> Option<Value> {
    let (mut version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for (number, field) in fields(body.strip_prefix(MAGIC)?)? {
        match number {
            1 => {
                for (number, field) in fields(field.bytes()?)? {
                    match number {
                        1 => version = field.text()?,
                        2 => kind = field.text()?,
                        _ => return None,
                    }
                }
            }
            2 => raw = field.bytes()?,
            _ => {}
        }
    }
    let mut object = match (version.as_str(), kind.as_str()) {
        ("v1", "Secret") => holder(raw, &["data", "", "stringData"])?,
        ("v1", "ConfigMap") => holder(raw, &["data", "binaryData"])?,
        (_, "DeleteOptions") => options(raw)?,
        _ => return None,
    };
    object.insert("apiVersion".to_owned(), json!(version));
    object.insert("kind".to_owned(), json!(kind));
    Some(Value::Object(object))
}

/// Reads a Secret or a ConfigMap: its metadata, then maps under these names; a Secret's type stands between them.
fn holder(raw: &[u8], names: &[&str]) -> Option<Map<String, Value>> {
    let mut object = Map::new();
    for (number, field) in fields(raw)? {
        let name = usize::try_from(number).ok()?.checked_sub(2).and_then(|at| names.get(at));
        match (number, name) {
            (1, _) => {
                object.insert("metadata".to_owned(), Value::Object(metadata(field.bytes()?)?));
            }
            (_, Some(&"")) => {
                object.insert("type".to_owned(), json!(field.text()?));
            }
            (_, Some(name)) => {
                let encoded = *name == "binaryData" || (names.len() > 2 && *name == "data");
                let (key, value) = entry(field.bytes()?)?;
                let value = if encoded { padded(value) } else { text(value)? };
                let map = object.entry(*name).or_insert_with(|| json!({}));
                map[key.as_str()] = json!(value);
            }
            (_, None) => {
                object.insert("immutable".to_owned(), json!(field.number()? == 1));
            }
        }
    }
    Some(object)
}

fn metadata(raw: &[u8]) -> Option<Map<String, Value>> {
    let mut metadata = Map::new();
    for (number, field) in fields(raw)? {
        let (name, value) = match number {
            1 => ("name", json!(field.text()?)),
            2 => ("generateName", json!(field.text()?)),
            3 => ("namespace", json!(field.text()?)),
            5 => ("uid", json!(field.text()?)),
            6 => ("resourceVersion", json!(field.text()?)),
            11 | 12 => {
                let name = if number == 11 { "labels" } else { "annotations" };
                let (key, value) = entry(field.bytes()?)?;
                let map = metadata.entry(name).or_insert_with(|| json!({}));
                map[key.as_str()] = json!(text(value)?);
                continue;
            }
            // Owners and finalizers decide what becomes of it.
            13 | 14 => return None,
            // The server's own.
            _ => continue,
        };
        // A text that is empty is one that was not given.
        if value != "" {
            metadata.insert(name.to_owned(), value);
        }
    }
    Some(metadata)
}

fn options(raw: &[u8]) -> Option<Map<String, Value>> {
    let mut options = Map::new();
    for (number, field) in fields(raw)? {
        match number {
            1 => options.insert("gracePeriodSeconds".to_owned(), json!(field.number()?)),
            3 => options.insert("orphanDependents".to_owned(), json!(field.number()? == 1)),
            4 => options.insert("propagationPolicy".to_owned(), json!(field.text()?)),
            5 => options.insert("dryRun".to_owned(), json!([field.text()?])),
            _ => return None,
        };
    }
    Some(options)
}

/// Reads an entry of a map.
fn entry(raw: &[u8]) -> Option<(String, &[u8])> {
    let (mut key, mut value) = (String::new(), &[][..]);
    for (number, field) in fields(raw)? {
        match number {
            1 => key = field.text()?,
            2 => value = field.bytes()?,
            _ => return None,
        }
    }
    Some((key, value))
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

fn padded(bytes: &[u8]) -> String {
    let plain = crate::mask::base64(bytes);
    let missing = (4 - plain.len() % 4) % 4;
    plain + &"=".repeat(missing)
}

/// Reads the fields of a message; `None` where it is none.
fn fields(mut rest: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut rest)?),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (bytes, after) = rest.split_at_checked(length)?;
                rest = after;
                Field::Bytes(bytes)
            }
            _ => return None,
        };
        found.push((tag >> 3, field));
    }
    Some(found)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 127) << shift;
        if byte & 128 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
        let part = |(number, bytes): &(u8, &[u8])| {
            let length = u8::try_from(bytes.len()).expect("short");
            [&[number << 3 | 2, length], *bytes].concat()
        };
        fields.iter().flat_map(part).collect()
    }

    fn body(kind: &[u8], raw: &[u8]) -> Vec<u8> {
        let of = message(&[(1, b"v1"), (2, kind)]);
        [MAGIC, &message(&[(1, &of), (2, raw)])].concat()
    }

    #[test]
    fn a_secret_is_read_as_it_is_in_json() {
        let label = message(&[(1, b"owner"), (2, b"helm")]);
        let metadata = message(&[(1, b"a"), (2, b""), (3, b"here"), (11, &label)]);
        let data = message(&[(1, b"release"), (2, b"hello")]);
        let raw = message(&[(1, &metadata), (2, &data), (3, b"helm.sh/release.v1")]);
        let expected = json!({ "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
            "metadata": { "name": "a", "namespace": "here", "labels": { "owner": "helm" } },
            "data": { "release": "aGVsbG8=" } });
        assert_eq!(decode(&body(b"Secret", &raw)), Some(expected));
        let map = message(&[(1, &metadata), (2, &data)]);
        let found = decode(&body(b"ConfigMap", &map)).expect("a map");
        assert_eq!(found["data"], json!({ "release": "hello" }));
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        assert_eq!(decode(&body(b"Pod", &[])), None);
        assert_eq!(decode(b"{}"), None);
        let owned = message(&[(1, &message(&[(13, b"")]))]);
        assert_eq!(decode(&body(b"Secret", &owned)), None);
        let whole = body(b"Secret", &message(&[(1, &message(&[(1, b"a")]))]));
        assert!((5..whole.len()).all(|cut| {
            decode(&whole[..cut])
                .is_none_or(|found| found["kind"] != "Secret" || found["metadata"]["name"] != "a")
        }));
        let options = body(b"DeleteOptions", &message(&[(4, b"Background")]));
        assert_eq!(decode(&options).expect("options")["propagationPolicy"], "Background");
    }
}
