//! Outputs of a step that something uses: what a person must give who did the step by hand.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::late::uses;
use super::{Body, CheckSpec, Plan, PlannedStep, Rollback};
use crate::ids::StepId;
use crate::runbook::catalogue::Shape;
use crate::runbook::catalogue::actions::ActionName;
use crate::runbook::expression::{Expression, compile_cached, template, template_cached};

/// One output a person must give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WantedOutput {
    pub name: String,
    pub kind: OutputKind,
}

/// What an output is, as far as the catalogue says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OutputKind {
    Text,
    Integer,
    Boolean,
    List,
    Object,
    Any,
}

impl OutputKind {
    const fn of(shape: Shape) -> Self {
        match shape {
            Shape::String => Self::Text,
            Shape::Integer => Self::Integer,
            Shape::Boolean => Self::Boolean,
            Shape::List => Self::List,
            Shape::Object => Self::Object,
        }
    }

    const fn say(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Integer => "a whole number",
            Self::Boolean => "true or false",
            Self::List => "a list, as JSON",
            Self::Object => "an object, as JSON",
            Self::Any => "a value",
        }
    }

    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Boolean => value.is_boolean(),
            Self::List => value.is_array(),
            Self::Object => value.is_object(),
            Self::Any => true,
        }
    }
}

impl WantedOutput {
    /// Reads what a person typed for it; on failure says what is wanted.
    pub(crate) fn read(&self, text: &str) -> Result<Value, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err(format!("`{}` is empty: give {}", self.name, self.kind.say()));
        }
        let value = match self.kind {
            // `7` is a text where a text is wanted.
            OutputKind::Text => Some(Value::from(text)),
            OutputKind::Any => {
                Some(serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)))
            }
            OutputKind::Integer | OutputKind::Boolean | OutputKind::List | OutputKind::Object => {
                serde_json::from_str(text).ok()
            }
        };
        value
            .filter(|value| self.kind.holds(value))
            .ok_or_else(|| format!("`{}` must be {}, not `{text}`", self.name, self.kind.say()))
    }
}

/// Returns the outputs of a step that its own verification and rollback, later steps or the checks at the end use.
///
/// What is only asked for by `has(…)`, or guarded by it in the same expression, can be missing.
pub(crate) fn wanted(plan: &Plan, id: &StepId) -> Vec<WantedOutput> {
    let mut names = BTreeSet::new();
    let mut note = |expression: &Expression| note_used(expression, id, &mut names);
    plan.steps.iter().for_each(|step| of_step(step, &mut note));
    plan.verification.iter().for_each(|check| of_check(check, &mut note));
    let known = known(plan, id);
    let kind = |name: &str| {
        let known = known.iter().find(|output| output.name == name);
        known.map_or(OutputKind::Any, |output| output.kind)
    };
    names.into_iter().map(|name| WantedOutput { kind: kind(&name), name }).collect()
}

/// Returns every output a step can have, as the catalogue says.
pub(crate) fn known(plan: &Plan, id: &StepId) -> Vec<WantedOutput> {
    let outputs = match plan.step(id).map(|step| &step.body) {
        Some(Body::Action { action, .. }) => {
            ActionName::parse(action).map(ActionName::outputs).unwrap_or_default()
        }
        Some(Body::Gate { .. }) | None => &[],
    };
    let known = outputs.iter().map(|output| WantedOutput {
        name: output.name.to_owned(),
        kind: OutputKind::of(output.shape),
    });
    known.collect()
}

/// Returns the steps that use an output of a step, that step itself left out.
pub(crate) fn users(plan: &Plan, id: &StepId) -> BTreeSet<StepId> {
    let others = plan.steps.iter().filter(|step| step.id != *id);
    others.filter(|step| uses(step).contains(id)).map(|step| step.id.clone()).collect()
}

fn of_step(step: &PlannedStep, note: &mut impl FnMut(&Expression)) {
    if let Some(when) = &step.when
        && let Ok(expression) = compile_cached(when)
    {
        note(&expression);
    }
    match &step.body {
        Body::Gate { checks } => checks.iter().for_each(|check| of_check(check, note)),
        Body::Action { with, .. } => of_map(with, note),
    }
    if let Rollback::Action { with, .. } = &step.rollback {
        of_map(with, note);
    }
    step.verify.iter().for_each(|check| of_check(check, note));
}

fn note_used(expression: &Expression, id: &StepId, names: &mut BTreeSet<String>) {
    let of_it = || expression.references.iter().filter(|found| found.step() == Some(id.0.as_str()));
    for used in of_it().filter(|found| !found.tested) {
        let guarded = of_it().any(|found| found.tested && found.output() == used.output());
        if let Some(name) = used.output().filter(|_| !guarded) {
            names.insert(name.to_owned());
        }
    }
}

fn of_check(check: &CheckSpec, note: &mut impl FnMut(&Expression)) {
    of_map(&check.with, note);
    if let Some(that) = &check.that
        && let Ok(expression) = compile_cached(that)
    {
        note(&expression);
    }
}

fn of_map(with: &Map<String, Value>, note: &mut impl FnMut(&Expression)) {
    with.values().for_each(|value| of_value(value, note));
}

fn of_value(value: &Value, note: &mut impl FnMut(&Expression)) {
    match value {
        Value::String(text) if template::holds_expression(text) => {
            // Loading has read every template; one that cannot be read uses nothing.
            if let Ok(template) = template_cached(text) {
                template.expressions().for_each(|(expression, _)| note(expression));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| of_value(item, note)),
        Value::Object(entries) => of_map(entries, note),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_typed_value_is_read_as_what_is_wanted() {
        let read = |kind, text: &str| WantedOutput { name: "x".to_owned(), kind }.read(text);
        assert_eq!(read(OutputKind::Text, " 7 "), Ok(json!("7")));
        assert_eq!(read(OutputKind::Integer, "7"), Ok(json!(7)));
        assert_eq!(read(OutputKind::Boolean, "false"), Ok(json!(false)));
        assert_eq!(read(OutputKind::Object, r#"{"a":1}"#), Ok(json!({"a": 1})));
        assert_eq!(read(OutputKind::List, r#"["a"]"#), Ok(json!(["a"])));
        assert_eq!(read(OutputKind::Any, "db:5432"), Ok(json!("db:5432")));
        for (kind, text) in [
            (OutputKind::Text, ""),
            (OutputKind::Integer, "7.5"),
            (OutputKind::Boolean, "yes"),
            (OutputKind::List, "a, b"),
        ] {
            let why = read(kind, text).expect_err(text);
            assert!(why.contains("`x`"), "{why}");
        }
    }
}
