use crate::sandbox::lines;
use crate::sandbox::tests::phoenix;
use crate::sandbox::world::{parse, parse_whole, shipped};

fn text() -> &'static str {
    shipped("phoenix").expect("it is shipped")
}

/// A wrong value in a body or manifest, and what is said of it.
const WRONG: [(&str, &str, &str); 22] = [
    (
        "AllocatedStorage: 200\n      StorageType: gp3\n      StorageEncrypted",
        "AllocatedStorage: \"200\"\n      StorageType: gp3\n      StorageEncrypted",
        "expected a whole number, found the text `200`",
    ),
    ("AllocatedStorage: 200", "AllocatedStorage: -1", "-1 is too small; at least 0"),
    ("BackupRetentionPeriod: 7", "BackupRetentionPeriod: 36", "36 is too large; at most 35"),
    ("DBInstanceStatus: available", "DBInstanceStatus: availble", "did you mean `available`?"),
    ("Engine: postgres\n", "Engine: postgress\n", "did you mean `postgres`?"),
    ("MultiAZ: true\n", "MultiAZ: \"true\"\n", "expected true or false, found the text `true`"),
    ("Port: 5432 }", "Port: 0 }", "0 is too small; at least 1"),
    (
        "InstanceCreateTime: now-400d",
        "InstanceCreateTime: yesterday",
        "expected an instant such as",
    ),
    ("LatestTime: now-12m", "LatestTime: 2026-13-01T00:00:00Z", "expected an instant such as"),
    ("Status: replicating\n", "Status: replicatin\n", "did you mean `replicating`?"),
    ("PercentProgress: 100", "PercentProgress: 101", "101 is too large; at most 100"),
    ("TTL: 60", "TTL: 2147483648", "2147483648 is too large"),
    ("TTL: 60", "TTL: 1m", "expected a whole number, found the text `1m`"),
    ("Weight: 100", "Weight: 256", "256 is too large; at most 255"),
    ("Type: HTTPS\n", "Type: HTTPSS\n", "did you mean `HTTPS`?"),
    ("RequestInterval: 10", "RequestInterval: 5", "5 is too small; at least 10"),
    ("Inverted: true", "Inverted: yes please", "expected true or false"),
    ("body: { PublicRead: true }", "body: { PublicRaed: true }", "unknown key `PublicRaed`"),
    ("body: { Versioning: Enabled }", "body: { Versioning: enabled }", "did you mean `Enabled`?"),
    (
        "replicas: 1\n          selector",
        "replicas: one\n          selector",
        "not a Deployment: spec.replicas:",
    ),
    (
        "replicas: 1\n          selector",
        "replicas: -1\n          selector",
        "-1 is too small; at least 0",
    ),
    (
        "apiVersion: autoscaling/v1",
        "apiVersion: autoscaling/v3",
        "HorizontalPodAutoscaler is simulated in autoscaling/v1, autoscaling/v2",
    ),
];

#[test]
fn a_wrong_value_is_told_at_its_place() {
    for (from, to, said) in WRONG {
        assert!(text().contains(from), "`{from}` is not in the world");
        let changed = text().replacen(from, to, 1);
        let problems = parse("w.yaml", &*changed).expect_err(said);
        let told = problems.render(false);
        assert!(told.contains(said), "{said}: {told}");
        assert_eq!(problems.items.len(), 1, "{told}");
        // The caret is on the line that was changed.
        let at = text().find(from).expect("it is there");
        let slip = from.bytes().zip(to.bytes()).take_while(|(a, b)| a == b).count();
        let line = changed[..at + slip].matches('\n').count() + 1;
        assert!(told.contains(&format!(" --> w.yaml:{line}:")), "line {line}: {told}");
    }
}

#[test]
fn every_wrong_value_of_a_body_is_told_at_once() {
    let changed = text()
        .replacen("Weight: 100", "Weight: 256", 1)
        .replacen("TTL: 60", "TTL: 1m", 1)
        .replacen("AllocatedStorage: 200", "AllocatedStorage: -1", 1);
    let problems = parse("w.yaml", &*changed).expect_err("three mistakes");
    assert_eq!(problems.items.len(), 3, "{problems}");
}

