//! Action `postgres.fence`: the old primary takes no more of the application's writes, and that is proved.
//!
//! `default_transaction_read_only` alone is no fence, for any session can switch it off: the application's roles lose
//! their login, their sessions are ended, and a write as each is tried that must fail. Where PostgreSQL cannot be made
//! to, the instance is cut off or stopped, or its writers are (`ladder`). What cannot be fenced at all an operator may go
//! on without by typing `unfenced`, which stays open until a check closes it.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::grants::permitted;
use super::holds::{Others, Whose, end_sessions, prove};
use super::ladder::{self, Closed, Writing};
use super::state::State;
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::postgres::{NoSession, READ_ONLY as SETTING, connect, database, literal};
use crate::clock::since;
use crate::engine::ports::{Armed, Call, Image, Observation, Performed, Waiver};
use crate::outcome::{ActionError, Difference, Effect, FailureClass, Fidelity, Obligation};
use crate::runbook::catalogue::actions::{FenceScope, PostgresFence};

pub(super) mod access;
mod canary;
pub(super) mod others;
mod rights;
mod whole;

/// Looks before a database that answers and does not let us in counts as out of reach: one that restarts refuses
/// connections for some seconds.
const TRIES_MAX: u32 = 4;
const PAUSE: Duration = Duration::from_secs(1);
/// A refusal comes sooner than this; what takes longer is silence, and has taken its time already.
const SILENCE: Duration = Duration::from_secs(1);

/// Whether another look may find what this one did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    No,
    Yes,
    /// Refused or reset, unless it was silence: nobody waits four times for a region that swallows packets
    IfAtOnce,
}

/// Why PostgreSQL itself cannot be made to fence.
enum NotBySql {
    /// Out of reach, or it does not let this program do it: there may be another way, and there is always the waiver
    Cannot { why: String, again: Again },
    /// It answers, and does not let this program do it
    Denied { why: String },
    /// Nobody was asked: without its password nothing is known of the database, least of all that it is dark
    NoPassword(ActionError),
    /// The estate or this program is wrong
    Wrong(ActionError),
}

impl From<ActionError> for NotBySql {
    fn from(error: ActionError) -> Self {
        match error.class {
            // A database that is starting, full, or does not know us any more is as good as dark: it must not block.
            FailureClass::Throttled
            | FailureClass::Transient
            | FailureClass::Timeout
            | FailureClass::Overdue
            | FailureClass::Credentials
            | FailureClass::NotFound => Self::Cannot {
                why: in_full(&error),
                again: if error.class.retryable() { Again::Yes } else { Again::No },
            },
            FailureClass::Denied => Self::Denied { why: in_full(&error) },
            FailureClass::Invalid
            | FailureClass::Conflict
            | FailureClass::Capacity
            | FailureClass::Refused
            | FailureClass::Unproved
            | FailureClass::Doubt
            | FailureClass::Internal => Self::Wrong(error),
        }
    }
}

