//! Commands about runbook and estate files: list, show, graph, validate, init.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::context::{Context, chain};
use crate::cli::{GraphFormat, ShowArgs};
use crate::error::UserError;
use crate::estate::{init as estate_init, load as estate_file};
use crate::exit::Exit;
use crate::plan::resolve::resolve;
use crate::report::terminal::Tone;
use crate::runbook::catalogue::actions::ActionName;
use crate::runbook::catalogue::checks::CheckName;
use crate::runbook::load::{self, FindError};
use crate::runbook::problem::Problems;
use crate::runbook::{draw, render, sheet, validate as rules};

/// Lists the runbooks.
pub(super) fn list(context: &Context) -> Result<Exit, UserError> {
    let mut exit = Exit::Ok;
    let mut shown = Vec::new();
    for found in context.runbooks() {
        match found {
            Ok(loaded) => {
                let runbook = &loaded.runbook;
                shown.push(json!({ "runbook": runbook.runbook, "command": runbook.command,
                    "title": runbook.title, "file": loaded.name, "steps": runbook.steps.len() }));
                if !context.json() {
                    context.terminal.out(&format!(
                        "{:8} {:12} {}",
                        runbook.runbook, runbook.command, runbook.title
                    ));
                }
            }
            Err(error) => {
                exit = Exit::RunbookInvalid;
                context.terminal.loud(Tone::Bad, &chain(&error));
            }
        }
    }
    if context.json() {
        let list = json!({ "format": "phoenix-dr/runbooks", "version": 1, "runbooks": shown });
        context.terminal.out(&list.to_string());
    }
    Ok(exit)
}

/// Explains a runbook, the catalogue, or a runbook with real names.
pub(super) fn show(context: &Context, given: &ShowArgs) -> Result<Exit, UserError> {
    if given.actions {
        if context.json() {
            let named = |name: &str, schema: Value| json!({ "name": name, "fields": schema });
            let actions = ActionName::ALL.map(|action| named(action.name(), action.schema()));
            let checks = CheckName::ALL.map(|check| named(check.name(), check.schema()));
            let answer = json!({ "format": "phoenix-dr/catalogue", "version": 1,
                "actions": actions.as_slice(), "checks": checks.as_slice() });
            context.terminal.out(&answer.to_string());
            return Ok(Exit::Ok);
        }
        context.terminal.out(render::show_actions().trim_end());
        return Ok(Exit::Ok);
    }
    let name = given.runbook.as_deref().unwrap_or_default();
    let loaded = context.runbook(name)?;
    if !given.rendered {
        if context.json() {
            let answer = json!({ "format": "phoenix-dr/runbook", "version": 1,
                "file": loaded.name, "runbook": loaded.runbook });
            context.terminal.out(&answer.to_string());
            return Ok(Exit::Ok);
        }
        context.terminal.out(render::show(&loaded.runbook).trim_end());
        return Ok(Exit::Ok);
    }
    let estate = context.estate()?;
    let inputs: BTreeMap<String, Value> = given
        .inputs
        .iter()
        .map(|(name, value)| (name.clone(), Value::String(value.clone())))
        .collect();
    let plan = resolve(&loaded, &estate, &inputs)
        .map_err(|problems| context.invalid(&problems, Exit::Usage))?;
    let rendered = sheet::rendered(&plan);
    if context.json() {
        let answer = json!({ "format": "phoenix-dr/rendered", "version": 1, "plan": plan,
            "markdown": rendered });
        context.terminal.out(&answer.to_string());
    } else {
        context.terminal.out(rendered.trim_end());
    }
    Ok(Exit::Ok)
}

/// Prints a runbook's graph.
pub(super) fn graph(context: &Context, name: &str, format: GraphFormat) -> Result<Exit, UserError> {
    let loaded = context.runbook(name)?;
    let text = match format {
        GraphFormat::Mermaid => draw::mermaid(&loaded.runbook),
        GraphFormat::Dot => draw::dot(&loaded.runbook),
    };
    context.terminal.out(text.trim_end());
    Ok(Exit::Ok)
}

/// Checks runbooks and the estate file; all problems of all files at once.
pub(super) fn validate(context: &Context, files: &[PathBuf]) -> Result<Exit, UserError> {
    let found = if files.is_empty() {
        context.runbooks()
    } else {
        files.iter().map(|file| load::read(file)).collect()
    };
    let mut checked: Vec<Checked> = found.into_iter().map(check).collect();
    if let Ok(path) = estate_file::find(context.global.estate.as_deref())
        && files.is_empty()
    {
        let problems = estate_file::read(&path).err();
        let file = path.display().to_string();
        checked.push(Checked { file, problems, why: None, exit: Exit::Usage });
    }
    let mut exit = Exit::Ok;
    for found in &checked {
        if !found.good() && exit != Exit::RunbookInvalid {
            exit = found.exit;
        }
    }
    if context.json() {
        let files: Vec<Value> = checked.iter().map(Checked::json).collect();
        let answer = json!({ "format": "phoenix-dr/validate", "version": 1, "files": files });
        context.terminal.out(&answer.to_string());
        return Ok(exit);
    }
    for found in &checked {
        found.show(context);
    }
    Ok(exit)
}

/// A file that was checked.
struct Checked {
    file: String,
    problems: Option<Problems>,
    /// Why it could not be checked at all
    why: Option<String>,
    /// How the command ends if it is not good
    exit: Exit,
}

fn check(found: Result<load::Loaded, FindError>) -> Checked {
    let exit = Exit::RunbookInvalid;
    match found {
        Ok(loaded) => {
            let problems = Some(rules::validate(&loaded));
            Checked { file: loaded.name, problems, why: None, exit }
        }
        Err(FindError::Invalid(problems)) => {
            Checked { file: problems.file.clone(), problems: Some(problems), why: None, exit }
        }
        Err(error) => {
            Checked { file: String::new(), problems: None, why: Some(chain(&error)), exit }
        }
    }
}

impl Checked {
    fn good(&self) -> bool {
        self.why.is_none() && !self.problems.as_ref().is_some_and(Problems::has_errors)
    }

    fn show(&self, context: &Context) {
        if let Some(why) = &self.why {
            context.terminal.loud(Tone::Bad, why);
            return;
        }
        if self.good() {
            context.terminal.out(&format!("{}: good", self.file));
        }
        let text = self.problems.as_ref().map(|found| found.render(context.terminal.colored()));
        if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
            context.terminal.loud(Tone::Plain, text.trim_end());
        }
    }

    fn json(&self) -> Value {
        json!({ "file": self.file, "good": self.good(), "why": self.why,
            "problems": self.problems.as_ref().map(Problems::json) })
    }
}

/// Writes a commented estate file.
pub(super) fn init(context: &Context, file: &Path, force: bool) -> Result<Exit, UserError> {
    let failed = |error: std::io::Error| {
        UserError::new(Exit::Usage, format!("write `{}`: {error}", file.display()))
    };
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let mut target = match options.open(file) {
        Ok(target) => target,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let message = format!("`{}` exists already", file.display());
            return Err(UserError::new(Exit::Usage, message).hint("write over it with --force"));
        }
        Err(error) => return Err(failed(error)),
    };
    std::io::Write::write_all(&mut target, estate_init::template().as_bytes()).map_err(failed)?;
    context.terminal.out(&format!("wrote {}", file.display()));
    context.terminal.out("Fill it in, then: phoenix-dr validate, phoenix-dr doctor");
    Ok(Exit::Ok)
}
