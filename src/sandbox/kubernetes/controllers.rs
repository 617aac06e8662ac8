//! What a cluster does by itself: Deployments make pods, pods become ready, autoscalers keep their least.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::store::{Key, Store, text};
use crate::clock::since;

const DEPLOYMENTS: &str = "apps/v1/deployments";
const PODS: &str = "v1/pods";
const AUTOSCALERS: &str = "autoscaling/v1/horizontalpodautoscalers";

/// Brings a cluster that was just loaded to rest: what its Deployments want runs already.
pub(super) fn begin(store: &mut Store) {
    let loaded: Vec<Key> = keys(store, PODS);
    for (key, deployment) in of(store, DEPLOYMENTS) {
        let has = loaded.iter().any(|pod| pod.1 == key.1 && pod.2.starts_with(&key.2));
        if !has && deployment.get("status").is_none() {
            staffed(store, &key, &deployment, true);
        }
    }
    settle(store, store.now);
}

/// Does what the controllers have done by a moment.
pub(super) fn settle(store: &mut Store, now: Timestamp) {
    store.now = store.now.max(now);
    for (_, autoscaler) in of(store, AUTOSCALERS) {
        keep_least(store, &autoscaler);
    }
    for (key, deployment) in of(store, DEPLOYMENTS) {
        staffed(store, &key, &deployment, false);
        reported(store, &key);
    }
}

fn keys(store: &Store, resource: &str) -> Vec<Key> {
    store.objects.keys().filter(|key| key.0 == resource).cloned().collect()
}

fn of(store: &Store, resource: &str) -> Vec<(Key, Value)> {
    let all = store.objects.iter().filter(|(key, _)| key.0 == resource);
    all.map(|(key, object)| (key.clone(), object.clone())).collect()
}

/// A workload at zero has its autoscaler switched off.
fn keep_least(store: &mut Store, autoscaler: &Value) {
    let namespace = text(autoscaler, "/metadata/namespace").to_owned();
    let name = text(autoscaler, "/spec/scaleTargetRef/name").to_owned();
    let least = autoscaler["spec"]["minReplicas"].as_i64().unwrap_or(1);
    let key = (DEPLOYMENTS.to_owned(), namespace, name);
    let Some(mut deployment) = store.objects.get(&key).cloned() else { return };
    let replicas = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
    if replicas == 0 || replicas >= least {
        return;
    }
    deployment["spec"]["replicas"] = json!(least);
    let generation = deployment["metadata"]["generation"].as_i64().unwrap_or(1);
    deployment["metadata"]["generation"] = json!(generation + 1);
    store.put(key, deployment);
}

/// Names a version of a pod template.
fn hash(template: &Value) -> String {
    let text = template.to_string();
    let sum = text.bytes().fold(5381_u32, |sum, byte| sum.wrapping_mul(33) ^ u32::from(byte));
    format!("{sum:x}")
}

fn pods_of(store: &Store, deployment: &Value) -> Vec<(Key, Value)> {
    let uid = text(deployment, "/metadata/uid");
    let mut pods = of(store, PODS);
    pods.retain(|(_, pod)| text(pod, "/metadata/ownerReferences/0/uid") == uid);
    pods
}

fn is_ready(pod: &Value) -> bool {
    pod.pointer("/status/conditions/0/status").and_then(Value::as_str) == Some("True")
}

/// Gives a Deployment the pods it wants: of its newest template first, the old ones go when those are ready.
fn staffed(store: &mut Store, key: &Key, deployment: &Value, at_once: bool) {
    let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let version = hash(&deployment["spec"]["template"]);
    let is_new = |pod: &Value| text(pod, "/metadata/labels/pod-template-hash") == version;
    let (mut new, old): (Vec<_>, Vec<_>) =
        pods_of(store, deployment).into_iter().partition(|(_, pod)| is_new(pod));
    while new.len() > wanted {
        if let Some((key, _)) = new.pop() {
            store.remove(&key);
        }
    }
    for index in 0..wanted {
        let name = format!("{}-{version}-{index:05}", key.2);
        if new.iter().any(|(key, _)| key.2 == name) {
            continue;
        }
        if let Some(made) = born(store, key, deployment, &name, &version) {
            new.push(made);
        }
    }
    let broken = store.behaviour.broken.get(&format!("{}/{}", key.1, key.2)).cloned();
    for (key, pod) in &mut new {
        grown(store, key, pod, at_once, broken.as_deref());
    }
    let ready = new.iter().filter(|(_, pod)| is_ready(pod)).count();
    if ready >= wanted {
        old.iter().for_each(|(key, _)| store.remove(key));
    }
}

