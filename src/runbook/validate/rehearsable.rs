//! What of a runbook a rehearsal cannot play: programs of which nothing says what they would do.

use serde_json::{Map, Value};

use crate::runbook::catalogue::actions::ActionName;
use crate::runbook::catalogue::checks::CheckName;
use crate::runbook::load::Loaded;
use crate::runbook::path::Path;
use crate::runbook::problem::Problem;
use crate::runbook::schema::{Check, RollbackField, Step, Verify};

const HELP: &str =
    "say in `rehearse` how long it takes, how it ends and what it changes in the world";

/// Returns every program without a `rehearse`, each with its place.
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
            self.program(&step.with, "argv", own.is_some(), &with);
            let undone = own.is_some_and(|own| own.undo.is_some());
            self.program(&step.with, "undo", undone, &with);
            self.program(&step.with, "done_when", own.is_some(), &with);
        }
        if let Some(RollbackField::Action(rollback)) = &step.rollback
            && rollback.action == ActionName::CommandRun.name()
        {
            self.program(&rollback.with, "argv", false, &path.keys(&["rollback", "with"]));
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
                self.program(&check.with, "argv", false, &path);
            }
            let votes = check.with.get("of").and_then(Value::as_array).into_iter().flatten();
            for (i, vote) in votes.enumerate() {
                let is_program =
                    vote.get("check").and_then(Value::as_str) == Some(CheckName::Command.name());
                if let (true, Some(with)) =
                    (is_program, vote.get("with").and_then(Value::as_object))
                {
                    self.program(with, "argv", false, &path.key("of").item(i).key("with"));
                }
            }
        }
    }

    fn program(&mut self, with: &Map<String, Value>, name: &str, own: bool, path: &Path) {
        let Some(argv) = with.get(name).and_then(Value::as_array) else { return };
        let argv: Vec<&str> = argv.iter().filter_map(Value::as_str).collect();
        let mut others = self.loaded.runbook.rehearse.iter();
        if own || others.any(|other| argv.starts_with(&words(&other.argv))) {
            return;
        }
        let range = self.loaded.places.at(&path.key(name));
        let program = argv.first().copied().unwrap_or_default();
        let said = format!("a rehearsal does not know what `{program}` does");
        self.problems.push(Problem::at(range, said).help(HELP));
    }
}

fn words(argv: &[String]) -> Vec<&str> {
    argv.iter().map(String::as_str).collect()
}
