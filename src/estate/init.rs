//! The estate file `phoenix-dr init` writes: every section, explained, ready to be edited.

/// Returns a commented `phoenix-dr.yaml` with every section.
pub(crate) fn template() -> String {
    include_str!("template.yaml").to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::estate::types::Estate;

    #[test]
    fn the_template_is_a_sound_estate() {
        let (_, warnings) = crate::estate::load::examine("phoenix-dr.yaml", &template())
            .unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(warnings.items, [], "{warnings}");
    }

    /// Every key of the estate's types is in the template, as a value or in a comment.
    #[test]
    fn the_template_covers_every_key() {
        let schema = schemars::schema_for!(Estate).to_value();
        let text = template();
        let mut keys: Vec<String> = Vec::new();
        collect(&schema, &mut keys);
        assert!(keys.len() > 60, "{keys:?}");
        for key in keys {
            assert!(text.contains(&format!("{key}:")), "`{key}` is not in the template");
        }
    }

    fn collect(node: &Value, keys: &mut Vec<String>) {
        match node {
            Value::Object(entries) => {
                for (name, value) in entries {
                    if let ("properties", Value::Object(properties)) = (name.as_str(), value) {
                        // Endpoints are many of a kind; two are shown.
                        if !properties.contains_key("sts") {
                            keys.extend(properties.keys().cloned());
                        }
                    }
                    collect(value, keys);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, keys)),
            _ => {}
        }
    }
}
