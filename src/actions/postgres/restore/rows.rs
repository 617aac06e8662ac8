//! How the rows of some tables come from the database they were restored into to the one the application uses: commands for
//! somebody who knows what else was written meanwhile, in one transaction that leaves nothing half done.

use super::part::{Part, qualified};
use crate::actions::postgres::manifest::Manifest;
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::postgres::{Session, connect_to, database};
use crate::outcome::{ActionError, FailureClass, Obligation};
use crate::runbook::catalogue::actions::PostgresRestore;

/// A table's columns that are written; its triggers, which copied rows must not set off; and the foreign keys that lead to
/// it, which keep it from being emptied, each as the statement that takes it away and the one that gives it back.
const TABLE: &str = "select \
     coalesce((select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute \
         where attrelid = $1::text::regclass and attnum > 0 and not attisdropped and attgenerated = ''), ''), \
     array(select format('alter table %s disable trigger %I', tgrelid::regclass, tgname) from pg_trigger \
         where tgrelid = $1::text::regclass and not tgisinternal and tgenabled in ('O', 'A') order by tgname), \
     array(select format('alter table %s enable%s trigger %I', tgrelid::regclass, \
             case tgenabled when 'A' then ' always' else '' end, tgname) from pg_trigger \
         where tgrelid = $1::text::regclass and not tgisinternal and tgenabled in ('O', 'A') order by tgname)";
const KEYS: &str = "select format('alter table %s drop constraint %I', conrelid::regclass, conname), \
     format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) \
     from pg_constraint where contype = 'f' and conparentid = 0 and confrelid = any(array( \
         select a.relid from unnest($1::text[]) name, \
         lateral (select name::regclass as relid union select relid from pg_partition_ancestors(name::regclass)) a)) \
     order by conrelid::regclass::text, conname";

/// Returns what is left open: the rows are not where the application looks for them yet.
pub(super) async fn owed(
    clients: &Clients,
    with: &PostgresRestore,
    manifest: &Manifest,
    part: &Part<'_>,
) -> Obligation {
    let own = database(clients).map_or("DATABASE", |known| known.name.as_str());
    let how = match commands(clients, with, part, own).await {
        Ok(commands) => format!(
            "prove {into} first. What was written in these tables since {taken} is not in it: take over what of that is \
             left, or accept that it is lost. Then, where nobody writes to them:\n{commands}",
            into = with.into,
            taken = manifest.taken,
        ),
        Err(error) => format!(
            "copy them over by hand, in one transaction; {own} could not be asked for their columns and keys: {}",
            error.message
        ),
    };
    Obligation {
        id: format!("rows-of-{}", with.into),
        say: format!(
            "the rows of {} as of {} are in {} on {}, and not in {own} yet",
            part.named(),
            manifest.taken,
            with.into,
            with.instance
        ),
        how,
        closed_by: None,
    }
}

/// Returns the commands: one that writes each table's rows to a file, and one that puts them in the place of what is there.
async fn commands(
    clients: &Clients,
    with: &PostgresRestore,
    part: &Part<'_>,
    own: &str,
) -> Result<String, ActionError> {
    let mut session = connect_to(clients, &with.instance, own).await?;
    let names: Vec<String> = part.tables().iter().map(|table| qualified(table)).collect();
    let keys = keys(clients, &mut session, &names).await?;
    let mut written = Vec::new();
    let mut sql: Vec<String> = keys.iter().map(|(drop, _)| drop.clone()).collect();
    let mut last = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let what = format!("read the columns of {name} on {}", with.instance);
        let row = session.read_one(clients, &what, TABLE, &[name]).await?;
        let unreadable = |error: tokio_postgres::Error| {
            ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
        };
        let columns: String = row.try_get(0).map_err(unreadable)?;
        let (off, on): (Vec<String>, Vec<String>) =
            (row.try_get(1).map_err(unreadable)?, row.try_get(2).map_err(unreadable)?);
        let file = format!("{}.{}.rows", with.into, number + 1);
        written.push(format!("\\copy {name} ({columns}) to '{file}'"));
        sql.extend(off);
        last.extend(on);
        sql.push(format!("truncate only {name}"));
        sql.push(format!("\\copy {name} ({columns}) from '{file}'"));
    }
    sql.extend(last);
    sql.extend(keys.into_iter().map(|(_, add)| add));
    Ok(by_hand::dumps::rows(&clients.estate, &with.instance, (&with.into, own), (&written, &sql)))
}

/// Returns the foreign keys that lead to tables: how each is taken away, and given back.
async fn keys(
    clients: &Clients,
    session: &mut Session,
    names: &[String],
) -> Result<Vec<(String, String)>, ActionError> {
    let what = "read the foreign keys that lead to restored tables";
    let rows = session.read(clients, what, KEYS, &[&names]).await?;
    let read = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let read: Result<Vec<_>, tokio_postgres::Error> = read.collect();
    read.map_err(|error| ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}")))
}
