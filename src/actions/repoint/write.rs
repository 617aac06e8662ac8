//! The write of an object of a cluster: from what was seen to what is wanted, and over nothing else.

use serde_json::Value;

use crate::actions::kubernetes::changed_meanwhile;
use crate::outcome::{ActionError, Effect, FailureClass};

/// Looks at an object that changes between the look and the patch, before giving up.
const TRIES: u32 = 3;

/// Brings what `get` reads, with the version it was read at, from one value to another by `patch`, which the cluster
/// refuses where that version is no longer the newest. True when it had to change it.
pub(super) async fn compare_and_set<Get, Got, Set, Did>(
    object: &str,
    (from, to): (&Value, &Value),
    get: Get,
    patch: Set,
) -> Result<bool, ActionError>
where
    Get: Fn() -> Got,
    Got: Future<Output = Result<(Value, Option<String>), ActionError>>,
    Set: Fn(Option<String>) -> Did,
    Did: Future<Output = Result<(), ActionError>>,
{
    let mut last: Option<ActionError> = None;
    for _ in 0..TRIES {
        let (now, version) = match get().await {
            Ok(got) => got,
            Err(error) => return Err(last.unwrap_or(error)),
        };
        if now == *to {
            return Ok(last.is_some());
        }
        if now != *from {
            return Err(changed_meanwhile(object, from, &now));
        }
        match patch(version).await {
            Ok(()) => return Ok(true),
            // Something else of it was changed in between, or the answer was lost: the next look tells.
            Err(error)
                if error.class == FailureClass::Conflict || error.effect == Effect::Unknown =>
            {
                last = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| changed_meanwhile(object, from, to)))
}
