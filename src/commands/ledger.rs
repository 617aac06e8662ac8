//! What the journals say: runs, status, audit; and what a person adds to them: abandon, mark-done.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::json;

use super::context::{Context, chain, find_error, store_error};
use crate::cli::AuditForm;
use crate::engine::ports::Journal;
use crate::engine::state::RunState;
use crate::error::UserError;
use crate::event::{Event, Mode, Record};
use crate::exit::Exit;
use crate::ids::{RunId, StepId};
use crate::journal::lock::Liveness;
use crate::journal::reader;
use crate::journal::record::Entry;
use crate::journal::store::{Listed, Namespace, Store};
use crate::journal::summary::Standing;
use crate::report::audit as trail;
use crate::report::human::Human;

/// `status --follow` looks at the journal this often.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

/// Says what can be done now: a run that waits, what is open, or how to begin.
pub(super) fn what_now(context: &Context) -> Result<Exit, UserError> {
    let store = context.store()?;
    let terminal = &context.terminal;
    let mut waiting = false;
    for listed in store.list().map_err(|error| store_error(&error))? {
        match listed {
            Listed::Run(summary) if !summary.standing.is_final() && summary.mode == Mode::Live => {
                waiting = true;
                let short = summary.run.short();
                let alive = store.liveness(&summary.run).map_err(|error| store_error(&error))?;
                if matches!(alive, Liveness::Held(_)) {
                    terminal.out(&format!("run {short} of {} is going on", summary.runbook));
                    terminal.out(&format!("  watch it: phoenix-dr status {short} --follow"));
                } else {
                    terminal.out(&format!(
                        "run {short} of {} on `{}` has stopped",
                        summary.runbook, summary.estate
                    ));
                    terminal.out(&format!("  go on:   phoenix-dr resume {short}"));
                    terminal.out(&format!("  undo:    phoenix-dr rollback {short}"));
                    terminal.out(&format!("  give up: phoenix-dr abandon {short} --reason WHY"));
                }
            }
            Listed::Run(_) => {}
            Listed::Unreadable { name, why } => {
                terminal.out(&format!("run {name} cannot be read: {}", chain(&why)));
            }
        }
    }
    let open = obligations(context, &store)?;
    if !waiting && open == 0 {
        terminal.out("Nothing is under way and nothing is open.");
    }
    if !waiting {
        terminal.out("What this program can do here:");
        for runbook in &context.known {
            terminal.out(&format!("  phoenix-dr {:12} {}", runbook.command, runbook.title));
        }
        terminal.out("Add --dry-run to see what would happen. All commands: phoenix-dr --help");
    }
    Ok(Exit::Ok)
}

/// Returns the names of what earlier runs left open for an estate. What cannot be read is not known to be open: then it
/// is asked about once more.
pub(super) fn open_obligations(context: &Context, estate: &str) -> BTreeSet<String> {
    let open = context.store().ok().map(|store| store.obligations(estate, Namespace::Live));
    let open = open.and_then(Result::ok).unwrap_or_default();
    open.into_iter().map(|open| open.obligation.id).collect()
}

fn obligations(context: &Context, store: &Store) -> Result<usize, UserError> {
    let mut estates: Vec<String> = store
        .list()
        .map_err(|error| store_error(&error))?
        .into_iter()
        .filter_map(|listed| match listed {
            Listed::Run(summary) => Some(summary.estate),
            Listed::Unreadable { .. } => None,
        })
        .collect();
    estates.sort();
    estates.dedup();
    let mut count = 0;
    for estate in estates {
        let open =
            store.obligations(&estate, Namespace::Live).map_err(|error| store_error(&error))?;
        for item in &open {
            let obligation = &item.obligation;
            context.terminal.out(&format!("open: {} ({})", obligation.say, obligation.id));
            context.terminal.out(&format!("  {}", obligation.how));
            context.terminal.out(&format!(
                "  when it is done: phoenix-dr mark-done {} --evidence HOW-YOU-KNOW",
                obligation.id
            ));
        }
        count += open.len();
    }
    Ok(count)
}

/// Lists runs, newest first.
pub(super) fn runs(context: &Context) -> Result<Exit, UserError> {
    let store = context.store()?;
    let mut shown = Vec::new();
    for listed in store.list().map_err(|error| store_error(&error))? {
        match listed {
            Listed::Run(summary) => {
                let standing = standing(&store, &summary.run, &summary.standing);
                if context.json() {
                    shown.push(json!({
                        "run": summary.run, "estate": summary.estate, "runbook": summary.runbook,
                        "title": summary.title, "started": summary.started, "last": summary.last,
                        "who": summary.who, "standing": standing,
                    }));
                } else {
                    let started = summary.started.strftime("%Y-%m-%d %H:%M UTC");
                    context.terminal.out(&format!(
                        "{}  {started}  {}  {}  {standing}",
                        summary.run.short(),
                        summary.runbook,
                        summary.estate
                    ));
                }
            }
            Listed::Unreadable { name, why } => {
                shown.push(json!({ "run": name, "unreadable": chain(&why) }));
                if !context.json() {
                    context.terminal.out(&format!("{name}  cannot be read: {}", chain(&why)));
                }
            }
        }
    }
    if context.json() {
        context
            .terminal
            .out(&json!({ "format": "phoenix-dr/runs", "version": 1, "runs": shown }).to_string());
    }
    Ok(Exit::Ok)
}

