//! The public record, what it leads to, and the health check behind its switch.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::estate::endpoint;
use super::super::world::Kind;
use super::{Making, names, workloads};
use crate::estate::types::{CnameRecord, Dns, RecordShape, Region};

/// What says that a region's API is there.
const HEALTH: &str = "/healthz";
/// The health check of an estate that names none.
const CHECK: &str = "00000000-0000-4000-8000-000000000001";
const TTL: u32 = 60;

/// Where a region's traffic goes.
struct Front {
    region: String,
    /// Its load balancer's name, or the address that stands in the file
    host: String,
    address: String,
    /// The record's name leads to it by this
    target: String,
}

pub(super) fn make(making: &mut Making<'_>) {
    let mut fronts = Vec::new();
    let regions: Vec<(&String, &Region)> = making.estate.regions.iter().collect();
    for (index, (name, region)) in regions.into_iter().enumerate() {
        fronts.push(listeners(making, index, name, region));
    }
    making.guess(
        "the APIs and load balancers",
        None,
        "answer 200; a load balancer 503 while its P0 workloads or their database are not there",
    );
    let private = making.estate.database.as_ref().and_then(|known| known.application.as_ref());
    let private = private.and_then(|application| application.cname.as_ref());
    let mut own = private.and_then(|cname| Some((cname, writer(making, cname)?)));
    if let Some(dns) = &making.estate.dns {
        let shared = own.take_if(|(cname, _)| cname.zone == dns.zone);
        public(making, dns, &fronts, shared);
    }
    if let Some((cname, record)) = own {
        let zone = json!({ "Name": dotted(&parent(&cname.name)), "ResourceRecordSets": [record] });
        making.add(Kind::Zone, "", &cname.zone, zone);
    }
}

/// Adds what listens in a region; returns where its traffic goes.
fn listeners(making: &mut Making<'_>, index: usize, name: &str, region: &Region) -> Front {
    let dns = making.estate.dns.as_ref();
    let url = dns.and_then(|dns| names::place(dns.url.as_deref()?));
    let own = url.map_or(443, |(_, port)| port);
    let api = names::place(&region.api);
    let given = region.load_balancer.as_deref().map(|known| names::split(known, own));
    let (host, port) = given.unwrap_or_else(|| (names::made("load-balancer", name), own));
    // Of the networks for documentation, so that they are nobody's.
    let made = |network: &str| format!("{network}.{}", index + 10);
    let plain = |host: &str, network: &str| match names::is_address(host) {
        true => host.to_owned(),
        false => made(network),
    };
    let address = plain(&host, "203.0.113");
    let mut ports = BTreeSet::from([80, 443, port, own]);
    let mut hosts = BTreeSet::from([host.clone()]);
    let mut alive = BTreeSet::new();
    match api {
        Some((name_of_api, port)) if name_of_api == host => {
            ports.insert(port);
            alive.insert(HEALTH);
        }
        Some((host, port)) => {
            let body = json!({
                "hosts": [host], "address": plain(&host, "198.51.100"), "ports": [port],
            });
            making.add(Kind::Endpoint, name, "api", body);
        }
        None => {}
    }
    let target = match dns.map(|dns| dns.record_type.as_str()) {
        Some("CNAME") if names::is_address(&host) => names::made("load-balancer", name),
        Some("AAAA") if !host.contains(':') => format!("2001:db8::{}", index + 10),
        Some("A") if !names::is_address(&host) || host.contains(':') => address.clone(),
        _ => host.clone(),
    };
    hosts.insert(target.clone());
    let urgent = workloads::urgent(making.estate, name);
    let pods = making.estate.database.as_ref().and_then(|known| known.application.as_ref());
    let database = !urgent.is_empty() && pods.is_some_and(|known| known.pods.is_some());
    let body = json!({
        "hosts": hosts, "address": address, "ports": ports, "workloads": urgent,
        "database": database, "alive": alive,
        "body": dns.map(|dns| dns.contains.as_str()).unwrap_or_default(),
    });
    making.add(Kind::Endpoint, name, "load-balancer", body);
    Front { region: name.to_owned(), host, address, target }
}

