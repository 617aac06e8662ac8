use super::*;

fn call(service: Service, region: &str, operation: &str) -> Call {
    Call { service, region: region.to_owned(), operation: operation.to_owned() }
}

#[test]
fn a_text_is_read_back_as_it_was() {
    for text in [
        "dark,region=us-east-1",
        "lost_answer@rds/PromoteReadReplica,times=1",
        "latency@kubernetes,from=5m,until=1h,delay=4s,spare=2,times=3",
        "denied@/Put",
    ] {
        let rule: Rule = text.parse().expect(text);
        assert_eq!(rule.to_string(), text);
    }
}

#[test]
fn a_slip_is_told_with_what_was_meant() {
    let why = |text: &str| text.parse::<Rule>().expect_err(text).to_string();
    assert_eq!(why("throtled@rds"), "`throtled` is no fault; did you mean `throttled`?");
    assert_eq!(why("dark@rout53"), "`rout53` is no service; did you mean `route53`?");
    assert!(why("dark,regoin=x").contains("did you mean `region`?"));
    assert!(why("dark,from=5").contains("length of time"));
    assert!(why("dark,times").contains("NAME=VALUE"));
}

#[test]
fn strikes_only_what_it_can_befall() {
    let strikes = |fault: &str, service, operation| {
        let rule = fault.parse().expect("a rule");
        let mut faults = Faults::new(vec![rule], Timestamp::UNIX_EPOCH);
        let struck = faults.strike(&call(service, "us-west-2", operation), Timestamp::UNIX_EPOCH);
        assert_eq!(
            faults.told().map(|(_, struck)| struck).sum::<u32>(),
            u32::from(struck.is_some())
        );
        struck.is_some()
    };
    assert!(strikes("stale", Service::Rds, "DescribeDBInstances"));
    assert!(!strikes("stale", Service::Rds, "ModifyDBInstance"), "a write would be lost");
    assert!(strikes("stuck", Service::S3, "PutObject"));
    assert!(!strikes("stuck", Service::S3, "HeadObject"));
    for fault in ["stale", "stuck"] {
        assert!(!strikes(fault, Service::Kubernetes, "PATCH /api/v1/x"), "{fault}");
    }
    for fault in ["throttled", "truncated", "denied", "no_capacity", "expired"] {
        assert!(strikes(fault, Service::Kubernetes, "GET /api/v1/x"), "{fault}");
        assert!(!strikes(fault, Service::Postgres, "db:5432"), "{fault}");
    }
    for fault in ["dark", "refused", "lost_answer", "latency"] {
        assert!(strikes(fault, Service::Dns, "A app"), "{fault}");
    }
}

#[test]
fn strikes_what_it_names_as_often_as_it_says() {
    let began: Timestamp = "2026-01-01T00:00:00Z".parse().expect("an instant");
    let rule = "refused@rds/Promote,region=us-west-2,spare=1,times=2,from=1m";
    let mut faults = Faults::new(vec![rule.parse().expect("a rule")], began);
    let promote = call(Service::Rds, "us-west-2", "PromoteReadReplica");
    let mut strikes =
        |call: &Call, second: i64| faults.strike(call, began + SignedDuration::from_secs(second));
    assert!(strikes(&promote, 0).is_none(), "too early");
    assert!(strikes(&promote, 60).is_none(), "spared");
    assert!(strikes(&call(Service::Rds, "us-east-1", "PromoteReadReplica"), 60).is_none());
    assert!(strikes(&call(Service::S3, "us-west-2", "PutObject"), 60).is_none());
    assert!(strikes(&promote, 61).is_some());
    assert!(strikes(&promote, 62).is_some());
    assert!(strikes(&promote, 63).is_none(), "used up");
}

#[test]
fn a_region_is_dark_where_all_that_is_its_own_is() {
    let began: Timestamp = "2026-11-22T02:18:00Z".parse().expect("an instant");
    let rule =
        |service| Rule { region: Some("us-east-1".to_owned()), service, ..Rule::of(Fault::Dark) };
    let dark = |rules| Faults::new(rules, began).dark(began).contains_key("us-east-1");
    assert!(dark(vec![rule(None)]));
    let own: Vec<Rule> = OWN.into_iter().map(|service| rule(Some(service))).collect();
    assert!(dark(own.clone()));
    assert!(!dark(own[1..].to_vec()));
    assert!(!dark(vec![rule(Some(Service::Rds))]));
}
