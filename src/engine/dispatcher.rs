//! The dispatcher: owns the state, the journal and the questions; starts drivers and reacts to what they say.
//!
//! One task, no shared state. Every event goes the same way: sealed, applied, synced, then shown.

use std::collections::{BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};

use super::asking::OpenQuestion;
use super::driver::{Driver, Halt, Message, Park};
use super::ports::{Armed, Journal, LeaseGrant, LeaseRefusal, Ports, ProgressNote};
use super::scheduler::{self, Next};
use super::state::RunState;
use crate::clock::since;
use crate::event::{Answer, Event, Finding, Question, Record};
use crate::exit::Exit;
use crate::ids::StepId;
use crate::journal::record::Chain;
use crate::outcome::{CheckReport, Verdict};
use crate::runbook::expression::Scope;

/// A record may wait this long for others to share its sync.
const GROUP_WAIT: Duration = Duration::from_millis(2);

/// The lease is proved this often while steps run.
const LEASE_EVERY: Duration = Duration::from_secs(20);

/// What is shown: facts once they are durable, and the rest at once.
#[derive(Debug, Clone)]
pub(crate) enum Shown {
    Fact(Box<Record>),
    /// The journal could not be written: these facts exist nowhere else
    Unwritten {
        records: Vec<Record>,
        why: String,
    },
    /// A question opens: bars make way
    Asking(Box<Question>),
    /// Nothing new starts; these steps reach a safe point first
    Stopping {
        why: String,
        running: Vec<StepId>,
    },
}

/// What is known when a run is about to start.
#[derive(Debug, Clone)]
pub(crate) struct Go {
    pub question: Question,
    /// Preflight's findings; a blocking one is not gone past
    pub findings: Vec<Finding>,
}

/// Looks at the estate and builds the question that asks whether to go.
pub(crate) type GoBuilder = Arc<dyn Fn(RunState, Look) -> BoxFuture<'static, Go> + Send + Sync>;

/// Whether the estate is looked at for the question, or what was seen is shown anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Anew,
    AsSeen,
}

/// Everything a run needs besides its state.
pub(crate) struct Setup {
    pub ports: Ports,
    pub journal: Box<dyn Journal>,
    pub chain: Chain,
    /// Recorded before anything is decided
    pub opening: Vec<Event>,
    pub go: GoBuilder,
    /// Called once, after go
    pub arm: Box<dyn FnMut() -> Armed + Send>,
    /// How much a signal wants the run stopped
    pub signals: watch::Receiver<Halt>,
    pub shown: mpsc::UnboundedSender<Shown>,
    pub news: mpsc::UnboundedSender<ProgressNote>,
}

/// What the dispatcher itself is busy with, besides steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Busy {
    Nothing,
    Going,
    Leasing,
    Verifying,
}

/// Something that happened inside the engine.
pub(super) enum Inner {
    Driver(Message),
    Answered {
        question: Box<Question>,
        answer: Answer,
    },
    Went(Result<(), Park>),
    Leased(Result<LeaseGrant, LeaseRefusal>),
    /// A person was asked to vouch for being alone when the lease was to be taken
    Vouched {
        why: String,
        result: Result<String, Park>,
    },
    RunVerified {
        verdict: Verdict,
        reports: Vec<CheckReport>,
    },
    LeaseChecked(Result<(), LeaseRefusal>),
}

pub(super) struct Dispatcher {
    pub(super) ports: Ports,
    journal: Box<dyn Journal>,
    chain: Chain,
    pub(super) go: GoBuilder,
    arm: Box<dyn FnMut() -> Armed + Send>,
    shown: mpsc::UnboundedSender<Shown>,
    news: mpsc::UnboundedSender<ProgressNote>,
    pub(super) state: RunState,
    /// Names for expressions, without outputs
    pub(super) scope: Scope,
    armed: Option<Arc<Armed>>,
    running: BTreeSet<usize>,
    pub(super) busy: Busy,
    pub(super) post: mpsc::UnboundedSender<Message>,
    pub(super) inner: mpsc::UnboundedSender<Inner>,
    halt: watch::Sender<Halt>,
    /// Sealed and applied, not yet synced
    unsynced: Vec<Record>,
    acks: Vec<oneshot::Sender<()>>,
    pub(super) questions: VecDeque<(Box<Question>, oneshot::Sender<Answer>)>,
    pub(super) open_question: Option<OpenQuestion>,
    /// Why nothing new starts, with the exit code it asks for
    pub(super) stopping: Option<(String, Exit)>,
    pub(super) rollback_wanted: Option<String>,
    journal_dead: bool,
}

