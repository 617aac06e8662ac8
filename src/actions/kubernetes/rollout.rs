//! The wait until workloads run as asked, judged by the generation the controller has seen, with progress and reasons.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

use super::{Workload, bounded, diagnose};
use crate::clients::Clients;
use crate::clients::kubernetes::{Cluster, FIELD_MANAGER, read};
use crate::engine::ports::Call;
use crate::outcome::{ActionError, Effect, FailureClass};
use crate::span::Span;

const EVERY: Duration = Duration::from_secs(2);
/// Time the wait takes at most where the attempt has no deadline of its own.
const LIMIT: Duration = Duration::from_secs(9 * 60 + 30);
/// Time left at the end of an attempt to find out why.
const RESERVE: Duration = Duration::from_secs(10);
/// What the cluster's clock may differ from ours.
const CLOCKS: Duration = Duration::from_secs(60);
/// Polls between two looks at the pods' reasons, for the progress line.
const REASONS_EVERY: u32 = 5;

/// State of a Deployment, as far as a wait cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rollout {
    /// Replicas its spec asks for
    pub asked: i32,
    /// The controller has seen the latest spec; without it the rest is old news
    pub current: bool,
    pub updated: i32,
    pub total: i32,
    pub available: i32,
    pub ready: i32,
    /// The controller has given up: when, as far as it says, and why
    pub failed: Option<GaveUp>,
}

/// A rollout the controller has given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GaveUp {
    pub at: Option<Timestamp>,
    pub why: String,
}

impl Rollout {
    /// Reads the state.
    pub(crate) fn of(deployment: &Deployment) -> Self {
        let status = deployment.status.clone().unwrap_or_default();
        let asked = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let current = status.observed_generation >= deployment.metadata.generation;
        let failed = status.conditions.unwrap_or_default().into_iter().find_map(|condition| {
            let gave_up = condition.type_ == "Progressing"
                && condition.status == "False"
                && condition.reason.as_deref() == Some("ProgressDeadlineExceeded");
            (current && gave_up).then(|| GaveUp {
                at: condition.last_update_time.map(|time| time.0),
                why: condition.message.unwrap_or_default(),
            })
        });
        Self {
            asked,
            current,
            updated: status.updated_replicas.unwrap_or(0),
            total: status.replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            failed,
        }
    }

    /// Says whether at least so many replicas are available.
    pub(crate) const fn has(&self, replicas: i32) -> bool {
        self.current && self.available >= replicas
    }

    /// Says whether the latest template runs everywhere and nothing older does.
    pub(crate) const fn complete(&self) -> bool {
        self.current
            && self.updated >= self.asked
            && self.total <= self.updated
            && self.available >= self.updated
    }
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Want {
    /// So many replicas available; held by the autoscaler of that name, where there is one
    Replicas { count: i32, autoscaler: Option<String> },
    /// The latest template everywhere
    Rollout,
}

/// One workload that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Goal {
    pub workload: Workload,
    pub want: Want,
}

/// One look at a goal.
#[derive(Debug)]
struct Standing {
    ready: i32,
    wanted: i32,
    done: bool,
    failed: Option<GaveUp>,
}

/// Waits until every goal is met. Its errors say `Applied`: what is waited for was done before.
pub(crate) async fn until(
    clients: &Clients,
    cluster: &Cluster,
    call: &Call,
    goals: &[Goal],
) -> Result<(), ActionError> {
    let (began, deadline) = (clients.clock.now(), deadline(clients, call));
    let mut reasons = String::new();
    for poll in 1_u32.. {
        let standings = look(clients, cluster, goals).await;
        let mut open = Vec::new();
        let (mut ready, mut wanted) = (0, 0);
        for (goal, standing) in goals.iter().zip(standings) {
            match standing {
                Ok(standing) => {
                    ready += standing.ready.min(standing.wanted);
                    wanted += standing.wanted;
                    // What has come up is up, and what a rollout of before gave up about is old news: a workload
                    // that is only scaled keeps its conditions.
                    let new = |failed: &GaveUp| failed.at.is_none_or(|at| at + CLOCKS >= began);
                    if let Some(GaveUp { why, .. }) = standing.failed.filter(new)
                        && !standing.done
                    {
                        let said = format!("the rollout of {} gave up: {why}", goal.workload);
                        return Err(explained(
                            clients,
                            cluster,
                            std::slice::from_ref(&goal.workload),
                            said,
                        )
                        .await);
                    }
                    if !standing.done {
                        open.push(goal.workload.clone());
                    }
                }
                // A lost read is no news; a lost permission or another writer is.
                Err(error) if error.class.retryable() => open.push(goal.workload.clone()),
                Err(error) => return Err(ActionError { effect: Effect::Applied, ..error }),
            }
        }
        if open.is_empty() {
            return Ok(());
        }
        if poll % REASONS_EVERY == 0 {
            reasons = diagnose::brief(clients, cluster, &open).await;
        }
        tell(call, ready, wanted, &reasons);
        if clients.clock.now() >= deadline {
            let names: Vec<String> = open.iter().map(ToString::to_string).collect();
            let said =
                format!("{ready} of {wanted} ready in time; waiting for {}", names.join(", "));
            return Err(explained(clients, cluster, &open, said).await);
        }
        clients.clock.sleep(EVERY).await;
    }
    Ok(())
}

