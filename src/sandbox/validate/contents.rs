//! What objects say of themselves: bodies against the fields of their kind, manifests against their types.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Checks, Depth};
use crate::parts::in_parts;
use crate::runbook::path::Path;
use crate::runbook::problem::Problem;
use crate::runbook::shape::{Finding, Place};
use crate::sandbox::bodies::{self, Part};
use crate::sandbox::kubernetes::manifest::Known;
use crate::sandbox::lines::manifest_id;
use crate::sandbox::world::{Endpoint, Kind, Postgres, WorldObject, resolve_instants};

/// Objects that are worth a thread of their own.
const PART_OBJECTS: usize = 4_096;

/// Says whether there may be very many objects of a kind, each of little weight.
const fn is_mass(kind: Kind) -> bool {
    match kind {
        Kind::Kubernetes | Kind::S3Object | Kind::S3Version | Kind::S3Upload | Kind::S3Underway => {
            true
        }
        Kind::RdsInstance
        | Kind::RdsSnapshot
        | Kind::RdsBackup
        | Kind::RdsSubnetGroup
        | Kind::RdsParameterGroup
        | Kind::RdsCluster
        | Kind::RdsGlobal
        | Kind::SecurityGroup
        | Kind::Zone
        | Kind::HealthCheck
        | Kind::Change
        | Kind::Bucket
        | Kind::HealthEvent
        | Kind::Endpoint
        | Kind::Postgres
        | Kind::Program => false,
    }
}

/// Returns fields with their instants as the simulation will have them.
fn resolved(fields: Map<String, Value>) -> Value {
    let mut fields = Value::Object(fields);
    resolve_instants(&mut fields, Timestamp::UNIX_EPOCH);
    fields
}

/// Holds the body of an object, and what becomes of it, against the fields of its kind.
fn misfits(object: &WorldObject) -> Vec<Finding> {
    let body = resolved(object.body.decode().into_owned());
    let mut found = fields(object.kind, Part::Whole, &Path::root().key("body"), &body);
    for (i, due) in object.then.iter().enumerate() {
        // Null takes a field away.
        let set = due.set.iter().filter(|(_, value)| !value.is_null());
        let set = set.map(|(name, value)| (name.clone(), value.clone()));
        let path = Path::root().key("then").item(i).key("set");
        found.extend(fields(object.kind, Part::Change, &path, &resolved(set.collect())));
    }
    found
}

fn fields(kind: Kind, part: Part, at: &Path, body: &Value) -> Vec<Finding> {
    let Value::Object(fields) = body else { return Vec::new() };
    let mut found = if kind == Kind::Endpoint { reached(at, fields) } else { Vec::new() };
    let wrong = bodies::check(kind, part, fields);
    if wrong.is_empty() && part == Part::Whole {
        found.extend(typed(kind, at, body));
    }
    found.extend(
        wrong.into_iter().map(|finding| Finding { path: joined(at, finding.path), ..finding }),
    );
    found
}

fn joined(at: &Path, inside: Path) -> Path {
    let mut whole = at.clone();
    whole.0.extend(inside.0);
    whole
}

fn wrong(path: Path, message: impl Into<String>, help: Option<&str>) -> Finding {
    let (message, help) = (message.into(), help.map(str::to_owned));
    Finding { path, place: Place::Value, message, help }
}

/// Holds what an endpoint is reached by: a name that resolves to what is no address would be no answer of any resolver.
fn reached(at: &Path, fields: &Map<String, Value>) -> Vec<Finding> {
    let address = fields.get("address").and_then(Value::as_str);
    let address = address.filter(|address| address.parse::<IpAddr>().is_err()).map(|address| {
        let help = "write one without a port, like 203.0.113.10";
        wrong(at.key("address"), format!("`{address}` is no IP address"), Some(help))
    });
    let hosts = fields.get("hosts").and_then(Value::as_array).into_iter().flatten().enumerate();
    let nameless = hosts
        .filter(|(_, host)| host.as_str().is_some_and(|host| host.trim().is_empty()))
        .map(|(i, _)| {
            let help = "name it, or leave it out";
            wrong(at.key("hosts").item(i), "a host without a name", Some(help))
        });
    address.into_iter().chain(nameless).collect()
}

