//! The way to a simulated cluster: the faults of the network and of its API server, before its own answers.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use kube::client::Body;
use serde_json::json;
use tower::{BoxError, Service, ServiceExt as _};

use super::Sandbox;
use super::aws::delay;
use super::fault::{Call, Fault, Service as Called};
use super::kubernetes::Cluster;

/// A cluster as it is reached from this host.
#[derive(Clone)]
pub(crate) struct Reached {
    sandbox: Sandbox,
    region: String,
    cluster: Cluster,
}

impl Sandbox {
    /// Returns the API server of a region's cluster.
    pub(crate) fn kubernetes(&self, region: &str) -> Option<Reached> {
        let cluster = self.0.clusters.get(region)?.clone();
        Some(Reached { sandbox: self.clone(), region: region.to_owned(), cluster })
    }
}

impl Service<Request<Body>> for Reached {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let reached = self.clone();
        Box::pin(async move { reached.exchange(request).await })
    }
}

impl Reached {
    async fn exchange(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let Self { sandbox, region, cluster } = self;
        let operation = format!("{} {}", request.method(), request.uri().path());
        let call = Call { service: Called::Kubernetes, region, operation };
        let clock = sandbox.clock();
        let rule = sandbox.strike(&call);
        let fault = rule.as_ref().map(|rule| rule.fault);
        match fault {
            // Whoever asks has a time limit of its own.
            Some(Fault::Dark) => std::future::pending::<()>().await,
            Some(Fault::Refused) => {
                return Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into());
            }
            Some(Fault::Throttled) => {
                return Ok(status(
                    429,
                    "TooManyRequests",
                    "too many requests, please try again later",
                ));
            }
            Some(Fault::Denied) => {
                let said = format!("User \"phoenix-dr\" cannot do this: {}", call.operation);
                return Ok(status(403, "Forbidden", &said));
            }
            Some(Fault::Expired) => return Ok(status(401, "Unauthorized", "Unauthorized")),
            Some(Fault::NoCapacity) => {
                return Ok(status(503, "ServiceUnavailable", "the server is overloaded"));
            }
            Some(Fault::Latency) => {
                clock.sleep(rule.as_ref().map_or_else(Default::default, delay)).await;
            }
            Some(Fault::LostAnswer | Fault::Truncated | Fault::Stale | Fault::Stuck) | None => {}
        }
        clock.sleep(sandbox.durations().answer.0).await;
        let answer = cluster.oneshot(request).await?;
        match fault {
            Some(Fault::LostAnswer) => std::future::pending().await,
            Some(Fault::Truncated) => Ok(Response::new(Body::from(b"{\"kind\":\"Dep".to_vec()))),
            _ => Ok(answer),
        }
    }
}

/// Returns an error as an API server gives it.
fn status(code: u16, reason: &str, message: &str) -> Response<Body> {
    let status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    });
    let mut response = Response::new(Body::from(status.to_string().into_bytes()));
    *response.status_mut() = code.try_into().unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response
}
