//! What the scripted world does when the engine asks: actions, checks, answers, the lease, the journal.

use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::script::{Fault, Op, World, failure};
use crate::clock::{Clock, since};
use crate::engine::ports::{
    Action, Armed, ByHand, Call, Check, Image, Journal, JournalFailure, Lease, LeaseGrant,
    LeaseRefusal, Observation, Operator, Performed, Waiver,
};
use crate::event::{Answer, AnswerForm, Event, Question, QuestionKey, Record};
use crate::ids::StepId;
use crate::outcome::{
    ActionError, Candidate, CheckReport, Effect, FailureClass, Obligation, Verdict,
};
use crate::plan::CheckSpec;
use crate::runbook::catalogue::Shape;
use crate::runbook::catalogue::actions::ActionName;
use crate::span::Span;

impl World {
    /// Notes a call and returns the fault that strikes it.
    fn note(&self, op: Op, call: &Call) -> Option<Fault> {
        self.with(|w| {
            w.calls.push(format!("{op:?} {}", call.step).to_lowercase());
            let strike = w
                .strikes
                .iter_mut()
                .find(|strike| strike.step == call.step.0 && strike.op == op && strike.times > 0)?;
            strike.times -= 1;
            let (fault, hit) = (strike.fault.clone(), (strike.step.clone(), op));
            w.hits.push(hit);
            Some(fault)
        })
    }

    fn desired(call: &Call) -> Value {
        json!({ "switch": "on", "by": call.token() })
    }

    fn observe_now(&self, call: &Call) -> Observation {
        let live = self.with(|w| w.places.live.get(&call.step.0).cloned());
        let live = live.unwrap_or_else(off);
        let (veiled, under_way) = self.veil(call);
        let mut seen = Observation::new(veiled.unwrap_or(live), Self::desired(call));
        // What an earlier run switched on is as desired, too.
        seen.satisfied = seen.live["switch"] == "on" && !under_way;
        if !changes(call) {
            seen.satisfied = false;
        }
        if !seen.satisfied {
            seen.commands = vec![format!("switch {}", call.step)];
        }
        seen.under_way = under_way;
        seen.outputs = self.outputs(call);
        self.with(|w| {
            if seen.satisfied {
                seen.obligations.extend(w.obligations.get(&call.step.0).cloned());
            }
            if w.irreversible.contains(&call.step.0) || self.promotes(call) {
                seen.irreversible = Some("it is for good".to_owned());
            }
            if w.waived.contains(&call.step.0) && !seen.satisfied {
                seen.waiver = Some(waiver(call));
            }
            if call.action == "rds.choose_recovery_point" {
                seen.choices = candidates(w.reversible, w.loss);
            }
        });
        if call.action == "manual" {
            seen.by_hand = Some(by_hand(call));
        }
        seen
    }

    /// Returns what a look shows instead of the truth, where it does, and whether as under way.
    fn veil(&self, call: &Call) -> (Option<Value>, bool) {
        self.with(|w| {
            let found =
                w.veils.iter_mut().find(|(step, left, ..)| *step == call.step.0 && *left > 0);
            let Some((_, left, shown, under_way)) = found else { return (None, false) };
            *left -= 1;
            (Some(shown.clone().unwrap_or_else(off)), *under_way)
        })
    }

    fn promotes(&self, call: &Call) -> bool {
        call.action == "rds.promote_replica" || call.with.get("point") == Some(&point(false))
    }

    /// Outputs as the catalogue has them.
    fn outputs(&self, call: &Call) -> Map<String, Value> {
        let reversible = match &call.choice {
            Some(choice) => choice.reversible,
            None => self.with(|w| w.reversible),
        };
        let outputs = ActionName::parse(&call.action).map(ActionName::outputs).unwrap_or_default();
        let value = |shape| match shape {
            Shape::String => json!(format!("of-{}", call.step)),
            Shape::Integer => json!(0),
            Shape::Boolean => json!(reversible),
            Shape::List => json!([]),
            Shape::Object => point(reversible),
        };
        // What is restored from a dump can be dropped again; each way is gone.
        let other = if reversible { "dump" } else { "base_backup" };
        let kind = self.with(|w| w.kind).unwrap_or(other);
        let given = outputs.iter().map(|output| match output.name {
            "kind" => (output.name.to_owned(), json!(kind)),
            // The database stays where it is.
            "region" => (output.name.to_owned(), json!("us-east-1")),
            name => (name.to_owned(), value(output.shape)),
        });
        given.chain(self.with(|w| w.newest).map(|at| ("newest".to_owned(), json!(at)))).collect()
    }

