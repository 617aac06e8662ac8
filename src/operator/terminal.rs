//! A person at a terminal, through dialoguer on a blocking thread.
//!
//! Ctrl-C, a closed terminal and an end of file are [`Answer::Nobody`]; the signal itself is handled elsewhere. The
//! terminal's own settings are put back whenever a question ends, however it ends. What was typed before a question
//! was on the screen answers nothing: it is thrown away.

use std::io::{self, IsTerminal, stdin};
use std::sync::{Arc, OnceLock, PoisonError};

use dialoguer::console::Term;
use futures::future::BoxFuture;
use jiff::Timestamp;
use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr,
    tcgetpgrp, tcsetattr,
};
use tokio::sync::{Mutex, watch};

use super::dialog::{Dialog, Reply};
use super::typing;
use crate::clock::Clock;
use crate::engine::ports::Operator;
use crate::event::{Answer, Question};
use crate::report::screens::candidates::Back;
use crate::report::screens::frame;
use crate::report::terminal::{Terminal, Tone};
use crate::report::text;
use crate::span::Span;

/// Why nobody answers once the session is gone.
const CLOSED: &str = "the terminal was closed";

/// Settings of the terminal before the first question, to be put back.
static BEFORE: OnceLock<Option<Termios>> = OnceLock::new();

/// Asks a person.
pub(crate) struct TerminalOperator {
    terminal: Terminal,
    clock: Arc<dyn Clock>,
    /// When the incident began and the longest time allowed, for the forecasts of candidates
    objective: std::sync::Mutex<Option<(Timestamp, Span)>>,
    /// The session's window is closed: nobody is there any more, whatever the terminal says
    hung_up: watch::Receiver<bool>,
    /// One question at a time
    turn: Mutex<()>,
}

/// Says whether somebody can be asked: dialoguer needs both ends of a terminal.
pub(crate) fn attended() -> bool {
    stdin().is_terminal() && io::stderr().is_terminal()
}

/// Says whether keys reach this program: another one may have the terminal.
pub(super) fn in_foreground() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp())
}

/// Puts the terminal's settings and cursor back as they were before the first question.
///
/// A question that is given up leaves its thread reading keys; whoever ends the process calls this last.
pub(crate) fn restore() {
    if let Some(Some(before)) = BEFORE.get() {
        // A terminal that is gone has no settings to put back.
        tcsetattr(stdin(), OptionalActions::Now, before).ok();
        Term::stderr().show_cursor().ok();
    }
}

/// Puts the terminal back when a question ends or is given up.
pub(super) struct Restore;

