use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;

use super::*;
use crate::clients::Clients;
use crate::clients::guard::Guard;
use crate::clock::Clock;
use crate::clock::jump::{JumpClock, Pace};
use crate::engine::ports::Armed;
use crate::sandbox::{Beginning, Resumed, Sandbox};

const BUCKETS: &str = r#"[
  { "type": "s3.bucket", "region": "us-west-2", "id": "from", "body": {
      "Versioning": "Enabled", "ReplicationConfiguration": { "Role": "r", "Rules": [
        { "ID": "all", "Status": "Enabled", "Destination": { "Bucket": "arn:aws:s3:::to" } }] } } },
  { "type": "s3.bucket", "region": "us-west-2", "id": "to", "body": { "Versioning": "Enabled" } }
]"#;

/// Begins a world whose log is kept in a directory.
fn logged(world: World, faults: &[&str], directory: &Path) -> (JumpClock, Sandbox) {
    let began = "2026-11-22T02:18:00Z".parse().expect("an instant");
    let clock = JumpClock::at(began, Pace::Max);
    let faults = faults.iter().map(|fault| fault.parse().expect("a fault")).collect();
    let beginning = Beginning { world, faults, seed: 7, secret: false };
    let sandbox = Sandbox::begin(beginning, Arc::new(clock.clone()), Some(directory));
    (clock, sandbox.expect("it begins"))
}

/// Goes on with a world as its log has it.
fn gone_on(directory: &Path) -> (JumpClock, Sandbox) {
    let resumed = Resumed::read(directory).expect("it is read");
    let clock = JumpClock::at(resumed.until, Pace::Max);
    let sandbox = Sandbox::go_on(resumed, Arc::new(clock.clone())).expect("it goes on");
    (clock, sandbox)
}

fn clients(sandbox: &Sandbox, clock: Arc<dyn Clock>) -> Clients {
    let guard = Guard::closed();
    guard.open(&Armed::mint());
    let estate = Arc::new(sandbox.world().estate.clone());
    Clients::simulated(estate, guard, clock, sandbox.clone())
}

#[test]
fn what_is_under_way_is_under_way_after_a_kill() {
    let directory = tempfile::tempdir().expect("a directory");
    let (clock, sandbox) = logged(lit(BUCKETS), &[], directory.path());
    let before = clients(&sandbox, Arc::new(clock.clone()));
    let upload = clock.runtime().expect("a runtime").block_on(async {
        let aws = before.aws.region("us-west-2").await.expect("clients");
        for text in ["one", "two"] {
            let put = aws.s3.put_object().bucket("from").key("k");
            put.body(ByteStream::from_static(text.as_bytes())).send().await.expect("written");
        }
        let upload = aws.s3.create_multipart_upload().bucket("from").key("p").send().await;
        let promote = aws.rds.promote_read_replica().db_instance_identifier("phoenix-dr-replica");
        promote.send().await.expect("accepted");
        upload.expect("accepted").upload_id().expect("it is named").to_owned()
    });
    drop((before, sandbox));
    let (later, sandbox) = gone_on(directory.path());
    let after = clients(&sandbox, Arc::new(later.clone()));
    later.runtime().expect("a runtime").block_on(async {
        let aws = after.aws.region("us-west-2").await.expect("clients");
        let status = || async {
            let found = aws.rds.describe_db_instances().send().await.expect("it answers");
            found.db_instances()[0].db_instance_status().unwrap_or_default().to_owned()
        };
        assert_eq!(status().await, "available", "the old state shows still");
        let early = aws.s3.head_object().bucket("to").key("k").send().await;
        assert!(early.is_err(), "it is on its way");
        later.sleep(Duration::from_secs(30)).await;
        assert_eq!(status().await, "modifying");
        aws.s3.head_object().bucket("to").key("k").send().await.expect("it has arrived");
        let versions = aws.s3.list_object_versions().bucket("from").send().await.expect("listed");
        assert_eq!(versions.versions().len(), 2);
        let copies = aws.s3.list_object_versions().bucket("to").send().await.expect("listed");
        assert_eq!(copies.versions().len(), 2);
        let parts = aws.s3.list_parts().bucket("from").key("p").upload_id(&upload).send().await;
        parts.expect("the upload goes on");
    });
}

/// Reads twice, in time, what a stale read of a world shows: the replica's state, and what an object of a bucket was.
async fn seen(clients: &Clients) -> (String, Option<i64>, bool) {
    let aws = clients.aws.region("us-west-2").await.expect("clients");
    let found = aws.rds.describe_db_instances().db_instance_identifier("phoenix-dr-replica");
    let found = found.send().await.expect("it answers");
    let status = found.db_instances()[0].db_instance_status().unwrap_or_default().to_owned();
    let object = aws.s3.head_object().bucket("from").key("k").send().await.ok();
    let length = object.and_then(|object| object.content_length());
    let removed = aws.s3.head_object().bucket("to").key("gone").send().await;
    (status, length, removed.is_ok())
}

#[test]
fn a_read_that_is_stale_is_as_stale_after_a_kill() {
    let directory = tempfile::tempdir().expect("a directory");
    let faults = ["stale@rds/Describe", "stale@s3/HeadObject"];
    let (clock, sandbox) = logged(lit(BUCKETS), &faults, directory.path());
    let before = clients(&sandbox, Arc::new(clock.clone()));
    let undisturbed = clock.runtime().expect("a runtime").block_on(async {
        let aws = before.aws.region("us-west-2").await.expect("clients");
        let put = |bucket: &str, key: &str, text: &str| {
            let put = aws.s3.put_object().bucket(bucket).key(key);
            put.body(ByteStream::from(text.as_bytes().to_vec())).send()
        };
        put("from", "k", "one").await.expect("written");
        put("from", "k", "three").await.expect("written");
        put("to", "gone", "x").await.expect("written");
        let removed = aws.s3.delete_object().bucket("to").key("gone").send().await;
        removed.expect("it is gone");
        let replica = "phoenix-dr-replica";
        let promote = aws.rds.promote_read_replica().db_instance_identifier(replica).send();
        promote.await.expect("accepted");
        // Long after the promotion, the one change that somebody made to it is still not shown.
        clock.sleep(Duration::from_secs(1_800)).await;
        let tags = aws_sdk_rds::types::Tag::builder().key("k").value("v").build();
        let arn = "arn:aws:rds:us-west-2:123456789012:db:phoenix-dr-replica";
        let tagged = aws.rds.add_tags_to_resource().resource_name(arn).tags(tags).send().await;
        tagged.expect("tagged");
        clock.sleep(Duration::from_secs(60)).await;
        seen(&before).await
    });
    drop((before, sandbox));
    let (later, sandbox) = gone_on(directory.path());
    let after = clients(&sandbox, Arc::new(later.clone()));
    let resumed = later.runtime().expect("a runtime").block_on(seen(&after));
    assert_eq!(resumed, undisturbed);
    assert_eq!(undisturbed, ("available".to_owned(), Some(3), true), "each as it was before");
}
