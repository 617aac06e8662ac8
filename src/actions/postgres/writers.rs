//! The workloads that write to a database: where the database itself cannot be cut off, they are taken away from it.

use std::collections::BTreeMap;

use kube::api::Patch;
use serde_json::json;

use crate::actions::kubernetes::{Permission, Workload, patch_params, permitted};
use crate::clients::Clients;
use crate::clients::kubernetes::{Cluster, change, cluster};
use crate::clock::within;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};
use crate::span::Span;

/// Between two looks whether the pods have ended.
const EVERY: Span = Span::seconds(2);
/// Pods may take so long to end.
const ENDS: Span = Span::minutes(2);
/// Tries of one patch against an object whose status changes all the time.
const TRIES_MAX: u32 = 3;

/// Replicas asked for, by workload as `namespace/name`.
pub(super) type Writers = BTreeMap<String, i32>;

/// Reads the writers of a region: the workloads the estate restarts when their database changes.
pub(super) async fn look(clients: &Clients, region: &str) -> Result<Writers, ActionError> {
    let cluster = cluster(clients, region).await?;
    let mut writers = Writers::new();
    for name in names(clients) {
        let workload = Workload::parse(name)?;
        let found = workload.get(clients, &cluster).await?;
        let asked = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let namespace = workload.namespace.as_str();
        let (group, resource) = ("apps", "deployments/scale");
        let permission = Permission { verb: "patch", group, resource, namespace };
        permitted(clients, &cluster, &permission).await?;
        writers.insert(name.clone(), asked);
    }
    Ok(writers)
}

fn names(clients: &Clients) -> &[String] {
    let database = clients.estate.database.as_ref();
    let application = database.and_then(|database| database.application.as_ref());
    application.map(|application| application.restart.as_slice()).unwrap_or_default()
}

/// Scales writers, and waits until those that are to have no pods have none.
pub(super) async fn scale(
    clients: &Clients,
    call: &Call,
    region: &str,
    writers: &Writers,
) -> Result<(), ActionError> {
    let cluster = cluster(clients, region).await?;
    for (done, (name, replicas)) in writers.iter().enumerate() {
        let scaled = scale_one(clients, &cluster, name, *replicas).await;
        scaled.map_err(|error| if done > 0 { applied(error) } else { error })?;
    }
    for (name, _) in writers.iter().filter(|(_, replicas)| **replicas == 0) {
        let ended = within(&*clients.clock, ENDS.duration(), gone(clients, call, &cluster, name));
        ended
            .await
            .unwrap_or_else(|_| {
                let message = format!("pods of {name} in {region} are still there after {ENDS}");
                Err(ActionError::unchanged(FailureClass::Timeout, message))
            })
            .map_err(applied)?;
    }
    Ok(())
}

fn applied(error: ActionError) -> ActionError {
    ActionError { effect: crate::outcome::Effect::Applied, ..error }
}

async fn scale_one(
    clients: &Clients,
    cluster: &Cluster,
    name: &str,
    replicas: i32,
) -> Result<(), ActionError> {
    let workload = Workload::parse(name)?;
    let mut tries = 1;
    loop {
        let found = workload.get(clients, cluster).await?;
        if found.spec.as_ref().and_then(|spec| spec.replicas) == Some(replicas) {
            return Ok(());
        }
        let patch = Patch::Merge(json!({
            "metadata": { "resourceVersion": found.metadata.resource_version },
            "spec": { "replicas": replicas },
        }));
        let what = format!("scale {workload} to {replicas}");
        let api = workload.api(cluster);
        let params = patch_params(false);
        let answer = change(clients, &what, api.patch_scale(&workload.name, &params, &patch)).await;
        match answer {
            Err(error) if error.class == FailureClass::Conflict && tries < TRIES_MAX => tries += 1,
            done => return done.map(drop),
        }
    }
}

/// Waits until a workload has no pods.
async fn gone(
    clients: &Clients,
    call: &Call,
    cluster: &Cluster,
    name: &str,
) -> Result<(), ActionError> {
    let workload = Workload::parse(name)?;
    loop {
        let found = workload.get(clients, cluster).await?;
        let left = found.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
        if left == 0 {
            return Ok(());
        }
        call.progress.tell(format!("{left} pods of {name} are ending"), None);
        clients.clock.sleep(EVERY.duration()).await;
    }
}
