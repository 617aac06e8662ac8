//! Action `kubernetes.restart`: one rollout of each workload, marked with the call's token so that it happens once.
//!
//! The mark is an annotation of the pod template, as kubectl's is: changing it is what starts the rollout.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Patch;
use serde_json::{Map, Value, json};

use super::rollout::{self, Goal, Rollout, Want};
use super::{Permission, TRIES, Workload, bounded, changed_meanwhile, patch_params, permitted};
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::kubernetes::{Cluster, change, cluster};
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::outcome::{ActionError, Difference, Effect, FailureClass, Fidelity};
use crate::runbook::catalogue::actions::KubernetesRestart;

/// Holds the token of the call that restarted the workload last.
const MARK: &str = "phoenix-dr/restarted-for";
/// What `kubectl rollout restart` sets; people look for it.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// A mark on workloads' pod templates: which one, and from what to what.
#[derive(Clone, Copy)]
pub(crate) struct Mark<'a> {
    pub annotation: &'a str,
    /// Values by workload it may be found at, besides the new ones
    pub from: &'a Value,
    /// Values by workload it is set to; null removes it
    pub to: &'a Value,
    pub dry_run: bool,
}

/// Returns a mark's value on a Deployment; null when there is none.
pub(crate) fn marked(deployment: &Deployment, annotation: &str) -> Value {
    let template = deployment.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
    let annotations = template.and_then(|template| template.annotations.as_ref());
    annotations.and_then(|all| all.get(annotation)).map_or(Value::Null, |mark| json!(mark))
}

/// Returns every workload's mark, and whether all of them have rolled out.
pub(crate) async fn read_marks(
    clients: &Clients,
    cluster: &Cluster,
    workloads: &[Workload],
    annotation: &str,
) -> Result<(Value, bool), ActionError> {
    let read = bounded(workloads.iter().map(|workload| workload.get(clients, cluster))).await;
    let mut marks = Map::new();
    let mut complete = true;
    for (workload, deployment) in workloads.iter().zip(read) {
        let deployment = deployment?;
        complete &= Rollout::of(&deployment).complete();
        marks.insert(workload.to_string(), marked(&deployment, annotation));
    }
    Ok((Value::Object(marks), complete))
}

