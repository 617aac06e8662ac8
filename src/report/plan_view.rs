//! What a dry run found, as data and as text: what each step would change, ask, prove and undo.

mod undo;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) use undo::Undo;

use super::text::{self, count};
use super::words;
use crate::event::{Finding, FindingLevel, Mode};
use crate::ids::StepId;
use crate::outcome::{Candidate, CheckReport, Difference, Fidelity, Verdict};
use crate::plan::{Approval, Body, Plan, PlannedStep};

/// Version of the JSON form; fields are only ever added to it.
const VERSION: u32 = 1;

/// Everything a dry run found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DryRunReport {
    /// `Rehearsal` where what was looked at is a world, and nothing of it is the estate's
    pub mode: Mode,
    #[serde(with = "crate::plan::shared")]
    pub plan: Arc<Plan>,
    /// When the estate was looked at
    pub seen: Timestamp,
    /// In the plan's order
    pub steps: Vec<DryRunStep>,
    pub findings: Vec<Finding>,
}

/// What a dry run found about one step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DryRunStep {
    pub step: StepId,
    pub fidelity: Fidelity,
    pub found: Found,
    /// What a live run would ask, a line each
    pub asks: Vec<String>,
    /// How it would be proved, a line each
    pub verified: Vec<String>,
    /// How it would be undone
    pub undo: Undo,
    /// Equivalent commands a person could type
    pub commands: Vec<String>,
}

/// What was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Found {
    /// The live state was read
    State { state: Box<StateFound> },
    /// A gate was looked at
    Gate { verdict: Verdict, reports: Vec<CheckReport> },
    /// Depends on what a step before would bring about
    KnownAfter { step: StepId },
    /// A check that can only hold after a step before
    Deferred { after: StepId },
    /// A read could not be made
    Unreachable { why: String, hint: Option<String> },
    /// Its condition does not hold
    Skipped { when: String },
    /// A person does it
    ByHand { lines: Vec<String>, evidence: Option<String>, later: bool },
}

/// What was read of the state a step would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StateFound {
    pub present: Value,
    pub desired: Value,
    pub differences: Vec<Difference>,
    pub satisfied: bool,
    /// Why it could not be undone, when it could not
    pub irreversible: Option<String>,
    pub evidence: Vec<String>,
    pub choices: Vec<Candidate>,
    /// The word that lets an operator go on without a step that cannot be done, and why it cannot
    pub waiver: Option<(String, String)>,
    /// When it was seen, where it was not read just now but taken from saved facts
    pub seen: Option<Timestamp>,
}

impl DryRunStep {
    /// Returns what a step would do, with what it would ask and how it would be proved and undone.
    pub(crate) fn of(
        step: &PlannedStep,
        fidelity: Fidelity,
        found: Found,
        commands: Vec<String>,
    ) -> Self {
        let state = match &found {
            Found::State { state } => Some(state.as_ref()),
            Found::Gate { .. }
            | Found::KnownAfter { .. }
            | Found::Deferred { .. }
            | Found::Unreachable { .. }
            | Found::Skipped { .. }
            | Found::ByHand { .. } => None,
        };
        let irreversible = state.and_then(|state| state.irreversible.as_deref());
        Self {
            step: step.id.clone(),
            fidelity,
            asks: asks(step, &found),
            verified: verified(step),
            undo: Undo::of(step, irreversible),
            found,
            commands,
        }
    }

    /// Says whether the step would change something.
    pub(crate) fn changes(&self) -> bool {
        match &self.found {
            Found::State { state } => !state.satisfied && self.undo != Undo::Nothing,
            Found::KnownAfter { .. } | Found::Unreachable { .. } => self.undo != Undo::Nothing,
            Found::Gate { .. }
            | Found::Deferred { .. }
            | Found::Skipped { .. }
            | Found::ByHand { .. } => false,
        }
    }
}

impl DryRunReport {
    /// Says whether a live run would change something: exit 20 with `--detailed-exitcode`.
    pub(crate) fn changes(&self) -> bool {
        self.steps.iter().any(DryRunStep::changes)
    }

