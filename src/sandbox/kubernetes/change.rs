//! Patches of objects and of their subresources: which kind of patch, on what, and the scale.

use std::sync::Arc;

use serde_json::{Value, json};

use super::convert::{inward, outward};
use super::failure::{Cause, Failure};
use super::kinds::ScaleAt;
use super::request::{Asked, from_yaml};
use super::selector::Selector;
use super::store::{Store, text};
use super::{managers, patch, rules, verbs};

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// Every kind of patch there is.
pub(super) const KINDS: [&str; 4] = [JSON, MERGE, STRATEGIC, APPLY];

/// Patches an object, its status or its scale; says as well whether it was made by that.
pub(super) fn patched(
    store: &mut Store,
    asked: &Asked,
    name: &str,
    body: &[u8],
) -> Result<(u16, Value), Failure> {
    let kind = Arc::clone(&asked.kind);
    if asked.content_type == APPLY {
        return applied(store, asked, name, body);
    }
    let accepted: &[&str] = if kind.custom { &[JSON, MERGE, APPLY] } else { &KINDS };
    if !accepted.contains(&asked.content_type.as_str()) {
        return Err(Failure::media(accepted));
    }
    let key = asked.key(name);
    let before = store.get(&key).cloned().ok_or_else(|| Failure::missing(&kind, name))?;
    let patch: Value =
        serde_json::from_slice(body).map_err(|error| Failure::bad(error.to_string()))?;
    let mut after = match asked.subresource.as_str() {
        "scale" => scale_of(&scale_at(asked)?, &before),
        _ => outward(&kind, &before),
    };
    if let Some(metadata) = after["metadata"].as_object_mut() {
        // A version in the patch itself is held; the one that was read is not.
        metadata.remove("resourceVersion");
    }
    match asked.content_type.as_str() {
        JSON => {
            after["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            patch::json_patch(&mut after, &patch).map_err(|why| refused(&why))?;
        }
        MERGE => patch::merge(&mut after, &patch),
        _ => patch::strategic(&mut after, &patch)?,
    }
    if asked.subresource == "scale" {
        return rescaled(store, asked, name, &after).map(|scale| (200, scale));
    }
    if text(&after, "/metadata/name") != name {
        let said = format!(
            "the name of the object ({}) does not match the name on the URL ({name})",
            text(&after, "/metadata/name")
        );
        return Err(Failure::bad(said));
    }
    rules::shape(&kind, &mut after, asked.parameter("fieldValidation") == "Strict")?;
    inward(&kind, &mut after);
    let done = verbs::update(store, &kind, &key, after, &asked.writer, None)?;
    Ok((200, done))
}

/// The server says little about a JSON patch that does not apply.
fn refused(why: &str) -> Failure {
    let message = "the server rejected our request due to an error in our request";
    tracing::debug!(why, "a JSON patch does not apply");
    Failure::new(422, "Invalid", message).with(json!({}))
}

/// Server-side apply.
fn applied(
    store: &mut Store,
    asked: &Asked,
    name: &str,
    body: &[u8],
) -> Result<(u16, Value), Failure> {
    let kind = Arc::clone(&asked.kind);
    if asked.parameter("fieldManager").is_empty() {
        let cause = Cause::required("fieldManager", "is required for apply patch");
        return Err(Failure::invalid("PatchOptions", "meta.k8s.io", "", &[cause]));
    }
    let mut wanted = from_yaml(body)?;
    if wanted["metadata"].get("managedFields").is_some_and(|given| !given.is_null()) {
        return Err(Failure::bad("metadata.managedFields must be nil"));
    }
    if text(&wanted, "/apiVersion") != kind.api() || text(&wanted, "/kind") != kind.kind {
        let said = format!(
            "invalid object type: expected {}, Kind={}, got {}, Kind={}",
            kind.api(),
            kind.kind,
            text(&wanted, "/apiVersion"),
            text(&wanted, "/kind")
        );
        return Err(Failure::bad(said));
    }
    let key = asked.key(name);
    let version = wanted["metadata"].get("resourceVersion").cloned();
    if asked.subresource == "scale" {
        return Err(Failure::beyond("server-side apply of a scale"));
    }
    rules::shape(&kind, &mut wanted, asked.parameter("fieldValidation") == "Strict")?;
    inward(&kind, &mut wanted);
    let Some(before) = store.get(&key).cloned() else {
        wanted["metadata"]["name"] = json!(name);
        let now = store.now;
        let nothing = json!({ "metadata": {} });
        let made = managers::apply(&nothing, &wanted, &asked.writer, true, kind.custom, now)?;
        return verbs::create(store, asked, outward(&kind, &made)).map(|made| (201, made));
    };
    let force = asked.flag("force");
    let mut after =
        managers::apply(&before, &wanted, &asked.writer, force, kind.custom, store.now)?;
    match version {
        Some(version) => after["metadata"]["resourceVersion"] = version,
        None => after["metadata"]["resourceVersion"] = json!(""),
    }
    let managed = after["metadata"]["managedFields"].clone();
    let done = verbs::update(store, &kind, &key, after, &asked.writer, Some(managed))?;
    Ok((200, done))
}

/// Returns where a kind's scale is.
fn scale_at(asked: &Asked) -> Result<ScaleAt, Failure> {
    asked.kind.scale.clone().ok_or_else(Failure::nowhere)
}

/// Reads the scale of an object.
pub(super) fn scale(store: &Store, asked: &Asked, name: &str) -> Result<Value, Failure> {
    let at = scale_at(asked)?;
    let found = store.get(&asked.key(name));
    found.map(|object| scale_of(&at, object)).ok_or_else(|| {
        // Who reads a scale that is not there is told of the scale, who changes it of the workload.
        let mut kind = (*asked.kind).clone();
        if !kind.custom {
            kind.plural += "/scale";
        }
        Failure::missing(&kind, name)
    })
}

/// Returns an object's scale.
fn scale_of(at: &ScaleAt, object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {},
        "status": { "replicas": object.pointer(&at.status).and_then(Value::as_i64).unwrap_or(0) },
    });
    // What is zero is left out of what is wanted.
    if let Some(replicas) = object.pointer(&at.spec).and_then(Value::as_i64).filter(|one| *one != 0)
    {
        scale["spec"]["replicas"] = json!(replicas);
    }
    let selector = match at.selector.as_str() {
        "" => Selector::of(&object["spec"]["selector"]).map(|selector| selector.text()),
        path => object.pointer(path).and_then(Value::as_str).map(str::to_owned),
    };
    if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
        scale["status"]["selector"] = json!(selector);
    }
    scale
}

