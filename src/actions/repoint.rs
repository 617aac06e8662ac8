//! Action `database.repoint`: tells the application where its database is now, and restarts it so that it listens.
//!
//! A pod reads its endpoint once. So a mark on the pod template with the address says which pods have read it:
//! values that are right with pods that are older are not done. Where the mark of an earlier run names the address
//! already, the run's id behind it makes it another. Nor is it done before the application's roles were seen to write there,
//! and what the application reads to lead there.

mod cname;
mod fenced;
mod name;
mod object;
mod proof;
mod service;
mod write;

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::kubernetes::Workload;
use super::kubernetes::restart::{self, Mark};
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::kubernetes::{Cluster, cluster};
use crate::clients::tcp;
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::estate::types::ApplicationEndpoint;
use crate::ids::RunId;
use crate::outcome::{ActionError, Difference, Effect, FailureClass, Fidelity, Obligation, WARNS};
use crate::runbook::catalogue::actions::DatabaseRepoint;
use crate::span::Span;
use object::{Kind, Object};

/// Holds the address a workload's pods were started for.
const MARK: &str = "phoenix-dr/database";

/// Where the endpoint is kept.
enum Holder<'a> {
    Object(Object<'a>),
    Cname(cname::Record<'a>),
    Service(service::Service<'a>),
}

/// The cluster's own resolver keeps an answer so long, as it is shipped: a Service has no TTL to read.
const CLUSTER_KEEPS: Duration = Duration::from_secs(30);

/// Everything one call works on.
struct Scene<'a> {
    holder: Holder<'a>,
    cluster: std::sync::Arc<Cluster>,
    workloads: Vec<Workload>,
    host: &'a str,
    port: u16,
}

impl<'a> Scene<'a> {
    async fn set(clients: &'a Clients, with: &'a DatabaseRepoint) -> Result<Self, ActionError> {
        let invalid = |message: String| ActionError::unchanged(FailureClass::Invalid, message);
        let database = crate::clients::postgres::database(clients)?;
        let application = database.application.as_ref().ok_or_else(|| {
            invalid(
                "the estate does not say how the application learns its database's endpoint"
                    .to_owned(),
            )
            .hint("describe it in `database.application` of the estate file")
        })?;
        let (host, port) = tcp::split(&with.address, Some(5432))
            .map_err(|error| invalid(format!("argument `address`: {error}")))?;
        let cluster = cluster(clients, &with.region).await?;
        let workloads: Result<Vec<Workload>, ActionError> =
            application.restart.iter().map(|text| Workload::parse(text)).collect();
        let scene =
            Self { holder: holder(application, with)?, cluster, workloads: workloads?, host, port };
        match &scene.holder {
            Holder::Object(_) => {}
            Holder::Cname(_) | Holder::Service(_) => {
                name::fits(database, &scene.what(), with, (host, port))?;
            }
        }
        Ok(scene)
    }

    /// Reads what the endpoint's holder says and which address the pods were started for.
    async fn look(&self, clients: &Clients) -> Result<(Value, bool), ActionError> {
        let endpoint = match &self.holder {
            Holder::Object(object) => object.values(clients, &self.cluster).await?,
            Holder::Cname(record) => record.target(clients).await?,
            Holder::Service(service) => service.target(clients, &self.cluster).await?,
        };
        let (pods, complete) =
            restart::read_marks(clients, &self.cluster, &self.workloads, MARK).await?;
        Ok((json!({ "endpoint": endpoint, "pods": pods }), complete))
    }

    /// Returns what the run wants: a pod whose mark names the address while its endpoint does not was started for it
    /// earlier, and has to be started once more.
    fn desired(&self, live: &Value, run: &RunId) -> Value {
        let endpoint = match &self.holder {
            Holder::Object(object) => object.desired(&live["endpoint"], self.host, self.port),
            Holder::Cname(record) => record.desired(self.host),
            Holder::Service(service) => service.desired(self.host),
        };
        let address = format!("{}:{}", self.host, self.port);
        let again = format!("{address} {run}");
        let told = endpoint == live["endpoint"];
        let mark = |name: String| {
            let present = live["pods"][&name].as_str();
            let started = present.filter(|mark| mark.split(' ').next() == Some(&address));
            let mark = match started {
                Some(mark) if told => mark.to_owned(),
                Some(_) => again.clone(),
                None => address.clone(),
            };
            (name, json!(mark))
        };
        let names = self.workloads.iter().map(Workload::to_string);
        let pods: Map<String, Value> = names.map(mark).collect();
        json!({ "endpoint": endpoint, "pods": pods })
    }

    /// Brings the endpoint from one value to another; says whether it had to be changed.
    async fn write(
        &self,
        clients: &Clients,
        call: &Call,
        from: &Value,
        to: &Value,
        dry_run: bool,
    ) -> Result<bool, ActionError> {
        match &self.holder {
            Holder::Object(object) => object.write(clients, &self.cluster, from, to, dry_run).await,
            Holder::Service(service) => {
                service.write(clients, &self.cluster, from, to, dry_run).await
            }
            // Route 53 has no dry run; the observation has read the record.
            Holder::Cname(_) if dry_run => Ok(false),
            Holder::Cname(record) => record.write(clients, call, from, to).await,
        }
    }

    fn what(&self) -> String {
        match &self.holder {
            Holder::Object(object) => object.to_string(),
            Holder::Cname(record) => record.to_string(),
            Holder::Service(service) => service.to_string(),
        }
    }

    /// Returns how long a resolver may keep what the endpoint said before, where one is asked and pods are to ask again.
    fn kept(&self, from: &Value, to: &Value) -> Duration {
        if from["pods"] == to["pods"] {
            return Duration::ZERO;
        }
        let ttl =
            |state: &Value| Duration::from_secs(state["endpoint"]["ttl"].as_u64().unwrap_or(0));
        match &self.holder {
            Holder::Object(_) => Duration::ZERO,
            // Of an attempt that was killed behind the change the former TTL is not known any more.
            Holder::Cname(_) => ttl(from).max(ttl(to)),
            Holder::Service(_) => CLUSTER_KEEPS,
        }
    }

    /// Returns host and port as the application reads them now.
    async fn way_in(&self, clients: &Clients) -> Result<(String, u16), ActionError> {
        let told = match &self.holder {
            Holder::Object(object) => {
                let values = object.values(clients, &self.cluster).await?;
                object.way_in(&values, self.port)
            }
            Holder::Cname(record) => {
                let set = record.target(clients).await?;
                set["target"].as_str().map(|target| (target.to_owned(), self.port))
            }
            Holder::Service(service) => {
                let spec = service.target(clients, &self.cluster).await?;
                spec[service::FIELD].as_str().map(|target| (target.to_owned(), self.port))
            }
        };
        told.ok_or_else(|| {
            let message = format!("{} names no host and port any more", self.what());
            ActionError::unchanged(FailureClass::Conflict, message)
                .hint("find out who changed it; a retry looks anew")
        })
    }

    fn commands(&self, desired: &Value) -> Vec<String> {
        let mut commands = match &self.holder {
            Holder::Object(object) => vec![object.command(&self.cluster, &desired["endpoint"])],
            Holder::Cname(record) => vec![record.command(&desired["endpoint"])],
            Holder::Service(service) => {
                vec![service.command(&self.cluster, &desired["endpoint"])]
            }
        };
        commands.extend(restart::kubectl(&self.cluster, &self.workloads));
        commands
    }

    /// Has the pods restarted that were started for another address.
    async fn restart(
        &self,
        clients: &Clients,
        from: &Value,
        to: &Value,
    ) -> Result<(), ActionError> {
        let mark = Mark { annotation: MARK, from, to, dry_run: false };
        restart::mark(clients, &self.cluster, &self.workloads, mark).await
    }
}

fn holder<'a>(
    application: &'a ApplicationEndpoint,
    with: &'a DatabaseRepoint,
) -> Result<Holder<'a>, ActionError> {
    let ApplicationEndpoint { secret, config_map, cname, service, .. } = application;
    match (secret, config_map, cname, service) {
        (Some(key), None, None, None) => Ok(Holder::Object(Object { kind: Kind::Secret, key })),
        (None, Some(key), None, None) => Ok(Holder::Object(Object { kind: Kind::ConfigMap, key })),
        (None, None, Some(record), None) => {
            Ok(Holder::Cname(cname::Record { record, region: &with.region }))
        }
        (None, None, None, Some(service)) => Ok(Holder::Service(service::Service { service })),
        _ => Err(ActionError::unchanged(
            FailureClass::Invalid,
            "`database.application` must name exactly one of secret, config_map, cname and service",
        )),
    }
}

