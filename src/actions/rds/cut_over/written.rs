//! How much was written to the restored instance before it took the name: what was written since would be lost with it.
//!
//! Sessions alone do not tell: an application that wrote and was stopped has none. The count is kept as a tag of the instance,
//! for its own database comes back from a way back as well, and an instance keeps its tags under every name.

use crate::actions::rds::instance::Instance;
use crate::actions::rds::{TAG_ROWS, change_failure, proof, tag};
use crate::clients::Clients;
use crate::clients::postgres::{Stands, leads_to_written};
use crate::engine::ports::Call;
use crate::outcome::{ActionError, Effect, FailureClass};
use crate::runbook::catalogue::actions::RdsCutOver;

/// Keeps the count, before the instance has the application's name.
pub(super) async fn note(
    clients: &Clients,
    with: &RdsCutOver,
    restored: &Instance,
) -> Result<(), ActionError> {
    let rows = proof::usage(clients, restored).await?.changed_rows;
    let aws = clients.aws.region(&with.region).await?;
    let request = aws.rds.add_tags_to_resource().resource_name(&restored.arn);
    let answer = request.tags(tag(TAG_ROWS, rows.to_string())).send().await;
    // Nothing has another name: a count that may have been kept is kept again.
    answer.map(drop).map_err(|error| {
        let error = change_failure("AddTagsToResource", &with.region, &error);
        ActionError { effect: Effect::None, ..error }
    })
}

/// Holds that nobody of the application uses the restored instance, and that nothing was written to it since it took the name.
/// What cannot be asked is not taken for nothing.
pub(super) async fn nothing(
    clients: &Clients,
    call: &Call,
    with: &RdsCutOver,
    restored: &Instance,
) -> Result<(), ActionError> {
    let Some(before) = restored.tag(TAG_ROWS) else {
        return match restored.id == with.instance {
            // It has had no other name yet.
            false => Ok(()),
            true => Err(kept(restored, "how many rows had been written to it is not on record")),
        };
    };
    let address = restored.endpoint.as_deref();
    let unasked = |error: ActionError| {
        let message = format!(
            "{} cannot be asked what was written to it since it took the name: {error}",
            restored.id
        );
        let hint = error.hint.clone().unwrap_or_else(|| {
            "once it answers, retry; to keep it, skip this step's revert with a reason".to_owned()
        });
        ActionError { message, effect: Effect::None, ..error }.hint(hint)
    };
    let leads = leads_to_written(clients, &restored.id, address, &call.run).await;
    if let Stands::NotYet { why } = leads.map_err(unasked)? {
        return Err(kept(restored, &format!("the connection to it leads elsewhere: {why}")));
    }
    let usage = proof::usage(clients, restored).await.map_err(unasked)?;
    if usage.sessions > 0 {
        let message = format!(
            "{} has {} sessions of the application: what they write would be left behind",
            restored.id, usage.sessions
        );
        return Err(ActionError::unchanged(FailureClass::Conflict, message)
            .hint("stop the application first, or leave the names as they are"));
    }
    let before: Option<i64> = before.parse().ok();
    match before.and_then(|before| usage.changed_rows.checked_sub(before)) {
        Some(0) => Ok(()),
        Some(rows) if rows > 0 => {
            Err(kept(restored, &format!("{rows} rows were written to it since the cut over")))
        }
        // Its statistics began anew.
        Some(_) | None => Err(kept(restored, "it may have been written to since the cut over")),
    }
}

fn kept(restored: &Instance, why: &str) -> ActionError {
    let message =
        format!("{} keeps its name: {why}, and the damaged instance has none of that", restored.id);
    ActionError::unchanged(FailureClass::Conflict, message).hint(
        "keep it: skip this step's revert with a reason; nothing else has what was written there",
    )
}
