//! The debrief after a rehearsal: where the time went, what was decided on what knowledge, what was injected, how it
//! compares with earlier ones, and how far the world can be trusted.

use jiff::Timestamp;
use serde::Serialize;

use super::screens::go;
use super::spent::Spent;
use super::summary::{LossReached, RestoredPriority, Summary};
use super::text;
use super::view::ViewState;
use super::words;
use super::world::Lengths;
use crate::clock::since;
use crate::event::{Event, Question, QuestionKey, Record};
use crate::exit::Exit;
use crate::ids::StepId;
use crate::span::Span;

/// Decisions that are listed, at most.
const DECISIONS_MAX: usize = 20;
/// Steps of the timeline, at most.
const STEPS_MAX: usize = 30;
/// Columns of what was known at a decision; all of it is in the journal.
const KNOWN_COLUMNS: usize = 120;

/// Whose world a rehearsal took place in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct WorldTold {
    pub world: String,
    /// The estate it is of
    pub estate: String,
    /// The region it fails over from, where nothing took that away
    pub standing: Option<String>,
    pub captured: Option<Timestamp>,
    /// The estate file whose names alone it has
    pub made_from: Option<String>,
    /// How old it was when the rehearsal began
    pub age: Option<Span>,
    /// Names in it are others than the estate's
    pub pseudonyms: bool,
    /// What nobody saw when it was captured; what was guessed where it was made from an estate file
    pub unseen: Vec<String>,
    /// All of its durations were measured
    pub measured: bool,
    pub durations: Lengths,
    /// What its chance, and a surprise, is drawn from
    pub seed: u64,
    /// Each fault and how often it struck
    pub faults: Vec<(String, u32)>,
    /// Those of them that never did
    pub never_struck: Vec<NeverStruck>,
    /// There are others, which are told when the rehearsal has ended
    pub untold: bool,
    /// What was asked that the simulation does not know
    pub left: Vec<String>,
}

/// A fault that never struck.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NeverStruck {
    pub fault: String,
    /// Why, as a word
    pub because: &'static str,
    /// Why, as a person reads it
    pub said: String,
}

/// An earlier rehearsal of the same runbook in the same estate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Earlier {
    pub run: String,
    pub at: Timestamp,
    pub length: Span,
    pub exit: Option<u8>,
}

/// A decision, and how long it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Decided {
    pub at: Timestamp,
    pub question: String,
    pub answer: String,
    pub took: Span,
    /// What was known: the evidence shown with the question
    pub known: Vec<String>,
    /// The part of it that is shown
    #[serde(skip)]
    pub brief: Vec<String>,
}

/// A step that took time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Took {
    pub step: String,
    /// Since the run began
    pub after: Span,
    pub length: Span,
    pub attempts: u32,
    /// From the first attempt to the last one's start
    pub retries: Span,
    /// It ended; what did not is counted up to a rollback, or as far as there are records
    pub finished: bool,
}

/// A rehearsal, looked back at.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Debrief {
    pub format: &'static str,
    pub version: u32,
    pub run: String,
    pub length: Span,
    /// Nothing went on but a person being waited for
    pub people: Span,
    /// Steps were being carried out by attempts that came to something
    pub cloud: Span,
    /// Attempts failed, or were waited after
    pub retries: Span,
    /// None of these: looks, gates, checks at the end, pauses, its own work; the four make up the length
    pub program: Span,
    /// In the order they began
    pub steps: Vec<Took>,
    /// Recovery times against their objectives
    pub restored: Vec<RestoredPriority>,
    /// Data lost against its objective
    pub loss: Option<LossReached>,
    pub decisions: Vec<Decided>,
    pub world: WorldTold,
    /// What was typed, with the loss there was none of
    pub with_loss: Option<String>,
    pub earlier: Vec<Earlier>,
}

