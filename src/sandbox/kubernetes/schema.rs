//! The OpenAPI document, as far as tools look into it: which kinds there are, and that their patches can be tried out.
//!
//! There are no definitions in it, so nothing is checked against them on the way in; `kubectl explain` has nothing to say.

use http::Response;
use serde_json::{Value, json};
use tower::BoxError;

use super::kinds::Kind;
use super::store::Store;
use super::{Answered, response, whole};

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Parameters of a patch that tools look for.
const PARAMETERS: [&str; 3] = ["dryRun", "fieldManager", "fieldValidation"];

pub(super) fn answer(store: &Store, accepts: &str) -> Result<Response<Answered>, BoxError> {
    if !accepts.contains("proto-openapi") && !accepts.contains("protobuf") {
        return response(200, &document(store));
    }
    let mut response = Response::new(whole(encoded(store)));
    response.headers_mut().insert("content-type", PROTOBUF.parse()?);
    Ok(response)
}

fn path(kind: &Kind) -> String {
    let root = if kind.group.is_empty() { "api" } else { "apis" };
    let namespace = if kind.namespaced { "namespaces/{namespace}/" } else { "" };
    format!("/{root}/{}/{namespace}{}/{{name}}", kind.api(), kind.plural)
}

fn document(store: &Store) -> Value {
    let mut paths = json!({});
    for kind in store.kinds.all() {
        let parameter = |name: &&str| json!({ "name": name, "in": "query", "type": "string", "uniqueItems": true });
        paths[path(kind)] = json!({ "patch": {
            "operationId": format!("patch{}", kind.kind),
            "parameters": PARAMETERS.iter().map(parameter).collect::<Vec<_>>(),
            "responses": { "200": { "description": "OK" } },
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": {
                "group": kind.group, "kind": kind.kind, "version": kind.version,
            },
        } });
    }
    json!({
        "swagger": "2.0",
        "info": { "title": "Kubernetes", "version": "v1.33.0+simulation" },
        "paths": paths,
        "definitions": {},
    })
}

/// Writes the same in the form that kubectl and Helm ask for: a message of gnostic's `openapi_v2.Document`.
fn encoded(store: &Store) -> Vec<u8> {
    let mut paths = Vec::new();
    for kind in store.kinds.all() {
        let mut operation = Vec::new();
        for name in PARAMETERS {
            let mut query = Vec::new();
            field(&mut query, 2, b"query");
            field(&mut query, 4, name.as_bytes());
            field(&mut query, 6, b"string");
            // A parameter, that is not the body, that is in the query.
            let parameter = within(1, &within(2, &within(3, &query)));
            field(&mut operation, 8, &parameter);
        }
        let said =
            format!("group: \"{}\"\nkind: {}\nversion: {}\n", kind.group, kind.kind, kind.version);
        let mut extension = Vec::new();
        field(&mut extension, 1, b"x-kubernetes-group-version-kind");
        field(&mut extension, 2, &within(2, said.as_bytes()));
        field(&mut operation, 13, &extension);
        let mut named = Vec::new();
        field(&mut named, 1, path(kind).as_bytes());
        field(&mut named, 2, &within(8, &operation));
        field(&mut paths, 2, &named);
    }
    let mut info = Vec::new();
    field(&mut info, 1, b"Kubernetes");
    field(&mut info, 2, b"v1.33.0+simulation");
    let mut document = Vec::new();
    field(&mut document, 1, b"2.0");
    field(&mut document, 2, &info);
    field(&mut document, 8, &paths);
    document
}

fn within(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    field(&mut out, number, bytes);
    out
}

/// Writes a field that has a length.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or(0));
    out.extend_from_slice(bytes);
}
