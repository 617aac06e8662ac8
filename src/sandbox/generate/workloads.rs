//! The clusters: the workloads of the services, and what tells the application where its database is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::super::estate::{PORT, base64, endpoint};
use super::super::kubernetes::{selected, selects};
use super::super::world::{Kind, WorldCluster};
use super::Making;
use crate::estate::types::{ApplicationEndpoint, Estate, ObjectKey, Priority};

/// A name that leads nowhere.
const NOBODY: &str = "database.rehearsal.invalid";
/// What a workload's own pods are known by.
const NAME: &str = "app.kubernetes.io/name";
/// Namespaces every cluster has.
const ALWAYS: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// A workload: how many replicas it has where it is warm, and where it takes all traffic.
#[derive(Debug, Clone, Copy)]
struct Replicas {
    warm: i32,
    full: i32,
}

pub(super) fn make(making: &mut Making<'_>) {
    let workloads = workloads(making.estate);
    let application = application(making.estate);
    let labels = labels(application, &workloads);
    for region in making.estate.clusters.keys() {
        let warm = making.takes_over(region);
        let mut objects = namespaces(&workloads, application);
        for (workload, replicas) in &workloads {
            let count = if warm { replicas.warm } else { replicas.full };
            objects.push(deployment(workload, count, labels.get(workload)));
        }
        objects.extend(holder(making, application));
        let objects = objects.into_iter().filter_map(|object| match object {
            Value::Object(object) => Some(object),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => None,
        });
        let cluster = WorldCluster { objects: objects.collect(), ..WorldCluster::default() };
        making.clusters.insert(region.clone(), cluster);
    }
    if !making.clusters.is_empty() {
        let said = "Deployments of the services' workloads alone, P0 with one pod where warm, others with \
                    none; room for all, ready after 25s; no autoscalers";
        making.guess("the clusters", None, said);
    }
}

/// Returns the workloads of the most urgent services, where a region has a cluster.
pub(super) fn urgent(estate: &Estate, region: &str) -> Vec<String> {
    if !estate.clusters.contains_key(region) {
        return Vec::new();
    }
    let urgent = estate.services.iter().filter(|service| service.priority == Priority::P0);
    urgent.filter_map(|service| service.workload.clone()).collect()
}

fn application(estate: &Estate) -> Option<&ApplicationEndpoint> {
    estate.database.as_ref()?.application.as_ref()
}

/// Returns every workload the estate names.
fn workloads(estate: &Estate) -> BTreeMap<String, Replicas> {
    let mut workloads = BTreeMap::new();
    for service in &estate.services {
        let Some(workload) = &service.workload else { continue };
        let full = service.replicas.unwrap_or(1).max(0);
        let warm = if service.priority == Priority::P0 { full.min(1) } else { 0 };
        workloads.insert(workload.clone(), Replicas { warm, full });
    }
    for workload in application(estate).into_iter().flat_map(|known| &known.restart) {
        workloads.entry(workload.clone()).or_insert(Replicas { warm: 1, full: 1 });
    }
    workloads
}

/// Returns a pod's labels by workload beyond its own, so that the pods that connect are those the estate says.
fn labels(
    application: Option<&ApplicationEndpoint>,
    workloads: &BTreeMap<String, Replicas>,
) -> BTreeMap<String, Map<String, Value>> {
    let Some(application) = application else { return BTreeMap::new() };
    let Some(pods) = &application.pods else { return BTreeMap::new() };
    let here = |workload: &&String| {
        workload.split_once('/').is_some_and(|(namespace, _)| namespace == pods.namespace)
    };
    let is_it = |workload: &String| selects(&pods.selector, &Value::Object(own(workload)));
    if workloads.keys().filter(here).any(is_it) {
        return BTreeMap::new();
    }
    let Some(wanted) = selected(&pods.selector) else { return BTreeMap::new() };
    let connects: Vec<&String> = match application.restart.iter().any(|known| here(&known)) {
        true => application.restart.iter().filter(here).collect(),
        false => workloads.keys().filter(here).collect(),
    };
    connects.into_iter().map(|workload| (workload.clone(), wanted.clone())).collect()
}

fn parts(workload: &str) -> (&str, &str) {
    workload.split_once('/').unwrap_or(("default", workload))
}

/// Returns the labels of a workload's pods.
fn own(workload: &str) -> Map<String, Value> {
    let (_, name) = parts(workload);
    Map::from_iter([("app".to_owned(), json!(name)), (NAME.to_owned(), json!(name))])
}

fn deployment(workload: &str, replicas: i32, more: Option<&Map<String, Value>>) -> Value {
    let (namespace, name) = parts(workload);
    let mut labels = own(workload);
    labels.extend(more.cloned().unwrap_or_default());
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name, "namespace": namespace, "labels": labels },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { NAME: labels[NAME] } },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "app", "image": "rehearsal.invalid/app:1" }] },
            },
        },
    })
}

fn key(application: Option<&ApplicationEndpoint>) -> Option<(bool, &ObjectKey)> {
    let application = application?;
    let secret = application.secret.as_ref().map(|key| (true, key));
    secret.or_else(|| application.config_map.as_ref().map(|key| (false, key)))
}

fn namespaces(
    workloads: &BTreeMap<String, Replicas>,
    application: Option<&ApplicationEndpoint>,
) -> Vec<Value> {
    let mut named: BTreeSet<&str> = workloads.keys().map(|workload| parts(workload).0).collect();
    named.extend(key(application).map(|(_, key)| key.namespace.as_str()));
    let service = application.and_then(|application| application.service.as_ref());
    named.extend(service.map(|service| service.namespace.as_str()));
    named.retain(|name| !ALWAYS.contains(name));
    let made = named.into_iter().map(
        |name| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }),
    );
    made.collect()
}

/// Returns what tells the application where its database is: the one that is lost. No other key of it is there.
fn holder(making: &Making<'_>, application: Option<&ApplicationEndpoint>) -> Option<Value> {
    let service = application.and_then(|application| application.service.as_ref());
    let primary = &making.estate.database.as_ref()?.primary;
    let mut instances = making.objects.iter().filter(|known| known.kind == Kind::RdsInstance);
    let found = instances.find(|known| known.id == primary.id);
    let (host, port) =
        found.and_then(|found| endpoint(&found.body)).unwrap_or_else(|| (String::new(), PORT));
    if let Some(service) = service {
        let metadata = json!({ "name": service.name, "namespace": service.namespace });
        // Unlike a key, this may not be empty.
        let host = if host.is_empty() { NOBODY.to_owned() } else { host };
        let spec = json!({ "type": "ExternalName", "externalName": host });
        return Some(
            json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec }),
        );
    }
    let (secret, key) = key(application)?;
    let form = |text: &str| json!(if secret { base64(text) } else { text.to_owned() });
    let mut data = Map::from_iter([(key.host_key.clone(), form(&host))]);
    if let Some(port_key) = &key.port_key {
        data.insert(port_key.clone(), form(&port.to_string()));
    }
    let kind = if secret { "Secret" } else { "ConfigMap" };
    let metadata = json!({ "name": key.name, "namespace": key.namespace });
    Some(json!({ "apiVersion": "v1", "kind": kind, "metadata": metadata, "data": data }))
}
