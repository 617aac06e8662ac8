//! Looks at everything a plan would change, without changing anything: for the dry run and the go screen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::clock::within;
use crate::engine;
use crate::engine::ports::{Call, Observation, Ports, Progress};
use crate::engine::state::RunState;
use crate::engine::step::StepState;
use crate::event::Mode;
use crate::ids::{RunId, StepId};
use crate::outcome::{Candidate, CheckReport, Fidelity, Verdict};
use crate::plan::late::About;
use crate::plan::{Body, CheckSpec, Plan, PlannedStep, late};
use crate::report::plan_view::{DryRunReport, DryRunStep, Found, StateFound};
use crate::runbook::expression::Scope;
use crate::runbook::graph::Graph;

/// A service that is not there must not hold up the screen.
const LOOK_LIMIT: Duration = Duration::from_secs(12);

/// Looks at every step whose names are known; the rest is known after the steps it waits for.
///
/// Of a run that is taken up again, only the steps that have not ended are looked at.
pub(super) async fn plan(
    plan: &Arc<Plan>,
    run: &RunId,
    ports: &Ports,
    state: Option<&RunState>,
) -> DryRunReport {
    let seen = ports.clock.now();
    let ended = state.into_iter().flat_map(|state| state.steps.iter().enumerate());
    let known = ended
        .filter(|(_, step)| step.ended().is_some())
        .map(|(i, step)| (plan.steps[i].id.clone(), step.outputs.clone()))
        .collect();
    let ended = |i: usize| state.is_some_and(|state| state.steps[i].ended().is_some());
    let graph = Graph::over(engine::state::Graph::of(plan).needs);
    // Before a run has begun, what it would say of itself is said of now.
    let about = About {
        id: run,
        mode: state.map_or(Mode::DryRun, |state| state.mode),
        started: state.map_or(seen, |state| state.began),
        incident_started: state.map_or(seen, |state| state.incident_started),
    };
    let mut looker = Looker {
        plan,
        run,
        ports,
        state,
        changing: nearest(&graph, usize::max, |need| plan.steps[need].changes && !ended(need)),
        graph,
        scope: late::scope(plan, &about),
        known,
        found: BTreeMap::new(),
    };
    looker.look_at_all().await;
    let mut found = looker.found;
    let steps = plan.steps.iter().filter_map(|step| found.remove(&step.id)).collect();
    DryRunReport { plan: Arc::clone(plan), seen, steps, findings: Vec::new() }
}

struct Looker<'a> {
    plan: &'a Plan,
    run: &'a RunId,
    ports: &'a Ports,
    state: Option<&'a RunState>,
    graph: Graph,
    /// The last step upstream of each, by order, that will change something
    changing: Vec<Option<usize>>,
    scope: Scope,
    /// Outputs of steps that are as desired already, or have ended
    known: BTreeMap<StepId, Map<String, Value>>,
    found: BTreeMap<StepId, DryRunStep>,
}

/// What can be said of a step before it is looked at.
enum Ready {
    Look(Map<String, Value>),
    Checks(Vec<CheckSpec>),
    Said(Found),
    /// Its names depend on steps that have not been looked at
    NotYet,
}

