//! Check `route53.answer`: whether only one region's record can be answered.
//!
//! Decided by the record sets and their health checks, by Route 53's own TestDNSAnswer where it answers, and by the
//! resolvers the estate names, or this host's where it names none and nothing else can tell. One sight of the old record is enough to fail; nothing but doubt never holds.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use aws_sdk_route53::types::RrType;
use futures::future::join_all;
use serde_json::json;

use super::{Seen, dns};
use crate::clients::Clients;
use crate::clients::aws::Regional;
use crate::clients::aws::records::{self, Health, RecordSet, answerable};
use crate::clients::endpoints::host_of;
use crate::clients::tcp;
use crate::clock::within;
use crate::estate::types::Dns;
use crate::outcome::Verdict;
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
    // Credentials have their own time limit.
    let (sets, aws) = match clients.aws.region(&with.region).await {
        Ok(aws) => match within(&*clients.clock, LIMIT, read(dns, &aws)).await {
            Ok(sets) => (sets, Some(aws)),
            Err(elapsed) => (Err(elapsed.to_string()), None),
        },
        Err(error) => (Err(error.message), None),
    };
    let targets = targets(clients, dns, &with.region, own, sets.as_deref().ok());
    let (by_records, by_route53, by_resolvers) = futures::join!(
        by_records(clients, aws.as_deref(), own, &sets),
        by_test(clients, aws.as_deref(), dns, &targets),
        join_all(dns.resolvers.iter().map(|resolver| by_resolver(
            clients,
            dns,
            Some(resolver),
            &targets
        ))),
    );
    let moved = sets.as_deref().is_ok_and(|sets| records_moved(sets, own));
    let (by_records, one_answer) = by_records;
    let mut voices = vec![("record sets".to_owned(), by_records)];
    voices.push(("Route 53".to_owned(), by_route53));
    let named = dns.resolvers.iter().cloned();
    voices.extend(named.zip(by_resolvers));
    let seen = judged(&voices, moved, one_answer);
    if seen.verdict != Verdict::Inconclusive || !dns.resolvers.is_empty() {
        return seen;
    }
    // The estate names no resolver, and without Route 53's API nothing else can tell. This host's own may keep the old
    // answer for its time to live: that fails, and is looked at again.
    let own = by_resolver(clients, dns, None, &targets).await;
    voices.push((dns::OWN_RESOLVER.to_owned(), own));
    judged(&voices, moved, one_answer)
}

