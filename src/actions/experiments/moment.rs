//! Instants as the server sends them: what it may hold is more than a calendar has.

use std::error::Error;

use jiff::Timestamp;
use tokio_postgres::types::{FromSql, Type};

/// Microseconds from 1970 to the year the server counts from.
const EPOCH: i64 = 946_684_800_000_000;

/// An instant, in microseconds since the year 2000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub i64);

impl Moment {
    /// Returns it as the calendar's; `None` where it is infinite, or of no year a clock could have shown.
    pub(super) fn timestamp(self) -> Option<Timestamp> {
        let found = Timestamp::from_microsecond(self.0.checked_add(EPOCH)?).ok()?;
        (found >= Timestamp::UNIX_EPOCH).then_some(found)
    }
}

impl<'a> FromSql<'a> for Moment {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_clock_shows_is_no_instant() {
        let of = |micros| Moment(micros).timestamp().map(|found| found.to_string());
        assert_eq!(of(0).as_deref(), Some("2000-01-01T00:00:00Z"));
        assert_eq!(of(1).as_deref(), Some("2000-01-01T00:00:00.000001Z"));
        assert_eq!(of(-EPOCH).as_deref(), Some("1970-01-01T00:00:00Z"));
        for none in [-EPOCH - 1, i64::MAX, i64::MIN] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
