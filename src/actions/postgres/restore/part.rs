//! A restore of the rows of some tables alone: which they are, and what of an archive that leaves out.
//!
//! Every table is made, with its indexes: what the wanted rows need, types, functions, other tables, is there then. Foreign
//! keys are not: they would lead to rows that are not there.

use std::collections::BTreeMap;

use crate::actions::postgres::content::Table;
use crate::actions::postgres::manifest::Manifest;
use crate::clients::postgres::identifier;
use crate::outcome::{ActionError, FailureClass};
use crate::runbook::catalogue::actions::Tables;
use crate::runbook::near;

/// Tables of a dump whose rows are wanted.
#[derive(Debug)]
pub(in crate::actions::postgres) struct Part<'a> {
    wanted: Vec<&'a Table>,
    all: &'a [Table],
}

impl<'a> Part<'a> {
    /// Finds the tables in a dump; `None` where all are wanted.
    pub(in crate::actions::postgres) fn of(
        tables: &Tables,
        manifest: &'a Manifest,
    ) -> Result<Option<Self>, ActionError> {
        if tables.is_all() {
            return Ok(None);
        }
        let all = manifest.content.tables.as_slice();
        let known: BTreeMap<String, &Table> =
            all.iter().map(|table| (table.full_name(), table)).collect();
        let (mut wanted, mut missing) = (Vec::new(), Vec::new());
        for name in tables.names() {
            let (schema, table) = Tables::parts(name);
            match known.get(&format!("{schema}.{table}")) {
                Some(table) if wanted.contains(table) => {}
                Some(table) => wanted.push(*table),
                None => missing.push(name),
            }
        }
        if missing.is_empty() {
            return Ok(Some(Self { wanted, all }));
        }
        let meant =
            missing.iter().filter_map(|name| near::hint(name, known.keys().map(String::as_str)));
        let mut hint: Vec<String> = meant.collect();
        hint.push(
            "name tables as `schema.table`, and partitions instead of the table they are of"
                .to_owned(),
        );
        let message = format!("{} has no table {}", manifest.name, missing.join(", "));
        Err(ActionError::unchanged(FailureClass::NotFound, message).hint(hint.join(" ")))
    }

    /// Returns how many rows are wanted.
    pub(in crate::actions::postgres) fn rows(&self) -> u64 {
        self.wanted.iter().map(|table| table.rows).sum()
    }

    /// Returns the tables.
    pub(in crate::actions::postgres) fn tables(&self) -> &[&'a Table] {
        &self.wanted
    }

    /// Returns the tables' names.
    pub(in crate::actions::postgres) fn named(&self) -> String {
        let names: Vec<String> = self.wanted.iter().map(|table| table.full_name()).collect();
        names.join(", ")
    }

    /// Says what is restored.
    pub(in crate::actions::postgres) fn said(&self) -> String {
        format!(
            "of {} tables the rows of {} alone, {}: {}; no foreign keys",
            self.all.len(),
            self.wanted.len(),
            self.rows(),
            self.named()
        )
    }

    /// Says whether an item of an archive, by its words behind the numbers, is restored.
    pub(super) fn keeps(&self, item: &[&str]) -> bool {
        match item {
            ["TABLE", "DATA", of @ ..] => self.is_wanted(of),
            // What foreign keys lead to is not there, nor what is said of them; nor is what a view was filled with.
            ["FK", "CONSTRAINT", ..]
            | ["COMMENT", _, "CONSTRAINT", ..]
            | ["MATERIALIZED", "VIEW", "DATA", ..]
            | ["BLOB" | "BLOBS", ..]
            | ["COMMENT" | "SECURITY", "-" | "LABEL", "LARGE" | "-", ..] => false,
            _ => true,
        }
    }

    /// Says whether an item with the rows of a table is wanted. A name may have spaces: the longest that fits is meant.
    fn is_wanted(&self, of: &[&str]) -> bool {
        let item = of.join(" ");
        let fits = |table: &&Table| item.starts_with(&format!("{} {} ", table.schema, table.name));
        let meant = self.all.iter().filter(fits).max_by_key(|table| table.name.len());
        meant.is_none_or(|table| self.wanted.contains(&table))
    }
}

/// Returns a table's name as SQL has it.
pub(super) fn qualified(table: &Table) -> String {
    format!("{}.{}", identifier(&table.schema), identifier(&table.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(schema: &str, name: &str) -> Table {
        Table { schema: schema.to_owned(), name: name.to_owned(), rows: 7, digest: "1".to_owned() }
    }

    #[test]
    fn what_needs_other_rows_is_left_out() {
        let all = [table("app", "orders"), table("app", "orders old"), table("app", "users")];
        let part = Part { wanted: vec![&all[0]], all: &all };
        let kept = |line: &str| part.keeps(&line.split_whitespace().collect::<Vec<_>>());
        for line in [
            "TABLE DATA app orders dr",
            "TABLE app users dr",
            "SEQUENCE SET app ids dr",
            "CONSTRAINT app orders orders_pkey dr",
            "INDEX app orders_name dr",
            "COMMENT app TABLE orders dr",
            "COMMENT - EXTENSION amcheck",
            "SECURITY LABEL app TABLE orders dr",
        ] {
            assert!(kept(line), "{line}");
        }
        for line in [
            "TABLE DATA app orders old dr",
            "TABLE DATA app users dr",
            "FK CONSTRAINT app orders orders_user dr",
            "COMMENT app CONSTRAINT orders_user ON orders dr",
            "MATERIALIZED VIEW DATA app sums dr",
            "BLOB - 16400 dr",
            "BLOBS - BLOBS",
            "COMMENT - LARGE OBJECT 16400 dr",
            "SECURITY LABEL - LARGE OBJECT 16400 dr",
        ] {
            assert!(!kept(line), "{line}");
        }
        assert_eq!(part.rows(), 7);
    }
}
