//! Reading a table in full: by ranges of blocks, every row, large values put together from where they are.
//!
//! A range that fails is cut until the damaged block stands alone, and the block into rows and columns: what is behind
//! it is read all the same. Where amcheck may be called, the structure of what could be read is checked as well.

use std::ops::Range;

use super::plain::{Counted, Rows, Said};
use super::reader::{Reader, Trouble, words};
use super::relations::{Family, Kind, Relation};
use super::search::{Search, chunks, hints};
use super::verdict::{Findings, Means, Place, Unread, Verdict};
use crate::clients::postgres::long::{Refusal, STATEMENT_LIMIT};
use crate::clients::postgres::{identifier, literal};
use crate::outcome::ActionError;

/// Bytes of one statement, large values counted in: some seconds at most, so that it can be told and ended in between.
const CHUNK_BYTES: u64 = 32 * 1024 * 1024;
/// Damaged places of a relation that are named; one with more is not read further.
pub(super) const PLACES_MAX: usize = 1000;
/// Damaged rows of a relation whose columns are looked at one by one.
const COLUMNS_OF_MAX: usize = 20;
/// No block has a row of this number: reading from here on reads the block and none of its rows.
const NO_ROW: u32 = 65_535;
/// More rows than a block can have, of the largest size a server can be built with.
const ROWS_MAX: u32 = 2048;

/// Whether reading may go on, or why not.
pub(super) type GoOn = Result<(), Unread>;

impl Findings {
    /// Keeps what amcheck finds fault with in a range where a reading finds nothing: where it is nobody knows.
    fn fault(&mut self, range: &Range<u32>, said: String) {
        let inside = |place: &Place| place.block.is_none_or(|block| range.contains(&block));
        if !self.places.iter().any(inside) && self.unread.is_empty() {
            self.places.push(Place { said, ..at(None, Means::HeapCheck) });
        }
    }

    pub(super) fn place(
        &mut self,
        block: Option<u32>,
        offset: Option<u32>,
        column: Option<&str>,
        refusal: &Refusal,
    ) {
        self.places.push(Place {
            block,
            offset,
            column: column.map(str::to_owned),
            means: Means::Read,
            code: Some(refusal.code.clone()),
            said: refusal.message.clone(),
        });
    }
}

/// How much of a relation there is, as its file is now.
pub(super) struct Extent {
    pub blocks: u32,
    /// Bytes behind the last whole block
    pub torn: u64,
    /// Blocks counted by the last vacuum or analyze
    pub known: u32,
}

/// How much of a row is understood when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// What is kept elsewhere or compressed is put together
    Large,
    /// Each value is put into words by its type as well, which takes several times as long
    Every,
}

/// Returns the statement that reads the rows in a range of addresses.
pub(super) fn values(
    relation: &Relation,
    depth: Depth,
    from: (u32, u32),
    to: (u32, u32),
) -> String {
    let value = match (relation.kind, depth, &relation.large) {
        (Kind::Toast, _, _) => "octet_length(t.chunk_data)",
        // `t.*` cannot be taken for a column of that name.
        (_, Depth::Every, _) => "octet_length((t.*)::text)",
        (_, Depth::Large, Some(large)) => large,
        (_, Depth::Large, None) => "0",
    };
    let ((block, row), (end, end_row)) = (from, to);
    format!(
        "select count(*), coalesce(sum({value}), 0)::int8 from only {} t \
         where t.ctid >= '({block},{row})' and t.ctid < '({end},{end_row})'",
        relation.name
    )
}

/// Returns the blocks to be read by one statement, for as many bytes as it should read.
fn step(relation: &Relation, toast_bytes: u64, block_bytes: u64) -> u32 {
    let heap = relation.bytes.max(block_bytes);
    let all = u128::from(heap.saturating_add(toast_bytes).max(1));
    let share = u128::from(CHUNK_BYTES) * u128::from(heap) / all;
    u32::try_from(share / u128::from(block_bytes.max(1))).unwrap_or(u32::MAX).max(1)
}

