//! Before a replica is promoted: what its source has committed is replayed first, where the source can still be asked.
//!
//! A fenced source commits nothing more, and a replica that streams from it has the rest within moments: not to wait for
//! that would lose what nobody had to lose.

use std::time::Duration;

use super::database;
use super::instance::{Instance, short};
use super::watch::Watch;
use crate::clients::{Clients, postgres};
use crate::clock::{since, within};
use crate::outcome::{ActionError, WARNS};
use crate::span::Span;

/// A source that says nothing for so long is gone; the outage does not wait for it.
const ASK_LIMIT: Duration = Duration::from_secs(4);
/// A replica that gets no further for so long has lost its source.
const STANDSTILL: Duration = Duration::from_secs(15);
/// Longest wait of all: the objective is nearer than the end of a backlog that takes longer.
const MOST: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_secs(1);

/// Waits until a replica has replayed what its source had committed when this began; notes what came of it.
///
/// Nothing here fails the promotion: its consent names a loss, and this only makes that smaller.
pub(super) async fn drained(
    clients: &Clients,
    replica: &Instance,
    watch: &Watch<'_>,
    notes: &mut Vec<String>,
) {
    let Ok(primary) = database(clients).map(|database| &database.primary.id) else { return };
    if replica.source.as_deref().map(short) != Some(primary) {
        return;
    }
    let asked = postgres::log_end(clients, primary, None);
    let end = match within(clients.clock.as_ref(), ASK_LIMIT, asked).await {
        Ok(Ok(Some(end))) => end,
        Ok(Ok(None)) => {
            return notes.push(format!("{primary} takes no writes: nothing of it is waited for"));
        }
        Ok(Err(error)) => return notes.push(not_asked(primary, &error.message)),
        Err(_) => return notes.push(not_asked(primary, "it did not answer")),
    };
    notes.push(match caught_up(clients, replica, watch, end).await {
        Ok(0) => format!("{} has replayed all that {primary} committed", replica.id),
        Ok(behind) => format!(
            "{WARNS}{} got no further, {behind} bytes of log behind {primary}: what they hold is lost",
            replica.id
        ),
        Err(error) => format!(
            "{WARNS}whether {} has all that {primary} committed is not known: {error}",
            replica.id
        ),
    });
}

fn not_asked(primary: &str, why: &str) -> String {
    format!("what {primary} committed last could not be waited for: {why}")
}

/// Waits for a place of the log; returns how many bytes are missing where it is not reached.
async fn caught_up(
    clients: &Clients,
    replica: &Instance,
    watch: &Watch<'_>,
    end: u64,
) -> Result<u64, ActionError> {
    let clock = clients.clock.as_ref();
    let began = clock.now();
    let (mut best, mut moved) = (None, began);
    loop {
        let at = postgres::replayed_to(clients, &replica.id, replica.endpoint.as_deref()).await?;
        let behind = end.saturating_sub(at);
        let now = clock.now();
        if best.is_none_or(|best| at > best) {
            (best, moved) = (Some(at), now);
        }
        let given_up = since(moved, now) >= STANDSTILL || since(began, now) >= MOST;
        if behind == 0 || given_up || !watch.goes_on() {
            return Ok(behind);
        }
        let waited = Span::seconds(since(began, now).as_secs());
        watch.tell(&format!("replays what its source committed, {behind} bytes to go, {waited}"));
        clock.sleep(PAUSE).await;
    }
}
