use std::time::Duration;

use aws_sdk_rds::primitives::DateTime;
use aws_sdk_rds::types::DbInstance;

use super::*;

const REPLICA: &str = "phoenix-dr-replica";
const PRIMARY_ARN: &str = "arn:aws:rds:us-east-1:123456789012:db:phoenix-prod";
const BACKUP: &str = "arn:aws:rds:us-west-2:123456789012:auto-backup:ab-phoenixprod";

async fn find(rds: &aws_sdk_rds::Client, id: &str) -> DbInstance {
    let found = rds.describe_db_instances().db_instance_identifier(id).send().await;
    found.expect("it answers").db_instances()[0].clone()
}

fn restorable(found: &DbInstance) -> i64 {
    found.latest_restorable_time().expect("it has a window").secs()
}

async fn window(rds: &aws_sdk_rds::Client) -> (i64, i64) {
    let request = rds.describe_db_instance_automated_backups();
    let found = request.db_instance_automated_backups_arn(BACKUP).send().await.expect("it answers");
    let window = found.db_instance_automated_backups()[0].restore_window().cloned();
    let window = window.expect("it has a window");
    let secs = |at: Option<&DateTime>| at.expect("an end").secs();
    (secs(window.earliest_time()), secs(window.latest_time()))
}

#[test]
fn what_can_be_restored_moves_while_the_source_lives() {
    let scene = Scene::of(lit("[]"), &[]);
    scene.run(async {
        let east = scene.clients.aws.region("us-east-1").await.expect("clients");
        let west = scene.clients.aws.region("us-west-2").await.expect("clients");
        let first = restorable(&find(&east.rds, "phoenix-prod").await);
        let (_, copied) = window(&west.rds).await;
        scene.clock.sleep(Duration::from_secs(3600)).await;
        assert_eq!(restorable(&find(&east.rds, "phoenix-prod").await), first + 3600);
        assert_eq!(window(&west.rds).await.1, copied + 3600);
        // What is stopped writes nothing more.
        let stop = east.rds.stop_db_instance().db_instance_identifier("phoenix-prod").send().await;
        stop.expect("accepted");
        scene.clock.sleep(Duration::from_secs(3600)).await;
        assert_eq!(restorable(&find(&east.rds, "phoenix-prod").await), first + 3600);
        assert_eq!(window(&west.rds).await.1, copied + 3600);
        let start = east.rds.start_db_instance().db_instance_identifier("phoenix-prod").send();
        start.await.expect("accepted");
        scene.clock.sleep(Duration::from_secs(1200)).await;
        assert!(restorable(&find(&east.rds, "phoenix-prod").await) > first + 3600);
    });
}

#[test]
fn what_can_be_restored_stands_still_with_its_region() {
    let scene = Scene::of(lit("[]"), &["dark,region=us-east-1,from=30m,until=2h"]);
    scene.run(async {
        let west = scene.clients.aws.region("us-west-2").await.expect("clients");
        let (_, first) = window(&west.rds).await;
        scene.clock.sleep(Duration::from_secs(3600)).await;
        assert_eq!(window(&west.rds).await.1, first + 1800, "as it was when the region went dark");
        scene.clock.sleep(Duration::from_secs(3600)).await;
        assert!(window(&west.rds).await.1 >= first + 7200, "and it catches up");
    });
}

#[test]
fn a_restore_keeps_to_its_window() {
    let scene = Scene::of(lit("[]"), &["dark,region=us-east-1"]);
    scene.run(async {
        let rds = scene.clients.aws.region("us-west-2").await.expect("clients").rds.clone();
        let (first, last) = window(&rds).await;
        let restore = |id: &str| {
            let request = rds.restore_db_instance_to_point_in_time();
            let request = request.source_db_instance_automated_backups_arn(BACKUP);
            request.target_db_instance_identifier(id).db_subnet_group_name("phoenix-db-usw2")
        };
        for outside in [first - 1, last + 1] {
            let answer = restore("new").restore_time(DateTime::from_secs(outside)).send().await;
            assert_eq!(code(answer), "InvalidRestoreFault", "{outside}");
        }
        let both = restore("new").restore_time(DateTime::from_secs(last));
        let both = both.use_latest_restorable_time(true).send().await;
        assert_eq!(code(both), "InvalidParameterCombination");
        restore("new").restore_time(DateTime::from_secs(last)).send().await.expect("accepted");
        scene.clock.sleep(Duration::from_secs(3 * 3600)).await;
        let found = find(&rds, "new").await;
        assert_eq!(found.db_instance_status(), Some("available"));
        assert_eq!(found.backup_retention_period(), Some(7), "as the source's");
    });
}

