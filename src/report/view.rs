//! What is shown of a run, folded from its records and nothing else. Pure: the present instant is an argument.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::text::width;
use crate::clock::since;
use crate::event::{
    Answer, AnswerForm, AttemptResult, Event, Finding, Mode, Question, QuestionKey, Reached,
    Record, RevertResult, RunEnd, WorldNamed,
};
use crate::ids::{RunId, StepId};
use crate::outcome::{ActionError, Candidate, CheckReport, Effect, Obligation, StepEnd, Verdict};
use crate::plan::{Plan, PlannedStep};

/// Where a step stands, as a person sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepStatus {
    Waiting,
    /// Its condition held; it is being looked at
    Ready,
    Running,
    /// Performed; being verified
    Verifying,
    /// Failed, and what happens next is not decided
    Undecided,
    Ended(StepEnd),
    Reverting,
    /// Its before-image is restored
    Reverted,
    /// Nothing could be reverted, by the runbook's own word
    Kept,
    RevertFailed,
    /// An operator accepted that it stays as it is
    RevertSkipped,
}

/// One step as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct StepView {
    pub status: StepStatus,
    pub attempt: u32,
    /// First attempt's start
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    /// What is known to have changed because of it, over all attempts
    pub effect: Effect,
    pub irreversible: Option<String>,
    pub error: Option<ActionError>,
    /// Last gate or verification
    pub reports: Vec<CheckReport>,
    pub verdict: Option<Verdict>,
    pub reason: Option<String>,
    pub choice: Option<Candidate>,
    /// An attempt's start is recorded and its end is not
    open: bool,
}

impl StepView {
    /// Returns a step nothing has happened to.
    pub(super) const fn new() -> Self {
        Self {
            status: StepStatus::Waiting,
            attempt: 0,
            started: None,
            ended: None,
            effect: Effect::None,
            irreversible: None,
            error: None,
            reports: Vec::new(),
            verdict: None,
            reason: None,
            choice: None,
            open: false,
        }
    }

    /// Says whether an attempt, its verification or its revert is under way.
    pub(crate) const fn under_way(&self) -> bool {
        matches!(self.status, StepStatus::Running | StepStatus::Verifying | StepStatus::Reverting)
    }

    /// Returns what is known to have changed; an attempt without a recorded end may have changed anything.
    pub(crate) fn effect(&self) -> Effect {
        if self.open { self.effect.max(Effect::Unknown) } else { self.effect }
    }

    /// Says whether the step's change is, or may be, in place now.
    pub(crate) fn in_place(&self) -> bool {
        match self.status {
            StepStatus::Reverted => false,
            StepStatus::Waiting
            | StepStatus::Ready
            | StepStatus::Running
            | StepStatus::Verifying
            | StepStatus::Undecided
            | StepStatus::Ended(_)
            | StepStatus::Reverting
            | StepStatus::Kept
            | StepStatus::RevertFailed
            | StepStatus::RevertSkipped => self.effect() != Effect::None,
        }
    }
}

/// A question that is open.
#[derive(Debug, Clone)]
pub(crate) struct OpenQuestion {
    pub question: Box<Question>,
    pub since: Timestamp,
}

/// How a process left a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    Stopped { why: String, exit: u8 },
    Finished { end: RunEnd, exit: u8 },
    Abandoned { reason: String, still_changed: Vec<StepId> },
}

