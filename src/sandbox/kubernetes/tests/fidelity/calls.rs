//! The calls, in the order they are made; each has a name of its own.

use super::deletions::deleting;
use super::subresources::subresources;
use super::*;

/// One call. `<NAME version>`, `<NAME uid>` and `<NAME continue>` are what an earlier answer said.
pub(super) struct Call {
    pub name: &'static str,
    pub method: Method,
    pub path: &'static str,
    pub kind: &'static str,
    pub body: Value,
    /// Asked again until it has this code: controllers of a real server take their time
    pub until: Option<u16>,
}

pub(super) const JSON: &str = "application/json";

pub(super) const MAPS: &str = "/api/v1/namespaces/fidelity/configmaps";
pub(super) const A: &str = "/api/v1/namespaces/fidelity/configmaps/a";
pub(super) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/fidelity/deployments";
pub(super) const D: &str = "/apis/apps/v1/namespaces/fidelity/deployments/d";
pub(super) const SCALE: &str = "/apis/apps/v1/namespaces/fidelity/deployments/d/scale";
const APPLIED: &str = "/api/v1/namespaces/fidelity/configmaps/applied?fieldManager=one";
const APPLIED_TWO: &str = "/api/v1/namespaces/fidelity/configmaps/applied?fieldManager=two";
const FORCED: &str = "/api/v1/namespaces/fidelity/configmaps/applied?fieldManager=two&force=true";

pub(super) fn call(
    name: &'static str,
    method: Method,
    path: &'static str,
    kind: &'static str,
    body: Value,
) -> Call {
    Call { name, method, path, kind, body, until: None }
}

pub(super) fn get(name: &'static str, path: &'static str) -> Call {
    call(name, Method::GET, path, "", Value::Null)
}

pub(super) fn post(name: &'static str, path: &'static str, body: Value) -> Call {
    call(name, Method::POST, path, JSON, body)
}

pub(super) fn put(name: &'static str, path: &'static str, body: Value) -> Call {
    call(name, Method::PUT, path, JSON, body)
}

pub(super) fn patch(
    name: &'static str,
    path: &'static str,
    kind: &'static str,
    body: Value,
) -> Call {
    call(name, Method::PATCH, path, kind, body)
}

pub(super) fn delete(name: &'static str, path: &'static str, body: Value) -> Call {
    call(name, Method::DELETE, path, JSON, body)
}

pub(super) fn until(code: u16, call: Call) -> Call {
    Call { until: Some(code), ..call }
}

pub(super) fn calls() -> Vec<Call> {
    let mut all = vec![post(
        "namespace create",
        "/api/v1/namespaces",
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "fidelity" } }),
    )];
    all.extend(reading());
    all.extend(refused());
    all.extend(replacing());
    all.extend(patching());
    all.extend(applying());
    all.extend(workloads());
    all.extend(subresources());
    all.extend(deleting());
    all
}

pub(super) fn map(name: &str, data: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data })
}

pub(super) fn labelled(name: &str, tier: &str) -> Value {
    let mut made = map(name, json!({ "key": "1" }));
    made["metadata"]["labels"] = json!({ "tier": tier });
    made
}

