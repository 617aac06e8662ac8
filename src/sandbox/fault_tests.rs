use jiff::{SignedDuration, Timestamp};

use super::strikes::OWN;
use super::*;

fn call(service: Service, region: &str, operation: &str) -> Call {
    Call {
        service,
        region: region.to_owned(),
        operation: operation.to_owned(),
        wants_machine: false,
    }
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

/// Everything that is said of a text, with the words of it that it is said of.
fn said_of(text: &str) -> Vec<(String, String, String)> {
    let written = Written::read(text);
    let slips = written.slips.iter().map(|slip| {
        let words = text[slip.range.clone()].to_owned();
        (words, slip.said.clone(), slip.help.clone().unwrap_or_default())
    });
    let rule = written.rule.iter();
    let senseless = rule.flat_map(|rule| senseless(rule, &["us-east-1", "us-west-2"]));
    let senseless =
        senseless.map(|found| (text[written.place(found.part)].to_owned(), found.said, found.help));
    slips.chain(senseless).collect()
}

#[test]
fn a_slip_is_told_with_what_was_meant() {
    for (text, words, said, help) in [
        ("throtled@rds", "throtled", "`throtled` is no fault", "did you mean `throttled`?"),
        ("dark@rout53", "rout53", "`rout53` is no service", "did you mean `route53`?"),
        ("dark@", "@", "no service behind `@`", "there are rds, "),
        ("dark@,region=us-west-2", "@", "no service behind `@`", "leave the `@` out"),
        ("dark,regoin=x", "regoin=x", "`regoin` is no part of a fault", "mean `region`?"),
        ("dark, from=5", "from=5", "length of time", ""),
        ("dark,times", "times", "`times` has no value", "NAME=VALUE"),
        ("dark,times=x", "times=x", "`x` is no number of calls", ""),
        ("dark,times=1,times=2", "times=2", "`times` is given twice", "leave one of them out"),
        ("dark,region=us-west-1", "region=us-west-1", "no region `us-west-1`", "us-west-2"),
    ] {
        let found = said_of(text);
        let [(its, told, meant)] = found.as_slice() else { panic!("{text}: {found:?}") };
        assert_eq!(its, words, "{text}");
        assert!(told.contains(said) && meant.contains(help), "{text}: {told}; {meant}");
    }
}

#[test]
fn what_can_never_strike_is_told_with_what_would() {
    for (text, words, said, help) in [
        ("dark,times=0", "times=0", "`times` 0 strikes nothing", "leave it out"),
        ("dark,from=10m,until=5m", "until=5m", "no time from 10m until 5m", "later than 10m"),
        ("dark,from=5m,until=5m", "until=5m", "no time from 5m until 5m", "later than 5m"),
        ("dark,until=0s", "until=0s", "no time from 0s until 0s", "later than 0s"),
        ("denied@rds,delay=4s", "delay=4s", "`denied` has no `delay`", "only `latency`"),
        ("latency,delay=0s", "delay=0s", "delays nothing", "5s"),
        ("dark@rds/", "/", "the operation is empty", "PromoteReadReplica"),
        ("dark@kubernetes/,times=1", "/", "the operation is empty", "VERB"),
        ("dark@/", "/", "the operation is empty", "FAULT@/OPERATION"),
        ("throttled@rds/Promte", "Promte", "no operation of rds", "mean `Promote`?"),
        ("throttled@rds/describedb", "describedb", "no operation of rds", "mean `Describe`?"),
        ("denied@s3/Frobnicate", "Frobnicate", "no operation of s3", "PutObject"),
        ("denied@kubernetes/PACTH /apis", "PACTH /apis", "no operation", "mean `PATCH`?"),
        ("denied@kubernetes/PATCH apps", "PATCH apps", "no operation", "begins with /api, /apis"),
        ("dark@http/api.example/healthz", "api.example/healthz", "of http", "VERB HOST/PATH"),
        ("dark@tcp/GET db", "GET db", "no operation of tcp", "HOST:PORT"),
        ("dark@dns/MX app", "MX app", "no operation of dns", "A, AAAA, CNAME, TXT"),
        ("denied@/Promte", "Promte", "no service has an operation", "mean `Promote`?"),
        ("dark@/db", "db", "no service has an operation", "name the service"),
        ("stale@kubernetes", "stale", "`stale` cannot befall kubernetes", "dark, refused"),
        ("stuck@health", "stuck", "`stuck` cannot befall health", "stale"),
        ("denied@postgres", "denied", "`denied` cannot befall postgres", "lost_answer"),
        ("stale@sts", "stale", "`stale` cannot befall sts", "expired"),
        ("stale@rds/Promote", "Promote", "it befalls what only reads", "stuck"),
        ("stuck@s3/Get", "Get", "it befalls what changes something", "stale"),
        ("no_capacity@s3", "no_capacity", "befall s3: it befalls what wants machines", "stale"),
        ("no_capacity@route53", "no_capacity", "of rds CreateDBInstance", "throttled"),
        ("no_capacity@sts", "no_capacity", "of kubernetes new pods", "expired"),
        ("no_capacity@postgres", "no_capacity", "cannot befall postgres", "dark"),
        ("no_capacity@rds/Describe", "Describe", "RestoreDBInstanceToPointInTime", "stale"),
        ("no_capacity@rds/PromoteReadReplica", "PromoteReadReplica", "cannot befall", "stuck"),
        ("no_capacity@kubernetes/GET /apis", "GET /apis", "leave the operation out", "denied"),
        ("no_capacity@kubernetes/PATCH /apis", "PATCH /apis", "new pods", "denied"),
        ("no_capacity@/Put", "Put", "cannot befall `Put`", "stuck"),
        ("dark@route53,region=us-west-2", "region=us-west-2", "us-east-1 alone", "us-east-1"),
        ("dark@health,region=us-west-2", "region=us-west-2", "us-east-1 alone", "us-east-1"),
        ("dark@dns,region=us-west-2", "region=us-west-2", "in no region", "leave it out"),
        ("denied@/GetChange,region=us-west-2", "region=us-west-2", "us-east-1 alone", "us-east-1"),
    ] {
        let found = said_of(text);
        let [(its, told, meant)] = found.as_slice() else { panic!("{text}: {found:?}") };
        assert_eq!(its, words, "{text}");
        assert!(told.contains(said) && meant.contains(help), "{text}: {told}; {meant}");
    }
}

#[test]
fn everything_that_is_wrong_with_a_fault_is_told_at_once() {
    let found =
        said_of("stale@kubernetes/PACTH,times=0,delay=1s,from=2m,until=1m,region=x,spare=y");
    let words: Vec<&str> = found.iter().map(|(words, _, _)| words.as_str()).collect();
    assert_eq!(words, ["spare=y", "times=0", "until=1m", "delay=1s", "region=x", "stale"]);
}

#[test]
fn what_can_strike_is_taken() {
    for text in [
        "dark",
        "dark,region=us-east-1",
        "dark@route53,region=us-east-1",
        "throttled@rds/Describe,times=2",
        "stale@rds/Describe,from=1m,times=2",
        "stuck@s3",
        "stuck,region=us-west-2",
        "denied@/Put",
        "refused@/db.example:5432",
        "latency@kubernetes,delay=2s,times=10",
        "lost_answer@kubernetes/PATCH /apis/apps/v1/namespaces/a",
        "dark@http/GET api.example/healthz",
        "dark@dns/A app",
        "dark@sts,region=us-west-2",
        "no_capacity",
        "no_capacity,region=us-west-2",
        "no_capacity@rds",
        "no_capacity@rds/Restore",
        "no_capacity@rds/ModifyDBInstance",
        "no_capacity@kubernetes,times=3",
        "no_capacity@kubernetes/POST /api/v1/namespaces/phoenix-system/pods/phoenix-api",
    ] {
        assert_eq!(said_of(text), [], "{text}");
    }
    // Global services live in their partition, whether or not the estate has that region.
    let rule = |text: &str| text.parse::<Rule>().expect(text);
    assert_eq!(senseless(&rule("dark@route53,region=us-east-1"), &["eu-west-1"]), []);
    assert_eq!(senseless(&rule("dark@route53,region=us-gov-west-1"), &["us-gov-east-1"]), []);
    assert_eq!(senseless(&rule("dark@route53,region=us-east-1"), &["us-gov-east-1"]).len(), 1);
}

#[test]
fn what_wants_a_machine_is_an_operation_its_service_has() {
    let rds = aws::operations(Service::Rds);
    assert!(aws::wanting_machines().iter().all(|name| rds.contains(name)));
}

/// A fault, the calls that were made with their seconds, and the reason as a word and in words.
type Missing<'a> = (&'a str, Vec<(Call, i64)>, &'a str, &'a str);