/// A run as it is shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct ViewState {
    pub run: Option<RunId>,
    pub mode: Option<Mode>,
    /// Where a rehearsal takes place
    pub world: Option<WorldNamed>,
    pub plan: Option<Arc<Plan>>,
    /// What was typed behind the program's name to start it
    pub typed: Vec<String>,
    /// What preflight found last keeps the run from starting
    pub blocked: bool,
    pub incident_started: Option<Timestamp>,
    /// Somebody is asked: what preflight found is on the go screen
    pub interactive: bool,
    /// An operator said go: something may be changed from here on
    pub going: bool,
    pub started: Option<Timestamp>,
    /// Time of the last record
    pub last: Option<Timestamp>,
    pub steps: BTreeMap<StepId, StepView>,
    /// Where each step stands in the plan
    places: HashMap<StepId, usize>,
    /// Columns of the longest step id, known once: it is asked for with every record
    pub ids: usize,
    pub open: Option<OpenQuestion>,
    /// Waits for people: from the question to its answer
    pub waits: Vec<(Timestamp, Timestamp)>,
    pub obligations: BTreeMap<String, Obligation>,
    /// Why rollback began
    pub rollback: Option<String>,
    /// The recovery point that was chosen
    pub chosen: Option<Candidate>,
    /// What the data that took over tells of what was lost
    pub reached: Reached,
    /// The one that would be, while it is asked about
    pub best: Option<Candidate>,
    /// Checks at the end
    pub verified: Option<(Verdict, Vec<CheckReport>)>,
    pub ending: Option<Ending>,
    /// Times the run was stopped, or its process was lost, and it was taken up again
    pub gaps: Vec<(Timestamp, Timestamp)>,
}

impl ViewState {
    /// Returns the view of a run that has not begun.
    pub(crate) fn of_plan(plan: &Arc<Plan>) -> Self {
        let mut view = Self::default();
        view.planned(plan);
        view
    }

