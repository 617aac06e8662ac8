//! A small estate, a plan in the shape of DR-001 and a journal to show, for the tests of `report` and `operator`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::estate::types::{Estate, Priority, Severity};
use crate::event::{
    Answer, AttemptResult, Event, Mode, OnFailureFlag, Question, QuestionKey, Record, RunSettings,
};
use crate::ids::{RunId, StepId};
use crate::outcome::{
    ActionError, Candidate, CheckReport, Effect, FailureClass, Obligation, StepEnd, Verdict,
};
use crate::plan::{Approval, Body, CheckSpec, Plan, PlannedStep, Retries, Rollback};
use crate::runbook::schema::{Objectives, OnFailure, Vote};
use crate::span::Span;

/// Returns an instant of the night the tests play in.
pub(crate) fn at(clock: &str) -> Timestamp {
    format!("2026-07-14T{clock}Z").parse().expect("a time of day")
}

/// Returns the zone of the person at the screen.
pub(crate) fn zone() -> TimeZone {
    TimeZone::posix("PST8PDT,M3.2.0,M11.1.0").expect("zone")
}

/// Returns the test run's id.
pub(crate) fn run_id() -> RunId {
    RunId("01K0A8ZQ5T0000000000007F3A".to_owned())
}

pub(crate) fn estate() -> Estate {
    serde_json::from_value(json!({
        "estate": "phoenix",
        "primary": { "region": "us-east-1" },
        "regions": {
            "us-east-1": { "api": "https://api.us-east-1.phoenix.example" },
            "us-west-2": { "api": "https://api.us-west-2.phoenix.example" },
        },
        "contacts": [
            { "role": "Incident Commander", "name": "Kim Doe", "phone": "+1 555 0100" },
            { "role": "Database lead", "email": "db@phoenix.example", "severities": ["SEV1"] },
            { "role": "Team Lead", "severities": ["SEV3"] },
        ],
    }))
    .expect("estate")
}

pub(crate) fn step(
    id: &str,
    title: &str,
    priority: Option<Priority>,
    needs: &[&str],
) -> PlannedStep {
    PlannedStep {
        id: id.into(),
        title: title.to_owned(),
        phase: None,
        priority,
        service: None,
        needs: needs.iter().map(|need| StepId::from(*need)).collect(),
        when: None,
        approve: Approval::Plan,
        body: Body::Action { action: "kubernetes.scale".to_owned(), with: Map::new() },
        changes: true,
        verify: Vec::new(),
        rollback: Rollback::Auto,
        point_of_no_return: false,
        on_failure: OnFailure::Ask,
        retry: Retries {
            attempts: 3,
            backoff_first: Span::seconds(2),
            backoff_longest: Span::seconds(30),
        },
        timeout: Span::minutes(10),
        usually: Some(Span::minutes(3)),
        critical: true,
        rehearse: None,
    }
}

fn with(action: &str, arguments: Value, step: PlannedStep) -> PlannedStep {
    let Value::Object(with) = arguments else { unreachable!("arguments are an object") };
    PlannedStep { body: Body::Action { action: action.to_owned(), with }, ..step }
}

pub(crate) fn check(title: &str) -> CheckSpec {
    CheckSpec {
        check: "http".to_owned(),
        title: title.to_owned(),
        with: Map::new(),
        that: None,
        expect: None,
        within: Span::minutes(5),
        every: Span::seconds(5),
        consecutive: 2,
        vote: Vote::Full,
    }
}

fn steps_before() -> Vec<PlannedStep> {
    let p0 = Some(Priority::P0);
    vec![
        PlannedStep {
            body: Body::Gate { checks: vec![check("us-east-1 is down")] },
            changes: false,
            usually: None,
            ..step("primary_down", "Establish that us-east-1 is down", None, &[])
        },
        with(
            "rds.choose_recovery_point",
            json!({ "region": "us-west-2" }),
            PlannedStep {
                changes: false,
                usually: Some(Span::minutes(1)),
                rollback: Rollback::None { why: "a choice changes nothing".to_owned() },
                ..step("recovery_point", "Choose the recovery point", p0, &["primary_down"])
            },
        ),
        with(
            "postgres.fence",
            json!({}),
            PlannedStep {
                usually: Some(Span::seconds(30)),
                ..step("fence", "Fence the old primary", p0, &["recovery_point"])
            },
        ),
        with(
            "manual",
            json!({ "say": "Tell the Incident Commander", "later": true, "due": "15m" }),
            PlannedStep {
                changes: false,
                critical: false,
                rehearse: None,
                usually: None,
                ..step("notify", "Tell the company and the customers", None, &["primary_down"])
            },
        ),
    ]
}