impl Looker<'_> {
    /// Looks in rounds: what a round learns lets the next one resolve more names.
    async fn look_at_all(&mut self) {
        loop {
            let mut looks = Vec::new();
            for (i, step) in self.plan.steps.iter().enumerate() {
                if self.found.contains_key(&step.id) || self.ended(i) {
                    continue;
                }
                match self.ready(i) {
                    Ready::NotYet => {}
                    Ready::Said(found) => {
                        self.note(step, Fidelity::Resolved, found, Vec::new());
                    }
                    ready @ (Ready::Look(_) | Ready::Checks(_)) => looks.push((i, ready)),
                }
            }
            if looks.is_empty() {
                break;
            }
            let ports = self.ports;
            let (plan, run, state) = (self.plan, self.run, self.state);
            let seen = join_all(looks.into_iter().map(|(i, ready)| async move {
                let under_way = state.map(|state| &state.steps[i]);
                (i, look(&plan.steps[i], run, ports, ready, under_way).await)
            }))
            .await;
            for (i, seen) in seen {
                if let Some(outputs) = seen.outputs {
                    self.known.insert(self.plan.steps[i].id.clone(), outputs);
                }
                self.note(&self.plan.steps[i], seen.fidelity, seen.found, seen.commands);
            }
        }
        let steps = &self.plan.steps;
        let unknown = nearest(&self.graph, usize::min, |need| {
            !self.known.contains_key(&steps[need].id) && !steps[need].is_gate()
        });
        for (i, step) in steps.iter().enumerate() {
            if !self.found.contains_key(&step.id) && !self.ended(i) {
                let found = Found::KnownAfter { step: steps[unknown[i].unwrap_or(i)].id.clone() };
                self.note(step, Fidelity::Printed, found, Vec::new());
            }
        }
    }

    fn ended(&self, i: usize) -> bool {
        self.state.is_some_and(|state| state.steps[i].ended().is_some())
    }

    fn note(
        &mut self,
        step: &PlannedStep,
        fidelity: Fidelity,
        found: Found,
        commands: Vec<String>,
    ) {
        self.found.insert(step.id.clone(), DryRunStep::of(step, fidelity, found, commands));
    }

    fn ready(&self, i: usize) -> Ready {
        let step = &self.plan.steps[i];
        if let Some(need) = self.changing[i].filter(|_| step.is_gate()) {
            return Ready::Said(Found::Deferred { after: self.plan.steps[need].id.clone() });
        }
        let mut scope = self.scope.clone();
        if late::is_open(step) {
            for used in late::uses(step) {
                if let Some(outputs) = self.known.get(&used) {
                    scope.set_outputs(&used.0, outputs.clone());
                }
            }
        }
        if let Some(when) = &step.when {
            match late::condition(when, &scope) {
                Ok(true) => {}
                Ok(false) => return Ready::Said(Found::Skipped { when: when.clone() }),
                Err(_) => return Ready::NotYet,
            }
        }
        match &step.body {
            Body::Action { with, .. } => match late::arguments(with, &scope) {
                Ok(with) => Ready::Look(with),
                Err(_) => Ready::NotYet,
            },
            Body::Gate { checks } => {
                let checks: Result<Vec<_>, _> =
                    checks.iter().map(|check| late::check(check, &scope)).collect();
                checks.map_or(Ready::NotYet, Ready::Checks)
            }
        }
    }
}

/// Returns, for each step, the one `choose` prefers among the steps upstream of it that are as wanted.
fn nearest(
    graph: &Graph,
    choose: fn(usize, usize) -> usize,
    wanted: impl Fn(usize) -> bool,
) -> Vec<Option<usize>> {
    let mut nearest: Vec<Option<usize>> = vec![None; graph.needs.len()];
    for step in &graph.order {
        let needs = graph.needs[*step].iter();
        let upstream = needs.flat_map(|need| [nearest[*need], wanted(*need).then_some(*need)]);
        nearest[*step] = upstream.flatten().reduce(choose);
    }
    nearest
}

/// What one look gave.
struct Look {
    fidelity: Fidelity,
    found: Found,
    commands: Vec<String>,
    outputs: Option<Map<String, Value>>,
}

async fn look(
    step: &PlannedStep,
    run: &RunId,
    ports: &Ports,
    ready: Ready,
    under_way: Option<&StepState>,
) -> Look {
    match (ready, &step.body) {
        (Ready::Checks(checks), _) => look_at_gate(&checks, ports).await,
        (Ready::Look(with), Body::Action { action, .. }) => {
            let call = call(step, run, action, with, under_way);
            look_at_action(ports, &call).await
        }
        (Ready::Said(found), _) => {
            Look { fidelity: Fidelity::Resolved, found, commands: Vec::new(), outputs: None }
        }
        (Ready::NotYet | Ready::Look(_), _) => {
            let found = Found::KnownAfter { step: step.id.clone() };
            Look { fidelity: Fidelity::Printed, found, commands: Vec::new(), outputs: None }
        }
    }
}

