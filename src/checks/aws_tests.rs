//! The checks of AWS services over real SDK clients and scripted answers.

use std::io;
use std::sync::Arc;

use aws_config::credential_process::CredentialProcessProvider;
use aws_sdk_sts::config::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use super::control::Round;
use super::{Seen, aws_health, rds, route53, s3};
use crate::clients::aws::testing::{
    NOW, Reply, Script, StepClock, estate, guarded, query_error, renewable, rest_error, timed,
};
use crate::clock::RealClock;
use crate::outcome::Verdict;
use crate::runbook::catalogue::checks::{AwsHealth, RdsStatus, Reach, Route53Answer, S3Object};

/// Serves one HTTP status to everyone, on loopback.
async fn web(status: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let answer =
                format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}/")
}

fn broken(kind: io::ErrorKind) -> Script {
    Script::new(move |_, _| Reply::Broken(ConnectorError::io(io::Error::from(kind).into())))
}

fn status(expect: Reach, control: Option<String>) -> RdsStatus {
    RdsStatus {
        region: "us-east-1".to_owned(),
        instance: "phoenix-prod".to_owned(),
        expect,
        states: Vec::new(),
        control,
    }
}

async fn rds_seen(script: &Script, with: &RdsStatus) -> Seen {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clients = timed(estate(|_| {}), script, Arc::new(RealClock));
    rds::look(&clients, with, &Round::alone()).await
}

#[tokio::test]
async fn a_region_is_unreachable_only_while_the_control_answers() {
    let control = web(204).await;
    let dark = Script::new(|_, _| Reply::Broken(ConnectorError::timeout("late".into())));
    for script in [broken(io::ErrorKind::ConnectionRefused), dark.clone()] {
        let seen = rds_seen(&script, &status(Reach::Unreachable, Some(control.clone()))).await;
        assert_eq!(seen.verdict, Verdict::Holds, "{seen:?}");
        assert!(seen.control.is_some());
    }
    let closed = "http://127.0.0.1:1/".to_owned();
    for control in [None, Some(closed)] {
        let seen = rds_seen(&dark, &status(Reach::Unreachable, control)).await;
        assert_eq!(seen.verdict, Verdict::Inconclusive, "{seen:?}");
        assert!(seen.said.starts_with("no answer in 3s"), "{seen:?}");
    }
    let ours = broken(io::ErrorKind::NetworkUnreachable);
    let seen = rds_seen(&ours, &status(Reach::Unreachable, Some(control.clone()))).await;
    assert_eq!(seen.verdict, Verdict::Inconclusive, "{seen:?}");
    // An error is an answer: the region is there.
    let denied = Script::new(|_, _| query_error(403, "ExpiredToken", "old"));
    let seen = rds_seen(&denied, &status(Reach::Unreachable, Some(control))).await;
    assert_eq!(seen.verdict, Verdict::Fails, "{seen:?}");
}

#[tokio::test]
async fn a_region_that_swallows_packets_is_bounded() {
    // Nothing is ever answered: only the clock ends the look.
    let script = Script::new(|_, _| Reply::Silence);
    let clients = timed(estate(|_| {}), &script, Arc::new(StepClock::at(NOW)));
    let seen = rds::look(&clients, &status(Reach::Unreachable, None), &Round::alone()).await;
    assert!(seen.said.starts_with("no answer in 3s"), "{seen:?}");
    let health = AwsHealth { region: "us-east-1".to_owned(), services: Vec::new() };
    let seen = aws_health::look(&clients, &health).await;
    assert_eq!(seen.verdict, Verdict::Inconclusive, "{seen:?}");
}

#[tokio::test]
async fn slow_credentials_are_not_taken_for_a_silent_region() {
    let dir = tempfile::tempdir().expect("a directory");
    let mark = dir.path().join("asked");
    // The source answers once; whoever asks it during a call would wait longer than the region may take.
    let command = format!(
        "test -e {0} && sleep 60; touch {0}; \
         echo '{{\"Version\": 1, \"AccessKeyId\": \"AKID\", \"SecretAccessKey\": \"SECRET\"}}'",
        mark.display()
    );
    let script = Script::new(|_, _| query_error(403, "AccessDenied", "but it answers"));
    let source = SharedCredentialsProvider::new(CredentialProcessProvider::new(command));
    let clients = renewable(&script, move || source.clone());
    for region in ["us-east-1", "us-west-2"] {
        let with = RdsStatus { region: region.to_owned(), ..status(Reach::Unreachable, None) };
        let seen = rds::look(&clients, &with, &Round::alone()).await;
        assert_eq!((seen.verdict, seen.said.as_str()), (Verdict::Fails, "RDS answers"), "{region}");
    }
}

