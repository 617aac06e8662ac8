//! What a person is asked about a step: approvals, choices, waivers, work by hand, and what to do after a failure.

use serde_json::{Map, Value};

use super::driver::{Driver, Park};
use super::ports::{ByHand, Observation, Waiver};
use crate::event::{Answer, AnswerForm, Event, FailureChoice, MenuOption, Question, QuestionKey};
use crate::outcome::{ActionError, Candidate, Effect, StepEnd, Verdict};
use crate::plan::Approval;
use crate::span::Span;

impl Driver {
    fn question(&self, key: QuestionKey, title: String, form: AnswerForm) -> Question {
        Question {
            key,
            title,
            lines: Vec::new(),
            commands: Vec::new(),
            no_means: "nothing new is started; the run is saved and can be resumed".to_owned(),
            form,
            pages: Default::default(),
        }
    }

    /// Asks for a step's approval; any other answer than consent parks the step.
    pub(super) async fn ask_approval(
        &mut self,
        seen: &Observation,
        digest: &str,
    ) -> Result<(), Park> {
        let key = QuestionKey::Approve { step: self.step().id.clone(), digest: digest.to_owned() };
        let (say, form) = match &self.step().approve {
            Approval::Plan | Approval::Each { say: None } => (None, AnswerForm::YesNo),
            Approval::Each { say: Some(say) } => (Some(say.clone()), AnswerForm::YesNo),
            Approval::Typed { say, word } => {
                (Some(say.clone()), AnswerForm::Type { word: word.clone() })
            }
        };
        let mut question = self.question(key, self.step().title.clone(), form);
        question.lines.extend(seen.evidence.iter().cloned());
        question
            .lines
            .extend(seen.differences.iter().map(|d| format!("{}: {} -> {}", d.what, d.from, d.to)));
        question.lines.extend(say);
        question.lines.push(match &seen.irreversible {
            Some(why) => format!("Cannot be undone: {why}"),
            None => "Can be undone".to_owned(),
        });
        question.commands.clone_from(&seen.commands);
        self.ask(question).await.map(|_| ())
    }

    /// Has one of several ways chosen, and more loss than the objective allows typed.
    pub(super) async fn choose(&mut self, seen: &Observation) -> Result<Option<Candidate>, Park> {
        let step = self.step().id.clone();
        let rto_max = self.plan.objectives.rto_max;
        let loss_max = self.plan.objectives.rpo_max;
        let best = best(&seen.choices, rto_max);
        let form = AnswerForm::Candidates {
            candidates: seen.choices.clone(),
            loss_max: Some(loss_max),
            best: best.map(|candidate| candidate.id.clone()),
        };
        let key = QuestionKey::Choice { step: step.clone() };
        let mut question = self.question(key, self.step().title.clone(), form);
        question.lines.clone_from(&seen.evidence);
        // Where nobody can be asked and nothing was named, the best one is the answer. What is missing is then a
        // choice that fits what was named: another one is never taken for it.
        let id = match self.ask(question).await? {
            Answer::Chosen { id } => Some(id),
            _ => None,
        };
        let chosen = seen.choices.iter().find(|candidate| Some(&candidate.id) == id.as_ref());
        let Some(chosen) = chosen.filter(|candidate| candidate.unusable.is_none()).cloned() else {
            let error = ActionError::unchanged(
                crate::outcome::FailureClass::Invalid,
                format!("no usable choice: {}", id.unwrap_or_else(|| "none was made".to_owned())),
            );
            self.fail(error).await?;
            return Ok(None);
        };
        if chosen.loss.is_none_or(|loss| loss > loss_max) {
            self.ask_loss(&chosen).await?;
        }
        Ok(Some(chosen))
    }

