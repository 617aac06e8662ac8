//! Defaults of the estate file: the objectives, severities and figures of the procedures document.

use std::collections::BTreeMap;

use super::types::{Objective, Priority, Severity, SeverityRule};
use crate::span::Span;

/// RTO and RPO by priority.
pub(super) fn objectives() -> BTreeMap<Priority, Objective> {
    BTreeMap::from([
        (Priority::P0, Objective { rto_max: None, rto: Span::minutes(30), rpo: Span::minutes(5) }),
        (Priority::P1, Objective { rto_max: None, rto: Span::minutes(60), rpo: Span::minutes(15) }),
        (
            Priority::P2,
            Objective { rto_max: None, rto: Span::minutes(120), rpo: Span::minutes(30) },
        ),
        (
            Priority::P3,
            Objective { rto_max: None, rto: Span::minutes(240), rpo: Span::minutes(60) },
        ),
    ])
}

/// Who is told how soon.
pub(crate) fn severities() -> BTreeMap<Severity, SeverityRule> {
    let rule = |internal: u64, external: u64, escalation: &str| SeverityRule {
        internal: Span::minutes(internal),
        external: Span::minutes(external),
        escalation: escalation.to_owned(),
    };
    BTreeMap::from([
        (Severity::SEV1, rule(0, 15, "VP Engineering")),
        (Severity::SEV2, rule(30, 60, "Engineering Manager")),
        (Severity::SEV3, rule(60, 240, "Team Lead")),
        (Severity::SEV4, rule(240, 24 * 60, "On-call Engineer")),
    ])
}

pub(super) fn state_prefix() -> String {
    "phoenix-dr".to_owned()
}

pub(super) fn record_type() -> String {
    "CNAME".to_owned()
}

pub(super) const fn yes() -> bool {
    true
}

/// RDS keeps automated backups this many days where the estate says nothing.
pub(super) const fn backup_retention_days() -> i32 {
    7
}

/// TTL in seconds of a private CNAME the application connects through.
pub(super) const fn cname_ttl() -> i64 {
    30
}
