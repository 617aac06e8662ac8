//! The world's own estate against its objects, and its instances against each other: a name that nothing of the world
//! has would be looked for in vain.
//!
//! What the estate only makes, such as the recovered database, is not there yet and is not looked for. Of a region that
//! is dark, and of the one that takes writes, a world may show nothing of a kind: nobody can see the one, and the other
//! is what is lost. Whatever else is not there must be told as `unseen`, which is what a capture does.

mod clusters;
mod database;
mod instances;
mod traffic;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Doubts;
use crate::runbook::near;
use crate::runbook::path::Path;
use crate::sandbox::fault::{Fault, Service};
use crate::sandbox::lines::manifest_id;
use crate::sandbox::world::{Kind, Unseen, World, WorldObject};

/// A name that nothing of the world has.
pub(super) struct Dangling {
    pub path: Path,
    /// What it is, as [`Unseen::what`] has it
    what: String,
    region: Option<String>,
    lack: Lack,
    pub message: String,
    pub help: Option<String>,
}

/// Why a world may lack what is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    /// Its estate names it
    Named,
    /// An instance names it as its source or its replica
    Replicated,
    /// An instance names it, in a region that is none of the estate's: no world has it
    Abroad,
}

impl Lack {
    const ALL: [Self; 3] = [Self::Named, Self::Replicated, Self::Abroad];

    const fn words(self) -> &'static str {
        match self {
            Self::Named => "the estate names it, and nothing is there",
            Self::Replicated => "an instance replicates from or to it, and nothing is there",
            Self::Abroad => {
                "an instance replicates from or to it, and its region is none of the estate's"
            }
        }
    }
}

impl Unseen {
    fn lack(&self) -> Option<Lack> {
        Lack::ALL.into_iter().find(|lack| self.why == lack.words())
    }

    /// Says whether it tells of a name that nothing has.
    pub(crate) fn is_unserved(&self) -> bool {
        self.lack().is_some()
    }

    /// Says whether it tells of what no world of this estate could have.
    pub(crate) fn is_abroad(&self) -> bool {
        self.lack() == Some(Lack::Abroad)
    }
}

impl World {
    /// Returns what is named and nothing has, for a world that was captured or made: there the names are right, and
    /// whoever reads of it is told.
    pub(crate) fn unserved(&self) -> Vec<Unseen> {
        let told = dangling(self, &Doubts::default()).into_iter().map(|found| Unseen {
            what: found.what,
            region: found.region,
            why: found.lack.words().to_owned(),
        });
        let told: BTreeSet<Unseen> = told.collect();
        told.into_iter().collect()
    }
}

/// Returns every name that nothing of the world has and nobody is told of.
pub(super) fn dangling(world: &World, doubts: &Doubts<'_>) -> Vec<Dangling> {
    let mut look = Look::at(world, doubts.clone());
    look.instances();
    if doubts.knows_regions() {
        look.regions();
        look.buckets();
        look.dns();
        look.database();
        look.clusters();
    }
    look.autoscalers();
    let told: BTreeSet<(&str, Option<&str>)> = world
        .unseen
        .iter()
        .map(|unseen| (unseen.what.as_str(), unseen.region.as_deref()))
        .collect();
    let mut found = look.found;
    found.retain(|found| {
        !told.contains(&(found.what.as_str(), found.region.as_deref()))
            && !doubts.touches(&found.path)
    });
    for found in &mut found {
        found.help.get_or_insert_with(|| {
            let what = &found.what;
            format!("mend the name, or add it to the world; if it is not there in truth, tell so under `unseen`: {what}")
        });
    }
    found
}

/// What answers at a host.
enum Listener<'a> {
    Endpoint { id: &'a str, region: &'a str, ports: Vec<u64>, sound: bool },
    Instance { id: &'a str },
}

/// What a world has, by its names.
struct Look<'a> {
    world: &'a World,
    doubts: Doubts<'a>,
    /// Numbers of objects that may be named, by kind and region; the region of what has none is empty
    objects: BTreeMap<(Kind, &'a str), BTreeMap<&'a str, usize>>,
    /// Manifests by region and id
    manifests: BTreeMap<&'a str, BTreeSet<Cow<'a, str>>>,
    hosts: BTreeMap<String, Listener<'a>>,
    found: Vec<Dangling>,
}

