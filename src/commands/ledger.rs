//! What the journals say: runs, status, audit; and what a person adds to them: mark-done.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::json;

use super::context::{Context, chain, find_error, store_error};
use super::meant::{named_or_meant, run_with};
use super::{journals, obligations, rollback};
use crate::cli::AuditForm;
use crate::engine::ports::Journal;
use crate::engine::state::RunState;
use crate::error::UserError;
use crate::estate::load as estate_file;
use crate::event::{Mode, Record, RunEnd};
use crate::exit::Exit;
use crate::ids::RunId;
use crate::journal::listed::{Listed, Unreadable};
use crate::journal::lock::Liveness;
use crate::journal::reader::{self, Reader};
use crate::journal::record::Entry;
use crate::journal::store::{Namespace, Store};
use crate::journal::summary::{OpenObligation, Standing, SummaryError, start_of};
use crate::report::audit as trail;
use crate::report::human::Human;
use crate::report::json::JsonLines;
use crate::report::runs::{self, Home, Process, RunLine};
use crate::report::text;
use crate::report::view::ViewState;
use crate::report::words::{NOT_REAL, PRACTICE};

/// `status --follow` looks at the journal this often.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

/// Says what can be done now: a run that waits, what is open, or how to begin.
pub(super) fn what_now(context: &Context) -> Result<Exit, UserError> {
    let store = context.store()?;
    let open = obligations::open(context, &store)?;
    let (mut runs, unreadable) = run_lines(&store, &open)?;
    for line in runs.iter_mut().filter(|line| line.unfinished) {
        line.revertible = revertible(context, &store, &line.run);
    }
    let estate = estate_file::find(context.global.estate.as_deref()).ok();
    let estate = estate.and_then(|path| estate_file::read(&path).ok()).map(|estate| estate.estate);
    let known = context.known.iter();
    let home = Home {
        estate,
        runs,
        runbooks: known.map(|runbook| (runbook.command.clone(), runbook.title.clone())).collect(),
    };
    if context.json() {
        let answer = json!({ "format": "phoenix-dr/home", "version": 1, "runs": home.runs,
            "open": open.iter().map(|open| &open.obligation).collect::<Vec<_>>() });
        context.terminal.out(&answer.to_string());
        return Ok(Exit::Ok);
    }
    // What was given up needs nobody any more.
    for damaged in unreadable.iter().filter(|damaged| damaged.given_up.is_none()) {
        show_damaged(context, damaged);
    }
    for line in runs::home(&home, context.terminal.columns()) {
        context.terminal.out(&line);
    }
    Ok(Exit::Ok)
}

/// Returns the names of what earlier runs left open for an estate that they restored elsewhere. What an abandoned run
/// left, or what cannot be read, is not known to be accepted: then it is asked about once more. A rehearsal's world knows
/// of no earlier run.
pub(super) fn open_obligations(context: &Context, estate: &str) -> BTreeSet<String> {
    if context.rehearsal().is_some() {
        return BTreeSet::new();
    }
    let open = |store: Store| {
        let listed = store.list().ok()?;
        let restored: BTreeSet<RunId> = listed.into_iter().filter_map(restored).collect();
        let open = store.obligations(estate, Namespace::Live).ok()?;
        let accepted = open.into_iter().filter(|open| restored.contains(&open.run));
        Some(accepted.map(|open| open.obligation.id).collect())
    };
    context.store().ok().and_then(open).unwrap_or_default()
}

fn restored(listed: Listed) -> Option<RunId> {
    let Listed::Run(summary) = listed else { return None };
    let restored = matches!(
        summary.standing,
        Standing::Finished { end: RunEnd::Restored | RunEnd::WithExceptions, .. }
    );
    restored.then_some(summary.run)
}

