//! Time. Everything that reads a clock or waits does it through [`Clock`]; nothing else may.

pub(crate) mod jump;
#[cfg(test)]
pub(crate) mod manual;

use std::future::Future;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;

/// A source of time: the real one, a rehearsal's, or a test's.
pub(crate) trait Clock: Send + Sync {
    /// Returns the present instant, to the microsecond.
    fn now(&self) -> Timestamp;

    /// Waits. Dropping the future ends the wait.
    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()>;

    /// Keeps time at real time until what is returned is dropped: something real is going on. Real time always is.
    fn at_real_time(&self) -> Box<dyn Send> {
        Box::new(())
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(length))
    }
}

/// A wait that ended before its work did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no result within {}", crate::span::Span(self.0))]
pub(crate) struct Elapsed(pub(crate) Duration);

/// Awaits `work` for at most `limit`; on expiry the work is dropped where it stands.
pub(crate) async fn within<T>(
    clock: &dyn Clock,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    let timer = clock.sleep(limit);
    tokio::pin!(work);
    // The loser is dropped: the timer holds nothing, and callers pass only work whose loss they treat as unknown.
    tokio::select! {
        biased;
        done = &mut work => Ok(done),
        () = timer => Err(Elapsed(limit)),
    }
}

/// Why a text says no instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InstantError {
    #[error(
        "`{0}` is no instant; write 02:05 (UTC), 15m for 15 minutes ago, or 2026-01-01T02:05:00Z"
    )]
    NotOne(String),
    #[error("`{0}` lies in the future")]
    Future(String),
}

/// Returns the past instant a person means: `02:05`, the last time it was that in UTC; `15m`, so long ago; or a
/// whole instant.
pub(crate) fn said_instant(text: &str, now: Timestamp) -> Result<Timestamp, InstantError> {
    let text = text.trim();
    let said = || text.chars().take(40).collect::<String>();
    let ago = text.strip_suffix("ago").unwrap_or(text).trim_end();
    if let Ok(length) = ago.parse::<crate::span::Span>() {
        return now.checked_sub(length.duration()).map_err(|_| InstantError::NotOne(said()));
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return if instant <= now { Ok(instant) } else { Err(InstantError::Future(said())) };
    }
    let Ok(time) = text.parse::<jiff::civil::Time>() else {
        return Err(InstantError::NotOne(said()));
    };
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let of = |day: jiff::civil::Date| day.to_datetime(time).to_zoned(jiff::tz::TimeZone::UTC);
    let last = [Ok(today), today.yesterday()].into_iter().flatten();
    let mut last = last.filter_map(|day| of(day).ok()).map(|at| at.timestamp());
    last.find(|at| *at <= now).ok_or_else(|| InstantError::NotOne(said()))
}

/// Returns the time from `earlier` to `later`; zero when the clock went backwards.
pub(crate) fn since(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_said_as_a_time_of_day_as_so_long_ago_or_whole() {
        let at = |text: &str| text.parse::<Timestamp>().expect("an instant");
        let now = at("2026-07-14T00:10:30Z");
        for (said, expected) in [
            ("00:05", "2026-07-14T00:05:00Z"),
            ("00:10:30", "2026-07-14T00:10:30Z"),
            ("23:58", "2026-07-13T23:58:00Z"),
            ("15m", "2026-07-13T23:55:30Z"),
            (" 1h30m ago ", "2026-07-13T22:40:30Z"),
            ("2026-07-13T20:00:00+02:00", "2026-07-13T18:00:00Z"),
        ] {
            assert_eq!(said_instant(said, now), Ok(at(expected)), "{said}");
        }
        for bad in ["", "soon", "25:00", "5", "15 minutes"] {
            assert_eq!(said_instant(bad, now), Err(InstantError::NotOne(bad.to_owned())), "{bad}");
        }
        let future = "2026-07-14T00:11:00Z";
        assert_eq!(said_instant(future, now), Err(InstantError::Future(future.to_owned())));
    }
}
