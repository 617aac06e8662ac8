//! What was found, relation by relation, the worst first: for files, for people, and for later steps.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::relations::{Family, Kind, Relation};
use super::server::Facts;
use crate::clients::postgres::literal;
use crate::outcome::Obligation;
use crate::runbook::catalogue::actions::AssessTier;
use crate::span::Span;

/// Lines of findings in the notes of a step; the report has all.
const NOTES_MAX: usize = 20;
/// Places of one relation in a line.
const PLACES_SHOWN: usize = 8;
/// Names in an output; the report has all.
const NAMES_MAX: usize = 1000;

/// How a place was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Means {
    /// It could not be read
    Read,
    /// `verify_heapam` of amcheck
    HeapCheck,
    /// `bt_index_check` of amcheck
    IndexCheck,
    /// The size of its file
    Size,
}

/// One place that is damaged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Place {
    /// `None` where the server does not say
    pub block: Option<u32>,
    /// Row of the block; `None` where all of the block is meant
    pub offset: Option<u32>,
    pub column: Option<String>,
    pub means: Means,
    /// SQLSTATE, where it was an error
    pub code: Option<String>,
    /// The server's words
    pub said: String,
}

impl Place {
    fn shown(&self) -> String {
        let block = self.block.map_or("somewhere".to_owned(), |block| format!("block {block}"));
        let row = self.offset.map(|offset| format!(" row {offset}")).unwrap_or_default();
        let column = self.column.as_ref().map(|name| format!(" column {name}")).unwrap_or_default();
        format!("{block}{row}{column}")
    }
}

/// What is known of a relation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Verdict {
    Damaged {
        places: Vec<Place>,
        /// What of it was not looked at, and why
        #[serde(skip_serializing_if = "Vec::is_empty")]
        unread: Vec<String>,
        /// Damaged places beyond those that are named
        #[serde(skip_serializing_if = "is_none")]
        more: u64,
    },
    /// Nothing is known of it, or not enough
    Unread { why: String },
    /// All of it was read, and whatever else can be checked of it was
    Sound,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over like this")]
const fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Verdict {
    pub(super) fn unread(why: impl Into<String>) -> Self {
        Self::Unread { why: why.into() }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Damaged { .. } => 0,
            Self::Unread { .. } => 1,
            Self::Sound => 2,
        }
    }

    fn places(&self) -> &[Place] {
        match self {
            Self::Damaged { places, .. } => places,
            Self::Unread { .. } | Self::Sound => &[],
        }
    }
}

/// A relation and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Entry {
    pub relation: String,
    pub kind: Kind,
    /// The table an index or large values belong to
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    pub catalog: bool,
    pub bytes: u64,
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
            bytes: relation.bytes,
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
            bytes: 0,
            verdict: Verdict::Damaged { places: vec![place], unread: Vec::new(), more: 0 },
        }
    }

    /// Says whether rows are lost with it; an index is made anew from its table.
    fn loses_rows(&self) -> bool {
        self.is_damaged() && self.kind.holds_rows()
    }

    /// Says whether it holds what the planner knows, which `analyze` gathers anew.
    fn is_statistics(&self) -> bool {
        self.restored().trim_start_matches("pg_catalog.").starts_with("pg_statistic")
    }

    fn is_damaged(&self) -> bool {
        matches!(self.verdict, Verdict::Damaged { .. })
    }

    /// Returns the table, view or sequence a restore brings back.
    fn restored(&self) -> &str {
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
    /// What else an operator should know, a fact a line
    pub remarks: Vec<String>,
}

