//! Lengths of time as people write them: `30s`, `5m`, `1h30m`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time written as `90s`, `30m`, `1h30m` or `2d`; never negative, at most ten years.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span(pub(crate) Duration);

/// Longest span accepted, so that adding spans to an instant cannot overflow.
const SECONDS_MAX: u64 = 10 * 366 * 86_400;

/// Why a text is not a span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a length of time; write it like 30s, 5m, 1h30m or 2d")]
pub(crate) struct SpanError {
    text: String,
}

impl Span {
    /// Returns a span of whole seconds.
    pub(crate) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Returns a span of whole minutes.
    pub(crate) const fn minutes(minutes: u64) -> Self {
        Self(Duration::from_secs(minutes * 60))
    }

    /// Returns the span as a person can type it: in whole minutes, or seconds where it is below one, rounded up.
    pub(crate) const fn rounded_up(self) -> Self {
        let seconds = self.0.as_secs() + if self.0.subsec_nanos() > 0 { 1 } else { 0 };
        if seconds < 60 { Self::seconds(seconds) } else { Self::minutes(seconds.div_ceil(60)) }
    }

    /// Returns the span as a [`Duration`].
    pub(crate) const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || SpanError { text: text.chars().take(40).collect() };
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(bad());
        }
        let mut millis: u64 = 0;
        let mut last_unit = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let unit = match &rest[..letters] {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(bad()),
            };
            // Each unit once, from large to small: `5m1h` is more likely a slip than an hour and five.
            if unit >= last_unit {
                return Err(bad());
            }
            last_unit = unit;
            rest = &rest[letters..];
            millis = number
                .checked_mul(unit)
                .and_then(|part| millis.checked_add(part))
                .filter(|total| *total <= SECONDS_MAX * 1_000)
                .ok_or_else(bad)?;
        }
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        let mut rest = millis;
        for (unit, name) in
            [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")]
        {
            let count = rest / unit;
            rest %= unit;
            if count > 0 {
                write!(f, "{count}{name}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": "span",
            "description": "A length of time such as 30s, 5m, 1h30m or 2d",
            "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [
            ("0s", 0),
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
        ] {
            let span: Span = text.parse().expect(text);
            assert_eq!(span.0.as_millis(), millis, "{text}");
            assert_eq!(span.to_string(), text);
        }
    }

    #[test]
    fn what_is_to_be_typed_has_no_more_digits_than_matter() {
        for (span, typed) in [
            ("0s", "0s"),
            ("1ms", "1s"),
            ("7s", "7s"),
            ("58s1ms", "59s"),
            ("59s1ms", "1m"),
            ("1m", "1m"),
            ("1m1s", "2m"),
            ("2h6m57s303ms", "2h7m"),
            ("2h8m", "2h8m"),
        ] {
            let rounded = span.parse::<Span>().expect(span).rounded_up();
            assert_eq!(rounded.to_string(), typed, "{span}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "5", "m", "-5m", "5 m", "5m1h", "5m5m", "1y", "99999999999d", "1.5h"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn prints_what_it_reads(millis in 0..SECONDS_MAX * 1_000) {
            let span = Span(Duration::from_millis(millis));
            proptest::prop_assert_eq!(span.to_string().parse::<Span>().ok(), Some(span));
        }
    }
}
