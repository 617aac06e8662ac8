//! Looks at everything a plan would change, without changing anything: for the dry run, doctor and the go screen.
//!
//! All looks share one deadline, so that a region that swallows packets costs no more than one that answers. What
//! depends on a step that was not done yet is looked at with what that step can be expected to give: whatever is
//! missing there is better known now than after a promotion.

mod ahead;
mod line;
mod undo;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::actions::foresee::Foreseen;
use crate::clients::Clients;
use crate::clock::{Elapsed, since, within};
use crate::engine;
use crate::engine::ports::{Call, Observation, Ports, Progress};
use crate::engine::state::RunState;
use crate::engine::step::StepState;
use crate::event::Mode;
use crate::ids::{RunId, StepId};
use crate::outcome::{ActionError, Candidate, CheckReport, Fidelity, Verdict};
use crate::plan::late::About;
use crate::plan::{Body, CheckSpec, Plan, late};
use crate::report::plan_view::{DryRunReport, DryRunStep, Found, StateFound};
use crate::runbook::expression::Scope;
use crate::runbook::graph::Graph;
use line::Line;

/// All looks together: the go screen must be there in time although a region is dark.
const LIMIT: Duration = Duration::from_secs(15);

/// What a look has at least: a service that answers was not silent because others had taken their time before it.
const LOOK_LEAST: Duration = Duration::from_secs(3);

/// One look: less than all of them, so that what depends on its failing can still be looked at.
const LOOK_LIMIT: Duration = Duration::from_secs(11);

/// A failure that came sooner than this is looked at once more, after the pause.
const QUICK: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(700);

/// Looks at the same time: a runbook of thousands of programs must not start them all at once.
const LOOKS_MAX: usize = 64;

/// What is looked at, and with what.
pub(super) struct Sight<'a> {
    pub plan: &'a Arc<Plan>,
    pub run: &'a RunId,
    pub ports: &'a Ports,
    pub clients: &'a Arc<Clients>,
    /// A run that is taken up again: only the steps that have not ended are looked at
    pub state: Option<&'a RunState>,
    /// Recovery point that was named beforehand
    pub point: Option<&'a str>,
}

/// What a look could not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unseen {
    pub step: StepId,
    pub why: String,
    pub hint: Option<String>,
    /// It was looked at with what an earlier step can be expected to give
    pub foreseen: bool,
}

/// Looks at every step whose names are known; the rest is known after the steps it waits for.
pub(super) async fn plan(sight: &Sight<'_>) -> (DryRunReport, Vec<Unseen>) {
    let now = sight.ports.clock.now();
    let graph = Graph::over(engine::state::Graph::of(sight.plan).needs);
    let changes = |need: usize| sight.plan.steps[need].changes && !sight.has_ended(need);
    let mut looker = Looker {
        changing: last_upstream(&graph, changes),
        graph,
        scope: late::scope(sight.plan, &sight.about(now)),
        until: now + SignedDuration::try_from(LIMIT.saturating_sub(LOOK_LEAST)).unwrap_or_default(),
        given: sight.ended(),
        foreseen: BTreeMap::new(),
        found: BTreeMap::new(),
        omitted: BTreeSet::new(),
        choice: None,
        named: false,
        unseen: Vec::new(),
        sight,
    };
    looker.look_at_all().await;
    looker.look_ahead().await;
    looker.say_the_rest();
    undo::settle(sight, &looker.graph, &mut looker.found);
    let Looker { mut found, unseen, .. } = looker;
    let steps = (0..sight.plan.steps.len()).filter_map(|i| found.remove(&i)).collect();
    let (mode, plan) = (Mode::DryRun, Arc::clone(sight.plan));
    let report = DryRunReport { mode, plan, seen: now, steps, findings: Vec::new() };
    (report, unseen)
}

