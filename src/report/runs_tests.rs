//! The list of runs, where one stands, and what can be done now.

use super::*;
use crate::event::{AnswerForm, Event, QuestionKey, RunEnd};
use crate::report::fixtures::{Script, at, obligation, question, zone};

fn stopped() -> Script {
    Script::started()
        .end("02:18:08", "primary_down", StepEnd::Done)
        .done("02:19:00", "02:19:30", "fence")
        .end("02:19:30", "restore", StepEnd::Skipped)
        .event(
            "02:19:31",
            Event::ObligationOpened { step: Some("fence".into()), obligation: obligation() },
        )
        .start("02:19:31", "capacity")
        .fail("02:22:00", "capacity")
        .event("02:23:00", Event::RunStopped { why: "SIGTERM".to_owned(), exit: 13 })
}

fn running() -> Script {
    let key = QuestionKey::Approve { step: "database".into(), digest: "d".to_owned() };
    Script::started()
        .start("02:19:00", "capacity")
        .event("02:20:00", Event::Asked { question: Box::new(question(key, AnswerForm::YesNo)) })
}

fn line(script: &Script, held: bool) -> RunLine {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let lines = script.records.iter().map(crate::journal::record::line);
    let text = lines.map(|line| line + "\n").collect::<String>();
    std::fs::write(file.path(), text).expect("writes");
    let summary = crate::journal::summary::summarise(file.path()).expect("a run");
    let open = crate::journal::summary::open_obligations(summary.obligations.clone());
    let open = open.into_iter().map(|open| open.obligation).collect();
    RunLine::of(&summary, held, open)
}

fn fits(lines: &[String]) -> String {
    assert!(lines.iter().all(|line| text::width(line) <= 80), "{lines:#?}");
    lines.join("\n")
}