/// Sets the scale of an object.
pub(super) fn rescaled(
    store: &mut Store,
    asked: &Asked,
    name: &str,
    scale: &Value,
) -> Result<Value, Failure> {
    let at = scale_at(asked)?;
    let kind = Arc::clone(&asked.kind);
    let key = asked.key(name);
    let mut object = store.get(&key).cloned().ok_or_else(|| Failure::missing(&kind, name))?;
    let replicas = match &scale["spec"]["replicas"] {
        Value::Null => 0,
        given => given.as_i64().ok_or_else(|| {
            let said =
                "Scale in version \"v1\" cannot be handled as a Scale: json: replicas is no number";
            Failure::bad(said)
        })?,
    };
    if replicas < 0 {
        let why = "must be greater than or equal to 0";
        let cause = Cause::invalid("spec.replicas", &replicas.to_string(), why);
        return Err(Failure::invalid("Scale", "autoscaling", name, &[cause]));
    }
    let version = text(scale, "/metadata/resourceVersion").to_owned();
    if !version.is_empty() && version != text(&object, "/metadata/resourceVersion") {
        return Err(Failure::modified(&kind, name));
    }
    let (above, last) = at.spec.rsplit_once('/').unwrap_or(("", "replicas"));
    match object.pointer_mut(above) {
        Some(above) => above[last] = json!(replicas),
        None => object["spec"]["replicas"] = json!(replicas),
    }
    let made = verbs::update(store, &kind, &key, object, &asked.writer, None)?;
    Ok(scale_of(&at, &made))
}
