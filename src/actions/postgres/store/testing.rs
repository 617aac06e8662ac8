//! A real S3 server for tests of dumps in a bucket, and what is asked of it on the way; it is a Route 53 as well.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::clients::aws::Aws;
use crate::clients::aws::testing::credentials;
use crate::clients::guard::Guard;
use crate::clients::{Clients, testing};
use crate::clock::{Clock, RealClock};
use crate::engine::ports::Armed;

pub(in crate::actions::postgres) const BUCKET: &str = "phoenix-dumps";
pub(in crate::actions::postgres) const REGION: &str = "us-west-2";
pub(in crate::actions::postgres) const PREFIX: &str = "phoenix";
/// Looks at a server that starts.
const LOOKS_MAX: usize = 1200;

/// What a request meets instead of the server.
#[derive(Debug, Clone)]
pub(in crate::actions::postgres) enum Fault {
    /// The connection breaks before anything arrives
    Broken,
    /// It is carried out, and the answer does not come back
    Lost,
    Answer(u16, String),
}

type Meets = dyn Fn(&str) -> Option<Fault> + Send + Sync;

/// The way to the server: what went along it, and what does not arrive.
#[derive(Clone, Default)]
pub(in crate::actions) struct Way {
    asked: Arc<Mutex<Vec<String>>>,
    meets: Arc<Mutex<Option<Arc<Meets>>>>,
}

impl Way {
    /// Has requests, as `PUT /bucket/key`, meet what a function says.
    pub(in crate::actions::postgres) fn meets(
        &self,
        meets: impl Fn(&str) -> Option<Fault> + Send + Sync + 'static,
    ) {
        *self.meets.lock().expect("no panic") = Some(Arc::new(meets));
    }

    /// Lets everything arrive again.
    pub(in crate::actions::postgres) fn free(&self) {
        *self.meets.lock().expect("no panic") = None;
    }

    /// Returns what was asked since, and forgets it.
    pub(in crate::actions::postgres) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("no panic"))
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Way")
    }
}

#[derive(Debug)]
struct Through<T> {
    way: Way,
    inner: T,
}

impl HttpClient for Through<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Through { way: self.way.clone(), inner })
    }
}

impl HttpConnector for Through<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let uri = request.uri();
        let path = uri.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
        let asked = format!("{} /{}", request.method(), path.map_or("", |(_, path)| path));
        self.way.asked.lock().expect("no panic").push(asked.clone());
        let meets = self.way.meets.lock().expect("no panic").clone();
        match meets.and_then(|meets| meets(&asked)) {
            None => self.inner.call(request),
            Some(Fault::Broken) => HttpConnectorFuture::ready(Err(reset())),
            Some(Fault::Lost) => {
                let carried_out = self.inner.call(request);
                HttpConnectorFuture::new(async move {
                    let answer = carried_out.await?;
                    // It has been read to its end: what was asked for is done.
                    drop(ByteStream::new(answer.into_body()).collect().await);
                    Err(reset())
                })
            }
            Some(Fault::Answer(status, body)) => {
                let status = status.try_into().expect("a status");
                HttpConnectorFuture::ready(Ok(HttpResponse::new(status, body.into())))
            }
        }
    }
}

fn reset() -> ConnectorError {
    ConnectorError::io(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into())
}

/// Returns an error as S3 answers it.
pub(in crate::actions::postgres) fn refusal(status: u16, code: &str) -> Fault {
    Fault::Answer(status, format!("<Error><Code>{code}</Code><Message>said so</Message></Error>"))
}

/// The present, with pauses that pass at once.
struct Brisk;

impl Clock for Brisk {
    fn now(&self) -> Timestamp {
        RealClock.now()
    }

    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        if length > Duration::from_secs(2) {
            return RealClock.sleep(length);
        }
        Box::pin(tokio::task::yield_now())
    }
}

/// A running S3 server with a bucket, and a directory of this host beside it.
pub(in crate::actions) struct Shop {
    child: Child,
    url: String,
    pub way: Way,
    pub work: tempfile::TempDir,
}

/// Returns the interpreter that `tests/estate --prepare` made.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("PHOENIX_DR_TEST_CACHE").map(PathBuf::from);
    let cache = named.or_else(|| {
        let base = std::env::var_os("XDG_CACHE_HOME").filter(|base| !base.is_empty());
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
        Some(base.map(PathBuf::from).or_else(home)?.join("phoenix-dr-tests"))
    });
    cache.map(|cache| cache.join("python/bin/python")).filter(|python| python.exists())
}

