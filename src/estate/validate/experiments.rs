//! The tables of experiments and events: names PostgreSQL takes, each column once.

use super::Checks;
use crate::estate::experiments::Experiments;
use crate::runbook::path::Path;

/// Bytes of a name; PostgreSQL cuts off what is longer.
const NAME_MAX: usize = 63;

impl Checks<'_> {
    pub(super) fn experiments(&mut self, experiments: &Experiments, path: &Path) {
        let (table, events) = (&experiments.table, &experiments.events);
        let at = path.key("table");
        self.table_name(&at.key("name"), &table.name);
        let columns = table.columns();
        self.columns(&at, columns.iter().filter_map(|(key, name)| Some((*key, (*name)?))));
        let at = path.key("events");
        self.table_name(&at.key("name"), &events.name);
        self.columns(&at, events.columns().into_iter());
        if events.name == table.name {
            let help = "one has a row for each experiment, the other a row for each event";
            self.wrong_with_help(&at.key("name"), "this is the table of experiments", help);
        }
        if !(0..=1).contains(&events.first_sequence) {
            let message = format!("{} begins no sequence", events.first_sequence);
            self.wrong_with_help(&at.key("first_sequence"), message, "0 or 1");
        }
    }

    fn table_name(&mut self, path: &Path, name: &str) {
        let parts: Vec<&str> = name.split('.').collect();
        if parts.len() > 2 || !parts.iter().all(|part| is_name(part)) {
            let help = "`table` or `schema.table`, each of letters, digits and underscores, a letter first";
            self.wrong_with_help(path, format!("`{name}` is not a table's name"), help);
        }
    }

    fn columns<'n>(&mut self, at: &Path, columns: impl Iterator<Item = (&'n str, &'n str)>) {
        let mut known: Vec<(&str, &str)> = Vec::new();
        for (key, name) in columns {
            if !is_name(name) {
                let help = "letters, digits and underscores, a letter first; 63 bytes at most";
                let message = format!("`{name}` is not a column's name");
                self.wrong_with_help(&at.key(key), message, help);
            } else if let Some((other, _)) = known.iter().find(|(_, known)| *known == name) {
                let message = format!("`{name}` is the column of `{other}` already");
                self.wrong(&at.key(key), message);
            }
            known.push((key, name));
        }
    }
}

/// Says whether a name can be written without quotes, but for its capitals.
pub(super) fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_alphabetic() || c == '_';
    name.len() <= NAME_MAX
        && name.starts_with(first)
        && name.chars().all(|c| first(c) || c.is_numeric() || c == '$')
}
