//! ChangeResourceRecordSets: a batch is done whole or not at all, in Route 53's words where it is not.

use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::codec::{AwsError, read_xml};
use super::checks::health_check;
use super::records::{order, records, typed};
use super::{Desk, noted, zone};
use crate::sandbox::dns::routing;
use crate::sandbox::objects::text;
use crate::sandbox::world::{Kind, stamp};

/// Weights go up to here.
const WEIGHT_MAX: i64 = 255;

pub(super) fn change(desk: &mut Desk<'_>, id: &str, body: &str) -> Result<Value, AwsError> {
    let request = read_xml(body)?;
    let zone = zone(desk, id)?.clone();
    let now = desk.objects.now();
    // Route 53 takes one request of a zone at a time; changes that are only not everywhere yet do not matter.
    if text(&zone, "_busy").parse::<Timestamp>().is_ok_and(|until| now < until) {
        let message =
            "The request was rejected because Route 53 was still processing a prior request.";
        return Err(AwsError::new(400, "PriorRequestNotComplete", message));
    }
    let batch = request.get("ChangeBatch").cloned().unwrap_or_default();
    let changes = batch.get("Changes").and_then(Value::as_array).cloned().unwrap_or_default();
    let apex = text(&zone, "Name");
    let mut sets = records(&zone);
    let (mut wrong, mut touched) = (Vec::new(), Vec::new());
    for change in changes {
        let set = typed(change.get("ResourceRecordSet").cloned().unwrap_or_default());
        let action = text(&change, "Action");
        shaped(action, &set)?;
        let fits = if action == "DELETE" { Ok(()) } else { sound(&set, apex) };
        if let Err(why) = fits.and_then(|()| apply(&mut sets, action, set.clone(), apex)) {
            wrong.push(why);
        } else if action != "DELETE" {
            touched.push(set);
        }
    }
    wrong.extend(touched.iter().filter_map(|set| disagrees(&sets, set, apex)));
    for (kind, message) in [
        ("NS", "A HostedZone must contain at least one NS record for the zone itself."),
        ("SOA", "A HostedZone must contain exactly one SOA record."),
    ] {
        let has = |sets: &[Value]| {
            sets.iter().any(|set| text(set, "Name") == apex && text(set, "Type") == kind)
        };
        if has(&records(&zone)) && !has(&sets) {
            wrong.push(message.to_owned());
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
    let until = stamp(now + desk.durations.answer.0);
    let set = json!({ "ResourceRecordSets": sets, "_busy": until });
    desk.objects.change(Kind::Zone, "", id, set);
    Ok(json!({ "ChangeInfo": noted(desk, &batch["Comment"]) }))
}

/// Makes one change to the sets; the error is in Route 53's words.
fn apply(sets: &mut Vec<Value>, action: &str, set: Value, zone: &str) -> Result<(), String> {
    let (name, kind) = (text(&set, "Name").to_owned(), text(&set, "Type").to_owned());
    let inside = name == zone || name.ends_with(&format!(".{zone}"));
    if !inside {
        return Err(format!("RRSet with DNS name {name} is not permitted in zone {zone}"));
    }
    let at = sets.iter().position(|known| order(known) == order(&set));
    let tried = match text(&set, "SetIdentifier") {
        "" => format!("resource record set [name='{name}', type='{kind}']"),
        set => {
            format!("resource record set [name='{name}', type='{kind}', set identifier='{set}']")
        }
    };
    match (action, at) {
        ("DELETE", Some(at)) if sets[at] == set => {
            sets.remove(at);
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
        ("UPSERT", Some(at)) => sets[at] = set,
        ("CREATE" | "UPSERT", None) => sets.push(set),
        (other, _) => return Err(format!("Invalid action {other}")),
    }
    Ok(())
}

/// Refuses a change whose fields do not go together.
fn shaped(action: &str, set: &Value) -> Result<(), AwsError> {
    let within = format!(
        "in Change with [Action={action}, Name={}, Type={}, SetIdentifier={}]",
        text(set, "Name"),
        text(set, "Type"),
        set.get("SetIdentifier").and_then(Value::as_str).unwrap_or("null"),
    );
    let invalid = |why: String| Err(AwsError::new(400, "InvalidInput", why));
    match (routing(set), set.get("SetIdentifier").is_some()) {
        ("simple", true) => {
            return invalid(format!(
                "Invalid request: Expected exactly one of [Weight, Region, Failover, GeoLocation, MultiValueAnswer, \
                 GeoProximityLocation, or CidrRoutingConfig], but found none {within}"
            ));
        }
        ("simple", false) | (_, true) => {}
        (_, false) => {
            return invalid(format!("Invalid request: Missing field 'SetIdentifier' {within}"));
        }
    }
    let weight = set.get("Weight").map(|weight| weight.as_i64().unwrap_or(-1));
    if let Some(weight) = weight.filter(|weight| !(0..=WEIGHT_MAX).contains(weight)) {
        return invalid(format!(
            "1 validation error detected: Value '{weight}' at 'changeBatch.changes.1.member.resourceRecordSet.weight' \
             failed to satisfy constraint: Member must have value between 0 and {WEIGHT_MAX}"
        ));
    }
    let values = set.get("ResourceRecords").and_then(Value::as_array);
    let valued = values.is_some_and(|values| !values.is_empty());
    match (set.get("AliasTarget").is_some(), set.get("TTL").is_some(), valued) {
        (true, false, false) | (false, true, true) => Ok(()),
        _ => invalid(format!(
            "Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or \
             TrafficPolicyInstanceId], but found none {within}"
        )),
    }
}

/// Says what is wrong with a set by itself.
fn sound(set: &Value, zone: &str) -> Result<(), String> {
    let (name, kind) = (text(set, "Name"), text(set, "Type"));
    let values = set.get("ResourceRecords").and_then(Value::as_array);
    let values = values.map(Vec::as_slice).unwrap_or_default();
    if kind == "CNAME" && name == zone {
        return Err(format!(
            "RRSet of type CNAME with DNS name {name} is not permitted at apex in zone {zone}"
        ));
    }
    if kind == "CNAME" && values.len() > 1 {
        return Err(format!("RRSet of type CNAME with DNS name {name} has more than one value"));
    }
    let illegal = values.iter().map(|value| text(value, "Value")).find(|value| match kind {
        "A" => value.parse::<Ipv4Addr>().is_err(),
        "AAAA" => value.parse::<Ipv6Addr>().is_err(),
        _ => false,
    });
    match illegal {
        Some(value) if kind == "A" => Err(format!(
            "Invalid Resource Record: 'FATAL problem: ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address) \
             encountered with '{value}''"
        )),
        Some(value) => Err(format!(
            "Invalid Resource Record: 'FATAL problem: AAAARRDATAIllegalIPv6Address (Value is not a valid IPv6 address) \
             encountered with '{value}''"
        )),
        None => Ok(()),
    }
}

/// Says how a set disagrees with the others of its name once the whole batch is done.
fn disagrees(sets: &[Value], set: &Value, zone: &str) -> Option<String> {
    let (name, kind) = (text(set, "Name"), text(set, "Type"));
    let others =
        || sets.iter().filter(|known| text(known, "Name") == name && order(known) != order(set));
    if others().any(|known| (text(known, "Type") == "CNAME") != (kind == "CNAME")) {
        return Some(format!(
            "RRSet of type {kind} with DNS name {name} is not permitted because a conflicting RRSet of type {} with the \
             same DNS name already exists in zone {zone}",
            others()
                .map(|known| text(known, "Type"))
                .find(|other| *other != kind)
                .unwrap_or("CNAME")
        ));
    }
    let kin = || others().filter(|known| text(known, "Type") == kind);
    let own = routing(set);
    let identifier = text(set, "SetIdentifier");
    if own == "simple" {
        return kin().next().map(|_| {
            format!(
                "RRSet with DNS name {name}, type {kind} cannot be created as other RRSets exist with the same name and \
                 type."
            )
        });
    }
    if kin().any(|known| routing(known) != own) {
        return Some(format!(
            "RRSet with DNS name {name}, type {kind}, SetIdentifier {identifier} cannot be created as a non-{own} set \
             exists with the same name and type."
        ));
    }
    let differs = |known: &&Value| {
        known.get("AliasTarget").is_none()
            && set.get("AliasTarget").is_none()
            && known.get("TTL") != set.get("TTL")
    };
    if own == "weighted" && kin().any(|known| differs(&known)) {
        return Some(format!(
            "RRSet with DNS name {name}, type {kind}, SetIdentifier {identifier} cannot be created as weighted sets must \
             contain the same TTL."
        ));
    }
    let role = |known: &&Value| own == "failover" && known.get("Failover") == set.get("Failover");
    kin().find(role).map(|_| {
        format!(
            "RRSet with DNS name {name}, type {kind}, SetIdentifier {identifier} cannot be created as a failover {} set \
             exists with the same name and type.",
            text(set, "Failover").to_lowercase()
        )
    })
}
