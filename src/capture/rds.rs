//! RDS of one region: instances with their tags, snapshots, automated backups, the groups instances are put in.

use aws_sdk_rds::types::{
    DbInstance, DbInstanceAutomatedBackup, DbParameterGroup, DbSnapshot, DbSubnetGroup, Tag,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::fields::{Fields, all, counted};
use super::{Part, no_answer, patiently};
use crate::clients::Clients;
use crate::clients::aws::Regional;
use crate::clients::aws::error::{Nature, failure};
use crate::outcome::ActionError;
use crate::sandbox::fault::Service;
use crate::sandbox::world::Kind;

pub(super) async fn look(clients: &Clients, region: &str, at: Timestamp) -> Part {
    let mut part = Part::default();
    let aws = match clients.aws.region(region).await {
        Ok(aws) => aws,
        Err(error) => {
            part.missed("RDS", Some(region), &error);
            return part;
        }
    };
    let listed = patiently(clients, || async {
        let found = all(aws.rds.describe_db_instances().into_paginator().items().send()).await;
        found.map_err(|error| read("DescribeDBInstances", region, &error))
    });
    let listed = listed.await;
    match listed {
        Ok(found) => {
            part.answers += 1;
            for found in &found {
                let id = found.db_instance_identifier().unwrap_or_default();
                part.add(Kind::RdsInstance, region, id, instance(found, at));
            }
        }
        Err(error) => {
            part.missed("RDS", Some(region), &error);
            if no_answer(&error) {
                // Nothing else of it will answer; asking would only take time.
                part.silent(region, Service::Rds);
                return part;
            }
        }
    }
    rest(clients, &aws, region, at, &mut part).await;
    part
}

async fn rest(clients: &Clients, aws: &Regional, region: &str, at: Timestamp, part: &mut Part) {
    let (snapshots, backups, subnets, parameters) = futures::join!(
        patiently(clients, || async {
            let found = all(aws.rds.describe_db_snapshots().into_paginator().items().send()).await;
            found.map_err(|error| read("DescribeDBSnapshots", region, &error))
        }),
        patiently(clients, || async {
            let pages = aws.rds.describe_db_instance_automated_backups().into_paginator();
            let found = all(pages.items().send()).await;
            found.map_err(|error| read("DescribeDBInstanceAutomatedBackups", region, &error))
        }),
        patiently(clients, || async {
            let found = all(aws.rds.describe_db_subnet_groups().into_paginator().items().send());
            found.await.map_err(|error| read("DescribeDBSubnetGroups", region, &error))
        }),
        patiently(clients, || async {
            let found = all(aws.rds.describe_db_parameter_groups().into_paginator().items().send());
            found.await.map_err(|error| read("DescribeDBParameterGroups", region, &error))
        }),
    );
    take(part, "RDS snapshots", region, Kind::RdsSnapshot, snapshots, |found| {
        (found.db_snapshot_identifier().unwrap_or_default().to_owned(), snapshot(found, at))
    });
    take(part, "RDS automated backups", region, Kind::RdsBackup, backups, |found| {
        let arn = found.db_instance_automated_backups_arn().or(found.dbi_resource_id());
        let id = arn.unwrap_or_default().rsplit(':').next().unwrap_or_default();
        (id.to_owned(), backup(found, at))
    });
    take(part, "RDS subnet groups", region, Kind::RdsSubnetGroup, subnets, |found| {
        (found.db_subnet_group_name().unwrap_or_default().to_owned(), subnet_group(found))
    });
    take(part, "RDS parameter groups", region, Kind::RdsParameterGroup, parameters, |found| {
        (found.db_parameter_group_name().unwrap_or_default().to_owned(), parameter_group(found))
    });
}

fn read<E>(call: &str, region: &str, error: &SdkError<E, HttpResponse>) -> ActionError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    failure(Nature::Read, &format!("rds:{call}"), region, error)
}

fn take<T>(
    part: &mut Part,
    what: &str,
    region: &str,
    kind: Kind,
    listed: Result<Vec<T>, ActionError>,
    object: impl Fn(&T) -> (String, Map<String, Value>),
) {
    match listed {
        Ok(found) => {
            part.answers += 1;
            for (id, body) in found.iter().map(object) {
                part.add(kind, region, &id, body);
            }
        }
        Err(error) => part.missed(what, Some(region), &error),
    }
}

fn instance(found: &DbInstance, at: Timestamp) -> Map<String, Value> {
    let endpoint = found.endpoint().map(|endpoint| {
        Fields::default()
            .set("Address", endpoint.address())
            .set("Port", endpoint.port())
            .set("HostedZoneId", endpoint.hosted_zone_id())
            .value()
    });
    let infos = found.status_infos().iter().map(|info| {
        Fields::default()
            .set("StatusType", info.status_type())
            .set("Normal", info.normal())
            .set("Status", info.status())
            .value()
    });
    let replicas = found.read_replica_db_instance_identifiers();
    let source = found.read_replica_source_db_instance_identifier();
    let fields = Fields::default()
        .set("DBInstanceIdentifier", found.db_instance_identifier())
        .set("DBInstanceArn", found.db_instance_arn())
        .set("DbiResourceId", found.dbi_resource_id())
        .set("DBInstanceClass", found.db_instance_class())
        .set("Engine", found.engine())
        .set("EngineVersion", found.engine_version())
        .set("DBInstanceStatus", found.db_instance_status())
        .set("MasterUsername", found.master_username())
        .set("DBName", found.db_name())
        .set("Endpoint", endpoint)
        .set("AllocatedStorage", found.allocated_storage())
        .set("StorageType", found.storage_type())
        .set("Iops", found.iops())
        .set("StorageThroughput", found.storage_throughput())
        .set("StorageEncrypted", found.storage_encrypted())
        .set("KmsKeyId", found.kms_key_id())
        .set("BackupRetentionPeriod", found.backup_retention_period())
        .set("MultiAZ", found.multi_az())
        .set("AvailabilityZone", found.availability_zone())
        .set("PubliclyAccessible", found.publicly_accessible())
        .set("DeletionProtection", found.deletion_protection())
        .set("CopyTagsToSnapshot", found.copy_tags_to_snapshot())
        .set("LicenseModel", found.license_model())
        .set("InstanceCreateTime", counted(at, found.instance_create_time()))
        .set("LatestRestorableTime", counted(at, found.latest_restorable_time()))
        .set("ReadReplicaSourceDBInstanceIdentifier", source.filter(|source| !source.is_empty()))
        .list("ReadReplicaDBInstanceIdentifiers", replicas.iter().map(|id| id.as_str().into()))
        .list("StatusInfos", infos)
        .set("TagList", Some(tags(found.tag_list())));
    placed(fields, found).done()
}

