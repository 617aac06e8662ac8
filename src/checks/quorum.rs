//! Check `quorum`: at least so many of several checks, all in one round, with a control from this host.

use serde_json::{Map, json};

use super::control::{self, Round};
use super::{Seen, judged};
use crate::clients::Clients;
use crate::outcome::{CheckReport, Verdict};
use crate::plan::CheckSpec;
use crate::runbook::catalogue::checks::Quorum;
use crate::runbook::schema::{Check, Vote};
use crate::span::Span;

/// Looks once: every vote and the control at the same time.
pub(crate) async fn look(clients: &Clients, with: &Quorum, around: &Round) -> Seen {
    let round = Round::of_quorum(with.control.as_deref(), around);
    let specs: Vec<CheckSpec> = with.of.iter().map(spec).collect();
    let votes = futures::future::join_all(specs.iter().map(|spec| judged(clients, spec, &round)));
    let (votes, control) = futures::join!(votes, round.control(clients, None));
    let weights: Vec<Vote> = specs.iter().map(|spec| spec.vote).collect();
    let count = Count::of(&votes, &weights);
    let mut seen = count.verdict(with.holds);
    if let Some((url, answered)) = &control {
        let said = control::say(url, answered);
        if answered.is_err() && seen.verdict == Verdict::Holds {
            seen = Seen::unclear(format!("{}, but {said}", seen.said));
        }
        seen.control = Some(said);
    }
    Seen { votes, ..seen }
}

/// Returns a vote as the spec of a single look.
fn spec(vote: &Check) -> CheckSpec {
    CheckSpec {
        check: vote.check.clone(),
        title: vote.title.clone().unwrap_or_else(|| vote.check.clone()),
        with: Map::clone(&vote.with),
        that: vote.that.clone(),
        expect: vote.expect.clone(),
        within: Span::default(),
        every: Span::default(),
        consecutive: 1,
        vote: vote.vote,
    }
}

/// How the votes of a round went.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    hold: u32,
    fail: u32,
    inconclusive: u32,
    /// Bonus votes that did not hold: left out
    left_out: u32,
}

impl Count {
    fn of(votes: &[CheckReport], weights: &[Vote]) -> Self {
        let mut count = Self::default();
        for (vote, weight) in votes.iter().zip(weights) {
            match (vote.verdict, weight) {
                (Verdict::Holds, Vote::Full | Vote::Bonus) => count.hold += 1,
                (Verdict::Fails | Verdict::Inconclusive, Vote::Bonus) => count.left_out += 1,
                (Verdict::Fails, Vote::Full) => count.fail += 1,
                (Verdict::Inconclusive, Vote::Full) => count.inconclusive += 1,
            }
        }
        count
    }

    /// Holds with enough votes; fails when even the inconclusive ones could not be enough; else cannot tell.
    fn verdict(self, wanted: u32) -> Seen {
        let said = format!(
            "{} of {} hold, {wanted} wanted{}",
            self.hold,
            self.hold + self.fail + self.inconclusive,
            match self.inconclusive {
                0 => String::new(),
                some => format!(", {some} inconclusive"),
            },
        );
        let value = json!({
            "holds": self.hold,
            "fails": self.fail,
            "inconclusive": self.inconclusive,
        });
        if wanted == 0 {
            Seen::unclear("a quorum of no votes says nothing")
        } else if self.hold >= wanted {
            Seen::holds(said, value)
        } else if self.hold + self.inconclusive < wanted {
            Seen::fails(said, value)
        } else {
            Seen { value, ..Seen::unclear(said) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_as_the_design_says() {
        let verdict = |hold, fail, inconclusive, wanted| {
            Count { hold, fail, inconclusive, left_out: 0 }.verdict(wanted).verdict
        };
        assert_eq!(verdict(2, 1, 0, 2), Verdict::Holds);
        assert_eq!(verdict(1, 2, 0, 2), Verdict::Fails);
        assert_eq!(verdict(1, 1, 1, 2), Verdict::Inconclusive);
        assert_eq!(verdict(0, 2, 1, 2), Verdict::Fails);
        assert_eq!(verdict(0, 0, 3, 2), Verdict::Inconclusive);
        assert_eq!(verdict(3, 0, 0, 0), Verdict::Inconclusive);
    }
}
