use crate::runbook::problem::Problems;
use crate::sandbox::lines;
use crate::sandbox::tests::phoenix;
use crate::sandbox::world::{parse, parse_whole, shipped};

fn text() -> &'static str {
    shipped("phoenix").expect("it is shipped")
}

/// Returns the shipped world with words of it replaced, each once.
#[track_caller]
fn but(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text().to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "`{from}` is not in the world");
        text.replacen(from, to, 1)
    })
}

#[track_caller]
fn problems(text: &str) -> Problems {
    parse("w.yaml", text).expect_err("it is not sound")
}

/// Holds that these words are told, in the order of their places, and nothing else.
#[track_caller]
fn tells(problems: &Problems, said: &[&str]) {
    let told: Vec<&str> = problems.items.iter().map(|item| item.message.as_str()).collect();
    assert_eq!(told.len(), said.len(), "{told:#?}");
    for (told, said) in told.iter().zip(said) {
        assert!(told.contains(said), "`{said}` is not in `{told}`");
    }
    let places: Vec<usize> =
        problems.items.iter().map(|item| item.range.as_ref().expect("a place").start).collect();
    assert!(places.is_sorted(), "{places:?}");
}

/// Mistakes at three stages: the shape of the file, the words of a body, a name that leads nowhere.
const STAGES: [(&str, &str); 3] = [
    ("objectives:\n", "objektives:\n"),
    ("TTL: 60", "TTL: 1m"),
    ("workload: monitoring/prometheus,", "workload: monitoring/promtheus,"),
];

#[test]
fn every_shipped_world_is_what_its_name_says() {
    for name in crate::runbook::rehearse::WORLDS {
        let text = shipped(name).expect("it is shipped");
        assert_eq!(parse(name, text).expect("it is sound").world, name);
    }
}

#[test]
fn mistakes_of_three_stages_are_told_at_once() {
    tells(
        &problems(&but(&STAGES)),
        &[
            "no Deployment `monitoring/promtheus`",
            "unknown key `objektives`",
            "found the text `1m`",
        ],
    );
    let more = but(&[
        ("name: phoenix\n    primary:", "name: [phoenix]\n    primary:"),
        ("s3: { bucket: phoenix-dr-state,", "s3: { bucket: Phoenix-DR-state,"),
        ("fault: dark, region: us-east-1", "fault: dark, region: us-east-1, times: 0"),
        ("type: rds.snapshot", "type: rds.snapshoot"),
        ("Weight: 100", "Weight: 256"),
        (
            "scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: phoenix-api }",
            "scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: phoenix-ap }",
        ),
    ]);
    tells(
        &problems(&more),
        &[
            "is not a bucket's name",
            "expected text",
            "times",
            "rds.snapshoot",
            "256 is too large",
            "scales Deployment `phoenix-ap`",
        ],
    );
}

