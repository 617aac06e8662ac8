//! The closed set of actions and checks: names, arguments, outputs. What they do lives in `actions` and `checks`.

pub(crate) mod actions;
mod arguments;
pub(crate) mod checks;
mod outputs;
mod which;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::estate::types::SecretRef;

/// Type of an argument or output, as far as loading can check it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    String,
    Integer,
    Boolean,
    /// Of texts
    List,
    Object,
}

/// A value a step gives to later ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub name: &'static str,
    pub shape: Shape,
    pub say: &'static str,
}

/// Value of a program's variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Variable {
    Text(String),
    /// Read where it is when the program is started; plan and journal hold the place alone
    Secret(SecretRef),
}

/// Returns the JSON Schema of a type as a value.
pub(super) fn schema_of<T: JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}
