//! What changes the world, a file per service; `Actions` is the engine's port over all of them.

mod artifact;
mod choice;
mod command;
mod experiments;
pub(crate) mod foresee;
pub(crate) mod kubernetes;
mod manual;
mod played;
pub(crate) mod postgres;
mod rds;
mod repoint;
mod route53;
mod s3;
pub(crate) mod traffic;
mod wait;

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clients::Clients;
use crate::engine::ports::{Action, Armed, Call, Image, Observation, Performed};
use crate::outcome::{ActionError, Effect, FailureClass, Obligation};
use crate::runbook::catalogue::actions::ActionName;
use experiments::rebuild;
use kubernetes::{apply, restart, scale};
use played::Part;
use postgres::{
    analyze, assess, choose, cut_over, dump, evidence, fence, point_in_time, prove, restore,
};
use rds::{candidates, promote, protect, recover, restore_point_in_time, restore_snapshot};

/// Every action, by name.
pub(crate) struct Actions {
    pub clients: Arc<Clients>,
}

impl Action for Actions {
    fn observe<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Observation, ActionError>> {
        async move {
            match Box::pin(observe(&self.clients, call)).await {
                Err(error) if refused(&error) => Box::pin(observe(&self.clients, call)).await,
                seen => seen,
            }
        }
        .boxed()
    }

    fn perform<'a>(
        &'a self,
        armed: &'a Armed,
        call: &'a Call,
        seen: &'a Observation,
    ) -> BoxFuture<'a, Result<Performed, ActionError>> {
        async move {
            match Box::pin(perform(&self.clients, armed, call, seen)).await {
                Err(error) if refused(&error) => {
                    Box::pin(perform(&self.clients, armed, call, seen)).await
                }
                done => done,
            }
        }
        .boxed()
    }

    fn revert<'a>(
        &'a self,
        armed: &'a Armed,
        call: &'a Call,
        image: &'a Image,
    ) -> BoxFuture<'a, Result<(), ActionError>> {
        async move {
            match Box::pin(revert(&self.clients, armed, call, image)).await {
                Err(error) if refused(&error) => {
                    Box::pin(revert(&self.clients, armed, call, image)).await
                }
                done => done,
            }
        }
        .boxed()
    }

    fn settles(&self, call: &Call, done: &Performed) -> Vec<String> {
        if name(call).ok() != Some(ActionName::PostgresAssess) {
            return Vec::new();
        }
        let with = arguments(call);
        with.map(|with| assess::settled(&self.clients, &with, done)).unwrap_or_default()
    }

    fn without(&self, call: &Call) -> Option<Obligation> {
        match name(call).ok()? {
            ActionName::PostgresFence => {
                arguments(call).ok().map(|with| fence::not_made(&self.clients, &with))
            }
            ActionName::PostgresEvidence => {
                arguments(call).ok().map(|with| evidence::without::none(&self.clients, &with))
            }
            ActionName::CommandRun
            | ActionName::DatabaseRepoint
            | ActionName::ExperimentsRebuild
            | ActionName::KubernetesApply
            | ActionName::KubernetesRestart
            | ActionName::KubernetesScale
            | ActionName::Manual
            | ActionName::PostgresAnalyze
            | ActionName::PostgresAssess
            | ActionName::PostgresChooseRecoveryPoint
            | ActionName::PostgresCutOver
            | ActionName::PostgresDump
            | ActionName::PostgresProve
            | ActionName::PostgresRestore
            | ActionName::PostgresRestorePointInTime
            | ActionName::RdsChooseRecoveryPoint
            | ActionName::RdsCutOver
            | ActionName::RdsPromoteReplica
            | ActionName::RdsProtect
            | ActionName::RdsRecover
            | ActionName::RdsRestorePointInTime
            | ActionName::RdsRestoreSnapshot
            | ActionName::Route53Weights
            | ActionName::S3FailoverObject
            | ActionName::TrafficShift
            | ActionName::Wait => None,
        }
    }
}

