//! What becomes of a pod: it finds a place, starts, becomes ready, ends.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::NoPlace;
use super::super::delete::{Owned, begin};
use super::super::store::{
    Key, NODES, PODS, Store, controller_of, has_ended, instant, stamp, text,
};
use super::{events, has_condition, hash, holds, nodes, number, owner};

/// How long a pod that is told to stop takes.
const STOPPING: SignedDuration = SignedDuration::from_secs(2);
/// How long the work of a Job's pod takes.
const WORK: Duration = Duration::from_secs(30);
/// Where pods are in a cluster whose nodes nobody named.
const SOMEWHERE: &str = "node-1";

pub(super) fn reconcile(store: &mut Store, key: &Key) {
    let Some(pod) = store.shared(key) else { return };
    if pod["metadata"].get("deletionTimestamp").is_some() {
        stopped(store, key, &pod);
        return;
    }
    if has_ended(&pod) {
        return;
    }
    match text(&pod, "/spec/nodeName") {
        "" => placed(store, key, &pod),
        node if store.lost.contains(node) => begin(store, key, Owned::Background, Some(0)),
        _ => runs(store, key, &pod),
    }
}

pub(super) fn is_ready(pod: &Value) -> bool {
    holds(pod, "Ready")
}

/// Says whether a pod counts for whoever wants it.
pub(super) fn is_active(pod: &Value) -> bool {
    pod["metadata"].get("deletionTimestamp").is_none() && !has_ended(pod)
}

/// Returns since when a pod is ready.
pub(super) fn ready_since(pod: &Value) -> Option<Timestamp> {
    let ready = has_condition(pod, "Ready").filter(|ready| ready["status"] == "True")?;
    Some(instant(ready, "/lastTransitionTime").unwrap_or(Timestamp::MIN))
}

/// Returns the pods something owns, those that count.
pub(super) fn of(store: &Store, object: &Value) -> Vec<Key> {
    let uid = text(object, "/metadata/uid");
    let mut all = store.owned_by(uid);
    all.retain(|key| {
        key.0 == PODS
            && store.get(key).is_some_and(|pod| {
                is_active(pod) && controller_of(pod).is_some_and(|by| by["uid"] == uid)
            })
    });
    all
}

/// Makes a pod of a template.
pub(super) fn make(store: &mut Store, by: &Value, name: &str, template: &Value, labels: &Value) {
    let namespace = text(by, "/metadata/namespace").to_owned();
    let mut metadata = json!({
        "name": name,
        "namespace": namespace,
        "uid": store.next_uid(),
        "creationTimestamp": stamp(store.now),
        "labels": template["metadata"]["labels"],
        "ownerReferences": [owner(by)],
    });
    if let Some(annotations) = template["metadata"].get("annotations") {
        metadata["annotations"] = annotations.clone();
    }
    for (label, value) in labels.as_object().into_iter().flatten() {
        metadata["labels"][label] = value.clone();
    }
    let mut spec = template["spec"].clone();
    spec["enableServiceLinks"] = json!(true);
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": spec,
        "status": { "phase": "Pending", "qosClass": "BestEffort" },
    });
    store.put((PODS.to_owned(), namespace, name.to_owned()), pod);
}

fn stopped(store: &mut Store, key: &Key, pod: &Value) {
    let grace = SignedDuration::from_secs(number(pod, "/metadata/deletionGracePeriodSeconds", 0));
    let until = instant(pod, "/metadata/deletionTimestamp").unwrap_or(store.now);
    let gone = until - grace + grace.min(STOPPING);
    if gone > store.now {
        store.wake(gone, key);
        return;
    }
    let finalizers = pod["metadata"]["finalizers"].as_array();
    if finalizers.is_none_or(Vec::is_empty) {
        store.remove(key);
    } else {
        store.change(key, |pod| pod["metadata"]["deletionGracePeriodSeconds"] = json!(0));
    }
}

/// Returns the workload a pod belongs to, the outermost one.
fn workload(store: &Store, pod: &Value) -> Option<Key> {
    let mut above = store.with_uid(text(controller_of(pod)?, "/uid"))?;
    while let Some(by) = store.get(above).and_then(controller_of) {
        above = store.with_uid(text(by, "/uid"))?;
    }
    Some(above.clone())
}

