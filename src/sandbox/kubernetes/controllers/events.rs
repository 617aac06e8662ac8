//! The events a cluster tells of itself.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::store::{Key, Store, instant, stamp, text};

pub(super) const EVENTS: &str = "v1/events";

/// How long an event is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// Tells of something that happened to an object. The same again is counted.
pub(super) fn tell(store: &mut Store, about: &Value, kind: &str, reason: &str, message: &str) {
    // What ran before the world began happened to nobody's knowledge.
    if !store.fresh.is_empty() {
        return;
    }
    let (name, namespace) = (text(about, "/metadata/name"), text(about, "/metadata/namespace"));
    let namespace = if namespace.is_empty() { "default" } else { namespace };
    let uid = text(about, "/metadata/uid");
    let sum = [uid, reason, message]
        .concat()
        .bytes()
        .fold(5381_u64, |sum, byte| sum.wrapping_mul(33) ^ u64::from(byte));
    let key = (EVENTS.to_owned(), namespace.to_owned(), format!("{name}.{sum:016x}"));
    let now = stamp(store.now);
    if store.get(&key).is_some() {
        store.change(&key, |event| {
            event["count"] = json!(event["count"].as_u64().unwrap_or(1) + 1);
            event["lastTimestamp"] = json!(now);
        });
        return;
    }
    let component = match reason {
        "Scheduled" | "FailedScheduling" => "default-scheduler",
        "ScalingReplicaSet" => "deployment-controller",
        "SuccessfulCreate" | "SuccessfulDelete" => "replicaset-controller",
        "SuccessfulRescale" => "horizontal-pod-autoscaler",
        "NodeNotReady" | "TaintManagerEviction" => "node-controller",
        "Completed" | "BackoffLimitExceeded" => "job-controller",
        _ => "kubelet",
    };
    let event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": key.2,
            "namespace": namespace,
            "uid": store.next_uid(),
            "creationTimestamp": now,
        },
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": name,
            "namespace": about["metadata"]["namespace"],
            "uid": uid,
            "resourceVersion": about["metadata"]["resourceVersion"],
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "source": { "component": component },
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "reportingComponent": "",
        "reportingInstance": "",
    });
    store.put(key, event);
}

/// Forgets an event in time.
pub(super) fn reconcile(store: &mut Store, key: &Key) {
    let Some(event) = store.get(key) else { return };
    let Some(last) = instant(event, "/lastTimestamp") else { return };
    let until = last + KEPT;
    if until <= store.now {
        store.remove(key);
    } else {
        store.wake(until, key);
    }
}
