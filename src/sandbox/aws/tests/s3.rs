use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;

use super::*;

/// Two buckets that keep versions, the first replicated into the second.
const REPLICATED: &str = r#"[
  { "type": "s3.bucket", "region": "us-east-1", "id": "from", "body": {
      "Versioning": "Enabled", "ReplicationConfiguration": { "Role": "r", "Rules": [
        { "ID": "all", "Status": "Enabled", "Priority": 1, "Filter": { "Prefix": "kept/" },
          "Destination": { "Bucket": "arn:aws:s3:::to" } }] } } },
  { "type": "s3.bucket", "region": "us-west-2", "id": "to", "body": { "Versioning": "Enabled" } },
  { "type": "s3.bucket", "region": "us-west-2", "id": "listed", "body": {} },
  { "type": "s3.object", "region": "us-west-2", "id": "listed/known", "body": { "Size": 7, "ETag": "abc" } }
]"#;

async fn read(s3: &aws_sdk_s3::Client, bucket: &str, key: &str) -> Option<String> {
    let found = s3.get_object().bucket(bucket).key(key).send().await.ok()?;
    let bytes = found.body.collect().await.ok()?.to_vec();
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn what_is_replicated_arrives_a_while_later() {
    let scene = Scene::of(lit(REPLICATED), &[]);
    scene.run(async {
        let east = scene.clients.aws.region("us-east-1").await.expect("clients").s3.clone();
        let west = scene.clients.aws.region("us-west-2").await.expect("clients").s3.clone();
        for key in ["kept/a", "other"] {
            let put = east.put_object().bucket("from").key(key).body(ByteStream::from_static(b"1"));
            put.send().await.expect("written");
        }
        let status = || async {
            let head = east.head_object().bucket("from").key("kept/a").send().await;
            let head = head.expect("it is there");
            head.replication_status().map(|status| status.as_str().to_owned())
        };
        assert_eq!(status().await.as_deref(), Some("PENDING"));
        assert_eq!(read(&west, "to", "kept/a").await, None);
        scene.clock.sleep(Duration::from_secs(20)).await;
        assert_eq!(read(&west, "to", "kept/a").await.as_deref(), Some("1"));
        assert_eq!(read(&west, "to", "other").await, None, "the rule does not want it");
        assert_eq!(status().await.as_deref(), Some("COMPLETED"));
    });
}

#[test]
fn nothing_is_replicated_out_of_a_dark_region() {
    let scene = Scene::of(lit(REPLICATED), &["dark,region=us-east-1,from=10s,until=10m"]);
    scene.run(async {
        let east = scene.clients.aws.region("us-east-1").await.expect("clients").s3.clone();
        let west = scene.clients.aws.region("us-west-2").await.expect("clients").s3.clone();
        let put =
            east.put_object().bucket("from").key("kept/a").body(ByteStream::from_static(b"1"));
        put.send().await.expect("written");
        scene.clock.sleep(Duration::from_secs(300)).await;
        assert_eq!(read(&west, "to", "kept/a").await, None, "it is in the region that is lost");
        scene.clock.sleep(Duration::from_secs(400)).await;
        assert_eq!(read(&west, "to", "kept/a").await.as_deref(), Some("1"));
    });
}

#[test]
fn what_a_world_does_not_hold_is_not_made_up() {
    let scene = Scene::of(lit(REPLICATED), &[]);
    scene.run(async {
        let s3 = scene.clients.aws.region("us-west-2").await.expect("clients").s3.clone();
        let head = s3.head_object().bucket("listed").key("known").send().await;
        assert_eq!(head.expect("it is there").content_length(), Some(7));
        let found = s3.get_object().bucket("listed").key("known").send().await;
        assert_eq!(code(found), "InvalidAction");
    });
    let left = scene.sandbox.told().left;
    assert!(left.len() == 1 && left[0].contains("content of s3://listed/known"), "{left:?}");
}

#[test]
fn a_bucket_of_another_region_is_pointed_to() {
    let scene = Scene::of(lit(REPLICATED), &[]);
    scene.run(async {
        let s3 = scene.clients.aws.region("us-west-2").await.expect("clients").s3.clone();
        let wrong =
            s3.get_object().bucket("from").key("kept/a").send().await.expect_err("not here");
        let raw = wrong.raw_response().expect("an answer");
        assert_eq!(raw.status().as_u16(), 301);
        assert_eq!(raw.headers().get("x-amz-bucket-region"), Some("us-east-1"));
        let nowhere = s3.get_object().bucket("nowhere").key("a").send().await;
        assert_eq!(code(nowhere), "NoSuchBucket");
    });
}

#[test]
fn bytes_that_were_changed_on_the_way_are_refused() {
    let scene = Scene::of(lit(REPLICATED), &[]);
    scene.run(async {
        let s3 = scene.clients.aws.region("us-west-2").await.expect("clients").s3.clone();
        let put = || {
            let request = s3.put_object().bucket("listed").key("k");
            request.body(ByteStream::from_static(b"hello"))
        };
        let sum = put().checksum_crc32("AAAAAA==").send().await;
        assert_eq!(code(sum), "BadDigest");
        assert_eq!(code(put().content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await), "BadDigest");
        let done = put().send().await.expect("written");
        assert_eq!(done.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
        assert_eq!(done.checksum_crc32(), Some("NhCmhg=="));
        // The SDK compares what it reads with the sum it is told.
        assert_eq!(read(&s3, "listed", "k").await.as_deref(), Some("hello"));
    });
}

#[test]
fn a_stream_comes_in_chunks_with_its_sum_behind_it() {
    let scene = Scene::of(lit(REPLICATED), &[]);
    scene.run(async {
        let s3 = scene.clients.aws.region("us-west-2").await.expect("clients").s3.clone();
        let text = "a line of a stream\n".repeat(5000);
        let stream =
            aws_smithy_types::body::SdkBody::from_body_1_x(reqwest::Body::from(text.clone()));
        let length = i64::try_from(text.len()).expect("it is short");
        let put = s3.put_object().bucket("listed").key("stream").content_length(length);
        let done = put.body(ByteStream::new(stream)).send().await.expect("written");
        assert!(done.checksum_crc32().is_some(), "the sum came as a trailer");
        assert_eq!(read(&s3, "listed", "stream").await, Some(text));
    });
}

#[test]
fn a_name_for_a_bucket_cannot_be_had_without_the_first_region() {
    let scene = Scene::of(lit(REPLICATED), &["dark,region=us-east-1"]);
    scene.run(async {
        use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
        let s3 = scene.clients.aws.region("us-west-2").await.expect("clients").s3.clone();
        let west = BucketLocationConstraint::UsWest2;
        let place = CreateBucketConfiguration::builder().location_constraint(west).build();
        let create = s3.create_bucket().bucket("new").create_bucket_configuration(place);
        assert_eq!(code(create.send().await), "ServiceUnavailable");
        assert_eq!(code(s3.delete_bucket().bucket("listed").send().await), "ServiceUnavailable");
    });
}
