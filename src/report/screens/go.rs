//! The `go` screen: everything a person needs to decide, on 80 columns and 24 lines without colour.
//!
//! Its pages have the rest: `d` every step, `c` the commands to finish without this program, `m` a message to paste.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::pages::{commands, contact_within, contacts, details, message};
use super::{COMMANDS_PAGE, DETAILS_PAGE, MESSAGE_PAGE, keys};
use crate::estate::types::Priority;
use crate::event::{AnswerForm, Finding, FindingLevel, Mode, Question, QuestionKey, WorldNamed};
use crate::ids::{RunId, StepId};
use crate::outcome::{Candidate, CheckReport, Verdict};
use crate::plan::{Approval, Plan, PlannedStep};
use crate::report::forecast::Outlook;
use crate::report::human::{expected, objective};
use crate::report::plan_view::{self, DryRunStep, Found, Undo};
use crate::report::text::{self, COLUMNS, about, hour, minutes};
use crate::report::words;

/// Lines of the screen; the line that says how the run stands and the prompt make it 24.
const ROWS: usize = 22;

/// Lines for what keeps a run from starting.
const BLOCKING_MAX: usize = 3;

/// Columns of the names at the left.
const NAMES: usize = 19;

/// Names of facts; together with the blank lines they are what a screen is taken apart by.
const WRITES: &str = "Writes go now to";
const NO_RETURN: &str = "No way back from";
const DATA_LOSS: &str = "Data loss";
const CANNOT_START: &str = "CANNOT START: ";

/// What is known when a run is about to start.
#[derive(Debug, Clone)]
pub(crate) struct GoView {
    pub run: RunId,
    pub mode: Mode,
    /// Where a rehearsal takes place
    pub world: Option<WorldNamed>,
    pub plan: Arc<Plan>,
    pub incident_started: Timestamp,
    pub now: Timestamp,
    /// Zone of the person at the screen
    pub zone: TimeZone,
    pub gates: Vec<GateView>,
    /// Where writes go now, and whether that can be fenced from here
    pub writes: Option<String>,
    /// Recovery points to choose from, and the one the program would take
    pub candidates: Vec<Candidate>,
    pub best: Option<String>,
    pub outlooks: BTreeMap<Priority, Outlook>,
    pub no_return: Option<NoReturn>,
    /// Steps that the best recovery point leaves out
    pub skipped: BTreeSet<StepId>,
    /// What was found about each step, in the plan's order
    pub steps: Vec<DryRunStep>,
    pub findings: Vec<Finding>,
}

/// One gate as it was last looked at.
#[derive(Debug, Clone)]
pub(crate) struct GateView {
    pub title: String,
    pub verdict: Verdict,
    pub reports: Vec<CheckReport>,
    pub at: Timestamp,
}

/// The step from which on not everything can be undone.
#[derive(Debug, Clone)]
pub(crate) struct NoReturn {
    pub step: StepId,
    /// When it starts at the earliest
    pub at: Option<Timestamp>,
}

/// Returns the question whether to start.
pub(crate) fn question(view: &GoView) -> Question {
    let mut pages = BTreeMap::from([(DETAILS_PAGE, details(view))]);
    let commands = commands(view);
    if !commands.is_empty() {
        pages.insert(COMMANDS_PAGE, commands);
    }
    let message = message(view);
    if !message.is_empty() {
        pages.insert(MESSAGE_PAGE, message);
    }
    let (key, title) = if blocking(view).is_empty() {
        (QuestionKey::Go, "Start?")
    } else {
        (QuestionKey::Blocked, "Look again?")
    };
    let mut question = Question {
        key,
        title: title.to_owned(),
        lines: Vec::new(),
        commands: Vec::new(),
        no_means: "nothing is changed".to_owned(),
        form: AnswerForm::YesNo,
        pages,
    };
    question.lines = screen(view, &question);
    question
}

