//! Action `kubernetes.scale`: at least so many ready replicas of several workloads, by the autoscaler where one owns them.
//!
//! All or none are set; then they are waited for. Setting `replicas` of a workload an autoscaler owns would be undone
//! by it at once, so its `minReplicas` is raised instead.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use kube::api::{Api, ListParams, Patch};
use serde_json::{Map, Value, json};

use super::rollout::{Goal, Rollout, Want};
use super::{
    Permission, TRIES, Workload, bounded, changed_meanwhile, lies_between, patch_params, permitted,
    rollout,
};
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::kubernetes::{Cluster, change, cluster, read};
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::outcome::{ActionError, Difference, Effect, FailureClass, Fidelity};
use crate::runbook::catalogue::actions::{KubernetesScale, WorkloadScale};

/// Returns the autoscalers of a namespace.
pub(super) fn autoscalers(cluster: &Cluster, namespace: &str) -> Api<HorizontalPodAutoscaler> {
    Api::namespaced(cluster.client.clone(), namespace)
}

/// A workload as it is, with what was asked of it.
struct Found {
    workload: Workload,
    count: i32,
    deployment: Deployment,
    autoscaler: Option<HorizontalPodAutoscaler>,
}

impl Found {
    async fn read(
        clients: &Clients,
        cluster: &Cluster,
        workload: Workload,
        count: i32,
    ) -> Result<Self, ActionError> {
        let deployment = workload.get(clients, cluster).await?;
        let what = format!("list the autoscalers of {}", workload.namespace);
        let api = autoscalers(cluster, &workload.namespace);
        let listed = read(clients, &what, api.list(&ListParams::default())).await?;
        let autoscaler = listed.items.into_iter().find(|autoscaler| {
            autoscaler.spec.as_ref().is_some_and(|spec| {
                let target = &spec.scale_target_ref;
                target.kind == "Deployment" && target.name == workload.name
            })
        });
        Ok(Self { workload, count, deployment, autoscaler })
    }

