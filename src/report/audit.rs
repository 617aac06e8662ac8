//! A journal as an audit trail: a timeline for people, JSON, the procedures document's form, and what checking
//! the chain found. Pure: entries in, text out.
//!
//! Texts in a journal come from services and people; none of them can draw on the reader's terminal.

mod words;

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::event::{AttemptResult, Event, Mode, Record, RevertResult, RunEnd};
use crate::journal::reader::{Torn, Verification};
use crate::journal::record::Entry;
use crate::outcome::{Effect, StepEnd};
use crate::report::words::{NOT_REAL, PRACTICE};
use words::Told;
pub(super) use words::told;

const WIDTH: usize = 80;
const TIME_WIDTH: usize = 10;
const STEP_WIDTH: usize = 16;
/// Where what happened begins.
const INDENT: usize = TIME_WIDTH + STEP_WIDTH;

/// Returns the timeline a person reads, at most 80 columns wide, times in UTC.
pub(crate) fn text(entries: &[Entry]) -> String {
    let mut text = String::new();
    let mode = mode_of(entries);
    if let Some(Entry::Known(record)) = entries.first() {
        header(&mut text, record);
    }
    let (mut day, mut who) = (String::new(), "");
    for entry in entries {
        let today = entry.time().strftime("%Y-%m-%d").to_string();
        if today != day {
            push(&mut text, &format!("\n{today} UTC"));
            day = today;
        }
        let told = match entry {
            Entry::Known(record) => told(&record.event, mode),
            Entry::Foreign(foreign) => Told::of(
                None,
                format!("event `{}`, which this version does not understand", foreign.kind()),
            ),
        };
        let signed = told.by_a_person || entry.who() != who;
        who = entry.who();
        line(&mut text, entry.time(), &told, signed.then_some(who));
    }
    if mode == Some(Mode::Rehearsal) {
        push(&mut text, &format!("\n{NOT_REAL}"));
    }
    text
}

/// Returns how the run of a journal treats the world; `None` where its first record is not known.
pub(super) fn mode_of(entries: &[Entry]) -> Option<Mode> {
    let Entry::Known(first) = entries.first()? else { return None };
    let Event::RunStarted { mode, .. } = &first.event else { return None };
    Some(*mode)
}

fn header(text: &mut String, record: &Record) {
    let Event::RunStarted { run, mode, plan, incident_started, world, .. } = &record.event else {
        return;
    };
    let mode = match mode {
        Mode::Live => "LIVE",
        Mode::DryRun => "DRY RUN: nothing was changed",
        Mode::Rehearsal => PRACTICE,
    };
    let began = incident_started.strftime("%Y-%m-%d %H:%M:%S");
    let inputs: Vec<String> =
        plan.inputs.iter().map(|(name, value)| format!("{name}={}", words::value(value))).collect();
    let known = [
        mode.to_owned(),
        format!("{} {}", plan.runbook, plan.title),
        format!("run {run}"),
        format!("estate {}", plan.estate.estate),
        format!("plan {}", plan.digest),
        format!("inputs {}", inputs.join(", ")),
        format!("incident began {began} UTC"),
    ];
    for line in known.into_iter().chain(world.iter().map(ToString::to_string)) {
        wrap(&line, WIDTH).iter().for_each(|part| push(text, part));
    }
}

/// Writes one event: time, step, what happened, below it the details.
fn line(text: &mut String, time: Timestamp, told: &Told, who: Option<&str>) {
    let what = match who {
        Some(who) => format!("{} [{who}]", told.what),
        None => told.what.clone(),
    };
    let step = plain(told.step.map_or("-", |step| step.0.as_str()));
    let mut first = format!("{:TIME_WIDTH$}{step}", time.strftime("%H:%M:%S").to_string());
    if step.chars().count() >= STEP_WIDTH {
        // A long name has a line of its own, cut in pieces if it must be.
        let mut parts = wrap(&step, WIDTH - TIME_WIDTH).into_iter();
        first.truncate(TIME_WIDTH);
        push(text, &format!("{first}{}", parts.next().unwrap_or_default()));
        for part in parts {
            push(text, &format!("{:TIME_WIDTH$}{part}", ""));
        }
        first = String::new();
    }
    for part in wrap(&what, WIDTH - INDENT) {
        let pad = INDENT.saturating_sub(first.chars().count());
        push(text, &format!("{first}{:pad$}{part}", ""));
        first = String::new();
    }
    for more in &told.more {
        for (at, part) in wrap(more, WIDTH - INDENT - 4).iter().enumerate() {
            let lead = if at == 0 { "  " } else { "    " };
            push(text, &format!("{:INDENT$}{lead}{part}", ""));
        }
    }
}

