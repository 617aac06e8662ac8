//! Preflight: everything bad that can be found before the first change, all of it at once and in bounded time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

mod asks;
mod reach;

use super::facts::{self, Known};
use super::observe::{self, Sight, Unseen};
use super::{causes, compose, go};
use crate::actions::traffic::wiring::{Wiring, wiring};
use crate::clients::aws::Identity;
use crate::clients::lease_store::GetError;
use crate::clients::{self, Clients};
use crate::clock::{since, within};
use crate::estate::doubts;
use crate::estate::types::{Priority, SecretRef};
use crate::event::{Finding, FindingLevel};
use crate::ids::{RunId, StepId};
use crate::journal::lease;
use crate::journal::store::Store;
use crate::outcome::{ActionError, FailureClass, Fidelity};
use crate::plan::{Body, Plan, PlannedStep};
use crate::report::forecast::{Network, Outlook};
use crate::report::plan_view::{DryRunReport, DryRunStep, Found};
use crate::report::text::minutes;
use crate::report::view::ViewState;
use asks::{bucket_of_base_backups, bucket_of_dumps, uses_aws};

/// One question to one service may take this long. All are put at the same time as the looks at the steps.
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// What findings about the estate file itself are about.
pub(super) const ESTATE_FILE: &str = "estate file";

/// What preflight saw.
#[derive(Debug, Clone)]
pub(super) struct Preflight {
    /// With the findings
    pub report: DryRunReport,
    /// The lease could not be read: a person may have to vouch for being alone
    pub alone: bool,
}

/// Looks at the steps and at what the whole run needs, keeps what was seen, and words what was found.
pub(super) async fn look(sight: &Sight<'_>, store: Option<&Store>) -> Preflight {
    let (clients, plan) = (sight.clients, sight.plan);
    let (looked, identity, shared, ways, switch, late) = futures::join!(
        observe::plan(sight),
        identity(plan, clients),
        shared(plan, clients, sight.run),
        reach::ways(plan, clients),
        switch(plan, clients),
        reach::late_needs(plan, clients),
    );
    let (mut report, unseen) = looked;
    let mut known = Known::default();
    let mut findings = Vec::new();
    match store.map(|store| facts::load(store, plan)) {
        Some(Ok(kept)) => known = kept,
        Some(Err(why)) => findings.push(warning("facts", why, None)),
        None => {}
    }
    let Shared { finding, alone, known: other } = shared;
    known.take(other);
    let unseen = recall(&mut report, &known, unseen);
    if matches!(clients.network, clients::Network::Real) {
        // A rehearsal's estate is its world's.
        findings.extend(estate_file(plan));
        findings.extend(secrets(plan).await);
    }
    findings.extend(nothing_scaled(plan));
    findings.extend(credentials(plan, clients, &report, identity));
    findings.extend(unseen.iter().filter_map(|unseen| of_step(plan, &report, unseen)));
    findings.extend(finding);
    findings.extend(ways);
    findings.extend(late);
    findings.extend(switch);
    findings.extend(hosts(plan).into_iter().map(|(about, said)| good(about, said)));
    known.learn(&report);
    if let Some(store) = store
        && let Err(why) = facts::save(store, plan, &known.facts(report.seen, &clients.masks))
    {
        findings.push(warning("facts", format!("what was seen is not kept: {why}"), None));
    }
    report.findings = causes::gather(&mut report, findings);
    Preflight { report, alone }
}

/// Says that the estate file has what deserves a look; `validate` and `doctor` say what.
fn estate_file(plan: &Plan) -> Option<Finding> {
    let doubts = doubts(&plan.estate);
    let (first, _) = doubts.first()?;
    let more = match doubts.len() {
        1 => String::new(),
        many => format!(", and {} more", many - 1),
    };
    let hint = "see all of it: phoenix-dr validate".to_owned();
    Some(warning(ESTATE_FILE, format!("{first}{more}"), Some(hint)))
}

