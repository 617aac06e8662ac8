//! The last lines of a run: result, what changed, what is still changed, what is open, the next command to type.
//!
//! From the records alone, so that a resumed, a finished and a lost run are summed up the same way.

mod lines;

use jiff::Timestamp;
use serde::Serialize;

use super::forecast::{Assume, Network, Outlook};
use super::human::objective;
use super::spent::Spent;
use super::text;
use super::view::{Ending, StepStatus, StepView, ViewState};
use super::words;
use crate::clock::since;
use crate::estate::types::Priority;
use crate::event::{Event, Mode, Record, RunEnd};
use crate::exit::Exit;
use crate::ids::{RunId, StepId};
use crate::outcome::{Effect, Obligation, StepEnd, Verdict};
use crate::plan::Body;
use crate::runbook::catalogue::actions::ActionName;
use crate::span::Span;

pub(crate) use lines::lines;
pub(super) use lines::{loss_line, newest_record, restored_cells};

/// Columns of why a step is not done.
const REASON_COLUMNS: usize = 100;

/// A run, summed up.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    pub run: RunId,
    pub mode: Mode,
    pub estate: String,
    pub runbook: String,
    pub title: String,
    /// What came of it, in a line
    pub result: String,
    /// Exit code, once the run ended or stopped
    pub exit: Option<u8>,
    pub incident_started: Timestamp,
    pub started: Timestamp,
    /// Last record, or now while the run goes on
    pub until: Timestamp,
    pub changed: Vec<ChangedStep>,
    pub still_changed: Vec<ChangedStep>,
    /// Steps that failed, were skipped by an operator or never ran
    pub not_done: Vec<ChangedStep>,
    pub obligations: Vec<Obligation>,
    pub restored: Vec<RestoredPriority>,
    /// When the checks at the end held
    pub verified: Option<Timestamp>,
    pub loss: Option<LossReached>,
    /// Time in which nothing went on but a person being waited for
    pub waited_for_people: Span,
    /// Time in which steps were being carried out
    pub waited_for_cloud: Span,
    /// What to type next, each with what it does
    pub next: Vec<(String, String)>,
}

/// A step, and what is said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ChangedStep {
    pub step: StepId,
    pub title: String,
    pub said: String,
}

/// Recovery time of a priority against its objective.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RestoredPriority {
    pub priority: Priority,
    /// Since the incident began; `None`: not restored
    pub after: Option<Span>,
    pub objective: Option<Span>,
}

/// Data lost against the objective.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LossReached {
    pub from: String,
    /// The database was recovered from it; until then nothing is lost yet
    pub recovered: bool,
    /// By the newest record where that was read, else as it was estimated; `None`: nobody could measure it
    pub loss: Option<Span>,
    /// What the choice was expected to lose; `None`: nobody could measure it
    pub estimated: Option<Span>,
    /// Of when the newest record in the database that took over is, where it was read: at most what came after it is lost
    pub newest: Option<Timestamp>,
    pub objective: Span,
    pub most: Span,
}

impl Summary {
    /// Says of a rehearsal that left the simulation that nothing is proved by it, and how its process ends.
    pub(crate) fn proves_nothing(&mut self, exit: Exit) {
        self.result = format!("LEFT THE SIMULATION, which proves nothing: {}", self.result);
        self.exit = self.exit.map(|_| exit.code());
    }
}

/// Returns the summary of a run's records; `None` when there is no beginning.
///
/// `now` counts while the run goes on; of a run whose process was lost, pass the time of its last record.
pub(crate) fn of(records: &[Record], now: Timestamp) -> Option<Summary> {
    let view = ViewState::fold(records);
    let (plan, run) = (view.plan.as_ref()?, view.run.clone()?);
    let until = if view.ending.is_some() { view.last? } else { now };
    let incident_started = view.incident_started?;
    let spent = Spent::of(records, &view, until);
    let still: Vec<StepId> = view.in_place().into_iter().cloned().collect();
    Some(Summary {
        mode: view.mode?,
        estate: plan.estate.estate.clone(),
        runbook: plan.runbook.clone(),
        title: plan.title.clone(),
        result: result(&view),
        exit: exit(&view),
        incident_started,
        started: view.started?,
        until,
        changed: changed(&view),
        still_changed: said(&view, &still, |_| String::new()),
        not_done: not_done(&view),
        obligations: view.obligations.values().cloned().collect(),
        restored: restored(&view, incident_started, until),
        verified: verified(records),
        loss: loss(&view, incident_started),
        waited_for_people: Span(spent.people),
        waited_for_cloud: Span(spent.cloud + spent.retries),
        next: next(&view, &run, !still.is_empty()),
        run,
    })
}

/// Returns what was lost: as the data that took over says, where it was asked and is there.
fn loss(view: &ViewState, incident_started: Timestamp) -> Option<LossReached> {
    let (plan, chosen) = (view.plan.as_ref()?, view.chosen.as_ref()?);
    let recovered = recovered(view);
    let lost = view.reached.lost(incident_started).filter(|_| recovered);
    Some(LossReached {
        from: chosen.title.clone(),
        recovered,
        loss: lost.map_or(chosen.loss, |lost| Some(lost.most)),
        estimated: chosen.loss,
        newest: lost.map(|lost| lost.newest),
        objective: plan.objectives.rpo,
        most: plan.objectives.rpo_max,
    })
}