    /// Folds a run's records.
    pub(crate) fn fold<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut view = Self::default();
        for record in records {
            view.apply(record);
        }
        view
    }

    /// Takes one record in.
    pub(crate) fn apply(&mut self, record: &Record) {
        let time = record.time;
        self.reach(&record.event);
        match &record.event {
            Event::RunStarted { run, mode, plan, incident_started, settings, world, .. } => {
                self.world.clone_from(world);
                self.run = Some(run.clone());
                self.interactive = settings.interactive;
                self.typed.clone_from(&settings.typed);
                self.mode = Some(*mode);
                self.incident_started = Some(*incident_started);
                self.started = Some(time);
                self.planned(plan);
            }
            Event::RunResumed { settings, .. } => {
                self.interactive = settings.interactive;
                self.ending = None;
                self.open = None;
                self.gaps.extend(self.last.map(|last| (last, time)));
            }
            Event::IncidentDated { at, .. } => self.incident_started = Some(*at),
            Event::Asked { question } => self.asked(question, time),
            Event::Decided { question, answer } => self.decided(question, answer, time),
            Event::RollbackStarted { why, .. } => self.rollback = Some(why.clone()),
            Event::RollbackEnded { .. } => self.rollback = None,
            Event::ObligationOpened { obligation, .. } => {
                self.obligations.insert(obligation.id.clone(), obligation.clone());
            }
            Event::ObligationClosed { id, .. } => {
                self.obligations.remove(id);
            }
            Event::RunVerified { verdict, reports } => {
                self.verified = Some((*verdict, reports.clone()));
            }
            Event::RunStopped { why, exit } => {
                self.ending = Some(Ending::Stopped { why: why.clone(), exit: *exit });
            }
            Event::RunFinished { end, exit } => {
                self.ending = Some(Ending::Finished { end: *end, exit: *exit });
            }
            Event::RunAbandoned { reason, still_changed } => {
                self.ending = Some(Ending::Abandoned {
                    reason: reason.clone(),
                    still_changed: still_changed.clone(),
                });
            }
            Event::StepStarted { step, choice, .. } => {
                self.going = true;
                if let Some(choice) = choice {
                    self.chosen = Some(choice.clone());
                }
                self.step(step).apply(&record.event, time);
            }
            Event::StepReady { step, .. }
            | Event::GateSeen { step, .. }
            | Event::AttemptFinished { step, .. }
            | Event::Probed { step, .. }
            | Event::StepSatisfied { step, .. }
            | Event::StepMarked { step, .. }
            | Event::Verified { step, .. }
            | Event::StepFailed { step, .. }
            | Event::StepFinished { step, .. }
            | Event::StepReopened { step, .. }
            | Event::RevertStarted { step, .. }
            | Event::RevertFinished { step, .. } => self.step(step).apply(&record.event, time),
            Event::Preflight { findings } => self.blocked = findings.iter().any(Finding::blocks),
            Event::LeaseTaken { .. } | Event::LeaseVouched { .. } | Event::Noted { .. } => {}
        }
        self.last = Some(time);
    }

    fn reach(&mut self, event: &Event) {
        if let Some(plan) = &self.plan {
            self.reached.apply(plan, event);
        }
    }

    fn step(&mut self, id: &StepId) -> &mut StepView {
        if !self.steps.contains_key(id) {
            self.ids = self.ids.max(width(&id.0));
        }
        self.steps.entry(id.clone()).or_insert_with(StepView::new)
    }

    fn planned(&mut self, plan: &Arc<Plan>) {
        self.steps = plan.steps.iter().map(|step| (step.id.clone(), StepView::new())).collect();
        let places = plan.steps.iter().enumerate();
        self.places = places.map(|(at, step)| (step.id.clone(), at)).collect();
        self.ids = plan.steps.iter().map(|step| width(&step.id.0)).max().unwrap_or(0);
        self.plan = Some(Arc::clone(plan));
    }

    fn asked(&mut self, question: &Question, time: Timestamp) {
        if let AnswerForm::Candidates { candidates, best: Some(best), .. } = &question.form {
            self.best = candidates.iter().find(|candidate| candidate.id == *best).cloned();
        }
        // A question put anew after a look goes on waiting since it was first put.
        let open = self.open.take().filter(|open| open.question.key == question.key);
        let since = open.map_or(time, |open| open.since);
        self.open = Some(OpenQuestion { question: Box::new(question.clone()), since });
    }

    fn decided(&mut self, key: &QuestionKey, answer: &Answer, time: Timestamp) {
        self.going |= (key, answer) == (&QuestionKey::Go, &Answer::Yes);
        let Some(open) = self.open.take_if(|open| open.question.key == *key) else { return };
        self.waits.push((open.since, time));
        if let (Answer::Chosen { id }, AnswerForm::Candidates { candidates, .. }) =
            (answer, &open.question.form)
        {
            self.chosen = candidates.iter().find(|candidate| candidate.id == *id).cloned();
        }
        let accepted = matches!(answer, Answer::Typed { .. } | Answer::Yes);
        if matches!(key, QuestionKey::Loss { .. }) && !accepted {
            // What would be lost with it is not lost.
            self.chosen = None;
        }
    }

    /// Returns a step as the plan has it.
    pub(crate) fn planned_step(&self, id: &StepId) -> Option<&PlannedStep> {
        self.plan.as_ref()?.steps.get(*self.places.get(id)?)
    }

    /// Returns the steps whose change is, or may be, in place, in the plan's order.
    pub(crate) fn in_place(&self) -> Vec<&StepId> {
        let Some(plan) = &self.plan else { return Vec::new() };
        plan.steps
            .iter()
            .filter(|step| step.changes)
            .map(|step| &step.id)
            .filter(|id| self.steps.get(*id).is_some_and(StepView::in_place))
            .collect()
    }

    /// Says whether a step that cannot be undone has, or may have, taken effect.
    pub(crate) fn sealed(&self) -> bool {
        self.plan.iter().flat_map(|plan| &plan.steps).any(|planned| {
            self.steps.get(&planned.id).is_some_and(|step| {
                (planned.point_of_no_return || step.irreversible.is_some())
                    && step.effect() != Effect::None
            })
        })
    }

    /// Returns the time since the incident began.
    pub(crate) fn gone(&self, now: Timestamp) -> Duration {
        self.incident_started.map(|start| since(start, now)).unwrap_or_default()
    }
}

