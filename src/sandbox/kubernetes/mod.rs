//! A Kubernetes API server in memory, and the controllers behind it, in virtual time.
//!
//! A request is read by [`request`], carried out by [`verbs`], [`change`] and [`delete`] on the [`store`], and seen to by
//! the [`controllers`]; [`watch`] tells what changed, [`discovery`] what there is. What a real server has and this one
//! does not it refuses, and says so to whoever watches.

mod access;
mod change;
mod controllers;
mod convert;
mod defaults;
mod delete;
mod discovery;
mod eviction;
mod failure;
mod fields;
mod kinds;
mod managers;
pub(super) mod manifest;
mod operation;
mod patch;
mod place;
mod protobuf;
mod request;
mod rules;
mod schema;
mod selector;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod verbs;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::watch::{Receiver, Sender};
use tower::BoxError;

use crate::clock::Clock;
use access::Review;
pub(super) use failure::Failure;
use operation::Operation;
use request::Asked;
use selector::Selector;
use store::Store;

/// The body of an answer, which for a watch goes on.
pub(crate) type Answered = UnsyncBoxBody<Bytes, BoxError>;

/// Says whether a selector, as kubectl takes it, holds for labels; one that is none holds for nothing.
pub(super) fn selects(selector: &str, labels: &Value) -> bool {
    Selector::parse(selector, "", "Pod").is_ok_and(|selector| selector.has_labels(labels))
}

/// Returns labels a selector holds for; `None` where it is no selector.
pub(super) fn selected(selector: &str) -> Option<Map<String, Value>> {
    Selector::parse(selector, "", "Pod").ok().map(|selector| selector.example())
}

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

/// There is no machine for a pod, whatever room its cluster has.
pub(super) struct NoPlace {
    /// `None`: for good
    pub until: Option<Timestamp>,
}

/// What a cluster begins as.
pub(crate) struct Beginning {
    /// Manifests; what has a status keeps it
    pub objects: Vec<Value>,
    pub behaviour: Behaviour,
    /// When the world began
    pub began: Timestamp,
    /// The latest version that is known of
    pub version: u64,
}

/// A cluster. Clones share it.
#[derive(Clone)]
pub(crate) struct Cluster {
    store: Arc<Mutex<Store>>,
    clock: Arc<dyn Clock>,
    /// The latest version, for those who watch
    latest: Arc<Sender<u64>>,
}

impl Cluster {
    /// Makes a cluster.
    pub(crate) fn load(beginning: Beginning, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let Beginning { objects, behaviour, began, version } = beginning;
        let store = Store::load(objects, behaviour, (began, clock.now()), version)?;
        let latest = Arc::new(Sender::new(store.version()));
        Ok(Self { store: Arc::new(Mutex::new(store)), clock, latest })
    }

    /// Tells a listener of every change from now on: the object, and whether it is gone.
    pub(crate) fn on_change(&self, listener: impl Fn(&Value, bool) + Send + Sync + 'static) {
        self.store().listener = Some(Arc::new(listener));
    }

    /// Asks before a new pod gets its place: by its namespace, its name and the moment.
    pub(super) fn on_placing(
        &self,
        place: impl Fn(&str, &str, Timestamp) -> Option<NoPlace> + Send + Sync + 'static,
    ) {
        self.store().placing = Some(Arc::new(place));
    }

