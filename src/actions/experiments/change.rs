//! What an event says: its type and the fields of its payload.

use serde_json::{Map, Value};

use super::finding::{Reason, Wrong};
use super::raw;

/// Every type of event there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Created,
    Configured,
    Started,
    Progressed,
    Paused,
    Resumed,
    Completed,
    Failed,
    Cancelled,
}

impl Kind {
    pub(super) const ALL: [Self; 9] = [
        Self::Created,
        Self::Configured,
        Self::Started,
        Self::Progressed,
        Self::Paused,
        Self::Resumed,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Returns the type as events name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Started => "started",
            Self::Progressed => "progressed",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the type of that name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What an event changes; JSON and numbers are as the event has them: as values they would lose digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Created { title: String, config: Option<String> },
    Configured { config: String },
    Started,
    Progressed { progress: String },
    Paused,
    Resumed,
    Completed { result: Option<String> },
    Failed { error: String },
    Cancelled,
}

impl Change {
    /// Reads the payload of an event.
    pub(super) fn read(kind: Kind, payload: &str) -> Result<Self, Wrong> {
        let value: Value = serde_json::from_str(payload).map_err(|error| {
            Wrong::new(Reason::UnreadablePayload, format!("the payload cannot be read: {error}"))
        })?;
        let Value::Object(fields) = value else {
            let said = format!("the payload is {}, an object is wanted", is(&value));
            return Err(Wrong::new(Reason::PayloadNoObject, said));
        };
        let fields = Fields { values: &fields, payload };
        match kind {
            Kind::Created => {
                let title = fields.text("name")?.to_owned();
                Ok(Self::Created { title, config: fields.object("config")? })
            }
            Kind::Configured => {
                let config = fields.object("config")?.ok_or_else(|| missing("config"))?;
                Ok(Self::Configured { config })
            }
            Kind::Started => Ok(Self::Started),
            Kind::Progressed => Ok(Self::Progressed { progress: fields.percent("progress")? }),
            Kind::Paused => Ok(Self::Paused),
            Kind::Resumed => Ok(Self::Resumed),
            Kind::Completed => Ok(Self::Completed { result: fields.object("result")? }),
            Kind::Failed => Ok(Self::Failed { error: fields.text("error")?.to_owned() }),
            Kind::Cancelled => Ok(Self::Cancelled),
        }
    }

    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Created { .. } => Kind::Created,
            Self::Configured { .. } => Kind::Configured,
            Self::Started => Kind::Started,
            Self::Progressed { .. } => Kind::Progressed,
            Self::Paused => Kind::Paused,
            Self::Resumed => Kind::Resumed,
            Self::Completed { .. } => Kind::Completed,
            Self::Failed { .. } => Kind::Failed,
            Self::Cancelled => Kind::Cancelled,
        }
    }
}

/// Fields of a payload; one that is null is not there.
struct Fields<'a> {
    values: &'a Map<String, Value>,
    /// The payload as it is written
    payload: &'a str,
}

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.values.get(name).filter(|value| !value.is_null())
    }

    /// Returns a text that is not empty.
    fn text(&self, name: &str) -> Result<&'a str, Wrong> {
        match self.get(name) {
            None => Err(missing(name)),
            Some(Value::String(text)) if text.trim().is_empty() => {
                Err(Wrong::new(Reason::WrongField, format!("`{name}` is empty")))
            }
            Some(Value::String(text)) if text.contains('\0') => {
                Err(unstorable(name, "the character \\u0000"))
            }
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(wrong(name, other, "a text")),
        }
    }

    /// Returns an object, where it is there, as it is written.
    fn object(&self, name: &str) -> Result<Option<String>, Wrong> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(_)) => self.written(name).map(Some),
            Some(other) => Err(wrong(name, other, "an object")),
        }
    }

    /// Returns a number of a hundred as it is written.
    fn percent(&self, name: &str) -> Result<String, Wrong> {
        let wanted = "a number from 0 to 100";
        match self.get(name) {
            None => Err(missing(name)),
            Some(Value::Number(number)) => match number.as_f64() {
                Some(found) if (0.0..=100.0).contains(&found) => self.written(name),
                Some(_) | None => {
                    let said = format!("`{name}` is {number}, {wanted} is wanted");
                    Err(Wrong::new(Reason::WrongField, said))
                }
            },
            Some(other) => Err(wrong(name, other, wanted)),
        }
    }

    /// Returns a field as it is written, where the server can have it as a value.
    fn written(&self, name: &str) -> Result<String, Wrong> {
        let written = raw::field(self.payload, name).ok_or_else(|| missing(name))?;
        match raw::unstorable(written) {
            Some(what) => Err(unstorable(name, what)),
            None => Ok(written.to_owned()),
        }
    }
}

