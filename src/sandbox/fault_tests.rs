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
fn the_same_seed_draws_the_same_surprise() {
    for seed in 0..50 {
        let drawn = surprise(Level::Cruel, seed, "us-west-2");
        assert_eq!(drawn, surprise(Level::Cruel, seed, "us-west-2"));
        assert_eq!(drawn.len(), 3);
    }
}
