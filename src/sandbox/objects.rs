//! What a world consists of at a moment: objects, what becomes of them by themselves, and the log of every change.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::log::{Entry, Log};
use super::world::{Kind, World, resolve_instants};

/// The region of what belongs to none.
pub(super) const GLOBAL: &str = "global";

/// What an object is found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Key {
    pub kind: Kind,
    pub region: String,
    pub id: String,
}

impl Key {
    pub(super) fn new(kind: Kind, region: &str, id: &str) -> Self {
        let region = if kind.is_global() { GLOBAL } else { region };
        Self { kind, region: region.to_owned(), id: id.to_owned() }
    }
}

/// An object as it is now, with what is to come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Object {
    pub body: Value,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<Due>,
}

/// A change that comes by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Due {
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub set: Map<String, Value>,
    /// The object ends
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

impl Due {
    pub(super) fn set(at: Timestamp, set: Value) -> Self {
        let set = match set {
            Value::Object(set) => set,
            _ => Map::new(),
        };
        Self { at, set, gone: false }
    }

    pub(super) fn gone(at: Timestamp) -> Self {
        Self { at, set: Map::new(), gone: true }
    }
}

/// Every object outside of Kubernetes.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    all: BTreeMap<Key, Object>,
    /// The moment it has been brought to
    now: Timestamp,
    log: Option<Log>,
    /// Each changed object as it was before its last change, for stale reads
    before: BTreeMap<Key, Option<Object>>,
    /// Counts what is given a name
    pub(super) named: u64,
}

impl Objects {
    /// Returns a world's objects at its beginning.
    pub(super) fn of(world: &World, now: Timestamp) -> Self {
        let mut objects = Self { now, ..Self::default() };
        for object in &world.objects {
            let mut body = Value::Object(object.body.clone());
            resolve_instants(&mut body, now);
            let then = object.then.iter().map(|due| {
                let mut set = Value::Object(due.set.clone());
                resolve_instants(&mut set, now);
                Due::set(now + due.after.duration(), set)
            });
            let key = Key::new(object.kind, object.region.as_deref().unwrap_or(GLOBAL), &object.id);
            objects.all.insert(key, Object { body, then: then.collect() });
        }
        objects
    }

    /// Writes every change to a log from now on.
    pub(super) fn log_to(&mut self, log: Log) {
        self.log = Some(log);
    }

    /// Takes an entry of a log back in.
    pub(super) fn replay(&mut self, entry: Entry) {
        match entry {
            Entry::Put { key, object, named, .. } => {
                self.named = self.named.max(named);
                self.all.insert(key, object);
            }
            Entry::Gone { key, .. } => {
                self.all.remove(&key);
            }
            Entry::World { .. }
            | Entry::Clock { .. }
            | Entry::Cluster { .. }
            | Entry::Fault { .. }
            | Entry::Left { .. } => {}
        }
    }

    pub(super) fn write(&mut self, entry: &Entry) {
        if let Some(log) = &mut self.log {
            log.append(entry);
        }
    }

    /// Returns why the log could not be written, where it could not.
    pub(super) fn log_failure(&self) -> Option<String> {
        self.log.as_ref().and_then(|log| log.failure().map(str::to_owned))
    }

    /// Brings everything to a moment: what is due by then happens.
    pub(super) fn settle(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        let due = |object: &Object| object.then.first().is_some_and(|due| due.at <= self.now);
        let keys: Vec<Key> =
            self.all.iter().filter(|(_, object)| due(object)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            let Some(object) = self.all.get_mut(&key) else { continue };
            let mut gone = false;
            while object.then.first().is_some_and(|due| due.at <= self.now) {
                let due = object.then.remove(0);
                gone |= due.gone;
                merge(&mut object.body, due.set);
            }
            if gone {
                self.all.remove(&key);
            }
        }
    }

    /// Returns the moment everything has been brought to.
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) fn get(&self, kind: Kind, region: &str, id: &str) -> Option<&Value> {
        self.all.get(&Key::new(kind, region, id)).map(|object| &object.body)
    }

    /// Returns the objects of a kind in a region.
    pub(super) fn of_kind<'a>(
        &'a self,
        kind: Kind,
        region: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let region = if kind.is_global() { GLOBAL } else { region };
        let first = Key::new(kind, region, "");
        self.all
            .range(first..)
            .take_while(move |(key, _)| key.kind == kind && key.region == region)
            .map(|(key, object)| (key.id.as_str(), &object.body))
    }

    /// Returns the objects of a kind in every region.
    pub(super) fn everywhere(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Value)> {
        self.all
            .iter()
            .filter(move |(key, _)| key.kind == kind)
            .map(|(key, object)| (key, &object.body))
    }

    /// Puts an object in its place.
    pub(super) fn put(&mut self, kind: Kind, region: &str, id: &str, body: Value, then: Vec<Due>) {
        let (key, object) = (Key::new(kind, region, id), Object { body, then });
        let entry = Entry::Put {
            at: self.now,
            key: key.clone(),
            object: object.clone(),
            named: self.named,
        };
        self.write(&entry);
        let before = self.all.insert(key.clone(), object);
        self.before.insert(key, before);
    }

    /// Changes fields of an object; what is to come stays to come.
    pub(super) fn change(&mut self, kind: Kind, region: &str, id: &str, set: Value) {
        let key = Key::new(kind, region, id);
        let Some(mut object) = self.all.get(&key).cloned() else { return };
        if let Value::Object(set) = set {
            merge(&mut object.body, set);
        }
        self.put(kind, region, id, object.body, object.then);
    }

    pub(super) fn remove(&mut self, kind: Kind, region: &str, id: &str) {
        let key = Key::new(kind, region, id);
        self.write(&Entry::Gone { at: self.now, key: key.clone() });
        let before = self.all.remove(&key);
        self.before.insert(key, before);
    }

    /// Lets nothing more come of anything that was changed at this very moment.
    pub(super) fn stick(&mut self) {
        let changed: Vec<Key> = self.before.keys().cloned().collect();
        for key in changed {
            let Some(object) = self.all.get_mut(&key).filter(|object| !object.then.is_empty())
            else {
                continue;
            };
            object.then.clear();
            let (object, named) = (object.clone(), self.named);
            self.write(&Entry::Put { at: self.now, key, object, named });
        }
    }

    /// Runs a read on the objects as they were before their last changes.
    pub(super) fn stale<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let now = self.all.clone();
        for (key, before) in self.before.clone() {
            match before {
                Some(object) => self.all.insert(key, object),
                None => self.all.remove(&key),
            };
        }
        let seen = read(self);
        self.all = now;
        seen
    }

    /// Returns a name nothing else has.
    pub(super) fn name(&mut self, prefix: &str) -> String {
        self.named += 1;
        format!("{prefix}{:013X}", 0x5A11_0000_u64 + self.named)
    }
}

/// Sets fields of a body; null takes one away.
pub(super) fn merge(body: &mut Value, set: Map<String, Value>) {
    let Value::Object(fields) = body else { return };
    for (name, value) in set {
        if value.is_null() {
            fields.remove(&name);
        } else {
            fields.insert(name, value);
        }
    }
}

/// Returns a text field; empty where there is none.
pub(super) fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body.get(name).and_then(Value::as_str).unwrap_or_default()
}
