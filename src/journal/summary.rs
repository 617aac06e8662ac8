//! What a journal says at a glance: which run, of what, how it stands, what it leaves open.
//!
//! Reads each line's envelope and a few events only, and does not check the chain: lists are made of many runs,
//! and acting on one reads it again with [`super::reader`].

use std::borrow::Cow;
use std::io::{self, BufRead};
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;

use super::FORMAT;
use super::lines::{Lines, Next};
use crate::event::{Mode, RunEnd, WorldNamed};
use crate::ids::{RunId, StepId};
use crate::outcome::Obligation;

/// How a run stands, by its journal alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not ended and not stopped; under way if a process holds it, else interrupted
    Running,
    /// Stopped for now
    Stopped {
        why: String,
        exit: u8,
    },
    Finished {
        end: RunEnd,
        exit: u8,
    },
    Abandoned {
        reason: String,
    },
}

impl Standing {
    /// Says whether nothing can go on any more.
    pub(crate) const fn is_final(&self) -> bool {
        match self {
            Self::Running | Self::Stopped { .. } => false,
            Self::Finished { .. } | Self::Abandoned { .. } => true,
        }
    }
}

/// One run in a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Summary {
    pub run: RunId,
    pub mode: Mode,
    /// Where a rehearsal takes place
    pub world: Option<WorldNamed>,
    pub estate: String,
    pub runbook: String,
    pub title: String,
    /// Who started it
    pub who: String,
    pub started: Timestamp,
    pub incident_started: Timestamp,
    /// When its last record was written
    pub last: Timestamp,
    /// Kind of its last event, e.g. `step_started`
    pub last_kind: String,
    /// Step its last event with a step is about
    pub step: Option<StepId>,
    pub rolling_back: bool,
    pub standing: Standing,
    pub records: u64,
    /// Its last line was not written whole
    pub torn: bool,
    pub obligations: Vec<ObligationChange>,
}

/// An obligation opened or closed by a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ObligationChange {
    pub time: Timestamp,
    pub run: RunId,
    pub change: Change,
}

/// Which of the two.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    Opened {
        step: Option<StepId>,
        obligation: Obligation,
    },
    /// Proved, or told by a person; or lapsed: only what this very run opened
    Closed {
        id: String,
        lapsed: bool,
    },
}

/// An obligation nothing has closed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OpenObligation {
    pub run: RunId,
    pub step: Option<StepId>,
    pub since: Timestamp,
    pub obligation: Obligation,
}

/// Folds changes of any number of runs into what is open, oldest first.
///
/// An id names the same thing in every run of an estate: a later run's proof closes what an earlier one opened.
pub(crate) fn open_obligations(mut changes: Vec<ObligationChange>) -> Vec<OpenObligation> {
    changes.sort_by_key(|change| change.time);
    let mut open: Vec<OpenObligation> = Vec::new();
    for ObligationChange { time, run, change } in changes {
        match change {
            Change::Closed { id, lapsed } => {
                open.retain(|known| known.obligation.id != id || lapsed && known.run != run);
            }
            Change::Opened { step, obligation } => {
                match open.iter_mut().find(|known| known.obligation.id == obligation.id) {
                    // Opened again: the newest words hold, the time it has been open stays.
                    Some(known) => known.obligation = obligation,
                    None => open.push(OpenObligation { run, step, since: time, obligation }),
                }
            }
        }
    }
    open
}

/// Why a run cannot be summed up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SummaryError {
    #[error("read its journal")]
    Io(#[from] io::Error),
    #[error("record {record} is damaged: {why}")]
    Damaged { record: u64, why: String },
    #[error("written by a newer phoenix-dr: format {0}")]
    Newer(u64),
    #[error("no record was written")]
    Empty,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u64,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    format: u32,
    time: Timestamp,
    #[serde(borrow)]
    event: KindOnly<'a>,
}

#[derive(Deserialize)]
struct KindOnly<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    step: Option<StepId>,
}

