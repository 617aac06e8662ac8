//! What this host reaches in the simulation besides AWS and Kubernetes: HTTP, TCP, DNS.
//!
//! A name nobody has does not resolve; an address in a dark region is silent; a port nobody listens on is refused.

use std::time::Duration;

use serde_json::Value;

use super::Sandbox;
use super::aws::anonymous;
use super::dns::{Asker, endpoint};
use super::fault::{Call, Fault, Service};
use super::objects::text;
use super::world::{Endpoint, Kind};

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoWay {
    /// Nothing answers; the time limit has passed
    Silent,
    Refused,
    /// Nobody has that name
    NoName(String),
}

/// What a GET gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub status: u16,
    pub body: String,
}

/// Something that listens.
enum Listener {
    Endpoint {
        region: String,
        endpoint: Box<Endpoint>,
    },
    Database {
        region: String,
        id: String,
        up: bool,
        /// Its security group lets nothing in
        sealed: bool,
    },
    /// A bucket's own name
    Bucket {
        region: String,
    },
}

impl Listener {
    fn region(&self) -> &str {
        match self {
            Self::Endpoint { region, .. }
            | Self::Database { region, .. }
            | Self::Bucket { region } => region,
        }
    }
}

impl Sandbox {
    fn listener(&self, host: &str) -> Option<Listener> {
        let state = self.state();
        for (key, body) in state.objects.everywhere(Kind::Endpoint) {
            let Some(found) = endpoint(body) else { continue };
            if found.address == host || found.hosts.iter().any(|name| name == host) {
                return Some(Listener::Endpoint {
                    region: key.region.clone(),
                    endpoint: Box::new(found),
                });
            }
        }
        for (key, body) in state.objects.everywhere(Kind::RdsInstance) {
            let address = body.get("Endpoint").map_or("", |endpoint| text(endpoint, "Address"));
            if address == host {
                let status = text(body, "DBInstanceStatus");
                let up = !["rebooting", "stopped", "stopping", "creating"].contains(&status);
                let (region, id) = (key.region.clone(), key.id.clone());
                let sealed = self.is_sealed(&id, body);
                return Some(Listener::Database { region, id, up, sealed });
            }
        }
        let bucket = host.split_once(".s3.")?.0;
        let mut buckets = state.objects.everywhere(Kind::Bucket);
        let (key, _) = buckets.find(|(key, _)| key.id == bucket)?;
        Some(Listener::Bucket { region: key.region.clone() })
    }

    /// Says whether an instance is in the group alone that the estate keeps for cutting it off.
    fn is_sealed(&self, id: &str, body: &Value) -> bool {
        let database = self.world().estate.database.as_ref();
        let primary = database.map(|database| &database.primary).filter(|known| known.id == id);
        let Some(fence) = primary.and_then(|known| known.fence_security_group.as_deref()) else {
            return false;
        };
        match body.get("VpcSecurityGroups").and_then(Value::as_array).map(Vec::as_slice) {
            Some([only]) => {
                text(only, "VpcSecurityGroupId") == fence && text(only, "Status") == "active"
            }
            Some(_) | None => false,
        }
    }

    /// Connects to an address.
    async fn connection(
        &self,
        service: Service,
        operation: &str,
        host: &str,
        port: u16,
        limit: Duration,
    ) -> Result<Listener, NoWay> {
        let listener = self.listener(host).ok_or_else(|| NoWay::NoName(host.to_owned()))?;
        let region = listener.region().to_owned();
        let call = Call { service, region, operation: operation.to_owned(), wants_machine: false };
        let rule = self.strike(&call);
        match rule.as_ref().map(|rule| rule.fault) {
            Some(Fault::Dark | Fault::LostAnswer | Fault::Stuck) => {
                self.clock().sleep(limit).await;
                return Err(NoWay::Silent);
            }
            Some(_) if rule.as_ref().is_some_and(|rule| rule.fault == Fault::Latency) => {
                let delay = rule.as_ref().map_or(limit, super::aws::delay);
                self.clock().sleep(delay.min(limit)).await;
                if delay >= limit {
                    return Err(NoWay::Silent);
                }
            }
            Some(
                Fault::Refused
                | Fault::Throttled
                | Fault::Truncated
                | Fault::Stale
                | Fault::Denied
                | Fault::NoCapacity
                | Fault::Expired
                | Fault::Latency,
            ) => return Err(NoWay::Refused),
            None => {}
        }
        self.clock().sleep(self.durations().answer.0.min(limit)).await;
        if matches!(&listener, Listener::Database { sealed: true, .. }) {
            self.clock().sleep(limit).await;
            return Err(NoWay::Silent);
        }
        let open = match &listener {
            Listener::Endpoint { endpoint, .. } => endpoint.ports.contains(&port),
            Listener::Database { up, .. } => *up,
            Listener::Bucket { .. } => port == 443,
        };
        if open { Ok(listener) } else { Err(NoWay::Refused) }
    }

