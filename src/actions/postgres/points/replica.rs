//! The replica of a server of one's own: it has every page its primary wrote, and no step here takes it.

use std::time::Duration;

use jiff::Timestamp;

use super::{Asked, Damage, Point, PointKind, Points};
use crate::clients::Clients;
use crate::clients::postgres::connect;
use crate::clock::{Elapsed, since, within};
use crate::estate::types::DatabaseInstance;
use crate::outcome::{ActionError, FailureClass};
use crate::span::Span;

/// Whether it is a replica still, what it replayed last, how much it has.
const STATE: &str = "select pg_is_in_recovery(), \
     to_char(pg_last_xact_replay_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
     pg_database_size(current_database())";

/// How long it is asked: what cannot be taken anyhow must not hold up what can.
const LIMIT: Duration = Duration::from_secs(2);

/// What a replica says of itself.
struct State {
    in_recovery: bool,
    replayed: Option<Timestamp>,
    bytes: u64,
}

/// Returns the replica, as one that cannot be taken.
pub(super) async fn point(
    clients: &Clients,
    replica: &DatabaseInstance,
    asked: &Asked<'_>,
) -> Points {
    let id = replica.id.as_str();
    let asking = within(&*clients.clock, LIMIT, Box::pin(state(clients, id))).await;
    let (state, remarks) = match asking.unwrap_or_else(|elapsed| Err(late(&elapsed))) {
        Ok(state) => (Some(state), Vec::new()),
        Err(error) => {
            (None, vec![format!("how far the replica {id} has come is not known: {error}")])
        }
    };
    let replayed = state.as_ref().and_then(|state| state.replayed);
    let why = match &state {
        Some(state) if !state.in_recovery => {
            format!("{id} is no replica any more: it takes writes of its own")
        }
        Some(_) | None => format!(
            "{id} replays what its primary writes, damage as well; no step takes it: to go on with it all the same, read it by \
             `postgres.assess`, promote it by hand (select pg_promote()) and name it as `database.primary`"
        ),
    };
    let point = Point {
        id: format!("replica:{id}"),
        kind: PointKind::Replica,
        title: format!("replica {id}"),
        region: Some(replica.region.clone()),
        path: None,
        taken: replayed,
        age: replayed.map(|at| Span(since(at, asked.now))),
        until: None,
        lsn: None,
        loss: None,
        bytes: state.as_ref().map(|state| state.bytes),
        checksums: None,
        forecast: None,
        proved: None,
        disproved: None,
        // It follows until somebody stops it: whenever the damage began, it is behind that.
        damage: Damage::Same,
        missing: Vec::new(),
        target: None,
        packed: Vec::new(),
        unusable: Some(why),
        point: None,
        reversible: false,
        absent: false,
    };
    Points { points: vec![point], remarks, unread: Vec::new() }
}

fn late(elapsed: &Elapsed) -> ActionError {
    ActionError::unchanged(FailureClass::Transient, elapsed.to_string())
}

async fn state(clients: &Clients, id: &str) -> Result<State, ActionError> {
    let mut session = connect(clients, id, None).await?;
    let what = format!("ask {id} how far it has come");
    let row = session.read_one(clients, &what, STATE, &[]).await?;
    let unreadable = |error: tokio_postgres::Error| {
        ActionError::unchanged(FailureClass::Internal, format!("{what}: {error}"))
    };
    let replayed: Option<String> = row.try_get(1).map_err(unreadable)?;
    let bytes: i64 = row.try_get(2).map_err(unreadable)?;
    Ok(State {
        in_recovery: row.try_get(0).map_err(unreadable)?,
        replayed: replayed.and_then(|text| text.parse().ok()),
        bytes: bytes.try_into().unwrap_or_default(),
    })
}
