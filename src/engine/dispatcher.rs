//! The dispatcher: owns the state, the journal and the questions; starts drivers and reacts to what they say.
//!
//! One task, no shared state. Every event goes the same way: sealed, applied, synced, then shown.

use std::collections::{BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, OptionFuture};
use tokio::sync::{mpsc, oneshot, watch};

use super::asking::OpenQuestion;
use super::driver::{Driver, Halt, Message, Park};
use super::ports::{Armed, Journal, LeaseGrant, LeaseRefusal, Ports, ProgressNote};
use super::scheduler::{self, Next};
use super::state::{RunPhase, RunState};
use crate::event::{Answer, Event, Finding, Question, Record, RollbackScope};
use crate::exit::Exit;
use crate::ids::StepId;
use crate::journal::record::Chain;
use crate::outcome::{CheckReport, Verdict};
use crate::plan::late::{self, About};
use crate::runbook::expression::Scope;

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
    Asking,
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
    /// Every flag that is missing where nobody can be asked: nothing starts without all of them
    pub missing: Vec<String>,
}

/// Looks at the estate and builds the question that asks whether to go.
pub(crate) type GoBuilder = Arc<dyn Fn(RunState, Look) -> BoxFuture<'static, Go> + Send + Sync>;

/// Whether the estate is looked at for the question, or what was seen is shown anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Anew,
    AsSeen,
}

/// Opens the way for changes.
pub(crate) type Arm = Box<dyn FnMut() -> Armed + Send>;

/// Closes the way for changes.
pub(crate) type Disarm = Box<dyn FnMut() + Send>;

/// Told which step is under way, and at the end that none is.
pub(crate) type AtStep = Box<dyn FnMut(Option<&StepId>) + Send>;

/// Everything a run needs besides its state.
pub(crate) struct Setup {
    pub ports: Ports,
    pub journal: Box<dyn Journal>,
    pub chain: Chain,
    /// Recorded before anything is decided
    pub opening: Vec<Event>,
    pub go: GoBuilder,
    /// Called once, after go
    pub arm: Arm,
    /// Called once the right to act is gone: nothing may be changed from then on
    pub disarm: Disarm,
    /// Told the step under way, for whoever is refused meanwhile
    pub at_step: AtStep,
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
    /// Something of the dispatcher's own ended by a panic
    Broke,
}

pub(super) struct Dispatcher {
    pub(super) ports: Ports,
    pub(super) journal: Box<dyn Journal>,
    pub(super) chain: Chain,
    pub(super) go: GoBuilder,
    arm: Arm,
    pub(super) disarm: Disarm,
    pub(super) at_step: AtStep,
    pub(super) shown: mpsc::UnboundedSender<Shown>,
    news: mpsc::UnboundedSender<ProgressNote>,
    pub(super) state: RunState,
    /// Names for expressions, without outputs
    pub(super) scope: Scope,
    armed: Option<Arc<Armed>>,
    pub(super) running: BTreeSet<usize>,
    pub(super) busy: Busy,
    pub(super) post: mpsc::UnboundedSender<Message>,
    pub(super) inner: mpsc::UnboundedSender<Inner>,
    pub(super) halt: watch::Sender<Halt>,
    /// Sealed and applied, not yet synced
    pub(super) unsynced: Vec<Record>,
    pub(super) acks: Vec<oneshot::Sender<()>>,
    pub(super) questions: VecDeque<(Box<Question>, oneshot::Sender<Answer>)>,
    pub(super) open_question: Option<OpenQuestion>,
    /// The lease is being proved now; one answer is waited for at a time
    pub(super) lease_checking: bool,
    /// Why nothing new starts, with the exit code it asks for
    pub(super) stopping: Option<(String, Exit)>,
    pub(super) rollback_wanted: Option<(String, RollbackScope)>,
    pub(super) journal_dead: bool,
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
        disarm: setup.disarm,
        at_step: setup.at_step,
        shown: setup.shown,
        news: setup.news,
        scope: scope_of(&state),
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
        lease_checking: false,
        stopping: None,
        rollback_wanted: None,
        journal_dead: false,
    };
    dispatcher.record(setup.opening);
    dispatcher.sync();
    dispatcher.carry_out(&mut messages, &mut inners, &mut signals).await
}

/// Returns what expressions of a run may name, without outputs.
fn scope_of(state: &RunState) -> Scope {
    let about = About {
        id: &state.run,
        mode: state.mode,
        started: state.began,
        incident_started: state.incident_started,
    };
    late::scope(&state.plan, &about)
}

