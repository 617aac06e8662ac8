//! Faults: which calls they strike, when and how often, and what `--inject` and `--surprise` make of them.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

    /// Says whether it can befall a call at all: a fault that would change nothing must not count as one that struck.
    fn befalls(self, call: &Call) -> bool {
        match self {
            Self::Dark | Self::Refused | Self::LostAnswer | Self::Latency => true,
            Self::Throttled | Self::Truncated | Self::Denied | Self::NoCapacity | Self::Expired => {
                call.service.speaks()
            }
            Self::Stale => call.service.is_aws() && call.reads(),
            Self::Stuck => call.service.is_aws() && !call.reads(),
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

    /// Says whether it has words of its own for a refusal; of the others there is a connection and no more.
    const fn speaks(self) -> bool {
        self.is_aws() || matches!(self, Self::Kubernetes)
    }

    const fn is_aws(self) -> bool {
        matches!(self, Self::Rds | Self::Route53 | Self::S3 | Self::Sts | Self::Health)
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

impl Call {
    /// Says whether an operation of AWS only looks.
    fn reads(&self) -> bool {
        const LOOKS: [&str; 5] = ["Describe", "Get", "Head", "List", "Test"];
        LOOKS.iter().any(|look| self.operation.starts_with(look))
    }
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
            && self.fault.befalls(call)
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

    /// Returns the fault that strikes a call, and its number; counts it.
    pub(super) fn strike(&mut self, call: &Call, now: Timestamp) -> Option<(usize, Rule)> {
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
            return Some((index, self.rules[index].0.clone()));
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

    /// Returns every rule with how often it struck.
    pub(super) fn told(&self) -> impl Iterator<Item = (&Rule, u32)> {
        self.rules.iter().map(|(rule, struck)| (rule, *struck))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(service: Service, region: &str, operation: &str) -> Call {
        Call { service, region: region.to_owned(), operation: operation.to_owned() }
    }

    #[test]
    fn a_text_is_read_back_as_it_was() {
        for text in [
            "dark,region=us-east-1",
            "lost_answer@rds/PromoteReadReplica,times=1",
            "latency@kubernetes,from=5m,until=1h,delay=4s,spare=2,times=3",
            "denied@/Put",
        ] {
            let rule: Rule = text.parse().expect(text);
            assert_eq!(rule.to_string(), text);
        }
    }

    #[test]
    fn a_slip_is_told_with_what_was_meant() {
        let why = |text: &str| text.parse::<Rule>().expect_err(text).to_string();
        assert_eq!(why("throtled@rds"), "`throtled` is no fault; did you mean `throttled`?");
        assert_eq!(why("dark@rout53"), "`rout53` is no service; did you mean `route53`?");
        assert!(why("dark,regoin=x").contains("did you mean `region`?"));
        assert!(why("dark,from=5").contains("length of time"));
        assert!(why("dark,times").contains("NAME=VALUE"));
    }

    #[test]
    fn strikes_only_what_it_can_befall() {
        let strikes = |fault: &str, service, operation: &str| {
            let rule: Rule = fault.parse().expect("a rule");
            let mut faults = Faults::new(vec![rule], Timestamp::UNIX_EPOCH);
            let struck =
                faults.strike(&call(service, "us-west-2", operation), Timestamp::UNIX_EPOCH);
            let told: u32 = faults.told().map(|(_, struck)| struck).sum();
            assert_eq!(told, u32::from(struck.is_some()));
            struck.is_some()
        };
        assert!(strikes("stale", Service::Rds, "DescribeDBInstances"));
        assert!(!strikes("stale", Service::Rds, "ModifyDBInstance"), "a write would be lost");
        assert!(strikes("stuck", Service::S3, "PutObject"));
        assert!(!strikes("stuck", Service::S3, "HeadObject"));
        for fault in ["stale", "stuck"] {
            assert!(!strikes(fault, Service::Kubernetes, "PATCH /api/v1/x"), "{fault}");
        }
        for fault in ["throttled", "truncated", "denied", "no_capacity", "expired"] {
            assert!(strikes(fault, Service::Kubernetes, "GET /api/v1/x"), "{fault}");
            assert!(!strikes(fault, Service::Postgres, "db:5432"), "{fault}");
        }
        for fault in ["dark", "refused", "lost_answer", "latency"] {
            assert!(strikes(fault, Service::Dns, "A app"), "{fault}");
        }
    }

    #[test]
    fn strikes_what_it_names_as_often_as_it_says() {
        let began: Timestamp = "2026-01-01T00:00:00Z".parse().expect("an instant");
        let rule = "refused@rds/Promote,region=us-west-2,spare=1,times=2,from=1m";
        let mut faults = Faults::new(vec![rule.parse().expect("a rule")], began);
        let promote = call(Service::Rds, "us-west-2", "PromoteReadReplica");
        let mut strikes = |call: &Call, second: i64| {
            faults.strike(call, began + SignedDuration::from_secs(second))
        };
        assert!(strikes(&promote, 0).is_none(), "too early");
        assert!(strikes(&promote, 60).is_none(), "spared");
        assert!(strikes(&call(Service::Rds, "us-east-1", "PromoteReadReplica"), 60).is_none());
        assert!(strikes(&call(Service::S3, "us-west-2", "PutObject"), 60).is_none());
        assert!(strikes(&promote, 61).is_some());
        assert!(strikes(&promote, 62).is_some());
        assert!(strikes(&promote, 63).is_none(), "used up");
    }
}
