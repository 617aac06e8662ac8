//! Shows a run to a person while it goes on: lines for what happened, bars for what is happening.
//!
//! Is given records that are durable and news that is not; keeps its own fold and can alter nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::forecast::{Assume, Network, Outlook};
use super::lines::{self, Layout};
use super::progress::{self, Row};
use super::terminal::{Line, Terminal, Tone, Weight};
use super::text::{self, hour, length, minutes};
use super::view::{StepStatus, StepView, ViewState};
use super::words;
use crate::clock::since;
use crate::engine::ports::ProgressNote;
use crate::estate::types::Priority;
use crate::event::{Event, Finding, Record};
use crate::ids::StepId;
use crate::outcome::{CheckReport, Verdict};
use crate::plan::{Body, Plan, PlannedStep};
use crate::span::Span;

/// Where no bars can be drawn, a running step is mentioned this often.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// Shows a run on a terminal.
pub(crate) struct Human {
    terminal: Terminal,
    zone: TimeZone,
    view: ViewState,
    network: Network,
    news: BTreeMap<StepId, ProgressNote>,
    /// Last look at each gate that was printed
    gates: BTreeMap<StepId, Vec<Verdict>>,
    /// What blocked at the last look
    blocks: Vec<Finding>,
    /// When each running step was last mentioned
    mentioned: BTreeMap<StepId, Timestamp>,
    /// Nothing new starts any more
    stopping: bool,
    /// Records before this one are history of a run taken up again: folded, not printed
    quiet_until: u64,
}

impl Human {
    /// Returns a consumer that prints from the first record on.
    pub(crate) fn new(terminal: Terminal, zone: TimeZone) -> Self {
        Self {
            terminal,
            zone,
            view: ViewState::default(),
            network: Network::default(),
            news: BTreeMap::new(),
            gates: BTreeMap::new(),
            blocks: Vec::new(),
            mentioned: BTreeMap::new(),
            stopping: false,
            quiet_until: 0,
        }
    }

    /// Takes in the records of a run that is taken up again, printing its header only.
    pub(crate) fn catch_up(&mut self, records: &[Record], now: Timestamp) {
        self.quiet_until = records.last().map_or(0, |record| record.seq + 1);
        for record in records {
            self.record(record);
        }
        // Whoever takes a run up has not seen what blocked it then.
        self.blocks.clear();
        let layout = self.layout();
        for line in lines::header(&self.view, now, &layout) {
            self.terminal.line(&line);
        }
    }

    /// Takes in one durable record and prints it.
    pub(crate) fn record(&mut self, record: &Record) {
        self.view.apply(record);
        if let Event::RunStarted { plan, .. } = &record.event {
            self.network = Network::new(plan);
        }
        if let Some(step) = outdated(&record.event) {
            self.news.remove(step);
            self.mentioned.remove(step);
        }
        let news = self.is_news(&record.event);
        if record.seq >= self.quiet_until && news {
            let layout = self.layout();
            for line in lines::lines(record, &self.view, &layout) {
                self.terminal.line(&line);
            }
        }
        if matches!(record.event, Event::Asked { .. }) {
            // Above the prompt from the start, not from the next tick on.
            self.terminal.stands(&status_line(&self.view, &self.network, record.time));
        }
        if self.view.ending.is_some() {
            self.terminal.show(&[]);
        }
    }

    /// Says that nothing new starts, and what is waited for.
    pub(crate) fn stopping(&mut self, why: &str, running: &[StepId], now: Timestamp) {
        self.stopping = true;
        let steps: Vec<&str> = running.iter().map(|step| step.0.as_str()).collect();
        let said = format!(
            "{why}: nothing new starts. {} to a safe point first; Ctrl-C again does not wait for \
             that",
            lines::come(&steps)
        );
        for line in lines::of_run("stop", Tone::Warn, &said, now, &self.layout()) {
            self.terminal.line(&line);
        }
    }

    /// Takes in ephemeral news of a running step.
    pub(crate) fn note(&mut self, note: &ProgressNote) {
        if self.view.steps.get(&note.step).is_some_and(StepView::under_way) {
            self.news.insert(note.step.clone(), note.clone());
        }
    }

