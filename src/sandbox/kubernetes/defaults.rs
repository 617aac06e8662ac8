//! What an API server fills in where a manifest says nothing.

use serde_json::{Map, Value, json};

use super::kinds::Kind;

/// Fills an object in.
pub(super) fn fill(kind: &Kind, object: &mut Value) {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    let given = object["metadata"].as_object_mut();
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    if let Some(metadata) = given {
        metadata.retain(|_, value| !empty(value));
    }
    if kind.custom {
        return;
    }
    match kind.kind.as_str() {
        "Namespace" => {
            let name = object["metadata"]["name"].clone();
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
            set(&mut object["spec"], "finalizers", json!(["kubernetes"]));
            set(&mut object["status"], "phase", json!("Active"));
        }
        "Node" => node(object),
        "Pod" => pod(object),
        "Deployment" => deployment(object),
        "ReplicaSet" => {
            set(&mut object["spec"], "replicas", json!(1));
            pods(&mut object["spec"]["template"], "Always");
            set(&mut object["status"], "replicas", json!(0));
        }
        "StatefulSet" => stateful_set(object),
        "DaemonSet" => pods(&mut object["spec"]["template"], "Always"),
        "Job" => {
            let spec = &mut object["spec"];
            if spec.get("parallelism").is_none() {
                set(spec, "completions", json!(1));
            }
            set(spec, "parallelism", json!(1));
            set(spec, "backoffLimit", json!(6));
            pods(&mut spec["template"], "Always");
            blank(object, "status");
        }
        "Secret" => {
            set(object, "type", json!("Opaque"));
            said_plainly(object);
        }
        "Service" => service(object),
        "HorizontalPodAutoscaler" => {
            set(&mut object["spec"], "minReplicas", json!(1));
            if object["spec"].get("metrics").is_none() {
                set(&mut object["spec"], "targetCPUUtilizationPercentage", json!(80));
            }
            set(&mut object["status"], "currentReplicas", json!(0));
            set(&mut object["status"], "desiredReplicas", json!(0));
        }
        "PersistentVolumeClaim" => {
            set(&mut object["spec"], "volumeMode", json!("Filesystem"));
            set(&mut object["status"], "phase", json!("Pending"));
        }
        "CustomResourceDefinition" => definition(object),
        _ => {}
    }
}

fn set(object: &mut Value, field: &str, value: Value) {
    if object.is_null() {
        *object = json!({});
    }
    if let Some(fields) = object.as_object_mut() {
        let found = fields.entry(field.to_owned()).or_insert(Value::Null);
        if found.is_null() {
            *found = value;
        }
    }
}

fn blank(object: &mut Value, field: &str) {
    set(object, field, json!({}));
}

fn deployment(object: &mut Value) {
    let spec = &mut object["spec"];
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "progressDeadlineSeconds", json!(600));
    set(&mut spec["strategy"], "type", json!("RollingUpdate"));
    if spec["strategy"]["type"] == "RollingUpdate" {
        let rolling = &mut spec["strategy"]["rollingUpdate"];
        set(rolling, "maxUnavailable", json!("25%"));
        set(rolling, "maxSurge", json!("25%"));
    }
    pods(&mut spec["template"], "Always");
    blank(object, "status");
}

fn stateful_set(object: &mut Value) {
    let spec = &mut object["spec"];
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "podManagementPolicy", json!("OrderedReady"));
    set(spec, "serviceName", json!(""));
    set(&mut spec["updateStrategy"], "type", json!("RollingUpdate"));
    if spec["updateStrategy"]["type"] == "RollingUpdate" {
        set(&mut spec["updateStrategy"]["rollingUpdate"], "partition", json!(0));
    }
    pods(&mut spec["template"], "Always");
    set(&mut object["status"], "replicas", json!(0));
}

fn pod(object: &mut Value) {
    pod_spec(&mut object["spec"], "Always");
    set(&mut object["spec"], "enableServiceLinks", json!(true));
    set(&mut object["spec"], "priority", json!(0));
    set(&mut object["spec"], "preemptionPolicy", json!("PreemptLowerPriority"));
    let tolerates = |taint: &str| {
        json!({
            "key": format!("node.kubernetes.io/{taint}"), "operator": "Exists",
            "effect": "NoExecute", "tolerationSeconds": 300,
        })
    };
    let tolerations = json!([tolerates("not-ready"), tolerates("unreachable")]);
    set(&mut object["spec"], "tolerations", tolerations);
    set(&mut object["status"], "phase", json!("Pending"));
    set(&mut object["status"], "qosClass", json!("BestEffort"));
}

fn pods(template: &mut Value, restart: &str) {
    if !template.is_object() {
        return;
    }
    if template.get("metadata").is_none() {
        template["metadata"] = json!({});
    }
    template["metadata"]["creationTimestamp"] = Value::Null;
    pod_spec(&mut template["spec"], restart);
}

