//! What a simulated server's rows are made of: what a statement was given, and what the world has of it.

use serde_json::Value;

use super::session::Rows;
use super::wire::{Cell, Parameter};
use crate::sandbox::world::{Heartbeat, Postgres};

/// Returns the roles a statement was given.
pub(super) fn list(values: &[Parameter]) -> Vec<String> {
    match values.first() {
        Some(Parameter::List(roles)) => roles.clone(),
        Some(Parameter::Text(role)) => vec![role.clone()],
        Some(Parameter::Number(_)) | None => Vec::new(),
    }
}

pub(super) fn locked(body: &Postgres, roles: &[String]) -> usize {
    roles.iter().filter(|role| body.roles.get(*role) == Some(&false)).count()
}

pub(super) fn logins(body: &Postgres, values: &[Parameter]) -> Rows {
    let known = list(values).into_iter();
    known
        .filter_map(|role| {
            let may = *body.roles.get(&role)?;
            Some(vec![Cell::Text(role), Cell::Bool(may)])
        })
        .collect()
}

/// Returns which of the roles may log in; no world keeps one from connecting to a database.
pub(super) fn let_in(body: &Postgres, values: &[Parameter]) -> Rows {
    let mut rows = logins(body, values);
    rows.iter_mut().for_each(|row| row.push(Cell::Bool(true)));
    rows
}

/// Returns the roles that may log in beside those a statement was given.
pub(super) fn others(body: &Postgres, values: &[Parameter]) -> Rows {
    let given = list(values);
    let may = body.roles.iter().filter(|(role, may)| **may && !given.contains(role));
    may.map(|(role, _)| vec![Cell::Text(role.clone())]).collect()
}

pub(super) fn text(values: &[Parameter], index: usize) -> String {
    match values.get(index) {
        Some(Parameter::Text(text)) => text.clone(),
        Some(Parameter::List(_) | Parameter::Number(_)) | None => String::new(),
    }
}

pub(super) fn number(values: &[Parameter], index: usize) -> i64 {
    match values.get(index) {
        Some(Parameter::Number(number)) => *number,
        Some(Parameter::Text(_) | Parameter::List(_)) | None => 0,
    }
}

/// Returns what a fence changed and what of it still stands.
pub(super) fn stands(body: &Postgres) -> Rows {
    let stands = |what: &str| match what.strip_prefix("role:") {
        Some(role) => body.roles.get(role) == Some(&false),
        None => body.read_only.as_deref() == Some("on"),
    };
    let kept = body.fence.iter().filter(|(what, _)| stands(what));
    kept.map(|(what, was)| {
        vec![Cell::Text(what.clone()), was.clone().map_or(Cell::Null, Cell::Text)]
    })
    .collect()
}

/// Returns a row where a run's heartbeat is there and is the one that is meant.
pub(super) fn heartbeat(
    body: &Postgres,
    values: &[Parameter],
    is_it: impl Fn(&Heartbeat) -> bool,
) -> Rows {
    let found = body.heartbeats.get(&text(values, 0));
    match found.is_some_and(is_it) {
        true => vec![vec![Cell::Int4(1)]],
        false => Vec::new(),
    }
}

pub(super) fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Bool(value) => Cell::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Cell::Int8(number),
            None => Cell::Float8(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cell::Text(text.clone()),
        Value::Array(_) | Value::Object(_) => Cell::Text(value.to_string()),
    }
}
