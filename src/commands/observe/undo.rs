//! What can be undone once the recovery point is known, as far as it is: a promotion is for good and seals what follows.

use std::collections::BTreeMap;

use super::{Sight, last_upstream};
use crate::outcome::Candidate;
use crate::plan::{Body, PlannedStep, ways};
use crate::report::plan_view::{DryRunStep, Found, Undo};
use crate::runbook::catalogue::actions::{ActionName, RecoveryMethod, RecoveryPoint};
use crate::runbook::graph::Graph;

/// Says of every step that was looked at whether it can be undone, now that all of them have been.
pub(super) fn settle(sight: &Sight<'_>, graph: &Graph, found: &mut BTreeMap<usize, DryRunStep>) {
    let choice = Choice::of(sight, found);
    for (i, step) in found.iter_mut() {
        let planned = &sight.plan.steps[*i];
        if matches!(step.undo, Undo::Restore | Undo::Delete) && promotes(sight, planned) {
            step.undo = choice.undo();
        }
    }
    let last = |i: usize| {
        let planned = &sight.plan.steps[i];
        !sight.has_ended(i) && found.get(&i).is_some_and(|step| is_point(sight, planned, step))
    };
    let sealed = last_upstream(graph, last);
    for (i, by) in sealed.into_iter().enumerate() {
        let (Some(by), Some(step)) = (by, found.get_mut(&i)) else { continue };
        match step.undo {
            Undo::Restore
            | Undo::Delete
            | Undo::Action { .. }
            | Undo::Command { .. }
            | Undo::ByChoice { .. } => {
                let before = &sight.plan.steps[by];
                step.undo =
                    Undo::Sealed { by: before.id.clone(), promotes: promotes(sight, before) };
            }
            Undo::Nothing | Undo::Harmless { .. } | Undo::Sealed { .. } | Undo::Never { .. } => {}
        }
    }
}

/// Says whether nothing before or behind a step is taken back by itself once it has begun, as the engine has it: by a promise
/// of the runbook, or for what was seen. What only stays itself, as evidence does, keeps nothing else from being taken back.
fn is_point(sight: &Sight<'_>, planned: &PlannedStep, step: &DryRunStep) -> bool {
    let irreversible =
        matches!(&step.found, Found::State { state } if state.irreversible.is_some());
    let declared = planned.point_of_no_return || irreversible || promotes(sight, planned);
    declared && step.undo.is_final()
}

/// Says whether a step may promote a replica.
fn promotes(sight: &Sight<'_>, step: &PlannedStep) -> bool {
    let Body::Action { action, .. } = &step.body else { return false };
    match ActionName::parse(action) {
        Some(ActionName::RdsPromoteReplica) => true,
        Some(ActionName::RdsRecover) => {
            ways::of_step(sight.plan, step).contains(&RecoveryMethod::Promote)
        }
        Some(_) | None => false,
    }
}

/// What is known of the recovery point.
struct Choice {
    method: Option<RecoveryMethod>,
    /// Named beforehand: nothing else is taken
    named: bool,
}

impl Choice {
    fn of(sight: &Sight<'_>, found: &BTreeMap<usize, DryRunStep>) -> Self {
        let choices: &[Candidate] = found
            .values()
            .find_map(|step| match &step.found {
                Found::State { state } if !state.choices.is_empty() => {
                    Some(state.choices.as_slice())
                }
                _ => None,
            })
            .unwrap_or_default();
        let named = sight.point.and_then(|point| choices.iter().find(|choice| choice.id == point));
        let best = || Candidate::best(choices, sight.plan.rto_max());
        let taken = named.or_else(best);
        let method =
            taken.and_then(|taken| RecoveryPoint::of(taken).ok()).map(|point| point.method);
        Self { method, named: named.is_some() }
    }

    fn undo(&self) -> Undo {
        match (self.method, self.named) {
            (Some(RecoveryMethod::Promote), true) => {
                Undo::Never { why: "a promoted replica cannot follow again".to_owned() }
            }
            (Some(RecoveryMethod::RestorePointInTime | RecoveryMethod::RestoreSnapshot), true) => {
                Undo::Delete
            }
            (method, _) => {
                Undo::ByChoice { promotes: method.map(|method| method == RecoveryMethod::Promote) }
            }
        }
    }
}
