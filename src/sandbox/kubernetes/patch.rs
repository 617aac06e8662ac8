//! Patches: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386), and Kubernetes' strategic merge patch.

use serde_json::{Map, Value, json};

use super::failure::Failure;

/// How the elements of a list are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListKind {
    /// By these fields
    Map(&'static [&'static str]),
    /// By their value
    Set,
    /// Not at all: the list is one value
    Atomic,
}

/// Returns how strategic merge patches tell a list's elements apart, by the name of the field.
pub(super) fn list_kind(field: &str, items: &[Value]) -> ListKind {
    match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "secrets"
        | "imagePullSecrets" => ListKind::Map(&["name"]),
        "ports" if items.iter().any(|item| item.get("containerPort").is_some()) => {
            ListKind::Map(&["containerPort"])
        }
        "ports" => ListKind::Map(&["port"]),
        "conditions" => ListKind::Map(&["type"]),
        "volumeMounts" => ListKind::Map(&["mountPath"]),
        "volumeDevices" => ListKind::Map(&["devicePath"]),
        "ownerReferences" => ListKind::Map(&["uid"]),
        "hostAliases" | "podIPs" => ListKind::Map(&["ip"]),
        "topologySpreadConstraints" => ListKind::Map(&["topologyKey"]),
        "taints" => ListKind::Map(&["key"]),
        "addresses" => ListKind::Map(&["type"]),
        "finalizers" => ListKind::Set,
        _ => ListKind::Atomic,
    }
}

/// Applies a JSON merge patch.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Applies a strategic merge patch to an object.
pub(super) fn strategic(target: &mut Value, patch: &Value) -> Result<(), Failure> {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            let mut whole = patch.clone();
            whole.remove("$patch");
            *target = Value::Object(whole);
            return Ok(());
        }
        Some("delete") => {
            *target = json!({});
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => {
            return Err(Failure::bad(format!("Unknown patch type found: {other}")));
        }
    }
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(target) = target else { return Ok(()) };
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        target.retain(|name, _| kept.iter().any(|kept| kept == name));
    }
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        match value {
            Value::Null => {
                target.remove(name);
            }
            Value::Array(items) => {
                let order = patch.get(&format!("$setElementOrder/{name}"));
                let order = order.and_then(Value::as_array).unwrap_or(items);
                let list = target.entry(name.clone()).or_insert_with(|| json!([]));
                strategic_list(list, name, items, order)?;
            }
            _ => strategic(target.entry(name.clone()).or_insert(Value::Null), value)?,
        }
    }
    directives(target, patch);
    Ok(())
}

/// Follows the directives of a patch that are about lists beside them.
fn directives(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        let Some(wanted) = value.as_array() else { continue };
        if let Some(field) = name.strip_prefix("$deleteFromPrimitiveList/")
            && let Some(list) = target.get_mut(field).and_then(Value::as_array_mut)
        {
            list.retain(|item| !wanted.contains(item));
        }
        if let Some(field) = name.strip_prefix("$setElementOrder/")
            && !patch.contains_key(field)
            && let Some(list) = target.get_mut(field).and_then(Value::as_array_mut)
        {
            let before = list.clone();
            ordered(list, wanted, &before, list_kind(field, &before));
        }
    }
}

fn is_same(kind: ListKind, one: &Value, other: &Value) -> bool {
    match kind {
        ListKind::Map(keys) => keys.iter().all(|key| one.get(key) == other.get(key)),
        ListKind::Set | ListKind::Atomic => one == other,
    }
}

/// Orders a list as the server does: what a patch names in the patch's order, what it does not name where it was.
fn ordered(list: &mut Vec<Value>, order: &[Value], before: &[Value], kind: ListKind) {
    let place = |all: &[Value], item: &Value| all.iter().position(|one| is_same(kind, one, item));
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        list.drain(..).partition(|item| place(order, item).is_some());
    named.sort_by_key(|item| place(order, item));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let other_first = match (others.peek(), named.peek()) {
            (None, None) => return,
            (Some(other), Some(one)) => match (place(before, other), place(before, one)) {
                (Some(other), Some(one)) => other < one,
                _ => false,
            },
            (Some(_), None) => true,
            (None, Some(_)) => false,
        };
        list.extend(if other_first { others.next() } else { named.next() });
    }
}

