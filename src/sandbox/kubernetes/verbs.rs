//! Reading and changing objects, as the API server's handlers do it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::convert::{inward, outward};
use super::delete;
use super::failure::Failure;
use super::kinds::Kind;
use super::request::{Asked, Writer};
use super::store::{Key, NAMESPACES, Store, text};
use super::{defaults, managers, rules};

/// Reads one object.
pub(super) fn get(store: &Store, asked: &Asked, name: &str) -> Result<Value, Failure> {
    let found = store.get(&asked.key(name));
    found
        .map(|object| outward(&asked.kind, object))
        .ok_or_else(|| Failure::missing(&asked.kind, name))
}

/// Lists objects, in parts where a limit is given.
pub(super) fn list(store: &Store, asked: &Asked) -> Result<Value, Failure> {
    let kind = &asked.kind;
    let selector = asked.selector()?;
    let limit = asked.parameter("limit").parse().ok().filter(|limit: &usize| *limit > 0);
    let (version, after) = place(store, asked)?;
    let at = store.of_at(&kind.kept, &asked.namespace, version);
    let at = at.ok_or_else(|| {
        let said = "The provided continue parameter is too old to display a consistent list result. You can start a \
                    new list without the continue parameter, or use the continue token in this response to retrieve \
                    the remainder of the results. Continuing with the provided token results in an inconsistent list \
                    - objects that were created, modified, or deleted between the time the first chunk was returned \
                    and now may show up in the list.";
        Failure::expired(said)
    })?;
    let wanted = at.into_iter().filter(|(key, object)| {
        after.as_ref().is_none_or(|after| (&key.1, &key.2) > (&after.0, &after.1))
            && selector.matches(object)
    });
    let mut wanted: Vec<(Key, Arc<Value>)> = wanted.collect();
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    if let Some(limit) = limit.filter(|limit| *limit < wanted.len()) {
        let rest = wanted.split_off(limit);
        if let Some(((_, namespace, name), _)) = wanted.last() {
            metadata["continue"] = json!(format!("{version}.{namespace}/{name}"));
        }
        if selector.is_empty() {
            metadata["remainingItemCount"] = json!(rest.len());
        }
    }
    let item = |(_, object): &(Key, Arc<Value>)| {
        let mut item = outward(kind, object);
        // The list says of what kind all of them are.
        if let Some(fields) = item.as_object_mut().filter(|_| !kind.custom) {
            fields.remove("apiVersion");
            fields.remove("kind");
        }
        item
    };
    let items: Vec<Value> = wanted.iter().map(item).collect();
    Ok(json!({
        "kind": format!("{}List", kind.kind),
        "apiVersion": kind.api(),
        "metadata": metadata,
        "items": items,
    }))
}

/// Returns the version a list is of, and the object it goes on after.
fn place(store: &Store, asked: &Asked) -> Result<(u64, Option<(String, String)>), Failure> {
    let token = asked.parameter("continue");
    let version = asked.parameter("resourceVersion");
    if !token.is_empty() {
        let parsed = token.split_once('.').and_then(|(version, place)| {
            let (namespace, name) = place.split_once('/')?;
            Some((version.parse().ok()?, (namespace.to_owned(), name.to_owned())))
        });
        let (version, after) =
            parsed.ok_or_else(|| Failure::bad(format!("continue key is not valid: {token}")))?;
        return Ok((version, Some(after)));
    }
    if version.is_empty() || version == "0" {
        return Ok((store.version(), None));
    }
    let asked_for: u64 = version.parse().map_err(|_| invalid_version(version))?;
    if asked_for > store.version() {
        return Err(Failure::too_large(asked_for, store.version()));
    }
    match asked.parameter("resourceVersionMatch") {
        "Exact" => Ok((asked_for, None)),
        _ => Ok((store.version(), None)),
    }
}

pub(super) fn invalid_version(version: &str) -> Failure {
    let message = format!(
        "invalid resource version \"{version}\": strconv.ParseUint: parsing \"{version}\": invalid syntax"
    );
    Failure::bad(message)
}

