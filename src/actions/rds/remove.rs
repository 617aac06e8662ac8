//! Taking a restore back: deletes the instance this run made, and nothing anybody else has written.
//!
//! A last snapshot is left out only of what nobody can have written to: what has never come up, and what was asked and is as
//! it was restored. A state that says nothing of that, full, stopped or unheard of, is no reason to leave it out.

use std::time::Duration;

use serde_json::Value;

use super::instance::{Instance, Phase};
use super::restore::{foreign, ours};
use super::watch::Watch;
use super::{applied, change_failure, proof};
use crate::clients::Clients;
use crate::engine::ports::{Call, Image};
use crate::outcome::{ActionError, FailureClass};
use crate::shell;
use crate::span::Span;

/// State of an instance that nobody has ever been able to use; one that has left it never comes back to it.
const NEVER_UP: &str = "creating";

/// States in which RDS makes no last snapshot, whatever is in the instance.
const NO_SNAPSHOT: [&str; 3] = ["failed", "incompatible-network", "incompatible-restore"];

/// An application that was pointed elsewhere leaves within this time: its pods are restarted one after another.
const LEAVE_LIMIT: Duration = Duration::from_secs(3 * 60);

/// Deletes the instance if it is this run's, and waits until it is gone.
pub(super) async fn revert(
    clients: &Clients,
    call: &Call,
    region: &str,
    target: &str,
    image: &Image,
) -> Result<(), ActionError> {
    let existed = image.before.get("exists") == Some(&Value::Bool(true));
    // After a lost answer the next before-image already shows what this run had made.
    let by_us = image.before.get("run").and_then(Value::as_str) == Some(call.run.0.as_str());
    if existed && !by_us {
        // It was there before this step: nothing of it is the step's to delete.
        return Ok(());
    }
    let mut watch = Watch::new(clients, call, region, target);
    let mut asked = false;
    let mut seen = Seen::default();
    loop {
        let after = |error| if asked { applied(error) } else { error };
        let Some(found) = watch.look().await.map_err(after)? else { return Ok(()) };
        watch.tell(&found.status);
        if !ours(&found, call) {
            return Err(foreign(&found, region));
        }
        if found.status == "deleting" {
            continue;
        }
        let bad = NO_SNAPSHOT.contains(&found.status.as_str());
        // One whose making failed never got an address, and nobody could use it.
        if bad && (found.endpoint.is_some() || seen.used()) {
            return Err(after(no_snapshot(&found, region)));
        }
        let keep = match seen.last_snapshot(clients, &found).await {
            Last::Made if bad => false,
            Last::Made => true,
            Last::LeftOut => false,
            Last::Waits(sessions) if late(&watch) => {
                return Err(after(in_use(&found, sessions, watch.waited())));
            }
            Last::Waits(sessions) => {
                let said = format!("waiting for {sessions} sessions of the application to leave");
                watch.tell(&said);
                continue;
            }
        };
        let lasting = found.phase() == Phase::Bad && late(&watch);
        match delete(clients, call, region, &found, keep).await {
            // One that stays as it is will not be deleted later either.
            Err(error) if error.class.retryable() && lasting => {
                return Err(after(stuck(&found, region, error)));
            }
            // Busy with something else: RDS deletes it later.
            Err(error) if error.class.retryable() => {
                watch.tell(&format!("not deleted yet: {error}"));
            }
            Err(error) if error.class == FailureClass::NotFound => return Ok(()),
            Err(error) => return Err(after(error)),
            Ok(()) => asked = true,
        }
    }
}

/// Says whether nothing is waited for any longer.
fn late(watch: &Watch<'_>) -> bool {
    watch.waited() >= LEAVE_LIMIT || !watch.goes_on()
}

/// What an instance is used for. One that is in use is not deleted.
enum Use {
    /// So many sessions of the application
    Sessions(i64),
    /// It may hold what exists nowhere else
    Written,
    Untouched,
    /// It does not say: nobody can tell what is in it
    Unknown,
    /// Not in a state to be asked what was written to it: it may be later
    Down,
    /// Nobody has ever connected to it
    NeverUp,
}

/// What becomes of what is in an instance that is deleted.
enum Last {
    /// A last snapshot is made of it
    Made,
    LeftOut,
    /// It is not deleted while it has so many sessions of the application
    Waits(i64),
}

/// What the looks at an instance have shown so far.
#[derive(Default)]
struct Seen {
    /// It was in a state that follows its making
    came_up: bool,
    /// Of the application, when it was seen last
    sessions: Option<i64>,
    /// It may hold what exists nowhere else, whatever it says later
    written: bool,
}

impl Seen {
    /// Says whether anybody was seen to use it, or may have.
    const fn used(&self) -> bool {
        self.written || self.sessions.is_some()
    }

