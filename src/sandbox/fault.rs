//! Faults: which calls they strike, when and how often, and what `--inject` and `--surprise` make of them.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::random::Random;
use crate::runbook::near;
use crate::span::Span;

/// What is done to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// No answer, not even to connecting
    Dark,
    /// The connection is refused
    Refused,
    /// The service asks for patience, each in its own words
    Throttled,
    /// Carried out, but the answer never arrives
    LostAnswer,
    /// The answer takes longer, by `delay`
    Latency,
    /// The answer breaks off in its middle
    Truncated,
    /// A read answers as things were before their last change
    Stale,
    /// The identity may not do this
    Denied,
    /// There is no capacity for what is asked
    NoCapacity,
    /// Accepted, and nothing ever comes of it
    Stuck,
    /// The credentials have expired
    Expired,
}

impl Fault {
    const ALL: [Self; 11] = [
        Self::Dark,
        Self::Refused,
        Self::Throttled,
        Self::LostAnswer,
        Self::Latency,
        Self::Truncated,
        Self::Stale,
        Self::Denied,
        Self::NoCapacity,
        Self::Stuck,
        Self::Expired,
    ];

    /// Returns its name in files and on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::LostAnswer => "lost_answer",
            Self::Latency => "latency",
            Self::Truncated => "truncated",
            Self::Stale => "stale",
            Self::Denied => "denied",
            Self::NoCapacity => "no_capacity",
            Self::Stuck => "stuck",
            Self::Expired => "expired",
        }
    }
}

/// What is called.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Service {
    Rds,
    Route53,
    S3,
    Sts,
    Health,
    Kubernetes,
    Http,
    Tcp,
    Dns,
    Postgres,
}

impl Service {
    const ALL: [Self; 10] = [
        Self::Rds,
        Self::Route53,
        Self::S3,
        Self::Sts,
        Self::Health,
        Self::Kubernetes,
        Self::Http,
        Self::Tcp,
        Self::Dns,
        Self::Postgres,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rds => "rds",
            Self::Route53 => "route53",
            Self::S3 => "s3",
            Self::Sts => "sts",
            Self::Health => "health",
            Self::Kubernetes => "kubernetes",
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Dns => "dns",
            Self::Postgres => "postgres",
        }
    }

    /// Returns the service of a name in a signature's scope.
    pub(super) fn signed(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub service: Service,
    /// Where what answers lives; empty for what lives nowhere
    pub region: String,
    pub operation: String,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.service.name(), self.region, self.operation)
    }
}

/// A fault and the calls it strikes; what is left out matches everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub fault: Fault,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// Region in which what is called lives: Route 53's API and AWS Health live in us-east-1
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Beginning of the operation's name, e.g. `PromoteReadReplica`; of verb and path for Kubernetes and HTTP
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// From how long after the beginning on
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Span>,
    /// Until how long after the beginning
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Span>,
    /// How many calls are spared first
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spare: Option<u32>,
    /// How many calls it strikes; all when left out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Time added by `latency`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
}

impl Rule {
    /// Says whether each of its strikes is kept: what is dark for good strikes with every call there is.
    pub(super) fn counted(&self) -> bool {
        self.times.is_some() || self.fault != Fault::Dark
    }

    pub(crate) const fn of(fault: Fault) -> Self {
        Self {
            fault,
            service: None,
            region: None,
            operation: None,
            from: None,
            until: None,
            spare: None,
            times: None,
            delay: None,
        }
    }

    fn matches(&self, call: &Call) -> bool {
        self.service.is_none_or(|service| service == call.service)
            && self.region.as_ref().is_none_or(|region| *region == call.region)
            && self.operation.as_ref().is_none_or(|start| call.operation.starts_with(start))
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.fault.name())?;
        match (&self.service, &self.operation) {
            (Some(service), Some(operation)) => write!(f, "@{}/{operation}", service.name())?,
            (Some(service), None) => write!(f, "@{}", service.name())?,
            (None, Some(operation)) => write!(f, "@/{operation}")?,
            (None, None) => {}
        }
        if let Some(region) = &self.region {
            write!(f, ",region={region}")?;
        }
        for (name, span) in [("from", self.from), ("until", self.until), ("delay", self.delay)] {
            if let Some(span) = span {
                write!(f, ",{name}={span}")?;
            }
        }
        for (name, number) in [("spare", self.spare), ("times", self.times)] {
            if let Some(number) = number {
                write!(f, ",{name}={number}")?;
            }
        }
        Ok(())
    }
}

