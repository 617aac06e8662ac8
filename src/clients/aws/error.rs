//! What an AWS error means: its class, what it says of the effect, and what an operator can do.

use std::error::Error;
use std::io;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::said;
use crate::clients::guard::refusal;
use crate::outcome::{ActionError, Effect, FailureClass};

/// Whether a call changes something: decides what a lost answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    Read,
    Change,
}

/// Says whether the service was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// It answered, if only with an error
    Answered,
    /// Refused, reset or timed out
    NoAnswer(&'static str),
    /// The failure says nothing about the service: names, proxies, trust, this host's own network
    Doubt(String),
}

/// What hyper-util prints for a failure before a connection existed; its error types cannot be named here.
const NEVER_CONNECTED: &str = "client error (Connect)";

/// Codes that refuse the credentials themselves, without `Fault` and `Exception` at their end.
const REFUSED_CREDENTIALS: [&str; 11] = [
    "ExpiredToken",
    "RequestExpired",
    "InvalidToken",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "UnrecognizedClient",
    "MissingAuthenticationToken",
    "IncompleteSignature",
    "SignatureDoesNotMatch",
    "RequestTimeTooSkewed",
    "TokenRefreshRequired",
];

/// Says whether an answer refuses the credentials, by its status and body alone: which service answered does not matter.
pub(super) fn refuses_credentials(status: u16, body: &[u8]) -> bool {
    if bare_refusal(status, body) {
        return true;
    }
    let text = String::from_utf8_lossy(body);
    matches!(status, 400..500) && REFUSED_CREDENTIALS.iter().any(|code| text.contains(code))
}

/// S3 answers a HEAD made with expired credentials by 400 and nothing else.
const fn bare_refusal(status: u16, body: &[u8]) -> bool {
    status == 400 && body.is_empty()
}

/// Returns the meaning of a failed call. `call` is the permission it needs, e.g. `rds:PromoteReadReplica`.
pub(crate) fn failure<E>(
    nature: Nature,
    call: &str,
    region: &str,
    error: &SdkError<E, HttpResponse>,
) -> ActionError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let lost = match nature {
        Nature::Read => Effect::None,
        Nature::Change => Effect::Unknown,
    };
    if let Some(refused) = refusal(error) {
        return refused.into();
    }
    let (class, effect, what) = match error {
        SdkError::ConstructionFailure(_) => {
            let class = if about_credentials(error) {
                FailureClass::Credentials
            } else {
                FailureClass::Invalid
            };
            (class, Effect::None, said(error))
        }
        SdkError::TimeoutError(_) => (FailureClass::Timeout, lost, briefly(error)),
        SdkError::DispatchFailure(dispatch) => {
            let (class, effect) = if about_credentials(error) {
                (FailureClass::Credentials, Effect::None)
            } else if never_connected(error) {
                (FailureClass::Transient, Effect::None)
            } else if dispatch.is_user() {
                (FailureClass::Internal, Effect::None)
            } else if dispatch.is_timeout() {
                (FailureClass::Timeout, lost)
            } else {
                (FailureClass::Transient, lost)
            };
            (class, effect, briefly(error))
        }
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            let what = format!("an answer that cannot be read (HTTP {status}): {}", said(error));
            match refused_unread(status) {
                Some(class) => (class, Effect::None, what),
                None => (FailureClass::Transient, lost, what),
            }
        }
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let body = service.raw().body().bytes().unwrap_or_default();
            let class = match service.err().code() {
                None if bare_refusal(status, body) => FailureClass::Credentials,
                code => classify(code, status),
            };
            let effect = match class {
                // A success whose body cannot be read arrives here as well, without a code.
                _ if status < 300 => lost,
                FailureClass::Transient if status >= 500 => lost,
                _ => Effect::None,
            };
            (class, effect, service_words(service.err(), service.raw()))
        }
        // The enum is open; an outcome nobody knows is unknown.
        other => (FailureClass::Internal, lost, said(other)),
    };
    let message = format!("{call} in {region}: {what}");
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    ActionError { class, effect, message, hint: hint(class, call, code) }
}

/// Says whether a failed call shows the service to be there.
pub(crate) fn liveness<E>(error: &SdkError<E, HttpResponse>) -> Liveness
where
    E: Error + 'static,
{
    match error {
        SdkError::ServiceError(_) | SdkError::ResponseError(_) => Liveness::Answered,
        SdkError::TimeoutError(_) => Liveness::NoAnswer("no answer"),
        SdkError::DispatchFailure(dispatch) if dispatch.is_timeout() => {
            Liveness::NoAnswer("no answer")
        }
        SdkError::DispatchFailure(_) => match connection_error(error) {
            Some(io::ErrorKind::ConnectionRefused) => Liveness::NoAnswer("connection refused"),
            Some(io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted) => {
                Liveness::NoAnswer("connection reset")
            }
            Some(io::ErrorKind::TimedOut) => Liveness::NoAnswer("no answer"),
            _ => Liveness::Doubt(said(error)),
        },
        _ => Liveness::Doubt(said(error)),
    }
}

/// Returns why nothing came back, without the layers of libraries that report it where one word says as much.
fn briefly<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: Error + 'static,
{
    match liveness(error) {
        Liveness::NoAnswer(word) => word.to_owned(),
        Liveness::Doubt(_) | Liveness::Answered => said(error),
    }
}

