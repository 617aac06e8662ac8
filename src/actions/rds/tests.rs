//! The RDS actions over real SDK clients and a scripted region.

use std::time::Duration;

use serde_json::{Value, json};

use super::promote::Request;
use super::restore::{Restore, Source};
use super::testing::{
    Made, OTHER_RUN, PRIMARY_ARN, REPLICA, Region, TARGET, WEST, made, region, replica,
};
use super::watch::Watch;
use super::{promote, protect, restore, restore_snapshot};
use crate::clients::Clients;
use crate::clients::aws::testing::{RUN, Script, Sent, armed, call, estate, guarded};
use crate::clock::since;
use crate::engine::ports::{Armed, Image, Observation};
use crate::outcome::{ActionError, Effect, FailureClass};
use crate::runbook::catalogue::actions::{PromoteReplica, Protect, RestoreSnapshot};

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
    let with = promotion();
    let asked = Request { call: &call, with: &with, allowed: true };
    promote::promoted(clients, asked, &mut watch, &mut notes).await.map(|_| notes)
}

#[tokio::test]
async fn a_promotion_waits_for_the_backup_and_is_requested_once() {
    let (clients, _armed, script) = over(vec![replica(&["backing-up", "backing-up", "available"])]);
    promoted(&clients).await.expect("promoted");
    assert_eq!(script.count("PromoteReadReplica"), 1);
    let actions = script.actions();
    let promote = actions.iter().position(|action| action == "PromoteReadReplica");
    // The fourth and fifth look are for where its source is, in each region.
    assert_eq!(promote, Some(6), "five looks and the tags come first: {actions:?}");
    let request = &script.sent()[6];
    assert_eq!(request.field("BackupRetentionPeriod").as_deref(), Some("7"));
}

#[tokio::test]
async fn a_promotion_that_a_backup_holds_up_is_consented_to_anew() {
    let (clients, _armed, script) = over(vec![replica(&["backing-up"])]);
    let error = promoted(&clients).await.expect_err("what it rests on is old");
    assert_eq!((error.class, error.effect), (FailureClass::Unproved, Effect::None), "{error}");
    assert_eq!(script.count("PromoteReadReplica"), 0);
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
    let end = clients.clock.now() + Duration::from_secs(300);
    call.progress = call.progress.until(end);
    let mut watch = Watch::new(&clients, &call, WEST, REPLICA);
    let with = promotion();
    let asked = Request { call: &call, with: &with, allowed: true };
    let error =
        promote::promoted(&clients, asked, &mut watch, &mut Vec::new()).await.expect_err("late");
    assert_eq!(error.class, FailureClass::Overdue, "{error}");
    assert!(error.message.contains("still `modifying`"), "{error}");
    assert!(clients.clock.now() < end, "it says why while somebody listens");

    // An attempt of this run before asked for it, and RDS is at it: that is no failure without an effect.
    let asked =
        replica(&["modifying"]).ours().tagged("phoenix-dr:promoted-at", "2026-11-22T02:10:00Z");
    let (clients, _armed, script) = over(vec![asked]);
    call.progress = call.progress.until(clients.clock.now() + Duration::from_secs(300));
    let mut watch = Watch::new(&clients, &call, WEST, REPLICA);
    let asked = Request { call: &call, with: &with, allowed: true };
    let error =
        promote::promoted(&clients, asked, &mut watch, &mut Vec::new()).await.expect_err("late");
    assert_eq!((error.class, error.effect), (FailureClass::Overdue, Effect::Applied), "{error}");
    assert_eq!(script.count("PromoteReadReplica"), 0);
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
    assert!(!seen.satisfied && !seen.under_way, "somebody else did it: that is asked about");
    assert!(seen.irreversible.is_some_and(|why| why.contains("can never follow again")));
    assert!(seen.evidence[2].contains("cannot be asked"), "{:?}", seen.evidence);
    assert_eq!(seen.outputs["instance"], REPLICA);
    assert_eq!(seen.outputs["address"], "phoenix-dr-replica.example:5432");
    assert_eq!(seen.outputs["identity"], "db-phoenix-dr-replica");
}

#[tokio::test]
async fn a_replica_is_not_promoted_where_what_was_agreed_to_stood_alone() {
    // The look said it follows nobody, and it does after all: nobody was asked about a promotion.
    let (clients, armed, script) = over(vec![replica(&["available"])]);
    let (call, _news) = call("rds.promote_replica");
    let mut seen = promote::observe(&clients, &call, &promotion()).await.expect("seen");
    seen.live = json!({ "role": "standalone" });
    let error = promote::perform(&clients, &armed, &call, &promotion(), &seen)
        .await
        .expect_err("it must be asked about");
    assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::None), "{error}");
    assert_eq!(script.count("PromoteReadReplica"), 0);
}

