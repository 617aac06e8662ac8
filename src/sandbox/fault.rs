//! Faults: what can be done to a call, and which calls a rule means.
//!
//! [`text`] reads and writes rules as `--inject` has them, [`sense`] finds those that can never strike, [`strikes`] has
//! them strike and remembers why one never did, [`placing`] is what they can do to a pod that looks for a place.

pub(super) mod placing;
mod sense;
mod strikes;
mod text;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::aws;
use crate::span::Span;

pub(crate) use sense::{Part, Senseless, senseless};
pub(super) use strikes::{Faults, Missed, Strike};
pub(crate) use strikes::{First, Never};
pub(crate) use text::Written;

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
    /// The answer takes longer, by `delay`, or by 5s
    Latency,
    /// The answer breaks off in its middle
    Truncated,
    /// A read answers as things were before their last change
    Stale,
    /// The identity may not do this
    Denied,
    /// There is no machine for a database instance or for a pod
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

    /// Says whether it can befall an operation at all, or one that begins so: a fault that would change nothing must not
    /// count as one that struck.
    fn befalls(self, service: Service, operation: &str) -> bool {
        match self {
            Self::Dark | Self::Refused | Self::LostAnswer | Self::Latency => true,
            Self::Throttled | Self::Truncated | Self::Denied | Self::Expired => service.speaks(),
            Self::Stale => service.has_state() && reads(operation),
            Self::Stuck => service.has_state() && !reads(operation),
            Self::NoCapacity => match service {
                Service::Rds => aws::wanting_machines().contains(&operation),
                Service::Kubernetes => placing::may_be(operation),
                Service::Route53
                | Service::S3
                | Service::Sts
                | Service::Health
                | Service::Http
                | Service::Tcp
                | Service::Dns
                | Service::Postgres => false,
            },
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
    pub(super) const ALL: [Self; 10] = [
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

    /// Says whether what it answers is kept as objects of the world, which can be old or stay as they are.
    const fn has_state(self) -> bool {
        matches!(self, Self::Rds | Self::Route53 | Self::S3 | Self::Health)
    }

    /// Returns the names its operations have.
    fn operations(self) -> Operations {
        match self {
            Self::Rds | Self::Route53 | Self::S3 | Self::Sts | Self::Health => {
                Operations::Named(aws::operations(self))
            }
            Self::Kubernetes => Operations::Verbs {
                verbs: &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
                of: "PATH",
                roots: &[
                    "/api/",
                    "/apis/",
                    "/version",
                    "/openapi/",
                    "/healthz",
                    "/livez",
                    "/readyz",
                ],
            },
            Self::Http => Operations::Verbs { verbs: &["GET"], of: "HOST/PATH", roots: &[] },
            Self::Dns => {
                Operations::Verbs { verbs: &["A", "AAAA", "CNAME", "TXT"], of: "NAME", roots: &[] }
            }
            Self::Tcp | Self::Postgres => Operations::Addresses,
        }
    }

    /// Says where it lives, of an estate in these regions.
    fn home<'a>(self, mut regions: impl Iterator<Item = &'a str>) -> Home {
        match self {
            Self::Route53 | Self::Health => {
                Home::Only(control_region(regions.next().unwrap_or_default()))
            }
            Self::Dns => Home::Nowhere,
            Self::Rds
            | Self::S3
            | Self::Sts
            | Self::Kubernetes
            | Self::Http
            | Self::Tcp
            | Self::Postgres => Home::Each,
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
    /// Whether it takes a machine that might not be there: of changes of an instance those that want another one
    pub wants_machine: bool,
}

impl Fault {
    /// Says whether it can befall this call.
    fn strikes(self, call: &Call) -> bool {
        let can = self.befalls(call.service, &call.operation);
        can && (self != Self::NoCapacity || call.wants_machine)
    }
}

impl Call {
    /// Says whether it is the scheduler's, which is inside of its cluster, and no call over the network.
    fn is_placing(&self) -> bool {
        self.service == Service::Kubernetes && self.wants_machine
    }
}

/// Says whether an operation of AWS only looks.
fn reads(operation: &str) -> bool {
    const LOOKS: [&str; 5] = ["Describe", "Get", "Head", "List", "Test"];
    LOOKS.iter().any(|look| operation.starts_with(look))
}

/// The names a service's operations have.
#[derive(Debug, Clone, Copy)]
enum Operations {
    /// These alone
    Named(&'static [&'static str]),
    /// A verb and what it is done to, which begins with one of the roots where there are any
    Verbs { verbs: &'static [&'static str], of: &'static str, roots: &'static [&'static str] },
    /// `HOST:PORT`
    Addresses,
}

/// Where what answers lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    /// In each region
    Each,
    /// In this one, whichever region is asked about
    Only(&'static str),
    /// In none
    Nowhere,
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
    /// Time added by `latency`, 5s when left out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
}

/// Returns the region that has the control plane of a region's global services.
pub(crate) fn control_region(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "cn-northwest-1"
    } else if region.starts_with("us-gov-") {
        "us-gov-west-1"
    } else {
        "us-east-1"
    }
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

    fn means(&self, operation: &str) -> bool {
        self.operation.as_ref().is_none_or(|start| operation.starts_with(start))
    }
}

#[cfg(test)]
#[path = "fault_tests.rs"]
mod tests;
