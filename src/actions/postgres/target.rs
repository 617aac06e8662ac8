//! How far a restore to a point in time goes.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::wal::Lsn;

/// How far a restore goes: written as `latest`, `time INSTANT`, `lsn LSN` or `name NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RecoveryTarget {
    /// As far as the log reaches without a gap when the step begins
    Latest,
    /// Everything that was committed up to then
    Time(Timestamp),
    /// Up to this position, its record included
    Lsn(Lsn),
    /// Up to the restore point `pg_create_restore_point` made
    Name(String),
}

/// The text is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no target; write `latest`, `time 2026-01-01T02:12:00Z`, `lsn 0/3000148` or `name NAME`"
)]
pub(crate) struct NoTarget(String);

impl FromStr for RecoveryTarget {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Self, NoTarget> {
        let bad = || NoTarget(text.to_owned());
        match text.trim().split_once(' ') {
            None if text.trim() == "latest" => Ok(Self::Latest),
            Some(("time", rest)) => rest.trim().parse().map(Self::Time).map_err(|_| bad()),
            Some(("lsn", rest)) => rest.trim().parse().map(Self::Lsn).map_err(|_| bad()),
            // As long as the server's own names may be; its settings file holds it in one line.
            Some(("name", rest))
                if rest.trim().len() < 64 && !rest.trim().contains(char::is_control) =>
            {
                Ok(Self::Name(rest.trim().to_owned()))
            }
            Some(_) | None => Err(bad()),
        }
    }
}

impl fmt::Display for RecoveryTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Time(time) => write!(f, "time {time}"),
            Self::Lsn(lsn) => write!(f, "lsn {lsn}"),
            Self::Name(name) => write!(f, "name {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_it_is_written() {
        for text in ["latest", "time 2026-01-01T02:12:00Z", "lsn 0/3000148", "name before it"] {
            let target: RecoveryTarget = text.parse().expect("a target");
            assert_eq!(target.to_string(), text);
        }
        for text in ["", "newest", "time yesterday", "time", "lsn 12", "name a\nb", "xid 7"] {
            assert!(text.parse::<RecoveryTarget>().is_err(), "{text}");
        }
    }
}
