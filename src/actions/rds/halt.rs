//! Keeping a lost instance from taking writes where PostgreSQL itself cannot be reached: RDS stops it, or puts it where
//! nothing can connect.

use std::time::Duration;

use super::instance::{self, Instance, Phase};
use super::watch::Watch;
use super::{applied, change_failure, tag};
use crate::clients::Clients;
use crate::clients::postgres::{address, database, way};
use crate::clients::tcp;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};

/// Tag with the run that has cut an instance off and ended what was connected to it.
const TAG_CUT_OFF: &str = "phoenix-dr:cut-off";

/// One way may take so long: the failover waits for it, and there may be another one.
const LIMIT: Duration = Duration::from_secs(180);

/// A connection that is to fail is given so long.
const REACH_LIMIT: Duration = Duration::from_secs(3);

/// An instance as far as it matters for keeping it from taking writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Halted {
    arn: String,
    pub status: String,
    /// Security groups it is in or is being put in, sorted
    pub groups: Vec<String>,
    /// Every security group it has to do with, and the state of each
    members: Vec<(String, String)>,
    /// RDS stops no instance that has replicas
    pub replicas: usize,
    /// What was connected when it was cut off has been ended
    pub cut_off: bool,
}

impl Halted {
    fn of(found: Instance) -> Self {
        let cut_off = found.tag(TAG_CUT_OFF).is_some();
        let Instance { arn, status, security_groups: mut members, replicas, .. } = found;
        members.sort();
        let stays = members.iter().filter(|(_, state)| state != "removing");
        let groups = stays.map(|(group, _)| group.clone()).collect();
        Self { arn, status, groups, members, replicas, cut_off }
    }

    /// Says whether it has stopped, or is on its way to that.
    pub(crate) fn stops(&self) -> bool {
        matches!(self.status.as_str(), "stopped" | "stopping")
    }

    /// Says whether one security group alone decides who reaches it, and none is still being put on or taken off.
    pub(crate) fn is_only_in(&self, group: &str) -> bool {
        matches!(self.members.as_slice(), [(only, state)] if only == group && state == "active")
    }

    /// Returns its security groups in words, with the state of those that are not active.
    pub(crate) fn said(&self) -> String {
        let each = self.members.iter().map(|(group, state)| match state.as_str() {
            "active" => group.clone(),
            state => format!("{group} ({state})"),
        });
        each.collect::<Vec<_>>().join(", ")
    }
}

/// How far a way has been gone that did not fail.
#[derive(Debug)]
pub(crate) enum Held {
    /// It was seen to hold; with what else is worth a note
    Whole(Vec<String>),
    /// It is in place, and somebody may write all the same: who, and why
    Partly(String),
}

/// Reads an instance.
pub(crate) async fn look(clients: &Clients, region: &str, id: &str) -> Result<Halted, ActionError> {
    instance::existing(clients, region, id).await.map(Halted::of)
}

/// Stops an instance and waits until it has stopped.
pub(crate) async fn stop(
    clients: &Clients,
    call: &Call,
    region: &str,
    id: &str,
) -> Result<Held, ActionError> {
    if !look(clients, region, id).await?.stops() {
        let aws = clients.aws.region(region).await?;
        let answer = aws.rds.stop_db_instance().db_instance_identifier(id).send().await;
        answer.map_err(|error| change_failure("StopDBInstance", region, &error))?;
    }
    let mut watch = Watch::new(clients, call, region, id).at_most(LIMIT);
    let stopped = |found: &Halted, _| found.status == "stopped";
    match until(&mut watch, (region, id), &["stopping"], stopped).await {
        Ok(_) => Ok(Held::Whole(Vec::new())),
        Err(error) => partly(clients, (region, id), Halted::stops, error).await,
    }
}

/// Starts an instance; RDS goes on with it by itself.
pub(crate) async fn start(clients: &Clients, region: &str, id: &str) -> Result<(), ActionError> {
    let aws = clients.aws.region(region).await?;
    let answer = aws.rds.start_db_instance().db_instance_identifier(id).send().await;
    answer.map(drop).map_err(|error| change_failure("StartDBInstance", region, &error))
}

/// Waits until an instance that starts can be changed again.
pub(crate) async fn started(
    clients: &Clients,
    call: &Call,
    region: &str,
    id: &str,
) -> Result<(), ActionError> {
    let mut watch = Watch::new(clients, call, region, id);
    let usable = |_: &Halted, phase| phase == Phase::Usable;
    until(&mut watch, (region, id), &["stopping", "stopped"], usable).await.map(drop)
}

