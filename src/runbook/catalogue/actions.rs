//! Actions: their names, arguments and outputs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Output, Shape, Variable, schema_of};
use crate::outcome::Candidate;
use crate::span::Span;

/// Every action a step may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ActionName {
    CommandRun,
    DatabaseRepoint,
    KubernetesApply,
    KubernetesRestart,
    KubernetesScale,
    Manual,
    PostgresFence,
    RdsChooseRecoveryPoint,
    RdsPromoteReplica,
    RdsProtect,
    RdsRecover,
    RdsRestorePointInTime,
    RdsRestoreSnapshot,
    Route53Weights,
    S3FailoverObject,
    TrafficShift,
    Wait,
}

impl ActionName {
    /// All, in the order of their names.
    pub(crate) const ALL: [Self; 17] = [
        Self::CommandRun,
        Self::DatabaseRepoint,
        Self::KubernetesApply,
        Self::KubernetesRestart,
        Self::KubernetesScale,
        Self::Manual,
        Self::PostgresFence,
        Self::RdsChooseRecoveryPoint,
        Self::RdsPromoteReplica,
        Self::RdsProtect,
        Self::RdsRecover,
        Self::RdsRestorePointInTime,
        Self::RdsRestoreSnapshot,
        Self::Route53Weights,
        Self::S3FailoverObject,
        Self::TrafficShift,
        Self::Wait,
    ];

