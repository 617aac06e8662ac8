//! Whether anybody has used the restored server: what was written in it is nowhere else, and then it is not removed.

use std::time::Duration;

use super::place::{Mark, Place, Standing};
use super::server::Process;
use crate::clients::Clients;
use crate::clients::postgres::{Session, connect, connect_to, database};
use crate::clock::since;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};

/// An application that was pointed elsewhere leaves within this time: its pods are restarted one after another.
const LEAVE_LIMIT: Duration = Duration::from_secs(3 * 60);
const PAUSE: Duration = Duration::from_secs(1);
/// Who is there, this program apart. Of sessions the estate's user may know nothing of, all that is known is that they are there,
/// and whose: the server's own processes are of the role with the number 10.
const SESSIONS: &str = "select count(*), coalesce(string_agg(distinct usename::text, ', '), '') from pg_stat_activity \
     where usesysid is not null and pid <> pg_backend_pid() and coalesce(application_name, '') <> 'phoenix-dr' \
     and (backend_type in ('client backend', 'walsender') or (backend_type is null and usesysid <> 10))";
const DATABASES: &str =
    "select datname::text from pg_database where datallowconn and not datistemplate order by 1";
/// Rows that were changed since the server's statistics began, which its recovery did anew. What pg_cron notes as it starts is
/// nobody's.
const CHANGED: &str = "select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::int8 from pg_stat_user_tables \
     where relname not like 'phoenix\\_dr\\_%' and schemaname <> 'cron'";
const STANDING: &str = "select pg_postmaster_start_time()::text, \
     extract(epoch from pg_postmaster_start_time())::int8, pg_snapshot_xmax(pg_current_snapshot())::text";

/// Returns how the restored server stands; an error where what answers is another one.
pub(super) async fn standing(
    clients: &Clients,
    process: &Process,
) -> Result<Standing, ActionError> {
    let id = &database(clients)?.recovered.id;
    let mut session = connect(clients, id, None).await?;
    asked(clients, process, &mut session, id).await
}

async fn asked(
    clients: &Clients,
    process: &Process,
    session: &mut Session,
    id: &str,
) -> Result<Standing, ActionError> {
    let what = format!("ask {id} since when it runs");
    let row = session.read_one(clients, &what, STANDING, &[]).await?;
    let (started, at, next): (String, i64, String) = (
        row.try_get(0).map_err(unreadable(&what))?,
        row.try_get(1).map_err(unreadable(&what))?,
        row.try_get(2).map_err(unreadable(&what))?,
    );
    if !process.was_started(at) {
        let message =
            format!("{} is another server than the one that was restored", session.address);
        return Err(ActionError::unchanged(FailureClass::Conflict, message).hint(format!(
            "correct `database.addresses.{id}` in the estate file: it leads to another server"
        )));
    }
    let next = next.parse().map_err(|_| {
        ActionError::unchanged(FailureClass::Internal, format!("{what}: `{next}` is no number"))
    })?;
    Ok(Standing { started, next })
}

/// Fails where somebody is in the server, or has written to it, or where nobody can tell.
pub(super) async fn prove(
    clients: &Clients,
    call: &Call,
    (place, process): (&Place<'_>, &Process),
    mark: &Mark,
) -> Result<(), ActionError> {
    let id = &database(clients)?.recovered.id;
    let kept = |why: &str, hint: &str| {
        let message = format!(
            "{id} at {} {why}: what is written there is nowhere else, so {} is not removed",
            place.server().listen,
            place.data().display()
        );
        let hint = format!("{hint}, or keep the server: skip this step's revert with a reason");
        Err(ActionError::unchanged(FailureClass::Conflict, message).hint(hint))
    };
    // Until it has reached its target it takes no write.
    if process.recovers() {
        return Ok(());
    }
    if !process.running(clients).await? {
        let seen = mark.unused.or_else(|| mark.since.as_ref().map(|since| since.next));
        // One that never counted as restored nobody was told of.
        if !mark.restored || (seen.is_some() && process.next_transaction(clients).await? == seen) {
            return Ok(());
        }
        let start = format!("start it and try again: {}", process.by_hand());
        return kept(
            "does not run, and was written to since it was restored, or nobody can tell",
            &start,
        );
    }
    let mut session = match connect(clients, id, None).await {
        Ok(session) => session,
        Err(_) if !mark.restored => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let now = match asked(clients, process, &mut session, id).await {
        Err(error) if error.class == FailureClass::Conflict && !mark.restored => return Ok(()),
        now => now?,
    };
    let elsewhere = "point the application elsewhere first and see what it wrote";
    if let Some(sessions) = stay(clients, call, &mut session, id).await? {
        return kept(&sessions, elsewhere);
    }
    // One that ended unasked has lost count.
    if let Some(since) = mark.since.as_ref().filter(|since| since.started != now.started)
        && since.next != now.next
    {
        let wrote = now.next.saturating_sub(since.next);
        return kept(
            &format!(
                "was started again since it was restored, and {wrote} transactions wrote to it"
            ),
            elsewhere,
        );
    }
    for name in databases(clients, &mut session, id).await? {
        let changed = changed(clients, id, &name).await?;
        if changed > 0 {
            let why = format!("had {changed} rows changed in {name} since it was restored");
            return kept(&why, elsewhere);
        }
    }
    if mark.restored {
        // Killed once it is stopped, nobody could be asked any more who had used it.
        place.unused(mark, now.next);
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
    let mut session = connect_to(clients, id, name).await.map_err(|error| {
        ActionError::from(error).hint(format!(
            "whether {name} was written to is asked in it: let the estate's user connect to it, or skip this step's revert with a reason"
        ))
    })?;
    let row = session.read_one(clients, &what, CHANGED, &[]).await?;
    row.try_get(0).map_err(unreadable(&what))
}

fn unreadable(what: &str) -> impl Fn(tokio_postgres::Error) -> ActionError {
    move |error| ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
}
