//! A runbook and the catalogue, explained for a terminal.

use std::fmt::Write;

use serde_json::Value;

use super::catalogue::actions::ActionName;
use super::catalogue::checks::CheckName;
use super::expression::template::{Piece, split};
use super::schema::{Approve, RollbackField, Runbook, Step, Verify};

/// Columns every line fits in, where its own words allow.
const COLUMNS: usize = 80;

/// Returns a runbook explained, in lines of at most 80 columns where its own texts allow.
pub(crate) fn show(runbook: &Runbook) -> String {
    let mut text = format!("{}  {}\n", runbook.runbook, runbook.title);
    if let Some(description) = &runbook.description {
        for line in wrap(description, 78) {
            line_of(&mut text, &format!("  {line}"));
        }
    }
    line_of(&mut text, &format!("\ncommand: phoenix-dr {}", runbook.command));
    if let Some(objectives) = &runbook.objectives {
        line_of(
            &mut text,
            &format!(
                "objectives: RTO {} (at most {}), RPO {} (at most {})",
                objectives.rto, objectives.rto_max, objectives.rpo, objectives.rpo_max
            ),
        );
    }
    for (name, input) in &runbook.inputs {
        let needed = if input.required { "required" } else { "optional" };
        let help = input.help.clone().unwrap_or_default();
        line_of(&mut text, &format!("  --{} ({needed})  {help}", name.replace('_', "-")));
    }
    line_of(&mut text, "\nsteps:");
    for (number, step) in runbook.steps.iter().enumerate() {
        show_step(&mut text, number + 1, step);
    }
    if !runbook.verification.is_empty() {
        line_of(&mut text, "\nrestored when:");
        for check in &runbook.verification {
            let title = check.title.as_deref().unwrap_or(&check.check);
            line_of(&mut text, &format!("  {} ({})", named(title), check.check));
        }
    }
    for follow_up in &runbook.follow_ups {
        line_of(&mut text, &format!("afterwards: {follow_up}"));
    }
    text
}

fn show_step(text: &mut String, number: usize, step: &Step) {
    let title = named(step.title.as_deref().unwrap_or(&step.id));
    let priority = step.priority.map(|p| format!("{p:?} ")).unwrap_or_default();
    line_of(text, &format!("{number:3} {:16} {priority}{title}", step.id));
    let what = step.action.clone().unwrap_or_else(|| "gate".to_owned());
    let needs = match &step.needs {
        None => "everything before".to_owned(),
        Some(needs) if needs.is_empty() => "nothing".to_owned(),
        Some(needs) => needs.join(", "),
    };
    line_of(text, &format!("      {what}; needs {needs}"));
    if may_be_final(step) {
        let promotes = step.action.as_deref() == Some(ActionName::RdsRecover.name());
        let said = if promotes { "if it promotes, cannot be undone" } else { "cannot be undone" };
        line_of(text, &format!("      ! {said}"));
    }
    if let Some(when) = &step.when {
        line_of(text, &format!("      only when {when}"));
    }
    match &step.approve {
        None => {}
        Some(Approve::Say(say)) => line_of(text, &format!("      asks: {}", named(say))),
        Some(Approve::Typed(typed)) => {
            line_of(
                text,
                &format!("      asks to type `{}`: {}", named(&typed.word), named(&typed.say)),
            );
        }
    }
    if let Some(Verify::Checks(checks)) = &step.verify {
        for check in checks {
            let title = check.title.as_deref().unwrap_or(&check.check);
            line_of(text, &format!("      proved by: {}", named(title)));
        }
    }
}

/// Returns the catalogue: every action and check with its fields.
pub(crate) fn show_actions() -> String {
    let mut text = "Actions\n".to_owned();
    for action in ActionName::ALL {
        headed(&mut text, action.name(), action.say());
        fields(&mut text, &action.schema());
        for output in action.outputs() {
            entry(&mut text, &format!("-> {}  {}", output.name, output.say));
        }
    }
    text.push_str("\nChecks\n");
    for check in CheckName::ALL {
        headed(&mut text, check.name(), check.say());
        fields(&mut text, &check.schema());
    }
    text
}

fn headed(text: &mut String, name: &str, say: &str) {
    line_of(text, &format!("\n{name}"));
    for line in wrap(say, COLUMNS - 2) {
        line_of(text, &format!("  {line}"));
    }
}

fn fields(text: &mut String, schema: &Value) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    for (name, property) in properties {
        let must = if required.contains(&name.as_str()) { "" } else { ", optional" };
        let say = property.get("description").and_then(Value::as_str).unwrap_or_default();
        entry(text, &format!("{name} ({}{must})  {say}", kind(schema, property)));
    }
}

/// Adds a field or an output, wrapped.
fn entry(text: &mut String, said: &str) {
    for (at, line) in wrap(said, COLUMNS - 6).iter().enumerate() {
        let indent = if at == 0 { 4 } else { 6 };
        line_of(text, &format!("{:indent$}{line}", ""));
    }
}