/// Says whether a database was recovered, or may have been.
fn recovered(view: &ViewState) -> bool {
    view.plan.iter().flat_map(|plan| &plan.steps).any(|planned| {
        let Body::Action { action, .. } = &planned.body else { return false };
        let ended = |step: &StepView| {
            matches!(
                step.status,
                StepStatus::Ended(StepEnd::Done | StepEnd::Satisfied | StepEnd::Marked)
            )
        };
        ActionName::parse(action).is_some_and(ActionName::recovers)
            && view.steps.get(&planned.id).is_some_and(|step| step.in_place() || ended(step))
    })
}

fn exit(view: &ViewState) -> Option<u8> {
    match view.ending.as_ref()? {
        Ending::Stopped { exit, .. } | Ending::Finished { exit, .. } => Some(*exit),
        Ending::Abandoned { .. } => None,
    }
}

fn result(view: &ViewState) -> String {
    match &view.ending {
        Some(Ending::Finished { end, exit }) if *exit == Exit::ObjectiveMissed.code() => {
            format!("{}, but an objective's maximum was exceeded", words::run_end(*end))
        }
        Some(Ending::Finished { end, .. }) => words::run_end(*end).to_owned(),
        Some(Ending::Stopped { why, .. }) => format!("stopped, can be resumed: {why}"),
        Some(Ending::Abandoned { reason, .. }) => {
            format!("given up by a person, nothing was reverted: {reason}")
        }
        None => "going on, or its process was lost".to_owned(),
    }
}

/// Steps that changed something, whether or not it was undone since.
fn changed(view: &ViewState) -> Vec<ChangedStep> {
    let touched: Vec<StepId> = view
        .plan
        .iter()
        .flat_map(|plan| &plan.steps)
        .filter(|step| step.changes)
        .filter(|step| view.steps.get(&step.id).is_some_and(|seen| seen.effect() != Effect::None))
        .map(|step| step.id.clone())
        .collect();
    said(view, &touched, |id| {
        let Some(step) = view.steps.get(id) else { return String::new() };
        let unsure = step.effect() == Effect::Unknown;
        match step.status {
            StepStatus::Reverted => "undone since",
            StepStatus::Kept => "cannot be undone",
            StepStatus::RevertFailed => "could not be undone",
            StepStatus::RevertSkipped => "left as it is",
            StepStatus::Reverting => "being undone",
            StepStatus::Ended(StepEnd::Failed) | StepStatus::Undecided if unsure => {
                "failed; not known whether it changed anything"
            }
            StepStatus::Ended(StepEnd::Failed) | StepStatus::Undecided => "failed half done",
            StepStatus::Waiting
            | StepStatus::Ready
            | StepStatus::Running
            | StepStatus::Verifying => "not finished",
            StepStatus::Ended(_) => "",
        }
        .to_owned()
    })
}

fn not_done(view: &ViewState) -> Vec<ChangedStep> {
    let failed = |id: &StepId| view.steps.get(id).is_some_and(|step| step.error.is_some());
    let word = |id: &StepId| match view.steps.get(id).map(|step| step.status) {
        Some(StepStatus::Ended(StepEnd::Failed) | StepStatus::Undecided) => Some("failed"),
        Some(StepStatus::Ended(StepEnd::Omitted)) => Some("skipped by an operator"),
        Some(StepStatus::Ended(StepEnd::Waived)) => Some("gone on without it"),
        Some(StepStatus::Ended(StepEnd::NotRun)) => Some("never started"),
        Some(
            StepStatus::Waiting
            | StepStatus::Ready
            | StepStatus::Running
            | StepStatus::Verifying
            | StepStatus::Ended(_)
            | StepStatus::Reverting,
        )
        | None => None,
        Some(
            StepStatus::Reverted
            | StepStatus::Kept
            | StepStatus::RevertFailed
            | StepStatus::RevertSkipped,
        ) => failed(id).then_some("failed"),
    };
    let steps = view.plan.iter().flat_map(|plan| &plan.steps);
    let ids: Vec<StepId> =
        steps.map(|step| step.id.clone()).filter(|id| word(id).is_some()).collect();
    said(view, &ids, |id| {
        let reason = view.steps.get(id).and_then(|step| {
            let error = step.error.as_ref().map(|error| error.message.clone());
            step.reason.clone().or(error)
        });
        let word = word(id).unwrap_or_default();
        // In full it is in the log and in the audit; here the next command must stay in view.
        let reason = reason.map(|reason| text::clip(&reason, REASON_COLUMNS));
        reason.map_or_else(|| word.to_owned(), |reason| format!("{word}: {reason}"))
    })
}

fn said(view: &ViewState, ids: &[StepId], say: impl Fn(&StepId) -> String) -> Vec<ChangedStep> {
    let title = |id: &StepId| {
        view.planned_step(id).map(|planned| planned.title.clone()).unwrap_or_default()
    };
    ids.iter().map(|id| ChangedStep { step: id.clone(), title: title(id), said: say(id) }).collect()
}