#[tokio::test]
async fn the_state_of_an_instance() {
    let answer = |state: &'static str| {
        Script::new(move |_, _| {
            Reply::Answer(
                200,
                format!(
                    "<DescribeDBInstancesResponse><DescribeDBInstancesResult><DBInstances><DBInstance>\
                     <DBInstanceIdentifier>phoenix-prod</DBInstanceIdentifier>\
                     <DBInstanceStatus>{state}</DBInstanceStatus><MultiAZ>true</MultiAZ></DBInstance></DBInstances>\
                     </DescribeDBInstancesResult></DescribeDBInstancesResponse>"
                ),
            )
        })
    };
    let mut with = status(Reach::Reachable, None);
    let seen = rds_seen(&answer("available"), &with).await;
    assert_eq!((seen.verdict, &seen.value["multi_az"]), (Verdict::Holds, &json!(true)));
    let modifying = answer("modifying");
    assert_eq!(rds_seen(&modifying, &with).await.verdict, Verdict::Fails);
    with.states = vec!["modifying".to_owned()];
    assert_eq!(rds_seen(&modifying, &with).await.verdict, Verdict::Holds);
    let gone = Script::new(|_, _| query_error(404, "DBInstanceNotFound", "none"));
    assert_eq!(rds_seen(&gone, &with).await.verdict, Verdict::Fails);
    let denied = Script::new(|_, _| query_error(403, "AccessDenied", "no"));
    assert_eq!(rds_seen(&denied, &with).await.verdict, Verdict::Inconclusive);
    let dark = broken(io::ErrorKind::ConnectionRefused);
    assert_eq!(rds_seen(&dark, &with).await.verdict, Verdict::Inconclusive);
}

#[tokio::test]
async fn an_object_is_there_or_not() {
    let with = |exists| S3Object {
        region: "us-west-2".to_owned(),
        bucket: "bucket".to_owned(),
        key: "key".to_owned(),
        exists,
    };
    for (code, exists, verdict) in [
        (200, true, Verdict::Holds),
        (200, false, Verdict::Fails),
        (404, true, Verdict::Fails),
        (404, false, Verdict::Holds),
        (403, false, Verdict::Inconclusive),
        (500, false, Verdict::Inconclusive),
    ] {
        let script = Script::new(move |_, _| Reply::Answer(code, String::new()));
        let clients = guarded(estate(|_| {}), &script);
        let seen = s3::look(&clients, &with(exists)).await;
        assert_eq!(seen.verdict, verdict, "{code} {exists}: {seen:?}");
    }
}

/// A CBOR map of texts.
fn cbor(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = vec![0xa0 + u8::try_from(pairs.len()).expect("few")];
    for text in pairs.iter().flat_map(|(key, value)| [key, value]) {
        bytes.extend([0x78, u8::try_from(text.len()).expect("short")]);
        bytes.extend(text.as_bytes());
    }
    bytes
}

#[tokio::test]
async fn health_without_a_support_plan_has_no_vote() {
    let script = Script::new(|_, _| {
        Reply::Cbor(
            400,
            cbor(&[
                ("__type", "com.amazonaws.health#SubscriptionRequiredException"),
                ("message", "AWS Premium Support Subscription is required"),
            ]),
        )
    });
    let clients = guarded(estate(|_| {}), &script);
    let with = AwsHealth { region: "us-east-1".to_owned(), services: vec!["RDS".to_owned()] };
    let seen = aws_health::look(&clients, &with).await;
    assert_eq!(
        (seen.verdict, seen.said.as_str()),
        (Verdict::Inconclusive, "no support plan, no vote")
    );
    let open = Script::new(|_, _| {
        let mut body = vec![0xa1, 0x66];
        body.extend(b"events");
        body.push(0x81);
        body.extend(cbor(&[("service", "RDS"), ("eventTypeCode", "AWS_RDS_OPERATIONAL_ISSUE")]));
        Reply::Cbor(200, body)
    });
    let seen = aws_health::look(&guarded(estate(|_| {}), &open), &with).await;
    assert_eq!((seen.verdict, &seen.value["open"]), (Verdict::Holds, &json!(1)), "{seen:?}");
    let none = Script::new(|_, _| {
        let mut body = vec![0xa1, 0x66];
        body.extend(b"events");
        body.push(0x80);
        Reply::Cbor(200, body)
    });
    let seen = aws_health::look(&guarded(estate(|_| {}), &none), &with).await;
    assert_eq!(seen.verdict, Verdict::Fails, "{seen:?}");
}