fn reading() -> Vec<Call> {
    vec![
        post("create a", MAPS, labelled("a", "front")),
        post("create b", MAPS, labelled("b", "back")),
        post("create c", MAPS, labelled("c", "front")),
        post("create again", MAPS, labelled("a", "front")),
        post(
            "create dry",
            "/api/v1/namespaces/fidelity/configmaps?dryRun=All",
            labelled("dry", "x"),
        ),
        get("get a", A),
        get("get dry", "/api/v1/namespaces/fidelity/configmaps/dry"),
        get("list front", "/api/v1/namespaces/fidelity/configmaps?labelSelector=tier%3Dfront"),
        get(
            "list in",
            "/api/v1/namespaces/fidelity/configmaps?labelSelector=tier+in+(front,back),tier!%3Dback",
        ),
        get(
            "list notin",
            "/api/v1/namespaces/fidelity/configmaps?labelSelector=tier,tier+notin+(front)",
        ),
        get("list without", "/api/v1/namespaces/fidelity/configmaps?labelSelector=tier,!none"),
        get(
            "list by name",
            "/api/v1/namespaces/fidelity/configmaps?fieldSelector=metadata.name%3Db",
        ),
        get(
            "list by unknown field",
            "/api/v1/namespaces/fidelity/configmaps?fieldSelector=spec.x%3Db",
        ),
        get(
            "list by bad label",
            "/api/v1/namespaces/fidelity/configmaps?labelSelector=tier+in+front",
        ),
        get("list limit", "/api/v1/namespaces/fidelity/configmaps?labelSelector=tier&limit=2"),
        get(
            "list rest",
            "/api/v1/namespaces/fidelity/configmaps?labelSelector=tier&limit=2&continue=<list limit continue>",
        ),
        get("list bad continue", "/api/v1/namespaces/fidelity/configmaps?limit=2&continue=xyz"),
        get("list bad version", "/api/v1/namespaces/fidelity/configmaps?resourceVersion=xyz"),
        get("unknown resource", "/api/v1/namespaces/fidelity/things"),
        get("unknown group", "/apis/no.example/v1/things"),
        patch("change a", A, MERGE, json!({ "data": { "key": "2" } })),
        patch(
            "relabel c",
            "/api/v1/namespaces/fidelity/configmaps/c",
            MERGE,
            json!({ "metadata": { "labels": { "tier": "back" } } }),
        ),
        delete("delete b", "/api/v1/namespaces/fidelity/configmaps/b", Value::Null),
        get(
            "watch front",
            "/api/v1/namespaces/fidelity/configmaps?watch=1&timeoutSeconds=1&labelSelector=tier%3Dfront&resourceVersion=<create c version>",
        ),
        get(
            "watch all",
            "/api/v1/namespaces/fidelity/configmaps?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Da",
        ),
        get(
            "watch bad version",
            "/api/v1/namespaces/fidelity/configmaps?watch=1&timeoutSeconds=1&resourceVersion=xyz",
        ),
    ]
}

fn refused() -> Vec<Call> {
    let mut versioned = map("v", json!({}));
    versioned["metadata"]["resourceVersion"] = json!("5");
    let mut elsewhere = map("e", json!({}));
    elsewhere["metadata"]["namespace"] = json!("other");
    vec![
        get("get missing", "/api/v1/namespaces/fidelity/configmaps/none"),
        get("get missing of a group", "/apis/apps/v1/namespaces/fidelity/deployments/none"),
        patch("patch missing", "/api/v1/namespaces/fidelity/configmaps/none", MERGE, json!({})),
        put("put missing", "/api/v1/namespaces/fidelity/configmaps/none", map("none", json!({}))),
        delete("delete missing", "/api/v1/namespaces/fidelity/configmaps/none", Value::Null),
        post("no namespace", "/api/v1/namespaces/nowhere/configmaps", map("a", json!({}))),
        post("no name", MAPS, json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {} })),
        post("bad name", MAPS, map("A_", json!({}))),
        post("bad key", MAPS, map("k", json!({ "a b": "1" }))),
        post("with version", MAPS, versioned),
        post("other namespace", MAPS, elsewhere),
        call("bad media", Method::POST, MAPS, "text/plain", json!({})),
        post("post to an object", A, map("a", json!({}))),
        put("put to a list", MAPS, map("a", json!({}))),
        post(
            "bad dry run",
            "/api/v1/namespaces/fidelity/configmaps?dryRun=Some",
            map("a", json!({})),
        ),
    ]
}

