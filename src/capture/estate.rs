//! The estate of a captured world: what nobody could see stands in its place.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Part;
use super::fields::Fields;
use super::kubernetes::LEFT_OUT;
use crate::clients::tcp;
use crate::estate::types::{Estate, ObjectKey};
use crate::sandbox::estate::{PORT, base64, endpoint, named};
use crate::sandbox::fault::Service;
use crate::sandbox::world::{Body, Kind};

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
            Some(body.get("ReadReplicaSourceDBInstanceIdentifier")?.as_str()?.to_owned())
        })
        .collect();
    // One that is told by its id alone is in the same region, and was seen with it.
    for arn in sources.iter().filter(|source| source.starts_with("arn:")) {
        let (region, id) = (arn.split(':').nth(3).unwrap_or_default(), arn.rsplit(':').next());
        unseen_instance(estate, id.unwrap_or_default(), region, None, part);
    }
    security_groups(estate, part);
    told_addresses(estate, part);
}

/// Security groups as far as they are known without EC2, which a capture does not ask: those that instances are in, and
/// those the estate names.
fn security_groups(estate: &Estate, part: &mut Part) {
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    for object in part.objects.iter().filter(|object| object.kind == Kind::RdsInstance) {
        let body = object.body.decode();
        let groups = body.get("VpcSecurityGroups").and_then(Value::as_array);
        let groups =
            groups.into_iter().flatten().filter_map(|group| group["VpcSecurityGroupId"].as_str());
        let region = object.region.clone().unwrap_or_default();
        seen.extend(groups.map(|group| (region.clone(), group.to_owned())));
    }
    let of_regions = estate.regions.iter().flat_map(|(name, region)| {
        region.security_groups.iter().map(|group| (name.clone(), group.clone()))
    });
    let database = estate.database.iter();
    let instances = database.flat_map(|known| [Some(&known.primary), known.replica.as_ref()]);
    let fences = instances
        .flatten()
        .filter_map(|known| Some((known.region.clone(), known.fence_security_group.clone()?)));
    let named: BTreeSet<(String, String)> = of_regions.chain(fences).collect();
    for (region, group) in named.difference(&seen) {
        let why = "taken for granted: no instance is in it, and a capture does not ask EC2";
        part.assumed(&format!("security group {group}"), Some(region), why);
    }
    for (region, group) in seen.union(&named) {
        let body = Fields::default().set("GroupId", Some(group.as_str()));
        part.add(Kind::SecurityGroup, region, group, body.done());
    }
}

/// An instance that is named, and RDS could not be asked about.
fn unseen_instance(
    estate: &Estate,
    id: &str,
    region: &str,
    address: Option<String>,
    part: &mut Part,
) {
    // A replica may have its source's id. Of a region that answered, an instance seen elsewhere is not there.
    let silent = part.silent.contains(&(region.to_owned(), Service::Rds));
    let seen = part.has(Kind::RdsInstance, Some(region), id)
        || (!silent && part.has(Kind::RdsInstance, None, id));
    if seen || !estate.regions.contains_key(region) {
        return;
    }
    // A way in that several have says nothing of where each is: in a world a host leads to one of them.
    let taken = |host: &str| {
        let known = part.objects.iter().filter(|object| object.kind == Kind::RdsInstance);
        known.filter_map(|object| endpoint(&object.body)).any(|(own, _)| own == host)
    };
    let own = |address: &String| {
        !taken(tcp::split(address, Some(PORT)).map_or(address.as_str(), |(host, _)| host))
    };
    let address =
        address.filter(own).unwrap_or_else(|| format!("{id}.unseen.{region}.rds.amazonaws.com"));
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
