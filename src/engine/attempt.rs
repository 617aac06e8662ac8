//! One attempt of a step's action: observe, ask what must be asked, journal, perform; and the look afterwards
//! when nobody knows whether it took effect.

use std::time::Duration;

use serde_json::Map;
use tokio::sync::oneshot;

use super::compare::{Standing, digest, standing};
use super::driver::{Driver, Halt, Message, Park};
use super::ports::{Call, LeaseRefusal, Observation, Performed};
use crate::clock::{since, within};
use crate::event::{AttemptResult, Event};
use crate::ids::StepId;
use crate::outcome::{ActionError, Effect, FailureClass, Obligation};
use crate::plan::Approval;
use crate::span::Span;

/// One observation may take this long; reads are quick or the service is not there.
pub(super) const OBSERVE_LIMIT: Duration = Duration::from_secs(90);

/// The lease must hold this long beyond the moment a change is requested.
const LEASE_AHEAD: Duration = Duration::from_secs(15);

/// A service that asks for patience has done nothing and is there: so often it is asked, over about two minutes, before
/// that counts as a failure. A rollback for want of patience would be the greater harm.
const PATIENT_TRIES: u32 = 8;

/// An observation older than this is made again before it is acted on.
const FRESH: Duration = Duration::from_secs(10);

impl Driver {
    /// Observes the step and, unless it is as desired already, performs it.
    pub(super) async fn begin(&mut self) -> Result<(), Park> {
        let Some(mut call) = self.call() else { return Ok(()) };
        let Some(mut seen) = self.observe(&call).await? else { return Ok(()) };
        if let Some(by_hand) = seen.by_hand.clone() {
            return self.have_done_by_hand(by_hand).await;
        }
        if let Some(waiver) = seen.waiver.clone() {
            return self.waive(waiver, seen.commands).await;
        }
        if !seen.choices.is_empty() && call.choice.is_none() && !seen.satisfied {
            let Some(choice) = self.choose(&seen).await? else { return Ok(()) };
            call.choice = Some(choice);
            let Some(again) = self.observe(&call).await? else { return Ok(()) };
            seen = again;
        }
        if seen.satisfied {
            self.as_desired(seen);
            return Ok(());
        }
        let Some(seen) = self.approved(&call, seen).await? else { return Ok(()) };
        if seen.satisfied {
            self.as_desired(seen);
            return Ok(());
        }
        self.perform(&call, &seen).await
    }

    /// Reads the present state. `None`: it could not be read, and the step has been failed.
    pub(super) async fn observe(&mut self, call: &Call) -> Result<Option<Observation>, Park> {
        let mut tries = 0;
        loop {
            let observing =
                within(&*self.ports.clock, OBSERVE_LIMIT, self.ports.actions.observe(call));
            let seen = match self.look_on(observing).await? {
                Ok(seen) => seen,
                Err(elapsed) => Err(ActionError::unchanged(
                    FailureClass::Timeout,
                    format!("observe: {elapsed}"),
                )),
            };
            let error = match seen {
                Ok(seen) => {
                    // A look that finds nothing left to do names no command.
                    if !seen.commands.is_empty() {
                        self.commands.clone_from(&seen.commands);
                    }
                    return Ok(Some(seen));
                }
                Err(error) => error,
            };
            tries += 1;
            if error.class == FailureClass::Credentials {
                self.ask_for_credentials(&error).await?;
            } else if tries < self.tries(&error) {
                self.pause(self.backoff(tries)).await?;
            } else {
                // A look changes nothing, whatever earlier attempts did.
                let effect = self.state.effect;
                self.fail(ActionError { effect, ..error }).await?;
                return Ok(None);
            }
        }
    }

    /// The state is as desired already: that is recorded, and verified next.
    fn as_desired(&mut self, seen: Observation) {
        let step = self.step().id.clone();
        let mut events = opened(&step, seen.obligations);
        events.push(Event::StepSatisfied { step, outputs: seen.outputs });
        self.record(events);
    }

