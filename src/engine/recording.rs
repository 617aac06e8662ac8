//! The dispatcher's hand on the journal: every event is sealed, applied, synced, then shown.

use std::time::Duration;

use super::dispatcher::{Dispatcher, Shown};
use crate::clock::since;
use crate::event::Event;
use crate::exit::Exit;

/// A record may wait this long for others to share its sync.
const GROUP_WAIT: Duration = Duration::from_millis(2);

impl Dispatcher {
    /// Seals and applies events; they are synced together with what comes right after.
    pub(super) fn record(&mut self, events: Vec<Event>) {
        for event in events {
            if self.says_nothing_new(&event) {
                continue;
            }
            let now = self.ports.clock.now();
            self.tell_step(&event);
            if let Err(error) = self.state.apply(&event, now) {
                // What was just decided contradicts the state: a defect. Stop before it becomes a fact.
                self.stop_for(format!("a defect in phoenix-dr: {error}"), Exit::Internal);
                continue;
            }
            self.unsynced.push(self.chain.seal(event, now));
        }
    }

    /// Returns how long the oldest record may still wait for its sync.
    pub(super) fn sync_left(&self) -> Option<Duration> {
        let oldest = self.unsynced.first()?;
        Some(GROUP_WAIT.saturating_sub(since(oldest.time, self.ports.clock.now())))
    }

    /// Says whether an event only repeats what the journal says already.
    fn says_nothing_new(&self, event: &Event) -> bool {
        if let Event::ObligationClosed { id, .. } = event {
            return !self.state.obligations.contains_key(id);
        }
        let Event::ObligationOpened { obligation, .. } = event else { return false };
        let owed = self.state.obligations.get(&obligation.id);
        owed.is_some_and(|owed| owed.obligation == *obligation)
    }

    /// Lets others read which step is under way.
    fn tell_step(&mut self, event: &Event) {
        if let Event::StepStarted { step, .. } | Event::RevertStarted { step, .. } = event {
            (self.at_step)(Some(step));
        }
    }

    /// Makes everything sealed durable, then shows it and lets go on what waited for it.
    pub(super) fn sync(&mut self) {
        if self.unsynced.is_empty() {
            self.acknowledge();
            return;
        }
        let records = std::mem::take(&mut self.unsynced);
        if self.journal_dead {
            let why = "the journal failed before".to_owned();
            drop(self.shown.send(Shown::Unwritten { records, why }));
            return;
        }
        match self.journal.append(&records) {
            Ok(()) => {
                for record in records {
                    drop(self.shown.send(Shown::Fact(Box::new(record))));
                }
                self.acknowledge();
            }
            Err(failure) => {
                self.journal_dead = true;
                self.acks.clear();
                drop(self.shown.send(Shown::Unwritten { records, why: failure.to_string() }));
                self.stop_for(failure.to_string(), Exit::Journal);
            }
        }
    }

    fn acknowledge(&mut self) {
        for ack in self.acks.drain(..) {
            // A driver that is gone needs no acknowledgement.
            ack.send(()).ok();
        }
    }
}
