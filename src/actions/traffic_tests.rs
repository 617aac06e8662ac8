//! Moving traffic with and without Route 53's API, over real SDK clients; the object is really fetched, on loopback.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::clients::aws::testing::{Reply, Script, Sent, call, estate, timed};
use crate::clock::RealClock;
use crate::outcome::Effect;

/// A bucket and a zone; the zone's API can be dark.
#[derive(Clone, Default)]
struct World {
    present: Arc<AtomicBool>,
    moved: Arc<AtomicBool>,
    /// No answer to any request about record sets
    dark: Arc<AtomicBool>,
    /// Writes to the bucket fail
    sealed: Arc<AtomicBool>,
    /// The next change of record sets is carried out and its answer is lost
    lost: Arc<AtomicBool>,
    /// After that Route 53 is dark
    dark_after: Arc<AtomicBool>,
    /// Nobody may read the bucket
    private: Arc<AtomicBool>,
    /// Deletions are answered and not carried out
    sticky: Arc<AtomicBool>,
}

impl World {
    fn script(&self) -> Script {
        let world = self.clone();
        Script::new(move |sent, _| world.answer(sent))
    }

    fn answer(&self, sent: &Sent) -> Reply {
        let empty = |status| Reply::Answer(status, String::new());
        if sent.host.starts_with("route53") {
            if self.dark.load(Ordering::SeqCst) {
                let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
                return Reply::Broken(ConnectorError::io(refused.into()));
            }
            return self.zone(sent);
        }
        match sent.action.split(' ').next() {
            Some("HEAD") if self.present.load(Ordering::SeqCst) => empty(200),
            Some("HEAD") => empty(404),
            Some(_) if self.sealed.load(Ordering::SeqCst) => {
                let error = "<Error><Code>AccessDenied</Code><Message>not yours</Message></Error>";
                Reply::Answer(403, error.to_owned())
            }
            Some("PUT") => {
                self.present.store(true, Ordering::SeqCst);
                empty(200)
            }
            Some("DELETE") => {
                self.present.fetch_and(self.sticky.load(Ordering::SeqCst), Ordering::SeqCst);
                empty(204)
            }
            _ => empty(501),
        }
    }

    fn zone(&self, sent: &Sent) -> Reply {
        let change = "<ChangeInfo><Id>/change/C1</Id><Status>INSYNC</Status>\
                      <SubmittedAt>2026-11-22T02:18:00Z</SubmittedAt></ChangeInfo>";
        let wrap = |name: &str, body: &str| {
            let space = "https://route53.amazonaws.com/doc/2013-04-01/";
            Reply::Answer(200, format!("<{name} xmlns=\"{space}\">{body}</{name}>"))
        };
        if sent.action.starts_with("POST") {
            let east = sent.body.split("</ResourceRecordSet>").find(|set| set.contains("use1"));
            let east = east.unwrap_or_default();
            self.moved.store(east.contains("<Weight>0</Weight>"), Ordering::SeqCst);
            if self.lost.swap(false, Ordering::SeqCst) {
                self.dark.store(self.dark_after.load(Ordering::SeqCst), Ordering::SeqCst);
                return Reply::Broken(ConnectorError::io(
                    io::Error::from(io::ErrorKind::ConnectionReset).into(),
                ));
            }
            return wrap("ChangeResourceRecordSetsResponse", change);
        }
        if sent.action.contains("/change/") {
            return wrap("GetChangeResponse", change);
        }
        let (east, west) = if self.moved.load(Ordering::SeqCst) { (0, 100) } else { (100, 0) };
        let set = |identifier: &str, weight: i32| {
            format!(
                "<ResourceRecordSet><Name>app.phoenix.example.</Name><Type>A</Type>\
                 <SetIdentifier>{identifier}</SetIdentifier><Weight>{weight}</Weight><TTL>60</TTL><ResourceRecords>\
                 <ResourceRecord><Value>192.0.2.1</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>"
            )
        };
        let sets = format!(
            "<ResourceRecordSets>{}{}</ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>9</MaxItems>",
            set("use1", east),
            set("usw2", west)
        );
        wrap("ListResourceRecordSetsResponse", &sets)
    }

    /// Serves the object as the world's health checkers see it.
    async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (present, private) = (self.present.clone(), self.private.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let status = match (private.load(Ordering::SeqCst), present.load(Ordering::SeqCst))
                {
                    (true, _) => 403,
                    (false, true) => 200,
                    (false, false) => 404,
                };
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        format!("http://{address}/switch/key")
    }

    async fn clients(&self) -> (Clients, Armed, Script) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = self.serve().await;
        let estate = estate(|estate| {
            estate["dns"]["failover_object"] = json!({
                "bucket": "switch", "region": "us-west-2", "key": "key", "url": url,
            });
        });
        let script = self.script();
        let clients = timed(estate, &script, Arc::new(RealClock));
        let armed = Armed::mint();
        clients.guard.open(&armed);
        (clients, armed, script)
    }
}

