//! A world's clusters: what of their manifests is there twice, lies nowhere, or is named and not there.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Checks;
use super::references::items;
use crate::runbook::near;
use crate::runbook::path::Path;
use crate::runbook::problem::Problem;
use crate::sandbox::lines::manifest_id;
use crate::sandbox::world::Kind;

/// Namespaces every cluster has.
const ALWAYS: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Names by region.
type Named<'a> = BTreeMap<&'a str, BTreeSet<Cow<'a, str>>>;

impl<'a> Checks<'a> {
    pub(super) fn clusters(&mut self) {
        let world = self.world;
        for region in world.clusters.keys() {
            let path = Path::root().key("clusters").key(region);
            if !self.region(&path, region) {
                self.doubts.whole(&path);
            }
        }
        self.manifests_twice();
        self.namespaces();
        let known = self.workloads();
        for (region, cluster) in &world.clusters {
            let path = Path::root().keys(&["clusters", region, "broken"]);
            for workload in cluster.broken.keys() {
                self.workload(&path.key(workload), (region, workload), &known);
            }
        }
        let endpoints = world.objects.iter().enumerate();
        for (i, object) in endpoints.filter(|(_, object)| object.kind == Kind::Endpoint) {
            let body = object.body.decode();
            let region = object.region.as_deref().unwrap_or_default();
            for (j, workload) in items(&body, "workloads").enumerate() {
                let path = Path::root().key("objects").item(i);
                let path = path.keys(&["body", "workloads"]).item(j);
                if let Some(workload) = workload.as_str() {
                    self.workload(&path, (region, workload), &known);
                }
            }
        }
    }

    /// Holds the name of a workload against those of its cluster.
    fn workload(&mut self, path: &Path, (region, workload): (&str, &str), known: &Named<'_>) {
        let known = known.get(region);
        if known.is_some_and(|known| known.contains(workload))
            || self.doubts.may_have_manifest("", workload)
        {
            return;
        }
        // A region the estate does not have is told by itself.
        if self.world.estate.regions.contains_key(region) {
            let message = format!("the cluster of {region} has no workload `{workload}`");
            let known = known.into_iter().flatten().map(AsRef::as_ref);
            self.missing(path, message, workload, known);
        }
    }

    /// A cluster has its manifests in two places: its own, and the objects of its region.
    fn manifests_twice(&mut self) {
        let world = self.world;
        let objects = world.objects.iter().filter(|object| object.kind == Kind::Kubernetes);
        let mut seen: BTreeSet<(&str, Cow<'_, str>)> = objects
            .map(|object| {
                (object.region.as_deref().unwrap_or_default(), Cow::Borrowed(object.id.as_str()))
            })
            .collect();
        for (region, cluster) in &world.clusters {
            for (i, manifest) in cluster.objects.iter().enumerate() {
                let id = manifest_id(manifest);
                if !seen.insert((region.as_str(), Cow::Owned(id.clone())))
                    && !self.doubts.has_manifest(region, &id)
                {
                    let path = Path::root().keys(&["clusters", region, "objects"]).item(i);
                    self.wrong(&path, format!("`{id}` is there twice in the cluster of {region}"));
                }
            }
        }
    }

    /// What lies in a namespace lies nowhere where the cluster does not have it.
    fn namespaces(&mut self) {
        let world = self.world;
        let mut there: Named<'_> = BTreeMap::new();
        for (region, id) in self.manifest_ids() {
            let name = match &id {
                Cow::Borrowed(id) => id.strip_prefix("Namespace/").map(Cow::Borrowed),
                Cow::Owned(id) => {
                    id.strip_prefix("Namespace/").map(|name| Cow::Owned(name.to_owned()))
                }
            };
            there.entry(region).or_default().extend(name);
        }
        for (i, object) in world.objects.iter().enumerate() {
            // An id that is not the manifest's own is told by itself.
            if object.kind != Kind::Kubernetes || self.doubts.has_object(i) {
                continue;
            }
            let mut parts = object.id.splitn(3, '/').skip(1);
            let (Some(namespace), Some(_)) = (parts.next(), parts.next()) else { continue };
            let region = object.region.as_deref().unwrap_or_default();
            let path =
                || Path::root().key("objects").item(i).keys(&["body", "metadata", "namespace"]);
            if self.lies_nowhere(&path, (region, namespace), &there) {
                self.doubts.object(world, i);
            }
        }
        for (region, cluster) in &world.clusters {
            for (i, manifest) in cluster.objects.iter().enumerate() {
                let Some(namespace) = namespace(manifest) else { continue };
                let path = || Path::root().keys(&["clusters", region, "objects"]).item(i);
                let inside = || path().keys(&["metadata", "namespace"]);
                if self.lies_nowhere(&inside, (region, namespace), &there) {
                    self.doubts.manifest(region, &manifest_id(manifest), &path());
                }
            }
        }
    }

    /// Holds a namespace against those of a cluster; says whether it is none of them.
    fn lies_nowhere(
        &mut self,
        path: &dyn Fn() -> Path,
        (region, namespace): (&str, &str),
        there: &Named<'_>,
    ) -> bool {
        let known = there.get(region);
        // A region the estate does not have is told by itself.
        if ALWAYS.contains(&namespace)
            || !self.world.estate.regions.contains_key(region)
            || known.is_some_and(|known| known.contains(namespace))
            || self.doubts.may_have_manifest("Namespace", namespace)
        {
            return false;
        }
        let message = format!("the cluster of {region} has no namespace `{namespace}`");
        let help = near::hint(namespace, known.into_iter().flatten().map(AsRef::as_ref));
        let help = help.unwrap_or_else(|| {
            format!("give the cluster one: {{ apiVersion: v1, kind: Namespace, metadata: {{ name: {namespace} }} }}")
        });
        let problem = Problem::at(self.places.at(&path()), message);
        self.problems.push(problem.help(help));
        true
    }

    /// Returns the ids of all manifests with their regions.
    fn manifest_ids(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> + use<'a> {
        let world = self.world;
        let objects = world.objects.iter().filter(|object| object.kind == Kind::Kubernetes);
        let objects = objects.map(|object| {
            (object.region.as_deref().unwrap_or_default(), Cow::Borrowed(object.id.as_str()))
        });
        let own = world.clusters.iter().flat_map(|(region, cluster)| {
            let ids = cluster.objects.iter().map(|manifest| Cow::Owned(manifest_id(manifest)));
            ids.map(move |id| (region.as_str(), id))
        });
        objects.chain(own)
    }

    /// Returns `namespace/name` of all that a cluster has.
    fn workloads(&self) -> Named<'a> {
        let mut known: Named<'_> = BTreeMap::new();
        for (region, id) in self.manifest_ids() {
            let Some((_, name)) = id.split_once('/') else { continue };
            let name = match (name.contains('/'), &id) {
                (true, Cow::Borrowed(id)) => {
                    Cow::Borrowed(id.split_once('/').unwrap_or_default().1)
                }
                (true, Cow::Owned(_)) => Cow::Owned(name.to_owned()),
                (false, _) => Cow::Owned(format!("default/{name}")),
            };
            known.entry(region).or_default().insert(name);
        }
        known
    }
}

fn namespace(manifest: &Map<String, Value>) -> Option<&str> {
    manifest.get("metadata")?.get("namespace")?.as_str()
}
