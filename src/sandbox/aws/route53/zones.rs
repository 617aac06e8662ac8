//! Hosted zones: the two record sets each begins with, and listings by id and by name.

use serde_json::{Value, json};

use super::super::codec::{AwsError, Params, read_xml};
use super::records::{plain_name, records, reversed};
use super::{Desk, noted, page, zone};
use crate::sandbox::objects::text;
use crate::sandbox::world::Kind;

/// Zones of a page, at most.
const PAGE: usize = 100;

const SERVERS: [&str; 4] =
    ["ns-1.awsdns-00.org", "ns-2.awsdns-00.com", "ns-3.awsdns-00.net", "ns-4.awsdns-00.co.uk"];

fn shown(id: &str, zone: &Value) -> Value {
    let caller = match text(zone, "CallerReference") {
        "" => "rehearsal",
        known => known,
    };
    let mut config = json!({ "PrivateZone": zone["PrivateZone"] == true });
    if let Some(comment) = zone.get("Comment") {
        config["Comment"] = comment.clone();
    }
    json!({
        "Id": format!("/hostedzone/{id}"),
        "Name": zone["Name"],
        "CallerReference": caller,
        "Config": config,
        "ResourceRecordSetCount": records(zone).len(),
    })
}

pub(super) fn get(desk: &Desk<'_>, id: &str) -> Result<Value, AwsError> {
    let mut answer = json!({ "HostedZone": shown(id, zone(desk, id)?) });
    if zone(desk, id)?["PrivateZone"] != true {
        answer["DelegationSet"] = json!({ "NameServers": SERVERS });
    }
    Ok(answer)
}

pub(super) fn list(desk: &Desk<'_>, query: &Params) -> Value {
    let after = query.get("marker").map_or("", String::as_str);
    let all = desk.objects.of_kind(Kind::Zone, "").filter(|(id, _)| *id >= after).collect();
    let (zones, next, most) = page(all, query, PAGE);
    let zones: Vec<Value> = zones.into_iter().map(|(id, body)| shown(id, body)).collect();
    let mut answer = json!({
        "HostedZones": zones,
        "IsTruncated": next.is_some(),
        "MaxItems": most.to_string(),
    });
    if !after.is_empty() {
        answer["Marker"] = json!(after);
    }
    if let Some((id, _)) = next {
        answer["NextMarker"] = json!(id);
    }
    answer
}

pub(super) fn by_name(desk: &Desk<'_>, query: &Params) -> Value {
    let order = |id: &str, body: &Value| (reversed(text(body, "Name")), id.to_owned());
    let mut all: Vec<(&str, &Value)> = desk.objects.of_kind(Kind::Zone, "").collect();
    all.sort_by_key(|(id, body)| order(id, body));
    let first = query
        .get("dnsname")
        .map(|name| (reversed(name), query.get("hostedzoneid").cloned().unwrap_or_default()));
    if let Some(first) = first {
        all.retain(|(id, body)| order(id, body) >= first);
    }
    let (zones, next, most) = page(all, query, PAGE);
    let zones: Vec<Value> = zones.into_iter().map(|(id, body)| shown(id, body)).collect();
    let mut answer = json!({
        "HostedZones": zones,
        "IsTruncated": next.is_some(),
        "MaxItems": most.to_string(),
    });
    for (asked, shown) in [("dnsname", "DNSName"), ("hostedzoneid", "HostedZoneId")] {
        if let Some(value) = query.get(asked) {
            answer[shown] = json!(value);
        }
    }
    if let Some((id, body)) = next {
        answer["NextDNSName"] = body["Name"].clone();
        answer["NextHostedZoneId"] = json!(id);
    }
    answer
}

pub(super) fn create(desk: &mut Desk<'_>, body: &str) -> Result<Value, AwsError> {
    let asked = read_xml(body)?;
    let (name, caller) = (plain_name(text(&asked, "Name")), text(&asked, "CallerReference"));
    let same = |(_, zone): (&str, &Value)| text(zone, "CallerReference") == caller;
    if desk.objects.of_kind(Kind::Zone, "").any(same) {
        let message = format!(
            "A hosted zone has already been created with the specified caller reference: {caller}"
        );
        return Err(AwsError::new(409, "HostedZoneAlreadyExists", message));
    }
    let config = asked.get("HostedZoneConfig").cloned().unwrap_or_default();
    let servers: Vec<Value> =
        SERVERS.iter().map(|server| json!({ "Value": format!("{server}.") })).collect();
    let start = format!("{}. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400", SERVERS[0]);
    let mut zone = json!({
        "Name": name,
        "CallerReference": caller,
        "PrivateZone": config["PrivateZone"] == "true",
        "ResourceRecordSets": [
            { "Name": name, "Type": "NS", "TTL": 172_800, "ResourceRecords": servers },
            { "Name": name, "Type": "SOA", "TTL": 900, "ResourceRecords": [{ "Value": start }] },
        ],
    });
    if let Some(comment) = config.get("Comment") {
        zone["Comment"] = comment.clone();
    }
    let id = desk.objects.name("Z");
    desk.objects.put(Kind::Zone, "", &id, zone.clone(), Vec::new());
    let info = noted(desk, &Value::Null);
    Ok(json!({
        "HostedZone": shown(&id, &zone),
        "ChangeInfo": info,
        "DelegationSet": { "NameServers": SERVERS },
    }))
}

pub(super) fn delete(desk: &mut Desk<'_>, id: &str) -> Result<Value, AwsError> {
    let found = zone(desk, id)?;
    let name = text(found, "Name");
    let own = |set: &Value| text(set, "Name") == name && ["NS", "SOA"].contains(&text(set, "Type"));
    if !records(found).iter().all(own) {
        let message = "The specified hosted zone contains non-required resource record sets and so cannot be deleted.";
        return Err(AwsError::new(400, "HostedZoneNotEmpty", message));
    }
    desk.objects.remove(Kind::Zone, "", id);
    Ok(json!({ "ChangeInfo": noted(desk, &Value::Null) }))
}
