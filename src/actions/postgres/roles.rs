//! Whether the application's roles get into a database and write there: looked at before it is theirs, and tried once it is.

use crate::clients::Clients;
use crate::clients::postgres::{Session, Tried, connect, database, identifier, try_beat};
use crate::ids::RunId;
use crate::outcome::{ActionError, FailureClass, WARNS};

/// Who of the application's roles may log in, and connect to the session's database.
const LET_IN: &str = "select r.rolname::text, r.rolcanlogin, has_database_privilege(r.oid, current_database(), 'CONNECT') \
     from pg_roles r where r.rolname::text = any($1::text[]) order by 1";

/// Holds that each of the application's roles may log in to an instance and connect to its database.
pub(in crate::actions) async fn let_in(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
) -> Result<(), ActionError> {
    let known = database(clients)?;
    let roles = &known.connection.application_roles;
    let what = format!("read who may log in to {instance}");
    let unreadable = |error: tokio_postgres::Error| {
        ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
    };
    let mut missing: Vec<&String> = roles.iter().collect();
    let (mut said, mut ways) = (Vec::new(), Vec::new());
    for row in session.read(clients, &what, LET_IN, &[roles]).await? {
        let role: String = row.try_get(0).map_err(unreadable)?;
        missing.retain(|name| **name != role);
        let quoted = identifier(&role);
        let (logs_in, connects): (bool, bool) =
            (row.try_get(1).map_err(unreadable)?, row.try_get(2).map_err(unreadable)?);
        if !logs_in {
            said.push(format!("{role} may not log in"));
            ways.push(format!("alter role {quoted} login"));
        }
        if !connects {
            said.push(format!("{role} may not connect to {}", known.name));
            let name = identifier(&known.name);
            ways.push(format!("grant connect on database {name} to {quoted}"));
        }
    }
    said.extend(missing.into_iter().map(|role| format!("there is no role {role}")));
    if said.is_empty() {
        return Ok(());
    }
    ways.push(
        "or take a role that nobody logs in as out of `database.connection.application_roles`"
            .to_owned(),
    );
    let message = format!("the application does not get into {instance}: {}", said.join("; "));
    Err(ActionError::unchanged(FailureClass::Invalid, message).hint(ways.join("; ")))
}

/// Proves that each of the application's roles gets in, writes and reads; what is written is taken back. Returns what was
/// proved, a line each. A role that this program's own may not take on is said to be unproved.
pub(in crate::actions) async fn write(
    clients: &Clients,
    instance: &str,
    address: Option<&str>,
    run: &RunId,
) -> Result<Vec<String>, ActionError> {
    let known = database(clients)?;
    let name = &known.name;
    let mut session = connect(clients, instance, address).await?;
    let_in(clients, instance, &mut session).await?;
    let mut notes = Vec::new();
    for role in &known.connection.application_roles {
        match try_beat(clients, instance, &mut session, run, role).await? {
            Tried::Worked => notes.push(format!("{role} writes to {name} and reads it")),
            Tried::NotAs(code) => notes.push(format!(
                "{WARNS}no write was tried as {role} ({code}): grant {} to {}",
                identifier(role),
                identifier(&known.connection.user)
            )),
            Tried::Failed(code) => {
                let message = format!(
                    "{role} cannot write to {name} on {instance}: it fails with SQLSTATE {code}"
                );
                return Err(ActionError::unchanged(FailureClass::Invalid, message).hint(
                    "see the role's settings and its rights on the schema; then retry, which only proves it again",
                ));
            }
        }
    }
    Ok(notes)
}
