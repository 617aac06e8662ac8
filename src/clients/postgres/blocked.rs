//! Changes that may have to wait for a lock: who holds it is told with the failure.
//!
//! Once the server has given up waiting nobody can say any more for whom it was, so it is asked meanwhile.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Parameter, Session, Writing, connect_to};
use crate::clients::Clients;
use crate::outcome::{ActionError, FailureClass};

/// A change that takes no longer than this waits for nobody.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// What a server says that waited for a lock as long as it may.
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// The same as PostgreSQL's own programs tell it.
const LOCK_TIMEOUT: &str = "lock timeout";

const BLOCKERS: &str = "select pid, coalesce(usename::text, backend_type, 'a session'), coalesce(application_name, ''), \
     coalesce(state, 'hidden from this user') from pg_stat_activity where pid = any(pg_blocking_pids($1)) order by 1";
/// Prepared transactions hold locks without a process, which counts as 0.
const PREPARED: &str =
    "select p.gid from pg_prepared_xacts p where 0 = any(pg_blocking_pids($1)) order by p.prepared";

/// Reads of a whole database wait longer before they give up, and take hours.
const ASK_OF_ALL_EVERY: Duration = Duration::from_secs(10);
/// Of all sessions of this program in a database, and of PostgreSQL's own programs that it starts.
const OWN_BLOCKERS: &str = "select distinct b.pid, coalesce(b.usename::text, b.backend_type, 'a session'), \
         coalesce(b.application_name, ''), coalesce(b.state, 'hidden from this user') \
     from pg_stat_activity w cross join lateral unnest(pg_blocking_pids(w.pid)) held(pid) \
     join pg_stat_activity b on b.pid = held.pid \
     where w.application_name = 'phoenix-dr' and w.datname::text = $1 and w.wait_event_type = 'Lock' \
     and b.application_name is distinct from 'phoenix-dr' order by 1";
const OWN_PREPARED: &str = "select p.gid from pg_prepared_xacts p where exists (select 1 from pg_stat_activity w \
     where w.application_name = 'phoenix-dr' and w.datname::text = $1 and w.wait_event_type = 'Lock' \
     and 0 = any(pg_blocking_pids(w.pid))) order by p.prepared";

/// Who holds what a change waits for.
#[derive(Debug, Default)]
struct Blockers {
    said: Vec<String>,
    /// What ends them, a statement each
    ends: Vec<String>,
}