    /// Says whether a gate or preflight would stop a live run: exit 10.
    pub(crate) fn unmet(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == FindingLevel::Blocking)
            || self.steps.iter().any(|step| match &step.found {
                Found::Gate { verdict, .. } => *verdict != Verdict::Holds,
                Found::State { .. }
                | Found::KnownAfter { .. }
                | Found::Deferred { .. }
                | Found::Unreachable { .. }
                | Found::Skipped { .. }
                | Found::ByHand { .. } => false,
            })
    }

    /// Returns the report as JSON.
    pub(crate) fn json(&self) -> Value {
        json!({ "format": "phoenix-dr/plan", "version": VERSION, "mode": self.mode,
                "changes": self.changes(), "unmet": self.unmet(), "report": self })
    }

    /// Says what it is of, before anything else: commands that are shown look the same in either.
    fn heading(&self) -> (String, &'static str) {
        match self.mode {
            Mode::Live | Mode::DryRun => {
                ("DRY RUN".to_owned(), "Nothing was changed, and nothing is by a dry run.")
            }
            Mode::Rehearsal => (
                format!("{} · DRY RUN", words::mode(self.mode)),
                "Nothing was changed. What a rehearsal would do, in a simulated estate: none of these commands is for \
                 the real one.",
            ),
        }
    }
}

fn asks(step: &PlannedStep, found: &Found) -> Vec<String> {
    let mut asks = Vec::new();
    match found {
        // Nothing is asked about what will not be done.
        Found::Skipped { .. } => return asks,
        Found::State { state } if state.satisfied => return asks,
        Found::State { state } => {
            if !state.choices.is_empty() {
                asks.push("which way to take".to_owned());
            }
            if let Some((why, word)) = &state.waiver {
                asks.push(format!("type `{word}` to go on without it: {why}"));
                return asks;
            }
        }
        Found::ByHand { evidence, later, .. } => {
            if !later {
                asks.push(evidence.clone().unwrap_or_else(|| "whether it is done".to_owned()));
            }
        }
        Found::Gate { .. }
        | Found::KnownAfter { .. }
        | Found::Deferred { .. }
        | Found::Unreachable { .. } => {}
    }
    match &step.approve {
        Approval::Plan => {}
        Approval::Each { say } => asks.push(match say {
            Some(say) => format!("yes or no: {say}"),
            None => "yes or no".to_owned(),
        }),
        Approval::Typed { say, word } => asks.push(format!("type `{word}`: {say}")),
    }
    asks
}

fn verified(step: &PlannedStep) -> Vec<String> {
    step.verify.iter().map(|check| format!("{} (within {})", check.title, check.within)).collect()
}

/// Returns what was found about each step, by step.
pub(crate) fn by_step(steps: &[DryRunStep]) -> BTreeMap<&StepId, &DryRunStep> {
    steps.iter().map(|step| (&step.step, step)).collect()
}

/// Returns the steps of a plan something was found about, with their numbers.
pub(crate) fn numbered<'a>(
    plan: &'a Plan,
    steps: &'a [DryRunStep],
) -> impl Iterator<Item = (usize, &'a PlannedStep, &'a DryRunStep)> {
    let found = by_step(steps);
    let planned = plan.steps.iter().enumerate();
    planned.filter_map(move |(at, planned)| Some((at + 1, planned, *found.get(&planned.id)?)))
}

