//! The engine on a scripted world and a manual clock: no cloud, no terminal, no file.

mod acting;
mod crash;
mod faults;
mod going;
mod halts;
mod human;
mod lease;
mod loops;
mod plain;
mod points;
mod random;
mod runbooks;
mod script;
mod sound;
mod ways;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Map;
use tokio::sync::{mpsc, watch};

use super::dispatcher::{self, Setup, Shown};
use super::driver::Halt;
use super::ports::{Armed, Journal};
use super::state::RunState;
use super::step::StepState;
use crate::clock::Clock;
use crate::event::{
    AnswerForm, Event, Finding, FindingLevel, Mode, OnFailureFlag, Question, QuestionKey, Record,
    RollbackScope, RunSettings,
};
use crate::exit::Exit;
use crate::ids::{RunId, StepId};
use crate::journal::record::Chain;
use crate::outcome::StepEnd;
use crate::plan::{Approval, Body, CheckSpec, Plan, PlannedStep, Retries, Rollback};
use crate::runbook::schema::{Objectives, OnFailure, Vote};
use crate::span::Span;
use acting::Memory;
use script::World;

fn settings(interactive: bool) -> RunSettings {
    RunSettings {
        jobs: 8,
        on_failure: OnFailureFlag::Auto,
        confirm_each: false,
        interactive,
        overrides: BTreeMap::new(),
        failures_answered: Default::default(),
        reverts_answered: Default::default(),
        recovery_point: None,
        typed: Vec::new(),
    }
}

fn check(title: &str) -> CheckSpec {
    CheckSpec {
        check: "http".to_owned(),
        title: title.to_owned(),
        with: Map::new(),
        that: None,
        expect: None,
        within: Span::seconds(30),
        every: Span::seconds(5),
        consecutive: 1,
        vote: Vote::Full,
    }
}

fn step(id: &str, needs: &[&str], body: Body) -> PlannedStep {
    PlannedStep {
        id: id.into(),
        title: format!("Do {id}"),
        phase: None,
        priority: None,
        service: None,
        needs: needs.iter().map(|need| StepId::from(*need)).collect(),
        when: None,
        approve: Approval::Plan,
        changes: matches!(body, Body::Action { .. }),
        body,
        verify: vec![check(&format!("verify {id}"))],
        rollback: Rollback::Auto,
        point_of_no_return: false,
        on_failure: OnFailure::Ask,
        retry: Retries {
            attempts: 3,
            backoff_first: Span::seconds(2),
            backoff_longest: Span::seconds(30),
        },
        timeout: Span::minutes(10),
        usually: Some(Span::minutes(1)),
        critical: true,
        rehearse: None,
    }
}

fn gate(id: &str, needs: &[&str]) -> PlannedStep {
    let gate = step(id, needs, Body::Gate { checks: vec![check(&format!("gate {id}"))] });
    PlannedStep { verify: Vec::new(), ..gate }
}

fn action(id: &str, needs: &[&str]) -> PlannedStep {
    step(id, needs, Body::Action { action: "command.run".to_owned(), with: Map::new() })
}

fn plan(steps: Vec<PlannedStep>) -> Plan {
    Plan {
        runbook: "T-1".to_owned(),
        title: "Test".to_owned(),
        command: "test".to_owned(),
        severity: crate::estate::types::Severity::SEV1,
        objectives: Objectives {
            rto: Span::minutes(30),
            rto_max: Span::minutes(240),
            rpo: Span::minutes(5),
            rpo_max: Span::minutes(30),
        },
        inputs: BTreeMap::new(),
        estate: serde_json::from_value(estate()).expect("a literal estate"),
        steps,
        verification: vec![check("restored")],
        follow_ups: Vec::new(),
        fail_fast: false,
        rehearse: Vec::new(),
        digest: "d".to_owned(),
    }
}

fn estate() -> serde_json::Value {
    serde_json::json!({
        "estate": "t",
        "primary": { "region": "us-east-1" },
        "regions": { "us-east-1": { "api": "http://a" } },
    })
}

/// The shape of a failover: a gate, reversible work in parallel, a point of no return, what follows it.
fn failover() -> Plan {
    plan(vec![
        gate("down", &[]),
        action("fence", &["down"]),
        action("capacity", &["down"]),
        PlannedStep { point_of_no_return: true, ..action("database", &["fence", "capacity"]) },
        action("repoint", &["database"]),
        gate("end_to_end", &["repoint"]),
        action("traffic", &["end_to_end"]),
        PlannedStep { critical: false, ..action("p1", &["traffic"]) },
    ])
}

/// How a run went.
struct Ran {
    pub exit: Exit,
    pub state: RunState,
}

impl Ran {
    fn step(&self, id: &str) -> &StepState {
        let i = self.state.graph.of_step(&id.into()).expect("a step of the plan");
        &self.state.steps[i]
    }

    fn end(&self, id: &str) -> Option<StepEnd> {
        self.step(id).ended()
    }
}

/// What a process of the engine is started with.
struct Process {
    settings: RunSettings,
    /// Recorded before anything else
    opening: Vec<Event>,
    watcher: Watcher,
    /// Memory when absent
    journal: Option<Box<dyn Journal>>,
}

