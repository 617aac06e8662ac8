//! What a runbook must be beyond its shape: every name known, every order possible, every change provable.
//!
//! Looks at the runbook alone: no estate, no world. All problems are reported at once.

mod checks;
#[cfg(test)]
mod everything_tests;
mod inputs;
mod kinds;
mod names;
mod played;
mod recovery;
pub(crate) mod rehearsable;
pub(crate) mod reserved;
mod steps;
#[cfg(test)]
mod tests;
mod types;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::LazyLock;

use super::catalogue::Output;
use super::catalogue::actions::ActionName;
use super::graph::Graph;
use super::load::Loaded;
use super::partly::Known;
use super::path::Path;
use super::problem::{Problem, Problems};
use super::schema::{Input, Runbook};
use super::shape::Schema;
use crate::estate::types::Estate;

/// What expressions may ask of the run itself; [`crate::plan::late::About`] gives each its value.
pub(crate) const RUN_NAMES: &[&str] = &["id", "incident_started", "mode", "runbook", "started"];

static ESTATE: LazyLock<Schema> = LazyLock::new(Schema::of::<Estate>);

/// Returns everything that is wrong with a runbook, and what deserves a look.
pub(crate) fn validate(loaded: &Loaded) -> Problems {
    let runbook = &loaded.runbook;
    let graph = Graph::of(runbook);
    let names = Names::of(runbook);
    let mut checker = Checker::new(loaded, &names, &graph);
    checker.head();
    checker.inputs();
    for i in 0..runbook.steps.len() {
        checker.step(i);
    }
    checker.ending();
    checker.order();
    checker.played_outputs();
    checker.outputs_in_order();
    checker.old_connections();
    checker.unused_inputs();
    let reachable = checker.problems.is_empty();
    if reachable {
        checker.objectives_in_reach();
    }
    loaded.problems(checker.problems)
}

/// Returns what is wrong with what could be read of a runbook. Of what could not, nothing is said: neither that it is
/// missing, nor that it does not use something.
pub(super) fn partly(loaded: &Loaded, known: &Known) -> Vec<Problem> {
    let graph = Graph::of(&loaded.runbook);
    let names = Names::of(&loaded.runbook);
    let mut checker = Checker::new(loaded, &names, &graph);
    if known.head {
        checker.head();
    }
    if known.inputs {
        checker.inputs();
    }
    for (i, whole) in known.steps.iter().enumerate() {
        // Without its inputs every name of one would seem to be unknown.
        if *whole && known.inputs {
            checker.step(i);
        } else {
            checker.id_and_action(i);
        }
    }
    if known.inputs && known.verification {
        checker.ending();
    }
    checker.order();
    checker.played_outputs();
    checker.outputs_in_order();
    if known.inputs && known.verification && known.steps.iter().all(|whole| *whole) {
        checker.unused_inputs();
    }
    checker.problems
}

/// Names that expressions may use.
pub(crate) struct Names<'a> {
    pub inputs: &'a BTreeMap<String, Input>,
    pub estate: &'static Schema,
    /// Steps by id
    pub steps: HashMap<&'a str, usize>,
    runbook: &'a Runbook,
}

impl<'a> Names<'a> {
    fn of(runbook: &'a Runbook) -> Self {
        let mut ids = HashMap::new();
        for (i, step) in runbook.steps.iter().enumerate() {
            // The first of two wins; the second is reported.
            ids.entry(step.id.as_str()).or_insert(i);
        }
        Self { inputs: &runbook.inputs, estate: &ESTATE, steps: ids, runbook }
    }
    /// Returns a step's id and outputs; no outputs are known of an action that is not.
    fn outputs(&self, step: usize) -> (&str, Option<&'static [Output]>) {
        let step = &self.runbook.steps[step];
        let outputs = match &step.action {
            Some(name) => ActionName::parse(name).map(ActionName::outputs),
            None => Some(&[] as &[Output]),
        };
        (&step.id, outputs)
    }
}

/// An output a place uses.
struct Use {
    /// Step whose output it is
    of: usize,
    /// Step that uses it; the end of the run when absent
    by: Option<usize>,
    /// Its own outputs are known here
    own: bool,
    /// Tested by `has(…)` in the same expression
    guarded: bool,
    range: Range<usize>,
    output: Option<String>,
}

struct Checker<'a> {
    loaded: &'a Loaded,
    names: &'a Names<'a>,
    graph: &'a Graph,
    problems: Vec<Problem>,
    uses: Vec<Use>,
}

impl<'a> Checker<'a> {
    fn new(loaded: &'a Loaded, names: &'a Names<'a>, graph: &'a Graph) -> Self {
        Self { loaded, names, graph, problems: Vec::new(), uses: Vec::new() }
    }

    fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Reports an error at a value.
    fn wrong(&mut self, path: &Path, message: impl Into<String>) {
        let range = self.loaded.places.at(path);
        self.report(Problem::at(range, message));
    }

    /// Reports an error at a value, with what to do about it.
    fn wrong_with_help(
        &mut self,
        path: &Path,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let range = self.loaded.places.at(path);
        self.report(Problem::at(range, message).help(help));
    }

    /// Reports what deserves a look, at a key.
    fn doubtful(&mut self, path: &Path, message: impl Into<String>, help: impl Into<String>) {
        let range = self.loaded.places.key_or(path);
        self.report(Problem::at(range, message).help(help).warning());
    }

    fn id_range(&self, step: usize) -> Range<usize> {
        self.loaded.places.at(&Loaded::step_path(step).key("id"))
    }
}
