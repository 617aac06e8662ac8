//! Clients of the services, built once per region, context or instance and only when first needed.
//!
//! Owns connections, time limits, the guard and credentials. What is asked for lives in `actions` and `checks`.

pub(crate) mod guard;
pub(crate) mod lease_store;

use std::sync::Arc;

use crate::clock::Clock;
use crate::estate::types::Estate;
use guard::Guard;

/// Every client of one process.
pub(crate) struct Clients {
    pub estate: Arc<Estate>,
    pub guard: Guard,
    pub clock: Arc<dyn Clock>,
}

impl Clients {
    /// Returns clients of an estate; nothing is connected yet.
    pub(crate) fn new(estate: Arc<Estate>, guard: Guard, clock: Arc<dyn Clock>) -> Self {
        Self { estate, guard, clock }
    }
}
