//! Head of the runbook and its inputs.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::Value;

use super::names::{PLANNED, Where};
use super::types::{Inference, Kind, Type};
use super::{Checker, reserved};
use crate::runbook::expression::{Scope, evaluate_bool, template, template_cached};
use crate::runbook::near;
use crate::runbook::path::{Path, Segment};
use crate::runbook::problem::Problem;
use crate::runbook::rehearse::WORLDS;
use crate::runbook::schema::{Input, InputType};
use crate::runbook::shape::found;
use crate::span::Span;

impl Checker<'_> {
    pub(super) fn head(&mut self) {
        let runbook = &self.loaded.runbook;
        let root = Path::root();
        if !is_name(&runbook.runbook, |c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            let message = format!("`{}` cannot be a runbook's id", runbook.runbook);
            self.wrong_with_help(
                &root.key("runbook"),
                message,
                "letters, digits and dashes: DR-001",
            );
        }
        let path = root.key("command");
        if reserved::COMMANDS.contains(&runbook.command.as_str()) {
            let message = format!("`{}` is a command of phoenix-dr itself", runbook.command);
            self.wrong_with_help(&path, message, "choose another name for the runbook's command");
        } else if !is_name(&runbook.command, |c| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
        }) {
            let message = format!("`{}` cannot be a command", runbook.command);
            self.wrong_with_help(
                &path,
                message,
                "small letters, digits and dashes, a letter first",
            );
        }
        if let Some(name) = runbook.world.as_deref().filter(|name| !WORLDS.contains(name)) {
            let help = near::hint(name, WORLDS.iter().copied()).unwrap_or_else(|| {
                format!("there are {}; one of your own is named by --rehearse", WORLDS.join(", "))
            });
            let message = format!("no world `{name}` comes with the program");
            self.wrong_with_help(&root.key("world"), message, help);
        }
        if let Some(goals) = &runbook.objectives {
            let path = root.key("objectives");
            if goals.rto > goals.rto_max {
                let message = format!("rto {} is more than rto_max {}", goals.rto, goals.rto_max);
                self.wrong(&path.key("rto"), message);
            }
            if goals.rpo > goals.rpo_max {
                let message = format!("rpo {} is more than rpo_max {}", goals.rpo, goals.rpo_max);
                self.wrong(&path.key("rpo"), message);
            }
        }
        if runbook.steps.is_empty() {
            self.wrong(&root.key("steps"), "a runbook has at least one step");
        }
    }

    pub(super) fn inputs(&mut self) {
        for (name, input) in &self.loaded.runbook.inputs {
            let path = Path::root().key("inputs").key(name);
            let flag = name.replace('_', "-");
            if reserved::FLAGS.contains(&flag.as_str()) {
                let range = self.loaded.places.key_or(&path);
                let problem =
                    Problem::at(range, format!("`--{flag}` is a flag of phoenix-dr itself"));
                self.report(problem.help("choose another name for the input"));
            } else if reserved::VARIABLES.contains(&name.as_str()) {
                let range = self.loaded.places.key_or(&path);
                let variable = format!("PHOENIX_DR_{}", name.to_uppercase());
                let problem =
                    Problem::at(range, format!("`{variable}` means something else to phoenix-dr"));
                let help = "an input can be given by its variable, too: choose another name";
                self.report(problem.help(help));
            } else if !is_name(name, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
                let range = self.loaded.places.key_or(&path);
                let problem = Problem::at(range, format!("`{name}` cannot be an input's name"));
                self.report(problem.help("small letters, digits and underscores, a letter first"));
            }
            self.limits(input, &path);
            self.pattern(input, &path);
            self.default(name, input, &path);
        }
    }

    fn limits(&mut self, input: &Input, path: &Path) {
        let values = path.key("values");
        match (input.kind, input.values.is_empty()) {
            (InputType::Choice, true) => {
                self.wrong_with_help(path, "`values` is missing", "list what can be chosen");
            }
            (InputType::Choice, false) | (_, true) => {}
            (_, false) => self.wrong(&values, "only a `choice` has values"),
        }
        let mut seen = HashSet::new();
        for (i, value) in input.values.iter().enumerate() {
            if !seen.insert(value) {
                self.wrong(&values.item(i), format!("`{value}` is there already"));
            }
        }
        for (key, limit) in [("min", &input.min), ("max", &input.max)] {
            let Some(limit) = limit else { continue };
            if let Err(message) = limit_fits(input.kind, limit) {
                self.wrong(&path.key(key), message);
            }
        }
        if let (Some(least), Some(most)) = (&input.min, &input.max)
            && above(input.kind, least, most) == Some(true)
        {
            self.wrong(&path.key("min"), "`min` is more than `max`");
        }
    }

    fn pattern(&mut self, input: &Input, path: &Path) {
        let Some(pattern) = &input.pattern else { return };
        let path = path.key("pattern");
        if input.kind != InputType::String {
            return self.wrong(&path, "only a `string` has a pattern");
        }
        let text = Value::from(format!("^(?:{pattern})$"));
        let scope = Scope::over(serde_json::Map::new());
        if let Err(error) = evaluate_bool(&format!("''.matches({text})"), &scope) {
            let why = error.message.rsplit("error: ").next().unwrap_or(&error.message);
            let message = format!("is not a regular expression: {}", why.trim());
            self.wrong(&path, message);
        }
    }

    fn default(&mut self, name: &str, input: &Input, path: &Path) {
        let Some(default) = &input.default else { return };
        let path = path.key("default");
        if input.required {
            let help = "what is required is given; what has a default need not be";
            self.wrong_with_help(&path, format!("`{name}` is required and has a default"), help);
        }
        if input.kind == InputType::Secret {
            let message = format!("the input `{name}` is a secret and has a default");
            let help = "a secret is given as env:NAME or file:PATH when the runbook is run";
            return self.wrong_with_help(&path, message, help);
        }
        let wanted = Type::of_input(input.kind).kinds(self.names.estate).unwrap_or_default();
        match default {
            Value::String(text) if template::holds_expression(text) => {
                self.argument(default, Where::planned(), &path);
                self.whole_default(text, &wanted, &path);
            }
            literal => {
                if let Err(message) = literal_fits(input, literal) {
                    self.wrong(&path, message);
                }
            }
        }
    }

    /// Holds the type of a default that is one expression against the input's.
    fn whole_default(&mut self, text: &str, wanted: &[Kind], path: &Path) {
        let Ok(template) = template_cached(text) else { return };
        let Some(expression) = template.whole() else {
            if !wanted.contains(&Kind::Text) {
                self.wrong(path, "a text cannot be the default");
            }
            return;
        };
        let found = Inference::new(self.names, expression, PLANNED).whole();
        if matches!(found, Type::Secret) {
            self.secret(expression, path);
            return;
        }
        let kinds = found.kinds(self.names.estate).unwrap_or_default();
        if !kinds.is_empty() && !kinds.iter().any(|kind| wanted.contains(kind)) {
            self.wrong(path, format!("{} cannot be the default", kinds[0].say()));
        }
    }

    /// Warns of inputs nothing uses: more likely a slip than a wish.
    pub(super) fn unused_inputs(&mut self) {
        if self.loaded.runbook.inputs.is_empty() {
            return;
        }
        for name in self.loaded.runbook.inputs.keys() {
            let used = ["inputs.", "inputs['", "inputs[\""]
                .iter()
                .any(|form| self.loaded.source.contains(&format!("{form}{name}")));
            if !used {
                let path =
                    Path(vec![Segment::Key("inputs".to_owned()), Segment::Key(name.clone())]);
                let help = "remove it, or use it as ${{ inputs.NAME }}".replace("NAME", name);
                self.doubtful(&path, format!("nothing uses the input `{name}`"), help);
            }
        }
    }
}