fn restored(view: &ViewState, began: Timestamp, until: Timestamp) -> Vec<RestoredPriority> {
    let Some(plan) = &view.plan else { return Vec::new() };
    let outlooks = Network::new(plan).outlooks(view, &Assume::default(), until);
    let of = |(priority, outlook): (Priority, Outlook)| RestoredPriority {
        priority,
        after: match outlook {
            Outlook::Done { at } => Some(Span(since(began, at))),
            Outlook::Ahead { .. } | Outlook::Blocked { .. } => None,
        },
        objective: objective(plan, priority),
    };
    outlooks.into_iter().map(of).collect()
}

fn verified(records: &[Record]) -> Option<Timestamp> {
    let (verdict, time) = records.iter().rev().find_map(|record| {
        let Event::RunVerified { verdict, .. } = &record.event else { return None };
        Some((*verdict, record.time))
    })?;
    (verdict == Verdict::Holds).then_some(time)
}

/// Returns the flag that gives the answer a run stopped for, as it is typed after a command.
fn missing_answer(view: &ViewState) -> Option<String> {
    let Ending::Stopped { why, exit } = view.ending.as_ref()? else { return None };
    if *exit != Exit::NeedsAnswer.code() {
        return None;
    }
    let flag = &why[why.find(" --")? + 1..];
    // What is said about a flag is for reading; of two flags the narrower one is taken.
    let flag = flag.split(" with `").next().unwrap_or(flag);
    let flag = flag.split(", ").next().unwrap_or(flag);
    let flag = flag.split(" or ").last().unwrap_or(flag);
    Some(format!(" {}", flag.trim_end()))
}

fn next(view: &ViewState, run: &RunId, still_changed: bool) -> Vec<(String, String)> {
    let short = run.short();
    let flag = view.mode.map_or("", Mode::flag);
    let command = |verb: &str, does: &str| {
        let flag = if matches!(verb, "resume" | "rollback") { flag } else { "" };
        (format!("phoenix-dr {verb} {short}{flag}"), does.to_owned())
    };
    let answer = missing_answer(view);
    let mut next = Vec::new();
    match &view.ending {
        Some(Ending::Finished { end: RunEnd::Restored | RunEnd::WithExceptions, .. }) => {
            if !view.obligations.is_empty() {
                next.push(command("status", "shows what is open and looks whether it is closed"));
            }
            next.push(command("report", "writes what happened, for the incident's record"));
        }
        Some(Ending::Finished {
            end: RunEnd::RolledBack | RunEnd::FailedUnchanged | RunEnd::NotStarted,
            ..
        }) => {
            let again = crate::shell::line(&view.typed);
            next.push((
                format!("phoenix-dr {again}"),
                "starts again, from the beginning".to_owned(),
            ));
            next.push(command("audit", "shows every record of this run"));
        }
        Some(Ending::Abandoned { .. }) => {
            next.push(command("audit", "shows every record, for finishing by hand"));
        }
        Some(Ending::Finished { end: RunEnd::ChangesLeft, .. } | Ending::Stopped { .. }) | None => {
            let resume = match (view.rollback.is_some(), &answer) {
                (_, Some(_)) => "goes on with the answer that was missing",
                (true, None) => "goes on with the rollback",
                (false, None) => "looks at what is in doubt and goes on",
            };
            let (typed, does) = command("resume", resume);
            let refuses_loss = answer.as_ref().is_some_and(|flag| flag.contains("--accept-loss"));
            let mistyped = mistyped_point(view);
            match mistyped {
                true => next.push((
                    format!("{typed} --recovery-point ID"),
                    "goes on with one of those that were named".to_owned(),
                )),
                false => next.push((format!("{typed}{}", answer.unwrap_or_default()), does)),
            }
            if view.rollback.is_none() && !mistyped && refused_as_things_are(view) {
                let again = crate::shell::line(&view.typed);
                next.push((
                    format!("phoenix-dr {again}"),
                    "starts again, with files that were corrected".to_owned(),
                ));
            }
            if refuses_loss {
                let (typed, does) = command("resume", "takes another recovery point instead");
                next.push((format!("{typed} --recovery-point ID"), does));
            }
            if view.rollback.is_none() && still_changed && !view.sealed() {
                next.push(command("rollback", "undoes what this run changed"));
            }
            next.push(command("status", "shows where it stands"));
        }
    }
    next
}

/// Says whether the run ended for a recovery point that is none: what was typed would end in the same way again.
fn mistyped_point(view: &ViewState) -> bool {
    let named = |why: &str| why.contains("there is no recovery point `");
    matches!(&view.ending, Some(Ending::Stopped { why, .. }) if named(why))
}

/// Says whether the run ended before it changed anything for what was found: a run keeps the files it was planned with.
fn refused_as_things_are(view: &ViewState) -> bool {
    let not_met =
        matches!(&view.ending, Some(Ending::Stopped { exit, .. }) if *exit == Exit::NotMet.code());
    not_met && view.blocked && !view.typed.is_empty() && changed(view).is_empty()
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