    /// Returns an object as it is now.
    pub(crate) fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.settled(|store| {
            let kept = store.kinds.called(kind)?.kept.clone();
            store.get(&(kept, namespace.to_owned(), name.to_owned())).cloned()
        })
    }

    /// Returns every object of a kind.
    pub(crate) fn objects_of(&self, kind: &str) -> Vec<Arc<Value>> {
        self.settled(|store| {
            let Some(kind) = store.kinds.called(kind) else { return Vec::new() };
            store.of(&kind.kept, "").map(|(_, object)| Arc::clone(object)).collect()
        })
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the cluster as its controllers have made it by now, and tells what changed once the lock is free.
    fn settled<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        let now = self.clock.now();
        let (done, told, listener, version) = {
            let mut store = self.store();
            controllers::settle(&mut store, now);
            let done = work(&mut store);
            controllers::settle(&mut store, now);
            (done, store.told(), store.listener.clone(), store.version())
        };
        if let Some(listener) = listener {
            told.iter().for_each(|(object, gone)| listener(object, *gone));
        }
        if !told.is_empty() {
            self.latest.send_replace(version);
        }
        done
    }

    /// Returns who is told of each new version.
    fn newer(&self) -> Receiver<u64> {
        self.latest.subscribe()
    }

    /// Answers a request as the API server does. A failure says what was asked that the simulation does not know.
    pub(super) async fn answer<B>(
        self,
        request: Request<B>,
    ) -> Result<(Response<Answered>, Option<String>), BoxError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(Into::into)?.to_bytes();
        if let Some(told) = self.settled(|store| discovery::answer(store, &parts)) {
            return Ok((told?, None));
        }
        let review = Review::of(parts.uri.path()).filter(|_| parts.method == Method::POST);
        if let Some(review) = review {
            let asked = reviewed(&parts.headers, &body);
            let told = match asked.and_then(|asked| access::answer(review, asked)) {
                Ok(review) => response(201, &review)?,
                Err(failure) => failure.response()?,
            };
            return Ok((told, None));
        }
        let asked = self
            .settled(|store| Asked::of(&parts.method, &parts.uri, &parts.headers, &store.kinds));
        let asked =
            asked.and_then(|asked| Operation::of(&asked).map(|operation| (operation, asked)));
        let answered = match asked {
            Ok((Operation::Watch, asked)) => {
                return match watch::begin(&self, asked) {
                    Ok(stream) => Ok((stream?, None)),
                    Err(failure) => Ok((failure.response()?, None)),
                };
            }
            Ok((operation, asked)) => self.settled(|store| {
                let (code, value) = route(store, operation, &asked, &body)?;
                let value = if asked.table { table::of(store, &asked.kind, value) } else { value };
                Ok((code, value))
            }),
            Err(failure) => Err(failure),
        };
        match answered {
            Ok((code, value)) => Ok((response(code, &value)?, None)),
            Err(failure) => Ok((failure.response()?, failure.beyond)),
        }
    }
}

fn whole(bytes: Vec<u8>) -> Answered {
    Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync()
}

fn response(code: u16, value: &Value) -> Result<Response<Answered>, BoxError> {
    let mut response = Response::new(whole(value.to_string().into_bytes()));
    *response.status_mut() = StatusCode::from_u16(code)?;
    response.headers_mut().insert("content-type", "application/json".parse()?);
    Ok(response)
}

/// Returns the body of an answer that broke off.
pub(super) fn torn() -> Answered {
    whole(b"{\"kind\":\"Dep".to_vec())
}

fn route(
    store: &mut Store,
    operation: Operation,
    asked: &Asked,
    body: &[u8],
) -> Result<(u16, Value), Failure> {
    let ok = |value: Value| (200, value);
    // Lists have no name, and what is done to them asks for none.
    let name = asked.name.as_deref().unwrap_or_default();
    match operation {
        Operation::List => verbs::list(store, asked).map(ok),
        Operation::Create => {
            let object = asked.object(body)?;
            verbs::create(store, asked, object).map(|made| (201, made))
        }
        Operation::DeleteCollection => {
            let how = delete::How::of(asked, body)?;
            delete::many(store, asked, &how).map(ok)
        }
        Operation::Get | Operation::GetStatus => verbs::get(store, asked, name).map(ok),
        Operation::Update | Operation::UpdateStatus | Operation::Finalize => {
            let object = asked.object(body)?;
            verbs::replace(store, asked, name, object).map(ok)
        }
        Operation::GetScale => change::scale(store, asked, name).map(ok),
        Operation::UpdateScale => {
            let scale = asked.object(body)?;
            verbs::fits_place(asked, &scale)?;
            change::rescaled(store, asked, name, &scale).map(ok)
        }
        Operation::Patch | Operation::PatchStatus | Operation::PatchScale => {
            change::patched(store, asked, name, body)
        }
        Operation::Evict => eviction::evict(store, asked, name, &asked.object(body)?),
        Operation::Delete => {
            let how = delete::How::of(asked, body)?;
            delete::one(store, asked, name, &how)
        }
        // A watch is no answer but a stream of them: it has begun before.
        Operation::Watch => Err(Failure::method()),
    }
}

/// Reads the body of a review.
fn reviewed(headers: &HeaderMap, body: &[u8]) -> Result<Value, Failure> {
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next() == Some(protobuf::MEDIA) {
        let known = ["application/json", "application/yaml", protobuf::MEDIA];
        return protobuf::decode(body).ok_or_else(|| Failure::media(&known));
    }
    serde_json::from_slice(body).map_err(|error| Failure::bad(error.to_string()))
}

fn status_ok() -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 })
}
