//! `rds.promote_replica`: makes a replica an instance of its own. There is no way back.

use std::time::Duration;

use aws_sdk_rds::types::Tag;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::drain::drained;
use super::instance::{Instance, Phase, existing, short};
use super::watch::Watch;
use super::{TAG_LINEAGE, TAG_PROMOTED, applied, change_failure, database, proof, run_tags, tag};
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::postgres::Lineage;
use crate::clock::since;
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::outcome::{ActionError, Difference, Effect, FailureClass};
use crate::runbook::catalogue::actions::PromoteReplica;

/// RDS may show a replica as it was for so long after it has taken a promotion.
const SETTLES: Duration = Duration::from_secs(180);

/// What somebody consented to, and what the gates saw, is gone by for so long.
const CONSENT_LASTS: Duration = Duration::from_secs(120);

/// What the tag of a request says once RDS has refused it.
const REFUSED: &str = "refused";

/// After a request whose answer was lost, a promotion that shows within this time is ours.
const LOST_SHOWS: Duration = Duration::from_secs(60);

pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &PromoteReplica,
) -> Result<Observation, ActionError> {
    let found = existing(clients, &with.region, &with.replica).await?;
    let live = role(&found, call);
    let mut seen = Observation::new(live, json!({ "role": "standalone" }));
    seen.evidence.push(found.line());
    if found.source.is_none() {
        return alone(clients, call, &found, seen).await;
    }
    seen.under_way =
        found.phase() == Phase::Busy && ours(&found, call) || just_requested(clients, call, &found);
    let primary = found.source.as_deref().map_or("its source", short);
    seen.irreversible =
        Some(format!("{} can never follow {primary} again once it is promoted", found.id));
    seen.differences.push(Difference {
        what: format!("RDS {} {}", with.region, found.id),
        from: format!("replica of {primary}"),
        to: "takes writes by itself".to_owned(),
    });
    if found.status == "backing-up" {
        seen.evidence
            .push("RDS promotes nothing while it is backing up: the promotion waits".to_owned());
    }
    if found.phase() == Phase::Bad {
        seen.evidence.push(found.bad().message);
    }
    seen.commands = commands(clients, with);
    Ok(seen)
}

/// Observes an instance that follows nobody: done once SQL has proved it. What this run promoted is carried on; what
/// somebody else did is taken over only with consent, and for good either way.
async fn alone(
    clients: &Clients,
    call: &Call,
    found: &Instance,
    mut seen: Observation,
) -> Result<Observation, ActionError> {
    seen.satisfied = false;
    seen.under_way = found.phase() != Phase::Bad && promoted_by(found, call);
    if !seen.under_way {
        seen.irreversible = Some(format!("{} follows nobody and can never follow again", found.id));
        seen.evidence.push("it stands alone, and not by this run".to_owned());
    }
    seen.outputs = found.outputs(clients).unwrap_or_default();
    if found.phase() == Phase::Bad || seen.outputs.is_empty() {
        return Ok(seen);
    }
    match proof::missing(clients, found, &call.run).await {
        None => {
            (seen.satisfied, seen.under_way, seen.irreversible) = (true, false, None);
        }
        Some(why) => seen.evidence.push(why),
    }
    Ok(seen)
}

pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PromoteReplica,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let mut notes = Vec::new();
    let mut watch = Watch::new(clients, call, &with.region, &with.replica);
    let asked = Request { call, with, allowed: seen.live["role"] != "standalone" };
    let (promoted, before) = promoted(clients, asked, &mut watch, &mut notes).await?;
    let before = before.as_ref();
    let proof = proof::writable(clients, call, &with.region, &promoted, before, &watch).await;
    notes.extend(proof.map_err(applied)?);
    let outputs = promoted.outputs(clients).ok_or_else(|| {
        let message = format!("{} has no endpoint", promoted.id);
        ActionError::applied(FailureClass::Internal, message)
    })?;
    Ok(Performed { after: role(&promoted, call), outputs, obligations: Vec::new(), notes })
}

pub(crate) fn revert(with: &PromoteReplica, image: &Image) -> Result<(), ActionError> {
    if image.before == image.now.live {
        return Ok(());
    }
    let message = format!("{} was promoted and cannot follow again", with.replica);
    Err(ActionError::unchanged(FailureClass::Invalid, message)
        .hint("go forward: make a new replica in the other region, and fail back to it later"))
}

/// Requests that RDS may refuse, throttled or because of a state it does not show yet, before the attempt gives up.
const REFUSALS_MAX: u32 = 12;

