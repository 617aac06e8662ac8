//! What a rehearsal does in place of programs, with everything known filled in.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::values::{Filler, is_open};
use crate::runbook::path::Path;
use crate::runbook::problem::Problem;

/// Fills in what a runbook says of a rehearsal. Outputs of steps are not known when it is read: they are refused.
pub(super) fn resolve<T: Serialize + DeserializeOwned + Clone>(
    filler: &mut Filler<'_>,
    said: &T,
    path: &Path,
) -> T {
    let Ok(Value::Object(map)) = serde_json::to_value(said) else { return said.clone() };
    let map = filler.map(&map, path);
    let range = filler.loaded.places.at(path);
    if map.values().any(is_open) {
        let message = "`rehearse` may use inputs and the estate only";
        filler.problems.push(Problem::at(range, message));
        return said.clone();
    }
    match serde_json::from_value(Value::Object(map)) {
        Ok(resolved) => resolved,
        Err(error) => {
            filler.problems.push(Problem::at(range, format!("`rehearse`: {error}")));
            said.clone()
        }
    }
}
