//! Route 53: the estate's zones with every record set, and the health checks their records name.

use std::collections::BTreeSet;

use aws_sdk_route53::types::{HealthCheckConfig, ResourceRecordSet, RrType};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use serde_json::{Map, Value, json};

use super::fields::{Fields, ITEMS_MAX};
use super::{Part, no_answer, patiently};
use crate::clients::Clients;
use crate::clients::aws::Regional;
use crate::clients::aws::error::{Nature, failure};
use crate::estate::types::{Dns, Estate, FailoverObject};
use crate::outcome::ActionError;
use crate::sandbox::fault::Service;
use crate::sandbox::world::Kind;

/// Where the API lives, in AWS's own partition.
pub(super) const CONTROL_REGION: &str = "us-east-1";

/// Health checks that are asked about, at most.
const CHECKS_MAX: usize = 500;

pub(super) async fn look(clients: &Clients) -> Part {
    let mut part = Part::default();
    let estate = &clients.estate;
    let private = estate.database.as_ref().and_then(|db| db.application.as_ref()?.cname.as_ref());
    let zones: BTreeSet<&str> = estate
        .dns
        .iter()
        .map(|dns| dns.zone.as_str())
        .chain(private.map(|record| record.zone.as_str()))
        .collect();
    if zones.is_empty() {
        return part;
    }
    let aws = match clients.aws.region(&clients.aws.survivor()).await {
        Ok(aws) => aws,
        Err(error) => {
            part.missed("Route 53", None, &error);
            return part;
        }
    };
    for zone in zones {
        if let Err(error) = zone_of(clients, &aws, zone, &mut part).await {
            part.missed(&format!("Route 53 zone {zone}"), None, &error);
            if no_answer(&error) {
                part.silent(CONTROL_REGION, Service::Route53);
            }
            guessed(estate, zone, &mut part);
        }
    }
    part
}

async fn zone_of(
    clients: &Clients,
    aws: &Regional,
    zone: &str,
    part: &mut Part,
) -> Result<(), ActionError> {
    let found = patiently(clients, || async {
        let found = aws.route53.get_hosted_zone().id(zone).send().await;
        found.map_err(|error| read("GetHostedZone", aws, &error))
    });
    let found = found.await?;
    let name = found.hosted_zone().map(|zone| zone.name());
    let private =
        found.hosted_zone().and_then(|zone| zone.config()).map(|known| known.private_zone());
    let (sets, cut) = sets(clients, aws, zone).await?;
    part.answers += 2;
    if cut {
        part.missed = true;
        let why = format!("only its first {} record sets were taken", sets.len());
        part.assumed(&format!("Route 53 zone {zone}"), None, &why);
    }
    let checks: BTreeSet<String> =
        sets.iter().filter_map(|set| set.health_check_id()).map(str::to_owned).collect();
    for set in sets.iter().filter(|set| is_routed_otherwise(set)) {
        let set_id = set.set_identifier().unwrap_or_default();
        let what = format!("{} record {} {set_id}", set.r#type().as_str(), set.name());
        let why =
            "how it is routed is left out: by proximity, by IP address or by a traffic policy";
        part.assumed(what.trim_end(), None, why);
    }
    let records = sets.iter().map(|set| record(set).value());
    let body = Fields::default()
        .set("Name", name)
        .set("PrivateZone", private.filter(|private| *private))
        .set("ResourceRecordSets", Some(records.collect::<Vec<Value>>()));
    part.add(Kind::Zone, "", zone, body.done());
    for (index, check) in checks.iter().enumerate() {
        let known = match index < CHECKS_MAX {
            true => health_check(clients, aws, check).await,
            false => Err(ActionError::unchanged(
                crate::outcome::FailureClass::Invalid,
                format!("only {CHECKS_MAX} health checks are asked about"),
            )),
        };
        if let Some(why) = known.as_ref().ok().and_then(simplified) {
            part.assumed(&format!("health check {check}"), None, why);
        }
        let body = known.unwrap_or_else(|error| {
            part.missed(&format!("health check {check}"), None, &error);
            // One that is not made counts as answered.
            Fields::default().set("HealthCheckConfig", Some(json!({ "Disabled": true }))).done()
        });
        part.add(Kind::HealthCheck, "", check, body);
    }
    Ok(())
}

fn read<E>(call: &str, aws: &Regional, error: &SdkError<E, HttpResponse>) -> ActionError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    failure(Nature::Read, &format!("route53:{call}"), &aws.region, error)
}

