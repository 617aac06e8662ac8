//! ReplicaSets: as many pods as they want, and what they say of them.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::delete::{Owned, begin};
use super::super::selector::Selector;
use super::super::store::{Key, Store, controller_of, text};
use super::{counted, events, number, owner, pods};

pub(super) fn reconcile(store: &mut Store, key: &Key) {
    let Some(set) = store.shared(key) else { return };
    if set["metadata"].get("deletionTimestamp").is_none() {
        adopts(store, key, &set);
        staffed(store, key, &set);
    }
    if !store.comes_again(key) {
        reported(store, key);
    }
}

/// Takes in pods that fit and that nobody controls.
pub(super) fn adopts(store: &mut Store, key: &Key, workload: &Value) {
    if store.orphans.is_empty() {
        return;
    }
    let Some(selector) = Selector::of(&workload["spec"]["selector"]) else { return };
    let fits = |pod: &&Key| {
        let labels = store.get(pod).map(|pod| &pod["metadata"]["labels"]);
        pod.1 == key.1 && labels.is_some_and(|labels| selector.has_labels(labels))
    };
    let found: Vec<Key> = store.orphans.iter().filter(fits).cloned().collect();
    for pod in found {
        store.change(&pod, |pod| {
            if !pod["metadata"]["ownerReferences"].is_array() {
                pod["metadata"]["ownerReferences"] = json!([]);
            }
            if let Some(owners) = pod["metadata"]["ownerReferences"].as_array_mut() {
                owners.push(owner(workload));
            }
        });
    }
}

fn staffed(store: &mut Store, key: &Key, set: &Value) {
    let mut here = pods::of(store, set);
    let wanted = usize::try_from(number(set, "/spec/replicas", 1)).unwrap_or(0);
    let missing = wanted.saturating_sub(here.len());
    for _ in 0..missing {
        let name = format!("{}-{}", key.2, store.next_suffix());
        pods::make(store, set, &name, &set["spec"]["template"], &Value::Null);
    }
    if missing > 0 {
        let said = format!("Created {missing} pods of {}", key.2);
        events::tell(store, set, "Normal", "SuccessfulCreate", &said);
    }
    let surplus = here.len().saturating_sub(wanted);
    if surplus == 0 {
        return;
    }
    // Those that serve least go first, of those alike the youngest.
    here.sort_by_key(|key| {
        let pod = store.get(key).unwrap_or(&Value::Null);
        let placed = !text(pod, "/spec/nodeName").is_empty();
        (placed, pods::is_ready(pod), std::cmp::Reverse(text(pod, "/metadata/uid").to_owned()))
    });
    for pod in here.iter().take(surplus) {
        begin(store, pod, Owned::Background, None);
    }
    let said = format!("Deleted {surplus} pods of {}", key.2);
    events::tell(store, set, "Normal", "SuccessfulDelete", &said);
}

/// Returns how many of some pods are ready, and how many have been long enough to count as available.
pub(super) fn standing(store: &mut Store, key: &Key, all: &[Key], least: i64) -> (usize, usize) {
    let least = SignedDuration::from_secs(least);
    let (mut ready, mut available, mut next) = (0, 0, None);
    for pod in all {
        let Some(since) = store.get(pod).and_then(pods::ready_since) else { continue };
        ready += 1;
        let from = since.checked_add(least).unwrap_or(since);
        if from <= store.now {
            available += 1;
        } else {
            next = Some(next.map_or(from, |next: jiff::Timestamp| next.min(from)));
        }
    }
    if let Some(next) = next {
        store.wake(next, key);
    }
    (ready, available)
}

fn reported(store: &mut Store, key: &Key) {
    let Some(set) = store.shared(key) else { return };
    let here = pods::of(store, &set);
    let (ready, available) = standing(store, key, &here, number(&set, "/spec/minReadySeconds", 0));
    let mut status = json!({ "replicas": here.len() });
    counted(&mut status, "fullyLabeledReplicas", here.len());
    counted(&mut status, "readyReplicas", ready);
    counted(&mut status, "availableReplicas", available);
    status["observedGeneration"] = set["metadata"]["generation"].clone();
    store.report(key, status);
}

/// Returns the ReplicaSets of a Deployment, oldest first.
pub(super) fn of(store: &Store, deployment: &Value) -> Vec<(Key, Arc<Value>)> {
    let uid = text(deployment, "/metadata/uid");
    let all = store.owned_by(uid).into_iter().filter(|key| key.0 == super::REPLICA_SETS);
    let mut all: Vec<(Key, Arc<Value>)> =
        all.filter_map(|key| store.shared(&key).map(|set| (key, set))).collect();
    all.retain(|(_, set)| {
        set["metadata"].get("deletionTimestamp").is_none()
            && controller_of(set).is_some_and(|by| by["uid"] == uid)
    });
    all.sort_by(|(a, one), (b, other)| (revision(one), a).cmp(&(revision(other), b)));
    all
}

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";

pub(super) fn revision(object: &Value) -> i64 {
    let said = object["metadata"]["annotations"].get(REVISION).and_then(Value::as_str);
    said.and_then(|said| said.parse().ok()).unwrap_or(0)
}
