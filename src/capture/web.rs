//! What answers HTTP: each region's own API and its load balancer, asked as the checks ask them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use http::Uri;
use serde_json::{Value, json};

use super::Part;
use super::fields::Fields;
use crate::clients::http::{Get, get};
use crate::clients::tcp::{self, Failure};
use crate::clients::{Clients, Network};
use crate::estate::types::{Estate, Priority};
use crate::sandbox::fault::Service;
use crate::sandbox::world::{Body, Kind};

const LIMIT: Duration = Duration::from_secs(4);
/// What says that a region's API is there.
const HEALTH: &str = "/healthz";

/// What is known of one host.
#[derive(Debug, Default)]
struct Host {
    names: BTreeSet<String>,
    address: Option<String>,
    ports: BTreeSet<u16>,
    /// The application answers here: what stands behind it decides
    application: bool,
    alive: BTreeSet<String>,
    status: Option<u16>,
}

pub(super) async fn look(clients: &Clients, seen: &Part) -> Part {
    let regions = clients.estate.regions.keys();
    let found = futures::future::join_all(regions.map(|region| of_region(clients, region, seen)));
    let (mut part, mut taken) = (Part::default(), BTreeMap::new());
    for (index, found) in found.await.into_iter().enumerate() {
        part.join(placed(apart(found, &mut taken), index));
    }
    part
}

/// Leaves each host at the first that is reached by it: in a world it leads to one object alone.
fn apart(mut part: Part, taken: &mut BTreeMap<String, (String, String)>) -> Part {
    let mut shared = Vec::new();
    part.objects.retain_mut(|object| {
        let mut body = object.body.decode().into_owned();
        let region = object.region.clone().unwrap_or_default();
        let own = (region, object.id.clone());
        let hosts = body.get_mut("hosts").and_then(Value::as_array_mut);
        let Some(hosts) = hosts else { return true };
        hosts.retain(|host| {
            let host = host.as_str().unwrap_or_default().to_owned();
            let owner = taken.entry(host.clone()).or_insert_with(|| own.clone()).clone();
            if owner != own {
                shared.push((host, own.clone(), owner.clone()));
            }
            owner == own
        });
        let reached = !hosts.is_empty();
        object.body = Body::Known(body);
        reached
    });
    for (host, (region, id), (first, of)) in shared {
        let why =
            format!("in the world it leads to {of} of {first} alone, which has the same host");
        part.assumed(&format!("{id} at {host}"), Some(&region), &why);
    }
    part
}

/// Gives an address to what has none: of the networks for documentation, so that it is nobody's.
fn placed(mut part: Part, region: usize) -> Part {
    let mut made = Vec::new();
    for (index, object) in part.objects.iter_mut().enumerate() {
        let mut body = object.body.decode().into_owned();
        let address = format!("192.0.2.{}", region * 16 + index + 1);
        if !body.contains_key("address") {
            body.insert("address".to_owned(), json!(address));
            made.push((object.id.clone(), object.region.clone()));
        }
        object.body = Body::Known(body);
    }
    for (id, region) in made {
        let why = "its name does not resolve: in the world it has an address that is nobody's";
        part.assumed(&format!("the address of the {id}"), region.as_deref(), why);
    }
    part
}

async fn of_region(clients: &Clients, region: &str, seen: &Part) -> Part {
    let (estate, mut part) = (&clients.estate, Part::default());
    let Some(known) = estate.regions.get(region) else { return part };
    let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
    let url = format!("{}{HEALTH}", known.api.trim_end_matches('/'));
    let answer =
        get(clients, &Get { url: &url, connect_to: None, limit: LIMIT, follow: true }).await;
    if let Some((host, port)) = place(&known.api) {
        let entry = hosts.entry(host).or_default();
        entry.ports.insert(port);
        let status = heard(&mut part, region, &url, answer.map(|answer| answer.status));
        if status.is_some_and(|status| (200..300).contains(&status)) {
            entry.alive.insert(HEALTH.to_owned());
        }
        entry.status = status;
    }
    if let (Some(balancer), Some(dns)) = (&known.load_balancer, &estate.dns)
        && let Some((url, own)) = dns.url.as_deref().and_then(|url| Some((url, place(url)?.1)))
        && let Ok((host, port)) = tcp::split(balancer, Some(own))
    {
        let asked = Get { url, connect_to: Some(balancer), limit: LIMIT, follow: false };
        let answer = get(clients, &asked).await.map(|answer| answer.status);
        let status = heard(&mut part, region, &format!("{url} through {balancer}"), answer);
        let entry = hosts.entry(host.to_owned()).or_default();
        entry.ports.extend([port, own]);
        entry.status = entry.status.or(status);
        entry.application = true;
        let (names, address) = answered(seen, estate, region);
        entry.names.extend(names);
        entry.address = address;
    }
    for (name, mut host) in hosts {
        host.names.insert(name.clone());
        if host.address.is_none() {
            host.address = address_of(clients, &name).await;
        }
        let id = if host.application { "load-balancer" } else { "api" };
        part.add(Kind::Endpoint, region, id, body(estate, region, seen, host));
    }
    part
}