/// Looks back at a rehearsal.
pub(crate) fn of(
    records: &[Record],
    summary: &Summary,
    world: WorldTold,
    earlier: Vec<Earlier>,
) -> Debrief {
    let length = since(summary.started, summary.until);
    let spent = Spent::of(records, &ViewState::fold(records), summary.until);
    let [people, cloud, retries, program] = spent.seconds();
    let with_loss = world.standing.as_ref().filter(|_| summary.exit == Some(Exit::NotMet.code()));
    let with_loss = with_loss.map(|region| with_loss_of(records, region));
    Debrief {
        format: "phoenix-dr/debrief",
        version: 1,
        run: summary.run.0.clone(),
        length: whole(length),
        people,
        cloud,
        retries,
        program,
        steps: steps(records, summary.started),
        restored: summary.restored.clone(),
        loss: summary.loss.clone(),
        decisions: decisions(records),
        world,
        with_loss,
        earlier,
    }
}

/// Returns what was typed at the beginning, with a region's loss.
fn with_loss_of(records: &[Record], region: &str) -> String {
    let mut typed = ViewState::fold(records).typed;
    typed.push(format!("--inject=dark,region={region}"));
    format!("phoenix-dr {}", crate::shell::line(&typed))
}

fn whole(length: std::time::Duration) -> Span {
    Span::seconds(length.as_secs())
}

fn steps(records: &[Record], start: Timestamp) -> Vec<Took> {
    let view = ViewState::fold(records);
    let mut taken = Vec::new();
    for step in view.plan.iter().flat_map(|plan| &plan.steps) {
        taken.extend(took(records, start, &step.id).filter(|took| took.length.0.as_secs() > 0));
    }
    taken.sort_by_key(|took| took.after);
    taken
}

fn took(records: &[Record], start: Timestamp, step: &StepId) -> Option<Took> {
    let (mut began, mut last, mut attempts) = (None, None, 0);
    let (mut ended, mut given_up) = (None, None);
    for record in records {
        match &record.event {
            Event::StepStarted { step: id, .. } if id == step => {
                began.get_or_insert(record.time);
                last = Some(record.time);
                attempts += 1;
                given_up = None;
            }
            Event::StepFinished { step: id, .. } if id == step => ended = Some(record.time),
            // What undoing it and the others takes is not the step's time.
            Event::RollbackStarted { .. } if ended.is_none() => {
                given_up.get_or_insert(record.time);
            }
            _ => {}
        }
    }
    let (began, last) = (began?, last?);
    let until = given_up.or(ended).or_else(|| records.last().map(|record| record.time))?;
    Some(Took {
        step: step.0.clone(),
        after: whole(since(start, began)),
        length: whole(since(began, until)),
        attempts,
        retries: whole(since(began, last)),
        finished: ended.is_some() && given_up.is_none(),
    })
}

fn decisions(records: &[Record]) -> Vec<Decided> {
    let mut asked = std::collections::BTreeMap::new();
    let mut decided = Vec::new();
    for record in records {
        match &record.event {
            Event::Asked { question } => {
                let key = serde_json::to_string(&question.key).unwrap_or_default();
                asked.insert(key, (record.time, question.clone()));
            }
            Event::Decided { question, answer } => {
                let key = serde_json::to_string(question).unwrap_or_default();
                let Some((since_then, question)) = asked.get(&key) else { continue };
                decided.push(Decided {
                    at: record.time,
                    question: question.title.clone(),
                    answer: words::answer(answer),
                    took: whole(since(*since_then, record.time)),
                    known: question.lines.clone(),
                    brief: brief(question),
                });
            }
            _ => {}
        }
    }
    decided
}

/// Returns what decided it: of the screen before go its gates, losses and findings, of another question its first line.
fn brief(question: &Question) -> Vec<String> {
    let known: Vec<&str> = match question.key {
        QuestionKey::Go | QuestionKey::Blocked => go::known(&question.lines),
        _ => question.lines.first().map(String::as_str).into_iter().collect(),
    };
    let words = known.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    words.filter(|line| !line.is_empty()).collect()
}

