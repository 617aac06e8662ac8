//! Surprises: faults that a seed draws and nobody is told of until the end.

use super::fault::{Fault, Rule, Service};
use super::random::Random;
use crate::span::Span;

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
                from: Some(Span::minutes(random.below(20)).max(AFTER_LOOKS)),
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
mod tests {
    use super::*;
    use crate::sandbox::fault::senseless;

    /// Among them one that is drawn for the very beginning.
    const SEEDS: [std::ops::Range<u64>; 2] = [0..200, 333..334];

    #[test]
    fn every_surprise_can_strike() {
        for level in [Level::Mild, Level::Hard, Level::Cruel] {
            for seed in SEEDS.into_iter().flatten() {
                for rule in surprise(level, seed, "us-west-2") {
                    assert_eq!(senseless(&rule, &["us-east-1", "us-west-2"]), [], "{rule}");
                }
            }
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_surprise() {
        for seed in SEEDS.into_iter().flatten() {
            let drawn = surprise(Level::Cruel, seed, "us-west-2");
            assert!(drawn.iter().all(|rule| rule.from >= Some(AFTER_LOOKS)), "{seed}: {drawn:?}");
            assert_eq!(drawn, surprise(Level::Cruel, seed, "us-west-2"));
            assert_eq!(drawn.len(), 3);
        }
    }
}
