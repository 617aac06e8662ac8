//! DNS: Route 53's name servers with their health checks, and resolvers that keep an answer for its TTL.
//!
//! Name servers and health checkers are everywhere: they answer whatever region is dark.

mod health;
mod places;
mod route;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::objects::{Objects, text};
use super::random::Random;
use super::world::{Endpoint, Kind};
pub(super) use health::watched;
pub(super) use route::routing;

/// Names behind names that are followed.
const CHAIN_MAX: usize = 8;

/// How long an alias is kept, which has no TTL of its own: as long as a load balancer's name.
const ALIAS_TTL: i64 = 60;

/// Regions that answer nothing, and since when.
pub(super) type Dark = BTreeMap<String, Timestamp>;

/// Whoever asks Route 53's name servers, or its health checkers.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub objects: &'a Objects,
    pub dark: &'a Dark,
}

/// Answers of one resolver it still keeps: by name and type.
#[derive(Debug, Default)]
pub(super) struct Resolvers {
    kept: BTreeMap<(String, String, String), (Timestamp, Vec<String>)>,
}

impl Resolvers {
    /// Returns what a resolver answers: addresses and texts, names followed to their end unless asked for.
    pub(super) fn ask(
        &mut self,
        asker: Asker<'_>,
        resolver: &str,
        name: &str,
        kind: &str,
        random: &mut Random,
    ) -> Vec<String> {
        let mut name = plain(name);
        for _ in 0..CHAIN_MAX {
            let hosts = asker.hosted(&name);
            if kind == "A" && !hosts.is_empty() {
                return hosts;
            }
            let own = self.cached(asker, resolver, (&name, kind), random);
            if !own.is_empty() || kind == "CNAME" {
                return own;
            }
            let further = self.cached(asker, resolver, (&name, "CNAME"), random);
            match further.into_iter().next() {
                Some(next) => name = plain(&next),
                None => return Vec::new(),
            }
        }
        Vec::new()
    }

    fn cached(
        &mut self,
        asker: Asker<'_>,
        resolver: &str,
        (name, kind): (&str, &str),
        random: &mut Random,
    ) -> Vec<String> {
        let now = asker.objects.now();
        let key = (resolver.to_owned(), name.to_owned(), kind.to_owned());
        if let Some((until, answers)) = self.kept.get(&key)
            && *until > now
        {
            return answers.clone();
        }
        let answers = asker.records(name, kind, random);
        if let Some(ttl) = asker.ttl(name, kind) {
            self.kept.insert(key, (now + SignedDuration::from_secs(ttl), answers.clone()));
        }
        answers
    }
}

/// Returns a name in the form in which two of them are compared.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase().replace("\\052", "*")
}

pub(super) fn endpoint(body: &Value) -> Option<Endpoint> {
    serde_json::from_value(body.clone()).ok()
}

impl<'a> Asker<'a> {
    /// Returns the endpoints that answer by a name, each with its region.
    fn endpoints(self, name: &str) -> Vec<(&'a str, Endpoint)> {
        let name = name.strip_prefix("dualstack.").unwrap_or(name);
        let all = self.objects.everywhere(Kind::Endpoint);
        let found = all.filter_map(|(key, body)| Some((key.region.as_str(), endpoint(body)?)));
        found
            .filter(|(_, endpoint)| endpoint.hosts.iter().any(|host| plain(host) == name))
            .collect()
    }

    /// Returns the addresses of what answers by a name.
    fn hosted(self, name: &str) -> Vec<String> {
        self.endpoints(name).into_iter().map(|(_, endpoint)| endpoint.address).collect()
    }

    fn all(self) -> impl Iterator<Item = &'a Value> {
        let zones = self.objects.everywhere(Kind::Zone).map(|(_, body)| body);
        zones.filter_map(|zone| zone.get("ResourceRecordSets")?.as_array()).flatten()
    }

    /// Says whether there is a name, whatever its records are.
    pub(super) fn exists(self, name: &str) -> bool {
        let name = plain(&self.meant(name));
        self.all().any(|set| plain(text(set, "Name")) == name)
    }

    /// Returns the name whose records answer: itself, or the wildcard that stands for it.
    fn meant(self, name: &str) -> String {
        let name = plain(name);
        let has = |name: &str| self.all().any(|set| plain(text(set, "Name")) == name);
        let mut rest = name.as_str();
        while let Some((_, further)) = rest.split_once('.').filter(|_| !has(&name)) {
            let wild = format!("*.{further}");
            if has(&wild) {
                return wild;
            }
            // What exists closer to the name hides wildcards above it.
            if has(further) {
                break;
            }
            rest = further;
        }
        name
    }

    fn sets(self, name: &str, kind: &str) -> Vec<&'a Value> {
        let name = self.meant(name);
        let of_name = |set: &&Value| plain(text(set, "Name")) == name && text(set, "Type") == kind;
        self.all().filter(of_name).collect()
    }

    fn ttl(self, name: &str, kind: &str) -> Option<i64> {
        let sets = self.sets(name, kind);
        let own = sets.iter().find_map(|set| set.get("TTL")?.as_i64());
        let alias = sets.iter().any(|set| set.get("AliasTarget").is_some());
        own.or(alias.then_some(ALIAS_TTL))
    }
}