/// Why a fault never struck, each reason by the calls that were made.
#[test]
fn why_a_fault_never_struck_is_told_by_what_was_called() {
    let promote = |second| (call(Service::Rds, "us-west-2", "PromoteReadReplica"), second);
    let describe = |second| (call(Service::Rds, "us-west-2", "DescribeDBInstances"), second);
    let other = |region, second| (call(Service::Rds, region, "PromoteReadReplica"), second);
    let head = |second| (call(Service::S3, "us-west-2", "HeadBucket"), second);
    let table: [Missing<'_>; 14] = [
        ("denied@rds", vec![head(1)], "not_called", "rds was not called"),
        ("denied", vec![], "not_called", "nothing was called"),
        (
            "denied@rds/Promote",
            vec![describe(1), head(2)],
            "other_operations",
            "rds was called, but nothing of it that begins with `Promote`",
        ),
        (
            "denied@/Promote",
            vec![head(1)],
            "other_operations",
            "nothing that begins with `Promote` was called",
        ),
        (
            "stuck@rds",
            vec![describe(1)],
            "not_befallen",
            "of what it names only such was called as it cannot befall",
        ),
        (
            "denied@rds,region=us-east-1",
            vec![other("us-west-2", 1), other("eu-west-1", 2)],
            "other_regions",
            "what it names was called in eu-west-1 and us-west-2 alone",
        ),
        (
            "denied@rds/Promote,from=5m",
            vec![promote(1), promote(299), describe(400)],
            "too_early",
            "what it names was called for the last time before 5m",
        ),
        (
            "denied@rds/Promote,until=5m",
            vec![describe(1), promote(300)],
            "too_late",
            "what it names was called for the first time after 5m",
        ),
        (
            "denied@rds/Promote,from=1m,until=5m",
            vec![promote(1), promote(300)],
            "outside_of_its_time",
            "what it names was called before 1m and after 5m alone",
        ),
        (
            "denied@rds/Promote,spare=2",
            vec![promote(1)],
            "spared",
            "what it names was called once in its time, and spare=2 passed that over",
        ),
        (
            "denied@rds/Promote,spare=2,from=5s",
            vec![promote(1), promote(6), promote(7)],
            "spared",
            "what it names was called 2 times in its time, and spare=2 passed these over",
        ),
        (
            "denied@rds",
            vec![other("lost", 1), other("lost", 2)],
            "another_first",
            "at each of its calls `dark,region=lost` struck first",
        ),
        // The nearest miss is told, whenever it was.
        (
            "denied@rds/Promote,region=us-west-2,from=5m",
            vec![promote(1), other("us-east-1", 400)],
            "too_early",
            "what it names was called for the last time before 5m",
        ),
        ("denied@rds,from=5m", vec![head(400)], "not_called", "rds was not called"),
    ];
    let began = Timestamp::UNIX_EPOCH;
    for (text, calls, because, said) in table {
        let rule = |text: &str| text.parse::<Rule>().expect(text);
        let rules = || vec![rule("dark,region=lost"), rule(text)];
        let (mut faults, mut resumed) = (Faults::new(rules(), began), Faults::new(rules(), began));
        for (call, second) in calls {
            let at = began + SignedDuration::from_secs(second);
            let strike = faults.strike(&call, at);
            // What is told of it in the log is enough to know it again.
            let text = call.to_string();
            strike.struck.iter().for_each(|(rule, _, _)| resumed.struck_before(*rule, &text, at));
            strike.spared.iter().for_each(|rule| resumed.spared_before(*rule));
            strike.missed.into_iter().for_each(|(rule, how)| resumed.missed_before(rule, how));
        }
        for faults in [&faults, &resumed] {
            let strikes::Outcome { struck, never, .. } = faults.told().last().expect("two rules");
            let never = never.expect(text);
            assert_eq!((struck, never.because()), (0, because), "{text}: {never}");
            assert_eq!(never.to_string(), said, "{text}");
        }
    }
}