/// Reads the record sets of a zone, and says whether there are more than are taken.
async fn sets(
    clients: &Clients,
    aws: &Regional,
    zone: &str,
) -> Result<(Vec<ResourceRecordSet>, bool), ActionError> {
    let mut sets = Vec::new();
    let mut start: Option<(String, RrType, Option<String>)> = None;
    loop {
        let page = patiently(clients, || async {
            let mut request = aws.route53.list_resource_record_sets().hosted_zone_id(zone);
            if let Some((name, kind, identifier)) = start.clone() {
                request = request.start_record_name(name).start_record_type(kind);
                request = request.set_start_record_identifier(identifier);
            }
            let page = request.send().await;
            page.map_err(|error| read("ListResourceRecordSets", aws, &error))
        });
        let page = page.await?;
        sets.extend(page.resource_record_sets().iter().cloned());
        let next = page.next_record_name().zip(page.next_record_type());
        let Some((name, kind)) = next.filter(|_| page.is_truncated()) else {
            return Ok((sets, false));
        };
        if sets.len() >= ITEMS_MAX {
            return Ok((sets, true));
        }
        let identifier = page.next_record_identifier().map(str::to_owned);
        start = Some((name.to_owned(), kind.clone(), identifier));
    }
}

/// Says whether a record set is chosen by something a world does not have.
fn is_routed_otherwise(set: &ResourceRecordSet) -> bool {
    set.geo_proximity_location().is_some()
        || set.cidr_routing_config().is_some()
        || set.traffic_policy_instance_id().is_some()
}

/// Returns what a world does not have of a health check, where it has not all that decides it.
fn simplified(body: &Map<String, Value>) -> Option<&'static str> {
    match body.get("HealthCheckConfig")?.get("Type")?.as_str()? {
        "CALCULATED" => {
            Some("what it is calculated from is left out: it counts as healthy in the world")
        }
        "HTTP_STR_MATCH" | "HTTPS_STR_MATCH" => {
            Some("the text it looks for is left out: it stays as its checkers saw it")
        }
        "CLOUDWATCH_METRIC" | "RECOVERY_CONTROL" => {
            Some("what it follows is not captured: it stays as it was seen")
        }
        _ => None,
    }
}

