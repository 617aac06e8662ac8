//! Refusals, worded and structured as an API server has them.

use http::{Response, StatusCode};
use serde_json::{Value, json};
use tower::BoxError;

use super::Answered;
use super::kinds::Kind;

/// A request that is refused.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sandbox) struct Failure {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    details: Value,
    /// What was asked, where a real server might well have it and the simulation does not
    pub beyond: Option<String>,
}

/// One thing that is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cause {
    reason: &'static str,
    field: String,
    message: String,
}

impl Cause {
    pub(super) fn invalid(field: &str, value: &str, why: &str) -> Self {
        let message = format!("Invalid value: {value}: {why}");
        Self { reason: "FieldValueInvalid", field: field.to_owned(), message }
    }

    pub(super) fn required(field: &str, why: &str) -> Self {
        let message = match why {
            "" => "Required value".to_owned(),
            why => format!("Required value: {why}"),
        };
        Self { reason: "FieldValueRequired", field: field.to_owned(), message }
    }

    pub(super) fn unsupported(field: &str, value: &str, supported: &str) -> Self {
        let message = format!("Unsupported value: {value}: supported values: {supported}");
        Self { reason: "FieldValueNotSupported", field: field.to_owned(), message }
    }

    pub(super) fn forbidden(field: &str, why: &str) -> Self {
        let message = format!("Forbidden: {why}");
        Self { reason: "FieldValueForbidden", field: field.to_owned(), message }
    }

    fn told(&self) -> Value {
        json!({ "reason": self.reason, "message": self.message, "field": self.field })
    }
}

impl Failure {
    pub(in crate::sandbox) fn new(
        code: u16,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null, beyond: None }
    }

    pub(super) fn with(self, details: Value) -> Self {
        Self { details, ..self }
    }

    /// The error of a path no server has.
    pub(super) fn nowhere() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(404, "NotFound", message).with(json!({}))
    }

    /// The error of something a real server has and the simulation does not.
    pub(super) fn beyond(what: &str) -> Self {
        let message = format!("{what} is not simulated");
        let failure = Self::new(501, "NotImplemented", message).with(json!({}));
        Self { beyond: Some(what.to_owned()), ..failure }
    }

    pub(super) fn method() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message).with(json!({}))
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// The error of a body or patch of a form that is not taken.
    pub(super) fn media(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub(super) fn missing(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.qualified());
        Self::new(404, "NotFound", message).with(about(kind, name))
    }

    pub(super) fn exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.qualified());
        Self::new(409, "AlreadyExists", message).with(about(kind, name))
    }

    pub(super) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.qualified());
        Self::new(409, "Conflict", message).with(about(kind, name))
    }

    /// The error of a deletion of something else than was meant, which names the kind in place of the resource.
    pub(super) fn outdated(kind: &Kind, name: &str, why: &str) -> Self {
        let named = Kind { plural: kind.kind.clone(), ..kind.clone() };
        Self::conflict(&named, name, why)
    }

    pub(super) fn modified(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        Self::conflict(kind, name, why)
    }

    pub(super) fn forbidden(kind: &Kind, name: &str, why: &str, causes: Value) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {why}", kind.qualified());
        let mut details = about(kind, name);
        if !causes.is_null() {
            details["causes"] = causes;
        }
        Self::new(403, "Forbidden", message).with(details)
    }

    /// The error of an object that breaks rules.
    pub(super) fn invalid(kind: &str, group: &str, name: &str, causes: &[Cause]) -> Self {
        let all: Vec<String> =
            causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let all = match all.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let message = format!("{qualified} \"{name}\" is invalid: {all}");
        let mut details = json!({ "name": name, "kind": kind });
        if name.is_empty() {
            details = json!({ "kind": kind });
        }
        if kind.is_empty() {
            details = json!({});
        }
        if !group.is_empty() {
            details["group"] = json!(group);
        }
        details["causes"] = causes.iter().map(Cause::told).collect();
        Self::new(422, "Invalid", message).with(details)
    }

    /// The error of a version that is no longer known.
    pub(super) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// Returns the error of a version that is yet to come.
    pub(super) fn too_large(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let cause = json!([
            { "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }
        ]);
        Self::new(504, "Timeout", message).with(json!({ "causes": cause, "retryAfterSeconds": 1 }))
    }

    /// Returns it as the object it is told as.
    pub(super) fn status(&self) -> Value {
        let Self { code, reason, message, details, .. } = self;
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "code": code,
        });
        if !reason.is_empty() {
            status["reason"] = json!(reason);
        }
        if !details.is_null() {
            status["details"] = details.clone();
        }
        status
    }

    /// Returns it as an API server tells it.
    pub(in crate::sandbox) fn response(&self) -> Result<Response<Answered>, BoxError> {
        let mut response = super::response(self.code, &self.status())?;
        *response.status_mut() = StatusCode::from_u16(self.code)?;
        Ok(response)
    }
}

fn about(kind: &Kind, name: &str) -> Value {
    let mut details = json!({ "name": name, "kind": kind.plural });
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    details
}
