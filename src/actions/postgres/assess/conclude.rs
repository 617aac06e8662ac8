//! What the findings mean: whether the database may be gone on with, what to do, and what stays open.

use std::collections::BTreeSet;

use serde_json::json;

use super::relations::Kind;
use super::report::{Entry, Report, listed};
use super::verdict::Gap;
use crate::by_hand;
use crate::clients::postgres::literal;
use crate::estate::types::Estate;
use crate::outcome::Obligation;
use crate::runbook::catalogue::actions::AssessTier;
use crate::shell;

/// The built-in runbook for single tables, OPS-002.
const RESTORE: &str = "phoenix-dr restore-tables";

/// What is left open where something is damaged.
pub(super) const DAMAGED: &str = "damaged";
/// What is left open where a restored database was not read to the end.
pub(super) const PENDING: &str = "proof-pending";

/// Names of the database that was assessed, for what is left open about it.
pub(super) struct Subject<'a> {
    pub estate: &'a Estate,
    pub region: &'a str,
    pub instance: &'a str,
    pub database: &'a str,
    /// The instance's name as the run knew it first
    pub known_as: &'a str,
}

impl Subject<'_> {
    /// Returns the name of what is left open: that of the estate's primary by the database alone, that of any other
    /// instance by both, for two of them may hold a database of this name.
    pub(super) fn id(&self, prefix: &str) -> String {
        let primary = self.estate.database.as_ref().map(|database| database.primary.id.as_str());
        if primary == Some(self.known_as) {
            return format!("{prefix}-{}", self.database);
        }
        format!("{prefix}-{}-on-{}", self.database, self.known_as)
    }

    /// Returns a statement as a command that can be typed.
    fn typed(&self, sql: &str) -> String {
        let psql = by_hand::database::psql_to(self.estate, self.instance, self.database);
        format!("$ {}", by_hand::database::statements(&psql, &[sql.to_owned()]))
    }

    /// Returns the commands that read all of it, a line each.
    fn reads(&self, schemas: Option<&[String]>) -> String {
        let schemas = schemas.unwrap_or_default();
        let (instance, database) = (self.instance, self.database);
        let lines = by_hand::database::assess(self.estate, instance, database, schemas, 4);
        let commands = lines.iter().filter(|line| !line.starts_with('#'));
        commands.map(|line| format!("$ {line}")).collect::<Vec<_>>().join("\n")
    }
}

