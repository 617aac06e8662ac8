//! Values of a plan: what is known now is filled in, what only the run can know stays an expression.

use std::ops::Range;

use serde_json::{Map, Value};

use crate::runbook::expression::{
    Expression, ExpressionError, Part, Scope, evaluate, template, template_cached,
};
use crate::runbook::load::Loaded;
use crate::runbook::path::Path;
use crate::runbook::problem::{Origin, Problem};

/// Names that have a value before the run.
const KNOWN: &[&str] = &["inputs", "estate"];

/// Fills values in, collecting what has none.
pub(super) struct Filler<'a> {
    pub loaded: &'a Loaded,
    pub scope: &'a Scope,
    pub problems: Vec<Problem>,
    /// Names the estate lacks: name, place, and the step that needs it
    pub missing: Vec<Missing>,
    /// Step being resolved
    pub step: String,
}

/// A name the estate lacks.
pub(super) struct Missing {
    pub name: String,
    pub range: Range<usize>,
    pub step: String,
}

impl Filler<'_> {
    /// Returns a map with everything known filled in.
    pub(super) fn map(&mut self, map: &Map<String, Value>, path: &Path) -> Map<String, Value> {
        map.iter().map(|(key, value)| (key.clone(), self.value(value, &path.key(key)))).collect()
    }

    fn value(&mut self, value: &Value, path: &Path) -> Value {
        match value {
            Value::String(text) if template::holds_expression(text) => self.text(text, path),
            Value::Array(items) => {
                items.iter().enumerate().map(|(i, item)| self.value(item, &path.item(i))).collect()
            }
            Value::Object(entries) => Value::Object(self.map(entries, path)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }
    }

    /// Returns a text that the run reads again: what is filled in is never taken for an expression.
    fn text(&mut self, text: &str, path: &Path) -> Value {
        let template = match template_cached(text) {
            Ok(template) => template,
            Err(error) => return self.refuse(error, text, path),
        };
        if let Some(expression) = template.whole() {
            if !expression.uses_only(KNOWN) {
                return Value::from(text);
            }
            return match evaluate(expression, self.scope) {
                Ok(value) => escaped(value),
                Err(error) => self.refuse(error, text, path),
            };
        }
        let mut filled = String::new();
        for part in &template.parts {
            match part {
                Part::Literal(literal) => filled.push_str(&template::escape(literal)),
                Part::Expression { expression, .. } if expression.uses_only(KNOWN) => {
                    match self.words(expression) {
                        Ok(words) => filled.push_str(&template::escape(&words)),
                        Err(error) => return self.refuse(error, text, path),
                    }
                }
                Part::Expression { expression, .. } => {
                    if filled.ends_with('$') {
                        // A dollar before an opening would escape it.
                        filled.pop();
                        filled.push_str("${{ '$' }}");
                    }
                    filled.push_str("${{ ");
                    filled.push_str(&expression.text);
                    filled.push_str(" }}");
                }
            }
        }
        Value::from(filled)
    }

    fn words(&self, expression: &Expression) -> Result<String, ExpressionError> {
        crate::runbook::expression::evaluate_words(expression, self.scope)
    }

    /// Returns a text that is final: titles and sentences.
    pub(super) fn sentence(&mut self, text: &str, path: &Path) -> String {
        match crate::runbook::expression::resolve_text(text, self.scope) {
            Ok(text) => text,
            Err(error) => {
                self.refuse(error, text, path);
                text.to_owned()
            }
        }
    }

    fn refuse(&mut self, error: ExpressionError, text: &str, path: &Path) -> Value {
        let range = self.loaded.place_in(path, &error.expression, error.range.as_ref());
        match &error.missing {
            Some(name) if name.starts_with("estate.") => {
                self.missing.push(Missing { name: name.clone(), range, step: self.step.clone() })
            }
            Some(_) | None => self.problems.push(
                Problem::at(range, error.message.clone())
                    .maybe_help(error.help.clone())
                    .origin(if error.missing.is_some() { Origin::Input } else { Origin::File }),
            ),
        }
        Value::from(text)
    }
}

/// Returns a value whose texts the run will not take for expressions.
fn escaped(value: Value) -> Value {
    match value {
        Value::String(text) if template::holds_expression(&text) => {
            Value::from(template::escape(&text))
        }
        Value::Array(items) => items.into_iter().map(escaped).collect(),
        Value::Object(entries) => {
            Value::Object(entries.into_iter().map(|(key, value)| (key, escaped(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// Says whether a value still holds an expression for the run.
pub(super) fn is_open(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            template::holds_expression(text)
                && template_cached(text)
                    .is_ok_and(|template| template.expressions().next().is_some())
        }
        Value::Array(items) => items.iter().any(is_open),
        Value::Object(entries) => entries.values().any(is_open),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