impl Sight<'_> {
    fn has_ended(&self, i: usize) -> bool {
        self.state.is_some_and(|state| state.steps[i].ended().is_some())
    }

    /// Returns what the run says of itself; before it has begun, that is said of now.
    fn about(&self, now: Timestamp) -> About<'_> {
        About {
            id: self.run,
            mode: self.state.map_or(Mode::DryRun, |state| state.mode),
            started: self.state.map_or(now, |state| state.began),
            incident_started: self.state.map_or(now, |state| state.incident_started),
        }
    }

    /// Returns the outputs of the steps that have ended.
    fn ended(&self) -> BTreeMap<StepId, Map<String, Value>> {
        let steps = self.state.into_iter().flat_map(|state| state.steps.iter().enumerate());
        let ended = steps.filter(|(_, step)| step.ended().is_some());
        ended.map(|(i, step)| (self.plan.steps[i].id.clone(), step.outputs.clone())).collect()
    }

    /// Returns the call a step would make; one that was begun keeps its token and its choice.
    fn call(&self, i: usize, with: Map<String, Value>) -> Option<Call> {
        let step = &self.plan.steps[i];
        let Body::Action { action, .. } = &step.body else { return None };
        let begun: Option<&StepState> = self.state.map(|state| &state.steps[i]);
        // Nobody listens: what an observation tells on its way is not shown here.
        let (sink, _) = mpsc::unbounded_channel();
        Some(Call {
            run: self.run.clone(),
            step: step.id.clone(),
            action: action.clone(),
            with,
            generation: begun.map_or(0, |state| state.generation),
            choice: begun.and_then(|state| state.choice.clone()),
            progress: Progress::new(step.id.clone(), sink),
        })
    }
}

struct Looker<'a> {
    sight: &'a Sight<'a>,
    graph: Graph,
    /// The last step upstream of each, by order, that will change something
    changing: Vec<Option<usize>>,
    scope: Scope,
    /// No look is begun later than this
    until: Timestamp,
    /// Outputs of steps that are as desired already, or have ended
    given: BTreeMap<StepId, Map<String, Value>>,
    /// Outputs other steps can be expected to have
    foreseen: BTreeMap<StepId, Foreseen>,
    found: BTreeMap<usize, DryRunStep>,
    /// Steps that give nothing, for as things look they are skipped
    omitted: BTreeSet<StepId>,
    /// The step that offers a choice, as it was seen
    choice: Option<(usize, Call, Observation)>,
    /// What is chosen was said beforehand
    named: bool,
    unseen: Vec<Unseen>,
}

/// What can be said of a step before it is looked at.
enum Ready {
    Task(Task),
    Said(Found),
    /// Its names depend on steps that have not been looked at
    NotYet,
}

/// What is looked at.
enum Task {
    Action(Box<Call>),
    Gate(Vec<CheckSpec>),
}

/// What one look gave.
enum Look {
    Gate(Found),
    Seen(Box<Call>, Box<Observation>),
    Unseen {
        why: String,
        hint: Option<String>,
    },
    /// There was no time left for it
    Late {
        why: String,
    },
}