fn replacing() -> Vec<Call> {
    let with = |version: &str, value: &str| {
        let mut made = map("a", json!({ "key": value }));
        if !version.is_empty() {
            made["metadata"]["resourceVersion"] = json!(version);
        }
        made
    };
    let mut other = with("", "5");
    other["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
    let fixed = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "fixed" }, "immutable": true,
        "data": { "a": "1" },
    });
    vec![
        put("put newest", A, with("<change a version>", "3")),
        put("put older", A, with("<change a version>", "4")),
        put("put any", A, with("", "5")),
        put("put other name", A, map("b", json!({}))),
        put("put other uid", A, other),
        put("put dry", "/api/v1/namespaces/fidelity/configmaps/a?dryRun=All", with("", "6")),
        get("get after dry", A),
        post("create fixed", MAPS, fixed),
        patch(
            "change fixed",
            "/api/v1/namespaces/fidelity/configmaps/fixed",
            MERGE,
            json!({ "data": { "a": "2" } }),
        ),
        post(
            "create secret",
            "/api/v1/namespaces/fidelity/secrets",
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "stringData": { "password": "secret" },
            }),
        ),
        patch(
            "change secret type",
            "/api/v1/namespaces/fidelity/secrets/s",
            MERGE,
            json!({ "type": "x" }),
        ),
    ]
}

fn patching() -> Vec<Call> {
    vec![
        patch(
            "merge",
            A,
            MERGE,
            json!({ "metadata": { "labels": { "tier": null, "new": "1" } }, "data": { "more": "1" } }),
        ),
        patch(
            "merge older",
            A,
            MERGE,
            json!({ "metadata": { "resourceVersion": "1" }, "data": { "more": "2" } }),
        ),
        patch("merge rename", A, MERGE, json!({ "metadata": { "name": "z" } })),
        patch(
            "json",
            A,
            JSON_PATCH,
            json!([
                { "op": "test", "path": "/data/more", "value": "1" },
                { "op": "add", "path": "/data/added", "value": "1" },
                { "op": "remove", "path": "/data/more" },
            ]),
        ),
        patch(
            "json fails its test",
            A,
            JSON_PATCH,
            json!([{ "op": "test", "path": "/data/added", "value": "9" }]),
        ),
        patch("json of nothing", A, JSON_PATCH, json!([{ "op": "remove", "path": "/data/none" }])),
        patch("bad patch kind", A, "application/x", json!({})),
        patch("merge no scale", "/api/v1/namespaces/fidelity/configmaps/a/scale", MERGE, json!({})),
    ]
}

fn applying() -> Vec<Call> {
    let data = |data: Value| map("applied", data);
    vec![
        patch(
            "apply without a manager",
            "/api/v1/namespaces/fidelity/configmaps/applied",
            APPLY,
            data(json!({})),
        ),
        patch("apply new", APPLIED, APPLY, data(json!({ "x": "1", "y": "1" }))),
        patch("apply conflict", APPLIED_TWO, APPLY, data(json!({ "x": "2" }))),
        patch("apply conflicts", APPLIED_TWO, APPLY, data(json!({ "x": "2", "y": "2" }))),
        patch("apply shared", APPLIED_TWO, APPLY, data(json!({ "x": "1" }))),
        patch("apply forced", FORCED, APPLY, data(json!({ "x": "2", "z": "2" }))),
        patch("apply less", APPLIED, APPLY, data(json!({ "w": "1" }))),
        patch("apply over an update", A, MERGE, json!({ "data": { "added": "3" } })),
        patch(
            "apply against an update",
            "/api/v1/namespaces/fidelity/configmaps/a?fieldManager=one",
            APPLY,
            map("a", json!({ "added": "4" })),
        ),
        patch(
            "apply another kind",
            APPLIED,
            APPLY,
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "applied" } }),
        ),
    ]
}

pub(super) fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d", "labels": { "app": "d" } },
        "spec": {
            "replicas": 2, "paused": true, "selector": { "matchLabels": { "app": "d" } },
            "template": {
                "metadata": { "labels": { "app": "d" } },
                "spec": {
                    "containers": [{
                        "name": "app", "image": "a:1", "ports": [{ "containerPort": 80 }],
                        "env": [{ "name": "A", "value": "1" }],
                        "readinessProbe": { "httpGet": { "port": 80 } },
                    }],
                    "volumes": [{ "name": "v", "configMap": { "name": "a" } }],
                },
            },
        },
    })
}