/// Answers every A question with one address, on loopback.
async fn resolver(address: [u8; 4]) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let place = socket.local_addr().expect("its address");
    tokio::spawn(async move {
        let mut packet = [0; 1500];
        while let Ok((length, sender)) = socket.recv_from(&mut packet).await {
            let end =
                12 + packet[12..length].iter().position(|byte| *byte == 0).expect("a name") + 5;
            let mut reply = packet[..2].to_vec();
            reply.extend([0x84, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            reply.extend(&packet[12..end]);
            reply.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            reply.extend(address);
            let _ = socket.send_to(&reply, sender).await;
        }
    });
    place.to_string()
}

fn listing(east: i64, west: i64) -> String {
    let set = |identifier: &str, weight: i64, value: &str| {
        format!(
            "<ResourceRecordSet><Name>app.phoenix.example.</Name><Type>A</Type>\
             <SetIdentifier>{identifier}</SetIdentifier><Weight>{weight}</Weight><TTL>60</TTL><ResourceRecords>\
             <ResourceRecord><Value>{value}</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>"
        )
    };
    format!(
        "<ListResourceRecordSetsResponse xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\">\
         <ResourceRecordSets>{}{}</ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>300</MaxItems>\
         </ListResourceRecordSetsResponse>",
        set("use1", east, "192.0.2.1"),
        set("usw2", west, "192.0.2.2"),
    )
}

fn zone(east: i64, west: i64) -> Script {
    Script::new(move |sent, _| match sent.action.contains("/rrset") {
        true => Reply::Answer(200, listing(east, west)),
        false => rest_error(400, "InvalidInput", "unknown endpoint"),
    })
}

async fn answer(script: &Script, resolvers: Vec<String>) -> Seen {
    let estate = estate(|estate| {
        estate["dns"]["resolvers"] = json!(resolvers);
        estate["regions"]["us-east-1"]["load_balancer"] = json!("192.0.2.1:443");
        estate["regions"]["us-west-2"]["load_balancer"] = json!("192.0.2.2");
    });
    let clients = timed(estate, script, Arc::new(RealClock));
    route53::look(&clients, &Route53Answer { region: "us-west-2".to_owned() }).await
}

#[tokio::test]
async fn the_record_sets_decide_and_one_old_answer_is_enough_to_fail() {
    let old = resolver([192, 0, 2, 1]).await;
    let new = resolver([192, 0, 2, 2]).await;
    let other = resolver([198, 51, 100, 9]).await;
    let seen = answer(&zone(0, 100), vec![]).await;
    assert_eq!(seen.verdict, Verdict::Holds, "{seen:?}");
    assert_eq!(seen.value["records_moved"], true);
    let seen = answer(&zone(0, 100), vec![new.clone(), other.clone()]).await;
    assert_eq!(seen.verdict, Verdict::Holds, "{seen:?}");
    let seen = answer(&zone(0, 100), vec![new.clone(), old.clone()]).await;
    assert_eq!(seen.verdict, Verdict::Fails, "a resolver still has it: {seen:?}");
    for (east, west) in [(100, 0), (1, 100), (0, 0)] {
        let seen = answer(&zone(east, west), vec![new.clone()]).await;
        assert_eq!(seen.verdict, Verdict::Fails, "{east} {west}: {seen:?}");
        assert!(seen.said.contains("`use1` can be answered"), "{seen:?}");
    }
}

#[tokio::test]
async fn without_the_api_the_resolvers_decide() {
    let dark = broken(io::ErrorKind::ConnectionRefused);
    let seen = answer(&dark, vec!["127.0.0.1:1".to_owned()]).await;
    assert_eq!(seen.verdict, Verdict::Inconclusive, "{seen:?}");
    let seen = answer(&dark, vec![resolver([192, 0, 2, 2]).await]).await;
    assert_eq!((seen.verdict, &seen.value["records_moved"]), (Verdict::Holds, &json!(false)));
    let seen = answer(&dark, vec![resolver([192, 0, 2, 1]).await]).await;
    assert_eq!(seen.verdict, Verdict::Fails, "{seen:?}");
    let seen = answer(&dark, vec![resolver([198, 51, 100, 9]).await]).await;
    assert_eq!(seen.verdict, Verdict::Inconclusive, "{seen:?}");
}
