//! In which order steps are looked at: as they are written, and again once a step gave what they wait for.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::StepId;

/// The steps that are still to be looked at.
#[derive(Default)]
pub(super) struct Line {
    /// To be tried, the next one last
    pub waiting: Vec<usize>,
    pub begun: BTreeSet<usize>,
    /// Steps that could not be resolved, by each step whose outputs they miss
    put_off: BTreeMap<StepId, Vec<usize>>,
}

impl Line {
    /// Returns the steps to look at, the first one last.
    pub(super) fn of(steps: impl Iterator<Item = usize>) -> Self {
        Self { waiting: steps.collect(), ..Self::default() }
    }

    pub(super) fn put_off(&mut self, i: usize, unknown: impl Iterator<Item = StepId>) {
        for used in unknown {
            self.put_off.entry(used).or_default().push(i);
        }
    }

    /// Tries those again that may have waited for a step's outputs.
    pub(super) fn gave(&mut self, step: &StepId) {
        self.waiting.extend(self.put_off.remove(step).unwrap_or_default().into_iter().rev());
    }
}