    /// Draws what is running now; where bars cannot be drawn, mentions it once a minute.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        if self.view.plan.is_none() || self.view.ending.is_some() {
            return;
        }
        let rows = self.rows(now);
        if let Some(run) = rows.first() {
            self.terminal.stands(&run.text);
        }
        if self.terminal.live() {
            self.terminal.show(&rows);
        } else {
            self.mention(now);
        }
    }

    /// A gate looks again every few seconds, a screen that is blocked whenever somebody asks: only a look that differs from
    /// the last one is news.
    fn is_news(&mut self, event: &Event) -> bool {
        match event {
            Event::GateSeen { step, verdict, reports } => {
                let mut seen = vec![*verdict];
                seen.extend(reports.iter().flat_map(verdicts));
                self.gates.insert(step.clone(), seen.clone()) != Some(seen)
            }
            Event::Preflight { findings } => {
                let blocks: Vec<Finding> =
                    findings.iter().filter(|finding| finding.blocks()).cloned().collect();
                let before = std::mem::replace(&mut self.blocks, blocks);
                before.is_empty() || before != self.blocks
            }
            _ => true,
        }
    }

    fn layout(&self) -> Layout {
        Layout::new(self.terminal.columns(), self.zone.clone(), &self.view)
    }

    fn mention(&mut self, now: Timestamp) {
        let Some(plan) = &self.view.plan else { return };
        let mut lines = Vec::new();
        for step in &plan.steps {
            let Some(seen) = self.view.steps.get(&step.id).filter(|seen| seen.under_way()) else {
                continue;
            };
            let last = self.mentioned.get(&step.id).copied().or(seen.started).unwrap_or(now);
            if since(last, now) >= HEARTBEAT {
                let state = state(seen, self.news.get(&step.id));
                let said = format!("{state}, {}", pace(step, seen, now));
                let id = text::fill(&step.id.0, self.layout().ids);
                lines.push((step.id.clone(), format!("{}  …     {id}  {said}", text::clock(now))));
            }
        }
        for (id, text) in lines {
            self.mentioned.insert(id, now);
            let text = text::clip(&text, self.terminal.columns());
            self.terminal.line(&Line::new(Weight::Normal, Tone::Faint, text));
        }
    }

    /// Returns the live lines: the run, then a bar for each running step.
    pub(crate) fn rows(&self, now: Timestamp) -> Vec<Row> {
        let Some(plan) = &self.view.plan else { return Vec::new() };
        let mut text = status_line(&self.view, &self.network, now);
        if self.stopping {
            text = format!("STOPPING · {text}");
        }
        // Cut by the bars themselves, a line would not show that it goes on. The last column stays free.
        let room = self.terminal.columns().saturating_sub(1);
        let text = text::clip(&text, room);
        let mut rows = vec![Row { label: String::new(), part: None, text }];
        for step in &plan.steps {
            let Some(seen) = self.view.steps.get(&step.id).filter(|seen| seen.under_way()) else {
                continue;
            };
            let news = self.news.get(&step.id);
            let label = progress::label(&step.id.0);
            let text = format!("{} · {}", pace(step, seen, now), state(seen, news));
            rows.push(match part(step, seen, news, now) {
                Some(part) => {
                    let text = text::clip(&text, room.saturating_sub(progress::BEFORE));
                    Row { label, part: Some(part), text }
                }
                None => Row {
                    text: text::clip(&format!("  {label} {text}"), room),
                    label: String::new(),
                    part: None,
                },
            });
        }
        rows
    }
}

fn verdicts(report: &CheckReport) -> Vec<Verdict> {
    let mut all = vec![report.verdict];
    all.extend(report.votes.iter().map(|vote| vote.verdict));
    all
}

/// Returns the step whose news are old after this event.
const fn outdated(event: &Event) -> Option<&StepId> {
    if let Event::StepFinished { step, .. }
    | Event::StepFailed { step, .. }
    | Event::StepStarted { step, .. }
    | Event::RevertFinished { step, .. } = event
    {
        Some(step)
    } else {
        None
    }
}

/// Returns the done part of a step: what it said itself, else the time taken against the usual time.
fn part(
    step: &PlannedStep,
    seen: &StepView,
    news: Option<&ProgressNote>,
    now: Timestamp,
) -> Option<f32> {
    if let Some(fraction) = news.and_then(|note| note.fraction) {
        return Some(fraction);
    }
    let usually = step.usually.filter(|usually| *usually > Span::default())?.duration();
    // A bar made of time alone never says that something is done.
    Some((since(seen.started?, now).as_secs_f32() / usually.as_secs_f32()).min(0.95))
}

fn pace(step: &PlannedStep, seen: &StepView, now: Timestamp) -> String {
    let taken = seen.started.map(|start| since(start, now)).unwrap_or_default();
    match step.usually {
        Some(usually) if taken > usually.duration() => {
            format!("{}, usually {usually}", length(taken))
        }
        Some(usually) => format!("{} of about {usually}", length(taken)),
        None => length(taken),
    }
}

fn state<'a>(seen: &StepView, news: Option<&'a ProgressNote>) -> &'a str {
    match (news, seen.status) {
        (Some(note), _) => &note.said,
        (None, StepStatus::Verifying) => "verifying",
        (None, StepStatus::Reverting) => "undoing",
        (None, _) => "running",
    }
}

