//! PostgreSQL connections: by instance, as the estate says it is reached; one for each purpose, none is kept.
//!
//! Reads are single statements of the extended protocol in READ ONLY transactions. What writes asks the guard first.

use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, IsolationLevel, Row, Transaction};

use super::Clients;
use crate::clock::within;
use crate::outcome::{ActionError, FailureClass};

pub(crate) mod acl;
mod batch;
mod blocked;
mod connect;
mod cursor;
mod error;
pub(crate) mod essentials;
pub(crate) mod fence;
mod heartbeat;
mod held;
pub(crate) mod long;
pub(crate) mod marks;
mod proof;
mod replay;
mod server;
mod simulated;
pub(crate) mod tables;
pub(crate) mod tools;
mod trial;
mod trust;
mod usage;
mod vigil;
mod whole_fence;

pub(crate) use batch::Batch;
pub(crate) use blocked::{or_say_who_blocks, say_who_blocks};
pub(crate) use connect::{
    NoSession, Opening, address, connect, connect_to, connect_with, database, login, password, way,
};
pub(crate) use cursor::Cursor;
use error::explain;
pub(crate) use held::Held;
pub(crate) use proof::{
    Stands, Writable, leads_to_written, prove_writable, stands, way_leads_to_written,
};
pub(crate) use replay::{log_end, replay_lag, replayed_to};
pub(crate) use server::{Lineage, Server, leads_to, server};
pub(crate) use trial::try_beat;
pub(crate) use usage::{Usage, usage, usage_of};
pub(crate) use vigil::{watched, watched_to};

/// The setting that makes a database's sessions begin read-only.
pub(crate) const READ_ONLY: &str = "default_transaction_read_only";
/// Whether the server is a replica, and the database's own default of a setting.
pub(crate) const OWN_DEFAULT: &str = "select pg_is_in_recovery(), (select substr(entry, length($1) + 2) \
     from pg_db_role_setting, unnest(setconfig) entry \
     where setdatabase = (select oid from pg_database where datname = current_database()) \
     and setrole = 0 and entry like $1 || '=%')";
/// Which of some roles may log in.
pub(crate) const LOGINS: &str =
    "select rolname::text, rolcanlogin from pg_roles where rolname::text = any($1::text[])";

const READ_LIMIT: Duration = Duration::from_secs(10);
const CHANGE_LIMIT: Duration = Duration::from_secs(20);

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    /// Each of its transactions begins READ ONLY, and so does a statement outside of one
    reads_only: bool,
    /// Where it is connected to, `host:port`
    pub address: String,
}

/// What a statement does, and so what its failure leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Read,
    /// The commit may have happened when its answer was lost
    Commit,
}

/// How a transaction that writes begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// READ WRITE, said aloud: the database's default may be what this very action set before
    Aloud,
    /// As every session's transactions begin: fails where they begin read-only
    ByDefault,
}

/// What became of a statement that was tried and taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tried {
    Worked,
    /// It failed with this SQLSTATE
    Failed(String),
    /// The role it was to be tried as could not be taken on, with this SQLSTATE
    NotAs(String),
}

/// A value of a parameter.
pub(crate) type Parameter<'a> = &'a (dyn ToSql + Sync);

