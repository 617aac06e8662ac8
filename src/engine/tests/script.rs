//! A scripted world: every action is a switch, every fault is named, and each says whether it was hit.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::clock::manual::ManualClock;
use crate::clock::{Clock, since};
use crate::engine::ports::{
    Action, Armed, Call, Check, Image, Journal, JournalFailure, Lease, LeaseGrant, LeaseRefusal,
    Observation, Operator, Performed, Ports,
};
use crate::event::{Answer, AnswerForm, Question, QuestionKey, Record};
use crate::outcome::{ActionError, CheckReport, Effect, FailureClass, Verdict};
use crate::plan::CheckSpec;

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Observe,
    Perform,
    Revert,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    /// Fails with this class and known effect; an applied effect is really applied
    Fail(FailureClass, Effect),
    /// The change is made, the answer is lost
    LostAnswer,
    /// The request never arrives, and nobody can tell
    LostRequest,
    /// Takes this long
    Delay(Duration),
    /// Someone else changes the state meanwhile
    Foreign,
    /// A defect
    Panic,
}

/// A fault, where it strikes, and how often.
#[derive(Debug, Clone)]
pub(super) struct Strike {
    pub step: String,
    pub op: Op,
    pub fault: Fault,
    pub times: u32,
}

/// What a person does at a go screen, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    pub answer: Answer,
    /// How long they think
    pub takes: Duration,
    /// What the gate says from then on
    pub gate: Option<Verdict>,
}

#[derive(Default)]
struct Inner {
    turns: VecDeque<Turn>,
    /// Steps whose change is in place
    switched: BTreeMap<String, Value>,
    strikes: Vec<Strike>,
    /// Calls in order, as `perform database`
    calls: Vec<String>,
    hits: Vec<(String, Op)>,
    /// Checks that do not hold, by a part of their title
    failing_checks: BTreeMap<String, Verdict>,
    answers: BTreeMap<QuestionKey, Answer>,
    asked: Vec<Question>,
    typed: Option<Answer>,
    irreversible: Vec<String>,
    durable: Vec<Record>,
    /// The longest a record waited to become durable
    waited: Duration,
    /// The journal takes this many records and then fails
    journal_room: Option<usize>,
    lease: Option<LeaseRefusal>,
}

/// The world of one test.
#[derive(Clone)]
pub(super) struct World {
    inner: Arc<Mutex<Inner>>,
    pub clock: ManualClock,
}

impl World {
    pub(super) fn new() -> Self {
        Self { inner: Arc::default(), clock: ManualClock::new() }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.lock().expect("no test panics while holding it"))
    }

    pub(super) fn strike(&self, step: &str, op: Op, fault: Fault, times: u32) {
        self.with(|w| w.strikes.push(Strike { step: step.to_owned(), op, fault, times }));
    }

    pub(super) fn irreversible(&self, step: &str) {
        self.with(|w| w.irreversible.push(step.to_owned()));
    }

    pub(super) fn fail_check(&self, part: &str, verdict: Verdict) {
        self.with(|w| w.failing_checks.insert(part.to_owned(), verdict));
    }

    pub(super) fn mend_checks(&self) {
        self.with(|w| w.failing_checks.clear());
    }

    pub(super) fn turns(&self, turns: impl IntoIterator<Item = Turn>) {
        self.with(|w| w.turns = turns.into_iter().collect());
    }

    /// Says what gates find from now on.
    fn turn_gates(&self, verdict: Verdict) {
        self.mend_checks();
        if verdict != Verdict::Holds {
            self.fail_check("gate down", verdict);
        }
    }

    pub(super) fn answer(&self, key: QuestionKey, answer: Answer) {
        self.with(|w| w.answers.insert(key, answer));
    }

    /// Every typed word is answered with this instead.
    pub(super) fn answer_form_type(&self, answer: Answer) {
        self.with(|w| w.typed = Some(answer));
    }

    pub(super) fn forget_answers(&self) {
        self.with(|w| {
            w.typed = None;
            w.answers.clear();
        });
    }

    /// Forgets what happened; faults and answers stay.
    pub(super) fn reset(&self) {
        self.with(|w| {
            w.switched.clear();
            w.calls.clear();
            w.asked.clear();
            w.durable.clear();
        });
    }

    /// Puts a step's change in place.
    pub(super) fn switch(&self, step: &str, value: Value) {
        self.with(|w| w.switched.insert(step.to_owned(), value));
    }

    /// Returns the longest a record waited to become durable.
    pub(super) fn waited(&self) -> Duration {
        self.with(|w| w.waited)
    }

    pub(super) fn journal_room(&self, records: usize) {
        self.with(|w| w.journal_room = Some(records));
    }

    pub(super) fn refuse_lease(&self, refusal: Option<LeaseRefusal>) {
        self.with(|w| w.lease = refusal);
    }

    pub(super) fn durable(&self) -> Vec<Record> {
        self.with(|w| w.durable.clone())
    }

    pub(super) fn set_durable(&self, records: Vec<Record>) {
        self.with(|w| w.durable = records);
    }

    pub(super) fn calls(&self) -> Vec<String> {
        self.with(|w| w.calls.clone())
    }

    pub(super) fn asked(&self) -> Vec<Question> {
        self.with(|w| w.asked.clone())
    }

    /// Says whether every fault struck where it aimed.
    pub(super) fn all_hit(&self) -> bool {
        self.with(|w| {
            w.strikes.iter().all(|s| w.hits.iter().any(|(step, op)| *step == s.step && *op == s.op))
        })
    }

    /// Steps whose change is in place now.
    pub(super) fn switched(&self) -> Vec<String> {
        self.with(|w| w.switched.keys().cloned().collect())
    }

    pub(super) fn ports(&self) -> Ports {
        Ports {
            actions: Arc::new(self.clone()),
            checks: Arc::new(self.clone()),
            operator: Arc::new(self.clone()),
            lease: Arc::new(self.clone()),
            clock: Arc::new(self.clock.clone()),
        }
    }

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

    fn observe_now(&self, call: &Call) -> Observation {
        let done = json!({ "switch": "on", "by": call.token() });
        let live = self.with(|w| w.switched.get(&call.step.0).cloned());
        let live = live.unwrap_or_else(|| json!({ "switch": "off" }));
        let mut seen = Observation::new(live, done);
        seen.outputs = outputs(call);
        if self.with(|w| w.irreversible.contains(&call.step.0)) {
            seen.irreversible = Some("it is for good".to_owned());
        }
        seen
    }
}

