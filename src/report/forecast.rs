//! When what remains will be done: the critical path of the steps that are left, from how long each usually takes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::view::{StepStatus, StepView, ViewState};
use crate::clock::since;
use crate::estate::types::Priority;
use crate::ids::StepId;
use crate::outcome::{Candidate, StepEnd};
use crate::plan::{Body, Plan, PlannedStep};
use crate::runbook::schema::OnFailure;
use crate::span::Span;

/// When all steps of a priority will have ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outlook {
    Done {
        at: Timestamp,
    },
    Ahead {
        earliest: Timestamp,
        /// Later than `earliest` where a step's condition is yet to be decided
        latest: Timestamp,
        /// Every step on the way says how long it usually takes
        measured: bool,
    },
    /// It cannot be, as things stand
    Blocked {
        by: StepId,
    },
}

/// What is assumed about steps before their records exist.
#[derive(Debug, Clone, Default)]
pub(crate) struct Assume {
    /// Lengths known better than the runbook's `usually`, e.g. of the recovery point that would be chosen
    pub lengths: BTreeMap<StepId, Span>,
    /// Conditional steps that will be skipped
    pub skipped: BTreeSet<StepId>,
    /// Conditional steps that will run
    pub taken: BTreeSet<StepId>,
}

impl Assume {
    /// Assumes that a recovery point is taken: a restore runs in the conditional step, and the other one then finds
    /// it done; a promotion runs in the other one alone.
    pub(crate) fn by_choice(plan: &Plan, chosen: Option<&Candidate>) -> Self {
        let mut assume = Self::default();
        let Some(chosen) = chosen else { return assume };
        for step in &plan.steps {
            if !matches!(&step.body, Body::Action { action, .. } if action == "rds.recover") {
                continue;
            }
            match (chosen.reversible, step.when.is_some()) {
                (true, true) | (false, false) => {
                    assume.taken.insert(step.id.clone());
                    if let Some(forecast) = chosen.forecast {
                        assume.lengths.insert(step.id.clone(), forecast);
                    }
                }
                (false, true) => {
                    assume.skipped.insert(step.id.clone());
                }
                (true, false) => {
                    assume.lengths.insert(step.id.clone(), Span::seconds(5));
                }
            }
        }
        assume
    }
}

/// A plan's graph, prepared once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network {
    /// Indices into `plan.steps`, dependencies first
    order: Vec<usize>,
    needs: Vec<Vec<usize>>,
}

/// When one step starts and ends, both as the earliest and the latest instant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Times {
    Passed { at: Option<Timestamp> },
    Ahead { start: (Timestamp, Timestamp), end: (Timestamp, Timestamp), measured: bool },
    Blocked { by: StepId },
}

impl Network {
    /// Prepares a plan's graph. Steps on a cycle, which loading refuses, are left out.
    pub(crate) fn new(plan: &Plan) -> Self {
        let index: BTreeMap<&StepId, usize> =
            plan.steps.iter().enumerate().map(|(at, step)| (&step.id, at)).collect();
        let needs: Vec<Vec<usize>> = plan
            .steps
            .iter()
            .map(|step| step.needs.iter().filter_map(|need| index.get(need).copied()).collect())
            .collect();
        let mut left: Vec<usize> = needs.iter().map(Vec::len).collect();
        let mut followers = vec![Vec::new(); needs.len()];
        for (at, list) in needs.iter().enumerate() {
            for need in list {
                followers[*need].push(at);
            }
        }
        let mut order: Vec<usize> = (0..needs.len()).filter(|at| left[*at] == 0).collect();
        let mut next = 0;
        while let Some(at) = order.get(next).copied() {
            next += 1;
            for follower in &followers[at] {
                left[*follower] -= 1;
                if left[*follower] == 0 {
                    order.push(*follower);
                }
            }
        }
        Self { order, needs }
    }

    /// Returns the outlook of every priority the plan has steps of.
    pub(crate) fn outlooks(
        &self,
        view: &ViewState,
        assume: &Assume,
        now: Timestamp,
    ) -> BTreeMap<Priority, Outlook> {
        let Some(plan) = &view.plan else { return BTreeMap::new() };
        let times = self.times(plan, view, assume, now);
        let mut outlooks = BTreeMap::new();
        for (at, step) in plan.steps.iter().enumerate() {
            let (Some(priority), Some(time)) = (step.priority, &times[at]) else { continue };
            let outlook = match time {
                Times::Passed { at } => Outlook::Done { at: at.unwrap_or(now) },
                Times::Ahead { end, measured, .. } => {
                    Outlook::Ahead { earliest: end.0, latest: end.1, measured: *measured }
                }
                Times::Blocked { by } => Outlook::Blocked { by: by.clone() },
            };
            let joined = match outlooks.remove(&priority) {
                Some(other) => later(other, outlook),
                None => outlook,
            };
            outlooks.insert(priority, joined);
        }
        outlooks
    }

