//! The way to a simulated cluster: the faults of the network and of its API server, before its own answers.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::{Body, Bytes};
use tower::{BoxError, Service};

use super::Sandbox;
use super::aws::delay;
use super::fault::{Call, Fault, Service as Called, placing};
use super::kubernetes::{Answered, Cluster, Failure, NoPlace, torn};

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

    /// Has the faults decide, from now on, which pods of the clusters find a place.
    pub(super) fn place_pods(&self) {
        for (region, cluster) in &self.0.clusters {
            let (weak, region) = (Arc::downgrade(&self.0), region.clone());
            cluster.on_placing(move |namespace, pod, at| {
                let sandbox = Self(weak.upgrade()?);
                let call = Call {
                    service: Called::Kubernetes,
                    region: region.clone(),
                    operation: placing::operation(namespace, pod),
                    wants_machine: true,
                };
                let mut state = sandbox.state();
                let struck = state.faults.keeps_waiting(&call, at).cloned();
                let rule = struck.or_else(|| state.strike(&call, at))?;
                Some(NoPlace { until: state.faults.ends(&rule) })
            });
        }
    }
}

impl<B> Service<Request<B>> for Reached
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Answered>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Answered>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let reached = self.clone();
        Box::pin(async move { reached.exchange(request).await })
    }
}

impl Reached {
    async fn exchange<B>(self, request: Request<B>) -> Result<Response<Answered>, BoxError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Self { sandbox, region, cluster } = self;
        let operation = format!("{} {}", request.method(), request.uri().path());
        let call = Call { service: Called::Kubernetes, region, operation, wants_machine: false };
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
            Some(Fault::Latency) => {
                clock.sleep(rule.as_ref().map_or_else(Default::default, delay)).await;
            }
            // For want of machines it is pods that wait: the scheduler's affair.
            Some(
                Fault::LostAnswer
                | Fault::Truncated
                | Fault::Stale
                | Fault::Stuck
                | Fault::NoCapacity,
            )
            | None => {}
        }
        clock.sleep(sandbox.durations().answer.0).await;
        let (answer, left) = cluster.answer(request).await?;
        if let Some(what) = left {
            sandbox.left(&format!("kubernetes {what}"));
        }
        match fault {
            Some(Fault::LostAnswer) => std::future::pending().await,
            Some(Fault::Truncated) => Ok(Response::new(torn())),
            _ => Ok(answer),
        }
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
