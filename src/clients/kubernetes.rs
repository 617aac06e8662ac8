//! Kubernetes clients: one per region, by the context the estate names and no other; every call bounded and guarded.
//!
//! While the guard is closed only reads, access reviews and server-side dry runs pass; whatever else asks to is
//! refused here, below everything that could have a bug.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::{Method, Request, Response};
use futures::future::BoxFuture;
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config, Error};
use tokio::sync::Mutex;
use tower::{BoxError, Layer, Service};

use super::guard::{Guard, refusal};
use super::tcp::Failure;
use super::{Clients, Network, via};
use crate::by_hand;
use crate::clock::within;
use crate::outcome::{ActionError, FailureClass};
use crate::runbook::near;
use crate::span::Span;

/// Who the server records as the author of a change.
pub(crate) const FIELD_MANAGER: &str = "phoenix-dr";
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// Reading the kubeconfig, which may run a credential plugin.
const PREPARE_LIMIT: Duration = Duration::from_secs(15);
const READ_LIMIT: Duration = Duration::from_secs(10);
const CHANGE_LIMIT: Duration = Duration::from_secs(20);

/// Every cluster in use, by region.
#[derive(Default)]
pub(crate) struct Clusters {
    open: Mutex<BTreeMap<String, Arc<Cluster>>>,
    /// A server refused the credentials in use: clients are built anew, which reads the kubeconfig and runs its plugin
    stale: AtomicBool,
}