impl Looker<'_> {
    /// Says whether there is time for another look.
    fn may_begin(&self) -> bool {
        self.sight.ports.clock.now() < self.until
    }

    /// Looks at what can be looked at; what that tells lets others be looked at.
    async fn look_at_all(&mut self) {
        let steps = (0..self.sight.plan.steps.len()).rev();
        let mut line = Line::of(steps.filter(|i| !self.sight.has_ended(*i)));
        let mut pending = FuturesUnordered::new();
        let (ports, until) = (self.sight.ports, self.until);
        loop {
            while self.may_begin()
                && pending.len() < LOOKS_MAX
                && let Some(i) = line.waiting.pop()
            {
                if line.begun.contains(&i) || self.found.contains_key(&i) {
                    continue;
                }
                match self.ready(i) {
                    Ready::NotYet => line.put_off(i, self.unknown(i)),
                    Ready::Said(found) => {
                        self.say(i, Fidelity::Resolved, found, Vec::new());
                        // That it gives nothing lets others be looked at as well.
                        line.gave(&self.sight.plan.steps[i].id);
                    }
                    Ready::Task(task) => {
                        line.begun.insert(i);
                        pending.push(async move { (i, look(ports, task, until).await) });
                    }
                }
            }
            let Some((i, look)) = pending.next().await else { break };
            if self.take(i, look) {
                line.gave(&self.sight.plan.steps[i].id);
            }
        }
        self.give_up(line.waiting.iter().copied());
    }

    /// Names what there was no time left for.
    fn give_up(&mut self, unseen: impl Iterator<Item = usize>) {
        let late = Elapsed(LIMIT).to_string();
        for i in unseen {
            if !self.found.contains_key(&i) {
                self.miss(i, late.clone(), None);
            }
        }
    }

    /// Notes what a look found. True when it gave outputs.
    fn take(&mut self, i: usize, look: Look) -> bool {
        match look {
            Look::Gate(found) => {
                self.say(i, Fidelity::Observed, found, Vec::new());
                false
            }
            Look::Unseen { why, hint } => {
                self.miss(i, why, hint);
                false
            }
            Look::Late { why } => {
                self.miss(i, why, None);
                false
            }
            Look::Seen(call, seen) => {
                if !seen.choices.is_empty() && !seen.satisfied {
                    self.choice = Some((i, *call, (*seen).clone()));
                }
                let gives = seen.satisfied;
                if gives {
                    self.given.insert(self.sight.plan.steps[i].id.clone(), seen.outputs.clone());
                }
                let (fidelity, commands) = (seen.fidelity, seen.commands.clone());
                self.say(i, fidelity, state(*seen), commands);
                gives
            }
        }
    }

    fn miss(&mut self, i: usize, why: String, hint: Option<String>) {
        let step = self.sight.plan.steps[i].id.clone();
        let found = Found::Unreachable { why: why.clone(), hint: hint.clone() };
        self.unseen.push(Unseen { step, why, hint, foreseen: false });
        self.say(i, Fidelity::Unreachable, found, Vec::new());
    }

    fn say(&mut self, i: usize, fidelity: Fidelity, found: Found, commands: Vec<String>) {
        let step = &self.sight.plan.steps[i];
        if matches!(found, Found::Skipped { .. }) {
            self.omitted.insert(step.id.clone());
        }
        self.found.insert(i, DryRunStep::of(step, fidelity, found, commands));
    }

    fn ready(&self, i: usize) -> Ready {
        let steps = &self.sight.plan.steps;
        if let Some(need) = self.changing[i].filter(|_| steps[i].is_gate()) {
            return Ready::Said(Found::Deferred { after: steps[need].id.clone() });
        }
        self.resolved(i, |used| self.given.get(used))
    }

    /// Resolves a step's names with the outputs of the steps it uses, as far as they are known.
    fn resolved<'o>(
        &'o self,
        i: usize,
        outputs: impl Fn(&StepId) -> Option<&'o Map<String, Value>>,
    ) -> Ready {
        let step = &self.sight.plan.steps[i];
        let mut scope = self.scope.clone();
        if late::is_open(step) {
            for used in late::uses(step) {
                if let Some(outputs) = outputs(&used) {
                    scope.set_outputs(&used.0, outputs.clone());
                }
            }
        }
        let unknown = |asked: StepId| outputs(&asked).is_none() && !self.omitted.contains(&asked);
        if let Some(when) = &step.when {
            if late::condition_asks(when).into_iter().any(unknown) {
                return Ready::NotYet;
            }
            match late::condition(when, &scope) {
                Ok(true) => {}
                Ok(false) => return Ready::Said(Found::Skipped { when: when.clone() }),
                Err(_) => return Ready::NotYet,
            }
        }
        if late::body_asks(step).into_iter().any(unknown) {
            return Ready::NotYet;
        }
        match &step.body {
            Body::Action { with, .. } => match late::arguments(with, &scope) {
                Ok(with) => {
                    let call = self.sight.call(i, with);
                    call.map_or(Ready::NotYet, |call| Ready::Task(Task::Action(Box::new(call))))
                }
                Err(_) => Ready::NotYet,
            },
            Body::Gate { checks } => {
                let checks: Result<Vec<_>, _> =
                    checks.iter().map(|check| late::check(check, &scope)).collect();
                checks.map_or(Ready::NotYet, |checks| Ready::Task(Task::Gate(checks)))
            }
        }
    }

    fn say_the_rest(&mut self) {
        for i in 0..self.sight.plan.steps.len() {
            if !self.found.contains_key(&i) && !self.sight.has_ended(i) {
                let found = Found::KnownAfter { step: self.waits_for(i) };
                self.say(i, Fidelity::Printed, found, Vec::new());
            }
        }
    }

    /// The steps it uses whose outputs are not known.
    fn unknown(&self, i: usize) -> impl Iterator<Item = StepId> + use<'_> {
        let step = &self.sight.plan.steps[i];
        let used = late::uses(step).into_iter();
        // Its own outputs are for its proof: it does not wait for itself.
        used.filter(|used| *used != step.id && !self.given.contains_key(used))
    }

    /// The step whose result it waits for: one it names, else one that it needs.
    fn waits_for(&self, i: usize) -> StepId {
        let steps = &self.sight.plan.steps;
        let unknown =
            |need: &&usize| !self.given.contains_key(&steps[**need].id) && !steps[**need].is_gate();
        let needed =
            || self.graph.needs[i].iter().find(unknown).map(|need| steps[*need].id.clone());
        self.unknown(i).next().or_else(needed).unwrap_or_else(|| steps[i].id.clone())
    }
}

