//! AWS: what its services answer, over the SDK's own connector; no request leaves the process.
//!
//! Owns reading which service, region and operation a request is for, and the wire forms of answers and errors. What
//! a service does is its own module's.

mod cbor;
mod codec;
mod connector;
mod digest;
mod exchange;
mod front;
mod identity;
mod operations;
mod rds;
mod refusal;
mod route53;
mod s3;
#[cfg(test)]
mod tests;

pub(crate) use connector::Connector;
pub(super) use exchange::delay;
pub(crate) use front::Front;
pub(super) use s3::anonymous;

use jiff::Timestamp;
use serde_json::Value;

use super::dns::Dark;
use super::fault::{Call, Service};
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
    /// When the rehearsal began
    pub began: Timestamp,
    pub random: &'a mut Random,
}

impl Desk<'_> {
    /// Returns the desk of another region.
    fn in_region<'b>(&'b mut self, region: &'b str) -> Desk<'b> {
        Desk {
            objects: &mut *self.objects,
            durations: self.durations,
            account: self.account,
            region,
            dark: self.dark,
            began: self.began,
            random: &mut *self.random,
        }
    }
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
            Service::Route53 => route53::operation(self.method, self.path)
                .map_or_else(|| format!("{} {}", self.method, self.path), str::to_owned),
            Service::S3 => s3::operation(self),
            // Smithy's RPC v2 names it in the path, the JSON protocol in a header.
            Service::Health => match self.header("x-amz-target") {
                Some(target) => target.rsplit('.').next()?.to_owned(),
                None => self.path.rsplit('/').next()?.to_owned(),
            },
            Service::Kubernetes
            | Service::Http
            | Service::Tcp
            | Service::Dns
            | Service::Postgres => return None,
        };
        Some(Call { service, region, operation, wants_machine: false })
    }

    fn form(&self) -> Params {
        form(&String::from_utf8_lossy(self.body))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(self.body).into_owned()
    }

    /// Returns a body of JSON or CBOR; null where it is neither.
    fn value(&self) -> Value {
        let json = || serde_json::from_slice(self.body).ok();
        cbor::read(self.body).filter(Value::is_object).or_else(json).unwrap_or_default()
    }
}

/// An answer on its way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        let mut answer = Self { status, headers: Vec::new(), body };
        answer.header("content-type", content_type);
        answer.header("x-amzn-requestid", "00000000-0000-4000-8000-000000000000");
        answer
    }

    fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    fn header(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }
}

/// Refuses what the simulation does not know, as a service refuses an action it does not know.
fn unknown(what: &str) -> AwsError {
    AwsError::new(400, UNKNOWN, format!("{what} is not simulated"))
}

/// Returns the operations of a service that are simulated; of what is not AWS's there are none.
pub(super) const fn operations(service: Service) -> &'static [&'static str] {
    match service {
        Service::Rds => &rds::OPERATIONS,
        Service::Route53 => &route53::OPERATIONS,
        Service::S3 => &s3::OPERATIONS,
        Service::Sts => &identity::STS,
        Service::Health => &identity::HEALTH,
        Service::Kubernetes | Service::Http | Service::Tcp | Service::Dns | Service::Postgres => {
            &[]
        }
    }
}

/// Returns the operations that may need a machine which might not be there.
pub(super) const fn wanting_machines() -> &'static [&'static str] {
    &rds::WANTING_MACHINES
}

/// Says whether one of these, as things are, needs another machine.
pub(super) fn wants_machine(desk: &Desk<'_>, call: &Call, request: &Request<'_>) -> bool {
    rds::wants_machine(desk, &call.operation, &request.form())
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
        Service::Sts => identity::sts(desk, &call.operation, &request.form())
            .map(|value| query(STS, call, &value)),
        Service::Route53 => {
            let (path, text) = (request.path, request.text());
            route53::answer(desk, request.method, path, &request.query, &text)
                .map(|value| rest(call, &value))
        }
        Service::S3 => s3::answer(desk, request),
        Service::Health => identity::health(desk.objects, &call.operation, &request.value())
            .map(|value| rpc(200, request, &value)),
        Service::Kubernetes | Service::Http | Service::Tcp | Service::Dns | Service::Postgres => {
            Err(unknown(&call.to_string()))
        }
    };
    match answered {
        Ok(answer) => (answer, None),
        Err(error) => {
            let left = (error.code == UNKNOWN).then(|| error.message.clone());
            (refusal::refusal(call, request, &error), left)
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
    let status = if call.operation.starts_with("Create") { 201 } else { 200 };
    Answer::new(status, "text/xml", format!("<?xml version=\"1.0\"?>\n{named}").into_bytes())
}

/// Answers in the protocol of the question: CBOR, or JSON.
fn rpc(status: u16, request: &Request<'_>, value: &Value) -> Answer {
    if request.header("x-amz-target").is_some() {
        let body = refusal::instants(value).to_string().into_bytes();
        return Answer::new(status, "application/x-amz-json-1.1", body);
    }
    let mut body = Vec::new();
    cbor::write("", value, &mut body);
    let mut answer = Answer::new(status, "application/cbor", body);
    answer.header("smithy-protocol", "rpc-v2-cbor");
    answer
}