fn record(set: &ResourceRecordSet) -> Fields {
    let alias = set.alias_target().map(|alias| {
        json!({
            "HostedZoneId": alias.hosted_zone_id(),
            "DNSName": alias.dns_name(),
            "EvaluateTargetHealth": alias.evaluate_target_health(),
        })
    });
    let place = set.geo_location().map(|place| {
        Fields::default()
            .set("ContinentCode", place.continent_code())
            .set("CountryCode", place.country_code())
            .set("SubdivisionCode", place.subdivision_code())
            .value()
    });
    Fields::default()
        .set("Name", Some(set.name()))
        .set("Type", Some(set.r#type().as_str()))
        .set("SetIdentifier", set.set_identifier())
        .set("Weight", set.weight())
        .set("Failover", set.failover().map(|failover| failover.as_str()))
        .set("Region", set.region().map(|region| region.as_str()))
        .set("GeoLocation", place)
        .set("MultiValueAnswer", set.multi_value_answer())
        .set("TTL", set.ttl())
        .list(
            "ResourceRecords",
            set.resource_records().iter().map(|r| json!({ "Value": r.value() })),
        )
        .set("AliasTarget", alias)
        .set("HealthCheckId", set.health_check_id())
}

/// Reads a health check with what its checkers see.
async fn health_check(
    clients: &Clients,
    aws: &Regional,
    check: &str,
) -> Result<Map<String, Value>, ActionError> {
    let found = patiently(clients, || async {
        let found = aws.route53.get_health_check().health_check_id(check).send().await;
        found.map_err(|error| read("GetHealthCheck", aws, &error))
    });
    let found = found.await?;
    let Some(config) = found.health_check().and_then(|check| check.health_check_config()) else {
        let message = format!("health check {check} came without its settings");
        return Err(ActionError::unchanged(crate::outcome::FailureClass::Internal, message));
    };
    let object = clients.estate.dns.as_ref().and_then(|dns| dns.failover_object.as_ref());
    if let Some(object) = object.filter(|object| asks_for(config, object)) {
        // Where it looks follows the object, wherever that is in the real estate.
        let config = looking(object, settings(config, None, None)).value();
        return Ok(Fields::default().set("HealthCheckConfig", Some(config)).done());
    }
    let status = patiently(clients, || async {
        let status = aws.route53.get_health_check_status().health_check_id(check).send().await;
        status.map_err(|error| read("GetHealthCheckStatus", aws, &error))
    });
    let status = status.await?;
    let said: Vec<bool> = status
        .health_check_observations()
        .iter()
        .filter_map(|seen| seen.status_report()?.status())
        .map(|said| said.starts_with("Success"))
        .collect();
    let good = said.iter().filter(|good| **good).count();
    let up = (!said.is_empty()).then_some(good * 2 >= said.len());
    let path = config.resource_path();
    let config = settings(config, config.fully_qualified_domain_name(), path).value();
    Ok(Fields::default().set("HealthCheckConfig", Some(config)).set("_up", up).done())
}

/// Has a health check look at the failover object where the simulation has it.
fn looking(object: &FailoverObject, settings: Fields) -> Fields {
    settings
        .without("IPAddress")
        .set("Type", Some("HTTPS"))
        .set(
            "FullyQualifiedDomainName",
            Some(format!("{}.s3.{}.amazonaws.com", object.bucket, object.region)),
        )
        .set("Port", Some(443))
        .set("ResourcePath", Some(format!("/{}", object.key)))
}

/// Says whether a health check asks for the failover object: by its bucket's name, or at the URL of the estate.
fn asks_for(config: &HealthCheckConfig, object: &FailoverObject) -> bool {
    let hosts = [config.fully_qualified_domain_name(), config.ip_address()];
    let path = config.resource_path().unwrap_or("/");
    let own = format!("{}.s3.", object.bucket);
    let by_name = hosts.iter().flatten().any(|host| host.starts_with(&own));
    let uri = object.url.as_deref().and_then(|url| url.parse::<http::Uri>().ok());
    let by_url = uri.is_some_and(|uri| hosts.contains(&uri.host()) && uri.path() == path);
    by_url || (by_name && path.trim_start_matches('/') == object.key)
}

fn settings(config: &HealthCheckConfig, host: Option<&str>, path: Option<&str>) -> Fields {
    Fields::default()
        .set("Type", Some(config.r#type().as_str()))
        .set("FullyQualifiedDomainName", host)
        .set("IPAddress", config.ip_address().filter(|_| host.is_none()))
        .set("Port", config.port())
        .set("ResourcePath", path)
        .set("Inverted", config.inverted())
        .set("Disabled", config.disabled())
        .set("RequestInterval", config.request_interval())
        .set("FailureThreshold", config.failure_threshold())
}

/// A zone nobody could read, as the estate has it: a record for each region, all traffic to the primary.
fn guessed(estate: &Estate, zone: &str, part: &mut Part) {
    let Some(dns) = estate.dns.as_ref().filter(|dns| dns.zone == zone) else { return };
    let records = dns.records.iter().filter_map(|(region, set)| {
        let target = estate.regions.get(region)?.load_balancer.as_deref()?;
        let primary = *region == estate.primary.region;
        Some(guess(dns, set, host_of(target), primary))
    });
    let mut records: Vec<Value> = records.collect();
    let check = dns.failover_object.as_ref().and_then(|object| {
        let check = object.health_check.clone()?;
        Some((check, object))
    });
    if let Some((check, object)) = check {
        let own = dns.records.get(&estate.primary.region);
        let primary = records
            .iter_mut()
            .find(|record| record["SetIdentifier"].as_str() == own.map(String::as_str));
        if let Some(primary) = primary {
            primary["HealthCheckId"] = json!(check);
        }
        let settings = looking(object, Fields::default().set("Inverted", Some(true))).value();
        let body = Fields::default().set("HealthCheckConfig", Some(settings));
        part.add(Kind::HealthCheck, "", &check, body.done());
    }
    let apex = dns.name.split_once('.').map_or(dns.name.as_str(), |(_, rest)| rest);
    let body = json!({ "Name": format!("{apex}."), "ResourceRecordSets": records });
    let Value::Object(body) = body else { return };
    part.add(Kind::Zone, "", zone, body);
    part.assumed(&format!("Route 53 zone {zone}"), None, "in its place: what the estate file says");
}

fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

fn guess(dns: &Dns, set: &str, target: &str, primary: bool) -> Value {
    let mut record = json!({
        "Name": format!("{}.", dns.name.trim_end_matches('.')),
        "Type": dns.record_type,
        "SetIdentifier": set,
        "TTL": 60,
        "ResourceRecords": [{ "Value": target }],
    });
    match dns.shape {
        crate::estate::types::RecordShape::Weighted => {
            record["Weight"] = json!(if primary { 100 } else { 0 });
        }
        crate::estate::types::RecordShape::Failover => {
            record["Failover"] = json!(if primary { "PRIMARY" } else { "SECONDARY" });
        }
    }
    record
}
