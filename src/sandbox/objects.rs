//! What a world consists of at a moment: objects, what becomes of them by themselves, and the log of every change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::log::{Entry, Log};
use super::world::{Body, Kind, World, resolve_instants};

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

/// An object in its place. What nobody has looked into is not decoded: worlds may have a hundred thousand of them.
#[derive(Debug, Clone)]
enum Held {
    Decoded(Object),
    Asleep { body: Body, began: Timestamp, decoded: OnceLock<Object> },
}

impl Held {
    fn of(body: &Body, then: Vec<Due>, began: Timestamp) -> Self {
        if then.is_empty() {
            return Self::Asleep { body: body.clone(), began, decoded: OnceLock::new() };
        }
        Self::Decoded(Object { body: decoded(body, began), then })
    }

    fn object(&self) -> &Object {
        match self {
            Self::Decoded(object) => object,
            Self::Asleep { body, began, decoded: object } => {
                object.get_or_init(|| Object { body: decoded(body, *began), then: Vec::new() })
            }
        }
    }

    fn object_mut(&mut self) -> &mut Object {
        if let Self::Asleep { .. } = self {
            *self = Self::Decoded(self.object().clone());
        }
        match self {
            Self::Decoded(object) => object,
            Self::Asleep { decoded, .. } => {
                decoded.get_mut().expect("what was asleep has been woken just above")
            }
        }
    }

    /// Returns what is to come of it; of what is asleep nothing is.
    fn then(&self) -> &[Due] {
        match self {
            Self::Decoded(object) => &object.then,
            Self::Asleep { .. } => &[],
        }
    }
}

fn decoded(body: &Body, began: Timestamp) -> Value {
    let mut body = Value::Object(body.decode().into_owned());
    resolve_instants(&mut body, began);
    body
}

/// Every object outside of Kubernetes.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    all: BTreeMap<Key, Held>,
    /// Those of which something is to come
    waiting: BTreeSet<Key>,
    /// The moment it has been brought to
    now: Timestamp,
    log: Option<Log>,
    /// Each changed object as it was before its last change, for stale reads
    before: BTreeMap<Key, Option<Held>>,
    /// Nothing comes of what is changed now
    stuck: bool,
    /// Counts what is given a name
    pub(super) named: u64,
}

impl Objects {
    /// Returns a world's objects at its beginning.
    pub(super) fn of(world: &World, now: Timestamp) -> Self {
        let others = world.objects.iter().filter(|object| object.kind != Kind::Kubernetes);
        let placed = others.map(|object| {
            let then = object.then.iter().map(|due| {
                let mut set = Value::Object(due.set.clone());
                resolve_instants(&mut set, now);
                Due::set(now + due.after.duration(), set)
            });
            let key = Key::new(object.kind, object.region.as_deref().unwrap_or(GLOBAL), &object.id);
            (key, Held::of(&object.body, then.collect(), now))
        });
        // Built in one go: a hundred thousand insertions, one after another, take several times as long.
        let all: BTreeMap<Key, Held> = placed.collect();
        let waiting = all.iter().filter(|(_, held)| !held.then().is_empty());
        let waiting = waiting.map(|(key, _)| key.clone()).collect();
        Self { all, waiting, now, ..Self::default() }
    }

    /// Puts something where it belongs; returns what was there.
    fn place(&mut self, key: Key, held: Held) -> Option<Held> {
        if held.then().is_empty() {
            self.waiting.remove(&key);
        } else {
            self.waiting.insert(key.clone());
        }
        self.all.insert(key, held)
    }

    fn take(&mut self, key: &Key) -> Option<Held> {
        self.waiting.remove(key);
        self.all.remove(key)
    }

    /// Writes every change to a log from now on.
    pub(super) fn log_to(&mut self, log: Log) {
        self.log = Some(log);
    }

    /// Takes an entry of a log back in. What had come about by then is let come about first: it is how things were before
    /// that change, for stale reads.
    pub(super) fn replay(&mut self, entry: Entry) {
        match entry {
            Entry::Put { at, key, object, named } => {
                self.settle(at);
                self.named = self.named.max(named);
                let before = self.place(key.clone(), Held::Decoded(object));
                self.before.insert(key, before);
            }
            Entry::Gone { at, key } => {
                self.settle(at);
                let before = self.take(&key);
                self.before.insert(key, before);
            }
            Entry::World { .. }
            | Entry::Clock { .. }
            | Entry::Cluster { .. }
            | Entry::Fault { .. }
            | Entry::Spared { .. }
            | Entry::Missed { .. }
            | Entry::Left { .. } => {}
        }
    }

