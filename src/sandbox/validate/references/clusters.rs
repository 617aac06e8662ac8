//! The estate's clusters, the workloads of its services, and what autoscalers scale.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Dangling, Lack, Look};
use crate::runbook::near;
use crate::runbook::path::Path;
use crate::sandbox::fault::Service;
use crate::sandbox::lines::manifest_id;
use crate::sandbox::world::Kind;

const AUTOSCALER: &str = "HorizontalPodAutoscaler";
/// What every cluster can scale; what scales besides is of kinds a world need not have.
const SCALED: [&str; 2] = ["Deployment", "StatefulSet"];

impl<'a> Look<'a> {
    pub(super) fn clusters(&mut self) {
        let estate = &self.world.estate;
        for region in estate.clusters.keys() {
            // One under a name that is no region of the estate is told by itself, and may be meant.
            let regions = &estate.regions;
            let may_be = self.world.clusters.keys().any(|name| !regions.contains_key(name));
            if !self.world.clusters.contains_key(region)
                && !may_be
                && !self.is_nowhere(region)
                && !self.doubts.touches(&Path::root().keys(&["clusters", region]))
            {
                let path = Path::root().keys(&["estate", "clusters", region]);
                let context = &estate.clusters[region].context;
                self.report(
                    path.key("context"),
                    ("cluster", Some(region), context),
                    std::iter::empty(),
                );
                if let Some(last) = self.found.last_mut() {
                    last.help = Some(format!("give the world one: `clusters.{region}: {{}}`"));
                }
            }
        }
        for (i, service) in estate.services.iter().enumerate() {
            if let Some(workload) = &service.workload {
                let path = Path::root().keys(&["estate", "services"]).item(i).key("workload");
                self.everywhere(&path, "Deployment", workload);
            }
        }
    }

    /// Returns the ids of a cluster's manifests that begin so.
    pub(super) fn ids(&self, region: &str, beginning: &str) -> Vec<String> {
        let known = self.manifests.get(region).into_iter().flatten();
        let known = known.filter(|id| id.starts_with(beginning));
        known.map(|id| id.clone().into_owned()).collect()
    }

    /// Returns the id a cluster has something under; what lies in `default` is told without it as well.
    pub(super) fn id_of(&self, region: &str, kind: &str, name: &str) -> Option<String> {
        let known = self.manifests.get(region)?;
        let bare = name.strip_prefix("default/").map(|name| format!("{kind}/{name}"));
        let mut ids = [format!("{kind}/{name}")].into_iter().chain(bare);
        ids.find(|id| known.contains(id.as_str()))
    }

    /// Returns a manifest of a cluster.
    pub(super) fn manifest(&self, region: &str, id: &str) -> Option<Cow<'a, Map<String, Value>>> {
        if !self.manifests.get(region)?.contains(id) {
            return None;
        }
        let own = self.world.clusters.get(region).into_iter();
        let mut own = own.flat_map(|cluster| cluster.objects.iter());
        if let Some(found) = own.find(|manifest| manifest_id(manifest) == id) {
            return Some(Cow::Borrowed(found));
        }
        let mut lines = self.world.objects.iter();
        let found = lines.find(|object| {
            object.kind == Kind::Kubernetes
                && object.region.as_deref() == Some(region)
                && object.id == id
        });
        found.map(|object| object.body.decode())
    }

    /// Holds what must be in every cluster of the estate against what is in each.
    pub(super) fn everywhere(&mut self, path: &Path, kind: &str, name: &str) {
        for region in self.world.estate.clusters.keys() {
            if !self.manifests.contains_key(region.as_str())
                || self.id_of(region, kind, name).is_some()
                || self.doubts.may_have_manifest(kind, name)
            {
                continue;
            }
            let beginning = format!("{kind}/");
            let known = self.ids(region, &beginning);
            if known.is_empty() && self.may_be_bare(region, Service::Kubernetes) {
                continue;
            }
            let names = known.iter().filter_map(|id| id.strip_prefix(&beginning));
            self.report(path.clone(), (kind, Some(region), name), names);
        }
    }

    /// Holds what an autoscaler scales against the workloads of its cluster.
    pub(super) fn autoscalers(&mut self) {
        for (i, object) in self.world.objects.iter().enumerate() {
            if object.kind == Kind::Kubernetes
                && object.id.starts_with(AUTOSCALER)
                && !self.doubts.has_object(i)
            {
                let path = Path::root().key("objects").item(i).key("body");
                let region = object.region.as_deref().unwrap_or_default();
                self.scaled(&path, region, &object.body.decode());
            }
        }
        for (region, cluster) in &self.world.clusters {
            for (i, manifest) in cluster.objects.iter().enumerate() {
                if manifest.get("kind").and_then(Value::as_str) == Some(AUTOSCALER)
                    && !self.doubts.has_manifest(region, &manifest_id(manifest))
                {
                    let path = Path::root().keys(&["clusters", region, "objects"]).item(i);
                    self.scaled(&path, region, manifest);
                }
            }
        }
    }

    fn scaled(&mut self, path: &Path, region: &str, manifest: &Map<String, Value>) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let scaler = Value::Object(manifest.clone());
        let target = &scaler["spec"]["scaleTargetRef"];
        let (kind, name) = (text(&target["kind"]), text(&target["name"]));
        let namespace = match text(&scaler["metadata"]["namespace"]).as_str() {
            "" => "default".to_owned(),
            namespace => namespace.to_owned(),
        };
        let path = path.keys(&["spec", "scaleTargetRef"]);
        if !SCALED.contains(&kind.as_str()) {
            // A kind that is nearly one of these is a slip, any other is somebody's own.
            if let Some(help) = near::hint(&kind, SCALED.into_iter()) {
                let said = text(&scaler["metadata"]["name"]);
                self.found.push(Dangling {
                    path: path.key("kind"),
                    what: format!("kind {kind}"),
                    region: Some(region.to_owned()),
                    lack: Lack::Named,
                    message: format!("autoscaler `{namespace}/{said}` scales a `{kind}`"),
                    help: Some(help),
                });
            }
            return;
        }
        if self.id_of(region, &kind, &format!("{namespace}/{name}")).is_some()
            || self.doubts.may_have_manifest(&kind, &name)
            || name.is_empty()
        {
            return;
        }
        let beginning = format!("{kind}/{namespace}/");
        let known = self.ids(region, &beginning);
        let names = known.iter().filter_map(|id| id.strip_prefix(&beginning));
        let names: Vec<String> = names.map(str::to_owned).collect();
        self.report(
            path.key("name"),
            (&kind, Some(region), &name),
            names.iter().map(String::as_str),
        );
        if let Some(last) = self.found.last_mut() {
            let own = text(&scaler["metadata"]["name"]);
            last.what = format!("{kind} {namespace}/{name}, which an autoscaler scales");
            last.message = format!(
                "autoscaler `{namespace}/{own}` scales {kind} `{name}`, which the cluster of {region} does not have"
            );
        }
    }
}