    fn replicas(&self) -> i32 {
        self.deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    fn autoscaler_name(&self) -> Option<String> {
        self.autoscaler.as_ref().and_then(|autoscaler| autoscaler.metadata.name.clone())
    }

    /// Returns the state in the action's own shape. Replicas an autoscaler chose are not in it: they move by
    /// themselves; except zero, which switches the autoscaler off.
    fn live(&self) -> Value {
        let Some(autoscaler) = &self.autoscaler else {
            return json!({ "replicas": self.replicas() });
        };
        let spec = autoscaler.spec.clone().unwrap_or_default();
        let mut live = json!({
            "hpa": autoscaler.metadata.name,
            "min": spec.min_replicas.unwrap_or(1),
            "max": spec.max_replicas,
        });
        if self.replicas() == 0 {
            live["replicas"] = json!(0);
        }
        live
    }

    /// Returns the wanted state: a workload that has more keeps it.
    fn desired(&self) -> Value {
        let Some(autoscaler) = &self.autoscaler else {
            return json!({ "replicas": self.replicas().max(self.count) });
        };
        let spec = autoscaler.spec.clone().unwrap_or_default();
        let mut desired = json!({
            "hpa": autoscaler.metadata.name,
            "min": spec.min_replicas.unwrap_or(1).max(self.count),
            "max": spec.max_replicas.max(self.count),
        });
        if self.replicas() == 0 && self.count == 0 {
            desired["replicas"] = json!(0);
        }
        desired
    }

    /// Returns how many replicas must be ready.
    fn wanted(&self) -> i32 {
        let desired = self.desired();
        let least = desired.get("min").or_else(|| desired.get("replicas"));
        let least = least.and_then(Value::as_i64).and_then(|count| i32::try_from(count).ok());
        least.unwrap_or(self.count)
    }

    fn goal(&self) -> Goal {
        let want = Want::Replicas { count: self.wanted(), autoscaler: self.autoscaler_name() };
        Goal { workload: self.workload.clone(), want }
    }
}

/// Reads what is and says what would be; with a closed guard the server itself checks the change.
pub(crate) async fn observe(
    clients: &Clients,
    _call: &Call,
    with: &KubernetesScale,
) -> Result<Observation, ActionError> {
    let cluster = cluster(clients, &with.region).await?;
    let found = find(clients, &cluster, &with.workloads).await?;
    let (mut live, mut desired) = (Map::new(), Map::new());
    let (mut differences, mut commands, mut evidence) = (Vec::new(), Vec::new(), Vec::new());
    let mut ready = true;
    for found in &found {
        let (before, after) = (found.live(), found.desired());
        let rollout = Rollout::of(&found.deployment);
        differences.extend(difference(&found.workload, &before, &after));
        if before == after && !rollout.has(found.wanted()) {
            differences.push(Difference {
                what: format!("{} ready", found.workload),
                from: rollout.ready.to_string(),
                to: found.wanted().to_string(),
            });
        }
        ready &= rollout.has(found.wanted());
        evidence.push(said(found, &rollout));
        commands.extend(kubectl(&cluster, &found.workload, &before, &after));
        live.insert(found.workload.to_string(), before);
        desired.insert(found.workload.to_string(), after);
    }
    let mut seen = Observation::new(Value::Object(live), Value::Object(desired));
    if !clients.guard.is_armed() && !seen.satisfied {
        validate(clients, &cluster, &found).await?;
        seen.fidelity = Fidelity::Validated;
    }
    seen.satisfied &= ready;
    Ok(Observation { differences, commands, evidence, ..seen })
}

async fn find(
    clients: &Clients,
    cluster: &Cluster,
    workloads: &[WorkloadScale],
) -> Result<Vec<Found>, ActionError> {
    let mut wanted = Vec::new();
    for scale in workloads {
        let workload = Workload::parse(&scale.workload)?;
        if scale.replicas < 0 {
            return Err(ActionError::unchanged(
                FailureClass::Invalid,
                format!("{workload} cannot have {} replicas", scale.replicas),
            ));
        }
        wanted.push((workload, scale.replicas));
    }
    let found: Vec<Result<Found, ActionError>> = bounded(
        wanted.into_iter().map(|(workload, count)| Found::read(clients, cluster, workload, count)),
    )
    .await;
    all(found)
}

/// Returns all results, or one error that says everything that went wrong.
fn all<T>(results: Vec<Result<T, ActionError>>) -> Result<Vec<T>, ActionError> {
    let mut done = Vec::new();
    let mut failed: Option<ActionError> = None;
    for result in results {
        match (result, &mut failed) {
            (Ok(value), _) => done.push(value),
            (Err(error), None) => failed = Some(error),
            (Err(error), Some(first)) => {
                first.message.push('\n');
                first.message.push_str(&error.message);
                first.hint = match (first.hint.take(), error.hint) {
                    (Some(known), Some(more)) if !known.contains(&more) => {
                        Some(format!("{known}; {more}"))
                    }
                    (known, more) => known.or(more),
                };
                first.effect = first.effect.max(error.effect);
            }
        }
    }
    failed.map_or(Ok(done), Err)
}

fn said(found: &Found, rollout: &Rollout) -> String {
    let owner = match found.autoscaler_name() {
        Some(name) => format!(", owned by autoscaler {name}"),
        None => String::new(),
    };
    format!("{}: {} ready of {}{owner}", found.workload, rollout.ready, rollout.asked)
}

fn difference(workload: &Workload, before: &Value, after: &Value) -> Vec<Difference> {
    let text = |value: &Value, field: &str| value.get(field).map(ToString::to_string);
    let fields = [("replicas", "replicas"), ("min", "minReplicas"), ("max", "maxReplicas")];
    fields
        .into_iter()
        .filter(|(field, _)| before.get(field) != after.get(field))
        .map(|(field, name)| Difference {
            what: format!("{workload} {name}"),
            from: text(before, field).unwrap_or_else(|| "by the autoscaler".to_owned()),
            to: text(after, field).unwrap_or_else(|| "by the autoscaler".to_owned()),
        })
        .collect()
}

fn kubectl(cluster: &Cluster, workload: &Workload, before: &Value, after: &Value) -> Vec<String> {
    if before == after {
        return Vec::new();
    }
    let Workload { namespace, name } = workload;
    let kubectl = cluster.kubectl();
    let mut lines = Vec::new();
    if let Some(autoscaler) = after.get("hpa").and_then(Value::as_str) {
        let spec = json!({ "minReplicas": after["min"], "maxReplicas": after["max"] });
        lines.push(by_hand::kubernetes::autoscaler(&kubectl, namespace, autoscaler, &spec));
    }
    let scaled = match after.get("replicas") {
        Some(count) => Some(count.clone()),
        None if before.get("replicas") == Some(&json!(0)) => after.get("min").cloned(),
        None => None,
    };
    if let Some(count) = scaled {
        lines.push(by_hand::kubernetes::scale(&kubectl, namespace, name, &count.to_string()));
    }
    let limit = rollout::limit().to_string();
    lines.push(by_hand::kubernetes::rollout(&kubectl, namespace, name, &limit));
    lines
}

/// Has the server check the change: the permissions, then the patches themselves as a dry run.
async fn validate(
    clients: &Clients,
    cluster: &Cluster,
    found: &[Found],
) -> Result<(), ActionError> {
    let mut permissions = std::collections::BTreeSet::new();
    for found in found.iter().filter(|found| found.live() != found.desired()) {
        let namespace = found.workload.namespace.as_str();
        if found.autoscaler.is_some() {
            let (group, resource) = ("autoscaling", "horizontalpodautoscalers");
            permissions.insert(Permission { verb: "patch", group, resource, namespace });
        }
        if found.autoscaler.is_none() || found.replicas() == 0 {
            let (group, resource) = ("apps", "deployments/scale");
            permissions.insert(Permission { verb: "patch", group, resource, namespace });
        }
    }
    let reviews = permissions.iter().map(|permission| permitted(clients, cluster, permission));
    all(futures::future::join_all(reviews).await)?;
    let tried: Vec<Result<Brought, ActionError>> = bounded(found.iter().map(|found| {
        let (before, after) = (found.live(), found.desired());
        async move {
            let ends = Ends { before: &before, after: &after };
            bring(clients, cluster, &found.workload, ends, &after, true).await
        }
    }))
    .await;
    all(tried).map(|_| ())
}

/// Sets every workload, or none, and waits until they are ready.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &KubernetesScale,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let cluster = cluster(clients, &with.region).await?;
    let workloads = parsed(&with.workloads)?;
    call.progress.tell("setting replicas", None);
    set(clients, &cluster, &workloads, &seen.live, &seen.desired).await?;
    let applied = |error: ActionError| ActionError { effect: Effect::Applied, ..error };
    let found = find(clients, &cluster, &with.workloads).await.map_err(applied)?;
    let goals: Vec<Goal> = found.iter().map(Found::goal).collect();
    rollout::until(clients, &cluster, call, &goals).await?;
    let notes = found
        .iter()
        .flat_map(|found| {
            let name = found.workload.to_string();
            let (before, after) = (seen.live.get(&name), seen.desired.get(&name));
            difference(
                &found.workload,
                before.unwrap_or(&Value::Null),
                after.unwrap_or(&Value::Null),
            )
        })
        .map(|difference| format!("{}: {} -> {}", difference.what, difference.from, difference.to))
        .collect();
    Ok(Performed {
        after: seen.desired.clone(),
        outputs: Map::new(),
        obligations: Vec::new(),
        notes,
    })
}

