//! Choosing a recovery point over real SDK clients and a scripted region.

use serde_json::{Value, json};

use super::testing::{
    Made, OTHER_RUN, REPLICA, Region, TARGET, WEST, backup, made, region, replica, snapshot,
};
use super::{candidates, restore_snapshot, source};
use crate::clients::aws::testing::{call, estate, guarded};
use crate::engine::ports::{Armed, Observation};
use crate::outcome::{ActionError, Candidate, FailureClass};
use crate::runbook::catalogue::actions::{
    ChooseRecoveryPoint, RecoveryMethod, RecoveryPoint, RestoreSnapshot,
};
use crate::sandbox::tests::Scene;
use crate::span::Span;

fn choice(choose: Option<&str>) -> ChooseRecoveryPoint {
    ChooseRecoveryPoint { region: WEST.to_owned(), choose: choose.map(str::to_owned) }
}

async fn choices(known: Region, choose: Option<&str>) -> Result<Observation, ActionError> {
    let (script, _) = region(known);
    let clients = guarded(estate(out_of_reach), &script);
    let (call, _news) = call("rds.choose_recovery_point");
    candidates::observe(&clients, &call, &choice(choose)).await
}

/// PostgreSQL cannot be asked: there is no way to it.
fn out_of_reach(estate: &mut Value) {
    estate["database"]["via"] = json!({ "command": [] });
}

fn three() -> Region {
    Region {
        instances: vec![replica(&["available"])],
        backups: backup("2026-11-22T02:12:00Z"),
        snapshots: [
            snapshot("copy", "available", "2026-11-22T02:00:00Z", Some("2026-11-21T20:00:00Z")),
            snapshot("own", "available", "2026-11-22T00:08:00Z", None),
            snapshot("half", "creating", "2026-11-22T02:17:00Z", None),
        ]
        .concat(),
        ..Region::default()
    }
}

#[tokio::test]
async fn candidates_are_measured_and_sorted_by_loss() {
    let seen = choices(three(), Some("ask")).await.expect("candidates");
    assert!(!seen.satisfied);
    let found: Vec<_> = seen
        .choices
        .iter()
        .map(|candidate| (candidate.id.as_str(), candidate.loss, candidate.forecast))
        .collect();
    assert_eq!(
        found,
        [
            ("backup", Some(Span::minutes(6)), Some(Span::seconds(2_000))),
            // A copy's own time is when it was copied: its data is older than that of the other.
            ("snapshot", Some(Span::minutes(130)), Some(Span::minutes(10))),
            // Nobody measured it: unknown is worse than any number.
            ("replica", None, Some(Span::minutes(12))),
        ]
    );
    assert!(seen.choices.iter().all(|candidate| candidate.unusable.is_none()));
    for candidate in &seen.choices {
        let head = format!("# {}:", candidate.id);
        assert!(seen.commands.contains(&head), "{head} {:?}", seen.commands);
    }
    assert!(seen.evidence.iter().any(|line| line.contains("loss unknown")), "{:?}", seen.evidence);
    let point = RecoveryPoint::of(&seen.choices[1]).expect("a point");
    assert_eq!((point.method, point.source.as_str()), (RecoveryMethod::RestoreSnapshot, "own"));
    assert_eq!(point.target, TARGET);
}

/// An automated backup that an instance keeps in its own region.
fn own_backup() -> String {
    let arn = "<DBInstanceArn>arn:aws:rds:us-west-2:123456789012:db:phoenix-prod</DBInstanceArn>";
    let own = format!("{arn}<Region>us-west-2</Region><Status>active</Status>");
    backup("2026-11-22T02:12:00Z").replace("<Status>active</Status>", &own)
}

