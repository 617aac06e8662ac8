//! What a fence changed, kept in the database itself: it comes over with the fence, by replication or in a backup, and
//! so the instance that takes over can be given back exactly that and nothing else.

use super::tables::{find, place};
use super::{Session, identifier, literal, whole_fence};
use crate::clients::Clients;
use crate::outcome::{ActionError, FailureClass};

const TABLE: &str = "phoenix_dr_fence";
const COLUMNS: &str = "what text primary key, was text";
/// The row of the database's own default; any other row is a role that could log in.
const SETTING: &str = "setting";
const ROLE: &str = "role:";
const DEFAULT: &str = "default_transaction_read_only";

/// What a fence changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// The database's own default before it was set; `Some(None)` where it had none
    pub setting: Option<Option<String>>,
    /// Roles that could log in before
    pub roles: Vec<String>,
}

impl Changed {
    fn is_empty(&self) -> bool {
        self.setting.is_none() && self.roles.is_empty()
    }
}

/// Returns the statements that keep what is about to be changed, for the transaction that changes it.
///
/// `anew`: nothing of an earlier fence stands any more, and what was kept of it means nothing.
pub(crate) async fn keep(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
    changed: &Changed,
    anew: bool,
) -> Result<Vec<String>, ActionError> {
    let place = place(clients, instance, session, TABLE, COLUMNS).await?;
    let mut statements = place.prepare;
    if anew {
        statements.push(format!("delete from {}", place.table));
    }
    let setting = changed.setting.iter().map(|was| (SETTING.to_owned(), was.as_deref()));
    let roles = changed.roles.iter().map(|role| (format!("{ROLE}{role}"), Some("login")));
    statements.extend(setting.chain(roles).map(|(what, was)| {
        format!(
            "insert into {} (what, was) values ({}, {}) on conflict (what) do update set was = excluded.was",
            place.table,
            literal(&what),
            was.map_or("null".to_owned(), literal)
        )
    }));
    Ok(statements)
}

/// Returns the statement that forgets what a fence changed, where anything is kept.
pub(crate) async fn forget(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
) -> Result<Option<String>, ActionError> {
    let table = find(clients, instance, session, TABLE).await?;
    Ok(table.map(|table| format!("delete from {table}")))
}

/// Says whether anything stands of a fence that came over: of the application's roles, or of the whole database.
pub(super) async fn stands(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
    database: &str,
) -> Result<bool, ActionError> {
    let of_roles = standing(clients, instance, session).await?;
    let whole = whole_fence::lifting(clients, instance, session, database).await?;
    Ok(!of_roles.is_empty() || whole.is_some())
}

/// Returns what a fence changed in this server's data and what of it still stands.
async fn standing(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
) -> Result<Changed, ActionError> {
    let Some(table) = find(clients, instance, session, TABLE).await? else {
        return Ok(Changed::default());
    };
    let what = format!("read what a fence changed in {instance}");
    let sql = format!(
        "select what, was from {table} where case what when '{SETTING}' then exists (\
             select 1 from pg_db_role_setting join pg_database d on d.oid = setdatabase \
             where d.datname = current_database() and setrole = 0 and '{DEFAULT}=on' = any(setconfig)) \
         else exists (select 1 from pg_roles where '{ROLE}' || rolname = what and not rolcanlogin) end \
         order by what"
    );
    let mut changed = Changed::default();
    for row in session.read(clients, &what, &sql, &[]).await? {
        let unreadable = |error: tokio_postgres::Error| {
            ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
        };
        let thing: String = row.try_get(0).map_err(unreadable)?;
        match thing.strip_prefix(ROLE) {
            Some(role) => changed.roles.push(role.to_owned()),
            None => changed.setting = Some(row.try_get(1).map_err(unreadable)?),
        }
    }
    Ok(changed)
}

/// Lifts what came over of a fence, and nothing else; says whether anything did.
pub(super) async fn lift(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
    database: &str,
) -> Result<bool, ActionError> {
    let whole = whole_fence::lifting(clients, instance, session, database).await?;
    let changed = standing(clients, instance, session).await?;
    if changed.is_empty() && whole.is_none() {
        return Ok(false);
    }
    let name = identifier(database);
    let setting = changed.setting.iter().map(|was| match was {
        Some(was) => format!("alter database {name} set {DEFAULT} = {}", literal(was)),
        None => format!("alter database {name} reset {DEFAULT}"),
    });
    let roles = changed.roles.iter().map(|role| format!("alter role {} login", identifier(role)));
    // The whole database is opened first: where both had set its default, the fence of roles may have found it as it is.
    let mut sql: Vec<String> = whole.unwrap_or_default();
    sql.extend(setting.chain(roles));
    sql.extend(forget(clients, instance, session).await?);
    let statements: Vec<_> = sql.into_iter().map(|sql| (sql, Vec::new())).collect();
    let what = format!("lift the fence that came over to {instance}");
    session.change(clients, &what, &statements).await?;
    Ok(true)
}
