use super::*;
use crate::runbook::problem::Problems;

#[path = "own_server_tests.rs"]
mod own_server_tests;

/// Returns the template with one thing in it replaced.
fn changed(from: &str, to: &str) -> String {
    let text = init::template();
    assert_eq!(text.matches(from).count(), 1, "`{from}` is in the template once");
    text.replace(from, to)
}

/// The line of the template that says where experiments are.
const EXPERIMENTS: &str = "  experiments: {}";

fn refused(text: &str) -> Problems {
    match load::parse("phoenix-dr.yaml", text) {
        Ok(_) => panic!("accepted"),
        Err(problems) => problems,
    }
}

#[test]
fn a_password_is_refused_with_the_form_to_use_and_never_repeated() {
    let reference = "password_from: { env: PHOENIX_DR_DATABASE_PASSWORD }";
    for written in [
        "password: c4n4ry-Secret",
        "password: \"c4n4ry-Secret\" # mine",
        "pasword: c4n4ry-Secret",
        "password_from: c4n4ry-Secret",
        "password_from: { env: X, value: c4n4ry-Secret }",
        "password_from:\n      text: c4n4ry-Secret",
        "password: |\n      c4n4ry-Secret",
        "password: 'c4n4ry-Secret",
        "password: [c4n4ry-Secret]",
        "db_token: c4n4ry-Secret",
    ] {
        let problems = refused(&changed(reference, written));
        for text in [problems.render(false), problems.render(true), format!("{problems:?}")] {
            assert!(!text.contains("c4n4ry"), "{written}: {text}");
        }
    }
    let problems = refused(&changed(
        "api: https://api.us-east-1.phoenix.example",
        "api: https://me:c4n4ry-Secret@api.us-east-1.phoenix.example",
    ));
    assert!(!format!("{problems} {problems:?}").contains("c4n4ry"), "{problems}");
    insta::assert_snapshot!(refused(&changed(reference, "password: c4n4ry-Secret")).render(false), @r"
    error: `password_from` is missing in database.connection
      --> phoenix-dr.yaml:94:3
       |
    94 |   connection:
       |   ^^^^^^^^^^
       |
       = help: password_from: Reference to the password; the value itself is refused

    error: unknown key `password` in database.connection
      --> phoenix-dr.yaml:97:5
       |
    97 |     password: *************
       |     ^^^^^^^^
       |
       = help: no secret belongs in this file: write `password_from: { env: NAME }`, `{ file: PATH }` or
               `{ command: [PROGRAM, ARGUMENT, …] }`, and change a secret that was written here
    ");
    insta::assert_snapshot!(refused(&changed(reference, "password_from: c4n4ry-Secret")).render(false), @r"
    error: expected a mapping, found the text `********`
      --> phoenix-dr.yaml:97:20
       |
    97 |     password_from: *************
       |                    ^^^^^^^^^^^^^
       |
       = help: no secret belongs in this file: write `password_from: { env: NAME }`, `{ file: PATH }` or
               `{ command: [PROGRAM, ARGUMENT, …] }`, and change a secret that was written here
    ");
}

#[test]
fn each_mistake_is_said_in_place() {
    for (from, to, line, said) in [
        ("estate: phoenix-production", "estate: ../x", "estate: ../x", "cannot name an estate"),
        (
            "  region: us-east-1\n\n#",
            "  region: us-eest-1\n\n#",
            "region: us-eest-1",
            "did you mean `us-east-1`?",
        ),
        (
            "api: https://api.us-west-2.phoenix.example",
            "api: api.us-west-2",
            "api: api.us-west-2",
            "is not the URL of a server",
        ),
        ("region: us-west-2, prefix", "region: us-east-1, prefix", "state", "lost with it"),
        ("prefix: phoenix-dr }", "prefix: /phoenix-dr }", "prefix: /phoenix-dr", "without a slash"),
        (
            "bucket: phoenix-dr-state",
            "bucket: s3://phoenix",
            "s3://phoenix",
            "is not a bucket's name",
        ),
        (
            "profile: phoenix-dr }",
            "profile: phoenix-dr, break_glass: true }\n  - { name: late }",
            "late",
            "comes after break-glass",
        ),
        ("type: CNAME", "type: MX", "type: MX", "`MX` records cannot be moved"),
        (
            "records: { us-east-1: use1, us-west-2: usw2 }",
            "records: { us-east-1: use1 }",
            "records:",
            "us-west-2 has no record",
        ),
        ("us-west-2: usw2 }", "us-west-2: use1 }", "use1", "is us-east-1's record already"),
        ("\"8.8.8.8:53\"", "\"8.8.8.8\"", "8.8.8.8", "`8.8.8.8` is not an address"),
        (
            "    region: us-west-2\n    key: failed-over",
            "    region: us-east-1\n    key: failed-over",
            "region: us-east-1",
            "the failover object is in the primary region",
        ),
        (
            "replica: { id: phoenix-dr-replica, region: us-west-2",
            "replica: { id: phoenix-prod, region: us-east-1",
            "replica:",
            "the replica is the primary",
        ),
        (
            "automated_backup: { region: us-west-2 }\n",
            "automated_backup: { region: us-west-2, arn: arn:x }\n",
            "arn:x",
            "is not an automated backup's ARN",
        ),
        ("id: phoenix-recovered", "id: phoenix-prod", "id: phoenix-prod", "exists already"),
        (
            "backup_retention_days: 7",
            "backup_retention_days: 70",
            "backup_retention_days: 70",
            "0 to 35",
        ),
        (
            "password_from: { env: PHOENIX_DR_DATABASE_PASSWORD }",
            "password_from: { env: X, file: y }",
            "password_from",
            "exactly one of env, file and command",
        ),
        (
            "password_from: { env: PHOENIX_DR_DATABASE_PASSWORD }",
            "password_from: {}",
            "password_from",
            "exactly one of env, file and command",
        ),
        (
            "# before_images: { password_from: { env: PHOENIX_DR_BEFORE_IMAGES_PASSWORD } }",
            "before_images: { password_from: {} }",
            "password_from",
            "exactly one of env, file and command",
        ),
        ("tls: require", "tls: disable", "tls: disable", "not encrypted"),
        (
            EXPERIMENTS,
            "  experiments: { table: { name: a.b.c } }",
            "a.b.c",
            "is not a table's name",
        ),
        (
            EXPERIMENTS,
            "  experiments: { events: { name: 'x; y' } }",
            "x; y",
            "is not a table's name",
        ),
        (EXPERIMENTS, "  experiments: { table: { id: 2nd } }", "2nd", "is not a column's name"),
        (
            EXPERIMENTS,
            "  experiments: { table: { error: name } }",
            "error",
            "the column of `title` already",
        ),
        (
            EXPERIMENTS,
            "  experiments: { table: { name: experiment_events } }",
            "experiments:",
            "this is the table of experiments",
        ),
        (
            EXPERIMENTS,
            "  experiments: { events: { first_sequence: 7 } }",
            "7",
            "7 begins no sequence",
        ),
        (
            EXPERIMENTS,
            "  experiments: { table: { state: null } }",
            "null",
            "expected text, found nothing",
        ),
        (
            "application_roles: [phoenix_app]",
            "application_roles: [phoenix_dr]",
            "application_roles",
            "would lock phoenix-dr out",
        ),
        (
            "  # addresses:",
            "  via: { command: [ssh, bastion.us-east-1], ready: \"127.0.0.1:1\" }\n  # addresses:",
            "via:",
            "leads through us-east-1",
        ),
        (
            "  # addresses:",
            "  via: { command: [ssh] }\n  # addresses:",
            "via:",
            "`ready` is missing",
        ),
        (
            "    # config_map:",
            "    config_map: { namespace: a, name: b, host_key: c }\n    #",
            "application",
            "exactly one of secret, config_map, cname and service",
        ),
        (
            "restart: [phoenix-system/phoenix-api,",
            "restart: [phoenix-api,",
            "restart",
            "`phoenix-api` is not a workload",
        ),
        (
            "us-west-2: { context: eks-us-west-2 }",
            "eu-west-9: { context: eks-us-west-2 }",
            "eu-west-9",
            "not among the estate's regions",
        ),
        (
            "us-west-2: { context: eks-us-west-2 }",
            "us-west-2: { context: eks-us-east-1 }",
            "us-west-2:",
            "is us-east-1's cluster already",
        ),
        (
            "workload: phoenix-system/phoenix-api, replicas: 5",
            "workload: phoenix-system/phoenix-api",
            "API Gateway",
            "no `replicas`",
        ),
        (
            "workload: phoenix-system/dashboard,",
            "workload: phoenix-system/phoenix-api,",
            "Dashboard",
            "belongs to another service",
        ),
        ("name: Dashboard,", "name: Analytics,", "Analytics", "two services are named"),
        (
            "priority: P2, workload: monitoring",
            "priority: P5, workload: monitoring",
            "P5",
            "expected one of P0, P1, P2, P3",
        ),
        (
            "P0: { rto: 30m, rpo: 5m }",
            "P0: { rto: 30, rpo: 5m }",
            "rto: 30",
            "expected a length of time",
        ),
        ("P3: { rto: 4h, rpo: 1h }", "P4: { rto: 4h, rpo: 1h }", "P4", "unknown key `P4`"),
        ("SEV4: { internal: 4h", "SEV5: { internal: 4h", "SEV5", "unknown key `SEV5`"),
    ] {
        let text = refused(&changed(from, to)).render(false);
        assert!(text.contains(said), "{to}: {text}");
        let shown = text.lines().any(|shown| shown.contains(" | ") && shown.contains(line));
        assert!(shown || line == "state" || line == "application", "{to} at {line}: {text}");
    }
}

#[test]
fn a_column_is_there_unless_it_is_said_not_to_be() {
    let text =
        changed(EXPERIMENTS, "  experiments: { table: { config: null }, events: { at: t } }");
    let estate = load::parse("phoenix-dr.yaml", &text).unwrap_or_else(|wrong| panic!("{wrong}"));
    let known = estate.database.expect("a database").experiments.expect("experiments");
    assert_eq!((known.table.config.as_deref(), known.table.title.as_deref()), (None, Some("name")));
    assert_eq!((known.events.at.as_str(), known.events.first_sequence), ("t", 1));
    // A plan keeps the estate: what is read back is the same.
    let kept = serde_json::to_value(&known).expect("JSON");
    assert_eq!(serde_json::from_value::<experiments::Experiments>(kept).expect("read"), known);
}

#[test]
fn what_deserves_a_look_does_not_stop_anything() {
    let text = changed("  P3: { rto: 4h, rpo: 1h }\n", "");
    let text = text.replace("application_roles: [phoenix_app]", "");
    let text = text.replace("phone: \"+1-555-010-0107\"", "name: somebody");
    let (before, after) = text.split_once("state:\n").expect("is there");
    let (_, after) = after.split_once('\n').expect("is there");
    let (_, warnings) = load::examine("phoenix-dr.yaml", &format!("{before}{after}"))
        .unwrap_or_else(|problems| panic!("{problems}"));
    assert!(!warnings.has_errors());
    insta::assert_snapshot!(warnings.render(false), @r"
    warning: the estate has no `state:` section
     --> phoenix-dr.yaml:8:9
      |
    8 | estate: phoenix-production
      |         ^^^^^^^^^^^^^^^^^^
      |
      = help: without a bucket for the lease, two people can start two runs from two machines

    warning: no `application_roles`
      --> phoenix-dr.yaml:92:3
       |
    92 |   connection:
       |   ^^^^^^^^^^
       |
       = help: the fence blocks the application's roles; without their names it cannot prove that it holds

    warning: P3 has no objectives
       --> phoenix-dr.yaml:179:1
        |
    179 | objectives:
        | ^^^^^^^^^^
        |
        = help: services of that priority are restored without anything to measure against

    warning: `AWS Support` has neither phone nor email
       --> phoenix-dr.yaml:193:5
        |
    193 |   - { role: AWS Support, name: somebody }
        |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        |
        = help: nobody can be called
    ");
}

#[test]
fn everything_is_said_at_once() {
    let text = "estate: x\nprimary: { region: us-east-1 }\nregions:\n  us-west-2: { api: nowhere }\ndatabse: {}\n";
    insta::assert_snapshot!(refused(text).render(false), @r"
    error: unknown key `databse`
     --> phoenix-dr.yaml:5:1
      |
    5 | databse: {}
      | ^^^^^^^
      |
      = help: did you mean `database`?
    ");
    let text = "estate: x\nprimary: { region: us-east-1 }\nregions:\n  us-west-2: { api: nowhere, load_balancer: 'a b' }\n";
    insta::assert_snapshot!(refused(text).render(false), @r"
    warning: the estate has no `state:` section
     --> phoenix-dr.yaml:1:9
      |
    1 | estate: x
      |         ^
      |
      = help: without a bucket for the lease, two people can start two runs from two machines

    error: `us-east-1` is not among the estate's regions
     --> phoenix-dr.yaml:2:20
      |
    2 | primary: { region: us-east-1 }
      |                    ^^^^^^^^^
      |
      = help: add it under `regions:`, or use one of us-west-2

    warning: the estate has one region
     --> phoenix-dr.yaml:3:1
      |
    3 | regions:
      | ^^^^^^^
      |
      = help: nothing can take over when it is lost

    error: `nowhere` is not the URL of a server
     --> phoenix-dr.yaml:4:21
      |
    4 |   us-west-2: { api: nowhere, load_balancer: 'a b' }
      |                     ^^^^^^^
      |
      = help: write it like https://api.us-west-2.phoenix.example

    error: `a b` is not an address
     --> phoenix-dr.yaml:4:45
      |
    4 |   us-west-2: { api: nowhere, load_balancer: 'a b' }
      |                                             ^^^^^
      |
      = help: write host or host:port
    ");
}

#[test]
fn plain_connections_stay_on_this_host() {
    let text = changed("tls: require", "tls: disable").replace(
        "  # addresses:",
        "  addresses: { phoenix-prod: \"127.0.0.1:1\", phoenix-dr-replica: \"localhost:2\", phoenix-recovered: \"[::1]:3\" }\n  # addresses:",
    );
    let estate =
        load::parse("phoenix-dr.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(estate.database.map(|database| database.addresses.len()), Some(3));
}

proptest::proptest! {
    #[test]
    fn cut_anywhere_it_is_read_or_refused(at in 0_usize..8_000) {
        let text = init::template();
        let at = at.min(text.len());
        if text.is_char_boundary(at) {
            drop(load::examine("phoenix-dr.yaml", &text[..at]));
        }
    }
}

#[test]
fn the_service_is_asked_by_the_name_that_moves() {
    let estate = load::parse("phoenix-dr.yaml", &init::template()).expect("the template is sound");
    let dns = estate.dns.expect("the template has one");
    assert_eq!(dns.url.as_deref(), Some("https://app.phoenix.example/"));
    assert_eq!(dns.contains, "");

    let name = "  name: app.phoenix.example\n";
    let with = |lines: &str| changed(name, &format!("{name}{lines}"));
    let given = with("  url: http://app.phoenix.example:8080/ready\n  contains: ok\n");
    let dns = load::parse("phoenix-dr.yaml", &given).expect("sound").dns.expect("is there");
    assert_eq!(dns.url.as_deref(), Some("http://app.phoenix.example:8080/ready"));
    assert_eq!(dns.contains, "ok");

    let other = refused(&with("  url: https://status.phoenix.example/\n")).render(false);
    assert!(other.contains("`status.phoenix.example` is not app.phoenix.example"), "{other}");
    let wildcard = refused(&changed(name, "  name: '*.phoenix.example'\n")).render(false);
    assert!(wildcard.contains("a wildcard is no name to ask"), "{wildcard}");
    let covered = "  name: '*.phoenix.example'\n  url: https://app.phoenix.example/\n";
    assert!(load::parse("phoenix-dr.yaml", &changed(name, covered)).is_ok());
}

#[test]
fn whom_a_severity_escalates_to_is_a_contact() {
    let problems = refused(&changed("escalation: VP Engineering", "escalation: Boss"));
    let said = problems.render(false);
    assert!(said.contains("`Boss` is no contact's role") && said.contains("Team Lead"), "{said}");
    let problems = refused(&changed("escalation: Team Lead", "escalation: Team Leed"));
    assert!(problems.render(false).contains("did you mean `Team Lead`?"), "{problems}");
}

#[test]
fn what_deserves_a_look_is_known_of_an_estate_without_its_file() {
    let (estate, warnings) = load::examine("phoenix-dr.yaml", &init::template()).expect("sound");
    assert_eq!((warnings.items.len(), doubts(&estate)), (0, Vec::new()));
    let mut bare = estate.clone();
    bare.services.retain(|service| service.priority != types::Priority::P0);
    bare.state = None;
    let said: Vec<String> = doubts(&bare).into_iter().map(|(message, _)| message).collect();
    assert_eq!(said, ["no P0 service has a workload"], "a missing `state:` is preflight's to say");
}

#[test]
fn a_restored_instance_takes_the_name_where_there_are_instances() {
    let told = "    secret: { namespace: phoenix-system, name: phoenix-db, host_key: host, port_key: port }\n";
    load::parse("phoenix-dr.yaml", &changed(told, "    rename: true\n")).expect("enough by itself");
    let both = changed(told, &format!("{told}    rename: true\n"));
    load::parse("phoenix-dr.yaml", &both).expect("for a failover beside");
    let own = both.replace("  # evidence: /var", "  evidence: /var");
    assert_ne!(own, both);
    let text = refused(&own).render(false);
    assert!(text.contains("only an instance of RDS takes another's name"), "{text}");
}
