//! One event of every kind and of every shape inside, for the golden journal and for what shows journals.

use serde_json::{Map, Value, json};

use super::fixtures::{events as failover, note, obligation, run, settings, time};
use crate::event::{
    Answer, AnswerForm, AttemptResult, Event, FailureChoice, Finding, FindingLevel, MenuOption,
    Question, QuestionKey, RevertResult, RollbackScope, RunEnd,
};
use crate::outcome::{ActionError, Candidate, CheckReport, Effect, FailureClass, StepEnd, Verdict};
use crate::plan::outputs::{OutputKind, WantedOutput};
use crate::span::Span;

/// Returns the events, in an order a run could have.
pub(crate) fn events() -> Vec<Event> {
    let mut events = failover();
    let finished = events.pop();
    events.extend(asked());
    events.extend(failed());
    events.extend(rolled_back());
    events.extend(finished);
    events
}

fn report(votes: Vec<CheckReport>) -> CheckReport {
    CheckReport {
        title: "API healthz".to_owned(),
        check: "http".to_owned(),
        verdict: Verdict::Inconclusive,
        said: "no answer in 3 s".to_owned(),
        value: Value::Null,
        at: time(3),
        votes,
        control: Some("the control answered".to_owned()),
    }
}

fn candidate() -> Candidate {
    Candidate {
        id: "replica".to_owned(),
        title: "replica phoenix-dr-replica".to_owned(),
        loss: Some(Span::seconds(7)),
        forecast: Some(Span::minutes(12)),
        reversible: false,
        unusable: None,
        absent: false,
        notes: Vec::new(),
        doubts: Vec::new(),
        detail: json!({"lag_seconds": 7.25}),
    }
}

fn question(key: QuestionKey, form: AnswerForm) -> Event {
    Event::Asked {
        question: Box::new(Question {
            key,
            title: "Start?".to_owned(),
            lines: vec!["us-east-1 is DOWN: 3 of 3 signals".to_owned()],
            commands: vec!["aws rds promote-read-replica".to_owned()],
            no_means: "nothing is changed".to_owned(),
            form,
            pages: std::collections::BTreeMap::from([(
                'm',
                vec!["We are failing over".to_owned()],
            )]),
        }),
    }
}

fn decided(question: QuestionKey, answer: Answer) -> Event {
    Event::Decided { question, answer }
}

fn finding(level: FindingLevel) -> Finding {
    Finding {
        level,
        about: "credentials".to_owned(),
        said: "expire in 40 min".to_owned(),
        hint: Some("aws sso login".to_owned()),
        step: Some("database".into()),
    }
}

fn asked() -> Vec<Event> {
    let step = || "database".into();
    let candidates = AnswerForm::Candidates {
        candidates: vec![candidate()],
        loss_max: Some(Span::minutes(30)),
        best: Some("replica".to_owned()),
    };
    let menu = AnswerForm::Menu {
        options: vec![MenuOption {
            choice: FailureChoice::Retry,
            say: "try again".to_owned(),
            outputs: vec![WantedOutput { name: "endpoint".to_owned(), kind: OutputKind::Text }],
        }],
    };
    let failure = || QuestionKey::Failure { step: step(), failures: 1 };
    let typed = |text: &str| Answer::Typed { text: text.to_owned() };
    let word = AnswerForm::Type { word: "us-west-2".to_owned() };
    let approve = || QuestionKey::Approve { step: step(), digest: "2c26b46b".to_owned() };
    vec![
        Event::Preflight {
            findings: vec![finding(FindingLevel::Good), finding(FindingLevel::Warning)],
        },
        question(QuestionKey::Blocked, AnswerForm::YesNo),
        decided(QuestionKey::Blocked, Answer::Recheck),
        question(QuestionKey::Go, AnswerForm::YesNo),
        question(
            QuestionKey::Choice { step: step(), among: "replica,backup".to_owned() },
            candidates,
        ),
        decided(
            QuestionKey::Choice { step: step(), among: "replica,backup".to_owned() },
            Answer::Chosen { id: "replica".to_owned() },
        ),
        question(approve(), word),
        decided(approve(), typed("us-west-2")),
        question(QuestionKey::Override { step: "primary_down".into() }, AnswerForm::Reason),
        decided(
            QuestionKey::Override { step: "primary_down".into() },
            typed("seen it \u{1b}[31mred"),
        ),
        question(failure(), menu),
        decided(
            failure(),
            Answer::Menu {
                choice: FailureChoice::MarkDone,
                reason: Some("promoted in the console".to_owned()),
                outputs: Map::from_iter([("endpoint".to_owned(), json!("db.example"))]),
            },
        ),
        Event::IncidentDated { at: time(1), said: "an operator said so".to_owned() },
        decided(QuestionKey::Alone, Answer::Nobody { why: "end of file".to_owned() }),
        Event::LeaseVouched {
            why: "the bucket does not answer".to_owned(),
            typed: "I am the only operator".to_owned(),
        },
    ]
}

