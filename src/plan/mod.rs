//! The plan: a runbook resolved with its inputs and an estate, digested; exactly what a run carries out.
//!
//! Owns the resolved shapes. `resolve` makes them; nothing in here reads files, clocks or the world.

mod digest;
pub(crate) mod inputs;
pub(crate) mod late;
mod limits;
mod objectives;
pub(crate) mod outputs;
mod rehearse;
pub(crate) mod resolve;
mod sections;
pub(crate) mod shared;
mod values;
pub(crate) mod ways;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub(crate) use digest::digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::estate::types::{Estate, Priority, Severity};
use crate::ids::StepId;
use crate::runbook::catalogue::actions::ActionName;
use crate::runbook::rehearse::{Rehearse, RehearsedProgram};
use crate::runbook::schema::{Objectives, OnFailure, Vote};
use crate::span::Span;

/// What a run carries out; embedded whole in its journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub runbook: String,
    pub title: String,
    pub command: String,
    pub severity: Severity,
    pub objectives: Objectives,
    /// Resolved inputs; a secret is its reference, never its value
    pub inputs: BTreeMap<String, Value>,
    pub estate: Estate,
    pub steps: Vec<PlannedStep>,
    pub verification: Vec<CheckSpec>,
    pub follow_ups: Vec<String>,
    pub fail_fast: bool,
    /// What a rehearsal does in place of programs
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rehearse: Vec<RehearsedProgram>,
    /// SHA-256 over everything above, in hex
    pub digest: String,
}

impl Plan {
    /// Returns the longest time the most urgent services may take to be back: the estate's own, else the runbook's.
    pub(crate) fn rto_max(&self) -> Span {
        let most = self.objectives.rto_max;
        match self.estate.objectives.get(&Priority::P0) {
            // An objective that is longer than the runbook's maximum is its own.
            Some(objective) => objective.rto_max.unwrap_or(most.max(objective.rto)),
            None => most,
        }
    }

    /// Returns the plan with a recovery point named beforehand for every step that chooses one and names none itself:
    /// it wins over whatever the step finds.
    #[must_use]
    pub(crate) fn choosing(mut self, kind: Option<&str>) -> Self {
        let Some(kind) = kind else { return self };
        for step in &mut self.steps {
            if let Body::Action { action, with } = &mut step.body
                && ActionName::parse(action).is_some_and(ActionName::chooses_recovery_point)
            {
                with.entry("choose").or_insert_with(|| Value::String(kind.to_owned()));
            }
        }
        self.digest = digest(&self);
        self
    }

    /// Returns the digest of what was to be carried out before a recovery point was named for it.
    pub(crate) fn digest_without(&self, kind: Option<&str>) -> String {
        let Some(kind) = kind else { return self.digest.clone() };
        let mut plan = self.clone();
        for step in &mut plan.steps {
            if let Body::Action { action, with } = &mut step.body
                && ActionName::parse(action).is_some_and(ActionName::chooses_recovery_point)
                && with.get("choose").and_then(Value::as_str) == Some(kind)
            {
                with.remove("choose");
            }
        }
        digest(&plan)
    }

    /// Binds the choice of a step to another recovery point.
    pub(crate) fn rebind(&mut self, i: usize, point: &str) {
        self.steps[i].choose(point);
        self.digest = digest(self);
    }

    /// Returns the step of that id.
    pub(crate) fn step(&self, id: &StepId) -> Option<&PlannedStep> {
        self.steps.iter().find(|step| step.id == *id)
    }
}

/// A step with its names resolved; expressions over outputs of earlier steps remain as `${{ … }}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PlannedStep {
    pub id: StepId,
    pub title: String,
    pub phase: Option<String>,
    pub priority: Option<Priority>,
    pub service: Option<String>,
    /// Direct dependencies, explicit or by order
    pub needs: Vec<StepId>,
    /// Expression evaluated once, when the step is ready
    pub when: Option<String>,
    pub approve: Approval,
    pub body: Body,
    /// The action changes the estate: not a gate, a choice, a wait or a person's work
    pub changes: bool,
    pub verify: Vec<CheckSpec>,
    pub rollback: Rollback,
    /// Declared so; an observation may report it as well
    pub point_of_no_return: bool,
    /// The runbook's word; `Ask` when it says nothing
    pub on_failure: OnFailure,
    pub retry: Retries,
    pub timeout: Span,
    pub usually: Option<Span>,
    pub critical: bool,
    /// What a rehearsal does in place of its program
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearse: Option<Rehearse>,
}

impl PlannedStep {
    /// Says whether the step is a choice that is bound to this recovery point.
    pub(crate) fn chooses(&self, point: &str) -> bool {
        let Body::Action { action, with } = &self.body else { return false };
        ActionName::parse(action).is_some_and(ActionName::chooses_recovery_point)
            && with.get("choose").and_then(Value::as_str) == Some(point)
    }

    /// Binds the step's choice to a recovery point.
    fn choose(&mut self, point: &str) {
        if let Body::Action { with, .. } = &mut self.body {
            with.insert("choose".to_owned(), Value::String(point.to_owned()));
        }
    }

    /// Says whether the step only looks.
    pub(crate) const fn is_gate(&self) -> bool {
        matches!(self.body, Body::Gate { .. })
    }
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Body {
    /// Checks that must hold
    Gate { checks: Vec<CheckSpec> },
    /// A change, or a question to a person
    Action { action: String, with: Map<String, Value> },
}

/// When the operator is asked about a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Approval {
    /// Covered by go
    Plan,
    /// Asked by itself
    Each { say: Option<String> },
    /// Asked by itself; the word must be typed
    Typed { say: String, word: String },
}

/// How a step is undone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Rollback {
    /// The action restores its before-image
    Auto,
    None {
        why: String,
    },
    Action {
        action: String,
        with: Map<String, Value>,
    },
}

/// The engine's retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retries {
    pub attempts: u32,
    pub backoff_first: Span,
    pub backoff_longest: Span,
}

/// A check to be made, with its deadline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CheckSpec {
    pub check: String,
    pub title: String,
    pub with: Map<String, Value>,
    pub that: Option<String>,
    pub expect: Option<Value>,
    pub within: Span,
    pub every: Span,
    pub consecutive: u32,
    pub vote: Vote,
}
