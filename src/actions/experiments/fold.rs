//! One experiment's events, one after the other in the order of their sequence, become its state.
//!
//! What is wrong with an event is told by the first reason that applies, in this order: sequence, time, type, payload,
//! fields, state. What is wrong changes nothing. Events that are missing are told once for each gap; those after it count.

use jiff::Timestamp;

use super::change::{Change, Kind};
use super::experiment::Experiment;
use super::finding::{Finding, Reason, Wrong};
use super::moment::Moment;

/// An event as the table has it: any column may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub id: Option<String>,
    pub experiment: Option<String>,
    pub sequence: Option<i64>,
    pub kind: Option<String>,
    pub payload: Option<String>,
    pub at: Option<Moment>,
    /// The experiment has a row; said of its first event alone
    pub known: bool,
}

/// What events are held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Sequence of an experiment's first event
    pub first: i64,
    /// Nothing can have happened later
    pub now: Timestamp,
}

/// The events of one experiment so far.
#[derive(Debug)]
pub(super) struct Fold {
    /// `None` for events that name no experiment
    pub id: Option<String>,
    pub state: Option<Experiment>,
    pub events: u64,
    /// Corrupt events, and gaps
    pub corrupt: u64,
    known: bool,
    /// Sequence of the last event with one
    last: Option<i64>,
}

impl Fold {
    pub(super) fn of(event: &Event) -> Self {
        Self {
            id: event.experiment.clone(),
            state: None,
            events: 0,
            corrupt: 0,
            known: event.known,
            last: None,
        }
    }

    /// Says whether an event is of this experiment.
    pub(super) fn is_of(&self, event: &Event) -> bool {
        self.id == event.experiment
    }

    /// Takes the next event; tells what is wrong with it, and what is missing before it.
    pub(super) fn take(&mut self, event: Event, rules: Rules, found: &mut Vec<Finding>) {
        self.events += 1;
        let (id, sequence) = (event.id.clone(), event.sequence);
        if let Some(gap) = self.gap(sequence, rules) {
            self.corrupt += 1;
            found.push(self.finding(None, sequence.map(|number| number - 1), gap));
        }
        if let Err(wrong) = self.make_part(event, rules) {
            self.corrupt += 1;
            found.push(self.finding(id, sequence, wrong));
        }
        self.last = sequence.or(self.last);
        if let (Some(state), Some(last)) = (&mut self.state, self.last) {
            state.last = last;
        }
    }

    fn finding(&self, event: Option<String>, sequence: Option<i64>, wrong: Wrong) -> Finding {
        let Wrong { reason, said } = wrong;
        Finding { experiment: self.id.clone(), event, sequence, reason, said }
    }

    /// Returns what is missing before an event.
    fn gap(&self, sequence: Option<i64>, rules: Rules) -> Option<Wrong> {
        let (sequence, _) = (sequence?, self.id.as_ref()?);
        let next = match self.last.filter(|last| *last >= rules.first) {
            Some(last) => last.checked_add(1)?,
            None => rules.first,
        };
        let said = match sequence.checked_sub(next)? {
            ..=0 => return None,
            1 => format!("the event {next} is missing"),
            _ => format!("the events {next} to {} are missing", sequence - 1),
        };
        Some(Wrong::new(Reason::Gap, said))
    }

    fn make_part(&mut self, event: Event, rules: Rules) -> Result<(), Wrong> {
        let Some(id) = &self.id else {
            return Err(Wrong::new(Reason::NoExperiment, "it names no experiment"));
        };
        let sequence = self.sequence(event.sequence, rules)?;
        let at = self.time(event.at, rules)?;
        let kind = event.kind.ok_or_else(|| Wrong::new(Reason::NoType, "it has no type"))?;
        let kind = Kind::parse(&kind).ok_or_else(|| {
            Wrong::new(Reason::UnknownType, format!("there is no type `{}`", shown(&kind)))
        })?;
        let payload =
            event.payload.ok_or_else(|| Wrong::new(Reason::NoPayload, "it has no payload"))?;
        let change = Change::read(kind, &payload)?;
        match &mut self.state {
            Some(state) => state.apply(change, at, sequence),
            None => match Experiment::created(id, change, at, sequence) {
                Ok(state) => {
                    self.state = Some(state);
                    Ok(())
                }
                Err(wrong) if self.known => Err(wrong),
                Err(_) => {
                    let said = "there is neither a row of the experiment nor an event before that creates it";
                    Err(Wrong::new(Reason::UnknownExperiment, said))
                }
            },
        }
    }

    fn sequence(&self, sequence: Option<i64>, rules: Rules) -> Result<i64, Wrong> {
        let sequence =
            sequence.ok_or_else(|| Wrong::new(Reason::NoSequence, "it has no sequence"))?;
        if sequence < rules.first {
            let said = format!("the first sequence is {}", rules.first);
            return Err(Wrong::new(Reason::SequenceTooLow, said));
        }
        if self.state.as_ref().is_some_and(|state| state.version == sequence) {
            let said = "an event with this sequence came before";
            return Err(Wrong::new(Reason::Duplicate, said));
        }
        Ok(sequence)
    }