/// Returns, for each step, the last by order of the steps upstream of it that are as wanted.
fn last_upstream(graph: &Graph, wanted: impl Fn(usize) -> bool) -> Vec<Option<usize>> {
    let mut last: Vec<Option<usize>> = vec![None; graph.needs.len()];
    for step in &graph.order {
        let needs = graph.needs[*step].iter();
        let upstream = needs.flat_map(|need| [last[*need], wanted(*need).then_some(*need)]);
        last[*step] = upstream.flatten().max();
    }
    last
}

/// Returns how long a look that begins now may take, where none begins later than `until`.
fn granted(ports: &Ports, until: Timestamp) -> Duration {
    (since(ports.clock.now(), until) + LOOK_LEAST).min(LOOK_LIMIT)
}

/// Looks once.
async fn look(ports: &Ports, task: Task, until: Timestamp) -> Look {
    let limit = granted(ports, until);
    match task {
        Task::Gate(checks) => Look::Gate(look_at_gate(&checks, ports, limit).await),
        Task::Action(call) => {
            let looked = within(&*ports.clock, limit, look_again(ports, &call)).await;
            match looked {
                Ok(Ok(seen)) => Look::Seen(call, Box::new(seen)),
                Ok(Err(error)) => Look::Unseen { why: error.message, hint: error.hint },
                Err(late) => Look::Late { why: late.to_string() },
            }
        }
    }
}

/// Looks, and once more where the first answer was a quick refusal that passes: one throttled request must not keep a
/// run from starting. What took its time to fail is not worth as much time again.
async fn look_again(ports: &Ports, call: &Call) -> Result<Observation, ActionError> {
    let began = ports.clock.now();
    let first = ports.actions.observe(call).await;
    let quick = since(began, ports.clock.now()) < QUICK;
    match first {
        Err(error) if error.class.retryable() && quick => {
            ports.clock.sleep(PAUSE).await;
            ports.actions.observe(call).await
        }
        first => first,
    }
}

async fn look_at_gate(checks: &[CheckSpec], ports: &Ports, limit: Duration) -> Found {
    let looks = checks.iter().map(|check| async {
        within(&*ports.clock, limit, ports.checks.look(check)).await.unwrap_or_else(|late| {
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
    Found::Gate { verdict, reports }
}

/// Returns an observation as a dry run shows it.
fn state(seen: Observation) -> Found {
    if let Some(by_hand) = seen.by_hand {
        return Found::ByHand {
            lines: by_hand.lines,
            evidence: by_hand.evidence,
            later: by_hand.later.is_some(),
        };
    }
    let state = Box::new(StateFound {
        present: seen.live,
        desired: seen.desired,
        differences: seen.differences,
        satisfied: seen.satisfied,
        irreversible: seen.irreversible,
        evidence: seen.evidence,
        choices: seen.choices,
        waiver: seen.waiver.map(|waiver| (waiver.why, waiver.word)),
        seen: None,
    });
    Found::State { state }
}

/// Returns the candidates a dry run found, and the one the program would take.
pub(super) fn candidates(report: &DryRunReport) -> (Vec<Candidate>, Option<String>) {
    let choices = report.steps.iter().find_map(|step| match &step.found {
        Found::State { state } if !state.choices.is_empty() => Some(state.choices.clone()),
        _ => None,
    });
    let choices = choices.unwrap_or_default();
    let best = Candidate::best(&choices, report.plan.rto_max()).map(|c| c.id.clone());
    (choices, best)
}

#[cfg(test)]
#[path = "observe_tests.rs"]
mod tests;
