//! What happens when traffic cannot be moved, and when Route 53's control plane is gone with the region.

use serde_json::{Value, json};

use super::dr001::{quick, quick_folder, resume, undisturbed};
use super::estate::{Estate, fresh};
use super::harness::{Folder, of_step};

const PROMOTION: &str = r#"{"transition_seconds": 0.3}"#;
const RESTORE: &str = r#"{"transition_seconds": 0.3, "restore_only": true}"#;
const SWITCH: &str = r#"{"transition_seconds": 0.3, "control_plane_dark": true}"#;

fn denied(service: &str, operation: &str, target: &str) -> Value {
    json!({ "service": service, "operation": operation, "target": target, "action": "error",
            "status": 403, "code": "AccessDenied", "message": "not authorized" })
}

/// Runs with a fault at the traffic step, whatever `--on-failure` says, and returns the folder of the stopped run.
fn stopped_at_traffic(estate: &Estate, on_failure: &str) -> Folder {
    let folder = quick_folder(estate);
    let ran = folder.run(&quick(&["--on-failure", on_failure])).exits(14);
    let (_, events) = folder.journals().remove(0);
    assert_eq!(of_step(&events, "step_failed", "traffic").len(), 1, "{}", ran.err);
    assert!(!events.iter().any(|event| event["kind"] == "revert_started"), "{}", ran.err);
    assert!(ran.out.contains("phoenix-dr resume"), "{}", ran.out);
    folder
}

/// Holds that neither weights nor object were moved, as they are at the failure.
#[track_caller]
fn where_it_was(estate: &Estate, context: &str) {
    let world = estate.world();
    assert_eq!(world["weights"], json!({ "use1": 100, "usw2": 0 }), "{context}");
    assert_eq!(world["switch_present"], false, "{context}");
}

/// Holds that capacity, database and application are in the DR region: all that came before traffic.
#[track_caller]
fn all_but_traffic(estate: &Estate, end: &Value) {
    let mut world = estate.world();
    for later in ["weights", "switch_present"] {
        world[later] = end[later].clone();
    }
    let p0 = ["phoenix-api", "api-gateway", "experiment-controller"];
    for name in p0 {
        assert_eq!(world["workloads"][name], end["workloads"][name], "{name}");
    }
    for part in ["secret", "databases", "instances"] {
        assert_eq!(world[part], end[part], "{part}");
    }
}

/// Makes the traffic step fail with each `--on-failure`: all else stays in the DR region, nothing of traffic has moved,
/// and once the fault is gone `resume` finishes it. Returns the folder of the last run.
fn traffic_fails_before_it_moves(estate: &Estate, options: &str, fault: &Value) -> Folder {
    let end = undisturbed(estate, options);
    let runs = ["auto", "rollback", "stop"].map(|on_failure| {
        estate.post("/reset", options);
        let fault = estate.fault(fault);
        let folder = stopped_at_traffic(estate, on_failure);
        assert_ne!(estate.fired(fault), 0);
        all_but_traffic(estate, &end);
        where_it_was(estate, on_failure);
        estate.no_faults();
        folder.run(&resume(&[])).exits(0);
        estate.settles_into(&end, on_failure);
        assert_eq!(estate.requested("PromoteReadReplica"), 1, "{on_failure}");
        folder
    });
    let [.., last] = runs;
    last
}

#[test]
fn traffic_that_is_refused_after_promotion_rolls_nothing_back_whatever_the_flag() {
    let fault = denied("route53", "ChangeResourceRecordSets", "*");
    let folder = traffic_fails_before_it_moves(&fresh(PROMOTION), PROMOTION, &fault);
    folder.run(&["audit", "--verify"]).exits(0);
}

#[test]
fn traffic_that_moved_and_cannot_be_confirmed_stays_in_the_dr_region_whatever_the_flag() {
    moved_and_not_confirmed(PROMOTION);
}

#[test]
fn traffic_on_a_restored_database_stays_in_the_dr_region_whatever_the_flag() {
    moved_and_not_confirmed(RESTORE);
}

/// The change of the record sets is carried out, its answer is lost, and nobody may read the record sets afterwards.
fn moved_and_not_confirmed(options: &str) {
    let estate = fresh(options);
    let end = undisturbed(&estate, options);
    for on_failure in ["auto", "rollback", "stop"] {
        estate.post("/reset", options);
        let lost = estate.fault(&json!({ "service": "route53", "action": "lost", "times": 1,
                                         "operation": "ChangeResourceRecordSets" }));
        let mut unseen = denied("route53", "ListResourceRecordSets", "*");
        unseen["follows"] = json!(lost);
        let unseen = estate.fault(&unseen);
        let folder = stopped_at_traffic(&estate, on_failure);
        all_but_traffic(&estate, &end);
        assert_eq!(estate.world()["weights"], end["weights"], "{on_failure}");
        assert_ne!(estate.fired(unseen), 0);
        estate.no_faults();
        folder.run(&resume(&[])).exits(0);
        estate.settles_into(&end, on_failure);
        assert_eq!(estate.requested("ChangeResourceRecordSets"), 1, "{on_failure}");
    }
}

#[test]
fn a_failover_object_that_cannot_be_put_leaves_everything_else_in_the_dr_region() {
    let fault = denied("s3", "PutObject", "phoenix-dr-switch/*");
    traffic_fails_before_it_moves(&fresh(SWITCH), SWITCH, &fault);
}

/// The obligations of the newest run, by id.
fn open(folder: &Folder) -> Vec<String> {
    let status = folder.run(&["--output", "json", "status"]).exits(0);
    let status: Value = serde_json::from_str(&status.out).expect("JSON");
    let all = status["obligations"].as_array().expect("obligations");
    all.iter().filter_map(|open| Some(open["id"].as_str()?.to_owned())).collect()
}

#[test]
fn without_route_53_the_failover_object_moves_traffic_and_the_weights_stay_owed() {
    let estate = fresh(SWITCH);
    let folder = quick_folder(&estate);
    folder.run(&quick(&[])).exits(0);
    let world = estate.world();
    assert_eq!(world["switch_present"], true);
    assert_eq!(world["weights"], json!({ "use1": 100, "usw2": 0 }));
    let owed = "records-app.phoenix.example".to_owned();
    assert!(open(&folder).contains(&owed), "{:?}", open(&folder));

    let doctor = || folder.run(&["doctor"]).out;
    assert!(doctor().contains("failover object: whether it moves traffic is not proved"));
    estate.dark("global.route53", false);
    let proved = doctor();
    assert!(proved.contains("inverted,") && proved.contains("/phoenix-dr-switch/"), "{proved}");
    folder.run(&quick(&[])).exits(0);
    let world = estate.world();
    assert_eq!((&world["switch_present"], &world["weights"]["use1"]), (&json!(true), &json!(0)));
    assert_ne!(world["weights"]["usw2"], 0);
    assert!(!open(&folder).contains(&owed), "the second run owes nothing of it");
    // Nobody has to say so: what the first run owed is proved by its check.
    assert!(!folder.run::<&str>(&[]).out.contains(&owed));
}