#[test]
fn mistakes_of_three_stages_are_told_at_once_of_lines() {
    let written = lines::write(&phoenix());
    let changes = [
        ("\"workload\":\"monitoring/prometheus\"", "\"workload\":\"monitoring/promtheus\""),
        ("\"objectives\":", "\"objektives\":"),
        ("\"Weight\":100", "\"Weight\":256"),
        ("{\"type\":\"s3.bucket\"", "{\"type\":\"s3.bukket\""),
        ("\"replicas\":0", "\"replicas\":\"none\""),
    ];
    let text = changes.iter().fold(written, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    let found = parse_whole("w.jsonl", &*text).expect_err("it is not sound");
    tells(
        &found,
        &[
            "no Deployment `monitoring/promtheus`",
            "unknown key `objektives`",
            "256 is too large",
            "s3.bukket",
            "not a Deployment: spec.replicas",
        ],
    );
}

/// One mistake each, in what others refer to.
const ALONE: [(&str, &str, &str); 22] = [
    ("type: rds.subnet_group", "type: rds.subnet_gruop", "rds.subnet_gruop"),
    (
        "    region: us-west-2\n    id: phoenix-dr-replica\n    body:\n      DB",
        "    regoin: us-west-2\n    id: phoenix-dr-replica\n    body:\n      DB",
        "unknown key `regoin`",
    ),
    (
        "    region: us-west-2\n    id: phoenix-dr-replica\n    body:\n      DB",
        "    region: us-wset-2\n    id: phoenix-dr-replica\n    body:\n      DB",
        "no region `us-wset-2`",
    ),
    (
        "id: phoenix-prod\n    body:\n      DBInstanceIdentifier: phoenix-prod",
        "id: phoenix-pord\n    body:\n      DBInstanceIdentifier: phoenix-prod",
        "must be the object's id",
    ),
    (
        "id: phoenix-prod\n    body:\n      DBInstanceIdentifier: phoenix-prod",
        "id: phoenix-prod\n    body:\n      DBInstanceIdentifier: 7",
        "expected text",
    ),
    ("ResourceRecordSets:\n", "ResourceRecordsSets: []\n      ResourceRecordSets:\n", ""),
    ("hosts: [api.us-west-2.phoenix.example]", "host: [api.us-west-2.phoenix.example]", "host"),
    (
        "hosts: [api.us-west-2.phoenix.example]",
        "hosts: api.us-west-2.phoenix.example",
        "expected a list",
    ),
    (
        "address: 203.0.113.10\n      ports: [443]",
        "address: 203.0.113.10\n      ports: [https]",
        "expected a whole number",
    ),
    ("address: 203.0.113.10\n", "address: nowhere\n", "`nowhere` is no IP address"),
    ("address: 203.0.113.10\n", "address: 203.0.113.10:443\n", "is no IP address"),
    ("address: 203.0.113.10\n", "address: \"\"\n", "`` is no IP address"),
    (
        "hosts: [api.us-west-2.phoenix.example]",
        "hosts: [api.us-west-2.phoenix.example, \"\"]",
        "a host without a name",
    ),
    (
        "replayed: now-7s\n      roles: { phoenix_app: true }",
        "replayed: now-7s\n      roles: [phoenix_app]",
        "expected a mapping",
    ),
    ("type: route53.health_check", "type: route53.healthcheck", "route53.healthcheck"),
    (
        "type: s3.bucket, region: us-west-2, id: phoenix-dr-state",
        "type: s3.bucket, regin: us-west-2, id: phoenix-dr-state",
        "regin",
    ),
    (
        "kind: Deployment\n        metadata: { name: dashboard",
        "kind: Deploymnt\n        metadata: { name: dashboard",
        "Deploymnt",
    ),
    (
        "      - apiVersion: v1\n        kind: Secret\n        metadata: { name: phoenix-db",
        "      - apiVersion: v2\n        kind: Secret\n        metadata: { name: phoenix-db",
        "`Secret` of `v2` is not simulated",
    ),
    ("data: { host: cGh", "data: { hosts: 7, host: cGh", "not a Secret"),
    (
        "kind: Namespace, metadata: { name: monitoring }",
        "kind: Namespce, metadata: { name: monitoring }",
        "Namespce",
    ),
    (
        "name: dashboard, namespace: phoenix-system",
        "name: dashboard, namespace: phoenix-sytem",
        "no namespace `phoenix-sytem`",
    ),
    (
        "api: https://api.us-west-2.phoenix.example",
        "api: [https://api.us-west-2.phoenix.example]",
        "expected text",
    ),
];

#[test]
fn one_mistake_in_what_others_refer_to_is_told_once() {
    for (from, to, said) in ALONE {
        let changed = but(&[(from, to)]);
        if said.is_empty() {
            // A body of AWS's may say more than the simulation looks at.
            assert!(parse("w.yaml", &*changed).is_ok(), "{to}");
            continue;
        }
        let found = problems(&changed);
        let told: Vec<&str> = found.items.iter().map(|item| item.message.as_str()).collect();
        assert!(told.iter().any(|told| told.contains(said)), "{said}: {told:#?}");
        let own: Vec<&&str> = told
            .iter()
            .filter(|told| told.contains("no ") && told.contains("estate names"))
            .collect();
        assert!(own.is_empty(), "{to}: {told:#?}");
        let refers = told
            .iter()
            .filter(|told| told.contains("the world has no") || told.contains("has no workload"));
        assert_eq!(refers.count(), 0, "{to}: {told:#?}");
    }
}

#[test]
fn a_rule_of_the_estate_is_told_at_its_place() {
    let found =
        problems(&but(&[("s3: { bucket: phoenix-dr-state,", "s3: { bucket: phoenix_dr_state,")]));
    let told = found.render(false);
    assert!(told.contains("`phoenix_dr_state` is not a bucket's name"), "{told}");
    let line = text().lines().position(|line| line.contains("s3: { bucket")).expect("it") + 1;
    assert!(told.contains(&format!(" --> w.yaml:{line}:")), "line {line}: {told}");
}

#[test]
fn what_the_estate_lacks_for_a_mistake_is_not_told_of_again() {
    // What needs the part that could not be read, or stands for it, is no mistake of its own.
    for (from, to, said) in [
        ("primary: { region: us-east-1 }", "primary: { regoin: us-east-1 }", 2),
        ("secret: { namespace: phoenix-system,", "secret: { namespce: phoenix-system,", 2),
        ("failover_object:\n      bucket:", "failover_object:\n      bukket:", 2),
        ("shape: weighted", "shape: weigthed", 1),
        ("  - { fault: dark, region: us-east-1 }", "  - { fault: drak, region: us-east-1 }", 1),
    ] {
        let found = problems(&but(&[(from, to)]));
        assert_eq!(found.items.len(), said, "{to}: {}", found.render(false));
    }
}

/// A name that leads nowhere, or a second thing of one name, and what is said and offered.
const LOOSE: [(&str, &str, &str, &str); 18] = [
    (
        "Identifier: arn:aws:rds:us-east-1:123456789012:db:phoenix-prod",
        "Identifier: arn:aws:rds:us-west-2:123456789012:db:phoenix-prod",
        "no rds.instance `phoenix-prod` in us-west-2, which `phoenix-dr-replica` replicates",
        "`phoenix-prod` is in us-east-1",
    ),
    (
        "Identifier: arn:aws:rds:us-east-1:123456789012:db:phoenix-prod",
        "Identifier: arn:aws:rds:us-east-1:123456789013:db:phoenix-prod",
        "`phoenix-prod` is in account 123456789012, and not in 123456789013",
        "",
    ),
    (
        "Identifier: arn:aws:rds:us-east-1:123456789012:db:phoenix-prod",
        "Identifier: arn:aws:rds:us-east-1:123456789012:db:phoenix-pord",
        "no rds.instance `phoenix-pord` in us-east-1",
        "did you mean `phoenix-prod`?",
    ),
    (
        "Identifier: arn:aws:rds:us-east-1:123456789012:db:phoenix-prod",
        "Identifier: arn:aws:rds:us-eats-1:123456789012:db:phoenix-prod",
        "no rds.instance `phoenix-prod` in us-eats-1",
        "`phoenix-prod` is in us-east-1",
    ),
    (
        "Identifier: arn:aws:rds:us-east-1:123456789012:db:phoenix-prod",
        "Identifier: arn:aws:rds:us-east-1:phoenix-prod",
        "is not the ARN of an instance",
        "write it like arn:aws:rds",
    ),
    (
        "Identifier: arn:aws:rds:us-east-1:123456789012:db:phoenix-prod",
        "Identifier: phoenix-prod",
        "no rds.instance `phoenix-prod` in us-west-2",
        "`phoenix-prod` is in us-east-1",
    ),
    (
        "db:phoenix-dr-replica\"]",
        "db:phoenix-dr-replic\"]",
        "no rds.instance `phoenix-dr-replic` in us-west-2, which `phoenix-prod` replicates",
        "did you mean `phoenix-dr-replica`?",
    ),
    (
        "    region: us-west-2\n    id: phoenix-dr-replica\n    body:\n      system",
        "    region: us-east-1\n    id: phoenix-dr-replica\n    body:\n      system",
        "no rds.instance `phoenix-dr-replica` in us-east-1, behind which SQL would find this",
        "`phoenix-dr-replica` is in us-west-2",
    ),
    (
        "    id: phoenix-dr-replica\n    body:\n      system",
        "    id: phoenix-dr-replicas\n    body:\n      system",
        "no rds.instance `phoenix-dr-replicas` in us-west-2, behind which SQL would find this",
        "did you mean `phoenix-dr-replica`?",
    ),
    (
        "name: phoenix-db, namespace: phoenix-system }\n",
        "name: phoenix-db, namespace: phoenix-sytem }\n",
        "the cluster of us-west-2 has no namespace `phoenix-sytem`",
        "did you mean `phoenix-system`?",
    ),
    (
        "metadata: { name: phoenix-api, namespace: phoenix-system }\n",
        "metadata: { name: phoenix-api, namespace: other }\n",
        "the cluster of us-west-2 has no namespace `other`",
        "give the cluster one: { apiVersion: v1, kind: Namespace, metadata: { name: other } }",
    ),
    (
        "name: prometheus, namespace: monitoring,",
        "name: prometheus, namespace: monitorin,",
        "the cluster of us-west-2 has no namespace `monitorin`",
        "did you mean `monitoring`?",
    ),
    (
        "      ResourceRecordSets:\n",
        "      ResourceRecordSets:\n        - { Name: APP.phoenix.example, Type: CNAME, SetIdentifier: usw2, Weight: 0, TTL: 60, ResourceRecords: [{ Value: a.example }] }\n",
        "the CNAME record app.phoenix.example is there twice with the set identifier `usw2`",
        "a SetIdentifier of its own",
    ),
    (
        "      ResourceRecordSets:\n",
        "      ResourceRecordSets:\n        - { Name: a.phoenix.example., Type: A, TTL: 60, ResourceRecords: [{ Value: 192.0.2.1 }] }\n        - { Name: a.phoenix.example., Type: A, TTL: 60, ResourceRecords: [{ Value: 192.0.2.2 }] }\n",
        "the A record a.phoenix.example is there twice",
        "keep one of the two",
    ),
    (
        "hosts: [api.us-west-2.phoenix.example]",
        "hosts: [api.us-west-2.phoenix.example, api.us-east-1.phoenix.example]",
        "`api.us-east-1.phoenix.example` leads to endpoint `api` of us-east-1 already",
        "give each a name of its own",
    ),
    (
        "Endpoint: { Address: phoenix-dr-replica.c4x5y6.us-west-2.rds.",
        "Endpoint: { Address: phoenix-prod.c1x2y3.us-east-1.rds.",
        "`phoenix-prod.c1x2y3.us-east-1.rds.amazonaws.com` leads to rds.instance `phoenix-prod` of us-east-1 already",
        "give each a name of its own",
    ),
    (
        "security_groups: [sg-0a1b2c3d4e5f60002]",
        "security_groups: [sg-0a1b2c3d4e5f60003]",
        "no ec2.security_group `sg-0a1b2c3d4e5f60003` in us-west-2",
        "did you mean `sg-0a1b2c3d4e5f60002`?",
    ),
    (
        "body: { GroupId: sg-0a1b2c3d4e5f60002 }",
        "body: { GroupId: sg-0a1b2c3d4e5f60020 }",
        "`GroupId` of the body must be the object's id",
        "",
    ),
];

#[test]
fn what_leads_nowhere_or_is_there_twice_is_told_alone_and_at_its_place() {
    for (from, to, said, help) in LOOSE {
        let found = problems(&but(&[(from, to)]));
        let told = found.render(false);
        assert!(told.contains(said), "{said}: {told}");
        assert!(told.contains(help), "{help}: {told}");
        assert_eq!(found.items.len(), 1, "{told}");
    }
}

#[test]
fn manifests_of_lines_lie_in_namespaces_as_well() {
    let written = lines::write(&phoenix());
    let id = "\"id\":\"Deployment/phoenix-system/dashboard\"";
    assert!(written.contains(id));
    let text = written.replacen(id, "\"id\":\"Deployment/phoenix-sytem/dashboard\"", 1).replacen(
        "\"name\":\"dashboard\",\"namespace\":\"phoenix-system\"",
        "\"name\":\"dashboard\",\"namespace\":\"phoenix-sytem\"",
        1,
    );
    let found = parse("w.jsonl", &*text).expect_err("a namespace");
    tells(&found, &["has no namespace `phoenix-sytem`"]);
}

#[test]
fn of_security_groups_a_region_may_show_none() {
    let mut world = phoenix();
    world.objects.retain(|object| object.kind != crate::sandbox::world::Kind::SecurityGroup);
    assert!(parse("w.jsonl", lines::write(&world)).is_ok());
}
