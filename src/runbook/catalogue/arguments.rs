//! Arguments of actions. Every field says what it is: `show --actions`, editors and error messages use it.

mod postgres;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Variable;
use super::which::Experiments;
use crate::outcome::Candidate;
use crate::span::Span;
pub(crate) use postgres::{
    AssessTier, FenceScope, PostgresAnalyze, PostgresAssess, PostgresChooseRecoveryPoint,
    PostgresCutOver, PostgresDump, PostgresEvidence, PostgresFence, PostgresProve, PostgresRestore,
    PostgresRestorePointInTime,
};

/// Arguments of `command.run`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandRun {
    /// Program and arguments; no shell
    pub argv: Vec<String>,
    /// Further variables of the program; `inherit` hands on one that is otherwise taken out, a secret input is read when
    /// the program is started
    #[serde(default)]
    pub env: BTreeMap<String, Variable>,
    /// Working directory
    #[serde(default)]
    pub cwd: Option<String>,
    /// Program that undoes it; without one the step has no automatic rollback
    #[serde(default)]
    pub undo: Option<Vec<String>>,
    /// Program that only looks: exit 0 says the work is done already
    #[serde(default)]
    pub done_when: Option<Vec<String>>,
}

/// Arguments of `database.repoint`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DatabaseRepoint {
    /// Region whose application is told
    pub region: String,
    /// Instance it must use from now on
    pub instance: String,
    /// Its endpoint, host:port
    pub address: String,
    /// Damaged instance of the primary region that is given up by it: kept, and open as `damaged-NAME` until it is gone
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

/// Arguments of `experiments.rebuild`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExperimentsRebuild {
    /// Instance the experiments are on
    pub instance: String,
    /// Region it is in
    pub region: String,
    /// Database; the estate's own when left out
    #[serde(default)]
    pub database: Option<String>,
    /// Which of them: ids as a list, or as a text with commas between them; `all` when left out
    #[serde(default)]
    pub experiments: Experiments,
    /// Corrupt events up to which anything is written; 0 when left out
    #[serde(default)]
    pub max_corrupt: u64,
}

/// Arguments of `kubernetes.apply`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KubernetesApply {
    /// AWS region, as the estate names it
    pub region: String,
    /// File with manifests
    pub file: String,
    /// SHA-256 the file must have
    #[serde(default)]
    pub sha256: Option<String>,
}

/// Arguments of `kubernetes.restart`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KubernetesRestart {
    /// AWS region, as the estate names it
    pub region: String,
    /// Deployments as `namespace/name`
    pub workloads: Vec<String>,
}

/// Arguments of `kubernetes.scale`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KubernetesScale {
    /// AWS region, as the estate names it
    pub region: String,
    /// Workloads and their replicas; entries of the estate's service table fit as they are
    pub workloads: Vec<WorkloadScale>,
}

/// One workload to scale.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkloadScale {
    /// Deployment as `namespace/name`
    pub workload: String,
    /// Least number of ready replicas wanted; a workload that has more keeps them
    pub replicas: i32,
    /// Name of the service, for messages
    #[serde(default)]
    pub name: Option<String>,
    /// Its priority, for messages
    #[serde(default)]
    pub priority: Option<String>,
}

/// Arguments of `manual`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manual {
    /// What to do
    pub say: String,
    /// What the person must answer with; plain done/not done when left out
    #[serde(default)]
    pub evidence: Option<String>,
    /// Text ready to paste
    #[serde(default)]
    pub message: Option<String>,
    /// Due this long after the incident began
    #[serde(default)]
    pub due: Option<Span>,
    /// Goes on by itself, as an open obligation, where nobody can be asked
    #[serde(default)]
    pub later: bool,
}

/// Arguments of `rds.choose_recovery_point`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChooseRecoveryPoint {
    /// AWS region, as the estate names it
    pub region: String,
    /// Kind to take without asking: replica, backup or snapshot
    #[serde(default)]
    pub choose: Option<String>,
}

/// Arguments of `rds.cut_over`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RdsCutOver {
    /// AWS region both instances are in
    pub region: String,
    /// The damaged instance, by the name the application's endpoint has
    pub instance: String,
    /// The restored instance, which takes that name; this run must have made it
    pub restored: String,
}

/// Arguments of `rds.recover`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recover {
    /// AWS region, as the estate names it
    pub region: String,
    /// The chosen recovery point; the best one when left out
    #[serde(default)]
    pub point: Option<RecoveryPoint>,
    /// How far an automated backup is restored: `latest`, or `time INSTANT`; `latest` when left out or empty
    #[serde(default)]
    pub target: Option<String>,
}

/// A recovery point that was chosen: output `point` of the actions that have one chosen, detail of their candidates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecoveryPoint {
    /// How the database comes back
    pub method: RecoveryMethod,
    /// Replica id, snapshot id, or ARN: of an automated backup, or of the instance that keeps it in its own region
    pub source: String,
    /// Instance that will take writes
    pub target: String,
    /// An earlier run brought the target up already: nothing is left to do
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recovered: bool,
}

impl RecoveryPoint {
    /// Reads the point out of a chosen candidate.
    pub(crate) fn of(candidate: &Candidate) -> Result<Self, serde_json::Error> {
        serde_json::from_value(candidate.detail.clone())
    }
}

/// How a database comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RecoveryMethod {
    Promote,
    RestorePointInTime,
    RestoreSnapshot,
}

impl RecoveryMethod {
    /// All of them.
    pub(crate) const ALL: [Self; 3] =
        [Self::Promote, Self::RestorePointInTime, Self::RestoreSnapshot];
}

/// Arguments of `rds.promote_replica`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PromoteReplica {
    /// AWS region, as the estate names it
    pub region: String,
    /// DB instance identifier of the read replica
    pub replica: String,
}

/// Arguments of `rds.restore_point_in_time`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestorePointInTime {
    /// AWS region, as the estate names it
    pub region: String,
    /// ARN of the replicated automated backup, or of the instance whose own region it is; the estate's when left out
    #[serde(default)]
    pub backup: Option<String>,
    /// New instance; the estate's recovered instance when left out
    #[serde(default)]
    pub target: Option<String>,
    /// Instant to restore to (RFC 3339); the latest when left out
    #[serde(default)]
    pub time: Option<String>,
}

/// Arguments of `rds.restore_snapshot`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreSnapshot {
    /// AWS region, as the estate names it
    pub region: String,
    /// Snapshot; the newest of the primary in the region when left out
    #[serde(default)]
    pub snapshot: Option<String>,
    /// New instance; the estate's recovered instance when left out
    #[serde(default)]
    pub target: Option<String>,
}

/// Arguments of `rds.protect`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Protect {
    /// AWS region, as the estate names it
    pub region: String,
    /// DB instance identifier
    pub instance: String,
}

/// Arguments of `traffic.shift` and its methods.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrafficShift {
    /// Region traffic goes to
    pub to: String,
    /// Region it leaves
    pub from: String,
}

/// Arguments of `wait`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wait {
    /// How long, e.g. 30s; 0s does nothing
    #[serde(rename = "for")]
    pub length: Span,
    /// What there is to know before it, told where the step asks; then the step is a decision, and its wait is no change
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
}
