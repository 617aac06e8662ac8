//! One step's state: a fold over its events. The live run and a resumed one go through the same function.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::event::{AttemptResult, Event, RevertResult};
use crate::outcome::{ActionError, Candidate, CheckReport, Effect, FailureClass, StepEnd};

/// Where a step stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Stage {
    /// Something it needs has not ended yet
    #[default]
    Waiting,
    /// Condition and arguments are known; to be observed, or looked at
    Ready,
    /// `StepStarted` is durable and the attempt has not ended: in doubt after a crash
    Started,
    /// The attempt's effect is unknown: to be probed
    Doubtful { error: ActionError },
    /// The attempt failed with a known effect
    AttemptFailed { error: ActionError },
    /// Performed; to be verified
    Performed,
    /// Was as desired before anything was done; to be verified
    AsDesired,
    /// A person says it is done; to be verified
    Marked { evidence: String },
    /// Failed for good unless someone decides otherwise
    Failed { error: ActionError },
    /// Final for this run
    Ended(StepEnd),
}

/// How far a step's rollback is.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum RevertStage {
    #[default]
    Untouched,
    Started,
    Done(RevertResult),
    Failed(RevertResult),
}

/// What the journal says of one step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepState {
    pub stage: Stage,
    pub revert: RevertStage,
    /// Attempts since the step was last opened
    pub attempts: u32,
    /// Times it failed for good
    pub failures: u32,
    pub revert_failures: u32,
    pub generation: u32,
    /// Resolved arguments
    pub with: Map<String, Value>,
    /// Before-image of the first attempt
    pub before: Option<Value>,
    /// What this run wrote: `after` when known, else desired
    pub ours: Option<Value>,
    /// What is known to have changed because of any attempt
    pub effect: Effect,
    /// A change that was known to be in place is not any more
    pub undone: bool,
    /// What was known before the present attempt: what holds again if the attempt changed nothing
    prior_effect: Effect,
    /// Of some attempt nobody knew at its end what it had done: that may show late
    doubted: bool,
    /// Why it cannot be undone, as its observation said
    pub irreversible: Option<String>,
    pub choice: Option<Candidate>,
    /// Candidates that were taken and did not lead to the end
    pub tried: BTreeSet<String>,
    pub outputs: Map<String, Value>,
    pub notes: Vec<String>,
    pub reports: Vec<CheckReport>,
    pub reason: Option<String>,
    /// What it had failed with when it was opened to be tried again, until it is done
    last_error: Option<ActionError>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
}

impl Default for StepState {
    fn default() -> Self {
        Self {
            stage: Stage::Waiting,
            revert: RevertStage::Untouched,
            attempts: 0,
            failures: 0,
            revert_failures: 0,
            generation: 0,
            with: Map::new(),
            before: None,
            ours: None,
            effect: Effect::None,
            undone: false,
            prior_effect: Effect::None,
            doubted: false,
            irreversible: None,
            choice: None,
            tried: BTreeSet::new(),
            outputs: Map::new(),
            notes: Vec::new(),
            reports: Vec::new(),
            reason: None,
            last_error: None,
            started_at: None,
            ended_at: None,
        }
    }
}

/// An event that cannot follow what came before: a damaged or foreign journal, never bad luck.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} cannot follow: the step is {stage}")]
pub(crate) struct Illegal {
    pub event: &'static str,
    pub stage: String,
}

impl StepState {
    /// Says whether the step needs nothing more.
    pub(crate) const fn ended(&self) -> Option<StepEnd> {
        match self.stage {
            Stage::Ended(end) => Some(end),
            Stage::Waiting
            | Stage::Ready
            | Stage::Started
            | Stage::Doubtful { .. }
            | Stage::AttemptFailed { .. }
            | Stage::Performed
            | Stage::AsDesired
            | Stage::Marked { .. }
            | Stage::Failed { .. } => None,
        }
    }

    /// Returns what it failed with last, whether or not it was opened since to be tried again.
    pub(super) const fn last_error(&self) -> Option<&ActionError> {
        match &self.stage {
            Stage::Doubtful { error }
            | Stage::AttemptFailed { error }
            | Stage::Failed { error } => Some(error),
            Stage::Waiting
            | Stage::Ready
            | Stage::Started
            | Stage::Performed
            | Stage::AsDesired
            | Stage::Marked { .. }
            | Stage::Ended(_) => self.last_error.as_ref(),
        }
    }

    /// Says whether a person did it, by their word.
    pub(crate) const fn by_hand(&self) -> bool {
        matches!(self.stage, Stage::Marked { .. } | Stage::Ended(StepEnd::Marked))
    }

    /// Says whether anything of this step may be changed in the world now.
    pub(crate) fn changed(&self) -> bool {
        self.effect != Effect::None
    }

    fn refuse(&self, event: &'static str) -> Illegal {
        Illegal { event, stage: format!("{:?}", self.stage) }
    }

