//! How a run ends or stops, and with which exit code.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::dispatcher::Dispatcher;
use super::scheduler::is_prelude;
use super::state::{RunPhase, RunState};
use super::step::{RevertStage, Stage};
use crate::clock::since;
use crate::estate::types::Priority;
use crate::event::{Event, RevertResult, RunEnd};
use crate::exit::Exit;
use crate::ids::StepId;
use crate::outcome::{StepEnd, Verdict};
use crate::span::Span;

impl Dispatcher {
    /// Stops for now; `resume` goes on.
    pub(super) fn stop(&mut self) -> Exit {
        let (why, exit) = match self.stopping.clone() {
            Some(stopping) => stopping,
            None => stop_of(&self.state),
        };
        self.record(vec![Event::RunStopped { why, exit: exit.code() }]);
        exit
    }

    /// Ends the run for good: every step gets its terminal record.
    pub(super) fn finish(&mut self) -> Exit {
        let mut events = Vec::new();
        for (step, state) in self.state.plan.steps.iter().zip(&self.state.steps) {
            let failed = state.last_error().map(|error| (StepEnd::Failed, error.message.clone()));
            let (end, reason) = match &state.stage {
                Stage::Ended(_) => continue,
                Stage::Waiting | Stage::Ready => failed.unwrap_or_else(|| {
                    (StepEnd::NotRun, "the run ended before it could start".to_owned())
                }),
                Stage::Failed { .. }
                | Stage::AttemptFailed { .. }
                | Stage::Doubtful { .. }
                | Stage::Started => failed.unwrap_or_else(unverified),
                Stage::Performed | Stage::AsDesired | Stage::Marked { .. } => unverified(),
            };
            let (step, outputs) = (step.id.clone(), serde_json::Map::new());
            events.push(Event::StepFinished { step, end, outputs, reason: Some(reason) });
        }
        self.record(events);
        let (end, mut exit) = end_of(&self.state);
        if matches!(end, RunEnd::Restored | RunEnd::WithExceptions)
            && (took_too_long(&self.state, self.ports.clock.now()) || lost_too_much(&self.state))
        {
            exit = exit.graver(Exit::ObjectiveMissed);
        }
        if matches!(end, RunEnd::RolledBack | RunEnd::FailedUnchanged) {
            self.let_lapse();
        }
        self.record(vec![Event::RunFinished { end, exit: exit.code() }]);
        exit
    }
}

impl Dispatcher {
    /// Closes what steps left open whose changes are all taken back: with them went the reason. What a person was to do
    /// by hand, such as telling others of the incident, stays.
    fn let_lapse(&mut self) {
        let state = &self.state;
        let lapses = |step: &StepId| {
            let i = state.graph.of_step(step);
            // What was found as desired is not this run's to take back, and stays as open as it was.
            i.is_some_and(|i| {
                state.plan.steps[i].changes
                    && !state.steps[i].changed()
                    && state.steps[i].ended() != Some(StepEnd::Satisfied)
            })
        };
        let lapsed = state.obligations.iter();
        let lapsed = lapsed.filter(|(_, owed)| owed.step.as_ref().is_some_and(lapses));
        let events = lapsed.map(|(id, _)| Event::ObligationClosed {
            id: id.clone(),
            said: "this run took back all that it followed from".to_owned(),
            lapsed: true,
        });
        let events = events.collect();
        self.record(events);
    }
}

/// Returns the end of a step that was begun and of which nobody knows more.
fn unverified() -> (StepEnd, String) {
    (StepEnd::Failed, "the run was rolled back before it was verified".to_owned())
}

/// Says why a run that nobody stopped cannot go on, and its exit code.
fn stop_of(state: &RunState) -> (String, Exit) {
    if matches!(state.phase, RunPhase::RollingBack { .. }) {
        return ("a revert failed".to_owned(), Exit::NeedsOperator);
    }
    let first = state.failed.iter().next();
    let why = match first {
        Some(i) => format!("step `{}` failed", state.plan.steps[*i].id),
        None => "the service is not restored by its own checks".to_owned(),
    };
    let exit = match first {
        Some(i) if is_prelude(state, *i) && !state.changed() => Exit::NotMet,
        Some(_) | None if state.changed() => Exit::ChangesLeft,
        Some(_) | None => Exit::FailedUnchanged,
    };
    (why, exit)
}

/// Says how a run that has nothing left to do ended.
fn end_of(state: &RunState) -> (RunEnd, Exit) {
    if matches!(state.phase, RunPhase::RollingBack { .. }) {
        let reverted = state.steps.iter().any(|step| {
            step.undone || matches!(step.revert, RevertStage::Done(RevertResult::Skipped { .. }))
        });
        return match (state.changed(), reverted) {
            (true, _) => (RunEnd::ChangesLeft, Exit::ChangesLeft),
            (false, true) => (RunEnd::RolledBack, Exit::RolledBack),
            (false, false) => (RunEnd::FailedUnchanged, Exit::FailedUnchanged),
        };
    }
    let excepted = state.steps.iter().any(|step| {
        matches!(step.ended(), Some(StepEnd::Failed | StepEnd::Omitted | StepEnd::NotRun))
    });
    let unproved = !matches!(state.restored, None | Some(Verdict::Holds));
    if excepted || unproved {
        (RunEnd::WithExceptions, Exit::WithExceptions)
    } else {
        (RunEnd::Restored, Exit::Ok)
    }
}

/// Says whether a priority was restored later than its longest time allows; the run as a whole where its steps
/// have no priorities.
fn took_too_long(state: &RunState, now: Timestamp) -> bool {
    let mut restored: BTreeMap<Priority, Timestamp> = BTreeMap::new();
    for (step, seen) in state.plan.steps.iter().zip(&state.steps) {
        // A step that did not end well is an exception of its own; how late it was says nothing.
        let well = seen.ended().is_some_and(StepEnd::satisfies);
        if let (Some(priority), Some(at)) = (step.priority, seen.ended_at.filter(|_| well)) {
            let last = restored.entry(priority).or_insert(at);
            *last = at.max(*last);
        }
    }
    let most = state.plan.objectives.rto_max;
    let longest = |priority: &Priority| match state.plan.estate.objectives.get(priority) {
        // An objective that is longer than the runbook's maximum is its own.
        Some(objective) => objective.rto_max.unwrap_or(most.max(objective.rto)),
        None => most,
    };
    let late = |at: Timestamp, most: Span| since(state.incident_started, at) > most.0;
    if restored.is_empty() {
        return late(now, most);
    }
    restored.iter().any(|(priority, at)| late(*at, longest(priority)))
}

fn lost_too_much(state: &RunState) -> bool {
    let allowed = state.plan.objectives.rpo_max;
    // What the restored data says counts for more than what was expected of it.
    if let Some(lost) = state.reached.lost(state.incident_started) {
        return lost.most > allowed;
    }
    // A satisfied choice of an earlier run lost nothing in this one.
    state
        .steps
        .iter()
        .filter_map(|step| step.choice.as_ref())
        .any(|choice| choice.loss.is_none_or(|loss| loss > allowed))
}
