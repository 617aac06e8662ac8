//! The RDS actions over real SDK clients and a scripted region.

use serde_json::{Value, json};

use super::restore::{Restore, Source};
use super::testing::{Made, Region, backup, made, region, snapshot};
use super::watch::Watch;
use super::{candidates, promote, protect, recover, restore, restore_snapshot};
use crate::clients::Clients;
use crate::clients::aws::testing::{RUN, Script, armed, call, estate, guarded};
use crate::engine::ports::{Armed, Image, Observation};
use crate::outcome::{ActionError, Effect, FailureClass};
use crate::runbook::catalogue::actions::{
    ChooseRecoveryPoint, PromoteReplica, Protect, Recover, RecoveryMethod, RecoveryPoint,
    RestoreSnapshot,
};
use crate::span::Span;

const WEST: &str = "us-west-2";
const REPLICA: &str = "phoenix-dr-replica";
const TARGET: &str = "phoenix-restored";
const PRIMARY_ARN: &str = "arn:aws:rds:us-east-1:123456789012:db:phoenix-prod";
const OTHER_RUN: &str = "01JD0000000000000000000000";

fn replica(states: &[&'static str]) -> Made {
    made(REPLICA, states).follows(PRIMARY_ARN)
}

fn over(instances: Vec<Made>) -> (Clients, Armed, Script) {
    let (script, _) = region(Region { instances, ..Region::default() });
    let (clients, armed) = armed(estate(|_| {}), &script);
    (clients, armed, script)
}

fn promotion() -> PromoteReplica {
    PromoteReplica { region: WEST.to_owned(), replica: REPLICA.to_owned() }
}

async fn promoted(clients: &Clients) -> Result<Vec<String>, ActionError> {
    let (call, _news) = call("rds.promote_replica");
    let mut notes = Vec::new();
    let mut watch = Watch::new(clients, &call, WEST, REPLICA);
    promote::promoted(clients, &call, &promotion(), &mut watch, &mut notes).await.map(|_| notes)
}

#[tokio::test]
async fn a_promotion_waits_for_the_backup_and_is_requested_once() {
    let (clients, _armed, script) = over(vec![replica(&["backing-up", "backing-up", "available"])]);
    promoted(&clients).await.expect("promoted");
    assert_eq!(script.count("PromoteReadReplica"), 1);
    let actions = script.actions();
    let promote = actions.iter().position(|action| action == "PromoteReadReplica");
    assert_eq!(promote, Some(4), "three looks and the tags come first: {actions:?}");
    let request = &script.sent()[4];
    assert_eq!(request.field("BackupRetentionPeriod").as_deref(), Some("7"));
}

#[tokio::test]
async fn a_promotion_under_way_is_adopted() {
    let mut going = made(REPLICA, &["modifying", "rebooting", "available"]).ours();
    going.source = None;
    let (clients, _armed, script) = over(vec![going]);
    let (call, _news) = call("rds.promote_replica");
    let seen = promote::observe(&clients, &call, &promotion()).await.expect("seen");
    assert!(seen.under_way && !seen.satisfied);
    promoted(&clients).await.expect("promoted");
    assert_eq!(script.count("PromoteReadReplica"), 0);
}

#[tokio::test]
async fn a_wait_ends_by_itself_before_its_attempt_is_ended() {
    let mut going = made(REPLICA, &["modifying"]).ours();
    going.source = None;
    let (clients, _armed, _) = over(vec![going]);
    let (mut call, _news) = call("rds.promote_replica");
    let end = clients.clock.now() + std::time::Duration::from_secs(300);
    call.progress = call.progress.until(end);
    let mut watch = Watch::new(&clients, &call, WEST, REPLICA);
    let error = promote::promoted(&clients, &call, &promotion(), &mut watch, &mut Vec::new())
        .await
        .expect_err("late");
    assert_eq!(error.class, FailureClass::Timeout, "{error}");
    assert!(error.message.contains("still `modifying`"), "{error}");
    assert!(clients.clock.now() < end, "it says why while somebody listens");
}

#[tokio::test]
async fn a_promotion_is_observed_as_it_is() {
    let (clients, _armed, _) = over(vec![replica(&["available"])]);
    let (call, _news) = call("rds.promote_replica");
    let seen = promote::observe(&clients, &call, &promotion()).await.expect("seen");
    assert_eq!(seen.live, json!({ "role": "replica", "source": PRIMARY_ARN }));
    assert!(!seen.satisfied && !seen.under_way);
    assert!(seen.irreversible.is_some_and(|why| why.contains("phoenix-prod")));
    assert!(seen.commands[0].starts_with("aws rds promote-read-replica --region us-west-2"));

    let (clients, _armed, _) = over(vec![made(REPLICA, &["available"])]);
    let seen = promote::observe(&clients, &call, &promotion()).await.expect("seen");
    assert!(seen.satisfied && seen.irreversible.is_none());
    assert_eq!(seen.outputs["instance"], REPLICA);
    assert_eq!(seen.outputs["address"], "phoenix-dr-replica.example:5432");
    assert_eq!(seen.outputs["identity"], "db-phoenix-dr-replica");
}

#[tokio::test]
async fn a_state_that_does_not_pass_fails_at_once() {
    let (clients, _armed, script) = over(vec![replica(&["storage-full"])]);
    let error = promoted(&clients).await.expect_err("bad");
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None));
    assert_eq!(script.count("PromoteReadReplica"), 0);

    let gone_bad = made(REPLICA, &["modifying", "incompatible-network"]).ours();
    let (clients, _armed, _) = over(vec![gone_bad]);
    let error = promoted(&clients).await.expect_err("bad");
    assert!(error.message.contains("incompatible-network"), "{error}");
}

