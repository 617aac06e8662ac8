//! Which of a name's record sets Route 53 answers with: each way of routing, with the health of what it leads to.

use serde_json::Value;

use super::super::objects::text;
use super::super::random::Random;
use super::places::{HERE, HERE_NAMED, Place};
use super::{Asker, CHAIN_MAX, plain};

/// Values of a multivalue answer, at most.
const MULTIVALUE_MAX: usize = 8;

/// Returns how a record set is routed.
pub(in crate::sandbox) fn routing(set: &Value) -> &'static str {
    let by = [
        ("Weight", "weighted"),
        ("Failover", "failover"),
        ("Region", "latency"),
        ("GeoLocation", "geolocation"),
        ("GeoProximityLocation", "geoproximity"),
        ("CidrRoutingConfig", "ip-based"),
        ("MultiValueAnswer", "multivalue"),
    ];
    let found = by.iter().find(|(field, _)| set.get(*field).is_some_and(|value| *value != false));
    found.map_or("simple", |(_, name)| name)
}

impl<'a> Asker<'a> {
    /// Says whether what is answered depends on where it is asked.
    pub(in crate::sandbox) fn by_place(self, name: &str, kind: &str) -> bool {
        let placed = ["latency", "geolocation", "geoproximity", "ip-based"];
        self.sets(name, kind).iter().any(|set| placed.contains(&routing(set)))
    }

    /// Returns what Route 53's name servers answer.
    pub(in crate::sandbox) fn records(
        self,
        name: &str,
        kind: &str,
        random: &mut Random,
    ) -> Vec<String> {
        self.answer(name, kind, random, 0)
    }

    fn answer(self, name: &str, kind: &str, random: &mut Random, depth: usize) -> Vec<String> {
        let all = self.sets(name, kind);
        let able = self.answerable(&all);
        let multivalue = able.iter().all(|set| routing(set) == "multivalue");
        if multivalue && !able.is_empty() {
            return several(&able, random);
        }
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
        let Some(alias) = chosen.get("AliasTarget") else { return values(chosen) };
        let target = plain(text(alias, "DNSName"));
        if depth < CHAIN_MAX && !self.sets(&target, kind).is_empty() {
            return self.answer(&target, kind, random, depth + 1);
        }
        self.hosted(&target)
    }

