//! Sets of an object's fields, as `managedFields` has them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::patch::{ListKind, list_kind};

/// Steps to a field, each as `managedFields` writes one: `f:NAME`, `k:{…}`, `v:…`.
pub(super) type Path = Vec<String>;

pub(super) type Fields = BTreeSet<Path>;

/// What the server gives an object belongs to nobody.
const SERVERS: [&str; 12] = [
    "f:apiVersion",
    "f:kind",
    "f:metadata/f:name",
    "f:metadata/f:namespace",
    "f:metadata/f:uid",
    "f:metadata/f:resourceVersion",
    "f:metadata/f:generation",
    "f:metadata/f:creationTimestamp",
    "f:metadata/f:selfLink",
    "f:metadata/f:managedFields",
    "f:metadata/f:deletionTimestamp",
    "f:metadata/f:deletionGracePeriodSeconds",
];

/// Returns how a list's elements are told apart by whoever applies it.
fn kind_of(field: &str, items: &[Value], custom: bool) -> ListKind {
    match (field, list_kind(field, items)) {
        ("ownerReferences" | "finalizers", kind) => kind,
        _ if custom => ListKind::Atomic,
        ("ports", ListKind::Map(&["containerPort"])) => {
            ListKind::Map(&["containerPort", "protocol"])
        }
        ("ports", _) => ListKind::Map(&["port", "protocol"]),
        ("topologySpreadConstraints", _) => ListKind::Map(&["topologyKey", "whenUnsatisfiable"]),
        ("taints" | "secrets", _) => ListKind::Atomic,
        (_, kind) => kind,
    }
}

