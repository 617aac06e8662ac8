//! Nobody to ask: every question that was not answered beforehand is refused, naming what to add.

use futures::future::BoxFuture;

use super::scripted::{Given, loss, name};
use crate::engine::ports::Operator;
use crate::event::{Answer, AnswerForm, FailureChoice, MenuOption, Question, QuestionKey};
use crate::outcome::Candidate;
use crate::report::text::about;
use crate::report::words;

/// Answers in place of a person who is not there: never yes.
pub(crate) struct Refusal {
    pub given: Given,
}

impl Operator for Refusal {
    fn ask<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Answer> {
        Box::pin(async move { refuse(&self.given, question) })
    }
}

/// Returns the answer where nobody can be asked.
pub(crate) fn refuse(given: &Given, question: &Question) -> Answer {
    match &question.key {
        // What follows a failure is decided by `--on-failure`; credentials can be renewed and the run resumed.
        QuestionKey::Failure { .. }
        | QuestionKey::RevertFailure { .. }
        | QuestionKey::Credentials { .. } => {
            Answer::Nobody { why: "this run is not interactive".to_owned() }
        }
        // No flag starts what preflight says cannot be started.
        QuestionKey::Blocked => {
            Answer::Nobody { why: "preflight found something that blocks".to_owned() }
        }
        QuestionKey::Choice { .. } => match best(given, question) {
            Some(id) => Answer::Chosen { id },
            None => Answer::Missing { flag: flag(given, question) },
        },
        QuestionKey::Go
        | QuestionKey::Rollback
        | QuestionKey::Loss { .. }
        | QuestionKey::Approve { .. }
        | QuestionKey::Override { .. }
        | QuestionKey::Waive { .. }
        | QuestionKey::Past { .. }
        | QuestionKey::Manual { .. }
        | QuestionKey::Alone => Answer::Missing { flag: flag(given, question) },
    }
}

/// Returns the candidate to take where nobody chose: the one the question names best, unless a choice was given that
/// does not fit.
fn best(given: &Given, question: &Question) -> Option<String> {
    let AnswerForm::Candidates { best, .. } = &question.form else { return None };
    let misfit = given.recovery_point.is_some() || given.answers.contains_key(&name(&question.key));
    best.clone().filter(|_| !misfit)
}

/// Returns what to add so that a question is answered, with what is wrong about what was given.
pub(crate) fn flag(given: &Given, question: &Question) -> String {
    let key = name(&question.key);
    if given.answers.contains_key(&key) {
        return format!("another answer for `{key}` to the answers file: {}", wanted(question));
    }
    let word = match &question.form {
        AnswerForm::Type { word } => Some(word.as_str()),
        AnswerForm::YesNo
        | AnswerForm::Reason
        | AnswerForm::Candidates { .. }
        | AnswerForm::Menu { .. }
        | AnswerForm::Evidence { .. } => None,
    };
    match &question.key {
        QuestionKey::Go | QuestionKey::Rollback => "--yes".to_owned(),
        QuestionKey::Approve { step, .. } => {
            if word.is_none() && !given.by_name_only.contains(step) {
                format!("--yes or --approve {step}")
            } else {
                format!("--approve {step}")
            }
        }
        QuestionKey::Choice { .. } => {
            let rest = not_taken(given, question);
            format!("--recovery-point ID, {}{rest}", wanted(question))
        }
        QuestionKey::Loss { .. } => {
            let span = word.and_then(loss).map(|span| span.to_string());
            format!("--accept-loss {}", span.as_deref().unwrap_or("unknown"))
        }
        QuestionKey::Override { step } => format!("--override '{step}=REASON'"),
        QuestionKey::Waive { step } => format!("--waive {step}={}", word.unwrap_or("WORD")),
        QuestionKey::Past { .. }
        | QuestionKey::Manual { .. }
        | QuestionKey::Alone
        | QuestionKey::Blocked
        | QuestionKey::Failure { .. }
        | QuestionKey::RevertFailure { .. }
        | QuestionKey::Credentials { .. } => {
            format!("--answers FILE with `{key}`: {}", wanted(question))
        }
    }
}

/// Returns why the recovery point that was named, or one that the estate names, is not the answer.
fn not_taken(given: &Given, question: &Question) -> String {
    let AnswerForm::Candidates { candidates, .. } = &question.form else { return String::new() };
    let named = |found: &&Candidate| Some(&found.id) == given.recovery_point.as_ref();
    let found = candidates.iter().find(named).or_else(|| candidates.iter().find(|c| c.absent));
    match (found, &given.recovery_point) {
        (Some(Candidate { id, unusable: Some(why), .. }), _) => {
            format!("; `{id}` cannot be taken: {why}")
        }
        (_, Some(id)) => format!("; `{id}` cannot be taken"),
        (_, None) => String::new(),
    }
}

/// Returns how a way on is written in an answers file.
fn way(option: &MenuOption) -> String {
    let name = words::way(option.choice);
    let rest = match option.choice {
        FailureChoice::Skip => ": REASON",
        FailureChoice::MarkDone => ": EVIDENCE",
        FailureChoice::Retry
        | FailureChoice::Another
        | FailureChoice::Rollback
        | FailureChoice::Stop => "",
    };
    let outputs = option.outputs.iter().map(|output| format!("; {}=VALUE", output.name));
    format!("{name}{rest}{}", outputs.collect::<String>())
}

/// Says what a candidate costs.
fn cost(candidate: &Candidate) -> String {
    let Candidate { id, loss, forecast, reversible, .. } = candidate;
    let loses = loss.map_or("an unknown loss".to_owned(), |loss| format!("loses {}", about(loss)));
    let takes =
        forecast.map_or("an unknown time".to_owned(), |time| format!("takes {}", about(time)));
    let undo = if *reversible { "can be undone" } else { "cannot be undone" };
    format!("{id} {loses}, {takes}, {undo}")
}

/// Returns what answers a question.
fn wanted(question: &Question) -> String {
    match &question.form {
        AnswerForm::YesNo => "yes or no".to_owned(),
        AnswerForm::Type { word } => format!("exactly `{word}`"),
        AnswerForm::Reason => "a reason, in a sentence".to_owned(),
        AnswerForm::Evidence { prompt } => prompt.clone(),
        AnswerForm::Candidates { candidates, .. } => {
            let usable = candidates.iter().filter(|candidate| candidate.unusable.is_none());
            let (ids, costs): (Vec<&str>, Vec<String>) =
                usable.map(|candidate| (candidate.id.as_str(), cost(candidate))).unzip();
            if ids.is_empty() {
                "but none can be taken".to_owned()
            } else {
                format!("one of {}: {}", ids.join(", "), costs.join("; "))
            }
        }
        AnswerForm::Menu { options } => {
            let ways: Vec<String> = options.iter().map(way).collect();
            format!("one of {}", ways.join(" | "))
        }
    }
}
