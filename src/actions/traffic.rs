//! `traffic.shift`: moves traffic by every method the estate has, the one that needs no control plane first.
//!
//! The failover object works while Route 53 takes no changes; the record sets are moved as well where they can be, and
//! are an open obligation where they cannot.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{route53, s3};
use crate::clients::Clients;
use crate::clock::within;
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::outcome::{ActionError, FailureClass, Fidelity, Obligation};
use crate::runbook::catalogue::actions::TrafficShift;

/// A read that takes longer counts as a control plane that is not there.
const READ_LIMIT: Duration = Duration::from_secs(8);

/// How long one method may take before the next one is tried.
const METHOD_LIMIT: Duration = route53::LIMIT;

const OBJECT: &str = "object";
const RECORDS: &str = "records";

pub(crate) async fn observe(
    clients: &Clients,
    call: &Call,
    with: &TrafficShift,
) -> Result<Observation, ActionError> {
    let (object, records) = futures::join!(
        async {
            match uses_object(clients, with)? {
                true => {
                    bounded(clients, Box::pin(s3::observe(clients, call, with))).await.map(Some)
                }
                false => Ok(None),
            }
        },
        bounded(clients, Box::pin(route53::observe(clients, call, with))),
    );
    let mut seen = Observation::new(Value::Null, Value::Null);
    let mut known = Vec::new();
    let object = match object {
        Ok(object) => object,
        // What one method cannot read leaves the other; a wrong estate or expired credentials leave none.
        Err(error) if lost(&error) && records.is_ok() => {
            seen.evidence.push(format!("the failover object cannot be read: {error}"));
            seen.fidelity = Fidelity::Unreachable;
            None
        }
        Err(error) => return Err(error),
    };
    let records = match records {
        Ok(records) => Some(records),
        Err(error) if lost(&error) && object.is_some() => {
            seen.evidence.push(format!("Route 53's API cannot be read: {error}"));
            seen.fidelity = Fidelity::Unreachable;
            None
        }
        Err(error) => return Err(error),
    };
    let part = |part: &Option<Observation>, of: fn(&Observation) -> &Value| {
        part.as_ref().map_or(Value::Null, |part| of(part).clone())
    };
    let whole = |of: fn(&Observation) -> &Value| json!({ OBJECT: part(&object, of), RECORDS: part(&records, of) });
    seen.live = whole(|part| &part.live);
    seen.desired = whole(|part| &part.desired);
    seen.satisfied = seen.live == seen.desired;
    for part in [object, records].into_iter().flatten() {
        seen.evidence.extend(part.evidence);
        seen.differences.extend(part.differences);
        seen.commands.extend(part.commands);
        known.push(part.outputs);
    }
    if seen.satisfied {
        seen.outputs = known.into_iter().next().unwrap_or_default();
    }
    Ok(seen)
}

pub(crate) async fn perform(
    clients: &Clients,
    armed: &Armed,
    call: &Call,
    with: &TrafficShift,
    seen: &Observation,
) -> Result<Performed, ActionError> {
    let mut done = Done::default();
    if !seen.live[OBJECT].is_null() {
        call.progress.tell("by the failover object", None);
        let method = Box::pin(s3::perform(clients, armed, call, with, seen));
        let method = within(&*clients.clock, METHOD_LIMIT, method);
        done.take(OBJECT, method.await.unwrap_or_else(|_| Err(overdue())), &seen.live[OBJECT]);
    }
    // Record sets nobody could read have no before-image: they are not touched.
    if seen.live[RECORDS].is_null() {
        done.failures.push(ActionError::unchanged(
            FailureClass::Transient,
            "the record sets could not be read before, so they were not changed",
        ));
    } else {
        call.progress.tell("by the record sets", None);
        // It keeps its own time; the margin is for its last request.
        let limit = METHOD_LIMIT + READ_LIMIT;
        let method = Box::pin(route53::perform(clients, armed, call, with, seen));
        let method = within(&*clients.clock, limit, method);
        done.take(RECORDS, method.await.unwrap_or_else(|_| Err(overdue())), &seen.live[RECORDS]);
    }
    done.performed(clients, with, seen)
}

pub(crate) async fn revert(
    clients: &Clients,
    _armed: &Armed,
    call: &Call,
    with: &TrafficShift,
    image: &Image,
) -> Result<(), ActionError> {
    // The record sets first: with the object gone, what they say decides.
    let differs =
        |part: &str| !image.before[part].is_null() && image.before[part] != image.now.live[part];
    if differs(RECORDS) {
        route53::restore(clients, call, with, &image.before[RECORDS]).await?;
    }
    if differs(OBJECT) {
        s3::restore(clients, call, &image.before[OBJECT]).await?;
    }
    Ok(())
}

