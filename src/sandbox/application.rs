//! The application in the simulated clusters: which of its pods run, and to which database they are connected.
//!
//! A pod reads its database's host when it starts, so it is connected to what its Secret, ConfigMap, Service or record said
//! then.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::Sandbox;
use super::kubernetes::{Cluster, selects};
use super::log::Entry;
use super::objects::text;
use super::world::{Kind, Postgres};
use crate::estate::types::ApplicationEndpoint;

/// What an object is called: its version, kind, namespace and name.
type Identity = (String, String, String, String);

/// Takes what a log knows of a cluster's objects back in. Returns the latest version it knows of.
pub(super) fn replay(manifests: &mut Vec<Value>, region: &str, entries: &[Entry]) -> u64 {
    let mut known: BTreeMap<Identity, Option<Value>> = BTreeMap::new();
    let mut latest = 0;
    for entry in entries {
        let Entry::Cluster { region: of, object, gone, .. } = entry else { continue };
        if of != region {
            continue;
        }
        let version = text(&object["metadata"], "resourceVersion").parse().unwrap_or(0);
        latest = latest.max(version);
        known.insert(identity(object), (!gone).then(|| object.clone()));
    }
    if known.is_empty() {
        return latest;
    }
    manifests.retain(|manifest| !known.contains_key(&identity(manifest)));
    manifests.extend(known.into_values().flatten());
    latest
}

fn identity(manifest: &Value) -> Identity {
    let metadata = &manifest["metadata"];
    // What a manifest leaves out is `default`; what lies in no namespace is told without one.
    let namespace = match text(metadata, "namespace") {
        "default" => "",
        namespace => namespace,
    };
    (
        text(manifest, "apiVersion").to_owned(),
        text(manifest, "kind").to_owned(),
        namespace.to_owned(),
        text(metadata, "name").to_owned(),
    )
}

/// A pod that runs.
struct Pod {
    address: String,
    name: String,
    started: Timestamp,
    labels: Value,
    owner: String,
}

impl Sandbox {
    /// Logs every change of the clusters, and remembers where the application's database was when.
    pub(super) fn watch_clusters(&self, entries: &[Entry]) {
        for (region, cluster) in &self.0.clusters {
            if entries.is_empty() {
                self.log_beginning(region, cluster);
            }
            self.remember_hosts(region, entries);
            self.note_host(region, Timestamp::MIN);
            let (weak, region) = (std::sync::Arc::downgrade(&self.0), region.clone());
            cluster.on_change(move |object, gone| {
                let Some(inner) = weak.upgrade() else { return };
                let sandbox = Self(inner);
                let at = sandbox.clock().now();
                let entry =
                    Entry::Cluster { at, region: region.clone(), object: object.clone(), gone };
                sandbox.state().objects.write(&entry);
                if !gone && let Some(key) = sandbox.holds_host(object) {
                    sandbox.heard(&region, at, host_of(object, &key));
                }
            });
        }
    }

    /// Logs what a cluster made of its manifests: it is part of how it began.
    fn log_beginning(&self, region: &str, cluster: &Cluster) {
        if !self.state().objects.is_logged() {
            return;
        }
        let kinds = [
            "Deployment",
            "ReplicaSet",
            "StatefulSet",
            "Job",
            "Node",
            "Pod",
            "HorizontalPodAutoscaler",
        ];
        for kind in kinds {
            let (made, at) = (cluster.objects_of(kind), self.clock().now());
            let mut state = self.state();
            for object in made {
                let (region, object) = (region.to_owned(), (*object).clone());
                state.objects.write(&Entry::Cluster { at, region, object, gone: false });
            }
        }
    }

    fn application(&self) -> Option<&ApplicationEndpoint> {
        self.0.world.estate.database.as_ref()?.application.as_ref()
    }

    /// Remembers what a log says of where the application's database was when.
    fn remember_hosts(&self, region: &str, entries: &[Entry]) {
        if let Some(holder) = self.application().and_then(holder) {
            for object in self.0.world.manifests_called(region, holder.kind, holder.name) {
                if let Some(key) = self.holds_host(&object) {
                    self.heard(region, Timestamp::MIN, host_of(&object, &key));
                }
            }
        }
        for entry in entries {
            if let Entry::Cluster { at, region: of, object, gone: false } = entry
                && of == region
                && let Some(key) = self.holds_host(object)
            {
                self.heard(region, *at, host_of(object, &key));
            }
        }
    }

    /// Returns the key under which an object holds the database's host, where it does.
    fn holds_host(&self, object: &Value) -> Option<String> {
        let Holder { kind, namespace, name, key } = self.application().and_then(holder)?;
        let named = (text(&object["metadata"], "namespace"), text(&object["metadata"], "name"));
        let is_it = text(object, "kind") == kind && named == (namespace, name);
        is_it.then(|| key.to_owned())
    }

    /// Remembers which host the application of a region would be told now.
    fn note_host(&self, region: &str, at: Timestamp) {
        let host = self.host_now(region);
        self.heard(region, at, host);
    }

    fn heard(&self, region: &str, at: Timestamp, host: Option<String>) {
        let Some(host) = host else { return };
        // Pods know their beginning to the second.
        let at = Timestamp::from_second(at.as_second()).unwrap_or(at);
        let mut state = self.state();
        let known = state.hosts.entry(region.to_owned()).or_default();
        if known.last().is_none_or(|(_, last)| *last != host) {
            known.push((at, host));
        }
    }

