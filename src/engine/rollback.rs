//! Reverting one step: journal, compare with what this run wrote, restore, look again.

use std::future::Future;
use std::sync::Arc;

use serde_json::Map;

use super::attempt::OBSERVE_LIMIT;
use super::compare::{Standing, standing};
use super::driver::{Driver, Halt, Message, Park};
use super::ports::{Armed, Call, Image, Observation};
use super::scheduler::kept;
use crate::clock::within;
use crate::event::{
    Answer, AnswerForm, Event, FailureChoice, MenuOption, Question, QuestionKey, RevertResult,
};
use crate::outcome::{ActionError, FailureClass};
use crate::plan::Rollback;

impl Driver {
    /// Reverts the step and says so.
    pub(super) async fn roll_back(mut self) {
        let parked = self.revert_until_decided().await.err();
        drop(self.post.send(Message::Left { step: self.index, parked }));
    }

    async fn revert_until_decided(&mut self) -> Result<(), Park> {
        loop {
            let step = self.step().id.clone();
            let attempt = self.state.revert_failures + 1;
            self.record_synced(vec![Event::RevertStarted { step: step.clone(), attempt }]).await?;
            let result = self.revert().await?;
            let failed = match &result {
                RevertResult::Failed { error } => Some(error.message.clone()),
                RevertResult::Conflict { before, ours, now } => Some(format!(
                    "someone else changed it: before {before}, ours {ours}, now {now}"
                )),
                RevertResult::Reverted
                | RevertResult::AlreadyBefore
                | RevertResult::Kept { .. }
                | RevertResult::Skipped { .. } => None,
            };
            self.record(vec![Event::RevertFinished { step: step.clone(), result }]);
            let Some(why) = failed.filter(|_| self.asks_about_revert()) else { return Ok(()) };
            match self.ask_after_revert(&why).await? {
                (FailureChoice::Retry, _) => {}
                (FailureChoice::Skip, reason) => {
                    let result = RevertResult::Skipped { reason };
                    self.record(vec![Event::RevertFinished { step, result }]);
                    return Ok(());
                }
                (
                    FailureChoice::Another
                    | FailureChoice::MarkDone
                    | FailureChoice::Rollback
                    | FailureChoice::Stop,
                    _,
                ) => return Err(Park::Kept),
            }
        }
    }

    /// Says whether it is asked what follows the revert that has just failed.
    fn asks_about_revert(&self) -> bool {
        let this = (self.step().id.clone(), self.state.revert_failures);
        self.settings.interactive || self.settings.reverts_answered.contains(&this)
    }

    async fn ask_after_revert(&mut self, why: &str) -> Result<(FailureChoice, String), Park> {
        let option =
            |choice, say: &str| MenuOption { choice, say: say.to_owned(), outputs: Vec::new() };
        let key = QuestionKey::RevertFailure {
            step: self.step().id.clone(),
            failures: self.state.revert_failures,
        };
        let question = Question {
            key,
            title: format!("Could not be undone: {}", self.step().title),
            lines: vec![why.to_owned()],
            commands: Vec::new(),
            no_means: "the rollback stops here and can be resumed".to_owned(),
            form: AnswerForm::Menu {
                options: vec![
                    option(FailureChoice::Retry, "look again and retry"),
                    option(FailureChoice::Skip, "leave it as it is, with a reason"),
                    option(FailureChoice::Stop, "stop here; resume goes on with the rollback"),
                ],
            },
            pages: std::collections::BTreeMap::new(),
        };
        match self.ask(question).await? {
            Answer::Menu { choice, reason, .. } => Ok((choice, reason.unwrap_or_default())),
            _ => Err(Park::Kept),
        }
    }

    /// Reverts once. Rollback has its own scope: what caused it does not cancel it.
    async fn revert(&mut self) -> Result<RevertResult, Park> {
        if let Some(why) = kept(&self.step().rollback) {
            return Ok(RevertResult::Kept { why: why.to_owned() });
        }
        let (Some(call), Some(armed)) = (self.call(), self.armed.clone()) else {
            let message = "nobody armed this rollback";
            let error = ActionError::unchanged(FailureClass::Internal, message);
            return Ok(RevertResult::Failed { error });
        };
        let mut tries = 0;
        loop {
            let done = match self.step().rollback.clone() {
                Rollback::Action { action, with } => {
                    self.run_instead(&armed, call.clone(), action, &with).await
                }
                Rollback::Auto | Rollback::None { .. } => self.restore(&armed, &call).await,
            };
            let error = match done {
                Ok(result) => return Ok(result),
                Err(Undone::Failed(error)) => return Ok(RevertResult::Failed { error }),
                Err(Undone::Refused(error)) => error,
                Err(Undone::Parked(park)) => return Err(park),
            };
            // Looked at again and proved again, or vouched for: nothing has failed.
            if error.class == FailureClass::Unproved {
                continue;
            }
            tries += 1;
            // What it did is looked at first: taking back twice takes back once, and whoever is called for what passes
            // finds it passed.
            if tries >= self.tries(&error) || *self.halt.borrow() == Halt::Hard {
                return Ok(RevertResult::Failed { error });
            }
            let wait = self.ports.clock.sleep(self.backoff(tries));
            self.look_on(wait).await?;
        }
    }