/// Returns every run as a line, with what is still open of it; and those that cannot be read.
fn run_lines(
    store: &Store,
    open: &[OpenObligation],
) -> Result<(Vec<RunLine>, Vec<Unreadable>), UserError> {
    let mut lines = Vec::new();
    let mut unreadable = Vec::new();
    for listed in store.list().map_err(|error| store_error(&error))? {
        match listed {
            Listed::Run(summary) => {
                let held = matches!(store.liveness(&summary.run), Ok(Liveness::Held(_)));
                let ours = open.iter().filter(|open| open.run == summary.run);
                let obligations = ours.map(|open| open.obligation.clone()).collect();
                lines.push(RunLine::of(&summary, held, obligations));
            }
            Listed::Unreadable(damaged) => unreadable.push(*damaged),
        }
    }
    Ok((lines, unreadable))
}

/// Says what is known of a run whose journal cannot be read, and what can be done about it.
fn damaged_line(damaged: &Unreadable) -> String {
    let Unreadable { name, why, begins, given_up, .. } = damaged;
    let rehearsal = damaged.mode() == Some(Mode::Rehearsal);
    let of = match begins {
        Some(begins) => {
            let rehearsal = if rehearsal { ", a rehearsal" } else { "" };
            format!(" ({} of {}{rehearsal})", begins.runbook, begins.estate)
        }
        None if rehearsal => " (a rehearsal)".to_owned(),
        None => String::new(),
    };
    let next = match given_up {
        Some(given_up) => format!("given up by {}: {}", given_up.who, given_up.reason),
        // A directory in which nothing began is nobody's run.
        None if matches!(why, SummaryError::Empty) => {
            return format!("{name}  was ended before its first record: it changed nothing");
        }
        None => format!("give it up: phoenix-dr abandon {name} --reason WHY"),
    };
    format!("{name}  damaged{of}: {}; {next}", chain(why))
}

fn show_damaged(context: &Context, damaged: &Unreadable) {
    for line in text::wrap(&damaged_line(damaged), context.terminal.columns(), 2) {
        context.terminal.out(&line);
    }
}

/// Lists runs, newest first.
pub(super) fn runs(context: &Context) -> Result<Exit, UserError> {
    let store = context.store()?;
    let mut open = Vec::new();
    for estate in estates(&store)? {
        let found = store.obligations(&estate, Namespace::Live);
        open.extend(found.map_err(|error| store_error(&error))?);
    }
    let (lines, unreadable) = run_lines(&store, &open)?;
    if context.json() {
        let damaged: Vec<String> = unreadable.iter().map(damaged_line).collect();
        let answer = json!({ "format": "phoenix-dr/runs", "version": 1, "runs": lines,
            "unreadable": damaged });
        context.terminal.out(&answer.to_string());
        return Ok(Exit::Ok);
    }
    if !lines.is_empty() || unreadable.is_empty() {
        for line in runs::list(&lines, context.terminal.columns()) {
            context.terminal.out(&line);
        }
    }
    for damaged in &unreadable {
        show_damaged(context, damaged);
    }
    Ok(Exit::Ok)
}

fn estates(store: &Store) -> Result<Vec<String>, UserError> {
    let listed = store.list().map_err(|error| store_error(&error))?;
    let mut estates: Vec<String> = listed
        .into_iter()
        .filter_map(|listed| match listed {
            Listed::Run(summary) => Some(summary.estate),
            Listed::Unreadable(_) => None,
        })
        .collect();
    estates.sort();
    estates.dedup();
    Ok(estates)
}

