//! Whether a role of the application can write and read: tried with the heartbeat's own table, and taken back.

use super::heartbeat::{COLUMNS, TABLE};
use super::tables::place;
use super::{Session, Tried, identifier, literal};
use crate::clients::Clients;
use crate::ids::RunId;
use crate::outcome::ActionError;

/// Tries to write a run's row and to read it, as a role of the application, in a transaction such as every session begins by
/// default; takes it back, with the privileges on the table it was given for that.
pub(crate) async fn try_beat(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
    run: &RunId,
    role: &str,
) -> Result<Tried, ActionError> {
    let what = format!("try a write on {instance} as {role}");
    let place = place(clients, instance, session, TABLE, COLUMNS).await?;
    let table = &place.table;
    let (schema, _) = table.split_once('.').unwrap_or(("public", table));
    let sql =
        "select has_schema_privilege($1, $2, 'USAGE') from pg_namespace where nspname::text = $2";
    let reaches = session.read(clients, &what, sql, &[&role, &schema]).await?;
    let mut first = place.prepare;
    if !reaches.first().and_then(|row| row.try_get(0).ok()).unwrap_or(false) {
        first.push(format!("grant usage on schema {schema} to {}", identifier(role)));
    }
    first.push(format!("grant select, insert on {table} to {}", identifier(role)));
    let row = format!("{run} as {role}");
    let sql = format!(
        "insert into {table} (run, identity, at) values ({}, 'tried', now()) returning run",
        literal(&row)
    );
    session.attempt_after(clients, &what, &first, (Some(role), &sql)).await
}
