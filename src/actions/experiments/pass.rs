//! One way through the events: to look what would come of them, or to write it, so many experiments at a time.

use std::time::Duration;

use jiff::Timestamp;

use super::experiment::Experiment;
use super::finding::{Finding, Reason, Wrong};
use super::fold::{Event, Fold, Rules};
use super::layout::{Layout, Place};
use super::own::{Begun, Tally};
use super::report::Findings;
use super::source::{Scope, Source, open};
use super::stored::{self, Standing};
use crate::clients::Clients;
use crate::clients::postgres::{Session, say_who_blocks};
use crate::clock::within;
use crate::engine::ports::Call;
use crate::outcome::{ActionError, FailureClass};

/// Experiments of one transaction.
const EXPERIMENTS_MAX: usize = 500;
/// Bytes of their states, findings of their events: what is larger makes smaller transactions.
const BYTES_MAX: usize = 4 << 20;
const FINDINGS_MAX: usize = 5000;

/// Some experiments, complete, and what was found on the way.
#[derive(Debug, Default)]
struct Portion {
    states: Vec<Experiment>,
    bytes: usize,
    found: Vec<Finding>,
    tally: Tally,
    /// The last experiment of it
    through: Option<String>,
    /// It has the events that name no experiment
    nameless: bool,
}

impl Portion {
    fn is_full(&self) -> bool {
        self.states.len() >= EXPERIMENTS_MAX
            || self.bytes >= BYTES_MAX
            || self.found.len() >= FINDINGS_MAX
    }

    /// Takes the experiment whose last event has been read.
    fn end(&mut self, fold: Fold) {
        self.tally.events += fold.events;
        self.tally.corrupt += fold.corrupt;
        let Some(id) = fold.id else {
            self.nameless = true;
            return;
        };
        self.tally.experiments += 1;
        match fold.state {
            Some(state) => {
                let json = [&state.config, &state.result, &state.error].into_iter().flatten();
                self.bytes += state.title.len() + json.map(String::len).sum::<usize>();
                self.states.push(state);
            }
            None => {
                self.tally.not_rebuilt += 1;
                self.found.push(about(&id, "no event creates it: it stays as it was"));
            }
        }
        self.through = Some(id);
    }

    /// Counts how the stored rows stand to the states; returns the states to be written, first those that have a row.
    fn judge<'s>(
        &mut self,
        states: &[&'s Experiment],
        standings: Vec<Standing>,
    ) -> (Vec<&'s Experiment>, Vec<&'s Experiment>) {
        let (mut existing, mut missing) = (Vec::new(), Vec::new());
        for (&state, standing) in states.iter().zip(standings) {
            match standing {
                Standing::Same => self.tally.unchanged += 1,
                Standing::Differs(_) => existing.push(state),
                Standing::Missing => missing.push(state),
                Standing::Ahead { version } => {
                    self.tally.not_rebuilt += 1;
                    self.tally.corrupt += 1;
                    self.found.push(ahead(state, version));
                }
            }
        }
        self.tally.rebuilt += (existing.len() + missing.len()) as u64;
        self.tally.created += missing.len() as u64;
        (existing, missing)
    }
}

/// Returns what is said of an experiment as a whole.
fn about(id: &str, said: &str) -> Finding {
    let Wrong { reason, said } = Wrong::new(Reason::NotRebuilt, said);
    Finding { experiment: Some(id.to_owned()), event: None, sequence: None, reason, said }
}

fn ahead(state: &Experiment, version: i64) -> Finding {
    let said = format!(
        "the stored row is of event {version}, the last one there is {}: it stays as it was",
        state.last
    );
    Finding {
        experiment: Some(state.id.clone()),
        event: None,
        sequence: Some(version),
        reason: Reason::MissingAtEnd,
        said,
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        let Self { events, experiments, rebuilt, created, unchanged, not_rebuilt, corrupt } = other;
        self.events += events;
        self.experiments += experiments;
        self.rebuilt += rebuilt;
        self.created += created;
        self.unchanged += unchanged;
        self.not_rebuilt += not_rebuilt;
        self.corrupt += corrupt;
    }
}

