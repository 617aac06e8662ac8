//! Why pods do not get ready: what the scheduler, the kubelet and the warnings say, in the words they use.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{Api, ListParams};

use super::Workload;
use crate::clients::Clients;
use crate::clients::kubernetes::{Cluster, read};

const MESSAGE_MAX: usize = 200;
const EVENTS_MAX: usize = 3;
const LIST_MAX: u32 = 200;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// One a line, the workload first
    pub lines: Vec<String>,
    pub hint: Option<String>,
}

/// Returns the reasons of several workloads. What cannot be read is left out: this explains, it does not judge.
pub(super) async fn why(clients: &Clients, cluster: &Cluster, open: &[Workload]) -> Found {
    let mut found = Found::default();
    for workload in open {
        let pods = pods(clients, cluster, workload).await;
        let reasons = reasons(&pods);
        for (reason, (count, message)) in &reasons {
            let noun = if *count == 1 { "pod" } else { "pods" };
            let message = if message.is_empty() { String::new() } else { format!(": {message}") };
            found.lines.push(format!("{workload}: {count} {noun} {reason}{message}"));
            found.hint = found.hint.or_else(|| hint(cluster, workload, reason));
        }
        for (reason, message) in warnings(clients, cluster, workload).await {
            if !reasons.contains_key(&reason) {
                found.lines.push(format!("{workload}: event {reason}: {message}"));
                found.hint = found.hint.or_else(|| hint(cluster, workload, &reason));
            }
        }
    }
    found
}

/// Returns the same in a few words, for a progress line.
pub(super) async fn brief(clients: &Clients, cluster: &Cluster, open: &[Workload]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for workload in open {
        for (reason, (count, _)) in reasons(&pods(clients, cluster, workload).await) {
            *counts.entry(reason).or_default() += count;
        }
    }
    let said: Vec<String> =
        counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    said.join(", ")
}

async fn pods(clients: &Clients, cluster: &Cluster, workload: &Workload) -> Vec<Pod> {
    let Ok(deployment) = workload.get(clients, cluster).await else { return Vec::new() };
    let Some(selector) = deployment.spec.map(|spec| selector(&spec.selector)) else {
        return Vec::new();
    };
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &workload.namespace);
    let list = ListParams::default().labels(&selector).limit(LIST_MAX);
    let listed = read(clients, "list pods", api.list(&list)).await;
    listed.map(|pods| pods.items).unwrap_or_default()
}

/// Returns a label selector in the form of a query.
pub(super) fn selector(selector: &LabelSelector) -> String {
    let mut terms: Vec<String> = Vec::new();
    for (label, value) in selector.match_labels.iter().flatten() {
        terms.push(format!("{label}={value}"));
    }
    for expression in selector.match_expressions.iter().flatten() {
        let values = expression.values.as_deref().unwrap_or_default().join(",");
        let key = &expression.key;
        terms.push(match expression.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            // Exists; the API knows no fifth operator.
            _ => key.clone(),
        });
    }
    terms.join(",")
}

/// Returns how many pods have which reason, with one message each.
fn reasons(pods: &[Pod]) -> BTreeMap<String, (usize, String)> {
    let mut reasons: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        if let Some((reason, message)) = reason(pod) {
            let entry = reasons.entry(reason).or_insert((0, clip(&message)));
            entry.0 += 1;
        }
    }
    reasons
}

/// Returns why a pod is not ready: what keeps its containers back, else what keeps it off a node.
fn reason(pod: &Pod) -> Option<(String, String)> {
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    if conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
        return None;
    }
    let containers = [&status.init_container_statuses, &status.container_statuses];
    if let Some(found) = containers.into_iter().flatten().flatten().find_map(container_reason) {
        return Some(found);
    }
    let unscheduled = conditions
        .iter()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        let reason = condition.reason.clone().unwrap_or_else(|| "Unschedulable".to_owned());
        return Some((reason, condition.message.clone().unwrap_or_default()));
    }
    match (status.phase.as_deref(), &status.reason) {
        (_, Some(reason)) => Some((reason.clone(), status.message.clone().unwrap_or_default())),
        (Some("Running"), None) => {
            Some(("NotReady".to_owned(), "its readiness probe fails".to_owned()))
        }
        (phase, None) => Some((phase.unwrap_or("Pending").to_owned(), String::new())),
    }
}

fn container_reason(container: &ContainerStatus) -> Option<(String, String)> {
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.clone()?;
        // These say only that it is on its way.
        if ["ContainerCreating", "PodInitializing"].contains(&reason.as_str()) {
            return None;
        }
        let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        let message = match last {
            Some(ended) => format!(
                "container {} ended with exit {}{}",
                container.name,
                ended.exit_code,
                ended.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default(),
            ),
            None => waiting.message.clone().unwrap_or_default(),
        };
        return Some((reason, message));
    }
    let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    let reason = ended.reason.clone().unwrap_or_else(|| "Error".to_owned());
    Some((reason, format!("container {} ended with exit {}", container.name, ended.exit_code)))
}