/// Says whether a call failed by its credentials alone. The next one reads them anew, and they may have been renewed
/// since: that is tried once before anybody is asked.
fn refused(error: &ActionError) -> bool {
    error.class == FailureClass::Credentials && error.effect == Effect::None
}

fn name(call: &Call) -> Result<ActionName, ActionError> {
    ActionName::parse(&call.action).ok_or_else(|| {
        ActionError::unchanged(
            FailureClass::Invalid,
            format!("there is no action `{}`", call.action),
        )
    })
}

/// Reads an action's arguments; the error names the one that does not fit.
fn arguments<T: DeserializeOwned>(call: &Call) -> Result<T, ActionError> {
    serde_path_to_error::deserialize(Value::Object(call.with.clone())).map_err(|error| {
        let path = error.path().to_string();
        let argument = match path.as_str() {
            "." => "arguments".to_owned(),
            path => format!("argument `{path}`"),
        };
        ActionError::unchanged(
            FailureClass::Invalid,
            format!("{} {argument}: {}", call.action, error.inner()),
        )
    })
}

async fn observe(clients: &Clients, call: &Call) -> Result<Observation, ActionError> {
    if let Some(played) = Part::of(clients, name(call)?, call)? {
        return Ok(played.observe(call));
    }
    match name(call)? {
        ActionName::CommandRun => command::observe(clients, call, &arguments(call)?).await,
        ActionName::DatabaseRepoint => repoint::observe(clients, call, &arguments(call)?).await,
        ActionName::ExperimentsRebuild => rebuild::observe(clients, call, &arguments(call)?).await,
        ActionName::KubernetesApply => apply::observe(clients, call, &arguments(call)?).await,
        ActionName::KubernetesRestart => restart::observe(clients, call, &arguments(call)?).await,
        ActionName::KubernetesScale => scale::observe(clients, call, &arguments(call)?).await,
        ActionName::Manual => manual::observe(clients, call, &arguments(call)?).await,
        ActionName::PostgresAnalyze => analyze::observe(clients, call, &arguments(call)?).await,
        ActionName::PostgresAssess => assess::observe(clients, call, &arguments(call)?).await,
        ActionName::PostgresChooseRecoveryPoint => {
            choose::observe(clients, call, &arguments(call)?).await
        }
        ActionName::PostgresCutOver => cut_over::observe(clients, call, &arguments(call)?).await,
        ActionName::PostgresDump => dump::observe(clients, call, &arguments(call)?).await,
        ActionName::PostgresEvidence => evidence::observe(clients, call, &arguments(call)?).await,
        ActionName::PostgresFence => fence::observe(clients, call, &arguments(call)?).await,
        ActionName::PostgresProve => prove::observe(clients, call, &arguments(call)?).await,
        ActionName::PostgresRestore => restore::observe(clients, call, &arguments(call)?).await,
        ActionName::PostgresRestorePointInTime => {
            point_in_time::observe(clients, call, &arguments(call)?).await
        }
        ActionName::RdsChooseRecoveryPoint => {
            candidates::observe(clients, call, &arguments(call)?).await
        }
        ActionName::RdsCutOver => rds::cut_over::observe(clients, call, &arguments(call)?).await,
        ActionName::RdsPromoteReplica => promote::observe(clients, call, &arguments(call)?).await,
        ActionName::RdsProtect => protect::observe(clients, call, &arguments(call)?).await,
        ActionName::RdsRecover => recover::observe(clients, call, &arguments(call)?).await,
        ActionName::RdsRestorePointInTime => {
            restore_point_in_time::observe(clients, call, &arguments(call)?).await
        }
        ActionName::RdsRestoreSnapshot => {
            restore_snapshot::observe(clients, call, &arguments(call)?).await
        }
        ActionName::Route53Weights => route53::observe(clients, call, &arguments(call)?).await,
        ActionName::S3FailoverObject => s3::observe(clients, call, &arguments(call)?).await,
        ActionName::TrafficShift => traffic::observe(clients, call, &arguments(call)?).await,
        ActionName::Wait => wait::observe(clients, call, &arguments(call)?).await,
    }
}

