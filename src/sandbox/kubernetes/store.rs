//! The objects of a cluster, their versions, what changed when, and who must look at it.

mod load;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::kinds::{DEFINITIONS, Kind, Kinds};
use super::{Behaviour, NoPlace};

/// What is told of each change.
pub(super) type Listener = Arc<dyn Fn(&Value, bool) + Send + Sync>;

/// What is asked before a pod gets its place.
pub(super) type Placing = Arc<dyn Fn(&str, &str, Timestamp) -> Option<NoPlace> + Send + Sync>;

/// A resource, a namespace, a name.
pub(super) type Key = (String, String, String);

/// Changes that a watch or a list of several parts may still ask for.
const CHANGES_MAX: usize = 5_000;

pub(super) const PODS: &str = "v1/pods";
pub(super) const NODES: &str = "v1/nodes";
pub(super) const NAMESPACES: &str = "v1/namespaces";
pub(super) const AUTOSCALERS: &str = "autoscaling/v1/horizontalpodautoscalers";

/// Returns what is at a path of plain names, `/metadata/name`. The simulation asks for such paths more than for anything
/// else, and [`Value::pointer`] makes two texts of each name on its way to undo escapes that none of them has.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('/').skip(1).try_fold(value, |value, name| value.get(name))
}

pub(super) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// Returns an instant as Kubernetes writes one.
pub(super) fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(super) fn instant(value: &Value, path: &str) -> Option<Timestamp> {
    text(value, path).parse().ok()
}

/// One change of one object.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub version: u64,
    pub key: Key,
    pub before: Option<Arc<Value>>,
    pub after: Option<Arc<Value>>,
}

/// Everything in a cluster.
pub(super) struct Store {
    pub kinds: Kinds,
    pub behaviour: Behaviour,
    pub listener: Option<Listener>,
    pub placing: Option<Placing>,
    pub now: Timestamp,
    /// What must be looked at by the controllers
    pub dirty: BTreeSet<Key>,
    /// Workloads that ran already when the cluster was loaded: their pods are ready at once
    pub fresh: BTreeSet<Key>,
    /// Nodes that were taken away
    pub lost: BTreeSet<String>,
    /// What has lost an owner
    pub bereaved: BTreeSet<Key>,
    objects: BTreeMap<Key, Arc<Value>>,
    version: u64,
    /// It is being made: nobody is to be told of what its manifests become, nor asks for it
    pub loading: bool,
    told: Vec<(Arc<Value>, bool)>,
    changes: VecDeque<Change>,
    /// The earliest version changes are known from
    known_from: u64,
    by_uid: BTreeMap<String, Key>,
    owned: BTreeMap<String, BTreeSet<Key>>,
    /// Pods by the node they are on
    placed: BTreeMap<String, BTreeSet<Key>>,
    /// Pods without a node
    pub pending: BTreeSet<Key>,
    /// Those of them that no room would help
    pub without_machine: BTreeSet<Key>,
    /// Pods nobody owns
    pub orphans: BTreeSet<Key>,
    /// Namespaces that are being deleted
    pub ending: BTreeSet<String>,
    due: BTreeSet<(Timestamp, Key)>,
}

impl Store {
    /// Gives a new object what a server gives it.
    pub(super) fn dress(&self, kind: &Kind, object: &mut Value, namespace: &str, uid: &str) {
        let metadata = &mut object["metadata"];
        if !namespace.is_empty() {
            metadata["namespace"] = json!(namespace);
        }
        let mut defaults = vec![("uid", json!(uid)), ("creationTimestamp", json!(stamp(self.now)))];
        if kind.counted {
            defaults.push(("generation", json!(1)));
        }
        for (field, value) in defaults {
            if metadata.get(field).is_none() {
                metadata[field] = value;
            }
        }
    }

    /// Returns a uid nothing else has.
    pub(super) fn next_uid(&self) -> String {
        format!("00000000-0000-4000-8000-{:012x}", self.version + 1)
    }