impl Restore {
    /// Has keys come one at a time and unseen, so that those between two reads are not shown twice. Interrupts
    /// still come as signals.
    fn keys() -> Self {
        Self::without(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// The same while nobody listens to signals yet: an interrupt is a key like any other.
    pub(super) fn unseen() -> Self {
        Self::without(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    fn without(modes: LocalModes) -> Self {
        let before = BEFORE.get_or_init(|| tcgetattr(stdin()).ok());
        if let Some(mut keys) = before.clone() {
            keys.local_modes.remove(modes);
            keys.special_codes[SpecialCodeIndex::VMIN] = 1;
            keys.special_codes[SpecialCodeIndex::VTIME] = 0;
            // A terminal that is gone is found out by reading.
            tcsetattr(stdin(), OptionalActions::Now, &keys).ok();
        }
        Self
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        restore();
    }
}

impl TerminalOperator {
    /// Returns an operator at this process's own terminal.
    pub(crate) fn new(
        terminal: Terminal,
        clock: Arc<dyn Clock>,
        objective: Option<(Timestamp, Span)>,
        hung_up: watch::Receiver<bool>,
    ) -> Self {
        let objective = std::sync::Mutex::new(objective);
        Self { terminal, clock, objective, hung_up, turn: Mutex::new(()) }
    }

    async fn put(&self, question: &Question) -> Answer {
        let _turn = self.turn.lock().await;
        let mut hung_up = self.hung_up.clone();
        if *hung_up.borrow() {
            return nobody(CLOSED);
        }
        if !attended() {
            return nobody("stdin and stderr are not both a terminal");
        }
        if !in_foreground() {
            // Reading keys would stop the whole program, with steps running.
            return nobody("the program runs in the background of its terminal");
        }
        let open = self.terminal.question();
        let _restore = Restore::keys();
        // A terminal that cannot forget what was typed is gone, and so is whoever would answer.
        tcflush(stdin(), QueueSelector::IFlush).ok();
        let objective = *self.objective.lock().unwrap_or_else(PoisonError::into_inner);
        let back = objective.map(|(incident_started, rto_max)| Back {
            incident_started,
            now: self.clock.now(),
            rto_max,
        });
        for line in frame(question, self.terminal.columns(), back.as_ref()) {
            let tone = if line.starts_with("? ") { Tone::Strong } else { Tone::Plain };
            open.line(tone, &line);
        }
        let (terminal, clock, question) =
            (self.terminal.clone(), Arc::clone(&self.clock), question.clone());
        let asked = tokio::task::spawn_blocking(move || {
            converse(&terminal, &*clock, &question).unwrap_or_else(|error| nobody(&unread(&error)))
        });
        // Dropping this future, when the run stops or the window closes, gives the question up: the screen and the
        // settings are put back while the thread still waits for a key, until the process ends.
        let answer = tokio::select! {
            answer = asked => {
                answer.unwrap_or_else(|failed| nobody(&format!("the prompt failed: {failed}")))
            }
            Ok(_) = hung_up.wait_for(|gone| *gone) => nobody(CLOSED),
        };
        if let Answer::Began { at } = answer {
            let mut objective = self.objective.lock().unwrap_or_else(PoisonError::into_inner);
            *objective = objective.map(|(_, rto_max)| (at, rto_max));
        }
        answer
    }
}

impl Operator for TerminalOperator {
    fn ask<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Answer> {
        Box::pin(self.put(question))
    }
}

/// Prompts until there is an answer. Blocks.
fn converse(terminal: &Terminal, clock: &dyn Clock, question: &Question) -> io::Result<Answer> {
    let mut dialog = Dialog::new(question);
    loop {
        let typed = typing::line(terminal, &dialog.prompt())?;
        match dialog.take(&typed, clock.now()) {
            Reply::Done(answer) => return Ok(answer),
            Reply::Again(said) => {
                let lines = said.map(|said| text::wrap(&said, terminal.columns(), 2));
                show(terminal, &lines.unwrap_or_default())?;
            }
            Reply::Page(lines) => show(terminal, &lines)?,
        }
    }
}

/// Returns how many lines fit a screen's rows; a line that is wider than the screen takes several. At least one.
fn fitting(lines: &[String], columns: usize, rows: usize) -> usize {
    let mut left = rows;
    let taken = lines.iter().take_while(|line| {
        let takes = text::width(line).div_ceil(columns.max(1)).max(1);
        let fits = takes <= left;
        left = left.saturating_sub(takes);
        fits
    });
    taken.count().max(1).min(lines.len())
}

/// Shows lines, a screenful at a time.
fn show(terminal: &Terminal, lines: &[String]) -> io::Result<()> {
    // The status line and the prompt stay below them.
    let screenful = terminal.rows().saturating_sub(2).max(4);
    let mut rest = lines;
    loop {
        let (now, later) = rest.split_at(fitting(rest, terminal.columns(), screenful));
        if later.is_empty() {
            break;
        }
        now.iter().for_each(|line| terminal.in_question(Tone::Plain, line));
        rest = later;
        let more = format!("{} more; Enter goes on, q goes back:", text::count(rest.len(), "line"));
        if !typing::line(terminal, &more)?.trim().is_empty() {
            return Ok(());
        }
    }
    rest.iter().for_each(|line| terminal.in_question(Tone::Plain, line));
    Ok(())
}

fn unread(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::Interrupted => "interrupted".to_owned(),
        io::ErrorKind::UnexpectedEof => "end of input".to_owned(),
        _ => format!("the terminal is gone: {error}"),
    }
}

fn nobody(why: &str) -> Answer {
    Answer::Nobody { why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screenful_counts_rows_and_not_lines() {
        let lines = |widths: &[usize]| -> Vec<String> {
            widths.iter().map(|width| "x".repeat(*width)).collect()
        };
        for (widths, fits) in [
            (&[1, 1, 1, 1, 1, 1][..], 4),
            (&[0, 0, 0, 0, 0], 4),
            (&[10, 10, 10, 10, 10], 4),
            // A command of three rows, and what follows it no longer fits.
            (&[1, 21, 1], 2),
            (&[1, 11, 1, 1], 3),
            (&[1, 31, 1], 1),
            // Wider than the screen: it is shown, and nothing with it.
            (&[100, 1], 1),
            (&[1, 1], 2),
            (&[], 0),
        ] {
            assert_eq!(fitting(&lines(widths), 10, 4), fits, "{widths:?}");
        }
    }
}
