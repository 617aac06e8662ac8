//! What differs between two worlds: objects that came or went, and fields that have other values.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use jiff::Timestamp;

use super::lines::manifest_id;
use super::world::{Kind, World, resolve_instants};

/// How an object differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub(crate) enum Change {
    Added,
    Removed,
    Changed { fields: Vec<Field> },
}

/// A field with two values; null where it is not there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Field {
    pub field: String,
    pub before: Value,
    pub after: Value,
}

/// An object that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Difference {
    /// Its kind; `world` for what the world says of itself
    pub kind: String,
    pub region: Option<String>,
    pub id: String,
    #[serde(flatten)]
    pub change: Change,
}

type Key = (String, Option<String>, String);

/// Returns everything that differs, in the order of kinds, regions and ids. Instants are compared as they were when
/// each world was captured.
pub(crate) fn differences(before: &World, after: &World) -> Vec<Difference> {
    let (mut old, new) = (objects(before), objects(after));
    let mut found = Vec::new();
    for (key, value) in new {
        let change = match old.remove(&key) {
            None => Some(Change::Added),
            Some(was) => {
                let fields = fields(&was, &value);
                (!fields.is_empty()).then_some(Change::Changed { fields })
            }
        };
        found.extend(change.map(|change| (key, change)));
    }
    found.extend(old.into_keys().map(|key| (key, Change::Removed)));
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let told = found.into_iter().map(|((kind, region, id), change)| Difference {
        kind,
        region,
        id,
        change,
    });
    told.collect()
}

fn objects(world: &World) -> BTreeMap<Key, Value> {
    let began = world.captured.unwrap_or(Timestamp::UNIX_EPOCH);
    let mut all = BTreeMap::new();
    for object in &world.objects {
        let mut body = Value::Object(object.body.decode().into_owned());
        resolve_instants(&mut body, began);
        if !object.then.is_empty() {
            body["then"] = json!(object.then);
        }
        let key = (object.kind.name().to_owned(), object.region.clone(), object.id.clone());
        all.insert(key, body);
    }
    for (region, cluster) in &world.clusters {
        for manifest in &cluster.objects {
            let kind = Kind::Kubernetes.name().to_owned();
            let key = (kind, Some(region.clone()), manifest_id(manifest));
            all.insert(key, Value::Object(manifest.clone()));
        }
    }
    let head = world.head();
    let own = json!({
        "account": head.account,
        "clusters": head.clusters,
        "durations": head.durations,
        "estate": head.estate,
        "faults": head.faults,
        "unseen": head.unseen,
    });
    all.insert(("world".to_owned(), None, head.world), own);
    all
}

/// Returns the fields in which two values differ.
pub(crate) fn fields(before: &Value, after: &Value) -> Vec<Field> {
    let mut fields = Vec::new();
    compare(String::new(), before, after, &mut fields);
    fields
}

fn compare(path: String, before: &Value, after: &Value, fields: &mut Vec<Field>) {
    if before == after {
        return;
    }
    let inside =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let side = |of: &serde_json::Map<String, Value>| of.get(name).cloned();
                let (old, new) = (side(old).unwrap_or_default(), side(new).unwrap_or_default());
                compare(inside(name), &old, &new, fields);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                compare(format!("{path}[{index}]"), old, new, fields);
            }
        }
        _ => fields.push(Field { field: path, before: before.clone(), after: after.clone() }),
    }
}
