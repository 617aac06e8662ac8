//! Faults that can never strike: one that is taken and then does nothing proves the wrong thing.

use std::time::Duration;

use super::{Fault, Home, Operations, Rule, Service, aws};
use crate::runbook::near;
use crate::span::Span;

/// A part of a rule, by its name in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Fault,
    Service,
    Operation,
    Region,
    From,
    Until,
    Spare,
    Times,
    Delay,
}

impl Part {
    /// Returns its name in files and on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Service => "service",
            Self::Operation => "operation",
            Self::Region => "region",
            Self::From => "from",
            Self::Until => "until",
            Self::Spare => "spare",
            Self::Times => "times",
            Self::Delay => "delay",
        }
    }
}

/// Why a rule can never strike, or what of it can mean nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Senseless {
    /// The part to mend
    pub part: Part,
    pub said: String,
    /// What would be right
    pub help: String,
}

/// Returns everything that keeps a rule from striking, in an estate with these regions.
pub(crate) fn senseless(rule: &Rule, regions: &[&str]) -> Vec<Senseless> {
    let mut found = Vec::new();
    let mut wrong = |part, said: String, help: String| found.push(Senseless { part, said, help });
    if rule.times == Some(0) {
        let said = "`times` 0 strikes nothing".to_owned();
        wrong(Part::Times, said, "leave it out for every call, or say how many: 1".to_owned());
    }
    if rule.operation.as_deref() == Some("") {
        let all = match rule.service {
            Some(service) => all_of(service),
            None => "write FAULT@/OPERATION".to_owned(),
        };
        let help = format!("{all}; or leave it out for all of them");
        wrong(Part::Operation, "the operation is empty".to_owned(), help);
    }
    let from = rule.from.unwrap_or_default();
    if let Some(until) = rule.until.filter(|until| *until <= from) {
        let said = format!("there is no time from {from} until {until}");
        let help = format!(
            "both are counted from the beginning of the rehearsal: `until` must be later than {from}"
        );
        wrong(Part::Until, said, help);
    }
    match (rule.fault, rule.delay) {
        (Fault::Latency, Some(Span(Duration::ZERO))) => {
            let help = "leave it out for 5s, or say how much later the answer comes".to_owned();
            wrong(Part::Delay, "a `delay` of 0s delays nothing".to_owned(), help);
        }
        (Fault::Latency, _) | (_, None) => {}
        (fault, Some(_)) => {
            let said = format!("`{}` has no `delay`", fault.name());
            wrong(Part::Delay, said, "leave it out; only `latency` has one".to_owned());
        }
    }
    let nowhere = region(rule, regions);
    let somewhere = nowhere.is_none();
    found.extend(nowhere);
    found.extend(unreached(rule, regions, somewhere));
    found
}

/// Finds a region in which nothing of the estate lives.
fn region(rule: &Rule, regions: &[&str]) -> Option<Senseless> {
    let named = rule.region.as_deref()?;
    let homes = Service::ALL.map(|service| service.home(regions.iter().copied()));
    let home = |known: &Home| matches!(known, Home::Only(only) if *only == named);
    if regions.contains(&named) || homes.iter().any(home) {
        return None;
    }
    let meant = near::hint(named, regions.iter().copied());
    let help = meant.unwrap_or_else(|| format!("there are {}", regions.join(", ")));
    Some(Senseless { part: Part::Region, said: format!("the world has no region `{named}`"), help })
}

/// Finds a rule whose parts leave no operation of any service over: which services have it, which of these the fault
/// can befall, and which of these live in its region.
fn unreached(rule: &Rule, regions: &[&str], somewhere: bool) -> Vec<Senseless> {
    let mut found = Vec::new();
    let start = rule.operation.as_deref().unwrap_or_default();
    let mut services = Service::ALL.to_vec();
    services.retain(|service| rule.service.is_none_or(|named| named == *service));
    if let Some(service) = rule.service.filter(|service| !can(rule.fault, *service, "")) {
        let (fault, service_name) = (rule.fault.name(), service.name());
        let said = format!("`{fault}` cannot befall {service_name}{}", befalls(rule.fault));
        found.push(Senseless { part: Part::Fault, said, help: befalling(&[service], "") });
        services.clear();
    }
    let mut knowing = services.clone();
    knowing.retain(|service| knows(*service, start, rule.service.is_some()));
    if knowing.is_empty() && !services.is_empty() {
        found.push(no_operation(rule.service, start));
    }
    let mut befallen = knowing.clone();
    befallen.retain(|service| can(rule.fault, *service, start));
    if befallen.is_empty() && !knowing.is_empty() {
        let said =
            format!("`{}` cannot befall `{start}`{}", rule.fault.name(), befalls(rule.fault));
        let help = befalling(&knowing, start);
        found.push(Senseless { part: Part::Operation, said, help });
    }
    let homes = befallen.iter().map(|service| service.home(regions.iter().copied()));
    let homes: Vec<Home> = homes.collect();
    if let (Some(region), Some(home), true) = (&rule.region, homes.first(), somewhere) {
        let whose =
            rule.service.map_or_else(|| format!("what has `{start}`"), |of| of.name().to_owned());
        let (said, help) = match home {
            _ if homes.iter().any(|home| home.has(region)) => return found,
            Home::Only(home) => (
                format!("{whose} lives in {home} alone"),
                format!("write region={home}, or leave it out"),
            ),
            Home::Each | Home::Nowhere => {
                (format!("{whose} lives in no region"), "leave it out".to_owned())
            }
        };
        found.push(Senseless { part: Part::Region, said, help });
    }
    found
}