fn steps_after() -> Vec<PlannedStep> {
    let p0 = Some(Priority::P0);
    vec![
        step("capacity", "Get P0 capacity in us-west-2", p0, &["primary_down"]),
        with(
            "rds.recover",
            json!({ "region": "us-west-2" }),
            PlannedStep {
                when: Some("steps.recovery_point.outputs.reversible".to_owned()),
                usually: Some(Span::minutes(40)),
                ..step(
                    "restore",
                    "Restore the database beside the lost one",
                    p0,
                    &["recovery_point"],
                )
            },
        ),
        with(
            "rds.recover",
            json!({ "region": "us-west-2" }),
            PlannedStep {
                approve: Approval::Typed {
                    say: "A promoted replica can never follow again.".to_owned(),
                    word: "us-west-2".to_owned(),
                },
                verify: vec![check("takes writes")],
                usually: Some(Span::minutes(12)),
                timeout: Span::minutes(45),
                ..step(
                    "database",
                    "Bring the database up in us-west-2",
                    p0,
                    &["fence", "capacity", "restore"],
                )
            },
        ),
        with(
            "database.repoint",
            json!({}),
            PlannedStep {
                usually: Some(Span::minutes(2)),
                ..step(
                    "repoint",
                    "Point the application at the recovered database",
                    p0,
                    &["database"],
                )
            },
        ),
        with(
            "traffic.shift",
            json!({ "to": "us-west-2" }),
            PlannedStep {
                approve: Approval::Each { say: Some("Traffic goes to us-west-2.".to_owned()) },
                ..step("traffic", "Move traffic to us-west-2", p0, &["repoint"])
            },
        ),
        PlannedStep {
            critical: false,
            rehearse: None,
            ..step("p1", "Restore P1 services", Some(Priority::P1), &["traffic"])
        },
    ]
}

/// Returns a plan like DR-001's.
pub(crate) fn plan() -> Plan {
    let mut steps = steps_before();
    steps.extend(steps_after());
    Plan {
        runbook: "DR-001".to_owned(),
        title: "Regional failover".to_owned(),
        command: "failover".to_owned(),
        severity: Severity::SEV1,
        objectives: Objectives {
            rto: Span::minutes(30),
            rto_max: Span::minutes(240),
            rpo: Span::minutes(5),
            rpo_max: Span::minutes(30),
        },
        inputs: BTreeMap::from([("region".to_owned(), json!("us-west-2"))]),
        estate: estate(),
        steps,
        verification: vec![check("service by its public name")],
        follow_ups: vec!["Watch error rates for two hours".to_owned()],
        fail_fast: false,
        rehearse: Vec::new(),
        digest: "4f0c".repeat(16),
    }
}

pub(crate) fn candidates() -> Vec<Candidate> {
    let candidate = |id: &str, title: &str, loss, forecast, reversible| Candidate {
        id: id.to_owned(),
        title: title.to_owned(),
        loss,
        forecast,
        reversible,
        unusable: None,
        absent: false,
        notes: Vec::new(),
        doubts: Vec::new(),
        detail: Value::Null,
    };
    vec![
        candidate(
            "replica",
            "replica phoenix-dr-replica",
            Some(Span::seconds(7)),
            Some(Span::minutes(12)),
            false,
        ),
        candidate(
            "backup",
            "automated backup of phoenix-prod",
            Some(Span::seconds(370)),
            Some(Span::minutes(44)),
            true,
        ),
        Candidate {
            unusable: Some("status is `creating`, 40 % done".to_owned()),
            absent: false,
            ..candidate(
                "snapshot",
                "snapshot phoenix-2026-07-14-00-02",
                Some(Span::minutes(130)),
                None,
                true,
            )
        },
    ]
}

pub(crate) fn report(title: &str, verdict: Verdict, said: &str, seen: &str) -> CheckReport {
    CheckReport {
        title: title.to_owned(),
        check: "http".to_owned(),
        verdict,
        said: said.to_owned(),
        value: Value::Null,
        at: at(seen),
        votes: Vec::new(),
        control: None,
    }
}

/// Returns what the gate of DR-001 sees while the region is gone.
pub(crate) fn quorum() -> CheckReport {
    CheckReport {
        check: "quorum".to_owned(),
        votes: vec![
            report("API healthz", Verdict::Holds, "no answer in 3 s", "02:18:06"),
            report("database", Verdict::Holds, "no answer in 3 s", "02:18:06"),
            report("RDS us-east-1", Verdict::Holds, "no answer in 3 s", "02:18:07"),
            report("AWS Health", Verdict::Inconclusive, "no support plan, no vote", "02:18:05"),
        ],
        control: Some("https://api.us-west-2.phoenix.example/healthz answered".to_owned()),
        ..report("us-east-1 is down", Verdict::Holds, "3 of 3 signals hold", "02:18:08")
    }
}

