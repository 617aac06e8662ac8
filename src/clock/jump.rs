//! A clock for rehearsals: time stands still while anything is under way and leaps to the next due wait when nothing
//! is, so that no work of this process is ever counted as time of the estate.
//!
//! For a current-thread runtime whose `on_thread_park` calls [`JumpClock::idle`]: only that runtime knows that nothing
//! is under way. While somebody is asked or a program runs, the clock is held to real time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, oneshot};

use super::{Clock, since};

/// A leap is shown for at most so long.
const SHOWN_MAX: Duration = Duration::from_secs(2);
/// A leap shorter than this in real time is made at once.
const SHOWN_MIN: Duration = Duration::from_millis(5);
/// How often waits are ended while the clock runs.
const TICK: Duration = Duration::from_millis(10);

/// How leaps are shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// At once
    Max,
    /// So many times faster than real time, no leap longer than two seconds
    Times(f64),
}

/// Virtual time. Clones share it.
#[derive(Clone)]
pub(crate) struct JumpClock(Arc<Shared>);

struct Shared {
    inner: Mutex<Inner>,
    /// Told when the clock begins to run
    runs: Notify,
}

struct Inner {
    now: Timestamp,
    pace: Pace,
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
    registered: u64,
    holds: u32,
    run: Option<Run>,
}

/// The clock runs, rather than stands.
#[derive(Debug, Clone, Copy)]
struct Run {
    from: Timestamp,
    began: Instant,
    rate: f64,
    until: Timestamp,
}

impl Run {
    fn now(&self) -> Timestamp {
        let passed = self.began.elapsed().mul_f64(self.rate);
        later(self.from, passed).min(self.until)
    }
}

fn later(instant: Timestamp, length: Duration) -> Timestamp {
    let length = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
    instant.checked_add(length).unwrap_or(Timestamp::MAX)
}

impl Inner {
    /// Ends every wait that is due by now. Returns whether there was one.
    fn wake(&mut self) -> bool {
        let mut woken = false;
        while let Some(entry) = self.sleepers.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            woken |= entry.remove().send(()).is_ok();
        }
        woken
    }

    /// Returns when the next wait ends that somebody still holds.
    fn next(&mut self) -> Option<Timestamp> {
        while let Some(entry) = self.sleepers.first_entry() {
            if entry.get().is_closed() {
                entry.remove();
                continue;
            }
            return Some(entry.key().0);
        }
        None
    }

    fn catch_up(&mut self) {
        if let Some(run) = self.run {
            self.now = self.now.max(run.now());
        }
    }
}

