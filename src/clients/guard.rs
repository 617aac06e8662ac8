//! The guard: whether this process may change the world at all, and whether it may now.
//!
//! Closed until an operator armed the run. Where the right to act is a lease, it is open only while the lease is
//! proved: a change that an attempt comes to late is refused once the proof has lapsed. Every transport asks it, so a
//! bug cannot make a mutating call.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::clock::Clock;
use crate::engine::ports::Armed;
use crate::outcome::{ActionError, FailureClass};

/// Shared by all clients of a process; closed at first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guard {
    shared: Arc<Shared>,
    keeps_lease: bool,
}

#[derive(Debug, Default)]
struct Shared {
    armed: AtomicBool,
    right: Mutex<Right>,
}

/// How long the right to act is proved.
#[derive(Clone, Default)]
enum Right {
    /// No lease is asked for
    #[default]
    Unbounded,
    /// A person vouches for being alone; no proof narrows that again
    Vouched,
    Until {
        end: Timestamp,
        clock: Arc<dyn Clock>,
    },
}

impl fmt::Debug for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unbounded => f.write_str("Unbounded"),
            Self::Vouched => f.write_str("Vouched"),
            Self::Until { end, .. } => write!(f, "Until({end})"),
        }
    }
}

impl Guard {
    /// Returns a closed guard: only reads pass.
    pub(crate) fn closed() -> Self {
        Self::default()
    }

    /// Opens it. Only an armed run can.
    pub(crate) fn open(&self, _armed: &Armed) {
        self.shared.armed.store(true, Ordering::Release);
    }

    /// Closes it for good measure: the run is over, or its right to act is gone.
    pub(crate) fn close(&self) {
        self.shared.armed.store(false, Ordering::Release);
    }

    /// Says that the lease is proved up to an instant and no longer.
    pub(crate) fn proved_until(&self, end: Timestamp, clock: Arc<dyn Clock>) {
        self.set(Right::Until { end, clock });
    }

    /// Says that a person vouches for being alone: no lease is asked for any more.
    pub(crate) fn vouched(&self) {
        self.set(Right::Vouched);
    }

    fn set(&self, right: Right) {
        let mut now = self.shared.right.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*now, Right::Vouched) {
            *now = right;
        }
    }

    /// Returns the guard of the lease's own writes: they are what proves it, and need no proof. It opens and closes
    /// with this one.
    #[must_use]
    pub(crate) fn keeping_the_lease(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), keeps_lease: true }
    }

    /// Says whether an operator armed the run, so that what an action asks of the world is no dry run.
    pub(crate) fn is_armed(&self) -> bool {
        self.shared.armed.load(Ordering::Acquire)
    }

    /// Lets a mutating call pass, or says why it may not be made now.
    pub(crate) fn pass(&self, call: impl Into<String>) -> Result<(), Refused> {
        let refused = |why| Err(Refused { call: call.into(), why });
        if !self.is_armed() {
            return refused(Why::Closed);
        }
        let right = self.shared.right.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match right {
            Right::Until { end, clock } if !self.keeps_lease && clock.now() > end => {
                refused(Why::Unproved)
            }
            Right::Until { .. } | Right::Unbounded | Right::Vouched => Ok(()),
        }
    }
}

/// A call the guard refused: found in the source chain of a client's error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// What would have been called, e.g. `RDS.PromoteReadReplica`
    call: String,
    why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Nobody armed the run, or its right to act is gone
    Closed,
    /// The proof of the lease has lapsed
    Unproved,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = &self.call;
        match self.why {
            Why::Closed => {
                write!(f, "{call} would change the estate and nothing may be changed now")
            }
            Why::Unproved => {
                write!(f, "{call} was not sent: the shared lock could not be proved any more")
            }
        }
    }
}

impl std::error::Error for Refused {}

impl From<&Refused> for ActionError {
    fn from(refused: &Refused) -> Self {
        let class = match refused.why {
            Why::Closed => FailureClass::Refused,
            Why::Unproved => FailureClass::Unproved,
        };
        Self::unchanged(class, refused.to_string())
    }
}

impl From<Refused> for ActionError {
    fn from(refused: Refused) -> Self {
        Self::from(&refused)
    }
}

/// Returns the guard's refusal in an error's source chain, if there is one.
pub(crate) fn refusal<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Refused> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(refused) = error.downcast_ref() {
            return Some(refused);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use futures::future::BoxFuture;
    use jiff::{SignedDuration, Timestamp};

    use super::{Armed, Guard};
    use crate::clock::Clock;
    use crate::outcome::{ActionError, FailureClass};

    /// A clock that is set by hand.
    struct Hand(Mutex<Timestamp>);

    impl Hand {
        fn advance(&self, millis: i64) {
            *self.0.lock().expect("no panic") += SignedDuration::from_millis(millis);
        }
    }

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            *self.0.lock().expect("no panic")
        }

        fn sleep(&self, _length: Duration) -> BoxFuture<'static, ()> {
            unreachable!("the guard never waits")
        }
    }

    fn class(guard: &Guard) -> Option<FailureClass> {
        guard.pass("RDS.PromoteReadReplica").err().map(|refused| ActionError::from(refused).class)
    }

    #[test]
    fn nothing_passes_before_the_run_is_armed_nor_after() {
        let guard = Guard::closed();
        assert_eq!(class(&guard), Some(FailureClass::Refused));
        guard.open(&Armed::mint());
        assert_eq!(class(&guard), None);
        guard.close();
        assert_eq!(class(&guard), Some(FailureClass::Refused));
        assert_eq!(class(&guard.keeping_the_lease()), Some(FailureClass::Refused));
    }

    #[test]
    fn a_change_passes_while_the_lease_is_proved_and_the_leases_own_writes_always() {
        let clock = Arc::new(Hand(Mutex::new(Timestamp::UNIX_EPOCH)));
        let (shared, guard): (Arc<dyn Clock>, _) = (clock.clone(), Guard::closed());
        guard.open(&Armed::mint());
        let end = clock.now() + SignedDuration::from_secs(50);
        guard.proved_until(end, Arc::clone(&shared));
        clock.advance(50_000);
        assert_eq!(class(&guard), None);
        clock.advance(1);
        assert_eq!(class(&guard), Some(FailureClass::Unproved));
        assert_eq!(class(&guard.keeping_the_lease()), None);
        assert!(guard.is_armed());
        guard.proved_until(end + SignedDuration::from_secs(1), Arc::clone(&shared));
        assert_eq!(class(&guard), None, "it is proved again");
        clock.advance(60_000);
        guard.vouched();
        assert_eq!(class(&guard), None);
        guard.proved_until(end, shared);
        assert_eq!(class(&guard), None, "a person's word stands");
    }
}
