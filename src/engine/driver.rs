//! Drives one step from where its journal left it to its end: decides by its state, records, asks.
//!
//! Owns a copy of the step's state, kept by the same fold as the run's. The dispatcher alone writes the journal.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot, watch};

use super::ports::{Armed, Call, Ports, Progress, ProgressNote};
use super::step::{Stage, StepState};
use crate::event::{Answer, Event, Question, RunSettings};
use crate::ids::RunId;
use crate::outcome::{ActionError, FailureClass, StepEnd};
use crate::plan::{Body, Plan, PlannedStep};
use crate::runbook::expression::Scope;

/// How much the run is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Halt {
    No,
    /// Start nothing new; what runs reaches a safe point
    Soft,
    /// Stop waiting; what runs is recorded as unknown
    Hard,
}

/// Why a step is left where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Park {
    /// The run is being stopped
    Halted,
    /// An operator said no
    Declined(String),
    /// Nobody was there to answer
    Nobody(String),
    /// An answer is needed that no flag gave
    Missing(String),
    /// Preflight found something that blocks
    NotMet(String),
    /// The lease is not ours
    Lease(String),
    /// A person chose to stop here
    Kept,
    /// A person chose to roll back
    RollBack(String),
    /// A person chose another method than the one this step failed by
    Another { step: usize, why: String },
    /// The journal cannot be written
    Journal,
}

/// What a driver tells the dispatcher.
#[derive(Debug)]
pub(super) enum Message {
    /// Journal these; answered once they are durable, when an answer is wanted
    Record { events: Vec<Event>, synced: Option<oneshot::Sender<()>> },
    /// Put a question; answered with the answer, or dropped when the run stops
    Ask { question: Box<Question>, reply: oneshot::Sender<Answer> },
    /// Say whether the gates before go still stand, and what they saw
    Gates { reply: oneshot::Sender<Result<Vec<String>, Park>> },
    /// The driver's task ended by a panic
    Panicked { step: usize },
    /// The driver is done
    Left { step: usize, parked: Option<Park> },
}

/// Everything a step's driver needs.
pub(super) struct Driver {
    pub run: RunId,
    pub ports: Ports,
    pub armed: Option<Arc<Armed>>,
    pub plan: Arc<Plan>,
    pub index: usize,
    pub state: StepState,
    /// What its expressions may name, with the outputs of the steps upstream
    pub upstream: Scope,
    pub settings: RunSettings,
    /// An operator vouched for being alone: no lease is asked for
    pub vouched: bool,
    /// Attempts that count as none: refused for want of patience, or of a proof
    pub uncounted: u32,
    /// What a person would type to do it by hand, as the last look that knew it said
    pub commands: Vec<String>,
    /// Attempts that were throttled
    pub throttled: u32,
    pub post: mpsc::UnboundedSender<Message>,
    pub halt: watch::Receiver<Halt>,
    pub news: mpsc::UnboundedSender<ProgressNote>,
}

impl Driver {
    /// Returns the step being driven.
    pub(super) fn step(&self) -> &PlannedStep {
        &self.plan.steps[self.index]
    }

    /// Drives the step until it ends or is parked, and says so.
    pub(super) async fn drive(mut self) {
        let parked = self.go().await.err();
        let left = Message::Left { step: self.index, parked };
        // The dispatcher outlives its drivers; if it is gone there is nobody to tell.
        drop(self.post.send(left));
    }

    async fn go(&mut self) -> Result<(), Park> {
        loop {
            self.safe_point()?;
            // Boxed, for a step takes one way at a time: together they are large, and every start moves them.
            match self.state.stage.clone() {
                Stage::Waiting => Box::pin(self.prepare()).await?,
                Stage::Ready => {
                    if self.step().is_gate() {
                        Box::pin(self.look_at_gate()).await?;
                    } else {
                        Box::pin(self.begin()).await?;
                    }
                }
                Stage::Started | Stage::Doubtful { .. } => Box::pin(self.probe()).await?,
                Stage::AttemptFailed { error } => Box::pin(self.after_attempt(error)).await?,
                Stage::Performed | Stage::AsDesired | Stage::Marked { .. } => {
                    Box::pin(self.verify()).await?;
                }
                Stage::Failed { error } => {
                    // Only a person or the runbook's tolerance decides here; the scheduler does the rest.
                    if !self.decides() {
                        return Ok(());
                    }
                    Box::pin(self.decide(&error)).await?;
                }
                Stage::Ended(_) => return Ok(()),
            }
        }
    }

