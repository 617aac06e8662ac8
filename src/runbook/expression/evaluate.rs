//! Values of expressions and templates.

use std::cell::Cell;

use cel::ExecutionError;
use serde_json::{Map, Value};

use super::compile::{Access, Expression, Reference};
use super::scope::Scope;
use super::text::{Part, Template, compile_cached, template_cached};
use super::{ExpressionError, ROUNDS_MAX, template};
use crate::runbook::near;

thread_local! {
    /// Rounds the evaluation under way on this thread has left. An evaluation never leaves its thread.
    static ROUNDS: Cell<u32> = const { Cell::new(0) };
}

/// Returns the value of an expression.
pub(crate) fn evaluate(expression: &Expression, scope: &Scope) -> Result<Value, ExpressionError> {
    let steps: Vec<&str> = expression.references.iter().filter_map(Reference::step).collect();
    let context = scope.context(&steps);
    let found = expression
        .with_room(|| {
            ROUNDS.set(ROUNDS_MAX);
            cel::Value::resolve(&expression.strict, &context)
        })?
        .map_err(|error| explain(expression, scope, &error))?;
    plain(&found).ok_or_else(|| {
        let message = format!("has a value of the type {}", found.type_of());
        ExpressionError::new(&expression.text, message)
            .help("only texts, numbers, true, false, null, lists and maps leave an expression")
    })
}

/// Returns the value of a condition; anything but true or false is an error.
pub(crate) fn evaluate_bool(text: &str, scope: &Scope) -> Result<bool, ExpressionError> {
    let expression = compile_cached(text)?;
    match evaluate(&expression, scope)? {
        Value::Bool(flag) => Ok(flag),
        other => Err(ExpressionError::new(
            &expression.text,
            format!("expected true or false, found {}", crate::runbook::shape::found(&other)),
        )),
    }
}

/// Returns the value of an expression as part of a text.
pub(crate) fn evaluate_words(
    expression: &Expression,
    scope: &Scope,
) -> Result<String, ExpressionError> {
    let value = evaluate(expression, scope)?;
    words(&value).ok_or_else(|| no_text(&expression.text, &value))
}

/// Returns a map with every expression in it evaluated, at any depth.
pub(crate) fn resolve_map(
    map: &Map<String, Value>,
    scope: &Scope,
) -> Result<Map<String, Value>, ExpressionError> {
    map.iter().map(|(key, value)| Ok((key.clone(), resolve_value(value, scope)?))).collect()
}

/// Returns a value with every expression in it evaluated, at any depth.
pub(crate) fn resolve_value(value: &Value, scope: &Scope) -> Result<Value, ExpressionError> {
    Ok(match value {
        Value::String(text) if template::holds_expression(text) => {
            let template = template_cached(text)?;
            fill(&template, scope)?
        }
        Value::Array(items) => {
            items.iter().map(|item| resolve_value(item, scope)).collect::<Result<_, _>>()?
        }
        Value::Object(entries) => Value::Object(resolve_map(entries, scope)?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    })
}

/// Returns a text with every expression in it evaluated.
pub(crate) fn resolve_text(text: &str, scope: &Scope) -> Result<String, ExpressionError> {
    if !template::holds_expression(text) {
        return Ok(text.to_owned());
    }
    let template = template_cached(text)?;
    match fill(&template, scope)? {
        Value::String(text) => Ok(text),
        other => words(&other).ok_or_else(|| no_text(text, &other)),
    }
}

fn fill(template: &Template, scope: &Scope) -> Result<Value, ExpressionError> {
    if let Some(expression) = template.whole() {
        return evaluate(expression, scope);
    }
    let mut text = String::new();
    for part in &template.parts {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            Part::Expression { expression, .. } => {
                text.push_str(&evaluate_words(expression, scope)?);
            }
        }
    }
    Ok(Value::String(text))
}

