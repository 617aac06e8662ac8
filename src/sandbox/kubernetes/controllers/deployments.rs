//! Deployments: a ReplicaSet for each version of the template, and the way from one to the next.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::store::{Key, Store, instant, stamp, text};
use super::replicas::{self, REVISION, adopts, revision};
use super::{REPLICA_SETS, condition, counted, events, has_condition, holds, number, owner, pods};

/// The label by which the pods of one version of a template are told apart.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// A Deployment under way.
struct Course {
    deployment: Arc<Value>,
    wanted: i64,
    surge: i64,
    unavailable: i64,
    new: Key,
    sets: Vec<(Key, Arc<Value>)>,
}

pub(super) fn reconcile(store: &mut Store, key: &Key) {
    let Some(deployment) = store.shared(key) else { return };
    if deployment["metadata"].get("deletionTimestamp").is_some() {
        return;
    }
    let Some(new) = newest(store, key, &deployment) else {
        // Paused before it ever ran.
        reported(store, key, None);
        return;
    };
    let wanted = number(&deployment, "/spec/replicas", 1);
    let part = |path: &str, up| share(deployment.pointer(path), wanted, up);
    let surge = part("/spec/strategy/rollingUpdate/maxSurge", true);
    let mut unavailable = part("/spec/strategy/rollingUpdate/maxUnavailable", false);
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    let sets = replicas::of(store, &deployment);
    let course = Course { deployment, wanted, surge, unavailable, new: new.clone(), sets };
    course.goes_on(store);
    course.cleared(store);
    if !store.comes_again(key) {
        reported(store, key, Some(&new));
    }
}

/// Returns a number of replicas, or a share of those wanted.
fn share(said: Option<&Value>, wanted: i64, up: bool) -> i64 {
    let whole = said.and_then(Value::as_i64);
    let percent =
        said.and_then(Value::as_str).and_then(|text| text.strip_suffix('%')?.parse().ok());
    let percent: i64 = percent.unwrap_or(0);
    whole.unwrap_or_else(|| if up { (wanted * percent + 99) / 100 } else { wanted * percent / 100 })
}

/// Returns the ReplicaSet of a Deployment's template, made where there is none.
fn newest(store: &mut Store, key: &Key, deployment: &Value) -> Option<Key> {
    let template = &deployment["spec"]["template"];
    let all = replicas::of(store, deployment);
    let latest = all.iter().map(|(_, set)| revision(set)).max().unwrap_or(0);
    let known = all
        .iter()
        .find(|(_, set)| alike(&set["spec"]["template"], template))
        .map(|(key, set)| (key.clone(), revision(set)));
    let paused = deployment["spec"]["paused"] == true;
    let (new, number) = match known {
        Some((new, number)) if number == latest || paused => (new, number),
        Some((new, _)) => {
            // An older version is the newest again.
            let next = (latest + 1).to_string();
            store.change(&new, |set| set["metadata"]["annotations"][REVISION] = json!(next));
            (new, latest + 1)
        }
        None if paused => return all.last().map(|(key, _)| key.clone()),
        None => {
            let version = pods::version(template);
            let name = format!("{}-{version}", key.2);
            let new = (REPLICA_SETS.to_owned(), key.1.clone(), name);
            let made = replica_set(store, &new, deployment, &version, latest + 1);
            let made = store.put(new.clone(), made);
            adopts(store, &new, &made);
            (new, latest + 1)
        }
    };
    if revision(deployment) == number {
        return Some(new);
    }
    store.change(key, |deployment| {
        if !deployment["metadata"]["annotations"].is_object() {
            deployment["metadata"]["annotations"] = json!({});
        }
        deployment["metadata"]["annotations"][REVISION] = json!(number.to_string());
    });
    Some(new)
}

/// Says whether a ReplicaSet's template is a Deployment's, but for the label that names it.
fn alike(own: &Value, template: &Value) -> bool {
    let same = |own: &Value, other: &Value, but: &str| {
        let counts = |(name, _): &(&String, &Value)| name.as_str() != but;
        let own = own.as_object().into_iter().flatten().filter(counts);
        own.eq(other.as_object().into_iter().flatten().filter(counts))
    };
    same(own, template, "metadata")
        && same(&own["metadata"], &template["metadata"], "labels")
        && same(&own["metadata"]["labels"], &template["metadata"]["labels"], TEMPLATE_HASH)
}

