//! Reads a live estate into a world for rehearsals, by read-only calls of the ordinary clients while their guard is
//! closed.
//!
//! Owns what is asked and how the answers become objects of a world. No secret is kept: values of Secrets are left out
//! where they are read. What could not be seen is told, in the world as well.

mod estate;
mod fields;
mod kubernetes;
mod postgres;
pub(crate) mod pseudonyms;
mod rds;
mod route53;
mod s3;
#[cfg(test)]
mod tests;
mod web;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::clients::Clients;
use crate::outcome::{ActionError, FailureClass};
use crate::sandbox::estate::rewritten;
use crate::sandbox::fault::{Fault, Rule, Service};
use crate::sandbox::world::{
    Body, Durations, FORMAT, Kind, Timed, Unseen, World, WorldCluster, WorldObject,
};

/// What no capture has, however much it may see.
const NEVER: [(&str, &str); 2] = [
    (
        "values of Secrets, of ConfigMap keys that name one and of binary keys, tokens of service accounts, variables, \
         commands and probes of containers, annotations",
        "left out always",
    ),
    (
        "Aurora clusters, rules of security groups, IAM, AWS Health, settings of buckets, contents and versions of S3 \
         objects, other Kubernetes kinds, namespaces the estate does not name",
        "not captured",
    ),
];

/// How often a service that asks for patience is asked, and how long it is left alone at first.
const ASKED_MAX: u32 = 5;
const WAIT_FIRST: Duration = Duration::from_secs(1);

/// A world that was captured.
#[derive(Debug)]
pub(crate) struct Captured {
    pub world: World,
    /// Everything that was asked was answered
    pub whole: bool,
    /// How many questions the live estate answered
    pub answers: usize,
}

/// What part of an estate was seen of.
#[derive(Debug, Default)]
struct Part {
    objects: Vec<WorldObject>,
    unseen: Vec<Unseen>,
    /// Services of regions that gave no answer at all
    silent: BTreeSet<(String, Service)>,
    clusters: BTreeMap<String, WorldCluster>,
    /// Pods of the application: their sessions are no sessions from elsewhere
    pods: usize,
    answers: usize,
    missed: bool,
}

impl Part {
    fn add(&mut self, kind: Kind, region: &str, id: &str, body: Map<String, Value>) {
        let region = (!kind.is_global()).then(|| region.to_owned());
        let body = Body::Known(body);
        self.objects.push(WorldObject { kind, region, id: id.to_owned(), body, then: Vec::new() });
    }

    /// Remembers that something could not be seen.
    fn missed(&mut self, what: &str, region: Option<&str>, error: &ActionError) {
        self.missed = true;
        let class = match error.class {
            FailureClass::Throttled => "too many requests",
            FailureClass::Transient | FailureClass::Timeout | FailureClass::Overdue => "no answer",
            FailureClass::Denied => "access denied",
            FailureClass::Credentials => "no valid credentials",
            FailureClass::NotFound => "not there",
            FailureClass::Invalid | FailureClass::Conflict => "cannot be asked",
            FailureClass::Capacity
            | FailureClass::Refused
            | FailureClass::Unproved
            | FailureClass::Doubt
            | FailureClass::Internal => "failed",
        };
        self.assumed(what, region, &format!("{class}: {}", error.message));
    }

    /// Remembers something that is taken for granted.
    fn assumed(&mut self, what: &str, region: Option<&str>, why: &str) {
        let region = region.map(str::to_owned);
        self.unseen.push(Unseen { what: what.to_owned(), region, why: why.to_owned() });
    }

    fn silent(&mut self, region: &str, service: Service) {
        self.silent.insert((region.to_owned(), service));
    }

    fn join(&mut self, other: Self) {
        self.objects.extend(other.objects);
        self.unseen.extend(other.unseen);
        self.silent.extend(other.silent);
        self.clusters.extend(other.clusters);
        self.pods += other.pods;
        self.answers += other.answers;
        self.missed |= other.missed;
    }

    /// Says whether something was seen, in a region or in any.
    fn has(&self, kind: Kind, region: Option<&str>, id: &str) -> bool {
        let here = |object: &WorldObject| region.is_none() || object.region.as_deref() == region;
        self.objects.iter().any(|object| object.kind == kind && object.id == id && here(object))
    }
}

/// Says whether a failure means that nothing answered.
const fn no_answer(error: &ActionError) -> bool {
    matches!(error.class, FailureClass::Transient | FailureClass::Timeout)
}

