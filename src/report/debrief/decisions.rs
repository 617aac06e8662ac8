//! What was decided in a rehearsal: what was asked, what was known then, the answer, whose it was, and how long it took.

use jiff::Timestamp;
use serde::Serialize;

use crate::clock::since;
use crate::event::{Answer, AnswerForm, Event, Question, QuestionKey, Record};
use crate::ids::StepId;
use crate::outcome::{CheckReport, Verdict};
use crate::report::screens::go;
use crate::report::spent::{self, Wait};
use crate::report::{text, words};
use crate::span::Span;

/// Decisions that are listed, at most.
const DECISIONS_MAX: usize = 20;
/// Lines of what was known at a decision, at most; all of it is in the JSON and in the journal.
const KNOWN_MAX: usize = 12;
/// Columns of one of these.
const KNOWN_COLUMNS: usize = 400;

/// A question of a rehearsal, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Decided {
    /// When it was asked
    pub asked: Timestamp,
    /// When it was answered, or nobody waited for an answer any more
    pub at: Timestamp,
    pub question: String,
    pub answer: String,
    /// Somebody, or something that was given beforehand, answered it
    pub answered: bool,
    /// Whose answer it is, as user@host
    pub by: Option<String>,
    /// Nobody was there to be asked: the answer was given before
    pub beforehand: bool,
    /// From the question to its answer
    pub took: Span,
    /// The part of it in which nothing else went on: these of all decisions make up `people`
    pub waited: Span,
    /// What was shown with the question
    pub known: Vec<String>,
    /// What was last seen at each gate
    pub votes: Vec<Vote>,
    /// What there was to choose from
    pub candidates: Vec<Weighed>,
    /// The part of what was known that is shown
    #[serde(skip)]
    pub brief: Vec<String>,
}

/// What one check of a gate said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Vote {
    pub gate: StepId,
    pub check: String,
    pub verdict: Verdict,
    pub said: String,
}

/// A recovery point to choose from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Weighed {
    pub id: String,
    /// What would be lost; `None`: nobody could measure it
    pub loss: Option<Span>,
    /// How long it was expected to take
    pub forecast: Option<Span>,
    pub reversible: bool,
    /// Why it could not be taken
    pub unusable: Option<String>,
    /// The program would have taken it
    pub best: bool,
}

/// Returns what was decided, in the order it was asked; `people` is the time of them all.
pub(super) fn of(records: &[Record], until: Timestamp, people: Span) -> Vec<Decided> {
    let waits = spent::waits(records, until);
    let alone: Vec<_> = waits.iter().map(|wait| wait.alone).collect();
    let mut seconds = vec![0; alone.len()];
    spent::in_seconds(&alone, people.0.as_secs(), &mut seconds);
    let waited = seconds.into_iter().map(Span::seconds);
    waits.iter().zip(waited).map(|(wait, waited)| decided(records, wait, waited)).collect()
}

fn decided(records: &[Record], wait: &Wait<'_>, waited: Span) -> Decided {
    let question = wait.question;
    let before = records.get(..=wait.asked).unwrap_or(records);
    let (votes, known) = (votes(before), uncut(&question.lines, before));
    let (answer, answered) = match wait.answer {
        Some((answer @ (Answer::Nobody { .. } | Answer::Missing { .. }), _)) => {
            (words::answer(answer), false)
        }
        Some((answer, _)) => (words::answer(answer), true),
        None => ("nobody answered before it stopped".to_owned(), false),
    };
    Decided {
        asked: wait.since,
        at: wait.until,
        question: question.title.clone(),
        answer,
        answered,
        by: wait.answer.map(|(_, record)| record.who.clone()),
        beforehand: !interactive(before),
        // A part of it is never longer, however the seconds of all of them are cut.
        took: super::whole(since(wait.since, wait.until)).max(waited),
        waited,
        brief: brief(question, &known, &votes),
        known,
        votes,
        candidates: candidates(question),
    }
}

/// Says whether somebody was there, by how the process that asked was started.
fn interactive(before: &[Record]) -> bool {
    let told = before.iter().rev().find_map(|record| match &record.event {
        Event::RunStarted { settings, .. } | Event::RunResumed { settings, .. } => {
            Some(settings.interactive)
        }
        _ => None,
    });
    told.unwrap_or_default()
}

/// Returns what each gate's checks said when it was last looked at.
fn votes(before: &[Record]) -> Vec<Vote> {
    let mut gates: Vec<(&StepId, &[CheckReport])> = Vec::new();
    for record in before {
        let Event::GateSeen { step, reports, .. } = &record.event else { continue };
        gates.retain(|(known, _)| *known != step);
        gates.push((step, reports));
    }
    let of = |(gate, report): (&StepId, &CheckReport)| Vote {
        gate: gate.clone(),
        check: report.title.clone(),
        verdict: report.verdict,
        said: report.said.clone(),
    };
    let reports = gates.iter().flat_map(|(gate, reports)| {
        let each = reports.iter().flat_map(|report| match report.votes.as_slice() {
            [] => std::slice::from_ref(report),
            votes => votes,
        });
        each.map(|report| (*gate, report))
    });
    reports.map(of).collect()
}