/// Returns the type of a field as a person writes it, with its allowed values where they are few.
fn kind(root: &Value, field: &Value) -> String {
    if let Some(name) = field.get("$ref").and_then(Value::as_str) {
        let found = name.strip_prefix("#").and_then(|pointer| root.pointer(pointer));
        return found.map_or_else(|| "value".to_owned(), |found| kind(root, found));
    }
    if let Some(of) = ["allOf", "oneOf", "anyOf"].into_iter().find_map(|key| field.get(key)) {
        let ways = of.as_array().map(Vec::as_slice).unwrap_or_default();
        let mut kinds: Vec<String> = ways.iter().map(|way| kind(root, way)).collect();
        kinds.retain(|kind| kind != "null");
        kinds.dedup();
        return kinds.join(" or ");
    }
    if let Some(word) = field.get("const").and_then(Value::as_str) {
        return word.to_owned();
    }
    if let Some(words) = field.get("enum").and_then(Value::as_array) {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        return words.join(" or ");
    }
    let names = match field.get("type") {
        Some(Value::String(name)) => vec![name.as_str()],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(_) | None => return "value".to_owned(),
    };
    let name = names.into_iter().find(|name| *name != "null").unwrap_or("null");
    match name {
        "array" => {
            let of = field.get("items").map(|items| kind(root, items));
            format!("list of {}", of.unwrap_or_else(|| "values".to_owned()))
        }
        "object" => match field.get("additionalProperties") {
            Some(of @ Value::Object(_)) => format!("map of {}", kind(root, of)),
            Some(_) | None => "map".to_owned(),
        },
        "boolean" => "true or false".to_owned(),
        "string" => "text".to_owned(),
        name => name.to_owned(),
    }
}

/// Returns a text with `<from>` in place of `${{ inputs.from }}`: before a run nothing has a value yet.
pub(super) fn named(text: &str) -> String {
    let Ok(pieces) = split(text) else { return text.to_owned() };
    let parts: Vec<String> = pieces
        .into_iter()
        .map(|piece| match piece {
            Piece::Literal(text) => text.to_owned(),
            Piece::Expression { text, .. } => {
                let known = ["inputs.", "estate.", "run."];
                let short = known.iter().find_map(|root| text.strip_prefix(root)).unwrap_or(text);
                format!("<{short}>")
            }
        })
        .collect();
    parts.concat()
}

/// Says whether what a step does may be for good.
fn may_be_final(step: &Step) -> bool {
    let action = step.action.as_deref().and_then(ActionName::parse);
    // A recovery may be a promotion; with a condition it is one among several.
    let promotes = action == Some(ActionName::RdsPromoteReplica)
        || (action == Some(ActionName::RdsRecover) && step.when.is_none());
    let kept = matches!(step.rollback, Some(RollbackField::None(_)));
    step.point_of_no_return || promotes || (kept && action.is_some_and(ActionName::changes))
}

pub(super) fn line_of(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    writeln!(text, "{line}").ok();
}

fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let full = lines.last().is_some_and(|line| {
            !line.is_empty() && line.chars().count() + 1 + word.chars().count() > columns
        });
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbook::load;

    #[test]
    fn every_step_of_a_runbook_is_explained() {
        for (name, text) in load::embedded() {
            let runbook = load::parse(name, text).expect("a shipped runbook").runbook;
            let shown = show(&runbook);
            for step in &runbook.steps {
                assert!(shown.contains(&step.id), "{name}: {}", step.id);
            }
        }
    }

    #[test]
    fn the_catalogue_names_every_action_and_check() {
        let text = show_actions();
        for action in ActionName::ALL {
            assert!(text.contains(action.name()));
        }
        for check in CheckName::ALL {
            assert!(text.contains(check.name()));
        }
        for line in text.lines() {
            assert!(line.chars().count() <= COLUMNS, "{line}");
        }
        for part in
            ["for (text", "expect (reachable or unreachable", "env (map of text", "region (text)"]
        {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
    }

    #[test]
    fn every_field_of_every_action_and_check_says_what_it_is() {
        let actions = ActionName::ALL.map(|name| (name.name(), name.schema()));
        let checks = CheckName::ALL.map(|name| (name.name(), name.schema()));
        for (name, schema) in actions.into_iter().chain(checks) {
            let properties = schema["properties"].as_object().cloned().unwrap_or_default();
            for (field, property) in properties {
                assert!(property["description"].is_string(), "{name} {field} says nothing");
                let kind = kind(&schema, &property);
                assert!(
                    !kind.contains("value") && !kind.contains("null"),
                    "{name} {field}: {kind}"
                );
            }
        }
    }

    #[test]
    fn what_has_no_value_yet_is_named_and_what_may_be_for_good_is_marked() {
        assert_eq!(named("Move to ${{ inputs.region }} now"), "Move to <region> now");
        let loaded = load::find("DR-001", &[]).expect("is embedded");
        let text = show(&loaded.runbook);
        assert!(!text.contains("${{"), "{text}");
        assert!(text.contains("Establish that <from> is down"), "{text}");
        assert_eq!(text.matches("if it promotes, cannot be undone").count(), 1, "{text}");
        let drawn = crate::runbook::draw::mermaid(&loaded.runbook);
        assert!(!drawn.contains("${{"), "{drawn}");
    }
}
