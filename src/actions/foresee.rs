//! What a step will give to those after it, before it was done: so that they can be looked at before go.

use serde_json::{Map, Value};

use super::{arguments, name, postgres, rds};
use crate::clients::Clients;
use crate::engine::ports::{Call, Observation};
use crate::outcome::ActionError;
use crate::runbook::catalogue::actions::{ActionName, PromoteReplica, Recover};

/// Outputs a step can be expected to have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Foreseen {
    pub outputs: Map<String, Value>,
    /// Nothing in them stands for a name that only exists afterwards
    pub certain: bool,
}

impl Foreseen {
    /// Returns what a server gives that is made later: its names, and nothing that only it can say.
    pub(super) fn unmade(instance: &str, address: &str) -> Self {
        let outputs = [("instance", instance), ("address", address), ("identity", "")];
        let outputs = outputs.map(|(name, value)| (name.to_owned(), Value::from(value)));
        Self { outputs: Map::from_iter(outputs), certain: false }
    }
}

/// Returns the outputs of a step, by reads only; `None` where only doing it tells them.
///
/// `seen` is the step's observation; the call carries the choice that would be made.
pub(crate) async fn foresee(
    clients: &Clients,
    call: &Call,
    seen: &Observation,
) -> Result<Option<Foreseen>, ActionError> {
    if !seen.outputs.is_empty() {
        return Ok(Some(Foreseen { outputs: seen.outputs.clone(), certain: true }));
    }
    Ok(match name(call)? {
        ActionName::PostgresChooseRecoveryPoint => postgres::choose::foreseen(call),
        ActionName::RdsChooseRecoveryPoint => rds::foresee::chosen(call)?,
        ActionName::RdsRecover => {
            // Where the arguments name no point, the one the observation was made with.
            let with: Recover = arguments(call)?;
            let found = || serde_json::from_value(seen.context["point"].clone()).ok();
            match with.point.or_else(found) {
                Some(point) => Some(rds::foresee::recovered(clients, &with.region, &point).await),
                None => None,
            }
        }
        ActionName::RdsPromoteReplica => {
            let with: PromoteReplica = arguments(call)?;
            Some(rds::foresee::instance(clients, &with.region, &with.replica).await)
        }
        ActionName::PostgresRestorePointInTime => postgres::point_in_time::foreseen(clients),
        ActionName::CommandRun
        | ActionName::DatabaseRepoint
        | ActionName::ExperimentsRebuild
        | ActionName::KubernetesApply
        | ActionName::KubernetesRestart
        | ActionName::KubernetesScale
        | ActionName::Manual
        | ActionName::PostgresAnalyze
        | ActionName::PostgresAssess
        | ActionName::PostgresCutOver
        | ActionName::PostgresDump
        | ActionName::PostgresEvidence
        | ActionName::PostgresFence
        | ActionName::PostgresProve
        | ActionName::PostgresRestore
        | ActionName::RdsCutOver
        | ActionName::RdsProtect
        | ActionName::RdsRestorePointInTime
        | ActionName::RdsRestoreSnapshot
        | ActionName::Route53Weights
        | ActionName::S3FailoverObject
        | ActionName::TrafficShift
        | ActionName::Wait => None,
    })
}

/// Says whether a step can be looked at with names that do not exist yet.
///
/// Repointing looks only at the application; whatever looks at the database itself would not find it.
pub(crate) fn bears_placeholders(action: &str) -> bool {
    ActionName::parse(action) == Some(ActionName::DatabaseRepoint)
}