    async fn ask_loss(&mut self, chosen: &Candidate) -> Result<(), Park> {
        let loss = chosen.loss.map_or_else(|| "unknown".to_owned(), |loss| loss.to_string());
        let key = QuestionKey::Loss { step: self.step().id.clone() };
        let form = AnswerForm::Type { word: format!("lose {loss}") };
        let mut question = self.question(key, format!("{} loses data", chosen.title), form);
        question.lines = vec![format!(
            "Data of the last {loss} will be gone; the most allowed is {}.",
            self.plan.objectives.rpo_max
        )];
        self.ask(question).await.map(|_| ())
    }

    /// Has a person go on without an action that cannot be done; leaves an obligation.
    pub(super) async fn waive(&mut self, waiver: Waiver) -> Result<(), Park> {
        let step = self.step().id.clone();
        let key = QuestionKey::Waive { step: step.clone() };
        let form = AnswerForm::Type { word: waiver.word.clone() };
        let mut question =
            self.question(key, format!("{} cannot be done", self.step().title), form);
        question.lines = vec![waiver.why.clone(), format!("Stays open: {}", waiver.obligation.say)];
        self.ask(question).await?;
        self.record(vec![Event::ObligationOpened {
            step: Some(step),
            obligation: waiver.obligation,
        }]);
        let reason = format!("waived by typing `{}`: {}", waiver.word, waiver.why);
        self.finish(StepEnd::Waived, Map::new(), Some(reason)).await
    }

    /// Has a person do something, or leaves it open where it may wait.
    pub(super) async fn have_done_by_hand(&mut self, by_hand: ByHand) -> Result<(), Park> {
        let step = self.step().id.clone();
        if let Some(obligation) = by_hand.later {
            self.record(vec![Event::ObligationOpened { step: Some(step), obligation }]);
            let reason = Some("left to a person; the run does not wait".to_owned());
            return self.finish(StepEnd::Waived, Map::new(), reason).await;
        }
        let form = match by_hand.evidence {
            Some(prompt) => AnswerForm::Evidence { prompt },
            None => AnswerForm::YesNo,
        };
        let mut question =
            self.question(QuestionKey::Manual { step }, self.step().title.clone(), form);
        question.lines = by_hand.lines;
        let answer = self.ask(question).await?;
        let mut outputs = Map::new();
        if let Answer::Typed { text } = answer {
            outputs.insert("evidence".to_owned(), Value::String(text));
        }
        let checks = self.step().verify.clone();
        if checks.is_empty() {
            return self.finish(StepEnd::Done, outputs, None).await;
        }
        self.verify_by_hand(outputs, StepEnd::Done, None).await
    }

    async fn verify_by_hand(
        &mut self,
        outputs: Map<String, Value>,
        end: StepEnd,
        reason: Option<String>,
    ) -> Result<(), Park> {
        let checks = self.step().verify.clone();
        self.state.outputs.extend(outputs.clone());
        let (verdict, reports) = if checks.is_empty() {
            (Verdict::Holds, Vec::new())
        } else {
            self.poll_all(&checks).await?
        };
        let step = self.step().id.clone();
        self.record(vec![Event::Verified { step, verdict, reports: reports.clone() }]);
        if verdict == Verdict::Holds {
            return self.finish(end, outputs, reason).await;
        }
        if matches!(self.state.stage, super::step::Stage::Failed { .. }) {
            // Still failed: the menu is put again with what the checks found.
            return Ok(());
        }
        let message = format!("verification: {}", super::verify::describe(verdict, &reports));
        let class = crate::outcome::FailureClass::Invalid;
        self.fail(ActionError { class, effect: self.state.effect, message, hint: None }).await
    }

    /// Credentials have expired: nothing has failed, someone must renew them.
    pub(super) async fn ask_for_credentials(&mut self, error: &ActionError) -> Result<(), Park> {
        let key = QuestionKey::Credentials { step: self.step().id.clone() };
        let title = "Credentials are missing or have expired".to_owned();
        let mut question = self.question(key, title, AnswerForm::YesNo);
        question.lines = vec![error.message.clone()];
        question.lines.extend(error.hint.clone());
        question.lines.push("Renew them in another terminal, then answer y.".to_owned());
        self.ask(question).await.map(|_| ())
    }

