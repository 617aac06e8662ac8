//! The database: its instances, what can be restored, and what SQL finds.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::estate::{PORT, named};
use super::super::world::Kind;
use super::{Making, names};
use crate::estate::types::{Database, DatabaseInstance};

const CLASS: &str = "db.r6g.xlarge";
const VERSION: &str = "15.8";
const FAMILY: &str = "postgres15";
const GIB: u32 = 200;
/// A replica has its primary's.
const SYSTEM: &str = "7311224466880011223";
const RESOURCE: &str = "db-REHEARSALPRIMARY000001";
const REPLICA_RESOURCE: &str = "db-REHEARSALREPLICA000001";

pub(super) fn make(making: &mut Making<'_>) {
    groups(making);
    security_groups(making);
    let Some(database) = &making.estate.database else { return };
    primary(making, database);
    if let Some(replica) = &database.replica {
        follower(making, database, replica);
    }
    if let Some(backup) = &database.automated_backup {
        let made =
            format!("arn:aws:rds:{}:{}:auto-backup:ab-rehearsal", backup.region, making.account);
        let arn = backup.arn.clone().unwrap_or(made);
        let id = arn.rsplit(':').next().unwrap_or_default().to_owned();
        let mut body = stored(database);
        set(
            &mut body,
            json!({
                "DBInstanceAutomatedBackupsArn": arn,
                "Region": database.primary.region,
                "Status": "replicating",
                "BackupRetentionPeriod": 7,
                "DBInstanceClass": class(database),
                "RestoreWindow": { "EarliestTime": "now-7d", "LatestTime": "now-12m" },
            }),
        );
        making.add(Kind::RdsBackup, &backup.region, &id, body);
    }
    snapshots(making, database);
    told(making, database);
}

/// The security groups of restored instances, and those that cut one off.
fn security_groups(making: &mut Making<'_>) {
    let estate = making.estate;
    let restored = estate.regions.iter().flat_map(|(name, region)| {
        region.security_groups.iter().map(move |group| (name.as_str(), group.as_str()))
    });
    let database = estate.database.iter();
    let instances = database.flat_map(|known| [Some(&known.primary), known.replica.as_ref()]);
    let fences = instances
        .flatten()
        .filter_map(|known| Some((known.region.as_str(), known.fence_security_group.as_deref()?)));
    // One may be both.
    let named: BTreeSet<(&str, &str)> = restored.chain(fences).collect();
    for (region, group) in named {
        making.add(Kind::SecurityGroup, region, group, json!({ "GroupId": group }));
    }
}

/// What a restored instance is put in.
fn groups(making: &mut Making<'_>) {
    for (name, region) in &making.estate.regions {
        if let Some(group) = &region.subnet_group {
            let subnet = |id: &str| json!({ "SubnetIdentifier": id, "SubnetStatus": "Active" });
            making.add(
                Kind::RdsSubnetGroup,
                name,
                group,
                json!({
                    "DBSubnetGroupName": group,
                    "DBSubnetGroupDescription": "database subnets",
                    "VpcId": "vpc-0123456789abcdef0",
                    "SubnetGroupStatus": "Complete",
                    "Subnets": [subnet("subnet-0a"), subnet("subnet-0b")],
                }),
            );
        }
        if let Some(group) = &region.parameter_group {
            making.add(
                Kind::RdsParameterGroup,
                name,
                group,
                json!({
                    "DBParameterGroupName": group,
                    "DBParameterGroupFamily": FAMILY,
                    "Description": "settings",
                }),
            );
        }
    }
}

fn class(database: &Database) -> &str {
    database.recovered.class.as_deref().unwrap_or(CLASS)
}

fn set(body: &mut Value, more: Value) {
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
}

/// Returns what instances, backups and snapshots of the database have in common.
fn stored(database: &Database) -> Value {
    json!({
        "DBInstanceIdentifier": database.primary.id,
        "DbiResourceId": RESOURCE,
        "Engine": "postgres",
        "EngineVersion": VERSION,
        "AllocatedStorage": GIB,
        "StorageType": "gp3",
        "Encrypted": true,
        "Port": PORT,
        "MasterUsername": "postgres",
    })
}

fn arn(making: &Making<'_>, region: &str, what: &str, id: &str) -> String {
    format!("arn:aws:rds:{region}:{}:{what}:{id}", making.account)
}

