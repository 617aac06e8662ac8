//! What was found, relation by relation, the worst first: for files, for people, and for later steps.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::relations::{Family, Kind, Relation};
use super::server::Facts;
use super::verdict::{Gap, Means, Place, Verdict};
use crate::runbook::catalogue::actions::AssessTier;
use crate::span::Span;

/// Lines of findings in the notes of a step; the report has all.
const NOTES_MAX: usize = 20;
/// Places of one relation in a line.
const PLACES_SHOWN: usize = 8;
/// Names in an output; the report has all.
const NAMES_MAX: usize = 1000;

/// A relation and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Entry {
    pub relation: String,
    pub kind: Kind,
    /// The table an index or large values belong to
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    pub catalog: bool,
    /// Names of the estate's essential tables it belongs to
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub essential: Vec<String>,
    pub bytes: u64,
    /// Rows of a table all of which was read
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    pub verdict: Verdict,
}

impl Entry {
    pub(super) fn new(family: &Family, relation: &Relation, verdict: Verdict) -> Self {
        let table = (relation.oid != family.head.oid).then(|| family.head.name.clone());
        Self {
            relation: relation.name.clone(),
            kind: relation.kind,
            table,
            catalog: relation.is_catalog(),
            essential: family.essential.values().cloned().collect(),
            bytes: relation.bytes,
            rows: None,
            verdict,
        }
    }

    /// Returns the entry of catalogs so damaged that not even a list of relations is to be had.
    pub(super) fn of_catalogs(said: String, code: Option<String>) -> Self {
        let (block, offset, column) = (None, None, None);
        let place = Place { block, offset, column, means: Means::Read, code, said };
        Self {
            relation: "pg_catalog".to_owned(),
            kind: Kind::Table,
            table: None,
            catalog: true,
            essential: Vec::new(),
            bytes: 0,
            rows: None,
            verdict: Verdict::Damaged { places: vec![place], unread: Vec::new(), more: 0 },
        }
    }

    /// Says whether rows are lost with it; an index is made anew from its table.
    pub(super) fn loses_rows(&self) -> bool {
        self.is_damaged() && self.kind.holds_rows()
    }

    /// Says whether it holds what the planner knows, which `analyze` gathers anew.
    pub(super) fn is_statistics(&self) -> bool {
        self.restored().trim_start_matches("pg_catalog.").starts_with("pg_statistic")
    }

    pub(super) const fn is_damaged(&self) -> bool {
        matches!(self.verdict, Verdict::Damaged { .. })
    }

    /// Says whether it was not read although it could be, be it after something else is done.
    pub(super) const fn is_left(&self) -> bool {
        matches!(self.verdict.gap(), Some(Gap::Time | Gap::Obstacle))
    }

    /// Returns the table, view or sequence a restore brings back.
    pub(super) fn restored(&self) -> &str {
        self.table.as_deref().unwrap_or(&self.relation)
    }
}

/// Sorts entries, the worst first: catalogs before the rest, rows before what is made of them, then by what is lost.
pub(super) fn worst_first(entries: &mut [Entry]) {
    entries.sort_by(|a, b| {
        a.verdict
            .rank()
            .cmp(&b.verdict.rank())
            .then_with(|| {
                b.catalog.cmp(&a.catalog).then(b.kind.holds_rows().cmp(&a.kind.holds_rows()))
            })
            .then_with(|| b.verdict.places().len().cmp(&a.verdict.places().len()))
            .then_with(|| b.bytes.cmp(&a.bytes))
            .then_with(|| a.relation.cmp(&b.relation))
    });
}

/// All that was found.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    pub format: u32,
    pub instance: String,
    pub tier: AssessTier,
    /// Schemas it is limited to, beside the catalogs
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schemas: Option<Vec<String>>,
    /// `None` where the server let nobody in
    pub server: Option<Facts>,
    pub began: String,
    pub took: Span,
    pub bytes_read: u64,
    pub bytes: u64,
    pub entries: Vec<Entry>,
    /// What beside relations keeps all of it from being called sound, a fact a line
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// What keeps a restored database from being called proved although none of it is damaged, a fact a line
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owed: Vec<String>,
    /// What else an operator should know, a fact a line
    pub remarks: Vec<String>,
    /// Rows of the estate's essential tables, of those that were read in full
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
    /// The newest instant the business wrote, where the estate says how it is asked for
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
}

impl Report {
    /// Returns the names of the entries that are as wanted.
    pub(super) fn names(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<&str> {
        let found = self.entries.iter().filter(|entry| wanted(entry));
        found.map(|entry| entry.relation.as_str()).collect()
    }

    pub(super) fn damaged(&self) -> Vec<&str> {
        self.names(Entry::is_damaged)
    }

    pub(super) fn unread(&self) -> Vec<&str> {
        self.names(|entry| matches!(entry.verdict, Verdict::Unread(_)))
    }

    /// Counts the rows of the essential tables that were read in full, each with all its partitions.
    pub(super) fn count(&mut self) {
        let mut counts: BTreeMap<&str, Option<u64>> = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| entry.table.is_none()) {
            for name in &entry.essential {
                let count = counts.entry(name).or_insert(Some(0));
                *count = count.zip(entry.rows).map(|(all, rows)| all.saturating_add(rows));
            }
        }
        let known = counts.into_iter().filter_map(|(name, rows)| Some((name.to_owned(), rows?)));
        self.counts = known.collect();
    }

