//! What the application cannot do without: asked of every copy of the database before the application is let in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a copy of the database must have and answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Essentials {
    /// Tables that are read first, right after the catalogs, and all of them: `schema.table`, the most important first
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    /// What the application asks; each answers true where all is well
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queries: Vec<EssentialQuery>,
    /// Query for the newest instant the business wrote (`timestamptz`): what is newer is lost with a copy
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
}

impl Essentials {
    /// Says whether nothing of it is said.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// One question, by reads only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EssentialQuery {
    /// What people read where it does not answer true
    pub title: String,
    /// One value, which is true where all is well
    pub sql: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estate::{init, load};

    /// Where the template shows what is essential, up to the end of it.
    const SHOWN: &str = "  # essentials:\n";

    fn estate(essentials: &str) -> String {
        let text = init::template();
        assert_eq!(text.matches(SHOWN).count(), 1);
        text.replacen(SHOWN, &format!("  essentials: {essentials}\n{SHOWN}"), 1)
    }

    #[test]
    fn what_the_template_shows_is_sound() {
        let text = init::template();
        let (before, shown) = text.split_once(SHOWN).expect("shown");
        let lines: Vec<&str> =
            shown.lines().take_while(|line| line.starts_with("  #   ")).collect();
        let shown: String = lines.iter().map(|line| line.replacen("# ", "", 1) + "\n").collect();
        let read = load::parse("phoenix-dr.yaml", &format!("{before}  essentials:\n{shown}"));
        let read = read.unwrap_or_else(|wrong| panic!("{wrong}")).database.expect("a database");
        assert!(!read.essentials.tables.is_empty() && !read.essentials.queries.is_empty());
        assert!(read.essentials.newest.is_some());
        let kept = serde_json::to_value(&read.essentials).expect("JSON");
        assert_eq!(serde_json::from_value::<Essentials>(kept).expect("read"), read.essentials);
    }

    #[test]
    fn each_mistake_is_said_in_place_and_all_at_once() {
        let wrong =
            "{ tables: [experiments, a.b, a.b], queries: [{ title: '', sql: ' ' }], newest: '' }";
        let text =
            load::parse("phoenix-dr.yaml", &estate(wrong)).expect_err("mistakes").render(false);
        for said in [
            "`experiments` is not a table with its schema",
            "`a.b` is there already",
            "it asks nothing",
            "it has no title",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert_eq!(text.matches("it asks nothing").count(), 2, "{text}");
    }
}