fn replica_set(store: &Store, key: &Key, deployment: &Value, version: &str, number: i64) -> Value {
    let mut template = deployment["spec"]["template"].clone();
    template["metadata"]["labels"][TEMPLATE_HASH] = json!(version);
    let mut selector = deployment["spec"]["selector"].clone();
    if !selector["matchLabels"].is_object() {
        selector["matchLabels"] = json!({});
    }
    selector["matchLabels"][TEMPLATE_HASH] = json!(version);
    let mut annotations = deployment["metadata"]["annotations"].clone();
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    } else {
        annotations = json!({});
    }
    annotations[REVISION] = json!(number.to_string());
    let mut set = json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": key.2,
            "namespace": key.1,
            "uid": store.next_uid(),
            "creationTimestamp": stamp(store.now),
            "generation": 1,
            "labels": template["metadata"]["labels"],
            "annotations": annotations,
            "ownerReferences": [owner(deployment)],
        },
        "spec": { "replicas": 0, "selector": selector, "template": template },
        "status": { "replicas": 0 },
    });
    if let Some(least) = deployment["spec"].get("minReadySeconds") {
        set["spec"]["minReadySeconds"] = least.clone();
    }
    set
}

impl Course {
    fn size(set: &Value) -> i64 {
        number(set, "/spec/replicas", 0)
    }

    /// Takes the next step from the old versions to the new one.
    fn goes_on(&self, store: &mut Store) {
        let is_new = |(key, _): &&(Key, Arc<Value>)| *key == self.new;
        let now = self.sets.iter().find(is_new).map_or(0, |(_, set)| Self::size(set));
        let old: Vec<&(Key, Arc<Value>)> = self.sets.iter().filter(|set| !is_new(set)).collect();
        let old_size: i64 = old.iter().map(|(_, set)| Self::size(set)).sum();
        if self.deployment["spec"]["paused"] == true {
            if old_size == 0 {
                self.scaled(store, &self.new, self.wanted);
            }
            return;
        }
        if self.deployment["spec"]["strategy"]["type"] == "Recreate" {
            for (key, _) in &old {
                self.scaled(store, key, 0);
            }
            let runs = old.iter().any(|(_, set)| {
                let uid = text(set, "/metadata/uid");
                store.owned_by(uid).iter().any(|key| key.0 == super::PODS)
            });
            if !runs {
                self.scaled(store, &self.new, self.wanted);
            }
            return;
        }
        let room = self.wanted + self.surge - old_size - now;
        let next = match now {
            now if now > self.wanted => self.wanted,
            now => now + room.clamp(0, self.wanted - now),
        };
        self.scaled(store, &self.new, next);
        self.shrinks(store, &old, old_size, next);
    }

    /// Takes away as much of the old versions as may be missing: first what does not serve.
    fn shrinks(&self, store: &mut Store, old: &[&(Key, Arc<Value>)], old_size: i64, new_size: i64) {
        let available = |set: &Value| number(set, "/status/availableReplicas", 0);
        let new_available = store.get(&self.new).map_or(0, available);
        let least = self.wanted - self.unavailable;
        let mut may_go = old_size + new_size - least - (new_size - new_available).max(0);
        let mut left: Vec<(&Key, i64, i64)> =
            old.iter().map(|(key, set)| (key, Self::size(set), available(set))).collect();
        for (_, size, serving) in &mut left {
            let idle = (*size - *serving).min(may_go).max(0);
            *size -= idle;
            may_go -= idle;
        }
        let serving: i64 = new_available + left.iter().map(|(_, _, serving)| serving).sum::<i64>();
        let mut spare = (serving - least).min(may_go);
        for (_, size, _) in &mut left {
            let gone = (*size).min(spare).max(0);
            *size -= gone;
            spare -= gone;
        }
        for (key, size, _) in left {
            self.scaled(store, key, size);
        }
    }

    fn scaled(&self, store: &mut Store, key: &Key, size: i64) {
        let Some(set) = store.shared(key) else { return };
        let before = Self::size(&set);
        let bounds = [
            ("deployment.kubernetes.io/desired-replicas", self.wanted.to_string()),
            ("deployment.kubernetes.io/max-replicas", (self.wanted + self.surge).to_string()),
        ];
        let known = &set["metadata"]["annotations"];
        if before == size && bounds.iter().all(|(name, bound)| known[*name] == *bound) {
            return;
        }
        store.change(key, |set| {
            if before != size {
                set["spec"]["replicas"] = json!(size);
                let generation = number(set, "/metadata/generation", 1);
                set["metadata"]["generation"] = json!(generation + 1);
            }
            for (name, bound) in bounds {
                set["metadata"]["annotations"][name] = json!(bound);
            }
        });
        if before != size {
            let way = if size > before { "up" } else { "down" };
            let said = format!("Scaled {way} replica set {} to {size}", key.2);
            events::tell(store, &self.deployment, "Normal", "ScalingReplicaSet", &said);
        }
    }

    /// Forgets versions beyond those that are to be remembered.
    fn cleared(&self, store: &mut Store) {
        let limit = number(&self.deployment, "/spec/revisionHistoryLimit", 10);
        let idle: Vec<&Key> = self
            .sets
            .iter()
            .filter(|(key, set)| {
                *key != self.new && Self::size(set) == 0 && number(set, "/status/replicas", 0) == 0
            })
            .map(|(key, _)| key)
            .collect();
        let surplus = idle.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        for key in idle.into_iter().take(surplus) {
            store.remove(key);
        }
    }
}

