//! The runbook language: reading, checking and explaining runbook files.

pub(crate) mod arguments;
pub(crate) mod catalogue;
pub(crate) mod decode;
pub(crate) mod draw;
pub(crate) mod expression;
pub(crate) mod graph;
pub(crate) mod load;
pub(crate) mod near;
mod partly;
pub(crate) mod path;
pub(crate) mod problem;
pub(crate) mod rehearse;
pub(crate) mod render;
pub(crate) mod schema;
#[cfg(test)]
mod schema_json;
pub(crate) mod shape;
pub(crate) mod sheet;
pub(crate) mod validate;
pub(crate) mod yaml;
