//! Check `http`: what a URL answers, or that it cannot be reached.

use std::time::Duration;

use serde_json::{Value, json};

use super::Seen;
use super::control::{Reached, Round, judge};
use crate::clients::Clients;
use crate::clients::http::{Answer, Get, get};
use crate::clients::tcp::Failure;
use crate::runbook::catalogue::checks::{Http, Reach};
use crate::span::Span;

const LIMIT: Duration = Duration::from_secs(3);
/// A JSON body up to this size is part of the value, for `that`.
const JSON_MAX: usize = 4 * 1024;

/// Looks once.
pub(crate) async fn look(clients: &Clients, with: &Http, round: &Round) -> Seen {
    let public = match (&with.connect_to, public_address(clients, &with.url).await) {
        (Some(_), _) | (None, Ok(None)) => None,
        (None, Ok(Some(address))) => Some(address),
        (None, Err(said)) => return Seen::unclear(said),
    };
    let asked = Get {
        url: &with.url,
        connect_to: with.connect_to.as_deref().or(public.as_deref()),
        limit: with.timeout.map_or(LIMIT, Span::duration),
        follow: with.expect == Reach::Reachable,
    };
    let answer = match get(clients, &asked).await {
        Ok(answer) => answer,
        Err(failure) => {
            let reached = match failure {
                Failure::Unreachable(said) => Reached::No(said),
                Failure::Unclear(said) => Reached::Unclear(said),
            };
            let control = with.control.as_deref();
            return judge(clients, round, with.expect, control, reached, Value::Null).await;
        }
    };
    let said = said(&answer);
    if answer.proxied && matches!(answer.status, 502..=504) {
        return Seen::unclear(format!("{said}, perhaps the proxy and not the server"));
    }
    match with.expect {
        Reach::Unreachable => Seen::fails(said, value(&answer)),
        Reach::Reachable => wanted(with, &answer, said),
    }
}

/// Resolves the estate's public name by the resolvers the estate names, as its users do: this host's own resolver may
/// hold an old answer, or another view of the zone. `None` where the URL names something else.
async fn public_address(clients: &Clients, url: &str) -> Result<Option<String>, String> {
    let Some(dns) = clients.estate.dns.as_ref() else { return Ok(None) };
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port),
        None => (authority, if url.starts_with("https:") { "443" } else { "80" }),
    };
    if host != dns.name || dns.resolvers.is_empty() {
        return Ok(None);
    }
    let mut why = String::new();
    for resolver in &dns.resolvers {
        match super::dns::ask(clients, Some(resolver), host, "A").await {
            Ok(answers) => {
                let address =
                    answers.iter().find(|text| text.parse::<std::net::Ipv4Addr>().is_ok());
                match address {
                    Some(address) => return Ok(Some(format!("{address}:{port}"))),
                    None => why = format!("{resolver} gives no address for {host}"),
                }
            }
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

fn said(answer: &Answer) -> String {
    match &answer.location {
        Some(location) => format!("answered {} to {location}", answer.status),
        None => format!("answered {}", answer.status),
    }
}

fn wanted(with: &Http, answer: &Answer, said: String) -> Seen {
    let value = value(answer);
    let status = match with.status {
        Some(status) => answer.status == status,
        None => (200..300).contains(&answer.status),
    };
    if !status {
        return Seen::fails(said, value);
    }
    match &with.contains {
        Some(text) if !String::from_utf8_lossy(&answer.body).contains(text.as_str()) => {
            Seen::fails(format!("{said} without `{text}`"), value)
        }
        _ => Seen::holds(said, value),
    }
}

fn value(answer: &Answer) -> Value {
    let is_json = answer.content_type.as_deref().is_some_and(|kind| kind.contains("json"));
    let json: Option<Value> = (is_json && answer.body.len() <= JSON_MAX)
        .then(|| serde_json::from_slice(&answer.body).ok())
        .flatten();
    match json {
        Some(body) => json!({ "status": answer.status, "json": body }),
        None => json!({ "status": answer.status }),
    }
}
