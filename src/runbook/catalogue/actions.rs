//! Actions: their names and outputs; their arguments are in [`super::arguments`].

use serde_json::{Map, Value};

pub(crate) use super::arguments::{
    AssessTier, ChooseRecoveryPoint, CommandRun, DatabaseRepoint, ExperimentsRebuild, FenceScope,
    KubernetesApply, KubernetesRestart, KubernetesScale, Manual, PostgresAnalyze, PostgresAssess,
    PostgresChooseRecoveryPoint, PostgresCutOver, PostgresDump, PostgresEvidence, PostgresFence,
    PostgresProve, PostgresRestore, PostgresRestorePointInTime, PromoteReplica, Protect,
    RdsCutOver, Recover, RecoveryMethod, RecoveryPoint, RestorePointInTime, RestoreSnapshot,
    TrafficShift, Wait, WorkloadScale,
};
use super::outputs::{
    ASSESS_OUTPUTS, CHOICE_OUTPUTS, COMMAND_OUTPUTS, CUT_OVER_OUTPUTS, DATABASE_OUTPUTS,
    DUMP_OUTPUTS, EVIDENCE_OUTPUTS, EXPERIMENTS_OUTPUTS, MANUAL_OUTPUTS, POINT_OUTPUTS,
    PROOF_OUTPUTS, RDS_CUT_OVER_OUTPUTS, RESTORE_OUTPUTS, SERVER_OUTPUTS, TRAFFIC_OUTPUTS,
};
pub(crate) use super::which::Tables;
use super::{Output, schema_of};

