//! What is looked at before the first rename: that nobody writes to the damaged instance any more, and that the application will
//! get into the restored one.

use super::Sides;
use crate::actions::postgres::cut_over::open_still;
use crate::actions::postgres::roles;
use crate::actions::rds::instance::Instance;
use crate::clients::Clients;
use crate::clients::postgres::{LOGINS, Session, connect, connect_to, database};
use crate::outcome::{ActionError, FailureClass};

/// From where a database that lets nobody in can be asked about.
const MAINTENANCE: &str = "postgres";

/// Returns what could not be asked, a line each; an error where what was asked is in the way.
pub(super) async fn both(clients: &Clients, sides: &Sides<'_>) -> Result<Vec<String>, ActionError> {
    let mut unasked = Vec::new();
    let (damaged, restored) = (sides.damaged, sides.restored);
    match fenced(clients, damaged).await {
        Ok(None) => {}
        Ok(Some(open)) => {
            let message = format!(
                "the database of {} is not fenced ({open}): what is written there until it loses its name is lost",
                damaged.id
            );
            return Err(ActionError::unchanged(FailureClass::Invalid, message)
                .hint("fence it first: `postgres.fence` with `scope: database`"));
        }
        // Stopped, cut off from here, or too damaged to say: what fenced it then has said so itself.
        Err(error) => {
            unasked.push(format!("whether {} is fenced cannot be asked: {error}", damaged.id));
        }
    }
    match connect(clients, &restored.id, restored.endpoint.as_deref()).await {
        Ok(mut session) => roles::let_in(clients, &restored.id, &mut session).await?,
        Err(error) => {
            let error = ActionError::from(error);
            unasked.push(format!("who gets into {} cannot be asked: {error}", restored.id));
        }
    }
    Ok(unasked)
}

/// Returns what is open still of the damaged database; `None` where neither its own fence nor that of the whole server leaves
/// the application a way in.
async fn fenced(clients: &Clients, damaged: &Instance) -> Result<Option<String>, ActionError> {
    let id = damaged.id.as_str();
    let mut session = match connect(clients, id, damaged.endpoint.as_deref()).await {
        Ok(session) => session,
        Err(error) => match connect_to(clients, id, MAINTENANCE).await {
            Ok(session) => session,
            Err(_) => return Err(error.into()),
        },
    };
    let open = open_still(clients, id, &mut session).await?;
    if open.is_some() && shut_out(clients, id, &mut session).await? {
        return Ok(None);
    }
    Ok(open)
}

/// Says whether none of the application's roles may log in, as the fence of a whole server has it.
async fn shut_out(clients: &Clients, id: &str, session: &mut Session) -> Result<bool, ActionError> {
    let roles = &database(clients)?.connection.application_roles;
    let what = format!("read who may log in to {id}");
    let rows = session.read(clients, &what, LOGINS, &[roles]).await?;
    let locked = rows.iter().filter(|row| row.try_get(1).is_ok_and(|login: bool| !login)).count();
    Ok(!roles.is_empty() && locked == roles.len())
}
