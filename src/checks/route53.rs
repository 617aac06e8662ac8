//! Check `route53.answer`: whether only one region's record can be answered.
//!
//! Decided by the record sets and their health checks, by Route 53's own TestDNSAnswer where it answers, and by the
//! resolvers the estate names. One sight of the old record is enough to fail; nothing but doubt never holds.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_route53::types::RrType;
use futures::future::join_all;
use serde_json::json;

use super::{Seen, dns};
use crate::clients::Clients;
use crate::clients::aws::Regional;
use crate::clients::aws::records::{self, Health, RecordSet, answerable};
use crate::clients::endpoints::host_of;
use crate::clock::within;
use crate::estate::types::Dns;
use crate::runbook::catalogue::checks::Route53Answer;

/// The API may be in the lost region.
const LIMIT: Duration = Duration::from_secs(4);

/// Questions to one resolver: a weighted answer may be right by chance.
const QUESTIONS: usize = 3;

/// What one source said of the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Voice {
    /// Only the wanted region's
    Own(String),
    /// Another region's record is still answered
    Old(String),
    Silent(String),
}

/// Looks once.
pub(crate) async fn look(clients: &Clients, with: &Route53Answer) -> Seen {
    let Some(dns) = &clients.estate.dns else {
        return Seen::unclear("the estate has no section `dns`");
    };
    let Some(own) = dns.records.get(&with.region) else {
        return Seen::unclear(format!("the estate names no record of {}", with.region));
    };
    let (sets, aws) = match within(&*clients.clock, LIMIT, read(clients, dns, &with.region)).await {
        Ok(Ok((sets, aws))) => (Ok(sets), Some(aws)),
        Ok(Err(why)) => (Err(why), None),
        Err(elapsed) => (Err(elapsed.to_string()), None),
    };
    let values = Values::of(clients, dns, &with.region, own, sets.as_deref().ok());
    let (by_records, by_route53, by_resolvers) = futures::join!(
        by_records(clients, aws.as_deref(), own, &sets),
        by_test(clients, aws.as_deref(), dns, &values),
        join_all(dns.resolvers.iter().map(|resolver| by_resolver(clients, dns, resolver, &values))),
    );
    let moved = sets.as_deref().is_ok_and(|sets| records_moved(sets, own));
    let mut voices = vec![("record sets".to_owned(), by_records.clone())];
    voices.push(("Route 53".to_owned(), by_route53));
    voices.extend(dns.resolvers.iter().cloned().zip(by_resolvers));
    judged(&voices, moved)
}

fn judged(voices: &[(String, Voice)], records_moved: bool) -> Seen {
    let lines: BTreeMap<&str, String> = voices
        .iter()
        .map(|(source, voice)| {
            let (Voice::Own(said) | Voice::Old(said) | Voice::Silent(said)) = voice;
            (source.as_str(), said.clone())
        })
        .collect();
    let value = json!({ "records_moved": records_moved, "said": lines });
    let old = voices.iter().find_map(|(source, voice)| match voice {
        Voice::Old(said) => Some(format!("{source}: {said}")),
        Voice::Own(_) | Voice::Silent(_) => None,
    });
    if let Some(old) = old {
        return Seen::fails(old, value);
    }
    // TestDNSAnswer gives one answer of a group and is no proof that it is the only one.
    let proof = voices.iter().find_map(|(source, voice)| match voice {
        Voice::Own(said) if source != "Route 53" => Some(format!("{source}: {said}")),
        Voice::Own(_) | Voice::Old(_) | Voice::Silent(_) => None,
    });
    match proof {
        Some(said) => Seen::holds(said, value),
        None => {
            let said: Vec<String> =
                lines.iter().map(|(source, said)| format!("{source}: {said}")).collect();
            Seen { value, ..Seen::unclear(said.join("; ")) }
        }
    }
}

async fn read(
    clients: &Clients,
    dns: &Dns,
    region: &str,
) -> Result<(Vec<RecordSet>, std::sync::Arc<Regional>), String> {
    let aws = clients.aws.region(region).await.map_err(|error| error.message)?;
    let sets = records::read(&aws, &dns.zone, &dns.name, &dns.record_type)
        .await
        .map_err(|error| error.message)?;
    Ok((sets, aws))
}

/// Says whether the record sets alone keep traffic with one record, whatever the health checks say.
fn records_moved(sets: &[RecordSet], own: &str) -> bool {
    let is_own = |set: &&RecordSet| set.set_identifier.as_deref() == Some(own);
    let answers = answerable(sets, |_| Health::Healthy);
    answers.is_some_and(|answers| !answers.is_empty() && answers.iter().all(is_own))
}

