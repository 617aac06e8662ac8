//! One object in two versions of its API: kept in one, read and written in both.

use serde_json::{Value, json};

use super::kinds::Kind;
use super::store::text;

/// Returns an object in the version it was asked for.
pub(super) fn outward(kind: &Kind, object: &Value) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = json!(kind.api());
    object["kind"] = json!(kind.kind);
    if kind.group.is_empty() && kind.kind == "Namespace" {
        let none = |spec: &&mut Value| spec["finalizers"].as_array().is_some_and(Vec::is_empty);
        if let Some(spec) = object.get_mut("spec").filter(none).and_then(Value::as_object_mut) {
            spec.remove("finalizers");
        }
    }
    if kind.group == "autoscaling" && kind.version == "v2" {
        let percentage = &object["spec"]["targetCPUUtilizationPercentage"];
        if let Some(percentage) = percentage.as_i64() {
            object["spec"]["metrics"] = json!([{
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": { "type": "Utilization", "averageUtilization": percentage },
                },
            }]);
        }
        if let Some(spec) = object["spec"].as_object_mut() {
            spec.remove("targetCPUUtilizationPercentage");
        }
    }
    object
}

/// Turns an object into the version it is kept in.
pub(super) fn inward(kind: &Kind, object: &mut Value) {
    let kept = kind.kept.rsplit_once('/').map_or("", |(api, _)| api);
    object["apiVersion"] = json!(kept);
    object["kind"] = json!(kind.kind);
    if kind.group != "autoscaling" || kind.version != "v2" {
        return;
    }
    let Some(spec) = object["spec"].as_object_mut() else { return };
    let cpu = |metric: &&Value| text(metric, "/resource/name") == "cpu";
    let found = spec.get("metrics").and_then(Value::as_array);
    let found = found.and_then(|all| all.iter().find(cpu));
    let percentage = found.and_then(|cpu| cpu.pointer("/resource/target/averageUtilization"));
    let (percentage, only) = (
        percentage.cloned(),
        spec.get("metrics").and_then(Value::as_array).is_none_or(|all| all.len() <= 1),
    );
    // Other metrics are kept as they are: nothing here measures anything.
    if only {
        spec.remove("metrics");
        if let Some(percentage) = percentage {
            spec.insert("targetCPUUtilizationPercentage".to_owned(), percentage);
        }
    }
}
