//! StatefulSets: numbered pods, one after the other, each with its claims.

use serde_json::{Value, json};

use super::super::delete::{Owned, begin};
use super::super::store::{Key, PODS, Store, stamp, text};
use super::{CLAIMS, counted, events, number, pods, replicas};

const REVISION: &str = "controller-revision-hash";

pub(super) fn reconcile(store: &mut Store, key: &Key) {
    let Some(set) = store.shared(key) else { return };
    let version = format!("{}-{}", key.2, pods::version(&set["spec"]["template"]));
    if set["metadata"].get("deletionTimestamp").is_none() {
        replicas::adopts(store, key, &set);
        goes_on(store, key, &set, &version);
    }
    reported(store, key, &version);
}

fn pod_of(key: &Key, index: i64) -> Key {
    (PODS.to_owned(), key.1.clone(), format!("{}-{index}", key.2))
}

/// Takes the next step towards what is wanted.
fn goes_on(store: &mut Store, key: &Key, set: &Value, version: &str) {
    let wanted = number(set, "/spec/replicas", 1);
    let first = number(set, "/spec/ordinals/start", 0);
    let ordered = set["spec"]["podManagementPolicy"] != "Parallel";
    for index in first..first + wanted {
        let pod = pod_of(key, index);
        match store.shared(&pod) {
            None => {
                claims(store, key, set, index);
                let labels = json!({
                    REVISION: version,
                    "statefulset.kubernetes.io/pod-name": pod.2,
                });
                let template = with_claims(key, set, index);
                pods::make(store, set, &pod.2, &template, &labels);
                let said = format!("create Pod {} in StatefulSet {} successful", pod.2, key.2);
                events::tell(store, set, "Normal", "SuccessfulCreate", &said);
                if ordered {
                    return;
                }
            }
            Some(found) if ordered && !(pods::is_ready(&found) && pods::is_active(&found)) => {
                return;
            }
            Some(_) => {}
        }
    }
    let mut all: Vec<(i64, Key)> =
        pods::of(store, set).into_iter().map(|pod| (ordinal(&pod), pod)).collect();
    all.sort();
    let surplus = all.iter().rev().take_while(|(index, _)| *index >= first + wanted);
    for (_, pod) in surplus {
        begin(store, pod, Owned::Background, None);
        if ordered {
            return;
        }
    }
    renewed(store, set, &all, version);
}

fn ordinal(pod: &Key) -> i64 {
    pod.2.rsplit('-').next().and_then(|index| index.parse().ok()).unwrap_or(0)
}

/// Renews one pod of an older version, the last first, once all are ready.
fn renewed(store: &mut Store, set: &Value, all: &[(i64, Key)], version: &str) {
    if set["spec"]["updateStrategy"]["type"] == "OnDelete" {
        return;
    }
    let partition = number(set, "/spec/updateStrategy/rollingUpdate/partition", 0);
    let stands = |store: &Store, key: &Key| {
        store.get(key).is_some_and(|pod| pods::is_ready(pod) && pods::is_active(pod))
    };
    for (_, pod) in all.iter().rev().filter(|(index, _)| *index >= partition) {
        let revision = store
            .get(pod)
            .map(|pod| text(&pod["metadata"]["labels"], &format!("/{REVISION}")).to_owned());
        if revision.as_deref() != Some(version) {
            begin(store, pod, Owned::Background, None);
            return;
        }
        if !stands(store, pod) {
            return;
        }
    }
}

fn claims(store: &mut Store, key: &Key, set: &Value, index: i64) {
    for template in set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
        let name = format!("{}-{}-{index}", text(template, "/metadata/name"), key.2);
        let claim = (CLAIMS.to_owned(), key.1.clone(), name.clone());
        if store.get(&claim).is_some() {
            continue;
        }
        let made = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": name,
                "namespace": key.1,
                "uid": store.next_uid(),
                "creationTimestamp": stamp(store.now),
                "labels": set["spec"]["selector"]["matchLabels"],
            },
            "spec": template["spec"],
            "status": { "phase": "Pending" },
        });
        store.put(claim, made);
    }
}

/// Returns the template of one pod: its claims are its volumes.
fn with_claims(key: &Key, set: &Value, index: i64) -> Value {
    let mut template = set["spec"]["template"].clone();
    let volumes = set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
    for claim in volumes {
        let name = text(claim, "/metadata/name");
        let volume = json!({
            "name": name,
            "persistentVolumeClaim": { "claimName": format!("{name}-{}-{index}", key.2) },
        });
        match template["spec"]["volumes"].as_array_mut() {
            Some(volumes) => volumes.push(volume),
            None => template["spec"]["volumes"] = json!([volume]),
        }
    }
    template["spec"]["hostname"] = json!(format!("{}-{index}", key.2));
    template["spec"]["subdomain"] = set["spec"]["serviceName"].clone();
    template
}

fn reported(store: &mut Store, key: &Key, version: &str) {
    let Some(set) = store.shared(key) else { return };
    let here = pods::of(store, &set);
    let (ready, available) =
        replicas::standing(store, key, &here, number(&set, "/spec/minReadySeconds", 0));
    let is_new = |pod: &&Key| {
        let labels = store.get(pod).map(|pod| &pod["metadata"]["labels"]);
        labels.is_some_and(|labels| labels[REVISION] == version)
    };
    let updated = here.iter().filter(is_new).count();
    let current = match set["status"]["currentRevision"].as_str() {
        Some(current) if updated < here.len() => current.to_owned(),
        _ => version.to_owned(),
    };
    let mut status = json!({ "replicas": here.len() });
    counted(&mut status, "readyReplicas", ready);
    counted(&mut status, "availableReplicas", available);
    let old = if current == version { here.len() } else { here.len() - updated };
    counted(&mut status, "currentReplicas", old);
    counted(&mut status, "updatedReplicas", updated);
    status["observedGeneration"] = set["metadata"]["generation"].clone();
    status["currentRevision"] = json!(current);
    status["updateRevision"] = json!(version);
    status["collisionCount"] = json!(0);
    store.report(key, status);
}
