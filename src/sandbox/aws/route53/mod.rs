//! Route 53's API: zones, record sets in their order and pages, batches that are done whole or not at all, health
//! checks.

mod change;
mod checks;
mod records;
mod zones;

use serde_json::{Value, json};

use super::codec::{AwsError, Params};
use super::operations::{Operation, names};
use super::{Desk, unknown};
use crate::sandbox::dns::Asker;
use crate::sandbox::objects::Due;
use crate::sandbox::world::{Kind, stamp};

const VERSION: &str = "/2013-04-01/";

/// Stands for an id in a path.
const ID: &str = "{Id}";

/// A request for an operation.
struct Asked<'a> {
    /// The id in its path; empty where that has none
    id: &'a str,
    query: &'a Params,
    body: &'a str,
}

/// How an operation is asked for, and what answers it.
struct Route {
    method: &'static str,
    path: &'static [&'static str],
    answers: fn(&mut Desk<'_>, &Asked<'_>) -> Result<Value, AwsError>,
}

impl Route {
    fn is_of(&self, method: &str, path: &[&str]) -> bool {
        let same = |(known, asked): (&&str, &&str)| *known == ID || known == asked;
        self.method == method
            && self.path.len() == path.len()
            && self.path.iter().zip(path).all(same)
    }
}

const fn route(
    name: &'static str,
    method: &'static str,
    path: &'static [&'static str],
    answers: fn(&mut Desk<'_>, &Asked<'_>) -> Result<Value, AwsError>,
) -> Operation<Route> {
    Operation { name, answers: Route { method, path, answers } }
}

/// Every operation there is here.
const ROUTES: [Operation<Route>; 15] = [
    route("ChangeResourceRecordSets", "POST", &["hostedzone", ID, "rrset"], |desk, asked| {
        change::change(desk, asked.id, asked.body)
    }),
    route("CreateHealthCheck", "POST", &["healthcheck"], |desk, asked| {
        checks::create(desk, asked.body)
    }),
    route("CreateHostedZone", "POST", &["hostedzone"], |desk, asked| {
        zones::create(desk, asked.body)
    }),
    route("DeleteHealthCheck", "DELETE", &["healthcheck", ID], |desk, asked| {
        checks::delete(desk, asked.id)
    }),
    route("DeleteHostedZone", "DELETE", &["hostedzone", ID], |desk, asked| {
        zones::delete(desk, asked.id)
    }),
    route("GetChange", "GET", &["change", ID], |desk, asked| noted_before(desk, asked.id)),
    route("GetHealthCheck", "GET", &["healthcheck", ID], |desk, asked| checks::get(desk, asked.id)),
    route("GetHealthCheckStatus", "GET", &["healthcheck", ID, "status"], |desk, asked| {
        checks::status(desk, asked.id)
    }),
    route("GetHostedZone", "GET", &["hostedzone", ID], |desk, asked| zones::get(desk, asked.id)),
    route("ListHealthChecks", "GET", &["healthcheck"], |desk, asked| {
        Ok(checks::list(desk, asked.query))
    }),
    route("ListHostedZones", "GET", &["hostedzone"], |desk, asked| {
        Ok(zones::list(desk, asked.query))
    }),
    route("ListHostedZonesByName", "GET", &["hostedzonesbyname"], |desk, asked| {
        Ok(zones::by_name(desk, asked.query))
    }),
    route("ListResourceRecordSets", "GET", &["hostedzone", ID, "rrset"], |desk, asked| {
        records::list(desk, asked.id, asked.query)
    }),
    route("TestDNSAnswer", "GET", &["testdnsanswer"], |desk, asked| test(desk, asked.query)),
    route("UpdateHealthCheck", "POST", &["healthcheck", ID], |desk, asked| {
        checks::update(desk, asked.id, asked.body)
    }),
];

/// Their names.
pub(super) const OPERATIONS: [&str; ROUTES.len()] = names(&ROUTES);

/// Returns the operation of a method and path; `None` where it is not simulated.
fn routed(method: &str, path: &str) -> Option<&'static Operation<Route>> {
    let segments = segments(path);
    ROUTES.iter().find(|known| known.answers.is_of(method, &segments))
}

/// Returns the name of an operation by its method and path.
pub(super) fn operation(method: &str, path: &str) -> Option<&'static str> {
    routed(method, path).map(|known| known.name)
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
    let known = routed(method, path);
    let known = known.ok_or_else(|| unknown(&format!("route53 {method} {path}")))?;
    let id = segments(path).get(1).copied().unwrap_or_default();
    (known.answers.answers)(desk, &Asked { id, query, body })
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

/// Answers GetChange.
fn noted_before(desk: &Desk<'_>, id: &str) -> Result<Value, AwsError> {
    let found = desk.objects.get(Kind::Change, "", id).ok_or_else(|| {
        AwsError::new(404, "NoSuchChange", format!("Could not find resource with ID: {id}"))
    });
    Ok(json!({ "ChangeInfo": found? }))
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
