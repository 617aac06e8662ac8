//! Moving the record sets, over real SDK clients and a scripted Route 53.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::clients::aws::testing::{Reply, Script, armed, call, estate, guarded, rest_error};
use crate::outcome::Effect;

const LIST: &str = "GET /2013-04-01/hostedzone/Z1/rrset";
const CHANGE: &str = "POST /2013-04-01/hostedzone/Z1/rrset";

pub(super) fn shift() -> TrafficShift {
    TrafficShift { to: "us-west-2".to_owned(), from: "us-east-1".to_owned() }
}

/// A zone: record sets as XML by set identifier, and how the next changes are answered.
#[derive(Default)]
struct Zone {
    refusals: Vec<(u16, &'static str)>,
    pending: usize,
    east: String,
    west: String,
}

fn weighted(identifier: &str, weight: i64, ttl: i64) -> String {
    record("app.phoenix.example.", identifier, &format!("<Weight>{weight}</Weight>"), ttl)
}

fn record(name: &str, identifier: &str, routing: &str, ttl: i64) -> String {
    format!(
        "<ResourceRecordSet><Name>{name}</Name><Type>A</Type><SetIdentifier>{identifier}</SetIdentifier>{routing}\
         <TTL>{ttl}</TTL><ResourceRecords><ResourceRecord><Value>192.0.2.{}</Value></ResourceRecord>\
         </ResourceRecords><HealthCheckId>hc-{identifier}</HealthCheckId></ResourceRecordSet>",
        identifier.len()
    )
}

fn page(sets: &str, next: Option<(&str, &str)>) -> String {
    let next = match next {
        Some((name, identifier)) => format!(
            "<IsTruncated>true</IsTruncated><NextRecordName>{name}</NextRecordName>\
             <NextRecordType>A</NextRecordType><NextRecordIdentifier>{identifier}</NextRecordIdentifier>"
        ),
        None => "<IsTruncated>false</IsTruncated>".to_owned(),
    };
    format!(
        "<ListResourceRecordSetsResponse xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\">\
         <ResourceRecordSets>{sets}</ResourceRecordSets>{next}<MaxItems>1</MaxItems>\
         </ListResourceRecordSetsResponse>"
    )
}

fn status(operation: &str, status: &str) -> Reply {
    Reply::Answer(
        200,
        format!(
            "<{operation}Response xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeInfo>\
             <Id>/change/C1</Id><Status>{status}</Status><SubmittedAt>2026-11-22T02:18:00Z</SubmittedAt></ChangeInfo>\
             </{operation}Response>"
        ),
    )
}

/// Answers the listing in two pages, and goes on into the next name of the zone as Route 53 does.
fn zone(zone: Zone) -> (Script, Arc<Mutex<Zone>>) {
    let shared = Arc::new(Mutex::new(zone));
    let inside = shared.clone();
    let script = Script::new(move |sent, _| {
        let mut zone = inside.lock().expect("not poisoned");
        if sent.action.starts_with(LIST) {
            let second = sent.action.contains("identifier=usw2");
            let next = record("app2.phoenix.example.", "next", "<Weight>7</Weight>", 60);
            return Reply::Answer(
                200,
                match second {
                    false => page(&zone.east, Some(("app.phoenix.example.", "usw2"))),
                    true => {
                        page(&format!("{}{next}", zone.west), Some(("app3.phoenix.example.", "x")))
                    }
                },
            );
        }
        if sent.action.starts_with("GET /2013-04-01/change/C1") {
            zone.pending = zone.pending.saturating_sub(1);
            return status("GetChange", if zone.pending > 0 { "PENDING" } else { "INSYNC" });
        }
        if sent.action != CHANGE {
            return rest_error(400, "InvalidInput", &sent.action);
        }
        if let Some((code, name)) = zone.refusals.pop() {
            return rest_error(code, name, "not now");
        }
        for set in sent.body.split("<ResourceRecordSet>").skip(1) {
            let set = set.split("</ResourceRecordSet>").next().unwrap_or_default();
            let xml = format!("<ResourceRecordSet>{set}</ResourceRecordSet>");
            match set.contains("use1") {
                true => zone.east = xml,
                false => zone.west = xml,
            }
        }
        status("ChangeResourceRecordSets", "PENDING")
    });
    (script, shared)
}

fn normal() -> Zone {
    Zone {
        east: weighted("use1", 100, 60),
        west: weighted("usw2", 0, 60),
        pending: 3,
        ..Zone::default()
    }
}

fn failover() -> Zone {
    Zone {
        east: record("app.phoenix.example.", "use1", "<Failover>PRIMARY</Failover>", 60),
        west: record("app.phoenix.example.", "usw2", "<Failover>SECONDARY</Failover>", 60),
        ..Zone::default()
    }
}

#[tokio::test]
async fn the_listing_is_read_over_pages_and_not_beyond_the_name() {
    let (script, _) = zone(normal());
    let clients = guarded(estate(|_| {}), &script);
    let (call, _news) = call("route53.weights");
    let seen = observe(&clients, &call, &shift()).await.expect("seen");
    let group = seen.live.as_object().expect("a group");
    assert_eq!(group.keys().collect::<Vec<_>>(), ["use1", "usw2"]);
    assert_eq!(group["use1"]["Weight"], 100);
    assert_eq!(group["use1"]["HealthCheckId"], "hc-use1");
    assert_eq!(seen.desired["use1"]["Weight"], 0);
    assert_eq!(seen.desired["usw2"]["Weight"], 100);
    assert_eq!(script.sent().len(), 2, "the third page is of another name");
    assert!(seen.commands[0].contains("change-resource-record-sets --hosted-zone-id Z1"));
}

#[tokio::test]
async fn both_records_move_in_one_batch_and_are_waited_for() {
    let known =
        Zone { refusals: vec![(400, "Throttling"), (400, "PriorRequestNotComplete")], ..normal() };
    let (script, shared) = zone(known);
    let (clients, armed) = armed(estate(|_| {}), &script);
    let (call, _news) = call("route53.weights");
    let seen = observe(&clients, &call, &shift()).await.expect("seen");
    let done = perform(&clients, &armed, &call, &shift(), &seen).await.expect("moved");
    assert_eq!(done.after, seen.desired);
    assert_eq!(done.outputs["method"], "route53.weights");
    assert_eq!(script.count(CHANGE), 3, "two refusals are waited out");
    assert_eq!(script.count("GET /2013-04-01/change/C1"), 3, "until INSYNC");
    let change = script.sent().into_iter().find(|sent| sent.action == CHANGE).expect("a change");
    assert_eq!(change.body.matches("<Action>UPSERT</Action>").count(), 2);

    let again = observe(&clients, &call, &shift()).await.expect("seen");
    assert!(again.satisfied && again.outputs["method"] == "route53.weights");

    let image = Image { before: seen.live.clone(), ours: done.after, now: again };
    revert(&clients, &armed, &call, &shift(), &image).await.expect("reverted");
    let back = observe(&clients, &call, &shift()).await.expect("seen");
    assert_eq!(back.live, seen.live, "exactly as before");
    assert!(shared.lock().expect("not poisoned").east.contains("<Weight>100</Weight>"));
}

#[tokio::test]
async fn a_failover_pair_swaps_its_roles() {
    let (script, _) = zone(failover());
    let (clients, armed) =
        armed(estate(|estate| estate["dns"]["shape"] = json!("failover")), &script);
    let (call, _news) = call("route53.weights");
    let seen = observe(&clients, &call, &shift()).await.expect("seen");
    let done = perform(&clients, &armed, &call, &shift(), &seen).await.expect("moved");
    assert_eq!(done.after["usw2"]["Failover"], "PRIMARY");
    assert_eq!(done.after["use1"]["Failover"], "SECONDARY");
}

async fn refused(known: Zone, change: impl FnOnce(&mut Value)) -> ActionError {
    let (script, _) = zone(known);
    let clients = guarded(estate(change), &script);
    let (call, _news) = call("route53.weights");
    let error = observe(&clients, &call, &shift()).await.expect_err("refused");
    assert_eq!(script.count(CHANGE), 0, "nothing was requested");
    assert_eq!(error.effect, Effect::None);
    error
}

#[tokio::test]
async fn what_route_53_would_refuse_is_refused_before() {
    let ttl = refused(Zone { west: weighted("usw2", 0, 30), ..normal() }, |_| {}).await;
    assert!(ttl.message.contains("differ in TTL"), "{ttl}");
    let mixed = refused(failover(), |_| {}).await;
    assert!(mixed.message.contains("has no weight"), "{mixed}");
    let unknown =
        refused(normal(), |estate| estate["dns"]["records"]["us-west-2"] = json!("other")).await;
    assert_eq!(unknown.class, FailureClass::NotFound);
    for error in [&ttl, &mixed, &unknown] {
        let hint = error.hint.as_deref().unwrap_or_default();
        assert!(hint.contains("dns.records") && hint.contains("aws route53 list-"), "{error}");
    }
    // One record for both regions would leave the group without any weight.
    let zero =
        refused(normal(), |estate| estate["dns"]["records"]["us-west-2"] = json!("use1")).await;
    assert!(zero.message.contains("every weight would be 0"), "{zero}");
}

#[tokio::test]
async fn a_change_that_stays_pending_is_applied_but_late() {
    let (script, _) = zone(Zone { pending: usize::MAX, ..normal() });
    let (clients, armed) = armed(estate(|_| {}), &script);
    let (call, _news) = call("route53.weights");
    let seen = observe(&clients, &call, &shift()).await.expect("seen");
    let error = perform(&clients, &armed, &call, &shift(), &seen).await.expect_err("late");
    assert_eq!((error.class, error.effect), (FailureClass::Timeout, Effect::Applied), "{error}");
    assert_eq!(script.count(CHANGE), 1);
}

#[tokio::test]
async fn a_lost_answer_leaves_the_effect_unknown() {
    let (script, _) = zone(Zone { refusals: vec![(500, "InternalFailure")], ..normal() });
    let (clients, armed) = armed(estate(|_| {}), &script);
    let (call, _news) = call("route53.weights");
    let seen = observe(&clients, &call, &shift()).await.expect("seen");
    let error = perform(&clients, &armed, &call, &shift(), &seen).await.expect_err("lost");
    assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::Unknown), "{error}");
}
