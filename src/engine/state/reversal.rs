//! What may be taken back, what a point of no return seals, and what begins anew once something was taken back.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{FoldError, Graph, RunPhase, RunState};
use crate::engine::scheduler::kept;
use crate::engine::step::{RevertStage, Stage, StepState};
use crate::event::{Answer, QuestionKey, RollbackScope};
use crate::ids::StepId;
use crate::outcome::{Effect, StepEnd};
use crate::plan::{Approval, outputs};
use crate::runbook::schema::OnFailure;

impl RunState {
    /// Says whether step `i` has passed a point of no return.
    pub(crate) fn point_passed(&self, i: usize) -> bool {
        let (step, state) = (&self.plan.steps[i], &self.steps[i]);
        let declared = step.point_of_no_return || state.irreversible.is_some();
        if state.by_hand() && step.changes {
            // Nobody looked before a person did it: what could be for good is taken to be.
            let typed = matches!(step.approve, Approval::Typed { .. });
            return declared || typed || kept(&step.rollback).is_some();
        }
        declared && state.effect != Effect::None
    }

    /// Says whether any step has passed a point of no return.
    pub(crate) fn past(&self) -> bool {
        !self.passed.is_empty()
    }

    /// Returns the steps automatic rollback must leave alone: points of no return, what is upstream
    /// of them, and what follows them.
    pub(crate) fn sealed(&self) -> BTreeSet<usize> {
        let mut sealed = BTreeSet::new();
        for i in &self.passed {
            sealed.insert(*i);
            sealed.extend(Graph::reach(&self.graph.needs, *i));
            sealed.extend(Graph::reach(&self.graph.dependents, *i));
        }
        sealed
    }

    /// Returns the sealed steps whose change is, or may be, in place.
    pub(crate) fn sealed_changes(&self) -> Vec<usize> {
        let sealed = self.sealed();
        sealed
            .into_iter()
            .filter(|i| self.plan.steps[*i].changes && self.steps[*i].changed())
            .collect()
    }

    /// Returns the steps that use outputs of a step, and those that use theirs.
    pub(crate) fn rest_on(&self, i: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut todo = vec![i];
        while let Some(next) = todo.pop() {
            let users = outputs::users(&self.plan, &self.plan.steps[next].id);
            for user in users.iter().filter_map(|user| self.graph.of_step(user)) {
                if user != next && found.insert(user) {
                    todo.push(user);
                }
            }
        }
        found
    }

    /// Returns the step whose choice another one could take the place of, after step `i` failed by it.
    ///
    /// `None` after a point of no return, and where something done by the choice cannot be taken back.
    pub(crate) fn another(&self, i: usize) -> Option<usize> {
        let upstream = Graph::reach(&self.graph.needs, i);
        let chosen =
            upstream.into_iter().rev().find(|above| self.steps[*above].choice.is_some())?;
        let resting = self.rest_on(chosen);
        let undoable = |user: &usize| {
            let state = &self.steps[*user];
            !self.plan.steps[*user].changes
                || state.effect == Effect::None
                || (kept(&self.plan.steps[*user].rollback).is_none()
                    && !matches!(state.revert, RevertStage::Done(_)))
        };
        let possible = resting.contains(&i) && !self.past() && resting.iter().all(undoable);
        possible.then_some(chosen)
    }

    /// Says whether a step that ended so lets the steps that need it start.
    pub(crate) fn lets_go_on(&self, i: usize, end: StepEnd) -> bool {
        end.satisfies()
            || (end == StepEnd::Failed && self.plan.steps[i].on_failure == OnFailure::Continue)
    }

    /// Takes an answer down. A loss that is refused takes back the choice that would bring it.
    pub(super) fn decide(&mut self, question: &QuestionKey, answer: &Answer) {
        if let (QuestionKey::Loss { step, .. }, Answer::No) = (question, answer) {
            self.forget_choice(step);
        }
        self.answers.insert(question.clone(), answer.clone());
    }

    /// Returns the choice step `i` stands by: made, or answered and not yet made.
    fn choice_of(&self, i: usize) -> Option<&str> {
        if let Some(made) = &self.steps[i].choice {
            return Some(&made.id);
        }
        let of = &self.plan.steps[i].id;
        self.answers.iter().find_map(|(key, answer)| match (key, answer) {
            (QuestionKey::Choice { step, .. }, Answer::Chosen { id }) if step == of => {
                Some(id.as_str())
            }
            _ => None,
        })
    }

    /// Returns the steps whose choice is another one than `point`.
    fn chosen_otherwise(&self, point: &str) -> Vec<usize> {
        let all = 0..self.steps.len();
        all.filter(|i| self.choice_of(*i).is_some_and(|chosen| chosen != point)).collect()
    }

    /// Says whether anything was changed by what step `i` chose.
    fn begun_by(&self, i: usize) -> bool {
        let mut resting = self.rest_on(i).into_iter();
        resting.any(|user| self.plan.steps[user].changes && self.steps[user].changed())
    }

