use std::time::Duration;

use aws_sdk_rds::types::GlobalCluster;

use super::*;

const EAST: &str = "arn:aws:rds:us-east-1:123456789012:cluster:app-east";
const WEST: &str = "arn:aws:rds:us-west-2:123456789012:cluster:app-west";

/// A global database: its writer in us-east-1, two instances in us-west-2.
const GLOBAL: &str = r#"[
  { "type": "rds.global_cluster", "id": "app", "body": {
      "GlobalClusterIdentifier": "app", "Status": "available", "Engine": "aurora-postgresql",
      "EngineVersion": "15.8", "GlobalClusterMembers": [
        { "DBClusterArn": "arn:aws:rds:us-east-1:123456789012:cluster:app-east", "IsWriter": true,
          "Readers": ["arn:aws:rds:us-west-2:123456789012:cluster:app-west"] },
        { "DBClusterArn": "arn:aws:rds:us-west-2:123456789012:cluster:app-west", "IsWriter": false, "Readers": [] }] } },
  { "type": "rds.cluster", "region": "us-east-1", "id": "app-east", "body": {
      "DBClusterIdentifier": "app-east", "Status": "available", "Engine": "aurora-postgresql",
      "DBClusterMembers": [{ "DBInstanceIdentifier": "e1", "IsClusterWriter": true }] } },
  { "type": "rds.cluster", "region": "us-west-2", "id": "app-west", "body": {
      "DBClusterIdentifier": "app-west", "Status": "available", "Engine": "aurora-postgresql",
      "ReplicationSourceIdentifier": "arn:aws:rds:us-east-1:123456789012:cluster:app-east",
      "DBClusterMembers": [
        { "DBInstanceIdentifier": "w1", "IsClusterWriter": true, "PromotionTier": 1 },
        { "DBInstanceIdentifier": "w2", "IsClusterWriter": false, "PromotionTier": 2 }] } }
]"#;

async fn global(rds: &aws_sdk_rds::Client) -> GlobalCluster {
    let found = rds.describe_global_clusters().global_cluster_identifier("app").send().await;
    found.expect("it answers").global_clusters()[0].clone()
}

fn writer(global: &GlobalCluster) -> Option<&str> {
    let mut members = global.global_cluster_members().iter();
    members.find(|member| member.is_writer() == Some(true))?.db_cluster_arn()
}

fn state(global: &GlobalCluster) -> (Option<&str>, Option<&str>) {
    let state = global.failover_state().and_then(|state| state.status());
    (global.status(), state.map(|state| state.as_str()))
}

#[test]
fn a_switchover_moves_the_writer_and_needs_both_regions() {
    let scene = Scene::of(lit(GLOBAL), &["dark,region=us-east-1,from=1h"]);
    scene.run(async {
        let rds = scene.clients.aws.region("us-west-2").await.expect("clients").rds.clone();
        let switch = |target: &str| {
            let request = rds.switchover_global_cluster().global_cluster_identifier("app");
            request.target_db_cluster_identifier(target).send()
        };
        assert_eq!(code(switch(EAST).await), "InvalidDBClusterStateFault", "it is the writer");
        let nothing = WEST.replace("app-west", "nothing");
        assert_eq!(code(switch(&nothing).await), "DBClusterNotFoundFault");
        switch(WEST).await.expect("accepted");
        assert_eq!(state(&global(&rds).await), (Some("switching-over"), Some("pending")));
        assert_eq!(code(switch(WEST).await), "InvalidGlobalClusterStateFault", "one at a time");
        scene.clock.sleep(Duration::from_secs(30)).await;
        let underway = global(&rds).await;
        assert_eq!(state(&underway), (Some("switching-over"), Some("switching-over")));
        assert_eq!(writer(&underway), Some(EAST));
        scene.clock.sleep(Duration::from_secs(120)).await;
        let done = global(&rds).await;
        assert_eq!((state(&done), writer(&done)), ((Some("available"), None), Some(WEST)));
        let clusters = rds.describe_db_clusters().send().await.expect("it answers");
        assert!(clusters.db_clusters()[0].replication_source_identifier().is_none());
        switch(EAST).await.expect("and back");
        scene.clock.sleep(Duration::from_secs(3600)).await;
        assert_eq!(writer(&global(&rds).await), Some(EAST));
        assert_eq!(
            code(switch(WEST).await),
            "InvalidGlobalClusterStateFault",
            "the writer is gone"
        );
    });
}

