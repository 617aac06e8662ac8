//! What SQL proves of an instance: that it takes writes, and that it is not the lost one.

use super::connect::connect_straight;
use super::heartbeat::{Beat, has_beaten, has_row};
use super::server::{Lineage, Server, ask};
use super::{NoSession, Session, connect, database, fence, identifier};
use crate::clients::Clients;
use crate::ids::RunId;
use crate::outcome::{ActionError, FailureClass};

/// What an instance that takes writes has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Writable {
    /// Tells this instance from the lost one
    pub identity: String,
    /// The old primary's fence had come over and was lifted here
    pub lifted_fence: bool,
    /// Roles of the application that may not log in, or not to its database, whoever decided that
    pub locked: Vec<String>,
}

/// Proves that an instance takes writes: a row is written by one connection and read back by another.
///
/// `before` is what its replica said before it was promoted: a promotion keeps the system and begins a new timeline.
pub(crate) async fn prove_writable(
    clients: &Clients,
    instance: &str,
    region: &str,
    address: Option<&str>,
    run: &RunId,
    before: Option<&Lineage>,
) -> Result<Writable, ActionError> {
    let mut session = connect(clients, instance, address).await?;
    let server = ask(clients, instance, &mut session).await?;
    if server.in_recovery {
        return Err(ActionError::unchanged(
            FailureClass::Transient,
            format!("{instance} in {region} is still in recovery: it takes no writes"),
        ));
    }
    descends(instance, &server, before)?;
    let mut primary = primary(clients, instance).await?;
    if let Some(primary) = &mut primary {
        let (id, found) = (&primary.id, ask(clients, &primary.id, &mut primary.session).await);
        // Answered and then gone: there is nothing to compare with any more.
        if found.is_ok_and(|found| found.is(&server)) {
            return Err(mistaken(instance, id, "both are one server"));
        }
    }
    let name = &database(clients)?.name;
    // On the old primary itself the fence is meant.
    let lifted_fence = instance != database(clients)?.primary.id
        && fence::lift(clients, instance, &mut session, name).await?;
    // A session keeps the defaults it began with: what was lifted shows in a new one only.
    let mut session = connect(clients, instance, address).await?;
    writes_by_default(clients, instance, &mut session).await?;
    let identity = server.identity();
    let beat = Beat::write(clients, instance, &mut session, run, &identity).await?;
    let mut other = connect(clients, instance, address).await?;
    if !beat.is_in(clients, instance, &mut other).await? {
        return Err(ActionError::unchanged(
            FailureClass::Transient,
            format!("read the heartbeat of {instance} back: the row written before is not there"),
        )
        .hint("is its address the same server for every connection?"));
    }
    if let Some(primary) = &mut primary
        && beat.is_in(clients, &primary.id, &mut primary.session).await.is_ok_and(|found| found)
    {
        return Err(mistaken(instance, &primary.id, "what was written to one is in the other"));
    }
    let locked = locked(clients, instance, &mut other).await?;
    Ok(Writable { identity, lifted_fence, locked })
}

/// Whether a run has proved before that an instance takes writes, and nothing says otherwise since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stands {
    Proved,
    NotYet { why: String },
}

/// Looks, by reads only, whether an instance stands as a run left it: takes writes, is free of a fence that came over,
/// and has the run's heartbeat.
pub(crate) async fn stands(
    clients: &Clients,
    instance: &str,
    address: Option<&str>,
    run: &RunId,
) -> Result<Stands, ActionError> {
    let not_yet = |why: String| Ok(Stands::NotYet { why });
    let mut session = connect(clients, instance, address).await?;
    let server = ask(clients, instance, &mut session).await?;
    if server.in_recovery {
        return not_yet(format!("{instance} is still in recovery"));
    }
    let is_primary = database(clients)?.primary.id == instance;
    let name = &database(clients)?.name;
    if !is_primary && fence::stands(clients, instance, &mut session, name).await? {
        return not_yet(format!("the old primary's fence has come over to {instance}"));
    }
    if let Err(error) = writes_by_default(clients, instance, &mut session).await {
        return not_yet(error.message);
    }
    if !has_beaten(clients, instance, &mut session, run, &server.identity()).await? {
        return not_yet(format!("run {run} has not proved yet that {instance} takes writes"));
    }
    Ok(Stands::Proved)
}

/// Looks whether the connection to an instance leads to the server a run has written to, and that takes writes.
///
/// An address may lead elsewhere than it says, and a server may have another address and begin anew: the run's row is there
/// or is not.
pub(crate) async fn leads_to_written(
    clients: &Clients,
    instance: &str,
    address: Option<&str>,
    run: &RunId,
) -> Result<Stands, ActionError> {
    let mut session = connect(clients, instance, address).await?;
    written(clients, instance, &mut session, run).await
}