#[test]
fn what_is_stuck_leaves_what_others_asked_for_under_way() {
    let faults = ["stuck@s3/PutObject", "stuck@rds/ModifyDBInstance", "stuck@rds/AddTags"];
    let scene = Scene::new(&faults);
    scene.run(async {
        let aws = scene.clients.aws.region("us-west-2").await.expect("clients");
        let promote = aws.rds.promote_read_replica().db_instance_identifier(REPLICA).send();
        promote.await.expect("accepted");
        scene.clock.sleep(Duration::from_secs(60)).await;
        assert_eq!(find(&aws.rds, REPLICA).await.db_instance_status(), Some("modifying"));
        // Another service's object, and the instance itself: neither call has asked for the promotion.
        let put = aws.s3.put_object().bucket("phoenix-dr-state").key("lease.json").send().await;
        put.expect("accepted");
        let tag = aws_sdk_rds::types::Tag::builder().key("k").value("v").build();
        let arn = "arn:aws:rds:us-west-2:123456789012:db:phoenix-dr-replica";
        let tagged = aws.rds.add_tags_to_resource().resource_name(arn).tags(tag).send().await;
        tagged.expect("accepted");
        scene.clock.sleep(Duration::from_secs(1_800)).await;
        let found = find(&aws.rds, REPLICA).await;
        assert_eq!(found.db_instance_status(), Some("available"));
        assert_eq!(found.read_replica_source_db_instance_identifier(), None, "it is promoted");
        // What is stuck itself never comes about.
        let larger = aws.rds.modify_db_instance().db_instance_identifier(REPLICA);
        let larger = larger.db_instance_class("db.r6g.16xlarge").apply_immediately(true).send();
        larger.await.expect("accepted");
        scene.clock.sleep(Duration::from_secs(86_400)).await;
        let found = find(&aws.rds, REPLICA).await;
        assert_ne!(found.db_instance_class(), Some("db.r6g.16xlarge"));
        assert_eq!(found.db_instance_status(), Some("modifying"), "for ever");
    });
}

#[test]
fn a_promotion_shows_the_old_state_for_some_seconds() {
    let scene = Scene::new(&[]);
    scene.run(async {
        let rds = scene.clients.aws.region("us-west-2").await.expect("clients").rds.clone();
        let promote = || rds.promote_read_replica().db_instance_identifier(REPLICA).send();
        let answer = promote().await.expect("accepted");
        let shown = answer.db_instance().and_then(|found| found.db_instance_status());
        assert_eq!(shown, Some("available"));
        assert_eq!(find(&rds, REPLICA).await.db_instance_status(), Some("available"));
        assert_eq!(code(promote().await), "InvalidDBInstanceState", "it is under way all the same");
        scene.clock.sleep(Duration::from_secs(6)).await;
        let found = find(&rds, REPLICA).await;
        assert_eq!(found.db_instance_status(), Some("modifying"));
        assert!(found.read_replica_source_db_instance_identifier().is_some());
        assert!(found.latest_restorable_time().is_none());
        scene.clock.sleep(Duration::from_secs(1800)).await;
        let found = find(&rds, REPLICA).await;
        assert!(found.read_replica_source_db_instance_identifier().is_none());
        assert!(found.latest_restorable_time().is_some(), "its own backups have begun");
    });
}

