//! Nodes: which has room, which is lost, and what then becomes of its pods.
//!
//! A node is lost when a world says so (`lost-after` counted from its beginning), when somebody says in its status that
//! it is not ready, or when it is deleted.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::delete::{Owned, begin};
use super::super::store::{Key, NODES, Store, instant, stamp, text};
use super::{condition, events, has_condition, holds};
use crate::span::Span;

/// The annotation by which a world takes a node away: how long after it began.
pub(super) const LOST_AFTER: &str = "phoenix-dr.world/lost-after";

/// Until a node that says nothing any more counts as lost.
const NOTICED: SignedDuration = SignedDuration::from_secs(40);
/// Until the pods of a lost node are given up.
const EVICTED: SignedDuration = SignedDuration::from_secs(300);

const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

pub(super) fn reconcile(store: &mut Store, key: &Key) {
    let Some(node) = store.shared(key) else { return };
    let after = node["metadata"]["annotations"].get(LOST_AFTER).and_then(Value::as_str);
    let after = after.and_then(|after| after.parse::<Span>().ok());
    let begun = instant(&node, "/metadata/creationTimestamp");
    let (Some(after), Some(begun)) = (after, begun) else { return };
    let noticed = begun + after.duration() + NOTICED;
    if noticed > store.now {
        store.wake(noticed, key);
        return;
    }
    if !holds(&node, "Ready") {
        return;
    }
    let now = store.now;
    events::tell(
        store,
        &node,
        "Normal",
        "NodeNotReady",
        &format!("Node {} status is now: NodeNotReady", key.2),
    );
    store.change(key, |node| {
        let status = &mut node["status"];
        let message = "Kubelet stopped posting node status.";
        condition(status, now, "Ready", (false, "NodeStatusUnknown", message));
        for condition in status["conditions"].as_array_mut().into_iter().flatten() {
            if condition["type"] == "Ready" {
                condition["status"] = json!("Unknown");
            }
        }
        let taint =
            |effect: &str| json!({ "key": UNREACHABLE, "effect": effect, "timeAdded": stamp(now) });
        node["spec"]["taints"] = json!([taint("NoSchedule"), taint("NoExecute")]);
    });
}

/// Returns the node with the most room for a pod.
pub(super) fn with_room(store: &Store, pod: &Value) -> Option<String> {
    let fits = |node: &Value| {
        let wanted = pod["spec"]["nodeSelector"].as_object();
        let labels = &node["metadata"]["labels"];
        let selected =
            wanted.into_iter().flatten().all(|(name, value)| labels.get(name) == Some(value));
        let taints = node["spec"]["taints"].as_array();
        let keeps_off = taints
            .into_iter()
            .flatten()
            .any(|taint| taint["effect"] != "PreferNoSchedule" && !tolerated(pod, taint));
        holds(node, "Ready") && node["spec"]["unschedulable"] != true && selected && !keeps_off
    };
    let most = |node: &Value| {
        let text = text(node, "/status/allocatable/pods");
        let number = node.pointer("/status/allocatable/pods").and_then(Value::as_u64);
        number.or_else(|| text.parse().ok()).unwrap_or(110)
    };
    let room = store.of(NODES, "").filter(|(_, node)| fits(node)).filter_map(|(key, node)| {
        let taken = store.places_taken(Some(&key.2));
        (u64::try_from(taken).unwrap_or(u64::MAX) < most(node)).then(|| (taken, key.2.clone()))
    });
    room.min().map(|(_, name)| name)
}

fn tolerated(pod: &Value, taint: &Value) -> bool {
    let all = pod["spec"]["tolerations"].as_array();
    all.into_iter().flatten().any(|toleration| {
        let same = |field: &str| {
            toleration.get(field).is_none() || toleration.get(field) == taint.get(field)
        };
        same("key") && same("effect") && (toleration["operator"] == "Exists" || same("value"))
    })
}

/// Sees to a pod whose node is not ready. Says whether there was anything to see to.
pub(super) fn looks_after(store: &mut Store, key: &Key, pod: &Value, node: &str) -> bool {
    let node = store.shared(&(NODES.to_owned(), String::new(), node.to_owned()));
    // A cluster need not name its nodes.
    let Some(node) = node else { return false };
    if holds(&node, "Ready") {
        let lapsed =
            has_condition(pod, "Ready").is_some_and(|ready| ready["reason"] == "NodeNotReady");
        if lapsed {
            let now = store.now;
            store.change(key, |pod| condition(&mut pod["status"], now, "Ready", (true, "", "")));
        }
        return lapsed;
    }
    let since =
        has_condition(&node, "Ready").and_then(|ready| instant(ready, "/lastTransitionTime"));
    let until = since.unwrap_or(store.now) + EVICTED;
    if until <= store.now {
        events::tell(
            store,
            pod,
            "Normal",
            "TaintManagerEviction",
            &format!("Marking for deletion Pod {}/{}", key.1, key.2),
        );
        begin(store, key, Owned::Background, Some(0));
        return true;
    }
    store.wake(until, key);
    if holds(pod, "Ready") {
        let now = store.now;
        let message = "the node of the pod is not ready";
        store.change(key, |pod| {
            condition(&mut pod["status"], now, "Ready", (false, "NodeNotReady", message));
        });
    }
    true
}
