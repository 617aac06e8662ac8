//! The few bodies in protobuf that Helm and kubectl send: Secrets, ConfigMaps, evictions, the options of a deletion and
//! questions about one's own access. What is in none of the fields read here is refused, not passed over, where it would
//! change what comes of it.

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
        ("policy/v1", "Eviction") => described(raw, "deleteOptions", options)?,
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview") => described(raw, "spec", access)?,
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => {
            described(raw, "spec", |raw| texts(raw, &["namespace"]))?
        }
        ("authentication.k8s.io/v1", "SelfSubjectReview") => described(raw, "", |_| None)?,
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

/// Reads an object of metadata and one more part, by its name; of what the server says of it nothing is read.
fn described(
    raw: &[u8],
    name: &str,
    read: impl Fn(&[u8]) -> Option<Map<String, Value>>,
) -> Option<Map<String, Value>> {
    let mut object = Map::new();
    for (number, field) in fields(raw)? {
        let part = match number {
            1 => ("metadata", metadata(field.bytes()?)?),
            2 if !name.is_empty() => (name, read(field.bytes()?)?),
            _ => continue,
        };
        object.insert(part.0.to_owned(), Value::Object(part.1));
    }
    Some(object)
}

/// Reads what a review of access asks.
fn access(raw: &[u8]) -> Option<Map<String, Value>> {
    const RESOURCE: [&str; 7] =
        ["namespace", "verb", "group", "version", "resource", "subresource", "name"];
    let mut spec = Map::new();
    for (number, field) in fields(raw)? {
        let (name, asked) = match number {
            1 => ("resourceAttributes", texts(field.bytes()?, &RESOURCE)?),
            2 => ("nonResourceAttributes", texts(field.bytes()?, &["path", "verb"])?),
            _ => return None,
        };
        spec.insert(name.to_owned(), Value::Object(asked));
    }
    Some(spec)
}

/// Reads a message of texts alone, by their names in order; one that is empty was not given.
fn texts(raw: &[u8], names: &[&str]) -> Option<Map<String, Value>> {
    let mut found = Map::new();
    for (number, field) in fields(raw)? {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        let (name, value) = (names.get(at)?, field.text()?);
        if !value.is_empty() {
            found.insert((*name).to_owned(), json!(value));
        }
    }
    Some(found)
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
        body_of(b"v1", kind, raw)
    }

    fn body_of(version: &[u8], kind: &[u8], raw: &[u8]) -> Vec<u8> {
        let of = message(&[(1, version), (2, kind)]);
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
    fn a_question_about_access_is_read_as_it_is_in_json() {
        let asked = message(&[(1, b"here"), (2, b"patch"), (3, b""), (5, b"pods")]);
        let status = &[8, 0][..];
        let raw = message(&[(1, b""), (2, &message(&[(1, &asked)])), (3, status)]);
        let group = b"authorization.k8s.io/v1";
        let found = decode(&body_of(group, b"SelfSubjectAccessReview", &raw)).expect("a review");
        let expected = json!({ "resourceAttributes": { "namespace": "here", "verb": "patch", "resource": "pods" } });
        assert_eq!(
            (&found["kind"], &found["spec"]),
            (&json!("SelfSubjectAccessReview"), &expected)
        );
        let path = message(&[(1, b"/healthz"), (2, b"get")]);
        let raw = message(&[(2, &message(&[(2, &path)]))]);
        let found = decode(&body_of(group, b"SelfSubjectAccessReview", &raw)).expect("a review");
        let expected = json!({ "nonResourceAttributes": { "path": "/healthz", "verb": "get" } });
        assert_eq!(found["spec"], expected);
        // Who may do what to objects of a label is another question.
        let labelled = message(&[(2, &message(&[(1, &message(&[(9, b"")]))]))]);
        assert_eq!(decode(&body_of(group, b"SelfSubjectAccessReview", &labelled)), None);
        let options = message(&[(2, &message(&[(4, b"Background")]))]);
        let found = decode(&body_of(b"policy/v1", b"Eviction", &options)).expect("an eviction");
        assert_eq!(found["deleteOptions"]["propagationPolicy"], "Background");
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
