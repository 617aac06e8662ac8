//! A scripted world: every action is a switch, every fault is named, and each says whether it was hit.
//!
//! What the engine may never do is noted as a violation when it does it; `sound` fails the test for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::clock::manual::ManualClock;
use crate::engine::ports::{LeaseRefusal, Ports};
use crate::event::{Answer, Question, QuestionKey, Record};
use crate::outcome::{ActionError, Effect, FailureClass, Obligation, Verdict};
use crate::span::Span;

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
    /// The change is made and the answer lost, and the next looks do not show it yet
    Late(u32),
    /// The change is made and the answer lost; the next looks show it as still under way
    Slow(u32),
    /// The service gets the request twice
    Twice,
    /// Takes this long
    Delay(Duration),
    /// Someone else changes the state meanwhile
    Foreign,
    /// The lease's proof lapses before the change is requested; it can be proved again, or not
    Lapse { again: bool },
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

/// What the world holds at one moment; it outlives the engine's process.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Places {
    /// What each step's switch shows, where it is not off
    pub live: BTreeMap<String, Value>,
    /// Changes that were really made: step and token, in order
    pub made: Vec<(String, String)>,
    /// Changes that were really taken back
    pub unmade: Vec<String>,
}

/// How the shared lock behaves.
#[derive(Debug, Clone, Default)]
pub(super) struct LeaseScript {
    pub take: Option<LeaseRefusal>,
    pub assure: Option<LeaseRefusal>,
    /// Every exchange takes this long
    pub delay: Duration,
    /// This process took it
    pub held: bool,
    /// Times it was taken, and proved
    pub taken: u32,
    pub assured: u32,
    /// Times it was given back while changes were still let through
    pub given_back: u32,
    /// A person vouched for being alone
    pub vouched: bool,
}

#[derive(Default)]
pub(super) struct Inner {
    pub turns: VecDeque<Turn>,
    pub places: Places,
    pub strikes: Vec<Strike>,
    /// Calls in order, as `perform database`
    pub calls: Vec<String>,
    pub hits: Vec<(String, Op)>,
    /// Looks that still show something else than what is: step, how often, what, whether as under way
    pub veils: Vec<(String, u32, Option<Value>, bool)>,
    /// Checks that do not hold, by a part of their title, and how often they still fail
    pub failing_checks: BTreeMap<String, (Verdict, u32)>,
    pub check_delay: Duration,
    pub answers: BTreeMap<QuestionKey, Answer>,
    pub asked: Vec<Question>,
    pub typed: Option<Answer>,
    pub irreversible: BTreeSet<String>,
    /// Steps that can only be gone on without
    pub waived: BTreeSet<String>,
    /// What stays open where a step's change is not made
    pub without: BTreeMap<String, Obligation>,
    /// What a step leaves open once its change is in place
    pub obligations: BTreeMap<String, Obligation>,
    /// What a step settles of what was left open
    pub settles: BTreeMap<String, String>,
    /// The recovery points that can be taken can all be taken back
    pub reversible: bool,
    /// What kind they are of, where that is not said by `reversible`
    pub kind: Option<&'static str>,
    /// What each of them loses
    pub loss: Option<Span>,
    /// Of when the newest record is in what was restored
    pub newest: Option<Timestamp>,
    pub durable: Vec<Record>,
    /// The world when each durable record began to be written
    pub moments: Vec<Places>,
    /// Size and waiting time of each write to the journal
    pub writes: Vec<(usize, Duration)>,
    /// The journal takes this many records and then fails
    pub journal_room: Option<usize>,
    pub lease: LeaseScript,
    /// The engine closed the guard
    pub disarmed: bool,
    /// Steps the lock and the lease were told of
    pub told: Vec<Option<String>>,
    pub violations: Vec<String>,
}

/// The world of one test.
#[derive(Clone)]
pub(super) struct World {
    inner: Arc<Mutex<Inner>>,
    pub clock: ManualClock,
}

impl World {
    pub(super) fn new() -> Self {
        let inner = Inner { loss: Some(Span::seconds(7)), ..Inner::default() };
        Self { inner: Arc::new(Mutex::new(inner)), clock: ManualClock::new() }
    }

    /// Returns a world that holds what another one held at some moment, and is asked the same.
    pub(super) fn at(&self, places: &Places, durable: &[Record]) -> Self {
        let world = Self { clock: self.clock.clone(), ..Self::new() };
        let (irreversible, waived, obligations, chosen, answers) = self.with(|w| {
            let (irreversible, waived) = (w.irreversible.clone(), w.waived.clone());
            let obligations = (w.obligations.clone(), w.settles.clone());
            (irreversible, waived, obligations, (w.reversible, w.kind), w.answers.clone())
        });
        world.with(|w| {
            w.places = places.clone();
            w.durable = durable.to_vec();
            (w.irreversible, w.waived) = (irreversible, waived);
            (w.obligations, w.settles) = obligations;
            ((w.reversible, w.kind), w.answers) = (chosen, answers);
        });
        world
    }

    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        // A scripted defect may panic; what the world holds is still what it holds.
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn strike(&self, step: &str, op: Op, fault: Fault, times: u32) {
        self.with(|w| w.strikes.push(Strike { step: step.to_owned(), op, fault, times }));
    }

