//! Route 53's API: record sets in their order and pages, batches that are done whole or not at all, health checks.

use serde_json::{Map, Value, json};

use super::codec::{AwsError, Params, read_xml};
use super::{Desk, unknown};
use crate::sandbox::dns;
use crate::sandbox::objects::{Due, text};
use crate::sandbox::world::{Kind, stamp};

/// Records of a page where a request names no number.
const PAGE: usize = 300;
const VERSION: &str = "/2013-04-01/";

/// Returns the name of an operation by its method and path.
pub(super) fn operation(method: &str, path: &str) -> &'static str {
    match (method, segments(path).as_slice()) {
        ("GET", ["hostedzone", _, "rrset"]) => "ListResourceRecordSets",
        ("POST", ["hostedzone", _, "rrset"]) => "ChangeResourceRecordSets",
        ("GET", ["hostedzone", _]) => "GetHostedZone",
        ("GET", ["hostedzone"]) => "ListHostedZones",
        ("GET", ["change", _]) => "GetChange",
        ("GET", ["healthcheck", _]) => "GetHealthCheck",
        ("GET", ["healthcheck", _, "status"]) => "GetHealthCheckStatus",
        ("GET", ["testdnsanswer"]) => "TestDNSAnswer",
        _ => "unknown",
    }
}

fn segments(path: &str) -> Vec<&str> {
    path.strip_prefix(VERSION).unwrap_or_default().trim_matches('/').split('/').collect()
}

/// Answers a request.
pub(super) fn answer(
    desk: &mut Desk<'_>,
    method: &str,
    path: &str,
    query: &Params,
    body: &str,
) -> Result<Value, AwsError> {
    let segments = segments(path);
    let id = segments.get(1).copied().unwrap_or_default();
    match operation(method, path) {
        "ListResourceRecordSets" => list(desk, id, query),
        "ChangeResourceRecordSets" => change(desk, id, body),
        "GetHostedZone" => Ok(json!({ "HostedZone": shown(id, zone(desk, id)?) })),
        "ListHostedZones" => {
            let zones: Vec<Value> =
                desk.objects.of_kind(Kind::Zone, "").map(|(id, body)| shown(id, body)).collect();
            Ok(json!({ "HostedZones": zones, "IsTruncated": false, "MaxItems": "100" }))
        }
        "GetChange" => {
            let found = desk.objects.get(Kind::Change, "", id);
            let found = found.ok_or_else(|| {
                AwsError::new(404, "NoSuchChange", format!("A change with id {id} was not found."))
            });
            Ok(json!({ "ChangeInfo": found? }))
        }
        "GetHealthCheck" => {
            let check = health_check(desk, id)?;
            Ok(json!({ "HealthCheck": {
                "Id": id,
                "CallerReference": "rehearsal",
                "HealthCheckConfig": check["HealthCheckConfig"],
                "HealthCheckVersion": 1,
            } }))
        }
        "GetHealthCheckStatus" => status(desk, id),
        "TestDNSAnswer" => test(desk, query),
        _ => Err(unknown(&format!("route53 {method} {path}"))),
    }
}

fn zone<'a>(desk: &'a Desk<'_>, id: &str) -> Result<&'a Value, AwsError> {
    desk.objects.get(Kind::Zone, "", id).ok_or_else(|| {
        AwsError::new(404, "NoSuchHostedZone", format!("No hosted zone found with ID: {id}"))
    })
}

fn health_check<'a>(desk: &'a Desk<'_>, id: &str) -> Result<&'a Value, AwsError> {
    desk.objects.get(Kind::HealthCheck, "", id).ok_or_else(|| {
        AwsError::new(
            404,
            "NoSuchHealthCheck",
            format!("A health check with id {id} does not exist."),
        )
    })
}

fn shown(id: &str, zone: &Value) -> Value {
    json!({
        "Id": format!("/hostedzone/{id}"),
        "Name": zone["Name"],
        "CallerReference": "rehearsal",
        "Config": { "PrivateZone": zone["PrivateZone"] == true },
        "ResourceRecordSetCount": records(zone).len(),
    })
}

