//! `s3.failover_object`: an object whose presence turns the primary's inverted health check unhealthy.
//!
//! Data plane only: it touches one bucket of the surviving region and works while Route 53 takes no changes.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use serde_json::{Map, Value, json};

use crate::by_hand;
use crate::clients::Clients;
use crate::clients::aws::error::{Nature, failure};
use crate::clients::http::{self, Get};
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::estate::types::FailoverObject;
use crate::outcome::{ActionError, Difference, Effect, FailureClass};
use crate::runbook::catalogue::actions::TrafficShift;

use super::route53::dns;

pub(super) const METHOD: &str = "s3.failover_object";

/// One anonymous GET, as a health checker makes it.
const GET_LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(2);
/// Looks from outside before the object counts as unseen; S3 shows a new object at once.
const LOOKS_MAX: u32 = 15;

pub(crate) async fn observe(
    clients: &Clients,
    _call: &Call,
    with: &TrafficShift,
) -> Result<Observation, ActionError> {
    let object = object(clients)?;
    let wanted = wanted(clients, with)?;
    let present = present(clients, object).await?;
    let mut seen = Observation::new(image(present), image(wanted));
    let place = format!("s3://{}/{}", object.bucket, object.key);
    seen.evidence.push(format!("{place} is {}", word(present)));
    if !seen.satisfied {
        let (from, to) = (word(present).to_owned(), word(wanted).to_owned());
        let what = format!("failover object {place}");
        seen.differences.push(Difference { what, from, to });
        seen.commands.push(by_hand::traffic::failover_object(object, wanted));
    } else {
        seen.outputs = outputs();
    }
    Ok(seen)
}

pub(crate) async fn perform(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &TrafficShift,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    put(clients, call, with, &seen.live).await
}

/// Brings the object about, or away, and waits until the world sees it.
pub(super) async fn put(
    clients: &Clients,
    call: &Call,
    with: &TrafficShift,
    before: &Value,
) -> Result<Performed, ActionError> {
    let object = object(clients)?;
    let wanted = wanted(clients, with)?;
    if *before != image(wanted) {
        write(clients, call, object, wanted).await?;
    }
    shown(clients, call, object, wanted).await?;
    let notes = vec![format!(
        "s3://{}/{} is {}, as an anonymous GET shows",
        object.bucket,
        object.key,
        word(wanted)
    )];
    Ok(Performed { after: image(wanted), outputs: outputs(), obligations: Vec::new(), notes })
}

pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    _with: &TrafficShift,
    image: &Image,
) -> Result<(), ActionError> {
    restore(clients, call, &image.before).await
}

/// Makes the object as it was in a before-image.
pub(super) async fn restore(
    clients: &Clients,
    call: &Call,
    before: &Value,
) -> Result<(), ActionError> {
    let object = object(clients)?;
    let Some(before) = before.get("present").and_then(Value::as_bool) else {
        let message = format!("the before-image of the failover object cannot be read: {before}");
        return Err(ActionError::unchanged(FailureClass::Internal, message));
    };
    if present(clients, object).await? != before {
        write(clients, call, object, before).await?;
    }
    shown(clients, call, object, before).await
}

/// Returns the estate's failover object, or what is missing.
fn object(clients: &Clients) -> Result<&FailoverObject, ActionError> {
    dns(clients)?.failover_object.as_ref().ok_or_else(|| {
        let message = "the estate has no `dns.failover_object`";
        ActionError::unchanged(FailureClass::Invalid, message)
    })
}

/// Returns whether the object must be there: its health check takes the primary region's record away.
fn wanted(clients: &Clients, with: &TrafficShift) -> Result<bool, ActionError> {
    let primary = &clients.estate.primary.region;
    if with.from == *primary {
        Ok(true)
    } else if with.to == *primary {
        Ok(false)
    } else {
        let message = format!(
            "the failover object moves traffic away from {primary} and back, not from {} to {}",
            with.from, with.to
        );
        Err(ActionError::unchanged(FailureClass::Invalid, message))
    }
}

