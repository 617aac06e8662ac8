//! What stays open in a plan until a step is ready: expressions over outputs of earlier steps.

use serde_json::{Map, Value, json};

use super::{Body, CheckSpec, Plan, PlannedStep, Rollback};
use crate::ids::RunId;
use crate::runbook::expression::{self, Scope};

/// Returns what expressions of a run may name: `inputs`, `estate` and `run`; outputs are added per step.
pub(crate) fn scope(plan: &Plan, run: &RunId) -> Scope {
    let about = json!({ "id": run.0, "runbook": plan.runbook });
    Scope::new(&plan.inputs, &plan.estate).with_run(about)
}

/// Says whether a step has anything left to evaluate.
pub(crate) fn is_open(step: &PlannedStep) -> bool {
    let body = match &step.body {
        Body::Gate { checks } => checks.iter().any(|check| holds(&check.with)),
        Body::Action { with, .. } => holds(with),
    };
    let rollback = match &step.rollback {
        Rollback::Action { with, .. } => holds(with),
        Rollback::Auto | Rollback::None { .. } => false,
    };
    body || rollback || step.when.is_some() || step.verify.iter().any(|check| holds(&check.with))
}

fn holds(with: &Map<String, Value>) -> bool {
    fn value_holds(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains("${{"),
            Value::Array(items) => items.iter().any(value_holds),
            Value::Object(map) => map.values().any(value_holds),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    with.values().any(value_holds)
}

/// Evaluates a step's condition.
pub(crate) fn condition(expression: &str, scope: &Scope) -> Result<bool, String> {
    expression::evaluate_bool(expression, scope).map_err(|error| error.to_string())
}

/// Evaluates what is left open in an action's arguments.
pub(crate) fn arguments(
    with: &Map<String, Value>,
    scope: &Scope,
) -> Result<Map<String, Value>, String> {
    if !holds(with) {
        return Ok(with.clone());
    }
    expression::resolve_map(with, scope).map_err(|error| error.to_string())
}

/// Evaluates what is left open in a check.
pub(crate) fn check(check: &CheckSpec, scope: &Scope) -> Result<CheckSpec, String> {
    Ok(CheckSpec { with: arguments(&check.with, scope)?, ..check.clone() })
}