/// Returns an error with what to do about it.
fn in_full(error: &ActionError) -> String {
    match &error.hint {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

impl From<NoSession> for NotBySql {
    fn from(error: NoSession) -> Self {
        match error {
            NoSession::Unreachable { address, said } | NoSession::Unclear { address, said } => {
                Self::Cannot { why: format!("{address}: {said}"), again: Again::IfAtOnce }
            }
            NoSession::NoPassword(error) => Self::NoPassword(error),
            NoSession::Damaged(error) | NoSession::Failed(error) => error.into(),
        }
    }
}

/// Looks whether the instance can be reached, what stands, and what is missing to fence it.
pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &PostgresFence,
) -> Result<Observation, ActionError> {
    roles(clients)?;
    let mut tries = 1;
    let why = loop {
        let asked = clients.clock.now();
        let (why, again) = match by_sql(clients, call, with).await {
            Ok(seen) => return Ok(seen),
            Err(NotBySql::Wrong(error)) => return Err(error),
            // The other ways need no password; to go without all of them it is no reason.
            Err(NotBySql::NoPassword(error)) => {
                let seen = ladder::observe(clients, with, &error.message, Writing::Counts).await;
                return seen.map_err(|_| error);
            }
            Err(NotBySql::Denied { why }) if with.scope == FenceScope::Database => {
                // What takes its place wants it closed: that only its writers ended would be found out after hours of
                // restoring.
                let seen = ladder::observe(clients, with, &why, Writing::IsNoFence).await;
                return Ok(seen.unwrap_or_else(|closed| dark(clients, with, &why, closed)));
            }
            Err(NotBySql::Denied { why }) => (why, Again::No),
            Err(NotBySql::Cannot { why, again }) => (why, again),
        };
        let at_once = since(asked, clients.clock.now()) < SILENCE;
        if tries == TRIES_MAX || again == Again::No || again == Again::IfAtOnce && !at_once {
            break why;
        }
        clients.clock.sleep(PAUSE * tries).await;
        tries += 1;
    };
    match ladder::observe(clients, with, &why, Writing::Counts).await {
        Ok(seen) => Ok(seen),
        Err(closed) => Ok(dark(clients, with, &why, closed)),
    }
}

/// Looks at the fence by SQL.
async fn by_sql(
    clients: &Clients,
    call: &Call,
    with: &PostgresFence,
) -> Result<Observation, NotBySql> {
    let known = database(clients)?;
    let instance = &with.instance;
    if with.scope == FenceScope::Database {
        return whole::look(clients, call, with).await;
    }
    let mut session = connect(clients, instance, None).await?;
    let roles = roles(clients)?;
    let state = State::read(clients, instance, &mut session, roles).await?;
    let sessions = Whose::Roles(roles).count(clients, instance, &mut session).await?;
    if state.in_recovery {
        let mut seen = Observation::new(state.shape(), state.shape());
        seen.evidence = vec![format!("{instance} replays another's writes and takes none")];
        return Ok(seen);
    }
    let fenced = state.fenced();
    let mut seen = Observation::new(state.shape(), fenced.shape());
    let statements = state.statements(&fenced, &known.name);
    if !statements.is_empty() || sessions > 0 {
        permitted(clients, instance, &mut session, roles).await?;
    }
    // Killed between the two halves: the locks are on and the sessions still write. To be carried on, not called done.
    seen.under_way = seen.satisfied && sessions > 0;
    seen.satisfied &= sessions == 0;
    seen.evidence = vec![format!(
        "{instance} at {} answers; {sessions} sessions of {}",
        session.address,
        roles.join(", ")
    )];
    seen.evidence.extend(Others::read(clients, instance, &mut session, roles).await?.evidence());
    seen.differences = differences(&state, &fenced, with, sessions);
    seen.commands = commands(clients, &session.address, &statements, Whose::Roles(roles));
    Ok(seen)
}

fn differences(
    state: &State,
    fenced: &State,
    with: &PostgresFence,
    sessions: i64,
) -> Vec<Difference> {
    let mut found = Vec::new();
    if state.setting != fenced.setting {
        found.push(Difference {
            what: format!("{} {SETTING}", with.instance),
            from: state.setting.clone().unwrap_or_else(|| "not set".to_owned()),
            to: "on".to_owned(),
        });
    }
    for (role, _) in state.logins.iter().filter(|(_, login)| **login) {
        found.push(Difference {
            what: format!("{} role {role}", with.instance),
            from: "may log in".to_owned(),
            to: "may not".to_owned(),
        });
    }
    if sessions > 0 {
        found.push(Difference {
            what: format!("{} sessions of the application", with.instance),
            from: sessions.to_string(),
            to: "0".to_owned(),
        });
    }
    found
}

fn commands(
    clients: &Clients,
    address: &str,
    statements: &[String],
    whose: Whose<'_>,
) -> Vec<String> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "5432"));
    let psql = by_hand::database::psql_at(&clients.estate, host, port);
    // One session for all of them: what begins read-write must end there.
    let mut sql: Vec<String> = vec!["begin read write".to_owned()];
    sql.extend(statements.iter().cloned());
    sql.push("commit".to_owned());
    sql.push(whose.terminate());
    vec![by_hand::database::statements(&psql, &sql)]
}

/// Returns the observation of an instance nothing can fence: it can only be gone without, knowingly.
fn dark(clients: &Clients, with: &PostgresFence, why: &str, closed: Closed) -> Observation {
    let PostgresFence { instance, region, .. } = with;
    let fenced = json!({ "reachable": true, "fenced": true });
    let mut seen = match closed.live {
        Some(live) => Observation::new(live, fenced),
        None => Observation {
            fidelity: Fidelity::Unreachable,
            ..Observation::new(json!({ "reachable": false }), fenced)
        },
    };
    let others = closed.why;
    seen.evidence = vec![format!("{instance}: {why}")];
    seen.evidence.extend(others.iter().cloned());
    let obligation = unfenced(
        clients,
        with,
        format!(
            "{instance} in {region} is not fenced: when it comes back it takes writes that the recovered database will not have"
        ),
    );
    if clients.open.contains(&obligation.id) {
        // Gone without before, and as dark as then: the obligation is open, and asking again would tell nobody more.
        seen.evidence.push(format!(
            "an earlier run went on without the fence, and `{}` is still open",
            obligation.id
        ));
        seen.satisfied = true;
        return seen;
    }
    seen.commands = by_hand::database::fence(&clients.estate, instance, region, with.scope);
    let tried = match others.as_slice() {
        [] => String::new(),
        others => format!(" Nothing else can cut it off either: {}.", others.join("; ")),
    };
    seen.waiver = Some(Waiver {
        why: format!(
            "{instance} cannot be fenced from here ({why}).{tried} If the application can still reach it, it keeps writing there and those writes are lost"
        ),
        word: "unfenced".to_owned(),
        obligation,
    });
    seen
}

