//! One instance gets another name: requested once, and followed by RDS's own name of it until it is usable under the new one.

use std::time::Duration;

use aws_sdk_rds::types::Filter;

use crate::actions::rds::instance::{Instance, Phase, listed};
use crate::actions::rds::watch::Watch;
use crate::actions::rds::{applied, change_failure, read_failure};
use crate::clients::Clients;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, Effect, FailureClass};

/// A rename that RDS has accepted, or may have where the answer was lost, shows within this time.
const SHOWS: Duration = Duration::from_secs(120);

/// One instance gets another name.
pub(super) struct Rename<'a> {
    pub region: &'a str,
    /// RDS's own name of it
    pub resource: &'a str,
    pub from: &'a str,
    pub to: &'a str,
}

impl Rename<'_> {
    /// Requests it unless it was requested, and waits until the instance is usable under its new name.
    pub(super) async fn carried_out(
        &self,
        clients: &Clients,
        call: &Call,
    ) -> Result<Instance, ActionError> {
        let mut watch = Watch::new(clients, call, self.region, self.from);
        // When it was requested, and why that may have been in vain
        let mut asked: Option<(Duration, Option<ActionError>)> = None;
        loop {
            let look = || self.find(clients);
            let found = watch.look_for(look, |found: &Instance| found.status.as_str()).await;
            let found = found.map_err(|error| meaning(asked.as_ref(), error))?;
            let waited = watch.waited();
            let recent = asked.as_ref().is_some_and(|(at, _)| waited - *at <= SHOWS);
            match found {
                Some(found) if found.id == self.to => {
                    watch.tell(&format!("{} as {}", found.status, self.to));
                    match found.phase() {
                        Phase::Bad => return Err(applied(found.bad())),
                        Phase::Usable if found.endpoint.is_some() => return Ok(found),
                        Phase::Usable | Phase::Busy => {}
                    }
                }
                Some(found) if found.id != self.from => return Err(self.foreign(&found)),
                Some(found) if found.phase() == Phase::Busy || recent => watch.tell(&found.status),
                Some(found) if found.phase() == Phase::Bad => {
                    return Err(meaning(asked.as_ref(), found.bad()));
                }
                Some(_) => {
                    if let Some((_, Some(lost))) = asked {
                        return Err(lost);
                    }
                    asked = match Box::pin(self.request(clients)).await {
                        Ok(()) => Some((waited, None)),
                        Err(error) if error.effect == Effect::Unknown => {
                            Some((waited, Some(error)))
                        }
                        // It has become busy since it was looked at.
                        Err(error) if error.class == FailureClass::Transient => {
                            watch.tell(&error.message);
                            asked
                        }
                        Err(error) => return Err(meaning(asked.as_ref(), error)),
                    };
                }
                None if waited <= SHOWS || recent => watch.tell("shows under no name"),
                None => {
                    let message = format!("{} shows under no name any more", self.from);
                    return Err(ActionError::unknown(FailureClass::NotFound, message));
                }
            }
        }
    }

    /// Looks for the instance, whatever it is named.
    async fn find(&self, clients: &Clients) -> Result<Option<Instance>, ActionError> {
        let aws = clients.aws.region(self.region).await?;
        let filter = Filter::builder().name("dbi-resource-id").values(self.resource).build();
        let answer = aws.rds.describe_db_instances().filters(filter).send().await;
        let answer =
            answer.map_err(|error| read_failure("DescribeDBInstances", self.region, &error))?;
        Ok(listed(&answer).into_iter().find(|found| found.resource_id == self.resource))
    }

    async fn request(&self, clients: &Clients) -> Result<(), ActionError> {
        let aws = clients.aws.region(self.region).await?;
        let request = aws.rds.modify_db_instance().db_instance_identifier(self.from);
        let request = request.new_db_instance_identifier(self.to).apply_immediately(true);
        let answer = request.send().await;
        answer.map(drop).map_err(|error| change_failure("ModifyDBInstance", self.region, &error))
    }

    fn foreign(&self, found: &Instance) -> ActionError {
        let message = format!(
            "the instance that was {} is named {} now, and not by this run",
            self.from, found.id
        );
        ActionError::unchanged(FailureClass::Conflict, message)
            .hint("find out who, and name it as before or leave it; nothing else was renamed")
    }
}

/// Returns what a failure says of the effect, once the rename may have been accepted.
fn meaning(asked: Option<&(Duration, Option<ActionError>)>, error: ActionError) -> ActionError {
    match asked {
        None => error,
        Some((_, None)) => applied(error),
        Some((_, Some(_))) => ActionError { effect: Effect::Unknown, ..error },
    }
}