/// Called with every durable record; may raise the halt.
type Watcher = Box<dyn FnMut(&Record, &watch::Sender<Halt>) + Send>;

impl Process {
    fn with(settings: RunSettings) -> Self {
        Self { settings, opening: Vec::new(), watcher: Box::new(|_, _| {}), journal: None }
    }

    /// Rolls back whatever state the run is in.
    fn rolling_back(self, scope: RollbackScope) -> Self {
        let why = "an operator asked for it".to_owned();
        Self { opening: vec![Event::RollbackStarted { why, scope }], ..self }
    }

    fn watched(self, watcher: impl FnMut(&Record, &watch::Sender<Halt>) + Send + 'static) -> Self {
        Self { watcher: Box::new(watcher), ..self }
    }

    /// Interrupts softly, or hard, once a record fits.
    fn halted(self, to: Halt, fits: impl Fn(&Event) -> bool + Send + 'static) -> Self {
        self.watched(move |record, halt| {
            if fits(&record.event) {
                halt.send_replace(to);
            }
        })
    }

    /// Begins a new run.
    fn start(self, world: &World, plan: Plan) -> Ran {
        let run = RunId("01TESTRUN".to_owned());
        let mut chain = Chain::begin(&run, "tester@host");
        let now = world.clock.now();
        let event = Event::RunStarted {
            run,
            mode: Mode::Live,
            plan: Arc::new(plan),
            incident_started: now,
            settings: self.settings.clone(),
            version: "0".to_owned(),
            world: None,
        };
        let first = chain.seal(event, now);
        let state = RunState::start(&first).expect("a first record starts a run");
        world.set_durable(vec![first]);
        self.go(world, chain, state)
    }

    /// Goes on from what is durable.
    fn resume(mut self, world: &World) -> Ran {
        let records = world.durable();
        let state = RunState::fold(&records).expect("a journal of this engine folds");
        let last = records.last().expect("a journal has a first record");
        let prev = crate::journal::record::digest(crate::journal::record::line(last).as_bytes());
        let chain = Chain::go_on(records.len() as u64, prev, "tester@host");
        let settings = self.settings.clone();
        self.opening.insert(0, Event::RunResumed { settings, version: "0".to_owned() });
        self.go(world, chain, state)
    }

    fn go(mut self, world: &World, chain: Chain, state: RunState) -> Ran {
        world.new_process();
        let (shown, mut facts) = mpsc::unbounded_channel();
        let (news, _) = mpsc::unbounded_channel();
        let (halt, signals) = watch::channel(Halt::No);
        let (armed, disarmed, told) = (world.clone(), world.clone(), world.clone());
        let setup = Setup {
            ports: world.ports(),
            journal: self.journal.unwrap_or_else(|| Box::new(Memory(world.clone()))),
            chain,
            opening: self.opening,
            go: Arc::new(|state, _| {
                let go = go_screen(&state);
                Box::pin(async move { go })
            }),
            arm: Box::new(move || {
                armed.with(|w| w.disarmed = false);
                Armed::mint()
            }),
            disarm: Box::new(move || disarmed.with(|w| w.disarmed = true)),
            at_step: Box::new(move |step| {
                told.with(|w| w.told.push(step.map(|step| step.0.clone())));
            }),
            signals,
            shown,
            news,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let clock = world.clock.clone();
        let (exit, state) = runtime.block_on(clock.drive(async move {
            tokio::spawn(async move {
                while let Some(shown) = facts.recv().await {
                    if let Shown::Fact(record) = shown {
                        (self.watcher)(&record, &halt);
                    }
                }
                // The sender of the halt lives as long as the run.
                std::future::pending::<()>().await;
            });
            dispatcher::run(setup, state).await
        }));
        let ran = Ran { exit, state };
        sound::hold(world, &ran);
        ran
    }
}

fn start(world: &World, plan: Plan, settings: RunSettings) -> Ran {
    Process::with(settings).start(world, plan)
}

fn resume(world: &World, settings: RunSettings) -> Ran {
    Process::with(settings).resume(world)
}

/// A screen that says no more than that a gate does not stand any more.
fn go_screen(state: &RunState) -> dispatcher::Go {
    let blocks = |(step, said): (StepId, String)| Finding {
        level: FindingLevel::Blocking,
        about: step.0.clone(),
        said,
        hint: None,
        step: Some(step),
    };
    let findings: Vec<Finding> = super::gates::unmet(state).into_iter().map(blocks).collect();
    let key = if findings.is_empty() { QuestionKey::Go } else { QuestionKey::Blocked };
    dispatcher::Go { question: go_question(key), findings, missing: Vec::new() }
}

fn go_question(key: QuestionKey) -> Question {
    Question {
        key,
        title: "Start?".to_owned(),
        lines: Vec::new(),
        commands: Vec::new(),
        no_means: "change nothing".to_owned(),
        form: AnswerForm::YesNo,
        pages: BTreeMap::new(),
    }
}

fn kinds(world: &World, fits: impl Fn(&Event) -> bool) -> usize {
    world.durable().iter().filter(|record| fits(&record.event)).count()
}