#[test]
fn an_encrypted_snapshot_is_copied_with_a_key_and_a_signed_url() {
    let scene = Scene::of(lit("[]"), &[]);
    scene.run(async {
        let east = scene.clients.aws.region("us-east-1").await.expect("clients").rds.clone();
        let west = scene.clients.aws.region("us-west-2").await.expect("clients").rds.clone();
        let make = east.create_db_snapshot().db_instance_identifier("phoenix-prod");
        make.db_snapshot_identifier("hand").send().await.expect("accepted");
        let arn = "arn:aws:rds:us-east-1:123456789012:snapshot:hand";
        let copy = || {
            let request = west.copy_db_snapshot().source_db_snapshot_identifier(arn);
            request.target_db_snapshot_identifier("copy")
        };
        assert_eq!(code(copy().send().await), "InvalidDBSnapshotState", "it is not there yet");
        scene.clock.sleep(Duration::from_secs(60 + 200 * 5)).await;
        let said = words(copy().send().await);
        assert_eq!(said, "Must specify new KMS key for cross region encrypted snapshot copy.");
        let with_key = || copy().kms_key_id("alias/phoenix");
        assert_eq!(words(with_key().send().await), "PreSignedUrl could not be authenticated");
        let url = |region: &str| {
            format!(
                "https://rds.us-east-1.amazonaws.com/?Action=CopyDBSnapshot&DestinationRegion={region}\
                 &SourceDBSnapshotIdentifier=arn%3Aaws%3Ards%3Aus-east-1%3A123456789012%3Asnapshot%3Ahand\
                 &X-Amz-Signature=0"
            )
        };
        let wrong = with_key().pre_signed_url(url("eu-west-1")).send().await;
        assert_eq!(code(wrong), "InvalidParameterValue");
        let done = with_key().pre_signed_url(url("us-west-2")).send().await.expect("accepted");
        assert_eq!(done.db_snapshot().and_then(|found| found.source_region()), Some("us-east-1"));
        // 200 GiB at 20 seconds each.
        for (seconds, status, progress) in
            [(1900, "creating", 0), (200, "creating", 50), (2000, "available", 100)]
        {
            scene.clock.sleep(Duration::from_secs(seconds)).await;
            let found = west.describe_db_snapshots().db_snapshot_identifier("copy").send().await;
            let found = found.expect("it answers").db_snapshots()[0].clone();
            assert_eq!(found.status(), Some(status));
            assert_eq!(found.percent_progress(), Some(progress));
        }
    });
}

#[test]
fn backups_are_replicated_and_kept_when_that_stops() {
    let scene = Scene::of(lit("[]"), &[]);
    scene.run(async {
        let rds = scene.clients.aws.region("us-west-2").await.expect("clients").rds.clone();
        let stop = || {
            let request = rds.stop_db_instance_automated_backups_replication();
            request.source_db_instance_arn(PRIMARY_ARN).send()
        };
        let stopped = stop().await.expect("accepted");
        let status = stopped.db_instance_automated_backup().and_then(|backup| backup.status());
        assert_eq!(status, Some("retained"));
        assert_eq!(code(stop().await), "DBInstanceNotFound");
        let (_, last) = window(&rds).await;
        scene.clock.sleep(Duration::from_secs(7200)).await;
        assert_eq!(window(&rds).await.1, last, "nothing is copied any more");
        let start = rds.start_db_instance_automated_backups_replication();
        let start = start.source_db_instance_arn(PRIMARY_ARN).send().await.expect("accepted");
        let status = start.db_instance_automated_backup().and_then(|backup| backup.status());
        assert_eq!(status, Some("pending"));
    });
}

#[test]
fn storage_that_grows_is_optimised_for_hours() {
    let scene = Scene::new(&[]);
    scene.run(async {
        let rds = scene.clients.aws.region("us-west-2").await.expect("clients").rds.clone();
        let modify = || rds.modify_db_instance().db_instance_identifier(REPLICA);
        assert_eq!(
            code(modify().allocated_storage(10).send().await),
            "InvalidParameterCombination"
        );
        let grow = modify().allocated_storage(400).apply_immediately(true).send().await;
        grow.expect("accepted");
        scene.clock.sleep(Duration::from_secs(150)).await;
        let found = find(&rds, REPLICA).await;
        assert_eq!(found.db_instance_status(), Some("storage-optimization"));
        assert_eq!(found.allocated_storage(), Some(400));
        scene.clock.sleep(Duration::from_secs(2000)).await;
        assert_eq!(find(&rds, REPLICA).await.db_instance_status(), Some("available"));
        let delete = rds.delete_db_instance().db_instance_identifier(REPLICA).send().await;
        assert_eq!(
            code(delete),
            "InvalidParameterCombination",
            "nothing is said of a last snapshot"
        );
    });
}

