//! RDS: measuring recovery points, bringing the database up from one, and protecting it again.
//!
//! Readiness is decided by SQL, never by RDS's word `available`. An instance this program makes carries the run's
//! tags; only an instance with this run's tag is adopted or deleted.

pub(crate) mod candidates;
pub(crate) mod cut_over;
mod drain;
pub(super) mod evidence;
pub(super) mod foresee;
pub(crate) mod halt;
mod instance;
pub(super) mod measure;
mod place;
pub(crate) mod promote;
mod proof;
pub(crate) mod protect;
pub(super) mod record;
pub(crate) mod recover;
mod remove;
pub(crate) mod restore;
pub(crate) mod restore_point_in_time;
pub(crate) mod restore_snapshot;
mod source;
mod watch;
mod weigh;

#[cfg(test)]
mod choice_tests;
#[cfg(test)]
mod sql_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use aws_sdk_rds::types::Tag;

use crate::clients::Clients;
use crate::clients::aws::error::{Nature, failure};
use crate::engine::ports::Call;
use crate::estate::types::{Database, Region};
use crate::outcome::{ActionError, Effect, FailureClass};

/// Tag with the run that made or promoted an instance.
const TAG_RUN: &str = "phoenix-dr:run";
/// Tag with the idempotency token of the step that did.
const TAG_TOKEN: &str = "phoenix-dr:token";
/// Tag with the instant a promotion was requested: what tells this failover's promotion from an old one.
const TAG_PROMOTED: &str = "phoenix-dr:promoted-at";
/// Tag of a snapshot that shows how a database was damaged: nothing is recovered from it.
const TAG_EVIDENCE: &str = "phoenix-dr:evidence";
/// Tag with how many rows had been written to a restored instance before it took another's name.
const TAG_ROWS: &str = "phoenix-dr:rows-before-cut-over";
/// Tag with the system identifier and timeline a replica had before its promotion.
const TAG_LINEAGE: &str = "phoenix-dr:lineage";

/// Returns the estate's database, or what is missing.
fn database(clients: &Clients) -> Result<&Database, ActionError> {
    clients.estate.database.as_ref().ok_or_else(|| {
        ActionError::unchanged(FailureClass::Invalid, "the estate has no section `database`")
            .hint("describe the database in the estate file")
    })
}

/// Returns a region of the estate, or what is missing.
fn region<'a>(clients: &'a Clients, name: &str) -> Result<&'a Region, ActionError> {
    clients.estate.regions.get(name).ok_or_else(|| {
        let message = format!("the estate has no region `{name}`");
        ActionError::unchanged(FailureClass::Invalid, message)
    })
}

/// Returns the meaning of a failed read.
fn read_failure<E>(
    operation: &str,
    region: &str,
    error: &aws_sdk_rds::error::SdkError<E>,
) -> ActionError
where
    E: aws_sdk_rds::error::ProvideErrorMetadata + std::error::Error + 'static,
{
    failure(Nature::Read, &format!("rds:{operation}"), region, error)
}

/// Returns the meaning of a failed change.
fn change_failure<E>(
    operation: &str,
    region: &str,
    error: &aws_sdk_rds::error::SdkError<E>,
) -> ActionError
where
    E: aws_sdk_rds::error::ProvideErrorMetadata + std::error::Error + 'static,
{
    failure(Nature::Change, &format!("rds:{operation}"), region, error)
}

/// Marks an error as one that came after the change was accepted.
fn applied(error: ActionError) -> ActionError {
    ActionError { effect: Effect::Applied, ..error }
}

fn tag(key: &str, value: impl Into<String>) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// Returns the tags that make an instance this run's.
fn run_tags(call: &Call) -> Vec<Tag> {
    vec![tag(TAG_RUN, call.run.0.clone()), tag(TAG_TOKEN, call.token())]
}
