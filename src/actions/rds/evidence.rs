//! `postgres.evidence` of an instance of RDS, which hands nobody its files: a snapshot of it, before anything is written.
//!
//! Named after the run and tagged with its token: what this run has requested is awaited, and never requested twice. It is
//! kept, and offered to nobody as a recovery point.

use std::time::Duration;

use aws_sdk_rds::types::DbSnapshot;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::instance::{self, Instance, Phase, instant};
use super::measure::patiently;
use super::watch::Watch;
use super::{TAG_EVIDENCE, TAG_TOKEN, applied, change_failure, read_failure, run_tags, tag};
use crate::actions::postgres::evidence::without::{Lack, gone_without};
use crate::by_hand;
use crate::clients::Clients;
use crate::engine::ports::{Call, Observation, Performed};
use crate::outcome::{ActionError, Difference, Effect, FailureClass};
use crate::runbook::catalogue::actions::PostgresEvidence;

/// A snapshot RDS has accepted to make, or may have where the answer was lost, shows within this time.
const SHOWS: Duration = Duration::from_secs(60);

/// A snapshot as RDS shows it.
#[derive(Debug, Clone, PartialEq)]
struct Snapshot {
    id: String,
    arn: String,
    status: String,
    percent: i32,
    /// Token of the step that requested it
    token: Option<String>,
    /// The instant its data is of; `None` before it is whole
    taken: Option<Timestamp>,
    gib: u64,
}

/// How far a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Making,
    Whole,
    /// It will never be whole
    Bad,
}

impl Snapshot {
    fn stage(&self) -> Stage {
        match self.status.as_str() {
            "available" => Stage::Whole,
            "failed" | "deleting" | "deleted" | "incompatible-restore" => Stage::Bad,
            _ => Stage::Making,
        }
    }

    fn bad(&self, region: &str) -> ActionError {
        let message = format!("the snapshot {} is `{}`", self.id, self.status);
        ActionError::unchanged(FailureClass::Invalid, message).hint(format!(
            "delete it (`aws rds delete-db-snapshot --region {region} --db-snapshot-identifier {}`): a retry takes another",
            self.id
        ))
    }

    fn outputs(&self) -> Map<String, Value> {
        let taken = self.taken.map(|taken| taken.to_string()).unwrap_or_default();
        Map::from_iter([
            ("evidence".to_owned(), json!(self.id)),
            ("path".to_owned(), json!(self.arn)),
            ("taken".to_owned(), json!(taken)),
            ("bytes".to_owned(), json!(self.gib << 30)),
        ])
    }
}

/// Whether RDS takes a snapshot of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    Now,
    /// It is busy, which passes by itself
    Later,
    Never,
}

fn ready(found: &Instance) -> Ready {
    match (found.status.as_str(), found.phase()) {
        ("available" | "storage-optimization", _) => Ready::Now,
        (_, Phase::Bad) => Ready::Never,
        (_, Phase::Usable | Phase::Busy) => Ready::Later,
    }
}

/// Looks for the snapshot, and whether it could be taken; where it cannot, it may be gone without by the typed word.
pub(in crate::actions) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &PostgresEvidence,
) -> Result<Observation, ActionError> {
    let (id, region) = (identifier(with, call)?, &with.region);
    let seen = Observation::new(state(&id, false), state(&id, true));
    let lacks = |seen, error| Ok(gone_without(clients, with, seen, &[Lack::of(error)]));
    match patiently(clients, || find(clients, region, &id)).await {
        Ok(Some(found)) => {
            ours(call, region, &found)?;
            return match found.stage() {
                Stage::Bad => lacks(seen, found.bad(region)),
                Stage::Making | Stage::Whole => Ok(requested(&found)),
            };
        }
        Ok(None) => {}
        Err(error) if is_for_good(error.class) => return lacks(seen, error),
        Err(error) => return Err(error),
    }
    match patiently(clients, || instance::find(clients, region, &with.instance)).await {
        Ok(Some(source)) if ready(&source) == Ready::Never => lacks(seen, source.bad()),
        Ok(Some(source)) => Ok(to_take(with, seen, &source, &id)),
        Ok(None) => lacks(seen, nowhere(with)),
        Err(error) if is_for_good(error.class) => lacks(seen, error),
        Err(error) => Err(error),
    }
}