/// The same of an address as it is, whatever way the estate names to the instance that is meant to be there.
pub(crate) async fn way_leads_to_written(
    clients: &Clients,
    (instance, given): (&str, &str),
    address: &str,
    run: &RunId,
) -> Result<Stands, NoSession> {
    let mut session = connect_straight(clients, (instance, given), address).await?;
    written(clients, address, &mut session, run).await.map_err(NoSession::Failed)
}

async fn written(
    clients: &Clients,
    what: &str,
    session: &mut Session,
    run: &RunId,
) -> Result<Stands, ActionError> {
    let not_yet = |why: String| Ok(Stands::NotYet { why });
    if ask(clients, what, session).await?.in_recovery {
        return not_yet(format!("{what} leads to a replica, which takes no writes"));
    }
    if !has_row(clients, what, session, run).await? {
        return not_yet(format!("{what} leads to a server that has nothing {run} wrote"));
    }
    Ok(Stands::Proved)
}

/// Refuses a server that is not what became of the replica.
fn descends(instance: &str, now: &Server, before: Option<&Lineage>) -> Result<(), ActionError> {
    let (Some(before), Some(now)) = (before, &now.lineage) else { return Ok(()) };
    if now.system != before.system {
        let why =
            format!("its system identifier is {}, the replica's was {}", now.system, before.system);
        return Err(wrong(instance, &why));
    }
    if now.timeline <= before.timeline {
        let why = format!(
            "it is on timeline {}, and the replica was on {} before it was promoted",
            now.timeline, before.timeline
        );
        return Err(wrong(instance, &why));
    }
    Ok(())
}

fn mistaken(instance: &str, primary: &str, why: &str) -> ActionError {
    wrong(instance, &format!("it leads to the lost database {primary}: {why}"))
}

fn wrong(instance: &str, why: &str) -> ActionError {
    let message = format!("the connection to {instance} leads to another server: {why}");
    ActionError::unchanged(FailureClass::Conflict, message).hint(format!(
        "correct `database.addresses.{instance}` or the port forward (`via`) in the estate file, then retry"
    ))
}

/// The lost database, where it answers after all.
struct Primary {
    id: String,
    session: Session,
}

async fn primary(clients: &Clients, instance: &str) -> Result<Option<Primary>, ActionError> {
    let id = &database(clients)?.primary.id;
    if id == instance {
        return Ok(None);
    }
    // Nobody there, or nobody who lets us in: nothing to compare with.
    let session = connect(clients, id, None).await.ok();
    Ok(session.map(|session| Primary { id: id.clone(), session }))
}

/// Refuses a server on which sessions are read-only unless they say otherwise: the application does not.
async fn writes_by_default(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
) -> Result<(), ActionError> {
    let what = format!("read how transactions begin on {instance}");
    let sql = "select setting = 'on', source from pg_settings where name = 'default_transaction_read_only'";
    let row = session.read_one(clients, &what, sql, &[]).await?;
    if !row.try_get(0).unwrap_or(false) {
        return Ok(());
    }
    let source: String = row.try_get(1).unwrap_or_default();
    let known = database(clients)?;
    let (name, user) = (identifier(&known.name), identifier(&known.connection.user));
    let reset = match source.as_str() {
        "database" => format!("alter database {name} reset default_transaction_read_only"),
        "user" => format!("alter role {user} reset default_transaction_read_only"),
        "database user" => {
            format!("alter role {user} in database {name} reset default_transaction_read_only")
        }
        _ => "alter system reset default_transaction_read_only; select pg_reload_conf()".to_owned(),
    };
    let message = format!(
        "{instance} begins transactions read-only (set by {source}), and no fence of phoenix-dr is on record there"
    );
    Err(ActionError::unchanged(FailureClass::Invalid, message).hint(format!(
        "if nobody means it to be so: set default_transaction_read_only = off; {reset} (on RDS a server's setting is its \
         parameter group's); then retry"
    )))
}

/// Returns the application's roles that may not log in, or not to this database.
async fn locked(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
) -> Result<Vec<String>, ActionError> {
    let roles = &database(clients)?.connection.application_roles;
    let what = format!("read who may log in to {instance}");
    let sql = "select rolname::text from pg_roles where rolname::text = any($1::text[]) and (not rolcanlogin \
         or not has_database_privilege(oid, current_database(), 'CONNECT')) order by 1";
    let rows = session.read(clients, &what, sql, &[roles]).await?;
    Ok(rows.iter().filter_map(|row| row.try_get(0).ok()).collect())
}
