//! Text for `phoenix-dr runs`, `status` and the bare command: where things stand and what can be done now.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::forecast::Network;
use super::human::status_line;
use super::lines::{Layout, header};
use super::text;
use super::view::{Ending, StepStatus, StepView, ViewState};
use super::words;
use crate::clock::since;
use crate::event::Mode;
use crate::ids::RunId;
use crate::journal::summary::{Standing, Summary};
use crate::outcome::{Obligation, StepEnd};

/// One run in a list.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RunLine {
    pub run: RunId,
    pub mode: Mode,
    pub estate: String,
    pub runbook: String,
    pub title: String,
    pub started: Timestamp,
    /// Where it stands, in a few words
    pub state: String,
    /// It waits to be resumed, rolled back or abandoned
    pub unfinished: bool,
    /// A process on this machine is carrying it out now
    pub held: bool,
    /// A rollback would do something, as far as is known
    #[serde(skip)]
    pub revertible: bool,
    pub obligations: Vec<Obligation>,
}

/// What the bare command knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Home {
    /// The estate's name, where an estate file was found
    pub estate: Option<String>,
    /// Newest first
    pub runs: Vec<RunLine>,
    /// Commands of the runbooks, each with its title
    pub runbooks: Vec<(String, String)>,
}

impl RunLine {
    /// Returns the line of a run; `held` says whether a process holds it now, `obligations` what is still open of it.
    pub(crate) fn of(run: &Summary, held: bool, obligations: Vec<Obligation>) -> Self {
        let state = match &run.standing {
            Standing::Finished { end, .. } => words::run_end(*end).to_owned(),
            Standing::Abandoned { .. } => "given up".to_owned(),
            Standing::Stopped { why, .. } => format!("stopped: {why}"),
            Standing::Running if !held => "its process was lost".to_owned(),
            Standing::Running if run.last_kind == "asked" => "waiting for an answer".to_owned(),
            Standing::Running if run.rolling_back => "rolling back".to_owned(),
            Standing::Running => "running".to_owned(),
        };
        Self {
            run: run.run.clone(),
            mode: run.mode,
            estate: run.estate.clone(),
            runbook: run.runbook.clone(),
            title: run.title.clone(),
            started: run.started,
            state,
            unfinished: !run.standing.is_final() && !held,
            held,
            revertible: true,
            obligations,
        }
    }
}

fn unfinished(view: &ViewState) -> bool {
    match &view.ending {
        None | Some(Ending::Stopped { .. }) => true,
        Some(Ending::Finished { .. } | Ending::Abandoned { .. }) => false,
    }
}

fn state(view: &ViewState, held: bool) -> String {
    match &view.ending {
        Some(Ending::Finished { end, .. }) => words::run_end(*end).to_owned(),
        Some(Ending::Abandoned { .. }) => "given up".to_owned(),
        Some(Ending::Stopped { why, .. }) => format!("stopped: {why}"),
        None if !held => "its process was lost".to_owned(),
        None if view.open.is_some() => "waiting for an answer".to_owned(),
        None if view.rollback.is_some() => "rolling back".to_owned(),
        None => "running".to_owned(),
    }
}

/// Returns the list of runs, newest first as given.
pub(crate) fn list(runs: &[RunLine], columns: usize) -> Vec<String> {
    if runs.is_empty() {
        return vec!["No runs yet.".to_owned()];
    }
    let mut rows =
        vec![["run", "started (UTC)", "mode", "runbook", "state"].map(str::to_owned).to_vec()];
    rows.extend(runs.iter().map(|run| {
        let open = match run.obligations.len() {
            0 => String::new(),
            number => format!(" ({number} open)"),
        };
        vec![
            run.run.short().to_owned(),
            text::day(run.started),
            words::mode(run.mode).to_owned(),
            run.runbook.clone(),
            format!("{}{open}", run.state),
        ]
    }));
    text::table(&rows, columns, 0)
}

