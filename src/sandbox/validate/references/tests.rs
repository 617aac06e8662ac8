use super::*;
use crate::sandbox::lines;
use crate::sandbox::tests::phoenix;
use crate::sandbox::world::{parse, shipped};

fn text() -> &'static str {
    shipped("phoenix").expect("it is shipped")
}

#[track_caller]
fn changed(from: &str, to: &str) -> String {
    assert!(text().contains(from), "`{from}` is not in the world");
    text().replacen(from, to, 1)
}

/// A wrong name at each place of the estate that leads to something of the world, and what is said.
const SLIPS: [(&str, &str, &str, &str); 27] = [
    (
        "api: https://api.us-west-2.ph",
        "api: https://ap1.us-west-2.ph",
        "no endpoint `ap1.us-west-2.phoenix.example` in us-west-2",
        "did you mean `api.us-west-2.phoenix.example`?",
    ),
    (
        "us-west-2.phoenix.example\n      load",
        "us-west-2.phoenix.example:8443\n      load",
        "no endpoint `api.us-west-2.phoenix.example:8443`",
        "endpoint `api` of us-west-2 listens on 443",
    ),
    (
        "balancer: phoenix-usw2.",
        "balancer: phoenix-usw3.",
        "no endpoint `phoenix-usw3.elb.us-west-2.amazonaws.com`",
        "did you mean `phoenix-usw2.elb",
    ),
    (
        "subnet_group: phoenix-db-usw2",
        "subnet_group: phoenix-db-usw3",
        "no rds.subnet_group `phoenix-db-usw3` in us-west-2",
        "did you mean `phoenix-db-usw2`?",
    ),
    (
        "002]\n      parameter_group: phoenix-postgres15",
        "002]\n      parameter_group: phoenix-postgres16",
        "no rds.parameter_group `phoenix-postgres16` in us-west-2",
        "did you mean `phoenix-postgres15`?",
    ),
    (
        "s3: { bucket: phoenix-dr-state,",
        "s3: { bucket: phoenix-dr-stat,",
        "no s3.bucket `phoenix-dr-stat` in us-west-2",
        "did you mean `phoenix-dr-state`?",
    ),
    (
        "backups: { bucket: phoenix-backups-usw2",
        "backups: { bucket: phoenix-backups-usw1",
        "no s3.bucket `phoenix-backups-usw1`",
        "did you mean `phoenix-backups-usw2`?",
    ),
    (
        "bucket: phoenix-dr-switch\n      region",
        "bucket: phoenix-dr-swich\n      region",
        "no s3.bucket `phoenix-dr-swich`",
        "did you mean `phoenix-dr-switch`?",
    ),
    (
        "health_check: 01234567-89ab",
        "health_check: 01234567-89ac",
        "no route53.health_check `01234567-89ac-cdef",
        "did you mean `01234567-89ab",
    ),
    (
        "zone: Z0123456789ABCDEFGHIJ",
        "zone: Z0123456789ABCDEFGHIK",
        "no route53.zone `Z0123456789ABCDEFGHIK`",
        "did you mean `Z0123456789ABCDEFGHIJ`?",
    ),
    (
        "us-west-2: usw2 }",
        "us-west-2: usw3 }",
        "no CNAME record of app.phoenix.example with the set identifier `usw3`",
        "did you mean `usw2`?",
    ),
    (
        "name: app.phoenix.example",
        "name: ap.phoenix.example",
        "no CNAME record of ap.phoenix.example with the set identifier `use1`",
        "",
    ),
    (
        "url: http://app.phoenix.example/",
        "url: http://ap.phoenix.example/",
        "`ap.phoenix.example` is not app.phoenix.example",
        "",
    ),
    (
        "id: phoenix-prod\n      region: us-east-1\n      address",
        "id: phoenix-pord\n      region: us-east-1\n      address",
        "no rds.instance `phoenix-pord` in us-east-1",
        "did you mean `phoenix-prod`?",
    ),
    (
        "id: phoenix-dr-replica\n      region: us-west-2\n      address",
        "id: phoenix-dr-replica\n      region: us-east-1\n      address",
        "no rds.instance `phoenix-dr-replica` in us-east-1",
        "`phoenix-dr-replica` is in us-west-2",
    ),
    (
        "address: \"phoenix-dr-replica.c4x5y6",
        "address: \"phoenix-dr-replica.c4x5y7",
        "nothing of `phoenix-dr-replica` answers at `phoenix-dr-replica.c4x5y7",
        "did you mean `phoenix-dr-replica.c4x5y6",
    ),
    (
        "address: \"phoenix-prod.c1x2y3.us-east-1.rds.amazonaws.com",
        "address: \"phoenix-dr-replica.c4x5y6.us-west-2.rds.amazonaws.com",
        "nothing of `phoenix-prod` answers at",
        "it is the address of `phoenix-dr-replica`",
    ),
    (
        "    region: us-west-2\n    id: phoenix-dr-replica\n    body:\n      system",
        "    region: us-east-1\n    id: phoenix-dr-replica\n    body:\n      system",
        "no rds.instance `phoenix-dr-replica` in us-east-1, behind which SQL would find this",
        "`phoenix-dr-replica` is in us-west-2",
    ),
    (
        "application_roles: [phoenix_app]",
        "application_roles: [phoenix_ap]",
        "no role behind postgres phoenix-prod `phoenix_ap`",
        "did you mean `phoenix_app`?",
    ),
    (
        "automated_backup: { region: us-west-2 }",
        "automated_backup: { region: us-west-2, arn: 'arn:aws:rds:us-west-2:123456789012:auto-backup:ab-phoenixprot' }",
        "no rds.automated_backup `arn:",
        "did you mean `arn:",
    ),
    (
        "body:\n      DBInstanceIdentifier: phoenix-prod\n      DBInstanceAutomated",
        "body:\n      DBInstanceIdentifier: phoenix-pro\n      DBInstanceAutomated",
        "no rds.automated_backup of the instance `phoenix-prod` in us-west-2",
        "",
    ),
    (
        "secret: { namespace: phoenix-system, name: phoenix-db,",
        "secret: { namespace: phoenix-system, name: phoenix-dv,",
        "no Secret `phoenix-system/phoenix-dv` in us-west-2",
        "did you mean `phoenix-system/phoenix-db`?",
    ),
    (
        "host_key: host",
        "host_key: hosts",
        "no key of Secret phoenix-system/phoenix-db `hosts` in us-west-2",
        "did you mean `host`?",
    ),
    (
        "restart: [phoenix-system/phoenix-api,",
        "restart: [phoenix-system/phoenix-apy,",
        "no Deployment `phoenix-system/phoenix-apy` in us-west-2",
        "did you mean `phoenix-system/phoenix-api`?",
    ),
    (
        "selector: app=phoenix-api }",
        "selector: app=phoenix }",
        "no workload in phoenix-system whose pods have the labels `app=phoenix` in us-west-2",
        "",
    ),
    (
        "workload: monitoring/prometheus,",
        "workload: monitoring/promtheus,",
        "no Deployment `monitoring/promtheus` in us-west-2",
        "did you mean `monitoring/prometheus`?",
    ),
    (
        "scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: phoenix-api }",
        "scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: phoenix-ap }",
        "autoscaler `phoenix-system/phoenix-api` scales Deployment `phoenix-ap`, which the cluster of us-west-2 does not have",
        "did you mean `phoenix-api`?",
    ),
];