impl JumpClock {
    /// Returns a clock that stands at an instant.
    pub(crate) fn at(now: Timestamp, pace: Pace) -> Self {
        let (sleepers, registered) = (BTreeMap::new(), 0);
        let inner = Inner { now, pace, sleepers, registered, holds: 0, run: None };
        Self(Arc::new(Shared { inner: Mutex::new(inner), runs: Notify::new() }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a runtime on which this clock leaps whenever nothing is under way.
    pub(crate) fn runtime(&self) -> std::io::Result<tokio::runtime::Runtime> {
        let clock = self.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || clock.idle())
            .build()?;
        runtime.spawn(self.clone().keep_running());
        Ok(runtime)
    }

    /// Nothing is under way: leaps to the next wait, or begins to run towards it.
    fn idle(&self) {
        let mut inner = self.inner();
        if inner.holds > 0 || inner.run.is_some() {
            return;
        }
        let Some(due) = inner.next() else { return };
        let leap = since(inner.now, due);
        let shown = match inner.pace {
            Pace::Max => Duration::ZERO,
            Pace::Times(rate) => leap.div_f64(rate).min(SHOWN_MAX),
        };
        if shown < SHOWN_MIN {
            inner.now = inner.now.max(due);
            inner.wake();
            return;
        }
        let rate = leap.as_secs_f64() / shown.as_secs_f64();
        inner.run = Some(Run { from: inner.now, began: Instant::now(), rate, until: due });
        drop(inner);
        self.0.runs.notify_one();
    }

    /// Holds the clock to real time until the returned guard is dropped.
    pub(crate) fn hold(&self) -> Held {
        let mut inner = self.inner();
        inner.catch_up();
        inner.holds += 1;
        if inner.holds == 1 {
            let (from, until) = (inner.now, Timestamp::MAX);
            inner.run = Some(Run { from, began: Instant::now(), rate: 1.0, until });
        }
        drop(inner);
        self.0.runs.notify_one();
        Held(self.clone())
    }

    /// Ends waits while the clock runs.
    async fn keep_running(self) {
        loop {
            self.0.runs.notified().await;
            while let Some(wait) = self.tick() {
                tokio::time::sleep(wait).await;
            }
        }
    }

    /// Returns how long to wait for the next tick; `None` when the clock stands.
    fn tick(&self) -> Option<Duration> {
        let mut inner = self.inner();
        let run = inner.run?;
        inner.catch_up();
        let woken = inner.wake();
        // What was woken is under way now: from here on time stands, unless it is held to real time.
        if inner.holds == 0 && (woken || inner.now >= run.until) {
            inner.run = None;
            return None;
        }
        Some(TICK)
    }
}

/// Keeps the clock at real time.
pub(crate) struct Held(JumpClock);

impl Drop for Held {
    fn drop(&mut self) {
        let mut inner = self.0.inner();
        inner.catch_up();
        inner.holds -= 1;
        if inner.holds == 0 {
            inner.run = None;
        }
    }
}

impl Clock for JumpClock {
    fn now(&self) -> Timestamp {
        let mut inner = self.inner();
        inner.catch_up();
        inner.now
    }

    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        let (clock, due) = (self.clone(), later(self.now(), length));
        // Registered when first awaited: a wait nobody awaits must not move time.
        Box::pin(async move {
            let woken = {
                let mut inner = clock.inner();
                if due <= inner.now {
                    return;
                }
                let (sender, woken) = oneshot::channel();
                inner.registered += 1;
                let key = (due, inner.registered);
                inner.sleepers.insert(key, sender);
                woken
            };
            // The sender is dropped with the clock, after which nothing is timed any more.
            woken.await.ok();
        })
    }

    fn at_real_time(&self) -> Box<dyn Send> {
        Box::new(self.hold())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::within;

    fn clock(pace: Pace) -> JumpClock {
        JumpClock::at("2026-01-01T02:12:00Z".parse().expect("an instant"), pace)
    }

    fn seconds(clock: &JumpClock, began: Timestamp) -> u64 {
        since(began, clock.now()).as_secs()
    }

    #[test]
    fn time_leaps_to_the_next_wait_in_order() {
        let clock = clock(Pace::Max);
        let began = clock.now();
        let runtime = clock.runtime().expect("a runtime");
        let order = runtime.block_on(async {
            let waiting = [7200_u64, 60, 600].map(|length| {
                let clock = clock.clone();
                tokio::spawn(async move {
                    clock.sleep(Duration::from_secs(length)).await;
                    seconds(&clock, began)
                })
            });
            let mut order = Vec::new();
            for waiting in waiting {
                order.push(waiting.await.expect("no panic"));
            }
            order
        });
        assert_eq!(order, [7200, 60, 600]);
        assert_eq!(seconds(&clock, began), 7200);
    }

    #[test]
    fn a_wait_that_was_given_up_moves_no_time() {
        let clock = clock(Pace::Max);
        let began = clock.now();
        let runtime = clock.runtime().expect("a runtime");
        runtime.block_on(async {
            let work = clock.sleep(Duration::from_secs(3));
            within(&clock, Duration::from_secs(900), work).await.expect("in time");
            drop(clock.sleep(Duration::from_secs(50)));
            let late = within(&clock, Duration::from_secs(2), std::future::pending::<()>()).await;
            assert!(late.is_err());
        });
        assert_eq!(seconds(&clock, began), 5);
    }

    #[test]
    fn work_of_this_process_takes_no_time() {
        let clock = clock(Pace::Max);
        let began = clock.now();
        let runtime = clock.runtime().expect("a runtime");
        runtime.block_on(async {
            let other = clock.sleep(Duration::from_secs(30));
            let busy = tokio::spawn(async {
                for _ in 0..500 {
                    tokio::task::yield_now().await;
                }
            });
            busy.await.expect("no panic");
            assert_eq!(clock.now(), began);
            other.await;
        });
        assert_eq!(seconds(&clock, began), 30);
    }

    #[test]
    fn held_to_real_time_nothing_leaps() {
        let clock = clock(Pace::Max);
        let began = clock.now();
        let runtime = clock.runtime().expect("a runtime");
        runtime.block_on(async {
            let held = clock.hold();
            let long = clock.sleep(Duration::from_secs(3600));
            let asked = tokio::task::spawn_blocking(|| ());
            asked.await.expect("no panic");
            clock.sleep(Duration::from_millis(20)).await;
            assert!(seconds(&clock, began) < 3600);
            drop(held);
            long.await;
        });
        assert!(seconds(&clock, began) >= 3600);
    }

    #[test]
    fn a_shown_leap_ends_exactly_when_it_is_due() {
        let clock = clock(Pace::Times(100_000.0));
        let began = clock.now();
        let runtime = clock.runtime().expect("a runtime");
        runtime.block_on(clock.sleep(Duration::from_secs(3600)));
        assert_eq!(clock.now().duration_since(began), SignedDuration::from_secs(3600));
    }
}
