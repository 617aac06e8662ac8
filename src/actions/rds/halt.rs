//! Keeping a lost instance from taking writes where PostgreSQL itself cannot be reached: RDS stops it, or puts it where
//! nothing can connect.

use aws_sdk_rds::types::DbInstance;

use super::watch::Watch;
use super::{applied, change_failure, read_failure, tag};
use crate::clients::Clients;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};

/// Tag with the run that has cut an instance off and ended what was connected to it.
const TAG_CUT_OFF: &str = "phoenix-dr:cut-off";

/// An instance as far as it matters for keeping it from taking writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Halted {
    arn: String,
    pub status: String,
    /// Security groups, sorted
    pub groups: Vec<String>,
    /// RDS stops no instance that has replicas
    pub replicas: usize,
    /// What was connected when it was cut off has been ended
    pub cut_off: bool,
}

impl Halted {
    /// Says whether it has stopped, or is on its way to that.
    pub(crate) fn stops(&self) -> bool {
        matches!(self.status.as_str(), "stopped" | "stopping")
    }
}

/// Reads an instance.
pub(crate) async fn look(clients: &Clients, region: &str, id: &str) -> Result<Halted, ActionError> {
    let aws = clients.aws.region(region).await?;
    let answer = aws.rds.describe_db_instances().db_instance_identifier(id).send().await;
    let answer = answer.map_err(|error| read_failure("DescribeDBInstances", region, &error))?;
    let found =
        answer.db_instances().iter().find(|found| found.db_instance_identifier() == Some(id));
    found.map(halted).ok_or_else(|| {
        let message = format!("there is no RDS instance {id} in {region}");
        ActionError::unchanged(FailureClass::NotFound, message)
    })
}

fn halted(found: &DbInstance) -> Halted {
    let groups = found.vpc_security_groups().iter();
    let mut groups: Vec<String> =
        groups.filter_map(|group| Some(group.vpc_security_group_id()?.to_owned())).collect();
    groups.sort();
    Halted {
        arn: found.db_instance_arn().unwrap_or_default().to_owned(),
        status: found.db_instance_status().unwrap_or_default().to_owned(),
        groups,
        replicas: found.read_replica_db_instance_identifiers().len(),
        cut_off: found.tag_list().iter().any(|tag| tag.key() == Some(TAG_CUT_OFF)),
    }
}

/// Stops an instance and waits until it has stopped.
pub(crate) async fn stop(
    clients: &Clients,
    call: &Call,
    region: &str,
    id: &str,
) -> Result<(), ActionError> {
    if !look(clients, region, id).await?.stops() {
        let aws = clients.aws.region(region).await?;
        let answer = aws.rds.stop_db_instance().db_instance_identifier(id).send().await;
        answer.map_err(|error| change_failure("StopDBInstance", region, &error))?;
    }
    until(clients, call, region, id, &["stopped"]).await
}

/// Starts an instance; RDS goes on with it by itself.
pub(crate) async fn start(clients: &Clients, region: &str, id: &str) -> Result<(), ActionError> {
    let aws = clients.aws.region(region).await?;
    let answer = aws.rds.start_db_instance().db_instance_identifier(id).send().await;
    answer.map(drop).map_err(|error| change_failure("StartDBInstance", region, &error))
}

/// Puts an instance into a security group that lets nothing in, and restarts it: what is connected already is not ended
/// by rules that change.
pub(crate) async fn cut_off(
    clients: &Clients,
    call: &Call,
    region: &str,
    id: &str,
    group: &str,
) -> Result<(), ActionError> {
    let found = look(clients, region, id).await?;
    if found.groups != [group] {
        set_groups(clients, region, id, &[group.to_owned()]).await?;
        until(clients, call, region, id, &["available"]).await?;
    }
    let aws = clients.aws.region(region).await?;
    let answer = aws.rds.reboot_db_instance().db_instance_identifier(id).send().await;
    answer.map_err(|error| applied(change_failure("RebootDBInstance", region, &error)))?;
    until(clients, call, region, id, &["available", "backing-up"]).await?;
    let request = aws.rds.add_tags_to_resource().resource_name(&found.arn);
    let answer = request.tags(tag(TAG_CUT_OFF, call.run.0.clone())).send().await;
    answer.map(drop).map_err(|error| applied(change_failure("AddTagsToResource", region, &error)))
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

/// Waits until an instance is in one of some states.
async fn until(
    clients: &Clients,
    call: &Call,
    region: &str,
    id: &str,
    states: &[&str],
) -> Result<(), ActionError> {
    let mut watch = Watch::new(clients, call, region, id);
    loop {
        let found = watch.look().await.map_err(applied)?.ok_or_else(|| {
            let message = format!("{id} in {region} is gone");
            ActionError::applied(FailureClass::NotFound, message)
        })?;
        watch.tell(&found.status);
        if states.contains(&found.status.as_str()) {
            return Ok(());
        }
    }
}
