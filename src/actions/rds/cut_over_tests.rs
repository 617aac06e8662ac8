//! Renames over real SDK clients and a scripted region: what is left is seen at every point in between.

use std::time::Duration;

use super::super::testing::{Made, OTHER_RUN, Region, Shared, WEST, made, region};
use super::*;
use crate::clients::aws::testing::{Script, armed, call, estate};

const NAME: &str = "phoenix-prod";
const RESTORED: &str = "phoenix-restored";
const KEPT: &str = "phoenix-prod-damaged-20241118-0001";

fn with() -> RdsCutOver {
    let [region, instance, restored] = [WEST, NAME, RESTORED].map(str::to_owned);
    RdsCutOver { region, instance, restored }
}

fn over(instances: Vec<Made>) -> (Clients, Script, Shared) {
    let (script, shared) = region(Region { instances, ..Region::default() });
    let (clients, _) = armed(estate(|_| {}), &script);
    (clients, script, shared)
}

fn two() -> Vec<Made> {
    vec![made(NAME, &["available"]), made(RESTORED, &["available"]).ours()]
}

/// An instance under another name than it was made with.
fn named(of: &str, name: &str, states: &[&'static str]) -> Made {
    Made { resource: format!("db-{of}"), ..made(name, states) }
}

async fn turn(clients: &Clients, of: &str, from: &str, to: &str) -> Result<Instance, ActionError> {
    let (mut call, _news) = call("rds.cut_over");
    call.progress = call.progress.until(clients.clock.now() + Duration::from_secs(300));
    let resource = format!("db-{of}");
    Rename { region: WEST, resource: &resource, from, to }.carried_out(clients, &call).await
}

#[tokio::test]
async fn at_every_point_in_between_it_is_seen_what_is_left() {
    let (call, _news) = call("rds.cut_over");
    let restored = || named(RESTORED, RESTORED, &["available"]).ours();
    let (damaged, new) = (json!("db-phoenix-prod"), json!("db-phoenix-restored"));
    let done = json!({ NAME: new, RESTORED: null, KEPT: damaged });
    for (instances, live, under_way) in [
        (two(), json!({ NAME: damaged, RESTORED: new, KEPT: null }), false),
        (
            vec![named(NAME, KEPT, &["renaming"]), restored()],
            json!({ NAME: null, RESTORED: new, KEPT: damaged }),
            true,
        ),
        (
            vec![named(NAME, KEPT, &["available"]), named(RESTORED, NAME, &["renaming"]).ours()],
            done.clone(),
            true,
        ),
    ] {
        let (clients, script, _) = over(instances);
        let seen = observe(&clients, &call, &with()).await.expect("observed");
        assert_eq!((&seen.live, &seen.desired), (&live, &done));
        assert_eq!((seen.satisfied, seen.under_way), (false, under_way), "{live}");
        assert!(seen.commands[0].contains(&format!("--new-db-instance-identifier {KEPT}")));
        assert_eq!(script.count("ModifyDBInstance"), 0);
    }
    // Between its two names an instance may show under neither: that passes.
    for instances in [vec![restored()], vec![named(NAME, KEPT, &["available"])]] {
        let (clients, ..) = over(instances);
        let error = observe(&clients, &call, &with()).await.expect_err("nobody knows");
        assert_eq!(error.class, FailureClass::Transient, "{error}");
    }
    let (clients, ..) = over(vec![made(NAME, &["available"])]);
    let error = observe(&clients, &call, &with()).await.expect_err("nothing takes the name");
    assert_eq!(error.class, FailureClass::NotFound, "{error}");
    let theirs = made(RESTORED, &["available"]).tagged("phoenix-dr:run", OTHER_RUN);
    let (clients, ..) = over(vec![made(NAME, &["available"]), theirs]);
    let error = observe(&clients, &call, &with()).await.expect_err("not this run's");
    assert_eq!(error.class, FailureClass::Conflict, "{error}");
}

#[tokio::test]
async fn a_rename_is_requested_once_and_waited_for() {
    let busy = vec![made(NAME, &["backing-up", "modifying", "available"])];
    for (instances, requests) in
        [(two(), 1), (busy, 2), (vec![named(NAME, KEPT, &["renaming"])], 0)]
    {
        let (clients, script, _) = over(instances);
        let found = turn(&clients, NAME, NAME, KEPT).await;
        // What was requested before is still on its way.
        if requests == 0 {
            let error = found.expect_err("it stays so");
            assert_eq!(error.class, FailureClass::Overdue, "{error}");
            continue;
        }
        assert_eq!(found.expect("renamed").id, KEPT);
        assert_eq!(script.count("ModifyDBInstance"), requests);
        let sent = script.sent();
        let last = sent.iter().rfind(|sent| sent.action == "ModifyDBInstance").expect("sent");
        for (field, value) in [
            ("DBInstanceIdentifier", NAME),
            ("NewDBInstanceIdentifier", KEPT),
            ("ApplyImmediately", "true"),
        ] {
            assert_eq!(last.field(field).as_deref(), Some(value));
        }
    }
    // Its answer was lost.
    let (clients, script, shared) = over(two());
    shared.lock().expect("not poisoned").lose_answer = true;
    turn(&clients, NAME, NAME, KEPT).await.expect("it shows");
    assert_eq!(script.count("ModifyDBInstance"), 1);
}

#[tokio::test]
async fn a_name_that_is_taken_or_was_changed_by_others_is_left_alone() {
    let taken = vec![made(NAME, &["available"]), made(KEPT, &["available"])];
    let (clients, _, shared) = over(taken);
    let error = turn(&clients, NAME, NAME, KEPT).await.expect_err("taken");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None), "{error}");
    let names: Vec<String> =
        shared.lock().expect("not poisoned").instances.iter().map(|made| made.id.clone()).collect();
    assert_eq!(names, [NAME, KEPT]);
    let (clients, script, _) = over(vec![named(NAME, "third", &["available"])]);
    let error = turn(&clients, NAME, NAME, KEPT).await.expect_err("somebody else");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None), "{error}");
    assert!(error.message.contains("is named third now"), "{error}");
    assert_eq!(script.count("ModifyDBInstance"), 0);
}

#[test]
fn the_damaged_instance_is_kept_under_a_dated_name_that_rds_takes() {
    let (call, _news) = call("rds.cut_over");
    assert_eq!(kept(NAME, &call), KEPT);
    let long = kept(&"a-".repeat(31), &call);
    assert!(long.len() <= NAME_MAX && !long.contains("--"), "{long}");
    assert!(long.ends_with("-damaged-20241118-0001"), "{long}");
}
