//! Reverting one step past a point of no return: what it may be, and the word that says what comes of it.

use serde_json::Value;

use crate::engine::scheduler::kept;
use crate::engine::state::RunState;
use crate::error::UserError;
use crate::event::{AnswerForm, Question, QuestionKey, RollbackScope};
use crate::exit::Exit;
use crate::ids::StepId;
use crate::plan::Body;

/// Actions that move traffic, with `to` and `from` in their arguments.
const TRAFFIC: [&str; 3] = ["traffic.shift", "route53.weights", "s3.failover_object"];

/// The action that tells the application where its database is.
const WRITES: &str = "database.repoint";

/// Returns the scope of reverting this step alone; refuses what is no such step.
pub(super) fn scope(state: &RunState, id: &str) -> Result<RollbackScope, UserError> {
    let (short, step) = (state.run.short(), StepId::from(id));
    let refuse = |message: String| UserError::new(Exit::Usage, message);
    let Some(i) = state.graph.of_step(&step) else {
        let changed: Vec<&str> = (0..state.steps.len())
            .filter(|i| state.plan.steps[*i].changes && state.steps[*i].changed())
            .map(|i| state.plan.steps[i].id.0.as_str())
            .collect();
        return Err(refuse(format!("run {short} has no step `{id}`; nothing was reverted"))
            .hint(format!("it has changed: {}", changed.join(", "))));
    };
    if !state.plan.steps[i].changes || !state.steps[i].changed() {
        return Err(refuse(format!("`{id}` has nothing in place that could be reverted"))
            .hint(format!("see where the run stands: phoenix-dr status {short}")));
    }
    if let Some(why) = kept(&state.plan.steps[i].rollback) {
        let message = format!("`{id}` cannot be reverted: {why}; nothing was reverted");
        return Err(UserError::new(Exit::ChangesLeft, message)
            .hint(format!("go on with the run: phoenix-dr resume {short}")));
    }
    // What it did is for good, whatever its runbook says of steps of its kind: a rollback could only fail.
    if let Some(why) = &state.steps[i].irreversible {
        let message = format!("`{id}` cannot be reverted: {why}; nothing was reverted");
        return Err(UserError::new(Exit::ChangesLeft, message)
            .hint(format!("go on with the run: phoenix-dr resume {short}{}", state.mode.flag())));
    }
    if !state.sealed().contains(&i) {
        return Err(refuse(format!("no point of no return seals `{id}`; nothing was reverted"))
            .hint(format!("it is reverted with the rest: phoenix-dr rollback {short}")));
    }
    Ok(RollbackScope::Past { step })
}

/// Returns the question about a step past a point of no return.
pub(super) fn question(
    state: &RunState,
    step: &StepId,
    lines: Vec<String>,
) -> Result<Question, UserError> {
    let lost = || UserError::new(Exit::Internal, format!("step `{step}` is not in the plan"));
    let i = state.graph.of_step(step).ok_or_else(lost)?;
    let points: Vec<String> = (0..state.steps.len())
        .filter(|point| state.point_passed(*point))
        .map(|point| format!("`{}`", state.plan.steps[point].id))
        .collect();
    let (traffic, writes) = (traffic(state, i), writes(state, i));
    let mut lines = lines;
    lines.push(format!(
        "Past a point of no return ({}) forward fixes come first: phoenix-dr resume {}",
        points.join(", "),
        state.run.short()
    ));
    lines.extend(traffic.iter().map(|region| format!("Traffic then goes to {region}.")));
    lines.extend(writes.iter().map(|region| format!("The application then writes to {region}.")));
    lines.push("Everything else this run changed stays as it is.".to_owned());
    Ok(Question {
        key: QuestionKey::Past { step: step.clone() },
        title: format!("Revert {step} past a point of no return?"),
        lines,
        commands: Vec::new(),
        no_means: "nothing is reverted; the run stays as it is".to_owned(),
        form: AnswerForm::Type { word: word(step, traffic.as_deref(), writes.as_deref()) },
        pages: std::collections::BTreeMap::new(),
    })
}

/// Returns what must be typed: where traffic and writes would then go.
fn word(step: &StepId, traffic: Option<&str>, writes: Option<&str>) -> String {
    match (traffic, writes) {
        (Some(traffic), Some(writes)) => format!("traffic to {traffic}, writes to {writes}"),
        (Some(traffic), None) => format!("traffic to {traffic}"),
        (None, Some(writes)) => format!("writes to {writes}"),
        // The runbook moves neither: what is undone is all there is to say.
        (None, None) => format!("revert {step}"),
    }
}

/// Returns the region traffic goes to once this step is reverted; `None` where the run does not move traffic.
fn traffic(state: &RunState, reverted: usize) -> Option<String> {
    let moves = || steps(state, &TRAFFIC);
    match moves().rev().find(|i| in_place(state, *i, reverted)) {
        Some(i) => argument(state, i, "to"),
        None => moves().next().and_then(|i| argument(state, i, "from")),
    }
}

/// Returns the region the application writes to once this step is reverted.
fn writes(state: &RunState, reverted: usize) -> Option<String> {
    let told = || steps(state, &[WRITES]);
    match told().rev().find(|i| in_place(state, *i, reverted)) {
        Some(i) => argument(state, i, "region"),
        None => told().next().map(|_| {
            let from = state.plan.inputs.get("from").and_then(Value::as_str);
            from.unwrap_or(&state.plan.estate.primary.region).to_owned()
        }),
    }
}

fn steps<'a>(
    state: &'a RunState,
    actions: &'a [&str],
) -> impl DoubleEndedIterator<Item = usize> + 'a {
    (0..state.steps.len()).filter(|i| {
        matches!(&state.plan.steps[*i].body,
            Body::Action { action, .. } if actions.contains(&action.as_str()))
    })
}

fn in_place(state: &RunState, i: usize, reverted: usize) -> bool {
    i != reverted && (state.steps[i].changed() || state.steps[i].by_hand())
}

/// Returns an argument as the run resolved it, or as the plan has it.
fn argument(state: &RunState, i: usize, name: &str) -> Option<String> {
    let planned = match &state.plan.steps[i].body {
        Body::Action { with, .. } => with.get(name),
        Body::Gate { .. } => None,
    };
    let found = state.steps[i].with.get(name).or(planned)?;
    found.as_str().map(str::to_owned)
}

#[cfg(test)]
#[path = "past_tests.rs"]
mod tests;
