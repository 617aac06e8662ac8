//! Alias records and health checks: what stands behind a record decides what its answers mean.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tokio::net::UdpSocket;

use super::*;
use crate::clients::aws::testing::{Reply, Script, estate, rest_error, timed};
use crate::clock::RealClock;
use crate::outcome::Verdict;

const EAST_BALANCER: &str = "lb-1.us-east-1.elb.example";
const WEST_BALANCER: &str = "lb-2.us-west-2.elb.example";
const EAST: [u8; 4] = [192, 0, 2, 1];
const WEST: [u8; 4] = [192, 0, 2, 2];

/// A resolver on loopback: an address for each name, for the load balancers always.
async fn resolver(app: [u8; 4]) -> String {
    let known = BTreeMap::from([
        ("app.phoenix.example", app),
        (EAST_BALANCER, EAST),
        (WEST_BALANCER, WEST),
    ]);
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let place = socket.local_addr().expect("its address");
    tokio::spawn(async move {
        let mut packet = [0; 1500];
        while let Ok((length, sender)) = socket.recv_from(&mut packet).await {
            let (mut name, mut at) = (Vec::new(), 12);
            while packet[at] != 0 && at < length {
                let label = usize::from(packet[at]);
                name.push(
                    String::from_utf8_lossy(&packet[at + 1..=at + label]).to_ascii_lowercase(),
                );
                at += 1 + label;
            }
            let address = known.get(name.join(".").as_str());
            let mut reply = packet[..2].to_vec();
            reply.extend([0x84, 0x80, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
            reply.extend(&packet[12..at + 5]);
            if let Some(address) = address {
                reply.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                reply.extend(address);
            }
            let _ = socket.send_to(&reply, sender).await;
        }
    });
    place.to_string()
}

/// How a zone of aliases answers.
#[derive(Clone, Copy)]
struct Zone {
    weights: (i64, i64),
    evaluate: bool,
    /// Health check of the eastern record, as its configuration
    check: Option<&'static str>,
    /// What TestDNSAnswer says
    test: Option<&'static str>,
}

const MOVED: Zone = Zone { weights: (0, 100), evaluate: true, check: None, test: None };

fn zone(zone: Zone) -> Script {
    let set = move |identifier: &str, weight: i64, balancer: &str, check: &str| {
        format!(
            "<ResourceRecordSet><Name>app.phoenix.example.</Name><Type>A</Type>\
             <SetIdentifier>{identifier}</SetIdentifier><Weight>{weight}</Weight>{check}<AliasTarget>\
             <HostedZoneId>Z2</HostedZoneId><DNSName>{balancer}.</DNSName>\
             <EvaluateTargetHealth>{}</EvaluateTargetHealth></AliasTarget></ResourceRecordSet>",
            zone.evaluate
        )
    };
    let wrap = |name: &str, body: &str| {
        let space = "https://route53.amazonaws.com/doc/2013-04-01/";
        Reply::Answer(200, format!("<{name}Response xmlns=\"{space}\">{body}</{name}Response>"))
    };
    Script::new(move |sent, _| {
        if sent.action.contains("/rrset") {
            let check = zone.check.map_or("", |_| "<HealthCheckId>hc</HealthCheckId>");
            let (east, west) = zone.weights;
            return wrap(
                "ListResourceRecordSets",
                &format!(
                    "<ResourceRecordSets>{}{}</ResourceRecordSets><IsTruncated>false</IsTruncated>\
                     <MaxItems>300</MaxItems>",
                    set("use1", east, EAST_BALANCER, check),
                    set("usw2", west, WEST_BALANCER, "")
                ),
            );
        }
        match (sent.action.contains("/healthcheck/hc/status"), zone.check, zone.test) {
            (true, Some(_), _) => wrap(
                "GetHealthCheckStatus",
                "<HealthCheckObservations><HealthCheckObservation><StatusReport>\
                 <Status>Success: HTTP Status Code 200</Status></StatusReport></HealthCheckObservation>\
                 </HealthCheckObservations>",
            ),
            (false, Some(config), _) if sent.action.contains("/healthcheck/hc") => wrap(
                "GetHealthCheck",
                &format!(
                    "<HealthCheck><Id>hc</Id><CallerReference>r</CallerReference>\
                     <HealthCheckConfig><Type>HTTP</Type>{config}</HealthCheckConfig>\
                     <HealthCheckVersion>1</HealthCheckVersion></HealthCheck>"
                ),
            ),
            (_, _, Some(address)) if sent.action.contains("/testdnsanswer") => wrap(
                "TestDNSAnswer",
                &format!(
                    "<Nameserver>ns</Nameserver><RecordName>app.phoenix.example</RecordName>\
                     <RecordType>A</RecordType><RecordData><RecordDataEntry>{address}</RecordDataEntry>\
                     </RecordData><ResponseCode>NOERROR</ResponseCode><Protocol>UDP</Protocol>"
                ),
            ),
            _ => rest_error(400, "InvalidInput", "unknown endpoint"),
        }
    })
}

async fn answer(script: &Script, resolvers: Vec<String>) -> Seen {
    let estate = estate(|estate| {
        estate["dns"]["resolvers"] = json!(resolvers);
        estate["regions"]["us-east-1"]["load_balancer"] = json!(EAST_BALANCER);
        estate["regions"]["us-west-2"]["load_balancer"] = json!(format!("{WEST_BALANCER}:443"));
    });
    let clients = timed(estate, script, Arc::new(RealClock));
    look(&clients, &Route53Answer { region: "us-west-2".to_owned() }).await
}

#[tokio::test]
async fn the_answers_of_aliases_are_those_of_their_load_balancers() {
    let (old, new) = (resolver(EAST).await, resolver(WEST).await);
    // The health of a target can be read nowhere: the record sets alone prove nothing.
    let seen = answer(&zone(MOVED), vec!["127.0.0.1:1".to_owned()]).await;
    assert_eq!(seen.verdict, Verdict::Inconclusive, "{seen:?}");
    let seen = answer(&zone(MOVED), vec![new.clone()]).await;
    assert_eq!(seen.verdict, Verdict::Holds, "{seen:?}");
    let seen = answer(&zone(MOVED), vec![new.clone(), old.clone()]).await;
    assert_eq!(seen.verdict, Verdict::Fails, "{seen:?}");
    assert!(seen.said.contains("still answers 192.0.2.1"), "{seen:?}");
    let plain = Zone { evaluate: false, ..MOVED };
    assert_eq!(answer(&zone(plain), vec![]).await.verdict, Verdict::Holds);
    let dark = Script::new(|_, _| rest_error(503, "ServiceUnavailable", "dark"));
    let seen = answer(&dark, vec![new]).await;
    assert_eq!(seen.verdict, Verdict::Holds, "by the load balancers' names: {seen:?}");
    assert_eq!(answer(&dark, vec![old]).await.verdict, Verdict::Fails);
}

#[tokio::test]
async fn route_53s_own_answer_proves_a_group_that_never_has_two() {
    let new = resolver([198, 51, 100, 9]).await;
    let moved = Zone { test: Some("192.0.2.2"), ..MOVED };
    assert_eq!(answer(&zone(moved), vec![new.clone()]).await.verdict, Verdict::Holds);
    let old = Zone { test: Some("192.0.2.1"), ..MOVED };
    assert_eq!(answer(&zone(old), vec![new.clone()]).await.verdict, Verdict::Fails);
    // With two weights one answer says nothing of the other.
    let both = Zone { weights: (1, 100), ..moved };
    assert_eq!(answer(&zone(both), vec![new]).await.verdict, Verdict::Inconclusive);
}

#[tokio::test]
async fn a_disabled_health_check_is_inverted_like_any_other() {
    let still = Zone { weights: (100, 100), evaluate: false, ..MOVED };
    for (config, verdict) in [
        ("<Inverted>true</Inverted>", Verdict::Holds),
        ("<Inverted>false</Inverted>", Verdict::Fails),
        ("<Inverted>true</Inverted><Disabled>true</Disabled>", Verdict::Holds),
        ("<Disabled>true</Disabled>", Verdict::Fails),
    ] {
        let seen = answer(&zone(Zone { check: Some(config), ..still }), vec![]).await;
        assert_eq!(seen.verdict, verdict, "{config}: {seen:?}");
    }
}