fn failed() -> Vec<Event> {
    let step = || "capacity".into();
    vec![
        Event::GateSeen {
            step: "primary_down".into(),
            verdict: Verdict::Inconclusive,
            reports: vec![report(vec![report(vec![])])],
        },
        Event::AttemptFinished {
            step: step(),
            attempt: 1,
            result: AttemptResult::Failed {
                error: ActionError::unknown(FailureClass::Timeout, "no result within 5m")
                    .hint("look at the events of phoenix-api"),
            },
        },
        Event::Probed {
            step: step(),
            effect: Effect::Applied,
            live: json!({"replicas": 5}),
            outputs: Map::from_iter([("replicas".to_owned(), json!(5))]),
            said: "the replicas are as desired".to_owned(),
        },
        Event::StepSatisfied { step: step(), outputs: Map::new() },
        Event::StepMarked {
            step: step(),
            evidence: "scaled by hand".to_owned(),
            outputs: Map::from_iter([("replicas".to_owned(), json!(5))]),
        },
        Event::StepFailed {
            step: step(),
            error: ActionError::applied(FailureClass::Capacity, "2 of 5 pods are ready"),
        },
        Event::StepReopened { step: step(), why: "quota raised".to_owned() },
        Event::StepFinished {
            step: step(),
            end: StepEnd::Failed,
            outputs: Map::new(),
            reason: Some("2 of 5 pods are ready".to_owned()),
        },
        Event::StepFinished {
            step: step(),
            end: StepEnd::Omitted,
            outputs: Map::new(),
            reason: Some("scaled by hand already".to_owned()),
        },
        Event::RunStopped { why: "SIGTERM".to_owned(), exit: 13 },
        Event::RunResumed { settings: settings(), version: "0.1.0".to_owned() },
    ]
}

fn rolled_back() -> Vec<Event> {
    let results = [
        RevertResult::Reverted,
        RevertResult::AlreadyBefore,
        RevertResult::Kept { why: "a promoted replica cannot follow again".to_owned() },
        RevertResult::Failed {
            error: ActionError::unchanged(FailureClass::Denied, "AccessDenied"),
        },
        RevertResult::Conflict { before: json!(1), ours: json!(5), now: json!(7) },
        RevertResult::Skipped { reason: "the autoscaler owns it".to_owned() },
    ];
    let mut events = vec![Event::RollbackStarted {
        why: "capacity failed".to_owned(),
        scope: RollbackScope::Run,
    }];
    for (attempt, result) in (1..).zip(results) {
        events.push(Event::RevertStarted { step: "capacity".into(), attempt });
        events.push(Event::RevertFinished { step: "capacity".into(), result });
    }
    events.extend([
        Event::ObligationOpened { step: None, obligation: obligation("no-replica") },
        Event::ObligationClosed {
            id: "no-replica".to_owned(),
            said: "a replica follows".to_owned(),
            lapsed: false,
        },
        Event::RollbackEnded { why: "past a point of no return".to_owned() },
        Event::RollbackStarted {
            why: "typed: traffic to us-east-1".to_owned(),
            scope: RollbackScope::Past { step: "traffic".into() },
        },
        Event::RollbackStarted {
            why: "database failed".to_owned(),
            scope: RollbackScope::Another { choosing: "recovery_point".into() },
        },
        question(
            QuestionKey::Past { step: "traffic".into() },
            AnswerForm::Type { word: "traffic to us-east-1".to_owned() },
        ),
        decided(
            QuestionKey::Loss {
                step: "recovery_point".into(),
                candidate: "backup".to_owned(),
                loss: Some(Span::minutes(42)),
            },
            Answer::Typed { text: "lose 42m".to_owned() },
        ),
        Event::RunVerified { verdict: Verdict::Holds, reports: vec![report(vec![])] },
        Event::RunAbandoned {
            reason: "run again from the other site".to_owned(),
            still_changed: vec!["capacity".into()],
        },
        note(&format!("run {} is in the incident channel", run())),
        Event::RunFinished { end: RunEnd::RolledBack, exit: 5 },
    ]);
    events
}
