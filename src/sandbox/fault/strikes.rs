//! Faults at work: which of them strikes a call, how often each has, and what kept those from it that never did.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Call, Fault, Rule, Service};
use crate::span::Span;

/// What is gone when a region is.
pub(super) const OWN: [Service; 6] = [
    Service::Rds,
    Service::S3,
    Service::Kubernetes,
    Service::Http,
    Service::Tcp,
    Service::Postgres,
];

/// Why a call to what a rule names was not struck by it, from the furthest to the nearest miss.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Missed {
    /// Another operation
    Operation,
    /// The fault cannot befall it
    Kind,
    /// It lives in this region, not in the rule's
    Region(String),
    /// Before the rule's time
    Early,
    /// After the rule's time
    Late,
    /// One of the first calls, which the rule spares
    Spared,
    /// This rule, by its number, comes first and struck it
    Behind(usize),
}

/// Why a fault never struck, in the whole rehearsal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Never {
    /// Nothing of its service was called, or nothing at all
    NotCalled(Option<&'static str>),
    /// Other operations alone, of its service or of any
    OtherOperations { service: Option<&'static str>, operation: String },
    /// Nothing that this fault can befall
    NotBefallen,
    /// In these regions alone
    OtherRegions(Vec<String>),
    /// Before this and never since
    TooEarly { from: Span },
    /// Not before this
    TooLate { until: Span },
    /// Before and after its time alone
    OutsideOfItsTime { from: Span, until: Span },
    /// Every call was one of those it spares
    Spared { calls: u32, spare: u32 },
    /// Another fault was first at each call
    Behind(String),
}

impl Never {
    /// Returns the reason as a word, for programs.
    pub(crate) const fn because(&self) -> &'static str {
        match self {
            Self::NotCalled(_) => "not_called",
            Self::OtherOperations { .. } => "other_operations",
            Self::NotBefallen => "not_befallen",
            Self::OtherRegions(_) => "other_regions",
            Self::TooEarly { .. } => "too_early",
            Self::TooLate { .. } => "too_late",
            Self::OutsideOfItsTime { .. } => "outside_of_its_time",
            Self::Spared { .. } => "spared",
            Self::Behind(_) => "another_first",
        }
    }
}

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCalled(Some(service)) => write!(f, "{service} was not called"),
            Self::NotCalled(None) => f.write_str("nothing was called"),
            Self::OtherOperations { service: Some(service), operation } => {
                write!(f, "{service} was called, but nothing of it that begins with `{operation}`")
            }
            Self::OtherOperations { service: None, operation } => {
                write!(f, "nothing that begins with `{operation}` was called")
            }
            Self::NotBefallen => {
                f.write_str("of what it names only such was called as it cannot befall")
            }
            Self::OtherRegions(regions) => {
                let named = |region: &String| match region.as_str() {
                    "" => "no region".to_owned(),
                    region => region.to_owned(),
                };
                let regions: Vec<String> = regions.iter().map(named).collect();
                write!(f, "what it names was called in {} alone", regions.join(" and "))
            }
            Self::TooEarly { from } => {
                write!(f, "what it names was called for the last time before {from}")
            }
            Self::TooLate { until } => {
                write!(f, "what it names was called for the first time after {until}")
            }
            Self::OutsideOfItsTime { from, until } => {
                write!(f, "what it names was called before {from} and after {until} alone")
            }
            Self::Spared { calls: 1, spare } => {
                write!(
                    f,
                    "what it names was called once in its time, and spare={spare} passed that over"
                )
            }
            Self::Spared { calls, spare } => write!(
                f,
                "what it names was called {calls} times in its time, and spare={spare} passed these over"
            ),
            Self::Behind(first) => write!(f, "at each of its calls `{first}` struck first"),
        }
    }
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Strike {
    /// The rule that strikes it, its number, and for which time
    pub struck: Option<(usize, Rule, u32)>,
    /// Rules that spare it
    pub spared: Vec<usize>,
    /// Rules that it missed in a way that is new
    pub missed: Vec<(usize, Missed)>,
}

/// When a rule struck first, and the call that it struck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct First {
    pub at: Timestamp,
    pub call: String,
}

