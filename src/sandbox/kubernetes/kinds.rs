//! The kinds of objects a cluster knows: those every server has, and what its CustomResourceDefinitions add.

use std::sync::Arc;

use serde_json::Value;

use super::store::text;

/// Where a kind's scale is read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScaleAt {
    pub spec: String,
    pub status: String,
    pub selector: String,
}

/// A kind of objects, in one version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub kind: String,
    pub short: Vec<String>,
    pub namespaced: bool,
    /// Its status is a subresource
    pub status: bool,
    pub scale: Option<ScaleAt>,
    /// Its generation counts changes of what is wanted
    pub counted: bool,
    pub custom: bool,
    /// The resource its objects are kept as, which another version may share
    pub kept: String,
}

impl Kind {
    /// Returns `GROUP/VERSION`.
    pub(super) fn api(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Returns `PLURAL.GROUP`, as errors name it.
    pub(super) fn qualified(&self) -> String {
        match self.group.as_str() {
            "" => self.plural.clone(),
            group => format!("{}.{group}", self.plural),
        }
    }

    pub(super) fn singular(&self) -> String {
        self.kind.to_lowercase()
    }
}

/// Version, plural, kind; what it has: `n` namespaces, `s` a status, `c` a scale, `g` a generation; short names.
const BUILT_IN: [(&str, &str, &str, &str, &str); 35] = [
    ("v1", "namespaces", "Namespace", "s", "ns"),
    ("v1", "nodes", "Node", "s", "no"),
    ("v1", "persistentvolumes", "PersistentVolume", "s", "pv"),
    ("v1", "pods", "Pod", "ns", "po"),
    ("v1", "services", "Service", "ns", "svc"),
    ("v1", "endpoints", "Endpoints", "n", "ep"),
    ("v1", "configmaps", "ConfigMap", "n", "cm"),
    ("v1", "secrets", "Secret", "n", ""),
    ("v1", "serviceaccounts", "ServiceAccount", "n", "sa"),
    ("v1", "events", "Event", "n", "ev"),
    ("v1", "limitranges", "LimitRange", "n", "limits"),
    ("v1", "persistentvolumeclaims", "PersistentVolumeClaim", "ns", "pvc"),
    ("v1", "resourcequotas", "ResourceQuota", "ns", "quota"),
    ("apps/v1", "deployments", "Deployment", "nscg", "deploy"),
    ("apps/v1", "statefulsets", "StatefulSet", "nscg", "sts"),
    ("apps/v1", "replicasets", "ReplicaSet", "nscg", "rs"),
    ("apps/v1", "daemonsets", "DaemonSet", "nsg", "ds"),
    ("apps/v1", "controllerrevisions", "ControllerRevision", "n", ""),
    ("batch/v1", "jobs", "Job", "ns", ""),
    ("batch/v1", "cronjobs", "CronJob", "ns", "cj"),
    ("networking.k8s.io/v1", "ingresses", "Ingress", "nsg", "ing"),
    ("networking.k8s.io/v1", "ingressclasses", "IngressClass", "g", ""),
    ("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", "ng", "netpol"),
    ("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", "nsg", "pdb"),
    ("autoscaling/v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler", "ns", "hpa"),
    ("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", "ns", "hpa"),
    ("coordination.k8s.io/v1", "leases", "Lease", "n", ""),
    ("storage.k8s.io/v1", "storageclasses", "StorageClass", "", "sc"),
    ("scheduling.k8s.io/v1", "priorityclasses", "PriorityClass", "g", "pc"),
    ("rbac.authorization.k8s.io/v1", "roles", "Role", "n", ""),
    ("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding", "n", ""),
    ("rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole", "", ""),
    ("rbac.authorization.k8s.io/v1", "clusterrolebindings", "ClusterRoleBinding", "", ""),
    ("discovery.k8s.io/v1", "endpointslices", "EndpointSlice", "n", ""),
    (
        "apiextensions.k8s.io/v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "sg",
        "crd",
    ),
];

pub(super) const DEFINITIONS: &str = "apiextensions.k8s.io/v1/customresourcedefinitions";

/// Every kind a cluster knows.
pub(super) struct Kinds(Vec<Arc<Kind>>);

impl Kinds {
    pub(super) fn built_in() -> Self {
        let kind = |(api, plural, kind, has, short): &(&str, &str, &str, &str, &str)| {
            let (group, version) = api.split_once('/').unwrap_or(("", api));
            // Two versions of one thing are kept as one of them.
            let kept = api.replace("autoscaling/v2", "autoscaling/v1");
            Arc::new(Kind {
                group: group.to_owned(),
                version: version.to_owned(),
                plural: (*plural).to_owned(),
                kind: (*kind).to_owned(),
                short: short
                    .split(' ')
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect(),
                namespaced: has.contains('n'),
                status: has.contains('s'),
                scale: has.contains('c').then(|| ScaleAt {
                    spec: "/spec/replicas".to_owned(),
                    status: "/status/replicas".to_owned(),
                    selector: String::new(),
                }),
                counted: has.contains('g'),
                custom: false,
                kept: format!("{kept}/{plural}"),
            })
        };
        Self(BUILT_IN.iter().map(kind).collect())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.0.iter()
    }

