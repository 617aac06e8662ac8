//! What a run needs late and can know early: the database's password, and the name of the load balancer that takes over.

use crate::clients::{Clients, Network, postgres, tcp};
use crate::event::{Finding, FindingLevel};
use crate::plan::{Body, Plan, PlannedStep};

use super::{lost_region, warning};

/// Says what of it is not there. A rehearsal's world has no passwords and no resolver but its own.
pub(super) async fn late_needs(plan: &Plan, clients: &Clients) -> Vec<Finding> {
    if !matches!(clients.network, Network::Real) {
        return Vec::new();
    }
    let (password, balancers) = futures::join!(password(plan, clients), balancers(plan, clients));
    password.into_iter().chain(balancers).collect()
}

/// Without it a replica cannot be measured, a primary not fenced and no recovery proved: all of that would be put down
/// to the outage.
async fn password(plan: &Plan, clients: &Clients) -> Option<Finding> {
    let connection = &plan.estate.database.as_ref()?.connection;
    if !asks_the_database(plan) {
        return None;
    }
    let error = postgres::password(clients, connection).await.err()?;
    let finding = warning("database", error.message, error.hint);
    Some(Finding { level: FindingLevel::Blocking, ..finding })
}

fn asks_the_database(plan: &Plan) -> bool {
    let asks =
        |name: &str| ["postgres.", "rds.", "database."].iter().any(|part| name.starts_with(part));
    let step_asks = |step: &PlannedStep| {
        let body = match &step.body {
            Body::Action { action, .. } => asks(action),
            // Gates look from outside, whether anything answers.
            Body::Gate { .. } => false,
        };
        body || step.verify.iter().any(|check| asks(&check.check))
    };
    plan.steps.iter().any(step_asks)
}

/// The checks before and after traffic go through the load balancer by its name, when everything else is changed already.
async fn balancers(plan: &Plan, clients: &Clients) -> Vec<Finding> {
    let lost = lost_region(plan);
    let regions = plan.estate.regions.iter().filter(|(name, _)| {
        Some(name.as_str()) != lost
            && plan.inputs.values().any(|input| input.as_str() == Some(name))
    });
    let mut found = Vec::new();
    for (name, region) in regions {
        let Some(balancer) = &region.load_balancer else { continue };
        let resolved = match tcp::split(balancer, Some(443)) {
            Ok((host, port)) => tcp::resolve(&*clients.clock, host, port).await.map(drop),
            Err(failure) => Err(failure),
        };
        let Err(failure) = resolved else { continue };
        let said = format!("{balancer}: {failure}");
        let hint =
            format!("compare `regions.{name}.load_balancer` of the estate file with what AWS has");
        found.push(warning(format!("load balancer of {name}"), said, Some(hint)));
    }
    found
}
