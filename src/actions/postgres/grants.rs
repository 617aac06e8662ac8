//! What the estate's user must be granted to fence an instance.

use crate::clients::Clients;
use crate::clients::postgres::{Session, database, identifier};
use crate::outcome::{ActionError, FailureClass};

/// Says which grants are missing, all at once, before anything is touched.
pub(super) async fn permitted(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
    roles: &[String],
) -> Result<(), ActionError> {
    let what = format!("read the grants on {instance}");
    let sql = "select me.rolsuper, \
         pg_has_role(db.datdba, 'USAGE'), me.rolcreaterole, pg_has_role('pg_signal_backend', 'MEMBER'), \
         current_setting('server_version_num')::int4 < 160000 or not exists (select 1 from unnest($1::text[]) app \
             where not pg_has_role(app, 'MEMBER WITH ADMIN OPTION')), \
         exists (select 1 from pg_roles where rolsuper and rolname::text = any($1::text[])) \
         from pg_roles me, pg_database db \
         where me.rolname = current_user and db.datname = current_database()";
    let row = session.read_one(clients, &what, sql, &[&roles]).await?;
    let flag = |index: usize| row.try_get::<_, bool>(index).unwrap_or(false);
    if flag(0) {
        return Ok(());
    }
    let known = database(clients)?;
    let (user, name) = (identifier(&known.connection.user), identifier(&known.name));
    let mut missing = Vec::new();
    if !flag(1) {
        missing.push(format!("alter database {name} owner to {user}"));
    }
    if !flag(2) {
        missing.push(format!("alter role {user} createrole"));
    }
    if !flag(3) {
        missing.push(format!("grant pg_signal_backend to {user}"));
    }
    if !flag(4) {
        let roles: Vec<String> = roles.iter().map(|role| identifier(role)).collect();
        missing.push(format!("grant {} to {user} with admin option", roles.join(", ")));
    }
    if flag(5) {
        missing.push("take the superuser attribute from the application's roles".to_owned());
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(ActionError::unchanged(
        FailureClass::Denied,
        format!("{} may not fence {instance}; nothing was touched", known.connection.user),
    )
    .hint(format!("as its administrator: {}", missing.join("; "))))
}
