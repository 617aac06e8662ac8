//! What SQL proves of an instance: that it takes writes and which one it is, or how far a replica has replayed.

use jiff::Timestamp;

use super::{Session, connect, database, identifier};
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
    /// When the source was last heard, while the replica streams from it
    pub last_heard: Option<Timestamp>,
}

impl Replay {
    /// Returns how much may be lost at most; `None` when it cannot be known.
    ///
    /// What was committed since the last commit replayed, unless the replica has everything it was sent and has
    /// heard its source since: then the source was idle until it was heard.
    pub(crate) fn lag(&self) -> Option<Span> {
        let heard = self.last_heard.filter(|_| self.caught_up);
        let last = self.last_commit.max(heard).filter(|_| self.in_recovery)?;
        let lag = crate::clock::since(last, self.now);
        // To the next whole second: digits beyond it would promise what clocks do not keep.
        let up = u64::from(lag.subsec_nanos() > 0);
        Some(Span::seconds(lag.as_secs() + up))
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
         coalesce(pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn(), false), \
         (select (extract(epoch from last_msg_receipt_time) * 1e6)::int8 from pg_stat_wal_receiver \
             where status = 'streaming')";
    let row = session.read_one(clients, &what, sql, &[]).await?;
    let instant = |micros: i64| Timestamp::from_microsecond(micros).ok();
    let unreadable = |error: tokio_postgres::Error| {
        ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
    };
    let last: Option<i64> = row.try_get(1).map_err(unreadable)?;
    let now: i64 = row.try_get(2).map_err(unreadable)?;
    let heard: Option<i64> = row.try_get(4).map_err(unreadable)?;
    Ok(Replay {
        in_recovery: row.try_get(0).map_err(unreadable)?,
        last_commit: last.and_then(instant),
        now: instant(now).unwrap_or_else(|| clients.clock.now()),
        caught_up: row.try_get(3).map_err(unreadable)?,
        last_heard: heard.and_then(instant),
    })
}

/// Returns how far behind its source a replica is at most; `None` when that cannot be known. Where the replica does
/// not hear its source, it climbs on an idle one without meaning anything lost: see [`Replay::caught_up`].
pub(crate) async fn replay_lag(
    clients: &Clients,
    instance: &str,
    region: &str,
    address: Option<&str>,
) -> Result<Option<Span>, ActionError> {
    Ok(replay(clients, instance, region, address).await?.lag())
}

/// What an instance that takes writes has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Writable {
    /// Tells this instance from the lost one
    pub identity: String,
    /// The old primary's fence had come over and was lifted here
    pub lifted_fence: bool,
}

/// Proves that an instance takes writes: a row is written by one connection and read back by another.
pub(crate) async fn prove_writable(
    clients: &Clients,
    instance: &str,
    region: &str,
    address: Option<&str>,
    run: &RunId,
) -> Result<Writable, ActionError> {
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
    let lifted_fence = lift_inherited_fence(clients, instance, &mut session).await?;
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
    Ok(Writable { identity, lifted_fence })
}

/// Lifts a fence that came over from the old primary with its other changes, by replication or in a backup: the
/// instance that takes over must let the application in and take its writes. Says whether there was one.
async fn lift_inherited_fence(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
) -> Result<bool, ActionError> {
    let database = database(clients)?;
    let roles = &database.connection.application_roles;
    // On the old primary itself the fence is meant.
    if roles.is_empty() || database.primary.id == instance {
        return Ok(false);
    }
    let what = format!("look for a fence that came over to {instance}");
    let sql = "select coalesce((select 'default_transaction_read_only=on' = any(setconfig) \
         from pg_db_role_setting join pg_database d on d.oid = setdatabase \
         where d.datname = current_database() and setrole = 0), false), \
         (select count(*) from pg_roles where rolname::text = any($1::text[]) and not rolcanlogin)";
    let row = session.read_one(clients, &what, sql, &[&roles]).await?;
    let read_only = row.try_get(0).unwrap_or(false);
    let locked: i64 = row.try_get(1).unwrap_or(0);
    // Only all of it together is the fence's work; a part of it may be somebody's own.
    if !read_only || usize::try_from(locked) != Ok(roles.len()) {
        return Ok(false);
    }
    let name = identifier(&database.name);
    let mut sql = vec![format!("alter database {name} reset default_transaction_read_only")];
    sql.extend(roles.iter().map(|role| format!("alter role {} login", identifier(role))));
    let statements: Vec<_> = sql.into_iter().map(|sql| (sql, Vec::new())).collect();
    let what = format!("lift the fence that came over to {instance}");
    session.change(clients, &what, &statements).await?;
    Ok(true)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Lag in seconds of a replica whose last commit and last word from its source are so many seconds old.
    fn lag(caught_up: bool, commit: Option<i64>, heard: Option<i64>) -> Option<u64> {
        let now = Timestamp::UNIX_EPOCH + Span::minutes(60).duration();
        let ago = |seconds: i64| Timestamp::from_second(3600 - seconds).expect("an instant");
        let (last_commit, last_heard) = (commit.map(ago), heard.map(ago));
        let replay = Replay { in_recovery: true, last_commit, now, caught_up, last_heard };
        replay.lag().map(|lag| lag.0.as_secs())
    }

    #[test]
    fn an_idle_source_is_no_lag_while_it_is_heard() {
        assert_eq!(lag(true, Some(290), Some(2)), Some(2));
        assert_eq!(lag(true, None, Some(3)), Some(3));
        assert_eq!(lag(true, Some(2), Some(9)), Some(2));
    }

    #[test]
    fn a_silent_source_counts_from_what_is_known() {
        assert_eq!(lag(true, Some(290), None), Some(290));
        assert_eq!(lag(true, Some(290), Some(50)), Some(50), "nothing was missing 50 s ago");
        assert_eq!(lag(false, Some(12), Some(1)), Some(12), "what is not replayed is behind");
        assert_eq!(lag(true, None, None), None);
        assert_eq!(lag(false, None, Some(1)), None);
    }

    #[test]
    fn a_lag_is_rounded_up() {
        let now = Timestamp::from_millisecond(10_200).expect("an instant");
        let last_commit = Timestamp::from_second(10).ok();
        let replay =
            Replay { in_recovery: true, last_commit, now, caught_up: false, last_heard: None };
        assert_eq!(replay.lag(), Some(Span::seconds(1)));
        assert_eq!(Replay { in_recovery: false, ..replay }.lag(), None);
    }
}
