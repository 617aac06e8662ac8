//! The estate file's types: the systems a runbook acts on, as `phoenix-dr.yaml` describes them.
//!
//! Owns shapes only. Reading the file is [`super::load`], what the types cannot say is [`super::validate`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dumps::DumpsAt;
use super::essentials::Essentials;
use super::experiments::Experiments;
use super::own_server::{BaseBackups, OwnServer};
pub(crate) use super::people::{Contact, Severity, SeverityRule};
use crate::span::Span;

/// Everything phoenix-dr may act on, and how it reaches it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Estate {
    /// Where it was read from; a plan and a world keep it without that
    #[serde(skip)]
    pub file: Option<String>,
    /// Name of the estate: what the lease protects and what every screen shows
    pub estate: String,
    /// The region that normally takes writes and traffic
    pub primary: Primary,
    /// Every region the estate uses, by AWS region name
    pub regions: BTreeMap<String, Region>,
    /// Where the lease, facts and journal copies live
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// How before-images that hold secrets are kept; a step that changes a Secret has no automatic rollback without it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_images: Option<BeforeImages>,
    /// Where credentials come from, tried in order; break-glass last
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<CredentialSource>,
    /// The public name and how its answers are moved
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// The database
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
    /// Kubernetes clusters, by AWS region name
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clusters: BTreeMap<String, Cluster>,
    /// Buckets by the name runbooks use
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub buckets: BTreeMap<String, Bucket>,
    /// Services with their priority: what is restored, and in which order
    #[serde(default)]
    pub services: Vec<Service>,
    /// Objectives by priority; the procedures document's figures when left out
    #[serde(default = "super::defaults::objectives")]
    pub objectives: BTreeMap<Priority, Objective>,
    /// Whom to call
    #[serde(default)]
    pub contacts: Vec<Contact>,
    /// Who must be told how soon, by severity
    #[serde(default = "super::defaults::severities")]
    pub severities: BTreeMap<Severity, SeverityRule>,
}

/// How before-images that hold secrets are kept: encrypted, among the run's artifacts.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BeforeImages {
    /// Reference to the password they are encrypted with, of 20 characters or more
    pub password_from: SecretRef,
}

/// The region that normally takes writes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Primary {
    pub region: String,
}

/// One AWS region as the estate uses it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Region {
    /// Base URL of the application in this region, e.g. `https://api.us-west-2.phoenix.example`
    pub api: String,
    /// Address of the region's load balancer (`host` or `host:port`), used to reach it before DNS moves
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<String>,
    /// DB subnet group a restored instance is put in
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet_group: Option<String>,
    /// VPC security groups of a restored instance
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
    /// DB parameter group of a restored instance
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter_group: Option<String>,
    /// Service endpoints to use instead of AWS's own, e.g. an interface endpoint or a test server
    #[serde(default)]
    pub endpoints: Endpoints,
}

/// Endpoint URLs by service; `None` is AWS's own.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Endpoints {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rds: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route53: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sts: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
}

/// Shared state outside this machine.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    /// Bucket and prefix for the lease and facts
    pub s3: StateBucket,
}

/// A bucket in a region that survives the failure it is meant for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateBucket {
    pub bucket: String,
    pub region: String,
    /// Key prefix, without a slash at the end
    #[serde(default = "super::defaults::state_prefix")]
    pub prefix: String,
}

/// One place credentials may come from.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CredentialSource {
    /// Shown on screen and in the journal
    pub name: String,
    /// Named profile of the shared AWS configuration files; the default chain when left out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Used only when every other source failed, and said loudly
    #[serde(default)]
    pub break_glass: bool,
}

/// The record whose answers move.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dns {
    /// Route 53 hosted zone id
    pub zone: String,
    /// Record name, e.g. app.phoenix.example
    pub name: String,
    /// Record type
    #[serde(rename = "type", default = "super::defaults::record_type")]
    pub record_type: String,
    /// How the record set is built
    pub shape: RecordShape,
    /// Set identifier of each region's record
    pub records: BTreeMap<String, String>,
    /// URL that shows the service to be there for its users; `https://NAME/` when left out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Text its answer must contain; any 2xx will do when left out
    #[serde(default)]
    pub contains: String,
    /// Resolvers (`host:port`) whose answers are checked besides Route 53's own
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolvers: Vec<String>,
    /// Data-plane switch: an object whose presence turns an inverted health check unhealthy
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover_object: Option<FailoverObject>,
}

/// How the public record is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RecordShape {
    /// One weighted record per region
    Weighted,
    /// A PRIMARY and a SECONDARY failover record
    Failover,
}

