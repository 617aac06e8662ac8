//! Tables that need not be taken apart row by row: where pages have checksums, amcheck reads their structure, and no value is
//! kept outside its row, nothing is left to read but values that are compressed in their rows. Whether there are any is asked
//! where indexes are compared, for then all pages are read once more anyhow.

use std::ops::Range;

use tokio_postgres::Row;

use super::amcheck::time_for;
use super::reader::Reader;
use super::relations::{Family, Kind, Relation};
use super::scan::{Depth, Extent};
use super::server::Callable;
use super::tail::BY_TABLE;
use crate::clients::postgres::long::STATEMENT_LIMIT;
use crate::outcome::ActionError;
use crate::runbook::catalogue::actions::AssessTier;

/// Whether the rows of a table must be read to know that they can be.
pub(super) enum Rows {
    ToBeRead,
    /// amcheck vouches for them, once it has read their pages; how many they are, where they were counted
    Vouched(Option<Counted>),
}

/// Rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    pub rows: u64,
    /// What they were counted by, where that was one statement: what is counted by an equal one is of the same instant
    pub snapshot: Option<String>,
}

/// What amcheck says of a range of blocks.
pub(super) enum Said {
    Nothing,
    /// The first thing it finds fault with
    Fault(String),
    /// It could not be asked
    Unknown,
}

impl Reader<'_> {
    /// Says whether nothing in the rows of a table can fail to be read that amcheck does not see; counts them in one pass of
    /// its pages where somebody asks how many there are.
    ///
    /// A scan of all pages keeps a small part of the server's memory for itself, and takes half the time of as many rows
    /// by their addresses. Copying pages out of the system's memory is nearly all of it, so that each pass that is not
    /// made is a third less for the whole.
    pub(super) async fn plain(
        &mut self,
        family: &Family,
        relation: &Relation,
        extent: &Extent,
    ) -> Result<Rows, ActionError> {
        let vouched = self.shared.tier == AssessTier::Deep
            && self.shared.depth() == Depth::Large
            && matches!(self.shared.facts.heap_check, Callable::Yes(_));
        let heap = relation.kind != Kind::Toast && relation.method == "heap" && extent.blocks > 0;
        if !vouched || !heap || !keeps_all_in_rows(family, self.shared.facts.block_bytes) {
            return Ok(Rows::ToBeRead);
        }
        if !self.shared.compares && family.essential.is_empty() {
            return Ok(Rows::Vouched(None));
        }
        let compressed = match &relation.compressed {
            Some(compressed) => format!("count(coalesce({compressed}))"),
            None => "0::int8".to_owned(),
        };
        let sql = format!(
            "select count(*), {compressed}, pg_current_snapshot()::text from only {} t",
            relation.name
        );
        let counted = self.ask(relation, &BY_TABLE, &sql, time_for(relation.bytes)).await?;
        let rows = counted.ok().and_then(|rows| rows.first().and_then(uncompressed));
        // What cannot be counted is read, to find out why.
        Ok(rows.map_or(Rows::ToBeRead, |counted| Rows::Vouched(Some(counted))))
    }

    /// Asks amcheck for the first thing it finds fault with in a range of blocks; where that is, is for a reading to find out.
    pub(super) async fn faults(
        &mut self,
        relation: &Relation,
        range: &Range<u32>,
    ) -> Result<Said, ActionError> {
        let Callable::Yes(schema) = &self.shared.facts.heap_check else { return Ok(Said::Unknown) };
        // With what is kept elsewhere: nothing is, and a row that says otherwise is damaged.
        let sql = format!(
            "select coalesce(msg, '') from {schema}.verify_heapam({}::oid::regclass, true, true, 'none', {}, {}) limit 1",
            relation.oid,
            range.start,
            range.end - 1
        );
        let asked = self.ask(relation, &[], &sql, STATEMENT_LIMIT).await?;
        Ok(match asked.ok().as_deref() {
            None => Said::Unknown,
            Some([]) => Said::Nothing,
            Some([first, ..]) => Said::Fault(first.try_get(0).unwrap_or_default()),
        })
    }
}

/// Says whether a table never had a value outside of its rows: an index of large values that has an entry, or had one,
/// is longer than its first block.
fn keeps_all_in_rows(family: &Family, block_bytes: u64) -> bool {
    let Some(toast) = &family.toast else { return true };
    let of_toast = family.indexes.iter().filter(|index| index.parent == Some(toast.oid));
    toast.bytes == 0
        && toast.blocks_known == 0
        && of_toast.into_iter().all(|index| index.bytes <= block_bytes)
}

/// Returns the rows that were counted, where none has a compressed value.
fn uncompressed(row: &Row) -> Option<Counted> {
    let (rows, compressed): (i64, i64) = (row.try_get(0).ok()?, row.try_get(1).ok()?);
    let rows = (compressed == 0).then_some(rows)?.try_into().ok()?;
    Some(Counted { rows, snapshot: row.try_get(2).ok() })
}

#[cfg(test)]
mod tests {
    use super::super::relations::families;
    use super::super::relations::tests::relation;
    use super::*;

    #[test]
    fn a_table_that_may_have_had_large_values_is_read_row_by_row() {
        const BLOCK: u64 = 8192;
        let of = |toast: Relation, index_bytes| {
            let table = relation(10, "app.t", Kind::Table, None, BLOCK);
            let index = relation(12, "pg_toast.i", Kind::Index, Some(11), index_bytes);
            families(vec![table, toast, index]).remove(0)
        };
        let toast = |bytes| relation(11, "pg_toast.t", Kind::Toast, Some(10), bytes);
        let known = Relation { blocks_known: 1, ..toast(0) };
        for (family, plain) in [
            (families(vec![relation(10, "app.t", Kind::Table, None, BLOCK)]).remove(0), true),
            (of(toast(0), BLOCK), true),
            (of(toast(BLOCK), BLOCK), false),
            (of(known, BLOCK), false),
            (of(toast(0), 2 * BLOCK), false),
        ] {
            assert_eq!(keeps_all_in_rows(&family, BLOCK), plain, "{family:?}");
        }
    }
}