    /// Applies one of this step's events. Other events are refused as illegal.
    pub(crate) fn apply(&mut self, event: &Event, at: Timestamp) -> Result<(), Illegal> {
        match event {
            Event::StepReady { with, .. } => {
                if self.stage != Stage::Waiting {
                    return Err(self.refuse("step_ready"));
                }
                self.with = with.clone();
                self.stage = Stage::Ready;
                Ok(())
            }
            Event::GateSeen { reports, .. } => {
                self.reports.clone_from(reports);
                Ok(())
            }
            Event::StepStarted { .. } => self.start(event, at),
            Event::AttemptFinished { attempt, result, .. } => self.finish_attempt(*attempt, result),
            Event::Probed { effect, live, outputs, .. } => {
                self.probe(*effect, live)?;
                self.outputs.extend(outputs.clone());
                Ok(())
            }
            Event::StepSatisfied { outputs, .. } => self.find_as_desired(outputs),
            Event::StepMarked { evidence, outputs, .. } => self.mark(evidence, outputs),
            Event::Verified { reports, .. } => self.verify(reports),
            Event::StepFailed { error, .. } => self.fail(error),
            Event::StepReopened { .. } => self.reopen(),
            Event::StepFinished { end, outputs, reason, .. } => {
                if matches!(self.stage, Stage::Ended(_)) {
                    return Err(self.refuse("step_finished"));
                }
                self.outputs.extend(outputs.clone());
                self.reason.clone_from(reason);
                self.ended_at = Some(at);
                if end.satisfies() {
                    self.last_error = None;
                }
                self.stage = Stage::Ended(*end);
                Ok(())
            }
            Event::RevertStarted { .. } => {
                self.revert = RevertStage::Started;
                Ok(())
            }
            Event::RevertFinished { result, .. } => {
                self.finish_revert(result);
                Ok(())
            }
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
            | Event::Noted { .. } => Err(self.refuse("an event of the run")),
        }
    }

    fn start(&mut self, event: &Event, at: Timestamp) -> Result<(), Illegal> {
        let Event::StepStarted {
            attempt, generation, before, desired, irreversible, choice, ..
        } = event
        else {
            return Err(self.refuse("step_started"));
        };
        match self.stage {
            // A dangling start is started again only after a probe could not deny it: adopt, with the same token.
            Stage::Ready
            | Stage::Started
            | Stage::Doubtful { .. }
            | Stage::AttemptFailed { .. } => {}
            Stage::Waiting
            | Stage::Performed
            | Stage::AsDesired
            | Stage::Marked { .. }
            | Stage::Failed { .. }
            | Stage::Ended(_) => return Err(self.refuse("step_started")),
        }
        self.attempts = *attempt;
        self.generation = *generation;
        // The first attempt's before-image is the one to restore; a later look already shows our own work. So it does
        // where a probe came too early and found nothing: what is there then is what this run asked for.
        let own_work = self.ours.as_ref() == Some(before);
        if self.before.is_none() || (self.effect == Effect::None && !own_work) {
            self.before = Some(before.clone());
        }
        self.ours = Some(desired.clone());
        self.prior_effect = self.effect;
        self.effect = self.effect.max(Effect::Unknown);
        if irreversible.is_some() {
            self.irreversible.clone_from(irreversible);
        }
        self.choice.clone_from(choice);
        self.started_at.get_or_insert(at);
        self.stage = Stage::Started;
        Ok(())
    }

    fn finish_attempt(&mut self, attempt: u32, result: &AttemptResult) -> Result<(), Illegal> {
        if self.stage != Stage::Started || attempt != self.attempts {
            return Err(self.refuse("attempt_finished"));
        }
        match result {
            AttemptResult::Performed { after, outputs, notes } => {
                self.ours = Some(after.clone());
                self.outputs.extend(outputs.clone());
                self.notes.clone_from(notes);
                self.effect = Effect::Applied;
                self.stage = Stage::Performed;
            }
            AttemptResult::Failed { error } => match error.effect {
                Effect::Unknown => self.stage = Stage::Doubtful { error: error.clone() },
                Effect::Applied => {
                    self.effect = Effect::Applied;
                    self.stage = Stage::AttemptFailed { error: error.clone() };
                }
                Effect::None => {
                    // Proved for this attempt only; an earlier attempt's effect stays.
                    self.effect = self.prior_effect;
                    self.stage = Stage::AttemptFailed { error: error.clone() };
                }
            },
        }
        Ok(())
    }

