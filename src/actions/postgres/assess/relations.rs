//! What a database holds on disk: every relation with its size, and what the role may read of it.
//!
//! Reads the catalogs only. A relation that somebody holds exclusively is not waited for: its size is then what the last
//! vacuum or analyze counted.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tokio_postgres::Row;

use super::server::Facts;

/// What a relation is, as far as it decides how it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Table,
    MaterializedView,
    /// Where the large values of a table are
    Toast,
    Index,
    Sequence,
}

impl Kind {
    fn of(relkind: &str) -> Option<Self> {
        match relkind {
            "r" => Some(Self::Table),
            "m" => Some(Self::MaterializedView),
            "t" => Some(Self::Toast),
            "i" => Some(Self::Index),
            "S" => Some(Self::Sequence),
            _ => None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::MaterializedView => "materialized view",
            Self::Toast => "large values",
            Self::Index => "index",
            Self::Sequence => "sequence",
        }
    }

    /// Says whether a restore brings its rows back; the others are made of those.
    pub(super) const fn holds_rows(self) -> bool {
        matches!(self, Self::Table | Self::MaterializedView | Self::Toast | Self::Sequence)
    }
}

/// One relation that has a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub oid: u32,
    /// Schema and name, quoted where they must be: as SQL and people write it
    pub name: String,
    pub kind: Kind,
    /// Table of an index or of large values
    pub parent: Option<u32>,
    /// Blocks counted by the last vacuum or analyze, where there was one
    pub blocks_known: u32,
    /// Access method, e.g. `heap`, `btree`, `gin`
    pub method: String,
    /// An index that queries may use
    pub valid: bool,
    /// Its file, as the server names it in errors
    pub file: String,
    pub schema: String,
    /// Why the role may not read it, with the grant that is missing
    pub barred: Option<String>,
    pub bytes: u64,
    /// Rows fetched by index or written since the statistics began
    pub used: i64,
    /// What reads each value of a row that may be kept elsewhere or compressed; `None` where there are none
    pub large: Option<String>,
    /// What tells of each such value whether it is compressed, a list
    pub compressed: Option<String>,
}

impl Relation {
    /// Says whether it is one of the server's own.
    pub(super) fn is_catalog(&self) -> bool {
        matches!(self.schema.as_str(), "pg_catalog" | "information_schema")
    }
}

/// A table with all that belongs to it; or a sequence, alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Family {
    pub head: Relation,
    pub toast: Option<Relation>,
    /// Of the table and of its large values
    pub indexes: Vec<Relation>,
    /// Places in the estate's list of what is essential, where it is one of these tables or a partition of one
    pub essential: BTreeMap<usize, String>,
}

impl Family {
    /// Returns all of it, the table first.
    pub(super) fn members(&self) -> impl Iterator<Item = &Relation> {
        std::iter::once(&self.head).chain(&self.toast).chain(&self.indexes)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.members().map(|relation| relation.bytes).sum()
    }
}

/// Every relation with a file that outlives its session, but for views that were never filled.
///
/// Of a large value more than its length must be asked for, which is known without it.
pub(super) const LIST: &str = "with held as materialized (select relation from pg_locks \
         where mode = 'AccessExclusiveLock' and locktype = 'relation' \
         and database in (0, (select oid from pg_database where datname = current_database()))) \
     select c.oid, c.relkind::text, format('%I.%I', n.nspname, c.relname), \
         coalesce(i.indrelid, owner.oid), greatest(c.relpages, 0), coalesce(am.amname::text, ''), \
         coalesce(i.indisvalid and i.indisready, true), coalesce(pg_relation_filepath(c.oid), ''), n.nspname::text, \
         has_schema_privilege(n.oid, 'USAGE'), has_table_privilege(c.oid, 'SELECT'), row_security_active(c.oid), \
         coalesce(case when c.oid in (select relation from held) then null else pg_relation_size(c.oid) end, \
             greatest(c.relpages, 0) * current_setting('block_size')::int8), \
         coalesce(pg_stat_get_tuples_fetched(c.oid) + pg_stat_get_tuples_inserted(c.oid) \
             + pg_stat_get_tuples_updated(c.oid) + pg_stat_get_tuples_deleted(c.oid), 0), \
         case when c.relkind in ('r', 'm') then (select string_agg(case when a.atttypid = 'bytea'::regtype \
             then format('coalesce(position(''''::bytea in t.%I), 0)::int8', a.attname) \
             else format('coalesce(octet_length(t.%I::text || ''''), 0)::int8', a.attname) end, ' + ') \
             from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
             and a.attlen = -1 and a.attstorage <> 'p') end, \
         case when c.relkind in ('r', 'm') then (select string_agg(format('pg_column_compression(t.%I)', a.attname), ', ') \
             from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
             and a.attlen = -1 and a.attstorage <> 'p') end \
     from pg_class c join pg_namespace n on n.oid = c.relnamespace \
     left join pg_index i on i.indexrelid = c.oid left join pg_am am on am.oid = c.relam \
     left join pg_class owner on c.relkind = 't' and owner.reltoastrelid = c.oid \
     where c.relkind in ('r', 'm', 't', 'i', 'S') and c.relpersistence <> 't' and c.relispopulated";

