//! Route 53's API: zones, record sets in their order and pages, batches that are done whole or not at all, health
//! checks.

mod change;
mod checks;
mod records;
mod zones;

use serde_json::{Value, json};

use super::codec::{AwsError, Params};
use super::{Desk, unknown};
use crate::sandbox::dns::Asker;
use crate::sandbox::objects::Due;
use crate::sandbox::world::{Kind, stamp};

const VERSION: &str = "/2013-04-01/";

/// What it knows.
pub(super) const OPERATIONS: [&str; 15] = [
    "ChangeResourceRecordSets",
    "CreateHealthCheck",
    "CreateHostedZone",
    "DeleteHealthCheck",
    "DeleteHostedZone",
    "GetChange",
    "GetHealthCheck",
    "GetHealthCheckStatus",
    "GetHostedZone",
    "ListHealthChecks",
    "ListHostedZones",
    "ListHostedZonesByName",
    "ListResourceRecordSets",
    "TestDNSAnswer",
    "UpdateHealthCheck",
];

/// Returns the name of an operation by its method and path.
pub(super) fn operation(method: &str, path: &str) -> &'static str {
    match (method, segments(path).as_slice()) {
        ("GET", ["hostedzone", _, "rrset"]) => "ListResourceRecordSets",
        ("POST", ["hostedzone", _, "rrset"]) => "ChangeResourceRecordSets",
        ("GET", ["hostedzone", _]) => "GetHostedZone",
        ("DELETE", ["hostedzone", _]) => "DeleteHostedZone",
        ("GET", ["hostedzone"]) => "ListHostedZones",
        ("POST", ["hostedzone"]) => "CreateHostedZone",
        ("GET", ["hostedzonesbyname"]) => "ListHostedZonesByName",
        ("GET", ["change", _]) => "GetChange",
        ("GET", ["healthcheck"]) => "ListHealthChecks",
        ("POST", ["healthcheck"]) => "CreateHealthCheck",
        ("GET", ["healthcheck", _]) => "GetHealthCheck",
        ("POST", ["healthcheck", _]) => "UpdateHealthCheck",
        ("DELETE", ["healthcheck", _]) => "DeleteHealthCheck",
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
        "ListResourceRecordSets" => records::list(desk, id, query),
        "ChangeResourceRecordSets" => change::change(desk, id, body),
        "GetHostedZone" => zones::get(desk, id),
        "ListHostedZones" => Ok(zones::list(desk, query)),
        "ListHostedZonesByName" => Ok(zones::by_name(desk, query)),
        "CreateHostedZone" => zones::create(desk, body),
        "DeleteHostedZone" => zones::delete(desk, id),
        "GetChange" => {
            let found = desk.objects.get(Kind::Change, "", id);
            let found = found.ok_or_else(|| {
                let message = format!("Could not find resource with ID: {id}");
                AwsError::new(404, "NoSuchChange", message)
            });
            Ok(json!({ "ChangeInfo": found? }))
        }
        "ListHealthChecks" => Ok(checks::list(desk, query)),
        "CreateHealthCheck" => checks::create(desk, body),
        "GetHealthCheck" => checks::get(desk, id),
        "UpdateHealthCheck" => checks::update(desk, id, body),
        "DeleteHealthCheck" => checks::delete(desk, id),
        "GetHealthCheckStatus" => checks::status(desk, id),
        "TestDNSAnswer" => test(desk, query),
        _ => Err(unknown(&format!("route53 {method} {path}"))),
    }
}

fn zone<'a>(desk: &'a Desk<'_>, id: &str) -> Result<&'a Value, AwsError> {
    desk.objects.get(Kind::Zone, "", id).ok_or_else(|| {
        AwsError::new(404, "NoSuchHostedZone", format!("No hosted zone found with ID: {id}"))
    })
}

/// Notes a change: every name server has it a while later.
fn noted(desk: &mut Desk<'_>, comment: &Value) -> Value {
    let (now, name) = (desk.objects.now(), desk.objects.name("C"));
    let mut info = json!({
        "Id": format!("/change/{name}"),
        "Status": "PENDING",
        "SubmittedAt": stamp(now),
    });
    if comment.is_string() {
        info["Comment"] = comment.clone();
    }
    let then = vec![Due::set(now + desk.durations.route53_sync.0, json!({ "Status": "INSYNC" }))];
    desk.objects.put(Kind::Change, "", &name, info.clone(), then);
    info
}

/// Cuts a sorted list into the page a request asks for; the second part is what the next one begins with.
fn page<T>(mut all: Vec<T>, query: &Params, most: usize) -> (Vec<T>, Option<T>, usize) {
    let asked = query.get("maxitems").and_then(|most| most.parse().ok());
    let most = asked.unwrap_or(most).clamp(1, most);
    let rest = if all.len() > most { all.split_off(most) } else { Vec::new() };
    let next = rest.into_iter().next();
    (all, next, most)
}

/// Answers TestDNSAnswer, as a resolver in Virginia is answered.
fn test(desk: &mut Desk<'_>, query: &Params) -> Result<Value, AwsError> {
    let part = |name: &str| query.get(name).cloned().unwrap_or_default();
    let id = part("hostedzoneid");
    let id = id.trim_start_matches("/hostedzone/");
    if zone(desk, id)?["PrivateZone"] == true {
        let message = "TestDNSAnswer supports public hosted zones only";
        return Err(AwsError::new(400, "InvalidInput", message));
    }
    let (name, kind) = (part("recordname"), part("recordtype"));
    let asker = Asker { objects: desk.objects, dark: desk.dark };
    let elsewhere = ["resolverip", "edns0clientsubnetip"].iter().find_map(|name| query.get(*name));
    if let Some(place) = elsewhere.filter(|_| asker.by_place(&name, &kind)) {
        return Err(unknown(&format!("where {place} is")));
    }
    let exists = asker.exists(&name);
    let mut found = asker.records(&name, &kind, desk.random);
    if found.is_empty() {
        found = asker.records(&name, "CNAME", desk.random);
    }
    Ok(json!({
        "Nameserver": "ns-1.awsdns-00.org",
        "RecordName": name,
        "RecordType": kind,
        "RecordData": found,
        "ResponseCode": if exists { "NOERROR" } else { "NXDOMAIN" },
        "Protocol": "UDP",
    }))
}