/// Returns the RTO of a priority: the estate's, for P0 also the runbook's.
pub(crate) fn objective(plan: &Plan, priority: Priority) -> Option<Span> {
    let estate = plan.estate.objectives.get(&priority).map(|objective| objective.rto);
    estate.or((priority == Priority::P0).then_some(plan.objectives.rto))
}

/// Returns the line always in view, the most important first: elapsed time and forecast against the objective.
pub(crate) fn status_line(view: &ViewState, network: &Network, now: Timestamp) -> String {
    let (Some(plan), Some(mode), Some(run)) = (&view.plan, view.mode, &view.run) else {
        return String::new();
    };
    let gone = minutes(view.gone(now));
    let mut parts = vec![format!("{} {}", words::mode(mode), run.short()), format!("{gone} gone")];
    if view.rollback.is_some() {
        parts.push("ROLLING BACK".to_owned());
    } else if view.going {
        parts.extend(forecast(view, plan, network, now));
    } else {
        let rto = objective(plan, Priority::P0).unwrap_or(plan.objectives.rto);
        parts.push(format!("P0 objective {}", minutes(rto.duration())));
        // Until the screen comes: a look may take its whole time where a region swallows packets.
        let looking = view.open.is_none();
        parts.extend(looking.then(|| "looking".to_owned()));
        parts.push("nothing is changed yet".to_owned());
        return parts.join(" · ");
    }
    // What is owed comes before what is counted: where the line is cut, that goes.
    parts.extend(owed(plan, view, view.incident_started.unwrap_or(now), now));
    let running = view.steps.values().filter(|step| step.under_way()).count();
    let waiting = view
        .steps
        .values()
        .filter(|step| matches!(step.status, StepStatus::Waiting | StepStatus::Ready))
        .count();
    parts.push(format!("{running} running, {waiting} left"));
    parts.join(" · ")
}

/// Returns the outlook of the first priority that is not back yet, else of the first.
fn forecast(view: &ViewState, plan: &Plan, network: &Network, now: Timestamp) -> Option<String> {
    let began = view.incident_started.unwrap_or(now);
    let assume = Assume::by_choice(plan, view.chosen.as_ref().or(view.best.as_ref()));
    let outlooks = network.outlooks(view, &assume, now);
    let next = outlooks.iter().find(|(_, outlook)| ahead(outlook));
    let (priority, outlook) = next.or_else(|| outlooks.first_key_value())?;
    let said = expected(outlook, objective(plan, *priority), began);
    // On this line every column counts.
    Some(format!("{priority:?} {}", said.trim_start_matches("about ")))
}

/// Returns the first thing a person still has to do by an instant, as the runbook counts it from the incident's start.
fn owed(plan: &Plan, view: &ViewState, began: Timestamp, now: Timestamp) -> Option<String> {
    let due = |planned: &PlannedStep| {
        let Body::Action { action, with } = &planned.body else { return None };
        let open = view.obligations.contains_key(&format!("manual-{}", planned.id));
        let span = with.get("due").filter(|_| open && action == "manual")?;
        let span: Span = span.as_str()?.parse().ok()?;
        Some((began.checked_add(span.duration()).ok()?, planned.id.clone()))
    };
    let (at, step) = plan.steps.iter().filter_map(due).min()?;
    let word = if at < now { "OVERDUE since" } else { "due" };
    Some(format!("{step} {word} {}", hour(at)))
}

const fn ahead(outlook: &Outlook) -> bool {
    !matches!(outlook, Outlook::Done { .. })
}

/// Returns an outlook against its objective: `about 02:38 (0:26 of 0:30)`.
pub(crate) fn expected(outlook: &Outlook, rto: Option<Span>, began: Timestamp) -> String {
    let against = |at: Timestamp| match rto {
        Some(rto) => {
            let late = if since(began, at) > rto.duration() { ", LATE" } else { "" };
            format!("({} of {}{late})", minutes(since(began, at)), minutes(rto.duration()))
        }
        None => format!("({})", minutes(since(began, at))),
    };
    match outlook {
        Outlook::Done { at } => format!("back {} {}", hour(*at), against(*at)),
        Outlook::Ahead { earliest, latest, measured } => {
            let (first, last) = (hour(*earliest), hour(*latest));
            match (*measured, first == last) {
                (true, true) => format!("about {last} {}", against(*latest)),
                (true, false) => format!("about {first}-{last} {}", against(*latest)),
                (false, _) => format!("{last} or later {}", against(*latest)),
            }
        }
        Outlook::Blocked { by } => format!("waits for a decision on {by}"),
    }
}

#[cfg(test)]
#[path = "human_tests.rs"]
mod tests;
