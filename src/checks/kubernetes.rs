//! Checks `kubernetes.rollout` and `kubernetes.pods`: real readiness, by observed generation and by condition.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::{Map, json};

use super::Seen;
use crate::actions::kubernetes::Workload;
use crate::actions::kubernetes::rollout::Rollout;
use crate::clients::Clients;
use crate::clients::kubernetes::{cluster, read};
use crate::outcome::{ActionError, FailureClass};
use crate::runbook::catalogue::checks::{KubernetesPods, KubernetesRollout};

/// Looks whether every workload has rolled out.
pub(super) async fn rollout(clients: &Clients, with: &KubernetesRollout) -> Seen {
    let looks = async {
        let cluster = cluster(clients, &with.region).await?;
        let mut states = Vec::new();
        for text in &with.workloads {
            let workload = Workload::parse(text)?;
            match workload.get(clients, &cluster).await {
                Ok(deployment) => states.push((text, Some(Rollout::of(&deployment)))),
                // An answer like any other: it is not there.
                Err(error) if error.class == FailureClass::NotFound => states.push((text, None)),
                Err(error) => return Err(error),
            }
        }
        Ok(states)
    };
    let states = match looks.await {
        Ok(states) => states,
        Err(error) => return Seen::unclear(error.message),
    };
    let mut value = Map::new();
    let mut open = Vec::new();
    for (name, state) in states {
        let done = state.as_ref().is_some_and(Rollout::complete);
        match state {
            Some(state) => {
                let counts =
                    json!({ "replicas": state.asked, "ready": state.ready, "complete": done });
                value.insert(name.clone(), counts);
                if !done {
                    open.push(format!("{name} {} of {}", state.ready, state.asked));
                }
            }
            None => {
                value.insert(name.clone(), serde_json::Value::Null);
                open.push(format!("{name} does not exist"));
            }
        }
    }
    match open.as_slice() {
        [] if value.is_empty() => Seen::unclear("no workload is named"),
        [] => Seen::holds(format!("{} rolled out", value.len()), value.into()),
        open => Seen::fails(open.join(", "), value.into()),
    }
}

/// A pod that is ready and stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadyPod {
    pub name: String,
    pub address: Option<String>,
}

/// Returns the ready pods of a selector.
pub(super) async fn ready_pods(
    clients: &Clients,
    region: &str,
    namespace: &str,
    selector: &str,
) -> Result<Vec<ReadyPod>, ActionError> {
    let pods = list(clients, region, namespace, selector).await?;
    let ready = pods.iter().filter(|pod| is_ready(pod)).map(|pod| ReadyPod {
        name: pod.metadata.name.clone().unwrap_or_default(),
        address: pod.status.as_ref().and_then(|status| status.pod_ip.clone()),
    });
    Ok(ready.collect())
}

/// Says whether a selector has any pod, ready or not.
pub(crate) async fn has_pods(
    clients: &Clients,
    region: &str,
    namespace: &str,
    selector: &str,
) -> Result<bool, ActionError> {
    Ok(!list(clients, region, namespace, selector).await?.is_empty())
}

async fn list(
    clients: &Clients,
    region: &str,
    namespace: &str,
    selector: &str,
) -> Result<Vec<Pod>, ActionError> {
    let cluster = cluster(clients, region).await?;
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let params = ListParams::default().labels(selector);
    let what = format!("list pods {selector} of {namespace}");
    let pods = read(clients, &what, api.list(&params)).await?.items;
    // A pod that is on its way out, or has ended, is no longer one of them.
    let stays = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
    };
    Ok(pods.into_iter().filter(stays).collect())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    conditions
        .unwrap_or_default()
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Looks how many pods of a selector are ready.
pub(super) async fn pods(clients: &Clients, with: &KubernetesPods) -> Seen {
    let pods = match list(clients, &with.region, &with.namespace, &with.selector).await {
        Ok(pods) => pods,
        Err(error) => return Seen::unclear(error.message),
    };
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let value = json!({ "ready": ready, "pods": pods.len() });
    let said = format!("{ready} of {} pods ready, {} wanted", pods.len(), with.ready);
    if u32::try_from(ready).is_ok_and(|ready| ready >= with.ready) {
        Seen::holds(said, value)
    } else {
        Seen::fails(said, value)
    }
}
