//! The objects of a cluster: versions, conflicts, patches, selectors.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Behaviour;

/// What is told of each change.
pub(super) type Listener = Arc<dyn Fn(&Value, bool) + Send + Sync>;

/// A resource, a namespace, a name.
pub(super) type Key = (String, String, String);

/// A request that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Failure {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
}

impl Failure {
    pub(in crate::sandbox) fn new(
        code: u16,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { code, reason, message: message.into() }
    }
}

/// Resources by version and plural, with their kind; `true` where they have a scale.
const RESOURCES: [(&str, &str, bool); 22] = [
    ("v1/namespaces", "Namespace", false),
    ("v1/nodes", "Node", false),
    ("v1/pods", "Pod", false),
    ("v1/services", "Service", false),
    ("v1/configmaps", "ConfigMap", false),
    ("v1/secrets", "Secret", false),
    ("v1/serviceaccounts", "ServiceAccount", false),
    ("v1/events", "Event", false),
    ("v1/persistentvolumeclaims", "PersistentVolumeClaim", false),
    ("v1/resourcequotas", "ResourceQuota", false),
    ("apps/v1/deployments", "Deployment", true),
    ("apps/v1/statefulsets", "StatefulSet", true),
    ("apps/v1/replicasets", "ReplicaSet", true),
    ("apps/v1/daemonsets", "DaemonSet", false),
    ("batch/v1/jobs", "Job", false),
    ("batch/v1/cronjobs", "CronJob", false),
    ("networking.k8s.io/v1/ingresses", "Ingress", false),
    ("networking.k8s.io/v1/networkpolicies", "NetworkPolicy", false),
    ("policy/v1/poddisruptionbudgets", "PodDisruptionBudget", false),
    ("autoscaling/v1/horizontalpodautoscalers", "HorizontalPodAutoscaler", false),
    ("coordination.k8s.io/v1/leases", "Lease", false),
    ("storage.k8s.io/v1/storageclasses", "StorageClass", false),
];

const CLUSTERED: [&str; 3] = ["Namespace", "Node", "StorageClass"];

/// The error of a path no server has.
pub(super) fn nowhere() -> Failure {
    Failure::new(404, "NotFound", "the server could not find the requested resource")
}

pub(super) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// Everything in a cluster.
pub(super) struct Store {
    pub(super) objects: BTreeMap<Key, Value>,
    pub(super) behaviour: Behaviour,
    pub(super) listener: Option<Listener>,
    pub(super) now: Timestamp,
    version: u64,
    told: Vec<(Value, bool)>,
}

impl Store {
    pub(super) fn load(
        objects: Vec<Value>,
        behaviour: Behaviour,
        now: Timestamp,
    ) -> Result<Self, String> {
        let mut store = Self {
            objects: BTreeMap::new(),
            behaviour,
            listener: None,
            now,
            version: 1,
            told: Vec::new(),
        };
        for mut object in objects {
            let named = format!("{} {}", text(&object, "/kind"), text(&object, "/metadata/name"));
            let known = RESOURCES.iter().find(|(resource, kind, _)| {
                *kind == text(&object, "/kind")
                    && resource.rsplit_once('/').map(|(version, _)| version)
                        == Some(text(&object, "/apiVersion"))
            });
            let Some((resource, kind, _)) = known else {
                return Err(format!(
                    "{named} of {} is not simulated",
                    text(&object, "/apiVersion")
                ));
            };
            if text(&object, "/metadata/name").is_empty() {
                return Err(format!("a {kind} without a name"));
            }
            let namespace = match CLUSTERED.contains(kind) {
                true => String::new(),
                false => match text(&object, "/metadata/namespace") {
                    "" => "default".to_owned(),
                    namespace => namespace.to_owned(),
                },
            };
            let name = text(&object, "/metadata/name").to_owned();
            store.version += 1;
            store.dress(&mut object, &namespace);
            store.objects.insert(((*resource).to_owned(), namespace, name), object);
        }
        let versions =
            store.objects.values().map(|object| text(object, "/metadata/resourceVersion"));
        let latest = versions.filter_map(|version| version.parse().ok()).max();
        store.version = store.version.max(latest.unwrap_or(0));
        super::controllers::begin(&mut store);
        store.told.clear();
        Ok(store)
    }