/// Shows how a run stands.
pub(super) fn status(
    context: &Context,
    text: Option<&str>,
    follow: bool,
) -> Result<Exit, UserError> {
    let store = context.store()?;
    let run = named_or_meant(&store, text)?;
    if follow {
        return follow_run(context, &store, &run);
    }
    // What can be proved by now is closed before it is shown as open.
    obligations::open(context, &store)?;
    let journal = store.dir(&run).journal();
    if context.json() {
        let state = journals::folded(&journal, &run)?;
        context.terminal.out(&status_json(&store, &state).to_string());
        return Ok(Exit::Ok);
    }
    let held = matches!(store.liveness(&run), Ok(Liveness::Held(_)));
    let mut view = ViewState::default();
    journals::each(&journal, &run, |record| view.apply(&record))?;
    let (now, columns) = (context.clock.now(), context.terminal.columns());
    let process = if held {
        Process::There
    } else {
        Process::Gone { revertible: revertible(context, &store, &run) }
    };
    for line in runs::status(&view, process, now, columns, &TimeZone::system()) {
        context.terminal.out(&line);
    }
    for mark in obligations::marked(&store, &run) {
        let said = format!(
            "{} is marked done: {}; recorded when the run ends",
            mark.obligation, mark.evidence
        );
        text::wrap(&said, columns, 2).iter().for_each(|line| context.terminal.out(line));
    }
    if view.mode == Some(Mode::Rehearsal) {
        context.terminal.out(NOT_REAL);
    }
    Ok(Exit::Ok)
}

/// Shows a run's records until no process carries it out any more.
fn follow_run(context: &Context, store: &Store, run: &RunId) -> Result<Exit, UserError> {
    let path = store.dir(run).journal();
    let mut human = Human::new(context.terminal.clone(), TimeZone::system());
    let json = context.json().then(|| JsonLines::begin(context.terminal.clone()));
    let runtime = context.runtime()?;
    let mut reader = Reader::open(&path, Some(run)).map_err(|error| error.user())?;
    let mut records = Vec::new();
    loop {
        // Looked at first: what a process wrote before it ended is then read below.
        let held = matches!(store.liveness(run), Ok(Liveness::Held(_)));
        while let Some(record) = reader.next_record().map_err(|error| error.user())? {
            match &json {
                Some(json) => json.record(&record),
                None => human.record(&record),
            }
            records.push(record);
        }
        reader.again().map_err(|error| error.user())?;
        if !held {
            context.terminal.finish();
            let state = journals::fold(run, &records)?;
            if !state.is_final() && json.is_none() {
                let (short, flag) = (run.short(), state.mode.flag());
                let heading = state.mode.heading();
                let said =
                    format!("{heading}It has stopped. Go on: phoenix-dr resume {short}{flag}");
                context.terminal.out(&said);
            }
            if state.mode == Mode::Rehearsal && json.is_none() {
                context.terminal.out(NOT_REAL);
            }
            return Ok(Exit::Ok);
        }
        if context.terminal.out_closed() {
            return Ok(Exit::Ok);
        }
        if json.is_none() {
            human.tick(context.clock.now());
        }
        // A timer is made inside the runtime that drives it.
        runtime.block_on(async { context.clock.sleep(FOLLOW_EVERY).await });
    }
}

fn status_json(store: &Store, state: &RunState) -> serde_json::Value {
    let steps: Vec<_> = state
        .plan
        .steps
        .iter()
        .zip(&state.steps)
        .map(|(step, seen)| {
            json!({ "step": step.id, "end": seen.ended(), "effect": seen.effect, "attempts": seen.attempts })
        })
        .collect();
    json!({ "format": "phoenix-dr/status", "version": 1, "run": state.run,
        "mode": state.mode, "steps": steps,
        "obligations": state.obligations.values().map(|owed| &owed.obligation).collect::<Vec<_>>(),
        "marked": obligations::marked(store, &state.run) })
}

