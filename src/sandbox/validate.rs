//! What a world must be beyond its types: references that lead somewhere, ids that are given once, faults that can
//! strike, bodies that are of their kind.

mod contents;
mod references;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::Value;

use super::fault::senseless;
use super::lines::{self, manifest_id};
use super::world::{FORMAT, Kind, World, WorldObject};
use crate::estate::load as estate_file;
use crate::runbook::near;
use crate::runbook::path::{Path, Segment};
use crate::runbook::problem::Problem;
use crate::runbook::yaml::Index;

/// How closely a world is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// As a rehearsal begins: what there may be very much of, manifests and the objects of buckets, is left as it is
    Start,
    Whole,
}

/// Where the parts of a world are written.
pub(super) enum Places<'a> {
    /// One document
    Document(&'a Index),
    /// Lines: the head, then a line for each object but the first `before`, which the head has
    Lines { head: &'a Index, before: usize, ranges: Vec<Range<usize>>, text: &'a str },
}

impl Places<'_> {
    /// Returns where a value is written, or what is nearest above it.
    fn at(&self, path: &Path) -> Range<usize> {
        match self {
            Self::Document(index) => index.at(path),
            Self::Lines { head, text, .. } => match self.line(path) {
                Some((line, inside)) => lines::place(text, line, &inside),
                None => head.at(path),
            },
        }
    }

    /// Returns where a key is written; inside of a line, its value.
    fn key(&self, path: &Path) -> Range<usize> {
        match self {
            Self::Document(index) => index.key_or(path),
            Self::Lines { .. } => self.at(path),
        }
    }

    /// Returns the line an object is in, and the place inside it.
    fn line(&self, path: &Path) -> Option<(&Range<usize>, Path)> {
        let Self::Lines { before, ranges, .. } = self else { return None };
        let [Segment::Key(key), Segment::Item(item), inside @ ..] = path.0.as_slice() else {
            return None;
        };
        let line = item.checked_sub(*before).and_then(|line| ranges.get(line))?;
        (key == "objects").then(|| (line, Path(inside.to_vec())))
    }
}

/// Returns everything that is wrong with a world.
pub(super) fn check(world: &World, places: &Places<'_>, depth: Depth) -> Vec<Problem> {
    let mut ids: BTreeMap<Kind, BTreeSet<&str>> = BTreeMap::new();
    for object in &world.objects {
        ids.entry(object.kind).or_default().insert(&object.id);
    }
    let mut checks = Checks { world, places, ids, problems: Vec::new() };
    checks.file();
    checks.faults();
    checks.objects();
    checks.bodies(depth);
    checks.references();
    checks.clusters();
    if depth == Depth::Whole {
        checks.manifests();
    }
    checks.estate();
    checks.problems
}

struct Checks<'a> {
    world: &'a World,
    places: &'a Places<'a>,
    ids: BTreeMap<Kind, BTreeSet<&'a str>>,
    problems: Vec<Problem>,
}

