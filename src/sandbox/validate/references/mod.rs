//! The world's own estate against its objects: a name that nothing of the world has would be looked for in vain.
//!
//! What the estate only makes, such as the recovered database, is not there yet and is not looked for. Of a region that
//! is dark, and of the one that takes writes, a world may show nothing of a kind: nobody can see the one, and the other
//! is what is lost. Whatever else is not there must be told as `unseen`, which is what a capture does.

mod clusters;
mod database;
mod traffic;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::runbook::near;
use crate::runbook::path::Path;
use crate::sandbox::fault::{Fault, Service};
use crate::sandbox::lines::manifest_id;
use crate::sandbox::world::{Kind, Unseen, World, WorldObject};

/// A name of the estate that nothing of the world has.
pub(super) struct Dangling {
    pub path: Path,
    /// What it is, as [`Unseen::what`] has it
    what: String,
    region: Option<String>,
    pub message: String,
    pub help: Option<String>,
}

/// Why a world lacks what its estate names.
const UNSERVED: &str = "the estate names it, and nothing is there";

impl Unseen {
    /// Says whether it tells of a name that nothing has.
    pub(crate) fn is_unserved(&self) -> bool {
        self.why == UNSERVED
    }
}

impl World {
    /// Returns what the estate names and nothing has, for a world that was captured or made: there the names are right,
    /// and whoever reads of it is told.
    pub(crate) fn unserved(&self) -> Vec<Unseen> {
        let told = dangling(self).into_iter().map(|found| Unseen {
            what: found.what,
            region: found.region,
            why: UNSERVED.to_owned(),
        });
        let told: BTreeSet<Unseen> = told.collect();
        told.into_iter().collect()
    }
}

/// Returns every name of the estate that nothing of the world has and nobody is told of.
pub(super) fn dangling(world: &World) -> Vec<Dangling> {
    let mut look = Look::at(world);
    look.regions();
    look.buckets();
    look.dns();
    look.database();
    look.clusters();
    look.autoscalers();
    let told: BTreeSet<(&str, Option<&str>)> = world
        .unseen
        .iter()
        .map(|unseen| (unseen.what.as_str(), unseen.region.as_deref()))
        .collect();
    look.found.retain(|found| !told.contains(&(found.what.as_str(), found.region.as_deref())));
    for found in &mut look.found {
        found.help.get_or_insert_with(|| {
            let what = &found.what;
            format!("mend the name, or add it to the world; if it is not there in truth, tell so under `unseen`: {what}")
        });
    }
    look.found
}

/// What answers at a host.
enum Listener<'a> {
    Endpoint { id: &'a str, region: &'a str, ports: Vec<u64> },
    Instance { id: &'a str },
}

/// What a world has, by its names.
struct Look<'a> {
    world: &'a World,
    /// Objects that an estate may name, by kind and region; the region of what has none is empty
    objects: BTreeMap<(Kind, &'a str), BTreeMap<&'a str, &'a WorldObject>>,
    /// Manifests by region and id
    manifests: BTreeMap<&'a str, BTreeSet<Cow<'a, str>>>,
    hosts: BTreeMap<String, Listener<'a>>,
    found: Vec<Dangling>,
}

impl<'a> Look<'a> {
    fn at(world: &'a World) -> Self {
        let mut objects: BTreeMap<(Kind, &str), BTreeMap<&str, &WorldObject>> = BTreeMap::new();
        let mut manifests: BTreeMap<&str, BTreeSet<Cow<'_, str>>> = BTreeMap::new();
        for object in &world.objects {
            let region = object.region.as_deref().unwrap_or_default();
            match object.kind {
                Kind::Kubernetes => {
                    manifests.entry(region).or_default().insert(Cow::Borrowed(&object.id));
                }
                Kind::RdsInstance
                | Kind::RdsBackup
                | Kind::RdsSubnetGroup
                | Kind::RdsParameterGroup
                | Kind::Zone
                | Kind::HealthCheck
                | Kind::Bucket
                | Kind::Endpoint
                | Kind::Postgres => {
                    objects.entry((object.kind, region)).or_default().insert(&object.id, object);
                }
                // No estate names one of these, and there may be very many of them.
                Kind::RdsSnapshot
                | Kind::RdsCluster
                | Kind::RdsGlobal
                | Kind::Change
                | Kind::S3Object
                | Kind::S3Version
                | Kind::S3Upload
                | Kind::S3Underway
                | Kind::HealthEvent
                | Kind::Program => {}
            }
        }
        for (region, cluster) in &world.clusters {
            let ids = cluster.objects.iter().map(|manifest| Cow::Owned(manifest_id(manifest)));
            manifests.entry(region).or_default().extend(ids);
        }
        let mut look =
            Self { world, objects, manifests, hosts: BTreeMap::new(), found: Vec::new() };
        look.hosts = look.listeners();
        look
    }