/// Returns what of a screen says how things were: gates, losses, findings. The title and the steps are left out.
pub(crate) fn known(lines: &[String]) -> Vec<&str> {
    let below = lines.iter().skip_while(|line| !line.is_empty());
    let below: Vec<&str> = below.map(String::as_str).filter(|line| !line.is_empty()).collect();
    let facts =
        |line: &&&str| [WRITES, DATA_LOSS, NO_RETURN].iter().any(|fact| line.starts_with(fact));
    let gates = below.iter().take_while(|line| !facts(line) && !line.starts_with('!'));
    let gates = gates.filter(|line| !line.starts_with(' '));
    let others = below
        .iter()
        .filter(|line| [DATA_LOSS, "! ", CANNOT_START].iter().any(|said| line.starts_with(said)));
    gates.chain(others).copied().collect()
}

/// What keeps the run from starting.
fn blocking(view: &GoView) -> Vec<&Finding> {
    view.findings.iter().filter(|finding| finding.level == FindingLevel::Blocking).collect()
}

fn screen(view: &GoView, question: &Question) -> Vec<String> {
    let mut top = heading(view);
    top.push(String::new());
    for gate in &view.gates {
        top.extend(gate_lines(gate, view.now));
    }
    top.extend(facts(view));
    let mut bottom = warnings(&view.findings);
    bottom.extend(calls(view));
    bottom.extend(choices(view));
    bottom.push(keys(question));
    // Blank lines set the steps apart where there is room.
    let mut room = ROWS.saturating_sub(top.len() + bottom.len());
    let mut lines = top;
    let apart = room >= listed(view).len() + 2;
    if apart {
        room -= 2;
        lines.push(String::new());
    }
    lines.extend(step_lines(view, room));
    if apart {
        lines.push(String::new());
    }
    lines.extend(bottom);
    lines.into_iter().map(|line| text::clip(&line, COLUMNS).trim_end().to_owned()).collect()
}

pub(super) fn heading(view: &GoView) -> Vec<String> {
    let plan = &view.plan;
    let to = plan.inputs.get("region").and_then(|region| region.as_str());
    let to = to.map(|region| format!(" to {region}")).unwrap_or_default();
    let severity = format!("{:?}", plan.severity);
    let what = format!(
        "{} · estate {} · {} {}{to} · run {}",
        words::mode(view.mode),
        plan.estate.estate,
        plan.runbook,
        plan.title,
        view.run.short()
    );
    let room = COLUMNS - severity.len() - 1;
    let rto = objective(plan, Priority::P0).unwrap_or(plan.objectives.rto);
    vec![
        format!("{} {severity}", text::pad(&what, room)),
        format!(
            "incident began {} · P0 objective {}, maximum {}",
            text::hour_both(view.incident_started, &view.zone),
            minutes(rto.duration()),
            minutes(plan.rto_max().duration()),
        ),
    ]
}

/// Returns a gate as its verdict, then its votes two a line.
fn gate_lines(gate: &GateView, now: Timestamp) -> Vec<String> {
    let verdict = match gate.verdict {
        Verdict::Holds => "YES",
        Verdict::Fails => "NO",
        Verdict::Inconclusive => "CANNOT TELL",
    };
    let title = match gate.reports.as_slice() {
        [report] => format!("{}: {verdict}, {}", report.title, report.said),
        _ => format!("{}: {verdict}", gate.title),
    };
    let seen = format!("{}, {}", hour(gate.at), text::ago(gate.at, now));
    let room = COLUMNS - text::width(&seen) - 1;
    let mut lines = vec![format!("{} {seen}", text::pad(&title, room))];
    let votes: Vec<&CheckReport> = match gate.reports.as_slice() {
        [report] => report.votes.iter().collect(),
        several => several.iter().collect(),
    };
    let titles = votes.iter().map(|vote| text::width(&vote.title)).max().unwrap_or(0).min(15);
    for pair in votes.chunks(2) {
        let cells = pair.iter().map(|vote| text::pad(&vote_cell(vote, titles), 38));
        lines.push(format!("  {}", cells.collect::<Vec<_>>().join(" ")));
    }
    for control in gate.reports.iter().filter_map(|report| report.control.as_ref()) {
        lines.push(format!("  control from this host: {control}"));
    }
    lines
}

