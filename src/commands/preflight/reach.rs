//! What a run needs late and can know early: the ways, the database's password, the application's pods, the name of the
//! load balancer that takes over.

use futures::future::join_all;

use crate::checks::has_pods;
use crate::clients::{Clients, Network, postgres, tcp, via};
use crate::clock::within;
use crate::estate::types::Via;
use crate::event::{Finding, FindingLevel};
use crate::plan::{Body, Plan, PlannedStep};
use crate::runbook::catalogue::actions::ActionName;
use crate::runbook::catalogue::checks::CheckName;

use super::{ASK_LIMIT, good, lost_region, warning};

/// Says what of it is not there. A rehearsal's world has no passwords and no resolver but its own.
pub(super) async fn late_needs(plan: &Plan, clients: &Clients) -> Vec<Finding> {
    if !matches!(clients.network, Network::Real) {
        return Vec::new();
    }
    let (password, pods, balancers) =
        futures::join!(password(plan, clients), pods(plan, clients), balancers(plan, clients));
    password.into_iter().chain(pods).chain(balancers).collect()
}

/// A port forward.
struct Way<'a> {
    name: String,
    via: &'a Via,
    /// What the run does after the loss goes through it
    needed: bool,
}

/// Opens every port forward the estate has in the regions the plan is about.
pub(super) async fn ways(plan: &Plan, clients: &Clients) -> Vec<Finding> {
    let (lost, estate) = (lost_region(plan), &clients.estate);
    let mut ways = Vec::new();
    if let Some(database) = &estate.database {
        let replica = database.replica.iter().map(|replica| (&replica.id, &replica.region));
        let surviving = replica.filter(|(_, region)| Some(region.as_str()) != lost);
        let ids = surviving.map(|(id, _)| id).chain([&database.recovered.id]);
        let asks = asks_the_database(plan);
        for via in ids.map(|id| postgres::way(database, id)) {
            let name = "database".to_owned();
            ways.push(Way { name, via, needed: asks });
        }
        ways.push(Way { name: "database".to_owned(), via: &database.via, needed: false });
    }
    let surviving = surviving(plan);
    let clusters = estate.clusters.iter().filter(|(region, _)| Some(region.as_str()) != lost);
    ways.extend(clusters.map(|(region, cluster)| Way {
        name: format!("cluster of {region}"),
        via: &cluster.via,
        needed: surviving.contains(&region.as_str()),
    }));
    // The same way is opened, and told, once: by what needs it most, which stands first.
    let mut known: Vec<&[String]> = Vec::new();
    ways.retain(|way| match &way.via.command {
        Some(argv) if !known.contains(&argv.as_slice()) => {
            known.push(argv);
            true
        }
        Some(_) | None => false,
    });
    join_all(ways.into_iter().map(|found| way(clients, found, lost))).await
}

/// Opens one way and says how that went.
async fn way(clients: &Clients, way: Way<'_>, lost: Option<&str>) -> Finding {
    let Way { name, via, needed } = way;
    let about = format!("way to the {name}");
    let argv = via.command.iter().flatten();
    let through = lost.filter(|lost| argv.clone().any(|word| word.contains(lost)));
    let opened = within(&*clients.clock, ASK_LIMIT, via::open(clients, via)).await;
    let why = match opened {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(late) => Some(late.to_string()),
    };
    match (why, through) {
        // One that leads through what is lost, or that nothing after the loss needs, may well be dead.
        (Some(why), through) => {
            let blocks = needed && through.is_none();
            let level = if blocks { FindingLevel::Blocking } else { FindingLevel::Warning };
            let hint = "run its command by hand and see".to_owned();
            Finding { level, ..warning(about, why, Some(hint)) }
        }
        (None, Some(lost)) => {
            let hint = "it must not depend on the region that fails".to_owned();
            warning(about, format!("its command names {lost}"), Some(hint))
        }
        (None, None) => good(about, argv.cloned().collect::<Vec<_>>().join(" ")),
    }
}

