//! Deleting: preconditions, grace, finalizers, and what becomes of what an object owns.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::convert::outward;
use super::failure::Failure;
use super::kinds::Kind;
use super::protobuf;
use super::request::Asked;
use super::store::{Key, NAMESPACES, PODS, Store, has_ended, stamp, text};
use super::verbs::list;

/// What becomes of what an object owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owned {
    /// It is deleted afterwards
    Background,
    /// It is deleted before
    Foreground,
    /// It stays
    Orphan,
}

pub(super) const FOREGROUND: &str = "foregroundDeletion";
pub(super) const ORPHAN: &str = "orphan";

/// How something is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct How {
    owned: Owned,
    grace: Option<u64>,
    uid: Option<String>,
    version: Option<String>,
    dry_run: bool,
}

impl How {
    pub(super) fn of(asked: &Asked, body: &[u8]) -> Result<Self, Failure> {
        let body: Value = match body {
            [] => Value::Null,
            body if asked.content_type == protobuf::MEDIA => protobuf::decode(body)
                .ok_or_else(|| Failure::media(&["application/json", protobuf::MEDIA]))?,
            body => {
                serde_json::from_slice(body).map_err(|error| Failure::bad(error.to_string()))?
            }
        };
        let said = |name: &str| {
            let text = asked.query.get(name).map(String::as_str);
            text.or_else(|| body[name].as_str()).unwrap_or_default().to_owned()
        };
        let orphans = body["orphanDependents"].as_bool();
        let owned = match (said("propagationPolicy").as_str(), orphans) {
            ("Background", _) | ("", Some(false)) => Owned::Background,
            ("Foreground", _) => Owned::Foreground,
            ("Orphan", _) | ("", Some(true)) => Owned::Orphan,
            // Jobs of this version have always left their pods, unless somebody says otherwise.
            ("", None) if asked.kind.kind == "Job" => Owned::Orphan,
            ("", None) => Owned::Background,
            (other, _) => {
                let cause = super::failure::Cause::unsupported(
                    "propagationPolicy",
                    &format!("\"{other}\""),
                    "\"Foreground\", \"Background\", \"Orphan\", \"nil\"",
                );
                return Err(Failure::invalid("DeleteOptions", "meta.k8s.io", "", &[cause]));
            }
        };
        let grace = asked.query.get("gracePeriodSeconds").and_then(|text| text.parse().ok());
        let held = |name: &str| body["preconditions"][name].as_str().map(str::to_owned);
        Ok(Self {
            owned,
            grace: grace.or_else(|| body["gracePeriodSeconds"].as_u64()),
            uid: held("uid"),
            version: held("resourceVersion"),
            dry_run: asked.writer.dry_run || body["dryRun"][0] == "All",
        })
    }
}

/// Says whether nothing keeps an object that is to be deleted.
pub(super) fn is_over(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let kept = metadata["finalizers"].as_array().is_some_and(|kept| !kept.is_empty());
    let held = object["spec"]["finalizers"].as_array().is_some_and(|held| !held.is_empty());
    metadata.get("deletionTimestamp").is_some()
        && !kept
        && !(text(object, "/kind") == "Namespace" && held)
        && metadata["deletionGracePeriodSeconds"].as_u64().unwrap_or(0) == 0
}

