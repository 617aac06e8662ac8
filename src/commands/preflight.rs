//! Preflight: everything bad that can be found before the first change, all of it at once.

use std::time::Duration;

use crate::clients::{Clients, endpoints};
use crate::clock::{since, within};
use crate::event::{Finding, FindingLevel};
use crate::outcome::FailureClass;
use crate::plan::{Body, Plan, PlannedStep};
use crate::report::plan_view::{DryRunReport, Found};

/// One question to one service may take this long.
const ASK_LIMIT: Duration = Duration::from_secs(8);

/// Looks at what the whole run needs, and words what the looks at its steps found.
pub(super) async fn findings(
    plan: &Plan,
    clients: &Clients,
    report: &DryRunReport,
) -> Vec<Finding> {
    let mut findings = if uses_aws(plan) { credentials(plan, clients).await } else { Vec::new() };
    findings.extend(report.steps.iter().filter_map(|seen| {
        let Found::Unreachable { why, hint } = &seen.found else { return None };
        let step = plan.step(&seen.step)?;
        Some(Finding {
            level: level(plan, step),
            about: step.title.clone(),
            said: why.clone(),
            hint: hint.clone(),
            step: Some(step.id.clone()),
        })
    }));
    if plan.estate.state.is_none() {
        findings.push(Finding {
            level: FindingLevel::Warning,
            about: "shared lock".to_owned(),
            said: "none is configured: tell your team that you are acting".to_owned(),
            hint: Some("give the estate a `state.s3` in the region that survives".to_owned()),
            step: None,
        });
    }
    findings
}

/// Says whether anything of the plan, or the lease, asks AWS.
fn uses_aws(plan: &Plan) -> bool {
    let services = ["rds.", "route53.", "s3.", "traffic.", "aws."];
    let asks = |name: &str| services.iter().any(|service| name.starts_with(service));
    let step_asks = |step: &PlannedStep| {
        let body = match &step.body {
            Body::Action { action, .. } => asks(action),
            Body::Gate { checks } => checks.iter().any(|check| asks(&check.check)),
        };
        body || step.verify.iter().any(|check| asks(&check.check))
    };
    plan.estate.state.is_some() || plan.steps.iter().any(step_asks)
}

/// What a step cannot be observed for blocks only where P0 depends on it, and not where it acts on the lost region: that
/// region answering badly is what the run is there for.
fn level(plan: &Plan, step: &PlannedStep) -> FindingLevel {
    let p0 = step.priority == Some(crate::estate::types::Priority::P0);
    if p0 && step.critical && !acts_on_lost(plan, step) {
        FindingLevel::Blocking
    } else {
        FindingLevel::Warning
    }
}

/// Says whether a step acts on the region that is said to be lost.
fn acts_on_lost(plan: &Plan, step: &PlannedStep) -> bool {
    let Body::Action { with, .. } = &step.body else { return false };
    let lost = plan.inputs.get("from").and_then(|from| from.as_str());
    lost.is_some() && with.get("region").and_then(|region| region.as_str()) == lost
}

async fn credentials(plan: &Plan, clients: &Clients) -> Vec<Finding> {
    let about = "credentials".to_owned();
    let identity = within(&*clients.clock, ASK_LIMIT, clients.aws.identity()).await;
    let finding = |level, said: String, hint: Option<String>| {
        vec![Finding { level, about: about.clone(), said, hint, step: None }]
    };
    let identity = match identity {
        Ok(Ok(identity)) => identity,
        Ok(Err(error)) => {
            let level = match error.class {
                FailureClass::Credentials | FailureClass::Denied => FindingLevel::Blocking,
                // STS that does not answer says nothing about the credentials.
                _ => FindingLevel::Warning,
            };
            return finding(level, error.message, error.hint);
        }
        Err(late) => return finding(FindingLevel::Warning, format!("STS: {late}"), None),
    };
    let mut said =
        format!("{} of account {} by {}", identity.arn, identity.account, identity.source);
    if identity.break_glass {
        said = format!("BREAK-GLASS {said}");
    }
    let Some(expires) = identity.expires else {
        return finding(FindingLevel::Good, said, None);
    };
    let left = since(clients.clock.now(), expires);
    let needed: Duration =
        plan.steps.iter().filter_map(|step| step.usually).map(|span| span.0).sum();
    if left < needed {
        let minutes = left.as_secs() / 60;
        let hint = "renew them now, before the run needs them".to_owned();
        let said = format!("{said}; they expire in {minutes} min, the run may need longer");
        return finding(FindingLevel::Warning, said, Some(hint));
    }
    finding(FindingLevel::Good, said, None)
}

/// Returns the endpoints of every service a plan's region uses, a line each.
pub(super) fn endpoints_shown(plan: &Plan) -> Vec<String> {
    let regions = plan.inputs.values().filter_map(|value| value.as_str());
    let known = regions.filter(|region| plan.estate.regions.contains_key(*region));
    known
        .flat_map(|region| {
            let shown = endpoints::shown(&plan.estate, region);
            shown.into_iter().map(move |(service, url)| {
                format!("{region} {}: {}", service.name(), endpoints::host_of(&url))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::fixtures;

    #[test]
    fn what_is_missing_in_the_lost_region_does_not_block() {
        let mut plan = fixtures::plan();
        plan.inputs.insert("from".to_owned(), json!("us-east-1"));
        for (id, region, wanted) in [
            ("fence", "us-east-1", FindingLevel::Warning),
            ("fence", "us-west-2", FindingLevel::Blocking),
            ("p1", "us-west-2", FindingLevel::Warning),
        ] {
            let mut step = plan.step(&id.into()).expect("there").clone();
            let with = serde_json::Map::from_iter([("region".to_owned(), json!(region))]);
            step.body = Body::Action { action: "postgres.fence".to_owned(), with };
            assert_eq!(level(&plan, &step), wanted, "{id} in {region}");
        }
    }
}
