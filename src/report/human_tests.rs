//! What a person sees of a run, line by line.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;
use crate::event::{
    Answer, AnswerForm, Finding, FindingLevel, Mode, QuestionKey, RevertResult, RollbackScope,
    RunEnd,
};
use crate::mask::Masker;
use crate::outcome::{Obligation, StepEnd};
use crate::report::fixtures::{Script, at, failure, obligation, question, quorum, zone};
use crate::report::json::JsonLines;
use crate::report::progress::Bars;
use crate::report::terminal::{Look, Volume};

#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl Tape {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("tape").clone()).expect("text")
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("tape").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn human(volume: Volume) -> (Human, Tape, Tape) {
    let (out, err) = (Tape::default(), Tape::default());
    let look = Look { volume, ..Look::default() };
    let terminal = Terminal::on(
        look,
        Masker::default(),
        Box::new(out.clone()),
        Box::new(err.clone()),
        Bars::hidden(),
    );
    (Human::new(terminal, zone()), out, err)
}

fn shown(script: &Script, volume: Volume) -> String {
    let (mut human, _, err) = human(volume);
    script.records.iter().for_each(|record| human.record(record));
    let text = err.text();
    for line in text.lines() {
        assert!(text::width(line) <= 80, "{line}");
    }
    text
}

fn approve() -> QuestionKey {
    QuestionKey::Approve { step: "database".into(), digest: "d1".to_owned() }
}

fn failing() -> Script {
    let kept = RevertResult::Kept { why: "a choice changes nothing".to_owned() };
    Script::started()
        .event(
            "02:18:08",
            Event::GateSeen {
                step: "primary_down".into(),
                verdict: Verdict::Holds,
                reports: vec![quorum()],
            },
        )
        .end("02:18:08", "primary_down", StepEnd::Done)
        .ask(
            "02:18:10",
            "02:19:12",
            question(approve(), AnswerForm::YesNo),
            Answer::Typed { text: "us-west-2".to_owned() },
        )
        .start("02:19:12", "capacity")
        .event(
            "02:19:20",
            Event::ObligationOpened { step: Some("fence".into()), obligation: obligation() },
        )
        .end("02:19:30", "fence", StepEnd::Waived)
        .fail("02:22:14", "capacity")
        .event(
            "02:23:00",
            Event::RollbackStarted { why: "capacity failed".to_owned(), scope: RollbackScope::Run },
        )
        .event("02:23:00", Event::RevertStarted { step: "capacity".into(), attempt: 1 })
        .event(
            "02:23:30",
            Event::RevertFinished {
                step: "capacity".into(),
                result: RevertResult::Conflict {
                    before: json!({ "replicas": 1 }),
                    ours: json!({ "replicas": 5 }),
                    now: json!({ "replicas": 7 }),
                },
            },
        )
        .event("02:23:30", Event::RevertFinished { step: "recovery_point".into(), result: kept })
        .end("02:23:31", "p1", StepEnd::NotRun)
        .event("02:23:31", Event::RunStopped { why: "an operator must act".to_owned(), exit: 6 })
}