    fn time(&self, at: Option<Moment>, rules: Rules) -> Result<Timestamp, Wrong> {
        let at = at.ok_or_else(|| Wrong::new(Reason::NoTime, "it has no time"))?;
        let at = at.timestamp().ok_or_else(|| {
            Wrong::new(Reason::ImpossibleTime, "its time is infinite, or before 1970")
        })?;
        if at > rules.now {
            let said = format!("it happened at {at}, which is still to come");
            return Err(Wrong::new(Reason::FutureTime, said));
        }
        match self.state.as_ref().map(|state| state.updated_at).filter(|before| at < *before) {
            Some(before) => {
                let said = format!("it happened at {at}, an event before it at {before}");
                Err(Wrong::new(Reason::TimeBackwards, said))
            }
            None => Ok(at),
        }
    }
}

/// Returns the beginning of a text nobody bounds.
fn shown(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { first: 1, now: Timestamp::constant(1_800_000_000, 0) };

    fn event(sequence: i64, kind: &str, second: i64) -> Event {
        Event {
            id: Some(format!("e{sequence}")),
            experiment: Some("7".to_owned()),
            sequence: Some(sequence),
            kind: Some(kind.to_owned()),
            payload: Some(r#"{"name": "a", "progress": 5}"#.to_owned()),
            at: Some(Moment(second * 1_000_000)),
            known: false,
        }
    }

    fn folded(events: Vec<Event>) -> (Fold, Vec<String>) {
        let mut fold = Fold::of(&events[0]);
        let mut found = Vec::new();
        for event in events {
            fold.take(event, RULES, &mut found);
        }
        (fold, found.iter().map(Finding::line).collect())
    }

    #[test]
    fn what_is_wrong_is_told_and_changes_nothing() {
        let far = i64::MAX;
        let (fold, found) = folded(vec![
            event(0, "created", 0),
            event(1, "created", 10),
            event(2, "started", 9),
            event(2, "started", 11),
            event(2, "started", 12),
            event(3, "launched", 13),
            Event { payload: None, ..event(4, "progressed", 14) },
            Event { at: Some(Moment(far)), ..event(5, "progressed", 15) },
            event(8, "progressed", 900_000_000),
            event(9, "progressed", 16),
            Event { at: None, ..event(10, "progressed", 0) },
            Event { kind: None, ..event(11, "progressed", 17) },
            Event { sequence: None, ..event(12, "progressed", 17) },
        ]);
        let state = fold.state.expect("created");
        assert_eq!((state.state.name(), state.version, state.last), ("running", 9, 11));
        assert_eq!((fold.events, fold.corrupt), (13, 11));
        assert_eq!(
            found,
            [
                "7 sequence 0 event e0: sequence_too_low: the first sequence is 1",
                "7 sequence 2 event e2: time_backwards: it happened at 2000-01-01T00:00:09Z, an event before it at 2000-01-01T00:00:10Z",
                "7 sequence 2 event e2: duplicate: an event with this sequence came before",
                "7 sequence 3 event e3: unknown_type: there is no type `launched`",
                "7 sequence 4 event e4: no_payload: it has no payload",
                "7 sequence 5 event e5: impossible_time: its time is infinite, or before 1970",
                "7 sequence 7: gap: the events 6 to 7 are missing",
                "7 sequence 8 event e8: future_time: it happened at 2028-07-08T16:00:00Z, which is still to come",
                "7 sequence 10 event e10: no_time: it has no time",
                "7 sequence 11 event e11: no_type: it has no type",
                "7 event e12: no_sequence: it has no sequence",
            ]
        );
    }

    #[test]
    fn without_a_row_and_an_event_that_creates_it_an_experiment_is_unknown() {
        let (fold, found) = folded(vec![event(3, "started", 1)]);
        assert!(fold.state.is_none());
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("the events 1 to 2 are missing"), "{found:?}");
        assert!(found[1].contains("unknown_experiment"), "{found:?}");
        let known = Event { known: true, ..event(1, "started", 1) };
        assert!(folded(vec![known]).1[0].contains("not_created"));
        let (fold, found) = folded(vec![event(1, "created", 1)]);
        assert!(fold.state.is_some() && found.is_empty(), "its row may be lost: {found:?}");
        let nobody = Event { experiment: None, ..event(5, "started", 1) };
        assert_eq!(
            folded(vec![nobody]).1,
            ["(none) sequence 5 event e5: no_experiment: it names no experiment"]
        );
    }

    #[test]
    fn sequences_at_the_ends_of_what_there_is_are_no_trouble() {
        let (fold, found) = folded(vec![
            Event { sequence: Some(i64::MIN), ..event(1, "created", 1) },
            event(1, "created", 1),
            Event { sequence: Some(i64::MAX), ..event(2, "started", 2) },
            Event { sequence: Some(i64::MAX), ..event(2, "paused", 3) },
        ]);
        assert_eq!(fold.state.expect("created").version, i64::MAX);
        assert_eq!(found.len(), 3, "{found:?}");
    }
}
