//! A region's cluster: the namespaces the estate's services live in, without anything that may be a secret.

use std::collections::BTreeSet;

use http::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Map, Value, json};

use super::{Part, no_answer, patiently};
use crate::clients::Clients;
use crate::clients::kubernetes::{Cluster, cluster, read};
use crate::estate::types::{Estate, ObjectKey};
use crate::outcome::{ActionError, FailureClass};
use crate::sandbox::fault::Service;
use crate::sandbox::lines::manifest_id;
use crate::sandbox::world::{Kind, WorldCluster};

/// Stands where a value was left out, also as base64 of itself.
pub(super) const LEFT_OUT: &str = "left-out";
const LEFT_OUT_BASE64: &str = "bGVmdC1vdXQ=";

/// Objects a page of a listing has.
const PAGE: usize = 500;

/// Longest value of a ConfigMap that is kept.
const VALUE_MAX: usize = 4_096;

/// Parts of keys whose values are left out.
const SECRET: [&str; 9] =
    ["pass", "pwd", "secret", "token", "key", "credential", "auth", "cert", "private"];

/// What is captured of a namespace: the collection below it, and its kind.
const COLLECTIONS: [(&str, &str, &str); 6] = [
    ("apis/apps/v1", "deployments", "Deployment"),
    ("apis/apps/v1", "statefulsets", "StatefulSet"),
    ("apis/autoscaling/v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    ("api/v1", "services", "Service"),
    ("api/v1", "configmaps", "ConfigMap"),
    ("api/v1", "secrets", "Secret"),
];

pub(super) async fn look(clients: &Clients, region: &str) -> Part {
    let mut part = Part::default();
    part.clusters.insert(region.to_owned(), WorldCluster::default());
    let found = async {
        let cluster = cluster(clients, region).await?;
        nodes(clients, &cluster, region, &mut part).await?;
        Ok::<_, ActionError>(cluster)
    };
    let cluster = match found.await {
        Ok(cluster) => cluster,
        Err(error) => {
            part.missed("the cluster", Some(region), &error);
            if no_answer(&error) {
                part.silent(region, Service::Kubernetes);
            }
            return part;
        }
    };
    if let Err(error) = pods(clients, &cluster, &mut part).await {
        part.missed("pods of the application", Some(region), &error);
    }
    for namespace in namespaces(&clients.estate) {
        let manifest = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace },
        });
        add(&mut part, region, manifest);
        for (group, plural, kind) in COLLECTIONS {
            let path = format!("/{group}/namespaces/{namespace}/{plural}");
            match listed(clients, &cluster, &path).await {
                Ok(items) => {
                    part.answers += 1;
                    for item in items {
                        let version = group.split_once('/').map_or("", |(_, version)| version);
                        let Some((item, cut)) = kept(&clients.estate, version, kind, item) else {
                            continue;
                        };
                        for key in cut {
                            let name = item["metadata"]["name"].as_str().unwrap_or_default();
                            let what = format!("key {key} of {kind} {namespace}/{name}");
                            let why =
                                format!("left out: its value is longer than {VALUE_MAX} bytes");
                            part.assumed(&what, Some(region), &why);
                        }
                        add(&mut part, region, item);
                    }
                }
                Err(error) => {
                    part.missed(
                        &format!("{plural} of namespace {namespace}"),
                        Some(region),
                        &error,
                    );
                }
            }
        }
    }
    part
}

fn add(part: &mut Part, region: &str, manifest: Value) {
    if let Value::Object(manifest) = manifest {
        let id = manifest_id(&manifest);
        part.add(Kind::Kubernetes, region, &id, manifest);
    }
}

/// Returns the namespaces the estate's services and their database's address live in.
fn namespaces(estate: &Estate) -> BTreeSet<String> {
    let workloads = estate.services.iter().filter_map(|service| service.workload.as_deref());
    let application = estate.database.as_ref().and_then(|db| db.application.as_ref());
    let restarted = application.iter().flat_map(|known| known.restart.iter().map(String::as_str));
    let mut found: BTreeSet<String> = workloads
        .chain(restarted)
        .filter_map(|workload| Some(workload.split_once('/')?.0.to_owned()))
        .collect();
    if let Some(application) = application {
        let keys = application.secret.iter().chain(&application.config_map);
        found.extend(keys.map(|key| key.namespace.clone()));
        found.extend(application.service.iter().map(|service| service.namespace.clone()));
        found.extend(application.pods.iter().map(|pods| pods.namespace.clone()));
    }
    found
}