#[test]
fn a_run_that_fails_reads_like_this() {
    insta::assert_snapshot!(shown(&failing(), Volume::Normal), @r#"
    phoenix-dr · LIVE · DR-001 Regional failover · estate phoenix · run 7F3A
    began 02:12 UTC (19:12 PDT) · 0:06 gone · objective 0:30, maximum 4:00 · SEV1
    02:18:08  gate  primary_down    Establish that us-east-1 is down: holds
                      holds    us-east-1 is down  3 of 3 signals hold
                      holds      API healthz      no answer in 3 s (2s ago)
                      holds      database         no answer in 3 s (2s ago)
                      holds      RDS us-east-1    no answer in 3 s (1s ago)
                      no vote    AWS Health       no support plan, no vote (3s ago)
                      control from this host:
                        https://api.us-west-2.phoenix.example/healthz answered
    02:18:08  ok    primary_down    Establish that us-east-1 is down (0s)
    02:19:12  said  database        typed `us-west-2` (waited 1m 02s)
    02:19:12  start capacity        Get P0 capacity in us-west-2 (usually 3m)
    02:19:20  open  fence           The old primary phoenix-prod is not fenced: it
                                    may take writes when it comes back
                                    To close it: Fence it as soon as us-east-1
                                      answers: phoenix-dr resume
    02:19:30  waive fence           Fence the old primary: gone on without it
    02:22:14  tried capacity        attempt 1: pods of phoenix-system/phoenix-api a…
    02:22:14  FAIL  capacity        Get P0 capacity in us-west-2
                                    pods of phoenix-system/phoenix-api are not
                                      ready: 3 of 5, two are Pending: 0/6 nodes are
                                      available, 6 Insufficient cpu
                                    It did change something
                                    Hint: Add nodes to the us-west-2 node group,
                                      then retry
    02:23:00  BACK  run             rolling back: capacity failed
    02:23:00  undo  capacity        Get P0 capacity in us-west-2
    02:23:30  FAIL  capacity        Get P0 capacity in us-west-2 was not undone:
                                    something else changed it since
                                    before: {"replicas":1}
                                    ours: {"replicas":5}
                                    now: {"replicas":7}
    02:23:30  kept  recovery_point  Choose the recovery point: a choice changes
                                    nothing
    02:23:31  not   p1              Restore P1 services: was not started
    02:23:31  stop  run             an operator must act
    "#);
}

#[test]
fn quiet_says_what_went_wrong_and_what_stays_open() {
    insta::assert_snapshot!(shown(&failing(), Volume::Quiet), @r#"
    02:19:20  open  fence           The old primary phoenix-prod is not fenced: it
                                    may take writes when it comes back
                                    To close it: Fence it as soon as us-east-1
                                      answers: phoenix-dr resume
    02:19:30  waive fence           Fence the old primary: gone on without it
    02:22:14  FAIL  capacity        Get P0 capacity in us-west-2
                                    pods of phoenix-system/phoenix-api are not
                                      ready: 3 of 5, two are Pending: 0/6 nodes are
                                      available, 6 Insufficient cpu
                                    It did change something
                                    Hint: Add nodes to the us-west-2 node group,
                                      then retry
    02:23:00  BACK  run             rolling back: capacity failed
    02:23:30  FAIL  capacity        Get P0 capacity in us-west-2 was not undone:
                                    something else changed it since
                                    before: {"replicas":1}
                                    ours: {"replicas":5}
                                    now: {"replicas":7}
    02:23:31  stop  run             an operator must act
    "#);
}

#[test]
fn a_step_that_works_is_two_lines() {
    let script = Script::started()
        .done("02:15:07", "02:18:09", "capacity")
        .end("02:18:09", "restore", StepEnd::Skipped)
        .end("02:18:09", "fence", StepEnd::Satisfied)
        .event("02:38:00", Event::RunFinished { end: RunEnd::Restored, exit: 0 });
    insta::assert_snapshot!(shown(&script, Volume::Normal), @r#"
    phoenix-dr · LIVE · DR-001 Regional failover · estate phoenix · run 7F3A
    began 02:12 UTC (19:12 PDT) · 0:06 gone · objective 0:30, maximum 4:00 · SEV1
    02:15:07  start capacity        Get P0 capacity in us-west-2 (usually 3m)
    02:18:09  ok    capacity        Get P0 capacity in us-west-2 (3m 02s)
    02:18:09  skip  restore         Restore the database beside the lost one: not
                                    needed
    02:18:09  same  fence           Fence the old primary: was as it should be
                                    already
    02:38:00  end   run             restored and verified
    "#);
}

#[test]
fn findings_and_answers_nobody_gave_are_loud() {
    let finding = |level, about: &str, said: &str| Finding {
        level,
        about: about.to_owned(),
        said: said.to_owned(),
        hint: Some("aws sso login --profile dr".to_owned()),
        step: None,
    };
    let findings = vec![
        finding(FindingLevel::Good, "kubernetes", "context west answers"),
        finding(FindingLevel::Warning, "helm", "3.9 is old"),
        finding(FindingLevel::Blocking, "credentials", "expired 4 minutes ago"),
    ];
    let script = Script::of(crate::report::fixtures::plan(), Mode::Rehearsal)
        .event("02:18:03", Event::Preflight { findings })
        .ask(
            "02:18:04",
            "02:18:04",
            question(approve(), AnswerForm::YesNo),
            Answer::Missing { flag: "--approve database".to_owned() },
        );
    insta::assert_snapshot!(shown(&script, Volume::Quiet), @r#"
    02:18:03  BLOCK preflight       credentials: expired 4 minutes ago
                                    Hint (REHEARSAL: in a shell it would act LIVE):
                                      aws sso login --profile dr
    02:18:04  said  database        no answer was given; add --approve database
    "#);
}

#[test]
fn a_gate_that_looks_the_same_again_is_no_news() {
    let look = |script: Script, clock: &str, verdict: Verdict| {
        let reports = vec![CheckReport { verdict, ..quorum() }];
        script.event(clock, Event::GateSeen { step: "primary_down".into(), verdict, reports })
    };
    let script = look(Script::started(), "02:18:03", Verdict::Inconclusive);
    let script = look(script, "02:18:06", Verdict::Inconclusive);
    let script = look(script, "02:18:09", Verdict::Holds);
    let text = shown(&script, Volume::Normal);
    assert_eq!(text.matches("  gate  ").count(), 2, "{text}");
    assert!(text.contains("inconclusive") && text.contains("holds"), "{text}");
}

#[test]
fn what_blocks_as_it_did_is_not_told_again() {
    let look = |script: Script, clock: &str, said: &str| {
        let (about, said) = ("credentials".to_owned(), said.to_owned());
        let level = FindingLevel::Blocking;
        let findings = vec![Finding { level, about, said, hint: None, step: None }];
        script.event(clock, Event::Preflight { findings })
    };
    let script = look(Script::started(), "02:18:03", "expired");
    let script = look(script, "02:18:09", "expired");
    assert_eq!(shown(&script, Volume::Normal).matches("BLOCK").count(), 1);
    let script = look(script, "02:18:20", "denied");
    let text = shown(&script, Volume::Normal);
    assert_eq!(text.matches("BLOCK").count(), 2, "{text}");
    // It was gone in between: that it is back is news.
    let script = script.event("02:18:30", Event::Preflight { findings: Vec::new() });
    let script = look(script, "02:18:40", "denied");
    assert_eq!(shown(&script, Volume::Normal).matches("BLOCK").count(), 3);
}

#[test]
fn what_blocked_is_told_again_to_whoever_takes_the_run_up() {
    let finding = Finding {
        level: FindingLevel::Blocking,
        about: "credentials".to_owned(),
        said: "expired".to_owned(),
        hint: None,
        step: None,
    };
    let looked = || Event::Preflight { findings: vec![finding.clone()] };
    let before = Script::started().event("02:18:03", looked());
    let (mut human, _, err) = human(Volume::Normal);
    human.catch_up(&before.records, at("02:20:00"));
    assert!(!err.text().contains("BLOCK"), "{}", err.text());
    let again = before.event("02:20:05", looked());
    human.record(again.records.last().expect("the second look"));
    assert_eq!(err.text().matches("BLOCK").count(), 1, "{}", err.text());
}

#[test]
fn before_a_question_the_status_says_that_it_looks() {
    let said = |script: &Script| {
        let mut view = ViewState::default();
        script.records.iter().for_each(|record| view.apply(record));
        status_line(&view, &Network::default(), at("02:18:08"))
    };
    let script = Script::started();
    assert!(said(&script).ends_with("looking · nothing is changed yet"));
    let question = Box::new(question(QuestionKey::Go, AnswerForm::YesNo));
    let asked = said(&script.event("02:18:06", Event::Asked { question }));
    assert!(asked.ends_with("nothing is changed yet") && !asked.contains("looking"), "{asked}");
}

#[test]
fn without_bars_a_long_step_is_mentioned_once_a_minute() {
    let (mut human, _, err) = human(Volume::Normal);
    let script = Script::started().start("02:20:00", "restore");
    script.records.iter().for_each(|record| human.record(record));
    let before = err.text().len();
    let note =
        |said: &str| ProgressNote { step: "restore".into(), said: said.to_owned(), fraction: None };
    human.tick(at("02:20:59"));
    assert_eq!(err.text().len(), before);
    human.note(&note("creating"));
    human.tick(at("02:21:00"));
    human.tick(at("02:21:30"));
    human.note(&note("backing up"));
    human.tick(at("02:22:05"));
    insta::assert_snapshot!(&err.text()[before..], @r#"
    02:21:00  …     restore         creating, 1m 00s of about 40m
    02:22:05  …     restore         backing up, 2m 05s of about 40m
    "#);
}

#[test]
fn the_live_lines_show_each_running_step_and_the_objective() {
    let (mut human, _, _) = human(Volume::Normal);
    let script = Script::started()
        .end("02:18:05", "primary_down", StepEnd::Done)
        .done("02:18:10", "02:19:00", "recovery_point")
        .end("02:19:00", "restore", StepEnd::Skipped)
        .start("02:19:10", "capacity")
        .start("02:19:10", "fence");
    script.records.iter().for_each(|record| human.record(record));
    human.note(&ProgressNote {
        step: "capacity".into(),
        said: "3 of 5 ready\u{1b}[2J".to_owned(),
        fraction: Some(0.6),
    });
    let text: Vec<String> = human
        .rows(at("02:20:10"))
        .iter()
        .map(|row| format!("{}|{:?}|{}", row.label, row.part, row.text))
        .collect();
    insta::assert_snapshot!(text.join("\n"), @r#"
    |None|LIVE 7F3A · 0:08 gone · P0 02:39 (0:27 of 0:30) · 2 running, 5 left
    fence         |Some(0.95)|1m 00s, usually 30s · running
    capacity      |Some(0.6)|1m 00s of about 3m · 3 of 5 ready[2J
    "#);
    assert_eq!(human.rows(at("02:40:00"))[0].text.matches("LATE").count(), 1);
}

#[test]
fn a_run_taken_up_again_prints_its_header_and_only_what_is_new() {
    let (mut human, _, err) = human(Volume::Normal);
    let script = Script::started().done("02:19:00", "02:19:30", "fence");
    human.catch_up(&script.records, at("02:30:00"));
    let script = script.start("02:30:01", "capacity");
    human.record(script.records.last().expect("a record"));
    let text = err.text();
    assert!(text.contains("0:18 gone"), "{text}");
    assert!(!text.contains("Fence the old primary"), "{text}");
    assert!(text.contains("02:30:01  start capacity"), "{text}");
}

#[test]
fn the_stream_names_its_format_and_has_every_record() {
    let (human, out, _) = human(Volume::Normal);
    let stream = JsonLines::begin(human.terminal.clone());
    let script = failing();
    script.records.iter().for_each(|record| stream.record(record));
    let text = out.text();
    let mut lines = text.lines();
    let first = lines.next().expect("a first line");
    assert_eq!(first, r#"{"format":"phoenix-dr/events","version":1}"#);
    let read: Vec<Record> =
        lines.map(|line| serde_json::from_str(line).expect("a record")).collect();
    assert_eq!(read.len(), script.records.len());
    assert_eq!(read.last().map(|record| record.seq), script.records.last().map(|last| last.seq));
    assert!(text.contains(&failure().message));
}

#[test]
fn what_a_person_still_has_to_do_is_in_view_with_its_instant() {
    let later = Obligation { id: "manual-notify".to_owned(), ..obligation() };
    let opened = Event::ObligationOpened { step: Some("notify".into()), obligation: later };
    let script = Script::started().start("02:18:00", "capacity").event("02:18:00", opened);
    let line = |script: &Script, clock: &str| {
        let mut view = ViewState::default();
        script.records.iter().for_each(|record| view.apply(record));
        let network = Network::new(view.plan.as_ref().expect("a plan"));
        status_line(&view, &network, at(clock))
    };
    // It began at 02:12.
    let early = line(&script, "02:20:00");
    assert!(early.contains(" · notify due 02:27 · "), "{early}");
    let late = line(&script, "02:30:00");
    assert!(late.contains(" · notify OVERDUE since 02:27 · "), "{late}");
    let told = Event::ObligationClosed {
        id: "manual-notify".into(),
        said: "told".to_owned(),
        lapsed: false,
    };
    assert!(!line(&script.event("02:25:00", told), "02:30:00").contains("notify"));
}