/// Returns the report as text of at most `columns`.
pub(crate) fn text(report: &DryRunReport, columns: usize, zone: &TimeZone) -> Vec<String> {
    let plan = &report.plan;
    let (heading, below) = report.heading();
    let mut lines = text::wrap(
        &format!(
            "{heading} · estate {} · {} {} · seen {}",
            plan.estate.estate,
            plan.runbook,
            plan.title,
            text::hour_both(report.seen, zone)
        ),
        columns,
        2,
    );
    lines.extend(text::wrap(below, columns, 2));
    for finding in report.findings.iter().filter(|finding| finding.level != FindingLevel::Good) {
        lines.extend(finding_lines(finding, columns));
    }
    let mut phase: Option<&str> = None;
    for (number, planned, step) in numbered(plan, &report.steps) {
        lines.push(String::new());
        if planned.phase.is_some() && planned.phase.as_deref() != phase {
            phase = planned.phase.as_deref();
            lines.extend(text::wrap(&format!("-- {}", phase.unwrap_or_default()), columns, 2));
        }
        lines.extend(step_lines(number, planned, step, report.seen, columns));
        lines.extend(command_lines(report.mode, &step.commands, columns));
    }
    lines.push(String::new());
    if !plan.verification.is_empty() {
        lines.push("Restored when:".to_owned());
        for check in &plan.verification {
            let proof = format!("{} (within {})", check.title, check.within);
            lines.extend(text::block(&proof, columns, 2));
        }
        lines.push(String::new());
    }
    let good = |finding: &&Finding| finding.level == FindingLevel::Good;
    if report.findings.iter().any(|finding| good(&finding)) {
        lines.push("Also looked at:".to_owned());
        for finding in report.findings.iter().filter(good) {
            lines.extend(finding_lines(finding, columns));
        }
        lines.push(String::new());
    }
    lines.extend(closing(report, columns));
    lines
}

/// Returns one finding of preflight as lines.
pub(crate) fn finding_lines(finding: &Finding, columns: usize) -> Vec<String> {
    let mark = match finding.level {
        FindingLevel::Good => " ",
        FindingLevel::Warning => "!",
        FindingLevel::Blocking => "X",
    };
    let about = match &finding.step {
        Some(step) => format!("{} ({step})", finding.about),
        None => finding.about.clone(),
    };
    let mut lines = text::wrap(&format!("{mark} {about}: {}", finding.said), columns, 4);
    if let Some(hint) = &finding.hint {
        lines.extend(text::block(&format!("Hint: {hint}"), columns, 4));
    }
    lines
}

/// Returns everything known of one step as lines, but for its commands.
pub(crate) fn step_lines(
    number: usize,
    planned: &PlannedStep,
    step: &DryRunStep,
    seen: Timestamp,
    columns: usize,
) -> Vec<String> {
    let priority = planned.priority.map(|priority| format!(" {priority:?}")).unwrap_or_default();
    let usually = planned.usually.map(|span| format!(", usually {span}")).unwrap_or_default();
    let fidelity = words::fidelity(step.fidelity);
    let head = format!("{number:>3} {}{priority}  {}", planned.id, planned.title);
    let mut lines = text::wrap(&head, columns, 4);
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, said: String| rows.push(vec![name.to_owned(), said]);
    found_rows(&step.found, seen, &mut row);
    for asked in &step.asks {
        row("asks", asked.clone());
    }
    for proof in &step.verified {
        row("proof", proof.clone());
    }
    if planned.changes {
        row("undo", step.undo.say());
    }
    let how = match planned.body {
        Body::Gate { .. } => "gate".to_owned(),
        Body::Action { ref action, .. } => action.clone(),
    };
    row("how", format!("{how}, {fidelity}{usually}"));
    lines.extend(text::table(&rows, columns, 6));
    lines
}

/// Returns a step's commands as lines; a command is for pasting: one line, whatever the width.
fn command_lines(mode: Mode, commands: &[String], columns: usize) -> Vec<String> {
    let warned = mode == Mode::Rehearsal && !commands.is_empty();
    let warning = warned.then(|| format!("  {}", words::NOT_HERE));
    let lines = commands.iter().flat_map(|command| match command.strip_prefix("# ") {
        Some(remark) => {
            let parts = text::wrap(remark, columns.saturating_sub(8), 0).into_iter();
            parts.map(|part| format!("      # {part}")).collect()
        }
        None => vec![format!("      {}", text::typed(command))],
    });
    warning.into_iter().chain(lines).collect()
}

