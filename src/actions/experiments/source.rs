//! Events as they are read: in the order of experiment and sequence, as one snapshot has them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use tokio_postgres::Row;

use super::fold::Event;
use super::layout::{Layout, Place, unreadable};
use super::moment::Moment;
use crate::clients::Clients;
use crate::clients::postgres::{
    Cursor, Held, Opening, Session, connect_with, literal, say_who_blocks,
};
use crate::outcome::{ActionError, FailureClass};

/// Which events are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    /// Experiments; `None`: all
    pub ids: Option<&'a BTreeSet<&'a str>>,
    /// The experiment after which to begin
    pub after: Option<&'a str>,
    /// Events that name no experiment were read before
    pub nameless: bool,
}

/// Events, one by one.
pub(super) struct Source {
    cursor: Cursor,
    what: String,
    /// Instant of the snapshot
    pub now: Timestamp,
}

impl Source {
    /// Takes a snapshot and begins to read.
    pub(super) async fn open(
        clients: &Clients,
        place: Place<'_>,
        layout: &Layout,
        scope: Scope<'_>,
    ) -> Result<Self, ActionError> {
        let what = format!("read the events in {} on {}", place.database, place.instance);
        let mut session = open(clients, place).await?;
        let process = session.process(clients, &what).await?;
        let sql = "select current_setting('server_version_num')::int4 / 10000";
        let major = session.read_one(clients, &what, sql, &[]).await?;
        let major: i32 = major.try_get(0).map_err(|error| unreadable(&what, &error))?;
        let major = major.try_into().unwrap_or_default();
        let held = Held::begin(clients, &what, session, major, &[]).await?;
        let now = held.read_one(&what, "select transaction_timestamp()", &[]).await?;
        let now: Moment = now.try_get(0).map_err(|error| unreadable(&what, &error))?;
        let now = now.timestamp().ok_or_else(|| {
            let message = format!("{what}: the server's clock shows no time there is");
            ActionError::unchanged(FailureClass::Invalid, message)
        })?;
        let (query, other) = (query(layout, scope), (place.instance, place.database));
        let opening = Cursor::open(held, &what, &query);
        let cursor = say_who_blocks(clients, &what, process, other, opening).await?;
        Ok(Self { cursor, what, now })
    }

    /// Returns the next event; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, ActionError> {
        let Some(row) = self.cursor.next().await? else { return Ok(None) };
        event(&row).map(Some).map_err(|error| unreadable(&self.what, &error))
    }
}

/// Opens a session in the database the experiments are in.
pub(super) async fn open(clients: &Clients, place: Place<'_>) -> Result<Session, ActionError> {
    // Reading plans as the server likes best; what takes long takes off the limits itself.
    let options = "-c statement_timeout=8000 -c lock_timeout=5000 -c jit=off";
    let opening = Opening { database: Some(place.database), options };
    Ok(connect_with(clients, place.instance, None, opening).await?)
}

fn event(row: &Row) -> Result<Event, tokio_postgres::Error> {
    Ok(Event {
        id: row.try_get(0)?,
        experiment: row.try_get(1)?,
        sequence: row.try_get(2)?,
        kind: row.try_get(3)?,
        payload: row.try_get(4)?,
        at: row.try_get(5)?,
        known: row.try_get(6)?,
    })
}

/// Returns the query of the events. Whether an experiment has a row is asked at its first event alone: rows are written beside this
/// snapshot, and a server that takes the table for empty would go through all of them for each event.
fn query(layout: &Layout, scope: Scope<'_>) -> String {
    let names = &layout.events;
    let (experiment, sequence, id) = (&names.experiment, &names.sequence, &names.id);
    let order = format!("order by e.{experiment}, e.{sequence}, e.{id}");
    format!(
        "select e.{id}::text, e.{experiment}::text, e.{sequence}::int8, e.{kind}::text, e.{payload}::text, \
         e.{at}::timestamptz, \
         case when lag(e.{experiment}::text) over ({order}) is distinct from e.{experiment}::text \
         then exists (select from {table} x where x.{own} = e.{experiment}) else false end \
         from {events} e where {condition} {order}",
        kind = names.kind,
        payload = names.payload,
        at = names.at,
        table = layout.table,
        own = layout.id.name,
        events = names.table,
        condition = condition(layout, scope),
    )
}

fn condition(layout: &Layout, scope: Scope<'_>) -> String {
    let (experiment, kind) = (&layout.events.experiment, &layout.id.kind);
    let mut all = Vec::new();
    if let Some(ids) = scope.ids {
        let ids: Vec<String> = ids.iter().map(|id| format!("{}::{kind}", literal(id))).collect();
        all.push(format!("e.{experiment} in ({})", ids.join(", ")));
    }
    if let Some(after) = scope.after {
        let after = format!("e.{experiment} > {}::{kind}", literal(after));
        all.push(match scope.nameless {
            true => after,
            false => format!("({after} or e.{experiment} is null)"),
        });
    } else if scope.nameless {
        all.push(format!("e.{experiment} is not null"));
    }
    if all.is_empty() { "true".to_owned() } else { all.join(" and ") }
}