impl<'a> Look<'a> {
    fn at(world: &'a World, doubts: Doubts<'a>) -> Self {
        let mut objects: BTreeMap<(Kind, &str), BTreeMap<&str, usize>> = BTreeMap::new();
        let mut manifests: BTreeMap<&str, BTreeSet<Cow<'_, str>>> = BTreeMap::new();
        for (i, object) in world.objects.iter().enumerate() {
            let region = object.region.as_deref().unwrap_or_default();
            match object.kind {
                Kind::Kubernetes => {
                    manifests.entry(region).or_default().insert(Cow::Borrowed(&object.id));
                }
                Kind::RdsInstance
                | Kind::RdsBackup
                | Kind::RdsSubnetGroup
                | Kind::RdsParameterGroup
                | Kind::SecurityGroup
                | Kind::Zone
                | Kind::HealthCheck
                | Kind::Bucket
                | Kind::Endpoint
                | Kind::Postgres => {
                    objects.entry((object.kind, region)).or_default().insert(&object.id, i);
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
            Self { world, doubts, objects, manifests, hosts: BTreeMap::new(), found: Vec::new() };
        look.hosts = look.listeners();
        look
    }

    fn listeners(&self) -> BTreeMap<String, Listener<'a>> {
        let mut hosts = BTreeMap::new();
        for ((kind, region), objects) in &self.objects {
            for (id, number) in objects {
                let object = &self.world.objects[*number];
                match kind {
                    Kind::Endpoint => {
                        let body = object.body.decode();
                        let ports = items(&body, "ports").filter_map(Value::as_u64).collect();
                        let ports: Vec<u64> = ports;
                        let names = items(&body, "hosts").chain(body.get("address"));
                        let sound = !self.doubts.has_object(*number);
                        for name in names.filter_map(Value::as_str) {
                            let (id, ports) = (*id, ports.clone());
                            let listener = Listener::Endpoint { id, region, ports, sound };
                            hosts.insert(plain(name), listener);
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
        let object = |number: &usize| &self.world.objects[*number];
        found.into_iter().flatten().map(|(id, number)| (*id, object(number))).collect()
    }

    fn get(&self, kind: Kind, region: &str, id: &str) -> Option<&'a WorldObject> {
        let number = self.objects.get(&(kind, region))?.get(id)?;
        self.world.objects.get(*number)
    }

    /// Returns an object in which there is no mistake.
    fn sound(&self, kind: Kind, region: &str, id: &str) -> Option<&'a WorldObject> {
        let number = self.objects.get(&(kind, region))?.get(id)?;
        self.world.objects.get(*number).filter(|_| !self.doubts.has_object(*number))
    }

    /// Says whether there is an object with a mistake in it.
    fn has_doubtful(&self, kind: Kind, region: &str) -> bool {
        let mut numbers = self.objects.get(&(kind, region)).into_iter().flatten();
        numbers.any(|(_, number)| self.doubts.has_object(*number))
    }

    /// Says whether the estate has no such region, which its own rules tell.
    fn is_nowhere(&self, region: &str) -> bool {
        !self.world.estate.regions.contains_key(region)
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
                && rule.spare.is_none()
        });
        dark || region == self.world.estate.primary.region || !self.doubts.knows_faults()
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
            lack: Lack::Named,
            message: format!("the world has no {what} `{id}`{place}, which its estate names"),
            help: near::hint(id, known),
        });
    }

    /// Holds the name of an object of AWS against those of its region.
    fn object(&mut self, path: Path, kind: Kind, region: &str, id: &str) {
        let nowhere = !kind.is_global() && self.is_nowhere(region);
        if nowhere || self.get(kind, region, id).is_some() || self.doubts.may_have(kind, id) {
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
        let elsewhere = self.elsewhere(kind, region, id);
        let elsewhere = elsewhere.map(|region| format!("`{id}` is in {region}"));
        self.report(path, (kind.name(), place, id), known.into_iter());
        if let Some(last) = self.found.last_mut() {
            last.help = last.help.take().or(elsewhere);
        }
    }

    /// Holds a security group against those of its region. A world that shows none of a region knows none of it: nobody
    /// but EC2 lists them, and a capture does not ask that.
    fn security_group(&mut self, path: Path, region: &str, id: &str) {
        if !self.of(Kind::SecurityGroup, region).is_empty() {
            self.object(path, Kind::SecurityGroup, region, id);
        }
    }

    /// Returns another region that has an object of that id.
    fn elsewhere(&self, kind: Kind, region: &str, id: &str) -> Option<&'a str> {
        let mut others =
            self.objects.iter().filter(|((of, other), _)| *of == kind && *other != region);
        others.find(|(_, known)| known.contains_key(id)).map(|((_, other), _)| *other)
    }
}

/// Returns the items of a list in a body.
pub(super) fn items<'v>(
    body: &'v Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = &'v Value> {
    body.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// Returns a name as DNS compares it.
pub(super) fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
