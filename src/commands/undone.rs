//! What reverting a step does, in words: what it deletes, or the values it puts back.

use serde_json::{Map, Value};

use crate::engine::step::StepState;
use crate::plan::{Body, Plan, PlannedStep};
use crate::report::text;
use crate::runbook::catalogue::actions::ActionName;

/// Values of one step that are named; the others are counted.
const VALUES_MAX: usize = 4;

/// What a step's own way back does.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Undone {
    pub how: String,
    /// The values it puts back, each with its path
    pub values: Vec<String>,
}

/// Returns what reverting a step from its before-image does.
pub(super) fn of(plan: &Plan, step: &PlannedStep, seen: &StepState) -> Undone {
    if let Some(instance) = restored(plan, step, seen) {
        let region = seen.with.get("region").and_then(Value::as_str);
        let place = region.map_or_else(String::new, |region| format!(" in {region}"));
        let how = format!("deletes RDS instance {instance}{place}, which this run restored");
        return Undone { how, values: Vec::new() };
    }
    let values = match (&seen.ours, &seen.before) {
        (Some(ours), Some(before)) => values(ours, before),
        _ => Vec::new(),
    };
    Undone { how: "restores what was there before".to_owned(), values }
}

/// Returns the instance a step restored where there was none: taking it back deletes a database.
fn restored(plan: &Plan, step: &PlannedStep, seen: &StepState) -> Option<String> {
    let Body::Action { action, .. } = &step.body else { return None };
    let restores = matches!(
        ActionName::parse(action),
        Some(
            ActionName::RdsRecover
                | ActionName::RdsRestoreSnapshot
                | ActionName::RdsRestorePointInTime
        )
    );
    let absent = seen.before.as_ref().is_some_and(|before| before["exists"] == false);
    if !restores || !absent {
        return None;
    }
    // While it is in doubt there are no outputs: what was asked for has the name it was to have.
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    text(seen.outputs.get("instance"))
        .or_else(|| text(seen.with.get("target")))
        .or_else(|| text(seen.with.get("point").and_then(|point| point.get("target"))))
        .or_else(|| plan.estate.database.as_ref().map(|database| database.recovered.id.clone()))
}

fn values(ours: &Value, before: &Value) -> Vec<String> {
    let mut found = Vec::new();
    differing(String::new(), ours, before, &mut found);
    let more = found.len().saturating_sub(VALUES_MAX);
    found.truncate(VALUES_MAX);
    if more > 0 {
        found.push(format!("and {}", text::count(more, "more value")));
    }
    found
}

fn differing(path: String, ours: &Value, before: &Value, found: &mut Vec<String>) {
    if ours == before {
        return;
    }
    if let (Value::Object(ours), Value::Object(before)) = (ours, before) {
        let mut keys: Vec<&String> = ours.keys().chain(before.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let part = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
            let path = if path.is_empty() { words(key) } else { format!("{path} {}", words(key)) };
            differing(path, &part(ours), &part(before), found);
        }
        return;
    }
    let name = if path.is_empty() { String::new() } else { format!("{path}: ") };
    found.push(format!("{name}{} -> {}", said(ours), said(before)));
}

/// Returns a field's name as it is spoken; names of the estate's own have other characters and stay.
fn words(key: &str) -> String {
    if key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
        key.replace('_', " ")
    } else {
        key.to_owned()
    }
}

fn said(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "not there".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::journal::fixtures;

    fn step(action: &str) -> PlannedStep {
        let body = Body::Action { action: action.to_owned(), with: Map::new() };
        PlannedStep { body, ..fixtures::plan().steps[0].clone() }
    }

    fn seen(before: Value, ours: Value, with: Value, outputs: Value) -> StepState {
        let map = |value: Value| value.as_object().cloned().unwrap_or_default();
        let mut seen = StepState::default();
        (seen.before, seen.ours) = (Some(before), Some(ours));
        (seen.with, seen.outputs) = (map(with), map(outputs));
        seen
    }

    #[test]
    fn taking_back_a_restore_says_that_it_deletes_a_database() {
        let plan = fixtures::plan();
        let absent = json!({ "exists": false });
        let ours = json!({ "exists": true, "run": "01M8" });
        let region = json!({ "region": "us-west-2", "target": "by-argument" });
        let point = json!({ "point": { "target": "by-point" } });
        let (given, none) = (json!({ "instance": "by-output" }), json!({}));
        for (with, outputs, how) in [
            (
                &region,
                &given,
                "deletes RDS instance by-output in us-west-2, which this run restored",
            ),
            (
                &region,
                &none,
                "deletes RDS instance by-argument in us-west-2, which this run restored",
            ),
            (&point, &none, "deletes RDS instance by-point, which this run restored"),
        ] {
            let seen = seen(absent.clone(), ours.clone(), with.clone(), outputs.clone());
            let undone = of(&plan, &step("rds.recover"), &seen);
            assert_eq!(undone, Undone { how: how.to_owned(), values: Vec::new() });
        }
        // What was there before is not deleted, and no other action deletes a database.
        let other =
            seen(json!({ "exists": true, "run": "R" }), ours.clone(), none.clone(), none.clone());
        assert_eq!(of(&plan, &step("rds.recover"), &other).values, ["run: 01M8 -> R"]);
        let scaled = seen(absent, ours, region, given);
        assert!(of(&plan, &step("kubernetes.scale"), &scaled).how.starts_with("restores"));
    }

    #[test]
    fn values_read_as_words() {
        let ours = json!({ "fenced": true, "deletion_protection": false, "phoenix_API-2": 3 });
        let before = json!({ "fenced": false, "deletion_protection": true, "phoenix_API-2": 0 });
        assert_eq!(
            values(&ours, &before),
            ["deletion protection: no -> yes", "fenced: yes -> no", "phoenix_API-2: 3 -> 0"]
        );
    }
}