/// Returns the obligation of a primary that may still take writes; a fence by SQL closes it.
pub(super) fn unfenced(clients: &Clients, with: &PostgresFence, say: String) -> Obligation {
    let PostgresFence { instance, region, .. } = with;
    let roles = roles(clients).unwrap_or_default();
    let listed: Vec<String> = roles.iter().map(|role| literal(role)).collect();
    let closed_by = (!listed.is_empty()).then(|| {
        json!({
            "check": "postgres.query",
            "title": format!("{instance} is fenced"),
            "with": {
                "instance": instance,
                "region": region,
                "sql": match with.scope {
                    FenceScope::Roles => format!(
                        "select not exists (select 1 from pg_roles where rolname in ({}) and rolcanlogin)",
                        listed.join(", ")
                    ),
                    FenceScope::Database => others::none_gets_in(&listed.join(", ")),
                },
            },
            "that": "value",
        })
    });
    Obligation {
        id: format!("unfenced-{instance}"),
        say,
        how: format!(
            "when {region} answers again, before anything there is started: fence {instance}, or stop or delete it"
        ),
        closed_by,
    }
}

/// Returns what stays open where the run goes on without the fence, or with somebody's word for it.
pub(crate) fn not_made(clients: &Clients, with: &PostgresFence) -> Obligation {
    let PostgresFence { instance, region, .. } = with;
    let say = format!(
        "{instance} in {region} was not fenced by this run, and nothing here has seen that it is: it may take writes"
    );
    unfenced(clients, with, say)
}

/// Returns the application's roles; fencing must neither do nothing nor lock this program out.
fn roles(clients: &Clients) -> Result<&[String], ActionError> {
    let connection = &database(clients)?.connection;
    let roles = connection.application_roles.as_slice();
    let invalid = |message: String| {
        ActionError::unchanged(FailureClass::Invalid, message)
            .hint("see `database.connection` in the estate file")
    };
    if roles.is_empty() {
        return Err(invalid(
            "`application_roles` names nobody: there is nothing to fence".to_owned(),
        ));
    }
    if roles.contains(&connection.user) {
        return Err(invalid(format!(
            "`{}` is the application's role and phoenix-dr's own: fencing it would lock phoenix-dr out",
            connection.user
        )));
    }
    Ok(roles)
}

/// Fences, ends the sessions, and proves it.
pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PostgresFence,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    if ladder::is_shape(&seen.live) {
        return ladder::perform(clients, call, with).await;
    }
    if with.scope == FenceScope::Database {
        return whole::perform(clients, call, with, seen).await;
    }
    let instance = &with.instance;
    let roles = roles(clients)?;
    let mut session = connect(clients, instance, None).await?;
    let state = State::read(clients, instance, &mut session, roles).await?;
    let fenced = state.fenced();
    if state.shape() != seen.live && state != fenced {
        return Err(changed(instance, &seen.live, &state.shape()));
    }
    call.progress.tell("blocking the application's logins", None);
    let mut notes = vec![format!("{} may no longer log in to {instance}", roles.join(", "))];
    notes.extend(state.fence(clients, instance, &mut session).await?);
    let applied = |error: ActionError| ActionError { effect: Effect::Applied, ..error };
    let whose = Whose::Roles(roles);
    let ended =
        end_sessions(clients, call, instance, &mut session, whose).await.map_err(applied)?;
    notes.push(format!("{ended} sessions ended; none came back"));
    notes.extend(prove(clients, instance, roles).await.map_err(applied)?);
    let others = Others::read(clients, instance, &mut session, roles).await.map_err(applied)?;
    let open = others.obligation(clients, with, &mut session).await.map_err(applied)?;
    notes.extend(others.evidence());
    Ok(Performed {
        after: fenced.shape(),
        outputs: Map::new(),
        obligations: open.into_iter().collect(),
        notes,
    })
}

fn changed(instance: &str, expected: &Value, now: &Value) -> ActionError {
    ActionError::unchanged(
        FailureClass::Conflict,
        format!(
            "the fence of {instance} was changed by someone else: expected {expected}, found {now}"
        ),
    )
}

/// Gives logins and the default back, if they are still as this run left them.
pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PostgresFence,
    image: &Image,
) -> Result<(), ActionError> {
    if ladder::is_shape(&image.before) {
        return ladder::revert(clients, call, with, image).await;
    }
    if with.scope == FenceScope::Database {
        return whole::revert(clients, call, with, image).await;
    }
    let (before, ours) = (State::of_shape(&image.before)?, State::of_shape(&image.ours)?);
    let roles: Vec<String> = before.logins.keys().cloned().collect();
    let mut session = connect(clients, &with.instance, None).await?;
    let now = State::read(clients, &with.instance, &mut session, &roles).await?;
    if now == before {
        return Ok(());
    }
    if now != ours {
        return Err(changed(&with.instance, &ours.shape(), &now.shape()));
    }
    now.lift(clients, &with.instance, &mut session, &before).await
}

#[cfg(test)]
mod came_over_tests;
#[cfg(test)]
mod proved_tests;
#[cfg(test)]
#[path = "fence_tests.rs"]
mod tests;
