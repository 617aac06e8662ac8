//! Answers given beforehand, by flags and an answers file. Pure.
//!
//! What is given answers only what it names: `--yes` covers ordinary approvals, never a point of no return, a loss, a
//! choice, a waiver, work by hand or what to do after a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::event::{
    Answer, AnswerForm, FailureChoice, MenuOption, Mode, Question, QuestionKey, RunSettings,
};
use crate::ids::StepId;
use crate::outcome::Candidate;
use crate::plan::outputs::WantedOutput;
use crate::plan::{Approval, Plan};
use crate::report::words;
use crate::runbook::near;
use crate::span::{Span, SpanError};

/// `--approve all`, in rehearsals.
const ALL: &str = "all";

/// Answers given beforehand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// `--yes`: go and ordinary approvals
    pub yes: bool,
    /// `--approve STEP`, repeatable; `all` in rehearsals only
    pub approve: BTreeSet<String>,
    /// `--accept-loss SPAN`
    pub accept_loss: Option<AcceptedLoss>,
    /// `--recovery-point ID`
    pub recovery_point: Option<String>,
    /// `--override STEP=REASON`
    pub overrides: BTreeMap<String, String>,
    /// `--waive STEP=WORD`
    pub waive: BTreeMap<String, String>,
    /// `--answers FILE`: by the question's name, e.g. `go`, `approve:database`
    pub answers: BTreeMap<String, String>,
    /// Steps `--yes` does not cover, however they are asked about: points of no return
    pub by_name_only: BTreeSet<StepId>,
}

/// The most data an operator accepts to lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcceptedLoss {
    AtMost(Span),
    /// `unknown`: even when the loss cannot be measured
    Unknown,
}

impl FromStr for AcceptedLoss {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim() == "unknown" { Ok(Self::Unknown) } else { text.parse().map(Self::AtMost) }
    }
}

impl AcceptedLoss {
    /// Says whether a loss, `None` when nobody could measure it, is accepted.
    pub(crate) fn covers(self, loss: Option<Span>) -> bool {
        match (self, loss) {
            (Self::AtMost(most), Some(loss)) => loss <= most,
            (Self::AtMost(_), None) => false,
            (Self::Unknown, _) => true,
        }
    }
}

impl Given {
    /// Keeps `--yes` away from what a plan's steps do not take back by themselves, and from what must be typed.
    pub(crate) fn guard(&mut self, plan: &Plan) {
        let guarded = plan.steps.iter().filter(|step| {
            step.point_of_no_return || matches!(step.approve, Approval::Typed { .. })
        });
        self.by_name_only.extend(guarded.map(|step| step.id.clone()));
    }

    /// Says whether a step is approved by name.
    pub(crate) fn approves(&self, step: &StepId, mode: Mode) -> bool {
        let all = mode == Mode::Rehearsal && self.approve.contains(ALL);
        all || self.approve.contains(&step.0)
    }

    /// Returns what is wrong with what was given, for exit 2: names that do not exist, `all` outside a rehearsal.
    pub(crate) fn problems(&self, plan: &Plan, mode: Mode) -> Vec<String> {
        let mut problems = Vec::new();
        if mode != Mode::Rehearsal && self.approve.contains(ALL) {
            problems.push(
                "--approve all is for rehearsals only; name each step: --approve STEP".to_owned(),
            );
        }
        let approved = self.approve.iter().filter(|id| *id != ALL).map(|id| ("--approve", id));
        let named = approved
            .chain(self.overrides.keys().map(|id| ("--override", id)))
            .chain(self.waive.keys().map(|id| ("--waive", id)));
        for (flag, id) in named {
            if !plan.steps.iter().any(|step| step.id.0 == *id) {
                problems.push(format!("{flag} {id}: no such step{}", near(plan, id)));
            }
        }
        for (step, reason) in &self.overrides {
            if reason.trim().is_empty() {
                problems.push(format!("--override {step}= needs a reason after the `=`"));
            }
        }
        problems.extend(self.answers.keys().filter_map(|key| unknown_key(plan, key)));
        problems
    }
}