impl Report {
    /// Returns the tables, views and sequences whose rows are damaged, each once.
    pub(super) fn to_restore(&self) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.loses_rows() && !entry.catalog) {
            if !found.contains(&entry.restored()) {
                found.push(entry.restored());
            }
        }
        found
    }

    /// Returns the bytes of all rows but the catalogs', and those of them that are as wanted.
    fn row_bytes(&self, wanted: impl Fn(&Entry) -> bool) -> (u64, u64) {
        let rows = self.entries.iter().filter(|entry| entry.kind.holds_rows() && !entry.catalog);
        rows.fold((0, 0), |(all, some), entry| {
            (all + entry.bytes, some + if wanted(entry) { entry.bytes } else { 0 })
        })
    }

    /// Says whether restoring single relations will not do: the catalogs are damaged, or more than half of all rows'
    /// bytes belong to what would have to be restored.
    pub(super) fn whole_database(&self) -> bool {
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
        let (all, damaged) = self.row_bytes(|entry| lost.contains(&entry.restored()));
        damaged * 2 > all
    }

    /// Says whether something is damaged and so much was not read that nobody knows whether single relations would do: a
    /// catalog, or more than half of all rows' bytes.
    pub(super) fn undecided(&self) -> bool {
        if self.damaged().is_empty() || self.whole_database() {
            return false;
        }
        let catalog =
            |entry: &Entry| entry.catalog && entry.kind.holds_rows() && !entry.is_statistics();
        let (all, left) = self.row_bytes(Entry::is_left);
        left * 2 > all || self.entries.iter().any(|entry| catalog(entry) && entry.is_left())
    }

    /// Says whether nothing is damaged and all that can be read was, and nothing beside relations casts a doubt on it.
    pub(super) fn is_sound(&self) -> bool {
        self.doubts.is_empty()
            && self.owed.is_empty()
            && !self.entries.iter().any(|entry| entry.is_damaged() || entry.is_left())
    }

    /// Says whether all of the database was read by the deep tier, and is sound.
    pub(super) fn is_proved(&self) -> bool {
        self.tier == AssessTier::Deep && self.is_sound() && self.schemas.is_none()
    }

    /// Says whether nothing keeps an application out but that not all has been read yet: nothing is damaged, the catalogs
    /// and the essential tables were read in full, and of the rest nothing is unread but for want of time.
    pub(super) fn is_cleared(&self) -> bool {
        let passes = |entry: &Entry| match entry.verdict.gap() {
            None => !entry.is_damaged(),
            Some(Gap::ByNature) => true,
            Some(Gap::Time) => !entry.catalog && entry.essential.is_empty(),
            Some(Gap::Obstacle) => false,
        };
        self.schemas.is_none() && self.doubts.is_empty() && self.entries.iter().all(passes)
    }

    /// Returns the result in a sentence, without what beside relations casts a doubt on it.
    pub(super) fn sentence(&self) -> String {
        let (damaged, unread) = (self.damaged().len(), self.unread().len());
        let all = self.entries.len();
        let sound = all - damaged - unread;
        let left = self.entries.iter().filter(|entry| entry.is_left()).count();
        match (damaged, unread) {
            (0, 0) if self.doubts.is_empty() => format!("all {all} relations are sound"),
            (0, 0) => format!("no damage was found in {all} relations"),
            (0, _) if left == 0 && self.doubts.is_empty() => {
                format!("all that can be checked is sound: {sound} of {all} relations")
            }
            (0, _) if self.is_cleared() => {
                let essential = self.entries.iter().any(|entry| !entry.essential.is_empty());
                let essential = if essential { " and the essential tables" } else { "" };
                format!(
                    "no damage was found; the catalogs{essential} are sound, and for want of time {left} of {all} \
                     relations were not read: of these nothing is known"
                )
            }
            (0, _) => format!(
                "no damage was found, and {unread} of {all} relations were not read: of these nothing is known"
            ),
            (_, _) => format!(
                "{damaged} of {all} relations are damaged, {unread} were not read, {sound} are sound"
            ),
        }
    }

    /// Returns the result for a question: what there is to know of it in one text.
    pub(super) fn result(&self) -> String {
        let doubts = self.doubts.iter().chain(&self.owed).cloned();
        std::iter::once(self.sentence()).chain(doubts).collect::<Vec<_>>().join("; ")
    }

    /// Says what the findings mean for a restore, where anything is damaged.
    pub(super) fn advice(&self) -> Option<String> {
        if self.damaged().is_empty() {
            return None;
        }
        if self.whole_database() {
            let why = "its catalogs, or most of its rows, are damaged";
            return Some(format!("the whole database must be restored: {why}"));
        }
        let tables = self.to_restore();
        let mut parts = Vec::new();
        if self.undecided() {
            let (all, left) = self.row_bytes(Entry::is_left);
            parts.push(format!(
                "whether the whole database must be restored nobody knows: {}% of its rows, and {} catalogs, were not \
                 read; take the whole, or read on (`tier: deep`, or a longer `budget`) before you decide",
                left.saturating_mul(100) / all.max(1),
                self.names(|entry| entry.catalog && entry.kind.holds_rows() && entry.is_left()).len()
            ));
            if !tables.is_empty() {
                parts.push(format!("rows are lost in {}", listed(&tables)));
            }
        } else if tables.is_empty() {
            let lost = if self.unread().is_empty() { "are" } else { "are known to be" };
            parts.push(format!("no rows {lost} lost"));
        } else {
            parts.push(format!("restoring single relations can do: {}", listed(&tables)));
        }
        parts.extend(self.remade());
        Some(parts.join("; "))
    }

    /// Says how what holds no rows of its own is made anew.
    fn remade(&self) -> Vec<String> {
        let mut parts = Vec::new();
        let statements = self.reindexed();
        if !statements.is_empty() {
            let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
            let alone = self.entries.iter().any(|entry| entry.catalog && is_index(entry));
            let alone = if alone { " (a catalog's locks out everybody)" } else { "" };
            parts.push(format!("{}{alone}", listed(&statements)));
        }
        let statistics = self.names(|entry| entry.is_statistics() && entry.loses_rows());
        if !statistics.is_empty() {
            parts.push(format!("{}: `analyze` gathers it anew", listed(&statistics)));
        }
        parts
    }

    /// Returns the statements that make damaged indexes anew, but for those of tables a restore brings back. Those of
    /// catalogs cannot be made beside the old ones.
    fn reindexed(&self) -> Vec<String> {
        let restored = self.to_restore();
        let indexes = self.entries.iter().filter(|entry| is_index(entry));
        indexes
            .filter(|entry| !restored.contains(&entry.restored()))
            .map(|entry| {
                let beside = if entry.catalog { "" } else { " concurrently" };
                format!("reindex index{beside} {}", entry.relation)
            })
            .collect()
    }

    /// Returns the command that restores the rows of damaged tables beside the database, where these alone will do and dumps
    /// are kept.
    fn single(&self, of: &Subject<'_>) -> Option<String> {
        let dumps = of.estate.database.as_ref()?.dumps.as_ref();
        if self.whole_database() || self.undecided() || dumps.is_none() {
            return None;
        }
        let is_table = |entry: &&Entry| matches!(entry.kind, Kind::Table | Kind::Toast);
        let lost = self.entries.iter().filter(|entry| entry.loses_rows() && !entry.catalog);
        let tables: BTreeSet<&str> = lost.filter(is_table).map(Entry::restored).collect();
        let tables = Vec::from_iter(tables).join(",");
        let command = || format!("$ {RESTORE} --tables {}", shell::word(&tables));
        (!tables.is_empty()).then(command)
    }

    /// Returns what stays open where something is damaged: that a step is done is not that a database is sound. It is
    /// closed by another database that takes the name; the cut over then owes what becomes of the damaged one.
    pub(super) fn damage(&self, of: &Subject<'_>, file: Option<&str>) -> Option<Obligation> {
        let damaged = self.damaged();
        let (first, more) = (damaged.first()?, damaged.len() - 1);
        let others = if more > 0 { format!(" and {more} more") } else { String::new() };
        let report = file.map(|file| format!("; all of it: {file}")).unwrap_or_default();
        let (instance, database) = (of.instance, of.database);
        let indexes: Vec<String> = match self.whole_database() || self.undecided() {
            true => Vec::new(),
            false => self.reindexed().iter().map(|sql| of.typed(sql)).collect(),
        };
        let anew = match (self.single(of), indexes.is_empty()) {
            (None, true) => "restore what is damaged".to_owned(),
            (None, false) => {
                format!("restore what is damaged, and make indexes anew:\n{}", indexes.join("\n"))
            }
            (Some(tables), true) => format!("restore what is damaged beside:\n{tables}"),
            (Some(tables), false) => format!(
                "restore what is damaged beside, and make indexes anew:\n{tables}\n{}",
                indexes.join("\n")
            ),
        };
        Some(Obligation {
            id: of.id(DAMAGED),
            say: format!("{database} on {instance} is damaged: {first}{others}{report}"),
            how: format!(
                "{anew}\nthen assess it again (tier: deep, compare_indexes: true), or by hand:\n{}",
                of.reads(self.schemas.as_deref())
            ),
            closed_by: self.server.as_ref().map(|facts| {
                json!({
                    "check": "postgres.query",
                    "with": {
                        "instance": instance,
                        "region": of.region,
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

    /// Returns what stays open where nothing is known to be damaged and not all was proved: an application may be let in,
    /// and the run is not what it looks like. The quick tier proves nothing to the end, whatever it has read.
    pub(super) fn pending(&self, of: &Subject<'_>) -> Option<Obligation> {
        if self.is_proved() || !self.damaged().is_empty() {
            return None;
        }
        let (instance, database) = (of.instance, of.database);
        let left = self.names(Entry::is_left);
        let left = match (left.is_empty(), &self.schemas) {
            (false, _) => format!("; not read: {}", listed(&left)),
            (true, Some(schemas)) => {
                format!("; read were the schemas {} alone", schemas.join(", "))
            }
            (true, None) if self.tier == AssessTier::Quick => {
                "; the deep tier has not read it yet".to_owned()
            }
            (true, None) => String::new(),
        };
        Some(Obligation {
            id: of.id(PENDING),
            say: format!(
                "{database} on {instance} is not proved to the end: {}{left}",
                self.result()
            ),
            how: format!(
                "read all of it, which may be done while the application works with it:\n{}",
                of.reads(None)
            ),
            closed_by: None,
        })
    }
}

/// Returns what stays open of a database that took over once its rows were held against a manifest: nobody has read its pages
/// and the structure of its indexes yet. A deep look at it closes that.
pub(in crate::actions::postgres) fn unread_yet(
    estate: &Estate,
    (instance, region): (&str, &str),
    database: &str,
) -> Obligation {
    let of = Subject { estate, region, instance, database, known_as: instance };
    Obligation {
        id: of.id(PENDING),
        say: format!(
            "{database} on {instance} holds what it should, and is not proved to the end: not all of its pages and indexes \
             were read yet"
        ),
        how: format!(
            "read all of it, which may be done while the application works with it:\n{}",
            of.reads(None)
        ),
        closed_by: None,
    }
}

fn is_index(entry: &Entry) -> bool {
    entry.is_damaged() && !entry.kind.holds_rows()
}
