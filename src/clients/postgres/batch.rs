//! A transaction that looks and writes by turns: all of it, or nothing.

use std::time::Duration;

use tokio_postgres::{Row, Transaction};

use super::error::explain;
use super::{CHANGE_LIMIT, Parameter, Purpose, Session};
use crate::clients::Clients;
use crate::clock::within;
use crate::outcome::{ActionError, FailureClass};

/// The server gives up before this side does, so that the answer is known.
const GRACE: Duration = Duration::from_secs(2);

/// A READ WRITE transaction; dropping it takes back what it did.
pub(crate) struct Batch<'a> {
    clients: &'a Clients,
    transaction: Transaction<'a>,
    what: &'a str,
}

impl Session {
    /// Begins a transaction that writes; the guard is asked first. `what` fits "failed to …".
    pub(crate) async fn batch<'a>(
        &'a mut self,
        clients: &'a Clients,
        what: &'a str,
    ) -> Result<Batch<'a>, ActionError> {
        clients.guard.pass(format!("SQL to {what}"))?;
        let limit = (CHANGE_LIMIT - GRACE).as_millis();
        // Rows that a policy hides would be missing without a word: that is an error instead.
        let settings =
            format!("set local statement_timeout = {limit}; set local row_security = off");
        let builder = self.client.build_transaction().read_only(false);
        let begun = async {
            let transaction = builder.start().await?;
            transaction.batch_execute(&settings).await?;
            Ok(transaction)
        };
        match within(clients.clock.as_ref(), CHANGE_LIMIT, begun).await {
            Ok(Ok(transaction)) => Ok(Batch { clients, transaction, what }),
            Ok(Err(error)) => Err(explain(what, &error, Purpose::Read)),
            Err(elapsed) => {
                Err(ActionError::unchanged(FailureClass::Transient, format!("{what}: {elapsed}")))
            }
        }
    }
}

impl Batch<'_> {
    /// Carries out a statement and returns its rows.
    pub(crate) async fn rows(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, ActionError> {
        self.bounded(self.transaction.query(sql, parameters)).await
    }

    /// Carries out a statement and returns how many rows it was about.
    pub(crate) async fn execute(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<u64, ActionError> {
        self.bounded(self.transaction.execute(sql, parameters)).await
    }

    async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, ActionError> {
        let what = self.what;
        match within(self.clients.clock.as_ref(), CHANGE_LIMIT, work).await {
            Ok(done) => done.map_err(|error| explain(what, &error, Purpose::Read)),
            Err(elapsed) => {
                Err(ActionError::unchanged(FailureClass::Transient, format!("{what}: {elapsed}")))
            }
        }
    }

    /// Makes it last. Where no answer came its effect is not known.
    pub(crate) async fn commit(self) -> Result<(), ActionError> {
        // It may have taken long: the right to write may be gone by now.
        self.clients.guard.pass(format!("SQL to {}", self.what))?;
        let what = self.what;
        match within(self.clients.clock.as_ref(), CHANGE_LIMIT, self.transaction.commit()).await {
            Ok(done) => done.map_err(|error| explain(what, &error, Purpose::Commit)),
            Err(elapsed) => Err(ActionError::unknown(
                FailureClass::Transient,
                format!("{what}: the commit was sent, {elapsed}"),
            )),
        }
    }
}
