//! What amcheck says, where it may be called: B-tree indexes, and the structure of tables.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use tokio_postgres::Row;

use super::reader::{Reader, Trouble, words};
use super::relations::Relation;
use super::scan::{Extent, GoOn, PLACES_MAX, at};
use super::search::{gaps, hints, names};
use super::server::Callable;
use super::verdict::{Findings, Means, Place, Unread, Verdict};
use crate::clients::postgres::long::{Refusal, STATEMENT_LIMIT};
use crate::outcome::ActionError;
use crate::runbook::catalogue::actions::AssessTier;

/// Slower than this no disk is: an index, which is checked by one statement, gets time by its size.
const BYTES_PER_SECOND_LEAST: u64 = 2 * 1024 * 1024;

/// How an index is compared with its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    /// Its own structure alone
    No,
    /// Every row of the table must be in it
    WithTable,
}

/// Returns the time a statement may take over so many bytes.
pub(super) fn time_for(bytes: u64) -> Duration {
    STATEMENT_LIMIT.saturating_add(Duration::from_secs(bytes / BYTES_PER_SECOND_LEAST))
}

impl Reader<'_> {
    /// Checks an index; `of` is what is known of the table whose rows it is of.
    pub(super) async fn index(
        &mut self,
        index: &Relation,
        table: &Relation,
        of: &Verdict,
    ) -> Result<Verdict, ActionError> {
        let schema = match self.checkable(index, table, of) {
            Ok(schema) => schema,
            Err(why) => {
                self.passed(index, index.bytes);
                return Ok(Verdict::unread(why));
            }
        };
        // Rows that cannot be read would be taken for damage of the index.
        let compared = match (self.shared.tier, of) {
            (AssessTier::Deep, Verdict::Sound) if self.shared.compares => Compared::WithTable,
            (AssessTier::Deep | AssessTier::Quick, _) => Compared::No,
        };
        let mut checked = self.check_index(&schema, index, table, compared).await?;
        if let Err(Trouble::Damaged(refusal) | Trouble::Doubtful(refusal)) = &checked
            && compared == Compared::WithTable
            && refusal.code != "XX002"
            && !names(&refusal.message, &index.file)
        {
            // It may be the table that could not be read just now.
            let of_table = words(refusal);
            checked = match self.check_index(&schema, index, table, Compared::No).await? {
                Ok(()) => {
                    let why = format!("comparing it with its table: {of_table}");
                    Err(Trouble::Unread(why.into()))
                }
                of_itself => of_itself,
            };
        }
        self.read(index, index.bytes);
        let mut found = Findings::default();
        match checked {
            Ok(()) => {}
            Err(Trouble::Damaged(refusal) | Trouble::Doubtful(refusal)) => {
                self.shared.tally.found_damage();
                found.places.push(of_index(index, &refusal));
            }
            Err(Trouble::TooLong(refusal)) => found.unread.push(words(&refusal).into()),
            Err(Trouble::Unread(why)) => found.unread.push(why),
        }
        Ok(found.verdict())
    }

    /// Returns the schema of amcheck, where this index can be checked with it; else why not.
    fn checkable(
        &self,
        index: &Relation,
        table: &Relation,
        of: &Verdict,
    ) -> Result<String, Unread> {
        if !index.valid {
            let why = "it is not valid, no query uses it: drop it, or reindex it";
            return Err(Unread::by_nature(why.to_owned()));
        }
        if index.method != "btree" {
            return Err(Unread::by_nature(format!(
                "amcheck knows B-tree indexes only, and this is {}: reindex makes it anew from its table",
                index.method
            )));
        }
        if let Verdict::Unread(unread) = of
            && table.barred.is_none()
        {
            return Err(unread.clone().of("its table was not read"));
        }
        match &self.shared.facts.index_check {
            Callable::Yes(schema) => Ok(schema.clone()),
            Callable::No(why) => Err(why.clone().into()),
        }
    }

    async fn check_index(
        &mut self,
        schema: &str,
        index: &Relation,
        table: &Relation,
        compared: Compared,
    ) -> Result<Result<(), Trouble>, ActionError> {
        let (all, bytes) = match compared {
            Compared::No => (false, index.bytes),
            Compared::WithTable => (true, index.bytes.saturating_add(table.bytes)),
        };
        let sql = format!("select {schema}.bt_index_check({}::oid::regclass, {all})", index.oid);
        let checked = self.ask(index, &[], &sql, time_for(bytes)).await?;
        Ok(checked.map(drop))
    }

    /// Checks the structure of the blocks that could be read.
    pub(super) async fn structure(
        &mut self,
        relation: &Relation,
        extent: &Extent,
        range: Range<u32>,
        found: &mut Findings,
    ) -> Result<GoOn, ActionError> {
        let facts = self.shared.facts;
        let Callable::Yes(schema) = &facts.heap_check else { return Ok(Ok(())) };
        if self.shared.tier != AssessTier::Deep || relation.method != "heap" || extent.blocks == 0 {
            return Ok(Ok(()));
        }
        let unreadable: Vec<u32> = found
            .places
            .iter()
            .filter(|place| place.offset.is_none())
            .filter_map(|p| p.block)
            .collect();
        for gap in gaps(range, &unreadable) {
            // One damage can give a finding for every row of a table: those that are not named are counted.
            let room = PLACES_MAX.saturating_sub(found.places.len()).max(1);
            let sql = format!(
                "select blkno, offnum, attnum, msg, count(*) over () \
                 from {schema}.verify_heapam({}::oid::regclass, false, false, 'none', {}, {}) limit {room}",
                relation.oid,
                gap.start,
                gap.end - 1
            );
            match self.ask(relation, &[], &sql, STATEMENT_LIMIT).await? {
                Ok(rows) => note_structure(&rows, found),
                Err(Trouble::Damaged(refusal)) => {
                    let named = hints(&refusal.message, &relation.file);
                    let block = named.into_iter().find(|block| gap.contains(block));
                    found.place(block, None, None, &refusal);
                }
                Err(Trouble::Doubtful(refusal) | Trouble::TooLong(refusal)) => {
                    let (first, last) = (gap.start, gap.end - 1);
                    let why = format!(
                        "the structure of blocks {first} to {last} was not checked: {}",
                        words(&refusal)
                    );
                    found.unread.push(why.into());
                }
                Err(Trouble::Unread(why)) => return Ok(Err(why)),
            }
        }
        Ok(Ok(()))
    }
}