    /// Returns what later steps may use; `file` is where the report is.
    pub(super) fn outputs(&self, file: Option<&str>) -> Map<String, Value> {
        let (damaged, unread) = (self.damaged(), self.unread());
        let failures = self.server.as_ref().map_or(0, |facts| facts.checksum_failures);
        let outputs = json!({
            "damaged": !damaged.is_empty(),
            "damaged_relations": first(&damaged),
            "damaged_tables": first(&self.to_restore()),
            "unread_relations": first(&unread),
            "sound": self.is_sound(),
            "cleared": self.is_cleared(),
            "whole_database": self.whole_database(),
            "undecided": self.undecided(),
            "result": self.result(),
            "advice": self.advice().unwrap_or_default(),
            "checksum_failures": failures,
            "counts": self.counts,
            "newest": self.newest.as_deref().unwrap_or_default(),
            "report": file.unwrap_or_default(),
        });
        outputs.as_object().cloned().unwrap_or_default()
    }

    /// Returns what the essential tables hold, as far as it is known.
    pub(super) fn held(&self) -> Option<String> {
        let counts = self.counts.iter().map(|(name, rows)| format!("{name} {rows}"));
        let counts: Vec<String> = counts.collect();
        let newest = self.newest.as_ref();
        match (counts.is_empty(), newest.map(|at| format!("the newest instant in it is {at}"))) {
            (true, newest) => newest,
            (false, None) => Some(format!("rows: {}", counts.join(", "))),
            (false, Some(newest)) => Some(format!("rows: {}; {newest}", counts.join(", "))),
        }
    }

    /// Returns the lines for the screen and the journal: few, whatever was found.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut lines = vec![self.sentence()];
        lines.extend(self.advice());
        lines.extend(self.doubts.iter().chain(&self.owed).cloned());
        lines.extend(self.held());
        let found = self.entries.iter().filter(|entry| entry.is_damaged());
        lines.extend(found.clone().take(NOTES_MAX).map(line));
        let more = found.count().saturating_sub(NOTES_MAX);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        // The same reason bars many: it is said once.
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for entry in &self.entries {
            let Verdict::Unread(unread) = &entry.verdict else { continue };
            match reasons.iter_mut().find(|(known, _)| *known == unread.why.as_str()) {
                Some((_, names)) => names.push(entry.relation.as_str()),
                None => reasons.push((unread.why.as_str(), vec![entry.relation.as_str()])),
            }
        }
        let shown = reasons.iter().take(NOTES_MAX);
        lines.extend(shown.map(|(why, names)| format!("not read: {}: {why}", listed(names))));
        lines.extend(self.remarks.iter().cloned());
        lines
    }

    /// Returns the whole report as people read it.
    pub(super) fn text(&self) -> String {
        let tier = match self.tier {
            AssessTier::Quick => "quick",
            AssessTier::Deep => "deep",
        };
        let mut lines =
            vec![format!("Assessment of {} ({tier}), begun {}", self.instance, self.began)];
        if let Some(schemas) = &self.schemas {
            lines.push(format!("limited to the catalogs and the schemas {}", schemas.join(", ")));
        }
        lines.extend(self.server.iter().flat_map(Facts::evidence));
        let (read, all) = (size(self.bytes_read), size(self.bytes));
        lines.push(format!("{read} of {all} read in {}", self.took));
        lines.extend([String::new(), self.sentence()]);
        lines.extend(self.advice());
        lines.extend(self.doubts.iter().chain(&self.owed).cloned());
        lines.extend(self.held());
        lines.extend(self.remarks.iter().cloned());
        lines.push(String::new());
        for entry in &self.entries {
            lines.push(line(entry));
            for place in entry.verdict.places() {
                let code = place.code.as_deref().map(|code| format!(" ({code})"));
                let code = code.unwrap_or_default();
                lines.push(format!("    {}: {}{code}", place.shown(), place.said));
            }
            if let Verdict::Damaged { more: more @ 1.., .. } = &entry.verdict {
                lines.push(format!("    and {more} more places"));
            }
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

/// Returns as many names as an output may have.
fn first<'a>(names: &[&'a str]) -> Vec<&'a str> {
    names.iter().take(NAMES_MAX).copied().collect()
}

/// Returns an entry as one line.
fn line(entry: &Entry) -> String {
    let of = entry.table.as_ref().map(|table| format!(" of {table}")).unwrap_or_default();
    let what = format!("{} ({}{of}, {})", entry.relation, entry.kind.name(), size(entry.bytes));
    match &entry.verdict {
        Verdict::Sound => format!("sound    {what}"),
        Verdict::Unread(unread) => format!("unread   {what}: {}", unread.why),
        Verdict::Damaged { places, unread, more } => {
            let shown: Vec<String> = places.iter().take(PLACES_SHOWN).map(Place::shown).collect();
            let hidden = places.len().saturating_sub(PLACES_SHOWN);
            let more = more.saturating_add(u64::try_from(hidden).unwrap_or(u64::MAX));
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let rest: Vec<String> = unread.iter().map(|why| format!("; {why}")).collect();
            let rest = rest.concat();
            format!("damaged  {what}: {}{more}{rest}", shown.join(", "))
        }
    }
}

/// Returns the first of some names, and how many more there are.
pub(super) fn listed(names: &[&str]) -> String {
    let shown = names.iter().take(PLACES_SHOWN).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(PLACES_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Returns a number of bytes as people say it.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut whole = bytes;
    let mut rest = 0;
    let mut unit = "B";
    for larger in UNITS {
        if whole < 1024 {
            break;
        }
        (whole, rest, unit) = (whole / 1024, whole % 1024, larger);
    }
    if unit == "B" || whole >= 100 {
        return format!("{whole} {unit}");
    }
    format!("{whole}.{} {unit}", rest * 10 / 1024)
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