    /// The lease cannot be proved: a person may vouch for being alone.
    pub(super) async fn ask_alone(&mut self, why: &str) -> Result<String, Park> {
        let word = "I am the only operator".to_owned();
        let form = AnswerForm::Type { word: word.clone() };
        let title = "The shared lock cannot be proved".to_owned();
        let mut question = self.question(QuestionKey::Alone, title, form);
        question.lines = vec![
            why.to_owned(),
            "Another operator may be changing the same estate. Ask your team first.".to_owned(),
        ];
        match self.ask(question).await? {
            Answer::Typed { text } => Ok(text),
            _ => Ok(word),
        }
    }

    /// Says whether this driver decides about the failure: the runbook tolerates it, or a person is there.
    pub(super) fn decides(&self) -> bool {
        super::state::tolerated(self.step()) || self.settings.interactive
    }

    /// Decides about a failed step: tolerated by the runbook, or by the operator's choice.
    pub(super) async fn decide(&mut self, error: &ActionError) -> Result<(), Park> {
        if super::state::tolerated(self.step()) {
            return self.finish(StepEnd::Failed, Map::new(), Some(error.message.clone())).await;
        }
        let question = self.failure_menu(error);
        let Answer::Menu { choice, reason, outputs } = self.ask(question).await? else {
            return Err(Park::Kept);
        };
        let why = reason.unwrap_or_default();
        match choice {
            FailureChoice::Retry => {
                let step = self.step().id.clone();
                self.record(vec![Event::StepReopened {
                    step,
                    why: "an operator retries it".to_owned(),
                }]);
                Ok(())
            }
            FailureChoice::Skip => {
                self.finish(StepEnd::Omitted, outputs, Some(format!("skipped: {why}"))).await
            }
            FailureChoice::MarkDone => {
                let reason = Some(format!("marked done by hand: {why}"));
                self.verify_by_hand(outputs, StepEnd::Marked, reason).await
            }
            FailureChoice::Rollback => {
                let why = format!("an operator chose it after `{}` failed", self.step().id);
                Err(Park::RollBack(why))
            }
            FailureChoice::Stop => Err(Park::Kept),
        }
    }

    fn failure_menu(&self, error: &ActionError) -> Question {
        let option =
            |choice, say: &str| MenuOption { choice, say: say.to_owned(), outputs: Vec::new() };
        let mut options = vec![
            option(FailureChoice::Retry, "look again and retry"),
            option(FailureChoice::Skip, "skip it, with a reason"),
            option(FailureChoice::MarkDone, "it is done by hand, with evidence; it is verified"),
        ];
        if !self.past {
            options.push(option(FailureChoice::Rollback, "roll back what this run changed"));
        }
        options.push(option(FailureChoice::Stop, "stop here and keep everything as it is"));
        let key =
            QuestionKey::Failure { step: self.step().id.clone(), failures: self.state.failures };
        let title = format!("{} failed", self.step().title);
        let mut question = self.question(key, title, AnswerForm::Menu { options });
        question.lines.push(error.message.clone());
        question.lines.extend(error.hint.clone());
        question.lines.push(match self.state.effect {
            Effect::None => "Nothing was changed by it.".to_owned(),
            Effect::Unknown => "It is not known whether it changed anything.".to_owned(),
            Effect::Applied => "It has changed something.".to_owned(),
        });
        if self.past {
            question.lines.push(
                "A point of no return has been passed: nothing rolls back by itself.".to_owned(),
            );
        }
        question
    }
}

/// Returns the least loss among the usable candidates whose forecast meets the longest time allowed.
pub(crate) fn best(candidates: &[Candidate], rto_max: Span) -> Option<&Candidate> {
    candidates
        .iter()
        .filter(|candidate| candidate.unusable.is_none())
        .filter(|candidate| candidate.forecast.is_some_and(|forecast| forecast <= rto_max))
        // A loss nobody could measure is worse than any that was.
        .min_by_key(|candidate| candidate.loss.unwrap_or(Span::seconds(u64::MAX / 4)))
}