fn vote_cell(vote: &CheckReport, titles: usize) -> String {
    let word = match vote.verdict {
        Verdict::Holds => "yes",
        Verdict::Fails => "NO",
        Verdict::Inconclusive => "?",
    };
    format!("{} {} {}", text::pad(word, 3), text::pad(&vote.title, titles), vote.said)
}

fn facts(view: &GoView) -> Vec<String> {
    let mut lines = Vec::new();
    let mut fact = |name: &str, said: String| {
        lines.push(format!("{}{said}", text::pad(name, NAMES)));
    };
    if let Some(writes) = &view.writes {
        fact(WRITES, writes.clone());
    }
    if !view.candidates.is_empty() {
        fact(DATA_LOSS, losses(view));
    }
    if !view.outlooks.is_empty() {
        fact(&restored_name(view), restored(view));
    }
    fact(NO_RETURN, no_return(view));
    lines
}

fn losses(view: &GoView) -> String {
    let max = view.plan.objectives.rpo_max;
    let cells = view.candidates.iter().map(|candidate| {
        let best = if view.best.as_ref() == Some(&candidate.id) { " (best)" } else { "" };
        let loss = match (&candidate.unusable, candidate.loss) {
            (Some(_), _) => "unusable".to_owned(),
            (None, Some(loss)) if loss > max => format!("{} (over)", about(loss)),
            (None, Some(loss)) => about(loss),
            (None, None) => "unknown".to_owned(),
        };
        format!("{} {loss}{best}", candidate.id)
    });
    cells.collect::<Vec<_>>().join("  ")
}

fn restored_name(view: &GoView) -> String {
    let first = view.outlooks.keys().next();
    first.map(|priority| format!("{priority:?} restored")).unwrap_or_default()
}

fn restored(view: &GoView) -> String {
    let mut parts = Vec::new();
    for (priority, outlook) in &view.outlooks {
        let rto = objective(&view.plan, *priority);
        if parts.is_empty() {
            parts.push(expected(outlook, rto, view.incident_started));
            continue;
        }
        parts.push(match outlook {
            Outlook::Ahead { latest, .. } => {
                let spent = crate::clock::since(view.incident_started, *latest);
                let late = rto.is_some_and(|rto| spent > rto.duration());
                format!("{priority:?} {}{}", hour(*latest), if late { " LATE" } else { "" })
            }
            Outlook::Done { at } => format!("{priority:?} {}", hour(*at)),
            Outlook::Blocked { by } => format!("{priority:?} after {by}"),
        });
    }
    parts.join("   ")
}

fn no_return(view: &GoView) -> String {
    let Some(point) = &view.no_return else {
        return "no step: all of it can be undone".to_owned();
    };
    let number = number(view, &point.step).map(|at| format!("{at} ")).unwrap_or_default();
    let when = point.at.map(|at| format!(", about {}", hour(at))).unwrap_or_default();
    format!("step {number}{}{when}; until then it can be undone", point.step)
}

fn number(view: &GoView, step: &StepId) -> Option<usize> {
    view.plan.steps.iter().position(|planned| planned.id == *step).map(|at| at + 1)
}

/// Steps worth a line: those that change something or ask, with their numbers.
fn listed(view: &GoView) -> Vec<(usize, &PlannedStep, &DryRunStep)> {
    plan_view::numbered(&view.plan, &view.steps)
        .filter(|(_, _, step)| step.changes() || !step.asks.is_empty())
        .filter(|(_, _, step)| !view.skipped.contains(&step.step))
        .collect()
}

