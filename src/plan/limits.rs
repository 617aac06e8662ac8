//! Bounds of an attempt, a verification and a retry where the runbook says nothing.

use super::Retries;
use crate::runbook::catalogue::actions::ActionName;
use crate::span::Span;

pub(super) const VERIFY_WITHIN: Span = Span::minutes(2);
pub(super) const VERIFY_EVERY: Span = Span::seconds(5);
pub(super) const RETRIES: Retries =
    Retries { attempts: 3, backoff_first: Span::seconds(2), backoff_longest: Span::seconds(30) };

/// What is asked of a service, or of a person.
const TIMEOUT: Span = Span::minutes(10);
/// What reads or writes a whole database: it takes as long as that is large, and what is cut off is to be begun anew.
const TIMEOUT_OF_A_DATABASE: Span = Span::minutes(24 * 60);

/// Returns how long an attempt of a step with this action may take.
pub(super) const fn timeout(action: Option<ActionName>) -> Span {
    let Some(action) = action else { return TIMEOUT };
    match action {
        ActionName::ExperimentsRebuild
        | ActionName::PostgresAnalyze
        | ActionName::PostgresAssess
        | ActionName::PostgresDump
        | ActionName::PostgresEvidence
        | ActionName::PostgresProve
        | ActionName::PostgresRestore
        | ActionName::PostgresRestorePointInTime => TIMEOUT_OF_A_DATABASE,
        ActionName::CommandRun
        | ActionName::DatabaseRepoint
        | ActionName::KubernetesApply
        | ActionName::KubernetesRestart
        | ActionName::KubernetesScale
        | ActionName::Manual
        | ActionName::PostgresChooseRecoveryPoint
        | ActionName::PostgresCutOver
        | ActionName::PostgresFence
        | ActionName::RdsChooseRecoveryPoint
        | ActionName::RdsCutOver
        | ActionName::RdsPromoteReplica
        | ActionName::RdsProtect
        | ActionName::RdsRecover
        | ActionName::RdsRestorePointInTime
        | ActionName::RdsRestoreSnapshot
        | ActionName::Route53Weights
        | ActionName::S3FailoverObject
        | ActionName::TrafficShift
        | ActionName::Wait => TIMEOUT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_as_long_as_a_database_is_large_is_known() {
        let long = ActionName::ALL.into_iter().filter(|action| timeout(Some(*action)) > TIMEOUT);
        let long: Vec<&str> = long.map(ActionName::name).collect();
        let expected = [
            "experiments.rebuild",
            "postgres.analyze",
            "postgres.assess",
            "postgres.dump",
            "postgres.evidence",
            "postgres.prove",
            "postgres.restore",
            "postgres.restore_point_in_time",
        ];
        assert_eq!(long, expected);
        assert_eq!(timeout(None), Span::minutes(10), "a gate, which has no action");
    }
}