impl Report {
    /// Returns the names of the entries that are as wanted.
    fn names(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<&str> {
        let found = self.entries.iter().filter(|entry| wanted(entry));
        found.map(|entry| entry.relation.as_str()).collect()
    }

    pub(super) fn damaged(&self) -> Vec<&str> {
        self.names(Entry::is_damaged)
    }

    fn unread(&self) -> Vec<&str> {
        self.names(|entry| matches!(entry.verdict, Verdict::Unread { .. }))
    }

    /// Returns the tables, views and sequences whose rows are damaged, each once.
    fn to_restore(&self) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.loses_rows() && !entry.catalog) {
            if !found.contains(&entry.restored()) {
                found.push(entry.restored());
            }
        }
        found
    }

    /// Says whether restoring single relations will not do: the catalogs are damaged, or more than half of all rows'
    /// bytes belong to what would have to be restored.
    fn whole_database(&self) -> bool {
        // An index is made anew from its table, and what the planner knows by `analyze`.
        let lost = |entry: &Entry| entry.catalog && entry.loses_rows() && !entry.is_statistics();
        if self.entries.iter().any(lost) {
            return true;
        }
        // What was left out may be the greater part.
        if self.schemas.is_some() {
            return false;
        }
        let lost = self.to_restore();
        let rows = self.entries.iter().filter(|entry| entry.kind.holds_rows() && !entry.catalog);
        let (mut all, mut damaged) = (0, 0);
        for entry in rows {
            all += entry.bytes;
            if lost.contains(&entry.restored()) {
                damaged += entry.bytes;
            }
        }
        damaged * 2 > all
    }

    /// Says whether everything was read and nothing is damaged.
    pub(super) fn is_sound(&self) -> bool {
        self.damaged().is_empty() && self.unread().is_empty()
    }

    /// Returns what stays open where something is damaged: that a step is done is not that a database is sound. It is
    /// closed by another database that takes the name; the cut over then owes what becomes of the damaged one.
    pub(super) fn obligation(
        &self,
        region: &str,
        database: &str,
        file: Option<&str>,
    ) -> Option<Obligation> {
        let damaged = self.damaged();
        let (first, more) = (damaged.first()?, damaged.len() - 1);
        let others = if more > 0 { format!(" and {more} more") } else { String::new() };
        let report = file.map(|file| format!("; all of it: {file}")).unwrap_or_default();
        Some(Obligation {
            id: format!("damaged-{database}"),
            say: format!("{database} on {} is damaged: {first}{others}{report}", self.instance),
            how: "restore what is damaged, or make its indexes anew, then assess it again"
                .to_owned(),
            closed_by: self.server.as_ref().map(|facts| {
                json!({
                    "check": "postgres.query",
                    "with": {
                        "instance": self.instance,
                        "region": region,
                        "sql": format!(
                            "select not exists (select 1 from pg_database where datname = {} and oid = {})",
                            literal(database), facts.database_oid
                        ),
                    },
                    "that": "value",
                })
            }),
        })
    }

    /// Returns what later steps may use; `files` is where the report is.
    pub(super) fn outputs(&self, file: Option<&str>) -> Map<String, Value> {
        let (damaged, unread) = (self.damaged(), self.unread());
        let outputs = json!({
            "damaged": !damaged.is_empty(),
            "damaged_relations": first(&damaged),
            "damaged_tables": first(&self.to_restore()),
            "unread_relations": first(&unread),
            "sound": damaged.is_empty() && unread.is_empty(),
            "whole_database": self.whole_database(),
            "report": file.unwrap_or_default(),
        });
        outputs.as_object().cloned().unwrap_or_default()
    }

    /// Returns the result in a sentence.
    fn result(&self) -> String {
        let (damaged, unread) = (self.damaged().len(), self.unread().len());
        let all = self.entries.len();
        let sound = all - damaged - unread;
        match (damaged, unread) {
            (0, 0) => format!("all {all} relations are sound"),
            (0, _) => format!(
                "no damage was found, and {unread} of {all} relations were not read: of these nothing is known"
            ),
            (_, _) => format!(
                "{damaged} of {all} relations are damaged, {unread} were not read, {sound} are sound"
            ),
        }
    }

    /// Says what the findings mean for a restore, where anything is damaged.
    fn advice(&self) -> Option<String> {
        if self.damaged().is_empty() {
            return None;
        }
        let tables = self.to_restore();
        Some(if self.whole_database() {
            "the whole database must be restored: its catalogs, or most of its rows, are damaged"
                .to_owned()
        } else if tables.is_empty() {
            let lost = if self.unread().is_empty() { "are" } else { "are known to be" };
            format!("no rows {lost} lost: reindex {}", listed(&self.damaged()))
        } else {
            format!("restoring single relations can do: {}", listed(&tables))
        })
    }

    /// Returns the lines for the screen and the journal: few, whatever was found.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut lines = vec![self.result()];
        lines.extend(self.advice());
        let found = self.entries.iter().filter(|entry| entry.is_damaged());
        lines.extend(found.clone().take(NOTES_MAX).map(line));
        let more = found.count().saturating_sub(NOTES_MAX);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        // The same reason bars many: it is said once.
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for entry in &self.entries {
            let Verdict::Unread { why } = &entry.verdict else { continue };
            match reasons.iter_mut().find(|(known, _)| *known == why.as_str()) {
                Some((_, names)) => names.push(entry.relation.as_str()),
                None => reasons.push((why.as_str(), vec![entry.relation.as_str()])),
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
        lines.extend([String::new(), self.result()]);
        lines.extend(self.advice());
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
        Verdict::Unread { why } => format!("unread   {what}: {why}"),
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