    /// Gives a new object what a server gives it.
    fn dress(&mut self, object: &mut Value, namespace: &str) {
        let (version, now) = (self.version, self.now);
        let uid = uid(text(object, "/kind"), namespace, text(object, "/metadata/name"));
        let metadata = &mut object["metadata"];
        if !namespace.is_empty() {
            metadata["namespace"] = json!(namespace);
        }
        let defaults = [
            ("uid", json!(uid)),
            ("creationTimestamp", json!(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())),
            ("generation", json!(1)),
        ];
        for (field, value) in defaults {
            if metadata.get(field).is_none() {
                metadata[field] = value;
            }
        }
        if metadata.get("resourceVersion").is_none() {
            metadata["resourceVersion"] = json!(version.to_string());
        }
    }

    /// Returns what changed since this was asked last.
    pub(super) fn told(&mut self) -> Vec<(Value, bool)> {
        std::mem::take(&mut self.told)
    }

    fn kind(resource: &str) -> Result<(&'static str, bool), Failure> {
        let known = RESOURCES.iter().find(|(known, _, _)| *known == resource);
        known.map(|(_, kind, scale)| (*kind, *scale)).ok_or_else(nowhere)
    }

    pub(super) fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let (resource, _, _) = RESOURCES.iter().find(|(_, known, _)| *known == kind)?;
        let key = ((*resource).to_owned(), namespace.to_owned(), name.to_owned());
        self.objects.get(&key).cloned()
    }

    pub(super) fn of_kind(&self, kind: &str) -> Vec<Value> {
        let known = RESOURCES.iter().find(|(_, known, _)| *known == kind);
        let Some((resource, _, _)) = known else { return Vec::new() };
        let of = |(key, _): &(&Key, &Value)| key.0 == *resource;
        self.objects.iter().filter(of).map(|(_, object)| object.clone()).collect()
    }

    pub(super) fn get(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Value, Failure> {
        Self::kind(resource)?;
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        self.objects.get(&key).cloned().ok_or_else(|| missing(resource, name))
    }

    pub(super) fn list(
        &self,
        resource: &str,
        namespace: &str,
        labels: &str,
        fields: &str,
    ) -> Result<Value, Failure> {
        let (kind, _) = Self::kind(resource)?;
        let wanted = |(key, object): &(&Key, &Value)| {
            key.0 == resource
                && (namespace.is_empty() || key.1 == namespace)
                && has_labels(object, labels)
                && has_fields(object, fields)
        };
        let items: Vec<&Value> =
            self.objects.iter().filter(wanted).map(|(_, object)| object).collect();
        let version = resource.rsplit_once('/').map_or("", |(version, _)| version);
        Ok(json!({
            "kind": format!("{kind}List"),
            "apiVersion": version,
            "metadata": { "resourceVersion": self.version.to_string() },
            "items": items,
        }))
    }

    /// Puts an object in its place, as a new version.
    pub(super) fn put(&mut self, key: Key, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.told.push((object.clone(), false));
        self.objects.insert(key, object.clone());
        object
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(object) = self.objects.remove(key) {
            self.version += 1;
            self.told.push((object, true));
        }
    }

    pub(super) fn create(
        &mut self,
        resource: &str,
        namespace: &str,
        mut object: Value,
        dry_run: bool,
    ) -> Result<Value, Failure> {
        let (kind, _) = Self::kind(resource)?;
        let name = text(&object, "/metadata/name").to_owned();
        if name.is_empty() {
            return Err(Failure::new(422, "Invalid", "metadata.name: Required value"));
        }
        let key = (resource.to_owned(), namespace.to_owned(), name.clone());
        if self.objects.contains_key(&key) {
            let plural = resource.rsplit('/').next().unwrap_or_default();
            let message = format!("{plural} \"{name}\" already exists");
            return Err(Failure::new(409, "AlreadyExists", message));
        }
        object["kind"] = json!(kind);
        object["apiVersion"] = json!(resource.rsplit_once('/').map_or("", |(version, _)| version));
        self.version += 1;
        self.dress(&mut object, namespace);
        Ok(if dry_run { object } else { self.put(key, object) })
    }

    pub(super) fn delete(
        &mut self,
        resource: &str,
        namespace: &str,
        name: &str,
        dry_run: bool,
    ) -> Result<Value, Failure> {
        let object = self.get(resource, namespace, name)?;
        if !dry_run {
            let uid = text(&object, "/metadata/uid").to_owned();
            let owned: Vec<Key> = self
                .objects
                .iter()
                .filter(|(_, found)| text(found, "/metadata/ownerReferences/0/uid") == uid)
                .map(|(key, _)| key.clone())
                .collect();
            owned.iter().for_each(|key| self.remove(key));
            self.remove(&(resource.to_owned(), namespace.to_owned(), name.to_owned()));
        }
        Ok(json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" }))
    }

    /// Applies a JSON merge patch to an object, or to its scale.
    pub(super) fn patch(
        &mut self,
        resource: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
        scale: bool,
        dry_run: bool,
    ) -> Result<Value, Failure> {
        let before = self.get(resource, namespace, name)?;
        if scale && !Self::kind(resource)?.1 {
            return Err(nowhere());
        }
        let wanted = text(patch, "/metadata/resourceVersion");
        if !wanted.is_empty() && wanted != text(&before, "/metadata/resourceVersion") {
            let plural = resource.rsplit('/').next().unwrap_or_default();
            return Err(Failure::new(
                409,
                "Conflict",
                format!(
                    "Operation cannot be fulfilled on {plural} \"{name}\": the object has been modified; please apply \
                     your changes to the latest version and try again"
                ),
            ));
        }
        let mut after = before.clone();
        if scale {
            merge(&mut after["spec"]["replicas"], &patch["spec"]["replicas"]);
        } else {
            merge(&mut after, patch);
            for field in ["uid", "creationTimestamp", "generation", "name", "resourceVersion"] {
                after["metadata"][field] = before["metadata"][field].clone();
            }
            after["status"] = before["status"].clone();
        }
        if after["spec"] != before["spec"] {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or(1);
            after["metadata"]["generation"] = json!(generation + 1);
        }
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        let after = if dry_run || after == before { after } else { self.put(key, after) };
        Ok(if scale { scale_of(&after) } else { after })
    }
}

/// Returns an object's uid, by what it is called: a world that is loaded again gives the same.
fn uid(kind: &str, namespace: &str, name: &str) -> String {
    let bytes = [kind, namespace, name].join("/").into_bytes();
    let start = 0xcbf2_9ce4_8422_2325_u64;
    let sum = bytes
        .iter()
        .fold(start, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("00000000-0000-4000-8000-{:012x}", sum & 0xffff_ffff_ffff)
}

fn missing(resource: &str, name: &str) -> Failure {
    let plural = resource.rsplit('/').next().unwrap_or_default();
    Failure::new(404, "NotFound", format!("{plural} \"{name}\" not found"))
}

/// Returns an object's scale.
pub(super) fn scale_of(object: &Value) -> Value {
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": object["metadata"]["name"],
            "namespace": object["metadata"]["namespace"],
            "uid": object["metadata"]["uid"],
            "resourceVersion": object["metadata"]["resourceVersion"],
        },
        "spec": { "replicas": object["spec"]["replicas"] },
        "status": { "replicas": object["status"]["replicas"].as_i64().unwrap_or(0) },
    })
}

/// Merges a JSON merge patch (RFC 7386).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

fn has_labels(object: &Value, selector: &str) -> bool {
    let label = |name: &str| object["metadata"]["labels"].get(name).and_then(Value::as_str);
    selector.split(',').filter(|term| !term.trim().is_empty()).all(|term| {
        if let Some((name, value)) = term.split_once("!=") {
            label(name.trim()) != Some(value.trim())
        } else if let Some((name, value)) = term.split_once('=') {
            label(name.trim()) == Some(value.trim_start_matches('=').trim())
        } else if let Some(name) = term.trim().strip_prefix('!') {
            label(name).is_none()
        } else {
            label(term.trim()).is_some()
        }
    })
}

fn has_fields(object: &Value, selector: &str) -> bool {
    selector.split(',').filter(|term| !term.trim().is_empty()).all(|term| {
        let (path, value, same) = match term.split_once("!=") {
            Some((path, value)) => (path, value, false),
            None => {
                let (path, value) = term.split_once('=').unwrap_or((term, ""));
                (path, value.trim_start_matches('='), true)
            }
        };
        (text(object, &format!("/{}", path.trim().replace('.', "/"))) == value.trim()) == same
    })
}
