//! Extensions of a dumped database: whether a restore can have them again.
//!
//! An archive makes each anew (`create extension`), which most of them leave to a superuser: told here before anything is
//! made, and not by `pg_restore` half-way. Some only look into the server; those are left out where nothing rests on them.

use serde::{Deserialize, Serialize};

use super::manifest::Manifest;
use super::restore::MAINTENANCE;
use crate::clients::Clients;
use crate::clients::postgres::{Held, Session, connect_to, database, identifier};
use crate::outcome::{ActionError, FailureClass, Obligation, WARNS};

/// Extensions that show what a server or its files are like, have no data of their own, and that no application needs to
/// run. Those alone are ever left out.
const ONLY_LOOK: [&str; 11] = [
    "adminpack",
    "amcheck",
    "pageinspect",
    "pg_buffercache",
    "pg_freespacemap",
    "pg_prewarm",
    "pg_stat_statements",
    "pg_visibility",
    "pg_walinspect",
    "pgrowlocks",
    "pgstattuple",
];

/// One extension of a dumped database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Extension {
    pub name: String,
    pub version: String,
    /// Something that is not its own rests on it
    pub used: bool,
}

/// Lists the extensions a dump makes anew; those every database has are in none.
pub(super) async fn read(what: &str, leader: &Held) -> Result<Vec<Extension>, ActionError> {
    // The rule of an extension's own view rests on its functions and is no member itself.
    let sql = "select e.extname::text, e.extversion::text, exists (select 1 from pg_depend m \
             join pg_depend d on d.refclassid = m.classid and d.refobjid = m.objid and d.deptype <> 'i' \
             where m.refclassid = 'pg_extension'::regclass and m.refobjid = e.oid and m.deptype = 'e' \
             and not exists (select 1 from pg_depend o where o.classid = d.classid and o.objid = d.objid \
                 and o.refclassid = 'pg_extension'::regclass and o.refobjid = e.oid and o.deptype = 'e') \
             and not exists (select 1 from pg_rewrite r join pg_depend o on o.classid = 'pg_class'::regclass \
                 and o.objid = r.ev_class and o.refclassid = 'pg_extension'::regclass and o.refobjid = e.oid \
                 and o.deptype = 'e' where d.classid = 'pg_rewrite'::regclass and r.oid = d.objid)) \
         or exists (select 1 from pg_depend d where d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid \
             and d.deptype <> 'e') \
         from pg_extension e where e.oid >= 16384 order by 1";
    let rows = leader.read(what, sql, &[]).await?;
    let read = |row: &tokio_postgres::Row| {
        let (name, version, used) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok(Extension { name, version, used })
    };
    let read: Result<_, tokio_postgres::Error> = rows.iter().map(read).collect();
    read.map_err(|error| unreadable(what, &error))
}

/// What a server says of an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offer {
    /// This user may make it
    Made,
    /// Only a superuser may
    Denied,
    /// The server has no such extension
    Absent,
}

/// Returns the extensions of a dump that a restore on this instance goes without.
///
/// # Errors
///
/// One that cannot be had there, and that something may rest on.
pub(super) async fn left_out(
    clients: &Clients,
    instance: &str,
    manifest: &Manifest,
) -> Result<Vec<String>, ActionError> {
    // A dump of before they were listed: the restore will tell.
    let wanted = manifest.extensions.as_deref().unwrap_or_default();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut session = connect_to(clients, instance, MAINTENANCE).await?;
    let (mut left, mut absent, mut denied) = (Vec::new(), Vec::new(), Vec::new());
    for extension in wanted {
        let offer = offer(clients, instance, &mut session, &extension.name).await?;
        let idle = ONLY_LOOK.contains(&extension.name.as_str()) && !extension.used;
        match offer {
            Offer::Made => {}
            Offer::Denied | Offer::Absent if idle => left.push(extension.name.clone()),
            Offer::Denied => denied.push(extension.name.as_str()),
            Offer::Absent => absent.push(format!("{} {}", extension.name, extension.version)),
        }
    }
    if absent.is_empty() && denied.is_empty() {
        return Ok(left);
    }
    Err(refused(&database(clients)?.connection.user, instance, &absent, &denied))
}

async fn offer(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
    name: &str,
) -> Result<Offer, ActionError> {
    let what = format!("ask {instance} for the extension {name}");
    // RDS has its own way to let its administrators make what is not trusted elsewhere.
    let sql = "select me.rolsuper or not v.superuser or v.trusted or exists (select 1 from pg_roles r \
             where r.rolname = 'rds_superuser' and pg_has_role(me.oid, r.oid, 'MEMBER')) \
         from pg_available_extensions a \
         join pg_available_extension_versions v on v.name = a.name and v.version = a.default_version, pg_roles me \
         where a.name::text = $1 and me.rolname = current_user";
    let rows = session.read(clients, &what, sql, &[&name]).await?;
    let Some(row) = rows.first() else { return Ok(Offer::Absent) };
    let may: bool = row.try_get(0).map_err(|error| unreadable(&what, &error))?;
    Ok(if may { Offer::Made } else { Offer::Denied })
}

fn refused(user: &str, instance: &str, absent: &[String], denied: &[&str]) -> ActionError {
    let mut said = Vec::new();
    let mut ways = Vec::new();
    if !absent.is_empty() {
        said.push(format!("{instance} does not have {}", absent.join(", ")));
        ways.push("install what is missing on that server".to_owned());
    }
    if !denied.is_empty() {
        said.push(format!("{user} may not make {} there", denied.join(", ")));
        let user = identifier(user);
        ways.push(format!(
            "as its administrator: alter role {user} superuser; and afterwards: alter role {user} nosuperuser"
        ));
    }
    let message = format!("the dump needs extensions: {}", said.join("; "));
    let class = if absent.is_empty() { FailureClass::Denied } else { FailureClass::NotFound };
    ActionError::unchanged(class, message).hint(ways.join("; "))
}

/// Says what a restore goes without.
pub(super) fn said(left: &[String]) -> Option<String> {
    let names = left.join(", ");
    (!left.is_empty()).then(|| {
        format!(
            "{WARNS}without the extensions {names}: only a superuser may make them, they only look, and nothing rests on them"
        )
    })
}

/// Returns what stays open of that: the extensions, and the privileges on what comes with them.
pub(super) fn obligation(
    instance: &str,
    name: &str,
    (left, grants): (&[String], &[String]),
) -> Option<Obligation> {
    let made = left.iter().map(|extension| format!("create extension {}", identifier(extension)));
    let grants = grants.iter().map(|sql| sql.trim_end_matches(';').to_owned());
    let made = made.chain(grants).collect::<Vec<_>>().join("; ");
    (!left.is_empty()).then(|| Obligation {
        id: format!("extensions-{name}"),
        say: format!("{name} on {instance} lacks the extensions {}", left.join(", ")),
        how: format!(
            "as the server's administrator, in that database, whatever its name is by then: {made}"
        ),
        closed_by: None,
    })
}

fn unreadable(what: &str, error: &tokio_postgres::Error) -> ActionError {
    ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
}

#[cfg(test)]
#[path = "extensions_tests.rs"]
mod tests;