impl Checks<'_> {
    fn wrong(&mut self, path: &Path, message: impl Into<String>) {
        self.problems.push(Problem::at(self.places.at(path), message));
    }

    fn missing<'n>(
        &mut self,
        path: &Path,
        message: String,
        given: &str,
        known: impl Iterator<Item = &'n str>,
    ) {
        let help = near::hint(given, known);
        self.problems.push(Problem::at(self.places.at(path), message).maybe_help(help));
    }

    fn file(&mut self) {
        let root = Path::root();
        if self.world.format != FORMAT {
            let message =
                format!("format {} is not known; this version reads {FORMAT}", self.world.format);
            self.wrong(&root.key("format"), message);
        }
        // The estate is held to its own rules, in its own words.
        let text = serde_json::to_string(&self.world.estate).unwrap_or_default();
        if let Err(problems) = estate_file::parse("estate", &text) {
            for problem in problems.items {
                self.wrong(&root.key("estate"), problem.message);
            }
        }
    }

    /// The estate is held against what the world has.
    fn estate(&mut self) {
        for found in references::dangling(self.world) {
            let problem = Problem::at(self.places.at(&found.path), found.message);
            self.problems.push(problem.maybe_help(found.help));
        }
    }

    fn region(&mut self, path: &Path, name: &str) {
        let known = &self.world.estate.regions;
        if !known.contains_key(name) {
            let message = format!("the world's estate has no region `{name}`");
            self.missing(path, message, name, known.keys().map(String::as_str));
        }
    }

    fn faults(&mut self) {
        let regions: Vec<&str> = self.world.estate.regions.keys().map(String::as_str).collect();
        for (i, rule) in self.world.faults.iter().enumerate() {
            for found in senseless(rule, &regions) {
                let at = Path::root().key("faults").item(i).key(found.part.name());
                let problem = Problem::at(self.places.at(&at), found.said);
                self.problems.push(problem.help(found.help));
            }
        }
    }

    fn objects(&mut self) {
        let mut seen = BTreeSet::new();
        for (i, object) in self.world.objects.iter().enumerate() {
            let path = Path::root().key("objects").item(i);
            match (&object.region, object.kind.is_global()) {
                (Some(_), true) => {
                    self.wrong(&path.key("region"), "what this is belongs to no region");
                }
                (None, false) => self.wrong(&path, "`region` is missing"),
                (Some(region), false) => self.region(&path.key("region"), region),
                (None, true) => {}
            }
            if !seen.insert((object.kind, object.region.as_deref(), object.id.as_str())) {
                self.wrong(&path.key("id"), format!("`{}` is there twice", object.id));
            }
            match object.kind {
                Kind::RdsInstance => self.named(&path, object, "DBInstanceIdentifier"),
                Kind::RdsSnapshot => self.named(&path, object, "DBSnapshotIdentifier"),
                Kind::RdsSubnetGroup => self.named(&path, object, "DBSubnetGroupName"),
                Kind::RdsParameterGroup => self.named(&path, object, "DBParameterGroupName"),
                Kind::RdsCluster => self.named(&path, object, "DBClusterIdentifier"),
                Kind::RdsGlobal => self.named(&path, object, "GlobalClusterIdentifier"),
                Kind::Kubernetes => self.manifest(&path, object),
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
                | Kind::Program => {}
            }
        }
    }

    /// An AWS object names itself in its body as well, where it was pasted from the CLI.
    fn named(&mut self, path: &Path, object: &WorldObject, field: &str) {
        let body = object.body.decode();
        let named = body.get(field).and_then(Value::as_str);
        if named != Some(object.id.as_str()) {
            let message = format!("`{field}` of the body must be the object's id, `{}`", object.id);
            self.wrong(&path.key("body"), message);
        }
    }

    fn manifest(&mut self, path: &Path, object: &WorldObject) {
        let region = object.region.as_deref().unwrap_or_default();
        let known = &self.world.clusters;
        if !known.contains_key(region) {
            let message = format!("the world has no cluster in `{region}`");
            let help = format!("give it one: `clusters.{region}: {{}}`");
            let problem = Problem::at(self.places.at(&path.key("region")), message);
            self.problems.push(problem.help(help));
        }
        let named = manifest_id(&object.body.decode());
        if named != object.id {
            let message = format!("the id of this manifest is `{named}`");
            self.wrong(&path.key("id"), message);
        }
    }

    fn refers(&mut self, path: &Path, kind: Kind, id: &str, what: &str) {
        let ids = self.ids.get(&kind);
        if ids.is_some_and(|ids| ids.contains(id)) {
            return;
        }
        let known: Vec<&str> = ids.into_iter().flatten().copied().collect();
        let message = format!("the world has no {what} `{id}`");
        self.missing(path, message, id, known.into_iter());
    }

    fn references(&mut self) {
        for (i, object) in self.world.objects.iter().enumerate() {
            let body = Path::root().key("objects").item(i).key("body");
            match object.kind {
                Kind::Postgres => {
                    let path = Path::root().key("objects").item(i).key("id");
                    self.refers(&path, Kind::RdsInstance, &object.id, "rds.instance");
                }
                Kind::RdsInstance => {
                    let field = "ReadReplicaSourceDBInstanceIdentifier";
                    let fields = object.body.decode();
                    if let Some(source) = fields.get(field).and_then(Value::as_str) {
                        let id = source.rsplit(':').next().unwrap_or(source);
                        self.refers(&body.key(field), Kind::RdsInstance, id, "rds.instance");
                    }
                }
                Kind::Zone => self.records(&body, object),
                Kind::S3Object => {
                    let bucket = object.id.split('/').next().unwrap_or_default();
                    let path = Path::root().key("objects").item(i).key("id");
                    self.refers(&path, Kind::Bucket, bucket, "s3.bucket");
                }
                Kind::RdsGlobal => self.members(&body, object),
                Kind::RdsSnapshot
                | Kind::RdsBackup
                | Kind::RdsCluster
                | Kind::S3Version
                | Kind::S3Upload
                | Kind::S3Underway
                | Kind::RdsSubnetGroup
                | Kind::RdsParameterGroup
                | Kind::HealthCheck
                | Kind::Change
                | Kind::Bucket
                | Kind::HealthEvent
                | Kind::Endpoint
                | Kind::Kubernetes
                | Kind::Program => {}
            }
        }
    }

    /// A global database's members are clusters of the world.
    fn members(&mut self, body: &Path, object: &WorldObject) {
        let fields = object.body.decode();
        let members = fields.get("GlobalClusterMembers").and_then(Value::as_array);
        for (i, member) in members.into_iter().flatten().enumerate() {
            let arn = member.get("DBClusterArn").and_then(Value::as_str).unwrap_or_default();
            let id = arn.rsplit(':').next().unwrap_or(arn);
            let path = body.key("GlobalClusterMembers").item(i).key("DBClusterArn");
            self.refers(&path, Kind::RdsCluster, id, "rds.cluster");
        }
    }

    fn records(&mut self, body: &Path, object: &WorldObject) {
        let fields = object.body.decode();
        let records = fields.get("ResourceRecordSets").and_then(Value::as_array);
        for (i, record) in records.into_iter().flatten().enumerate() {
            if let Some(check) = record.get("HealthCheckId").and_then(Value::as_str) {
                let path = body.key("ResourceRecordSets").item(i).key("HealthCheckId");
                self.refers(&path, Kind::HealthCheck, check, "route53.health_check");
            }
        }
    }

    fn clusters(&mut self) {
        for (region, cluster) in &self.world.clusters {
            let path = Path::root().key("clusters").key(region);
            self.region(&path, region);
            if cluster.broken.is_empty() {
                continue;
            }
            let known = self.workloads(region);
            for workload in cluster.broken.keys().filter(|workload| !known.contains(workload)) {
                let message = format!("the cluster of {region} has no workload `{workload}`");
                let path = path.key("broken").key(workload);
                self.missing(&path, message, workload, known.iter().map(String::as_str));
            }
        }
        self.manifests_twice();
        let endpoints = self.world.objects.iter().enumerate();
        for (i, object) in endpoints.filter(|(_, object)| object.kind == Kind::Endpoint) {
            let body = object.body.decode();
            let workloads = body.get("workloads").and_then(Value::as_array);
            let region = object.region.as_deref().unwrap_or_default();
            for (j, workload) in workloads.into_iter().flatten().enumerate() {
                let workload = workload.as_str().unwrap_or_default();
                let known = self.workloads(region);
                if !known.iter().any(|known| known == workload) {
                    let path = Path::root().key("objects").item(i).key("body");
                    let path = path.key("workloads").item(j);
                    let message = format!("the cluster of {region} has no workload `{workload}`");
                    self.missing(&path, message, workload, known.iter().map(String::as_str));
                }
            }
        }
    }

    /// A cluster has its manifests in two places: its own, and the objects of its region.
    fn manifests_twice(&mut self) {
        let objects = self.world.objects.iter().filter(|object| object.kind == Kind::Kubernetes);
        let mut seen: BTreeSet<(&str, String)> = objects
            .map(|object| (object.region.as_deref().unwrap_or_default(), object.id.clone()))
            .collect();
        for (region, cluster) in &self.world.clusters {
            for (i, manifest) in cluster.objects.iter().enumerate() {
                let id = manifest_id(manifest);
                if seen.contains(&(region.as_str(), id.clone())) {
                    let path = Path::root().key("clusters").key(region).key("objects").item(i);
                    self.wrong(&path, format!("`{id}` is there twice in the cluster of {region}"));
                }
                seen.insert((region, id));
            }
        }
    }

    fn workloads(&self, region: &str) -> Vec<String> {
        let cluster = self.world.clusters.get(region).into_iter();
        let own = cluster.flat_map(|cluster| cluster.objects.iter()).filter_map(|object| {
            let metadata = object.get("metadata")?;
            let namespace = metadata.get("namespace").and_then(Value::as_str).unwrap_or("default");
            Some(format!("{namespace}/{}", metadata.get("name")?.as_str()?))
        });
        let objects = self.world.objects.iter().filter(|object| object.kind == Kind::Kubernetes);
        let here = objects.filter(|object| object.region.as_deref() == Some(region));
        own.chain(here.filter_map(|object| Some(object.id.split_once('/')?.1.to_owned()))).collect()
    }
}
