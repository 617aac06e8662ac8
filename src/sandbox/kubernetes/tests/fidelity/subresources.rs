//! The calls to subresources, and the questions about access.

use serde_json::{Value, json};

use super::calls::{Call, D, SCALE, delete, deployment, get, patch, post, put, until};
use super::{JSON_PATCH, MERGE};

const STATUS: &str = "/apis/apps/v1/namespaces/fidelity/deployments/d/status";

pub(super) fn subresources() -> Vec<Call> {
    let mut all = statuses();
    all.extend(scales());
    all.extend(evictions());
    all.extend(finalized());
    all.extend(reviews());
    all
}

fn statuses() -> Vec<Call> {
    let mut other = deployment();
    other["metadata"]["labels"] = json!({ "app": "other" });
    other["spec"]["replicas"] = json!(7);
    other["status"] = json!({ "replicas": 5, "updatedReplicas": 5 });
    vec![
        get("status get", STATUS),
        put("status put", STATUS, other),
        patch("status patch", STATUS, MERGE, json!({ "status": { "replicas": 6 } })),
        patch("status patch of the rest", STATUS, MERGE, json!({ "spec": { "replicas": 9 } })),
        get("status leaves the rest", D),
        get("status of what has none", "/api/v1/namespaces/fidelity/configmaps/a/status"),
        get(
            "status of what is not there",
            "/apis/apps/v1/namespaces/fidelity/deployments/none/status",
        ),
    ]
}

fn scales() -> Vec<Call> {
    let scale = |name: &str, version: &str, replicas: i64| {
        let mut made = json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": { "name": name, "namespace": "fidelity" }, "spec": { "replicas": replicas },
        });
        if !version.is_empty() {
            made["metadata"]["resourceVersion"] = json!(version);
        }
        made
    };
    vec![
        put("scale put", SCALE, scale("d", "", 1)),
        put("scale put older", SCALE, scale("d", "1", 2)),
        put("scale put by another name", SCALE, scale("e", "", 2)),
        put("scale put negative", SCALE, scale("d", "", -2)),
        patch(
            "scale json",
            SCALE,
            JSON_PATCH,
            json!([{ "op": "replace", "path": "/spec/replicas", "value": 0 }]),
        ),
        get("scale in the end", SCALE),
        get("scale missing", "/apis/apps/v1/namespaces/fidelity/deployments/none/scale"),
    ]
}

fn evictions() -> Vec<Call> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "evicted" },
        "spec": { "containers": [{ "name": "app", "image": "a:1" }] },
    });
    // The version that both servers know.
    let eviction = |options: Value| {
        let mut made = json!({
            "apiVersion": "policy/v1beta1", "kind": "Eviction",
            "metadata": { "name": "evicted", "namespace": "fidelity" },
        });
        if !options.is_null() {
            made["deleteOptions"] = options;
        }
        made
    };
    let path = "/api/v1/namespaces/fidelity/pods/evicted/eviction";
    vec![
        post("eviction of what is not there", path, eviction(Value::Null)),
        post("eviction pod", "/api/v1/namespaces/fidelity/pods", pod),
        post("eviction dry", path, eviction(json!({ "dryRun": ["All"] }))),
        get("eviction was dry", "/api/v1/namespaces/fidelity/pods/evicted"),
        post("eviction", path, eviction(Value::Null)),
        until(404, get("evicted is gone", "/api/v1/namespaces/fidelity/pods/evicted")),
        post(
            "eviction of a map",
            "/api/v1/namespaces/fidelity/configmaps/a/eviction",
            eviction(Value::Null),
        ),
    ]
}

fn finalized() -> Vec<Call> {
    let held = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "held", "finalizers": ["x.example/hold"] },
    });
    // Since 1.21 every namespace has this label; here it has it from the beginning.
    let namespace = |finalizers: &[&str]| {
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": "finalized", "labels": { "kubernetes.io/metadata.name": "finalized" } },
            "spec": { "finalizers": finalizers },
        })
    };
    vec![
        post("finalize namespace", "/api/v1/namespaces", namespace(&["kubernetes"])),
        put("finalize later", "/api/v1/namespaces/finalized/finalize", namespace(&["kubernetes"])),
        post("finalize held", "/api/v1/namespaces/finalized/configmaps", held),
        delete("finalize deleted", "/api/v1/namespaces/finalized", Value::Null),
        put("finalize", "/api/v1/namespaces/finalized/finalize", namespace(&[])),
        until(404, get("finalized is gone", "/api/v1/namespaces/finalized")),
        put("finalize nothing", "/api/v1/namespaces/finalized/finalize", namespace(&[])),
    ]
}

fn reviews() -> Vec<Call> {
    let group = "authorization.k8s.io/v1";
    let resource = json!({ "namespace": "fidelity", "verb": "get", "resource": "pods" });
    let ask = |kind: &str, spec: Value| json!({ "apiVersion": group, "kind": kind, "metadata": {}, "spec": spec });
    let mut local = ask(
        "LocalSubjectAccessReview",
        json!({ "user": "one", "groups": ["system:masters"], "resourceAttributes": resource }),
    );
    local["metadata"]["namespace"] = json!("fidelity");
    vec![
        post(
            "review of a path",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            ask(
                "SelfSubjectAccessReview",
                json!({ "nonResourceAttributes": { "verb": "get", "path": "/healthz" } }),
            ),
        ),
        post(
            "review of nothing",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            ask("SelfSubjectAccessReview", json!({})),
        ),
        post(
            "review of another",
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            ask(
                "SubjectAccessReview",
                json!({ "user": "one", "groups": ["system:masters"], "resourceAttributes": resource }),
            ),
        ),
        post(
            "review of another in a namespace",
            "/apis/authorization.k8s.io/v1/namespaces/fidelity/localsubjectaccessreviews",
            local,
        ),
        post(
            "review of another in another namespace",
            "/apis/authorization.k8s.io/v1/namespaces/fidelity/localsubjectaccessreviews",
            ask(
                "LocalSubjectAccessReview",
                json!({ "user": "one", "groups": ["system:masters"], "resourceAttributes": resource }),
            ),
        ),
        post(
            "review of rules",
            "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
            ask("SelfSubjectRulesReview", json!({ "namespace": "fidelity" })),
        ),
        post(
            "review of who asks",
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" }),
        ),
        post(
            "review of no kind",
            "/apis/authorization.k8s.io/v1/allsubjectaccessreviews",
            ask("AllSubjectAccessReview", json!({})),
        ),
    ]
}
