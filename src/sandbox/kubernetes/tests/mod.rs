//! The cluster as its clients find it, in virtual time.

mod changing;
mod fidelity;
mod reaching;
mod running;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;

use super::*;
use crate::clock::jump::{JumpClock, Pace};

pub(super) const MERGE: &str = "application/merge-patch+json";
pub(super) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(super) const APPLY: &str = "application/apply-patch+yaml";
pub(super) const JSON_PATCH: &str = "application/json-patch+json";

pub(super) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
pub(super) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(super) const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A cluster and its clock.
pub(super) struct Scene {
    pub clock: JumpClock,
    pub cluster: Cluster,
}

pub(super) fn behaviour(capacity: Option<u32>) -> Behaviour {
    Behaviour { startup: Duration::from_secs(20), capacity, broken: BTreeMap::new() }
}

impl Scene {
    pub(super) fn of(objects: Vec<Value>, behaviour: Behaviour) -> Self {
        let began: Timestamp = "2026-11-22T02:18:00Z".parse().expect("an instant");
        let clock = JumpClock::at(began, Pace::Max);
        let beginning = Beginning { objects, behaviour, began, version: 1 };
        let cluster = Cluster::load(beginning, Arc::new(clock.clone())).expect("it loads");
        Self { clock, cluster }
    }

    pub(super) fn new() -> Self {
        Self::of(Vec::new(), behaviour(None))
    }

    pub(super) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.clock.runtime().expect("a runtime").block_on(work)
    }

    pub(super) async fn passes(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }

    /// Asks, and returns the code and what was told.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: &Value,
    ) -> (u16, Value) {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .header("user-agent", "tester/1")
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        let (response, _) = self.cluster.clone().answer(request).await.expect("it answers");
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, "", &Value::Null).await.1
    }

    #[track_caller]
    pub(super) fn post<'a>(
        &'a self,
        path: &'a str,
        body: &'a Value,
    ) -> impl Future<Output = (u16, Value)> + 'a {
        self.ask(Method::POST, path, "application/json", body)
    }

    pub(super) async fn patch(&self, path: &str, kind: &str, body: &Value) -> (u16, Value) {
        self.ask(Method::PATCH, path, kind, body).await
    }

    pub(super) async fn delete(&self, path: &str) -> (u16, Value) {
        self.ask(Method::DELETE, path, "application/json", &Value::Null).await
    }

    /// Returns the pods that are there, by name.
    pub(super) async fn pods(&self) -> Vec<Value> {
        self.get(PODS).await["items"].as_array().cloned().unwrap_or_default()
    }
}

pub(super) fn deployment(name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name, "namespace": "default", "labels": { "app": name } },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "app", "image": "a:1" }] },
            },
        },
    })
}

pub(super) fn map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": "default" },
        "data": { "key": value },
    })
}

pub(super) fn is_ready(pod: &Value) -> bool {
    let mut all = pod["status"]["conditions"].as_array().into_iter().flatten();
    all.any(|one| one["type"] == "Ready" && one["status"] == "True")
}
