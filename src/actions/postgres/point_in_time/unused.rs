//! Whether anybody has used the restored server: what was written in it is nowhere else, and then it is not removed.

use std::time::Duration;

use super::place::{Mark, Place};
use super::server::Process;
use crate::clients::Clients;
use crate::clients::postgres::{Session, connect, connect_to, database};
use crate::clock::since;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};

/// An application that was pointed elsewhere leaves within this time: its pods are restarted one after another.
const LEAVE_LIMIT: Duration = Duration::from_secs(3 * 60);
const PAUSE: Duration = Duration::from_secs(1);
/// Who is there, this program apart. Of sessions the estate's user may know nothing of, all that is known is that they are there.
const SESSIONS: &str = "select count(*), coalesce(string_agg(distinct usename::text, ', '), '') from pg_stat_activity \
     where usesysid is not null and pid <> pg_backend_pid() and coalesce(application_name, '') <> 'phoenix-dr' \
     and coalesce(backend_type, 'client backend') in ('client backend', 'walsender')";
const DATABASES: &str =
    "select datname::text from pg_database where datallowconn and not datistemplate order by 1";
/// Rows that were changed since the server's statistics began, which its recovery did anew.
const CHANGED: &str = "select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::int8 from pg_stat_user_tables \
     where relname not like 'phoenix\\_dr\\_%'";

/// Fails where somebody is in the server, or has written to it, or where nobody can tell.
pub(super) async fn prove(
    clients: &Clients,
    call: &Call,
    (place, process): (&Place<'_>, &Process),
    mark: &Mark,
) -> Result<(), ActionError> {
    let id = &database(clients)?.recovered.id;
    let kept = |why: &str| {
        let message = format!(
            "{id} at {} {why}: that is nowhere else, and {} is not removed",
            place.server().listen,
            place.data().display()
        );
        Err(ActionError::unchanged(FailureClass::Conflict, message).hint(
            "point the application elsewhere first and see what it wrote, or keep the server: skip this step's revert with a reason",
        ))
    };
    // Until it has reached its target it takes no write.
    if process.recovers() {
        return Ok(());
    }
    if !process.running(clients).await? {
        // Of one that never counted as restored nobody was told.
        return match mark.restored && !mark.given_up {
            true => kept("does not run, so that nobody can tell what was written to it"),
            false => Ok(()),
        };
    }
    let mut session = match connect(clients, id, None).await {
        Ok(session) => session,
        Err(_) if !mark.restored => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if let Some(sessions) = stay(clients, call, &mut session, id).await? {
        return kept(&sessions);
    }
    for name in databases(clients, &mut session, id).await? {
        let changed = changed(clients, id, &name).await?;
        if changed > 0 {
            return kept(&format!("had {changed} rows changed in {name} since it was restored"));
        }
    }
    Ok(())
}

/// Waits until nobody is there any more; returns who stays.
async fn stay(
    clients: &Clients,
    call: &Call,
    session: &mut Session,
    id: &str,
) -> Result<Option<String>, ActionError> {
    let what = format!("ask {id} who uses it");
    let began = clients.clock.now();
    loop {
        let row = session.read_one(clients, &what, SESSIONS, &[]).await?;
        let (count, users): (i64, String) = (
            row.try_get(0).map_err(unreadable(&what))?,
            row.try_get(1).map_err(unreadable(&what))?,
        );
        let said = format!("has {count} sessions of {users}");
        if count == 0 {
            return Ok(None);
        }
        if since(began, clients.clock.now()) >= LEAVE_LIMIT {
            return Ok(Some(said));
        }
        call.progress.tell(format!("waiting for those to leave: it {said}"), None);
        clients.clock.sleep(PAUSE).await;
    }
}

async fn databases(
    clients: &Clients,
    session: &mut Session,
    id: &str,
) -> Result<Vec<String>, ActionError> {
    let what = format!("list the databases of {id}");
    let rows = session.read(clients, &what, DATABASES, &[]).await?;
    rows.iter().map(|row| row.try_get(0).map_err(unreadable(&what))).collect()
}

/// Returns how many rows were changed in a database. One that cannot be asked may have been written to.
async fn changed(clients: &Clients, id: &str, name: &str) -> Result<i64, ActionError> {
    let what = format!("count what was written in {name} on {id}");
    let mut session = connect_to(clients, id, name).await?;
    let row = session.read_one(clients, &what, CHANGED, &[]).await?;
    row.try_get(0).map_err(unreadable(&what))
}

fn unreadable(what: &str) -> impl Fn(tokio_postgres::Error) -> ActionError {
    move |error| ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
}
