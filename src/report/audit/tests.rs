use super::*;
use crate::event::{OnFailureFlag, RunSettings};
use crate::journal::reader::{Damage, Place, ReadError};
use crate::journal::record::Foreign;
use crate::journal::{fixtures, golden};

fn entries(events: Vec<Event>) -> Vec<Entry> {
    let records = fixtures::seal(&fixtures::run(), events);
    records.into_iter().map(|record| Entry::Known(Box::new(record))).collect()
}

#[test]
fn a_failover_reads_as_a_timeline() {
    let shown = text(&entries(fixtures::events()));
    let expected = "\
LIVE
DR-001 Regional failover
run 01JGZ7ZQ2V7S6M9Q3N4K5T7F3A
estate phoenix
plan 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
inputs region=us-west-2
incident began 2025-01-25 09:54:00 UTC

2025-01-25 UTC
10:00:00  -               live run started, phoenix-dr 0.1.0 [ops@bastion]
10:00:01  -               lease taken, epoch 3,
                          s3://phoenix-state/phoenix-dr/lease.json
10:00:02  -               start: YES [ops@bastion]
10:00:03  primary_down    gate holds
10:00:04  database        ready, with replica=phoenix-dr
10:00:05  database        attempt 1 started, digest 2c26b46b68ff
                            {\"lag_seconds\":7,\"role\":\"replica\"} ->
                              {\"role\":\"primary\"}
                            CANNOT be undone: a promoted replica cannot follow
                              again
10:00:06  database        attempt 1 failed (throttled, effect none): Rate
                          exceeded
10:00:07  database        attempt 2 started, digest 2c26b46b68ff
                            {\"lag_seconds\":7,\"role\":\"replica\"} ->
                              {\"role\":\"primary\"}
                            CANNOT be undone: a promoted replica cannot follow
                              again
10:00:08  database        attempt 2 performed
                            promoted phoenix-dr
10:00:09  database        verification holds
10:00:10  database        done and verified
10:00:11  database        OPEN unfenced-phoenix-prod: the old primary may still
                          take writes
                            to close it: stop it when us-east-1 answers again
10:00:12  -               note: Möhre told the status page \u{1f6a8} [ops@bastion]
10:00:13  -               run finished, exit 7: restored with exceptions
";
    assert_eq!(shown, expected);
}

#[test]
fn every_event_fits_the_screen_and_cannot_draw_on_it() {
    let long = "x".repeat(200);
    let mut events = golden::events();
    events.push(Event::Noted { step: Some(long.as_str().into()), text: long.clone() });
    events.push(fixtures::note("\u{1b}]0;title\u{7} \u{202e}right\r\n2025-01-25 UTC"));
    let shown = text(&entries(events.clone()));
    for line in shown.lines() {
        assert!(line.chars().count() <= WIDTH, "{line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(!line.ends_with(' '), "{line:?}");
    }
    assert_eq!(shown.matches("\n2025-01-25 UTC").count(), 1, "a note cannot pass for a heading");
    assert!(!shown.contains('\u{202e}'));
    assert!(shown.matches('x').count() >= 400, "long words are cut, not lost");
    // Each event is there with its time.
    let lines = shown.lines().filter(|line| line.get(2..3) == Some(":")).count();
    assert_eq!(lines, events.len());
}

#[test]
fn decisions_keep_their_words_and_names() {
    let shown = text(&entries(golden::events()));
    let flat = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "approval: typed \"us-west-2\" [ops@bastion]",
        "covers digest 2c26b46b",
        "choice: chose replica [ops@bastion]",
        "override: typed \"seen it \u{fffd}[31mred\" [ops@bastion]",
        "after the failure: mark done: promoted in the console [ops@bastion]",
        "being alone: nobody answered: end of file [ops@bastion]",
        "vouched for being alone, typed \"I am the only operator\"",
        "asked: Start? (type \"us-west-2\")",
        "run ABANDONED: run again from the other site [ops@bastion]",
        "vote API healthz: INCONCLUSIVE, no answer in 3 s",
        "REVERT FAILED (denied, effect none): AccessDenied",
        "before 1 ours 5 now 7",
    ] {
        assert!(flat.contains(words), "{words} is not in:\n{shown}");
    }
}

#[test]
fn who_is_named_whenever_it_changes() {
    let mut all = entries(fixtures::events());
    for entry in &mut all[9..] {
        if let Entry::Known(record) = entry {
            record.who = "amy@laptop".to_owned();
        }
    }
    all.push(Entry::Foreign(Foreign {
        seq: 14,
        time: fixtures::time(86_400),
        prev: String::new(),
        who: "amy@laptop".to_owned(),
        event: json!({"kind": "mirrored", "to": 1}),
        why: String::new(),
    }));
    let shown = text(&all);
    assert!(shown.contains("verification holds [amy@laptop]"), "{shown}");
    assert!(shown.contains("done and verified\n"));
    assert!(shown.ends_with(
        "\n2025-01-26 UTC\n10:00:00  -               event `mirrored`, which this version does not\n                          understand\n"
    ), "{shown}");

    let events: Vec<Value> = serde_json::from_str(&events_json(&all)).expect("json");
    assert_eq!(events.len(), 15);
    assert_eq!(events[9]["who"], "amy@laptop");
    assert_eq!(events[9]["time"], "2025-01-25T10:00:09Z");
    assert_eq!(events[9]["event"]["kind"], "verified");
    assert_eq!(
        events[14],
        json!({
            "seq": 14, "time": "2025-01-26T10:00:00Z", "who": "amy@laptop",
            "event": {"kind": "mirrored", "to": 1}
        })
    );
}

fn form(events: Vec<Event>) -> Value {
    serde_json::from_str(&activation(&entries(events)).expect("a start")).expect("json")
}

#[test]
fn the_procedures_form_has_its_fields() {
    assert_eq!(
        form(fixtures::events()),
        json!({
            "event": "dr_activation",
            "timestamp": "2025-01-25T10:00:00Z",
            "triggered_by": "ops@bastion",
            "reason": "DR-001 Regional failover",
            "actions": ["database"],
            "outcome": "successful_with_exceptions",
            "duration_minutes": 1,
            "run": "01JGZ7ZQ2V7S6M9Q3N4K5T7F3A"
        })
    );
    assert_eq!(activation(&[]), None);
    assert_eq!(activation(&entries(vec![fixtures::note("no start")])), None);
}

#[test]
fn the_form_says_what_is_true_of_other_runs() {
    let settings =
        RunSettings { interactive: false, on_failure: OnFailureFlag::Auto, ..fixtures::settings() };
    let Event::RunStarted { run, plan, incident_started, version, .. } = fixtures::started() else {
        panic!("the fixture is a start")
    };
    let (mode, world) = (Mode::Rehearsal, None);
    let alone = Event::RunStarted { run, mode, plan, incident_started, settings, version, world };
    let seen = form(vec![alone]);
    assert_eq!(seen["event"], "dr_rehearsal");
    assert_eq!(seen["triggered_by"], "automated");
    assert_eq!((&seen["outcome"], &seen["duration_minutes"]), (&json!("in_progress"), &json!(0)));

    let failover = fixtures::events();
    let upto = |count: usize| failover[..count].to_vec();
    assert_eq!(form(upto(6))["actions"], json!(["database (effect unknown)"]));
    assert_eq!(form(upto(7))["actions"], json!([]), "throttled: proved that nothing changed");
    assert_eq!(form(upto(9))["actions"], json!(["database"]));

    let stopped = || Event::RunStopped { why: "SIGTERM".to_owned(), exit: 13 };
    let resumed = || Event::RunResumed { settings: fixtures::settings(), version: String::new() };
    let finished = |end| Event::RunFinished { end, exit: 0 };
    let revert =
        || Event::RevertFinished { step: "database".into(), result: RevertResult::Reverted };
    for (after, outcome) in [
        (vec![stopped()], "stopped"),
        (vec![stopped(), resumed()], "in_progress"),
        (vec![finished(RunEnd::Restored)], "successful"),
        (vec![revert(), finished(RunEnd::RolledBack), fixtures::note("later")], "rolled_back"),
        (vec![finished(RunEnd::ChangesLeft), stopped()], "failed_changes_left"),
    ] {
        let reverts = after.len() == 3;
        let seen = form(upto(9).into_iter().chain(after).collect());
        assert_eq!(seen["outcome"], outcome);
        let actions =
            if reverts { json!(["database", "revert_database"]) } else { json!(["database"]) };
        assert_eq!(seen["actions"], actions);
    }
}

#[test]
fn verification_names_the_first_bad_record() {
    let good = Verification { records: 14, prev: "ab12".to_owned(), torn: None, bad: None };
    assert_eq!(verification_text(&good), "14 records, chain intact\nlast digest ab12\n");
    let found = Verification {
        records: 3,
        torn: Some(Torn { offset: 90, length: 7 }),
        bad: Some(ReadError::Damaged {
            path: "j".into(),
            place: Place { record: 3, offset: 812 },
            damage: Damage::Chain,
        }),
        ..good
    };
    let shown = verification_text(&found);
    assert!(shown.starts_with(
        "chain BROKEN after 3 intact records\nread journal `j`: record 3 (line 4, byte 812) does not continue the chain"
    ), "{shown}");
    assert!(shown.contains("head -c 812 j"), "{shown}");
    assert!(shown.contains("(7 bytes at byte 90)"), "{shown}");
    let json: Value = serde_json::from_str(&verification_json(&found)).expect("json");
    assert_eq!((&json["intact"], &json["records"]), (&json!(false), &json!(3)));
    assert_eq!((&json["bad"]["record"], &json["bad"]["offset"]), (&json!(3), &json!(812)));
    assert_eq!(json["torn"], json!({"offset": 90, "length": 7}));
}
