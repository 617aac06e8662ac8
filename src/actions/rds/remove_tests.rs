//! With what an instance is deleted, by the states RDS shows it in. Nobody has the password here: none says what was written to
//! it.

use serde_json::json;

use super::super::testing::{Made, Region, TARGET, WEST, made, region};
use super::*;
use crate::clients::aws::testing::{RUN, Script, armed, call, estate};
use crate::engine::ports::Observation;
use crate::outcome::Effect;

fn over(states: &[&'static str], throttled: Vec<(&'static str, u32)>) -> (Clients, Script) {
    over_one(made(TARGET, states), throttled)
}

fn over_one(made: Made, throttled: Vec<(&'static str, u32)>) -> (Clients, Script) {
    let instances = vec![made.ours()];
    let (script, _) = region(Region { instances, throttled, ..Region::default() });
    let (clients, _) = armed(estate(|_| {}), &script);
    (clients, script)
}

async fn reverted(clients: &Clients) -> Result<(), ActionError> {
    let (call, _news) = call("rds.restore_snapshot");
    let ours = json!({ "exists": true, "run": RUN });
    let now = Observation::new(ours.clone(), ours.clone());
    let image = Image { before: json!({ "exists": false }), ours, now };
    revert(clients, &call, WEST, TARGET, &image).await
}

#[tokio::test]
async fn only_what_never_came_up_is_deleted_unasked_without_a_last_snapshot() {
    let table: [(&[&'static str], &str); 13] = [
        (&["creating"], "true"),
        (&["storage-full", "creating"], "false"),
        (&["available"], "false"),
        (&["backing-up"], "false"),
        (&["modifying"], "false"),
        (&["maintenance"], "false"),
        (&["rebooting"], "false"),
        (&["renaming"], "false"),
        (&["storage-full"], "false"),
        (&["stopping", "stopped"], "false"),
        (&["incompatible-parameters"], "false"),
        (&["restore-error"], "false"),
        (&["a-state-of-tomorrow"], "false"),
    ];
    for (states, skips) in table {
        // Its protection is taken off at the first look, and it is deleted at the second.
        let (clients, script) = over(states, Vec::new());
        reverted(&clients).await.unwrap_or_else(|error| panic!("{states:?}: {error}"));
        let sent = script.sent();
        let delete = sent.iter().find(|sent| sent.action == "DeleteDBInstance").expect("a delete");
        for field in ["SkipFinalSnapshot", "DeleteAutomatedBackups"] {
            assert_eq!(delete.field(field).as_deref(), Some(skips), "{states:?} {field}");
        }
        let last = delete.field("FinalDBSnapshotIdentifier");
        assert_eq!(last.is_none(), skips == "true", "{states:?}: {last:?}");
    }
}

#[tokio::test]
async fn what_rds_makes_no_snapshot_of_is_left_to_a_person() {
    let table: [(&[&'static str], Effect); 4] = [
        (&["failed"], Effect::None),
        (&["incompatible-restore"], Effect::None),
        (&["incompatible-network"], Effect::None),
        // Its protection is off by then.
        (&["available", "incompatible-network"], Effect::Applied),
    ];
    for (states, effect) in table {
        let (clients, script) = over(states, Vec::new());
        let error = reverted(&clients).await.expect_err("it is kept");
        assert_eq!((error.class, error.effect), (FailureClass::Invalid, effect), "{states:?}");
        assert!(error.message.contains("makes no last snapshot of it"), "{states:?}: {error}");
        let hint = error.hint.unwrap_or_default();
        let of = "--region us-west-2 --db-instance-identifier phoenix-restored";
        assert!(
            hint.contains(&format!("`aws rds delete-db-instance {of} --skip-final-snapshot`")),
            "{states:?}: {hint}"
        );
        let off = format!("aws rds modify-db-instance {of} --no-deletion-protection");
        assert_eq!(hint.contains(&off), effect == Effect::None, "{states:?}: {hint}");
        assert_eq!(script.count("DeleteDBInstance"), 0, "{states:?}");
    }
}

#[tokio::test]
async fn what_failed_before_it_had_an_endpoint_nobody_could_use() {
    for states in [&["incompatible-restore"][..], &["creating", "failed"]] {
        let never_up = Made { came_up: false, ..made(TARGET, states) };
        let (clients, script) = over_one(never_up, Vec::new());
        reverted(&clients).await.unwrap_or_else(|error| panic!("{states:?}: {error}"));
        let sent = script.sent();
        let delete = sent.iter().find(|sent| sent.action == "DeleteDBInstance").expect("a delete");
        assert_eq!(delete.field("SkipFinalSnapshot").as_deref(), Some("true"), "{states:?}");
    }
}

#[tokio::test]
async fn one_that_stays_as_it_is_is_not_asked_about_for_all_the_time_there_is() {
    let (clients, script) = over(&["stopped"], vec![("ModifyDBInstance", 999)]);
    let error = reverted(&clients).await.expect_err("nothing is changed of it");
    assert_eq!((error.class, error.effect), (FailureClass::Throttled, Effect::None), "{error}");
    assert!(error.message.starts_with("phoenix-restored is `stopped`"), "{error}");
    let hint = error.hint.unwrap_or_default();
    assert!(hint.starts_with("start it (`aws rds start-db-instance --region us-west-2 "), "{hint}");
    assert_eq!(script.count("DeleteDBInstance"), 0);
}