impl Session {
    /// Reads rows by one statement in a READ ONLY transaction. `what` fits "failed to …".
    pub(crate) async fn read(
        &mut self,
        clients: &Clients,
        what: &str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, ActionError> {
        let builder = self.client.build_transaction().read_only(true);
        let work = async {
            let transaction =
                builder.isolation_level(IsolationLevel::ReadCommitted).start().await?;
            let rows = transaction.query(sql, parameters).await?;
            transaction.rollback().await?;
            Ok(rows)
        };
        match within(clients.clock.as_ref(), READ_LIMIT, work).await {
            Ok(rows) => rows.map_err(|error| explain(what, &error, Purpose::Read)),
            Err(elapsed) => {
                Err(ActionError::unchanged(FailureClass::Transient, format!("{what}: {elapsed}")))
            }
        }
    }

    /// Reads one row by one statement.
    pub(crate) async fn read_one(
        &mut self,
        clients: &Clients,
        what: &str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Row, ActionError> {
        let rows = self.read(clients, what, sql, parameters).await?;
        let count = rows.len();
        let mut rows = rows.into_iter();
        match (rows.next(), count) {
            (Some(row), 1) => Ok(row),
            _ => Err(ActionError::unchanged(
                FailureClass::Invalid,
                format!("{what}: {count} rows instead of one"),
            )),
        }
    }

    /// Carries out statements in one READ WRITE transaction: all of them, or none. Each is a text and its parameters.
    pub(crate) async fn change(
        &mut self,
        clients: &Clients,
        what: &str,
        statements: &[(String, Vec<Parameter<'_>>)],
    ) -> Result<(), ActionError> {
        self.change_as(clients, what, statements, Writing::Aloud).await
    }

    /// Carries out statements in one transaction.
    async fn change_as(
        &mut self,
        clients: &Clients,
        what: &str,
        statements: &[(String, Vec<Parameter<'_>>)],
        writing: Writing,
    ) -> Result<(), ActionError> {
        let always = std::future::ready(Ok(()));
        self.change_while(clients, what, statements, writing, always).await
    }

    /// Carries out statements in one transaction, which lasts only where what is looked at before its commit allows it.
    async fn change_while(
        &mut self,
        clients: &Clients,
        what: &str,
        statements: &[(String, Vec<Parameter<'_>>)],
        writing: Writing,
        allowed: impl Future<Output = Result<(), ActionError>>,
    ) -> Result<(), ActionError> {
        clients.guard.pass(format!("SQL to {what}"))?;
        let builder = match writing {
            Writing::Aloud => self.client.build_transaction().read_only(false),
            Writing::ByDefault => self.client.build_transaction(),
        };
        let started = within(clients.clock.as_ref(), CHANGE_LIMIT, async {
            let transaction: Transaction<'_> = builder.start().await?;
            for (sql, parameters) in statements {
                transaction.execute(sql.as_str(), parameters).await?;
            }
            Ok(transaction)
        })
        .await;
        let transaction = match started {
            Ok(done) => done.map_err(|error| explain(what, &error, Purpose::Read))?,
            Err(elapsed) => {
                let message = format!("{what}: {elapsed}");
                return Err(ActionError::unchanged(FailureClass::Transient, message));
            }
        };
        // Dropped it takes back what it did.
        allowed.await?;
        match within(clients.clock.as_ref(), CHANGE_LIMIT, transaction.commit()).await {
            Ok(done) => done.map_err(|error| explain(what, &error, Purpose::Commit)),
            Err(elapsed) => Err(ActionError::unknown(
                FailureClass::Transient,
                format!("{what}: the commit was sent, {elapsed}"),
            )),
        }
    }

    /// Tries a statement, as a role where one is named, in a transaction of the session's default kind and takes it
    /// back, whatever it says.
    pub(crate) async fn attempt(
        &mut self,
        clients: &Clients,
        what: &str,
        role: Option<&str>,
        sql: &str,
    ) -> Result<Tried, ActionError> {
        self.attempt_after(clients, what, &[], (role, sql)).await
    }

    /// Tries a statement as `attempt` does, once others have been carried out as this program's own role; they are taken
    /// back with it.
    async fn attempt_after(
        &mut self,
        clients: &Clients,
        what: &str,
        first: &[String],
        (role, sql): (Option<&str>, &str),
    ) -> Result<Tried, ActionError> {
        clients.guard.pass(format!("SQL to {what}"))?;
        let code = |error: Error| match error.code() {
            Some(code) => Ok(code.code().to_owned()),
            None => Err(error),
        };
        let work = async {
            let transaction = self.client.transaction().await?;
            for sql in first {
                transaction.execute(sql.as_str(), &[]).await?;
            }
            let taken_on = match role {
                Some(role) => {
                    let set = format!("set local role {}", identifier(role));
                    transaction.execute(set.as_str(), &[]).await.map(drop)
                }
                None => Ok(()),
            };
            let tried = match taken_on {
                Ok(()) => match transaction.execute(sql, &[]).await {
                    Ok(_) => Tried::Worked,
                    Err(error) => Tried::Failed(code(error)?),
                },
                Err(error) => Tried::NotAs(code(error)?),
            };
            // Dropping the transaction rolls it back as well, should this be lost.
            transaction.rollback().await?;
            Ok(tried)
        };
        match within(clients.clock.as_ref(), READ_LIMIT, work).await {
            Ok(tried) => tried.map_err(|error| explain(what, &error, Purpose::Read)),
            Err(elapsed) => {
                let message = format!("{what}: {elapsed}");
                Err(ActionError::unchanged(FailureClass::Transient, message))
            }
        }
    }
}

/// Quotes an identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a literal; for statements that take no parameters.
pub(crate) fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        return format!("E'{}'", doubled.replace('\\', "\\\\"));
    }
    format!("'{doubled}'")
}

#[cfg(test)]
mod proof_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
