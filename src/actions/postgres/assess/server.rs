//! What a server says of itself before anything is read: whether damage can be seen there, and what the role may do.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::Row;

use crate::clients::Clients;
use crate::clients::postgres::long::{NoRows, STATEMENT_LIMIT};
use crate::clients::postgres::{Session, identifier};
use crate::outcome::{ActionError, FailureClass};

/// Ranges of row addresses are read as such since this version; before, each would read the whole table.
const VERSION_LEAST: i32 = 140_000;
/// Asked first: an older server would not understand the rest.
pub(super) const VERSION: &str = "select current_setting('server_version_num')::int4";

/// What reading rests on. All of it is one row, so that it is of one instant.
pub(super) const FACTS: &str = "select current_setting('server_version'), \
         current_setting('data_checksums') = 'on', current_setting('block_size')::int4, pg_is_in_recovery(), \
         current_database()::text, current_user::text, \
         current_setting('zero_damaged_pages') = 'on', current_setting('ignore_checksum_failure') = 'on', \
         coalesce((select sum(checksum_failures) from pg_stat_database \
             where datname = current_database() or datname is null), 0)::int8, \
         (select max(checksum_last_failure) from pg_stat_database \
             where datname = current_database() or datname is null)::text, \
         amcheck.schema, index_check.name, coalesce(has_function_privilege(index_check.name, 'EXECUTE'), false), \
         heap_check.name, coalesce(has_function_privilege(heap_check.name, 'EXECUTE'), false), \
         (select oid from pg_database where datname = current_database()), \
         current_setting('server_version_num')::int4 \
     from (values (1)) one (n) \
     left join (select format('%I', n.nspname) as schema from pg_extension e \
         join pg_namespace n on n.oid = e.extnamespace where e.extname = 'amcheck') amcheck on true \
     left join lateral (select to_regprocedure(amcheck.schema || '.bt_index_check(regclass,boolean)')::text as name) \
         index_check on true \
     left join lateral (select to_regprocedure(amcheck.schema \
         || '.verify_heapam(regclass,boolean,boolean,text,bigint,bigint)')::text as name) heap_check on true";

/// The counters, asked for again at the end: failures that the reading itself met are in them.
const FAILURES: &str = "select coalesce(sum(checksum_failures), 0)::int8, max(checksum_last_failure)::text \
     from pg_stat_database where datname = current_database() or datname is null";
/// From this version on a failure is in the counter at once. Before, it goes to a process of the server's that keeps the
/// counters, and whoever asks is given them as they were up to half a second ago.
const COUNTED_AT_ONCE: i32 = 150_000;
/// Longer than what a session has counted is on its way.
const COUNTED_BY_NOW: Duration = Duration::from_secs(1);

/// Refuses a server that is too old to be read in parts.
pub(super) fn supported(number: i32, instance: &str) -> Result<(), ActionError> {
    if number >= VERSION_LEAST {
        return Ok(());
    }
    Err(too_old(instance))
}

/// Returns the error of a server that is too old.
pub(super) fn too_old(instance: &str) -> ActionError {
    let message = format!(
        "assess {instance}: it is older than PostgreSQL 14, and tables can be read in parts since then only"
    );
    ActionError::unchanged(FailureClass::Invalid, message)
        .hint("use pg_amcheck and pg_dump, by the commands of this step")
}

/// Whether one of amcheck's functions can be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Callable {
    /// In this schema
    Yes(String),
    /// Why not, with the command that changes it
    No(String),
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Facts {
    pub version: String,
    /// Pages carry checksums: damage below PostgreSQL shows when a page is read
    pub checksums: bool,
    pub block_bytes: u64,
    pub in_recovery: bool,
    pub database: String,
    /// What tells it from another that takes its name
    pub database_oid: u32,
    pub role: String,
    /// Pages whose checksum was wrong since the statistics began
    pub checksum_failures: i64,
    pub checksum_last_failure: Option<String>,
    /// Those of them that were counted before anything was read
    pub checksum_failures_before: i64,
    #[serde(skip)]
    pub version_number: i32,
    /// Checks of B-tree indexes
    pub index_check: Callable,
    /// Checks of the structure of tables
    pub heap_check: Callable,
}

impl Facts {
    /// Reads the row of [`FACTS`]; refuses a server on which reading would prove nothing.
    pub(super) fn of(row: &Row, instance: &str) -> Result<Self, ActionError> {
        let unreadable = |error: tokio_postgres::Error| {
            let message = format!("read what {instance} says of itself: {error}");
            ActionError::unchanged(FailureClass::Internal, message)
        };
        let found = Self::read(row).map_err(unreadable)?;
        let (zeroes, ignores) = (row.try_get(6), row.try_get(7));
        let mut wrong = Vec::new();
        for (set, name) in [(zeroes, "zero_damaged_pages"), (ignores, "ignore_checksum_failure")] {
            if set.map_err(unreadable)? {
                wrong.push(format!(
                    "{name} is on, which passes over damage, and may lose for good what could still be read: find where \
                     it is set (select source, sourcefile from pg_settings where name = '{name}') and reset it"
                ));
            }
        }
        if wrong.is_empty() {
            return Ok(found);
        }
        let message = format!("nothing can be proved by reading {instance}: {}", wrong.join("; "));
        Err(ActionError::unchanged(FailureClass::Invalid, message))
    }

    fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let block_bytes: i32 = row.try_get(2)?;
        let (database, role): (String, String) = (row.try_get(4)?, row.try_get(5)?);
        let schema: Option<String> = row.try_get(10)?;
        let callable = |function: &str,
                        arguments: &str,
                        name: usize,
                        may: usize|
         -> Result<Callable, tokio_postgres::Error> {
            let (name, may): (Option<String>, bool) = (row.try_get(name)?, row.try_get(may)?);
            let who = identifier(&role);
            Ok(match (&schema, name, may) {
                (None, _, _) => Callable::No(format!(
                    "amcheck is not installed in {database}; as its administrator: create extension amcheck"
                )),
                (Some(_), None, _) => Callable::No(format!(
                    "this amcheck has no {function}; as its administrator: alter extension amcheck update"
                )),
                (Some(schema), Some(_), false) => Callable::No(format!(
                    "{role} may not call it; as its administrator: grant execute on function \
                     {schema}.{function}({arguments}) to {who}"
                )),
                (Some(schema), Some(_), true) => Callable::Yes(schema.clone()),
            })
        };
        let index_check = callable("bt_index_check", "regclass, boolean", 11, 12)?;
        let heap_arguments = "regclass, boolean, boolean, text, bigint, bigint";
        let heap_check = callable("verify_heapam", heap_arguments, 13, 14)?;
        let checksum_failures = row.try_get(8)?;
        Ok(Self {
            version: row.try_get(0)?,
            checksums: row.try_get(1)?,
            block_bytes: block_bytes.try_into().unwrap_or(8192),
            in_recovery: row.try_get(3)?,
            checksum_failures,
            checksum_failures_before: checksum_failures,
            version_number: row.try_get(16)?,
            checksum_last_failure: row.try_get(9)?,
            index_check,
            heap_check,
            database_oid: row.try_get(15)?,
            database,
            role,
        })
    }

    /// Reads the counters of checksum failures once more, after all else. Returns what of them casts a doubt on the result.
    pub(super) async fn count_failures(
        &mut self,
        clients: &Clients,
        session: &mut Session,
        instance: &str,
    ) -> Result<Option<String>, ActionError> {
        if self.version_number < COUNTED_AT_ONCE {
            clients.clock.sleep(COUNTED_BY_NOW).await;
        }
        let what = format!("read how many checksum failures {instance} has counted");
        let rows = match session.read_long(clients, &what, FAILURES, STATEMENT_LIMIT).await {
            Ok(rows) => rows,
            Err(NoRows::Lost(error)) => return Err(error),
            Err(NoRows::Refused(refusal)) => {
                return Ok(Some(format!("{what}: {} ({})", refusal.message, refusal.code)));
            }
        };
        let read = rows.first().map(|row| -> Result<_, tokio_postgres::Error> {
            Ok((row.try_get(0)?, row.try_get(1)?))
        });
        match read {
            // A server that ended meanwhile has lost count.
            Some(Ok((failures, _))) if failures < self.checksum_failures => Ok(self.failures()),
            Some(Ok((failures, last))) => {
                (self.checksum_failures, self.checksum_last_failure) = (failures, last);
                Ok(self.failures())
            }
            Some(Err(error)) => Ok(Some(format!("{what}: {error}"))),
            None => Ok(Some(format!("{what}: no row"))),
        }
    }

    /// Says that checksum failures were counted, where any were.
    fn failures(&self) -> Option<String> {
        if self.checksum_failures == 0 {
            return None;
        }
        let last = self.checksum_last_failure.as_deref();
        let last = last.map(|at| format!(", the last at {at}")).unwrap_or_default();
        Some(format!(
            "{} pages of {} failed their checksum since its statistics began, {} of them while it was read{last}: it is \
             not called sound while these are counted; once the cause is found, as its administrator: select \
             pg_stat_reset(), which begins all statistics of the database anew",
            self.checksum_failures,
            self.database,
            self.checksum_failures.saturating_sub(self.checksum_failures_before)
        ))
    }

    /// Says which grant is missing to read a relation.
    pub(super) fn may_not_read(&self) -> String {
        let role = identifier(&self.role);
        format!(
            "{} may not read it; as its administrator: grant pg_read_all_data to {role}",
            self.role
        )
    }

    /// Says what is missing where row security hides rows.
    pub(super) fn sees_not_every_row(&self) -> String {
        let role = identifier(&self.role);
        format!(
            "row security hides rows of it from {}; as its administrator: alter role {role} bypassrls",
            self.role
        )
    }

    /// Returns what an operator should know of it, a fact a line.
    pub(super) fn evidence(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let standing = if self.in_recovery { ", a replica" } else { "" };
        lines.push(format!("PostgreSQL {}, database {}{standing}", self.version, self.database));
        lines.push(match (self.checksums, self.checksum_failures, &self.checksum_last_failure) {
            (false, _, _) => "data checksums are off: a page whose bytes have changed shows only where they no longer \
                 make sense; values that were altered silently cannot be seen"
                .to_owned(),
            (true, 0, _) => "data checksums are on; no failure was counted".to_owned(),
            (true, failures, Some(last)) => {
                format!("data checksums are on; {failures} failures were counted, the last at {last}")
            }
            (true, failures, None) => {
                format!("data checksums are on; {failures} failures were counted")
            }
        });
        for (what, check) in
            [("indexes", &self.index_check), ("the structure of tables", &self.heap_check)]
        {
            if let Callable::No(why) = check {
                lines.push(format!("{what} cannot be checked: {why}"));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_too_old_is_told_what_to_use_in_its_place() {
        assert_eq!(supported(140_000, "db"), Ok(()));
        let error = supported(130_022, "db").expect_err("too old");
        assert!(error.message.contains("older than PostgreSQL 14"), "{error}");
        assert!(error.hint.expect("a hint").contains("pg_amcheck"));
    }
}
