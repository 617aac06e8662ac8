//! How the rows of some tables come from the database they were restored into to the one the application uses: commands for
//! somebody who knows what else was written meanwhile, in one transaction that leaves nothing half done.

use super::part::{Part, qualified};
use super::target::Of;
use crate::actions::postgres::manifest::Manifest;
use crate::actions::postgres::store::Dumps;
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::postgres::{Session, connect_to, database, identifier};
use crate::outcome::{ActionError, FailureClass, Obligation};
use crate::runbook::catalogue::actions::PostgresRestore;

/// A table's columns that are written, and its triggers, which copied rows must not set off.
const TABLE: &str = "select \
     coalesce((select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute \
         where attrelid = $1::text::regclass and attnum > 0 and not attisdropped and attgenerated = ''), ''), \
     array(select format('alter table %s disable trigger %I', tgrelid::regclass, tgname) from pg_trigger \
         where tgrelid = $1::text::regclass and not tgisinternal and tgenabled in ('O', 'A') order by tgname), \
     array(select format('alter table %s enable%s trigger %I', tgrelid::regclass, \
             case tgenabled when 'A' then ' always' else '' end, tgname) from pg_trigger \
         where tgrelid = $1::text::regclass and not tgisinternal and tgenabled in ('O', 'A') order by tgname)";
/// The foreign keys that lead to tables, which keep these from being emptied: how each is taken away, and given back.
const KEYS: &str = "select format('alter table %s drop constraint %I', conrelid::regclass, conname), \
     format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) \
         || coalesce(format('; comment on constraint %I on %s is %L', conname, conrelid::regclass, \
             obj_description(oid, 'pg_constraint')), '') \
     from pg_constraint where contype = 'f' and conparentid = 0 and confrelid = any(array( \
         select a.relid from unnest($1::text[]) name, \
         lateral (select name::regclass as relid union select relid from pg_partition_ancestors(name::regclass)) a)) \
     order by conrelid::regclass::text, conname";
/// Owners of the tables, and of those whose keys lead to them, that whoever asks is none of.
const OWNERS: &str = "select distinct r.rolname::text from pg_class c join pg_roles r on r.oid = c.relowner \
     where not pg_has_role(c.relowner, 'USAGE') and (c.oid in (select name::regclass from unnest($1::text[]) name) \
         or c.oid in (select conrelid from pg_constraint where contype = 'f' and confrelid in ( \
             select name::regclass from unnest($1::text[]) name))) order by 1";

/// Returns what is left open: the rows are not where the application looks for them yet.
pub(super) async fn owed(
    clients: &Clients,
    with: &PostgresRestore,
    manifest: &Manifest,
    part: &Part<'_>,
) -> Obligation {
    let own = database(clients).map_or("DATABASE", |known| known.name.as_str());
    let (into, taken) = (&with.into, manifest.taken);
    let how = match commands(clients, with, part, own).await {
        Ok(Commands { keep, bring, owners }) => {
            let owners = owners.iter().map(|line| format!("{line}\n")).collect::<String>();
            format!(
                "prove {into} first, and keep the application away from these tables. What was written in them since {taken} \
                 is not in it; what can still be read of them is kept by:\n{keep}\n{owners}then in one transaction, which \
                 throws away what they hold now:\n{bring}"
            )
        }
        Err(error) => unasked(own, &error),
    };
    open(with, own, (&part.named(), &taken.to_string()), how)
}

/// Returns the same of a database that an earlier attempt restored and did not say it of.
pub(super) async fn owed_still(clients: &Clients, with: &PostgresRestore, of: &Of) -> Obligation {
    let found = async {
        let dumps = Dumps::of(clients)?;
        let dump = dumps.find(clients, &of.dump).await?;
        dump.ok_or_else(|| dumps.missing(&format!("the dump {}", of.dump)))
    };
    let own = database(clients).map_or("DATABASE", |known| known.name.as_str());
    let named = with.tables.names().into_iter().collect::<Vec<_>>().join(", ");
    match found.await {
        Ok(dump) => match Part::of(&with.tables, &dump.manifest) {
            Ok(Some(part)) => owed(clients, with, &dump.manifest, &part).await,
            Ok(None) => open(with, own, (&named, &of.taken), String::new()),
            Err(error) => open(with, own, (&named, &of.taken), unasked(own, &error)),
        },
        Err(error) => open(with, own, (&named, &of.taken), unasked(own, &error)),
    }
}

