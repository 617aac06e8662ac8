//! Looks at what waits for steps that were not done yet, with what those can be expected to give.

use futures::future::join_all;
use serde_json::{Map, Value};

use super::{Look, Looker, Ready, Task, Unseen, granted, look};
use crate::actions::foresee::{bears_placeholders, foresee};
use crate::clock::within;
use crate::engine::ports::{Call, Observation};
use crate::ids::StepId;
use crate::outcome::{Candidate, Fidelity};
use crate::report::plan_view::Found;

impl Looker<'_> {
    /// Looks at what waits for a choice or for an instance that is not there yet, with what can be expected of it.
    pub(super) async fn look_ahead(&mut self) {
        self.foresee_choice().await;
        let plan = self.sight.plan;
        let mut tried: Vec<usize> = Vec::new();
        while !self.foreseen.is_empty() && self.may_begin() {
            let open = |i: &usize| {
                !self.found.contains_key(i) && !self.sight.has_ended(*i) && !tried.contains(i)
            };
            let (mut calls, mut unborne, mut omitted) = (Vec::new(), Vec::new(), Vec::new());
            for i in (0..plan.steps.len()).filter(open).filter(|i| !plan.steps[*i].is_gate()) {
                match self.resolved(i, |used| self.known_or_foreseen(used)) {
                    Ready::Task(Task::Action(call)) if self.bears(i, &call) => {
                        calls.push((i, *call));
                    }
                    Ready::Task(Task::Action(call)) => unborne.push((i, *call)),
                    // Skipped, as things look: it gives nothing.
                    Ready::Said(found) => omitted.push((i, found)),
                    Ready::Task(Task::Gate(_)) | Ready::NotYet => {}
                }
            }
            if calls.is_empty() && unborne.is_empty() && omitted.is_empty() {
                return;
            }
            tried.extend(calls.iter().chain(&unborne).map(|(i, _)| *i));
            tried.extend(omitted.iter().map(|(i, _)| *i));
            self.omit(omitted);
            for (i, call) in unborne {
                self.foresee(i, &call, &Observation::new(Value::Null, Value::Null)).await;
            }
            self.look_once_ahead(calls).await;
        }
    }

    /// Notes steps that are skipped by what is foreseen. That is settled where the choice was named beforehand: a person, or
    /// a better recovery point that comes up meanwhile, may make it another one.
    fn omit(&mut self, omitted: Vec<(usize, Found)>) {
        for (i, found) in omitted {
            if self.named && self.certain(i) {
                self.say(i, Fidelity::Resolved, found, Vec::new());
            } else {
                self.omitted.insert(self.sight.plan.steps[i].id.clone());
            }
        }
    }

    fn known_or_foreseen(&self, step: &StepId) -> Option<&Map<String, Value>> {
        let foreseen = || self.foreseen.get(step).map(|foreseen| &foreseen.outputs);
        self.given.get(step).or_else(foreseen)
    }

    /// Says whether a step can be looked at although a name it uses may not exist yet.
    fn bears(&self, i: usize, call: &Call) -> bool {
        bears_placeholders(&call.action) || self.certain(i)
    }

    /// Says whether everything is there that the steps upstream were foreseen to give.
    fn certain(&self, i: usize) -> bool {
        let certain = |step: &StepId| self.foreseen.get(step).is_none_or(|found| found.certain);
        let mut upstream = self.graph.ancestors(i).into_iter();
        upstream.all(|need| certain(&self.sight.plan.steps[need].id))
    }

    async fn foresee_choice(&mut self) {
        let Some((i, mut call, seen)) = self.choice.take() else { return };
        let named = self.sight.point.and_then(|point| {
            let usable = |choice: &&Candidate| choice.id == point && choice.unusable.is_none();
            seen.choices.iter().find(usable)
        });
        self.named = named.is_some();
        let taken = named.or_else(|| Candidate::best(&seen.choices, self.sight.plan.rto_max()));
        call.choice = taken.cloned();
        self.foresee(i, &call, &seen).await;
    }

    async fn foresee(&mut self, i: usize, call: &Call, seen: &Observation) {
        let foreseen = foresee(self.sight.clients, call, seen);
        let limit = granted(self.sight.ports, self.until);
        let foreseen = within(&*self.sight.ports.clock, limit, foreseen).await;
        // What cannot be foreseen is known when it is done: nothing is concluded from it.
        if let Ok(Ok(Some(foreseen))) = foreseen {
            self.foreseen.insert(self.sight.plan.steps[i].id.clone(), foreseen);
        }
    }

    async fn look_once_ahead(&mut self, calls: Vec<(usize, Call)>) {
        let (ports, until) = (self.sight.ports, self.until);
        let looks = calls.into_iter().map(|(i, call)| async move {
            (i, look(ports, Task::Action(Box::new(call)), until).await)
        });
        for (i, look) in join_all(looks).await {
            match look {
                Look::Unseen { why, hint } => {
                    let step = self.sight.plan.steps[i].id.clone();
                    self.unseen.push(Unseen { step, why, hint, foreseen: true });
                }
                Look::Seen(call, seen) => {
                    self.foresee(i, &call, &seen).await;
                    // A command with a made-up name helps nobody.
                    let commands = if self.certain(i) { seen.commands } else { Vec::new() };
                    let found = Found::KnownAfter { step: self.waits_for(i) };
                    self.say(i, Fidelity::Resolved, found, commands);
                }
                // Not to have been looked at is nothing that would fail: it is known when its turn comes.
                Look::Gate(_) | Look::Late { .. } => {}
            }
        }
    }
}
