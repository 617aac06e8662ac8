//! The estate of a captured world: nothing in it leads to the real one, and what nobody could see stands in its place.

use serde_json::{Map, Value, json};

use super::Part;
use super::fields::Fields;
use super::kubernetes::LEFT_OUT;
use crate::clients::tcp;
use crate::estate::types::{Database, Endpoints, Estate, ObjectKey, SecretRef, TlsMode, Via};
use crate::sandbox::world::{Body, Kind, WorldObject};

/// Variable the captured estate names for its password; nothing reads it.
const PASSWORD: &str = "PHOENIX_DR_REHEARSAL_PASSWORD";
const CERTIFICATES: &str = "/etc/ssl/rds/global-bundle.pem";
const PORT: u16 = 5432;

/// Returns the estate as it is in the world: names as they are, ways and secrets left out.
pub(super) fn rewritten(estate: &Estate, objects: &[WorldObject]) -> Estate {
    let mut estate = estate.clone();
    let s3: Vec<String> =
        estate.regions.values().filter_map(|region| region.endpoints.s3.clone()).collect();
    for region in estate.regions.values_mut() {
        region.endpoints = Endpoints::default();
    }
    estate.credentials.clear();
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
        connection.root_cert.get_or_insert_with(|| CERTIFICATES.to_owned());
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
fn named(database: &Database, id: &str) -> Option<String> {
    let known = [Some(&database.primary), database.replica.as_ref()];
    let known = known.into_iter().flatten().find(|known| known.id == id);
    known.and_then(|known| known.address.clone()).or_else(|| database.addresses.get(id).cloned())
}

pub(super) fn endpoint(body: &Body) -> Option<(String, u16)> {
    let body = body.decode();
    let endpoint = body.get("Endpoint")?;
    let port = endpoint.get("Port").and_then(Value::as_u64);
    let host = endpoint.get("Address")?.as_str()?.to_owned();
    Some((host, port.and_then(|port| port.try_into().ok()).unwrap_or(PORT)))
}

/// Puts something in the place of what nobody saw and others refer to, and what is known of the application's
/// database in the place of what its Secret says.
pub(super) fn fill(estate: &Estate, part: &mut Part) {
    if let Some(database) = &estate.database {
        let known = [Some(&database.primary), database.replica.as_ref()];
        for known in known.into_iter().flatten() {
            unseen_instance(estate, &known.id, &known.region, named(database, &known.id), part);
        }
    }
    let sources: Vec<String> = part
        .objects
        .iter()
        .filter(|object| object.kind == Kind::RdsInstance)
        .filter_map(|object| {
            let body = object.body.decode();
            let source = body.get("ReadReplicaSourceDBInstanceIdentifier")?.as_str()?;
            let arn = if source.starts_with("arn:") {
                source.to_owned()
            } else {
                format!("arn:aws:rds:{}::db:{source}", object.region.as_deref()?)
            };
            Some(arn)
        })
        .collect();
    for source in sources {
        let mut parts = source.split(':').skip(3);
        let (region, id) = (parts.next().unwrap_or_default(), source.rsplit(':').next());
        let region =
            if estate.regions.contains_key(region) { region } else { &estate.primary.region };
        unseen_instance(estate, id.unwrap_or_default(), region, None, part);
    }
    told_addresses(estate, part);
}

/// An instance the estate names and RDS could not be asked about.
fn unseen_instance(
    estate: &Estate,
    id: &str,
    region: &str,
    address: Option<String>,
    part: &mut Part,
) {
    if part.has(Kind::RdsInstance, id) || !estate.regions.contains_key(region) {
        return;
    }
    let address = address.unwrap_or_else(|| format!("{id}.unseen.{region}.rds.amazonaws.com"));
    let (host, port) = tcp::split(&address, Some(PORT)).unwrap_or((&address, PORT));
    let fields = Fields::default()
        .set("DBInstanceIdentifier", Some(id))
        .set("DBInstanceArn", Some(format!("arn:aws:rds:{region}:000000000000:db:{id}")))
        .set("DBInstanceStatus", Some("available"))
        .set("Engine", Some("postgres"))
        .set("Endpoint", Some(json!({ "Address": host, "Port": port })));
    part.add(Kind::RdsInstance, region, id, fields.done());
    let what = format!("RDS instance {id}");
    part.assumed(&what, Some(region), "in its place: what the estate file says of it");
}

/// Leaves of the Secret or ConfigMap with the database's address what is an instance's own, and nothing else.
fn told_addresses(estate: &Estate, part: &mut Part) {
    let application = estate.database.as_ref().and_then(|db| db.application.as_ref());
    let Some(application) = application else { return };
    let known: Vec<(String, u16)> = part
        .objects
        .iter()
        .filter(|object| object.kind == Kind::RdsInstance)
        .filter_map(|object| endpoint(&object.body))
        .collect();
    let mut lost = Vec::new();
    let keys = [("Secret", &application.secret), ("ConfigMap", &application.config_map)];
    for (kind, key) in keys {
        let Some(key) = key else { continue };
        let id = format!("{kind}/{}/{}", key.namespace, key.name);
        let holders = part.objects.iter_mut();
        for object in holders.filter(|known| known.kind == Kind::Kubernetes && known.id == id) {
            let mut body = object.body.decode().into_owned();
            if !told_address(&mut body, key, kind == "Secret", &known) {
                lost.push((id.clone(), object.region.clone()));
            }
            object.body = Body::Known(body);
        }
    }
    for (id, region) in lost {
        let why = "left out: it is no instance's own address";
        part.assumed(&format!("the database's address in {id}"), region.as_deref(), why);
    }
}

fn told_address(
    body: &mut Map<String, Value>,
    key: &ObjectKey,
    encoded: bool,
    known: &[(String, u16)],
) -> bool {
    let form = |text: &str| if encoded { base64(text) } else { text.to_owned() };
    let Some(data) = body.get_mut("data").and_then(Value::as_object_mut) else { return false };
    let told = data.get(&key.host_key).and_then(Value::as_str).unwrap_or_default();
    let found = known.iter().find(|(host, _)| form(host) == told);
    let host = found.map_or(LEFT_OUT, |(host, _)| host.as_str());
    let port = found.map_or(PORT, |(_, port)| *port);
    data.insert(key.host_key.clone(), json!(form(host)));
    if let Some(port_key) = &key.port_key {
        data.insert(port_key.clone(), json!(form(&port.to_string())));
    }
    found.is_some()
}

/// Encodes a text as Secrets have it.
fn base64(text: &str) -> String {
    let plain = crate::mask::base64(text.as_bytes());
    let missing = (4 - plain.len() % 4) % 4;
    plain + &"=".repeat(missing)
}