    /// Returns the kind of a resource, `GROUP/VERSION/PLURAL`.
    pub(super) fn of(&self, resource: &str) -> Option<Arc<Kind>> {
        let (api, plural) = resource.rsplit_once('/')?;
        let (group, version) = api.split_once('/').unwrap_or(("", api));
        let is_it = |kind: &&Arc<Kind>| {
            kind.plural == plural && kind.group == group && kind.version == version
        };
        self.0.iter().find(is_it).cloned()
    }

    /// Returns the kind an object says it is of.
    pub(super) fn of_object(&self, object: &Value) -> Option<Arc<Kind>> {
        self.named(text(object, "/apiVersion"), text(object, "/kind"))
    }

    pub(super) fn named(&self, api: &str, named: &str) -> Option<Arc<Kind>> {
        let (group, version) = api.split_once('/').unwrap_or(("", api));
        let is_it = |kind: &&Arc<Kind>| {
            kind.kind == named && kind.group == group && kind.version == version
        };
        self.0.iter().find(is_it).cloned()
    }

    /// Returns the kind of that name, whatever its group.
    pub(super) fn called(&self, name: &str) -> Option<Arc<Kind>> {
        self.0.iter().find(|kind| kind.kind == name).cloned()
    }

    /// Takes in what a CustomResourceDefinition defines, in place of what it defined before.
    pub(super) fn define(&mut self, definition: &Value) {
        self.undefine(definition);
        let group = text(definition, "/spec/group");
        let plural = text(definition, "/spec/names/plural");
        let versions = definition["spec"]["versions"].as_array();
        let versions: Vec<&Value> = versions.into_iter().flatten().collect();
        let kept = versions.iter().find(|version| version["storage"] == true);
        let kept = kept.map_or("", |version| text(version, "/name"));
        let short = definition["spec"]["names"]["shortNames"].as_array();
        let short: Vec<String> =
            short.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        for version in versions.iter().filter(|version| version["served"] != false) {
            let scale = version.pointer("/subresources/scale").map(|scale| ScaleAt {
                spec: pointer(text(scale, "/specReplicasPath")),
                status: pointer(text(scale, "/statusReplicasPath")),
                selector: pointer(text(scale, "/labelSelectorPath")),
            });
            self.0.push(Arc::new(Kind {
                group: group.to_owned(),
                version: text(version, "/name").to_owned(),
                plural: plural.to_owned(),
                kind: text(definition, "/spec/names/kind").to_owned(),
                short: short.clone(),
                namespaced: text(definition, "/spec/scope") == "Namespaced",
                status: version.pointer("/subresources/status").is_some(),
                scale,
                counted: true,
                custom: true,
                kept: format!("{group}/{kept}/{plural}"),
            }));
        }
    }

    /// Forgets what a CustomResourceDefinition defined.
    pub(super) fn undefine(&mut self, definition: &Value) {
        let group = text(definition, "/spec/group");
        let plural = text(definition, "/spec/names/plural");
        self.0.retain(|kind| !kind.custom || kind.group != group || kind.plural != plural);
    }
}

/// Turns `.spec.replicas` into `/spec/replicas`.
fn pointer(path: &str) -> String {
    path.replace('.', "/")
}
