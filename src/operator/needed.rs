//! Every answer a plan can need that nothing gives: told all at once, before anything changes.

use super::scripted::{Given, answer};
use super::{refuse, scripted};
use crate::engine::asking::ALONE;
use crate::engine::state::{RunState, keeps};
use crate::event::{Answer, AnswerForm, Mode, Question, QuestionKey};
use crate::outcome::{Candidate, Verdict};
use crate::plan::{Approval, Body, Plan, PlannedStep};
use crate::report::plan_view::{DryRunStep, Found, by_step};
use crate::report::words;
use crate::span::Span;

/// A run that can ask nobody.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub plan: &'a Plan,
    pub given: &'a Given,
    /// What preflight saw, as far as it did: what is satisfied or skipped already asks nothing, and what was not seen
    /// is taken to ask everything it may. Where nobody has looked at all, nothing is concluded of what has a condition
    pub found: &'a [DryRunStep],
    pub mode: Mode,
    pub confirm_each: bool,
    /// The lease could not be read: somebody must vouch for being alone
    pub alone: bool,
    /// A run that is taken up again: what ended and what was consented to is not asked again
    pub state: Option<&'a RunState>,
}

/// Returns what to add so that a run needs nobody; empty when nothing is missing.
pub(crate) fn needed(run: &Asked<'_>) -> Vec<String> {
    let mut questions = vec![asked(QuestionKey::Go, AnswerForm::YesNo)];
    let found = by_step(run.found);
    for (at, step) in run.plan.steps.iter().enumerate() {
        if run.state.is_some_and(|state| state.steps[at].ended().is_some()) {
            continue;
        }
        let seen = found.get(&step.id).map(|seen| &seen.found);
        if run.found.is_empty() && step.when.is_some() {
            continue;
        }
        questions.extend(of_step(run, step, seen));
    }
    if run.alone {
        let form = AnswerForm::Type { word: ALONE.to_owned() };
        questions.push(asked(QuestionKey::Alone, form));
    }
    let given = run.given;
    let mut flags = Vec::new();
    for question in questions {
        let consented = run.state.is_some_and(|state| consented(state, &question.key));
        if consented || answer(given, &question, run.mode).is_some() {
            continue;
        }
        let Some(flag) = missing(given, &question) else { continue };
        if !flags.contains(&flag) {
            flags.push(flag);
        }
    }
    flags
}

/// Says whether the run has this consent already. What an approval covers is known only when it is asked: if that has
/// changed by then, it is asked again.
fn consented(state: &RunState, key: &QuestionKey) -> bool {
    let name = |key| (words::key_name(key), words::key_step(key).cloned());
    state.answers.iter().any(|(known, answer)| keeps(known, answer) && name(known) == name(key))
}

/// Returns the flag a question needs; `None` where it is decided without a person.
fn missing(given: &Given, question: &Question) -> Option<String> {
    match refuse::refuse(given, question) {
        // One `--yes` covers every ordinary approval.
        Answer::Missing { flag } => {
            Some(flag.split(" or --approve").next().unwrap_or(&flag).to_owned())
        }
        Answer::Yes
        | Answer::No
        | Answer::Typed { .. }
        | Answer::Chosen { .. }
        | Answer::Menu { .. }
        | Answer::Recheck
        | Answer::Began { .. }
        | Answer::Nobody { .. } => None,
    }
}

fn asked(key: QuestionKey, form: AnswerForm) -> Question {
    Question {
        key,
        title: String::new(),
        lines: Vec::new(),
        commands: Vec::new(),
        no_means: String::new(),
        form,
        pages: std::collections::BTreeMap::new(),
    }
}