/// What carries a run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Process {
    /// A process on this machine does, now
    There,
    /// None does; `revertible` says whether a rollback would do something
    Gone { revertible: bool },
}

/// Returns where one run stands.
pub(crate) fn status(
    view: &ViewState,
    process: Process,
    now: Timestamp,
    columns: usize,
    zone: &TimeZone,
) -> Vec<String> {
    let Some(plan) = &view.plan else { return vec!["The run has no records.".to_owned()] };
    let held = process == Process::There;
    let layout = Layout::new(columns, zone.clone(), view);
    let until = if view.ending.is_some() { view.last.unwrap_or(now) } else { now };
    let mut lines: Vec<String> =
        header(view, until, &layout).into_iter().map(|line| line.text).collect();
    lines.extend(text::wrap(&format!("State: {}", state(view, held)), columns, 2));
    if view.ending.is_none() {
        let network = Network::new(plan);
        lines.extend(text::wrap(&status_line(view, &network, now), columns, 2));
    }
    lines.push(String::new());
    let fresh = StepView::new();
    let rows: Vec<Vec<String>> = plan
        .steps
        .iter()
        .enumerate()
        .map(|(at, step)| {
            let seen = view.steps.get(&step.id).unwrap_or(&fresh);
            let (word, took) = standing(seen, until);
            vec![
                format!("{:>3}", at + 1),
                word.to_owned(),
                step.id.0.clone(),
                took,
                step.title.clone(),
            ]
        })
        .collect();
    lines.extend(text::table(&rows, columns, 0));
    if let Some(open) = &view.open {
        let asked = format!(
            "Waiting for an answer since {}: {}",
            text::hour_both(open.since, zone),
            open.question.title
        );
        lines.push(String::new());
        lines.extend(text::wrap(&asked, columns, 2));
    }
    if !view.obligations.is_empty() {
        lines.push(String::new());
        let all: Vec<&Obligation> = view.obligations.values().collect();
        let rehearsed = view.run.as_ref().filter(|_| view.mode == Some(Mode::Rehearsal));
        lines.extend(obligations(&all, rehearsed.map(RunId::short), columns));
    }
    if unfinished(view)
        && let Process::Gone { revertible } = process
        && let Some(run) = &view.run
    {
        lines.push(String::new());
        lines.extend(ways_on(run.short(), view.mode, revertible, columns));
    }
    lines
}

/// Returns a step's standing as a word, and how long it took or has taken.
fn standing(seen: &StepView, until: Timestamp) -> (&'static str, String) {
    let took = match (seen.started, seen.ended) {
        (Some(from), Some(to)) => text::length(since(from, to)),
        (Some(from), None) if seen.under_way() => text::length(since(from, until)),
        (Some(_), None) | (None, _) => String::new(),
    };
    let word = match seen.status {
        StepStatus::Waiting => "-",
        StepStatus::Ready => "next",
        StepStatus::Running => "RUNS",
        StepStatus::Verifying => "proof",
        StepStatus::Undecided => "FAIL?",
        StepStatus::Ended(end) => words::step_end(end),
        StepStatus::Reverting => "undo",
        StepStatus::Reverted => "back",
        StepStatus::Kept => "kept",
        StepStatus::RevertFailed => "FAIL",
        StepStatus::RevertSkipped => "left",
    };
    let idle = matches!(
        seen.status,
        StepStatus::Ended(StepEnd::Skipped | StepEnd::Omitted | StepEnd::NotRun)
    );
    // What was never carried out took no time.
    (word, if idle { String::new() } else { took })
}

/// `run` is the run they are of, where it must be named: what a rehearsal left open is not looked for unnamed.
fn obligations(all: &[&Obligation], run: Option<&str>, columns: usize) -> Vec<String> {
    let named = run.map(|run| format!(" --run {run}")).unwrap_or_default();
    let mut lines = vec![format!("Open ({}):", all.len())];
    for obligation in all {
        lines.extend(text::wrap(&format!("! {}: {}", obligation.id, obligation.say), columns, 4));
        lines.extend(text::block(&format!("to close it: {}", obligation.how), columns, 4));
        // A command is for pasting: one line, whatever the width.
        let id = &obligation.id;
        lines.push(format!("    when it is done: phoenix-dr mark-done {id}{named} --evidence HOW"));
    }
    lines
}

