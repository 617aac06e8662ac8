//! Other names for everything in a captured world that could say whose it is: the same name always gets the same one.
//!
//! What is known to be nobody's own is kept (AWS's words, regions, versions, sizes); every other word is replaced,
//! whether it looks like a name or not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value, json};

use super::NEVER;
use super::kubernetes::LEFT_OUT;
use super::words::{KEPT, NAMED, all_digits, is_instant, is_kept};
use crate::estate::types::Estate;
use crate::mask::base64;
use crate::sandbox::estate::endpoint;
use crate::sandbox::lines::manifest_id;
use crate::sandbox::world::{Body, Kind, Unseen, World};

/// Hosted zones have names of a form of their own.
const ZONE: &str = "zone";
/// Digits of an AWS account.
const ACCOUNT: usize = 12;
/// What each name became.
#[derive(Debug, Default)]
struct Pseudonyms {
    /// Every word there is: no pseudonym may be one of them
    originals: BTreeSet<String>,
    given: BTreeMap<String, String>,
    addresses: BTreeMap<IpAddr, IpAddr>,
    counts: BTreeMap<&'static str, usize>,
    collecting: bool,
}

/// Returns a world with every name replaced.
pub(crate) fn replaced(world: World) -> Result<World, serde_json::Error> {
    let mut names = Pseudonyms { collecting: true, ..Pseudonyms::default() };
    let world = prepared(world);
    // Once to learn what there is, then again.
    rewrite(&mut names, world.clone())?;
    names.collecting = false;
    name_the_known(&mut names, &world);
    let mut world = rewrite(&mut names, world)?;
    let unserved = world.unserved();
    world.unseen.extend(unserved);
    Ok(world)
}

/// Leaves out what the simulation does not need, and texts that are nobody's names.
fn prepared(mut world: World) -> World {
    // Told again of the names they will have.
    world.unseen.retain(|unseen| !unseen.is_unserved());
    if let Some(database) = &mut world.estate.database {
        let bundle = "/etc/ssl/rds/global-bundle.pem".to_owned();
        database.connection.root_cert = Some(bundle);
    }
    for object in &mut world.objects {
        let mut body = object.body.decode().into_owned();
        match object.kind {
            Kind::Kubernetes => pruned(&mut body),
            Kind::S3Object if body.contains_key("Body") => {
                body.insert("Body".to_owned(), json!(LEFT_OUT));
            }
            Kind::RdsInstance
            | Kind::RdsSnapshot
            | Kind::RdsBackup
            | Kind::RdsSubnetGroup
            | Kind::RdsParameterGroup
            | Kind::SecurityGroup
            | Kind::RdsCluster
            | Kind::RdsGlobal
            | Kind::S3Version
            | Kind::S3Upload
            | Kind::S3Underway
            | Kind::Program
            | Kind::Zone
            | Kind::HealthCheck
            | Kind::Change
            | Kind::Bucket
            | Kind::S3Object
            | Kind::HealthEvent
            | Kind::Endpoint
            | Kind::Postgres => {
                for words in ["TagList", "Description", "DBSubnetGroupDescription"] {
                    body.remove(words);
                }
            }
        }
        object.body = Body::Known(body);
    }
    world
}

/// Keeps of a manifest what decides how its workload behaves.
fn pruned(manifest: &mut Map<String, Value>) {
    let kind = manifest.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(spec) = manifest.get("spec").cloned() else { return };
    let kept = match kind.as_str() {
        "Deployment" | "StatefulSet" => {
            let containers =
                spec["template"]["spec"]["containers"].as_array().into_iter().flatten();
            let containers: Vec<Value> = containers
                .map(|one| json!({ "name": one["name"], "image": one["image"], "resources": one["resources"] }))
                .collect();
            json!({
                "replicas": spec["replicas"],
                "selector": { "matchLabels": spec["selector"]["matchLabels"] },
                "template": {
                    "metadata": { "labels": spec["template"]["metadata"]["labels"] },
                    "spec": { "containers": containers },
                },
            })
        }
        "HorizontalPodAutoscaler" => json!({
            "scaleTargetRef": spec["scaleTargetRef"],
            "minReplicas": spec["minReplicas"],
            "maxReplicas": spec["maxReplicas"],
        }),
        "Service" => json!({ "selector": spec["selector"] }),
        _ => json!({}),
    };
    manifest.insert("spec".to_owned(), super::kubernetes::without_nulls(kept));
}

