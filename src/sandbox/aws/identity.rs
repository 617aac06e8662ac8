//! STS and AWS Health: who is asking, and what AWS admits.

use serde_json::{Value, json};

use super::codec::AwsError;
use super::unknown;
use crate::sandbox::objects::{Objects, text};
use crate::sandbox::world::Kind;

/// Answers an action of STS.
pub(super) fn sts(account: &str, action: &str) -> Result<Value, AwsError> {
    match action {
        "GetCallerIdentity" => Ok(json!({
            "UserId": "AROASIMULATION:phoenix-dr",
            "Account": account,
            "Arn": format!("arn:aws:sts::{account}:assumed-role/rehearsal/phoenix-dr"),
        })),
        other => Err(unknown(&format!("sts {other}"))),
    }
}

/// Answers an operation of AWS Health: events of the regions a request names in its CBOR body.
pub(super) fn health(objects: &Objects, operation: &str, asked: &[u8]) -> Result<Value, AwsError> {
    match operation {
        "DescribeEvents" => {
            // Names of regions are texts of their own in it; nothing else of the filter is looked at.
            let asked = String::from_utf8_lossy(asked);
            let events: Vec<&Value> = objects
                .everywhere(Kind::HealthEvent)
                .map(|(_, body)| body)
                .filter(|body| asked.contains(text(body, "region")))
                .collect();
            Ok(json!({ "events": events }))
        }
        other => Err(unknown(&format!("health {other}"))),
    }
}