#[tokio::test]
async fn an_instance_promoted_after_this_runs_request_was_refused_is_not_this_runs() {
    let alone = made(REPLICA, &["available"]).ours().tagged("phoenix-dr:promoted-at", "refused");
    let (clients, _armed, _) = over(vec![alone]);
    let (call, _news) = call("rds.promote_replica");
    let seen = promote::observe(&clients, &call, &promotion()).await.expect("seen");
    assert!(!seen.under_way && seen.irreversible.is_some());
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
async fn a_database_of_the_region_is_restored_by_its_name_to_the_instant_that_was_chosen() {
    let creates = Some(made(TARGET, &["creating", "backing-up"]).ours());
    let (script, _) = region(Region { creates, ..Region::default() });
    let (clients, _armed) = armed(estate(|_| {}), &script);
    let arn = "arn:aws:rds:us-east-1:123456789012:db:phoenix-prod".to_owned();
    let time = Some(aws_smithy_types::DateTime::from_secs(1_795_313_100));
    let source = Source::Backup { arn, time };
    restored(&clients, &Restore { source, ..from_snapshot() }).await.expect("restored");
    let sent = script.sent();
    let request = sent
        .iter()
        .find(|sent| sent.action == "RestoreDBInstanceToPointInTime")
        .expect("one request");
    for (field, value) in [
        ("SourceDBInstanceIdentifier", Some("phoenix-prod")),
        ("SourceDBInstanceAutomatedBackupsArn", None),
        ("RestoreTime", Some("2026-11-22T02:05:00Z")),
        ("UseLatestRestorableTime", None),
        ("Tags.Tag.3.Value", Some("arn:aws:rds:us-east-1:123456789012:db:phoenix-prod")),
        ("Tags.Tag.4.Value", Some("2026-11-22T02:05:00Z")),
    ] {
        assert_eq!(request.field(field).as_deref(), value, "{field}");
    }
}

#[tokio::test]
async fn a_lost_answer_is_looked_for_before_anybody_says_that_nothing_was_made() {
    let creates = Some(made(TARGET, &["creating", "available"]).ours());
    let (script, _) = region(Region { creates, lose_answer: true, ..Region::default() });
    let (clients, _armed) = armed(estate(|_| {}), &script);
    let notes = restored(&clients, &from_snapshot()).await.expect("adopted");
    assert!(notes[0].contains("which this run had requested before"), "{notes:?}");
    assert_eq!(script.count("RestoreDBInstanceFromDBSnapshot"), 1);

    // Nothing shows: unknown all the same, and looked for a whole minute.
    let (script, _) = region(Region { lose_answer: true, ..Region::default() });
    let (clients, _armed) = armed(estate(|_| {}), &script);
    let began = clients.clock.now();
    let lost = restored(&clients, &from_snapshot()).await.expect_err("lost");
    assert_eq!((lost.class, lost.effect), (FailureClass::Transient, Effect::Unknown));
    assert!(lost.message.contains("RestoreDBInstanceFromDBSnapshot"), "{lost}");
    assert!(since(began, clients.clock.now()) > Duration::from_secs(60));
    // What shows and is somebody else's was not made by the request.
    let creates = Some(made(TARGET, &["creating"]).tagged("phoenix-dr:run", OTHER_RUN));
    let (script, _) = region(Region { creates, lose_answer: true, ..Region::default() });
    let (clients, _armed) = armed(estate(|_| {}), &script);
    let foreign = restored(&clients, &from_snapshot()).await.expect_err("not ours");
    assert_eq!(foreign.class, FailureClass::Conflict);
}

#[tokio::test]
async fn a_promotion_whose_answer_was_lost_is_adopted_when_it_shows() {
    for (stale, adopted) in [(0, true), (12, true), (1_000, false)] {
        let known = Region {
            instances: vec![replica(&["available"])],
            lose_answer: true,
            stale,
            ..Region::default()
        };
        let (script, _) = region(known);
        let (clients, _armed) = armed(estate(|_| {}), &script);
        let outcome = promoted(&clients).await;
        assert_eq!(script.count("PromoteReadReplica"), 1, "{stale}");
        match outcome {
            Ok(notes) => assert!(adopted, "{notes:?}"),
            Err(error) => {
                assert!(!adopted, "{error}");
                assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::Unknown));
            }
        }
    }
}