impl Shop {
    /// Starts one; `None` where the test servers are not installed.
    pub(in crate::actions) async fn open() -> Option<Self> {
        let address = crate::clients::tcp::tests::closed();
        let child = Command::new(python()?)
            .args(["-m", "servers.ministack_server"])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"))
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", address.port().to_string())
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("IOT_MTLS_ENABLED", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let work = tempfile::tempdir().expect("a directory");
        let url = format!("http://{address}");
        let shop = Self { child, url, way: Way::default(), work };
        shop.made().await;
        shop.way.asked();
        Some(shop)
    }

    /// Makes the bucket, as soon as there is somebody who can.
    async fn made(&self) {
        let (clients, _armed) = self.armed(json!({}));
        let s3 = &clients.aws.region(REGION).await.expect("clients").s3;
        let there = BucketLocationConstraint::from(REGION);
        let there = CreateBucketConfiguration::builder().location_constraint(there).build();
        for _ in 0..LOOKS_MAX {
            let asked = s3.create_bucket().bucket(BUCKET);
            if asked.create_bucket_configuration(there.clone()).send().await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the S3 server does not start");
    }

    /// Returns what the estate says of the bucket.
    pub(in crate::actions::postgres) fn dumps(&self) -> Value {
        json!({ "bucket": BUCKET, "region": REGION, "prefix": PREFIX, "work": self.work.path() })
    }

    /// Returns clients of an estate whose S3 is this server, with a closed guard.
    pub(in crate::actions::postgres) fn clients(&self, estate: Value) -> Clients {
        self.clients_on(estate, Arc::new(Brisk))
    }

    /// The same on another clock.
    pub(in crate::actions) fn clients_on(
        &self,
        mut estate: Value,
        clock: Arc<dyn Clock>,
    ) -> Clients {
        let here = json!({ "s3": self.url, "route53": self.url });
        let region = |api: &str| json!({ "api": api, "endpoints": here });
        estate["regions"] = json!({
            "us-east-1": region("http://127.0.0.1:9"), REGION: region("http://127.0.0.1:9"),
        });
        let estate = Arc::new(testing::estate(estate));
        let guard = Guard::closed();
        let inner = aws_smithy_http_client::Builder::new().build_http();
        let http = SharedHttpClient::new(Through { way: self.way.clone(), inner });
        let aws = Aws::over(estate.clone(), guard.clone(), clock.clone(), http, credentials());
        Clients { aws, ..Clients::new(estate, guard, clock) }
    }

    /// Returns clients that may change things, and the token for it.
    pub(in crate::actions) fn armed(&self, estate: Value) -> (Clients, Armed) {
        let (clients, armed) = (self.clients(estate), Armed::mint());
        clients.guard.open(&armed);
        (clients, armed)
    }

    pub(in crate::actions::postgres) async fn s3(&self) -> aws_sdk_s3::Client {
        let (clients, _armed) = self.armed(json!({}));
        clients.aws.region(REGION).await.expect("clients").s3.clone()
    }

    /// Returns the keys below the prefix with their lengths, each without the prefix.
    pub(in crate::actions::postgres) async fn keys(&self) -> Vec<(String, u64)> {
        let mut pages = self.s3().await.list_objects_v2().bucket(BUCKET).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            for object in page.expect("listed").contents() {
                let key = object.key().expect("a key").strip_prefix(PREFIX).expect("below");
                let bytes = object.size().expect("a length").try_into().expect("a length");
                keys.push((key.trim_start_matches('/').to_owned(), bytes));
            }
        }
        keys
    }

    pub(in crate::actions::postgres) async fn get(&self, key: &str) -> Vec<u8> {
        let asked = self.s3().await.get_object().bucket(BUCKET).key(format!("{PREFIX}/{key}"));
        let found = asked.send().await.expect("it is there");
        found.body.collect().await.expect("read").to_vec()
    }

    pub(in crate::actions::postgres) async fn put(&self, key: &str, body: &[u8]) {
        let asked = self.s3().await.put_object().bucket(BUCKET).key(format!("{PREFIX}/{key}"));
        asked.body(ByteStream::from(body.to_vec())).send().await.expect("written");
    }

    pub(in crate::actions::postgres) async fn delete(&self, key: &str) {
        let asked = self.s3().await.delete_object().bucket(BUCKET).key(format!("{PREFIX}/{key}"));
        asked.send().await.expect("deleted");
    }

    /// Returns the key of the largest file of a dump.
    pub(in crate::actions::postgres) async fn largest(&self, dump: &str) -> String {
        let folder = format!("{dump}.dump/");
        let files = self
            .keys()
            .await
            .into_iter()
            .filter(|(key, _)| key.starts_with(&folder) && !key.ends_with("manifest.json"));
        files.max_by_key(|(_, bytes)| *bytes).expect("a file").0
    }

    /// Returns the names in the directory of this host.
    pub(in crate::actions::postgres) fn left(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.work.path()).expect("listed").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