fn from_snapshot() -> Restore {
    Restore {
        region: WEST.to_owned(),
        target: TARGET.to_owned(),
        source: Source::Snapshot { id: "snap".to_owned() },
    }
}

async fn restored(clients: &Clients, wanted: &Restore) -> Result<Vec<String>, ActionError> {
    let (call, _news) = call("rds.restore_snapshot");
    let mut notes = Vec::new();
    let mut watch = Watch::new(clients, &call, WEST, TARGET);
    restore::restored(clients, &call, wanted, &mut watch, &mut notes).await.map(|_| notes)
}

#[tokio::test]
async fn a_restore_names_everything_rds_would_choose() {
    let creates = Some(made(TARGET, &["creating", "backing-up"]).ours());
    let (script, _) = region(Region { creates, ..Region::default() });
    let (clients, _armed) = armed(estate(|_| {}), &script);
    let arn = "arn:aws:rds:us-west-2:123456789012:auto-backup:ab-1";
    let source = Source::Backup { arn: arn.to_owned(), time: None };
    restored(&clients, &Restore { source, ..from_snapshot() }).await.expect("restored");
    let sent = script.sent();
    let request = sent
        .iter()
        .find(|sent| sent.action == "RestoreDBInstanceToPointInTime")
        .expect("one request");
    for (field, value) in [
        ("SourceDBInstanceAutomatedBackupsArn", arn),
        ("TargetDBInstanceIdentifier", TARGET),
        ("UseLatestRestorableTime", "true"),
        ("DBSubnetGroupName", "phoenix-db-subnets"),
        ("VpcSecurityGroupIds.VpcSecurityGroupId.2", "sg-2"),
        ("DBParameterGroupName", "phoenix-postgres15"),
        ("DBInstanceClass", "db.r6g.xlarge"),
        ("MultiAZ", "true"),
        ("DeletionProtection", "true"),
        ("CopyTagsToSnapshot", "true"),
        ("Tags.Tag.1.Key", "phoenix-dr:run"),
        ("Tags.Tag.1.Value", RUN),
        ("Tags.Tag.2.Value", &format!("{RUN}/step/0")),
    ] {
        assert_eq!(request.field(field).as_deref(), Some(value), "{field}");
    }
}

#[tokio::test]
async fn a_restore_whose_answer_was_lost_is_adopted_by_the_next_attempt() {
    let creates = Some(made(TARGET, &["creating", "available"]).ours());
    let (script, _) = region(Region { creates, lose_answer: true, ..Region::default() });
    let (clients, _armed) = armed(estate(|_| {}), &script);
    let lost = restored(&clients, &from_snapshot()).await.expect_err("lost");
    assert_eq!((lost.class, lost.effect), (FailureClass::Transient, Effect::Unknown));
    let (call, _news) = call("rds.restore_snapshot");
    let seen = restore::observe(&clients, &call, &from_snapshot()).await.expect("seen");
    assert!(seen.under_way, "it is being made");
    restored(&clients, &from_snapshot()).await.expect("adopted");
    assert_eq!(script.count("RestoreDBInstanceFromDBSnapshot"), 1);
}

