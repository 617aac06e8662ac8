//! Inputs: what was given, typed, with defaults; every misfit at once.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::estate::types::{Estate, SecretRef};
use crate::runbook::expression::{Scope, resolve_value, template};
use crate::runbook::load::Loaded;
use crate::runbook::near;
use crate::runbook::path::Path;
use crate::runbook::problem::{Origin, Problem, Problems};
use crate::runbook::schema::{Input, InputType};
use crate::runbook::shape::found;
use crate::span::Span;

/// Returns the inputs' values; null for one that was neither given nor has a default.
pub(super) fn resolve(
    loaded: &Loaded,
    estate: &Estate,
    given: &BTreeMap<String, Value>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Value> {
    let inputs = &loaded.runbook.inputs;
    for name in given.keys().filter(|name| !inputs.contains_key(*name)) {
        let help = near::hint(name, inputs.keys().map(String::as_str));
        let message = format!("{} has no input `{name}`", loaded.runbook.runbook);
        problems.push(Problem::nowhere(Origin::Input, message).maybe_help(help));
    }
    let mut values: BTreeMap<String, Value> = BTreeMap::new();
    for (name, input) in inputs.iter().filter(|(name, _)| given.contains_key(*name)) {
        match typed(input, &given[name], estate) {
            Ok(value) => {
                values.insert(name.clone(), value);
            }
            Err(misfit) => problems.push(refused(name, misfit)),
        }
    }
    defaults(loaded, estate, given, &mut values, problems);
    values
}

/// Adds the defaults of what was not given, those that use other inputs' defaults last.
fn defaults(
    loaded: &Loaded,
    estate: &Estate,
    given: &BTreeMap<String, Value>,
    values: &mut BTreeMap<String, Value>,
    problems: &mut Vec<Problem>,
) {
    let mut open: Vec<(&String, &Input)> =
        loaded.runbook.inputs.iter().filter(|(name, _)| !given.contains_key(*name)).collect();
    open.retain(|(name, input)| {
        if input.default.is_none() {
            if input.required {
                let help = match input.kind {
                    InputType::Secret => Some(how_secret(name)),
                    _ => input.help.clone(),
                };
                let message = format!("`--{}` is required", flag(name));
                problems.push(Problem::nowhere(Origin::Input, message).maybe_help(help));
            }
            values.insert((*name).clone(), Value::Null);
        }
        input.default.is_some()
    });
    // Each round settles at least one, or what is left waits for itself.
    while !open.is_empty() {
        let waiting = open.len();
        let names: Vec<String> = open.iter().map(|(name, _)| (*name).clone()).collect();
        let scope = Scope::new(values, estate);
        let mut settled: Vec<(String, Value)> = Vec::new();
        open.retain(|(name, input)| {
            let default = input.default.as_ref().unwrap_or(&Value::Null);
            if waits_for(default, &names) {
                return true;
            }
            let path = Path::root().keys(&["inputs", name.as_str(), "default"]);
            let range = loaded.places.at(&path);
            let value = resolve_value(default, &scope).map_err(|error| {
                let origin = if error.missing.is_some() { Origin::Estate } else { Origin::File };
                Problem::at(range.clone(), error.to_string()).origin(origin)
            });
            let value = value.and_then(|value| {
                typed(input, &value, estate).map_err(|misfit| {
                    let message = format!("the default of `{name}`: {}", misfit.message);
                    Problem::at(range.clone(), message).maybe_help(misfit.help)
                })
            });
            let value = value.unwrap_or_else(|problem| {
                problems.push(problem);
                Value::Null
            });
            settled.push(((*name).clone(), value));
            false
        });
        values.extend(settled);
        if open.len() == waiting {
            for (name, _) in open.drain(..) {
                let path = Path::root().keys(&["inputs", name.as_str(), "default"]);
                let message = format!("the default of `{name}` needs itself");
                problems.push(Problem::at(loaded.places.at(&path), message));
                values.insert(name.clone(), Value::Null);
            }
        }
    }
}

/// Says whether a default uses an input that has no value yet.
fn waits_for(default: &Value, open: &[String]) -> bool {
    let Value::String(text) = default else { return false };
    let Ok(template) = crate::runbook::expression::Template::compile(text) else { return false };
    template.expressions().any(|(expression, _)| {
        expression.references.iter().any(|reference| {
            use crate::runbook::expression::Access;
            reference.root == "inputs"
                && match reference.path.first() {
                    Some(Access::Field(name)) => open.contains(name),
                    Some(Access::Computed) | None => !open.is_empty(),
                }
        })
    })
}

/// Words what is wrong with inputs for a command that takes them as `--set NAME=VALUE`, not as flags.
pub(crate) fn as_set(loaded: &Loaded, problems: &mut Problems) {
    for item in problems.items.iter_mut().filter(|item| item.origin == Origin::Input) {
        for name in loaded.runbook.inputs.keys() {
            let (flag, set) = (format!("`--{}`", flag(name)), format!("`--set {name}=…`"));
            item.message = item.message.replace(&flag, &set);
            item.help = item.help.take().map(|help| help.replace(&flag, &set));
        }
    }
}

/// Returns an input's name as a flag is written.
fn flag(name: &str) -> String {
    name.replace('_', "-")
}

/// Why a value is not what an input takes.
#[derive(Debug)]
struct Misfit {
    message: String,
    help: Option<String>,
}

impl Misfit {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    fn help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

fn refused(name: &str, misfit: Misfit) -> Problem {
    let message = format!("`--{}`: {}", flag(name), misfit.message);
    Problem::nowhere(Origin::Input, message).maybe_help(misfit.help)
}

/// Returns a given value as the input's type; flags give text.
fn typed(input: &Input, given: &Value, estate: &Estate) -> Result<Value, Misfit> {
    let text = match given {
        Value::String(text) => Some(text.as_str()),
        _ => None,
    };
    if input.kind != InputType::String && text.is_some_and(template::holds_expression) {
        return Err(Misfit::new("an expression cannot be given"));
    }
    let wrong = |wanted: &str| Misfit::new(format!("expected {wanted}, found {}", found(given)));
    match input.kind {
        InputType::String => string(input, text.ok_or_else(|| wrong("text"))?),
        InputType::Integer => {
            let number = match text {
                Some(text) => text.trim().parse::<i64>().ok(),
                None => given.as_i64(),
            };
            let number = number.ok_or_else(|| wrong("a whole number"))?;
            bounds(input, number, Value::as_i64)?;
            Ok(Value::from(number))
        }
        InputType::Boolean => match (given, text) {
            (Value::Bool(flag), _) => Ok(Value::from(*flag)),
            (_, Some("true" | "yes")) => Ok(Value::from(true)),
            (_, Some("false" | "no")) => Ok(Value::from(false)),
            _ => Err(wrong("true or false")),
        },
        InputType::Duration => {
            let text = text.ok_or_else(|| wrong("a length of time such as 30s or 1h30m"))?;
            let span: Span = text.parse().map_err(|error| Misfit::new(format!("{error}")))?;
            bounds(input, span, |limit| limit.as_str()?.parse().ok())?;
            Ok(Value::from(span.to_string()))
        }
        InputType::Region => {
            let name = text.ok_or_else(|| wrong("a region"))?;
            region(name, estate)?;
            Ok(Value::from(name))
        }
        InputType::Choice => {
            let word = text.ok_or_else(|| wrong("text"))?;
            if input.values.iter().any(|value| value == word) {
                return Ok(Value::from(word));
            }
            let help = near::hint(word, input.values.iter().map(String::as_str));
            let list = input.values.join(", ");
            Err(Misfit::new(format!("`{word}` is not one of {list}")).help(help))
        }
        InputType::Instant => {
            let text = text.ok_or_else(|| wrong("an instant such as 2026-02-01T03:00:00Z"))?;
            let instant: Timestamp = text.parse().map_err(|_| {
                Misfit::new(format!("`{text}` is not an instant"))
                    .help(Some("write it like 2026-02-01T03:00:00Z".to_owned()))
            })?;
            bounds(input, instant, |limit| limit.as_str()?.parse().ok())?;
            Ok(Value::from(instant.to_string()))
        }
        InputType::Secret => secret(given),
    }
}

fn string(input: &Input, text: &str) -> Result<Value, Misfit> {
    if let Some(pattern) = &input.pattern
        && !matches_whole(pattern, text)
    {
        return Err(Misfit::new(format!("`{text}` does not match `{pattern}`")));
    }
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    bounds(input, length, Value::as_i64)?;
    Ok(Value::from(text))
}

/// Says whether a text matches a pattern from end to end.
pub(super) fn matches_whole(pattern: &str, text: &str) -> bool {
    let scope = Scope::over(Map::from_iter([("inputs".to_owned(), json!({ "text": text }))]));
    let pattern = Value::from(format!("^(?:{pattern})$")).to_string();
    let expression = format!("inputs.text.matches({pattern})");
    crate::runbook::expression::evaluate_bool(&expression, &scope).unwrap_or(false)
}

fn bounds<T: PartialOrd>(
    input: &Input,
    value: T,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<(), Misfit> {
    if let Some(least) = &input.min
        && read(least).is_some_and(|least| value < least)
    {
        return Err(Misfit::new(format!("is less than {}", bare(least))));
    }
    if let Some(most) = &input.max
        && read(most).is_some_and(|most| value > most)
    {
        return Err(Misfit::new(format!("is more than {}", bare(most))));
    }
    Ok(())
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn region(name: &str, estate: &Estate) -> Result<(), Misfit> {
    if estate.regions.contains_key(name) {
        return Ok(());
    }
    let names = estate.regions.keys().map(String::as_str);
    let list: Vec<&str> = names.clone().collect();
    let help =
        near::hint(name, names).unwrap_or_else(|| format!("its regions: {}", list.join(", ")));
    let message = format!("`{name}` is not a region of the estate `{}`", estate.estate);
    Err(Misfit::new(message).help(Some(help)))
}

/// Returns the required secrets that were not given: whoever is at a terminal is asked for them.
pub(crate) fn secrets_to_ask<'a>(
    loaded: &'a Loaded,
    given: &BTreeMap<String, Value>,
) -> Vec<(&'a str, &'a Input)> {
    let inputs = loaded.runbook.inputs.iter();
    let open = inputs.filter(|(name, input)| {
        input.kind == InputType::Secret
            && input.required
            && input.default.is_none()
            && !given.contains_key(*name)
    });
    open.map(|(name, input)| (name.as_str(), input)).collect()
}

/// Returns the value of an input that a person was asked for: that, and nothing of what was typed.
pub(crate) fn asked(name: &str) -> Value {
    json!({ "asked": name })
}

/// Returns a value with what a person was asked for as if it were read from a place: no file can say that it is asked for,
/// so no schema knows it.
pub(super) fn as_in_files(loaded: &Loaded, value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let name = entries.get("asked").and_then(Value::as_str);
            let name = name.filter(|name| entries.len() == 1 && is_secret(loaded, name));
            if let Some(name) = name {
                return json!({ "env": name });
            }
            let inside =
                entries.iter().map(|(key, value)| (key.clone(), as_in_files(loaded, value)));
            Value::Object(inside.collect())
        }
        Value::Array(items) => items.iter().map(|item| as_in_files(loaded, item)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn is_secret(loaded: &Loaded, name: &str) -> bool {
    loaded.runbook.inputs.get(name).is_some_and(|input| input.kind == InputType::Secret)
}

/// Says how a secret is given.
pub(crate) fn how_secret(name: &str) -> String {
    let flag = flag(name);
    format!("write `--{flag}` with env:NAME or file:PATH; at a terminal it is asked for")
}

/// Says which input is what lacks, and how it is given, where the expression of an input that need not be given gave nothing.
pub(super) fn not_given(
    loaded: &Loaded,
    step: &str,
    range: &Range<usize>,
    message: &str,
) -> Option<Problem> {
    if !message.ends_with("found nothing") {
        return None;
    }
    let written = loaded.source.get(range.clone())?.trim_matches(['"', '\'', ' ']);
    let name = written.strip_prefix("${{")?.strip_suffix("}}")?.trim().strip_prefix("inputs.")?;
    let input = loaded.runbook.inputs.get(name).filter(|input| !input.required)?;
    let flag = flag(name);
    let how = match input.kind {
        InputType::Secret => "with env:NAME or file:PATH",
        _ => "with a value",
    };
    let help =
        format!("write `--{flag}` {how}; what is always needed is `required` in the runbook");
    let message = format!("step `{step}` needs `--{flag}`, which was not given");
    Some(Problem::at(range.clone(), message).help(help).origin(Origin::Input))
}

/// Returns a secret's reference; its value is never taken.
fn secret(given: &Value) -> Result<Value, Misfit> {
    let reference = match given {
        Value::String(text) => match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => {
                SecretRef { env: Some(name.to_owned()), ..SecretRef::default() }
            }
            Some(("file", path)) if !path.is_empty() => {
                SecretRef { file: Some(path.to_owned()), ..SecretRef::default() }
            }
            _ => return Err(no_reference()),
        },
        other => serde_json::from_value(other.clone()).map_err(|_| no_reference())?,
    };
    let named = [
        reference.env.is_some(),
        reference.file.is_some(),
        reference.command.is_some(),
        reference.asked.is_some(),
    ];
    if named.iter().filter(|named| **named).count() != 1 {
        return Err(no_reference());
    }
    serde_json::to_value(reference).map_err(|_| no_reference())
}

fn no_reference() -> Misfit {
    // The text given may be the secret itself: it is not repeated.
    Misfit::new("a secret is given by where it is, never by its value")
        .help(Some("write env:NAME or file:PATH".to_owned()))
}