impl Reader<'_> {
    /// Reads a table, or its large values, in full; counts its rows where somebody asks for them, which are all of
    /// them where it is sound.
    pub(super) async fn table(
        &mut self,
        family: &Family,
        relation: &Relation,
    ) -> Result<(Verdict, Option<Counted>), ActionError> {
        if let Some(why) = &relation.barred {
            self.passed(relation, relation.bytes);
            return Ok((Verdict::unread(why.clone()), None));
        }
        let extent = match self.extent(relation).await? {
            Ok(extent) => extent,
            Err(why) => {
                self.passed(relation, relation.bytes);
                return Ok((Verdict::unread(why), None));
            }
        };
        let mut found = Findings::default();
        if extent.torn > 0 {
            found.places.push(torn(&extent));
        }
        let extent = self.reachable(relation, extent, &mut found).await?;
        let block_bytes = self.shared.facts.block_bytes;
        let toast = family.toast.as_ref().filter(|_| relation.oid == family.head.oid);
        let step = step(relation, toast.map_or(0, |toast| toast.bytes), block_bytes);
        let rows = self.plain(family, relation, &extent).await?;
        let mut left = relation.bytes;
        for chunk in chunks(extent.blocks, step) {
            let (start, length) = (chunk.start, u64::from(chunk.end - chunk.start));
            if let Err(why) = self.range(relation, &extent, &rows, chunk, &mut found).await? {
                found.unread.push(match start {
                    0 => why,
                    _ => why.of(&format!("from block {start} on")),
                });
                break;
            }
            let bytes = (length * block_bytes).min(left);
            left -= bytes;
            self.read(relation, bytes);
        }
        self.passed(relation, left);
        if found.unread.is_empty() {
            self.tail(family, relation, &extent, &mut found).await?;
        }
        if !found.places.is_empty() {
            self.shared.tally.found_damage();
        }
        let rows = match rows {
            // Range by range: rows that moved meanwhile may be counted twice, or not at all.
            Rows::ToBeRead => Some(Counted { rows: found.rows, snapshot: None }),
            Rows::Vouched(rows) => rows,
        };
        Ok((found.verdict(), rows))
    }

    /// Reads the one row of a sequence.
    pub(super) async fn sequence(&mut self, relation: &Relation) -> Result<Verdict, ActionError> {
        self.passed(relation, relation.bytes);
        if let Some(why) = &relation.barred {
            return Ok(Verdict::unread(why.clone()));
        }
        let sql = format!("select last_value from {}", relation.name);
        let mut found = Findings::default();
        match self.ask(relation, &[], &sql, STATEMENT_LIMIT).await? {
            Ok(rows) if rows.is_empty() => found.places.push(Place {
                said: "it holds no row, and a sequence always has one".to_owned(),
                ..at(Some(0), Means::Read)
            }),
            Ok(_) => {}
            Err(Trouble::Damaged(refusal) | Trouble::Doubtful(refusal)) => {
                found.place(Some(0), None, None, &refusal);
            }
            Err(Trouble::TooLong(refusal)) => found.unread.push(words(&refusal).into()),
            Err(Trouble::Unread(why)) => found.unread.push(why),
        }
        if !found.places.is_empty() {
            self.shared.tally.found_damage();
        }
        Ok(found.verdict())
    }

    /// Asks how much of a relation there is; waits no longer for a lock than any other statement.
    pub(super) async fn extent(
        &mut self,
        relation: &Relation,
    ) -> Result<Result<Extent, Unread>, ActionError> {
        let sql = format!(
            "select pg_relation_size(c.oid), greatest(c.relpages, 0)::int8 from pg_class c where c.oid = {}",
            relation.oid
        );
        let rows = match self.ask(relation, &[], &sql, STATEMENT_LIMIT).await? {
            Ok(rows) => rows,
            Err(Trouble::Unread(why)) => return Ok(Err(why)),
            Err(
                Trouble::Damaged(refusal) | Trouble::Doubtful(refusal) | Trouble::TooLong(refusal),
            ) => return Ok(Err(words(&refusal).into())),
        };
        let sizes = rows.first().and_then(|row| {
            let (bytes, known): (Option<i64>, i64) = (row.try_get(0).ok()?, row.try_get(1).ok()?);
            Some((u64::try_from(bytes?).ok()?, u32::try_from(known).ok()?))
        });
        let Some((bytes, known)) = sizes else {
            return Ok(Err("it was dropped while this went on".into()));
        };
        let block_bytes = self.shared.facts.block_bytes;
        let blocks = u32::try_from(bytes / block_bytes).unwrap_or(u32::MAX);
        Ok(Ok(Extent { blocks, torn: bytes % block_bytes, known }))
    }

    /// Reads a range of blocks: by amcheck alone where that vouches for the rows and finds fault with none.
    async fn range(
        &mut self,
        relation: &Relation,
        extent: &Extent,
        rows: &Rows,
        range: Range<u32>,
        found: &mut Findings,
    ) -> Result<GoOn, ActionError> {
        let said = match rows {
            Rows::Vouched(_) => self.faults(relation, &range).await?,
            Rows::ToBeRead => Said::Unknown,
        };
        match said {
            Said::Nothing => Ok(Ok(())),
            Said::Unknown => self.chunk(relation, extent, range, found).await,
            Said::Fault(said) => {
                let read = self.chunk(relation, extent, range.clone(), found).await?;
                found.fault(&range, said);
                Ok(read)
            }
        }
    }

    /// Reads a range of blocks and finds what of it is damaged.
    async fn chunk(
        &mut self,
        relation: &Relation,
        extent: &Extent,
        range: Range<u32>,
        found: &mut Findings,
    ) -> Result<GoOn, ActionError> {
        let mut search = Search::over(range.clone());
        while let Some(part) = search.next() {
            if found.places.len() >= PLACES_MAX {
                let why = format!("{PLACES_MAX} places are damaged, it is not read further");
                return Ok(Err(why.into()));
            }
            let depth = self.shared.depth();
            let sql = values(relation, depth, (part.start, 0), (part.end, 0));
            let refusal = match self.ask(relation, &[], &sql, STATEMENT_LIMIT).await? {
                Ok(rows) => {
                    found.rows = found.rows.saturating_add(counted(&rows));
                    continue;
                }
                Err(Trouble::Unread(why)) => return Ok(Err(why)),
                Err(Trouble::TooLong(refusal)) => {
                    if let Some(block) = search.failed(part, &[]) {
                        found.unread.push(format!("block {block}: {}", words(&refusal)).into());
                    }
                    continue;
                }
                Err(Trouble::Damaged(refusal) | Trouble::Doubtful(refusal)) => refusal,
            };
            let named = hints(&refusal.message, &relation.file);
            if let Some(block) = search.failed(part, &named)
                && let Err(why) = self.block(relation, block, found).await?
            {
                return Ok(Err(why));
            }
        }
        self.structure(relation, extent, range, found).await
    }

    /// Finds out what of a block cannot be read: the block itself, or some of its rows.
    async fn block(
        &mut self,
        relation: &Relation,
        block: u32,
        found: &mut Findings,
    ) -> Result<GoOn, ActionError> {
        let depth = self.shared.depth();
        let itself = values(relation, depth, (block, NO_ROW), (block + 1, 0));
        match self.ask(relation, &[], &itself, STATEMENT_LIMIT).await? {
            Ok(_) => {}
            Err(Trouble::Damaged(refusal) | Trouble::Doubtful(refusal)) => {
                found.place(Some(block), None, None, &refusal);
                return Ok(Ok(()));
            }
            Err(Trouble::TooLong(refusal)) => return Ok(Err(words(&refusal).into())),
            Err(Trouble::Unread(why)) => return Ok(Err(why)),
        }
        let mut search = Search::over(1..ROWS_MAX);
        while let Some(part) = search.next() {
            let sql = values(relation, depth, (block, part.start), (block, part.end));
            let trouble = match self.ask(relation, &[], &sql, STATEMENT_LIMIT).await? {
                Ok(_) => continue,
                Err(Trouble::Unread(why)) => return Ok(Err(why)),
                Err(trouble) => trouble,
            };
            let Some(row) = search.failed(part, &[]) else { continue };
            if let Err(why) = self.row(relation, (block, row), &trouble, found).await? {
                return Ok(Err(why));
            }
        }
        Ok(Ok(()))
    }

    /// Finds out which columns of a row cannot be read; whether any cannot, where the row's text alone was too much.
    async fn row(
        &mut self,
        relation: &Relation,
        (block, row): (u32, u32),
        trouble: &Trouble,
        found: &mut Findings,
    ) -> Result<GoOn, ActionError> {
        let whole = match trouble {
            Trouble::Damaged(refusal) => Some(refusal),
            Trouble::Doubtful(_) | Trouble::TooLong(_) | Trouble::Unread(_) => None,
        };
        let before = found.places.len();
        if whole.is_none() || before < COLUMNS_OF_MAX {
            let columns = match self.columns(relation).await? {
                Ok(columns) => columns,
                Err(why) => return Ok(Err(why)),
            };
            for (name, value) in columns {
                let sql = format!(
                    "select octet_length({value}) from only {} t where t.ctid = '({block},{row})'",
                    relation.name
                );
                match self.ask(relation, &[], &sql, STATEMENT_LIMIT).await? {
                    Ok(_) => {}
                    Err(Trouble::Damaged(refusal)) => {
                        found.place(Some(block), Some(row), Some(name.as_str()), &refusal);
                    }
                    Err(Trouble::Doubtful(refusal)) if is_of_the_value(&refusal.code) => {
                        found.place(Some(block), Some(row), Some(name.as_str()), &refusal);
                    }
                    Err(Trouble::Doubtful(refusal) | Trouble::TooLong(refusal)) => {
                        let place = format!("block {block} row {row} column {name}");
                        found.unread.push(format!("{place}: {}", words(&refusal)).into());
                    }
                    Err(Trouble::Unread(why)) => return Ok(Err(why)),
                }
            }
        }
        if let Some(refusal) = whole.filter(|_| found.places.len() == before) {
            found.place(Some(block), Some(row), None, refusal);
        }
        Ok(Ok(()))
    }

    /// Returns a table's columns, each with a text that cannot be had without reading all of its value.
    async fn columns(
        &mut self,
        relation: &Relation,
    ) -> Result<Result<Vec<(String, String)>, Unread>, ActionError> {
        let sql = format!(
            "select attname::text, atttypid = 'bytea'::regtype from pg_attribute \
             where attrelid = {} and attnum > 0 and not attisdropped order by attnum",
            relation.oid
        );
        let rows = match self.ask(relation, &[], &sql, STATEMENT_LIMIT).await? {
            Ok(rows) => rows,
            Err(Trouble::Unread(why)) => return Ok(Err(why)),
            Err(
                Trouble::Damaged(refusal) | Trouble::Doubtful(refusal) | Trouble::TooLong(refusal),
            ) => return Ok(Err(words(&refusal).into())),
        };
        let column = |row: &tokio_postgres::Row| {
            let (name, bytes): (String, bool) = (row.try_get(0).ok()?, row.try_get(1).ok()?);
            let column = format!("t.{}", identifier(&name));
            // The text of a binary value is twice its size, and may be larger than any text can be.
            let value = if bytes {
                format!("position({}::bytea in {column})::text", literal(""))
            } else {
                format!("concat({column}::text, {})", literal("."))
            };
            Some((name, value))
        };
        Ok(Ok(rows.iter().filter_map(column).collect()))
    }
}

