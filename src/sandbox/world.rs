//! World files: what a simulated estate consists of and how it behaves, as `docs/world.schema.json` describes them.
//!
//! Owns the file's types and its reading as YAML; [`super::lines`] reads the form captures have. What the types cannot
//! say is [`super::validate`]; what happens to a world while somebody acts on it is [`super::objects`] and the services.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use super::durations::{Durations, Timed};
use super::fault::Rule;
use super::lines::{self, Line};
use super::salvage::{self, Salvaged, salvage};
use super::validate::{Depth, Places};
use crate::estate::types::Estate;
use crate::runbook::problem::Problems;
use crate::runbook::yaml;
use crate::span::Span;

/// The format of world files this version reads.
pub(crate) const FORMAT: u32 = 1;

/// The world that comes with the program.
pub(crate) const SHIPPED: &str = "phoenix";

/// A simulated estate.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct World {
    /// Name of the world
    pub world: String,
    /// Format of this file: 1
    pub format: u32,
    /// What it shows, in a sentence
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// When it was captured from a real estate; left out where it was written by hand
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub captured: Option<Timestamp>,
    /// The estate file it was made from, of whose names alone it knows; left out where it was not made so
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_from: Option<String>,
    /// Names were replaced by others when it was captured
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pseudonyms: bool,
    /// What could not be seen when it was captured, and what was taken for granted instead; all that was guessed where
    /// it was made from an estate file
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<Unseen>,
    /// Lines after this one, in a file of lines: a file that was cut short is noticed
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// AWS account
    #[serde(default = "account")]
    pub account: String,
    /// The estate, as in `phoenix-dr.yaml`
    pub estate: Estate,
    /// How long things take
    #[serde(default)]
    pub durations: Durations,
    /// What is broken from the start
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Rule>,
    /// Everything outside of Kubernetes
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<WorldObject>,
    /// Kubernetes clusters by region
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clusters: BTreeMap<String, WorldCluster>,
    /// The file it was read from, where that is one of lines
    #[serde(skip)]
    #[schemars(skip)]
    pub text: Option<Arc<str>>,
}

/// Something nobody saw when a world was captured, or made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unseen {
    /// What it is
    pub what: String,
    /// Its region; left out for what has none
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Why, or what the world has in its place
    pub why: String,
}

impl World {
    /// Returns the names of the lengths that were measured, and of those that are guesses.
    pub(crate) fn lengths(&self) -> (Vec<String>, Vec<String>) {
        let (mut measured, mut guessed) = self.durations.told();
        for (region, cluster) in &self.clusters {
            let known = self.durations.measured && !cluster.startup.is_guess();
            let told = if known { &mut measured } else { &mut guessed };
            told.push(format!("startup of pods in {region}"));
        }
        (measured, guessed)
    }
}

fn account() -> String {
    "123456789012".to_owned()
}

/// What an object is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub(crate) enum Kind {
    #[serde(rename = "rds.instance")]
    RdsInstance,
    #[serde(rename = "rds.snapshot")]
    RdsSnapshot,
    #[serde(rename = "rds.automated_backup")]
    RdsBackup,
    #[serde(rename = "rds.subnet_group")]
    RdsSubnetGroup,
    #[serde(rename = "rds.parameter_group")]
    RdsParameterGroup,
    #[serde(rename = "rds.cluster")]
    RdsCluster,
    #[serde(rename = "rds.global_cluster")]
    RdsGlobal,
    /// What instances are put in; of its rules a world says nothing
    #[serde(rename = "ec2.security_group")]
    SecurityGroup,
    #[serde(rename = "route53.zone")]
    Zone,
    #[serde(rename = "route53.health_check")]
    HealthCheck,
    #[serde(rename = "route53.change")]
    Change,
    #[serde(rename = "s3.bucket")]
    Bucket,
    #[serde(rename = "s3.object")]
    S3Object,
    /// An older version of an object, or a delete marker
    #[serde(rename = "s3.version")]
    S3Version,
    /// An upload in parts that is under way, or one of its parts
    #[serde(rename = "s3.upload")]
    S3Upload,
    /// An object on its way into another bucket
    #[serde(rename = "s3.underway")]
    S3Underway,
    #[serde(rename = "health.event")]
    HealthEvent,
    /// Something that answers HTTP and TCP
    #[serde(rename = "endpoint")]
    Endpoint,
    /// What SQL finds behind an RDS instance of the same id
    #[serde(rename = "postgres")]
    Postgres,
    /// A manifest of a region's cluster; its id is `Kind/namespace/name`
    #[serde(rename = "kubernetes.object")]
    Kubernetes,
    /// Whether a step's program has done its work; its id is the step's
    #[serde(rename = "program")]
    Program,
}

