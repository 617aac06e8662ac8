use std::time::Duration;

use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ResourceRecordSet, RrType};
use serde_json::{Value, json};

use super::*;

/// A zone with records of every routing; `up` is healthy, `down` is not, `inverted` is not because it is inverted.
fn zone() -> String {
    let records = |name: &str, sets: &[Value]| -> Vec<Value> {
        let number = |(index, set): (usize, &Value)| {
            let mut set = set.clone();
            set["Name"] = json!(format!("{name}.routes.example."));
            set["Type"] = json!("A");
            set["TTL"] = json!(60);
            set["SetIdentifier"] = json!(index.to_string());
            set["ResourceRecords"] = json!([{ "Value": format!("192.0.2.{}", index + 1) }]);
            set
        };
        sets.iter().enumerate().map(number).collect()
    };
    let check = |id: &str, config: Value| json!({ "type": "route53.health_check", "id": id, "body": { "HealthCheckConfig": config } });
    let of_host = |host: &str| json!({ "Type": "HTTP", "FullyQualifiedDomainName": host });
    let up = "api.us-west-2.phoenix.example";
    let mut inverted = of_host(up);
    inverted["Inverted"] = json!(true);
    let all = |threshold: u32| json!({ "Type": "CALCULATED", "HealthThreshold": threshold, "ChildHealthChecks": ["up", "down", "inverted"] });
    let sets = [
        records("latency", &[json!({ "Region": "us-east-1" }), json!({ "Region": "eu-west-1" })]),
        records(
            "far",
            &[
                json!({ "Region": "us-east-1", "HealthCheckId": "down" }),
                json!({ "Region": "eu-west-1" }),
                json!({ "Region": "us-west-2" }),
            ],
        ),
        records(
            "place",
            &[
                json!({ "GeoLocation": { "CountryCode": "*" } }),
                json!({ "GeoLocation": { "CountryCode": "US" } }),
                json!({ "GeoLocation": { "CountryCode": "DE" } }),
            ],
        ),
        records("nowhere", &[json!({ "GeoLocation": { "CountryCode": "DE" } })]),
        records(
            "near",
            &[
                json!({ "GeoProximityLocation": { "AWSRegion": "us-east-2" } }),
                json!({ "GeoProximityLocation": { "AWSRegion": "eu-west-1", "Bias": 99 } }),
            ],
        ),
        records(
            "several",
            &[
                json!({ "MultiValueAnswer": true }),
                json!({ "MultiValueAnswer": true }),
                json!({ "MultiValueAnswer": true, "HealthCheckId": "down" }),
            ],
        ),
        records(
            "pair",
            &[
                json!({ "Failover": "PRIMARY", "HealthCheckId": "inverted" }),
                json!({ "Failover": "SECONDARY" }),
            ],
        ),
        records(
            "most",
            &[
                json!({ "Failover": "PRIMARY", "HealthCheckId": "most" }),
                json!({ "Failover": "SECONDARY" }),
            ],
        ),
        records(
            "one",
            &[
                json!({ "Failover": "PRIMARY", "HealthCheckId": "one" }),
                json!({ "Failover": "SECONDARY" }),
            ],
        ),
        vec![
            json!({ "Name": "alias.routes.example.", "Type": "A", "SetIdentifier": "p", "Failover": "PRIMARY",
                    "AliasTarget": { "HostedZoneId": "ZROUTES", "DNSName": "sick.routes.example.",
                                     "EvaluateTargetHealth": true } }),
            json!({ "Name": "alias.routes.example.", "Type": "A", "SetIdentifier": "s", "Failover": "SECONDARY",
                    "AliasTarget": { "HostedZoneId": "Z1H1FL5HABSF5",
                                     "DNSName": "dualstack.phoenix-usw2.elb.us-west-2.amazonaws.com.",
                                     "EvaluateTargetHealth": true } }),
            json!({ "Name": "sick.routes.example.", "Type": "A", "TTL": 60, "HealthCheckId": "down",
                    "ResourceRecords": [{ "Value": "192.0.2.99" }] }),
            json!({ "Name": "\\052.wild.routes.example.", "Type": "A", "TTL": 60,
                    "ResourceRecords": [{ "Value": "192.0.2.7" }] }),
        ],
    ];
    let zone = json!({ "type": "route53.zone", "id": "ZROUTES", "body": {
        "Name": "routes.example.", "ResourceRecordSets": sets.concat() } });
    json!([
        zone,
        check("up", of_host(up)),
        check("down", of_host("nobody.example")),
        check("inverted", inverted),
        check("most", all(2)),
        check("one", all(1)),
    ])
    .to_string()
}