#[tokio::test]
async fn already_exists_is_adopted_only_with_the_tag_of_this_run() {
    for (made, ours) in [
        (made(TARGET, &["available"]).ours(), true),
        (made(TARGET, &["available"]).tagged("phoenix-dr:run", OTHER_RUN), false),
        (made(TARGET, &["available"]), false),
    ] {
        // The first look does not see it yet, and creating it says that it exists.
        let inside = std::sync::Mutex::new(made);
        let (known, _) = region(Region {
            instances: vec![inside.lock().expect("not poisoned").clone()],
            ..Region::default()
        });
        let script = known.clone().hiding_first("DescribeDBInstances");
        let (clients, _armed) = armed(estate(|_| {}), &script);
        let outcome = restored(&clients, &from_snapshot()).await;
        assert_eq!(script.count("RestoreDBInstanceFromDBSnapshot"), 1);
        if ours {
            let notes = outcome.expect("adopted");
            assert!(notes[0].contains("which this run had requested before"), "{notes:?}");
        } else {
            let error = outcome.expect_err("not ours");
            assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None));
        }
    }
}

fn image(before: Value, ours: Value) -> Image {
    let now = Observation::new(ours.clone(), ours.clone());
    Image { before, ours, now }
}

async fn reverted(clients: &Clients, armed: &Armed, before: Value) -> Result<(), ActionError> {
    let (call, _news) = call("rds.restore_snapshot");
    let with = RestoreSnapshot { region: WEST.to_owned(), snapshot: None, target: None };
    let ours = json!({ "exists": true, "run": RUN });
    restore_snapshot::revert(clients, armed, &call, &with, &image(before, ours)).await
}

#[tokio::test]
async fn revert_takes_the_protection_off_and_deletes_what_is_ours() {
    let (clients, armed, script) = over(vec![made(TARGET, &["available"]).ours()]);
    reverted(&clients, &armed, json!({ "exists": false })).await.expect("reverted");
    let changes: Vec<String> =
        script.actions().into_iter().filter(|action| !action.starts_with("Describe")).collect();
    assert_eq!(changes, ["ModifyDBInstance", "DeleteDBInstance"]);
    let sent = script.sent();
    let delete = sent.iter().find(|sent| sent.action == "DeleteDBInstance").expect("a delete");
    assert_eq!(delete.field("SkipFinalSnapshot").as_deref(), Some("true"));
    assert_eq!(script.actions().last().map(String::as_str), Some("DescribeDBInstances"));
}

#[tokio::test]
async fn revert_deletes_nothing_of_anybody_else() {
    let foreign = made(TARGET, &["available"]).tagged("phoenix-dr:run", OTHER_RUN);
    let (clients, armed, script) = over(vec![foreign]);
    let error = reverted(&clients, &armed, json!({ "exists": false })).await.expect_err("foreign");
    assert_eq!(error.class, FailureClass::Conflict);
    let (clients, armed, other) = over(vec![made(TARGET, &["available"]).ours()]);
    reverted(&clients, &armed, json!({ "exists": true, "run": RUN })).await.expect("nothing to do");
    for script in [script, other] {
        assert!(script.actions().iter().all(|action| action == "DescribeDBInstances"));
    }
}

#[tokio::test]
async fn a_dry_run_observes_and_cannot_change() {
    let (script, _) =
        region(Region { instances: vec![replica(&["available"])], ..Region::default() });
    let clients = guarded(estate(|_| {}), &script);
    let (call, _news) = call("rds.promote_replica");
    promote::observe(&clients, &call, &promotion()).await.expect("reads pass");
    let error = promoted(&clients).await.expect_err("refused");
    assert_eq!((error.class, error.effect), (FailureClass::Refused, Effect::None));
    let error = restored(&clients, &from_snapshot()).await.expect_err("refused");
    assert_eq!((error.class, error.effect), (FailureClass::Refused, Effect::None));
    assert!(script.actions().iter().all(|action| action.starts_with("Describe")));
}

