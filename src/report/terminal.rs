//! The one object that prints. Data goes to stdout, everything else to stderr.
//!
//! Owns colours, quiet and verbose, masking, live bars and what a closed pipe means: silence, never a panic and never
//! the end of a run. While a question is open, bars are off the screen and lines for it are kept until it is answered.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::progress::{Bars, Row};
use super::prompt::{Edit, PromptLine};
use super::text::COLUMNS;
use crate::mask::Masker;

/// `--color`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ColorChoice {
    #[default]
    Auto,
    Always,
    Never,
}

/// How much is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Volume {
    /// Only what went wrong, what stays open, and questions
    Quiet,
    #[default]
    Normal,
    Verbose,
}

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// Shown even with `--quiet`
    Loud,
    Normal,
    /// Shown with `--verbose`
    Detail,
}

/// What a line means, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Warn,
    Bad,
    Faint,
    Strong,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "1;31",
            Self::Faint => "2",
            Self::Strong => "1",
        }
    }
}

/// One line to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub weight: Weight,
    pub tone: Tone,
    /// Bytes of `text` the tone colours; all of it when empty
    pub tint: std::ops::Range<usize>,
    pub text: String,
}

impl Line {
    /// Returns a line in one tone.
    pub(crate) fn new(weight: Weight, tone: Tone, text: impl Into<String>) -> Self {
        Self { weight, tone, tint: 0..0, text: text.into() }
    }
}

/// How this process prints.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Look {
    pub volume: Volume,
    pub color_err: bool,
    /// Live bars on stderr
    pub bars: bool,
    pub out_is_terminal: bool,
}

impl Look {
    /// Decides colours and bars from what was asked for, the environment and where the output goes.
    pub(crate) fn detect(color: ColorChoice, volume: Volume, no_progress: bool) -> Self {
        let out_is_terminal = io::stdout().is_terminal();
        let err_is_terminal = io::stderr().is_terminal();
        let dumb = env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && !dumb;
        let colored = match color {
            ColorChoice::Auto => err_is_terminal && wanted,
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        };
        Self {
            volume,
            color_err: colored,
            bars: err_is_terminal && !dumb && !no_progress && volume != Volume::Quiet,
            out_is_terminal,
        }
    }
}

/// Prints. Clones print to the same place.
#[derive(Clone)]
pub(crate) struct Terminal {
    look: Look,
    masker: Masker,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    out: Sink,
    err: Sink,
    bars: Bars,
    /// Questions open, and what waits for them to be answered
    questions: usize,
    held: Vec<(Stream, String)>,
    /// How the run stands, in a line
    status: String,
    prompt: Option<(PromptId, PromptLine)>,
    prompts: u64,
}

/// Tells a prompt from later ones, for a thread that still waits for a key of one that was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PromptId(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

/// One output that may close at any time.
struct Sink {
    to: Box<dyn Write + Send>,
    closed: bool,
}

impl Sink {
    fn line(&mut self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    fn write(&mut self, text: &str) {
        if self.closed {
            return;
        }
        let written = self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush());
        // A full disk or a pipe nobody reads: the journal has the facts, the run goes on without this output.
        self.closed = written.is_err();
    }
}

impl Terminal {
    /// Returns a terminal on this process's own stdout and stderr.
    pub(crate) fn new(look: Look, masker: Masker) -> Self {
        let bars = if look.bars { Bars::on_stderr(columns) } else { Bars::hidden() };
        Self::on(look, masker, Box::new(io::stdout()), Box::new(io::stderr()), bars)
    }

    /// Returns a terminal on other outputs.
    pub(crate) fn on(
        look: Look,
        masker: Masker,
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        bars: Bars,
    ) -> Self {
        let sink = |to| Sink { to, closed: false };
        let inner = Inner {
            out: sink(out),
            err: sink(err),
            bars,
            questions: 0,
            held: Vec::new(),
            status: String::new(),
            prompt: None,
            prompts: 0,
        };
        Self { look, masker, inner: Arc::new(Mutex::new(inner)) }
    }

