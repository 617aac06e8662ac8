//! Hides secret values in whatever is printed or kept of a child's output: by value, and in the forms they travel in.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// Put in a secret's place.
const MASK: &str = "***";

/// Shorter values would hide ordinary text: a password of three characters is no secret.
const VALUE_MIN: usize = 4;

/// Shorter fragments of an encoded value are too likely to be something else.
const FRAGMENT_MIN: usize = 6;

/// Knows the secret values of this process and hides them. Clones share what they know.
#[derive(Clone, Default)]
pub(crate) struct Masker(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    /// Longest first, so that no value is left half visible behind a shorter one
    needles: Vec<String>,
    /// Text that is no secret: what stands in it is not hidden
    open: String,
    /// A secret stands in it
    left: bool,
}

impl Masker {
    /// Hides a value from now on, with its base64, URL-encoded and JSON-escaped forms; each long line of a value of
    /// several lines as well, because output is read line by line.
    pub(crate) fn learn(&self, value: &str) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for part in std::iter::once(value).chain(value.lines()).map(str::trim) {
            if part.chars().count() < VALUE_MIN {
                continue;
            }
            if known.open.contains(part) {
                // Every name it is part of would be hidden with it, and it would still be no secret.
                known.left = true;
                continue;
            }
            for form in forms_of(part) {
                if !known.needles.contains(&form) {
                    known.needles.push(form);
                }
            }
        }
        known.needles.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    }

    /// Says whether a secret was not hidden because it is no secret.
    pub(crate) fn has_left(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).left
    }

    /// Hides a secret from now on.
    pub(crate) fn hide(&self, secret: &SecretString) {
        self.learn(secret.expose_secret());
    }

    /// Says that a text is no secret: the plan, with every name of the estate in it. Before anything is learnt.
    pub(crate) fn open(&self, text: String) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).open = text;
    }

    /// Says whether a text holds a known secret.
    pub(crate) fn finds(&self, text: &str) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.needles.iter().any(|needle| text.contains(needle.as_str()))
    }

    /// Says whether nothing is known: nothing needs to be looked at then.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).needles.is_empty()
    }

    /// Returns the text with every known secret hidden.
    pub(crate) fn mask(&self, text: &str) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut out = text.to_owned();
        for needle in &known.needles {
            if out.contains(needle.as_str()) {
                out = out.replace(needle.as_str(), MASK);
            }
        }
        out
    }

    /// Returns the value with every known secret hidden, in its texts and in its names.
    pub(crate) fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.mask(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(map) => {
                map.into_iter().map(|(name, value)| (self.mask(&name), self.value(value))).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.read().unwrap_or_else(PoisonError::into_inner).needles.len();
        write!(f, "Masker({count} forms)")
    }
}

fn forms_of(value: &str) -> Vec<String> {
    let mut forms = vec![
        value.to_owned(),
        percent(value, false, false),
        percent(value, true, false),
        percent(value, false, true),
    ];
    if let Ok(quoted) = serde_json::to_string(value) {
        forms.push(quoted[1..quoted.len() - 1].to_owned());
    }
    for alphabet in [STANDARD, URL_SAFE] {
        forms.push(base64_in(value.as_bytes(), alphabet));
        // Inside a longer text, as in `user:password`, the value starts at any of three places of a group.
        for lead in 0..3 {
            let fragment = base64_inner(value.as_bytes(), lead, alphabet);
            if fragment.len() >= FRAGMENT_MIN {
                forms.push(fragment);
            }
        }
    }
    forms.sort();
    forms.dedup();
    forms
}

fn percent(value: &str, lower: bool, form: bool) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' if form => out.push('+'),
            byte if lower => out.push_str(&format!("%{byte:02x}")),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Returns standard base64 without padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    base64_in(bytes, STANDARD)
}

/// Returns base64 without padding; what follows the value's own characters is no part of the secret.
fn base64_in(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let mut bits: u32 = 0;
        for at in 0..3 {
            bits = bits << 8 | u32::from(group.get(at).copied().unwrap_or(0));
        }
        for at in 0..=group.len() {
            let index = (bits >> (18 - 6 * at)) & 63;
            out.push(char::from(alphabet[index as usize]));
        }
    }
    out
}