/// Sets a mark on every workload, which restarts each. An error after the first says `Applied`.
pub(crate) async fn mark(
    clients: &Clients,
    cluster: &Cluster,
    workloads: &[Workload],
    mark: Mark<'_>,
) -> Result<(), ActionError> {
    let mut changed = false;
    for workload in workloads {
        match mark_one(clients, cluster, workload, mark).await {
            Ok(set) => changed |= set,
            Err(error) if changed => {
                return Err(ActionError { effect: Effect::Applied, ..error });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn mark_one(
    clients: &Clients,
    cluster: &Cluster,
    workload: &Workload,
    mark: Mark<'_>,
) -> Result<bool, ActionError> {
    let name = workload.to_string();
    let null = &Value::Null;
    let (from, to) = (mark.from.get(&name).unwrap_or(null), mark.to.get(&name).unwrap_or(null));
    let mut last = None;
    for _ in 0..TRIES {
        let deployment = match workload.get(clients, cluster).await {
            Ok(deployment) => deployment,
            Err(error) => return Err(last.unwrap_or(error)),
        };
        let now = marked(&deployment, mark.annotation);
        if now == *to {
            return Ok(last.is_some());
        }
        if now != *from {
            return Err(changed_meanwhile(
                &format!("annotation {} of {name}", mark.annotation),
                from,
                &now,
            ));
        }
        let mut annotations = json!({ mark.annotation: to });
        if mark.annotation == MARK && !to.is_null() {
            annotations[RESTARTED_AT] = json!(clients.clock.now().to_string());
        }
        let patch = Patch::Merge(json!({
            "metadata": { "resourceVersion": deployment.metadata.resource_version },
            "spec": { "template": { "metadata": { "annotations": annotations } } },
        }));
        let params = patch_params(mark.dry_run);
        let api = workload.api(cluster);
        let patched = api.patch(&workload.name, &params, &patch);
        match change(clients, &format!("restart {name}"), patched).await {
            Ok(_) => return Ok(true),
            // Its status changed in between, or the answer was lost: the next look tells.
            Err(error)
                if error.class == FailureClass::Conflict || error.effect == Effect::Unknown =>
            {
                last = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| changed_meanwhile(&name, from, to)))
}

/// Waits until every workload has rolled out.
pub(crate) async fn rolled_out(
    clients: &Clients,
    cluster: &Cluster,
    call: &Call,
    workloads: &[Workload],
) -> Result<(), ActionError> {
    let goals: Vec<Goal> = workloads
        .iter()
        .map(|workload| Goal { workload: workload.clone(), want: Want::Rollout })
        .collect();
    rollout::until(clients, cluster, call, &goals).await
}

/// Returns the command lines that restart workloads and wait for them.
pub(crate) fn kubectl(cluster: &Cluster, workloads: &[Workload]) -> Vec<String> {
    let kubectl = cluster.kubectl();
    let lines = workloads.iter().flat_map(|Workload { namespace, name }| {
        [
            format!("{kubectl} -n {namespace} rollout restart deployment/{name}"),
            by_hand::kubernetes::rollout(&kubectl, namespace, name, &rollout::limit().to_string()),
        ]
    });
    lines.collect()
}

/// Has the server check the restart: the permission, then the patch as a dry run.
pub(crate) async fn validate(
    clients: &Clients,
    cluster: &Cluster,
    workloads: &[Workload],
    with: Mark<'_>,
) -> Result<(), ActionError> {
    let mut namespaces: Vec<&str> =
        workloads.iter().map(|workload| workload.namespace.as_str()).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    for namespace in namespaces {
        let (group, resource) = ("apps", "deployments");
        let permission = Permission { verb: "patch", group, resource, namespace };
        permitted(clients, cluster, &permission).await?;
    }
    mark(clients, cluster, workloads, Mark { dry_run: true, ..with }).await
}

fn parsed(with: &KubernetesRestart) -> Result<Vec<Workload>, ActionError> {
    with.workloads.iter().map(|workload| Workload::parse(workload)).collect()
}

/// Reads the marks; satisfied when this call's own restart has rolled out.
pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &KubernetesRestart,
) -> Result<Observation, ActionError> {
    let cluster = cluster(clients, &with.region).await?;
    let workloads = parsed(with)?;
    let (live, complete) = read_marks(clients, &cluster, &workloads, MARK).await?;
    let token = call.token();
    let desired: Map<String, Value> =
        workloads.iter().map(|workload| (workload.to_string(), json!(token))).collect();
    let mut seen = Observation::new(live, Value::Object(desired));
    if !clients.guard.is_armed() && !seen.satisfied {
        let mark = Mark { annotation: MARK, from: &seen.live, to: &seen.desired, dry_run: true };
        validate(clients, &cluster, &workloads, mark).await?;
        seen.fidelity = Fidelity::Validated;
    }
    seen.satisfied &= complete;
    seen.differences = workloads
        .iter()
        .filter(|workload| {
            seen.live.get(workload.to_string()) != seen.desired.get(workload.to_string())
        })
        .map(|workload| Difference {
            what: format!("{workload} pods"),
            from: "running".to_owned(),
            to: "restarted".to_owned(),
        })
        .collect();
    seen.commands = kubectl(&cluster, &workloads);
    Ok(seen)
}

/// Restarts every workload and waits for the rollouts.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &KubernetesRestart,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let cluster = cluster(clients, &with.region).await?;
    let workloads = parsed(with)?;
    let to = Mark { annotation: MARK, from: &seen.live, to: &seen.desired, dry_run: false };
    mark(clients, &cluster, &workloads, to).await?;
    rolled_out(clients, &cluster, call, &workloads).await?;
    Ok(Performed {
        after: seen.desired.clone(),
        outputs: Map::new(),
        obligations: Vec::new(),
        notes: workloads.iter().map(|workload| format!("restarted {workload}")).collect(),
    })
}

/// Takes the marks back, which is one more rollout: the pods then have read what is there now.
pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &KubernetesRestart,
    image: &Image,
) -> Result<(), ActionError> {
    let cluster = cluster(clients, &with.region).await?;
    let workloads = parsed(with)?;
    let back = Mark { annotation: MARK, from: &image.ours, to: &image.before, dry_run: false };
    mark(clients, &cluster, &workloads, back).await?;
    rolled_out(clients, &cluster, call, &workloads).await
}
