//! Manifests of world files, held against the types of their kinds before a cluster takes them in.
//!
//! The types are those of the Kubernetes API; what a type cannot say of numbers is said here.

use k8s_openapi::api::{
    apps, autoscaling, batch, coordination, core, discovery, networking, policy, rbac, scheduling,
    storage,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::kinds::Kinds;
use super::rules::quantities;
use super::store::text;
use crate::runbook::near;
use crate::runbook::path::Path;

/// Something in a manifest that its kind does not have.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Misfit {
    pub path: Path,
    pub message: String,
    pub help: Option<String>,
}

/// Numbers that are counts: where they are, and the least they may be.
const COUNTS: [(&str, &[&str], i64); 12] = [
    ("Deployment", &["spec", "replicas"], 0),
    ("Deployment", &["spec", "progressDeadlineSeconds"], 0),
    ("Deployment", &["spec", "minReadySeconds"], 0),
    ("Deployment", &["spec", "revisionHistoryLimit"], 0),
    ("StatefulSet", &["spec", "replicas"], 0),
    ("StatefulSet", &["spec", "minReadySeconds"], 0),
    ("ReplicaSet", &["spec", "replicas"], 0),
    ("Job", &["spec", "parallelism"], 0),
    ("Job", &["spec", "completions"], 0),
    ("Job", &["spec", "backoffLimit"], 0),
    ("HorizontalPodAutoscaler", &["spec", "minReplicas"], 0),
    ("HorizontalPodAutoscaler", &["spec", "maxReplicas"], 1),
];

/// The kinds that the manifests of a cluster may be of.
pub(in crate::sandbox) struct Known(Kinds);

impl Known {
    /// Returns what every cluster knows.
    pub(in crate::sandbox) fn built_in() -> Self {
        Self(Kinds::built_in())
    }

    /// Takes in what a CustomResourceDefinition among the manifests defines.
    pub(in crate::sandbox) fn define(&mut self, manifest: &Value) {
        if text(manifest, "/kind") == "CustomResourceDefinition" {
            self.0.define(manifest);
        }
    }

    /// Returns what is wrong with a manifest, its instants resolved.
    pub(in crate::sandbox) fn misfits(&self, mut manifest: Value) -> Vec<Misfit> {
        if let Some(unknown) = self.unknown(&manifest) {
            return vec![unknown];
        }
        quantities(&mut manifest);
        let typed = typed(&manifest);
        typed.map_or_else(|| counts(&manifest), |misfit| vec![misfit])
    }

    fn unknown(&self, manifest: &Value) -> Option<Misfit> {
        let (api, kind) = (text(manifest, "/apiVersion"), text(manifest, "/kind"));
        if self.0.named(api, kind).is_some() {
            return None;
        }
        let of_kind = self.0.all().filter(|known| known.kind == kind);
        let apis: Vec<String> = of_kind.map(|known| known.api()).collect();
        let (key, given, known) = match apis.is_empty() {
            true => ("kind", kind, self.0.all().map(|known| known.kind.clone()).collect()),
            false => ("apiVersion", api, apis.clone()),
        };
        let help = near::hint(given, known.iter().map(String::as_str));
        let own = (!apis.is_empty()).then(|| format!("{kind} is simulated in {}", apis.join(", ")));
        Some(Misfit {
            path: Path::root().key(key),
            message: format!("`{kind}` of `{api}` is not simulated"),
            help: own.or(help),
        })
    }
}

