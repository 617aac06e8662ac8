//! Looks at real listeners on loopback: answers, refusals, dropped packets, and a network of our own that is down.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::clients::tcp::tests::{BlackHole, closed};
use crate::clients::testing;
use crate::runbook::schema::Vote;
use crate::span::Span;

/// An HTTP server that gives every request the same answer and counts them.
struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    heard: Arc<std::sync::Mutex<Vec<String>>>,
}

fn serve(answer: &'static str) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    let (asked, heard) = (Arc::new(AtomicUsize::new(0)), Arc::default());
    let server = Server { address, asked: Arc::clone(&asked), heard: Arc::clone(&heard) };
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = Vec::new();
            let mut byte = [0_u8; 1];
            while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                request.push(byte[0]);
            }
            asked.fetch_add(1, Ordering::SeqCst);
            heard.lock().expect("heard").push(String::from_utf8_lossy(&request).into_owned());
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    server
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nready";
const BROKEN: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

fn spec(check: &str, with: Value) -> CheckSpec {
    let Value::Object(with) = with else { panic!("arguments are an object") };
    CheckSpec {
        check: check.to_owned(),
        title: check.to_owned(),
        with,
        that: None,
        expect: None,
        within: Span::default(),
        every: Span::default(),
        consecutive: 1,
        vote: Vote::Full,
    }
}

async fn look(spec: &CheckSpec) -> CheckReport {
    let checks = Checks { clients: Arc::new(testing::clients(json!({}))) };
    checks.look(spec).await
}

async fn verdict(check: &str, with: Value) -> (Verdict, String) {
    let report = look(&spec(check, with)).await;
    (report.verdict, report.said)
}

#[tokio::test]
async fn http_judges_status_and_body() {
    let (ok, broken) = (serve(OK), serve(BROKEN));
    let url = |server: &Server| format!("http://{}/healthz", server.address);
    let (held, said) = verdict("http", json!({ "url": url(&ok) })).await;
    assert_eq!((held, said.as_str()), (Verdict::Holds, "answered 200"));
    let with = json!({ "url": url(&ok), "contains": "ready" });
    assert_eq!(verdict("http", with).await.0, Verdict::Holds);
    let with = json!({ "url": url(&ok), "contains": "absent" });
    assert_eq!(verdict("http", with).await.0, Verdict::Fails);
    assert_eq!(verdict("http", json!({ "url": url(&broken) })).await.0, Verdict::Fails);
    let with = json!({ "url": url(&broken), "status": 503 });
    assert_eq!(verdict("http", with).await.0, Verdict::Holds);
    let with = json!({ "url": url(&broken), "expect": "unreachable", "control": url(&ok) });
    assert_eq!(verdict("http", with).await.0, Verdict::Fails, "an answer is an answer");
}

#[tokio::test]
async fn http_connects_elsewhere_under_the_public_name() {
    let server = serve(OK);
    let with = json!({
        "url": "http://app.phoenix.example/",
        "connect_to": server.address.to_string(),
    });
    let (held, said) = verdict("http", with).await;
    assert_eq!(held, Verdict::Holds, "{said}");
    let heard = server.heard.lock().expect("heard").concat().to_ascii_lowercase();
    assert!(heard.contains("\r\nhost: app.phoenix.example\r\n"), "{heard}");
}

#[tokio::test]
async fn http_follows_redirects_on_the_host_only() {
    let elsewhere = serve(
        "HTTP/1.1 302 Found\r\nlocation: http://other.example/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
    let (held, said) =
        verdict("http", json!({ "url": format!("http://{}/", elsewhere.address) })).await;
    assert_eq!((held, said.as_str()), (Verdict::Fails, "answered 302 to http://other.example/"));
    let around = serve(
        "HTTP/1.1 302 Found\r\nlocation: /again\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
    let (held, _) = verdict("http", json!({ "url": format!("http://{}/", around.address) })).await;
    assert_eq!(held, Verdict::Inconclusive, "it never arrives anywhere");
    assert_eq!(around.asked.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn unreachable_needs_a_control_that_answers() {
    let (control, hole) = (serve(OK), BlackHole::dig());
    let control = format!("http://{}/", control.address);
    let dead_control = format!("http://{}/", closed());
    for target in [closed(), hole.address] {
        for (check, key, value) in [
            ("tcp", "address", target.to_string()),
            ("http", "url", format!("http://{target}/healthz")),
        ] {
            let with = |control: Option<&str>| json!({ key: value, "expect": "unreachable", "timeout": "500ms", "control": control });
            assert_eq!(verdict(check, with(Some(&control))).await.0, Verdict::Holds, "{check}");
            assert_eq!(verdict(check, with(None)).await.0, Verdict::Inconclusive, "{check}");
            let (own, said) = verdict(check, with(Some(&dead_control))).await;
            assert_eq!(own, Verdict::Inconclusive, "{check}: our own network may be down");
            assert!(said.contains("does not answer from this host"), "{said}");
            let plain = json!({ key: value, "timeout": "500ms" });
            assert_eq!(verdict(check, plain).await.0, Verdict::Fails, "{check} is not reachable");
        }
    }
}

/// A server that speaks first, and no TLS.
fn talkative() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            drop(stream.write_all(b"220 mail.phoenix.example\r\n"));
            drop(stream.read(&mut [0_u8; 512]));
        }
    });
    address
}