fn standing(store: &Store, run: &RunId, standing: &Standing) -> String {
    let alive = matches!(store.liveness(run), Ok(Liveness::Held(_)));
    if alive { "going on".to_owned() } else { describe(standing) }
}

fn describe(standing: &Standing) -> String {
    match standing {
        Standing::Running => "interrupted; resumable".to_owned(),
        Standing::Stopped { why, exit } => format!("stopped (exit {exit}): {why}"),
        Standing::Finished { end, exit } => {
            format!("finished (exit {exit}): {}", crate::report::words::run_end(*end))
        }
        Standing::Abandoned { reason } => format!("abandoned: {reason}"),
    }
}

/// Shows how a run stands.
pub(super) fn status(
    context: &Context,
    text: Option<&str>,
    follow: bool,
) -> Result<Exit, UserError> {
    let store = context.store()?;
    let run = named_or_newest(&store, text)?;
    let path = store.dir(&run).journal();
    let records = read(&path, &run)?;
    let mut human = Human::new(context.terminal.clone(), TimeZone::system());
    if context.json() {
        let state = fold(&run, &records)?;
        context.terminal.out(&status_json(&state).to_string());
        return Ok(Exit::Ok);
    }
    for record in &records {
        human.record(record);
    }
    if !follow {
        next_for(context, &store, &run, &records)?;
        return Ok(Exit::Ok);
    }
    let mut shown = records.len();
    let runtime = context.runtime()?;
    loop {
        let records = read(&path, &run)?;
        for record in records.iter().skip(shown) {
            human.record(record);
        }
        shown = records.len();
        let alive = matches!(store.liveness(&run), Ok(Liveness::Held(_)));
        if !alive {
            next_for(context, &store, &run, &records)?;
            return Ok(Exit::Ok);
        }
        human.tick(context.clock.now());
        runtime.block_on(context.clock.sleep(FOLLOW_EVERY));
    }
}

fn next_for(
    context: &Context,
    store: &Store,
    run: &RunId,
    records: &[Record],
) -> Result<(), UserError> {
    let state = fold(run, records)?;
    let alive = matches!(store.liveness(run), Ok(Liveness::Held(_)));
    if !alive && !state.is_final() {
        context.terminal.out(&format!("It has stopped. Go on: phoenix-dr resume {}", run.short()));
    }
    Ok(())
}

fn status_json(state: &RunState) -> serde_json::Value {
    let steps: Vec<_> = state
        .plan
        .steps
        .iter()
        .zip(&state.steps)
        .map(|(step, seen)| {
            json!({ "step": step.id, "end": seen.ended(), "effect": seen.effect, "attempts": seen.attempts })
        })
        .collect();
    json!({ "format": "phoenix-dr/status", "version": 1, "run": state.run, "steps": steps,
        "obligations": state.obligations.values().collect::<Vec<_>>() })
}