/// Returns the part of the base64 of `lead` unknown bytes and then the value that the value alone decides.
fn base64_inner(bytes: &[u8], lead: usize, alphabet: &[u8; 64]) -> String {
    let mut padded = vec![0; lead];
    padded.extend_from_slice(bytes);
    let text = base64_in(&padded, alphabet);
    let first = (lead * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    text.get(first..last).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knowing(value: &str) -> Masker {
        let masker = Masker::default();
        masker.learn(value);
        masker
    }

    #[test]
    fn hides_a_value_in_every_form_it_travels_in() {
        let masker = knowing("p@ss w\"rd");
        for text in [
            "password is p@ss w\"rd.",
            "url p%40ss%20w%22rd",
            "url p%40ss%20w%22rd",
            "form p%40ss+w%22rd",
            "json {\"password\":\"p@ss w\\\"rd\"}",
            // base64 of the value alone, then of `admin:` and `a:` before it.
            "cEBzcyB3InJk",
            "Authorization: Basic YWRtaW46cEBzcyB3InJk",
            "Authorization: Basic YTpwQHNzIHcicmQ=",
        ] {
            let masked = masker.mask(text);
            assert!(masked.contains(MASK), "{text} -> {masked}");
            assert!(!masked.contains("ss w"), "{masked}");
        }
    }

    #[test]
    fn base64_is_base64() {
        assert_eq!(base64_in(b"Man", STANDARD), "TWFu");
        assert_eq!(base64_in(b"Ma", STANDARD), "TWE");
        assert_eq!(base64_in(b"M", STANDARD), "TQ");
        assert_eq!(base64_in(&[0xfb, 0xff], URL_SAFE), "-_8");
        assert_eq!(base64_in(&[0xfb, 0xff], STANDARD), "+/8");
    }

    #[test]
    fn a_word_of_the_plan_is_no_secret_and_stays_readable() {
        let masker = Masker::default();
        masker.open("estate phoenix, instance phoenix-prod".to_owned());
        masker.learn("phoenix");
        assert!(masker.is_idle() && masker.has_left());
        masker.learn("phoenix-2f9c");
        let value =
            serde_json::json!({ "phoenix-2f9c": ["phoenix-prod", "a phoenix-2f9c"], "n": 1 });
        let masked = serde_json::json!({ "***": ["phoenix-prod", "a ***"], "n": 1 });
        assert_eq!(masker.value(value), masked);
        assert!(masker.finds("x phoenix-2f9c") && !masker.finds("phoenix-prod"));
    }

    #[test]
    fn leaves_short_values_and_other_text_alone() {
        let masker = knowing("abc");
        assert_eq!(masker.mask("abc and the rest"), "abc and the rest");
        let masker = knowing("secret-value");
        assert_eq!(masker.mask("nothing here"), "nothing here");
        assert!(!format!("{masker:?}").contains("secret-value"));
    }

    #[test]
    fn hides_each_line_of_a_key_and_the_longest_first() {
        let masker = knowing("-----BEGIN-----\nMIIEvQIBADANBg\n-----END-----");
        assert_eq!(masker.mask("line MIIEvQIBADANBg end"), "line *** end");
        let masker = knowing("hunter2");
        masker.learn("hunter2-and-more");
        assert_eq!(masker.mask("hunter2-and-more"), "***");
    }

    proptest::proptest! {
        #[test]
        fn a_value_is_never_left_visible(value in "[ -~]{4,40}", before in "[ -~]{0,9}") {
            let value = value.trim();
            proptest::prop_assume!(value.len() >= VALUE_MIN && !MASK.contains(value));
            let masker = knowing(value);
            let masked = masker.mask(&format!("{before}{value}{before}"));
            proptest::prop_assert!(masked.contains(MASK));
            let basic = base64_in(format!("{before}{value}").as_bytes(), STANDARD);
            let inner = base64_inner(value.as_bytes(), before.len() % 3, STANDARD);
            if inner.len() >= FRAGMENT_MIN {
                proptest::prop_assert!(!masker.mask(&basic).contains(&inner));
            }
        }
    }
}