/// Counts the pods of the application.
async fn pods(clients: &Clients, cluster: &Cluster, part: &mut Part) -> Result<(), ActionError> {
    let application = clients.estate.database.as_ref().and_then(|db| db.application.as_ref());
    let Some(wanted) = application.and_then(|known| known.pods.as_ref()) else { return Ok(()) };
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &wanted.namespace);
    let labels = ListParams::default().labels(&wanted.selector);
    let what = format!("list pods of namespace {}", wanted.namespace);
    part.pods += read(clients, &what, api.list(&labels)).await?.items.len();
    part.answers += 1;
    Ok(())
}

/// Reads a collection, page by page.
async fn listed(
    clients: &Clients,
    cluster: &Cluster,
    path: &str,
) -> Result<Vec<Value>, ActionError> {
    pages(clients, cluster, path, PAGE).await
}

/// Reads all of a collection, so many objects at a time: a part of it would pass for the whole.
pub(super) async fn pages(
    clients: &Clients,
    cluster: &Cluster,
    path: &str,
    size: usize,
) -> Result<Vec<Value>, ActionError> {
    let mut items = Vec::new();
    let mut next = String::new();
    loop {
        let uri = match next.as_str() {
            "" => format!("{path}?limit={size}"),
            next => format!("{path}?limit={size}&continue={next}"),
        };
        let page = patiently(clients, || async {
            let request = Request::get(&uri).body(Vec::new()).map_err(|error| {
                ActionError::unchanged(FailureClass::Internal, format!("ask for {path}: {error}"))
            })?;
            let asked = cluster.client.request::<Value>(request);
            read(clients, &format!("list {path}"), asked).await
        });
        let mut page = page.await?;
        if let Some(Value::Array(found)) = page.get_mut("items").map(Value::take) {
            items.extend(found);
        }
        let further = page["metadata"]["continue"].as_str().unwrap_or_default();
        if further.is_empty() {
            return Ok(items);
        }
        // A server that leads in a circle would be read for ever.
        if further == next {
            let said = format!("list {path}: after {} objects the same page again", items.len());
            return Err(ActionError::unchanged(FailureClass::Internal, said));
        }
        further.clone_into(&mut next);
    }
}

/// Reads the nodes: how many pods find a place.
async fn nodes(
    clients: &Clients,
    cluster: &Cluster,
    region: &str,
    part: &mut Part,
) -> Result<(), ActionError> {
    let found = match listed(clients, cluster, "/api/v1/nodes").await {
        Ok(found) => found,
        Err(error) if error.class == FailureClass::Denied => {
            part.missed("nodes of the cluster", Some(region), &error);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    part.answers += 1;
    let mut places = 0_u32;
    for node in &found {
        let number = &node["status"]["allocatable"]["pods"];
        let number = number.as_str().and_then(|text| text.parse().ok()).or(number.as_u64());
        if node["spec"]["unschedulable"] != true {
            places += number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
        }
        let ready = node["status"]["conditions"].as_array().into_iter().flatten();
        let ready: Vec<Value> =
            ready.filter(|known| known["type"] == "Ready").map(plain_condition).collect();
        let manifest = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": node["metadata"]["name"],
                "labels": node["metadata"]["labels"],
            },
            "spec": { "unschedulable": node["spec"]["unschedulable"], "taints": node["spec"]["taints"] },
            "status": { "allocatable": node["status"]["allocatable"], "conditions": ready },
        });
        add(part, region, without_nulls(manifest));
    }
    if places > 0
        && let Some(cluster) = part.clusters.get_mut(region)
    {
        cluster.capacity = Some(places);
    }
    Ok(())
}

fn plain_condition(condition: &Value) -> Value {
    json!({ "type": condition["type"], "status": condition["status"] })
}

pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// Returns what is kept of an object, with the keys whose values are left out for their length alone; `None` for what
/// belongs to the cluster itself.
fn kept(estate: &Estate, version: &str, kind: &str, item: Value) -> Option<(Value, Vec<String>)> {
    let Value::Object(mut fields) = item else { return None };
    let types = ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"];
    let secret = kind == "Secret";
    if secret && fields.get("type").and_then(Value::as_str).is_some_and(|of| types.contains(&of)) {
        return None;
    }
    let metadata = fields.remove("metadata").unwrap_or_default();
    let labels = metadata.get("labels").cloned();
    let mut manifest = json!({
        "apiVersion": version,
        "kind": kind,
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "labels": labels,
        },
    });
    for part in ["spec", "type", "immutable"] {
        if let Some(value) = fields.remove(part) {
            manifest[part] = value;
        }
    }
    silence(&mut manifest["spec"]["template"]);
    if kind == "Service" {
        let spec = manifest["spec"].take();
        manifest["spec"] = json!({
            "type": spec["type"], "ports": spec["ports"], "selector": spec["selector"],
        });
    }
    let key = holder(estate, kind, &metadata);
    let mut cut = Vec::new();
    for part in ["data", "binaryData"] {
        if let Some(Value::Object(data)) = fields.remove(part) {
            let kept = values(data, secret, part == "binaryData", key, &mut cut);
            manifest[part] = Value::Object(kept);
        }
    }
    let mut manifest = without_nulls(manifest);
    if manifest["spec"].as_object().is_some_and(Map::is_empty) {
        manifest.as_object_mut()?.remove("spec");
    }
    Some((manifest, cut))
}

/// Returns the keys under which an object holds the database's address, where the estate says that it does.
fn holder<'a>(estate: &'a Estate, kind: &str, metadata: &Value) -> Option<&'a ObjectKey> {
    let application = estate.database.as_ref()?.application.as_ref()?;
    let key = match kind {
        "Secret" => application.secret.as_ref(),
        "ConfigMap" => application.config_map.as_ref(),
        _ => None,
    }?;
    let here =
        metadata["name"] == key.name.as_str() && metadata["namespace"] == key.namespace.as_str();
    here.then_some(key)
}

/// Keeps the keys; of a Secret no value but the database's address, which [`super::estate::fill`] replaces by the one
/// known from elsewhere, or leaves out. Adds to `cut` the keys whose values are only too long.
fn values(
    data: Map<String, Value>,
    secret: bool,
    binary: bool,
    holder: Option<&ObjectKey>,
    cut: &mut Vec<String>,
) -> Map<String, Value> {
    let address = |name: &str| {
        holder.is_some_and(|key| key.host_key == name || key.port_key.as_deref() == Some(name))
    };
    let mut keep = |name: &str, value: &Value| {
        let lower = name.to_lowercase();
        let plain = !secret && !binary && !SECRET.iter().any(|part| lower.contains(part));
        let short = value.as_str().is_some_and(|value| value.len() <= VALUE_MAX);
        if plain && !short && !address(name) {
            cut.push(name.to_owned());
        }
        address(name) || (plain && short)
    };
    let marker = if secret || binary { LEFT_OUT_BASE64 } else { LEFT_OUT };
    data.into_iter()
        .map(|(name, value)| {
            let value = if keep(&name, &value) { value } else { json!(marker) };
            (name, value)
        })
        .collect()
}

/// Leaves out of a pod's template what may be a secret: values of variables, commands, annotations.
fn silence(template: &mut Value) {
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("annotations");
    }
    let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for part in ["containers", "initContainers", "ephemeralContainers"] {
        let Some(containers) = spec.get_mut(part).and_then(Value::as_array_mut) else { continue };
        for container in containers.iter_mut().filter_map(Value::as_object_mut) {
            for part in ["args", "command", "lifecycle"] {
                container.remove(part);
            }
            for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                container.remove(probe);
            }
            let variables = container.get_mut("env").and_then(Value::as_array_mut);
            for variable in variables.into_iter().flatten() {
                if variable.get("value").is_some() {
                    variable["value"] = json!(LEFT_OUT);
                }
            }
        }
    }
}