fn of_step(run: &Asked<'_>, step: &PlannedStep, seen: Option<&Found>) -> Vec<Question> {
    let id = step.id.clone();
    let mut questions = Vec::new();
    match seen {
        Some(Found::Skipped { .. }) => return Vec::new(),
        Some(Found::State { state }) if state.satisfied => return Vec::new(),
        Some(Found::State { state }) => {
            if let Some((_, word)) = &state.waiver {
                let form = AnswerForm::Type { word: word.clone() };
                return vec![asked(QuestionKey::Waive { step: id }, form)];
            }
            if !state.choices.is_empty() {
                questions = of_choice(run.plan, run.given, step, &state.choices);
            }
        }
        Some(Found::Gate { verdict, .. }) => {
            // A gate that fails is not met, whatever is answered; only doubt can be overridden.
            let doubt = *verdict == Verdict::Inconclusive;
            let question = asked(QuestionKey::Override { step: id }, AnswerForm::Reason);
            return if doubt { vec![question] } else { Vec::new() };
        }
        // What a person does is not approved as well.
        Some(Found::ByHand { .. }) => return by_hand(step).into_iter().collect(),
        Some(Found::KnownAfter { .. } | Found::Deferred { .. } | Found::Unreachable { .. })
        | None => {}
    }
    if let Some(question) = by_hand(step) {
        return vec![question];
    }
    let key = QuestionKey::Approve { step: id.clone(), digest: String::new() };
    match &step.approve {
        Approval::Plan if run.confirm_each && step.changes => {
            questions.push(asked(key, AnswerForm::YesNo));
        }
        Approval::Plan => {}
        Approval::Each { .. } => questions.push(asked(key, AnswerForm::YesNo)),
        Approval::Typed { word, .. } => {
            questions.push(asked(key, AnswerForm::Type { word: word.clone() }));
        }
    }
    questions
}

fn of_choice(
    plan: &Plan,
    given: &Given,
    step: &PlannedStep,
    choices: &[Candidate],
) -> Vec<Question> {
    let max = plan.rto_max();
    let least = Candidate::best(choices, max);
    let loss_max: Span = plan.objectives.rpo_max;
    let form = AnswerForm::Candidates {
        candidates: choices.to_vec(),
        loss_max: Some(loss_max),
        best: least.map(|candidate| candidate.id.clone()),
    };
    let mut questions =
        vec![asked(QuestionKey::Choice { step: step.id.clone(), among: String::new() }, form)];
    let key = scripted::name(&questions[0].key);
    let named = given.answers.get(&key).or(given.recovery_point.as_ref());
    let taken = match named {
        Some(id) => choices.iter().find(|candidate| candidate.id == *id),
        None => least,
    };
    if let Some(taken) = taken.filter(|taken| taken.loss.is_none_or(|loss| loss > loss_max)) {
        let accepted = taken.loss.map(beforehand);
        let loss = accepted.map_or("unknown".to_owned(), |loss| loss.to_string());
        let form = AnswerForm::Type { word: format!("lose {loss}") };
        let (candidate, loss) = (taken.id.clone(), accepted);
        let key = QuestionKey::Loss { step: step.id.clone(), candidate, loss };
        questions.push(asked(key, form));
    }
    questions
}

/// Returns the loss to accept beforehand: by the time the choice is made more is lost, and nobody types milliseconds.
fn beforehand(loss: Span) -> Span {
    Span::seconds((loss.0.as_secs() + 120).div_ceil(300) * 300)
}

fn by_hand(step: &PlannedStep) -> Option<Question> {
    let Body::Action { action, with } = &step.body else { return None };
    let later = with.get("later").and_then(serde_json::Value::as_bool).unwrap_or(false);
    if action != "manual" || later {
        return None;
    }
    let evidence = with.get("evidence").and_then(serde_json::Value::as_str);
    let form = match evidence {
        Some(prompt) => AnswerForm::Evidence { prompt: prompt.to_owned() },
        None => AnswerForm::YesNo,
    };
    Some(asked(QuestionKey::Manual { step: step.id.clone() }, form))
}

#[cfg(test)]
#[path = "needed_tests.rs"]
mod tests;