    fn host_now(&self, region: &str) -> Option<String> {
        let application = self.application()?;
        if let Some(record) = &application.cname {
            return self.ask("the pods'", &record.name, "CNAME").into_iter().next();
        }
        let Holder { kind, namespace, name, key } = holder(application)?;
        let found = self.0.clusters.get(region)?.object(kind, namespace, name)?;
        host_of(&found, key)
    }

    fn pods(&self, region: &str) -> Vec<Pod> {
        let Some(cluster) = self.0.clusters.get(region) else { return Vec::new() };
        cluster.objects_of("Pod").iter().filter(|each| ready(each)).map(|each| pod(each)).collect()
    }

    /// Says whether a workload of a region has a ready pod.
    pub(super) fn serves(&self, region: &str, workload: &str) -> bool {
        let Some((namespace, name)) = workload.split_once('/') else { return false };
        let owner = format!("{namespace}/{name}");
        self.pods(region).iter().any(|pod| pod.owner.starts_with(&owner))
    }

    /// Returns address and name of every pod of the application that is connected to an instance.
    pub(super) fn connected(&self, region: &str, id: &str) -> Vec<(String, String)> {
        let Some(selector) = self.application().and_then(|known| known.pods.as_ref()) else {
            return Vec::new();
        };
        let Some(address) = self.address_of_instance(region, id) else { return Vec::new() };
        let body: Option<Postgres> = {
            let state = self.state();
            let body = state.objects.get(Kind::Postgres, region, id).cloned();
            body.and_then(|body| serde_json::from_value(body).ok())
        };
        // Nobody of the application gets in while its roles may not log in.
        if body.is_none_or(|body| !body.roles.is_empty() && !body.roles.values().any(|may| *may)) {
            return Vec::new();
        }
        let dark = self.state().dark();
        let mut found = Vec::new();
        for region in self.0.clusters.keys().filter(|region| !dark.contains_key(*region)) {
            let hosts = self.state().hosts.get(region).cloned().unwrap_or_default();
            for pod in self.pods(region) {
                let told = hosts.iter().rev().find(|(since, _)| *since <= pod.started);
                let is_told = told.is_some_and(|(_, host)| *host == address);
                if is_told && selects(&selector.selector, &pod.labels) {
                    found.push((pod.address, pod.name));
                }
            }
        }
        found
    }

    fn address_of_instance(&self, region: &str, id: &str) -> Option<String> {
        let state = self.state();
        let body = state.objects.get(Kind::RdsInstance, region, id)?;
        Some(text(body.get("Endpoint")?, "Address").to_owned())
    }

    /// Says whether the application of a region is connected to a database that takes writes.
    pub(super) fn application_writes(&self, region: &str) -> bool {
        let instances: Vec<(String, String)> = {
            let state = self.state();
            let all = state.objects.everywhere(Kind::RdsInstance);
            all.map(|(key, _)| (key.region.clone(), key.id.clone())).collect()
        };
        let names: Vec<String> = self.pods(region).into_iter().map(|pod| pod.name).collect();
        instances.iter().any(|(home, id)| {
            self.in_recovery(home, id) == Some(false)
                && self.connected(home, id).iter().any(|(_, name)| names.contains(name))
        })
    }
}

/// The object of a cluster the application has its database's host from.
struct Holder<'a> {
    kind: &'static str,
    namespace: &'a str,
    name: &'a str,
    /// Where in it the host is
    key: &'a str,
}

fn holder(application: &ApplicationEndpoint) -> Option<Holder<'_>> {
    let ApplicationEndpoint { secret, config_map, service, .. } = application;
    if let Some(service) = service {
        let (namespace, name) = (service.namespace.as_str(), service.name.as_str());
        return Some(Holder { kind: "Service", namespace, name, key: "externalName" });
    }
    let (kind, object) = match (secret, config_map) {
        (Some(key), _) => ("Secret", key),
        (None, Some(key)) => ("ConfigMap", key),
        (None, None) => return None,
    };
    Some(Holder { kind, namespace: &object.namespace, name: &object.name, key: &object.host_key })
}

fn host_of(object: &Value, key: &str) -> Option<String> {
    let plain = match text(object, "kind") {
        "Service" => object["spec"].get(key),
        "ConfigMap" => object["data"].get(key),
        _ => object["stringData"].get(key),
    };
    match plain.and_then(Value::as_str) {
        Some(host) => Some(host.to_owned()),
        None => decoded(text(&object["data"], key)),
    }
}

fn ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| text(condition, "type") == "Ready" && text(condition, "status") == "True")
}

fn pod(pod: &Value) -> Pod {
    let metadata = &pod["metadata"];
    let owner = metadata["ownerReferences"].get(0).map_or("", |owner| text(owner, "name"));
    Pod {
        address: text(&pod["status"], "podIP").to_owned(),
        name: text(metadata, "name").to_owned(),
        started: text(metadata, "creationTimestamp").parse().unwrap_or(Timestamp::MIN),
        labels: metadata["labels"].clone(),
        owner: format!("{}/{owner}", text(metadata, "namespace")),
    }
}

/// Undoes base64, as Secrets have it.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 255).unwrap_or(0));
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}
