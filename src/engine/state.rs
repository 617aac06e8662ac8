//! The run's state: a pure fold over its events. Nothing else may change it.

mod reversal;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::step::{Illegal, RevertStage, Stage, StepState};
use crate::event::{
    Answer, Event, Mode, QuestionKey, Reached, Record, RollbackScope, RunEnd, RunSettings,
};
use crate::ids::{RunId, StepId};
use crate::outcome::{Obligation, StepEnd, Verdict};
use crate::plan::{Plan, PlannedStep};
use crate::runbook::schema::OnFailure;

/// Where the run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunPhase {
    Running,
    RollingBack {
        why: String,
        scope: RollbackScope,
    },
    /// No process works on it; `resume` goes on. `rolling_back` says with what
    Stopped {
        why: String,
        exit: u8,
        rolling_back: Option<(String, RollbackScope)>,
    },
    Finished {
        end: RunEnd,
        exit: u8,
    },
    Abandoned {
        reason: String,
    },
}

/// Edges of the plan by step index, and the order ready steps start in.
#[derive(Debug)]
pub(crate) struct Graph {
    index: HashMap<StepId, usize>,
    pub needs: Vec<Vec<usize>>,
    pub dependents: Vec<Vec<usize>>,
    /// Place in the order of starting: priority first, then the longest remaining path
    rank: Vec<usize>,
    /// Step index by rank
    by_rank: Vec<usize>,
}

impl Graph {
    /// Builds the edges; a need that names no step is ignored here, loading has refused it.
    pub(crate) fn of(plan: &Plan) -> Self {
        let index: HashMap<StepId, usize> =
            plan.steps.iter().enumerate().map(|(i, step)| (step.id.clone(), i)).collect();
        let mut needs = vec![Vec::new(); plan.steps.len()];
        let mut dependents = vec![Vec::new(); plan.steps.len()];
        for (i, step) in plan.steps.iter().enumerate() {
            for need in step.needs.iter().filter_map(|need| index.get(need)) {
                needs[i].push(*need);
                dependents[*need].push(i);
            }
        }
        let remaining = remaining_path(plan, &dependents);
        let mut by_rank: Vec<usize> = (0..plan.steps.len()).collect();
        by_rank.sort_by_key(|i| (plan.steps[*i].priority, std::cmp::Reverse(remaining[*i]), *i));
        // `None` sorts before `Some(P0)`: a step without a priority is usually a gate or a message, and cheap.
        let mut rank = vec![0; by_rank.len()];
        for (place, i) in by_rank.iter().enumerate() {
            rank[*i] = place;
        }
        Self { index, needs, dependents, rank, by_rank }
    }

    /// Returns the index of a step.
    pub(crate) fn of_step(&self, id: &StepId) -> Option<usize> {
        self.index.get(id).copied()
    }

    /// Returns every step reachable along `edges`, without the start.
    pub(crate) fn reach(edges: &[Vec<usize>], start: usize) -> BTreeSet<usize> {
        let mut seen = BTreeSet::new();
        let mut todo = edges[start].clone();
        while let Some(next) = todo.pop() {
            if seen.insert(next) {
                todo.extend(&edges[next]);
            }
        }
        seen
    }
}

/// Seconds from each step's start to the end of the longest chain of steps that need it.
fn remaining_path(plan: &Plan, dependents: &[Vec<usize>]) -> Vec<u64> {
    let own = |step: &PlannedStep| step.usually.map_or(1, |span| span.0.as_secs().max(1));
    let mut remaining = vec![0; plan.steps.len()];
    let mut waiting: Vec<usize> = dependents.iter().map(Vec::len).collect();
    let mut needs = vec![Vec::new(); plan.steps.len()];
    for (i, list) in dependents.iter().enumerate() {
        for dependent in list {
            needs[*dependent].push(i);
        }
    }
    let mut todo: Vec<usize> = (0..plan.steps.len()).filter(|i| waiting[*i] == 0).collect();
    while let Some(i) = todo.pop() {
        remaining[i] += own(&plan.steps[i]);
        for need in &needs[i] {
            remaining[*need] = remaining[*need].max(remaining[i]);
            waiting[*need] -= 1;
            if waiting[*need] == 0 {
                todo.push(*need);
            }
        }
    }
    remaining
}