/// Returns the latest warnings about a workload's objects, each reason once.
async fn warnings(
    clients: &Clients,
    cluster: &Cluster,
    workload: &Workload,
) -> Vec<(String, String)> {
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), &workload.namespace);
    let list = ListParams::default().fields("type=Warning").limit(LIST_MAX);
    let Ok(events) = read(clients, "list events", api.list(&list)).await else {
        return Vec::new();
    };
    let mut events: Vec<Event> =
        events.items.into_iter().filter(|event| concerns(event, workload)).collect();
    events.sort_by_key(|event| {
        let seen = event.last_timestamp.as_ref().map(|time| time.0);
        std::cmp::Reverse(seen.or(event.event_time.as_ref().map(|time| time.0)))
    });
    let mut named = BTreeSet::new();
    events
        .into_iter()
        .filter_map(|event| Some((event.reason?, clip(&event.message.unwrap_or_default()))))
        .filter(|(reason, _)| named.insert(reason.clone()))
        .take(EVENTS_MAX)
        .collect()
}

/// Says whether an event is about the Deployment, one of its ReplicaSets or one of their pods.
fn concerns(event: &Event, workload: &Workload) -> bool {
    let Some(object) = event.involved_object.name.as_deref() else { return false };
    match object.strip_prefix(workload.name.as_str()) {
        Some("") => true,
        // name-hash of a ReplicaSet, name-hash-hash of a pod; `name-other-hash-hash` is another workload's.
        Some(rest) => rest.starts_with('-') && rest.matches('-').count() <= 2,
        None => false,
    }
}

fn clip(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    match line.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

fn hint(cluster: &Cluster, workload: &Workload, reason: &str) -> Option<String> {
    let Workload { namespace, name } = workload;
    let kubectl = cluster.kubectl();
    match reason {
        "Unschedulable" | "FailedScheduling" => Some(format!(
            "no node has room: add nodes (`{kubectl} get nodes`), or ask for fewer replicas, then try again"
        )),
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" => Some(
            "the image cannot be pulled in this region: see whether its registry is replicated there"
                .to_owned(),
        ),
        "CrashLoopBackOff" | "Error" | "OOMKilled" => {
            // Before the database is recovered an application may die of nothing but that.
            Some(format!(
                "see `{kubectl} -n {namespace} logs deployment/{name} --previous`; where all they lack is what a later \
                 step brings, as their database: skip this step, with that as the reason"
            ))
        }
        "FailedCreate" => Some(format!("see the quota: `{kubectl} -n {namespace} describe quota`")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: serde_json::Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": "x" }, "status": status }))
            .expect("a pod")
    }

    #[test]
    fn names_what_keeps_a_pod_back() {
        let unschedulable = json!({ "phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient cpu.",
        }] });
        let crashing = json!({ "phase": "Running", "containerStatuses": [{
            "name": "app", "image": "i", "imageID": "", "ready": false, "restartCount": 4,
            "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 40s" } },
            "lastState": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } },
        }] });
        let creating = json!({ "phase": "Pending", "containerStatuses": [{
            "name": "app", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "waiting": { "reason": "ContainerCreating" } },
        }] });
        let ready =
            json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
        let unready =
            json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "False" }] });
        let pods =
            [unschedulable.clone(), unschedulable, crashing, creating, ready, unready].map(pod);
        let found = reasons(&pods);
        let said: Vec<(&str, usize, &str)> = found
            .iter()
            .map(|(reason, (count, message))| (reason.as_str(), *count, message.as_str()))
            .collect();
        assert_eq!(
            said,
            [
                ("CrashLoopBackOff", 1, "container app ended with exit 137 (OOMKilled)"),
                ("NotReady", 1, "its readiness probe fails"),
                ("Pending", 1, ""),
                ("Unschedulable", 2, "0/3 nodes are available: 3 Insufficient cpu."),
            ]
        );
    }

    #[test]
    fn events_of_other_workloads_do_not_concern_it() {
        let workload = Workload { namespace: "a".to_owned(), name: "api".to_owned() };
        let about = |name: &str| {
            let event: Event = serde_json::from_value(
                json!({ "metadata": {}, "involvedObject": { "name": name } }),
            )
            .expect("an event");
            concerns(&event, &workload)
        };
        for name in ["api", "api-7d9f", "api-7d9f-x2x4z"] {
            assert!(about(name), "{name}");
        }
        for name in ["apiary", "gateway-api", "api-admin-7d9f-x2x4z"] {
            assert!(!about(name), "{name}");
        }
    }

    #[test]
    fn writes_selectors_as_queries() {
        let parsed: LabelSelector = serde_json::from_value(json!({
            "matchLabels": { "app": "api" },
            "matchExpressions": [
                { "key": "tier", "operator": "In", "values": ["a", "b"] },
                { "key": "old", "operator": "DoesNotExist" },
            ],
        }))
        .expect("a selector");
        assert_eq!(selector(&parsed), "app=api,tier in (a,b),!old");
    }
}