    /// Lets a check with this in its title go on failing.
    pub(super) fn fail_check(&self, part: &str, verdict: Verdict) {
        self.with(|w| w.failing_checks.insert(part.to_owned(), (verdict, u32::MAX)));
    }

    pub(super) fn mend_checks(&self) {
        self.with(|w| w.failing_checks.clear());
    }

    pub(super) fn turns(&self, turns: impl IntoIterator<Item = Turn>) {
        self.with(|w| w.turns = turns.into_iter().collect());
    }

    /// Says what gates find from now on.
    pub(super) fn turn_gates(&self, verdict: Verdict) {
        self.mend_checks();
        if verdict != Verdict::Holds {
            self.fail_check("gate down", verdict);
        }
    }

    /// Clears every fault: what was broken is repaired.
    pub(super) fn mend(&self) {
        self.mend_checks();
        self.with(|w| {
            w.strikes.clear();
            w.lease.take = None;
            w.lease.assure = None;
            w.lease.delay = Duration::ZERO;
            w.check_delay = Duration::ZERO;
        });
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

    /// Has a step leave something open once its change is in place.
    pub(super) fn leaves_open(&self, step: &str) {
        let obligation = Obligation {
            id: format!("after-{step}"),
            say: format!("{step} is not all"),
            how: "by hand".to_owned(),
            closed_by: None,
        };
        self.with(|w| w.obligations.insert(step.to_owned(), obligation));
    }

    /// Has a step settle what another leaves open.
    pub(super) fn settles(&self, step: &str, other: &str) {
        self.with(|w| w.settles.insert(step.to_owned(), format!("after-{other}")));
    }

    /// Puts a step's change in place, as an earlier run left it.
    pub(super) fn switch(&self, step: &str) {
        let earlier = json!({ "switch": "on", "by": format!("earlier/{step}/0") });
        self.with(|w| w.places.live.insert(step.to_owned(), earlier));
    }

    /// Lets everything in place be an earlier run's.
    pub(super) fn age(&self) {
        let steps = self.switched();
        steps.iter().for_each(|step| self.switch(step));
    }

    /// Returns the longest a record waited to become durable.
    pub(super) fn waited(&self) -> Duration {
        let waited = self.with(|w| w.writes.iter().map(|(_, waited)| *waited).max());
        waited.unwrap_or_default()
    }

    pub(super) fn journal_room(&self, records: usize) {
        self.with(|w| w.journal_room = Some(records));
    }

    /// Refuses the lease, or its proof, in this way.
    pub(super) fn refuse_lease(&self, refusal: Option<LeaseRefusal>) {
        self.with(|w| {
            w.lease.take.clone_from(&refusal);
            w.lease.assure = refusal;
        });
    }

    pub(super) fn durable(&self) -> Vec<Record> {
        self.with(|w| w.durable.clone())
    }

    pub(super) fn set_durable(&self, records: Vec<Record>) {
        self.with(|w| {
            w.moments = vec![w.places.clone(); records.len()];
            w.durable = records;
        });
    }

    pub(super) fn calls(&self) -> Vec<String> {
        self.with(|w| w.calls.clone())
    }

    pub(super) fn count(&self, call: &str) -> usize {
        self.with(|w| w.calls.iter().filter(|made| *made == call).count())
    }

    pub(super) fn asked(&self) -> Vec<Question> {
        self.with(|w| w.asked.clone())
    }

    pub(super) fn places(&self) -> Places {
        self.with(|w| w.places.clone())
    }

    /// Says whether every fault struck where it aimed.
    pub(super) fn all_hit(&self) -> bool {
        self.with(|w| {
            w.strikes.iter().all(|s| w.hits.iter().any(|(step, op)| *step == s.step && *op == s.op))
        })
    }

    /// Steps whose change is in place now.
    pub(super) fn switched(&self) -> Vec<String> {
        self.with(|w| w.places.live.keys().cloned().collect())
    }

    /// Steps that are in place now as this name's journal knows them: no earlier run's, nobody else's.
    pub(super) fn ours(&self) -> BTreeSet<String> {
        self.with(|w| {
            let ours =
                |live: &Value| live["by"].as_str().is_some_and(|by| !by.starts_with("earlier"));
            let found = w.places.live.iter().filter(|(_, live)| ours(live));
            found.map(|(step, _)| step.clone()).collect()
        })
    }

    /// Begins another process of the engine: what the last one held is gone.
    pub(super) fn new_process(&self) {
        self.with(|w| {
            w.lease.held = false;
            w.disarmed = false;
        });
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
}

/// Returns the error a fault gives, where it gives one.
pub(super) fn failure(fault: &Fault) -> Option<ActionError> {
    let message = "scripted".to_owned();
    match fault {
        Fault::Fail(class, effect) => {
            Some(ActionError { class: *class, effect: *effect, message, hint: None })
        }
        Fault::LostAnswer | Fault::LostRequest | Fault::Late(_) | Fault::Slow(_) => {
            Some(ActionError::unknown(FailureClass::Timeout, message))
        }
        Fault::Delay(_) | Fault::Foreign | Fault::Lapse { .. } | Fault::Panic | Fault::Twice => {
            None
        }
    }
}