/// Prints a run's trail, or checks it.
pub(super) fn audit(
    context: &Context,
    text: Option<&str>,
    form: AuditForm,
    verify: bool,
) -> Result<Exit, UserError> {
    let store = context.store()?;
    let run = named_or_newest(&store, text)?;
    let path = store.dir(&run).journal();
    if verify {
        let found = reader::verify(&path, Some(&run));
        let said = match (context.json(), form) {
            (true, _) | (_, AuditForm::Json) => trail::verification_json(&found),
            (false, AuditForm::Text | AuditForm::Activation) => trail::verification_text(&found),
        };
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

/// Gives a run up: reverts nothing and says what is still changed.
pub(super) fn abandon(
    context: &Context,
    text: Option<&str>,
    reason: &str,
) -> Result<Exit, UserError> {
    if reason.trim().is_empty() {
        return Err(UserError::new(Exit::Usage, "--reason is empty: say why"));
    }
    let store = context.store()?;
    let run = match text {
        Some(text) => store.find(text).map_err(|error| find_error(&error))?,
        None => the_stopped_run(&store)?,
    };
    let still = give_up(context, &store, &run, reason)?;
    context.terminal.out(&format!("run {} is abandoned; nothing was reverted", run.short()));
    for step in &still {
        context.terminal.out(&format!("  still changed: {step}"));
    }
    Ok(Exit::Ok)
}

/// Records that a run is given up; returns the steps whose changes stay.
pub(super) fn give_up(
    context: &Context,
    store: &Store,
    run: &RunId,
    reason: &str,
) -> Result<Vec<StepId>, UserError> {
    let mut records = Vec::new();
    let now = context.clock.now();
    let mut open = store
        .open_run(run, now, |record| records.push(record))
        .map_err(|error| store_error(&error))?;
    let state = fold(run, &records)?;
    if state.is_final() {
        return Err(UserError::new(Exit::Usage, format!("run {run} is over already")));
    }
    let changed = state
        .plan
        .steps
        .iter()
        .zip(&state.steps)
        .filter(|(step, seen)| step.changes && seen.changed());
    let still_changed: Vec<StepId> = changed.map(|(step, _)| step.id.clone()).collect();
    let event =
        Event::RunAbandoned { reason: reason.to_owned(), still_changed: still_changed.clone() };
    let record = open.chain.seal(event, now);
    write(&mut open.writer, &[record])?;
    Ok(still_changed)
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
    let mut records = Vec::new();
    let now = context.clock.now();
    let mut open = store
        .open_run(&run, now, |record| records.push(record))
        .map_err(|error| store_error(&error))?;
    let state = fold(&run, &records)?;
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
    let event = Event::ObligationClosed { id: what.to_owned(), said: evidence.to_owned() };
    let record = open.chain.seal(event, now);
    write(&mut open.writer, &[record])?;
    context.terminal.out(&format!("{what} is closed: {evidence}"));
    Ok(Exit::Ok)
}

pub(super) fn run_with(store: &Store, obligation: &str) -> Result<RunId, UserError> {
    for listed in store.list().map_err(|error| store_error(&error))? {
        if let Listed::Run(summary) = listed {
            let open = store
                .obligations(&summary.estate, Namespace::Live)
                .map_err(|error| store_error(&error))?;
            if let Some(found) = open.into_iter().find(|open| open.obligation.id == obligation) {
                return Ok(found.run);
            }
        }
    }
    Err(UserError::new(Exit::Usage, format!("nothing open is called `{obligation}`"))
        .hint("see what is open: phoenix-dr"))
}

/// Returns the one run that stopped; several, or none, are an error that names them.
pub(super) fn the_stopped_run(store: &Store) -> Result<RunId, UserError> {
    let mut stopped = Vec::new();
    for listed in store.list().map_err(|error| store_error(&error))? {
        if let Listed::Run(summary) = listed
            && !summary.standing.is_final()
            && summary.mode == Mode::Live
        {
            stopped.push(summary.run);
        }
    }
    match stopped.as_slice() {
        [run] => Ok(run.clone()),
        [] => {
            Err(UserError::new(Exit::Usage, "no run has stopped: there is nothing to go on with")
                .hint("see the runs: phoenix-dr runs"))
        }
        several => {
            let names: Vec<&str> = several.iter().map(RunId::short).collect();
            Err(UserError::new(
                Exit::Usage,
                format!("several runs have stopped: {}", names.join(", ")),
            )
            .hint("name one of them"))
        }
    }
}

/// Says whether a stopped run has nothing in the world changed: a new one may take its place.
pub(super) fn nothing_changed(store: &Store, run: &RunId) -> bool {
    if matches!(store.liveness(run), Ok(Liveness::Held(_)) | Err(_)) {
        return false;
    }
    let Ok(records) = read(&store.dir(run).journal(), run) else { return false };
    RunState::fold(&records).is_ok_and(|state| !state.changed())
}

pub(super) fn named_or_newest(store: &Store, text: Option<&str>) -> Result<RunId, UserError> {
    if let Some(text) = text {
        return store.find(text).map_err(|error| find_error(&error));
    }
    let listed = store.list().map_err(|error| store_error(&error))?;
    let newest = listed.into_iter().find_map(|listed| match listed {
        Listed::Run(summary) => Some(summary.run),
        Listed::Unreadable { .. } => None,
    });
    newest.ok_or_else(|| UserError::new(Exit::Usage, "there has been no run yet"))
}

/// Reads a journal's records; what is being written right now is read next time.
pub(super) fn read(path: &std::path::Path, run: &RunId) -> Result<Vec<Record>, UserError> {
    let mut records = Vec::new();
    let mut foreign = None;
    reader::read(path, |entry| match entry {
        Entry::Known(record) => records.push(*record),
        Entry::Foreign(other) => foreign = Some(other.kind().to_owned()),
    })
    .map_err(|error| error.user())?;
    match foreign {
        None => Ok(records),
        Some(kind) => Err(UserError::new(
            Exit::Journal,
            format!(
                "run {run} was written by a newer phoenix-dr: event `{kind}` is not known here"
            ),
        )),
    }
}

/// Folds a run's records.
pub(super) fn fold(run: &RunId, records: &[Record]) -> Result<RunState, UserError> {
    RunState::fold(records).map_err(|error| {
        UserError::new(Exit::Journal, format!("the journal of run {run} does not fold: {error}"))
    })
}

fn write(journal: &mut impl Journal, records: &[Record]) -> Result<(), UserError> {
    journal.append(records).map_err(|error| UserError::new(Exit::Journal, error.to_string()))
}