/// Carries a plan on from `state` until it ends or stops; returns how, and the state it ended in.
pub(crate) async fn run(setup: Setup, state: RunState) -> (Exit, RunState) {
    let (post, mut messages) = mpsc::unbounded_channel();
    let (inner, mut inners) = mpsc::unbounded_channel();
    let (halt, _) = watch::channel(Halt::No);
    let mut signals = setup.signals;
    let mut dispatcher = Dispatcher {
        ports: setup.ports,
        journal: setup.journal,
        chain: setup.chain,
        go: setup.go,
        arm: setup.arm,
        shown: setup.shown,
        news: setup.news,
        scope: crate::plan::late::scope(&state.plan, &state.run),
        state,
        armed: None,
        running: BTreeSet::new(),
        busy: Busy::Nothing,
        post,
        inner,
        halt,
        unsynced: Vec::new(),
        acks: Vec::new(),
        questions: VecDeque::new(),
        open_question: None,
        stopping: None,
        rollback_wanted: None,
        journal_dead: false,
    };
    dispatcher.record(setup.opening);
    dispatcher.sync();
    let mut lease_timer = dispatcher.ports.clock.sleep(LEASE_EVERY);
    loop {
        if let Some(exit) = dispatcher.decide() {
            return dispatcher.close(exit).await;
        }
        // Drain what is there already, so that records made together share a sync.
        let mut drained = false;
        while let Ok(message) = messages.try_recv() {
            dispatcher.handle(Inner::Driver(message));
            drained = true;
        }
        let patience = dispatcher.patience();
        if patience == Some(Duration::ZERO) || (!drained && !dispatcher.acks.is_empty()) {
            dispatcher.sync();
        }
        if drained {
            continue;
        }
        let group = dispatcher.ports.clock.sleep(patience.unwrap_or(GROUP_WAIT));
        let unsynced = !dispatcher.unsynced.is_empty();
        // Every arm only receives or waits: a message that is not received now is received next time.
        tokio::select! {
            biased;
            Ok(()) = signals.changed() => {
                let wanted = *signals.borrow_and_update();
                dispatcher.signal(wanted);
            }
            Some(message) = messages.recv() => dispatcher.handle(Inner::Driver(message)),
            Some(message) = inners.recv() => dispatcher.handle(message),
            () = group, if unsynced => dispatcher.sync(),
            () = &mut lease_timer, if dispatcher.holds_lease() => {
                lease_timer = dispatcher.ports.clock.sleep(LEASE_EVERY);
                dispatcher.check_lease();
            }
        }
    }
}

impl Dispatcher {
    /// Asks the scheduler and does what it says. Returns how the run ends, once it does.
    fn decide(&mut self) -> Option<Exit> {
        loop {
            if self.busy != Busy::Nothing {
                return None;
            }
            if self.journal_dead {
                return self.running.is_empty().then_some(Exit::Journal);
            }
            if let Some(why) = self.rollback_wanted.clone()
                && self.stopping.is_none()
            {
                if !self.running.is_empty() {
                    return None;
                }
                self.rollback_wanted = None;
                self.record(vec![Event::RollbackStarted { why }]);
            }
            match scheduler::next(&self.state, &self.running, self.stopping.is_some()) {
                Next::Start(steps) => {
                    for step in steps {
                        self.start(step);
                    }
                    return None;
                }
                Next::AskGo => {
                    self.ask_go();
                    return None;
                }
                Next::TakeLease => {
                    self.take_lease();
                    return None;
                }
                Next::VerifyRun => {
                    self.verify_run();
                    return None;
                }
                Next::BeginRollback { why } => self.record(vec![Event::RollbackStarted { why }]),
                Next::Revert(step) => {
                    self.start(step);
                    return None;
                }
                Next::Wait => return None,
                Next::Stop => return Some(self.stop()),
                Next::Finish => return Some(self.finish()),
            }
        }
    }

