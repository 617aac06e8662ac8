//! One record as lines a person reads. Pure; `human` prints them.

use std::ops::Range;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::terminal::{Line, Tone, Weight};
use super::text::{self, clock, length};
use super::view::ViewState;
use super::words;
use crate::clock::since;
use crate::event::{
    Answer, AttemptResult, Event, Finding, FindingLevel, Mode, QuestionKey, Record, RevertResult,
    RollbackScope,
};
use crate::ids::StepId;
use crate::outcome::{ActionError, CheckReport, Obligation, StepEnd, Verdict, WARNS};

/// Columns of the time, the word and the gaps before the step's id.
const LEAD: usize = 16;

/// How lines are laid out.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub columns: usize,
    /// Zone of the person at the screen
    pub zone: TimeZone,
    /// Columns of the step ids
    pub ids: usize,
    /// How the run treats the world
    pub mode: Option<Mode>,
}

impl Layout {
    /// Returns the layout for a plan's ids.
    pub(crate) fn new(columns: usize, zone: TimeZone, view: &ViewState) -> Self {
        Self { columns, zone, ids: view.ids.clamp(8, 16), mode: view.mode }
    }
}

/// Collects the lines of one record.
struct Page<'a> {
    layout: &'a Layout,
    time: Timestamp,
    lines: Vec<Line>,
}

impl Page<'_> {
    /// Adds `02:18:09  ok    capacity    text`, wrapped under the text.
    fn head(&mut self, weight: Weight, tone: Tone, word: &str, about: &str, said: &str) {
        let hang = LEAD + self.layout.ids + 2;
        let start = format!("{}  {}", clock(self.time), text::fill(word, 5));
        let lead = format!("{start} {}", text::fill(about, self.layout.ids));
        let room = self.layout.columns.saturating_sub(hang).max(20);
        let mut parts = text::wrap(said, room, 0).into_iter();
        let first = format!("{lead}  {}", parts.next().unwrap_or_default());
        let tint: Range<usize> = 10..10 + word.len();
        let first = first.trim_end().to_owned();
        self.lines.push(Line { weight, tone, tint, text: first });
        for part in parts {
            self.under(weight, &part);
        }
    }

    /// Adds a line under the text of the one before.
    fn under(&mut self, weight: Weight, said: &str) {
        let hang = LEAD + self.layout.ids + 2;
        let room = self.layout.columns.saturating_sub(hang).max(20);
        for part in text::wrap(said, room, 2) {
            let text = format!("{}{part}", " ".repeat(hang));
            self.lines.push(Line::new(weight, Tone::Plain, text.trim_end()));
        }
    }

    /// Adds a table under the text of the line before.
    fn table(&mut self, weight: Weight, rows: &[Vec<String>]) {
        let indent = LEAD + 2;
        for text in text::table(rows, self.layout.columns, indent) {
            self.lines.push(Line::new(weight, Tone::Plain, text));
        }
    }

    fn error(&mut self, weight: Weight, error: &ActionError) {
        self.under(weight, &error.message);
        self.under(weight, words::changed(error.effect));
        if let Some(hint) = &error.hint {
            self.under(weight, &format!("Hint{}: {hint}", words::if_pasted(self.layout.mode)));
        }
    }

    /// Adds what ended the run: the last line of a log says whether it was practice.
    fn ended(&mut self, weight: Weight, tone: Tone, word: &str, said: &str) {
        let heading = self.layout.mode.map_or("", Mode::heading);
        self.head(weight, tone, word, "run", &format!("{heading}{said}"));
    }
}

