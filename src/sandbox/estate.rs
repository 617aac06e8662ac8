//! The estate of a world that is made of a real one: its names, and nothing that leads to what is real.

use serde_json::Value;

use super::world::{Body, Kind, WorldObject};
use crate::estate::types::{Database, Endpoints, Estate, SecretRef, TlsMode, Via};

/// Variable such an estate names for its password; nothing reads it.
const PASSWORD: &str = "PHOENIX_DR_REHEARSAL_PASSWORD";
const CERTIFICATES: &str = "/etc/ssl/rds/global-bundle.pem";
/// Port of PostgreSQL where nobody says another.
pub(crate) const PORT: u16 = 5432;

/// Returns an estate as it is in the world: names as they are, ways and secrets left out.
pub(crate) fn rewritten(estate: &Estate, objects: &[WorldObject]) -> Estate {
    let mut estate = estate.clone();
    let s3: Vec<String> =
        estate.regions.values().filter_map(|region| region.endpoints.s3.clone()).collect();
    for region in estate.regions.values_mut() {
        region.endpoints = Endpoints::default();
    }
    estate.credentials.clear();
    if let Some(kept) = &mut estate.before_images {
        kept.password_from = SecretRef { env: Some(PASSWORD.to_owned()), ..SecretRef::default() };
    }
    for cluster in estate.clusters.values_mut() {
        (cluster.kubeconfig, cluster.via) = (None, Via::default());
    }
    if let Some(object) = estate.dns.as_mut().and_then(|dns| dns.failover_object.as_mut()) {
        let own = |url: &String| s3.iter().any(|endpoint| url.starts_with(endpoint.as_str()));
        object.url = object.url.take().filter(|url| !own(url));
    }
    if let Some(database) = &mut estate.database {
        let primary = address(database, objects, &database.primary.id);
        let replica =
            database.replica.as_ref().and_then(|known| address(database, objects, &known.id));
        (database.primary.address, database.primary.via) = (primary, None);
        if let Some(known) = &mut database.replica {
            (known.address, known.via) = (replica, None);
        }
        (database.via, database.recovered.via) = (Via::default(), None);
        database.addresses.clear();
        let connection = &mut database.connection;
        connection.password_from =
            SecretRef { env: Some(PASSWORD.to_owned()), ..SecretRef::default() };
        // What `disable` is for, loopback, is not what the world's addresses are.
        connection.tls = TlsMode::Require;
        connection.root_cert = Some(CERTIFICATES.to_owned());
    }
    estate
}

/// Returns an instance's own endpoint: RDS's word, else the estate's.
fn address(database: &Database, objects: &[WorldObject], id: &str) -> Option<String> {
    let instance = objects.iter().find(|known| known.kind == Kind::RdsInstance && known.id == id);
    let endpoint = instance.and_then(|found| endpoint(&found.body));
    endpoint.map(|(host, port)| format!("{host}:{port}")).or_else(|| named(database, id))
}

/// Returns what the estate says of how an instance is reached.
pub(crate) fn named(database: &Database, id: &str) -> Option<String> {
    let known = [Some(&database.primary), database.replica.as_ref()];
    let known = known.into_iter().flatten().find(|known| known.id == id);
    known.and_then(|known| known.address.clone()).or_else(|| database.addresses.get(id).cloned())
}

/// Returns the host and port of an instance, as RDS says them.
pub(crate) fn endpoint(body: &Body) -> Option<(String, u16)> {
    let body = body.decode();
    let endpoint = body.get("Endpoint")?;
    let port = endpoint.get("Port").and_then(Value::as_u64);
    let host = endpoint.get("Address")?.as_str()?.to_owned();
    Some((host, port.and_then(|port| port.try_into().ok()).unwrap_or(PORT)))
}

/// Encodes a text as Secrets have it.
pub(crate) fn base64(text: &str) -> String {
    let plain = crate::mask::base64(text.as_bytes());
    let missing = (4 - plain.len() % 4) % 4;
    plain + &"=".repeat(missing)
}