    /// Returns the choice that can not be made again for `point`, for something was changed by it.
    pub(crate) fn begun_with_another(&self, point: &str) -> Option<&str> {
        // What was said at the start, by a variable of the shell perhaps, is no new wish.
        if self.point.as_deref() == Some(point) {
            return None;
        }
        let chosen = self.chosen_otherwise(point);
        chosen.into_iter().find(|i| self.begun_by(*i)).and_then(|i| self.choice_of(i))
    }

    /// Has every choice made again that is another one than `point`, or bound to another one when the run was started,
    /// and by which nothing was changed yet.
    pub(super) fn choose_named(&mut self, point: &str) {
        if self.point.as_deref() == Some(point) {
            return;
        }
        let bound = self.point.replace(point.to_owned()).filter(|bound| bound != point);
        for i in 0..self.steps.len() {
            let rebound = bound.as_deref().is_some_and(|bound| self.plan.steps[i].chooses(bound));
            let otherwise = self.choice_of(i).is_some_and(|chosen| chosen != point);
            if (!rebound && !otherwise) || self.begun_by(i) {
                continue;
            }
            if rebound {
                Arc::make_mut(&mut self.plan).rebind(i, point);
            }
            self.choose_again(i);
        }
    }

    /// Ends a rollback after which the run is not over.
    pub(super) fn end_rollback(&mut self) -> Result<(), FoldError> {
        let RunPhase::RollingBack { scope, .. } = &self.phase else {
            return Err(FoldError::NoRollback);
        };
        let scope = scope.clone();
        self.phase = RunPhase::Running;
        match scope {
            // What was taken back begins anew when the run is taken up again.
            RollbackScope::Run | RollbackScope::Past { .. } => Ok(()),
            RollbackScope::Another { choosing } => self.choose_anew(&choosing),
        }
    }

    /// Has the choice made again for which another method is wanted.
    fn choose_anew(&mut self, choosing: &StepId) -> Result<(), FoldError> {
        let i = self.graph.of_step(choosing);
        self.choose_again(i.ok_or_else(|| FoldError::UnknownStep(choosing.clone()))?);
        Ok(())
    }

    /// Has a choice made again: the choosing step begins anew with everything after it that is not in place.
    fn choose_again(&mut self, i: usize) {
        let after = Graph::reach(&self.graph.dependents, i);
        let resting = self.rest_on(i);
        self.begin_anew(|at, step| {
            // A condition may come out differently, and what was found as it should be may not be it any more.
            let open = step.ended().is_none()
                || step.ended() == Some(StepEnd::Skipped)
                || resting.contains(&at);
            let in_place = step.effect != Effect::None && !step.taken_back();
            at == i || (after.contains(&at) && open && !in_place)
        });
        let choosing = self.plan.steps[i].id.clone();
        self.forget_choice(&choosing);
    }

    /// Forgets what was answered about a step's choice: it is asked anew.
    fn forget_choice(&mut self, choosing: &StepId) {
        self.answers.retain(|key, _| match key {
            QuestionKey::Choice { step, .. } | QuestionKey::Loss { step, .. } => step != choosing,
            QuestionKey::Go
            | QuestionKey::Blocked
            | QuestionKey::Rollback
            | QuestionKey::Approve { .. }
            | QuestionKey::Override { .. }
            | QuestionKey::Waive { .. }
            | QuestionKey::Failure { .. }
            | QuestionKey::RevertFailure { .. }
            | QuestionKey::Past { .. }
            | QuestionKey::Manual { .. }
            | QuestionKey::Alone
            | QuestionKey::Credentials { .. } => true,
        });
    }

    /// Lets steps begin anew, and finds out what can go on then.
    pub(super) fn begin_anew(&mut self, wanted: impl Fn(usize, &StepState) -> bool) {
        let mut any = false;
        for (i, step) in self.steps.iter_mut().enumerate() {
            if wanted(i, step) {
                *step = step.anew();
                any = true;
            }
        }
        if any {
            self.reckon();
        }
    }

    /// Derives from the steps alone what events otherwise keep up to date one by one.
    fn reckon(&mut self) {
        let graph = Arc::clone(&self.graph);
        let goes_on =
            |i: &usize| self.steps[*i].ended().is_some_and(|end| self.lets_go_on(*i, end));
        self.open_needs =
            graph.needs.iter().map(|needs| needs.iter().filter(|i| !goes_on(i)).count()).collect();
        self.passed = (0..self.steps.len()).filter(|i| self.point_passed(*i)).collect();
        self.unended = self.steps.iter().filter(|step| step.ended().is_none()).count();
        let stage = |i: &usize| &self.steps[*i].stage;
        let all = 0..self.steps.len();
        self.failed = all.clone().filter(|i| matches!(stage(i), Stage::Failed { .. })).collect();
        let ready = all.filter(|i| {
            self.open_needs[*i] == 0 && !matches!(stage(i), Stage::Ended(_) | Stage::Failed { .. })
        });
        self.ready = ready.map(|i| graph.rank[i]).collect();
    }
}
