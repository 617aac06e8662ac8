//! A clock that moves only when nothing else does: waits end in order, at once, and the test sees the time they took.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;

use super::Clock;

/// Yields that let every task of a current-thread runtime come to rest.
const SETTLE_YIELDS: usize = 64;

/// Time that jumps to the next due wait. For a current-thread runtime only.
#[derive(Clone)]
pub(crate) struct ManualClock(Arc<Mutex<Inner>>);

struct Inner {
    now: Timestamp,
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
    registered: u64,
}

impl ManualClock {
    /// Returns a clock that stands at 2026-01-01T02:12:00Z.
    pub(crate) fn new() -> Self {
        let now = "2026-01-01T02:12:00Z".parse().expect("a literal instant");
        Self(Arc::new(Mutex::new(Inner { now, sleepers: BTreeMap::new(), registered: 0 })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work`, moving time whenever it and everything it spawned is waiting.
    ///
    /// Panics when nothing can ever go on: a deadlock.
    pub(crate) async fn drive<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let mut stuck = 0;
        loop {
            let before = self.inner().registered;
            // Polling the work and yielding change nothing but their own progress.
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = settle() => {}
            }
            if self.inner().registered != before {
                continue;
            }
            if self.jump() {
                stuck = 0;
            } else {
                stuck += 1;
                assert!(stuck < 1_000, "nothing waits and nothing goes on: a deadlock");
            }
        }
    }

    /// Ends the wait that is due next. A wait nobody holds any more moves no time.
    fn jump(&self) -> bool {
        let mut inner = self.inner();
        while let Some(((due, _), sleeper)) = inner.sleepers.pop_first() {
            if sleeper.is_closed() {
                continue;
            }
            inner.now = inner.now.max(due);
            sleeper.send(()).ok();
            return true;
        }
        false
    }
}

async fn settle() {
    for _ in 0..SETTLE_YIELDS {
        tokio::task::yield_now().await;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.inner().now
    }

    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        let (sender, woken) = oneshot::channel();
        let mut inner = self.inner();
        let length = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
        let due = inner.now.checked_add(length).unwrap_or(Timestamp::MAX);
        inner.registered += 1;
        let key = (due, inner.registered);
        inner.sleepers.insert(key, sender);
        Box::pin(async move {
            woken.await.ok();
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_end_in_order_and_take_their_time() {
        let clock = ManualClock::new();
        let began = clock.now();
        let order = clock
            .drive(async {
                let (mut order, long, short) = (
                    vec![],
                    clock.sleep(Duration::from_secs(60)),
                    clock.sleep(Duration::from_secs(5)),
                );
                short.await;
                order.push((5, clock.now()));
                long.await;
                order.push((60, clock.now()));
                order
            })
            .await;
        for (seconds, at) in order {
            assert_eq!(at.duration_since(began).as_secs(), seconds);
        }
    }

    #[tokio::test]
    #[should_panic(expected = "deadlock")]
    async fn a_deadlock_is_a_failure() {
        ManualClock::new().drive(std::future::pending::<()>()).await;
    }
}
