//! AWS: what its services answer, over the SDK's own connector; no request leaves the process.
//!
//! Owns reading which service, region and operation a request is for, and the wire forms of answers and errors. What
//! a service does is its own module's.

mod codec;
mod connector;
mod identity;
mod rds;
mod route53;
mod s3;

pub(crate) use connector::Connector;
pub(super) use connector::delay;
pub(super) use s3::anonymous;

use serde_json::{Value, json};

use super::dns::Dark;
use super::fault::{Call, Fault, Service};
use super::objects::Objects;
use super::random::Random;
use super::world::Durations;
pub(super) use codec::form;
use codec::{AwsError, Params};

/// Code of the error a service gives for an action it does not know.
const UNKNOWN: &str = "InvalidAction";

const RDS: &str = "http://rds.amazonaws.com/doc/2014-10-31/";
const STS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
const ROUTE53: &str = "https://route53.amazonaws.com/doc/2013-04-01/";

/// What an answer is made with.
pub(super) struct Desk<'a> {
    pub objects: &'a mut Objects,
    pub durations: &'a Durations,
    pub account: &'a str,
    pub region: &'a str,
    pub dark: &'a Dark,
    pub random: &'a mut Random,
}

/// A request, taken apart.
pub(super) struct Request<'a> {
    pub method: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    pub query: Params,
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    pub(super) fn new(
        method: &'a str,
        uri: &'a str,
        headers: &'a [(String, String)],
        body: &'a [u8],
    ) -> Self {
        let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
        let (host, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        Self { method, host, path, query: form(query), headers, body }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Returns what is called: service and region from the signature, the operation from where its protocol has it.
    pub(super) fn call(&self) -> Option<Call> {
        let signed = self.header("authorization")?.split_once("Credential=")?.1;
        let mut scope = signed.split(',').next()?.split('/').skip(2);
        let (region, service) = (scope.next()?.to_owned(), Service::signed(scope.next()?)?);
        let operation = match service {
            Service::Rds | Service::Sts => self.form().get("Action").cloned()?,
            Service::Route53 => match route53::operation(self.method, self.path) {
                "unknown" => format!("{} {}", self.method, self.path),
                known => known.to_owned(),
            },
            Service::S3 => s3::operation(self.method, self.host, self.path, &self.query),
            Service::Health => self.path.rsplit('/').next()?.to_owned(),
            Service::Kubernetes
            | Service::Http
            | Service::Tcp
            | Service::Dns
            | Service::Postgres => return None,
        };
        Some(Call { service, region, operation })
    }

    fn form(&self) -> Params {
        form(&String::from_utf8_lossy(self.body))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(self.body).into_owned()
    }
}

/// An answer on its way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        let headers = vec![
            ("content-type", content_type.to_owned()),
            ("x-amzn-requestid", "00000000-0000-4000-8000-000000000000".to_owned()),
        ];
        Self { status, headers, body }
    }

    fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    fn header(&mut self, name: &'static str, value: &str) {
        self.headers.push((name, value.to_owned()));
    }
}

/// Refuses what the simulation does not know, as a service refuses an action it does not know.
fn unknown(what: &str) -> AwsError {
    AwsError::new(400, UNKNOWN, format!("{what} is not simulated"))
}

/// Answers a call; the second part names what the simulation does not know, where it was asked that.
pub(super) fn answer(
    desk: &mut Desk<'_>,
    call: &Call,
    request: &Request<'_>,
) -> (Answer, Option<String>) {
    let answered = match call.service {
        Service::Rds => rds::answer(desk, &call.operation, &request.form())
            .map(|value| query(RDS, call, &value)),
        Service::Sts => {
            identity::sts(desk.account, &call.operation).map(|value| query(STS, call, &value))
        }
        Service::Route53 => {
            let (path, text) = (request.path, request.text());
            route53::answer(desk, request.method, path, &request.query, &text)
                .map(|value| rest(call, &value))
        }
        Service::S3 => s3::answer(desk, request),
        Service::Health => identity::health(desk.objects, &call.operation, request.body)
            .map(|value| cbor(200, &value)),
        Service::Kubernetes | Service::Http | Service::Tcp | Service::Dns | Service::Postgres => {
            Err(unknown(&call.to_string()))
        }
    };
    match answered {
        Ok(answer) => (answer, None),
        Err(error) => {
            let left = (error.code == UNKNOWN).then(|| error.message.clone());
            (refusal(call, request, &error), left)
        }
    }
}

fn query(namespace: &str, call: &Call, value: &Value) -> Answer {
    let action = &call.operation;
    let mut body = format!("<{action}Response xmlns=\"{namespace}\">");
    codec::xml(&format!("{action}Result"), value, &mut body);
    body += "<ResponseMetadata><RequestId>00000000-0000-4000-8000-000000000000</RequestId></ResponseMetadata>";
    body += &format!("</{action}Response>");
    Answer::new(200, "text/xml", body.into_bytes())
}

fn rest(call: &Call, value: &Value) -> Answer {
    let mut inner = String::new();
    codec::xml(&format!("{}Response", call.operation), value, &mut inner);
    let named = inner.replacen('>', &format!(" xmlns=\"{ROUTE53}\">"), 1);
    Answer::new(200, "text/xml", format!("<?xml version=\"1.0\"?>\n{named}").into_bytes())
}

fn cbor(status: u16, value: &Value) -> Answer {
    let mut body = Vec::new();
    codec::cbor("", value, &mut body);
    let mut answer = Answer::new(status, "application/cbor", body);
    answer.header("smithy-protocol", "rpc-v2-cbor");
    answer
}

/// Words an error as its service does.
fn refusal(call: &Call, request: &Request<'_>, error: &AwsError) -> Answer {
    let AwsError { status, code, message } = error;
    let message = codec::escaped(message);
    let wrapped = |namespace: &str| {
        format!(
            "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}\
             </Message></Error><RequestId>00000000-0000-4000-8000-000000000000</RequestId></ErrorResponse>"
        )
    };
    match call.service {
        Service::Health => cbor(*status, &json!({ "__type": code, "message": error.message })),
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
    }
}

/// Returns the answer of a fault a service tells itself; `None` for those of the connection.
fn faulty(call: &Call, request: &Request<'_>, fault: Fault) -> Option<Answer> {
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
        (Fault::NoCapacity, Service::S3) => {
            AwsError::new(503, "ServiceUnavailable", "Reduce your request rate.")
        }
        (Fault::NoCapacity, _) => AwsError::new(503, "ServiceUnavailable", "no capacity"),
        (
            Fault::Dark
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
