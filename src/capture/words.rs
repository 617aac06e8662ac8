//! What is nobody's own name: words, fields and numbers a world under other names keeps.

/// Words that are nobody's own.
const WORDS: [&str; 34] = [
    "amazonaws",
    "arn",
    "auto-backup",
    "aws",
    "aws-cn",
    "aws-us-gov",
    "cn",
    "com",
    "db",
    "deployment",
    "configmap",
    "elb",
    "false",
    "global",
    "healthz",
    "horizontalpodautoscaler",
    "http",
    "https",
    "key",
    "kms",
    "matchexpressions",
    "matchlabels",
    "namespace",
    "node",
    "operator",
    "pg",
    "rds",
    "s3",
    "secret",
    "service",
    "snapshot",
    "statefulset",
    "subgrp",
    "true",
];

/// Fields whose texts are AWS's, Kubernetes' or this program's own.
pub(super) const KEPT: [&str; 42] = [
    "apiVersion",
    "class",
    "ContentType",
    "ContinentCode",
    "CountryCode",
    "cpu",
    "DBInstanceClass",
    "DBInstanceStatus",
    "DBParameterGroupFamily",
    "Engine",
    "EngineVersion",
    "env",
    "ephemeral-storage",
    "escalation",
    "external",
    "Failover",
    "host_key",
    "internal",
    "kind",
    "LicenseModel",
    "memory",
    "ParameterApplyStatus",
    "pods",
    "port_key",
    "priority",
    "protocol",
    "role",
    "root_cert",
    "rpo",
    "rto",
    "rto_max",
    "severities",
    "shape",
    "SnapshotType",
    "Status",
    "StatusType",
    "StorageType",
    "SubnetGroupStatus",
    "SubnetStatus",
    "tls",
    "type",
    "Type",
];

/// Mappings whose keys are names.
pub(super) const NAMED: [&str; 7] =
    ["addresses", "answers", "labels", "matchLabels", "nodeSelector", "roles", "selector"];

/// Longest number that says nothing: a port, a size, a count.
const SMALL: usize = 5;

pub(super) fn all_digits(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Says whether a word is nobody's own.
pub(super) fn is_kept(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    WORDS.contains(&lower.as_str()) || (all_digits(word) && word.len() <= SMALL) || is_region(word)
}

/// Says whether a word is a region or one of its zones.
fn is_region(word: &str) -> bool {
    let parts: Vec<&str> = word.split('-').collect();
    let letters =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    match parts.as_slice() {
        [area, middle @ .., last] if !middle.is_empty() => {
            let number = last.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
            area.len() == 2
                && letters(area)
                && middle.len() <= 2
                && middle.iter().all(|part| {
                    [
                        "east",
                        "west",
                        "north",
                        "south",
                        "central",
                        "northeast",
                        "southeast",
                        "northwest",
                        "southwest",
                        "gov",
                        "iso",
                        "isob",
                    ]
                    .contains(part)
                })
                && number.len() == 1
                && all_digits(number)
                && last.len() <= 2
        }
        _ => false,
    }
}

/// Says whether a text is an instant as worlds have them.
pub(super) fn is_instant(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("now") else { return false };
    let length = rest.strip_prefix(['-', '+']);
    rest.is_empty() || length.is_some_and(|length| length.parse::<crate::span::Span>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_and_instants_are_nobodys_own() {
        for kept in [
            "us-east-1",
            "us-west-2b",
            "eu-central-1",
            "us-gov-west-1",
            "ap-southeast-2",
            "arn",
            "443",
        ] {
            assert!(is_kept(kept), "{kept}");
        }
        for name in
            ["phoenix-east-1", "us-platform-1", "db-east-12", "123456789012", "amazonaws2", "e-1"]
        {
            assert!(!is_kept(name), "{name}");
        }
        for instant in ["now", "now-7s", "now+1h30m"] {
            assert!(is_instant(instant), "{instant}");
        }
        assert!(!is_instant("nowhere") && !is_instant("now-phoenix"));
    }
}
