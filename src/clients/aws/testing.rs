//! Real SDK clients over a connector of a few lines: answers are scripted, requests are recorded.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sts::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::Aws;
use crate::clients::Clients;
use crate::clients::guard::Guard;
use crate::clock::Clock;
use crate::engine::ports::{Armed, Call, Progress, ProgressNote};
use crate::estate::types::Estate;
use crate::ids::{RunId, StepId};

pub(crate) const RUN: &str = "01JD0000000000000000000001";

/// One request as it went out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    /// `Action` of a query request; method and path of the others
    pub action: String,
    pub host: String,
    pub body: String,
    /// Access key it is signed with
    pub key: String,
}

impl Sent {
    fn of(request: &HttpRequest) -> Self {
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let uri = request.uri();
        let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let action = body.split('&').find_map(|field| field.strip_prefix("Action="));
        Self {
            action: action.map_or_else(|| format!("{} /{path}", request.method()), str::to_owned),
            host: host.to_owned(),
            body,
            key: request
                .headers()
                .get("authorization")
                .and_then(|signed| signed.split("Credential=").nth(1)?.split('/').next())
                .unwrap_or_default()
                .to_owned(),
        }
    }

    /// Returns a form field of a query request, decoded as far as the tests need.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let value = self
            .body
            .split('&')
            .find_map(|field| field.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')))?;
        Some(value.replace("%3A", ":").replace("%2F", "/").replace("%20", " "))
    }
}

/// What comes back.
pub(crate) enum Reply {
    Answer(u16, String),
    /// An answer in smithy's RPC v2 with a CBOR body
    Cbor(u16, Vec<u8>),
    /// The connection broke
    Broken(ConnectorError),
    /// Nothing ever comes back
    Silence,
}

type Handler = dyn Fn(&Sent, usize) -> Reply + Send + Sync;

/// Answers every request by a function of the request and of how often this action was asked before.
#[derive(Clone)]
pub(crate) struct Script {
    handler: Arc<Handler>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Script {
    pub(crate) fn new(handler: impl Fn(&Sent, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self { handler: Arc::new(handler), sent: Arc::default() }
    }

    /// Answers a request without a note of it, for a script over this one.
    pub(crate) fn answer(&self, sent: &Sent, before: usize) -> Reply {
        (self.handler)(sent, before)
    }

    /// Answers the first request of an action as if nothing of that name were there.
    pub(crate) fn hiding_first(self, action: &'static str) -> Self {
        let (handler, sent) = (self.handler, self.sent);
        let hidden = move |request: &Sent, before: usize| match before {
            0 if request.action == action => query_error(404, "DBInstanceNotFound", "not yet"),
            _ => handler(request, before),
        };
        Self { handler: Arc::new(hidden), sent }
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().expect("no test panics in the handler").clone()
    }

    pub(crate) fn actions(&self) -> Vec<String> {
        self.sent().into_iter().map(|sent| sent.action).collect()
    }

    pub(crate) fn count(&self, action: &str) -> usize {
        self.actions().iter().filter(|seen| *seen == action).count()
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl HttpConnector for Script {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let sent = Sent::of(&request);
        let before = self.count(&sent.action);
        self.sent.lock().expect("no test panics in the handler").push(sent.clone());
        HttpConnectorFuture::ready(match (self.handler)(&sent, before) {
            Reply::Silence => return HttpConnectorFuture::new(std::future::pending()),
            Reply::Answer(status, body) => {
                Ok(HttpResponse::new(status.try_into().expect("a valid status"), body.into()))
            }
            Reply::Cbor(status, body) => {
                let status = status.try_into().expect("a valid status");
                let mut answer = HttpResponse::new(status, body.into());
                answer.headers_mut().insert("smithy-protocol", "rpc-v2-cbor");
                answer.headers_mut().insert("content-type", "application/cbor");
                Ok(answer)
            }
            Reply::Broken(error) => Err(error),
        })
    }
}

impl HttpClient for Script {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// A clock that stands still but for sleeps, which end after other tasks had their turns.
#[derive(Clone)]
pub(crate) struct StepClock(Arc<Mutex<Timestamp>>);

impl StepClock {
    pub(crate) fn at(instant: &str) -> Self {
        Self(Arc::new(Mutex::new(instant.parse().expect("an instant"))))
    }
}

impl Clock for StepClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("the clock is never poisoned")
    }

    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        let now = self.0.clone();
        Box::pin(async move {
            for _ in 0..64 {
                tokio::task::yield_now().await;
            }
            let mut now = now.lock().expect("the clock is never poisoned");
            *now += length;
        })
    }
}

pub(crate) const NOW: &str = "2026-11-22T02:18:00Z";

pub(crate) fn credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new("AKID", "SECRET", None, None, "test"))
}