#[derive(Deserialize)]
struct Link {
    prev: String,
}

#[derive(Deserialize)]
struct Start {
    who: String,
    event: StartEvent,
}

#[derive(Deserialize)]
struct StartEvent {
    run: RunId,
    mode: Mode,
    incident_started: Timestamp,
    plan: PlanBrief,
    #[serde(default)]
    world: Option<WorldNamed>,
}

#[derive(Deserialize)]
struct PlanBrief {
    runbook: String,
    title: String,
    estate: EstateBrief,
}

#[derive(Deserialize)]
struct EstateBrief {
    estate: String,
}

#[derive(Deserialize)]
struct Telling {
    event: TellingEvent,
}

/// The events that say how a run stands; the others, also those of a newer version, change nothing about it.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum TellingEvent {
    RunResumed,
    IncidentDated {
        at: Timestamp,
    },
    RollbackStarted,
    RollbackEnded,
    RunStopped {
        why: String,
        exit: u8,
    },
    RunFinished {
        end: RunEnd,
        exit: u8,
    },
    RunAbandoned {
        reason: String,
    },
    ObligationOpened {
        step: Option<StepId>,
        obligation: Obligation,
    },
    ObligationClosed {
        id: String,
        #[serde(default)]
        lapsed: bool,
    },
    #[serde(other)]
    Other,
}

/// Sums a journal up.
pub(crate) fn summarise(path: &Path) -> Result<Summary, SummaryError> {
    scan(Lines::open(path)?)
}

/// Returns the run a journal begins, from its first record alone.
pub(crate) fn run_of(path: &Path) -> Result<RunId, SummaryError> {
    begin(&mut Lines::open(path)?).map(|(summary, _)| summary.run)
}

/// Sums a journal up by its first record, where the second one, if it can be read, says that the first is unaltered.
///
/// Of a journal that is damaged further on, this still tells whose it is.
pub(crate) fn start_of(path: &Path) -> Option<Summary> {
    start_in(Lines::open(path).ok()?)
}

fn start_in<R: BufRead>(mut lines: Lines<R>) -> Option<Summary> {
    let (summary, digest) = begin(&mut lines).ok()?;
    let vouched = match lines.next().ok()? {
        Next::Line { bytes, .. } => serde_json::from_slice::<Link>(bytes).ok(),
        Next::Tail { .. } | Next::TooLong | Next::End => None,
    };
    vouched.is_none_or(|link| link.prev == digest).then_some(summary)
}

/// Returns what the first record says, and its digest.
fn begin<R: BufRead>(lines: &mut Lines<R>) -> Result<(Summary, String), SummaryError> {
    let Next::Line { bytes, .. } = lines.next()? else { return Err(SummaryError::Empty) };
    let mut summary = None;
    match line(&mut summary, bytes) {
        Ok(()) => {
            let summary = summary.ok_or(SummaryError::Empty)?;
            Ok((summary, super::record::digest(bytes)))
        }
        Err(LineTrouble::Newer(format)) => Err(SummaryError::Newer(format)),
        Err(LineTrouble::Damaged { why, .. }) => Err(SummaryError::Damaged { record: 0, why }),
    }
}

fn scan<R: BufRead>(mut lines: Lines<R>) -> Result<Summary, SummaryError> {
    let mut summary: Option<Summary> = None;
    let mut record = 0;
    loop {
        let torn = match lines.next()? {
            Next::Line { bytes, last } => match line(&mut summary, bytes) {
                Ok(()) => {
                    record += 1;
                    continue;
                }
                Err(LineTrouble::Newer(format)) => return Err(SummaryError::Newer(format)),
                // An end that is no JSON is torn, as for the reader.
                Err(LineTrouble::Damaged { syntax: true, .. }) if last && record > 0 => true,
                Err(LineTrouble::Damaged { why, .. }) => {
                    return Err(SummaryError::Damaged { record, why });
                }
            },
            Next::TooLong => {
                let why = "its line is too long".to_owned();
                return Err(SummaryError::Damaged { record, why });
            }
            Next::Tail { .. } => true,
            Next::End => false,
        };
        let summary = summary.map(|summary| Summary { torn, records: record, ..summary });
        return summary.ok_or(SummaryError::Empty);
    }
}