/// Says which secrets cannot be read: a program would be started without one in the middle of a run.
async fn secrets(plan: &Plan) -> Vec<Finding> {
    let mut named: Vec<(String, &Value)> =
        plan.inputs.iter().map(|(name, value)| (name.clone(), value)).collect();
    for step in &plan.steps {
        let Body::Action { with, .. } = &step.body else { continue };
        let variables = with.get("env").and_then(Value::as_object).into_iter().flatten();
        // What an input is has been named by it.
        let own = variables.filter(|(_, value)| plan.inputs.values().all(|input| input != *value));
        named.extend(own.map(|(name, value)| (format!("{name} of {}", step.id), value)));
    }
    let mut found = Vec::new();
    for (name, value) in named {
        let Ok(reference) = serde_json::from_value::<SecretRef>(value.clone()) else { continue };
        // A person is asked for it when the run is taken up.
        if reference.asked.is_some() {
            continue;
        }
        if let Err(error) = crate::estate::secrets::read(&reference).await {
            let hint = "make it readable where it was said to be".to_owned();
            let finding = warning(format!("secret {name}"), error.to_string(), Some(hint));
            found.push(Finding { level: FindingLevel::Blocking, ..finding });
        }
    }
    found
}

/// Says which P0 step would scale nothing: an estate with services and none at P0 is one that was not filled in.
fn nothing_scaled(plan: &Plan) -> Vec<Finding> {
    let nothing = |step: &&PlannedStep| match &step.body {
        Body::Action { action, with } => {
            let workloads = with.get("workloads").and_then(Value::as_array);
            action == "kubernetes.scale" && workloads.is_some_and(Vec::is_empty)
        }
        Body::Gate { .. } => false,
    };
    let urgent = |step: &&PlannedStep| step.priority == Some(Priority::P0);
    let steps = plan.steps.iter().filter(urgent).filter(nothing);
    let finding = |step: &PlannedStep| {
        let said = if plan.estate.services.is_empty() {
            "it scales nothing: the estate has no `services`"
        } else {
            "it scales nothing: no P0 service of the estate has a workload"
        };
        let hint =
            "give what must run first `priority: P0`, `workload` and `replicas` under `services:`";
        Finding {
            level: FindingLevel::Blocking,
            about: step.title.clone(),
            said: said.to_owned(),
            hint: Some(hint.to_owned()),
            step: Some(step.id.clone()),
        }
    };
    steps.map(finding).collect()
}

/// Puts what was seen before in the place of what cannot be read now.
fn recall(report: &mut DryRunReport, known: &Known<'_>, unseen: Vec<Unseen>) -> Vec<Unseen> {
    let plan = &Arc::clone(&report.plan);
    let places: HashMap<&StepId, usize> =
        plan.steps.iter().enumerate().map(|(i, step)| (&step.id, i)).collect();
    let missed = |step: &&mut DryRunStep| step.fidelity == Fidelity::Unreachable;
    for step in report.steps.iter_mut().filter(missed) {
        let Some(i) = places.get(&step.step).copied() else { continue };
        let (planned, Some(seen)) = (&plan.steps[i], known.of(plan, i)) else { continue };
        match &mut step.found {
            Found::Unreachable { .. } => {
                let state = Box::new(seen.state());
                let commands = std::mem::take(&mut step.commands);
                *step = DryRunStep::of(
                    planned,
                    Fidelity::Unreachable,
                    Found::State { state },
                    commands,
                );
            }
            // Read in part: what is missing in it is told beside it.
            Found::State { state } => state.evidence.push(seen.line()),
            Found::Gate { .. }
            | Found::KnownAfter { .. }
            | Found::Deferred { .. }
            | Found::Skipped { .. }
            | Found::ByHand { .. } => {}
        }
    }
    let recalled = |unseen: Unseen| {
        let i = plan.steps.iter().position(|step| step.id == unseen.step);
        match i.and_then(|i| known.of(plan, i)).filter(|_| !unseen.foreseen) {
            Some(seen) => Unseen { why: format!("{}; {}", unseen.why, seen.line()), ..unseen },
            None => unseen,
        }
    };
    unseen.into_iter().map(recalled).collect()
}

