//! Runbook, inputs and estate to a plan: everything that can be known before the run is known afterwards.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::limits::{RETRIES, VERIFY_EVERY, VERIFY_WITHIN, timeout};
use super::sections::{self, Section};
use super::values::{Filler, Missing, is_open};
use super::{
    Approval, Body, CheckSpec, Plan, PlannedStep, Retries, Rollback, digest, inputs, objectives,
    rehearse,
};
use crate::estate::types::{Estate, Severity};
use crate::ids::StepId;
use crate::runbook::arguments;
use crate::runbook::catalogue::actions::ActionName;
use crate::runbook::catalogue::checks::CheckName;
use crate::runbook::expression::{Scope, compile_cached, evaluate_bool};
use crate::runbook::graph::Graph;
use crate::runbook::load::Loaded;
use crate::runbook::near;
use crate::runbook::path::Path;
use crate::runbook::problem::{Origin, Problem, Problems};
use crate::runbook::schema::{
    Approve, Check, InputType, OnFailure, Retry, RollbackField, Step, Verify,
};
use crate::runbook::shape::{self, Place, Texts};
use crate::span::Span;

/// Resolves a runbook with what was given and an estate.
pub(crate) fn resolve(
    loaded: &Loaded,
    estate: &Estate,
    given: &BTreeMap<String, Value>,
) -> Result<Plan, Problems> {
    let runbook = &loaded.runbook;
    let mut problems = Vec::new();
    let inputs = inputs::resolve(loaded, estate, given, &mut problems);
    if !problems.is_empty() {
        // Every step that uses a bad input would only repeat it.
        return Err(loaded.problems(problems));
    }
    let scope = Scope::new(&inputs, estate);
    let graph = Graph::of(runbook);
    let filler =
        Filler { loaded, scope: &scope, problems, missing: Vec::new(), step: String::new() };
    let mut resolver = Resolver { filler, estate };
    let steps: Vec<PlannedStep> = runbook
        .steps
        .iter()
        .enumerate()
        .map(|(i, step)| {
            let needs = graph.needs[i].iter().map(|needed| &runbook.steps[*needed]);
            let needs = needs.map(|step| StepId(step.id.clone())).collect();
            resolver.step(step, needs, &Loaded::step_path(i))
        })
        .collect();
    resolver.filler.step = "verification".to_owned();
    let verification =
        resolver.checks(&runbook.verification, &Path::root().key("verification"), Patience::Verify);
    let follow_ups = runbook.follow_ups.iter().enumerate();
    let follow_ups = follow_ups
        .map(|(i, text)| resolver.filler.sentence(text, &Path::root().key("follow_ups").item(i)))
        .collect();
    let programs = runbook.rehearse.iter().enumerate().map(|(i, said)| {
        rehearse::resolve(&mut resolver.filler, said, &Path::root().key("rehearse").item(i))
    });
    let programs = programs.collect();
    let mut plan = Plan {
        runbook: runbook.runbook.clone(),
        title: runbook.title.clone(),
        command: runbook.command.clone(),
        severity: runbook.severity.unwrap_or(Severity::SEV1),
        objectives: objectives::of(runbook.objectives, estate),
        inputs,
        estate: Estate { file: None, ..estate.clone() },
        steps,
        verification,
        follow_ups,
        fail_fast: runbook.fail_fast,
        rehearse: programs,
        digest: String::new(),
    };
    let problems = resolver.finish();
    if !problems.is_empty() {
        return Err(loaded.problems(problems));
    }
    plan.digest = digest(&plan);
    Ok(plan)
}

/// How long a check is looked at where it does not say.
#[derive(Debug, Clone, Copy)]
enum Patience {
    /// One look
    Gate,
    /// Until it holds, for a while
    Verify,
}

struct Resolver<'a> {
    filler: Filler<'a>,
    estate: &'a Estate,
}

