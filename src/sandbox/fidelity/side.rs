//! The two sides: the simulation in virtual time, and the servers of a throw-away estate.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sts::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use serde_json::{Value, json};

use super::recorded::{Asked, Named};
use super::told::Notes;
use crate::clients::aws::{Aws, Regional};
use crate::clients::guard::Guard;
use crate::clients::served::Served;
use crate::clock::{Clock, RealClock};
use crate::engine::ports::Armed;
use crate::estate::types::Estate;
use crate::sandbox::aws::Connector;
use crate::sandbox::tests::{Scene, phoenix};
use crate::sandbox::world::World;

/// Looks at something that changes by itself, at most.
const LOOKS_MAX: usize = 600;

/// Where calls go.
pub(super) struct Side {
    /// The region that is lost in a failover: here it is up
    pub east: Arc<Regional>,
    pub west: Arc<Regional>,
    pub estate: Arc<Estate>,
    clock: Arc<dyn Clock>,
    /// Time between two looks
    pause: Duration,
    /// What its clients ask
    pub asked: Asked,
    /// There is an AWS Health: the servers have none, and a question to it would be one into the dark
    pub health: bool,
}

impl Side {
    async fn of(
        http: SharedHttpClient,
        keys: Credentials,
        estate: Arc<Estate>,
        clock: Arc<dyn Clock>,
        pause: Duration,
    ) -> Self {
        let guard = Guard::closed();
        guard.open(&Armed::mint());
        let asked = Asked::default();
        let (http, keys) = (asked.through(http), SharedCredentialsProvider::new(keys));
        let aws = Aws::over(estate.clone(), guard, clock.clone(), http, keys);
        let east = aws.region("us-east-1").await.expect("clients");
        let west = aws.region("us-west-2").await.expect("clients");
        Self { east, west, estate, clock, pause, asked, health: false }
    }

    /// Asks until there is an answer.
    pub(super) async fn until<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        ask: impl Fn() -> F,
    ) -> T {
        for _ in 0..LOOKS_MAX {
            if let Some(found) = ask().await {
                return found;
            }
            self.clock.sleep(self.pause).await;
        }
        panic!("never: {what}");
    }
}

/// What the simulation answered, and what it did not know.
pub(super) struct Ours {
    pub notes: BTreeMap<String, Value>,
    /// The operation each is an answer of
    pub steps: BTreeMap<String, Named>,
    pub left: Vec<String>,
}

/// Returns the shipped world with both regions up, and a database like the servers'.
fn world() -> World {
    let mut world = serde_json::to_value(phoenix()).expect("a world is JSON");
    world["faults"] = json!([]);
    let objects = world["objects"].as_array_mut().expect("objects");
    objects.retain(|object| object["type"] != "rds.snapshot");
    for object in objects {
        let body = &mut object["body"];
        if body.get("DBInstanceClass").is_some() {
            body["StorageEncrypted"] = json!(false);
            body["Encrypted"] = json!(false);
            body["TagList"] = json!([{ "Key": "estate", "Value": "phoenix" }]);
        }
    }
    serde_json::from_value(world).expect("it is a world still")
}

/// Asks the simulation.
pub(super) fn simulated(asked: impl AsyncFn(&Side) -> Notes) -> Ours {
    let scene = Scene::of(world(), &[]);
    let estate = Arc::new(scene.sandbox.world().estate.clone());
    let clock: Arc<dyn Clock> = Arc::new(scene.clock.clone());
    let (notes, _) = scene.run(async {
        let pause = Duration::from_secs(20);
        let http = SharedHttpClient::new(Connector::to(scene.sandbox.clone()));
        let keys = Credentials::new("REHEARSAL", "REHEARSAL", None, None, "rehearsal");
        let side = Side::of(http, keys, estate, clock, pause).await;
        asked(&Side { health: true, ..side }).await
    });
    Ours { notes: notes.answers, steps: notes.steps, left: scene.sandbox.told().left }
}

/// Asks the servers of an estate of our own; `None` where there are none.
pub(super) fn served(asked: impl AsyncFn(&Side) -> Notes) -> Option<BTreeMap<String, Value>> {
    let servers = Servers::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let notes = runtime.expect("a runtime").block_on(async {
        let pause = Duration::from_millis(50);
        let http = aws_smithy_http_client::Builder::new().build_http();
        let estate = servers.estate.clone();
        let side = Side::of(http, servers.keys(), estate, Arc::new(RealClock), pause).await;
        asked(&side).await
    });
    Some(notes.answers)
}

/// A running estate.
struct Servers {
    served: Served,
    estate: Arc<Estate>,
}

impl Servers {
    fn start() -> Option<Self> {
        let served = Served::start(&["--primary-up", "--transition-seconds", "0.2"])?;
        let file = served.about["estate"].as_str().expect("its file");
        let text = std::fs::read_to_string(file).expect("read the estate file");
        let estate = crate::estate::load::parse("estate", &text)
            .unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        let servers = Self { served, estate: Arc::new(estate) };
        servers.forget();
        Some(servers)
    }

    fn keys(&self) -> Credentials {
        let key = |name| self.served.variable(name);
        let (id, secret) = (key("AWS_ACCESS_KEY_ID"), key("AWS_SECRET_ACCESS_KEY"));
        Credentials::new(id, secret, None, None, "estate")
    }

    /// Lets the control port forget the requests so far: also a proof that it answers.
    fn forget(&self) {
        let control = self.served.about["control"].as_str().expect("its control port");
        let host = control.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).expect("reach the control port");
        let request =
            format!("DELETE /requests HTTP/1.0\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("ask");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read the answer");
        assert!(answer.contains(" 200"), "{answer}");
    }
}