    /// Returns the name as runbooks write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CommandRun => "command.run",
            Self::DatabaseRepoint => "database.repoint",
            Self::KubernetesApply => "kubernetes.apply",
            Self::KubernetesRestart => "kubernetes.restart",
            Self::KubernetesScale => "kubernetes.scale",
            Self::Manual => "manual",
            Self::PostgresFence => "postgres.fence",
            Self::RdsChooseRecoveryPoint => "rds.choose_recovery_point",
            Self::RdsPromoteReplica => "rds.promote_replica",
            Self::RdsProtect => "rds.protect",
            Self::RdsRecover => "rds.recover",
            Self::RdsRestorePointInTime => "rds.restore_point_in_time",
            Self::RdsRestoreSnapshot => "rds.restore_snapshot",
            Self::Route53Weights => "route53.weights",
            Self::S3FailoverObject => "s3.failover_object",
            Self::TrafficShift => "traffic.shift",
            Self::Wait => "wait",
        }
    }

    /// Returns the action of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    /// Returns what it does, in a line.
    pub(crate) const fn say(self) -> &'static str {
        match self {
            Self::CommandRun => "Run a program (argv, no shell) in its own process group",
            Self::DatabaseRepoint => {
                "Tell the application its database's new endpoint and restart it"
            }
            Self::KubernetesApply => "Apply manifests by server-side apply",
            Self::KubernetesRestart => "Restart workloads, one rollout each",
            Self::KubernetesScale => {
                "Scale workloads, or raise the autoscaler's minimum where one owns them"
            }
            Self::Manual => "Have a person do something and say how they know it is done",
            Self::PostgresFence => {
                "Make a database refuse the application's writes, proved by a write that fails"
            }
            Self::RdsChooseRecoveryPoint => "Measure the recovery points and have one chosen",
            Self::RdsPromoteReplica => "Promote a read replica; cannot be undone",
            Self::RdsProtect => "Give the recovered database backups, Multi-AZ and a replica again",
            Self::RdsRecover => "Bring the database up from the chosen recovery point",
            Self::RdsRestorePointInTime => {
                "Restore a replicated automated backup beside the lost database"
            }
            Self::RdsRestoreSnapshot => "Restore a snapshot beside the lost database",
            Self::Route53Weights => {
                "Move the public record's answers by its weights or failover pair"
            }
            Self::S3FailoverObject => {
                "Move traffic by the failover object behind an inverted health check"
            }
            Self::TrafficShift => {
                "Move traffic by every method the estate has, the one without a control plane first"
            }
            Self::Wait => "Wait",
        }
    }

    /// Says whether the action proves its own result, so that a step may go without `verify`.
    pub(crate) const fn verifies_itself(self) -> bool {
        match self {
            Self::CommandRun | Self::KubernetesApply => false,
            Self::DatabaseRepoint
            | Self::KubernetesRestart
            | Self::KubernetesScale
            | Self::Manual
            | Self::PostgresFence
            | Self::RdsChooseRecoveryPoint
            | Self::RdsPromoteReplica
            | Self::RdsProtect
            | Self::RdsRecover
            | Self::RdsRestorePointInTime
            | Self::RdsRestoreSnapshot
            | Self::Route53Weights
            | Self::S3FailoverObject
            | Self::TrafficShift
            | Self::Wait => true,
        }
    }

    /// Says whether the action changes the estate; the others only ask, choose or wait.
    pub(crate) const fn changes(self) -> bool {
        match self {
            Self::Manual | Self::RdsChooseRecoveryPoint | Self::Wait => false,
            Self::CommandRun
            | Self::DatabaseRepoint
            | Self::KubernetesApply
            | Self::KubernetesRestart
            | Self::KubernetesScale
            | Self::PostgresFence
            | Self::RdsPromoteReplica
            | Self::RdsProtect
            | Self::RdsRecover
            | Self::RdsRestorePointInTime
            | Self::RdsRestoreSnapshot
            | Self::Route53Weights
            | Self::S3FailoverObject
            | Self::TrafficShift => true,
        }
    }

    /// Says whether the action can restore its before-image (`rollback: auto`).
    pub(crate) const fn reverts(self) -> bool {
        match self {
            // A promotion is for good; a person's work is a person's to undo.
            Self::RdsPromoteReplica | Self::Manual => false,
            // Undone by its own `undo` command, where it has one.
            Self::CommandRun
            | Self::DatabaseRepoint
            | Self::KubernetesApply
            | Self::KubernetesRestart
            | Self::KubernetesScale
            | Self::PostgresFence
            | Self::RdsChooseRecoveryPoint
            | Self::RdsProtect
            | Self::RdsRecover
            | Self::RdsRestorePointInTime
            | Self::RdsRestoreSnapshot
            | Self::Route53Weights
            | Self::S3FailoverObject
            | Self::TrafficShift
            | Self::Wait => true,
        }
    }

    /// Returns the JSON Schema of its `with`.
    pub(crate) fn schema(self) -> Value {
        match self {
            Self::CommandRun => schema_of::<CommandRun>(),
            Self::DatabaseRepoint => schema_of::<DatabaseRepoint>(),
            Self::KubernetesApply => schema_of::<KubernetesApply>(),
            Self::KubernetesRestart => schema_of::<KubernetesRestart>(),
            Self::KubernetesScale => schema_of::<KubernetesScale>(),
            Self::Manual => schema_of::<Manual>(),
            Self::PostgresFence => schema_of::<PostgresFence>(),
            Self::RdsChooseRecoveryPoint => schema_of::<ChooseRecoveryPoint>(),
            Self::RdsPromoteReplica => schema_of::<PromoteReplica>(),
            Self::RdsProtect => schema_of::<Protect>(),
            Self::RdsRecover => schema_of::<Recover>(),
            Self::RdsRestorePointInTime => schema_of::<RestorePointInTime>(),
            Self::RdsRestoreSnapshot => schema_of::<RestoreSnapshot>(),
            Self::Route53Weights | Self::S3FailoverObject | Self::TrafficShift => {
                schema_of::<TrafficShift>()
            }
            Self::Wait => schema_of::<Wait>(),
        }
    }

    /// Returns what later steps may use of it.
    pub(crate) const fn outputs(self) -> &'static [Output] {
        match self {
            Self::CommandRun => COMMAND_OUTPUTS,
            Self::RdsChooseRecoveryPoint => POINT_OUTPUTS,
            Self::RdsPromoteReplica
            | Self::RdsRecover
            | Self::RdsRestorePointInTime
            | Self::RdsRestoreSnapshot => DATABASE_OUTPUTS,
            Self::Manual => MANUAL_OUTPUTS,
            Self::Route53Weights | Self::S3FailoverObject | Self::TrafficShift => TRAFFIC_OUTPUTS,
            Self::DatabaseRepoint
            | Self::KubernetesApply
            | Self::KubernetesRestart
            | Self::KubernetesScale
            | Self::PostgresFence
            | Self::RdsProtect
            | Self::Wait => &[],
        }
    }
}