fn shift() -> TrafficShift {
    TrafficShift { to: "us-west-2".to_owned(), from: "us-east-1".to_owned() }
}

#[tokio::test]
async fn both_methods_are_used_and_both_are_reverted() {
    let world = World::default();
    let (clients, armed, _) = world.clients().await;
    let (call, _news) = call("traffic.shift");
    let before = observe(&clients, &call, &shift()).await.expect("seen");
    assert_eq!(before.live["object"], json!({ "present": false }));
    let done = perform(&clients, &armed, &call, &shift(), &before).await.expect("moved");
    assert_eq!(done.outputs["method"], "s3.failover_object");
    assert_eq!(done.after, before.desired);
    assert_eq!(done.obligations, []);
    let now = observe(&clients, &call, &shift()).await.expect("seen");
    assert!(now.satisfied);
    let image = Image { before: before.live.clone(), ours: done.after, now };
    revert(&clients, &armed, &call, &shift(), &image).await.expect("reverted");
    let back = observe(&clients, &call, &shift()).await.expect("seen");
    assert_eq!(back.live, before.live);
}

#[tokio::test]
async fn without_the_control_plane_the_object_moves_traffic_and_the_records_stay_open() {
    let world = World::default();
    world.dark.store(true, Ordering::SeqCst);
    let (clients, armed, script) = world.clients().await;
    let (call, _news) = call("traffic.shift");
    let before = observe(&clients, &call, &shift()).await.expect("seen");
    assert_eq!(before.fidelity, Fidelity::Unreachable);
    assert_eq!(before.live["records"], Value::Null);
    for way in ["aws s3api put-object", "aws route53 change-resource-record-sets"] {
        assert!(before.commands.iter().any(|line| line.starts_with(way)), "both ways: {way}");
    }
    let done = perform(&clients, &armed, &call, &shift(), &before).await.expect("moved");
    assert!(world.present.load(Ordering::SeqCst));
    assert_eq!(done.outputs["method"], "s3.failover_object");
    assert_eq!(done.obligations[0].id, "records-app.phoenix.example");
    assert_eq!(
        done.obligations[0].closed_by.as_ref().expect("a check")["that"],
        "value.records_moved"
    );
    assert!(script.sent().iter().all(|sent| !sent.action.starts_with("POST")));
    // What the end of the attempt leaves open is told by a look as well: the attempt's own end may be lost.
    let looked = observe(&clients, &call, &shift()).await.expect("seen");
    assert!(looked.satisfied && !looked.under_way);
    assert_eq!(looked.obligations, done.obligations);
    // Once the API is back, a second run sees what is left to do.
    world.dark.store(false, Ordering::SeqCst);
    let again = observe(&clients, &call, &shift()).await.expect("seen");
    assert!(!again.satisfied && again.obligations.is_empty());
    assert_eq!(again.differences.len(), 2);
}

#[tokio::test]
async fn record_sets_that_were_not_read_are_not_changed() {
    let world = World::default();
    world.dark.store(true, Ordering::SeqCst);
    let (clients, armed, script) = world.clients().await;
    let (call, _news) = call("traffic.shift");
    let before = observe(&clients, &call, &shift()).await.expect("seen");
    world.dark.store(false, Ordering::SeqCst);
    perform(&clients, &armed, &call, &shift(), &before).await.expect("moved");
    assert!(script.sent().iter().all(|sent| !sent.action.starts_with("POST")), "no before-image");
}

