//! Watches: an answer that goes on, with a line for every change.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use http::{Method, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tower::BoxError;

use super::convert::outward;
use super::failure::Failure;
use super::request::Asked;
use super::selector::Selector;
use super::store::{Change, Store};
use super::{Answered, Cluster, table, verbs};
use crate::clock::since;

/// How long a watch goes on where nothing is said.
const LENGTH: SignedDuration = SignedDuration::from_mins(40);
/// How often a watch says how far it is.
const BOOKMARKS: SignedDuration = SignedDuration::from_secs(60);

/// One watch under way.
struct Watch {
    cluster: Cluster,
    asked: Asked,
    selector: Selector,
    /// What was told lies at or before it
    version: u64,
    until: Timestamp,
    /// When to say how far it is, where that is wanted
    bookmark: Option<Timestamp>,
    newer: Receiver<u64>,
    waiting: VecDeque<Value>,
    over: bool,
}

/// Says whether a request is one for a watch.
pub(super) fn is_one(asked: &Asked) -> bool {
    asked.method == Method::GET && asked.subresource.is_empty() && asked.flag("watch")
}

/// Begins a watch.
pub(super) fn begin(
    cluster: &Cluster,
    mut asked: Asked,
) -> Result<Result<Response<Answered>, BoxError>, Failure> {
    if let Some(name) = asked.name.take() {
        let by_name = format!("metadata.name={name}");
        asked.query.insert("fieldSelector".to_owned(), by_name);
    }
    let selector = asked.selector()?;
    let now = cluster.clock.now();
    let seconds = asked.parameter("timeoutSeconds").parse().ok().filter(|seconds| *seconds > 0);
    let length = seconds.map_or(LENGTH, SignedDuration::from_secs);
    let bookmark = asked.flag("allowWatchBookmarks").then_some(now + BOOKMARKS);
    // Taken before the first look: nothing that comes after it is missed.
    let newer = cluster.newer();
    let (version, waiting) = cluster.settled(|store| first(store, &asked, &selector))?;
    let watch = Watch {
        cluster: cluster.clone(),
        asked,
        selector,
        version,
        until: now.checked_add(length).unwrap_or(Timestamp::MAX),
        bookmark,
        newer,
        waiting,
        over: false,
    };
    Ok(watch.response())
}

/// Returns where a watch begins, and what it tells first.
fn first(
    store: &Store,
    asked: &Asked,
    selector: &Selector,
) -> Result<(u64, VecDeque<Value>), Failure> {
    let version = asked.parameter("resourceVersion");
    let whole = version.is_empty() || version == "0" || asked.flag("sendInitialEvents");
    if !whole {
        let from = version.parse().map_err(|_| verbs::invalid_version(version))?;
        return Ok((from, VecDeque::new()));
    }
    let all = store.of(&asked.kind.kept, &asked.namespace);
    let all = all.filter(|(_, object)| selector.matches(object));
    let mut told: VecDeque<Value> =
        all.map(|(_, object)| event(store, asked, "ADDED", object)).collect();
    if asked.flag("sendInitialEvents") {
        let mut mark = bookmark(asked, store.version());
        mark["object"]["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        told.push_back(mark);
    }
    Ok((store.version(), told))
}

fn event(store: &Store, asked: &Asked, kind: &str, object: &Value) -> Value {
    let object = outward(&asked.kind, object);
    let object = if asked.table { table::of(store, &asked.kind, object) } else { object };
    json!({ "type": kind, "object": object })
}

fn bookmark(asked: &Asked, version: u64) -> Value {
    let object = json!({
        "kind": asked.kind.kind,
        "apiVersion": asked.kind.api(),
        "metadata": { "resourceVersion": version.to_string(), "creationTimestamp": null },
    });
    json!({ "type": "BOOKMARK", "object": object })
}

impl Watch {
    fn response(self) -> Result<Response<Answered>, BoxError> {
        let lines = stream::unfold(self, |mut watch| async move {
            let line = watch.next().await?;
            let line = Bytes::from(format!("{line}\n"));
            Some((Ok::<_, BoxError>(Frame::data(line)), watch))
        });
        let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(lines)));
        response.headers_mut().insert("content-type", "application/json".parse()?);
        Ok(response)
    }

    /// Returns the next event, once there is one; nothing when the watch is over.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(told) = self.waiting.pop_front() {
                return Some(told);
            }
            let now = self.cluster.clock.now();
            if self.over || now >= self.until {
                return None;
            }
            self.newer.borrow_and_update();
            let next = self.look();
            if !self.waiting.is_empty() {
                continue;
            }
            if let Some(at) = self.bookmark.filter(|at| *at <= now) {
                self.bookmark = Some(at + BOOKMARKS);
                return Some(bookmark(&self.asked, self.version));
            }
            let ends = [Some(self.until), self.bookmark, next];
            let end = ends.into_iter().flatten().min().unwrap_or(self.until);
            let wait = since(now, end).max(Duration::from_millis(1));
            let sleep = self.cluster.clock.sleep(wait);
            // Neither holds anything: whichever is dropped is asked again in the next round.
            tokio::select! {
                _ = self.newer.changed() => {}
                () = sleep => {}
            }
        }
    }

    /// Looks what is new. Returns when something comes of itself.
    fn look(&mut self) -> Option<Timestamp> {
        let Self { cluster, asked, selector, version, waiting, over, .. } = self;
        cluster.clone().settled(|store| {
            let Some(changes) = store.changes_after(*version) else {
                let said =
                    format!("too old resource version: {version} ({})", store.known_from() + 1);
                let failure = Failure::expired(said);
                waiting.push_back(json!({ "type": "ERROR", "object": failure.status() }));
                *over = true;
                return None;
            };
            for change in changes {
                if let Some((kind, object)) = seen(change, asked, selector) {
                    waiting.push_back(event(store, asked, kind, &object));
                }
            }
            *version = store.version().max(*version);
            store.next_due()
        })
    }
}

/// Returns what a change is to a watch with a selector.
fn seen(change: &Change, asked: &Asked, selector: &Selector) -> Option<(&'static str, Arc<Value>)> {
    let (resource, namespace, _) = &change.key;
    if *resource != asked.kind.kept
        || (!asked.namespace.is_empty() && *namespace != asked.namespace)
    {
        return None;
    }
    let fits = |object: &Option<Arc<Value>>| {
        object.as_ref().is_some_and(|object| selector.matches(object))
    };
    match (fits(&change.before), fits(&change.after)) {
        (false, true) => Some(("ADDED", change.after.clone()?)),
        (true, true) => Some(("MODIFIED", change.after.clone()?)),
        (true, false) => {
            // What no longer fits is told as it last did, with the version of its change.
            let mut last = change.before.clone()?;
            let version = json!(change.version.to_string());
            Arc::make_mut(&mut last)["metadata"]["resourceVersion"] = version;
            Some(("DELETED", last))
        }
        (false, false) => None,
    }
}