/// What the methods did so far.
#[derive(Default)]
struct Done {
    after: Map<String, Value>,
    outputs: Option<Map<String, Value>>,
    notes: Vec<String>,
    failures: Vec<ActionError>,
    records_moved: bool,
}

impl Done {
    fn take(&mut self, part: &str, result: Result<Performed, ActionError>, before: &Value) {
        match result {
            Ok(performed) => {
                self.after.insert(part.to_owned(), performed.after);
                self.outputs.get_or_insert(performed.outputs);
                self.notes.extend(performed.notes);
                self.records_moved |= part == RECORDS;
            }
            Err(error) => {
                self.after.insert(part.to_owned(), before.clone());
                self.notes.push(format!("{part}: {error}"));
                self.failures.push(error);
            }
        }
    }

    fn performed(
        mut self,
        clients: &Clients,
        with: &TrafficShift,
        seen: &Observation,
    ) -> Result<Performed, ActionError> {
        let Some(outputs) = self.outputs else { return Err(joined(self.failures)) };
        for part in [OBJECT, RECORDS] {
            self.after.entry(part).or_insert(Value::Null);
        }
        let mut obligations = Vec::new();
        if !self.records_moved {
            let name = clients.estate.dns.as_ref().map_or("the record", |dns| dns.name.as_str());
            obligations.push(unmoved(name, with, seen));
        }
        Ok(Performed { after: Value::Object(self.after), outputs, obligations, notes: self.notes })
    }
}

/// Returns the failure of all methods: the worst effect, the class that a retry can help first.
fn joined(failures: Vec<ActionError>) -> ActionError {
    let effect = failures.iter().map(|error| error.effect).max();
    let class = failures.iter().map(|error| error.class).find(|class| class.retryable());
    let first = failures.first().map_or(FailureClass::Internal, |error| error.class);
    let messages: Vec<String> = failures.iter().map(|error| error.message.clone()).collect();
    ActionError {
        class: class.unwrap_or(first),
        effect: effect.unwrap_or(crate::outcome::Effect::None),
        message: format!("no method moved the traffic ({})", messages.join("; ")),
        hint: failures.into_iter().find_map(|error| error.hint),
    }
}

fn unmoved(name: &str, with: &TrafficShift, seen: &Observation) -> Obligation {
    let command = seen.commands.iter().find(|command| command.starts_with("aws route53"));
    Obligation {
        id: format!("records-{name}"),
        say: format!(
            "the record sets of {name} still say {}: only the failover object keeps traffic in {}",
            with.from, with.to
        ),
        how: match command {
            Some(command) => format!("once Route 53 takes changes again: {command}"),
            None => format!(
                "once Route 53 takes changes again: give {}'s record set the weight 0 and {}'s another",
                with.from, with.to
            ),
        },
        closed_by: Some(json!({
            "check": "route53.answer",
            "with": { "region": with.to },
            "that": "value.records_moved",
        })),
    }
}

/// Says whether the failover object is a method of this shift.
fn uses_object(clients: &Clients, with: &TrafficShift) -> Result<bool, ActionError> {
    let primary = &clients.estate.primary.region;
    let configured = route53::dns(clients)?.failover_object.is_some();
    Ok(configured && (with.from == *primary || with.to == *primary))
}

/// Says whether an error means that a control plane is not there, rather than that the request is wrong.
const fn lost(error: &ActionError) -> bool {
    match error.class {
        FailureClass::Throttled
        | FailureClass::Transient
        | FailureClass::Timeout
        | FailureClass::Denied => true,
        FailureClass::Credentials
        | FailureClass::Invalid
        | FailureClass::NotFound
        | FailureClass::Conflict
        | FailureClass::Capacity
        | FailureClass::Refused
        | FailureClass::Internal => false,
    }
}

fn overdue() -> ActionError {
    ActionError::unknown(FailureClass::Timeout, "not done within its time")
}

async fn bounded(
    clients: &Clients,
    look: impl Future<Output = Result<Observation, ActionError>>,
) -> Result<Observation, ActionError> {
    within(&*clients.clock, READ_LIMIT, look).await.unwrap_or_else(|elapsed| {
        Err(ActionError::unchanged(FailureClass::Timeout, elapsed.to_string()))
    })
}

#[cfg(test)]
#[path = "traffic_tests.rs"]
mod tests;
