//! Whether all of a table is there, which reading it cannot tell: what is missing shows in its indexes.

use tokio_postgres::Row;

use super::amcheck::time_for;
use super::plain::Counted;
use super::reader::{Reader, Trouble, words};
use super::relations::{Family, Relation};
use super::scan::{Extent, at};
use super::search::hints;
use super::verdict::{Findings, Means, Place, Unread, Verdict};
use crate::clients::postgres::long::STATEMENT_LIMIT;
use crate::outcome::ActionError;

/// Settings with which an index is read row by row, and each row fetched from its table.
const BY_INDEX: [&str; 2] = ["enable_bitmapscan = off", "enable_indexonlyscan = off"];
/// Settings with which a table is counted by its pages.
pub(super) const BY_TABLE: [&str; 4] = [
    "enable_seqscan = on",
    "enable_indexscan = off",
    "enable_indexonlyscan = off",
    "enable_bitmapscan = off",
];
/// Settings with which a table is counted by an index.
const BY_INDEX_ALONE: [&str; 4] = [
    "enable_seqscan = off",
    "enable_indexscan = on",
    "enable_indexonlyscan = on",
    "enable_bitmapscan = off",
];

impl Reader<'_> {
    /// Compares the rows of a table with those an index has of it, at one instant. The indexes must have been proved.
    ///
    /// A page of zeros is an empty page, and a file that was cut is a shorter table: what they held shows in an index
    /// alone. Rows of pages that were vacuumed since they changed are counted in the index without a look at the
    /// table; the others are looked for there, and a block that is missing fails.
    ///
    /// `counted` are the rows its pages had a moment ago: where nobody has written since and the index has as many, nothing
    /// is missing, and they need not be counted once more.
    pub(super) async fn rows(
        &mut self,
        relation: &Relation,
        counted: Option<&Counted>,
    ) -> Result<Verdict, ActionError> {
        let mut found = Findings::default();
        let sql = format!("select count(*) from only {} t", relation.name);
        let explain = format!("explain (costs off) {sql}");
        let plan = self.ask(relation, &BY_INDEX_ALONE, &explain, STATEMENT_LIMIT).await?;
        let by_index = |row: &Row| line(row).is_some_and(|line| line.contains("Index Only Scan"));
        match plan {
            Ok(plan) if plan.iter().any(by_index) => {}
            Ok(_) => return Ok(found.verdict()),
            Err(trouble) => {
                found.unread.push(trouble.unread().of("its rows were not counted"));
                return Ok(found.verdict());
            }
        }
        if let Some(Counted { rows, snapshot: Some(snapshot) }) = counted {
            let sql = format!(
                "select count(*), pg_current_snapshot()::text from only {} t",
                relation.name
            );
            let by_index = (&BY_INDEX_ALONE[..], sql.as_str());
            let had = self.ask_at_once(relation, &[by_index], time_for(relation.bytes)).await?;
            let had = had.ok().and_then(|had| counted_by(had.iter().flatten().next()?));
            if had.is_some_and(|(had, by)| u64::try_from(had) == Ok(*rows) && by == *snapshot) {
                return Ok(found.verdict());
            }
        }
        let statements = [(&BY_TABLE[..], sql.as_str()), (&BY_INDEX_ALONE[..], sql.as_str())];
        match self.ask_at_once(relation, &statements, time_for(relation.bytes)).await? {
            Ok(counts) => {
                let missing = missing(&counts);
                if missing > 0 {
                    let said = format!(
                        "{missing} rows are in an index and not in the table: a page that held them is empty or gone"
                    );
                    found.places.push(Place { said, ..at(None, Means::Size) });
                }
            }
            Err(Trouble::Damaged(refusal) | Trouble::Doubtful(refusal)) => {
                let block = hints(&refusal.message, &relation.file).first().copied();
                found.place(block, None, None, &refusal);
            }
            Err(trouble @ (Trouble::TooLong(_) | Trouble::Unread(_))) => {
                found.unread.push(trouble.unread().of("its rows were not counted"));
            }
        }
        if !found.places.is_empty() {
            self.shared.tally.found_damage();
        }
        Ok(found.verdict())
    }

    /// Finds out whether blocks are missing at the end of a table: a scan of a file that was cut at a block's border ends
    /// as that of a shorter one does. What was there shows in an index.
    pub(super) async fn tail(
        &mut self,
        family: &Family,
        relation: &Relation,
        extent: &Extent,
        found: &mut Findings,
    ) -> Result<(), ActionError> {
        if extent.known <= extent.blocks {
            return Ok(());
        }
        let missing = format!(
            "its file ends at block {}, and the last vacuum or analyze counted {} blocks",
            extent.blocks, extent.known
        );
        let usable = |index: &&Relation| {
            index.parent == Some(relation.oid) && index.valid && index.method == "btree"
        };
        let none = "no index tells whether rows are missing";
        let mut said = Unread::from(none).of(&missing);
        for index in family.indexes.iter().filter(usable) {
            let Some(sql) = self.by_index(relation, index).await? else { continue };
            let read = self.ask(relation, &BY_INDEX, &sql, time_for(relation.bytes)).await?;
            // Every row of the index was found: the count is of a time before the table became shorter.
            let Err(trouble) = read else { return Ok(()) };
            match trouble {
                Trouble::Damaged(refusal) | Trouble::Doubtful(refusal)
                    if hints(&refusal.message, &relation.file)
                        .iter()
                        .any(|block| (extent.blocks..extent.known).contains(block)) =>
                {
                    found.places.push(Place {
                        code: Some(refusal.code),
                        said: format!(
                            "{missing}; rows of them are in {}: {}",
                            index.name, refusal.message
                        ),
                        ..at(Some(extent.blocks), Means::Size)
                    });
                    return Ok(());
                }
                Trouble::Damaged(refusal)
                | Trouble::Doubtful(refusal)
                | Trouble::TooLong(refusal) => {
                    said = Unread::from(words(&refusal)).of(&missing);
                }
                Trouble::Unread(why) => said = why.of(&missing),
            }
        }
        found.unread.push(said);
        Ok(())
    }

    /// Returns the statement that fetches every row of a table by an index; `None` where the server would not do it so.
    async fn by_index(
        &mut self,
        relation: &Relation,
        index: &Relation,
    ) -> Result<Option<String>, ActionError> {
        let sql = format!("select pg_get_indexdef({}, 1, true)", index.oid);
        let Ok(rows) = self.ask(relation, &[], &sql, STATEMENT_LIMIT).await? else {
            return Ok(None);
        };
        let first = rows.first().and_then(|row| row.try_get::<_, Option<String>>(0).ok().flatten());
        let Some(first) = first else { return Ok(None) };
        // The offset keeps the order from being planned away.
        let sql = format!(
            "select count(*) from (select from only {} t order by {first} offset 0) rows",
            relation.name
        );
        let explain = format!("explain (costs off) {sql}");
        let Ok(plan) = self.ask(relation, &BY_INDEX, &explain, STATEMENT_LIMIT).await? else {
            return Ok(None);
        };
        let scans = |row: &Row| line(row).is_some_and(|line| line.contains("Index Scan"));
        Ok(plan.iter().any(scans).then_some(sql))
    }
}

/// Returns a line of a plan.
fn line(row: &Row) -> Option<&str> {
    row.try_get(0).ok()
}

/// Returns how many rows were counted, and by which snapshot.
fn counted_by(row: &Row) -> Option<(i64, String)> {
    Some((row.try_get(0).ok()?, row.try_get(1).ok()?))
}

/// Returns how many rows more the second count has than the first.
fn missing(counts: &[Vec<Row>]) -> i64 {
    let count = |rows: &Vec<Row>| rows.first().and_then(|row| row.try_get::<_, i64>(0).ok());
    match counts.iter().map(count).collect::<Vec<_>>().as_slice() {
        [Some(table), Some(index)] => index.saturating_sub(*table),
        _ => 0,
    }
}