fn of_step(plan: &Plan, report: &DryRunReport, unseen: &Unseen) -> Option<Finding> {
    let step = plan.step(&unseen.step)?;
    let said = if unseen.foreseen {
        format!("would fail as things are: {}", unseen.why)
    } else {
        unseen.why.clone()
    };
    Some(Finding {
        level: level(plan, report, step, unseen),
        about: step.title.clone(),
        said,
        hint: unseen.hint.clone(),
        step: Some(step.id.clone()),
    })
}

/// What a step cannot be observed for blocks only where P0 depends on it and there is no other way: not what lies in
/// the lost region, which is why there is a failover at all, and not one of several recovery points.
fn level(plan: &Plan, report: &DryRunReport, step: &PlannedStep, unseen: &Unseen) -> FindingLevel {
    let Body::Action { action, with } = &step.body else { return FindingLevel::Warning };
    let region = with.get("region").and_then(Value::as_str);
    let lost = region.is_some() && region == lost_region(plan);
    let (candidates, _) = observe::candidates(report);
    let ways = candidates.iter().filter(|candidate| candidate.unusable.is_none()).count();
    let other_way = unseen.foreseen && action.starts_with("rds.") && ways > 1;
    let p0 = step.priority == Some(Priority::P0) && step.critical;
    if p0 && !lost && !other_way { FindingLevel::Blocking } else { FindingLevel::Warning }
}

/// Returns the region that failed, where the plan is about one.
fn lost_region(plan: &Plan) -> Option<&str> {
    let input = |name: &str| plan.inputs.get(name).and_then(Value::as_str);
    let primary = plan.estate.primary.region.as_str();
    input("from").or_else(|| input("region").filter(|to| *to != primary).map(|_| primary))
}

/// Asks who we are; `None` where nothing of the plan asks AWS.
async fn identity(plan: &Plan, clients: &Clients) -> Option<Result<Identity, ActionError>> {
    if !uses_aws(plan) {
        return None;
    }
    let asked = within(&*clients.clock, ASK_LIMIT, clients.aws.identity()).await;
    // STS that does not answer says nothing about the credentials.
    Some(asked.unwrap_or_else(|late| {
        Err(ActionError::unchanged(FailureClass::Timeout, format!("STS: {late}")))
    }))
}

fn credentials(
    plan: &Plan,
    clients: &Clients,
    report: &DryRunReport,
    identity: Option<Result<Identity, ActionError>>,
) -> Option<Finding> {
    let identity = match identity? {
        Ok(identity) => identity,
        Err(error) => {
            let level = match error.class {
                FailureClass::Credentials | FailureClass::Denied => FindingLevel::Blocking,
                FailureClass::Throttled
                | FailureClass::Transient
                | FailureClass::Invalid
                | FailureClass::NotFound
                | FailureClass::Conflict
                | FailureClass::Capacity
                | FailureClass::Timeout
                | FailureClass::Overdue
                | FailureClass::Refused
                | FailureClass::Unproved
                | FailureClass::Doubt
                | FailureClass::Internal => FindingLevel::Warning,
            };
            let finding = warning("credentials", error.message, error.hint);
            return Some(Finding { level, ..finding });
        }
    };
    let mut said =
        format!("{} of account {} by {}", identity.arn, identity.account, identity.source);
    if identity.break_glass {
        said = format!("BREAK-GLASS {said}");
    }
    let now = clients.clock.now();
    let short = identity.expires.and_then(|end| {
        let left = since(now, end);
        let before =
            needed_longest(plan, report, now).into_iter().find(|(_, span)| left < *span)?;
        Some(format!(
            "they expire in {}, before {} (about {})",
            minutes(left),
            before.0,
            minutes(before.1)
        ))
    });
    Some(match short {
        Some(short) => {
            let hint = "renew them now; a run that meets their end waits for new ones".to_owned();
            warning("credentials", format!("{short}: {said}"), Some(hint))
        }
        None => good("credentials", said),
    })
}

