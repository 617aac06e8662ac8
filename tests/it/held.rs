//! The real binary killed while a request it made has been carried out and its answer is still due.
//!
//! That is the worst moment: the world has changed, and the journal only says that it was about to be.

use serde_json::json;

use super::dr001::{quick, quick_folder, resume, undisturbed};
use super::estate::{Lent, fresh};
use super::harness::Folder;

const PROMOTION: &str = r#"{"transition_seconds": 0.3}"#;
const RESTORE: &str = r#"{"transition_seconds": 0.3, "restore_only": true}"#;

/// Kills the run once the server has done what this operation asks for, resumes it, and compares the ends.
fn killed_while(options: &str, service: &str, operation: &str) -> Lent {
    let estate = fresh(options);
    let end = undisturbed(&estate, options);
    let folder: Folder = quick_folder(&estate);
    let held = json!({ "service": service, "operation": operation, "action": "hold", "times": 1 });
    let held = estate.fault(&held);
    let mut child = estate.keeps_back(held, folder.start(&quick(&[])), operation);
    child.kill().expect("kill it");
    child.wait().expect("it is gone");
    estate.no_faults();
    let ran = folder.run(&resume(&[]));
    assert_eq!(ran.exit, 0, "{operation}:\n{}\n{}", ran.out, ran.err);
    estate.settles_into(&end, operation);
    folder.run(&["audit", "--verify"]).exits(0);
    estate
}

#[test]
fn a_promotion_under_way_when_the_program_is_killed_is_not_asked_for_again() {
    let estate = killed_while(PROMOTION, "rds", "PromoteReadReplica");
    assert_eq!(estate.requested("PromoteReadReplica"), 1);
}

#[test]
fn a_restore_under_way_when_the_program_is_killed_is_adopted() {
    let estate = killed_while(RESTORE, "rds", "RestoreDBInstanceToPointInTime");
    assert_eq!(estate.requested("RestoreDBInstanceToPointInTime"), 1);
}

#[test]
fn what_was_done_when_the_program_was_killed_is_seen_and_not_undone_or_done_twice() {
    for (service, operation) in [
        ("kubernetes", "patch horizontalpodautoscalers"),
        ("kubernetes", "patch deployments/scale"),
        ("kubernetes", "patch secrets"),
        ("kubernetes", "patch deployments"),
        ("route53", "ChangeResourceRecordSets"),
        ("rds", "ModifyDBInstance"),
        ("s3", "PutObject"),
    ] {
        let estate = killed_while(PROMOTION, service, operation);
        assert_eq!(estate.requested("PromoteReadReplica"), 1, "{operation}");
    }
}