impl Given {
    /// Writes into a run's settings which failures are answered beforehand: with nobody to ask, only these are asked
    /// about.
    pub(crate) fn settle(&self, settings: RunSettings) -> RunSettings {
        let of = |kind: &str| {
            let answered = self.answers.keys().filter_map(|key| failure(key, kind));
            answered.collect::<BTreeSet<_>>()
        };
        RunSettings {
            failures_answered: of("failure"),
            reverts_answered: of("revert_failure"),
            ..settings
        }
    }
}

/// Returns the failure that an answer of this kind is for: `failure:STEP` is the step's first one.
fn failure(key: &str, kind: &str) -> Option<(StepId, u32)> {
    let rest = key.strip_prefix(kind)?.strip_prefix(':')?;
    match rest.split_once(':') {
        Some((step, number)) => Some((StepId::from(step), number.parse().ok()?)),
        None => Some((StepId::from(rest), 1)),
    }
}

fn near(plan: &Plan, id: &str) -> String {
    let known = plan.steps.iter().map(|step| step.id.0.as_str());
    near::hint(id, known).map_or_else(String::new, |hint| format!("; {hint}"))
}

fn unknown_key(plan: &Plan, key: &str) -> Option<String> {
    let mut parts = key.splitn(3, ':');
    let kind = parts.next().unwrap_or_default();
    match (kind, parts.next()) {
        ("go" | "rollback" | "alone", None) => None,
        (
            "choice" | "loss" | "approve" | "override" | "waive" | "failure" | "revert_failure"
            | "past" | "manual",
            Some(step),
        ) => {
            if let Some(number) = parts.next().filter(|_| failure(key, kind).is_none()) {
                return Some(format!("answer `{key}`: `{number}` is not the number of a failure"));
            }
            let known = plan.steps.iter().any(|planned| planned.id.0 == step);
            (!known).then(|| format!("answer `{key}`: no such step{}", near(plan, step)))
        }
        _ => Some(format!(
            "answer `{key}` answers nothing; names are go, rollback, alone, approve:STEP, choice:STEP, \
             loss:STEP, override:STEP, waive:STEP, manual:STEP, failure:STEP, \
             revert_failure:STEP and past:STEP"
        )),
    }
}

/// Returns a question's name in an answers file; a step's second failure is `failure:STEP:2`.
pub(crate) fn name(key: &QuestionKey) -> String {
    let kind = words::key_name(key);
    let again = match key {
        QuestionKey::Failure { failures, .. } | QuestionKey::RevertFailure { failures, .. }
            if *failures > 1 =>
        {
            format!(":{failures}")
        }
        QuestionKey::Go
        | QuestionKey::Blocked
        | QuestionKey::Rollback
        | QuestionKey::Choice { .. }
        | QuestionKey::Loss { .. }
        | QuestionKey::Approve { .. }
        | QuestionKey::Override { .. }
        | QuestionKey::Waive { .. }
        | QuestionKey::Failure { .. }
        | QuestionKey::RevertFailure { .. }
        | QuestionKey::Past { .. }
        | QuestionKey::Manual { .. }
        | QuestionKey::Alone
        | QuestionKey::Credentials { .. } => String::new(),
    };
    match words::key_step(key) {
        Some(step) => format!("{kind}:{step}{again}"),
        None => kind.to_owned(),
    }
}

