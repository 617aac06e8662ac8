//! The fence of a whole database: nobody but the operator gets in, what was in is ended, and a write fails.
//!
//! All of it is changed in one transaction: there is no half of it to be killed in. It is done from another database of the
//! server, which works where this one is full, read-only or too damaged to be entered, and leaves no trace in it.

use serde_json::{Map, Value};

use super::super::holds::{READ_ONLY, Tries, WRITE, Whose, end_sessions, writes_fail};
use super::super::restore::MAINTENANCE;
use super::super::server::{NAME_THE_PRIMARY, beside};
use super::access::{Access, Known};
use super::canary::Canaries;
use super::others::{Unreached, kept_out};
use super::rights::permitted;
use super::{NotBySql, commands, roles};
use crate::clients::Clients;
use crate::clients::postgres::marks::Comment;
use crate::clients::postgres::{NoSession, Session, connect, database};
use crate::engine::ports::{Call, Image, Observation, Performed};
use crate::outcome::{ActionError, Effect, FailureClass, Obligation, WARNS};
use crate::runbook::catalogue::actions::PostgresFence;

/// Returns the name of the database this run's fence is for: the estate's, or once this run has given that name to a restored
/// one, the name under which the damaged one is kept.
async fn meant(
    clients: &Clients,
    call: &Call,
    instance: &str,
    session: &mut Session,
) -> Result<String, ActionError> {
    let name = &database(clients)?.name;
    let what = format!("look for the database {name} on {instance}");
    let found = session.read(clients, &what, COMMENT, &[name]).await?;
    let comment = found.first().and_then(|row| row.try_get(0).ok()).map(Comment::read);
    let ours =
        |token: &str| token.strip_prefix(&call.run.0).is_some_and(|rest| rest.starts_with('/'));
    let cut_over = comment.and_then(|comment| comment.note.cut_over);
    let Some(cut_over) = cut_over.filter(|cut_over| ours(&cut_over.token)) else {
        return Ok(name.clone());
    };
    let found = session.read(clients, &what, NAME, &[&cut_over.damaged]).await?;
    found.first().and_then(|row| row.try_get(0).ok()).ok_or_else(|| {
        let message = format!("the damaged database that {instance} kept beside {name} is gone");
        ActionError::unchanged(FailureClass::Invalid, message)
            .hint("with it went its fence: nothing is left to give back")
    })
}

const COMMENT: &str = "select coalesce(shobj_description(oid, 'pg_database'), '') from pg_database where datname::text = $1";
const NAME: &str = "select datname::text from pg_database where oid::int8 = $1";

/// Looks who gets in, and what is missing to keep them out.
pub(super) async fn look(
    clients: &Clients,
    call: &Call,
    with: &PostgresFence,
) -> Result<Observation, NotBySql> {
    let (instance, roles) = (&with.instance, roles(clients)?);
    let mut session = beside(clients, instance).await?;
    let name = &meant(clients, call, instance, &mut session).await?;
    let known = Known::read(clients, instance, &mut session, name, roles).await?;
    let live = known.shape_of(&known.access);
    takes_writes(instance, &known)?;
    let whose = Whose::All { database: name };
    let sessions = whose.count(clients, instance, &mut session).await?;
    let statements = known.fence();
    let for_proof = match !statements.is_empty() || sessions > 0 {
        true => permitted(clients, instance, &mut session, &known, roles).await?,
        false => Vec::new(),
    };
    let mut seen = Observation::new(live, known.shape_of(&known.fenced()));
    // Killed between the two halves: nobody new gets in, and who was in still writes.
    seen.under_way = seen.satisfied && sessions > 0;
    seen.satisfied &= sessions == 0;
    seen.evidence = vec![format!(
        "{instance} at {} answers; {sessions} sessions in {name}, which {} owns",
        session.address, known.owner
    )];
    if !for_proof.is_empty() {
        seen.evidence.push(format!(
            "{WARNS}not all of the fence can be proved; as its administrator: {}",
            for_proof.join("; ")
        ));
    }
    let unreached = Unreached::read(clients, instance, &mut session, name, roles).await?;
    seen.evidence.extend(unreached.evidence());
    seen.obligations = unreached.obligations(with, &known);
    seen.differences = known.differences(instance);
    if sessions > 0 {
        seen.differences.push(crate::outcome::Difference {
            what: format!("{instance} {name} sessions"),
            from: sessions.to_string(),
            to: "0".to_owned(),
        });
    }
    seen.commands = commands(clients, &session.address, &statements, whose);
    Ok(seen)
}