/// Prints a run's trail, or checks it.
pub(super) fn audit(
    context: &Context,
    text: Option<&str>,
    form: AuditForm,
    verify: bool,
) -> Result<Exit, UserError> {
    let store = context.store()?;
    let run = named_or_meant(&store, text)?;
    let path = store.dir(&run).journal();
    if verify {
        let found = reader::verify(&path, Some(&run));
        let said = match (context.json(), form) {
            (true, _) | (_, AuditForm::Json) => trail::verification_json(&found),
            (false, AuditForm::Text | AuditForm::Activation) => trail::verification_text(&found),
        };
        let text = !context.json() && form != AuditForm::Json;
        if text && start_of(&path).is_some_and(|run| run.mode == Mode::Rehearsal) {
            context.terminal.out(PRACTICE);
        }
        context.terminal.out(said.trim_end());
        return Ok(if found.bad.is_none() { Exit::Ok } else { Exit::Journal });
    }
    let mut entries: Vec<Entry> = Vec::new();
    reader::read(&path, |entry| entries.push(entry)).map_err(|error| error.user())?;
    let text = match form {
        AuditForm::Text if !context.json() => trail::text(&entries),
        AuditForm::Text | AuditForm::Json => trail::events_json(&entries),
        AuditForm::Activation => trail::activation(&entries).ok_or_else(|| {
            UserError::new(Exit::Usage, format!("run {run} never acted: there is no activation"))
        })?,
    };
    context.terminal.out(text.trim_end());
    Ok(Exit::Ok)
}

/// Records that what a run left open is done.
pub(super) fn mark_done(
    context: &Context,
    what: &str,
    evidence: &str,
    text: Option<&str>,
) -> Result<Exit, UserError> {
    if evidence.trim().is_empty() {
        return Err(UserError::new(Exit::Usage, "--evidence is empty: say how you know"));
    }
    let store = context.store()?;
    let run = match text {
        Some(text) => store.find(text).map_err(|error| find_error(&error))?,
        None => run_with(&store, what)?,
    };
    let held = matches!(store.liveness(&run), Ok(Liveness::Held(_)));
    let state = journals::folded(&store.dir(&run).journal(), &run)?;
    if !state.obligations.contains_key(what) {
        let known: Vec<&str> = state.obligations.keys().map(String::as_str).collect();
        let hint = if known.is_empty() {
            "nothing of this run is open".to_owned()
        } else {
            format!("open are: {}", known.join(", "))
        };
        let message = format!("run {} has nothing open that is called `{what}`", run.short());
        return Err(UserError::new(Exit::Usage, message).hint(hint));
    }
    // Only the process that carries a run out writes its journal.
    if held {
        obligations::mark_later(context, &store.dir(&run), what, evidence)?;
    } else {
        obligations::close(context, &store, &run, what, evidence.to_owned())?;
    }
    if context.json() {
        let answer = json!({ "format": "phoenix-dr/mark-done", "version": 1, "run": run,
            "mode": state.mode, "obligation": what, "recorded": !held });
        context.terminal.out(&answer.to_string());
    } else if held {
        let said = format!(
            "{}{what} is marked done; run {} goes on and records it when it ends",
            state.mode.heading(),
            run.short()
        );
        context.terminal.out(&said);
    } else {
        context.terminal.out(&format!("{}{what} is closed: {evidence}", state.mode.heading()));
    }
    Ok(Exit::Ok)
}

/// Says whether a rollback of a stopped run would do anything; what cannot be told is left to it to say.
pub(super) fn revertible(context: &Context, store: &Store, run: &RunId) -> bool {
    let records = journals::read(&store.dir(run).journal(), run).ok();
    let state = records.and_then(|records| RunState::fold(&records).ok());
    state.is_none_or(|state| state.is_final() || rollback::possible(&state, context.clock.now()))
}

/// Says whether a stopped run has nothing in the world changed: a new one may take its place.
pub(super) fn nothing_changed(store: &Store, run: &RunId) -> bool {
    if matches!(store.liveness(run), Ok(Liveness::Held(_)) | Err(_)) {
        return false;
    }
    journals::folded(&store.dir(run).journal(), run).is_ok_and(|state| !state.changed())
}

/// Appends records to a journal; on return they are durable.
pub(super) fn write(journal: &mut impl Journal, records: &[Record]) -> Result<(), UserError> {
    journal.append(records).map_err(|error| UserError::new(Exit::Journal, error.to_string()))
}