/// Returns how long P0 and the whole run take by the forecast's critical path, each with its words.
pub(super) fn needed_longest(
    plan: &Plan,
    report: &DryRunReport,
    now: jiff::Timestamp,
) -> Vec<(String, Duration)> {
    let (candidates, best) = observe::candidates(report);
    let assume = go::assume(plan, report, &candidates, best.as_deref());
    let view = ViewState::of_plan(&report.plan);
    let outlooks = Network::new(plan).outlooks(&view, &assume, now);
    let ends = outlooks.into_iter().filter_map(|(priority, outlook)| match outlook {
        Outlook::Ahead { latest, .. } => Some((priority, since(now, latest))),
        Outlook::Done { .. } | Outlook::Blocked { .. } => None,
    });
    let mut ends: Vec<(String, Duration)> =
        ends.map(|(priority, span)| (format!("{priority:?} is restored"), span)).collect();
    // The first is the most urgent; of the others only the longest matters.
    let longest = ends.iter().skip(1).max_by_key(|(_, span)| *span).cloned();
    ends.truncate(1);
    ends.extend(longest.map(|(_, span)| ("the run is done".to_owned(), span)));
    ends
}

/// Says whether the failover object would move traffic, where the runbook moves any.
async fn switch(plan: &Plan, clients: &Clients) -> Option<Finding> {
    let moves = |step: &PlannedStep| matches!(&step.body, Body::Action { action, .. } if action == "traffic.shift");
    if !plan.steps.iter().any(moves) {
        return None;
    }
    let wiring = within(&*clients.clock, ASK_LIMIT, wiring(clients)).await;
    let wiring = wiring.unwrap_or_else(|late| Some(Wiring::Unproved(format!("Route 53: {late}"))));
    let about = "failover object";
    Some(match wiring? {
        Wiring::Proved(said) => good(about, said),
        Wiring::Broken(why) => warning(
            about,
            format!("it would move no traffic: {why}"),
            Some("correct it, or count on the record sets alone".to_owned()),
        ),
        Wiring::Unproved(why) => {
            warning(about, format!("whether it moves traffic is not proved: {why}"), None)
        }
    })
}

/// What is kept in the surviving region.
struct Shared {
    finding: Option<Finding>,
    alone: bool,
    known: Known<'static>,
}

/// Reads the lease, to see that it can be read and who has it, and the shared facts.
async fn shared(plan: &Plan, clients: &Arc<Clients>, run: &RunId) -> Shared {
    let (Some(lease), Some(place)) =
        (compose::lease_store(clients), compose::facts_store(clients, &plan.runbook))
    else {
        let said = "none is configured: tell your team that you are acting".to_owned();
        let hint = "give the estate a `state.s3` in the region that survives".to_owned();
        let finding = Some(warning("shared lock", said, Some(hint)));
        return Shared { finding, alone: false, known: Known::default() };
    };
    let now = clients.clock.now();
    let looks = futures::future::join(
        lease::look(&lease, &clients.estate.estate, now),
        facts::fetch(&place),
    );
    let (held, known) = match within(&*clients.clock, ASK_LIMIT, looks).await {
        Ok(both) => both,
        Err(late) => {
            let late = format!("{}: {late}", lease.place());
            (Err(GetError::Failed(late)), Err(String::new()))
        }
    };
    let mut alone = false;
    let finding = match held {
        Ok(None) => good("shared lock", format!("{} is free", lease.place())),
        Ok(Some((holder, _))) if holder == *run => {
            good("shared lock", format!("{} is this run's", lease.place()))
        }
        Ok(Some((_, holder))) => {
            let hint = "a run that starts now is refused; ask its holder".to_owned();
            warning("shared lock", format!("it is held: {holder}"), Some(hint))
        }
        Err(error) => {
            alone = true;
            let hint = match &error {
                // What is wrong is a name, and whoever puts it right need not vouch for anything.
                GetError::NoBucket(_) => no_bucket(plan),
                GetError::Failed(_) => {
                    "a run that goes on must be vouched for: `I am the only operator`".to_owned()
                }
            };
            warning("shared lock", error.into(), Some(hint))
        }
    };
    // Facts that cannot be read are only missed where a look fails, which is told there.
    Shared { finding: Some(finding), alone, known: known.unwrap_or_default() }
}

