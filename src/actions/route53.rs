//! `route53.weights`: moves the public record's answers by its weights, or by the roles of its failover pair.
//!
//! The change API of Route 53 lives in one region; when that is the lost one, `s3.failover_object` moves traffic.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::by_hand;
use crate::clients::Clients;
use crate::clients::aws::error::{Nature, failure};
use crate::clients::aws::records::{self, RecordSet};
use crate::clock::since;
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::estate::types::{Dns, RecordShape};
use crate::outcome::{ActionError, Difference, FailureClass};
use crate::runbook::catalogue::actions::TrafficShift;

/// Route 53 accepts five requests a second for a whole account.
const PAUSE: Duration = Duration::from_secs(2);

/// How long the change may take, waiting for other changes and for its name servers together.
pub(super) const LIMIT: Duration = Duration::from_secs(180);

const WEIGHT: i64 = 100;
pub(super) const METHOD: &str = "route53.weights";

/// The record sets of the public name, by set identifier.
pub(super) type Group = BTreeMap<String, RecordSet>;

pub(crate) async fn observe(
    clients: &Clients,
    _call: &Call,
    with: &TrafficShift,
) -> Result<Observation, ActionError> {
    let dns = dns(clients)?;
    let live = group(clients, with).await?;
    let desired = moved(dns, with, &live)?;
    let mut seen = Observation::new(json!(live), json!(desired));
    for (identifier, set) in &live {
        seen.evidence.push(line(identifier, set));
        let wanted = &desired[identifier];
        if wanted != set {
            seen.differences.push(Difference {
                what: format!("{} {} {identifier}", dns.name, dns.record_type),
                from: role(set),
                to: role(wanted),
            });
        }
    }
    seen.commands = command(dns, &changed(&live, &desired));
    if seen.satisfied {
        seen.outputs = outputs();
    }
    Ok(seen)
}

pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &TrafficShift,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    shift(clients, call, with, &seen.live, &seen.desired).await
}

/// Brings the record sets from what was seen to what was approved, and to nothing else.
pub(super) async fn shift(
    clients: &Clients,
    call: &Call,
    with: &TrafficShift,
    before: &Value,
    desired: &Value,
) -> Result<Performed, ActionError> {
    let dns = dns(clients)?;
    let (before, desired) = (image(before)?, image(desired)?);
    let live = group(clients, with).await?;
    if live != before && live != desired {
        let lines = |group: &Group| {
            group.iter().map(|(name, set)| line(name, set)).collect::<Vec<_>>().join("; ")
        };
        let message = format!(
            "the record sets of {} were changed by somebody else: they were seen as {}, and are {}",
            dns.name,
            lines(&before),
            lines(&live)
        );
        return Err(ActionError::unchanged(FailureClass::Conflict, message)
            .hint("find out who changed them; a retry looks anew and asks again"));
    }
    let sets = changed(&live, &desired);
    if !sets.is_empty() {
        change(clients, call, with, &sets).await?;
    }
    let after = group(clients, with).await.map_err(applied)?;
    if after != desired {
        let message = format!("{} was changed by somebody else meanwhile", dns.name);
        return Err(ActionError::applied(FailureClass::Conflict, message)
            .hint("look at the record sets, then retry"));
    }
    let notes = vec![format!("{} answers with {} only", dns.name, with.to)];
    Ok(Performed { after: json!(after), outputs: outputs(), obligations: Vec::new(), notes })
}

pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &TrafficShift,
    image: &Image,
) -> Result<(), ActionError> {
    restore(clients, call, with, &image.before).await
}

/// Writes the record sets of a before-image back, exactly as they were.
pub(super) async fn restore(
    clients: &Clients,
    call: &Call,
    with: &TrafficShift,
    before: &Value,
) -> Result<(), ActionError> {
    let before = image(before)?;
    let live = group(clients, with).await?;
    let sets = changed(&live, &before);
    if sets.is_empty() {
        return Ok(());
    }
    change(clients, call, with, &sets).await
}

/// Reads record sets from an image of them.
fn image(image: &Value) -> Result<Group, ActionError> {
    serde_json::from_value(image.clone()).map_err(|error| {
        let message = format!("an image of the record sets cannot be read: {error}");
        ActionError::unchanged(FailureClass::Internal, message)
    })
}

