//! Reverting one step: journal, compare with what this run wrote, restore, look again.

use serde_json::Map;

use super::attempt::OBSERVE_LIMIT;
use super::compare::{Standing, standing};
use super::driver::{Driver, Message, Park};
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
            let result = self.revert().await;
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
            let Some(why) = failed.filter(|_| self.settings.interactive) else { return Ok(()) };
            match self.ask_after_revert(&why).await? {
                (FailureChoice::Retry, _) => {}
                (FailureChoice::Skip, reason) => {
                    let result = RevertResult::Skipped { reason };
                    self.record(vec![Event::RevertFinished { step, result }]);
                    return Ok(());
                }
                (FailureChoice::MarkDone | FailureChoice::Rollback | FailureChoice::Stop, _) => {
                    return Err(Park::Kept);
                }
            }
        }
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
    async fn revert(&mut self) -> RevertResult {
        if let Some(why) = kept(&self.step().rollback) {
            return RevertResult::Kept { why: why.to_owned() };
        }
        let (Some(call), Some(armed)) = (self.call(), self.armed.clone()) else {
            let message = "nobody armed this rollback";
            let error = ActionError::unchanged(FailureClass::Internal, message);
            return RevertResult::Failed { error };
        };
        let done = match self.step().rollback.clone() {
            Rollback::Action { action, with } => {
                self.run_instead(&armed, call, action, &with).await
            }
            Rollback::Auto | Rollback::None { .. } => self.restore(&armed, &call).await,
        };
        done.unwrap_or_else(|error| RevertResult::Failed { error })
    }

    async fn look(&self, call: &Call) -> Result<Observation, ActionError> {
        let mut tries = 0;
        loop {
            let observing = self.ports.actions.observe(call);
            let seen = within(&*self.ports.clock, OBSERVE_LIMIT, observing).await;
            let seen = seen.unwrap_or_else(|elapsed| {
                Err(ActionError::unchanged(FailureClass::Timeout, format!("observe: {elapsed}")))
            });
            tries += 1;
            match seen {
                Err(error) if error.class.retryable() && tries < self.step().retry.attempts => {
                    self.ports.clock.sleep(self.step().retry.backoff_first.0).await;
                }
                Ok(_) | Err(_) => return seen,
            }
        }
    }

    /// Restores the before-image, if what is there now is what this run wrote.
    async fn restore(&self, armed: &Armed, call: &Call) -> Result<RevertResult, ActionError> {
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
        let limit = self.step().timeout.0;
        let reverting = self.ports.actions.revert(armed, call, &image);
        within(&*self.ports.clock, limit, reverting).await.unwrap_or_else(|elapsed| {
            Err(ActionError::unknown(FailureClass::Timeout, format!("revert: {elapsed}")))
        })?;
        if !tells {
            return Ok(RevertResult::Reverted);
        }
        let after = self.look(call).await?;
        if standing(&after.live, &image.before, &image.ours) == Standing::Before {
            return Ok(RevertResult::Reverted);
        }
        let message =
            format!("the state is not as before: before {}, now {}", image.before, after.live);
        Err(ActionError::unknown(FailureClass::Conflict, message))
    }

    /// Runs the rollback action the runbook gives in place of restoring the before-image.
    async fn run_instead(
        &self,
        armed: &Armed,
        call: Call,
        action: String,
        with: &Map<String, serde_json::Value>,
    ) -> Result<RevertResult, ActionError> {
        let with = crate::plan::late::arguments(with, &self.scope())
            .map_err(|error| ActionError::unchanged(FailureClass::Invalid, error))?;
        let call = Call { action, with, choice: None, ..call };
        let seen = self.look(&call).await?;
        if seen.satisfied {
            return Ok(RevertResult::AlreadyBefore);
        }
        let limit = self.step().timeout.0;
        let performing = self.ports.actions.perform(armed, &call, &seen);
        within(&*self.ports.clock, limit, performing).await.unwrap_or_else(|elapsed| {
            Err(ActionError::unknown(FailureClass::Timeout, format!("rollback: {elapsed}")))
        })?;
        Ok(RevertResult::Reverted)
    }
}
