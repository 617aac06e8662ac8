//! The simulated estate behind `--rehearse`: a world, what is done to it, and what it answers.
//!
//! The program's own clients talk to it: the AWS SDK through a connector, kube through a service, PostgreSQL over a
//! stream in memory, HTTP, TCP and DNS where `clients` would open a socket. Nothing leaves the process. What the
//! simulation does not know it refuses as an unknown action, and remembers that it was asked.

mod application;
mod aws;
mod bodies;
mod cluster;
pub(crate) mod compare;
mod cut;
mod dns;
mod durations;
pub(crate) mod estate;
pub(crate) mod fault;
#[cfg(test)]
mod fidelity;
pub(crate) mod front;
pub(crate) mod generate;
pub(crate) mod kubernetes;
pub(crate) mod lines;
pub(crate) mod log;
mod network;
mod objects;
mod postgres;
pub(crate) mod programs;
mod random;
mod salvage;
pub(crate) mod surprise;
#[cfg(test)]
pub(crate) mod tests;
mod validate;
pub(crate) mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::DuplexStream;

pub(crate) use aws::Connector;
pub(crate) use aws::Front;
pub(crate) use network::NoWay;

use crate::clock::{Clock, since};
use aws::{Answer, Desk, Request};
use dns::{Dark, Resolvers};
use fault::{Call, Fault, Faults, First, Never, Rule, Strike};
use kubernetes::{Behaviour, Cluster};
use log::{Entry, Log, LogError};
use objects::{GLOBAL, Objects};
use random::Random;
use world::{Durations, World};

/// Bytes of a connection in memory that are not read yet.
const STREAM_BYTES: usize = 64 * 1024;

/// Virtual time that passes without a line in the log, at most.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// A simulated estate. Clones share it.
#[derive(Clone)]
pub(crate) struct Sandbox(Arc<Inner>);

struct Inner {
    world: World,
    began: Timestamp,
    seed: u64,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    clusters: BTreeMap<String, Cluster>,
}

/// What changes while a rehearsal goes on.
pub(crate) struct State {
    objects: Objects,
    faults: Faults,
    /// The faults besides the world's own are told at the end alone
    secret: bool,
    random: Random,
    resolvers: Resolvers,
    /// What was asked that the simulation does not know
    left: Vec<String>,
    /// Latest time in the log
    logged: Timestamp,
    /// Where the application's pods find their database, by region: since when, which host
    hosts: BTreeMap<String, Vec<(Timestamp, String)>>,
}

impl State {
    /// Returns the regions that are dark now.
    fn dark(&self) -> Dark {
        self.faults.dark(self.objects.now())
    }

    /// Returns the fault that strikes a call made at a moment, and logs what came of every rule.
    fn strike(&mut self, call: &Call, at: Timestamp) -> Option<Rule> {
        let Strike { struck, spared, missed } = self.faults.strike(call, at);
        for rule in spared {
            self.objects.write(&Entry::Spared { at, rule });
        }
        for (rule, how) in missed {
            self.objects.write(&Entry::Missed { at, rule, how });
        }
        let (rule, fault, times) = struck?;
        // What is dark strikes with every call: that it has struck is kept, how often is not.
        if fault.counted() || times == 1 {
            self.objects.write(&Entry::Fault { at, rule, call: call.to_string() });
        }
        Some(fault)
    }
}

/// How a rehearsal begins.
pub(crate) struct Beginning {
    pub world: World,
    /// Faults besides the world's own
    pub faults: Vec<Rule>,
    pub seed: u64,
    /// Whether the faults besides the world's own are told only at the end
    pub secret: bool,
}

/// Why a world cannot be begun with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("load the cluster of {region}: {why}")]
    Cluster { region: String, why: String },
}

/// Makes the clusters of a world, with what its log says became of them.
fn clusters(
    world: &World,
    began: Timestamp,
    clock: &Arc<dyn Clock>,
    entries: &[Entry],
) -> Result<BTreeMap<String, Cluster>, SandboxError> {
    let mut clusters = BTreeMap::new();
    for (region, cluster) in &world.clusters {
        let mut manifests = world.manifests(region);
        let version = application::replay(&mut manifests, region, entries);
        let behaviour = Behaviour {
            startup: cluster.startup.0,
            capacity: cluster.capacity,
            broken: cluster.broken.clone(),
        };
        let beginning = kubernetes::Beginning { objects: manifests, behaviour, began, version };
        let loaded = Cluster::load(beginning, Arc::clone(clock));
        let loaded = loaded.map_err(|why| SandboxError::Cluster { region: region.clone(), why })?;
        clusters.insert(region.clone(), loaded);
    }
    Ok(clusters)
}

