//! Files behind one that is cut short: a large table is in several, and the server reaches none behind the first that is
//! shorter than it must be. It reads the table as a shorter one, and says nothing.

use super::reader::{Reader, Trouble};
use super::relations::Relation;
use super::scan::{Extent, at};
use super::verdict::{Findings, Means, Place};
use crate::clients::postgres::literal;
use crate::clients::postgres::long::STATEMENT_LIMIT;
use crate::outcome::ActionError;

/// What a server says of a row's address that is behind the end of its table.
const BEHIND_THE_END: &str = "22023";

impl Reader<'_> {
    /// Finds out whether the server reaches all blocks that a relation's files hold, and what of it there is to be read.
    pub(super) async fn reachable(
        &mut self,
        relation: &Relation,
        extent: Extent,
        found: &mut Findings,
    ) -> Result<Extent, ActionError> {
        if relation.method != "heap" || extent.blocks == 0 {
            return Ok(extent);
        }
        if self.reaches(relation, extent.blocks - 1).await? {
            return Ok(extent);
        }
        let (mut reached, mut behind) = (0, extent.blocks - 1);
        while reached < behind {
            let middle = reached + (behind - reached) / 2;
            if self.reaches(relation, middle).await? {
                reached = middle + 1;
            } else {
                behind = middle;
            }
        }
        // It may have become shorter between the two looks.
        let again = match self.extent(relation).await? {
            Ok(again) => again,
            Err(why) => {
                found.unread.push(why);
                return Ok(extent);
            }
        };
        if again.blocks <= reached {
            return Ok(again);
        }
        let said = format!(
            "its files hold {} blocks, and the server reaches none from block {reached} on: the file that ends there is cut \
             short, and what is in those behind it is out of reach",
            again.blocks
        );
        found.places.push(Place { said, ..at(Some(reached), Means::Size) });
        Ok(Extent { blocks: reached, known: again.known.min(reached), ..again })
    }

    /// Says whether a block is before the end of a table as the server sees it. Whatever else keeps it from being looked
    /// at is found when the table is read.
    async fn reaches(&mut self, relation: &Relation, block: u32) -> Result<bool, ActionError> {
        let sql = format!("select currtid2({}, '({block},1)')", literal(&relation.name));
        let asked = self.ask(relation, &[], &sql, STATEMENT_LIMIT).await?;
        Ok(!matches!(asked, Err(Trouble::Doubtful(refusal)) if refusal.code == BEHIND_THE_END))
    }
}