/// What the run leaves open, and which step opened it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Owed {
    pub step: Option<StepId>,
    pub obligation: Obligation,
}

/// Everything the journal says.
#[derive(Debug, Clone)]
pub(crate) struct RunState {
    pub run: RunId,
    pub mode: Mode,
    pub plan: Arc<Plan>,
    pub graph: Arc<Graph>,
    pub settings: RunSettings,
    pub began: Timestamp,
    pub incident_started: Timestamp,
    /// Somebody, or a signal, said when the incident began; else it is taken to be the run's start
    pub dated: bool,
    pub phase: RunPhase,
    pub steps: Vec<StepState>,
    /// Needs of each step that do not yet let it start
    open_needs: Vec<usize>,
    /// Ranks of steps that can go on now
    ready: BTreeSet<usize>,
    /// Steps that failed for good and await a decision
    pub failed: BTreeSet<usize>,
    /// Steps not ended yet
    unended: usize,
    /// Steps that have passed a point of no return
    passed: BTreeSet<usize>,
    /// The recovery point an operator named by flag, the latest that was
    point: Option<String>,
    pub answers: BTreeMap<QuestionKey, Answer>,
    pub obligations: BTreeMap<String, Owed>,
    pub lease_taken: bool,
    /// An operator vouched for being alone
    pub vouched: bool,
    pub restored: Option<Verdict>,
    /// What the data that took over tells of what was lost
    pub reached: Reached,
}

/// Why a journal does not fold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FoldError {
    #[error("the first record must start a run")]
    NoStart,
    #[error("a run starts only once")]
    SecondStart,
    #[error("step `{0}` is not in the plan")]
    UnknownStep(StepId),
    #[error("step `{step}`: {illegal}")]
    Illegal { step: StepId, illegal: Illegal },
    #[error("a rollback ends only after it began")]
    NoRollback,
    #[error("nothing may follow the end of a run")]
    AfterEnd,
}

/// A journal that is folded as it is read: none of its records need be kept.
#[derive(Debug, Default)]
pub(crate) struct Folding(Option<RunState>);

impl Folding {
    /// Takes in the next record.
    pub(crate) fn take(&mut self, record: &Record) -> Result<(), FoldError> {
        match &mut self.0 {
            Some(state) => state.apply(&record.event, record.time),
            None => {
                self.0 = Some(RunState::start(record)?);
                Ok(())
            }
        }
    }

    /// Returns the state the records lead to.
    pub(crate) fn end(self) -> Result<RunState, FoldError> {
        self.0.ok_or(FoldError::NoStart)
    }
}

impl RunState {
    /// Starts a state from the record that starts a run.
    pub(crate) fn start(first: &Record) -> Result<Self, FoldError> {
        let Event::RunStarted { run, mode, plan, incident_started, settings, .. } = &first.event
        else {
            return Err(FoldError::NoStart);
        };
        let plan = Arc::clone(plan);
        let graph = Arc::new(Graph::of(&plan));
        let open_needs: Vec<usize> = graph.needs.iter().map(Vec::len).collect();
        let ready =
            open_needs.iter().enumerate().filter(|(_, n)| **n == 0).map(|(i, _)| graph.rank[i]);
        Ok(Self {
            run: run.clone(),
            mode: *mode,
            settings: settings.clone(),
            point: settings.recovery_point.clone(),
            began: first.time,
            incident_started: *incident_started,
            dated: *incident_started != first.time,
            phase: RunPhase::Running,
            steps: vec![StepState::default(); plan.steps.len()],
            ready: ready.collect(),
            failed: BTreeSet::new(),
            unended: plan.steps.len(),
            passed: BTreeSet::new(),
            open_needs,
            answers: BTreeMap::new(),
            obligations: BTreeMap::new(),
            lease_taken: false,
            vouched: false,
            restored: None,
            reached: Reached::default(),
            plan,
            graph,
        })
    }

    /// Folds a whole journal.
    pub(crate) fn fold(records: &[Record]) -> Result<Self, FoldError> {
        let mut folding = Folding::default();
        records.iter().try_for_each(|record| folding.take(record))?;
        folding.end()
    }