    /// Returns when a step that is still ahead starts at the earliest.
    pub(crate) fn starts(
        &self,
        view: &ViewState,
        assume: &Assume,
        step: &StepId,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let plan = view.plan.as_ref()?;
        let at = plan.steps.iter().position(|planned| planned.id == *step)?;
        match &self.times(plan, view, assume, now)[at] {
            Some(Times::Ahead { start, .. }) => Some(start.0),
            Some(Times::Passed { .. } | Times::Blocked { .. }) | None => None,
        }
    }

    fn times(
        &self,
        plan: &Plan,
        view: &ViewState,
        assume: &Assume,
        now: Timestamp,
    ) -> Vec<Option<Times>> {
        let fresh = StepView::new();
        let mut times: Vec<Option<Times>> = vec![None; plan.steps.len()];
        for at in self.order.iter().copied() {
            let step = &plan.steps[at];
            let seen = view.steps.get(&step.id).unwrap_or(&fresh);
            let before = self.needs[at].iter().filter_map(|need| times[*need].as_ref());
            let ready = ready(before, now);
            times[at] = Some(one(step, seen, ready, view.rollback.is_some(), assume, now));
        }
        times
    }
}

/// When everything a step needs has ended.
type Ready = Result<((Timestamp, Timestamp), bool), StepId>;

fn ready<'a>(before: impl Iterator<Item = &'a Times>, now: Timestamp) -> Ready {
    let mut start = (now, now);
    let mut measured = true;
    for time in before {
        match time {
            Times::Passed { .. } => {}
            Times::Ahead { end, measured: known, .. } => {
                start = (start.0.max(end.0), start.1.max(end.1));
                measured &= known;
            }
            Times::Blocked { by } => return Err(by.clone()),
        }
    }
    Ok((start, measured))
}

fn one(
    step: &PlannedStep,
    seen: &StepView,
    ready: Ready,
    rolling_back: bool,
    assume: &Assume,
    now: Timestamp,
) -> Times {
    let usually = assume.lengths.get(&step.id).copied().or(step.usually);
    match seen.status {
        StepStatus::Ended(end) if end.satisfies() => Times::Passed { at: seen.ended },
        StepStatus::Ended(StepEnd::Failed) if step.on_failure == OnFailure::Continue => {
            Times::Passed { at: seen.ended }
        }
        StepStatus::Ended(_)
        | StepStatus::Undecided
        | StepStatus::Reverting
        | StepStatus::Reverted
        | StepStatus::Kept
        | StepStatus::RevertFailed
        | StepStatus::RevertSkipped => Times::Blocked { by: step.id.clone() },
        StepStatus::Waiting | StepStatus::Ready if rolling_back => {
            Times::Blocked { by: step.id.clone() }
        }
        StepStatus::Running | StepStatus::Verifying => {
            let taken = seen.started.map(|start| since(start, now)).unwrap_or_default();
            let left = usually.unwrap_or_default().duration().saturating_sub(taken);
            let end = plus(now, left);
            Times::Ahead { start: (now, now), end: (end, end), measured: usually.is_some() }
        }
        StepStatus::Waiting | StepStatus::Ready => match ready {
            Err(by) => Times::Blocked { by },
            Ok((start, measured)) => {
                let undecided = step.when.is_some()
                    && seen.status == StepStatus::Waiting
                    && !assume.taken.contains(&step.id);
                let skipped = assume.skipped.contains(&step.id);
                let long = usually.unwrap_or_default().duration();
                let least = if undecided || skipped { Duration::ZERO } else { long };
                let most = if skipped { Duration::ZERO } else { long };
                let end = (plus(start.0, least), plus(start.1, most));
                // A gate, or a step for a person, takes the time it takes; only changes must say how long.
                let measured = measured && (usually.is_some() || !step.changes || skipped);
                Times::Ahead { start, end, measured }
            }
        },
    }
}

fn later(one: Outlook, other: Outlook) -> Outlook {
    match (one, other) {
        (Outlook::Blocked { by }, _) | (_, Outlook::Blocked { by }) => Outlook::Blocked { by },
        (Outlook::Done { at: a }, Outlook::Done { at: b }) => Outlook::Done { at: a.max(b) },
        (ahead @ Outlook::Ahead { .. }, Outlook::Done { .. })
        | (Outlook::Done { .. }, ahead @ Outlook::Ahead { .. }) => ahead,
        (
            Outlook::Ahead { earliest: a, latest: b, measured: m },
            Outlook::Ahead { earliest: c, latest: d, measured: n },
        ) => Outlook::Ahead { earliest: a.max(c), latest: b.max(d), measured: m && n },
    }
}

fn plus(time: Timestamp, length: Duration) -> Timestamp {
    time.checked_add(length).unwrap_or(Timestamp::MAX)
}
