//! What the server and the estate's user must be for a rebuilding: told before anything is written, with the grants.

use super::{Found, Place, unreadable};
use crate::clients::Clients;
use crate::clients::postgres::{Session, database, identifier};
use crate::outcome::{ActionError, FailureClass};

/// Says that a server takes no writes.
pub(super) async fn writable(
    clients: &Clients,
    session: &mut Session,
    place: Place<'_>,
) -> Result<(), ActionError> {
    let what = place.what();
    let row = session.read_one(clients, &what, "select pg_is_in_recovery()", &[]).await?;
    if !row.try_get::<_, bool>(0).map_err(|error| unreadable(&what, &error))? {
        return Ok(());
    }
    let message = format!("{} is a replica, or in recovery, and takes no writes", place.instance);
    Err(ActionError::unchanged(FailureClass::Invalid, message)
        .hint("name the instance that takes writes, or promote this one first"))
}

/// Says which rights are missing, all of them.
pub(super) async fn granted(
    clients: &Clients,
    session: &mut Session,
    place: Place<'_>,
    [table, events]: [&Found; 2],
) -> Result<(), ActionError> {
    let what = place.what();
    let user = &database(clients)?.connection.user;
    let me = identifier(user);
    let (mut may_not, mut grants) = (Vec::new(), Vec::new());
    // Deleting is what takes a new row back.
    for (of, needed) in
        [(table, &["SELECT", "INSERT", "UPDATE", "DELETE"][..]), (events, &["SELECT"][..])]
    {
        let sql = "select has_schema_privilege(relnamespace, 'USAGE'), row_security_active(oid), \
             array(select p from unnest($2::text[]) p where not has_table_privilege(oid, p)) \
             from pg_class where oid = $1";
        let row = session.read_one(clients, &what, sql, &[&of.oid, &needed]).await?;
        let read = || -> Result<(bool, bool, Vec<String>), tokio_postgres::Error> {
            Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
        };
        let (inside, hides, missing) = read().map_err(|error| unreadable(&what, &error))?;
        if !inside {
            may_not.push(format!("use the schema {}", of.schema));
            grants.push(format!("grant usage on schema {} to {me}", identifier(&of.schema)));
        }
        if !missing.is_empty() {
            let missing = missing.join(", ").to_lowercase();
            may_not.push(format!("{missing} on {}", of.said()));
            grants.push(format!("grant {missing} on {} to {me}", of.quoted()));
        }
        if hides {
            may_not.push(format!("see the rows that policies of {} hide", of.said()));
            grants.push(format!("alter role {me} bypassrls"));
        }
    }
    if grants.is_empty() {
        return Ok(());
    }
    grants.dedup();
    let message = format!(
        "{user} may not {} in {} on {}; nothing was written",
        may_not.join(", nor "),
        place.database,
        place.instance
    );
    Err(ActionError::unchanged(FailureClass::Denied, message)
        .hint(format!("as its administrator: {}", grants.join("; "))))
}