impl Resolver<'_> {
    fn step(&mut self, step: &Step, needs: Vec<StepId>, path: &Path) -> PlannedStep {
        self.filler.step.clone_from(&step.id);
        let title = match &step.title {
            Some(title) => self.filler.sentence(title, &path.key("title")),
            None => step.id.clone(),
        };
        let action = step.action.as_deref().and_then(ActionName::parse);
        self.service(step.service.as_deref(), &path.key("service"));
        let body = self.body(step, path);
        let permanent = step.point_of_no_return || action == Some(ActionName::RdsPromoteReplica);
        let approve = self.approve(step, &title, permanent, path);
        self.condition(step.when.as_deref(), &path.key("when"));
        PlannedStep {
            id: StepId(step.id.clone()),
            phase: step.phase.as_ref().map(|text| self.filler.sentence(text, &path.key("phase"))),
            priority: step.priority,
            service: step.service.clone(),
            needs,
            when: step.when.clone(),
            approve,
            changes: action.is_some_and(ActionName::changes),
            verify: match &step.verify {
                Some(Verify::Checks(checks)) => {
                    self.checks(checks, &path.key("verify"), Patience::Verify)
                }
                Some(Verify::None(_)) | None => Vec::new(),
            },
            rollback: self.rollback(step, action, path),
            point_of_no_return: permanent,
            on_failure: step.on_failure.unwrap_or(OnFailure::Ask),
            retry: self.retries(step.retry.as_ref(), path),
            timeout: step.timeout.unwrap_or(timeout(action)),
            usually: step.usually,
            critical: step.critical,
            rehearse: step
                .rehearse
                .as_ref()
                .map(|said| rehearse::resolve(&mut self.filler, said, &path.key("rehearse"))),
            title,
            body,
        }
    }

    /// Holds a service's name against the estate's table.
    fn service(&mut self, name: Option<&str>, path: &Path) {
        let known = self.estate.services.iter().map(|service| service.name.as_str());
        let Some(name) = name.filter(|name| known.clone().all(|known| known != *name)) else {
            return;
        };
        let list = || match known.clone().collect::<Vec<_>>().as_slice() {
            [] => format!("add it to a `services:` section of {}", sections::file_of(self.estate)),
            names => format!("its services: {}", list(names)),
        };
        let help = near::hint(name, known.clone()).unwrap_or_else(list);
        let message = format!("`{name}` is not a service of the estate `{}`", self.estate.estate);
        let range = self.filler.loaded.places.at(path);
        let problem = Problem::at(range, message).help(help).origin(Origin::Estate);
        self.filler.problems.push(problem);
    }

    fn body(&mut self, step: &Step, path: &Path) -> Body {
        match (&step.action, &step.checks) {
            (Some(name), _) => {
                Body::Action { action: name.clone(), with: self.action(name, &step.with, path) }
            }
            (None, checks) => {
                if checks.is_none() {
                    let range = self.filler.loaded.places.at(path);
                    let message = format!("step `{}` has neither an action nor checks", step.id);
                    self.filler.problems.push(Problem::at(range, message));
                }
                let checks = checks.as_deref().unwrap_or_default();
                Body::Gate { checks: self.checks(checks, &path.key("checks"), Patience::Gate) }
            }
        }
    }

    fn approve(&mut self, step: &Step, title: &str, permanent: bool, path: &Path) -> Approval {
        let path = path.key("approve");
        match &step.approve {
            // What cannot be undone is asked by itself whether the runbook says so or not.
            None if permanent => Approval::Typed {
                say: format!("{title}. This cannot be undone."),
                word: step.id.clone(),
            },
            None => Approval::Plan,
            Some(Approve::Say(word)) if word == "plan" => Approval::Plan,
            Some(Approve::Say(word)) if word == "each" => Approval::Each { say: None },
            Some(Approve::Say(say)) => {
                Approval::Each { say: Some(self.filler.sentence(say, &path)) }
            }
            Some(Approve::Typed(typed)) => Approval::Typed {
                say: self.filler.sentence(&typed.say, &path.key("say")),
                word: self.filler.sentence(&typed.word, &path.key("type")),
            },
        }
    }

    fn rollback(&mut self, step: &Step, action: Option<ActionName>, path: &Path) -> Rollback {
        match &step.rollback {
            Some(RollbackField::None(reason)) => Rollback::None {
                why: self.filler.sentence(&reason.none, &path.key("rollback").key("none")),
            },
            Some(RollbackField::Action(own)) => Rollback::Action {
                action: own.action.clone(),
                with: self.action(&own.action, &own.with, &path.key("rollback")),
            },
            Some(RollbackField::Auto(_)) | None => match action {
                None => Rollback::None { why: "it only looks".to_owned() },
                Some(action) if !action.reverts() => {
                    Rollback::None { why: format!("`{}` cannot be undone", action.name()) }
                }
                Some(_) => Rollback::Auto,
            },
        }
    }

    fn retries(&mut self, retry: Option<&Retry>, path: &Path) -> Retries {
        let Some(retry) = retry else { return RETRIES };
        let Some((first, longest)) = retry.bounds() else {
            let path = path.keys(&["retry", "backoff"]);
            let range = self.filler.loaded.places.at(&path);
            let message = format!("`{}` is not a backoff", retry.backoff);
            let problem = Problem::at(range, message);
            self.filler.problems.push(problem.help(Retry::HELP));
            return RETRIES;
        };
        Retries { attempts: retry.attempts.max(1), backoff_first: first, backoff_longest: longest }
    }

    /// Evaluates a condition that needs nothing of the run, so that its mistakes are found now.
    fn condition(&mut self, text: Option<&str>, path: &Path) {
        let Some(text) = text else { return };
        let known =
            compile_cached(text).map(|expression| expression.uses_only(&["inputs", "estate"]));
        let result = match known {
            Ok(true) => evaluate_bool(text, self.filler.scope).map(|_| ()),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            let loaded = self.filler.loaded;
            let range = loaded.place_in(path, &error.expression, error.range.as_ref());
            self.filler
                .problems
                .push(Problem::at(range, error.message.clone()).maybe_help(error.help));
        }
    }

    fn checks(&mut self, checks: &[Check], path: &Path, patience: Patience) -> Vec<CheckSpec> {
        let mut specs = Vec::with_capacity(checks.len());
        for (i, check) in checks.iter().enumerate() {
            let path = path.item(i);
            let with = self.filler.map(&check.with, &path.key("with"));
            self.check(&check.check, &with, &path);
            self.condition(check.that.as_deref(), &path.key("that"));
            let title = match &check.title {
                Some(title) => self.filler.sentence(title, &path.key("title")),
                None => default_title(&check.check, &with),
            };
            let (within, every) = match patience {
                Patience::Gate => (Span::seconds(0), VERIFY_EVERY),
                Patience::Verify => (VERIFY_WITHIN, VERIFY_EVERY),
            };
            specs.push(CheckSpec {
                check: check.check.clone(),
                title,
                with,
                that: check.that.clone(),
                expect: check.expect.clone(),
                within: check.within.unwrap_or(within),
                every: check.every.unwrap_or(every),
                consecutive: check.consecutive.unwrap_or(1).max(1),
                vote: check.vote,
            });
        }
        specs
    }

    /// Fills in and checks an action's arguments.
    fn action(&mut self, name: &str, with: &Map<String, Value>, path: &Path) -> Map<String, Value> {
        let with = self.filler.map(with, &path.key("with"));
        let Some(action) = ActionName::parse(name) else {
            let known = ActionName::ALL.into_iter().map(ActionName::name);
            self.unknown("action", name, near::hint(name, known), &path.key("action"));
            return with;
        };
        self.sections(sections::of_action(action), &path.key("action"));
        self.regions(&with, sections::of_action(action).contains(&Section::Clusters), path);
        if let (Some(to), Some(from)) = (with.get("to"), with.get("from"))
            && to == from
            && !is_open(to)
        {
            let problem = self.standstill(to.as_str().unwrap_or_default());
            self.filler.problems.push(problem);
        }
        let open = with.values().any(is_open);
        let value = Value::Object(with);
        let fits = self.shape(arguments::of_action(action), &value, path);
        if fits
            && !open
            && let Err(misfit) = arguments::read_action(action, &value)
        {
            self.misfit(&misfit, path);
        }
        into_map(value)
    }

    /// Says that traffic would stay where it is: what was given is to blame, not the runbook.
    fn standstill(&self, region: &str) -> Problem {
        let message = format!("traffic would move from {region} to {region}");
        let inputs = &self.filler.loaded.runbook.inputs;
        let given = inputs.iter().find(|(_, input)| {
            input.kind == InputType::Region && input.required && input.default.is_none()
        });
        let others = self.estate.regions.keys().map(String::as_str).filter(|name| *name != region);
        let others: Vec<&str> = others.collect();
        let help = given.map(|(name, _)| {
            format!("give another `--{}`: {}", name.replace('_', "-"), list(&others))
        });
        Problem::nowhere(Origin::Input, message).maybe_help(help)
    }

    /// Checks a check's arguments, those of a quorum's votes too.
    fn check(&mut self, name: &str, with: &Map<String, Value>, path: &Path) {
        let Some(check) = CheckName::parse(name) else {
            let known = CheckName::ALL.into_iter().map(CheckName::name);
            self.unknown("check", name, near::hint(name, known), &path.key("check"));
            return;
        };
        self.sections(sections::of_check(check), &path.key("check"));
        self.regions(with, sections::of_check(check).contains(&Section::Clusters), path);
        let value = Value::Object(with.clone());
        let fits = self.shape(arguments::of_check(check), &value, path);
        if fits
            && !is_open(&value)
            && let Err(misfit) = arguments::read_check(check, &value)
        {
            self.misfit(&misfit, path);
        }
        if check == CheckName::Quorum {
            let votes = with.get("of").and_then(Value::as_array).into_iter().flatten();
            for (i, vote) in votes.enumerate() {
                let path = path.keys(&["with", "of"]).item(i);
                let Some(name) = vote.get("check").and_then(Value::as_str) else { continue };
                let empty = Map::new();
                let with = vote.get("with").and_then(Value::as_object).unwrap_or(&empty);
                self.check(name, with, &path);
                self.condition(vote.get("that").and_then(Value::as_str), &path.key("that"));
            }
        }
    }

    fn unknown(&mut self, kind: &str, name: &str, help: Option<String>, path: &Path) {
        let range = self.filler.loaded.places.at(path);
        let problem = Problem::at(range, format!("unknown {kind} `{name}`"));
        self.filler.problems.push(problem.maybe_help(help));
    }

    fn sections(&mut self, needed: &[Section], path: &Path) {
        if let Some(absent) = needed.iter().find(|section| !section.is_in(self.estate)) {
            self.filler.missing.push(Missing {
                name: format!("estate.{}", absent.name()),
                range: self.filler.loaded.places.at(path),
                step: self.filler.step.clone(),
            });
        }
    }

    /// Holds the regions of arguments against the estate's.
    fn regions(&mut self, with: &Map<String, Value>, cluster: bool, path: &Path) {
        for (key, region) in sections::regions(with) {
            if is_open(&Value::from(region)) {
                continue;
            }
            let range = self.filler.loaded.places.at(&path.key("with").key(key));
            if !self.estate.regions.contains_key(region) {
                let names = self.estate.regions.keys().map(String::as_str);
                let message =
                    format!("`{region}` is not a region of the estate `{}`", self.estate.estate);
                let list =
                    || format!("its regions: {}", names.clone().collect::<Vec<_>>().join(", "));
                let help = near::hint(region, names.clone()).unwrap_or_else(list);
                let problem = Problem::at(range, message).help(help);
                self.filler.problems.push(problem.origin(Origin::Estate));
            } else if cluster
                && !self.estate.clusters.is_empty()
                && !self.estate.clusters.contains_key(region)
            {
                self.filler.missing.push(Missing {
                    name: format!("estate.clusters.{region}"),
                    range,
                    step: self.filler.step.clone(),
                });
            }
        }
    }

    /// Says whether arguments have the shape a schema asks for.
    fn shape(&mut self, schema: &shape::Schema, value: &Value, path: &Path) -> bool {
        let value = inputs::as_in_files(self.filler.loaded, value);
        let findings = shape::check(schema, &value, Texts::Templates);
        let fits = findings.is_empty();
        for finding in findings {
            let mut full = path.key("with");
            full.0.extend(finding.path.0);
            let places = &self.filler.loaded.places;
            let range = match finding.place {
                Place::Key => places.key_or(&full),
                Place::Value => places.at(&full),
            };
            let (loaded, step) = (self.filler.loaded, &self.filler.step);
            let problem = inputs::not_given(loaded, step, &range, &finding.message);
            let problem = problem
                .unwrap_or_else(|| Problem::at(range, finding.message).maybe_help(finding.help));
            self.filler.problems.push(problem);
        }
        fits
    }

    /// Reports what the schema could not say.
    fn misfit(&mut self, (at, message): &arguments::Misfit, path: &Path) {
        let mut full = path.key("with");
        full.0.extend(at.0.iter().cloned());
        let range = self.filler.loaded.places.at(&full);
        self.filler.problems.push(Problem::at(range, message.clone()));
    }

    /// Returns everything that was wrong; what the estate lacks is said once, with all who need it.
    fn finish(self) -> Vec<Problem> {
        let mut problems = self.filler.problems;
        let mut lacking: BTreeMap<String, Vec<Missing>> = BTreeMap::new();
        for missing in self.filler.missing {
            lacking.entry(missing.name.clone()).or_default().push(missing);
        }
        for (name, needed) in lacking {
            let Some(first) = needed.first() else { continue };
            let mut others: Vec<&str> =
                needed.iter().map(|missing| missing.step.as_str()).collect();
            others.retain(|step| *step != first.step);
            others.dedup();
            let message = format!(
                "step `{}` needs `{name}`, which the estate `{}` does not have",
                first.step, self.estate.estate
            );
            let mut help = sections::how_to_add(&name, self.estate);
            if !others.is_empty() {
                help.push_str(&format!("\nalso needed by {}", list(&others)));
            }
            let problem = Problem::at(first.range.clone(), message).help(help);
            problems.push(problem.origin(Origin::Estate));
        }
        problems
    }
}

/// Returns names as a list that stays short.
fn list(names: &[&str]) -> String {
    let mut shown = names[..names.len().min(6)].join(", ");
    if names.len() > 6 {
        shown.push_str(&format!(" and {} more", names.len() - 6));
    }
    shown
}

fn into_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Returns a short name for a check that has no title: its kind and what it looks at.
fn default_title(check: &str, with: &Map<String, Value>) -> String {
    let object = ["url", "address", "name", "instance", "namespace", "key", "region"]
        .into_iter()
        .find_map(|key| with.get(key)?.as_str());
    match object {
        Some(object) if !object.contains(crate::runbook::expression::template::OPEN) => {
            format!("{check} {object}")
        }
        Some(_) | None => check.to_owned(),
    }
}