#[test]
fn each_routing_is_answered_as_it_is_documented() {
    let scene = Scene::of(lit(&zone()), &[]);
    scene.run(async {
        let route53 = scene.clients.aws.region("us-west-2").await.expect("clients").route53.clone();
        let test = |name: &str| {
            let request =
                route53.test_dns_answer().hosted_zone_id("ZROUTES").record_type(RrType::A);
            request.record_name(format!("{name}.routes.example"))
        };
        for (name, code, values) in [
            ("latency", "NOERROR", vec!["192.0.2.1"]),
            ("far", "NOERROR", vec!["192.0.2.3"]),
            ("place", "NOERROR", vec!["192.0.2.2"]),
            ("nowhere", "NOERROR", vec![]),
            ("near", "NOERROR", vec!["192.0.2.2"]),
            ("several", "NOERROR", vec!["192.0.2.1", "192.0.2.2"]),
            ("pair", "NOERROR", vec!["192.0.2.2"]),
            ("most", "NOERROR", vec!["192.0.2.2"]),
            ("one", "NOERROR", vec!["192.0.2.1"]),
            ("alias", "NOERROR", vec!["203.0.113.11"]),
            ("any.wild", "NOERROR", vec!["192.0.2.7"]),
            ("nothing", "NXDOMAIN", vec![]),
        ] {
            let found = test(name).send().await.expect("it answers");
            let mut data = found.record_data().to_vec();
            data.sort_unstable();
            assert_eq!(
                (found.response_code(), data),
                (code, values.iter().map(|value| (*value).to_owned()).collect()),
                "{name}"
            );
        }
        // Nobody here knows where an address is.
        assert_eq!(code(test("latency").resolver_ip("8.8.8.8").send().await), "InvalidAction");
        test("several").resolver_ip("8.8.8.8").send().await.expect("that does not matter here");
    });
}

#[test]
fn a_zone_takes_one_request_at_a_time() {
    let scene = Scene::of(lit(&zone()), &[]);
    scene.run(async {
        let route53 = scene.clients.aws.region("us-west-2").await.expect("clients").route53.clone();
        let change = |name: &str| {
            let value =
                aws_sdk_route53::types::ResourceRecord::builder().value("192.0.2.1").build();
            let set = ResourceRecordSet::builder().name(format!("{name}.routes.example"));
            let set =
                set.r#type(RrType::A).ttl(60).resource_records(value.expect("a value")).build();
            let change = Change::builder().action(ChangeAction::Create);
            let change = change.resource_record_set(set.expect("a set")).build().expect("a change");
            let batch = ChangeBatch::builder().changes(change).build().expect("a batch");
            let request = route53.change_resource_record_sets().hosted_zone_id("ZROUTES");
            request.change_batch(batch).send()
        };
        let (first, second) = tokio::join!(change("a"), change("b"));
        let refused = [first, second].into_iter().filter(Result::is_err).map(code);
        assert_eq!(refused.collect::<Vec<_>>(), ["PriorRequestNotComplete"]);
        // That the first is not everywhere yet is no reason.
        change("c").await.expect("accepted");
    });
}

#[test]
fn what_checkers_see_is_told_without_inversion() {
    let scene = Scene::of(lit(&zone()), &["dark,region=us-west-2,from=1h"]);
    scene.run(async {
        let aws = scene.clients.aws.region("us-east-1").await.expect("clients");
        let route53 = &aws.route53;
        let said = |id: &'static str| async move {
            let found = route53.get_health_check_status().health_check_id(id).send().await;
            let found = found.expect("it answers").health_check_observations()[0].clone();
            found
                .status_report()
                .and_then(|report| report.status().map(str::to_owned))
                .unwrap_or_default()
        };
        assert!(said("inverted").await.starts_with("Success"));
        let sum = aws.route53.get_health_check_status().health_check_id("most").send().await;
        assert_eq!(code(sum), "InvalidInput");
        let mut names = Vec::new();
        let mut marker = None;
        loop {
            let page =
                aws.route53.list_health_checks().max_items(2).set_marker(marker).send().await;
            let page = page.expect("it answers");
            names.extend(page.health_checks().iter().map(|check| check.id().to_owned()));
            marker = page.next_marker().map(str::to_owned);
            if !page.is_truncated() {
                break;
            }
        }
        assert_eq!(names.len(), 6, "{names:?}");
        scene.clock.sleep(Duration::from_secs(3600)).await;
        assert!(said("inverted").await.starts_with("Failure"));
    });
}