fn push(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

/// Returns a text without anything that moves a cursor, breaks a line or turns the direction of writing.
fn plain(text: &str) -> String {
    let safe = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(safe).collect()
}

/// Breaks a text between words into lines of at most `width` characters; longer words are cut.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut length = 0;
    for word in plain(text).split(' ').filter(|word| !word.is_empty()) {
        let mut rest: Vec<char> = word.chars().collect();
        if length > 0 && length + 1 + rest.len() > width {
            lines.push(String::new());
            length = 0;
        }
        if length > 0 {
            lines.last_mut().expect("there is a line from the start").push(' ');
            length += 1;
        }
        while !rest.is_empty() {
            if length == width {
                lines.push(String::new());
                length = 0;
            }
            let taken = rest.len().min(width - length);
            lines.last_mut().expect("there is a line from the start").extend(rest.drain(..taken));
            length += taken;
        }
    }
    lines
}

#[derive(Serialize)]
struct Shown<'a> {
    seq: u64,
    time: Timestamp,
    who: &'a str,
    event: ShownEvent<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ShownEvent<'a> {
    Known(&'a Event),
    Foreign(&'a Value),
}

/// Returns an array of the events, each with its number, time and author.
pub(crate) fn events_json(entries: &[Entry]) -> String {
    let shown: Vec<Shown<'_>> = entries
        .iter()
        .map(|entry| Shown {
            seq: entry.seq(),
            time: entry.time(),
            who: entry.who(),
            event: match entry {
                Entry::Known(record) => ShownEvent::Known(&record.event),
                Entry::Foreign(foreign) => ShownEvent::Foreign(&foreign.event),
            },
        })
        .collect();
    pretty(&json!(shown))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Returns the run in the form of the procedures document's audit trail (section 11.2).
///
/// `actions` are the steps that changed or may have changed the estate, in their order, then what was reverted.
/// `None` when the journal has no start.
pub(crate) fn activation(entries: &[Entry]) -> Option<String> {
    let Some(Entry::Known(first)) = entries.first() else { return None };
    let Event::RunStarted { run, mode, plan, settings, .. } = &first.event else { return None };
    let mut seen = Activation { actions: Vec::new(), outcome: "in_progress", ended: None };
    let mut last = first.time;
    for entry in entries {
        if seen.ended.is_none() {
            last = entry.time();
        }
        if let Entry::Known(record) = entry {
            seen.apply(record);
        }
    }
    let event = match mode {
        Mode::Live => "dr_activation",
        Mode::DryRun => "dr_dry_run",
        Mode::Rehearsal => "dr_rehearsal",
    };
    let seconds = seen.ended.unwrap_or(last).duration_since(first.time).as_secs().max(0);
    let actions = seen.actions.into_iter().filter_map(|(name, effect)| match effect {
        Effect::None => None,
        Effect::Applied => Some(name),
        Effect::Unknown => Some(format!("{name} (effect unknown)")),
    });
    Some(pretty(&json!({
        "event": event,
        "timestamp": first.time,
        "triggered_by": if settings.interactive { first.who.as_str() } else { "automated" },
        "reason": format!("{} {}", plan.runbook, plan.title),
        "actions": actions.collect::<Vec<String>>(),
        "outcome": seen.outcome,
        // A minute begun counts: no duration is told shorter than it was.
        "duration_minutes": (seconds + 59) / 60,
        "run": run,
    })))
}

/// A run as the form tells it.
struct Activation {
    /// Steps that were begun and what they are known to have changed
    actions: Vec<(String, Effect)>,
    outcome: &'static str,
    /// When it ended for good; what comes later are remarks
    ended: Option<Timestamp>,
}

impl Activation {
    fn apply(&mut self, record: &Record) {
        match &record.event {
            Event::StepStarted { step, .. } => self.set(step.0.clone(), Effect::Unknown),
            Event::AttemptFinished { step, result, .. } => {
                let effect = match result {
                    AttemptResult::Performed { .. } => Effect::Applied,
                    AttemptResult::Failed { error } => error.effect,
                };
                self.set(step.0.clone(), effect);
            }
            Event::Probed { step, effect, .. } => self.set(step.0.clone(), *effect),
            Event::StepFinished { step, end: StepEnd::Marked, .. } => {
                self.set(step.0.clone(), Effect::Applied);
            }
            Event::RevertFinished { step, result } => {
                let effect = match result {
                    RevertResult::Reverted => Effect::Applied,
                    RevertResult::Failed { error } => error.effect,
                    RevertResult::AlreadyBefore
                    | RevertResult::Kept { .. }
                    | RevertResult::Conflict { .. }
                    | RevertResult::Skipped { .. } => Effect::None,
                };
                self.set(format!("revert_{step}"), effect);
            }
            Event::RunFinished { end, .. } => self.end(end_word(*end), Some(record.time)),
            Event::RunAbandoned { .. } => self.end("abandoned", Some(record.time)),
            Event::RunStopped { .. } => self.end("stopped", None),
            Event::RunResumed { .. } => self.end("in_progress", None),
            Event::RunStarted { .. }
            | Event::Preflight { .. }
            | Event::IncidentDated { .. }
            | Event::LeaseTaken { .. }
            | Event::LeaseVouched { .. }
            | Event::Asked { .. }
            | Event::Decided { .. }
            | Event::StepReady { .. }
            | Event::GateSeen { .. }
            | Event::StepSatisfied { .. }
            | Event::StepMarked { .. }
            | Event::Verified { .. }
            | Event::StepFailed { .. }
            | Event::StepFinished { .. }
            | Event::StepReopened { .. }
            | Event::RollbackStarted { .. }
            | Event::RollbackEnded { .. }
            | Event::RevertStarted { .. }
            | Event::ObligationOpened { .. }
            | Event::ObligationClosed { .. }
            | Event::RunVerified { .. }
            | Event::Noted { .. } => {}
        }
    }

    fn set(&mut self, name: String, effect: Effect) {
        match self.actions.iter_mut().find(|(known, _)| *known == name) {
            // What one attempt has changed, a later one that changes nothing does not take back.
            Some((_, Effect::Applied)) => {}
            Some((_, known)) => *known = effect,
            None => self.actions.push((name, effect)),
        }
    }

    fn end(&mut self, outcome: &'static str, ended: Option<Timestamp>) {
        if self.ended.is_none() {
            (self.outcome, self.ended) = (outcome, ended);
        }
    }
}

const fn end_word(end: RunEnd) -> &'static str {
    match end {
        RunEnd::Restored => "successful",
        RunEnd::WithExceptions => "successful_with_exceptions",
        RunEnd::RolledBack => "rolled_back",
        RunEnd::FailedUnchanged => "failed_unchanged",
        RunEnd::ChangesLeft => "failed_changes_left",
        RunEnd::NotStarted => "not_started",
    }
}

/// Returns what checking a journal's chain found, for people.
pub(crate) fn verification_text(found: &Verification) -> String {
    let mut text = String::new();
    let records = found.records;
    match &found.bad {
        None => {
            let _ = writeln!(text, "{records} records, chain intact");
            let _ = writeln!(text, "last digest {}", found.prev);
        }
        Some(bad) => {
            let error = bad.user();
            let _ = writeln!(text, "chain BROKEN after {records} intact records");
            let _ = writeln!(text, "{}", plain(&error.message));
            for hint in error.hints {
                let _ = writeln!(text, "{}", plain(&hint));
            }
        }
    }
    if let Some(Torn { offset, length }) = found.torn {
        let _ = writeln!(
            text,
            "the last line was not written whole ({length} bytes at byte {offset}); `resume` sets it aside"
        );
    }
    text
}

/// Returns what checking a journal's chain found, for programs.
pub(crate) fn verification_json(found: &Verification) -> String {
    let bad = found.bad.as_ref().map(|bad| {
        let place = bad.place();
        json!({
            "record": place.map(|place| place.record),
            "offset": place.map(|place| place.offset),
            "why": bad.user().message,
            "hint": bad.hint(),
        })
    });
    let torn = found.torn.map(|torn| json!({"offset": torn.offset, "length": torn.length}));
    pretty(&json!({
        "intact": found.bad.is_none(),
        "records": found.records,
        "last_digest": found.prev,
        "torn": torn,
        "bad": bad,
    }))
}

#[cfg(test)]
mod tests;