impl Sandbox {
    /// Begins a world; every change is logged to a file in the run's directory.
    pub(crate) fn begin(
        beginning: Beginning,
        clock: Arc<dyn Clock>,
        directory: Option<&Path>,
    ) -> Result<Self, SandboxError> {
        let Beginning { world, faults, seed, secret } = beginning;
        let now = clock.now();
        let log_begun = || {
            let Some(directory) = directory else { return Ok(None) };
            let mut log = Log::create(&directory.join(log::FILE_NAME))?;
            let (head, base) = match &world.text {
                Some(text) => {
                    log::keep(&directory.join(log::BASE_NAME), text)?;
                    (world.head(), true)
                }
                None => (world.clone(), false),
            };
            let (world, faults) = (Box::new(head), faults.clone());
            log.append(&Entry::World { at: now, seed, secret, faults, world, base });
            Ok::<_, LogError>(Some(log))
        };
        // A large world is kept beside the journal while its clusters come to rest.
        let (clusters, objects, log) = std::thread::scope(|scope| {
            let objects = scope.spawn(|| (Objects::of(&world, now), log_begun()));
            let clusters = clusters(&world, now, &clock, &[]);
            let (objects, log) =
                objects.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (clusters, objects, log)
        });
        let (mut objects, clusters) = (objects, clusters?);
        if let Some(log) = log? {
            objects.log_to(log);
        }
        let made = Self::with(world, faults, seed, (now, objects), clusters, clock, Vec::new());
        made.state().secret = secret;
        Ok(made)
    }

    /// Goes on with a world as its log has it.
    pub(crate) fn go_on(resumed: Resumed, clock: Arc<dyn Clock>) -> Result<Self, SandboxError> {
        let Resumed { log, entries, began, seed, secret, faults, world, .. } = resumed;
        let mut objects = Objects::of(&world, began);
        for entry in &entries {
            objects.replay(entry.clone());
        }
        if let Some(log) = log {
            objects.log_to(log);
        }
        let clusters = clusters(&world, began, &clock, &entries)?;
        let made = Self::with(*world, faults, seed, (began, objects), clusters, clock, entries);
        made.state().secret = secret;
        Ok(made)
    }

    fn with(
        world: World,
        faults: Vec<Rule>,
        seed: u64,
        (began, objects): (Timestamp, Objects),
        clusters: BTreeMap<String, Cluster>,
        clock: Arc<dyn Clock>,
        entries: Vec<Entry>,
    ) -> Self {
        let mut all = world.faults.clone();
        all.extend(faults);
        let mut state = State {
            objects,
            faults: Faults::new(all, began),
            secret: false,
            random: Random::new(seed),
            resolvers: Resolvers::default(),
            left: Vec::new(),
            logged: began,
            hosts: BTreeMap::new(),
        };
        for entry in &entries {
            match entry {
                Entry::Fault { at, rule, call } => state.faults.struck_before(*rule, call, *at),
                Entry::Spared { rule, .. } => state.faults.spared_before(*rule),
                Entry::Missed { rule, how, .. } => state.faults.missed_before(*rule, how.clone()),
                Entry::Left { what, .. } => state.left.push(what.clone()),
                Entry::World { .. }
                | Entry::Put { .. }
                | Entry::Gone { .. }
                | Entry::Cluster { .. }
                | Entry::Clock { .. } => {}
            }
        }
        let inner = Inner { world, began, seed, clock, state: Mutex::new(state), clusters };
        let sandbox = Self(Arc::new(inner));
        sandbox.place_pods();
        sandbox.watch_clusters(&entries);
        sandbox
    }

    /// Returns the virtual time at which it began.
    pub(crate) fn began(&self) -> Timestamp {
        self.0.began
    }

    /// Returns the world it began as.
    pub(crate) fn world(&self) -> &World {
        &self.0.world
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    fn durations(&self) -> &Durations {
        &self.0.world.durations
    }

    /// Returns the state as it is at this moment.
    fn state(&self) -> MutexGuard<'_, State> {
        let now = self.0.clock.now();
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.objects.settle(now);
        if since(state.logged, now) >= LOG_EVERY {
            state.logged = now;
            state.objects.write(&Entry::Clock { at: now });
        }
        state
    }

    /// Returns the fault that strikes a call, if one does.
    fn strike(&self, call: &Call) -> Option<Rule> {
        let mut state = self.state();
        let now = state.objects.now();
        state.strike(call, now)
    }

    /// Remembers that something was asked that the simulation does not know.
    pub(crate) fn left(&self, what: &str) {
        let mut state = self.state();
        let at = state.objects.now();
        state.objects.write(&Entry::Left { at, what: what.to_owned() });
        state.left.push(what.to_owned());
    }

