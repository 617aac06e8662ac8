//! Marking a step of a stopped run done by hand: `resume` verifies it and goes on with the outputs that were given.

use serde_json::{Map, Value, json};

use super::context::{Context, find_error, store_error};
use super::live::append;
use super::resume::rolls_back;
use super::{journals, ledger, meant};
use crate::cli::MarkDoneArgs;
use crate::engine::state::RunState;
use crate::engine::step::Stage;
use crate::error::UserError;
use crate::event::Event;
use crate::exit::Exit;
use crate::ids::{RunId, StepId};
use crate::journal::store::{Namespace, Store};
use crate::plan::outputs::{self, WantedOutput};

/// Records that what a run left open, or a step of a run that stopped, is done.
pub(super) fn done(context: &Context, given: &MarkDoneArgs) -> Result<Exit, UserError> {
    let (what, evidence) = (given.what.as_str(), given.evidence.as_str());
    if evidence.trim().is_empty() {
        return Err(UserError::new(Exit::Usage, "--evidence is empty: say how you know"));
    }
    let store = context.store()?;
    match run_with_step(&store, what, given.run.as_deref())? {
        Some(run) => step(context, &store, &run, what, evidence, &given.outputs),
        None if given.outputs.is_empty() => {
            ledger::mark_done(context, what, evidence, given.run.as_deref())
        }
        None => {
            let message = format!("--value is for steps, and `{what}` is no step of a stopped run");
            Err(UserError::new(Exit::Usage, message).hint("see the runs: phoenix-dr runs"))
        }
    }
}

/// Returns the run whose step is meant; `None` where something that a run left open is.
fn run_with_step(
    store: &Store,
    what: &str,
    text: Option<&str>,
) -> Result<Option<RunId>, UserError> {
    let run = match text {
        Some(text) => store.find(text).map_err(|error| find_error(&error))?,
        None if meant::run_with(store, what).is_ok() => return Ok(None),
        None => match meant::the_stopped_run(store, Namespace::Live, |run, _| {
            format!("mark-done {what} --run {run} --evidence WHY")
        }) {
            Ok(run) => run,
            // Whoever is called as no run's step is called as something open, which is then said to be unknown.
            Err(_) => return Ok(None),
        },
    };
    let state = journals::folded(&store.dir(&run).journal(), &run)?;
    let is_step = state.graph.of_step(&StepId::from(what)).is_some();
    Ok((is_step && !state.obligations.contains_key(what)).then_some(run))
}

/// Records that a person did a step, with what shows it and the outputs that are used later.
fn step(
    context: &Context,
    store: &Store,
    run: &RunId,
    id: &str,
    evidence: &str,
    given: &[(String, String)],
) -> Result<Exit, UserError> {
    let mut records = Vec::new();
    let now = context.clock.now();
    let mut open = store
        .open_run(run, now, |record| records.push(record))
        .map_err(|error| store_error(&error))?;
    let state = journals::fold(run, &records)?;
    let now = journals::instant(&state, &records, now);
    let step = StepId::from(id);
    may_be_marked(&state, &step)?;
    let outputs = read(&state, &step, given)?;
    let event = Event::StepMarked { step, evidence: evidence.to_owned(), outputs };
    let record = open.chain.seal(event, now);
    append(&mut open, &[record])?;
    if context.json() {
        let answer = json!({ "format": "phoenix-dr/mark-done", "version": 1, "run": run,
            "mode": state.mode, "step": id, "recorded": true });
        context.terminal.out(&answer.to_string());
        return Ok(Exit::Ok);
    }
    let flag = state.mode.flag();
    let (heading, short) = (state.mode.heading(), run.short());
    context.terminal.out(&format!("{heading}step {id} of run {short} is marked done: {evidence}"));
    context.terminal.out(&format!("{heading}verify it and go on: phoenix-dr resume {short}{flag}"));
    Ok(Exit::Ok)
}

fn may_be_marked(state: &RunState, step: &StepId) -> Result<(), UserError> {
    let (short, flag) = (state.run.short(), state.mode.flag());
    let refuse = |why: String, next: String| {
        Err(UserError::new(Exit::Usage, format!("{why}; nothing was recorded")).hint(next))
    };
    if state.is_final() {
        let next = format!("see what it did: phoenix-dr audit {short}");
        return refuse(format!("run {short} is over: none of its steps can be marked done"), next);
    }
    if rolls_back(state) {
        let next = format!("let it end: phoenix-dr resume {short}{flag}");
        return refuse(format!("run {short} is being rolled back"), next);
    }
    let Some(i) = state.graph.of_step(step) else {
        let known: Vec<&str> = state.plan.steps.iter().map(|step| step.id.0.as_str()).collect();
        return refuse(
            format!("run {short} has no step `{step}`"),
            format!("its steps: {}", known.join(", ")),
        );
    };
    let resume = format!("go on with the run: phoenix-dr resume {short}{flag}");
    if state.plan.steps[i].is_gate() {
        return refuse(format!("`{step}` only looks: nobody can do it by hand"), resume);
    }
    match &state.steps[i].stage {
        Stage::Ended(_) => refuse(format!("step `{step}` has ended already"), resume),
        Stage::Waiting if !state.ready().any(|ready| ready == i) => {
            let open: Vec<&str> = state.graph.needs[i]
                .iter()
                .filter(|need| state.steps[**need].ended().is_none())
                .map(|need| state.plan.steps[*need].id.0.as_str())
                .collect();
            let why =
                format!("step `{step}` needs others that have not ended: {}", open.join(", "));
            refuse(why, resume)
        }
        Stage::Waiting
        | Stage::Ready
        | Stage::Started
        | Stage::Doubtful { .. }
        | Stage::AttemptFailed { .. }
        | Stage::Performed
        | Stage::AsDesired
        | Stage::Marked { .. }
        | Stage::Failed { .. } => Ok(()),
    }
}

/// Reads the outputs that were given; those that are used later must be among them.
fn read(
    state: &RunState,
    step: &StepId,
    given: &[(String, String)],
) -> Result<Map<String, Value>, UserError> {
    let known = outputs::known(&state.plan, step);
    let mut read = Map::new();
    for (name, text) in given {
        let Some(output) = known.iter().find(|output| output.name == *name) else {
            let names: Vec<&str> = known.iter().map(|output| output.name.as_str()).collect();
            let message = format!("step `{step}` has no output `{name}`; nothing was recorded");
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(UserError::new(Exit::Usage, message).hint(format!("it has: {names}")));
        };
        let value = output.read(text).map_err(|why| {
            UserError::new(Exit::Usage, format!("--value {why}; nothing was recorded"))
        })?;
        read.insert(name.clone(), value);
    }
    let earlier = &state.steps[state.graph.of_step(step).unwrap_or_default()].outputs;
    let absent = |output: &WantedOutput| {
        !read.contains_key(&output.name) && !earlier.contains_key(&output.name)
    };
    let missing: Vec<WantedOutput> =
        outputs::wanted(&state.plan, step).into_iter().filter(absent).collect();
    if missing.is_empty() {
        return Ok(read);
    }
    let message =
        format!("outputs of `{step}` are used later and were not given; nothing was recorded");
    let error = UserError::new(Exit::NeedsAnswer, message);
    let hint = |error: UserError, output: WantedOutput| {
        error.hint(format!("add --value {}=VALUE", output.name))
    };
    Err(missing.into_iter().fold(error, hint))
}

#[cfg(test)]
#[path = "mark_tests.rs"]
mod tests;