    /// Returns five letters nothing of the same name has.
    pub(super) fn next_suffix(&self) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let count = u64::try_from(LETTERS.len()).unwrap_or(1);
        // An odd factor only mixes what is different already.
        let mut rest = (self.version + 1).wrapping_mul(7_368_787) % count.pow(5);
        let letters = (0..5).map(|_| {
            let letter = usize::try_from(rest % count).unwrap_or(0);
            rest /= count;
            char::from(LETTERS[letter])
        });
        letters.collect()
    }

    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// Returns what changed since this was asked last.
    pub(super) fn told(&mut self) -> Vec<(Arc<Value>, bool)> {
        std::mem::take(&mut self.told)
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key).map(|object| &**object)
    }

    /// Returns an object as it is now, to be kept while the store is changed.
    pub(super) fn shared(&self, key: &Key) -> Option<Arc<Value>> {
        self.objects.get(key).cloned()
    }

    /// Returns the objects of a resource, in one namespace or in all.
    pub(super) fn of<'a>(
        &'a self,
        resource: &'a str,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        let first = (resource.to_owned(), namespace.to_owned(), String::new());
        self.objects
            .range(first..)
            .take_while(move |(key, _)| key.0 == resource)
            .take_while(move |(key, _)| namespace.is_empty() || key.1 == namespace)
    }

    pub(super) fn everything(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    pub(super) fn keys_of(&self, resource: &str, namespace: &str) -> Vec<Key> {
        self.of(resource, namespace).map(|(key, _)| key.clone()).collect()
    }

    /// Returns what names an object as its owner.
    pub(super) fn owned_by(&self, uid: &str) -> Vec<Key> {
        self.owned.get(uid).into_iter().flatten().cloned().collect()
    }

    pub(super) fn with_uid(&self, uid: &str) -> Option<&Key> {
        self.by_uid.get(uid)
    }

    pub(super) fn on_node(&self, node: &str) -> Vec<Key> {
        self.placed.get(node).into_iter().flatten().cloned().collect()
    }

    /// Returns how many pods have a place on a node, or on all.
    pub(super) fn places_taken(&self, node: Option<&str>) -> usize {
        match node {
            Some(node) => self.placed.get(node).map_or(0, BTreeSet::len),
            None => self.placed.values().map(BTreeSet::len).sum(),
        }
    }

    /// Has the controllers look at an object at a moment.
    pub(super) fn wake(&mut self, at: Timestamp, key: &Key) {
        if at > self.now {
            self.due.insert((at, key.clone()));
        } else {
            self.dirty.insert(key.clone());
        }
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Has the controllers look at everything that is due.
    pub(super) fn ring(&mut self) {
        while let Some((at, key)) = self.due.pop_first() {
            if at > self.now {
                self.due.insert((at, key));
                break;
            }
            self.dirty.insert(key);
        }
    }

    /// Says that an object is looked at again in a cluster that nobody can ask yet: what it would say of itself now nobody
    /// ever reads.
    pub(super) fn comes_again(&self, key: &Key) -> bool {
        self.loading && self.dirty.contains(key)
    }

    /// Puts an object in its place, as a new version.
    pub(super) fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let object = Arc::new(object);
        let before = self.objects.insert(key.clone(), Arc::clone(&object));
        if let Some(before) = &before {
            self.unlink(&key, before);
        }
        self.link(&key, &object);
        self.noted(key, before, Some(Arc::clone(&object)));
        object
    }

    /// Changes an object where that makes a difference.
    pub(super) fn change(&mut self, key: &Key, change: impl FnOnce(&mut Value)) {
        let Some(before) = self.objects.get(key) else { return };
        let mut after = (**before).clone();
        change(&mut after);
        if after != **before {
            self.put(key.clone(), after);
        }
    }

    /// Sets an object's status where that makes a difference. Controllers report again and again what has not changed,
    /// so this is seen before anything is copied.
    pub(super) fn report(&mut self, key: &Key, status: Value) {
        if self.objects.get(key).is_some_and(|object| object["status"] != status) {
            self.change(key, |object| object["status"] = status);
        }
    }

    pub(super) fn remove(&mut self, key: &Key) {
        let Some(before) = self.objects.remove(key) else { return };
        self.version += 1;
        self.unlink(key, &before);
        self.noted(key.clone(), Some(before), None);
    }

    fn noted(&mut self, key: Key, before: Option<Arc<Value>>, after: Option<Arc<Value>>) {
        let mut last = after.clone().or_else(|| before.clone());
        if let (None, Some(gone)) = (&after, &mut last) {
            // What is gone is told with the version of its end.
            Arc::make_mut(gone)["metadata"]["resourceVersion"] = json!(self.version.to_string());
        }
        if key.0 == DEFINITIONS {
            match (&before, &after) {
                (_, Some(definition)) => self.kinds.define(definition),
                (Some(definition), None) => self.kinds.undefine(definition),
                (None, None) => {}
            }
        }
        if let Some(last) = &last {
            self.concerned(&key, before.as_deref(), last, after.is_none());
        }
        if self.loading {
            return;
        }
        if let Some(last) = &last {
            self.told.push((Arc::clone(last), after.is_none()));
        }
        let before = match (&after, before) {
            (None, Some(_)) => last,
            (_, before) => before,
        };
        self.changes.push_back(Change { version: self.version, key, before, after });
        if self.changes.len() > CHANGES_MAX
            && let Some(forgotten) = self.changes.pop_front()
        {
            self.known_from = forgotten.version;
        }
    }

    /// Has everything looked at that a change is of concern to.
    fn concerned(&mut self, key: &Key, before: Option<&Value>, object: &Value, gone: bool) {
        self.dirty.insert(key.clone());
        for owners in [Some(object), before].into_iter().flatten() {
            for uid in owners_of(owners) {
                if let Some(owner) = self.by_uid.get(uid) {
                    self.dirty.insert(owner.clone());
                }
            }
        }
        if self.ending.contains(&key.1) && gone {
            self.dirty.insert((NAMESPACES.to_owned(), String::new(), key.1.clone()));
        }
        if gone {
            let owned = self.owned_by(text(object, "/metadata/uid"));
            self.bereaved.extend(owned.iter().cloned());
            self.dirty.extend(owned);
        }
        match key.0.as_str() {
            NODES => {
                if gone {
                    self.lost.insert(key.2.clone());
                } else {
                    self.lost.remove(&key.2);
                }
                let all = self.on_node(&key.2);
                self.dirty.extend(all.into_iter().chain(self.pending.iter().cloned()));
            }
            PODS => {
                let mut waiting = self.pending.difference(&self.without_machine);
                if gone && let Some(first) = waiting.next() {
                    self.dirty.insert(first.clone());
                }
            }
            resource if resource.starts_with("apps/v1/") => {
                let autoscalers = self.keys_of(AUTOSCALERS, &key.1);
                self.dirty.extend(autoscalers);
            }
            _ => {}
        }
    }

    fn link(&mut self, key: &Key, object: &Value) {
        self.by_uid.insert(text(object, "/metadata/uid").to_owned(), key.clone());
        for uid in owners_of(object) {
            self.owned.entry(uid.to_owned()).or_default().insert(key.clone());
        }
        let terminating = object["metadata"].get("deletionTimestamp").is_some();
        if key.0 == NAMESPACES && terminating {
            self.ending.insert(key.2.clone());
        }
        if key.0 == PODS && !has_ended(object) {
            match text(object, "/spec/nodeName") {
                "" => self.pending.insert(key.clone()),
                node => self.placed.entry(node.to_owned()).or_default().insert(key.clone()),
            };
            if controller_of(object).is_none() && !terminating {
                self.orphans.insert(key.clone());
            }
        }
    }

    fn unlink(&mut self, key: &Key, object: &Value) {
        self.by_uid.remove(text(object, "/metadata/uid"));
        for uid in owners_of(object) {
            if let Some(owned) = self.owned.get_mut(uid) {
                owned.remove(key);
                if owned.is_empty() {
                    self.owned.remove(uid);
                }
            }
        }
        if key.0 == NAMESPACES {
            self.ending.remove(&key.2);
        }
        if key.0 == PODS {
            self.pending.remove(key);
            self.orphans.remove(key);
            if let Some(placed) = self.placed.get_mut(text(object, "/spec/nodeName")) {
                placed.remove(key);
            }
        }
    }

    /// Returns the changes after a version; `None` where they are no longer known.
    pub(super) fn changes_after(&self, version: u64) -> Option<impl Iterator<Item = &Change>> {
        if version < self.known_from {
            return None;
        }
        let first = self.changes.partition_point(|change| change.version <= version);
        Some(self.changes.range(first..))
    }

    /// Returns the objects of a resource as they were at a version; `None` where that is no longer known.
    pub(super) fn of_at(
        &self,
        resource: &str,
        namespace: &str,
        version: u64,
    ) -> Option<Vec<(Key, Arc<Value>)>> {
        let mut then: BTreeMap<Key, Option<Arc<Value>>> = self
            .of(resource, namespace)
            .map(|(key, object)| (key.clone(), Some(Arc::clone(object))))
            .collect();
        let undone: Vec<&Change> = self.changes_after(version)?.collect();
        let here = |key: &Key| key.0 == resource && (namespace.is_empty() || key.1 == namespace);
        for change in undone.into_iter().rev().filter(|change| here(&change.key)) {
            then.insert(change.key.clone(), change.before.clone());
        }
        Some(then.into_iter().filter_map(|(key, object)| Some((key, object?))).collect())
    }

    /// Returns the earliest version changes are known from.
    pub(super) const fn known_from(&self) -> u64 {
        self.known_from
    }
}

/// Says whether a pod has run to its end.
pub(super) fn has_ended(pod: &Value) -> bool {
    ["Succeeded", "Failed"].contains(&text(pod, "/status/phase"))
}

pub(super) fn owners_of(object: &Value) -> impl Iterator<Item = &str> {
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners.into_iter().flatten().map(|owner| text(owner, "/uid"))
}

/// Returns the reference to the owner that controls an object.
pub(super) fn controller_of(object: &Value) -> Option<&Value> {
    let mut owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.find(|owner| owner["controller"] == true)
}
