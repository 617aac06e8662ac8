//! What expressions may name: inputs, estate, run, outputs of steps, and a check's value.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cel::Context;
use serde_json::{Map, Value};

use super::evaluate;
use super::strict::{AMONG, EQUAL, ROUND};
use crate::estate::types::Estate;

/// Names and their values, for the evaluation of expressions.
#[derive(Clone)]
pub(crate) struct Scope {
    base: Arc<Base>,
    /// Outputs by step
    steps: BTreeMap<String, Map<String, Value>>,
}

/// What stays the same for a whole run, converted once.
struct Base {
    context: Context<'static, 'static>,
    /// The same as data, to say which part of a name is missing
    data: Map<String, Value>,
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values stay out: outputs may be secret.
        f.debug_struct("Scope").field("steps", &self.steps.keys()).finish_non_exhaustive()
    }
}

impl Scope {
    /// Returns a scope over inputs and an estate.
    pub(crate) fn new(inputs: &BTreeMap<String, Value>, estate: &Estate) -> Self {
        let inputs = inputs.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        // An estate is made of texts, numbers and maps with text keys: it always has a JSON form.
        let estate = serde_json::to_value(estate).unwrap_or(Value::Null);
        Self::over(Map::from_iter([
            ("inputs".to_owned(), Value::Object(inputs)),
            ("estate".to_owned(), estate),
        ]))
    }

    /// Returns a scope over the names of a map.
    pub(crate) fn over(data: Map<String, Value>) -> Self {
        let mut context = Context::default();
        for (name, value) in &data {
            context.add_variable_from_value(name.as_str(), cel_value(value));
        }
        for (name, added) in [
            (EQUAL, context.add_function(EQUAL, evaluate::equal)),
            (AMONG, context.add_function(AMONG, evaluate::among)),
            (ROUND, context.add_function(ROUND, evaluate::round)),
        ] {
            debug_assert!(added.is_ok(), "{name} is no function of CEL's own");
        }
        Self { base: Arc::new(Base { context, data }), steps: BTreeMap::new() }
    }

    /// Adds facts of the run itself: `run.id`, `run.started`, …
    #[must_use]
    pub(crate) fn with_run(self, run: Value) -> Self {
        let mut data = self.base.data.clone();
        data.insert("run".to_owned(), run);
        Self { base: Self::over(data).base, ..self }
    }

    /// Adds, or replaces, the outputs of a step.
    pub(crate) fn set_outputs(&mut self, step: &str, outputs: Map<String, Value>) {
        self.steps.insert(step.to_owned(), outputs);
    }

    /// Returns the context for one expression, with only the steps it names.
    pub(super) fn context(&self, steps: &[&str]) -> Context<'_, 'static> {
        let mut context = self.base.context.new_inner_scope();
        if !steps.is_empty() {
            let of = |id: &str| self.steps.get(id).cloned().unwrap_or_default();
            let named: HashMap<String, cel::Value> =
                steps.iter().map(|id| ((*id).to_owned(), cel_value(&step(of(id))))).collect();
            context.add_variable_from_value("steps", named);
        }
        context
    }

    /// Returns the value of a root name.
    pub(super) fn root(&self, name: &str) -> Option<Value> {
        match name {
            "steps" => Some(Value::Object(
                self.steps.iter().map(|(id, given)| (id.clone(), step(given.clone()))).collect(),
            )),
            _ => self.base.data.get(name).cloned(),
        }
    }
}

/// Returns a step as expressions see it.
fn step(outputs: Map<String, Value>) -> Value {
    Value::Object(Map::from_iter([("outputs".to_owned(), Value::Object(outputs))]))
}

/// Returns a value as CEL knows it: whole numbers as int, never as uint, which CEL adds to nothing.
pub(super) fn cel_value(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(cel_value).collect::<Vec<_>>().into(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| (key.clone(), cel_value(value)))
            .collect::<HashMap<String, cel::Value>>()
            .into(),
    }
}