/// The zone of the public record, with what else is in it.
fn public(
    making: &mut Making<'_>,
    dns: &Dns,
    fronts: &[Front],
    other: Option<(&CnameRecord, Value)>,
) {
    let switch = dns.failover_object.as_ref();
    let check = switch.map(|switch| switch.health_check.as_deref().unwrap_or(CHECK));
    // A PRIMARY record is left for its pair only when a health check says so.
    let check = check.or_else(|| (dns.shape == RecordShape::Failover).then_some(CHECK));
    let mut records: Vec<Value> = Vec::new();
    for front in fronts.iter().filter(|front| dns.records.contains_key(&front.region)) {
        let first = !making.takes_over(&front.region);
        let mut record = json!({
            "Name": dotted(&dns.name),
            "Type": dns.record_type,
            "SetIdentifier": dns.records.get(&front.region),
            "TTL": TTL,
            "ResourceRecords": [{ "Value": front.target }],
        });
        match dns.shape {
            RecordShape::Weighted => record["Weight"] = json!(if first { 100 } else { 0 }),
            RecordShape::Failover => {
                record["Failover"] = json!(if first { "PRIMARY" } else { "SECONDARY" });
            }
        }
        if let Some(check) = check.filter(|_| first) {
            record["HealthCheckId"] = json!(check);
        }
        records.push(record);
    }
    let shared = other.as_ref().map(|(cname, _)| cname.name.as_str());
    let zone = common(&dns.name, shared);
    records.extend(other.map(|(_, record)| record));
    let shape = match dns.shape {
        RecordShape::Weighted => "weighted: all to the primary region",
        RecordShape::Failover => "a failover pair, first the primary region",
    };
    let said = format!("{shape}, for {TTL}s, in the zone {zone}; other records are not there");
    making.guess("the record", None, said);
    let body = json!({ "Name": dotted(&zone), "ResourceRecordSets": records });
    making.add(Kind::Zone, "", &dns.zone, body);
    let Some(check) = check else { return };
    let config = match switch {
        Some(switch) => json!({
            "Type": "HTTPS",
            "FullyQualifiedDomainName": format!("{}.s3.{}.amazonaws.com", switch.bucket, switch.region),
            "Port": 443,
            "ResourcePath": format!("/{}", switch.key),
            "Inverted": true,
            "RequestInterval": 10,
            "FailureThreshold": 3,
        }),
        None => {
            let first = fronts.iter().find(|front| !making.takes_over(&front.region));
            json!({
                "Type": "TCP",
                "IPAddress": first.map(|front| front.address.as_str()),
                "FullyQualifiedDomainName": first.map(|front| front.host.as_str()),
                "Port": 443,
                "RequestInterval": 10,
                "FailureThreshold": 3,
            })
        }
    };
    making.add(Kind::HealthCheck, "", check, json!({ "HealthCheckConfig": config }));
}

/// Returns the private record the application connects through, to the database that is lost.
fn writer(making: &Making<'_>, cname: &CnameRecord) -> Option<Value> {
    let primary = &making.estate.database.as_ref()?.primary.id;
    let mut instances = making.objects.iter().filter(|known| known.kind == Kind::RdsInstance);
    let (host, _) = endpoint(&instances.find(|known| known.id == *primary)?.body)?;
    Some(json!({
        "Name": dotted(&cname.name), "Type": "CNAME", "TTL": cname.ttl,
        "ResourceRecords": [{ "Value": host }],
    }))
}

fn dotted(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

/// Returns the zone a name is most likely in: the name above it, unless that is a top-level domain.
fn parent(name: &str) -> String {
    let name = name.trim_end_matches('.');
    match name.split_once('.') {
        Some((_, above)) if above.contains('.') => above.to_owned(),
        _ => name.to_owned(),
    }
}

/// Returns the zone of a name, and of another one in it.
fn common(name: &str, other: Option<&str>) -> String {
    let Some(other) = other else { return parent(name) };
    let labels = |name: &str| {
        let labels = name.trim_end_matches('.').rsplit('.').map(str::to_owned);
        labels.collect::<Vec<String>>()
    };
    let (one, other) = (labels(name), labels(other));
    let shared = one.iter().zip(&other).take_while(|(a, b)| a == b).map(|(label, _)| label.clone());
    let mut shared: Vec<String> = shared.collect();
    shared.reverse();
    if shared.is_empty() { parent(name) } else { shared.join(".") }
}
