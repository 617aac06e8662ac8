//! What the guard lets through, and what each of the server's refusals means.

use std::sync::Mutex as StdMutex;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::*;
use crate::clients::testing;
use crate::outcome::Effect;

/// An API server that answers everything with one status and body, and remembers what it was asked.
pub(crate) type Asked = Arc<StdMutex<Vec<String>>>;

async fn serve(clients: &Clients, code: u16, body: serde_json::Value) -> Asked {
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<Body>| {
        let uri = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        seen.lock().expect("seen").push(format!("{} {uri}", request.method()));
        let answer = Response::builder()
            .status(code)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string().into_bytes()))
            .map_err(BoxError::from);
        async move { answer }
    });
    clients.kubernetes.serve("us-west-2", &clients.guard, service).await;
    asked
}

fn config_map() -> serde_json::Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "x", "namespace": "default" } })
}

fn status(code: u16, reason: &str, message: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}

async fn api(clients: &Clients) -> Api<ConfigMap> {
    let cluster = cluster(clients, "us-west-2").await.expect("served");
    Api::namespaced(cluster.client.clone(), "default")
}

#[tokio::test]
async fn a_closed_guard_lets_only_looks_through() {
    let clients = testing::clients(json!({}));
    let asked = serve(&clients, 200, config_map()).await;
    let api = api(&clients).await;
    api.get("x").await.expect("a read passes");
    let patch = Patch::Merge(json!({ "data": { "a": "b" } }));
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    api.patch("x", &dry, &patch).await.expect("a server-side dry run passes");
    let refused =
        change(&clients, "patch x", api.patch("x", &PatchParams::default(), &patch)).await;
    let error = refused.expect_err("a change does not pass");
    assert_eq!((error.class, error.effect), (FailureClass::Refused, Effect::None));
    let refused = change(&clients, "delete x", api.delete("x", &DeleteParams::default())).await;
    assert_eq!(refused.expect_err("refused").class, FailureClass::Refused);
    assert_eq!(
        *asked.lock().expect("asked"),
        [
            "GET /api/v1/namespaces/default/configmaps/x",
            "PATCH /api/v1/namespaces/default/configmaps/x?&dryRun=All",
        ],
        "what is refused is not sent"
    );
}

#[tokio::test]
async fn an_open_guard_lets_changes_through() {
    let (clients, _armed) = testing::armed(json!({}));
    let asked = serve(&clients, 200, config_map()).await;
    let patch = Patch::Merge(json!({ "data": { "a": "b" } }));
    api(&clients).await.patch("x", &PatchParams::default(), &patch).await.expect("passes");
    assert_eq!(asked.lock().expect("asked").len(), 1);
}

#[test]
fn tells_looks_from_acts() {
    let looks = |method: &str, uri: &str| {
        let request = Request::builder().method(method).uri(uri).body(Body::empty());
        only_looks(&request.expect("request"))
    };
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    for (method, uri) in [
        ("GET", "/api/v1/pods"),
        ("POST", reviews),
        ("PATCH", "/api/v1/namespaces/a/secrets/b?&fieldManager=x&dryRun=All"),
        ("DELETE", "/api/v1/namespaces/a/secrets/b?dryRun=All"),
    ] {
        assert!(looks(method, uri), "{method} {uri}");
    }
    for (method, uri) in [
        ("POST", "/api/v1/namespaces/a/pods"),
        ("PATCH", "/api/v1/namespaces/a/secrets/b?&dryRun="),
        ("PATCH", "/api/v1/namespaces/a/secrets/b?dryRun=All&dryRun=None"),
        ("PATCH", "/api/v1/namespaces/a/secrets/dryRun=All"),
        ("PUT", reviews),
        ("POST", "/api/v1/namespaces/a/configmaps/selfsubjectaccessreviews"),
        ("GET", "/api/v1/namespaces/a/pods/b/exec?command=rm"),
        ("GET", "/api/v1/namespaces/a/pods/b/portforward"),
        ("GET", "/api/v1/namespaces/a/services/b/proxy/delete"),
        ("POST", "/api/v1/namespaces/a/pods/b/attach?dryRun=All"),
    ] {
        assert!(!looks(method, uri), "{method} {uri}");
    }
}

#[tokio::test]
async fn every_refusal_has_a_class_and_an_effect() {
    let denied = "deployments.apps \"x\" is forbidden: User \"dr\" cannot patch resource \"deployments/scale\"";
    for (code, reason, class, effect) in [
        (400, "BadRequest", FailureClass::Invalid, Effect::None),
        (401, "Unauthorized", FailureClass::Credentials, Effect::None),
        (403, "Forbidden", FailureClass::Denied, Effect::None),
        (404, "NotFound", FailureClass::NotFound, Effect::None),
        (409, "Conflict", FailureClass::Conflict, Effect::None),
        (422, "Invalid", FailureClass::Invalid, Effect::None),
        (429, "TooManyRequests", FailureClass::Throttled, Effect::None),
        (500, "InternalError", FailureClass::Transient, Effect::Unknown),
        (503, "ServiceUnavailable", FailureClass::Transient, Effect::Unknown),
        (504, "Timeout", FailureClass::Transient, Effect::Unknown),
    ] {
        let (clients, _armed) = testing::armed(json!({}));
        serve(&clients, code, status(code, reason, denied)).await;
        let api = api(&clients).await;
        let (patch, params) = (Patch::Merge(json!({})), PatchParams::default());
        let changed = change(&clients, "scale a/x", api.patch("x", &params, &patch));
        let error = changed.await.expect_err("refused");
        assert_eq!((error.class, error.effect), (class, effect), "{code}");
        assert_eq!(error.message, format!("scale a/x: {denied}"), "it names verb and resource");
        let error = read(&clients, "read a/x", api.get("x")).await.expect_err("refused");
        assert_eq!((error.class, error.effect), (class, Effect::None), "{code} of a read");
    }
}