/// Makes an object.
pub(super) fn create(
    store: &mut Store,
    asked: &Asked,
    mut object: Value,
) -> Result<Value, Failure> {
    let kind = Arc::clone(&asked.kind);
    fits_path(asked, &object)?;
    if !text(&object, "/metadata/resourceVersion").is_empty() {
        let said = "resourceVersion should not be set on objects to be created";
        return Err(Failure::new(500, "", said));
    }
    rules::shape(&kind, &mut object, asked.parameter("fieldValidation") == "Strict")?;
    inward(&kind, &mut object);
    if object["metadata"].is_null() {
        object["metadata"] = json!({});
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["uid", "creationTimestamp", "generation", "selfLink", "deletionTimestamp"] {
            metadata.remove(field);
        }
    }
    if kind.status
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("status");
    }
    let prefix = text(&object, "/metadata/generateName").to_owned();
    if text(&object, "/metadata/name").is_empty() && !prefix.is_empty() {
        object["metadata"]["name"] = json!(format!("{prefix}{}", store.next_suffix()));
    }
    let name = text(&object, "/metadata/name").to_owned();
    has_namespace(store, asked, &name)?;
    defaults::fill(&kind, &mut object);
    rules::creation(&kind, &object)?;
    let key = asked.key(&name);
    if store.get(&key).is_some() {
        return Err(Failure::exists(&kind, &name));
    }
    let uid = store.next_uid();
    store.dress(&kind, &mut object, &asked.namespace, &uid);
    if kind.kind == "Job" {
        job_selector(&mut object, &uid);
    }
    // What is made by applying says already whose it is.
    if object["metadata"]["managedFields"].as_array().is_none_or(Vec::is_empty) {
        managers::note(None, &mut object, &asked.writer, kind.custom, store.now);
    }
    if asked.writer.dry_run {
        return Ok(outward(&kind, &object));
    }
    let made = store.put(key, object);
    Ok(outward(&kind, &made))
}

/// Holds that an object is what its path says.
fn fits_path(asked: &Asked, object: &Value) -> Result<(), Failure> {
    let kind = &asked.kind;
    let (api, named) = (text(object, "/apiVersion"), text(object, "/kind"));
    if !(api.is_empty() && named.is_empty()) && (api != kind.api() || named != kind.kind) {
        return Err(Failure::bad(format!(
            "{named} in version \"{}\" cannot be handled as a {}: no kind \"{named}\" is registered for version \"{api}\"",
            api.rsplit('/').next().unwrap_or(api),
            kind.kind
        )));
    }
    fits_place(asked, object)
}

/// Holds that an object is where its path says, by its name and namespace.
pub(super) fn fits_place(asked: &Asked, object: &Value) -> Result<(), Failure> {
    let namespace = text(object, "/metadata/namespace");
    if !namespace.is_empty() && namespace != asked.namespace {
        let said =
            "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Failure::bad(said));
    }
    if let Some(name) = &asked.name {
        let said = text(object, "/metadata/name");
        if !said.is_empty() && said != name {
            return Err(Failure::bad(format!(
                "the name of the object ({said}) does not match the name on the URL ({name})"
            )));
        }
    }
    Ok(())
}

fn has_namespace(store: &Store, asked: &Asked, name: &str) -> Result<(), Failure> {
    if !asked.kind.namespaced {
        return Ok(());
    }
    let namespace = &asked.namespace;
    let key = (NAMESPACES.to_owned(), String::new(), namespace.clone());
    let Some(kind) = store.kinds.of(NAMESPACES) else { return Ok(()) };
    if store.get(&key).is_none() {
        return Err(Failure::missing(&kind, namespace));
    }
    if store.ending.contains(namespace) {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let causes = json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace",
        }]);
        return Err(Failure::forbidden(&asked.kind, name, &why, causes));
    }
    Ok(())
}

/// A Job's pods are told apart by a label with its uid.
fn job_selector(object: &mut Value, uid: &str) {
    let name = object["metadata"]["name"].clone();
    if object["spec"].get("selector").is_none() {
        object["spec"]["selector"] = json!({ "matchLabels": { "controller-uid": uid } });
    }
    let labels = &mut object["spec"]["template"]["metadata"]["labels"];
    if labels.is_null() {
        *labels = json!({});
    }
    labels["controller-uid"] = json!(uid);
    labels["job-name"] = name;
}