impl Kind {
    /// Returns the names of all kinds.
    pub(crate) fn names() -> Vec<String> {
        let schema = schemars::schema_for!(Kind).to_value();
        let ways = schema["oneOf"].as_array().into_iter().flatten();
        ways.flat_map(|way| {
            let several = way["enum"].as_array().into_iter().flatten();
            several.chain(way.get("const"))
        })
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
    }

    /// Says whether objects of this kind belong to no region.
    pub(crate) const fn is_global(self) -> bool {
        match self {
            Self::RdsGlobal
            | Self::Zone
            | Self::HealthCheck
            | Self::Change
            | Self::HealthEvent
            | Self::Program => true,
            Self::RdsInstance
            | Self::RdsSnapshot
            | Self::RdsBackup
            | Self::RdsSubnetGroup
            | Self::RdsParameterGroup
            | Self::RdsCluster
            | Self::SecurityGroup
            | Self::Bucket
            | Self::S3Object
            | Self::S3Version
            | Self::S3Upload
            | Self::S3Underway
            | Self::Endpoint
            | Self::Postgres
            | Self::Kubernetes => false,
        }
    }

    /// Returns its name in files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::RdsInstance => "rds.instance",
            Self::RdsSnapshot => "rds.snapshot",
            Self::RdsBackup => "rds.automated_backup",
            Self::RdsSubnetGroup => "rds.subnet_group",
            Self::RdsParameterGroup => "rds.parameter_group",
            Self::RdsCluster => "rds.cluster",
            Self::RdsGlobal => "rds.global_cluster",
            Self::SecurityGroup => "ec2.security_group",
            Self::S3Version => "s3.version",
            Self::S3Upload => "s3.upload",
            Self::S3Underway => "s3.underway",
            Self::Zone => "route53.zone",
            Self::HealthCheck => "route53.health_check",
            Self::Change => "route53.change",
            Self::Bucket => "s3.bucket",
            Self::S3Object => "s3.object",
            Self::HealthEvent => "health.event",
            Self::Endpoint => "endpoint",
            Self::Postgres => "postgres",
            Self::Kubernetes => "kubernetes.object",
            Self::Program => "program",
        }
    }
}

/// One object of a world.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorldObject {
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Its region; left out for what has none
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    pub id: String,
    /// As the AWS CLI prints it, where it is AWS's. A text `now`, `now-7s` or `now+1h` is an instant counted from the
    /// beginning of the rehearsal
    #[schemars(with = "Map<String, Value>")]
    pub body: Body,
    /// What becomes of it by itself, in order
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<WorldDue>,
}

/// What an object is; that of a file of lines is decoded when somebody asks for it.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Map<String, Value>")]
pub(crate) enum Body {
    Known(Map<String, Value>),
    Line(Line),
}

impl From<Map<String, Value>> for Body {
    fn from(body: Map<String, Value>) -> Self {
        Self::Known(body)
    }
}

impl Serialize for Body {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.decode().serialize(serializer)
    }
}

impl Body {
    /// Returns its fields.
    pub(crate) fn decode(&self) -> Cow<'_, Map<String, Value>> {
        match self {
            Self::Known(body) => Cow::Borrowed(body),
            Self::Line(line) => Cow::Owned(line.body()),
        }
    }
}

/// A change that comes by itself.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorldDue {
    /// How long after the beginning
    pub after: Span,
    /// Fields that get these values; null takes one away
    pub set: Map<String, Value>,
}

/// One Kubernetes cluster.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorldCluster {
    /// Until a pod is ready; measured where `durations.measured` says so
    #[serde(default = "startup", skip_serializing_if = "Timed::is_guess")]
    pub startup: Timed<Span>,
    /// Pods that find a place
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    /// Workloads (`namespace/name`) whose pods never become ready, and why
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub broken: BTreeMap<String, String>,
    /// Manifests
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<Map<String, Value>>,
}

impl Default for WorldCluster {
    fn default() -> Self {
        Self { startup: startup(), capacity: None, broken: BTreeMap::new(), objects: Vec::new() }
    }
}

fn startup() -> Timed<Span> {
    Timed::guess(Span::seconds(25))
}

/// What answers HTTP and TCP at an address.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Endpoint {
    /// Names it is reached by
    #[schemars(inner(length(min = 1)))]
    pub hosts: Vec<String>,
    /// IP address its names resolve to
    #[schemars(extend("format" = "ip"))]
    pub address: String,
    /// Ports it listens on; on any other a connection is refused
    #[schemars(inner(range(min = 1)))]
    pub ports: Vec<u16>,
    /// Status of its answers to HTTP
    #[serde(default = "ok")]
    #[schemars(range(min = 100, max = 599))]
    pub status: u16,
    /// Body of its answers to HTTP
    #[serde(default)]
    pub body: String,
    /// Answers 503 unless these workloads (`namespace/name`) of its region have a ready pod
    #[serde(default)]
    pub workloads: Vec<String>,
    /// Answers 503 unless the application's pods are connected to a database that takes writes
    #[serde(default)]
    pub database: bool,
    /// Paths that are answered whatever stands behind it is like
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub alive: BTreeSet<String>,
}