fn is_name(text: &str, allowed: impl Fn(char) -> bool) -> bool {
    text.len() <= 40
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(allowed)
}

/// Says why a value cannot be a limit of a type.
fn limit_fits(kind: InputType, limit: &Value) -> Result<(), String> {
    match kind {
        InputType::Integer => integer(limit).map(|_| ()),
        InputType::Duration => span(limit).map(|_| ()),
        InputType::Instant => instant(limit).map(|_| ()),
        // Of a text, its length is limited.
        InputType::String => match limit.as_u64() {
            Some(_) => Ok(()),
            None => Err(format!("expected a number of characters, found {}", found(limit))),
        },
        InputType::Boolean | InputType::Region | InputType::Choice | InputType::Secret => {
            Err("this type has no limits".to_owned())
        }
    }
}

fn integer(value: &Value) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| format!("expected a whole number, found {}", found(value)))
}

fn span(value: &Value) -> Result<Span, String> {
    let parsed = value.as_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| format!("expected a length of time, found {}", found(value)))
}

fn instant(value: &Value) -> Result<Timestamp, String> {
    let parsed = value.as_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| format!("expected an instant, found {}", found(value)))
}

/// Says whether one value of a type is more than another.
fn above(kind: InputType, left: &Value, right: &Value) -> Option<bool> {
    match kind {
        InputType::Integer | InputType::String => Some(left.as_i64()? > right.as_i64()?),
        InputType::Duration => Some(span(left).ok()? > span(right).ok()?),
        InputType::Instant => Some(instant(left).ok()? > instant(right).ok()?),
        InputType::Boolean | InputType::Region | InputType::Choice | InputType::Secret => None,
    }
}

/// Says why a literal cannot be an input's default.
fn literal_fits(input: &Input, literal: &Value) -> Result<(), String> {
    let size = match input.kind {
        InputType::Integer => integer(literal).map(|_| literal.clone())?,
        InputType::Boolean => {
            return match literal {
                Value::Bool(_) => Ok(()),
                _ => Err(format!("expected true or false, found {}", found(literal))),
            };
        }
        InputType::Duration => span(literal).map(|_| literal.clone())?,
        InputType::Instant => instant(literal).map(|_| literal.clone())?,
        InputType::Choice => {
            return match literal.as_str() {
                // Without values there is something else to say.
                Some(word) if input.values.is_empty() || input.values.iter().any(|v| v == word) => {
                    Ok(())
                }
                _ => Err(format!("{} is not one of {}", found(literal), input.values.join(", "))),
            };
        }
        InputType::String | InputType::Region | InputType::Secret => match literal.as_str() {
            Some(text) => Value::from(text.chars().count()),
            None => return Err(format!("expected text, found {}", found(literal))),
        },
    };
    let beyond = |limit: &Option<Value>, more: bool| {
        limit.as_ref().is_some_and(|limit| {
            let (left, right) = if more { (&size, limit) } else { (limit, &size) };
            above(input.kind, left, right) == Some(true)
        })
    };
    if beyond(&input.min, false) {
        return Err("is less than `min`".to_owned());
    }
    if beyond(&input.max, true) {
        return Err("is more than `max`".to_owned());
    }
    Ok(())
}