/// Reads the endpoint and the marks; satisfied when all are as desired and every pod has rolled out.
pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &DatabaseRepoint,
) -> Result<Observation, ActionError> {
    let scene = Scene::set(clients, with).await?;
    let (live, complete) = scene.look(clients).await?;
    let desired = scene.desired(&live, &call.run);
    let mut seen = Observation::new(live, desired);
    // Before the first change; later a key that somebody takes away is a conflict, when it is taken back as well.
    if !clients.guard.is_armed()
        && let Holder::Object(object) = &scene.holder
    {
        object.has_keys(clients, &scene.cluster).await?;
    }
    if !clients.guard.is_armed() && !seen.satisfied {
        let (from, to) = (&seen.live, &seen.desired);
        scene.write(clients, call, &from["endpoint"], &to["endpoint"], true).await?;
        let mark = Mark { annotation: MARK, from: &from["pods"], to: &to["pods"], dry_run: true };
        restart::validate(clients, &scene.cluster, &scene.workloads, mark).await?;
        seen.fidelity = match scene.holder {
            Holder::Object(_) | Holder::Service(_) => Fidelity::Validated,
            Holder::Cname(_) => Fidelity::Observed,
        };
    }
    seen.under_way = seen.satisfied && !complete;
    seen.satisfied &= complete;
    // Killed before the proof, or the proof failed: what is told and read may be of no use to the application.
    if seen.satisfied
        && let Some(why) = Box::pin(proof::missing(clients, with)).await
    {
        seen.evidence.push(why);
        (seen.satisfied, seen.under_way) = (false, true);
    }
    // A dry run looks before anything is fenced. A way back looks as well, and must not be barred: what is open is said here,
    // and refused right before the application is told.
    if clients.guard.is_armed() {
        let found = Box::pin(fenced::holds(clients, with, &seen.live, &seen.desired)).await;
        let said = found.unwrap_or_else(|error| Some(format!("{WARNS}{error}")));
        seen.evidence.extend(said);
    }
    seen.differences = differences(&scene, &seen.live, &seen.desired);
    if seen.satisfied {
        seen.obligations = damaged(clients, with)?.into_iter().collect();
    }
    let kept = scene.kept(&seen.live, &seen.desired);
    if !kept.is_zero() {
        seen.evidence.push(format!(
            "resolvers may keep the former answer for {} after the change: pods are restarted then",
            Span(kept)
        ));
    }
    seen.commands = scene.commands(&seen.desired);
    if let Holder::Object(object) = &scene.holder
        && let Some(line) = object.remark(&seen.live["endpoint"], scene.port)
    {
        seen.evidence.push(line);
    }
    if scene.workloads.is_empty() {
        seen.evidence.push(
            "`database.application.restart` names no workload: pods that are up keep the old endpoint"
                .to_owned(),
        );
    }
    Ok(seen)
}