/// Returns the lines of a record; `view` has it applied.
pub(crate) fn lines(record: &Record, view: &ViewState, layout: &Layout) -> Vec<Line> {
    let mut page = Page { layout, time: record.time, lines: Vec::new() };
    match &record.event {
        Event::RunStarted { .. } => page.lines = header(view, record.time, layout),
        Event::RunResumed { version, .. } => {
            let said = format!("taken up again by {} (phoenix-dr {version})", record.who);
            page.head(Weight::Normal, Tone::Strong, "again", "run", &said);
        }
        Event::Preflight { findings } => {
            findings.iter().for_each(|finding| page.finding(finding, view));
        }
        Event::IncidentDated { at, said } => page.dated(*at, said),
        Event::LeaseTaken { epoch, place } => {
            let said = format!("the lease is ours: {place}, epoch {epoch}");
            page.head(Weight::Detail, Tone::Plain, "lease", "", &said);
        }
        Event::LeaseVouched { why, typed } => {
            let said = format!("the lease cannot be proved ({why}); an operator typed `{typed}`");
            page.head(Weight::Loud, Tone::Warn, "alone", "", &said);
        }
        Event::Asked { question } => {
            page.head(Weight::Detail, Tone::Plain, "ask", about(&question.key), &question.title);
        }
        Event::Decided { question, answer } => page.decided(question, answer, view),
        Event::RollbackStarted { why, scope } => page.rollback(why, scope),
        Event::RollbackEnded { why } => page.rollback_ended(why),
        Event::ObligationOpened { step, obligation } => page.opened(step.as_ref(), obligation),
        Event::ObligationClosed { id, said, .. } => {
            page.head(Weight::Normal, Tone::Good, "shut", "", &format!("{id}: {said}"));
        }
        Event::RunVerified { verdict, reports } => {
            let (weight, tone, word) = gate_look(*verdict);
            page.head(weight, tone, word, "run", &format!("service {}", words::verdict(*verdict)));
            page.reports(weight, reports);
        }
        Event::RunStopped { why, .. } => {
            page.ended(Weight::Loud, Tone::Warn, "stop", why);
        }
        Event::RunFinished { end, .. } => {
            page.ended(Weight::Normal, Tone::Strong, "end", words::run_end(*end));
        }
        Event::RunAbandoned { reason, .. } => {
            let said = format!("given up: {reason}; nothing was reverted");
            page.ended(Weight::Loud, Tone::Warn, "end", &said);
        }
        Event::Noted { step, text } => {
            let about = step.as_ref().map_or("", |step| step.0.as_str());
            page.head(Weight::Normal, Tone::Plain, "note", about, text);
        }
        Event::StepReady { .. }
        | Event::GateSeen { .. }
        | Event::StepStarted { .. }
        | Event::AttemptFinished { .. }
        | Event::Probed { .. }
        | Event::StepSatisfied { .. }
        | Event::StepMarked { .. }
        | Event::Verified { .. }
        | Event::StepFailed { .. }
        | Event::StepFinished { .. }
        | Event::StepReopened { .. } => page.step(&record.event, view),
        Event::RevertStarted { step, .. } => {
            page.head(Weight::Normal, Tone::Plain, "undo", &step.0, title(view, step));
        }
        Event::RevertFinished { step, result } => page.reverted(step, result, view),
    }
    page.lines
}

