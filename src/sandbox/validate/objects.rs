//! Objects by themselves and among each other: regions, ids that are given once, references that lead somewhere.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use super::Checks;
use super::references::{items, plain};
use crate::runbook::path::Path;
use crate::runbook::problem::Problem;
use crate::sandbox::estate::endpoint;
use crate::sandbox::lines::manifest_id;
use crate::sandbox::world::{Kind, WorldObject};

impl Checks<'_> {
    pub(super) fn objects(&mut self) {
        let (world, mut seen) = (self.world, HashSet::new());
        for (i, object) in world.objects.iter().enumerate() {
            // There may be very many objects: no path is put together for one that is right.
            let path = || Path::root().key("objects").item(i);
            let before = self.problems.len();
            // Of an object in which something could not be read, that may be what seems to be missing.
            let whole = self.places.is_whole() || !self.places.lacks(&path());
            match (&object.region, object.kind.is_global()) {
                (Some(_), true) => {
                    self.wrong(&path().key("region"), "what this is belongs to no region");
                }
                (None, false) if whole => self.wrong(&path(), "`region` is missing"),
                (Some(region), false) if !world.estate.regions.contains_key(region) => {
                    self.region(&path().key("region"), region);
                }
                (_, _) => {}
            }
            let new = seen.insert((object.kind, object.region.as_deref(), object.id.as_str()));
            if !new && whole {
                self.wrong(&path().key("id"), format!("`{}` is there twice", object.id));
            }
            self.identity(i, object, whole);
            if self.problems.len() > before {
                self.doubts.object(world, i);
            }
        }
    }

    /// What names itself in its body as well must say the same there.
    fn identity(&mut self, i: usize, object: &WorldObject, whole: bool) {
        let field = match object.kind {
            Kind::RdsInstance => "DBInstanceIdentifier",
            Kind::RdsSnapshot => "DBSnapshotIdentifier",
            Kind::RdsSubnetGroup => "DBSubnetGroupName",
            Kind::RdsParameterGroup => "DBParameterGroupName",
            Kind::RdsCluster => "DBClusterIdentifier",
            Kind::RdsGlobal => "GlobalClusterIdentifier",
            Kind::SecurityGroup => "GroupId",
            Kind::Kubernetes => return self.manifest(i, object),
            Kind::RdsBackup
            | Kind::Zone
            | Kind::HealthCheck
            | Kind::Change
            | Kind::Bucket
            | Kind::S3Object
            | Kind::S3Version
            | Kind::S3Upload
            | Kind::S3Underway
            | Kind::HealthEvent
            | Kind::Endpoint
            | Kind::Postgres
            | Kind::Program => return,
        };
        if !whole {
            return;
        }
        let body = object.body.decode();
        let named = body.get(field);
        // What is no text has been told already.
        let is = named.is_none_or(|named| named.is_string());
        if is && named.and_then(Value::as_str) != Some(object.id.as_str()) {
            let message = format!("`{field}` of the body must be the object's id, `{}`", object.id);
            self.wrong(&Path::root().key("objects").item(i).key("body"), message);
        }
    }

    fn manifest(&mut self, i: usize, object: &WorldObject) {
        let path = Path::root().key("objects").item(i);
        let region = object.region.as_deref().unwrap_or_default();
        let known = &self.world.clusters;
        // A region the estate does not have is told by itself.
        if !known.contains_key(region) && self.world.estate.regions.contains_key(region) {
            let path = path.key("region");
            if !self.places.lost.touches(&Path::root().keys(&["clusters", region])) {
                let message = format!("the world has no cluster in `{region}`");
                let help = format!("give it one: `clusters.{region}: {{}}`");
                self.problems.push(Problem::at(self.places.at(&path), message).help(help));
            }
        }
        let named = manifest_id(&object.body.decode());
        if named != object.id && !self.doubts.has_object(i) {
            let message = format!("the id of this manifest is `{named}`");
            self.wrong(&path.key("id"), message);
        }
    }

    /// What objects refer to must be there.
    pub(super) fn links(&mut self) {
        let mut ids: BTreeMap<Kind, BTreeSet<&str>> = BTreeMap::new();
        let world = self.world;
        let sought = [Kind::Bucket, Kind::HealthCheck, Kind::RdsCluster];
        for object in world.objects.iter().filter(|object| sought.contains(&object.kind)) {
            ids.entry(object.kind).or_default().insert(&object.id);
        }
        for (i, object) in world.objects.iter().enumerate() {
            match object.kind {
                Kind::Zone => self.records(i, object, &ids),
                Kind::S3Object => {
                    let bucket = object.id.split('/').next().unwrap_or_default();
                    let known = ids.get(&Kind::Bucket);
                    if !known.is_some_and(|known| known.contains(bucket)) {
                        let path = Path::root().key("objects").item(i).key("id");
                        self.refers(&path, &ids, Kind::Bucket, bucket);
                    }
                }
                Kind::RdsGlobal => self.members(i, object, &ids),
                Kind::RdsInstance
                | Kind::RdsSnapshot
                | Kind::RdsBackup
                | Kind::RdsCluster
                | Kind::S3Version
                | Kind::S3Upload
                | Kind::S3Underway
                | Kind::RdsSubnetGroup
                | Kind::RdsParameterGroup
                | Kind::SecurityGroup
                | Kind::HealthCheck
                | Kind::Change
                | Kind::Bucket
                | Kind::HealthEvent
                | Kind::Endpoint
                | Kind::Postgres
                | Kind::Kubernetes
                | Kind::Program => {}
            }
        }
    }

    fn refers(&mut self, path: &Path, ids: &BTreeMap<Kind, BTreeSet<&str>>, kind: Kind, id: &str) {
        let known = ids.get(&kind);
        if !known.is_some_and(|known| known.contains(id)) && !self.doubts.may_have(kind, id) {
            let message = format!("the world has no {} `{id}`", kind.name());
            self.missing(path, message, id, known.into_iter().flatten().copied());
        }
    }

    /// A global database's members are clusters of the world.
    fn members(&mut self, i: usize, object: &WorldObject, ids: &BTreeMap<Kind, BTreeSet<&str>>) {
        let body = Path::root().key("objects").item(i).key("body");
        let fields = object.body.decode();
        for (i, member) in items(&fields, "GlobalClusterMembers").enumerate() {
            let Some(arn) = member.get("DBClusterArn").and_then(Value::as_str) else { continue };
            let id = arn.rsplit(':').next().unwrap_or(arn);
            let path = body.key("GlobalClusterMembers").item(i).key("DBClusterArn");
            self.refers(&path, ids, Kind::RdsCluster, id);
        }
    }

    /// A record set is there once, and the health check it names as well.
    fn records(&mut self, item: usize, object: &WorldObject, ids: &BTreeMap<Kind, BTreeSet<&str>>) {
        let list = Path::root().key("objects").item(item).keys(&["body", "ResourceRecordSets"]);
        let fields = object.body.decode();
        let mut seen = BTreeMap::new();
        for (i, record) in items(&fields, "ResourceRecordSets").enumerate() {
            let text = |key: &str| record.get(key).and_then(Value::as_str);
            if let Some(check) = text("HealthCheckId") {
                self.refers(&list.item(i).key("HealthCheckId"), ids, Kind::HealthCheck, check);
            }
            let (Some(name), Some(kind)) = (text("Name"), text("Type")) else { continue };
            let (name, kind, set) = (plain(name), kind.to_owned(), text("SetIdentifier"));
            let set = set.map(str::to_owned);
            let message = match &set {
                Some(set) => format!(
                    "the {kind} record {name} is there twice with the set identifier `{set}`"
                ),
                None => format!("the {kind} record {name} is there twice"),
            };
            if let Some(first) = seen.insert((name, kind, set), i) {
                let first = self.places.at(&list.item(first).key("Name"));
                let problem = Problem::at(self.places.at(&list.item(i).key("Name")), message);
                let problem = problem.also(first, "first given here");
                self.problems.push(
                    problem.help("keep one of the two, or give each a SetIdentifier of its own"),
                );
                // The one that is meant otherwise may be what somebody looks for.
                self.doubts.object(self.world, item);
            }
        }
    }

    /// A host is reached at one object: whoever else says it would never be asked.
    pub(super) fn hosts(&mut self) {
        let (world, mut first) = (self.world, BTreeMap::new());
        for (i, object) in world.objects.iter().enumerate() {
            let body = Path::root().key("objects").item(i).key("body");
            let named: Vec<(String, Path)> = match object.kind {
                Kind::Endpoint => {
                    let fields = object.body.decode();
                    let hosts = items(&fields, "hosts").enumerate();
                    hosts
                        .filter_map(|(j, host)| {
                            Some((plain(host.as_str()?), body.key("hosts").item(j)))
                        })
                        .collect()
                }
                Kind::RdsInstance => endpoint(&object.body)
                    .map(|(host, _)| (plain(&host), body.keys(&["Endpoint", "Address"])))
                    .into_iter()
                    .collect(),
                _ => continue,
            };
            for (host, path) in named {
                match first.get(&host) {
                    None => {
                        first.insert(host, (i, path));
                    }
                    Some((other, _)) if *other == i => {}
                    Some((other, place)) => {
                        let owner = &world.objects[*other];
                        let region = owner.region.as_deref().unwrap_or_default();
                        let message = format!(
                            "`{host}` leads to {} `{}` of {region} already",
                            owner.kind.name(),
                            owner.id
                        );
                        let problem = Problem::at(self.places.at(&path), message)
                            .also(self.places.at(place), "first given here")
                            .help("give each a name of its own: a host leads to one of them alone");
                        self.problems.push(problem);
                        self.doubts.object(world, i);
                    }
                }
            }
        }
    }
}