    /// Applies one event: the only way the state changes.
    pub(crate) fn apply(&mut self, event: &Event, at: Timestamp) -> Result<(), FoldError> {
        if self.is_final() {
            // A person may still remark on a finished run, and close what it left open.
            return match event {
                Event::Noted { .. } => Ok(()),
                Event::ObligationClosed { id, .. } => {
                    self.obligations.remove(id);
                    Ok(())
                }
                _ => Err(FoldError::AfterEnd),
            };
        }
        self.reached.apply(&self.plan, event);
        match event {
            Event::RunStarted { .. } => return Err(FoldError::SecondStart),
            Event::RunResumed { settings, .. } => self.resume(settings),
            Event::IncidentDated { at, .. } => {
                self.incident_started = *at;
                self.dated = true;
            }
            Event::LeaseTaken { .. } => self.lease_taken = true,
            Event::LeaseVouched { .. } => self.vouched = true,
            Event::Decided { question, answer } => self.decide(question, answer),
            Event::RollbackStarted { why, scope } => {
                self.phase = RunPhase::RollingBack { why: why.clone(), scope: scope.clone() };
            }
            Event::RollbackEnded { .. } => self.end_rollback()?,
            Event::ObligationOpened { step, obligation } => {
                let owed = Owed { step: step.clone(), obligation: obligation.clone() };
                self.obligations.insert(obligation.id.clone(), owed);
            }
            Event::ObligationClosed { id, .. } => {
                self.obligations.remove(id);
            }
            Event::RunVerified { verdict, .. } => self.restored = Some(*verdict),
            Event::RunStopped { why, exit } => self.stop(why, *exit),
            Event::RunFinished { end, exit } => {
                self.phase = RunPhase::Finished { end: *end, exit: *exit };
            }
            Event::RunAbandoned { reason, .. } => {
                self.phase = RunPhase::Abandoned { reason: reason.clone() };
            }
            Event::Preflight { .. } | Event::Asked { .. } | Event::Noted { .. } => {}
            Event::StepReady { step, .. }
            | Event::GateSeen { step, .. }
            | Event::StepStarted { step, .. }
            | Event::AttemptFinished { step, .. }
            | Event::Probed { step, .. }
            | Event::StepSatisfied { step, .. }
            | Event::StepMarked { step, .. }
            | Event::Verified { step, .. }
            | Event::StepFailed { step, .. }
            | Event::StepFinished { step, .. }
            | Event::StepReopened { step, .. }
            | Event::RevertStarted { step, .. }
            | Event::RevertFinished { step, .. } => self.apply_step(step, event, at)?,
        }
        Ok(())
    }