impl Page<'_> {
    fn opened(&mut self, step: Option<&StepId>, obligation: &Obligation) {
        let about = step.map_or("", |step| step.0.as_str());
        self.head(Weight::Loud, Tone::Warn, "open", about, &obligation.say);
        let warned = words::if_pasted(self.layout.mode);
        for line in format!("To close it{warned}: {}", obligation.how).lines() {
            match line.starts_with("$ ") {
                // Whole, to be pasted, and as far to the left as it may be.
                true => self.lines.push(Line::new(Weight::Loud, Tone::Plain, format!("  {line}"))),
                false => self.under(Weight::Loud, line),
            }
        }
    }

    fn dated(&mut self, at: Timestamp, said: &str) {
        let gone = text::minutes(since(at, self.time));
        let said = format!("began {}, {gone} ago: {said}", text::hour_both(at, &self.layout.zone));
        self.head(Weight::Normal, Tone::Plain, "dated", "incident", &said);
    }

    fn finding(&mut self, finding: &Finding, view: &ViewState) {
        let (weight, tone, word) = match finding.level {
            FindingLevel::Good => (Weight::Detail, Tone::Good, "ok"),
            // The go screen has it: said again after the answer, it would look like news.
            FindingLevel::Warning if view.interactive => (Weight::Detail, Tone::Warn, "warn"),
            FindingLevel::Warning => (Weight::Normal, Tone::Warn, "warn"),
            FindingLevel::Blocking => (Weight::Loud, Tone::Bad, "BLOCK"),
        };
        let about = finding.step.as_ref().map_or("preflight", |step| step.0.as_str());
        self.head(weight, tone, word, about, &format!("{}: {}", finding.about, finding.said));
        if let Some(hint) = &finding.hint {
            self.under(weight, &format!("Hint{}: {hint}", words::if_pasted(self.layout.mode)));
        }
    }

    fn decided(&mut self, key: &QuestionKey, answer: &Answer, view: &ViewState) {
        let weight = match answer {
            Answer::Nobody { .. } | Answer::Missing { .. } => Weight::Loud,
            Answer::Recheck | Answer::Began { .. } => Weight::Detail,
            Answer::Yes
            | Answer::No
            | Answer::Typed { .. }
            | Answer::Chosen { .. }
            | Answer::Menu { .. } => Weight::Normal,
        };
        let waited = match view.waits.last() {
            Some((from, to)) if *to == self.time && since(*from, *to).as_secs() > 0 => {
                format!(" (waited {})", length(since(*from, *to)))
            }
            Some(_) | None => String::new(),
        };
        let said = format!("{}{waited}", words::answer(answer));
        self.head(weight, Tone::Strong, "said", about(key), &said);
    }

    fn rollback(&mut self, why: &str, scope: &RollbackScope) {
        let (about, said) = words::rollback(scope);
        self.head(Weight::Loud, Tone::Warn, "BACK", about, &format!("{said}: {why}"));
    }

    fn rollback_ended(&mut self, why: &str) {
        self.head(Weight::Loud, Tone::Warn, "BACK", "run", &format!("ended: {why}"));
    }

    fn satisfied(&mut self, step: &StepId) {
        self.head(Weight::Detail, Tone::Faint, "same", &step.0, "as it should be already");
    }

    fn marked(&mut self, step: &StepId, evidence: &str) {
        let said = format!("done by hand, to be verified: {evidence}");
        self.head(Weight::Normal, Tone::Strong, "hand", &step.0, &said);
    }

    /// Tells what an attempt did; what is other than expected is told to everybody.
    fn performed(&mut self, step: &str, notes: &[String]) {
        let notes = words::notes(notes);
        let warns = notes.iter().any(|(_, note)| note.starts_with(WARNS));
        let (weight, tone) = match notes.first() {
            Some((Weight::Normal, _)) if warns => (Weight::Normal, Tone::Warn),
            Some((Weight::Normal, _)) => (Weight::Normal, Tone::Plain),
            Some(_) | None => (Weight::Detail, Tone::Faint),
        };
        self.head(weight, tone, "did", step, "performed; verifying");
        notes.into_iter().for_each(|(weight, note)| self.under(weight, note));
    }

    fn step(&mut self, event: &Event, view: &ViewState) {
        match event {
            Event::StepReady { step, .. } => {
                self.head(Weight::Detail, Tone::Faint, "ready", &step.0, title(view, step));
            }
            Event::GateSeen { step, verdict, reports } => {
                let (weight, tone, _) = gate_look(*verdict);
                let said = format!("{}: {}", title(view, step), words::verdict(*verdict));
                self.head(weight, tone, "gate", &step.0, &said);
                self.reports(weight, reports);
            }
            Event::StepStarted { step, attempt, irreversible, .. } => {
                self.started(step, *attempt, irreversible.as_deref(), view);
            }
            Event::AttemptFinished { step, attempt, result } => match result {
                AttemptResult::Performed { notes, .. } => self.performed(&step.0, notes),
                AttemptResult::Failed { error } => {
                    // In one line: where no retry helps, the failure is told in full right after.
                    let room = self.layout.columns.saturating_sub(LEAD + self.layout.ids + 2);
                    let said = text::clip(&format!("attempt {attempt}: {error}"), room);
                    self.head(Weight::Normal, Tone::Warn, "tried", &step.0, &said);
                }
            },
            Event::Probed { step, effect, said, .. } => {
                let said = format!("looked again: {said}; {}", words::changed(*effect));
                self.head(Weight::Normal, Tone::Plain, "look", &step.0, &said);
            }
            Event::StepSatisfied { step, .. } => self.satisfied(step),
            Event::StepMarked { step, evidence, .. } => self.marked(step, evidence),
            Event::Verified { step, verdict, reports } => {
                let (weight, tone, _) = gate_look(*verdict);
                let weight = if *verdict == Verdict::Holds { Weight::Detail } else { weight };
                let said = format!("verification {}", words::verdict(*verdict));
                self.head(weight, tone, "check", &step.0, &said);
                self.reports(weight, reports);
            }
            Event::StepFailed { step, error } => {
                self.head(Weight::Loud, Tone::Bad, "FAIL", &step.0, title(view, step));
                self.error(Weight::Loud, error);
            }
            Event::StepFinished { step, end, reason, .. } => {
                self.finished(step, *end, reason.as_deref(), view);
            }
            Event::StepReopened { step, why } => {
                self.head(Weight::Normal, Tone::Plain, "again", &step.0, why);
            }
            Event::RunStarted { .. }
            | Event::RunResumed { .. }
            | Event::Preflight { .. }
            | Event::IncidentDated { .. }
            | Event::LeaseTaken { .. }
            | Event::LeaseVouched { .. }
            | Event::Asked { .. }
            | Event::Decided { .. }
            | Event::RollbackStarted { .. }
            | Event::RollbackEnded { .. }
            | Event::RevertStarted { .. }
            | Event::RevertFinished { .. }
            | Event::ObligationOpened { .. }
            | Event::ObligationClosed { .. }
            | Event::RunVerified { .. }
            | Event::RunStopped { .. }
            | Event::RunFinished { .. }
            | Event::RunAbandoned { .. }
            | Event::Noted { .. } => {}
        }
    }

    fn started(&mut self, step: &StepId, attempt: u32, forever: Option<&str>, view: &ViewState) {
        let usually = view.planned_step(step).and_then(|planned| planned.usually);
        let usually = match usually {
            Some(span) => format!(" (usually {span})"),
            None => String::new(),
        };
        let word = if attempt > 1 { "again" } else { "start" };
        let said = if attempt > 1 {
            format!("{}, attempt {attempt}{usually}", title(view, step))
        } else {
            format!("{}{usually}", title(view, step))
        };
        self.head(Weight::Normal, Tone::Plain, word, &step.0, &said);
        if let Some(why) = forever {
            self.under(Weight::Normal, &format!("Cannot be undone: {why}"));
        }
    }

    fn finished(&mut self, step: &StepId, end: StepEnd, reason: Option<&str>, view: &ViewState) {
        // Only what was gone on with in doubt is done with a reason.
        let in_doubt = end == StepEnd::Done && reason.is_some();
        let (weight, tone) = match end {
            StepEnd::Done if in_doubt => (Weight::Loud, Tone::Warn),
            StepEnd::Done | StepEnd::Satisfied | StepEnd::Marked => (Weight::Normal, Tone::Good),
            StepEnd::Skipped | StepEnd::NotRun => (Weight::Normal, Tone::Faint),
            StepEnd::Omitted | StepEnd::Waived => (Weight::Loud, Tone::Warn),
            StepEnd::Failed => (Weight::Loud, Tone::Bad),
        };
        let took = view.steps.get(step).and_then(|step| Some((step.started?, step.ended?)));
        let took = match took {
            Some((from, to)) if end == StepEnd::Done || end == StepEnd::Marked => {
                format!(" ({})", length(since(from, to)))
            }
            Some(_) | None => String::new(),
        };
        let why = match reason {
            // A long condition says nothing in a hurry; `show` and `audit` have it.
            Some(reason) if end == StepEnd::Skipped => format!(": {}", text::clip(reason, 60)),
            Some(reason) => format!(": {reason}"),
            None => words::step_end_note(end).to_owned(),
        };
        let said = format!("{}{took}{why}", title(view, step));
        let word = if in_doubt { "doubt" } else { words::step_end(end) };
        self.head(weight, tone, word, &step.0, &said);
    }

    fn reverted(&mut self, step: &StepId, result: &RevertResult, view: &ViewState) {
        let name = title(view, step);
        match result {
            RevertResult::Reverted => {
                let said = format!("{name}: as it was before");
                self.head(Weight::Normal, Tone::Good, "back", &step.0, &said);
            }
            RevertResult::AlreadyBefore => {
                let said = format!("{name}: was as before already");
                self.head(Weight::Normal, Tone::Good, "back", &step.0, &said);
            }
            RevertResult::Kept { why } => {
                self.head(Weight::Normal, Tone::Plain, "kept", &step.0, &format!("{name}: {why}"));
            }
            RevertResult::Skipped { reason } => {
                let said = format!("{name} stays as it is: {reason}");
                self.head(Weight::Loud, Tone::Warn, "left", &step.0, &said);
            }
            RevertResult::Failed { error } => {
                let said = format!("{name} could not be undone");
                self.head(Weight::Loud, Tone::Bad, "FAIL", &step.0, &said);
                self.error(Weight::Loud, error);
            }
            RevertResult::Conflict { before, ours, now } => {
                let said = format!("{name} was not undone: something else changed it since");
                self.head(Weight::Loud, Tone::Bad, "FAIL", &step.0, &said);
                for (word, value) in [("before", before), ("ours", ours), ("now", now)] {
                    self.under(Weight::Loud, &format!("{word}: {value}"));
                }
            }
        }
    }

    /// Adds each check, and each vote of a quorum, with its verdict, what was seen and how long ago.
    fn reports(&mut self, weight: Weight, reports: &[CheckReport]) {
        let mut rows = Vec::new();
        let mut controls = Vec::new();
        for report in reports {
            rows.push(self.report(report, ""));
            rows.extend(report.votes.iter().map(|vote| self.report(vote, "  ")));
            controls.extend(report.control.iter());
        }
        self.table(weight, &rows);
        for control in controls {
            let text = format!("control from this host: {control}");
            let indent = " ".repeat(LEAD + 2);
            for part in text::wrap(&text, self.layout.columns - LEAD - 2, 2) {
                self.lines.push(Line::new(weight, Tone::Plain, format!("{indent}{part}")));
            }
        }
    }

    fn report(&self, report: &CheckReport, indent: &str) -> Vec<String> {
        let age = since(report.at, self.time);
        let seen =
            if age.as_secs() == 0 { String::new() } else { format!(" ({} ago)", length(age)) };
        vec![
            words::verdict_word(report.verdict).to_owned(),
            format!("{indent}{}", text::clip(&report.title, 30)),
            format!("{}{seen}", report.said),
        ]
    }
}