/// Puts an instance into a security group that lets nothing in, and restarts it: what is connected already is not ended
/// by rules that change. Both are looked for before it is said to hold.
pub(crate) async fn cut_off(
    clients: &Clients,
    call: &Call,
    region: &str,
    id: &str,
    group: &str,
) -> Result<Held, ActionError> {
    let found = look(clients, region, id).await?;
    if found.groups != [group] {
        set_groups(clients, region, id, &[group.to_owned()]).await?;
    }
    let stands = |found: &Halted| found.is_only_in(group);
    let ready = |found: &Halted, phase| found.is_only_in(group) && phase == Phase::Usable;
    let mut watch = Watch::new(clients, call, region, id).at_most(LIMIT);
    if let Err(error) = until(&mut watch, (region, id), &[], ready).await {
        return partly(clients, (region, id), stands, error).await;
    }
    let aws = clients.aws.region(region).await?;
    let answer = aws.rds.reboot_db_instance().db_instance_identifier(id).send().await;
    let restarted = match answer {
        Ok(_) => until(&mut watch, (region, id), &[], ready).await,
        Err(error) => Err(change_failure("RebootDBInstance", region, &error)),
    };
    if let Err(error) = restarted {
        return partly(clients, (region, id), stands, error).await;
    }
    let mut notes = refuses(clients, id).await?;
    let request = aws.rds.add_tags_to_resource().resource_name(&found.arn);
    let answer = request.tags(tag(TAG_CUT_OFF, call.run.0.clone())).send().await;
    if let Err(error) = answer {
        // It holds without: only a later look cannot tell that what was connected has been ended.
        notes.push(change_failure("AddTagsToResource", region, &error).to_string());
    }
    Ok(Held::Whole(notes))
}

/// Tries a connection that must fail, where this host would reach the instance itself; returns what it showed.
async fn refuses(clients: &Clients, id: &str) -> Result<Vec<String>, ActionError> {
    let forwarded = way(database(clients)?, id).command.is_some();
    let Some(address) = address(clients, id, None).ok().filter(|_| !forwarded) else {
        return Ok(Vec::new());
    };
    match tcp::reach(clients, &address, REACH_LIMIT).await {
        Err(failure) => Ok(vec![format!("a connection to {address} failed: {failure}")]),
        Ok(()) => {
            let message = format!("{address} still accepts connections");
            Err(ActionError::applied(FailureClass::Invalid, message)
                .hint("look at the rules of the security group: it must let nothing in"))
        }
    }
}

/// Tells a way that is in place, though it was not brought to its end, from one that is not.
async fn partly(
    clients: &Clients,
    (region, id): (&str, &str),
    stands: impl Fn(&Halted) -> bool,
    error: ActionError,
) -> Result<Held, ActionError> {
    match look(clients, region, id).await {
        Ok(found) if stands(&found) => Ok(Held::Partly(error.message)),
        Ok(found) => {
            let message = format!("{error}; security groups: {}", found.said());
            Err(applied(ActionError { message, ..error }))
        }
        Err(_) => Err(applied(error)),
    }
}

/// Gives an instance its security groups back.
pub(crate) async fn reconnect(
    clients: &Clients,
    region: &str,
    id: &str,
    groups: &[String],
) -> Result<(), ActionError> {
    let found = look(clients, region, id).await?;
    if found.groups != groups {
        set_groups(clients, region, id, groups).await?;
    }
    if !found.cut_off {
        return Ok(());
    }
    let aws = clients.aws.region(region).await?;
    let request = aws.rds.remove_tags_from_resource().resource_name(&found.arn);
    let answer = request.tag_keys(TAG_CUT_OFF).send().await;
    answer
        .map(drop)
        .map_err(|error| applied(change_failure("RemoveTagsFromResource", region, &error)))
}

async fn set_groups(
    clients: &Clients,
    region: &str,
    id: &str,
    groups: &[String],
) -> Result<(), ActionError> {
    let aws = clients.aws.region(region).await?;
    let request = aws.rds.modify_db_instance().db_instance_identifier(id);
    let request = request.set_vpc_security_group_ids(Some(groups.to_vec())).apply_immediately(true);
    let answer = request.send().await;
    answer.map(drop).map_err(|error| change_failure("ModifyDBInstance", region, &error))
}

/// Waits until an instance is as wanted. A state that waiting does not help ends it at once, but for those in `passing`.
async fn until(
    watch: &mut Watch<'_>,
    (region, id): (&str, &str),
    passing: &[&str],
    wanted: impl Fn(&Halted, Phase) -> bool,
) -> Result<Halted, ActionError> {
    loop {
        let found = watch.look().await.map_err(applied)?.ok_or_else(|| {
            let message = format!("{id} in {region} is gone");
            ActionError::applied(FailureClass::NotFound, message)
        })?;
        watch.tell(&found.status);
        let phase = found.phase();
        let bad = (phase == Phase::Bad && !passing.contains(&found.status.as_str()))
            .then(|| ActionError { hint: None, ..applied(found.bad()) });
        let seen = Halted::of(found);
        if wanted(&seen, phase) {
            return Ok(seen);
        }
        if let Some(bad) = bad {
            return Err(bad);
        }
    }
}
