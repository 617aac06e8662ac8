//! What a cluster does by itself: workloads make pods, pods find a place and become ready, autoscalers keep their
//! bounds, lost nodes lose their pods, what is deleted takes with it what it owned.
//!
//! All of it follows from the objects as they are and from the time: a world that is loaded again goes on.

mod autoscalers;
mod deployments;
mod events;
mod garbage;
mod jobs;
mod nodes;
mod pods;
mod replicas;
mod stateful;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::store::{AUTOSCALERS, Key, NODES, PODS, Store, at, stamp, text};

const DEPLOYMENTS: &str = "apps/v1/deployments";
const REPLICA_SETS: &str = "apps/v1/replicasets";
const STATEFUL_SETS: &str = "apps/v1/statefulsets";
const JOBS: &str = "batch/v1/jobs";
const CLAIMS: &str = "v1/persistentvolumeclaims";

/// Looks at most at so many objects before time goes on: a bug must not hang a rehearsal.
const LOOKS_MAX: usize = 2_000_000;

/// Brings a cluster that was just loaded to rest: what its workloads want runs already.
pub(super) fn begin(store: &mut Store, now: Timestamp) {
    let workloads = [DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS];
    let fresh: BTreeSet<Key> = workloads
        .iter()
        .flat_map(|resource| store.of(resource, ""))
        .filter(|(_, object)| store.owned_by(text(object, "/metadata/uid")).is_empty())
        .filter(|(_, object)| object.pointer("/metadata/ownerReferences").is_none())
        .map(|(key, _)| key.clone())
        .collect();
    store.fresh = fresh;
    store.now = store.now.max(now);
    settle(store, now);
    store.fresh.clear();
}

/// Does what the controllers have done by a moment, everything at its time.
pub(super) fn settle(store: &mut Store, now: Timestamp) {
    let until = store.now.max(now);
    loop {
        look(store);
        match store.next_due() {
            Some(at) if at <= until => {
                store.now = store.now.max(at);
                store.ring();
            }
            Some(_) | None => break,
        }
    }
    store.now = until;
}

fn look(store: &mut Store) {
    for _ in 0..LOOKS_MAX {
        let Some(key) = next(store) else { return };
        if !garbage::reconcile(store, &key) {
            continue;
        }
        match key.0.as_str() {
            DEPLOYMENTS => deployments::reconcile(store, &key),
            REPLICA_SETS => replicas::reconcile(store, &key),
            STATEFUL_SETS => stateful::reconcile(store, &key),
            JOBS => jobs::reconcile(store, &key),
            PODS => pods::reconcile(store, &key),
            NODES => nodes::reconcile(store, &key),
            AUTOSCALERS => autoscalers::reconcile(store, &key),
            CLAIMS => bound(store, &key),
            events::EVENTS => events::reconcile(store, &key),
            _ => {}
        }
    }
}

/// Returns what is looked at next. A cluster that is being made comes to rest from below, pods before what owns them: a
/// workload then reports once, and not after each of its pods.
fn next(store: &mut Store) -> Option<Key> {
    if store.loading { store.dirty.pop_last() } else { store.dirty.pop_first() }
}

/// A claim gets its volume at once.
fn bound(store: &mut Store, key: &Key) {
    store.change(key, |claim| {
        if claim["status"]["phase"] == "Pending" {
            claim["status"]["phase"] = json!("Bound");
            claim["status"]["accessModes"] = claim["spec"]["accessModes"].clone();
            claim["status"]["capacity"] = claim["spec"]["resources"]["requests"].clone();
        }
    });
}

/// Names a version of a pod template.
fn hash(template: &Value) -> String {
    let text = template.to_string();
    let sum = text.bytes().fold(5381_u32, |sum, byte| sum.wrapping_mul(33) ^ u32::from(byte));
    format!("{sum:x}")
}

/// Returns the reference by which an object is owned by what controls it.
fn owner(object: &Value) -> Value {
    json!({
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "name": object["metadata"]["name"],
        "uid": object["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

fn number(value: &Value, path: &str, default: i64) -> i64 {
    at(value, path).and_then(Value::as_i64).unwrap_or(default)
}

/// Counts as the server does: what is zero is left out.
fn counted(status: &mut Value, field: &str, count: usize) {
    if count > 0 {
        status[field] = json!(count);
    }
}

/// Sets a condition; its times change only when it does.
fn condition(status: &mut Value, now: Timestamp, kind: &str, is: (bool, &str, &str)) {
    let (holds, reason, message) = is;
    let holds = if holds { "True" } else { "False" };
    let mut fresh = json!({
        "type": kind,
        "status": holds,
        "reason": reason,
        "message": message,
        "lastUpdateTime": stamp(now),
        "lastTransitionTime": stamp(now),
    });
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(all) = status["conditions"].as_array_mut() else { return };
    let known = all.iter_mut().find(|known| known["type"] == kind);
    match known {
        Some(known) => {
            let same = |field: &str| known[field] == fresh[field];
            let (stays, all_same) =
                (same("status"), same("status") && same("reason") && same("message"));
            if stays {
                fresh["lastTransitionTime"] = known["lastTransitionTime"].clone();
            }
            if all_same {
                fresh["lastUpdateTime"] = known["lastUpdateTime"].clone();
            }
            *known = fresh;
        }
        None => all.push(fresh),
    }
}

/// Returns a condition of an object.
fn has_condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let mut all = object["status"]["conditions"].as_array().into_iter().flatten();
    all.find(|condition| condition["type"] == kind)
}

fn holds(object: &Value, kind: &str) -> bool {
    has_condition(object, kind).is_some_and(|condition| condition["status"] == "True")
}
