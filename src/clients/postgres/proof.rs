//! What SQL proves of an instance: that it takes writes and which one it is, or how far a replica has replayed.

use jiff::Timestamp;

use super::{Session, connect};
use crate::clients::Clients;
use crate::ids::RunId;
use crate::outcome::{ActionError, FailureClass};
use crate::span::Span;

const TABLE: &str = "phoenix_dr_heartbeat";
/// Used where the user may not create tables in `public`.
const OWN_SCHEMA: &str = "phoenix_dr";

/// How far a replica has replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replay {
    /// False: it is no replica (any more)
    pub in_recovery: bool,
    /// Commit time of the last transaction replayed; what was committed on the source after it is lost with the source
    pub last_commit: Option<Timestamp>,
    /// The replica's own clock, so that a difference does not depend on this host's
    pub now: Timestamp,
    /// Everything received is replayed. Then an old `last_commit` may only mean that the source was idle, and the lag
    /// computed from it is an upper bound
    pub caught_up: bool,
}

impl Replay {
    /// Returns the time since the last commit replayed: at most so much is lost. `None` when it cannot be known.
    pub(crate) fn lag(&self) -> Option<Span> {
        let last = self.last_commit.filter(|_| self.in_recovery)?;
        Some(Span(crate::clock::since(last, self.now)))
    }
}

/// Asks a replica how far it has replayed.
pub(crate) async fn replay(
    clients: &Clients,
    instance: &str,
    region: &str,
    address: Option<&str>,
) -> Result<Replay, ActionError> {
    let mut session = connect(clients, instance, address).await?;
    let what = format!("read the replay state of {instance} in {region}");
    let sql = "select pg_is_in_recovery(), \
         (extract(epoch from pg_last_xact_replay_timestamp()) * 1e6)::int8, \
         (extract(epoch from clock_timestamp()) * 1e6)::int8, \
         coalesce(pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn(), false)";
    let row = session.read_one(clients, &what, sql, &[]).await?;
    let instant = |micros: i64| Timestamp::from_microsecond(micros).ok();
    let unreadable = |error: tokio_postgres::Error| {
        ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
    };
    let last: Option<i64> = row.try_get(1).map_err(unreadable)?;
    let now: i64 = row.try_get(2).map_err(unreadable)?;
    Ok(Replay {
        in_recovery: row.try_get(0).map_err(unreadable)?,
        last_commit: last.and_then(instant),
        now: instant(now).unwrap_or_else(|| clients.clock.now()),
        caught_up: row.try_get(3).map_err(unreadable)?,
    })
}

/// Returns how far behind its source a replica is at most; `None` when that cannot be known. On an idle source it
/// climbs without meaning anything lost: see [`Replay::caught_up`].
pub(crate) async fn replay_lag(
    clients: &Clients,
    instance: &str,
    region: &str,
    address: Option<&str>,
) -> Result<Option<Span>, ActionError> {
    Ok(replay(clients, instance, region, address).await?.lag())
}

/// Proves that an instance takes writes: a row is written by one connection and read back by another. Returns what
/// tells this instance from the lost one.
pub(crate) async fn prove_writable(
    clients: &Clients,
    instance: &str,
    region: &str,
    address: Option<&str>,
    run: &RunId,
) -> Result<String, ActionError> {
    let mut session = connect(clients, instance, address).await?;
    let what = format!("ask {instance} in {region} for its role");
    let row = session.read_one(clients, &what, "select pg_is_in_recovery()", &[]).await?;
    if row.try_get(0).unwrap_or(true) {
        return Err(ActionError::unchanged(
            FailureClass::Transient,
            format!("{instance} in {region} is still in recovery: it takes no writes"),
        ));
    }
    let identity = identity(clients, instance, &mut session).await?;
    let table = beat(clients, instance, &mut session, run).await?;
    let mut other = connect(clients, instance, address).await?;
    let what = format!("read the heartbeat of {instance} back");
    let sql = format!("select 1 from {table} where run = $1 and identity = $2");
    let found = other.read(clients, &what, &sql, &[&run.0, &identity]).await?;
    if found.len() != 1 {
        return Err(ActionError::unchanged(
            FailureClass::Transient,
            format!("{what}: the row written before is not there"),
        )
        .hint("is its address the same server for every connection?"));
    }
    Ok(identity)
}

/// Returns the system's identifier and timeline: a promotion begins a new one, a restore as well.
async fn identity(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
) -> Result<String, ActionError> {
    let what = format!("read the identity of {instance}");
    let exact = "select (select system_identifier::text from pg_control_system()) \
         || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";
    let sql = match session.read_one(clients, &what, exact, &[]).await {
        Ok(row) => return text(&row, &what),
        // Managed servers may keep these functions to themselves; what is left tells servers apart as well.
        Err(error) if error.class == FailureClass::Denied => {
            "select coalesce(host(inet_server_addr()), 'local') || ':' || coalesce(inet_server_port(), 0) \
             || ' since ' || extract(epoch from pg_postmaster_start_time())::int8"
        }
        Err(error) => return Err(error),
    };
    text(&session.read_one(clients, &what, sql, &[]).await?, &what)
}

fn text(row: &tokio_postgres::Row, what: &str) -> Result<String, ActionError> {
    row.try_get(0)
        .map_err(|error| ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}")))
}

/// Writes the run's heartbeat row; returns the table it is in.
async fn beat(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
    run: &RunId,
) -> Result<String, ActionError> {
    let what = format!("find a place for the heartbeat of {instance}");
    let sql = "select to_regclass('public.phoenix_dr_heartbeat') is not null, \
         to_regclass('phoenix_dr.phoenix_dr_heartbeat') is not null, \
         coalesce(has_schema_privilege(to_regnamespace('public')::oid, 'CREATE'), false), \
         has_database_privilege(current_database(), 'CREATE')";
    let row = session.read_one(clients, &what, sql, &[]).await?;
    let flag = |index: usize| row.try_get::<_, bool>(index).unwrap_or(false);
    let (schema, prepare) = match (flag(0), flag(1), flag(2), flag(3)) {
        (true, _, _, _) => ("public", Vec::new()),
        (false, true, _, _) => (OWN_SCHEMA, Vec::new()),
        (false, false, true, _) => ("public", vec![create("public")]),
        (false, false, false, true) => {
            let schema = format!("create schema if not exists {OWN_SCHEMA}");
            (OWN_SCHEMA, vec![schema, create(OWN_SCHEMA)])
        }
        (false, false, false, false) => {
            return Err(ActionError::unchanged(
                FailureClass::Denied,
                format!("there is no place for a heartbeat table in {instance}"),
            )
            .hint("grant CREATE on the database to `database.connection.user`"));
        }
    };
    let table = format!("{schema}.{TABLE}");
    let identity = identity(clients, instance, session).await?;
    let mut statements: Vec<(String, Vec<super::Parameter<'_>>)> =
        prepare.into_iter().map(|sql| (sql, Vec::new())).collect();
    let insert = format!(
        "insert into {table} (run, identity, at) values ($1, $2, now()) \
         on conflict (run) do update set identity = excluded.identity, at = excluded.at"
    );
    statements.push((insert, vec![&run.0, &identity]));
    let what = format!("write the heartbeat of {instance}");
    session.change(clients, &what, &statements).await?;
    Ok(table)
}

fn create(schema: &str) -> String {
    format!(
        "create table if not exists {schema}.{TABLE} \
         (run text primary key, identity text not null, at timestamptz not null)"
    )
}
