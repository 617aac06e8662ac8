//! A world made from an estate file: everything the estate names is there, in its shape, and how it is doing is guessed.
//!
//! Only the file is read. The region that takes writes is dark, the others are warm: what a failover starts from. Every
//! guess is told, in the world as well. No secret, kubeconfig, port forward or endpoint of the estate gets into it.

mod databases;
pub(super) mod names;
#[cfg(test)]
mod tests;
mod traffic;
mod workloads;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::estate::rewritten;
use super::fault::{Fault, Rule, Service};
use super::world::{
    Body, Durations, FORMAT, Kind, Timed, Unseen, World, WorldCluster, WorldObject,
};
use crate::estate::types::Estate;

/// The account of what nobody says another of: the one of AWS's own examples.
const ACCOUNT: &str = "123456789012";

/// Where the API of Route 53 is.
const CONTROL_REGION: &str = "us-east-1";

/// What is being made.
struct Making<'a> {
    estate: &'a Estate,
    account: String,
    objects: Vec<WorldObject>,
    clusters: BTreeMap<String, WorldCluster>,
    guessed: Vec<Unseen>,
}

impl Making<'_> {
    fn add(&mut self, kind: Kind, region: &str, id: &str, body: Value) {
        let body = match body {
            Value::Object(body) => body,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Map::new(),
        };
        let region = (!kind.is_global()).then(|| region.to_owned());
        let body = Body::Known(body);
        self.objects.push(WorldObject { kind, region, id: id.to_owned(), body, then: Vec::new() });
    }

    /// Tells of something that is in no estate file.
    fn guess(&mut self, what: &str, region: Option<&str>, why: impl Into<String>) {
        let region = region.map(str::to_owned);
        self.guessed.push(Unseen { what: what.to_owned(), region, why: why.into() });
    }

    /// Says whether a region takes no writes as long as nothing is lost.
    fn takes_over(&self, region: &str) -> bool {
        region != self.estate.primary.region
    }
}

/// Makes a world of an estate; `file` is where it was read.
pub(crate) fn world(estate: &Estate, file: &str) -> World {
    let mut estate = estate.clone();
    let renamed = names::apart(&mut estate);
    let account = account(&estate);
    let mut making = Making {
        estate: &estate,
        account,
        objects: Vec::new(),
        clusters: BTreeMap::new(),
        guessed: Vec::new(),
    };
    let lost = &estate.primary.region;
    let faults = lost_with(&mut making, lost);
    for (region, why) in renamed {
        making.guess("its own name", Some(&region), why);
    }
    databases::make(&mut making);
    traffic::make(&mut making);
    buckets(&mut making);
    workloads::make(&mut making);
    making.guess(
        "credentials, passwords, kubeconfigs, port forwards, endpoints",
        None,
        "left out: none is read, nothing leads to the real estate",
    );
    let Making { account, mut objects, clusters, guessed, .. } = making;
    objects.sort_by(|a, b| (a.kind, &a.region, &a.id).cmp(&(b.kind, &b.region, &b.id)));
    let mut durations = Durations::default();
    let per_gib = estate.database.as_ref().and_then(|known| known.restore_seconds_per_gib);
    if let Some(seconds) = per_gib {
        durations.restore_seconds_per_gib = Timed::given(seconds);
    }
    let mut world = World {
        world: estate.estate.clone(),
        format: FORMAT,
        about: Some(format!("made from the names in {file}; how it is doing is guessed")),
        captured: None,
        made_from: Some(file.to_owned()),
        pseudonyms: false,
        unseen: guessed,
        lines: None,
        account,
        faults,
        estate: rewritten(&estate, &objects),
        durations,
        objects,
        clusters,
        text: None,
    };
    // Such as the URL of a server that no estate file says more of.
    let unserved = world.unserved();
    world.unseen.extend(unserved);
    world
}

/// Returns what is dark. The API of Route 53 is lost with its region only where the estate can move traffic without it:
/// otherwise no rehearsal would come further than an operator would.
fn lost_with(making: &mut Making<'_>, lost: &str) -> Vec<Rule> {
    let rule = |service| Rule { region: Some(lost.to_owned()), service, ..Rule::of(Fault::Dark) };
    let dns = making.estate.dns.as_ref();
    let stuck = lost == CONTROL_REGION && dns.is_some_and(|dns| dns.failover_object.is_none());
    if !stuck {
        let said = "dark from the beginning; the other regions are warm";
        making.guess("what is lost", Some(lost), said);
        return vec![rule(None)];
    }
    let said = format!(
        "dark from the beginning, but for Route 53's API: without a failover_object traffic could not move; take it away \
         as well with --inject dark@route53,region={lost}"
    );
    making.guess("what is lost", Some(lost), said);
    let besides = |service: &Service| *service != Service::Route53 && *service != Service::Dns;
    Service::ALL.into_iter().filter(besides).map(|service| rule(Some(service))).collect()
}

/// Returns the account an ARN of the estate names.
fn account(estate: &Estate) -> String {
    let backup = estate.database.as_ref().and_then(|known| known.automated_backup.as_ref());
    let arn = backup.and_then(|backup| backup.arn.as_deref());
    let named = arn.and_then(|arn| arn.split(':').nth(4)).filter(|account| !account.is_empty());
    named.unwrap_or(ACCOUNT).to_owned()
}

/// Every bucket the estate names, empty.
fn buckets(making: &mut Making<'_>) {
    let estate = making.estate;
    let object = estate.dns.as_ref().and_then(|dns| dns.failover_object.as_ref());
    let mut public = BTreeSet::new();
    let mut named = BTreeSet::new();
    if let Some(state) = &estate.state {
        named.insert((&state.s3.bucket, &state.s3.region));
    }
    if let Some(object) = object {
        public.insert(&object.bucket);
        named.insert((&object.bucket, &object.region));
    }
    named.extend(estate.buckets.values().map(|known| (&known.bucket, &known.region)));
    let mut seen = BTreeSet::new();
    for (bucket, region) in named {
        // The names of buckets are the whole world's.
        if estate.regions.contains_key(region) && seen.insert(bucket) {
            let body = match public.contains(bucket) {
                true => serde_json::json!({ "PublicRead": true, "Versioning": "Enabled" }),
                false => serde_json::json!({ "Versioning": "Enabled" }),
            };
            making.add(Kind::Bucket, region, bucket, body);
        }
    }
    if !seen.is_empty() {
        making.guess("the buckets", None, "there, with versions, empty");
    }
}
