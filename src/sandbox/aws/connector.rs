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
use aws_smithy_types::byte_stream::ByteStream;

use super::{Answer, Request, faulty};
use crate::sandbox::Sandbox;
use crate::sandbox::fault::{Call, Fault, Rule};
use crate::span::Span;

/// Time limits where the SDK names none.
const CONNECT_LIMIT: Duration = Duration::from_secs(127);
const READ_LIMIT: Duration = Duration::from_secs(60);
const LATENCY: Span = Span::seconds(5);

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
        let clock = self.sandbox.clock();
        let struck = self.sandbox.strike(&call).map(|rule| (rule.fault, rule));
        match struck {
            Some((Fault::Dark, _)) => {
                clock.sleep(self.connect).await;
                return Err(unconnected(&call, io::ErrorKind::TimedOut));
            }
            Some((Fault::Refused, _)) => {
                return Err(unconnected(&call, io::ErrorKind::ConnectionRefused));
            }
            Some((Fault::Latency, ref rule)) => clock.sleep(delay(rule)).await,
            _ => {}
        }
        let fault = struck.map(|(fault, _)| fault);
        clock.sleep(self.sandbox.durations().answer.0).await;
        if let Some(answer) = fault.and_then(|fault| faulty(&call, &request, fault)) {
            return Ok(response(answer));
        }
        let mut answer = self.sandbox.aws(&call, &request, fault);
        if fault == Some(Fault::LostAnswer) {
            clock.sleep(self.read).await;
            return Err(ConnectorError::timeout("no answer in time".into()));
        }
        if fault == Some(Fault::Truncated) {
            answer.body.truncate(answer.body.len() / 2);
        }
        Ok(response(answer))
    }
}

pub(crate) fn delay(rule: &Rule) -> Duration {
    rule.delay.unwrap_or(LATENCY).0
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

fn response(answer: Answer) -> HttpResponse {
    let status = answer.status.try_into().expect("a service answers with a valid status");
    let mut response = HttpResponse::new(status, answer.body.into());
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, value);
    }
    response
}
