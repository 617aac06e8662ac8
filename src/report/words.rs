//! One wording for each closed set of the vocabulary, used by every screen.

use serde_json::Value;

use super::terminal::Weight;
use crate::event::{Answer, FailureChoice, Mode, QuestionKey, RollbackScope, RunEnd};
use crate::ids::StepId;
use crate::outcome::{Effect, Fidelity, StepEnd, TELLS, Verdict, WARNS};

/// Begins what a rehearsal puts on a screen, where nothing else there says it first.
pub(crate) const PRACTICE: &str =
    "REHEARSAL: practice in a simulated estate, nothing real is touched";

/// Ends what a rehearsal puts on a screen: its beginning may have gone by.
pub(crate) const NOT_REAL: &str =
    "REHEARSAL: none of this is real; lines for aws, kubectl or psql would act LIVE";

/// Stands above commands that a rehearsal shows: they are those of the day itself.
pub(crate) const NOT_HERE: &str =
    "# REHEARSAL: in a shell these act on the LIVE estate, not on this simulation";

/// Returns what is said of a hint or of a way to close something, which may have a command in it: whoever pastes one
/// from a rehearsal has left the simulation.
pub(crate) const fn if_pasted(mode: Option<Mode>) -> &'static str {
    match mode {
        Some(Mode::Rehearsal) => " (REHEARSAL: in a shell it would act LIVE)",
        Some(Mode::Live | Mode::DryRun) | None => "",
    }
}

/// Returns what an attempt did with how much each of it weighs, what is for everybody first.
pub(super) fn notes(notes: &[String]) -> Vec<(Weight, &str)> {
    let weight = |note: &String| match note.starts_with(WARNS) || note.starts_with(TELLS) {
        true => Weight::Normal,
        false => Weight::Detail,
    };
    let weighed = notes.iter().map(|note| (weight(note), plain(note)));
    let (first, then): (Vec<_>, Vec<_>) =
        weighed.partition(|(weight, _)| *weight == Weight::Normal);
    first.into_iter().chain(then).collect()
}

/// Returns a note as it is read: what marks a warning stays, what only says that it is for everybody does not.
pub(super) fn plain(note: &str) -> &str {
    note.strip_prefix(TELLS).unwrap_or(note)
}

/// Returns how a run treats the world, as screens show it.
pub(crate) const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Live => "LIVE",
        Mode::DryRun => "DRY RUN",
        Mode::Rehearsal => "REHEARSAL",
    }
}

/// Returns what is known to have changed, as a sentence without its full stop.
pub(crate) const fn changed(effect: Effect) -> &'static str {
    match effect {
        Effect::None => "Nothing was changed by it",
        Effect::Unknown => "It is not known whether it changed anything",
        Effect::Applied => "It did change something",
    }
}

/// Returns a verdict as the end of a sentence about several checks.
pub(crate) const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Fails => "does not hold",
        Verdict::Inconclusive => "is inconclusive: the checks themselves could not tell",
    }
}

/// Returns a verdict as one word of a table.
pub(crate) const fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Fails => "FAILS",
        Verdict::Inconclusive => "no vote",
    }
}

/// Returns a step's end as the word that opens its line.
pub(crate) const fn step_end(end: StepEnd) -> &'static str {
    match end {
        StepEnd::Done => "ok",
        StepEnd::Satisfied => "same",
        StepEnd::Skipped | StepEnd::Omitted => "skip",
        StepEnd::Marked => "hand",
        StepEnd::Waived => "waive",
        StepEnd::Failed => "FAIL",
        StepEnd::NotRun => "not",
    }
}

/// Returns what a step's end means where its word does not say it and no reason was given.
pub(crate) const fn step_end_note(end: StepEnd) -> &'static str {
    match end {
        StepEnd::Done => "",
        StepEnd::Satisfied => ": was as it should be already",
        StepEnd::Skipped => ": not needed",
        StepEnd::Omitted => ": skipped by an operator",
        StepEnd::Marked => ": done by hand",
        StepEnd::Waived => ": gone on without it",
        StepEnd::Failed => ": failed",
        StepEnd::NotRun => ": was not started",
    }
}

/// Returns how a run ended for good.
pub(crate) const fn run_end(end: RunEnd) -> &'static str {
    match end {
        RunEnd::Restored => "restored and verified",
        RunEnd::WithExceptions => "completed with exceptions",
        RunEnd::RolledBack => "failed; everything was rolled back and verified",
        RunEnd::FailedUnchanged => "failed; nothing was changed",
        RunEnd::ChangesLeft => "failed; changes are left in place",
        RunEnd::NotStarted => "not started; nothing was changed",
    }
}

