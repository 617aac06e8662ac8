//! Health checks: what they look at, what their checkers saw, and the versions of their settings.

use serde_json::{Map, Value, json};

use super::super::codec::{AwsError, Params, read_xml};
use super::{Desk, page};
use crate::sandbox::dns;
use crate::sandbox::objects::text;
use crate::sandbox::world::{Kind, stamp};

/// Health checks of a page, at most.
const PAGE: usize = 100;

pub(super) fn health_check<'a>(desk: &'a Desk<'_>, id: &str) -> Result<&'a Value, AwsError> {
    desk.objects.get(Kind::HealthCheck, "", id).ok_or_else(|| {
        AwsError::new(
            404,
            "NoSuchHealthCheck",
            format!("A health check with id {id} does not exist."),
        )
    })
}

fn shown(id: &str, check: &Value) -> Value {
    let caller = match text(check, "CallerReference") {
        "" => "rehearsal",
        known => known,
    };
    json!({
        "Id": id,
        "CallerReference": caller,
        "HealthCheckConfig": check["HealthCheckConfig"],
        "HealthCheckVersion": version(check),
    })
}

fn version(check: &Value) -> u64 {
    check.get("HealthCheckVersion").and_then(Value::as_u64).unwrap_or(1)
}

pub(super) fn get(desk: &Desk<'_>, id: &str) -> Result<Value, AwsError> {
    Ok(json!({ "HealthCheck": shown(id, health_check(desk, id)?) }))
}

pub(super) fn list(desk: &Desk<'_>, query: &Params) -> Value {
    let after = query.get("marker").map_or("", String::as_str);
    let all = desk.objects.of_kind(Kind::HealthCheck, "");
    let all = all.filter(|(id, _)| *id >= after).collect();
    let (checks, next, most) = page(all, query, PAGE);
    let checks: Vec<Value> = checks.into_iter().map(|(id, body)| shown(id, body)).collect();
    let mut answer = json!({
        "HealthChecks": checks,
        "Marker": after,
        "IsTruncated": next.is_some(),
        "MaxItems": most.to_string(),
    });
    if let Some((id, _)) = next {
        answer["NextMarker"] = json!(id);
    }
    answer
}

pub(super) fn create(desk: &mut Desk<'_>, body: &str) -> Result<Value, AwsError> {
    let asked = read_xml(body)?;
    let caller = text(&asked, "CallerReference");
    let config = typed(asked.get("HealthCheckConfig").cloned().unwrap_or_default());
    let known = desk
        .objects
        .of_kind(Kind::HealthCheck, "")
        .find(|(_, check)| text(check, "CallerReference") == caller);
    if let Some((id, check)) = known {
        // The same request again is answered as the first was.
        if check["HealthCheckConfig"] == config {
            return Ok(json!({ "HealthCheck": shown(id, check) }));
        }
        let message =
            "A health check already exists with the same caller reference and other settings.";
        return Err(AwsError::new(409, "HealthCheckAlreadyExists", message));
    }
    sound(&config)?;
    let number = desk.objects.name("").to_lowercase();
    let id = format!("00000000-0000-4000-8000-{number:0>12}");
    let check = json!({
        "CallerReference": caller,
        "HealthCheckConfig": config,
        "HealthCheckVersion": 1,
    });
    desk.objects.put(Kind::HealthCheck, "", &id, check.clone(), Vec::new());
    Ok(json!({ "HealthCheck": shown(&id, &check) }))
}

fn sound(config: &Value) -> Result<(), AwsError> {
    let invalid = |message: &str| Err(AwsError::new(400, "InvalidInput", message));
    match text(config, "Type") {
        "CALCULATED" => match config.get("ChildHealthChecks").and_then(Value::as_array) {
            Some(_) if config.get("HealthThreshold").is_some() => Ok(()),
            _ => invalid("Calculated health checks need children and a threshold."),
        },
        "HTTP" | "HTTPS" | "HTTP_STR_MATCH" | "HTTPS_STR_MATCH" | "TCP" => {
            let named = ["IPAddress", "FullyQualifiedDomainName"];
            match named.iter().any(|name| config.get(*name).is_some()) {
                true => Ok(()),
                false => invalid(
                    "Basic health checks must specify a fully qualified domain name or an IP address.",
                ),
            }
        }
        "CLOUDWATCH_METRIC" | "RECOVERY_CONTROL" => Ok(()),
        other => invalid(&format!("Invalid health check type {other}.")),
    }
}

pub(super) fn update(desk: &mut Desk<'_>, id: &str, body: &str) -> Result<Value, AwsError> {
    let asked = read_xml(body)?;
    let mut check = health_check(desk, id)?.clone();
    let wanted = text(&asked, "HealthCheckVersion").parse::<u64>().ok();
    if wanted.is_some_and(|wanted| wanted != version(&check)) {
        let message = "The value of HealthCheckVersion in the request doesn't match the value of HealthCheckVersion in \
                       the health check.";
        return Err(AwsError::new(409, "HealthCheckVersionMismatch", message));
    }
    let Value::Object(fields) = typed(asked) else { return get(desk, id) };
    for (name, value) in fields {
        if !["HealthCheckVersion", "ResetElements"].contains(&name.as_str()) {
            check["HealthCheckConfig"][name] = value;
        }
    }
    check["HealthCheckVersion"] = json!(version(&check) + 1);
    desk.objects.change(Kind::HealthCheck, "", id, check.clone());
    Ok(json!({ "HealthCheck": shown(id, &check) }))
}

pub(super) fn delete(desk: &mut Desk<'_>, id: &str) -> Result<Value, AwsError> {
    health_check(desk, id)?;
    desk.objects.remove(Kind::HealthCheck, "", id);
    Ok(json!({}))
}

/// Gives settings that came as texts their types.
fn typed(config: Value) -> Value {
    let Value::Object(fields) = config else { return config };
    let mut typed = Map::new();
    for (name, value) in fields {
        let said = value.as_str().unwrap_or_default();
        let value = match name.as_str() {
            "Port" | "RequestInterval" | "FailureThreshold" | "HealthThreshold" => {
                said.parse::<i64>().map_or(value.clone(), |number| json!(number))
            }
            "Inverted" | "Disabled" | "MeasureLatency" | "EnableSNI" => json!(said == "true"),
            _ => value,
        };
        typed.insert(name, value);
    }
    Value::Object(typed)
}

/// Answers GetHealthCheckStatus: what the checkers saw, which inversion does not change.
pub(super) fn status(desk: &Desk<'_>, id: &str) -> Result<Value, AwsError> {
    let check = health_check(desk, id)?;
    if text(&check["HealthCheckConfig"], "Type") == "CALCULATED" {
        let message = "The status of a calculated health check cannot be got.";
        return Err(AwsError::new(400, "InvalidInput", message));
    }
    let up = dns::Asker { objects: desk.objects, dark: desk.dark }.answers_checkers(check);
    let said = match (up, dns::watched(&check["HealthCheckConfig"])) {
        (true, _) => "Success: HTTP Status Code 200, OK",
        (false, Some(_)) => "Failure: HTTP Status Code 403, Forbidden",
        (false, None) => "Failure: Connection timed out",
    };
    let seen = ["us-west-1", "us-west-2", "eu-west-1", "sa-east-1"].map(|region| {
        json!({
            "Region": region,
            "IPAddress": "192.0.2.9",
            "StatusReport": { "Status": said, "CheckedTime": stamp(desk.objects.now()) },
        })
    });
    Ok(json!({ "HealthCheckObservations": seen }))
}
