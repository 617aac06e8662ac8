//! Who manages which fields of an object, and server-side apply.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::failure::Failure;
use super::fields::{self, Fields, Path};
use super::request::Writer;
use super::store::{stamp, text};

/// Who manages fields: name, operation, version, subresource.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    manager: String,
    applies: bool,
    version: String,
    subresource: String,
    time: String,
    fields: Fields,
}

fn read(object: &Value) -> Vec<Entry> {
    let all = object["metadata"]["managedFields"].as_array();
    let entry = |entry: &Value| Entry {
        manager: text(entry, "/manager").to_owned(),
        applies: text(entry, "/operation") == "Apply",
        version: text(entry, "/apiVersion").to_owned(),
        subresource: text(entry, "/subresource").to_owned(),
        time: text(entry, "/time").to_owned(),
        fields: fields::from_json(&entry["fieldsV1"]),
    };
    all.into_iter().flatten().map(entry).collect()
}

fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    if entries.is_empty() {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        return;
    }
    // Whoever applies comes first, then the oldest.
    entries.sort_by(|one, other| {
        (!one.applies, &one.time, &one.manager).cmp(&(!other.applies, &other.time, &other.manager))
    });
    let entry = |entry: &Entry| {
        let mut written = json!({
            "manager": entry.manager,
            "operation": if entry.applies { "Apply" } else { "Update" },
            "apiVersion": entry.version,
            "time": entry.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": fields::to_json(&entry.fields),
        });
        if !entry.subresource.is_empty() {
            written["subresource"] = json!(entry.subresource);
        }
        written
    };
    object["metadata"]["managedFields"] = entries.iter().map(entry).collect();
}

/// Notes who changed what: an object's new fields and values belong to who wrote it.
pub(super) fn note(
    before: Option<&Value>,
    after: &mut Value,
    writer: &Writer,
    custom: bool,
    now: Timestamp,
) {
    let mut entries = before.map(read).unwrap_or_default();
    // Whoever empties the list resets it.
    let reset = after["metadata"]["managedFields"].as_array().is_some_and(Vec::is_empty);
    if reset && before.is_some() {
        entries.clear();
    }
    let nothing = Value::Null;
    let old = fields::of(before.unwrap_or(&nothing), custom);
    let new = fields::of(after, custom);
    let changed: Fields = new
        .iter()
        .filter(|(path, value)| !path.is_empty() && old.get(*path) != Some(value))
        .map(|(path, _)| path.clone())
        .collect();
    let gone: Vec<&Path> = old.keys().filter(|path| !new.contains_key(*path)).collect();
    if changed.is_empty() && gone.is_empty() {
        write(after, entries);
        return;
    }
    let is_writer = |entry: &Entry| {
        !entry.applies
            && entry.manager == writer.manager
            && entry.version == writer.version
            && entry.subresource == writer.subresource
    };
    for entry in &mut entries {
        let ours = is_writer(entry);
        entry.fields.retain(|path| !gone.contains(&path) && (ours || !changed.contains(path)));
    }
    let time = stamp(now);
    match entries.iter_mut().find(|entry| is_writer(entry)) {
        Some(entry) => {
            entry.fields.extend(changed);
            entry.time = time;
        }
        None => entries.push(Entry {
            manager: writer.manager.clone(),
            applies: false,
            version: writer.version.clone(),
            subresource: writer.subresource.clone(),
            time,
            fields: changed,
        }),
    }
    write(after, entries);
}

/// Applies what somebody wants an object to be, to the object as it is.
pub(super) fn apply(
    live: &Value,
    applied: &Value,
    writer: &Writer,
    force: bool,
    custom: bool,
    now: Timestamp,
) -> Result<Value, Failure> {
    let mut entries = read(live);
    if entries.is_empty() && live["metadata"].get("uid").is_some() {
        // What was there before anybody said whose it is belongs to all who were there before.
        entries.push(Entry {
            manager: "before-first-apply".to_owned(),
            applies: false,
            version: text(live, "/apiVersion").to_owned(),
            subresource: String::new(),
            time: stamp(now),
            fields: fields::of(live, custom).into_keys().collect(),
        });
    }
    let (old, wanted) = (fields::of(live, custom), fields::of(applied, custom));
    let is_writer = |entry: &Entry| {
        entry.applies && entry.manager == writer.manager && entry.subresource == writer.subresource
    };
    let differs = |path: &Path| wanted.get(path).is_some_and(|value| old.get(path) != Some(value));
    let mut conflicts: BTreeMap<String, Vec<Path>> = BTreeMap::new();
    for entry in entries.iter_mut().filter(|entry| !is_writer(entry)) {
        let taken: Vec<Path> = entry.fields.iter().filter(|path| differs(path)).cloned().collect();
        entry.fields.retain(|path| !taken.contains(path));
        if !taken.is_empty() {
            conflicts.entry(called(entry)).or_default().extend(taken);
        }
    }
    if !force && !conflicts.is_empty() {
        return Err(conflict(&conflicts));
    }
    let mut after = live.clone();
    fields::merge(&mut after, applied, "", custom);
    let mine: Fields = wanted.into_keys().filter(|path| !path.is_empty()).collect();
    let before = entries.iter().find(|entry| is_writer(entry)).cloned();
    let let_go = before.iter().flat_map(|entry| entry.fields.difference(&mine));
    for path in let_go {
        let is_others =
            entries.iter().any(|entry| !is_writer(entry) && entry.fields.contains(path));
        if !is_others && old.contains_key(path) {
            fields::remove(&mut after, path);
        }
    }
    let same = before.as_ref().is_some_and(|entry| entry.fields == mine) && after == *live;
    let time = match &before {
        Some(entry) if same => entry.time.clone(),
        _ => stamp(now),
    };
    entries.retain(|entry| !is_writer(entry));
    entries.push(Entry {
        manager: writer.manager.clone(),
        applies: true,
        version: writer.version.clone(),
        subresource: writer.subresource.clone(),
        time,
        fields: mine,
    });
    write(&mut after, entries);
    Ok(after)
}

fn called(entry: &Entry) -> String {
    let mut called = format!("\"{}\"", entry.manager);
    if !entry.subresource.is_empty() {
        called = format!("{called} with subresource \"{}\"", entry.subresource);
    }
    if !entry.applies {
        called = format!("{called} using {}", entry.version);
    }
    called
}

fn conflict(conflicts: &BTreeMap<String, Vec<Path>>) -> Failure {
    let all: Vec<(&String, String)> = conflicts
        .iter()
        .flat_map(|(called, paths)| paths.iter().map(move |path| (called, fields::said(path))))
        .collect();
    let message = match all.as_slice() {
        [(called, path)] => format!("Apply failed with 1 conflict: conflict with {called}: {path}"),
        many => {
            let mut lines = Vec::new();
            for (called, paths) in conflicts {
                lines.push(format!("conflicts with {called}:"));
                lines.extend(paths.iter().map(|path| format!("- {}", fields::said(path))));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    let cause = |(called, path): &(&String, String)| {
        json!({
            "reason": "FieldManagerConflict",
            "message": format!("conflict with {called}"),
            "field": path,
        })
    };
    let causes: Vec<Value> = all.iter().map(cause).collect();
    Failure::new(409, "Conflict", message).with(json!({ "causes": causes }))
}