    fn start(&mut self, index: usize) {
        self.arm_after_go();
        self.running.insert(index);
        let driver = Driver {
            run: self.state.run.clone(),
            ports: self.ports.clone(),
            armed: self.armed.clone(),
            plan: Arc::clone(&self.state.plan),
            index,
            state: self.state.steps[index].clone(),
            upstream: self.upstream(index),
            settings: self.state.settings.clone(),
            past: self.state.any_point_passed(),
            vouched: self.state.vouched,
            post: self.post.clone(),
            halt: self.halt.subscribe(),
            news: self.news.clone(),
        };
        let rolling_back = matches!(self.state.phase, super::state::RunPhase::RollingBack { .. });
        let (post, step) = (self.post.clone(), index);
        let driving = async move {
            if rolling_back { driver.roll_back().await } else { driver.drive().await }
        };
        tokio::spawn(async move {
            // A driver that panics is a defect; it must become a recorded failure, not a run that waits for ever.
            if AssertUnwindSafe(driving).catch_unwind().await.is_err() {
                drop(post.send(Message::Panicked { step }));
            }
        });
    }

    /// Arms the run once an operator said go; the lease itself is already a write.
    pub(super) fn arm_after_go(&mut self) {
        if self.armed.is_none() && self.state.going() {
            self.armed = Some(Arc::new((self.arm)()));
        }
    }

    /// Names for a step's expressions, with the outputs they use; loading holds that those are of steps upstream.
    fn upstream(&self, index: usize) -> Scope {
        let mut scope = self.scope.clone();
        let step = &self.state.plan.steps[index];
        if !crate::plan::late::is_open(step) {
            return scope;
        }
        for used in crate::plan::late::uses(step) {
            let state = self.state.graph.of_step(&used).map(|i| &self.state.steps[i]);
            if let Some(state) = state.filter(|state| state.ended().is_some()) {
                scope.set_outputs(&used.0, state.outputs.clone());
            }
        }
        scope
    }

    fn handle(&mut self, inner: Inner) {
        match inner {
            Inner::Driver(Message::Record { events, synced }) => {
                self.record(events);
                // While the journal is dead the acknowledgement is dropped: nothing may start.
                if let Some(synced) = synced.filter(|_| !self.journal_dead) {
                    self.acks.push(synced);
                }
            }
            Inner::Driver(Message::Ask { question, reply }) => self.ask(question, reply),
            Inner::Driver(Message::Left { step, parked }) => {
                self.running.remove(&step);
                if let Some(park) = parked {
                    self.park(park);
                }
            }
            Inner::Driver(Message::Panicked { step }) => {
                self.running.remove(&step);
                let id = self.state.plan.steps[step].id.clone();
                self.stop_for(format!("a defect in phoenix-dr ended step `{id}`"), Exit::Internal);
            }
            Inner::Answered { question, answer } => self.answered(&question, answer),
            Inner::Went(result) => {
                self.busy = Busy::Nothing;
                if let Err(park) = result {
                    self.park(park);
                }
            }
            Inner::Leased(result) => self.leased(result),
            Inner::Vouched { why, result } => self.vouch(why, result),
            Inner::RunVerified { verdict, reports } => {
                self.busy = Busy::Nothing;
                self.record(vec![Event::RunVerified { verdict, reports }]);
            }
            Inner::LeaseChecked(Err(
                LeaseRefusal::Lost { holder } | LeaseRefusal::Held { holder },
            )) => {
                self.stop_for(format!("the lease was lost to {holder}"), Exit::Held);
            }
            // A lease that cannot be proved right now is proved, or vouched for, before the next change.
            Inner::LeaseChecked(Ok(()) | Err(LeaseRefusal::Unproved { .. })) => {}
        }
    }

    pub(super) fn park(&mut self, park: Park) {
        match park {
            Park::Halted | Park::Journal => {}
            Park::Declined(why) | Park::Nobody(why) => self.stop_for(why, Exit::Stopped),
            Park::Missing(flag) => {
                self.stop_for(format!("an answer is needed: {flag}"), Exit::NeedsAnswer);
            }
            Park::NotMet(why) => self.stop_for(why, Exit::NotMet),
            Park::Lease(holder) => {
                self.stop_for(format!("the lease is held by {holder}"), Exit::Held);
            }
            Park::Kept => {
                let rolling_back =
                    matches!(self.state.phase, super::state::RunPhase::RollingBack { .. });
                let exit = match (rolling_back, self.state.changed()) {
                    (true, _) => Exit::NeedsOperator,
                    (false, true) => Exit::ChangesLeft,
                    (false, false) => Exit::FailedUnchanged,
                };
                self.stop_for("an operator stopped the run here".to_owned(), exit);
            }
            Park::RollBack(why) => self.rollback_wanted = Some(why),
        }
    }