/// What is known of the request of an attempt.
enum Asked {
    No,
    /// RDS accepted it, so long after the wait began
    Accepted {
        at: Duration,
    },
    /// Its answer was lost: only the instance tells
    Lost {
        at: Duration,
        error: ActionError,
    },
}

impl Asked {
    /// Returns a later failure with what the request left behind.
    fn failure(&self, error: ActionError) -> ActionError {
        match self {
            Self::No => error,
            Self::Accepted { .. } => applied(error),
            Self::Lost { .. } => ActionError { effect: Effect::Unknown, ..error },
        }
    }
}

/// A promotion somebody asked for.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub call: &'a Call,
    pub with: &'a PromoteReplica,
    /// What was consented to was the promotion of a replica
    pub allowed: bool,
}

/// Requests the promotion once the replica allows it, and waits until it stands alone and is usable. Returns it, and
/// which server the replica was. A replica where none was consented to is left alone: the next look asks.
pub(super) async fn promoted(
    clients: &Clients,
    Request { call, with, allowed }: Request<'_>,
    watch: &mut Watch<'_>,
    notes: &mut Vec<String>,
) -> Result<(Instance, Option<Lineage>), ActionError> {
    let mut asked = Asked::No;
    let (mut before, mut refusals) = (None, 0);
    loop {
        let found = watch.look().await.map_err(|error| asked.failure(error))?.ok_or_else(|| {
            let message = format!("there is no RDS instance {} in {}", with.replica, with.region);
            asked.failure(ActionError::unchanged(FailureClass::NotFound, message))
        })?;
        watch.tell(&found.status);
        let idle = found.phase() == Phase::Usable && found.source.is_some();
        match (found.phase(), &found.source) {
            (Phase::Bad, _) => return Err(asked.failure(found.bad())),
            (Phase::Usable, None) if found.endpoint.is_some() => {
                let known = found.tag(TAG_LINEAGE).and_then(|text| text.parse().ok());
                return Ok((found, before.or(known)));
            }
            (Phase::Usable, Some(_)) if found.status == "backing-up" => {
                if matches!(asked, Asked::No) && watch.waited() > CONSENT_LASTS {
                    return Err(waited_too_long(&found));
                }
                continue;
            }
            (Phase::Usable | Phase::Busy, _) => {}
        }
        let waited = watch.waited();
        asked = match asked {
            // What was refused a moment ago is known not to be under way, whatever the tag says.
            Asked::No if idle && !allowed => {
                let message =
                    format!("{} is a replica, and was not one when it was looked at", found.id);
                return Err(ActionError::unchanged(FailureClass::Transient, message));
            }
            Asked::No if idle && (refusals > 0 || !just_requested(clients, call, &found)) => {
                before = lineage(clients, &found, notes).await?;
                if refusals == 0 {
                    drained(clients, &found, watch, notes).await;
                }
                let tagged = Tagged { clients, call, with, found: &found };
                tagged.requested(before.as_ref(), notes).await;
                match request(clients, with).await {
                    Ok(()) => {
                        notes.push(format!("requested the promotion of {}", found.id));
                        Asked::Accepted { at: waited }
                    }
                    Err(error) if error.effect == Effect::Unknown => {
                        notes.push(format!("the answer to the promotion was lost: {error}"));
                        Asked::Lost { at: waited, error }
                    }
                    Err(error) if error.class.retryable() && refusals < REFUSALS_MAX => {
                        refusals += 1;
                        watch.tell(&format!("not taken yet: {error}"));
                        Asked::No
                    }
                    Err(error) => {
                        tagged.refused(notes).await;
                        return Err(error);
                    }
                }
            }
            // An attempt before this one asked for it: what it does now is that promotion.
            Asked::No if !idle && requested(call, &found).is_some() => {
                Asked::Accepted { at: waited }
            }
            // What it does now is what was asked for.
            Asked::Lost { at, .. } if !idle => Asked::Accepted { at },
            Asked::Lost { at, error } if waited - at > LOST_SHOWS => return Err(error),
            Asked::Accepted { at } if idle && waited - at > SETTLES => {
                let message =
                    format!("{} is still a replica though RDS accepted the promotion", found.id);
                return Err(ActionError::unknown(FailureClass::Timeout, message));
            }
            asked @ (Asked::No | Asked::Lost { .. } | Asked::Accepted { .. }) => asked,
        };
    }
}