impl StepView {
    fn apply(&mut self, event: &Event, time: Timestamp) {
        match event {
            Event::StepReady { .. } => self.status = StepStatus::Ready,
            Event::GateSeen { verdict, reports, .. } => {
                self.started.get_or_insert(time);
                // A gate that was passed may be looked at again before go.
                if !matches!(self.status, StepStatus::Ended(_)) {
                    self.status = StepStatus::Running;
                }
                self.seen(*verdict, reports);
            }
            Event::StepStarted { attempt, irreversible, choice, .. } => {
                if self.status == StepStatus::Reverted {
                    // Begun anew: what was undone is no change any more.
                    self.effect = Effect::None;
                    self.irreversible = None;
                }
                self.status = StepStatus::Running;
                self.attempt = *attempt;
                self.started.get_or_insert(time);
                (self.ended, self.error) = (None, None);
                // Taken up again it may show nothing of it any more, and is for good all the same.
                if irreversible.is_some() {
                    self.irreversible.clone_from(irreversible);
                }
                self.choice.clone_from(choice);
                self.open = true;
            }
            Event::AttemptFinished { result, .. } => self.attempted(result),
            Event::Probed { effect, .. } => {
                self.open = false;
                self.effect = *effect;
            }
            Event::StepSatisfied { .. } | Event::StepMarked { .. } => {
                self.started.get_or_insert(time);
                self.status = StepStatus::Verifying;
                self.error = None;
            }
            Event::Verified { verdict, reports, .. } => self.seen(*verdict, reports),
            Event::StepFailed { error, .. } => {
                self.error = Some(error.clone());
                self.status = StepStatus::Undecided;
            }
            Event::StepFinished { end, reason, .. } => self.finished(*end, reason.as_ref(), time),
            Event::StepReopened { .. } => {
                self.status = StepStatus::Waiting;
                self.ended = None;
                self.error = None;
            }
            Event::RevertStarted { .. } => self.status = StepStatus::Reverting,
            Event::RevertFinished { result, .. } => self.reverted(result),
            Event::RunStarted { .. }
            | Event::RunResumed { .. }
            | Event::Preflight { .. }
            | Event::IncidentDated { .. }
            | Event::LeaseTaken { .. }
            | Event::LeaseVouched { .. }
            | Event::Asked { .. }
            | Event::Decided { .. }
            | Event::RollbackStarted { .. }
            | Event::RollbackEnded { .. }
            | Event::ObligationOpened { .. }
            | Event::ObligationClosed { .. }
            | Event::RunVerified { .. }
            | Event::RunStopped { .. }
            | Event::RunFinished { .. }
            | Event::RunAbandoned { .. }
            | Event::Noted { .. } => {}
        }
    }

    fn finished(&mut self, end: StepEnd, reason: Option<&String>, time: Timestamp) {
        let is_reverted = matches!(
            self.status,
            StepStatus::Reverted
                | StepStatus::Kept
                | StepStatus::RevertFailed
                | StepStatus::RevertSkipped
        );
        // A run that was rolled back ends its steps last; how a revert went says more.
        if !is_reverted {
            self.status = StepStatus::Ended(end);
        }
        self.ended = Some(time);
        self.reason = reason.cloned();
    }

    fn seen(&mut self, verdict: Verdict, reports: &[CheckReport]) {
        self.verdict = Some(verdict);
        self.reports = reports.to_vec();
    }

    fn attempted(&mut self, result: &AttemptResult) {
        self.open = false;
        match result {
            AttemptResult::Performed { .. } => {
                self.effect = Effect::Applied;
                self.status = StepStatus::Verifying;
            }
            AttemptResult::Failed { error } => {
                self.effect = self.effect.max(error.effect);
                self.error = Some(error.clone());
            }
        }
    }

    fn reverted(&mut self, result: &RevertResult) {
        self.status = match result {
            RevertResult::Reverted | RevertResult::AlreadyBefore => StepStatus::Reverted,
            RevertResult::Kept { .. } => StepStatus::Kept,
            RevertResult::Failed { error } => {
                self.error = Some(error.clone());
                StepStatus::RevertFailed
            }
            RevertResult::Conflict { .. } => StepStatus::RevertFailed,
            RevertResult::Skipped { .. } => StepStatus::RevertSkipped,
        };
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
