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

fn clients(sandbox: &Sandbox, clock: Arc<dyn Clock>) -> Clients {
    let guard = Guard::closed();
    guard.open(&Armed::mint());
    let estate = Arc::new(sandbox.world().estate.clone());
    Clients::simulated(estate, guard, clock, sandbox.clone())
}

#[test]
fn what_is_under_way_is_under_way_after_a_kill() {
    let directory = tempfile::tempdir().expect("a directory");
    let began = "2026-11-22T02:18:00Z".parse().expect("an instant");
    let clock = JumpClock::at(began, Pace::Max);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let beginning = Beginning { world: lit(BUCKETS), faults: Vec::new(), seed: 7, secret: false };
    let sandbox = Sandbox::begin(beginning, shared.clone(), Some(directory.path()));
    let sandbox = sandbox.expect("it begins");
    let before = clients(&sandbox, shared);
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
    let resumed = Resumed::read(directory.path()).expect("it is read");
    let later = JumpClock::at(resumed.until, Pace::Max);
    let shared: Arc<dyn Clock> = Arc::new(later.clone());
    let sandbox = Sandbox::go_on(resumed, shared.clone()).expect("it goes on");
    let after = clients(&sandbox, shared);
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
