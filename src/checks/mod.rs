//! What only looks, a file per kind; `Checks` is the engine's port over all of them.
//!
//! A look ends `holds`, `fails` or `inconclusive`; whatever goes wrong with the look itself is inconclusive.
//! Deadlines and repetition are the engine's business.

mod aws_health;
mod command;
pub(crate) mod control;
pub(crate) mod dns;
mod http;
mod kubernetes;
mod postgres;
mod quorum;
mod rds;
mod route53;
mod s3;
mod tcp;

pub(crate) use kubernetes::has_pods;

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::clients::Clients;
use crate::engine::ports::Check;
use crate::outcome::{CheckReport, Verdict};
use crate::plan::CheckSpec;
use crate::runbook::catalogue::checks::CheckName;
use crate::runbook::expression::{Scope, evaluate_bool};
use control::Round;

/// Every check, by name.
pub(crate) struct Checks {
    pub clients: Arc<Clients>,
}

impl Check for Checks {
    fn look<'a>(&'a self, spec: &'a CheckSpec) -> BoxFuture<'a, CheckReport> {
        async move { judged(&self.clients, spec, &Round::alone()).await }.boxed()
    }
}

/// What one look found, before `that` and `expect`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub verdict: Verdict,
    /// In a few words
    pub said: String,
    pub value: Value,
    pub votes: Vec<CheckReport>,
    pub control: Option<String>,
}

impl Seen {
    /// Returns a look that found what it wants.
    pub(crate) fn holds(said: impl Into<String>, value: Value) -> Self {
        Self::new(Verdict::Holds, said, value)
    }

    /// Returns a look that found something else.
    pub(crate) fn fails(said: impl Into<String>, value: Value) -> Self {
        Self::new(Verdict::Fails, said, value)
    }

    /// Returns a look that could not tell.
    pub(crate) fn unclear(said: impl Into<String>) -> Self {
        Self::new(Verdict::Inconclusive, said, Value::Null)
    }

    fn new(verdict: Verdict, said: impl Into<String>, value: Value) -> Self {
        Self { verdict, said: said.into(), value, votes: Vec::new(), control: None }
    }
}

/// Looks once and judges what was seen by the spec's `that` and `expect`.
fn judged<'a>(
    clients: &'a Clients,
    spec: &'a CheckSpec,
    round: &'a Round,
) -> BoxFuture<'a, CheckReport> {
    async move {
        let seen = match CheckName::parse(&spec.check) {
            Some(name) => see(clients, name, &spec.with, round).await.unwrap_or_else(Seen::unclear),
            None => Seen::unclear(format!("there is no check `{}`", spec.check)),
        };
        let seen = criteria(spec, seen);
        CheckReport {
            title: spec.title.clone(),
            check: spec.check.clone(),
            verdict: seen.verdict,
            said: clients.masks.mask(&seen.said),
            value: seen.value,
            at: clients.clock.now(),
            votes: seen.votes,
            control: seen.control,
        }
    }
    .boxed()
}

async fn see(
    clients: &Clients,
    name: CheckName,
    with: &Map<String, Value>,
    round: &Round,
) -> Result<Seen, String> {
    Ok(match name {
        CheckName::Command => command::look(clients, &arguments(with)?).await,
        CheckName::Dns => dns::look(clients, &arguments(with)?).await,
        CheckName::Http => http::look(clients, &arguments(with)?, round).await,
        CheckName::Quorum => quorum::look(clients, &arguments(with)?, round).await,
        CheckName::Tcp => tcp::look(clients, &arguments(with)?, round).await,
        CheckName::AwsHealth => aws_health::look(clients, &arguments(with)?).await,
        CheckName::RdsStatus => rds::look(clients, &arguments(with)?, round).await,
        CheckName::Route53Answer => route53::look(clients, &arguments(with)?).await,
        CheckName::S3Object => s3::look(clients, &arguments(with)?).await,
        CheckName::KubernetesPods => kubernetes::pods(clients, &arguments(with)?).await,
        CheckName::KubernetesRollout => kubernetes::rollout(clients, &arguments(with)?).await,
        CheckName::PostgresConnections => postgres::connections(clients, &arguments(with)?).await,
        CheckName::PostgresEssentials => postgres::essentials(clients, &arguments(with)?).await,
        CheckName::PostgresQuery => postgres::query(clients, &arguments(with)?).await,
    })
}

/// Reads a check's arguments; the error names the one that does not fit.
fn arguments<T: DeserializeOwned>(with: &Map<String, Value>) -> Result<T, String> {
    serde_path_to_error::deserialize(Value::Object(with.clone())).map_err(|error| {
        let path = error.path().to_string();
        match path.as_str() {
            "." => format!("arguments: {}", error.inner()),
            path => format!("argument `{path}`: {}", error.inner()),
        }
    })
}

/// Applies `that` and `expect`: each must hold besides the check's own criterion.
fn criteria(spec: &CheckSpec, seen: Seen) -> Seen {
    if seen.verdict != Verdict::Holds {
        return seen;
    }
    let bare = spec.that.is_none() && spec.expect.is_none();
    if bare && spec.check == CheckName::PostgresQuery.name() && !postgres::truth(&seen.value) {
        return Seen { verdict: Verdict::Fails, ..seen };
    }
    if let Some(expect) = &spec.expect
        && *expect != seen.value
    {
        let said = format!("{} is not {expect}", seen.value);
        return Seen { verdict: Verdict::Fails, said, ..seen };
    }
    match spec.that.as_deref().map(|that| (that, holds_that(that, &seen.value))) {
        None | Some((_, Ok(true))) => seen,
        Some((that, Ok(false))) => {
            let said = format!("{}: `{that}` is false of {}", seen.said, seen.value);
            Seen { verdict: Verdict::Fails, said, ..seen }
        }
        Some((_, Err(why))) => {
            let said = format!("{}: cannot be told: {why}", seen.said);
            Seen { verdict: Verdict::Inconclusive, said, ..seen }
        }
    }
}

/// Evaluates a bare expression over `value`.
fn holds_that(that: &str, value: &Value) -> Result<bool, String> {
    let scope = Scope::over(Map::from_iter([("value".to_owned(), value.clone())]));
    evaluate_bool(that, &scope).map_err(|error| error.to_string())
}

#[cfg(test)]
mod aws_tests;
#[cfg(test)]
mod tests;
