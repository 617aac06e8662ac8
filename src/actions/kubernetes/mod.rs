//! Actions on Kubernetes workloads: scale, restart, apply, and the wait until what was asked for runs.

pub(crate) mod apply;
mod diagnose;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod restart;
pub(crate) mod rollout;
pub(crate) mod scale;

use std::fmt;
use std::future::Future;

use futures::stream::{self, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PatchParams, PostParams};
use serde_json::Value;

use crate::by_hand;
use crate::clients::Clients;
use crate::clients::kubernetes::{Cluster, FIELD_MANAGER, read};
use crate::outcome::{ActionError, FailureClass};

/// Calls to one API server under way at once.
const PARALLEL: usize = 8;
/// Looks at an object that changes between the look and the patch, before giving up.
const TRIES: u32 = 3;

/// A Deployment as `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Workload {
    pub namespace: String,
    pub name: String,
}

impl Workload {
    /// Reads `namespace/name`.
    pub(crate) fn parse(text: &str) -> Result<Self, ActionError> {
        match text.split_once('/') {
            Some((namespace, name))
                if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
            {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(ActionError::unchanged(
                FailureClass::Invalid,
                format!("workload `{text}` is not namespace/name"),
            )),
        }
    }

    /// Returns the API of Deployments in its namespace.
    pub(crate) fn api(&self, cluster: &Cluster) -> Api<Deployment> {
        Api::namespaced(cluster.client.clone(), &self.namespace)
    }

    /// Reads it.
    pub(crate) async fn get(
        &self,
        clients: &Clients,
        cluster: &Cluster,
    ) -> Result<Deployment, ActionError> {
        let Self { namespace, name } = self;
        let found = read(clients, &format!("read {self}"), self.api(cluster).get(name)).await;
        let whose =
            "correct the workload where the estate file or the runbook names it, or deploy it";
        found.map_err(|error| or_absent(error, cluster, namespace, "deployments", whose))
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Adds to an error that says something is not there how to see what is, and what to do about it.
pub(crate) fn or_absent(
    error: ActionError,
    cluster: &Cluster,
    namespace: &str,
    resource: &str,
    then: &str,
) -> ActionError {
    if error.class != FailureClass::NotFound {
        return error;
    }
    let look = by_hand::kubernetes::list(&cluster.kubectl(), namespace, resource);
    error.hint(format!("see what is there: {look}; then {then}"))
}

/// Carries out calls to one API server, a few at a time, and returns their results in order.
async fn bounded<F: Future>(calls: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let calls: Vec<F> = calls.into_iter().collect();
    stream::iter(calls).buffered(PARALLEL).collect().await
}

/// Returns parameters that name this program as the author.
pub(crate) fn patch_params(dry_run: bool) -> PatchParams {
    PatchParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// One permission an action needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Permission<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    /// `resource` or `resource/subresource`
    pub resource: &'a str,
    pub namespace: &'a str,
}

/// Asks the server whether a permission is given; an error says which is missing. No answer is no objection:
/// the call itself will tell.
pub(crate) async fn permitted(
    clients: &Clients,
    cluster: &Cluster,
    permission: &Permission<'_>,
) -> Result<(), ActionError> {
    let (resource, subresource) = match permission.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (permission.resource, None),
    };
    let attributes = ResourceAttributes {
        verb: Some(permission.verb.to_owned()),
        group: Some(permission.group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        namespace: Some(permission.namespace.to_owned()),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let asked = read(clients, "review access", api.create(&PostParams::default(), &review)).await;
    let allowed = asked.ok().and_then(|review| review.status).is_none_or(|status| status.allowed);
    if allowed {
        return Ok(());
    }
    let Permission { verb, resource, namespace, group } = permission;
    let place = if group.is_empty() { String::new() } else { format!(" of {group}") };
    Err(ActionError::unchanged(
        FailureClass::Denied,
        format!(
            "context {} may not {verb} {resource}{place} in namespace {namespace}",
            cluster.context
        ),
    )
    .hint(format!("grant the verb `{verb}` on `{resource}`{place} in {namespace} to its user")))
}

/// Says whether a state lies between two others: every field has the value of one of them.
///
/// A change of several fields that broke off half way is such a state; anything else is another writer's.
pub(crate) fn lies_between(now: &Value, one: &Value, other: &Value) -> bool {
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (now, one, other) = (fields(now), fields(one), fields(other));
    let names = now.keys().chain(one.keys()).chain(other.keys());
    names.into_iter().all(|name| {
        let value = now.get(name);
        value == one.get(name) || value == other.get(name)
    })
}

/// Returns the error of an object another writer changed.
pub(crate) fn changed_meanwhile(what: &str, expected: &Value, now: &Value) -> ActionError {
    ActionError::unchanged(
        FailureClass::Conflict,
        format!("{what} was changed by someone else: expected {expected}, found {now}"),
    )
    .hint("find out who changed it; a retry looks anew")
}

#[cfg(test)]
mod real_tests;
#[cfg(test)]
mod rollout_tests;
#[cfg(test)]
mod tests;
