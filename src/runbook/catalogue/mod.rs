//! The closed set of actions and checks: names, arguments, outputs. What they do lives in `actions` and `checks`.

pub(crate) mod actions;
mod arguments;
pub(crate) mod checks;

use serde_json::Value;

/// Type of an argument or output, as far as loading can check it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    String,
    Integer,
    Boolean,
    Object,
}

/// A value a step gives to later ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub name: &'static str,
    pub shape: Shape,
    pub say: &'static str,
}

/// Returns the JSON Schema of a type as a value.
pub(super) fn schema_of<T: schemars::JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}
