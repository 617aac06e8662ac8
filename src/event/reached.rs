//! How much was lost, as far as what was restored tells: folded from a run's events, for the run's end and its report alike.
//!
//! What was chosen says how much should be lost. What the newest record in the restored data is says how much it is.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{AttemptResult, Event};
use crate::clock::since;
use crate::ids::StepId;
use crate::outcome::{Candidate, StepEnd};
use crate::plan::{Body, Plan};
use crate::runbook::catalogue::actions::ActionName;
use crate::span::Span;

/// The output that says of when the newest record is.
const NEWEST: &str = "newest";

/// What is known of the newest record in the database that takes over.
///
/// It is the first that a step found in it since the recovery point was chosen and the database restored: later ones may
/// have been written by the application since.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// A recovery point was chosen, against this instant where it was said
    chosen: Option<Option<Timestamp>>,
    /// Steps that look into what was restored, and what each found that has not ended yet
    looks: BTreeMap<StepId, Option<Timestamp>>,
    newest: Option<Timestamp>,
}

/// What was lost, by the newest record there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost {
    pub newest: Timestamp,
    /// From the newest record to the incident: no more than this
    pub most: Span,
}

impl Reached {
    /// Takes one event in.
    pub(crate) fn apply(&mut self, plan: &Plan, event: &Event) {
        match event {
            Event::StepReady { step, with } if looks_into_restored(plan, step, with) => {
                self.looks.insert(step.clone(), None);
            }
            Event::StepStarted { choice: Some(choice), .. } => {
                self.chosen = Some(incident(choice));
                self.newest = None;
            }
            Event::StepStarted { step, .. }
                if action(plan, step).is_some_and(ActionName::recovers) =>
            {
                self.newest = None;
            }
            Event::AttemptFinished {
                step,
                result: AttemptResult::Performed { outputs, .. },
                ..
            } => {
                if let Some(look) = self.looks.get_mut(step) {
                    *look = outputs.get(NEWEST).and_then(instant);
                }
            }
            Event::StepFinished { step, end: StepEnd::Done, .. } if self.chosen.is_some() => {
                let found = self.looks.remove(step).flatten();
                self.newest = self.newest.or(found);
            }
            _ => {}
        }
    }

    /// Returns what was lost; `None` where nobody read it. `began` is when the incident did, where the choice did not say.
    pub(crate) fn lost(&self, began: Timestamp) -> Option<Lost> {
        let (incident, newest) = (self.chosen?.unwrap_or(began), self.newest?);
        Some(Lost { newest, most: Span(since(newest, incident)) })
    }
}

/// Says whether a step looks into what was restored: a proof does, and a look at another database than the damaged one.
fn looks_into_restored(plan: &Plan, step: &StepId, with: &Map<String, Value>) -> bool {
    let text = |name: &str| with.get(name).and_then(Value::as_str);
    match action(plan, step) {
        Some(ActionName::PostgresProve) => true,
        Some(ActionName::PostgresAssess) => plan.estate.database.as_ref().is_some_and(|damaged| {
            text("instance") != Some(&damaged.primary.id)
                || text("database").is_some_and(|name| name != damaged.name)
        }),
        Some(_) | None => false,
    }
}

fn action(plan: &Plan, step: &StepId) -> Option<ActionName> {
    let planned = plan.steps.iter().find(|planned| planned.id == *step)?;
    let Body::Action { action, .. } = &planned.body else { return None };
    ActionName::parse(action)
}

/// Returns the instant a choice counted its losses against.
fn incident(choice: &Candidate) -> Option<Timestamp> {
    choice.detail.get("incident").and_then(instant)
}

fn instant(value: &Value) -> Option<Timestamp> {
    value.as_str().and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::fixtures::plan;

    #[test]
    fn a_look_at_the_damaged_database_is_none_at_what_was_restored() {
        let mut plan = plan();
        let database = json!({
            "name": "phoenix",
            "primary": { "id": "phoenix-prod", "region": "us-east-1" },
            "recovered": { "id": "phoenix-recovered" },
            "connection": { "user": "dr", "password_from": { "env": "PATH" }, "tls": "disable" },
        });
        plan.estate.database = Some(serde_json::from_value(database).expect("a database"));
        for (action, with, looks) in [
            ("postgres.assess", json!({ "instance": "phoenix-prod" }), false),
            (
                "postgres.assess",
                json!({ "instance": "phoenix-prod", "database": "phoenix" }),
                false,
            ),
            ("postgres.assess", json!({ "instance": "phoenix-prod", "database": "copy" }), true),
            ("postgres.assess", json!({ "instance": "phoenix-recovered" }), true),
            ("postgres.prove", json!({ "instance": "phoenix-prod", "database": "copy" }), true),
            ("postgres.dump", json!({ "instance": "phoenix-recovered" }), false),
        ] {
            let with = with.as_object().cloned().expect("arguments");
            plan.steps[0].body = Body::Action { action: action.to_owned(), with: with.clone() };
            let step = plan.steps[0].id.clone();
            assert_eq!(looks_into_restored(&plan, &step, &with), looks, "{action} {with:?}");
        }
    }
}