    /// Notes what the engine may never do when it changes something.
    fn hold_to_account(&self, call: &Call, op: Op) {
        self.with(|w| {
            let last = w.durable.iter().rev().find_map(|record| begun(&record.event, call, op));
            let place = format!("{op:?} of {}", call.step);
            if last != Some(true) {
                w.violations.push(format!("{place} is not durable in the journal"));
            }
            let vouched = w.durable.iter().any(|r| matches!(r.event, Event::LeaseVouched { .. }));
            if !w.lease.held && !vouched {
                w.violations.push(format!("{place} without the lease"));
            }
        });
    }

    /// Carries a change out; the same token never changes anything twice.
    fn carry_out(&self, call: &Call) {
        if !changes(call) {
            return;
        }
        self.with(|w| {
            let desired = Self::desired(call);
            if w.places.live.get(&call.step.0) != Some(&desired) {
                w.places.live.insert(call.step.0.clone(), desired);
                w.places.made.push((call.step.0.clone(), call.token()));
            }
        });
    }

    fn take_back(&self, call: &Call, before: &Value) {
        self.with(|w| {
            if *before == off() {
                w.places.live.remove(&call.step.0);
            } else {
                w.places.live.insert(call.step.0.clone(), before.clone());
            }
            w.places.unmade.push(call.step.0.clone());
        });
    }

    /// The guard's answer where the lease is not proved any more.
    fn lapse(&self, again: bool) -> ActionError {
        let why = "the shared lock could not be proved any more";
        if !again {
            let why = why.to_owned();
            self.with(|w| w.lease.assure = Some(LeaseRefusal::Unproved { why }));
        }
        ActionError::unchanged(FailureClass::Unproved, why)
    }

    fn refused(&self, call: &Call) -> Option<ActionError> {
        let why = format!("{} would change the estate", call.step);
        let disarmed = self.with(|w| w.disarmed);
        disarmed.then(|| ActionError::unchanged(FailureClass::Refused, why))
    }
}

/// Says whether an action leaves anything behind in the world.
fn changes(call: &Call) -> bool {
    ActionName::parse(&call.action).is_none_or(ActionName::changes)
}

fn off() -> Value {
    json!({ "switch": "off" })
}

fn point(reversible: bool) -> Value {
    let method = if reversible { "backup" } else { "replica" };
    json!({ "method": method })
}

fn candidates(reversible: bool, loss: Option<Span>) -> Vec<Candidate> {
    let candidate = |id: &str, reversible| Candidate {
        id: id.to_owned(),
        title: format!("the {id}"),
        loss,
        forecast: Some(Span::minutes(12)),
        reversible,
        unusable: None,
        absent: false,
        notes: Vec::new(),
        doubts: Vec::new(),
        detail: point(reversible),
    };
    let mut all = if reversible { Vec::new() } else { vec![candidate("replica", false)] };
    all.extend([candidate("backup", true), candidate("snapshot", true)]);
    all
}

fn waiver(call: &Call) -> Waiver {
    let obligation = Obligation {
        id: format!("without-{}", call.step),
        say: format!("{} was not done", call.step),
        how: "do it".to_owned(),
        closed_by: None,
    };
    Waiver { why: "it is dark".to_owned(), word: "without".to_owned(), obligation }
}

fn by_hand(call: &Call) -> ByHand {
    let later = call.with.get("later").and_then(Value::as_bool).unwrap_or(false);
    let evidence = call.with.get("evidence").and_then(Value::as_str).map(str::to_owned);
    ByHand {
        lines: vec!["do it".to_owned()],
        evidence,
        later: later.then(|| waiver(call).obligation),
    }
}

/// Says of an event about a step whether the call was begun by it (true) or ended (false).
fn begun(event: &Event, call: &Call, op: Op) -> Option<bool> {
    match (event, op) {
        (Event::StepStarted { step, token, .. }, Op::Perform) if *step == call.step => {
            Some(*token == call.token())
        }
        (Event::AttemptFinished { step, .. }, Op::Perform) if *step == call.step => Some(false),
        (Event::RevertStarted { step, .. }, Op::Revert) if *step == call.step => Some(true),
        (Event::RevertFinished { step, .. }, Op::Revert) if *step == call.step => Some(false),
        _ => None,
    }
}