    /// Returns the sets among which chance decides: those that are healthy, else all as if they were.
    fn answerable(self, sets: &[&'a Value]) -> Vec<&'a Value> {
        let healthy: Vec<&Value> =
            sets.iter().copied().filter(|set| self.healthy(set, 0)).collect();
        let alive = if healthy.is_empty() { sets.to_vec() } else { healthy };
        match sets.first().map(|set| routing(set)) {
            Some("weighted") => heavy(alive),
            Some("failover") => in_turn(&alive, sets),
            Some("latency") => {
                let far = |set: &Value| Place::of_region(text(set, "Region")).map(distance);
                nearest(&alive, far)
            }
            Some("geoproximity") => nearest(&alive, |set| biased(&set["GeoProximityLocation"])),
            Some("geolocation") => smallest(&alive),
            Some("ip-based") => {
                let rest = |set: &&Value| text(&set["CidrRoutingConfig"], "LocationName") == "*";
                alive.into_iter().filter(rest).collect()
            }
            _ => alive,
        }
    }

    /// Says whether a set may be answered: by its health check, and by what an alias leads to where that counts.
    fn healthy(self, set: &Value, depth: usize) -> bool {
        let check = set.get("HealthCheckId").and_then(Value::as_str);
        if !check.is_none_or(|check| self.is_healthy(check)) {
            return false;
        }
        let alias = set.get("AliasTarget");
        let Some(alias) = alias.filter(|alias| alias["EvaluateTargetHealth"] == true) else {
            return true;
        };
        let target = plain(text(alias, "DNSName"));
        let behind = self.sets(&target, text(set, "Type"));
        if !behind.is_empty() && depth < CHAIN_MAX {
            return behind.iter().any(|set| self.healthy(set, depth + 1));
        }
        let endpoints = self.endpoints(&target);
        endpoints.is_empty()
            || endpoints
                .iter()
                .any(|(region, found)| found.status < 500 && !self.dark.contains_key(*region))
    }
}

fn values(set: &Value) -> Vec<String> {
    let values = set.get("ResourceRecords").and_then(Value::as_array);
    values.into_iter().flatten().map(|value| text(value, "Value").to_owned()).collect()
}

/// Returns the values of up to eight sets, in an order of chance.
fn several(sets: &[&Value], random: &mut Random) -> Vec<String> {
    let mut left = sets.to_vec();
    let mut found = Vec::new();
    while !left.is_empty() && found.len() < MULTIVALUE_MAX {
        let drawn = random.below(u64::try_from(left.len()).unwrap_or(1));
        found.extend(values(left.remove(usize::try_from(drawn).unwrap_or(0))));
    }
    found.truncate(MULTIVALUE_MAX);
    found
}

/// Sets of weight zero are answered only where there is no other.
fn heavy(alive: Vec<&Value>) -> Vec<&Value> {
    let weighs = |set: &&Value| set.get("Weight").and_then(Value::as_i64) != Some(0);
    let heavy: Vec<&Value> = alive.iter().copied().filter(weighs).collect();
    if heavy.is_empty() { alive } else { heavy }
}

/// The primary while it is alive, else the secondary, else the primary.
fn in_turn<'a>(alive: &[&'a Value], all: &[&'a Value]) -> Vec<&'a Value> {
    let role = |sets: &[&'a Value], role: &str| {
        sets.iter().copied().find(|set| text(set, "Failover") == role)
    };
    let chosen = role(alive, "PRIMARY").or_else(|| role(alive, "SECONDARY"));
    chosen.or_else(|| role(all, "PRIMARY")).into_iter().collect()
}

fn distance(place: Place) -> f64 {
    HERE.distance(place)
}

/// The set of the shortest way; latency is taken to grow with distance.
fn nearest<'a>(alive: &[&'a Value], far: impl Fn(&Value) -> Option<f64>) -> Vec<&'a Value> {
    let way = |set: &Value| far(set).unwrap_or(f64::MAX);
    let nearest = alive.iter().copied().min_by(|left, right| way(left).total_cmp(&way(right)));
    nearest.into_iter().collect()
}

/// Returns the way to a place of a geoproximity record, made longer or shorter by its bias.
fn biased(place: &Value) -> Option<f64> {
    let coordinate = |name: &str| text(&place["Coordinates"], name).parse::<f64>().ok();
    let there = match text(place, "AWSRegion") {
        "" => Place { latitude: coordinate("Latitude")?, longitude: coordinate("Longitude")? },
        region => Place::of_region(region)?,
    };
    let bias = place.get("Bias").and_then(Value::as_f64).unwrap_or(0.0) / 100.0;
    let way = distance(there);
    Some(if bias >= 0.0 { way * (1.0 - bias) } else { way / (1.0 + bias) })
}

/// The set of the smallest area that holds whoever asks; none where no area does.
fn smallest<'a>(alive: &[&'a Value]) -> Vec<&'a Value> {
    let [continent, country, subdivision] = HERE_NAMED;
    let size = |set: &Value| {
        let area = &set["GeoLocation"];
        let part = |name: &str| text(area, name);
        match (part("ContinentCode"), part("CountryCode"), part("SubdivisionCode")) {
            ("", named, part) if named == country && part == subdivision => Some(0),
            ("", named, "") if named == country => Some(1),
            (named, "", "") if named == continent => Some(2),
            ("", "*", _) => Some(3),
            _ => None,
        }
    };
    let found = alive.iter().copied().filter_map(|set| Some((size(set)?, set)));
    found.min_by_key(|(size, _)| *size).map(|(_, set)| set).into_iter().collect()
}
