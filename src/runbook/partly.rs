//! What can be read of a runbook although something in it has the wrong shape: so that everything else that is wrong
//! is told with it.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::load::{NO_ID, STEPS_MAX};
use super::near;
use super::schema::{Runbook, Step};

/// Keys of a step that no other rule looks at: without them it is checked as if they had been left out.
const PASSED_OVER: [&str; 8] =
    ["title", "phase", "priority", "service", "retry", "timeout", "usually", "critical"];

/// The other keys of a step. One that was misspelt is missing, and nothing must be said of its absence.
const LOOKED_AT: [&str; 12] = [
    "id",
    "needs",
    "when",
    "approve",
    "action",
    "with",
    "checks",
    "verify",
    "rollback",
    "point_of_no_return",
    "on_failure",
    "rehearse",
];

/// A runbook without what could not be read.
pub(super) struct Partly {
    pub runbook: Runbook,
    pub known: Known,
}

/// What of it is as it is written.
pub(super) struct Known {
    /// Id, title and command
    pub head: bool,
    pub inputs: bool,
    pub verification: bool,
    /// Nothing is lost of these steps that a rule looks at; of the others id, action and needs are left
    pub steps: Vec<bool>,
}

/// Reads what can be read; `None` where there are no steps to speak of.
pub(super) fn read(value: &Value) -> Option<Partly> {
    let written = value.get("steps").and_then(Value::as_array)?;
    if written.is_empty() || written.len() > STEPS_MAX {
        return None;
    }
    let (steps, whole): (Vec<Value>, Vec<bool>) =
        written.iter().enumerate().map(|(i, written)| step(i, written)).unzip();
    let bare = json!({ "runbook": "X", "title": "x", "command": "x", "steps": [] });
    let head = Map::from_iter(
        value
            .as_object()?
            .iter()
            .filter(|(key, _)| *key != "steps")
            .map(|(k, v)| (k.clone(), v.clone())),
    );
    let mut lost = Vec::new();
    let mut kept = fitting::<Runbook>(&bare, &head, &mut lost);
    kept["steps"] = Value::Array(steps);
    let lacks = |key: &str| lost.iter().any(|lost| stands_for(lost, key));
    let told = |key: &str| head.contains_key(key) && !lacks(key);
    let known = Known {
        head: ["runbook", "title", "command"].into_iter().all(told),
        inputs: !lacks("inputs"),
        verification: !lacks("verification"),
        steps: whole,
    };
    Some(Partly { runbook: serde_json::from_value(kept).ok()?, known })
}

/// Returns a step as far as it can be read, and whether nothing is lost that a rule looks at.
fn step(i: usize, written: &Value) -> (Value, bool) {
    // What has no id is given one that nothing can name.
    let bare = json!({ "id": format!("{NO_ID}{i}") });
    let Some(written) = written.as_object() else { return (bare, false) };
    let mut lost = Vec::new();
    let mut kept = fitting::<Step>(&bare, written, &mut lost);
    let passed_over = |key: &&str| {
        PASSED_OVER.contains(key) || !LOOKED_AT.iter().any(|known| stands_for(key, known))
    };
    if written.contains_key("id") && lost.iter().all(|key| passed_over(&key.as_str())) {
        return (kept, true);
    }
    if let Some(kept) = kept.as_object_mut() {
        kept.retain(|key, _| ["id", "action", "needs"].contains(&key.as_str()));
        if lost.iter().any(|key| stands_for(key, "needs")) {
            // What it needs is none of the others: it must not seem to be a circle.
            kept.insert("needs".to_owned(), json!([]));
        }
    }
    (kept, false)
}

/// Says whether a key is another one, or meant to be.
fn stands_for(key: &str, known: &str) -> bool {
    near::nearest(key, std::iter::once(known)).is_some()
}

/// Adds to `bare`, which fits by itself, every key that fits with it; the others are lost.
fn fitting<T: DeserializeOwned>(
    bare: &Value,
    written: &Map<String, Value>,
    lost: &mut Vec<String>,
) -> Value {
    let mut kept = bare.clone();
    for (key, value) in written {
        let mut with = bare.clone();
        with[key] = value.clone();
        if T::deserialize(with).is_ok() {
            kept[key] = value.clone();
        } else {
            lost.push(key.clone());
        }
    }
    kept
}