async fn by_records(
    clients: &Clients,
    aws: Option<&Regional>,
    own: &str,
    sets: &Result<Vec<RecordSet>, String>,
) -> Voice {
    let (sets, aws) = match (sets, aws) {
        (Ok(sets), Some(aws)) => (sets, aws),
        (Err(why), _) => return Voice::Silent(why.clone()),
        (Ok(_), None) => return Voice::Silent("not read".to_owned()),
    };
    if !sets.iter().any(|set| set.set_identifier.as_deref() == Some(own)) {
        return Voice::Silent(format!("there is no record set `{own}`"));
    }
    let unread =
        |set: &RecordSet| set.health_check_id.as_ref().map_or(Health::Healthy, |_| Health::Unknown);
    let mut answers = answerable(sets, unread);
    let mut health = BTreeMap::new();
    if answers.is_none() {
        for check in sets.iter().filter_map(|set| set.health_check_id.as_deref()) {
            let found = within(&*clients.clock, LIMIT, read_health(aws, check)).await;
            health.insert(check, found.unwrap_or(Health::Unknown));
        }
        answers = answerable(sets, |set| match &set.health_check_id {
            Some(check) => health.get(check.as_str()).copied().unwrap_or(Health::Unknown),
            None => Health::Healthy,
        });
    }
    let Some(answers) = answers else {
        return Voice::Silent("a health check decides, and its state cannot be read".to_owned());
    };
    let named = |set: &&RecordSet| set.set_identifier.clone().unwrap_or_default();
    match answers.iter().map(named).find(|identifier| identifier != own) {
        Some(old) => Voice::Old(format!("`{old}` can be answered")),
        None => Voice::Own(format!("only `{own}` can be answered")),
    }
}

/// Reads whether a health check calls its endpoint healthy, by the majority of its checkers, inversion applied.
async fn read_health(aws: &Regional, check: &str) -> Health {
    let config = aws.route53.get_health_check().health_check_id(check).send().await;
    let status = aws.route53.get_health_check_status().health_check_id(check).send().await;
    let (Ok(config), Ok(status)) = (config, status) else { return Health::Unknown };
    let config = config.health_check().and_then(|check| check.health_check_config());
    let Some(config) = config else { return Health::Unknown };
    if config.disabled().unwrap_or(false) {
        return Health::Healthy;
    }
    let reports: Vec<bool> = status
        .health_check_observations()
        .iter()
        .filter_map(|seen| seen.status_report()?.status())
        .map(|said| said.starts_with("Success"))
        .collect();
    let good = reports.iter().filter(|good| **good).count();
    // Route 53 calls an endpoint healthy when more than 18 % of its checkers do; between the two it may be turning.
    let answered = match (reports.is_empty(), good, reports.len() - good) {
        (false, _, 0) => true,
        (false, 0, _) => false,
        _ => return Health::Unknown,
    };
    match answered != config.inverted().unwrap_or(false) {
        true => Health::Healthy,
        false => Health::Unhealthy,
    }
}

/// What each region's record is answered as.
struct Values {
    own: Vec<String>,
    others: Vec<String>,
}

impl Values {
    /// The values of the record sets; of the estate's load balancers where the record sets cannot be read.
    fn of(
        clients: &Clients,
        dns: &Dns,
        region: &str,
        own: &str,
        sets: Option<&[RecordSet]>,
    ) -> Self {
        let mut values = Self { own: Vec::new(), others: Vec::new() };
        for set in sets.unwrap_or_default() {
            let into = match set.set_identifier.as_deref() == Some(own) {
                true => &mut values.own,
                false => &mut values.others,
            };
            into.extend(set.values().into_iter().map(plain));
        }
        if sets.is_none() {
            for name in dns.records.keys() {
                let Some(balancer) = clients
                    .estate
                    .regions
                    .get(name)
                    .and_then(|region| region.load_balancer.as_deref())
                else {
                    continue;
                };
                let into = if name == region { &mut values.own } else { &mut values.others };
                into.push(plain(without_port(host_of(balancer))));
            }
        }
        values
    }

    fn judge(&self, answers: &[String]) -> Voice {
        let answers: Vec<String> = answers.iter().map(|answer| plain(answer)).collect();
        let said = answers.join(", ");
        let own = |answer: &String| self.own.contains(answer);
        if answers.is_empty() {
            Voice::Silent("no answer".to_owned())
        } else if let Some(old) =
            answers.iter().find(|answer| self.others.contains(answer) && !own(answer))
        {
            Voice::Old(format!("still answers {old}"))
        } else if answers.iter().all(own) && !answers.iter().any(|a| self.others.contains(a)) {
            Voice::Own(format!("answers {said}"))
        } else {
            // An alias or a name behind the record: whose it is cannot be told.
            Voice::Silent(format!("answers {said}, which no record names"))
        }
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

async fn by_test(clients: &Clients, aws: Option<&Regional>, dns: &Dns, values: &Values) -> Voice {
    let Some(aws) = aws else { return Voice::Silent("not asked".to_owned()) };
    let request = aws
        .route53
        .test_dns_answer()
        .hosted_zone_id(&dns.zone)
        .record_name(&dns.name)
        .record_type(RrType::from(dns.record_type.as_str()));
    match within(&*clients.clock, LIMIT, request.send()).await {
        Ok(Ok(answer)) => values.judge(answer.record_data()),
        Ok(Err(_)) | Err(_) => Voice::Silent("TestDNSAnswer does not answer".to_owned()),
    }
}

async fn by_resolver(clients: &Clients, dns: &Dns, resolver: &str, values: &Values) -> Voice {
    let mut voice = Voice::Silent("not asked".to_owned());
    for _ in 0..QUESTIONS {
        voice = match dns::ask(clients, Some(resolver), &dns.name, &dns.record_type).await {
            Ok(answers) => values.judge(&answers),
            Err(error) => Voice::Silent(error.to_string()),
        };
        if !matches!(voice, Voice::Own(_)) {
            return voice;
        }
    }
    voice
}
