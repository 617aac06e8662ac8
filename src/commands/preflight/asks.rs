//! What of AWS a plan asks.

use crate::estate::dumps::{DumpBucket, DumpsAt, ObjectsAt};
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
        || bucket_of_base_backups(plan).is_some()
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
    does_any(plan, &names).then_some(bucket)
}

/// Returns the bucket of base backups and archived WAL, where a step of the plan reads from it.
pub(super) fn bucket_of_base_backups(plan: &Plan) -> Option<&ObjectsAt> {
    let bucket = plan.estate.database.as_ref()?.base_backups.as_ref()?.from.as_ref()?;
    let names = [
        ActionName::PostgresAssess,
        ActionName::PostgresChooseRecoveryPoint,
        ActionName::PostgresProve,
        ActionName::PostgresRestorePointInTime,
    ];
    does_any(plan, &names).then_some(bucket)
}

fn does_any(plan: &Plan, names: &[ActionName]) -> bool {
    let asks = |step: &PlannedStep| match &step.body {
        Body::Action { action, .. } => names.iter().any(|name| name.name() == action),
        Body::Gate { .. } => false,
    };
    plan.steps.iter().any(asks)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clients::aws::testing::estate;
    use crate::report::fixtures::plan;

    #[test]
    fn a_step_that_reads_dumps_asks_aws_where_they_are_in_a_bucket() {
        let mut plan = plan();
        plan.estate = (*estate(|_| {})).clone();
        plan.steps.truncate(1);
        let step = &mut plan.steps[0];
        step.verify.clear();
        step.body = Body::Action { action: "postgres.prove".to_owned(), with: Default::default() };
        let mut at = |dumps| {
            let database = plan.estate.database.as_mut().expect("a database");
            database.dumps = Some(serde_json::from_value(dumps).expect("dumps"));
            (uses_aws(&plan), bucket_of_dumps(&plan).map(|bucket| bucket.region.clone()))
        };
        assert_eq!(at(json!("/var/backups")), (false, None));
        let bucket = json!({ "bucket": "b-1", "region": "us-west-2", "work": "/w" });
        assert_eq!(at(bucket), (true, Some("us-west-2".to_owned())));
        plan.steps[0].body =
            Body::Action { action: "postgres.assess".to_owned(), with: Default::default() };
        assert!(!uses_aws(&plan), "that step has nothing to do with it");
    }
}
