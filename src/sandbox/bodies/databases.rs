//! Fields of what RDS has.

use super::{Field, Of, may, must};

const PORT: Of = Of::Whole(0, 65_535);
const DAYS: Of = Of::Whole(0, 35);
/// The largest volumes together have 256 TiB; an Aurora instance says 1.
const GIB: Of = Of::Whole(0, 262_144);
const IOPS: Of = Of::Whole(0, 1_000_000);
const MBPS: Of = Of::Whole(0, 100_000);

const ENGINE: Of = Of::Words(&[
    "postgres",
    "aurora-postgresql",
    "aurora-mysql",
    "mysql",
    "mariadb",
    "docdb",
    "neptune",
    "db2-ae",
    "db2-se",
    "oracle-ee",
    "oracle-ee-cdb",
    "oracle-se2",
    "oracle-se2-cdb",
    "custom-oracle-ee",
    "custom-oracle-ee-cdb",
    "custom-oracle-se2",
    "custom-oracle-se2-cdb",
    "sqlserver-ee",
    "sqlserver-se",
    "sqlserver-ex",
    "sqlserver-web",
    "custom-sqlserver-ee",
    "custom-sqlserver-se",
    "custom-sqlserver-web",
    "custom-sqlserver-dev",
]);

const STORAGE: Of = Of::Words(&["standard", "gp2", "gp3", "io1", "io2", "aurora", "aurora-iopt1"]);

/// As the guide of RDS lists them.
const INSTANCE_STATUS: Of = Of::Words(&[
    "available",
    "backing-up",
    "configuring-enhanced-monitoring",
    "configuring-iam-database-auth",
    "configuring-log-exports",
    "converting-to-vpc",
    "creating",
    "delete-precheck",
    "deleting",
    "failed",
    "inaccessible-encryption-credentials",
    "inaccessible-encryption-credentials-recoverable",
    "incompatible-create",
    "incompatible-network",
    "incompatible-option-group",
    "incompatible-parameters",
    "incompatible-restore",
    "insufficient-capacity",
    "maintenance",
    "modifying",
    "moving-to-vpc",
    "rebooting",
    "renaming",
    "resetting-master-credentials",
    "restore-error",
    "starting",
    "stopped",
    "stopping",
    "storage-config-upgrade",
    "storage-full",
    "storage-initialization",
    "storage-optimization",
    "upgrading",
]);

const CLUSTER_STATUS: Of = Of::Words(&[
    "available",
    "backing-up",
    "backtracking",
    "cloning-failed",
    "creating",
    "deleting",
    "failing-over",
    "inaccessible-encryption-credentials",
    "inaccessible-encryption-credentials-recoverable",
    "maintenance",
    "migrating",
    "migration-failed",
    "modifying",
    "preparing-data-migration",
    "promoting",
    "rebooting",
    "renaming",
    "resetting-master-credentials",
    "starting",
    "stopped",
    "stopping",
    "storage-optimization",
    "update-iam-db-auth",
    "upgrading",
]);

const REPLICATION: Of = Of::Words(&[
    "replicating",
    "replication degraded",
    "replication stop point set",
    "replication stop point reached",
    "error",
    "stopped",
    "terminated",
]);

const TAGS: Of = Of::Each(&[must("Key", Of::Text), may("Value", Of::Text)]);

const ENDPOINT: Of = Of::Inside(&[
    must("Address", Of::Text),
    may("Port", Of::Whole(1, 65_535)),
    may("HostedZoneId", Of::Text),
]);

const SECURITY_GROUPS: Of = Of::Each(&[
    must("VpcSecurityGroupId", Of::Text),
    may("Status", Of::Words(&["active", "adding", "moving", "removing", "deleting"])),
]);

const SUBNETS: Of = Of::Each(&[must("SubnetIdentifier", Of::Text), may("SubnetStatus", Of::Text)]);

/// What instances and Aurora's clusters both have.
pub(super) const SERVER: &[Field] = &[
    may("Engine", ENGINE),
    may("EngineVersion", Of::Text),
    may("AllocatedStorage", GIB),
    may("BackupRetentionPeriod", DAYS),
    may("MasterUsername", Of::Text),
    may("MultiAZ", Of::Flag),
    may("StorageEncrypted", Of::Flag),
    may("DeletionProtection", Of::Flag),
    may("LatestRestorableTime", Of::Instant),
    may("VpcSecurityGroups", SECURITY_GROUPS),
    may("TagList", TAGS),
];

/// What instances have besides [`SERVER`].
pub(super) const INSTANCE: &[Field] = &[
    may("DBInstanceIdentifier", Of::Text),
    may("DBInstanceArn", Of::Text),
    may("DbiResourceId", Of::Text),
    may("DBInstanceClass", Of::Text),
    may("DBInstanceStatus", INSTANCE_STATUS),
    may("DBName", Of::Text),
    may("Endpoint", ENDPOINT),
    may("MaxAllocatedStorage", GIB),
    may("StorageType", STORAGE),
    may("Iops", IOPS),
    may("StorageThroughput", MBPS),
    may("KmsKeyId", Of::Text),
    may("AvailabilityZone", Of::Text),
    may("PubliclyAccessible", Of::Flag),
    may("CopyTagsToSnapshot", Of::Flag),
    may("LicenseModel", Of::Text),
    may("InstanceCreateTime", Of::Instant),
    may("ReadReplicaSourceDBInstanceIdentifier", Of::Text),
    may("ReadReplicaDBInstanceIdentifiers", Of::Texts),
    may(
        "StatusInfos",
        Of::Each(&[
            may("StatusType", Of::Text),
            may("Normal", Of::Flag),
            may("Status", REPLICATION),
        ]),
    ),
    may("DBSubnetGroup", Of::Inside(SUBNET_GROUP)),
    may(
        "DBParameterGroups",
        Of::Each(&[must("DBParameterGroupName", Of::Text), may("ParameterApplyStatus", Of::Text)]),
    ),
    may("PendingModifiedValues", Of::Inside(PENDING)),
];