/// Remembers what came of a GET; returns the status, where something answered.
fn heard(part: &mut Part, region: &str, url: &str, answer: Result<u16, Failure>) -> Option<u16> {
    match answer {
        Ok(status) => {
            part.answers += 1;
            Some(status)
        }
        Err(failure) => {
            part.missed = true;
            part.assumed(url, Some(region), &failure.to_string());
            if matches!(failure, Failure::Unreachable(_)) {
                part.silent(region, Service::Http);
            }
            None
        }
    }
}

fn place(url: &str) -> Option<(String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    Some((uri.host()?.to_owned(), port))
}

/// Returns the names, and the address, that the public record answers with for a region.
fn answered(seen: &Part, estate: &Estate, region: &str) -> (Vec<String>, Option<String>) {
    let set = estate.dns.as_ref().and_then(|dns| dns.records.get(region));
    let (mut names, mut address) = (Vec::new(), None);
    for zone in seen.objects.iter().filter(|object| object.kind == Kind::Zone) {
        let body = zone.body.decode();
        let records = body.get("ResourceRecordSets").and_then(Value::as_array);
        for record in records.into_iter().flatten() {
            let own = record.get("SetIdentifier").and_then(Value::as_str);
            if own.is_none() || own != set.map(String::as_str) {
                continue;
            }
            let alias = record["AliasTarget"]["DNSName"].as_str();
            let values = record["ResourceRecords"].as_array().into_iter().flatten();
            let values = values.filter_map(|value| value["Value"].as_str());
            for value in values.chain(alias) {
                let value = value.trim_end_matches('.');
                match value.parse::<IpAddr>() {
                    Ok(_) => address = address.or_else(|| Some(value.to_owned())),
                    Err(_) => names.push(value.to_owned()),
                }
            }
        }
    }
    (names, address)
}

/// Returns an address of a host.
async fn address_of(clients: &Clients, host: &str) -> Option<String> {
    if host.parse::<IpAddr>().is_ok() {
        return Some(host.to_owned());
    }
    match &clients.network {
        Network::Simulated(sandbox) => sandbox.ask("this host's", host, "A").into_iter().next(),
        Network::Real => {
            let found = tcp::resolve(clients.clock.as_ref(), host, 80).await.ok()?;
            found.first().map(|address| address.ip().to_string())
        }
    }
}

/// Words a host as the world has it. No body of an answer is kept, only what the estate says it must contain.
fn body(estate: &Estate, region: &str, seen: &Part, host: Host) -> serde_json::Map<String, Value> {
    let contains = estate.dns.as_ref().map(|dns| dns.contains.clone());
    let workloads = if host.application { workloads(estate, region, seen) } else { Vec::new() };
    let application = estate.database.as_ref().and_then(|db| db.application.as_ref());
    let pods = application.is_some_and(|known| known.pods.is_some());
    let depends = !workloads.is_empty();
    // What stands behind an application answers for it; what does not stand at all is the world's faults' business.
    let status = host.status.filter(|status| !depends && *status != 200);
    Fields::default()
        .set("hosts", Some(host.names.into_iter().collect::<Vec<_>>()))
        .set("address", host.address)
        .set("ports", Some(host.ports.into_iter().collect::<Vec<_>>()))
        .set("status", status)
        .set("body", contains.filter(|contains| host.application && !contains.is_empty()))
        .list("workloads", workloads.into_iter().map(Value::from))
        .set("database", (depends && pods).then_some(true))
        .list("alive", host.alive.into_iter().filter(|_| depends).map(Value::from))
        .done()
}

/// Returns the workloads of the estate's most urgent services that a region's cluster has.
fn workloads(estate: &Estate, region: &str, seen: &Part) -> Vec<String> {
    let urgent = estate.services.iter().filter(|service| service.priority == Priority::P0);
    let named = urgent.filter_map(|service| service.workload.clone());
    let here = |workload: &String| {
        let id = format!("Deployment/{workload}");
        let mut objects = seen.objects.iter();
        objects.any(|known| known.id == id && known.region.as_deref() == Some(region))
    };
    named.filter(here).collect()
}
