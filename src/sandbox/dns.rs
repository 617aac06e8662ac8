//! DNS: Route 53's name servers with their health checks, and resolvers that keep an answer for its TTL.
//!
//! Name servers and health checkers are everywhere: they answer whatever region is dark.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::objects::{Objects, text};
use super::random::Random;
use super::world::{Endpoint, Kind};

/// Names behind names that are followed.
const CHAIN_MAX: usize = 8;

/// Regions that answer nothing.
pub(super) type Dark = std::collections::BTreeSet<String>;

/// Answers of one resolver it still keeps: by name and type.
#[derive(Debug, Default)]
pub(super) struct Resolvers {
    kept: BTreeMap<(String, String, String), (Timestamp, Vec<String>)>,
}

impl Resolvers {
    /// Returns what a resolver answers: addresses and texts, names followed to their end unless asked for.
    pub(super) fn ask(
        &mut self,
        objects: &Objects,
        dark: &Dark,
        resolver: &str,
        name: &str,
        kind: &str,
        random: &mut Random,
    ) -> Vec<String> {
        let now = objects.now();
        let mut name = plain(name);
        for _ in 0..CHAIN_MAX {
            let hosts = hosted(objects, &name);
            if kind == "A" && !hosts.is_empty() {
                return hosts;
            }
            let own = self.cached(objects, dark, resolver, (&name, kind), now, random);
            if !own.is_empty() || kind == "CNAME" {
                return own;
            }
            let further = self.cached(objects, dark, resolver, (&name, "CNAME"), now, random);
            match further.into_iter().next() {
                Some(next) => name = plain(&next),
                None => return Vec::new(),
            }
        }
        Vec::new()
    }

    fn cached(
        &mut self,
        objects: &Objects,
        dark: &Dark,
        resolver: &str,
        (name, kind): (&str, &str),
        now: Timestamp,
        random: &mut Random,
    ) -> Vec<String> {
        let key = (resolver.to_owned(), name.to_owned(), kind.to_owned());
        if let Some((until, answers)) = self.kept.get(&key)
            && *until > now
        {
            return answers.clone();
        }
        let answers = records(objects, dark, name, kind, random);
        if let Some(ttl) = ttl(objects, name, kind) {
            self.kept.insert(key, (now + SignedDuration::from_secs(ttl), answers.clone()));
        }
        answers
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Returns the addresses of what answers by a name.
fn hosted(objects: &Objects, name: &str) -> Vec<String> {
    let endpoints = objects.everywhere(Kind::Endpoint);
    let found = endpoints.filter_map(|(_, body)| endpoint(body));
    found
        .filter(|endpoint| endpoint.hosts.iter().any(|host| plain(host) == name))
        .map(|endpoint| endpoint.address)
        .collect()
}

pub(super) fn endpoint(body: &Value) -> Option<Endpoint> {
    serde_json::from_value(body.clone()).ok()
}

fn sets<'a>(objects: &'a Objects, name: &str, kind: &str) -> Vec<&'a Value> {
    let name = plain(name);
    let zones = objects.everywhere(Kind::Zone).map(|(_, body)| body);
    zones
        .filter_map(|zone| zone.get("ResourceRecordSets")?.as_array())
        .flatten()
        .filter(|set| plain(text(set, "Name")) == name && text(set, "Type") == kind)
        .collect()
}

fn ttl(objects: &Objects, name: &str, kind: &str) -> Option<i64> {
    sets(objects, name, kind).iter().find_map(|set| set.get("TTL")?.as_i64())
}

