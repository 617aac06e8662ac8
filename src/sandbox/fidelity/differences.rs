//! Where the simulation and the servers differ by design, and who is right.

/// Which side answers as the service's documentation says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Simulation,
    #[allow(dead_code, reason = "so it should stay; where it does not, it must be said")]
    Servers,
}

/// One step whose answers differ.
pub(super) struct Difference {
    pub step: &'static str,
    pub right: Right,
    /// What the service's documentation says
    pub why: &'static str,
}

const fn ours(step: &'static str, why: &'static str) -> Difference {
    Difference { step, right: Right::Simulation, why }
}

pub(super) const DIFFERENCES: &[Difference] = &[
    // moto
    ours(
        "rds: a page that is too short",
        "MaxRecords is from 20 to 100, else InvalidParameterValue",
    ),
    ours(
        "rds: a parameter group that is not there",
        "DescribeDBParameterGroups answers DBParameterGroupNotFound, 404",
    ),
    ours(
        "rds: tags of an instance that is not there",
        "ListTagsForResource answers DBInstanceNotFound, 404",
    ),
    ours("rds: a snapshot", "a DBSnapshot has PercentProgress"),
    ours(
        "rds: a copy",
        "a DBSnapshot copied from another Region has SourceRegion, SourceDBSnapshotIdentifier and PercentProgress",
    ),
    ours(
        "rds: a global cluster that is not there",
        "DescribeGlobalClusters answers GlobalClusterNotFoundFault, 404",
    ),
    ours(
        "rds: an instance of no class is made",
        "a parameter that is required and missing is MissingParameter, 400",
    ),
    ours(
        "rds: an instance of no engine is made",
        "a parameter that is required and missing is MissingParameter, 400",
    ),
    ours(
        "rds: what is being made is followed",
        "the source of a replica is available, else InvalidDBInstanceState",
    ),
    ours(
        "rds: what keeps no backups is followed",
        "the source of a replica keeps backups, else InvalidDBInstanceState",
    ),
    ours("rds: a replica is stopped", "StopDBInstance stops no replica: InvalidDBInstanceState"),
    ours(
        "rds: a global cluster that is not there fails over",
        "FailoverGlobalCluster: the server does not know it",
    ),
    ours(
        "rds: a global cluster that is not there switches over",
        "SwitchoverGlobalCluster: the server does not know it",
    ),
    ours(
        "rds: a cluster leaves a global one that is not there",
        "RemoveFromGlobalCluster: the server does not know it",
    ),
    ours("health: events", "DescribeEvents: there is no such server"),
    // ministack
    ours(
        "route53: a zone is made again",
        "a CallerReference that was used is HostedZoneAlreadyExists, 409",
    ),
    ours(
        "route53: a record outside of the zone",
        "a record's name must be in its zone, else InvalidChangeBatch",
    ),
    ours("route53: a record with no address", "the value of an A record is an IPv4 address"),
    ours(
        "route53: a record another name at the top",
        "there can be no CNAME record at the top of a zone",
    ),
    ours(
        "route53: a record another name beside an address",
        "a name with a CNAME record has no other records",
    ),
    ours("route53: a record weighted too much", "Weight is from 0 to 255, else InvalidInput"),
    ours(
        "route53: a record weighted without a name for it",
        "every routing but the simple one needs SetIdentifier, else InvalidInput",
    ),
    ours(
        "route53: a record weighted beside a simple one",
        "records of one name and type have one kind of routing",
    ),
    ours(
        "route53: a simple record beside weighted ones",
        "records of one name and type have one kind of routing",
    ),
    ours(
        "route53: a record of a health check that is not there",
        "ChangeResourceRecordSets answers NoSuchHealthCheck, 404",
    ),
    ours(
        "route53: a weighted record of another TTL",
        "weighted records of one name and type have one TTL",
    ),
    ours(
        "route53: how a wildcard is listed",
        "ListResourceRecordSets writes an asterisk as the escape \\052",
    ),
    ours("route53: an answer is tried", "TestDNSAnswer: the server does not know it"),
    ours("route53: records from a type on", "a type without a name to begin at is InvalidInput"),
    ours("route53: what checkers see", "GetHealthCheckStatus: the server does not know it"),
    ours(
        "route53: a health check is changed by an old version",
        "another HealthCheckVersion than the current one is HealthCheckVersionMismatch, 409",
    ),
    ours(
        "s3: a replica has its source's version",
        "replicas keep the version ids of what they are made from",
    ),
    ours("s3: the sum the SDK sends", "PutObject answers with the checksum it was sent"),
    ours("s3: a right sum", "PutObject answers with the checksum it was sent"),
    ours("s3: parts in the wrong order", "CompleteMultipartUpload answers InvalidPartOrder"),
    ours(
        "s3: parts that are too short",
        "every part but the last has at least 5 MiB, else EntityTooSmall",
    ),
];
