//! The timeline of a rehearsal: how long each step took, what one that failed failed with, and what was taken back.

use jiff::Timestamp;
use serde::Serialize;

use super::whole;
use crate::clock::since;
use crate::event::{Event, Record, RevertResult};
use crate::ids::StepId;
use crate::outcome::StepEnd;
use crate::report::text;
use crate::report::view::ViewState;
use crate::span::Span;

/// Lines of the timeline, at most.
const LINES_MAX: usize = 60;

/// A step that took time, or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Took {
    pub step: String,
    /// Since the run began
    pub after: Span,
    pub length: Span,
    pub attempts: u32,
    /// From the first attempt to the last one's start
    pub retries: Span,
    /// It ended; what did not is counted up to a rollback, or as far as there are records
    pub finished: bool,
    /// How it ended
    pub end: Option<StepEnd>,
    /// What it failed with, where it did and nothing has mended that since
    pub failed: Option<String>,
}

/// A step whose change was to be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TakenBack {
    pub step: String,
    /// Since the run began
    pub after: Span,
    pub length: Span,
    /// What came of it, as a word; `None` where it did not end
    pub result: Option<&'static str>,
    /// Why, where it is not as it was
    pub why: Option<String>,
}

/// Returns the steps of a run that took time or failed, in the order they began.
pub(super) fn steps(records: &[Record], start: Timestamp) -> Vec<Took> {
    let view = ViewState::fold(records);
    let mut taken = Vec::new();
    for step in view.plan.iter().flat_map(|plan| &plan.steps) {
        let told = |took: &Took| took.length.0.as_secs() > 0 || took.failed.is_some();
        taken.extend(took(records, start, &step.id).filter(told));
    }
    taken.sort_by_key(|took| took.after);
    taken
}

fn took(records: &[Record], start: Timestamp, step: &StepId) -> Option<Took> {
    let (mut began, mut last, mut attempts) = (None, None, 0);
    let (mut ended, mut given_up) = (None, None);
    let (mut end, mut failed, mut failed_at) = (None, None, None);
    for record in records {
        match &record.event {
            Event::StepStarted { step: id, .. } if id == step => {
                began.get_or_insert(record.time);
                last = Some(record.time);
                attempts += 1;
                (ended, given_up) = (None, None);
                (end, failed) = (None, None);
            }
            Event::StepFailed { step: id, error } if id == step => {
                failed = Some(error.message.clone());
                failed_at.get_or_insert(record.time);
            }
            Event::StepFinished { step: id, end: how, reason, .. } if id == step => {
                ended = Some(record.time);
                end = Some(*how);
                failed = match how {
                    StepEnd::Failed => reason.clone().or(failed),
                    _ if how.satisfies() => None,
                    _ => failed,
                };
            }
            // What undoing it and the others takes is not the step's time.
            Event::RollbackStarted { .. } if ended.is_none() => {
                given_up.get_or_insert(record.time);
            }
            _ => {}
        }
    }
    // One that failed before its first attempt, as a gate does, has no time of its own.
    let at = failed.as_ref().and(failed_at.or(ended));
    let (began, last, timed) = match (began.zip(last), at) {
        (Some((began, last)), _) => (began, last, true),
        (None, Some(at)) => (at, at, false),
        (None, None) => return None,
    };
    let until = given_up.or(ended).or_else(|| records.last().map(|record| record.time))?;
    let until = if timed { until } else { began };
    Some(Took {
        step: step.0.clone(),
        after: whole(since(start, began)),
        length: whole(since(began, until)),
        attempts,
        retries: whole(since(began, last)),
        finished: ended.is_some() && given_up.is_none(),
        end,
        failed,
    })
}

/// Returns what was to be taken back, in the order it was begun. What is kept by the runbook's word was never begun.
pub(super) fn reverts(records: &[Record], start: Timestamp) -> Vec<TakenBack> {
    let mut all: Vec<(Timestamp, TakenBack)> = Vec::new();
    for record in records {
        let of = |step: &StepId| TakenBack {
            step: step.0.clone(),
            after: whole(since(start, record.time)),
            length: Span::default(),
            result: None,
            why: None,
        };
        match &record.event {
            Event::RevertStarted { step, .. } => all.push((record.time, of(step))),
            Event::RevertFinished { step, result } => {
                let open = |(_, back): &&mut (Timestamp, TakenBack)| {
                    back.step == step.0 && back.result.is_none()
                };
                let (word, why) = came_of(result);
                if let Some((began, back)) = all.iter_mut().find(open) {
                    back.length = whole(since(*began, record.time));
                    (back.result, back.why) = (Some(word), why);
                } else if !matches!(result, RevertResult::Kept { .. }) {
                    all.push((record.time, TakenBack { result: Some(word), why, ..of(step) }));
                }
            }
            _ => {}
        }
    }
    all.into_iter().map(|(_, back)| back).collect()
}

/// Returns what came of a revert as a word, and why where the change stays.
fn came_of(result: &RevertResult) -> (&'static str, Option<String>) {
    match result {
        RevertResult::Reverted => ("reverted", None),
        RevertResult::AlreadyBefore => ("already_before", None),
        RevertResult::Kept { why } => ("kept", Some(why.clone())),
        RevertResult::Skipped { reason } => ("skipped", Some(reason.clone())),
        RevertResult::Failed { error } => ("failed", Some(error.message.clone())),
        RevertResult::Conflict { .. } => {
            ("conflict", Some("somebody else has changed it since".to_owned()))
        }
    }
}

impl Took {
    fn said(&self, longest: Option<Span>) -> String {
        let tries = match self.attempts {
            0 | 1 => String::new(),
            attempts => format!(", {attempts} attempts, {} of it before the last", self.retries),
        };
        let open = if self.finished { "" } else { ", not finished" };
        let most = if Some(self.length) == longest { ", the longest" } else { "" };
        let failed = self.failed.as_ref().map(|why| format!(", FAILED: {why}"));
        let failed = failed.unwrap_or_default();
        format!("after {}: {} {}{open}{tries}{most}{failed}", self.after, self.step, self.length)
    }
}

impl TakenBack {
    fn said(&self) -> String {
        let how = match self.result {
            None => "being taken back, not finished",
            Some("reverted") => "taken back",
            Some("already_before") => "was as before already",
            Some(_) => "NOT taken back",
        };
        let why = self.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("after {}: {} {how}, {}{why}", self.after, self.step, self.length)
    }
}

/// Adds the timeline to the rows of a debrief.
pub(super) fn rows(steps: &[Took], reverts: &[TakenBack], row: &mut dyn FnMut(&str, String)) {
    let longest = steps.iter().map(|took| took.length).max().filter(|most| most.0.as_secs() > 0);
    let mut all: Vec<(Span, String)> =
        steps.iter().map(|took| (took.after, took.said(longest))).collect();
    all.extend(reverts.iter().map(|back| (back.after, back.said())));
    all.sort_by_key(|(after, _)| *after);
    let more = all.len().saturating_sub(LINES_MAX);
    for (index, (_, said)) in all.into_iter().take(LINES_MAX).enumerate() {
        row(if index == 0 { "Timeline" } else { "" }, said);
    }
    if more > 0 {
        row("", format!("and {}: phoenix-dr audit lists them", text::count(more, "more line")));
    }
}