enum LineTrouble {
    Newer(u64),
    Damaged { syntax: bool, why: String },
}

impl From<serde_json::Error> for LineTrouble {
    fn from(why: serde_json::Error) -> Self {
        Self::Damaged { syntax: why.is_syntax() || why.is_eof(), why: why.to_string() }
    }
}

fn line(summary: &mut Option<Summary>, bytes: &[u8]) -> Result<(), LineTrouble> {
    let envelope = match serde_json::from_slice::<Envelope<'_>>(bytes) {
        Ok(envelope) if envelope.format == FORMAT => envelope,
        Ok(envelope) => return Err(LineTrouble::Newer(envelope.format.into())),
        Err(why) => {
            return Err(match serde_json::from_slice::<FormatOnly>(bytes) {
                Ok(FormatOnly { format }) if format > u64::from(FORMAT) => {
                    LineTrouble::Newer(format)
                }
                Ok(_) | Err(_) => why.into(),
            });
        }
    };
    let Some(known) = summary else {
        *summary = Some(start(&envelope, bytes)?);
        return Ok(());
    };
    known.last = envelope.time;
    known.last_kind = envelope.event.kind.into_owned();
    if envelope.event.step.is_some() {
        known.step = envelope.event.step;
    }
    // Only these are read whole: most lines of a long journal are about steps.
    let tells = ["run_", "rollback_", "obligation_", "incident_"];
    if tells.iter().any(|prefix| known.last_kind.starts_with(prefix)) {
        apply(known, serde_json::from_slice::<Telling>(bytes)?.event);
    }
    Ok(())
}

fn start(envelope: &Envelope<'_>, bytes: &[u8]) -> Result<Summary, LineTrouble> {
    if envelope.event.kind != "run_started" {
        let why = format!("it is a `{}`, not the start of a run", envelope.event.kind);
        return Err(LineTrouble::Damaged { syntax: false, why });
    }
    let Start { who, event } = serde_json::from_slice(bytes)?;
    Ok(Summary {
        run: event.run,
        mode: event.mode,
        world: event.world,
        estate: event.plan.estate.estate,
        runbook: event.plan.runbook,
        title: event.plan.title,
        who,
        started: envelope.time,
        incident_started: event.incident_started,
        last: envelope.time,
        last_kind: envelope.event.kind.clone().into_owned(),
        step: None,
        rolling_back: false,
        standing: Standing::Running,
        records: 1,
        torn: false,
        obligations: Vec::new(),
    })
}

fn apply(summary: &mut Summary, event: TellingEvent) {
    let (time, run) = (summary.last, summary.run.clone());
    let owe = |change| summary.obligations.push(ObligationChange { time, run, change });
    let standing = match event {
        TellingEvent::RunResumed => Standing::Running,
        TellingEvent::RunStopped { why, exit } => Standing::Stopped { why, exit },
        TellingEvent::RunFinished { end, exit } => Standing::Finished { end, exit },
        TellingEvent::RunAbandoned { reason } => Standing::Abandoned { reason },
        TellingEvent::IncidentDated { at } => {
            summary.incident_started = at;
            return;
        }
        TellingEvent::RollbackStarted => {
            summary.rolling_back = true;
            return;
        }
        TellingEvent::RollbackEnded => {
            summary.rolling_back = false;
            return;
        }
        TellingEvent::ObligationOpened { step, obligation } => {
            return owe(Change::Opened { step, obligation });
        }
        TellingEvent::ObligationClosed { id, lapsed } => return owe(Change::Closed { id, lapsed }),
        TellingEvent::Other => return,
    };
    // A final standing stays: what follows are remarks and proofs.
    if !summary.standing.is_final() {
        summary.standing = standing;
    }
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