    /// Says what becomes of what is in it, by this look and those before.
    async fn last_snapshot(&mut self, clients: &Clients, found: &Instance) -> Last {
        self.came_up |= found.status != NEVER_UP;
        if self.written {
            return Last::Made;
        }
        match (used(clients, found, self.came_up).await, self.sessions) {
            // One that was in use and cannot be asked now is in use still.
            (Use::Sessions(now), _) | (Use::Unknown | Use::Down | Use::NeverUp, Some(now)) => {
                self.sessions = Some(now);
                Last::Waits(now)
            }
            // What the application wrote last may not be counted yet.
            (Use::Written | Use::Unknown, _) | (Use::Untouched, Some(_)) => {
                self.written = true;
                Last::Made
            }
            // It may answer before it is deleted: then it is asked again.
            (Use::Down, None) => Last::Made,
            (Use::Untouched | Use::NeverUp, None) => Last::LeftOut,
        }
    }
}

async fn used(clients: &Clients, found: &Instance, came_up: bool) -> Use {
    if !came_up {
        return Use::NeverUp;
    }
    if found.endpoint.is_none() {
        return Use::Down;
    }
    // Where it stops, starts or changes its counts may begin anew: they are believed of a usable one alone.
    let usable = found.phase() == Phase::Usable;
    match proof::usage(clients, found).await {
        Ok(usage) if usage.sessions > 0 => Use::Sessions(usage.sessions),
        Ok(_) | Err(_) if !usable => Use::Down,
        Ok(usage) if usage.untouched() => Use::Untouched,
        Ok(_) => Use::Written,
        Err(_) => Use::Unknown,
    }
}

fn in_use(found: &Instance, sessions: i64, waited: Duration) -> ActionError {
    let message = format!(
        "{} still has {sessions} sessions of the application after {}: what they have written is nowhere else, and it is not deleted",
        found.id,
        Span::seconds(waited.as_secs())
    );
    ActionError::unchanged(FailureClass::Conflict, message).hint(
        "point the application and traffic elsewhere first, or keep the instance: skip this step's revert with a reason",
    )
}

/// Refuses to delete what RDS makes no snapshot of and somebody may have written to.
fn no_snapshot(found: &Instance, region: &str) -> ActionError {
    let message = format!(
        "{} is `{}`: RDS makes no last snapshot of it in that state, and what may have been written to it is nowhere else; it \
         is not deleted",
        found.id, found.status
    );
    ActionError::unchanged(FailureClass::Invalid, message).hint(what_to_type(found, region))
}

/// Tells an instance that RDS does not delete as it is, and that does not change by waiting.
fn stuck(found: &Instance, region: &str, error: ActionError) -> ActionError {
    let message = format!("{} is `{}`, and is not deleted: {error}", found.id, found.status);
    ActionError { message, ..error }.hint(what_to_type(found, region))
}

/// Says what to type about an instance in a state in which it is not deleted with a last snapshot.
fn what_to_type(found: &Instance, region: &str) -> String {
    let id = shell::word(&found.id);
    let rds = |verb: &str, which: &str| format!("aws rds {verb} --region {region} {which} {id}");
    let of = |verb: &str| rds(verb, "--db-instance-identifier");
    let mend = match found.status.as_str() {
        "stopped" => format!("start it (`{}`)", of("start-db-instance")),
        _ => {
            let events = rds("describe-events", "--source-type db-instance --source-identifier");
            format!("look at its events (`{events}`) and repair it")
        }
    };
    let mut without = Vec::new();
    if found.deletion_protection {
        let off = of("modify-db-instance");
        without.push(format!("`{off} --no-deletion-protection --apply-immediately`"));
    }
    without.push(format!("`{} --skip-final-snapshot`", of("delete-db-instance")));
    format!(
        "{mend}, and retry; where nothing of it is needed: {}, and retry; or keep it: skip this step's revert with a reason",
        without.join(", then ")
    )
}

/// Takes the deletion protection off, or deletes the instance once it has none.
async fn delete(
    clients: &Clients,
    call: &Call,
    region: &str,
    found: &Instance,
    keep: bool,
) -> Result<(), ActionError> {
    let aws = clients.aws.region(region).await?;
    if found.deletion_protection {
        // The next look finds it without protection, or still busy with losing it.
        let request = aws.rds.modify_db_instance().db_instance_identifier(&found.id);
        let request = request.deletion_protection(false).apply_immediately(true);
        return request
            .send()
            .await
            .map(drop)
            .map_err(|error| change_failure("ModifyDBInstance", region, &error));
    }
    let request = aws.rds.delete_db_instance().db_instance_identifier(&found.id);
    let request = match keep {
        true => request
            .skip_final_snapshot(false)
            .final_db_snapshot_identifier(final_snapshot(&found.id, call))
            .delete_automated_backups(false),
        false => request.skip_final_snapshot(true).delete_automated_backups(true),
    };
    request
        .send()
        .await
        .map(drop)
        .map_err(|error| change_failure("DeleteDBInstance", region, &error))
}

/// Returns the name of the last snapshot of an instance a run deletes.
fn final_snapshot(id: &str, call: &Call) -> String {
    format!("{id}-final-{}", call.run.0.to_ascii_lowercase())
}

#[cfg(test)]
#[path = "remove_tests.rs"]
mod tests;