    /// Connects to a port and no more.
    pub(crate) async fn reach(&self, host: &str, port: u16, limit: Duration) -> Result<(), NoWay> {
        let operation = format!("{host}:{port}");
        self.connection(Service::Tcp, &operation, host, port, limit).await.map(drop)
    }

    /// Connects to the database that listens at an address; returns the instance's region and id.
    pub(crate) async fn database(
        &self,
        host: &str,
        port: u16,
        limit: Duration,
    ) -> Result<(String, String), NoWay> {
        let operation = format!("{host}:{port}");
        match self.connection(Service::Postgres, &operation, host, port, limit).await? {
            Listener::Database { region, id, .. } => Ok((region, id)),
            Listener::Endpoint { .. } | Listener::Bucket { .. } => Err(NoWay::Refused),
        }
    }

    /// Gets a page: `host` is what is connected to, `path` what is asked for.
    pub(crate) async fn get(
        &self,
        host: &str,
        port: u16,
        path: &str,
        limit: Duration,
    ) -> Result<Page, NoWay> {
        let host = self.address_of(host);
        let operation = format!("GET {host}{path}");
        match self.connection(Service::Http, &operation, &host, port, limit).await? {
            Listener::Endpoint { region, endpoint } => Ok(self.page(&region, &endpoint, path)),
            Listener::Bucket { region } => {
                let found = self.desk(&region, |desk| anonymous(desk, &host, path));
                let (status, body) = found.unwrap_or((404, "NoSuchBucket".to_owned()));
                Ok(Page { status, body })
            }
            Listener::Database { .. } => Err(NoWay::Refused),
        }
    }

    /// Follows a name of a zone to what has it, as this host's own resolver does.
    fn address_of(&self, host: &str) -> String {
        if self.listener(host).is_some() {
            return host.to_owned();
        }
        let found = self.ask("this host's", host, "A");
        found.into_iter().next().unwrap_or_else(|| host.to_owned())
    }

    /// Answers 503 while what stands behind an endpoint is not there.
    fn page(&self, region: &str, endpoint: &Endpoint, path: &str) -> Page {
        if endpoint.alive.contains(path) {
            return Page { status: 200, body: endpoint.body.clone() };
        }
        let missing = endpoint.workloads.iter().find(|workload| !self.serves(region, workload));
        if let Some(workload) = missing {
            return Page { status: 503, body: format!("no ready pod of {workload}") };
        }
        if endpoint.database && !self.application_writes(region) {
            return Page { status: 503, body: "the database takes no writes".to_owned() };
        }
        Page { status: endpoint.status, body: endpoint.body.clone() }
    }

    /// Asks a resolver.
    pub(crate) fn ask(&self, resolver: &str, name: &str, kind: &str) -> Vec<String> {
        let mut state = self.state();
        let dark = state.dark();
        let super::State { objects, resolvers, random, .. } = &mut *state;
        let asker = Asker { objects, dark: &dark };
        resolvers.ask(asker, resolver, name, kind, random)
    }

    /// Asks a resolver over the network; `None` when it is silent.
    pub(crate) async fn question(
        &self,
        resolver: &str,
        name: &str,
        kind: &str,
    ) -> Option<Vec<String>> {
        let call = Call {
            service: Service::Dns,
            region: String::new(),
            operation: format!("{kind} {name}"),
            wants_machine: false,
        };
        if let Some(rule) = self.strike(&call) {
            match rule.fault {
                Fault::Latency => self.clock().sleep(super::aws::delay(&rule)).await,
                _ => return None,
            }
        }
        self.clock().sleep(Duration::from_millis(20)).await;
        Some(self.ask(resolver, name, kind))
    }

    /// Says whether an instance follows another; `None` where there is no such instance.
    pub(super) fn in_recovery(&self, region: &str, id: &str) -> Option<bool> {
        let state = self.state();
        let body = state.objects.get(Kind::RdsInstance, region, id)?;
        let source = body.get("ReadReplicaSourceDBInstanceIdentifier").and_then(Value::as_str);
        Some(source.is_some_and(|source| !source.is_empty()))
    }
}
