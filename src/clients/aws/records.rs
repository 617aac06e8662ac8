//! Route 53 record sets as they are: read whole, compared by value, turned back into what UPSERT takes.
//!
//! Owns the listing's traps and Route 53's rules of which record of a group can be answered.

use aws_sdk_route53::types::{
    AliasTarget, Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet,
    ResourceRecordSetFailover, RrType,
};
use serde::{Deserialize, Serialize};

use super::Regional;
use super::error::{Nature, failure};
use crate::outcome::{ActionError, FailureClass};

/// One record set in the shape of the AWS CLI: the before-image, and what a person would UPSERT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct RecordSet {
    pub name: String,
    pub r#type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_identifier: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i64>,
    /// `PRIMARY` or `SECONDARY`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<String>,
    #[serde(rename = "TTL", default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource_records: Vec<RecordValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias_target: Option<Alias>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check_id: Option<String>,
}

/// One value of a record set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct RecordValue {
    pub value: String,
}

/// Where an alias record points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Alias {
    pub hosted_zone_id: String,
    #[serde(rename = "DNSName")]
    pub dns_name: String,
    pub evaluate_target_health: bool,
}

impl RecordSet {
    /// Returns the record's values; none for an alias.
    pub(crate) fn values(&self) -> Vec<&str> {
        self.resource_records.iter().map(|record| record.value.as_str()).collect()
    }

    fn read(set: &ResourceRecordSet) -> Result<Self, ActionError> {
        let other = [
            (set.region().is_some(), "latency"),
            (set.geo_location().is_some(), "geolocation"),
            (set.geo_proximity_location().is_some(), "geoproximity"),
            (set.cidr_routing_config().is_some(), "CIDR"),
            (set.multi_value_answer().is_some(), "multivalue"),
            (set.traffic_policy_instance_id().is_some(), "traffic policy"),
        ];
        if let Some((_, routing)) = other.iter().find(|(found, _)| *found) {
            let message = format!(
                "{} {} is routed by {routing}, which is neither weighted nor failover",
                set.name(),
                set.r#type()
            );
            return Err(ActionError::unchanged(FailureClass::Invalid, message)
                .hint("traffic can be moved by weighted or failover records only"));
        }
        Ok(Self {
            name: set.name().to_owned(),
            r#type: set.r#type().as_str().to_owned(),
            set_identifier: set.set_identifier().map(str::to_owned),
            weight: set.weight(),
            failover: set.failover().map(|failover| failover.as_str().to_owned()),
            ttl: set.ttl(),
            resource_records: set
                .resource_records()
                .iter()
                .map(|record| RecordValue { value: record.value().to_owned() })
                .collect(),
            alias_target: set.alias_target().map(|alias| Alias {
                hosted_zone_id: alias.hosted_zone_id().to_owned(),
                dns_name: alias.dns_name().to_owned(),
                evaluate_target_health: alias.evaluate_target_health(),
            }),
            health_check_id: set.health_check_id().map(str::to_owned),
        })
    }

    fn write(&self) -> Result<ResourceRecordSet, aws_sdk_route53::error::BuildError> {
        let alias = self.alias_target.as_ref().map(|alias| {
            AliasTarget::builder()
                .hosted_zone_id(&alias.hosted_zone_id)
                .dns_name(&alias.dns_name)
                .evaluate_target_health(alias.evaluate_target_health)
                .build()
        });
        let records = self
            .resource_records
            .iter()
            .map(|record| ResourceRecord::builder().value(&record.value).build())
            .collect::<Result<Vec<_>, _>>()?;
        ResourceRecordSet::builder()
            .name(&self.name)
            .r#type(RrType::from(self.r#type.as_str()))
            .set_set_identifier(self.set_identifier.clone())
            .set_weight(self.weight)
            .set_failover(self.failover.as_deref().map(ResourceRecordSetFailover::from))
            .set_ttl(self.ttl)
            .set_resource_records(Some(records).filter(|records| !records.is_empty()))
            .set_alias_target(alias.transpose()?)
            .set_health_check_id(self.health_check_id.clone())
            .build()
    }
}

/// Returns one change batch that UPSERTs all of `sets`: all of it is done, or nothing.
pub(crate) fn upsert(sets: &[&RecordSet], comment: &str) -> Result<ChangeBatch, ActionError> {
    let build = || {
        let mut batch = ChangeBatch::builder().comment(comment);
        for set in sets {
            let change = Change::builder()
                .action(ChangeAction::Upsert)
                .resource_record_set(set.write()?)
                .build()?;
            batch = batch.changes(change);
        }
        batch.build()
    };
    build().map_err(|error| {
        let message = format!("build the change of the record sets: {error}");
        ActionError::unchanged(FailureClass::Internal, message)
    })
}

