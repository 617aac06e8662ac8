//! The JSON Schema of runbook files, for editors and other programs: the types, and each action's arguments.

use serde_json::{Map, Value, json};

use super::arguments;
use super::catalogue::actions::ActionName;
use super::catalogue::checks::CheckName;
use super::schema::Runbook;
use super::shape::Schema;

/// Returns the schema of a runbook file.
pub(crate) fn schema() -> Value {
    let mut root = Schema::of::<Runbook>().root().clone();
    let mut definitions = match root.get_mut("$defs") {
        Some(Value::Object(definitions)) => std::mem::take(definitions),
        _ => Map::new(),
    };
    let actions: Vec<(&str, &str, &Schema)> = ActionName::ALL
        .into_iter()
        .map(|name| (name.name(), name.say(), arguments::of_action(name)))
        .collect();
    let checks: Vec<(&str, &str, &Schema)> = CheckName::ALL
        .into_iter()
        .map(|name| (name.name(), name.say(), arguments::of_check(name)))
        .collect();
    for (of, key, named) in [
        ("Step", "action", &actions),
        ("RollbackAction", "action", &actions),
        ("Check", "check", &checks),
    ] {
        let Some(Value::Object(definition)) = definitions.get_mut(of) else { continue };
        // `with` is described by the branch of the name.
        definition.insert("allOf".to_owned(), branches(key, named));
        if let Some(Value::Object(properties)) = definition.get_mut("properties") {
            properties.insert(key.to_owned(), names(named));
        }
    }
    for (kind, named) in [("action", &actions), ("check", &checks)] {
        for (name, _, schema) in named {
            let mut arguments = schema.root().clone();
            if let Value::Object(arguments) = &mut arguments {
                arguments.remove("$schema");
                if let Some(Value::Object(inner)) = arguments.remove("$defs") {
                    // The same types under the same names: what the runbook has already wins.
                    for (name, inner) in inner {
                        definitions.entry(name).or_insert_with(|| templated(inner));
                    }
                }
            }
            definitions.insert(format!("{kind}.{name}"), templated(arguments));
        }
    }
    definitions.insert(
        "Expression".to_owned(),
        json!({
            "type": "string",
            "pattern": "\\$\\{\\{[\\s\\S]*\\}\\}",
            "description": "A text that is one ${{ … }} expression keeps the expression's type"
        }),
    );
    if let Value::Object(root) = &mut root {
        root.insert("title".to_owned(), json!("phoenix-dr runbook"));
        root.insert("$defs".to_owned(), Value::Object(definitions));
    }
    root
}

/// Returns the names of actions or checks, with what each does.
fn names(named: &[(&str, &str, &Schema)]) -> Value {
    let list: Vec<Value> =
        named.iter().map(|(name, say, _)| json!({ "const": name, "description": say })).collect();
    json!({ "oneOf": list })
}

/// Returns one branch for each name: where the name is this one, `with` is that.
fn branches(key: &str, named: &[(&str, &str, &Schema)]) -> Value {
    let branch = |(name, _, schema): &(&str, &str, &Schema)| {
        let with = json!({ "$ref": format!("#/$defs/{key}.{name}") });
        let mut then = json!({ "properties": { "with": with } });
        let required = schema.root().get("required").and_then(Value::as_array);
        if required.is_some_and(|required| !required.is_empty()) {
            then["required"] = json!(["with"]);
        }
        json!({ "if": { "properties": { key: { "const": name } }, "required": [key] }, "then": then })
    };
    named.iter().map(branch).collect()
}

/// Returns a schema of arguments in which any value that is no text may be an expression instead.
fn templated(mut node: Value) -> Value {
    if let Value::Object(entries) = &mut node {
        if let Some(Value::Object(properties)) = entries.get_mut("properties") {
            for value in properties.values_mut() {
                *value = or_expression(value.take());
            }
        }
        if let Some(items) = entries.get_mut("items") {
            *items = or_expression(items.take());
        }
    }
    node
}

fn or_expression(node: Value) -> Value {
    let node = templated(node);
    let plain_text = node.get("type") == Some(&json!("string"))
        && node.get("format").is_none()
        && node.get("enum").is_none();
    let free = node.as_object().is_none_or(Map::is_empty);
    if plain_text || free {
        return node;
    }
    let description = node.get("description").cloned();
    let mut either = json!({ "anyOf": [node, { "$ref": "#/$defs/Expression" }] });
    if let Some(description) = description {
        either["description"] = description;
    }
    either
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Every `$ref` leads somewhere.
    fn dangling(node: &Value, root: &Value, found: &mut Vec<String>) {
        match node {
            Value::Object(entries) => {
                if let Some(Value::String(name)) = entries.get("$ref")
                    && root.pointer(name.trim_start_matches('#')).is_none()
                {
                    found.push(name.clone());
                }
                entries.values().for_each(|node| dangling(node, root, found));
            }
            Value::Array(items) => items.iter().for_each(|node| dangling(node, root, found)),
            _ => {}
        }
    }

    #[test]
    fn the_file_in_docs_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbook.schema.json");
        let schema = schema();
        let mut found = Vec::new();
        dangling(&schema, &schema, &mut found);
        assert_eq!(found, [""; 0]);
        let mut text = serde_json::to_string_pretty(&schema).expect("is JSON");
        text.push('\n');
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::create_dir_all(path.parent().expect("is below docs")).expect("creates");
            std::fs::write(&path, &text).expect("writes");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == text,
            "docs/runbook.schema.json is not what the types say; run\n\
             UPDATE_SCHEMA=1 cargo test --lib runbook::schema_json"
        );
    }

    #[test]
    fn every_action_and_check_is_described() {
        let schema = schema();
        for name in ActionName::ALL {
            let with = &schema["$defs"][format!("action.{}", name.name())];
            assert_eq!(with["additionalProperties"], json!(false), "{}", name.name());
        }
        for name in CheckName::ALL {
            assert!(
                schema["$defs"][format!("check.{}", name.name())].is_object(),
                "{}",
                name.name()
            );
        }
        let branches = schema["$defs"]["Step"]["allOf"].as_array().expect("is a list");
        assert_eq!(branches.len(), ActionName::ALL.len());
    }
}
