//! Who may do what: in the simulation whoever asks may do everything, until a fault denies it.

use serde_json::{Value, json};

use super::failure::{Cause, Failure};

/// A question about access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Review {
    SelfSubjectAccess,
    SubjectAccess,
    LocalSubjectAccess,
    SelfSubjectRules,
    SelfSubject,
}

impl Review {
    pub(super) const ALL: [Self; 5] = [
        Self::SelfSubjectAccess,
        Self::SubjectAccess,
        Self::LocalSubjectAccess,
        Self::SelfSubjectRules,
        Self::SelfSubject,
    ];

    /// Returns its kind.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::SelfSubjectAccess => "SelfSubjectAccessReview",
            Self::SubjectAccess => "SubjectAccessReview",
            Self::LocalSubjectAccess => "LocalSubjectAccessReview",
            Self::SelfSubjectRules => "SelfSubjectRulesReview",
            Self::SelfSubject => "SelfSubjectReview",
        }
    }

    pub(super) const fn group(self) -> &'static str {
        match self {
            Self::SelfSubjectAccess
            | Self::SubjectAccess
            | Self::LocalSubjectAccess
            | Self::SelfSubjectRules => "authorization.k8s.io",
            Self::SelfSubject => "authentication.k8s.io",
        }
    }

    /// Returns its name in paths.
    pub(super) fn plural(self) -> String {
        self.kind().to_lowercase() + "s"
    }

    pub(super) const fn namespaced(self) -> bool {
        matches!(self, Self::LocalSubjectAccess)
    }

    /// Returns the review a path is for.
    pub(super) fn of(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, name, namespaced) = match segments.as_slice() {
            ["apis", group, "v1", name] => (*group, *name, false),
            ["apis", group, "v1", "namespaces", _, name] => (*group, *name, true),
            _ => return None,
        };
        Self::ALL.into_iter().find(|review| {
            review.group() == group && review.plural() == name && review.namespaced() == namespaced
        })
    }
}

/// Answers a review.
pub(super) fn answer(review: Review, mut asked: Value) -> Result<Value, Failure> {
    if asked["metadata"].is_null() {
        asked["metadata"] = json!({ "creationTimestamp": null });
    }
    if review == Review::SelfSubjectRules {
        asked["spec"] = json!({});
    }
    asked["status"] = match review {
        Review::SelfSubjectAccess | Review::SubjectAccess | Review::LocalSubjectAccess => {
            if asked["spec"].get("resourceAttributes").is_none()
                && asked["spec"].get("nonResourceAttributes").is_none()
            {
                let why =
                    "exactly one of nonResourceAttributes or resourceAttributes must be specified";
                let cause = Cause::invalid("spec.resourceAttributes", "\"null\"", why);
                return Err(refused(review, &cause));
            }
            let (namespace, own) = (
                asked["spec"]["resourceAttributes"]["namespace"].as_str().unwrap_or_default(),
                asked["metadata"]["namespace"].as_str().unwrap_or_default(),
            );
            if review.namespaced() && namespace != own {
                let field = "spec.resourceAttributes.namespace";
                let why = "must match metadata.namespace";
                return Err(refused(
                    review,
                    &Cause::invalid(field, &format!("\"{namespace}\""), why),
                ));
            }
            json!({ "allowed": true })
        }
        Review::SelfSubjectRules => json!({
            "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }],
            "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
            "incomplete": false,
        }),
        Review::SelfSubject => json!({
            "userInfo": { "username": "phoenix-dr", "groups": ["system:masters", "system:authenticated"] },
        }),
    };
    Ok(asked)
}

/// Refuses a review; the server names no kind in it.
fn refused(review: Review, cause: &Cause) -> Failure {
    Failure::invalid("", review.group(), "", std::slice::from_ref(cause))
}