impl Session {
    /// Carries out statements as `change` does; where a lock does not come, the error names who has it. They are asked for
    /// in another session, in the database `other`.
    pub(crate) async fn change_or_say_who_blocks(
        &mut self,
        clients: &Clients,
        what: &str,
        statements: &[(String, Vec<Parameter<'_>>)],
        other: (&str, &str),
    ) -> Result<(), ActionError> {
        let always = std::future::ready(Ok(()));
        self.change_while_or_say_who_blocks(clients, what, statements, other, always).await
    }

    /// Carries out statements in the same way, and makes them last only where what is looked at before the commit allows it.
    pub(crate) async fn change_while_or_say_who_blocks(
        &mut self,
        clients: &Clients,
        what: &str,
        statements: &[(String, Vec<Parameter<'_>>)],
        (instance, other): (&str, &str),
        allowed: impl Future<Output = Result<(), ActionError>>,
    ) -> Result<(), ActionError> {
        let process = self.process(clients, what).await?;
        let change = self.change_while(clients, what, statements, Writing::Aloud, allowed);
        say_who_blocks(clients, what, process, (instance, other), change).await
    }

    /// Returns the id of the server's process that serves this session.
    pub(crate) async fn process(
        &mut self,
        clients: &Clients,
        what: &str,
    ) -> Result<i32, ActionError> {
        let row = self.read_one(clients, what, "select pg_backend_pid()", &[]).await?;
        Ok(row.try_get(0).unwrap_or_default())
    }
}

/// Does what may have to wait for a lock, in the session that this process of the server serves; where the lock does not
/// come, the error names who has it. They are asked for in another session, in the database `other`.
pub(crate) async fn say_who_blocks<T>(
    clients: &Clients,
    what: &str,
    process: i32,
    (instance, other): (&str, &str),
    work: impl Future<Output = Result<T, ActionError>>,
) -> Result<T, ActionError> {
    let asked = Asked { blockers: BLOCKERS, prepared: PREPARED, of: &process, every: ASK_EVERY };
    watched(clients, what, (instance, other), asked, work).await
}

/// Does work in sessions of this program, and of programs it starts, in one database; where a lock does not come, the error
/// names who has it.
pub(crate) async fn or_say_who_blocks<T>(
    clients: &Clients,
    what: &str,
    (instance, database): (&str, &str),
    work: impl Future<Output = Result<T, ActionError>>,
) -> Result<T, ActionError> {
    let asked = Asked {
        blockers: OWN_BLOCKERS,
        prepared: OWN_PREPARED,
        of: &database,
        every: ASK_OF_ALL_EVERY,
    };
    watched(clients, what, (instance, database), asked, work).await
}

/// Does work while it is asked who holds it up.
async fn watched<T>(
    clients: &Clients,
    what: &str,
    (instance, database): (&str, &str),
    asked: Asked<'_>,
    work: impl Future<Output = Result<T, ActionError>>,
) -> Result<T, ActionError> {
    let found = Mutex::new(Blockers::default());
    let watching = watch(clients, what, (instance, database), asked, &found);
    // The watching never ends: it is what is dropped, and it only looked.
    let done = tokio::select! {
        done = work => done,
        never = watching => match never {},
    };
    done.map_err(|error| named(error, &found.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

/// How is asked who holds something.
#[derive(Clone, Copy)]
struct Asked<'a> {
    blockers: &'a str,
    prepared: &'a str,
    /// Whose wait it is, as both take it
    of: Parameter<'a>,
    every: Duration,
}

/// Asks again and again in a session of its own; what was seen last stays in `found`.
async fn watch(
    clients: &Clients,
    what: &str,
    (instance, database): (&str, &str),
    asked: Asked<'_>,
    found: &Mutex<Blockers>,
) -> Infallible {
    let never = std::future::pending::<Infallible>;
    clients.clock.sleep(asked.every).await;
    // Without another session nobody can be named, and the failure says what it can.
    let Ok(mut session) = connect_to(clients, instance, database).await else {
        return never().await;
    };
    loop {
        let Ok(seen) = blockers(clients, what, &mut session, asked).await else {
            return never().await;
        };
        if !seen.said.is_empty() {
            *found.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        }
        clients.clock.sleep(asked.every).await;
    }
}

async fn blockers(
    clients: &Clients,
    what: &str,
    session: &mut Session,
    asked: Asked<'_>,
) -> Result<Blockers, ActionError> {
    let mut found = Blockers::default();
    for row in session.read(clients, what, asked.blockers, &[asked.of]).await? {
        let (Ok(pid), Ok(role), Ok(program), Ok(state)) = (
            row.try_get::<_, i32>(0),
            row.try_get::<_, String>(1),
            row.try_get::<_, String>(2),
            row.try_get::<_, String>(3),
        ) else {
            continue;
        };
        found.said.push(format!("{role} (pid {pid}, `{program}`, {state})"));
        found.ends.push(format!("select pg_terminate_backend({pid})"));
    }
    for row in session.read(clients, what, asked.prepared, &[asked.of]).await? {
        let Ok(gid) = row.try_get::<_, String>(0) else { continue };
        found.said.push(format!("perhaps the prepared transaction `{gid}`"));
        found.ends.push(format!("rollback prepared {}", super::literal(&gid)));
    }
    Ok(found)
}

fn named(mut error: ActionError, found: &Blockers) -> ActionError {
    let gave_up = [LOCK_NOT_AVAILABLE, LOCK_TIMEOUT];
    let waited = error.class == FailureClass::Transient
        && gave_up.iter().any(|words| error.message.contains(words));
    if !waited || found.said.is_empty() {
        return error;
    }
    error.message = format!("{}: it is held by {}", error.message, found.said.join(", "));
    error.hint(format!("end what holds it, or wait for it: {}", found.ends.join("; ")))
}
