//! A plan held by many at once, in the journal's form of a plan: one of ten thousand steps takes megabytes.

use std::sync::Arc;

use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

use super::Plan;

/// Writes the plan itself.
pub(crate) fn serialize<S: Serializer>(plan: &Arc<Plan>, to: S) -> Result<S::Ok, S::Error> {
    plan.as_ref().serialize(to)
}

/// Reads a plan nobody else holds yet.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Plan>, D::Error> {
    Plan::deserialize(from).map(Arc::new)
}