async fn present(clients: &Clients, object: &FailoverObject) -> Result<bool, ActionError> {
    let aws = clients.aws.region(&object.region).await?;
    let answer = aws.s3.head_object().bucket(&object.bucket).key(&object.key).send().await;
    let Err(error) = answer else { return Ok(true) };
    match failure(Nature::Read, "s3:GetObject", &object.region, &error) {
        // A bucket that does not exist answers HEAD without saying so; writing to it will tell.
        missing if missing.class == FailureClass::NotFound => Ok(false),
        denied if denied.class == FailureClass::Denied => Err(denied.hint(
            "allow s3:GetObject and s3:ListBucket: without the latter S3 hides a missing object",
        )),
        error => Err(error),
    }
}

async fn write(
    clients: &Clients,
    call: &Call,
    object: &FailoverObject,
    wanted: bool,
) -> Result<(), ActionError> {
    let aws = clients.aws.region(&object.region).await?;
    if wanted {
        let said = format!("traffic leaves the primary region: phoenix-dr {}\n", call.token());
        let request = aws.s3.put_object().bucket(&object.bucket).key(&object.key);
        let request = request.content_type("text/plain").body(ByteStream::from(said.into_bytes()));
        request
            .send()
            .await
            .map(drop)
            .map_err(|error| failure(Nature::Change, "s3:PutObject", &object.region, &error))
    } else {
        let request = aws.s3.delete_object().bucket(&object.bucket).key(&object.key);
        request
            .send()
            .await
            .map(drop)
            .map_err(|error| failure(Nature::Change, "s3:DeleteObject", &object.region, &error))
    }
}

/// Waits until the world sees the object as wanted: health checkers have no credentials either.
async fn shown(
    clients: &Clients,
    call: &Call,
    object: &FailoverObject,
    wanted: bool,
) -> Result<(), ActionError> {
    let url = url(clients, object);
    let mut said = String::new();
    for look in 0..LOOKS_MAX {
        if look > 0 {
            call.progress.tell(format!("{url}: {said}"), None);
            clients.clock.sleep(PAUSE).await;
        }
        let get = Get { url: &url, connect_to: None, limit: GET_LIMIT, follow: false };
        said = match http::get(clients, &get).await {
            Ok(answer) => {
                // A missing object of a bucket nobody may list is answered 403, and so is one that is there and nobody
                // may read: the bucket's owner has to say which.
                let seen = match answer.status {
                    200..300 => Some(true),
                    404 => Some(false),
                    403 if !wanted => Some(present(clients, object).await.map_err(applied)?),
                    _ => None,
                };
                if seen == Some(wanted) {
                    return Ok(());
                }
                format!("anonymous GET answers {}", answer.status)
            }
            Err(error) => format!("anonymous GET: {error}"),
        };
    }
    let message = format!("the failover object is not seen as {} at {url}: {said}", word(wanted));
    Err(ActionError::applied(FailureClass::Transient, message).hint(
        "the object must be readable by anyone: look at its bucket policy and public access block",
    ))
}

fn applied(error: ActionError) -> ActionError {
    ActionError { effect: Effect::Applied, ..error }
}

/// Returns where health checkers look for the object.
pub(super) fn url(clients: &Clients, object: &FailoverObject) -> String {
    if let Some(url) = &object.url {
        return url.clone();
    }
    let endpoint = clients.estate.regions.get(&object.region);
    match endpoint.and_then(|region| region.endpoints.s3.as_deref()) {
        Some(endpoint) => {
            format!("{}/{}/{}", endpoint.trim_end_matches('/'), object.bucket, object.key)
        }
        None => {
            format!("https://{}.s3.{}.amazonaws.com/{}", object.bucket, object.region, object.key)
        }
    }
}

fn image(present: bool) -> Value {
    json!({ "present": present })
}

const fn word(present: bool) -> &'static str {
    if present { "present" } else { "absent" }
}

fn outputs() -> Map<String, Value> {
    Map::from_iter([("method".to_owned(), json!(METHOD))])
}
