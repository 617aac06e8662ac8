//! A long journal without the hours it would take to make: the beginning of a real run, then what ten thousand
//! steps write that each need three attempts and a second look.

use std::fs;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::folder::{self, Folder};

/// Records each step writes.
const OF_A_STEP: usize = 10;

/// How the journal ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    Finished,
    /// The process was lost before the last step
    OneToGo,
}

/// Returns a folder with one run of about so many records.
pub(crate) fn folder(records: usize, tail: Tail) -> Folder {
    let steps = records / OF_A_STEP;
    let folder = Folder::with(&folder::fan(steps));
    folder.run(&["run", "runbook.yaml", "--yes", "--jobs", "256"]);
    let path = folder.journal();
    let text = fs::read_to_string(&path).expect("read the journal");
    // Up to the first step everything is as the program wrote it, the plan among it.
    let before = |line: &&str| !line.contains(r#""kind":"step_ready""#);
    let mut journal = Journal::over(text.lines().take_while(before));
    let skipped = usize::from(tail == Tail::OneToGo);
    for step in 0..steps - skipped {
        of_a_step(&format!("s{step}")).into_iter().for_each(|event| journal.add(&event));
    }
    if tail == Tail::Finished {
        journal.add(&json!({ "kind": "run_finished", "end": "restored", "exit": 0 }));
    }
    fs::write(&path, journal.text).expect("write the journal");
    folder.run(&["audit", "--verify"]);
    folder
}

fn of_a_step(step: &str) -> Vec<Value> {
    let mut events = vec![json!({ "kind": "step_ready", "step": step, "with": { "for": "0s" } })];
    for attempt in 1..=3 {
        events.push(json!({
            "kind": "step_started", "step": step, "attempt": attempt, "generation": 0,
            "token": format!("01M86W07E0J6MXG07G4P3P8DA5/{step}/0"),
            "before": { "replicas": 1 }, "desired": { "replicas": 5 }, "digest": "8f8ecf9a8bae33d5",
            "irreversible": null, "choice": null,
        }));
        let result = if attempt < 3 {
            json!({ "kind": "failed", "error": {
                "class": "throttled", "effect": "none", "message": "Rate exceeded", "hint": null,
            }})
        } else {
            json!({ "kind": "performed", "after": { "replicas": 5 }, "outputs": { "replicas": 5 },
                "notes": ["scaled phoenix-api from 1 to 5"] })
        };
        let kind = "attempt_finished";
        events.push(json!({ "kind": kind, "step": step, "attempt": attempt, "result": result }));
    }
    for verdict in ["fails", "holds"] {
        events.push(json!({ "kind": "verified", "step": step, "verdict": verdict, "reports": [{
            "title": "rollout phoenix-api", "check": "kubernetes.rollout", "verdict": verdict,
            "said": "5 of 5 replicas ready", "value": 5, "at": "2026-01-01T00:00:00Z",
        }]}));
    }
    let kind = "step_finished";
    events.push(json!({
        "kind": kind, "step": step, "end": "done", "outputs": {}, "reason": null,
    }));
    events
}

/// Lines, each with the digest of the one before.
struct Journal {
    text: String,
    records: usize,
    last: String,
    who: Value,
}

impl Journal {
    fn over<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let mut journal =
            Self { text: String::new(), records: 0, last: String::new(), who: Value::Null };
        for line in lines {
            let record: Value = serde_json::from_str(line).expect("a record");
            journal.who = record["who"].clone();
            journal.line(line.to_owned());
        }
        journal
    }

    fn add(&mut self, event: &Value) {
        // As an action of a few milliseconds would; only the order matters.
        let time = jiff::Timestamp::now();
        let prev = digest(self.last.as_bytes());
        let (who, seq) = (&self.who, self.records);
        self.line(format!(
            r#"{{"format":1,"seq":{seq},"time":"{time}","prev":"{prev}","who":{who},"event":{event}}}"#
        ));
    }

    fn line(&mut self, line: String) {
        self.text.push_str(&line);
        self.text.push('\n');
        self.records += 1;
        self.last = line;
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