/// Writes a Deployment's status.
fn reported(store: &mut Store, key: &Key, new: Option<&Key>) {
    let Some(deployment) = store.shared(key) else { return };
    let sets = replicas::of(store, &deployment);
    let sum = |field: &str| -> i64 {
        sets.iter().map(|(_, set)| number(set, &format!("/status/{field}"), 0)).sum()
    };
    let (total, ready, available) =
        (sum("replicas"), sum("readyReplicas"), sum("availableReplicas"));
    let updated = sets.iter().find(|(key, _)| Some(key) == new);
    let updated = updated.map_or(0, |(_, set)| number(set, "/status/replicas", 0));
    let wanted = number(&deployment, "/spec/replicas", 1);
    let missing = wanted.max(sets.iter().map(|(_, set)| Course::size(set)).sum()) - available;
    let mut status = json!({ "observedGeneration": deployment["metadata"]["generation"] });
    for (field, count) in [
        ("replicas", total),
        ("updatedReplicas", updated),
        ("readyReplicas", ready),
        ("availableReplicas", available),
        ("unavailableReplicas", missing),
    ] {
        counted(&mut status, field, usize::try_from(count).unwrap_or(0));
    }
    if let Some(conditions) = deployment["status"].get("conditions") {
        status["conditions"] = conditions.clone();
    }
    let now = store.now;
    let unavailable = deployment.pointer("/spec/strategy/rollingUpdate/maxUnavailable");
    let serves = available >= wanted - share(unavailable, wanted, false);
    let (reason, message) = match serves {
        true => ("MinimumReplicasAvailable", "Deployment has minimum availability."),
        false => ("MinimumReplicasUnavailable", "Deployment does not have minimum availability."),
    };
    condition(&mut status, now, "Available", (serves, reason, message));
    let complete = updated == wanted && total == updated && available == updated;
    let set = new.map_or("", |new| new.2.as_str());
    progress(store, key, &deployment, &mut status, (complete, set));
    store.report(key, status);
}

/// Says how a rollout goes, and gives it up when nothing has come of it for too long.
fn progress(
    store: &mut Store,
    key: &Key,
    deployment: &Value,
    status: &mut Value,
    (complete, set): (bool, &str),
) {
    let now = store.now;
    if complete {
        let said = format!("ReplicaSet \"{set}\" has successfully progressed.");
        condition(status, now, "Progressing", (true, "NewReplicaSetAvailable", &said));
        return;
    }
    let before = &deployment["status"];
    let grew = ["updatedReplicas", "readyReplicas", "availableReplicas"].iter().any(|field| {
        number(status, &format!("/{field}"), 0) > number(before, &format!("/{field}"), 0)
    });
    let known = has_condition(deployment, "Progressing");
    let newly = known.is_none_or(|known| known["reason"] == "NewReplicaSetAvailable")
        || before["observedGeneration"] != status["observedGeneration"];
    let said = format!("ReplicaSet \"{set}\" is progressing.");
    if grew || newly {
        condition(status, now, "Progressing", (true, "ReplicaSetUpdated", &said));
        if let Some(progressing) = progressing(status) {
            progressing["lastUpdateTime"] = json!(stamp(now));
        }
    }
    let since = has_condition(&json!({ "status": status.clone() }), "Progressing")
        .and_then(|known| instant(known, "/lastUpdateTime"))
        .unwrap_or(now);
    let limit = number(deployment, "/spec/progressDeadlineSeconds", 600);
    let until = since + SignedDuration::from_secs(limit.min(86_400 * 365));
    let gave_up = !holds(&json!({ "status": status.clone() }), "Progressing");
    if deployment["spec"]["paused"] == true || gave_up {
        return;
    }
    if until > now {
        store.wake(until, key);
    } else {
        let said = format!("ReplicaSet \"{set}\" has timed out progressing.");
        condition(status, now, "Progressing", (false, "ProgressDeadlineExceeded", &said));
    }
}

fn progressing(status: &mut Value) -> Option<&mut Value> {
    let mut all = status["conditions"].as_array_mut()?.iter_mut();
    all.find(|known| known["type"] == "Progressing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_that_names_a_template_is_all_that_may_differ() {
        let template = json!({
            "metadata": { "labels": { "app": "api" }, "annotations": { "a": "1" } },
            "spec": { "containers": [{ "name": "app", "image": "api:1" }] },
        });
        let mut own = template.clone();
        own["metadata"]["labels"][TEMPLATE_HASH] = json!("5d8c");
        assert!(alike(&own, &template));
        for (place, value) in [
            ("/spec/containers/0/image", json!("api:2")),
            ("/metadata/annotations", json!({})),
            ("/metadata/labels", json!({ "app": "api", "tier": "front" })),
        ] {
            let mut other = template.clone();
            *other.pointer_mut(place).expect("it is there") = value;
            assert!(!alike(&own, &other), "{place}");
        }
    }
}