fn strategic_list(
    list: &mut Value,
    field: &str,
    items: &[Value],
    order: &[Value],
) -> Result<(), Failure> {
    let is = |item: &Value, directive: &str| {
        item.get("$patch").and_then(Value::as_str) == Some(directive)
    };
    let kind = list_kind(field, items);
    if items.iter().any(|item| is(item, "replace")) {
        *list = items.iter().filter(|item| !is(item, "replace")).cloned().collect();
        return Ok(());
    }
    let Value::Array(list) = list else {
        *list = Value::Array(items.to_vec());
        return Ok(());
    };
    let before = list.clone();
    match kind {
        ListKind::Atomic => *list = items.to_vec(),
        ListKind::Set => {
            for item in items {
                if !list.contains(item) {
                    list.push(item.clone());
                }
            }
        }
        ListKind::Map(keys) => {
            for item in items {
                let same = |found: &Value| keys.iter().all(|key| found.get(key) == item.get(key));
                if let Some(key) = keys.iter().find(|key| item.get(**key).is_none()) {
                    let said = format!("map: {item} does not contain declared merge key: {key}");
                    return Err(Failure::new(500, "InternalError", said));
                }
                if is(item, "delete") {
                    list.retain(|found| !same(found));
                    continue;
                }
                match list.iter_mut().find(|found| same(found)) {
                    Some(found) => strategic(found, item)?,
                    None => {
                        let mut fresh = json!({});
                        strategic(&mut fresh, item)?;
                        list.push(fresh);
                    }
                }
            }
        }
    }
    if kind != ListKind::Atomic {
        ordered(list, order, &before, kind);
    }
    Ok(())
}

/// Applies a JSON patch: all of it, or an error.
pub(super) fn json_patch(target: &mut Value, patch: &Value) -> Result<(), String> {
    let Value::Array(steps) = patch else { return Err("a JSON patch is a list".to_owned()) };
    for step in steps {
        let part = |name: &str| step.get(name).and_then(Value::as_str);
        let path = part("path").ok_or("a step without a path")?;
        let value = || step.get("value").cloned().ok_or("a step without a value");
        match part("op").ok_or("a step without an op")? {
            "test" => {
                let found = target.pointer(path).unwrap_or(&Value::Null);
                if *found != value()? {
                    return Err(format!("testing value {path} failed: test failed"));
                }
            }
            "add" => add(target, path, value()?)?,
            "remove" => {
                take(target, path)?;
            }
            "replace" => {
                let place = target.pointer_mut(path);
                *place.ok_or_else(|| missing("replace", path))? = value()?;
            }
            "move" => {
                let moved = take(target, part("from").ok_or("a move without a from")?)?;
                add(target, path, moved)?;
            }
            "copy" => {
                let from = part("from").ok_or("a copy without a from")?;
                let copied = target.pointer(from).cloned().ok_or_else(|| missing("copy", from))?;
                add(target, path, copied)?;
            }
            other => return Err(format!("Unexpected kind: {other}")),
        }
    }
    Ok(())
}

fn missing(what: &str, path: &str) -> String {
    format!("{what} operation does not apply: doc is missing key: {path}: missing value")
}

fn parent<'a>(target: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (above, last) = path.rsplit_once('/')?;
    Some((target.pointer_mut(above)?, last.replace("~1", "/").replace("~0", "~")))
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    match parent(target, path) {
        Some((Value::Object(fields), last)) => {
            fields.insert(last, value);
            Ok(())
        }
        Some((Value::Array(items), last)) => {
            let at = if last == "-" { Some(items.len()) } else { last.parse().ok() };
            match at.filter(|at| *at <= items.len()) {
                Some(at) => {
                    items.insert(at, value);
                    Ok(())
                }
                None => Err(missing("add", path)),
            }
        }
        _ => Err(missing("add", path)),
    }
}

