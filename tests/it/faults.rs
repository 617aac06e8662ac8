//! Faults of the services on the way: lost answers, throttling, conflicts. Each run ends 0 with one effect.

use serde_json::{Value, json};

use super::dr001::{quick, quick_folder, undisturbed};
use super::estate::{Estate, fresh};
use super::harness::of_step;

const PROMOTION: &str = r#"{"transition_seconds": 0.3}"#;
const RESTORE: &str = r#"{"transition_seconds": 0.3, "restore_only": true}"#;

/// Runs with these faults, each of which must be met, and compares with a run that met none.
fn survives(options: &str, faults: &[Value]) -> super::estate::Lent {
    let estate = fresh(options);
    let end = undisturbed(&estate, options);
    let numbers: Vec<u64> = faults.iter().map(|fault| estate.fault(fault)).collect();
    let folder = quick_folder(&estate);
    folder.run(&quick(&[])).exits(0);
    for (fault, number) in faults.iter().zip(numbers) {
        assert_eq!(json!(estate.fired(number)), fault["times"], "{fault}");
    }
    estate.settles_into(&end, "after faults");
    let (_, events) = folder.journals().remove(0);
    for step in ["capacity", "repoint", "traffic"] {
        assert_eq!(of_step(&events, "step_finished", step)[0]["end"], "done", "{step}");
    }
    estate
}

#[test]
fn a_promotion_whose_answer_is_lost_is_found_out_and_not_asked_for_twice() {
    let lost = json!({ "service": "rds", "operation": "PromoteReadReplica", "action": "lost", "times": 1 });
    let estate = survives(PROMOTION, &[lost]);
    assert_eq!(estate.requested("PromoteReadReplica"), 1);
}

#[test]
fn a_restore_whose_answer_is_lost_is_adopted() {
    let restore = "RestoreDBInstanceToPointInTime";
    let lost = json!({ "service": "rds", "operation": restore, "action": "lost", "times": 1 });
    let estate = survives(RESTORE, &[lost]);
    assert_eq!(estate.requested(restore), 1);
    assert_eq!(instances(&estate), ["phoenix-recovered"]);
}

#[test]
fn a_restore_that_is_not_shown_at_first_is_adopted_at_the_latest_when_it_already_exists() {
    let restore = "RestoreDBInstanceToPointInTime";
    let estate = fresh(RESTORE);
    let end = undisturbed(&estate, RESTORE);
    let lost = json!({ "service": "rds", "operation": restore, "action": "lost", "times": 1 });
    let lost = estate.fault(&lost);
    // As on AWS for a moment: made, and shown nowhere yet.
    let hidden = estate.fault(&json!({
        "service": "rds", "operation": "DescribeDBInstances", "target": "phoenix-recovered",
        "region": "us-west-2", "follows": lost, "times": 2, "action": "error", "status": 404,
        "code": "DBInstanceNotFound", "message": "DBInstance phoenix-recovered not found.",
    }));
    quick_folder(&estate).run(&quick(&[])).exits(0);
    assert_eq!((estate.fired(lost), estate.fired(hidden)), (1, 2));
    // Asked for again it is refused as existing; that is then known to be this run's own.
    assert!(estate.requested(restore) <= 2);
    assert_eq!(instances(&estate), ["phoenix-recovered"]);
    estate.settles_into(&end, "adopted");
}

fn instances(estate: &Estate) -> Vec<String> {
    let all = estate.get("/state")["instances"].clone();
    all.as_object().expect("instances").keys().cloned().collect()
}

#[test]
fn throttling_unfinished_changes_and_stale_versions_are_tried_again() {
    let stale = "the object has been modified; please apply your changes to the latest version";
    let conflict = |operation: &str| {
        json!({ "service": "kubernetes", "operation": operation, "action": "error", "status": 409,
                "message": stale, "times": 1 })
    };
    let change = "ChangeResourceRecordSets";
    let estate = survives(
        PROMOTION,
        &[
            json!({ "service": "route53", "operation": change, "action": "throttle", "times": 2 }),
            json!({ "service": "route53", "operation": change, "action": "error", "status": 400, "times": 1,
                    "code": "PriorRequestNotComplete", "message": "a change of the zone is still under way" }),
            json!({ "service": "rds", "operation": "PromoteReadReplica", "action": "throttle", "times": 1 }),
            conflict("patch horizontalpodautoscalers"),
            conflict("patch deployments/scale"),
            conflict("patch secrets"),
        ],
    );
    // The faulty ones were refused at the door; one of each got through.
    let through = |operation: &str| {
        let all = estate.mutating();
        all.iter().filter(|call| call["action"] == operation && call["status"] == 200).count()
    };
    assert_eq!(through("PromoteReadReplica"), 1);
    assert_eq!(through(change), 1);
}
