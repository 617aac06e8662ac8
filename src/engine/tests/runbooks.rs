//! Every runbook of the folder `runbooks`, resolved to a plan as the program itself does it.
//!
//! A file dropped into the folder is covered by the loops without a line written here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::script::World;
use super::*;
use crate::estate::types::Estate;
use crate::runbook::catalogue::actions::ActionName;
use crate::runbook::load;
use crate::runbook::schema::{Input, InputType};
use crate::runbook::validate::validate;

/// A plan in a world of one kind, and what a run of it without faults does.
pub(super) struct Case {
    pub name: String,
    pub plan: Plan,
    /// Recovery points can be taken back: nothing is for good unless the runbook says so
    pub reversible: bool,
    /// What kind of recovery point is chosen, where that is not said by `reversible`
    kind: Option<&'static str>,
    /// Steps a clean run performs, in order
    pub performed: Vec<String>,
    /// The journal of a clean run, and the world when each of its records began to be written
    pub clean: Vec<Record>,
    pub world: World,
}

impl Case {
    fn of(name: &str, plan: &Plan, reversible: bool, kind: Option<&'static str>) -> Self {
        let other = if reversible { "everything can be taken back" } else { "a promotion" };
        let of_kind = kind.unwrap_or(other);
        let world = World::new();
        world.with(|w| (w.reversible, w.kind) = (reversible, kind));
        let ran = start(&world, plan.clone(), settings(false));
        assert_eq!(ran.exit, Exit::Ok, "{name}, {of_kind}: a run without faults");
        let mut performed: Vec<String> = Vec::new();
        for call in world.calls() {
            if let Some(step) = call.strip_prefix("perform ") {
                performed.push(step.to_owned());
            }
        }
        Self {
            name: format!("{name}, {of_kind}"),
            plan: plan.clone(),
            reversible,
            kind,
            performed,
            clean: world.durable(),
            world,
        }
    }

    /// Returns a world of this kind in which nothing has happened.
    pub(super) fn fresh(&self) -> World {
        let world = World::new();
        world.with(|w| (w.reversible, w.kind) = (self.reversible, self.kind));
        world
    }

    /// Returns the world after a clean run's first `records` records: as it was when the last of them began to be
    /// written, and as it was at the latest before the next one was durable.
    pub(super) fn worlds(&self, records: usize) -> Vec<World> {
        after(&self.world, &self.clean, records)
    }

    pub(super) fn planned(&self, step: &str) -> &PlannedStep {
        self.plan.step(&step.into()).expect("a step of the plan")
    }

    /// Returns the steps a clean run performs that leave something behind.
    pub(super) fn changing(&self) -> Vec<&String> {
        self.performed.iter().filter(|id| self.planned(id).changes).collect()
    }

    /// Says whether a run that does not ask goes on although this step failed.
    pub(super) fn tolerates(&self, step: &str) -> bool {
        crate::engine::state::tolerated(self.planned(step))
    }

    /// Returns what is in place after a run without faults.
    pub(super) fn end(&self) -> BTreeMap<String, Value> {
        self.world.places().live
    }
}

/// Returns the worlds a crash after so many records of a journal can leave.
pub(super) fn after(world: &World, journal: &[Record], records: usize) -> Vec<World> {
    let (first, last) = world.with(|w| {
        let moment = |at: usize| w.moments.get(at).unwrap_or(&w.places).clone();
        (moment(records - 1), moment(records))
    });
    let mut moments = vec![last];
    if moments[0] != first {
        moments.push(first);
    }
    moments.iter().map(|places| world.at(places, &journal[..records])).collect()
}

/// Returns every runbook's plan in each kind of world.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, plan) in plans() {
        let acts = |wanted: fn(ActionName) -> bool| {
            plan.steps.iter().any(|step| {
                let Body::Action { action, .. } = &step.body else { return false };
                ActionName::parse(action).is_some_and(wanted)
            })
        };
        cases.push(Case::of(&name, &plan, false, None));
        if acts(ActionName::chooses_recovery_point) {
            cases.push(Case::of(&name, &plan, true, None));
        }
        // Of one's own, and on RDS, the way is another.
        if acts(|action| action == ActionName::PostgresChooseRecoveryPoint) {
            cases.push(Case::of(&name, &plan, true, Some("automated_backup")));
        }
    }
    // What no kind of world performs no loop tries.
    for (name, plan) in plans() {
        let of_it = cases.iter().filter(|case| case.plan.runbook == plan.runbook);
        let performed: BTreeSet<&str> =
            of_it.flat_map(|case| case.performed.iter().map(String::as_str)).collect();
        for step in plan.steps.iter().filter(|step| step.changes) {
            assert!(performed.contains(step.id.0.as_str()), "{name}: {} is never tried", step.id);
        }
    }
    cases
}

/// Returns every runbook's plan, by the name of its file.
fn plans() -> Vec<(String, Plan)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks");
    let estate = crate::estate::init::template();
    // With every way there is, so that each step has a world in which it is done.
    let estate = estate.replace("    # rename: true\n", "    rename: true\n");
    assert!(
        estate.contains("\n    rename: true\n"),
        "the template says otherwise how instances are renamed"
    );
    let estate = crate::estate::load::parse("phoenix-dr.yaml", &estate)
        .unwrap_or_else(|problems| panic!("{problems}"));
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of runbooks")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml" || end == "yml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds no runbook", folder.display());
    files.iter().map(|path| resolved(path, &estate)).collect()
}

fn resolved(path: &Path, estate: &Estate) -> (String, Plan) {
    let name = path.file_name().expect("a file").to_string_lossy().into_owned();
    let loaded = load::read(path).unwrap_or_else(|error| panic!("{error}"));
    let problems = validate(&loaded);
    assert!(!problems.has_errors(), "{problems}");
    let given: BTreeMap<String, Value> = loaded
        .runbook
        .inputs
        .iter()
        .filter(|(_, input)| input.default.is_none())
        .map(|(name, input)| (name.clone(), example(input, estate)))
        .collect();
    let plan = crate::plan::resolve::resolve(&loaded, estate, &given);
    (name, plan.unwrap_or_else(|problems| panic!("{problems}")))
}

/// Returns a value an operator could give for an input.
fn example(input: &Input, estate: &Estate) -> Value {
    let other = || {
        let mut regions = estate.regions.keys();
        regions.find(|region| **region != estate.primary.region).expect("a second region").clone()
    };
    let least = || input.min.clone();
    match input.kind {
        InputType::Region => json!(other()),
        InputType::Choice => json!(input.values.first().expect("a choice has values")),
        InputType::Integer => least().unwrap_or(json!(1)),
        InputType::Boolean => json!(true),
        InputType::Duration => least().unwrap_or(json!("15m")),
        InputType::Instant => least().unwrap_or(json!("2026-01-01T02:00:00Z")),
        InputType::Secret => json!("env:PHOENIX_DR_TEST_SECRET"),
        // A pattern it does not fit has the plan refused.
        InputType::String => json!("app.example"),
    }
}
