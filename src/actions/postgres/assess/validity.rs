//! What a restored database may have although every page of it is sound: indexes that are not valid, constraints nobody validated,
//! sequences that would give out what their column has.
//!
//! A recovery may end in the middle of what makes an index beside its table. No manifest says how it was before: none of this
//! keeps an application out, and none of it is called proved.

use std::time::Duration;

use super::reader::Until;
use crate::actions::postgres::content::{HeldTo, OWN, columns_of_sequences, is_behind};
use crate::clients::Clients;
use crate::clients::postgres::long::NoRows;
use crate::clients::postgres::{Session, identifier, literal};
use crate::clock::since;
use crate::outcome::ActionError;

/// The longest one question may take where nothing else ends it.
const LIMIT: Duration = Duration::from_secs(60 * 60);
/// Below this no question is begun.
const LEAST: Duration = Duration::from_millis(100);

/// Returns what is not as it must be, a line each with what mends it, and what could not be asked.
pub(super) async fn wrong(
    clients: &Clients,
    session: &mut Session,
    until: Until,
) -> Result<Vec<String>, ActionError> {
    let mut look = Look { clients, session, until, found: Vec::new() };
    look.listed("which indexes are valid", &invalid_indexes()).await?;
    look.listed("which constraints were validated", &unvalidated_constraints()).await?;
    look.sequences().await?;
    Ok(look.found)
}

/// Lists indexes that are not valid, a line each. One that keeps an exclusion constraint cannot be made beside the old one.
fn invalid_indexes() -> String {
    format!(
        "select format('the index %I.%I is not valid and serves no query: reindex index %s%I.%I', n.nspname, c.relname, \
             case when i.indisexclusion then '' else 'concurrently ' end, n.nspname, c.relname) \
         from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace \
         where not i.indisvalid and c.relkind = 'i' and {OWN} order by 1"
    )
}

/// Lists constraints nobody validated, a line each.
fn unvalidated_constraints() -> String {
    format!(
        "select format('the constraint %I of %I.%I was never validated: alter table %I.%I validate constraint %I', \
             k.conname, n.nspname, c.relname, n.nspname, c.relname, k.conname) \
         from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace \
         where not k.convalidated and {OWN} order by 1"
    )
}

struct Look<'a> {
    clients: &'a Clients,
    session: &'a mut Session,
    until: Until,
    found: Vec<String>,
}

impl Look<'_> {
    /// Returns the rows, or notes why there are none. Each question has the time that is left: the greatest value of a column
    /// without an index is as long to find as its table is to read.
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

    /// Notes every line a statement gives.
    async fn listed(&mut self, what: &str, sql: &str) -> Result<(), ActionError> {
        let rows = self.rows(what, sql).await?;
        self.found.extend(rows.iter().filter_map(|row| row.try_get::<_, String>(0).ok()));
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
