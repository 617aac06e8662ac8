//! CBOR, as smithy's RPC v2 has it: fields that end in `Time` are instants.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Writes a value.
pub(super) fn write(name: &str, value: &Value, out: &mut Vec<u8>) {
    let head = |major: u8, number: usize, out: &mut Vec<u8>| {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        match u8::try_from(number) {
            Ok(small @ 0..=23) => out.push(major << 5 | small),
            Ok(byte) => out.extend([major << 5 | 24, byte]),
            Err(_) => {
                out.push(major << 5 | 27);
                out.extend(number.to_be_bytes());
            }
        }
    };
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(value) => out.push(0xf4 + u8::from(*value)),
        Value::Number(number) => {
            out.push(0xfb);
            out.extend(number.as_f64().unwrap_or(0.0).to_be_bytes());
        }
        Value::String(text) => {
            let instant = name.ends_with("Time").then(|| text.parse::<Timestamp>().ok()).flatten();
            if let Some(instant) = instant {
                // Tag 1: seconds since 1970.
                out.extend([0xc1, 0xfb]);
                out.extend((instant.as_millisecond() as f64 / 1000.0).to_be_bytes());
            } else {
                head(3, text.len(), out);
                out.extend(text.as_bytes());
            }
        }
        Value::Array(items) => {
            head(4, items.len(), out);
            items.iter().for_each(|item| write("", item, out));
        }
        Value::Object(fields) => {
            head(5, fields.len(), out);
            for (name, value) in fields {
                head(3, name.len(), out);
                out.extend(name.as_bytes());
                write(name, value, out);
            }
        }
    }
}

/// Things within things that are read, at most.
const DEPTH_MAX: usize = 32;

/// Reads a value; `None` where it is none. Instants become texts.
pub(super) fn read(mut bytes: &[u8]) -> Option<Value> {
    item(&mut bytes, 0)
}

fn item(rest: &mut &[u8], depth: usize) -> Option<Value> {
    if depth > DEPTH_MAX {
        return None;
    }
    let (major, info) = (rest.first()? >> 5, rest.first()? & 31);
    *rest = &rest[1..];
    let length = match info {
        0..=23 => Some(u64::from(info)),
        24..=27 => Some(number(rest, 1 << (info - 24))?),
        31 => None,
        _ => return None,
    };
    match major {
        0 => Some(json!(length?)),
        1 => Some(json!(-1 - i64::try_from(length?).ok()?)),
        2 | 3 => text(rest, length, depth),
        4 => {
            let mut items = Vec::new();
            while more(rest, length, items.len())? {
                items.push(item(rest, depth + 1)?);
            }
            Some(Value::Array(items))
        }
        5 => {
            let (mut fields, mut count) = (Map::new(), 0);
            while more(rest, length, count)? {
                let name = item(rest, depth + 1)?.as_str()?.to_owned();
                fields.insert(name, item(rest, depth + 1)?);
                count += 1;
            }
            Some(Value::Object(fields))
        }
        6 => {
            let seconds = item(rest, depth + 1)?.as_f64()?;
            let instant = Timestamp::from_millisecond((seconds * 1000.0) as i64).ok()?;
            Some(json!(instant.to_string()))
        }
        _ => match info {
            20 => Some(json!(false)),
            21 => Some(json!(true)),
            26 => Some(json!(f32::from_bits(u32::try_from(length?).ok()?))),
            27 => Some(json!(f64::from_bits(length?))),
            _ => Some(Value::Null),
        },
    }
}

fn number(rest: &mut &[u8], width: usize) -> Option<u64> {
    let value = rest.get(..width)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    *rest = rest.get(width..)?;
    Some(value)
}

/// Says whether another item comes; takes the end of a list without a length.
fn more(rest: &mut &[u8], length: Option<u64>, count: usize) -> Option<bool> {
    match length {
        Some(length) => Some(u64::try_from(count).ok()? < length),
        None if rest.first()? == &0xff => {
            *rest = &rest[1..];
            Some(false)
        }
        None => Some(true),
    }
}

/// Reads a text; one without a length comes in pieces.
fn text(rest: &mut &[u8], length: Option<u64>, depth: usize) -> Option<Value> {
    let Some(length) = length else {
        let mut whole = String::new();
        while more(rest, None, 0)? {
            whole.push_str(item(rest, depth + 1)?.as_str()?);
        }
        return Some(json!(whole));
    };
    let length = usize::try_from(length).ok()?;
    let text = std::str::from_utf8(rest.get(..length)?).ok()?.to_owned();
    *rest = rest.get(length..)?;
    Some(json!(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_tagged() {
        let mut out = Vec::new();
        write("startTime", &json!("1970-01-01T00:00:01Z"), &mut out);
        assert_eq!(out[..2], [0xc1, 0xfb]);
        assert_eq!(out[2..], 1.0_f64.to_be_bytes());
        assert_eq!(read(&out), Some(json!("1970-01-01T00:00:01Z")));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let long = "x".repeat(300);
        let value =
            json!({ "filter": { "regions": ["us-east-1", long], "open": true, "none": null } });
        let mut out = Vec::new();
        write("", &value, &mut out);
        assert_eq!(read(&out), Some(value));
        for end in 0..out.len() {
            assert_eq!(read(&out[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn lists_and_maps_without_a_length_are_read() {
        let bytes = [0xbf, 0x61, b'a', 0x9f, 0x18, 0x2a, 0x20, 0xff, 0xff];
        assert_eq!(read(&bytes), Some(json!({ "a": [42, -1] })));
    }
}