#[test]
fn a_value_that_comes_later_is_held_to_the_same() {
    let from = "      TagList: []\n  - type: rds.automated_backup";
    let to = "      TagList: []\n    then:\n      - { after: 1m, set: { DBInstanceStatus: stoped, KmsKeyId: null } }\n  - type: rds.automated_backup";
    assert!(text().contains(from));
    let problems = parse("w.yaml", text().replacen(from, to, 1)).expect_err("a status");
    let told = problems.render(false);
    assert!(told.contains("did you mean `stopped`?"), "{told}");
    assert_eq!(problems.items.len(), 1, "null takes a field away: {told}");
}

#[test]
fn manifests_of_lines_are_looked_into_when_a_world_is_checked_and_not_when_it_begins() {
    let written = lines::write(&phoenix());
    let changed = written.replacen("\"replicas\":0", "\"replicas\":\"none\"", 1);
    assert_ne!(written, changed);
    assert!(parse("w.jsonl", &*changed).is_ok(), "a rehearsal begins without decoding it");
    let told = parse_whole("w.jsonl", &*changed).expect_err("replicas").render(false);
    assert!(told.contains("not a Deployment: spec.replicas:"), "{told}");
    let line = changed[..changed.find("\"none\"").expect("it")].matches('\n').count() + 1;
    assert!(told.contains(&format!(" --> w.jsonl:{line}:")), "{told}");
    let other = written.replacen("\"Weight\":100", "\"Weight\":256", 1);
    assert_ne!(written, other);
    assert!(parse("w.jsonl", &*other).is_err(), "what AWS has is looked into at once");
}

#[test]
fn each_kind_of_manifest_is_read_as_its_type() {
    let manifest = |api: &str, kind: &str, more: &str| {
        format!(
            "      - {{ apiVersion: {api}, kind: {kind}, metadata: {{ name: odd, namespace: phoenix-system }}, {more} }}\n"
        )
    };
    for (api, kind, good, bad) in [
        ("v1", "Pod", "spec: { containers: [{ name: a }] }", "spec: { containers: 1 }"),
        ("v1", "Service", "spec: { ports: [{ port: 80 }] }", "spec: { ports: [{ port: http }] }"),
        ("v1", "Secret", "data: { a: aGk= }", "data: { a: 'no base64!' }"),
        ("v1", "ConfigMap", "data: { a: b }", "data: { a: 1 }"),
        ("v1", "Event", "involvedObject: {}, count: 1", "involvedObject: {}, count: many"),
        (
            "apps/v1",
            "StatefulSet",
            "spec: { serviceName: a, replicas: 1, selector: {}, template: {} }",
            "spec: { serviceName: a, replicas: -2, selector: {}, template: {} }",
        ),
        (
            "batch/v1",
            "Job",
            "spec: { parallelism: 1, template: {} }",
            "spec: { parallelism: [1], template: {} }",
        ),
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            "spec: { minReplicas: 2, maxReplicas: 3, scaleTargetRef: { kind: Deployment, name: phoenix-api } }",
            "spec: { minReplicas: 4, maxReplicas: 3, scaleTargetRef: { kind: Deployment, name: phoenix-api } }",
        ),
    ] {
        let with = |more: &str| {
            let at =
                "      - { apiVersion: v1, kind: Namespace, metadata: { name: monitoring } }\n";
            assert!(text().contains(at));
            text().replacen(at, &format!("{at}{}", manifest(api, kind, more)), 1)
        };
        let taken = parse("w.yaml", with(good));
        taken.unwrap_or_else(|problems| panic!("{kind}: {problems}"));
        let problems = parse("w.yaml", with(bad)).expect_err(kind);
        assert_eq!(problems.items.len(), 1, "{problems}");
    }
}

#[test]
fn what_breaks_must_be_there() {
    let from = "    capacity: 40\n";
    let to = "    capacity: 40\n    broken: { phoenix-system/dashbord: CrashLoopBackOff }\n";
    assert!(text().contains(from));
    let told = parse("w.yaml", text().replacen(from, to, 1)).expect_err("it is not there");
    let told = told.render(false);
    assert!(told.contains("did you mean `phoenix-system/dashboard`?"), "{told}");
}