fn instance(making: &Making<'_>, database: &Database, known: &DatabaseInstance) -> Value {
    let given = named(database, &known.id).map(|address| names::split(&address, PORT));
    // RDS gives names, and an address of this host's own way in says nothing of where the instance is.
    // Nor does one that both instances have: in a world a host leads to one of them.
    let primary = &database.primary;
    let first = named(database, &primary.id).map(|address| names::split(&address, PORT).0);
    let second = (&known.region, &known.id) != (&primary.region, &primary.id);
    let shared = |host: &str| second && first.as_deref() == Some(host);
    let given =
        given.filter(|(host, _)| !names::is_address(host) && host != "localhost" && !shared(host));
    let made = || (format!("{}.rehearsal.{}.rds.amazonaws.com", known.id, known.region), PORT);
    let (host, port) = given.unwrap_or_else(made);
    json!({
        "DBInstanceIdentifier": known.id,
        "DBInstanceArn": arn(making, &known.region, "db", &known.id),
        "DBInstanceClass": class(database),
        "Engine": "postgres",
        "EngineVersion": VERSION,
        "DBInstanceStatus": "available",
        "MasterUsername": "postgres",
        "DBName": database.name,
        "Endpoint": { "Address": host, "Port": port },
        "AllocatedStorage": GIB,
        "StorageType": "gp3",
        "StorageEncrypted": true,
        "InstanceCreateTime": "now-400d",
        "TagList": [],
    })
}

fn roles(database: &Database) -> Value {
    let roles = database.connection.application_roles.iter();
    roles.map(|role| (role.clone(), json!(true))).collect::<serde_json::Map<_, _>>().into()
}

fn primary(making: &mut Making<'_>, database: &Database) {
    let known = &database.primary;
    let replica = database.replica.as_ref();
    let replica = replica.map(|replica| arn(making, &replica.region, "db", &replica.id));
    let mut body = instance(making, database, known);
    set(
        &mut body,
        json!({
            "DbiResourceId": RESOURCE,
            "KmsKeyId": format!(
                "arn:aws:kms:{}:{}:key/11111111-2222-3333-4444-555555555555",
                known.region, making.account
            ),
            "BackupRetentionPeriod": 7,
            "MultiAZ": true,
            "DeletionProtection": true,
            "LatestRestorableTime": "now-11m",
            "ReadReplicaDBInstanceIdentifiers": replica.into_iter().collect::<Vec<_>>(),
        }),
    );
    making.add(Kind::RdsInstance, &known.region, &known.id, body);
    let sql = json!({ "system": SYSTEM, "roles": roles(database), "sessions": 14 });
    making.add(Kind::Postgres, &known.region, &known.id, sql);
}

fn follower(making: &mut Making<'_>, database: &Database, known: &DatabaseInstance) {
    let mut body = instance(making, database, known);
    let primary = &database.primary;
    set(
        &mut body,
        json!({
            "DbiResourceId": REPLICA_RESOURCE,
            "BackupRetentionPeriod": 0,
            "MultiAZ": false,
            "DeletionProtection": false,
            "ReadReplicaSourceDBInstanceIdentifier": arn(making, &primary.region, "db", &primary.id),
            "StatusInfos": [
                { "StatusType": "read replication", "Normal": false, "Status": "error" },
            ],
        }),
    );
    making.add(Kind::RdsInstance, &known.region, &known.id, body);
    let sql = json!({ "system": SYSTEM, "roles": roles(database), "replayed": "now-7s" });
    making.add(Kind::Postgres, &known.region, &known.id, sql);
}

/// One in each region that takes over.
fn snapshots(making: &mut Making<'_>, database: &Database) {
    let id = format!("{}-daily", database.primary.id);
    let regions = making.estate.regions.keys().filter(|region| making.takes_over(region));
    for region in regions.cloned().collect::<Vec<_>>() {
        let mut body = stored(database);
        set(
            &mut body,
            json!({
                "DBSnapshotIdentifier": id,
                "DBSnapshotArn": arn(making, &region, "snapshot", &id),
                "SnapshotType": "manual",
                "Status": "available",
                "PercentProgress": 100,
                "SnapshotCreateTime": "now-2h",
                "OriginalSnapshotCreateTime": "now-2h10m",
            }),
        );
        making.add(Kind::RdsSnapshot, &region, &id, body);
    }
}

fn told(making: &mut Making<'_>, database: &Database) {
    let mut said = format!("PostgreSQL {VERSION}, {GIB} GiB, encrypted, {}", class(database));
    if database.replica.is_some() {
        said += "; its replica is 7s behind";
    }
    if database.automated_backup.is_some() {
        said += "; its replicated backup 12m";
    }
    said += "; a snapshot two hours old in each region that takes over";
    making.guess("the database", None, said);
}