    /// Works on what a service of a region has.
    fn desk<T>(&self, region: &str, work: impl FnOnce(&mut Desk<'_>) -> T) -> T {
        let mut state = self.state();
        let (dark, began) = (state.dark(), state.faults.began);
        let State { objects, random, .. } = &mut *state;
        let (durations, account) = (self.durations(), self.0.world.account.as_str());
        work(&mut Desk { objects, durations, account, region, dark: &dark, began, random })
    }

    /// Says whether a call to AWS needs another machine, as things are.
    fn wants_machine(&self, call: &Call, request: &Request<'_>) -> bool {
        call.service == fault::Service::Rds
            && aws::wanting_machines().contains(&call.operation.as_str())
            && self.desk(&call.region, |desk| aws::wants_machine(desk, call, request))
    }

    /// Answers a call to AWS.
    fn aws(&self, call: &Call, request: &Request<'_>, fault: Option<Fault>) -> Answer {
        let (answer, left) = {
            let mut state = self.state();
            let (dark, began) = (state.dark(), state.faults.began);
            let State { objects, random, .. } = &mut *state;
            let (durations, account) = (self.durations(), self.0.world.account.as_str());
            let mut answer = |objects: &mut Objects| {
                let (region, dark) = (call.region.as_str(), &dark);
                let desk = &mut Desk { objects, durations, account, region, dark, began, random };
                aws::answer(desk, call, request)
            };
            match fault {
                Some(Fault::Stale) => objects.stale(answer),
                Some(Fault::Stuck) => objects.stuck(answer),
                Some(_) | None => answer(objects),
            }
        };
        if let Some(what) = left {
            self.left(&what);
        }
        answer
    }

    /// Connects to the PostgreSQL server at an address.
    pub(crate) async fn postgres(
        &self,
        host: &str,
        port: u16,
        limit: Duration,
    ) -> Result<DuplexStream, NoWay> {
        let (region, id) = self.database(host, port, limit).await?;
        let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
        tokio::spawn(postgres::serve(self.clone(), region, id, theirs));
        Ok(ours)
    }

    /// Says whether nothing of a region answers now.
    pub(crate) fn is_dark(&self, region: &str) -> bool {
        self.state().dark().contains_key(region)
    }

    /// Returns what happened to the world, for the debrief.
    pub(crate) fn told(&self) -> Told {
        let state = self.state();
        let faults = state.faults.told().map(|outcome| ToldFault {
            fault: outcome.rule.to_string(),
            struck: outcome.struck,
            first: outcome.first.cloned(),
            never: outcome.never,
        });
        Told {
            faults: faults.collect(),
            own: state.secret.then_some(self.0.world.faults.len()),
            left: state.left.clone(),
            seed: self.0.seed,
            log_failure: state.objects.log_failure(),
        }
    }
}

/// What happened to a world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub faults: Vec<ToldFault>,
    /// How many of them, the first ones, are the world's own, where the others are surprises
    pub own: Option<usize>,
    /// What the simulation was asked and does not know
    pub left: Vec<String>,
    /// What its chance is drawn from
    pub seed: u64,
    /// Why the log could not be written
    pub log_failure: Option<String>,
}

/// What became of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToldFault {
    pub fault: String,
    /// How often it struck; of what strikes with every call, only whether it did
    pub struck: u32,
    pub first: Option<First>,
    /// Why it never did
    pub never: Option<Never>,
}

/// A world's log, read back.
pub(crate) struct Resumed {
    /// Where it is gone on with; `None` where it is only looked at
    log: Option<Log>,
    entries: Vec<Entry>,
    began: Timestamp,
    pub seed: u64,
    secret: bool,
    faults: Vec<Rule>,
    world: Box<World>,
    /// The latest virtual time in the log
    pub until: Timestamp,
}

impl Resumed {
    /// Reads the log in a run's directory to go on with it; the run's lock must be held.
    pub(crate) fn read(directory: &Path) -> Result<Self, SandboxError> {
        let (log, entries) = Log::go_on(&directory.join(log::FILE_NAME))?;
        Self::of(Some(log), entries, directory)
    }

    /// Reads the log in a run's directory and leaves it as it is: what is done in its world then is kept nowhere.
    pub(crate) fn look(directory: &Path) -> Result<Self, SandboxError> {
        Self::of(None, Log::look(&directory.join(log::FILE_NAME))?, directory)
    }

    fn of(
        log: Option<Log>,
        mut entries: Vec<Entry>,
        directory: &Path,
    ) -> Result<Self, SandboxError> {
        let until = entries.iter().map(Entry::at).max().unwrap_or_default();
        match entries.remove(0) {
            Entry::World { at, seed, secret, faults, world, base } => {
                let world = match base {
                    true => Box::new(log::kept(&directory.join(log::BASE_NAME))?),
                    false => world,
                };
                Ok(Self { log, entries, began: at, seed, secret, faults, world, until })
            }
            Entry::Put { .. }
            | Entry::Gone { .. }
            | Entry::Cluster { .. }
            | Entry::Fault { .. }
            | Entry::Spared { .. }
            | Entry::Missed { .. }
            | Entry::Left { .. }
            | Entry::Clock { .. } => {
                let path = directory.join(log::FILE_NAME);
                Err(SandboxError::Log(LogError::NoWorld { path }))
            }
        }
    }
}
