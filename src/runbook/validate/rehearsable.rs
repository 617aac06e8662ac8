//! What of a runbook a rehearsal cannot play: programs and actions of which nothing says what they would do; and what it
//! starts.

use serde_json::{Map, Value};

use crate::runbook::catalogue::actions::ActionName;
use crate::runbook::catalogue::checks::CheckName;
use crate::runbook::load::Loaded;
use crate::runbook::path::Path;
use crate::runbook::problem::Problem;
use crate::runbook::rehearse::Played;
use crate::runbook::schema::{Check, RollbackField, Step, Verify};

const HELP: &str =
    "say in `rehearse` how long it takes, how it ends and what it changes in the world";

const CONFINED: &str = "where a host does not let it be cut off from the network it is refused; so is any call out of the \
                        simulation";

/// Returns every program and action without a `rehearse`, each with its place, and every one that is started.
pub(crate) fn missing(loaded: &Loaded) -> Vec<Problem> {
    let mut found = Found { loaded, problems: Vec::new() };
    for (i, step) in loaded.runbook.steps.iter().enumerate() {
        found.step(step, &Loaded::step_path(i));
    }
    found.checks(&loaded.runbook.verification, &Path::root().key("verification"));
    found.problems
}

struct Found<'a> {
    loaded: &'a Loaded,
    problems: Vec<Problem>,
}

impl Found<'_> {
    fn step(&mut self, step: &Step, path: &Path) {
        let runs = step.action.as_deref() == Some(ActionName::CommandRun.name());
        let own = step.rehearse.as_ref();
        if runs {
            let with = path.key("with");
            let run = own.map(|own| &own.run);
            self.program(&step.with, "argv", run, &with);
            self.program(&step.with, "undo", own.and_then(|own| own.undo.as_ref()), &with);
            self.program(&step.with, "done_when", run, &with);
        }
        let action = step.action.as_deref().and_then(ActionName::parse);
        if let Some(action) = action.filter(|action| own.is_none() && !action.plays(&step.with)) {
            let range = self.loaded.places.at(&path.key("action"));
            let said = format!("a rehearsal does not know what `{}` would find", action.name());
            let help = "say in `rehearse` how long it takes, how it ends and what it puts out";
            self.problems.push(Problem::at(range, said).help(help));
        }
        if let Some(RollbackField::Action(rollback)) = &step.rollback
            && rollback.action == ActionName::CommandRun.name()
        {
            self.program(&rollback.with, "argv", None, &path.keys(&["rollback", "with"]));
        }
        self.checks(step.checks.as_deref().unwrap_or_default(), &path.key("checks"));
        if let Some(Verify::Checks(checks)) = &step.verify {
            self.checks(checks, &path.key("verify"));
        }
    }

    fn checks(&mut self, checks: &[Check], path: &Path) {
        for (i, check) in checks.iter().enumerate() {
            let path = path.item(i).key("with");
            if check.check == CheckName::Command.name() {
                self.program(&check.with, "argv", None, &path);
            }
            let votes = check.with.get("of").and_then(Value::as_array).into_iter().flatten();
            for (i, vote) in votes.enumerate() {
                let is_program =
                    vote.get("check").and_then(Value::as_str) == Some(CheckName::Command.name());
                if let (true, Some(with)) =
                    (is_program, vote.get("with").and_then(Value::as_object))
                {
                    self.program(with, "argv", None, &path.key("of").item(i).key("with"));
                }
            }
        }
    }

    fn program(
        &mut self,
        with: &Map<String, Value>,
        name: &str,
        own: Option<&Played>,
        path: &Path,
    ) {
        let Some(argv) = with.get(name).and_then(Value::as_array) else { return };
        let argv: Vec<&str> = argv.iter().filter_map(Value::as_str).collect();
        let others = self.loaded.runbook.rehearse.iter();
        let others = others.filter(|other| argv.starts_with(&words(&other.argv)));
        let played =
            own.or_else(|| others.max_by_key(|other| other.argv.len()).map(|other| &other.run));
        let range = self.loaded.places.at(&path.key(name));
        let program = argv.first().copied().unwrap_or_default();
        if let Some(played) = played {
            if let Some(said) = played.contradiction() {
                let said =
                    format!("`rehearse` says `start` and `{said}`: `{program}` says that itself");
                self.problems.push(Problem::at(range, said).help("leave one of the two out"));
            } else if played.start {
                let said = format!("a rehearsal starts `{program}`, cut off from the network");
                self.problems.push(Problem::at(range, said).help(CONFINED).warning());
            }
            return;
        }
        let said = format!("a rehearsal does not know what `{program}` does");
        self.problems.push(Problem::at(range, said).help(HELP));
    }
}

fn words(argv: &[String]) -> Vec<&str> {
    argv.iter().map(String::as_str).collect()
}