/// What a schema cannot say of the simulation's own types is left to them.
fn typed(kind: Kind, at: &Path, body: &Value) -> Option<Finding> {
    let error = match kind {
        Kind::Endpoint => serde_path_to_error::deserialize::<_, Endpoint>(body).err(),
        Kind::Postgres => serde_path_to_error::deserialize::<_, Postgres>(body).err(),
        _ => None,
    };
    let error = error?;
    Some(wrong(joined(at, Path::from(error.path())), error.inner().to_string(), None))
}

impl Checks<'_> {
    pub(super) fn bodies(&mut self, depth: Depth) {
        let world = self.world;
        let found = in_parts(&world.objects, PART_OBJECTS, |first, objects| {
            let looked_at = objects
                .iter()
                .enumerate()
                .filter(|(_, object)| depth == Depth::Whole || !is_mass(object.kind));
            let found = looked_at.map(|(i, object)| (first + i, misfits(object)));
            found.filter(|(_, found)| !found.is_empty()).collect::<Vec<_>>()
        });
        for (i, found) in found.into_iter().flatten() {
            let object = Path::root().key("objects").item(i);
            for Finding { path, place, message, help } in found {
                let whole = joined(&object, path);
                let range = match place {
                    Place::Key => self.places.key(&whole),
                    Place::Value => self.places.at(&whole),
                };
                self.problems.push(Problem::at(range, message).maybe_help(help));
            }
            self.doubts.object(world, i);
        }
    }

    /// Holds every manifest of every cluster against the type of its kind.
    pub(super) fn manifests(&mut self) {
        let mut known: std::collections::BTreeMap<&str, Known> =
            self.world.clusters.keys().map(|region| (region.as_str(), Known::built_in())).collect();
        let mut each: Vec<(Path, &str, Owner, Value)> = Vec::new();
        for (i, object) in self.world.objects.iter().enumerate() {
            if object.kind == Kind::Kubernetes {
                let path = Path::root().key("objects").item(i).key("body");
                let region = object.region.as_deref().unwrap_or_default();
                let manifest = resolved(object.body.decode().into_owned());
                each.push((path, region, Owner::Object(i), manifest));
            }
        }
        for (region, cluster) in &self.world.clusters {
            for (i, manifest) in cluster.objects.iter().enumerate() {
                let path = Path::root().keys(&["clusters", region, "objects"]).item(i);
                let owner = Owner::Cluster(manifest_id(manifest));
                each.push((path, region, owner, resolved(manifest.clone())));
            }
        }
        // What definitions define may stand before them.
        for (_, region, _, manifest) in &each {
            if let Some(known) = known.get_mut(region) {
                known.define(manifest);
            }
        }
        // A region without a cluster is told by itself, and is no reason to look no further.
        let elsewhere = Known::built_in();
        for (path, region, owner, manifest) in each {
            let known = known.get(region).unwrap_or(&elsewhere);
            let misfits = known.misfits(manifest);
            if !misfits.is_empty() {
                match owner {
                    Owner::Object(i) => self.doubts.object(self.world, i),
                    Owner::Cluster(id) => self.doubts.manifest(region, &id, &path),
                }
            }
            for misfit in misfits {
                let mut whole = path.clone();
                whole.0.extend(misfit.path.0);
                let problem = Problem::at(self.places.at(&whole), misfit.message);
                self.problems.push(problem.maybe_help(misfit.help));
            }
        }
    }
}

/// Where a world has a manifest.
enum Owner {
    /// Among its objects
    Object(usize),
    /// In the list of its cluster, under this id
    Cluster(String),
}

#[cfg(test)]
#[path = "contents_tests.rs"]
mod tests;
