//! Fields of what Route 53 and AWS Health have.

use super::{Field, Of, may, must, own};

const TYPE: Of = Of::Words(&[
    "A", "AAAA", "CAA", "CNAME", "DS", "HTTPS", "MX", "NAPTR", "NS", "PTR", "SOA", "SPF", "SRV",
    "SSHFP", "SVCB", "TLSA", "TXT",
]);

const PLACE: Of = Of::Inside(&[
    may("ContinentCode", Of::Words(&["AF", "AN", "AS", "EU", "NA", "OC", "SA"])),
    may("CountryCode", Of::Text),
    may("SubdivisionCode", Of::Text),
]);

const RECORD: &[Field] = &[
    must("Name", Of::Text),
    must("Type", TYPE),
    may("SetIdentifier", Of::Text),
    may("Weight", Of::Whole(0, 255)),
    may("Failover", Of::Words(&["PRIMARY", "SECONDARY"])),
    may("Region", Of::Text),
    may("GeoLocation", PLACE),
    may("MultiValueAnswer", Of::Flag),
    may("TTL", Of::Whole(0, 2_147_483_647)),
    may("ResourceRecords", Of::Each(&[must("Value", Of::Text)])),
    may(
        "AliasTarget",
        Of::Inside(&[
            must("DNSName", Of::Text),
            may("HostedZoneId", Of::Text),
            may("EvaluateTargetHealth", Of::Flag),
        ]),
    ),
    may("HealthCheckId", Of::Text),
];

pub(super) const ZONE: &[Field] = &[
    must("Name", Of::Text),
    own("PrivateZone", Of::Flag, "Only VPCs see it"),
    may("CallerReference", Of::Text),
    may("Comment", Of::Text),
    may("Config", Of::Inside(&[may("Comment", Of::Text), may("PrivateZone", Of::Flag)])),
    own(
        "ResourceRecordSets",
        Of::Each(RECORD),
        "Its record sets, as ListResourceRecordSets has them",
    ),
];

const CONFIG: &[Field] = &[
    may(
        "Type",
        Of::Words(&[
            "HTTP",
            "HTTPS",
            "HTTP_STR_MATCH",
            "HTTPS_STR_MATCH",
            "TCP",
            "CALCULATED",
            "CLOUDWATCH_METRIC",
            "RECOVERY_CONTROL",
        ]),
    ),
    may("IPAddress", Of::Text),
    may("FullyQualifiedDomainName", Of::Text),
    may("Port", Of::Whole(1, 65_535)),
    may("ResourcePath", Of::Text),
    may("SearchString", Of::Text),
    may("RequestInterval", Of::Whole(10, 30)),
    may("FailureThreshold", Of::Whole(1, 10)),
    may("Inverted", Of::Flag),
    may("Disabled", Of::Flag),
    may("MeasureLatency", Of::Flag),
    may("EnableSNI", Of::Flag),
    may("HealthThreshold", Of::Whole(0, 256)),
    may("ChildHealthChecks", Of::Texts),
    may("Regions", Of::Texts),
    may("InsufficientDataHealthStatus", Of::Words(&["Healthy", "Unhealthy", "LastKnownStatus"])),
];

pub(super) const HEALTH_CHECK: &[Field] = &[
    must("HealthCheckConfig", Of::Inside(CONFIG)),
    may("HealthCheckVersion", Of::Whole(1, i64::MAX)),
    may("CallerReference", Of::Text),
    own(
        "_up",
        Of::Flag,
        "What its checkers saw, where the simulation has nothing they could look at",
    ),
];

pub(super) const CHANGE: &[Field] = &[
    may("Status", Of::Words(&["PENDING", "INSYNC"])),
    may("SubmittedAt", Of::Instant),
    may("Comment", Of::Text),
];

pub(super) const EVENT: &[Field] = &[
    may("arn", Of::Text),
    may("service", Of::Text),
    may("eventTypeCode", Of::Text),
    may(
        "eventTypeCategory",
        Of::Words(&["issue", "accountNotification", "scheduledChange", "investigation"]),
    ),
    may("region", Of::Text),
    may("availabilityZone", Of::Text),
    may("statusCode", Of::Words(&["open", "closed", "upcoming"])),
    may("startTime", Of::Instant),
    may("endTime", Of::Instant),
    may("lastUpdatedTime", Of::Instant),
];