/// Reads events and makes portions of them.
struct Reader {
    source: Source,
    rules: Rules,
    fold: Option<Fold>,
    /// The first event of the next portion
    next: Option<Event>,
}

impl Reader {
    fn new(source: Source, first: i64) -> Self {
        let rules = Rules { first, now: source.now };
        Self { source, rules, fold: None, next: None }
    }

    /// Returns the next experiments; `None` after the last.
    ///
    /// `whole`: no experiment is parted, for what is written of it is written at once. Otherwise a portion may end in the
    /// middle of one that has more findings than memory is for.
    async fn portion(&mut self, whole: bool) -> Result<Option<Portion>, ActionError> {
        let mut portion = Portion::default();
        loop {
            let event = match self.next.take() {
                Some(event) => Some(event),
                None => self.source.next().await?,
            };
            let Some(event) = event else {
                let last = self.fold.take();
                let any = last.is_some() || !portion.found.is_empty() || portion.tally.events > 0;
                last.into_iter().for_each(|fold| portion.end(fold));
                return Ok(any.then_some(portion));
            };
            if self.fold.as_ref().is_none_or(|fold| !fold.is_of(&event)) {
                self.fold.take().into_iter().for_each(|fold| portion.end(fold));
                if portion.is_full() {
                    self.next = Some(event);
                    return Ok(Some(portion));
                }
                self.fold = Some(Fold::of(&event));
            }
            if let Some(fold) = &mut self.fold {
                fold.take(event, self.rules, &mut portion.found);
            }
            if !whole && portion.found.len() >= FINDINGS_MAX {
                return Ok(Some(portion));
            }
        }
    }
}

/// Where the events are, and which are meant.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub place: Place<'a>,
    pub layout: &'a Layout,
    pub ids: Option<&'a std::collections::BTreeSet<&'a str>>,
    /// Sequence of an experiment's first event
    pub first: i64,
}

impl Way<'_> {
    /// Returns where another session asks who holds what one of these waits for.
    pub(super) const fn other(&self) -> (&str, &str) {
        (self.place.instance, self.place.database)
    }
}

/// What a look saw.
pub(super) struct Looked {
    pub tally: Tally,
    /// All was read; otherwise the time was over
    pub complete: bool,
    /// Some of what would be written, a line each
    pub samples: Vec<String>,
}

/// Samples of what would be written.
const SAMPLES_MAX: usize = 5;

/// Looks what would come of the events, and changes nothing; no longer than `until`.
pub(super) async fn look(
    clients: &Clients,
    call: &Call,
    way: Way<'_>,
    until: Option<Timestamp>,
    findings: &mut Findings<'_>,
) -> Result<Looked, ActionError> {
    let mut session = open(clients, way.place).await?;
    let what = format!("compare {} with its events", way.layout.said);
    let process = session.process(clients, &what).await?;
    let scope = Scope { ids: way.ids, after: None, nameless: false };
    let source = Source::open(clients, way.place, way.layout, scope).await?;
    let mut reader = Reader::new(source, way.first);
    let mut looked = Looked { tally: Tally::default(), complete: true, samples: Vec::new() };
    loop {
        // A server may take long before it has the first event in order.
        let read = match until {
            None => Ok(reader.portion(false).await),
            Some(until) => {
                let left = until.duration_since(clients.clock.now());
                let left = Duration::try_from(left).unwrap_or_default();
                within(clients.clock.as_ref(), left, reader.portion(false)).await
            }
        };
        let Ok(read) = read else {
            looked.complete = false;
            break;
        };
        let Some(mut portion) = read? else { break };
        let states = std::mem::take(&mut portion.states);
        let states: Vec<&Experiment> = states.iter().collect();
        let comparing = stored::compare(clients, &mut session, &what, way.layout, &states);
        let standings = say_who_blocks(clients, &what, process, way.other(), comparing).await?;
        let samples = states.iter().zip(&standings).filter_map(|(one, found)| sample(one, found));
        let room = SAMPLES_MAX - looked.samples.len();
        looked.samples.extend(samples.take(room));
        portion.judge(&states, standings);
        looked.tally.add(&portion.tally);
        portion.found.iter().try_for_each(|finding| findings.add(finding))?;
        tell(call, way, &looked.tally, "read");
    }
    Ok(looked)
}