fn differences(scene: &Scene<'_>, live: &Value, desired: &Value) -> Vec<Difference> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "not there".to_owned(),
        other => other.to_string(),
    };
    let what = scene.what();
    let mut differences = Vec::new();
    for (name, to) in desired["endpoint"].as_object().into_iter().flatten() {
        let from = &live["endpoint"][name];
        if from != to {
            let what = format!("{what} {name}");
            differences.push(Difference { what, from: text(from), to: text(to) });
        }
    }
    for workload in &scene.workloads {
        let name = workload.to_string();
        if live["pods"][&name] != desired["pods"][&name] {
            differences.push(Difference {
                what: format!("{name} pods"),
                from: "running".to_owned(),
                to: "restarted".to_owned(),
            });
        }
    }
    differences
}

/// Returns what stays open where the step says which database is given up: it keeps its name, and nothing deletes it.
fn damaged(clients: &Clients, with: &DatabaseRepoint) -> Result<Option<Obligation>, ActionError> {
    let Some(id) = &with.damaged else { return Ok(None) };
    let database = crate::clients::postgres::database(clients)?;
    if !database.on_rds() {
        return Ok(Some(Obligation {
            id: format!("damaged-{id}"),
            say: format!("the damaged server {id} is kept under its name, fenced"),
            how: "look into it; once nobody wants it any more, by hand: stop it, and remove its data directory".to_owned(),
            closed_by: None,
        }));
    }
    let region = &database.primary.region;
    Ok(Some(Obligation {
        id: format!("damaged-{id}"),
        say: format!(
            "the damaged instance is kept as {id} in {region}, fenced, and costs what it did"
        ),
        how: format!(
            "look into it; once nobody wants it any more, with a last snapshot of it:\n$ {}",
            by_hand::rds::deleted(region, id).join("\n$ ")
        ),
        closed_by: Some(json!({
            "check": "rds.status",
            "title": format!("{id} is gone from {region}"),
            "with": { "region": region, "instance": id, "states": ["deleted"] },
        })),
    }))
}