/// Adds where an instance was put.
fn placed(fields: Fields, found: &DbInstance) -> Fields {
    let groups = found.vpc_security_groups().iter().map(|group| {
        Fields::default()
            .set("VpcSecurityGroupId", group.vpc_security_group_id())
            .set("Status", group.status())
            .value()
    });
    let parameters = found.db_parameter_groups().iter().map(|group| {
        Fields::default()
            .set("DBParameterGroupName", group.db_parameter_group_name())
            .set("ParameterApplyStatus", group.parameter_apply_status())
            .value()
    });
    let subnets = found.db_subnet_group().map(|group| Value::Object(subnet_group(group)));
    fields
        .set("DBSubnetGroup", subnets)
        .list("VpcSecurityGroups", groups)
        .list("DBParameterGroups", parameters)
}

fn tags(tags: &[Tag]) -> Vec<Value> {
    let tag = |tag: &Tag| Fields::default().set("Key", tag.key()).set("Value", tag.value()).value();
    tags.iter().map(tag).collect()
}

fn snapshot(found: &DbSnapshot, at: Timestamp) -> Map<String, Value> {
    Fields::default()
        .set("DBSnapshotIdentifier", found.db_snapshot_identifier())
        .set("DBSnapshotArn", found.db_snapshot_arn())
        .set("DBInstanceIdentifier", found.db_instance_identifier())
        .set("DbiResourceId", found.dbi_resource_id())
        .set("Engine", found.engine())
        .set("EngineVersion", found.engine_version())
        .set("AllocatedStorage", found.allocated_storage())
        .set("StorageType", found.storage_type())
        .set("Iops", found.iops())
        .set("Encrypted", found.encrypted())
        .set("KmsKeyId", found.kms_key_id())
        .set("Port", found.port())
        .set("MasterUsername", found.master_username())
        .set("SnapshotType", found.snapshot_type())
        .set("Status", found.status())
        .set("PercentProgress", found.percent_progress())
        .set("SourceRegion", found.source_region())
        .set("SourceDBSnapshotIdentifier", found.source_db_snapshot_identifier())
        .set("SnapshotCreateTime", counted(at, found.snapshot_create_time()))
        .set("OriginalSnapshotCreateTime", counted(at, found.original_snapshot_create_time()))
        .set("TagList", Some(tags(found.tag_list())))
        .done()
}

fn backup(found: &DbInstanceAutomatedBackup, at: Timestamp) -> Map<String, Value> {
    let window = found.restore_window().map(|window| {
        Fields::default()
            .set("EarliestTime", counted(at, window.earliest_time()))
            .set("LatestTime", counted(at, window.latest_time()))
            .value()
    });
    Fields::default()
        .set("DBInstanceIdentifier", found.db_instance_identifier())
        .set("DBInstanceArn", found.db_instance_arn())
        .set("DBInstanceAutomatedBackupsArn", found.db_instance_automated_backups_arn())
        .set("DbiResourceId", found.dbi_resource_id())
        .set("Region", found.region())
        .set("Status", found.status())
        .set("Engine", found.engine())
        .set("EngineVersion", found.engine_version())
        .set("AllocatedStorage", found.allocated_storage())
        .set("StorageType", found.storage_type())
        .set("Iops", found.iops())
        .set("Encrypted", found.encrypted())
        .set("KmsKeyId", found.kms_key_id())
        .set("Port", found.port())
        .set("MasterUsername", found.master_username())
        .set("BackupRetentionPeriod", found.backup_retention_period())
        .set("RestoreWindow", window)
        .done()
}

fn subnet_group(found: &DbSubnetGroup) -> Map<String, Value> {
    let subnets = found.subnets().iter().map(|subnet| {
        Fields::default()
            .set("SubnetIdentifier", subnet.subnet_identifier())
            .set("SubnetStatus", subnet.subnet_status())
            .value()
    });
    Fields::default()
        .set("DBSubnetGroupName", found.db_subnet_group_name())
        .set("DBSubnetGroupDescription", found.db_subnet_group_description())
        .set("DBSubnetGroupArn", found.db_subnet_group_arn())
        .set("VpcId", found.vpc_id())
        .set("SubnetGroupStatus", found.subnet_group_status())
        .list("Subnets", subnets)
        .done()
}

fn parameter_group(found: &DbParameterGroup) -> Map<String, Value> {
    Fields::default()
        .set("DBParameterGroupName", found.db_parameter_group_name())
        .set("DBParameterGroupFamily", found.db_parameter_group_family())
        .set("Description", found.description())
        .set("DBParameterGroupArn", found.db_parameter_group_arn())
        .done()
}
