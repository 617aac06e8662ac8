//! Live bars on a terminal. The only place that knows indicatif.
//!
//! Every draw goes through [`Bars`], nothing ticks by itself: while bars are paused, nothing can tear a question.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::text;

/// Draws a second at most.
const REFRESH_HZ: u8 = 10;

/// Bars shown at once; what runs beyond is counted in the last line.
const ROWS_MAX: usize = 12;

/// Columns of a label, a bar and what stands around them, before the text.
pub(crate) const BEFORE: usize = 2 + LABEL + 2 + 12 + 2;

/// Columns of a label.
const LABEL: usize = 14;

/// Length of a drawn bar.
const SCALE: u64 = 1_000;

/// One line of live progress.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// What the line is about; the same line keeps its place
    pub label: String,
    /// Done part, 0 to 1; `None` draws no bar
    pub part: Option<f32>,
    pub text: String,
}

/// The live lines at the bottom of the screen.
pub(crate) struct Bars {
    /// `None`: nothing is ever drawn
    multi: Option<MultiProgress>,
    lines: Vec<ProgressBar>,
    shown: Vec<Row>,
    paused: bool,
}

impl Bars {
    /// Returns bars that are never drawn.
    pub(crate) const fn hidden() -> Self {
        Self { multi: None, lines: Vec::new(), shown: Vec::new(), paused: false }
    }

    /// Returns bars on a terminal.
    pub(crate) fn on(screen: Box<dyn TermLike>) -> Self {
        let target = ProgressDrawTarget::term_like_with_hz(screen, REFRESH_HZ);
        Self { multi: Some(MultiProgress::with_draw_target(target)), ..Self::hidden() }
    }

    /// Returns bars on standard error.
    pub(crate) fn on_stderr(columns: fn() -> usize) -> Self {
        Self::on(Box::new(Screen { columns, pending: Mutex::new(String::new()) }))
    }

    /// Says whether bars are drawn at all.
    pub(crate) const fn live(&self) -> bool {
        self.multi.is_some()
    }

    /// Shows these lines and no others.
    pub(crate) fn show(&mut self, rows: &[Row]) {
        let rows = fit(rows);
        let Some(multi) = &self.multi else { return };
        if self.paused {
            self.shown = rows;
            return;
        }
        if self.lines.len() > rows.len() {
            drop(multi.clear());
            for line in self.lines.drain(rows.len()..) {
                multi.remove(&line);
            }
        }
        while self.lines.len() < rows.len() {
            self.lines.push(multi.add(ProgressBar::new(SCALE)));
        }
        for (at, (line, row)) in self.lines.iter().zip(&rows).enumerate() {
            if self.shown.get(at).map(|old| old.part.is_some()) != Some(row.part.is_some())
                || self.shown.get(at).map(|old| &old.label) != Some(&row.label)
            {
                line.set_style(style(row.part.is_some()));
                line.set_prefix(row.label.clone());
            }
            if let Some(part) = row.part {
                line.set_position(permille(part));
            }
            line.set_message(row.text.clone());
        }
        if self.shown.len() != rows.len() {
            self.lines.iter().for_each(ProgressBar::force_draw);
        }
        self.shown = rows;
    }

    /// Runs `print` with the lines out of the way.
    pub(crate) fn above(&self, print: impl FnOnce()) {
        match &self.multi {
            Some(multi) if !self.paused && !self.lines.is_empty() => multi.suspend(print),
            Some(_) | None => print(),
        }
    }

    /// Takes the lines off the screen until [`Self::resume`]. No lock is held meanwhile: the run goes on.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
        self.wipe();
    }

    /// Shows what was last asked to be shown.
    pub(crate) fn resume(&mut self) {
        self.paused = false;
        let rows = std::mem::take(&mut self.shown);
        self.show(&rows);
    }

    /// Takes the lines off the screen for good.
    pub(crate) fn finish(&mut self) {
        self.wipe();
        self.shown.clear();
        self.multi = None;
    }

    fn wipe(&mut self) {
        if let Some(multi) = &self.multi {
            drop(multi.clear());
            for line in self.lines.drain(..) {
                multi.remove(&line);
            }
        }
    }
}

fn fit(rows: &[Row]) -> Vec<Row> {
    let mut rows: Vec<Row> = rows.to_vec();
    if rows.len() > ROWS_MAX {
        let more = rows.len() - (ROWS_MAX - 1);
        rows.truncate(ROWS_MAX - 1);
        rows.push(Row {
            label: String::new(), part: None, text: format!("… {more} more running")
        });
    }
    rows
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "clamped to 0..=1 before it is scaled; what is no number draws an empty bar"
)]
fn permille(part: f32) -> u64 {
    let part = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
    (part * SCALE as f32) as u64
}

fn style(bar: bool) -> ProgressStyle {
    let template = if bar { "  {prefix} [{bar:12}] {wide_msg}" } else { "{wide_msg}" };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// Standard error as something to draw on.
///
/// Our own, because indicatif panics when its terminal is gone while lines are suspended, and a dropped session must
/// not end a run.
struct Screen {
    columns: fn() -> usize,
    pending: Mutex<String>,
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Screen")
    }
}

impl Screen {
    fn put(&self, text: &str) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
    }

    fn seek(&self, count: usize, direction: char) {
        if count > 0 {
            self.put(&format!("\u{1b}[{count}{direction}"));
        }
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        u16::try_from((self.columns)()).unwrap_or(u16::MAX)
    }

    fn height(&self) -> u16 {
        u16::try_from(ROWS_MAX + 1).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.seek(n, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.seek(n, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.seek(n, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.seek(n, 'D');
        Ok(())
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.put(s);
        self.put("\r\n");
        Ok(())
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.put(s);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.put("\r\u{1b}[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let text =
            std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        // A terminal that is gone takes nothing any more, and nothing depends on its having been drawn.
        let mut to = io::stderr().lock();
        drop(to.write_all(text.as_bytes()).and_then(|()| to.flush()));
        Ok(())
    }
}

/// Returns a row's label cut to a column, so that bars stand below each other.
pub(crate) fn label(id: &str) -> String {
    text::pad(id, LABEL)
}
