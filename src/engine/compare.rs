//! Compares a live state with what was before and with what this run wrote.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Where a live state stands between the before-image and what this run wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As before: nothing to revert
    Before,
    /// As this run wrote it
    Ours,
    /// Parts as before, parts as this run wrote them: an attempt ended half-way
    Mixed,
    /// Something else: another writer
    Foreign,
}

/// Compares key by key, so that a half-done change of several things is still known as ours.
pub(crate) fn standing(live: &Value, before: &Value, ours: &Value) -> Standing {
    if live == before {
        return Standing::Before;
    }
    if live == ours {
        return Standing::Ours;
    }
    let (Value::Object(live), Value::Object(before), Value::Object(ours)) = (live, before, ours)
    else {
        return Standing::Foreign;
    };
    let keys = live.keys().chain(before.keys()).chain(ours.keys());
    let part = |map: &serde_json::Map<String, Value>, key: &str| {
        map.get(key).cloned().unwrap_or(Value::Null)
    };
    let mut seen = Vec::new();
    for key in keys {
        let (was, wrote) = (part(before, key), part(ours, key));
        // A part this run never meant to change says nothing when it is as before.
        let standing = standing(&part(live, key), &was, &wrote);
        if standing == Standing::Before && was == wrote {
            continue;
        }
        seen.push(standing);
    }
    if seen.contains(&Standing::Foreign) {
        Standing::Foreign
    } else if seen.iter().all(|standing| *standing == Standing::Before) {
        Standing::Before
    } else if seen.iter().all(|standing| *standing == Standing::Ours) {
        Standing::Ours
    } else {
        Standing::Mixed
    }
}

/// Returns the digest of a before-image and a desired state: what an approval covers.
pub(crate) fn digest(before: &Value, desired: &Value) -> String {
    let mut hash = Sha256::new();
    // serde_json keeps object keys sorted here, so equal values print equally.
    hash.update(before.to_string());
    hash.update([0]);
    hash.update(desired.to_string());
    hash.finalize().iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tells_whose_state_it_is() {
        let before = json!({"api": {"replicas": 1}, "web": {"replicas": 2}});
        let ours = json!({"api": {"replicas": 5}, "web": {"replicas": 6}});
        for (live, expected) in [
            (before.clone(), Standing::Before),
            (ours.clone(), Standing::Ours),
            (json!({"api": {"replicas": 5}, "web": {"replicas": 2}}), Standing::Mixed),
            (json!({"api": {"replicas": 9}, "web": {"replicas": 2}}), Standing::Foreign),
            (json!({"api": {"replicas": 5}}), Standing::Foreign),
            (json!(null), Standing::Foreign),
        ] {
            assert_eq!(standing(&live, &before, &ours), expected, "{live}");
        }
    }

    #[test]
    fn unchanged_parts_do_not_count() {
        let before = json!({"a": 1, "same": 7});
        let ours = json!({"a": 2, "same": 7});
        assert_eq!(standing(&json!({"a": 2, "same": 7}), &before, &ours), Standing::Ours);
        assert_eq!(standing(&json!({"a": 2, "same": 8}), &before, &ours), Standing::Foreign);
    }

    #[test]
    fn digest_tells_states_apart() {
        assert_eq!(
            digest(&json!({"a":1,"b":2}), &json!(3)),
            digest(&json!({"b":2,"a":1}), &json!(3))
        );
        assert_ne!(digest(&json!(1), &json!(2)), digest(&json!(2), &json!(1)));
    }
}
