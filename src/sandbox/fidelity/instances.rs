//! RDS: instances and replicas that are made anew, and what Aurora's clusters refuse.

use serde_json::json;

use super::databases::{PRIMARY, delete, find, settled, shown, status};
use super::side::Side;
use super::told::{Notes, done, told};

const FRESH: &str = "fidelity-fresh";
const FOLLOWER: &str = "fidelity-follower";

pub(super) async fn ask(side: &Side, notes: &mut Notes) {
    refused(side, notes).await;
    made(side, notes).await;
    followed(side, notes).await;
    far(side, notes).await;
    delete(side, FRESH).await;
    clusters(side, notes).await;
}

/// Returns the request for a new instance.
fn create(
    side: &Side,
) -> aws_sdk_rds::operation::create_db_instance::builders::CreateDBInstanceFluentBuilder {
    let request = side.west.rds.create_db_instance().db_instance_identifier(FRESH);
    let request = request.engine("postgres").engine_version("15.8").allocated_storage(100);
    let request = request.master_username("phoenix").master_user_password("a long enough one");
    request.db_instance_class("db.r6g.large").backup_retention_period(1)
}

async fn refused(side: &Side, notes: &mut Notes) {
    let nowhere = create(side).db_subnet_group_name("nothing").send().await;
    notes.note("rds: an instance is made in a subnet group that is not there", done(&nowhere));
    let nowhere = create(side).db_parameter_group_name("nothing").send().await;
    notes.note("rds: an instance is made with parameters that are not there", done(&nowhere));
    for (what, request) in [
        ("no class", create(side).set_db_instance_class(None)),
        ("no engine", create(side).set_engine(None)),
    ] {
        let answer = request.send().await;
        notes.note(&format!("rds: an instance of {what} is made"), done(&answer));
        if answer.is_ok() {
            // What should not be there must not be in the way of what follows.
            settled(side, &side.west, FRESH, "available").await;
            delete(side, FRESH).await;
        }
    }
}

async fn made(side: &Side, notes: &mut Notes) {
    let answer = create(side).send().await;
    notes.note("rds: an instance is made", told(&answer, |made| status(made.db_instance())));
    notes.note("rds: an instance is made again", done(&create(side).send().await));
    let early = follow(side, FRESH, FOLLOWER).send().await;
    notes.note("rds: what is being made is followed", done(&early));
    if early.is_ok() {
        settled(side, &side.west, FOLLOWER, "available").await;
        delete(side, FOLLOWER).await;
    }
    let found = settled(side, &side.west, FRESH, "available").await;
    notes.note("rds: what was made", shown(&found));
}

/// Returns the request for a replica in the region of its source.
fn follow(
    side: &Side,
    source: &str,
    id: &str,
) -> aws_sdk_rds::operation::create_db_instance_read_replica::builders::CreateDBInstanceReadReplicaFluentBuilder
{
    let request = side.west.rds.create_db_instance_read_replica();
    request.source_db_instance_identifier(source).db_instance_identifier(id)
}

async fn followed(side: &Side, notes: &mut Notes) {
    let nothing = follow(side, "nothing", FOLLOWER).send().await;
    notes.note("rds: an instance that is not there is followed", done(&nothing));
    let same = follow(side, FRESH, FRESH).send().await;
    notes.note("rds: a replica by the name of its source", done(&same));
    let made = follow(side, FRESH, FOLLOWER).send().await;
    notes.note("rds: a replica is made", told(&made, |made| status(made.db_instance())));
    notes.note("rds: a replica is made again", done(&follow(side, FRESH, FOLLOWER).send().await));
    let found = settled(side, &side.west, FOLLOWER, "available").await;
    notes.note("rds: what follows", shown(&found));
    let source = find(&side.west, FRESH).await;
    notes.note("rds: what is followed", json!(source.as_ref().map(shown)));
    let unkept = follow(side, FOLLOWER, "fidelity-third").send().await;
    notes.note("rds: what keeps no backups is followed", done(&unkept));
    if unkept.is_ok() {
        settled(side, &side.west, "fidelity-third", "available").await;
        delete(side, "fidelity-third").await;
    }
    let stopped = side.west.rds.stop_db_instance().db_instance_identifier(FOLLOWER).send().await;
    notes.note("rds: a replica is stopped", done(&stopped));
    if stopped.is_ok() {
        settled(side, &side.west, FOLLOWER, "stopped").await;
    }
    delete(side, FOLLOWER).await;
    let source = find(&side.west, FRESH).await;
    notes.note("rds: what is followed no more", json!(source.as_ref().map(shown)));
}

/// A replica of an instance of another region.
async fn far(side: &Side, notes: &mut Notes) {
    let arn = format!("arn:aws:rds:us-east-1:123456789012:db:{PRIMARY}");
    let request = |source: &str| {
        let request = follow(side, source, FOLLOWER);
        request.db_instance_class("db.r6g.large")
    };
    let nothing = request(&arn.replace(PRIMARY, "nothing")).send().await;
    notes.note("rds: what is in no other region is followed", done(&nothing));
    let made = request(&arn).send().await;
    notes.note("rds: a replica of another region", told(&made, |made| status(made.db_instance())));
    let found = settled(side, &side.west, FOLLOWER, "available").await;
    notes.note("rds: what follows from afar", shown(&found));
    let source = find(&side.east, PRIMARY).await;
    notes.note("rds: what is followed from afar", json!(source.as_ref().map(shown)));
    delete(side, FOLLOWER).await;
}

async fn clusters(side: &Side, notes: &mut Notes) {
    let rds = &side.west.rds;
    let failed = rds.failover_db_cluster().db_cluster_identifier("nothing").send().await;
    notes.note("rds: a cluster that is not there fails over", done(&failed));
    let target = "arn:aws:rds:us-west-2:123456789012:cluster:nothing";
    let failed = rds.failover_global_cluster().global_cluster_identifier("nothing");
    let failed = failed.target_db_cluster_identifier(target).allow_data_loss(true).send().await;
    notes.note("rds: a global cluster that is not there fails over", done(&failed));
    let switched = rds.switchover_global_cluster().global_cluster_identifier("nothing");
    let switched = switched.target_db_cluster_identifier(target).send().await;
    notes.note("rds: a global cluster that is not there switches over", done(&switched));
    let removed = rds.remove_from_global_cluster().global_cluster_identifier("nothing");
    let removed = removed.db_cluster_identifier(target).send().await;
    notes.note("rds: a cluster leaves a global one that is not there", done(&removed));
    let missing = rds.describe_db_clusters().db_cluster_identifier("nothing").send().await;
    notes.note("rds: a cluster that is not there", done(&missing));
    let all = rds.describe_db_clusters().send().await;
    notes.note("rds: every cluster", told(&all, |all| json!(all.db_clusters().len())));
    let missing = rds.describe_global_clusters().global_cluster_identifier("nothing").send().await;
    notes.note("rds: a global cluster that is not there", done(&missing));
    let all = rds.describe_global_clusters().send().await;
    notes.note("rds: every global cluster", told(&all, |all| json!(all.global_clusters().len())));
}
