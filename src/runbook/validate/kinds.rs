//! Kinds of values and types of names, as far as they are known without running anything.

use serde_json::Value;

use crate::runbook::catalogue::Shape;
use crate::runbook::schema::InputType;
use crate::runbook::shape::Schema;

/// What an expression's value is, as far as that is known.
#[derive(Debug, Clone)]
pub(super) enum Type {
    Unknown,
    Null,
    Bool,
    Number,
    Text,
    List(Box<Type>),
    Map,
    /// A reference to a secret: it cannot become part of a text
    Secret,
    /// What a node of the estate's schema describes
    Estate(&'static Value),
    /// The inputs, all steps, one step, its outputs
    Inputs,
    Steps,
    Step(usize),
    Outputs(usize),
    Run,
}

/// Kinds of values, to say whether two types can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Number,
    Text,
    List,
    Map,
}

impl Kind {
    pub(super) const fn say(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "text",
            Self::List => "a list",
            Self::Map => "a mapping",
        }
    }
}

impl Type {
    /// Returns the kinds a value may have; none where that is not known.
    pub(super) fn kinds(&self, estate: &Schema) -> Option<Vec<Kind>> {
        match self {
            Self::Unknown | Self::Null | Self::Secret => None,
            Self::Bool => Some(vec![Kind::Bool]),
            Self::Number => Some(vec![Kind::Number]),
            Self::Text => Some(vec![Kind::Text]),
            Self::List(_) => Some(vec![Kind::List]),
            Self::Map
            | Self::Inputs
            | Self::Steps
            | Self::Step(_)
            | Self::Outputs(_)
            | Self::Run => Some(vec![Kind::Map]),
            Self::Estate(node) => kinds_of(estate, node),
        }
    }

    pub(super) const fn of_input(kind: InputType) -> Self {
        match kind {
            InputType::String
            | InputType::Duration
            | InputType::Region
            | InputType::Choice
            | InputType::Instant => Self::Text,
            InputType::Integer => Self::Number,
            InputType::Boolean => Self::Bool,
            InputType::Secret => Self::Secret,
        }
    }

    pub(super) fn of_shape(shape: Shape) -> Self {
        match shape {
            Shape::String => Self::Text,
            Shape::Integer => Self::Number,
            Shape::Boolean => Self::Bool,
            Shape::List => Self::List(Box::new(Self::Text)),
            Shape::Object => Self::Map,
        }
    }
}

/// Returns the kinds of values a schema's node allows, null aside; none where it allows all.
pub(super) fn kinds_of(schema: &Schema, node: &Value) -> Option<Vec<Kind>> {
    let mut kinds = Vec::new();
    for way in schema.alternatives(node) {
        let listed: Vec<&str> = match way.get("type") {
            Some(Value::String(kind)) => vec![kind.as_str()],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => return None,
        };
        for name in listed {
            let kind = match name {
                "string" => Kind::Text,
                "integer" | "number" => Kind::Number,
                "boolean" => Kind::Bool,
                "array" => Kind::List,
                "object" => Kind::Map,
                "null" => continue,
                _ => return None,
            };
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
    }
    Some(kinds)
}