fn classify(code: Option<&str>, status: u16) -> FailureClass {
    let by_number = || by_status(status).unwrap_or(FailureClass::Transient);
    let Some(code) = code else { return by_number() };
    let code = code.strip_suffix("Fault").unwrap_or(code);
    match code.strip_suffix("Exception").unwrap_or(code) {
        "Throttling"
        | "Throttled"
        | "ThrottlingRequest"
        | "RequestThrottled"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "TooManyRequests"
        | "SlowDown"
        | "PriorRequestNotComplete" => FailureClass::Throttled,
        "AccessDenied"
        | "AccessDeniedError"
        | "AllAccessDisabled"
        | "AuthFailure"
        | "NotAuthorized"
        | "OptInRequired"
        | "SubscriptionRequired"
        | "UnauthorizedOperation"
        | "KMSKeyNotAccessible" => FailureClass::Denied,
        code if REFUSED_CREDENTIALS.contains(&code) => FailureClass::Credentials,
        "InsufficientDBInstanceCapacity" | "InsufficientCapacity" => FailureClass::Capacity,
        // Busy with something else: it may pass.
        "InvalidDBInstanceState"
        | "InvalidDBSnapshotState"
        | "ConditionalRequestConflict"
        | "OperationAborted" => FailureClass::Transient,
        "DBInstanceAlreadyExists" | "DBSnapshotAlreadyExists" | "PreconditionFailed" => {
            FailureClass::Conflict
        }
        "InternalFailure" | "InternalError" | "ServiceUnavailable" | "RequestTimeout" => {
            FailureClass::Transient
        }
        code if code.ends_with("QuotaExceeded") => FailureClass::Capacity,
        code if code.ends_with("NotFound") || code.starts_with("NoSuch") => FailureClass::NotFound,
        _ => by_number(),
    }
}

/// Returns the class of an answer by its status alone; `None` where only the server knows what it did.
const fn by_status(status: u16) -> Option<FailureClass> {
    match status {
        401 | 403 => Some(FailureClass::Denied),
        404 => Some(FailureClass::NotFound),
        408 => None,
        412 => Some(FailureClass::Conflict),
        429 => Some(FailureClass::Throttled),
        300..500 => Some(FailureClass::Invalid),
        _ => None,
    }
}

/// Returns the class of a refusal whose reason is lost: with 400 AWS asks for patience as well as it says never.
fn refused_unread(status: u16) -> Option<FailureClass> {
    by_status(status).map(|class| match class {
        FailureClass::Invalid => FailureClass::Transient,
        class => class,
    })
}

fn hint(class: FailureClass, call: &str, code: Option<&str>) -> Option<String> {
    let text = match class {
        FailureClass::Throttled => "wait: AWS asks for patience, the call is tried again".to_owned(),
        FailureClass::Denied => match code {
            Some(code) if code.starts_with("SubscriptionRequired") => {
                "this API needs a Business or Enterprise support plan".to_owned()
            }
            Some(code) if code.starts_with("KMSKeyNotAccessible") => {
                "the KMS key must exist, be enabled and be usable in this region".to_owned()
            }
            _ => format!(
                "allow `{call}` to this identity (`aws sts get-caller-identity`), or use other credentials"
            ),
        },
        FailureClass::Credentials if code == Some("RequestTimeTooSkewed") => {
            "set this host's clock right: AWS refuses requests more than 5 minutes off".to_owned()
        }
        FailureClass::Credentials => {
            "renew the credentials, for example by `aws sso login`, and go on".to_owned()
        }
        FailureClass::Capacity => {
            "take another instance class (`database.recovered.class` of the estate) or another availability zone, or ask \
             AWS for more quota"
                .to_owned()
        }
        FailureClass::NotFound => {
            "compare the name and the region in the estate file with what AWS has".to_owned()
        }
        FailureClass::Transient if code.is_some_and(|code| code.starts_with("InvalidDB")) => {
            "RDS is busy with it or it is in a state that forbids this; look at its status, then retry"
                .to_owned()
        }
        FailureClass::Transient | FailureClass::Timeout => {
            "look whether the service answers from here: network, proxy, AWS status; then retry".to_owned()
        }
        FailureClass::Invalid
        | FailureClass::Conflict
        | FailureClass::Overdue
        | FailureClass::Refused
        | FailureClass::Unproved
        | FailureClass::Doubt
        | FailureClass::Internal => return None,
    };
    Some(text)
}

/// Returns the service's own code and words, with the request id that AWS support asks for.
fn service_words<E: ProvideErrorMetadata + Error + 'static>(
    error: &E,
    raw: &HttpResponse,
) -> String {
    let status = raw.status().as_u16();
    let mut words = match error.code() {
        Some(code) => format!("{code} (HTTP {status})"),
        None => format!("an answer that cannot be read (HTTP {status}): {}", said(error)),
    };
    if let Some(message) = error.message() {
        words = format!("{words}: {message}");
    }
    let id =
        ["x-amzn-requestid", "x-amz-request-id"].iter().find_map(|name| raw.headers().get(*name));
    match id {
        Some(id) => format!("{words} [request {id}]"),
        None => words,
    }
}

fn never_connected(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| error.to_string().contains(NEVER_CONNECTED))
}

/// Says whether credentials could not be had; their error type is private to the SDK.
fn about_credentials(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| {
        let text = error.to_string();
        text.contains("credential") || text.contains("identity resolver")
    })
}

fn connection_error(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    chain(error).filter_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind).last()
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
