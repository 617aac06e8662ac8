//! What was seen of the estate, kept for the hour when it cannot be looked at any more.
//!
//! Every dry run and preflight keeps what it saw on this host. A dry run writes nothing anywhere else, so the copy in
//! the surviving region is written by a live run, once it is armed. Facts stand in for a look, with their age. They
//! are never a before-image: what cannot be read is not written to either.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::ser::{Error as _, SerializeMap as _};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use super::context::chain;
use crate::clients::Clients;
use crate::clients::lease_store::{Condition, LeaseStore, PutError};
use crate::ids::StepId;
use crate::journal::facts::Facts;
use crate::journal::record::digest;
use crate::journal::store::{Namespace, Store};
use crate::mask::Masker;
use crate::outcome::Fidelity;
use crate::plan::{Body, Plan};
use crate::report::plan_view::{DryRunReport, Found, StateFound};
use crate::report::text;

/// What was last seen of a plan's steps, newest of this host's and the shared copy's. What was read just now is not
/// copied from where it was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Known<'a> {
    steps: BTreeMap<String, Seen<'a>>,
}

/// One step's state as it was last read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Seen<'a> {
    at: Timestamp,
    /// user@host
    who: String,
    action: String,
    /// Digest of the arguments: what was read for others says nothing
    with: String,
    state: Cow<'a, StateFound>,
}

impl Seen<'_> {
    /// Returns the state as it stands in for a look: whether it is still so nobody knows, and a loss that was
    /// measured then has grown since.
    pub(super) fn state(&self) -> StateFound {
        StateFound {
            satisfied: false,
            choices: Vec::new(),
            waiver: None,
            seen: Some(self.at),
            ..StateFound::clone(&self.state)
        }
    }

    /// Returns what was seen in a few words.
    pub(super) fn line(&self) -> String {
        let parts: Vec<String> = if self.state.differences.is_empty() {
            let wanted = self.state.satisfied.then(|| "as it should be".to_owned());
            vec![wanted.unwrap_or_else(|| text::clip(&self.state.present.to_string(), 160))]
        } else {
            let differences = self.state.differences.iter();
            differences.map(|seen| format!("{}: {}", seen.what, seen.from)).collect()
        };
        format!("last seen {} UTC by {}: {}", text::day(self.at), self.who, parts.join(", "))
    }
}

impl<'a> Known<'a> {
    /// Returns what was last seen of a step, if that was for what it would do now.
    pub(super) fn of(&self, plan: &Plan, i: usize) -> Option<&Seen<'a>> {
        let step = &plan.steps[i];
        let Body::Action { action, with } = &step.body else { return None };
        let seen = self.steps.get(&step.id.0)?;
        let same = seen.action == *action && seen.with == digest_of(with);
        same.then_some(seen)
    }

    /// Reads what facts say.
    pub(super) fn read(facts: &Facts) -> Result<Self, String> {
        let steps = facts.facts.get("steps").cloned().unwrap_or_else(|| json!({}));
        let steps = serde_json::from_value(steps).map_err(|why| format!("read facts: {why}"))?;
        Ok(Self { steps })
    }

    /// Takes what another process saw later.
    pub(super) fn take(&mut self, other: Self) {
        for (step, seen) in other.steps {
            if self.steps.get(&step).is_none_or(|known| known.at < seen.at) {
                self.steps.insert(step, seen);
            }
        }
    }

    /// Takes what was read just now; what could not be read stays as it was seen before.
    pub(super) fn learn(&mut self, report: &'a DryRunReport) {
        let planned: HashMap<&StepId, &Body> =
            report.plan.steps.iter().map(|step| (&step.id, &step.body)).collect();
        let who = crate::journal::who::who();
        for step in &report.steps {
            let Some(Body::Action { action, with }) = planned.get(&step.step) else { continue };
            let Found::State { state } = &step.found else { continue };
            if state.seen.is_some() || step.fidelity < Fidelity::Observed {
                continue;
            }
            let seen = Seen {
                at: report.seen,
                who: who.clone(),
                action: action.clone(),
                with: digest_of(with),
                state: Cow::Borrowed(state),
            };
            self.steps.insert(step.step.0.clone(), seen);
        }
    }

    /// Returns the facts to keep, without what is hidden.
    pub(super) fn facts<'k>(
        &'k self,
        saved_at: Timestamp,
        masks: &'k Masker,
    ) -> Facts<BTreeMap<&'static str, Masked<'k>>> {
        Facts::new(saved_at, BTreeMap::from([("steps", Masked { steps: &self.steps, masks })]))
    }
}

/// What is known, to be written without what is hidden: a step at a time, for a plan may have ten thousand.
pub(super) struct Masked<'a> {
    steps: &'a BTreeMap<String, Seen<'a>>,
    masks: &'a Masker,
}

impl Serialize for Masked<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.steps.len()))?;
        for (step, seen) in self.steps {
            let seen = serde_json::to_value(seen).map_err(S::Error::custom)?;
            map.serialize_entry(&self.masks.mask(step), &self.masks.value(seen))?;
        }
        map.end()
    }
}

fn digest_of(with: &serde_json::Map<String, Value>) -> String {
    digest(Value::Object(with.clone()).to_string().as_bytes())
}

/// Returns what this host saw last.
pub(super) fn load(store: &Store, plan: &Plan) -> Result<Known<'static>, String> {
    let facts = store.load_facts(&plan.estate.estate, Namespace::Live, &plan.runbook);
    match facts.map_err(|why| chain(&why))? {
        Some(facts) => Known::read(&facts),
        None => Ok(Known::default()),
    }
}

/// Keeps what is known on this host.
pub(super) fn save(
    store: &Store,
    plan: &Plan,
    facts: &Facts<impl Serialize>,
) -> Result<(), String> {
    let estate = &plan.estate.estate;
    let saved = store.save_facts(estate, Namespace::Live, &plan.runbook, facts);
    saved.map(drop).map_err(|why| chain(&why))
}

/// Returns what is known in the surviving region.
pub(super) async fn fetch(place: &LeaseStore) -> Result<Known<'static>, String> {
    match place.get().await? {
        Some(found) => Known::read(&Facts::read(&found.body)?),
        None => Ok(Known::default()),
    }
}

/// Keeps this host's facts in the surviving region. The guard must be open.
pub(super) async fn share(
    clients: &Clients,
    place: &LeaseStore,
    store: &Store,
    plan: &Plan,
) -> Result<(), String> {
    let mut known = load(store, plan)?;
    let found = place.get().await?;
    let condition = match &found {
        Some(found) => Condition::Unchanged { etag: found.etag.clone() },
        None => Condition::Absent,
    };
    if let Some(found) = &found
        && let Ok(other) = Facts::read(&found.body).and_then(|facts| Known::read(&facts))
    {
        known.take(other);
    }
    match place.put(&condition, known.facts(clients.clock.now(), &clients.masks).bytes()).await {
        // Another run was faster: what it keeps is as new.
        Ok(_) | Err(PutError::NotMet | PutError::Conflict) => Ok(()),
        Err(PutError::Refused(why) | PutError::Unknown(why)) => Err(why),
    }
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
