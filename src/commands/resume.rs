//! Taking a stopped run up again.

use std::sync::Arc;

use super::context::{Context, find_error, store_error};
use super::live::{Job, carry_on, lock_estate};
use super::{answers, drift, dry_run, journals, meant, rehearsal, typed};
use crate::cli::{ResumeArgs, WhoFlags};
use crate::engine::state::{RunPhase, RunState};
use crate::error::UserError;
use crate::event::{Answer, Event, QuestionKey, Record};
use crate::exit::Exit;
use crate::ids::RunId;
use crate::journal::reader::SetAside;
use crate::journal::store::{Namespace, OpenRun, Store, StoreError};
use crate::report::plan_view::finding_lines;
use crate::report::terminal::Tone;

/// Goes on with a stopped run, or shows what that would do.
pub(super) fn resume(context: &Context, given: &ResumeArgs) -> Result<Exit, UserError> {
    let store = context.store()?;
    let who = &given.flags.who;
    dry_run::refuse_without(who)?;
    let run = named(&store, given.run.as_deref(), who, "resume")?;
    rehearsal::refuse_another(context, &store, &run, who, "resume")?;
    if who.dry_run {
        let (state, records) = looked_at(&store, &run)?;
        let rehearsal = rehearsal::taken_up(context, &store, &state, &records, who)?;
        let context = rehearsal.as_ref().unwrap_or(context);
        // With nobody to ask the looks go without: what needs the secret says that it is not there.
        if answers::interactive(who) {
            typed::ask_again(context, &state.plan, true)?;
        }
        let point = given.flags.recovery_point.as_deref();
        return dry_run::of_run(context, &state, who.detailed_exitcode, point);
    }
    let Taken { open, state, records } = take(context, &store, &run)?;
    let rehearsal = rehearsal::taken_up(context, &store, &state, &records, who)?;
    let context = rehearsal.as_ref().unwrap_or(context);
    let plan = Arc::clone(&state.plan);
    let answers = answers::of_run(context, &plan, &given.flags)?;
    answers::refuse_overrides(context, &plan, who)?;
    if !rolls_back(&state) {
        answers::refuse_late_point(&state, &given.flags)?;
    }
    let settings = answers.settle(answers::settings(&given.flags, Some(&state.settings)));
    if !settings.interactive && !rolls_back(&state) {
        let asked =
            answers::Run { plan: &plan, given: &answers, mode: state.mode, state: Some(&state) };
        let missing = answers::certain(asked.missing(settings.confirm_each, &[], false));
        if !missing.is_empty() {
            return Err(answers::refusal(&missing));
        }
    }
    say_drift(context, &state);
    typed::ask_again(context, &plan, settings.interactive)?;
    let estate_lock = lock_estate(context, &store, &plan, &run)?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let opening = vec![Event::RunResumed { settings, version }];
    let given = answers;
    carry_on(context, Job { open, state, records, opening, consent: None, given, estate_lock })
}

/// Says that the estate file has changed, where no question says it any more.
fn say_drift(context: &Context, state: &RunState) {
    let asks = state.answers.get(&QuestionKey::Go) != Some(&Answer::Yes);
    let file = drift::file(context).filter(|_| !asks && !rolls_back(state));
    let Some(found) = file.and_then(|file| drift::finding(&state.plan, &file)) else { return };
    for line in finding_lines(&found, context.terminal.columns()) {
        context.terminal.loud(Tone::Warn, &line);
    }
}

/// A run this process may write to.
pub(super) struct Taken {
    pub open: OpenRun,
    pub state: RunState,
    pub records: Vec<Record>,
}

/// Returns the run that was named, or the one that stopped. `verb` is the command that was typed.
pub(super) fn named(
    store: &Store,
    text: Option<&str>,
    who: &WhoFlags,
    verb: &str,
) -> Result<RunId, UserError> {
    let namespace = if who.rehearse.is_some() { Namespace::Rehearsal } else { Namespace::Live };
    match text {
        Some(text) => store.find(text).map_err(|error| find_error(&error)),
        None => meant::the_stopped_run(store, namespace, |run, flag| format!("{verb} {run}{flag}")),
    }
}

/// Takes a run's lock and reads its journal. A run that is over is refused.
pub(super) fn take(context: &Context, store: &Store, run: &RunId) -> Result<Taken, UserError> {
    let mut records = Vec::new();
    let open = store.open_run(run, context.clock.now(), |record| records.push(record)).map_err(
        |error| match &error {
            StoreError::Read(read) if read.is_damage() => {
                meant::what_to_do_about(store_error(&error), &run.0)
            }
            StoreError::Read(_)
            | StoreError::NoHome
            | StoreError::Io { .. }
            | StoreError::Lock(_) => store_error(&error),
        },
    )?;
    if let Some(SetAside { copy, torn }) = &open.set_aside {
        let said = format!(
            "the journal's last line was not written whole: its {} bytes are taken off; the journal as it was is \
             kept in {}",
            torn.length,
            copy.display()
        );
        context.terminal.loud(Tone::Warn, &said);
    }
    let state = goes_on(journals::fold(run, &records)?)?;
    Ok(Taken { open, state, records })
}

/// Reads a run's journal without taking its lock. A run that is over is refused.
pub(super) fn looked_at(store: &Store, run: &RunId) -> Result<(RunState, Vec<Record>), UserError> {
    let records = journals::read(&store.dir(run).journal(), run)?;
    Ok((goes_on(journals::fold(run, &records)?)?, records))
}

/// Refuses a run that is over.
pub(super) fn goes_on(state: RunState) -> Result<RunState, UserError> {
    let run = &state.run;
    if state.is_final() {
        let hint = "see what it did: phoenix-dr audit ".to_owned() + run.short();
        return Err(UserError::new(Exit::Usage, format!("run {run} is over")).hint(hint));
    }
    Ok(state)
}

/// Says whether the run is being rolled back: what was consented to then goes on.
pub(super) fn rolls_back(state: &RunState) -> bool {
    match &state.phase {
        RunPhase::RollingBack { .. } => true,
        RunPhase::Stopped { rolling_back, .. } => rolling_back.is_some(),
        RunPhase::Running | RunPhase::Finished { .. } | RunPhase::Abandoned { .. } => false,
    }
}