/// Replaces an object.
pub(super) fn replace(
    store: &mut Store,
    asked: &Asked,
    name: &str,
    mut object: Value,
) -> Result<Value, Failure> {
    let kind = Arc::clone(&asked.kind);
    fits_path(asked, &object)?;
    rules::shape(&kind, &mut object, asked.parameter("fieldValidation") == "Strict")?;
    if store.get(&asked.key(name)).is_none() {
        if kind.kind == "Lease" {
            return create(store, asked, object);
        }
        return Err(Failure::missing(&kind, name));
    }
    let unconditional = text(&object, "/metadata/resourceVersion").is_empty();
    if unconditional && (kind.custom || kind.kind == "Lease") {
        let cause = super::failure::Cause::invalid(
            "metadata.resourceVersion",
            "0x0",
            "must be specified for an update",
        );
        return Err(Failure::invalid(&kind.kind, &kind.group, name, &[cause]));
    }
    inward(&kind, &mut object);
    let key = asked.key(name);
    update(store, &kind, &key, object, &asked.writer, None)
}

/// Puts the new state of an object in place: what every change ends with. `managed` says whose its fields are, where
/// whoever applied them has settled that already.
pub(super) fn update(
    store: &mut Store,
    kind: &Kind,
    key: &Key,
    mut after: Value,
    writer: &Writer,
    managed: Option<Value>,
) -> Result<Value, Failure> {
    let name = key.2.as_str();
    let before = store.get(key).cloned().ok_or_else(|| Failure::missing(kind, name))?;
    let version = text(&after, "/metadata/resourceVersion");
    if !version.is_empty() && version != text(&before, "/metadata/resourceVersion") {
        return Err(Failure::modified(kind, name));
    }
    let uid = text(&after, "/metadata/uid");
    if !uid.is_empty() && uid != text(&before, "/metadata/uid") {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            text(&before, "/metadata/uid")
        );
        return Err(Failure::conflict(kind, name, &why));
    }
    let given = after["metadata"].get("managedFields").cloned();
    keep_servers(kind, &before, &mut after, &writer.subresource);
    defaults::fill(kind, &mut after);
    if !kind.custom && writer.subresource != "status" {
        rules::change(kind, &before, &after)?;
    }
    if kind.counted && wanted(kind, &after) != wanted(kind, &before) {
        let generation = before["metadata"]["generation"].as_i64().unwrap_or(1);
        after["metadata"]["generation"] = json!(generation + 1);
    }
    match managed {
        Some(managed) => after["metadata"]["managedFields"] = managed,
        None => {
            if let Some(given) = given.filter(|given| given.as_array().is_some_and(Vec::is_empty)) {
                after["metadata"]["managedFields"] = given;
            }
            managers::note(Some(&before), &mut after, writer, kind.custom, store.now);
        }
    }
    if writer.dry_run || after == before {
        return Ok(outward(kind, &after));
    }
    let made = store.put(key.clone(), after);
    if delete::is_over(&made) {
        store.remove(key);
    }
    Ok(outward(kind, &made))
}

/// Returns the part of an object whose changes are counted.
fn wanted(kind: &Kind, object: &Value) -> Value {
    let mut wanted = object.clone();
    if let Some(fields) = wanted.as_object_mut() {
        fields.retain(|name, _| match name.as_str() {
            "metadata" | "status" => false,
            "spec" => true,
            _ => kind.custom,
        });
    }
    if kind.kind == "Deployment" {
        wanted["annotations"] = object["metadata"]["annotations"].clone();
    }
    wanted
}

/// Keeps what only the server writes, and what the other side of a subresource writes.
fn keep_servers(kind: &Kind, before: &Value, after: &mut Value, subresource: &str) {
    if subresource == "status" {
        let status = after.get("status").cloned();
        *after = before.clone();
        match status {
            Some(status) => after["status"] = status,
            None => {
                if let Some(fields) = after.as_object_mut() {
                    fields.remove("status");
                }
            }
        }
    } else if kind.status {
        match before.get("status") {
            Some(status) => after["status"] = status.clone(),
            None => {
                if let Some(fields) = after.as_object_mut() {
                    fields.remove("status");
                }
            }
        }
    }
    for field in ["apiVersion", "kind"] {
        after[field] = before[field].clone();
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "generation",
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
    ] {
        match before["metadata"].get(field) {
            Some(value) => after["metadata"][field] = value.clone(),
            None => {
                if let Some(metadata) = after["metadata"].as_object_mut() {
                    metadata.remove(field);
                }
            }
        }
    }
}