fn records(zone: &Value) -> Vec<Value> {
    zone.get("ResourceRecordSets").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Route 53 sorts by the labels of a name from the last to the first, then by type and set.
fn order(record: &Value) -> (Vec<String>, String, String) {
    (
        reversed(text(record, "Name")),
        text(record, "Type").to_owned(),
        text(record, "SetIdentifier").to_owned(),
    )
}

fn reversed(name: &str) -> Vec<String> {
    let labels = name.trim_end_matches('.').rsplit('.');
    labels.map(str::to_ascii_lowercase).collect()
}

fn list(desk: &Desk<'_>, id: &str, query: &Params) -> Result<Value, AwsError> {
    let mut sets = records(zone(desk, id)?);
    sets.sort_by_key(order);
    if let Some(name) = query.get("name") {
        let part = |name: &str| query.get(name).cloned().unwrap_or_default();
        let start = (reversed(name), part("type"), part("identifier"));
        sets.retain(|set| order(set) >= start);
    }
    let most = query.get("maxitems").and_then(|most| most.parse().ok()).unwrap_or(PAGE);
    let next = sets.get(most).cloned();
    sets.truncate(most);
    let mut answer = json!({
        "ResourceRecordSets": sets,
        "IsTruncated": next.is_some(),
        "MaxItems": most.to_string(),
    });
    if let Some(next) = next {
        answer["NextRecordName"] = next["Name"].clone();
        answer["NextRecordType"] = next["Type"].clone();
        answer["NextRecordIdentifier"] = next["SetIdentifier"].clone();
    }
    Ok(answer)
}

fn change(desk: &mut Desk<'_>, id: &str, body: &str) -> Result<Value, AwsError> {
    let request = read_xml(body)?;
    let zone = zone(desk, id)?.clone();
    let mut sets = records(&zone);
    let mut wrong = Vec::new();
    let changes = request.get("ChangeBatch").and_then(|batch| batch.get("Changes")?.as_array());
    for change in changes.into_iter().flatten() {
        let set = typed(change.get("ResourceRecordSet").cloned().unwrap_or_default());
        if let Err(why) = apply(&mut sets, text(change, "Action"), set, text(&zone, "Name")) {
            wrong.push(why);
        }
    }
    if !wrong.is_empty() {
        return Err(AwsError::new(400, "InvalidChangeBatch", format!("[{}]", wrong.join(", "))));
    }
    for set in &sets {
        if let Some(check) = set.get("HealthCheckId").and_then(Value::as_str) {
            health_check(desk, check)?;
        }
    }
    desk.objects.change(Kind::Zone, "", id, json!({ "ResourceRecordSets": sets }));
    let (now, name) = (desk.objects.now(), desk.objects.name("C"));
    let info = json!({
        "Id": format!("/change/{name}"),
        "Status": "PENDING",
        "SubmittedAt": stamp(now),
    });
    let then = vec![Due::set(now + desk.durations.route53_sync.0, json!({ "Status": "INSYNC" }))];
    desk.objects.put(Kind::Change, "", &name, info.clone(), then);
    Ok(json!({ "ChangeInfo": info }))
}

/// Makes one change to the sets; the error is in Route 53's words.
fn apply(sets: &mut Vec<Value>, action: &str, set: Value, zone: &str) -> Result<(), String> {
    let (name, kind) = (text(&set, "Name").to_owned(), text(&set, "Type").to_owned());
    let inside = name == zone || name.ends_with(&format!(".{zone}"));
    if !inside {
        return Err(format!("RRSet with DNS name {name} is not permitted in zone {zone}"));
    }
    let at = sets.iter().position(|known| order(known) == order(&set));
    let tried = format!("resource record set [name='{name}', type='{kind}']");
    match (action, at) {
        ("DELETE", Some(at)) if sets[at] == set => {
            sets.remove(at);
            return Ok(());
        }
        ("DELETE", Some(_)) => {
            return Err(format!(
                "Tried to delete {tried} but the values provided do not match the current values"
            ));
        }
        ("DELETE", None) => return Err(format!("Tried to delete {tried} but it was not found")),
        ("CREATE", Some(_)) => {
            return Err(format!("Tried to create {tried} but it already exists"));
        }
        ("CREATE" | "UPSERT", _) => {}
        (other, _) => return Err(format!("Invalid action {other}")),
    }
    let kin = |known: &&Value| text(known, "Name") == name && text(known, "Type") == kind;
    for known in sets.iter().filter(kin).filter(|known| order(known) != order(&set)) {
        if known.get("SetIdentifier").is_some() != set.get("SetIdentifier").is_some() {
            return Err(format!(
                "RRSet with DNS name {name}, type {kind} cannot be created as a non-simple set exists with the same \
                 name and type"
            ));
        }
        if known.get("TTL") != set.get("TTL") && known.get("AliasTarget").is_none() {
            return Err(format!("Failed to change {tried}: all sets of it must have the same TTL"));
        }
    }
    match at {
        Some(at) => sets[at] = set,
        None => sets.push(set),
    }
    Ok(())
}

/// Gives a set that came as texts its types, and its name the form Route 53 keeps.
fn typed(set: Value) -> Value {
    let Value::Object(fields) = set else { return set };
    let mut typed = Map::new();
    for (name, value) in fields {
        let said = value.as_str().unwrap_or_default();
        let value = match name.as_str() {
            "TTL" | "Weight" => said.parse::<i64>().map_or(value.clone(), |number| json!(number)),
            "Name" => {
                let plain = said.to_ascii_lowercase().replace("\\052", "*");
                json!(format!("{}.", plain.trim_end_matches('.')))
            }
            "AliasTarget" => {
                let mut alias = value.clone();
                alias["EvaluateTargetHealth"] = json!(alias["EvaluateTargetHealth"] == "true");
                alias
            }
            _ => value,
        };
        typed.insert(name, value);
    }
    Value::Object(typed)
}

fn status(desk: &Desk<'_>, id: &str) -> Result<Value, AwsError> {
    let check = health_check(desk, id)?;
    let up = dns::answers_checkers(desk.objects, desk.dark, check);
    let said = match up {
        true => "Success: HTTP Status Code 200, OK",
        false => "Failure: HTTP Status Code 403, Forbidden",
    };
    let seen = ["us-west-1", "us-west-2", "eu-west-1", "sa-east-1"].map(|region| {
        json!({
            "Region": region,
            "IPAddress": "192.0.2.9",
            "StatusReport": { "Status": said, "CheckedTime": stamp(desk.objects.now()) },
        })
    });
    Ok(json!({ "HealthCheckObservations": seen }))
}

fn test(desk: &mut Desk<'_>, query: &Params) -> Result<Value, AwsError> {
    let part = |name: &str| query.get(name).cloned().unwrap_or_default();
    zone(desk, &part("hostedzoneid"))?;
    let (name, kind) = (part("recordname"), part("recordtype"));
    let found = dns::records(desk.objects, desk.dark, &name, &kind, desk.random);
    Ok(json!({
        "Nameserver": "ns-1.awsdns-00.org",
        "RecordName": name,
        "RecordType": kind,
        "RecordData": found,
        "ResponseCode": if found.is_empty() { "NXDOMAIN" } else { "NOERROR" },
        "Protocol": "UDP",
    }))
}
