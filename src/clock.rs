//! Time. Everything that reads a clock or waits does it through [`Clock`]; nothing else may.

#[cfg(test)]
pub(crate) mod manual;

use std::future::Future;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;

/// A source of time: the real one, or a test's.
pub(crate) trait Clock: Send + Sync {
    /// Returns the present instant, to the microsecond.
    fn now(&self) -> Timestamp;

    /// Waits. Dropping the future ends the wait.
    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()>;
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

/// Returns the time from `earlier` to `later`; zero when the clock went backwards.
pub(crate) fn since(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or(Duration::ZERO)
}