fn unasked(own: &str, error: &ActionError) -> String {
    format!(
        "copy them over by hand, in one transaction; what {own} needs for that could not be asked: {}",
        error.message
    )
}

fn open(
    with: &PostgresRestore,
    own: &str,
    (named, taken): (&str, &str),
    how: String,
) -> Obligation {
    let PostgresRestore { into, instance, .. } = with;
    Obligation {
        id: format!("rows-of-{into}"),
        say: format!(
            "the rows of {named} as of {taken} are in {into} on {instance}, and not in {own} yet"
        ),
        how,
        closed_by: None,
    }
}

/// What somebody types.
struct Commands {
    /// Writes what can still be read of the tables to files
    keep: String,
    /// Writes the restored rows to files and puts them in the place of what is there
    bring: String,
    /// What the estate's user lacks for that, a line each
    owners: Vec<String>,
}

async fn commands(
    clients: &Clients,
    with: &PostgresRestore,
    part: &Part<'_>,
    own: &str,
) -> Result<Commands, ActionError> {
    let mut session = connect_to(clients, &with.instance, own).await?;
    let names: Vec<String> = part.tables().iter().map(|table| qualified(table)).collect();
    let keys: Vec<(String, String)> = pairs(clients, &mut session, &names).await?;
    let (mut kept, mut written) = (Vec::new(), Vec::new());
    let mut sql = vec!["begin".to_owned()];
    sql.extend(keys.iter().map(|(drop, _)| drop.clone()));
    let mut last = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let what = format!("read the columns of {name} on {}", with.instance);
        let row = session.read_one(clients, &what, TABLE, &[name]).await?;
        let columns: String = row.try_get(0).map_err(|error| unreadable(&what, &error))?;
        let off: Vec<String> = row.try_get(1).map_err(|error| unreadable(&what, &error))?;
        let on: Vec<String> = row.try_get(2).map_err(|error| unreadable(&what, &error))?;
        let file = format!("{}.{}", with.into, number + 1);
        kept.push(format!("\\copy {name} ({columns}) to '{file}.before'"));
        written.push(format!("\\copy {name} ({columns}) to '{file}.rows'"));
        sql.extend(off);
        last.extend(on);
        sql.push(format!("truncate only {name}"));
        sql.push(format!("\\copy {name} ({columns}) from '{file}.rows'"));
    }
    // What is checked at the end of the transaction keeps a table from being altered before.
    sql.push("set constraints all immediate".to_owned());
    sql.extend(last);
    sql.extend(keys.into_iter().map(|(_, add)| add));
    sql.push("commit".to_owned());
    let estate = &clients.estate;
    Ok(Commands {
        keep: by_hand::dumps::keep_rows(estate, &with.instance, own, &kept),
        bring: by_hand::dumps::rows(estate, &with.instance, (&with.into, own), (&written, &sql)),
        owners: owners(clients, &mut session, &names).await?,
    })
}

fn unreadable(what: &str, error: &tokio_postgres::Error) -> ActionError {
    ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
}

/// Returns the foreign keys that lead to tables: how each is taken away, and given back.
async fn pairs(
    clients: &Clients,
    session: &mut Session,
    names: &[String],
) -> Result<Vec<(String, String)>, ActionError> {
    let what = "read the foreign keys that lead to restored tables";
    let rows = session.read(clients, what, KEYS, &[&names]).await?;
    let read = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let read: Result<Vec<_>, tokio_postgres::Error> = read.collect();
    read.map_err(|error| unreadable(what, &error))
}

/// Returns the grants that make the estate's user an owner of what is altered, a line each.
async fn owners(
    clients: &Clients,
    session: &mut Session,
    names: &[String],
) -> Result<Vec<String>, ActionError> {
    let what = "read who owns restored tables";
    let rows = session.read(clients, what, OWNERS, &[&names]).await?;
    let user = identifier(&database(clients)?.connection.user);
    let read = rows.iter().map(|row| row.try_get::<_, String>(0));
    let read: Result<Vec<String>, tokio_postgres::Error> = read.collect();
    let read = read.map_err(|error| unreadable(what, &error))?;
    Ok(read
        .iter()
        .map(|owner| format!("as its administrator: grant {} to {user};", identifier(owner)))
        .collect())
}