impl Action for World {
    fn without(&self, call: &Call) -> Option<Obligation> {
        self.with(|w| w.without.get(&call.step.0).cloned())
    }

    fn settles(&self, call: &Call, _done: &Performed) -> Vec<String> {
        self.with(|w| w.settles.get(&call.step.0).cloned()).into_iter().collect()
    }

    fn observe<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Observation, ActionError>> {
        Box::pin(async move {
            match self.note(Op::Observe, call) {
                Some(Fault::Delay(length)) => self.clock.sleep(length).await,
                Some(Fault::Panic) => panic!("scripted"),
                Some(fault) => {
                    if let Some(error) = failure(&fault) {
                        return Err(ActionError { effect: Effect::None, ..error });
                    }
                }
                None => {}
            }
            Ok(self.observe_now(call))
        })
    }

    fn perform<'a>(
        &'a self,
        _armed: &'a Armed,
        call: &'a Call,
        seen: &'a Observation,
    ) -> BoxFuture<'a, Result<Performed, ActionError>> {
        Box::pin(async move {
            let fault = self.note(Op::Perform, call);
            self.hold_to_account(call, Op::Perform);
            match &fault {
                Some(Fault::Delay(length)) => self.clock.sleep(*length).await,
                Some(Fault::Panic) => panic!("scripted"),
                Some(Fault::Lapse { again }) => return Err(self.lapse(*again)),
                Some(_) | None => {}
            }
            if let Some(refused) = self.refused(call) {
                return Err(refused);
            }
            let shown = seen.live.clone();
            match &fault {
                Some(Fault::Fail(_, Effect::None | Effect::Unknown) | Fault::LostRequest) => {}
                Some(Fault::Twice) => {
                    self.carry_out(call);
                    self.carry_out(call);
                }
                Some(Fault::Late(looks)) => {
                    self.carry_out(call);
                    self.with(|w| w.veils.push((call.step.0.clone(), *looks, Some(shown), false)));
                }
                Some(Fault::Slow(looks)) => {
                    self.carry_out(call);
                    self.with(|w| w.veils.push((call.step.0.clone(), *looks, Some(shown), true)));
                }
                Some(Fault::Foreign) => {
                    let foreign = json!({ "switch": "theirs" });
                    self.with(|w| w.places.live.insert(call.step.0.clone(), foreign));
                }
                Some(_) | None => self.carry_out(call),
            }
            match fault.as_ref().and_then(failure) {
                Some(error) => Err(error),
                None => Ok(Performed {
                    after: seen.desired.clone(),
                    outputs: self.outputs(call),
                    obligations: self
                        .with(|w| w.obligations.get(&call.step.0).cloned())
                        .into_iter()
                        .collect(),
                    notes: Vec::new(),
                }),
            }
        })
    }

    fn revert<'a>(
        &'a self,
        _armed: &'a Armed,
        call: &'a Call,
        image: &'a Image,
    ) -> BoxFuture<'a, Result<(), ActionError>> {
        Box::pin(async move {
            let fault = self.note(Op::Revert, call);
            self.hold_to_account(call, Op::Revert);
            match &fault {
                Some(Fault::Delay(length)) => self.clock.sleep(*length).await,
                Some(Fault::Panic) => panic!("scripted"),
                Some(Fault::Lapse { again }) => return Err(self.lapse(*again)),
                Some(_) | None => {}
            }
            if let Some(refused) = self.refused(call) {
                return Err(refused);
            }
            let lost = matches!(
                fault,
                Some(Fault::Fail(_, Effect::None | Effect::Unknown) | Fault::LostRequest)
            );
            if !lost {
                self.take_back(call, &image.before);
            }
            fault.as_ref().and_then(failure).map_or(Ok(()), Err)
        })
    }
}

