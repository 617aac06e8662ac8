//! Every action and check can be done without this program.

use serde_json::json;

use super::*;
use crate::runbook::catalogue::checks::CheckName;
use crate::sandbox::world;

fn estate() -> Estate {
    let text = world::shipped(world::SHIPPED).expect("a world");
    world::parse("phoenix", text).expect("a world").estate
}

/// Arguments that fit every action and check by their names.
fn with() -> Map<String, Value> {
    let with = json!({
        "region": "us-west-2", "to": "us-west-2", "from": "us-east-1", "for": "30s",
        "argv": ["make", "it so", "now"], "undo": ["un", "make it"], "env": { "A": "b c", "S": { "env": "TOKEN" } },
        "address": "db.example:5433", "instance": "phoenix-prod", "replica": "phoenix-dr-replica",
        "file": "my manifest.yaml", "workloads": [{ "workload": "a/b", "replicas": 3 }],
        "say": "Call them", "message": "All is well", "url": "https://a.example/", "holds": 1,
        "of": [{ "check": "tcp", "with": { "address": "a:1", "expect": "unreachable" } }],
        "name": "a.example", "bucket": "b", "key": "k", "namespace": "n", "selector": "app=x",
        "sql": "select 'it''s'",
    });
    with.as_object().expect("an object").clone()
}

#[test]
fn every_action_and_every_check_has_a_command() {
    let (estate, mut with) = (estate(), with());
    for name in ActionName::ALL {
        if name == ActionName::KubernetesRestart {
            with.insert("workloads".to_owned(), json!(["a/b"]));
        }
        let lines = action(&estate, name, &with);
        let real = lines.iter().any(|line| !line.starts_with('#'));
        assert!(real || name == ActionName::Manual, "{}: {lines:?}", name.name());
        assert!(!lines.is_empty(), "{}", name.name());
        with.insert("workloads".to_owned(), json!([{ "workload": "a/b", "replicas": 3 }]));
    }
    with.insert("workloads".to_owned(), json!(["a/b"]));
    for name in CheckName::ALL {
        let lines = checks::check(&estate, name, &with);
        assert!(lines.iter().any(|line| !line.starts_with('#')), "{}: {lines:?}", name.name());
    }
}

#[test]
fn a_dump_in_a_bucket_is_copied_there_and_back() {
    let mut estate = estate();
    let at = json!({ "bucket": "b-1", "region": "us-west-2", "prefix": "p", "work": "/my work" });
    let database = estate.database.as_mut().expect("a database");
    database.dumps = Some(serde_json::from_value(at).expect("a bucket"));
    let mut with = with();
    with.insert("dump".to_owned(), json!("nightly"));
    with.insert("name".to_owned(), json!("nightly"));
    let copy = "aws s3 cp --recursive --region us-west-2";
    let dumped = action(&estate, ActionName::PostgresDump, &with);
    assert!(
        dumped[0].starts_with("pg_dump ") && dumped[0].contains("--file='/my work/nightly.dump'"),
        "{dumped:?}"
    );
    assert_eq!(dumped[1], format!("{copy} '/my work/nightly.dump' s3://b-1/p/nightly.dump"));
    let restored = action(&estate, ActionName::PostgresRestore, &with);
    assert_eq!(restored[0], format!("{copy} s3://b-1/p/nightly.dump '/my work/nightly.dump'"));
    assert!(restored[1].starts_with("createdb "), "{restored:?}");
    let points = action(&estate, ActionName::PostgresChooseRecoveryPoint, &with);
    assert_eq!(points[0], "aws s3 ls --region us-west-2 s3://b-1/p/");
}

#[test]
fn what_reverts_can_be_taken_back_by_hand() {
    let (estate, with) = (estate(), with());
    for name in ActionName::ALL {
        let lines = undo(&estate, name, &with);
        // What only restarts, asks, chooses or waits leaves nothing to take back.
        let nothing = !name.reverts() || !name.changes() || name == ActionName::KubernetesRestart;
        assert_eq!(lines.is_empty(), nothing, "{}: {lines:?}", name.name());
    }
}

#[test]
fn words_are_quoted_and_a_fence_is_one_session() {
    let (estate, with) = (estate(), with());
    assert_eq!(
        action(&estate, ActionName::CommandRun, &with),
        ["A='b c' S=\"$TOKEN\" make 'it so' now"]
    );
    assert_eq!(undo(&estate, ActionName::CommandRun, &with), ["A='b c' S=\"$TOKEN\" un 'make it'"]);
    let fence = action(&estate, ActionName::PostgresFence, &with);
    let sql = fence.iter().find(|line| line.starts_with("psql")).expect("by SQL");
    for part in ["-c 'begin read write' -c", "nologin", "-c commit", "pg_terminate_backend"] {
        assert!(sql.contains(part), "{sql}");
    }
}

#[test]
fn a_fence_of_a_whole_database_leaves_the_roles_of_the_server_alone() {
    let (estate, mut with) = (estate(), with());
    with.insert("scope".to_owned(), json!("database"));
    let there = action(&estate, ActionName::PostgresFence, &with).join("\n");
    let back = undo(&estate, ActionName::PostgresFence, &with).join("\n");
    assert!(there.contains("revoke connect on database") && back.contains("grant connect on"));
    assert!(!there.contains("nologin") && !back.contains("alter role"), "{there}{back}");
}

#[test]
fn a_chosen_point_gives_its_own_commands() {
    let estate = estate();
    for (method, verb) in [
        ("promote", "promote-read-replica"),
        ("restore_point_in_time", "restore-db-instance-to-point-in-time"),
        ("restore_snapshot", "restore-db-instance-from-db-snapshot"),
    ] {
        let point = json!({ "method": method, "source": "s", "target": "t" });
        let mut with = with();
        with.insert("point".to_owned(), point);
        let lines = action(&estate, ActionName::RdsRecover, &with);
        assert!(lines.iter().any(|line| line.contains(verb)), "{lines:?}");
        // The change and the wait; what lifts a fence may have to find the instance first.
        let lifted = lines.iter().position(|line| line.contains("came over"));
        let (before, lifts) = lines.split_at(lifted.expect("it is lifted"));
        assert_eq!(
            before.iter().filter(|line| line.contains("identifier")).count(),
            2,
            "{lines:?}"
        );
        let sql = lifts.iter().find(|line| line.starts_with("psql")).expect("by SQL");
        for part in ["reset default_transaction_read_only", " login"] {
            assert!(sql.contains(part), "{sql}");
        }
    }
}