/// Why a text is not a fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RuleError {
    #[error("`{given}` is no fault{}", meant(hint))]
    Fault { given: String, hint: Option<String> },
    #[error("`{given}` is no service{}", meant(hint))]
    Service { given: String, hint: Option<String> },
    #[error(
        "`{given}` is no part of a fault{}; there are region, from, until, spare, times, delay",
        meant(hint)
    )]
    Part { given: String, hint: Option<String> },
    #[error("`{part}`: {why}")]
    Value { part: String, why: String },
}

fn meant(hint: &Option<String>) -> String {
    hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"))
}

const PARTS: [&str; 6] = ["region", "from", "until", "spare", "times", "delay"];

/// Reads `FAULT[@SERVICE[/OPERATION]][,PART=VALUE…]`, e.g. `lost_answer@rds/PromoteReadReplica,times=1`.
impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let mut parts = text.split(',').map(str::trim);
        let head = parts.next().unwrap_or_default();
        let (fault, at) = match head.split_once('@') {
            Some((fault, at)) => (fault, Some(at)),
            None => (head, None),
        };
        let known = Fault::ALL.into_iter().find(|known| known.name() == fault);
        let mut rule = Self::of(known.ok_or_else(|| RuleError::Fault {
            given: fault.to_owned(),
            hint: near::hint(fault, Fault::ALL.iter().map(|fault| fault.name())),
        })?);
        if let Some(at) = at {
            let (service, operation) = match at.split_once('/') {
                Some((service, operation)) => (service, Some(operation)),
                None => (at, None),
            };
            if !service.is_empty() {
                let known = Service::signed(service).ok_or_else(|| RuleError::Service {
                    given: service.to_owned(),
                    hint: near::hint(service, Service::ALL.iter().map(|known| known.name())),
                });
                rule.service = Some(known?);
            }
            rule.operation = operation.map(str::to_owned);
        }
        for part in parts {
            rule.take(part)?;
        }
        Ok(rule)
    }
}

impl Rule {
    fn take(&mut self, part: &str) -> Result<(), RuleError> {
        let bad = |why: String| RuleError::Value { part: part.to_owned(), why };
        let (name, value) =
            part.split_once('=').ok_or_else(|| bad("write it as NAME=VALUE".to_owned()))?;
        let span = || value.parse::<Span>().map(Some).map_err(|error| bad(error.to_string()));
        let number = || value.parse().map(Some).map_err(|_| bad("that is no number".to_owned()));
        match name {
            "region" => self.region = Some(value.to_owned()),
            "from" => self.from = span()?,
            "until" => self.until = span()?,
            "delay" => self.delay = span()?,
            "spare" => self.spare = number()?,
            "times" => self.times = number()?,
            other => {
                return Err(RuleError::Part {
                    given: other.to_owned(),
                    hint: near::hint(other, PARTS.into_iter()),
                });
            }
        }
        Ok(())
    }
}

/// The faults of a rehearsal and how often each has struck.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Vec<(Rule, u32)>,
    /// Calls each rule has spared
    spared: Vec<u32>,
    pub(super) began: Timestamp,
}

impl Faults {
    pub(super) fn new(rules: Vec<Rule>, began: Timestamp) -> Self {
        let spared = vec![0; rules.len()];
        Self { rules: rules.into_iter().map(|rule| (rule, 0)).collect(), spared, began }
    }

    /// Returns the fault that strikes a call, its number, and for which time; counts it.
    pub(super) fn strike(&mut self, call: &Call, now: Timestamp) -> Option<(usize, Rule, u32)> {
        for index in 0..self.rules.len() {
            let (rule, struck) = &self.rules[index];
            let used_up = rule.times.is_some_and(|times| *struck >= times);
            if used_up || !rule.matches(call) || !self.timely(rule, now) {
                continue;
            }
            if self.spared[index] < rule.spare.unwrap_or(0) {
                self.spared[index] += 1;
                continue;
            }
            self.rules[index].1 += 1;
            return Some((index, self.rules[index].0.clone(), self.rules[index].1));
        }
        None
    }