/// A look at the instance `db` of an estate that reaches it in a way of its own.
async fn instance_seen(database: Value) -> CheckReport {
    let control = serve(OK);
    let mut all = json!({
        "name": "phoenix",
        "primary": { "id": "db", "region": "us-east-1", "address": "db.private.invalid:5432" },
        "recovered": { "id": "restored" },
        "connection": { "user": "u", "password_from": { "env": "PASSWORD" } },
    });
    let Value::Object(database) = database else { panic!("a section is an object") };
    all.as_object_mut().expect("an object").extend(database);
    let clients = Arc::new(testing::clients(json!({ "database": all })));
    let checks = Checks { clients: Arc::clone(&clients) };
    let control = format!("http://{}/", control.address);
    let with = json!({ "instance": "db", "expect": "unreachable", "timeout": "500ms", "control": control });
    let report = checks.look(&spec("tcp", with)).await;
    clients.tunnels.close().await;
    report
}

#[tokio::test]
async fn an_instance_is_tried_where_the_estate_says_it_is_reached() {
    let up = talkative();
    for (database, verdict, said) in [
        // Its own name means nothing outside of its network: no vote for or against.
        (json!({}), Verdict::Inconclusive, "does not resolve"),
        (json!({ "addresses": { "db": closed().to_string() } }), Verdict::Holds, "refused"),
        (json!({ "addresses": { "db": up.to_string() } }), Verdict::Fails, "accepts connections"),
    ] {
        let report = instance_seen(database).await;
        assert_eq!(report.verdict, verdict, "{}", report.said);
        assert!(report.said.contains(said), "{}", report.said);
    }
}

/// A port forward that does this with each connection, and where it listens.
fn forward(with_each: &str) -> Value {
    let here = closed();
    let script = format!(
        "import socket,time\ns=socket.socket()\ns.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\n\
         s.bind(('127.0.0.1',{}))\ns.listen(16)\nkept=[]\nwhile True:\n c,_=s.accept()\n {with_each}",
        here.port()
    );
    json!({
        "addresses": { "db": here.to_string() },
        "via": { "command": ["python3", "-c", script], "ready": here.to_string() },
    })
}

#[tokio::test]
async fn a_port_forward_that_listens_is_no_database() {
    for (with_each, verdict, said) in [
        ("c.recv(8); c.sendall(b'N')", Verdict::Fails, "PostgreSQL answers"),
        ("c.recv(8); c.close()", Verdict::Holds, "finds nothing there"),
        ("kept.append(c)", Verdict::Inconclusive, "no answer through the port forward"),
    ] {
        let report = instance_seen(forward(with_each)).await;
        assert_eq!(report.verdict, verdict, "{}", report.said);
        assert!(report.said.contains(said), "{}", report.said);
    }
    let via = json!({ "command": ["/no/such/forward"], "ready": closed().to_string() });
    let report = instance_seen(json!({ "via": via })).await;
    assert_eq!(report.verdict, Verdict::Inconclusive, "{}", report.said);
    assert!(report.said.contains("no way there"), "{}", report.said);
}

#[tokio::test]
async fn own_trouble_is_inconclusive() {
    let control = serve(OK);
    let control = format!("http://{}/", control.address);
    for (check, with) in [
        ("tcp", json!({ "address": "no-such-host.invalid:5432" })),
        ("tcp", json!({ "address": "no-port" })),
        ("http", json!({ "url": "http://no-such-host.invalid/" })),
        ("http", json!({ "url": "not a url" })),
        // Not TLS where TLS is expected: trust is not established, the host is there.
        ("http", json!({ "url": format!("https://{}/", talkative()) })),
    ] {
        let mut with = with;
        with["expect"] = json!("unreachable");
        with["control"] = json!(control);
        let (own, said) = verdict(check, with.clone()).await;
        assert_eq!(own, Verdict::Inconclusive, "{with}: {said}");
    }
}