    /// Evaluates the condition and resolves what was left open, once.
    async fn prepare(&mut self) -> Result<(), Park> {
        let step = self.step().clone();
        if !crate::plan::late::is_open(&step) {
            let with = match step.body {
                Body::Gate { .. } => Map::new(),
                Body::Action { with, .. } => with,
            };
            self.record(vec![Event::StepReady { step: step.id, with }]);
            return Ok(());
        }
        let scope = self.scope();
        let condition = step.when.as_ref().map(|when| crate::plan::late::condition(when, &scope));
        match condition {
            None | Some(Ok(true)) => {}
            Some(Ok(false)) => {
                let reason = step.when.map(|when| format!("its condition `{when}` is false"));
                return self.finish(StepEnd::Skipped, Map::new(), reason).await;
            }
            Some(Err(error)) => return self.fail_invalid("its condition", &error).await,
        }
        let with = match &step.body {
            Body::Gate { .. } => Ok(Map::new()),
            Body::Action { with, .. } => crate::plan::late::arguments(with, &scope),
        };
        match with {
            Ok(with) => {
                let ready = Event::StepReady { step: step.id.clone(), with };
                self.record(vec![ready]);
                Ok(())
            }
            Err(error) => self.fail_invalid("its arguments", &error).await,
        }
    }

    async fn fail_invalid(&mut self, what: &str, error: &str) -> Result<(), Park> {
        let error = ActionError::unchanged(FailureClass::Invalid, format!("{what}: {error}"));
        self.fail(error).await
    }

    /// Returns what expressions of this step may name, its own outputs among them.
    pub(super) fn scope(&self) -> Scope {
        let mut scope = self.upstream.clone();
        if !self.state.outputs.is_empty() {
            scope.set_outputs(&self.step().id.0, self.state.outputs.clone());
        }
        scope
    }

    /// Returns the call of this step's action.
    pub(super) fn call(&self) -> Option<Call> {
        let Body::Action { action, .. } = &self.step().body else { return None };
        Some(Call {
            run: self.run.clone(),
            step: self.step().id.clone(),
            action: action.clone(),
            with: self.state.with.clone(),
            generation: self.state.generation,
            choice: self.state.choice.clone(),
            progress: Progress::new(self.step().id.clone(), self.news.clone()),
        })
    }

    /// Records events; they are durable before anything that needs them, not necessarily now.
    pub(super) fn record(&mut self, events: Vec<Event>) {
        self.fold(&events);
        drop(self.post.send(Message::Record { events, synced: None }));
    }

    /// Records events and waits until they are durable.
    pub(super) async fn record_synced(&mut self, events: Vec<Event>) -> Result<(), Park> {
        self.fold(&events);
        let (synced, done) = oneshot::channel();
        let message = Message::Record { events, synced: Some(synced) };
        self.post.send(message).map_err(|_| Park::Journal)?;
        // A dropped sender means that the journal could not be written: nothing may start.
        done.await.map_err(|_| Park::Journal)
    }

    fn fold(&mut self, events: &[Event]) {
        let now = self.ports.clock.now();
        for event in events.iter().filter(|event| is_of_step(event)) {
            self.state.apply(event, now).expect("a driver records only what its own state allows");
        }
    }

    /// Ends the step.
    pub(super) async fn finish(
        &mut self,
        end: StepEnd,
        outputs: Map<String, Value>,
        reason: Option<String>,
    ) -> Result<(), Park> {
        let step = self.step().id.clone();
        self.record(vec![Event::StepFinished { step, end, outputs, reason }]);
        Ok(())
    }

    /// Fails the step for good, unless someone decides otherwise.
    pub(super) async fn fail(&mut self, error: ActionError) -> Result<(), Park> {
        let step = self.step().id.clone();
        self.record(vec![Event::StepFailed { step, error }]);
        Ok(())
    }

