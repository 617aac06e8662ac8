//! The debrief after a rehearsal: what was reached, where the time went, what was decided on what knowledge, what was
//! injected, how it compares with earlier ones, and how far the world can be trusted.

use jiff::Timestamp;
use serde::Serialize;

mod decisions;
mod earlier;
mod lines;
mod timeline;

use super::spent::Spent;
use super::summary::{LossReached, RestoredPriority, Summary};
use super::view::ViewState;
use super::world::Lengths;
use crate::clock::since;
use crate::event::Record;
use crate::exit::Exit;
use crate::span::Span;

use decisions::Decided;
pub(crate) use earlier::{Earlier, Setup};
pub(crate) use lines::lines;
use timeline::{TakenBack, Took};

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
    /// Those of them that did
    pub struck_first: Vec<StruckFirst>,
    /// Faults besides the world's own were drawn
    pub surprise: bool,
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

/// When a fault struck first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StruckFirst {
    pub fault: String,
    /// Since the world began
    pub after: Span,
    pub at: Timestamp,
    /// The call it struck
    pub call: String,
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
    /// What was to be taken back, in the order it was begun
    pub reverts: Vec<TakenBack>,
    /// Recovery times against their objectives
    pub restored: Vec<RestoredPriority>,
    /// Data lost against its objective
    pub loss: Option<LossReached>,
    pub decisions: Vec<Decided>,
    /// The flags with which the same faults strike again
    pub again: String,
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
        steps: timeline::steps(records, summary.started),
        reverts: timeline::reverts(records, summary.started),
        restored: summary.restored.clone(),
        loss: summary.loss.clone(),
        decisions: decisions::of(records, summary.until, people),
        again: again(records, &world),
        world,
        with_loss,
        earlier,
    }
}

/// Returns the flags with which the same faults strike again. Which surprise it was, what was typed says.
fn again(records: &[Record], world: &WorldTold) -> String {
    let seed = format!("--seed {}", world.seed);
    if !world.surprise {
        return seed;
    }
    const FLAG: &str = "--surprise";
    let typed = ViewState::fold(records).typed;
    let mut words = typed.iter().skip_while(|word| !word.starts_with(FLAG));
    let level = match words.next().map(|word| word.strip_prefix("--surprise=")) {
        Some(Some(level)) => Some(level),
        Some(None) => words.next().map(String::as_str),
        None => None,
    };
    format!("{seed} {FLAG} {}", level.unwrap_or("LEVEL, as before"))
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

#[cfg(test)]
#[path = "debrief_tests.rs"]
mod tests;