/// Adds what `verify_heapam` has found, but for rows that are known to be damaged.
fn note_structure(rows: &[Row], found: &mut Findings) {
    let all = rows.first().and_then(|row| row.try_get::<_, i64>(4).ok());
    let all = all.and_then(|all| u64::try_from(all).ok()).unwrap_or_default();
    let named = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    found.more = found.more.saturating_add(all.saturating_sub(named));
    let read = found.places.iter().filter(|place| place.means == Means::Read);
    let known: BTreeSet<_> = read.map(|place| (place.block, place.offset)).collect();
    for row in rows {
        let block = row.try_get::<_, Option<i64>>(0).ok().flatten();
        let block = block.and_then(|block| u32::try_from(block).ok());
        let offset = row.try_get::<_, Option<i32>>(1).ok().flatten();
        let offset = offset.and_then(|offset| u32::try_from(offset).ok());
        if known.contains(&(block, offset)) {
            continue;
        }
        let column = row.try_get::<_, Option<i32>>(2).ok().flatten();
        let said = row.try_get::<_, Option<String>>(3).ok().flatten();
        found.places.push(Place {
            offset,
            column: column.map(|number| format!("number {}", number.saturating_add(1))),
            said: said.unwrap_or_else(|| "verify_heapam names no reason".to_owned()),
            ..at(block, Means::HeapCheck)
        });
    }
}

/// Returns the place of an index's damage: the block where exactly one number beside its file can be it.
fn of_index(index: &Relation, refusal: &Refusal) -> Place {
    let block = match hints(&refusal.message, &index.file).as_slice() {
        [only] => Some(*only),
        _ => None,
    };
    Place {
        code: Some(refusal.code.clone()),
        said: refusal.message.clone(),
        ..at(block, Means::IndexCheck)
    }
}
