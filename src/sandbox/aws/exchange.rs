//! One request and its answer, as the network between them lets them through: the same for every way in.

use std::time::Duration;

use super::refusal::faulty;
use super::{Answer, Request};
use crate::sandbox::Sandbox;
use crate::sandbox::fault::{Call, Fault, Rule};
use crate::span::Span;

const LATENCY: Span = Span::seconds(5);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lost {
    /// Nothing answered to connecting
    Silent,
    Refused,
    /// The request was carried out, and its answer never came
    Answer,
    /// The connection broke off after this much of it
    Torn(Answer),
}

/// Carries a request to its service; `connect` and `read` are how long the client waits.
pub(super) async fn exchange(
    sandbox: &Sandbox,
    call: &Call,
    request: &Request<'_>,
    connect: Duration,
    read: Duration,
) -> Result<Answer, Lost> {
    let clock = sandbox.clock();
    let call = &Call { wants_machine: sandbox.wants_machine(call, request), ..call.clone() };
    let struck = sandbox.strike(call).map(|rule| (rule.fault, rule));
    match struck {
        Some((Fault::Dark, _)) => {
            clock.sleep(connect).await;
            return Err(Lost::Silent);
        }
        Some((Fault::Refused, _)) => return Err(Lost::Refused),
        Some((Fault::Latency, ref rule)) => clock.sleep(delay(rule)).await,
        _ => {}
    }
    let fault = struck.map(|(fault, _)| fault);
    clock.sleep(sandbox.durations().answer.0).await;
    if let Some(answer) = fault.and_then(|fault| faulty(call, request, fault)) {
        return Ok(answer);
    }
    let mut answer = sandbox.aws(call, request, fault);
    if fault == Some(Fault::LostAnswer) {
        clock.sleep(read).await;
        return Err(Lost::Answer);
    }
    if fault == Some(Fault::Truncated) {
        answer.body.truncate(answer.body.len() / 2);
        return Err(Lost::Torn(answer));
    }
    Ok(answer)
}

/// Returns how much longer an answer takes.
pub(crate) fn delay(rule: &Rule) -> Duration {
    rule.delay.unwrap_or(LATENCY).0
}
