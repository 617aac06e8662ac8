//! Clients of the services, built once per region, context or instance and only when first needed.
//!
//! Owns connections, time limits, the guard and credentials. What is asked for lives in `actions` and `checks`.

pub(crate) mod aws;
pub(crate) mod confined;
pub(crate) mod endpoints;
pub(crate) mod guard;
pub(crate) mod http;
pub(crate) mod kubernetes;
pub(crate) mod lease_store;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod sealed;
#[cfg(test)]
pub(crate) mod served;
pub(crate) mod tcp;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod via;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_sts::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use crate::clock::Clock;
use crate::estate::secrets;
use crate::estate::types::{Estate, SecretRef};
use crate::event::Mode;
use crate::mask::Masker;
use crate::sandbox::programs::Programs;
use crate::sandbox::{Connector, Sandbox};
use aws::Aws;
use guard::Guard;

/// What connections are made over.
#[derive(Clone)]
pub(crate) enum Network {
    Real,
    /// No socket is ever opened
    Simulated(Sandbox),
}

/// Every client of one process.
pub(crate) struct Clients {
    pub estate: Arc<Estate>,
    pub guard: Guard,
    pub clock: Arc<dyn Clock>,
    pub network: Network,
    pub aws: Aws,
    pub kubernetes: kubernetes::Clusters,
    /// Port forwards this process started
    pub tunnels: via::Tunnels,
    /// Secrets read so far, shared with the journal and the screen
    pub masks: Masker,
    /// Directory for the output of programs a run starts; without one only the ends of it are kept
    pub artifacts: Option<PathBuf>,
    /// Command of the runbook that is carried out, for what is said to be typed next; empty where there is none
    pub command: String,
    /// Names of what earlier runs left open for this estate
    pub open: BTreeSet<String>,
    /// Ways this process has tried in vain
    pub in_vain: InVain,
    /// What a rehearsal does in place of programs
    pub programs: Programs,
}

/// Ways that were tried in vain, with why: an action that has another one does not offer them again.
#[derive(Debug, Default)]
pub(crate) struct InVain(Mutex<BTreeMap<String, String>>);

impl InVain {
    pub(crate) fn remember(&self, way: String, why: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(way, why);
    }

    pub(crate) fn why(&self, way: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(way).cloned()
    }
}

impl Clients {
    /// Returns clients of an estate; nothing is connected yet.
    pub(crate) fn new(estate: Arc<Estate>, guard: Guard, clock: Arc<dyn Clock>) -> Self {
        let aws = Aws::new(estate.clone(), guard.clone(), clock.clone());
        Self {
            estate,
            guard,
            clock,
            network: Network::Real,
            aws,
            kubernetes: kubernetes::Clusters::default(),
            tunnels: via::Tunnels::default(),
            masks: Masker::default(),
            artifacts: None,
            command: String::new(),
            open: BTreeSet::new(),
            in_vain: InVain::default(),
            programs: Programs::default(),
        }
    }

    /// Returns how whoever acts through them treats the world.
    pub(crate) const fn mode(&self) -> Mode {
        match self.network {
            Network::Simulated(_) => Mode::Rehearsal,
            Network::Real => Mode::Live,
        }
    }

    /// Says what earlier runs left open.
    #[must_use]
    pub(crate) fn knowing(mut self, open: BTreeSet<String>) -> Self {
        self.open = open;
        self
    }

    /// Says by which command a runbook is carried out.
    #[must_use]
    pub(crate) fn of_command(mut self, command: &str) -> Self {
        command.clone_into(&mut self.command);
        self
    }

    /// Shares what is hidden with whoever else prints and writes.
    #[must_use]
    pub(crate) fn with_masks(mut self, masks: Masker) -> Self {
        self.masks = masks;
        self
    }

    /// Reads the secrets that are there to be read, so that they are hidden before anything could repeat them.
    ///
    /// What a command gives is read, and hidden, when it is needed: it may ask somebody. What cannot be read is told
    /// when it is needed, too.
    pub(crate) async fn learn_secrets(&self, inputs: &[SecretRef]) {
        for name in ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD"] {
            if let Ok(value) = std::env::var(name) {
                self.masks.learn(&value);
            }
        }
        // A simulated server asks for none, but what a person typed is here all the same.
        let simulated = self.mode() == Mode::Rehearsal;
        let database = self.estate.database.as_ref().map(|db| &db.connection.password_from);
        let wanted =
            |from: &&SecretRef| from.command.is_none() && (!simulated || from.asked.is_some());
        for reference in database.into_iter().chain(inputs).filter(wanted) {
            if let Ok(secret) = secrets::read(reference).await {
                self.masks.hide(&secret);
            }
        }
    }

    /// Returns clients of a simulated estate: everything they ask, they ask the sandbox.
    pub(crate) fn simulated(
        estate: Arc<Estate>,
        guard: Guard,
        clock: Arc<dyn Clock>,
        sandbox: Sandbox,
    ) -> Self {
        let http = SharedHttpClient::new(Connector::to(sandbox.clone()));
        let keys = Credentials::new("REHEARSAL", "REHEARSAL", None, None, "rehearsal");
        let keys = SharedCredentialsProvider::new(keys);
        let aws = Aws::over(estate.clone(), guard.clone(), clock.clone(), http, keys);
        let network = Network::Simulated(sandbox);
        Self { aws, network, ..Self::new(estate, guard, clock) }
    }

    /// Says where the output of programs is kept.
    #[must_use]
    pub(crate) fn with_artifacts(mut self, directory: PathBuf) -> Self {
        self.artifacts = Some(directory);
        self
    }
}