async fn look_at_gate(checks: &[CheckSpec], ports: &Ports) -> Look {
    let looks = checks.iter().map(|check| async {
        within(&*ports.clock, LOOK_LIMIT, ports.checks.look(check)).await.unwrap_or_else(|late| {
            CheckReport {
                title: check.title.clone(),
                check: check.check.clone(),
                verdict: Verdict::Inconclusive,
                said: late.to_string(),
                value: Value::Null,
                at: ports.clock.now(),
                votes: Vec::new(),
                control: None,
            }
        })
    });
    let reports = join_all(looks).await;
    let verdict = if reports.iter().all(|report| report.verdict == Verdict::Holds) {
        Verdict::Holds
    } else if reports.iter().any(|report| report.verdict == Verdict::Fails) {
        Verdict::Fails
    } else {
        Verdict::Inconclusive
    };
    let found = Found::Gate { verdict, reports };
    Look { fidelity: Fidelity::Observed, found, commands: Vec::new(), outputs: None }
}

/// Returns the call a step would make; one that was begun keeps its token and its choice.
fn call(
    step: &PlannedStep,
    run: &RunId,
    action: &str,
    with: Map<String, Value>,
    under_way: Option<&StepState>,
) -> Call {
    // Nobody listens: what an observation tells on its way is not shown here.
    let (sink, _) = mpsc::unbounded_channel();
    Call {
        run: run.clone(),
        step: step.id.clone(),
        action: action.to_owned(),
        with,
        generation: under_way.map_or(0, |state| state.generation),
        choice: under_way.and_then(|state| state.choice.clone()),
        progress: Progress::new(step.id.clone(), sink),
    }
}

async fn look_at_action(ports: &Ports, call: &Call) -> Look {
    let looked = within(&*ports.clock, LOOK_LIMIT, ports.actions.observe(call)).await;
    let (why, hint) = match looked {
        Ok(Ok(seen)) => return state(seen),
        Ok(Err(error)) => (error.message, error.hint),
        Err(late) => (late.to_string(), None),
    };
    let found = Found::Unreachable { why, hint };
    Look { fidelity: Fidelity::Unreachable, found, commands: Vec::new(), outputs: None }
}

fn state(seen: Observation) -> Look {
    let Observation { fidelity, commands, outputs, satisfied, .. } = seen.clone();
    let outputs = satisfied.then_some(outputs);
    if let Some(by_hand) = seen.by_hand {
        let found = Found::ByHand {
            lines: by_hand.lines,
            evidence: by_hand.evidence,
            later: by_hand.later.is_some(),
        };
        return Look { fidelity, found, commands, outputs };
    }
    let state = Box::new(StateFound {
        present: seen.live,
        desired: seen.desired,
        differences: seen.differences,
        satisfied,
        irreversible: seen.irreversible,
        evidence: seen.evidence,
        choices: seen.choices,
        waiver: seen.waiver.map(|waiver| (waiver.why, waiver.word)),
        seen: None,
    });
    Look { fidelity, found: Found::State { state }, commands, outputs }
}

/// Returns the candidates a dry run found, and the one the program would take.
pub(super) fn candidates(report: &DryRunReport) -> (Vec<Candidate>, Option<String>) {
    let choices = report.steps.iter().find_map(|step| match &step.found {
        Found::State { state } if !state.choices.is_empty() => Some(state.choices.clone()),
        _ => None,
    });
    let choices = choices.unwrap_or_default();
    let best = Candidate::best(&choices, report.plan.objectives.rto_max).map(|c| c.id.clone());
    (choices, best)
}