fn pod_spec(spec: &mut Value, restart: &str) {
    set(spec, "restartPolicy", json!(restart));
    set(spec, "terminationGracePeriodSeconds", json!(30));
    set(spec, "dnsPolicy", json!("ClusterFirst"));
    blank(spec, "securityContext");
    set(spec, "schedulerName", json!("default-scheduler"));
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            self::container(container);
        }
    }
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        for source in ["secret", "configMap", "projected", "downwardAPI"] {
            if let Some(source) = volume.get_mut(source) {
                set(source, "defaultMode", json!(420));
            }
        }
    }
}

fn container(container: &mut Value) {
    if !container.is_object() {
        return;
    }
    let image = container["image"].as_str().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    let is_latest = !name.contains('@') && (!name.contains(':') || name.ends_with(":latest"));
    let pull = if is_latest { "Always" } else { "IfNotPresent" };
    set(container, "imagePullPolicy", json!(pull));
    set(container, "terminationMessagePath", json!("/dev/termination-log"));
    set(container, "terminationMessagePolicy", json!("File"));
    blank(container, "resources");
    // What is asked for is at least what is never exceeded.
    if let Some(limits) = container["resources"].get("limits").and_then(Value::as_object).cloned() {
        for (name, limit) in limits {
            set(&mut container["resources"]["requests"], &name, limit);
        }
    }
    for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        set(port, "protocol", json!("TCP"));
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(probe).filter(|probe| probe.is_object()) else {
            continue;
        };
        set(probe, "timeoutSeconds", json!(1));
        set(probe, "periodSeconds", json!(10));
        set(probe, "successThreshold", json!(1));
        set(probe, "failureThreshold", json!(3));
        if let Some(get) = probe.get_mut("httpGet") {
            set(get, "path", json!("/"));
            set(get, "scheme", json!("HTTP"));
        }
    }
    for variable in container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(field) = variable.pointer_mut("/valueFrom/fieldRef") {
            set(field, "apiVersion", json!("v1"));
        }
    }
}

/// A Secret may say its values plainly; they are kept encoded.
fn said_plainly(object: &mut Value) {
    let plain = object.get("stringData").and_then(Value::as_object).cloned();
    let Some(plain) = plain else { return };
    for (name, value) in plain {
        let encoded = encoded(value.as_str().unwrap_or_default().as_bytes());
        if object["data"].is_null() {
            object["data"] = json!({});
        }
        object["data"][name] = json!(encoded);
    }
    if let Some(fields) = object.as_object_mut() {
        fields.remove("stringData");
    }
}

/// Encodes as base64.
fn encoded(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let byte = |at: usize| u32::from(part.get(at).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for at in 0..4_usize {
            if at > part.len() {
                text.push('=');
                continue;
            }
            let letter = (bits >> (18 - 6 * at)) & 63;
            text.push(char::from(LETTERS[usize::try_from(letter).unwrap_or(0)]));
        }
    }
    text
}

fn service(object: &mut Value) {
    let spec = &mut object["spec"];
    set(spec, "type", json!("ClusterIP"));
    set(spec, "sessionAffinity", json!("None"));
    set(spec, "internalTrafficPolicy", json!("Cluster"));
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        set(port, "protocol", json!("TCP"));
        let number = port["port"].clone();
        set(port, "targetPort", number);
    }
    blank(&mut object["status"], "loadBalancer");
}

fn node(object: &mut Value) {
    blank(object, "spec");
    let places = json!({ "cpu": "16", "memory": "64Gi", "pods": "110" });
    set(&mut object["status"], "capacity", places.clone());
    set(&mut object["status"], "allocatable", places);
    let ready = json!([{
        "type": "Ready", "status": "True", "reason": "KubeletReady",
        "message": "kubelet is posting ready status",
    }]);
    set(&mut object["status"], "conditions", ready);
}

fn definition(object: &mut Value) {
    let kind = object["spec"]["names"]["kind"].as_str().unwrap_or_default().to_owned();
    let names = &mut object["spec"]["names"];
    set(names, "singular", json!(kind.to_lowercase()));
    set(names, "listKind", json!(format!("{kind}List")));
    set(&mut object["spec"]["conversion"], "strategy", json!("None"));
    let names = object["spec"]["names"].clone();
    let kept = object["spec"]["versions"].as_array().into_iter().flatten();
    let kept: Vec<Value> = kept
        .filter(|version| version["storage"] == true)
        .map(|version| version["name"].clone())
        .collect();
    let condition = |kind: &str, reason: &str, message: &str| {
        let mut condition = Map::new();
        for (name, value) in
            [("type", kind), ("status", "True"), ("reason", reason), ("message", message)]
        {
            condition.insert(name.to_owned(), json!(value));
        }
        Value::Object(condition)
    };
    object["status"] = json!({
        "acceptedNames": names,
        "storedVersions": kept,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_of_secrets_are_encoded() {
        for (plain, text) in [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj")] {
            assert_eq!(encoded(plain.as_bytes()), text);
        }
    }
}