#[test]
fn a_failover_takes_the_writer_from_a_region_that_is_lost() {
    let scene = Scene::of(lit(GLOBAL), &["dark,region=us-east-1"]);
    scene.run(async {
        let rds = scene.clients.aws.region("us-west-2").await.expect("clients").rds.clone();
        let fail = || {
            let request = rds.failover_global_cluster().global_cluster_identifier("app");
            request.target_db_cluster_identifier(WEST)
        };
        let missing =
            fail().global_cluster_identifier("nothing").allow_data_loss(true).send().await;
        assert_eq!(code(missing), "GlobalClusterNotFoundFault");
        let both = fail().allow_data_loss(true).switchover(true).send().await;
        assert_eq!(code(both), "InvalidParameterCombination");
        let careful = fail().send().await;
        assert_eq!(code(careful), "InvalidGlobalClusterStateFault", "nothing said of loss");
        let accepted = fail().allow_data_loss(true).send().await.expect("accepted");
        let accepted = accepted.global_cluster().cloned().expect("a cluster");
        assert_eq!(accepted.status(), Some("failing-over"));
        let loss = accepted.failover_state().and_then(|state| state.is_data_loss_allowed());
        assert_eq!(loss, Some(true));
        scene.clock.sleep(Duration::from_secs(130)).await;
        let done = global(&rds).await;
        assert_eq!((done.status(), writer(&done)), (Some("available"), Some(WEST)));
        let lost =
            done.global_cluster_members().iter().find(|member| member.is_writer() == Some(false));
        let status = lost.and_then(|member| member.synchronization_status());
        assert_eq!(status.map(|status| status.as_str()), Some("pending-resync"));
    });
}

#[test]
fn a_cluster_can_be_taken_out_and_can_fail_over_within_itself() {
    let scene = Scene::of(lit(GLOBAL), &[]);
    scene.run(async {
        let rds = scene.clients.aws.region("us-west-2").await.expect("clients").rds.clone();
        let remove = |arn: &str| {
            let request = rds.remove_from_global_cluster().global_cluster_identifier("app");
            request.db_cluster_identifier(arn).send()
        };
        assert_eq!(code(remove(EAST).await), "InvalidGlobalClusterStateFault", "it has followers");
        remove(WEST).await.expect("accepted");
        assert_eq!(global(&rds).await.global_cluster_members().len(), 1);
        scene.clock.sleep(Duration::from_secs(150)).await;
        let alone = rds.describe_db_clusters().db_cluster_identifier("app-west").send().await;
        let alone = alone.expect("it answers").db_clusters()[0].clone();
        assert_eq!(alone.status(), Some("available"));
        assert!(alone.replication_source_identifier().is_none());
        let fail = |to: Option<&str>| {
            let request = rds.failover_db_cluster().db_cluster_identifier("app-west");
            request.set_target_db_instance_identifier(to.map(str::to_owned)).send()
        };
        assert_eq!(code(fail(Some("w1")).await), "InvalidDBInstanceState", "it is the writer");
        fail(None).await.expect("accepted");
        assert_eq!(code(fail(None).await), "InvalidDBClusterStateFault");
        scene.clock.sleep(Duration::from_secs(60)).await;
        let found = rds.describe_db_clusters().send().await.expect("it answers");
        let writes: Vec<_> = found.db_clusters()[0]
            .db_cluster_members()
            .iter()
            .map(|member| (member.db_instance_identifier(), member.is_cluster_writer()))
            .collect();
        assert_eq!(writes, [(Some("w1"), Some(false)), (Some("w2"), Some(true))]);
    });
}