/// Deletes one object.
pub(super) fn one(
    store: &mut Store,
    asked: &Asked,
    name: &str,
    how: &How,
) -> Result<(u16, Value), Failure> {
    let (kind, key) = (&asked.kind, asked.key(name));
    let before = store.get(&key).cloned().ok_or_else(|| Failure::missing(kind, name))?;
    let held = [
        ("UID", "uid", &how.uid, "deleted and then recreated"),
        ("ResourceVersion", "resourceVersion", &how.version, "modified"),
    ];
    for (called, field, wanted, perhaps) in held {
        let found = text(&before["metadata"], &format!("/{field}"));
        if let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != found) {
            let why = format!(
                "the {called} in the precondition ({wanted}) does not match the {called} in record ({found}). The \
                 object might have been {perhaps}"
            );
            return Err(Failure::outdated(kind, name, &why));
        }
    }
    let marked = marked(store, &key, &before, how.owned, how.grace);
    if !how.dry_run {
        carry_out(store, &key, marked.clone());
    }
    let told = match marked {
        Some(marked) => outward(kind, store.get(&key).unwrap_or(&marked)),
        None if tells_what_is_gone(kind) => {
            let mut gone = outward(kind, &before);
            gone["metadata"]["deletionTimestamp"] = json!(stamp(store.now));
            gone["metadata"]["deletionGracePeriodSeconds"] = json!(0);
            gone
        }
        None => {
            let mut details = json!({
                "name": name, "kind": kind.plural, "uid": before["metadata"]["uid"],
            });
            if !kind.group.is_empty() {
                details["group"] = json!(kind.group);
            }
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                "details": details,
            })
        }
    };
    Ok((200, told))
}

/// Deletes everything a list would show.
pub(super) fn many(store: &mut Store, asked: &Asked, how: &How) -> Result<Value, Failure> {
    let found = list(store, asked)?;
    let items: Vec<Value> = found["items"].as_array().cloned().unwrap_or_default();
    for item in &items {
        let namespace = text(item, "/metadata/namespace").to_owned();
        let name = text(item, "/metadata/name").to_owned();
        let key = (asked.kind.kept.clone(), namespace, name);
        if !how.dry_run {
            begin(store, &key, how.owned, how.grace);
        }
    }
    Ok(found)
}

fn tells_what_is_gone(kind: &Kind) -> bool {
    let kinds =
        ["Pod", "ServiceAccount", "PersistentVolume", "PersistentVolumeClaim", "ResourceQuota"];
    kind.group.is_empty() && kinds.contains(&kind.kind.as_str())
}

/// Begins to delete an object; what nothing keeps is gone at once.
pub(super) fn begin(store: &mut Store, key: &Key, owned: Owned, grace: Option<u64>) {
    let Some(before) = store.shared(key) else { return };
    let marked = marked(store, key, &before, owned, grace);
    carry_out(store, key, marked);
}

fn carry_out(store: &mut Store, key: &Key, marked: Option<Value>) {
    match marked {
        Some(marked) => store.change(key, |object| *object = marked),
        None => store.remove(key),
    }
}

/// Returns an object as one that is to be deleted; `None` where it is gone at once.
fn marked(
    store: &Store,
    key: &Key,
    before: &Value,
    owned: Owned,
    grace: Option<u64>,
) -> Option<Value> {
    let terminating = before["metadata"].get("deletionTimestamp").is_some();
    if terminating && !(key.0 == PODS && grace == Some(0)) {
        return Some(before.clone());
    }
    let mut finalizers = before["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    match owned {
        Owned::Background => {}
        Owned::Foreground => finalizers.push(json!(FOREGROUND)),
        Owned::Orphan => finalizers.push(json!(ORPHAN)),
    }
    finalizers.dedup();
    let runs = key.0 == PODS && !has_ended(before) && !text(before, "/spec/nodeName").is_empty();
    let own = before["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
    let grace = if runs { grace.unwrap_or(own) } else { 0 };
    if finalizers.is_empty() && grace == 0 && key.0 != NAMESPACES {
        return None;
    }
    let mut after = before.clone();
    let seconds = i64::try_from(grace).unwrap_or(i64::MAX);
    let at = store.now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(store.now);
    let metadata = &mut after["metadata"];
    metadata["deletionTimestamp"] = json!(stamp(at));
    if key.0 == NAMESPACES {
        after["status"]["phase"] = json!("Terminating");
        return Some(after);
    }
    metadata["deletionGracePeriodSeconds"] = json!(grace);
    if !finalizers.is_empty() {
        metadata["finalizers"] = json!(finalizers);
    }
    if let Some(generation) = metadata["generation"].as_i64() {
        metadata["generation"] = json!(generation + 1);
    }
    Some(after)
}
