//! A Kubernetes API server for tests: keeps objects, versions and generations, honours preconditions and dry runs,
//! and fails as told. A controller, if given, acts before every request.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use ::http::{Method, Request, Response};
use futures::FutureExt;
use kube::client::Body;
use serde_json::{Value, json};
use tower::BoxError;

use crate::clients::Clients;

/// What happens to the next request whose line contains a text.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It is refused with a status
    Status(u16, &'static str),
    /// It is carried out and its answer is lost
    LostAfter,
    /// It is lost on the way
    LostBefore,
}

type Controller = Box<dyn FnMut(&mut State) + Send>;

/// Objects by their path, and what has happened.
#[derive(Default)]
pub(crate) struct State {
    pub objects: BTreeMap<String, Value>,
    version: u64,
    /// `METHOD path?query body` of every request
    pub log: Vec<String>,
    pub faults: VecDeque<(&'static str, Fault)>,
    /// Resources nobody may patch, for access reviews
    pub denied: Vec<&'static str>,
    controller: Option<Controller>,
}

/// The server.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

impl Fake {
    /// Puts the server in place of us-west-2's.
    pub(crate) async fn serve(&self, clients: &Clients) {
        self.serve_in("us-west-2", clients).await;
    }

    /// Puts the server in place of a region's.
    pub(crate) async fn serve_in(&self, region: &str, clients: &Clients) {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                fake.state().handle(&parts.method, &parts.uri.to_string(), &body)
            }
            .boxed()
        });
        clients.kubernetes.serve(region, &clients.guard, service).await;
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while holding it")
    }

    /// Has a controller act before every request.
    pub(crate) fn control(&self, controller: impl FnMut(&mut State) + Send + 'static) {
        self.state().controller = Some(Box::new(controller));
    }

    /// Returns the requests that would change something.
    pub(crate) fn changes(&self) -> Vec<String> {
        let is_change = |line: &&String| {
            !line.starts_with("GET")
                && !line.contains("dryRun=All")
                && !line.contains("accessreviews")
        };
        self.state().log.iter().filter(is_change).cloned().collect()
    }

    /// Puts an object there.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.state().put(path, object);
    }

    /// Returns an object.
    pub(crate) fn object(&self, path: &str) -> Value {
        self.state().objects.get(path).cloned().unwrap_or_default()
    }

    /// Puts a Deployment there that runs as it asks.
    pub(crate) fn deployment(&self, namespace: &str, name: &str, replicas: i32) {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": name, "namespace": namespace, "generation": 1 },
            "spec": {
                "replicas": replicas,
                "selector": { "matchLabels": { "app": name } },
                "template": { "metadata": { "labels": { "app": name } }, "spec": { "containers": [] } },
            },
        });
        self.put(&deployment_path(namespace, name), object);
        settle(&mut self.state());
    }

    /// Puts an autoscaler of a Deployment there.
    pub(crate) fn autoscaler(&self, namespace: &str, name: &str, target: &str, range: (i32, i32)) {
        let path =
            format!("/apis/autoscaling/v1/namespaces/{namespace}/horizontalpodautoscalers/{name}");
        let object = json!({
            "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
            "metadata": { "name": name, "namespace": namespace },
            "spec": {
                "minReplicas": range.0, "maxReplicas": range.1,
                "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": target },
            },
        });
        self.put(&path, object);
    }
}

/// Returns the path of a Deployment.
pub(crate) fn deployment_path(namespace: &str, name: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
}

/// Acts as the controllers do: autoscalers raise replicas, Deployments get ready at once.
pub(crate) fn settle(state: &mut State) {
    let autoscalers: Vec<Value> = of_kind(state, "HorizontalPodAutoscaler");
    for autoscaler in autoscalers {
        let namespace = autoscaler["metadata"]["namespace"].as_str().unwrap_or_default();
        let target = autoscaler["spec"]["scaleTargetRef"]["name"].as_str().unwrap_or_default();
        let path = deployment_path(namespace, target);
        let least = autoscaler["spec"]["minReplicas"].as_i64();
        let asked = state.objects.get(&path).and_then(|object| object["spec"]["replicas"].as_i64());
        if asked > Some(0) && asked < least {
            let mut object = state.objects[&path].clone();
            object["spec"]["replicas"] = json!(least);
            state.put(&path, object);
        }
    }
    for deployment in state.objects.values_mut().filter(|object| object["kind"] == "Deployment") {
        let count = deployment["spec"]["replicas"].clone();
        deployment["status"] = json!({
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": count, "updatedReplicas": count, "readyReplicas": count, "availableReplicas": count,
        });
    }
}

fn of_kind(state: &State, kind: &str) -> Vec<Value> {
    state.objects.values().filter(|object| object["kind"] == kind).cloned().collect()
}