/// Reads a manifest as its kind's type; returns what keeps it from being one.
fn typed(manifest: &Value) -> Option<Misfit> {
    match (text(manifest, "/apiVersion"), text(manifest, "/kind")) {
        ("v1", "ConfigMap") => read::<core::v1::ConfigMap>(manifest),
        ("v1", "Endpoints") => read::<core::v1::Endpoints>(manifest),
        ("v1", "Event") => read::<core::v1::Event>(manifest),
        ("v1", "LimitRange") => read::<core::v1::LimitRange>(manifest),
        ("v1", "Namespace") => read::<core::v1::Namespace>(manifest),
        ("v1", "Node") => read::<core::v1::Node>(manifest),
        ("v1", "PersistentVolume") => read::<core::v1::PersistentVolume>(manifest),
        ("v1", "PersistentVolumeClaim") => read::<core::v1::PersistentVolumeClaim>(manifest),
        ("v1", "Pod") => read::<core::v1::Pod>(manifest),
        ("v1", "ResourceQuota") => read::<core::v1::ResourceQuota>(manifest),
        ("v1", "Secret") => read::<core::v1::Secret>(manifest),
        ("v1", "Service") => read::<core::v1::Service>(manifest),
        ("v1", "ServiceAccount") => read::<core::v1::ServiceAccount>(manifest),
        ("apps/v1", "ControllerRevision") => read::<apps::v1::ControllerRevision>(manifest),
        ("apps/v1", "DaemonSet") => read::<apps::v1::DaemonSet>(manifest),
        ("apps/v1", "Deployment") => read::<apps::v1::Deployment>(manifest),
        ("apps/v1", "ReplicaSet") => read::<apps::v1::ReplicaSet>(manifest),
        ("apps/v1", "StatefulSet") => read::<apps::v1::StatefulSet>(manifest),
        ("autoscaling/v1", "HorizontalPodAutoscaler") => {
            read::<autoscaling::v1::HorizontalPodAutoscaler>(manifest)
        }
        ("autoscaling/v2", "HorizontalPodAutoscaler") => {
            read::<autoscaling::v2::HorizontalPodAutoscaler>(manifest)
        }
        ("batch/v1", "CronJob") => read::<batch::v1::CronJob>(manifest),
        ("batch/v1", "Job") => read::<batch::v1::Job>(manifest),
        ("coordination.k8s.io/v1", "Lease") => read::<coordination::v1::Lease>(manifest),
        ("discovery.k8s.io/v1", "EndpointSlice") => read::<discovery::v1::EndpointSlice>(manifest),
        ("networking.k8s.io/v1", "Ingress") => read::<networking::v1::Ingress>(manifest),
        ("networking.k8s.io/v1", "IngressClass") => read::<networking::v1::IngressClass>(manifest),
        ("networking.k8s.io/v1", "NetworkPolicy") => {
            read::<networking::v1::NetworkPolicy>(manifest)
        }
        ("policy/v1", "PodDisruptionBudget") => read::<policy::v1::PodDisruptionBudget>(manifest),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => read::<rbac::v1::ClusterRole>(manifest),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => {
            read::<rbac::v1::ClusterRoleBinding>(manifest)
        }
        ("rbac.authorization.k8s.io/v1", "Role") => read::<rbac::v1::Role>(manifest),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => read::<rbac::v1::RoleBinding>(manifest),
        ("scheduling.k8s.io/v1", "PriorityClass") => {
            read::<scheduling::v1::PriorityClass>(manifest)
        }
        ("storage.k8s.io/v1", "StorageClass") => read::<storage::v1::StorageClass>(manifest),
        // Of a CustomResourceDefinition, and of what one defines, only the cluster itself knows.
        _ => None,
    }
}

fn read<T: DeserializeOwned>(manifest: &Value) -> Option<Misfit> {
    let error = serde_path_to_error::deserialize::<_, T>(manifest).err()?;
    let kind = text(manifest, "/kind");
    let article = if kind.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" };
    let path = Path::from(error.path());
    let message = match path.0.is_empty() {
        true => format!("not {article} {kind}: {}", error.inner()),
        false => format!("not {article} {kind}: {path}: {}", error.inner()),
    };
    Some(Misfit { path, message, help: None })
}

/// Holds numbers against what they may be.
fn counts(manifest: &Value) -> Vec<Misfit> {
    let kind = text(manifest, "/kind");
    let number = |path: &[&str]| manifest.pointer(&format!("/{}", path.join("/")))?.as_i64();
    let misfit = |path: &[&str], message: String| Misfit {
        path: Path::root().keys(path),
        message,
        help: None,
    };
    let own = COUNTS.iter().filter(|(of, ..)| *of == kind);
    let low = own.filter_map(|(_, path, least)| {
        let found = number(path).filter(|found| found < least)?;
        Some(misfit(path, format!("{found} is too small; at least {least}")))
    });
    let mut found: Vec<Misfit> = low.collect();
    let (least, most) = (["spec", "minReplicas"], ["spec", "maxReplicas"]);
    if kind == "HorizontalPodAutoscaler"
        && let (Some(low), Some(high)) = (number(&least), number(&most))
        && low > high
    {
        found.push(misfit(&least, format!("minReplicas {low} is more than maxReplicas {high}")));
    }
    found
}