/// Returns the answer that was given beforehand; `None` where none was, or it does not fit.
pub(crate) fn answer(given: &Given, question: &Question, mode: Mode) -> Option<Answer> {
    if let Some(text) = given.answers.get(&name(&question.key)) {
        return read(text, question);
    }
    match &question.key {
        QuestionKey::Go | QuestionKey::Rollback => given.yes.then_some(Answer::Yes),
        QuestionKey::Approve { step, .. } => {
            let named = given.approves(step, mode);
            match &question.form {
                AnswerForm::YesNo => {
                    let covered = given.yes && !given.by_name_only.contains(step);
                    (named || covered).then_some(Answer::Yes)
                }
                AnswerForm::Type { word } => named.then(|| Answer::Typed { text: word.clone() }),
                AnswerForm::Reason
                | AnswerForm::Candidates { .. }
                | AnswerForm::Menu { .. }
                | AnswerForm::Evidence { .. } => None,
            }
        }
        QuestionKey::Choice { .. } => chosen(given.recovery_point.as_deref()?, question),
        QuestionKey::Loss { .. } => {
            let AnswerForm::Type { word } = &question.form else { return None };
            let covered = given.accept_loss?.covers(loss(word));
            covered.then(|| Answer::Typed { text: word.clone() })
        }
        QuestionKey::Override { step } => {
            let reason = given.overrides.get(&step.0).filter(|reason| !reason.trim().is_empty())?;
            Some(Answer::Typed { text: reason.clone() })
        }
        QuestionKey::Waive { step } => {
            let AnswerForm::Type { word } = &question.form else { return None };
            let typed = given.waive.get(&step.0)?;
            (typed == word).then(|| Answer::Typed { text: word.clone() })
        }
        QuestionKey::Blocked
        | QuestionKey::Failure { .. }
        | QuestionKey::RevertFailure { .. }
        | QuestionKey::Past { .. }
        | QuestionKey::Manual { .. }
        | QuestionKey::Alone
        | QuestionKey::Credentials { .. } => None,
    }
}

/// Returns the loss a word such as `lose 42m` accepts; `None` for `lose unknown`.
pub(crate) fn loss(word: &str) -> Option<Span> {
    word.rsplit(' ').next()?.parse().ok()
}

/// Reads an answers file's text as this question's form wants it.
fn read(text: &str, question: &Question) -> Option<Answer> {
    let text = text.trim();
    match &question.form {
        AnswerForm::YesNo => match text.to_ascii_lowercase().as_str() {
            "y" | "yes" | "true" => Some(Answer::Yes),
            "n" | "no" | "false" => Some(Answer::No),
            _ => None,
        },
        AnswerForm::Type { word } => (text == word).then(|| Answer::Typed { text: word.clone() }),
        AnswerForm::Reason | AnswerForm::Evidence { .. } => {
            (!text.is_empty()).then(|| Answer::Typed { text: text.to_owned() })
        }
        AnswerForm::Candidates { .. } => chosen(text, question),
        AnswerForm::Menu { options } => way(text, options),
    }
}

fn chosen(id: &str, question: &Question) -> Option<Answer> {
    let AnswerForm::Candidates { candidates, .. } = &question.form else { return None };
    let usable = |candidate: &&Candidate| candidate.id == id && candidate.unusable.is_none();
    candidates.iter().find(usable).map(|candidate| Answer::Chosen { id: candidate.id.clone() })
}

/// Reads `retry`, `skip: the reason` or `mark done: the evidence; name=value; name=value`.
fn way(text: &str, options: &[MenuOption]) -> Option<Answer> {
    let (name, rest) = match text.split_once(':') {
        Some((name, rest)) => (name.trim(), rest.trim()),
        None => (text, ""),
    };
    let option = options.iter().find(|option| words::way(option.choice) == name)?;
    let (rest, outputs) = outputs(rest, &option.outputs)?;
    let reason = (!rest.is_empty()).then(|| rest.to_owned());
    match option.choice {
        // Both are on record with why.
        FailureChoice::Skip | FailureChoice::MarkDone if reason.is_none() => None,
        FailureChoice::Retry
        | FailureChoice::Another
        | FailureChoice::Skip
        | FailureChoice::MarkDone
        | FailureChoice::Rollback
        | FailureChoice::Stop => Some(Answer::Menu { choice: option.choice, reason, outputs }),
    }
}

/// Takes `; name=value` for every wanted output off the end of a text; `None` where one is missing or does not fit.
fn outputs<'a>(text: &'a str, wanted: &[WantedOutput]) -> Option<(&'a str, Map<String, Value>)> {
    let mut rest = text;
    let mut outputs = Map::new();
    while outputs.len() < wanted.len() {
        let (before, last) = rest.rsplit_once(';')?;
        let (name, value) = last.split_once('=')?;
        let output = wanted.iter().find(|output| output.name == name.trim())?;
        outputs.insert(output.name.clone(), output.read(value).ok()?);
        rest = before.trim_end();
    }
    Some((rest, outputs))
}

#[cfg(test)]
#[path = "scripted_tests.rs"]
mod tests;
