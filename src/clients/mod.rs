//! Clients of the services, built once per region, context or instance and only when first needed.
//!
//! Owns connections, time limits, the guard and credentials. What is asked for lives in `actions` and `checks`.

pub(crate) mod aws;
pub(crate) mod endpoints;
pub(crate) mod guard;
pub(crate) mod lease_store;

use std::sync::Arc;

use crate::clock::Clock;
use crate::estate::types::Estate;
use aws::Aws;
use guard::Guard;

/// Every client of one process.
pub(crate) struct Clients {
    pub estate: Arc<Estate>,
    pub guard: Guard,
    pub clock: Arc<dyn Clock>,
    pub aws: Aws,
}

impl Clients {
    /// Returns clients of an estate; nothing is connected yet.
    pub(crate) fn new(estate: Arc<Estate>, guard: Guard, clock: Arc<dyn Clock>) -> Self {
        let aws = Aws::new(estate.clone(), guard.clone(), clock.clone());
        Self { estate, guard, clock, aws }
    }
}