    /// Returns the regions in which nothing answers now, and since when.
    pub(super) fn dark(&self, now: Timestamp) -> BTreeMap<String, Timestamp> {
        let mut dark = BTreeMap::new();
        let rules = self.rules.iter().map(|(rule, _)| rule);
        for rule in rules.filter(|rule| rule.fault == Fault::Dark && rule.service.is_none()) {
            let Some(region) = rule.region.clone().filter(|_| self.timely(rule, now)) else {
                continue;
            };
            let since = rule.from.map_or(self.began, |from| self.after(from));
            let known = dark.entry(region).or_insert(since);
            *known = since.min(*known);
        }
        dark
    }

    fn after(&self, span: Span) -> Timestamp {
        self.began + SignedDuration::try_from(span.0).unwrap_or_default()
    }

    fn timely(&self, rule: &Rule, now: Timestamp) -> bool {
        rule.from.is_none_or(|from| now >= self.after(from))
            && rule.until.is_none_or(|until| now < self.after(until))
    }

    /// Counts a strike of before the rehearsal was gone on with.
    pub(super) fn struck_before(&mut self, index: usize) {
        if let Some((rule, struck)) = self.rules.get_mut(index) {
            *struck += 1;
            self.spared[index] = rule.spare.unwrap_or(0);
        }
    }

    /// Returns every rule with how often it struck; one that nobody counts, with whether it did.
    pub(super) fn told(&self) -> impl Iterator<Item = (&Rule, u32)> {
        let most = |rule: &Rule| if rule.counted() { u32::MAX } else { 1 };
        self.rules.iter().map(move |(rule, struck)| (rule, (*struck).min(most(rule))))
    }
}

/// How much a surprise may hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// What retries get over
    Mild,
    /// What takes a decision
    Hard,
    /// What may end the run
    Cruel,
}

/// Surprises begin when an unattended run has had its looks: what strikes these only delays the start.
const AFTER_LOOKS: Span = Span::seconds(17);

/// Draws faults nobody is told of until the end.
pub(crate) fn surprise(level: Level, seed: u64, region: &str) -> Vec<Rule> {
    let mut random = Random::new(seed);
    let at = |fault, service, operation: &str, times| Rule {
        service: Some(service),
        operation: (!operation.is_empty()).then(|| operation.to_owned()),
        region: Some(region.to_owned()),
        from: Some(AFTER_LOOKS),
        times: Some(times),
        ..Rule::of(fault)
    };
    let mut drawn = Vec::new();
    let mild = [
        at(Fault::Throttled, Service::Rds, "Describe", 3),
        at(Fault::Throttled, Service::Rds, "Promote", 2),
        at(Fault::Throttled, Service::S3, "", 2),
        at(Fault::Refused, Service::Postgres, "", 2),
        at(Fault::Truncated, Service::Rds, "Describe", 1),
        at(Fault::Stale, Service::Rds, "Describe", 2),
        Rule { delay: Some(Span::seconds(4)), ..at(Fault::Latency, Service::Kubernetes, "", 20) },
    ];
    drawn.push(random.pick(&mild).clone());
    if level >= Level::Hard {
        let hard = [
            at(Fault::LostAnswer, Service::Rds, "Promote", 1),
            at(Fault::LostAnswer, Service::S3, "PutObject", 1),
            at(Fault::Denied, Service::Rds, "ModifyDBInstance", 1),
            at(Fault::LostAnswer, Service::Kubernetes, "PATCH", 1),
            at(Fault::Dark, Service::Postgres, "", 12),
            at(Fault::Throttled, Service::Kubernetes, "PATCH", 3),
        ];
        drawn.push(random.pick(&hard).clone());
    }
    if level >= Level::Cruel {
        let cruel = [
            at(Fault::Stuck, Service::Rds, "Promote", 1),
            at(Fault::Denied, Service::S3, "PutObject", 50),
            at(Fault::Expired, Service::Rds, "", 8),
            at(Fault::Denied, Service::Kubernetes, "PATCH", 50),
            Rule {
                from: Some(Span::minutes(random.below(20))),
                until: Some(Span::minutes(40)),
                times: None,
                ..at(Fault::Dark, Service::Rds, "", 1)
            },
        ];
        drawn.push(random.pick(&cruel).clone());
    }
    drawn
}

#[cfg(test)]
#[path = "fault_tests.rs"]
mod tests;