async fn perform(
    clients: &Clients,
    armed: &Armed,
    call: &Call,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    match Part::of(clients, name(call)?, call)? {
        Some(played) => played.perform(clients, call, seen).await,
        None => Box::pin(carry_out(clients, armed, call, seen)).await,
    }
}

async fn carry_out(
    clients: &Clients,
    armed: &Armed,
    call: &Call,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    use ActionName as Name;
    match name(call)? {
        Name::CommandRun => command::perform(clients, armed, call, &arguments(call)?, seen).await,
        Name::DatabaseRepoint => {
            repoint::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        Name::ExperimentsRebuild => {
            rebuild::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        Name::KubernetesApply => {
            apply::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        Name::KubernetesRestart => {
            restart::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        Name::KubernetesScale => {
            scale::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        Name::Manual => manual::perform(clients, armed, call, &arguments(call)?, seen).await,
        Name::PostgresAnalyze => {
            analyze::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        Name::PostgresAssess => {
            assess::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        Name::PostgresChooseRecoveryPoint => choose::perform(armed, call, seen),
        Name::PostgresCutOver => {
            cut_over::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        Name::PostgresDump => dump::perform(clients, armed, call, &arguments(call)?, seen).await,
        Name::PostgresEvidence => evidence::perform(clients, armed, call, &arguments(call)?).await,
        Name::PostgresFence => fence::perform(clients, armed, call, &arguments(call)?, seen).await,
        Name::PostgresProve => prove::perform(clients, armed, call, &arguments(call)?, seen).await,
        Name::PostgresRestore => {
            restore::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        Name::PostgresRestorePointInTime => {
            point_in_time::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        Name::RdsChooseRecoveryPoint => candidates::perform(armed, call, seen),
        Name::RdsCutOver => {
            rds::cut_over::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        Name::RdsPromoteReplica => {
            promote::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        Name::RdsProtect => protect::perform(clients, armed, call, &arguments(call)?, seen).await,
        Name::RdsRecover => recover::perform(clients, armed, call, &arguments(call)?, seen).await,
        Name::RdsRestorePointInTime => {
            restore_point_in_time::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        Name::RdsRestoreSnapshot => {
            restore_snapshot::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        Name::Route53Weights => {
            route53::perform(clients, armed, call, &arguments(call)?, seen).await
        }
        Name::S3FailoverObject => s3::perform(clients, armed, call, &arguments(call)?, seen).await,
        Name::TrafficShift => traffic::perform(clients, armed, call, &arguments(call)?, seen).await,
        Name::Wait => wait::perform(clients, armed, call, &arguments(call)?, seen).await,
    }
}

async fn revert(
    clients: &Clients,
    armed: &Armed,
    call: &Call,
    image: &Image,
) -> Result<(), ActionError> {
    use ActionName as Name;
    if let Some(played) = Part::of(clients, name(call)?, call)? {
        return played.revert(clients, call).await;
    }
    match name(call)? {
        Name::CommandRun => command::revert(clients, armed, call, &arguments(call)?, image).await,
        Name::DatabaseRepoint => {
            repoint::revert(clients, armed, call, &arguments(call)?, image).await
        }
        Name::ExperimentsRebuild => rebuild::revert(clients, armed, call, &arguments(call)?).await,
        Name::KubernetesApply => {
            apply::revert(clients, armed, call, &arguments(call)?, image).await
        }
        Name::KubernetesRestart => {
            restart::revert(clients, armed, call, &arguments(call)?, image).await
        }
        Name::KubernetesScale => {
            scale::revert(clients, armed, call, &arguments(call)?, image).await
        }
        Name::Manual => manual::revert(clients, armed, call, &arguments(call)?, image).await,
        Name::PostgresCutOver => {
            cut_over::revert(clients, armed, call, &arguments(call)?, image).await
        }
        Name::PostgresDump => dump::revert(call),
        Name::PostgresEvidence => evidence::revert(call),
        Name::PostgresFence => fence::revert(clients, armed, call, &arguments(call)?, image).await,
        Name::PostgresAnalyze | Name::PostgresProve => Ok(()),
        Name::PostgresRestore => restore::revert(clients, armed, call, &arguments(call)?).await,
        Name::PostgresRestorePointInTime => point_in_time::revert(clients, armed, call).await,
        Name::PostgresAssess | Name::PostgresChooseRecoveryPoint | Name::RdsChooseRecoveryPoint => {
            Ok(())
        }
        Name::RdsCutOver => {
            rds::cut_over::revert(clients, armed, call, &arguments(call)?, image).await
        }
        Name::RdsPromoteReplica => promote::revert(&arguments(call)?, image),
        Name::RdsProtect => protect::revert(clients, armed, call, &arguments(call)?, image).await,
        Name::RdsRecover => recover::revert(clients, armed, call, &arguments(call)?, image).await,
        Name::RdsRestorePointInTime => {
            restore_point_in_time::revert(clients, armed, call, &arguments(call)?, image).await
        }
        Name::RdsRestoreSnapshot => {
            restore_snapshot::revert(clients, armed, call, &arguments(call)?, image).await
        }
        Name::Route53Weights => {
            route53::revert(clients, armed, call, &arguments(call)?, image).await
        }
        Name::S3FailoverObject => s3::revert(clients, armed, call, &arguments(call)?, image).await,
        Name::TrafficShift => traffic::revert(clients, armed, call, &arguments(call)?, image).await,
        Name::Wait => wait::revert(clients, armed, call, &arguments(call)?, image).await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use aws_sdk_sts::config::{Credentials, SharedCredentialsProvider};
    use serde_json::json;

    use super::*;
    use crate::clients::aws::testing::{Reply, Script, call, renewable, rest_error};

    /// A bucket that calls every access key but one expired.
    fn bucket(key: &'static str) -> Script {
        Script::new(move |sent, _| match (sent.key == key, sent.action.split(' ').next()) {
            (false, Some("HEAD")) => Reply::Answer(400, String::new()),
            (false, _) => rest_error(403, "ExpiredToken", "the security token has expired"),
            (true, Some("HEAD")) => Reply::Answer(404, String::new()),
            (true, _) => Reply::Answer(200, String::new()),
        })
    }

    /// An action whose credentials end, and are other ones each time they are read.
    fn actions(script: &Script) -> Actions {
        let reads = AtomicU32::new(0);
        let mut clients = renewable(script, move || {
            let key = if reads.fetch_add(1, Ordering::SeqCst) == 0 { "OLD" } else { "NEW" };
            let keys = Credentials::new(key, "SECRET", None, None, "test");
            SharedCredentialsProvider::new(keys)
        });
        let mut estate = (*clients.estate).clone();
        let object = json!({ "bucket": "switch", "region": "us-west-2", "key": "key" });
        estate.dns.as_mut().expect("a name").failover_object =
            Some(serde_json::from_value(object).expect("an object"));
        clients.estate = Arc::new(estate);
        Actions { clients: Arc::new(clients) }
    }

    #[tokio::test]
    async fn credentials_that_were_renewed_are_tried_before_anybody_is_asked() {
        let (mut call, _news) = call("s3.failover_object");
        call.with = json!({ "from": "us-east-1", "to": "us-west-2" })
            .as_object()
            .expect("arguments")
            .clone();
        let seen = actions(&bucket("NEW")).observe(&call).await.expect("seen with the new ones");
        assert_eq!(seen.live, json!({ "present": false }));
        let script = bucket("NEITHER");
        let error = actions(&script).observe(&call).await.expect_err("a person must renew them");
        assert_eq!(error.class, FailureClass::Credentials);
        let keys: Vec<String> = script.sent().into_iter().map(|sent| sent.key).collect();
        assert_eq!(keys, ["OLD", "NEW"], "once, not for ever");
    }
}