/// Reads one row of [`LIST`]; `None` for a kind that has no file of its own, and for what is being dropped.
pub(super) fn relation(
    row: &Row,
    facts: &Facts,
) -> Result<Option<Relation>, tokio_postgres::Error> {
    let kind: String = row.try_get(1)?;
    let Some(kind) = Kind::of(&kind) else { return Ok(None) };
    let blocks_known: i32 = row.try_get(4)?;
    let (may_enter, may_read): (Option<bool>, Option<bool>) = (row.try_get(9)?, row.try_get(10)?);
    // Rights are asked for as they are now: of what was dropped since the statement began there are none.
    let (Some(may_enter), Some(may_read)) = (may_enter, may_read) else { return Ok(None) };
    let hidden: bool = row.try_get(11)?;
    let bytes: i64 = row.try_get(12)?;
    let barred = match (kind, may_enter && may_read, hidden) {
        // Checked by its own functions, which have a grant of their own.
        (Kind::Index, _, _) | (_, true, false) => None,
        (_, false, _) => Some(facts.may_not_read()),
        (_, true, true) => Some(facts.sees_not_every_row()),
    };
    Ok(Some(Relation {
        oid: row.try_get(0)?,
        name: row.try_get(2)?,
        kind,
        parent: row.try_get(3)?,
        blocks_known: blocks_known.try_into().unwrap_or_default(),
        method: row.try_get(5)?,
        valid: row.try_get(6)?,
        file: row.try_get(7)?,
        schema: row.try_get(8)?,
        barred,
        bytes: bytes.try_into().unwrap_or_default(),
        used: row.try_get(13)?,
        large: row.try_get(14)?,
        compressed: row.try_get(15)?,
    }))
}

/// Puts relations together with the tables they belong to.
///
/// Large values and indexes take the schema of their table, so that a limit to schemas means both.
pub(super) fn families(relations: Vec<Relation>) -> Vec<Family> {
    let (heads, parts): (Vec<_>, Vec<_>) =
        relations.into_iter().partition(|relation| relation.parent.is_none());
    let (toasts, indexes): (Vec<_>, Vec<_>) =
        parts.into_iter().partition(|relation| relation.kind == Kind::Toast);
    // An index of large values belongs to their table, too.
    let table_of: BTreeMap<u32, u32> =
        toasts.iter().filter_map(|toast| Some((toast.oid, toast.parent?))).collect();
    let mut found: BTreeMap<u32, Family> = heads
        .into_iter()
        .map(|head| {
            let (toast, indexes, essential) = (None, Vec::new(), BTreeMap::new());
            (head.oid, Family { head, toast, indexes, essential })
        })
        .collect();
    for toast in toasts {
        if let Some(family) = toast.parent.and_then(|table| found.get_mut(&table)) {
            family.toast = Some(Relation { schema: family.head.schema.clone(), ..toast });
        }
    }
    for index in indexes {
        let table = index.parent.map(|parent| table_of.get(&parent).copied().unwrap_or(parent));
        if let Some(family) = table.and_then(|table| found.get_mut(&table)) {
            family.indexes.push(Relation { schema: family.head.schema.clone(), ..index });
        }
    }
    found.into_values().collect()
}

/// Keeps the catalogs, and of the rest what is in the schemas that are wanted; says which of these are not there.
pub(super) fn limited(
    families: Vec<Family>,
    schemas: Option<&[String]>,
) -> Result<Vec<Family>, Vec<String>> {
    let Some(schemas) = schemas else { return Ok(families) };
    let known: BTreeSet<&str> = families.iter().map(|family| family.head.schema.as_str()).collect();
    let missing: Vec<String> =
        schemas.iter().filter(|wanted| !known.contains(wanted.as_str())).cloned().collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    let wanted =
        |family: &Family| family.head.is_catalog() || schemas.contains(&family.head.schema);
    Ok(families.into_iter().filter(wanted).collect())
}