    /// Lets nothing new start; what runs reaches a safe point.
    pub(super) fn stop_for(&mut self, why: String, exit: Exit) {
        if self.stopping.is_none() && !self.running.is_empty() {
            // What follows may take minutes: a person must not think that nothing happened.
            let running = self.running.iter().map(|i| self.state.plan.steps[*i].id.clone());
            let running = running.collect();
            drop(self.shown.send(Shown::Stopping { why: why.clone(), running }));
        }
        self.stopping.get_or_insert((why, exit));
        // A question that is open when the run is stopped is left unanswered; it is put again on resume.
        self.questions.clear();
        self.open_question = None;
        self.halt.send_if_modified(|halt| {
            let raised = *halt < Halt::Soft;
            *halt = (*halt).max(Halt::Soft);
            raised
        });
    }

    fn signal(&mut self, wanted: Halt) {
        match wanted {
            Halt::No => {}
            Halt::Soft => self.stop_for("interrupted".to_owned(), Exit::Stopped),
            Halt::Hard => {
                self.stopping = Some(("interrupted twice".to_owned(), Exit::Interrupted));
                self.questions.clear();
                self.open_question = None;
                self.halt.send_replace(Halt::Hard);
            }
        }
    }

    /// Seals and applies events; they are synced together with what comes right after.
    pub(super) fn record(&mut self, events: Vec<Event>) {
        for event in events {
            let now = self.ports.clock.now();
            if let Err(error) = self.state.apply(&event, now) {
                // What was just decided contradicts the state: a defect. Stop before it becomes a fact.
                self.stop_for(format!("a defect in phoenix-dr: {error}"), Exit::Internal);
                continue;
            }
            self.unsynced.push(self.chain.seal(event, now));
        }
    }

    /// Returns how long the oldest record that is not synced may still wait for others.
    fn patience(&self) -> Option<Duration> {
        let oldest = self.unsynced.first()?;
        Some(GROUP_WAIT.saturating_sub(since(oldest.time, self.ports.clock.now())))
    }

    /// Makes everything sealed durable, then shows it and lets go on what waited for it.
    pub(super) fn sync(&mut self) {
        if self.unsynced.is_empty() {
            self.acknowledge();
            return;
        }
        let records = std::mem::take(&mut self.unsynced);
        if self.journal_dead {
            let why = "the journal failed before".to_owned();
            drop(self.shown.send(Shown::Unwritten { records, why }));
            return;
        }
        match self.journal.append(&records) {
            Ok(()) => {
                for record in records {
                    drop(self.shown.send(Shown::Fact(Box::new(record))));
                }
                self.acknowledge();
            }
            Err(failure) => {
                self.journal_dead = true;
                self.acks.clear();
                drop(self.shown.send(Shown::Unwritten { records, why: failure.to_string() }));
                self.stop_for(failure.to_string(), Exit::Journal);
            }
        }
    }

    fn acknowledge(&mut self) {
        for ack in self.acks.drain(..) {
            // A driver that is gone needs no acknowledgement.
            ack.send(()).ok();
        }
    }

    pub(super) fn show_question(&self, question: &Question) {
        drop(self.shown.send(Shown::Asking(Box::new(question.clone()))));
    }

    pub(super) fn halted(&self) -> watch::Receiver<Halt> {
        self.halt.subscribe()
    }

    fn holds_lease(&self) -> bool {
        self.state.lease_taken && !self.state.vouched && self.stopping.is_none()
    }

    async fn close(mut self, exit: Exit) -> (Exit, RunState) {
        self.sync();
        if self.state.lease_taken {
            self.ports.lease.release().await;
        }
        let exit = if self.journal_dead { Exit::Journal } else { exit };
        (exit, self.state)
    }
}
