//! What is essential in a database: tables by their whole names, and queries that ask something.

use super::Checks;
use super::experiments::is_name;
use crate::estate::essentials::Essentials;
use crate::runbook::path::Path;

impl Checks<'_> {
    pub(super) fn essentials(&mut self, essentials: &Essentials, path: &Path) {
        let at = path.key("tables");
        for (i, table) in essentials.tables.iter().enumerate() {
            let whole = table.split('.').count() == 2 && table.split('.').all(is_name);
            if !whole {
                let help = "write `schema.table`, e.g. `public.experiments`";
                let message = format!("`{table}` is not a table with its schema");
                self.wrong_with_help(&at.item(i), message, help);
            } else if essentials.tables[..i].contains(table) {
                self.wrong(&at.item(i), format!("`{table}` is there already"));
            }
        }
        for (i, query) in essentials.queries.iter().enumerate() {
            let at = path.key("queries").item(i);
            if query.title.trim().is_empty() {
                self.wrong(&at.key("title"), "it has no title");
            }
            self.asks(&at.key("sql"), &query.sql);
        }
        if let Some(newest) = &essentials.newest {
            self.asks(&path.key("newest"), newest);
        }
    }

    fn asks(&mut self, path: &Path, sql: &str) {
        if sql.trim().is_empty() {
            self.wrong_with_help(path, "it asks nothing", "write a query that gives one value");
        }
    }
}