fn unstorable(name: &str, what: &str) -> Wrong {
    let said =
        format!("`{name}` has {what}, which the server can store nowhere but as a text of JSON");
    Wrong::new(Reason::WrongField, said)
}

fn missing(name: &str) -> Wrong {
    Wrong::new(Reason::MissingField, format!("`{name}` is missing"))
}

fn wrong(name: &str, found: &Value, wanted: &str) -> Wrong {
    Wrong::new(Reason::WrongField, format!("`{name}` is {}, {wanted} is wanted", is(found)))
}

const fn is(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: Kind, payload: &str) -> String {
        let wrong = Change::read(kind, payload).expect_err("refused");
        format!("{}: {}", wrong.reason.name(), wrong.said)
    }

    #[test]
    fn each_type_is_read_by_its_name() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.name()), Some(kind));
        }
        assert_eq!(Kind::parse("Created"), None);
    }

    #[test]
    fn what_a_payload_lacks_is_said() {
        for (kind, payload, said) in [
            (Kind::Created, "{", "unreadable_payload: the payload cannot be read: EOF"),
            (Kind::Started, "[1]", "payload_no_object: the payload is a list, an object is wanted"),
            (Kind::Created, "{}", "missing_field: `name` is missing"),
            (Kind::Created, r#"{"name": null}"#, "missing_field: `name` is missing"),
            (Kind::Created, r#"{"name": " "}"#, "wrong_field: `name` is empty"),
            (Kind::Created, r#"{"name": 7}"#, "wrong_field: `name` is a number, a text is wanted"),
            (
                Kind::Created,
                r#"{"name": "a", "config": []}"#,
                "wrong_field: `config` is a list, an object is wanted",
            ),
            (Kind::Configured, "{}", "missing_field: `config` is missing"),
            (
                Kind::Progressed,
                r#"{"progress": 100.5}"#,
                "wrong_field: `progress` is 100.5, a number from 0 to 100 is wanted",
            ),
            (
                Kind::Progressed,
                r#"{"progress": "9"}"#,
                "wrong_field: `progress` is a text, a number from 0 to 100 is wanted",
            ),
            (Kind::Completed, r#"{"result": true}"#, "wrong_field: `result` is a boolean, an"),
            (Kind::Failed, "{}", "missing_field: `error` is missing"),
            (
                Kind::Failed,
                r#"{"error": "a\u0000b"}"#,
                "wrong_field: `error` has the character \\u0000",
            ),
            (
                Kind::Configured,
                r#"{"config": {"a": ["\u0000"]}}"#,
                "wrong_field: `config` has the character \\u0000",
            ),
            (
                Kind::Progressed,
                r#"{"progress": 1e-20000}"#,
                "wrong_field: `progress` has a number of more than 16383 digits",
            ),
        ] {
            let refused = refused(kind, payload);
            assert!(refused.starts_with(said), "{}: {refused}", kind.name());
        }
    }

    #[test]
    fn what_goes_into_the_row_keeps_every_digit() {
        let exact = "33.333333333333333333333333";
        let payload = format!(r#"{{"progress": {exact}, "more": 1}}"#);
        let change = Change::read(Kind::Progressed, &payload);
        assert_eq!(change, Ok(Change::Progressed { progress: exact.to_owned() }));
    }
}
