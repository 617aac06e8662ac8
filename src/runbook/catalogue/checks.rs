//! Checks: their names and arguments.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schema_of;
use crate::runbook::schema::Check;
use crate::span::Span;

/// Every check a gate or a verification may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum CheckName {
    AwsHealth,
    Command,
    Dns,
    Http,
    KubernetesPods,
    KubernetesRollout,
    PostgresConnections,
    PostgresEssentials,
    PostgresQuery,
    Quorum,
    RdsStatus,
    Route53Answer,
    S3Object,
    Tcp,
}

impl CheckName {
    /// All, in the order of their names.
    pub(crate) const ALL: [Self; 14] = [
        Self::AwsHealth,
        Self::Command,
        Self::Dns,
        Self::Http,
        Self::KubernetesPods,
        Self::KubernetesRollout,
        Self::PostgresConnections,
        Self::PostgresEssentials,
        Self::PostgresQuery,
        Self::Quorum,
        Self::RdsStatus,
        Self::Route53Answer,
        Self::S3Object,
        Self::Tcp,
    ];

    /// Returns the name as runbooks write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AwsHealth => "aws.health",
            Self::Command => "command",
            Self::Dns => "dns",
            Self::Http => "http",
            Self::KubernetesPods => "kubernetes.pods",
            Self::KubernetesRollout => "kubernetes.rollout",
            Self::PostgresConnections => "postgres.connections",
            Self::PostgresEssentials => "postgres.essentials",
            Self::PostgresQuery => "postgres.query",
            Self::Quorum => "quorum",
            Self::RdsStatus => "rds.status",
            Self::Route53Answer => "route53.answer",
            Self::S3Object => "s3.object",
            Self::Tcp => "tcp",
        }
    }

    /// Returns the check of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|check| check.name() == name)
    }

    /// Returns what it looks at, in a line.
    pub(crate) const fn say(self) -> &'static str {
        match self {
            Self::AwsHealth => {
                "Open AWS Health events of a region; inconclusive without a support plan"
            }
            Self::Command => {
                "A program that only reads; exit 0 holds, 1 fails, anything else is inconclusive"
            }
            Self::Dns => "What a resolver answers for a name",
            Self::Http => "What a URL answers, or that it cannot be reached",
            Self::KubernetesPods => "Pods by label: how many are ready",
            Self::KubernetesRollout => "Workloads rolled out and ready, by observed generation",
            Self::PostgresConnections => "Pods by label that hold a connection to an instance",
            Self::PostgresEssentials => {
                "Whether a database answers true to all that the estate says the application cannot do without"
            }
            Self::PostgresQuery => "One value read by SQL in a read-only transaction",
            Self::Quorum => "At least so many of several checks, with a control from this host",
            Self::RdsStatus => "State of an RDS instance, or that RDS cannot be reached",
            Self::Route53Answer => "What Route 53 itself would answer",
            Self::S3Object => "Whether an object exists",
            Self::Tcp => "Whether an address accepts a connection, or cannot be reached",
        }
    }

    /// Returns the JSON Schema of its `with`.
    pub(crate) fn schema(self) -> Value {
        match self {
            Self::AwsHealth => schema_of::<AwsHealth>(),
            Self::Command => schema_of::<Command>(),
            Self::Dns => schema_of::<Dns>(),
            Self::Http => schema_of::<Http>(),
            Self::KubernetesPods => schema_of::<KubernetesPods>(),
            Self::KubernetesRollout => schema_of::<KubernetesRollout>(),
            Self::PostgresConnections => schema_of::<PostgresConnections>(),
            Self::PostgresEssentials => schema_of::<PostgresEssentials>(),
            Self::PostgresQuery => schema_of::<PostgresQuery>(),
            Self::Quorum => schema_of::<Quorum>(),
            Self::RdsStatus => schema_of::<RdsStatus>(),
            Self::Route53Answer => schema_of::<Route53Answer>(),
            Self::S3Object => schema_of::<S3Object>(),
            Self::Tcp => schema_of::<Tcp>(),
        }
    }
}

/// What a reachability check expects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reach {
    /// It answers
    #[default]
    Reachable,
    /// Refused, reset or timed out, while the control answered in the same round
    Unreachable,
}

/// Arguments of `http`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    /// URL that is asked
    pub url: String,
    /// `unreachable` holds when it cannot be reached while the control answers
    #[serde(default)]
    pub expect: Reach,
    /// Status wanted; any 2xx when left out
    #[serde(default)]
    pub status: Option<u16>,
    /// Text the body must contain
    #[serde(default)]
    pub contains: Option<String>,
    /// Connect to this `host:port` instead of what the URL's name resolves to; the Host header and TLS name stay
    #[serde(default)]
    pub connect_to: Option<String>,
    /// Time for the whole request; 3s when left out
    #[serde(default)]
    pub timeout: Option<Span>,
    /// URL that must answer from this host for `unreachable` to hold; a quorum's control serves when left out
    #[serde(default)]
    pub control: Option<String>,
}