const fn ok() -> u16 {
    200
}

/// What SQL finds behind an RDS instance.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Postgres {
    /// System identifier: a replica has its primary's
    pub system: String,
    /// Timeline: how often it or what it follows was promoted, from 1 on
    #[serde(default = "first")]
    #[schemars(range(min = 1))]
    pub timeline: u32,
    /// Commit time of the last transaction a replica has replayed
    #[serde(default)]
    #[schemars(with = "Option<super::bodies::Instant>")]
    pub replayed: Option<Timestamp>,
    /// Roles of the application and whether each may log in
    pub roles: BTreeMap<String, bool>,
    /// The database's own `default_transaction_read_only`
    #[serde(default)]
    pub read_only: Option<String>,
    /// Sessions of the application from outside of the simulated clusters
    #[serde(default)]
    pub sessions: u32,
    /// Tables of this program that were made
    #[serde(default)]
    pub tables: BTreeSet<String>,
    /// Heartbeats of runs
    #[serde(default)]
    pub heartbeats: BTreeMap<String, Heartbeat>,
    /// What a fence changed: what it was before
    #[serde(default)]
    pub fence: BTreeMap<String, Option<String>>,
    /// Values of further queries, by the query's text
    #[serde(default)]
    pub answers: BTreeMap<String, Value>,
}

/// A run's heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Heartbeat {
    /// System identifier and timeline of the server it was written to
    pub identity: String,
    /// In microseconds since 1970
    pub at: i64,
}

const fn first() -> u32 {
    1
}

/// Reads a world's text as a rehearsal begins with it. A large one is kept, for its objects are decoded when somebody
/// asks for them.
pub(crate) fn parse(name: &str, text: impl Into<Arc<str>>) -> Result<World, Problems> {
    checked(name, text.into(), Depth::Start)
}

/// Reads a world's text and looks into everything, however large it is.
pub(crate) fn parse_whole(name: &str, text: impl Into<Arc<str>>) -> Result<World, Problems> {
    checked(name, text.into(), Depth::Whole)
}

fn checked(name: &str, text: Arc<str>, depth: Depth) -> Result<World, Problems> {
    read(name, text, depth).map_err(|problems| problems.checked_by("phoenix-dr world validate"))
}

fn read(name: &str, text: Arc<str>, depth: Depth) -> Result<World, Problems> {
    let lines = lines::are(&text);
    if let Some(problem) = super::cut::found(name, &text, lines) {
        return Err(Problems::new(name, text, vec![problem]));
    }
    if lines {
        return lines::read(name, text, depth);
    }
    let (document, mut problems) = yaml::read_leniently(name, &text)?;
    let Salvaged { value, lost, findings } = match World::deserialize(&document.value) {
        Ok(world) => Salvaged::whole(world),
        Err(_) => salvage(&document.value, salvage::of_world),
    };
    problems.extend(findings.into_iter().map(|finding| document.problem(finding)));
    let Some(world) = value else { return Err(document.problems(problems)) };
    let places = Places { index: &document.index, text: &text, lost, rows: None };
    problems.extend(super::validate::check(&world, &places, Depth::Whole));
    if !problems.is_empty() {
        return Err(document.problems(problems));
    }
    lines::completed(world)
}

/// Returns the text of a world that comes with the program.
pub(crate) fn shipped(name: &str) -> Option<&'static str> {
    match name {
        SHIPPED => Some(include_str!("worlds/phoenix.yaml")),
        "phoenix-corrupt" => Some(include_str!("worlds/phoenix-corrupt.yaml")),
        _ => None,
    }
}

/// Returns the JSON Schema of world files, with that of each kind's body.
#[cfg(test)]
pub(crate) fn schema() -> Value {
    let mut schema = crate::runbook::shape::Schema::of::<World>().root().clone();
    super::bodies::document(&mut schema);
    schema
}

/// Replaces texts like `now-7s` by instants.
pub(super) fn resolve_instants(value: &mut Value, now: Timestamp) {
    match value {
        Value::String(text) => {
            if let Some(instant) = instant(text, now) {
                *text = stamp(instant);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| resolve_instants(item, now)),
        Value::Object(entries) => {
            entries.values_mut().for_each(|entry| resolve_instants(entry, now));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn instant(text: &str, now: Timestamp) -> Option<Timestamp> {
    let rest = text.strip_prefix("now")?;
    if rest.is_empty() {
        return Some(now);
    }
    let span = |text: &str| {
        let span: Span = text.parse().ok()?;
        SignedDuration::try_from(span.0).ok()
    };
    match rest.split_at(1) {
        ("-", length) => now.checked_sub(span(length)?).ok(),
        ("+", length) => now.checked_add(span(length)?).ok(),
        _ => None,
    }
}

/// Returns an instant as AWS prints it.
pub(super) fn stamp(instant: Timestamp) -> String {
    instant.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}
