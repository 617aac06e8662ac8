//! Workloads and the objects they read, by `kubectl`.

use serde_json::{Map, Value, json};

use super::database;
use super::traffic;
use crate::estate::types::{Estate, ObjectKey, ServiceName};
use crate::shell;

/// How long a rollout is waited for by hand.
const ROLLOUT: &str = "10m";
/// Where manifests are kept before others take their place.
const BEFORE_FILE: &str = "BEFORE.yaml";

/// Returns `kubectl` for a region's cluster, its context always named.
pub(crate) fn kubectl(estate: &Estate, region: &str) -> String {
    match estate.clusters.get(region) {
        Some(cluster) => named(cluster.kubeconfig.as_deref(), &cluster.context),
        None => named(None, "CONTEXT"),
    }
}

/// Returns `kubectl` with its context.
pub(crate) fn named(kubeconfig: Option<&str>, context: &str) -> String {
    let context = shell::word(context);
    match kubeconfig {
        Some(file) => format!("kubectl --kubeconfig {} --context {context}", shell::word(file)),
        None => format!("kubectl --context {context}"),
    }
}

fn split(workload: &str) -> (String, String) {
    let (namespace, name) = workload.split_once('/').unwrap_or(("NAMESPACE", workload));
    (shell::word(namespace), shell::word(name))
}

/// Returns the commands that show whether a namespace is there and what of a resource is in it.
pub(crate) fn list(kubectl: &str, namespace: &str, resource: &str) -> String {
    let namespace = shell::word(namespace);
    format!("{kubectl} get namespace {namespace} && {kubectl} -n {namespace} get {resource}")
}

/// Returns the command that gives a deployment its replicas.
pub(crate) fn scale(kubectl: &str, namespace: &str, name: &str, replicas: &str) -> String {
    format!("{kubectl} -n {namespace} scale deployment/{name} --replicas={replicas}")
}

/// Returns the command that changes an autoscaler's bounds.
pub(crate) fn autoscaler(kubectl: &str, namespace: &str, name: &str, spec: &Value) -> String {
    let patch = shell::word(&json!({ "spec": spec }).to_string());
    format!("{kubectl} -n {namespace} patch hpa/{name} --type merge -p {patch}")
}

/// Returns the command that waits for a rollout.
pub(crate) fn rollout(kubectl: &str, namespace: &str, name: &str, limit: &str) -> String {
    format!("{kubectl} -n {namespace} rollout status deployment/{name} --timeout={limit}")
}

/// Returns the command that writes keys of a Secret or ConfigMap.
pub(crate) fn patch(kubectl: &str, kind: &str, key: &ObjectKey, data: &Value) -> String {
    let field = if kind == "secret" { "stringData" } else { "data" };
    let patch = shell::word(&json!({ field: data }).to_string());
    let ObjectKey { namespace, name, .. } = key;
    format!("{kubectl} -n {namespace} patch {kind} {name} --type merge -p {patch}")
}

/// Returns the command that has a Service stand for another name.
pub(crate) fn external_name(kubectl: &str, service: &ServiceName, host: &Value) -> String {
    let patch = shell::word(&json!({ "spec": { "externalName": host } }).to_string());
    let ServiceName { namespace, name } = service;
    format!("{kubectl} -n {namespace} patch service {name} --type merge -p {patch}")
}

/// Returns the command that applies manifests.
pub(crate) fn apply(kubectl: &str, file: &str) -> String {
    format!("{kubectl} apply --server-side --field-manager=phoenix-dr -f {}", shell::word(file))
}

pub(super) fn apply_file(estate: &Estate, region: &str, file: &str) -> Vec<String> {
    let kubectl = kubectl(estate, region);
    let word = shell::word(file);
    vec![
        format!("{kubectl} get -f {word} -o yaml > {BEFORE_FILE}"),
        format!("{kubectl} diff --server-side -f {word}"),
        apply(&kubectl, file),
    ]
}

pub(super) fn unapply(estate: &Estate, region: &str) -> Vec<String> {
    vec![format!("{} replace -f {BEFORE_FILE}", kubectl(estate, region))]
}

/// Returns the commands that restart workloads, one rollout each.
pub(super) fn restart(kubectl: &str, workloads: &[String]) -> Vec<String> {
    let lines = workloads.iter().flat_map(|workload| {
        let (namespace, name) = split(workload);
        [
            format!("{kubectl} -n {namespace} rollout restart deployment/{name}"),
            rollout(kubectl, &namespace, &name, ROLLOUT),
        ]
    });
    lines.collect()
}

