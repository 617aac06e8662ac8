//! What an estate reaches by name: regions' APIs and load balancers, groups, buckets, the public record.

use serde_json::Value;

use super::{Listener, Look, items, plain};
use crate::runbook::near;
use crate::runbook::path::Path;
use crate::sandbox::fault::Service;
use crate::sandbox::generate::names;
use crate::sandbox::world::{Kind, WorldObject};

/// A record set as an estate names it.
pub(super) struct Wanted<'a> {
    pub zone: &'a str,
    pub name: &'a str,
    pub kind: &'a str,
    pub set: Option<&'a str>,
}

impl<'a> Look<'a> {
    pub(super) fn regions(&mut self) {
        let estate = &self.world.estate;
        for (name, region) in &estate.regions {
            let path = Path::root().keys(&["estate", "regions", name]);
            self.url(path.key("api"), name, &region.api);
            if let Some(address) = &region.load_balancer {
                let (host, port) = names::split(address, 0);
                self.host(path.key("load_balancer"), name, &host, (port > 0).then_some(port));
            }
            if let Some(group) = &region.subnet_group {
                self.object(path.key("subnet_group"), Kind::RdsSubnetGroup, name, group);
            }
            for (i, group) in region.security_groups.iter().enumerate() {
                self.security_group(path.key("security_groups").item(i), name, group);
            }
            if let Some(group) = &region.parameter_group {
                self.object(path.key("parameter_group"), Kind::RdsParameterGroup, name, group);
            }
        }
    }

    pub(super) fn buckets(&mut self) {
        let estate = &self.world.estate;
        if let Some(state) = &estate.state {
            let path = Path::root().keys(&["estate", "state", "s3", "bucket"]);
            self.object(path, Kind::Bucket, &state.s3.region, &state.s3.bucket);
        }
        for (name, bucket) in &estate.buckets {
            let path = Path::root().keys(&["estate", "buckets", name, "bucket"]);
            self.object(path, Kind::Bucket, &bucket.region, &bucket.bucket);
        }
    }

    pub(super) fn dns(&mut self) {
        let Some(dns) = &self.world.estate.dns else { return };
        let path = Path::root().keys(&["estate", "dns"]);
        self.object(path.key("zone"), Kind::Zone, "", &dns.zone);
        for (region, set) in &dns.records {
            let wanted =
                Wanted { zone: &dns.zone, name: &dns.name, kind: &dns.record_type, set: Some(set) };
            self.record(path.keys(&["records", region]), &wanted);
        }
        if let Some((host, port)) = dns.url.as_deref().and_then(names::place)
            && host != plain(&dns.name)
        {
            self.host(path.key("url"), &self.world.estate.primary.region, &host, Some(port));
        }
        let Some(switch) = &dns.failover_object else { return };
        let path = path.key("failover_object");
        self.object(path.key("bucket"), Kind::Bucket, &switch.region, &switch.bucket);
        if let Some(check) = &switch.health_check {
            self.object(path.key("health_check"), Kind::HealthCheck, "", check);
        }
        if let Some(url) = &switch.url {
            self.url(path.key("url"), &switch.region, url);
        }
    }