impl Home {
    fn has(self, region: &str) -> bool {
        match self {
            Self::Each => true,
            Self::Only(home) => home == region,
            Self::Nowhere => false,
        }
    }
}

/// Says whether a fault can befall an operation of a service that begins so.
fn can(fault: Fault, service: Service, start: &str) -> bool {
    match service.operations() {
        Operations::Named(all) => {
            all.iter().any(|name| name.starts_with(start) && fault.befalls(service, name))
        }
        Operations::Verbs { .. } | Operations::Addresses => fault.befalls(service, start),
    }
}

/// Says what a fault befalls, of those that do not befall all of a service.
fn befalls(fault: Fault) -> String {
    match fault {
        Fault::Stale => ": it befalls what only reads, of rds, route53, s3 and health".to_owned(),
        Fault::Stuck => ": it befalls what changes something, of rds, route53 and s3".to_owned(),
        Fault::NoCapacity => format!(
            ": it befalls what wants machines, of rds {}; of kubernetes new pods: leave the operation out",
            aws::wanting_machines().join(", ")
        ),
        Fault::Dark
        | Fault::Refused
        | Fault::Throttled
        | Fault::LostAnswer
        | Fault::Latency
        | Fault::Truncated
        | Fault::Denied
        | Fault::Expired => String::new(),
    }
}

/// Says what can befall an operation of these services that begins so.
fn befalling(services: &[Service], start: &str) -> String {
    let can = |fault: &Fault| services.iter().any(|service| can(*fault, *service, start));
    let names: Vec<&str> = Fault::ALL.iter().filter(|fault| can(fault)).map(|f| f.name()).collect();
    format!("what can is {}", names.join(", "))
}

/// Says whether a service has an operation that begins so; `named`: the rule names the service.
fn knows(service: Service, start: &str, named: bool) -> bool {
    match service.operations() {
        Operations::Named(all) => all.iter().any(|name| name.starts_with(start)),
        Operations::Verbs { verbs, roots, .. } => match start.split_once(' ') {
            None => verbs.iter().any(|verb| verb.starts_with(start)),
            Some((verb, rest)) => {
                let rooted = |root: &&str| root.starts_with(rest) || rest.starts_with(root);
                verbs.contains(&verb) && (roots.is_empty() || roots.iter().any(rooted))
            }
        },
        // Any word could be the beginning of a host: where no service is named, a slip would pass for one.
        Operations::Addresses => {
            !start.contains([' ', '/']) && (named || start.is_empty() || start.contains('.'))
        }
    }
}

fn no_operation(service: Option<Service>, start: &str) -> Senseless {
    let whose = service.map_or("no service has an", |_| "there is no");
    let of = service.map_or_else(String::new, |service| format!(" of {}", service.name()));
    let said = format!("{whose} operation{of} that begins with `{start}`");
    let services = service.map_or_else(|| Service::ALL.to_vec(), |service| vec![service]);
    let word = start.split(' ').next().unwrap_or_default();
    let names: Vec<&str> = services.iter().flat_map(|service| beginnings(*service)).collect();
    let help = near::hint(word, names.into_iter().filter(|name| *name != word));
    let help = help.unwrap_or_else(|| match service {
        Some(service) => all_of(service),
        None => "name the service as well: FAULT@SERVICE/OPERATION".to_owned(),
    });
    Senseless { part: Part::Operation, said, help }
}

/// Returns what an operation's name can begin with, word by word.
fn beginnings(service: Service) -> Vec<&'static str> {
    let words = |name: &'static str| {
        let ends = name.char_indices().zip(name.chars().skip(1));
        let ends = ends.filter(|((_, one), next)| one.is_lowercase() && next.is_uppercase());
        let ends: Vec<usize> = ends.map(|((at, one), _)| at + one.len_utf8()).collect();
        ends.into_iter().chain([name.len()]).map(move |end| &name[..end])
    };
    match service.operations() {
        Operations::Named(all) => all.iter().flat_map(|name| words(name)).collect(),
        Operations::Verbs { verbs, .. } => verbs.to_vec(),
        Operations::Addresses => Vec::new(),
    }
}

/// Says what operations a service has.
fn all_of(service: Service) -> String {
    match service.operations() {
        Operations::Named(all) => format!("{} has {}", service.name(), all.join(", ")),
        Operations::Verbs { verbs, of, roots } => {
            let roots: Vec<&str> = roots.iter().map(|root| root.trim_end_matches('/')).collect();
            let begins = match roots.as_slice() {
                [] => String::new(),
                roots => format!("; {of} begins with {}", roots.join(", ")),
            };
            format!("write VERB {of}; VERB is {}{begins}", verbs.join(", "))
        }
        Operations::Addresses => "write HOST:PORT".to_owned(),
    }
}
