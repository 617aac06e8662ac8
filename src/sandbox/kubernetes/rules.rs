//! What an API server refuses to take in.

use k8s_openapi::api::{apps, autoscaling, batch, core, networking, policy};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::{Cause, Failure};
use super::kinds::Kind;
use super::selector::Selector;
use super::store::text;

const NAME: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
                    must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// Refuses an object whose fields have other types than its kind has; fields its kind does not have are left out, or
/// refused where the request is strict.
pub(super) fn shape(kind: &Kind, object: &mut Value, strict: bool) -> Result<(), Failure> {
    if kind.custom {
        return Ok(());
    }
    quantities(object);
    let read = match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "Deployment") => read::<apps::v1::Deployment>(object),
        ("apps", "StatefulSet") => read::<apps::v1::StatefulSet>(object),
        ("apps", "ReplicaSet") => read::<apps::v1::ReplicaSet>(object),
        ("apps", "DaemonSet") => read::<apps::v1::DaemonSet>(object),
        ("batch", "Job") => read::<batch::v1::Job>(object),
        ("batch", "CronJob") => read::<batch::v1::CronJob>(object),
        ("", "Pod") => read::<core::v1::Pod>(object),
        ("", "ConfigMap") => read::<core::v1::ConfigMap>(object),
        ("", "Secret") => read::<core::v1::Secret>(object),
        ("", "Service") => read::<core::v1::Service>(object),
        ("", "Namespace") => read::<core::v1::Namespace>(object),
        ("networking.k8s.io", "Ingress") => read::<networking::v1::Ingress>(object),
        ("policy", "PodDisruptionBudget") => read::<policy::v1::PodDisruptionBudget>(object),
        ("autoscaling", _) if kind.version == "v1" => {
            read::<autoscaling::v1::HorizontalPodAutoscaler>(object)
        }
        _ => return Ok(()),
    };
    let refused = |why: &str| {
        Err(Failure::bad(format!(
            "{} in version \"{}\" cannot be handled as a {}: {why}",
            kind.kind, kind.version, kind.kind
        )))
    };
    let known = match read {
        Ok(known) => known,
        Err(why) => return refused(&why),
    };
    let mut unknown = Vec::new();
    prune(object, &known, "", &mut unknown);
    if strict && !unknown.is_empty() {
        let all: Vec<String> =
            unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
        return refused(&format!("strict decoding error: {}", all.join(", ")));
    }
    Ok(())
}

/// Reads an object as its kind's type, and returns what that knows of it.
fn read<T: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, String> {
    let typed = T::deserialize(object).map_err(|error| format!("json: {error}"))?;
    serde_json::to_value(&typed).map_err(|error| error.to_string())
}