/// Says how to find the bucket that is meant, where the estate names none that exists.
fn no_bucket(plan: &Plan) -> String {
    let region = plan.estate.state.as_ref().map(|state| state.s3.region.as_str());
    format!(
        "name the bucket that is there (aws s3 ls), or make it: aws s3 mb s3://NAME --region {}",
        region.unwrap_or("REGION")
    )
}

/// Returns the host of everything the plan may ask, a line for each place.
pub(super) fn hosts(plan: &Plan) -> Vec<(String, String)> {
    use crate::clients::endpoints::{host_of, shown};
    use crate::clients::kubernetes::server_of;
    let estate = &plan.estate;
    let inputs = plan.inputs.values().filter_map(Value::as_str);
    let mut regions: Vec<&str> = inputs.filter(|name| estate.regions.contains_key(*name)).collect();
    regions.extend(estate.state.as_ref().map(|state| state.s3.region.as_str()));
    let object = estate.dns.as_ref().and_then(|dns| dns.failover_object.as_ref());
    regions.extend(object.map(|object| object.region.as_str()));
    regions.extend(bucket_of_dumps(plan).map(|bucket| bucket.region.as_str()));
    regions.extend(bucket_of_base_backups(plan).map(|bucket| bucket.region.as_str()));
    regions.sort_unstable();
    regions.dedup();
    let aws = uses_aws(plan);
    let mut lines = Vec::new();
    for region in regions {
        let mut parts = Vec::new();
        if let Some(known) = estate.regions.get(region) {
            parts.push(format!("application {}", host_of(&known.api)));
            for (service, url) in shown(estate, region).into_iter().filter(|_| aws) {
                let named = service.of(&known.endpoints).is_some();
                let whose = if named { " (by the estate file)" } else { "" };
                parts.push(format!("{} {}{whose}", service.name(), host_of(&url)));
            }
        }
        if let Some(cluster) = estate.clusters.get(region) {
            let server = server_of(&cluster.context, cluster.kubeconfig.as_deref());
            parts.push(format!("Kubernetes {}", server.as_deref().map_or("unknown", host_of)));
        }
        lines.push((format!("hosts of {region}"), parts.join(", ")));
    }
    if let Some(database) = &estate.database {
        let named = database.addresses.iter().map(|(id, address)| format!("{id} {address}"));
        let instances = [Some(&database.primary), database.replica.as_ref()];
        let known = instances.into_iter().flatten().filter_map(|instance| {
            let address = instance.address.as_ref()?;
            let elsewhere = database.addresses.contains_key(&instance.id);
            (!elsewhere).then(|| format!("{} {address}", instance.id))
        });
        let parts: Vec<String> = named.chain(known).collect();
        if !parts.is_empty() {
            lines.push(("hosts of the database".to_owned(), parts.join(", ")));
        }
    }
    lines
}

pub(super) fn good(about: impl Into<String>, said: String) -> Finding {
    Finding { level: FindingLevel::Good, about: about.into(), said, hint: None, step: None }
}

pub(super) fn warning(about: impl Into<String>, said: String, hint: Option<String>) -> Finding {
    Finding { level: FindingLevel::Warning, about: about.into(), said, hint, step: None }
}

#[cfg(test)]
#[path = "preflight_tests.rs"]
mod tests;