fn born(
    store: &mut Store,
    key: &Key,
    deployment: &Value,
    name: &str,
    version: &str,
) -> Option<(Key, Value)> {
    let mut labels = deployment["spec"]["template"]["metadata"]["labels"].clone();
    labels["pod-template-hash"] = json!(version);
    let pod = json!({
        "metadata": {
            "name": name,
            "labels": labels,
            "ownerReferences": [{
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": key.2,
                "uid": deployment["metadata"]["uid"],
                "controller": true,
            }],
        },
        "spec": deployment["spec"]["template"]["spec"],
        "status": {
            "phase": "Pending",
            "conditions": [{ "type": "Ready", "status": "False", "reason": "ContainersNotReady" }],
        },
    });
    let made = store.create(PODS, &key.1, pod, false).ok()?;
    Some(((PODS.to_owned(), key.1.clone(), name.to_owned()), made))
}

/// Makes a pod ready once its time has come and there is a place for it.
fn grown(store: &mut Store, key: &Key, pod: &mut Value, at_once: bool, broken: Option<&str>) {
    let born = text(pod, "/metadata/creationTimestamp").parse().unwrap_or(store.now);
    if is_ready(pod) || (!at_once && since(born, store.now) < store.behaviour.startup) {
        return;
    }
    let count = u32::try_from(of(store, PODS).iter().filter(|(_, pod)| is_ready(pod)).count());
    let full = store.behaviour.capacity.is_some_and(|most| count.unwrap_or(u32::MAX) >= most);
    let status = match (broken, full) {
        (Some(why), _) => json!({
            "phase": "Pending",
            "conditions": [{ "type": "Ready", "status": "False", "reason": "ContainersNotReady" }],
            "containerStatuses": [{
                "name": "app", "ready": false, "restartCount": 0, "image": "", "imageID": "",
                "state": { "waiting": { "reason": why } },
            }],
        }),
        (None, true) => json!({
            "phase": "Pending",
            "conditions": [
                { "type": "Ready", "status": "False", "reason": "ContainersNotReady" },
                {
                    "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                    "message": "0 nodes are available: insufficient cpu.",
                },
            ],
        }),
        (None, false) => json!({
            "phase": "Running",
            "podIP": address(text(pod, "/metadata/uid")),
            "conditions": [{ "type": "Ready", "status": "True" }],
        }),
    };
    if pod["status"] != status {
        pod["status"] = status;
        *pod = store.put(key.clone(), pod.clone());
    }
}

/// Returns the address of a pod, by its number.
fn address(uid: &str) -> String {
    let number = u64::from_str_radix(uid.rsplit('-').next().unwrap_or_default(), 16).unwrap_or(0);
    format!("10.2.{}.{}", number / 250 % 250, number % 250 + 1)
}

/// Writes a Deployment's status.
fn reported(store: &mut Store, key: &Key) {
    let Some(mut deployment) = store.objects.get(key).cloned() else { return };
    let version = hash(&deployment["spec"]["template"]);
    let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
    let pods = pods_of(store, &deployment);
    let count =
        |wanted: &dyn Fn(&Value) -> bool| pods.iter().filter(|(_, pod)| wanted(pod)).count();
    let updated = count(&|pod| text(pod, "/metadata/labels/pod-template-hash") == version);
    let ready = count(&is_ready);
    let whole = u64::try_from(ready).unwrap_or(0) >= wanted && updated == pods.len();
    let status = json!({
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": pods.len(),
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": pods.len() - ready,
        "conditions": [
            { "type": "Available", "status": if whole { "True" } else { "False" } },
            {
                "type": "Progressing",
                "status": "True",
                "reason": if whole { "NewReplicaSetAvailable" } else { "ReplicaSetUpdated" },
            },
        ],
    });
    if deployment["status"] != status {
        deployment["status"] = status;
        store.put(key.clone(), deployment);
    }
}