fn sample(state: &Experiment, standing: &Standing) -> Option<String> {
    let (id, now) = (&state.id, state.state.name());
    match standing {
        Standing::Missing => Some(format!("{id}: no row; {now}, by event {}", state.version)),
        Standing::Differs(keys) => Some(format!("{id}: other in {}", keys.join(", "))),
        Standing::Same | Standing::Ahead { .. } => None,
    }
}

fn tell(call: &Call, way: Way<'_>, tally: &Tally, done: &str) {
    #[expect(clippy::cast_precision_loss, reason = "a fraction for a bar")]
    let fraction = tally.events as f32 / way.layout.events_about.max(1) as f32;
    let known = way.ids.is_none() && fraction <= 1.0;
    let said = format!("{done} {} events of {} experiments", tally.events, tally.experiments);
    call.progress.tell(said, known.then_some(fraction));
}

/// Writes what comes of the events, from where the rebuilding is on, each portion in one transaction.
pub(super) async fn write(
    clients: &Clients,
    call: &Call,
    way: Way<'_>,
    begun: &mut Begun,
    max_corrupt: u64,
) -> Result<(), ActionError> {
    let mut session = open(clients, way.place).await?;
    let position = begun.position.clone();
    let scope = Scope { ids: way.ids, after: position.as_deref(), nameless: begun.nameless };
    let source = Source::open(clients, way.place, way.layout, scope).await?;
    let mut reader = Reader::new(source, way.first);
    let what = format!("write rebuilt experiments to {}", way.layout.said);
    let process = session.process(clients, &what).await?;
    while let Some(portion) = reader.portion(true).await? {
        let writing = write_one(clients, &mut session, &what, way, begun, portion, max_corrupt);
        say_who_blocks(clients, &what, process, way.other(), writing).await?;
        tell(call, way, &begun.tally, "rebuilt from");
    }
    Ok(())
}

/// Writes a portion; `begun` moves on with it, once it is committed.
async fn write_one(
    clients: &Clients,
    session: &mut Session,
    what: &str,
    way: Way<'_>,
    begun: &mut Begun,
    mut portion: Portion,
    max_corrupt: u64,
) -> Result<(), ActionError> {
    let through = portion.through.clone().or_else(|| begun.position.clone());
    let nameless = begun.nameless || portion.nameless;
    let batch = session.batch(clients, what).await?;
    begun.advance(&batch, through.as_deref(), nameless).await?;
    let states = std::mem::take(&mut portion.states);
    let states: Vec<&Experiment> = states.iter().collect();
    let standings = stored::compare_held(&batch, way.layout, &states).await?;
    let (existing, missing) = portion.judge(&states, standings);
    stored::write(&batch, way.layout, begun, &existing, &missing).await?;
    begun.find(&batch, &portion.found).await?;
    let mut tally = begun.tally;
    tally.add(&portion.tally);
    if tally.corrupt > max_corrupt {
        return Err(more_came(tally.corrupt, max_corrupt));
    }
    begun.count(&batch, &tally).await?;
    batch.commit().await?;
    (begun.position, begun.nameless, begun.tally) = (through, nameless, tally);
    Ok(())
}

/// More is corrupt than when it was looked at.
fn more_came(corrupt: u64, max: u64) -> ActionError {
    let message = format!(
        "{corrupt} corrupt events by now, at most {max} are accepted: more came up since the look before; \
         what was written before stays until it is rolled back"
    );
    ActionError::unchanged(FailureClass::Conflict, message)
        .hint("keep the application from writing, then retry, or roll back")
}
