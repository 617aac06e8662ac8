//! Steps: ids, what they are made of, what proves and what undoes them, and their order.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::names::Where;
use super::{Checker, reserved};
use crate::runbook::arguments;
use crate::runbook::catalogue::actions::ActionName;
use crate::runbook::load::{Loaded, NO_ID};
use crate::runbook::near;
use crate::runbook::path::Path;
use crate::runbook::problem::Problem;
use crate::runbook::schema::{Approve, Retry, RollbackField, Step, Verify};
use crate::runbook::shape::{self, Place, Schema};

/// Most attempts of a step: what failed that often fails again.
const ATTEMPTS_MAX: u32 = 100;

impl Checker<'_> {
    pub(super) fn step(&mut self, i: usize) {
        let step = &self.names.runbook.steps[i];
        let path = Loaded::step_path(i);
        self.id(step, i, &path);
        self.texts(step, &path);
        if let Some(when) = &step.when {
            self.condition(when, Where::before(i), &path.key("when"));
        }
        match (&step.action, &step.checks) {
            (Some(_), Some(_)) => {
                let help = "an action is proved by `verify`; a gate has checks and no action";
                self.wrong_with_help(
                    &path.key("checks"),
                    "a step has an action or checks, not both",
                    help,
                );
            }
            (None, None) => {
                let message = format!("step `{}` has neither an action nor checks", step.id);
                self.wrong_with_help(&path, message, "`action: wait` with `for: 0s` does nothing");
            }
            (None, Some(_)) => self.gate(step, i, &path),
            (Some(name), None) => self.action(step, name, i, &path),
        }
        self.attempts(step, &path);
        if let Some(said) = &step.rehearse {
            self.rehearse(step, said, &path.key("rehearse"));
        }
    }

    fn id(&mut self, step: &Step, i: usize, path: &Path) {
        let path = path.key("id");
        let id = step.id.as_str();
        let sound = id.len() <= 64
            && id.starts_with(|c: char| c.is_ascii_lowercase())
            && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !sound {
            let help = "small letters, digits and underscores, a letter first";
            self.wrong_with_help(&path, format!("`{id}` cannot be a step's id"), help);
        } else if reserved::STEPS.contains(&id) || reserved::WORDS.contains(&id) {
            let message = format!("`{id}` means something else and cannot be a step's id");
            self.wrong_with_help(&path, message, "choose another id");
        }
        if let Some(first) = self.names.steps.get(id)
            && *first != i
        {
            let range = self.loaded.places.at(&path);
            let first = self.id_range(*first);
            self.report(
                Problem::at(range, format!("two steps have the id `{id}`"))
                    .also(first, "first given here")
                    .help(
                        "give one of them another id, and name that in the `needs` it is meant in",
                    ),
            );
        }
    }

    /// Checks what can be told of a step of which nothing else could be read.
    pub(super) fn id_and_action(&mut self, i: usize) {
        let step = &self.names.runbook.steps[i];
        let path = Loaded::step_path(i);
        if !step.id.starts_with(NO_ID) {
            self.id(step, i, &path);
        }
        if let Some(action) = &step.action {
            self.known_action(action, &path);
        }
    }

    fn texts(&mut self, step: &Step, path: &Path) {
        for (key, text) in [("title", &step.title), ("phase", &step.phase)] {
            if let Some(text) = text {
                self.text(text, Where::planned(), &path.key(key));
            }
        }
        match &step.approve {
            Some(Approve::Say(say)) => {
                let path = path.key("approve");
                self.text(say, Where::planned(), &path);
                self.asks(say, &path);
            }
            Some(Approve::Typed(typed)) => {
                let path = path.key("approve");
                self.asks(&typed.say, &path.key("say"));
                self.text(&typed.say, Where::planned(), &path.key("say"));
                self.text(&typed.word, Where::planned(), &path.key("type"));
                if typed.word.trim().is_empty() {
                    self.wrong(&path.key("type"), "there is no word to type");
                }
            }
            None => {}
        }
    }

    fn asks(&mut self, say: &str, path: &Path) {
        if say.trim().is_empty() {
            let help = "write what is asked, or `each` for the usual words";
            self.wrong_with_help(path, "there is nothing to approve in an empty sentence", help);
        }
    }

    fn gate(&mut self, step: &Step, i: usize, path: &Path) {
        let checks = step.checks.as_deref().unwrap_or_default();
        if checks.is_empty() {
            self.wrong(&path.key("checks"), "a gate has at least one check");
        }
        self.checks(checks, Where::before(i), &path.key("checks"));
        let parts = [
            ("with", !step.with.is_empty(), "its checks have arguments of their own"),
            ("verify", step.verify.is_some(), "its checks are all there is to prove"),
            ("rollback", step.rollback.is_some(), "it changes nothing"),
            ("approve", step.approve.is_some(), "there is nothing to approve"),
            ("retry", step.retry.is_some(), "`within` says how long a check is looked at"),
            ("timeout", step.timeout.is_some(), "`within` says how long a check is looked at"),
        ];
        for (key, given, why) in parts {
            if given {
                let range = self.loaded.places.key_or(&path.key(key));
                let problem = Problem::at(range, format!("a step with checks has no `{key}`"));
                self.report(problem.help(why));
            }
        }
        if step.point_of_no_return {
            self.wrong(&path.key("point_of_no_return"), "a step with checks changes nothing");
        }
    }

    fn action(&mut self, step: &Step, name: &str, i: usize, path: &Path) {
        self.arguments(&step.with, Where::before(i), &path.key("with"));
        if let Some(Verify::Checks(checks)) = &step.verify {
            self.checks(checks, Where::after(i), &path.key("verify"));
        }
        if let Some(RollbackField::Action(own)) = &step.rollback {
            let path = path.key("rollback");
            self.arguments(&own.with, Where::after(i), &path.key("with"));
            if let Some(action) = self.known_action(&own.action, &path) {
                self.shape(arguments::of_action(action), &own.with, Where::after(i), &path);
            }
        }
        let Some(action) = self.known_action(name, path) else { return };
        self.shape(arguments::of_action(action), &step.with, Where::before(i), path);
        self.proof(step, action, path);
        self.way_back(step, action, path);
    }

    fn known_action(&mut self, name: &str, path: &Path) -> Option<ActionName> {
        let action = ActionName::parse(name);
        if action.is_none() {
            let known = ActionName::ALL.into_iter().map(ActionName::name);
            let help = near::hint(name, known)
                .unwrap_or_else(|| "`phoenix-dr show --actions` lists them".to_owned());
            self.wrong_with_help(&path.key("action"), format!("unknown action `{name}`"), help);
        }
        action
    }

    /// Holds arguments against the catalogue.
    pub(super) fn shape(
        &mut self,
        schema: &Schema,
        with: &Map<String, Value>,
        place: Where,
        path: &Path,
    ) {
        let (findings, wholes) = shape::check_arguments(schema, with);
        let below = |inner: &Path| {
            let mut full = path.key("with");
            full.0.extend(inner.0.iter().cloned());
            full
        };
        for finding in findings {
            let full = below(&finding.path);
            let range = match finding.place {
                Place::Key => self.loaded.places.key_or(&full),
                Place::Value => self.loaded.places.at(&full),
            };
            self.report(Problem::at(range, finding.message).maybe_help(finding.help));
        }
        for whole in wholes {
            self.fits(schema, whole.wanted, whole.text, place, &below(&whole.path));
        }
    }

    /// Asks for a proof of what an action did.
    fn proof(&mut self, step: &Step, action: ActionName, path: &Path) {
        let none = match &step.verify {
            Some(Verify::Checks(checks)) => checks.is_empty(),
            Some(Verify::None(reason)) => {
                if reason.none.trim().is_empty() {
                    self.wrong(&path.keys(&["verify", "none"]), "say why nothing proves it");
                }
                false
            }
            None => true,
        };
        if none && action.changes() && !action.verifies_itself() {
            let message = format!("nothing proves what step `{}` did", step.id);
            let range = self.loaded.places.at(&path.key("action"));
            let help = format!(
                "`{}` does not prove its own result: add `verify`, or `verify: {{ none: \"why\" }}`",
                action.name()
            );
            self.report(Problem::at(range, message).help(help));
        }
    }

    /// Asks for a rollback that can work.
    fn way_back(&mut self, step: &Step, action: ActionName, path: &Path) {
        let rollback = path.key("rollback");
        let explicit = match &step.rollback {
            Some(RollbackField::Action(_)) => return,
            Some(RollbackField::None(reason)) => {
                if reason.none.trim().is_empty() {
                    self.wrong(&rollback.key("none"), "say why it is not undone");
                }
                return;
            }
            Some(RollbackField::Auto(_)) => true,
            None => false,
        };
        let why = if action == ActionName::CommandRun && !step.with.contains_key("undo") {
            "a command is undone by its own `undo`, and there is none".to_owned()
        } else if !action.reverts() && (explicit || action.changes()) {
            format!("`{}` cannot be undone", action.name())
        } else {
            return;
        };
        if step.point_of_no_return && !explicit {
            return;
        }
        let range = if explicit {
            self.loaded.places.at(&rollback)
        } else {
            self.loaded.places.at(&path.key("action"))
        };
        let message = format!("step `{}` cannot be rolled back: {why}", step.id);
        self.report(Problem::at(range, message).help(
            "say `rollback: { none: \"why\" }`, give an action of its own, or `point_of_no_return: true`",
        ));
    }

    fn attempts(&mut self, step: &Step, path: &Path) {
        if let Some(retry) = &step.retry {
            let path = path.key("retry");
            if retry.bounds().is_none() {
                let message = format!("`{}` is not a backoff", retry.backoff);
                self.wrong_with_help(&path.key("backoff"), message, Retry::HELP);
            }
            if !(1..=ATTEMPTS_MAX).contains(&retry.attempts) {
                let message =
                    format!("{} attempts; 1 to {ATTEMPTS_MAX} are possible", retry.attempts);
                self.wrong_with_help(&path.key("attempts"), message, "1 tries once and no more");
            }
        }
        if step.timeout.is_some_and(|timeout| timeout.duration().is_zero()) {
            self.wrong(&path.key("timeout"), "an attempt takes time");
        }
    }

    /// Reports needs that are no steps, and cycles.
    pub(super) fn order(&mut self) {
        for (i, step) in self.names.runbook.steps.iter().enumerate() {
            let path = Loaded::step_path(i).key("needs");
            let mut seen: HashSet<&str> = HashSet::new();
            for (n, needed) in step.needs.iter().flatten().enumerate() {
                let path = path.item(n);
                if needed == &step.id {
                    self.wrong(&path, format!("step `{needed}` needs itself"));
                } else if !self.names.steps.contains_key(needed.as_str()) {
                    let help = near::hint(needed, self.names.steps.keys().copied());
                    let range = self.loaded.places.at(&path);
                    let message = format!("step `{}` needs an unknown step `{needed}`", step.id);
                    self.report(Problem::at(range, message).maybe_help(help));
                } else if !seen.insert(needed) {
                    self.wrong(&path, format!("`{needed}` is there already"));
                }
            }
        }
        let Some(cycle) = self.graph.cycle().filter(|cycle| cycle.len() > 1) else { return };
        let steps = &self.names.runbook.steps;
        let mut way: Vec<&str> = cycle.iter().map(|step| steps[*step].id.as_str()).collect();
        way.push(way[0]);
        let first = cycle[0];
        let path = Loaded::step_path(first).key("needs");
        let at: HashMap<&str, usize> = steps[first]
            .needs
            .iter()
            .flatten()
            .enumerate()
            .map(|(n, id)| (id.as_str(), n))
            .collect();
        let path = at.get(way[1]).map_or_else(|| path.clone(), |n| path.item(*n));
        let range = self.loaded.places.at(&path);
        let mut problem = Problem::at(range, format!("steps need each other: {}", shown(&way)));
        for step in cycle.iter().skip(1).take(8) {
            problem = problem.also(self.id_range(*step), "is part of it");
        }
        self.report(problem.help("remove one of these needs: none of the steps could ever start"));
    }
}

/// Returns a cycle as arrows; a long one is cut in its middle.
fn shown(way: &[&str]) -> String {
    if way.len() <= 12 {
        return way.join(" → ");
    }
    let (head, tail) = (&way[..6], &way[way.len() - 5..]);
    let between = way.len() - head.len() - tail.len();
    format!("{} → … {between} more … → {}", head.join(" → "), tail.join(" → "))
}
