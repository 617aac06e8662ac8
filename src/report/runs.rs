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
use crate::event::{Mode, WorldNamed};
use crate::ids::RunId;
use crate::journal::summary::{Standing, Summary};
use crate::outcome::{Obligation, StepEnd};

/// Ends a list with rehearsals in it: one of a live run looks the same.
const PRACTISED: &str = "REHEARSAL: such a run is practice; nothing real was touched by it";

/// One run in a list.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RunLine {
    pub run: RunId,
    pub mode: Mode,
    /// Where a rehearsal takes place
    #[serde(skip_serializing_if = "Option::is_none")]
    pub world: Option<WorldNamed>,
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
            world: run.world.clone(),
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
            format!("{}{open}{}", run.state, own_file(run)),
        ]
    }));
    let mut lines = text::table(&rows, columns, 0);
    let practised = runs.iter().filter(|run| run.mode == Mode::Rehearsal).count();
    if practised == runs.len() {
        lines.insert(0, words::PRACTICE.to_owned());
    }
    if practised > 0 {
        lines.push(PRACTISED.to_owned());
    }
    lines
}

/// Returns where the world of a rehearsal is, if it is a file of the operator's own: others are known by their estate.
fn own_file(run: &RunLine) -> String {
    let own = run.world.as_ref().filter(|world| world.file.is_some());
    own.map(|world| format!("; {world}")).unwrap_or_default()
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

/// `run` is the rehearsal they are of: what one left open is not looked for unnamed.
fn obligations(all: &[&Obligation], run: Option<&str>, columns: usize) -> Vec<String> {
    let named = run.map(|run| format!(" --run {run}")).unwrap_or_default();
    let mut lines = vec![format!("Open ({}):", all.len())];
    for obligation in all {
        lines.extend(text::wrap(&format!("! {}: {}", obligation.id, obligation.say), columns, 4));
        let warned = words::if_pasted(run.map(|_| Mode::Rehearsal));
        let how = format!("to close it{warned}: {}", obligation.how);
        lines.extend(text::instruction(&how, columns, 4));
        let id = &obligation.id;
        let done = format!("when it is done: phoenix-dr mark-done {id}{named} --evidence HOW");
        lines.extend(text::command(&done, columns, 4));
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
#[path = "runs_tests.rs"]
mod tests;
