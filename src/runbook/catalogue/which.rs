//! Which of many an argument means: names as a list, or as a text, which is what an input gives.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which experiments are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Experiments {
    /// `all`, or ids with commas between them
    Text(String),
    Ids(Vec<String>),
}

impl Experiments {
    /// All of them, as a text.
    pub(crate) const ALL: &str = "all";

    /// Returns the ids that are meant, each once; `None` where all are.
    pub(crate) fn ids(&self) -> Option<BTreeSet<&str>> {
        match self {
            Self::Text(text) if text.trim() == Self::ALL => None,
            Self::Text(text) => {
                Some(text.split(',').map(str::trim).filter(|id| !id.is_empty()).collect())
            }
            Self::Ids(ids) => Some(ids.iter().map(String::as_str).collect()),
        }
    }
}

impl Default for Experiments {
    fn default() -> Self {
        Self::Text(Self::ALL.to_owned())
    }
}

/// Which tables are meant: `schema.table` as a list, or as a text with commas between them; none of them: all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Tables {
    /// Names with commas between them
    Text(String),
    Names(Vec<String>),
}

impl Tables {
    /// Returns the names, each once.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        match self {
            Self::Text(text) => {
                text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
            }
            Self::Names(names) => names.iter().map(String::as_str).collect(),
        }
    }

    /// Returns a name's schema and table without the quotes SQL needs around parts of them, which is how manifests have them.
    pub(crate) fn parts(name: &str) -> (String, String) {
        let (mut schema, mut plain) = (None, String::new());
        let mut letters = name.chars().peekable();
        let mut inside = false;
        while let Some(letter) = letters.next() {
            match letter {
                '"' if inside && letters.next_if_eq(&'"').is_some() => plain.push('"'),
                '"' => inside = !inside,
                '.' if !inside && schema.is_none() => schema = Some(std::mem::take(&mut plain)),
                other => plain.push(other),
            }
        }
        (schema.unwrap_or_else(|| "public".to_owned()), plain)
    }

    /// Reads them as a runbook has them; what is neither form means all.
    pub(crate) fn of(value: &serde_json::Value) -> Self {
        Self::deserialize(value).unwrap_or_default()
    }

    /// Says whether nothing is left out.
    pub(crate) fn is_all(&self) -> bool {
        self.names().is_empty()
    }
}

impl Default for Tables {
    fn default() -> Self {
        Self::Names(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_schema_and_a_table_with_quotes_or_without() {
        for (name, schema, table) in [
            ("app.orders", "app", "orders"),
            ("app.\"Odd name\"", "app", "Odd name"),
            ("\"a\"\"b\".\"c\"", "a\"b", "c"),
            ("\"a.b\".\"c.d\"", "a.b", "c.d"),
            ("orders", "public", "orders"),
        ] {
            assert_eq!(Tables::parts(name), (schema.to_owned(), table.to_owned()), "{name}");
        }
    }
}