/// What became of a rule in the whole rehearsal.
#[derive(Debug)]
pub(in crate::sandbox) struct Outcome<'a> {
    pub rule: &'a Rule,
    /// How often it struck; of one that nobody counts, only whether it did
    pub struck: u32,
    pub first: Option<&'a First>,
    /// Why it never did
    pub never: Option<Never>,
}

/// A rule, and what became of it.
#[derive(Debug)]
struct Kept {
    rule: Rule,
    struck: u32,
    first: Option<First>,
    spared: u32,
    /// Until it strikes
    missed: BTreeSet<Missed>,
}

/// The faults of a rehearsal.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Vec<Kept>,
    /// Pods without a place, by the call that would have given them one, with the rule that struck it
    waiting: BTreeMap<String, usize>,
    pub(in crate::sandbox) began: Timestamp,
}

impl Faults {
    pub(in crate::sandbox) fn new(rules: Vec<Rule>, began: Timestamp) -> Self {
        let kept = |rule| Kept { rule, struck: 0, first: None, spared: 0, missed: BTreeSet::new() };
        let rules = rules.into_iter().map(kept).collect();
        Self { rules, waiting: BTreeMap::new(), began }
    }

    /// Finds the fault that strikes a call, and counts it: the first one that can.
    pub(in crate::sandbox) fn strike(&mut self, call: &Call, now: Timestamp) -> Strike {
        let mut strike = Strike::default();
        for index in 0..self.rules.len() {
            let first = strike.struck.as_ref().map(|(first, _, _)| *first);
            let missed = self.miss(index, call, now, first);
            let kept = &mut self.rules[index];
            match missed {
                Ok(()) => {
                    kept.struck += 1;
                    kept.first.get_or_insert_with(|| First { at: now, call: call.to_string() });
                    kept.missed.clear();
                    if call.is_placing() {
                        self.waiting.insert(call.to_string(), index);
                    }
                    strike.struck = Some((index, kept.rule.clone(), kept.struck));
                }
                Err(None) => {}
                Err(Some(missed)) => {
                    if missed == Missed::Spared {
                        kept.spared += 1;
                        strike.spared.push(index);
                    }
                    if kept.struck == 0 && kept.missed.insert(missed.clone()) {
                        strike.missed.push((index, missed));
                    }
                }
            }
        }
        strike
    }

    /// Says by how much a call misses a rule; not at all where the rule has nothing to do with its service, or is used
    /// up.
    fn miss(
        &self,
        index: usize,
        call: &Call,
        now: Timestamp,
        first: Option<usize>,
    ) -> Result<(), Option<Missed>> {
        let Kept { rule, struck, spared, .. } = &self.rules[index];
        // Nothing of the network is between a scheduler and its cluster.
        let inside = call.is_placing() && rule.fault != Fault::NoCapacity;
        if inside
            || rule.service.is_some_and(|service| service != call.service)
            || rule.times.is_some_and(|times| *struck >= times)
        {
            return Err(None);
        }
        let missed = if !rule.means(&call.operation) {
            Missed::Operation
        } else if !rule.fault.strikes(call) {
            Missed::Kind
        } else if rule.region.as_ref().is_some_and(|region| *region != call.region) {
            Missed::Region(call.region.clone())
        } else if rule.from.is_some_and(|from| now < self.after(from)) {
            Missed::Early
        } else if rule.until.is_some_and(|until| now >= self.after(until)) {
            Missed::Late
        } else if let Some(first) = first {
            Missed::Behind(first)
        } else if *spared < rule.spare.unwrap_or(0) {
            Missed::Spared
        } else {
            return Ok(());
        };
        Err(Some(missed))
    }