#[tokio::test]
async fn a_promotion_that_is_refused_for_now_is_asked_for_again_at_once() {
    for (code, times) in [("Throttling", 1), ("InvalidDBInstanceState", 3)] {
        let instances = vec![replica(&["available"])];
        let (script, _) = region(Region { instances, refuses: (code, times), ..Region::default() });
        let (clients, _armed) = armed(estate(|_| {}), &script);
        let began = clients.clock.now();
        promoted(&clients).await.expect("promoted");
        assert_eq!(script.count("PromoteReadReplica"), times + 1);
        let waited = since(began, clients.clock.now());
        assert!(waited < Duration::from_secs(60), "{code}: it holds nobody up: {waited:?}");
    }
    for (code, requests) in [("Throttling", 13), ("AccessDenied", 1)] {
        let instances = vec![replica(&["available"])];
        let (script, _) = region(Region { instances, refuses: (code, 99), ..Region::default() });
        let (clients, _armed) = armed(estate(|_| {}), &script);
        let error = promoted(&clients).await.expect_err("refused");
        assert_eq!(error.effect, Effect::None, "{error}");
        assert_eq!(script.count("PromoteReadReplica"), requests);
        let (call, _news) = call("rds.promote_replica");
        let seen = promote::observe(&clients, &call, &promotion()).await.expect("seen");
        assert!(!seen.under_way, "{code}: nothing was taken that had to be waited for");
    }
}

#[tokio::test]
async fn a_promotion_this_run_has_just_requested_is_waited_for() {
    let asked = |at: &str| replica(&["available"]).ours().tagged("phoenix-dr:promoted-at", at);
    let (clients, _armed, script) = over(vec![asked("2026-11-22T02:17:00Z")]);
    let (call, _news) = call("rds.promote_replica");
    let seen = promote::observe(&clients, &call, &promotion()).await.expect("seen");
    assert!(seen.under_way && !seen.satisfied, "a minute ago: RDS may not show it yet");
    let began = clients.clock.now();
    promoted(&clients).await.expect("promoted");
    assert_eq!(script.count("PromoteReadReplica"), 1);
    let waited = since(began, clients.clock.now());
    assert!(waited > Duration::from_secs(120), "it is not asked for twice: {waited:?}");

    let (clients, _armed, _) = over(vec![asked("2026-11-22T02:10:00Z")]);
    let seen = promote::observe(&clients, &call, &promotion()).await.expect("seen");
    assert!(!seen.under_way, "eight minutes ago: it was never taken");
    let other = replica(&["available"])
        .tagged("phoenix-dr:run", OTHER_RUN)
        .tagged("phoenix-dr:promoted-at", "2026-11-22T02:17:00Z");
    let (clients, _armed, _) = over(vec![other]);
    let seen = promote::observe(&clients, &call, &promotion()).await.expect("seen");
    assert!(!seen.under_way, "another run's request is not ours");
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
    let delete = deleted(&script);
    assert_eq!(delete.field("SkipFinalSnapshot").as_deref(), Some("false"));
    let last = format!("phoenix-restored-final-{}", RUN.to_lowercase());
    assert_eq!(delete.field("FinalDBSnapshotIdentifier").as_deref(), Some(last.as_str()));
    assert_eq!(script.actions().last().map(String::as_str), Some("DescribeDBInstances"));

    // After a lost answer the before-image shows what this run had made already.
    let (clients, armed, script) = over(vec![made(TARGET, &["creating"]).ours()]);
    reverted(&clients, &armed, json!({ "exists": true, "run": RUN })).await.expect("reverted");
    assert_eq!(script.count("DeleteDBInstance"), 1);
}

fn deleted(script: &Script) -> Sent {
    let sent = script.sent();
    sent.into_iter().find(|sent| sent.action == "DeleteDBInstance").expect("a delete")
}

#[tokio::test]
async fn revert_deletes_nothing_of_anybody_else() {
    let foreign = made(TARGET, &["available"]).tagged("phoenix-dr:run", OTHER_RUN);
    let (clients, armed, script) = over(vec![foreign]);
    let error = reverted(&clients, &armed, json!({ "exists": false })).await.expect_err("foreign");
    assert_eq!(error.class, FailureClass::Conflict);
    let (clients, armed, other) = over(vec![made(TARGET, &["available"]).ours()]);
    let before = json!({ "exists": true, "run": OTHER_RUN });
    reverted(&clients, &armed, before).await.expect("nothing to do");
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
    let again = protect::observe(&clients, &call, &with).await.expect("seen");
    assert!(!again.satisfied && again.under_way, "its obligations may be in no journal yet");
    let told = protect::perform(&clients, &armed, &call, &with, &again).await.expect("carried on");
    assert_eq!(told.obligations, done.obligations);
    let (mut later, _news) = self::call("rds.protect");
    later.run = crate::ids::RunId(OTHER_RUN.to_owned());
    assert!(protect::observe(&clients, &later, &with).await.expect("seen").satisfied);
    let ours = done.after;
    protect::revert(&clients, &armed, &call, &with, &image(before.live.clone(), ours))
        .await
        .expect("reverted");
    let sent = script.sent();
    let modify = sent.iter().rfind(|sent| sent.action == "ModifyDBInstance").expect("a modify");
    assert_eq!(modify.field("BackupRetentionPeriod").as_deref(), Some("1"));
    assert_eq!(modify.field("MultiAZ").as_deref(), Some("false"));
}