/// Returns what can be done with a run that waits; a rollback only where it would not be refused.
fn ways_on(short: &str, mode: Option<Mode>, revertible: bool, columns: usize) -> Vec<String> {
    let flag = mode.map_or("", Mode::flag);
    let resume =
        (format!("phoenix-dr resume {short}{flag}"), "looks at what is in doubt and goes on");
    let rollback =
        (format!("phoenix-dr rollback {short}{flag}"), "undoes what it changed, as far as it may");
    let abandon = (
        format!("phoenix-dr abandon {short} --reason WHY"),
        "gives it up; undoes nothing, lists what is changed",
    );
    let rollback = Some(rollback).filter(|_| revertible);
    let rows: Vec<Vec<String>> = [Some(resume), rollback, Some(abandon)]
        .into_iter()
        .flatten()
        .map(|(command, does)| vec![command, does.to_owned()])
        .collect();
    text::table(&rows, columns, 2)
}

/// Returns what can be done now: for somebody who typed the bare command.
pub(crate) fn home(home: &Home, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for run in home.runs.iter().filter(|run| run.unfinished) {
        let about = format!(
            "{} run {} of {} waits: {} {}, since {} UTC. {}.",
            words::mode(run.mode),
            run.run.short(),
            run.estate,
            run.runbook,
            run.title,
            text::day(run.started),
            sentence(&run.state)
        );
        lines.extend(text::wrap(&about, columns, 2));
        lines.extend(ways_on(run.run.short(), Some(run.mode), run.revertible, columns));
        lines.push(String::new());
    }
    for run in home.runs.iter().filter(|run| run.held) {
        let short = run.run.short();
        let about = format!(
            "{} run {short} of {} goes on now: phoenix-dr status {short} --follow",
            words::mode(run.mode),
            run.estate
        );
        lines.extend(text::wrap(&about, columns, 2));
        lines.push(String::new());
    }
    let open: Vec<&Obligation> = home
        .runs
        .iter()
        .filter(|run| run.mode == Mode::Live)
        .flat_map(|run| &run.obligations)
        .collect();
    if !open.is_empty() {
        lines.extend(obligations(&open, None, columns));
        lines.push(String::new());
    }
    lines.extend(beginnings(home, columns));
    lines
}

fn beginnings(home: &Home, columns: usize) -> Vec<String> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |command: &str, does: &str| {
        rows.push(vec![format!("phoenix-dr {command}"), does.to_owned()]);
    };
    let head = match &home.estate {
        Some(estate) => {
            for (command, title) in &home.runbooks {
                row(command, title);
            }
            row("doctor", "checks that this host can carry them out");
            format!("Estate {estate}. To begin (--dry-run shows what would happen):")
        }
        None => {
            if home.runbooks.iter().any(|(command, _)| command == "failover") {
                let command = "failover --region us-west-2 --rehearse";
                row(command, "practises in a simulation");
            }
            row("init", "writes a phoenix-dr.yaml");
            row("list", "shows the runbooks");
            "No estate file was found. To begin:".to_owned()
        }
    };
    row("help", "shows everything else");
    let mut lines = text::wrap(&head, columns, 2);
    lines.extend(text::table(&rows, columns, 2));
    lines
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
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
        Script::started().start("02:19:00", "capacity").event(
            "02:20:00",
            Event::Asked { question: Box::new(question(key, AnswerForm::YesNo)) },
        )
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
        let ended =
            stopped().event("02:40:00", Event::RunFinished { end: RunEnd::Restored, exit: 0 });
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
        for said in
            ["State: waiting for an answer", "0:09 gone", "since 02:20 UTC (19:20 PDT)", "RUNS"]
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
}