fn deadline(clients: &Clients, call: &Call) -> Timestamp {
    let limit = clients.clock.now() + LIMIT;
    call.progress.deadline().map_or(limit, |end| end - RESERVE)
}

#[expect(clippy::cast_precision_loss, reason = "a bar needs no more than a few digits")]
fn tell(call: &Call, ready: i32, wanted: i32, reasons: &str) {
    let fraction = (wanted > 0).then(|| ready as f32 / wanted as f32);
    let sep = if reasons.is_empty() { "" } else { "; " };
    call.progress.tell(format!("{ready} of {wanted} ready{sep}{reasons}"), fraction);
}

async fn explained(
    clients: &Clients,
    cluster: &Cluster,
    open: &[Workload],
    said: String,
) -> ActionError {
    let found = diagnose::why(clients, cluster, open).await;
    let mut message = said;
    for line in &found.lines {
        message.push_str("\n  ");
        message.push_str(line);
    }
    let error = ActionError::applied(FailureClass::Capacity, message);
    match found.hint {
        Some(hint) => error.hint(hint),
        None => error.hint(format!("see `{} get pods,events`", cluster.kubectl())),
    }
}

async fn look(
    clients: &Clients,
    cluster: &Cluster,
    goals: &[Goal],
) -> Vec<Result<Standing, ActionError>> {
    bounded(goals.iter().map(|goal| standing(clients, cluster, goal))).await
}

async fn standing(
    clients: &Clients,
    cluster: &Cluster,
    goal: &Goal,
) -> Result<Standing, ActionError> {
    let workload = &goal.workload;
    let deployment = workload.get(clients, cluster).await?;
    let rollout = Rollout::of(&deployment);
    match &goal.want {
        Want::Rollout => Ok(Standing {
            ready: rollout.available.min(rollout.updated),
            wanted: rollout.asked,
            done: rollout.complete(),
            failed: rollout.failed,
        }),
        Want::Replicas { count, autoscaler } => {
            let (kept, fields, field) = match autoscaler {
                None => (rollout.asked, deployment.metadata.managed_fields, "f:replicas"),
                Some(name) => {
                    let what = format!("read autoscaler {}/{name}", workload.namespace);
                    let api = super::scale::autoscalers(cluster, &workload.namespace);
                    let found = read(clients, &what, api.get(name)).await?;
                    let least = found.spec.and_then(|spec| spec.min_replicas).unwrap_or(1);
                    (least, found.metadata.managed_fields, "f:minReplicas")
                }
            };
            if kept < *count {
                return Err(put_back(
                    workload,
                    autoscaler.as_deref(),
                    *count,
                    kept,
                    &fields,
                    field,
                ));
            }
            Ok(Standing {
                ready: rollout.ready,
                wanted: *count,
                done: rollout.has(*count),
                failed: rollout.failed,
            })
        }
    }
}

/// Returns the error of a number another controller put back, with its name where the server knows it.
fn put_back(
    workload: &Workload,
    autoscaler: Option<&str>,
    count: i32,
    kept: i32,
    fields: &Option<Vec<ManagedFieldsEntry>>,
    field: &str,
) -> ActionError {
    let who = owner(fields.as_deref().unwrap_or_default(), field);
    let what = match autoscaler {
        Some(name) => format!("minReplicas of {}/{name}", workload.namespace),
        None => format!("replicas of {workload}"),
    };
    let by = who.as_deref().unwrap_or("another controller");
    ActionError::applied(
        FailureClass::Conflict,
        format!("{by} put {what} back from {count} to {kept}"),
    )
    .hint(format!(
        "pause {by} for it (GitOps auto-sync, an operator, a scheduled scaler), then try again"
    ))
}

/// Returns the manager that wrote a field of the spec last, other than this program.
fn owner(fields: &[ManagedFieldsEntry], field: &str) -> Option<String> {
    fields
        .iter()
        .filter(|entry| {
            let owned = entry.fields_v1.as_ref().and_then(|fields| fields.0.get("f:spec"));
            owned.is_some_and(|spec| spec.get(field).is_some())
        })
        .filter(|entry| entry.manager.as_deref() != Some(FIELD_MANAGER))
        .max_by_key(|entry| entry.time.as_ref().map(|time| time.0))
        .and_then(|entry| entry.manager.clone())
}

/// Returns a span of the default limit, for what is said before the wait.
pub(crate) const fn limit() -> Span {
    Span(LIMIT)
}