#[tokio::test]
async fn of_what_an_instance_keeps_itself_the_instance_is_named() {
    let known = Region { backups: own_backup(), ..Region::default() };
    let seen = choices(known, Some("backup")).await.expect("one candidate");
    let point = RecoveryPoint::of(&seen.choices[0]).expect("a point");
    assert_eq!(point.method, RecoveryMethod::RestorePointInTime);
    assert_eq!(point.source, "arn:aws:rds:us-west-2:123456789012:db:phoenix-prod");
    let command = seen.commands.iter().find(|line| line.contains("restore-db-instance"));
    let command = command.expect("a command");
    assert!(command.contains("--source-db-instance-identifier phoenix-prod "), "{command}");
    // A run that restored from it is known by that again.
    let source = ("phoenix-dr:source", point.source.as_str());
    let stands = made(TARGET, &["available"]).ours().tagged(source.0, source.1);
    let known = Region { instances: vec![stands], ..Region::default() };
    let seen = choices(known, None).await.expect("candidates");
    let found = seen.choices.iter().find(|candidate| candidate.id == "recovered").expect("there");
    let point = RecoveryPoint::of(found).expect("a point");
    assert_eq!((point.method, point.recovered), (RecoveryMethod::RestorePointInTime, true));
}

#[tokio::test]
async fn of_several_snapshots_the_newest_from_before_the_damage_counts_and_evidence_never() {
    let evidence =
        "<TagList><Tag><Key>phoenix-dr:evidence</Key><Value>phoenix-prod</Value></Tag></TagList>";
    let kept = snapshot("kept", "available", "2026-11-22T02:16:00Z", None);
    let known = || Region {
        snapshots: [
            snapshot("old", "available", "2026-11-21T00:08:00Z", None),
            snapshot("before", "available", "2026-11-22T00:08:00Z", None),
            snapshot("after", "available", "2026-11-22T02:10:00Z", None),
            kept.replace("</DBSnapshot>", &format!("{evidence}</DBSnapshot>")),
        ]
        .concat(),
        ..Region::default()
    };
    for (damaged, expected) in [
        (None, "after"),
        (Some("2026-11-22T02:05:00Z"), "before"),
        // All are from after it: the newest loses least.
        (Some("2026-11-20T02:05:00Z"), "after"),
    ] {
        let (script, _) = region(known());
        let clients = guarded(estate(out_of_reach), &script);
        let damaged = damaged.map(|text| text.parse().expect("an instant"));
        let found = source::snapshots(&clients, WEST, damaged).await.expect("read");
        assert_eq!(found.first.expect("one").id, expected, "{damaged:?}");
        // The others can be chosen as well, but for the evidence.
        let others: Vec<&str> = found.others.iter().map(|found| found.id.as_str()).collect();
        let all = ["after", "before", "old"].into_iter();
        assert_eq!(others, all.filter(|id| *id != expected).collect::<Vec<_>>(), "{damaged:?}");
    }
}

#[tokio::test]
async fn a_named_kind_is_the_only_choice() {
    let seen = choices(three(), Some("snapshot")).await.expect("one candidate");
    assert_eq!(seen.choices.len(), 1);
    let (call, _news) = call("rds.choose_recovery_point");
    let done = candidates::perform(&Armed::mint(), &call, &seen).expect("chosen");
    assert_eq!(done.outputs["method"], "restore_snapshot");
    assert_eq!(done.outputs["reversible"], true);
    assert_eq!(done.outputs["point"]["source"], "own");
    let missing = choices(three(), Some("dump")).await.expect_err("unknown");
    assert_eq!(missing.class, FailureClass::NotFound);
    let unusable = choices(Region::default(), Some("backup")).await.expect_err("none");
    assert!(unusable.message.contains("none is replicated"), "{unusable}");
}

#[tokio::test]
async fn a_named_kind_that_cannot_be_taken_is_chosen_from_all_and_never_replaced() {
    for (gone, named) in [(true, Some("replica")), (true, None), (false, None)] {
        let mut known = three();
        if gone {
            known.instances.clear();
        }
        let seen = choices(known, named).await.expect("candidates");
        assert_eq!(seen.choices.len(), 3, "{named:?}");
        let replica = seen.choices.iter().find(|candidate| candidate.id == "replica");
        let replica = replica.expect("the replica");
        assert_eq!((replica.absent, replica.unusable.is_some()), (gone, gone), "{named:?}");
        let best = Candidate::best(&seen.choices, Span::minutes(24 * 60));
        assert_eq!(best.is_none(), gone, "what the estate names is not there");
    }
}

