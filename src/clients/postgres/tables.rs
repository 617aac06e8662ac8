//! Where phoenix-dr's own small tables lie in a database.

use super::Session;
use crate::clients::Clients;
use crate::outcome::{ActionError, FailureClass};

/// Used where the user may not create tables in `public`.
const OWN_SCHEMA: &str = "phoenix_dr";

/// A table of ours: its full name, and what makes it where it is missing.
pub(crate) struct Place {
    pub table: String,
    pub prepare: Vec<String>,
}

/// Returns a table's full name, where there is one.
pub(crate) async fn find(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
    table: &str,
) -> Result<Option<String>, ActionError> {
    let what = format!("look for {table} in {instance}");
    let sql =
        "select to_regclass('public.' || $1) is not null, to_regclass($2 || '.' || $1) is not null";
    let row = session.read_one(clients, &what, sql, &[&table, &OWN_SCHEMA]).await?;
    let flag = |index: usize| row.try_get::<_, bool>(index).unwrap_or(false);
    Ok(match (flag(0), flag(1)) {
        (true, _) => Some(format!("public.{table}")),
        (false, true) => Some(format!("{OWN_SCHEMA}.{table}")),
        (false, false) => None,
    })
}

/// Returns where a table is, or where it can be made.
pub(crate) async fn place(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
    table: &str,
    columns: &str,
) -> Result<Place, ActionError> {
    if let Some(table) = find(clients, instance, session, table).await? {
        return Ok(Place { table, prepare: Vec::new() });
    }
    let what = format!("find a place for {table} in {instance}");
    let sql = "select coalesce(has_schema_privilege(to_regnamespace('public')::oid, 'CREATE'), false), \
         has_database_privilege(current_database(), 'CREATE')";
    let row = session.read_one(clients, &what, sql, &[]).await?;
    let flag = |index: usize| row.try_get::<_, bool>(index).unwrap_or(false);
    let create = |schema: &str| format!("create table if not exists {schema}.{table} ({columns})");
    match (flag(0), flag(1)) {
        (true, _) => {
            Ok(Place { table: format!("public.{table}"), prepare: vec![create("public")] })
        }
        (false, true) => {
            let schema = format!("create schema if not exists {OWN_SCHEMA}");
            let prepare = vec![schema, create(OWN_SCHEMA)];
            Ok(Place { table: format!("{OWN_SCHEMA}.{table}"), prepare })
        }
        (false, false) => Err(ActionError::unchanged(
            FailureClass::Denied,
            format!("there is no place for the table {table} in {instance}"),
        )
        .hint("grant CREATE on the database to `database.connection.user`")),
    }
}
