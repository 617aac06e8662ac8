//! A way into the simulated services for other programs: a service of HTTP requests, for whoever listens.
//!
//! Which service and region a request is for stands in its signature, as for the SDK of this program. The signature
//! itself is not checked.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::header::HOST;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Bytes};
use kube::client::Body;
use tower::{BoxError, Service};

use super::exchange::{Lost, exchange};
use super::{Answer, Request};
use crate::sandbox::Sandbox;

/// How long a region that is dark keeps a program waiting before the connection breaks.
const SILENCE: Duration = Duration::from_secs(60);

/// AWS, as other programs reach it.
#[derive(Clone)]
pub(crate) struct Front {
    sandbox: Sandbox,
}

impl Front {
    pub(crate) const fn to(sandbox: Sandbox) -> Self {
        Self { sandbox }
    }

    async fn exchange<B>(&self, request: http::Request<B>) -> Result<http::Response<Body>, BoxError>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(Into::into)?.to_bytes();
        let headers: Vec<(String, String)> = parts
            .headers
            .iter()
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or(parts.uri.host()).unwrap_or_default();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = format!("http://{host}{path}");
        let request = Request::new(parts.method.as_str(), &uri, &headers, &body);
        let Some(call) = request.call() else {
            // A service the simulation has not, or nobody who says who they are.
            let what = format!("{} {host}{path}", parts.method);
            self.sandbox.left(&what);
            let said = format!("{what} is not simulated");
            return response(Answer { status: 501, headers: Vec::new(), body: said.into_bytes() });
        };
        match exchange(&self.sandbox, &call, &request, SILENCE, SILENCE).await {
            Ok(answer) => response(answer),
            Err(Lost::Silent | Lost::Answer) => {
                Err(io::Error::from(io::ErrorKind::TimedOut).into())
            }
            Err(Lost::Refused | Lost::Torn(_)) => {
                Err(io::Error::from(io::ErrorKind::ConnectionReset).into())
            }
        }
    }
}

impl<B> Service<http::Request<B>> for Front
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<http::Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let front = self.clone();
        Box::pin(async move { front.exchange(request).await })
    }
}

fn response(answer: Answer) -> Result<http::Response<Body>, BoxError> {
    let mut response = http::Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Body::from(answer.body))?)
}