impl Clusters {
    /// Puts a service in place of a region's API server.
    #[cfg(test)]
    pub(crate) async fn serve<S>(&self, region: &str, guard: &Guard, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = BoxError> + Send + 'static,
        S::Future: Send + 'static,
    {
        let service = GuardLayer { guard: guard.clone() }.layer(service);
        let cluster = Cluster {
            client: Client::new(service, "default"),
            context: format!("{region}-context"),
            kubeconfig: None,
        };
        self.open.lock().await.insert(region.to_owned(), Arc::new(cluster));
    }
}

/// One region's cluster.
pub(crate) struct Cluster {
    pub client: Client,
    /// Context of the kubeconfig
    pub context: String,
    kubeconfig: Option<String>,
}

impl Cluster {
    /// Returns the start of a kubectl command line for this cluster.
    pub(crate) fn kubectl(&self) -> String {
        by_hand::kubernetes::named(self.kubeconfig.as_deref(), &self.context)
    }
}

/// Returns the cluster of a region, connecting to it at first.
pub(crate) async fn cluster(clients: &Clients, region: &str) -> Result<Arc<Cluster>, ActionError> {
    let mut open = clients.kubernetes.open.lock().await;
    if clients.kubernetes.stale.swap(false, Ordering::AcqRel) {
        open.clear();
    }
    if let Some(cluster) = open.get(region) {
        return Ok(Arc::clone(cluster));
    }
    let known = clients.estate.clusters.get(region).ok_or_else(|| {
        ActionError::unchanged(
            FailureClass::NotFound,
            format!("the estate names no Kubernetes cluster in {region}"),
        )
        .hint(format!("add `clusters.{region}.context` to the estate file"))
    })?;
    let client = match &clients.network {
        Network::Real => connect(clients, region, known).await?,
        Network::Simulated(sandbox) => {
            let service = sandbox.kubernetes(region).ok_or_else(|| {
                let message = format!("the world has no Kubernetes cluster in {region}");
                ActionError::unchanged(FailureClass::NotFound, message)
            })?;
            let layer = GuardLayer { guard: clients.guard.clone() };
            Client::new(layer.layer(service), "default")
        }
    };
    let cluster = Arc::new(Cluster {
        client,
        context: known.context.clone(),
        kubeconfig: known.kubeconfig.clone(),
    });
    open.insert(region.to_owned(), Arc::clone(&cluster));
    Ok(cluster)
}

/// Connects to a cluster as the kubeconfig says.
async fn connect(
    clients: &Clients,
    region: &str,
    known: &crate::estate::types::Cluster,
) -> Result<Client, ActionError> {
    via::open(clients, &known.via).await.map_err(|error| {
        ActionError::unchanged(
            FailureClass::Transient,
            format!("reach the cluster of {region}: {error}"),
        )
    })?;
    let config = config(region, &known.context, known.kubeconfig.as_deref()).await?;
    let layer = GuardLayer { guard: clients.guard.clone() };
    // A credential plugin is run here and blocks until it has ended.
    let built = tokio::task::spawn_blocking(move || {
        Ok::<_, Error>(ClientBuilder::try_from(config)?.with_layer(&layer).build())
    });
    match within(clients.clock.as_ref(), PREPARE_LIMIT, built).await {
        Ok(Ok(built)) => built.map_err(|error| explain(&error, "connect", Purpose::Read)),
        Ok(Err(error)) => Err(ActionError::unchanged(FailureClass::Internal, error.to_string())),
        Err(elapsed) => Err(ActionError::unchanged(
            FailureClass::Credentials,
            format!("credentials for context {}: {elapsed}", known.context),
        )
        .hint("run the kubeconfig's credential plugin by hand and see what it waits for")),
    }
}

/// Returns the URL of a context's API server, as its kubeconfig names it.
pub(crate) fn server_of(context: &str, kubeconfig: Option<&str>) -> Option<String> {
    let file = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let file = file.ok()?;
    let named = file.contexts.iter().find(|known| known.name == context)?;
    let cluster = &named.context.as_ref()?.cluster;
    let found = file.clusters.iter().find(|known| known.name == *cluster)?;
    found.cluster.as_ref()?.server.clone()
}

/// Says which kubeconfig lacks the context that the estate names for a region, and what may be meant.
fn no_context(
    region: &str,
    context: &str,
    kubeconfig: Option<&str>,
    file: &Kubeconfig,
) -> ActionError {
    let from = std::env::var("KUBECONFIG").ok().filter(|paths| !paths.is_empty());
    let from = kubeconfig.map(str::to_owned).or(from).unwrap_or("~/.kube/config".to_owned());
    let known = || file.contexts.iter().map(|known| known.name.as_str());
    let meant = match (near::hint(context, known()), known().next()) {
        (Some(meant), _) => meant,
        (None, Some(_)) => format!("it has {}", known().collect::<Vec<_>>().join(", ")),
        (None, None) => "it has none".to_owned(),
    };
    let message = format!("kubeconfig `{from}` has no context `{context}`; {meant}");
    ActionError::unchanged(FailureClass::Invalid, message).hint(format!(
        "correct `clusters.{region}.context` in the estate file; see `kubectl config get-contexts`"
    ))
}

async fn config(
    region: &str,
    context: &str,
    kubeconfig: Option<&str>,
) -> Result<Config, ActionError> {
    let bad = |error: &dyn std::fmt::Display| {
        ActionError::unchanged(
            FailureClass::Invalid,
            format!("kubeconfig context {context}: {error}"),
        )
        .hint("see `kubectl config get-contexts`; the estate names the context")
    };
    let read = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let mut file = read.map_err(|error| match &error {
        KubeconfigError::FindPath | KubeconfigError::ReadConfig(..) => {
            let message = format!("no kubeconfig can be read: {error}");
            ActionError::unchanged(FailureClass::Invalid, message)
                .hint("set `kubeconfig:` of the cluster in the estate file, or KUBECONFIG")
        }
        _ => bad(&error),
    })?;
    if !file.contexts.iter().any(|known| known.name == context) {
        return Err(no_context(region, context, kubeconfig, &file));
    }
    // A token from the global STS endpoint needs us-east-1, perhaps the region that is gone.
    for user in &mut file.auth_infos {
        if let Some(exec) = user.auth_info.as_mut().and_then(|user| user.exec.as_mut()) {
            exec.env.get_or_insert_default().push(HashMap::from([
                ("name".to_owned(), "AWS_STS_REGIONAL_ENDPOINTS".to_owned()),
                ("value".to_owned(), "regional".to_owned()),
            ]));
        }
    }
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..Default::default() };
    let mut config =
        Config::from_custom_kubeconfig(file, &options).await.map_err(|error| bad(&error))?;
    config.connect_timeout = Some(CONNECT_LIMIT);
    config.read_timeout = Some(CHANGE_LIMIT);
    // The default tries 15 times over minutes, any method; retries are the engine's.
    config.default_retry = false;
    Ok(config)
}

/// What a call does, and so what its failure leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Changes nothing, whatever happens
    Read,
    /// May have changed something when its answer was lost
    Change,
}