    /// Returns the regions in which nothing answers now, and since when.
    pub(in crate::sandbox) fn dark(&self, now: Timestamp) -> BTreeMap<String, Timestamp> {
        let mut since: BTreeMap<(&str, Option<Service>), Timestamp> = BTreeMap::new();
        let rules = self.rules.iter().map(|kept| &kept.rule);
        for rule in rules.filter(|rule| rule.fault == Fault::Dark && self.timely(rule, now)) {
            let Some(region) = &rule.region else { continue };
            let whole = rule.operation.is_none() && rule.times.is_none() && rule.spare.is_none();
            // A part of what is asked goes unanswered: nothing is lost for that.
            if !whole {
                continue;
            }
            let at = rule.from.map_or(self.began, |from| self.after(from));
            let known = since.entry((region, rule.service)).or_insert(at);
            *known = at.min(*known);
        }
        let mut dark = BTreeMap::new();
        for (region, _) in since.keys() {
            let whole = since.get(&(*region, None));
            // What is not of the region itself, as Route 53's API, may answer from a region that is lost.
            let own = OWN.iter().map(|service| since.get(&(*region, Some(*service))));
            let own = own.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max());
            if let Some(at) = whole.into_iter().chain(own).min() {
                dark.insert((*region).to_owned(), *at);
            }
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

    /// Returns the rule that struck a pod which looks for a place again, while its time lasts: the scheduler tries again
    /// and again, and that is one strike.
    pub(in crate::sandbox) fn keeps_waiting(&self, call: &Call, now: Timestamp) -> Option<&Rule> {
        let index = *self.waiting.get(&call.to_string())?;
        self.rules.get(index).map(|kept| &kept.rule).filter(|rule| self.timely(rule, now))
    }

    /// Returns when the time of a rule is over.
    pub(in crate::sandbox) fn ends(&self, rule: &Rule) -> Option<Timestamp> {
        rule.until.map(|until| self.after(until))
    }

    /// Counts a strike of before the rehearsal was gone on with, at a call as the log has it.
    pub(in crate::sandbox) fn struck_before(&mut self, index: usize, call: &str, at: Timestamp) {
        if let Some(kept) = self.rules.get_mut(index) {
            if kept.rule.fault == Fault::NoCapacity {
                self.waiting.insert(call.to_owned(), index);
            }
            kept.struck += 1;
            kept.first.get_or_insert_with(|| First { at, call: call.to_owned() });
            kept.missed.clear();
            // What has struck has spared what it spares, also where an older log does not say so.
            kept.spared = kept.spared.max(kept.rule.spare.unwrap_or(0));
        }
    }

    /// Counts a call that was spared before the rehearsal was gone on with.
    pub(in crate::sandbox) fn spared_before(&mut self, index: usize) {
        if let Some(kept) = self.rules.get_mut(index) {
            kept.spared += 1;
        }
    }

    /// Remembers a call that missed a rule before the rehearsal was gone on with.
    pub(in crate::sandbox) fn missed_before(&mut self, index: usize, missed: Missed) {
        if let Some(kept) = self.rules.get_mut(index).filter(|kept| kept.struck == 0) {
            kept.missed.insert(missed);
        }
    }

    /// Returns every rule with what became of it.
    pub(in crate::sandbox) fn told(&self) -> impl Iterator<Item = Outcome<'_>> {
        let most = |rule: &Rule| if rule.counted() { u32::MAX } else { 1 };
        self.rules.iter().map(move |kept| {
            let never = (kept.struck == 0).then(|| self.never(kept));
            let (rule, first) = (&kept.rule, kept.first.as_ref());
            Outcome { rule, struck: kept.struck.min(most(rule)), first, never }
        })
    }

    /// Says why a rule never struck: by the calls that came nearest to it.
    fn never(&self, kept: &Kept) -> Never {
        let Kept { rule, spared, missed, .. } = kept;
        let service = rule.service.map(Service::name);
        let (from, until) = (rule.from.unwrap_or_default(), rule.until.unwrap_or_default());
        match missed.last() {
            None => Never::NotCalled(service),
            Some(Missed::Operation) => {
                let operation = rule.operation.clone().unwrap_or_default();
                Never::OtherOperations { service, operation }
            }
            Some(Missed::Kind) => Never::NotBefallen,
            Some(Missed::Region(_)) => {
                let regions = missed.iter().filter_map(|missed| match missed {
                    Missed::Region(region) => Some(region.clone()),
                    _ => None,
                });
                Never::OtherRegions(regions.collect())
            }
            Some(Missed::Early) => Never::TooEarly { from },
            Some(Missed::Late) if missed.contains(&Missed::Early) => {
                Never::OutsideOfItsTime { from, until }
            }
            Some(Missed::Late) => Never::TooLate { until },
            Some(Missed::Spared) => {
                Never::Spared { calls: *spared, spare: rule.spare.unwrap_or_default() }
            }
            Some(Missed::Behind(first)) => {
                let first = self.rules.get(*first).map(|kept| kept.rule.to_string());
                Never::Behind(first.unwrap_or_default())
            }
        }
    }
}