/// Quantities may be written as numbers.
pub(super) fn quantities(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if ["limits", "requests", "hard", "capacity", "allocatable"]
                    .contains(&name.as_str())
                {
                    for amount in value.as_object_mut().into_iter().flat_map(|all| all.values_mut())
                    {
                        if amount.is_number() {
                            *amount = Value::String(amount.to_string());
                        }
                    }
                }
                quantities(value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(quantities),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Takes away what is not known.
fn prune(value: &mut Value, known: &Value, at: &str, unknown: &mut Vec<String>) {
    match (value, known) {
        (Value::Object(fields), Value::Object(known)) => {
            fields.retain(|name, value| {
                let kept = known.contains_key(name);
                let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                if !kept && !value.is_null() && !["kind", "apiVersion"].contains(&path.as_str()) {
                    unknown.push(path);
                }
                kept || ["kind", "apiVersion"].contains(&name.as_str())
            });
            for (name, value) in fields {
                let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                prune(value, known.get(name).unwrap_or(&Value::Null), &path, unknown);
            }
        }
        (Value::Array(items), Value::Array(known)) => {
            for (index, (item, known)) in items.iter_mut().zip(known).enumerate() {
                prune(item, known, &format!("{at}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

/// Refuses a new object that breaks the rules of its kind.
pub(super) fn creation(kind: &Kind, object: &Value) -> Result<(), Failure> {
    let mut causes = Vec::new();
    let name = text(object, "/metadata/name");
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else if !is_name(name) && !kind.group.starts_with("rbac.") {
        causes.push(Cause::invalid("metadata.name", &format!("\"{name}\""), NAME));
    }
    spec(kind, object, &mut causes);
    told(kind, name, &causes)
}

/// Refuses a change of an object that its kind does not allow.
pub(super) fn change(kind: &Kind, before: &Value, after: &Value) -> Result<(), Failure> {
    let mut causes = Vec::new();
    spec(kind, after, &mut causes);
    let differs = |path: &str| before.pointer(path) != after.pointer(path);
    match kind.kind.as_str() {
        _ if kind.custom => {}
        "Deployment" | "ReplicaSet" | "DaemonSet" if differs("/spec/selector") => {
            let value = go_selector(&after["spec"]["selector"]);
            causes.push(Cause::invalid("spec.selector", &value, "field is immutable"));
        }
        "StatefulSet" => stateful_set(before, after, &mut causes),
        "Job" if differs("/spec/template") => {
            let value = after["spec"]["template"].to_string();
            causes.push(Cause::invalid("spec.template", &value, "field is immutable"));
        }
        "Secret" if differs("/type") => {
            let value = format!("\"{}\"", text(after, "/type"));
            causes.push(Cause::invalid("type", &value, "field is immutable"));
        }
        "Pod" if pod_differs(before, after) => {
            let why = "pod updates may not change fields other than `spec.containers[*].image`, \
                       `spec.initContainers[*].image`, `spec.activeDeadlineSeconds` or \
                       `spec.tolerations` (only additions to existing tolerations)";
            causes.push(Cause::forbidden("spec", why));
        }
        _ => {}
    }
    if ["ConfigMap", "Secret"].contains(&kind.kind.as_str()) && before["immutable"] == true {
        if after["immutable"] != true {
            let why = "field is immutable when `immutable` is set";
            causes.push(Cause::forbidden("immutable", why));
        }
        if differs("/data") || differs("/binaryData") {
            let why = "field is immutable when `immutable` is set";
            causes.push(Cause::forbidden("data", why));
        }
    }
    told(kind, text(after, "/metadata/name"), &causes)
}

fn told(kind: &Kind, name: &str, causes: &[Cause]) -> Result<(), Failure> {
    match causes {
        [] => Ok(()),
        causes => Err(Failure::invalid(&kind.kind, &kind.group, name, causes)),
    }
}

fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        let letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
        part.starts_with(letter)
            && part.ends_with(letter)
            && part.chars().all(|one| letter(one) || one == '-')
    };
    name.len() <= 253 && name.split('.').all(part)
}

fn spec(kind: &Kind, object: &Value, causes: &mut Vec<Cause>) {
    if kind.custom {
        return;
    }
    let spec = &object["spec"];
    match kind.kind.as_str() {
        "Deployment" | "StatefulSet" | "ReplicaSet" | "DaemonSet" => {
            at_least_none(spec, "replicas", causes);
            workload(spec, causes);
        }
        "Job" => {
            at_least_none(spec, "parallelism", causes);
            at_least_none(spec, "completions", causes);
            containers(&spec["template"]["spec"], "spec.template.spec", causes);
            if spec["template"]["spec"]["restartPolicy"] == "Always" {
                let (field, why) =
                    ("spec.template.spec.restartPolicy", "valid values: \"OnFailure\", \"Never\"");
                causes.push(Cause::required(field, why));
            }
        }
        "Pod" => containers(spec, "spec", causes),
        "HorizontalPodAutoscaler" => autoscaler(spec, causes),
        "ConfigMap" | "Secret" => {
            for name in object["data"].as_object().into_iter().flatten().map(|(name, _)| name) {
                let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
                if !name.chars().all(fits) {
                    let why = "a valid config key must consist of alphanumeric characters, '-', '_' \
                               or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used \
                               for validation is '[-._a-zA-Z0-9]+')";
                    causes.push(Cause::invalid(
                        &format!("data[{name}]"),
                        &format!("\"{name}\""),
                        why,
                    ));
                }
            }
        }
        _ => {}
    }
}

fn at_least_none(spec: &Value, field: &str, causes: &mut Vec<Cause>) {
    if let Some(number) = spec[field].as_i64().filter(|number| *number < 0) {
        let why = "must be greater than or equal to 0";
        causes.push(Cause::invalid(&format!("spec.{field}"), &number.to_string(), why));
    }
}

fn workload(spec: &Value, causes: &mut Vec<Cause>) {
    let (selector, labels) = (&spec["selector"], &spec["template"]["metadata"]["labels"]);
    let selects = Selector::of(selector);
    if selector.is_null() {
        causes.push(Cause::required("spec.selector", ""));
    }
    if selects.as_ref().is_none_or(|selects| selects.is_empty() || !selects.has_labels(labels)) {
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", &go_labels(labels), why));
    }
    containers(&spec["template"]["spec"], "spec.template.spec", causes);
}

fn containers(spec: &Value, at: &str, causes: &mut Vec<Cause>) {
    let containers = spec["containers"].as_array();
    if containers.is_none_or(Vec::is_empty) {
        causes.push(Cause::required(&format!("{at}.containers"), ""));
    }
    for (index, container) in containers.into_iter().flatten().enumerate() {
        for field in ["name", "image"] {
            if text(container, &format!("/{field}")).is_empty() {
                causes.push(Cause::required(&format!("{at}.containers[{index}].{field}"), ""));
            }
        }
    }
}

fn autoscaler(spec: &Value, causes: &mut Vec<Cause>) {
    let number = |field: &str| spec[field].as_i64();
    if number("maxReplicas").is_none_or(|most| most < 1) {
        let value = number("maxReplicas").unwrap_or(0).to_string();
        causes.push(Cause::invalid("spec.maxReplicas", &value, "must be greater than 0"));
    }
    if let Some(least) = number("minReplicas").filter(|least| *least < 1) {
        let why = "must be greater than or equal to 1";
        causes.push(Cause::invalid("spec.minReplicas", &least.to_string(), why));
    }
    if let (Some(least), Some(most)) = (number("minReplicas"), number("maxReplicas"))
        && most < least
    {
        let why = "must be greater than or equal to `minReplicas`";
        causes.push(Cause::invalid("spec.maxReplicas", &most.to_string(), why));
    }
}

fn stateful_set(before: &Value, after: &Value, causes: &mut Vec<Cause>) {
    let changeable = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let fixed = |object: &Value| {
        let mut spec = object["spec"].as_object().cloned().unwrap_or_default();
        spec.retain(|name, _| !changeable.contains(&name.as_str()));
        spec
    };
    if fixed(before) != fixed(after) {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                   'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                   'minReadySeconds' are forbidden";
        causes.push(Cause::forbidden("spec", why));
    }
}

fn pod_differs(before: &Value, after: &Value) -> bool {
    let fixed = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|name, _| {
                !["activeDeadlineSeconds", "tolerations"].contains(&name.as_str())
            });
        }
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
            {
                container["image"] = Value::Null;
            }
        }
        spec
    };
    fixed(before) != fixed(after)
}

/// Writes labels as the server's own language prints them, which is how its errors have them.
fn go_labels(labels: &Value) -> String {
    let Some(labels) = labels.as_object() else { return "map[string]string(nil)".to_owned() };
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("map[string]string{{{}}}", pairs.join(", "))
}

fn go_selector(selector: &Value) -> String {
    format!(
        "v1.LabelSelector{{MatchLabels:{}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}}",
        go_labels(&selector["matchLabels"])
    )
}