/// Refuses a replica: nothing can be closed on it, and whoever takes it for the damaged database leaves that one open.
fn takes_writes(instance: &str, known: &Known) -> Result<(), ActionError> {
    if !known.in_recovery {
        return Ok(());
    }
    let message = format!(
        "{instance} replays another's writes: {} cannot be closed there, and where they come from it is open; nothing was \
         touched",
        known.name
    );
    Err(ActionError::unchanged(FailureClass::Invalid, message).hint(NAME_THE_PRIMARY))
}

/// Fences, ends the sessions, and proves it.
pub(super) async fn perform(
    clients: &Clients,
    call: &Call,
    with: &PostgresFence,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let (instance, roles) = (&with.instance, roles(clients)?);
    let mut session = beside(clients, instance).await?;
    let name = &meant(clients, call, instance, &mut session).await?;
    let known = Known::read(clients, instance, &mut session, name, roles).await?;
    takes_writes(instance, &known)?;
    let fenced = known.fenced();
    let ours = known.shape_of(&fenced);
    let foreign = foreign(&known.shape_of(&known.access), &seen.live, &ours);
    if !foreign.is_empty() {
        return Err(changed(with, name, &foreign));
    }
    let statements = known.fence();
    let canaries = match statements.as_slice() {
        [] => Canaries::too_late(),
        _ => Canaries::open(clients, instance, roles).await?,
    };
    call.progress.tell(format!("closing {name} to everybody but {}", known.operator), None);
    bring(clients, with, &mut session, &known, statements).await?;
    let applied = |error: ActionError| ActionError { effect: Effect::Applied, ..error };
    let whose = Whose::All { database: name };
    let ended =
        end_sessions(clients, call, instance, &mut session, whose).await.map_err(applied)?;
    let out = kept_out(clients, instance, &mut session, name, roles).await.map_err(applied)?;
    let ended = (ended - canaries.count()).max(0);
    let mut notes = vec![out, format!("{ended} sessions ended; none came back")];
    let old = canaries.prove_dead(clients, instance).await.map_err(applied)?;
    let new = proved(clients, instance, roles).await.map_err(applied)?;
    let untried: Vec<String> = old.untried.into_iter().chain(new.untried).collect();
    notes.extend(old.proved.into_iter().chain(new.proved));
    notes.extend(untried.iter().map(|line| format!("{WARNS}{line}")));
    let now = Known::read(clients, instance, &mut session, name, roles).await.map_err(applied)?;
    if now.access != fenced {
        let foreign = self::foreign(&now.shape_of(&now.access), &ours, &ours);
        return Err(applied(changed(with, name, &foreign)));
    }
    let unreached =
        Unreached::read(clients, instance, &mut session, name, roles).await.map_err(applied)?;
    notes.extend(unreached.evidence());
    let mut obligations = unreached.obligations(with, &known);
    obligations.extend(unproved(with, &known, &untried));
    Ok(Performed { after: ours, outputs: Map::new(), obligations, notes })
}

/// Proves in a session that begins behind the fence that writes fail.
async fn proved(clients: &Clients, instance: &str, roles: &[String]) -> Result<Tries, ActionError> {
    match connect(clients, instance, None).await {
        Ok(mut session) => writes_fail(clients, instance, &mut session, roles).await,
        Err(NoSession::Damaged(error)) => Ok(Tries {
            untried: vec![format!("no write was tried: its damage lets nobody in ({error})")],
            ..Tries::default()
        }),
        Err(error) => Err(error.into()),
    }
}

