//! What a step says of a rehearsal: only of what a rehearsal cannot do by itself, and all that later steps need of it.

use serde_json::Value;

use super::Checker;
use crate::runbook::catalogue::actions::ActionName;
use crate::runbook::catalogue::{Output, Shape};
use crate::runbook::expression::template;
use crate::runbook::near;
use crate::runbook::path::Path;
use crate::runbook::problem::Problem;
use crate::runbook::rehearse::{Played, Rehearse};
use crate::runbook::schema::Step;

impl Checker<'_> {
    pub(super) fn rehearse(&mut self, step: &Step, said: &Rehearse, path: &Path) {
        let Some(name) = &step.action else {
            let message = "`rehearse` is for programs, and for actions that no world can answer";
            self.wrong_with_help(
                path,
                message,
                "a gate's checks are asked of the world: leave it out",
            );
            return;
        };
        // Of an unknown action nothing more is to be said.
        let Some(action) = ActionName::parse(name) else { return };
        let both = [("run", Some(&said.run)), ("undo", said.undo.as_ref())];
        let both = both.into_iter().filter_map(|(key, played)| Some((path.key(key), played?)));
        if action == ActionName::CommandRun {
            for (path, played) in both {
                if !played.outputs.is_empty() {
                    let message = "a program has no outputs but `exit` and `stdout`";
                    let help = "say them as `exit: 0` and `stdout: …`";
                    self.wrong_with_help(&path.key("outputs"), message, help);
                }
            }
        } else if action.plays(&step.with) {
            let message = format!("a rehearsal plays `{name}` by itself: the world answers it");
            self.wrong_with_help(path, message, "leave `rehearse` out; faults are `--inject`");
        } else {
            for (path, played) in both {
                self.of_an_action(name, played, &path);
            }
            self.given_outputs(action, said, path);
        }
    }

    /// Reports what can only be said of a program.
    fn of_an_action(&mut self, name: &str, played: &Played, path: &Path) {
        if played.start {
            let message = format!("`{name}` is no program that could be started");
            let help = "say how long it takes, how it ends and what it puts out";
            self.wrong_with_help(&path.key("start"), message, help);
        }
        if !played.stdout.is_empty() {
            let message = format!("`{name}` prints nothing");
            let help = "what later steps are given of it is `outputs`";
            self.wrong_with_help(&path.key("stdout"), message, help);
        }
    }

    fn given_outputs(&mut self, action: ActionName, said: &Rehearse, path: &Path) {
        if let Some(undo) = said.undo.as_ref().filter(|undo| !undo.outputs.is_empty()) {
            let names: Vec<&str> = undo.outputs.keys().map(String::as_str).collect();
            let message = format!("what is taken back puts out nothing: `{}`", names.join("`, `"));
            self.wrong_with_help(&path.keys(&["undo", "outputs"]), message, "leave it out");
        }
        let path = path.keys(&["run", "outputs"]);
        for (name, value) in &said.run.outputs {
            let Some(output) = action.outputs().iter().find(|output| output.name == name) else {
                let names = || action.outputs().iter().map(|output| output.name);
                let help = near::hint(name, names()).unwrap_or_else(|| match names().next() {
                    Some(_) => format!("its outputs: {}", names().collect::<Vec<_>>().join(", ")),
                    None => "it has none".to_owned(),
                });
                let message = format!("`{}` has no output `{name}`", action.name());
                self.wrong_with_help(&path.key(name), message, help);
                continue;
            };
            if !fits(output, value) {
                let message = format!("the output `{name}` is {}", say(output.shape));
                self.wrong_with_help(&path.key(name), message, format!("it is {}", output.say));
            }
        }
    }

    /// Reports outputs that are used and that a rehearsal would not have: it would end there.
    pub(super) fn played_outputs(&mut self) {
        let mut lacking = Vec::new();
        for used in &self.uses {
            let step = &self.names.runbook.steps[used.of];
            let (Some(output), Some(said)) = (&used.output, &step.rehearse) else { continue };
            let action = step.action.as_deref().and_then(ActionName::parse);
            let played = action.is_some_and(|action| {
                action.outputs().iter().any(|known| known.name == output)
                    && !action.plays(&step.with)
            });
            let ends_well = said.run.exit == 0;
            if played && ends_well && !used.guarded && !said.run.outputs.contains_key(output) {
                let message =
                    format!("`rehearse` of `{}` does not say its output `{output}`", step.id);
                let problem = Problem::at(used.range.clone(), message);
                lacking
                    .push(problem.help(format!("add `{output}` to its `run: {{ outputs: … }}`")));
            }
        }
        self.problems.extend(lacking);
    }
}

/// Says whether a value has an output's shape, as far as that can be told before inputs are known.
fn fits(output: &Output, value: &Value) -> bool {
    if value.as_str().is_some_and(template::holds_expression) {
        return true;
    }
    match output.shape {
        Shape::String => value.is_string(),
        Shape::Integer => value.is_i64(),
        Shape::Boolean => value.is_boolean(),
        Shape::List => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
        Shape::Object => value.is_object(),
    }
}

const fn say(shape: Shape) -> &'static str {
    match shape {
        Shape::String => "text",
        Shape::Integer => "a whole number",
        Shape::Boolean => "true or false",
        Shape::List => "a list of texts",
        Shape::Object => "a mapping",
    }
}