/// Arguments of `tcp`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tcp {
    /// `host:port`; exactly one of `address` and `instance`
    #[serde(default)]
    pub address: Option<String>,
    /// Database instance of the estate, reached as `database.addresses` and `via` say
    #[serde(default)]
    pub instance: Option<String>,
    /// `unreachable` holds when it cannot be reached while the control answers
    #[serde(default)]
    pub expect: Reach,
    /// Time for one look; 3s when left out
    #[serde(default)]
    pub timeout: Option<Span>,
    /// URL that must answer from this host for `unreachable` to hold; a quorum's control serves when left out
    #[serde(default)]
    pub control: Option<String>,
}

/// Arguments of `dns`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dns {
    /// Name that is asked for
    pub name: String,
    /// Record type, e.g. A or CNAME; A when left out
    #[serde(rename = "type", default)]
    pub record_type: Option<String>,
    /// Resolver `host:port`; this host's own when left out
    #[serde(default)]
    pub resolver: Option<String>,
    /// Answers that must all be among the given ones
    #[serde(default)]
    pub only: Vec<String>,
    /// Answers none of which may be given
    #[serde(default)]
    pub never: Vec<String>,
}

/// Arguments of `quorum`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quorum {
    /// Votes that must hold
    pub holds: u32,
    /// URL that must answer from this host in the same round
    #[serde(default)]
    pub control: Option<String>,
    /// The checks that vote
    pub of: Vec<Check>,
}

/// Arguments of `aws.health`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AwsHealth {
    /// Region that may be in trouble
    pub region: String,
    /// Services looked at; all when left out
    #[serde(default)]
    pub services: Vec<String>,
}

/// Arguments of `rds.status`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RdsStatus {
    /// AWS region, as the estate names it
    pub region: String,
    /// DB instance identifier
    pub instance: String,
    /// `unreachable` holds when it cannot be reached while the control answers
    #[serde(default)]
    pub expect: Reach,
    /// States that hold; `available` when left out. `deleted`: it is not there any more
    #[serde(default)]
    pub states: Vec<String>,
    /// URL that must answer from this host for `unreachable` to hold; a quorum's control serves when left out
    #[serde(default)]
    pub control: Option<String>,
}

/// Arguments of `route53.answer`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route53Answer {
    /// Region whose record must be the only one that can be answered
    pub region: String,
}

/// Arguments of `s3.object`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct S3Object {
    /// AWS region, as the estate names it
    pub region: String,
    /// Bucket name
    pub bucket: String,
    /// Key of the object
    pub key: String,
    /// False: it must not exist
    #[serde(default = "yes")]
    pub exists: bool,
}

const fn yes() -> bool {
    true
}

/// Arguments of `kubernetes.rollout`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KubernetesRollout {
    /// AWS region, as the estate names it
    pub region: String,
    /// Deployments as `namespace/name`
    pub workloads: Vec<String>,
}

/// Arguments of `kubernetes.pods`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KubernetesPods {
    /// AWS region, as the estate names it
    pub region: String,
    /// Namespace of the pods
    pub namespace: String,
    /// Label selector, e.g. app=api
    pub selector: String,
    /// Least number that must be ready
    #[serde(default = "one")]
    pub ready: u32,
}

const fn one() -> u32 {
    1
}

/// Arguments of `postgres.query`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresQuery {
    /// Instance id; reached as the estate says
    pub instance: String,
    /// AWS region, as the estate names it
    pub region: String,
    /// One statement that returns one row; its first column is `value`
    pub sql: String,
    /// Instance this one must not be: fails where both connections lead to one server
    #[serde(default)]
    pub other_than: Option<String>,
}

/// Arguments of `postgres.essentials`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresEssentials {
    /// Instance id; reached as the estate says
    pub instance: String,
    /// AWS region, as the estate names it
    pub region: String,
    /// Database that is asked; the estate's own when left out
    #[serde(default)]
    pub database: Option<String>,
}

/// Arguments of `postgres.connections`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresConnections {
    /// Instance that must have the connections
    pub instance: String,
    /// AWS region, as the estate names it
    pub region: String,
    /// Least number of pods that must be seen connected; all of the estate's `application.pods` when left out
    #[serde(default)]
    pub pods: Option<u32>,
}

/// Arguments of `command`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Command {
    /// Program and arguments; no shell
    pub argv: Vec<String>,
    /// The author vouches that it changes nothing; without it a dry run does not run it
    #[serde(default)]
    pub reads_only: bool,
    /// Time for one look; 3s when left out
    #[serde(default)]
    pub timeout: Option<Span>,
}