const fn gate_look(verdict: Verdict) -> (Weight, Tone, &'static str) {
    match verdict {
        Verdict::Holds => (Weight::Normal, Tone::Good, "ok"),
        Verdict::Fails => (Weight::Loud, Tone::Bad, "FAIL"),
        Verdict::Inconclusive => (Weight::Loud, Tone::Warn, "doubt"),
    }
}

fn title<'a>(view: &'a ViewState, step: &StepId) -> &'a str {
    view.planned_step(step).map_or("", |planned| planned.title.as_str())
}

fn about(key: &QuestionKey) -> &str {
    words::key_step(key).map_or(words::key_name(key), |step| step.0.as_str())
}

/// Returns lines about the run that no record tells.
pub(crate) fn of_run(
    word: &str,
    tone: Tone,
    said: &str,
    now: Timestamp,
    layout: &Layout,
) -> Vec<Line> {
    let mut page = Page { layout, time: now, lines: Vec::new() };
    page.head(Weight::Loud, tone, word, "run", said);
    page.lines
}

/// Returns `a comes` or `a and b come`.
pub(crate) fn come(steps: &[&str]) -> String {
    match steps {
        [one] => format!("{one} comes"),
        [first @ .., last] => format!("{} and {last} come", first.join(", ")),
        [] => String::new(),
    }
}

/// Returns the lines that open a run: what, on what, since when, against which objective.
pub(crate) fn header(view: &ViewState, now: Timestamp, layout: &Layout) -> Vec<Line> {
    let (Some(plan), Some(mode), Some(run)) = (&view.plan, view.mode, &view.run) else {
        return Vec::new();
    };
    let world = view.world.as_ref().map(|world| format!(" · {world}")).unwrap_or_default();
    let first = format!(
        "phoenix-dr · {} · {} {} · estate {} · run {}{world}",
        words::mode(mode),
        plan.runbook,
        plan.title,
        plan.estate.estate,
        run.short(),
    );
    let began = view.incident_started.unwrap_or(now);
    let second = format!(
        "began {} · {} gone · objective {}, maximum {} · {:?}",
        text::hour_both(began, &layout.zone),
        text::minutes(view.gone(now)),
        text::minutes(plan.objectives.rto.duration()),
        text::minutes(plan.rto_max().duration()),
        plan.severity,
    );
    let mut lines = Vec::new();
    for (tone, text) in [(Tone::Strong, first), (Tone::Plain, second)] {
        for part in text::wrap(&text, layout.columns, 2) {
            lines.push(Line::new(Weight::Normal, tone, part));
        }
    }
    lines
}