/// Asks again, after longer and longer waits, while a service asks for patience.
async fn patiently<T, F>(clients: &Clients, ask: impl Fn() -> F) -> Result<T, ActionError>
where
    F: Future<Output = Result<T, ActionError>>,
{
    let mut wait = WAIT_FIRST;
    for _ in 1..ASKED_MAX {
        match ask().await {
            Err(error) if error.class == FailureClass::Throttled => {
                clients.clock.sleep(wait).await;
                wait *= 2;
            }
            answered => return answered,
        }
    }
    ask().await
}

/// Captures the clients' estate. Their guard must be closed: not even a mistake here may change anything.
pub(crate) async fn capture(clients: &Clients) -> Captured {
    let now = clients.clock.now();
    let at = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let regions: Vec<&String> = clients.estate.regions.keys().collect();
    let (databases, zones, buckets, clusters, identity) = futures::join!(
        join_all(regions.iter().map(|region| rds::look(clients, region, at))),
        route53::look(clients),
        s3::look(clients, at),
        join_all(clients.estate.clusters.keys().map(|region| kubernetes::look(clients, region))),
        clients.aws.identity(),
    );
    let mut seen = Part::default();
    databases.into_iter().for_each(|part| seen.join(part));
    seen.join(zones);
    seen.join(buckets);
    clusters.into_iter().for_each(|part| seen.join(part));
    let account = match identity {
        Ok(identity) => Some(identity.account).filter(|account| !account.is_empty()),
        Err(error) => {
            seen.missed("the AWS account", None, &error);
            None
        }
    };
    seen.join(web::look(clients, &seen).await);
    seen.join(postgres::look(clients, &seen).await);
    estate::fill(&clients.estate, &mut seen);
    world(clients, at, account, seen)
}

fn world(clients: &Clients, at: Timestamp, account: Option<String>, mut seen: Part) -> Captured {
    seen.unseen.extend(NEVER.map(|(what, why)| Unseen {
        what: what.to_owned(),
        region: None,
        why: why.to_owned(),
    }));
    let estate = rewritten(&clients.estate, &seen.objects);
    let mut durations = Durations::default();
    let per_gib = clients.estate.database.as_ref().and_then(|known| known.restore_seconds_per_gib);
    if let Some(seconds) = per_gib {
        durations.restore_seconds_per_gib = Timed::given(seconds);
    }
    for region in clients.estate.clusters.keys() {
        seen.clusters.entry(region.clone()).or_default();
    }
    seen.objects.sort_by(|a, b| (a.kind, &a.region, &a.id).cmp(&(b.kind, &b.region, &b.id)));
    let mut world = World {
        world: clients.estate.estate.clone(),
        format: FORMAT,
        about: Some(format!("the estate {} as it was captured", clients.estate.estate)),
        captured: Some(at),
        made_from: None,
        pseudonyms: false,
        unseen: seen.unseen,
        lines: None,
        account: account.unwrap_or_else(|| "000000000000".to_owned()),
        faults: faults(&clients.estate.regions.keys().collect::<Vec<_>>(), &seen.silent),
        estate,
        durations,
        objects: seen.objects,
        clusters: seen.clusters,
        text: None,
    };
    // What the estate names and is not there would be a mistake in any other world.
    let unserved = world.unserved();
    let whole = !seen.missed && unserved.iter().all(Unseen::is_abroad);
    world.unseen.extend(unserved);
    Captured { world, whole, answers: seen.answers }
}

/// What gave no answer gives none in the world either: a region as a whole where nothing of it did.
fn faults(regions: &[&String], silent: &BTreeSet<(String, Service)>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for region in regions {
        let of_region = |service| silent.contains(&((*region).clone(), service));
        let dark = of_region(Service::Rds) && of_region(Service::Http);
        let control = route53::CONTROL_REGION;
        let all = dark && (region.as_str() != control || of_region(Service::Route53));
        let rule =
            |service| Rule { region: Some((*region).clone()), service, ..Rule::of(Fault::Dark) };
        if all {
            rules.push(rule(None));
        } else if dark {
            let lost = [
                Service::Rds,
                Service::S3,
                Service::Sts,
                Service::Kubernetes,
                Service::Http,
                Service::Tcp,
                Service::Postgres,
            ];
            rules.extend(lost.map(|service| rule(Some(service))));
            if region.as_str() == control {
                rules.push(rule(Some(Service::Health)));
            }
        } else {
            let alone = silent.iter().filter(|(of, _)| of == *region);
            rules.extend(alone.map(|(_, service)| rule(Some(*service))));
        }
    }
    rules
}
