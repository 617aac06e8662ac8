//! The SDK's waits and instants, taken from the program's clock: in a rehearsal its time limits and signatures are of
//! virtual time, too.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep, Sleep};
use aws_smithy_async::time::{SharedTimeSource, TimeSource};

use crate::clock::Clock;

#[derive(Clone)]
struct OfClock(Arc<dyn Clock>);

impl fmt::Debug for OfClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OfClock")
    }
}

impl AsyncSleep for OfClock {
    fn sleep(&self, length: Duration) -> Sleep {
        // The SDK shares its waits between threads, the clock's are sent only; a lock nobody contends makes up for it.
        let wait = std::sync::Mutex::new(self.0.sleep(length));
        Sleep::new(std::future::poll_fn(move |context| {
            wait.lock().unwrap_or_else(PoisonError::into_inner).as_mut().poll(context)
        }))
    }
}

impl TimeSource for OfClock {
    fn now(&self) -> SystemTime {
        self.0.now().into()
    }
}

/// Returns the waits of a clock.
pub(super) fn sleep(clock: &Arc<dyn Clock>) -> SharedAsyncSleep {
    SharedAsyncSleep::new(OfClock(Arc::clone(clock)))
}

/// Returns the instants of a clock.
pub(super) fn source(clock: &Arc<dyn Clock>) -> SharedTimeSource {
    SharedTimeSource::new(OfClock(Arc::clone(clock)))
}
