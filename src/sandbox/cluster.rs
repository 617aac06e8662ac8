//! The way to a simulated cluster: the faults of the network and of its API server, before its own answers.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use kube::client::Body;
use tower::{BoxError, Service};

use super::Sandbox;
use super::aws::delay;
use super::fault::{Call, Fault, Service as Called};
use super::kubernetes::{Cluster, Failure};

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
                let said = "too many requests, please try again later";
                return Failure::new(429, "TooManyRequests", said).response();
            }
            Some(Fault::Denied) => {
                let said = format!("User \"phoenix-dr\" cannot do this: {}", call.operation);
                return Failure::new(403, "Forbidden", said).response();
            }
            Some(Fault::Expired) => {
                return Failure::new(401, "Unauthorized", "Unauthorized").response();
            }
            Some(Fault::NoCapacity) => {
                let said = "the server is overloaded";
                return Failure::new(503, "ServiceUnavailable", said).response();
            }
            Some(Fault::Latency) => {
                clock.sleep(rule.as_ref().map_or_else(Default::default, delay)).await;
            }
            Some(Fault::LostAnswer | Fault::Truncated | Fault::Stale | Fault::Stuck) | None => {}
        }
        clock.sleep(sandbox.durations().answer.0).await;
        let answer = cluster.answer(request).await?;
        match fault {
            Some(Fault::LostAnswer) => std::future::pending().await,
            Some(Fault::Truncated) => Ok(Response::new(Body::from(b"{\"kind\":\"Dep".to_vec()))),
            _ => Ok(answer),
        }
    }
}
