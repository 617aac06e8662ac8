//! A Kubernetes API server in memory, as far as this program's runbooks ask one: reads, lists with selectors, merge
//! patches with conflicts and dry runs, the scale subresource, access reviews; Deployments whose pods take time.
//!
//! What it does not know it answers as a server without it would, and says so to whoever watches.

mod controllers;
mod store;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};
use tower::BoxError;

use crate::clock::Clock;
pub(super) use store::Failure;
use store::Store;

/// How a cluster behaves.
#[derive(Debug, Clone)]
pub(crate) struct Behaviour {
    /// Until a pod is ready
    pub startup: Duration,
    /// Pods that find a place
    pub capacity: Option<u32>,
    /// Workloads (`namespace/name`) whose pods never become ready, and why
    pub broken: BTreeMap<String, String>,
}

/// A cluster. Clones share it.
#[derive(Clone)]
pub(crate) struct Cluster {
    store: Arc<Mutex<Store>>,
    clock: Arc<dyn Clock>,
}

/// What a request asks for.
struct Asked<'a> {
    method: Method,
    resource: String,
    namespace: &'a str,
    name: Option<&'a str>,
    subresource: &'a str,
    query: BTreeMap<String, String>,
    content_type: String,
}

impl Cluster {
    /// Makes a cluster of manifests; what has a status keeps it.
    pub(crate) fn load(
        objects: Vec<Value>,
        behaviour: Behaviour,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let store = Store::load(objects, behaviour, clock.now())?;
        Ok(Self { store: Arc::new(Mutex::new(store)), clock })
    }

    /// Tells a listener of every change from now on: the object, and whether it is gone.
    pub(crate) fn on_change(&self, listener: impl Fn(&Value, bool) + Send + Sync + 'static) {
        self.store().listener = Some(Arc::new(listener));
    }

    /// Returns an object as it is now.
    pub(crate) fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.settled(|store| store.find(kind, namespace, name))
    }

    /// Returns every object of a kind.
    pub(crate) fn objects_of(&self, kind: &str) -> Vec<Value> {
        self.settled(|store| store.of_kind(kind))
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the cluster as its controllers have made it by now, and tells what changed once the lock is free.
    fn settled<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        let now = self.clock.now();
        let (done, told, listener) = {
            let mut store = self.store();
            controllers::settle(&mut store, now);
            let done = work(&mut store);
            controllers::settle(&mut store, now);
            (done, store.told(), store.listener.clone())
        };
        if let Some(listener) = listener {
            told.iter().for_each(|(object, gone)| listener(object, *gone));
        }
        done
    }

    /// Answers a request as the API server does.
    pub(super) async fn answer(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        let content_type = parts.headers.get("content-type").and_then(|value| value.to_str().ok());
        let answered = match asked(&parts.method, &parts.uri, content_type.unwrap_or_default()) {
            Some(asked) => self.settled(|store| route(store, &asked, &body)),
            None => Err(store::nowhere()),
        };
        match answered {
            Ok((code, value)) => response(code, &value),
            Err(failure) => failure.response(),
        }
    }
}

fn response(code: u16, value: &Value) -> Result<Response<Body>, BoxError> {
    let mut response = Response::new(Body::from(value.to_string().into_bytes()));
    *response.status_mut() = StatusCode::from_u16(code)?;
    response.headers_mut().insert("content-type", "application/json".parse()?);
    Ok(response)
}

impl Failure {
    /// Returns it as an API server tells it.
    pub(super) fn response(&self) -> Result<Response<Body>, BoxError> {
        let Self { code, reason, message } = self;
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code,
        });
        response(*code, &status)
    }
}

fn asked<'a>(method: &Method, uri: &'a http::Uri, content_type: &str) -> Option<Asked<'a>> {
    let segments: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let (version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] => ((*version).to_owned(), rest),
        ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let query = uri.query().unwrap_or_default();
    Some(Asked {
        method: method.clone(),
        resource: format!("{version}/{}", rest.first()?),
        namespace,
        name: rest.get(1).copied(),
        subresource: rest.get(2).copied().unwrap_or_default(),
        query: super::aws::form(query),
        content_type: content_type.to_owned(),
    })
}

fn route(store: &mut Store, asked: &Asked<'_>, body: &[u8]) -> Result<(u16, Value), Failure> {
    let dry_run = asked.query.get("dryRun").is_some_and(|value| value == "All");
    let read = || -> Result<Value, Failure> {
        serde_json::from_slice(body)
            .map_err(|error| Failure::new(400, "BadRequest", error.to_string()))
    };
    match (&asked.method, asked.name, asked.subresource) {
        (&Method::POST, None, "") if asked.resource.starts_with("authorization.k8s.io/") => {
            let mut review = read()?;
            review["status"] = json!({ "allowed": true });
            Ok((201, review))
        }
        (&Method::GET, None, "") => {
            let selector = |name: &str| asked.query.get(name).map_or("", String::as_str);
            let (labels, fields) = (selector("labelSelector"), selector("fieldSelector"));
            store.list(&asked.resource, asked.namespace, labels, fields).map(|list| (200, list))
        }
        (&Method::GET, Some(name), "") => {
            store.get(&asked.resource, asked.namespace, name).map(|object| (200, object))
        }
        (&Method::GET, Some(name), "scale") => {
            let object = store.get(&asked.resource, asked.namespace, name)?;
            Ok((200, store::scale_of(&object)))
        }
        (&Method::PATCH, Some(name), "" | "scale") => {
            if !asked.content_type.starts_with("application/merge-patch+json") {
                let message = format!("{} is not simulated", asked.content_type);
                return Err(Failure::new(415, "UnsupportedMediaType", message));
            }
            let (patch, scale) = (read()?, asked.subresource == "scale");
            store
                .patch(&asked.resource, asked.namespace, name, &patch, scale, dry_run)
                .map(|object| (200, object))
        }
        (&Method::POST, None, "") => {
            let made = store.create(&asked.resource, asked.namespace, read()?, dry_run)?;
            Ok((201, made))
        }
        (&Method::DELETE, Some(name), "") => {
            store.delete(&asked.resource, asked.namespace, name, dry_run).map(|gone| (200, gone))
        }
        (method, _, subresource) => {
            let message = format!("{method} {subresource} is not simulated");
            Err(Failure::new(405, "MethodNotAllowed", message))
        }
    }
}