/// Restores what every workload had, one by one; a workload that has it already is left alone.
pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &KubernetesScale,
    image: &Image,
) -> Result<(), ActionError> {
    let cluster = cluster(clients, &with.region).await?;
    call.progress.tell("restoring replicas", None);
    let workloads = parsed(&with.workloads)?;
    let (cluster, null) = (cluster.as_ref(), &Value::Null);
    let restored: Vec<Result<Brought, ActionError>> =
        bounded(workloads.iter().map(|workload| async move {
            let name = workload.to_string();
            let before = image.before.get(&name).unwrap_or(null);
            let ends = Ends { before, after: image.ours.get(&name).unwrap_or(null) };
            bring(clients, cluster, workload, ends, before, false).await
        }))
        .await;
    all(restored).map(|_| ())
}

fn parsed(workloads: &[WorkloadScale]) -> Result<Vec<Workload>, ActionError> {
    workloads.iter().map(|scale| Workload::parse(&scale.workload)).collect()
}

/// Sets all workloads; when one cannot be set, the others are put back, so that the step is done or not done.
async fn set(
    clients: &Clients,
    cluster: &Cluster,
    workloads: &[Workload],
    live: &Value,
    desired: &Value,
) -> Result<(), ActionError> {
    let null = &Value::Null;
    let ends = |workload: &Workload| {
        let name = workload.to_string();
        let before = live.get(&name).unwrap_or(null);
        Ends { before, after: desired.get(&name).unwrap_or(null) }
    };
    let mut brought: Vec<Result<Brought, ActionError>> =
        bounded(workloads.iter().map(|workload| async move {
            let ends = ends(workload);
            bring(clients, cluster, workload, ends, ends.after, false).await
        }))
        .await;
    if brought.iter().all(Result::is_ok) {
        return Ok(());
    }
    let mut left = Effect::None;
    for (workload, brought) in workloads.iter().zip(&mut brought) {
        let changed = match brought {
            Ok(Brought::Set) => true,
            Ok(Brought::Already) => false,
            // Its autoscaler was raised before the rest was refused.
            Err(error) => error.effect == Effect::Applied,
        };
        if !changed {
            continue;
        }
        let ends = ends(workload);
        match (bring(clients, cluster, workload, ends, ends.before, false).await, brought) {
            (Ok(_), Err(error)) => error.effect = Effect::None,
            (Ok(_), Ok(_)) => {}
            (Err(_), _) => left = Effect::Applied,
        }
    }
    match all(brought) {
        Ok(_) => Ok(()),
        Err(mut error) => {
            error.effect = error.effect.max(left);
            let state = match error.effect {
                Effect::None => "what had been set was put back",
                Effect::Unknown => "whether it was set is not known",
                Effect::Applied => "what had been set remains",
            };
            error.message = format!("{} ({state})", error.message);
            Err(error)
        }
    }
}