fn judged(voices: &[(String, Voice)], records_moved: bool, one_answer: bool) -> Seen {
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
    // TestDNSAnswer gives one answer of a group: a proof only where the group has no second one at any time.
    let proof = voices.iter().find_map(|(source, voice)| match voice {
        Voice::Own(said) if source != "Route 53" || one_answer => Some(format!("{source}: {said}")),
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

async fn read(dns: &Dns, aws: &Regional) -> Result<Vec<RecordSet>, String> {
    let read = records::read(aws, &dns.zone, &dns.name, &dns.record_type).await;
    read.map_err(|error| error.message)
}

/// Says whether the record sets alone keep traffic with one record, whatever the health checks say.
fn records_moved(sets: &[RecordSet], own: &str) -> bool {
    let is_own = |set: &&RecordSet| set.set_identifier.as_deref() == Some(own);
    let answers = answerable(sets, |_| Health::Healthy);
    answers.is_some_and(|answers| !answers.is_empty() && answers.iter().all(is_own))
}

/// Judges by the record sets and their health checks. Also says whether only one record can be answered at a time,
/// whichever way the checks are that nobody can read.
async fn by_records(
    clients: &Clients,
    aws: Option<&Regional>,
    own: &str,
    sets: &Result<Vec<RecordSet>, String>,
) -> (Voice, bool) {
    let (sets, aws) = match (sets, aws) {
        (Ok(sets), Some(aws)) => (sets, aws),
        (Err(why), _) => return (Voice::Silent(why.clone()), false),
        (Ok(_), None) => return (Voice::Silent("not read".to_owned()), false),
    };
    if !sets.iter().any(|set| set.set_identifier.as_deref() == Some(own)) {
        return (Voice::Silent(format!("there is no record set `{own}`")), false);
    }
    let mut answers = answerable(sets, |set| health(set, None));
    let mut ways = None;
    if answers.is_none() {
        let mut read = BTreeMap::new();
        for check in sets.iter().filter_map(|set| set.health_check_id.as_deref()) {
            let found = within(&*clients.clock, LIMIT, read_health(aws, check)).await;
            read.insert(check, found.unwrap_or(Health::Unknown));
        }
        ways = records::ways(sets, |set| health(set, Some(&read)));
        answers = answerable(sets, |set| health(set, Some(&read)));
    }
    let one_answer = ways.is_some_and(|ways| ways.iter().all(|answers| answers.len() == 1));
    let Some(answers) = answers else {
        let why =
            "a health check or the health of an alias's target decides, and it cannot be read";
        return (Voice::Silent(why.to_owned()), one_answer);
    };
    let named = |set: &&RecordSet| set.set_identifier.clone().unwrap_or_default();
    let voice = match answers.iter().map(named).find(|identifier| identifier != own) {
        Some(old) => Voice::Old(format!("`{old}` can be answered")),
        None => Voice::Own(format!("only `{own}` can be answered")),
    };
    (voice, false)
}

/// Returns what is known of a record's health, with the checks read so far.
fn health(set: &RecordSet, read: Option<&BTreeMap<&str, Health>>) -> Health {
    let check = match (&set.health_check_id, read) {
        (None, _) => Health::Healthy,
        (Some(_), None) => Health::Unknown,
        (Some(check), Some(read)) => read.get(check.as_str()).copied().unwrap_or(Health::Unknown),
    };
    // No API tells what Route 53 thinks of an alias's target.
    let by_target = set.alias_target.as_ref().is_some_and(|alias| alias.evaluate_target_health);
    if by_target && check == Health::Healthy { Health::Unknown } else { check }
}

/// Reads whether a health check calls its endpoint healthy, by the majority of its checkers, inversion applied.
async fn read_health(aws: &Regional, check: &str) -> Health {
    let config = aws.route53.get_health_check().health_check_id(check).send().await;
    let status = aws.route53.get_health_check_status().health_check_id(check).send().await;
    let (Ok(config), Ok(status)) = (config, status) else { return Health::Unknown };
    let config = config.health_check().and_then(|check| check.health_check_config());
    let Some(config) = config else { return Health::Unknown };
    let verdict = |answered: bool| match answered != config.inverted().unwrap_or(false) {
        true => Health::Healthy,
        false => Health::Unhealthy,
    };
    if config.disabled().unwrap_or(false) {
        // A check that is not made counts as answered, and is inverted as any other.
        return verdict(true);
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
    verdict(answered)
}

/// Where a region's record leads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// What is answered itself
    Value(String),
    /// A name behind the record: its addresses are answered
    Name(String),
}

/// Returns where the records lead, ours and the others'; by the estate's load balancers where the record sets cannot
/// be read.
fn targets(
    clients: &Clients,
    dns: &Dns,
    region: &str,
    own: &str,
    sets: Option<&[RecordSet]>,
) -> Vec<(bool, Target)> {
    let Some(sets) = sets else {
        let balancers = dns.records.keys().filter_map(|name| {
            let balancer = clients.estate.regions.get(name)?.load_balancer.as_deref()?;
            let host = without_port(host_of(balancer));
            let is_answer = dns.record_type == "CNAME" || host.parse::<IpAddr>().is_ok();
            let target =
                if is_answer { Target::Value(plain(host)) } else { Target::Name(plain(host)) };
            Some((name == region, target))
        });
        return balancers.collect();
    };
    let mut targets = Vec::new();
    for set in sets {
        let is_own = set.set_identifier.as_deref() == Some(own);
        targets.extend(set.values().into_iter().map(|value| (is_own, Target::Value(plain(value)))));
        if let Some(alias) = &set.alias_target {
            targets.push((is_own, Target::Name(plain(&alias.dns_name))));
        }
    }
    targets
}

/// What each region's record is answered as, now.
#[derive(Debug, Default)]
struct Values {
    own: Vec<String>,
    others: Vec<String>,
}

impl Values {
    /// Resolves what lies behind the records by the resolver that is asked, in the same look: the addresses of a load
    /// balancer come and go.
    async fn of(
        clients: &Clients,
        dns: &Dns,
        resolver: Option<&str>,
        targets: &[(bool, Target)],
    ) -> Self {
        let resolved = join_all(targets.iter().map(|(is_own, target)| async move {
            let answers = match target {
                Target::Value(value) => vec![value.clone()],
                Target::Name(name) => addresses(clients, dns, resolver, name).await,
            };
            (*is_own, answers)
        }));
        let mut values = Self::default();
        for (is_own, answers) in resolved.await {
            let into = if is_own { &mut values.own } else { &mut values.others };
            into.extend(answers);
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
            // Another address of a load balancer, perhaps: whose it is cannot be told.
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

/// Returns the addresses of a name, as the resolver gives them, else as this host's own does.
async fn addresses(
    clients: &Clients,
    dns: &Dns,
    resolver: Option<&str>,
    name: &str,
) -> Vec<String> {
    let mut found = Vec::new();
    for _ in 0..QUESTIONS {
        match dns::ask(clients, resolver, name, &dns.record_type).await {
            Ok(answers) => found.extend(answers.iter().map(|answer| plain(answer))),
            Err(_) => break,
        }
    }
    if found.is_empty() {
        let here = tcp::resolve(&*clients.clock, name, 0).await.unwrap_or_default();
        let of_type = |address: &IpAddr| address.is_ipv6() == (dns.record_type == "AAAA");
        found = here
            .into_iter()
            .map(|address| address.ip())
            .filter(of_type)
            .map(|address| address.to_string())
            .collect();
    }
    found
}

async fn by_test(
    clients: &Clients,
    aws: Option<&Regional>,
    dns: &Dns,
    targets: &[(bool, Target)],
) -> Voice {
    let Some(aws) = aws else { return Voice::Silent("not asked".to_owned()) };
    let request = aws
        .route53
        .test_dns_answer()
        .hosted_zone_id(&dns.zone)
        .record_name(&dns.name)
        .record_type(RrType::from(dns.record_type.as_str()));
    match within(&*clients.clock, LIMIT, request.send()).await {
        Ok(Ok(answer)) => {
            let resolver = dns.resolvers.first().map(String::as_str);
            let values = Values::of(clients, dns, resolver, targets).await;
            values.judge(answer.record_data())
        }
        Ok(Err(_)) | Err(_) => Voice::Silent("TestDNSAnswer does not answer".to_owned()),
    }
}

async fn by_resolver(
    clients: &Clients,
    dns: &Dns,
    resolver: Option<&str>,
    targets: &[(bool, Target)],
) -> Voice {
    let values = Values::of(clients, dns, resolver, targets).await;
    let mut voice = Voice::Silent("not asked".to_owned());
    for _ in 0..QUESTIONS {
        voice = match dns::ask(clients, resolver, &dns.name, &dns.record_type).await {
            Ok(answers) => values.judge(&answers),
            Err(error) => Voice::Silent(error.to_string()),
        };
        if !matches!(voice, Voice::Own(_)) {
            return voice;
        }
    }
    voice
}

#[cfg(test)]
#[path = "route53_tests.rs"]
mod tests;
