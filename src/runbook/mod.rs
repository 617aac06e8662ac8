//! The runbook language: reading, checking and explaining runbook files.

pub(crate) mod catalogue;
pub(crate) mod schema;
