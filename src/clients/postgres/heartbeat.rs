//! The row a run writes to prove that an instance takes writes, and finds again to know that it was proved.

use super::tables::{find, place};
use super::{Parameter, Session, Writing};
use crate::clients::Clients;
use crate::ids::RunId;
use crate::outcome::{ActionError, FailureClass};

pub(super) const TABLE: &str = "phoenix_dr_heartbeat";
pub(super) const COLUMNS: &str =
    "run text primary key, identity text not null, at timestamptz not null";
/// The instant of a beat, from microseconds: exact, so that it tells one beat from another.
const AT: &str = "timestamptz 'epoch' + $3::int8 * interval '1 microsecond'";

/// One beat.
pub(super) struct Beat<'a> {
    run: &'a RunId,
    identity: &'a str,
    at: i64,
}

impl<'a> Beat<'a> {
    /// Writes a run's row in a transaction such as every session begins by default.
    pub(super) async fn write(
        clients: &Clients,
        instance: &str,
        session: &mut Session,
        run: &'a RunId,
        identity: &'a str,
    ) -> Result<Self, ActionError> {
        let place = place(clients, instance, session, TABLE, COLUMNS).await?;
        let beat = Self { run, identity, at: clients.clock.now().as_microsecond() };
        let mut statements: Vec<(String, Vec<Parameter<'_>>)> =
            place.prepare.into_iter().map(|sql| (sql, Vec::new())).collect();
        let insert = format!(
            "insert into {} (run, identity, at) values ($1, $2, {AT}) \
             on conflict (run) do update set identity = excluded.identity, at = excluded.at",
            place.table
        );
        statements.push((insert, vec![&run.0, &beat.identity, &beat.at]));
        let what = format!("write the heartbeat of {instance}");
        session.change_as(clients, &what, &statements, Writing::ByDefault).await?;
        Ok(beat)
    }

    /// Says whether a session's server has this very beat.
    pub(super) async fn is_in(
        &self,
        clients: &Clients,
        instance: &str,
        session: &mut Session,
    ) -> Result<bool, ActionError> {
        let Some(table) = find(clients, instance, session, TABLE).await? else { return Ok(false) };
        let what = format!("look for the heartbeat in {instance}");
        let sql = format!("select 1 from {table} where run = $1 and identity = $2 and at = {AT}");
        let parameters: [Parameter<'_>; 3] = [&self.run.0, &self.identity, &self.at];
        Ok(!session.read(clients, &what, &sql, &parameters).await?.is_empty())
    }
}

/// Says whether a run has ever written to what a session is in, under whatever identity that had then: a restart keeps the
/// rows and may change the rest.
pub(super) async fn has_row(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
    run: &RunId,
) -> Result<bool, ActionError> {
    let Some(table) = find(clients, instance, session, TABLE).await? else { return Ok(false) };
    let what = format!("look for what run {run} wrote to {instance}");
    let sql = format!("select 1 from {table} where run = $1");
    match session.read(clients, &what, &sql, &[&run.0]).await {
        Ok(rows) => Ok(!rows.is_empty()),
        // Somebody else's table of that name: no beat of ours is in it.
        Err(error) if error.class == FailureClass::Invalid => Ok(false),
        Err(error) => Err(error),
    }
}

/// Says whether a run has ever written to this very server.
pub(super) async fn has_beaten(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
    run: &RunId,
    identity: &str,
) -> Result<bool, ActionError> {
    let Some(table) = find(clients, instance, session, TABLE).await? else { return Ok(false) };
    let what = format!("look for the run's heartbeat in {instance}");
    let sql = format!("select 1 from {table} where run = $1 and identity = $2");
    match session.read(clients, &what, &sql, &[&run.0, &identity]).await {
        Ok(rows) => Ok(!rows.is_empty()),
        // Somebody else's table of that name: no beat of ours is in it.
        Err(error) if error.class == FailureClass::Invalid => Ok(false),
        Err(error) => Err(error),
    }
}