/// Returns a look at a snapshot this step has requested.
fn requested(found: &Snapshot) -> Observation {
    let mut seen = Observation::new(state(&found.id, true), state(&found.id, true));
    match found.stage() {
        Stage::Whole => seen.outputs = found.outputs(),
        Stage::Making | Stage::Bad => {
            (seen.satisfied, seen.under_way) = (false, true);
            seen.evidence.push(format!("the snapshot {} is being made", found.id));
        }
    }
    seen
}

fn to_take(
    with: &PostgresEvidence,
    mut seen: Observation,
    source: &Instance,
    id: &str,
) -> Observation {
    seen.evidence.push(source.line());
    if ready(source) == Ready::Later {
        seen.evidence
            .push(format!("the snapshot is taken once it is no longer `{}`", source.status));
    }
    if source.multi_az {
        seen.evidence.push(
            "Multi-AZ: RDS takes snapshots from the standby; damage of the primary's own disk alone is not in them"
                .to_owned(),
        );
    }
    seen.differences = vec![Difference {
        what: format!("snapshot of {}", with.instance),
        from: "none".to_owned(),
        to: id.to_owned(),
    }];
    seen.commands = by_hand::rds::evidence(&with.region, &with.instance, id);
    seen
}

/// Says whether a look that failed fails again however often it is made.
const fn is_for_good(class: FailureClass) -> bool {
    matches!(class, FailureClass::Denied | FailureClass::Invalid | FailureClass::NotFound)
}

fn nowhere(with: &PostgresEvidence) -> ActionError {
    let message = format!("there is no RDS instance {} in {}", with.instance, with.region);
    ActionError::unchanged(FailureClass::NotFound, message).hint(
        "where the server is your own, name a directory in `database.evidence` of the estate file",
    )
}

/// Requests the snapshot, or adopts the one this step has requested, and waits until it is whole.
pub(in crate::actions) async fn perform(
    clients: &Clients,
    call: &Call,
    with: &PostgresEvidence,
) -> Result<Performed, ActionError> {
    let id = identifier(with, call)?;
    let found = taken(clients, call, with, &id).await?;
    let at = found.taken.map_or_else(String::new, |at| format!(" as of {at:.0}"));
    Ok(Performed {
        after: state(&id, true),
        notes: vec![format!("{} is kept{at} in the snapshot {id}", with.instance)],
        outputs: found.outputs(),
        obligations: Vec::new(),
    })
}

/// What has become of the request.
enum Request {
    NotMade,
    /// Accepted, or its answer says nothing, after so long a wait
    Made {
        at: Duration,
        lost: Option<ActionError>,
    },
    Shown,
}

impl Request {
    /// Returns what a failure says of the effect.
    fn meaning(&self, error: ActionError) -> ActionError {
        match self {
            Self::NotMade => error,
            Self::Made { lost: Some(_), .. } => ActionError { effect: Effect::Unknown, ..error },
            Self::Made { lost: None, .. } | Self::Shown => applied(error),
        }
    }
}

async fn taken(
    clients: &Clients,
    call: &Call,
    with: &PostgresEvidence,
    id: &str,
) -> Result<Snapshot, ActionError> {
    let region = &with.region;
    let mut watch = Watch::new(clients, call, region, id);
    let mut request = Request::NotMade;
    loop {
        let look = || find(clients, region, id);
        let found = watch.look_for(look, |found: &Snapshot| found.status.as_str()).await;
        match (found.map_err(|error| request.meaning(error))?, &request) {
            (Some(found), _) => {
                ours(call, region, &found)?;
                match found.stage() {
                    Stage::Whole => return Ok(found),
                    Stage::Bad => return Err(applied(found.bad(region))),
                    Stage::Making => {
                        watch.tell(&format!("{}, {} %", found.status, found.percent));
                        request = Request::Shown;
                    }
                }
            }
            (None, Request::NotMade) => {
                request = Box::pin(requested_now(clients, call, with, id, &mut watch)).await?;
            }
            (None, Request::Made { at, .. }) if watch.waited() - *at <= SHOWS => {}
            (None, Request::Made { lost: Some(lost), .. }) => return Err(lost.clone()),
            (None, Request::Made { lost: None, .. } | Request::Shown) => {
                let message = format!("the snapshot {id} is gone again");
                return Err(ActionError::unknown(FailureClass::NotFound, message));
            }
        }
    }
}