    /// Has the change approved where it needs to be, and looks again where time has passed since.
    async fn approved(
        &mut self,
        call: &Call,
        mut seen: Observation,
    ) -> Result<Option<Observation>, Park> {
        loop {
            let needs_question = match self.step().approve {
                Approval::Plan => self.settings.confirm_each && self.step().changes,
                // Waiting and choosing change nothing: only go covers them, however they are declared.
                Approval::Each { .. } | Approval::Typed { .. } => true,
            };
            // What the service carries out already was approved when it was requested.
            if seen.under_way {
                return Ok(Some(seen));
            }
            let for_good = seen.irreversible.is_some() || self.step().point_of_no_return;
            let looked_at = self.ports.clock.now();
            let votes =
                if for_good || needs_question { self.gates_stand().await? } else { Vec::new() };
            if !needs_question {
                if since(looked_at, self.ports.clock.now()) < FRESH {
                    return Ok(Some(seen));
                }
                let Some(again) = self.observe(call).await? else { return Ok(None) };
                seen = again;
                if seen.satisfied {
                    return Ok(Some(seen));
                }
                continue;
            }
            let covered = digest(&seen.live, &seen.desired);
            let asked_at = self.ports.clock.now();
            self.ask_approval(&seen, &covered, votes).await?;
            // A question may have been open for long.
            self.gates_stand().await?;
            if since(asked_at, self.ports.clock.now()) < FRESH {
                return Ok(Some(seen));
            }
            let Some(again) = self.observe(call).await? else { return Ok(None) };
            if again.satisfied || digest(&again.live, &again.desired) == covered {
                return Ok(Some(again));
            }
            seen = again;
        }
    }

    /// Has the gates before go looked at again where their votes are old: what cannot be taken back, or is asked about,
    /// is done only while they stand. Returns what they saw.
    async fn gates_stand(&self) -> Result<Vec<String>, Park> {
        let (reply, stand) = oneshot::channel();
        drop(self.post.send(Message::Gates { reply }));
        stand.await.unwrap_or(Err(Park::Halted))
    }

    /// Journals that the change is about to be made, then makes it.
    async fn perform(&mut self, call: &Call, seen: &Observation) -> Result<(), Park> {
        let Some(armed) = self.armed.clone() else {
            let error = ActionError::unchanged(FailureClass::Internal, "nobody armed this run");
            return self.fail(error).await;
        };
        self.safe_point()?;
        self.assure_lease().await?;
        let attempt = self.state.attempts + 1;
        let step = self.step().id.clone();
        self.record_synced(vec![Event::StepStarted {
            step: step.clone(),
            attempt,
            generation: self.state.generation,
            token: call.token(),
            before: seen.live.clone(),
            desired: seen.desired.clone(),
            digest: digest(&seen.live, &seen.desired),
            irreversible: seen.irreversible.clone(),
            choice: call.choice.clone(),
        }])
        .await?;
        let call = self.bounded(call.clone());
        let outcome = self.perform_within(&armed, &call, seen).await;
        // What stays open, and what is settled, comes first: once the attempt has ended nobody looks for it again.
        let (result, mut events) = match outcome {
            Ok(done) => {
                let settled = self.ports.actions.settles(&call, &done);
                let Performed { after, outputs, obligations, notes } = done;
                let mut events = opened(&step, obligations);
                events.extend(settled.into_iter().map(|id| closed(&step, id)));
                (AttemptResult::Performed { after, outputs, notes }, events)
            }
            Err(error) => (AttemptResult::Failed { error }, Vec::new()),
        };
        events.push(Event::AttemptFinished { step, attempt, result });
        self.record(events);
        Ok(())
    }