#[tokio::test]
async fn a_bucket_that_refuses_leaves_the_record_sets() {
    let world = World::default();
    world.sealed.store(true, Ordering::SeqCst);
    let (clients, armed, _) = world.clients().await;
    let (call, _news) = call("traffic.shift");
    let before = observe(&clients, &call, &shift()).await.expect("seen");
    let done = perform(&clients, &armed, &call, &shift(), &before).await.expect("moved");
    assert_eq!(done.outputs["method"], "route53.weights");
    assert_eq!(done.after["object"], json!({ "present": false }));
    assert_eq!(done.obligations, []);

    world.moved.store(false, Ordering::SeqCst);
    let before = observe(&clients, &call, &shift()).await.expect("seen");
    world.dark.store(true, Ordering::SeqCst);
    let error =
        perform(&clients, &armed, &call, &shift(), &before).await.expect_err("nothing works");
    assert_eq!(error.effect, Effect::None, "one was refused, the other could not be read: {error}");
    assert!(error.class.retryable(), "{error}");
    for method in ["s3:PutObject", "AccessDenied", "route53:ListResourceRecordSets"] {
        assert!(error.message.contains(method), "{error}");
    }
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_looked_at_before_anything_is_said() {
    let world = World::default();
    let (clients, armed, script) = world.clients().await;
    let (call, _news) = call("traffic.shift");
    let before = observe(&clients, &call, &shift()).await.expect("seen");
    world.lost.store(true, Ordering::SeqCst);
    let done = perform(&clients, &armed, &call, &shift(), &before).await.expect("moved");
    assert_eq!(done.after, before.desired, "a rollback must know what is there");
    assert_eq!(done.obligations, [], "the record sets have moved");
    assert_eq!(script.count("POST /2013-04-01/hostedzone/Z1/rrset"), 1);
}

#[tokio::test]
async fn what_nobody_can_tell_is_unknown_although_the_other_method_worked() {
    let world = World::default();
    let (clients, armed, _) = world.clients().await;
    let (call, _news) = call("traffic.shift");
    let before = observe(&clients, &call, &shift()).await.expect("seen");
    world.lost.store(true, Ordering::SeqCst);
    world.dark_after.store(true, Ordering::SeqCst);
    let error = perform(&clients, &armed, &call, &shift(), &before).await.expect_err("in doubt");
    assert_eq!(error.effect, Effect::Unknown, "{error}");
    assert!(error.message.contains("s3.failover_object worked"), "{error}");
    // The engine looks: the object is there, and what that leaves open is told.
    let now = observe(&clients, &call, &shift()).await.expect("seen");
    assert!(now.satisfied);
    assert_eq!(now.outputs["method"], "s3.failover_object");
    assert_eq!(now.obligations[0].id, "records-app.phoenix.example");
}

#[tokio::test]
async fn each_method_is_in_the_journal_with_how_it_went() {
    let world = World::default();
    world.sealed.store(true, Ordering::SeqCst);
    let (clients, armed, _) = world.clients().await;
    let (call, _news) = call("traffic.shift");
    let before = observe(&clients, &call, &shift()).await.expect("seen");
    let done = perform(&clients, &armed, &call, &shift(), &before).await.expect("moved");
    let methods = done.outputs["methods"].as_array().expect("a list");
    let short: Vec<(&Value, &Value)> =
        methods.iter().map(|method| (&method["method"], &method["worked"])).collect();
    let (yes, no) = (json!(true), json!(false));
    let (object, weights) = (json!("s3.failover_object"), json!("route53.weights"));
    assert_eq!(short, [(&object, &no), (&weights, &yes)]);
    assert_eq!(methods[0]["effect"], "none");
    assert!(methods[0]["said"].as_str().expect("a text").contains("AccessDenied"));
}

#[tokio::test]
async fn record_sets_changed_since_they_were_approved_are_left_alone() {
    let world = World::default();
    world.sealed.store(true, Ordering::SeqCst);
    let (clients, armed, script) = world.clients().await;
    let (call, _news) = call("traffic.shift");
    let mut before = observe(&clients, &call, &shift()).await.expect("seen");
    // What was seen and approved is not what is there.
    before.live["records"]["use1"]["TTL"] = json!(30);
    before.desired["records"]["use1"]["TTL"] = json!(30);
    let error = perform(&clients, &armed, &call, &shift(), &before).await.expect_err("refused");
    assert!(error.message.contains("changed by somebody else"), "{error}");
    assert_eq!(error.effect, Effect::None, "{error}");
    assert!(script.sent().iter().all(|sent| !sent.action.starts_with("POST")));
}

/// The real clock, without the pauses between two looks.
struct Unhurried;

impl crate::clock::Clock for Unhurried {
    fn now(&self) -> Timestamp {
        RealClock.now()
    }

    fn sleep(&self, length: Duration) -> futures::future::BoxFuture<'static, ()> {
        if length <= Duration::from_secs(2) {
            return Box::pin(tokio::task::yield_now());
        }
        RealClock.sleep(length)
    }
}

#[tokio::test]
async fn an_object_nobody_may_read_is_not_taken_for_an_absent_one() {
    let world = World::default();
    for flag in [&world.present, &world.private, &world.sticky, &world.moved] {
        flag.store(true, Ordering::SeqCst);
    }
    let (mut clients, armed, _) = world.clients().await;
    clients.clock = Arc::new(Unhurried);
    let back = TrafficShift { to: "us-east-1".to_owned(), from: "us-west-2".to_owned() };
    let (call, _news) = call("s3.failover_object");
    let before = s3::observe(&clients, &call, &back).await.expect("seen");
    let error = s3::perform(&clients, &armed, &call, &back, &before).await.expect_err("there");
    assert_eq!(error.effect, Effect::Applied, "{error}");
    assert!(error.message.contains("not seen as absent"), "{error}");
    world.sticky.store(false, Ordering::SeqCst);
    let done = s3::perform(&clients, &armed, &call, &back, &before).await.expect("deleted");
    assert_eq!(done.after, json!({ "present": false }));
}