#[tokio::test]
async fn a_password_that_cannot_be_read_costs_no_lossier_recovery() {
    let (script, _) = region(three());
    let (call, _news) = call("rds.choose_recovery_point");
    let asked = choice(None);
    let clients = guarded(estate(|_| {}), &script);
    let error = candidates::observe(&clients, &call, &asked).await.expect_err("nobody knows");
    assert_eq!(error.class, FailureClass::Credentials, "{error}");
    assert!(error.message.contains("PHOENIX_DB is not set"), "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("password_from")));
    // Who has named another one does not need the replica, and neither does who finds all recovered.
    let seen = candidates::observe(&clients, &call, &choice(Some("backup"))).await;
    assert_eq!(seen.expect("it was named").choices[0].id, "backup");
}

#[test]
fn a_connection_refused_once_costs_no_lossier_recovery() {
    // What is asked, and what is known of the replica's loss after so many refusals.
    for (times, known) in [(0, true), (3, true), (9, false)] {
        let fault = format!("refused@postgres,region={WEST},times={times}");
        let faults = [fault.as_str()];
        let scene = Scene::new(if times == 0 { &[] } else { &faults });
        let (call, _news) = call("rds.choose_recovery_point");
        let asked = choice(Some("replica"));
        let (seen, took) = scene.run(candidates::observe(&scene.clients, &call, &asked));
        let replica = &seen.expect("candidates").choices[0];
        assert_eq!((replica.id.as_str(), replica.loss.is_some()), ("replica", known), "{times}");
        assert!(took < Span::seconds(15).duration(), "a person waits: {took:?}");
    }
}

fn promoted_at(instant: &str) -> Region {
    let promoted = made(REPLICA, &["available"])
        .tagged("phoenix-dr:run", OTHER_RUN)
        .tagged("phoenix-dr:promoted-at", instant);
    Region { instances: vec![promoted], ..three() }
}

#[tokio::test]
async fn a_second_run_finds_the_database_recovered() {
    for pinned in [None, Some("replica")] {
        let seen = choices(promoted_at("2026-11-22T02:16:00Z"), pinned).await.expect("seen");
        assert!(seen.satisfied, "{seen:?}");
        assert_eq!(seen.live["instance"], REPLICA);
        assert_eq!(seen.outputs["reversible"], false);
        assert_eq!(seen.outputs["point"]["recovered"], true);
    }
    // Who names another kind gets it.
    let seen = choices(promoted_at("2026-11-22T02:16:00Z"), Some("backup")).await.expect("seen");
    assert!(!seen.satisfied);
    assert_eq!(seen.choices[0].id, "backup");
    assert!(seen.evidence[0].contains("was promoted by run"), "{:?}", seen.evidence);
}

#[tokio::test]
async fn an_old_promotion_is_not_taken_for_this_recovery() {
    let seen = choices(promoted_at("2026-10-01T00:00:00Z"), None).await.expect("seen");
    assert!(!seen.satisfied, "the primary has gone on since");
    let replica = seen.choices.iter().find(|candidate| candidate.id == "replica");
    let loss = replica.and_then(|candidate| candidate.loss).expect("measured");
    assert!(loss > Span::minutes(60 * 24 * 50), "{loss}");
    assert_eq!(seen.choices[0].id, "backup");
}

/// An instance an earlier run restored from a snapshot, with data until an instant.
fn restored_until(instant: &str) -> Made {
    made(TARGET, &["available"])
        .tagged("phoenix-dr:run", OTHER_RUN)
        .tagged("phoenix-dr:source", "own")
        .tagged("phoenix-dr:data-until", instant)
}

#[tokio::test]
async fn an_instance_restored_by_an_earlier_run_is_found() {
    let known = Region { instances: vec![restored_until("2026-11-22T02:12:00Z")], ..three() };
    let seen = choices(known, None).await.expect("seen");
    assert!(seen.satisfied, "it has all there is: {:?}", seen.evidence);
    assert_eq!(seen.outputs["method"], "restore_snapshot");
    assert_eq!(seen.outputs["point"]["recovered"], true);
}

#[tokio::test]
async fn a_leftover_is_a_candidate_and_never_taken_silently() {
    let until = "2026-11-22T00:08:00Z";
    let untold = made(TARGET, &["available"])
        .tagged("phoenix-dr:run", OTHER_RUN)
        .tagged("phoenix-dr:source", "own");
    let standing = || vec![restored_until("2026-11-22T02:13:00Z")];
    let with_replica = || vec![restored_until("2026-11-22T02:13:00Z"), replica(&["available"])];
    for (known, loss, why) in [
        // A replica that still follows has more than any restore.
        (Region { instances: with_replica(), ..three() }, Some(300), "a replica follows"),
        // Made at 02:15, but its data is two hours old.
        (Region { instances: vec![restored_until(until)], ..three() }, Some(7_800), "old data"),
        (Region { instances: vec![untold], ..three() }, None, "nobody knows how old its data is"),
        (
            Region {
                instances: standing(),
                throttled: vec![("DescribeDBSnapshots", 99)],
                ..three()
            },
            // The looks were made again for six seconds.
            Some(306),
            "a snapshot may be newer: none could be read",
        ),
    ] {
        let seen = choices(known, None).await.expect("seen");
        assert!(!seen.satisfied, "{why}");
        let left = seen.choices.iter().find(|candidate| candidate.id == "recovered").expect(why);
        assert_eq!(left.loss.map(|loss| loss.0.as_secs()), loss, "{why}");
        assert!(left.unusable.is_none() && left.title.contains(OTHER_RUN), "{why}");
        let backup = seen.choices.iter().find(|candidate| candidate.id == "backup").expect(why);
        assert!(backup.unusable.as_ref().is_some_and(|why| why.contains("exists already")));
        let point = RecoveryPoint::of(left).expect("a point");
        assert!(point.recovered && point.target == TARGET, "{why}");
    }
}

#[tokio::test]
async fn a_look_that_fails_in_passing_is_made_again() {
    for action in
        ["DescribeDBInstances", "DescribeDBInstanceAutomatedBackups", "DescribeDBSnapshots"]
    {
        let seen = choices(Region { throttled: vec![(action, 2)], ..three() }, None).await;
        let seen = seen.expect("seen");
        assert!(seen.choices.iter().all(|candidate| candidate.unusable.is_none()), "{action}");
    }
}

#[tokio::test]
async fn where_nothing_can_be_read_nothing_is_known() {
    let throttled = || {
        let looks =
            ["DescribeDBInstances", "DescribeDBInstanceAutomatedBackups", "DescribeDBSnapshots"];
        looks.map(|action| (action, 99)).to_vec()
    };
    // Without a replica there are three looks: all of them failing is no empty list of recovery points.
    for named in [true, false] {
        let (script, _) = region(Region { throttled: throttled(), ..three() });
        let estate = estate(|estate| {
            if !named {
                estate["database"].as_object_mut().expect("a section").remove("replica");
            }
        });
        let clients = guarded(estate, &script);
        let (call, _news) = call("rds.choose_recovery_point");
        let error = candidates::observe(&clients, &call, &choice(None)).await.expect_err("blind");
        assert_eq!(error.class, FailureClass::Throttled, "{named}: {error}");
    }
}

#[tokio::test]
async fn what_a_restore_needs_is_looked_for_before_it_is_chosen() {
    for lacks in ["DBSubnetGroup", "DBParameterGroup"] {
        let seen = choices(Region { lacks: vec![lacks], ..three() }, None).await.expect("seen");
        unrestorable(&seen, &format!("{lacks}NotFoundFault"));
    }
    for part in ["subnet_group", "security_groups", "parameter_group"] {
        let (script, _) = region(three());
        let estate = estate(|estate| {
            let west = &mut estate["regions"]["us-west-2"];
            west.as_object_mut().expect("a region").remove(part);
            out_of_reach(estate);
        });
        let clients = guarded(estate, &script);
        let (call, _news) = call("rds.choose_recovery_point");
        let seen = candidates::observe(&clients, &call, &choice(None)).await.expect("seen");
        unrestorable(&seen, &format!("regions.us-west-2.{part} is missing"));
        let with = RestoreSnapshot {
            region: WEST.to_owned(),
            snapshot: Some("own".to_owned()),
            target: None,
        };
        let error = restore_snapshot::observe(&clients, &call, &with).await;
        let error = error.expect_err("RDS would choose");
        assert_eq!(error.class, FailureClass::Invalid, "{error}");
    }
}

fn unrestorable(seen: &Observation, why: &str) {
    for candidate in &seen.choices {
        let unusable = candidate.unusable.as_deref();
        match candidate.id.as_str() {
            "replica" => assert_eq!(unusable, None, "a promotion needs none of it"),
            _ => assert!(unusable.is_some_and(|said| said.contains(why)), "{unusable:?}"),
        }
    }
}
