//! How far a replica has replayed, and so how much its source's loss would cost.

use jiff::Timestamp;

use super::connect;
use crate::clients::Clients;
use crate::outcome::{ActionError, FailureClass};
use crate::span::Span;

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

/// Returns where the log of a server ends, in bytes: all it has committed is before that. `None`: it takes no writes.
pub(crate) async fn log_end(
    clients: &Clients,
    instance: &str,
    address: Option<&str>,
) -> Result<Option<u64>, ActionError> {
    let sql = "select case when not pg_is_in_recovery() then (pg_current_wal_flush_lsn() - '0/0')::int8 end";
    place(clients, instance, address, sql).await
}

/// Returns how far a replica has replayed its source's log, in bytes.
pub(crate) async fn replayed_to(
    clients: &Clients,
    instance: &str,
    address: Option<&str>,
) -> Result<u64, ActionError> {
    let sql = "select (pg_last_wal_replay_lsn() - '0/0')::int8";
    place(clients, instance, address, sql).await?.ok_or_else(|| {
        let message = format!("{instance} has replayed nothing");
        ActionError::unchanged(FailureClass::NotFound, message)
    })
}

async fn place(
    clients: &Clients,
    instance: &str,
    address: Option<&str>,
    sql: &str,
) -> Result<Option<u64>, ActionError> {
    let mut session = connect(clients, instance, address).await?;
    let what = format!("read the place in the log of {instance}");
    let row = session.read_one(clients, &what, sql, &[]).await?;
    let unreadable =
        |why: String| ActionError::unchanged(FailureClass::Internal, format!("{what}: {why}"));
    let place: Option<i64> = row.try_get(0).map_err(|error| unreadable(error.to_string()))?;
    place.map(|place| u64::try_from(place).map_err(|_| unreadable(place.to_string()))).transpose()
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