/// Nothing was asked for while it was backing up, and the region that failed may be back by now: the attempt begins anew.
fn waited_too_long(found: &Instance) -> ActionError {
    let message = format!(
        "{} is still backing up: what the consent rests on is looked at again first",
        found.id
    );
    ActionError::unchanged(FailureClass::Unproved, message)
}

/// Says whether this run has requested the promotion so recently that RDS may not show it yet.
fn just_requested(clients: &Clients, call: &Call, found: &Instance) -> bool {
    let now = clients.clock.now();
    requested(call, found).is_some_and(|at| since(at, now) < SETTLES)
}

/// Returns when this run requested the promotion, where it did and RDS did not refuse it.
fn requested(call: &Call, found: &Instance) -> Option<Timestamp> {
    let at = found.tag(TAG_PROMOTED).filter(|_| ours(found, call))?;
    at.parse().ok()
}

/// Asks the replica which server it is, while it still is one. A connection that leads to a server that takes writes is
/// no connection to the replica: better known before the promotion than after.
async fn lineage(
    clients: &Clients,
    found: &Instance,
    notes: &mut Vec<String>,
) -> Result<Option<Lineage>, ActionError> {
    match proof::replica(clients, found).await {
        Ok(lineage) => Ok(lineage),
        Err(error) if error.class == FailureClass::Conflict => Err(error),
        // RDS promotes whether or not this host can connect; the proof afterwards will have to.
        Err(error) => {
            notes.push(format!("{} could not be asked which server it is: {error}", found.id));
            Ok(None)
        }
    }
}

/// A replica's tags, so that this run and later ones know it for what it is.
///
/// Best effort: a missing tag makes a later run ask, a failed one must not stop a failover.
struct Tagged<'a> {
    clients: &'a Clients,
    call: &'a Call,
    with: &'a PromoteReplica,
    found: &'a Instance,
}

impl Tagged<'_> {
    /// Tags it before the promotion is requested.
    async fn requested(&self, before: Option<&Lineage>, notes: &mut Vec<String>) {
        let mut tags = run_tags(self.call);
        tags.push(tag(TAG_PROMOTED, format!("{:.0}", self.clients.clock.now())));
        tags.extend(before.map(|before| tag(TAG_LINEAGE, before.to_string())));
        if let Err(error) = self.add(tags).await {
            let id = &self.found.id;
            notes.push(format!("{id} could not be tagged ({error}): a later run will ask"));
        }
    }

    /// Takes that back after a refusal: nobody has to wait for a promotion that RDS did not take.
    async fn refused(&self, notes: &mut Vec<String>) {
        if let Err(error) = self.add(vec![tag(TAG_PROMOTED, REFUSED)]).await {
            let id = &self.found.id;
            notes.push(format!("{id} keeps the tag of a promotion that was refused: {error}"));
        }
    }

    async fn add(&self, tags: Vec<Tag>) -> Result<(), ActionError> {
        let region = &self.with.region;
        let aws = self.clients.aws.region(region).await?;
        let request = aws.rds.add_tags_to_resource().resource_name(&self.found.arn);
        let added = request.set_tags(Some(tags)).send().await;
        added.map(drop).map_err(|error| change_failure("AddTagsToResource", region, &error))
    }
}

async fn request(clients: &Clients, with: &PromoteReplica) -> Result<(), ActionError> {
    let retention = database(clients)?.recovered.backup_retention_days;
    let aws = clients.aws.region(&with.region).await?;
    aws.rds
        .promote_read_replica()
        .db_instance_identifier(&with.replica)
        .backup_retention_period(retention)
        .send()
        .await
        .map_err(|error| change_failure("PromoteReadReplica", &with.region, &error))?;
    Ok(())
}

fn commands(clients: &Clients, with: &PromoteReplica) -> Vec<String> {
    by_hand::database::promote(&clients.estate, &with.region, &with.replica)
}

/// Returns the before-image of a replica: whom it follows, or that it stands alone.
fn role(found: &Instance, call: &Call) -> Value {
    match &found.source {
        None => json!({ "role": "standalone" }),
        Some(_) if found.phase() == Phase::Busy && ours(found, call) => {
            json!({ "role": "promoting" })
        }
        Some(source) => json!({ "role": "replica", "source": source }),
    }
}

/// Says whether an instance that stands alone does so because this run asked for it.
fn promoted_by(found: &Instance, call: &Call) -> bool {
    ours(found, call) && found.tag(TAG_PROMOTED) != Some(REFUSED)
}

fn ours(found: &Instance, call: &Call) -> bool {
    found.run() == Some(call.run.0.as_str())
}