fn applied(error: ActionError) -> ActionError {
    ActionError { effect: Effect::Applied, ..error }
}

/// Writes the endpoint, restarts the application, waits until it runs, and proves that it can use what it was told.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &DatabaseRepoint,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let scene = Scene::set(clients, with).await?;
    let (from, to) = (&seen.live, &seen.desired);
    Box::pin(proof::lets_in(clients, with)).await?;
    let (what, kept) = (scene.what(), scene.kept(from, to));
    name::outlasts(clients, call, &what, kept)?;
    let unsure = Box::pin(fenced::holds(clients, with, from, to)).await?;
    let wrote = scene.write(clients, call, &from["endpoint"], &to["endpoint"], false).await?;
    let restarted = async {
        name::forgotten(clients, call, &what, kept).await;
        scene.restart(clients, &from["pods"], &to["pods"]).await?;
        restart::rolled_out(clients, &scene.cluster, call, &scene.workloads).await?;
        Box::pin(proof::proved(clients, call, with, &scene)).await
    };
    let proofs = restarted.await.map_err(|error| if wrote { applied(error) } else { error })?;
    let mut notes = vec![format!("{what} names {}", with.address)];
    notes.extend(scene.workloads.iter().map(|workload| format!("restarted {workload}")));
    notes.extend(proofs);
    notes.extend(unsure);
    let obligations = damaged(clients, with)?.into_iter().collect();
    Ok(Performed { after: to.clone(), outputs: Map::new(), obligations, notes })
}

/// Writes the endpoint back as it was and restarts the application once more.
///
/// Whether the pods come up then is not waited for: the database they go back to may be lost, or fenced by a step that
/// is reverted after this one.
pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &DatabaseRepoint,
    image: &Image,
) -> Result<(), ActionError> {
    let scene = Scene::set(clients, with).await?;
    let (ours, before) = (&image.ours, &image.before);
    let wrote = scene.write(clients, call, &ours["endpoint"], &before["endpoint"], false).await?;
    // With the time there is: a pod that is restarted too early connects once more to what it is to leave.
    name::forgotten(clients, call, &scene.what(), scene.kept(ours, before)).await;
    let restarted = scene.restart(clients, &ours["pods"], &before["pods"]).await;
    restarted.map_err(|error| if wrote { applied(error) } else { error })
}

#[cfg(test)]
#[path = "repoint_tests.rs"]
mod tests;
