//! What of AWS a plan asks.

use crate::estate::dumps::{DumpBucket, DumpsAt};
use crate::plan::{Body, Plan, PlannedStep};
use crate::runbook::catalogue::actions::ActionName;

/// Says whether anything of the plan, or the lease, asks AWS.
pub(super) fn uses_aws(plan: &Plan) -> bool {
    let services = ["rds.", "route53.", "s3.", "traffic.", "aws."];
    let asks = |name: &str| services.iter().any(|service| name.starts_with(service));
    let step_asks = |step: &PlannedStep| {
        let body = match &step.body {
            Body::Action { action, .. } => asks(action),
            Body::Gate { checks } => checks.iter().any(|check| asks(&check.check)),
        };
        body || step.verify.iter().any(|check| asks(&check.check))
    };
    plan.estate.state.is_some()
        || plan.steps.iter().any(step_asks)
        || bucket_of_dumps(plan).is_some()
}

/// Returns the bucket of dumps, where a step of the plan writes to it or reads from it.
pub(super) fn bucket_of_dumps(plan: &Plan) -> Option<&DumpBucket> {
    let DumpsAt::Bucket(bucket) = plan.estate.database.as_ref()?.dumps.as_ref()? else {
        return None;
    };
    let names = [
        ActionName::PostgresChooseRecoveryPoint,
        ActionName::PostgresDump,
        ActionName::PostgresProve,
        ActionName::PostgresRestore,
    ];
    let asks = |step: &PlannedStep| match &step.body {
        Body::Action { action, .. } => names.iter().any(|name| name.name() == action),
        Body::Gate { .. } => false,
    };
    plan.steps.iter().any(asks).then_some(bucket)
}
