use std::collections::VecDeque;
use std::sync::Mutex;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use futures::FutureExt as _;

use super::*;
use crate::clients::guard::Guard;
use crate::clock::RealClock;

/// What the server does with a request.
#[derive(Debug, Clone)]
enum Reply {
    Answer(u16, Option<&'static str>, &'static str),
    Reset,
    RefusedByGuard,
}

/// A server that answers from a list and keeps what it was asked.
#[derive(Debug, Clone)]
struct Server {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl HttpConnector for Server {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let header = |name: &str| request.headers().get(name).unwrap_or("-").to_owned();
        let asked = format!(
            "{} {} if-none-match={} if-match={}",
            request.method(),
            request.uri().split('?').next().unwrap_or_default(),
            header("if-none-match"),
            header("if-match")
        );
        self.asked.lock().expect("no panic").push(asked);
        let reply = self.replies.lock().expect("no panic").pop_front().expect("a reply is left");
        HttpConnectorFuture::ready(match reply {
            Reply::Answer(status, etag, body) => {
                let status = status.try_into().expect("a status");
                let mut response = HttpResponse::new(status, body.into());
                if let Some(etag) = etag {
                    response.headers_mut().insert("etag", etag);
                }
                Ok(response)
            }
            Reply::Reset => Err(ConnectorError::io("connection reset".into())),
            Reply::RefusedByGuard => Err(ConnectorError::user(Box::new(
                Guard::closed().pass("S3.PutObject").expect_err("it is closed"),
            ))),
        })
    }
}

impl HttpClient for Server {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

fn store(replies: Vec<Reply>) -> (LeaseStore, Server) {
    let server = Server { replies: Arc::new(Mutex::new(replies.into())), asked: Arc::default() };
    let credentials = Credentials::new("AKID", "SECRET", None, None, "test");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-west-2"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
        .endpoint_url("http://s3.test")
        .force_path_style(true)
        .http_client(server.clone())
        .build();
    let client = Client::from_conf(config);
    let source: S3Source = Arc::new(move || {
        let client = client.clone();
        async move { Ok(client) }.boxed()
    });
    (LeaseStore::s3(source, "state", "dr/lease.json", Arc::new(RealClock)), server)
}

fn error(status: u16, code: &str) -> Reply {
    let body = format!("<Error><Code>{code}</Code><Message>said so</Message></Error>");
    Reply::Answer(status, None, Box::leak(body.into_boxed_str()))
}

#[tokio::test]
async fn an_object_is_read_with_its_version() {
    let (store, server) = store(vec![
        Reply::Answer(200, Some("\"e1\""), "body"),
        error(404, "NoSuchKey"),
        error(404, "NoSuchBucket"),
        error(403, "AccessDenied"),
        error(500, "InternalError"),
        Reply::Reset,
        Reply::Answer(200, None, "body"),
    ]);
    let found = store.get().await.expect("read");
    assert_eq!(found, Some(Found { etag: "\"e1\"".to_owned(), body: b"body".to_vec() }));
    assert_eq!(store.get().await, Ok(None));
    let no_bucket = "bucket `state` does not exist; correct `state.s3.bucket`";
    for says in [no_bucket, "s3:ListBucket", "InternalError", "connection reset", "no ETag"] {
        let why = String::from(store.get().await.expect_err(says));
        assert!(why.starts_with("read s3://state/dr/lease.json: "), "{why}");
        assert!(why.contains(says), "{why} does not say {says}");
        assert!(!why.contains("Error {"), "{why} is for its author");
    }
    let asked = server.asked.lock().expect("no panic");
    assert_eq!(asked[0], "GET http://s3.test/state/dr/lease.json if-none-match=- if-match=-");
}

#[tokio::test]
async fn a_write_names_its_condition() {
    let written = || Reply::Answer(200, Some("\"e2\""), "");
    let (store, server) = store(vec![written(), written()]);
    let unchanged = Condition::Unchanged { etag: "\"e1\"".to_owned() };
    assert_eq!(store.put(&Condition::Absent, b"x".to_vec()).await, Ok("\"e2\"".to_owned()));
    assert_eq!(store.put(&unchanged, b"x".to_vec()).await, Ok("\"e2\"".to_owned()));
    let asked = server.asked.lock().expect("no panic");
    assert!(asked[0].starts_with("PUT ") && asked[0].ends_with("if-none-match=* if-match=-"));
    assert!(asked[1].ends_with("if-none-match=- if-match=\"e1\""), "{}", asked[1]);
}

#[tokio::test]
async fn what_an_answer_says_of_a_write() {
    let kind = |error: &PutError| match error {
        PutError::NotMet => "not met",
        PutError::Conflict => "conflict",
        PutError::Refused(_) => "refused",
        PutError::Unknown(_) => "unknown",
    };
    for (reply, expected) in [
        (error(412, "PreconditionFailed"), "not met"),
        (error(404, "NoSuchKey"), "not met"),
        (error(404, "NoSuchBucket"), "refused"),
        (error(409, "ConditionalRequestConflict"), "conflict"),
        (error(429, "TooManyRequests"), "conflict"),
        (error(403, "AccessDenied"), "refused"),
        (error(400, "ExpiredToken"), "refused"),
        (error(408, "RequestTimeout"), "unknown"),
        (error(500, "InternalError"), "unknown"),
        (error(503, "SlowDown"), "unknown"),
        (Reply::Reset, "unknown"),
        (Reply::Answer(200, None, ""), "unknown"),
        (Reply::RefusedByGuard, "refused"),
    ] {
        let (store, _) = store(vec![reply.clone()]);
        let got = store.put(&Condition::Absent, b"x".to_vec()).await.expect_err("no success");
        assert_eq!(kind(&got), expected, "{reply:?}: {got:?}");
    }
}

#[tokio::test]
async fn without_a_client_nothing_is_written() {
    let source: S3Source = Arc::new(|| async { Err("no AWS credentials work".to_owned()) }.boxed());
    let store = LeaseStore::s3(source, "state", "k", Arc::new(RealClock));
    let refused = PutError::Refused("write s3://state/k: no AWS credentials work".to_owned());
    assert_eq!(store.put(&Condition::Absent, Vec::new()).await, Err(refused));
    assert!(store.get().await.is_err());
}