fn candidates(question: &Question) -> Vec<Weighed> {
    let AnswerForm::Candidates { candidates, best, .. } = &question.form else { return Vec::new() };
    let weighed = candidates.iter().map(|candidate| Weighed {
        id: candidate.id.clone(),
        loss: candidate.loss,
        forecast: candidate.forecast,
        reversible: candidate.reversible,
        unusable: candidate.unusable.clone(),
        best: best.as_ref() == Some(&candidate.id),
    });
    weighed.collect()
}

/// Returns lines of a question whole: a screen cuts its findings where they do not fit.
fn uncut(lines: &[String], before: &[Record]) -> Vec<String> {
    let findings = before.iter().rev().find_map(|record| match &record.event {
        Event::Preflight { findings } => Some(findings.as_slice()),
        _ => None,
    });
    let findings = findings.unwrap_or_default().iter();
    let whole: Vec<String> =
        findings.map(|finding| format!("! {}: {}", finding.about, finding.said)).collect();
    let uncut = |line: &String| {
        let cut = line.strip_suffix('…').unwrap_or("");
        let found = whole.iter().find(|whole| !cut.is_empty() && whole.starts_with(cut));
        found.unwrap_or(line).clone()
    };
    lines.iter().map(uncut).collect()
}

/// Returns what decided it: of the screen before go its gates with their votes, losses and findings, of another question
/// what it was shown with. What goes into detail, as each vote of a gate does, comes last: it must not hide what cannot be
/// undone.
fn brief(question: &Question, known: &[String], votes: &[Vote]) -> Vec<String> {
    let known: Vec<&str> = match question.key {
        QuestionKey::Go | QuestionKey::Blocked => go::known(known),
        _ => {
            let lines = known.iter().map(String::as_str);
            let (details, facts): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with(' '));
            facts.into_iter().chain(details).collect()
        }
    };
    let words = known.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut brief: Vec<String> = words.filter(|line| !line.is_empty()).collect();
    if matches!(question.key, QuestionKey::Go | QuestionKey::Blocked) {
        let votes = votes.iter().map(|vote| {
            format!("vote {}: {}, {}", vote.check, words::verdict_word(vote.verdict), vote.said)
        });
        brief.extend(votes);
    }
    brief
}

impl Weighed {
    fn said(&self) -> String {
        let best = if self.best { " (best)" } else { "" };
        if let Some(why) = &self.unusable {
            return format!("{}: unusable, {why}", self.id);
        }
        let loss = self.loss.map_or("an unknown loss".to_owned(), text::about);
        let takes = self.forecast.map(|takes| format!(" in {}", text::about(takes)));
        let undo = if self.reversible { "" } else { ", cannot be undone" };
        format!("{}: loses {loss}{}{undo}{best}", self.id, takes.unwrap_or_default())
    }
}

impl Decided {
    /// Says the answer, whose it was, and how long it took.
    fn said(&self) -> String {
        let by = self.by.as_ref().map(|by| format!(", by {by}")).unwrap_or_default();
        let beforehand = if self.beforehand && self.answered { ", given beforehand" } else { "" };
        let waited = match (self.took.0.as_secs(), self.waited) {
            (0, _) => String::new(),
            (_, waited) if waited == self.took => format!(", after {}", self.took),
            (_, waited) => {
                format!(", after {}, {waited} of it with nothing else going on", self.took)
            }
        };
        format!("answer: {}{by}{beforehand}{waited}", self.answer)
    }
}

/// Adds what was decided to the rows of a debrief.
pub(super) fn rows(decisions: &[Decided], row: &mut dyn FnMut(&str, String)) {
    for (index, decided) in decisions.iter().take(DECISIONS_MAX).enumerate() {
        let name = if index == 0 { "Decisions" } else { "" };
        row(name, format!("{} {}", text::clock(decided.asked), decided.question));
        for known in decided.brief.iter().take(KNOWN_MAX) {
            row("", format!("known: {}", text::clip(known, KNOWN_COLUMNS)));
        }
        if let Some(more) = decided.brief.len().checked_sub(KNOWN_MAX).filter(|more| *more > 0) {
            row("", format!("known: and {}", text::count(more, "more line")));
        }
        for candidate in &decided.candidates {
            row("", format!("known: {}", candidate.said()));
        }
        row("", decided.said());
    }
    if let Some(more) = decisions.len().checked_sub(DECISIONS_MAX).filter(|more| *more > 0) {
        row("", format!("and {}: phoenix-dr audit lists them", text::count(more, "more decision")));
    }
}
