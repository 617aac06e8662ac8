//! What to do next: a pure function of the state and of what is running.

use std::collections::BTreeSet;

use super::state::{Graph, RunPhase, RunState, tolerated};
use super::step::{RevertStage, Stage};
use crate::event::{OnFailureFlag, RollbackScope, RunSettings};
use crate::outcome::{Effect, FailureClass, Verdict};
use crate::plan::{Body, PlannedStep, Rollback};
use crate::runbook::schema::OnFailure;

/// The next thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Drive these steps
    Start(Vec<usize>),
    /// Ask whether to go
    AskGo,
    /// Take the lease
    TakeLease,
    /// Make the checks that decide "restored"
    VerifyRun,
    /// Begin the rollback
    BeginRollback { why: String },
    /// Revert this step
    Revert(usize),
    /// End the rollback; the run is not over
    EndRollback { why: String },
    /// Nothing can start until something running ends
    Wait,
    /// Nothing more will happen in this process without a decision: stop, resumable
    Stop,
    /// The run is over
    Finish,
}

/// Decides. `running` are the steps being driven now; `stopping` says that nothing new may start.
pub(crate) fn next(state: &RunState, running: &BTreeSet<usize>, stopping: bool) -> Next {
    if state.is_final() {
        return Next::Finish;
    }
    if stopping {
        return if running.is_empty() { Next::Stop } else { Next::Wait };
    }
    match &state.phase {
        RunPhase::Running => forward(state, running),
        RunPhase::RollingBack { scope, .. } => backward(state, running, scope),
        RunPhase::Stopped { .. } => Next::Stop,
        RunPhase::Finished { .. } | RunPhase::Abandoned { .. } => Next::Finish,
    }
}

fn forward(state: &RunState, running: &BTreeSet<usize>) -> Next {
    if let Some(next) = after_failure(state, running) {
        return next;
    }
    let going = state.going();
    if going && !state.lease_taken && !state.vouched && state.ready().next().is_some() {
        return if running.is_empty() { Next::TakeLease } else { Next::Wait };
    }
    let free = state.settings.jobs.saturating_sub(running.len());
    let may_start = |i: &usize| !running.contains(i) && (going || is_prelude(state, *i));
    let start: Vec<usize> = state.ready().filter(may_start).take(free).collect();
    if !start.is_empty() {
        return Next::Start(start);
    }
    if !running.is_empty() {
        return Next::Wait;
    }
    if !state.failed.is_empty() {
        return Next::Stop;
    }
    if !going && state.ready().next().is_some() {
        return Next::AskGo;
    }
    // Nothing ready, nothing running, nothing undecided: the rest is blocked by failures the runbook tolerates.
    match state.restored {
        None if !state.plan.verification.is_empty() => Next::VerifyRun,
        None | Some(Verdict::Holds) => Next::Finish,
        // Not restored, by its own checks: changes stay, `resume` looks again.
        Some(Verdict::Fails | Verdict::Inconclusive) => Next::Stop,
    }
}

/// Says whether a step may run before go: it only looks, and so does everything it needs.
pub(super) fn is_prelude(state: &RunState, i: usize) -> bool {
    matches!(state.plan.steps[i].body, Body::Gate { .. })
        && state.graph.needs[i].iter().all(|need| is_prelude(state, *need))
}

/// What failed steps ask for, before anything else is started.
fn after_failure(state: &RunState, running: &BTreeSet<usize>) -> Option<Next> {
    let mut decide = Vec::new();
    // One failure that asks for it decides for all.
    if let Some(i) = state.failed.iter().find(|i| policy(state, **i) == Policy::RollBack) {
        // Nothing new starts once it is clear that all is going to be rolled back.
        if !running.is_empty() {
            return Some(Next::Wait);
        }
        let step = &state.plan.steps[*i].id;
        let why = match &state.steps[*i].stage {
            Stage::Failed { error } => format!("step `{step}` failed: {error}"),
            other => format!("step `{step}` is {other:?}"),
        };
        return Some(Next::BeginRollback { why });
    }
    for i in &state.failed {
        match policy(state, *i) {
            Policy::Stop if state.plan.fail_fast => {
                return Some(if running.is_empty() { Next::Stop } else { Next::Wait });
            }
            Policy::Stop | Policy::RollBack => {}
            Policy::Decide if !running.contains(i) => decide.push(*i),
            Policy::Decide => {}
        }
    }
    (!decide.is_empty()).then_some(Next::Start(decide))
}

/// What happens with a failed step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    RollBack,
    Stop,
    /// Its driver decides: a person is asked, or the runbook tolerates the failure
    Decide,
}

/// Returns the policy for a failed step: the runbook's own word, the flag, then the default. After a point
/// of no return nothing rolls back by itself, whatever was said.
pub(super) fn policy(state: &RunState, i: usize) -> Policy {
    let step = &state.plan.steps[i];
    if tolerated(step) {
        return Policy::Decide;
    }
    if is_prelude(state, i) {
        return Policy::Stop;
    }
    if asks(step, state.steps[i].failures, &state.settings) {
        return Policy::Decide;
    }
    let wanted = match (step.on_failure, state.settings.on_failure) {
        (OnFailure::Rollback, _) => Policy::RollBack,
        (OnFailure::Stop, _) => Policy::Stop,
        // What is in doubt has not failed, and taking back what works is harm: `resume` looks again.
        (OnFailure::Ask | OnFailure::Continue, OnFailureFlag::Auto) if in_doubt(state, i) => {
            Policy::Stop
        }
        (OnFailure::Ask | OnFailure::Continue, OnFailureFlag::Stop) => Policy::Stop,
        (OnFailure::Ask | OnFailure::Continue, OnFailureFlag::Rollback | OnFailureFlag::Auto) => {
            Policy::RollBack
        }
    };
    if wanted == Policy::RollBack && state.past() { Policy::Stop } else { wanted }
}

