//! Check `aws.health`: open AWS Health events of a region. A bonus vote at most: Health is late, coarse, and lives in
//! one region itself.

use std::time::Duration;

use aws_sdk_health::error::ProvideErrorMetadata as _;
use aws_sdk_health::types::{EventFilter, EventStatusCode, EventTypeCategory};
use serde_json::json;

use super::Seen;
use crate::clients::Clients;
use crate::clients::aws::error::{Liveness, Nature, failure, liveness};
use crate::clock::within;
use crate::runbook::catalogue::checks::AwsHealth;

const LIMIT: Duration = Duration::from_secs(3);

/// Looks once.
pub(crate) async fn look(clients: &Clients, with: &AwsHealth) -> Seen {
    let aws = match clients.aws.region(&with.region).await {
        Ok(aws) => aws,
        Err(error) => return Seen::unclear(error.message),
    };
    let filter = EventFilter::builder()
        .regions(&with.region)
        .set_services(Some(with.services.clone()).filter(|services| !services.is_empty()))
        .event_type_categories(EventTypeCategory::Issue)
        .event_status_codes(EventStatusCode::Open)
        .build();
    let request = aws.health.describe_events().filter(filter).max_results(100);
    let Ok(answer) = within(&*clients.clock, LIMIT, request.send()).await else {
        return Seen::unclear(format!("no answer in {} s, no vote", LIMIT.as_secs()));
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Seen::unclear(why(&error)),
    };
    let events: Vec<String> = answer
        .events()
        .iter()
        .filter_map(|event| Some(format!("{} {}", event.service()?, event.event_type_code()?)))
        .collect();
    let value = json!({ "open": events.len(), "events": events });
    match events.first() {
        Some(first) => Seen::holds(format!("{} open events, {first}", events.len()), value),
        None => Seen::fails("no open event", value),
    }
}

fn why(
    error: &aws_sdk_health::error::SdkError<
        aws_sdk_health::operation::describe_events::DescribeEventsError,
    >,
) -> String {
    let code = error.as_service_error().and_then(|error| error.code());
    if code.is_some_and(|code| code.starts_with("SubscriptionRequired")) {
        return "no support plan, no vote".to_owned();
    }
    match liveness(error) {
        Liveness::NoAnswer(said) => format!("{said}, no vote"),
        Liveness::Answered | Liveness::Doubt(_) => {
            failure(Nature::Read, "health:DescribeEvents", "us-east-1", error).message
        }
    }
}