fn is_fresh(store: &Store, pod: &Value) -> bool {
    !store.fresh.is_empty() && workload(store, pod).is_some_and(|key| store.fresh.contains(&key))
}

/// Asks whether there is a machine for a pod that a node would have room for; what ran already has its own.
fn finds_machine(store: &mut Store, key: &Key, pod: &Value) -> bool {
    if is_fresh(store, pod) {
        return true;
    }
    store.without_machine.remove(key);
    let lack = store.placing.as_ref().and_then(|place| place(&key.1, &key.2, store.now));
    let Some(NoPlace { until }) = lack else { return true };
    store.without_machine.insert(key.clone());
    if let Some(until) = until {
        store.wake(until, key);
    }
    false
}

/// Gives a pod a node, where one has room.
fn placed(store: &mut Store, key: &Key, pod: &Value) {
    // Who is asked is not there yet, and all that waits is looked at again when it is.
    if store.loading && !is_fresh(store, pod) {
        return;
    }
    let full = store.behaviour.capacity.is_some_and(|most| {
        store.places_taken(None) >= usize::try_from(most).unwrap_or(usize::MAX)
    });
    let known = store.of(NODES, "").count();
    let node = match (full, known) {
        (true, _) => None,
        (false, 0) => Some(SOMEWHERE.to_owned()),
        (false, _) => nodes::with_room(store, pod),
    };
    let node = node.filter(|_| finds_machine(store, key, pod));
    let Some(node) = node else {
        let message = match known {
            0 => "0 nodes are available: insufficient cpu.".to_owned(),
            many => format!("0/{many} nodes are available: {many} Insufficient cpu."),
        };
        let status = json!({
            "phase": "Pending",
            "qosClass": "BestEffort",
            "conditions": [
                { "type": "Ready", "status": "False", "reason": "ContainersNotReady" },
                {
                    "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                    "message": message,
                },
            ],
        });
        if pod["status"] != status {
            events::tell(store, pod, "Warning", "FailedScheduling", &message);
            store.report(key, status);
        }
        return;
    };
    let now = stamp(store.now);
    let status = json!({
        "phase": "Pending",
        "qosClass": "BestEffort",
        "hostIP": "10.2.255.1",
        "startTime": now,
        "conditions": conditions(&[
            ("Initialized", true), ("Ready", false), ("ContainersReady", false), ("PodScheduled", true),
        ], "ContainersNotReady", &now),
        "containerStatuses": containers(pod, false, &json!({ "waiting": { "reason": "ContainerCreating" } })),
    });
    let said = format!("Successfully assigned {}/{} to {node}", key.1, key.2);
    events::tell(store, pod, "Normal", "Scheduled", &said);
    store.change(key, |pod| {
        pod["spec"]["nodeName"] = json!(node);
        pod["status"] = status;
    });
}

fn conditions(all: &[(&str, bool)], reason: &str, now: &str) -> Value {
    let condition = |(kind, holds): &(&str, bool)| {
        let mut condition = json!({
            "type": kind,
            "status": if *holds { "True" } else { "False" },
            "lastProbeTime": null,
            "lastTransitionTime": now,
        });
        if !holds {
            condition["reason"] = json!(reason);
        }
        condition
    };
    all.iter().map(condition).collect()
}

fn containers(pod: &Value, ready: bool, state: &Value) -> Value {
    let all = pod["spec"]["containers"].as_array();
    let one = |container: &Value| {
        json!({
            "name": container["name"], "image": container["image"], "imageID": "",
            "ready": ready, "started": ready, "restartCount": 0, "state": state, "lastState": {},
        })
    };
    all.into_iter().flatten().map(one).collect()
}