fn choice(choose: Option<&str>) -> ChooseRecoveryPoint {
    ChooseRecoveryPoint { region: WEST.to_owned(), choose: choose.map(str::to_owned) }
}

async fn choices(known: Region, choose: Option<&str>) -> Result<Observation, ActionError> {
    let (script, _) = region(known);
    let clients = guarded(estate(|_| {}), &script);
    let (call, _news) = call("rds.choose_recovery_point");
    candidates::observe(&clients, &call, &choice(choose)).await
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
    assert!(seen.evidence.iter().any(|line| line.contains("loss unknown")), "{:?}", seen.evidence);
    let point = RecoveryPoint::of(&seen.choices[1]).expect("a point");
    assert_eq!((point.method, point.source.as_str()), (RecoveryMethod::RestoreSnapshot, "own"));
    assert_eq!(point.target, TARGET);
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

fn promoted_at(instant: &str) -> Region {
    let promoted = made(REPLICA, &["available"])
        .tagged("phoenix-dr:run", OTHER_RUN)
        .tagged("phoenix-dr:promoted-at", instant);
    Region { instances: vec![promoted], ..three() }
}

#[tokio::test]
async fn a_second_run_finds_the_database_recovered() {
    let seen = choices(promoted_at("2026-11-22T02:16:00Z"), None).await.expect("seen");
    assert!(seen.satisfied, "{seen:?}");
    assert_eq!(seen.outputs["reversible"], false);
    let point: RecoveryPoint =
        serde_json::from_value(seen.outputs["point"].clone()).expect("a point");
    let (script, _) = region(promoted_at("2026-11-22T02:16:00Z"));
    let clients = guarded(estate(|_| {}), &script);
    let with = Recover { region: WEST.to_owned(), point: Some(point) };
    let (call, _news) = call("rds.recover");
    let seen = recover::observe(&clients, &call, &with).await.expect("seen");
    assert!(seen.satisfied && seen.irreversible.is_none());
    assert_eq!(seen.outputs["instance"], REPLICA);
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

#[tokio::test]
async fn an_instance_restored_by_an_earlier_run_is_found() {
    let restored = made(TARGET, &["available"])
        .tagged("phoenix-dr:run", OTHER_RUN)
        .tagged("phoenix-dr:source", "own");
    let known = Region { instances: vec![restored, replica(&["available"])], ..three() };
    let seen = choices(known, None).await.expect("seen");
    assert!(seen.satisfied, "made 02:15, after all recovery points: {:?}", seen.evidence);
    assert_eq!(seen.outputs["method"], "restore_snapshot");
    assert_eq!(seen.outputs["point"]["recovered"], true);
}

#[tokio::test]
async fn protection_is_given_and_what_takes_long_is_left_open() {
    let mut bare = made(REPLICA, &["available"]);
    (bare.deletion_protection, bare.multi_az, bare.retention_days) = (false, false, 1);
    let (clients, armed, script) = over(vec![bare]);
    let with = Protect { region: WEST.to_owned(), instance: REPLICA.to_owned() };
    let (call, _news) = call("rds.protect");
    let before = protect::observe(&clients, &call, &with).await.expect("seen");
    assert_eq!(before.differences.len(), 3);
    let done = protect::perform(&clients, &armed, &call, &with, &before).await.expect("protected");
    assert_eq!(done.after, before.desired);
    let open: Vec<&str> = done.obligations.iter().map(|open| open.id.as_str()).collect();
    assert_eq!(open, ["no-replica-phoenix-dr-replica", "no-backup-copy-phoenix-dr-replica"]);
    assert!(done.obligations.iter().all(|open| open.closed_by.is_some()));
    let ours = done.after;
    protect::revert(&clients, &armed, &call, &with, &image(before.live.clone(), ours))
        .await
        .expect("reverted");
    let sent = script.sent();
    let modify = sent.iter().rfind(|sent| sent.action == "ModifyDBInstance").expect("a modify");
    assert_eq!(modify.field("BackupRetentionPeriod").as_deref(), Some("1"));
    assert_eq!(modify.field("MultiAZ").as_deref(), Some("false"));
}