#[tokio::test]
async fn wrong_arguments_and_names_are_inconclusive_and_named() {
    let (own, said) = verdict("tcp", json!({ "address": "a:1", "expect": "gone" })).await;
    assert_eq!(own, Verdict::Inconclusive);
    assert!(said.contains("`expect`"), "{said}");
    let (own, said) = verdict("htpp", json!({})).await;
    assert_eq!((own, said.as_str()), (Verdict::Inconclusive, "there is no check `htpp`"));
}

#[tokio::test]
async fn that_and_expect_judge_the_value() {
    let server = serve(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 22\r\nconnection: close\r\n\r\n{\"region\":\"us-west-2\"}",
    );
    let mut spec = spec("http", json!({ "url": format!("http://{}/", server.address) }));
    for (that, verdict) in [
        ("value.json.region == 'us-west-2'", Verdict::Holds),
        ("value.json.region == 'us-east-1'", Verdict::Fails),
        ("value.json.zone == 'a'", Verdict::Inconclusive),
        ("value.status", Verdict::Inconclusive),
        ("value.status ==", Verdict::Inconclusive),
    ] {
        spec.that = Some(that.to_owned());
        let report = look(&spec).await;
        assert_eq!(report.verdict, verdict, "{that}: {}", report.said);
    }
    spec.that = None;
    spec.expect = Some(json!({ "status": 200, "json": { "region": "us-west-2" } }));
    assert_eq!(look(&spec).await.verdict, Verdict::Holds);
    spec.expect = Some(json!(true));
    assert_eq!(look(&spec).await.verdict, Verdict::Fails);
}

fn gate(control: &str, holds: u32, votes: &[(&str, SocketAddr)]) -> CheckSpec {
    let of: Vec<Value> = votes
        .iter()
        .map(|(vote, address)| {
            let address = address.to_string();
            let with = json!({ "address": address, "expect": "unreachable", "timeout": "500ms" });
            json!({ "check": "tcp", "title": address, "with": with, "vote": vote })
        })
        .collect();
    spec("quorum", json!({ "holds": holds, "control": control, "of": of }))
}

#[tokio::test]
async fn a_quorum_shows_every_vote_and_asks_the_control_once() {
    let (control, alive, hole) = (serve(OK), serve(OK), BlackHole::dig());
    let url = format!("http://{}/", control.address);
    let votes = [("full", closed()), ("full", hole.address), ("full", alive.address)];
    let report = look(&gate(&url, 2, &votes)).await;
    assert_eq!((report.verdict, report.said.as_str()), (Verdict::Holds, "2 of 3 hold, 2 wanted"));
    let verdicts: Vec<Verdict> = report.votes.iter().map(|vote| vote.verdict).collect();
    assert_eq!(verdicts, [Verdict::Holds, Verdict::Holds, Verdict::Fails]);
    assert_eq!(report.control, Some(format!("{url} answers from this host")));
    assert_eq!(control.asked.load(Ordering::SeqCst), 1, "one look at the control a round");

    let votes = [("full", closed()), ("full", alive.address), ("full", alive.address)];
    assert_eq!(look(&gate(&url, 2, &votes)).await.verdict, Verdict::Fails);
    let votes = [("full", closed()), ("full", alive.address), ("bonus", closed())];
    assert_eq!(
        look(&gate(&url, 2, &votes)).await.verdict,
        Verdict::Holds,
        "a bonus that holds counts"
    );
    let votes = [("full", closed()), ("full", alive.address), ("bonus", alive.address)];
    let report = look(&gate(&url, 2, &votes)).await;
    assert_eq!((report.verdict, report.said.as_str()), (Verdict::Fails, "1 of 2 hold, 2 wanted"));
}

#[tokio::test]
async fn with_our_own_network_down_a_quorum_never_says_down() {
    let dead = format!("http://{}/", closed());
    let votes = [("full", closed()), ("full", closed()), ("full", closed())];
    let report = look(&gate(&dead, 2, &votes)).await;
    assert_eq!(report.verdict, Verdict::Inconclusive, "{}", report.said);
    assert!(report.votes.iter().all(|vote| vote.verdict == Verdict::Inconclusive));
    // A vote that needs no control cannot carry the gate alone either.
    let ok = serve(OK);
    let mut gate = gate(&dead, 1, &[]);
    gate.with["of"] =
        json!([{ "check": "http", "with": { "url": format!("http://{}/", ok.address) } }]);
    let report = look(&gate).await;
    assert_eq!((report.verdict, report.votes[0].verdict), (Verdict::Inconclusive, Verdict::Holds));
}

/// A resolver on loopback that gives every question the same answer, after passing over some.
fn resolver(deaf_to: usize, code: u8, records: Vec<(u16, Vec<u8>)>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let address = socket.local_addr().expect("address");
    std::thread::spawn(move || {
        let mut buffer = [0_u8; 512];
        for asked in 0.. {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { return };
            if asked < deaf_to {
                continue;
            }
            let question = &buffer[..length];
            let answer = dns::tests_answer(question, code, &records);
            let mut forged = answer.clone();
            forged[0] ^= 0xff;
            drop(socket.send_to(&forged, from));
            drop(socket.send_to(&answer, from));
        }
    });
    address
}

#[tokio::test]
async fn dns_judges_what_the_resolver_answers() {
    let two = vec![(1, vec![10, 0, 0, 1]), (1, vec![10, 0, 0, 2])];
    let resolver_of_two = resolver(0, 0, two).to_string();
    let check = |more: Value| {
        let mut with = json!({ "name": "app.phoenix.example", "resolver": resolver_of_two });
        with.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
        with
    };
    for (more, expected) in [
        (json!({}), Verdict::Holds),
        (json!({ "only": ["10.0.0.1", "10.0.0.2"] }), Verdict::Holds),
        (json!({ "only": ["10.0.0.1"] }), Verdict::Fails),
        (json!({ "never": ["10.0.0.2"] }), Verdict::Fails),
        (json!({ "never": ["10.0.0.3"] }), Verdict::Holds),
        (json!({ "type": "MX" }), Verdict::Inconclusive),
        (json!({ "name": "a..b" }), Verdict::Inconclusive),
    ] {
        let (verdict, said) = verdict("dns", check(more.clone())).await;
        assert_eq!(verdict, expected, "{more}: {said}");
    }
    let name = json!("app.phoenix.example");
    let nobody = resolver(0, 3, Vec::new()).to_string();
    let with = json!({ "name": name, "resolver": nobody });
    assert_eq!(verdict("dns", with).await.0, Verdict::Fails);
    let broken = resolver(0, 2, Vec::new()).to_string();
    let (own, said) = verdict("dns", json!({ "name": name, "resolver": broken })).await;
    assert_eq!(own, Verdict::Inconclusive);
    assert!(said.contains("SERVFAIL"), "{said}");
    let cname = resolver(0, 0, vec![(5, b"\x02lb\xc0\x10".to_vec())]).to_string();
    let with = json!({ "name": name, "resolver": cname, "type": "CNAME", "only": ["LB.phoenix.example."] });
    assert_eq!(verdict("dns", with).await.0, Verdict::Holds);
}

#[tokio::test]
async fn dns_asks_again_and_then_gives_up() {
    let slow = resolver(1, 0, vec![(1, vec![10, 0, 0, 1])]).to_string();
    let with = json!({ "name": "app.phoenix.example", "resolver": slow });
    assert_eq!(verdict("dns", with).await.0, Verdict::Holds);
    let with = json!({ "name": "app.phoenix.example", "resolver": closed().to_string() });
    assert_eq!(verdict("dns", with).await.0, Verdict::Inconclusive);
}

#[tokio::test]
async fn command_reads_or_is_not_run() {
    let run = |script: &str, reads_only: bool| json!({ "argv": ["/bin/sh", "-c", script], "reads_only": reads_only, "timeout": "500ms" });
    for (script, expected) in [
        ("exit 0", Verdict::Holds),
        ("echo lag 12 >&2; exit 1", Verdict::Fails),
        ("exit 2", Verdict::Inconclusive),
        ("kill $$", Verdict::Inconclusive),
        ("sleep 30", Verdict::Inconclusive),
    ] {
        let (verdict, said) = verdict("command", run(script, true)).await;
        assert_eq!(verdict, expected, "{script}: {said}");
    }
    let directory = tempfile::tempdir().expect("directory");
    let mark = directory.path().join("ran");
    let script = format!("touch {}", mark.display());
    assert_eq!(verdict("command", run(&script, false)).await.0, Verdict::Inconclusive);
    assert!(!mark.exists(), "it must not run while nothing may change");
    let (clients, _armed) = testing::armed(json!({}));
    let checks = Checks { clients: Arc::new(clients) };
    assert_eq!(checks.look(&spec("command", run(&script, false))).await.verdict, Verdict::Holds);
    assert!(mark.exists());
}