    /// Holds a record set against those of its zone; a zone that is not there is reported itself.
    pub(super) fn record(&mut self, path: Path, wanted: &Wanted<'_>) {
        let Some(zone) = self.get(Kind::Zone, "", wanted.zone) else { return };
        let sound = self.sound(Kind::Zone, "", wanted.zone).is_some();
        let sought = plain(wanted.set.unwrap_or(wanted.name));
        if !sound && self.doubts.may_have(Kind::Zone, &sought) {
            return;
        }
        let body = zone.body.decode();
        let text = |record: &Value, key: &str| {
            record.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let name = plain(wanted.name);
        let (own, others): (Vec<&Value>, Vec<&Value>) = items(&body, "ResourceRecordSets")
            .partition(|record| {
                plain(&text(record, "Name")) == name && text(record, "Type") == wanted.kind
            });
        let region = None;
        match wanted.set {
            None if own.is_empty() => {
                let known: Vec<String> =
                    others.iter().map(|record| plain(&text(record, "Name"))).collect();
                let what = format!("{} record", wanted.kind);
                self.report(path, (&what, region, &name), known.iter().map(String::as_str));
            }
            Some(set) if !own.iter().any(|record| text(record, "SetIdentifier") == set) => {
                let known: Vec<String> =
                    own.iter().map(|record| text(record, "SetIdentifier")).collect();
                let what = format!("{} record of {name} with the set identifier", wanted.kind);
                self.report(path, (&what, region, set), known.iter().map(String::as_str));
            }
            None | Some(_) => {}
        }
    }

    fn url(&mut self, path: Path, region: &str, url: &str) {
        // What is no URL is said by the estate's own rules.
        if let Some((host, port)) = names::place(url) {
            self.host(path, region, &host, Some(port));
        }
    }

    /// Holds a host against what answers in the world, and its port against where that listens.
    fn host(&mut self, path: Path, region: &str, host: &str, port: Option<u16>) {
        let host = plain(host);
        match self.hosts.get(&host) {
            Some(Listener::Endpoint { id, region, ports, sound }) => {
                let closed = |port: &u16| *sound && !ports.contains(&u64::from(*port));
                let Some(port) = port.filter(closed) else { return };
                let listens: Vec<String> = ports.iter().map(ToString::to_string).collect();
                let said = format!("endpoint `{id}` of {region} listens on {}", listens.join(", "));
                self.report(path, ("endpoint", Some(region), &format!("{host}:{port}")), no_one());
                if let Some(last) = self.found.last_mut() {
                    last.help = Some(said);
                }
            }
            Some(Listener::Instance { .. }) => {}
            None if self.is_bucket(&host) || self.is_record(&host) => {}
            None if [Kind::Endpoint, Kind::RdsInstance, Kind::Zone, Kind::Bucket]
                .iter()
                .any(|kind| self.doubts.may_have(*kind, &host)) => {}
            None => {
                let here = !self.of(Kind::Endpoint, region).is_empty();
                if here || !self.may_be_bare(region, Service::Http) {
                    let known: Vec<String> = self.hosts.keys().cloned().collect();
                    let known = known.iter().map(String::as_str);
                    self.report(path, ("endpoint", Some(region), &host), known);
                }
            }
        }
    }

    /// Says whether a host is a bucket's own name.
    fn is_bucket(&self, host: &str) -> bool {
        let bucket = host.split_once(".s3.").map_or("", |(bucket, _)| bucket);
        self.objects.iter().any(|((kind, _), of)| *kind == Kind::Bucket && of.contains_key(bucket))
    }

    /// Says whether a host is a name of some zone, which leads on.
    fn is_record(&self, host: &str) -> bool {
        self.of(Kind::Zone, "").into_iter().any(|(_, zone)| has_name(zone, host))
    }

    /// Holds an address of the database's against what answers there: the instance itself.
    pub(super) fn address(&mut self, path: Path, (region, id): (&str, &str), address: &str) {
        let Some(instance) = self.sound(Kind::RdsInstance, region, id) else { return };
        let Some((own, _)) = crate::sandbox::estate::endpoint(&instance.body) else { return };
        let (host, _) = names::split(address, 0);
        if host == plain(&own) {
            return;
        }
        let other = match self.hosts.get(&host) {
            Some(Listener::Instance { id }) => format!("it is the address of `{id}`; "),
            Some(Listener::Endpoint { .. }) | None => String::new(),
        };
        let meant = near::hint(&host, std::iter::once(own.as_str()));
        self.report(path, ("address", Some(region), &host), no_one());
        if let Some(last) = self.found.last_mut() {
            last.message = format!("nothing of `{id}` answers at `{host}`");
            last.help = meant.or_else(|| Some(format!("{other}the endpoint of `{id}` is `{own}`")));
        }
    }
}

fn has_name(zone: &WorldObject, host: &str) -> bool {
    let body = zone.body.decode();
    let mut names = items(&body, "ResourceRecordSets").filter_map(|record| record.get("Name"));
    names.any(|name| name.as_str().is_some_and(|name| plain(name) == host))
}

fn no_one() -> std::iter::Empty<&'static str> {
    std::iter::empty()
}
