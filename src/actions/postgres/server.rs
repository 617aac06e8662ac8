//! What a server says of itself and of one of its databases.

use super::content::OWN;
use super::properties::{Locale, locale};
use super::restore::MAINTENANCE;
use crate::clients::Clients;
use crate::clients::postgres::{NoSession, Session, connect, connect_to, database, identifier};
use crate::outcome::{ActionError, FailureClass};

/// A server, as far as dumps are concerned.
#[derive(Debug, Clone)]
pub(super) struct About {
    /// Its system identifier, which no other has but its replicas; `None` where it keeps that to itself
    pub system: Option<String>,
    /// Version number, e.g. 150008
    pub version: u32,
    pub in_recovery: bool,
    pub locale: Locale,
    /// Size of the database in bytes
    pub bytes: u64,
    /// The user may create databases
    pub creates: bool,
}

impl About {
    pub(super) const fn major(&self) -> u32 {
        self.version / 10_000
    }

    /// Returns version and role in a few words.
    pub(super) fn said(&self) -> String {
        let role = if self.in_recovery { "a replica" } else { "takes writes" };
        format!("PostgreSQL {}, {role}", self.major())
    }
}

/// Connects to a server beside the estate's database; where that is not allowed, to the database itself.
pub(super) async fn beside(clients: &Clients, instance: &str) -> Result<Session, NoSession> {
    match connect_to(clients, instance, MAINTENANCE).await {
        Err(NoSession::Failed(error))
            if [FailureClass::Denied, FailureClass::Invalid].contains(&error.class) =>
        {
            connect(clients, instance, None).await
        }
        session => session,
    }
}

/// Says what to do about a server that replays another's writes where one that takes them is meant.
pub(super) const NAME_THE_PRIMARY: &str = "name the instance that takes writes, in `database.primary` of the estate file or in \
     the step; there, `select sender_host, sender_port from pg_stat_wal_receiver` says whose writes it replays";

/// Asks an instance about itself and one of its databases.
pub(super) async fn about(
    clients: &Clients,
    instance: &str,
    database: &str,
) -> Result<About, ActionError> {
    let mut session = connect_to(clients, instance, database).await?;
    let what = format!("ask {instance} about {database}");
    let sql = "select current_setting('server_version_num')::int4, pg_is_in_recovery(), \
         pg_database_size(db.oid), me.rolsuper or me.rolcreatedb \
         from pg_database db, pg_roles me \
         where db.datname = current_database() and me.rolname = current_user";
    let row = session.read_one(clients, &what, sql, &[]).await?;
    let locale = locale(clients, &what, &mut session).await?;
    let system = system(clients, &what, &mut session).await?;
    let read = move || -> Result<About, tokio_postgres::Error> {
        let version: i32 = row.try_get(0)?;
        let bytes: i64 = row.try_get(2)?;
        Ok(About {
            system,
            version: version.try_into().unwrap_or_default(),
            in_recovery: row.try_get(1)?,
            locale,
            bytes: bytes.try_into().unwrap_or_default(),
            creates: row.try_get(3)?,
        })
    };
    read()
        .map_err(|error| ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}")))
}

async fn system(
    clients: &Clients,
    what: &str,
    session: &mut Session,
) -> Result<Option<String>, ActionError> {
    let sql = "select system_identifier::text from pg_control_system()";
    match session.read_one(clients, what, sql, &[]).await {
        Ok(row) => row.try_get(0).map_err(|error| {
            ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
        }),
        // Managed servers may keep it to themselves.
        Err(error) if error.class == FailureClass::Denied => Ok(None),
        Err(error) => Err(error),
    }
}

/// Tables named in one message.
const NAMED_MAX: usize = 5;

/// Says which tables the estate's user may not read, before anything is begun.
pub(super) async fn may_read(
    clients: &Clients,
    instance: &str,
    name: &str,
) -> Result<(), ActionError> {
    let mut session = connect_to(clients, instance, name).await?;
    let what = format!("read the grants in {name} on {instance}");
    // Large objects have no name, and `pg_read_all_data` does not cover them.
    let sql = format!(
        "select n.nspname || '.' || c.relname, case when has_table_privilege(c.oid, 'SELECT') and c.relkind <> 'S' \
             and row_security_active(c.oid) then 'hidden' else 'table' end from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where c.relkind in ('r', 'p', 'S') and c.relpersistence <> 't' and {OWN} \
         and not (has_schema_privilege(n.oid, 'USAGE') and has_table_privilege(c.oid, 'SELECT') \
             and not (c.relkind <> 'S' and row_security_active(c.oid))) \
         union all \
         (select 'the large object ' || l.oid, 'object' from pg_largeobject_metadata l, pg_roles me \
         where me.rolname = current_user and not me.rolsuper and not pg_has_role(l.lomowner, 'USAGE') \
         and not exists (select 1 from aclexplode(l.lomacl) acl where acl.privilege_type = 'SELECT' \
             and (acl.grantee = 0 or pg_has_role(acl.grantee, 'USAGE'))) limit 5) \
         order by 2, 1"
    );
    let rows = session.read(clients, &what, &sql, &[]).await?;
    let tables: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    if tables.is_empty() {
        return Ok(());
    }
    let lacks = |kind: &str| rows.iter().any(|row| row.try_get(1).is_ok_and(|of: &str| of == kind));
    let more = tables.len().saturating_sub(NAMED_MAX);
    let mut said = tables.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join(", ");
    if more > 0 {
        said = format!("{said} and {more} more");
    }
    let user = &database(clients)?.connection.user;
    let message = format!("{user} may not read {said} in {name} on {instance}");
    let user = identifier(user);
    let ways = [
        ("table", format!("grant pg_read_all_data to {user}")),
        ("hidden", format!("alter role {user} bypassrls, for policies hide rows from it")),
        ("object", format!("grant select on large object … to {user}")),
    ];
    let ways = ways.into_iter().filter(|(kind, _)| lacks(kind)).map(|(_, way)| way);
    let hint = format!("as its administrator: {}", ways.collect::<Vec<_>>().join("; "));
    Err(ActionError::unchanged(FailureClass::Denied, message).hint(hint))
}