const COMMAND_OUTPUTS: &[Output] = &[
    Output { name: "exit", shape: Shape::Integer, say: "exit status of the program" },
    Output { name: "stdout", shape: Shape::String, say: "first 64 KiB of its standard output" },
];
const MANUAL_OUTPUTS: &[Output] =
    &[Output { name: "evidence", shape: Shape::String, say: "what the person said" }];
const TRAFFIC_OUTPUTS: &[Output] =
    &[Output { name: "method", shape: Shape::String, say: "the method that moved the traffic" }];
const POINT_OUTPUTS: &[Output] = &[
    Output {
        name: "point",
        shape: Shape::Object,
        say: "the chosen recovery point, for rds.recover",
    },
    Output {
        name: "method",
        shape: Shape::String,
        say: "promote, restore_point_in_time or restore_snapshot",
    },
    Output { name: "reversible", shape: Shape::Boolean, say: "false for a promotion" },
];
const DATABASE_OUTPUTS: &[Output] = &[
    Output {
        name: "instance",
        shape: Shape::String,
        say: "id of the instance that takes writes now",
    },
    Output {
        name: "address",
        shape: Shape::String,
        say: "its endpoint, host:port, as the application uses it",
    },
    Output {
        name: "identity",
        shape: Shape::String,
        say: "what tells this instance from the lost one",
    },
];

/// Arguments of `command.run`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandRun {
    /// Program and arguments; no shell
    pub argv: Vec<String>,
    /// Variables of the program; a secret input is read when the program is started
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
}

/// Arguments of `kubernetes.apply`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KubernetesApply {
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
    pub region: String,
    /// Deployments as `namespace/name`
    pub workloads: Vec<String>,
}

/// Arguments of `kubernetes.scale`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KubernetesScale {
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

/// Arguments of `postgres.fence`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresFence {
    /// Instance to fence
    pub instance: String,
    /// Region it is in
    pub region: String,
}

/// Arguments of `rds.choose_recovery_point`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChooseRecoveryPoint {
    pub region: String,
    /// Kind to take without asking: replica, backup or snapshot
    #[serde(default)]
    pub choose: Option<String>,
}

/// Arguments of `rds.recover`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recover {
    pub region: String,
    /// The chosen recovery point; the best one when left out
    #[serde(default)]
    pub point: Option<RecoveryPoint>,
}

/// A recovery point that was chosen: output `point` of `rds.choose_recovery_point`, detail of its candidates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecoveryPoint {
    pub method: RecoveryMethod,
    /// Replica id, automated backup ARN or snapshot id
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

/// Arguments of `rds.promote_replica`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PromoteReplica {
    pub region: String,
    pub replica: String,
}

/// Arguments of `rds.restore_point_in_time`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestorePointInTime {
    pub region: String,
    /// ARN of the replicated automated backup; the estate's when left out
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
    pub region: String,
    /// Snapshot; the newest of the primary in the region when left out
    #[serde(default)]
    pub snapshot: Option<String>,
    #[serde(default)]
    pub target: Option<String>,
}

/// Arguments of `rds.protect`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Protect {
    pub region: String,
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
    #[serde(rename = "for")]
    pub length: Span,
}
