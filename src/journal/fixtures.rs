//! A small run for tests: a plan of three steps, the records of a failover with one retry, and its bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::record::{Chain, line};
use crate::event::{
    Answer, AttemptResult, Event, Mode, OnFailureFlag, QuestionKey, Record, RunEnd, RunSettings,
};
use crate::ids::RunId;
use crate::outcome::{ActionError, FailureClass, Obligation, StepEnd, Verdict};
use crate::plan::Plan;

pub(crate) fn run() -> RunId {
    RunId("01JGZ7ZQ2V7S6M9Q3N4K5T7F3A".to_owned())
}

/// Returns an instant some seconds after the runs of these tests begin.
pub(crate) fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_737_799_200 + seconds).expect("a second of January 2025")
}

pub(crate) fn plan() -> Plan {
    let check = json!({
        "check": "http", "title": "API healthz", "with": {"url": "https://api.example/healthz"},
        "that": null, "expect": 200, "within": "30s", "every": "5s", "consecutive": 1, "vote": "full"
    });
    let step = |id: &str, body: Value, needs: Value, changes: bool| {
        json!({
            "id": id, "title": format!("Step {id}"), "phase": null, "priority": "P0", "service": null,
            "needs": needs, "when": null, "approve": {"kind": "plan"}, "body": body, "changes": changes,
            "verify": [check], "rollback": {"kind": "auto"}, "point_of_no_return": false,
            "on_failure": "ask", "timeout": "5m", "usually": "3m", "critical": true,
            "retry": {"attempts": 3, "backoff_first": "2s", "backoff_longest": "30s"}
        })
    };
    let action = |name: &str| json!({"kind": "action", "action": name, "with": {"replicas": 5}});
    let plan = json!({
        "runbook": "DR-001", "title": "Regional failover", "command": "failover", "severity": "SEV1",
        "objectives": {"rto": "30m", "rto_max": "4h", "rpo": "5m", "rpo_max": "30m"},
        "inputs": {"region": "us-west-2"},
        "estate": {
            "estate": "phoenix", "primary": {"region": "us-east-1"},
            "regions": {"us-east-1": {"api": "https://east.example"}, "us-west-2": {"api": "https://west.example"}}
        },
        "steps": [
            step("primary_down", json!({"kind": "gate", "checks": [check]}), json!([]), false),
            step("capacity", action("kubernetes.scale"), json!(["primary_down"]), true),
            step("database", action("rds.promote_replica"), json!(["capacity"]), true),
        ],
        "verification": [check], "follow_ups": ["Write the report"], "fail_fast": false,
        "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    });
    serde_json::from_value(plan).expect("the fixture is a plan")
}

pub(crate) fn settings() -> RunSettings {
    RunSettings {
        jobs: 8,
        on_failure: OnFailureFlag::Auto,
        confirm_each: false,
        interactive: true,
        overrides: std::collections::BTreeMap::new(),
        failures_answered: Default::default(),
        reverts_answered: Default::default(),
        recovery_point: None,
        typed: Vec::new(),
    }
}

pub(crate) fn started_as(run: RunId, mode: Mode, estate: &str) -> Event {
    let mut plan = plan();
    estate.clone_into(&mut plan.estate.estate);
    Event::RunStarted {
        run,
        mode,
        plan: Arc::new(plan),
        incident_started: time(-360),
        settings: settings(),
        version: "0.1.0".to_owned(),
        world: None,
    }
}

pub(crate) fn started() -> Event {
    started_as(run(), Mode::Live, "phoenix")
}

pub(crate) fn note(text: &str) -> Event {
    Event::Noted { step: None, text: text.to_owned() }
}

pub(crate) fn obligation(id: &str) -> Obligation {
    Obligation {
        id: id.to_owned(),
        say: "the old primary may still take writes".to_owned(),
        how: "stop it when us-east-1 answers again".to_owned(),
        closed_by: None,
    }
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// Returns the events of a failover whose promotion is throttled once, second by second.
pub(crate) fn events() -> Vec<Event> {
    let attempt = |attempt| Event::StepStarted {
        step: "database".into(),
        attempt,
        generation: 0,
        token: format!("{}/database/0", run()),
        before: json!({"role": "replica", "lag_seconds": 7}),
        desired: json!({"role": "primary"}),
        digest: "2c26b46b68ffc68ff99b453c1d304134".to_owned(),
        irreversible: Some("a promoted replica cannot follow again".to_owned()),
        choice: None,
    };
    let throttled = ActionError::unchanged(FailureClass::Throttled, "Rate exceeded");
    vec![
        started(),
        Event::LeaseTaken {
            epoch: 3,
            place: "s3://phoenix-state/phoenix-dr/lease.json".to_owned(),
        },
        Event::Decided { question: QuestionKey::Go, answer: Answer::Yes },
        Event::GateSeen { step: "primary_down".into(), verdict: Verdict::Holds, reports: vec![] },
        Event::StepReady { step: "database".into(), with: map(json!({"replica": "phoenix-dr"})) },
        attempt(1),
        Event::AttemptFinished {
            step: "database".into(),
            attempt: 1,
            result: AttemptResult::Failed { error: throttled },
        },
        attempt(2),
        Event::AttemptFinished {
            step: "database".into(),
            attempt: 2,
            result: AttemptResult::Performed {
                after: json!({"role": "primary"}),
                outputs: map(json!({"endpoint": "db.west.example:5432"})),
                notes: vec!["promoted phoenix-dr".to_owned()],
            },
        },
        Event::Verified { step: "database".into(), verdict: Verdict::Holds, reports: vec![] },
        Event::StepFinished {
            step: "database".into(),
            end: StepEnd::Done,
            outputs: map(json!({"endpoint": "db.west.example:5432"})),
            reason: None,
        },
        Event::ObligationOpened {
            step: Some("database".into()),
            obligation: obligation("unfenced-phoenix-prod"),
        },
        note("Möhre told the status page \u{1f6a8}"),
        Event::RunFinished { end: RunEnd::WithExceptions, exit: 7 },
    ]
}

/// Seals events as one run's records, a second apart.
pub(crate) fn seal(run: &RunId, events: Vec<Event>) -> Vec<Record> {
    let mut chain = Chain::begin(run, "ops@bastion");
    (0..).zip(events).map(|(second, event)| chain.seal(event, time(second))).collect()
}

pub(crate) fn records() -> Vec<Record> {
    seal(&run(), events())
}

/// Returns records as the bytes of a journal.
pub(crate) fn bytes(records: &[Record]) -> Vec<u8> {
    records.iter().flat_map(|record| (line(record) + "\n").into_bytes()).collect()
}

/// Writes bytes as a journal into a directory.
pub(crate) fn file(dir: &Path, bytes: &[u8]) -> PathBuf {
    let path = dir.join("journal.jsonl");
    std::fs::write(&path, bytes).expect("write the fixture");
    path
}