impl Dispatcher {
    /// Decides, starts and reacts until the run ends or stops.
    async fn carry_out(
        mut self,
        messages: &mut mpsc::UnboundedReceiver<Message>,
        inners: &mut mpsc::UnboundedReceiver<Inner>,
        signals: &mut watch::Receiver<Halt>,
    ) -> (Exit, RunState) {
        let mut lease_timer = self.ports.clock.sleep(LEASE_EVERY);
        loop {
            if let Some(exit) = self.decide() {
                return self.close(exit).await;
            }
            // Drain what is there already, so that records made together share a sync, but never for longer than
            // the oldest may wait.
            if self.sync_left() == Some(Duration::ZERO) {
                self.sync();
            }
            let mut drained = false;
            while let Ok(message) = messages.try_recv() {
                self.handle(Inner::Driver(message));
                drained = true;
            }
            if drained {
                continue;
            }
            if !self.acks.is_empty() {
                self.sync();
            }
            let group = self.sync_left().map(|left| self.ports.clock.sleep(left));
            // Every arm only receives or waits: a message that is not received now is received next time.
            tokio::select! {
                biased;
                Ok(()) = signals.changed() => {
                    let wanted = *signals.borrow_and_update();
                    self.signal(wanted);
                }
                Some(message) = messages.recv() => self.handle(Inner::Driver(message)),
                Some(message) = inners.recv() => self.handle(message),
                Some(()) = OptionFuture::from(group) => self.sync(),
                () = &mut lease_timer, if self.keeps_lease() => {
                    lease_timer = self.ports.clock.sleep(LEASE_EVERY);
                    self.check_lease();
                }
            }
        }
    }

    /// Asks the scheduler and does what it says. Returns how the run ends, once it does.
    fn decide(&mut self) -> Option<Exit> {
        loop {
            // What the dispatcher itself waits for is given up by a second interrupt, like everything else.
            if self.busy != Busy::Nothing && *self.halt.borrow() != Halt::Hard {
                return None;
            }
            if self.journal_dead {
                return self.running.is_empty().then_some(Exit::Journal);
            }
            if self.rollback_wanted.is_some() && self.stopping.is_none() {
                if !self.running.is_empty() {
                    return None;
                }
                self.begin_wanted_rollback();
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
                Next::BeginRollback { why } => {
                    let scope = RollbackScope::Run;
                    self.record(vec![Event::RollbackStarted { why, scope }]);
                }
                Next::EndRollback { why } => self.end_rollback(why),
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
            vouched: self.state.vouched,
            uncounted: 0,
            throttled: 0,
            commands: Vec::new(),
            post: self.post.clone(),
            halt: self.halt.subscribe(),
            news: self.news.clone(),
        };
        let rolling_back = matches!(self.state.phase, RunPhase::RollingBack { .. });
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
        if !late::is_open(step) {
            return scope;
        }
        for used in late::uses(step) {
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
            Inner::Driver(Message::Gates { reply }) => self.look_at_gates(reply),
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
                self.lease_checking = false;
                // What is under way finds the guard closed at its next change.
                (self.disarm)();
                self.stop_for(format!("the lease was lost to {holder}"), Exit::Held);
            }
            // A lease that cannot be proved right now is proved, or vouched for, before the next attempt; what is under
            // way finds the guard closed once the last proof has lapsed, and is tried again then.
            Inner::LeaseChecked(Ok(()) | Err(LeaseRefusal::Unproved { .. })) => {
                self.lease_checking = false;
            }
            Inner::Broke => {
                (self.busy, self.lease_checking) = (Busy::Nothing, false);
                self.stop_for(
                    "a defect in phoenix-dr ended its own work".to_owned(),
                    Exit::Internal,
                );
            }
        }
    }

    pub(super) fn show_question(&self) {
        drop(self.shown.send(Shown::Asking));
    }

    pub(super) fn halted(&self) -> watch::Receiver<Halt> {
        self.halt.subscribe()
    }

    /// Says whether the lease is to be kept proved: also while a run that is being stopped lets its steps reach a safe
    /// point, for what they change then needs the proof as before.
    fn keeps_lease(&self) -> bool {
        let needed = self.stopping.is_none() || !self.running.is_empty();
        self.state.lease_taken && !self.state.vouched && !self.lease_checking && needed
    }
}