/// The estate of the tests, with `change` applied to its JSON.
pub(crate) fn estate(change: impl FnOnce(&mut Value)) -> Arc<Estate> {
    let region = |api: &str| {
        json!({
            "api": api,
            "subnet_group": "phoenix-db-subnets",
            "security_groups": ["sg-1", "sg-2"],
            "parameter_group": "phoenix-postgres15",
        })
    };
    let mut estate = json!({
        "estate": "phoenix",
        "primary": { "region": "us-east-1" },
        "regions": {
            "us-east-1": region("https://api.us-east-1.phoenix.example"),
            "us-west-2": region("https://api.us-west-2.phoenix.example"),
        },
        "dns": {
            "zone": "Z1",
            "name": "app.phoenix.example",
            "type": "A",
            "shape": "weighted",
            "records": { "us-east-1": "use1", "us-west-2": "usw2" },
        },
        "database": {
            "name": "phoenix",
            "primary": { "id": "phoenix-prod", "region": "us-east-1" },
            "replica": { "id": "phoenix-dr-replica", "region": "us-west-2" },
            "recovered": { "id": "phoenix-restored", "class": "db.r6g.xlarge" },
            "connection": { "user": "phoenix_dr", "password_from": { "env": "PHOENIX_DB" } },
        },
    });
    change(&mut estate);
    Arc::new(serde_json::from_value(estate).expect("the estate of the tests"))
}

/// Clients of an estate over a script, with the guard closed.
pub(crate) fn guarded(estate: Arc<Estate>, script: &Script) -> Clients {
    timed(estate, script, Arc::new(StepClock::at(NOW)))
}

/// The same on a given clock: looks over real sockets need the real one.
pub(crate) fn timed(estate: Arc<Estate>, script: &Script, clock: Arc<dyn Clock>) -> Clients {
    let guard = Guard::closed();
    let http = SharedHttpClient::new(script.clone());
    let aws = Aws::over(estate.clone(), guard.clone(), clock.clone(), http, credentials());
    let mut clients = Clients::new(estate, guard, clock);
    clients.aws = aws;
    clients
}

/// Clients over a script with credentials that are asked for anew whenever sources are read anew.
pub(crate) fn renewable(
    script: &Script,
    given: impl Fn() -> SharedCredentialsProvider + Send + Sync + 'static,
) -> Clients {
    let mut clients = timed(estate(|_| {}), script, Arc::new(crate::clock::RealClock));
    clients.aws.given = Some(Arc::new(given));
    clients
}

/// Clients of an estate over a script, armed.
pub(crate) fn armed(estate: Arc<Estate>, script: &Script) -> (Clients, Armed) {
    let clients = guarded(estate, script);
    let armed = Armed::mint();
    clients.guard.open(&armed);
    (clients, armed)
}

/// A call of a step, and the news it tells.
pub(crate) fn call(action: &str) -> (Call, mpsc::UnboundedReceiver<ProgressNote>) {
    let (sink, news) = mpsc::unbounded_channel();
    let step = StepId::from("step");
    let call = Call {
        run: RunId(RUN.to_owned()),
        step: step.clone(),
        action: action.to_owned(),
        with: Map::new(),
        generation: 0,
        choice: None,
        progress: Progress::new(step, sink),
    };
    (call, news)
}

/// An error as RDS and STS answer it.
pub(crate) fn query_error(status: u16, code: &str, message: &str) -> Reply {
    Reply::Answer(
        status,
        format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
             <RequestId>r-1</RequestId></ErrorResponse>"
        ),
    )
}

/// An error as Route 53 and S3 answer it.
pub(crate) fn rest_error(status: u16, code: &str, message: &str) -> Reply {
    Reply::Answer(
        status,
        format!(
            "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Error>\
             <Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>r-1</RequestId>\
             </ErrorResponse>"
        ),
    )
}
