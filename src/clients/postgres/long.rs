//! Reads that take long: statements over a whole relation, in sessions of their own with limits of their own.
//!
//! What `Session::read` allows is for quick looks. These reads have longer limits and tell what the server said apart
//! from a connection that is gone, for of the second nothing may be concluded.

use std::time::Duration;

use tokio_postgres::error::DbError;
use tokio_postgres::{Error, IsolationLevel, Row};

use super::error::explain;
use super::{Opening, Purpose, Session};
use crate::clients::Clients;
use crate::clock::within;
use crate::outcome::{ActionError, FailureClass};

/// The longest one statement of a long read may take, unless it says how long it needs.
pub(crate) const STATEMENT_LIMIT: Duration = Duration::from_secs(60);
/// The server gives up before this side does, so that the answer is known.
const GRACE: Duration = Duration::from_secs(10);

/// How the sessions of long reads begin.
///
/// Plans are as the reads need them: a range of row addresses is read as that, never by reading all of a small table;
/// no worker processes are started. Names are those of the server itself: a function that somebody put into `public` is
/// never called by the estate's user. Row security fails a read rather than hide rows from it. A server whose client is
/// gone notices within seconds and ends the statement. How an application isolates its transactions by default is not
/// for these: a replica does not allow every way.
const OPTIONS: &str = "-c default_transaction_read_only=on -c default_transaction_isolation=read\\ committed -c search_path=pg_catalog -c statement_timeout=60000 -c lock_timeout=5000 -c enable_seqscan=off -c enable_tidscan=on \
     -c max_parallel_workers_per_gather=0 -c jit=off -c row_security=off -c client_connection_check_interval=2000";

/// How the sessions begin in which the estate's own questions are asked: as any other of its user, whose names are found
/// as the application finds them. Limits are those of long reads.
const QUESTIONS: &str = "-c statement_timeout=60000 -c lock_timeout=5000 -c row_security=off \
     -c client_connection_check_interval=2000";

/// One statement, with the settings it is to have; they hold until others are set, or the transaction ends.
pub(crate) type Statement<'a> = (&'a [&'a str], &'a str);

/// What of a session's beginning makes each statement of it READ ONLY.
pub(super) const READS_ONLY: &str = "-c default_transaction_read_only=on";

/// The youngest of these settings: a server older than version 14 lets nobody in who asks for it, and names it.
pub(crate) const SINCE_14: &str = "client_connection_check_interval";

/// Why a long read has no rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoRows {
    /// The server said no; the session is as good as before
    Refused(Refusal),
    /// The connection is gone, or the server is going down: nothing may be concluded from it
    Lost(ActionError),
}

/// What a server said in place of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// SQLSTATE
    pub code: String,
    /// The server's words, in its language
    pub message: String,
}

impl Opening<'_> {
    /// Returns how the sessions of long reads begin.
    pub(crate) const fn for_long_reads(database: Option<&str>) -> Opening<'_> {
        Opening { database, options: OPTIONS }
    }

    /// Returns how the sessions of the estate's own questions begin.
    pub(crate) const fn for_questions(database: Option<&str>) -> Opening<'_> {
        Opening { database, options: QUESTIONS }
    }
}

impl Session {
    /// Reads rows by one statement in a READ ONLY transaction, for as long as `limit` allows. `what` fits "failed to …".
    pub(crate) async fn read_long(
        &mut self,
        clients: &Clients,
        what: &str,
        sql: &str,
        limit: Duration,
    ) -> Result<Vec<Row>, NoRows> {
        let plain: Statement<'_> = (&[], sql);
        let rows = self.read_at_once(clients, what, &[plain], limit).await?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// Reads rows by statements that all see the same instant; each may take as long as `limit` allows.
    pub(crate) async fn read_at_once(
        &mut self,
        clients: &Clients,
        what: &str,
        statements: &[Statement<'_>],
        limit: Duration,
    ) -> Result<Vec<Vec<Row>>, NoRows> {
        // One statement sees one instant anyhow.
        let isolation = match statements {
            [_] => IsolationLevel::ReadCommitted,
            _ => IsolationLevel::RepeatableRead,
        };
        let work = async {
            // Thousands of short reads: what a transaction of their own adds is three more waits for the server.
            if let [([], sql)] = statements
                && self.reads_only
                && limit == STATEMENT_LIMIT
            {
                return Ok(vec![self.client.query_typed(sql, &[]).await?]);
            }
            let builder = self.client.build_transaction().read_only(true);
            let transaction = builder.isolation_level(isolation).start().await?;
            let limited = format!("set local statement_timeout = {}", limit.as_millis().max(1));
            let mut settings = Vec::from_iter((limit != STATEMENT_LIMIT).then_some(limited));
            let mut rows = Vec::new();
            for (more, sql) in statements {
                settings.extend(more.iter().map(|setting| format!("set local {setting}")));
                if !settings.is_empty() {
                    transaction.batch_execute(&settings.join("; ")).await?;
                    settings.clear();
                }
                rows.push(transaction.query_typed(sql, &[]).await?);
            }
            transaction.rollback().await?;
            Ok(rows)
        };
        let count = u32::try_from(statements.len()).unwrap_or(u32::MAX);
        let longest = limit.saturating_mul(count).saturating_add(GRACE);
        match within(clients.clock.as_ref(), longest, work).await {
            Ok(rows) => rows.map_err(|error| no_rows(what, &error)),
            Err(elapsed) => {
                let message = format!("{what}: {elapsed}");
                Err(NoRows::Lost(ActionError::unchanged(FailureClass::Transient, message)))
            }
        }
    }
}

fn no_rows(what: &str, error: &Error) -> NoRows {
    match error.as_db_error().filter(|said| !going(said.code().code())) {
        Some(said) => {
            NoRows::Refused(Refusal { code: said.code().code().to_owned(), message: words(said) })
        }
        None => NoRows::Lost(explain(what, error, Purpose::Read)),
    }
}

/// Says whether an SQLSTATE means that this session, or its server, ends.
fn going(code: &str) -> bool {
    code.starts_with("57P") || code.starts_with("08")
}

fn words(said: &DbError) -> String {
    match said.detail() {
        Some(detail) => format!("{}: {detail}", said.message()),
        None => said.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_names_the_setting_it_does_not_know() {
        assert!(OPTIONS.contains(SINCE_14));
    }

    #[test]
    fn a_server_that_goes_down_is_told_from_one_that_says_no() {
        for code in ["57P01", "57P02", "57P03", "08006", "08P01"] {
            assert!(going(code), "{code}");
        }
        for code in ["57014", "XX001", "XX000", "55P03", "42501", "53300"] {
            assert!(!going(code), "{code}");
        }
    }
}
