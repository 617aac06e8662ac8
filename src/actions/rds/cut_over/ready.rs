//! What is looked at before the first rename: that nobody writes to the damaged instance any more, and that the application will
//! get into the restored one.

use super::Sides;
use crate::actions::postgres::cut_over::{is_shut, open_still, was_closed};
use crate::actions::postgres::roles;
use crate::clients::Clients;
use crate::clients::postgres::{connect, connect_to};
use crate::outcome::{ActionError, FailureClass};

/// From where a database that lets nobody in can be asked about.
const MAINTENANCE: &str = "postgres";

/// A damaged database that the application can still write to.
pub(in crate::actions) struct Open {
    /// What of it is open
    said: String,
    /// A fence of this program was put on it and never taken off: somebody has opened it since
    pub closed_before: bool,
}

impl Open {
    /// Says what that is, and until when what is written there is lost.
    pub(in crate::actions) fn line(&self, instance: &str, until: &str) -> String {
        format!(
            "the database of {instance} is not fenced ({}): what is written there until {until} is lost",
            self.said
        )
    }

    /// Refuses to put another in its place.
    pub(in crate::actions) fn refused(&self, instance: &str, until: &str) -> ActionError {
        ActionError::unchanged(FailureClass::Invalid, self.line(instance, until))
            .hint("fence it first: `postgres.fence` with `scope: database`")
    }
}

/// Returns what could not be asked, a line each; an error where what was asked is in the way.
pub(super) async fn both(clients: &Clients, sides: &Sides<'_>) -> Result<Vec<String>, ActionError> {
    let mut unasked = Vec::new();
    let (damaged, restored) = (sides.damaged, sides.restored);
    match still_open(clients, &damaged.id, damaged.endpoint.as_deref()).await {
        Ok(None) => {}
        Ok(Some(open)) => return Err(open.refused(&damaged.id, "it loses its name")),
        Err(error) => unasked.push(not_asked(&damaged.id, &error)),
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

/// Says that a damaged instance is not to be asked: it is stopped, cut off from here, or too damaged to say. What fenced it then
/// has said so itself.
pub(in crate::actions) fn not_asked(instance: &str, error: &ActionError) -> String {
    format!("whether {instance} is fenced cannot be asked: {error}")
}

/// Returns what is open still of the damaged database; `None` where neither its own fence nor that of the whole server leaves
/// the application a way in.
pub(in crate::actions) async fn still_open(
    clients: &Clients,
    instance: &str,
    address: Option<&str>,
) -> Result<Option<Open>, ActionError> {
    let mut session = match connect(clients, instance, address).await {
        Ok(session) => session,
        Err(error) => match connect_to(clients, instance, MAINTENANCE).await {
            Ok(session) => session,
            Err(_) => return Err(error.into()),
        },
    };
    let Some(said) = open_still(clients, instance, &mut session).await? else { return Ok(None) };
    // Somebody who looks into what is damaged may have been let in, or the whole server been closed: that takes nothing.
    if is_shut(clients, instance, &mut session).await? {
        return Ok(None);
    }
    let closed_before = was_closed(clients, instance, &mut session).await?;
    Ok(Some(Open { said, closed_before }))
}