    /// Says whether changes are written to a log: where none is, nobody need put them together.
    pub(super) const fn is_logged(&self) -> bool {
        self.log.is_some()
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
        let due = |held: &Held| held.then().first().is_some_and(|due| due.at <= self.now);
        let keys: Vec<Key> =
            self.waiting.iter().filter(|key| self.all.get(key).is_some_and(due)).cloned().collect();
        for key in keys {
            let Some(mut held) = self.take(&key) else { continue };
            let object = held.object_mut();
            let mut gone = false;
            while object.then.first().is_some_and(|due| due.at <= self.now) {
                let due = object.then.remove(0);
                gone |= due.gone;
                merge(&mut object.body, due.set);
            }
            if !gone {
                self.place(key, held);
            }
        }
    }

    /// Returns the moment everything has been brought to.
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) fn get(&self, kind: Kind, region: &str, id: &str) -> Option<&Value> {
        self.all.get(&Key::new(kind, region, id)).map(|held| &held.object().body)
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
            .map(|(key, held)| (key.id.as_str(), &held.object().body))
    }

    /// Returns the objects of a kind in every region.
    pub(super) fn everywhere(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Value)> {
        // The empty region comes before every other.
        let first = Key { kind, region: String::new(), id: String::new() };
        self.all
            .range(first..)
            .take_while(move |(key, _)| key.kind == kind)
            .map(|(key, held)| (key, &held.object().body))
    }

    /// Puts an object in its place.
    pub(super) fn put(&mut self, kind: Kind, region: &str, id: &str, body: Value, then: Vec<Due>) {
        let key = Key::new(kind, region, id);
        let object = Object { body, then: self.comes(&key, then) };
        let entry = Entry::Put {
            at: self.now,
            key: key.clone(),
            object: object.clone(),
            named: self.named,
        };
        self.write(&entry);
        let before = self.place(key.clone(), Held::Decoded(object));
        self.before.insert(key, before);
    }

    /// Changes fields of an object; what is to come stays to come.
    pub(super) fn change(&mut self, kind: Kind, region: &str, id: &str, set: Value) {
        let key = Key::new(kind, region, id);
        let Some(mut object) = self.all.get(&key).map(|held| held.object().clone()) else { return };
        if let Value::Object(set) = set {
            merge(&mut object.body, set);
        }
        self.put(kind, region, id, object.body, object.then);
    }

    pub(super) fn remove(&mut self, kind: Kind, region: &str, id: &str) {
        let key = Key::new(kind, region, id);
        self.write(&Entry::Gone { at: self.now, key: key.clone() });
        let before = self.take(&key);
        self.before.insert(key, before);
    }

    /// Returns what comes of an object that is changed. Of a change that is stuck nothing does; what was to come before
    /// stays to come: other calls asked for it.
    fn comes(&self, key: &Key, mut then: Vec<Due>) -> Vec<Due> {
        if self.stuck {
            let before = self.all.get(key).map_or(&[][..], Held::then);
            then.retain(|due| before.contains(due));
        }
        then
    }

    /// Carries out a call of whose changes nothing ever comes.
    pub(super) fn stuck<T>(&mut self, call: impl FnOnce(&mut Self) -> T) -> T {
        self.stuck = true;
        let answer = call(self);
        self.stuck = false;
        answer
    }

    /// Runs a read on the objects as they were before their last changes.
    pub(super) fn stale<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let swap = |objects: &mut Self, all: BTreeMap<Key, Option<Held>>| {
            let swapped = all.into_iter().map(|(key, held)| {
                let was = match held {
                    Some(held) => objects.place(key.clone(), held),
                    None => objects.take(&key),
                };
                (key, was)
            });
            swapped.collect::<BTreeMap<_, _>>()
        };
        let now = swap(self, self.before.clone());
        let seen = read(self);
        swap(self, now);
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