/// Returns the debrief as lines of at most `columns`.
pub(crate) fn lines(debrief: &Debrief, columns: usize) -> Vec<String> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, said: String| rows.push(vec![name.to_owned(), said]);
    row(
        "Time",
        format!(
            "{}: {} waiting for people, {} for the cloud, {} in attempts that failed and waits after them, {} in \
             gates, looks and the program itself",
            debrief.length, debrief.people, debrief.cloud, debrief.retries, debrief.program
        ),
    );
    let longest = debrief.steps.iter().map(|took| took.length).max();
    for (index, took) in debrief.steps.iter().take(STEPS_MAX).enumerate() {
        let tries = match took.attempts {
            0 | 1 => String::new(),
            attempts => format!(", {attempts} attempts, {} of it before the last", took.retries),
        };
        let open = if took.finished { "" } else { ", not finished" };
        let most = if Some(took.length) == longest { ", the longest" } else { "" };
        let name = if index == 0 { "Timeline" } else { "" };
        row(
            name,
            format!("after {}: {} {}{open}{tries}{most}", took.after, took.step, took.length),
        );
    }
    decision_rows(&debrief.decisions, &mut row);
    fault_rows(&debrief.world, &mut row);
    if debrief.world.untold {
        row("Surprises", "are told when the rehearsal has come to its end".to_owned());
    }
    for (index, left) in debrief.world.left.iter().enumerate() {
        let name = if index == 0 { "NOT KNOWN" } else { "" };
        row(name, format!("left the simulation: {left}"));
    }
    if let (Some(region), Some(typed)) = (&debrief.world.standing, &debrief.with_loss) {
        row("No loss", format!("nothing of {region} is down in this world, as the gate found"));
        row("", format!("rehearse its loss: {typed}"));
    }
    row("World", trust(&debrief.world));
    row("Durations", debrief.world.durations.said());
    for (index, unseen) in debrief.world.unseen.iter().enumerate() {
        let name = if debrief.world.made_from.is_some() { "Guessed" } else { "Not seen" };
        row(if index == 0 { name } else { "" }, unseen.clone());
    }
    let seed = debrief.world.seed;
    row("Seed", format!("{seed}: the same faults and answers again with --seed {seed}"));
    match debrief.earlier.as_slice() {
        [] => row("Earlier", "the first rehearsal of this runbook here".to_owned()),
        earlier => {
            for (index, earlier) in earlier.iter().take(3).enumerate() {
                let name = if index == 0 { "Earlier" } else { "" };
                let exit = earlier.exit.map_or_else(String::new, |exit| format!(", exit {exit}"));
                let day = text::day(earlier.at);
                row(name, format!("{} on {day}: {}{exit}", earlier.run, earlier.length));
            }
        }
    }
    let mut lines = vec!["DEBRIEF OF A REHEARSAL: nothing real was touched".to_owned()];
    lines.extend(text::table(&rows, columns, 2));
    lines
}

fn fault_rows(world: &WorldTold, row: &mut dyn FnMut(&str, String)) {
    let mut never = world.never_struck.iter();
    for (index, (fault, struck)) in world.faults.iter().enumerate() {
        let name = if index == 0 { "Faults" } else { "" };
        let said = match struck {
            // They are told in the same order.
            0 => {
                let why =
                    never.next().map_or_else(String::new, |never| format!(": {}", never.said));
                format!("{fault} never struck{why}")
            }
            1 => format!("{fault} struck"),
            times => format!("{fault} struck {times} times"),
        };
        row(name, said);
    }
}

fn decision_rows(decisions: &[Decided], row: &mut dyn FnMut(&str, String)) {
    for (index, decided) in decisions.iter().take(DECISIONS_MAX).enumerate() {
        let name = if index == 0 { "Decisions" } else { "" };
        let time = text::clock(decided.at);
        let waited = match decided.took.0.as_secs() {
            0 => String::new(),
            _ => format!(" after {}", decided.took),
        };
        row(name, format!("{time} {}: {}{waited}", decided.question, decided.answer));
        for known in &decided.brief {
            row("", format!("  known: {}", text::clip(known, KNOWN_COLUMNS)));
        }
    }
}

fn trust(world: &WorldTold) -> String {
    match (world.captured, &world.made_from) {
        (Some(at), _) => {
            let age = super::world::age(at, world.age.unwrap_or_default().0);
            let names = if world.pseudonyms { ", under other names" } else { "" };
            format!("the estate {}, {age}{names}", world.estate)
        }
        (None, Some(file)) => format!(
            "made from the names in {file}: how your estate is doing is guessed: run phoenix-dr world capture"
        ),
        (None, None) => format!(
            "`{}`, written by hand: not your estate: run phoenix-dr world capture",
            world.world
        ),
    }
}

#[cfg(test)]
#[path = "debrief_tests.rs"]
mod tests;
