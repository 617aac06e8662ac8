//! What a request asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, Method, Uri};
use serde_json::Value;

use super::failure::{Cause, Failure};
use super::kinds::{Kind, Kinds};
use super::protobuf;
use super::selector::Selector;
use super::store::Key;

/// A request for objects of a kind.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub method: Method,
    pub kind: Arc<Kind>,
    pub namespace: String,
    pub name: Option<String>,
    pub subresource: String,
    pub query: BTreeMap<String, String>,
    pub content_type: String,
    /// The answer is wanted as a table
    pub table: bool,
    pub writer: Writer,
}

/// Who changes something, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Writer {
    pub manager: String,
    pub version: String,
    pub subresource: String,
    pub dry_run: bool,
}

impl Asked {
    pub(super) fn of(
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        kinds: &Kinds,
    ) -> Result<Self, Failure> {
        let segments: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let (api, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ((*version).to_owned(), rest),
            ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
            _ => return Err(Failure::nowhere()),
        };
        let (namespace, rest) = match rest {
            ["namespaces", _, "status" | "finalize"] => ("", rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let plural = rest.first().ok_or_else(Failure::nowhere)?;
        let kind = kinds.of(&format!("{api}/{plural}")).ok_or_else(Failure::nowhere)?;
        let header = |name: &str| {
            headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
        };
        let query = crate::sandbox::aws::form(uri.query().unwrap_or_default());
        let subresource = rest.get(2).copied().unwrap_or_default().to_owned();
        let dry_run = match query.get("dryRun").map(String::as_str) {
            None | Some("") => false,
            Some("All") => true,
            Some(other) => {
                let options = match *method {
                    Method::POST => "CreateOptions",
                    Method::PUT => "UpdateOptions",
                    Method::PATCH => "PatchOptions",
                    _ => "DeleteOptions",
                };
                let value = format!("[]string{{\"{other}\"}}");
                let cause = Cause::unsupported("dryRun", &value, "\"All\"");
                return Err(Failure::invalid(options, "meta.k8s.io", "", &[cause]));
            }
        };
        let agent = header("user-agent").split('/').next().unwrap_or_default();
        let agent = if agent.is_empty() { "unknown" } else { agent };
        let manager = query.get("fieldManager").filter(|name| !name.is_empty());
        let writer = Writer {
            manager: manager.map_or(agent, String::as_str).to_owned(),
            version: api,
            subresource: subresource.clone(),
            dry_run,
        };
        Ok(Self {
            method: method.clone(),
            kind,
            namespace: namespace.to_owned(),
            name: rest.get(1).map(|name| (*name).to_owned()),
            subresource,
            query,
            content_type: header("content-type").split(';').next().unwrap_or_default().to_owned(),
            table: header("accept").contains("as=Table"),
            writer,
        })
    }

    pub(super) fn key(&self, name: &str) -> Key {
        (self.kind.kept.clone(), self.namespace.clone(), name.to_owned())
    }

    pub(super) fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        ["true", "1"].contains(&self.parameter(name))
    }

    pub(super) fn selector(&self) -> Result<Selector, Failure> {
        let (labels, fields) = (self.parameter("labelSelector"), self.parameter("fieldSelector"));
        Selector::parse(labels, fields, &self.kind.kind)
    }

    /// Reads an object out of a body.
    pub(super) fn object(&self, body: &[u8]) -> Result<Value, Failure> {
        let object = if self.content_type.contains("yaml") {
            from_yaml(body)?
        } else if self.content_type.is_empty() || self.content_type == "application/json" {
            serde_json::from_slice(body).map_err(|error| Failure::bad(error.to_string()))?
        } else {
            let decoded =
                (self.content_type == protobuf::MEDIA).then(|| protobuf::decode(body)).flatten();
            decoded.ok_or_else(|| {
                Failure::media(&["application/json", "application/yaml", protobuf::MEDIA])
            })?
        };
        match object {
            Value::Object(_) => Ok(object),
            _ => Err(Failure::bad("the body of the request is no object")),
        }
    }
}

/// Reads YAML, of which JSON is a part.
pub(super) fn from_yaml(body: &[u8]) -> Result<Value, Failure> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    let text = String::from_utf8_lossy(body);
    let read = crate::runbook::yaml::read("the body of the request", &text);
    read.map(|document| document.value).map_err(|problems| {
        Failure::bad(format!("error decoding YAML: {}", problems.render(false)))
    })
}