/// Reads every record set of a name and type, over as many pages as there are.
pub(crate) async fn read(
    aws: &Regional,
    zone: &str,
    name: &str,
    record_type: &str,
) -> Result<Vec<RecordSet>, ActionError> {
    let mut sets = Vec::new();
    let mut start = (name.to_owned(), record_type.to_owned(), None);
    loop {
        let page = aws
            .route53
            .list_resource_record_sets()
            .hosted_zone_id(zone)
            .start_record_name(&start.0)
            .start_record_type(RrType::from(start.1.as_str()))
            .set_start_record_identifier(start.2.take())
            .send()
            .await
            .map_err(|error| {
                failure(Nature::Read, "route53:ListResourceRecordSets", &aws.region, &error)
            })?;
        // The listing starts at the name and goes on with whatever comes next in the zone.
        let asked = |set: &&ResourceRecordSet| {
            same_name(set.name(), name) && set.r#type().as_str() == record_type
        };
        for set in page.resource_record_sets().iter().filter(asked) {
            sets.push(RecordSet::read(set)?);
        }
        let next = (page.next_record_name(), page.next_record_type());
        let (Some(next_name), Some(next_type)) = next else { return Ok(sets) };
        let beyond = !same_name(next_name, name) || next_type.as_str() != record_type;
        if !page.is_truncated() || beyond {
            return Ok(sets);
        }
        let identifier = page.next_record_identifier().map(str::to_owned);
        start = (next_name.to_owned(), next_type.as_str().to_owned(), identifier);
    }
}

/// Says whether two names are the same to Route 53: case, the final dot and escapes such as `\052` do not matter.
pub(crate) fn same_name(left: &str, right: &str) -> bool {
    plain(left) == plain(right)
}

fn plain(name: &str) -> Vec<u8> {
    let bytes = name.strip_suffix('.').unwrap_or(name).as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let octal = bytes.get(at + 1..at + 4).filter(|digits| {
            *byte == b'\\' && digits.iter().all(|digit| (b'0'..=b'7').contains(digit))
        });
        let (value, length) = match octal {
            Some(digits) => {
                let number =
                    digits.iter().fold(0_u32, |number, digit| number * 8 + u32::from(digit - b'0'));
                (u8::try_from(number).unwrap_or(*byte), 4)
            }
            None => (*byte, 1),
        };
        plain.push(value.to_ascii_lowercase());
        at += length;
    }
    plain
}

/// What is known of a record's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Healthy,
    Unhealthy,
    /// It has a health check nobody could read
    Unknown,
}

/// Unknown records of a group that are tried in every combination; with more nothing is said.
const UNKNOWN_MAX: usize = 8;

/// Returns the records of a group that Route 53 can answer with, by its own rules; `None` where an unread health
/// check decides.
///
/// Weighted: healthy records with a weight; without any, healthy ones of weight zero; without any healthy, as if all
/// were; all weights zero count as equal. Failover: the primary while it is healthy, else a healthy secondary, else
/// the primary.
pub(crate) fn answerable(
    sets: &[RecordSet],
    health: impl Fn(&RecordSet) -> Health + Copy,
) -> Option<Vec<&RecordSet>> {
    let mut ways = ways(sets, health)?;
    // What cannot be known must not matter: the answer has to be the same whichever way it is.
    if ways.len() == 1 { ways.pop() } else { None }
}

/// Returns the different answers of a group, one for each way the unknown health of its records may be; `None` where
/// there are too many to tell.
pub(crate) fn ways(
    sets: &[RecordSet],
    health: impl Fn(&RecordSet) -> Health + Copy,
) -> Option<Vec<Vec<&RecordSet>>> {
    let states: Vec<Health> = sets.iter().map(health).collect();
    let unknown: Vec<usize> = states
        .iter()
        .enumerate()
        .filter(|(_, state)| **state == Health::Unknown)
        .map(|(at, _)| at)
        .collect();
    if unknown.len() > UNKNOWN_MAX {
        return None;
    }
    let mut ways: Vec<Vec<&RecordSet>> = Vec::new();
    for combination in 0..1_u32 << unknown.len() {
        let mut alive: Vec<bool> = states.iter().map(|state| *state == Health::Healthy).collect();
        for (bit, at) in unknown.iter().enumerate() {
            alive[*at] = combination >> bit & 1 == 1;
        }
        let healthy = |set: &&RecordSet| {
            sets.iter().position(|known| std::ptr::eq(known, *set)).is_some_and(|at| alive[at])
        };
        let answers = choose(sets, healthy);
        if !ways.contains(&answers) {
            ways.push(answers);
        }
    }
    Some(ways)
}

