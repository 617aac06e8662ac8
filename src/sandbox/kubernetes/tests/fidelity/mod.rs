//! The same calls to the simulation and to a real kube-apiserver, and the same answers.
//!
//! [`calls`] is the list, errors included; [`DIFFERENT`] says which answers differ by design; [`listed`] holds
//! `docs/simulation.md` to both. Where
//! `PHOENIX_DR_TEST_ESTATE` names the script of the test servers, the real server is asked as well; without it only the
//! list itself is held to.

mod calls;
mod deletions;
mod listed;
mod subresources;

use std::collections::BTreeMap;

use kube::client::Body as KubeBody;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::*;
use crate::clients::served::Served;
use crate::clock::RealClock;
use calls::{Call, calls};

/// Calls whose answers differ by design, and why. The real server is of version 1.20, the simulation follows the API's
/// present documentation; `docs/simulation.md` has the same list.
const DIFFERENT: &[(&str, &str)] = &[
    ("namespace create", "namespaces have carried their name as a label since 1.21"),
    ("delete namespace", "namespaces have carried their name as a label since 1.21"),
    (
        "apply another kind",
        "the server fails with 500 on what the asker did wrong: 400 by the API conventions",
    ),
    (
        "list bad version",
        "the server fails with 500 on what the asker did wrong: 400 by the API conventions",
    ),
    (
        "watch bad version",
        "the server fails with 500 on what the asker did wrong: 400 by the API conventions",
    ),
    (
        "wrong type",
        "the server repeats the whole object as the value of a field `patch`: told as for a new object",
    ),
    ("deployment wrong type", "the server repeats its own decoder's words"),
    ("deployment as another kind", "the server names its own types"),
    ("bad patch kind", "later servers say what they take"),
    ("put other uid", "the server tells where its store keeps the object"),
    ("pod is immutable", "the server repeats both states in its own language"),
    ("list bad continue", "a token's form is the server's own affair"),
    ("list by bad label", "the parser's own words"),
    ("review of who asks", "later servers know it"),
    ("review of rules", "the server has roles, and tells them one by one"),
    ("unknown group", "a Status in place of plain text: the same to every client"),
];

/// Looks at most at an answer that is waited for.
const LOOKS: u32 = 300;

/// What is asked.
enum Server {
    Simulated(Scene),
    Real(Client),
}

/// Returns a client of an estate's cluster.
async fn client(estate: &Served) -> Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    let file = Kubeconfig::read_from(estate.variable("KUBECONFIG")).expect("a kubeconfig");
    let context = Some("eks-us-west-2".to_owned());
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(file, &options).await.expect("a config");
    config.default_retry = false;
    Client::try_from(config).expect("a client")
}

impl Server {
    async fn once(&self, call: &Call, known: &BTreeMap<&str, Value>) -> (u16, Vec<Value>) {
        let body = filled(&call.body.to_string(), known);
        let body = if call.body.is_null() { Vec::new() } else { body.into_bytes() };
        let request = Request::builder()
            .method(call.method.clone())
            .uri(filled(call.path, known))
            .header("content-type", call.kind)
            .header("accept", "application/json")
            .header("user-agent", "fidelity/1");
        let (code, bytes) = match self {
            Self::Simulated(scene) => {
                let request = request.body(Full::new(Bytes::from(body))).expect("a request");
                let (response, _) = scene.cluster.clone().answer(request).await.expect("answers");
                let code = response.status().as_u16();
                (code, response.into_body().collect().await.expect("a body").to_bytes())
            }
            Self::Real(client) => {
                let request = request.body(KubeBody::from(body)).expect("a request");
                let response = client.send(request).await.expect("it answers");
                let code = response.status().as_u16();
                (code, response.into_body().collect_bytes().await.expect("a body"))
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        let said = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| json!(line));
        let whole = serde_json::from_str(&text).map(|one| vec![one]);
        (code, whole.unwrap_or_else(|_| text.lines().map(said).collect()))
    }

    /// Makes every call in order.
    async fn all(&self, calls: &[Call]) -> BTreeMap<&'static str, (u16, Value)> {
        let (mut known, mut answers) = (BTreeMap::new(), BTreeMap::new());
        for call in calls {
            let mut answer = self.once(call, &known).await;
            for _ in 0..LOOKS {
                if call.until.is_none_or(|code| code == answer.0) {
                    break;
                }
                match self {
                    Self::Simulated(scene) => scene.passes(1).await,
                    Self::Real(_) => RealClock.sleep(Duration::from_millis(100)).await,
                }
                answer = self.once(call, &known).await;
            }
            let (code, values) = answer;
            known.insert(call.name, values.first().cloned().unwrap_or(Value::Null));
            let mut told = Value::Array(values);
            normal(&mut told);
            assert!(answers.insert(call.name, (code, told)).is_none(), "{} twice", call.name);
        }
        answers
    }
}

