use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use super::*;
use crate::clock::RealClock;
use crate::sandbox::front::{Front, kubeconfig as kubeconfig_of};
use crate::sandbox::{self, Sandbox, world};

#[test]
fn who_asks_for_a_table_gets_one() {
    let scene = Scene::of(vec![deployment("a", 1)], behaviour(None));
    scene.run(async {
        let request = Request::builder()
            .uri(PODS)
            .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
            .body(Full::new(Bytes::new()))
            .expect("a request");
        let (response, _) = scene.cluster.clone().answer(request).await.expect("it answers");
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        let table: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(table["kind"], "Table");
        assert_eq!(table["rows"][0]["cells"][1], "1/1");
        assert_eq!(table["rows"][0]["cells"][2], "Running");
    });
}

#[test]
fn what_a_server_says_of_itself() {
    let scene = Scene::new();
    scene.run(async {
        assert_eq!(scene.get("/version").await["major"], "1");
        let core = scene.get("/api/v1").await;
        assert!(core.to_string().contains("\"shortNames\":[\"po\"]"), "{core}");
        let apps = scene.get("/apis/apps").await;
        assert_eq!(apps["preferredVersion"]["version"], "v1");
        assert_eq!(scene.get("/openapi/v2").await["swagger"], "2.0");
        assert_eq!(scene.get("/apis/nope/v1/things").await["code"], 404);
        let review =
            json!({ "spec": { "resourceAttributes": { "verb": "get", "resource": "pods" } } });
        let (code, told) =
            scene.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review).await;
        assert_eq!((code, &told["status"]["allowed"]), (201, &json!(true)));
    });
}

/// A way in to the shipped world's cluster of us-west-2, in real time.
fn opened() -> (tokio::runtime::Runtime, Front) {
    let text = world::shipped("phoenix").expect("it is shipped");
    let world = world::parse("phoenix", text).unwrap_or_else(|_| panic!("it is sound"));
    let beginning = sandbox::Beginning { world, faults: Vec::new(), seed: 7, secret: false };
    let sandbox = Sandbox::begin(beginning, Arc::new(RealClock), None).expect("it begins");
    let cluster = sandbox.kubernetes("us-west-2").expect("a cluster");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let front = runtime.block_on(Front::open(cluster)).expect("it opens");
    (runtime, front)
}

#[test]
fn programs_come_in_over_loopback() {
    let (runtime, front) = opened();
    assert!(front.address().ip().is_loopback());
    let mut stream = TcpStream::connect(front.address()).expect("it listens");
    let request = "GET /api/v1/namespaces HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("phoenix-system"), "{answer}");
    let address = front.address();
    drop(front);
    drop(runtime);
    assert!(TcpStream::connect(address).is_err(), "it ends");
}

/// Where there is a kubectl, it works on the simulation as on any cluster.
#[test]
fn kubectl_finds_a_cluster() {
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        return;
    }
    let (_runtime, front) = opened();
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = folder.path().join("kubeconfig");
    let contexts = [("eks-us-west-2".to_owned(), front.address())];
    std::fs::write(&kubeconfig, kubeconfig_of(&contexts)).expect("written");
    let manifest = folder.path().join("map.json");
    let kubectl = |arguments: &str| {
        let ran = Command::new("kubectl")
            .args(arguments.split(' '))
            .args(["--context", "eks-us-west-2", "--request-timeout", "20s"])
            .env("KUBECONFIG", &kubeconfig)
            .env("HOME", folder.path())
            .current_dir(folder.path())
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        (ran.status.success(), said + &String::from_utf8_lossy(&ran.stderr))
    };
    for (value, arguments, says) in [
        ("1", "get deployments -n phoenix-system", "phoenix-api"),
        ("1", "get pods -n phoenix-system", "Running"),
        ("1", "scale deployment/dashboard -n phoenix-system --replicas=1", "scaled"),
        ("1", "apply -f map.json", "created"),
        ("2", "apply -f map.json", "configured"),
        ("2", "apply -f map.json --server-side --force-conflicts", "serverside-applied"),
        ("3", "apply -f map.json --dry-run=server", "server dry run"),
        ("3", "get configmap a -o jsonpath={.data.key}", "2"),
        ("3", "delete configmap a", "deleted"),
        ("3", "api-resources", "horizontalpodautoscalers"),
    ] {
        std::fs::write(&manifest, map("a", value).to_string()).expect("written");
        let (well, said) = kubectl(arguments);
        assert!(well && said.contains(says), "{arguments}: {said}");
    }
}