/// Returns the fields an object sets, each with its value.
pub(super) fn of(object: &Value, custom: bool) -> BTreeMap<Path, &Value> {
    let mut found = BTreeMap::new();
    walk(object, "", custom, &mut Vec::new(), &mut found);
    found.retain(|path, _| {
        let path = path.join("/");
        !SERVERS.iter().any(|server| {
            path.strip_prefix(server).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    });
    found
}

fn walk<'a>(
    value: &'a Value,
    field: &str,
    custom: bool,
    at: &mut Path,
    found: &mut BTreeMap<Path, &'a Value>,
) {
    match value {
        Value::Object(fields) if !fields.is_empty() && field != "selector" => {
            for (name, value) in fields {
                at.push(format!("f:{name}"));
                walk(value, name, custom, at, found);
                at.pop();
            }
        }
        Value::Array(items) if !items.is_empty() => match kind_of(field, items, custom) {
            ListKind::Atomic => {
                found.insert(at.clone(), value);
            }
            ListKind::Set => {
                for item in items {
                    at.push(format!("v:{item}"));
                    found.insert(at.clone(), item);
                    at.pop();
                }
            }
            ListKind::Map(keys) => {
                for item in items {
                    at.push(element(item, keys));
                    found.insert(at.clone(), &Value::Null);
                    for (name, value) in item.as_object().into_iter().flatten() {
                        at.push(format!("f:{name}"));
                        walk(value, name, custom, at, found);
                        at.pop();
                    }
                    at.pop();
                }
            }
        },
        _ => {
            found.insert(at.clone(), value);
        }
    }
}

fn element(item: &Value, keys: &[&str]) -> String {
    let of = |key: &&str| (((*key).to_owned()), key_of(item, key));
    let keys: Map<String, Value> = keys.iter().map(of).collect();
    format!("k:{}", Value::Object(keys))
}

/// Returns the value of a key of a list's element; a port without a protocol is one of TCP.
fn key_of(item: &Value, key: &str) -> Value {
    match item.get(key) {
        Some(value) => value.clone(),
        None if key == "protocol" => json!("TCP"),
        None => Value::Null,
    }
}

fn is_element(item: &Value, step: &str) -> bool {
    if let Some(value) = step.strip_prefix("v:") {
        return serde_json::from_str::<Value>(value).is_ok_and(|value| value == *item);
    }
    let keys = step.strip_prefix("k:").and_then(|keys| serde_json::from_str(keys).ok());
    let Some(Value::Object(keys)) = keys else { return false };
    item.is_object() && keys.iter().all(|(key, value)| key_of(item, key) == *value)
}

/// Takes a field away from an object.
pub(super) fn remove(object: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else { return };
    match object {
        Value::Object(fields) => {
            let Some(name) = first.strip_prefix("f:") else { return };
            if rest.is_empty() {
                fields.remove(name);
                return;
            }
            let Some(inner) = fields.get_mut(name) else { return };
            remove(inner, rest);
            let is_empty = match inner {
                Value::Object(inner) => inner.is_empty(),
                Value::Array(inner) => inner.is_empty(),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
            };
            if is_empty {
                fields.remove(name);
            }
        }
        Value::Array(items) => {
            if rest.is_empty() {
                items.retain(|item| !is_element(item, first));
            } else if let Some(item) = items.iter_mut().find(|item| is_element(item, first)) {
                remove(item, rest);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Merges what somebody applies into an object.
pub(super) fn merge(target: &mut Value, applied: &Value, field: &str, custom: bool) {
    match (target, applied) {
        (Value::Object(target), Value::Object(applied)) if field != "selector" => {
            for (name, value) in applied {
                if value.is_null() {
                    target.remove(name);
                } else {
                    merge(target.entry(name.clone()).or_insert(Value::Null), value, name, custom);
                }
            }
        }
        (Value::Array(target), Value::Array(items)) => match kind_of(field, items, custom) {
            ListKind::Atomic => items.clone_into(target),
            ListKind::Set => {
                for item in items {
                    if !target.contains(item) {
                        target.push(item.clone());
                    }
                }
            }
            ListKind::Map(keys) => {
                for item in items {
                    let step = element(item, keys);
                    match target.iter_mut().find(|found| is_element(found, &step)) {
                        Some(found) => merge(found, item, "", custom),
                        None => target.push(item.clone()),
                    }
                }
            }
        },
        (target, applied) => *target = applied.clone(),
    }
}

/// Writes a set as `fieldsV1`.
pub(super) fn to_json(fields: &Fields) -> Value {
    let mut whole = json!({});
    for path in fields {
        let mut at = &mut whole;
        for step in path {
            at = &mut at[step.as_str()];
            if at.is_null() {
                *at = json!({});
            }
        }
    }
    for path in fields {
        let mut at = &mut whole;
        for step in path {
            at = &mut at[step.as_str()];
        }
        // A field that has fields below it and is in the set itself is marked.
        if at.as_object().is_some_and(|below| !below.is_empty()) {
            at["."] = json!({});
        }
    }
    whole
}

/// Reads a set out of `fieldsV1`.
pub(super) fn from_json(value: &Value) -> Fields {
    let mut found = Fields::new();
    read(value, &mut Vec::new(), &mut found);
    found
}

fn read(value: &Value, at: &mut Path, found: &mut Fields) {
    let Some(below) = value.as_object() else { return };
    if !at.is_empty() && (below.is_empty() || below.contains_key(".")) {
        found.insert(at.clone());
    }
    for (step, value) in below.iter().filter(|(step, _)| *step != ".") {
        at.push(step.clone());
        read(value, at, found);
        at.pop();
    }
}

/// Writes a path as conflicts name one: `.spec.containers[name="app"].image`.
pub(super) fn said(path: &[String]) -> String {
    let step = |step: &String| match step.split_at(2) {
        ("f:", name) => format!(".{name}"),
        ("v:", value) => format!("[={value}]"),
        (_, keys) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<String> =
                keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
    };
    path.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({
            "metadata": { "name": "a", "labels": { "app": "a" }, "finalizers": ["x/y"] },
            "spec": { "containers": [
                { "name": "app", "image": "a:1", "ports": [{ "containerPort": 80 }] },
            ] },
        })
    }

    #[test]
    fn a_set_is_written_and_read_back() {
        let pod = pod();
        let fields: Fields = of(&pod, false).into_keys().collect();
        let written = to_json(&fields);
        assert_eq!(
            written["f:spec"]["f:containers"]["k:{\"name\":\"app\"}"],
            json!({
                ".": {}, "f:name": {}, "f:image": {},
                "f:ports": { "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                    ".": {}, "f:containerPort": {},
                } },
            })
        );
        assert!(written["f:metadata"].get("f:name").is_none());
        assert_eq!(from_json(&written), fields);
    }

    #[test]
    fn fields_are_found_again_named_and_removed() {
        let mut pod = pod();
        let image = ["f:spec", "f:containers", "k:{\"name\":\"app\"}", "f:image"];
        let image: Path = image.map(str::to_owned).to_vec();
        assert_eq!(said(&image), ".spec.containers[name=\"app\"].image");
        assert!(of(&pod, false).contains_key(&image));
        remove(&mut pod, &image);
        assert!(!of(&pod, false).contains_key(&image));
        remove(&mut pod, &image[..3]);
        assert!(pod["spec"].get("containers").is_none(), "{pod}");
        let finalizer = ["f:metadata", "f:finalizers", "v:\"x/y\""].map(str::to_owned);
        remove(&mut pod, &finalizer);
        assert!(pod["metadata"].get("finalizers").is_none());
    }
}