fn outputs() -> Map<String, Value> {
    Map::from_iter([("method".to_owned(), json!(METHOD))])
}

fn applied(error: ActionError) -> ActionError {
    ActionError { effect: crate::outcome::Effect::Applied, ..error }
}

/// Returns the estate's public name, or what is missing.
pub(super) fn dns(clients: &Clients) -> Result<&Dns, ActionError> {
    clients.estate.dns.as_ref().ok_or_else(|| {
        ActionError::unchanged(FailureClass::Invalid, "the estate has no section `dns`")
            .hint("describe the public record in the estate file")
    })
}

/// Reads the record sets of the public name.
pub(super) async fn group(clients: &Clients, with: &TrafficShift) -> Result<Group, ActionError> {
    let dns = dns(clients)?;
    let aws = clients.aws.region(&with.to).await?;
    let sets = records::read(&aws, &dns.zone, &dns.name, &dns.record_type).await?;
    let mut group = Group::new();
    for set in sets {
        let Some(identifier) = set.set_identifier.clone() else {
            let message = format!("{} {} is a simple record", dns.name, dns.record_type);
            return Err(ActionError::unchanged(FailureClass::Invalid, message).hint(
                "make it a weighted or failover pair with a set identifier for each region",
            ));
        };
        group.insert(identifier, set);
    }
    Ok(group)
}

/// Returns the group with traffic moved; refuses what Route 53 would refuse or what would answer everybody.
pub(super) fn moved(dns: &Dns, with: &TrafficShift, live: &Group) -> Result<Group, ActionError> {
    let invalid = |message: String| ActionError::unchanged(FailureClass::Invalid, message);
    let named = |region: &str| {
        let identifier = dns.records.get(region).ok_or_else(|| {
            invalid(format!("the estate names no record of {region}"))
                .hint(format!("add {region} to `dns.records` of the estate file"))
        })?;
        if live.contains_key(identifier) {
            return Ok(identifier);
        }
        let message = format!("{} {} has no record set `{identifier}`", dns.name, dns.record_type);
        Err(ActionError::unchanged(FailureClass::NotFound, message).hint(look(dns)))
    };
    let (to, from) = (named(&with.to)?, named(&with.from)?);
    let mut moved = live.clone();
    match dns.shape {
        RecordShape::Weighted => {
            for (identifier, set) in live {
                if set.weight.is_none() {
                    let said = format!("record set `{identifier}` has no weight");
                    return Err(invalid(said).hint(look(dns)));
                }
            }
            same_ttl(live).map_err(|why| invalid(why).hint(look(dns)))?;
            let weigh = |group: &mut Group, identifier: &str, weight| {
                group.entry(identifier.to_owned()).and_modify(|set| set.weight = Some(weight));
            };
            // A weight that is there already stays: it is what the estate's owner gave it.
            let present = live[to].weight.filter(|weight| *weight > 0);
            weigh(&mut moved, to, present.unwrap_or(WEIGHT));
            weigh(&mut moved, from, 0);
            if moved.values().all(|set| set.weight == Some(0)) {
                // Equal chances for all of them is what Route 53 makes of that.
                return Err(invalid("every weight would be 0".to_owned()));
            }
        }
        RecordShape::Failover => {
            for (identifier, set) in live {
                if set.failover.is_none() {
                    let said = format!("record set `{identifier}` has no failover role");
                    return Err(invalid(said).hint(look(dns)));
                }
            }
            let play = |group: &mut Group, identifier: &str, role: &str| {
                group
                    .entry(identifier.to_owned())
                    .and_modify(|set| set.failover = Some(role.to_owned()));
            };
            play(&mut moved, to, "PRIMARY");
            play(&mut moved, from, "SECONDARY");
        }
    }
    Ok(moved)
}

/// Says how to see the record sets as they are, and what of the estate file they must be like.
fn look(dns: &Dns) -> String {
    let zone = by_hand::traffic::record_sets(dns);
    format!("compare `dns.shape` and `dns.records` of the estate file with the hosted zone: {zone}")
}

