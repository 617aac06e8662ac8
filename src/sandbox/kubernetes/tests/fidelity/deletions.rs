//! The calls that delete, the last ones.

use serde_json::{Value, json};

use super::MERGE;
use super::calls::{A, Call, MAPS, delete, get, map, patch, post, until};

pub(super) fn deleting() -> Vec<Call> {
    let held = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "held", "finalizers": ["x.example/hold"] },
    });
    let owned = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "owned", "ownerReferences": [
            { "apiVersion": "v1", "kind": "ConfigMap", "name": "applied", "uid": "<apply new uid>" },
        ] },
    });
    vec![
        delete(
            "delete other uid",
            A,
            json!({ "preconditions": { "uid": "00000000-0000-0000-0000-000000000000" } }),
        ),
        delete(
            "delete bad policy",
            "/api/v1/namespaces/fidelity/configmaps/a?propagationPolicy=Some",
            Value::Null,
        ),
        delete("delete dry", "/api/v1/namespaces/fidelity/configmaps/a?dryRun=All", Value::Null),
        delete("delete a", A, Value::Null),
        get("get deleted", A),
        post("create held", MAPS, held),
        delete("delete held", "/api/v1/namespaces/fidelity/configmaps/held", Value::Null),
        get("get held", "/api/v1/namespaces/fidelity/configmaps/held"),
        delete("delete held again", "/api/v1/namespaces/fidelity/configmaps/held", Value::Null),
        patch(
            "let held go",
            "/api/v1/namespaces/fidelity/configmaps/held",
            MERGE,
            json!({ "metadata": { "finalizers": null } }),
        ),
        get("held is gone", "/api/v1/namespaces/fidelity/configmaps/held"),
        post("create owned", MAPS, owned),
        delete("delete owner", "/api/v1/namespaces/fidelity/configmaps/applied", Value::Null),
        until(404, get("owned is gone", "/api/v1/namespaces/fidelity/configmaps/owned")),
        delete("delete pod", "/api/v1/namespaces/fidelity/pods/p", Value::Null),
        delete(
            "delete deployment",
            "/apis/apps/v1/namespaces/fidelity/deployments/d?propagationPolicy=Background",
            Value::Null,
        ),
        delete(
            "delete many",
            "/api/v1/namespaces/fidelity/secrets?labelSelector=none",
            Value::Null,
        ),
        post(
            "held by its namespace",
            MAPS,
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": "last", "finalizers": ["x.example/hold"] },
            }),
        ),
        delete("delete the last", "/api/v1/namespaces/fidelity/configmaps/last", Value::Null),
        delete("delete namespace", "/api/v1/namespaces/fidelity", Value::Null),
        post("create in an ending namespace", MAPS, map("late", json!({}))),
        patch(
            "let the last go",
            "/api/v1/namespaces/fidelity/configmaps/last",
            MERGE,
            json!({ "metadata": { "finalizers": null } }),
        ),
        until(404, get("namespace is gone", "/api/v1/namespaces/fidelity")),
    ]
}
