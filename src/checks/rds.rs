//! Check `rds.status`: the state of an instance, or that RDS of a region cannot be reached.

use std::time::Duration;

use aws_sdk_rds::types::DbInstance;
use serde_json::{Value, json};

use super::Seen;
use super::control::{Reached, Round, judge};
use crate::clients::Clients;
use crate::clients::aws::error::{Liveness, Nature, failure, liveness};
use crate::clients::endpoints::{self, AwsService};
use crate::clock::within;
use crate::outcome::FailureClass;
use crate::runbook::catalogue::checks::{RdsStatus, Reach};
use crate::span::Span;

/// The region may be dark: no look takes longer.
const LIMIT: Duration = Duration::from_secs(3);

/// Looks once.
pub(crate) async fn look(clients: &Clients, with: &RdsStatus, round: &Round) -> Seen {
    // Credentials come from elsewhere and have their own time limit: waiting for them says nothing about this region.
    let aws = match clients.aws.region(&with.region).await {
        Ok(aws) => aws,
        Err(error) => return Seen::unclear(error.message),
    };
    let request = aws.rds.describe_db_instances().db_instance_identifier(&with.instance);
    let answer = within(&*clients.clock, LIMIT, request.send()).await;
    let control = with.control.as_deref();
    let reached = match &answer {
        Err(_) => no_answer(clients, with, &format!("no answer in {}", Span(LIMIT))),
        Ok(Ok(_)) => Reached::Yes("RDS answers".to_owned()),
        Ok(Err(error)) => match liveness(error) {
            Liveness::Answered => Reached::Yes("RDS answers".to_owned()),
            Liveness::NoAnswer("no answer") => {
                no_answer(clients, with, &format!("no answer in {}", Span(LIMIT)))
            }
            Liveness::NoAnswer(said) => no_answer(clients, with, said),
            Liveness::Doubt(said) => Reached::Unclear(said),
        },
    };
    match (with.expect, reached) {
        (Reach::Unreachable, reached) => {
            judge(clients, round, with.expect, control, reached, Value::Null).await
        }
        // Whether the instance is well cannot be told from an RDS that does not answer.
        (Reach::Reachable, Reached::No(said) | Reached::Unclear(said)) => Seen::unclear(said),
        (Reach::Reachable, Reached::Yes(_)) => match answer {
            Ok(Ok(answer)) => state(with, answer.db_instances()),
            Ok(Err(error)) => {
                let error = failure(Nature::Read, "rds:DescribeDBInstances", &with.region, &error);
                match error.class {
                    FailureClass::NotFound => absent(with),
                    _ => Seen::unclear(error.message),
                }
            }
            Err(elapsed) => Seen::unclear(elapsed.to_string()),
        },
    }
}

/// A connection through a proxy that fails may be the proxy's failure.
fn no_answer(clients: &Clients, with: &RdsStatus, said: &str) -> Reached {
    let url = AwsService::Rds.url(&clients.estate, &with.region);
    if endpoints::proxied(&url) {
        Reached::Unclear(format!("{said}, through a proxy"))
    } else {
        Reached::No(said.to_owned())
    }
}

/// An instance that was deleted is not listed as such, but not at all.
fn absent(with: &RdsStatus) -> Seen {
    let said = format!("there is no instance {} in {}", with.instance, with.region);
    match with.states.iter().any(|state| state == "deleted") {
        true => Seen::holds(said, Value::Null),
        false => Seen::fails(said, Value::Null),
    }
}

fn state(with: &RdsStatus, found: &[DbInstance]) -> Seen {
    let found =
        found.iter().find(|found| found.db_instance_identifier() == Some(with.instance.as_str()));
    let Some(found) = found else { return absent(with) };
    let status = found.db_instance_status().unwrap_or("unknown");
    let source = found.read_replica_source_db_instance_identifier().filter(|id| !id.is_empty());
    let value = json!({
        "status": status,
        "role": if source.is_some() { "replica" } else { "standalone" },
        "multi_az": found.multi_az().unwrap_or(false),
        "retention_days": found.backup_retention_period().unwrap_or(0),
        "deletion_protection": found.deletion_protection().unwrap_or(false),
        "replicas": found.read_replica_db_instance_identifiers().len(),
        "backup_copies": found.db_instance_automated_backups_replications().len(),
    });
    let wanted = if with.states.is_empty() {
        status == "available"
    } else {
        with.states.iter().any(|state| state == status)
    };
    match wanted {
        true => Seen::holds(status, value),
        false => Seen::fails(status, value),
    }
}