/// Brings a pod that has a place on its way.
fn runs(store: &mut Store, key: &Key, pod: &Value) {
    let node = text(pod, "/spec/nodeName").to_owned();
    if nodes::looks_after(store, key, pod, &node) {
        return;
    }
    let scheduled = has_condition(pod, "PodScheduled");
    let born = scheduled.and_then(|condition| instant(condition, "/lastTransitionTime"));
    let born = born.or_else(|| instant(pod, "/metadata/creationTimestamp")).unwrap_or(store.now);
    let startup = SignedDuration::try_from(store.behaviour.startup).unwrap_or_default();
    let starts = if is_fresh(store, pod) { store.now } else { born + startup };
    if starts > store.now {
        store.wake(starts, key);
        return;
    }
    let workload = workload(store, pod);
    let is_job = workload.as_ref().is_some_and(|workload| workload.0 == super::JOBS);
    let named = workload.map(|workload| format!("{}/{}", workload.1, workload.2));
    let broken = named.and_then(|named| store.behaviour.broken.get(&named).cloned());
    match (broken, text(pod, "/status/phase")) {
        (Some(_), _) if is_job => ends(store, key, pod, false),
        (Some(why), _) => hangs(store, key, pod, &why),
        (None, "Pending") => begins(store, key, pod),
        (None, "Running") if is_job => {
            let ends_at = starts + SignedDuration::try_from(WORK).unwrap_or_default();
            if ends_at > store.now {
                store.wake(ends_at, key);
            } else {
                ends(store, key, pod, true);
            }
        }
        (None, _) => {}
    }
}

/// A pod that never becomes ready says why.
fn hangs(store: &mut Store, key: &Key, pod: &Value, why: &str) {
    let waiting =
        json!({ "waiting": { "reason": why, "message": format!("{why}: as the world has it") } });
    let status = containers(pod, false, &waiting);
    if pod["status"]["containerStatuses"] != status {
        let message = format!("{why}: as the world has it");
        events::tell(store, pod, "Warning", "Failed", &message);
        store.change(key, |pod| pod["status"]["containerStatuses"] = status);
    }
}

fn begins(store: &mut Store, key: &Key, pod: &Value) {
    let now = stamp(store.now);
    let address = address(store, text(pod, "/metadata/uid"));
    let running = json!({ "running": { "startedAt": now } });
    let scheduled = has_condition(pod, "PodScheduled");
    let since = scheduled.map(|condition| condition["lastTransitionTime"].clone());
    let mut status = json!({
        "phase": "Running",
        "qosClass": "BestEffort",
        "hostIP": "10.2.255.1",
        "podIP": address,
        "podIPs": [{ "ip": address }],
        "startTime": pod["status"]["startTime"],
        "conditions": conditions(&[
            ("Initialized", true), ("Ready", true), ("ContainersReady", true), ("PodScheduled", true),
        ], "", &now),
        "containerStatuses": containers(pod, true, &running),
    });
    if let (Some(since), Some(all)) = (since, status["conditions"].as_array_mut()) {
        for condition in all {
            if ["Initialized", "PodScheduled"].contains(&text(condition, "/type")) {
                condition["lastTransitionTime"] = since.clone();
            }
        }
    }
    events::tell(store, pod, "Normal", "Started", "Started its containers");
    store.report(key, status);
}

/// The work of a Job's pod has come to an end.
fn ends(store: &mut Store, key: &Key, pod: &Value, well: bool) {
    let now = stamp(store.now);
    let (phase, code, reason) =
        if well { ("Succeeded", 0, "Completed") } else { ("Failed", 1, "Error") };
    let ended = json!({ "terminated": { "exitCode": code, "reason": reason, "finishedAt": now } });
    let status = containers(pod, false, &ended);
    store.change(key, |pod| {
        pod["status"]["phase"] = json!(phase);
        pod["status"]["containerStatuses"] = status;
        pod["status"]["conditions"] = conditions(
            &[
                ("Initialized", true),
                ("Ready", false),
                ("ContainersReady", false),
                ("PodScheduled", true),
            ],
            "PodCompleted",
            &now,
        );
    });
}

/// Returns the address of a pod, by its number.
fn address(store: &Store, uid: &str) -> String {
    let number = u64::from_str_radix(uid.rsplit('-').next().unwrap_or_default(), 16);
    let number = number.unwrap_or_else(|_| store.version());
    format!("10.2.{}.{}", number / 250 % 250, number % 250 + 1)
}

/// Returns the hash by which the pods of a template are told apart.
pub(super) fn version(template: &Value) -> String {
    hash(template)
}
