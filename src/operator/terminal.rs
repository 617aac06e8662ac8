//! A person at a terminal, through dialoguer on a blocking thread.
//!
//! Ctrl-C, a closed terminal and an end of file are [`Answer::Nobody`]; the signal itself is handled elsewhere. The
//! terminal's own settings are put back whenever a question ends, however it ends.

use std::io::{self, IsTerminal, stdin};
use std::sync::{Arc, OnceLock};

use dialoguer::console::Term;
use dialoguer::theme::Theme;
use dialoguer::{Input, Password};
use futures::future::BoxFuture;
use jiff::Timestamp;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;
use tokio::sync::Mutex;

use super::dialog::{Dialog, Reply};
use crate::clock::Clock;
use crate::engine::ports::Operator;
use crate::event::{Answer, Question};
use crate::report::screens::candidates::Back;
use crate::report::screens::frame;
use crate::report::terminal::{Terminal, Tone};
use crate::span::Span;

/// Settings of the terminal before the first question, to be put back.
static BEFORE: OnceLock<Option<Termios>> = OnceLock::new();

/// Asks a person.
pub(crate) struct TerminalOperator {
    terminal: Terminal,
    clock: Arc<dyn Clock>,
    /// When the incident began and the longest time allowed, for the forecasts of candidates
    objective: Option<(Timestamp, Span)>,
    /// One question at a time
    turn: Mutex<()>,
}

/// Says whether somebody can be asked: dialoguer needs both ends of a terminal.
pub(crate) fn attended() -> bool {
    stdin().is_terminal() && io::stderr().is_terminal()
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
struct Restore;

impl Restore {
    fn remember() -> Self {
        BEFORE.get_or_init(|| tcgetattr(stdin()).ok());
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
    ) -> Self {
        Self { terminal, clock, objective, turn: Mutex::new(()) }
    }

    /// Asks for a secret, unseen; what was typed is hidden from then on. `None` where nobody gave one.
    pub(crate) async fn secret(&self, prompt: &str) -> Option<SecretString> {
        if !attended() {
            return None;
        }
        let _turn = self.turn.lock().await;
        let _open = self.terminal.question();
        let _restore = Restore::remember();
        let prompt = prompt.to_owned();
        let asked = tokio::task::spawn_blocking(move || {
            Password::with_theme(&Bare)
                .with_prompt(prompt)
                .report(false)
                // Else dialoguer would ask for ever at an end of file.
                .allow_empty_password(true)
                .interact_on(&Term::stderr())
        });
        match asked.await {
            Ok(Ok(typed)) if !typed.is_empty() => {
                self.terminal.masker().learn(&typed);
                Some(SecretString::from(typed))
            }
            Ok(Ok(_) | Err(_)) | Err(_) => None,
        }
    }

    async fn put(&self, question: &Question) -> Answer {
        if !attended() {
            return nobody("stdin and stderr are not both a terminal");
        }
        let _turn = self.turn.lock().await;
        let open = self.terminal.question();
        let _restore = Restore::remember();
        let back = self.objective.map(|(incident_started, rto_max)| Back {
            incident_started,
            now: self.clock.now(),
            rto_max,
        });
        for line in frame(question, self.terminal.columns(), back.as_ref()) {
            let tone = if line.starts_with("? ") { Tone::Strong } else { Tone::Plain };
            open.line(tone, &line);
        }
        let (terminal, question) = (self.terminal.clone(), question.clone());
        let asked = tokio::task::spawn_blocking(move || converse(&terminal, &question));
        // Dropping this future, when the run stops, gives the question up: the screen and the settings are put back
        // while the thread still waits for a key, until the process ends.
        asked.await.unwrap_or_else(|failed| nobody(&format!("the prompt failed: {failed}")))
    }
}

impl Operator for TerminalOperator {
    fn ask<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Answer> {
        Box::pin(self.put(question))
    }
}

/// Prompts until there is an answer. Blocks.
fn converse(terminal: &Terminal, question: &Question) -> Answer {
    let term = Term::stderr();
    let mut dialog = Dialog::new(question);
    loop {
        let typed = Input::<String>::with_theme(&Bare)
            .with_prompt(terminal.masker().mask(&dialog.prompt()))
            .allow_empty(true)
            .interact_text_on(&term);
        match typed {
            Ok(typed) => match dialog.take(&typed) {
                Reply::Done(answer) => return answer,
                Reply::Again(lines) => {
                    lines.iter().for_each(|line| terminal.in_question(Tone::Plain, line));
                }
            },
            Err(dialoguer::Error::IO(error)) => return nobody(&unread(&error)),
        }
    }
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

/// Prompts as they are written, without decoration.
struct Bare;

impl Theme for Bare {
    fn format_input_prompt(
        &self,
        f: &mut dyn std::fmt::Write,
        prompt: &str,
        _default: Option<&str>,
    ) -> std::fmt::Result {
        write!(f, "{prompt} ")
    }

    fn format_input_prompt_selection(
        &self,
        f: &mut dyn std::fmt::Write,
        prompt: &str,
        typed: &str,
    ) -> std::fmt::Result {
        write!(f, "{prompt} {typed}")
    }
}

#[cfg(test)]
#[path = "terminal_tests.rs"]
mod tests;