/// Outputs every scripted action gives; real ones give what the catalogue says.
fn outputs(call: &Call) -> Map<String, Value> {
    let mut outputs = Map::new();
    for (name, value) in [
        ("instance", json!("recovered")),
        ("address", json!("127.0.0.1:5432")),
        ("identity", json!("7")),
        ("method", json!("promote")),
        ("reversible", json!(false)),
        ("point", json!({"method": "promote", "source": "replica", "target": "replica"})),
        ("token", json!(call.token())),
    ] {
        outputs.insert(name.to_owned(), value);
    }
    outputs
}

fn failure(fault: &Fault) -> Option<ActionError> {
    let message = "scripted".to_owned();
    match fault {
        Fault::Fail(class, effect) => {
            Some(ActionError { class: *class, effect: *effect, message, hint: None })
        }
        Fault::LostAnswer | Fault::LostRequest => {
            Some(ActionError::unknown(FailureClass::Timeout, message))
        }
        Fault::Delay(_) | Fault::Foreign | Fault::Panic => None,
    }
}

impl Action for World {
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
            let started = self.durable().iter().any(|record| {
                matches!(&record.event, crate::event::Event::StepStarted { step, .. } if *step == call.step)
            });
            assert!(started, "perform of {} without a durable StepStarted", call.step);
            match &fault {
                Some(Fault::Delay(length)) => self.clock.sleep(*length).await,
                Some(Fault::Panic) => panic!("scripted"),
                Some(_) | None => {}
            }
            let applies = match &fault {
                Some(Fault::Fail(_, effect)) => *effect == Effect::Applied,
                Some(Fault::LostRequest) => false,
                Some(_) | None => true,
            };
            if applies {
                self.with(|w| w.switched.insert(call.step.0.clone(), seen.desired.clone()));
            }
            if fault == Some(Fault::Foreign) {
                let foreign = json!({ "switch": "theirs" });
                self.with(|w| w.switched.insert(call.step.0.clone(), foreign));
            }
            match fault.as_ref().and_then(failure) {
                Some(error) => Err(error),
                None => Ok(Performed {
                    after: seen.desired.clone(),
                    outputs: outputs(call),
                    obligations: Vec::new(),
                    notes: Vec::new(),
                }),
            }
        })
    }

    fn revert<'a>(
        &'a self,
        _armed: &'a Armed,
        call: &'a Call,
        _image: &'a Image,
    ) -> BoxFuture<'a, Result<(), ActionError>> {
        Box::pin(async move {
            let fault = self.note(Op::Revert, call);
            if !matches!(fault, Some(Fault::Fail(..) | Fault::LostRequest)) {
                self.with(|w| w.switched.remove(&call.step.0));
            }
            fault.as_ref().and_then(failure).map_or(Ok(()), Err)
        })
    }
}

impl Check for World {
    fn look<'a>(&'a self, spec: &'a CheckSpec) -> BoxFuture<'a, CheckReport> {
        let failing = self.with(|w| {
            w.failing_checks.iter().find(|(part, _)| spec.title.contains(*part)).map(|(_, v)| *v)
        });
        let at: Timestamp = self.clock.now();
        Box::pin(async move {
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
        let refusal = self.with(|w| w.lease.clone());
        Box::pin(async move {
            refusal.map_or(Ok(LeaseGrant { epoch: 1, place: "scripted".to_owned() }), Err)
        })
    }

    fn assure(&self, _until: Timestamp) -> BoxFuture<'_, Result<(), LeaseRefusal>> {
        let refusal = self.with(|w| w.lease.clone());
        Box::pin(async move { refusal.map_or(Ok(()), Err) })
    }

    fn release(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// The journal of a test: memory that may run full.
pub(super) struct Memory(pub World);

impl Journal for Memory {
    fn append(&mut self, records: &[Record]) -> Result<(), JournalFailure> {
        self.0.with(|w| {
            if let Some(room) = w.journal_room
                && w.durable.len() + records.len() > room
            {
                return Err(JournalFailure("no space left on device".to_owned()));
            }
            let waits = records.iter().map(|record| since(record.time, self.0.clock.now()));
            w.waited = waits.fold(w.waited, Duration::max);
            w.durable.extend_from_slice(records);
            Ok(())
        })
    }
}