    fn listeners(&self) -> BTreeMap<String, Listener<'a>> {
        let mut hosts = BTreeMap::new();
        for ((kind, region), objects) in &self.objects {
            for (id, object) in objects {
                match kind {
                    Kind::Endpoint => {
                        let body = object.body.decode();
                        let ports = items(&body, "ports").filter_map(Value::as_u64).collect();
                        let ports: Vec<u64> = ports;
                        let names = items(&body, "hosts").chain(body.get("address"));
                        for name in names.filter_map(Value::as_str) {
                            let (id, ports) = (*id, ports.clone());
                            hosts.insert(plain(name), Listener::Endpoint { id, region, ports });
                        }
                    }
                    Kind::RdsInstance => {
                        if let Some((host, _)) = crate::sandbox::estate::endpoint(&object.body) {
                            hosts.insert(plain(&host), Listener::Instance { id });
                        }
                    }
                    _ => {}
                }
            }
        }
        hosts
    }

    /// Returns the objects of a kind in a region.
    fn of(&self, kind: Kind, region: &str) -> Vec<(&'a str, &'a WorldObject)> {
        let found = self.objects.get(&(kind, region));
        found.into_iter().flatten().map(|(id, object)| (*id, *object)).collect()
    }

    fn get(&self, kind: Kind, region: &str, id: &str) -> Option<&'a WorldObject> {
        self.objects.get(&(kind, region))?.get(id).copied()
    }

    /// Says whether a world may show nothing of a service in a region.
    fn may_be_bare(&self, region: &str, service: Service) -> bool {
        let dark = self.world.faults.iter().any(|rule| {
            rule.fault == Fault::Dark
                && rule.region.as_deref() == Some(region)
                && rule.service.is_none_or(|of| of == service)
                && rule.operation.is_none()
                && rule.from.is_none()
                && rule.until.is_none()
                && rule.times.is_none()
        });
        dark || region == self.world.estate.primary.region
    }

    /// Reports something that is not there; `id` and those who are there are of one form.
    fn report<'n>(
        &mut self,
        path: Path,
        (what, region, id): (&str, Option<&str>, &str),
        known: impl Iterator<Item = &'n str>,
    ) {
        let place = region.map_or_else(String::new, |region| format!(" in {region}"));
        self.found.push(Dangling {
            path,
            what: format!("{what} {id}"),
            region: region.map(str::to_owned),
            message: format!("the world has no {what} `{id}`{place}, which its estate names"),
            help: near::hint(id, known),
        });
    }

    /// Holds the name of an object of AWS against those of its region.
    fn object(&mut self, path: Path, kind: Kind, region: &str, id: &str) {
        if self.get(kind, region, id).is_some() {
            return;
        }
        let known: Vec<&str> = self.of(kind, region).into_iter().map(|(id, _)| id).collect();
        let service = match kind {
            Kind::Bucket => Service::S3,
            Kind::Endpoint => Service::Http,
            Kind::Postgres => Service::Postgres,
            _ => Service::Rds,
        };
        if known.is_empty() && !kind.is_global() && self.may_be_bare(region, service) {
            return;
        }
        let place = (!kind.is_global()).then_some(region);
        let elsewhere = self.objects.keys().find(|(of, other)| {
            *of == kind && *other != region && self.get(kind, other, id).is_some()
        });
        let elsewhere = elsewhere.map(|(_, region)| format!("`{id}` is in {region}"));
        self.report(path, (kind.name(), place, id), known.into_iter());
        if let Some(last) = self.found.last_mut() {
            last.help = last.help.take().or(elsewhere);
        }
    }
}

/// Returns the items of a list in a body.
fn items<'v>(body: &'v Map<String, Value>, key: &str) -> impl Iterator<Item = &'v Value> {
    body.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// Returns a name as DNS compares it.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