pub(crate) fn failure() -> ActionError {
    ActionError {
        class: FailureClass::Capacity,
        effect: Effect::Applied,
        message: "pods of phoenix-system/phoenix-api are not ready: 3 of 5, two are Pending: \
                  0/6 nodes are available, 6 Insufficient cpu"
            .to_owned(),
        hint: Some("Add nodes to the us-west-2 node group, then retry".to_owned()),
    }
}

pub(crate) fn obligation() -> Obligation {
    Obligation {
        id: "unfenced-phoenix-prod".to_owned(),
        say: "The old primary phoenix-prod is not fenced: it may take writes when it comes back"
            .to_owned(),
        how: "Fence it as soon as us-east-1 answers: phoenix-dr resume".to_owned(),
        closed_by: None,
    }
}

pub(crate) fn question(key: QuestionKey, form: crate::event::AnswerForm) -> Question {
    Question {
        key,
        title: "Bring the database up in us-west-2".to_owned(),
        lines: vec!["A promoted replica can never follow again.".to_owned()],
        commands: vec!["aws rds promote-read-replica --db-instance-identifier x".to_owned()],
        no_means: "nothing is promoted; the run is saved and stops".to_owned(),
        form,
        pages: BTreeMap::new(),
    }
}

/// Writes a journal line by line.
#[derive(Clone, Default)]
pub(crate) struct Script {
    pub records: Vec<Record>,
}

impl Script {
    /// Returns a run that has just begun.
    pub(crate) fn started() -> Self {
        Self::of(plan(), Mode::Live)
    }

    pub(crate) fn of(plan: Plan, mode: Mode) -> Self {
        let settings = RunSettings {
            jobs: 8,
            on_failure: OnFailureFlag::Auto,
            confirm_each: false,
            interactive: true,
            overrides: BTreeMap::new(),
            failures_answered: Default::default(),
            reverts_answered: Default::default(),
            recovery_point: None,
            typed: ["failover", "--region", "us-west-2"].map(str::to_owned).to_vec(),
        };
        Self::default().event(
            "02:18:00",
            Event::RunStarted {
                run: run_id(),
                mode,
                plan: Arc::new(plan),
                incident_started: at("02:12:00"),
                settings,
                version: "0.1.0".to_owned(),
                world: None,
            },
        )
    }

    pub(crate) fn event(mut self, clock: &str, event: Event) -> Self {
        self.records.push(Record {
            format: 1,
            seq: self.records.len() as u64,
            time: at(clock),
            real: None,
            prev: String::new(),
            who: "kim@bastion".to_owned(),
            event,
        });
        self
    }

    pub(crate) fn start(self, clock: &str, step: &str) -> Self {
        self.event(
            clock,
            Event::StepStarted {
                step: step.into(),
                attempt: 1,
                generation: 0,
                token: format!("{}/{step}/0", run_id()),
                before: Value::Null,
                desired: Value::Null,
                digest: "d1".to_owned(),
                irreversible: None,
                choice: None,
            },
        )
    }

    pub(crate) fn perform(self, clock: &str, step: &str) -> Self {
        let result =
            AttemptResult::Performed { after: Value::Null, outputs: Map::new(), notes: Vec::new() };
        self.event(clock, Event::AttemptFinished { step: step.into(), attempt: 1, result })
    }

    pub(crate) fn fail(self, clock: &str, step: &str) -> Self {
        let result = AttemptResult::Failed { error: failure() };
        self.event(clock, Event::AttemptFinished { step: step.into(), attempt: 1, result })
            .event(clock, Event::StepFailed { step: step.into(), error: failure() })
    }

    pub(crate) fn end(self, clock: &str, step: &str, end: StepEnd) -> Self {
        self.event(
            clock,
            Event::StepFinished { step: step.into(), end, outputs: Map::new(), reason: None },
        )
    }

    /// A step from start to end, done.
    pub(crate) fn done(self, from: &str, to: &str, step: &str) -> Self {
        self.start(from, step).perform(to, step).end(to, step, StepEnd::Done)
    }

    pub(crate) fn ask(self, from: &str, to: &str, question: Question, answer: Answer) -> Self {
        let key = question.key.clone();
        self.event(from, Event::Asked { question: Box::new(question) })
            .event(to, Event::Decided { question: key, answer })
    }
}