    /// Returns a call that knows when its time is over: an action that waits can then say why it gave up, instead of
    /// being cut off.
    pub(super) fn bounded(&self, mut call: Call) -> Call {
        let limit = jiff::SignedDuration::try_from(self.step().timeout.0).unwrap_or_default();
        if let Ok(deadline) = self.ports.clock.now().checked_add(limit) {
            call.progress = call.progress.until(deadline);
        }
        call
    }

    /// Performs with the step's time limit; a hard stop ends the waiting, not the change.
    async fn perform_within(
        &mut self,
        armed: &super::ports::Armed,
        call: &Call,
        seen: &Observation,
    ) -> Result<Performed, ActionError> {
        let limit = self.step().timeout.0;
        let ports = self.ports.clone();
        let performing = ports.actions.perform(armed, call, seen);
        let bounded = within(&*ports.clock, limit, performing);
        let halted = self.halt.wait_for(|halt| *halt == Halt::Hard);
        // When the halt wins, the perform is dropped where it stands: its effect is recorded as unknown.
        tokio::select! {
            biased;
            done = bounded => done.unwrap_or_else(|_| {
                Err(ActionError::unknown(
                    FailureClass::Timeout,
                    format!("not done within {}", Span(limit)),
                ))
            }),
            _ = halted => Err(ActionError::unknown(
                FailureClass::Transient,
                "interrupted a second time while it was being done",
            )),
        }
    }

    /// Proves the lease before a change; where it cannot be proved, a person may vouch for being alone.
    pub(super) async fn assure_lease(&mut self) -> Result<(), Park> {
        while !self.vouched {
            let ahead = jiff::SignedDuration::try_from(LEASE_AHEAD).unwrap_or_default();
            let until = self.ports.clock.now() + ahead;
            match self.look_on(self.ports.lease.assure(until)).await? {
                Ok(()) => return Ok(()),
                Err(LeaseRefusal::Held { holder } | LeaseRefusal::Lost { holder }) => {
                    return Err(Park::Lease(holder));
                }
                Err(LeaseRefusal::Unproved { why }) => {
                    let typed = self.ask_alone(&why).await?;
                    self.vouched = true;
                    self.ports.lease.vouch();
                    self.record(vec![Event::LeaseVouched { why, typed }]);
                }
            }
        }
        Ok(())
    }

    /// Finds out what an attempt did whose end nobody recorded, or whose answer was lost.
    pub(super) async fn probe(&mut self) -> Result<(), Park> {
        let Some(call) = self.call() else { return Ok(()) };
        let Some(seen) = self.observe(&call).await? else { return Ok(()) };
        if !seen.tells && !seen.satisfied {
            let message = "nobody can tell from here whether it took effect";
            let error = ActionError::unknown(FailureClass::Transient, message)
                .hint("look for yourself, then retry it, mark it done, or skip it");
            return self.fail(error).await;
        }
        if seen.under_way {
            return self.adopt(&call, &seen).await;
        }
        let step = self.step().id.clone();
        let before = self.state.before.clone().unwrap_or_default();
        let ours = self.state.ours.clone().unwrap_or_default();
        let (effect, said) = if seen.satisfied {
            (Effect::Applied, "it took effect")
        } else {
            match standing(&seen.live, &before, &ours) {
                Standing::Before => (Effect::None, "it did not take effect"),
                // What was asked for is in place, but the action does not call it done: nobody may.
                Standing::Ours => (Effect::Unknown, "it is in place, but not finished"),
                Standing::Mixed => (Effect::Unknown, "it took effect in part"),
                Standing::Foreign => (Effect::Unknown, "the state is neither before nor after"),
            }
        };
        let applied = effect == Effect::Applied;
        let (outputs, obligations) =
            if applied { (seen.outputs, seen.obligations) } else { (Map::new(), Vec::new()) };
        let mut events = opened(&step, obligations);
        let said = said.to_owned();
        events.push(Event::Probed { step, effect, live: seen.live, outputs, said });
        self.record(events);
        Ok(())
    }