/// Requests the snapshot as soon as the instance is in a state for it.
async fn requested_now(
    clients: &Clients,
    call: &Call,
    with: &PostgresEvidence,
    id: &str,
    watch: &mut Watch<'_>,
) -> Result<Request, ActionError> {
    let source = Box::pin(instance::existing(clients, &with.region, &with.instance)).await?;
    let busy = || format!("not there: {} is `{}`", source.id, source.status);
    match ready(&source) {
        Ready::Never => return Err(source.bad()),
        Ready::Later => {
            watch.waits_for(busy());
            return Ok(Request::NotMade);
        }
        Ready::Now => {}
    }
    let made = |lost| Ok(Request::Made { at: watch.waited(), lost });
    match Box::pin(create(clients, call, with, id)).await {
        Ok(()) => made(None),
        // By an attempt whose answer was lost, or by somebody else: its tags tell. So they do where nobody answered.
        Err(error) if error.class == FailureClass::Conflict => made(Some(error)),
        Err(error) if error.effect == Effect::Unknown => made(Some(error)),
        // It has become busy since it was looked at.
        Err(error) if error.class == FailureClass::Transient && error.effect == Effect::None => {
            watch.waits_for(format!("not there: {error}"));
            Ok(Request::NotMade)
        }
        Err(error) => Err(error),
    }
}

async fn create(
    clients: &Clients,
    call: &Call,
    with: &PostgresEvidence,
    id: &str,
) -> Result<(), ActionError> {
    let mut tags = run_tags(call);
    tags.push(tag(TAG_EVIDENCE, with.instance.clone()));
    let aws = clients.aws.region(&with.region).await?;
    let request = aws.rds.create_db_snapshot().db_instance_identifier(&with.instance);
    let request = request.db_snapshot_identifier(id).set_tags(Some(tags));
    let answer = request.send().await;
    answer.map(drop).map_err(|error| change_failure("CreateDBSnapshot", &with.region, &error))
}

/// Reads a snapshot; `None` where the region has none of that name.
async fn find(clients: &Clients, region: &str, id: &str) -> Result<Option<Snapshot>, ActionError> {
    let aws = clients.aws.region(region).await?;
    match aws.rds.describe_db_snapshots().db_snapshot_identifier(id).send().await {
        Ok(answer) => Ok(answer.db_snapshots().iter().filter_map(snapshot).find(|it| it.id == id)),
        Err(error) => match read_failure("DescribeDBSnapshots", region, &error) {
            missing if missing.class == FailureClass::NotFound => Ok(None),
            failure => Err(failure),
        },
    }
}

fn snapshot(found: &DbSnapshot) -> Option<Snapshot> {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let token = found.tag_list().iter().find(|tag| tag.key() == Some(TAG_TOKEN));
    Some(Snapshot {
        id: found.db_snapshot_identifier()?.to_owned(),
        arn: text(found.db_snapshot_arn()),
        status: text(found.status()),
        percent: found.percent_progress().unwrap_or(0),
        token: token.and_then(|tag| tag.value()).map(str::to_owned),
        taken: found.snapshot_create_time().and_then(instant),
        gib: found.allocated_storage().and_then(|gib| gib.try_into().ok()).unwrap_or(0),
    })
}

/// Accepts a snapshot that carries this step's token, and no other.
fn ours(call: &Call, region: &str, found: &Snapshot) -> Result<(), ActionError> {
    if found.token.as_deref() == Some(call.token().as_str()) {
        return Ok(());
    }
    let message = format!("a snapshot {} is in {region} already, of another run", found.id);
    Err(ActionError::unchanged(FailureClass::Conflict, message)
        .hint("give this one another `name`"))
}

/// Returns the name of the snapshot: the given one, else that of run and step, as RDS knows names.
fn identifier(with: &PostgresEvidence, call: &Call) -> Result<String, ActionError> {
    let Some(name) = &with.name else {
        let again =
            if call.generation == 0 { String::new() } else { format!("-{}", call.generation) };
        let name = format!("phoenix-dr-{}-{}{again}", call.run, call.step).to_ascii_lowercase();
        let parts = name.split(|c: char| !c.is_ascii_alphanumeric());
        return Ok(parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-"));
    };
    // RDS keeps names in small letters.
    let name = name.to_ascii_lowercase();
    let sound = name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !name.ends_with('-')
        && !name.contains("--");
    if sound {
        return Ok(name);
    }
    let message = format!("`{name}` cannot name a snapshot");
    Err(ActionError::unchanged(FailureClass::Invalid, message)
        .hint("letters, digits and single dashes, a letter first"))
}

fn state(id: &str, whole: bool) -> Value {
    json!({ "evidence": id, "whole": whole })
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
