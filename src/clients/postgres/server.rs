//! Which server a connection leads to: what tells the recovered database from the lost one.

use std::fmt;
use std::str::FromStr;

use super::{Session, connect};
use crate::clients::Clients;
use crate::outcome::{ActionError, FailureClass};

/// Where a server's data comes from: restored and promoted servers keep the system and begin a new timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lineage {
    pub system: String,
    pub timeline: u32,
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.system, self.timeline)
    }
}

impl FromStr for Lineage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || format!("`{text}` is not system/timeline");
        let (system, timeline) = text.split_once('/').ok_or_else(bad)?;
        let timeline = timeline.parse().map_err(|_| bad())?;
        Ok(Self { system: system.to_owned(), timeline })
    }
}

/// A server as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// `None` where it keeps that to itself, as managed servers may
    pub lineage: Option<Lineage>,
    /// Its own address and the instant it started: two servers never have both in common
    pub process: String,
    /// It replays another's writes and takes none
    pub in_recovery: bool,
}

impl Server {
    /// Returns what tells it from any other, in one word.
    pub(crate) fn identity(&self) -> String {
        self.lineage.as_ref().map_or_else(|| self.process.clone(), Lineage::to_string)
    }

    /// Says whether both are one and the same server.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.process == other.process && self.lineage == other.lineage
    }
}

/// Asks an instance which server it is.
pub(crate) async fn server(
    clients: &Clients,
    instance: &str,
    address: Option<&str>,
) -> Result<Server, ActionError> {
    let mut session = connect(clients, instance, address).await?;
    ask(clients, instance, &mut session).await
}

/// Asks the server of a session which one it is.
pub(super) async fn ask(
    clients: &Clients,
    instance: &str,
    session: &mut Session,
) -> Result<Server, ActionError> {
    let what = format!("read the identity of {instance}");
    let sql = "select coalesce(host(inet_server_addr()), 'local') || ':' || coalesce(inet_server_port(), 0) \
         || ' since ' || extract(epoch from pg_postmaster_start_time()), pg_is_in_recovery()";
    let row = session.read_one(clients, &what, sql, &[]).await?;
    let unreadable = |error: tokio_postgres::Error| {
        ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
    };
    let process = row.try_get(0).map_err(unreadable)?;
    let in_recovery = row.try_get(1).map_err(unreadable)?;
    Ok(Server { lineage: lineage(clients, &what, session).await?, process, in_recovery })
}

async fn lineage(
    clients: &Clients,
    what: &str,
    session: &mut Session,
) -> Result<Option<Lineage>, ActionError> {
    // The control file names the new timeline only after the first checkpoint: what takes writes is asked for its log.
    let sql = "select (select system_identifier::text from pg_control_system()), \
         case when pg_is_in_recovery() then (select timeline_id::int8 from pg_control_checkpoint()) \
         else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int8 end";
    let row = match session.read_one(clients, what, sql, &[]).await {
        Ok(row) => row,
        // Managed servers may keep these functions to themselves; address and start tell servers apart as well.
        Err(error) if error.class == FailureClass::Denied => return Ok(None),
        Err(error) => return Err(error),
    };
    let unreadable =
        |error: String| ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"));
    let system = row.try_get(0).map_err(|error| unreadable(error.to_string()))?;
    let timeline: i64 = row.try_get(1).map_err(|error| unreadable(error.to_string()))?;
    let timeline = timeline.try_into().map_err(|_| unreadable(format!("timeline {timeline}")))?;
    Ok(Some(Lineage { system, timeline }))
}

/// Says whether the connections to two instances lead to one server. Where nobody answers for the other, they do not.
///
/// A wrong address, or a port forward to the wrong host, would make the lost database pass for the recovered one.
pub(crate) async fn leads_to(
    clients: &Clients,
    instance: &str,
    other: &str,
) -> Result<bool, ActionError> {
    let (found, other) =
        futures::join!(server(clients, instance, None), server(clients, other, None));
    let found = found?;
    Ok(other.is_ok_and(|other| other.is(&found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lineage_is_read_as_it_is_written() {
        let lineage = Lineage { system: "7301".to_owned(), timeline: 12 };
        assert_eq!(lineage.to_string().parse(), Ok(lineage));
        for bad in ["", "7301", "7301/", "7301/x"] {
            assert!(bad.parse::<Lineage>().is_err(), "{bad}");
        }
    }
}
