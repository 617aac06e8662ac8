//! S3's buckets: names, regions, versions kept, replication.

use aws_sdk_s3::operation::list_buckets::ListBucketsOutput;
use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration,
    DeleteMarkerReplication, DeleteMarkerReplicationStatus, Destination, ReplicationConfiguration,
    ReplicationRule, ReplicationRuleFilter, ReplicationRuleStatus, VersioningConfiguration,
};
use serde_json::{Value, json};

use super::side::Side;
use super::told::{Notes, done, told};

/// Makes a bucket in us-west-2.
pub(super) async fn make(side: &Side, name: &str) -> Value {
    let place = CreateBucketConfiguration::builder()
        .location_constraint(BucketLocationConstraint::UsWest2)
        .build();
    let request = side.west.s3.create_bucket().bucket(name).create_bucket_configuration(place);
    done(&request.send().await)
}

/// Lets a bucket keep versions.
pub(super) async fn keep_versions(side: &Side, name: &str) -> Value {
    let status = BucketVersioningStatus::Enabled;
    let wanted = VersioningConfiguration::builder().status(status).build();
    let request = side.west.s3.put_bucket_versioning().bucket(name);
    done(&request.versioning_configuration(wanted).send().await)
}

pub(super) async fn ask(side: &Side, notes: &mut Notes) {
    let s3 = &side.west.s3;
    notes.note("s3: a bucket is made", make(side, "fidelity-one").await);
    notes.note("s3: a bucket is made again", make(side, "fidelity-one").await);
    notes.note("s3: a bucket's name has capitals", make(side, "Fidelity_One").await);
    let there = s3.head_bucket().bucket("fidelity-one").send().await;
    notes.note("s3: a bucket is there", told(&there, |there| json!(there.bucket_region())));
    let missing = s3.head_bucket().bucket("fidelity-none").send().await;
    notes.note("s3: a bucket is not there", done(&missing));
    let missing = s3.list_objects_v2().bucket("fidelity-none").send().await;
    notes.note("s3: a bucket that is not there is listed", done(&missing));
    let place = s3.get_bucket_location().bucket("fidelity-one").send().await;
    notes.note(
        "s3: where a bucket is",
        told(&place, |place| json!(place.location_constraint().map(|place| place.as_str()))),
    );
    let wrong = side.east.s3.get_object().bucket("fidelity-one").key("a").send().await;
    notes.note("s3: a bucket is asked for in another region", done(&wrong));
    let versions = s3.get_bucket_versioning().bucket("fidelity-one").send().await;
    notes.note(
        "s3: a new bucket keeps no versions",
        told(&versions, |found| json!(found.status().map(|status| status.as_str()))),
    );
    listed(side, notes).await;
    replication(side, notes).await;
    let full = s3.put_object().bucket("fidelity-one").key("a").send().await;
    notes.note("s3: something is put into a bucket", done(&full));
    let kept = s3.delete_bucket().bucket("fidelity-one").send().await;
    notes.note("s3: a bucket that is not empty is deleted", done(&kept));
    let gone = s3.delete_object().bucket("fidelity-one").key("a").send().await;
    notes.note("s3: it is taken out again", done(&gone));
    let gone = s3.delete_bucket().bucket("fidelity-one").send().await;
    notes.note("s3: an empty bucket is deleted", done(&gone));
    let gone = s3.delete_bucket().bucket("fidelity-one").send().await;
    notes.note("s3: a bucket is deleted again", done(&gone));
}

/// Every bucket of the account, of whatever region.
async fn listed(side: &Side, notes: &mut Notes) {
    let ours = |found: &ListBucketsOutput| {
        let names = found.buckets().iter().filter_map(|bucket| bucket.name());
        json!(names.filter(|name| name.starts_with("fidelity-")).collect::<Vec<_>>())
    };
    for (region, clients) in [("east", &side.east), ("west", &side.west)] {
        let all = clients.s3.list_buckets().send().await;
        notes.note(&format!("s3: every bucket, asked for in the {region}"), told(&all, ours));
    }
    for prefix in ["fidelity-", "nothing"] {
        let some = side.west.s3.list_buckets().prefix(prefix).send().await;
        notes.note(
            &format!("s3: buckets that begin with {prefix}"),
            told(&some, |found| json!([found.buckets().len(), found.prefix()])),
        );
    }
}

fn rule(to: &str) -> ReplicationConfiguration {
    let target = Destination::builder().bucket(format!("arn:aws:s3:::{to}")).build();
    let markers =
        DeleteMarkerReplication::builder().status(DeleteMarkerReplicationStatus::Disabled).build();
    let rule = ReplicationRule::builder()
        .id("all")
        .priority(1)
        .status(ReplicationRuleStatus::Enabled)
        .filter(ReplicationRuleFilter::builder().prefix("").build())
        .delete_marker_replication(markers)
        .destination(target.expect("a destination"))
        .build();
    let role = "arn:aws:iam::123456789012:role/replication";
    let all = ReplicationConfiguration::builder().role(role).rules(rule.expect("a rule"));
    all.build().expect("a configuration")
}

async fn replication(side: &Side, notes: &mut Notes) {
    let s3 = &side.west.s3;
    let (from, to) = ("fidelity-from", "fidelity-to");
    make(side, from).await;
    make(side, to).await;
    let wanted = s3.put_bucket_replication().bucket(from).replication_configuration(rule(to));
    notes.note("s3: replication without versions", done(&wanted.clone().send().await));
    let none = s3.get_bucket_replication().bucket(from).send().await;
    notes.note("s3: the replication of a bucket that has none", done(&none));
    notes.note("s3: a bucket keeps versions", keep_versions(side, from).await);
    notes
        .note("s3: replication into a bucket without versions", done(&wanted.clone().send().await));
    keep_versions(side, to).await;
    notes.note("s3: replication", done(&wanted.send().await));
    let known = s3.get_bucket_replication().bucket(from).send().await;
    notes.note(
        "s3: the replication of a bucket",
        told(&known, |known| {
            let rules = known.replication_configuration().map(|known| {
                let target = |rule: &ReplicationRule| {
                    json!(rule.destination().map(|target| target.bucket().to_owned()))
                };
                known.rules().iter().map(target).collect::<Vec<_>>()
            });
            json!(rules)
        }),
    );
    let body = || aws_sdk_s3::primitives::ByteStream::from_static(b"copied");
    let put = s3.put_object().bucket(from).key("k").body(body()).send().await;
    notes.note("s3: something is put into a replicated bucket", done(&put));
    let arrived = side
        .until("the object arrives", || async {
            s3.get_object().bucket(to).key("k").send().await.ok()
        })
        .await;
    notes.note(
        "s3: a replica",
        json!([arrived.replication_status().map(|status| status.as_str()), arrived.e_tag()]),
    );
    let origin = s3.head_object().bucket(from).key("k").send().await;
    notes.note(
        "s3: what was replicated",
        told(&origin, |found| json!(found.replication_status().map(|status| status.as_str()))),
    );
    let same = origin.ok().and_then(|found| found.version_id().map(str::to_owned));
    notes.note(
        "s3: a replica has its source's version",
        json!(same.is_some() && same.as_deref() == arrived.version_id()),
    );
}
