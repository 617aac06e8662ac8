//! The SDK's connector into the simulation: time limits, lost connections and lost answers as the network has them.

use std::fmt;
use std::io;
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};

use super::exchange::{Lost, exchange};
use super::{Answer, Request};
use crate::sandbox::Sandbox;
use crate::sandbox::fault::Call;

/// Time limits where the SDK names none.
const CONNECT_LIMIT: Duration = Duration::from_secs(127);
const READ_LIMIT: Duration = Duration::from_secs(60);

/// Connects the SDK to a sandbox.
#[derive(Clone)]
pub(crate) struct Connector {
    sandbox: Sandbox,
    connect: Duration,
    read: Duration,
}

impl Connector {
    pub(crate) fn to(sandbox: Sandbox) -> Self {
        Self { sandbox, connect: CONNECT_LIMIT, read: READ_LIMIT }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpClient for Connector {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Self {
            sandbox: self.sandbox.clone(),
            connect: settings.connect_timeout().unwrap_or(CONNECT_LIMIT),
            read: settings.read_timeout().unwrap_or(READ_LIMIT),
        })
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connector = self.clone();
        HttpConnectorFuture::new(async move { connector.exchange(request).await })
    }
}

impl Connector {
    async fn exchange(&self, mut request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        // Read as a connection reads it: the SDK ends a call early whose body nobody takes.
        let body = ByteStream::new(request.take_body()).collect().await;
        let body = body.map_err(|error| ConnectorError::user(error.into()))?.into_bytes();
        let headers: Vec<(String, String)> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let request = Request::new(request.method(), request.uri(), &headers, &body);
        let Some(call) = request.call() else {
            let what = format!("{} {}{}", request.method, request.host, request.path);
            self.sandbox.left(&what);
            return Err(ConnectorError::user(format!("{what} is not simulated").into()));
        };
        match exchange(&self.sandbox, &call, &request, self.connect, self.read).await {
            Ok(answer) => Ok(response(answer)),
            Err(Lost::Silent) => Err(unconnected(&call, io::ErrorKind::TimedOut)),
            Err(Lost::Refused) => Err(unconnected(&call, io::ErrorKind::ConnectionRefused)),
            Err(Lost::Torn(answer)) => Ok(torn(answer)),
            Err(Lost::Answer) => Err(ConnectorError::timeout("no answer in time".into())),
        }
    }
}

/// A connection that never stood carried nothing; the words are those of the real client, by which it is known.
fn unconnected(call: &Call, kind: io::ErrorKind) -> ConnectorError {
    let source = io::Error::from(kind);
    let error: BoxError = Box::new(NeverConnected { call: call.clone(), source });
    match kind {
        io::ErrorKind::TimedOut => ConnectorError::timeout(error),
        _ => ConnectorError::io(error),
    }
    .never_connected()
}

#[derive(Debug, thiserror::Error)]
#[error("client error (Connect) to {call}")]
struct NeverConnected {
    call: Call,
    source: io::Error,
}

fn response(mut answer: Answer) -> HttpResponse {
    let body = std::mem::take(&mut answer.body);
    with_body(answer, body.into())
}

/// An answer whose body ends in an error: a real connection knows how long the body should have been, and half of
/// one that came as a whole would be read as an object that lacks most of its parts.
fn torn(mut answer: Answer) -> HttpResponse {
    let half = Frame::data(Bytes::from(std::mem::take(&mut answer.body)));
    let broken = io::Error::new(io::ErrorKind::UnexpectedEof, "the connection broke off");
    let body = StreamBody::new(futures::stream::iter([Ok(half), Err(broken)]));
    with_body(answer, SdkBody::from_body_1_x(body))
}

fn with_body(answer: Answer, body: SdkBody) -> HttpResponse {
    let status = answer.status.try_into().expect("a service answers with a valid status");
    let mut response = HttpResponse::new(status, body);
    for (name, value) in answer.headers {
        // What cannot stand in a header is left out, as a proxy on the way would.
        drop(response.headers_mut().try_insert(name, value));
    }
    response
}
