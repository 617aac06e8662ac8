//! Names of things that must not be mixed up: runs and steps.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One execution of a plan; a ULID, so runs sort by their start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct RunId(pub(crate) String);

impl RunId {
    /// Returns a new id.
    pub(crate) fn generate() -> Self {
        Self(ulid::Ulid::generate().to_string())
    }

    /// Returns when it began; `None` for an id that is no ULID.
    pub(crate) fn began(&self) -> Option<Timestamp> {
        let millis = ulid::Ulid::from_string(&self.0).ok()?.timestamp_ms();
        Timestamp::from_millisecond(millis.try_into().ok()?).ok()
    }

    /// Returns the last four characters: what screens show, random enough to tell a handful of runs apart.
    pub(crate) fn short(&self) -> &str {
        &self.0[self.0.len().saturating_sub(4)..]
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A step's id as its runbook writes it.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub(crate) struct StepId(pub(crate) String);

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for StepId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}