fn step_lines(view: &GoView, room: usize) -> Vec<String> {
    let all = listed(view);
    let fitting = if all.len() > room { room.saturating_sub(1) } else { all.len() };
    // When not all fit, those that cannot be undone and those that ask are kept; all stay in their order.
    let mut chosen: Vec<usize> = (0..all.len()).collect();
    chosen.sort_by_key(|at| {
        let (_, _, step) = all[*at];
        (!step.undo.is_final(), step.asks.is_empty(), *at)
    });
    chosen.truncate(fitting);
    chosen.sort_unstable();
    let ids = all.iter().map(|(_, planned, _)| text::width(&planned.id.0)).max().unwrap_or(0);
    let ids = ids.clamp(8, 14);
    let mut lines: Vec<String> = chosen.iter().map(|at| step_line(all[*at], ids)).collect();
    if all.len() > fitting && room > 0 {
        lines.push(format!("  … {} more (d)", all.len() - fitting));
    }
    lines
}

fn step_line((number, planned, step): (usize, &PlannedStep, &DryRunStep), ids: usize) -> String {
    let asks = match (&planned.approve, step.asks.is_empty()) {
        (_, true) => "",
        (Approval::Typed { .. }, false) => "types",
        (Approval::Plan | Approval::Each { .. }, false) => "asks",
    };
    let impossible = matches!(&step.found, Found::State { state } if state.waiver.is_some());
    let undo = match step.undo {
        _ if impossible => "",
        Undo::Nothing | Undo::Harmless { .. } => "",
        Undo::Restore | Undo::Delete | Undo::Action { .. } | Undo::Command { .. } => "undo: yes",
        Undo::ByChoice { promotes: Some(false) } => "undo: yes",
        Undo::ByChoice { .. } | Undo::Never { .. } => "undo: NO",
        Undo::Sealed { .. } => "undo: no",
    };
    let usually = planned.usually.map(about).unwrap_or_default();
    let room = COLUMNS - 3 - 1 - ids - 2 - 2 - 5 - 2 - 9 - 2 - 6;
    format!(
        "{number:>3} {}  {}  {}  {}  {usually:>6}",
        text::pad(&planned.id.0, ids),
        text::pad(&change(planned, step), room),
        text::pad(asks, 5),
        text::pad(undo, 9),
    )
}

/// Returns what a step changes, in a few words.
fn change(planned: &PlannedStep, step: &DryRunStep) -> String {
    match &step.found {
        Found::State { state } => {
            if let Some((_, word)) = &state.waiver {
                return format!("not possible: asks for `{word}`");
            }
            // Of a program, its title says more than its beginning.
            let program = state.differences.iter().all(|difference| difference.what == "program");
            if program {
                return planned.title.clone();
            }
            let parts = state.differences.iter().map(|difference| {
                // Of an object its bucket is told as well: its name alone may be that of a region.
                if let Some(object) = difference.what.strip_prefix("failover object ") {
                    let does = if difference.to == "present" { "puts" } else { "removes" };
                    return format!("{does} {object}");
                }
                // The last part of `namespace/name replicas` tells enough on one line.
                let what = difference.what.rsplit('/').next().unwrap_or(&difference.what);
                let what = what.strip_suffix(" replicas").unwrap_or(what);
                format!("{what} {} -> {}", difference.from, difference.to)
            });
            parts.collect::<Vec<_>>().join(", ")
        }
        Found::Unreachable { .. } => format!("{} (not readable now)", planned.title),
        Found::Gate { .. }
        | Found::KnownAfter { .. }
        | Found::Deferred { .. }
        | Found::Skipped { .. }
        | Found::ByHand { .. } => planned.title.clone(),
    }
}