/// Says whether a step was given up because its checks could not tell.
fn in_doubt(state: &RunState, i: usize) -> bool {
    matches!(&state.steps[i].stage, Stage::Failed { error } if error.class == FailureClass::Doubt)
}

/// Says whether it is asked what follows a step's failure of this number: somebody is there or has answered it
/// beforehand, and neither the runbook nor a flag has decided already.
pub(super) fn asks(step: &PlannedStep, failures: u32, settings: &RunSettings) -> bool {
    let open = match step.on_failure {
        OnFailure::Ask | OnFailure::Continue => settings.on_failure == OnFailureFlag::Auto,
        OnFailure::Rollback | OnFailure::Stop => false,
    };
    let answered = || settings.failures_answered.contains(&(step.id.clone(), failures));
    open && (settings.interactive || answered())
}

fn backward(state: &RunState, running: &BTreeSet<usize>, scope: &RollbackScope) -> Next {
    if !running.is_empty() {
        return Next::Wait;
    }
    if let Some(i) = rollback_order(state, scope).into_iter().next() {
        // Taking back is a change like any other: it needs the right to act.
        let may_act = state.lease_taken || state.vouched;
        return if may_act { Next::Revert(i) } else { Next::TakeLease };
    }
    if state.steps.iter().any(|step| matches!(step.revert, RevertStage::Failed(_))) {
        return Next::Stop;
    }
    match scope {
        RollbackScope::Run => {
            let left = state.sealed_changes();
            if left.is_empty() {
                Next::Finish
            } else {
                Next::EndRollback { why: kept_by_a_point(state, &left) }
            }
        }
        RollbackScope::Past { step } => {
            Next::EndRollback { why: format!("only `{step}` was to be reverted") }
        }
        RollbackScope::Another { choosing } => {
            Next::EndRollback { why: format!("`{choosing}` can be chosen anew") }
        }
    }
}

/// Says that changes stay because a point of no return seals them: the run ends by going on forward.
fn kept_by_a_point(state: &RunState, left: &[usize]) -> String {
    let names = |steps: &[usize]| {
        let named: Vec<String> =
            steps.iter().map(|i| format!("`{}`", state.plan.steps[*i].id)).collect();
        named.join(", ")
    };
    let points: Vec<usize> = (0..state.steps.len()).filter(|i| state.point_passed(*i)).collect();
    format!(
        "past a point of no return ({}) nothing rolls back by itself; still changed: {}",
        names(&points),
        names(left)
    )
}

/// Returns the steps still to be reverted: failed ones first, then those others went on from (done, or failed
/// and tolerated), dependents before what they need. Sealed steps are left alone unless one is named; a failed revert keeps its ancestors.
pub(crate) fn rollback_order(state: &RunState, scope: &RollbackScope) -> Vec<usize> {
    let (sealed, only) = match scope {
        RollbackScope::Run => (state.sealed(), None),
        RollbackScope::Past { step } => {
            (BTreeSet::new(), Some(state.graph.of_step(step).into_iter().collect()))
        }
        RollbackScope::Another { choosing } => {
            let choosing = state.graph.of_step(choosing);
            (state.sealed(), Some(choosing.map(|i| state.rest_on(i)).unwrap_or_default()))
        }
    };
    let mut blocked = BTreeSet::new();
    for (i, step) in state.steps.iter().enumerate() {
        if matches!(step.revert, RevertStage::Failed(_)) {
            blocked.insert(i);
            blocked.extend(Graph::reach(&state.graph.needs, i));
        }
    }
    let wanted = |i: &usize| {
        let step = &state.steps[*i];
        state.plan.steps[*i].changes
            && step.effect != Effect::None
            && !matches!(step.revert, RevertStage::Done(_) | RevertStage::Failed(_))
            && !sealed.contains(i)
            && !blocked.contains(i)
            && only.as_ref().is_none_or(|only: &BTreeSet<usize>| only.contains(i))
    };
    let mut order: Vec<usize> = (0..state.steps.len()).filter(wanted).collect();
    let depth = depths(state);
    let gone_on_from =
        |i: &usize| state.steps[*i].ended().is_some_and(|end| state.lets_go_on(*i, end));
    order.sort_by_key(|i| (gone_on_from(i), std::cmp::Reverse(depth[*i]), std::cmp::Reverse(*i)));
    order
}

/// Length of the longest chain of needs below each step; dependents are always deeper.
fn depths(state: &RunState) -> Vec<usize> {
    let mut depth = vec![0; state.steps.len()];
    let mut open: Vec<usize> = state.graph.needs.iter().map(Vec::len).collect();
    let mut todo: Vec<usize> = (0..open.len()).filter(|i| open[*i] == 0).collect();
    while let Some(i) = todo.pop() {
        for dependent in &state.graph.dependents[i] {
            depth[*dependent] = depth[*dependent].max(depth[i] + 1);
            open[*dependent] -= 1;
            if open[*dependent] == 0 {
                todo.push(*dependent);
            }
        }
    }
    depth
}

/// Says whether a step can be reverted at all, and if not why.
pub(crate) fn kept(rollback: &Rollback) -> Option<&str> {
    match rollback {
        Rollback::None { why } => Some(why),
        Rollback::Auto | Rollback::Action { .. } => None,
    }
}