/// Every action a step may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ActionName {
    CommandRun,
    DatabaseRepoint,
    ExperimentsRebuild,
    KubernetesApply,
    KubernetesRestart,
    KubernetesScale,
    Manual,
    PostgresAnalyze,
    PostgresAssess,
    PostgresChooseRecoveryPoint,
    PostgresCutOver,
    PostgresDump,
    PostgresEvidence,
    PostgresFence,
    PostgresProve,
    PostgresRestore,
    PostgresRestorePointInTime,
    RdsChooseRecoveryPoint,
    RdsCutOver,
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
    pub(crate) const ALL: [Self; 28] = [
        Self::CommandRun,
        Self::DatabaseRepoint,
        Self::ExperimentsRebuild,
        Self::KubernetesApply,
        Self::KubernetesRestart,
        Self::KubernetesScale,
        Self::Manual,
        Self::PostgresAnalyze,
        Self::PostgresAssess,
        Self::PostgresChooseRecoveryPoint,
        Self::PostgresCutOver,
        Self::PostgresDump,
        Self::PostgresEvidence,
        Self::PostgresFence,
        Self::PostgresProve,
        Self::PostgresRestore,
        Self::PostgresRestorePointInTime,
        Self::RdsChooseRecoveryPoint,
        Self::RdsCutOver,
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
            Self::ExperimentsRebuild => "experiments.rebuild",
            Self::KubernetesApply => "kubernetes.apply",
            Self::KubernetesRestart => "kubernetes.restart",
            Self::KubernetesScale => "kubernetes.scale",
            Self::Manual => "manual",
            Self::PostgresAnalyze => "postgres.analyze",
            Self::PostgresAssess => "postgres.assess",
            Self::PostgresChooseRecoveryPoint => "postgres.choose_recovery_point",
            Self::PostgresCutOver => "postgres.cut_over",
            Self::PostgresDump => "postgres.dump",
            Self::PostgresEvidence => "postgres.evidence",
            Self::PostgresFence => "postgres.fence",
            Self::PostgresProve => "postgres.prove",
            Self::PostgresRestore => "postgres.restore",
            Self::PostgresRestorePointInTime => "postgres.restore_point_in_time",
            Self::RdsChooseRecoveryPoint => "rds.choose_recovery_point",
            Self::RdsCutOver => "rds.cut_over",
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

    /// Says whether it has a recovery point chosen, which `--recovery-point` names.
    pub(crate) const fn chooses_recovery_point(self) -> bool {
        matches!(self, Self::PostgresChooseRecoveryPoint | Self::RdsChooseRecoveryPoint)
    }

    /// Returns what it does, in a line.
    pub(crate) const fn say(self) -> &'static str {
        match self {
            Self::CommandRun => "Run a program (argv, no shell) in its own process group",
            Self::DatabaseRepoint => {
                "Tell the application its database's new endpoint and restart it"
            }
            Self::ExperimentsRebuild => {
                "Rebuild experiments from their events, and list every event that is corrupt"
            }
            Self::KubernetesApply => "Apply manifests by server-side apply",
            Self::KubernetesRestart => "Restart workloads, one rollout each",
            Self::KubernetesScale => {
                "Scale workloads, or raise the autoscaler's minimum where one owns them"
            }
            Self::Manual => "Have a person do something and say how they know it is done",
            Self::PostgresAnalyze => "Gather the planner's statistics of a restored database",
            Self::PostgresAssess => {
                "Read a database in full and say what of it is damaged, and where; changes nothing"
            }
            Self::PostgresChooseRecoveryPoint => {
                "Measure dumps, base backups and what RDS has, and have one chosen"
            }
            Self::PostgresCutOver => {
                "Give the restored database the damaged one's name, and keep that under another"
            }
            Self::PostgresDump => "Dump a database, with a manifest of exactly what is in it",
            Self::PostgresEvidence => {
                "Keep a server as it is, damage and all, before anything is written: its files, or on RDS a snapshot"
            }
            Self::PostgresProve => "Read a restored database against its dump's manifest",
            Self::PostgresRestore => "Restore a dump into a new database, beside the damaged one",
            Self::PostgresRestorePointInTime => {
                "Restore a base backup and archived WAL into a new server, beside the damaged one"
            }
            Self::PostgresFence => {
                "Make a database refuse the application's writes, proved by a write that fails"
            }
            Self::RdsChooseRecoveryPoint => "Measure the recovery points and have one chosen",
            Self::RdsCutOver => {
                "Give the restored instance the damaged one's name and endpoint, and keep that under another"
            }
            Self::RdsPromoteReplica => "Promote a read replica; cannot be undone",
            Self::RdsProtect => "Give the recovered database backups, Multi-AZ and a replica again",
            Self::RdsRecover => "Bring the database up from the chosen recovery point",
            Self::RdsRestorePointInTime => "Restore an automated backup beside the lost database",
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
            | Self::ExperimentsRebuild
            | Self::KubernetesRestart
            | Self::KubernetesScale
            | Self::Manual
            | Self::PostgresAnalyze
            | Self::PostgresAssess
            | Self::PostgresChooseRecoveryPoint
            | Self::PostgresCutOver
            | Self::PostgresDump
            | Self::PostgresEvidence
            | Self::PostgresFence
            | Self::PostgresProve
            | Self::PostgresRestore
            | Self::PostgresRestorePointInTime
            | Self::RdsChooseRecoveryPoint
            | Self::RdsCutOver
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
            Self::Manual
            | Self::PostgresAssess
            | Self::PostgresChooseRecoveryPoint
            | Self::PostgresProve
            | Self::RdsChooseRecoveryPoint
            | Self::Wait => false,
            Self::CommandRun
            | Self::DatabaseRepoint
            | Self::ExperimentsRebuild
            | Self::KubernetesApply
            | Self::KubernetesRestart
            | Self::KubernetesScale
            | Self::PostgresAnalyze
            | Self::PostgresCutOver
            | Self::PostgresDump
            | Self::PostgresEvidence
            | Self::PostgresFence
            | Self::PostgresRestore
            | Self::PostgresRestorePointInTime
            | Self::RdsCutOver
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
            // What was taken is kept; statistics go with their database.
            Self::PostgresAnalyze | Self::PostgresDump | Self::PostgresEvidence => false,
            // Undone by its own `undo` command, where it has one.
            Self::CommandRun
            | Self::DatabaseRepoint
            | Self::ExperimentsRebuild
            | Self::KubernetesApply
            | Self::KubernetesRestart
            | Self::KubernetesScale
            | Self::PostgresAssess
            | Self::PostgresChooseRecoveryPoint
            | Self::PostgresCutOver
            | Self::PostgresFence
            | Self::PostgresProve
            | Self::PostgresRestore
            | Self::PostgresRestorePointInTime
            | Self::RdsChooseRecoveryPoint
            | Self::RdsCutOver
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

    /// Says whether a database is recovered by it, with what the recovery point loses.
    pub(crate) const fn recovers(self) -> bool {
        matches!(
            self,
            Self::RdsRecover
                | Self::RdsPromoteReplica
                | Self::RdsRestorePointInTime
                | Self::RdsRestoreSnapshot
                | Self::PostgresRestore
                | Self::PostgresRestorePointInTime
        )
    }

    /// Says whether a world answers it: it needs programs or files that no world has, where it does not.
    const fn simulated(self) -> bool {
        match self {
            Self::ExperimentsRebuild
            | Self::PostgresAnalyze
            | Self::PostgresAssess
            | Self::PostgresChooseRecoveryPoint
            | Self::PostgresCutOver
            | Self::PostgresDump
            | Self::PostgresEvidence
            | Self::PostgresProve
            | Self::PostgresRestore
            | Self::PostgresRestorePointInTime => false,
            Self::CommandRun
            | Self::DatabaseRepoint
            | Self::KubernetesApply
            | Self::KubernetesRestart
            | Self::KubernetesScale
            | Self::Manual
            | Self::PostgresFence
            | Self::RdsChooseRecoveryPoint
            | Self::RdsCutOver
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

    /// Says whether a rehearsal can play it by itself with these arguments.
    pub(crate) fn plays(self, with: &Map<String, Value>) -> bool {
        let whole = with.get("scope").and_then(Value::as_str) == Some("database");
        self.simulated() && !(self == Self::PostgresFence && whole)
    }

    /// Returns the JSON Schema of its `with`.
    pub(crate) fn schema(self) -> Value {
        match self {
            Self::CommandRun => schema_of::<CommandRun>(),
            Self::DatabaseRepoint => schema_of::<DatabaseRepoint>(),
            Self::ExperimentsRebuild => schema_of::<ExperimentsRebuild>(),
            Self::KubernetesApply => schema_of::<KubernetesApply>(),
            Self::KubernetesRestart => schema_of::<KubernetesRestart>(),
            Self::KubernetesScale => schema_of::<KubernetesScale>(),
            Self::Manual => schema_of::<Manual>(),
            Self::PostgresAnalyze => schema_of::<PostgresAnalyze>(),
            Self::PostgresAssess => schema_of::<PostgresAssess>(),
            Self::PostgresChooseRecoveryPoint => schema_of::<PostgresChooseRecoveryPoint>(),
            Self::PostgresCutOver => schema_of::<PostgresCutOver>(),
            Self::PostgresDump => schema_of::<PostgresDump>(),
            Self::PostgresEvidence => schema_of::<PostgresEvidence>(),
            Self::PostgresFence => schema_of::<PostgresFence>(),
            Self::PostgresProve => schema_of::<PostgresProve>(),
            Self::PostgresRestore => schema_of::<PostgresRestore>(),
            Self::PostgresRestorePointInTime => schema_of::<PostgresRestorePointInTime>(),
            Self::RdsChooseRecoveryPoint => schema_of::<ChooseRecoveryPoint>(),
            Self::RdsCutOver => schema_of::<RdsCutOver>(),
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
            Self::ExperimentsRebuild => EXPERIMENTS_OUTPUTS,
            Self::PostgresChooseRecoveryPoint => CHOICE_OUTPUTS,
            Self::PostgresCutOver => CUT_OVER_OUTPUTS,
            Self::PostgresDump => DUMP_OUTPUTS,
            Self::PostgresEvidence => EVIDENCE_OUTPUTS,
            Self::PostgresProve => PROOF_OUTPUTS,
            Self::PostgresRestore => RESTORE_OUTPUTS,
            Self::PostgresRestorePointInTime => SERVER_OUTPUTS,
            Self::RdsChooseRecoveryPoint => POINT_OUTPUTS,
            Self::RdsCutOver => RDS_CUT_OVER_OUTPUTS,
            Self::RdsPromoteReplica
            | Self::RdsRecover
            | Self::RdsRestorePointInTime
            | Self::RdsRestoreSnapshot => DATABASE_OUTPUTS,
            Self::Manual => MANUAL_OUTPUTS,
            Self::PostgresAssess => ASSESS_OUTPUTS,
            Self::Route53Weights | Self::S3FailoverObject | Self::TrafficShift => TRAFFIC_OUTPUTS,
            Self::DatabaseRepoint
            | Self::KubernetesApply
            | Self::KubernetesRestart
            | Self::KubernetesScale
            | Self::PostgresAnalyze
            | Self::PostgresFence
            | Self::RdsProtect
            | Self::Wait => &[],
        }
    }
}