    fn apply_step(&mut self, id: &StepId, event: &Event, at: Timestamp) -> Result<(), FoldError> {
        let i = self.graph.of_step(id).ok_or_else(|| FoldError::UnknownStep(id.clone()))?;
        self.steps[i]
            .apply(event, at)
            .map_err(|illegal| FoldError::Illegal { step: id.clone(), illegal })?;
        if self.point_passed(i) {
            self.passed.insert(i);
        } else {
            self.passed.remove(&i);
        }
        match event {
            Event::StepFinished { end, .. } => self.end_step(i, *end),
            Event::StepFailed { .. } => {
                self.failed.insert(i);
                self.ready.remove(&self.graph.rank[i]);
            }
            Event::StepReopened { .. } | Event::StepMarked { .. } => {
                self.failed.remove(&i);
                if self.open_needs[i] == 0 {
                    self.ready.insert(self.graph.rank[i]);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end_step(&mut self, i: usize, end: StepEnd) {
        let graph = Arc::clone(&self.graph);
        self.unended -= 1;
        self.failed.remove(&i);
        self.ready.remove(&graph.rank[i]);
        if !self.lets_go_on(i, end) {
            return;
        }
        for dependent in &graph.dependents[i] {
            self.open_needs[*dependent] -= 1;
            if self.open_needs[*dependent] == 0 && self.steps[*dependent].ended().is_none() {
                self.ready.insert(graph.rank[*dependent]);
            }
        }
    }

    fn stop(&mut self, why: &str, exit: u8) {
        let rolling_back = match &self.phase {
            RunPhase::RollingBack { why, scope } => Some((why.clone(), scope.clone())),
            RunPhase::Stopped { rolling_back, .. } => rolling_back.clone(),
            RunPhase::Running | RunPhase::Finished { .. } | RunPhase::Abandoned { .. } => None,
        };
        self.phase = RunPhase::Stopped { why: why.to_owned(), exit, rolling_back };
    }

    fn resume(&mut self, settings: &RunSettings) {
        self.settings = settings.clone();
        // A lease and a word given by another process do not carry over.
        self.lease_taken = false;
        self.vouched = false;
        if let RunPhase::Stopped { rolling_back, .. } = &self.phase {
            self.phase = match rolling_back {
                Some((why, scope)) => {
                    RunPhase::RollingBack { why: why.clone(), scope: scope.clone() }
                }
                None => RunPhase::Running,
            };
        }
        // What failed is tried again by the new process: steps forward, reverts backward.
        let forward = self.phase == RunPhase::Running;
        for (i, step) in self.steps.iter_mut().enumerate() {
            if matches!(step.revert, RevertStage::Failed(_)) {
                step.revert = RevertStage::Untouched;
            }
            if forward {
                // A new process has its own tries: an attempt cut off by a crash was not one that failed.
                step.forget_attempts();
            }
            if forward && matches!(step.stage, Stage::Failed { .. } | Stage::AttemptFailed { .. }) {
                step.reopen_for_resume();
                self.failed.remove(&i);
                self.ready.insert(self.graph.rank[i]);
            }
        }
        if forward {
            self.begin_anew(|_, step| step.taken_back());
            if let Some(point) = &settings.recovery_point {
                self.choose_named(point);
            }
            // A new process may try again what led nowhere before.
            self.steps.iter_mut().for_each(|step| step.tried.clear());
        }
        if self.restored != Some(Verdict::Holds) {
            self.restored = None;
        }
        self.answers.retain(|key, answer| keeps(key, answer));
    }

    /// Returns the steps that can go on now, first the one to start first.
    pub(crate) fn ready(&self) -> impl Iterator<Item = usize> + '_ {
        self.ready.iter().map(|rank| self.graph.by_rank[*rank])
    }

    /// Says whether nothing may follow.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(self.phase, RunPhase::Finished { .. } | RunPhase::Abandoned { .. })
    }

    /// Says whether an operator said go.
    pub(crate) fn going(&self) -> bool {
        self.answers.get(&QuestionKey::Go) == Some(&Answer::Yes)
    }

    /// Says whether anything in the world may be changed by this run now.
    pub(crate) fn changed(&self) -> bool {
        // Choosing, waiting and a person's word change nothing that could be left behind.
        let mut steps = self.plan.steps.iter().zip(&self.steps);
        steps.any(|(step, state)| step.changes && state.changed())
    }
}

/// Says whether a failed step's failure is accepted by the runbook: it is not critical, or the run goes on.
pub(crate) fn tolerated(step: &PlannedStep) -> bool {
    !step.critical || step.on_failure == OnFailure::Continue
}

/// Says whether an answer outlives the process it was given to: consents do, refusals and menus are asked again.
pub(crate) fn keeps(key: &QuestionKey, answer: &Answer) -> bool {
    match key {
        QuestionKey::Failure { .. }
        | QuestionKey::RevertFailure { .. }
        | QuestionKey::Past { .. }
        | QuestionKey::Alone
        | QuestionKey::Blocked
        | QuestionKey::Rollback
        | QuestionKey::Credentials { .. } => false,
        QuestionKey::Go
        | QuestionKey::Choice { .. }
        | QuestionKey::Loss { .. }
        | QuestionKey::Approve { .. }
        | QuestionKey::Override { .. }
        | QuestionKey::Waive { .. }
        | QuestionKey::Manual { .. } => match answer {
            Answer::Yes | Answer::Typed { .. } | Answer::Chosen { .. } => true,
            Answer::No
            | Answer::Menu { .. }
            | Answer::Recheck
            | Answer::Began { .. }
            | Answer::Nobody { .. }
            | Answer::Missing { .. } => false,
        },
    }
}