/// Returns a value as part of a text; lists, maps and null have no obvious one.
fn words(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn no_text(expression: &str, value: &Value) -> ExpressionError {
    let message = format!("{} cannot be part of a text", crate::runbook::shape::found(value));
    ExpressionError::new(expression, message)
}

/// Returns a CEL value as data; none for types that only CEL knows.
fn plain(value: &cel::Value) -> Option<Value> {
    Some(match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(flag) => Value::Bool(*flag),
        cel::Value::Int(number) => Value::from(*number),
        cel::Value::UInt(number) => Value::from(*number),
        // Infinity and NaN are no data.
        cel::Value::Float(number) => Value::Number(serde_json::Number::from_f64(*number)?),
        cel::Value::String(text) => Value::String(text.to_string()),
        cel::Value::List(items) => items.iter().map(plain).collect::<Option<_>>()?,
        cel::Value::Map(map) => {
            let mut entries: Vec<(String, Value)> = Vec::with_capacity(map.map.len());
            for (key, value) in map.map.iter() {
                entries.push((key.to_string(), plain(value)?));
            }
            // CEL's maps have no order; plans must not differ from run to run.
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        _ => return None,
    })
}

/// Compares two values of one type; of different types, it cannot be told.
pub(super) fn equal(left: cel::Value, right: cel::Value) -> Result<bool, ExecutionError> {
    same(&left, &right)
}

fn same(left: &cel::Value, right: &cel::Value) -> Result<bool, ExecutionError> {
    use cel::Value as V;
    match (left, right) {
        (V::List(a), V::List(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (a, b) in a.iter().zip(b.iter()) {
                if !same(a, b)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (V::Map(a), V::Map(b)) => {
            if a.map.len() != b.map.len() {
                return Ok(false);
            }
            for (key, a) in a.map.iter() {
                match b.map.get(key) {
                    Some(b) if same(a, b)? => {}
                    Some(_) | None => return Ok(false),
                }
            }
            Ok(true)
        }
        (V::Int(_) | V::UInt(_) | V::Float(_), V::Int(_) | V::UInt(_) | V::Float(_)) => {
            Ok(left == right)
        }
        _ if left.type_of() as u8 == right.type_of() as u8 => Ok(left == right),
        _ => Err(mismatch("compare", left, right)),
    }
}

/// Says whether a list holds a value, or a map a key.
pub(super) fn among(item: cel::Value, container: cel::Value) -> Result<bool, ExecutionError> {
    match (&item, &container) {
        (_, cel::Value::List(items)) => {
            let mut found = false;
            for other in items.iter() {
                found |= same(&item, other)?;
            }
            Ok(found)
        }
        (cel::Value::String(key), cel::Value::Map(map)) => {
            Ok(map.map.keys().any(|known| known.to_string() == **key))
        }
        _ => Err(mismatch("look for", &item, &container)),
    }
}

fn mismatch(verb: &str, left: &cel::Value, right: &cel::Value) -> ExecutionError {
    let (link, right) = (if verb == "compare" { "with" } else { "in" }, right.type_of());
    let message = format!("cannot {verb} {} {link} {right}", left.type_of());
    ExecutionError::FunctionError { function: "@compare".to_owned(), message }
}

/// Counts a round of a comprehension.
pub(super) fn round() -> Result<bool, ExecutionError> {
    ROUNDS.with(|rounds| match rounds.get().checked_sub(1) {
        Some(left) => {
            rounds.set(left);
            Ok(true)
        }
        None => Err(ExecutionError::FunctionError {
            function: "@round".to_owned(),
            message: format!("takes more than {ROUNDS_MAX} rounds"),
        }),
    })
}

/// Says why an expression has no value, in terms of the names it uses.
fn explain(expression: &Expression, scope: &Scope, error: &ExecutionError) -> ExpressionError {
    let text = &expression.text;
    match error {
        ExecutionError::NoSuchKey(_) | ExecutionError::UndeclaredReference(_) => {
            for reference in expression.references.iter().filter(|reference| !reference.tested) {
                if let Some(error) = missing(text, reference, scope) {
                    return error;
                }
            }
            let message = match error {
                ExecutionError::NoSuchKey(key) => format!("there is no `{key}`"),
                _ => error.to_string(),
            };
            ExpressionError::new(text, message)
        }
        ExecutionError::FunctionError { message, .. } => {
            ExpressionError::new(text, message.clone())
        }
        ExecutionError::NoSuchOverload(overload) => {
            let types = overload.argument_types().join(" and ").replace("null_type", "null");
            let operator = overload.function().replace(['_', '@'], "");
            ExpressionError::new(text, format!("`{operator}` does not take {types}"))
        }
        ExecutionError::UnexpectedType { got, want } => {
            ExpressionError::new(text, format!("expected {want}, found {got}"))
        }
        _ => ExpressionError::new(text, error.to_string()),
    }
}

/// Returns what stands between a name's brackets, where it is no literal.
fn indexes(name: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, letter) in name.char_indices() {
        match letter {
            '[' => {
                if depth == 0 {
                    start = at + 1;
                }
                depth += 1;
            }
            ']' => {
                depth = depth.saturating_sub(1);
                let inner = name[start..at].trim();
                if depth == 0 && !inner.starts_with(['\'', '"']) {
                    found.push(inner);
                }
            }
            _ => {}
        }
    }
    found
}

/// Says which part of a name is missing, where one is.
fn missing(text: &str, reference: &Reference, scope: &Scope) -> Option<ExpressionError> {
    let mut name = reference.root.clone();
    let fail = |name: &str, help: Option<String>| {
        let error = ExpressionError {
            help,
            missing: Some(name.to_owned()),
            ..ExpressionError::new(text, format!("there is no `{name}`"))
        };
        Some(error.at(reference.range.clone()))
    };
    let Some(root) = scope.root(&reference.root) else { return fail(&name, None) };
    let mut at = &root;
    let mut indexes = indexes(text.get(reference.range.clone()).unwrap_or_default()).into_iter();
    for access in &reference.path {
        let computed;
        let field = match access {
            Access::Field(field) => field,
            Access::Computed => {
                let index = compile_cached(indexes.next()?).ok()?;
                let Ok(Value::String(key)) = evaluate(&index, scope) else { return None };
                computed = key;
                &computed
            }
        };
        name = format!("{name}.{field}");
        match at {
            Value::Object(entries) => match entries.get(field) {
                Some(next) => at = next,
                None => return fail(&name, near::hint(field, entries.keys().map(String::as_str))),
            },
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                return None;
            }
        }
    }
    None
}