/// Route 53 refuses a weighted group whose records differ in TTL; better said before than by its error.
fn same_ttl(group: &Group) -> Result<(), String> {
    let mut ttls = group.iter().filter_map(|(identifier, set)| Some((identifier, set.ttl?)));
    let Some((first, ttl)) = ttls.next() else { return Ok(()) };
    match ttls.find(|(_, other)| *other != ttl) {
        None => Ok(()),
        Some((second, other)) => Err(format!(
            "the record sets differ in TTL: `{first}` has {ttl}, `{second}` has {other}"
        )),
    }
}

/// Returns the sets of `wanted` that are not so in `live`.
fn changed<'a>(live: &Group, wanted: &'a Group) -> Vec<&'a RecordSet> {
    wanted
        .iter()
        .filter(|(identifier, set)| live.get(*identifier) != Some(set))
        .map(|(_, set)| set)
        .collect()
}

/// Changes the sets in one batch and waits until every name server of Route 53 has them.
async fn change(
    clients: &Clients,
    call: &Call,
    with: &TrafficShift,
    sets: &[&RecordSet],
) -> Result<(), ActionError> {
    let began = clients.clock.now();
    let id = loop {
        match request(clients, call, with, sets).await {
            Ok(id) => break id,
            // Another change is being processed, or the account's five requests a second are used up.
            Err(error) if error.class == FailureClass::Throttled && !late(clients, began) => {
                call.progress.tell(format!("Route 53 asks for patience: {error}"), None);
                clients.clock.sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    };
    let aws = clients.aws.region(&with.to).await.map_err(applied)?;
    loop {
        let answer = aws.route53.get_change().id(&id).send().await;
        let pending = match answer {
            Ok(answer) => {
                let status = answer.change_info().map(|info| info.status().as_str().to_owned());
                if status.as_deref() == Some("INSYNC") {
                    return Ok(());
                }
                format!("change {id} is {}", status.as_deref().unwrap_or("unknown"))
            }
            Err(error) => {
                let error = failure(Nature::Read, "route53:GetChange", &with.to, &error);
                if !error.class.retryable() {
                    return Err(applied(error));
                }
                format!("change {id} cannot be read: {error}")
            }
        };
        if late(clients, began) {
            let message = format!("Route 53 accepted the change, but after 3 minutes {pending}");
            return Err(ActionError::applied(FailureClass::Timeout, message));
        }
        call.progress.tell(pending, None);
        clients.clock.sleep(PAUSE).await;
    }
}

async fn request(
    clients: &Clients,
    call: &Call,
    with: &TrafficShift,
    sets: &[&RecordSet],
) -> Result<String, ActionError> {
    let batch = records::upsert(sets, &format!("phoenix-dr {}", call.token()))?;
    let aws = clients.aws.region(&with.to).await?;
    let request = aws.route53.change_resource_record_sets().hosted_zone_id(&dns(clients)?.zone);
    let answer = request.change_batch(batch).send().await.map_err(|error| {
        failure(Nature::Change, "route53:ChangeResourceRecordSets", &with.to, &error)
    })?;
    let id = answer.change_info().map(|info| info.id().trim_start_matches("/change/").to_owned());
    id.ok_or_else(|| {
        let message = "Route 53 accepted the change without naming it";
        ActionError::applied(FailureClass::Transient, message)
    })
}

fn late(clients: &Clients, began: Timestamp) -> bool {
    since(began, clients.clock.now()) >= LIMIT
}

fn role(set: &RecordSet) -> String {
    match (set.weight, &set.failover) {
        (Some(weight), _) => format!("weight {weight}"),
        (None, Some(role)) => role.clone(),
        (None, None) => "simple".to_owned(),
    }
}

fn line(identifier: &str, set: &RecordSet) -> String {
    let target = match &set.alias_target {
        Some(alias) => format!("alias of {}", alias.dns_name),
        None => set.values().join(", "),
    };
    let health = match &set.health_check_id {
        Some(check) => format!(", health check {check}"),
        None => String::new(),
    };
    format!("{identifier}: {}, {target}{health}", role(set))
}

fn command(dns: &Dns, sets: &[&RecordSet]) -> Vec<String> {
    if sets.is_empty() {
        return Vec::new();
    }
    let changes: Vec<Value> =
        sets.iter().map(|set| json!({ "Action": "UPSERT", "ResourceRecordSet": set })).collect();
    vec![by_hand::traffic::change(&dns.zone, &json!({ "Changes": changes }).to_string())]
}

#[cfg(test)]
#[path = "route53_tests.rs"]
mod tests;
