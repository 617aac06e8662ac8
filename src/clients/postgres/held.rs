//! One consistent look at a database that takes long: a snapshot that several sessions and programs share.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Row};

use super::error::explain;
use super::{Parameter, Purpose, Session, literal};
use crate::clients::Clients;
use crate::clock::within;
use crate::outcome::{ActionError, FailureClass};

/// Begins the transaction and takes off the limits of short looks; the server ends what nobody waits for any more.
///
/// What a value looks like as text depends on settings: they are pinned, so that the same content has the same digest on
/// every server. Rows that a policy hides would be missing without a word: that is an error instead.
const BEGIN: &str = "begin isolation level repeatable read read only; \
     set local statement_timeout = 0; \
     set local lock_timeout = '30s'; \
     set local idle_in_transaction_session_timeout = 0; \
     set local row_security = off; \
     set local search_path = pg_catalog; \
     set local datestyle = 'ISO, YMD'; \
     set local intervalstyle = 'postgres'; \
     set local timezone = 'UTC'; \
     set local bytea_output = 'hex'; \
     set local extra_float_digits = 3; \
     set local lc_monetary = 'C'; \
     set local client_connection_check_interval = '10s'";

/// What version 17 ends a long transaction by.
const BEGIN_17: &str = "set local transaction_timeout = 0";

/// A session in a REPEATABLE READ READ ONLY transaction; it ends with the value.
#[derive(Debug)]
pub(crate) struct Held {
    session: Session,
}

/// Tables in one statement.
const LOCKED_AT_ONCE: usize = 100;

fn begin(major: u32) -> String {
    if major >= 17 { format!("{BEGIN}; {BEGIN_17}") } else { BEGIN.to_owned() }
}

impl Held {
    /// Begins a look of its own on a server of this major version, once these tables are held against being emptied or
    /// written anew: what reads them after it sees what it sees.
    pub(crate) async fn begin(
        clients: &Clients,
        what: &str,
        session: Session,
        major: u32,
        tables: &[String],
    ) -> Result<Self, ActionError> {
        let held = Self::start(clients, what, session, &begin(major)).await?;
        for some in tables.chunks(LOCKED_AT_ONCE) {
            let sql = format!("lock table {} in access share mode", some.join(", "));
            let locked = held.session.client.batch_execute(&sql).await;
            locked.map_err(|error| explain(what, &error, Purpose::Read))?;
        }
        Ok(held)
    }

    /// Begins a look at what another one sees, by the name of its snapshot.
    pub(crate) async fn join(
        clients: &Clients,
        what: &str,
        session: Session,
        major: u32,
        snapshot: &str,
    ) -> Result<Self, ActionError> {
        // It must come before the first query of the transaction; settings are none.
        let sql = format!("{}; set transaction snapshot {}", begin(major), literal(snapshot));
        Self::start(clients, what, session, &sql).await
    }

    async fn start(
        clients: &Clients,
        what: &str,
        session: Session,
        sql: &str,
    ) -> Result<Self, ActionError> {
        let begun = session.client.batch_execute(sql);
        match within(clients.clock.as_ref(), super::READ_LIMIT, begun).await {
            Ok(Ok(())) => Ok(Self { session }),
            Ok(Err(error)) => Err(explain(what, &error, Purpose::Read)),
            Err(elapsed) => {
                Err(ActionError::unchanged(FailureClass::Transient, format!("{what}: {elapsed}")))
            }
        }
    }

    /// Gives the snapshot a name that others join it by, for as long as this one lives.
    pub(crate) async fn export(&self, what: &str) -> Result<String, ActionError> {
        let row = self.read_one(what, "select pg_export_snapshot()", &[]).await?;
        row.try_get(0).map_err(|error| {
            ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
        })
    }

    /// Reads rows, however long that takes: what bounds it is the attempt it is part of.
    pub(crate) async fn read(
        &self,
        what: &str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, ActionError> {
        let read = self.session.client.query(sql, parameters).await;
        read.map_err(|error| Self::explain(what, &error))
    }

    /// Words an error of a read: what is damaged reads no better another time.
    pub(super) fn explain(what: &str, error: &Error) -> ActionError {
        let damaged = error.code().is_some_and(|code| {
            [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(code)
        });
        let mut explained = explain(what, error, Purpose::Read);
        if damaged {
            explained.class = FailureClass::Invalid;
            return explained.hint("the database is damaged there, and another try reads the same");
        }
        explained
    }

    pub(super) const fn client(&self) -> &Client {
        &self.session.client
    }

    /// Reads one row.
    pub(crate) async fn read_one(
        &self,
        what: &str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Row, ActionError> {
        let mut rows = self.read(what, sql, parameters).await?;
        match (rows.len(), rows.pop()) {
            (1, Some(row)) => Ok(row),
            (count, _) => Err(ActionError::unchanged(
                FailureClass::Invalid,
                format!("{what}: {count} rows instead of one"),
            )),
        }
    }
}

impl Session {
    /// Says whether the connection is gone: what it was asked last may or may not have been done.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Carries out one statement that no transaction may hold, such as `create database`.
    ///
    /// Where no answer came its effect is not known.
    pub(crate) async fn command(
        &self,
        clients: &Clients,
        what: &str,
        sql: &str,
    ) -> Result<(), ActionError> {
        clients.guard.pass(format!("SQL to {what}"))?;
        let unlimited = self.client.batch_execute("set statement_timeout = 0").await;
        unlimited.map_err(|error| explain(what, &error, Purpose::Read))?;
        let done = self.client.batch_execute(sql).await;
        done.map_err(|error| explain(what, &error, Purpose::Commit))
    }
}
