//! Clients of the services, built once per region, context or instance and only when first needed.
//!
//! Owns connections, time limits, the guard and credentials. What is asked for lives in `actions` and `checks`.

pub(crate) mod aws;
pub(crate) mod endpoints;
pub(crate) mod guard;
pub(crate) mod http;
pub(crate) mod kubernetes;
pub(crate) mod lease_store;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod tcp;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod via;

use std::path::PathBuf;
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
    pub kubernetes: kubernetes::Clusters,
    /// Port forwards this process started
    pub tunnels: via::Tunnels,
    /// Secrets read so far: what children print is masked by them
    pub masks: process::Masks,
    /// Directory for the output of programs a run starts; without one only the ends of it are kept
    pub artifacts: Option<PathBuf>,
}

impl Clients {
    /// Returns clients of an estate; nothing is connected yet.
    pub(crate) fn new(estate: Arc<Estate>, guard: Guard, clock: Arc<dyn Clock>) -> Self {
        let aws = Aws::new(estate.clone(), guard.clone(), clock.clone());
        Self {
            estate,
            guard,
            clock,
            aws,
            kubernetes: kubernetes::Clusters::default(),
            tunnels: via::Tunnels::default(),
            masks: process::Masks::default(),
            artifacts: None,
        }
    }

    /// Says where the output of programs is kept.
    #[must_use]
    pub(crate) fn with_artifacts(mut self, directory: PathBuf) -> Self {
        self.artifacts = Some(directory);
        self
    }
}