fn found_rows(found: &Found, seen: Timestamp, row: &mut dyn FnMut(&str, String)) {
    match found {
        Found::State { state } => state_rows(state, seen, row),
        Found::Gate { verdict, reports } => {
            row("now", words::verdict(*verdict).to_owned());
            for report in reports {
                for vote in std::iter::once(report).chain(&report.votes) {
                    let word = words::verdict_word(vote.verdict);
                    row("", format!("{word}: {}, {}", vote.title, vote.said));
                }
                if let Some(control) = &report.control {
                    row("", format!("control from this host: {control}"));
                }
            }
        }
        Found::KnownAfter { step } => row("change", format!("known after {step}")),
        Found::Deferred { after } => row("now", format!("deferred: can only hold after {after}")),
        Found::Unreachable { why, hint } => {
            row("now", format!("unreachable: {why}"));
            if let Some(hint) = hint {
                row("", format!("Hint: {hint}"));
            }
        }
        Found::Skipped { when } => row("now", format!("skipped: `{when}` is false")),
        Found::ByHand { lines, later, .. } => {
            let who = if *later { "a person does it, the run goes on" } else { "a person does it" };
            row("by hand", who.to_owned());
            for line in lines {
                row("", line.clone());
            }
        }
    }
}

fn state_rows(state: &StateFound, seen: Timestamp, row: &mut dyn FnMut(&str, String)) {
    if let Some(then) = state.seen {
        row("seen", format!("{}, from saved facts", text::ago(then, seen)));
    }
    if state.satisfied {
        row("now", "is as it should be already; nothing to do".to_owned());
    } else if state.differences.is_empty() && state.choices.is_empty() {
        row("now", words::state(&state.present));
        row("then", words::state(&state.desired));
    }
    if !state.satisfied {
        for (at, difference) in state.differences.iter().enumerate() {
            let name = if at == 0 { "change" } else { "" };
            row(name, format!("{}: {} -> {}", difference.what, difference.from, difference.to));
        }
    }
    for (at, choice) in state.choices.iter().enumerate() {
        let loss = choice
            .loss
            .map_or("loss unknown".to_owned(), |loss| format!("loses {}", text::about(loss)));
        let takes = choice.forecast.map(|span| format!(", takes {}", text::about(span)));
        let cannot = choice.unusable.as_ref().map(|why| format!(" (cannot be taken: {why})"));
        let name = if at == 0 { "choice" } else { "" };
        row(
            name,
            format!(
                "{}: {}, {loss}{}{}",
                choice.id,
                choice.title,
                takes.unwrap_or_default(),
                cannot.unwrap_or_default()
            ),
        );
    }
    for fact in &state.evidence {
        row("fact", fact.clone());
    }
}

fn closing(report: &DryRunReport, columns: usize) -> Vec<String> {
    let of =
        |wanted: fn(&DryRunStep) -> bool| report.steps.iter().filter(|step| wanted(step)).count();
    let changed = of(DryRunStep::changes);
    let same = of(|step| matches!(&step.found, Found::State { state } if state.satisfied));
    let dark = of(|step| matches!(step.found, Found::Unreachable { .. }));
    let later = of(|step| matches!(step.found, Found::KnownAfter { .. } | Found::Deferred { .. }));
    let unmet =
        of(|step| matches!(&step.found, Found::Gate { verdict, .. } if *verdict != Verdict::Holds));
    let blocking =
        report.findings.iter().filter(|finding| finding.level == FindingLevel::Blocking).count();
    let mut parts = vec![format!("{} would change something", count(changed, "step"))];
    for (number, noun, what) in [
        (same, "step", "as it should be already"),
        (later, "step", "known only once others have run"),
        (dark, "step", "unreachable from here"),
        (unmet, "gate", "not met"),
        (blocking, "finding", "in the way"),
    ] {
        if number > 0 {
            parts.push(format!("{} {what}", count(number, noun)));
        }
    }
    let mut lines = text::wrap(&format!("{}.", parts.join("; ")), columns, 2);
    if report.unmet() {
        let whose = if report.mode == Mode::Rehearsal { "The rehearsal" } else { "A live run" };
        let stops = format!("{whose} would stop before it changes anything.");
        lines.extend(text::wrap(&stops, columns, 2));
    }
    if report.mode == Mode::Rehearsal {
        lines.extend(text::wrap(words::NOT_REAL, columns, 2));
    }
    lines
}

#[cfg(test)]
#[path = "plan_view_tests.rs"]
pub(crate) mod tests;
