//! What a restored database may have although every page of it is sound: indexes that are not valid, constraints nobody validated,
//! sequences that would give out what their column has.
//!
//! A recovery may end in the middle of what makes an index beside its table. No manifest says how it was before: none of this
//! keeps an application out, and none of it is called proved.

use std::time::Duration;

use crate::actions::postgres::content::{
    HeldTo, columns_of_sequences, invalid_indexes, is_behind, unvalidated_constraints,
};
use crate::clients::Clients;
use crate::clients::postgres::long::NoRows;
use crate::clients::postgres::{Session, identifier, literal};
use crate::clock::since;
use crate::outcome::ActionError;

use super::reader::Until;

/// The longest one question may take: the greatest value of a column without an index is as long to find as its table is to
/// read.
const LIMIT: Duration = Duration::from_secs(30);
/// Below this no question is begun.
const LEAST: Duration = Duration::from_millis(100);

/// Returns what is not as it must be, a line each with what mends it, and what could not be asked.
pub(super) async fn wrong(
    clients: &Clients,
    session: &mut Session,
    until: Until,
) -> Result<Vec<String>, ActionError> {
    let mut look = Look { clients, session, until, found: Vec::new() };
    look.names(&invalid_indexes(), |name| {
        format!(
            "the index {name} is not valid and serves no query: reindex index concurrently {name}"
        )
    })
    .await?;
    look.names(&unvalidated_constraints(), |name| {
        format!("the constraint {name} (schema, table, name) was never validated: alter table with `validate constraint`")
    })
    .await?;
    look.sequences().await?;
    Ok(look.found)
}

struct Look<'a> {
    clients: &'a Clients,
    session: &'a mut Session,
    until: Until,
    found: Vec<String>,
}

impl Look<'_> {
    /// Returns the rows, or notes why there are none.
    async fn rows(
        &mut self,
        what: &str,
        sql: &str,
    ) -> Result<Vec<tokio_postgres::Row>, ActionError> {
        let left = self.until.at.map(|at| since(self.clients.clock.now(), at));
        let limit = left.map_or(LIMIT, |left| left.min(LIMIT));
        if limit < LEAST {
            self.unasked(what, "no time was left");
            return Ok(Vec::new());
        }
        match self.session.read_long(self.clients, what, sql, limit).await {
            Ok(rows) => Ok(rows),
            Err(NoRows::Lost(error)) => Err(error),
            Err(NoRows::Refused(refusal)) => {
                self.unasked(what, &format!("{} ({})", refusal.message, refusal.code));
                Ok(Vec::new())
            }
        }
    }

    fn unasked(&mut self, what: &str, why: &str) {
        self.found.push(format!("not known: {what}: {why}"));
    }

    async fn names(&mut self, sql: &str, say: impl Fn(&str) -> String) -> Result<(), ActionError> {
        let rows = self.rows("which indexes and constraints are valid", sql).await?;
        let names = rows.iter().filter_map(|row| row.try_get::<_, String>(0).ok());
        self.found.extend(names.map(|name| say(&name)));
        Ok(())
    }

    async fn sequences(&mut self) -> Result<(), ActionError> {
        let listed = columns_of_sequences(HeldTo::Defaults, false);
        let rows = self.rows("which sequences give values to columns", &listed).await?;
        for row in rows {
            let text = |index: usize| row.try_get::<_, String>(index).unwrap_or_default();
            let [schema, sequence, of_schema, table, column] = [0, 1, 2, 3, 4].map(text);
            let what = format!("whether {schema}.{sequence} is ahead of {table}.{column}");
            let of = [&schema, &sequence, &of_schema, &table, &column].map(String::as_str);
            let answer = self.rows(&what, &is_behind(of)).await?;
            if answer.first().and_then(|row| row.try_get(0).ok()).unwrap_or(false) {
                let quoted = format!("{}.{}", identifier(&schema), identifier(&sequence));
                self.found.push(format!(
                    "the sequence {schema}.{sequence} would give out values {of_schema}.{table} has: select setval({}, \
                     (select max({}) from {}.{}))",
                    literal(&quoted),
                    identifier(&column),
                    identifier(&of_schema),
                    identifier(&table)
                ));
            }
        }
        Ok(())
    }
}
