//! Commands about runbooks: list, show, graph.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::context::{Context, chain};
use crate::cli::{GraphFormat, ShowArgs};
use crate::error::UserError;
use crate::exit::Exit;
use crate::plan::inputs::as_set;
use crate::plan::resolve::resolve;
use crate::report::terminal::Tone;
use crate::runbook::catalogue::actions::ActionName;
use crate::runbook::catalogue::checks::CheckName;
use crate::runbook::load::FindError;
use crate::runbook::{draw, render, sheet};

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
                if exit != Exit::RunbookInvalid {
                    exit = error.exit();
                }
                // What is wrong in a file begins with the word itself.
                let word = if matches!(error, FindError::Invalid(_)) { "" } else { "error: " };
                context.terminal.loud(Tone::Bad, &format!("{word}{}", chain(&error)));
                if let Some(hint) = error.hint() {
                    context.terminal.loud(Tone::Plain, &format!("hint: {hint}"));
                }
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
    let plan = resolve(&loaded, &estate, &inputs).map_err(|mut problems| {
        if !context.inputs_are_flags {
            as_set(&loaded, &mut problems);
        }
        context.invalid(&problems, Exit::Usage)
    })?;
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
