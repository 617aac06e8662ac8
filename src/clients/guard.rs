//! The guard: whether this process may change the world at all.
//!
//! Closed until an operator armed the run. Every transport asks it, so a bug cannot make a mutating call.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::ports::Armed;

/// Shared by all clients of a process; closed at first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guard(Arc<AtomicBool>);

impl Guard {
    /// Returns a closed guard: only reads pass.
    pub(crate) fn closed() -> Self {
        Self::default()
    }

    /// Opens it. Only an armed run can.
    pub(crate) fn open(&self, _armed: &Armed) {
        self.0.store(true, Ordering::Release);
    }

    /// Closes it for good measure: the run is over, or its right to act is gone.
    pub(crate) fn close(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// Says whether mutating calls may pass.
    pub(crate) fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A call the guard refused: found in the source chain of a client's error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// What would have been called, e.g. `RDS.PromoteReadReplica`
    pub call: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} would change the estate and nothing may be changed now", self.call)
    }
}

impl std::error::Error for Refused {}

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
