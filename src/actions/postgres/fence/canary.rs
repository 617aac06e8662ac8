//! Sessions from before a fence, one as the operator and one as each role of the application: behind it they must be ended,
//! or their writes must fail for it and for nothing else.

use super::super::holds::{READ_ONLY, Tries, WRITE};
use crate::clients::Clients;
use crate::clients::postgres::{Session, Tried, connect, database, identifier, literal};
use crate::outcome::{ActionError, FailureClass};

/// What this program calls itself in a session from before the fence, which is ended as everybody's are.
const FROM_BEFORE: &str = "phoenix-dr, from before the fence";
/// What a session is told that is ended.
const ENDED: &str = "57P01";
/// The same, where it comes in place of an answer.
const ENDED_SAID: &str = "(57P01)";

/// Sessions that began before the fence, as everybody's who is to be kept out.
pub(super) struct Canaries {
    /// The role each writes as
    open: Vec<(String, Session)>,
    /// As whom there is none, and why, a line each
    missing: Vec<String>,
}

impl Canaries {
    /// Opens them. Where one cannot be, the database is full or damaged, or the role may not be taken on: then nothing is
    /// proved that way, and that is said.
    pub(super) async fn open(
        clients: &Clients,
        instance: &str,
        roles: &[String],
    ) -> Result<Self, ActionError> {
        let user = &database(clients)?.connection.user;
        let mut found = Self { open: Vec::new(), missing: Vec::new() };
        for role in std::iter::once(None).chain(roles.iter().map(Some)) {
            let name = role.unwrap_or(user).clone();
            match session(clients, instance, role).await {
                Ok(session) => found.open.push((name, session)),
                Err(error) => found
                    .missing
                    .push(format!("no session from before the fence was tried as {name}: {error}")),
            }
        }
        Ok(found)
    }

    /// Returns none, where a fence is carried on: what begins now does not begin before it.
    pub(super) fn too_late() -> Self {
        let why = "the fence stood already: no session from before it was left to try a write in";
        Self { open: Vec::new(), missing: vec![why.to_owned()] }
    }

    /// Returns how many sessions of the server they are.
    pub(super) fn count(&self) -> i64 {
        i64::try_from(self.open.len()).unwrap_or(i64::MAX)
    }

    /// Proves that none of them can write any more, once sessions have been ended.
    pub(super) async fn prove_dead(
        self,
        clients: &Clients,
        instance: &str,
    ) -> Result<Tries, ActionError> {
        let mut tries = Tries { proved: Vec::new(), untried: self.missing };
        for (name, mut session) in self.open {
            let what =
                format!("try a write on {instance} as {name} in a session from before the fence");
            let tried = session.attempt(clients, &what, None, WRITE).await;
            match proof(&name, &tried, session.is_closed()) {
                Ok(proved) => tries.proved.push(proved),
                Err(seen) => {
                    let message = format!("{what}: {seen}; that is no proof that the fence holds");
                    return Err(ActionError::applied(FailureClass::Conflict, message).hint(format!(
                        "see what becomes of it: select * from pg_stat_activity where application_name = {}; a retry \
                         looks anew",
                        literal(FROM_BEFORE)
                    )));
                }
            }
        }
        Ok(tries)
    }
}

async fn session(
    clients: &Clients,
    instance: &str,
    role: Option<&String>,
) -> Result<Session, ActionError> {
    let session = connect(clients, instance, None).await?;
    let mut begin = format!("set application_name = {}", literal(FROM_BEFORE));
    if let Some(role) = role {
        begin = format!("{begin}; set role {}", identifier(role));
    }
    session.command(clients, &format!("begin a session on {instance}"), &begin).await?;
    Ok(session)
}

/// Says what a try in a session from before the fence proves: that the session was ended, or that it cannot write for it
/// is read-only. Anything else is what was seen instead.
fn proof(name: &str, tried: &Result<Tried, ActionError>, closed: bool) -> Result<String, String> {
    let ended = || Ok(format!("a session as {name} from before was ended and cannot write"));
    match tried {
        Ok(Tried::Worked) => Err("it would have worked".to_owned()),
        Ok(Tried::Failed(code)) if code == READ_ONLY => {
            Ok(format!("a write as {name} in a session from before failed with SQLSTATE {code}"))
        }
        Ok(Tried::Failed(code) | Tried::NotAs(code)) if code == ENDED => ended(),
        // That it was ended has been seen in the server's own list as well; this is the other end of it.
        Err(error) if closed || error.message.contains(ENDED_SAID) => ended(),
        Ok(Tried::Failed(code) | Tried::NotAs(code)) => {
            Err(format!("it failed with SQLSTATE {code} instead of {READ_ONLY}"))
        }
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_session_that_is_ended_or_read_only_proves_anything() {
        let failed = |code: &str| Ok(Tried::Failed(code.to_owned()));
        let silent = || {
            let message = "no answer within 10 s";
            Err(ActionError::unchanged(FailureClass::Transient, message))
        };
        for (tried, closed) in
            [(failed("25006"), false), (failed("57P01"), false), (silent(), true)]
        {
            proof("app", &tried, closed).expect("a proof");
        }
        for (tried, said) in [
            (failed("42501"), "it failed with SQLSTATE 42501 instead of 25006"),
            (failed("42P07"), "it failed with SQLSTATE 42P07 instead of 25006"),
            (failed("57014"), "it failed with SQLSTATE 57014 instead of 25006"),
            (Ok(Tried::NotAs("42501".to_owned())), "it failed with SQLSTATE 42501"),
            (silent(), "no answer within 10 s"),
            (Ok(Tried::Worked), "it would have worked"),
        ] {
            let seen = proof("app", &tried, false).expect_err("no proof");
            assert!(seen.contains(said), "{said}: {seen}");
        }
    }
}