    fn probe(&mut self, effect: Effect, live: &Value) -> Result<(), Illegal> {
        let error = match &self.stage {
            Stage::Doubtful { error } => error.clone(),
            Stage::Started => ActionError::unknown(
                FailureClass::Transient,
                "the attempt was interrupted before its end was recorded",
            ),
            Stage::Waiting
            | Stage::Ready
            | Stage::AttemptFailed { .. }
            | Stage::Performed
            | Stage::AsDesired
            | Stage::Marked { .. }
            | Stage::Failed { .. }
            | Stage::Ended(_) => return Err(self.refuse("probed")),
        };
        self.effect = effect;
        self.doubted = true;
        self.stage = match effect {
            Effect::Applied => {
                self.ours = Some(live.clone());
                Stage::Performed
            }
            Effect::None => {
                Stage::AttemptFailed { error: ActionError { effect: Effect::None, ..error } }
            }
            Effect::Unknown => Stage::AttemptFailed { error },
        };
        Ok(())
    }

    fn find_as_desired(&mut self, outputs: &Map<String, Value>) -> Result<(), Illegal> {
        // After a failed attempt: what failed turned out to be in place.
        if !matches!(self.stage, Stage::Ready | Stage::AttemptFailed { .. }) {
            return Err(self.refuse("step_satisfied"));
        }
        self.outputs.extend(outputs.clone());
        if self.before.is_some() && (self.doubted || self.effect != Effect::None) {
            // This run asked for it and it was not so before: its effect showed late, and it is taken back as ours.
            // After nothing but proved refusals it is somebody else's.
            self.effect = Effect::Applied;
        }
        self.stage = Stage::AsDesired;
        Ok(())
    }

    fn mark(&mut self, evidence: &str, outputs: &Map<String, Value>) -> Result<(), Illegal> {
        if matches!(self.stage, Stage::Ended(_)) {
            return Err(self.refuse("step_marked"));
        }
        self.outputs.extend(outputs.clone());
        self.stage = Stage::Marked { evidence: evidence.to_owned() };
        Ok(())
    }

    fn verify(&mut self, reports: &[CheckReport]) -> Result<(), Illegal> {
        match self.stage {
            Stage::Performed | Stage::AsDesired | Stage::Marked { .. } => {}
            Stage::Waiting
            | Stage::Ready
            | Stage::Started
            | Stage::Doubtful { .. }
            | Stage::AttemptFailed { .. }
            | Stage::Failed { .. }
            | Stage::Ended(_) => return Err(self.refuse("verified")),
        }
        self.reports = reports.to_vec();
        Ok(())
    }

    fn fail(&mut self, error: &ActionError) -> Result<(), Illegal> {
        if matches!(self.stage, Stage::Ended(_) | Stage::Failed { .. }) {
            return Err(self.refuse("step_failed"));
        }
        self.failures += 1;
        self.stage = Stage::Failed { error: error.clone() };
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), Illegal> {
        if !matches!(self.stage, Stage::Failed { .. }) {
            return Err(self.refuse("step_reopened"));
        }
        self.reopen_for_resume();
        Ok(())
    }

    /// Returns the step as if nothing had been done yet, after it was taken back or is to be chosen anew.
    ///
    /// What was asked about it keeps its numbers, and what it starts from now on carries another token.
    pub(super) fn anew(&self) -> Self {
        let begun = u32::from(self.before.is_some());
        let mut tried = self.tried.clone();
        tried.extend(self.choice.as_ref().map(|choice| choice.id.clone()));
        Self {
            generation: self.generation + begun,
            failures: self.failures,
            revert_failures: self.revert_failures,
            tried,
            last_error: self.last_error().cloned(),
            ..Self::default()
        }
    }

    /// Says whether what this run changed was taken back.
    pub(super) const fn taken_back(&self) -> bool {
        matches!(
            self.revert,
            RevertStage::Done(RevertResult::Reverted | RevertResult::AlreadyBefore)
        )
    }

    /// Starts counting attempts anew; what they did stays known.
    pub(super) const fn forget_attempts(&mut self) {
        self.attempts = 0;
    }

    /// Lets a failed step be tried anew; an effect nobody knows is probed first.
    pub(super) fn reopen_for_resume(&mut self) {
        self.attempts = 0;
        self.last_error = self.last_error().cloned();
        self.stage = if self.effect == Effect::Unknown { Stage::Started } else { Stage::Ready };
    }

    fn finish_revert(&mut self, result: &RevertResult) {
        self.revert = match result {
            RevertResult::Reverted | RevertResult::AlreadyBefore => {
                // By an earlier process whose record of it was lost, where it is so already.
                self.undone = self.effect == Effect::Applied || *result == RevertResult::Reverted;
                self.effect = Effect::None;
                RevertStage::Done(result.clone())
            }
            RevertResult::Kept { .. } | RevertResult::Skipped { .. } => {
                RevertStage::Done(result.clone())
            }
            RevertResult::Failed { .. } | RevertResult::Conflict { .. } => {
                self.revert_failures += 1;
                RevertStage::Failed(result.clone())
            }
        };
    }
}

#[cfg(test)]
#[path = "step_tests.rs"]
mod tests;
