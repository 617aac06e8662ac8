//! `traffic.shift`: moves traffic by every method the estate has, the one that needs no control plane first.
//!
//! The failover object works while Route 53 takes no changes; the record sets are moved as well where they can be, and
//! are an open obligation where they cannot. How each method went is in the journal as the output `methods`.

pub(crate) mod wiring;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{route53, s3};
use crate::by_hand;
use crate::clients::Clients;
use crate::clock::within;
use crate::engine::ports::{Armed, Call, Image, Observation, Performed};
use crate::outcome::{ActionError, Effect, FailureClass, Fidelity, Obligation};
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
    if records.is_none() && seen.satisfied {
        // The object is in place, and nobody can tell how the record sets are.
        let open = unmoved(clients, with, &seen);
        seen.obligations.push(open);
    }
    let unread = records.is_none();
    for part in [object, records].into_iter().flatten() {
        seen.evidence.extend(part.evidence);
        seen.differences.extend(part.differences);
        seen.commands.extend(part.commands);
        known.push(part.outputs);
    }
    if unread {
        // A person may get through where this host did not.
        seen.commands.extend(by_hand::traffic::records(&clients.estate, &with.to));
    }
    if seen.satisfied {
        seen.outputs = known.into_iter().next().unwrap_or_default();
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
    let mut done = Done::default();
    if !seen.live[OBJECT].is_null() {
        let method = Method { clients, call, with, part: OBJECT, seen };
        done.take(method.carry_out(METHOD_LIMIT).await);
    }
    // Record sets nobody could read have no before-image: they are not touched.
    if seen.live[RECORDS].is_null() {
        let why = "the record sets could not be read before, so they were not changed";
        done.take(Tried::untouched(clients, RECORDS, why));
    } else {
        let method = Method { clients, call, with, part: RECORDS, seen };
        // It keeps its own time; the margin is for its last request.
        done.take(method.carry_out(METHOD_LIMIT + READ_LIMIT).await);
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

/// One method of a shift.
struct Method<'a> {
    clients: &'a Clients,
    call: &'a Call,
    with: &'a TrafficShift,
    part: &'static str,
    seen: &'a Observation,
}

impl Method<'_> {
    /// Carries it out within its time. Where its answer is lost, what it changed is looked at before the next one.
    async fn carry_out(&self, limit: Duration) -> Tried {
        let clock = &*self.clients.clock;
        let (began, part) = (clock.now(), self.part);
        let (before, desired) = (&self.seen.live[part], &self.seen.desired[part]);
        let work = async {
            if part == OBJECT {
                self.call.progress.tell("by the failover object", None);
                Box::pin(s3::put(self.clients, self.call, self.with, before)).await
            } else {
                self.call.progress.tell("by the record sets", None);
                Box::pin(route53::shift(self.clients, self.call, self.with, before, desired)).await
            }
        };
        let result = within(clock, limit, work).await.unwrap_or_else(|_| Err(overdue()));
        let (after, result) = match result {
            Ok(performed) => (performed.after, Ok(performed.notes)),
            Err(error) if error.effect == Effect::None => (before.clone(), Err(error)),
            Err(error) => self.look_after(error).await,
        };
        Tried { part, began, ended: clock.now(), after, result }
    }

    /// Finds out what a method did that failed after its request.
    async fn look_after(&self, error: ActionError) -> (Value, Result<Vec<String>, ActionError>) {
        let (clients, call, with) = (self.clients, self.call, self.with);
        let seen = if self.part == OBJECT {
            bounded(clients, Box::pin(s3::observe(clients, call, with))).await
        } else {
            bounded(clients, Box::pin(route53::observe(clients, call, with))).await
        };
        let (before, desired) = (&self.seen.live[self.part], &self.seen.desired[self.part]);
        match seen {
            // Nobody can tell: what this run wants is what a rollback must be ready to find.
            Err(_) => (desired.clone(), Err(error)),
            Ok(seen) if seen.live == *desired && self.part == RECORDS => {
                // Route 53 has taken the change; the step's verification waits for its answers.
                (seen.live, Ok(vec![format!("the record sets are changed, although: {error}")]))
            }
            Ok(seen) if seen.live == *before => {
                (seen.live, Err(ActionError { effect: Effect::None, ..error }))
            }
            // An object that is there and that nobody can read moves nothing.
            Ok(seen) => (seen.live, Err(ActionError { effect: Effect::Applied, ..error })),
        }
    }
}

/// How one method went.
struct Tried {
    part: &'static str,
    began: Timestamp,
    ended: Timestamp,
    after: Value,
    /// What was done, a line each
    result: Result<Vec<String>, ActionError>,
}