/// The regions a run goes to.
fn surviving(plan: &Plan) -> Vec<&str> {
    let lost = lost_region(plan);
    let named = |name: &&str| plan.inputs.values().any(|input| input.as_str() == Some(name));
    let regions = plan.estate.regions.keys().map(String::as_str);
    regions.filter(|name| Some(*name) != lost).filter(named).collect()
}

/// Where nobody is there now that must be seen connected later, the selector may be wrong, or its workload is to be
/// started first.
async fn pods(plan: &Plan, clients: &Clients) -> Vec<Finding> {
    let application =
        plan.estate.database.as_ref().and_then(|database| database.application.as_ref());
    let Some(wanted) = application.and_then(|application| application.pods.as_ref()) else {
        return Vec::new();
    };
    let (namespace, selector) = (&wanted.namespace, &wanted.selector);
    let mut found = Vec::new();
    for region in surviving(plan) {
        let looked = has_pods(clients, region, namespace, selector);
        // What cannot be read is told where the steps are looked at.
        if let Ok(Ok(false)) = within(&*clients.clock, ASK_LIMIT, looked).await {
            let said = format!("no pod of {region} has the labels {selector} in {namespace} now");
            let hint = "compare `database.application.pods` of the estate file with the pods' labels; such pods must be \
                        seen connected before the application counts as repointed";
            found.push(warning("pods of the application", said, Some(hint.to_owned())));
        }
    }
    found
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

/// Says whether a step of the plan asks the database by SQL.
fn asks_the_database(plan: &Plan) -> bool {
    let step_asks = |step: &PlannedStep| {
        let body = match &step.body {
            Body::Action { action, .. } => ActionName::parse(action).is_some_and(action_asks),
            // Gates look from outside, whether anything answers.
            Body::Gate { .. } => false,
        };
        let mut checks = step.verify.iter().filter_map(|check| CheckName::parse(&check.check));
        body || checks.any(check_asks)
    };
    plan.steps.iter().any(step_asks)
}

const fn action_asks(action: ActionName) -> bool {
    match action {
        ActionName::ExperimentsRebuild
        | ActionName::PostgresAnalyze
        | ActionName::PostgresAssess
        | ActionName::PostgresCutOver
        | ActionName::PostgresDump
        | ActionName::PostgresEvidence
        | ActionName::PostgresFence
        | ActionName::PostgresProve
        | ActionName::PostgresRestore
        | ActionName::PostgresRestorePointInTime
        | ActionName::RdsChooseRecoveryPoint
        | ActionName::RdsCutOver
        | ActionName::RdsPromoteReplica
        | ActionName::RdsRecover
        | ActionName::RdsRestorePointInTime
        | ActionName::RdsRestoreSnapshot => true,
        // Protection is RDS's own affair, and who is connected is for the checks of a repointing to see.
        ActionName::RdsProtect
        | ActionName::PostgresChooseRecoveryPoint
        | ActionName::DatabaseRepoint
        | ActionName::CommandRun
        | ActionName::KubernetesApply
        | ActionName::KubernetesRestart
        | ActionName::KubernetesScale
        | ActionName::Manual
        | ActionName::Route53Weights
        | ActionName::S3FailoverObject
        | ActionName::TrafficShift
        | ActionName::Wait => false,
    }
}

const fn check_asks(check: CheckName) -> bool {
    match check {
        CheckName::PostgresConnections
        | CheckName::PostgresEssentials
        | CheckName::PostgresQuery => true,
        CheckName::AwsHealth
        | CheckName::Command
        | CheckName::Dns
        | CheckName::Http
        | CheckName::KubernetesPods
        | CheckName::KubernetesRollout
        | CheckName::Quorum
        | CheckName::RdsStatus
        | CheckName::Route53Answer
        | CheckName::S3Object
        | CheckName::Tcp => false,
    }
}

/// The checks before and after traffic go through the load balancer by its name, when everything else is changed already.
async fn balancers(plan: &Plan, clients: &Clients) -> Vec<Finding> {
    let mut found = Vec::new();
    for name in surviving(plan) {
        let region = plan.estate.regions.get(name);
        let Some(balancer) = region.and_then(|region| region.load_balancer.as_ref()) else {
            continue;
        };
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
