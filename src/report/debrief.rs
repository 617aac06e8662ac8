//! The debrief after a rehearsal: what was reached, where the time went, what was decided on what knowledge, what was
//! injected, how it compares with earlier ones, and how far the world can be trusted.

use jiff::Timestamp;
use serde::Serialize;

mod decisions;
mod earlier;
mod lines;

use super::spent::Spent;
use super::summary::{LossReached, RestoredPriority, Summary};
use super::view::ViewState;
use super::world::Lengths;
use crate::clock::since;
use crate::event::{Event, Record};
use crate::exit::Exit;
use crate::ids::StepId;
use crate::span::Span;

use decisions::Decided;
pub(crate) use earlier::{Earlier, Setup};
pub(crate) use lines::lines;

/// Whose world a rehearsal took place in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct WorldTold {
    pub world: String,
    /// The file it was read from; `None` for what comes with the program or was made
    pub file: Option<String>,
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
    /// What came of it, in a line
    pub result: String,
    /// Exit code, once it ended or stopped
    pub exit: Option<u8>,
    pub length: Span,
    /// Nothing went on but a person being waited for: what the decisions waited, together
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
        result: summary.result.clone(),
        exit: summary.exit,
        length: whole(length),
        people,
        cloud,
        retries,
        program,
        steps: steps(records, summary.started),
        restored: summary.restored.clone(),
        loss: summary.loss.clone(),
        decisions: decisions::of(records, summary.until, people),
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
                (ended, given_up) = (None, None);
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

#[cfg(test)]
#[path = "debrief_tests.rs"]
mod tests;