#[test]
fn strikes_only_what_it_can_befall() {
    let strikes = |fault: &str, service, operation| {
        let rule = fault.parse().expect("a rule");
        let mut faults = Faults::new(vec![rule], Timestamp::UNIX_EPOCH);
        let now = Timestamp::UNIX_EPOCH;
        let struck = faults.strike(&call(service, "us-west-2", operation), now).struck;
        assert_eq!(
            faults.told().map(|outcome| outcome.struck).sum::<u32>(),
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
    for fault in ["throttled", "truncated", "denied", "expired"] {
        assert!(strikes(fault, Service::Kubernetes, "GET /api/v1/x"), "{fault}");
        assert!(!strikes(fault, Service::Postgres, "db:5432"), "{fault}");
    }
    for fault in ["dark", "refused", "lost_answer", "latency"] {
        assert!(strikes(fault, Service::Dns, "A app"), "{fault}");
    }
}

/// A call of the scheduler, or one of RDS that wants another machine.
fn wanting(service: Service, operation: &str) -> Call {
    Call { wants_machine: true, ..call(service, "us-west-2", operation) }
}

#[test]
fn a_lack_of_machines_strikes_what_wants_one() {
    let place = placing::operation("shop", "api-1");
    let other = placing::operation("shop", "api-2");
    let api = call(Service::Kubernetes, "us-west-2", "POST /api/v1/namespaces/shop/pods");
    let modest = call(Service::Rds, "us-west-2", "ModifyDBInstance");
    let rules = ["denied", "no_capacity,until=5m,times=2"];
    let rules = rules.map(|rule| rule.parse().expect("a rule")).to_vec();
    let began = Timestamp::UNIX_EPOCH;
    let mut faults = Faults::new(rules, began);
    let mut strikes = |call: &Call| faults.strike(call, began).struck.map(|(rule, _, _)| rule);
    // A scheduler asks nobody's leave; whoever asks for pods is answered.
    assert_eq!(strikes(&wanting(Service::Kubernetes, &place)), Some(1));
    assert_eq!(strikes(&api), Some(0));
    let mut faults = Faults::new(vec!["no_capacity,until=5m,times=2".parse().expect("it")], began);
    let mut strikes = |call: &Call| faults.strike(call, began).struck.is_some();
    assert!(!strikes(&modest) && !strikes(&api), "neither wants a machine");
    assert!(strikes(&wanting(Service::Rds, "ModifyDBInstance")));
    let first = wanting(Service::Kubernetes, &place);
    assert!(strikes(&first));
    assert!(!strikes(&wanting(Service::Kubernetes, &other)), "used up");
    // It waits while the fault lasts, however often its place is looked for.
    let at = |minutes: i64| began + SignedDuration::from_mins(minutes);
    assert!(faults.keeps_waiting(&first, at(4)).is_some());
    assert!(faults.keeps_waiting(&first, at(5)).is_none());
    assert!(faults.keeps_waiting(&wanting(Service::Kubernetes, &other), at(4)).is_none());
}

#[test]
fn strikes_what_it_names_as_often_as_it_says() {
    let began: Timestamp = "2026-01-01T00:00:00Z".parse().expect("an instant");
    let rule = "refused@rds/Promote,region=us-west-2,spare=1,times=2,from=1m";
    let mut faults = Faults::new(vec![rule.parse().expect("a rule")], began);
    let promote = call(Service::Rds, "us-west-2", "PromoteReadReplica");
    let mut strikes = |call: &Call, second: i64| {
        faults.strike(call, began + SignedDuration::from_secs(second)).struck
    };
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
    // Of some calls alone nothing is lost.
    let of_calls = [
        Rule { times: Some(2), ..rule(None) },
        Rule { spare: Some(1), ..rule(None) },
        Rule { operation: Some("DescribeDBInstances".to_owned()), ..rule(None) },
    ];
    for rule in of_calls {
        assert!(!dark(vec![rule.clone()]), "{rule}");
    }
}
