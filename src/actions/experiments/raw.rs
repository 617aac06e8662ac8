//! JSON as it is written: values lose digits of numbers, and some of what is written becomes no value of the server at all.

/// Digits after the point that a number of the server has at most.
const FRACTION_MAX: i64 = 16_383;

/// Returns what a field of an object is, as it is written there: of one that is given twice the last, as the server reads
/// it. The text must have been read as JSON before.
pub(super) fn field<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let bytes = object.as_bytes();
    let (mut at, mut depth, mut begin) = (0, 0_usize, 0);
    let (mut key, mut found) = (None, None);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let end = end_of_text(bytes, at);
                if depth == 1 && key.is_none() {
                    key = object.get(at..end);
                }
                at = end;
                continue;
            }
            b':' if depth == 1 => begin = at + 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' => {
                if depth == 1 && key.take().is_some_and(|key| is(key, name)) {
                    found = object.get(begin..at).map(str::trim);
                }
                depth -= usize::from(*byte != b',').min(depth);
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Says what of a JSON text becomes no value of the server, though a column of the type `json` keeps it.
pub(super) fn unstorable(json: &str) -> Option<&'static str> {
    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let end = end_of_text(bytes, at);
                if bytes.get(at..end).is_some_and(has_zero) {
                    return Some("the character \\u0000");
                }
                at = end;
            }
            b'-' | b'0'..=b'9' => {
                let rest = json.get(at..).unwrap_or_default();
                let in_number = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
                let end = rest.find(|c: char| !in_number(c)).unwrap_or(rest.len());
                if fraction(&rest[..end]) > FRACTION_MAX {
                    return Some("a number of more than 16383 digits after the point");
                }
                at += end;
            }
            _ => at += 1,
        }
    }
    None
}

/// Returns where a text ends that begins at this quotation mark.
fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Says whether a written text has the character zero.
fn has_zero(text: &[u8]) -> bool {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let escape = *byte == b'\\';
        if escape && text.get(at + 1..).is_some_and(|rest| rest.starts_with(b"u0000")) {
            return true;
        }
        at += if escape { 2 } else { 1 };
    }
    false
}

/// Returns how many digits a number has after its point, once its exponent is written out.
fn fraction(number: &str) -> i64 {
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let after = digits.split_once('.').map_or(0, |(_, after)| after.len());
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    // An exponent of more digits than that is out of any range; where it is large, the number itself was refused before.
    let exponent = exponent.parse::<i64>().unwrap_or(i64::MIN);
    after.saturating_sub(exponent)
}

/// Says whether a key, as it is written, is this name.
fn is(written: &str, name: &str) -> bool {
    match written.contains('\\') {
        true => serde_json::from_str::<String>(written).is_ok_and(|key| key == name),
        false => written.trim_matches('"') == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_as_it_is_written() {
        let object = r#" { "a" : 1.50 ,"b":{"a": [2, "}"], "c": "x\"y"},"a\u0062" : "\\", "d":[ ],"a": 3e-1 } "#;
        for (name, found) in [
            ("a", Some("3e-1")),
            ("b", Some(r#"{"a": [2, "}"], "c": "x\"y"}"#)),
            ("ab", Some(r#""\\""#)),
            ("d", Some("[ ]")),
            ("c", None),
            ("x", None),
        ] {
            assert_eq!(field(object, name), found, "{name}");
        }
        assert_eq!(field("{}", "a"), None);
        assert_eq!(field(r#"{"a":null}"#, "a"), Some("null"));
    }

    #[test]
    fn what_the_server_cannot_hold_is_known() {
        let fine = format!("0.{}1", "0".repeat(16_382));
        let finer = format!("[0.{}1]", "0".repeat(16_383));
        for good in [r#"{"a": "\\u0000", "b": -1.5e3}"#, "1e-16383", "1.5E+300", fine.as_str()] {
            assert_eq!(unstorable(good), None, "{good}");
        }
        for zero in [r#""\u0000""#, r#"{"a": ["x\\\u0000"]}"#, r#"{"\u0000": 1}"#] {
            assert_eq!(unstorable(zero), Some("the character \\u0000"), "{zero}");
        }
        for number in ["1e-16384", "{\"a\": 0.1e-16383}", "1e-99999999999999999999", finer.as_str()]
        {
            assert!(unstorable(number).is_some_and(|said| said.contains("digits")), "{number}");
        }
    }
}
