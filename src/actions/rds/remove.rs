//! Taking a restore back: deletes the instance this run made, and nothing anybody else has written.

use std::time::Duration;

use serde_json::Value;

use super::instance::{Instance, Phase};
use super::restore::{foreign, ours};
use super::watch::Watch;
use super::{applied, change_failure, proof};
use crate::clients::Clients;
use crate::engine::ports::{Call, Image};
use crate::outcome::{ActionError, FailureClass};
use crate::span::Span;

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
    // Of the application, when it was seen last
    let mut sessions = None;
    let mut keep = None;
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
        let keep = match keep {
            Some(keep) => keep,
            None => match (used(clients, &found).await, sessions) {
                // One that was in use and cannot be asked now is in use still.
                (Use::Sessions(now), _) | (Use::Unknown | Use::NotUp, Some(now)) => {
                    sessions = Some(now);
                    if watch.waited() >= LEAVE_LIMIT || !watch.goes_on() {
                        return Err(in_use(&found, now, watch.waited()));
                    }
                    let said = format!("waiting for {now} sessions of the application to leave");
                    watch.tell(&said);
                    continue;
                }
                // What the application wrote last may not be counted yet.
                (Use::Written | Use::Unknown, _) | (Use::Untouched, Some(_)) => *keep.insert(true),
                (Use::Untouched, None) => *keep.insert(false),
                // It may come up before it is deleted: then it is asked again.
                (Use::NotUp, None) => false,
            },
        };
        match delete(clients, call, region, &found, keep).await {
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

/// What an instance is used for. One that is in use is not deleted.
enum Use {
    /// So many sessions of the application
    Sessions(i64),
    /// It may hold what exists nowhere else
    Written,
    Untouched,
    /// It does not say: nobody can tell what is in it
    Unknown,
    /// Nobody has ever connected to it, and RDS makes no snapshot of what never came up
    NotUp,
}

async fn used(clients: &Clients, found: &Instance) -> Use {
    if found.phase() != Phase::Usable || found.endpoint.is_none() {
        return Use::NotUp;
    }
    match proof::usage(clients, found).await {
        Ok(usage) if usage.sessions > 0 => Use::Sessions(usage.sessions),
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