    /// Puts a question. An answer that is no answer parks the step.
    pub(super) async fn ask(&mut self, question: Question) -> Result<Answer, Park> {
        let title = question.title.clone();
        let (reply, answered) = oneshot::channel();
        let message = Message::Ask { question: Box::new(question), reply };
        self.post.send(message).map_err(|_| Park::Journal)?;
        let answer = answered.await.map_err(|_| Park::Halted)?;
        match answer {
            Answer::No => Err(Park::Declined(format!("the answer to \"{title}\" was no"))),
            Answer::Nobody { why } => {
                Err(Park::Nobody(format!("nobody answered \"{title}\": {why}")))
            }
            Answer::Missing { flag } => Err(Park::Missing(flag)),
            Answer::Yes
            | Answer::Typed { .. }
            | Answer::Chosen { .. }
            | Answer::Menu { .. }
            | Answer::Recheck
            | Answer::Began { .. } => Ok(answer),
        }
    }

    /// Does work that changes nothing, unless the run is stopped a second time before it is done.
    pub(super) async fn look_on<T>(&self, work: impl Future<Output = T>) -> Result<T, Park> {
        unless_hard(&self.halt, work).await
    }

    /// Returns where the run may be stopped.
    pub(super) fn safe_point(&self) -> Result<(), Park> {
        if *self.halt.borrow() == Halt::No { Ok(()) } else { Err(Park::Halted) }
    }

    /// Waits, unless the run is stopped first.
    pub(super) async fn pause(&mut self, length: Duration) -> Result<(), Park> {
        pause(&self.ports, &mut self.halt, length).await
    }
}

/// Waits, unless the run is stopped first.
pub(super) async fn pause(
    ports: &Ports,
    halt: &mut watch::Receiver<Halt>,
    length: Duration,
) -> Result<(), Park> {
    let timer = ports.clock.sleep(length);
    // Nothing is lost by dropping either: one is a timer, the other a look at a flag.
    tokio::select! {
        biased;
        _ = halt.wait_for(|halt| *halt != Halt::No) => Err(Park::Halted),
        () = timer => Ok(()),
    }
}

/// Awaits work that is lost without harm, unless the run is stopped a second time before it is done.
pub(super) async fn unless_hard<T>(
    halt: &watch::Receiver<Halt>,
    work: impl Future<Output = T>,
) -> Result<T, Park> {
    let mut halt = halt.clone();
    // When the halt wins, a look is dropped where it stands: it changed nothing.
    tokio::select! {
        biased;
        done = work => Ok(done),
        _ = halt.wait_for(|halt| *halt == Halt::Hard) => Err(Park::Halted),
    }
}

/// Says whether an event belongs to one step's state.
pub(super) const fn is_of_step(event: &Event) -> bool {
    match event {
        Event::StepReady { .. }
        | Event::GateSeen { .. }
        | Event::StepStarted { .. }
        | Event::AttemptFinished { .. }
        | Event::Probed { .. }
        | Event::StepSatisfied { .. }
        | Event::StepMarked { .. }
        | Event::Verified { .. }
        | Event::StepFailed { .. }
        | Event::StepFinished { .. }
        | Event::StepReopened { .. }
        | Event::RevertStarted { .. }
        | Event::RevertFinished { .. } => true,
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
        | Event::Noted { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F>(_: fn(Driver) -> F) -> usize {
        size_of::<F>()
    }

    /// Starting a step moves its future several times; beyond 128 KiB each would also be memory asked of the kernel.
    #[test]
    fn a_driver_is_cheap_to_start() {
        let sizes = (size(Driver::drive), size(Driver::roll_back));
        assert!(sizes.0 <= 8 * 1024 && sizes.1 <= 16 * 1024, "{sizes:?}");
    }

    fn ways<'a, F>(_: fn(&'a mut Driver) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn each_way_is_small() {
        let sizes = [
            ("prepare", ways(Driver::prepare)),
            ("gate", ways(Driver::look_at_gate)),
            ("begin", ways(Driver::begin)),
            ("probe", ways(Driver::probe)),
            ("verify", ways(Driver::verify)),
        ];
        assert!(sizes.iter().all(|(_, size)| *size <= 16 * 1024), "{sizes:?}");
    }
}