const PENDING: &[Field] = &[
    may("AllocatedStorage", GIB),
    may("BackupRetentionPeriod", DAYS),
    may("DBInstanceClass", Of::Text),
    may("EngineVersion", Of::Text),
    may("MultiAZ", Of::Flag),
];

pub(super) const SNAPSHOT: &[Field] = &[
    may("DBSnapshotIdentifier", Of::Text),
    may("DBSnapshotArn", Of::Text),
    may("DBInstanceIdentifier", Of::Text),
    may("DbiResourceId", Of::Text),
    may("Engine", ENGINE),
    may("EngineVersion", Of::Text),
    may("AllocatedStorage", GIB),
    may("StorageType", STORAGE),
    may("Iops", IOPS),
    may("Encrypted", Of::Flag),
    may("KmsKeyId", Of::Text),
    may("Port", PORT),
    may("MasterUsername", Of::Text),
    may("SnapshotType", Of::Words(&["manual", "automated", "awsbackup", "shared", "public"])),
    may(
        "Status",
        Of::Words(&["available", "creating", "copying", "deleting", "failed", "pending"]),
    ),
    may("PercentProgress", Of::Whole(0, 100)),
    may("SourceRegion", Of::Text),
    may("SourceDBSnapshotIdentifier", Of::Text),
    may("SnapshotCreateTime", Of::Instant),
    may("OriginalSnapshotCreateTime", Of::Instant),
    may("InstanceCreateTime", Of::Instant),
    may("TagList", TAGS),
];

pub(super) const BACKUP: &[Field] = &[
    may("DBInstanceIdentifier", Of::Text),
    may("DBInstanceArn", Of::Text),
    may("DBInstanceAutomatedBackupsArn", Of::Text),
    may("DbiResourceId", Of::Text),
    may("Region", Of::Text),
    may("Status", Of::Words(&["active", "replicating", "retained", "creating", "pending"])),
    may("Engine", ENGINE),
    may("EngineVersion", Of::Text),
    may("AllocatedStorage", GIB),
    may("StorageType", STORAGE),
    may("Iops", IOPS),
    may("Encrypted", Of::Flag),
    may("KmsKeyId", Of::Text),
    may("Port", PORT),
    may("MasterUsername", Of::Text),
    may("BackupRetentionPeriod", DAYS),
    may("DBInstanceClass", Of::Text),
    may("InstanceCreateTime", Of::Instant),
    may(
        "RestoreWindow",
        Of::Inside(&[may("EarliestTime", Of::Instant), may("LatestTime", Of::Instant)]),
    ),
    may("TagList", TAGS),
];

pub(super) const SUBNET_GROUP: &[Field] = &[
    may("DBSubnetGroupName", Of::Text),
    may("DBSubnetGroupDescription", Of::Text),
    may("DBSubnetGroupArn", Of::Text),
    may("VpcId", Of::Text),
    may("SubnetGroupStatus", Of::Text),
    may("Subnets", SUBNETS),
];

pub(super) const PARAMETER_GROUP: &[Field] = &[
    may("DBParameterGroupName", Of::Text),
    may("DBParameterGroupFamily", Of::Text),
    may("DBParameterGroupArn", Of::Text),
    may("Description", Of::Text),
];

pub(super) const SECURITY_GROUP: &[Field] = &[
    must("GroupId", Of::Text),
    may("GroupName", Of::Text),
    may("Description", Of::Text),
    may("VpcId", Of::Text),
];

/// What clusters have besides [`SERVER`].
pub(super) const CLUSTER: &[Field] = &[
    may("DBClusterIdentifier", Of::Text),
    may("DBClusterArn", Of::Text),
    may("DbClusterResourceId", Of::Text),
    may("EngineMode", Of::Words(&["provisioned", "serverless", "parallelquery", "global"])),
    may("Status", CLUSTER_STATUS),
    may("Endpoint", Of::Text),
    may("ReaderEndpoint", Of::Text),
    may("Port", PORT),
    may("DatabaseName", Of::Text),
    may("ClusterCreateTime", Of::Instant),
    may("EarliestRestorableTime", Of::Instant),
    may("ReplicationSourceIdentifier", Of::Text),
    may("ReadReplicaIdentifiers", Of::Texts),
    may(
        "DBClusterMembers",
        Of::Each(&[
            must("DBInstanceIdentifier", Of::Text),
            may("IsClusterWriter", Of::Flag),
            may("PromotionTier", Of::Whole(0, 15)),
        ]),
    ),
];

pub(super) const GLOBAL: &[Field] = &[
    may("GlobalClusterIdentifier", Of::Text),
    may("GlobalClusterArn", Of::Text),
    may("GlobalClusterResourceId", Of::Text),
    may("Engine", ENGINE),
    may("EngineVersion", Of::Text),
    may("Status", CLUSTER_STATUS),
    may("DatabaseName", Of::Text),
    may("StorageEncrypted", Of::Flag),
    may("DeletionProtection", Of::Flag),
    may(
        "GlobalClusterMembers",
        Of::Each(&[
            must("DBClusterArn", Of::Text),
            may("IsWriter", Of::Flag),
            may("Readers", Of::Texts),
            may("SynchronizationStatus", Of::Text),
        ]),
    ),
];