/// What is read first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// What is used most, and of the same use the smaller, so that the time there is proves most
    ByUse,
    /// The largest, so that sessions side by side end together
    BySize,
}

/// Puts families in the order in which they are read: the catalogs first, for all else is found by them; then what is
/// essential, in the estate's own order.
pub(super) fn arrange(families: &mut [Family], order: Order) {
    let rank = |family: &Family| family.essential.keys().next().copied().unwrap_or(usize::MAX);
    families.sort_by(|a, b| {
        let catalogs = b.head.is_catalog().cmp(&a.head.is_catalog()).then(rank(a).cmp(&rank(b)));
        let next = match order {
            Order::ByUse => b.head.used.cmp(&a.head.used).then(a.bytes().cmp(&b.bytes())),
            Order::BySize => b.bytes().cmp(&a.bytes()),
        };
        catalogs.then(next).then_with(|| a.head.name.cmp(&b.head.name))
    });
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a relation; `used` and `bytes` are for the order.
    pub(in crate::actions::postgres::assess) fn relation(
        oid: u32,
        name: &str,
        kind: Kind,
        parent: Option<u32>,
        bytes: u64,
    ) -> Relation {
        Relation {
            oid,
            name: name.to_owned(),
            kind,
            parent,
            blocks_known: 0,
            method: "heap".to_owned(),
            valid: true,
            file: format!("base/5/{oid}"),
            schema: name.split('.').next().unwrap_or_default().to_owned(),
            barred: None,
            bytes,
            used: 0,
            large: None,
            compressed: None,
        }
    }

    fn some() -> Vec<Family> {
        let mut used = relation(20, "app.used", Kind::Table, None, 500);
        used.used = 9;
        families(vec![
            relation(13, "pg_toast.pg_toast_10_index", Kind::Index, Some(12), 1),
            relation(12, "pg_toast.pg_toast_10", Kind::Toast, Some(10), 700),
            relation(10, "app.large", Kind::Table, None, 300),
            relation(11, "app.large_pkey", Kind::Index, Some(10), 2),
            used,
            relation(30, "app.small", Kind::Table, None, 1),
            relation(40, "other.ids", Kind::Sequence, None, 8),
            relation(50, "pg_catalog.pg_class", Kind::Table, None, 1),
            // Its table went while they were listed.
            relation(60, "app.gone_pkey", Kind::Index, Some(59), 1),
        ])
    }

    fn names(families: &[Family]) -> Vec<&str> {
        families.iter().map(|family| family.head.name.as_str()).collect()
    }

    #[test]
    fn what_belongs_to_a_table_goes_with_it() {
        let families = some();
        let large = families.iter().find(|family| family.head.oid == 10).expect("the table");
        let members: Vec<u32> = large.members().map(|relation| relation.oid).collect();
        assert_eq!(members, [10, 12, 13, 11]);
        assert_eq!(large.bytes(), 1003);
        assert!(large.members().all(|relation| relation.schema == "app"));
        assert_eq!(families.len(), 5);
    }

    #[test]
    fn the_catalogs_are_read_first_and_then_what_is_wanted() {
        let mut families = some();
        arrange(&mut families, Order::ByUse);
        let by_use = ["pg_catalog.pg_class", "app.used", "app.small", "other.ids", "app.large"];
        assert_eq!(names(&families), by_use);
        arrange(&mut families, Order::BySize);
        let by_size = ["pg_catalog.pg_class", "app.large", "app.used", "other.ids", "app.small"];
        assert_eq!(names(&families), by_size);
        for (name, place) in [("app.small", 1), ("other.ids", 0)] {
            let family = families.iter_mut().find(|family| family.head.name == name);
            let essential = BTreeMap::from([(place, name.to_owned())]);
            family.expect("it is there").essential = essential;
        }
        arrange(&mut families, Order::BySize);
        let essential = ["pg_catalog.pg_class", "other.ids", "app.small", "app.large", "app.used"];
        assert_eq!(names(&families), essential, "in the estate's order");
    }

    #[test]
    fn a_limit_keeps_the_catalogs_and_names_every_schema_that_is_not_there() {
        let kept = limited(some(), Some(&["other".to_owned()])).expect("it is there");
        assert_eq!(names(&kept), ["other.ids", "pg_catalog.pg_class"]);
        let wanted = ["ap", "app", "othr"].map(str::to_owned);
        assert_eq!(limited(some(), Some(&wanted)), Err(vec!["ap".to_owned(), "othr".to_owned()]));
        assert_eq!(limited(some(), None).expect("no limit").len(), 5);
    }
}