fn warnings(findings: &[Finding]) -> Vec<String> {
    let worse: Vec<&Finding> =
        findings.iter().filter(|finding| finding.level == FindingLevel::Warning).collect();
    let mut lines: Vec<String> = Vec::new();
    let said: Vec<String> =
        worse.iter().map(|finding| format!("! {}: {}", finding.about, finding.said)).collect();
    let mut rest = said.as_slice();
    while let [first, others @ ..] = rest {
        if lines.len() == 2 {
            lines[1] = format!("{}   (+{} d)", text::clip(&lines[1], COLUMNS - 9), rest.len());
            break;
        }
        let mut line = first.clone();
        rest = others;
        if let [second, others @ ..] = rest
            && text::width(&line) + 3 + text::width(second) <= COLUMNS
        {
            line = format!("{line}   {second}");
            rest = others;
        }
        lines.push(line);
    }
    lines
}

/// Returns when the outside must be told, by the severity's rule.
fn notice_due(view: &GoView) -> Option<Timestamp> {
    let rule = view.plan.estate.severities.get(&view.plan.severity)?;
    view.incident_started.checked_add(rule.external.duration()).ok()
}

fn calls(view: &GoView) -> Vec<String> {
    let due = notice_due(view).map(|due| {
        if due < view.now {
            format!("customers OVERDUE {} (m)", hour(due))
        } else {
            format!("tell customers by {} (m)", hour(due))
        }
    });
    let room = COLUMNS - due.as_ref().map_or(0, |due| text::width(due) + 3) - "Call ".len();
    let who = contacts(&view.plan).first().map(|contact| contact_within(contact, room));
    let who = who.or_else(|| {
        let rule = view.plan.estate.severities.get(&view.plan.severity)?;
        Some(format!("the {}", rule.escalation))
    });
    let line = match (who, due) {
        (Some(who), Some(due)) => {
            format!("{} · {due}", text::clip(&format!("Call {who}"), room + "Call ".len()))
        }
        (Some(who), None) => format!("Call {who}"),
        (None, Some(due)) => due,
        (None, None) => return Vec::new(),
    };
    vec![line]
}

fn choices(view: &GoView) -> Vec<String> {
    let blocking = blocking(view);
    if !blocking.is_empty() {
        return cannot_start(&blocking);
    }
    let all = listed(view);
    let numbers = |asks: bool| {
        let matching = all.iter().filter(|(_, _, step)| step.asks.is_empty() != asks);
        ranges(&matching.map(|(number, _, _)| *number).collect::<Vec<_>>())
    };
    let (at_once, later) = (numbers(false), numbers(true));
    let step = |numbers: &str| if numbers.contains([',', '-']) { "steps" } else { "step" };
    let mut line = "y start".to_owned();
    if !at_once.is_empty() {
        line = format!("{line} {} {at_once}", step(&at_once));
    }
    if !later.is_empty() {
        line = format!("{line} (asks again at {later})");
    }
    vec![format!("{line} · n change nothing")]
}

fn cannot_start(blocking: &[&Finding]) -> Vec<String> {
    let said = blocking.iter().map(|finding| {
        let hint = finding.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{CANNOT_START}{}: {}{hint}", finding.about, finding.said)
    });
    let mut lines: Vec<String> = said.flat_map(|said| text::wrap(&said, COLUMNS, 2)).collect();
    if lines.len() > BLOCKING_MAX {
        lines.truncate(BLOCKING_MAX);
        let last = text::clip(&lines[BLOCKING_MAX - 1], COLUMNS - 10);
        lines[BLOCKING_MAX - 1] = format!("{last} (more: d)");
    }
    lines.push("y or r look again · n change nothing".to_owned());
    lines
}

/// Returns numbers as ranges: `3, 5-11`.
fn ranges(numbers: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match parts.last_mut() {
            Some((_, end)) if *end + 1 == *number => *end = *number,
            Some(_) | None => parts.push((*number, *number)),
        }
    }
    let parts =
        parts.iter().map(
            |(first, last)| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            },
        );
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "go_tests.rs"]
mod tests;
