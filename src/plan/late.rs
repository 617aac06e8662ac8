//! What stays open in a plan until a step is ready: expressions over outputs of earlier steps.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Body, CheckSpec, Plan, PlannedStep, Rollback};
use crate::event::Mode;
use crate::ids::{RunId, StepId};
use crate::runbook::expression::{
    self, Expression, Reference, Scope, compile_cached, template_cached,
};

/// What expressions may ask of the run itself, as `run.NAME`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub id: &'a RunId,
    pub mode: Mode,
    pub started: Timestamp,
    pub incident_started: Timestamp,
}

impl About<'_> {
    fn values(&self, plan: &Plan) -> Map<String, Value> {
        Map::from_iter([
            ("id".to_owned(), json!(self.id)),
            ("incident_started".to_owned(), json!(self.incident_started)),
            ("mode".to_owned(), json!(self.mode)),
            ("runbook".to_owned(), json!(plan.runbook)),
            ("started".to_owned(), json!(self.started)),
        ])
    }
}

/// Returns what expressions of a run may name: `inputs`, `estate` and `run`; outputs are added per step.
pub(crate) fn scope(plan: &Plan, about: &About<'_>) -> Scope {
    Scope::new(&plan.inputs, &plan.estate).with_run(Value::Object(about.values(plan)))
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

/// Returns the steps whose outputs a step's own expressions use, itself included where it names itself.
///
/// A text that does not compile uses nothing; evaluating it says why.
pub(crate) fn uses(step: &PlannedStep) -> BTreeSet<StepId> {
    let mut used = BTreeSet::new();
    used.extend(step.when.as_deref().into_iter().flat_map(|when| steps_of(when, |_| true)));
    let mut texts = |with: &Map<String, Value>| {
        each_expression(with, &mut |expression| used.extend(steps_in(expression, |_| true)));
    };
    body(step, &mut texts);
    match &step.rollback {
        Rollback::Action { with, .. } => texts(with),
        Rollback::Auto | Rollback::None { .. } => {}
    }
    step.verify.iter().for_each(|check| texts(&check.with));
    used
}

/// Returns the steps of which a condition asks by `has` whether they gave something.
///
/// Before such a step has ended that would be answered with no, whatever it is going to give.
pub(crate) fn condition_asks(when: &str) -> BTreeSet<StepId> {
    steps_of(when, |reference| reference.tested).into_iter().collect()
}

/// Returns the same of what a step does or checks.
pub(crate) fn body_asks(step: &PlannedStep) -> BTreeSet<StepId> {
    let mut asked = BTreeSet::new();
    body(step, &mut |with| {
        let note = |expression: &Expression| steps_in(expression, |reference| reference.tested);
        each_expression(with, &mut |expression| asked.extend(note(expression)));
    });
    asked
}

fn body(step: &PlannedStep, hand: &mut impl FnMut(&Map<String, Value>)) {
    match &step.body {
        Body::Gate { checks } => checks.iter().for_each(|check| hand(&check.with)),
        Body::Action { with, .. } => hand(with),
    }
}

fn steps_of(text: &str, wanted: impl Fn(&Reference) -> bool) -> Vec<StepId> {
    compile_cached(text).map_or_else(|_| Vec::new(), |expression| steps_in(&expression, wanted))
}

fn steps_in(expression: &Expression, wanted: impl Fn(&Reference) -> bool) -> Vec<StepId> {
    let wanted = expression.references.iter().filter(|reference| wanted(reference));
    wanted.filter_map(Reference::step).map(StepId::from).collect()
}

fn each_expression(with: &Map<String, Value>, hand: &mut impl FnMut(&Expression)) {
    each_text(with, &mut |text| {
        if let Ok(template) = template_cached(text) {
            template.expressions().for_each(|(expression, _)| hand(expression));
        }
    });
}

/// Hands over every text in a map that holds an expression, at any depth.
fn each_text(with: &Map<String, Value>, hand: &mut impl FnMut(&str)) {
    fn visit(value: &Value, hand: &mut impl FnMut(&str)) {
        match value {
            Value::String(text) if text.contains("${{") => hand(text),
            Value::Array(items) => items.iter().for_each(|item| visit(item, hand)),
            Value::Object(map) => map.values().for_each(|value| visit(value, hand)),
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    with.values().for_each(|value| visit(value, hand));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::fixtures;

    /// What loading lets through has a value when the run gets there.
    #[test]
    fn every_name_of_the_run_that_loads_has_a_value() {
        let (plan, run) = (fixtures::plan(), fixtures::run());
        let about = About {
            id: &run,
            mode: Mode::Live,
            started: fixtures::time(0),
            incident_started: fixtures::time(-360),
        };
        let scope = scope(&plan, &about);
        let known = crate::runbook::validate::RUN_NAMES;
        for name in known {
            let text = format!("${{{{ run.{name} }}}}");
            let with = Map::from_iter([("x".to_owned(), Value::from(text))]);
            let found = arguments(&with, &scope).unwrap_or_else(|why| panic!("{why}"));
            assert!(found["x"].is_string(), "run.{name} is {}", found["x"]);
        }
        assert_eq!(about.values(&plan).keys().collect::<Vec<_>>(), known);
    }
}