/// Puts in what earlier answers said: `{NAME/pointer}`.
fn filled(text: &str, known: &BTreeMap<&str, Value>) -> String {
    let mut text = text.to_owned();
    for (name, value) in known {
        for (mark, path) in [
            ("uid", "/metadata/uid"),
            ("version", "/metadata/resourceVersion"),
            ("continue", "/metadata/continue"),
        ] {
            let found = value.pointer(path).and_then(Value::as_str).unwrap_or_default();
            text = text.replace(&format!("<{name} {mark}>"), found);
        }
    }
    text
}

/// Takes away what is another every time.
fn normal(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for gone in ["managedFields", "selfLink"] {
                fields.remove(gone);
            }
            // Controllers write these in their own time.
            let workloads = ["Deployment", "ReplicaSet", "Pod", "Job", "StatefulSet"];
            if fields
                .get("kind")
                .and_then(Value::as_str)
                .is_some_and(|kind| workloads.contains(&kind))
            {
                fields.remove("status");
            }
            for (name, value) in fields.iter_mut() {
                let is_time = name.ends_with("Timestamp") || name.ends_with("Time");
                if (is_time && !value.is_null())
                    || ["uid", "resourceVersion", "continue"].contains(&name.as_str())
                {
                    *value = json!("…");
                } else {
                    normal(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(normal),
        Value::String(text) => {
            let plain: Vec<String> = text.split(' ').map(plain).collect();
            *text = plain.join(" ");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns a word, or what stands for one that is a uid or an instant.
fn plain(word: &str) -> String {
    let bare = word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
    let is_uid = bare.len() == 36 && bare.bytes().filter(|byte| *byte == b'-').count() == 4;
    let is_time = bare.parse::<Timestamp>().is_ok();
    if (is_uid || is_time) && !bare.is_empty() {
        word.replace(bare, "…")
    } else {
        word.to_owned()
    }
}

/// Writes what differs between two values, a line each.
fn differences(at: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(one), Value::Object(other)) => {
            let names: std::collections::BTreeSet<&String> =
                one.keys().chain(other.keys()).collect();
            for name in names {
                let of =
                    |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or(Value::Null);
                differences(&format!("{at}/{name}"), &of(one), &of(other), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                differences(&format!("{at}/{index}"), one, other, found);
            }
        }
        (one, other) if one == other => {}
        (one, other) => found.push(format!("{at}: simulation {one}, server {other}")),
    }
}

#[test]
fn the_simulation_answers_as_a_real_server_does() {
    let calls = calls();
    let scene = Scene::of(Vec::new(), behaviour(Some(0)));
    let runtime = scene.clock.runtime().expect("a runtime");
    let ours = runtime.block_on(Server::Simulated(scene).all(&calls));
    for (name, (code, told)) in &ours {
        assert!(*code != 501, "{name} is simulated: {told}");
    }
    let known = |name: &str| DIFFERENT.iter().any(|(known, _)| *known == name);
    assert!(DIFFERENT.iter().all(|(name, _)| ours.contains_key(name)), "no call of that name");
    let Some(estate) = Served::start(&[]) else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let theirs = runtime.block_on(async { Server::Real(client(&estate).await).all(&calls).await });
    let mut wrong = Vec::new();
    for (name, (code, told)) in &ours {
        let (their_code, theirs) = &theirs[name];
        let mut found = Vec::new();
        differences("", &json!([code, told]), &json!([their_code, theirs]), &mut found);
        match (found.is_empty(), known(name)) {
            (false, false) => wrong.push(format!("{name} differs:\n    {}", found.join("\n    "))),
            (true, true) => wrong.push(format!("{name} no longer differs: take it off the list")),
            (true, false) | (false, true) => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), ours.len(), wrong.join("\n"));
}
