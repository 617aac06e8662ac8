//! What the estate's user lacks to fence a whole database, said at once and before anything is touched.

use std::collections::BTreeSet;

use super::access::Known;
use crate::clients::Clients;
use crate::clients::postgres::acl::Barrier;
use crate::clients::postgres::{READ_ONLY as SETTING, Session, identifier};
use crate::outcome::{ActionError, FailureClass};

/// What whoever asks may do with the database, its sessions, roles and grants; $2 are roles that would lose their login,
/// $3 the application's, as which a write is tried, $4 those whose grants would have to be given back.
const RIGHTS: &str = "select owner.rolsuper, pg_has_role(d.datdba, 'USAGE'), me.rolsuper, \
     pg_has_role('pg_signal_backend', 'USAGE'), me.rolcreaterole, \
     array(select r.rolname::text from pg_roles r where r.rolname::text = any($2::text[]) \
         and current_setting('server_version_num')::int4 >= 160000 \
         and not pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION') order by 1), \
     array(select r.rolname::text from pg_roles r where r.rolsuper and r.rolname::text = any($3::text[]) order by 1), \
     array(select r.rolname::text from pg_roles r where r.rolname::text = any($4::text[]) and not pg_has_role(r.oid, \
         case when current_setting('server_version_num')::int4 >= 160000 then 'SET' else 'MEMBER' end) order by 1), \
     array(select r.rolname::text from pg_roles r where r.rolname::text = any($3::text[]) and not pg_has_role(r.oid, \
         case when current_setting('server_version_num')::int4 >= 160000 then 'SET' else 'MEMBER' end) order by 1), \
     current_setting('server_version_num')::int4 >= 160000 \
     from pg_roles me, pg_database d join pg_roles owner on owner.oid = d.datdba \
     where me.rolname = current_user and d.datname::text = $1";
/// Settings of the operator's own that outrank the database's: of the role in this database, else of the role.
const OUTRANKS: &str = "select s.setdatabase <> 0 from pg_db_role_setting s, unnest(s.setconfig) entry \
     where s.setrole = (select oid from pg_roles where rolname = current_user) \
     and s.setdatabase in (0, (select oid from pg_database where datname::text = $1)) \
     and entry like $2 || '=%' and split_part(entry, '=', 2) not in ('on', 'true', 'yes', '1') order by 1";

/// Says what is missing to fence a database and to give it back; returns what is missing only for the proof by a write as
/// each of the application's roles. Without that the database is closed all the same, and what is not proved stays open.
pub(super) async fn permitted(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
    known: &Known,
    application: &[String],
) -> Result<Vec<String>, ActionError> {
    let what = format!("read the grants on {instance}");
    let (name, user) = (identifier(&known.name), identifier(&known.operator));
    let rows = session.read(clients, &what, OUTRANKS, &[&known.name, &SETTING]).await?;
    let mut missing: Vec<String> = rows
        .iter()
        .map(|row| match row.try_get(0) {
            Ok(true) => format!("alter role {user} in database {name} reset {SETTING}"),
            Ok(false) | Err(_) => format!("alter role {user} reset {SETTING}"),
        })
        .collect();
    let grantors = match &known.access.barrier {
        Barrier::Privileges(acl) => acl.grantors(&known.owner),
        Barrier::Limit(_) => Vec::new(),
    };
    let locked: Vec<&String> =
        known.access.logins.iter().filter(|(_, login)| **login).map(|(role, _)| role).collect();
    let row = session
        .read_one(clients, &what, RIGHTS, &[&known.name, &locked, &application, &grantors])
        .await?;
    let flag = |index: usize| row.try_get::<_, bool>(index).unwrap_or(false);
    let names = |index: usize| row.try_get::<_, Vec<String>>(index).unwrap_or_default();
    // From version 16 on a membership may leave out the one thing that is needed of it.
    let option = if flag(9) { " with set true" } else { "" };
    let membership = |role: String| format!("grant {} to {user}{option}", identifier(&role));
    if !flag(2) {
        missing.extend(match (flag(1), flag(0)) {
            (true, _) => None,
            // Who is a member of a superuser can be one.
            (false, true) => Some(format!("alter database {name} owner to {user}")),
            (false, false) => Some(format!("grant {} to {user}", identifier(&known.owner))),
        });
        if !flag(3) {
            missing.push(format!("grant pg_signal_backend to {user}"));
        }
        if !flag(4) && !locked.is_empty() {
            missing.push(format!("alter role {user} createrole"));
        }
        missing.extend(
            names(5)
                .iter()
                .map(|role| format!("grant {} to {user} with admin option", identifier(role))),
        );
        missing.extend(
            names(6).iter().map(|role| format!("alter role {} nosuperuser", identifier(role))),
        );
        missing.extend(names(7).into_iter().map(membership));
    }
    let mut seen = BTreeSet::new();
    missing.retain(|grant| seen.insert(grant.clone()));
    if missing.is_empty() {
        let for_proof = if flag(2) { Vec::new() } else { names(8) };
        return Ok(for_proof.into_iter().map(membership).collect());
    }
    let message = format!(
        "{} may not fence {} on {instance}; nothing was touched",
        known.operator, known.name
    );
    Err(ActionError::unchanged(FailureClass::Denied, message)
        .hint(format!("as its administrator: {}", missing.join("; "))))
}
