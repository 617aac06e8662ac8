//! What a person is asked about a step: approvals, choices, waivers, work by hand, and what to do after a failure.

use serde_json::{Map, Value};

use super::driver::{Driver, Park};
use super::ports::{ByHand, Observation, Waiver};
use super::scheduler::{asks, kept};
use crate::event::{Answer, AnswerForm, Event, FailureChoice, MenuOption, Question, QuestionKey};
use crate::outcome::{ActionError, Candidate, Effect, Obligation, StepEnd};
use crate::plan::{Approval, outputs};
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

    /// Asks for a step's approval; any other answer than consent parks the step. What must be typed shows the votes of
    /// the gates as well.
    pub(super) async fn ask_approval(
        &mut self,
        seen: &Observation,
        digest: &str,
        votes: Vec<String>,
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
        if matches!(self.step().approve, Approval::Typed { .. }) {
            question.lines.extend(votes);
        }
        question.lines.extend(seen.evidence.iter().cloned());
        question
            .lines
            .extend(seen.differences.iter().map(|d| format!("{}: {} -> {}", d.what, d.from, d.to)));
        question.lines.extend(say);
        question.lines.push(self.way_back(seen));
        question.commands.clone_from(&seen.commands);
        self.ask(question).await.map(|_| ())
    }

    /// Says whether the change can be taken back, and by whom.
    fn way_back(&self, seen: &Observation) -> String {
        let step = self.step();
        match (&seen.irreversible, kept(&step.rollback)) {
            (Some(why), _) => format!("Cannot be undone: {why}"),
            (None, Some(why)) => format!("Is not undone: {why}"),
            (None, None) if step.point_of_no_return => {
                "Point of no return: from here on nothing is rolled back by itself".to_owned()
            }
            (None, None) => "Can be undone".to_owned(),
        }
    }

    /// Has one of several ways chosen, and more loss than the objective allows typed. Whoever refuses the loss chooses
    /// among the others.
    pub(super) async fn choose(&mut self, seen: &Observation) -> Result<Option<Candidate>, Park> {
        let loss_max = self.plan.objectives.rpo_max;
        let mut choices = self.untried(&seen.choices);
        // What is refused here can be chosen again later: it is the same choice.
        let among = usable(&choices);
        loop {
            let Some(chosen) = self.ask_choice(seen, &among, &choices).await? else {
                return Ok(None);
            };
            if chosen.loss.is_some_and(|loss| loss <= loss_max) {
                return Ok(Some(chosen));
            }
            match self.ask_loss(&chosen).await {
                Ok(()) => return Ok(Some(chosen)),
                Err(Park::Declined(why)) => {
                    refuse(&mut choices, &chosen.id);
                    if usable(&choices).is_empty() {
                        return Err(Park::Declined(why));
                    }
                }
                Err(park) => return Err(park),
            }
        }
    }

    /// Asks which one to take. `None`: none that can be, and the step has been failed.
    async fn ask_choice(
        &mut self,
        seen: &Observation,
        among: &str,
        choices: &[Candidate],
    ) -> Result<Option<Candidate>, Park> {
        let best = Candidate::best(choices, self.plan.rto_max());
        let form = AnswerForm::Candidates {
            candidates: choices.to_vec(),
            loss_max: Some(self.plan.objectives.rpo_max),
            best: best.map(|candidate| candidate.id.clone()),
        };
        let key = QuestionKey::Choice { step: self.step().id.clone(), among: among.to_owned() };
        let mut question = self.question(key, self.step().title.clone(), form);
        question.lines.clone_from(&seen.evidence);
        question.commands.clone_from(&seen.commands);
        // Where nobody can be asked and nothing was named, the best one is the answer. What is missing is then a
        // choice that fits what was named: another one is never taken for it.
        let id = match self.ask(question).await? {
            Answer::Chosen { id } => Some(id),
            _ => None,
        };
        let chosen = choices.iter().find(|candidate| Some(&candidate.id) == id.as_ref());
        let Some(chosen) = chosen.filter(|candidate| candidate.unusable.is_none()).cloned() else {
            let error = ActionError::unchanged(
                crate::outcome::FailureClass::Invalid,
                format!("no usable choice: {}", id.unwrap_or_else(|| "none was made".to_owned())),
            );
            self.fail(error).await?;
            return Ok(None);
        };
        Ok(Some(chosen))
    }

    /// Returns the candidates with those marked that were taken before and led nowhere.
    fn untried(&self, choices: &[Candidate]) -> Vec<Candidate> {
        let mut choices = choices.to_vec();
        for candidate in choices.iter_mut().filter(|found| self.state.tried.contains(&found.id)) {
            candidate
                .unusable
                .get_or_insert_with(|| "it was tried in this run and failed".to_owned());
        }
        choices
    }

    async fn ask_loss(&mut self, chosen: &Candidate) -> Result<(), Park> {
        // Rounded up: nobody types milliseconds, and what is typed covers what is lost.
        let accepted = chosen.loss.map(Span::rounded_up);
        let loss = accepted.map_or_else(|| "unknown".to_owned(), |loss| loss.to_string());
        let key = QuestionKey::Loss {
            step: self.step().id.clone(),
            candidate: chosen.id.clone(),
            loss: accepted,
        };
        let form = AnswerForm::Type { word: format!("lose {loss}") };
        let mut question = self.question(key, format!("{} loses data", chosen.title), form);
        question.lines = vec![format!(
            "Data of the last {loss} will be gone; the most allowed is {}.",
            self.plan.objectives.rpo_max
        )];
        question.no_means = "the choice is taken back, and another one can be made".to_owned();
        self.ask(question).await.map(|_| ())
    }

    /// Has a person go on without an action that cannot be done; leaves an obligation.
    pub(super) async fn waive(
        &mut self,
        waiver: Waiver,
        commands: Vec<String>,
    ) -> Result<(), Park> {
        let step = self.step().id.clone();
        let key = QuestionKey::Waive { step: step.clone() };
        let form = AnswerForm::Type { word: waiver.word.clone() };
        let mut question =
            self.question(key, format!("Cannot be done: {}", self.step().title), form);
        question.commands = commands;
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
        let evidence = match answer {
            Answer::Typed { text } => text,
            _ => "a person said so".to_owned(),
        };
        let outputs = Map::from_iter([("evidence".to_owned(), Value::String(evidence.clone()))]);
        self.mark(evidence, outputs);
        Ok(())
    }

    /// Records what stays open without the step's change, as its action says.
    pub(super) fn leave_open(&mut self) {
        let open = self.call().and_then(|call| self.ports.actions.without(&call));
        self.open(open);
    }

    /// Records what stays open of a step that a person skips: of what changes something, at least that it did not.
    fn leave_skipped(&mut self, why: &str) {
        let open = self.call().and_then(|call| self.ports.actions.without(&call));
        let step = self.step();
        let skipped = step.changes.then(|| {
            let of_it = match self.state.effect {
                Effect::None => "nothing of it is done",
                Effect::Unknown => "whether anything of it is done is not known",
                Effect::Applied => "what of it was done is left as it is",
            };
            Obligation {
                id: format!("skipped-{}", step.id),
                say: format!("{}: skipped by a person ({why}); {of_it}", step.title),
                how: format!(
                    "do it by hand (commands: phoenix-dr show {} --rendered), or by a new run",
                    self.plan.runbook
                ),
                closed_by: None,
            }
        });
        self.open(open.or(skipped));
    }

    fn open(&mut self, open: Option<Obligation>) {
        let step = self.step().id.clone();
        let events =
            open.map(|obligation| Event::ObligationOpened { step: Some(step), obligation });
        self.record(events.into_iter().collect());
    }

    /// Records that a person did the step; it is verified next, where it has a verification.
    fn mark(&mut self, evidence: String, outputs: Map<String, Value>) {
        let step = self.step().id.clone();
        self.record(vec![Event::StepMarked { step, evidence, outputs }]);
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

    /// Says whether this driver decides about the failure: the runbook tolerates it, or a person is to be asked.
    pub(super) fn decides(&self) -> bool {
        // A gate before go that was not met ends there: skipping it would be going on against it.
        let gate_before_go = self.step().is_gate() && self.armed.is_none();
        let asks = asks(self.step(), self.state.failures, &self.settings) && !gate_before_go;
        super::state::tolerated(self.step()) || asks
    }

    /// Decides about a failed step: tolerated by the runbook, or by the operator's choice.
    pub(super) async fn decide(&mut self, error: &ActionError) -> Result<(), Park> {
        if super::state::tolerated(self.step()) {
            return self.finish(StepEnd::Failed, Map::new(), Some(error.message.clone())).await;
        }
        let question = self.failure_menu(error);
        let Answer::Menu { choice, reason, outputs: given } = self.ask(question).await? else {
            return Err(Park::Kept);
        };
        let why = reason.unwrap_or_default();
        match choice {
            FailureChoice::Retry => {
                (self.uncounted, self.throttled) = (0, 0);
                let step = self.step().id.clone();
                self.record(vec![Event::StepReopened {
                    step,
                    why: "an operator retries it".to_owned(),
                }]);
                Ok(())
            }
            FailureChoice::Skip => {
                self.leave_skipped(&why);
                self.finish(StepEnd::Omitted, given, Some(format!("skipped: {why}"))).await
            }
            FailureChoice::MarkDone => {
                let wanted = outputs::wanted(&self.plan, &self.step().id);
                if let Some(absent) = wanted.iter().find(|output| !given.contains_key(&output.name))
                {
                    let step = &self.step().id;
                    let what = format!("output `{}` of `{step}`, which is used later", absent.name);
                    return Err(Park::Missing(what));
                }
                self.mark(why, given);
                Ok(())
            }
            FailureChoice::Another => {
                let why = format!("an operator chose it after `{}` failed", self.step().id);
                Err(Park::Another { step: self.index, why })
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
        let outputs = outputs::wanted(&self.plan, &self.step().id);
        // What the state of the run does not allow is taken out when the question is put.
        let options = vec![
            option(FailureChoice::Retry, "look again and retry"),
            option(
                FailureChoice::Another,
                "take back what this method did, then choose another one",
            ),
            option(FailureChoice::Skip, "skip it, with a reason"),
            MenuOption {
                outputs,
                ..option(
                    FailureChoice::MarkDone,
                    "it is done by hand, with evidence; it is verified",
                )
            },
            option(FailureChoice::Rollback, "roll back what this run changed"),
            option(FailureChoice::Stop, "stop here and keep everything as it is"),
        ];
        let key =
            QuestionKey::Failure { step: self.step().id.clone(), failures: self.state.failures };
        let title = format!("Failed: {}", self.step().title);
        let mut question = self.question(key, title, AnswerForm::Menu { options });
        // Whoever marks it done must be able to do it.
        question.commands.clone_from(&self.commands);
        question.lines.push(error.message.clone());
        question.lines.extend(error.hint.clone());
        question.lines.push(match self.state.effect {
            Effect::None => "Nothing was changed by it.".to_owned(),
            Effect::Unknown => "It is not known whether it changed anything.".to_owned(),
            Effect::Applied => "It has changed something.".to_owned(),
        });
        question
    }
}

/// Marks the candidate whose loss was refused.
fn refuse(choices: &mut [Candidate], id: &str) {
    for candidate in choices.iter_mut().filter(|candidate| candidate.id == id) {
        candidate.unusable = Some("its loss was refused".to_owned());
    }
}

/// Returns the names of the candidates that can be taken: a choice stands while they are the same.
fn usable(candidates: &[Candidate]) -> String {
    let usable = candidates.iter().filter(|candidate| candidate.unusable.is_none());
    usable.map(|candidate| candidate.id.as_str()).collect::<Vec<_>>().join(",")
}