#[test]
fn a_wrong_name_in_the_estate_of_a_world_is_told_at_its_place() {
    for (from, to, said, help) in SLIPS {
        let problems = parse("w.yaml", changed(from, to)).expect_err(said);
        let told = problems.render(false);
        assert!(told.contains(said), "{said}: {told}");
        assert!(told.contains(help), "{help}: {told}");
        assert!(told.contains(" --> w.yaml:"), "{told}");
    }
}

#[test]
fn the_same_is_told_of_a_world_of_lines() {
    let written = lines::write(&phoenix());
    for (from, to, said) in [
        (
            "\"subnet_group\":\"phoenix-db-usw2\"",
            "\"subnet_group\":\"phoenix-db-usw3\"",
            "`phoenix-db-usw3` in us-west-2",
        ),
        (
            "\"workload\":\"monitoring/prometheus\"",
            "\"workload\":\"monitoring/promtheus\"",
            "`monitoring/promtheus`",
        ),
        (
            "\"kind\":\"Deployment\",\"name\":\"phoenix-api\"}",
            "\"kind\":\"Deploymnt\",\"name\":\"phoenix-api\"}",
            "did you mean `Deployment`?",
        ),
    ] {
        assert!(written.contains(from), "{from}");
        let problems = parse("w.jsonl", written.replacen(from, to, 1)).expect_err(said);
        let told = problems.render(false);
        assert!(told.contains(said) && told.contains(" --> w.jsonl:"), "{told}");
        assert_eq!(problems.items.len(), 1, "{told}");
    }
}