fn workloads() -> Vec<Call> {
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut made = deployment();
        change(&mut made);
        made
    };
    let strategic = json!({ "spec": { "template": { "spec": { "containers": [
        { "name": "app", "env": [{ "name": "B", "value": "2" }] }, { "name": "side", "image": "s" },
    ] } } } });
    let without = json!({ "spec": { "template": { "spec": { "containers": [{ "$patch": "delete", "name": "side" }] } } } });
    vec![
        post("deployment create", DEPLOYMENTS, deployment()),
        post(
            "deployment apart",
            DEPLOYMENTS,
            changed(&|made| made["spec"]["template"]["metadata"]["labels"] = json!({ "app": "x" })),
        ),
        post(
            "deployment negative",
            DEPLOYMENTS,
            changed(&|made| {
                made["metadata"]["name"] = json!("e");
                made["spec"]["replicas"] = json!(-1);
            }),
        ),
        post(
            "deployment without containers",
            DEPLOYMENTS,
            changed(&|made| made["spec"]["template"]["spec"]["containers"] = json!([])),
        ),
        post(
            "deployment without image",
            DEPLOYMENTS,
            changed(&|made| made["spec"]["template"]["spec"]["containers"][0]["image"] = json!("")),
        ),
        post(
            "deployment unknown field",
            "/apis/apps/v1/namespaces/fidelity/deployments?dryRun=All",
            changed(&|made| {
                made["metadata"]["name"] = json!("e");
                made["spec"]["replicsa"] = json!(1);
            }),
        ),
        post(
            "deployment wrong type",
            DEPLOYMENTS,
            changed(&|made| made["spec"]["replicas"] = json!("many")),
        ),
        post("deployment as another kind", DEPLOYMENTS, map("m", json!({}))),
        patch("strategic", D, STRATEGIC, strategic),
        patch("strategic delete", D, STRATEGIC, without),
        patch(
            "strategic retain",
            D,
            STRATEGIC,
            json!({ "spec": { "strategy": { "$retainKeys": ["type"], "type": "Recreate" } } }),
        ),
        patch(
            "selector is immutable",
            D,
            MERGE,
            json!({ "spec": { "selector": { "matchLabels": { "app": "x" } } } }),
        ),
        patch("wrong type", D, MERGE, json!({ "spec": { "replicas": "many" } })),
        get("scale get", SCALE),
        patch("scale patch", SCALE, MERGE, json!({ "spec": { "replicas": 0 } })),
        patch("scale negative", SCALE, MERGE, json!({ "spec": { "replicas": -1 } })),
        patch(
            "scale older",
            SCALE,
            MERGE,
            json!({ "metadata": { "resourceVersion": "1" }, "spec": { "replicas": 4 } }),
        ),
        patch(
            "scale dry",
            "/apis/apps/v1/namespaces/fidelity/deployments/d/scale?dryRun=All",
            MERGE,
            json!({ "spec": { "replicas": 4 } }),
        ),
        patch("generation stays", D, MERGE, json!({ "metadata": { "labels": { "more": "1" } } })),
        patch("status is apart", D, MERGE, json!({ "status": { "replicas": 77 } })),
        post(
            "autoscaler create",
            "/apis/autoscaling/v1/namespaces/fidelity/horizontalpodautoscalers",
            json!({
                "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "h" },
                "spec": { "maxReplicas": 3, "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "none" } },
            }),
        ),
        post(
            "autoscaler bounds",
            "/apis/autoscaling/v1/namespaces/fidelity/horizontalpodautoscalers",
            json!({
                "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "i" },
                "spec": { "minReplicas": 5, "maxReplicas": 3, "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "none" } },
            }),
        ),
        post(
            "pod create",
            "/api/v1/namespaces/fidelity/pods",
            json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" },
                "spec": { "containers": [{ "name": "app", "image": "a:1" }] },
            }),
        ),
        patch(
            "pod is immutable",
            "/api/v1/namespaces/fidelity/pods/p",
            MERGE,
            json!({ "spec": { "restartPolicy": "Never" } }),
        ),
        post(
            "review",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                "spec": { "resourceAttributes": { "namespace": "fidelity", "verb": "patch", "group": "apps", "resource": "deployments" } },
            }),
        ),
    ]
}
