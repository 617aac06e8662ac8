//! Arguments of actions and checks against the catalogue: their schemas, kept, and their types.

use std::sync::LazyLock;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::catalogue::actions::{self, ActionName};
use super::catalogue::checks::{self, CheckName};
use super::path::Path;
use super::shape::Schema;

static ACTIONS: LazyLock<Vec<(ActionName, Schema)>> = LazyLock::new(|| {
    ActionName::ALL.into_iter().map(|name| (name, Schema::from_value(name.schema()))).collect()
});

static CHECKS: LazyLock<Vec<(CheckName, Schema)>> = LazyLock::new(|| {
    CheckName::ALL.into_iter().map(|name| (name, Schema::from_value(name.schema()))).collect()
});

/// Returns the schema of an action's `with`.
pub(crate) fn of_action(action: ActionName) -> &'static Schema {
    kept(&ACTIONS, action)
}

/// Returns the schema of a check's `with`.
pub(crate) fn of_check(check: CheckName) -> &'static Schema {
    kept(&CHECKS, check)
}

fn kept<N: PartialEq + Copy>(kept: &'static [(N, Schema)], name: N) -> &'static Schema {
    let found = kept.iter().find(|(known, _)| *known == name);
    &found.expect("the list is made of all names").1
}

/// What the type of an action's or check's arguments does not take, where the schema could not tell.
pub(crate) type Misfit = (Path, String);

/// Reads an action's arguments as their type.
pub(crate) fn read_action(action: ActionName, with: &Value) -> Result<(), Misfit> {
    match action {
        ActionName::CommandRun => read::<actions::CommandRun>(with),
        ActionName::DatabaseRepoint => read::<actions::DatabaseRepoint>(with),
        ActionName::ExperimentsRebuild => read::<actions::ExperimentsRebuild>(with),
        ActionName::KubernetesApply => read::<actions::KubernetesApply>(with),
        ActionName::KubernetesRestart => read::<actions::KubernetesRestart>(with),
        ActionName::KubernetesScale => read::<actions::KubernetesScale>(with),
        ActionName::Manual => read::<actions::Manual>(with),
        ActionName::PostgresAnalyze => read::<actions::PostgresAnalyze>(with),
        ActionName::PostgresAssess => read::<actions::PostgresAssess>(with),
        ActionName::PostgresChooseRecoveryPoint => {
            read::<actions::PostgresChooseRecoveryPoint>(with)
        }
        ActionName::PostgresCutOver => read::<actions::PostgresCutOver>(with),
        ActionName::PostgresDump => read::<actions::PostgresDump>(with),
        ActionName::PostgresEvidence => read::<actions::PostgresEvidence>(with),
        ActionName::PostgresFence => read::<actions::PostgresFence>(with),
        ActionName::PostgresProve => read::<actions::PostgresProve>(with),
        ActionName::PostgresRestore => read::<actions::PostgresRestore>(with),
        ActionName::PostgresRestorePointInTime => read::<actions::PostgresRestorePointInTime>(with),
        ActionName::RdsChooseRecoveryPoint => read::<actions::ChooseRecoveryPoint>(with),
        ActionName::RdsCutOver => read::<actions::RdsCutOver>(with),
        ActionName::RdsPromoteReplica => read::<actions::PromoteReplica>(with),
        ActionName::RdsProtect => read::<actions::Protect>(with),
        ActionName::RdsRecover => read::<actions::Recover>(with),
        ActionName::RdsRestorePointInTime => read::<actions::RestorePointInTime>(with),
        ActionName::RdsRestoreSnapshot => read::<actions::RestoreSnapshot>(with),
        ActionName::Route53Weights | ActionName::S3FailoverObject | ActionName::TrafficShift => {
            read::<actions::TrafficShift>(with)
        }
        ActionName::Wait => read::<actions::Wait>(with),
    }
}

/// Reads a check's arguments as their type.
pub(crate) fn read_check(check: CheckName, with: &Value) -> Result<(), Misfit> {
    match check {
        CheckName::AwsHealth => read::<checks::AwsHealth>(with),
        CheckName::Command => read::<checks::Command>(with),
        CheckName::Dns => read::<checks::Dns>(with),
        CheckName::Http => read::<checks::Http>(with),
        CheckName::KubernetesPods => read::<checks::KubernetesPods>(with),
        CheckName::KubernetesRollout => read::<checks::KubernetesRollout>(with),
        CheckName::PostgresConnections => read::<checks::PostgresConnections>(with),
        CheckName::PostgresEssentials => read::<checks::PostgresEssentials>(with),
        CheckName::PostgresQuery => read::<checks::PostgresQuery>(with),
        CheckName::Quorum => read::<checks::Quorum>(with),
        CheckName::RdsStatus => read::<checks::RdsStatus>(with),
        CheckName::Route53Answer => read::<checks::Route53Answer>(with),
        CheckName::S3Object => read::<checks::S3Object>(with),
        CheckName::Tcp => read::<checks::Tcp>(with),
    }
}

fn read<T: DeserializeOwned>(with: &Value) -> Result<(), Misfit> {
    match serde_path_to_error::deserialize::<_, T>(with) {
        Ok(_) => Ok(()),
        Err(error) => Err((Path::from(error.path()), error.inner().to_string())),
    }
}
