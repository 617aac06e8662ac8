//! Check `s3.object`: whether an object exists.

use std::time::Duration;

use serde_json::{Value, json};

use super::Seen;
use crate::clients::Clients;
use crate::clients::aws::error::{Nature, failure};
use crate::clock::within;
use crate::outcome::FailureClass;
use crate::runbook::catalogue::checks::S3Object;

const LIMIT: Duration = Duration::from_secs(5);

/// Looks once.
pub(crate) async fn look(clients: &Clients, with: &S3Object) -> Seen {
    let aws = match clients.aws.region(&with.region).await {
        Ok(aws) => aws,
        Err(error) => return Seen::unclear(error.message),
    };
    let looking = async {
        let answer = aws.s3.head_object().bucket(&with.bucket).key(&with.key).send().await;
        match answer {
            Ok(answer) => Ok(Some(json!({
                "size": answer.content_length(),
                "modified": answer.last_modified().map(ToString::to_string),
                "etag": answer.e_tag(),
            }))),
            Err(error) => match failure(Nature::Read, "s3:GetObject", &with.region, &error) {
                missing if missing.class == FailureClass::NotFound => Ok(None),
                error => Err(error),
            },
        }
    };
    let found = match within(&*clients.clock, LIMIT, looking).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Seen::unclear(error.message),
        Err(elapsed) => return Seen::unclear(elapsed.to_string()),
    };
    let place = format!("s3://{}/{}", with.bucket, with.key);
    let (said, exists) = match &found {
        Some(_) => (format!("{place} exists"), true),
        None => (format!("{place} does not exist"), false),
    };
    let value = found.unwrap_or(Value::Null);
    match exists == with.exists {
        true => Seen::holds(said, value),
        false => Seen::fails(said, value),
    }
}