#[test]
fn every_wrong_name_is_told_at_once() {
    let text = changed("us-west-2: usw2 }", "us-west-2: usw3 }")
        .replacen("workload: monitoring/prometheus,", "workload: monitoring/promtheus,", 1)
        .replacen("subnet_group: phoenix-db-usw2", "subnet_group: phoenix-db-usw3", 1);
    let problems = parse("w.yaml", &*text).expect_err("three mistakes");
    assert_eq!(problems.items.len(), 3, "{problems}");
}

#[test]
fn a_cluster_of_the_estate_must_be_one_of_the_world() {
    let mut world = phoenix();
    world.clusters.remove("us-east-1");
    let problems = parse("w.yaml", serde_json::to_string(&world).expect("JSON"));
    let told = problems.expect_err("it lacks").render(false);
    assert!(told.contains("no cluster `eks-us-east-1` in us-east-1"), "{told}");
    assert!(told.contains("give the world one: `clusters.us-east-1: {}`"), "{told}");
}

#[test]
fn a_lost_region_may_be_bare_and_one_that_takes_over_may_not() {
    // The primary has no workloads in the shipped world, and need not have them once it is reached again.
    let reached = changed("faults:\n  - { fault: dark, region: us-east-1 }\n", "");
    assert!(parse("w.yaml", &*reached).is_ok());
    let mut world = phoenix();
    let cluster = world.clusters.get_mut("us-west-2").expect("a cluster");
    cluster.objects.clear();
    world.objects.retain(|object| object.kind != Kind::RdsSubnetGroup);
    let said = |world: &World| {
        dangling(world, &Doubts::default()).into_iter().map(|found| found.what).collect::<Vec<_>>()
    };
    let bare = said(&world);
    for what in ["rds.subnet_group phoenix-db-usw2", "Deployment phoenix-system/dashboard"] {
        assert!(bare.contains(&what.to_owned()), "{what}: {bare:?}");
    }
    // What answers but for a few calls was seen.
    world.faults.push("dark,region=us-west-2,spare=3".parse().expect("a fault"));
    assert_eq!(said(&world), bare);
    // Dark as well, it is as nobody could have seen it.
    world.faults.push("dark,region=us-west-2".parse().expect("a fault"));
    assert_eq!(said(&world), [""; 0]);
}

#[test]
fn what_a_world_says_nobody_saw_is_no_mistake() {
    let mut world = phoenix();
    world.objects.retain(|object| object.kind != Kind::RdsParameterGroup);
    let unserved = world.unserved();
    let what: Vec<&str> = unserved.iter().map(|unseen| unseen.what.as_str()).collect();
    assert_eq!(what, ["rds.parameter_group phoenix-postgres15"]);
    world.unseen.extend(unserved);
    assert!(parse("w.jsonl", lines::write(&world)).is_ok());
    // Of another region it would be.
    world.unseen[0].region = Some("us-east-1".to_owned());
    assert!(parse("w.jsonl", lines::write(&world)).is_err());
}

#[test]
fn what_is_only_made_by_a_run_is_not_looked_for() {
    let text = changed("id: phoenix-recovered", "id: phoenix-made-later");
    assert!(parse("w.yaml", &*text).is_ok());
}

#[test]
fn what_lies_in_the_default_namespace_is_found_without_it() {
    let text = text()
        .replace("workload: monitoring/prometheus", "workload: default/prometheus")
        .replace("{ name: prometheus, namespace: monitoring,", "{ name: prometheus,");
    let read = parse("w.yaml", &*text);
    assert!(read.is_ok(), "{:?}", read.err().map(|problems| problems.render(false)));
}