fn take(target: &mut Value, path: &str) -> Result<Value, String> {
    let taken = match parent(target, path) {
        Some((Value::Object(fields), last)) => fields.remove(&last),
        Some((Value::Array(items), last)) => {
            let at = last.parse().ok().filter(|at: &usize| *at < items.len());
            at.map(|at| items.remove(at))
        }
        _ => None,
    };
    taken.ok_or_else(|| missing("remove", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({ "spec": {
            "containers": [
                { "name": "app", "image": "a:1", "env": [{ "name": "A", "value": "1" }] },
                { "name": "side", "image": "s:1" },
            ],
            "tolerations": [{ "key": "a" }],
        } })
    }

    #[test]
    fn strategic_patches_know_the_lists_of_pods() {
        let mut object = pod();
        let patch = json!({ "spec": {
            "$setElementOrder/containers": [{ "name": "side" }, { "name": "app" }],
            "containers": [
                { "name": "app", "env": [{ "name": "B", "value": "2" }] },
                { "name": "new", "image": "n:1" },
                { "name": "side", "$patch": "delete" },
            ],
            "tolerations": [{ "key": "b" }],
        } });
        strategic(&mut object, &patch).expect("it fits");
        assert_eq!(
            object["spec"]["containers"],
            json!([
                {
                    "name": "app", "image": "a:1",
                    "env": [{ "name": "B", "value": "2" }, { "name": "A", "value": "1" }],
                },
                { "name": "new", "image": "n:1" },
            ])
        );
        assert_eq!(object["spec"]["tolerations"], json!([{ "key": "b" }]));
    }

    #[test]
    fn directives_replace_retain_and_delete() {
        let mut object = json!({
            "metadata": { "finalizers": ["a", "b"] },
            "spec": { "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } } },
        });
        let patch = json!({
            "metadata": { "$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"] },
            "spec": { "strategy": { "$retainKeys": ["type"], "type": "Recreate" } },
        });
        strategic(&mut object, &patch).expect("it fits");
        assert_eq!(object["metadata"]["finalizers"], json!(["c", "b"]));
        assert_eq!(object["spec"]["strategy"], json!({ "type": "Recreate" }));
        let replace = json!({ "spec": { "$patch": "replace", "x": 1 } });
        strategic(&mut object, &replace).expect("it fits");
        assert_eq!(object["spec"], json!({ "x": 1 }));
    }

    #[test]
    fn json_patches_are_applied_in_order_or_refused() {
        let mut object = json!({ "a": [1, 2], "b": { "x/y": 1 } });
        let patch = json!([
            { "op": "test", "path": "/a/0", "value": 1 },
            { "op": "add", "path": "/a/1", "value": 9 },
            { "op": "add", "path": "/a/-", "value": 3 },
            { "op": "move", "from": "/b/x~1y", "path": "/c" },
            { "op": "copy", "from": "/c", "path": "/d" },
            { "op": "replace", "path": "/c", "value": 7 },
            { "op": "remove", "path": "/a/0" },
        ]);
        json_patch(&mut object, &patch).expect("it fits");
        assert_eq!(object, json!({ "a": [9, 2, 3], "b": {}, "c": 7, "d": 1 }));
        for bad in [
            json!([{ "op": "test", "path": "/c", "value": 1 }]),
            json!([{ "op": "remove", "path": "/none" }]),
            json!([{ "op": "replace", "path": "/none", "value": 1 }]),
            json!([{ "op": "add", "path": "/a/9", "value": 1 }]),
            json!([{ "op": "jump", "path": "/a" }]),
            json!({}),
        ] {
            assert!(json_patch(&mut object, &bad).is_err(), "{bad}");
        }
    }
}
