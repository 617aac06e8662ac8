//! Shows a run while it goes on: a task of its own, so that nothing in it can alter the run.

use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::context::Context;
use crate::clock::{Clock, RealClock};
use crate::engine::dispatcher::Shown;
use crate::engine::ports::ProgressNote;
use crate::event::Record;
use crate::report::human::Human;
use crate::report::json::JsonLines;
use crate::report::terminal::{Terminal, Tone};

/// Bars are drawn anew this often.
const TICK: Duration = Duration::from_millis(250);

/// Where the run's facts and news are shown.
pub(super) struct Screen {
    pub shown: mpsc::UnboundedSender<Shown>,
    pub news: mpsc::UnboundedSender<ProgressNote>,
    task: JoinHandle<()>,
}

enum Sink {
    Human(Box<Human>),
    Json(JsonLines),
}

impl Screen {
    /// Starts showing. `before` are the records of a run that is taken up again.
    pub(super) fn start(context: &Context, before: Vec<Record>) -> Self {
        let (shown, facts) = mpsc::unbounded_channel();
        let (news, notes) = mpsc::unbounded_channel();
        let clock = std::sync::Arc::clone(&context.clock);
        let terminal = context.terminal.clone();
        let mut sink = if context.json() {
            Sink::Json(JsonLines::begin(terminal.clone()))
        } else {
            Sink::Human(Box::new(Human::new(terminal.clone(), TimeZone::system())))
        };
        if let Sink::Human(human) = &mut sink
            && !before.is_empty()
        {
            human.catch_up(&before, clock.now());
        }
        let task = tokio::spawn(async move { show(facts, notes, sink, terminal, &*clock).await });
        Self { shown, news, task }
    }

    /// Waits until everything has been shown.
    pub(super) async fn finish(self) {
        drop(self.shown);
        drop(self.news);
        // A screen that panicked has shown what it could; the run is over and stands in the journal.
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the screen ended early");
        }
    }
}

async fn show(
    mut facts: mpsc::UnboundedReceiver<Shown>,
    mut notes: mpsc::UnboundedReceiver<ProgressNote>,
    mut sink: Sink,
    terminal: Terminal,
    clock: &dyn Clock,
) {
    // A rehearsal is watched in real time, however its own time goes.
    let mut tick = RealClock.sleep(TICK);
    loop {
        // Receiving and waiting lose nothing when another arm wins. The tick comes first: facts may never pause.
        tokio::select! {
            biased;
            () = &mut tick => {
                tick = RealClock.sleep(TICK);
                if let Sink::Human(human) = &mut sink {
                    human.tick(clock.now());
                }
            }
            fact = facts.recv() => match fact {
                Some(Shown::Fact(record)) => match &mut sink {
                    Sink::Human(human) => human.record(&record),
                    Sink::Json(json) => json.record(&record),
                },
                Some(Shown::Unwritten { records, why }) => unwritten(&terminal, &records, &why),
                Some(Shown::Asking) => {}
                Some(Shown::Stopping { why, running }) => {
                    if let Sink::Human(human) = &mut sink {
                        human.stopping(&why, &running, clock.now());
                    }
                }
                None => break,
            },
            Some(note) = notes.recv() => {
                if let Sink::Human(human) = &mut sink {
                    human.note(&note);
                }
            }
        }
    }
    terminal.finish();
}

/// Prints facts that exist nowhere else: the journal could not be written.
fn unwritten(terminal: &Terminal, records: &[Record], why: &str) {
    terminal.loud(Tone::Bad, &format!("THE JOURNAL CANNOT BE WRITTEN: {why}"));
    terminal.loud(Tone::Plain, "These facts are recorded nowhere else; keep them:");
    for record in records {
        let line = serde_json::to_string(record).unwrap_or_else(|error| error.to_string());
        terminal.loud(Tone::Plain, &line);
    }
}