/// Returns what Route 53's name servers answer: one of the sets that can be answered, by weight.
pub(super) fn records(
    objects: &Objects,
    dark: &Dark,
    name: &str,
    kind: &str,
    random: &mut Random,
) -> Vec<String> {
    let all = sets(objects, name, kind);
    let able = answerable(objects, dark, &all);
    let weight = |set: &Value| set.get("Weight").and_then(Value::as_u64).unwrap_or(1);
    let total: u64 = able.iter().map(|set| weight(set)).sum();
    let mut drawn = random.below(total.max(1));
    let chosen = able.iter().find(|set| {
        let weight = weight(set);
        let here = drawn < weight;
        drawn = drawn.saturating_sub(weight);
        here
    });
    let Some(chosen) = chosen.or_else(|| able.first()) else { return Vec::new() };
    if let Some(alias) = chosen.get("AliasTarget") {
        return hosted(objects, &plain(text(alias, "DNSName")));
    }
    let values = chosen.get("ResourceRecords").and_then(Value::as_array);
    values.into_iter().flatten().map(|value| text(value, "Value").to_owned()).collect()
}

/// Healthy sets with a weight, else healthy ones of weight zero, else all as if they were healthy; of a failover pair
/// the primary while it is healthy, else a healthy secondary, else the primary.
fn answerable<'a>(objects: &Objects, dark: &Dark, sets: &[&'a Value]) -> Vec<&'a Value> {
    let healthy = |set: &&&Value| match set.get("HealthCheckId").and_then(Value::as_str) {
        Some(check) => objects
            .get(Kind::HealthCheck, "", check)
            .is_none_or(|check| is_healthy(objects, dark, check)),
        None => true,
    };
    let role = |role: &'static str| sets.iter().filter(move |set| text(set, "Failover") == role);
    if sets.iter().any(|set| set.get("Failover").is_some()) {
        let primary = role("PRIMARY").find(|set| healthy(set));
        let chosen = primary.or_else(|| role("SECONDARY").find(|set| healthy(set)));
        return chosen.or_else(|| role("PRIMARY").next()).into_iter().copied().collect();
    }
    let alive: Vec<&Value> = sets.iter().filter(healthy).copied().collect();
    let alive = if alive.is_empty() { sets.to_vec() } else { alive };
    let weighs = |set: &&&Value| set.get("Weight").and_then(Value::as_i64) != Some(0);
    let heavy: Vec<&Value> = alive.iter().filter(weighs).copied().collect();
    if heavy.is_empty() { alive } else { heavy }
}

/// Says whether a health check calls its record healthy, inversion applied.
fn is_healthy(objects: &Objects, dark: &Dark, check: &Value) -> bool {
    let config = &check["HealthCheckConfig"];
    if config["Disabled"] == true {
        return true;
    }
    answers_checkers(objects, dark, check) != (config["Inverted"] == true)
}

/// Says whether what a health check looks at answers its checkers.
pub(super) fn answers_checkers(objects: &Objects, dark: &Dark, check: &Value) -> bool {
    let config = &check["HealthCheckConfig"];
    let host = plain(text(config, "FullyQualifiedDomainName"));
    if let Some(up) = check.get("_up").and_then(Value::as_bool) {
        return up;
    }
    if let Some((bucket, key)) = watched(config) {
        let id = format!("{bucket}/{key}");
        let mut buckets = objects.everywhere(Kind::Bucket).filter(|(found, _)| found.id == bucket);
        return buckets.any(|(home, _)| objects.get(Kind::S3Object, &home.region, &id).is_some());
    }
    let mut endpoints = objects.everywhere(Kind::Endpoint);
    endpoints.any(|(key, body)| {
        let named =
            endpoint(body).is_some_and(|found| found.hosts.iter().any(|name| plain(name) == host));
        named && !dark.contains(&key.region)
    })
}

/// Returns the bucket and key of an object a health check looks at.
pub(super) fn watched(config: &Value) -> Option<(String, String)> {
    let host = text(config, "FullyQualifiedDomainName");
    let (bucket, rest) = host.split_once(".s3.")?;
    rest.ends_with("amazonaws.com").then(|| {
        (bucket.to_owned(), text(config, "ResourcePath").trim_start_matches('/').to_owned())
    })
}