#[test]
fn only_what_wants_another_machine_is_refused_for_want_of_one() {
    let scene = Scene::new(&["no_capacity@rds"]);
    scene.run(async {
        let rds = scene.clients.aws.region("us-west-2").await.expect("clients").rds.clone();
        let change = || rds.modify_db_instance().db_instance_identifier(REPLICA);
        find(&rds, REPLICA).await;
        // These use the machine that is there.
        change().deletion_protection(true).apply_immediately(true).send().await.expect("accepted");
        let class = find(&rds, REPLICA).await.db_instance_class().expect("a class").to_owned();
        let same = change().db_instance_class(class).apply_immediately(true).send().await;
        same.expect("accepted");
        change().multi_az(true).send().await.expect("that waits for the maintenance window");
        let standby = change().multi_az(true).apply_immediately(true).send().await;
        assert_eq!(code(standby), "InsufficientDBInstanceCapacity");
        let larger = change().db_instance_class("db.r6g.4xlarge").apply_immediately(true);
        assert_eq!(code(larger.send().await), "InsufficientDBInstanceCapacity");
        let restore = rds
            .restore_db_instance_to_point_in_time()
            .source_db_instance_automated_backups_arn(BACKUP)
            .target_db_instance_identifier("restored")
            .use_latest_restorable_time(true);
        assert_eq!(code(restore.send().await), "InsufficientDBInstanceCapacity");
        let promote = rds.promote_read_replica().db_instance_identifier(REPLICA).send().await;
        promote.expect("accepted");
    });
    assert_eq!(scene.sandbox.told().faults.last().map(|told| told.struck), Some(3));
}

#[test]
fn an_instance_takes_another_name_and_whoever_follows_it_knows() {
    let scene = Scene::of(lit("[]"), &[]);
    scene.run(async {
        let east = scene.clients.aws.region("us-east-1").await.expect("clients");
        let west = scene.clients.aws.region("us-west-2").await.expect("clients");
        let address = |found: &DbInstance| {
            let address = found.endpoint().and_then(|endpoint| endpoint.address());
            address.expect("it has one").to_owned()
        };
        let before = find(&east.rds, "phoenix-prod").await;
        let rename = |to: &str| {
            let request = east.rds.modify_db_instance().db_instance_identifier("phoenix-prod");
            request.new_db_instance_identifier(to).apply_immediately(true).send()
        };
        assert_eq!(code(rename("phoenix-prod").await), "DBInstanceAlreadyExists");
        assert_eq!(code(rename("a--b").await), "InvalidParameterValue");
        rename("phoenix-old").await.expect("accepted");
        let gone = east.rds.describe_db_instances().db_instance_identifier("phoenix-prod").send();
        assert_eq!(code(gone.await), "DBInstanceNotFound");
        let going = find(&east.rds, "phoenix-old").await;
        assert_eq!((going.db_instance_status(), going.endpoint()), (Some("renaming"), None));
        let (_, copied) = window(&west.rds).await;
        scene.clock.sleep(Duration::from_secs(3600)).await;
        let after = find(&east.rds, "phoenix-old").await;
        assert_eq!(after.db_instance_status(), Some("available"));
        assert_eq!(after.dbi_resource_id(), before.dbi_resource_id());
        assert_eq!(address(&after), address(&before).replace("phoenix-prod.", "phoenix-old."));
        // The replica still follows it, and its backups are still copied.
        let source = find(&west.rds, REPLICA).await;
        let source = source.read_replica_source_db_instance_identifier().map(str::to_owned);
        assert_eq!(source, Some(PRIMARY_ARN.replace("phoenix-prod", "phoenix-old")));
        assert!(window(&west.rds).await.1 > copied);
    });
}
