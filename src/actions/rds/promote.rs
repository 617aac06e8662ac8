//! `rds.promote_replica`: makes a replica an instance of its own. There is no way back.

use serde_json::{Value, json};

use super::instance::{Instance, Phase, existing, short};
use super::watch::Watch;
use super::{TAG_PROMOTED, applied, change_failure, database, proof, run_tags, tag};
use crate::clients::Clients;
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::outcome::{ActionError, Difference, FailureClass};
use crate::runbook::catalogue::actions::PromoteReplica;

/// Looks in a row that may still show an idle replica after RDS accepted the promotion.
const IDLE_LOOKS_MAX: u32 = 60;

pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &PromoteReplica,
) -> Result<Observation, ActionError> {
    let found = existing(clients, &with.region, &with.replica).await?;
    let live = role(&found, call);
    let mut seen = Observation::new(live, json!({ "role": "standalone" }));
    seen.under_way = !seen.satisfied && found.phase() == Phase::Busy && ours(&found, call)
        || seen.satisfied && found.phase() == Phase::Busy;
    seen.satisfied = seen.satisfied && found.phase() == Phase::Usable;
    seen.evidence.push(found.line());
    if seen.satisfied {
        seen.outputs = found.outputs(clients).unwrap_or_default();
        seen.satisfied = !seen.outputs.is_empty();
        return Ok(seen);
    }
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
    seen.commands = commands(clients, with)?;
    Ok(seen)
}

pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &PromoteReplica,
    _seen: &Observation,
) -> Result<Performed, ActionError> {
    let mut notes = Vec::new();
    let mut watch = Watch::new(clients, call, &with.region, &with.replica);
    let promoted = promoted(clients, call, with, &mut watch, &mut notes).await?;
    let proof = proof::writable(clients, call, &with.region, &promoted, &watch).await;
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

/// Requests the promotion once the replica allows it, and waits until it stands alone and is usable.
pub(super) async fn promoted(
    clients: &Clients,
    call: &Call,
    with: &PromoteReplica,
    watch: &mut Watch<'_>,
    notes: &mut Vec<String>,
) -> Result<Instance, ActionError> {
    let mut requested = false;
    let mut idle = 0;
    loop {
        let after = |error| if requested { applied(error) } else { error };
        let found = watch.look().await.map_err(after)?.ok_or_else(|| {
            let message = format!("there is no RDS instance {} in {}", with.replica, with.region);
            after(ActionError::unchanged(FailureClass::NotFound, message))
        })?;
        watch.tell(&found.status);
        match (found.phase(), &found.source) {
            (Phase::Bad, _) => return Err(after(found.bad())),
            (Phase::Usable, None) if found.endpoint.is_some() => return Ok(found),
            (Phase::Usable | Phase::Busy, None) | (Phase::Busy, Some(_)) => {}
            (Phase::Usable, Some(_)) if found.status == "backing-up" => {}
            (Phase::Usable, Some(_)) if requested => {
                // RDS shows the old state for some seconds after it has accepted the request.
                idle += 1;
                if idle > IDLE_LOOKS_MAX {
                    let message = format!(
                        "{} is still a replica though RDS accepted the promotion",
                        found.id
                    );
                    return Err(ActionError::unknown(FailureClass::Timeout, message));
                }
            }
            (Phase::Usable, Some(_)) => {
                mark(clients, call, with, &found, notes).await;
                request(clients, with).await?;
                requested = true;
                notes.push(format!("requested the promotion of {}", found.id));
            }
        }
    }
}

/// Tags the replica before the promotion, so that a later run knows it for what it is.
///
/// Best effort: a missing tag makes a later run ask, a failed one must not stop a failover.
async fn mark(
    clients: &Clients,
    call: &Call,
    with: &PromoteReplica,
    found: &Instance,
    notes: &mut Vec<String>,
) {
    let mut tags = run_tags(call);
    tags.push(tag(TAG_PROMOTED, format!("{:.0}", clients.clock.now())));
    let outcome = match clients.aws.region(&with.region).await {
        Ok(aws) => {
            let request = aws.rds.add_tags_to_resource().resource_name(&found.arn);
            request
                .set_tags(Some(tags))
                .send()
                .await
                .map(drop)
                .map_err(|error| change_failure("AddTagsToResource", &with.region, &error))
        }
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        notes.push(format!("{} could not be tagged ({error}): a later run will ask", found.id));
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

fn commands(clients: &Clients, with: &PromoteReplica) -> Result<Vec<String>, ActionError> {
    let retention = database(clients)?.recovered.backup_retention_days;
    let (region, replica) = (&with.region, &with.replica);
    Ok(vec![
        format!(
            "aws rds promote-read-replica --region {region} --db-instance-identifier {replica} \
             --backup-retention-period {retention}"
        ),
        format!(
            "aws rds wait db-instance-available --region {region} --db-instance-identifier {replica}"
        ),
    ])
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

fn ours(found: &Instance, call: &Call) -> bool {
    found.run() == Some(call.run.0.as_str())
}