/// Makes a call that only looks. `what` fits "failed to …".
pub(crate) async fn read<T>(
    clients: &Clients,
    what: &str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, ActionError> {
    call(clients, what, Purpose::Read, READ_LIMIT, work).await
}

/// Makes a call that changes something. `what` fits "failed to …".
pub(crate) async fn change<T>(
    clients: &Clients,
    what: &str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, ActionError> {
    call(clients, what, Purpose::Change, CHANGE_LIMIT, work).await
}

async fn call<T>(
    clients: &Clients,
    what: &str,
    purpose: Purpose,
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, ActionError> {
    match within(clients.clock.as_ref(), limit, work).await {
        Ok(done) => done.map_err(|error| {
            let error = explain(&error, what, purpose);
            if error.class == FailureClass::Credentials {
                clients.kubernetes.stale.store(true, Ordering::Release);
            }
            error
        }),
        Err(_) => Err(lost(purpose, format!("{what}: no answer in {}", Span(limit)))),
    }
}

/// Returns the error of a call whose answer never came.
fn lost(purpose: Purpose, message: String) -> ActionError {
    match purpose {
        Purpose::Read => ActionError::unchanged(FailureClass::Transient, message),
        Purpose::Change => ActionError::unknown(FailureClass::Transient, message),
    }
}

fn explain(error: &Error, what: &str, purpose: Purpose) -> ActionError {
    if let Some(refused) = refusal(error) {
        return refused.into();
    }
    match error {
        Error::Api(status) => explain_status(status, what, purpose),
        Error::Auth(error) => credentials(&format!("{what}: {error}")),
        Error::InferConfig(_)
        | Error::InferKubeconfig(_)
        | Error::ProxyProtocolUnsupported { .. }
        | Error::ProxyProtocolDisabled { .. }
        | Error::TlsRequired
        | Error::RustlsTls(_)
        | Error::BuildRequest(_)
        | Error::HttpError(_) => {
            ActionError::unchanged(FailureClass::Invalid, format!("{what}: {error}"))
        }
        Error::Service(source) => {
            // The credential plugin runs inside the call when a token has expired.
            if let Some(Error::Auth(error)) = source.downcast_ref() {
                return credentials(&format!("{what}: {error}"));
            }
            match Failure::of(source.as_ref()) {
                Some(Failure::Unreachable(said)) => {
                    // Refused connections never carried the request.
                    let refused = said.starts_with("refused");
                    let purpose = if refused { Purpose::Read } else { purpose };
                    lost(purpose, format!("{what}: {said}"))
                }
                _ => lost(purpose, format!("{what}: {}", chain(source.as_ref()))),
            }
        }
        // The rest broke off somewhere in the answer.
        _ => lost(purpose, format!("{what}: {error}")),
    }
}

fn credentials(message: &str) -> ActionError {
    ActionError::unchanged(FailureClass::Credentials, message)
        .hint("renew the credentials of the kubeconfig's user, then try again")
}

fn explain_status(status: &kube::core::Status, what: &str, purpose: Purpose) -> ActionError {
    let said = if status.message.is_empty() { &status.reason } else { &status.message };
    let message = format!("{what}: {said}");
    match status.code {
        401 => credentials(&message),
        403 => ActionError::unchanged(FailureClass::Denied, message)
            .hint("grant this user the verb and resource named above"),
        404 => ActionError::unchanged(FailureClass::NotFound, message)
            .hint("see what is there with `kubectl get`; correct the name, or make it"),
        409 => ActionError::unchanged(FailureClass::Conflict, message),
        429 => ActionError::unchanged(FailureClass::Throttled, message),
        408 | 500..=599 => lost(purpose, message),
        _ => ActionError::unchanged(FailureClass::Invalid, message),
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !said.contains(&cause) {
            said.push_str(": ");
            said.push_str(&cause);
        }
        next = error.source();
    }
    said
}

/// Refuses what would change the cluster while the guard is closed. Outermost, so that nothing is sent at all.
#[derive(Clone)]
struct GuardLayer {
    guard: Guard,
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded { inner, guard: self.guard.clone() }
    }
}

struct Guarded<S> {
    inner: S,
    guard: Guard,
}

impl<S, B> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Send,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !only_looks(&request)
            && let Err(refused) =
                self.guard.pass(format!("{} {}", request.method(), request.uri().path()))
        {
            return Box::pin(async move { Err(Box::new(refused) as BoxError) });
        }
        tracing::debug!(method = %request.method(), uri = %request.uri(), "kubernetes request");
        let answer = self.inner.call(request);
        Box::pin(async move { answer.await.map_err(Into::into) })
    }
}

/// Says whether a request changes nothing: a read, a question about access, or a server-side dry run.
fn only_looks(request: &Request<Body>) -> bool {
    let path = request.uri().path();
    // These act on what runs, by GET as well, and know no dry run.
    let connects = ["exec", "attach", "portforward", "proxy"];
    if path.split('/').any(|part| connects.contains(&part)) {
        return false;
    }
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method()) {
        return true;
    }
    let reviews = [
        "/selfsubjectaccessreviews",
        "/selfsubjectrulesreviews",
        "/selfsubjectreviews",
        "/subjectaccessreviews",
    ];
    let is_review = request.method() == Method::POST
        && path.starts_with("/apis/auth")
        && reviews.iter().any(|review| path.ends_with(review));
    // kube writes an empty first pair, so the query is looked at pair by pair.
    let pairs = request.uri().query().unwrap_or_default().split('&');
    let values: Vec<&str> = pairs.filter_map(|pair| pair.strip_prefix("dryRun=")).collect();
    is_review || values == ["All"]
}

#[cfg(test)]
#[path = "kubernetes_tests.rs"]
mod tests;