fn choose(sets: &[RecordSet], healthy: impl Fn(&&RecordSet) -> bool) -> Vec<&RecordSet> {
    let weighted = |set: &&RecordSet| set.weight.unwrap_or(1) > 0;
    if sets.iter().any(|set| set.failover.is_some()) {
        let role = |role: &str| sets.iter().find(|set| set.failover.as_deref() == Some(role));
        let primary = role("PRIMARY");
        return primary
            .filter(&healthy)
            .or_else(|| role("SECONDARY").filter(&healthy))
            .or(primary)
            .into_iter()
            .collect();
    }
    let alive: Vec<&RecordSet> = sets.iter().filter(&healthy).collect();
    let alive = if alive.is_empty() { sets.iter().collect() } else { alive };
    let heavy: Vec<&RecordSet> = alive.iter().copied().filter(weighted).collect();
    if heavy.is_empty() { alive } else { heavy }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(identifier: &str, weight: Option<i64>, failover: Option<&str>) -> RecordSet {
        RecordSet {
            name: "app.phoenix.example.".to_owned(),
            r#type: "A".to_owned(),
            set_identifier: Some(identifier.to_owned()),
            weight,
            failover: failover.map(str::to_owned),
            ttl: Some(60),
            resource_records: vec![RecordValue { value: "192.0.2.1".to_owned() }],
            alias_target: None,
            health_check_id: None,
        }
    }

    fn answers(sets: &[RecordSet], ill: &[&str], unread: &[&str]) -> Option<Vec<String>> {
        let named = |names: &[&str], set: &RecordSet| {
            set.set_identifier.as_deref().is_some_and(|name| names.contains(&name))
        };
        let health = |set: &RecordSet| {
            if named(unread, set) {
                Health::Unknown
            } else if named(ill, set) {
                Health::Unhealthy
            } else {
                Health::Healthy
            }
        };
        let found = answerable(sets, health)?;
        Some(found.into_iter().filter_map(|set| set.set_identifier.clone()).collect())
    }

    #[test]
    fn weighted_groups() {
        let sets = [set("old", Some(0), None), set("new", Some(100), None)];
        assert_eq!(answers(&sets, &[], &[]), Some(vec!["new".to_owned()]));
        assert_eq!(answers(&sets, &["new"], &[]), Some(vec!["old".to_owned()]));
        assert_eq!(answers(&sets, &["new", "old"], &[]), Some(vec!["new".to_owned()]));
        assert_eq!(answers(&sets, &[], &["old"]), Some(vec!["new".to_owned()]));
        assert_eq!(answers(&sets, &[], &["new"]), None);
        // Both unread: the one with the weight may be the only one that is ill.
        assert_eq!(answers(&sets, &[], &["old", "new"]), None);
        let zero = [set("old", Some(0), None), set("new", Some(0), None)];
        assert_eq!(answers(&zero, &[], &[]), Some(vec!["old".to_owned(), "new".to_owned()]));
    }

    #[test]
    fn failover_pairs() {
        let sets = [set("old", None, Some("PRIMARY")), set("new", None, Some("SECONDARY"))];
        assert_eq!(answers(&sets, &[], &[]), Some(vec!["old".to_owned()]));
        assert_eq!(answers(&sets, &["old"], &[]), Some(vec!["new".to_owned()]));
        assert_eq!(answers(&sets, &["old", "new"], &[]), Some(vec!["old".to_owned()]));
        assert_eq!(answers(&sets, &[], &["old"]), None);
        assert_eq!(answers(&sets, &[], &["new"]), Some(vec!["old".to_owned()]));
    }

    #[test]
    fn names_as_route_53_writes_them() {
        assert!(same_name("App.Phoenix.Example", "app.phoenix.example."));
        assert!(same_name("\\052.phoenix.example.", "*.phoenix.example"));
        assert!(!same_name("app2.phoenix.example.", "app.phoenix.example"));
        assert!(!same_name("app.phoenix.example.com.", "app.phoenix.example"));
    }

    #[test]
    fn an_image_is_read_back_as_it_was() {
        let mut alias = set("old", Some(3), None);
        alias.ttl = None;
        alias.resource_records.clear();
        alias.alias_target = Some(Alias {
            hosted_zone_id: "Z2".to_owned(),
            dns_name: "lb.example.".to_owned(),
            evaluate_target_health: true,
        });
        alias.health_check_id = Some("hc".to_owned());
        let image = serde_json::to_value(&alias).expect("an image");
        assert_eq!(image["AliasTarget"]["DNSName"], "lb.example.");
        assert_eq!(serde_json::from_value::<RecordSet>(image).expect("the set"), alias);
        let written = alias.write().expect("a set");
        assert_eq!(RecordSet::read(&written).expect("read back"), alias);
    }
}
