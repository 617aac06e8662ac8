//! The control: whether this host can reach anything at all, looked at once a round.
//!
//! Without it a dead network card looks like a dead region.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::OnceCell;

use super::Seen;
use crate::clients::Clients;
use crate::clients::http::{self, Get};
use crate::runbook::catalogue::checks::Reach;

/// A control that takes longer than a signal may would only delay the gate.
const LIMIT: Duration = Duration::from_secs(3);

/// Gets a URL from this host; any HTTP answer will do.
pub(crate) async fn answers(clients: &Clients, url: &str) -> Result<(), String> {
    let get = Get { url, connect_to: None, limit: LIMIT, follow: false };
    match http::get(clients, &get).await {
        Ok(answer) if answer.proxied && matches!(answer.status, 502..=504) => {
            Err(format!("the proxy answered {}", answer.status))
        }
        Ok(_) => Ok(()),
        Err(failure) => Err(failure.to_string()),
    }
}

type Look = Arc<OnceCell<Result<(), String>>>;

/// One round of looks: each control is asked at most once in it.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// The quorum's control, for votes without one of their own
    shared: Option<String>,
    looks: Mutex<BTreeMap<String, Look>>,
}

impl Round {
    /// Returns the round of a check that stands alone.
    pub(crate) fn alone() -> Self {
        Self::default()
    }

    /// Returns the round of a quorum; without a control it has the one of the round around it.
    pub(crate) fn of_quorum(control: Option<&str>, around: &Self) -> Self {
        let shared = control.map(str::to_owned).or_else(|| around.shared.clone());
        Self { shared, looks: Mutex::default() }
    }

    /// Returns the control's URL and whether it answered in this round; `None` when there is none.
    pub(crate) async fn control(
        &self,
        clients: &Clients,
        own: Option<&str>,
    ) -> Option<(String, Result<(), String>)> {
        let url = own.or(self.shared.as_deref())?;
        let look = {
            let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(looks.entry(url.to_owned()).or_default())
        };
        let answered = look.get_or_init(|| answers(clients, url)).await;
        Some((url.to_owned(), answered.clone()))
    }
}

/// Says in a few words whether a control answered.
pub(crate) fn say(url: &str, answered: &Result<(), String>) -> String {
    match answered {
        Ok(()) => format!("{url} answers from this host"),
        Err(why) => format!("{url} does not answer from this host: {why}"),
    }
}

/// What an attempt to reach something found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reached {
    /// It answered
    Yes(String),
    /// Refused, reset or no answer in time
    No(String),
    /// This host's own trouble, perhaps: says nothing about the other side
    Unclear(String),
}

/// Judges what was found by what was expected: `unreachable` holds only while the control answers.
pub(crate) async fn judge(
    clients: &Clients,
    round: &Round,
    expect: Reach,
    own_control: Option<&str>,
    reached: Reached,
    value: Value,
) -> Seen {
    let said = match (reached, expect) {
        (Reached::Unclear(said), _) => return Seen::unclear(said),
        (Reached::Yes(said), Reach::Reachable) => return Seen::holds(said, value),
        (Reached::Yes(said), Reach::Unreachable) | (Reached::No(said), Reach::Reachable) => {
            return Seen::fails(said, value);
        }
        (Reached::No(said), Reach::Unreachable) => said,
    };
    match round.control(clients, own_control).await {
        None => Seen::unclear(format!("{said}, but there is no control to compare with")),
        Some((url, answered @ Ok(()))) => {
            Seen { control: Some(say(&url, &answered)), ..Seen::holds(said, value) }
        }
        Some((url, answered @ Err(_))) => {
            let control = say(&url, &answered);
            Seen {
                control: Some(control.clone()),
                ..Seen::unclear(format!("{said}, but {control}"))
            }
        }
    }
}