impl Check for World {
    fn look<'a>(&'a self, spec: &'a CheckSpec) -> BoxFuture<'a, CheckReport> {
        let (failing, delay) = self.with(|w| {
            let mut failing = w.failing_checks.iter_mut();
            let found = failing.find(|(part, (_, left))| *left > 0 && spec.title.contains(*part));
            let verdict = found.map(|(_, (verdict, left))| {
                *left -= 1;
                *verdict
            });
            (verdict, w.check_delay)
        });
        Box::pin(async move {
            if !delay.is_zero() {
                self.clock.sleep(delay).await;
            }
            let at: Timestamp = self.clock.now();
            let report = |title: &str| CheckReport {
                title: title.to_owned(),
                check: spec.check.clone(),
                verdict: failing.unwrap_or(Verdict::Holds),
                said: "scripted".to_owned(),
                value: Value::Null,
                at,
                votes: Vec::new(),
                control: None,
            };
            let quorum = spec.check == "quorum";
            let votes = if quorum { vec![report("database")] } else { Vec::new() };
            CheckReport { votes, ..report(&spec.title) }
        })
    }
}

impl Operator for World {
    fn ask<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Answer> {
        let scripted = self.with(|w| {
            w.asked.push(question.clone());
            let typed = matches!(question.form, AnswerForm::Type { .. });
            let scripted = w.answers.get(&question.key).cloned();
            scripted.or_else(|| w.typed.clone().filter(|_| typed))
        });
        let go = matches!(question.key, QuestionKey::Go | QuestionKey::Blocked);
        let turn = go.then(|| self.with(|w| w.turns.pop_front())).flatten();
        Box::pin(async move {
            if let Some(turn) = turn {
                self.clock.sleep(turn.takes).await;
                turn.gate.into_iter().for_each(|verdict| self.turn_gates(verdict));
                return turn.answer;
            }
            scripted.unwrap_or_else(|| match &question.form {
                AnswerForm::YesNo => Answer::Yes,
                AnswerForm::Type { word } => Answer::Typed { text: word.clone() },
                AnswerForm::Reason | AnswerForm::Evidence { .. } => {
                    Answer::Typed { text: "because".to_owned() }
                }
                AnswerForm::Candidates { best, .. } => match best {
                    Some(id) => Answer::Chosen { id: id.clone() },
                    None => Answer::No,
                },
                AnswerForm::Menu { .. } => Answer::Nobody { why: "no script".to_owned() },
            })
        })
    }
}

impl Lease for World {
    fn take(&self) -> BoxFuture<'_, Result<LeaseGrant, LeaseRefusal>> {
        Box::pin(async move {
            let (refusal, delay) = self.with(|w| {
                w.lease.taken += 1;
                (w.lease.take.clone(), w.lease.delay)
            });
            if !delay.is_zero() {
                self.clock.sleep(delay).await;
            }
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
            self.with(|w| w.lease.held = true);
            Ok(LeaseGrant { epoch: 1, place: "scripted".to_owned() })
        })
    }

    fn assure(&self, _until: Timestamp) -> BoxFuture<'_, Result<(), LeaseRefusal>> {
        Box::pin(async move {
            let (refusal, delay) = self.with(|w| {
                w.lease.assured += 1;
                (w.lease.assure.clone(), w.lease.delay)
            });
            if !delay.is_zero() {
                self.clock.sleep(delay).await;
            }
            refusal.map_or(Ok(()), Err)
        })
    }

    fn vouch(&self) {
        self.with(|w| w.lease.vouched = true);
    }

    fn at_step(&self, _step: Option<&StepId>) {}

    fn release(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let delay = self.with(|w| w.lease.delay);
            if !delay.is_zero() {
                self.clock.sleep(delay).await;
            }
            self.with(|w| {
                w.lease.held = false;
                w.lease.given_back += u32::from(!w.disarmed);
            });
        })
    }
}

/// The journal of a test: memory that may run full.
pub(super) struct Memory(pub World);

impl Journal for Memory {
    fn append(&mut self, records: &[Record]) -> Result<(), JournalFailure> {
        let now = self.0.clock.now();
        let waited: Duration =
            records.first().map(|oldest| since(oldest.time, now)).unwrap_or_default();
        self.0.with(|w| {
            if let Some(room) = w.journal_room
                && w.durable.len() + records.len() > room
            {
                return Err(JournalFailure("no space left on device".to_owned()));
            }
            let moment = w.places.clone();
            w.moments.extend(records.iter().map(|_| moment.clone()));
            w.durable.extend_from_slice(records);
            w.writes.push((records.len(), waited));
            Ok(())
        })
    }
}