#[tokio::test]
async fn a_lost_answer_of_a_change_is_unknown() {
    let (clients, _armed) = testing::armed(json!({}));
    for (error, effect) in [
        (std::io::ErrorKind::ConnectionReset, Effect::Unknown),
        (std::io::ErrorKind::ConnectionRefused, Effect::None),
    ] {
        let service = tower::service_fn(move |_: Request<Body>| async move {
            Err::<Response<Body>, _>(Box::new(std::io::Error::from(error)) as BoxError)
        });
        clients.kubernetes.serve("us-west-2", &clients.guard, service).await;
        let api = api(&clients).await;
        let (patch, params) = (Patch::Merge(json!({})), PatchParams::default());
        let changed = change(&clients, "patch x", api.patch("x", &params, &patch));
        let lost = changed.await.expect_err("lost");
        assert_eq!((lost.class, lost.effect), (FailureClass::Transient, effect));
    }
    let service = tower::service_fn(|_: Request<Body>| {
        std::future::pending::<Result<Response<Body>, BoxError>>()
    });
    clients.kubernetes.serve("us-west-2", &clients.guard, service).await;
    let api = api(&clients).await;
    let limit = Duration::from_millis(20);
    let silent = call(&clients, "patch x", Purpose::Change, limit, api.get("x")).await;
    assert_eq!(silent.expect_err("silent").effect, Effect::Unknown);
}

#[tokio::test]
async fn a_region_without_a_cluster_and_a_context_that_is_not_there() {
    let clients = testing::clients(json!({
        "clusters": { "us-west-2": { "context": "nope", "kubeconfig": "/no/such/kubeconfig" } },
    }));
    let Err(error) = cluster(&clients, "eu-west-1").await else { panic!("there is none") };
    assert_eq!(error.class, FailureClass::NotFound);
    let Err(error) = cluster(&clients, "us-west-2").await else { panic!("there is none") };
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None));
    assert!(error.message.contains("/no/such/kubeconfig"), "{}", error.message);
    assert!(error.hint.is_some_and(|hint| hint.contains("set `kubeconfig:`")));
}

#[tokio::test]
async fn a_refused_token_makes_the_next_call_build_the_client_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let kubeconfig = dir.path().join("config");
    let clients = testing::clients(json!({ "clusters": { "us-west-2": {
        "context": "west", "kubeconfig": kubeconfig.to_string_lossy(),
    } } }));
    let write = |token: &str| {
        let config = json!({
            "apiVersion": "v1", "kind": "Config",
            "clusters": [{ "name": "west", "cluster": { "server": "http://127.0.0.1:9" } }],
            "users": [{ "name": "dr", "user": { "token": token } }],
            "contexts": [{ "name": "west", "context": { "cluster": "west", "user": "dr" } }],
        });
        std::fs::write(&kubeconfig, config.to_string()).expect("written");
    };
    write("old");
    let first = cluster(&clients, "us-west-2").await.expect("built");
    let again = cluster(&clients, "us-west-2").await.expect("kept");
    assert!(Arc::ptr_eq(&first, &again), "kept while nothing refuses it");
    let refused = async { Err::<(), _>(Error::Api(unauthorized().boxed())) };
    let error = read(&clients, "read x", refused).await.expect_err("refused");
    assert_eq!(error.class, FailureClass::Credentials);
    write("new");
    let fresh = cluster(&clients, "us-west-2").await.expect("built anew");
    assert!(!Arc::ptr_eq(&first, &fresh), "the renewed kubeconfig is read");
}

fn unauthorized() -> kube::core::Status {
    let status = status(401, "Unauthorized", "the token has expired");
    serde_json::from_value(status).expect("a status")
}

#[tokio::test]
async fn an_unknown_context_is_told_with_its_file_its_place_and_what_may_be_meant() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kubeconfig").display().to_string();
    let context = "contexts: [{ name: eks-us-west-2, context: { cluster: c, user: u } }]";
    for (file, meant) in [
        (context, "did you mean `eks-us-west-2`?"),
        (&context.replace("eks-us-west-2", "other"), "it has other"),
        ("contexts: []", "it has none"),
    ] {
        std::fs::write(&path, format!("apiVersion: v1\nkind: Config\n{file}\n")).expect("written");
        let error = config("us-west-2", "eks-us-west2", Some(&path)).await.expect_err("unknown");
        let said = format!("kubeconfig `{path}` has no context `eks-us-west2`; {meant}");
        assert_eq!((error.message, error.effect), (said, Effect::None));
        assert!(error.hint.expect("a hint").contains("`clusters.us-west-2.context`"));
    }
}