/// An object in the surviving region's bucket that a health check looks at, inverted.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FailoverObject {
    pub bucket: String,
    pub region: String,
    pub key: String,
    /// Health check attached to the primary's record
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<String>,
    /// URL an anonymous GET must find the object at; the bucket's regional URL when left out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// The estate's PostgreSQL database.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    /// Database name inside the server
    pub name: String,
    pub primary: DatabaseInstance,
    /// Cross-region read replica
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<DatabaseInstance>,
    /// Replicated automated backup in the region that takes over
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automated_backup: Option<AutomatedBackup>,
    /// The instance a restore creates
    pub recovered: RecoveredInstance,
    /// How phoenix-dr itself connects
    pub connection: Connection,
    /// How this host reaches instances: `host:port` by instance id where it is not the instance's own endpoint
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub addresses: BTreeMap<String, String>,
    /// Port forward this host needs before it can connect
    #[serde(default)]
    pub via: Via,
    /// How the application learns its database endpoint
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<ApplicationEndpoint>,
    /// Measured restore time per GiB in seconds, for forecasts; 20 when left out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_seconds_per_gib: Option<u32>,
    /// Where dumps are written to and restored from, each with its manifest beside it: a directory, or a bucket
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dumps: Option<DumpsAt>,
    /// Base backups and archived WAL, of a server of one's own
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_backups: Option<BaseBackups>,
    /// Directory that copies of damaged servers are written to and kept in
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// Directory of PostgreSQL's programs; Debian's own and PATH when left out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<String>,
    /// What every copy of it must have and answer before the application is let in
    #[serde(default, skip_serializing_if = "Essentials::is_none")]
    pub essentials: Essentials,
    /// Where the application keeps its experiments and their events
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiments: Option<Experiments>,
}

impl Database {
    /// Says whether it is on RDS. That hands nobody a server's files: whoever says where those are, where they are to be
    /// kept, or where a server is made of them, has a server of their own.
    pub(crate) const fn on_rds(&self) -> bool {
        self.base_backups.is_none() && self.evidence.is_none() && self.recovered.server.is_none()
    }
}

/// One RDS instance.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DatabaseInstance {
    /// DB instance identifier
    pub id: String,
    pub region: String,
    /// `host:port`, where it is known without asking RDS
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Port forward to this instance, where it is another one than `database.via`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// Security group without ingress: cuts the lost primary off where PostgreSQL itself cannot be reached
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence_security_group: Option<String>,
}

/// Replicated automated backup.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AutomatedBackup {
    pub region: String,
    /// ARN; found by the primary's id when left out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
}

/// What a restore creates beside the lost database.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecoveredInstance {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    #[serde(default = "super::defaults::yes")]
    pub multi_az: bool,
    #[serde(default = "super::defaults::yes")]
    pub deletion_protection: bool,
    /// Days automated backups are kept
    #[serde(default = "super::defaults::backup_retention_days")]
    pub backup_retention_days: i32,
    /// Port forward to this instance, where it is another one than `database.via`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// Where it is on this host, when it is no instance of RDS
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<OwnServer>,
}

/// How phoenix-dr connects to PostgreSQL.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Connection {
    pub user: String,
    /// Reference to the password; the value itself is refused
    pub password_from: SecretRef,
    /// `require` verifies chain and host; `disable` only for loopback
    #[serde(default)]
    pub tls: TlsMode,
    /// PEM file with the CA certificates of RDS
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_cert: Option<String>,
    /// Roles of the application: the fence blocks exactly these and proves it by a write as each
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub application_roles: Vec<String>,
}

/// Whether a PostgreSQL connection is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TlsMode {
    #[default]
    Require,
    Disable,
}

/// Where a secret is read from; exactly one of the three.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretRef {
    /// Environment variable
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// File whose first line is the secret
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Command (argv) that prints the secret
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Input that a person was asked for at the terminal: in no file, only in plans and journals
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub asked: Option<String>,
}

/// How this host reaches something.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Via {
    /// Command (argv) phoenix-dr starts and ends, e.g. a port forward; direct when left out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// `host:port` that answers once the command is ready
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
}

/// How the application learns where its database is: exactly one of secret, config_map, cname and service, or none beside
/// `rename`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApplicationEndpoint {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ObjectKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ObjectKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cname: Option<CnameRecord>,
    /// Service of type `ExternalName`: its `externalName` is the host
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// On RDS: an instance that is restored beside the damaged one, in the same region, takes its name and endpoint instead
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rename: bool,
    /// Deployments restarted so that their pods read the new endpoint, as `namespace/name`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart: Vec<String>,
    /// Label selector (`namespace` and `selector`) of the pods that must be seen connected
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodSelector>,
}

/// A key of a Secret or ConfigMap that holds the endpoint.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectKey {
    pub namespace: String,
    pub name: String,
    /// Key that holds the host name
    pub host_key: String,
    /// Key that holds the port, where the application reads it apart
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_key: Option<String>,
}

/// A private record the application connects through.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CnameRecord {
    pub zone: String,
    pub name: String,
    #[serde(default = "super::defaults::cname_ttl")]
    pub ttl: i64,
}

/// A Service of a cluster.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceName {
    pub namespace: String,
    pub name: String,
}

/// Pods by label.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PodSelector {
    pub namespace: String,
    pub selector: String,
}

/// One Kubernetes cluster.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cluster {
    /// Context in the kubeconfig, always named: never the current one
    pub context: String,
    /// Kubeconfig file; KUBECONFIG or ~/.kube/config when left out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<String>,
    #[serde(default)]
    pub via: Via,
}

/// A bucket runbooks refer to.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bucket {
    pub bucket: String,
    pub region: String,
}

/// A service of the platform, restored by priority.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    pub name: String,
    pub priority: Priority,
    /// Workload as `namespace/name` of a Deployment, where it runs on Kubernetes
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Replicas the region that takes over must have
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
}

/// Restoration priority.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub(crate) enum Priority {
    P0,
    P1,
    P2,
    P3,
}

/// Recovery objectives of a priority.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Objective {
    /// Recovery time objective
    pub rto: Span,
    /// Longest recovery time: exceeded, a run that finished ends with 11; the runbook's own when left out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_max: Option<Span>,
    /// Recovery point objective
    pub rpo: Span,
}