    async fn look(&mut self, call: &Call) -> Result<Observation, Undone> {
        let mut tries = 0;
        loop {
            let observing =
                within(&*self.ports.clock, OBSERVE_LIMIT, self.ports.actions.observe(call));
            let error = match self.look_on(observing).await? {
                Ok(Ok(seen)) => return Ok(seen),
                Ok(Err(error)) => error,
                Err(elapsed) => {
                    ActionError::unchanged(FailureClass::Timeout, format!("observe: {elapsed}"))
                }
            };
            tries += 1;
            if tries >= self.tries(&error) {
                return Err(Undone::Failed(error));
            }
            let wait = self.ports.clock.sleep(self.backoff(tries));
            self.look_on(wait).await?;
        }
    }

    /// Restores the before-image, if what is there now is what this run wrote.
    async fn restore(&mut self, armed: &Armed, call: &Call) -> Result<RevertResult, Undone> {
        let before = self.state.before.clone().unwrap_or_default();
        let ours = self.state.ours.clone().unwrap_or_default();
        let now = self.look(call).await?;
        if now.tells {
            match standing(&now.live, &before, &ours) {
                Standing::Before if !now.under_way => return Ok(RevertResult::AlreadyBefore),
                Standing::Before | Standing::Ours | Standing::Mixed => {}
                Standing::Foreign => {
                    return Ok(RevertResult::Conflict { before, ours, now: now.live });
                }
            }
        }
        let tells = now.tells;
        let image = Image { before, ours, now };
        self.assure_lease().await?;
        let actions = Arc::clone(&self.ports.actions);
        let bounded = self.bounded(call.clone());
        let done = self.change("revert", actions.revert(armed, &bounded, &image)).await;
        done.map_err(Undone::Refused)?;
        if !tells {
            return Ok(RevertResult::Reverted);
        }
        let after = self.look(call).await?;
        if standing(&after.live, &image.before, &image.ours) == Standing::Before {
            return Ok(RevertResult::Reverted);
        }
        let message =
            format!("the state is not as before: before {}, now {}", image.before, after.live);
        Err(Undone::Failed(ActionError::unknown(FailureClass::Conflict, message)))
    }

    /// Runs the rollback action the runbook gives in place of restoring the before-image.
    async fn run_instead(
        &mut self,
        armed: &Armed,
        call: Call,
        action: String,
        with: &Map<String, serde_json::Value>,
    ) -> Result<RevertResult, Undone> {
        let with = crate::plan::late::arguments(with, &self.scope())
            .map_err(|error| ActionError::unchanged(FailureClass::Invalid, error))?;
        let call = Call { action, with, choice: None, ..call };
        let seen = self.look(&call).await?;
        if seen.satisfied {
            return Ok(RevertResult::AlreadyBefore);
        }
        self.assure_lease().await?;
        let actions = Arc::clone(&self.ports.actions);
        let bounded = self.bounded(call);
        let done = self.change("rollback", actions.perform(armed, &bounded, &seen)).await;
        done.map_err(Undone::Refused)?;
        Ok(RevertResult::Reverted)
    }

    /// Awaits a change within the step's time; a second interrupt ends the waiting, not the change.
    async fn change<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, ActionError>>,
    ) -> Result<T, ActionError> {
        let limit = self.step().timeout.0;
        let interrupted = "interrupted a second time while it was being taken back";
        match self.look_on(within(&*self.ports.clock, limit, work)).await {
            Ok(Ok(done)) => done,
            Ok(Err(elapsed)) => {
                Err(ActionError::unknown(FailureClass::Overdue, format!("{what}: {elapsed}")))
            }
            Err(_) => Err(ActionError::unknown(FailureClass::Transient, interrupted)),
        }
    }
}

/// Why a revert did not come to its end.
enum Undone {
    Failed(ActionError),
    /// The change itself failed; it may be asked for again where nothing has come of it
    Refused(ActionError),
    Parked(Park),
}

impl From<ActionError> for Undone {
    fn from(error: ActionError) -> Self {
        Self::Failed(error)
    }
}

impl From<Park> for Undone {
    fn from(park: Park) -> Self {
        Self::Parked(park)
    }
}
