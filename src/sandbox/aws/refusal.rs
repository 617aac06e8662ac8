//! Refusals, worded as each service words them, and the faults a service tells itself.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::codec::{AwsError, escaped};
use super::{Answer, RDS, ROUTE53, Request, STS, rpc};
use crate::sandbox::fault::{Call, Fault, Service};

/// Words an error as its service does.
pub(super) fn refusal(call: &Call, request: &Request<'_>, error: &AwsError) -> Answer {
    let AwsError { status, code, message, headers } = error;
    let message = escaped(message);
    let wrapped = |namespace: &str| {
        format!(
            "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}\
             </Message></Error><RequestId>00000000-0000-4000-8000-000000000000</RequestId></ErrorResponse>"
        )
    };
    let mut answer = match call.service {
        Service::Health => {
            rpc(*status, request, &json!({ "__type": code, "message": error.message }))
        }
        // HEAD has no body, not even for an error.
        Service::S3 if request.method == "HEAD" => Answer::empty(*status),
        Service::S3 => {
            let body = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message>\
                 <RequestId>REHEARSAL</RequestId><HostId>REHEARSAL</HostId></Error>"
            );
            Answer::new(*status, "application/xml", body.into_bytes())
        }
        Service::Route53 => Answer::new(*status, "text/xml", wrapped(ROUTE53).into_bytes()),
        Service::Sts => Answer::new(*status, "text/xml", wrapped(STS).into_bytes()),
        Service::Rds
        | Service::Kubernetes
        | Service::Http
        | Service::Tcp
        | Service::Dns
        | Service::Postgres => Answer::new(*status, "text/xml", wrapped(RDS).into_bytes()),
    };
    answer.headers.extend(headers.iter().cloned());
    answer
}

/// Writes instants as the JSON protocol does: in seconds since 1970.
pub(super) fn instants(value: &Value) -> Value {
    let instant = |name: &str, value: &Value| {
        let text = value.as_str().filter(|_| name.ends_with("Time"))?;
        Some(json!(text.parse::<Timestamp>().ok()?.as_second()))
    };
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                (name.clone(), instant(name, value).unwrap_or_else(|| instants(value)))
            })
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(instants).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Returns the answer of a fault a service tells itself; `None` for those of the connection.
pub(super) fn faulty(call: &Call, request: &Request<'_>, fault: Fault) -> Option<Answer> {
    let operation = format!("{}:{}", call.service.name(), call.operation);
    let error = match (fault, call.service) {
        (Fault::Throttled, Service::S3) => {
            AwsError::new(503, "SlowDown", "Please reduce your request rate.")
        }
        (Fault::Throttled, Service::Health) => {
            AwsError::new(400, "ThrottlingException", "Rate exceeded")
        }
        (Fault::Throttled, _) => AwsError::new(400, "Throttling", "Rate exceeded"),
        (Fault::Denied, Service::Health) => AwsError::new(
            403,
            "AccessDeniedException",
            format!("not authorized to perform: {operation}"),
        ),
        (Fault::Denied, Service::S3) => AwsError::new(403, "AccessDenied", "Access Denied"),
        (Fault::Denied, _) => AwsError::new(
            403,
            "AccessDenied",
            format!(
                "User: arn:aws:sts::123456789012:assumed-role/rehearsal/phoenix-dr is not authorized to perform: {operation}"
            ),
        ),
        (Fault::Expired, Service::Health) => AwsError::new(
            403,
            "ExpiredTokenException",
            "The security token included in the request is expired",
        ),
        (Fault::Expired, Service::S3) => {
            AwsError::new(400, "ExpiredToken", "The provided token has expired.")
        }
        (Fault::Expired, _) => AwsError::new(
            403,
            "ExpiredToken",
            "The security token included in the request is expired",
        ),
        (Fault::NoCapacity, Service::Rds) => AwsError::new(
            400,
            "InsufficientDBInstanceCapacity",
            "The specified DB instance class is not available in the specified Availability Zone.",
        ),
        // No other service of AWS has machines to run out of.
        (
            Fault::NoCapacity
            | Fault::Dark
            | Fault::Refused
            | Fault::LostAnswer
            | Fault::Latency
            | Fault::Truncated
            | Fault::Stale
            | Fault::Stuck,
            _,
        ) => return None,
    };
    Some(refusal(call, request, &error))
}