    /// Returns what hides secrets in everything printed.
    pub(crate) const fn masker(&self) -> &Masker {
        &self.masker
    }

    /// Returns the columns text is laid out for: the terminal's, at most 100, at least 80 where nothing is known.
    pub(crate) const fn colored(&self) -> bool {
        self.look.color_err
    }

    /// Returns the width to wrap at.
    pub(crate) fn columns(&self) -> usize {
        columns().clamp(40, 100)
    }

    /// Returns the rows of the screen.
    pub(crate) fn rows(&self) -> usize {
        let size = rustix::termios::tcgetwinsize(io::stderr());
        size.ok().map(|size| usize::from(size.ws_row)).filter(|rows| *rows > 0).unwrap_or(24)
    }

    /// Prints one line of data on stdout.
    pub(crate) fn out(&self, text: &str) {
        self.put(Stream::Out, self.masker.mask(text));
    }

    /// Prints a line for a person on stderr, if the volume asks for it.
    pub(crate) fn line(&self, line: &Line) {
        if !self.wants(line.weight) {
            return;
        }
        let masked = self.masker.mask(&line.text);
        // What was masked has moved: its tint would fall on other text.
        let text = if masked != line.text {
            masked
        } else if line.tint.is_empty() {
            paint(self.look.color_err, line.tone, &masked)
        } else {
            let (head, tinted, tail) = parts(&masked, &line.tint);
            format!("{head}{}{tail}", paint(self.look.color_err, line.tone, tinted))
        };
        self.put(Stream::Err, text);
    }

    /// Prints a line on stderr whatever the volume.
    pub(crate) fn loud(&self, tone: Tone, text: &str) {
        self.line(&Line::new(Weight::Loud, tone, text));
    }

    /// Says whether a line of that weight is printed.
    pub(crate) fn wants(&self, weight: Weight) -> bool {
        match weight {
            Weight::Loud => true,
            Weight::Normal => self.look.volume >= Volume::Normal,
            Weight::Detail => self.look.volume >= Volume::Verbose,
        }
    }

    /// Says whether live bars are drawn.
    pub(crate) fn live(&self) -> bool {
        self.lock().bars.live()
    }

    /// Shows these live lines and no others.
    pub(crate) fn show(&self, rows: &[Row]) {
        let masked: Vec<Row> = rows
            .iter()
            .map(|row| Row { text: self.masker.mask(&row.text), ..row.clone() })
            .collect();
        self.lock().bars.show(&masked);
    }

    /// Takes in how the run stands, in a line. While a person types it is kept current above the prompt.
    pub(crate) fn stands(&self, status: &str) {
        let mut inner = self.lock();
        inner.status = self.masker.mask(status);
        let Inner { prompt: Some((_, prompt)), status, err, .. } = &mut *inner else { return };
        err.write(&prompt.stands(status, columns()));
    }

    /// Opens the line a person types in; nothing is shown once its question was given up.
    pub(crate) fn prompt(&self, text: &str) -> PromptId {
        let mut inner = self.lock();
        inner.prompts += 1;
        let id = PromptId(inner.prompts);
        if inner.questions > 0 {
            let status =
                if self.wants(Weight::Normal) { inner.status.clone() } else { String::new() };
            let text = self.masker.mask(text);
            let prompt = PromptLine::new(&text, &status, inner.bars.live(), columns());
            inner.err.write(&prompt.open());
            inner.prompt = Some((id, prompt));
        }
        id
    }

    /// Shows what a key did to the line; says whether the line is empty now.
    pub(crate) fn edit(&self, id: PromptId, edit: Edit) -> bool {
        let mut inner = self.lock();
        let Inner { prompt: Some((open, prompt)), err, .. } = &mut *inner else { return true };
        if *open == id {
            err.write(&prompt.edit(edit));
        }
        prompt.typed().is_empty()
    }