/// Returns how far a dry run could look, with what that means.
pub(crate) const fn fidelity(fidelity: Fidelity) -> &'static str {
    match fidelity {
        Fidelity::Unreachable => "unreachable",
        Fidelity::Printed => "printed",
        Fidelity::Resolved => "resolved",
        Fidelity::Observed => "observed",
        Fidelity::Validated => "validated",
    }
}

/// Returns an answer as the log says it.
pub(crate) fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Yes => "yes".to_owned(),
        Answer::No => "no".to_owned(),
        Answer::Typed { text } => format!("typed `{text}`"),
        Answer::Chosen { id } => format!("chose {id}"),
        Answer::Menu { choice, reason: Some(reason), .. } => format!("{}: {reason}", way(*choice)),
        Answer::Menu { choice, reason: None, .. } => way(*choice).to_owned(),
        Answer::Recheck => "look again".to_owned(),
        Answer::Began { at } => format!("the incident began {at}"),
        Answer::Nobody { why } => format!("nobody answered: {why}"),
        Answer::Missing { flag } => format!("no answer was given; add {flag}"),
    }
}

/// Returns a way on after a failure, as the menu and the log name it.
pub(crate) const fn way(choice: FailureChoice) -> &'static str {
    match choice {
        FailureChoice::Retry => "retry",
        FailureChoice::Another => "another method",
        FailureChoice::Skip => "skip",
        FailureChoice::MarkDone => "mark done",
        FailureChoice::Rollback => "roll back",
        FailureChoice::Stop => "stop and keep",
    }
}

/// Returns what a rollback is about, and what it does.
pub(crate) fn rollback(scope: &RollbackScope) -> (&str, &'static str) {
    match scope {
        RollbackScope::Run => ("run", "rolling back"),
        RollbackScope::Past { step } => {
            (step.0.as_str(), "reverting this step only, past a point of no return")
        }
        RollbackScope::Another { choosing } => {
            (choosing.0.as_str(), "another method is to be chosen; taking back this one")
        }
    }
}

/// Returns the kind of a question, as answers files and logs name it.
pub(crate) const fn key_name(key: &QuestionKey) -> &'static str {
    match key {
        QuestionKey::Go => "go",
        QuestionKey::Blocked => "blocked",
        QuestionKey::Rollback => "rollback",
        QuestionKey::Choice { .. } => "choice",
        QuestionKey::Loss { .. } => "loss",
        QuestionKey::Approve { .. } => "approve",
        QuestionKey::Override { .. } => "override",
        QuestionKey::Waive { .. } => "waive",
        QuestionKey::Failure { .. } => "failure",
        QuestionKey::RevertFailure { .. } => "revert_failure",
        QuestionKey::Past { .. } => "past",
        QuestionKey::Manual { .. } => "manual",
        QuestionKey::Alone => "alone",
        QuestionKey::Credentials { .. } => "credentials",
    }
}

/// Returns the step a question is about.
pub(crate) const fn key_step(key: &QuestionKey) -> Option<&StepId> {
    match key {
        QuestionKey::Choice { step, .. }
        | QuestionKey::Loss { step, .. }
        | QuestionKey::Approve { step, .. }
        | QuestionKey::Override { step }
        | QuestionKey::Waive { step }
        | QuestionKey::Failure { step, .. }
        | QuestionKey::RevertFailure { step, .. }
        | QuestionKey::Past { step }
        | QuestionKey::Manual { step }
        | QuestionKey::Credentials { step } => Some(step),
        QuestionKey::Go | QuestionKey::Blocked | QuestionKey::Rollback | QuestionKey::Alone => None,
    }
}

/// Returns a state as words: `reachable: no, fenced: yes`.
pub(crate) fn state(state: &Value) -> String {
    match state {
        Value::Null => "nothing".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(self::state).collect::<Vec<_>>().join(", "),
        Value::Object(entries) => {
            let parts = entries.iter().map(|(name, value)| {
                let inner = self::state(value);
                let inner = if value.is_object() { format!("({inner})") } else { inner };
                format!("{}: {inner}", name.replace('_', " "))
            });
            parts.collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_everybody_comes_first_and_a_warning_stays_marked() {
        let said = ["read 3 files", "! one is missing", "= all of it is sound"].map(str::to_owned);
        let expected = [
            (Weight::Normal, "! one is missing"),
            (Weight::Normal, "all of it is sound"),
            (Weight::Detail, "read 3 files"),
        ];
        assert_eq!(notes(&said), expected);
    }
}
