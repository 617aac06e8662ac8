//! Whether anybody uses an instance: what is used is not deleted as if it were this program's own.

use super::{Session, connect, connect_to, database};
use crate::clients::Clients;
use crate::outcome::{ActionError, FailureClass};

/// What the application does with an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Its sessions now
    pub sessions: i64,
    /// Rows somebody changed since the server's statistics began, which a restore begins anew
    pub changed_rows: i64,
}

impl Usage {
    /// Says whether nothing of anybody is in it that was not there when it was restored.
    pub(crate) const fn untouched(self) -> bool {
        self.sessions == 0 && self.changed_rows == 0
    }
}

/// Asks an instance who uses it.
pub(crate) async fn usage(
    clients: &Clients,
    instance: &str,
    address: Option<&str>,
) -> Result<Usage, ActionError> {
    let mut session = connect(clients, instance, address).await?;
    ask(clients, instance, &mut session).await
}

/// Asks an instance who uses it, and what was changed in one of its databases.
pub(crate) async fn usage_of(
    clients: &Clients,
    instance: &str,
    name: &str,
) -> Result<Usage, ActionError> {
    let mut session = connect_to(clients, instance, name).await?;
    ask(clients, instance, &mut session).await
}

async fn ask(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
) -> Result<Usage, ActionError> {
    let roles = &database(clients)?.connection.application_roles;
    let what = format!("ask {instance} who uses it");
    let sql = "select (select count(*) from pg_stat_activity where usename::text = any($1::text[])), \
         (select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::int8 from pg_stat_user_tables \
             where relname not like 'phoenix\\_dr\\_%')";
    let row = session.read_one(clients, &what, sql, &[roles]).await?;
    let unreadable = |error: tokio_postgres::Error| {
        ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
    };
    Ok(Usage {
        sessions: row.try_get(0).map_err(unreadable)?,
        changed_rows: row.try_get(1).map_err(unreadable)?,
    })
}