    /// Closes the line and returns what was typed; `None` where its question was given up.
    pub(crate) fn typed(&self, id: PromptId) -> Option<String> {
        let mut inner = self.lock();
        let (_, prompt) = inner.prompt.take_if(|(open, _)| *open == id)?;
        inner.err.write("\n");
        Some(prompt.typed().to_owned())
    }

    /// Takes live lines off the screen for good; before the last lines of a command.
    pub(crate) fn finish(&self) {
        self.lock().bars.finish();
    }

    /// Says whether stdout is closed: a command that only prints may end quietly.
    pub(crate) fn out_closed(&self) -> bool {
        self.lock().out.closed
    }

    /// Opens the screen for a question: bars leave it and other lines wait until the guard is dropped.
    pub(crate) fn question(&self) -> QuestionOpen {
        let mut inner = self.lock();
        inner.questions += 1;
        inner.bars.pause();
        drop(inner);
        QuestionOpen { terminal: self.clone() }
    }

    /// Prints a line of the open question; nothing once it was given up.
    pub(crate) fn in_question(&self, tone: Tone, text: &str) {
        let text = paint(self.look.color_err, tone, &self.masker.mask(text));
        let mut inner = self.lock();
        if inner.questions > 0 {
            inner.err.line(&text);
        }
    }

    /// Returns a writer for diagnostics, a line at a time on stderr above the bars.
    pub(crate) fn log_writer(&self) -> LogWriter {
        LogWriter { terminal: self.clone(), pending: Vec::new() }
    }

    fn put(&self, stream: Stream, text: String) {
        let mut inner = self.lock();
        let on_screen = stream == Stream::Err || self.look.out_is_terminal;
        if inner.questions > 0 && on_screen {
            inner.held.push((stream, text));
        } else {
            inner.print(stream, &text);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics between two states that differ in meaning.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn print(&mut self, stream: Stream, text: &str) {
        let sink = match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        };
        self.bars.above(|| sink.line(text));
    }

    fn answered(&mut self) {
        self.questions = self.questions.saturating_sub(1);
        if self.questions > 0 {
            return;
        }
        if self.prompt.take().is_some() {
            // Given up with the cursor behind the prompt.
            self.err.write("\n");
        }
        for (stream, text) in std::mem::take(&mut self.held) {
            self.print(stream, &text);
        }
        self.bars.resume();
    }
}

/// A question has the screen while this lives.
pub(crate) struct QuestionOpen {
    terminal: Terminal,
}

impl QuestionOpen {
    /// Prints a line of the question itself.
    pub(crate) fn line(&self, tone: Tone, text: &str) {
        self.terminal.in_question(tone, text);
    }
}

impl Drop for QuestionOpen {
    fn drop(&mut self) {
        self.terminal.lock().answered();
    }
}

/// Prints diagnostics a line at a time.
pub(crate) struct LogWriter {
    terminal: Terminal,
    pending: Vec<u8>,
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            self.print(&line[..end]);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogWriter {
    fn print(&self, line: &[u8]) {
        let text = self.terminal.masker.mask(&String::from_utf8_lossy(line));
        self.terminal.put(Stream::Err, text);
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        if !self.pending.is_empty() {
            let rest = std::mem::take(&mut self.pending);
            self.print(&rest);
        }
    }
}

fn parts<'a>(text: &'a str, tint: &std::ops::Range<usize>) -> (&'a str, &'a str, &'a str) {
    match (text.get(..tint.start), text.get(tint.clone()), text.get(tint.end..)) {
        (Some(head), Some(tinted), Some(tail)) => (head, tinted, tail),
        _ => ("", text, ""),
    }
}

fn paint(colored: bool, tone: Tone, text: &str) -> String {
    if colored && tone != Tone::Plain && !text.is_empty() {
        format!("\u{1b}[{}m{text}\u{1b}[0m", tone.code())
    } else {
        text.to_owned()
    }
}

/// Returns the columns of the terminal on stderr; 80 where there is none.
pub(crate) fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}

#[cfg(test)]
#[path = "terminal_tests.rs"]
mod tests;