/// Says whether an error that may mean damage is about the value that was read, and not about its size or its type.
fn is_of_the_value(code: &str) -> bool {
    code == "XX000" || code.starts_with("22")
}

/// Returns what a statement of [`values`] has counted.
fn counted(rows: &[tokio_postgres::Row]) -> u64 {
    let count = rows.first().and_then(|row| row.try_get::<_, i64>(0).ok());
    count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default()
}

/// Returns a place without words.
pub(super) const fn at(block: Option<u32>, means: Means) -> Place {
    Place { block, offset: None, column: None, means, code: None, said: String::new() }
}

fn torn(extent: &Extent) -> Place {
    let said = format!(
        "its file ends within block {}: {} bytes of it are left",
        extent.blocks, extent.torn
    );
    Place { said, ..at(Some(extent.blocks), Means::Size) }
}

#[cfg(test)]
mod tests {
    use super::super::relations::tests::relation;
    use super::*;

    const BLOCK: u64 = 8192;

    #[test]
    fn a_statement_reads_every_value_of_its_range_and_of_no_child() {
        let mut table = relation(1, "app.\"Order\"", Kind::Table, None, 0);
        assert_eq!(
            values(&table, Depth::Every, (3, 0), (5, 0)),
            "select count(*), coalesce(sum(octet_length((t.*)::text)), 0)::int8 from only app.\"Order\" t \
             where t.ctid >= '(3,0)' and t.ctid < '(5,0)'"
        );
        let toast = relation(2, "pg_toast.pg_toast_1", Kind::Toast, Some(1), 0);
        let of_toast = values(&toast, Depth::Large, (0, 0), (1, 0));
        assert!(of_toast.contains("sum(octet_length(t.chunk_data))"), "{of_toast}");
        let large = |table: &Relation| values(table, Depth::Large, (0, 0), (1, 0));
        assert!(large(&table).contains("sum(0)"), "its pages are read all the same");
        table.large = Some("coalesce(octet_length(t.body::text || ''), 0)::int8".to_owned());
        assert!(large(&table).contains("sum(coalesce(octet_length(t.body::text"));
    }

    #[test]
    fn large_values_make_the_ranges_shorter() {
        let table = |bytes| relation(1, "app.t", Kind::Table, None, bytes);
        for (heap, toast, expected) in [
            (CHUNK_BYTES, 0, 4096),
            (CHUNK_BYTES, CHUNK_BYTES, 2048),
            (BLOCK, 0, 4096),
            (CHUNK_BYTES, 1 << 45, 1),
            (0, 0, 4096),
        ] {
            assert_eq!(step(&table(heap), toast, BLOCK), expected, "{heap} and {toast}");
        }
    }
}