    /// The service is still carrying out an earlier attempt: adopt it under the same token, as often as the step
    /// may be tried.
    async fn adopt(&mut self, call: &Call, seen: &Observation) -> Result<(), Park> {
        let counted = self.counted();
        if counted < self.step().retry.attempts {
            return self.perform(call, seen).await;
        }
        let message = format!("still being carried out after {counted} attempts");
        let error = ActionError::unknown(FailureClass::Timeout, message)
            .hint("wait for the service to end it, then retry");
        self.fail(error).await
    }

    /// Decides after a failed attempt whether the engine tries again by itself.
    pub(super) async fn after_attempt(&mut self, error: ActionError) -> Result<(), Park> {
        if error.class == FailureClass::Credentials {
            self.ask_for_credentials(&error).await?;
            return self.begin().await;
        }
        if error.class == FailureClass::Unproved {
            return self.prove_again(error).await;
        }
        let tries = if error.class == FailureClass::Throttled {
            (self.uncounted, self.throttled) = (self.uncounted + 1, self.throttled + 1);
            self.throttled
        } else {
            self.counted()
        };
        if tries < self.tries(&error) {
            let wait = self.backoff(tries);
            super::ports::Progress::new(self.step().id.clone(), self.news.clone())
                .tell(format!("trying again in {}: {error}", Span(wait)), None);
            self.pause(wait).await?;
            return self.begin().await;
        }
        let effect = self.state.effect;
        self.fail(ActionError { effect, ..error }).await
    }

    /// Begins anew what was not done for want of a proof: the lease and the gates are looked at first, or a person
    /// vouches. Nothing has failed, but it is not waited for longer than the step may take.
    async fn prove_again(&mut self, error: ActionError) -> Result<(), Park> {
        self.uncounted += 1;
        let now = self.ports.clock.now();
        if since(self.state.started_at.unwrap_or(now), now) < self.step().timeout.0 {
            return self.begin().await;
        }
        let effect = self.state.effect;
        self.fail(ActionError { effect, class: FailureClass::Overdue, ..error }).await
    }

    /// Returns how many attempts count: those that were refused for want of patience or of a proof did nothing.
    fn counted(&self) -> u32 {
        self.state.attempts.saturating_sub(self.uncounted)
    }

    /// Returns how often all in all something is tried that fails so; a runbook that wants one attempt gets one.
    pub(super) fn tries(&self, error: &ActionError) -> u32 {
        match (error.class, self.step().retry.attempts) {
            (FailureClass::Throttled, attempts) if attempts > 1 => attempts.max(PATIENT_TRIES),
            (class, attempts) if class.retryable() => attempts,
            _ => 1,
        }
    }

    /// Returns the wait before the next try: doubled each time, spread by a seed of the run and the step, so
    /// that steps that failed together do not come back together and a rehearsal repeats itself.
    pub(super) fn backoff(&self, tries: u32) -> Duration {
        let retry = &self.step().retry;
        let doubled = retry
            .backoff_first
            .0
            .saturating_mul(2_u32.saturating_pow(tries.min(16).saturating_sub(1)));
        let longest = doubled.min(retry.backoff_longest.0);
        let seed = format!("{}/{tries}", self.step().id);
        let spread = seed.bytes().fold(7_u32, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
        longest.mul_f64(0.75 + f64::from(spread % 256) / 1024.0)
    }
}

/// Returns the events that leave something open.
fn opened(step: &StepId, obligations: Vec<Obligation>) -> Vec<Event> {
    let open = |obligation| Event::ObligationOpened { step: Some(step.clone()), obligation };
    obligations.into_iter().map(open).collect()
}

/// Returns the event that closes what an earlier step left open.
fn closed(step: &StepId, id: String) -> Event {
    Event::ObligationClosed { id, said: format!("settled by step `{step}`"), lapsed: false }
}
