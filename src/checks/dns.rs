//! Check `dns`: what a resolver answers for a name. One UDP question at a time, in our own few bytes of DNS.
//!
//! A resolver library would cache, search domains and retry elsewhere; a failover must know who answered what.

use std::net::SocketAddr;
use std::time::Duration;

use ring::rand::SecureRandom;
use serde_json::json;
use tokio::net::UdpSocket;

use super::Seen;
use crate::clients::tcp;
use crate::clients::{Clients, Network};
use crate::clock::within;
use crate::runbook::catalogue::checks::Dns;

mod message;

pub(crate) use message::RecordType;

const TRY_LIMIT: Duration = Duration::from_secs(2);
const TRIES: u32 = 3;
/// Largest answer asked for and read.
const ANSWER_MAX: usize = 4096;
/// How the resolver of `/etc/resolv.conf` is called where it is not named.
pub(crate) const OWN_RESOLVER: &str = "this host's resolver";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DnsError {
    #[error("`{0}` is not a record type this check knows: A, AAAA, CNAME, TXT")]
    Type(String),
    #[error("`{0}` is not a domain name")]
    Name(String),
    #[error("this host names no resolver: {0}")]
    NoResolver(String),
    #[error("resolver {resolver}: {why}")]
    Resolver { resolver: String, why: String },
    #[error("resolver {resolver} gave no answer to {TRIES} questions")]
    Silent { resolver: String },
    /// SERVFAIL, REFUSED and the like: the resolver does not know
    #[error("resolver {resolver} answered {code}")]
    Code { resolver: String, code: String },
    #[error("the answer of {resolver} cannot be read: {why}")]
    Malformed { resolver: String, why: String },
}

/// Looks once.
pub(crate) async fn look(clients: &Clients, with: &Dns) -> Seen {
    let asked = with.record_type.as_deref().unwrap_or("A");
    let given = match ask(clients, with.resolver.as_deref(), &with.name, asked).await {
        Ok(given) => given,
        Err(error) => return Seen::unclear(error.to_string()),
    };
    let value = json!({ "answers": given });
    let said = match given.as_slice() {
        [] => format!("no {asked} record"),
        answers => answers.join(", "),
    };
    let among = |wanted: &[String], answer: &str| {
        wanted.iter().any(|wanted| plain(wanted) == plain(answer))
    };
    if given.is_empty() {
        return match with.only.is_empty() && !with.never.is_empty() {
            // Nothing is given, so nothing of what may not be given is.
            true => Seen::holds(said, value),
            false => Seen::fails(said, value),
        };
    }
    if let Some(wrong) = given.iter().find(|answer| among(&with.never, answer)) {
        return Seen::fails(format!("still answers {wrong}"), value);
    }
    match given.iter().find(|answer| !with.only.is_empty() && !among(&with.only, answer)) {
        Some(other) => Seen::fails(format!("answers {other}"), value),
        None => Seen::holds(said, value),
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Asks a resolver (this host's first one when `None`) for a name's records; no such name is no answers.
pub(crate) async fn ask(
    clients: &Clients,
    resolver: Option<&str>,
    name: &str,
    record_type: &str,
) -> Result<Vec<String>, DnsError> {
    let record_type =
        RecordType::parse(record_type).ok_or_else(|| DnsError::Type(record_type.to_owned()))?;
    if let Network::Simulated(sandbox) = &clients.network {
        let resolver = resolver.unwrap_or(OWN_RESOLVER).to_owned();
        let answers = sandbox.question(&resolver, name, record_type.name()).await;
        return answers.ok_or(DnsError::Silent { resolver });
    }
    let resolver = match resolver {
        Some(resolver) => resolver.to_owned(),
        None => system_resolver()?,
    };
    let failed = |why: String| DnsError::Resolver { resolver: resolver.clone(), why };
    let (host, port) =
        tcp::split(&resolver, Some(53)).map_err(|failure| failed(failure.to_string()))?;
    let addresses = tcp::resolve(clients.clock.as_ref(), host, port)
        .await
        .map_err(|failure| failed(failure.to_string()))?;
    let address = addresses.first().ok_or_else(|| failed("it has no address".to_owned()))?;
    for _ in 0..TRIES {
        let exchange = exchange(*address, &resolver, name, record_type);
        if let Ok(answers) = within(clients.clock.as_ref(), TRY_LIMIT, exchange).await {
            return answers;
        }
    }
    Err(DnsError::Silent { resolver })
}

fn system_resolver() -> Result<String, DnsError> {
    let text = std::fs::read_to_string(RESOLV_CONF)
        .map_err(|error| DnsError::NoResolver(format!("{RESOLV_CONF}: {error}")))?;
    first_nameserver(&text)
        .ok_or_else(|| DnsError::NoResolver(format!("{RESOLV_CONF} has no nameserver line")))
}

fn first_nameserver(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next().map(str::to_owned)).flatten()
    })
}

/// Sends one question and waits for its answer; strays and forgeries are passed over.
async fn exchange(
    address: SocketAddr,
    resolver: &str,
    name: &str,
    record_type: RecordType,
) -> Result<Vec<String>, DnsError> {
    let failed = |why: std::io::Error| DnsError::Resolver {
        resolver: resolver.to_owned(),
        why: why.to_string(),
    };
    let mut id = [0_u8; 2];
    ring::rand::SystemRandom::new()
        .fill(&mut id)
        .map_err(|_| failed(std::io::Error::other("no random numbers")))?;
    let id = u16::from_be_bytes(id);
    let question =
        message::question(id, name, record_type).ok_or_else(|| DnsError::Name(name.to_owned()))?;
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await.map_err(failed)?;
    socket.connect(address).await.map_err(failed)?;
    socket.send(&question).await.map_err(failed)?;
    let mut buffer = vec![0_u8; ANSWER_MAX];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(failed)?;
        let answer = buffer.get(..length).unwrap_or_default();
        if !message::answers(answer, &question) {
            continue;
        }
        return match message::read(answer, record_type) {
            Ok(answers) => Ok(answers),
            Err(message::Unusable::Code(code)) => {
                Err(DnsError::Code { resolver: resolver.to_owned(), code })
            }
            Err(message::Unusable::Malformed(why)) => {
                Err(DnsError::Malformed { resolver: resolver.to_owned(), why: why.to_owned() })
            }
        };
    }
}

#[cfg(test)]
pub(super) use message::tests::answer as tests_answer;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_nameserver() {
        let text = "# comment\nsearch example\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n";
        assert_eq!(first_nameserver(text), Some("10.0.0.2".to_owned()));
        assert_eq!(first_nameserver("search example\n"), None);
    }
}
