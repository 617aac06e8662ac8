//! Who may do what: in the simulation whoever asks may do everything, until a fault denies it.

use serde_json::{Value, json};

use super::failure::Failure;

/// Answers a review.
pub(super) fn answer(review: &str, mut asked: Value) -> Result<Value, Failure> {
    if asked["metadata"].is_null() {
        asked["metadata"] = json!({ "creationTimestamp": null });
    }
    asked["status"] = match review {
        "selfsubjectaccessreviews" | "subjectaccessreviews" | "localsubjectaccessreviews" => {
            if asked["spec"].get("resourceAttributes").is_none()
                && asked["spec"].get("nonResourceAttributes").is_none()
            {
                let why =
                    "exactly one of nonResourceAttributes or resourceAttributes must be specified";
                let cause = super::failure::Cause::invalid("spec.resourceAttributes", "null", why);
                let kind = asked["kind"].as_str().unwrap_or_default();
                return Err(Failure::invalid(kind, "authorization.k8s.io", "", &[cause]));
            }
            json!({ "allowed": true })
        }
        "selfsubjectrulesreviews" => json!({
            "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }],
            "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
            "incomplete": false,
        }),
        "selfsubjectreviews" => json!({
            "userInfo": { "username": "phoenix-dr", "groups": ["system:masters", "system:authenticated"] },
        }),
        _ => return Err(Failure::nowhere()),
    };
    Ok(asked)
}