fn rewrite(names: &mut Pseudonyms, mut world: World) -> Result<World, serde_json::Error> {
    let hosts: Vec<(String, u16)> = world
        .objects
        .iter()
        .filter(|object| object.kind == Kind::RdsInstance)
        .filter_map(|object| endpoint(&object.body))
        .collect();
    let estate = names.value("", serde_json::to_value(&world.estate)?);
    world.estate = serde_json::from_value::<Estate>(estate)?;
    for object in &mut world.objects {
        let mut body = object.body.decode().into_owned();
        let data = body.remove("data").and_then(|data| match data {
            Value::Object(data) => Some(data),
            _ => None,
        });
        let rewritten = names.value("", Value::Object(body));
        let mut body = match rewritten {
            Value::Object(body) => body,
            _ => Map::new(),
        };
        if let Some(data) = data {
            let secret = object.id.starts_with("Secret/");
            let data = data.into_iter().map(|(key, value)| {
                let value = names.datum(value, secret, &hosts);
                (key, value)
            });
            body.insert("data".to_owned(), Value::Object(data.collect()));
        }
        object.id = match object.kind {
            Kind::Kubernetes => manifest_id(&body),
            _ => names.text(&object.id),
        };
        object.body = Body::Known(body);
    }
    world.world = names.text(&world.world);
    world.account = names.text(&world.account);
    world.about = Some("an estate as it was captured, under other names".to_owned());
    world.unseen = world.unseen.iter().map(|unseen| names.unseen(unseen)).collect();
    world.pseudonyms = true;
    Ok(world)
}

/// Gives what has a place in the estate a name that says which.
fn name_the_known(names: &mut Pseudonyms, world: &World) {
    let estate = &world.estate;
    names.give("estate", &estate.estate);
    if let Some(dns) = &estate.dns {
        names.give(ZONE, &dns.zone);
    }
    if let Some(database) = &estate.database {
        let known = [Some(&database.primary.id), database.replica.as_ref().map(|known| &known.id)];
        let known = known.into_iter().flatten().chain([&database.recovered.id]);
        known.for_each(|id| names.give("database", id));
    }
    for service in &estate.services {
        if let Some((namespace, name)) =
            service.workload.as_deref().and_then(|of| of.split_once('/'))
        {
            names.give("namespace", namespace);
            names.give("workload", name);
        }
    }
    for object in &world.objects {
        let prefix = match object.kind {
            Kind::Bucket => "bucket",
            Kind::RdsSnapshot => "snapshot",
            Kind::RdsInstance | Kind::RdsCluster | Kind::RdsGlobal => "database",
            Kind::Zone => ZONE,
            Kind::HealthCheck => "check",
            Kind::RdsBackup
            | Kind::RdsSubnetGroup
            | Kind::RdsParameterGroup
            | Kind::SecurityGroup
            | Kind::Change
            | Kind::S3Object
            | Kind::S3Version
            | Kind::S3Upload
            | Kind::S3Underway
            | Kind::Program
            | Kind::HealthEvent
            | Kind::Endpoint
            | Kind::Postgres
            | Kind::Kubernetes => continue,
        };
        names.give(prefix, &object.id);
    }
}

const fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '-' || letter == '_' || !letter.is_ascii()
}

impl Pseudonyms {
    /// Gives a name that is one word a pseudonym that says what it is.
    fn give(&mut self, prefix: &'static str, name: &str) {
        if !name.is_empty() && name.chars().all(is_word) && !is_kept(name) && !all_digits(name) {
            self.named(prefix, name);
        }
    }

    fn named(&mut self, prefix: &'static str, word: &str) -> String {
        let word = word.to_lowercase();
        if let Some(given) = self.given.get(&word) {
            return given.clone();
        }
        let count = self.counts.entry(prefix).or_default();
        let given = loop {
            *count += 1;
            let candidate = match prefix {
                ZONE => format!("Z{count:020}"),
                prefix => format!("{prefix}-{count}"),
            };
            if !self.originals.contains(&candidate.to_lowercase()) {
                break candidate;
            }
        };
        self.given.insert(word, given.clone());
        given
    }