#[test]
fn the_list_reads_like_this() {
    let ended = stopped().event("02:40:00", Event::RunFinished { end: RunEnd::Restored, exit: 0 });
    let runs = [line(&running(), true), line(&stopped(), false), line(&ended, false)];
    insta::assert_snapshot!(fits(&list(&runs, 80)), @r#"
run   started (UTC)     mode  runbook  state
7F3A  2026-07-14 02:18  LIVE  DR-001   waiting for an answer
7F3A  2026-07-14 02:18  LIVE  DR-001   stopped: SIGTERM (1 open)
7F3A  2026-07-14 02:18  LIVE  DR-001   restored and verified (1 open)
"#);
    assert_eq!(list(&[], 80), ["No runs yet."]);
    assert_eq!(runs.map(|run| run.unfinished), [false, true, false]);
}

#[test]
fn the_status_reads_like_this() {
    let view = ViewState::fold(&stopped().records);
    insta::assert_snapshot!(fits(&status(&view, GONE, at("03:00:00"), 80, &zone())), @r#"
phoenix-dr · LIVE · DR-001 Regional failover · estate phoenix · run 7F3A
began 02:12 UTC (19:12 PDT) · 0:11 gone · objective 0:30, maximum 4:00 · SEV1
State: stopped: SIGTERM

  1  ok     primary_down         Establish that us-east-1 is down
  2  -      recovery_point       Choose the recovery point
  3  ok     fence           30s  Fence the old primary
  4  -      notify               Tell the company and the customers
  5  FAIL?  capacity             Get P0 capacity in us-west-2
  6  skip   restore              Restore the database beside the lost one
  7  -      database             Bring the database up in us-west-2
  8  -      repoint              Point the application at the recovered database
  9  -      traffic              Move traffic to us-west-2
 10  -      p1                   Restore P1 services

Open (1):
! unfenced-phoenix-prod: The old primary phoenix-prod is not fenced: it may take
    writes when it comes back
    to close it: Fence it as soon as us-east-1 answers: phoenix-dr resume
    when it is done: phoenix-dr mark-done unfenced-phoenix-prod --evidence HOW

  phoenix-dr resume 7F3A                looks at what is in doubt and goes on
  phoenix-dr rollback 7F3A              undoes what it changed, as far as it may
  phoenix-dr abandon 7F3A --reason WHY  gives it up; undoes nothing, lists what
                                        is changed
"#);
}

const GONE: Process = Process::Gone { revertible: true };

#[test]
fn a_run_that_goes_on_shows_its_question_and_its_forecast() {
    let view = ViewState::fold(&running().records);
    let text = fits(&status(&view, Process::There, at("02:21:00"), 80, &zone()));
    for said in ["State: waiting for an answer", "0:09 gone", "since 02:20 UTC (19:20 PDT)", "RUNS"]
    {
        assert!(text.contains(said), "{said}\n{text}");
    }
    assert!(!text.contains("phoenix-dr resume"), "its process is there: {text}");
    let lost = fits(&status(&view, GONE, at("02:21:00"), 80, &zone()));
    assert!(lost.contains("its process was lost") && lost.contains("phoenix-dr resume 7F3A"));
}

#[test]
fn the_bare_command_says_what_can_be_done() {
    let runbooks = vec![("failover".to_owned(), "Regional failover".to_owned())];
    let nothing = Home { runbooks: runbooks.clone(), ..Home::default() };
    let waiting = Home {
        estate: Some("phoenix".to_owned()),
        runs: vec![line(&stopped(), false), line(&running(), true)],
        runbooks,
    };
    let both = format!("{}\n=====\n{}", fits(&home(&nothing, 80)), fits(&home(&waiting, 80)));
    insta::assert_snapshot!(both, @r#"
No estate file was found. To begin:
  phoenix-dr failover --region us-west-2 --rehearse  practises in a simulation
  phoenix-dr init                                    writes a phoenix-dr.yaml
  phoenix-dr list                                    shows the runbooks
  phoenix-dr help                                    shows everything else
=====
LIVE run 7F3A of phoenix waits: DR-001 Regional failover, since 2026-07-14 02:18
  UTC. Stopped: SIGTERM.
  phoenix-dr resume 7F3A                looks at what is in doubt and goes on
  phoenix-dr rollback 7F3A              undoes what it changed, as far as it may
  phoenix-dr abandon 7F3A --reason WHY  gives it up; undoes nothing, lists what
                                        is changed

LIVE run 7F3A of phoenix goes on now: phoenix-dr status 7F3A --follow

Open (1):
! unfenced-phoenix-prod: The old primary phoenix-prod is not fenced: it may take
    writes when it comes back
    to close it: Fence it as soon as us-east-1 answers: phoenix-dr resume
    when it is done: phoenix-dr mark-done unfenced-phoenix-prod --evidence HOW

Estate phoenix. To begin (--dry-run shows what would happen):
  phoenix-dr failover  Regional failover
  phoenix-dr doctor    checks that this host can carry them out
  phoenix-dr help      shows everything else
"#);
}

#[test]
fn a_rollback_that_would_be_refused_is_not_offered() {
    let mut run = line(&stopped(), false);
    run.revertible = false;
    let text = fits(&home(&Home { runs: vec![run], ..Home::default() }, 80));
    assert!(text.contains("phoenix-dr resume 7F3A") && !text.contains("rollback"), "{text}");
    let view = ViewState::fold(&stopped().records);
    let text =
        fits(&status(&view, Process::Gone { revertible: false }, at("02:31:00"), 80, &zone()));
    assert!(text.contains("phoenix-dr resume 7F3A") && !text.contains("rollback"), "{text}");
}

#[test]
fn what_a_rehearsal_leaves_open_is_nobodys_obligation() {
    let mut run = line(&stopped(), false);
    run.mode = Mode::Rehearsal;
    let text = fits(&home(&Home { runs: vec![run], ..Home::default() }, 80));
    assert!(!text.contains("unfenced"), "{text}");
    assert!(text.contains("REHEARSAL run 7F3A"), "{text}");
}