/// Returns what stays open where a fence stands and not all that should prove it could be tried.
fn unproved(with: &PostgresFence, known: &Known, untried: &[String]) -> Option<Obligation> {
    let instance = &with.instance;
    if untried.is_empty() {
        return None;
    }
    Some(Obligation {
        id: format!("unproved-fence-{instance}"),
        say: format!(
            "{} on {instance} is closed, and not all of it was proved: {}",
            known.name,
            untried.join("; ")
        ),
        how: format!(
            "as {}, in {}: set role ROLE; {WRITE}; it must fail with SQLSTATE {READ_ONLY}",
            known.operator, known.name
        ),
        closed_by: None,
    })
}

/// Gives back what was before, where all of it still is as this run left it.
pub(super) async fn revert(
    clients: &Clients,
    call: &Call,
    with: &PostgresFence,
    image: &Image,
) -> Result<(), ActionError> {
    let (instance, roles) = (&with.instance, roles(clients)?);
    let before = Access::of_shape(&image.before)?;
    let mut session = beside(clients, instance).await?;
    let name = &meant(clients, call, instance, &mut session).await?;
    let known = Known::read(clients, instance, &mut session, name, roles).await?;
    if known.access == before {
        return Ok(());
    }
    let foreign = foreign(&known.shape_of(&known.access), &image.before, &image.ours);
    if !foreign.is_empty() {
        return Err(changed(with, name, &foreign));
    }
    bring(clients, with, &mut session, &known, known.restore(&before)).await
}

/// Changes a database in one transaction, and makes that last only where it was still as known.
///
/// What a transaction has changed nobody else changes until it ends: another session then sees what was there before, which
/// may be what somebody wrote after it was read.
async fn bring(
    clients: &Clients,
    with: &PostgresFence,
    session: &mut Session,
    known: &Known,
    statements: Vec<String>,
) -> Result<(), ActionError> {
    if statements.is_empty() {
        return Ok(());
    }
    let (instance, name, roles) = (&with.instance, &known.name, roles(clients)?);
    let mut looking = beside(clients, instance).await?;
    let as_known = async {
        let now = Known::read(clients, instance, &mut looking, name, roles).await?;
        if now == *known {
            return Ok(());
        }
        let expected = known.shape_of(&known.access);
        let mut foreign = foreign(&now.shape_of(&now.access), &expected, &expected);
        if foreign.is_empty() {
            foreign.push("its owner or its comment is another one".to_owned());
        }
        Err(changed(with, name, &foreign))
    };
    let statements: Vec<_> = statements.into_iter().map(|sql| (sql, Vec::new())).collect();
    let what = format!("change who gets into {name} on {instance}");
    let other = (instance.as_str(), MAINTENANCE);
    session.change_while_or_say_who_blocks(clients, &what, &statements, other, as_known).await
}

/// Says which parts are neither as before nor as this run wrote them, a line each.
fn foreign(now: &Value, before: &Value, ours: &Value) -> Vec<String> {
    let (Value::Object(now), Value::Object(before), Value::Object(ours)) = (now, before, ours)
    else {
        return vec![format!("expected {ours}, found {now}")];
    };
    let mut keys: Vec<&String> = now.keys().chain(ours.keys()).collect();
    keys.sort();
    keys.dedup();
    let part = |of: &Map<String, Value>, key: &str| of.get(key).cloned().unwrap_or(Value::Null);
    let mut found = Vec::new();
    for key in keys {
        let (now, before, ours) = (part(now, key), part(before, key), part(ours, key));
        if now == before || now == ours {
            continue;
        }
        if key == "roles" {
            found.extend(foreign(&now, &before, &ours));
        } else {
            found.push(format!("{key}: expected {ours}, found {now}"));
        }
    }
    found
}

fn changed(with: &PostgresFence, name: &str, foreign: &[String]) -> ActionError {
    let message = format!(
        "who gets into {name} on {} was changed by someone else: {}",
        with.instance,
        foreign.join("; ")
    );
    ActionError::unchanged(FailureClass::Conflict, message)
        .hint("find out who, and put it as expected or leave it; nothing of it was overwritten")
}

#[cfg(test)]
#[path = "whole_tests.rs"]
mod tests;