impl State {
    /// Stores an object under a new version; a changed spec is a new generation.
    pub(crate) fn put(&mut self, path: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        object["metadata"]["uid"] = json!(path);
        if let Some(before) = self.objects.get(path)
            && before["spec"] != object["spec"]
        {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or(1);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        self.objects.insert(path.to_owned(), object);
    }

    fn handle(
        &mut self,
        method: &Method,
        uri: &str,
        body: &[u8],
    ) -> Result<Response<Body>, BoxError> {
        if let Some(mut controller) = self.controller.take() {
            controller(self);
            self.controller = Some(controller);
        }
        let line = format!("{method} {uri} {}", String::from_utf8_lossy(body));
        self.log.push(line.trim().to_owned());
        let struck = self.faults.iter().position(|(text, _)| line.contains(text));
        let fault = struck.and_then(|at| self.faults.remove(at)).map(|(_, fault)| fault);
        let lost =
            || Err(Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset)) as BoxError);
        match fault {
            Some(Fault::Status(code, said)) => answer(code, &status(code, said)),
            Some(Fault::LostBefore) => lost(),
            Some(Fault::LostAfter) => {
                self.carry_out(method, uri, body)?;
                lost()
            }
            None => self.carry_out(method, uri, body),
        }
    }

    fn carry_out(
        &mut self,
        method: &Method,
        uri: &str,
        body: &[u8],
    ) -> Result<Response<Body>, BoxError> {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let dry_run = query.contains("dryRun=All");
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        match method.as_str() {
            "POST" if path.ends_with("/selfsubjectaccessreviews") => {
                let attributes = &body["spec"]["resourceAttributes"];
                let subresource = attributes["subresource"].as_str().map(|name| format!("/{name}"));
                let resource = format!(
                    "{}{}",
                    attributes["resource"].as_str().unwrap_or_default(),
                    subresource.unwrap_or_default()
                );
                let allowed = !self.denied.contains(&resource.as_str());
                let mut review = body;
                review["status"] = json!({ "allowed": allowed });
                answer(201, &review)
            }
            "GET" => self.get(path),
            "PATCH" => self.patch(path, &body, dry_run),
            "DELETE" => match self.objects.remove(path) {
                Some(object) => answer(200, &object),
                None => answer(404, &status(404, "not found")),
            },
            _ => answer(405, &status(405, "this server does not know that")),
        }
    }

    fn get(&self, path: &str) -> Result<Response<Body>, BoxError> {
        if let Some(object) = self.objects.get(path) {
            return answer(200, object);
        }
        let prefix = format!("{path}/");
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(key, _)| key.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/')))
            .map(|(_, object)| object)
            .collect();
        let collections = ["deployments", "horizontalpodautoscalers", "pods", "events"];
        if collections.iter().any(|name| path.ends_with(name)) {
            let list =
                json!({ "kind": "List", "apiVersion": "v1", "metadata": {}, "items": items });
            return answer(200, &list);
        }
        answer(404, &status(404, &format!("{path} not found")))
    }

    fn patch(
        &mut self,
        path: &str,
        patch: &Value,
        dry_run: bool,
    ) -> Result<Response<Body>, BoxError> {
        let (path, is_scale) = match path.strip_suffix("/scale") {
            Some(path) => (path, true),
            None => (path, false),
        };
        // Only server-side apply creates; its patches are whole objects.
        let is_apply = patch.get("kind").is_some();
        let Some(mut object) =
            self.objects.get(path).cloned().or_else(|| is_apply.then(|| json!({})))
        else {
            return answer(404, &status(404, &format!("{path} not found")));
        };
        let wanted = &patch["metadata"]["resourceVersion"];
        if !wanted.is_null() && *wanted != object["metadata"]["resourceVersion"] {
            return answer(409, &status(409, "the object has been modified"));
        }
        merge(&mut object, patch);
        if !dry_run {
            self.put(path, object.clone());
        }
        if is_scale {
            let scale = json!({
                "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": object["metadata"],
                "spec": { "replicas": object["spec"]["replicas"] },
            });
            return answer(200, &scale);
        }
        answer(200, &object)
    }
}

fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            object.as_object_mut().expect("an object").remove(name);
        } else {
            merge(&mut object[name.as_str()], value);
        }
    }
}

fn status(code: u16, said: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "code": code, "reason": if code == 404 { "NotFound" } else { "Other" }, "message": said, "metadata": {},
    })
}

fn answer(code: u16, body: &Value) -> Result<Response<Body>, BoxError> {
    let answer = Response::builder().status(code).header("content-type", "application/json");
    Ok(answer.body(Body::from(body.to_string().into_bytes()))?)
}
