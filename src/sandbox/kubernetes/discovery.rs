//! What a cluster says of itself: its version, groups, resources and health.

use std::collections::BTreeMap;

use http::request::Parts;
use http::{Method, Response};
use serde_json::{Value, json};
use tower::BoxError;

use super::access::Review;
use super::kinds::Kind;
use super::store::Store;
use super::{Answered, response, schema, whole};

const VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

type Told = Result<Response<Answered>, BoxError>;

/// Answers a question about the server itself; nothing where it is none.
pub(super) fn answer(store: &Store, parts: &Parts) -> Option<Told> {
    if ![Method::GET, Method::HEAD].contains(&parts.method) {
        return None;
    }
    let path = parts.uri.path().trim_end_matches('/');
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let told = match segments.as_slice() {
        ["version"] => version(),
        ["api"] => json!({
            "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [],
        }),
        ["api", version] => resources(store, version)?,
        ["apis"] => json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups(store) }),
        ["apis", name] => {
            let mut group = groups(store).into_iter().find(|group| group["name"] == *name)?;
            group["kind"] = json!("APIGroup");
            group["apiVersion"] = json!("v1");
            group
        }
        ["apis", group, version] => resources(store, &format!("{group}/{version}"))?,
        ["healthz" | "livez" | "readyz", ..] => return Some(plain("ok")),
        ["openapi", "v2"] => {
            let accepts = parts.headers.get("accept").and_then(|value| value.to_str().ok());
            return Some(schema::answer(store, accepts.unwrap_or_default()));
        }
        _ => return None,
    };
    Some(response(200, &told))
}

fn plain(text: &str) -> Told {
    let mut response = Response::new(whole(text.as_bytes().to_vec()));
    response.headers_mut().insert("content-type", "text/plain; charset=utf-8".parse()?);
    Ok(response)
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "33", "gitVersion": "v1.33.0+simulation", "gitCommit": "",
        "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "",
        "compiler": "", "platform": "linux/amd64",
    })
}

fn groups(store: &Store) -> Vec<Value> {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for kind in store.kinds.all().filter(|kind| !kind.group.is_empty()) {
        let versions = all.entry(&kind.group).or_default();
        if !versions.contains(&kind.version.as_str()) {
            versions.push(&kind.version);
        }
    }
    for group in ["authorization.k8s.io", "authentication.k8s.io"] {
        all.insert(group, vec!["v1"]);
    }
    let group = |(name, versions): (&str, Vec<&str>)| {
        let version = |version: &&str| json!({ "groupVersion": format!("{name}/{version}"), "version": version });
        // The newest version is the one to use.
        let newest = versions.iter().max().map(version);
        json!({
            "name": name,
            "versions": versions.iter().rev().map(version).collect::<Vec<_>>(),
            "preferredVersion": newest,
        })
    };
    all.into_iter().map(group).collect()
}

fn resources(store: &Store, api: &str) -> Option<Value> {
    let mut all: Vec<Value> = Vec::new();
    for kind in store.kinds.all().filter(|kind| kind.api() == api) {
        all.extend(of(kind));
    }
    let reviews = Review::ALL.into_iter();
    for review in reviews.filter(|review| api == format!("{}/v1", review.group())) {
        all.push(json!({
            "name": review.plural(), "singularName": "", "namespaced": review.namespaced(),
            "kind": review.kind(), "verbs": ["create"],
        }));
    }
    let told = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api, "resources": all,
    });
    (!all.is_empty()).then_some(told)
}

fn of(kind: &Kind) -> Vec<Value> {
    let mut main = json!({
        "name": kind.plural,
        "singularName": kind.singular(),
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": VERBS,
    });
    if !kind.short.is_empty() {
        main["shortNames"] = json!(kind.short);
    }
    let workloads = [
        "Pod",
        "Service",
        "Deployment",
        "StatefulSet",
        "ReplicaSet",
        "DaemonSet",
        "Job",
        "CronJob",
        "HorizontalPodAutoscaler",
    ];
    if workloads.contains(&kind.kind.as_str()) {
        main["categories"] = json!(["all"]);
    }
    let mut all = vec![main];
    let sub = |name: &str, of: &str, verbs: &[&str]| {
        json!({
            "name": format!("{}/{name}", kind.plural), "singularName": "",
            "namespaced": kind.namespaced, "kind": of, "verbs": verbs,
        })
    };
    let changes = ["get", "patch", "update"];
    if kind.status {
        all.push(sub("status", &kind.kind, &changes));
    }
    if kind.scale.is_some() {
        let mut scale = sub("scale", "Scale", &changes);
        scale["group"] = json!("autoscaling");
        scale["version"] = json!("v1");
        all.push(scale);
    }
    if kind.kind == "Pod" {
        let mut eviction = sub("eviction", "Eviction", &["create"]);
        eviction["group"] = json!("policy");
        eviction["version"] = json!("v1");
        all.push(eviction);
    }
    all
}