/// The workloads of `kubernetes.scale`, with the replicas they need.
fn wanted(with: &Map<String, Value>) -> Vec<(String, String)> {
    let entries = with.get("workloads").and_then(Value::as_array);
    let pairs = entries.into_iter().flatten().filter_map(|entry| {
        let workload = entry.get("workload").and_then(Value::as_str)?;
        let replicas = entry.get("replicas").and_then(Value::as_i64);
        let replicas = replicas.map_or("REPLICAS".to_owned(), |count| count.to_string());
        Some((workload.to_owned(), replicas))
    });
    pairs.collect()
}

/// Returns the look that tells which autoscalers own something, once a namespace.
fn look(kubectl: &str, wanted: &[(String, String)]) -> Vec<String> {
    let mut namespaces: Vec<String> = wanted.iter().map(|(name, _)| split(name).0).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    let lines =
        namespaces.iter().map(|namespace| format!("{kubectl} -n {namespace} get deployment,hpa"));
    lines.collect()
}

pub(super) fn scale_all(estate: &Estate, region: &str, with: &Map<String, Value>) -> Vec<String> {
    let kubectl = kubectl(estate, region);
    let wanted = wanted(with);
    if wanted.is_empty() {
        return vec!["# the estate names no such workload: nothing to do".to_owned()];
    }
    let mut lines =
        vec!["# Write down what is there now; what has more replicas keeps them:".to_owned()];
    lines.extend(look(&kubectl, &wanted));
    for (workload, replicas) in &wanted {
        let (namespace, name) = split(workload);
        let least: Value = serde_json::from_str(replicas).unwrap_or(json!(replicas));
        lines.push(format!(
            "# {name}: an autoscaler that owns it gets a higher minimum (its maximum too, if that is lower):"
        ));
        lines.push(autoscaler(&kubectl, &namespace, &hpa(&name), &json!({ "minReplicas": least })));
        lines.push("# without an autoscaler, or if the deployment stands at 0:".to_owned());
        lines.push(scale(&kubectl, &namespace, &name, replicas));
    }
    for (workload, _) in &wanted {
        let (namespace, name) = split(workload);
        lines.push(rollout(&kubectl, &namespace, &name, ROLLOUT));
    }
    lines
}

/// The name of a deployment's autoscaler is known only in the cluster.
fn hpa(name: &str) -> String {
    format!("HPA_OF_{}", capitals(name))
}

/// Returns a name as the word in capitals that stands for something of it.
pub(super) fn capitals(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect()
}

pub(super) fn unscale(estate: &Estate, region: &str, with: &Map<String, Value>) -> Vec<String> {
    let kubectl = kubectl(estate, region);
    let lines = wanted(with).into_iter().flat_map(|(workload, _)| {
        let (namespace, name) = split(&workload);
        let before = format!("{}_BEFORE", capitals(&name));
        [
            format!(
                "{} # where one owns it",
                autoscaler(&kubectl, &namespace, &hpa(&name), &json!({ "minReplicas": before }))
                    .replace(&format!("\"{before}\""), &before)
            ),
            scale(&kubectl, &namespace, &name, &before),
        ]
    });
    lines.collect()
}

/// Returns the commands that tell the application where its database is.
pub(super) fn repoint(estate: &Estate, region: &str, address: &str) -> Vec<String> {
    let (host, port) = database::parts(address);
    let Some(application) = estate.database.as_ref().and_then(|found| found.application.as_ref())
    else {
        return vec![
            "# the estate does not say how the application learns its database".to_owned(),
        ];
    };
    let kubectl = kubectl(estate, region);
    let mut lines = Vec::new();
    for (kind, key) in [("secret", &application.secret), ("configmap", &application.config_map)] {
        if let Some(key) = key {
            let mut data = json!({ key.host_key.as_str(): host });
            if let Some(port_key) = &key.port_key {
                data[port_key.as_str()] = json!(port);
            }
            lines.push(patch(&kubectl, kind, key, &data));
        }
    }
    if let Some(record) = &application.cname {
        lines.push(traffic::cname(record, &json!(host), &json!(record.ttl)));
    }
    if let Some(service) = &application.service {
        lines.push(external_name(&kubectl, service, &json!(host)));
    }
    lines.extend(restart(&kubectl, &application.restart));
    lines
}

pub(super) fn point_back(estate: &Estate, region: &str) -> Vec<String> {
    let address = estate.database.as_ref().map(|found| {
        let (host, port) = database::address(estate, &found.primary.id);
        format!("{host}:{port}")
    });
    repoint(estate, region, &address.unwrap_or("OLD".to_owned()))
}