/// The two states between which a workload is this run's to move.
#[derive(Clone, Copy)]
struct Ends<'a> {
    before: &'a Value,
    after: &'a Value,
}

/// What bringing a workload somewhere did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brought {
    Already,
    Set,
}

/// Brings one workload to a state, if it is between its ends. The server refuses the patch when the object changed
/// in between; then it is looked at again, for its status changes more often than its spec.
async fn bring(
    clients: &Clients,
    cluster: &Cluster,
    workload: &Workload,
    ends: Ends<'_>,
    to: &Value,
    dry_run: bool,
) -> Result<Brought, ActionError> {
    let mut last = None;
    let mut wrote = false;
    for _ in 0..TRIES {
        let found = match Found::read(clients, cluster, workload.clone(), 0).await {
            Ok(found) => found,
            // After a lost answer a read that fails leaves the effect unknown.
            Err(error) => return Err(last.unwrap_or(error)),
        };
        let began = last.as_ref().map_or(Effect::None, |error: &ActionError| error.effect);
        let now = found.live();
        if now == *to {
            return Ok(if wrote { Brought::Set } else { Brought::Already });
        }
        if !lies_between(&now, ends.before, ends.after) {
            return Err(changed_meanwhile(&workload.to_string(), ends.before, &now));
        }
        let written = write(clients, cluster, &found, &now, to, dry_run).await;
        // What an earlier try of this loop changed is changed, whatever this one says.
        let written =
            written.map_err(|error| ActionError { effect: error.effect.max(began), ..error });
        match written {
            Ok(()) => return Ok(Brought::Set),
            Err(error)
                if error.class == FailureClass::Conflict
                    || error.effect == Effect::Unknown
                    || (error.effect == Effect::Applied && error.class.retryable()) =>
            {
                wrote |= error.effect != Effect::None;
                last = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| changed_meanwhile(&workload.to_string(), ends.before, to)))
}

/// Sends the patches that differ: the autoscaler first, so that it does not undo the other.
async fn write(
    clients: &Clients,
    cluster: &Cluster,
    found: &Found,
    now: &Value,
    to: &Value,
    dry_run: bool,
) -> Result<(), ActionError> {
    let Workload { namespace, name } = &found.workload;
    let params = patch_params(dry_run);
    let mut raised = false;
    if let (Some(autoscaler), true) = (&found.autoscaler, to.get("hpa").is_some())
        && (now.get("min"), now.get("max")) != (to.get("min"), to.get("max"))
    {
        let autoscaler_name = autoscaler.metadata.name.clone().unwrap_or_default();
        let what = format!("raise autoscaler {namespace}/{autoscaler_name}");
        let patch = Patch::Merge(json!({
            "metadata": { "resourceVersion": autoscaler.metadata.resource_version },
            "spec": { "minReplicas": to["min"], "maxReplicas": to["max"] },
        }));
        let api = autoscalers(cluster, namespace);
        change(clients, &what, api.patch(&autoscaler_name, &params, &patch)).await?;
        raised = !dry_run;
    }
    let replicas = match (to.get("replicas"), now.get("replicas")) {
        (Some(count), was) if was != Some(count) => Some(count),
        // An autoscaler does not move a workload from zero: it must have one to begin with.
        (None, Some(_)) => to.get("min"),
        _ => None,
    };
    let Some(replicas) = replicas else { return Ok(()) };
    let patch = Patch::Merge(json!({
        "metadata": { "resourceVersion": found.deployment.metadata.resource_version },
        "spec": { "replicas": replicas },
    }));
    let api = found.workload.api(cluster);
    let what = format!("scale {}", found.workload);
    match change(clients, &what, api.patch_scale(name, &params, &patch)).await {
        Ok(_) => Ok(()),
        // The autoscaler has its new bounds, whatever became of the replicas.
        Err(error) if raised => Err(ActionError { effect: Effect::Applied, ..error }),
        Err(error) => Err(error),
    }
}
