//! The estate: the systems a runbook acts on, read from `phoenix-dr.yaml`.

pub(crate) mod defaults;
pub(crate) mod types;