impl Tried {
    fn untouched(clients: &Clients, part: &'static str, why: &str) -> Self {
        let now = clients.clock.now();
        let error = ActionError::unchanged(FailureClass::Transient, why);
        Self { part, began: now, ended: now, after: Value::Null, result: Err(error) }
    }

    fn name(&self) -> &'static str {
        if self.part == OBJECT { s3::METHOD } else { route53::METHOD }
    }

    /// Returns what the journal keeps of it.
    fn record(&self) -> Value {
        let mut record = json!({
            "method": self.name(),
            "began": self.began,
            "ended": self.ended,
            "worked": self.result.is_ok(),
        });
        if let Err(error) = &self.result {
            record["effect"] = json!(error.effect);
            record["said"] = json!(error.message);
        }
        record
    }
}

/// What the methods did so far.
#[derive(Default)]
struct Done {
    tried: Vec<Tried>,
}

impl Done {
    fn take(&mut self, tried: Tried) {
        self.tried.push(tried);
    }

    fn performed(
        self,
        clients: &Clients,
        with: &TrafficShift,
        seen: &Observation,
    ) -> Result<Performed, ActionError> {
        let worked = self.tried.iter().find(|tried| tried.result.is_ok()).map(Tried::name);
        let doubtful = self
            .tried
            .iter()
            .any(|tried| tried.result.as_ref().is_err_and(|error| error.effect == Effect::Unknown));
        let (Some(method), false) = (worked, doubtful) else {
            // What nobody can tell is looked at by the engine, never taken for done.
            let failures = self.tried.into_iter().filter_map(|tried| tried.result.err());
            return Err(joined(failures.collect(), worked));
        };
        let methods: Vec<Value> = self.tried.iter().map(Tried::record).collect();
        let outputs = Map::from_iter([
            ("method".to_owned(), json!(method)),
            ("methods".to_owned(), json!(methods)),
        ]);
        let mut after = json!({ OBJECT: null, RECORDS: null });
        let (mut notes, mut records_moved) = (Vec::new(), false);
        for tried in self.tried {
            after[tried.part] = tried.after;
            match tried.result {
                Ok(lines) => {
                    records_moved |= tried.part == RECORDS;
                    notes.extend(lines);
                }
                Err(error) => notes.push(format!("{}: {error}", tried.part)),
            }
        }
        let mut obligations = Vec::new();
        if !records_moved {
            obligations.push(unmoved(clients, with, seen));
        }
        Ok(Performed { after, outputs, obligations, notes })
    }
}

/// Returns the failure of the methods: the worst effect, the class that a retry can help first. With one that worked
/// it is the doubt about the other.
fn joined(failures: Vec<ActionError>, worked: Option<&str>) -> ActionError {
    let effect = failures.iter().map(|error| error.effect).max().unwrap_or(Effect::None);
    let class = failures.iter().map(|error| error.class).find(|class| class.retryable());
    let first = failures.first().map_or(FailureClass::Internal, |error| error.class);
    let messages: Vec<String> = failures.iter().map(|error| error.message.clone()).collect();
    let (said, effect) = match worked {
        Some(worked) => (format!("{worked} worked, and of the other"), Effect::Unknown),
        None => ("no method moved the traffic".to_owned(), effect),
    };
    let verb = if worked.is_some() { " nobody can tell" } else { "" };
    ActionError {
        class: class.unwrap_or(first),
        effect,
        message: format!("{said}{verb} ({})", messages.join("; ")),
        hint: failures.into_iter().find_map(|error| error.hint),
    }
}

fn unmoved(clients: &Clients, with: &TrafficShift, seen: &Observation) -> Obligation {
    let name = clients.estate.dns.as_ref().map_or("the record", |dns| dns.name.as_str());
    // Of records nobody could read, the commands only make the change: they are not the change itself.
    let known = seen.commands.iter().filter(|_| !seen.live[RECORDS].is_null());
    let command = known.into_iter().find(|command| command.starts_with("aws route53"));
    Obligation {
        id: format!("records-{name}"),
        say: format!(
            "the record sets of {name} still say {}: only the failover object keeps traffic in {}",
            with.from, with.to
        ),
        how: match command {
            Some(command) => format!("once Route 53 takes changes again:\n$ {command}"),
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
        | FailureClass::Overdue
        | FailureClass::Denied => true,
        FailureClass::Credentials
        | FailureClass::Invalid
        | FailureClass::NotFound
        | FailureClass::Conflict
        | FailureClass::Capacity
        | FailureClass::Refused
        | FailureClass::Unproved
        | FailureClass::Doubt
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