    fn value(&mut self, key: &str, value: Value) -> Value {
        match value {
            Value::String(text) if KEPT.contains(&key) || is_instant(&text) => Value::String(text),
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.value(key, item)).collect(),
            Value::Object(fields) => {
                let named = NAMED.contains(&key);
                let fields = fields.into_iter().map(|(name, value)| {
                    let value = self.value(&name, value);
                    (if named { self.text(&name) } else { name }, value)
                });
                Value::Object(fields.collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }

    /// Rewrites a value of a Secret or ConfigMap: the database's address, or nothing.
    fn datum(&mut self, value: Value, secret: bool, hosts: &[(String, u16)]) -> Value {
        let form = |text: &str| if secret { base64(text.as_bytes()) } else { text.to_owned() };
        let told = value.as_str().unwrap_or_default().trim_end_matches('=').to_owned();
        for (host, port) in hosts {
            if form(host) == told {
                return json!(padded(form(&self.text(host)), secret));
            }
            if form(&port.to_string()) == told {
                return value;
            }
        }
        json!(padded(form(LEFT_OUT), secret))
    }

    fn unseen(&mut self, unseen: &Unseen) -> Unseen {
        if NEVER.iter().any(|(what, _)| *what == unseen.what) {
            return unseen.clone();
        }
        // Words of services and systems go with everything in them that nobody can know.
        let why = unseen.why.split(':').next().unwrap_or_default();
        Unseen {
            what: self.known_in(&unseen.what),
            region: unseen.region.clone(),
            why: self.known_in(why),
        }
    }

    /// Replaces the words that have a pseudonym, and addresses.
    fn known_in(&mut self, text: &str) -> String {
        let known: Vec<String> = self.given.keys().cloned().collect();
        self.each(text, |names, word| match known.binary_search(&word.to_lowercase()) {
            Ok(_) => names.named("name", word),
            Err(_) => word.to_owned(),
        })
    }

    /// Rewrites a text.
    fn text(&mut self, text: &str) -> String {
        self.each(text, Self::word)
    }

    fn each(&mut self, text: &str, mut word: impl FnMut(&mut Self, &str) -> String) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let run = |of: fn(char) -> bool| rest.find(|letter| !of(letter)).unwrap_or(rest.len());
            let long = run(|letter| is_word(letter) || letter == '.' || letter == ':');
            if let Some((length, address)) = address(&rest[..long]) {
                out += &self.address(address).to_string();
                rest = &rest[length..];
            } else if is_word(first) {
                let length = run(is_word);
                out += &word(self, &rest[..length]);
                rest = &rest[length..];
                continue;
            } else {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        out
    }

    fn word(&mut self, word: &str) -> String {
        if is_kept(word) {
            return word.to_owned();
        }
        if self.collecting {
            self.originals.insert(word.to_lowercase());
            return word.to_owned();
        }
        if all_digits(word) {
            return self.number(word);
        }
        self.named("name", word)
    }

    /// Replaces a number by one as long: accounts and identifiers are read as numbers.
    fn number(&mut self, word: &str) -> String {
        if let Some(given) = self.given.get(word) {
            return given.clone();
        }
        let kind = if word.len() == ACCOUNT { "account" } else { "number" };
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let given = format!("{count:0>width$}", width = word.len());
        self.given.insert(word.to_owned(), given.clone());
        given
    }

    fn address(&mut self, address: IpAddr) -> IpAddr {
        if self.collecting || address.is_unspecified() {
            return address;
        }
        let number = u32::try_from(self.addresses.len() + 1).unwrap_or(u32::MAX);
        *self.addresses.entry(address).or_insert_with(|| match address {
            // 198.18.0.0/15 is for measurements: nobody's.
            IpAddr::V4(_) => Ipv4Addr::from(0xC612_0000 + number).into(),
            IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0)
                .to_bits()
                .checked_add(u128::from(number))
                .map_or(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_bits)
                .into(),
        })
    }
}

/// Returns the address a text begins with, and its length.
fn address(text: &str) -> Option<(usize, IpAddr)> {
    let text = text.trim_end_matches(['.', ':']);
    if let Ok(address) = text.parse() {
        return Some((text.len(), address));
    }
    let (host, _) = text.split_once(':')?;
    let address = host.parse::<Ipv4Addr>().ok()?;
    Some((host.len(), address.into()))
}

fn padded(text: String, secret: bool) -> String {
    let missing = if secret { (4 - text.len() % 4) % 4 } else { 0 };
    text + &"=".repeat(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(names: &mut Pseudonyms, text: &str) -> String {
        names.collecting = true;
        names.text(text);
        names.collecting = false;
        names.text(text)
    }

    #[test]
    fn the_same_name_becomes_the_same_one_wherever_it_stands() {
        let mut names = Pseudonyms::default();
        names.give("database", "prod");
        let arn = rewritten(&mut names, "arn:aws:rds:us-east-1:123456789012:db:prod");
        assert_eq!(arn, "arn:aws:rds:us-east-1:000000000001:db:database-1");
        let host = rewritten(&mut names, "PROD.c1x2.us-east-1.rds.amazonaws.com:5432");
        assert_eq!(host, "database-1.name-1.us-east-1.rds.amazonaws.com:5432");
        assert_eq!(rewritten(&mut names, "app=web,tier!=c1x2"), "name-2=name-3,name-4!=name-1");
    }

    #[test]
    fn addresses_become_nobodys() {
        let mut names = Pseudonyms::default();
        let text = "10.1.2.3:5432 10.1.2.4. 10.1.2.3/16 2001:500::1 0.0.0.0";
        let found = rewritten(&mut names, text);
        assert_eq!(found, "198.18.0.1:5432 198.18.0.2. 198.18.0.1/16 2001:db8::3 0.0.0.0");
    }

    #[test]
    fn no_pseudonym_is_a_name_that_was_there() {
        let mut names = Pseudonyms::default();
        let found = rewritten(&mut names, "name-1.name-2");
        assert!(!found.contains("name-1") && !found.contains("name-2"), "{found}");
    }
}
